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
use crate::root::Root;

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
    /// Whom it runs as; whoever starts it where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The root that it gets; that of whoever starts it where nothing is said. `folder` is a path in it then, and the policy does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
}

/// A user of this host, by numbers. Only root may start something as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user.
    pub id: u32,
    /// Its group; it is in no other.
    pub group: u32,
    /// Whether it may listen on ports below 1024, which are root's otherwise.
    #[serde(default, skip_serializing_if = "is_no")]
    pub binds: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
const fn is_no(flag: &bool) -> bool {
    !*flag
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

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The step was ended from outside before the program was begun: that is nobody's fault who is asked here, and to
    /// begin anew may help.
    #[error("the step before it was ended from outside")]
    Lost,
    /// It cannot be held to its limits, so it was not begun.
    #[error("it cannot be held to its limits: {0}")]
    NotHeld(io::Error),
    /// It cannot be started.
    #[error(transparent)]
    Refused(#[from] io::Error),
}

impl From<NotStarted> for io::Error {
    fn from(error: NotStarted) -> Self {
        match error {
            NotStarted::Lost | NotStarted::NotHeld(_) => Self::other(error),
            NotStarted::Refused(error) => error,
        }
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
    pub fn finish(mut self) -> Result<Confinement, NotStarted> {
        self.channel.set_read_timeout(Some(PATIENCE))?;
        self.channel.set_write_timeout(Some(PATIENCE))?;
        self.channel.write_all(&self.request).map_err(of_channel)?;
        let mut lines = BufReader::new(self.channel.take(MAX_ANSWER_BYTES));
        let confinement = match read(&mut lines)?.ok_or(NotStarted::Lost)? {
            Answer::Confined(confinement) => confinement,
            failed @ Answer::Failed { .. } => return Err(error_of(failed).into()),
        };
        // The channel closes when the program takes the place of the step.
        match read(&mut lines)? {
            None => Ok(confinement),
            Some(failed) => Err(error_of(failed).into()),
        }
    }
}

fn read(lines: &mut BufReader<io::Take<UnixStream>>) -> Result<Option<Answer>, NotStarted> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).map_err(of_channel)?;
    match line.last() {
        None => return Ok(None),
        // It was killed while it spoke.
        Some(last) if *last != b'\n' => return Err(NotStarted::Lost),
        Some(_) => {}
    }
    Ok(Some(serde_json::from_slice(&line).map_err(io::Error::from)?))
}

fn of_channel(error: io::Error) -> NotStarted {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => NotStarted::Lost,
        _ => NotStarted::Refused(error),
    }
}

fn error_of(answer: Answer) -> io::Error {
    match answer {
        Answer::Failed { code: Some(code), .. } => io::Error::from_raw_os_error(code),
        Answer::Failed { text, .. } => io::Error::other(text),
        Answer::Confined(_) => io::Error::other("the step before it spoke out of turn"),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::io::Errno;

    use super::*;

    /// Talks with a step that reads so many bytes, answers, and is gone.
    fn talk(read: usize, answer: &[u8]) -> Result<Confinement, NotStarted> {
        let (channel, mut theirs) = UnixStream::pair().unwrap();
        let answer = answer.to_vec();
        let step = thread::spawn(move || {
            let heard = theirs.read_exact(&mut vec![0; read]);
            heard.and_then(|()| theirs.write_all(&answer)).unwrap();
        });
        let handshake = Handshake { channel, request: b"12345\n".to_vec() };
        if read == 0 {
            step.join().unwrap();
            return handshake.finish();
        }
        let end = handshake.finish();
        step.join().unwrap();
        end
    }

    #[test]
    fn a_step_that_was_ended_from_outside_is_lost_wherever_it_was() {
        for (read, answer) in [(0, ""), (3, ""), (6, ""), (6, "{"), (6, "{\"failed\":{}}")] {
            let end = talk(read, answer.as_bytes());
            assert!(matches!(end, Err(NotStarted::Lost)), "after {read} bytes and {answer:?}: {end:?}");
        }
    }

    #[test]
    fn a_step_that_refuses_is_not_lost() {
        let missing = Answer::failed(&io::Error::from_raw_os_error(Errno::NOENT.raw_os_error()));
        let end = talk(6, &[serde_json::to_vec(&missing).unwrap(), b"\n".to_vec()].concat());
        assert!(matches!(&end, Err(NotStarted::Refused(error)) if error.kind() == io::ErrorKind::NotFound));
    }
}
