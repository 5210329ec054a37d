//! Takes what the process writes out of its two pipes and puts it into the log.
//!
//! The pipes have names and the process holds them open for reading as well as writing. So it sees no broken pipe when
//! its supervisor dies: what it writes waits in the pipe, up to [`PIPE_BYTES`], and the next supervisor reads it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

use crate::folder::InstanceFolder;
use crate::logs::disk::LogFolder;
use crate::logs::writer::LogWriter;
use crate::logs::{MAX_LINE_BYTES, Source};

/// Asked-for size of each pipe, the most that Linux gives to everybody: seconds of log of a busy service without a
/// supervisor.
const PIPE_BYTES: usize = 1024 * 1024;
/// Most bytes that one look at a pipe takes before the other one has its turn.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most chunks taken when a process has ended: what the pipe can hold, so that a flood from elsewhere cannot hold up
/// the end.
const LAST_CHUNKS: usize = PIPE_BYTES / CHUNK_BYTES;
/// How long the last lines of a process are waited for.
const SETTLE: Duration = Duration::from_secs(2);

/// What each line begins with that comes from before the process.
const OF_PREPARATION: &[u8] = b"prepare: ";

/// The log, as the supervisor's threads share it.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<Mutex<LogWriter<LogFolder>>>);

impl Log {
    /// Shares a writer.
    #[must_use]
    pub(super) fn new(writer: LogWriter<LogFolder>) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Writes what the supervisor did, as one line: texts from outside may have several.
    pub(super) fn note(&self, text: &str) {
        let line = text.lines().collect::<Vec<_>>().join(" | ");
        let mut log = self.lock();
        log.line(Source::Lockstep, line.as_bytes());
        log.flush();
    }

    fn lock(&self) -> MutexGuard<'_, LogWriter<LogFolder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that empties the pipes.
#[derive(Debug)]
pub(super) struct Output {
    /// Whether what is read is of what comes before the process.
    is_preparing: Arc<AtomicBool>,
    wake: PipeWriter,
    requests: Sender<Sender<()>>,
}

impl Output {
    /// Starts to empty the pipes of an instance.
    ///
    /// # Errors
    ///
    /// When a pipe cannot be opened.
    pub(super) fn start(folder: &InstanceFolder, log: Log, is_preparing: bool) -> io::Result<Self> {
        let is_preparing = Arc::new(AtomicBool::new(is_preparing));
        let pipes = [
            Pipe::open(&folder.stdout(), Source::Out, log.clone(), is_preparing.clone())?,
            Pipe::open(&folder.stderr(), Source::Err, log, is_preparing.clone())?,
        ];
        let (woken, wake) = io::pipe()?;
        let (requests, asked) = channel();
        thread::Builder::new().name("output".to_owned()).spawn(move || empty(pipes, woken, &asked))?;
        Ok(Self { is_preparing, wake, requests })
    }

    /// Says of whom is what comes next. What was written before is to be settled.
    pub(super) fn is_of_preparation(&self, is: bool) {
        self.is_preparing.store(is, Ordering::Relaxed);
    }

