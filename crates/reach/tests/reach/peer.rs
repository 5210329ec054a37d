//! Peers of every kind, each a real socket with a thread, and the authorities that vouch for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// An authority, and the file with its certificate.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// Authorities of the same name differ in their key alone.
    pub(crate) fn new(name: &str) -> Self {
        Self::with_key(name, KeyPair::generate().unwrap())
    }

    pub(crate) fn with_key(name: &str, key: KeyPair) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes the certificate to its file.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        let path = self.folder.path().join("ca.pem");
        std::fs::write(&path, self.pem()).unwrap();
        path
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs what `change` made of an ordinary certificate for the names.
    pub(crate) fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        Identity { chain, key: key.serialize_der() }
    }
}

/// What a server shows and holds.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

impl Identity {
    pub(crate) fn config(self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key));
        builder.unwrap().with_no_client_auth().with_single_cert(self.chain, key).unwrap()
    }
}

/// A peer that does the same with every connection.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                serve(stream);
            }
        });
        Self { address, connections }
    }

    /// Answers requests over TLS with these bytes, and closes as TLS wants it, or without a word.
    pub(crate) fn with_tls(config: ServerConfig, answer: &'static [u8], end: End) -> Self {
        let config = Arc::new(config);
        Self::start(move |stream| {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            // A client that does not trust us leaves.
            if read_head(&mut tls).is_some() && tls.write_all(answer).is_ok() {
                if end == End::Told {
                    tls.conn.send_close_notify();
                }
                let _ = tls.flush();
            }
        })
    }

    /// Answers whatever comes first with these bytes, and closes.
    pub(crate) fn answering(answer: &'static [u8]) -> Self {
        Self::start(move |mut stream| {
            let _ = stream.read(&mut [0; 16_384]);
            let _ = stream.write_all(answer);
        })
    }

    /// Takes connections and never says anything.
    pub(crate) fn silent() -> Self {
        let held = std::sync::Mutex::new(Vec::new());
        Self::start(move |stream| held.lock().unwrap().push(stream))
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// How a peer ends a connection of TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Told,
    Untold,
}

fn read_head(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(head)
}
