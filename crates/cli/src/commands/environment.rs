//! `lockstep environment`: create an environment, change its settings.

use lockstep_api::types::{CreateEnvironment, EnvironmentView, SettingsChange};
use lockstep_domain::{CallAddress, EnvironmentName, StageName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::plan_text::strategy;
use crate::operate::strategy::StrategyOptions;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times::exact;
use crate::parse::duration;

/// Creates environments and changes their settings.
///
/// An environment is a place where versions run, with a gateway of its own. It accepts versions from a stage on.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep environment create staging --accepts-from testing
  lockstep environment set production --warm 1h")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: EnvironmentCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum EnvironmentCommand {
    Create(CreateArgs),
    Set(SetArgs),
}

/// Creates an environment.
///
/// It begins with the empty baseline 0. Settings that are left out get defaults.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help("How new instances take over; all at once when left out")))]
#[command(after_help = "Examples:
  lockstep environment create staging --accepts-from testing
  lockstep environment create production --strategy canary --steps 5,25,100 --bake 10m --warm 1h")]
struct CreateArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: EnvironmentName,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Changes settings of an environment.
///
/// Settings that are left out stay as they are.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help("How new instances take over")))]
#[command(after_help = "Examples:
  lockstep environment set production --warm 1h
  lockstep environment set production --strategy blue-green --bake 5m
  lockstep environment set production --gateway-url http://127.0.0.1:8080")]
struct SetArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: EnvironmentName,
    #[command(flatten)]
    settings: SettingsOptions,
}

#[derive(Debug, Clone, clap::Args)]
struct SettingsOptions {
    /// The first stage whose versions are accepted.
    #[arg(long, value_name = "STAGE")]
    accepts_from: Option<StageName>,
    /// How long old instances stay after a change, so that going back is a change of routes.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    warm: Option<u64>,
    /// The port of its gateway.
    #[arg(long, value_name = "PORT")]
    gateway_port: Option<u16>,
    /// Where instances call other services: the URL of a gateway of its own, or `server` for the one inside the server.
    #[arg(long, value_name = "URL")]
    gateway_url: Option<CallAddress>,
    #[command(flatten)]
    strategy: StrategyOptions,
}

impl SettingsOptions {
    fn change(&self) -> Result<SettingsChange, Failure> {
        Ok(SettingsChange {
            accepts_from: self.accepts_from.clone(),
            strategy: self.strategy.strategy()?,
            warm_ms: self.warm,
            gateway_port: self.gateway_port,
            gateway_url: self.gateway_url.clone(),
        })
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let view = match self.command {
            EnvironmentCommand::Create(args) => {
                let request = CreateEnvironment { name: args.name, settings: args.settings.change()? };
                ctx.client.create_environment(&request)?
            }
            EnvironmentCommand::Set(args) => {
                let change = args.settings.change()?;
                if change == SettingsChange::default() {
                    return Err(Failure::usage("nothing to set")
                        .hint(format!("for example lockstep environment set {} --warm 1h", args.name)));
                }
                ctx.client.change_environment(&args.name, &change)?
            }
        };
        ctx.out.show(&view, settings_text)
    }
}

fn call_address(view: &EnvironmentView) -> String {
    match &view.settings.gateway_url {
        CallAddress::Server => "the gateway inside the server".to_owned(),
        CallAddress::Elsewhere(url) => format!("{url}, from their next start on"),
    }
}

fn settings_text(view: &EnvironmentView, style: &Style) -> String {
    let settings = &view.settings;
    let mut table = Table::new(["", ""]).indented(2);
    table.row(["accepts from".into(), settings.accepts_from.to_string()]);
    table.row(["strategy".into(), strategy(&settings.strategy)]);
    table.row(["warm".into(), exact(settings.warm_ms)]);
    table.row(["gateway".into(), view.gateway.clone()]);
    table.row(["instances call".into(), call_address(view)]);
    format!("{}: environment {}\n{}", style.good("done"), view.name, table.render(style))
}
