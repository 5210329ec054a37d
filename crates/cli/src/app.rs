//! All commands as one tree, and the way from what was typed to an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::context::{Context, Globals};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{ColorChoice, Format, Output};

/// Version management for microservices: which version runs where, and the way forward and back.
///
/// Lockstep builds versions from git, brings whole sets of them into environments without breaking a call, and takes
/// one service or the whole environment back to any earlier state.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep",
    version,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  lockstep server
  lockstep service add ../orders && lockstep release orders
  lockstep deploy orders@1.4.0 --env staging && lockstep promote staging production
  lockstep rollback orders --to 1.3.2 --env production

Exit codes: lockstep exit-codes"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Server(commands::server::Args),
    Gateway(Box<commands::gateway::Args>),
    Init(commands::init::Args),
    Import(commands::import::Args),
    Check(commands::check::Args),
    Service(commands::service::Args),
    Services(commands::services::Args),
    Show(commands::show::Args),
    Release(commands::release::Args),
    Compat(commands::compat::Args),
    #[command(name = "can-i-deploy")]
    CanIDeploy(commands::can::DeployArgs),
    #[command(name = "can-i-roll-back")]
    CanIRollBack(commands::can::RollBackArgs),
    Builds(commands::builds::Args),
    Build(commands::build::Args),
    Logs(commands::logs::Args),
    Environments(commands::environments::Args),
    Environment(commands::environment::Args),
    Status(commands::status::Args),
    Deploy(commands::deploy::Args),
    Promote(commands::promote::Args),
    Rollback(commands::rollback::Args),
    Undo(commands::undo::Args),
    Remove(commands::remove::Args),
    Config(commands::config::Args),
    Scale(commands::scale::Args),
    Restart(commands::restart::Args),
    Rebalance(commands::rebalance::Args),
    Instance(commands::instance::Args),
    Job(commands::job::Args),
    Resource(commands::resource::Args),
    Database(commands::database::Args),
    Hosts(commands::hosts::Args),
    Host(Box<commands::host::Args>),
    Certificate(commands::certificate::Args),
    Route(commands::route::Args),
    Mirror(commands::mirror::Args),
    Lane(commands::lane::Args),
    Fault(commands::fault::Args),
    Maintenance(commands::maintenance::Args),
    Routes(commands::routes::Args),
    Explain(commands::explain::Args),
    Stage(commands::stage::Args),
    Approve(commands::approve::Args),
    Hold(commands::hold::Args),
    History(commands::history::Args),
    Readiness(commands::readiness::Args),
    Calls(commands::calls::Args),
    Metrics(commands::metrics::Args),
    Propagation(commands::propagation::Args),
    Diff(commands::diff::Args),
    Operations(commands::operations::Args),
    Watch(commands::watch::Args),
    Events(commands::events::Args),
    Alerts(commands::alerts::Args),
    Checks(commands::checks::Args),
    Blame(commands::blame::Args),
    Notify(commands::notify::Args),
    Silence(commands::silence::Args),
    Accept(commands::accept::Args),
    Journal(commands::journal::Args),
    Judge(commands::judge::Args),
    Plan(commands::plan::Args),
    Backup(commands::backup::Args),
    Data(commands::data::Args),
    Key(commands::key::Args),
    Store(commands::store::Args),
    Lifecycle(commands::lifecycle::Args),
    Branches(commands::branches::Args),
    Contract(commands::contract::Args),
    Openapi(commands::openapi::Args),
    Completions(commands::completions::Args),
    ExitCodes(commands::exit_codes::Args),
    Reference(commands::reference::Args),
}

