//! Whom a gateway believes: who proves a key that the table names, in TLS 1.3 and in no other.
//!
//! A key is looked up when it is shown, so it ends with the table that does not name it; and nothing is resumed, so no session outlives it.

use std::fmt;
use std::sync::Arc;

use lockstep_domain::HostName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme, version,
};

use super::identity::{Identity, digest_of};
use super::{Neighbours, PROTOCOL, Present, lock};

/// What keys are made for.
const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ED25519];

/// Who may be at the other end.
#[derive(Debug)]
enum Expected {
    /// The gateway of a host.
    Host(HostName),
    /// Any gateway of the environment.
    Caller,
}

/// Looks keys up in the table that is served.
struct Verifier {
    present: Arc<Present>,
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Verifier {
    fn of(present: &Arc<Present>, expected: Expected) -> Arc<Self> {
        let algorithms = default_provider().signature_verification_algorithms;
        Arc::new(Self { present: Arc::clone(present), expected, algorithms })
    }

    fn check(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let key = digest_of(shown);
        let is_known = match &self.expected {
            Expected::Host(host) => self.present.keys_of(host).contains(&key),
            Expected::Caller => self.present.caller_of(&key).is_some(),
        };
        match is_known && more.is_empty() {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !SCHEMES.contains(&signed.scheme) {
            return Err(CertificateError::BadSignature.into());
        }
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

fn only_tls13() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls13RequiredForQuic.into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Makes the side that asks the gateway of a host.
pub(super) fn client(
    identity: &Identity,
    present: &Arc<Present>,
    host: &HostName,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])?;
    let shown = Arc::clone(identity.shown().ok_or_else(no_key)?);
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Verifier::of(present, Expected::Host(host.clone())))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// Makes the side that lets others in.
pub(super) fn server(identity: &Identity, present: &Arc<Present>) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])?;
    let shown = Arc::clone(identity.shown().ok_or_else(no_key)?);
    let mut config = builder
        .with_client_cert_verifier(Verifier::of(present, Expected::Caller))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A session that goes on would not look at the key again, which may have been taken away meanwhile.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

fn no_key() -> Error {
    Error::General("this gateway has no key yet".to_owned())
}

impl Neighbours {
    /// Returns the side that asks the gateway of a host.
    pub(super) fn client_to(&self, host: &HostName) -> Result<Arc<ClientConfig>, Error> {
        let identity = self.identity().ok_or_else(no_key)?;
        let mut configs = lock(&self.configs);
        if let Some(known) = configs.clients.get(host) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(client(&identity, &self.present, host)?);
        configs.clients.insert(host.clone(), Arc::clone(&made));
        Ok(made)
    }

    /// Returns the side that lets others in.
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        let identity = self.identity().ok_or_else(no_key)?;
        let mut configs = lock(&self.configs);
        if let Some(known) = &configs.server {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(server(&identity, &self.present)?);
        configs.server = Some(Arc::clone(&made));
        Ok(made)
    }
}
