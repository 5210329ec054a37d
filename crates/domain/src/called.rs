//! What versions ask of each other, as gateways see it: which version called which operation of which, how often, and whether it passed
//! on for whom it calls.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::Entries;
use crate::instance::Arm;
use crate::mirror::told_path;
use crate::name::ServiceName;
use crate::version::VersionNumber;
use crate::world::World;

/// Longest name of an operation that is kept.
const MAX_OPERATION: usize = 200;
/// What an operation is called that is one too many, or has no name that can be told.
pub const OTHER_OPERATIONS: &str = "*";

/// A version that calls an operation of another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// Who calls.
    pub caller: Arm,
    /// Who answers.
    pub callee: Arm,
    /// What is asked for, without what may be an id or a secret: `GET /orders/*`, or `/shop.Orders/Place` of gRPC; `*` for all that has no
    /// name of its own.
    pub operation: String,
}

/// How often something was called, and what the calls carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CallCounts {
    /// Calls that are over.
    pub requests: u64,
    /// Those that failed: a status of 500 or more, or no answer.
    pub failures: u64,
    /// Those that carried in `baggage` for whom they are made.
    pub in_baggage: u64,
    /// Those that carried it in `tracestate` alone.
    pub in_tracestate: u64,
    /// Those that carried a trace and nothing else: of whom the key is the trace's id, nothing more is to be seen.
    #[serde(default)]
    pub in_trace: u64,
}

impl CallCounts {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: Self) {
        let Self { requests, failures, in_baggage, in_tracestate, in_trace } = self;
        *requests = requests.saturating_add(more.requests);
        *failures = failures.saturating_add(more.failures);
        *in_baggage = in_baggage.saturating_add(more.in_baggage);
        *in_tracestate = in_tracestate.saturating_add(more.in_tracestate);
        *in_trace = in_trace.saturating_add(more.in_trace);
    }

    /// Returns those that carried nothing.
    #[must_use]
    pub fn bare(&self) -> u64 {
        self.requests
            .saturating_sub(self.in_baggage)
            .saturating_sub(self.in_tracestate)
            .saturating_sub(self.in_trace)
    }

    /// Returns how well the caller passes on for whom it calls.
    #[must_use]
    pub fn passing(&self) -> Passing {
        let bare = self.bare();
        match self {
            Self { requests: 0, .. } => Passing::Unknown,
            Self { requests, .. } if bare == *requests => Passing::Nothing,
            _ if bare > 0 => Passing::Partly,
            // Who passes on `baggage` finds some in every request.
            Self { in_baggage: 1.., in_trace: 1.., .. } => Passing::Partly,
            Self { in_tracestate: 1.., .. } => Passing::Tracestate,
            Self { in_baggage: 1.., .. } => Passing::Baggage,
            _ => Passing::Trace,
        }
    }

    /// Returns the counts as far as they can be true of one report.
    #[must_use]
    pub fn bounded(self, most: u64) -> Self {
        let requests = self.requests.min(most);
        let in_baggage = self.in_baggage.min(requests);
        let in_tracestate = self.in_tracestate.min(requests - in_baggage);
        let in_trace = self.in_trace.min(requests - in_baggage - in_tracestate);
        Self { requests, failures: self.failures.min(requests), in_baggage, in_tracestate, in_trace }
    }
}

/// How well a version passes on for whom it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passing {
    /// All of its calls carried `baggage`.
    Baggage,
    /// All carried it, some of them in `tracestate` alone, which says so only while something is switched.
    Tracestate,
    /// All carried a trace, and nothing that says whether `tracestate` is passed on: what called it had lost the key.
    Trace,
    /// Some calls carried nothing: they are made by themselves, or a way through the code loses it.
    Partly,
    /// No call carried anything.
    Nothing,
    /// Nobody saw it call.
    Unknown,
}

/// Calls of one kind, and how often they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Called {
    /// Who called what.
    #[serde(flatten)]
    pub call: Call,
    /// How often.
    #[serde(flatten)]
    pub counts: CallCounts,
}

/// An operation of a version that clients ask for: whoever comes from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ClientCall {
    /// Who answers.
    pub callee: Arm,
    /// What is asked for, as in [`Call::operation`]; what nobody knew (404, 405) has no name of its own.
    pub operation: String,
}

/// How often clients asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ClientCounts {
    /// Requests that are over.
    pub requests: u64,
    /// Those that failed: a status of 500 or more, or no answer.
    pub failures: u64,
}

