//! `lockstep notify`: whom alerts are told.

use std::io::Read as _;
use std::path::PathBuf;

use lockstep_api::types::{RemoveWatching, SetTarget, TakesNotices, TargetView};
use lockstep_domain::WatchingName;
use serde_json::Value;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::given_file;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// The largest file of a target: a certificate of an authority may be in it.
const MAX_TARGET_BYTES: u64 = 64 * 1024;

/// Tells alerts to a chat, people, a pager or a program.
///
/// Slack, DingTalk, Feishu and Lark, WeCom, Microsoft Teams, e-mail, PagerDuty, Alertmanager and webhooks. A fault is told once, with what changed before
/// it and the command that takes that back, and once when it is over. What cannot be sent is tried again for a day.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep notify add ops slack.toml\n  lockstep notify test ops\n  lockstep notify add shop-team mail.toml --owner shop --at-least critical\n  lockstep notify list"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum NotifyCommand {
    Add(AddArgs),
    List(ListArgs),
    Test(TestArgs),
    Remove(RemoveArgs),
}

/// Adds a target, or replaces the one of its name.
///
/// FILE says what it is, in TOML, such as
///
///   kind = "slack"
///   url = "https://hooks.slack.com/services/..."
///
/// The guide on monitoring has one of each kind. Addresses and keys in it are secrets: the server keeps them in files for itself alone, and
/// shows them to nobody. A target that is called as the owner of services, and of which nothing else is said, is told of these
/// services alone.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep notify add ops slack.toml\n  lockstep notify add ops - < slack.toml"
)]
struct AddArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: WatchingName,
    /// The file that says what it is; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only of environments with such a name; `*` stands for anything.
    #[arg(long = "env", value_name = "PATTERN")]
    environment: Option<String>,
    /// Only of services with such a name; `*` stands for anything.
    #[arg(long, value_name = "PATTERN")]
    service: Option<String>,
    /// Only of services of this owner, and what nobody owns; may be given several times.
    #[arg(long = "owner", value_name = "OWNER")]
    owners: Vec<String>,
    /// Nothing milder.
    #[arg(long, value_name = "SEVERITY", value_parser = ["info", "warning", "critical"])]
    at_least: Option<String>,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Lists targets, with what waits and what could not be sent.
///
/// A target that cannot be reached keeps its error until something arrives there again. With --json it says which notices were given up.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep notify list")]
struct ListArgs {}

/// Sends a notice to a target to see whether it arrives.
///
/// Ends with code 0 when the target has it, and 1 when not, with what to do.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep notify test ops")]
struct TestArgs {
    /// Which.
    #[arg(value_name = "NAME")]
    name: WatchingName,
}

/// Tells a target no more.
///
/// What waits for it is given up, and its secrets are removed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep notify remove ops --reason 'the channel is closed'")]
struct RemoveArgs {
    /// Which.
    #[arg(value_name = "NAME")]
    name: WatchingName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            NotifyCommand::Add(args) => {
                let file = args.file.clone();
                let view = ctx.client.set_target(&args.request()?);
                let view = view.map_err(|refused| Failure::from(refused).of_file(&file))?;
                ctx.out.show(&view, |view, style| {
                    let warnings =
                        view.warnings.iter().map(|it| format!("{} {it}\n", style.warn("warning:")));
                    let next = format!("next: lockstep notify test {}\n", view.name);
                    format!(
                        "{}: `{}` is told\n{}{next}",
                        style.good("done"),
                        view.name,
                        warnings.collect::<String>()
                    )
                })
            }
            NotifyCommand::List(_) => ctx.out.show(&ctx.client.targets()?, |all, style| list(all, style)),
            NotifyCommand::Test(args) => {
                let tested = ctx.client.test_target(&args.name)?;
                ctx.out.show(&tested, |tested, _| format!("{}\n", printable(&tested.what)))?;
                match tested.sent {
                    true => Ok(()),
                    false => Err(Failure::new(Exit::EndedBadly, format!("`{}` did not get it", args.name))),
                }
            }
            NotifyCommand::Remove(args) => {
                let left = ctx.client.remove_target(&args.name, &RemoveWatching { reason: args.reason })?;
                ctx.out.show(&left, |left, style| list(left, style))
            }
        }
    }
}

impl AddArgs {
    fn request(self) -> Result<SetTarget, Failure> {
        let text = if self.file.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().take(MAX_TARGET_BYTES).read_to_string(&mut text);
            read.map_err(|error| Failure::file("read", &self.file, &error))?;
            text
        } else {
            given_file::text(&self.file, MAX_TARGET_BYTES)?
        };
        // The whole error shows the line, which may hold a secret.
        let target: Value = toml::from_str(&text).map_err(|error| {
            let place = error.span().map(|span| 1 + text[..span.start].lines().count().saturating_sub(1));
            let place = place.map(|line| format!(":{line}")).unwrap_or_default();
            Failure::usage(format!("{}{place}: {}", self.file.display(), error.message()))
        })?;
        Ok(SetTarget {
            name: self.name,
            target,
            takes: TakesNotices {
                environment: self.environment,
                service: self.service,
                owners: self.owners,
                at_least: self.at_least,
            },
            reason: self.reason,
        })
    }
}

fn list(targets: &[TargetView], style: &Style) -> String {
    if targets.is_empty() {
        return "nobody is told of alerts: lockstep notify add NAME FILE\n".to_owned();
    }
    let mut table = Table::new(["TARGET", "KIND", "TAKES", "WAITING", "SENT", "TROUBLE"]).wrapped(60);
    for target in targets {
        let given_up = target.given_up.len();
        let lost = (given_up > 0).then(|| format!("{given_up} given up"));
        let trouble = [target.error.clone(), lost].into_iter().flatten().collect::<Vec<_>>().join("; ");
        table.row([
            target.name.to_string(),
            target.kind.clone(),
            takes(&target.takes),
            target.waiting.to_string(),
            target.last_sent.map(|at| style.ago(at)).unwrap_or_default(),
            printable(&trouble).into_owned(),
        ]);
    }
    table.render(style)
}

fn takes(takes: &TakesNotices) -> String {
    let owners = (!takes.owners.is_empty()).then(|| format!("of {}", takes.owners.join(", ")));
    let said = [
        takes.environment.as_ref().map(|name| format!("in {name}")),
        takes.service.clone(),
        owners,
        takes.at_least.as_ref().map(|severity| format!("from {severity} on")),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    if said.is_empty() { "everything".to_owned() } else { said.join(", ") }
}
