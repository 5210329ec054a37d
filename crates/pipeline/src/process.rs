//! Runs short commands of ours (git queries, `TOOL --version`) and takes their output, bounded in time and size.
//!
//! What may run long or is not ours runs under a [`guard`](crate::guard) instead.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use thiserror::Error;

use crate::cancel::CancelToken;

/// Longest wait before the cancel token is looked at again.
const TICK: Duration = Duration::from_millis(50);
/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// Bounds of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) output_bytes: usize,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Why a command gave no output.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It could not be started or watched.
    #[error("it cannot be run")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("it did not end within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It said too much.
    #[error("it wrote more than {0} bytes")]
    TooMuch(usize),
    /// Somebody cancelled.
    #[error("it was cancelled")]
    Cancelled,
}

/// Runs a command to its end. Its process group is gone afterwards.
pub(crate) fn capture(
    command: Command,
    bounds: Bounds,
    cancel: &CancelToken,
) -> Result<Captured, CaptureError> {
    capture_from(command, Stdio::null(), bounds, cancel)
}

/// Runs a command that reads `input` to its end.
pub(crate) fn capture_fed(
    command: Command,
    input: &[u8],
    bounds: Bounds,
    cancel: &CancelToken,
) -> Result<Captured, CaptureError> {
    // A file in memory: nobody has to write while the command is read, and a command that does not read loses nothing.
    let file = memfd_create("input", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
    let mut file = File::from(file);
    file.write_all(input)?;
    file.rewind()?;
    capture_from(command, file.into(), bounds, cancel)
}

fn capture_from(
    mut command: Command,
    input: Stdio,
    bounds: Bounds,
    cancel: &CancelToken,
) -> Result<Captured, CaptureError> {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let taken = Taken::read(&mut child, bounds, cancel);
    end_group(&child);
    let status = child.wait()?;
    let (stdout, stderr) = taken?;
    Ok(Captured { status, stdout, stderr })
}

/// Kills what is left of a command's group. The command itself has not been waited for, so the number is still its own.
fn end_group(child: &Child) {
    if let Some(group) = pid_of(child) {
        kill_process_group(group, Signal::KILL).ok();
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

struct Taken<R> {
    source: Option<R>,
    bytes: Vec<u8>,
}

impl Taken<()> {
    /// Reads both outputs until the command ends, and then what is still in the pipes.
    fn read(
        child: &mut Child,
        bounds: Bounds,
        cancel: &CancelToken,
    ) -> Result<(Vec<u8>, Vec<u8>), CaptureError> {
        let deadline = Instant::now() + bounds.time;
        let pid = pid_of(child).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
        let mut out = Taken::new(child.stdout.take())?;
        let mut err = Taken::new(child.stderr.take())?;
        loop {
            let over = wait_for(&[Some(ended.as_fd()), out.fd(), err.fd()])?;
            out.fill(bounds.output_bytes)?;
            err.fill(bounds.output_bytes)?;
            if over {
                return Ok((out.bytes, err.bytes));
            }
            if cancel.is_cancelled() {
                return Err(CaptureError::Cancelled);
            }
            if Instant::now() > deadline {
                return Err(CaptureError::TimedOut(bounds.time));
            }
        }
    }
}

/// Waits a moment for one of the files; tells whether the first is ready.
fn wait_for(fds: &[Option<std::os::fd::BorrowedFd<'_>>]) -> io::Result<bool> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(polled.first().is_some_and(|fd| !fd.revents().is_empty())),
        Err(error) => Err(error.into()),
    }
}

impl<R: Read + AsFd> Taken<R> {
    fn new(source: Option<R>) -> io::Result<Self> {
        if let Some(source) = &source {
            fcntl_setfl(source, fcntl_getfl(source)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { source, bytes: Vec::new() })
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.source.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there.
    fn fill(&mut self, limit: usize) -> Result<(), CaptureError> {
        let mut buffer = [0; READ_BYTES];
        while let Some(source) = &mut self.source {
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(length) => self.bytes.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if self.bytes.len() > limit {
                return Err(CaptureError::TooMuch(limit));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { time: Duration::from_secs(20), output_bytes: 1_000_000 };

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn outputs_are_taken_apart() {
        let captured = capture(shell("echo out; echo err >&2; exit 3"), BOUNDS, &CancelToken::new()).unwrap();
        assert_eq!((captured.stdout.as_slice(), captured.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(captured.status.code(), Some(3));
    }

    #[test]
    fn output_larger_than_a_pipe_arrives_whole() {
        let captured = capture(shell("head -c 900000 /dev/zero"), BOUNDS, &CancelToken::new()).unwrap();
        assert_eq!(captured.stdout.len(), 900_000);
    }

    #[test]
    fn a_command_reads_its_input_or_leaves_it() {
        let input = vec![b'x'; 900_000];
        let fed = |script| capture_fed(shell(script), &input, BOUNDS, &CancelToken::new()).unwrap();
        assert_eq!(fed("cat").stdout, input);
        assert_eq!(fed("echo done").stdout, b"done\n");
    }

    #[test]
    fn a_background_process_that_keeps_the_pipe_open_is_not_waited_for() {
        let started = Instant::now();
        let captured = capture(shell("sleep 1000 & echo done"), BOUNDS, &CancelToken::new()).unwrap();
        assert_eq!(captured.stdout, b"done\n");
        assert!(started.elapsed() < BOUNDS.time);
    }

    #[test]
    fn time_size_and_cancellation_end_it() {
        let short = Bounds { time: Duration::from_millis(100), ..BOUNDS };
        let error = capture(shell("sleep 1000"), short, &CancelToken::new()).unwrap_err();
        assert!(matches!(error, CaptureError::TimedOut(_)));
        let error = capture(shell("exec yes"), BOUNDS, &CancelToken::new()).unwrap_err();
        assert!(matches!(error, CaptureError::TooMuch(_)));
        let cancel = CancelToken::new();
        cancel.cancel();
        let error = capture(shell("sleep 1000"), BOUNDS, &cancel).unwrap_err();
        assert!(matches!(error, CaptureError::Cancelled));
    }
}
