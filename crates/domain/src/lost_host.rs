//! Hosts that are lost while something starts there: what is begun anew elsewhere, and what an operation does when no host is left.
//!
//! Only what serves nobody yet is begun anew by itself. What serves may go on where its host is, and is moved when somebody says so.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::environment::Environment;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::instance::{Arm, Instance, InstanceId, InstanceState};
use crate::intent::Intent;
use crate::mend::run_of;
use crate::name::{EnvironmentName, HostName, ServiceName};
use crate::observed::Observed;
use crate::operation::{Move, Operation, Phase};
use crate::run::Replace;
use crate::world::World;

/// Most failures of an arm at a host that is there before nobody tries again: as many as are remembered, without the newest.
const MOST_FAILURES: usize = 4;

/// What an operation does when a host fails before the switch, and no other host can take what was to start there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostLost {
    /// It goes back; one that goes back itself goes on without the host where enough instances remain. What an older release recorded meant this.
    #[default]
    GoBack,
    /// It waits for the host, as long as it takes.
    Wait,
    /// It goes on without the host where enough instances remain, and goes back otherwise.
    GoOn,
}

/// The word is none of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "write `go-back`, `wait`, or `go-on`, which goes on without the host where at least half of the instances remain"
)]
pub struct HostLostError;

impl FromStr for HostLost {
    type Err = HostLostError;

    fn from_str(text: &str) -> Result<Self, HostLostError> {
        match text {
            "go-back" => Ok(Self::GoBack),
            "wait" => Ok(Self::Wait),
            "go-on" => Ok(Self::GoOn),
            _ => Err(HostLostError),
        }
    }
}

impl fmt::Display for HostLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::GoBack => "go-back",
            Self::Wait => "wait",
            Self::GoOn => "go-on",
        })
    }
}

/// What a person decides about hosts that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LostHosts {
    /// What an operation does before its switch.
    #[serde(default)]
    pub before_switch: HostLost,
    /// After how long what runs on one is moved by itself.
    #[serde(default, skip_serializing_if = "EvacuateAfter::is_never")]
    pub evacuate_after: EvacuateAfter,
}

/// The least time after which a host is evacuated by itself: one that is started anew is away for longer than a moment.
pub const MIN_EVACUATE_MS: u64 = 10_000;
/// The most: a week.
pub const MAX_EVACUATE_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// After how long what runs on a host that is not reached is moved to others by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvacuateAfter {
    /// It is not: a person says so.
    #[default]
    Never,
    /// After so many milliseconds.
    Ms(u64),
}

impl EvacuateAfter {
    /// Tells whether a person has to say so.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::Never
    }

    /// Tells whether it can be that.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Never => true,
            Self::Ms(ms) => (MIN_EVACUATE_MS..=MAX_EVACUATE_MS).contains(ms),
        }
    }
}

impl LostHosts {
    /// Tells whether nothing need be said of it.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns how many of some instances have to remain so that an operation goes on without a host: half of them.
#[must_use]
pub const fn enough(wanted: u32) -> u32 {
    wanted.div_ceil(2)
}

/// Returns the instances that nobody waits for: their host is given up on, and they serve nobody yet. `gone` are the hosts that were not reached for
/// longer than is waited for one, or were told to be evacuated.
#[must_use]
pub fn lost(
    environment: &Environment,
    instances: &[Instance],
    gone: &BTreeSet<HostName>,
) -> BTreeSet<InstanceId> {
    let coming: BTreeSet<Arm> = coming(environment).collect();
    let serves_nobody = |instance: &Instance| match instance.state {
        InstanceState::Starting | InstanceState::Stopping => true,
        InstanceState::Healthy | InstanceState::Unhealthy { .. } => coming.contains(&instance.arm),
        _ => false,
    };
    let is_gone = |instance: &&Instance| instance.host.as_ref().is_some_and(|host| gone.contains(host));
    let lost = instances.iter().filter(is_gone).filter(|instance| serves_nobody(instance));
    lost.map(|instance| instance.id.clone()).collect()
}

/// The arms that an operation prepares and that were given nothing yet.
fn coming(environment: &Environment) -> impl Iterator<Item = Arm> {
    let preparing = environment.moving().filter_map(|operation| match operation.phase {
        Phase::Preparing { wave, .. } => Some((operation, wave)),
        _ => None,
    });
    let moves = preparing.flat_map(|(operation, wave)| operation.plan.waves.iter().skip(wave).flatten());
    moves.flat_map(Move::to_arms).filter(|arm| !environment.is_ruled(arm))
}

/// Tells whether an instance that is not over yet keeps no other one from starting: it is on a host that is given up on, and what takes its place
/// starts on another one.
pub(crate) fn leaves_room(world: &World, observed: &Observed, instance: &Instance) -> bool {
    let may_be_two = run_of(world, &instance.arm).is_some_and(|run| run.replace != Replace::OldFirst);
    may_be_two && observed.lost.contains(&instance.id)
}

/// Tells whether an instance failed because of the host that it was to start on, and not by its own doing.
#[must_use]
pub(crate) fn failed_by_host(instance: &Instance) -> bool {
    let of_host = |fault| matches!(fault, Fault::Host | Fault::Disk | Fault::Port);
    instance.host.is_some()
        && matches!(&instance.state, InstanceState::Failed { fault, .. } if of_host(*fault))
}

/// How an arm stands that an operation starts, where hosts failed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// No host had to do with it: it is looked at as everywhere.
    AsEver,
    /// It is tried on another host, or its operation waits for one.
    GoesOn,
    /// No host is left.
    NoneLeft,
}

