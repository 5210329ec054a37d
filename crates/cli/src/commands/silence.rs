//! `lockstep silence`: alerts that are told to nobody for a while.

use std::collections::BTreeMap;

use lockstep_api::types::{AddSilence, RemoveWatching, SilenceView};
use lockstep_domain::WatchingName;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::parse::duration::milliseconds;

/// Tells certain alerts to nobody for a while, because somebody knows of them.
///
/// They are seen and shown all the same. A silence has somebody who answers for it, a reason and an end.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep silence add service=orders environment=staging --for 2h --reason 'the database moves'\n  lockstep silence list\n  lockstep silence end s1a2b3c4d"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: SilenceCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum SilenceCommand {
    Add(AddArgs),
    List(ListArgs),
    End(EndArgs),
}

/// Adds a silence.
///
/// It covers alerts that fire already, and those that begin to. What is over while it holds is told to nobody.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep silence add service=orders environment=staging --for 2h --reason 'the database moves'"
)]
struct AddArgs {
    /// What it is about: environment, service, version, instance, host, certificate, gateway, check, part, rule or severity; `*` stands for anything. All
    /// must match.
    #[arg(value_name = "LABEL=PATTERN", required = true, value_parser = label)]
    about: Vec<(String, String)>,
    /// For how long, at most 30d.
    #[arg(long = "for", value_name = "DURATION", value_parser = milliseconds)]
    for_ms: u64,
    /// Who answers for it; you when left out.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lists silences, with what each keeps from being told.
///
/// Those that are over are listed until another one is added.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep silence list")]
struct ListArgs {}

/// Ends a silence.
///
/// What it kept from being told and still fires is told then.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep silence end s1a2b3c4d")]
struct EndArgs {
    /// Which.
    #[arg(value_name = "NAME")]
    name: WatchingName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (label, pattern) =
        text.split_once('=').ok_or_else(|| format!("write LABEL=PATTERN, not `{text}`"))?;
    Ok((label.to_owned(), pattern.to_owned()))
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let silences = match self.command {
            SilenceCommand::Add(args) => ctx.client.add_silence(&AddSilence {
                about: args.about.into_iter().collect::<BTreeMap<_, _>>(),
                for_ms: args.for_ms,
                owner: args.owner,
                reason: args.reason,
            })?,
            SilenceCommand::List(_) => ctx.client.silences()?,
            SilenceCommand::End(args) => {
                ctx.client.end_silence(&args.name, &RemoveWatching { reason: args.reason })?
            }
        };
        ctx.out.show(&silences, |silences, style| list(silences, style))
    }
}

fn list(silences: &[SilenceView], style: &Style) -> String {
    if silences.is_empty() {
        return "nothing is silenced\n".to_owned();
    }
    let mut table = Table::new(["SILENCE", "ABOUT", "UNTIL", "OWNER", "SILENCES", "REASON"]).wrapped(50);
    for silence in silences {
        let about: Vec<_> =
            silence.about.iter().map(|(label, pattern)| format!("{label}={pattern}")).collect();
        table.row([
            silence.name.to_string(),
            printable(&about.join(" ")).into_owned(),
            silence.until.to_string(),
            printable(&silence.owner).into_owned(),
            silence.silenced.len().to_string(),
            printable(&silence.reason).into_owned(),
        ]);
    }
    table.render(style)
}