    /// Waits until everything that was written before is in the log.
    pub(super) fn settle(&self) {
        let (done, finished) = channel();
        if self.requests.send(done).is_ok() && (&self.wake).write_all(b"!").is_ok() {
            let _ = finished.recv_timeout(SETTLE);
        }
    }
}

/// Opens a pipe for the process, which is to hold it for reading too.
///
/// # Errors
///
/// When it cannot be opened.
pub(super) fn open_for_process(path: &Path) -> io::Result<File> {
    open_pipe(path, OFlags::empty())
}

/// Opens a pipe with a name, and nothing else that may lie there: a file would fill the disk, and its end is never waited for.
fn open_pipe(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let kind = path.symlink_metadata()?.file_type();
    if !kind.is_fifo() {
        return Err(io::Error::other(format!("`{}` is not the pipe that was made", path.display())));
    }
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

struct Pipe {
    file: File,
    source: Source,
    log: Log,
    is_preparing: Arc<AtomicBool>,
    /// The line that has not ended yet.
    pending: Vec<u8>,
}

impl Pipe {
    fn open(path: &Path, source: Source, log: Log, is_preparing: Arc<AtomicBool>) -> io::Result<Self> {
        let file = open_pipe(path, OFlags::NONBLOCK)?;
        // A smaller pipe works too: the limit of the user may be reached.
        let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_BYTES);
        Ok(Self { file, source, log, is_preparing, pending: Vec::new() })
    }

    /// Takes one chunk, and tells whether there was any.
    fn take(&mut self, buffer: &mut [u8]) -> bool {
        // Noted before anything leaves the pipe: whoever kills the supervisor now takes it along.
        self.log.lock().hold(self.source, true);
        let read = self.file.read(buffer);
        let taken = read.as_ref().map_or(0, |read| *read);
        self.pending.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        let rest = write_lines(&self.log, (self.source, self.mark()), &self.pending);
        self.pending.drain(..rest);
        self.log.lock().hold(self.source, !self.pending.is_empty());
        read.map_or_else(|error| error.kind() == io::ErrorKind::Interrupted, |read| read > 0)
    }

    fn mark(&self) -> &'static [u8] {
        if self.is_preparing.load(Ordering::Relaxed) { OF_PREPARATION } else { b"" }
    }

    fn take_last(&mut self, buffer: &mut [u8]) {
        for _ in 0..LAST_CHUNKS {
            if !self.take(buffer) {
                break;
            }
        }
        if !self.pending.is_empty() {
            let mut log = self.log.lock();
            log.line(self.source, &[self.mark(), &self.pending].concat());
            log.flush();
            log.hold(self.source, false);
            self.pending.clear();
        }
    }
}

/// Writes the lines in `bytes` that are whole or too long, and returns where the rest begins.
fn write_lines(log: &Log, (source, mark): (Source, &[u8]), bytes: &[u8]) -> usize {
    let mut log = log.lock();
    let most = MAX_LINE_BYTES - mark.len();
    let mut start = 0;
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let window = rest.get(..=most).unwrap_or(rest);
        let (length, skip) = match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end, end + 1),
            None if window.len() > most => (most, most),
            None => break,
        };
        let line = rest.get(..length).unwrap_or(rest);
        match mark {
            [] => log.line(source, line),
            mark => log.line(source, &[mark, line].concat()),
        };
        start += skip;
    }
    log.flush();
    start
}

fn empty(mut pipes: [Pipe; 2], mut woken: PipeReader, asked: &Receiver<Sender<()>>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let [out, err] = &pipes;
        let mut fds = [&out.file, &err.file].map(|file| PollFd::new(file, PollFlags::IN)).to_vec();
        fds.push(PollFd::new(&woken, PollFlags::IN));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (pipe, _) in pipes.iter_mut().zip(&ready).filter(|(_, ready)| **ready) {
            pipe.take(&mut buffer);
        }
        let is_woken = ready.last().is_some_and(|ready| *ready);
        if is_woken && !answer(&mut pipes, &mut woken, asked, &mut buffer) {
            return;
        }
    }
}

/// Answers one request, and tells whether there can be more.
fn answer(
    pipes: &mut [Pipe; 2],
    woken: &mut PipeReader,
    asked: &Receiver<Sender<()>>,
    buffer: &mut [u8],
) -> bool {
    if !matches!(woken.read(&mut [0]), Ok(1)) {
        return false;
    }
    for pipe in pipes {
        pipe.take_last(buffer);
    }
    asked.recv().is_ok_and(|done| {
        let _ = done.send(());
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{LogLimits, tail};

    #[test]
    fn long_lines_are_cut_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(LogWriter::new(LogFolder::at(folder.path().to_owned()), LogLimits::default()));
        let text = [b"one\n".to_vec(), vec![b'x'; MAX_LINE_BYTES + 5], b"\ntwo\nrest".to_vec()].concat();
        let start = write_lines(&log, (Source::Out, b""), &text);
        assert_eq!(&text[start..], b"rest");
        let lengths: Vec<usize> = tail(folder.path(), 10)
            .iter()
            .map(|line| line.len() - "2026-01-31T12:00:00.000Z out ".len())
            .collect();
        assert_eq!(lengths, [3, MAX_LINE_BYTES, 5, 3]);
    }
}
