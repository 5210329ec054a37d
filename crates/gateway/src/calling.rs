//! Which version calls: by the listener of an instance, or by the name behind the token of its address.
//!
//! The name is believed because the token before it proves that an instance calls, and what it leads to an instance can ask for directly as
//! well. It outlives a change of the service's name as the token does.

use std::sync::Arc;

use lockstep_domain::Arm;
use lockstep_domain::routes::{RouteTable, arm_of_caller, caller_token};

/// Who called last on a connection by a name: clients keep connections, so it is read once for many requests.
#[derive(Debug, Default)]
pub(crate) struct NamedCaller {
    name: String,
    /// Of the table by which former names were read.
    revision: u64,
    arm: Option<Arc<Arm>>,
}

impl NamedCaller {
    /// Reads who calls with a path whose token was found right.
    pub(crate) fn read(&mut self, path: &str, table: &RouteTable) -> Option<Arc<Arm>> {
        let name = caller_token(path)?.caller?;
        if self.name != name || self.revision != table.revision {
            self.name.clear();
            self.name.push_str(name);
            self.revision = table.revision;
            self.arm = arm_of_caller(name).map(|arm| Arc::new(named_now(arm, table)));
        }
        self.arm.clone()
    }
}

/// A service may have another name by now.
fn named_now(arm: Arm, table: &RouteTable) -> Arm {
    match table.aliases.get(&arm.service) {
        Some(service) => Arm { service: service.clone(), ..arm },
        None => arm,
    }
}
