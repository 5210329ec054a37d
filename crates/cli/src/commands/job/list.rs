//! `lockstep job list`.

use lockstep_api::types::{EnvironmentView, ScheduleView};
use lockstep_domain::job::{Job, JobRun, PlannedJob};
use lockstep_domain::name::JobName;
use lockstep_domain::scheduled::{Outcome, ScheduledRun};
use lockstep_domain::{EnvironmentName, Operation, ServiceName, Timestamp, VersionRef};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::runs::{how, log_of, outcome, when};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times;
use crate::select::EnvironmentOption;

/// Lists the jobs of what runs in an environment, with the last run of each.
///
/// A run that an older version began counts as the last one of a job of that name. The log of a run is kept like that of an instance.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep job list --env production\n  lockstep job list --json")]
pub(super) struct Args {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// A job of what runs, and its last run.
#[derive(Debug, Serialize)]
struct Listed {
    version: VersionRef,
    job: Job,
    /// When its time comes next, of a job with a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
    /// Its last run in an operation.
    last_run: Option<LastRun>,
    /// What became of the last time of its schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_scheduled: Option<ScheduledRun>,
}

#[derive(Debug, Serialize)]
struct LastRun {
    operation: u64,
    version: VersionRef,
    run: JobRun,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = ctx.client.environment(&self.environment.resolve(ctx)?)?;
        let operations = ctx.client.operations()?;
        let mut listed = Vec::new();
        for version in versions(&environment) {
            for job in ctx.client.version(&version)?.version.jobs {
                let last_run = last_run(&operations, &environment.name, &version.service, &job.name);
                let schedule = schedule_of(&environment, &version.service, &job.name);
                listed.push(Listed {
                    version: version.clone(),
                    job,
                    next: schedule.and_then(|it| it.next),
                    last_run,
                    last_scheduled: schedule.and_then(|it| it.last.clone()),
                });
            }
        }
        ctx.out.show(&listed, |listed, style| render(listed, style))
    }
}

fn versions(environment: &EnvironmentView) -> impl Iterator<Item = VersionRef> {
    let live = environment.services.iter();
    live.filter_map(|it| Some(it.entry.as_ref()?.arm(&it.service).version_ref()))
}

fn schedule_of<'a>(
    environment: &'a EnvironmentView,
    service: &ServiceName,
    job: &JobName,
) -> Option<&'a ScheduleView> {
    environment.schedules.iter().find(|it| it.service == *service && it.job == *job)
}

fn last_run(
    operations: &[Operation],
    environment: &EnvironmentName,
    service: &ServiceName,
    job: &JobName,
) -> Option<LastRun> {
    let here = operations.iter().filter(|operation| operation.environment == *environment);
    let is_it = |planned: &PlannedJob| planned.arm.service == *service && planned.job == *job;
    let runs =
        here.flat_map(|operation| operation.job_runs().map(move |(job, run)| (operation.id.0, job, run)));
    let last = runs.filter(|(_, planned, _)| is_it(planned)).max_by_key(|(operation, _, _)| *operation);
    last.map(|(operation, planned, run)| LastRun {
        operation,
        version: planned.arm.version_ref(),
        run: run.clone(),
    })
}

fn render(listed: &[Listed], style: &Style) -> String {
    if listed.is_empty() {
        return "nothing that runs here has a job: [[job]] in lockstep.toml\n".to_owned();
    }
    let mut table = Table::new(["VERSION", "JOB", "WHEN", "NEXT", "LAST RUN", "HOW IT ENDED", "LOG"]);
    for one in listed {
        let [ran, how, log] = last(one, style);
        let next = one.next.map(|at| times::ahead(times::now(), at)).unwrap_or_default();
        table.row([one.version.to_string(), one.job.name.to_string(), when(&one.job), next, ran, how, log]);
    }
    table.render(style)
}

/// Which run was the last one, how it ended, and how its log is shown.
fn last(one: &Listed, style: &Style) -> [String; 3] {
    let asked = one.last_run.as_ref();
    let scheduled =
        one.last_scheduled.as_ref().filter(|it| asked.is_none_or(|asked| at(it) > asked.run.begun));
    match (scheduled, asked) {
        (Some(scheduled), _) => {
            let ran = format!("of {}, {}", scheduled.due.day(), style.ago(at(scheduled)));
            [ran, outcome(scheduled), log_of(scheduled.run())]
        }
        (None, Some(LastRun { operation, run, .. })) => {
            [format!("operation {operation}, {}", style.ago(run.begun)), how(run), log_of(Some(run))]
        }
        (None, None) => ["never".to_owned(), String::new(), String::new()],
    }
}

fn at(scheduled: &ScheduledRun) -> Timestamp {
    match &scheduled.outcome {
        Outcome::Ran(run) => run.begun,
        Outcome::Skipped(skip) => skip.at,
    }
}