impl ClientCounts {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.failures = self.failures.saturating_add(more.failures);
    }

    /// Returns the counts as far as they can be true of one report.
    #[must_use]
    pub fn bounded(self, most: u64) -> Self {
        let requests = self.requests.min(most);
        Self { requests, failures: self.failures.min(requests) }
    }
}

/// Requests of clients of one kind, and how often they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalledByClients {
    /// What was asked for.
    #[serde(flatten)]
    pub call: ClientCall,
    /// How often.
    #[serde(flatten)]
    pub counts: ClientCounts,
}

/// What clients asked for.
pub type ClientCalls = BTreeMap<ClientCall, ClientCounts>;

/// Calls by who called what.
pub type Calls = BTreeMap<Call, CallCounts>;

/// Returns the name of an operation: method and path as far as it can be told, or the method of gRPC.
#[must_use]
pub fn operation(method: &str, path: &str, is_grpc: bool) -> String {
    let name =
        if is_grpc && is_grpc_path(path) { path.to_owned() } else { format!("{method} {}", told_path(path)) };
    if is_operation(&name) { name } else { OTHER_OPERATIONS.to_owned() }
}

/// Tells whether a text can be the name of an operation.
#[must_use]
pub fn is_operation(name: &str) -> bool {
    (1..=MAX_OPERATION).contains(&name.len()) && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn is_grpc_path(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
    };
    matches!(&parts[..], ["", service, method] if is_word(service) && is_word(method))
}

/// A version that calls others, and how well it passes on for whom it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The service.
    pub service: ServiceName,
    /// Its version.
    pub version: VersionNumber,
    /// How well.
    pub passes: Passing,
    /// All of its calls that were seen.
    pub counts: CallCounts,
}

/// Lists who calls: every version that was seen calling, and of `entries` those that require others and were not. Configurations of a
/// version are one.
#[must_use]
pub fn callers(world: &World, entries: Option<&Entries>, calls: &Calls) -> Vec<Caller> {
    let mut sums: BTreeMap<(&ServiceName, &VersionNumber), CallCounts> = BTreeMap::new();
    for (service, entry) in entries.into_iter().flatten() {
        let version = world.find_version(service, &entry.version);
        if version.is_some_and(|version| world.requirements(version).next().is_some()) {
            sums.entry((service, &entry.version)).or_default();
        }
    }
    for (call, counts) in calls {
        sums.entry((&call.caller.service, &call.caller.version)).or_default().add(*counts);
    }
    let caller = |((service, version), counts): ((&ServiceName, &VersionNumber), CallCounts)| Caller {
        service: service.clone(),
        version: version.clone(),
        passes: counts.passing(),
        counts,
    };
    sums.into_iter().map(caller).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_say_nothing_of_whom_they_are_about() {
        assert_eq!(operation("GET", "/orders/4711", false), "GET /orders/*");
        assert_eq!(operation("POST", "/v1/orders", false), "POST /v1/orders");
        assert_eq!(operation("POST", "/shop.v1.Orders/Place", true), "/shop.v1.Orders/Place");
        assert_eq!(operation("POST", "/shop.v1.Orders/Place/ann", true), "POST /*/*/*");
        assert_eq!(operation("GET", &format!("/{}", "a/".repeat(300)), false), OTHER_OPERATIONS);
        assert_eq!(operation("GÄT", "/", false), OTHER_OPERATIONS);
    }

    #[test]
    fn one_call_that_carries_nothing_is_seen() {
        let counts = |requests, in_baggage, in_tracestate, in_trace| CallCounts {
            requests,
            failures: 0,
            in_baggage,
            in_tracestate,
            in_trace,
        };
        assert_eq!(counts(0, 0, 0, 0).passing(), Passing::Unknown);
        assert_eq!(counts(7, 7, 0, 0).passing(), Passing::Baggage);
        assert_eq!(counts(7, 6, 1, 0).passing(), Passing::Tracestate);
        assert_eq!(
            counts(7, 0, 3, 4).passing(),
            Passing::Tracestate,
            "of a chain that had lost the key before"
        );
        assert_eq!(counts(7, 6, 0, 0).passing(), Passing::Partly);
        assert_eq!(counts(7, 6, 0, 1).passing(), Passing::Partly);
        assert_eq!(counts(7, 0, 0, 7).passing(), Passing::Trace);
        assert_eq!(counts(7, 0, 0, 0).passing(), Passing::Nothing);
        assert_eq!(counts(9, 8, 7, 6).bounded(5), counts(5, 5, 0, 0), "more cannot be");
    }
}
