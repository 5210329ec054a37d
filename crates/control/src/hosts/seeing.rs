//! How instances are, where their hosts are not reached: nobody knows, and what was seen last counts no further than is said here.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::host::{doubt, is_on_hosts};
use lockstep_domain::operation::Plan;
use lockstep_domain::placement::{Placing, of_plan};
use lockstep_domain::{Environment, Instance, World};

use crate::{Control, lock};

impl Control {
    /// Shows instances to people: what was healthy on a host that is away is not known to be.
    pub(crate) fn as_known_now(&self, mut instances: Vec<Instance>) -> Vec<Instance> {
        let is_away =
            |instance: &Instance| instance.host.as_ref().is_some_and(|host| self.hosts.is_away(host));
        instances.iter_mut().filter(|instance| is_away(instance)).for_each(doubt);
        instances
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
