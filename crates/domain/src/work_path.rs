//! Paths below the working folder of an instance, as a manifest names them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// Why a text is not a path below the working folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WorkPathError {
    /// It names nothing.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`WorkPath::MAX_BYTES`].
    #[error("it has more than {} bytes", WorkPath::MAX_BYTES)]
    TooLong,
    /// It does not stay in the working folder.
    #[error("it must be a path below the working folder, without `.`, `..` and `//`")]
    NotBelow,
    /// It has a character that hides in a list.
    #[error("it has a control character")]
    Control,
}

/// A path below the working folder of an instance, such as `var` or `conf/nginx.conf`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct WorkPath(String);

impl WorkPath {
    /// The longest path: far below what Linux allows, so that the folders above it always fit.
    pub const MAX_BYTES: usize = 200;

    /// Returns the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether one is the other, or lies in it.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let within = |inner: &Self, outer: &Self| {
            inner.0.strip_prefix(&outer.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        within(self, other) || within(other, self)
    }
}

impl FromStr for WorkPath {
    type Err = WorkPathError;

    fn from_str(text: &str) -> Result<Self, WorkPathError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(WorkPathError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(WorkPathError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(WorkPathError::Control);
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(WorkPathError::NotBelow);
        }
        Ok(Self(text.to_owned()))
    }
}

as_text!(WorkPath);

impl fmt::Display for WorkPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> WorkPath {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_stays_below_the_working_folder() {
        assert_eq!(path("var/").as_str(), "var");
        for bad in ["", "/", "/var", "..", "a/../b", "./a", "a//b", "a\u{1b}[31m", &"x".repeat(201)] {
            assert!(bad.parse::<WorkPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_overlap_when_one_lies_in_the_other() {
        assert!(path("a").overlaps(&path("a/b")) && path("a/b").overlaps(&path("a")));
        assert!(!path("a").overlaps(&path("ab")));
    }
}
