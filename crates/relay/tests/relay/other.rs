//! Other sides, as bytes on sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Somebody who listens.
pub(crate) struct Other {
    listener: Option<TcpListener>,
    port: u16,
}

impl Other {
    /// One whose connections the test takes itself.
    pub(crate) async fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener: Some(listener), port }
    }

    /// One that answers each connection with the same bytes, and closes it.
    pub(crate) async fn answering(bytes: &str) -> Self {
        let Self { listener, port } = Self::begin().await;
        let (listener, bytes) = (listener.unwrap(), bytes.to_owned());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
                let _ = stream.read(&mut [0; 4096]).await;
            }
        });
        Self { listener: None, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        self.listener.as_ref().unwrap().accept().await.unwrap().0
    }

    pub(crate) async fn nobody_else_came(&self) {
        let accepted = tokio::time::timeout(Duration::from_millis(100), self.accept()).await;
        assert!(accepted.is_err(), "somebody came");
    }
}

/// Somebody who speaks TLS, and vouches for themselves.
pub(crate) struct Tls {
    pub(crate) port: u16,
    pub(crate) certificate: String,
}

/// Begins one that answers each connection with the same bytes.
pub(crate) async fn tls(names: &[&str], bytes: &'static str) -> Tls {
    tls_for(names, bytes, None).await
}

/// The same, where only who shows this certificate is answered.
pub(crate) async fn tls_for(names: &[&str], bytes: &'static str, client: Option<&str>) -> Tls {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let key = rcgen::generate_simple_self_signed(names).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = match client {
        None => builder.unwrap().with_no_client_auth(),
        Some(pem) => {
            use rustls::pki_types::pem::PemObject as _;
            let mut roots = rustls::RootCertStore::empty();
            roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.unwrap().with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_single_cert(vec![key.cert.der().clone()], private);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    Tls { port, certificate: key.cert.pem() }
}
