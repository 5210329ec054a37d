//! Why a command failed: what, every part with its place, the next command, and the exit code.
//!
//! Invariant: a failure is shown once, at the end of `main`, on standard error.

use std::error::Error;
use std::fmt::Write as _;

use lockstep_api::client::ClientError;
use lockstep_api::problem::{ErrorCode, Problem, ProblemPart};
use lockstep_api::types::WhatItNeeds;
use lockstep_reach::ReachError;
use serde::Serialize;

use crate::exit::Exit;
use crate::operate::plan_text;
use crate::output::style::{Style, printable};

/// Most causes of one error that are shown.
const MAX_CAUSES: usize = 8;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// How the process ends.
    #[serde(serialize_with = "exit_code", rename = "exit_code")]
    pub(crate) exit: Exit,
    /// The kind of error, when a server said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
    /// What failed and why.
    detail: String,
    /// Every single problem, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemPart>,
    /// What lies behind it, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// The command to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What would have to move along, where that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<Box<WhatItNeeds>>,
}

fn exit_code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

impl Failure {
    /// Makes a failure with only its text.
    pub(crate) fn new(exit: Exit, detail: impl Into<String>) -> Self {
        let (problems, causes) = (Vec::new(), Vec::new());
        Self { exit, code: None, detail: detail.into(), problems, causes, hint: None, needs: None }
    }

    /// Adds a cause in words.
    pub(crate) fn because(mut self, cause: String) -> Self {
        self.causes.push(cause);
        self
    }

    /// Makes a failure of the person who typed.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self::new(Exit::Usage, detail)
    }

    /// Makes a failure about a file that cannot be used.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::usage(format!("cannot {what} `{}`: {error}", path.display()))
    }

    /// Makes a failure about something that was given and cannot be read, with what lies behind it.
    pub(crate) fn unread(error: &(dyn Error + 'static)) -> Self {
        let failure = Self::usage(error.to_string());
        match error.source() {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }

    /// Makes a failure of something that was carried out, from the server's account of it.
    pub(crate) fn ended_badly(detail: impl Into<String>, problem: Option<&Problem>) -> Self {
        let mut failure = Self::new(Exit::EndedBadly, detail);
        if let Some(problem) = problem {
            let _ = write!(failure.detail, ": {}", problem.detail);
            failure.code = Some(problem.code);
            if problem.code == ErrorCode::NothingToRelease {
                failure.exit = Exit::Refused;
            }
            failure.problems.clone_from(&problem.problems);
            failure.hint.clone_from(&problem.hint);
        }
        failure
    }

    /// Adds the command to run next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the command to run next, unless one is there already.
    #[must_use]
    pub(crate) fn or_hint(self, hint: impl Into<String>) -> Self {
        if self.hint.is_some() { self } else { self.hint(hint) }
    }

    /// Says in which file that stands which a server refused.
    #[must_use]
    pub(crate) fn of_file(mut self, path: &std::path::Path) -> Self {
        if self.code.is_some() {
            self.detail = format!("{}: {}", path.display(), self.detail);
        }
        self
    }

    /// Makes it one of several problems; problems of its own are told in its words.
    pub(crate) fn into_part(self) -> ProblemPart {
        let parts = self.problems.iter().map(ToString::to_string);
        let causes = self.causes.iter().cloned();
        let detail = std::iter::once(self.detail.clone()).chain(parts).chain(causes);
        ProblemPart {
            detail: detail.collect::<Vec<_>>().join(": "),
            hint: self.hint,
            ..ProblemPart::default()
        }
    }

    /// Adds the single problems.
    #[must_use]
    pub(crate) fn problems(mut self, problems: Vec<ProblemPart>) -> Self {
        self.problems = problems;
        self
    }

    /// Adds what lies behind it.
    #[must_use]
    pub(crate) fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next.filter(|_| self.causes.len() < MAX_CAUSES) {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }

    /// Writes the failure for a person.
    pub(crate) fn render(&self, style: &Style) -> String {
        let mut text = format!("{} {}\n", style.bad("error:"), printable(&self.detail));
        for part in &self.problems {
            let _ = writeln!(text, "  - {}", printable(&part.to_string()));
        }
        for cause in &self.causes {
            let _ = writeln!(text, "  because: {}", printable(cause));
        }
        if let Some(needs) = &self.needs {
            text.push_str(&printable(&plan_text::needs(needs)));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{} {}", style.strong("hint:"), printable(hint));
        }
        text
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => Self::from(*problem),
            ClientError::Reach(error) => Self::from(error),
            ClientError::System(ref source) => Self::new(Exit::Internal, error.to_string()).caused_by(source),
            ClientError::Answer { ref source, .. } => {
                Self::new(Exit::Internal, error.to_string()).caused_by(source.as_ref()).hint(
                    "is that a Lockstep server of this version? compare `lockstep --version` there and here",
                )
            }
        }
    }
}

