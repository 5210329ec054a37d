//! Looking whether a host is served where it should be, as an authority does: by a path (RFC 8555, 8.3), by a handshake (RFC 8737).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::json;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{Ports, State};

/// What is looked for, and where.
pub(super) struct Seen {
    host: String,
    token: String,
    proof: String,
    ports: Ports,
    by_http: bool,
}

impl State {
    pub(super) fn look_begins(&mut self, order: usize, look: usize) -> Seen {
        let asked = self.asked.last().cloned().unwrap_or_default();
        let thumbprint = self.accounts[&self.orders[order].account].thumbprint();
        let host = self.orders[order].hosts[look].clone();
        let found = &mut self.orders[order].looks[look];
        if found.status == "pending" {
            found.status = "processing";
        }
        let (token, nowhere) = (found.token.clone(), Ports { http: 1, tls: 1 });
        let ports = if self.faults.finds_nobody { nowhere } else { self.ports };
        Seen {
            host,
            proof: format!("{token}.{thumbprint}"),
            token,
            ports,
            by_http: asked.ends_with("http-01"),
        }
    }
}

/// Looks, and keeps what was found.
pub(super) fn look(state: &Mutex<State>, order: usize, look: usize, seen: &Seen) {
    let found = if seen.by_http { by_http(seen) } else { by_tls(seen) };
    let mut state = state.lock().unwrap();
    let kept = &mut state.orders[order].looks[look];
    match found {
        Ok(()) => kept.status = "valid",
        Err(why) => {
            kept.status = "invalid";
            kept.error = Some(json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": why}));
        }
    }
}

fn by_http(seen: &Seen) -> Result<(), String> {
    let text = |error: std::io::Error| format!("nobody is there: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", seen.ports.http)).map_err(text)?;
    stream.set_read_timeout(Some(super::super::REQUEST_TIMEOUT)).map_err(text)?;
    let (host, token) = (&seen.host, &seen.token);
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let is_right = answer.starts_with("HTTP/1.1 200") && body.trim_end() == seen.proof;
    if is_right { Ok(()) } else { Err(format!("something else was answered: {answer}")) }
}

fn by_tls(seen: &Seen) -> Result<(), String> {
    let text = |error: std::io::Error| format!("no handshake: {error}");
    let mut socket = TcpStream::connect(("127.0.0.1", seen.ports.tls)).map_err(text)?;
    socket.set_read_timeout(Some(super::super::REQUEST_TIMEOUT)).map_err(text)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Looks)).with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name = ServerName::try_from(seen.host.clone()).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).map_err(text)?;
    }
    if session.alpn_protocol() != Some(b"acme-tls/1".as_slice()) {
        return Err("it speaks something else".into());
    }
    let shown = session.peer_certificates().unwrap()[0].to_vec();
    check(&shown, seen)
}

fn check(shown: &[u8], seen: &Seen) -> Result<(), String> {
    let (_, certificate) = X509Certificate::from_der(shown).map_err(|error| error.to_string())?;
    let names = certificate.subject_alternative_name().ok().flatten().ok_or("it names no host")?;
    let is_for_it =
        matches!(names.value.general_names.as_slice(), [GeneralName::DNSName(name)] if *name == seen.host);
    let extension = certificate.extensions().iter().find(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let extension = extension.ok_or("it does not say the digest")?;
    let digest = ring::digest::digest(&ring::digest::SHA256, seen.proof.as_bytes());
    let is_right = extension.critical && extension.value == [&[4, 32], digest.as_ref()].concat();
    if is_for_it && is_right { Ok(()) } else { Err("it shows another host or digest".into()) }
}

/// An authority looks at the certificate, and believes no chain.
#[derive(Debug)]
struct Looks;

impl ServerCertVerifier for Looks {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
