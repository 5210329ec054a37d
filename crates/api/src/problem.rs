//! Errors on the wire: `application/problem+json` (RFC 9457) with a closed code, a hint, and all problems at once.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::WhatItNeeds;

/// The media type of an error.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// What kind of error it is. Closed: scripts may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is not understood.
    BadRequest,
    /// A token is needed, or the one given is not known.
    Unauthorized,
    /// The request comes from a place it must not come from.
    Forbidden,
    /// What was named does not exist.
    NotFound,
    /// The method does not exist for this path.
    MethodNotAllowed,
    /// Something else is under way, or was quicker.
    Conflict,
    /// The request is larger than allowed.
    TooLarge,
    /// A change must be `application/json`, a file `application/octet-stream`.
    UnsupportedMedia,
    /// It was understood and must not be done; `problems` says why.
    Refused,
    /// What was to be released is released already: nothing is wrong, and nothing was done.
    NothingToRelease,
    /// Whether it can be done was not decided within the steps that a search may take.
    Undecided,
    /// A plan was made that would not work. It is a fault of Lockstep; nothing was done.
    WrongPlan,
    /// Nothing can be recorded at the moment, for example because the disk is full. Nothing was changed.
    Unavailable,
    /// A fault of Lockstep.
    Internal,
}

impl ErrorCode {
    /// Returns the HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Refused | Self::NothingToRelease | Self::Undecided => 422,
            Self::Internal | Self::WrongPlan => 500,
            Self::Unavailable => 503,
        }
    }

    /// Returns a short title for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "the request is not understood",
            Self::Unauthorized => "a valid token is needed",
            Self::Forbidden => "the request is not allowed from there",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "no such method here",
            Self::Conflict => "something else is under way",
            Self::TooLarge => "the request is too large",
            Self::UnsupportedMedia => "the request has a form that is not taken",
            Self::Refused => "refused",
            Self::NothingToRelease => "nothing to release",
            Self::Undecided => "not decided",
            Self::WrongPlan => "a fault of Lockstep: a wrong plan",
            Self::Internal => "a fault of Lockstep",
            Self::Unavailable => "nothing can be recorded at the moment",
        }
    }
}

/// An error with everything a person needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of error.
    pub code: ErrorCode,
    /// The kind of error in words.
    pub title: Box<str>,
    /// What failed and why.
    pub detail: String,
    /// The command to run next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// After so many milliseconds what stands in the way will be gone, as things stand now; missing when time alone does
    /// not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Every single problem, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemPart>,
    /// What would have to move along, where that was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Box<WhatItNeeds>>,
}

/// One of several problems.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProblemPart {
    /// What is wrong.
    pub detail: String,
    /// The file it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The field, as a dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The command to run next, or what to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// Makes a problem without hint and parts.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            code,
            title: code.title().into(),
            detail: detail.into(),
            hint: None,
            wait_ms: None,
            problems: Vec::new(),
            needs: None,
        }
    }

    /// Adds what would have to move along. The command for it is what to run next.
    #[must_use]
    pub fn with_needs(mut self, needs: WhatItNeeds) -> Self {
        self.hint = needs.command.clone().or(self.hint);
        self.needs = Some(Box::new(needs));
        self
    }

    /// Adds how long to wait.
    #[must_use]
    pub const fn with_wait_ms(mut self, wait_ms: Option<u64>) -> Self {
        self.wait_ms = wait_ms;
        self
    }

    /// Adds the command to run next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the single problems.
    #[must_use]
    pub fn with_problems(mut self, problems: Vec<ProblemPart>) -> Self {
        self.problems = problems;
        self
    }
}

impl fmt::Display for Problem {
    /// Writes the problem for a terminal: detail, every part with its place, hints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for part in &self.problems {
            write!(f, "\n  - {part}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ProblemPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "`{field}`: ")?;
        }
        f.write_str(&self.detail)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_everything_a_person_needs() {
        let part = ProblemPart {
            detail: "unknown field".into(),
            file: Some("lockstep.toml".into()),
            line: Some(3),
            field: Some("run.prot".into()),
            hint: Some("did you mean `port`?".into()),
        };
        let problem = Problem::new(ErrorCode::Refused, "the manifest has 1 problem")
            .with_problems(vec![part])
            .with_hint("lockstep check");
        assert_eq!(
            problem.to_string(),
            "the manifest has 1 problem\n  - lockstep.toml:3: `run.prot`: unknown field\n    hint: did you mean `port`?\n  hint: lockstep check"
        );
    }
}
