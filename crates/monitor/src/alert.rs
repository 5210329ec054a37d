//! The state of one alert, and how a reading changes it.
//!
//! Times are lived times: a look vouches for at most a few seconds before it ([`crate::series::MAX_TICK_MS`]), whatever the clock says. So a
//! state that is loaded days later goes on where it was: what was pending still has to be seen for the rest of its time, and what
//! fired recovers only after it was seen to be fine. A clock that goes back or jumps changes nothing.
//!
//! Invariant: an alert fires and recovers by turns.

use serde::{Deserialize, Serialize};

use crate::notice::{NoticeAlert, NoticeChange, Severity};
use crate::reading::{CALM_MS, Finding, Value};
use crate::rule::{Family, NoData, Rule};
use crate::seen::Blind;
use crate::subject::Subject;

/// An alert that has not fired for so long has never fired: what flapped is calm.
pub const CALM_AFTER_MS: u64 = 3_600_000;
/// Each time that an alert fires again before it was calm doubles how long it goes on firing, from this on.
const FLAPPING_MS: u64 = 60_000;
/// And no longer than this: a message an hour about one thing is enough.
const FLAPPING_MAX_MS: u64 = 3_600_000;
/// 60 s doubled so often is more than that.
const MAX_DOUBLINGS: u32 = 6;

/// An alert: a rule and a subject of which something was wrong lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule.
    pub rule: String,
    /// What kind of fault it is about.
    pub family: Family,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// Where it stands.
    pub stage: Stage,
    /// How long it has been there, in milliseconds of lived time.
    #[serde(default)]
    pub spent_ms: u64,
    /// What was wrong when that was seen last.
    pub finding: Finding,
    /// When it was first seen this time, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it was first not seen any more, in milliseconds since 1970.
    #[serde(default)]
    pub ended_ms: Option<u64>,
    /// Why nothing is known of it; then all stays as it is.
    #[serde(default)]
    pub blind: Option<Blind>,
    /// How often it fired since it was calm.
    #[serde(default)]
    pub fired: u32,
    /// What it follows from: then it is not told.
    #[serde(default)]
    pub muted: Option<Muted>,
    /// The silence that keeps it from being told.
    #[serde(default)]
    pub silenced: Option<String>,
    /// The group that it is told in.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether it was told.
    #[serde(default)]
    pub told: bool,
    /// The change that came before, found when it fired.
    #[serde(default)]
    pub change: Option<NoticeChange>,
}

/// Where an alert stands. One that is not there is inactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is seen, and not yet for long enough.
    Pending,
    /// It is seen for long enough.
    Firing,
    /// It is not seen any more, and not yet for long enough.
    KeepFiring,
    /// It is over, and remembered so that one that comes and goes is told less and less often.
    Recovered,
}

/// What an alert follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muted {
    /// The fingerprint of an alert, or an operation.
    pub by: String,
    /// For how long that is over, in milliseconds of lived time.
    #[serde(default)]
    pub over_ms: u64,
    /// For how long, without a break, something of it came after that was over, in milliseconds of lived time.
    #[serde(default)]
    pub restless_ms: u64,
}

/// What a reading changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// The alert began to fire.
    Fired,
    /// The alert is over.
    Recovered,
}

/// Now, and how much of the time since the last look was lived through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// Lived time since the last look, in milliseconds.
    pub passed_ms: u64,
}

/// What a reading says once it is settled what it means that nothing is known.
enum Meaning {
    Fine,
    Wrong(Finding),
    Stays(Blind),
}

/// Takes a reading into the state of an alert; `None` is inactive.
#[must_use]
pub fn step(
    alert: Option<Alert>,
    rule: &Rule,
    subject: &Subject,
    value: &Value,
    tick: Tick,
) -> (Option<Alert>, Option<Turn>) {
    match (alert, meaning(rule.no_data, value)) {
        (None, Meaning::Wrong(finding)) => Alert::new(rule, subject, finding, tick).wait(rule),
        (None, Meaning::Fine | Meaning::Stays(_)) => (None, None),
        (Some(alert), Meaning::Stays(blind)) => (Some(Alert { blind: Some(blind), ..alert }), None),
        (Some(alert), Meaning::Wrong(finding)) => alert.seen().wrong(rule, finding, tick),
        (Some(alert), Meaning::Fine) => alert.seen().fine(rule.keep_firing_seconds * 1_000, tick),
    }
}

fn meaning(no_data: NoData, value: &Value) -> Meaning {
    match (value, no_data) {
        (Value::Fine, _) | (Value::Unknown(Blind::NoData(_)), NoData::Ok) => Meaning::Fine,
        (Value::Wrong(finding), _) => Meaning::Wrong(finding.clone()),
        (Value::Unknown(blind @ Blind::Begins(_)), _) => Meaning::Stays(blind.clone()),
        (Value::Unknown(blind), NoData::Alert) => Meaning::Wrong(unknown(blind)),
        (Value::Unknown(blind), NoData::Keep | NoData::Ok) => Meaning::Stays(blind.clone()),
    }
}

fn unknown(blind: &Blind) -> Finding {
    Finding { summary: format!("it is not known how it is: {}", blind.why()), ..Finding::default() }
}

