//! A gateway that has come in: who it is, which instance it names, and the bytes of both.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstep_domain::Digest;
use rustls::AlertDescription;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::identity::digest_of;
use super::seats::Seat;
use super::{Neighbours, PROTOCOL};
use crate::environment::Environment;
use crate::tcp::{TcpEnd, Witness, pass};
use crate::tls::{HandshakeEnd, end_of, read_hello, refuse};
use crate::wire::Wire;
use crate::worker::Worker;

/// How long it may take to prove who one is, and to be connected: gateways are near each other.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
/// How long an instance of this host may take to take a connection.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// The first byte that comes back: whether the instance has taken the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    Open,
    Refused,
    /// A byte that a later release may give a meaning.
    Other(u8),
}

impl Opening {
    pub(super) const fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Open,
            1 => Self::Refused,
            other => Self::Other(other),
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Refused => 1,
            Self::Other(other) => other,
        }
    }

    pub(super) fn words(self) -> String {
        match self {
            Self::Open => "the instance has taken the connection".to_owned(),
            Self::Refused => "the instance takes no connection".to_owned(),
            Self::Other(code) => format!("the connection is refused ({code})"),
        }
    }
}

/// A connection of another gateway, or of a stranger.
pub(crate) struct Visitor {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) environment: Arc<Environment>,
    pub(crate) worker: Arc<Worker>,
}

/// Who came in, and where to.
struct Let {
    stream: TlsStream<TcpStream>,
    /// Told when its gateway is no more to be carried for.
    withdrawn: CancellationToken,
    to: SocketAddr,
}

impl Visitor {
    /// Carries a connection to its end. Whoever is no gateway of the environment is sent away. A handshake that has begun goes on where
    /// nobody is listened for any more: it has its time, and another process knows nothing of it.
    pub(crate) async fn serve(self) {
        let Self { socket, peer, environment, worker } = self;
        let (neighbours, from) = (environment.neighbours(), peer.ip().to_canonical());
        let Some(seat) = neighbours.seats.take(from, neighbours.is_of_gateway(from)) else {
            neighbours.handshakes.count(HandshakeEnd::TooMany);
            return;
        };
        let entered = timeout(BEGINS_WITHIN, neighbours.enter(socket, from, seat)).await;
        let Let { stream, withdrawn, to } = match entered.unwrap_or(Err(HandshakeEnd::Slow)) {
            Ok(entered) => entered,
            Err(end) => return neighbours.handshakes.count(end),
        };
        neighbours.handshakes.count(HandshakeEnd::Full);
        let _one = neighbours.carrying();
        neighbours.carry(stream, &withdrawn, to).await;
        drop(worker);
    }
}

impl Neighbours {
    async fn enter(&self, mut socket: TcpStream, from: IpAddr, seat: Seat) -> Result<Let, HandshakeEnd> {
        let _turn = seat.turn().await;
        let _ = socket.set_nodelay(true);
        let accepted = read_hello(&mut socket).await?;
        // Looked at before anything is computed for it: a stranger knows no name.
        let name = accepted.client_hello().server_name().map(str::to_owned);
        let to = name.and_then(|name| self.present.here.load().get(&name).copied());
        let (Some(to), Ok(config)) = (to, self.server()) else {
            return Err(
                refuse(&mut socket, AlertDescription::UnrecognisedName, HandshakeEnd::UnknownName).await
            );
        };
        let shaking = StartHandshake::from_parts(accepted, socket).into_stream(config);
        let stream = shaking.await.map_err(|error| end_of(&error))?;
        let session = stream.get_ref().1;
        let key = session.peer_certificates().and_then(|shown| Some(digest_of(shown.first()?)));
        let withdrawn = key.and_then(|key| self.proved_from(from, key));
        let withdrawn = withdrawn.ok_or(HandshakeEnd::ClientCertificate)?;
        if session.alpn_protocol() != Some(PROTOCOL) {
            return Err(HandshakeEnd::Failed);
        }
        Ok(Let { stream, withdrawn, to })
    }

    /// Takes in who has proved a key, and returns until when the table lets something be carried for it; `None` where it does not.
    fn proved_from(&self, from: IpAddr, key: Digest) -> Option<CancellationToken> {
        let withdrawn = self.line_of_caller(&key)?;
        let told = self.present.told.load();
        self.seats.note_proved(from, key, |key| told.caller_of(key).is_some());
        Some(withdrawn)
    }

    /// Opens the connection to the instance, and passes what comes, as long as the caller may.
    async fn carry(&self, mut stream: TlsStream<TcpStream>, withdrawn: &CancellationToken, to: SocketAddr) {
        let connecting = timeout(TAKEN_WITHIN, TcpStream::connect(to)).await;
        let instance = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let opening = if instance.is_ok() { Opening::Open } else { Opening::Refused };
        let told = timeout(BEGINS_WITHIN, async {
            stream.write_u8(opening.byte()).await?;
            stream.flush().await
        });
        let Ok(instance) = instance else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            // It is closed next, whatever becomes of this.
            let _ = told.await;
            let _ = timeout(BEGINS_WITHIN, stream.shutdown()).await;
            return;
        };
        if !matches!(told.await, Ok(Ok(()))) {
            return;
        }
        let (mut client, mut instance) = (Wire::new(stream), Wire::new(instance));
        // Whatever ends this but an end that was said is to be seen as one that was not.
        instance.breaks(true);
        let end = pass(&mut client, &mut instance, None, withdrawn.cancelled(), &mut Unseen).await;
        let is_whole = matches!(end, TcpEnd::Client | TcpEnd::Instance);
        instance.breaks(!is_whole);
        if !is_whole {
            client.breaks(true);
        }
    }
}

/// What is carried is counted where the request is.
struct Unseen;

impl Witness for Unseen {
    fn up(&mut self, _: usize) {}

    fn down(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_byte_says_is_the_same_on_both_sides() {
        for byte in 0..=u8::MAX {
            assert_eq!(Opening::of(byte).byte(), byte);
        }
        assert_eq!(Opening::of(0), Opening::Open);
    }
}
