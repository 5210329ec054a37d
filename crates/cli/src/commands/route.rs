//! `lockstep route`: rules that give certain requests a version of their own.

use std::fmt::Write as _;
use std::time::Duration;

use lockstep_api::types::{AddVersionRule, Force, RemoveVersionRules, VersionRuleList, VersionRuleView};
use lockstep_domain::version_rules::Takes;
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber};

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::rules::wait;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::parse::share::{in_10000, percent};
use crate::select::EnvironmentOption;

/// How long a rule is waited for: a version that has to be unpacked and started first takes seconds, a slow one a minute.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(180);
/// Longest cell of a table.
const LONGEST_CELL: usize = 50;

/// Gives certain requests of a service a version of their own: by a header, by a cookie, or a lasting share of the clients.
///
/// All others get what is deployed. The version is started where it does not run, and stays up as long as it has a rule. Whoever goes back
/// from a version ends the rules to it. A rule is no access control: every client can send a header.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep route add orders --to 1.4.0 --header x-user=jason --env production
  lockstep route list --env production
  lockstep route remove 3 --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: RouteCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum RouteCommand {
    List(ListArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Lists the rules of an environment, and how far each is in force.
///
/// Of the rules of a service the first that matches wins; shares come after all headers and cookies.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep route list --env production\n  lockstep route list --json")]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Gives certain requests of a service a version.
///
/// It is checked as a deployment of that version would be, and returns when every gateway has the rule, or when the version fails to start:
/// then the rule takes nothing until a further try succeeds.
#[derive(Debug, Clone, clap::Args)]
#[command(
    group = clap::ArgGroup::new("takes").required(true).multiple(false),
    after_help = "Examples:
  lockstep route add orders --to 1.4.0 --header x-user=jason --env production
  lockstep route add orders --to 1.4.0 --cookie beta=1 --reason 'the testers of the new form'
  lockstep route add orders --to 1.4.0 --share 10%"
)]
struct AddArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The version that its requests get.
    #[arg(long, value_name = "VERSION")]
    to: VersionNumber,
    /// Those with a header field of exactly this value; the name in any case.
    #[arg(long, value_name = "NAME=VALUE", group = "takes", value_parser = header)]
    header: Option<Takes>,
    /// Those with a cookie of exactly this value.
    #[arg(long, value_name = "NAME=VALUE", group = "takes", value_parser = cookie)]
    cookie: Option<Takes>,
    /// A share of the clients that no other rule takes, for as long as the rule is there.
    #[arg(long, value_name = "PERCENT", group = "takes", value_parser = share)]
    share: Option<Takes>,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
}

/// Removes rules by their numbers: their requests get what all others get.
///
/// It returns when every gateway knows. A version that has no rule any more and is not deployed ends once its requests have finished.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep route remove 3 --env production\n  lockstep route remove 3 4 --env production"
)]
struct RemoveArgs {
    /// The numbers of the rules.
    #[arg(value_name = "NUMBER", required = true)]
    rules: Vec<u32>,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            RouteCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.version_rules(&environment)?;
                ctx.out.show(&list, |list, style| listed(list, &environment, style))
            }
            RouteCommand::Add(args) => args.run(ctx),
            RouteCommand::Remove(args) => args.run(ctx),
        }
    }
}

impl AddArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { service, to: version, reason, no_wait, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        let takes = self.header.or(self.cookie).or(self.share);
        let takes = takes.ok_or_else(|| Failure::usage("which requests is not said"))?;
        let request = AddVersionRule { service, version, takes, reason };
        add(ctx, &environment, &request, no_wait)
    }
}

/// Adds a rule, and waits until it is in force.
pub(super) fn add(
    ctx: &Context,
    environment: &EnvironmentName,
    request: &AddVersionRule,
    no_wait: bool,
) -> Result<(), Failure> {
    let list = ctx.client.add_version_rule(environment, request)?;
    let Some(number) = newest(&list, request) else {
        let gone = "somebody has removed the rule already, or gone back from its version";
        return Err(Failure::ended_badly(gone, None).hint(format!("lockstep history {environment}")));
    };
    let limit = if no_wait { Duration::ZERO } else { IN_FORCE_WITHIN };
    let is_done = |list: &VersionRuleList| match find(list, number) {
        Some(rule) => matches!(rule.force, Force::InForce | Force::NotServed { failed: true, .. }),
        None => true,
    };
    let list = wait(ctx, environment, list, limit, is_done)?;
    ctx.out.show(&list, |list, style| added(list, number, style))?;
    match find(&list, number) {
        Some(rule) if no_wait || rule.force == Force::InForce => Ok(()),
        Some(rule) => {
            let why = format!("rule {number} is recorded, and not in force yet: {}", state(rule));
            let hint = format!(
                "wait for it with `lockstep route list --env {environment}`, or `lockstep route remove {number} --env {environment}`"
            );
            Err(Failure::ended_badly(why, None).hint(hint))
        }
        None => Err(Failure::ended_badly(format!("rule {number} ended meanwhile"), None)
            .hint(format!("lockstep history {environment}"))),
    }
}

