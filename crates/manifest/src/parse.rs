//! Reads `lockstep.toml`. Every problem is found in one pass and reported with its line, field and a hint.
//!
//! To add a field: read it in the function of its table, keep it in [`crate::model`], write it in [`crate::render`],
//! and add it to the generator of the round-trip test there.

pub(crate) mod approach;
mod build;
mod check;
mod contract;
mod database;
mod external;
mod field;
pub(crate) mod gateway;
mod hosts;
mod image;
mod job;
mod jobs_only;
pub(crate) mod limits;
mod policy;
mod prepare;
mod process;
pub(crate) mod protocol;
mod reference;
mod resource;
pub(crate) mod route;
mod run;
mod schedule;
mod static_files;
mod work;

use std::collections::BTreeMap;

use lockstep_domain::ServiceName;
use lockstep_domain::criticality::{Criticality, MAX_CRITICALITY};
use lockstep_domain::job::Job;
use lockstep_domain::process::Processes;
use lockstep_domain::reference::Scope;
use lockstep_domain::run::{Kind, RunSpec};
use toml::de::DeTable;

use crate::document::read_document;
use crate::model::{Build, Manifest, Package, Requirement};
use crate::problem::Problem;
use crate::reader::{Field, Table};

pub use crate::document::MAX_MANIFEST_BYTES;

/// Longest name of an owner.
const MAX_OWNER_LENGTH: usize = 128;

/// Reads a manifest. `file` is only named in problems.
///
/// # Errors
/// All problems of the file, at most [`crate::MAX_PROBLEMS`], in its order; never an empty list.
pub fn parse(text: &str, file: &str) -> Result<Manifest, Vec<Problem>> {
    read_document(text, file, "a manifest has a few lines; is this the right file?", manifest)
}

/// Reads only which service a manifest is of, also of one that is not valid otherwise.
#[must_use]
pub fn name_in(text: &str) -> Option<ServiceName> {
    if text.len() > MAX_MANIFEST_BYTES {
        return None;
    }
    let (document, _) = DeTable::parse_recoverable(text);
    document.get_ref().get("name")?.get_ref().as_str()?.parse().ok()
}

fn manifest(root: Table<'_>) -> Option<Manifest> {
    let name = root.require("name", "name = \"orders\"").and_then(|field| field.parse::<ServiceName>());
    let owner = root.get("owner", "owner = \"team-orders\"").and_then(|field| owner(&field));
    let criticality = root.get("criticality", "criticality = 5");
    let criticality = criticality.and_then(|field| field.integer(1..=MAX_CRITICALITY));
    let criticality = criticality.and_then(|number| Criticality::new(number).ok()).unwrap_or_default();
    let build = root.table("build", "[build]").map_or_else(Build::default, build::build);
    let tests = root.get("test", "[[test]]").map_or_else(Vec::new, |field| tables(&field, build::suite));
    let package = package(&root, &build);
    let requires = root.table("requires", "[requires]");
    let requires = requires.map_or_else(BTreeMap::new, |table| requirements(&table, name.as_ref()));
    let routes = root.get("route", "[[route]]").map_or_else(Vec::new, |field| route::routes(&field));
    let checks = root.get("check", check::EXAMPLE).map_or_else(Vec::new, |field| check::checks(&field));
    let (contracts, accepts) =
        root.table("contract", contract::EXAMPLE).map(contract::contract).unwrap_or_default();
    let resources = root.table("resource", resource::EXAMPLE);
    let resources = resources.map_or_else(BTreeMap::new, |table| resource::resources(&table));
    let databases = root.table("database", database::EXAMPLE);
    let databases = databases.map_or_else(Vec::new, |table| database::databases(&table));
    let scope = Scope::of(&requires, &resources);
    let mut jobs = root.get("job", job::EXAMPLE).map_or_else(Vec::new, |field| job::jobs(&field, &scope));
    let run = process::processes(&root, &scope).unwrap_or_else(|| {
        run_table(&root, name.as_ref(), &scope, &mut jobs).map(|run| (run, Processes::default()))
    });
    if let Some((run, processes)) = run.as_ref().filter(|(run, _)| !run.kind.is_web()) {
        let what = nobody_calls(run.kind, processes);
        no_requests(&root, &what);
        no_contract_of_answers(&root, &what);
    }
    if run.as_ref().is_some_and(|(run, _)| run.kind.is_web() && !run.protocol.is_http()) {
        protocol::refuse_beside(&root, name.as_ref());
    }
    let (run, processes) = run.unzip();
    root.finish();
    Some(Manifest {
        name: name?,
        owner,
        criticality,
        build,
        tests,
        package,
        run: run?,
        processes: processes?,
        requires,
        resources,
        databases,
        contracts,
        accepts,
        routes,
        checks,
        jobs,
    })
}

