//! Watching with a real store, and targets that are reached over HTTP: a storm, and a server that is killed at each point.
//!
//! What is seen is given; what is decided, kept, sent and settled is what a server does, on the files of a data folder. A server that is killed is
//! one whose memory is gone and whose files are as they were at that point. Time goes by without being waited for.

mod endpoint;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use lockstep_api::types::{SetTarget, TakesNotices};
use lockstep_monitor::seen::{ArmSeen, DiskSeen, EnvironmentSeen, Seen as Known, ServiceSeen};
use lockstep_notify::Sender;
use tempfile::TempDir;

use self::endpoint::{Endpoint, Hears};
use super::*;
use crate::ControlConfig;

const SECOND: u64 = 1_000;
/// The file that is written before and after whatever counts.
const STATE: &str = "alerts.json";

/// Where a server is killed, within what it does once in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// It looked and decided, and nothing is written.
    Looked,
    /// That is written.
    LookKept,
    /// What is due is taken, and nothing is written.
    Taken,
    /// That is written, and nothing is sent.
    TakenKept,
    /// It was about to be sent, and nobody heard it.
    Unheard,
    /// It was heard, and the answer did not come.
    Heard,
    /// It was answered, and nothing is written.
    Answered,
    /// All is written.
    Settled,
}

impl Point {
    const ALL: [Self; 8] = [
        Self::Looked,
        Self::LookKept,
        Self::Taken,
        Self::TakenKept,
        Self::Unheard,
        Self::Heard,
        Self::Answered,
        Self::Settled,
    ];
}

/// A server whose loops are gone through by hand.
struct Bench {
    folder: TempDir,
    /// The server, but for the moment in which it is dead.
    control: Option<Arc<Control>>,
    memory: Memory,
    endpoint: Endpoint,
    /// The services that are down.
    down: BTreeSet<String>,
    services: Vec<String>,
    /// Where the server is killed, and how many chances to do so are let go before.
    kill: Option<(Point, usize)>,
    kills: usize,
    /// All that fired and recovered; a server remembers the last thousand.
    turns: Vec<TurnKept>,
}

async fn open(folder: &TempDir) -> (Arc<Control>, Memory) {
    let nothing = || vec!["false".into()];
    let config = ControlConfig {
        first_gateway_port: 0,
        ..ControlConfig::new(folder.path().join("data"), nothing(), nothing())
    };
    let (control, _) = Control::at_rest(config).await.unwrap();
    let memory = Memory::new(control.watching.files.history());
    (control, memory)
}

impl Bench {
    async fn begin(services: usize, targets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (control, memory) = open(&folder).await;
        let endpoint = Endpoint::begin().await;
        for kind in targets {
            let target = serde_json::json!({ "kind": kind, "url": endpoint.url(kind) });
            let takes = TakesNotices::default();
            let request = SetTarget { name: kind.parse().unwrap(), target, takes, reason: String::new() };
            control.set_target(&"ann".parse().unwrap(), request).unwrap();
        }
        let services = (0..services).map(|number| format!("service-{number:04}")).collect();
        let down = BTreeSet::new();
        Self {
            folder,
            control: Some(control),
            memory,
            endpoint,
            down,
            services,
            kill: None,
            kills: 0,
            turns: Vec::new(),
        }
    }

