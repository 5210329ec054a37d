//! What its issuer says of the revocation of a certificate, as a client sees it in the handshake.

use std::sync::Mutex;

use lockstep_gateway::certificate::CertificateFault;
use rcgen::SigningKey as _;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::*;

const SERIAL: &[u8] = &[0x42, 7];
const GOOD: &[u8] = &[0x80, 0];
const REVOKED: &[u8] = &[0xa1, 17, 0x18, 15];
const UNKNOWN: &[u8] = &[0x82, 0];
const FAR: &str = "20990101000000Z";

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// An answer about one certificate of an authority, signed by a key.
fn said((authority, by): (&Authority, &KeyPair), serial: &[u8], status: &[u8], until: &str) -> Vec<u8> {
    let status = match status {
        REVOKED => [REVOKED, b"20260101000000Z"].concat(),
        status => status.to_vec(),
    };
    let (_, issuer) = X509Certificate::from_der(authority.0.der()).unwrap();
    let hash = |bytes: &[u8]| tlv(0x04, digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    let id = [
        tlv(0x30, &tlv(0x06, &[0x2b, 0x0e, 3, 2, 0x1a])),
        hash(issuer.subject().as_raw()),
        hash(&issuer.public_key().subject_public_key.data),
        tlv(0x02, serial),
    ];
    let (since, until) = (tlv(0x18, b"20260101000000Z"), tlv(0xa0, &tlv(0x18, until.as_bytes())));
    let one = tlv(0x30, &[tlv(0x30, &id.concat()), status, since, until].concat());
    let all = [tlv(0xa2, &tlv(0x04, &[3; 20])), tlv(0x18, b"20260101000000Z"), tlv(0x30, &one)];
    let signed = tlv(0x30, &all.concat());
    let signature = [&[0][..], &by.sign(&signed).unwrap()].concat();
    let algorithm = tlv(0x30, &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let basic = tlv(0x30, &[signed, algorithm, tlv(0x03, &signature)].concat());
    let kind = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let content = [tlv(0x06, &kind), tlv(0x04, &basic)].concat();
    tlv(0x30, &[vec![0x0a, 1, 0], tlv(0xa0, &tlv(0x30, &content))].concat())
}

/// Verifies as every client does, and notes what it was handed.
#[derive(Debug)]
struct Noting {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap() = Some(ocsp.to_vec());
        self.inner.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Shakes hands; returns the answer about revocation that the client was handed.
fn handed(entrance: &Entrance, versions: Versions) -> Vec<u8> {
    let provider = Arc::new(default_provider());
    let inner =
        WebPkiServerVerifier::builder_with_provider(entrance.authority.roots(), Arc::clone(&provider))
            .build()
            .unwrap();
    let noting = Arc::new(Noting { inner, seen: Mutex::default() });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let verifier = Arc::clone(&noting) as Arc<dyn ServerCertVerifier>;
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let mut client = Secured::connect(entrance.address, Arc::new(config), "shop.test").unwrap();
    assert!(client.get().unwrap().starts_with("HTTP/1.1 200"));
    noting.seen.lock().unwrap().take().unwrap()
}

#[test]
fn a_client_is_handed_what_says_good_and_nothing_that_would_make_it_refuse() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
    params.serial_number = Some(SERIAL.to_vec().into());
    let certificate = params.signed_by(&key, &entrance.authority.0).unwrap();
    let (chain, key) = (certificate.pem() + &entrance.authority.0.pem(), key.serialize_pem());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let wall = Timestamp(u64::try_from(since.as_millis()).unwrap());
    let (ours, stranger) = (&entrance.authority, (Authority::new(), KeyPair::generate().unwrap()));
    let by = (ours, ours.0.key());
    for (answer, fault) in [
        (said(by, SERIAL, GOOD, FAR), None),
        (said(by, SERIAL, REVOKED, FAR), Some("was revoked")),
        (said(by, SERIAL, UNKNOWN, FAR), Some("does not know")),
        (said(by, SERIAL, GOOD, "20260102000000Z"), Some("ended at 2026-01-02")),
        (said(by, &[9], GOOD, FAR), Some("says nothing of this certificate")),
        (said((ours, &stranger.1), SERIAL, GOOD, FAR), Some("signed neither by its issuer")),
        (said((&stranger.0, ours.0.key()), SERIAL, GOOD, FAR), Some("says nothing of this certificate")),
    ] {
        let read = ServerCertificate::read(chain.as_bytes(), key.as_bytes(), Some(&answer), wall).unwrap();
        let warned: Vec<_> = read.warnings.iter().map(CertificateFault::to_string).collect();
        assert_eq!(warned.len(), usize::from(fault.is_some()), "{warned:?}");
        assert!(fault.is_none_or(|fault| warned[0].contains(fault)), "{warned:?}");
        assert_eq!(read.certificate.staple_warning(wall).is_some(), fault.is_some());
        entrance.running.gateway.certify(&environment(), vec![("shop".into(), read.certificate)]).unwrap();
        let expected = if fault.is_none() { answer } else { Vec::new() };
        for versions in [NEW, OLD] {
            assert_eq!(handed(&entrance, versions), expected, "{fault:?}");
        }
    }
}
