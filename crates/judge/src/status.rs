//! Classes of answers: which of them count as failures is data of the rules, not of this crate.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name of a class.
const MAX_LENGTH: usize = 32;

/// Why a text is not a class of answers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a class of answers: expected one such as `5xx`, `404`, `none` or `grpc:unavailable`"
)]
pub struct StatusClassError {
    /// The text, cut to a printable length.
    pub text: String,
}

/// A class of answers: `5xx`, a single status such as `404`, `none` for no valid answer, `grpc:unavailable`.
///
/// A single status is counted in its own class only: a 404 is not also a `4xx`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct StatusClass(Cow<'static, str>);

impl StatusClass {
    /// Statuses from 500: the default failure.
    pub const SERVER_ERROR: &'static str = "5xx";
    /// No valid answer: the connection broke, the time limit passed, or the client left after waiting for long.
    pub const NO_ANSWER: &'static str = "none";
    /// Not found: a change that is told.
    pub const NOT_FOUND: &'static str = "404";
    /// Not authorised: a change that is told.
    pub const UNAUTHORIZED: &'static str = "401";

    /// Returns the class as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes one of the classes that are named here.
    pub(crate) const fn known(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl FromStr for StatusClass {
    type Err = StatusClassError;

    fn from_str(text: &str) -> Result<Self, StatusClassError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '-' | '_');
        if (1..=MAX_LENGTH).contains(&text.len()) && text.chars().all(allowed) {
            return Ok(Self(Cow::Owned(text.to_owned())));
        }
        Err(StatusClassError { text: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for StatusClass {
    type Error = StatusClassError;

    fn try_from(text: String) -> Result<Self, StatusClassError> {
        text.parse()
    }
}

impl From<StatusClass> for String {
    fn from(class: StatusClass) -> Self {
        class.0.into_owned()
    }
}

impl fmt::Display for StatusClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_words_and_nothing_else() {
        for good in ["5xx", "404", "none", "grpc:unavailable"] {
            assert_eq!(good.parse::<StatusClass>().unwrap().as_str(), good);
        }
        for bad in ["", "5XX", "a b", "5xx\n", &"9".repeat(33)] {
            assert!(bad.parse::<StatusClass>().is_err(), "{bad:?}");
        }
    }
}
