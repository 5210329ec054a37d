//! Authorities that look whether a host is served here: by a path, by a handshake; and everybody else, for whom nothing changes.

use lockstep_domain::acme::{ChallengeAnswer, ChallengeKind};
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

/// What an authority does: it looks at the certificate, and believes no chain.
#[derive(Debug)]
struct Looks(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Looks {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The certificate is not one that the library reads: its extension is critical, and not known to it.
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn looks(protocols: &[&str], versions: Versions) -> Arc<ClientConfig> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Looks(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn answer(kind: ChallengeKind, host: &str, token: &str) -> ChallengeAnswer {
    let key_authorization = format!("{token}.thumbprint");
    ChallengeAnswer { kind, host: host.into(), token: token.into(), key_authorization }
}

fn serve(entrance: &Entrance, mirror: &Instance, revision: u64, entry: Entry) {
    let table = table(revision, &[stable(0, &[("shop-1", mirror.address)])]);
    entrance.running.gateway.apply(RouteTable { entry: Some(entry), ..table }).unwrap();
}

fn redirecting() -> EntrySettings {
    EntrySettings { https_port: Some(8_443), http: PlainHttp::Redirect, ..EntrySettings::default() }
}

#[test]
fn a_path_that_an_authority_asks_for_is_answered_and_every_other_one_goes_to_the_service() {
    let mirror = mirror();
    let entrance = Entrance::with(&mirror, Timeouts::default(), redirecting());
    let challenges = vec![
        answer(ChallengeKind::Http01, "shop.test", "one"),
        answer(ChallengeKind::Http01, "other.test", "two"),
        answer(ChallengeKind::TlsAlpn01, "shop.test", "three"),
    ];
    serve(&entrance, &mirror, 3, Entry { settings: redirecting(), challenges, ..Entry::default() });
    let ask = |method: &str, host: &str, token: &str| {
        let path = format!("/.well-known/acme-challenge/{token}");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = entrance.running.client().ask(request).unwrap();
        (answer.status(), answer.text())
    };
    assert_eq!(ask("GET", "Shop.Test:80", "one"), (200, "one.thumbprint".to_owned()));
    assert_eq!(ask("GET", "other.test", "two"), (200, "two.thumbprint".to_owned()));
    for (host, token, expected) in [
        ("shop.test", "two", 200),
        ("shop.test", "three", 200),
        ("shop.test", "of-the-service", 200),
        ("shop.test", "one/more", 200),
        // No route is for it.
        ("third.test", "one", 404),
        // Its one form lies outside, and is redirected as every other path.
        ("shop.test", "%2e%2e/one", 308),
    ] {
        let (status, text) = ask("GET", host, token);
        assert!(!text.contains("thumbprint"), "{host} {token}: {text}");
        assert_eq!(status, expected, "the service has its own: {host} {token}");
    }
    // When the order is over the service has the path again.
    serve(&entrance, &mirror, 4, Entry { settings: redirecting(), ..Entry::default() });
    assert!(!ask("GET", "shop.test", "one").1.contains("thumbprint"));
}

#[test]
fn a_handshake_that_only_looks_is_shown_the_digest_and_everybody_else_the_certificate() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let usual = entrance.connect().0.conn.peer_certificates().unwrap()[0].to_vec();
    let shown = |protocols: &[&str], name: &str, versions| {
        let client = Secured::connect(entrance.address, looks(protocols, versions), name)?;
        Ok::<_, io::Error>(client.0.conn.peer_certificates().unwrap()[0].to_vec())
    };
    assert!(shown(&["acme-tls/1"], "shop.test", NEW).is_err(), "no order is under way");
    let challenges = vec![
        answer(ChallengeKind::TlsAlpn01, "shop.test", "one"),
        answer(ChallengeKind::TlsAlpn01, "new.test", "two"),
        answer(ChallengeKind::Http01, "third.test", "three"),
    ];
    serve(&entrance, &mirror, 3, Entry { challenges, ..Entry::default() });
    for (name, token) in [("shop.test", "one"), ("new.test", "two")] {
        let der = shown(&["acme-tls/1"], name, NEW).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let extension =
            certificate.extensions().iter().find(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let extension = extension.expect("it has what RFC 8737 names");
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(format!("{token}.thumbprint"));
        assert!(extension.critical && extension.value == [&[4, 32][..], &digest].concat());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
    }
    wait_until("both are counted", || entrance.count("challenge") == 2);
    assert!(shown(&["acme-tls/1"], "third.test", NEW).is_err(), "it is asked by http");
    assert_eq!(shown(&["h2", "acme-tls/1"], "shop.test", NEW).unwrap(), usual, "it does not only look");
    assert_eq!(shown(&["h2"], "shop.test", NEW).unwrap(), usual);
    assert!(shown(&["h2"], "new.test", NEW).is_err(), "there is no certificate yet");
    let mut client = entrance.connect();
    assert!(client.get().unwrap().starts_with("HTTP/1.1 200"));
    // No request follows on a connection that only looks.
    let config = looks(&["acme-tls/1"], NEW);
    let mut client = Secured::connect(entrance.address, config, "shop.test").unwrap();
    assert!(client.get().is_err() || client.get().is_ok_and(|text| text.is_empty()));
    serve(&entrance, &mirror, 4, Entry::default());
    assert!(shown(&["acme-tls/1"], "shop.test", NEW).is_err());
}
