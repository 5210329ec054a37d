//! Lines on their way to one collector: logs are followed where they are, and read no faster than the collector takes them.
//!
//! At least once: a position moves when the collector has taken a line, or refused it for good. What a ring of a log has given up
//! meanwhile is lost, because nothing is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_api::types::LogEntry;
use lockstep_domain::{EnvironmentName, InstanceId, Timestamp};
use lockstep_telemetry::{Line, LogCollector, Outcome, SendError, first_batch};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::positions::Positions;
use crate::Control;
use crate::logs::{Follower, Last, Wanted};

/// Lines that wait to be sent.
const QUEUE: usize = 1_000;
/// How long a line waits for others.
const TOGETHER: Duration = Duration::from_millis(500);
/// How often it is looked whether there are new environments, and positions are written down at most.
const LOOK: Duration = Duration::from_secs(1);
/// The pause after the first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A line with where it stands.
struct Heard {
    environment: EnvironmentName,
    entry: LogEntry,
}

impl Control {
    /// Sends what instances write until the server stops.
    pub(super) async fn export_logs(self: Arc<Self>, collector: LogCollector) {
        let positions = Positions::open(&self.config.folder, &collector, self.ledger.now());
        let (sender, receiver) = channel(QUEUE);
        let (seen, since) = (positions.kept.of.clone(), positions.kept.since);
        let followed = Arc::clone(&self).follow_all(seen, since, sender);
        let mut shipping = Shipping {
            control: Arc::clone(&self),
            collector,
            positions,
            waiting: Vec::new(),
            failing: false,
            kept: Instant::now(),
        };
        // From now on it is known since when lines are wanted, also where none is ever taken.
        shipping.keep();
        tokio::join!(followed, shipping.run(receiver));
    }

    /// Follows the logs of all environments, also of those that are made meanwhile.
    async fn follow_all(
        self: Arc<Self>,
        seen: BTreeMap<InstanceId, Last>,
        since: Timestamp,
        sender: Sender<Heard>,
    ) {
        let (mut known, mut followers) = (BTreeSet::new(), JoinSet::new());
        loop {
            let world = self.ledger.world();
            known.retain(|name| world.environments.contains_key(name));
            for name in
                world.environments.keys().filter(|name| !known.contains(*name)).cloned().collect::<Vec<_>>()
            {
                let (lines, heard) = channel(1);
                let follower = Follower {
                    control: Arc::clone(&self),
                    wanted: Wanted::all_of(name.clone(), since),
                    seen: seen.clone(),
                    began: Timestamp(0),
                    sender: lines,
                    ended: true,
                };
                followers.spawn(follower.run());
                followers.spawn(pass_on(name.clone(), heard, sender.clone()));
                known.insert(name);
            }
            while followers.try_join_next().is_some() {}
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

async fn pass_on(environment: EnvironmentName, mut heard: Receiver<LogEntry>, sender: Sender<Heard>) {
    while let Some(entry) = heard.recv().await {
        if sender.send(Heard { environment: environment.clone(), entry }).await.is_err() {
            return;
        }
    }
}

/// Sending to one collector.
struct Shipping {
    control: Arc<Control>,
    collector: LogCollector,
    positions: Positions,
    waiting: Vec<(InstanceId, Line)>,
    /// Whether the last batch was not taken, which has been said.
    failing: bool,
    kept: Instant,
}

impl Shipping {
    async fn run(mut self, mut receiver: Receiver<Heard>) {
        while self.take(&mut receiver).await {
            while !self.waiting.is_empty() {
                if !self.ship().await {
                    return;
                }
            }
        }
        self.keep();
    }

    /// Takes lines until there are enough or none came for a moment; tells whether there may be more.
    async fn take(&mut self, receiver: &mut Receiver<Heard>) -> bool {
        let stop = self.control.stop.clone();
        let first = tokio::select! {
            () = stop.cancelled() => return false,
            first = receiver.recv() => first,
        };
        let Some(first) = first else { return false };
        self.waiting.push(line(first));
        let until = tokio::time::Instant::now() + TOGETHER;
        while self.waiting.len() < QUEUE {
            let Ok(Some(heard)) = tokio::time::timeout_at(until, receiver.recv()).await else { break };
            self.waiting.push(line(heard));
        }
        // Lines of one instance stand together, each in its order.
        self.waiting.sort_by(|(one, _), (other, _)| one.cmp(other));
        true
    }

    /// Sends the first batch of what waits, again and again until it is taken or refused; tells whether to go on.
    async fn ship(&mut self) -> bool {
        let lines: Vec<Line> = self.waiting.iter().map(|(_, line)| line.clone()).collect();
        let (mut count, mut pause) = (first_batch(&lines), FIRST_PAUSE);
        loop {
            let error = match self.collector.send(&lines[..count]).await {
                Outcome::Taken { rejected, why } => {
                    self.settle(count, rejected, &why);
                    return true;
                }
                Outcome::TooLarge(_) if count > 1 => {
                    count /= 2;
                    continue;
                }
                Outcome::TooLarge(error) | Outcome::Never(error) => {
                    self.settle(count, count as u64, &error.why());
                    return true;
                }
                Outcome::Later(error) => error,
            };
            self.fails(&error);
            let waits = error.pause(pause, LONGEST_PAUSE);
            if timeout(waits, self.control.stop.cancelled()).await.is_ok() {
                self.keep();
                return false;
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn fails(&mut self, error: &SendError) {
        if !std::mem::replace(&mut self.failing, true) {
            let collector = self.collector.collector();
            let (address, path, why) = (collector.address(), collector.path(), error.why());
            let hint = error.hint(collector);
            tracing::warn!(collector = %address, path, why, hint, "lines of logs are not taken by their collector");
        }
    }

    /// Lines are there, or will never be: their positions move.
    fn settle(&mut self, count: usize, rejected: u64, why: &str) {
        let rejected = rejected.min(count as u64);
        let collector = self.collector.collector().address();
        if rejected > 0 {
            tracing::warn!(%collector, rejected, why, "the collector did not take all lines of logs");
        } else if std::mem::take(&mut self.failing) {
            tracing::info!(%collector, "lines of logs are taken by their collector again");
        }
        self.control.exported_lines.count(count as u64 - rejected, rejected);
        for (id, line) in self.waiting.drain(..count) {
            let last = self.positions.kept.of.entry(id).or_insert((Timestamp(0), 0));
            *last = if last.0.0 == line.at_ms { (last.0, last.1 + 1) } else { (Timestamp(line.at_ms), 1) };
        }
        if self.kept.elapsed() >= LOOK {
            self.keep();
        }
    }

    fn keep(&mut self) {
        self.kept = Instant::now();
        let known = self.control.known_instances().into_iter().map(|instance| instance.id);
        let waiting = self.waiting.iter().map(|(id, _)| id.clone());
        let present = known.chain(waiting).collect();
        if let Err(error) = tokio::task::block_in_place(|| self.positions.keep(&present)) {
            tracing::warn!(%error, "how far logs were sent could not be kept: lines may be sent twice");
        }
    }
}

fn line(Heard { environment, entry }: Heard) -> (InstanceId, Line) {
    let line = Line {
        at_ms: entry.at.0,
        environment: environment.to_string(),
        service: entry.service.to_string(),
        version: entry.version.to_string(),
        instance: entry.instance.to_string(),
        host: entry.host.map(|host| host.to_string()),
        source: entry.source,
        text: entry.text,
        level: entry.level,
        trace: entry.trace,
    };
    (entry.instance, line)
}
