//! What the server tells a guard, and what the guard answers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use lockstep_confine::Policy;
use serde::{Deserialize, Serialize};

/// One command to run, with its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSpec {
    /// Program and arguments, run without a shell.
    pub command: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Its whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// The file its output is appended to.
    pub log: PathBuf,
    /// Most bytes of output that are kept; more ends the command.
    pub log_limit_bytes: u64,
    /// The folder whose size is bounded.
    pub disk: PathBuf,
    /// Most bytes below [`disk`](Self::disk), and most in one file; more ends the command.
    pub disk_limit_bytes: u64,
    /// Longest time of the command.
    pub time_limit_ms: u64,
    /// The file that takes what the command writes to its standard output, in place of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// What the command may touch; `None` is everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confine: Option<Policy>,
    /// Texts that the log must not show.
    pub secrets: Vec<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum End {
    /// By itself, with an exit code.
    Exited {
        /// The code.
        code: i32,
    },
    /// By a signal that did not come from the guard.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It could not be started.
    NotStarted {
        /// Why not.
        reason: String,
    },
    /// It took longer than its time limit.
    TimedOut,
    /// It logged more than its limit; what was logged before stays.
    LogLimit,
    /// Its output could not be written into the log, for example because the disk is full.
    LogBroken {
        /// Why not.
        reason: String,
    },
    /// It wrote more than its disk limit.
    DiskLimit {
        /// Bytes seen below the folder when it was ended.
        bytes: u64,
    },
    /// The server cancelled or died.
    Abandoned,
}

/// A process that was still there when its command had ended, and was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Its process id.
    pub pid: i32,
    /// The name of its program, as the kernel keeps it.
    pub name: String,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReport {
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
    /// How long it ran.
    pub duration_ms: u64,
    /// Processes that had to be killed after it had ended by itself.
    pub leftovers: Vec<Leftover>,
    /// Whether every process of the command is gone. `false` only when the kernel itself holds one.
    pub clean: bool,
}

impl GuardReport {
    /// Tells whether the command ended by itself with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.end == End::Exited { code: 0 }
    }

    pub(crate) const fn not_started(reason: String) -> Self {
        Self { end: End::NotStarted { reason }, duration_ms: 0, leftovers: Vec::new(), clean: true }
    }
}
