//! `[[job]]`: programs of a version that run once.

use std::collections::BTreeSet;

use lockstep_domain::job::{Job, USUAL_JOB_TIMEOUT_MS, When};
use lockstep_domain::reference::Scope;

use super::field::{duration, environment};
use super::reference::{filled_command, filled_variables, refuse_own_port};
use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str =
    "[[job]] with name = \"migrate\", when = \"before-switch\" and command = \"./migrate\"";
/// Most jobs of a version: each is waited for.
const MAX_JOBS: usize = 20;
const WHEN: &str = "when = \"before-switch\", \"after-deploy\" or \"by-hand\"";

/// Reads the jobs of a version, each name once.
pub(super) fn jobs(field: &Field<'_>, scope: &Scope<'_>) -> Vec<Job> {
    let elements = field.list().unwrap_or_default();
    if elements.len() > MAX_JOBS {
        field.wrong(format_args!("a version has at most {MAX_JOBS} jobs"));
    }
    let mut taken = BTreeSet::new();
    let mut read = |element: &Field<'_>| {
        let job = job(element.table()?, scope)?;
        if !taken.insert(job.name.clone()) {
            element.wrong_because(format_args!("there is a job `{}` above", job.name), "rename one of them");
        }
        Some(job)
    };
    elements.iter().filter_map(&mut read).collect()
}

fn job(table: Table<'_>, scope: &Scope<'_>) -> Option<Job> {
    let name = table.require("name", "name = \"migrate\"").and_then(|field| field.parse());
    let when = table.require("when", WHEN).and_then(|field| when(&field));
    let command = table.require("command", "command = \"./migrate\"");
    let words = command.as_ref().and_then(|field| filled_command(field, scope));
    let variables = table.table("env", "env = { LOG = \"info\" }");
    variables.iter().for_each(|variables| filled_variables(variables, scope));
    let timeout_ms = duration(&table, "timeout", "timeout = \"10m\"").unwrap_or(USUAL_JOB_TIMEOUT_MS);
    let why = "a job listens on no port, so `${self.port}` and `${self.host}` say nothing";
    refuse_own_port(
        (command.as_ref(), words.as_deref()),
        variables.as_ref(),
        scope,
        why,
        "remove the reference",
    );
    table.finish();
    let variables = variables.as_ref().map(environment).unwrap_or_default();
    Some(Job { name: name?, when: when?, command: words?, variables, timeout_ms })
}

fn when(field: &Field<'_>) -> Option<When> {
    let all = [When::BeforeSwitch, When::AfterDeploy, When::ByHand];
    let text = field.text()?;
    let found = all.into_iter().find(|when| when.as_str() == text);
    if found.is_none() {
        field.wrong("a job runs `before-switch`, `after-deploy` or `by-hand`");
    }
    found
}
