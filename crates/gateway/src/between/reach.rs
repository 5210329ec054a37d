//! Reaching an instance through the gateway of its host.

use std::io;
use std::time::Duration;

use lockstep_domain::HostName;
use lockstep_reach::words_of_handshake;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::carry::Opening;
use super::{Neighbours, PROTOCOL};

/// How long a carried connection serves one request after the other: then the next one is opened anew. So the gateway at the other end, which
/// cannot tell where a request ends, is left by all connections a while after another process has taken over from it.
pub(crate) const AGE: Duration = Duration::from_secs(10);

impl Neighbours {
    /// Opens a connection to an instance through the gateway of its host. When this returns, the instance has taken it.
    ///
    /// # Errors
    /// Why there is none, in words for a person.
    pub(crate) async fn reach(&self, host: &HostName, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let unknown = || io::Error::other(format!("nothing is said of a gateway of host `{host}`"));
        let at = self.present.told.load().hosts.get(host).map(|it| it.at).ok_or_else(unknown)?;
        let say = |why: &dyn std::fmt::Display| {
            io::Error::other(format!("the gateway of host `{host}` at {at}: {why}"))
        };
        let config = self.client_to(host).map_err(io::Error::other)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let socket = TcpStream::connect(at)
            .await
            .map_err(|error| io::Error::new(error.kind(), say(&error).to_string()))?;
        // Before the handshake, which is small messages.
        let _ = socket.set_nodelay(true);
        let session = TlsConnector::from(config).connect(name, socket).await;
        let mut stream = session.map_err(|error| say(&words_of_handshake(&error)))?;
        if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(say(&"it speaks another protocol"));
        }
        let opening = stream.read_u8().await.map_err(|error| say(&words_of_handshake(&error)))?;
        match Opening::of(opening) {
            Opening::Open => Ok(stream),
            refused => Err(say(&refused.words())),
        }
    }
}
