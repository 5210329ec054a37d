//! `lockstep config`: the configuration of a service in an environment.

pub(super) mod secret;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lockstep_api::types::{ConfigurationView, RevokeRequest, Revoked};
use lockstep_domain::intent::{ConfigValue, Configuration};
use lockstep_domain::{ConfigRevision, Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::operate::strategy::StrategyOptions;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::parse::assignment::{Assignment, variable};
use crate::select::EnvironmentOption;

/// Shows and changes configurations.
///
/// A configuration is the set of environment variables that a service runs with in an environment. It is numbered,
/// belongs to the baseline, and goes back with it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep config show orders --env production
  lockstep config set orders LOG_LEVEL=debug --env production
  lockstep config use orders --revision 4 --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum ConfigCommand {
    Show(ShowArgs),
    Set(SetArgs),
    Use(UseArgs),
    Revoke(RevokeArgs),
}

/// Shows the configuration of a service.
///
/// Shows the revision in force with its variables, and which revisions there are. Secrets are shown by name only.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep config show orders --env production")]
struct ShowArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Changes the configuration of a service.
///
/// Records a new revision and brings it live like a new version: instances with the new variables are made healthy
/// before they take over. The value of a secret is read from standard input, or asked for without showing it; it goes
/// to the secret store of the server and nowhere else.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep config set orders LOG_LEVEL=debug LIMIT=20 --env production
  lockstep config set orders --unset LIMIT --env production
  lockstep config set orders --secret API_KEY --env production < key.txt")]
struct SetArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Variables to set.
    #[arg(value_name = "KEY=VALUE")]
    set: Vec<Assignment>,
    /// A variable to remove.
    #[arg(long, value_name = "KEY", value_parser = variable)]
    unset: Vec<String>,
    /// A secret variable to set. One takes all of standard input; several take a line each.
    // Checked later: a parser's error would show what was given, which may be the value.
    #[arg(long, value_name = "KEY")]
    secret: Vec<String>,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Gives a service a configuration that was set before.
///
/// It is rolled out like a new version. After going back, the configuration that the older version ran with stays in force; this
/// takes a newer one again.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep config use orders --revision 4 --env production")]
struct UseArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The number of the configuration.
    #[arg(long, value_name = "REVISION")]
    revision: u32,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Says that older values of a secret must never come back.
///
/// Every value of the variable but the one that was set last, or the one of a revision. Whoever goes back to a configuration with
/// one of them is given the value that is in force, or else the newest one that is not revoked; the plan says so. What runs with it
/// goes on until another is set. It changes nothing where the secret was issued.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep config set orders --secret API_KEY --env production < new-key.txt
  lockstep config revoke orders API_KEY --env production --reason 'it leaked'")]
struct RevokeArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The variable.
    #[arg(value_name = "KEY", value_parser = variable)]
    key: String,
    /// Only the value that this configuration has.
    #[arg(long, value_name = "REVISION")]
    revision: Option<u32>,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl UseArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let strategy = self.strategy.resolve(ctx, &environment)?;
        let intent =
            Intent::UseConfiguration { service: self.service, revision: ConfigRevision(self.revision) };
        self.change.change(environment, intent).strategy(strategy).run(ctx)
    }
}

impl RevokeArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let revision = self.revision.map(ConfigRevision);
        let request = RevokeRequest { key: self.key, revision, reason: self.reason };
        ctx.out.show(&ctx.client.revoke(&environment, &self.service, &request)?, revoked_text)
    }
}

fn revoked_text(revoked: &Revoked, style: &Style) -> String {
    let Revoked { environment, service, key, values, still_in_force } = revoked;
    let plural = if *values == 1 { "" } else { "s" };
    let mut text = format!(
        "{}: {values} value{plural} of {key} of {service} never come back to {environment}\n",
        style.good("done")
    );
    if let Some(revision) = still_in_force {
        let _ = writeln!(
            text,
            "{} {revision} is in force and has one of them: lockstep config set {service} --secret {key} --env {environment}",
            style.warn("warning:")
        );
    }
    text
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            ConfigCommand::Show(args) => {
                let environment = args.environment.resolve(ctx)?;
                ctx.out.show(&ctx.client.configuration(&environment, &args.service)?, render)
            }
            ConfigCommand::Set(args) => args.run(ctx),
            ConfigCommand::Use(args) => args.run(ctx),
            ConfigCommand::Revoke(args) => args.run(ctx),
        }
    }
}

impl SetArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        secret::check_names(&self.secret)?;
        self.check_keys()?;
        let environment = self.environment.resolve(ctx)?;
        let strategy = self.strategy.resolve(ctx, &environment)?;
        let set: BTreeMap<_, _> =
            self.set.into_iter().map(|a| (a.key, ConfigValue::Plain(a.value))).collect();
        let secrets = secret::read_all(&self.secret)?;
        let intent = Intent::Configure { service: self.service, set, unset: self.unset };
        self.change.change(environment, intent).strategy(strategy).secrets(secrets).run(ctx)
    }

    fn check_keys(&self) -> Result<(), Failure> {
        let keys = self.set.iter().map(|assignment| &assignment.key).chain(&self.unset).chain(&self.secret);
        let mut seen = std::collections::BTreeSet::new();
        let mut count = 0;
        for key in keys {
            count += 1;
            if !seen.insert(key) {
                return Err(Failure::usage(format!("`{key}` is named twice")));
            }
        }
        if count == 0 {
            let hint = format!("for example lockstep config set {} LOG_LEVEL=debug", self.service);
            return Err(Failure::usage("nothing to change").hint(hint));
        }
        Ok(())
    }
}

fn render(view: &ConfigurationView, style: &Style) -> String {
    let title = format!("{} in {}", view.service, view.environment);
    let mut text = format!("{}  revision {}\n", style.strong(&title), view.current);
    text.push_str(&variables(view, style));
    let revisions = view.revisions.len();
    let _ = match revisions {
        0 => writeln!(text, "no revision yet; set one: lockstep config set {} KEY=VALUE", view.service),
        count => writeln!(text, "revisions: c0 (empty) to c{count}"),
    };
    text
}

fn variables(view: &ConfigurationView, style: &Style) -> String {
    let mut table = Table::new(["", ""]).indented(2);
    for (key, value) in in_force(view).into_iter().flatten() {
        let shown = match value {
            ConfigValue::Plain(value) | ConfigValue::Filled(value) => value.clone(),
            ConfigValue::Secret(name) if view.revoked.contains_key(name) => "(secret, revoked)".to_owned(),
            ConfigValue::Secret(_) => "(secret)".to_owned(),
        };
        table.row([key.clone(), shown]);
    }
    table.render(style)
}

fn in_force(view: &ConfigurationView) -> Option<&Configuration> {
    let ConfigRevision(number) = view.current;
    view.revisions.get(usize::try_from(number).ok()?.checked_sub(1)?)
}
