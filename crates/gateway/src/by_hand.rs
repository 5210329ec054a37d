//! A table that a person wrote: all that is wrong with it at once, each with its place and line.
//!
//! Routes and arms are read one by one, so that what is wrong with one hides nothing of the others. Invariant: what comes out is
//! what a gateway serves without a word.

mod lines;
pub(crate) mod node;
mod pieces;

use lockstep_domain::ServiceName;
use lockstep_domain::routes::{ROUTE_TABLE_FORMAT, RouteTable, ServiceRoutes, Split, SplitRole};
use lockstep_manifest::Problem;
use lockstep_manifest::table::WrittenTable;

pub(crate) use lines::Lines;

use crate::fields::unknown_keys;
use crate::references;
use crate::table::TableProblem;
use node::{Content, Node, NodeError};

/// A table with the lines on which its parts are.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) table: RouteTable,
    pub(crate) lines: Lines,
}

/// Why a text is no table.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is of a newer program.
    NewerFormat(u32),
    /// These are wrong with it, in the order of the file.
    Wrong(Vec<TableProblem>),
}

/// Reads a table in JSON.
pub(crate) fn read_json(text: &str) -> Result<Written, Refused> {
    let lines = lines::Starts::new(text);
    let mut document = Node::read(text).map_err(|error| Refused::Wrong(vec![no_document(error, &lines)]))?;
    if !matches!(document.content, Content::Map(_)) {
        let problem = TableProblem::new(String::new(), "a route table is an object, in braces".to_owned());
        return Err(Refused::Wrong(vec![TableProblem { line: Some(1), ..problem }]));
    }
    let format = document.get("format").and_then(|format| format.value().as_u64());
    if let Some(newer) = format.filter(|format| *format > u64::from(ROUTE_TABLE_FORMAT)) {
        return Err(Refused::NewerFormat(u32::try_from(newer).unwrap_or(u32::MAX)));
    }
    let mut problems: Vec<_> =
        unknown_keys(&mut document).into_iter().map(|key| unknown(key, &lines)).collect();
    let (table, wrong) = pieces::read(&document);
    let placed = |problem: TableProblem| {
        let line = lines.line(document.nearest(&problem.place).offset);
        TableProblem { line: Some(line), ..problem }
    };
    problems.extend(wrong.into_iter().chain(table.iter().flat_map(of_whole)).map(placed));
    problems.sort_by_key(|problem| problem.line);
    match table {
        Some(table) if problems.is_empty() => Ok(Written { table, lines: Lines::of(&document, &lines) }),
        _ => Err(Refused::Wrong(problems)),
    }
}

/// Reads a table in TOML; `file` is only named in problems.
pub(crate) fn read_toml(text: &str, file: &str) -> Result<Written, Refused> {
    let written = lockstep_manifest::table::parse_table(text, file);
    let WrittenTable { table, places } =
        written.map_err(|problems| Refused::Wrong(problems.into_iter().map(of_toml).collect()))?;
    let lines = Lines::of_toml(places);
    let problems = crate::table::problems(&table).into_iter().chain(authorities(&table));
    let problems = problems.chain(references::problems(&table));
    let problems: Vec<_> = problems.map(|problem| lines.place(problem)).collect();
    if problems.is_empty() { Ok(Written { table, lines }) } else { Err(Refused::Wrong(problems)) }
}

/// Finds what is wrong with a table in JSON whose pieces are right, and what a gateway would not say of one of a server.
fn of_whole(table: &RouteTable) -> Vec<TableProblem> {
    let of_lanes = crate::table::lane_rule_problems(table);
    shares_of_pinned(table)
        .into_iter()
        .chain(of_lanes)
        .chain(authorities(table))
        .chain(too_old(table))
        .collect()
}

/// A table whose authorities are no certificates is served until there is a certificate to be shown, and refused then.
fn authorities(table: &RouteTable) -> Option<TableProblem> {
    let why = crate::tls::client_ca_problem(&table.entry.as_ref()?.settings)?;
    Some(TableProblem::new("entry.client_ca".to_owned(), format!("the authorities of clients: {why}")))
}

/// A gateway that knows no more than what the format says would pass over what is newer.
fn too_old(table: &RouteTable) -> Option<TableProblem> {
    let needed = table.clone().in_its_format().format;
    let detail = format!("what it says there is since format {needed}; an older gateway would pass over it");
    let hint = Some(format!("write \"format\": {needed}"));
    (table.format < needed).then(|| TableProblem { hint, ..TableProblem::new("format".to_owned(), detail) })
}

/// Finds versions for rules alone that are given a share as well. Tables of servers have none.
fn shares_of_pinned(table: &RouteTable) -> Vec<TableProblem> {
    let splits = |(name, routes): (&ServiceName, &ServiceRoutes)| {
        let wrong = |split: &Split| split.role == SplitRole::Pinned && split.weight > 0;
        let places = routes.splits.iter().enumerate().filter(|(_, split)| wrong(split));
        let places = places.map(|(at, _)| format!("services.{name}.splits[{at}].weight"));
        places.collect::<Vec<_>>()
    };
    let detail = "a pinned version serves what rules give it and nothing else";
    let places = table.services.iter().flat_map(splits);
    places.map(|place| TableProblem::new(place, detail.to_owned())).collect()
}

fn of_toml(Problem { line, field, message, hint, .. }: Problem) -> TableProblem {
    TableProblem { place: field, line: Some(line), detail: message, hint }
}

fn unknown(key: crate::fields::UnknownKey, lines: &lines::Starts) -> TableProblem {
    let hint = Some(format!("known here: {}", key.known.join(", "))).filter(|_| !key.known.is_empty());
    let detail = "there is no such field".to_owned();
    TableProblem { place: key.place, line: Some(lines.line(key.offset)), detail, hint }
}

fn no_document(error: NodeError, lines: &lines::Starts) -> TableProblem {
    let (line, detail) = match error {
        NodeError::Syntax(error) => {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            (error.line(), format!("it is not JSON: {what} at column {}", error.column()))
        }
        NodeError::TooDeep(offset) => (lines.line(offset), "it is nested deeper than any table".to_owned()),
        NodeError::Twice(key, offset) => (lines.line(offset), format!("`{key}` is there twice")),
    };
    TableProblem { line: Some(line), ..TableProblem::new(String::new(), detail) }
}

#[cfg(test)]
mod tests;
