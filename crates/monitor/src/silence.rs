//! Silences: alerts that are not told for a while, because somebody knows of them.
//!
//! Invariant: each has an owner, a reason and an end, and says what it is about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::alert::Alert;
use crate::subject::{LABELS, matches};

/// The longest silence: whoever needs more changes the rule.
pub const MAX_SILENCE_MS: u64 = 30 * 24 * 3_600_000;
/// Labels that a silence may name, beside those of subjects.
const OF_ALERT: [&str; 2] = ["rule", "severity"];

/// Alerts that are not told for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// What it is about: labels of subjects, `rule` and `severity`, with patterns in which `*` stands for anything. All must match.
    pub about: BTreeMap<String, String>,
    /// Who wants it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// From when on, in milliseconds since 1970.
    pub from_ms: u64,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Why a silence is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SilenceError {
    /// It would silence everything.
    #[error("it is about everything: name at least one label that is not `*`")]
    Everything,
    /// No alert has such a label.
    #[error("no alert has the label `{0}`: there are {all}", all = LABELS.join(", "))]
    Label(String),
    /// No value matches it.
    #[error("`{0}=` has no pattern")]
    Pattern(String),
    /// Nobody answers for it.
    #[error("it has no {0}")]
    Without(&'static str),
    /// It has no time.
    #[error("it ends before it begins")]
    Ended,
    /// It is too long.
    #[error("it lasts longer than {} days", MAX_SILENCE_MS / 86_400_000)]
    Long,
}

impl Silence {
    /// Tells what is wrong with it.
    ///
    /// # Errors
    /// All of it.
    pub fn check(&self) -> Result<(), Vec<SilenceError>> {
        let without = |text: &str, what| text.trim().is_empty().then_some(SilenceError::Without(what));
        let is_all =
            self.about.values().all(|pattern| !pattern.is_empty() && pattern.chars().all(|c| c == '*'));
        let problems = [
            is_all.then_some(SilenceError::Everything),
            without(&self.owner, "owner"),
            without(&self.reason, "reason"),
            (self.until_ms <= self.from_ms).then_some(SilenceError::Ended),
            (self.until_ms.saturating_sub(self.from_ms) > MAX_SILENCE_MS).then_some(SilenceError::Long),
        ];
        let of_labels = self.about.iter().filter_map(|(label, pattern)| match label.as_str() {
            other if !LABELS.contains(&other) => Some(SilenceError::Label(label.clone())),
            _ => pattern.is_empty().then(|| SilenceError::Pattern(label.clone())),
        });
        let problems: Vec<SilenceError> = problems.into_iter().flatten().chain(of_labels).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Tells whether it keeps an alert from being told now.
    #[must_use]
    pub fn covers(&self, alert: &Alert, now_ms: u64) -> bool {
        let is_on = self.from_ms <= now_ms && now_ms < self.until_ms;
        is_on && self.about.iter().all(|(label, pattern)| fits(alert, label, pattern))
    }
}

fn fits(alert: &Alert, label: &str, pattern: &str) -> bool {
    let [rule, severity] = OF_ALERT;
    if label == rule {
        return matches(pattern, &alert.rule);
    }
    if label == severity {
        return matches(pattern, &alert.severity.to_string());
    }
    alert.subject.get(label).is_some_and(|value| matches(pattern, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_without_owner_reason_end_or_matter_is_none() {
        let silence = Silence {
            id: "1".into(),
            about: BTreeMap::from([("service".into(), "*".into())]),
            owner: " ".into(),
            reason: String::new(),
            from_ms: 5,
            until_ms: 5,
        };
        assert_eq!(silence.check().unwrap_err().len(), 4);
        let about = BTreeMap::from([("service".to_owned(), "orders".to_owned())]);
        let whole = Silence { about, owner: "alice".into(), reason: "move".into(), until_ms: 6, ..silence };
        assert_eq!(whole.check(), Ok(()));
        let long = Silence { until_ms: MAX_SILENCE_MS + 6, ..whole };
        assert_eq!(long.check(), Err(vec![SilenceError::Long]));
    }
}
