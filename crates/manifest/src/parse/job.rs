//! `[[job]]`: programs of a version that run once.

use std::collections::BTreeSet;

use lockstep_domain::job::{Job, USUAL_JOB_TIMEOUT_MS, When};
use lockstep_domain::reference::Scope;

use super::field::{duration, environment};
use super::limits;
use super::reference::{filled_command, filled_variables, refuse_own_port};
use super::schedule;
use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str =
    "[[job]] with name = \"migrate\", when = \"before-switch\" and command = \"./migrate\"";
/// Most jobs of a version: each is waited for.
const MAX_JOBS: usize = 20;
pub(super) const WHEN: &str = "when = \"before-switch\", \"after-deploy\" or \"by-hand\", or a schedule";

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
    let schedule = schedule::schedule(&table);
    let when = match (table.get("when", WHEN), &schedule) {
        (Some(field), schedule) => when(&field, schedule.is_some()),
        (None, Some(_)) => Some(When::OnSchedule),
        (None, None) => table.require("when", WHEN).and(None),
    };
    let command = table.require("command", "command = \"./migrate\"");
    let words = command.as_ref().and_then(|field| filled_command(field, scope));
    let variables = table.table("env", "env = { LOG = \"info\" }");
    variables.iter().for_each(|variables| filled_variables(variables, scope));
    let timeout_ms = duration(&table, "timeout", "timeout = \"10m\"").unwrap_or(USUAL_JOB_TIMEOUT_MS);
    refuse_port_of_job(command.as_ref().map(|field| (field, words.as_deref())), variables.as_ref(), scope);
    let limits = limits::of(&table);
    table.finish();
    let variables = variables.as_ref().map(environment).unwrap_or_default();
    Some(Job {
        name: name?,
        when: when?,
        command: words?,
        variables,
        timeout_ms,
        schedule: schedule.flatten(),
        limits,
    })
}

/// Finds references to a port that no job has.
pub(super) fn refuse_port_of_job(
    command: Option<(&Field<'_>, Option<&[String]>)>,
    variables: Option<&Table<'_>>,
    scope: &Scope<'_>,
) {
    let why = "a job listens on no port, so `${self.port}` and `${self.host}` say nothing";
    let (field, words) = command.map_or((None, None), |(field, words)| (Some(field), words));
    refuse_own_port((field, words), variables, scope, why, "remove the reference");
}

/// Reads when a job runs.
pub(super) fn when(field: &Field<'_>, has_schedule: bool) -> Option<When> {
    let all = [When::BeforeSwitch, When::AfterDeploy, When::ByHand, When::OnSchedule];
    let text = field.text()?;
    let found = all.into_iter().find(|when| when.as_str() == text);
    match found {
        None => field.wrong("a job runs `before-switch`, `after-deploy`, `by-hand` or `on-schedule`"),
        Some(When::OnSchedule) if !has_schedule => {
            field.wrong_because("it has no schedule", format!("add {}", schedule::EXAMPLE));
        }
        Some(When::OnSchedule) => {}
        Some(_) if has_schedule => {
            let hint = "leave `when` out, or make two jobs of it; every job can be run by hand";
            field.wrong_because("a job with a schedule runs by the clock", hint);
        }
        Some(_) => {}
    }
    found
}
