//! Watching: looks again and again, keeps what is wrong and what changed before it, and tells. Rules and states are in `lockstep-monitor`, which is
//! pure; here is the loop, and what it is given.
//!
//! Alerts and what is to be sent are kept in one file that is written whole after each look in which something fired, recovered or is to be told, and
//! before and after each try to send: a server that is killed goes on from there, an alert fires once and recovers once, and what is told is sent at
//! least once. None of it is part of the journal, because it follows from what is seen.

mod changes;
mod files;
mod observe;
mod rules;
mod silences;
mod targets;
mod telling;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_domain::watching::WatchingSettings;
use lockstep_domain::{Arm, EnvironmentName, ServiceName, World};
use lockstep_monitor::reading::Known as Seen;
use lockstep_monitor::seen::{InstanceSeen, InstanceState};
use lockstep_monitor::state::State;
use lockstep_monitor::target::Target;
use lockstep_monitor::{Change, Config, History, Observation, Rule, Turn, with_built_in};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use self::changes::Changes;
use self::files::Files;
pub(crate) use self::observe::way;
use crate::{Control, lock};

/// How often it is looked: an instance that is dead is to be told of within two seconds.
const LOOK: Duration = Duration::from_secs(1);
/// And while something waits until it is told.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Looking takes at most this part of the time of one processor.
const SHARE: u32 = 20;
/// How often what is kept is written where nothing fired or recovered: a server that is killed loses so much of what is pending and of the shares,
/// and no alert.
const KEEP: Duration = Duration::from_secs(60);
/// Turns of alerts that are remembered for people.
const MAX_TURNS: usize = 1_000;
/// How often it is read who calls whom.
const CALLS_EVERY: Duration = Duration::from_secs(30);

/// What watching knows.
#[derive(Debug)]
pub(crate) struct Watching {
    files: Files,
    known: Mutex<Known>,
    /// What was read of the journal.
    reading: Mutex<Changes>,
    /// What changed lately, the newest last.
    changes: Mutex<Arc<Vec<Change>>>,
    /// Wakes who sends what is told.
    wake: Notify,
}

#[derive(Debug)]
struct Known {
    /// Alerts, and what is to be sent.
    state: State,
    /// Alerts that fired and recovered, the newest last.
    turns: VecDeque<TurnKept>,
    /// When it was looked last, in milliseconds since 1970.
    looked: Option<u64>,
    /// What people decided, and what that means.
    settings: WatchingSettings,
    config: Config,
    /// Of which bounds rules ask how many answers took longer, in milliseconds.
    bounds: Arc<BTreeSet<u64>>,
    /// Grows with each text that is made to be kept, so that an older one is not written after a newer one.
    version: u64,
}

/// An alert that fired or recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TurnKept {
    at_ms: u64,
    alert: String,
    #[serde(default)]
    environment: Option<String>,
    fired: bool,
}

/// What one look remembers for the next: the loop alone has it.
#[derive(Debug)]
struct Memory {
    /// What services did lately.
    history: History,
    /// Of which bounds rules ask how many answers took longer.
    bounds: Arc<BTreeSet<u64>>,
    /// Since when gateways lack a table, by the clock that nobody sets.
    behind: BTreeMap<(EnvironmentName, String), Instant>,
    calls: BTreeMap<EnvironmentName, (Instant, Arc<Graph>)>,
    /// Since when there is no instance at all of arms of which there should be.
    vacant: BTreeMap<Vacancy, Instant>,
    /// Those of them that were asked about in this look.
    asked: BTreeSet<Vacancy>,
    /// Since when instances have been seen starting, and whether they were in this look.
    starting: BTreeMap<String, (Instant, bool)>,
    kept: Instant,
}

/// An arm of a service in an environment.
type Vacancy = (EnvironmentName, ServiceName, Arm);

/// Which services each service calls.
type Graph = BTreeMap<ServiceName, BTreeSet<ServiceName>>;

