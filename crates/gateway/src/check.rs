//! Checking the file of a table without serving it: what [`crate::Gateway::apply`] refuses, and what it would take though nobody can
//! have meant it.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_domain::routes::RouteTable;

use crate::by_hand::{Lines, Written};
use crate::environment::Environment;
use crate::error::ApplyError;
use crate::follow::{StoreError, read_written};
pub use crate::table::TableProblem;

/// What is to be said of a table.
#[derive(Debug)]
pub struct Checked {
    /// The table as it stands.
    pub table: RouteTable,
    /// What it passes over.
    pub doubts: Vec<TableProblem>,
}

/// Reads a table as `gateway run --table` does, and checks it as a gateway does before it serves it.
///
/// # Errors
/// When the file cannot be read, is too long, is of a format that this program does not know, or is no table that a gateway serves: then
/// with all that is wrong.
pub fn check_file(path: &Path) -> Result<Checked, StoreError> {
    let Written { table, lines } = read_written(path)?;
    let applied = Environment::new(table.environment.clone(), 1).apply(table.clone());
    if let Err(error) = applied {
        let place = place_of(&error);
        let problems = vec![lines.place(TableProblem::new(place.to_owned(), error.to_string()))];
        return Err(StoreError::Wrong { path: path.to_path_buf(), problems });
    }
    let doubts = doubts(&table, &lines);
    Ok(Checked { table, doubts })
}

const fn place_of(error: &ApplyError) -> &'static str {
    match error {
        ApplyError::NewerFormat { .. } => "format",
        ApplyError::Invalid { .. } | ApplyError::Tls { .. } => "entry",
    }
}

/// Routes that take nothing, or lead nowhere.
fn doubts(table: &RouteTable, lines: &Lines) -> Vec<TableProblem> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut doubts = Vec::new();
    let mut add = |index: usize, why: String| {
        let route = &table.routes[index];
        let detail = format!("route `{}` of `{}` {why}", route.rule, route.service);
        doubts.push(lines.place(TableProblem::new(format!("routes[{index}]"), detail)));
    };
    for (index, route) in table.routes.iter().enumerate() {
        let Some(rule) = route.rule.in_one_form() else {
            add(index, "is left out: no request has such a host or path".to_owned());
            continue;
        };
        let first = *seen.entry(rule.key()).or_insert(index);
        if first != index {
            add(index, format!("takes nothing: routes[{first}] takes the very same requests"));
        }
        let answers = rule.then.as_ref().is_some_and(|then| then.answers());
        if !answers && !table.services.contains_key(&route.service) {
            add(index, "leads to a service that is not in the table: its requests get 503".to_owned());
        }
    }
    doubts
}
