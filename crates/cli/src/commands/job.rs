//! `lockstep job`: programs of a version that run once.

use lockstep_api::types::EnvironmentView;
use lockstep_domain::job::{Job, JobRun, PlannedJob};
use lockstep_domain::name::JobName;
use lockstep_domain::{EnvironmentName, Intent, Operation, ServiceName, VersionRef};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times;
use crate::select::EnvironmentOption;

/// Lists the jobs of what runs in an environment, and runs them.
///
/// A version brings its jobs in its manifest (`[[job]]`). Those for before the switch and after a deploy run by themselves, once in
/// each operation that brings their version.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep job list --env production
  lockstep job run orders reindex --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum JobCommand {
    List(ListArgs),
    Run(RunArgs),
}

/// Lists the jobs of what runs in an environment, with the last run of each.
///
/// A run that an older version began counts as the last one of a job of that name. The log of a run is kept like that of an instance.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep job list --env production\n  lockstep job list --json")]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Runs a job of what runs of a service, and waits for its end.
///
/// Any job can be run so, whatever its `when` is. It ends with 1 when the job failed. While it runs, no other operation on the service
/// begins.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep job run orders reindex --env production")]
struct RunArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The job, as its manifest names it.
    #[arg(value_name = "JOB")]
    job: JobName,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            JobCommand::List(args) => args.run(ctx),
            JobCommand::Run(args) => args.run(ctx),
        }
    }
}

impl RunArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let intent = Intent::RunJob { service: self.service, job: self.job };
        self.change.change(environment, intent).run(ctx)
    }
}

/// A job of what runs, and its last run.
#[derive(Debug, Serialize)]
struct Listed {
    version: VersionRef,
    job: Job,
    last_run: Option<LastRun>,
}

#[derive(Debug, Serialize)]
struct LastRun {
    operation: u64,
    version: VersionRef,
    run: JobRun,
}

impl ListArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = ctx.client.environment(&self.environment.resolve(ctx)?)?;
        let operations = ctx.client.operations()?;
        let mut listed = Vec::new();
        for version in versions(&environment) {
            for job in ctx.client.version(&version)?.version.jobs {
                let last_run = last_run(&operations, &environment.name, &version.service, &job.name);
                listed.push(Listed { version: version.clone(), job, last_run });
            }
        }
        ctx.out.show(&listed, |listed, style| render(listed, style))
    }
}

fn versions(environment: &EnvironmentView) -> impl Iterator<Item = VersionRef> {
    let live = environment.services.iter();
    live.filter_map(|it| Some(it.entry.as_ref()?.arm(&it.service).version_ref()))
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
    let mut table = Table::new(["VERSION", "JOB", "WHEN", "LAST RUN", "HOW IT ENDED", "LOG"]);
    for Listed { version, job, last_run } in listed {
        let (ran, how, log) = match last_run {
            None => ("never".to_owned(), String::new(), String::new()),
            Some(LastRun { operation, run, .. }) => {
                let ran = format!("operation {operation}, {}", style.ago(run.begun));
                (ran, how(run), format!("lockstep logs {}", run.instance))
            }
        };
        table.row([version.to_string(), job.name.to_string(), job.when.to_string(), ran, how, log]);
    }
    table.render(style)
}

fn how(run: &JobRun) -> String {
    let Some(end) = &run.end else { return "it runs".to_owned() };
    match &end.failure {
        None => format!("done after {}", times::exact(end.at.since_ms(run.begun))),
        Some(why) => format!("failed: {}", why.lines().next().unwrap_or_default()),
    }
}
