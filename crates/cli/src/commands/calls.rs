//! `lockstep calls`: which version called which operation of which, and what clients asked for.

use lockstep_api::types::CallsView;
use lockstep_domain::called::{CallCounts, Called, CalledByClients};
use lockstep_domain::{EnvironmentName, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;

/// Longest cell of a table.
const LONGEST_CELL: usize = 60;

/// Shows what was called while a baseline was current: which version, or `clients`, which operation of which version, how often.
///
/// A version calls by the addresses that Lockstep gives an instance for each service that it requires (LOCKSTEP_URL_NAME), as requests of HTTP or
/// gRPC; `clients` are all who come from outside. A path is shown up to its first name: what stands behind may be an id or a secret; what the version
/// answered with 404 or 405 is one operation, `*`. Kept are the last
/// 20 baselines; what a server counted in the last half minute before it was killed is lost.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep calls production
  lockstep calls production orders
  lockstep calls production --baseline 17 --json")]
pub(crate) struct Args {
    /// The environment.
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// Only what this service calls, and who calls it.
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// While this baseline was current; the present one when left out.
    #[arg(long, value_name = "N")]
    baseline: Option<u64>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let mut view = ctx.client.calls(&self.environment, self.baseline)?;
        if let Some(service) = &self.service {
            view.calls
                .retain(|it| [&it.call.caller, &it.call.callee].iter().any(|arm| arm.service == *service));
            view.clients.retain(|it| it.call.callee.service == *service);
            view.callers.retain(|it| it.service == *service);
            if view.calls.is_empty() && view.clients.is_empty() {
                // Of one that there is not nothing is ever seen.
                ctx.client.service(service)?;
            }
        }
        ctx.out.show(&view, render)
    }
}

fn render(view: &CallsView, style: &Style) -> String {
    let CallsView { environment, baseline, .. } = view;
    if view.calls.is_empty() && view.clients.is_empty() {
        return format!(
            "no call was seen in {environment} while baseline {baseline} was current\n\
             {} lockstep propagation check {environment}: sends requests and shows who calls\n",
            style.strong("hint:")
        );
    }
    let since = view.since.map(|since| format!(", first {}", style.ago(since))).unwrap_or_default();
    let until = view.until.map(|until| format!(", last {}", style.ago(until))).unwrap_or_default();
    let mut table =
        Table::new(["CALLER", "CALLS", "OPERATION", "REQUESTS", "FAILED", "FOR WHOM"]).wrapped(LONGEST_CELL);
    view.clients.iter().for_each(|called| table.row(client_row(called)));
    view.calls.iter().for_each(|called| table.row(row(called)));
    format!("{environment}, baseline {baseline}{since}{until}\n{}", table.render(style))
}

fn client_row(CalledByClients { call, counts }: &CalledByClients) -> [String; 6] {
    [
        "clients".to_owned(),
        call.callee.version_ref().to_string(),
        call.operation.clone(),
        counts.requests.to_string(),
        counts.failures.to_string(),
        "-".to_owned(),
    ]
}

fn row(Called { call, counts }: &Called) -> [String; 6] {
    [
        call.caller.version_ref().to_string(),
        call.callee.version_ref().to_string(),
        call.operation.clone(),
        counts.requests.to_string(),
        counts.failures.to_string(),
        carried(counts),
    ]
}

/// Says where calls said for whom they were made.
pub(super) fn carried(counts: &CallCounts) -> String {
    let parts = [
        (counts.in_baggage, "baggage"),
        (counts.in_tracestate, "tracestate"),
        (counts.in_trace, "trace"),
        (counts.bare(), "nothing"),
    ];
    let said: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).collect();
    match said[..] {
        [(_, word)] => (*word).to_owned(),
        _ => said.iter().map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", "),
    }
}
