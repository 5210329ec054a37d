//! What an environment says of how paths are written.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format that a gateway must take where an environment says how paths are read.
pub const FORMAT_WITH_PATH_FORMS: u32 = 26;

/// How the path of a request is written when it is sent on. Whatever is said here, routes, rules and everything else look at the one normalized form of
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathForm {
    /// In the form that is matched.
    #[default]
    Normalized,
    /// The same, but several slashes within it stay several, for names that have them.
    KeepSlashes,
    /// As the client wrote it, for services that look at each byte, as those do that check signatures. A path with `.` or `..` parts is refused.
    AsSent,
}

impl PathForm {
    /// Tells whether it is how paths were always sent on.
    #[must_use]
    pub fn is_normalized(&self) -> bool {
        *self == Self::Normalized
    }
}

/// What becomes of slashes and backslashes that a path has encoded, as `%2F` and `%5C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EscapedSlashes {
    /// They are characters of the part that they stand in. A service that decodes them before it looks where a request goes sees another path than routes do.
    #[default]
    Keep,
    /// The request is refused.
    Refuse,
    /// They are slashes like all others, for routes and for the service.
    Decode,
    /// The client is sent to the path where they are slashes; for instances, and for calls of gRPC, they are decoded.
    Redirect,
}

impl EscapedSlashes {
    /// Tells whether it is what was always done with them.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// What becomes of parameters of the parts of a path, which begin with a semicolon: `/orders;v=2/7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathParameters {
    /// They are characters of the part that they stand in. A service that takes them off before it looks where a request goes, as servlets do, sees another path
    /// than routes do.
    #[default]
    Keep,
    /// The request is refused.
    Refuse,
}

impl PathParameters {
    /// Tells whether it is what was always done with them.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// How paths of requests are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathReading {
    /// How they are sent on.
    pub form: PathForm,
    /// What becomes of encoded slashes.
    pub escaped_slashes: EscapedSlashes,
    /// What becomes of parameters.
    pub parameters: PathParameters,
}

impl PathReading {
    /// Tells whether it is how paths were read before there was a choice.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The word is none of those that are known, or two of them contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathFormError {
    /// It is no form.
    #[error(
        "write `normalized`, `keep-slashes` for names with several slashes, or `as-sent` for services that look at each byte"
    )]
    Form,
    /// It is nothing that is done with encoded slashes.
    #[error("write `keep`, `refuse`, `decode`, or `redirect` to where they are slashes")]
    Slashes,
    /// It is nothing that is done with parameters.
    #[error("write `keep`, or `refuse` where a service takes them off a path before it looks at it")]
    Parameters,
    /// What is decoded is not as it was sent.
    #[error(
        "a path is not sent on as it came where its encoded slashes are decoded: let them be kept, refused or redirected"
    )]
    Both,
}

impl FromStr for PathForm {
    type Err = PathFormError;

    fn from_str(text: &str) -> Result<Self, PathFormError> {
        match text {
            "normalized" => Ok(Self::Normalized),
            "keep-slashes" => Ok(Self::KeepSlashes),
            "as-sent" => Ok(Self::AsSent),
            _ => Err(PathFormError::Form),
        }
    }
}

impl fmt::Display for PathForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normalized => "normalized",
            Self::KeepSlashes => "keep-slashes",
            Self::AsSent => "as-sent",
        })
    }
}

impl FromStr for EscapedSlashes {
    type Err = PathFormError;

    fn from_str(text: &str) -> Result<Self, PathFormError> {
        match text {
            "keep" => Ok(Self::Keep),
            "refuse" => Ok(Self::Refuse),
            "decode" => Ok(Self::Decode),
            "redirect" => Ok(Self::Redirect),
            _ => Err(PathFormError::Slashes),
        }
    }
}

impl fmt::Display for EscapedSlashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Refuse => "refuse",
            Self::Decode => "decode",
            Self::Redirect => "redirect",
        })
    }
}

impl FromStr for PathParameters {
    type Err = PathFormError;

    fn from_str(text: &str) -> Result<Self, PathFormError> {
        match text {
            "keep" => Ok(Self::Keep),
            "refuse" => Ok(Self::Refuse),
            _ => Err(PathFormError::Parameters),
        }
    }
}

impl fmt::Display for PathParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Refuse => "refuse",
        })
    }
}