impl Alert {
    fn new(rule: &Rule, subject: &Subject, finding: Finding, tick: Tick) -> Self {
        Self {
            rule: rule.name.clone(),
            family: rule.condition.family(),
            severity: rule.severity,
            subject: subject.clone(),
            stage: Stage::Pending,
            spent_ms: 0,
            finding,
            since_ms: tick.now_ms,
            ended_ms: None,
            blind: None,
            fired: 0,
            muted: None,
            silenced: None,
            group: None,
            told: false,
            change: None,
        }
    }

    /// Returns its name: the same for one rule and one subject, always.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.subject.fingerprint(&self.rule)
    }

    /// Tells whether it fires, seen or not seen any more for a while.
    #[must_use]
    pub const fn is_firing(&self) -> bool {
        matches!(self.stage, Stage::Firing | Stage::KeepFiring)
    }

    /// Tells whether it fires, or people were told that and not yet that it is over.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_firing() || self.told
    }

    /// Tells whether it fires only because its rule looks far back: what it found is over.
    #[must_use]
    pub fn lingers(&self) -> bool {
        self.finding.calm_ms.is_some_and(|calm_ms| calm_ms >= CALM_MS)
    }

    /// Tells whether people may be told that it fires.
    #[must_use]
    pub const fn may_be_told(&self) -> bool {
        self.is_firing() && self.muted.is_none() && self.silenced.is_none()
    }

    /// Ends it because nobody asks for it any more.
    #[must_use]
    pub fn end(self, tick: Tick) -> (Option<Self>, Option<Turn>) {
        self.seen().fine(0, tick)
    }

    /// Writes it for a notice.
    #[must_use]
    pub fn notice(&self) -> NoticeAlert {
        NoticeAlert {
            fingerprint: self.fingerprint(),
            rule: self.rule.clone(),
            severity: self.severity,
            subject: self.subject.0.clone(),
            summary: self.finding.summary.clone(),
            detail: self.finding.detail.clone(),
            hint: self.finding.hint.clone(),
            since_ms: self.since_ms,
            ended_ms: if self.is_firing() { None } else { self.ended_ms },
        }
    }

    fn seen(self) -> Self {
        Self { blind: None, ..self }
    }

    fn at(self, stage: Stage) -> Self {
        Self { stage, spent_ms: 0, ..self }
    }

    fn spend(self, tick: Tick) -> Self {
        Self { spent_ms: self.spent_ms.saturating_add(tick.passed_ms), ..self }
    }

    /// Fires when it was pending for long enough.
    fn wait(self, rule: &Rule) -> (Option<Self>, Option<Turn>) {
        if self.spent_ms < rule.for_seconds * 1_000 {
            return (Some(self), None);
        }
        let fired = self.fired.saturating_add(1);
        (Some(Self { fired, ..self.at(Stage::Firing) }), Some(Turn::Fired))
    }

    fn wrong(self, rule: &Rule, finding: Finding, tick: Tick) -> (Option<Self>, Option<Turn>) {
        let alert = Self { finding, severity: rule.severity, family: rule.condition.family(), ..self };
        match alert.stage {
            Stage::Pending => alert.spend(tick).wait(rule),
            Stage::Firing => (Some(alert.spend(tick)), None),
            Stage::KeepFiring => (Some(Self { ended_ms: None, ..alert.at(Stage::Firing) }), None),
            // It may still be told in its group that it is over: then it is not over, and began when it began, unless that is long ago.
            Stage::Recovered => {
                let goes_on = alert.told && alert.spent_ms < FLAPPING_MS;
                let since_ms = if goes_on { alert.since_ms } else { tick.now_ms };
                Self { ended_ms: None, since_ms, ..alert.at(Stage::Pending) }.wait(rule)
            }
        }
    }

    fn fine(self, keep_ms: u64, tick: Tick) -> (Option<Self>, Option<Turn>) {
        match self.stage {
            Stage::Pending if self.fired == 0 => (None, None),
            Stage::Pending => (Some(self.at(Stage::Recovered)), None),
            Stage::Firing => {
                Self { ended_ms: Some(tick.now_ms), ..self }.at(Stage::KeepFiring).recover(keep_ms)
            }
            Stage::KeepFiring => self.spend(tick).recover(keep_ms),
            Stage::Recovered => (self.spend(tick).remember(), None),
        }
    }

    fn recover(self, keep_ms: u64) -> (Option<Self>, Option<Turn>) {
        if self.spent_ms < keeps_ms(keep_ms, self.fired) {
            return (Some(self), None);
        }
        (Some(self.at(Stage::Recovered)), Some(Turn::Recovered))
    }

    fn remember(self) -> Option<Self> {
        let is_over = self.spent_ms >= CALM_AFTER_MS && self.group.is_none();
        (!is_over).then_some(self)
    }
}

/// Returns how long what fired so often since it was calm is to be fine before it is over, in milliseconds.
#[must_use]
pub fn keeps_ms(keep_ms: u64, fired: u32) -> u64 {
    let again = fired.saturating_sub(1).min(MAX_DOUBLINGS);
    if again == 0 {
        return keep_ms;
    }
    let doubled = keep_ms.max(FLAPPING_MS) << (again - 1);
    doubled.min(FLAPPING_MAX_MS).max(keep_ms)
}

#[cfg(test)]
mod tests;
