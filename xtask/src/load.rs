//! A client that keeps calling and remembers every answer: when it was asked for, when it was there, who gave it.
//!
//! It asks nothing twice and excuses nothing: whatever is not the expected status with a whole body counts as failed.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::http::{Answer, Connection, request};
use crate::paced::{Beat, Paced};

/// How long an answer may take; a person would have given up.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How far a worker may fall behind its schedule before it gives up the requests it missed.
const LARGEST_LAG: Duration = Duration::from_secs(1);
/// Failures whose words are kept; the others are only counted.
const KEPT_FAILURES: usize = 20;
/// How many different customers there are. Each always carries the same key.
const KEYS: u64 = 200;

/// A kind of request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// How often it is sent, beside the others.
    pub(crate) weight: usize,
    /// Its method.
    pub(crate) method: &'static str,
    /// Its path.
    pub(crate) path: &'static str,
    /// Its body; empty for none.
    pub(crate) body: &'static str,
    /// The only status that is not a failure.
    pub(crate) expected: u16,
}

/// Where requests go, and which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The kinds of requests.
    pub(crate) kinds: &'static [Kind],
    /// Who gave an answer.
    pub(crate) served_by: fn(&Answer) -> Option<String>,
}

/// Returns the version that the gateway names in an answer, such as `orders@1.4.0`.
pub(crate) fn version(answer: &Answer) -> Option<String> {
    answer.header("lockstep-version").map(str::to_owned)
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Workers that keep their connection.
    pub(crate) kept: usize,
    /// Workers that open a new connection for every request.
    pub(crate) fresh: usize,
    /// Requests a second of all workers.
    pub(crate) requests_per_second: u32,
}

/// An answer, or what came instead of one.
#[derive(Debug, Clone, Copy)]
struct Record {
    began: Instant,
    ended: Instant,
    /// An index into the labels; `None` when nobody is named.
    served_by: Option<usize>,
    shielded: bool,
    failed: bool,
}

/// What came of all requests so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Requests whose end is known.
    pub(crate) requests: usize,
    /// Those that failed.
    pub(crate) failed: usize,
    /// Those whose first answer was bad and that the gateway asked again of another version.
    pub(crate) shielded: usize,
}

/// The last answer of a version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastAnswer {
    /// When the last request began that it answered.
    pub(crate) began: Instant,
    /// When its last answer was complete.
    pub(crate) ended: Instant,
}

struct Shared {
    target: Mutex<Target>,
    labels: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
    records: Vec<Mutex<Vec<Record>>>,
}

