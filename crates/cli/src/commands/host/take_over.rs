//! `lockstep host take-over`: a host obeys this server, and no longer another one.

use std::time::Duration;

use lockstep_api::types::HostConnection;
use lockstep_domain::HostName;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::hosts::until_here;
use crate::output::hosts::state;
use crate::progress::Progress;

/// How long the host is waited for: the program is there, so a connection takes a few seconds.
const HERE_WITHIN: Duration = Duration::from_secs(20);

/// Takes a host from another server that has it.
///
/// A host obeys one server, the last that connected, so that a copy of a data folder or a forgotten server changes nothing there. `lockstep host show` says
/// when another one has it. Type this when that server is gone or is not to have the host any more: with the next connection, which is tried at once, the host
/// is this server's, and the other one, also one that is connected, is refused from then on. While the host is not reached the wish stays. What the other one
/// had started there and this one does not know ends. Of a host that is here nothing is taken.
///
/// Ends with code 0 when the host is here, and with 1 when it is not within 20 s.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep host take-over web1")]
pub(super) struct TakeOverArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: HostName,
}

impl TakeOverArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let name = self.name;
        let view = ctx.client.host(&name)?;
        if view.connection == HostConnection::Here {
            return ctx
                .out
                .show(&view, |_, style| format!("{}: {name} is here already\n", style.good("done")));
        }
        let first = ctx.client.take_host_over(&name)?;
        let progress = Progress::begin(&ctx.out);
        progress.says(&format!("the server connects to {name}"));
        let view = until_here(ctx, first, HERE_WITHIN)?;
        drop(progress);
        if view.connection != HostConnection::Here {
            let how = state(&view.connection);
            let failure = Failure::new(Exit::EndedBadly, format!("{name} is to be taken over, and is {how}"));
            return Err(
                failure.hint(format!("it is with the next connection; look: lockstep host show {name}"))
            );
        }
        ctx.out.show(&view, |_, style| format!("{}: {name} is taken over, and here\n", style.good("done")))
    }
}
