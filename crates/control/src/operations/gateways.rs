//! Whether gateways can do what a version asks of them.

use lockstep_api::Problem;
use lockstep_domain::operation::Move;
use lockstep_domain::routes::{
    FORMAT_WITH_AFFINITY, FORMAT_WITH_APPROACH, FORMAT_WITH_BALANCING, FORMAT_WITH_BREAKERS,
    FORMAT_WITH_CHECKS, FORMAT_WITH_COMPRESSION, FORMAT_WITH_CONDITIONS, FORMAT_WITH_FLOORS,
    FORMAT_WITH_HEDGES, FORMAT_WITH_POLICIES, FORMAT_WITH_PRIORITIES, FORMAT_WITH_PROTOCOLS,
    FORMAT_WITH_SHEDDING, FORMAT_WITH_TCP, FORMAT_WITH_UPGRADES, FORMAT_WITH_VISITS, RouteRule,
};
use lockstep_domain::service::Version;
use lockstep_domain::{Arm, EnvironmentName, Plan, World};

use crate::Control;

/// What a version asks of gateways that not every release can do.
struct Asked {
    /// The format of tables that has it.
    format: u32,
    /// What it is, as a sentence goes on that begins with the version.
    what: &'static str,
}

fn asked(version: &Version) -> Option<Asked> {
    if !version.checks.is_empty() {
        return Some(Asked { format: FORMAT_WITH_CHECKS, what: "has checks that gateways make" });
    }
    if version.run.gateway.as_ref().is_some_and(|policy| policy.has_floor()) {
        let what = "has instances that are asked whatever is seen of them";
        return Some(Asked { format: FORMAT_WITH_FLOORS, what });
    }
    if version.routes.iter().any(RouteRule::upgrades) {
        let what = "has connections switched to a protocol of its own by a route";
        return Some(Asked { format: FORMAT_WITH_UPGRADES, what });
    }
    if version.routes.iter().any(RouteRule::hedges) {
        return Some(Asked {
            format: FORMAT_WITH_HEDGES,
            what: "has reads asked of two instances by a route",
        });
    }
    let shares = version.run.gateway.as_ref().is_some_and(|policy| policy.priorities.is_some());
    if shares || version.routes.iter().any(RouteRule::has_priority) {
        return Some(Asked { format: FORMAT_WITH_PRIORITIES, what: "has requests of several priorities" });
    }
    if version.run.gateway.as_ref().is_some_and(|policy| policy.adaptive_limit.is_some()) {
        let what = "has a limit of requests that adapts";
        return Some(Asked { format: FORMAT_WITH_SHEDDING, what });
    }
    if version.routes.iter().any(RouteRule::keeps_visitors) {
        return Some(Asked { format: FORMAT_WITH_VISITS, what: "keeps visitors by a route" });
    }
    if version.routes.iter().any(RouteRule::compresses) {
        return Some(Asked { format: FORMAT_WITH_COMPRESSION, what: "has answers compressed by a route" });
    }
    if !version.run.approach.is_plain() {
        return Some(Asked { format: FORMAT_WITH_APPROACH, what: "speaks TLS or wants a PROXY header" });
    }
    if version.run.gateway.as_ref().is_some_and(|policy| policy.needs_balancing()) {
        return Some(Asked { format: FORMAT_WITH_BALANCING, what: "says how its instances are chosen" });
    }
    if version.run.gateway.is_some() || version.routes.iter().any(RouteRule::has_fallback) {
        let what = "asks to be left alone when it fails";
        return Some(Asked { format: FORMAT_WITH_BREAKERS, what });
    }
    if !version.run.protocol.is_http() {
        return Some(Asked { format: FORMAT_WITH_TCP, what: "speaks TCP" });
    }
    if version.routes.iter().any(|route| route.policy.is_some()) {
        let what = "has a route that asks for time limits, retries or limits of its own";
        return Some(Asked { format: FORMAT_WITH_POLICIES, what });
    }
    if version.routes.iter().any(RouteRule::needs_conditions) {
        let what = "has a route with conditions, or that does something of its own";
        return Some(Asked { format: FORMAT_WITH_CONDITIONS, what });
    }
    if !version.run.protocol.is_http1() {
        return Some(Asked { format: FORMAT_WITH_PROTOCOLS, what: "speaks HTTP/2" });
    }
    let keeps = version.routes.iter().any(|route| route.affinity.is_some());
    keeps.then_some(Asked { format: FORMAT_WITH_AFFINITY, what: "keeps clients at instances by a route" })
}

impl Control {
    /// A gateway that does not take such tables would go on with its last one, whatever ends after that.
    pub(super) fn check_gateways_can(
        &self,
        world: &World,
        environment: &EnvironmentName,
        plan: &Plan,
    ) -> Result<(), Problem> {
        let of = |arm: Arm| Some((world.version(&arm.version_ref()).and_then(|it| asked(it))?, arm));
        let all = plan.moves().filter_map(Move::to_arm).filter_map(of);
        let Some((Asked { format, what }, arm)) = all.max_by_key(|(asked, _)| asked.format) else {
            return Ok(());
        };
        self.check_takes_format(environment, format, |gateway| {
            format!(
                "{arm} {what}, and gateway `{gateway}` of `{environment}` is of a release that cannot do that"
            )
        })
    }
}
