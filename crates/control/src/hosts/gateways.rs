//! The gateway of each environment on each of its hosts: started before the first instance there, and replaced when the program of the
//! server is another one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_domain::between::{door_port, is_carried};
use lockstep_domain::host::ZONE_LABEL;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::{Digest, Environment, EnvironmentName, Instance, World};
use lockstep_hosts::HostFacts;
use lockstep_hosts::gateway::{HostGateway, has_door, is_of_program};
use tokio::time::{Instant, timeout_at};

use super::link::Link;
use crate::random::random_hex;
use crate::{Control, lock};

/// How often it is looked whether gateways run although nothing was recorded or seen.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether gateways know each other while somebody waits for it.
const GLANCE: Duration = Duration::from_millis(50);
/// How long the start of an instance waits for the gateway of its host: without one it can call nobody.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

impl Control {
    /// Keeps a gateway of each environment on each of its hosts.
    pub(crate) async fn look_after_host_gateways(self: Arc<Self>) {
        let (mut recorded, mut changes) = (self.ledger.follow(), self.hosts.changes());
        loop {
            let world = recorded.borrow_and_update().clone();
            changes.borrow_and_update();
            for link in self.hosts.links() {
                self.keep_gateways(&world, &link);
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = recorded.changed() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Begins what is to be done about the gateways of a host; never twice at a time.
    fn keep_gateways(self: &Arc<Self>, world: &Arc<World>, link: &Arc<Link>) {
        let (Some(facts), Some(host)) = (link.facts(), world.hosts.get(&link.name)) else { return };
        let Ok(program) = self.hosts.program() else { return };
        let gateways = link.gateways();
        let environments = host.settings.environments.iter().filter_map(|name| world.environment(name));
        for environment in environments.filter(|_| !self.is_this_machine(link, &facts)) {
            let door = has_door_there(link, &environment.name);
            let is_kept = |it: &Instance| {
                it.environment == environment.name
                    && is_of_program(it, program.digest())
                    && has_door(it) == door
            };
            if gateways.iter().any(|it| !it.state.is_over() && is_kept(it)) {
                continue;
            }
            let digest = *program.digest();
            self.start_gateway(environment, link, &facts, digest);
        }
        for gateway in gateways {
            let is_wanted =
                host.serves(&gateway.environment) && world.environment(&gateway.environment).is_some();
            match gateway.state.is_over() {
                true => self.remove_on_host(link.driver(), gateway.id),
                false if !is_wanted => self.end_on_host(&gateway.environment, link.driver(), gateway.id),
                false => {}
            }
        }
    }

    fn start_gateway(
        self: &Arc<Self>,
        environment: &Environment,
        link: &Arc<Link>,
        facts: &HostFacts,
        program: Digest,
    ) {
        let zone = link.label(ZONE_LABEL).and_then(|zone| zone.as_str().parse().ok());
        let port = environment.settings.gateway_port;
        let gateway = HostGateway {
            environment: environment.name.clone(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            ports: InstancePorts::Server,
            zone,
            host: link.name.clone(),
            between: has_door_there(link, &environment.name)
                .then(|| SocketAddr::new(link.address(), door_port(port))),
        };
        let Ok(unique) = random_hex(3) else { return };
        let spec = gateway.spec(facts, &program, &unique);
        let turn = format!("gateway-{}-{}", link.name, environment.name);
        let Ok(turn) = turn.parse() else { return };
        let (control, link) = (Arc::clone(self), Arc::clone(link));
        self.tell_apart(turn, async move {
            tracing::info!(host = %link.name, gateway = %spec.id, "a gateway is started on the host");
            if let Err(failed) = control.start_spec_on(&link, spec).await {
                tracing::warn!(host = %link.name, why = failed.reason(), "the gateway of the host was not started");
                // What keeps it from it is looked at again a little later.
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Waits until a gateway of an environment serves on a host; not longer than the start of an instance may.
    pub(crate) async fn gateway_serves(&self, environment: &Environment, link: &Link) {
        if link.facts().is_none_or(|facts| self.is_this_machine(link, &facts)) {
            return;
        }
        let (mut changes, deadline) = (self.hosts.changes(), Instant::now() + SERVES_WITHIN);
        let door = has_door_there(link, &environment.name);
        let serves = |it: &Instance| {
            it.environment == environment.name && it.state.is_healthy() && has_door(it) == door
        };
        while Instant::now() < deadline {
            changes.borrow_and_update();
            let is_known = || !door || self.is_known_between(&environment.name, &link.name);
            if link.gateways().iter().any(serves) && is_known() {
                return;
            }
            // Who knows whom is seen with receipts, which nobody waits for by themselves.
            let _ = timeout_at(deadline.min(Instant::now() + GLANCE), changes.changed()).await;
        }
    }

    /// Tells whether a host is the machine of the server: there the gateway in the server is the one of the host.
    fn is_this_machine(&self, link: &Link, facts: &HostFacts) -> bool {
        self.hosts.is_here(&facts.name, &facts.boot) && is_local(link.address())
    }
}

/// Tells whether an address is one of this machine, and of the network that this process is in: then its loopback is ours.
pub(crate) fn is_local(address: IpAddr) -> bool {
    static KNOWN: Mutex<BTreeMap<IpAddr, (bool, Instant)>> = Mutex::new(BTreeMap::new());
    let mut known = lock(&KNOWN);
    if let Some((is_local, _)) = known.get(&address).filter(|(_, since)| since.elapsed() < LOOK) {
        return *is_local;
    }
    known.retain(|_, (_, since)| since.elapsed() < LOOK);
    let is_local = UdpSocket::bind((address, 0)).is_ok();
    known.insert(address, (is_local, Instant::now()));
    is_local
}

/// Tells whether gateways of other hosts come in at that of a host: instances listen on loopback there, or will.
fn has_door_there(link: &Link, environment: &EnvironmentName) -> bool {
    let is_behind = |it: &Instance| {
        it.environment == *environment && it.address.is_some_and(|at| is_carried(at, link.address()))
    };
    let instances = || [link.instances(true), link.instances(false)].concat();
    link.listens() != link.address() || instances().iter().any(is_behind)
}
