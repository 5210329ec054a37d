//! TLS on loopback: an authority of one's own, and servers with its certificates.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use lockstep_notify::{Outcome, Sender, Target};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::fake::{self, reply};
use super::notices::{NOW, fault};

/// A certificate that signs itself, for `localhost`.
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

pub(crate) fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
    Identity { pem: made.cert.pem(), config: Arc::new(config) }
}

pub(crate) fn accept(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

#[tokio::test]
async fn an_authority_of_ones_own_is_believed_and_a_strange_one_is_named() {
    let identity = identity();
    let config = Arc::clone(&identity.config);
    let address = fake::listen(move |stream| {
        let mut stream = accept(&config, stream);
        if fake::read(&mut stream).is_some() {
            fake::write(&mut stream, &reply(200, "ok"));
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let url = format!("https://localhost:{}/services/T/B/x", address.port());
    let mut target: Target = toml::from_str(&format!("kind='slack'\nurl='{url}'")).unwrap();
    let strange = Sender::new().send(&fault(), &target, NOW).await;
    assert!(matches!(&strange, Outcome::Later { why, .. } if why.contains("certificate")), "{strange}");
    if let Target::Slack(it) = &mut target {
        it.way.ca = Some(identity.pem);
    }
    assert_eq!(Sender::new().send(&fault(), &target, NOW).await, Outcome::Sent { note: None });
}
