//! How important a request is: who says that, and carrying it to the next hop.
//!
//! The field `lockstep-priority` is for who sends a request and is believed, and for the instance that gets it. It is a word of its own: `priority`
//! (RFC 9218) is what browsers send with everything, about the order of their answers. Along a chain of calls it goes in `baggage` and `tracestate`,
//! which services pass on already; what is normal is not written.

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::priority::Priority;
use lockstep_domain::routes::RouteRule;

use crate::carried::{self, Place};
use crate::field::Field;
use crate::request::Request;

/// The field that says it.
pub(crate) const FIELD: &str = "lockstep-priority";
/// The member of `baggage` that carries it.
const BAGGAGE_MEMBER: &str = "lockstep.priority";
/// The member of `tracestate` that carries it.
pub(crate) const TRACESTATE_MEMBER: &str = "lockstep-priority";

/// Who says how important a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Said {
    /// The caller, in the field of this name.
    Caller(&'static str),
    /// Its route.
    Route,
    #[default]
    Nobody,
}

/// Finds the priority of a request, and who says it.
pub(crate) fn of(request: &Request<'_>, caller: Caller, rule: Option<&RouteRule>) -> (Priority, Said) {
    let by_caller = || carried(request).map(|(priority, field)| (priority, Said::Caller(field)));
    let said = if caller.is_trusted() { by_caller() } else { None };
    let by_route = || Some((rule?.policy.as_ref()?.priority?, Said::Route));
    said.or_else(by_route).unwrap_or((Priority::Normal, Said::Nobody))
}

/// Returns what the caller says, as its own word or as that of who called it. A word that is none says nothing.
fn carried(request: &Request<'_>) -> Option<(Priority, &'static str)> {
    let own = || request.values(Field::Priority).find_map(|value| value.trim().parse().ok());
    let of = |field| move |priority| (priority, field);
    let carried = || {
        let found = carried::carried(request, (BAGGAGE_MEMBER, TRACESTATE_MEMBER), |text| text.parse().ok());
        found.map(|(priority, place)| match place {
            Place::Baggage => (priority, "baggage"),
            Place::Tracestate => (priority, "tracestate"),
        })
    };
    own().map(of(FIELD)).or_else(carried)
}

/// Writes the member of `baggage`, with the comma before it.
pub(crate) fn write_baggage(output: &mut Vec<u8>, priority: Priority) {
    if !priority.is_usual() {
        output.extend_from_slice(format!(",{BAGGAGE_MEMBER}={}", priority.word()).as_bytes());
    }
}

/// Writes the member of `tracestate`.
pub(crate) fn write_tracestate(output: &mut Vec<u8>, priority: Priority) {
    output.extend_from_slice(format!("{TRACESTATE_MEMBER}={}", priority.word()).as_bytes());
}
