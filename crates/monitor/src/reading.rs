//! What a rule finds in a look: for each subject that it is about, whether something is wrong with it.
//!
//! Invariant: what could not be looked at is never `Fine`. A subject that is not there any more, where its kind was looked at, is.

mod checks;
mod places;
mod services;
mod traffic;

use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::rule::{Condition, Family, Rule};
use crate::seen::{Blind, Observation};
use crate::subject::Subject;

/// What is not so any more for this long, in milliseconds, only lingers in a rule that looks far back.
pub const CALM_MS: u64 = 60_000;

/// What a rule finds of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The subject.
    pub subject: Subject,
    /// How it is.
    pub value: Value,
}

/// How a subject is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing is wrong.
    Fine,
    /// Something is.
    Wrong(Finding),
    /// It is not known.
    Unknown(Blind),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finding {
    /// One line that says what and where.
    pub summary: String,
    /// Numbers, or a reason.
    #[serde(default)]
    pub detail: Option<String>,
    /// The command to run next.
    #[serde(default)]
    pub hint: Option<String>,
    /// Of what looks far back: for how long lately that is not so any more, in milliseconds of the clock.
    #[serde(default)]
    pub calm_ms: Option<u64>,
}

/// A look with what is known of those before.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The look.
    pub look: &'a Observation,
    /// What looks before it showed; the look is noted in it.
    pub history: &'a History,
}

/// Reads a rule: what it finds of each subject.
#[must_use]
pub fn readings(rule: &Rule, known: Known<'_>) -> Vec<Reading> {
    let mut readings = of_condition(&rule.condition, known);
    readings.retain(|reading| rule.is_about(&reading.subject));
    readings
}

fn of_condition(condition: &Condition, known: Known<'_>) -> Vec<Reading> {
    match condition.family() {
        Family::Traffic => traffic::readings(condition, known),
        Family::Check => checks::readings(condition, known),
        Family::Instance | Family::CrashLoop | Family::AllDown | Family::WayBack => {
            services::readings(condition, known)
        }
        _ => places::readings(condition, known),
    }
}

/// Tells how a subject is that had an alert and that no reading is about: gone, or not looked at.
#[must_use]
pub fn of_absent(family: Family, subject: &Subject, look: &Observation) -> Value {
    let seen = match family {
        Family::Host => look.hosts.get("hosts").map(|_| ()),
        Family::Certificate => look.certificates.get("certificates").map(|_| ()),
        Family::Disk => disks(subject, look),
        _ => in_environment(family, subject, look),
    };
    seen.map_or_else(Value::Unknown, |()| Value::Fine)
}

fn disks(subject: &Subject, look: &Observation) -> Result<(), Blind> {
    match subject.get("host") {
        Some(_) => look.hosts.get("hosts").map(|_| ()),
        None => look.server_disk.get("disk of the server").map(|_| ()),
    }
}

fn in_environment(family: Family, subject: &Subject, look: &Observation) -> Result<(), Blind> {
    let environments = look.environments.get("environments")?;
    let Some(seen) = subject.environment().and_then(|name| environments.get(name)) else { return Ok(()) };
    match family {
        Family::Rollout | Family::Waits => return seen.operations.get("operations").map(|_| ()),
        Family::Gateway => return seen.gateways.get("gateways").map(|_| ()),
        _ => {}
    }
    let services = seen.services.get("services")?;
    let Some(service) = subject.service().and_then(|name| services.get(name)) else { return Ok(()) };
    match family {
        Family::Instance | Family::CrashLoop | Family::AllDown => {
            service.instances.get("instances").map(|_| ())
        }
        _ => Ok(()),
    }
}

impl Reading {
    fn of(subject: Subject, wrong: Option<Finding>) -> Self {
        Self { subject, value: wrong.map_or(Value::Fine, Value::Wrong) }
    }

    fn unknown(subject: Subject, why: Blind) -> Self {
        Self { subject, value: Value::Unknown(why) }
    }
}

impl Finding {
    /// Makes a finding of one line.
    #[must_use]
    pub fn new(summary: String) -> Self {
        Self { summary, ..Self::default() }
    }

    fn because(self, detail: Option<String>) -> Self {
        Self { detail, ..self }
    }

    fn then(self, hint: String) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

/// Writes a share for people: `0.4 %`, `12 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// Writes a time for people: `40 s`, `12 min`, `5 h`, `3 d`.
pub(crate) fn lasting(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
