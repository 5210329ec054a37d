//! Evidence: what was found out about a version, bound to it for ever.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::digest::Digest;
use crate::mirror::MirrorCounts;
use crate::name::EnvironmentName;
use crate::time::Timestamp;

/// Most failures kept in an evidence; the log has the rest.
pub const MAX_KEPT_FAILURES: usize = 50;
/// Longest message kept of one failure, in characters.
pub const MAX_FAILURE_MESSAGE: usize = 2_000;

/// What the kinds begin with that Lockstep alone says.
const RAN: &str = "ran:";
const MIRRORED: &str = "mirrored:";

/// Why a text is not a kind of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a kind of evidence: a-z, 0-9, `-`, and `ran:ENVIRONMENT` are allowed")]
pub struct EvidenceKindError {
    /// The text, cut to a printable length.
    pub text: String,
}

/// What an evidence is about: `unit`, `integration`, `stress`, `security`, a team's own kind, or what Lockstep alone says: `ran:ENVIRONMENT`, `mirrored:ENVIRONMENT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct EvidenceKind(Arc<str>);

impl EvidenceKind {
    /// Returns the kind of evidence that a version went live in an environment and stayed.
    #[must_use]
    pub fn ran_in(environment: &EnvironmentName) -> Self {
        Self(format!("{RAN}{environment}").into())
    }

    /// Returns the kind of evidence of what copies of an environment's requests found.
    #[must_use]
    pub fn mirrored_in(environment: &EnvironmentName) -> Self {
        Self(format!("{MIRRORED}{environment}").into())
    }

    /// Tells whether it compares a version with another one. A difference may be meant, so it closes the gates that name it and no others.
    #[must_use]
    pub fn is_comparison(&self) -> bool {
        self.0.starts_with(MIRRORED)
    }

    /// Returns the kind of the tests that nearly everybody has.
    #[must_use]
    pub fn unit() -> Self {
        Self("unit".into())
    }

    /// Tells whether Lockstep alone says such a thing.
    #[must_use]
    pub fn is_of_lockstep(&self) -> bool {
        self.0.starts_with(RAN) || self.is_comparison()
    }

    /// Returns the kind as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EvidenceKind {
    type Err = EvidenceKindError;

    fn from_str(text: &str) -> Result<Self, EvidenceKindError> {
        let name = text.strip_prefix(RAN).or(text.strip_prefix(MIRRORED)).unwrap_or(text);
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !name.is_empty() && name.len() <= 63 && name.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(EvidenceKindError { text: text.chars().take(80).collect() })
        }
    }
}

as_text!(EvidenceKind);

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether an evidence speaks for the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It does.
    Green,
    /// It does not.
    Red,
}

/// Who saw what an evidence tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Lockstep, which ran it.
    #[default]
    Here,
    /// Somebody else, who gave a report of it: Lockstep has read that, and saw nothing run.
    Elsewhere,
}

impl Origin {
    /// Tells whether it is what goes without saying.
    #[must_use]
    pub const fn is_here(&self) -> bool {
        matches!(self, Self::Here)
    }
}

/// One finding about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What it is about.
    pub kind: EvidenceKind,
    /// Whether it speaks for the version.
    pub outcome: Outcome,
    /// When it was found.
    pub at: Timestamp,
    /// Counts and failures, when it comes from tests.
    pub tests: TestCounts,
    /// The first [`MAX_KEPT_FAILURES`] failures.
    #[serde(default)]
    pub failures: Vec<TestFailure>,
    /// The report as it was read, in the blob store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Digest>,
    /// Who saw it.
    #[serde(default, skip_serializing_if = "Origin::is_here")]
    pub origin: Origin,
    /// What copies of requests found, where it comes from those: its counts are of copies then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<Box<MirrorCounts>>,
}

impl Evidence {
    /// Makes the evidence that a version went live in an environment and stayed.
    #[must_use]
    pub fn ran_in(environment: &EnvironmentName, at: Timestamp) -> Self {
        Self {
            kind: EvidenceKind::ran_in(environment),
            outcome: Outcome::Green,
            at,
            tests: TestCounts::default(),
            failures: Vec::new(),
            report: None,
            origin: Origin::Here,
            mirrored: None,
        }
    }
}

/// How many tests ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TestCounts {
    /// Succeeded.
    pub passed: u64,
    /// Failed or ended in an error.
    pub failed: u64,
    /// Were not run.
    pub skipped: u64,
    /// Wall time of the suite.
    pub duration_ms: u64,
}

/// One failed test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestFailure {
    /// Its name with its class or module.
    pub name: String,
    /// What it said, at most [`MAX_FAILURE_MESSAGE`] characters.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_checked() {
        for good in ["unit", "load-24h", "ran:staging", "mirrored:staging"] {
            assert!(good.parse::<EvidenceKind>().is_ok(), "{good}");
        }
        for bad in ["", "Unit", "ran:", "mirrored:", "ran:mirrored:x", "a b", "x:y"] {
            assert!(bad.parse::<EvidenceKind>().is_err(), "{bad}");
        }
    }
}
