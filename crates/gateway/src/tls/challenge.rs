//! What an authority is shown that looks by TLS whether a host is served here (TLS-ALPN-01, RFC 8737).
//!
//! Whoever offers `acme-tls/1` and nothing else gets a certificate of the moment, which nobody else is shown and nobody believes: it
//! says the digest of the answer. No request can follow. Where no order is under way, nothing of this exists.

use std::collections::HashMap;
use std::sync::Arc;

use lockstep_domain::acme::{ChallengeAnswer, ChallengeKind};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use sha2::{Digest as _, Sha256};

/// What is spoken by whoever only looks.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// What authorities are shown, by the host that they look for.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    answers: Vec<ChallengeAnswer>,
    configs: HashMap<String, Arc<ServerConfig>>,
}

impl Challenges {
    /// Makes what is shown for answers. One that cannot be made is said in the log, and the authority finds nothing.
    pub(super) fn of(answers: &[ChallengeAnswer]) -> Self {
        let mut configs = HashMap::new();
        for answer in answers {
            match config(answer) {
                Ok(config) => drop(configs.insert(answer.host.clone(), Arc::new(config))),
                Err(why) => say(&answer.host, &why),
            }
        }
        Self { answers: answers.to_vec(), configs }
    }

    /// Tells whether they are made of these answers.
    pub(super) fn is_of(&self, answers: &[ChallengeAnswer]) -> bool {
        self.answers == answers
    }

    /// Finds what somebody is shown who looks for a host, and does nothing else.
    pub(crate) fn find(&self, hello: &ClientHello<'_>) -> Option<&Arc<ServerConfig>> {
        let mut offered = hello.alpn()?;
        let looks = offered.next() == Some(PROTOCOL) && offered.next().is_none();
        looks.then(|| self.configs.get(&hello.server_name()?.to_ascii_lowercase()))?
    }
}

fn say(host: &str, why: &str) {
    tracing::error!(host, why, "an authority cannot be answered by TLS");
}

/// Takes those that are given by TLS.
pub(super) fn by_tls(answers: &[ChallengeAnswer]) -> Vec<ChallengeAnswer> {
    answers.iter().filter(|it| it.kind == ChallengeKind::TlsAlpn01).cloned().collect()
}

fn config(answer: &ChallengeAnswer) -> Result<ServerConfig, String> {
    let words = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(words)?;
    let mut params = CertificateParams::new(vec![answer.host.clone()]).map_err(words)?;
    let digest = Sha256::digest(answer.key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let certificate = params.self_signed(&key).map_err(words)?;
    let words = |error: rustls::Error| error.to_string();
    let provider = default_provider();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let private = provider.key_provider.load_private_key(private).map_err(words)?;
    // Not looked at before it is used: its extension is critical, and known to authorities alone.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], private);
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(words)?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}
