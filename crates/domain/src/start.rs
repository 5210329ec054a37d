//! How long it takes to start what is kept ready for going back: measured, and never guessed.
//!
//! Of what works although nobody asks it nothing can be kept warm. What can be is its artifact, unpacked and checked on the host, so
//! that going back takes as long as a start does.

use std::fmt;

use imbl::Vector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::instance::{Arm, ConfigRevision};
use crate::mend::run_of;
use crate::process;
use crate::run::Takeover;
use crate::service::Version;
use crate::world::World;

/// So many starts of a version are measured in an environment: more tell nothing new, and each is recorded.
pub const MAX_MEASURED: usize = 5;

/// How long starts of an arm took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeasuredStart {
    /// What was started.
    pub arm: Arm,
    /// From being asked for until it was healthy, in milliseconds: the middle one of those that were measured.
    pub ms: u64,
    /// How many were.
    pub times: usize,
}

/// What has to end before something is started that cannot run beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndsFirst {
    /// What ends.
    pub arm: Arm,
    /// How long it has for that at most, in milliseconds: then it is killed.
    pub ms: u64,
}

/// What is known of how something starts that is gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StartOutlook {
    /// What has to be started, as far as its starts were measured, the slowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<MeasuredStart>,
    /// What has to be started and was never measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmeasured: Vec<Arm>,
    /// What has to end before, the one with the longest time for it first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<EndsFirst>,
    /// Why its artifact is not ready on the host, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprepared: Option<String>,
}

impl StartOutlook {
    /// Adds what is known of something else that starts with it.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.measured.extend(other.measured);
        self.measured.sort_by_key(|start| std::cmp::Reverse(start.ms));
        self.unmeasured.extend(other.unmeasured);
        self.after.extend(other.after);
        self.after.sort_by_key(|end| std::cmp::Reverse(end.ms));
        self.unprepared = self.unprepared.or(other.unprepared);
        self
    }
}

/// Returns what is known of how the target of a way back starts; `None` where it is not kept ready, or nothing of it works unasked.
/// `unprepared` is why its artifact is not ready, if it is not.
#[must_use]
pub fn outlook(
    world: &World,
    environment: &Environment,
    main: &Arm,
    unprepared: Option<String>,
) -> Option<StartOutlook> {
    let arms: Vec<_> = process::arms(world, main).filter(|arm| works_unasked(world, arm)).collect();
    if arms.is_empty() {
        return None;
    }
    let after = ends_first(world, environment, &arms);
    let (known, unmeasured): (Vec<_>, Vec<_>) =
        arms.into_iter().partition(|arm| environment.starts.contains_key(&key(arm)));
    let measured = known.into_iter().filter_map(|arm| {
        let mut all: Vec<u64> = environment.starts.get(&key(&arm))?.iter().copied().collect();
        all.sort_unstable();
        Some(MeasuredStart { arm, ms: *all.get(all.len() / 2)?, times: all.len() })
    });
    let outlook = StartOutlook { measured: measured.collect(), unmeasured, after, unprepared };
    Some(outlook.with(StartOutlook::default()))
}

/// Lists what of the version that runs has to end before one of these starts.
fn ends_first(world: &World, environment: &Environment, starts: &[Arm]) -> Vec<EndsFirst> {
    let Some(service) = starts.first().map(|arm| &arm.service) else { return Vec::new() };
    let Some(present) = environment.entries().get(service).map(|entry| entry.arm(service)) else {
        return Vec::new();
    };
    let gives_way =
        |old: &Arm| starts.iter().any(|new| new.version != old.version && replaces(world, old, new));
    let ends = process::arms(world, &present).filter(gives_way);
    ends.filter_map(|arm| Some(EndsFirst { ms: run_of(world, &arm)?.stop.timeout_ms, arm })).collect()
}

fn replaces(world: &World, old: &Arm, new: &Arm) -> bool {
    let (Some(before), Some(after)) = (run_of(world, old), run_of(world, new)) else { return false };
    let same = old.process == new.process && Takeover::between(before, after) == Takeover::OldFirst;
    same || process::are_apart(world, new, old)
}

/// Tells whether instances of an arm work although nobody asks them.
#[must_use]
pub fn works_unasked(world: &World, arm: &Arm) -> bool {
    let version = world.version(&arm.version_ref());
    let run = version.and_then(|version| version.run_of(arm.process.as_ref()));
    run.is_some_and(|run| run.kind.has_instances() && !run.rests_unasked())
}

