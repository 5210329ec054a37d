//! Takes over the usual parts of a static Envoy configuration into a route table in TOML, and names every field that is not taken over.
//!
//! Invariant: nothing is passed over. A field is taken over, changes nothing, or is named with its place and why; and a route that would
//! take other requests than it does in Envoy, or send them elsewhere, is not taken over.

mod action;
mod cluster;
mod document;
mod host;
mod listener;
mod matching;
mod order;
mod route;
mod write;

use std::collections::BTreeMap;

use thiserror::Error;
use toml::Table;

use action::Whom;
use cluster::Cluster;
use document::{Item, Misshapen};
use host::with_ends;
use listener::chosen;
use matching::Match;
use write::written;

/// Longest configuration that is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why a text is no configuration of Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct EnvoyError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A field that is not taken over, or not as it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Its line.
    pub line: usize,
    /// Its place, such as `static_resources.clusters[0].health_checks`.
    pub place: String,
    /// Why, and what to do instead.
    pub why: String,
}

/// A configuration as a route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The table, in TOML.
    pub toml: String,
    /// What is not taken over, in the order of the file.
    pub left: Vec<Left>,
}

/// A route that is taken over.
#[derive(Debug, Clone)]
struct Route {
    matched: Match,
    does: Table,
    whom: Whom,
    place: String,
    line: usize,
    /// Whether it stands for what two others take both.
    is_made: bool,
}

/// What holds for all hosts.
#[derive(Debug, Default)]
struct Said {
    entry: Table,
    rules: Table,
}

/// The routes of some hosts.
struct Hosts {
    /// None is every host.
    names: Vec<Option<String>>,
    routes: Vec<Route>,
}

/// Takes a configuration over, in YAML or JSON. `environment` is what the table is called; of several listeners the one of this name is taken, the first when left out.
///
/// # Errors
/// When the text is no document, or has no listener of that name.
pub fn import(text: &str, environment: &str, listener: Option<&str>) -> Result<Imported, EnvoyError> {
    if text.len() > MAX_BYTES {
        return Err(EnvoyError { line: 1, what: format!("the file has more than {MAX_BYTES} bytes") });
    }
    let root = crate::yaml::parse(text).map_err(|error| EnvoyError { line: error.line, what: error.why })?;
    let misshapen = Misshapen::default();
    let root = Item::root(&root, &misshapen).message();
    let mut left = Vec::new();
    let Some(resources) = root.message("static_resources") else {
        let what =
            "there are no static_resources: what a management server gives is not in the file".to_owned();
        return Err(EnvoyError { line: root.item.node.line, what });
    };
    let clusters: BTreeMap<String, Cluster> =
        resources.list("clusters").iter().filter_map(|it| cluster::read(it, &mut left)).collect();
    let listeners = resources.list("listeners");
    let chosen = chosen(&listeners, listener)?;
    let mut said = Said::default();
    let hosts = match &chosen {
        Some(chosen) => listener::listener(chosen, &clusters, &mut said, &mut left),
        None => Vec::new(),
    };
    for other in listeners.iter().filter(|it| chosen.as_ref().is_none_or(|chosen| chosen.place != it.place)) {
        let name = other.message().text("name").unwrap_or_default().to_owned();
        other.leave(
            &mut left,
            format!("a table has the routes of one listener: --listener {name} makes another table"),
        );
    }
    resources.leave_others(&mut left, "there is nothing like it");
    root.pass_over(&["node"]);
    root.leave("admin", &mut left, "lockstep gateway run --admin-address");
    root.leave("dynamic_resources", &mut left, "what a management server gives is not in the file");
    root.leave_others(&mut left, "there is nothing like it");
    let hosts: Vec<Hosts> = with_ends(hosts)
        .into_iter()
        .map(|hosts| {
            let routes = order::settle(hosts.routes, &mut left);
            Hosts { routes, ..hosts }
        })
        .collect();
    left.extend(misshapen.take());
    left.sort();
    left.dedup();
    let toml = written(environment, &said, &hosts, &clusters);
    // What a table cannot have is said here, and not where it is served.
    let wrong = crate::table::parse_table(&toml, "table").err().unwrap_or_default();
    left.extend(wrong.iter().map(|problem| {
        let why = format!("the table has to be mended by hand: {}", problem.message);
        Left {
            line: problem.line,
            place: format!("line {} of the table, {}", problem.line, problem.field),
            why,
        }
    }));
    Ok(Imported { toml, left })
}

/// Writes a time as tables have it.
fn time(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests;
