//! The gateway of each environment on each of its hosts: started before the first instance there, and replaced when the program of the
//! server is another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::between::{door_port, is_carried};
use lockstep_domain::clients_at::{is_edge, outside_at};
use lockstep_domain::host::{Host, ZONE_LABEL};
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::{Digest, Environment, EnvironmentName, Instance, InstanceState, Timestamp, World};
use lockstep_hosts::HostFacts;
use lockstep_hosts::gateway::{HostGateway, has_door};
use tokio::time::{Instant, timeout_at};

use super::here::is_local;
use super::link::Link;
use crate::Control;
use crate::random::random_hex;

/// How often it is looked whether gateways run although nothing was recorded or seen.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether gateways know each other while somebody waits for it.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a gateway goes on beside one that was started after it: longer than what lasts has when its sockets were taken over.
const REPLACED_AFTER_MS: u64 = 2 * 60 * 60 * 1_000;
/// How long the start of an instance waits for the gateway of its host: without one it can call nobody.
pub(super) const SERVES_WITHIN: Duration = Duration::from_secs(30);

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
        self.note_who_serves(world, link);
        let (Some(facts), Some(host)) = (link.facts(), world.hosts.get(&link.name)) else { return };
        let Ok(program) = self.hosts.program() else { return };
        let (gateways, mut kept) = (link.gateways(), Vec::new());
        let environments = host.settings.environments.iter().filter_map(|name| world.environment(name));
        for environment in environments.filter(|_| !self.is_this_machine(link, &facts)) {
            let (wanted, digest) = (wanted(environment, host, link), *program.digest());
            let is_kept = |it: &Instance| wanted.is_told_to(it, &digest) && serves_yet(it, &gateways);
            let before = kept.len();
            kept.extend(gateways.iter().filter(|it| is_kept(it)).cloned());
            if kept.len() == before {
                self.start_gateway(&wanted, link, &facts, digest);
            }
        }
        let now = self.ledger.now();
        for gateway in gateways.iter().cloned() {
            let is_kept = kept.iter().any(|it| it.id == gateway.id);
            let is_replaced = kept.iter().any(|newer| has_replaced(newer, &gateway, now));
            let is_wanted = (is_kept || !is_replaced)
                && host.serves(&gateway.environment)
                && world.environment(&gateway.environment).is_some();
            match gateway.state.is_over() {
                true => self.remove_on_host(link.driver(), gateway.id),
                false if !is_wanted => self.end_on_host(&gateway.environment, link.driver(), gateway.id),
                false => {}
            }
        }
    }

    fn start_gateway(
        self: &Arc<Self>,
        gateway: &HostGateway,
        link: &Arc<Link>,
        facts: &HostFacts,
        program: Digest,
    ) {
        let Ok(unique) = random_hex(3) else { return };
        let spec = gateway.spec(facts, &program, &unique);
        let turn = format!("gateway-{}-{}", link.name, gateway.environment);
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
        while Instant::now() < deadline {
            changes.borrow_and_update();
            if self.serves_there(&environment.name, link) {
                return;
            }
            // Who knows whom is seen with receipts, which nobody waits for by themselves.
            let _ = timeout_at(deadline.min(Instant::now() + GLANCE), changes.changed()).await;
        }
    }

    /// Tells whether a gateway of an environment serves on a host, as it should, and is known to the others.
    fn serves_there(&self, name: &EnvironmentName, link: &Link) -> bool {
        let door = has_door_there(link, name);
        let serves = |it: &Instance| it.environment == *name && it.state.is_healthy() && has_door(it) == door;
        link.gateways().iter().any(serves) && (!door || self.is_known_between(name, &link.name))
    }

    /// Notes of which environments a gateway serves on a host: what starts is not placed where none does.
    fn note_who_serves(&self, world: &World, link: &Link) {
        let environments = world.hosts.get(&link.name).map(|host| &host.settings.environments);
        for name in world.environments.keys() {
            let is_asked = environments.is_some_and(|all| all.contains(name));
            let elsewhere = link.facts().filter(|facts| is_asked && !self.is_this_machine(link, facts));
            let serves = elsewhere.is_none() || self.serves_there(name, link);
            self.hosts.note_serving(&link.name, name, serves);
        }
    }

    /// Tells whether a host is the machine of the server: there the gateway in the server is the one of the host.
    fn is_this_machine(&self, link: &Link, facts: &HostFacts) -> bool {
        self.hosts.is_here(&facts.name, &facts.boot) && is_local(link.address())
    }
}

