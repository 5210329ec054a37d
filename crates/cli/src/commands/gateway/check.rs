//! `lockstep gateway check`: can a gateway serve this table?

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use lockstep_domain::routes::RouteTable;
use lockstep_gateway::check::check_file;
use lockstep_gateway::recent::replay::{Move, Place, Replay, replay};
use lockstep_gateway::traffic::Traffic;
use serde_json::json;

use super::{admin, recent, table_file};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::counted::counted;
use crate::output::style::printable;

/// Checks the file of a route table without serving it.
///
/// Names everything at once that a gateway refuses the table for, each with its line and field; what is wrong with one route hides nothing of the
/// others. Of a table that a gateway serves it warns of routes that take nothing or lead nowhere.
/// Ends with code 0 when a gateway serves it, and 2 when not.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep gateway check routes.json\n  lockstep gateway check table.toml --against 127.0.0.1:9900"
)]
pub(super) struct CheckArgs {
    /// The file, as `gateway run --table` reads it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say where the last requests of the gateway at this admin address would go by the table. Nothing is sent to a service.
    #[arg(long, value_name = "ADDRESS", value_parser = admin::address)]
    against: Option<SocketAddr>,
}

/// The most that a gateway keeps.
const ALL: usize = lockstep_gateway::RECENT;

impl CheckArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let shown = self.file.display().to_string();
        let checked = check_file(&self.file).map_err(|error| table_file::failure(&error))?;
        let warnings: Vec<_> =
            checked.doubts.iter().map(|doubt| table_file::part(&self.file, doubt)).collect();
        let replayed = self.against.map(|address| replayed(address, &checked.table)).transpose()?;
        let table = checked.table;
        let (routes, services) = (table.routes.len(), table.services.len());
        let document = json!({ "environment": table.environment, "format": table.format, "revision": table.revision,
            "routes": routes, "services": services, "warnings": warnings, "against": replayed });
        out.show(&document, |_, style| {
            let (routes, services) = (counted(routes, "route"), counted(services, "service"));
            let environment = &table.environment;
            let mut text = format!(
                "{}: {shown} is a table of {environment} with {routes} and {services}\n",
                style.good("done")
            );
            for warning in &warnings {
                let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(&warning.to_string()));
            }
            text.extend(replayed.iter().map(told));
            text
        })
    }
}

/// Asks a gateway for its last requests, and says what a table would do with them.
fn replayed(address: SocketAddr, table: &RouteTable) -> Result<Replay, Failure> {
    let traffic: Traffic = admin::ask(address, "/-/traffic")?;
    let environment = &table.environment;
    let Some(served) = traffic.environments.get(environment.as_str()) else {
        let known: Vec<_> = traffic.environments.keys().cloned().collect();
        let detail = format!("the gateway at {address} serves no environment `{environment}`");
        return Err(Failure::new(Exit::NotFound, detail).hint(format!("it serves {}", known.join(", "))));
    };
    let list = recent::fetch(address, ALL, Some(environment))?;
    Ok(replay(table.clone(), &served.salts, &list.requests))
}

/// Says what would change, in words.
fn told(replay: &Replay) -> String {
    let Replay { requests, same, by_service, limited, elsewhere, unknown, moves, missing } = replay;
    let mut text = format!(
        "of the last {} {elsewhere} would go elsewhere, {same} where they went, {unknown} cannot be told\n",
        counted(*requests, "request")
    );
    if *by_service > 0 {
        let _ = writeln!(
            text,
            "  of {by_service} of those where they went the service alone is compared: their version cannot be told"
        );
    }
    if *limited > 0 {
        let _ = writeln!(
            text,
            "  {limited} come to a route with limits, which are not tried: some may be refused"
        );
    }
    for Move { from, to, requests, examples } in moves {
        let _ = writeln!(text, "  {requests}: {} -> {}", place(from), place(to));
        let _ = writeln!(text, "     such as {}", printable(&examples.join(", ")));
    }
    for (what, count) in missing {
        let _ = writeln!(text, "  {count} cannot be told: the gateway does not keep {}", printable(what));
    }
    text
}

fn place(Place { route, service, version, answer }: &Place) -> String {
    let by = route.as_ref().map(|route| format!(" by {route}")).unwrap_or_default();
    let whom = match (service, version) {
        (Some(service), Some(version)) => format!("{service}@{version}"),
        (Some(service), None) => service.clone(),
        _ => "the gateway".to_owned(),
    };
    let answer = answer.as_ref().map(|code| format!(", {code}")).unwrap_or_default();
    printable(&format!("{whom}{by}{answer}")).into_owned()
}
