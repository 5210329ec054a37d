//! Certificates that lie in files: read at the start and whenever one of them changes.
//!
//! Invariant: a file that cannot be used changes nothing of what is shown; it is reported, and the others are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_domain::{EnvironmentName, Timestamp};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{LOOK_EVERY, Stamp, stamp};
use crate::certificate::{CertificateFault, MAX_PEM_BYTES, ServerCertificate};
use crate::gateway::Gateway;

/// Most certificates of a folder.
const MAX_FILES: usize = 500;
/// How often it is said that a certificate ends.
const SAY_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// What files of certificates end with.
const CERTIFICATES: [&str; 3] = ["pem", "crt", "cert"];

/// Where the certificates of a gateway of its own lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFiles {
    /// One chain, and its key where that is in another file.
    Pair {
        /// The chain as PEM, the server's own certificate first.
        certificate: PathBuf,
        /// Its key; in the same file when left out.
        key: Option<PathBuf>,
    },
    /// A folder with `NAME.pem` (or `.crt`, `.cert`), beside each its key as `NAME.key` unless that is in the same file, and what its
    /// issuer says of its revocation as `NAME.ocsp` where there is that. The first by name is for clients that name no host.
    Folder(PathBuf),
}

/// Why certificates of files cannot be used.
#[derive(Debug, Error)]
pub enum CertificateFilesError {
    /// A file or folder cannot be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file is longer than any certificate.
    #[error("`{}` is longer than {MAX_PEM_BYTES} bytes, as no certificate is", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// There is none in the folder.
    #[error("`{}` has no certificate: NAME.pem, with NAME.key beside it", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// There are too many.
    #[error("`{}` has more than {MAX_FILES} certificates", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// One is not good.
    #[error("`{}` cannot be used: {}", path.display(), faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Bad {
        /// Its file.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Vec<CertificateFault>,
    },
}

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    ocsp: PathBuf,
}

/// What the files were when they were read.
type Stamps = BTreeMap<String, [Option<Stamp>; 3]>;

/// Certificates of files as they were read last.
#[derive(Debug)]
pub(super) struct Kept {
    files: CertificateFiles,
    good: BTreeMap<String, ServerCertificate>,
    seen: Stamps,
}

impl Kept {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// When none of them can be used, each with everything that is wrong. One that is good is enough to begin with; what is wrong
    /// with others is said in the log.
    pub(super) fn read(files: CertificateFiles) -> Result<Self, Vec<CertificateFilesError>> {
        let mut kept = Self { files, good: BTreeMap::new(), seen: Stamps::new() };
        // What changes while they are read is found changed afterwards.
        kept.has_changed();
        let errors = kept.look();
        if kept.good.is_empty() {
            return Err(errors);
        }
        for error in &errors {
            tracing::error!(error = error as &dyn std::error::Error, "a certificate is not shown");
        }
        Ok(kept)
    }

    /// Returns them by name.
    pub(super) fn all(&self) -> Vec<(String, ServerCertificate)> {
        self.good.iter().map(|(name, it)| (name.clone(), it.clone())).collect()
    }

