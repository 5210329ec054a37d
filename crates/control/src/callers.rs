//! How instances of an environment are told from everybody else who reaches its gateway.
//!
//! Each environment has a token that its instances find in the address at which they call others. It is derived from one
//! key of the data folder, so that it outlives the server and nothing more has to be kept; gateways are given its digest
//! only. Invariant: the key is whole or not there, and is never replaced: instances that run carry what came from it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_domain::routes::CALLER_PATH_PREFIX;
use lockstep_domain::{Digest, EnvironmentName};
use sha2::{Digest as _, Sha256};

use crate::random::random_hex;

/// What the key is used for; another use would begin with another text.
const PURPOSE: &[u8] = b"lockstep caller token\0";
/// Bytes of the key.
const KEY_BYTES: usize = 32;
/// Bytes of a token: 128 bits cannot be guessed.
const TOKEN_BYTES: usize = 16;

/// The key from which the tokens of environments are derived.
pub(crate) struct CallerKey(String);

impl std::fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallerKey")
    }
}

impl CallerKey {
    /// Reads the key, or makes one where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not a key.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::of(text.trim_end()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    fn of(text: &str) -> io::Result<Self> {
        if text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_owned()));
        }
        let why = "it is not a key; bring it back from a backup, or remove it and restart every instance";
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn make(path: &Path) -> io::Result<Self> {
        let key = random_hex(KEY_BYTES)?;
        let beside = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self(key))
    }

    /// Returns what comes before the path when an instance of the environment asks for something.
    pub(crate) fn path(&self, environment: &EnvironmentName) -> String {
        format!("{CALLER_PATH_PREFIX}{}", self.token(environment))
    }

    /// Returns what gateways recognise the token by.
    pub(crate) fn digest(&self, environment: &EnvironmentName) -> Digest {
        Digest::from_bytes(Sha256::digest(self.token(environment)).into())
    }

    fn token(&self, environment: &EnvironmentName) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("a key may have any length");
        let mac = mac.chain_update(PURPOSE).chain_update(environment.as_str()).finalize().into_bytes();
        mac.iter().take(TOKEN_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name(text: &str) -> EnvironmentName {
        text.parse().unwrap()
    }

    #[test]
    fn tokens_outlive_the_server_and_differ_by_environment_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let open = |file: &str| CallerKey::open(&folder.path().join(file)).unwrap();
        let production = open("a.key").path(&name("production"));
        assert_eq!(production.len(), CALLER_PATH_PREFIX.len() + 2 * TOKEN_BYTES);
        assert_eq!(open("a.key").path(&name("production")), production);
        assert_ne!(open("a.key").path(&name("staging")), production);
        assert_ne!(open("b.key").path(&name("production")), production);
        let mode = fs::metadata(folder.path().join("a.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_neither_used_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        for damaged in ["", "0123", &"g".repeat(64)] {
            fs::write(&path, damaged).unwrap();
            assert!(CallerKey::open(&path).is_err(), "{damaged}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn the_digest_is_that_of_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let key = CallerKey::open(&folder.path().join("a.key")).unwrap();
        let path = key.path(&name("production"));
        let token = path.strip_prefix(CALLER_PATH_PREFIX).unwrap();
        assert_eq!(key.digest(&name("production")).as_bytes()[..], Sha256::digest(token)[..]);
        assert!(!format!("{key:?}").contains(&key.0));
    }
}
