//! What there is to go back to, as `lockstep rollback` lists it without a target.

use lockstep_api::types::WaysBack;
use lockstep_domain::operation::Readiness;
use lockstep_domain::ways_back::WayBack;
use lockstep_domain::{EnvironmentName, ServiceName};

use super::name;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::select::EnvironmentOption;

/// Lists the baselines of an environment, or the versions of a service.
pub(super) fn show(ctx: &Context, what: &str, environment: &EnvironmentOption) -> Result<(), Failure> {
    let known = ctx.client.environments()?;
    let is_environment =
        environment.environment.is_none() && known.iter().any(|one| one.name.as_str() == what);
    let ways = if is_environment {
        ctx.client.ways_back(&name(what)?, None)?
    } else {
        ctx.client.ways_back(&environment.resolve(ctx)?, Some(&name(what)?))?
    };
    ctx.out.show(&ways, render)
}

fn render(ways: &WaysBack, style: &Style) -> String {
    let WaysBack { environment, baseline, service, runs, ways, last_good } = ways;
    let what = match (service, runs) {
        (None, _) => format!("{environment} is at baseline {baseline}"),
        (Some(service), None) => format!("{service} does not run in {environment}"),
        (Some(service), Some(entry)) => format!("{environment} runs {service} {entry}"),
    };
    if ways.is_empty() {
        return nothing(&what, environment, service.as_ref());
    }
    let heading = if service.is_some() { "VERSION" } else { "WHAT" };
    let mut table = Table::new(["BASELINE", heading, "WHEN", "READY", "PROVEN", "SEEN THEN", ""]);
    ways.iter().for_each(|way| table.row(row(way, style)));
    let refused = |number: &u64| ways.iter().any(|way| way.baseline == *number && way.refused.is_some());
    let good = last_good.filter(|_| service.is_none());
    let told = match good {
        Some(good) if refused(&good) => {
            format!("the last good one is {good}, which cannot be gone back to\n")
        }
        Some(good) => format!("the last good one is {good}\n"),
        None => String::new(),
    };
    let open = ways.iter().find(|way| way.refused.is_none());
    let Some(open) = open else {
        let none = "none of it can be gone back to: what is in the way stands beside it\n";
        return format!("{what}; there is\n{}{told}{none}", table.render(style));
    };
    let example = match (service, &open.version) {
        (None, _) if good.is_some_and(|good| !refused(&good)) => {
            format!("lockstep rollback {environment} --to-last-good")
        }
        (Some(service), Some(version)) => {
            format!("lockstep rollback {service} --to {version} --env {environment}")
        }
        _ => format!("lockstep rollback {environment} --to {}", open.baseline),
    };
    format!("{what}; it can go back to\n{}{told}for example: {example} --dry-run\n", table.render(style))
}

/// A service with no earlier version may have earlier configurations, and its environment earlier states.
fn nothing(what: &str, environment: &EnvironmentName, service: Option<&ServiceName>) -> String {
    let Some(service) = service else { return format!("{what}; there is nothing to go back to\n") };
    format!(
        "{what}; no earlier version of it ran here\nits configurations: lockstep config show {service} --env {environment}\n\
         what {environment} ran: lockstep rollback {environment}\n"
    )
}

fn row(way: &WayBack, style: &Style) -> [String; 7] {
    let config = way.config.filter(|config| config.0 > 0).map(|config| format!(" ({config})"));
    let version = way.version.as_ref().map(|version| format!("{version}{}", config.unwrap_or_default()));
    let beginning = || "the empty beginning".to_owned();
    [
        way.baseline.to_string(),
        version.unwrap_or_else(|| way.intent.clone().unwrap_or_else(beginning)),
        style.ago(way.at),
        match way.readiness {
            _ if way.refused.is_some() => "refused".to_owned(),
            Readiness::Warm => "warm".to_owned(),
            Readiness::Prepared => "prepared".to_owned(),
            Readiness::Cold => "cold".to_owned(),
        },
        way.proven.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        way.proof.clone(),
        way.refused
            .iter()
            .map(|why| format!("cannot be gone back to: {why}"))
            .chain(way.start.iter().map(ToString::to_string))
            .chain(way.notes.iter().cloned())
            .collect::<Vec<_>>()
            .join("; "),
    ]
}
