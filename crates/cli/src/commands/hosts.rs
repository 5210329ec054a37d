//! `lockstep hosts`: all hosts at a glance.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::hosts::table;

/// Lists the hosts that instances run on.
///
/// Shows each host with how it is, what may run there, its environments and labels, the address at which instances listen, how many run there, and what
/// is free on its disk. Without a host, instances run on the machine of the server.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep hosts\n  lockstep hosts --json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        list(ctx)
    }
}

/// Lists them.
pub(super) fn list(ctx: &Context) -> Result<(), Failure> {
    ctx.out.show(&ctx.client.hosts()?, |hosts, style| table(hosts, style))
}
