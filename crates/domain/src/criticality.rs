//! How much a service weighs where a plan chooses what moves.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Largest criticality: the sum of those of all services of an installation stays a number.
pub const MAX_CRITICALITY: u32 = 1_000_000;

/// What it costs that a service moves, in relation to others: 1 where nobody said more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(into = "u32", try_from = "u32")]
#[schemars(with = "u32")]
pub struct Criticality(u32);

/// Why a number is no criticality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a criticality is a number from 1 to {MAX_CRITICALITY}")]
pub struct CriticalityError;

impl Criticality {
    /// Makes one out of a number.
    ///
    /// # Errors
    /// When it is 0 or larger than [`MAX_CRITICALITY`].
    pub const fn new(number: u32) -> Result<Self, CriticalityError> {
        if number == 0 || number > MAX_CRITICALITY { Err(CriticalityError) } else { Ok(Self(number)) }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Tells whether it is what goes without saying.
    #[must_use]
    pub const fn is_usual(&self) -> bool {
        self.0 == 1
    }
}

impl Default for Criticality {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u32> for Criticality {
    type Error = CriticalityError;

    fn try_from(number: u32) -> Result<Self, CriticalityError> {
        Self::new(number)
    }
}

impl From<Criticality> for u32 {
    fn from(criticality: Criticality) -> Self {
        criticality.0
    }
}

impl fmt::Display for Criticality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
