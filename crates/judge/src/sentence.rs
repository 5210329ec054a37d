//! The words of a verdict, made in one place from its data.

use std::fmt;

use crate::quantity::Times;
use crate::verdict::{
    Beside, Fault, Judgement, Measure, Missed, Missing, Note, Proof, Scope, Seen, Verdict, Waiting,
};

/// What the versions are called in sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names<'a> {
    /// The service.
    pub service: &'a str,
    /// The version on trial.
    pub new: &'a str,
    /// The version that it would replace.
    pub old: &'a str,
    /// What both are asked to do.
    pub of: Unit,
}

/// What is counted of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// What a gateway gives it.
    #[default]
    Requests,
    /// What it fetches itself.
    Jobs,
}

impl Unit {
    const fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Jobs => "jobs",
        }
    }

    const fn works(self) -> &'static str {
        match self {
            Self::Requests => "serves",
            Self::Jobs => "works",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Judgement {
    /// Says the verdict in one or two plain sentences.
    #[must_use]
    pub fn sentence(&self, names: &Names<'_>) -> String {
        match &self.verdict {
            Verdict::Pass(proof) => proof.sentence(names),
            Verdict::Fail(faults) => {
                faults.iter().map(|fault| fault.sentence(names)).collect::<Vec<_>>().join("; ")
            }
            Verdict::None(waiting) => {
                waiting.iter().map(|one| one.sentence(names)).collect::<Vec<_>>().join("; ")
            }
        }
    }
}

impl Proof {
    /// Says what a pass rests on.
    #[must_use]
    pub fn sentence(&self, names: &Names<'_>) -> String {
        let Names { service, new, old, of: unit } = names;
        match self {
            Self::NotWorse { less_than, seen: Beside { new: seen, old: beside } } => format!(
                "{service} {new} fails {} of {unit}, {old} {}: proven to fail less than {less_than} times as often",
                seen.share(),
                beside.share()
            ),
            Self::Unproven(missed) => format!("passed, not proven: {}", missed.sentence(*unit)),
        }
    }
}

impl Missed {
    /// Says what could have been missed.
    #[must_use]
    pub fn sentence(&self, unit: Unit) -> String {
        let Self { times, share, requests } = self;
        let requests = grouped(*requests);
        let worsening = times.map_or_else(|| "any worsening".to_owned(), |it| format!("less than {it} x"));
        format!("could have missed {worsening} (fails less than {share} of {unit}, by {requests} of them)")
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(Unit::Requests))
    }
}

impl Fault {
    /// Says why a version fails.
    #[must_use]
    pub fn sentence(&self, names: &Names<'_>) -> String {
        let Names { service, new, old, of: unit } = names;
        match self {
            Self::CrashLoop => format!("{service} {new} ends again and again"),
            Self::NotReady => format!("{service} {new} is not ready any more"),
            Self::AllFail { keys, old: beside } => format!(
                "every {} of {service} {new} fails ({keys} of {keys}), {old} fails {}",
                unit.word().trim_end_matches('s'),
                beside.share()
            ),
            Self::Worse { scope, measure, seen, evidence, what } => {
                let often = often(seen);
                let what = if what.is_empty() { String::new() } else { format!(": {what}") };
                format!(
                    "{}{what} ({often}evidence {}:1)",
                    compared(names, scope, *measure, seen),
                    grouped(*evidence)
                )
            }
        }
    }
}

impl Waiting {
    /// Says what is waited for.
    #[must_use]
    pub fn sentence(&self, names: &Names<'_>) -> String {
        let Names { service, new, old, of: unit } = names;
        match self {
            Self::NoCounters { intervals } => {
                format!("no counters came for {intervals} looks: a gateway is silent")
            }
            Self::Incident { seen: Beside { new: seen, old: beside } } => format!(
                "this incident is not caused by the rollout: {service} {old} fails {} of {unit} now, {new} {}; waiting until it is over",
                beside.share(),
                seen.share()
            ),
            Self::FailsAlone { new: seen, before } => {
                let before = before.map(|before| format!("; {old} failed {} before", before.share()));
                format!(
                    "{service} {new} fails {} of {unit}, and no older version {} beside it{}",
                    seen.share(),
                    unit.works(),
                    before.unwrap_or_default()
                )
            }
            Self::Suspicious { scope, measure, seen, evidence, missing } => {
                let more =
                    missing.map(|missing| format!(", about {} would decide", more(missing, measure.hits())));
                format!(
                    "{} (evidence {}:1, not enough to take it back{})",
                    compared(names, scope, *measure, seen),
                    grouped(*evidence),
                    more.unwrap_or_default()
                )
            }
            Self::Lost { scope, status, seen: Beside { new: seen, old: beside } } => format!(
                "{service} {new} answers {status} to {}, {old} to {}: has a route gone?",
                of(*seen, scope, *unit),
                beside.share()
            ),
            Self::Requests { requests, failures } => {
                let proof = failures.map(|it| format!(", or about {} to prove it", more(it, "failures")));
                format!("waiting for about {}{}", more(*requests, unit.word()), proof.unwrap_or_default())
            }
            Self::Bake { ms } => format!("waiting {} more", duration(*ms)),
        }
    }
}

