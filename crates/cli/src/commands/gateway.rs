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
use lockstep_domain::{EnvironmentName, GatewayName};

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
use crate::output::style::Style;
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
    #[serde(flatten)]
    identity: GatewayIdentityView,
    reports: Vec<Report>,
}

#[derive(Debug, serde::Serialize)]
struct Report {
    environment: EnvironmentName,
    #[serde(flatten)]
    seen: GatewayView,
}

fn list(ctx: &Context) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for environment in ctx.client.environments()? {
        let seen = ctx.client.environment(&environment.name)?.gateways;
        reports.extend(seen.into_iter().map(|seen| Report { environment: environment.name.clone(), seen }));
    }
    let mut listed = Vec::new();
    for identity in ctx.client.gateways()? {
        let name = identity.name.as_str();
        let is_own = |report: &Report| report.seen.gateway.split('/').next() == Some(name);
        let (own, others) = reports.into_iter().partition(is_own);
        reports = others;
        listed.push(Listed { identity, reports: own });
    }
    ctx.out.show(&listed, |listed, style| render(listed, style))
}

fn render(listed: &[Listed], style: &Style) -> String {
    if listed.is_empty() {
        return "no gateway has a key; lockstep gateway add NAME --env ENV\n".to_owned();
    }
    let mut table = Table::new(["NAME", "ENVIRONMENTS", "ADDED", "BY", "REPORTS"]);
    for Listed { identity, reports } in listed {
        let environments: Vec<_> = identity.environments.iter().map(ToString::to_string).collect();
        let reports: Vec<_> = reports.iter().map(|report| said(report, style)).collect();
        table.row([
            identity.name.to_string(),
            environments.join(", "),
            style.ago(identity.added),
            identity.by.to_string(),
            if reports.is_empty() { "nothing".to_owned() } else { reports.join("; ") },
        ]);
    }
    table.render(style)
}

fn said(report: &Report, style: &Style) -> String {
    let Report { environment, seen } = report;
    let when = style.ago(seen.seen);
    match &seen.problem {
        None => format!("{environment} at revision {} {when}", seen.revision),
        Some(problem) => format!("{environment} {when}: {problem}"),
    }
}
