//! Whether gateways can do what a version asks of them.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::operation::Move;
use lockstep_domain::routes::FORMAT_WITH_AFFINITY;
use lockstep_domain::{Arm, EnvironmentName, Plan, World};

use crate::Control;

impl Control {
    /// A gateway that does not take tables with affinity would go on with its last one, whatever ends after that.
    pub(super) fn check_keeps_clients(
        &self,
        world: &World,
        environment: &EnvironmentName,
        plan: &Plan,
    ) -> Result<(), Problem> {
        let keeps = |arm: &Arm| {
            let mut routes =
                world.version(&arm.version_ref()).into_iter().flat_map(|version| &version.routes);
            routes.any(|route| route.affinity.is_some())
        };
        let mut arms = plan.moves().filter_map(Move::to_arm);
        let Some(arm) = arms.find(keeps) else { return Ok(()) };
        let seen = self.registry.gateways(environment, self.ledger.now());
        let older = seen.into_iter().find(|it| it.takes_format.is_some_and(|it| it < FORMAT_WITH_AFFINITY));
        let Some(gateway) = older.map(|it| it.gateway) else { return Ok(()) };
        let detail = format!(
            "a route of {arm} keeps clients at instances, and gateway `{gateway}` of `{environment}` is of a release that cannot"
        );
        let name = gateway.split('/').next().unwrap_or_default();
        let hint = format!("upgrade it first, or let nothing wait for it: lockstep gateway remove {name}");
        Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint))
    }
}
