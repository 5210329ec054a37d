//! What gateways said of themselves: their keys, and where others come in. It is kept in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lockstep_domain::between::{MAX_KEYS, OF_SERVER, SaidBetween};
use lockstep_domain::{Digest, EnvironmentName, GatewayName, InstanceId, Timestamp};
use lockstep_files::{foreign, whole};
use lockstep_gateway::follow::TableStore;
use lockstep_registry::GATEWAY_LEASE_MS;
use serde::{Deserialize, Serialize};

use super::Heard;
use crate::lock;

/// Largest file that is read: a thousand gateways of a hundred environments.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Processes of one gateway whose keys are remembered at once: one takes over from another, and those before let clients finish for an hour.
const MAX_RUNS: usize = 4;
/// Processes of one gateway that are told apart: one that was put out is not heard again in the place of another.
const MAX_HEARD: usize = 64;

/// What one process of a gateway said. Of one that was put out no keys are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SaidByRun {
    keys: Vec<Digest>,
    at: Option<SocketAddr>,
    /// Where others came in to the gateway before this process said that they do not come in to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    had: Option<SocketAddr>,
    /// When it said something last; as of the last change of keys for the next server.
    #[serde(default)]
    seen: Timestamp,
    #[serde(skip)]
    since: Timestamp,
    #[serde(skip)]
    unkept: bool,
}

impl SaidByRun {
    fn is_put_out(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The processes of a gateway, by their runs.
type Runs = BTreeMap<String, SaidByRun>;

/// What gateways of an environment said, by their names.
type Gateways = BTreeMap<String, Runs>;

/// What there is to be known of a gateway, whichever of its processes said it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The keys that it shows.
    pub(super) shown: BTreeSet<Digest>,
    /// Those that are to come.
    pub(super) coming: BTreeSet<Digest>,
    /// Where others come in.
    pub(super) at: Option<SocketAddr>,
    /// Whether a process of it serves a table that is not on its disk.
    pub(super) unkept: bool,
}

/// A process of a gateway that says something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// Its name.
    pub(crate) id: &'a str,
    /// Whether it says nothing after this.
    pub(crate) is_last: bool,
}

/// The keys of all gateways, in a file, and how far they are known.
#[derive(Debug)]
pub(crate) struct KnownKeys {
    path: PathBuf,
    pub(super) store: TableStore,
    said: Mutex<BTreeMap<EnvironmentName, Gateways>>,
    pub(super) heard: Mutex<BTreeMap<EnvironmentName, Heard>>,
    /// Why gateways of other hosts cannot come in to the gateway in the server, by environment.
    pub(super) deaf: Mutex<BTreeMap<EnvironmentName, Option<String>>>,
    /// When this server began, and of which environments it knew keys then.
    begun: Timestamp,
    remembered: BTreeSet<EnvironmentName>,
}