    fn look(&self) -> Observation {
        let service = |name: &String| (name.clone(), seen(name, !self.down.contains(name)));
        let services = Known::Is(self.services.iter().map(service).collect());
        let environment =
            EnvironmentSeen { services, operations: Known::Is(Vec::new()), gateways: Known::Is(Vec::new()) };
        Observation {
            at_ms: self.control().ledger.now().0,
            environments: Known::Is(BTreeMap::from([("production".to_owned(), environment)])),
            hosts: Known::Is(BTreeMap::new()),
            certificates: Known::Is(Vec::new()),
            server_disk: Known::Is(DiskSeen { free_bytes: 900 << 30, size_bytes: 1_000 << 30 }),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data").join(STATE)
    }

    /// Tells whether the server is killed here; then its memory is gone, and the files are as they were at `kept`.
    async fn dies(&mut self, at: Point, kept: &Option<Vec<u8>>) -> bool {
        match &mut self.kill {
            Some((point, 0)) if *point == at => {}
            Some((point, left)) if *point == at => {
                *left -= 1;
                return false;
            }
            _ => return false,
        }
        (self.kill, self.kills) = (None, self.kills + 1);
        match kept {
            Some(kept) => fs::write(self.file(), kept).unwrap(),
            None => drop(fs::remove_file(self.file())),
        }
        self.reopen().await;
        true
    }

    /// Starts another server where this one was.
    async fn reopen(&mut self) {
        let old = self.control.take().unwrap();
        old.gateway.shutdown(Duration::ZERO).await;
        assert_eq!(Arc::strong_count(&old), 1, "nothing of it goes on");
        drop(old);
        let (control, memory) = open(&self.folder).await;
        (self.control, self.memory) = (Some(control), memory);
    }

    fn control(&self) -> &Control {
        self.control.as_ref().unwrap()
    }

    fn kept(&self) -> Option<Vec<u8>> {
        fs::read(self.file()).ok()
    }

    /// Lets time go by, looks, and sends what is due: what the two loops of a server do.
    async fn pass(&mut self, ms: u64) {
        self.control().ledger.pass(ms);
        let before = self.kept();
        let look = self.look();
        let control = Arc::clone(self.control.as_ref().unwrap());
        tokio::task::block_in_place(|| control.take_look(&look, &mut self.memory));
        self.turns.extend(std::mem::take(&mut lock(&control.watching.known).turns));
        drop(control);
        if self.kept() != before
            && (self.dies(Point::Looked, &before).await || self.dies(Point::LookKept, &self.kept()).await)
        {
            return;
        }
        self.send().await;
    }

    async fn send(&mut self) {
        let sender = Sender::new();
        loop {
            let before = self.kept();
            let due = tokio::task::block_in_place(|| self.control().take_due());
            if due.is_empty() {
                return;
            }
            if self.dies(Point::Taken, &before).await || self.dies(Point::TakenKept, &self.kept()).await {
                return;
            }
            for due in due {
                let taken = self.kept();
                self.endpoint.hears(self.hears());
                self.control().tell(&sender, due).await;
                self.endpoint.hears(Hears::All);
                for point in [Point::Unheard, Point::Heard, Point::Answered] {
                    if self.dies(point, &taken).await {
                        return;
                    }
                }
                if self.dies(Point::Settled, &self.kept()).await {
                    return;
                }
            }
        }
    }

    /// What the endpoint does with the next request.
    fn hears(&self) -> Hears {
        match self.kill {
            Some((Point::Unheard, 0)) => Hears::Nothing,
            Some((Point::Heard, 0)) => Hears::AndSaysNothing,
            _ => Hears::All,
        }
    }

    /// Goes on until nothing is told any more: longer than alerts are kept firing, and groups open.
    async fn settle(&mut self) {
        for _ in 0..40 {
            self.pass(10 * SECOND).await;
        }
    }

    fn waiting(&self) -> usize {
        lock(&self.control().watching.known).state.outbox.entries().count()
    }
}

fn instance(name: &str, state: InstanceState) -> InstanceSeen {
    let id = format!("{name}-1");
    InstanceSeen { id, version: "1.0.0".into(), host: None, state, since_ms: 0, restarts: 0, reason: None }
}

/// A service with one instance, or with none of those that it should have.
fn seen(name: &str, is_well: bool) -> ServiceSeen {
    let instance = instance(name, InstanceState::Healthy);
    ServiceSeen {
        arms: BTreeMap::from([("1.0.0".into(), ArmSeen { wanted: 1, counters: Known::Nothing })]),
        instances: Known::Is(is_well.then_some(instance).into_iter().collect()),
        ..ServiceSeen::default()
    }
}

#[test]
fn an_instance_has_been_starting_since_it_was_seen_to_whatever_a_clock_elsewhere_says() {
    let mut memory = Memory::new(History::default());
    let day_ms = 86_400_000;
    let mut since = |state, now_ms| memory.starting_since(instance("orders", state), now_ms).since_ms;
    assert!(since(InstanceState::Starting, day_ms) > day_ms - 10 * SECOND, "its clock is a day behind");
    assert_eq!(since(InstanceState::Healthy, day_ms), 0);
    let first = memory.starting["orders-1"].0;
    memory.forget_unasked();
    memory.starting_since(instance("orders", InstanceState::Starting), day_ms);
    assert_eq!(memory.starting["orders-1"].0, first, "it goes on");
    memory.forget_unasked();
    memory.forget_unasked();
    assert!(memory.starting.is_empty(), "it starts no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_that_fail_together_are_a_handful_of_messages_and_each_recovers_once() {
    let mut bench = Bench::begin(1_000, &["slack", "webhook"]).await;
    bench.pass(SECOND).await;
    assert!(bench.endpoint.heard().is_empty());
    bench.down = bench.services.iter().cloned().collect();
    for _ in 0..10 {
        bench.pass(2 * SECOND).await;
    }
    let faults = bench.endpoint.kinds("webhook");
    assert!((1..=3).contains(&faults.len()) && faults.iter().all(|kind| kind == "fault"), "{faults:?}");
    assert_eq!(bench.endpoint.of("slack").len(), faults.len(), "people are told as programs are");
    let said = bench.endpoint.of("slack").concat();
    assert!(said.contains("production") && said.len() < 64 * 1024, "{} bytes", said.len());
    let firing = |bench: &Bench| {
        let known = lock(&bench.control().watching.known);
        let alerts = known.state.watch.alerts().values();
        alerts.filter(|alert| alert.rule == "all-down" && alert.is_firing()).count()
    };
    assert_eq!(firing(&bench), 1_000, "all of them are shown");

    bench.down.clear();
    for _ in 0..20 {
        bench.pass(10 * SECOND).await;
    }
    let told = bench.endpoint.kinds("webhook");
    let recovered = told.iter().filter(|kind| *kind == "recovered").count();
    assert_eq!((recovered, told.len()), (faults.len(), 2 * faults.len()), "{told:?}");
    assert_eq!(bench.endpoint.of("slack").len(), told.len());
    assert_eq!(bench.waiting(), 0);
    for fired in [true, false] {
        let turns = bench.turns.iter().filter(|it| it.fired == fired && it.alert.starts_with("all-down"));
        let alerts: Vec<&str> = turns.map(|it| it.alert.as_str()).collect();
        assert_eq!((alerts.len(), alerts.iter().collect::<BTreeSet<_>>().len()), (1_000, 1_000), "{fired}");
    }
    assert_eq!(firing(&bench), 0, "nothing is wrong any more");
}

/// Goes through a fault and its end, with one kill; returns how often what was heard.
async fn fault_with_a_kill(point: Point, chance: usize) -> Option<Endpoint> {
    let mut bench = Bench::begin(1, &["webhook"]).await;
    bench.pass(SECOND).await;
    bench.kill = Some((point, chance));
    for _ in 0..2 {
        bench.down = bench.services.iter().cloned().collect();
        bench.settle().await;
        bench.down.clear();
        bench.settle().await;
    }
    assert_eq!(bench.waiting(), 0, "{point:?}: all was sent");
    (bench.kills == 1).then_some(bench.endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_at_whichever_point_each_fault_and_each_recovery_is_told_and_told_again_under_its_id()
 {
    let mut killed = 0;
    for point in Point::ALL {
        for chance in 0.. {
            let Some(endpoint) = fault_with_a_kill(point, chance).await else { break };
            killed += 1;
            // Who drops what has an id that is known sees each fault and each recovery once.
            assert_eq!(
                endpoint.once("webhook"),
                ["fault", "recovered", "fault", "recovered"],
                "killed at {point:?}, for the {chance}. time"
            );
            let again = endpoint.of("webhook").len() - 4;
            let is_sure = matches!(point, Point::Heard | Point::Answered);
            assert_eq!(again, usize::from(is_sure), "{point:?} {chance}: what was heard comes once more");
        }
    }
    // Two faults and two ends are told, and each is decided, taken and settled.
    assert!(killed >= 4 * Point::ALL.len(), "{killed}");
}
