//! How instances of an environment are told from everybody else who reaches its gateway.
//!
//! Each environment has a token that its instances find in the address at which they call others. It is derived from one
//! key of the data folder, so that it outlives the server; gateways are given digests only. An instance keeps the token it was
//! started with, so the tokens of those that run are recognised as long as they do, wherever they came from: a key that is
//! exchanged or lost cuts nobody off. Invariants: the file is whole or not there; an instance is given a token only of a key
//! that was announced to gateways before, except for the first.

mod exchange;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_domain::routes::{CALLER_PATH_PREFIX, caller_token};
use lockstep_domain::{Digest, EnvironmentName, Instance, InstanceId};
use lockstep_files::whole;
use sha2::{Digest as _, Sha256};

use crate::lock;
use crate::random::random_hex;
use crate::secrets::{MODE, read_own};

/// What the key is used for; another use would begin with another text.
const PURPOSE: &[u8] = b"lockstep caller token\0";
/// The other use: what visits are signed with.
const VISITS: &[u8] = b"lockstep visit key\0";
/// Bytes of the key.
const KEY_BYTES: usize = 32;
/// Bytes of a token: 128 bits cannot be guessed.
const TOKEN_BYTES: usize = 16;
/// Longest file: two keys and a word.
const MAX_FILE_BYTES: u64 = 1_024;
/// What the second line begins with: the key that instances are to have tokens of when gateways know it.
const NEXT: &str = "next ";
/// The variable in which an instance is given its token, in an address.
pub(crate) const ADDRESS_VARIABLE: &str = "LOCKSTEP_GATEWAY";

/// The tokens of instances: those that are given out, and those that were.
#[derive(Debug)]
pub(crate) struct Callers {
    path: PathBuf,
    keys: Mutex<Keys>,
    /// The key before the one in use: what visits were signed with is still accepted.
    former: Mutex<Option<Key>>,
    /// The digests of the tokens that instances were started with.
    given: Mutex<BTreeMap<EnvironmentName, Given>>,
}

/// Instances with the digests of their tokens; old releases gave none.
type Given = BTreeMap<InstanceId, Option<Digest>>;

/// The key in use, and the one that is about to be.
#[derive(Clone, PartialEq, Eq)]
struct Keys {
    used: Key,
    next: Option<Key>,
}

/// A key from which the tokens of environments are derived.
#[derive(Clone, PartialEq, Eq)]
struct Key(String);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Callers {
    /// Reads the key, or makes one where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not a key.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let keys = match read_own(path, MAX_FILE_BYTES, "lockstep key rotate exchanges it")? {
            Some(text) => Keys::parse(&text)?,
            None => {
                let keys = Keys { used: Key::make()?, next: None };
                keys.put(path)?;
                keys
            }
        };
        let former = read_own(&former_path(path), MAX_FILE_BYTES, "remove it: visitors get new cookies")?;
        let former = Mutex::new(former.map(|text| Key::parse(&text)).transpose()?);
        Ok(Self { path: path.to_owned(), keys: Mutex::new(keys), former, given: Mutex::default() })
    }

    /// Returns what comes before the path when an instance of the environment, started now, asks for something.
    pub(crate) fn path(&self, environment: &EnvironmentName) -> String {
        format!("{CALLER_PATH_PREFIX}{}", lock(&self.keys).used.token(environment))
    }

    /// Returns the keys that visits of an environment are signed with: by the first is signed, and what the next one and the former one sign
    /// is accepted.
    pub(crate) fn visit_keys(&self, environment: &EnvironmentName) -> Vec<String> {
        let Keys { used, next } = lock(&self.keys).clone();
        let former = lock(&self.former).clone();
        let all = [Some(used), next, former].into_iter().flatten();
        let mut keys: Vec<String> = Vec::new();
        for key in all.map(|key| key.visit_key(environment)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Returns what gateways recognise instances of an environment by: those that run, and those that are started. `address` tells
    /// at which address an instance was told to call others.
    pub(crate) fn digests<'a>(
        &self,
        environment: &EnvironmentName,
        instances: impl IntoIterator<Item = &'a Instance>,
        address: impl Fn(&InstanceId) -> Option<String>,
    ) -> Vec<Digest> {
        let keys = lock(&self.keys).clone();
        let mut digests: BTreeSet<_> = keys.next.iter().map(|next| next.digest(environment)).collect();
        let used = keys.used.digest(environment);
        digests.extend(self.given(environment, instances, address).into_values().flatten());
        digests.remove(&used);
        [used].into_iter().chain(digests).collect()
    }

    /// Returns the instances that carry a token which is given to nobody any more.
    pub(crate) fn behind<'a>(
        &self,
        environment: &EnvironmentName,
        instances: impl IntoIterator<Item = &'a Instance>,
        address: impl Fn(&InstanceId) -> Option<String>,
    ) -> Vec<InstanceId> {
        let used = lock(&self.keys).used.digest(environment);
        let given = self.given(environment, instances, address).into_iter();
        given.filter(|(_, digest)| digest.is_some_and(|it| it != used)).map(|(id, _)| id).collect()
    }

    /// Looks once at each instance that is not over; what is noted of others in the environment is forgotten.
    fn given<'a>(
        &self,
        environment: &EnvironmentName,
        instances: impl IntoIterator<Item = &'a Instance>,
        address: impl Fn(&InstanceId) -> Option<String>,
    ) -> Given {
        let mut all = lock(&self.given);
        let before = all.remove(environment).unwrap_or_default();
        // One that is on its way has no address yet, and is looked at again.
        let look = |id: &InstanceId| before.get(id).copied().or_else(|| address(id).map(|it| digest_in(&it)));
        let alive =
            instances.into_iter().filter(|instance| !instance.state.is_over()).map(|instance| &instance.id);
        let given: Given = alive.filter_map(|id| Some((id.clone(), look(id)?))).collect();
        all.insert(environment.clone(), given.clone());
        given
    }
}

