//! `lockstep gateway`: gateways of their own, their keys and the process itself.

mod admin;
mod check;
mod drain;
mod fields;
mod import;
mod recent;
mod run;
pub(crate) mod table_file;
mod top;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lockstep_api::types::{AddGateway, GatewayAdded, GatewayIdentityView, GatewayView};
use lockstep_domain::clients_at::OutsideAt;
use lockstep_domain::{Actor, EnvironmentName, GatewayName, Timestamp};

use self::check::CheckArgs;
use self::drain::DrainArgs;
use self::fields::FieldsArgs;
use self::import::ImportArgs;
use self::recent::RecentArgs;
use self::run::RunArgs;
use self::top::TopArgs;
use crate::context::{Context, Globals};
use crate::failure::Failure;
use crate::output::Output;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Runs gateways of their own, and says which there are.
///
/// A gateway of its own has a name and a key. With the key it may ask for the route tables of its environments and report
/// on them, and nothing else; without one the server takes no report, and waits for it with no change. Without a
/// subcommand this is `lockstep gateway run`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  lockstep gateway add edge-1 --env production --key-file edge-1.key
  lockstep gateway run --env production --key-file edge-1.key --listen 0.0.0.0:80 --data /var/lib/lockstep-gateway
  lockstep gateway list"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<GatewayCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum GatewayCommand {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
    Run(Box<RunArgs>),
    Check(CheckArgs),
    Fields(FieldsArgs),
    Top(TopArgs),
    Recent(RecentArgs),
    Drain(DrainArgs),
    Import(ImportArgs),
}

/// Adds a gateway and gives out its key.
///
/// The key is written once: to a new file that only you can read, or to standard output. The server keeps a digest.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway add edge-1 --env production --key-file edge-1.key
  lockstep gateway add edge-2 --env staging --env production > edge-2.key")]
struct AddArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: GatewayName,
    /// An environment it serves.
    #[arg(long = "env", value_name = "ENV", required = true)]
    environments: Vec<EnvironmentName>,
    /// The file that the key is written to; it must not exist.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Lists the gateways that have a key, and what they report.
///
/// Also shows reports that were refused in the last minute, and why.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep gateway list")]
struct ListArgs {}

/// Makes the key of a gateway invalid.
///
/// The process goes on serving its last tables. Nothing waits for it from then on: end it, or give it a new key.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep gateway remove edge-1")]
struct RemoveArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: GatewayName,
}

impl Args {
    pub(crate) fn run(self, globals: &Globals, out: &Output) -> Result<(), Failure> {
        let ctx = || Context::new(globals.clone());
        let Some(command) = self.command else { return self.run.run(globals, out) };
        match command {
            GatewayCommand::Run(args) => args.run(globals, out),
            GatewayCommand::Add(args) => args.run(&ctx()?),
            GatewayCommand::Check(args) => args.run(out),
            GatewayCommand::Fields(args) => args.run(out),
            GatewayCommand::Top(args) => args.run(out),
            GatewayCommand::Recent(args) => args.run(out),
            GatewayCommand::Drain(args) => args.run(out),
            GatewayCommand::Import(args) => args.run(out),
            GatewayCommand::List(_) => list(&ctx()?),
            GatewayCommand::Remove(args) => {
                let ctx = ctx()?;
                let left = ctx.client.remove_gateway(&args.name)?;
                ctx.out.show(&left, |_, style| {
                    format!("{}: the key of {} is not valid any more\n", style.good("done"), args.name)
                })
            }
        }
    }
}

impl AddArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environments: BTreeSet<_> = self.environments.into_iter().collect();
        // Made before it is asked for: a key that cannot be kept is lost.
        let file = self.key_file.as_deref().map(create_private).transpose()?;
        let added = ctx.client.add_gateway(&AddGateway { name: self.name, environments });
        let Some((path, mut file)) = self.key_file.as_deref().zip(file) else {
            return ctx.out.show(&added?, |added, _| format!("{}\n", added.key));
        };
        let added = match added {
            Ok(added) => added,
            Err(error) => {
                let _ = std::fs::remove_file(path);
                return Err(error.into());
            }
        };
        let kept = file.write_all(format!("{}\n", added.key).as_bytes()).and_then(|()| file.sync_all());
        kept.map_err(|error| {
            Failure::file("write the key to", path, &error)
                .hint(format!("lockstep gateway remove {}, and add it again", added.name))
        })?;
        let shown = GatewayAdded { key: format!("(in {})", path.display()), ..added };
        ctx.out.show(&shown, |added, style| {
            let environments: Vec<_> = added.environments.iter().map(ToString::to_string).collect();
            format!(
                "{}: gateway {} may serve {}; its key is in {}\n",
                style.good("done"),
                added.name,
                environments.join(", "),
                path.display()
            )
        })
    }
}

