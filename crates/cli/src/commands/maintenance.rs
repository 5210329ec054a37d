//! `lockstep maintenance`: answers that clients get instead of a service, or of one version of it.

use std::path::PathBuf;

use lockstep_api::types::{AddMaintenance, MaintenanceList, RemoveMaintenance};
use lockstep_domain::routes::actions::{MAX_RESPOND_BYTES, Respond, plain_text};
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::parse::duration;
use crate::select::EnvironmentOption;

/// Longest body that is shown in a list.
const SHOWN: usize = 40;

/// Gives clients a page instead of a service, or instead of one version of it, until it is ended.
///
/// No instance is asked for requests that get it, health is asked as before, and nothing of it counts for or against a version on trial. It is a setting
/// of the environment: no rollback and no deployment ends it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep maintenance on orders --body \"back at noon\" --retry-after 1h --env production
  lockstep maintenance on orders --version 2.0.0 --env production
  lockstep maintenance list --env production
  lockstep maintenance off 1 --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: MaintenanceCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum MaintenanceCommand {
    List(ListArgs),
    On(OnArgs),
    Off(OffArgs),
}

/// Lists the pages of an environment.
///
/// Of several, a request gets the first that takes it.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep maintenance list --env production\n  lockstep maintenance list --json"
)]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Gives clients a page from now on.
///
/// Without a service it is for all of the environment. With --version it is for requests that would go to that version, by the split or by a rule;
/// others go on. With --host or --path it is for requests of routes alone, and calls between services go on.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep maintenance on orders --body \"back at noon\" --retry-after 1h --env production
  lockstep maintenance on orders --version 2.0.0 --env production
  lockstep maintenance on --host shop.test --body-file closed.html --content-type text/html --env production")]
struct OnArgs {
    /// The service; all of the environment when left out.
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// Only while a request would go to this version.
    #[arg(long, value_name = "VERSION", requires = "service")]
    version: Option<VersionNumber>,
    /// Only requests for this host, or `*.shop.test`.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only requests for this path and what is below it.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The status of the page, from 200 to 599.
    #[arg(long, value_name = "STATUS", default_value_t = 503)]
    status: u16,
    /// Its text.
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// The file with its text, at most 16 KiB.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// The type of its text; plain text when left out.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// When clients are told to come again.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    retry_after: Option<u64>,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Ends pages, by their numbers.
///
/// Their services and versions get requests again with the next table.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep maintenance off 1 --env production\n  lockstep maintenance off --all --env production"
)]
struct OffArgs {
    /// The numbers of the pages.
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    pages: Vec<u32>,
    /// All there are.
    #[arg(long, conflicts_with = "pages")]
    all: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let (environment, list) = match self.command {
            MaintenanceCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.maintenance(&environment)?;
                (environment, list)
            }
            MaintenanceCommand::On(args) => args.run(ctx)?,
            MaintenanceCommand::Off(args) => args.run(ctx)?,
        };
        ctx.out.show(&list, |list, style| listed(list, &environment, style))
    }
}

impl OnArgs {
    fn run(self, ctx: &Context) -> Result<(EnvironmentName, MaintenanceList), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let body = match (self.body, &self.body_file) {
            (Some(body), _) => body,
            (None, Some(file)) => page(file)?,
            (None, None) => String::new(),
        };
        let content_type = self.content_type.unwrap_or_else(plain_text);
        let respond = Respond { status: self.status, body, content_type };
        let retry_after_s = self.retry_after.map(|ms| ms.div_ceil(1_000));
        let Self { service, version, host, path, .. } = self;
        let request = AddMaintenance { service, version, host, path, respond, retry_after_s };
        let list = ctx.client.add_maintenance(&environment, &request)?;
        Ok((environment, list))
    }
}

impl OffArgs {
    fn run(self, ctx: &Context) -> Result<(EnvironmentName, MaintenanceList), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let pages = match self.all {
            true => ctx.client.maintenance(&environment)?.pages.iter().map(|page| page.number).collect(),
            false => self.pages,
        };
        if pages.is_empty() {
            let list = ctx.client.maintenance(&environment)?;
            return Ok((environment, list));
        }
        let list = ctx.client.remove_maintenance(&environment, &RemoveMaintenance { pages })?;
        Ok((environment, list))
    }
}

fn page(file: &std::path::Path) -> Result<String, Failure> {
    let read = lockstep_files::foreign::open_named(file)
        .and_then(|open| lockstep_files::foreign::read_text(open, MAX_RESPOND_BYTES as u64));
    read.map_err(|error| Failure::file("read the page", file, &error))
}

fn listed(list: &MaintenanceList, environment: &EnvironmentName, style: &Style) -> String {
    if list.pages.is_empty() {
        let text = format!("nothing of {environment} is in maintenance\n");
        return with_confirmation(text, list);
    }
    let mut table = Table::new(["PAGE", "INSTEAD OF", "BODY"]);
    for page in &list.pages {
        let body: String = page.respond.body.chars().take(SHOWN).collect();
        table.row([page.number.to_string(), page.to_string(), printable(&body).into_owned()]);
    }
    with_confirmation(table.render(style), list)
}

fn with_confirmation(mut text: String, list: &MaintenanceList) -> String {
    if !list.is_applied {
        text.push_str("  not every gateway has confirmed it yet\n");
    }
    text
}