    /// Reads what has changed; what cannot be used stays as it was.
    fn look(&mut self) -> Vec<CertificateFilesError> {
        let listed = match self.files.list() {
            Ok(listed) => listed,
            Err(error) => return vec![error],
        };
        let names: BTreeSet<_> = listed.keys().cloned().collect();
        self.good.retain(|name, _| names.contains(name));
        let mut errors = Vec::new();
        for (name, files) in listed {
            match files.read() {
                Ok(certificate) => drop(self.good.insert(name, certificate)),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Says which of them end soon, or are over: nobody else is there to say it.
    fn warn_of_ends(&self, environment: &EnvironmentName) {
        let of_one = |it: &ServerCertificate| [it.facts().warning(wall()), it.staple_warning(wall())];
        let warnings = self.good.values().flat_map(of_one).flatten();
        warnings.for_each(|warning| tracing::warn!(%environment, "{warning}"));
    }

    /// Tells whether a file has changed since this was asked last.
    fn has_changed(&mut self) -> bool {
        let listed = self.files.list().unwrap_or_default();
        let now = listed.into_iter().map(|(name, it)| (name, it.stamps())).collect();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

impl CertificateFiles {
    fn list(&self) -> Result<BTreeMap<String, Files>, CertificateFilesError> {
        match self {
            Self::Pair { certificate, key } => {
                let key = key.clone().unwrap_or_else(|| certificate.clone());
                let ocsp = certificate.with_extension("ocsp");
                let files = Files { certificate: certificate.clone(), key, ocsp };
                Ok(BTreeMap::from([(name_of(certificate), files)]))
            }
            Self::Folder(folder) => list_folder(folder),
        }
    }
}

fn list_folder(folder: &Path) -> Result<BTreeMap<String, Files>, CertificateFilesError> {
    let failed = |cause| CertificateFilesError::Read { path: folder.to_path_buf(), cause };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_one = path.extension().is_some_and(|it| CERTIFICATES.iter().any(|known| it == *known));
        if !is_one {
            continue;
        }
        let beside = path.with_extension("key");
        let key = if beside.exists() { beside } else { path.clone() };
        let ocsp = path.with_extension("ocsp");
        found.insert(name_of(&path), Files { certificate: path, key, ocsp });
        if found.len() > MAX_FILES {
            return Err(CertificateFilesError::TooMany { path: folder.to_path_buf() });
        }
    }
    if found.is_empty() {
        Err(CertificateFilesError::Empty { path: folder.to_path_buf() })
    } else {
        Ok(found)
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl Files {
    fn stamps(&self) -> [Option<Stamp>; 3] {
        [&self.certificate, &self.key, &self.ocsp].map(|path| stamp(path))
    }

    fn read(&self) -> Result<ServerCertificate, CertificateFilesError> {
        let (chain, key) = (read_file(&self.certificate)?, read_file(&self.key)?);
        let ocsp = if self.ocsp.exists() { Some(read_file(&self.ocsp)?) } else { None };
        let read = ServerCertificate::read_at_any_time(&chain, &key, ocsp.as_deref(), wall());
        let path = &self.certificate;
        let checked = read.map_err(|faults| CertificateFilesError::Bad { path: path.clone(), faults })?;
        for warning in &checked.warnings {
            tracing::warn!(path = %path.display(), %warning, "a certificate may not do for every client");
        }
        let mode = fs::metadata(&self.key).map_or(0, |it| it.permissions().mode());
        if mode & 0o077 != 0 {
            tracing::warn!(path = %self.key.display(), mode = format!("{:o}", mode & 0o777), "others can read the key of a certificate");
        }
        Ok(checked.certificate)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificateFilesError> {
    let failed = |cause| CertificateFilesError::Read { path: path.to_path_buf(), cause };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(CertificateFilesError::TooLong { path: path.to_path_buf() });
    }
    Ok(bytes)
}

/// Returns the time of the wall clock.
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Shows certificates of files anew whenever one of them has changed, or when told by `SIGHUP`.
pub(super) async fn watch(
    gateway: Arc<Gateway>,
    environment: EnvironmentName,
    mut kept: Kept,
    mut hangup: tokio::signal::unix::Signal,
    stop: CancellationToken,
) {
    let mut said: Option<Instant> = None;
    loop {
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            kept.warn_of_ends(&environment);
            said = Some(Instant::now());
        }
        let told = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        if kept.has_changed() || told {
            show_again(&gateway, &environment, &mut kept);
            said = None;
        }
    }
}

fn show_again(gateway: &Gateway, environment: &EnvironmentName, kept: &mut Kept) {
    for error in kept.look() {
        tracing::error!(%environment, error = &error as &dyn std::error::Error, "showing the certificate from before");
    }
    match gateway.certify(environment, kept.all()) {
        Ok(()) => tracing::info!(%environment, certificates = kept.good.len(), "certificates read"),
        Err(error) => tracing::error!(%environment, %error, "showing the certificates from before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::{Signed, made};

    fn write(folder: &Path, name: &str, signed: &Signed) {
        fs::write(folder.join(format!("{name}.pem")), signed.certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), signed.key.serialize_pem()).unwrap();
    }

    fn names(kept: &Kept) -> Vec<(String, String)> {
        kept.all().into_iter().map(|(name, it)| (name, it.facts().names[0].clone())).collect()
    }

    #[test]
    fn a_file_that_became_bad_leaves_the_good_one_and_others_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write(path, "a", &made(&["a.test"]));
        write(path, "b", &made(&["b.test"]));
        let mut kept = Kept::read(CertificateFiles::Folder(path.to_path_buf())).unwrap();
        assert!(!kept.has_changed(), "what was read is what was seen");
        fs::write(path.join("a.pem"), "no").unwrap();
        write(path, "b", &made(&["new.test"]));
        write(path, "c", &made(&["c.test"]));
        assert!(kept.has_changed());
        let errors = kept.look();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().contains("a.pem"));
        let pair = |name: &str, host: &str| (name.to_owned(), host.to_owned());
        assert_eq!(names(&kept), [pair("a", "a.test"), pair("b", "new.test"), pair("c", "c.test")]);
        fs::remove_file(path.join("a.pem")).unwrap();
        assert!(kept.look().is_empty());
        assert_eq!(names(&kept).len(), 2);
        fs::remove_file(path.join("b.pem")).unwrap();
        fs::remove_file(path.join("c.pem")).unwrap();
        assert!(matches!(kept.look()[..], [CertificateFilesError::Empty { .. }]));
        assert_eq!(names(&kept).len(), 2, "a folder that was emptied is a mistake and not a wish");
    }

    #[test]
    fn one_whose_time_is_over_and_one_that_is_damaged_keep_nobody_from_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["over.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        write(path, "over", &Signed { certificate, key });
        let pair =
            CertificateFiles::Pair { certificate: path.join("over.pem"), key: Some(path.join("over.key")) };
        assert_eq!(Kept::read(pair).unwrap().all().len(), 1, "it is shown nevertheless");
        fs::write(path.join("bad.pem"), "no").unwrap();
        write(path, "good", &made(&["good.test"]));
        let kept = Kept::read(CertificateFiles::Folder(path.to_path_buf())).unwrap();
        assert_eq!(kept.good.keys().collect::<Vec<_>>(), ["good", "over"]);
        fs::remove_file(path.join("over.pem")).unwrap();
        fs::remove_file(path.join("good.pem")).unwrap();
        assert_eq!(Kept::read(CertificateFiles::Folder(path.to_path_buf())).unwrap_err().len(), 1);
    }

    #[test]
    fn a_pair_may_be_one_file_and_what_is_wrong_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, signed) = (folder.path().join("shop.pem"), made(&["shop.test"]));
        let pair = |key| CertificateFiles::Pair { certificate: file.clone(), key };
        fs::write(&file, signed.certificate.pem() + &signed.key.serialize_pem()).unwrap();
        assert_eq!(names(&Kept::read(pair(None)).unwrap()).len(), 1);
        let missing = Kept::read(pair(Some(folder.path().join("none.key")))).unwrap_err();
        assert!(missing[0].to_string().contains("none.key"), "{missing:?}");
        fs::write(&file, vec![b'x'; 100_000]).unwrap();
        assert!(matches!(Kept::read(pair(None)).unwrap_err()[..], [CertificateFilesError::TooLong { .. }]));
    }
}
