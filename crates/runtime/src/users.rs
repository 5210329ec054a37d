//! Whom services run as where the server is root: each service of an environment has a user of its own, for good.
//!
//! The numbers are written down in `users.json`; where one is not there, the owner of the data that the service has kept counts.
//! Invariant: a number is given once in a data folder, and none is given that the host uses for anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lockstep_domain::run::RunUser;
use lockstep_domain::{EnvironmentName, ServiceName};
use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::data::DataFolders;
use crate::releases::Readers;
use crate::ways;

/// Where the numbers are written down.
const FILE: &str = "users.json";
/// The format of that file.
const FORMAT: u32 = 1;
/// Largest such file that is read: a line for each service of each environment.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Numbers that nobody else gives: above those of containers of systemd (to 1879048191) and of subordinate users (to 600100000),
/// below those that are negative for programs of 32 bits. The second are between those of systemd's home folders and its dynamic
/// users, for containers in which only 65536 users exist.
const RANGES: [RangeInclusive<u32>; 2] = [1_879_048_192..=2_147_352_575, 60_706..=61_183];
/// Numbers that are tried for a service.
const MAX_TRIES: u32 = 10_000;

/// Whom services run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserChoice {
    /// As the folder was begun: each as a user of its own, but in a folder of an older release all as the user of the server.
    Kept,
    /// Each as a user of its own, where the server is root and can make that so.
    Own,
    /// All as the user of the server.
    #[default]
    OfServer,
}

/// When a folder of a driver was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is empty.
    Now,
    /// It was there.
    Before,
}

/// The user of an instance, as its `spec.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpecUser {
    /// The user.
    pub(crate) id: u32,
    /// Its group, the only one.
    pub(crate) group: u32,
    /// Its name on this host, where it is not the service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

impl SpecUser {
    /// Tells whether nobody but the service has it.
    pub(crate) const fn is_own(&self) -> bool {
        self.name.is_none()
    }

    /// Says whom it is, for people.
    pub(crate) fn words(&self) -> String {
        match &self.name {
            None => format!("{}, its own", self.id),
            Some(name) => format!("{name} ({}), as its manifest says", self.id),
        }
    }
}

/// The users of the services of a driver.
#[derive(Debug)]
pub(crate) struct Users {
    file: PathBuf,
    data: DataFolders,
    /// Why services have no users of their own.
    not: Option<String>,
    range: RangeInclusive<u32>,
    given: Mutex<Given>,
}

/// Which number a service of an environment has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    format: u32,
    /// By environment and service.
    users: BTreeMap<EnvironmentName, BTreeMap<ServiceName, u32>>,
}

impl Users {
    /// Finds out whether services can have users of their own, and opens the ways that these have to go.
    ///
    /// # Errors
    /// When what was written down cannot be read: a number that was given must not be given again.
    pub(crate) fn open(
        root: &Path,
        hidden: &Path,
        data: DataFolders,
        (choice, begun): (UserChoice, Begun),
    ) -> io::Result<Self> {
        let file = root.join(FILE);
        let known = read(&file)?;
        let choice = match choice {
            UserChoice::Kept if known.is_some() || begun == Begun::Now => UserChoice::Own,
            other => other,
        };
        let (range, not) = match possible(root, hidden, choice) {
            Ok(range) => (range, None),
            Err(why) => (RANGES[0].clone(), Some(why)),
        };
        if known.is_none() && not.is_none() {
            // From now on it is a folder whose services have users.
            let empty = Given { format: FORMAT, ..Given::default() };
            whole::put(&file, &serde_json::to_vec_pretty(&empty)?, 0o600)?;
        }
        Ok(Self { file, data, not, range, given: Mutex::new(known.unwrap_or_default()) })
    }

    /// Says what the host is not protected from because services run as root; `None` where they do not.
    pub(crate) fn unprotected(&self) -> Option<String> {
        let why = self.not.as_ref().filter(|_| rustix::process::geteuid().is_root())?;
        Some(format!("all services and builds run as root, each beside the others: {why}"))
    }

    /// Tells who has to be able to read releases.
    pub(crate) const fn readers(&self) -> Readers {
        if self.not.is_none() { Readers::All } else { Readers::Server }
    }

    /// Tells whether the processes of a service are counted apart from all others.
    pub(crate) fn counts(&self, user: &RunUser) -> bool {
        self.not.is_none() && *user == RunUser::Own
    }

