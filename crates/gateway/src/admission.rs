//! What requests are admitted under, and carrying that to the next hop: a request that began before a switch ends where it began, in the whole chain of calls.
//!
//! What comes from outside is admitted here, whatever it says of itself; what an instance sends on belongs to what caused it. Only instances are believed, so
//! nobody from outside can ask for a version that others get no more, and nothing has to be signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_domain::edition::Edition;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::switch::{Admission, MAX_TEXT_BYTES};

use crate::carried;
use crate::request::Request;
use crate::table::WorkerTable;

/// The member of `baggage` that carries it.
const BAGGAGE_MEMBER: &str = "lockstep.admitted";
/// The member of `tracestate` that carries it.
pub(crate) const TRACESTATE_MEMBER: &str = "lockstep-admitted";

/// What a worker admits requests under while it uses a table, and how many of those are under way. Aligned so that no two workers write to one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Admits {
    edition: Edition,
    /// Empty where the table says nothing of switches.
    text: String,
    under_way: AtomicU64,
}

impl Admits {
    pub(crate) fn of(table: &RouteTable) -> Self {
        let now = table.switches.as_ref().and_then(Admission::now);
        let text = now.map(|now| now.to_string()).unwrap_or_default();
        Self { edition: table.edition(), text, under_way: AtomicU64::new(0) }
    }

    /// Returns what requests are admitted under.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether requests are under way that were admitted under it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0
    }

    /// Returns the revision of its table among those of a history; 0 for one of another history.
    pub(crate) fn revision_in(&self, served: &Edition) -> u64 {
        if self.edition.history == served.history { self.edition.revision } else { 0 }
    }
}

/// Counts a request that was admitted here, until it is over.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<Admits>);

impl Admitted {
    fn new(admits: &Arc<Admits>) -> Self {
        admits.under_way.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(admits))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts requests that belong to what is gone, and get what all get now.
#[derive(Debug, Default)]
pub(crate) struct Stragglers(AtomicU64);

impl Stragglers {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Admits a request under the table of the worker, which `newest` returns, and counts it.
pub(crate) fn admit(newest: impl Fn() -> Option<Arc<WorkerTable>>) -> Option<(Arc<WorkerTable>, Admitted)> {
    // Who looks at the counts after a swap must see everybody who was admitted under the table before it.
    loop {
        let table = newest()?;
        let admitted = Admitted::new(&table.admits);
        if newest().is_some_and(|now| Arc::ptr_eq(&now.admits, &table.admits)) {
            return Some((table, admitted));
        }
    }
}

/// What an instance says that its request belongs to.
pub(crate) fn carried<'r>(request: &Request<'r>, caller: Caller) -> Option<&'r str> {
    let read = |text: &'r str| is_text(text).then_some(text);
    let find = || carried::carried(request, (BAGGAGE_MEMBER, TRACESTATE_MEMBER), read);
    (caller == Caller::Instance).then(find)?.map(|(text, _)| text)
}

fn is_text(value: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&value.len()) && value.bytes().all(Admission::has)
}

/// Writes the member of `baggage`, with the comma before it.
pub(crate) fn write_baggage(output: &mut Vec<u8>, admission: &str) {
    if !admission.is_empty() {
        output.push(b',');
        write(output, BAGGAGE_MEMBER, admission);
    }
}

/// Writes the member of `tracestate`.
pub(crate) fn write_tracestate(output: &mut Vec<u8>, admission: &str) {
    write(output, TRACESTATE_MEMBER, admission);
}

fn write(output: &mut Vec<u8>, name: &str, admission: &str) {
    output.extend_from_slice(name.as_bytes());
    output.push(b'=');
    output.extend_from_slice(admission.as_bytes());
}