fn nobody_calls(kind: Kind, processes: &Processes) -> String {
    if processes.is_empty() {
        format!("nobody can call a {kind}")
    } else {
        "none of its processes is of kind `web`, so nobody can call it".to_owned()
    }
}

/// Nobody calls a worker or a job, so nothing may lead to it.
fn no_requests(root: &Table<'_>, what: &str) {
    for (name, example) in [("route", "[[route]]"), ("check", check::EXAMPLE)] {
        if let Some(field) = root.get(name, example) {
            let hint = format!("remove each {example}, or let it be a `web` service");
            field.wrong_because(format_args!("{what}, so no request can reach it"), hint);
        }
    }
}

/// Messages and tables have contracts with workers too; what is answered has not.
fn no_contract_of_answers(root: &Table<'_>, what: &str) {
    let Some(table) = root.table("contract", contract::EXAMPLE) else { return };
    for field in contract::ANSWERS.iter().filter_map(|name| table.get(name, contract::EXAMPLE)) {
        let hint = "name it in the manifest of the service that answers, or let this be a `web` service";
        field.wrong_because(what, hint);
    }
}

/// Reads how the service runs. A table that is a job itself is added to the jobs.
fn run_table(
    root: &Table<'_>,
    name: Option<&ServiceName>,
    scope: &Scope<'_>,
    jobs: &mut Vec<Job>,
) -> Option<RunSpec> {
    let field = root.require("run", "[run] with command = \"./bin/server\"")?;
    let table = field.table()?;
    let kind = run::kind_of(&table);
    if external::is_one(&table) {
        external::refuse_beside(root);
        return external::run(table, scope);
    }
    if kind.has_instances() {
        return run::run(table, kind, scope);
    }
    let has_own = jobs_only::has_own(&table);
    let (run, own) = jobs_only::run(table, name, scope)?;
    if let Some(own) = own {
        if jobs.iter().any(|job| job.name == own.name) {
            field.wrong_because("there is a [[job]] of the name of the service", "rename it");
        }
        jobs.push(own);
    } else if jobs.is_empty() && !has_own {
        field.wrong_because("it runs nothing", "add command and schedule, or a [[job]]");
    }
    Some(run)
}

fn owner(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.trim().is_empty() || text.len() > MAX_OWNER_LENGTH || text.chars().any(char::is_control) {
        field.wrong("an owner has from 1 to 128 printable characters");
        return None;
    }
    Some(text.to_owned())
}

/// Reads each table of an array of tables; `None` where something in it is wrong.
fn tables<T>(field: &Field<'_>, read: impl Fn(Table<'_>) -> Option<T>) -> Vec<T> {
    field.list().unwrap_or_default().iter().filter_map(|element| read(element.table()?)).collect()
}

fn package(root: &Table<'_>, build: &Build) -> Package {
    let example = "[package] with include = [\"target/release/orders\", \"config/**\"]";
    let Some(table) = root.table("package", example) else {
        if !build.steps.is_empty() {
            root.missing("package", "a service that is built must say which files are its artifact", example);
        }
        return Package::default();
    };
    let include = table.require("include", "include = [\"dist/**\"]");
    let package = Package {
        root: table.get("root", "root = \"dist\"").and_then(|field| field.parse()),
        include: include.as_ref().map_or_else(Vec::new, Field::parse_all),
        exclude: table.get("exclude", "exclude = [\"**/*.map\"]").map_or_else(Vec::new, |f| f.parse_all()),
    };
    if let Some(include) = include
        && include.as_list().is_some_and(|list| list.is_empty())
    {
        include.wrong("an artifact without files cannot be run");
    }
    table.finish();
    package
}

fn requirements(table: &Table<'_>, own: Option<&ServiceName>) -> BTreeMap<ServiceName, Requirement> {
    let mut taken = BTreeMap::new();
    let mut read = |(key, field): (&str, Field<'_>)| {
        let (name, requirement) = requirement(key, &field, own)?;
        if let Some(port) = requirement.port
            && let Some(other) = taken.insert(port, name.clone())
        {
            let text = format_args!("port {port} is that of `{other}` too");
            field.wrong_because(text, "at one port one service is called");
        }
        Some((name, requirement))
    };
    table.entries("payments = \"^2.1\"").into_iter().filter_map(&mut read).collect()
}

fn requirement(
    key: &str,
    field: &Field<'_>,
    own: Option<&ServiceName>,
) -> Option<(ServiceName, Requirement)> {
    let requirement = match field.as_table() {
        Some(table) => contract::requirement(table),
        None => field.parse().map(|range| Requirement { range: Some(range), ..Requirement::default() }),
    };
    let name = key.parse::<ServiceName>().map_err(|error| field.wrong_key(error)).ok()?;
    if Some(&name) == own {
        field.wrong_key("a service cannot require itself");
    }
    Some((name, requirement?))
}

#[cfg(test)]
mod tests;
