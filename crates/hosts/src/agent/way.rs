//! The way of gateways of this host to the server: a socket in the host's folder, each connection of which is carried over a request that
//! the server has waiting.
//!
//! Invariant: who comes in is the process of a gateway that this host's driver runs, whatever it says: another user has no way to the
//! socket, and any other process of this one is sent away. A connection is taken only when a request waits for it; until then the system
//! keeps it, and as many as it keeps.

use std::fs::{self, DirBuilder, Permissions};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Response, StatusCode};
use lockstep_runtime::LocalDriver;
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::reply;
use crate::place::{HostFolder, WAY_SOCKET, check_ours};
use crate::refusal::Refusal;
use crate::wire;

/// How much is carried at a time.
const PIECE: usize = 64 * 1024;
/// Pause after nobody could be let in, for too many open files for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Where gateways of this host come in.
#[derive(Debug)]
pub(super) struct Way {
    folder: HostFolder,
    listener: OnceCell<UnixListener>,
}

impl Way {
    /// Opens it, so that nobody finds what another agent has left.
    pub(super) async fn open(folder: HostFolder) -> Self {
        let way = Self { folder, listener: OnceCell::new() };
        if let Err(error) = way.listener().await {
            tracing::warn!(%error, "no gateway of this host can come in yet");
        }
        way
    }

    /// Tried again with each request: a disk that is full has no room for a socket.
    async fn listener(&self) -> io::Result<&UnixListener> {
        self.listener.get_or_try_init(async || open(&self.folder)).await
    }

    /// Waits for a connection and carries it, until both sides have ended or the server wants it no more.
    pub(super) async fn carry(
        &self,
        driver: &LocalDriver,
        body: RecvStream,
        mut respond: SendResponse<Bytes>,
    ) -> io::Result<()> {
        let listener = match self.listener().await {
            Ok(listener) => listener,
            Err(error) => return reply(&mut respond, StatusCode::SERVICE_UNAVAILABLE, &Refusal::of(&error)),
        };
        let stream = tokio::select! {
            stream = next(listener, driver) => stream,
            _ = poll_fn(|context| respond.poll_reset(context)) => return Ok(()),
        };
        let to = respond.send_response(Response::new(()), false).map_err(wire::as_io)?;
        pass(stream, body, to).await
    }
}

/// Opens the socket, in place of one that another agent has left: whoever has this folder is alone in it.
fn open(folder: &HostFolder) -> io::Result<UnixListener> {
    let place = folder.way();
    DirBuilder::new().recursive(true).mode(0o700).create(&place)?;
    check_ours(&place)?;
    fs::set_permissions(&place, Permissions::from_mode(0o700))?;
    // By the folder that was looked at, and because an address of a socket holds only 108 bytes.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::open(&place, flags, Mode::empty())?;
    let path = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string()).join(WAY_SOCKET);
    lockstep_files::tree::remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Waits for a gateway. Whoever else comes is sent away at once.
async fn next(listener: &UnixListener, driver: &LocalDriver) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_gateway(&stream, driver) => return stream,
            Ok(_) => tracing::debug!("somebody who is no gateway of this host was sent away"),
            Err(error) => {
                tracing::debug!(%error, "nobody can be let in");
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_gateway(stream: &UnixStream, driver: &LocalDriver) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    let is_ours = peer.uid() == rustix::process::geteuid().as_raw();
    is_ours && peer.pid().is_some_and(|process| driver.gateway_of_process(process).is_some())
}

/// Carries both directions, each to its own end.
async fn pass(stream: UnixStream, mut body: RecvStream, mut to: SendStream<Bytes>) -> io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let up = async {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            let read = tokio::select! {
                read = read.read_buf(&mut piece) => read?,
                // The server has gone from it: nobody waits for what may still come, and what it said before is carried to its end.
                _ = poll_fn(|context| to.poll_reset(context)) => return Ok(()),
            };
            if read == 0 {
                return wire::end(&mut to);
            }
            wire::send(&mut to, piece.freeze()).await?;
        }
    };
    let down = async {
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(wire::as_io)?;
            write.write_all(&piece).await?;
            // Room is given when it was taken: who reads nothing holds up nobody else.
            body.flow_control().release_capacity(piece.len()).map_err(wire::as_io)?;
        }
        write.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}
