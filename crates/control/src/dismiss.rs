//! Single instances: which of them a restart means, and ending one that somebody names.

use lockstep_api::types::{DismissRequest, EnvironmentView};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::fleet::Fleet;
use lockstep_domain::observed::{Observed, is_alive};
use lockstep_domain::operation::{Move, Phase};
use lockstep_domain::process::arms;
use lockstep_domain::{Actor, Arm, Environment, EnvironmentName, Event, Instance, InstanceId, Intent, World};

use crate::environments::find;
use crate::{Control, not_found};

impl Control {
    /// Names the instances that a restart or a rebalancing means; every other intent is as it was.
    pub(crate) fn with_instances(
        &self,
        world: &World,
        environment: &EnvironmentName,
        intent: &Intent,
    ) -> Result<Intent, Problem> {
        if matches!(intent, Intent::Rebalance { .. }) {
            return Ok(Intent::Rebalance { moves: self.relocations(world, find(world, environment)?) });
        }
        let Intent::Restart { service, instances: asked } = intent else { return Ok(intent.clone()) };
        let environment = find(world, environment)?;
        let Some(entry) = environment.entries().get(service) else { return Ok(intent.clone()) };
        let observed = self.seen(world, &environment.name);
        let arms = arms(world, &entry.arm(service));
        let standing: Vec<_> =
            arms.flat_map(|arm| Fleet::serving(environment, &observed, &arm).standing).collect();
        let standing: Vec<_> = standing.into_iter().map(|instance| instance.id.clone()).collect();
        if let Some(other) = asked.iter().find(|id| !standing.contains(id)) {
            let detail =
                format!("`{other}` is none of the instances that serve {service} in `{}`", environment.name);
            return Err(not_found(detail, &format!("lockstep status {}", environment.name)));
        }
        let instances = if asked.is_empty() { standing } else { asked.clone() };
        Ok(Intent::Restart { service: service.clone(), instances })
    }

    /// Ends an instance: it leaves the table, its requests finish, and it is told to end. Where its arm is wanted another is
    /// started.
    ///
    /// # Errors
    /// When there is no such instance, or it is the only healthy one of an arm that serves.
    pub fn dismiss(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        id: &InstanceId,
        request: &DismissRequest,
    ) -> Result<EnvironmentView, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let environment = find(world, name)?;
                let observed = self.seen(world, name);
                let instance =
                    observed.instances.iter().find(|instance| instance.id == *id && is_alive(instance));
                let Some(instance) = instance else {
                    let detail = format!("no instance `{id}` runs in `{name}`");
                    return Err(not_found(detail, &format!("lockstep status {name}")));
                };
                others_serve(environment, &observed, instance)?;
                let (environment, instance) = (name.clone(), id.clone());
                let reason = request.reason.clone();
                Ok((vec![Event::InstanceDismissed { environment, instance, reason }], ()))
            })
        })?;
        self.environment(name)
    }

    pub(crate) fn seen(&self, world: &World, name: &EnvironmentName) -> Observed {
        Observed { instances: self.instances_of(world, name), ..Observed::default() }
    }
}

/// Refuses to end the last healthy instance of an arm that has requests.
fn others_serve(environment: &Environment, observed: &Observed, instance: &Instance) -> Result<(), Problem> {
    let healthy = |other: &&Instance| other.state.is_healthy() && !environment.is_dismissed(&other.id);
    let others = observed.of(&instance.arm).filter(healthy).any(|other| other.id != instance.id);
    if others || !instance.state.is_healthy() || !serves(environment, &instance.arm) {
        return Ok(());
    }
    let detail =
        format!("`{}` is the only healthy instance of {}, which has requests", instance.id, instance.arm);
    let hint = format!("lockstep instance restart {} --env {}", instance.id, environment.name);
    Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
}

fn serves(environment: &Environment, arm: &Arm) -> bool {
    let current = environment.entries().get(&arm.service).map(|entry| entry.arm(&arm.service));
    let under_way = environment.moving().filter(|o| !matches!(o.phase, Phase::Reverting { .. }));
    let targets = under_way.flat_map(|operation| operation.plan.moves().filter_map(Move::to_arm));
    targets.chain(current).chain(environment.ruled_arms()).any(|serving| serving == *arm)
}
