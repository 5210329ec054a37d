//! Clients that keep calling through gateways of their own and check every answer whole: the request's own id, what it
//! sent, and who answered.
//!
//! Nothing is asked twice and nothing is excused here: what a failure means is for `judge` to say.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::service::{self, NAMES};
use crate::http::{Answer, Connection, request};
use crate::paced::{Beat, Paced};

/// How long an answer may take; a person would have given up.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How far a client may fall behind before it gives up the requests it missed.
const LARGEST_LAG: Duration = Duration::from_millis(500);
/// How many different customers there are. Each always carries the same key.
const KEYS: u64 = 200;

/// Milliseconds since 1970, the clock that server and clients of one host share.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who took part in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) mark: u64,
    pub(super) colour: String,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A whole answer to this request, by these.
    Good(Vec<Served>),
    /// An answer that is not to this request, or not whole.
    Wrong(String),
    /// A status that says no.
    Status(u16, String),
    /// No answer.
    Broken(String),
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: u64,
    /// The index of the gateway.
    pub(super) gateway: usize,
    /// The index of the service.
    pub(super) service: usize,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
}

struct Shared {
    gateways: Vec<SocketAddr>,
    next: AtomicU64,
    good: Vec<AtomicU64>,
    records: Mutex<Vec<Record>>,
}

/// Clients that call until they are dropped.
pub(super) struct Callers {
    shared: Arc<Shared>,
    _workers: Paced,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Callers {
    /// Begins to call. The clients are spread over the gateways; every fourth opens a connection for each request.
    pub(super) fn start(gateways: Vec<SocketAddr>, clients: u32, requests_per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            gateways,
            next: AtomicU64::new(1),
            good: (0..clients).map(|_| AtomicU64::new(0)).collect(),
            records: Mutex::default(),
        });
        let interval = Duration::from_secs(1) * clients / requests_per_second.max(1);
        let mut workers = Paced::default();
        for index in 0..clients {
            let (shared, keeps) = (Arc::clone(&shared), index % 4 != 3);
            let mut worker = Worker { shared, index: index as usize, keeps, connection: None };
            let beat = Beat { delay: Duration::ZERO, interval, largest_lag: LARGEST_LAG };
            workers.begin(beat, move || worker.turn());
        }
        Self { shared, _workers: workers }
    }

    /// Takes what has come of requests since it was taken last.
    pub(super) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *lock(&self.shared.records))
    }

    /// Returns how many requests were begun.
    pub(super) fn begun(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// Waits until every client has had a good answer to a request that began after this call.
    pub(super) fn settle(&self) -> Result<()> {
        let (begin, since) = (Instant::now(), now_ms());
        let is_past = |good: &AtomicU64| good.load(Ordering::Relaxed) > since;
        while !self.shared.good.iter().all(is_past) {
            let missing = self.shared.good.iter().filter(|good| !is_past(good)).count();
            ensure!(
                begin.elapsed() < 3 * TIMEOUT,
                "{missing} clients had no good answer for {TIMEOUT:?} three times"
            );
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

struct Worker {
    shared: Arc<Shared>,
    index: usize,
    keeps: bool,
    connection: Option<Connection>,
}

impl Worker {
    fn turn(&mut self) {
        let record = self.call();
        if matches!(record.outcome, Outcome::Good(_)) {
            self.shared.good[self.index].fetch_max(record.began, Ordering::Relaxed);
        }
        lock(&self.shared.records).push(record);
    }

    fn call(&mut self) -> Record {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let gateway = self.index % self.shared.gateways.len();
        let service = usize::try_from(id % NAMES.len() as u64).unwrap_or(0);
        let sent = if method(id) == "POST" { service::fill(id) } else { String::new() };
        let address = self.shared.gateways[gateway];
        let key = format!("x-lockstep-key: customer-{}", id % KEYS);
        let own = format!("x-soak-id: {id}");
        let close: &[&str] = if self.keeps { &[&key, &own] } else { &[&key, &own, "connection: close"] };
        let bytes = request(method(id), &format!("/{}", NAMES[service]), address, close, &sent);
        let began = now_ms();
        let answered = Connection::ask(self.connection.take(), address, TIMEOUT, &bytes);
        let outcome = match answered {
            Ok((answer, open)) => {
                self.connection = Some(open);
                outcome(id, NAMES[service], &sent, &answer)
            }
            Err(error) => Outcome::Broken(error.to_string()),
        };
        Record { id, gateway, service, began, ended: now_ms(), outcome }
    }
}

/// Every fifth request sends something, so that no gateway may ask it twice.
pub(super) const fn method(id: u64) -> &'static str {
    if id.is_multiple_of(5) { "POST" } else { "GET" }
}

/// Looks whether an answer is the one to this request.
fn outcome(id: u64, service: &str, sent: &str, answer: &Answer) -> Outcome {
    let words = || String::from_utf8_lossy(&answer.body).chars().take(400).collect::<String>();
    if answer.status != 200 {
        return Outcome::Status(answer.status, words());
    }
    let Ok(body) = answer.json() else { return Outcome::Wrong(format!("not JSON: {}", words())) };
    let mut served = Vec::new();
    let checked = check(id, service, sent, &body, &mut served).and_then(|()| match &body["called"] {
        Value::Null => Ok(()),
        called => check(id, NAMES[1], "", called, &mut served),
    });
    let by = answer.header("lockstep-version").unwrap_or("nobody");
    match (checked, served.first()) {
        (Err(why), _) => Outcome::Wrong(format!("{why}: {}", words())),
        (Ok(()), Some(first)) if by != format!("{}@{}", first.service, first.version) => {
            Outcome::Wrong(format!("the gateway says that {by} served it: {}", words()))
        }
        (Ok(()), _) => Outcome::Good(served),
    }
}

fn check(id: u64, service: &str, sent: &str, body: &Value, served: &mut Vec<Served>) -> Result<(), String> {
    let expect = |field: &str, wanted: &str| match body[field].as_str() {
        Some(found) if found == wanted => Ok(()),
        found => Err(format!("`{field}` of request {id} is {found:.60?}")),
    };
    expect("id", &id.to_string())?;
    expect("service", service)?;
    expect("sent", sent)?;
    expect("fill", &service::fill(id))?;
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let mark = body["mark"].as_u64().unwrap_or(0);
    served.push(Served {
        service: service.to_owned(),
        version: text("version"),
        mark,
        colour: text("colour"),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(id: u64) -> Value {
        json!({"id": id.to_string(), "service": "back", "version": "1.2.0", "mark": 3, "colour": "red", "sent": "",
               "fill": service::fill(id), "called": null})
    }

    #[test]
    fn an_answer_that_is_somebody_elses_or_not_whole_is_wrong() {
        let mut served = Vec::new();
        assert_eq!(check(7, "back", "", &answer(7), &mut served), Ok(()));
        assert_eq!((served[0].version.as_str(), served[0].mark), ("1.2.0", 3));
        assert!(check(8, "back", "", &answer(7), &mut served).is_err());
        assert!(check(7, "front", "", &answer(7), &mut served).is_err());
        assert!(check(7, "back", "mine", &answer(7), &mut served).is_err());
        let mut cut = answer(7);
        cut["fill"] = "777".into();
        assert!(check(7, "back", "", &cut, &mut served).is_err());
    }
}
