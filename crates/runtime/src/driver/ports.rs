//! Chooses the port of an instance.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use lockstep_domain::InstanceId;
use lockstep_domain::run::Port;

use super::{Shared, StartError};
use crate::process::ports::check_free;

impl Shared {
    /// Chooses a port that no live instance of this driver has and that nobody listens on.
    pub(super) fn choose_port(&self, port: Port) -> Result<u16, StartError> {
        let taken = self.taken_ports();
        match port {
            Port::Fixed(port) => {
                let problem = match taken.get(&port) {
                    Some(id) => Err(format!("port {port} is in use by instance `{id}`")),
                    None => check_free(port),
                };
                problem.map_err(|problem| StartError::PortInUse { port, problem })?;
                Ok(port)
            }
            Port::Assigned => {
                let range = self.options.ports.clone();
                let free = |port: &u16| !taken.contains_key(port) && check_free(*port).is_ok();
                let found = range.clone().map(|_| self.next_port()).find(free);
                found.ok_or(StartError::NoFreePort { range })
            }
        }
    }

    /// Goes round the range, so that a port that was just given up is the last to be given again.
    fn next_port(&self) -> u16 {
        let (first, last) = (*self.options.ports.start(), *self.options.ports.end());
        let next = |port: u16| Some(if (first..last).contains(&port) { port + 1 } else { first });
        match self.next_port.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(before) | Err(before) => next(before).unwrap_or(first),
        }
    }

    fn taken_ports(&self) -> BTreeMap<u16, InstanceId> {
        let instances = self.instances.borrow();
        let live = instances.values().filter(|instance| !instance.state.is_over());
        live.filter_map(|instance| Some((instance.address?.port(), instance.id.clone()))).collect()
    }
}
