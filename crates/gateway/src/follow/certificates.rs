//! The certificates that a table names: from the disk, else from the server, so that a gateway starts without one.
//!
//! Invariant: what is shown was read whole and checked. A certificate that is not to be had leaves the one of its name that was shown
//! before, and files of keys are for their owner alone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lockstep_domain::certificate::TableCertificate;
use lockstep_domain::{Digest, EnvironmentName};

use super::client::Server;
use super::looking::Looking;
use super::store::TableStore;
use crate::certificate::{MAX_PEM_BYTES, ServerCertificate};
use crate::gateway::Gateway;

/// Longest stored certificate: chain, key and what is known of its revocation.
const MAX_BUNDLE: u64 = 3 * MAX_PEM_BYTES;
/// Mode of a stored certificate.
const MODE: u32 = 0o600;

/// Keeps a gateway's certificates those that its table names.
pub(super) struct Tending<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) environment: &'a EnvironmentName,
    /// The server, unless it is not to be asked.
    pub(super) server: Option<&'a Server>,
    pub(super) store: &'a TableStore,
}

impl Tending<'_> {
    /// Looks again and again, and gets what is missing.
    pub(super) async fn run(&self) {
        let mut looking = Looking::new(self.environment, "not all certificates are shown");
        loop {
            let faults = self.look().await;
            looking.rest(if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }).await;
        }
    }

    /// Looks once; returns what is wrong.
    pub(super) async fn look(&self) -> Vec<String> {
        let Some(wanted) = self.gateway.wanted_certificates(self.environment) else { return Vec::new() };
        let shown = self.gateway.shown(self.environment);
        let is_same = |(wanted, shown): (&TableCertificate, &(String, ServerCertificate))| {
            (wanted.name.as_str(), wanted.digest) == (shown.0.as_str(), shown.1.facts().digest)
        };
        if wanted.len() == shown.len() && wanted.iter().zip(&shown).all(is_same) {
            return Vec::new();
        }
        let (mut next, mut faults) = (Vec::new(), Vec::new());
        for certificate in &wanted {
            let known = shown.iter().find(|(_, known)| known.facts().digest == certificate.digest);
            let got = match known {
                Some((_, known)) => Ok(known.clone()),
                None => self.get(&certificate.digest).await,
            };
            let name = certificate.name.as_str();
            let usable = got.inspect_err(|why| faults.push(format!("certificate `{name}` {why}"))).ok();
            let before = || shown.iter().find(|(known, _)| known == name).map(|(_, it)| it.clone());
            next.extend(usable.or_else(before).map(|usable| (name.to_owned(), usable)));
        }
        if let Err(error) = self.gateway.certify(self.environment, next) {
            faults.push(error.to_string());
        }
        if faults.is_empty() {
            tracing::info!(environment = %self.environment, certificates = wanted.len(), "certificates of the table are shown");
            self.store.forget_others(self.environment, &wanted);
        }
        faults
    }

    async fn get(&self, digest: &Digest) -> Result<ServerCertificate, String> {
        if let Some(stored) = self.store.certificate(self.environment, digest) {
            return Ok(stored);
        }
        let server = self.server.ok_or("is not stored here")?;
        let bundle = server.certificate(self.environment, digest).await;
        let bundle = bundle.map_err(|error| format!("is not given by the server: {error}"))?;
        let certificate = checked(bundle.as_bytes(), digest)?;
        if let Err(error) = self.store.keep_certificate(self.environment, digest, &bundle) {
            tracing::error!(environment = %self.environment, %error, "a certificate is shown but not stored");
        }
        Ok(certificate)
    }
}

fn checked(bundle: &[u8], digest: &Digest) -> Result<ServerCertificate, String> {
    let words = |faults: Vec<_>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let certificate = ServerCertificate::from_bundle(bundle).map_err(
        |faults: Vec<crate::certificate::CertificateFault>| format!("cannot be used: {}", words(faults)),
    )?;
    if certificate.facts().digest == *digest {
        Ok(certificate)
    } else {
        Err("is another one than was asked for".into())
    }
}

impl TableStore {
    fn certificate_path(&self, environment: &EnvironmentName, digest: &Digest) -> PathBuf {
        self.folder().join(format!("{environment}.{digest}.certificate.pem"))
    }

    /// Reads a stored certificate; one that cannot be used is as good as none.
    fn certificate(&self, environment: &EnvironmentName, digest: &Digest) -> Option<ServerCertificate> {
        let path = self.certificate_path(environment, digest);
        let length = fs::metadata(&path).ok()?.len();
        if length > MAX_BUNDLE {
            tracing::error!(path = %path.display(), length, "a stored certificate is damaged: it is too long");
            return None;
        }
        let read = fs::read(&path).map_err(|error| error.to_string()).and_then(|text| checked(&text, digest));
        let say =
            |why: &String| tracing::error!(path = %path.display(), why, "a stored certificate is damaged");
        read.inspect_err(say).ok()
    }

    /// Stores a certificate with its key.
    fn keep_certificate(
        &self,
        environment: &EnvironmentName,
        digest: &Digest,
        bundle: &str,
    ) -> io::Result<()> {
        self.keep_secret(&self.certificate_path(environment, digest), bundle)
    }

    /// Stores a secret, for the owner alone; after a crash at any moment it is there whole or not at all.
    pub(crate) fn keep_secret(&self, path: &Path, text: &str) -> io::Result<()> {
        let beside = path.with_extension("new");
        let _alone = self.alone()?;
        // What an interrupted attempt left may have another mode.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(self.folder())?.sync_all()
    }

    /// Removes stored certificates that the table names no more.
    fn forget_others(&self, environment: &EnvironmentName, wanted: &[TableCertificate]) {
        let wanted: BTreeSet<PathBuf> =
            wanted.iter().map(|it| self.certificate_path(environment, &it.digest)).collect();
        let (start, end) = (format!("{environment}."), ".certificate.pem");
        let Ok(entries) = fs::read_dir(self.folder()) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_of_it = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(end));
            let is_one = is_of_it.is_some_and(|digits| !digits.contains('.'));
            if is_one && !wanted.contains(&path) {
                // What cannot be removed is only a file too many.
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::certificate::bundle;
    use crate::certificate::tests::{made, read};

    #[test]
    fn a_certificate_is_stored_for_its_owner_alone_and_found_again_until_the_table_names_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = TableStore::new(folder.path().join("tables"));
        let production: EnvironmentName = "production".parse().unwrap();
        let signed = made(&["shop.test"]);
        let text = bundle(&signed.certificate.pem(), &signed.key.serialize_pem(), None);
        let digest = read(&signed).facts().digest;
        assert!(store.certificate(&production, &digest).is_none());
        store.keep_certificate(&production, &digest, &text).unwrap();
        let path = store.certificate_path(&production, &digest);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store.certificate(&production, &digest).unwrap().facts().digest, digest);
        let other = read(&made(&["other.test"])).facts().digest;
        fs::rename(&path, store.certificate_path(&production, &other)).unwrap();
        assert!(store.certificate(&production, &other).is_none(), "it is another one than its name says");
        let named = |digest| TableCertificate { name: "shop".parse().unwrap(), digest };
        store.forget_others(&production, &[named(other)]);
        assert!(store.certificate_path(&production, &other).exists());
        store.forget_others(&"prod".parse().unwrap(), &[]);
        assert!(store.certificate_path(&production, &other).exists(), "it is of another environment");
        store.forget_others(&production, &[named(digest)]);
        assert!(!store.certificate_path(&production, &other).exists());
    }
}
