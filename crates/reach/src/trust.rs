//! Whom to believe that a server is who it says: the authorities of the system, or those of a file instead of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_files::foreign;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Largest file of certificates: that of a whole system has 300 KB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// What a text of certificates is called that is in no file.
const GIVEN: &str = "the authorities that were given";
/// What is spoken inside of TLS; a front that offers HTTP/2 as well must not choose that.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why there is nobody to trust.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read the certificates in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file has no certificate.
    #[error("`{}` has no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of its certificates is not one.
    #[error("certificate {number} in `{}` cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system has no authorities.
    #[error("this system has no certificates of authorities")]
    NoSystem,
    /// What is to be shown is no certificate with its key.
    #[error("what is to be shown is no certificate with its private key, as PEM")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The library refuses its own settings.
    #[error("TLS cannot be used")]
    Library(#[source] rustls::Error),
}

impl TrustError {
    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "name the file of the authority with --ca FILE".into(),
            Self::Empty { path } | Self::Unusable { path, .. } => {
                let path = path.display();
                format!(
                    "openssl x509 -in {path} -noout -text; openssl x509 -inform der -in {path} -out ca.pem, when it is in DER form"
                )
            }
            Self::NoSystem => "apt-get install ca-certificates, or name the authority with --ca FILE".into(),
            Self::Identity(_) => {
                "cat certificate.pem key.pem, the certificate first and its chain behind it".into()
            }
            Self::Library(_) => "use http:// on loopback".into(),
        }
    }
}

/// Whom to trust, read when it is needed first.
#[derive(Debug)]
pub struct Trust {
    /// Instead of the system's: naming an authority excludes all others.
    file: Option<PathBuf>,
    /// Or the text of such a file.
    given: Option<String>,
    /// A certificate with its chain, and its key, that is shown to who asks for one.
    identity: Option<String>,
    loaded: Mutex<Option<Arc<ClientConfig>>>,
}

impl Trust {
    /// Trusts the authorities of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
    #[must_use]
    pub const fn in_system() -> Self {
        Self::new(None)
    }

    /// Trusts the authorities whose certificates are in a file, and no others; those of the system where there is no file.
    #[must_use]
    pub const fn new(file: Option<PathBuf>) -> Self {
        Self { file, given: None, identity: None, loaded: Mutex::new(None) }
    }

    /// Trusts the authorities whose certificates are in a text, as PEM, and no others.
    #[must_use]
    pub const fn in_text(pem: String) -> Self {
        Self { file: None, given: Some(pem), identity: None, loaded: Mutex::new(None) }
    }

    /// Shows a certificate to who asks for one: with its chain, and its private key, as PEM.
    #[must_use]
    pub fn showing(self, identity: Option<String>) -> Self {
        Self { identity, ..self }
    }

    /// Returns how TLS is spoken with whom these authorities vouch for.
    ///
    /// # Errors
    /// When they cannot be read, or there are none.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        self.load()
    }

    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*loaded {
            return Ok(Arc::clone(config));
        }
        let config = self.read()?;
        Ok(Arc::clone(loaded.insert(config)))
    }

    /// Reads again what is trusted. What cannot be read, perhaps because it is being written, changes nothing.
    pub(crate) fn load_again(&self) {
        if let Ok(config) = self.read() {
            *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
        }
    }

    fn read(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let roots = match (&self.file, &self.given) {
            (Some(path), _) => roots_in(path)?,
            (None, Some(pem)) => roots_of(Path::new(GIVEN), pem.as_bytes())?,
            (None, None) => roots_of_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(TrustError::Library)?.with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let wrong = |source| TrustError::Identity(Box::new(source));
                let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
                let chain = chain.map_err(|error| TrustError::Identity(Box::new(error)))?;
                let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
                let key = key.map_err(|error| TrustError::Identity(Box::new(error)))?;
                builder.with_client_auth_cert(chain, key).map_err(wrong)?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, TrustError> {
    let read = foreign::open_named(path).and_then(|file| foreign::read(file, MAX_FILE_BYTES));
    let bytes = read.map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    roots_of(path, &bytes)
}

fn roots_of(path: &Path, bytes: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(bytes).enumerate() {
        let unusable = |source| TrustError::Unusable { path: path.to_owned(), number: index + 1, source };
        let certificate = certificate.map_err(|error| unusable(Box::new(error)))?;
        roots.add(certificate).map_err(|error| unusable(Box::new(error)))?;
    }
    if roots.is_empty() { Err(TrustError::Empty { path: path.to_owned() }) } else { Ok(roots) }
}

/// One that cannot be used is passed over: a system has many, and who needs it hears that its issuer is not known.
fn roots_of_system() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TrustError::NoSystem) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_nobody_is_told_by_its_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let load = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            Trust::new(Some(path.clone())).load().map(drop)
        };
        let key = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap();
        let pem = key.cert.pem();
        assert!(load(format!("notes\n{pem}\n{pem}").as_bytes()).is_ok(), "one or more, with words between");
        assert!(Trust::in_text(pem.clone()).load().is_ok());
        assert!(matches!(Trust::in_text(String::new()).load(), Err(TrustError::Empty { .. })));
        assert!(matches!(load(b""), Err(TrustError::Empty { .. })));
        assert!(matches!(load(key.signing_key.serialize_pem().as_bytes()), Err(TrustError::Empty { .. })));
        assert!(matches!(load(key.cert.der()), Err(TrustError::Empty { .. })));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            load(format!("{pem}{broken}").as_bytes()),
            Err(TrustError::Unusable { number: 2, .. })
        ));
        assert!(matches!(
            load(&pem.as_bytes()[..pem.len() / 2]),
            Err(TrustError::Empty { .. } | TrustError::Unusable { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Trust::new(Some(path.clone())).load(), Err(TrustError::Read { .. })));
        assert!(matches!(Trust::new(Some(folder.path().into())).load(), Err(TrustError::Read { .. })));
    }
}