/// Reads the command line, runs the command, and shows why it failed.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let out = cli.globals.output();
    match run(cli, &out) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            show(&failure, &out);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli, out: &Output) -> Result<(), Failure> {
    let ctx = || Context::new(cli.globals.clone());
    match cli.command {
        Command::Server(args) => args.run(&cli.globals, out),
        Command::Gateway(args) => args.run(&cli.globals, out),
        Command::Init(args) => args.run(&ctx()?),
        Command::Import(args) => args.run(&ctx()?),
        Command::Check(args) => args.run(&ctx()?),
        Command::Service(args) => args.run(&ctx()?),
        Command::Services(args) => args.run(&ctx()?),
        Command::Show(args) => args.run(&ctx()?),
        Command::Release(args) => args.run(&ctx()?),
        Command::Compat(args) => args.run(&ctx()?),
        Command::CanIDeploy(args) => args.run(&ctx()?),
        Command::CanIRollBack(args) => args.run(&ctx()?),
        Command::Builds(args) => args.run(&ctx()?),
        Command::Build(args) => args.run(&ctx()?),
        Command::Logs(args) => args.run(&ctx()?),
        Command::Environments(args) => args.run(&ctx()?),
        Command::Environment(args) => args.run(&ctx()?),
        Command::Status(args) => args.run(&ctx()?),
        Command::Deploy(args) => args.run(&ctx()?),
        Command::Promote(args) => args.run(&ctx()?),
        Command::Rollback(args) => args.run(&ctx()?),
        Command::Undo(args) => args.run(&ctx()?),
        Command::Remove(args) => args.run(&ctx()?),
        Command::Config(args) => args.run(&ctx()?),
        Command::Scale(args) => args.run(&ctx()?),
        Command::Restart(args) => args.run(&ctx()?),
        Command::Rebalance(args) => args.run(&ctx()?),
        Command::Instance(args) => args.run(&ctx()?),
        Command::Job(args) => args.run(&ctx()?),
        Command::Resource(args) => args.run(&ctx()?),
        Command::Database(args) => args.run(&ctx()?),
        Command::Hosts(args) => args.run(&ctx()?),
        Command::Host(args) => args.run(&cli.globals, out),
        Command::Certificate(args) => args.run(&ctx()?),
        Command::Route(args) => args.run(&ctx()?),
        Command::Mirror(args) => args.run(&ctx()?),
        Command::Lane(args) => args.run(&ctx()?),
        Command::Fault(args) => args.run(&ctx()?),
        Command::Maintenance(args) => args.run(&ctx()?),
        Command::Routes(args) => args.run(&ctx()?),
        Command::Explain(args) => args.run(&cli.globals, out),
        Command::Stage(args) => args.run(&ctx()?),
        Command::Approve(args) => args.run(&ctx()?),
        Command::Hold(args) => args.run(&ctx()?),
        Command::History(args) => args.run(&ctx()?),
        Command::Readiness(args) => args.run(&ctx()?),
        Command::Calls(args) => args.run(&ctx()?),
        Command::Metrics(args) => args.run(&ctx()?),
        Command::Propagation(args) => args.run(&ctx()?),
        Command::Diff(args) => args.run(&ctx()?),
        Command::Operations(args) => args.run(&ctx()?),
        Command::Watch(args) => args.run(&ctx()?),
        Command::Events(args) => args.run(&ctx()?),
        Command::Alerts(args) => args.run(&ctx()?),
        Command::Checks(args) => args.run(&ctx()?),
        Command::Blame(args) => args.run(&ctx()?),
        Command::Notify(args) => args.run(&ctx()?),
        Command::Silence(args) => args.run(&ctx()?),
        Command::Accept(args) => args.run(&ctx()?),
        Command::Journal(args) => args.run(&ctx()?),
        Command::Judge(args) => args.run(&ctx()?),
        Command::Plan(args) => args.run(&ctx()?),
        Command::Backup(args) => args.run(out),
        Command::Data(args) => args.run(&ctx()?),
        Command::Key(args) => args.run(&ctx()?),
        Command::Store(args) => args.run(&ctx()?),
        Command::Lifecycle(args) => args.run(&ctx()?),
        Command::Branches(args) => args.run(&ctx()?),
        Command::Contract(args) => args.run(&ctx()?),
        Command::Openapi(args) => args.run(&ctx()?),
        Command::Completions(args) => args.run(out),
        Command::ExitCodes(args) => args.run(out),
        Command::Reference(args) => args.run(out),
    }
}

/// Shows what was wrong with the command line, or the help that was asked for. Nothing is parsed yet, so whether JSON is
/// wanted is seen from the words.
fn not_understood(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|word| word == "--json");
    if !error.use_stderr() || !wants_json {
        error.exit();
    }
    let text = error.render().to_string();
    let end = ["\n\nUsage:", "\n\nFor more"].iter().filter_map(|rest| text.find(rest)).min();
    let detail = text[..end.unwrap_or(text.len())].trim_start_matches("error: ").trim();
    let failure = Failure::usage(detail).hint("lockstep help COMMAND");
    show(&failure, &Output::new(Format::Json, ColorChoice::Never));
    failure.exit.into()
}

fn show(failure: &Failure, out: &Output) {
    match out.format {
        Format::Json => out.message(&serde_json::json!({ "error": failure }).to_string()),
        Format::Text => out.message(failure.render(&out.message_style).trim_end()),
    }
}