impl KnownKeys {
    /// Reads what is remembered. A file that cannot be understood is as good as none: gateways say it again.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn open(folder: &Path, now: Timestamp) -> io::Result<Self> {
        let path = folder.join("gateways.json");
        let said = match foreign::open(&path).and_then(|file| foreign::read(file, MAX_BYTES)) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the keys between gateways are forgotten until they are said again");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let has_others = |(_, all): &(&EnvironmentName, &Gateways)| all.keys().any(|name| name != OF_SERVER);
        let remembered = said.iter().filter(has_others).map(|(name, _)| name.clone()).collect();
        let (store, said) = (TableStore::new(folder.to_owned()), Mutex::new(said));
        let (heard, deaf) = (Mutex::default(), Mutex::default());
        Ok(Self { path, store, said, heard, deaf, begun: now, remembered })
    }

    /// Takes in what a process of a gateway says of itself, if that still may: whoever is taken out meanwhile stays out. A disk that is full
    /// costs only what a host that is away then says when it is back.
    pub(crate) fn hear(
        &self,
        (environment, gateway): (&EnvironmentName, &str),
        run: Run<'_>,
        between: &SaidBetween,
        now: Timestamp,
        may: impl FnOnce() -> bool,
    ) {
        let mut all = lock(&self.said);
        // It is asked with the lock held that whoever takes a gateway out takes after that.
        if !may() {
            return;
        }
        let runs = all.entry(environment.clone()).or_default().entry(gateway.to_owned()).or_default();
        let before = said_by(runs);
        take(runs, run, between, (now, self.begun));
        let after = said_by(runs);
        let is_news = |one: &Said| (one.shown.clone(), one.coming.clone(), one.at);
        if is_news(&after) != is_news(&before) {
            self.keep(&all);
        }
    }

    /// Takes the keys of a gateway away.
    pub(crate) fn forget_gateway(&self, environment: &EnvironmentName, gateway: &GatewayName) {
        if let Some(heard) = lock(&self.heard).get_mut(environment) {
            heard.has.remove(gateway.as_str());
        }
        let mut all = lock(&self.said);
        if all.get_mut(environment).is_some_and(|known| known.remove(gateway.as_str()).is_some()) {
            self.keep(&all);
        }
    }

    /// Forgets an environment that was removed.
    pub(crate) fn forget(&self, environment: &EnvironmentName) {
        lock(&self.heard).remove(environment);
        lock(&self.deaf).remove(environment);
        let mut all = lock(&self.said);
        if all.remove(environment).is_some() {
            self.keep(&all);
        }
    }

    fn keep(&self, all: &BTreeMap<EnvironmentName, Gateways>) {
        let write = || whole::put(&self.path, &serde_json::to_vec(all).map_err(io::Error::other)?, 0o600);
        let folder = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| write()) {
            tracing::warn!(path = %self.path.display(), %error, "the keys between gateways could not be kept");
        }
    }

    /// Returns what the gateways of an environment said, by their names.
    pub(super) fn of(&self, environment: &EnvironmentName) -> BTreeMap<String, Said> {
        let all = lock(&self.said);
        let gateways = all.get(environment).into_iter().flatten();
        gateways.map(|(name, runs)| (name.clone(), said_by(runs))).collect()
    }

    /// Returns when each gateway of an environment said something last, apart from that in the server.
    pub(super) fn silent_since(&self, environment: &EnvironmentName) -> Vec<(String, Timestamp)> {
        let all = lock(&self.said);
        let others = all.get(environment).into_iter().flatten().filter(|(name, _)| *name != OF_SERVER);
        let seen = |runs: &Runs| runs.values().map(|said| said.seen).max().filter(|seen| seen.0 > 0);
        // An older release did not write down when.
        others.map(|(name, runs)| (name.clone(), seen(runs).unwrap_or(self.begun))).collect()
    }

    /// Tells whether this server knew no key of an environment when it began, a moment ago, and some gateways have not said theirs yet.
    pub(super) fn hears_again(
        &self,
        environment: &EnvironmentName,
        gateways: &BTreeSet<String>,
        now: Timestamp,
    ) -> bool {
        if self.remembered.contains(environment) || now.since_ms(self.begun) > GATEWAY_LEASE_MS {
            return false;
        }
        let all = lock(&self.said);
        let known = all.get(environment);
        gateways.iter().any(|name| known.is_none_or(|known| !known.contains_key(name)))
    }

    /// Returns since when it is waited that the gateway of its host leads to an instance where it listens.
    pub(super) fn waits_since(
        &self,
        environment: &EnvironmentName,
        (id, listens): (&InstanceId, SocketAddr),
    ) -> Option<Timestamp> {
        lock(&self.heard).get(environment)?.waits.get(&(id.clone(), listens)).copied()
    }
}

fn said_by(runs: &Runs) -> Said {
    // The newest one listens; the one before it does no more. One that cannot listen is looked for where it did.
    let at = |of: fn(&SaidByRun) -> Option<SocketAddr>| {
        let said = runs.values().filter(|said| of(said).is_some());
        said.max_by_key(|said| said.seen).and_then(of)
    };
    Said {
        shown: runs.values().filter_map(|said| said.keys.first().copied()).collect(),
        coming: runs.values().flat_map(|said| said.keys.iter().skip(1).copied()).collect(),
        at: at(|said| said.at).or_else(|| at(|said| said.had)),
        unkept: runs.values().any(|said| said.unkept),
    }
}

/// A process that is silent while another one of the gateway speaks has gone; the only one is remembered however long it is silent. One more than
/// are remembered puts out the one that began first of those where nobody comes in, and is not kept out by them.
fn take(runs: &mut Runs, run: Run<'_>, between: &SaidBetween, (now, begun): (Timestamp, Timestamp)) {
    let had = said_by(runs).at;
    let is_there = |said: &SaidByRun| now.since_ms(said.seen.max(begun)) <= GATEWAY_LEASE_MS;
    runs.retain(|id, said| id == run.id || is_there(said));
    let others = runs.iter().filter(|(id, said)| *id != run.id && !said.is_put_out()).count();
    if run.is_last && others > 0 {
        runs.remove(run.id);
        return;
    }
    let heard = runs.len();
    match runs.get_mut(run.id) {
        Some(said) if said.is_put_out() && others > 0 => {
            said.seen = now;
            return;
        }
        None if heard >= MAX_HEARD => return,
        None if others >= MAX_RUNS => put_out_one(runs),
        _ => {}
    }
    let keys = between.keys.iter().take(MAX_KEYS).copied().collect();
    let since = runs.get(run.id).map_or(now, |said| said.since);
    let said = SaidByRun { keys, at: between.at, had, seen: now, since, unkept: between.unkept };
    runs.insert(run.id.to_owned(), said);
}

