//! The ledger: the journal and the world that its events fold to, kept in step.
//!
//! Invariant: a world that readers see is the fold of records that are durable. Every change goes through
//! [`Ledger::commit`], which decides on the newest world and appends by compare-and-swap.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::clock_skip;
use lockstep_domain::world::{FoldError, WORLD_FORMAT, consequences};
use lockstep_domain::{Actor, Environment, Event, OperationId, Recorded, Timestamp, World};
use lockstep_store::journal::{AppendError, Journal, JournalError, KeyPlace, NewRecord, Record};
use thiserror::Error;
use tokio::sync::watch;

use crate::clock::{Clock, wall};

/// A snapshot is kept after so many records, so that a start never folds many more than this.
pub(crate) const SNAPSHOT_EVERY: u64 = 5_000;
/// How often a decision is made anew when another server was quicker.
const MAX_TRIES: u32 = 3;
/// Records kept in memory for those who follow operations: those of the last hundred; older ones are read from the journal. A
/// record takes some kilobytes.
const RECENT_RECORDS: usize = 500;
/// A decision has at most so many consequences: every version of a large operation going through all stages.
const MAX_EVENTS: usize = 9_000;

/// Why the ledger cannot be opened.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The journal cannot be read, or is not as it was written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record is not an event of this program.
    #[error(
        "record {seq} of the journal is not an event that this program knows; was it written by a newer one?"
    )]
    Event {
        /// The record.
        seq: u64,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An event does not fit.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

impl LedgerError {
    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        use JournalError::{Database, Schema, Tampered};
        match self {
            Self::Journal(Tampered(_) | Schema { .. } | Database { .. })
            | Self::Event { .. }
            | Self::Fold(_) => "lockstep journal verify --data FOLDER",
            Self::Journal(error) => error.hint(),
        }
    }
}

