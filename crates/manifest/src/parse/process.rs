//! `[process.NAME]`: programs of one artifact that run all the time, beside each other.

use std::collections::BTreeMap;

use lockstep_domain::image_run::ImageRun;
use lockstep_domain::name::ProcessName;
use lockstep_domain::process::Processes;
use lockstep_domain::reference::Scope;
use lockstep_domain::run::{Kind, Port, RunSpec};

use super::field::environment;
use super::job::refuse_port_of_job;
use super::reference::filled_variables;
use super::run::{self, DATA_EXAMPLE, FILES_EXAMPLE, RESTART_EXAMPLE, STOP_EXAMPLE, Shared, paths};
use super::{external, hosts, image, limits};
use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str = "[process.worker] with command = \"./bin/worker\"";
const KIND_EXAMPLE: &str = "kind = \"worker\"; only the process `web` is of kind `web` where nothing is said";
/// What a process has for itself, and not for all.
const OF_EACH: [&str; 10] = [
    "command",
    "prepare",
    "kind",
    "port",
    "health",
    "metrics",
    "queue",
    "replace",
    "replace_after",
    "schedule",
];
/// Most processes of a version: more programs are more services.
const MAX_PROCESSES: usize = 10;
/// The process that takes requests where a manifest does not say.
const WEB: &str = "web";

/// Reads the processes of a service; `None` where it has no table for them, and `Some(None)` where something in it is wrong.
pub(super) fn processes(root: &Table<'_>, scope: &Scope<'_>) -> Option<Option<(RunSpec, Processes)>> {
    let field = root.get("process", EXAMPLE)?;
    let table = root.table("process", EXAMPLE)?;
    let shared = root.table("run", "[run]").map_or_else(Shared::default, |table| shared(table, scope));
    let entries = table.entries(EXAMPLE);
    if entries.is_empty() || entries.len() > MAX_PROCESSES {
        field.wrong(format_args!("a service has from 1 to {MAX_PROCESSES} processes"));
    }
    let read = entries.iter().map(|(key, field)| process(key, field, &shared, scope));
    let read: Vec<_> = read.collect();
    let read: Option<BTreeMap<_, _>> = read.into_iter().collect();
    Some(read.and_then(|all| assembled(all, &entries, shared)))
}

/// Parts the one that takes requests from the others.
fn assembled(
    mut all: BTreeMap<ProcessName, RunSpec>,
    entries: &[(&str, Field<'_>)],
    shared: Shared,
) -> Option<(RunSpec, Processes)> {
    let named = |name: &ProcessName| entries.iter().find(|(key, _)| *key == name.as_str());
    let web: Vec<_> = all.iter().filter(|(_, run)| run.kind.is_web()).map(|(name, _)| name.clone()).collect();
    for (_, field) in web.iter().skip(1).filter_map(named) {
        let hint = "let it be a `worker`, or a service of its own";
        field.wrong_because(format_args!("`{}` takes the requests, and only one process can", web[0]), hint);
    }
    let mut taken = BTreeMap::new();
    for (name, run) in &all {
        let Port::Fixed(port) = run.port else { continue };
        if let (Some(other), Some((_, field))) = (taken.insert(port, name), named(name)) {
            field.wrong_because(
                format_args!("`{other}` listens on port {port}"),
                "give each a port of its own, or none",
            );
        }
    }
    let main = web.into_iter().next();
    let run = main.as_ref().and_then(|name| all.remove(name)).unwrap_or_else(|| nothing_but(shared));
    Some((run, Processes { main, others: all }))
}

fn process(
    key: &str,
    field: &Field<'_>,
    shared: &Shared,
    scope: &Scope<'_>,
) -> Option<(ProcessName, RunSpec)> {
    let name = key.parse::<ProcessName>().map_err(|error| field.wrong_key(error)).ok();
    let table = field.table()?;
    if let Some(data) = table.get("data", DATA_EXAMPLE) {
        data.wrong_because("all processes share it", "move it to [run]");
    }
    if let Some(image) = table.get("image", "") {
        image.wrong_because("all processes are of one image", "move it to [run]");
    }
    let kind = kind(&table, key)?;
    let run = run::process(table, kind, scope, shared);
    Some((name?, run?))
}

fn kind(table: &Table<'_>, key: &str) -> Option<Kind> {
    let usual = if key == WEB { Kind::Web } else { Kind::Worker };
    let Some(field) = table.get("kind", KIND_EXAMPLE) else { return Some(usual) };
    if external::is_one(table) {
        field.wrong_because("a process is a program of the artifact", "make a service of its own of it");
        return None;
    }
    let kind = run::kind(&field)?;
    if !kind.has_instances() {
        field.wrong_because("a process runs all the time", "make a [[job]] of it");
        return None;
    }
    Some(kind)
}

/// Reads what all processes have in common.
fn shared(table: Table<'_>, scope: &Scope<'_>) -> Shared {
    for field in OF_EACH.iter().filter_map(|name| table.get(name, EXAMPLE)) {
        let hint = "move it there: [run] has what all of them share";
        field.wrong_because("each [process] has its own", hint);
    }
    let variables = table.table("env", "env = { LOG = \"info\" }");
    variables.iter().for_each(|variables| filled_variables(variables, scope));
    refuse_port_of_job(None, variables.as_ref(), scope);
    let image = image::is_one(&table);
    let data =
        table.get("data", DATA_EXAMPLE).and_then(|field| paths(&field, &[], image)).unwrap_or_default();
    let files =
        table.get("files", FILES_EXAMPLE).and_then(|field| paths(&field, &data, image)).unwrap_or_default();
    let shared = Shared {
        variables: variables.as_ref().map(environment).unwrap_or_default(),
        stop: table.table("stop", STOP_EXAMPLE).map(run::stop),
        restart: table.table("restart", RESTART_EXAMPLE).map(run::restart),
        data,
        files,
        limits: limits::of(&table),
        image,
        user: limits::user(&table, image),
        hosts: hosts::of(&table),
    };
    table.finish();
    shared
}

/// What a version without a process for requests has in common: its jobs are run with it.
fn nothing_but(shared: Shared) -> RunSpec {
    let run = RunSpec {
        variables: shared.variables,
        stop: shared.stop.unwrap_or_default(),
        restart: shared.restart.unwrap_or_default(),
        data: shared.data,
        files: shared.files,
        limits: shared.limits,
        image: shared.image.then(ImageRun::default),
        user: shared.user.unwrap_or_default(),
        hosts: shared.hosts.unwrap_or_default(),
        ..RunSpec::of_jobs()
    };
    run.with_values_noted()
}
