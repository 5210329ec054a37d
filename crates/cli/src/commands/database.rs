//! `lockstep database`: what databases have, and what is done there beside deployments.

mod show;

use lockstep_domain::database::unapproved;
use lockstep_domain::intent::{BackTo, DatabaseWish};
use lockstep_domain::name::DatabaseName;
use lockstep_domain::{Intent, VersionRef};

use crate::confirm;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operate::database::taken_text;
use crate::operate::{Change, ChangeOptions};
use crate::output::Format;
use crate::select::EnvironmentOption;

/// Shows which migrations databases have, and does what is done there beside deployments.
///
/// A version says in its manifest where its migrations are (`[database.NAME]`). A deployment applies those that add before anything of it
/// starts. Those that take something away are applied by `contract` alone, once nothing that runs needs the old form.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep database list --env production
  lockstep database show orders --env production
  lockstep database contract orders --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: DatabaseCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum DatabaseCommand {
    List(show::ListArgs),
    Show(show::ShowArgs),
    Look(LookArgs),
    Contract(ContractArgs),
    Revert(RevertArgs),
    Adopt(AdoptArgs),
    Settle(SettleArgs),
}

/// Looks which migrations a database has, and changes nothing.
///
/// It ends with 1 when the database is not reached. `show` tells what was found. Where a database does not have what it had, as an empty one in
/// the place of another, nothing is applied to it until a look finds it again, or somebody says with --accept-loss that it is meant to be so.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep database look orders --env production
  lockstep database look orders --accept-loss --env production")]
struct LookArgs {
    #[command(flatten)]
    which: Which,
    /// Take migrations that the database had and does not have any more as gone on purpose: the next deployment applies them anew.
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Applies the migrations that take something away, which deployments leave out.
///
/// It shows what it takes first: which versions and baselines cannot be gone back to any more, and what no way back restores. On a terminal
/// it asks; elsewhere what was shown is approved by its word, which is another one as soon as anything of it is. It is refused while a version
/// that runs needs the old form.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep database contract orders --env production --dry-run
  lockstep database contract orders --env production
  lockstep database contract orders --env production --approve 1f0c2a9be3d4c5f6")]
struct ContractArgs {
    #[command(flatten)]
    which: Which,
    /// Approve what was shown under this word, without being asked.
    #[arg(long, value_name = "WORD")]
    approve: Option<String>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Takes migrations back by the ways down that a version brings.
///
/// Nothing else ever runs a way down: going back leaves a database as it is. Which are taken back is said by name: all behind `--to`, or each by
/// `--step`. It shows first, the last one first, what each takes away, and which versions and baselines cannot be gone back to afterwards, or
/// can again. On a terminal it asks; elsewhere what was shown is approved by its word. It is refused while a version that runs or is warm works with
/// what would be taken away, and where a migration has no way down. Each runs once, in one transaction with its record where it can be one.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep database revert orders --to 0019_totals.sql --env production --dry-run
  lockstep database revert orders --step 0020_state.sql --env production --version orders@1.5.0
  lockstep database revert orders --to 0019_totals.sql --env production --approve 1f0c2a9be3d4c5f6")]
struct RevertArgs {
    #[command(flatten)]
    which: Which,
    /// The last migration that stays: all that the database has behind it is taken back.
    #[arg(long, value_name = "MIGRATION", required_unless_present = "step")]
    to: Option<String>,
    /// A migration that is taken back; several have to be the last ones that the database has.
    #[arg(long, value_name = "MIGRATION", conflicts_with = "to")]
    step: Vec<String>,
    /// Approve what was shown under this word, without being asked.
    #[arg(long, value_name = "WORD")]
    approve: Option<String>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Takes the migrations of a database as applied that were applied by other means, and runs none of them.
///
/// For a database that was there before its migrations were part of deployments. Later ones are applied as usual.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep database adopt orders --through 0019_totals.sql --env production --version orders@1.4.0")]
struct AdoptArgs {
    #[command(flatten)]
    which: Which,
    /// The last migration that the database has.
    #[arg(long, value_name = "MIGRATION")]
    through: String,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Says what became of a migration that died half-way, so that others can be applied again.
///
/// Look at the database first, and mend it by hand: `--done` means that all of the migration is there, `--not-done` that nothing is, and
/// then it runs again with the next deployment.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep database settle orders 0020_index.sql --done --env production
  lockstep database settle orders 0020_index.sql --not-done --env production")]
#[command(group = clap::ArgGroup::new("outcome").required(true).args(["done", "not_done"]))]
struct SettleArgs {
    /// The database.
    #[arg(value_name = "DATABASE")]
    database: DatabaseName,
    /// The migration.
    #[arg(value_name = "MIGRATION")]
    migration: String,
    /// All of it is there.
    #[arg(long)]
    done: bool,
    /// Nothing of it is there.
    #[arg(long)]
    not_done: bool,
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Which database is meant, and by which version it is reached.
#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// The database.
    #[arg(value_name = "DATABASE")]
    database: DatabaseName,
    #[command(flatten)]
    place: PlaceOptions,
}

/// Where, and by which version.
#[derive(Debug, Clone, clap::Args)]
struct PlaceOptions {
    #[command(flatten)]
    environment: EnvironmentOption,
    /// The version whose migrations and variables count; one that runs there when left out.
    #[arg(long, value_name = "SERVICE@VERSION")]
    version: Option<VersionRef>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            DatabaseCommand::List(args) => args.run(ctx),
            DatabaseCommand::Show(args) => args.run(ctx),
            DatabaseCommand::Look(args) => {
                let wish = if args.accept_loss { DatabaseWish::Accept } else { DatabaseWish::Look };
                args.which.change(ctx, &args.change, wish)?.run(ctx)
            }
            DatabaseCommand::Contract(args) => args.run(ctx),
            DatabaseCommand::Revert(args) => args.run(ctx),
            DatabaseCommand::Adopt(args) => {
                args.which.change(ctx, &args.change, DatabaseWish::Adopt { through: args.through })?.run(ctx)
            }
            DatabaseCommand::Settle(args) => args.run(ctx),
        }
    }
}

impl Which {
    fn change(&self, ctx: &Context, options: &ChangeOptions, wish: DatabaseWish) -> Result<Change, Failure> {
        self.place.change(ctx, options, &self.database, wish)
    }
}

impl PlaceOptions {
    fn change(
        &self,
        ctx: &Context,
        options: &ChangeOptions,
        database: &DatabaseName,
        wish: DatabaseWish,
    ) -> Result<Change, Failure> {
        let environment = self.environment.resolve(ctx)?;
        let intent = Intent::Database { database: database.clone(), wish, version: self.version.clone() };
        Ok(options.change(environment, intent))
    }
}

impl SettleArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let wish = DatabaseWish::Settle { migration: self.migration, done: self.done };
        self.place.change(ctx, &self.change, &self.database, wish)?.run(ctx)
    }
}

