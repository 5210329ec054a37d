//! Lines of a file.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lines of a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lines {
    /// The first.
    pub from: u32,
    /// The last.
    pub to: u32,
}

impl Lines {
    /// Names several of them.
    #[must_use]
    pub fn all(lines: &[Self]) -> String {
        lines.iter().map(Self::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "line {}", self.from),
            false => write!(f, "lines {} to {}", self.from, self.to),
        }
    }
}
