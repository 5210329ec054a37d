//! Which rules take a request, and carrying that to the next hop: what was decided where a request came in holds in the whole
//! chain of calls, as long as the services in it pass on `baggage`, or `traceparent` and `tracestate`.
//!
//! What is carried are the numbers of rules, not what was matched: a header or cookie that a service does not pass on need not be.
//! Invariant: only rules of the table that is served are carried on.

use lockstep_domain::check::CHECK_MARK;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::{SplitRule, SplitTakes};
use lockstep_domain::version_rules::Pattern;

use crate::carried;
use crate::lanes::{self, Entering};
use crate::request::Request;
use crate::table::WorkerTable;

/// The member of `baggage` that carries rules.
const BAGGAGE_MEMBER: &str = "lockstep.rules";
/// The member of `tracestate` that carries rules.
pub(crate) const TRACESTATE_MEMBER: &str = "lockstep-rules";
/// Rules that are read of one request: more than an environment has.
const MAX_CARRIED: usize = 64;

/// Notes the lane that a request is in, and the rules that take it, at most one of each service: what an earlier hop decided, else the first that
/// matches.
pub(crate) fn note(rules: &mut Vec<u64>, table: &WorkerTable, entering: &Entering<'_, '_>, caller: Caller) {
    rules.clear();
    if table.has_no_rules() {
        return;
    }
    let request = entering.request;
    let carried = believed(request, caller);
    rules.extend(lanes::find(table, entering, &carried).map(|seat| seat.id()));
    for service in &table.ruled {
        let known = || service.routes.version_rules.iter().filter(|rule| rule.takes != SplitTakes::Lane);
        let decided = known().find(|rule| carried.contains(&rule.id));
        let first = || known().find(|rule| matches(request, rule));
        rules.extend(decided.or_else(first).map(|rule| rule.id));
    }
    // What a copy causes is told apart from what clients ask, in the whole chain of calls.
    rules.extend(table.mirrors.iter().filter(|id| carried.contains(id)));
    // A proxy passes on what clients say, and nobody is to keep failures from being counted.
    let is_of_check = caller == Caller::Instance && carried.contains(&CHECK_MARK);
    rules.extend(is_of_check.then_some(CHECK_MARK));
}

fn matches(request: &Request<'_>, rule: &SplitRule) -> bool {
    match &rule.takes {
        SplitTakes::Header(pattern) => has_header(request, pattern),
        SplitTakes::Cookie(pattern) => has_cookie(request, pattern),
        SplitTakes::Places(_) | SplitTakes::Lane => false,
    }
}

/// Tells whether a field has the value that is looked for.
pub(crate) fn has_header(request: &Request<'_>, pattern: &Pattern) -> bool {
    let mut values = request.fields_named(&pattern.name);
    values.any(|value| value == pattern.value.as_bytes())
}

/// Tells whether a cookie has the value that is looked for.
pub(crate) fn has_cookie(request: &Request<'_>, pattern: &Pattern) -> bool {
    // Browsers send the one for the longest path first, and that is the one that programs read.
    let first = request.raw_cookies(pattern.name.as_bytes()).next();
    first == Some(pattern.value.as_bytes())
}

/// What an earlier hop decided, as far as it is believed.
pub(crate) fn believed(request: &Request<'_>, caller: Caller) -> Vec<u64> {
    if caller.is_trusted() { carried(request) } else { Vec::new() }
}

/// What an earlier hop decided: in `baggage`, else in `tracestate`.
fn carried(request: &Request<'_>) -> Vec<u64> {
    let found = carried::carried(request, (BAGGAGE_MEMBER, TRACESTATE_MEMBER), Some);
    let list = found.map_or("", |(list, _)| list);
    list.split('.').take(MAX_CARRIED).filter_map(|id| id.parse().ok()).collect()
}

/// Writes the member of `baggage`, with the comma before it.
pub(crate) fn write_baggage(output: &mut Vec<u8>, rules: &[u64]) {
    if !rules.is_empty() {
        output.extend_from_slice(format!(",{BAGGAGE_MEMBER}=").as_bytes());
        write_list(output, rules);
    }
}

/// Writes the member of `tracestate`.
pub(crate) fn write_tracestate(output: &mut Vec<u8>, rules: &[u64]) {
    output.extend_from_slice(TRACESTATE_MEMBER.as_bytes());
    output.push(b'=');
    write_list(output, rules);
}

fn write_list(output: &mut Vec<u8>, rules: &[u64]) {
    for (index, rule) in rules.iter().enumerate() {
        let point = if index == 0 { "" } else { "." };
        output.extend_from_slice(format!("{point}{rule}").as_bytes());
    }
}