fn put_out_one(runs: &mut Runs) {
    let heard = runs.values_mut().filter(|said| !said.is_put_out());
    if let Some(oldest) = heard.min_by_key(|said| (said.at.is_some(), said.since)) {
        (oldest.keys, oldest.at, oldest.had, oldest.unkept) = (Vec::new(), None, None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn says(keys: &[u8]) -> SaidBetween {
        let keys = keys.iter().map(|it| key(*it)).collect();
        SaidBetween { keys, at: "10.0.0.5:18500".parse().ok(), unkept: false }
    }

    fn says_without_door(keys: &[u8]) -> SaidBetween {
        SaidBetween { at: None, ..says(keys) }
    }

    fn hear(runs: &mut Runs, id: &str, between: &SaidBetween, now: u64) {
        take(runs, Run { id, is_last: false }, between, (Timestamp(now), Timestamp(0)));
    }

    fn all(runs: &Runs) -> Vec<Digest> {
        known(&said_by(runs))
    }

    fn known(said: &Said) -> Vec<Digest> {
        said.shown.iter().chain(&said.coming).copied().collect()
    }

    #[test]
    fn a_process_that_takes_over_is_known_beside_the_one_before_and_alone_when_that_is_silent() {
        let mut runs = Runs::new();
        hear(&mut runs, "old", &says(&[1]), 1_000);
        hear(&mut runs, "new", &says(&[2, 3]), 2_000);
        assert_eq!(all(&runs), [key(1), key(2), key(3)]);
        hear(&mut runs, "new", &says(&[3]), 9_000);
        assert_eq!(all(&runs), [key(3)]);
        hear(&mut runs, "new", &says(&[3]), 1_000_000_000);
        let last = Run { id: "new", is_last: true };
        take(&mut runs, last, &says(&[3]), (Timestamp(1_000_000_000), Timestamp(0)));
        assert_eq!(all(&runs), [key(3)], "it may begin again with its last table, and no server");
    }

    #[test]
    fn many_processes_with_one_name_do_not_fill_a_table() {
        let mut runs = Runs::new();
        for run in 0..100_u8 {
            hear(&mut runs, &run.to_string(), &says(&[run]), 1_000);
        }
        assert_eq!(all(&runs).len(), MAX_RUNS);
        let many: Vec<u8> = (0..100).collect();
        let mut one = Runs::new();
        hear(&mut one, "one", &says(&many), 1_000);
        assert_eq!(all(&one).len(), MAX_KEYS);
    }

    #[test]
    fn keys_are_remembered_by_the_next_server_until_they_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KnownKeys::open(&folder.path().join("between"), Timestamp(0)).unwrap();
        let production: EnvironmentName = "production".parse().unwrap();
        let run = Run { id: "run", is_last: false };
        open().hear((&production, "host-web1"), run, &says(&[1]), Timestamp(1_000), || true);
        assert_eq!(known(&open().of(&production)["host-web1"]), [key(1)]);
        open().forget_gateway(&production, &"host-web1".parse().unwrap());
        assert!(open().of(&production).is_empty());
        std::fs::write(folder.path().join("between/gateways.json"), "{").unwrap();
        assert!(open().of(&production).is_empty());
    }

    #[test]
    fn a_process_that_begins_is_heard_however_many_of_before_let_clients_finish() {
        let mut runs = Runs::new();
        for run in 0..20_u8 {
            let now = 1_000 * u64::from(run);
            // Those before say every second that nobody comes in to them any more.
            (0..run)
                .for_each(|before| hear(&mut runs, &before.to_string(), &says_without_door(&[before]), now));
            hear(&mut runs, &run.to_string(), &says(&[run]), now);
            let said = said_by(&runs);
            assert!(said.shown.contains(&key(run)), "{run} is not heard: {said:?}");
            assert_eq!(said.at, "10.0.0.5:18500".parse().ok());
            assert!(said.shown.len() <= MAX_RUNS, "{said:?}");
        }
        let before = said_by(&runs);
        (0..19_u8).for_each(|run| hear(&mut runs, &run.to_string(), &says_without_door(&[run]), 19_500));
        assert_eq!(said_by(&runs), before, "one that was put out puts out no other one");
        hear(&mut runs, "0", &says_without_door(&[0]), 100_000);
        assert_eq!(all(&runs), [key(0)], "the last one of all is heard again");
    }

    #[test]
    fn a_gateway_whose_door_is_closed_is_looked_for_where_it_was() {
        let mut runs = Runs::new();
        hear(&mut runs, "before", &says(&[1]), 1_000);
        hear(&mut runs, "now", &says_without_door(&[1]), 60_000);
        hear(&mut runs, "now", &says_without_door(&[1]), 61_000);
        assert_eq!(said_by(&runs).at, "10.0.0.5:18500".parse().ok());
        let elsewhere = SaidBetween { at: "10.0.0.9:18500".parse().ok(), ..says(&[1]) };
        hear(&mut runs, "now", &elsewhere, 62_000);
        assert_eq!(said_by(&runs).at, elsewhere.at);
    }

    #[test]
    fn the_next_server_gives_both_processes_of_a_gateway_the_time_to_say_something() {
        let mut runs = Runs::new();
        hear(&mut runs, "old", &says(&[1]), 1_000);
        hear(&mut runs, "new", &says(&[2]), 2_000);
        let begun = Timestamp(1_000_000);
        take(&mut runs, Run { id: "new", is_last: false }, &says(&[2]), (Timestamp(1_000_100), begun));
        assert_eq!(all(&runs), [key(1), key(2)]);
    }

    #[test]
    fn a_receipt_that_comes_while_its_gateway_is_taken_out_brings_it_back_in_no_order() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KnownKeys::open(folder.path(), Timestamp(0)).unwrap();
        let (production, run) = ("production".parse().unwrap(), Run { id: "run", is_last: false });
        let is_in = std::sync::atomic::AtomicBool::new(true);
        let hear = || {
            let may = || is_in.load(std::sync::atomic::Ordering::SeqCst);
            keys.hear((&production, "edge"), run, &says(&[1]), Timestamp(1_000), may);
        };
        hear();
        assert_eq!(keys.of(&production).len(), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..1_000).for_each(|_| hear()));
            // As whoever takes it out does: first it is decided, then it is forgotten.
            is_in.store(false, std::sync::atomic::Ordering::SeqCst);
            keys.forget_gateway(&production, &"edge".parse().unwrap());
        });
        assert!(keys.of(&production).is_empty());
    }

    #[test]
    fn keys_that_were_lost_are_waited_for_a_moment_and_not_longer() {
        let folder = tempfile::tempdir().unwrap();
        let (production, run) = ("production".parse().unwrap(), Run { id: "run", is_last: false });
        let gateways = BTreeSet::from(["host-web1".to_owned(), "host-web2".to_owned()]);
        let keys = KnownKeys::open(folder.path(), Timestamp(1_000)).unwrap();
        let hears = |keys: &KnownKeys, now| keys.hears_again(&production, &gateways, Timestamp(now));
        assert!(hears(&keys, 1_100));
        keys.hear((&production, "host-web1"), run, &says(&[1]), Timestamp(1_200), || true);
        assert!(hears(&keys, 1_200), "one is still to be heard");
        assert!(!hears(&keys, 1_001 + GATEWAY_LEASE_MS), "one that is away is not waited for");
        keys.hear((&production, "host-web2"), run, &says(&[2]), Timestamp(1_300), || true);
        assert!(!hears(&keys, 1_300));
        let next = KnownKeys::open(folder.path(), Timestamp(5_000)).unwrap();
        assert!(!hears(&next, 5_001), "what is remembered is not waited for");
    }

    #[test]
    fn how_long_a_gateway_is_silent_is_known_to_the_next_server() {
        let folder = tempfile::tempdir().unwrap();
        let production = "production".parse().unwrap();
        let open = |now| KnownKeys::open(folder.path(), Timestamp(now)).unwrap();
        let run = Run { id: "run", is_last: false };
        open(0).hear((&production, "edge"), run, &says(&[1]), Timestamp(1_000), || true);
        assert_eq!(open(9_000).silent_since(&production), [("edge".to_owned(), Timestamp(1_000))]);
        let text = std::fs::read_to_string(folder.path().join("gateways.json")).unwrap();
        std::fs::write(folder.path().join("gateways.json"), text.replace("\"seen\":1000", "\"seen\":0"))
            .unwrap();
        assert_eq!(open(9_000).silent_since(&production), [("edge".to_owned(), Timestamp(9_000))]);
    }
}
