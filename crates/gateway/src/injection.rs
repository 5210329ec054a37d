//! Faults that requests meet on purpose: an answer without asking anybody, or a pause before it.
//!
//! Invariant: no arm is counted for a request that is aborted, and none is judged by one that is delayed. What such requests got, and how
//! long they took, is counted apart.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use lockstep_domain::injection::{Fault, Injected};
use lockstep_domain::routes::FULL_WEIGHT;

use crate::problem::{Own, Problem};
use crate::random::Random;
use crate::request::Request;

/// The header by which a client sees that what it got was injected.
pub(crate) const HEADER: &str = "lockstep-fault";
/// The code of an answer that was injected.
const CODE: &str = "injected_fault";

/// A fault that a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Met {
    /// Its number in the environment.
    pub(crate) number: u32,
    pub(crate) does: Injected,
}

impl Met {
    /// What requests can meet, as metrics name it.
    pub(crate) const KINDS: [&'static str; 2] = ["abort", "delay"];

    /// Returns its place in [`Self::KINDS`].
    pub(crate) const fn index(self) -> usize {
        match self.does {
            Injected::Abort(_) => 0,
            Injected::DelayMs(_) => 1,
        }
    }

    /// Returns how much later an instance is asked.
    pub(crate) const fn delay(self) -> Option<Duration> {
        match self.does {
            Injected::Abort(_) => None,
            Injected::DelayMs(ms) => Some(Duration::from_millis(ms)),
        }
    }

    /// Returns the answer that the request gets instead of one of an instance, where it gets one.
    pub(crate) fn answer(self) -> Option<Problem> {
        match self.does {
            Injected::Abort(status) => Some(abort(self.number, status)),
            Injected::DelayMs(_) => None,
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.does {
            Injected::Abort(status) => write!(f, "aborted on purpose with {status} by fault {}", self.number),
            Injected::DelayMs(ms) => write!(f, "delayed on purpose by {ms} ms by fault {}", self.number),
        }
    }
}

/// How many requests met a fault.
#[derive(Debug, Default)]
pub(crate) struct FaultCounts {
    aborted: AtomicU64,
    delayed: AtomicU64,
}

impl FaultCounts {
    /// Returns what was counted, by what requests met.
    pub(crate) fn read(&self) -> [(&'static str, u64); 2] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("abort", read(&self.aborted)), ("delay", read(&self.delayed))]
    }
}

/// Lets a request meet the first fault of its service that takes it.
pub(crate) fn meet(
    faults: &[Fault],
    request: &Request<'_>,
    random: &Random,
    counts: &FaultCounts,
) -> Option<Met> {
    let now = now();
    let takes = |fault: &&Fault| {
        fault.is_in_force(now)
            && is_meant(fault, request)
            && random.below(FULL_WEIGHT as usize) < fault.share as usize
    };
    let fault = faults.iter().find(takes)?;
    let met = Met { number: fault.number, does: fault.does };
    let count = if met.delay().is_some() { &counts.delayed } else { &counts.aborted };
    count.fetch_add(1, Ordering::Relaxed);
    Some(met)
}

/// Tells whether a request may meet a fault, whatever is drawn.
pub(crate) fn may_meet(fault: &Fault, request: &Request<'_>) -> bool {
    fault.is_in_force(now()) && is_meant(fault, request)
}

fn is_meant(fault: &Fault, request: &Request<'_>) -> bool {
    let Some(pattern) = &fault.header else { return true };
    request.fields_named(&pattern.name).any(|value| value == pattern.value.as_bytes())
}

fn abort(number: u32, status: u16) -> Problem {
    let detail = format!("fault {number} of this environment answers this request; no instance was asked");
    let body =
        serde_json::json!({ "title": "Injected fault", "status": status, "code": CODE, "detail": detail });
    let own = Own {
        status,
        code: CODE,
        body: body.to_string(),
        content_type: "application/problem+json".to_owned(),
        fields: vec![(HEADER.to_owned(), "abort".to_owned())],
    };
    own.into_problem().says(detail)
}

/// A clock that cannot be read is one on which every fault is over.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    Timestamp(since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(u64::MAX))
}
