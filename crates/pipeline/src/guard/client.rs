//! The server's side of a guard: starts it, waits for its report, cancels it, and cleans up when it vanished.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

use super::spec::{GuardReport, GuardSpec};
use super::sweep::{self, MARK, Swept};
use super::tree::END_TIMEOUT;
use crate::cancel::CancelToken;

/// How often a waiting thread looks at its cancel token.
const CANCEL_LATENCY: Duration = Duration::from_millis(25);
/// How much longer than its command a guard may take: it has to end the tree and to read the rest of the output.
const GRACE: Duration = Duration::from_secs(END_TIMEOUT.as_secs() + 10);
/// Longest report; it names at most a few processes.
const MAX_REPORT_BYTES: u64 = 1024 * 1024;

/// Why a guard gave no report. Nothing of its command is left running.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The guard could not be started.
    #[error("the build guard `{program}` cannot be started")]
    Start {
        /// The guard's program.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The guard ended before its command, or hung; its processes have been killed.
    #[error("the build guard {what}; {rest}")]
    Vanished {
        /// What it did.
        what: &'static str,
        /// What became of its processes.
        rest: &'static str,
    },
    /// Somebody cancelled before the guard was started.
    #[error("the build was cancelled")]
    Cancelled,
}

/// The command line that starts a guard: the program, then the arguments that lead it to [`main`](super::main).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardCommand(pub Vec<OsString>);

impl GuardCommand {
    /// The program that guards; it asks schema registries as well.
    pub(crate) fn program(&self) -> Option<&str> {
        self.0.first().and_then(|program| program.to_str())
    }

    /// Runs a command under a guard and waits for its end.
    ///
    /// # Errors
    /// When no report came; the command's own failure is part of the report.
    pub fn run(&self, spec: &GuardSpec, cancel: &CancelToken) -> Result<GuardReport, GuardError> {
        if cancel.is_cancelled() {
            return Err(GuardError::Cancelled);
        }
        let mut child = self.start()?;
        let heard = match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => hear(stdin, stdout, spec, cancel),
            _ => Heard::Nothing,
        };
        match heard {
            Heard::Report(report) => {
                drop(child.wait());
                Ok(report)
            }
            Heard::Nothing => Err(vanished(child, spec, "ended without a report")),
            Heard::Silence => Err(vanished(child, spec, "did not end in time")),
        }
    }

    /// Starts the guard in the server's session and group: it makes its own, which a group's leader could not.
    ///
    /// It gets no environment, because the command could read that of its guard.
    fn start(&self) -> Result<Child, GuardError> {
        let (program, arguments) =
            self.0.split_first().map_or((OsStr::new(""), &[][..]), |(p, a)| (p.as_os_str(), a));
        Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| GuardError::Start { program: program.to_string_lossy().into_owned(), source })
    }
}

enum Heard {
    Report(GuardReport),
    Nothing,
    Silence,
}

/// Tells the guard what to do and waits for its answer. Closing `stdin` tells it to end the command.
fn hear(mut stdin: ChildStdin, mut stdout: ChildStdout, spec: &GuardSpec, cancel: &CancelToken) -> Heard {
    let Ok(mut line) = serde_json::to_vec(spec) else { return Heard::Nothing };
    line.push(b'\n');
    if stdin.write_all(&line).is_err() {
        return Heard::Nothing;
    }
    let mut stdin = Some(stdin);
    let mut deadline = Instant::now() + Duration::from_millis(spec.time_limit_ms) + GRACE;
    while !is_readable(&stdout) {
        if stdin.is_some() && cancel.is_cancelled() {
            stdin = None;
            deadline = Instant::now() + GRACE;
        }
        if Instant::now() > deadline {
            return Heard::Silence;
        }
    }
    let mut report = Vec::new();
    match stdout.by_ref().take(MAX_REPORT_BYTES).read_to_end(&mut report) {
        Ok(_) => serde_json::from_slice(&report).map_or(Heard::Nothing, Heard::Report),
        Err(_) => Heard::Nothing,
    }
}

/// Waits a moment for the guard's answer or its end.
fn is_readable(stdout: &ChildStdout) -> bool {
    let mut fds = [PollFd::new(stdout, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(CANCEL_LATENCY.subsec_nanos()) };
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// Ends what a lost guard may have left behind.
fn vanished(mut guard: Child, spec: &GuardSpec, what: &'static str) -> GuardError {
    drop(guard.kill());
    drop(guard.wait());
    let session = i32::try_from(guard.id()).unwrap_or(i32::MAX);
    let mark = spec.env.get(MARK).map_or("", String::as_str);
    let rest = match sweep::sweep(session, mark) {
        Swept::Clean => "its processes have been killed",
        Swept::Left => "some of its processes could not be killed",
    };
    GuardError::Vanished { what, rest }
}
