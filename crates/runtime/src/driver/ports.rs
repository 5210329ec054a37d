//! Chooses the port of an instance.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;

use lockstep_domain::InstanceId;
use lockstep_domain::instance_ports::{InstancePorts, PortRange};
use lockstep_domain::run::Port;

use super::{Shared, StartError};
use crate::process::ports::check_free;
use crate::spec::InstanceSpec;

impl Shared {
    /// Chooses a port that no live instance of this driver has and that nobody listens on, for what listens at all.
    pub(super) fn choose_port(&self, spec: &InstanceSpec) -> Result<Option<u16>, StartError> {
        spec.run.listens_on().map(|port| self.choose(spec.ports, port, spec.listen_ip())).transpose()
    }

    pub(super) fn choose(&self, ports: InstancePorts, port: Port, ip: IpAddr) -> Result<u16, StartError> {
        let taken = self.taken_ports();
        match port {
            Port::Fixed(port) => {
                let problem = match taken.get(&port) {
                    Some(id) => Err(format!("port {port} is in use by instance `{id}`")),
                    None => check_free(SocketAddr::new(ip, port)),
                };
                problem.map_err(|problem| StartError::PortInUse { port, problem })?;
                Ok(port)
            }
            Port::Assigned => {
                let range = match ports {
                    InstancePorts::Server => self.options.ports,
                    InstancePorts::Own(range) => range,
                };
                let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let is_given = |port: &u16| taken.contains_key(port) || reserved.contains(port);
                let free = |port: &u16| !is_given(port) && check_free(SocketAddr::new(ip, *port)).is_ok();
                let found = (0..range.count()).map(|_| self.next_port(range)).find(free);
                found.ok_or(StartError::NoFreePort { range })
            }
        }
    }

    /// Goes round each range, so that a port that was just given up is the last to be given again.
    fn next_port(&self, range: PortRange) -> u16 {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let last = given.entry(range).or_insert_with(|| self.any_port(range));
        *last = range.after(*last);
        *last
    }

    /// Starts somewhere in the range, so that two drivers on one host seldom want the same port.
    fn any_port(&self, range: PortRange) -> u16 {
        let hash = RandomState::new().hash_one(&self.root);
        range.nth(usize::try_from(hash).unwrap_or_default())
    }

    fn taken_ports(&self) -> BTreeMap<u16, InstanceId> {
        let instances = self.instances.borrow();
        let live = instances.values().filter(|instance| !instance.state.is_over());
        live.filter_map(|instance| Some((instance.address?.port(), instance.id.clone()))).collect()
    }
}
