//! Reads what a `[[route]]` asks for so that a request does not wait for too long.

use std::sync::Arc;

use lockstep_domain::routes::RouteRule;
use lockstep_domain::routes::policy::{Policy, RouteTimeouts};

use super::field::duration;
use crate::reader::{Field, Table};

/// Reads it; what is wrong with it beside the rest of the rule is told where it stands.
pub(super) fn policy(table: &Table<'_>, rule: &RouteRule) -> Option<Arc<Policy>> {
    let field = table.get("timeouts", "timeouts = { head = \"2s\", request = \"10s\" }")?;
    let policy = Policy { timeouts: timeouts(&field)? };
    policy.problems(rule).iter().for_each(|problem| field.wrong(problem));
    (!policy.is_none()).then(|| Arc::new(policy))
}

fn timeouts(field: &Field<'_>) -> Option<RouteTimeouts> {
    let table = field.table()?;
    let timeouts = RouteTimeouts {
        connect_ms: duration(&table, "connect", "connect = \"500ms\""),
        head_ms: duration(&table, "head", "head = \"2s\""),
        idle_ms: duration(&table, "idle", "idle = \"1m\""),
        request_ms: duration(&table, "request", "request = \"10s\""),
    };
    table.finish();
    if timeouts.is_none() {
        field.wrong("it says none of connect, head, idle and request");
    }
    Some(timeouts)
}