    /// Returns the number that a service has been given.
    pub(crate) fn known(&self, environment: &EnvironmentName, service: &ServiceName) -> Option<u32> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.users.get(environment)?.get(service).copied()
    }

    /// Returns whom a service runs as; `None` is the user of the server.
    ///
    /// # Errors
    /// When the user that is asked for cannot be had, or no number can be given.
    pub(crate) fn of(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        user: &RunUser,
    ) -> io::Result<Option<SpecUser>> {
        match user {
            RunUser::Named(name) => self.named(name),
            RunUser::Own if self.not.is_some() => Ok(None),
            RunUser::Own => {
                let id = self.give(environment, service)?;
                Ok(Some(SpecUser { id, group: id, name: None }))
            }
        }
    }

    fn named(&self, name: &str) -> io::Result<Option<SpecUser>> {
        let entry = fs::read_to_string("/etc/passwd")?.lines().find_map(|line| user_of(line, name));
        let unknown = || io::Error::other(format!("there is no user `{name}` in /etc/passwd"));
        let user = if name == "root" { (0, 0) } else { entry.ok_or_else(unknown)? };
        let me = rustix::process::geteuid();
        if user.0 == me.as_raw() {
            return Ok(None);
        }
        if !me.is_root() {
            let why = format!("it asks for user `{name}`, and the server is not root");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        if let Some(why) = &self.not {
            return Err(io::Error::other(format!("it cannot run as user `{name}`: {why}")));
        }
        Ok(Some(SpecUser { id: user.0, group: user.1, name: Some(name.to_owned()) }))
    }

    fn give(&self, environment: &EnvironmentName, service: &ServiceName) -> io::Result<u32> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = given.users.get(environment).and_then(|services| services.get(service)) {
            return Ok(*id);
        }
        let id = self.choose(&given, environment, service)?;
        let mut next = Given { format: FORMAT, ..given.clone() };
        next.users.entry(environment.clone()).or_default().insert(service.clone(), id);
        // Before anybody runs as it.
        whole::put(&self.file, &serde_json::to_vec_pretty(&next)?, 0o600)?;
        *given = next;
        Ok(id)
    }

    fn choose(&self, given: &Given, environment: &EnvironmentName, service: &ServiceName) -> io::Result<u32> {
        let mut taken: BTreeSet<u32> = given.users.values().flat_map(BTreeMap::values).copied().collect();
        let kept = self.kept()?;
        let own: Vec<u32> = kept
            .iter()
            .filter(|(of, _)| *of == (environment.clone(), service.clone()))
            .map(|it| it.1)
            .collect();
        if let [id] = own.as_slice()
            && self.range.contains(id)
            && !taken.contains(id)
        {
            return Ok(*id);
        }
        taken.extend(kept.into_iter().map(|(_, id)| id));
        taken.extend(of_processes());
        let host = Host::read();
        let found = (0..MAX_TRIES)
            .map(|number| candidate(&self.range, &self.file, (environment, service), number))
            .find(|id| !taken.contains(id) && !host.uses(*id));
        found.ok_or_else(|| io::Error::other("no number of a user is free for the service"))
    }

    /// Who owns the data that services have kept.
    fn kept(&self) -> io::Result<BTreeSet<((EnvironmentName, ServiceName), u32)>> {
        let mut kept = BTreeSet::new();
        for (environment, service) in self.data.owners()? {
            let entries = fs::read_dir(self.data.of(&environment, &service)).into_iter().flatten().flatten();
            let owners = entries.filter_map(|entry| Some(entry.metadata().ok()?.uid()));
            kept.extend(owners.filter(|id| *id != 0).map(|id| ((environment.clone(), service.clone()), id)));
        }
        Ok(kept)
    }
}

fn possible(root: &Path, hidden: &Path, choice: UserChoice) -> Result<RangeInclusive<u32>, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the server is not root".to_owned());
    }
    match choice {
        UserChoice::Own => {}
        UserChoice::OfServer => return Err("the server was told so (`--service-users server`)".to_owned()),
        UserChoice::Kept => {
            return Err("as in the release that made this data folder; to give each a user of its own, start the server with \
                        `--service-users own`"
                .to_owned());
        }
    }
    let maps =
        ["/proc/self/uid_map", "/proc/self/gid_map"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let exists = |range: &&RangeInclusive<u32>| maps.iter().all(|map| covers(map, range));
    let range = RANGES.iter().find(exists).ok_or("this container has no users to spare")?;
    ways::open(root, hidden)?;
    Ok(range.clone())
}

/// Tells whether all numbers of a range exist, by lines of `FIRST OUTSIDE COUNT`.
fn covers(map: &str, range: &RangeInclusive<u32>) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().filter_map(|field| field.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        first <= u64::from(*range.start()) && u64::from(*range.end()) < first.saturating_add(count)
    })
}

