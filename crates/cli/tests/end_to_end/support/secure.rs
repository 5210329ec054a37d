//! Certificates of an authority of the test, and clients that believe it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::acme::Faults;
use super::place::Place;

/// An authority, and where it writes what it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: String,
}

/// The files of a certificate.
pub(crate) struct Files {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(place: &Place, name: &str) -> Self {
        let folder = place.path(name);
        std::fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(format!("{folder}/ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(crate) fn file(&self) -> String {
        format!("{}/ca.pem", self.folder)
    }

    /// Signs a certificate, changed by whoever wants another kind, and writes its files.
    pub(crate) fn sign(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let (certificate, key) = self.signed(names, change);
        let files = Files {
            chain: format!("{}/{file}.pem", self.folder),
            key: format!("{}/{file}.key", self.folder),
        };
        std::fs::write(&files.chain, certificate.pem() + &self.issuer.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn signed(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Makes what a server on loopback shows: the chain, and its key.
    pub(crate) fn chain_for_address(&self) -> (Vec<CertificateDer<'static>>, Vec<u8>) {
        let (certificate, key) = self.signed(&["127.0.0.1"], |_| {});
        (vec![certificate.der().clone(), self.issuer.der().clone()], key.serialize_der())
    }

    /// Signs what a request for a certificate asks for, which must be for these hosts; returns the chain as PEM.
    pub(crate) fn sign_request(
        &self,
        request: &[u8],
        hosts: &[String],
        faults: &Faults,
    ) -> Result<String, String> {
        let (_, request) = X509CertificationRequest::from_der(request).map_err(|error| error.to_string())?;
        request.verify_signature().map_err(|error| error.to_string())?;
        let extensions = request.requested_extensions().into_iter().flatten();
        let names = extensions.filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            other => format!("{other:?}"),
        };
        let asked: Vec<String> = names.flatten().map(name).collect();
        if asked != hosts {
            return Err(format!("it asks for {asked:?}, and {hosts:?} were ordered"));
        }
        let names = if faults.wrong_host { vec!["elsewhere.test".to_owned()] } else { asked };
        let mut params = CertificateParams::new(names).unwrap();
        let now = std::time::SystemTime::now();
        let day = std::time::Duration::from_secs(86_400);
        params.not_before = (now - 10 * day).into();
        params.not_after = (if faults.over { now - day } else { now + 90 * day }).into();
        let key = &request.certification_request_info.subject_pki.subject_public_key.data;
        let certificate = params.signed_by(&OfRequest(key.to_vec()), &self.issuer).unwrap();
        Ok(certificate.pem() + &self.issuer.pem())
    }

    /// Makes what a client believes; it shows a certificate of `shows` with this name.
    pub(crate) fn client(&self, shows: Option<(&Self, &str)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some((by, name)) => {
                let (certificate, key) = by.signed(&[name], |_| {});
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        // A session that goes on shows the certificate from before.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// The public key of a request for a certificate.
struct OfRequest(Vec<u8>);

impl PublicKeyData for OfRequest {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Returns a port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A client that asks by https on one connection.
pub(crate) struct Secured(StreamOwned<ClientConnection, TcpStream>);

impl Secured {
    /// Connects to a port of loopback and shakes hands for a host.
    pub(crate) fn connect(port: u16, host: &str, config: &Arc<ClientConfig>) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut socket = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
        socket.set_read_timeout(Some(super::REQUEST_TIMEOUT)).map_err(text)?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(text)?;
        }
        Ok(Self(StreamOwned::new(session, socket)))
    }

    /// Asks for a path; returns the whole answer.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Result<String, String> {
        let text = |error: std::io::Error| error.to_string();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.0.write_all(request.as_bytes()).map_err(text)?;
        let (mut bytes, mut one) = (Vec::new(), [0]);
        while !bytes.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut one).map_err(text)?;
            bytes.push(one[0]);
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head.to_ascii_lowercase();
        let length =
            length.split("content-length: ").nth(1).and_then(|it| it.split('\r').next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).map_err(text)?;
        Ok(head + &String::from_utf8_lossy(&body))
    }

    /// The certificate that was shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