/// Says what becomes of an arm of which instances failed since an operation began.
pub(crate) fn outlook(
    environment: &Environment,
    observed: &Observed,
    operation: &Operation,
    arm: &Arm,
) -> Outlook {
    let failed = || failed_since(observed, operation, arm);
    let is_ours = |instance: &Instance| failed_by_host(instance) || found_none(instance);
    if failed().next().is_none() || !failed().all(is_ours) {
        return Outlook::AsEver;
    }
    if failed().any(found_none) {
        return when_none_is_left(environment, observed, operation, arm);
    }
    let here: Vec<_> =
        failed().filter_map(|it| it.host.as_ref()).filter(|it| !observed.away.contains(*it)).collect();
    let hosts: BTreeSet<_> = here.iter().collect();
    let wanted = usize::try_from(environment.count_of(arm)).unwrap_or(usize::MAX);
    let is_tried = hosts.len() <= 1 && here.len() <= wanted.min(MOST_FAILURES);
    if is_tried { Outlook::GoesOn } else { Outlook::NoneLeft }
}

/// No host could take an instance of the arm: what its operation does then.
fn when_none_is_left(
    environment: &Environment,
    observed: &Observed,
    operation: &Operation,
    arm: &Arm,
) -> Outlook {
    let fleet = Fleet::serving(environment, observed, arm);
    let starts = || observed.of(arm).any(|it| it.state == InstanceState::Starting);
    let goes_on = match policy(environment, operation) {
        HostLost::GoBack => false,
        HostLost::Wait => starts(),
        HostLost::GoOn => fleet.healthy() >= enough(environment.count_of(arm)) || starts(),
    };
    if goes_on { Outlook::GoesOn } else { Outlook::NoneLeft }
}

/// What an operation does when no host is left. One that goes back is not taken back because of a host as long as it can go on.
pub(crate) fn policy(environment: &Environment, operation: &Operation) -> HostLost {
    chosen(environment, &operation.intent)
}

/// What is done about an intent when no host is left.
pub(crate) fn chosen(environment: &Environment, intent: &Intent) -> HostLost {
    match environment.settings.lost_hosts.before_switch {
        HostLost::GoBack if intent.goes_back() => HostLost::GoOn,
        chosen => chosen,
    }
}

/// Tells whether instances of a service wait for hosts as long as it takes: an operation starts them, and its environment says so.
#[must_use]
pub fn waits_for_hosts(world: &World, environment: &EnvironmentName, service: &ServiceName) -> bool {
    let Some(environment) = world.environment(environment) else { return false };
    let mut preparing = environment.under_way().filter(|it| matches!(it.phase, Phase::Preparing { .. }));
    preparing.any(|it| it.touches().contains(service) && policy(environment, it) == HostLost::Wait)
}

/// Tells whether an instance that is to be started is held back, because of those that failed since an operation began.
pub(crate) fn holds_back(
    environment: &Environment,
    observed: &Observed,
    operation: &Operation,
    arm: &Arm,
) -> bool {
    let mut failed = failed_since(observed, operation, arm).peekable();
    if failed.peek().is_none() {
        return false;
    }
    let found_none = failed.any(found_none);
    outlook(environment, observed, operation, arm) != Outlook::GoesOn || found_none
}

