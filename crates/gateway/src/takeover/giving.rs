//! The side of the process that listens.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::words::{Ask, FORM, Given, Place, Word, expect, hear, say};
use super::{descriptors, is_trusted, name};
use crate::gateway::Gateway;

/// How long the other one may take until it serves: it reads its table, or asks its server.
const LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to hear that this one leaves.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long waiting rests after an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A process that is ready to be taken over.
#[derive(Debug)]
pub(crate) struct Offer {
    listener: UnixListener,
    /// The socket by which this one follows its server.
    socket: Option<PathBuf>,
}

impl Offer {
    /// Waits for the process that is to listen after this one at an address, and follows the same server where that is reached by a socket.
    ///
    /// # Errors
    /// When somebody else waits there.
    pub(crate) fn at(address: SocketAddr, socket: Option<PathBuf>) -> io::Result<Self> {
        let listener = StdUnixListener::bind_addr(&name(address)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, socket })
    }

    /// Returns once another process has all sockets and serves. Where that comes to nothing it waits for the next one.
    pub(crate) async fn taken(&self, gateway: &Gateway, admin: Option<&(SocketAddr, OwnedFd)>) -> Successor {
        loop {
            let given = match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::time::timeout(LIMIT, give(stream, gateway, admin, self.socket.as_deref())).await
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot hear who wants to take over");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let why = match given {
                Ok(Ok(successor)) => return successor,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it did not serve within {} s", LIMIT.as_secs()),
            };
            gateway.handover.say_heir(None);
            tracing::warn!(why, "another process wanted to take over and did not; this one goes on");
        }
    }
}

/// The process that serves now.
#[derive(Debug)]
pub(crate) struct Successor {
    /// Its run.
    pub(crate) run: String,
    stream: UnixStream,
}

impl Successor {
    /// Tells it that it is alone at the name where the next one asks.
    pub(crate) async fn leave(mut self) {
        // It goes on as well without it.
        let _ = tokio::time::timeout(LAST_WORD, say(&mut self.stream, &Word::Leaving)).await;
    }
}

async fn give(
    mut stream: UnixStream,
    gateway: &Gateway,
    admin: Option<&(SocketAddr, OwnedFd)>,
    socket: Option<&Path>,
) -> io::Result<Successor> {
    let user = stream.peer_cred()?.uid();
    if !is_trusted(user) {
        return Err(io::Error::other(format!("it is of another user ({user})")));
    }
    let ask: Ask = hear(&mut stream).await?;
    if let Some(why) = refusal(&ask, gateway, socket) {
        let given = Given { run: gateway.id().to_owned(), refused: Some(why.clone()), sockets: Vec::new() };
        say(&mut stream, &given).await?;
        return Err(io::Error::other(why));
    }
    // It is said before the other one reports: the server is to know that the two are no strangers.
    gateway.handover.say_heir(Some(&ask.run));
    let mut sockets = gateway.sockets()?;
    let own = sockets.len();
    if let Some((address, socket)) = admin {
        sockets.push((*address, socket.try_clone()?));
    }
    let places = sockets.iter().enumerate();
    let places = places.map(|(index, (address, _))| Place { address: *address, is_admin: index >= own });
    let given = Given { run: gateway.id().to_owned(), refused: None, sockets: places.collect() };
    say(&mut stream, &given).await?;
    expect(&mut stream, Word::Go).await?;
    let sockets: Vec<OwnedFd> = sockets.into_iter().map(|(_, socket)| socket).collect();
    descriptors::send(&stream, &sockets).await?;
    expect(&mut stream, Word::Serving).await?;
    Ok(Successor { run: ask.run, stream })
}

fn refusal(ask: &Ask, gateway: &Gateway, socket: Option<&Path>) -> Option<String> {
    let serves = gateway.listened_for();
    if ask.takeover != FORM {
        return Some("it is of a release whose gateways this one cannot be followed by".to_owned());
    }
    if ask.socket.as_deref() != socket {
        let by =
            |socket: Option<&Path>| socket.map_or("the network".into(), Path::to_string_lossy).into_owned();
        let (own, other) = (by(socket), by(ask.socket.as_deref()));
        return Some(format!(
            "it follows its server by {own}, and the other one by {other}: they are of two servers"
        ));
    }
    let names = |names: &[_]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    (ask.environments != serves).then(|| {
        format!("it serves {}, and the other one is to serve {}", names(&serves), names(&ask.environments))
    })
}
