//! Why a build failed, in words for people: what, where, the last lines, and what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::check::CheckProblem;
use crate::contract::ContractProblem;
use crate::git::GitError;
use crate::guard::{End, GuardError};
use crate::package::{PackageError, counted};
use crate::request::Phase;
use crate::suite::SuiteOutcome;
use crate::workplace::CommandBounds;

/// A build that failed. Its log is kept, no process of it runs, and there is no artifact.
#[derive(Debug)]
pub struct BuildFailure {
    /// The build's name.
    pub build: String,
    /// The phase it failed in.
    pub phase: Phase,
    /// Why.
    pub fault: BuildFault,
    /// The folder of the service in its repository; empty for the root.
    pub folder: String,
    /// Its log.
    pub log: PathBuf,
    /// The last lines of the log.
    pub last_lines: Vec<String>,
    /// The test suites that ran, green and red.
    pub suites: Vec<SuiteOutcome>,
}

/// Why a build failed.
#[derive(Debug, Error)]
pub enum BuildFault {
    /// The repository could not be fetched.
    #[error("`{repository}` cannot be fetched: {reason}")]
    Fetch {
        /// The repository, without a password.
        repository: String,
        /// What git said, or why it was ended.
        reason: String,
    },
    /// The commit could not be checked out.
    #[error("commit {commit} cannot be checked out: {reason}")]
    Checkout {
        /// The commit.
        commit: String,
        /// What git said, or why it was ended.
        reason: String,
    },
    /// The check found problems, all of them listed.
    #[error("{} must be mended before the build", counted(.0.len(), "problem"))]
    Problems(Vec<CheckProblem>),
    /// A build step failed.
    #[error("build step {number} of {count}, `{command}`, {reason}")]
    Step {
        /// Its place, from 1.
        number: usize,
        /// How many steps there are.
        count: usize,
        /// The command.
        command: String,
        /// How it ended.
        end: End,
        /// How it ended, in words.
        reason: String,
    },
    /// Contracts cannot be read.
    #[error("{} cannot be read", counted(.0.len(), "contract"))]
    Contracts(Vec<ContractProblem>),
    /// Whoever asked for the build does not want it with these contracts, and says why.
    #[error("{0}")]
    Unwanted(String),
    /// A test suite is red.
    #[error("test suite `{kind}` is red: {reason}")]
    RedSuite {
        /// The suite.
        kind: String,
        /// Counts or the first reason.
        reason: String,
    },
    /// What was made elsewhere cannot be taken.
    #[error("`{name}` cannot be taken: {reason}")]
    Given {
        /// The file, by the name it had.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A report that was given shows no tests that all succeeded.
    #[error("the evidence `{kind}` that was given is red: {reason}")]
    RedEvidence {
        /// Of which tests.
        kind: String,
        /// Counts or the first reason.
        reason: String,
    },
    /// The artifact could not be made.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A question to git failed.
    #[error(transparent)]
    Git(GitError),
    /// The guard of a command failed.
    #[error(transparent)]
    Guard(GuardError),
    /// A file of the build cannot be read or written.
    #[error("`{}` cannot be {what}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Somebody cancelled.
    #[error("the build was cancelled")]
    Cancelled,
}

pub(crate) fn io_fault(path: &Path, what: &'static str, source: io::Error) -> BuildFault {
    BuildFault::Io { path: path.to_owned(), what, source }
}

impl From<GitError> for BuildFault {
    fn from(error: GitError) -> Self {
        if error.is_cancelled() { Self::Cancelled } else { Self::Git(error) }
    }
}

impl From<GuardError> for BuildFault {
    fn from(error: GuardError) -> Self {
        if matches!(error, GuardError::Cancelled) { Self::Cancelled } else { Self::Guard(error) }
    }
}

impl BuildFailure {
    /// Returns what to do next, with the command to run where there is one.
    #[must_use]
    pub fn hint(&self) -> String {
        let logs = format!("lockstep logs {}", self.build);
        match &self.fault {
            BuildFault::Fetch { repository, .. } => {
                format!(
                    "try `git ls-remote -- {repository}` as the user the server runs as, then release again"
                )
            }
            BuildFault::Problems(_) => "mend all of these, commit, and release again".into(),
            BuildFault::Step { end, .. } => self.with_what_is_there(step_hint(end, &logs)),
            BuildFault::Contracts(_) => {
                "mend them or [contract] in lockstep.toml, commit, and release again".into()
            }
            BuildFault::RedSuite { .. } => self.with_what_is_there(format!(
                "mend the tests or the code and commit; the whole log: `{logs}`"
            )),
            BuildFault::Given { hint, .. } => hint.clone(),
            BuildFault::RedEvidence { .. } => {
                "nothing was released: mend the tests or the code; evidence that is not given counts as not tested".into()
            }
            BuildFault::Package(PackageError::Problems(_)) if self.phase == Phase::Unpack => {
                "make the archive anew without these, and release it again".into()
            }
            BuildFault::Package(PackageError::Problems(_)) => {
                "mend [package] and `[run] files` in lockstep.toml, commit, and release again".into()
            }
            BuildFault::Cancelled => "release again when you are ready".into(),
            BuildFault::Checkout { .. }
            | BuildFault::Unwanted(_)
            | BuildFault::Package(_)
            | BuildFault::Git(_)
            | BuildFault::Guard(_)
            | BuildFault::Io { .. } => format!("see the whole log with `{logs}`, then release again"),
        }
    }
}

impl BuildFailure {
    /// Says what of a repository a build has, where it is not all: something else may be what was missed.
    fn with_what_is_there(&self, hint: String) -> String {
        match self.folder.as_str() {
            "" => hint,
            folder => format!("{hint}. Of the repository it has `{folder}` and what build.sources names"),
        }
    }
}

fn step_hint(end: &End, logs: &str) -> String {
    match end {
        End::TimedOut => format!("see where it hangs with `{logs}`, or raise build.timeout in lockstep.toml"),
        End::LogLimit => {
            format!("let it say less, or raise build.log_limit in lockstep.toml; the log: `{logs}`")
        }
        End::DiskLimit { .. } => {
            format!("let it write less, or raise build.disk_limit in lockstep.toml; the log: `{logs}`")
        }
        End::NotStarted { .. } => {
            "name the program under [build.tools] in lockstep.toml so that it is checked first".into()
        }
        End::LogBroken { .. } => "make room on the disk of the server, then release again".into(),
        End::Exited { .. } | End::Signalled { .. } | End::Abandoned => format!("the whole log: `{logs}`"),
    }
}

impl fmt::Display for BuildFailure {
    /// Writes the fault with its causes and details on lines of their own, but neither the log nor the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.phase, self.fault)?;
        let mut cause = std::error::Error::source(&self.fault);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        match &self.fault {
            BuildFault::Problems(problems) => {
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
            BuildFault::Contracts(problems) => {
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
            BuildFault::Package(PackageError::Problems(problems)) => {
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BuildFailure {}

/// Puts the end of a command into words that follow its name.
pub(crate) fn describe_end(end: &End, bounds: CommandBounds) -> String {
    match end {
        End::Exited { code } => format!("ended with exit code {code}"),
        End::Signalled { signal: 25 } => {
            format!(
                "wrote a file larger than its disk limit of {} bytes (signal 25, SIGXFSZ)",
                bounds.disk_bytes
            )
        }
        End::Signalled { signal } => format!("was ended by signal {signal}{}", signal_name(*signal)),
        End::NotStarted { reason } => format!("could not be started: {reason}"),
        End::TimedOut => format!("did not end within {} ms and was killed", bounds.time_ms),
        End::LogLimit => "logged more than its limit and was killed; the log up to here is kept".into(),
        End::LogBroken { reason } => format!("was killed because its log could not be written: {reason}"),
        End::DiskLimit { bytes } => {
            format!(
                "wrote {bytes} bytes, more than its disk limit of {} bytes, and was killed",
                bounds.disk_bytes
            )
        }
        End::Abandoned => "was cancelled".into(),
    }
}

const fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL; the machine may have run out of memory)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