/// Where the former key lies; an older release passes it over.
fn former_path(path: &Path) -> PathBuf {
    path.with_extension("former.key")
}

/// Finds the token in the address at which an instance calls others; instances of old releases were given none.
fn digest_in(address: &str) -> Option<Digest> {
    let path = &address[address.find(CALLER_PATH_PREFIX)?..];
    let token = caller_token(path)?.token;
    Some(Digest::from_bytes(Sha256::digest(token).into()))
}

impl Keys {
    fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.lines();
        let used = Key::parse(lines.next().unwrap_or_default())?;
        let next = match lines.next() {
            Some(line) => Some(Key::parse(line.strip_prefix(NEXT).unwrap_or_default())?),
            None => None,
        };
        Ok(Self { used, next })
    }

    fn put(&self, path: &Path) -> io::Result<()> {
        let mut text = format!("{}\n", self.used.0);
        if let Some(next) = &self.next {
            text += &format!("{NEXT}{}\n", next.0);
        }
        whole::put(path, text.as_bytes(), MODE)
    }
}

impl Key {
    fn make() -> io::Result<Self> {
        random_hex(KEY_BYTES).map(Self)
    }

    fn parse(text: &str) -> io::Result<Self> {
        let text = text.trim_end();
        if text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_owned()));
        }
        let why = "it is not a key; bring it back from a backup, or remove it: another one is made, and instances that run keep \
                   their tokens";
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Returns what gateways recognise the token by.
    fn digest(&self, environment: &EnvironmentName) -> Digest {
        Digest::from_bytes(Sha256::digest(self.token(environment)).into())
    }

    fn token(&self, environment: &EnvironmentName) -> String {
        self.derived(PURPOSE, environment, TOKEN_BYTES)
    }

    fn visit_key(&self, environment: &EnvironmentName) -> String {
        self.derived(VISITS, environment, KEY_BYTES)
    }

    fn derived(&self, purpose: &[u8], environment: &EnvironmentName, bytes: usize) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("a key may have any length");
        let mac = mac.chain_update(purpose).chain_update(environment.as_str()).finalize().into_bytes();
        mac.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use lockstep_domain::InstanceState;

    use super::*;
    use crate::testing::instance;

    fn name(text: &str) -> EnvironmentName {
        text.parse().unwrap()
    }

    #[test]
    fn tokens_outlive_the_server_and_differ_by_environment_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let open = |file: &str| Callers::open(&folder.path().join(file)).unwrap();
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
        let good = "0".repeat(64);
        for damaged in ["", "0123", &"g".repeat(64), &format!("{good}\n{good}"), &format!("{good}\nnext 01")]
        {
            fs::write(&path, damaged).unwrap();
            assert!(Callers::open(&path).is_err(), "{damaged}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(Callers::open(&path).is_err(), "a link is not followed");
    }

    #[test]
    fn a_key_that_others_could_read_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        fs::write(&path, "0".repeat(64)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Callers::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_digest_is_that_of_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let callers = Callers::open(&folder.path().join("a.key")).unwrap();
        let path = callers.path(&name("production"));
        let token = path.strip_prefix(CALLER_PATH_PREFIX).unwrap();
        let digests = callers.digests(&name("production"), &[], |_| None);
        assert_eq!(digests.len(), 1);
        assert_eq!(digests[0].as_bytes()[..], Sha256::digest(token)[..]);
        assert_eq!(digest_in(&format!("http://127.0.0.1:1{path}")), Some(digests[0]));
        assert_eq!(digest_in("http://127.0.0.1:1"), None);
        let key = lock(&callers.keys).used.0.clone();
        assert!(!format!("{callers:?}").contains(&key));
    }

    #[test]
    fn an_instance_is_recognised_as_long_as_it_runs_also_when_the_key_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let production = name("production");
        let old = format!("http://127.0.0.1:1{}", Callers::open(&path).unwrap().path(&production));
        fs::remove_file(&path).unwrap();
        let callers = Callers::open(&path).unwrap();
        let digests = |state| callers.digests(&production, &[instance("a", state)], |_| Some(old.clone()));
        let behind = |state| callers.behind(&production, &[instance("a", state)], |_| Some(old.clone()));
        assert_eq!(digests(InstanceState::Stopping).len(), 2);
        assert!(digests(InstanceState::Healthy).contains(&digest_in(&old).unwrap()));
        assert_eq!(behind(InstanceState::Healthy).len(), 1);
        assert_eq!((digests(InstanceState::Stopped).len(), behind(InstanceState::Stopped).len()), (1, 0));
        assert!(!digests(InstanceState::Stopped).contains(&digest_in(&old).unwrap()));
    }

    #[test]
    fn an_exchange_goes_on_where_it_was_and_ends_with_the_key_that_was_announced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let production = name("production");
        let callers = Callers::open(&path).unwrap();
        let old = callers.path(&production);
        callers.announce().unwrap();
        assert_eq!(callers.path(&production), old, "given to nobody before gateways know it");
        let announced = callers.digests(&production, &[], |_| None);
        assert_eq!(announced.len(), 2);
        let again = Callers::open(&path).unwrap();
        again.announce().unwrap();
        assert_eq!(again.digests(&production, &[], |_| None), announced, "a crash begins no other");
        assert!(
            again.is_announced(&production, &announced) && !again.is_announced(&production, &announced[..1])
        );
        again.take_next().unwrap();
        assert_ne!(again.path(&production), old);
        assert_eq!(again.digests(&production, &[], |_| None), announced[1..]);
        assert_eq!(Callers::open(&path).unwrap().path(&production), again.path(&production));
    }

    #[test]
    fn what_visits_were_signed_with_is_accepted_until_the_key_is_exchanged_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.key");
        let production = name("production");
        let callers = Callers::open(&path).unwrap();
        let first = callers.visit_keys(&production);
        assert_eq!((first.len(), callers.visit_keys(&name("staging")) == first), (1, false));
        let token = callers.path(&production);
        assert!(!first[0].contains(&token[CALLER_PATH_PREFIX.len()..]), "a token says nothing of it");
        callers.announce().unwrap();
        let announced = callers.visit_keys(&production);
        assert_eq!((announced.len(), &announced[0]), (2, &first[0]), "known to gateways before it signs");
        callers.take_next().unwrap();
        let taken = callers.visit_keys(&production);
        assert_eq!(taken, [announced[1].clone(), first[0].clone()]);
        assert_eq!(Callers::open(&path).unwrap().visit_keys(&production), taken, "a restart changes nothing");
        callers.announce().unwrap();
        callers.take_next().unwrap();
        assert!(!callers.visit_keys(&production).contains(&first[0]));
        let mode = fs::metadata(folder.path().join("callers.former.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
