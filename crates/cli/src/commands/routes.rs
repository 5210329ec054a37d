//! `lockstep routes`: the routes of an environment in the order in which they are asked.

use lockstep_domain::routes::{Route, RouteTable, Split};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::parse::share::percent;
use crate::select::EnvironmentOption;

/// Longest cell of a table.
const LONGEST_CELL: usize = 50;

/// Lists the routes of the table in force, in the order in which they are asked: the first that takes a request decides.
///
/// Shows of each the host, path and conditions, the service, what is done beside sending requests there, and the versions with their shares.
/// Rules for certain requests are shown by `lockstep route list`; `lockstep explain` says what happens to one request.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep routes --env production\n  lockstep routes --json")]
pub(crate) struct Args {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// A route in its place.
#[derive(Debug, Serialize)]
struct Listed {
    /// From 1.
    order: usize,
    #[serde(flatten)]
    route: Route,
    does: Vec<String>,
    versions: Vec<Share>,
}

#[derive(Debug, Serialize)]
struct Share {
    version: String,
    /// In 1/10,000 of the clients that no rule takes.
    weight: u32,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let table = ctx.client.routes(&environment)?;
        for route in table.without_form() {
            let (rule, service) = (route.rule.to_string(), &route.service);
            let says = format!(
                "route `{}` of `{service}` is left out: no request has such a host or path",
                printable(&rule)
            );
            ctx.out.message(&format!("warning: {says}"));
        }
        let table = table.prepared();
        ctx.out.show(&listed(&table), |listed, style| {
            if listed.is_empty() {
                return format!("{environment} has no routes: they come from `[[route]]` in lockstep.toml\n");
            }
            render(listed, style)
        })
    }
}

fn listed(table: &RouteTable) -> Vec<Listed> {
    let share = |split: &Split| Share { version: split.version.to_string(), weight: split.weight };
    let one = |(index, route): (usize, &Route)| {
        let splits = table.services.get(&route.service).map(|it| it.splits.as_slice()).unwrap_or_default();
        Listed {
            order: index + 1,
            route: route.clone(),
            does: route.rule.told().into_iter().chain(maintained(table, route)).collect(),
            versions: splits.iter().filter(|split| split.weight > 0).map(share).collect(),
        }
    };
    table.routes.iter().enumerate().map(one).collect()
}

/// Says which pages clients of a route may get instead of its service.
fn maintained(table: &RouteTable, route: &Route) -> Vec<String> {
    let rules = table.rules();
    let splits = table.services.get(&route.service).map(|it| it.splits.as_slice()).unwrap_or_default();
    let versions = || splits.iter().map(|split| &split.version);
    let pages = rules.maintenance_of(&route.service).filter(|page| page.may_take(&route.rule, versions()));
    let said = pages.map(|page| format!("maintenance {}: {page} (lockstep maintenance list)", page.number));
    said.collect()
}

fn render(listed: &[Listed], style: &Style) -> String {
    let mut table = Table::new(["", "ROUTE", "SERVICE", "VERSIONS", "DOES"]).wrapped(LONGEST_CELL);
    for Listed { order, route, does, versions } in listed {
        let shares: Vec<_> =
            versions.iter().map(|it| format!("{} {}", it.version, percent(it.weight))).collect();
        table.row([
            order.to_string(),
            route.rule.to_string(),
            route.service.to_string(),
            shares.join(", "),
            does.join("; "),
        ]);
    }
    table.render(style)
}
