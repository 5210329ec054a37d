//! `lockstep resource`: the databases and the like that services of an environment work with.

use std::fmt::Write as _;

use lockstep_api::types::{
    AddResource, ChangeResource, DataFolderView, RemoveResource, ResourceHealth, ResourceView, RunResource,
};
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::{EnvironmentName, VersionRef};

use super::config::secret::read_one;
use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::sizes::size;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::select::EnvironmentOption;

/// Says where databases and the like are that services work with, and runs them where nobody else does.
///
/// A service says in its manifest what it needs (`[resource.db]` with a `kind`), and refers to it: `${resource.db.url}`. An environment says
/// where that is: `add` takes the address of one that somebody else runs, `run` lets Lockstep run PostgreSQL or Redis on the machine of the server.
/// A version that needs what the environment lacks is not deployed there.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep resource run db --kind postgresql --env development
  lockstep resource add db --kind postgresql --env production < url.txt
  lockstep resource list --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ResourceCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum ResourceCommand {
    List(ListArgs),
    Show(ShowArgs),
    Add(AddArgs),
    Run(RunArgs),
    Set(SetArgs),
    Remove(RemoveArgs),
}

/// Lists the resources of an environment, and whether they answer.
///
/// Lockstep connects and asks for as much of a greeting as needs no password, so it does not know whether user and password are right.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep resource list --env production\n  lockstep resource list --json"
)]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Shows a resource: where it is, who needs it, and what runs for it.
///
/// Nothing secret is shown. The log of what Lockstep runs is shown by `lockstep logs` and the name of its instance.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep resource show db --env production")]
struct ShowArgs {
    /// The resource.
    #[arg(value_name = "RESOURCE")]
    resource: ResourceName,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Says where a resource is that somebody else runs.
///
/// The address is a URL with user and password. It is read from standard input, or asked for without showing it; it goes to the secret store of
/// the server and nowhere else. One that does not answer is taken all the same, and shown as unhealthy.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep resource add db --kind postgresql --env production
  lockstep resource add cache --kind redis --env production < url.txt")]
struct AddArgs {
    /// The name by which services refer to it.
    #[arg(value_name = "RESOURCE")]
    resource: ResourceName,
    /// What it is: postgresql, mysql, redis or other.
    #[arg(long, value_name = "KIND")]
    kind: ResourceKind,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Lets Lockstep run a PostgreSQL or Redis of its own for an environment.
///
/// It runs what is installed on the machine of the server, listens on loopback, and lets in who has the generated password, which services are
/// told. It goes on when the server stops, and is started again when it dies. Its data lies in the data folder of Lockstep, in no backup of
/// Lockstep, and is found again when a resource of the same name and kind was removed before.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep resource run db --kind postgresql --env development
  lockstep resource run cache --kind redis --env development")]
struct RunArgs {
    /// The name by which services refer to it.
    #[arg(value_name = "RESOURCE")]
    resource: ResourceName,
    /// What it is: postgresql or redis.
    #[arg(long, value_name = "KIND")]
    kind: ResourceKind,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Changes the address of a resource that somebody else runs: another place, or another password.
///
/// It is read as by `add`. Instances that run keep the former address until they are restarted; the commands for that are shown.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep resource set db --env production < url.txt")]
struct SetArgs {
    /// The resource.
    #[arg(value_name = "RESOURCE")]
    resource: ResourceName,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Removes a resource from an environment; what Lockstep ran for it ends.
///
/// It is refused while a version that needs it runs in the environment or is on its way there. The data of what Lockstep ran is kept, unless
/// --delete-data is said, which also takes what a resource left that was removed before.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep resource remove db --env review-17
  lockstep resource remove db --env review-17 --delete-data --yes")]
struct RemoveArgs {
    /// The resource.
    #[arg(value_name = "RESOURCE")]
    resource: ResourceName,
    /// Remove its data too, for ever.
    #[arg(long)]
    delete_data: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    confirm: ConfirmOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            ResourceCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let all = ctx.client.resources(&environment)?;
                ctx.out.show(&all, |all, style| listed(all, &environment, style))
            }
            ResourceCommand::Show(args) => {
                let environment = args.environment.resolve(ctx)?;
                ctx.out.show(&ctx.client.resource(&environment, &args.resource)?, shown)
            }
            ResourceCommand::Add(args) => args.run(ctx),
            ResourceCommand::Run(args) => args.run(ctx),
            ResourceCommand::Set(args) => args.run(ctx),
            ResourceCommand::Remove(args) => args.run(ctx),
        }
    }
}

impl AddArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { resource, kind, reason, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        let hint = format!("lockstep resource add {resource} --kind {kind} --env {environment} < FILE");
        let url = read_one("URL", &hint)?;
        let view = ctx.client.add_resource(&environment, &AddResource { resource, kind, url, reason })?;
        ctx.out.show(&view, |view, style| is_now_at(view, style) + &warning(view, style))
    }
}

impl RunArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { resource, kind, reason, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        let found = is_there(&ctx.client.data(Some(&environment))?, &resource, kind);
        let view = ctx.client.run_resource(&environment, &RunResource { resource, kind, reason })?;
        ctx.out.show(&view, |view, style| {
            let show = format!("lockstep resource show {} --env {}", view.resource, view.environment);
            let mut text =
                format!("{}: {} is being started at {}\n", style.good("done"), view.resource, view.address);
            let _ = writeln!(text, "  whether it answers: {show}");
            if let Some(run) = &view.run {
                let _ =
                    writeln!(text, "  its data, which no backup of Lockstep holds: {}", printable(&run.path));
            }
            if found {
                text.push_str("  it goes on with the data that it left there, and with a new password\n");
            }
            text
        })
    }
}

