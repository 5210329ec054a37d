//! The side of the process that is to listen.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixStream;

use super::words::{Ask, Given, Place, Word, expect, hear, say};
use super::{descriptors, is_trusted, name};

/// How long the process that listens may take to give its sockets: as long as one is waited for that another one takes over.
const LIMIT: Duration = Duration::from_secs(5);
/// How often a process that is just being taken over by another one is asked again, and when: then that one listens.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Why the gateway that listens cannot be taken over. It goes on as before.
#[derive(Debug, Error)]
pub enum TakeoverError {
    /// Port 0 is another address each time.
    #[error("a gateway that takes over has to be told at which port the other one listens")]
    NoPort,
    /// The other process is not one of this user.
    #[error("the gateway at {address} is of another user ({user})")]
    OtherUser {
        /// Where it listens.
        address: SocketAddr,
        /// Its user.
        user: u32,
    },
    /// The other process does not want to.
    #[error("the gateway at {address} cannot be taken over: {why}")]
    Refused {
        /// Where it listens.
        address: SocketAddr,
        /// What it says.
        why: String,
    },
    /// Something else listens there.
    #[error(
        "what listens at {address} cannot be taken over: it is another program, or a gateway that is about to end, of another user, or of a release before this could be done"
    )]
    NoGateway {
        /// Where it listens.
        address: SocketAddr,
    },
    /// It could not be talked to.
    #[error("the gateway at {address} could not be taken over, and goes on")]
    Broken {
        /// Where it listens.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// What was taken over.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The run that listened.
    pub(crate) run: String,
    /// Its sockets for clients.
    pub(crate) sockets: BTreeMap<SocketAddr, Vec<StdListener>>,
    /// The one for operators.
    pub(crate) admin: Option<(SocketAddr, StdListener)>,
    stream: UnixStream,
}

impl Taken {
    /// Tells the other process that this one serves; returns when it has left the name where the next one asks.
    pub(crate) async fn serve(mut self) {
        let told = async {
            say(&mut self.stream, &Word::Serving).await?;
            expect(&mut self.stream, Word::Leaving).await
        };
        // If it is not there any more, it has left as well.
        if let Ok(Err(error)) = tokio::time::timeout(LIMIT, told).await {
            tracing::warn!(%error, "the gateway that was taken over has not said that it leaves");
        }
    }
}

/// Asks the gateway that listens at an address for its sockets; `None` when there is none.
///
/// # Errors
/// When there is one that gives none.
pub(crate) async fn take(address: SocketAddr, ask: &Ask) -> Result<Option<Taken>, TakeoverError> {
    if address.port() == 0 {
        return Err(TakeoverError::NoPort);
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        match tokio::time::timeout(LIMIT, try_to_take(address, ask)).await {
            Ok(Err(Fault::Nobody)) if !is_in_use(address) => return Ok(None),
            // Whoever has the name does not listen, so there is nothing to take over.
            Ok(Err(Fault::OtherUser(user))) if !is_in_use(address) => {
                tracing::warn!(%address, user, "another user waits where gateways are taken over, and does not listen");
                return Ok(None);
            }
            // Between two that are faster there is a moment in which nobody can be asked.
            Ok(Err(Fault::Left | Fault::Nobody)) if attempts < ATTEMPTS => tokio::time::sleep(PAUSE).await,
            Ok(taken) => return taken.map(Some).map_err(|fault| fault.at(address)),
            Err(_) => return Err(Fault::Broken(io::ErrorKind::TimedOut.into()).at(address)),
        }
    }
}

enum Fault {
    Nobody,
    /// It ended the conversation before it gave anything: another one was faster.
    Left,
    OtherUser(u32),
    Refused(String),
    Broken(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Fault {
    fn at(self, address: SocketAddr) -> TakeoverError {
        match self {
            Self::OtherUser(user) => TakeoverError::OtherUser { address, user },
            Self::Refused(why) => TakeoverError::Refused { address, why },
            Self::Broken(source) => TakeoverError::Broken { address, source },
            Self::Nobody | Self::Left => TakeoverError::NoGateway { address },
        }
    }
}

fn is_in_use(address: SocketAddr) -> bool {
    let bound = StdListener::bind(address);
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

async fn try_to_take(address: SocketAddr, ask: &Ask) -> Result<Taken, Fault> {
    let stream = match StdUnixStream::connect_addr(&name(address)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Fault::Nobody),
        other => other?,
    };
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let user = stream.peer_cred()?.uid();
    if !is_trusted(user) {
        return Err(Fault::OtherUser(user));
    }
    let left = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Fault::Left
        }
        _ => Fault::Broken(error),
    };
    say(&mut stream, ask).await.map_err(left)?;
    let given: Given = hear(&mut stream).await.map_err(left)?;
    if let Some(why) = given.refused {
        return Err(Fault::Refused(why));
    }
    say(&mut stream, &Word::Go).await?;
    let received = descriptors::receive(&stream, given.sockets.len()).await?;
    let mut taken = Taken { run: given.run, sockets: BTreeMap::new(), admin: None, stream };
    for (Place { address, is_admin }, socket) in given.sockets.into_iter().zip(received) {
        let socket = StdListener::from(socket);
        let listens_at = socket.local_addr()?;
        if listens_at != address {
            let why = format!("it gave a socket of {listens_at} for {address}");
            return Err(Fault::Broken(io::Error::other(why)));
        }
        if is_admin {
            taken.admin = Some((address, socket));
        } else {
            taken.sockets.entry(address).or_default().push(socket);
        }
    }
    Ok(taken)
}