/// A client that calls until it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    _workers: Paced,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Begins to call.
    pub(crate) fn start(target: Target, pace: Pace) -> Self {
        Self::start_within(target, pace, None)
    }

    /// Begins to call from within another network, where one is given.
    pub(crate) fn start_within(target: Target, pace: Pace, network: Option<&Arc<File>>) -> Self {
        let count = pace.kept + pace.fresh;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            labels: Mutex::default(),
            failures: Mutex::default(),
            records: (0..count).map(|_| Mutex::default()).collect(),
        });
        let interval = Duration::from_secs(1) * u32::try_from(count).unwrap_or(1) / pace.requests_per_second;
        let mut workers = Paced::default();
        for index in 0..count {
            let offset = interval / u32::try_from(count).unwrap_or(1) * u32::try_from(index).unwrap_or(0);
            let mut worker = Worker {
                shared: Arc::clone(&shared),
                index,
                keeps: index < pace.kept,
                connection: None,
                // Workers begin at different customers and different kinds of requests.
                turn: index * 7,
                network: network.cloned(),
            };
            workers.begin(Beat { delay: offset, interval, largest_lag: LARGEST_LAG }, move || worker.call());
        }
        Self { shared, _workers: workers }
    }

    /// Sends all further requests elsewhere, and returns when none is under way to where they went before.
    pub(crate) fn redirect(&self, target: Target) -> Result<()> {
        *lock(&self.shared.target) = target;
        self.settle()
    }

    /// Waits until every request that was under way is over, and every worker has had another answer since.
    pub(crate) fn settle(&self) -> Result<()> {
        let now = Instant::now();
        let is_past =
            |records: &Mutex<Vec<Record>>| lock(records).last().is_some_and(|last| last.began > now);
        while !self.shared.records.iter().all(is_past) {
            ensure!(now.elapsed() < 2 * TIMEOUT, "the client got no answer for {} s", 2 * TIMEOUT.as_secs());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Returns what came of all requests so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals_since(None)
    }

    /// Returns what came of the requests that began after a point in time.
    pub(crate) fn totals_after(&self, since: Instant) -> Totals {
        self.totals_since(Some(since))
    }

    fn totals_since(&self, since: Option<Instant>) -> Totals {
        let mut totals = Totals::default();
        self.each(|record| {
            if since.is_none_or(|since| record.began > since) {
                totals.requests += 1;
                totals.failed += usize::from(record.failed);
                totals.shielded += usize::from(record.shielded);
            }
        });
        totals
    }

    /// Returns the last answer of a version such as `orders@1.4.0` that was complete after a point in time.
    pub(crate) fn last_answer(&self, label: &str, since: Instant) -> Option<LastAnswer> {
        let wanted = self.label(label)?;
        let mut last: Option<LastAnswer> = None;
        self.each(|record| {
            if record.served_by == Some(wanted) && record.ended > since {
                let before = last.unwrap_or(LastAnswer { began: record.began, ended: record.ended });
                last = Some(LastAnswer {
                    began: before.began.max(record.began),
                    ended: before.ended.max(record.ended),
                });
            }
        });
        last
    }

    /// Counts the answers of each version to requests that began after a point in time.
    pub(crate) fn answers_after(&self, since: Instant) -> BTreeMap<String, usize> {
        let labels = lock(&self.shared.labels).clone();
        let mut counts = BTreeMap::new();
        self.each(|record| {
            if let Some(label) = record.served_by.filter(|_| record.began > since) {
                *counts.entry(labels[label].clone()).or_default() += 1;
            }
        });
        counts
    }

    /// Returns the first failures in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        lock(&self.shared.failures).clone()
    }

    fn label(&self, label: &str) -> Option<usize> {
        lock(&self.shared.labels).iter().position(|known| known == label)
    }

    fn each(&self, mut each: impl FnMut(&Record)) {
        for records in &self.shared.records {
            lock(records).iter().for_each(&mut each);
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    index: usize,
    keeps: bool,
    connection: Option<(SocketAddr, Connection)>,
    turn: usize,
    /// Where its thread has to go first.
    network: Option<Arc<File>>,
}

impl Worker {
    /// Sends the next request and records what came of it.
    fn call(&mut self) {
        if let Some(network) = self.network.take() {
            let moved = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
            moved.expect("only root boots hosts, and root may go into their networks");
        }
        let target = *lock(&self.shared.target);
        let kind = kind(target.kinds, self.turn);
        let key = format!("x-lockstep-key: customer-{}", customer(self.turn, self.index));
        self.turn += 1;
        let close: &[&str] = if self.keeps { &[&key] } else { &[&key, "connection: close"] };
        let request = request(kind.method, kind.path, target.address, close, kind.body);
        let kept = self.connection.take().filter(|(address, _)| *address == target.address);
        let began = Instant::now();
        let answered = Connection::ask(kept.map(|(_, kept)| kept), target.address, TIMEOUT, &request);
        let ended = Instant::now();
        let mut record = Record { began, ended, served_by: None, shielded: false, failed: true };
        match answered {
            Ok((answer, open)) => {
                record.served_by = (target.served_by)(&answer).map(|label| self.number(&label));
                record.shielded = answer.header("lockstep-shielded").is_some();
                record.failed = answer.status != kind.expected;
                if record.failed {
                    let body = String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
                    self.fail(&kind, &format!("status {}: {body}", answer.status));
                }
                self.connection = Some((target.address, open));
            }
            Err(error) => self.fail(&kind, &error.to_string()),
        }
        lock(&self.shared.records[self.index]).push(record);
    }

    fn number(&self, label: &str) -> usize {
        let mut labels = lock(&self.shared.labels);
        labels.iter().position(|known| known == label).unwrap_or_else(|| {
            labels.push(label.to_owned());
            labels.len() - 1
        })
    }

    fn fail(&self, kind: &Kind, why: &str) {
        let mut failures = lock(&self.shared.failures);
        if failures.len() < KEPT_FAILURES {
            failures.push(format!("{} {}: {why}", kind.method, kind.path));
        }
    }
}

/// Chooses the customer of a turn, so that every customer sends every kind of request (a Fibonacci hash).
fn customer(turn: usize, worker: usize) -> u64 {
    let mixed = ((turn * 64 + worker) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) % KEYS
}

/// Chooses the kind of a turn: all kinds come in turn, as often as they weigh.
fn kind(kinds: &[Kind], turn: usize) -> Kind {
    let total: usize = kinds.iter().map(|kind| kind.weight).sum();
    let mut place = turn % total.max(1);
    for kind in kinds {
        if place < kind.weight {
            return *kind;
        }
        place -= kind.weight;
    }
    kinds[0]
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    const KINDS: &[Kind] = &[
        Kind { weight: 3, method: "GET", path: "/good", body: "", expected: 200 },
        Kind { weight: 1, method: "GET", path: "/bad", body: "", expected: 200 },
    ];

    /// Answers /bad with 500 and everything else with 200, always as `echo@1.0.0`.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut writer = stream;
                    let mut head = String::new();
                    while reader.read_line(&mut head).is_ok_and(|read| read > 0) {
                        if head.ends_with("\r\n\r\n") {
                            let status = if head.starts_with("GET /bad") { 500 } else { 200 };
                            let answer = format!(
                                "HTTP/1.1 {status} x\r\nlockstep-version: echo@1.0.0\r\ncontent-length: 2\r\n\r\nok"
                            );
                            let _ = writer.write_all(answer.as_bytes());
                            head.clear();
                        }
                    }
                });
            }
        });
        address
    }

    #[test]
    fn kinds_come_as_often_as_they_weigh() {
        let bad = (0..40).filter(|&turn| kind(KINDS, turn).path == "/bad").count();
        assert_eq!(bad, 10);
    }

    #[test]
    fn every_customer_sends_every_kind() {
        for remainder in 0..4 {
            let turns = (0..8_000).filter(|turn| turn % 4 == remainder);
            let customers: std::collections::BTreeSet<_> = turns.map(|turn| customer(turn, 1)).collect();
            assert_eq!(customers.len() as u64, KEYS);
        }
    }

    #[test]
    fn every_answer_is_counted_with_who_gave_it() {
        let pace = Pace { kept: 1, fresh: 1, requests_per_second: 2_000 };
        let begin = Instant::now();
        let load = Load::start(Target { address: server(), kinds: KINDS, served_by: version }, pace);
        while load.totals().failed == 0 || load.totals().requests < 20 {
            load.settle().unwrap();
        }
        assert!(load.failures()[0].starts_with("GET /bad: status 500"), "{:?}", load.failures());
        let totals = load.totals();
        assert!(totals.requests > totals.failed, "{totals:?}");
        assert!(load.answers_after(begin)["echo@1.0.0"] >= 20);
        let last = load.last_answer("echo@1.0.0", begin).unwrap();
        assert!(last.began < last.ended);
        assert!(load.last_answer("echo@2.0.0", begin).is_none());
        let other = server();
        load.redirect(Target { address: other, kinds: &KINDS[..1], served_by: version }).unwrap();
        let since = Instant::now();
        load.settle().unwrap();
        assert_eq!(load.totals_after(since).failed, 0);
    }
}
