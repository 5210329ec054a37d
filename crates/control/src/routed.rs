//! Telling instances whether requests are routed to them, so that what does not live from requests can rest when it is warm.
//!
//! What was told is remembered in memory only: a server that is started anew tells everybody again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use lockstep_domain::routes::{RouteTable, Split};
use lockstep_domain::{Instance, InstanceId, InstanceState};

use crate::lock;

/// What each instance was told last.
#[derive(Debug, Default)]
pub(crate) struct Routed(Mutex<BTreeMap<InstanceId, bool>>);

impl Routed {
    /// Tells the instances of an environment that do not know yet. What cannot be written is tried with the next look.
    pub(crate) fn tell(
        &self,
        tell: impl Fn(&Instance, bool) -> io::Result<()>,
        table: &RouteTable,
        instances: &[Instance],
    ) {
        let mut told = lock(&self.0);
        for instance in instances.iter().filter(|instance| instance.address.is_some()) {
            let routed = is_routed(table, instance);
            if instance.state.is_over() {
                told.remove(&instance.id);
            } else if told.get(&instance.id) != Some(&routed) {
                match tell(instance, routed) {
                    Ok(()) => drop(told.insert(instance.id.clone(), routed)),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                    Err(error) => tracing::warn!(
                        instance = %instance.id, %error, "an instance could not be told whether it is routed"
                    ),
                }
            }
        }
    }

    /// Notes that an instance was not told after all.
    pub(crate) fn untold(&self, id: &InstanceId) {
        lock(&self.0).remove(id);
    }
}

/// Tells whether a table gives requests to an instance. One that only stands behind a candidate has none of its own.
fn is_routed(table: &RouteTable, instance: &Instance) -> bool {
    let routes = table.services.get(&instance.arm.service);
    let is_ruled =
        |split: &Split| routes.is_some_and(|it| it.version_rules.iter().any(|rule| rule.leads_to(split)));
    let splits = routes.iter().flat_map(|routes| &routes.splits);
    let splits = splits.filter(|split| split.weight > 0 || is_ruled(split));
    let named = splits.flat_map(Split::instances).any(|endpoint| endpoint.instance == instance.id);
    named && instance.state != InstanceState::Stopping
}