impl Memory {
    fn new(history: History) -> Self {
        Self {
            history,
            bounds: Arc::default(),
            behind: BTreeMap::new(),
            calls: BTreeMap::new(),
            vacant: BTreeMap::new(),
            asked: BTreeSet::new(),
            starting: BTreeMap::new(),
            kept: Instant::now(),
        }
    }

    /// Notes which gateways of an environment lack the newest table now.
    fn note_behind(&mut self, environment: &EnvironmentName, late: BTreeSet<String>) {
        self.behind.retain(|(name, gateway), _| name != environment || late.contains(gateway));
        for gateway in late {
            self.behind.entry((environment.clone(), gateway)).or_insert_with(Instant::now);
        }
    }

    /// For how long a gateway has lacked a table.
    fn behind_for(&self, environment: &EnvironmentName, gateway: &str) -> Option<Duration> {
        self.behind.get(&(environment.clone(), gateway.to_owned())).map(Instant::elapsed)
    }

    /// Notes whether there is no instance of an arm, and tells whether what is missing is a fault by now.
    fn is_vacant_long(
        &mut self,
        (environment, service, arm): (&EnvironmentName, &ServiceName, &Arm),
        is_vacant: bool,
    ) -> bool {
        let key = (environment.clone(), service.clone(), arm.clone());
        if !is_vacant {
            self.vacant.remove(&key);
            return true;
        }
        self.asked.insert(key.clone());
        self.vacant.entry(key).or_insert_with(Instant::now).elapsed() >= observe::VACANT_FOR
    }

    /// Forgets what was not asked about in this look: nobody wants it any more.
    fn forget_unasked(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.vacant.retain(|key, _| asked.contains(key));
        self.starting.retain(|_, (_, was_seen)| std::mem::take(was_seen));
    }

    /// Says of an instance since when it has been starting as far as that was seen: the clock of the machine that began it may say anything.
    fn starting_since(&mut self, instance: InstanceSeen, now_ms: u64) -> InstanceSeen {
        if instance.state != InstanceState::Starting {
            return instance;
        }
        let seen = self.starting.entry(instance.id.clone()).or_insert_with(|| (Instant::now(), true));
        seen.1 = true;
        let seen_ms = now_ms.saturating_sub(u64::try_from(seen.0.elapsed().as_millis()).unwrap_or(u64::MAX));
        InstanceSeen { since_ms: instance.since_ms.max(seen_ms), ..instance }
    }

    /// Returns who calls whom, read anew now and then.
    fn calls(&mut self, environment: &EnvironmentName, read: impl FnOnce() -> Graph) -> Arc<Graph> {
        let known = self.calls.get(environment).filter(|(at, _)| at.elapsed() < CALLS_EVERY);
        if let Some((_, graph)) = known {
            return Arc::clone(graph);
        }
        let graph = Arc::new(read());
        self.calls.insert(environment.clone(), (Instant::now(), Arc::clone(&graph)));
        graph
    }
}

