//! The socket of a supervisor: each connection gets the status as a line, at once and on every change, and may ask.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use rustix::net::SendFlags;

use super::Event;
use crate::folder::InstanceFolder;
use crate::status::{Request, Status};

/// Most connections at a time: the driver has one, and a person may look on.
const MAX_WATCHERS: usize = 16;
/// Longest line that is read from a connection.
const MAX_REQUEST_BYTES: u64 = 1024;

/// Pause after a connection that could not be served, so that a lasting cause does not use up a processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections that are told of changes.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    streams: Vec<UnixStream>,
}

impl Watchers {
    /// Adds a connection and tells it the status. Above [`MAX_WATCHERS`] the oldest is closed.
    pub(super) fn add(&mut self, stream: UnixStream, status: &Status) {
        if self.streams.len() >= MAX_WATCHERS {
            let _ = self.streams.remove(0).shutdown(Shutdown::Both);
        }
        if tell(&stream, &line(status)) {
            self.streams.push(stream);
        }
    }

    /// Tells everybody. Who does not keep up is closed, and learns the rest when it connects again.
    pub(super) fn tell(&mut self, status: &Status) {
        let line = line(status);
        self.streams.retain(|stream| tell(stream, &line));
    }
}

fn line(status: &Status) -> Vec<u8> {
    let mut line = serde_json::to_vec(status).unwrap_or_default();
    line.push(b'\n');
    line
}

fn tell(stream: &UnixStream, line: &[u8]) -> bool {
    // A part of a line cannot be taken back, so that a short write ends the connection too.
    let sent = rustix::net::send(stream, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let told = matches!(sent, Ok(length) if length == line.len());
    if !told {
        let _ = stream.shutdown(Shutdown::Both);
    }
    told
}

/// Starts to accept connections.
///
/// # Errors
///
/// When the socket cannot be made.
pub(super) fn listen(folder: &InstanceFolder, events: SyncSender<Event>) -> io::Result<()> {
    let listener = folder.with_socket(|path| {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(path)
    })?;
    let accept = move || {
        loop {
            // Out of descriptors, threads or memory: the driver finds its connection closed, and tries again.
            if listener.accept().and_then(|(stream, _)| serve(stream, &events)).is_err() {
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    };
    thread::Builder::new().name("control".to_owned()).spawn(accept)?;
    Ok(())
}

/// Serves the connection that a driver has left as standard input, if it has.
///
/// # Errors
///
/// When it cannot be served.
pub(super) fn serve_standard_input(events: &SyncSender<Event>) -> io::Result<()> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let file = File::from(input);
    if file.metadata()?.file_type().is_socket() {
        serve(UnixStream::from(OwnedFd::from(file)), events)?;
    }
    Ok(())
}

fn serve(stream: UnixStream, events: &SyncSender<Event>) -> io::Result<()> {
    let watcher = stream.try_clone()?;
    let requests = events.clone();
    let read = move || {
        let mut lines = BufReader::new(stream);
        while let Some(Request::Stop) = read_request(&mut lines) {
            if requests.send(Event::StopAsked).is_err() {
                return;
            }
        }
        let _ = lines.into_inner().shutdown(Shutdown::Read);
    };
    thread::Builder::new().name("connection".to_owned()).spawn(read)?;
    events.send(Event::Connected(watcher)).map_err(io::Error::other)
}

fn read_request(lines: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = Vec::new();
    lines.take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(&line).ok()
}