/// The journal and its world.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    clock: Clock,
    world: watch::Sender<Arc<World>>,
    writer: Mutex<Writer>,
    recent: Mutex<VecDeque<Recorded>>,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    snapshot_seq: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Opens the journal of a data folder and folds it, from the newest snapshot where there is one.
    ///
    /// # Errors
    /// When it cannot be read, was altered, or holds what this program does not know.
    pub(crate) fn open(folder: &Path, key: &KeyPlace) -> Result<Self, LedgerError> {
        let journal = Journal::open_with(folder, key)?;
        let (mut world, snapshot_seq) = from_snapshot(&journal)?;
        catch_up(&journal, &mut world)?;
        Ok(Self {
            folder: folder.to_owned(),
            clock: Clock::start(folder, (world.seq > 0).then_some(world.at)),
            world: watch::Sender::new(Arc::new(world)),
            writer: Mutex::new(Writer { journal, snapshot_seq }),
            recent: Mutex::default(),
        })
    }

    /// Returns the newest world.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// Follows the world.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<World>> {
        self.world.subscribe()
    }

    /// Returns the time, and the newest world: one in which everything that a duration is measured from was moved by every
    /// skip that the time contains.
    #[must_use]
    pub fn look(&self) -> (Timestamp, Arc<World>) {
        let now = self.now();
        (now, self.world())
    }

    /// Records that the clock is behind the wall clock, and sets it. `moved` moves what is measured outside the world.
    ///
    /// # Errors
    /// When nothing can be recorded at the moment; the clock stays behind then, and no duration is shorter for it.
    pub(crate) fn skip_to_wall(&self, moved: impl FnOnce(u64)) -> Result<(), Problem> {
        let mut writer = lock(&self.writer);
        let Some(ms) = clock_skip::due(self.clock.now(), wall()) else { return Ok(()) };
        let (world, now) = (self.world(), self.clock.now().plus_ms(ms));
        let (next, recorded) = fold_all(&world, vec![Event::ClockSkipped { ms }], &Actor::lockstep(), now)?;
        match append(&mut writer.journal, world.seq, &recorded)? {
            // The world before the clock: whoever has the new time has the world that was moved.
            Appended::Yes => {
                self.publish(next, recorded);
                moved(ms);
                self.clock.skip(ms);
                tracing::warn!(
                    skipped_ms = ms,
                    "the wall clock is ahead; the difference counts for no duration"
                );
            }
            Appended::OthersFirst => self.refresh(&writer.journal)?,
        }
        Ok(())
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets time go by that a test does not wait for.
    #[cfg(test)]
    pub(crate) fn pass(&self, ms: u64) {
        self.clock.skip(ms);
    }

    /// Decides on the newest world and records what was decided with everything that follows from it, all or nothing.
    ///
    /// `decide` is asked again on a newer world when another server was quicker.
    ///
    /// # Errors
    /// What `decide` says, or that nothing can be recorded at the moment. Nothing was recorded then.
    pub fn commit<T>(
        &self,
        actor: &Actor,
        mut decide: impl FnMut(&World, Timestamp) -> Result<(Vec<Event>, T), Problem>,
    ) -> Result<T, Problem> {
        let mut writer = lock(&self.writer);
        for _ in 0..MAX_TRIES {
            let world = self.world();
            let now = self.clock.now();
            let (events, answer) = decide(&world, now)?;
            let (next, recorded) = fold_all(&world, events, actor, now)?;
            match append(&mut writer.journal, world.seq, &recorded)? {
                Appended::Yes => {
                    self.publish(next, recorded);
                    self.keep_snapshot(&mut writer);
                    return Ok(answer);
                }
                Appended::OthersFirst => self.refresh(&writer.journal)?,
            }
        }
        Err(Problem::new(ErrorCode::Conflict, "others changed the same thing again and again")
            .with_hint("run the command again"))
    }

    /// Does something while nothing can be recorded, if an environment still is the one that was looked at.
    ///
    /// This is for what is decided by a look at the world and is not recorded itself: either it comes before the next
    /// record, whose decision then sees it, or it does not happen.
    pub fn while_as_seen<T>(&self, seen: &Arc<Environment>, work: impl FnOnce() -> T) -> Option<T> {
        let _nothing_is_recorded_meanwhile = lock(&self.writer);
        is_as_seen(&self.world(), seen).then(work)
    }

    /// Records what somebody does to the installation itself. It must be possible when nothing can be recorded, a disk that
    /// is full for example, because it may be what helps; then the log has it.
    pub(crate) fn note(&self, actor: &Actor, event: &Event) {
        if let Err(problem) = self.commit(actor, |_, _| Ok((vec![event.clone()], ()))) {
            tracing::error!(%actor, ?event, %problem, "this is done and could not be recorded");
        }
    }

    /// Returns the recorded events of an operation after a sequence number.
    ///
    /// # Errors
    /// When the journal has to be read for it and cannot be.
    pub fn events_of(&self, operation: OperationId, after_seq: u64) -> Result<Vec<Recorded>, LedgerError> {
        let wanted =
            |recorded: &Recorded| recorded.seq > after_seq && recorded.event.operation() == Some(operation);
        let recent = lock(&self.recent);
        let begun = |recorded: &Recorded| {
            recorded.seq <= after_seq.max(1)
                || matches!(&recorded.event, Event::OperationBegun { operation: begun } if begun.id == operation)
        };
        if recent.iter().any(begun) {
            return Ok(recent.iter().filter(|recorded| wanted(recorded)).cloned().collect());
        }
        drop(recent);
        let mut events = Vec::new();
        self.read_journal(after_seq, |recorded| {
            if wanted(&recorded) {
                events.push(recorded);
            }
        })?;
        Ok(events)
    }

    /// Returns the first events after a sequence number, so many at most.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn events_after(&self, after_seq: u64, most: usize) -> Result<Vec<Recorded>, LedgerError> {
        let recent = lock(&self.recent);
        if recent.front().is_some_and(|first| first.seq <= after_seq + 1) {
            let newer = recent.iter().filter(|recorded| recorded.seq > after_seq);
            return Ok(newer.take(most).cloned().collect());
        }
        drop(recent);
        let mut events = Vec::new();
        self.read_while(after_seq, |recorded| {
            events.push(recorded);
            if events.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(events)
    }

    /// Returns the number of the last record before a time, found by halves: nobody needs to read a long journal for its last days.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn last_before(&self, at: Timestamp) -> Result<u64, LedgerError> {
        let (mut low, mut high) = (0, self.world().seq);
        while low < high {
            let middle = low + (high - low) / 2;
            let first = self.events_after(middle, 1)?;
            match first.first() {
                Some(recorded) if recorded.at < at => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Gives every event after a sequence number to `each`, from the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn read_journal(&self, after_seq: u64, mut each: impl FnMut(Recorded)) -> Result<(), LedgerError> {
        self.read_while(after_seq, |recorded| {
            each(recorded);
            ControlFlow::Continue(())
        })
    }

    fn read_while(
        &self,
        after_seq: u64,
        mut each: impl FnMut(Recorded) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let reader = Journal::open_read_only(&self.folder)?;
        let mut failure = None;
        reader.for_each_after(after_seq, |record| match event_of(&record) {
            Ok(recorded) => each(recorded),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Returns the folder of the journal.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn publish(&self, world: World, recorded: Vec<Recorded>) {
        let mut recent = lock(&self.recent);
        recent.extend(recorded);
        let excess = recent.len().saturating_sub(RECENT_RECORDS);
        recent.drain(..excess);
        drop(recent);
        self.world.send_replace(Arc::new(world));
    }

    fn refresh(&self, journal: &Journal) -> Result<(), Problem> {
        let mut world = World::clone(&self.world());
        catch_up(journal, &mut world)
            .map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        self.world.send_replace(Arc::new(world));
        Ok(())
    }

    /// A snapshot that cannot be kept costs time at the next start and nothing else.
    fn keep_snapshot(&self, writer: &mut Writer) {
        let world = self.world();
        if world.seq < writer.snapshot_seq + SNAPSHOT_EVERY {
            return;
        }
        let saved = serde_json::to_vec(&*world).map_err(|error| error.to_string()).and_then(|body| {
            writer.journal.save_snapshot(world.seq, WORLD_FORMAT, &body).map_err(|error| error.to_string())
        });
        match saved {
            Ok(()) => writer.snapshot_seq = world.seq,
            Err(error) => {
                tracing::warn!(error, seq = world.seq, "a snapshot could not be kept");
                writer.snapshot_seq = world.seq;
            }
        }
    }
}

/// Tells whether nothing was recorded of an environment since it was looked at. What is folded in makes a new one.
pub(crate) fn is_as_seen(world: &World, seen: &Arc<Environment>) -> bool {
    world.environment(&seen.name).is_some_and(|newest| Arc::ptr_eq(newest, seen))
}

fn from_snapshot(journal: &Journal) -> Result<(World, u64), LedgerError> {
    let Some(snapshot) = journal.reader().latest_snapshot(WORLD_FORMAT)? else {
        return Ok((World::default(), 0));
    };
    match serde_json::from_slice::<World>(&snapshot.body) {
        Ok(world) if world.seq == snapshot.seq => Ok((world, snapshot.seq)),
        _ => {
            tracing::warn!(
                seq = snapshot.seq,
                "the snapshot is not readable; the journal is folded from its beginning"
            );
            Ok((World::default(), 0))
        }
    }
}

fn catch_up(journal: &Journal, world: &mut World) -> Result<(), LedgerError> {
    let mut failure = None;
    journal.replay(world.seq, |record| {
        let folded = event_of(&record).and_then(|recorded| Ok(world.fold(&recorded)?));
        match folded {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(()), Err)
}

fn event_of(record: &Record) -> Result<Recorded, LedgerError> {
    let event = serde_json::from_str(&record.event)
        .map_err(|source| LedgerError::Event { seq: record.seq, source })?;
    Ok(Recorded { seq: record.seq, at: record.at, actor: record.actor.clone(), event })
}

/// Folds events and all that follows from them into a copy of the world.
fn fold_all(
    world: &World,
    events: Vec<Event>,
    actor: &Actor,
    now: Timestamp,
) -> Result<(World, Vec<Recorded>), Problem> {
    let mut next = world.clone();
    let mut recorded: Vec<Recorded> = Vec::new();
    let mut open: VecDeque<_> = events.into_iter().map(|event| (actor.clone(), event)).collect();
    while let Some((actor, event)) = open.pop_front() {
        if recorded.len() >= MAX_EVENTS {
            return Err(Problem::new(
                ErrorCode::Refused,
                format!("one change of more than {MAX_EVENTS} events"),
            )
            .with_hint("change fewer services at once"));
        }
        let one = Recorded { seq: next.seq + 1, at: now, actor, event };
        next.fold(&one).map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        let follow = consequences(&next, &one.event, now);
        open.extend(follow.into_iter().map(|event| (Actor::lockstep(), event)));
        recorded.push(one);
    }
    Ok((next, recorded))
}

enum Appended {
    Yes,
    OthersFirst,
}

fn append(journal: &mut Journal, seq: u64, recorded: &[Recorded]) -> Result<Appended, Problem> {
    let batch: Result<Vec<_>, _> = recorded
        .iter()
        .map(|one| {
            let event = serde_json::to_string(&one.event)?;
            Ok(NewRecord { at: one.at, actor: one.actor.clone(), event })
        })
        .collect();
    let batch =
        batch.map_err(|error: serde_json::Error| Problem::new(ErrorCode::Internal, error.to_string()))?;
    match journal.append(seq, &batch) {
        Ok(_) => Ok(Appended::Yes),
        Err(AppendError::Conflict { .. }) => Ok(Appended::OthersFirst),
        Err(error) => Err(Problem::new(ErrorCode::Unavailable, format!("nothing was changed: {error}"))
            .with_hint(error.hint())),
    }
}