impl From<ReachError> for Failure {
    fn from(error: ReachError) -> Self {
        let exit = if error.is_usage() { Exit::Usage } else { Exit::Unreachable };
        let failure = Self::new(exit, error.to_string()).hint(error.hint());
        match error.source() {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, hint, problems, needs, .. } = problem;
        let exit = match code {
            ErrorCode::BadRequest | ErrorCode::TooLarge | ErrorCode::UnsupportedMedia => Exit::Usage,
            ErrorCode::Unauthorized | ErrorCode::Forbidden => Exit::Unauthorized,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::Conflict => Exit::Conflict,
            ErrorCode::Refused | ErrorCode::NothingToRelease | ErrorCode::Undecided => Exit::Refused,
            ErrorCode::Unavailable => Exit::Unreachable,
            ErrorCode::MethodNotAllowed | ErrorCode::Internal | ErrorCode::WrongPlan => Exit::Internal,
        };
        let hint = hint.or_else(|| {
            (exit == Exit::Unauthorized)
                .then(|| "give the token of this server with --token-file FILE".to_owned())
        });
        Self { exit, code: Some(code), detail, problems, causes: Vec::new(), hint, needs }
    }
}

/// Writes an error with its causes on one line, each once.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_what_failed_every_part_and_the_next_command() {
        let part = |detail: &str| ProblemPart {
            detail: detail.into(),
            file: Some("lockstep.toml".into()),
            line: Some(3),
            ..ProblemPart::default()
        };
        let problem = Problem::new(ErrorCode::Refused, "two things are wrong")
            .with_problems(vec![part("one"), part("two")])
            .with_hint("lockstep check");
        let failure = Failure::from(problem);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            failure.render(&Style::plain()),
            "error: two things are wrong\n  - lockstep.toml:3: one\n  - lockstep.toml:3: two\nhint: lockstep check\n"
        );
    }

    #[test]
    fn every_code_of_a_server_has_its_exit_code() {
        let exit = |code| Failure::from(Problem::new(code, "x")).exit.code();
        let codes = [
            (ErrorCode::BadRequest, 2),
            (ErrorCode::TooLarge, 2),
            (ErrorCode::UnsupportedMedia, 2),
            (ErrorCode::Refused, 3),
            (ErrorCode::NothingToRelease, 3),
            (ErrorCode::Undecided, 3),
            (ErrorCode::NotFound, 4),
            (ErrorCode::Unavailable, 5),
            (ErrorCode::Conflict, 6),
            (ErrorCode::Unauthorized, 7),
            (ErrorCode::Forbidden, 7),
            (ErrorCode::Internal, 70),
            (ErrorCode::WrongPlan, 70),
            (ErrorCode::MethodNotAllowed, 70),
        ];
        for (code, expected) in codes {
            assert_eq!(exit(code), expected, "{code:?}");
        }
    }

    #[test]
    fn text_of_others_cannot_move_the_cursor() {
        let shown = Failure::usage("bad \u{1b}[2J name").render(&Style::plain());
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