impl Watching {
    /// Reads what was kept.
    pub(crate) fn open(folder: &Path) -> Self {
        let files = Files::of(folder);
        let known = Known {
            state: files.state(),
            turns: files.turns(),
            looked: None,
            settings: WatchingSettings::default(),
            config: Config { rules: with_built_in(&[]), ..Config::default() },
            bounds: Arc::default(),
            version: 0,
        };
        Self {
            files,
            known: Mutex::new(known),
            reading: Mutex::default(),
            changes: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Does something with what is known, and keeps it where `work` says so. Writing happens without the lock, so nobody who only looks waits for
    /// the disk. Tells whether it is kept.
    fn change<T>(&self, work: impl FnOnce(&mut Known) -> (T, bool)) -> (T, bool) {
        let mut known = lock(&self.known);
        let (done, is_kept) = work(&mut known);
        if !is_kept {
            return (done, true);
        }
        let text = known.text();
        drop(known);
        (done, text.is_some_and(|text| self.files.put(&text)))
    }
}

impl Control {
    /// Looks again and again.
    pub(crate) async fn keep_watching(self: Arc<Self>) {
        let mut memory = Memory::new(self.watching.files.history());
        loop {
            let begun = Instant::now();
            let waits = tokio::task::block_in_place(|| self.look_at_alerts(&mut memory));
            let pause = if waits { LOOK_AGAIN } else { LOOK }.max(begun.elapsed() * (SHARE - 1));
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        tokio::task::block_in_place(|| {
            self.watching.change(|_| ((), true));
            self.watching.files.put_history(&memory.history);
        });
    }

    /// Looks at everything. Tells whether something waits for a moment until it is told.
    fn look_at_alerts(&self, memory: &mut Memory) -> bool {
        self.read_changes();
        memory.bounds = Arc::clone(&lock(&self.watching.known).bounds);
        let look = self.observe(memory);
        memory.forget_unasked();
        self.take_look(&look, memory)
    }

    /// Decides what a look means, keeps that, and wakes who tells it.
    fn take_look(&self, look: &Observation, memory: &mut Memory) -> bool {
        memory.history.note(look);
        let changes = Arc::clone(&lock(&self.watching.changes));
        let is_due = memory.kept.elapsed() >= KEEP;
        let ((is_news, waits), _) = self.watching.change(|known| {
            // Read under the lock, so that nobody who sends knows older targets than what is put here is for.
            let world = self.ledger.world();
            known.take_settings(&world);
            let is_news = known.look(look, &memory.history, &telling::targets(&world), &changes);
            ((is_news, known.state.watch.groups().has_waiting()), is_news || is_due)
        });
        if is_due {
            self.watching.files.put_history(&memory.history);
            memory.kept = Instant::now();
        }
        if is_news {
            self.watching.wake.notify_one();
        }
        waits
    }

    /// Reads what was recorded since the last time, and returns what changed lately. Whoever asks right after a change is told of it.
    fn read_changes(&self) -> Arc<Vec<Change>> {
        let mut reading = lock(&self.watching.reading);
        match reading.read(&self.ledger) {
            Ok(true) => *lock(&self.watching.changes) = Arc::new(reading.list()),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "what changed could not be read"),
        }
        Arc::clone(&lock(&self.watching.changes))
    }
}

impl Known {
    /// Takes in what people decided, where that is news.
    fn take_settings(&mut self, world: &World) {
        if self.settings == world.watching {
            return;
        }
        let own: Vec<Rule> = rules::own(world).into_iter().map(|(rule, _)| rule).collect();
        let silences = silences::silences(world).into_iter().map(|(_, silence)| silence);
        self.config =
            Config { rules: with_built_in(&own), silences: silences.collect(), ..Config::default() };
        let bounds = self.config.rules.iter().filter_map(|rule| rule.condition.slower_than_ms());
        self.bounds = Arc::new(bounds.collect());
        self.settings = world.watching.clone();
    }

    /// Takes in a look. Tells whether something fired, recovered or is to be told.
    fn look(
        &mut self,
        look: &Observation,
        history: &History,
        targets: &[Target],
        changes: &[Change],
    ) -> bool {
        let looked = self.state.look(Seen { look, history }, &self.config, targets, changes);
        let is_news = !(looked.turns.is_empty() && looked.notices.is_empty());
        for (alert, turn) in looked.turns {
            tracing::info!(alert, ?turn, "an alert");
            let of = self.state.watch.alerts().get(&alert);
            let environment = of.and_then(|alert| alert.subject.environment()).map(str::to_owned);
            let fired = turn == Turn::Fired;
            self.turns.push_back(TurnKept { at_ms: look.at_ms, alert, environment, fired });
        }
        self.turns.drain(..self.turns.len().saturating_sub(MAX_TURNS));
        self.looked = Some(look.at_ms);
        is_news
    }
}

#[cfg(test)]
mod tests;
