//! `lockstep host remove`: a host is one no more.

use lockstep_api::types::RemoveHost;
use lockstep_domain::HostName;

use crate::context::Context;
use crate::failure::Failure;

/// Removes a host on which nothing runs.
///
/// While something runs there it is refused, and says what: `lockstep host drain` moves it away. A host that is away and does not come back is removed with
/// --lost: what ran there counts as gone, and goes on where the machine does, for nobody can tell it to end; so switch that machine off. The folder of
/// Lockstep on the host stays: ~/.local/share/lockstep/host, unless another one was named.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host drain web1 && lockstep host remove web1
  lockstep host remove web1 --lost --reason 'the machine is dead'")]
pub(super) struct RemoveArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: HostName,
    /// Remove it although it is away and what runs there could not be ended.
    #[arg(long)]
    lost: bool,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl RemoveArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { name, lost, reason } = self;
        let left = ctx.client.remove_host(&name, &RemoveHost { lost, reason })?;
        ctx.out.show(&left, |_, style| {
            let goes_on =
                if lost { "; what ran there goes on where the machine does: switch it off\n" } else { "\n" };
            format!("{}: {name} is not a host any more{goes_on}", style.good("done"))
        })
    }
}
