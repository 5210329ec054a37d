//! `lockstep host`: servers that instances run on, reached over SSH.

mod add;
mod check;
mod options;
mod remove;
mod set;
mod take_over;
mod turn;

use lockstep_domain::HostName;
use lockstep_domain::host::Stance;

use super::hosts;
use crate::context::{Context, Globals};
use crate::failure::Failure;
use crate::output::Output;

/// Says on which servers instances run; they are reached over SSH.
///
/// A host needs a server of SSH, a user with a login shell, and nothing of Lockstep: the program brings itself there. The server connects, by the `ssh`
/// of its machine and the configuration of its user. As soon as an environment has a host, its instances start on its hosts and no longer on the machine
/// of the server: spread over them, and over the values of the label `zone`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host check deploy@10.0.0.5
  lockstep host add web1 --ssh deploy@10.0.0.5 --env production
  lockstep hosts
  lockstep host drain web1 --reason 'a new kernel'")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: HostCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum HostCommand {
    Check(check::CheckArgs),
    Add(add::AddArgs),
    List(ListArgs),
    Show(ShowArgs),
    Set(set::SetArgs),
    Cordon(CordonArgs),
    Open(OpenArgs),
    Drain(DrainArgs),
    Evacuate(EvacuateArgs),
    #[command(name = "take-over")]
    TakeOver(take_over::TakeOverArgs),
    Remove(remove::RemoveArgs),
}

/// Lists the hosts that instances run on.
///
/// The same as `lockstep hosts`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep host list\n  lockstep host list --json")]
struct ListArgs {}

/// Shows a host: how it is, what was decided about it, and what runs there.
///
/// Of a host that is away it says why, since when, and what to do; its instances are shown as they were last seen.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep host show web1\n  lockstep host show web1 --json")]
struct ShowArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: HostName,
}

/// Lets no new instance start on a host; what runs there goes on.
///
/// `lockstep host open` ends it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep host cordon web1 --reason 'its disk is slow'")]
struct CordonArgs {
    #[command(flatten)]
    turned: turn::Turned,
}

/// Lets instances start on a host again.
///
/// Ends what `cordon`, `drain` and `evacuate` began. What runs elsewhere is not moved back: the next instances that start go where the fewest are.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep host open web1 --reason 'the disk was changed'")]
struct OpenArgs {
    #[command(flatten)]
    turned: turn::Turned,
}

/// Moves everything away from a host: each of its instances is replaced on another host, and then ends.
///
/// No new instance starts there. For each that runs there another is started elsewhere; when that is healthy, the former leaves the table, its requests
/// finish, and it ends: an environment never has fewer instances. What finds no place elsewhere goes on. The command waits until nothing is left, and
/// says what it waits for.
///
/// Ends with code 0 when nothing is left there, or when the host is away and all that served there is replaced; with 1 when somebody turned the host to
/// something else meanwhile, or nothing happened for --give-up-after; with 5 when the server does not answer; with 130 after Ctrl-C. After 1, 5 and 130
/// the host goes on being drained.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host drain web1 --reason 'a new kernel'
  lockstep host drain web1 --no-wait && lockstep host show web1")]
struct DrainArgs {
    #[command(flatten)]
    turned: turn::Turned,
    #[command(flatten)]
    waiting: turn::Waiting,
}

/// Replaces what ran on a host that is lost: the same as `drain`, and what to type when a host does not come back.
///
/// A host that is away may only be cut off: its instances may go on and answer, so by itself Lockstep starts nothing in their place. Whoever types this says
/// so. Others start on the other hosts and get the requests; what ran on the lost host counts as lost once it is replaced, and ends when the host comes
/// back and the server reaches it: so nothing runs twice for long, and what has been written there is not undone. Then either `lockstep host open` takes
/// the host back, or `lockstep host remove --lost` forgets it.
///
/// Ends as `lockstep host drain` does: with code 0 when all that served there is replaced, whether or not the host is there.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host evacuate web1 --reason 'the machine is dead'
  lockstep host evacuate web1 && lockstep host remove web1 --lost")]
struct EvacuateArgs {
    #[command(flatten)]
    turned: turn::Turned,
    #[command(flatten)]
    waiting: turn::Waiting,
}

impl Args {
    pub(crate) fn run(self, globals: &Globals, out: &Output) -> Result<(), Failure> {
        let ctx = || Context::new(globals.clone());
        match self.command {
            HostCommand::Check(args) => args.run(globals, out),
            HostCommand::Add(args) => args.run(&ctx()?),
            HostCommand::List(_) => hosts::list(&ctx()?),
            HostCommand::Show(args) => show(&ctx()?, &args.name),
            HostCommand::Set(args) => args.run(&ctx()?),
            HostCommand::Cordon(args) => args.turned.run(&ctx()?, Stance::Cordoned),
            HostCommand::Open(args) => args.turned.run(&ctx()?, Stance::Open),
            HostCommand::Drain(DrainArgs { turned, waiting }) => waiting.drain(&ctx()?, turned),
            HostCommand::Evacuate(EvacuateArgs { turned, waiting }) => waiting.drain(&ctx()?, turned),
            HostCommand::TakeOver(args) => args.run(&ctx()?),
            HostCommand::Remove(args) => args.run(&ctx()?),
        }
    }
}

fn show(ctx: &Context, name: &HostName) -> Result<(), Failure> {
    ctx.out.show(&ctx.client.host(name)?, crate::output::hosts::shown)
}
