//! `lockstep database list` and `show`.

use std::fmt::Write as _;

use lockstep_api::types::{DatabaseView, FailedLook};
use lockstep_domain::database::Applied;
use lockstep_domain::name::DatabaseName;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times;
use crate::select::EnvironmentOption;

/// Most migrations of a kind that are shown in text.
const MAX_SHOWN: usize = 20;

/// Lists the databases of an environment, with the last migration that each has.
///
/// They are those that the versions there bring migrations for. The state says whether one waits for a person: to be contracted, or because a
/// migration died half-way.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep database list --env production")]
pub(super) struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Shows what is known of a database.
///
/// Everything was found at the database when it was looked at last, by a deployment or by `look`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep database show orders --env production")]
pub(super) struct ShowArgs {
    /// The database.
    #[arg(value_name = "DATABASE")]
    database: DatabaseName,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl ListArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = ctx.client.environment(&self.environment.resolve(ctx)?)?;
        ctx.out.show(&environment.databases, |databases, style| list(databases, style))
    }
}

impl ShowArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let name = self.environment.resolve(ctx)?;
        let environment = ctx.client.environment(&name)?;
        let found = environment.databases.iter().find(|view| view.name == self.database);
        let missing = || {
            let detail =
                format!("nothing that runs in `{name}` brings migrations for a database `{}`", self.database);
            Failure::new(Exit::NotFound, detail).hint(format!("lockstep database list --env {name}"))
        };
        ctx.out.show(found.ok_or_else(missing)?, text)
    }
}

fn list(databases: &[DatabaseView], style: &Style) -> String {
    if databases.is_empty() {
        return "nothing that runs here brings migrations: [database.NAME] in lockstep.toml\n".to_owned();
    }
    let mut table = Table::new(["DATABASE", "BY", "LEVEL", "MISSING", "SEEN", "STATE"]);
    for view in databases {
        let level = view.known.as_ref().map(|known| known.level().unwrap_or("none"));
        let seen = view.known.as_ref().map(|known| times::ago(times::now(), known.seen));
        table.row([
            view.name.to_string(),
            by(view),
            printable(level.unwrap_or("not known")).into_owned(),
            view.missing.len().to_string(),
            seen.unwrap_or_else(|| "never".to_owned()),
            state(view).to_owned(),
        ]);
    }
    table.render(style)
}

fn by(view: &DatabaseView) -> String {
    if view.brought_by.is_empty() {
        return match &view.known {
            Some(known) => format!("nothing that runs here, but {}, by which it was seen last", known.by),
            None => "nothing that runs here".to_owned(),
        };
    }
    view.brought_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Says in a few words how a database is.
fn state(view: &DatabaseView) -> &'static str {
    match &view.known {
        _ if view.applied == Applied::Elsewhere => "applied outside of Lockstep",
        Some(known) if !known.lost.is_empty() => "has lost migrations: waits for a person",
        _ if view.failed.is_some() => "the last look failed",
        None => "nobody has looked",
        Some(known) if known.doubt.is_none() && view.brought_by.is_empty() => {
            "nothing that runs here brings it"
        }
        Some(known) if known.doubt.is_some() => "half-way: waits for a person",
        Some(known) if !known.told.drift.is_empty() => "drifted",
        Some(_) if !view.contractions.is_empty() => "waits to be contracted",
        Some(_) if !view.missing.is_empty() => "behind",
        Some(_) => "as it should be",
    }
}

fn text(view: &DatabaseView, style: &Style) -> String {
    let mut text = format!("database {}: {}\n", view.name, state(view));
    let _ = writeln!(text, "  brought by: {}", by(view));
    if let Some(FailedLook { at, why, operation }) = &view.failed {
        let (ago, why) = (style.ago(*at), printable(why));
        let _ =
            writeln!(text, "  {} {ago}, operation {operation}: {why}", style.bad("the last look failed:"));
    }
    let Some(known) = &view.known else { return text };
    let level = printable(known.level().unwrap_or("none")).into_owned();
    let (count, seen) = (known.told.recorded.len(), times::ago(times::now(), known.seen));
    let _ =
        writeln!(text, "  it has {count} migrations, the last one is {level} (seen {seen}, by {})", known.by);
    if let Some(doubt) = &known.doubt {
        let _ = writeln!(text, "  {} {}", style.warn("half-way:"), printable(doubt));
    }
    if !known.crossing.is_empty() {
        let begun = printable(&known.crossing.join(", ")).into_owned();
        let look = "`lockstep database look` finds out";
        let _ =
            writeln!(text, "  {} {begun}: begun, and not seen since; {look}", style.warn("may be there:"));
    }
    if !known.leaving.is_empty() {
        let begun = printable(&known.leaving.join(", ")).into_owned();
        let look = "`lockstep database look` finds out";
        let _ = writeln!(
            text,
            "  {} {begun}: begun to be taken back, and not seen since; {look}",
            style.warn("may be gone:")
        );
    }
    if !known.lost.is_empty() {
        let lost = shortened(&known.lost);
        let _ = writeln!(
            text,
            "  {} {lost}: it had them, and nothing is applied; bring them back and look again, or, where they are gone on purpose: lockstep \
             database look {} --accept-loss",
            style.bad("lost:"),
            view.name
        );
    }
    for drift in &known.told.drift {
        let _ = writeln!(text, "  {} {}", style.warn("drift:"), printable(drift));
    }
    for (what, names) in [("missing", &view.missing), ("to be contracted", &view.contractions)] {
        if !names.is_empty() {
            let _ = writeln!(text, "  {what}: {}", shortened(names));
        }
    }
    text
}

/// Names migrations, of many the first.
fn shortened(names: &[String]) -> String {
    let shown = names.iter().take(MAX_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(MAX_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", printable(&shown))
}
