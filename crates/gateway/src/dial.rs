//! Opening a connection to an instance: the socket, the PROXY header that it wants, and TLS where it speaks that.
//!
//! Whatever fails says why in words for a person, and is a connection that could not be opened. Sessions are resumed, each instance having its own:
//! a ticket of one is of no use at another.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use lockstep_domain::approach::{Approach, Believes, InstanceTls, ProxyVersion};
use lockstep_reach::{Trust, believing_everybody, words_of_handshake};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxy_out::{Told, header};
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
    proxy: Option<ProxyVersion>,
    tls: Option<Result<Client, String>>,
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
    pub(crate) fn of(approach: &Approach, address: SocketAddr, store: &Arc<Tls>) -> Option<Arc<Self>> {
        if approach.is_plain() {
            return None;
        }
        let tls = approach.tls.as_ref().map(|tls| Client::of(tls, address, store));
        Some(Arc::new(Self { approach: approach.clone(), proxy: approach.proxy_protocol, tls }))
    }
}

/// Opens a connection.
pub(crate) async fn dial(
    address: SocketAddr,
    dialling: Option<&Dialling>,
    told: &Told<'_>,
    speaks: Speaks,
) -> io::Result<Wire> {
    let mut socket = TcpStream::connect(address).await?;
    let Some(dialling) = dialling else { return Ok(Wire::new(socket)) };
    // Before the handshake, which is small messages.
    let _ = socket.set_nodelay(true);
    if let Some(version) = dialling.proxy {
        socket.write_all(&header(version, told)).await?;
    }
    match &dialling.tls {
        None => Ok(Wire::new(socket)),
        Some(client) => {
            client.as_ref().map_err(|why| io::Error::other(why.clone()))?.shake_hands(socket, speaks).await
        }
    }
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

    async fn shake_hands(&self, socket: TcpStream, speaks: Speaks) -> io::Result<Wire> {
        if let Some(shows) = self.shows.as_ref().filter(|shows| shows.find().is_none()) {
            let detail =
                format!("it is to be shown the certificate `{}`, which the environment has not", shows.name);
            return Err(io::Error::other(detail));
        }
        let connector = TlsConnector::from(Arc::clone(&self.configs[speaks as usize]));
        let session = connector.connect(self.name.clone(), socket).await;
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
