//! What keeps a version from passing, by kind: what a person names when a step shall go on all the same.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::verdict::Waiting;

/// What keeps a version from passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// No gateway says what it counted, or the worker itself does not.
    NoCounters,
    /// Fewer requests than are wanted, or of a worker fewer jobs.
    FewRequests,
    /// An incident that hits both versions.
    Incident,
    /// It fails often, and nothing is beside it.
    FailsAlone,
    /// Evidence against it that is not enough to take it back.
    Suspicion,
    /// A route that seems to be gone.
    LostRoute,
    /// A queue that grows, which may not be the version's doing.
    QueueGrows,
    /// The bake is not over.
    Bake,
}

/// Why a text is nothing that a step can go on despite of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is nothing that a step can go on despite of; expected {}", Obstacle::words())]
pub struct ObstacleError {
    /// The text, cut to a printable length.
    pub text: String,
}

impl Obstacle {
    /// Everything that a person can accept; time is waited for.
    pub const ACCEPTABLE: [Self; 7] = [
        Self::NoCounters,
        Self::FewRequests,
        Self::Incident,
        Self::FailsAlone,
        Self::Suspicion,
        Self::LostRoute,
        Self::QueueGrows,
    ];

    /// Returns its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoCounters => "no-counters",
            Self::FewRequests => "few-requests",
            Self::Incident => "incident",
            Self::FailsAlone => "fails-alone",
            Self::Suspicion => "suspicion",
            Self::LostRoute => "lost-route",
            Self::QueueGrows => "queue-grows",
            Self::Bake => "bake",
        }
    }

    fn words() -> String {
        Self::ACCEPTABLE.map(|obstacle| format!("`{obstacle}`")).join(", ")
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Obstacle {
    type Err = ObstacleError;

    fn from_str(text: &str) -> Result<Self, ObstacleError> {
        let found = Self::ACCEPTABLE.into_iter().find(|obstacle| obstacle.word() == text);
        let shown = || text.chars().filter(|c| !c.is_control()).take(80).collect();
        found.ok_or_else(|| ObstacleError { text: shown() })
    }
}

impl Waiting {
    /// Names the kind of what is waited for.
    #[must_use]
    pub const fn obstacle(&self) -> Obstacle {
        match self {
            Self::NoCounters { .. } => Obstacle::NoCounters,
            Self::Incident { .. } => Obstacle::Incident,
            Self::FailsAlone { .. } => Obstacle::FailsAlone,
            Self::Suspicious { .. } => Obstacle::Suspicion,
            Self::Lost { .. } => Obstacle::LostRoute,
            Self::Requests { .. } => Obstacle::FewRequests,
            Self::Bake { .. } => Obstacle::Bake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_stored_alike() {
        for obstacle in Obstacle::ACCEPTABLE {
            assert_eq!(obstacle.word().parse(), Ok(obstacle));
            assert_eq!(serde_json::to_string(&obstacle).unwrap(), format!("\"{obstacle}\""));
        }
        assert!("bake".parse::<Obstacle>().is_err(), "time is waited for, and not accepted");
    }
}
