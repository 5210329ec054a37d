//! Why an authority did not do what it was asked.

use std::time::Duration;

use lockstep_domain::acme::said;
use thiserror::Error;

/// Why a step did not come about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcmeError {
    /// The same step may come about later: nothing was decided.
    #[error("{why}")]
    Later {
        /// What happened.
        why: String,
        /// How long the authority asked to wait.
        after: Option<Duration>,
    },
    /// The authority said no; asking the same again changes nothing.
    #[error("{why}")]
    Refused {
        /// What it said.
        why: String,
        /// How long the authority asked to wait.
        after: Option<Duration>,
    },
}

impl AcmeError {
    /// An answer that is not what it should be, or no answer at all.
    pub(crate) fn odd(why: &str) -> Self {
        Self::Later { why: said(why), after: None }
    }

    /// A no.
    pub(crate) fn refused(why: &str) -> Self {
        Self::Refused { why: said(why), after: None }
    }

    /// Says of which host a no is.
    pub(crate) fn of(self, host: &str) -> Self {
        match self {
            Self::Refused { why, after } => Self::Refused { why: said(&format!("{host}: {why}")), after },
            later => later,
        }
    }

    /// Returns how long the authority asked to wait.
    #[must_use]
    pub const fn after(&self) -> Option<Duration> {
        match self {
            Self::Later { after, .. } | Self::Refused { after, .. } => *after,
        }
    }

    /// Tells whether the same step may come about later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Later { .. })
    }
}