impl Note {
    /// Says what is told beside the verdict.
    #[must_use]
    pub fn sentence(&self, names: &Names<'_>) -> String {
        let Names { service, new, old, of: unit } = names;
        match self {
            Self::Change { scope, status, seen: Beside { new: seen, old: beside } } => format!(
                "{service} {new} answers {status} to {}, {old} to {}: not counted as a failure",
                of(*seen, scope, *unit),
                beside.share()
            ),
            Self::Immaterial { scope, measure, seen } => {
                format!("{}: too little to matter", compared(names, scope, *measure, seen))
            }
            Self::BothBreak { scope, seen: Beside { new: seen, old: beside }, what } => format!(
                "{} that were compared of {service} {new} are not what its contract says, and {} of {old}: the rollout has not done that, or \
                 the contract is wrong ({what})",
                answers(*seen, scope),
                beside.share()
            ),
            Self::OldFailsToo { old: beside } => {
                format!(
                    "{service} {old} itself fails {} of {unit}; {new} is measured against that",
                    beside.share()
                )
            }
        }
    }
}

impl Measure {
    const fn hits(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Slower { .. } => "slow answers",
            Self::Broken => "answers that break the contract",
        }
    }
}

/// `orders 1.4.0 fails 4.1 % of /pay, 1.3.2 0.2 %`.
fn compared(names: &Names<'_>, scope: &Scope, measure: Measure, seen: &Beside) -> String {
    let (service, version, before) = (names.service, names.new, names.old);
    let (new, beside) = (seen.new, seen.old.share());
    match measure {
        Measure::Failures => {
            format!("{service} {version} fails {}, {before} {beside}", of(new, scope, names.of))
        }
        Measure::Slower { bound_ms } => format!(
            "{service} {version} takes more than {} for {}, {before} for {beside}",
            duration(bound_ms),
            of(new, scope, names.of)
        ),
        Measure::Broken => format!(
            "{service} {version} breaks its contract in {} that were compared, {before} in {beside}",
            answers(new, scope)
        ),
    }
}

fn answers(seen: Seen, scope: &Scope) -> String {
    match scope {
        Scope::Total => format!("{} of the answers", seen.share()),
        Scope::Class(class) => format!("{} of the answers of {class}", seen.share()),
    }
}

fn of(seen: Seen, scope: &Scope, unit: Unit) -> String {
    match scope {
        Scope::Total => format!("{} of {unit}", seen.share()),
        Scope::Class(class) => format!("{} of {class}", seen.share()),
    }
}

/// `about 20 times as often; `, where the old version did it at all.
fn often(Beside { new, old }: &Beside) -> String {
    let ratio = Times::from_ratio(rate(*new) / rate(*old));
    match old.hits {
        0 => String::new(),
        _ => format!("about {ratio} times as often; "),
    }
}

fn rate(seen: Seen) -> f64 {
    seen.hits as f64 / seen.requests.max(1) as f64
}

/// `60 more requests (41 minutes at today's rate)`.
fn more(missing: Missing, what: &str) -> String {
    let count = grouped(missing.count);
    match missing.ms {
        Some(ms) => format!("{count} more {what} ({} at today's rate)", duration(ms)),
        None => format!("{count} more {what} (none come at present)"),
    }
}

/// Writes a duration in its largest unit, as people say it.
#[must_use]
pub fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let unit =
        UNITS.into_iter().find(|(unit, _)| ms >= 2 * unit || (ms >= *unit && ms.is_multiple_of(*unit)));
    match unit {
        None => format!("{ms} ms"),
        Some((unit, name)) => {
            let count = ms.div_ceil(unit);
            let plural = if count == 1 { "" } else { "s" };
            format!("{} {name}{plural}", grouped(count))
        }
    }
}

/// Writes a number with commas between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
