//! What comes before the first request of a connection: a PROXY header where its network hands connections on, and TLS.
//!
//! Both are bounded in time, size and number. A connection that has neither goes on without a look at any of this.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::environment::Environment;
use crate::peer::{Peer, Secure};
use crate::proxy_header::{Begun, Header, Proxied, take};
use crate::tls::{Entered, HandshakeEnd, enter};
use crate::wire::Wire;
use crate::worker::Worker;

/// How long a beginning that is under way may still take when nobody is listened for any more.
const LAST_HANDSHAKES: Duration = Duration::from_secs(1);

/// A connection that was accepted, and what has to come before its first request.
pub(crate) struct Arrival {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Where it connected to.
    pub(crate) to: SocketAddr,
    /// Whether it begins with a PROXY header; `None` where nothing of it is read.
    pub(crate) handed_on: Option<Header>,
    /// Whether it is within TLS.
    pub(crate) secure: bool,
    pub(crate) environment: Arc<Environment>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) stop: CancellationToken,
}

impl Arrival {
    /// Lets the connection begin, and serves it; `permit` is held until it is over.
    pub(crate) fn serve(self, permit: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send {
        // What a beginning needs is only there while it is under way.
        let begin = Box::pin(self.begin());
        async move {
            // What is matched in place is held for as long as it is served, beside what serves it.
            let Some(connection) = begin.await else { return };
            connection.serve(permit).await;
        }
    }

    async fn begin(self) -> Option<Connection> {
        let handshakes = Arc::clone(&self.environment);
        let count = |end| handshakes.tls().handshakes.count(end);
        // It is never closed, so this fails only when there are too many.
        let Ok(_one) = Arc::clone(&self.worker.handshakes).try_acquire_owned() else {
            count(HandshakeEnd::TooMany);
            return None;
        };
        let (limit, stop) = (self.worker.timeouts.handshake, self.stop.clone());
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_HANDSHAKES.min(limit)).await;
        };
        let entered = tokio::select! {
            entered = timeout(limit, self.enter()) => entered.unwrap_or(Err(HandshakeEnd::Slow)),
            () = stopped => Err(HandshakeEnd::Slow),
        };
        match entered {
            Ok((connection, end)) => {
                end.into_iter().for_each(count);
                Some(connection)
            }
            Err(end) => {
                count(end);
                None
            }
        }
    }

    async fn enter(self) -> Result<(Connection, Option<HandshakeEnd>), HandshakeEnd> {
        let Self { mut socket, peer, to, handed_on, secure, environment, worker, stop } = self;
        let Begun { proxied, early } = match handed_on {
            Some(header) => take(&mut socket, header).await.map_err(|_| HandshakeEnd::ProxyHeader)?,
            None => Begun { proxied: Proxied::Itself, early: Vec::new() },
        };
        let (client, to) = match proxied {
            Proxied::For { client, to } => (client, to),
            Proxied::Itself => (peer, to),
        };
        let mut peer = Peer::new(client, to, None);
        if !secure {
            let mut wire = Wire::new(socket);
            wire.input.extend_from_slice(&early);
            return Ok((Connection::new(wire, peer, environment, worker, stop), None));
        }
        if !early.is_empty() {
            // No handshake begins as a header does.
            return Err(HandshakeEnd::ProxyHeader);
        }
        // Before the handshake, which is four small messages.
        let _ = socket.set_nodelay(true);
        let (shown, challenges) = (environment.tls().shown(), environment.tls().challenges());
        let entered = enter(socket, shown.as_deref(), challenges.as_deref()).await?;
        let Entered { stream, end, version } = entered;
        peer.secure = Some(Box::new(Secure { version, identity: identity_of(&stream) }));
        Ok((Connection::new(Wire::new(stream), peer, environment, worker, stop), Some(end)))
    }
}

/// Says who the client is by its certificate, which was verified.
fn identity_of(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<String> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    Some(crate::client_identity::element(leaf))
}