/// Tells whether a gateway serves, or will. One that another one has taken over from says no more how it is while its last clients finish: what it was
/// told does not hold any more, also where the same is to be told again.
fn serves_yet(gateway: &Instance, all: &[Instance]) -> bool {
    let serves_beside =
        |it: &Instance| it.environment == gateway.environment && it.id != gateway.id && it.state.is_healthy();
    match gateway.state {
        InstanceState::Unhealthy { .. } => !all.iter().any(serves_beside),
        _ => !gateway.state.is_over(),
    }
}

/// Tells whether a gateway that is as it should be has been there for so long that another one is over: that ends by itself when its sockets are taken
/// over, which is not so where the newer one has another port.
fn has_replaced(kept: &Instance, gateway: &Instance, now: Timestamp) -> bool {
    let is_another = kept.environment == gateway.environment && kept.id != gateway.id;
    is_another && kept.state.is_healthy() && now.since_ms(kept.since) > REPLACED_AFTER_MS
}

/// The gateway of an environment that is to run on a host.
fn wanted(environment: &Environment, host: &Host, link: &Link) -> HostGateway {
    let port = environment.settings.gateway_port;
    let between = has_door_there(link, &environment.name);
    HostGateway {
        environment: environment.name.clone(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        ports: InstancePorts::Server,
        zone: link.label(ZONE_LABEL).and_then(|zone| zone.as_str().parse().ok()),
        host: link.name.clone(),
        between: between.then(|| SocketAddr::new(link.address(), door_port(port))),
        outside: is_edge(environment, host).then(|| outside_at(environment, host.settings.address)),
    }
}

/// Tells whether gateways of other hosts come in at that of a host: instances listen on loopback there, or will.
fn has_door_there(link: &Link, environment: &EnvironmentName) -> bool {
    let is_behind = |it: &Instance| {
        it.environment == *environment && it.address.is_some_and(|at| is_carried(at, link.address()))
    };
    let instances = || [link.instances(true), link.instances(false)].concat();
    link.listens() != link.address() || instances().iter().any(is_behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(id: &str, state: InstanceState) -> Instance {
        let text = serde_json::json!({
            "id": id, "environment": "production",
            "arm": { "service": "lockstep-gateway", "version": "0.0.0", "config": 0 },
            "state": { "state": "healthy" }, "address": null, "since": 0, "restarts": 0,
        });
        Instance { state, ..serde_json::from_value(text).unwrap() }
    }

    #[test]
    fn one_that_was_taken_over_is_not_taken_for_the_one_that_is_to_serve_again() {
        let silent = || InstanceState::Unhealthy { reason: "nobody answers".to_owned() };
        let (first, second) = (gateway("gateway-1", silent()), gateway("gateway-2", InstanceState::Healthy));
        assert!(!serves_yet(&first, &[first.clone(), second.clone()]));
        assert!(serves_yet(&second, &[first.clone(), second.clone()]));
        // Alone it may serve again, and whoever starts another one beside it again and again helps nobody.
        assert!(serves_yet(&first, std::slice::from_ref(&first)));
        let coming = gateway("gateway-3", InstanceState::Starting);
        assert!(serves_yet(&coming, &[first, second, coming.clone()]));
    }

    #[test]
    fn what_goes_on_beside_a_gateway_for_hours_is_ended_and_not_before() {
        let (kept, other) =
            (gateway("gateway-2", InstanceState::Healthy), gateway("gateway-1", InstanceState::Healthy));
        assert!(!has_replaced(&kept, &other, Timestamp(REPLACED_AFTER_MS)));
        assert!(has_replaced(&kept, &other, Timestamp(REPLACED_AFTER_MS + 1)));
        assert!(!has_replaced(&kept, &kept, Timestamp(u64::MAX)));
    }
}
