//! `lockstep checks`: what gateways found by the checks that they make by themselves.

use lockstep_api::types::{CheckAt, CheckView};
use lockstep_domain::ServiceName;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::select::EnvironmentOption;

/// Lists the checks of the versions that serve, with what each gateway found last.
///
/// A `[[check]]` of a manifest is a request that each gateway of the environment makes by itself, again and again, by the way that clients come.
/// It counts as no request of anybody. Two failures in a row at one gateway are an alert.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep checks --env production\n  lockstep checks orders --env production --json"
)]
pub(crate) struct Args {
    /// Only those of this service.
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let mut checks = ctx.client.checks(&environment)?;
        checks.retain(|view| self.service.as_ref().is_none_or(|service| *service == view.service));
        ctx.out.show(&checks, |checks, style| list(checks, style))
    }
}

fn list(checks: &[CheckView], style: &Style) -> String {
    if checks.is_empty() {
        return "no version that serves has a check; see `[[check]]` in lockstep.toml\n".to_owned();
    }
    let mut table =
        Table::new(["SERVICE", "CHECK", "GATEWAY", "LAST", "TOOK", "PASSED", "FAILED", "STATE"]).wrapped(60);
    for view in checks {
        let name = printable(&view.check.name).into_owned();
        let row = |cells: [String; 6]| {
            let [gateway, last, took, passed, failed, state] = cells;
            [view.service.to_string(), name.clone(), gateway, last, took, passed, failed, state]
        };
        if view.gateways.is_empty() {
            let nothing = || "-".to_owned();
            let state = "no gateway says anything of it yet".to_owned();
            table.row(row([nothing(), nothing(), nothing(), nothing(), nothing(), state]));
        }
        view.gateways.iter().for_each(|at| table.row(row(cells(at, style))));
    }
    table.render(style)
}

fn cells(at: &CheckAt, style: &Style) -> [String; 6] {
    let gateway = printable(&at.gateway).into_owned();
    let (last, took) = match &at.last {
        Some(last) => (format!("{} s ago", last.ago_ms / 1_000), format!("{} ms", last.took_ms)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    [gateway, last, took, at.passed.to_string(), at.failed.to_string(), state(at, style)]
}

fn state(at: &CheckAt, style: &Style) -> String {
    let Some(last) = &at.last else { return "has not run yet".to_owned() };
    let by = last.version.as_deref().map(|version| format!(" by {}", printable(version))).unwrap_or_default();
    match &last.fault {
        _ if at.is_stale => "has not run for too long".to_owned(),
        None => format!("ok{by}"),
        Some(fault) => {
            let fault = style.bad(&printable(fault));
            format!("{fault}{by}, {} in a row", at.failed_in_a_row)
        }
    }
}
