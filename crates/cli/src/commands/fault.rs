//! `lockstep fault`: faults that requests of a service meet on purpose.

use lockstep_api::types::{AddFault, FaultList, RemoveFaults};
use lockstep_domain::injection::{FaultInjection, Injected, MAX_DELAY_MS};
use lockstep_domain::version_rules::{Pattern, Takes};
use lockstep_domain::{EnvironmentName, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::{ahead, now};
use crate::parse::duration;
use crate::parse::share::{in_10000, percent};
use crate::select::EnvironmentOption;

/// Injects faults, to see what callers of a service do when it fails or is slow.
///
/// Only where the environment allows it: lockstep environment set ENV --fault-injection allow. Each has an end. What is injected counts neither for
/// nor against a version on trial, and says so: in answers by lockstep-fault, in the access log, and in the metrics.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep fault add orders --abort 503 --share 10% --for 10m --env staging
  lockstep fault list --env staging
  lockstep fault remove 1 --env staging")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: FaultCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum FaultCommand {
    List(ListArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Lists the faults of an environment that are in force.
///
/// Of several faults of a service, a request meets the first that takes it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep fault list --env staging\n  lockstep fault list --json")]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Lets requests of a service meet a fault for some time.
///
/// A request that is aborted reaches no instance. One that is delayed is sent on later, and its time limits go on meanwhile.
#[derive(Debug, Clone, clap::Args)]
#[command(
    group = clap::ArgGroup::new("does").required(true).multiple(false),
    after_help = "Examples:
  lockstep fault add orders --abort 503 --share 10% --for 10m --env staging
  lockstep fault add orders --delay 2s --header x-user=jason --env staging"
)]
struct AddArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Answer with this status, and ask no instance.
    #[arg(long, value_name = "STATUS", group = "does", value_parser = clap::value_parser!(u16).range(400..=599))]
    abort: Option<u16>,
    /// Ask an instance so much later, at most 30 s.
    #[arg(long, value_name = "DURATION", group = "does", value_parser = delay)]
    delay: Option<u64>,
    /// Of how many of its requests.
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = in_10000)]
    share: u32,
    /// Only those with a header field of exactly this value.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Option<Pattern>,
    /// How long, at most a day.
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = duration::milliseconds)]
    for_ms: u64,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Ends faults before their time, by their numbers.
///
/// All end at once with lockstep environment set ENV --fault-injection refuse.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep fault remove 1 --env staging")]
struct RemoveArgs {
    /// The numbers of the faults.
    #[arg(value_name = "NUMBER", required = true)]
    faults: Vec<u32>,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let (environment, list) = match self.command {
            FaultCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.faults(&environment)?;
                (environment, list)
            }
            FaultCommand::Add(args) => args.run(ctx)?,
            FaultCommand::Remove(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.remove_faults(&environment, &RemoveFaults { faults: args.faults })?;
                (environment, list)
            }
        };
        ctx.out.show(&list, |list, style| listed(list, &environment, style))
    }
}

impl AddArgs {
    fn run(self, ctx: &Context) -> Result<(EnvironmentName, FaultList), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let does = self.abort.map(Injected::Abort).or(self.delay.map(Injected::DelayMs));
        let does = does.ok_or_else(|| Failure::usage("what requests meet is not said"))?;
        let Self { service, share, header, for_ms, .. } = self;
        let request = AddFault { service, does, share, header, for_ms };
        let list = ctx.client.add_fault(&environment, &request)?;
        Ok((environment, list))
    }
}

fn delay(text: &str) -> Result<u64, String> {
    let ms = duration::milliseconds(text)?;
    if (1..=MAX_DELAY_MS).contains(&ms) { Ok(ms) } else { Err("a delay is from 1 ms to 30 s".to_owned()) }
}

fn header(text: &str) -> Result<Pattern, String> {
    let (name, value) = text.split_once('=').ok_or("a name and a value are needed: NAME=VALUE")?;
    match Takes::header(name, value).map_err(|error| error.to_string())? {
        Takes::Header(pattern) => Ok(pattern),
        _ => Err("it is no header".to_owned()),
    }
}

fn listed(list: &FaultList, environment: &EnvironmentName, style: &Style) -> String {
    if list.faults.is_empty() {
        let permission = match list.fault_injection {
            FaultInjection::Allow => "it allows them",
            FaultInjection::Refuse => "it does not allow them",
        };
        return format!("{environment} has no faults: {permission}\n");
    }
    let mut table = Table::new(["FAULT", "REQUESTS OF", "MEET", "SHARE", "WITH", "ENDS"]);
    for fault in &list.faults {
        let header = fault.header.as_ref().map(|it| format!("{}: {}", it.name, it.value)).unwrap_or_default();
        table.row([
            fault.number.to_string(),
            fault.service.to_string(),
            fault.does.to_string(),
            percent(fault.share),
            printable(&header).into_owned(),
            ahead(now(), fault.until),
        ]);
    }
    let mut text = table.render(style);
    if !list.is_applied {
        text.push_str("  not every gateway has confirmed it yet\n");
    }
    text
}
