//! Asking over a connection and reading what comes, all before one deadline: whoever answers may be slow, or never end.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection with whoever answers: a socket, and perhaps TLS on it.
pub(crate) trait Line: Read + Write {
    /// Returns the socket, whose waits are limited.
    fn socket(&self) -> &TcpStream;
}

impl Line for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// Returns where an instance listens.
pub(crate) fn instance(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(crate) fn connect(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, remaining(deadline)?)
}

pub(crate) fn send(stream: &mut (impl Line + ?Sized), bytes: &[u8], deadline: Instant) -> io::Result<()> {
    stream.socket().set_write_timeout(Some(remaining(deadline)?))?;
    stream.write_all(bytes)?;
    stream.flush()
}

/// Reads what comes next; nothing means that it is the end.
pub(crate) fn read<'b>(
    stream: &mut (impl Line + ?Sized),
    buffer: &'b mut [u8],
    deadline: Instant,
) -> io::Result<&'b [u8]> {
    loop {
        stream.socket().set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return Ok(buffer.get(..read?).unwrap_or_default()),
        }
    }
}

/// Tells whether it is the time that was over.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

pub(crate) fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