impl SetArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { resource, reason, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        let url = read_one("URL", &format!("lockstep resource set {resource} --env {environment} < FILE"))?;
        let view = ctx.client.change_resource(&environment, &resource, &ChangeResource { url, reason })?;
        ctx.out.show(&view, |view, style| is_now_at(view, style) + &restarts(view) + &warning(view, style))
    }
}

impl RemoveArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { resource, delete_data, reason, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        if delete_data {
            self.confirm
                .ask(&format!("this removes the data of `{resource}` in `{environment}` for ever"))?;
        }
        let before = ctx.client.resource(&environment, &resource).ok();
        let request = RemoveResource { delete_data, reason };
        let left = ctx.client.remove_resource(&environment, &resource, &request)?;
        ctx.out
            .show(&left, |_, style| removed(&resource, &environment, (before.as_ref(), delete_data), style))
    }
}

/// Tells whether a resource has left data.
fn is_there(folders: &[DataFolderView], resource: &ResourceName, kind: ResourceKind) -> bool {
    let is_of = |it: &DataFolderView| it.of_resource.as_ref().is_some_and(|of| of.resource == *resource);
    folders.iter().any(|it| is_of(it) && it.folder.as_str() == kind.as_str())
}

fn removed(
    resource: &ResourceName,
    environment: &EnvironmentName,
    (before, delete_data): (Option<&ResourceView>, bool),
    style: &Style,
) -> String {
    let done = style.good("done");
    let run = before.and_then(|view| view.run.as_ref());
    match run {
        _ if delete_data => format!("{done}: {resource} is removed from {environment}, with its data\n"),
        Some(run) => format!(
            "{done}: {resource} is removed from {environment}; its data is kept: {}\n  to remove that too: lockstep resource remove {resource} --env {environment} --delete-data\n",
            printable(&run.path)
        ),
        None => format!(
            "{done}: {resource} is removed from {environment}; what ran there is somebody else's, and goes on\n"
        ),
    }
}

fn is_now_at(view: &ResourceView, style: &Style) -> String {
    format!(
        "{}: {} of {} is at {}\n",
        style.good("done"),
        view.resource,
        view.environment,
        printable(&view.address)
    )
}

fn warning(view: &ResourceView, style: &Style) -> String {
    match &view.health {
        ResourceHealth::Unhealthy { reason } => {
            format!("{} it does not answer: {}\n", style.warn("warning:"), printable(reason))
        }
        ResourceHealth::Healthy | ResourceHealth::Unknown => String::new(),
    }
}

/// Who is told the address anew, and how.
fn restarts(view: &ResourceView) -> String {
    let mut text = String::new();
    for VersionRef { service, .. } in &view.needed_by {
        let _ = writeln!(
            text,
            "  instances of {service} keep the former address: lockstep restart {service} --env {}",
            view.environment
        );
    }
    text
}

fn listed(all: &[ResourceView], environment: &EnvironmentName, style: &Style) -> String {
    if all.is_empty() {
        return format!(
            "{environment} has no resource; say where one is: lockstep resource add NAME --kind KIND --env {environment}\n"
        );
    }
    rows(all).render(style)
}

/// A line for each resource.
pub(super) fn rows(all: &[ResourceView]) -> Table {
    let mut table = Table::new(["RESOURCE", "KIND", "HEALTH", "ADDRESS", "NEEDED BY"]);
    for view in all {
        table.row([
            view.resource.to_string(),
            view.kind.to_string(),
            health(&view.health),
            printable(&view.address).into_owned(),
            view.needed_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

fn health(health: &ResourceHealth) -> String {
    match health {
        ResourceHealth::Healthy => "healthy".to_owned(),
        ResourceHealth::Unknown => "not asked yet".to_owned(),
        ResourceHealth::Unhealthy { reason } => {
            format!("unhealthy: {}", printable(reason.lines().next().unwrap_or_default()))
        }
    }
}

fn shown(view: &ResourceView, style: &Style) -> String {
    let title = format!("{} of {}", view.resource, view.environment);
    let mut text = format!("{}  {}, {}\n", style.strong(&title), view.kind, printable(&view.address));
    let (reason, more) = match &view.health {
        ResourceHealth::Unhealthy { reason } => (health(&view.health), reason.lines().skip(1).collect()),
        other => (health(other), Vec::new()),
    };
    let _ = writeln!(text, "  {reason}");
    for line in more {
        let _ = writeln!(text, "    {}", printable(line));
    }
    let needed: Vec<_> = view.needed_by.iter().map(ToString::to_string).collect();
    if !needed.is_empty() {
        let _ = writeln!(text, "  needed by: {}", needed.join(", "));
    }
    let Some(run) = &view.run else { return text };
    for instance in run.instances.iter().filter(|instance| !instance.state.is_over()) {
        let restarts = match instance.restarts {
            0 => String::new(),
            1 => ", its process was started again once".to_owned(),
            times => format!(", its process was started again {times} times"),
        };
        let _ = writeln!(text, "  run by Lockstep{restarts}: lockstep logs {}", instance.id);
    }
    let held = run.size.map_or_else(String::new, |it| format!(" ({})", size(it.bytes)));
    let _ = writeln!(text, "  its data, which no backup of Lockstep holds: {}{held}", printable(&run.path));
    text
}
