//! What a plan would do without one of its hosts: whether the others can take what is to start there, before anybody says yes.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::{Arm, Instance};
use crate::intent::Intent;
use crate::lost_host::{HostLost, chosen, enough};
use crate::name::HostName;
use crate::observed::is_alive;
use crate::operation::Plan;
use crate::placement::{Placing, of_plan, wanted};

/// Instances of an arm that no other host could take if one were lost before the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WithoutHost {
    /// The host.
    pub host: HostName,
    /// The arm.
    pub arm: Arm,
    /// How many instances of it are needed.
    pub wanted: u32,
    /// How many of them would find no place.
    pub lacking: u32,
    /// What the operation would do.
    pub then: HostLost,
}

impl fmt::Display for WithoutHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, arm, wanted, lacking, then } = self;
        let finds = if *lacking == 1 { "finds" } else { "find" };
        write!(
            f,
            "if {host} is lost before the switch, {lacking} of {wanted} instances of {arm} {finds} no other place: "
        )?;
        match then {
            HostLost::GoBack => f.write_str("the operation goes back"),
            HostLost::Wait => write!(f, "the operation waits for {host}"),
            HostLost::GoOn => write!(f, "the operation goes on with {}", wanted.saturating_sub(*lacking)),
        }
    }
}

/// Returns what would find no place, host by host; empty where the others can take all of each.
#[must_use]
pub fn without_hosts(placing: Placing<'_>, intent: &Intent, plan: &Plan) -> Vec<WithoutHost> {
    let wanted = wanted(placing, plan);
    let is_ours = |it: &&Instance| {
        it.environment == placing.environment.name && is_alive(it) && wanted.contains_key(&it.arm)
    };
    let there = placing.running.iter().filter(is_ours).filter_map(|it| it.host.clone());
    let begun = plan.places.iter().flat_map(|places| places.hosts.iter().cloned());
    let hosts: BTreeSet<HostName> = there.chain(begun).collect();
    hosts.iter().flat_map(|host| without(placing, host, (intent, plan))).collect()
}

fn without(placing: Placing<'_>, host: &HostName, (intent, plan): (&Intent, &Plan)) -> Vec<WithoutHost> {
    let reached: BTreeSet<_> = placing.reached.iter().filter(|name| *name != host).cloned().collect();
    let running: Vec<_> =
        placing.running.iter().filter(|it| it.host.as_ref() != Some(host)).cloned().collect();
    let placing = Placing { reached: &reached, running: &running, ..placing };
    let all = wanted(placing, plan);
    let before = |arm: &Arm| plan.places.iter().find(|it| it.arm == *arm).map_or(0, |it| it.lacking);
    let lacking = of_plan(placing, plan).into_iter().filter(|it| it.lacking > before(&it.arm));
    let found = lacking.map(|it| {
        let wanted = all.get(&it.arm).copied().unwrap_or(it.lacking);
        let then = match chosen(placing.environment, intent) {
            HostLost::GoOn if wanted.saturating_sub(it.lacking) < enough(wanted) => HostLost::GoBack,
            other => other,
        };
        WithoutHost { host: host.clone(), arm: it.arm, wanted, lacking: it.lacking, then }
    });
    found.collect()
}