impl ContractArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { which, approve, change } = self;
        let of = |approved| which.change(ctx, &change, DatabaseWish::Contract { approved });
        run_approved(ctx, approve.as_deref(), of, "contracting takes something for ever")
    }
}

impl RevertArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { which, to, step, approve, change } = self;
        let back = to.map_or(BackTo::Steps(step), BackTo::To);
        let of = |approved| which.change(ctx, &change, DatabaseWish::Revert { back: back.clone(), approved });
        run_approved(ctx, approve.as_deref(), of, "a way down takes what a migration made")
    }
}

/// Carries out what has to be approved as it is shown: by its word, or by a person who is there.
fn run_approved(
    ctx: &Context,
    approve: Option<&str>,
    of: impl Fn(Option<String>) -> Result<Change, Failure>,
    why: &str,
) -> Result<(), Failure> {
    let asks = of(approve.map(str::to_owned))?;
    if approve.is_some() || asks.is_dry_run() {
        return asks.run(ctx);
    }
    let Some(code) = shown(ctx, &asks)? else { return asks.run(ctx) };
    if !confirm::somebody_is_there() {
        let why = format!("nothing was changed: {why}, and nobody is here to be asked");
        let command = format!("when that is what you want, run it again with --approve {code}");
        return Err(Failure::new(Exit::Refused, why).hint(command));
    }
    if !confirm::says_yes("go on?") {
        return Err(Failure::new(Exit::Refused, "nothing was changed"));
    }
    of(Some(code))?.run(ctx)
}

/// Shows what is taken, and returns the word that approves it.
fn shown(ctx: &Context, change: &Change) -> Result<Option<String>, Failure> {
    let plan = change.dry_run(ctx)?;
    let Some(taken) = plan.as_ref().and_then(|plan| unapproved(plan, change.intent())) else {
        return Ok(None);
    };
    if ctx.out.format == Format::Text {
        ctx.out.message(taken_text(taken).trim_end());
    }
    Ok(Some(taken.code()))
}
