//! Opening a connection to an instance: the socket, the PROXY header that it wants, and TLS where it speaks that.
//!
//! Whatever fails says why in words for a person, and is a connection that could not be opened. Sessions are resumed, each instance having its own:
//! a ticket of one is of no use at another.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use lockstep_domain::approach::{Approach, Believes, InstanceTls, ProxyVersion};
use lockstep_reach::{Trust, believing_everybody, words_of_handshake};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::between::{AGE, Neighbours, Route};
use crate::proxy_out::{Told, header};
use crate::stream::Stream;
use crate::tls::Tls;
use crate::wire::Wire;

/// Sessions of an instance that are kept to be resumed: as many as connections are opened at once.
const SESSIONS: usize = 32;

/// What is spoken on a connection, as it is agreed upon within TLS (ALPN).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    Bytes,
}

/// How connections to an instance begin.
#[derive(Debug)]
pub(crate) struct Dialling {
    /// What it was made of.
    pub(crate) approach: Approach,
    pub(crate) route: Route,
    proxy: Option<ProxyVersion>,
    tls: Option<Result<Client, String>>,
    neighbours: Arc<Neighbours>,
}

/// This side of TLS.
#[derive(Debug)]
struct Client {
    /// In the order of [`Speaks`].
    configs: [Arc<ClientConfig>; 3],
    name: ServerName<'static>,
    shows: Option<Shows>,
}

impl Dialling {
    /// Prepares it; nothing where connections begin with nothing.
    pub(crate) fn of(
        (approach, route): (&Approach, &Route),
        address: SocketAddr,
        store: &Arc<Tls>,
        neighbours: &Arc<Neighbours>,
    ) -> Option<Arc<Self>> {
        if approach.is_plain() && *route == Route::Straight {
            return None;
        }
        let tls = approach.tls.as_ref().map(|tls| Client::of(tls, address, store));
        Some(Arc::new(Self {
            approach: approach.clone(),
            route: route.clone(),
            proxy: approach.proxy_protocol,
            tls,
            neighbours: Arc::clone(neighbours),
        }))
    }

    /// Tells whether it was made of this.
    pub(crate) fn is_of(&self, approach: &Approach, route: &Route) -> bool {
        (&self.approach, &self.route) == (approach, route)
    }

    async fn dial(&self, address: SocketAddr, told: &Told<'_>, speaks: Speaks) -> io::Result<Wire> {
        let socket = match &self.route {
            Route::Straight => TcpStream::connect(address).await?,
            Route::Near(at) => TcpStream::connect(at).await?,
            Route::Through(host, name) => {
                let carried = self.neighbours.reach(host, name).await?;
                let mut wire = self.begin(carried, told, speaks).await?;
                wire.until = Some(Instant::now() + AGE);
                return Ok(wire);
            }
        };
        // Before the handshake, which is small messages.
        let _ = socket.set_nodelay(true);
        self.begin(socket, told, speaks).await
    }

    /// Sends what comes before all else, and shakes hands where the instance speaks TLS.
    async fn begin<S>(&self, mut stream: S, told: &Told<'_>, speaks: Speaks) -> io::Result<Wire>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        Stream: From<S> + From<tokio_rustls::client::TlsStream<S>>,
    {
        if let Some(version) = self.proxy {
            stream.write_all(&header(version, told)).await?;
            stream.flush().await?;
        }
        match &self.tls {
            None => Ok(Wire::new(stream)),
            Some(client) => {
                client
                    .as_ref()
                    .map_err(|why| io::Error::other(why.clone()))?
                    .shake_hands(stream, speaks)
                    .await
            }
        }
    }
}

/// Opens a connection.
pub(crate) async fn dial(
    address: SocketAddr,
    dialling: Option<&Dialling>,
    told: &Told<'_>,
    speaks: Speaks,
) -> io::Result<Wire> {
    let Some(dialling) = dialling else { return TcpStream::connect(address).await.map(Wire::new) };
    // What few connections need takes no room in all requests.
    Box::pin(dialling.dial(address, told, speaks)).await
}

impl Client {
    fn of(tls: &InstanceTls, address: SocketAddr, store: &Arc<Tls>) -> Result<Self, String> {
        static SYSTEM: Trust = Trust::in_system();
        let given = tls.ca_pem.clone().map(Trust::in_text);
        let trust = given.as_ref().unwrap_or(&SYSTEM);
        let shows = tls
            .certificate
            .as_ref()
            .map(|name| Shows { name: name.to_string(), store: Arc::downgrade(store) });
        let base = match tls.believes {
            Believes::Checked => (*trust.config().map_err(|error| words(&error))?).clone(),
            Believes::Everybody => believing_everybody(),
        };
        let offering = |protocols: &[&[u8]]| {
            let mut config = base.clone();
            config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            config.enable_sni = tls.server_name.is_some();
            if let Some(shows) = &shows {
                config.client_auth_cert_resolver = Arc::new(shows.clone());
            }
            Arc::new(config)
        };
        let name = match &tls.server_name {
            Some(name) => ServerName::try_from(name.clone()).map_err(|error| error.to_string())?,
            None => ServerName::from(address.ip()),
        };
        let configs = [offering(&[b"http/1.1"]), offering(&[b"h2"]), offering(&[])];
        Ok(Self { configs, name, shows })
    }

    async fn shake_hands<S>(&self, stream: S, speaks: Speaks) -> io::Result<Wire>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        Stream: From<tokio_rustls::client::TlsStream<S>>,
    {
        if let Some(shows) = self.shows.as_ref().filter(|shows| shows.find().is_none()) {
            let detail =
                format!("it is to be shown the certificate `{}`, which the environment has not", shows.name);
            return Err(io::Error::other(detail));
        }
        let connector = TlsConnector::from(Arc::clone(&self.configs[speaks as usize]));
        let session = connector.connect(self.name.clone(), stream).await;
        session.map(Wire::new).map_err(|error| io::Error::other(words_of_handshake(&error)))
    }
}

fn words(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("its authorities: {error}{}", source.unwrap_or_default())
}

/// A certificate of the environment that an instance is shown, as it is at that moment.
#[derive(Debug, Clone)]
struct Shows {
    name: String,
    store: Weak<Tls>,
}

impl Shows {
    fn find(&self) -> Option<Arc<CertifiedKey>> {
        let all = self.store.upgrade()?.all();
        all.iter().find(|(name, _)| *name == self.name).map(|(_, it)| Arc::clone(it.key()))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.find()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
