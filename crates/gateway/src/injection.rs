//! Faults that requests meet on purpose: an answer without asking anybody, or a pause before it.
//!
//! Invariant: no arm is counted for a request that is aborted, and none is judged by one that is delayed.

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
///
/// # Errors
/// The answer that it gets instead.
pub(crate) fn meet(
    faults: &[Fault],
    request: &Request<'_>,
    random: &Random,
    counts: &FaultCounts,
) -> Result<Option<Duration>, Problem> {
    let now = now();
    let takes = |fault: &&Fault| {
        fault.is_in_force(now)
            && is_meant(fault, request)
            && random.below(FULL_WEIGHT as usize) < fault.share as usize
    };
    match faults.iter().find(takes).map(|fault| (fault.number, fault.does)) {
        None => Ok(None),
        Some((_, Injected::DelayMs(ms))) => {
            counts.delayed.fetch_add(1, Ordering::Relaxed);
            Ok(Some(Duration::from_millis(ms)))
        }
        Some((number, Injected::Abort(status))) => {
            counts.aborted.fetch_add(1, Ordering::Relaxed);
            Err(abort(number, status))
        }
    }
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
