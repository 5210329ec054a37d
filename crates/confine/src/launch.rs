//! The side of whoever starts a confined program: what is to be started, and the talk with the step.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::WORD;
use crate::apply::Confinement;
use crate::policy::Policy;

/// This program, whatever has become of its file since it was started.
const MYSELF: &str = "/proc/self/exe";
/// How long the step may take: milliseconds, more only on a host that is short of everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer of the step.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// A program to be started, confined.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program; without a slash it is looked up in the `PATH` of `variables`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Its whole environment. Values may be secret.
    pub variables: BTreeMap<String, String>,
    /// What it may touch.
    pub policy: Policy,
}

/// What the step answers: how far it is confined, or why the program was not started.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Confined(Confinement),
    Failed { code: Option<i32>, text: String },
}

impl Answer {
    pub(crate) fn failed(error: &io::Error) -> Self {
        Self::Failed { code: error.raw_os_error(), text: error.to_string() }
    }
}

/// The open talk with a step that is about to be started.
#[derive(Debug)]
pub struct Handshake {
    channel: UnixStream,
    request: Vec<u8>,
}

impl Handshake {
    /// Prepares the step. The command has no environment, so that nothing in it can change the step; standard output
    /// and error, process group and marks are the caller's to set. It must be dropped before [`Self::finish`].
    ///
    /// # Errors
    ///
    /// When no channel can be made, or the launch has a path that is not UTF-8.
    pub fn prepare(launch: &Launch) -> io::Result<(Command, Self)> {
        let mut request = serde_json::to_vec(launch)?;
        request.push(b'\n');
        let (channel, theirs) = UnixStream::pair()?;
        let mut command = Command::new(MYSELF);
        command.arg(WORD).env_clear().stdin(OwnedFd::from(theirs));
        Ok((command, Self { channel, request }))
    }

    /// Tells the step, once it was started, what to do, and returns when the program runs.
    ///
    /// # Errors
    ///
    /// Why it does not run. The step has ended, or is to be killed.
    pub fn finish(mut self) -> io::Result<Confinement> {
        self.channel.set_read_timeout(Some(PATIENCE))?;
        self.channel.set_write_timeout(Some(PATIENCE))?;
        self.channel.write_all(&self.request)?;
        let mut lines = BufReader::new(self.channel.take(MAX_ANSWER_BYTES));
        let confinement = match read(&mut lines)? {
            Some(Answer::Confined(confinement)) => confinement,
            Some(failed) => return Err(error_of(failed)),
            None => return Err(io::Error::other("the step before it ended without a word")),
        };
        // The channel closes when the program takes the place of the step.
        match read(&mut lines)? {
            None => Ok(confinement),
            Some(failed) => Err(error_of(failed)),
        }
    }
}

fn read(lines: &mut BufReader<io::Take<UnixStream>>) -> io::Result<Option<Answer>> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
}

fn error_of(answer: Answer) -> io::Error {
    match answer {
        Answer::Failed { code: Some(code), .. } => io::Error::from_raw_os_error(code),
        Answer::Failed { text, .. } => io::Error::other(text),
        Answer::Confined(_) => io::Error::other("the step before it spoke out of turn"),
    }
}
