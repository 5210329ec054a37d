//! `[run]` of a service that has jobs and nothing that runs all the time: `kind = "cron"` and `kind = "job"`.

use lockstep_domain::ServiceName;
use lockstep_domain::job::{Job, USUAL_JOB_TIMEOUT_MS, When};
use lockstep_domain::limits::Limits;
use lockstep_domain::reference::Scope;
use lockstep_domain::run::RunSpec;
use lockstep_domain::work::WorkSigns;

use super::field::{duration, environment};
use super::job::{WHEN, refuse_port_of_job, when};
use super::reference::{filled_command, filled_variables};
use super::run::{DATA_EXAMPLE, FILES_EXAMPLE, KIND_EXAMPLE, STOP_EXAMPLE, paths, stop};
use super::{hosts, limits, prepare};
use super::{image, schedule};
use crate::reader::{Field, Table};

/// Reads how the jobs are run, and the job that the table itself is.
pub(super) fn run(
    table: Table<'_>,
    name: Option<&ServiceName>,
    scope: &Scope<'_>,
) -> Option<(RunSpec, Option<Job>)> {
    // It was read to come here.
    let _ = table.get("kind", KIND_EXAMPLE);
    let variables = table.table("env", "env = { LOG = \"info\" }");
    variables.iter().for_each(|variables| filled_variables(variables, scope));
    let image = image::of(&table, scope, false);
    let data = table
        .get("data", DATA_EXAMPLE)
        .and_then(|field| paths(&field, &[], image.is_some()))
        .unwrap_or_default();
    let files = table
        .get("files", FILES_EXAMPLE)
        .and_then(|field| paths(&field, &data, image.is_some()))
        .unwrap_or_default();
    let stop = table.table("stop", STOP_EXAMPLE).map(stop);
    let (limits, user) = (limits::of(&table), limits::user(&table, image.is_some()));
    let hosts = hosts::of(&table);
    let why = "only what runs all the time is prepared";
    prepare::refuse(&table, why, "let the job do it before its work, or make a [[job]] of it");
    let job = job(&table, name, scope);
    refuse_port_of_job(None, variables.as_ref(), scope);
    table.finish();
    let run = RunSpec {
        variables: variables.as_ref().map(environment).unwrap_or_default(),
        stop: stop.unwrap_or_default(),
        data,
        files,
        limits,
        image,
        user: user.unwrap_or_default(),
        hosts: hosts.unwrap_or_default(),
        work: WorkSigns::default(),
        ..RunSpec::of_jobs()
    };
    Some((run.with_values_noted(), job))
}

/// Tells whether the table says something of a job of its own, rightly or not.
pub(super) fn has_own(table: &Table<'_>) -> bool {
    let says = |(name, example)| table.get(name, example).is_some();
    [("command", ""), ("when", WHEN), ("schedule", schedule::EXAMPLE)].into_iter().any(says)
}

/// Reads the job that has the name of the service: there is one where the table says what it runs.
fn job(table: &Table<'_>, name: Option<&ServiceName>, scope: &Scope<'_>) -> Option<Job> {
    let schedule = schedule::schedule(table);
    let asked = table.get("when", WHEN);
    let timeout_ms = duration(table, "timeout", "timeout = \"10m\"");
    let Some(command) = table.get("command", "command = \"./tidy\"") else {
        for field in asked.iter().chain(table.get("schedule", schedule::EXAMPLE).iter()) {
            field.wrong_because("it says when something runs, and not what", "add command = \"./tidy\"");
        }
        return None;
    };
    let words = filled_command(&command, scope);
    refuse_port_of_job(Some((&command, words.as_deref())), None, scope);
    let when = match (asked, &schedule) {
        (Some(field), schedule) => when(&field, schedule.is_some()),
        (None, Some(_)) => Some(When::OnSchedule),
        (None, None) => {
            says_not_when(&command);
            None
        }
    };
    Some(Job {
        name: name?.as_str().parse().ok()?,
        when: when?,
        command: words?,
        variables: [].into(),
        timeout_ms: timeout_ms.unwrap_or(USUAL_JOB_TIMEOUT_MS),
        schedule: schedule.flatten(),
        limits: Limits::default(),
    })
}

fn says_not_when(command: &Field<'_>) {
    let hint = format!("add {}, or {WHEN}", schedule::EXAMPLE);
    command.wrong_because("it says what runs, and not when", hint);
}
