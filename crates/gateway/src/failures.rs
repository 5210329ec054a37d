//! The error log of instances: what fails is said at once, and then once a second with how often.
//!
//! Nothing is written on the way of a request that succeeds. A thousand failures of one cause are a line a second, and what
//! there is to remember is bounded.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockstep_domain::EnvironmentName;

/// How often one cause is said.
const EVERY: Duration = Duration::from_secs(1);
/// Causes that are told apart at once; others are counted together.
const MAX_CAUSES: usize = 512;

/// Why an instance gave no answer, or no good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It accepts no connection.
    Unreachable,
    /// It closed the connection, or said what is not HTTP.
    Broken,
    /// It said nothing in time.
    Silent,
    /// It broke off in the middle of its answer.
    BrokenOff,
    /// It answered with a status of 500 or more.
    Failed,
}

impl Cause {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::BrokenOff => "broken_off",
            Self::Failed => "failed",
        }
    }
}

type Key = (String, SocketAddr, Cause);

/// The failures of one environment's instances.
#[derive(Debug)]
pub(crate) struct FailureLog {
    environment: EnvironmentName,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    causes: BTreeMap<Key, Occurrence>,
    totals: BTreeMap<(String, Cause), u64>,
}

#[derive(Debug)]
struct Occurrence {
    said: Instant,
    /// Failures since then.
    unsaid: u64,
    detail: String,
    /// The last request that failed so.
    request: String,
}

impl FailureLog {
    pub(crate) fn new(environment: EnvironmentName) -> Self {
        Self { environment, seen: Mutex::default() }
    }

    /// Notes that an instance of a version failed, and the request that it failed, where it is one.
    pub(crate) fn note(
        &self,
        version: &str,
        instance: SocketAddr,
        cause: Cause,
        (detail, request): (&dyn Display, &str),
    ) {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.count(version, cause);
        let key = (version.to_owned(), instance, cause);
        if let Some(known) = seen.causes.get_mut(&key) {
            known.unsaid += 1;
            request.clone_into(&mut known.request);
            return;
        }
        if seen.causes.len() >= MAX_CAUSES {
            return;
        }
        let (detail, request) = (detail.to_string(), request.to_owned());
        self.say(&key, 1, (&detail, &request));
        seen.causes.insert(key, Occurrence { said: now, unsaid: 0, detail, request });
    }

    /// Says what has come up since it was last said; to be called every second.
    pub(crate) fn flush(&self, now: Instant) {
        let mut seen = self.seen();
        for (key, occurrence) in &mut seen.causes {
            if occurrence.unsaid > 0 && now.duration_since(occurrence.said) >= EVERY {
                let about = (occurrence.detail.as_str(), occurrence.request.as_str());
                self.say(key, std::mem::take(&mut occurrence.unsaid), about);
                occurrence.said = now;
            }
        }
        seen.causes
            .retain(|_, occurrence| occurrence.unsaid > 0 || now.duration_since(occurrence.said) < EVERY);
    }

    /// Returns how often the versions failed, by cause.
    pub(crate) fn totals(&self) -> BTreeMap<(String, Cause), u64> {
        self.seen().totals.clone()
    }

    fn say(&self, (version, instance, cause): &Key, count: u64, (detail, request): (&str, &str)) {
        let (environment, cause) = (&self.environment, cause.word());
        let request_id = Some(request).filter(|request| !request.is_empty());
        tracing::warn!(%environment, version, %instance, cause, count, detail, request_id, "an instance failed requests");
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn count(&mut self, version: &str, cause: Cause) {
        let known = self.totals.len();
        match self.totals.get_mut(&(version.to_owned(), cause)) {
            Some(total) => *total += 1,
            None if known < MAX_CAUSES => drop(self.totals.insert((version.to_owned(), cause), 1)),
            None => {}
        }
    }
}