impl RemoveArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { rules, reason, no_wait, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        let named: Vec<_> = rules.iter().map(ToString::to_string).collect();
        let list = ctx.client.remove_version_rules(&environment, &RemoveVersionRules { rules, reason })?;
        let limit = if no_wait { Duration::ZERO } else { IN_FORCE_WITHIN };
        let list = wait(ctx, &environment, list, limit, |list| list.is_applied)?;
        let rules = if named.len() == 1 { "rule" } else { "rules" };
        let named = named.join(", ");
        ctx.out.show(&list, |_, style| {
            format!("{}: {rules} {named} of {environment} removed\n", style.good("done"))
        })?;
        if no_wait || list.is_applied {
            return Ok(());
        }
        let why = "the rules are removed, and not every gateway has confirmed it";
        Err(Failure::ended_badly(why, None).hint(format!("lockstep status {environment}")))
    }
}

fn pattern(
    text: &str,
    make: impl Fn(&str, &str) -> Result<Takes, lockstep_domain::version_rules::TakesError>,
) -> Result<Takes, String> {
    let (name, value) = text.split_once('=').ok_or("a name and a value are needed: NAME=VALUE")?;
    make(name, value).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<Takes, String> {
    pattern(text, Takes::header)
}

fn cookie(text: &str) -> Result<Takes, String> {
    pattern(text, Takes::cookie)
}

fn share(text: &str) -> Result<Takes, String> {
    Takes::Share(in_10000(text)?).checked().map_err(|error| error.to_string())
}

/// Finds the rule that was just made: of two equal shares the later one.
fn newest(list: &VersionRuleList, request: &AddVersionRule) -> Option<u32> {
    let is_it = |view: &&VersionRuleView| {
        let wanted = request.takes.clone().checked();
        view.rule.version == request.version && wanted.as_ref() == Ok(&view.rule.takes)
    };
    list.rules.iter().filter(is_it).map(|view| view.rule.number).max()
}

fn find(list: &VersionRuleList, number: u32) -> Option<&VersionRuleView> {
    list.rules.iter().find(|view| view.rule.number == number)
}

/// What a rule takes, for people.
pub(crate) fn takes(takes: &Takes) -> String {
    match takes {
        Takes::Share(weight) => format!("{} of the clients", percent(*weight)),
        Takes::Mirror(mirror) => format!("copies of {} of the requests", percent(mirror.share)),
        matched => printable(&matched.to_string()).into_owned(),
    }
}

pub(super) fn state(view: &VersionRuleView) -> String {
    match &view.force {
        Force::InForce => "in force".to_owned(),
        Force::Changing { behind } if behind.is_empty() => "being published".to_owned(),
        Force::Changing { behind } => format!("not confirmed by {}", behind.join(", ")),
        Force::NotServed { why, .. } => format!("takes nothing: {}", printable(why)),
    }
}

fn added(list: &VersionRuleList, number: u32, style: &Style) -> String {
    let Some(view) = find(list, number) else { return String::new() };
    let rule = &view.rule;
    let done = match view.force {
        Force::InForce => style.good("done"),
        Force::Changing { .. } | Force::NotServed { .. } => style.warn("recorded"),
    };
    let (service, version) = (&rule.service, &rule.version);
    let mut text = format!("{done}: rule {number}: {} -> {service} {version}\n", takes(&rule.takes));
    if view.force != Force::InForce {
        let _ = writeln!(text, "  {}", state(view));
    }
    text
}

fn listed(list: &VersionRuleList, environment: &EnvironmentName, style: &Style) -> String {
    if list.rules.is_empty() {
        return format!("{environment} has no rules: all requests get what is deployed\n");
    }
    let heading = ["RULE", "REQUESTS", "GET", "HEALTHY", "STATE", "BY", "WHEN", "REASON"];
    let mut table = Table::new(heading).wrapped(LONGEST_CELL);
    for view in &list.rules {
        let rule = &view.rule;
        let config = if rule.config.0 > 0 { format!(" ({})", rule.config) } else { String::new() };
        table.row([
            rule.number.to_string(),
            takes(&rule.takes),
            format!("{} {}{config}", rule.service, rule.version),
            format!("{} of {}", view.healthy, view.replicas),
            state(view),
            rule.by.to_string(),
            style.ago(rule.at),
            rule.reason.clone(),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_are_meant_is_read_strictly() {
        assert_eq!(header("X-User=a=b"), Takes::header("x-user", "a=b").map_err(|error| error.to_string()));
        assert_eq!(cookie("Beta=1").unwrap().to_string(), "cookie Beta=1");
        assert_eq!(share("2.5%"), Ok(Takes::Share(250)));
        for bad in ["x-user", "=1", "x-user=", "a b=1"] {
            assert!(header(bad).is_err() && cookie(bad).is_err(), "{bad}");
        }
        for bad in ["0", "100", "101", "x", "0.001"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
