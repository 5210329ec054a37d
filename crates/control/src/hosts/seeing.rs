//! How instances are, where their hosts are not reached: nobody knows, and what was seen last counts no further than is said here.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::host::is_on_hosts;
use lockstep_domain::operation::{Move, Phase, Plan};
use lockstep_domain::placement::{Placing, of_plan};
use lockstep_domain::{Environment, HostName, Instance, InstanceState, World};

use crate::{Control, lock};

impl Control {
    /// Shows instances to people: what was healthy on a host that is away is not known to be.
    pub(crate) fn as_known_now(&self, mut instances: Vec<Instance>) -> Vec<Instance> {
        for instance in &mut instances {
            let away = instance.host.as_ref().filter(|host| self.hosts.is_away(host));
            if let Some(host) = away.cloned() {
                doubt(instance, &host);
            }
        }
        instances
    }

    /// What an operation waits for before its next wave must be there now: an instance that was healthy when its host was seen last is not.
    pub(crate) fn doubt_what_is_prepared(&self, environment: &Environment, instances: &mut [Instance]) {
        let preparing = environment.moving().filter(|it| matches!(it.phase, Phase::Preparing { .. }));
        let arms: Vec<_> = preparing.flat_map(|it| it.plan.moves().flat_map(Move::to_arms)).collect();
        for instance in instances.iter_mut().filter(|instance| arms.contains(&instance.arm)) {
            let unreached = instance.host.as_ref().filter(|host| !self.hosts.is_reached(host));
            if let Some(host) = unreached.cloned() {
                doubt(instance, &host);
            }
        }
    }

    /// Notes in a plan where instances would start, and refuses one of which something finds no place before a person does something.
    pub(crate) fn note_places(
        &self,
        world: &World,
        environment: &Environment,
        plan: &mut Plan,
    ) -> Result<(), Problem> {
        if !is_on_hosts(world, &environment.name) {
            return Ok(());
        }
        let (reached, launches) = (self.hosts.reached(), lock(&self.launches).clone());
        let mut running = self.known_instances();
        running.extend(launches.into_values().filter(|it| it.host.is_some()));
        plan.places = of_plan(Placing { world, environment, reached: &reached, running: &running }, plan);
        for places in &plan.places {
            let Some(why) = places.why_lacking() else { continue };
            if places.is_hopeless() {
                let detail = format!("nothing of {} can start in `{}`: {why}", places.arm, environment.name);
                return Err(Problem::new(ErrorCode::Refused, detail).with_hint("lockstep host list"));
            }
            plan.warnings.push(format!("{} more of {} find no place now: {why}", places.lacking, places.arm));
        }
        Ok(())
    }
}

fn doubt(instance: &mut Instance, host: &HostName) {
    if instance.state.is_healthy() {
        instance.state = InstanceState::Unhealthy {
            reason: format!("`{host}` is not reached; it was healthy when last seen"),
        };
    }
}