fn read(file: &Path) -> io::Result<Option<Given>> {
    let text = match foreign::open_no_link(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => foreign::read(opened?, MAX_BYTES)?,
    };
    let given: Given = serde_json::from_slice(&text)?;
    if given.format == FORMAT {
        return Ok(Some(given));
    }
    let text = format!("format {} is newer than this program, which knows {FORMAT}", given.format);
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Spread by where the data folder is, so that two servers on a host hardly choose the same.
fn candidate(
    range: &RangeInclusive<u32>,
    file: &Path,
    (environment, service): (&EnvironmentName, &ServiceName),
    number: u32,
) -> u32 {
    let text = format!("{}\0{environment}\0{service}\0{number}", file.display());
    let hash = Sha256::digest(text.as_bytes());
    let first = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let size = range.end() - range.start() + 1;
    range.start() + first % size
}

fn user_of(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut parts = line.split(':');
    let is_it = parts.next() == Some(name);
    let user = (parts.nth(1)?.parse().ok()?, parts.next()?.parse().ok()?);
    is_it.then_some(user)
}

/// The users of everything that runs.
fn of_processes() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    processes.filter_map(|entry| Some(entry.metadata().ok()?.uid())).collect()
}

/// What the host has written down of users and groups.
struct Host {
    single: BTreeSet<u32>,
    ranges: Vec<(u64, u64)>,
}

impl Host {
    fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::of(&[read("/etc/passwd"), read("/etc/group")], &[read("/etc/subuid"), read("/etc/subgid")])
    }

    fn of(lists: &[String], subordinate: &[String]) -> Self {
        let number = |line: &str| line.split(':').nth(2)?.parse().ok();
        let range = |line: &str| {
            let mut fields = line.split(':').skip(1).filter_map(|field| field.parse::<u64>().ok());
            Some((fields.next()?, fields.next()?))
        };
        Self {
            single: lists.iter().flat_map(|text| text.lines().filter_map(number)).collect(),
            ranges: subordinate.iter().flat_map(|text| text.lines().filter_map(range)).collect(),
        }
    }

    fn uses(&self, id: u32) -> bool {
        let wide = u64::from(id);
        self.single.contains(&id)
            || self.ranges.iter().any(|(first, count)| wide >= *first && wide - first < *count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn users(folder: &Path) -> Users {
        let data = DataFolders::at(folder.join("data"));
        Users {
            given: Mutex::new(read(&folder.join(FILE)).unwrap().unwrap_or_default()),
            file: folder.join(FILE),
            data,
            not: None,
            range: RANGES[0].clone(),
        }
    }

    fn give(users: &Users, environment: &str, service: &str) -> u32 {
        let user = users.of(&environment.parse().unwrap(), &service.parse().unwrap(), &RunUser::Own);
        user.unwrap().unwrap().id
    }

    #[test]
    fn each_service_of_each_environment_has_its_own_user_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let first = users(folder.path());
        let all = [("staging", "orders"), ("staging", "shop"), ("production", "orders")];
        let given = all.map(|(environment, service)| give(&first, environment, service));
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 3);
        assert!(given.iter().all(|id| RANGES[0].contains(id)));
        let again = users(folder.path());
        assert_eq!(all.map(|(environment, service)| give(&again, environment, service)), given);
    }

    #[test]
    fn what_cannot_be_read_is_not_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"format\": 2, \"users\": {}}"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(read(&folder.path().join(FILE)).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_that_the_host_uses_are_not_given() {
        let host = Host::of(
            &["root:x:0:0::/:/x\nann:x:60800:1::/:/x\nbroken\n".to_owned()],
            &["ann:60900:100\n:x:y\n".to_owned()],
        );
        assert_eq!(
            [60_800, 60_899, 60_900, 60_999, 61_000].map(|id| host.uses(id)),
            [true, false, true, true, false]
        );
    }

    #[test]
    fn a_container_may_not_have_all_users() {
        let whole = "         0          0 4294967295\n";
        let small = "0 100000 65536\n";
        assert!(covers(whole, &RANGES[0]) && covers(small, &RANGES[1]));
        assert!(!covers(small, &RANGES[0]) && !covers("", &RANGES[1]) && !covers("0 1", &RANGES[1]));
    }

    proptest! {
        #[test]
        fn candidates_are_in_their_range(environment in "[a-z]{1,8}", service in "[a-z]{1,8}", number in any::<u32>()) {
            for range in &RANGES {
                let of = (&environment.parse().unwrap(), &service.parse().unwrap());
                prop_assert!(range.contains(&candidate(range, Path::new("/data"), of, number)));
            }
        }
    }
}