/// Tells whether anything of a version works although nobody asks it.
pub(crate) fn has_workers(version: &Version) -> bool {
    version.standing().any(|(_, run)| !run.rests_unasked())
}

/// Under what starts are kept: however it is configured, it is the same program.
pub(crate) fn key(arm: &Arm) -> Arm {
    Arm { config: ConfigRevision(0), ..arm.clone() }
}

/// Tells whether another start of an arm is still to be measured.
#[must_use]
pub fn is_wanted(environment: &Environment, arm: &Arm) -> bool {
    environment.starts.get(&key(arm)).is_none_or(|known| known.len() < MAX_MEASURED)
}

impl Environment {
    /// Notes how long a start took. Folding only.
    pub(crate) fn note_start(&mut self, arm: &Arm, ms: u64) {
        let known: &mut Vector<u64> = self.starts.entry(key(arm)).or_default();
        known.push_back(ms);
        if known.len() > MAX_MEASURED {
            known.pop_front();
        }
    }
}

impl fmt::Display for MeasuredStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.times == 1 { "once".to_owned() } else { format!("{} times", self.times) };
        write!(f, "{} starts in {} (measured {times})", named(&self.arm), span(self.ms))
    }
}

impl fmt::Display for EndsFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "once {} has ended (at most {})", named(&self.arm), span(self.ms))
    }
}

/// `mailer 1.0.0`, `shop worker 1.0.0`.
fn named(arm: &Arm) -> String {
    let process = arm.process.as_ref().map(|process| format!(" {process}")).unwrap_or_default();
    format!("{}{process} {}", arm.service, arm.version)
}

impl fmt::Display for StartOutlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.unprepared {
            write!(f, "not prepared, it is unpacked first if needed: {why}; ")?;
        }
        let unmeasured =
            self.unmeasured.iter().map(|arm| format!("how long {arm} takes to start was never measured"));
        match self.measured.first() {
            Some(slowest) if self.unmeasured.is_empty() && self.unprepared.is_none() => {
                let after = self.after.first().map(|end| format!(" {end}")).unwrap_or_default();
                write!(f, "back in about {} s{after}: ", slowest.ms.div_ceil(1_000).max(1))?;
            }
            _ => self.after.first().map_or(Ok(()), |end| write!(f, "{end}: "))?,
        }
        let all = self.measured.iter().map(ToString::to_string).chain(unmeasured);
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

/// `800 ms`, `2.1 s`.
fn span(ms: u64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        _ if ms >= 10_000 && ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::VersionNumber;

    fn start(service: &str, ms: u64, times: usize) -> MeasuredStart {
        let version = VersionNumber::new(1, 2, 0);
        let arm =
            Arm { service: service.parse().unwrap(), version, config: ConfigRevision(3), process: None };
        MeasuredStart { arm, ms, times }
    }

    #[test]
    fn what_was_measured_is_said_and_nothing_is_guessed() {
        let one =
            StartOutlook { measured: vec![start("orders-worker", 2_140, 3)], ..StartOutlook::default() };
        assert_eq!(
            one.to_string(),
            "back in about 3 s: orders-worker 1.2.0 starts in 2.1 s (measured 3 times)"
        );
        let two = one
            .clone()
            .with(StartOutlook { measured: vec![start("mailer", 4_000, 1)], ..StartOutlook::default() });
        assert_eq!(
            two.to_string(),
            "back in about 4 s: mailer 1.2.0 starts in 4.0 s (measured once), \
             orders-worker 1.2.0 starts in 2.1 s (measured 3 times)"
        );
        let after = EndsFirst { arm: start("orders-worker", 0, 0).arm, ms: 40_000 };
        let ends = StartOutlook { after: vec![after], ..one.clone() };
        assert_eq!(
            ends.to_string(),
            "back in about 3 s once orders-worker 1.2.0 has ended (at most 40 s): \
             orders-worker 1.2.0 starts in 2.1 s (measured 3 times)"
        );
        let never = StartOutlook { unmeasured: vec![start("mailer", 0, 0).arm], ..StartOutlook::default() };
        assert_eq!(never.to_string(), "how long mailer@1.2.0 (c3) takes to start was never measured");
        let lost = StartOutlook { unprepared: Some("its artifact is gone".into()), ..never.with(one) };
        let text = lost.to_string();
        assert!(
            text.starts_with(
                "not prepared, it is unpacked first if needed: its artifact is gone; orders-worker"
            ),
            "{text}"
        );
    }
}
