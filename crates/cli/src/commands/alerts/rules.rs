//! `lockstep alerts rules`: when something is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lockstep_api::types::{RemoveWatching, RuleView, SetRules};
use lockstep_domain::WatchingName;
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::given_file;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// The largest file of rules: hundreds of them.
const MAX_RULES_BYTES: u64 = 512 * 1024;

/// Shows and changes the rules that say when something is wrong.
///
/// Those that are there by themselves hold without any configuration. A rule of the same name takes the place of one, so each can be changed,
/// or turned off by `enabled = false`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep alerts rules\n  lockstep alerts rules show budget-burns > rules.toml\n  lockstep alerts rules set rules.toml\n  lockstep alerts rules remove budget-burns"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<RulesCommand>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum RulesCommand {
    List(ListArgs),
    Show(ShowArgs),
    Set(SetArgs),
    Remove(RemoveArgs),
}

/// Lists all rules.
///
/// Those that are turned off are among them. With --json each rule is there as it is set.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep alerts rules list")]
struct ListArgs {}

/// Writes rules as TOML, to be changed and set.
///
/// What is not set is left out: `lockstep alerts rules set` takes it as it is.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep alerts rules show failing > rules.toml")]
struct ShowArgs {
    /// Which; all of them when left out.
    #[arg(value_name = "NAME")]
    names: Vec<WatchingName>,
}

/// Sets rules from a file, all of them or none.
///
/// FILE has a [[rule]] each, such as
///
///   [[rule]]
///   name = "orders-slow"
///   severity = "critical"
///   service = "orders"
///   condition = { kind = "slow_share", above_percent = 1.0, slower_than_ms = 512, over_seconds = 300 }
///   for_seconds = 60
///
/// The guide on monitoring has all conditions.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep alerts rules set rules.toml --dry-run\n  lockstep alerts rules set rules.toml --reason 'orders promised half a second'"
)]
struct SetArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only tell what is wrong with them.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Removes a rule that somebody set.
///
/// Where it took the place of one that is there by itself, that holds again.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep alerts rules remove orders-slow")]
struct RemoveArgs {
    /// Which.
    #[arg(value_name = "NAME")]
    name: WatchingName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let rules = match self.command.unwrap_or(RulesCommand::List(ListArgs {})) {
            RulesCommand::List(_) => ctx.client.rules()?,
            RulesCommand::Show(args) => return args.run(ctx),
            RulesCommand::Set(args) => ctx
                .client
                .set_rules(&SetRules {
                    rules: given_file::text(&args.file, MAX_RULES_BYTES)?,
                    reason: args.reason,
                    dry_run: args.dry_run,
                })
                .map_err(|refused| Failure::from(refused).of_file(&args.file))?,
            RulesCommand::Remove(args) => {
                ctx.client.remove_rule(&args.name, &RemoveWatching { reason: args.reason })?
            }
        };
        ctx.out.show(&rules, |rules, style| list(rules, style))
    }
}

/// A file of rules.
#[derive(Debug, Serialize)]
struct File<'a> {
    rule: Vec<BTreeMap<&'a str, &'a Value>>,
}

impl ShowArgs {
    fn run(&self, ctx: &Context) -> Result<(), Failure> {
        let mut rules = ctx.client.rules()?;
        let is_there = |name: &&WatchingName| rules.iter().any(|rule| rule.name == name.as_str());
        if let Some(missing) = self.names.iter().find(|name| !is_there(name)) {
            let what = format!("there is no rule `{missing}`");
            return Err(Failure::new(Exit::NotFound, what).hint("lockstep alerts rules"));
        }
        let is_asked = |rule: &RuleView| self.names.iter().any(|name| name.as_str() == rule.name);
        rules.retain(|rule| self.names.is_empty() || is_asked(rule));
        ctx.out.show(&rules, |rules, _| toml_of(rules))
    }
}

/// The fields of a rule that are set: TOML has no null.
fn set(rule: &RuleView) -> BTreeMap<&str, &Value> {
    let fields = rule.rule.as_object().into_iter().flatten();
    fields.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value)).collect()
}

fn toml_of(rules: &[RuleView]) -> String {
    toml::to_string(&File { rule: rules.iter().map(set).collect() }).unwrap_or_default()
}

fn list(rules: &[RuleView], style: &Style) -> String {
    let mut table = Table::new(["RULE", "SEVERITY", "FIRES WHEN", "SET"]).wrapped(70);
    for rule in rules {
        let severity = if rule.enabled { rule.severity.clone() } else { "off".to_owned() };
        let set = match (&rule.by, rule.at) {
            (Some(by), Some(at)) => format!("by {by}, {}", style.ago(at)),
            _ if rule.built_in => "by itself".to_owned(),
            _ => String::new(),
        };
        table.row([rule.name.clone(), severity, says(rule), printable(&set).into_owned()]);
    }
    table.render(style)
}

/// What a rule says, and how long that must be so.
fn says(rule: &RuleView) -> String {
    let text = |name: &str| rule.rule.get(name).and_then(|value| value.as_str()).map(ToOwned::to_owned);
    let for_seconds = rule.rule.get("for_seconds").and_then(Value::as_u64).unwrap_or_default();
    let said = [
        Some(rule.says.clone()),
        (for_seconds > 0).then(|| format!("for {for_seconds} s")),
        text("service").map(|service| format!("services {service}")),
        text("environment").map(|environment| format!("in {environment}")),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