fn create_private(path: &Path) -> Result<std::fs::File, Failure> {
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|error| Failure::file("make", path, &error))
}

/// A gateway with what is heard of it.
#[derive(Debug, serde::Serialize)]
struct Listed {
    name: String,
    environments: BTreeSet<EnvironmentName>,
    /// When it was given its key, and by whom; that in the server, and those of hosts, have none.
    #[serde(flatten)]
    key: Option<Given>,
    reports: Vec<Report>,
}

#[derive(Debug, serde::Serialize)]
struct Given {
    added: Timestamp,
    by: Actor,
}

#[derive(Debug, serde::Serialize)]
struct Report {
    environment: EnvironmentName,
    #[serde(flatten)]
    seen: GatewayView,
}

impl Report {
    /// The name of the gateway, of which this is one process.
    fn name(&self) -> &str {
        self.seen.gateway.split('/').next().unwrap_or_default()
    }
}

impl Listed {
    fn with_key(identity: GatewayIdentityView) -> Self {
        let GatewayIdentityView { name, environments, added, by } = identity;
        let key = Some(Given { added, by });
        Self { name: name.to_string(), environments, key, reports: Vec::new() }
    }
}

fn list(ctx: &Context) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for environment in ctx.client.environments()? {
        let seen = ctx.client.environment(&environment.name)?.gateways;
        reports.extend(seen.into_iter().map(|seen| Report { environment: environment.name.clone(), seen }));
    }
    let listed = listed(ctx.client.gateways()?, reports);
    ctx.out.show(&listed, |listed, style| render(listed, style))
}

/// Gateways with a key come first, then those of hosts, which have none. That in the server is always there.
fn listed(identities: Vec<GatewayIdentityView>, reports: Vec<Report>) -> Vec<Listed> {
    let mut listed: Vec<_> = identities.into_iter().map(Listed::with_key).collect();
    for report in reports {
        let known = listed.iter_mut().find(|it| it.name == report.name());
        match known {
            Some(known) => known.reports.push(report),
            None if report.name().starts_with(OF_HOST) => {
                let environments = BTreeSet::new();
                let name = report.name().to_owned();
                listed.push(Listed { name, environments, key: None, reports: vec![report] });
            }
            None => {}
        }
    }
    for of_host in listed.iter_mut().filter(|it| it.key.is_none()) {
        of_host.environments = of_host.reports.iter().map(|report| report.environment.clone()).collect();
    }
    listed
}

/// What the names of gateways of hosts begin with.
const OF_HOST: &str = "host-";

fn render(listed: &[Listed], style: &Style) -> String {
    if listed.is_empty() {
        return "no gateway has a key; lockstep gateway add NAME --env ENV\n".to_owned();
    }
    let mut table = Table::new(["NAME", "ENVIRONMENTS", "ADDED", "BY", "REPORTS"]);
    for Listed { name, environments, key, reports } in listed {
        let environments: Vec<_> = environments.iter().map(ToString::to_string).collect();
        let reports: Vec<_> = reports.iter().map(|report| said(report, style)).collect();
        table.row([
            name.clone(),
            environments.join(", "),
            key.as_ref().map_or_else(|| "with its host".to_owned(), |key| style.ago(key.added)),
            key.as_ref().map(|key| key.by.to_string()).unwrap_or_default(),
            if reports.is_empty() { "nothing".to_owned() } else { reports.join("; ") },
        ]);
    }
    table.render(style)
}

fn said(report: &Report, style: &Style) -> String {
    let Report { environment, seen } = report;
    let when = style.ago(seen.seen);
    let outside: Vec<_> = seen.outside.iter().map(came_in).collect();
    let outside = if outside.is_empty() {
        String::new()
    } else {
        format!(", clients come in at {}", outside.join(" and "))
    };
    match &seen.problem {
        None => format!("{environment} at revision {} {when}{outside}", seen.revision),
        Some(problem) => format!("{environment} {when}: {problem}"),
    }
}

/// Where clients from outside come in, or why not there.
fn came_in(at: &OutsideAt) -> String {
    match &at.problem {
        None => at.url(),
        Some(why) => format!("{} not yet ({})", at.url(), printable(why)),
    }
}