/// An arm that has too few instances because of hosts.
pub(crate) struct Short {
    pub(crate) arm: Arm,
    pub(crate) healthy: u32,
    pub(crate) wanted: u32,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arm, healthy, wanted } = self;
        let is_or_are = if *wanted == 1 { "instance of" } else { "instances of" };
        write!(f, "{healthy} of {wanted} {is_or_are} {arm} healthy")
    }
}

/// Returns those of some arms that an operation goes on without all instances of; `None` when one of them keeps it. `is_late` when it waits
/// for longer than instances take to become healthy.
pub(crate) fn goes_on_without(
    environment: &Environment,
    observed: &Observed,
    operation: &Operation,
    lacking: &[(Arm, u32)],
    is_late: bool,
) -> Option<Vec<Short>> {
    let short = |(arm, wanted): &(Arm, u32)| {
        let healthy = Fleet::serving(environment, observed, arm).healthy();
        let found_none = failed_since(observed, operation, arm).any(found_none);
        let is_lost = is_late && observed.of(arm).any(|it| observed.lost.contains(&it.id));
        let starts =
            observed.of(arm).any(|it| it.state == InstanceState::Starting && !observed.lost.contains(&it.id));
        let is_excused = healthy >= enough(*wanted) && ((found_none && !starts) || is_lost);
        is_excused.then(|| Short { arm: arm.clone(), healthy, wanted: *wanted })
    };
    let may = policy(environment, operation) == HostLost::GoOn;
    if may { lacking.iter().map(short).collect() } else { None }
}

/// Says which hosts an operation waits for, and with what; `None` where it does not wait for any.
pub(crate) fn awaited(
    world: &World,
    environment: &Environment,
    observed: &Observed,
    operation: &Operation,
    lacking: &[(Arm, u32)],
) -> Option<String> {
    if policy(environment, operation) != HostLost::Wait || observed.away.is_empty() {
        return None;
    }
    let waits = |it: &Instance| {
        let is_nowhere = it.state == InstanceState::Starting && it.host.is_none();
        is_nowhere || observed.lost.contains(&it.id) || failed_by_host(it)
    };
    let of_hosts = lacking.iter().filter(|(arm, _)| observed.of(arm).any(waits));
    let short = of_hosts.map(|(arm, wanted)| {
        let healthy = Fleet::serving(environment, observed, arm).healthy();
        Short { arm: arm.clone(), healthy, wanted: *wanted }.to_string()
    });
    let short: Vec<_> = short.collect();
    let serving =
        |name: &&HostName| world.hosts.get(*name).is_some_and(|host| host.serves(&environment.name));
    let names: Vec<_> = observed.away.iter().filter(serving).map(|name| format!("`{name}`")).collect();
    let (what, are) = if names.len() == 1 { ("host", "is") } else { ("hosts", "are") };
    (!short.is_empty()).then(|| {
        format!(
            "{what} {}, which {are} not reached: {}; not to wait: lockstep environment set {} --host-lost go-on, or lockstep undo {2}",
            names.join(", "),
            short.join(", "),
            environment.name
        )
    })
}

fn failed_since<'a>(
    observed: &'a Observed,
    operation: &'a Operation,
    arm: &'a Arm,
) -> impl Iterator<Item = &'a Instance> {
    let is_fresh = |it: &&Instance| it.since >= operation.begun && !operation.plan.restarts.contains(&it.id);
    observed.of(arm).filter(is_fresh).filter(|it| matches!(it.state, InstanceState::Failed { .. }))
}

fn found_none(instance: &Instance) -> bool {
    matches!(instance.state, InstanceState::Failed { fault: Fault::NoHost, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_read_as_they_are_shown() {
        for policy in [HostLost::GoBack, HostLost::Wait, HostLost::GoOn] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
        }
        assert_eq!("goback".parse::<HostLost>(), Err(HostLostError));
    }

    #[test]
    fn half_of_the_instances_are_enough_and_one_alone_is_never_done_without() {
        assert_eq!([1, 2, 3, 4, 5].map(enough), [1, 1, 2, 2, 3]);
    }
}
