//! TLS 1.3 at the entry, with a certificate of ECDSA P-256: requests on connections that are kept, and full handshakes.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Outcome;
use crate::load::{Backend, CONNECTIONS, ask};
use crate::measure::{Amount, Latencies, compare};
use crate::peers::{Setup, start_all};

const HOST: &str = "shop.test";
const ANSWER: usize = 100;
/// Handshakes at the same time.
const AT_ONCE: usize = 8;

pub(super) fn kept(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let (setup, connector, _folder) = secured(runtime)?;
    let what = format!("HTTP/1.1 within TLS 1.3, answers of {ANSWER} bytes on {CONNECTIONS} connections");
    compare(runtime, &start_all(&setup)?, amount, &what, |address, requests| {
        let connector = connector.clone();
        async move { requests_to(address, &connector, requests).await }
    })
}

pub(super) fn handshakes(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let (setup, connector, _folder) = secured(runtime)?;
    let what = format!("full handshakes of TLS 1.3, ECDSA P-256, {AT_ONCE} at once");
    compare(runtime, &start_all(&setup)?, amount, &what, |address, times| {
        let connector = connector.clone();
        async move { shake(address, &connector, times).await }
    })
}

fn secured(runtime: &Runtime) -> Outcome<(Setup, TlsConnector, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()])?;
    let file = folder.path().join("shop.pem");
    fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem())?;
    let certificate: &'static str = file.display().to_string().leak();
    let plain = Setup::http1(Backend::pair(runtime, ANSWER)?);
    Ok((Setup { certificate: Some(certificate), ..plain }, connector(made.cert.der().clone())?, folder))
}

fn connector(root: CertificateDer<'static>) -> Outcome<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(address: SocketAddr, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
    connector.connect(name, stream).await
}

/// Asks over all connections. Their handshakes are a small part of what a round costs.
async fn requests_to(
    address: SocketAddr,
    connector: &TlsConnector,
    requests: usize,
) -> io::Result<Latencies> {
    let each = requests.div_ceil(CONNECTIONS);
    let client = |number: usize| {
        let connector = connector.clone();
        async move {
            let (mut stream, mut took) = (connect(address, &connector).await?, Latencies::new());
            ask(&mut stream, number, each, &mut took).await?;
            io::Result::Ok(took)
        }
    };
    gather((0..CONNECTIONS).map(|number| tokio::spawn(client(number))).collect()).await
}

async fn shake(address: SocketAddr, connector: &TlsConnector, times: usize) -> io::Result<Latencies> {
    let each = times.div_ceil(AT_ONCE);
    let client = || {
        let connector = connector.clone();
        async move {
            let mut took = Latencies::with_capacity(each);
            for _ in 0..each {
                let begun = Instant::now();
                drop(connect(address, &connector).await?);
                took.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            io::Result::Ok(took)
        }
    };
    gather((0..AT_ONCE).map(|_| tokio::spawn(client())).collect()).await
}

async fn gather(clients: Vec<tokio::task::JoinHandle<io::Result<Latencies>>>) -> io::Result<Latencies> {
    let mut all = Latencies::new();
    for client in clients {
        all.extend(client.await.map_err(io::Error::other)??);
    }
    Ok(all)
}
