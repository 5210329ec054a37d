//! `lockstep gateway drain`: sends the clients of a gateway elsewhere, and lets it run.

use serde::{Deserialize, Serialize};

use super::admin::{self, AdminOption};
use crate::failure::Failure;
use crate::output::Output;
use crate::output::style::printable;

/// Sends the clients of a gateway elsewhere, and lets it run.
///
/// Its readiness says 503 from then on, and each answer is the last one of its connection (`connection: close`, GOAWAY), as after SIGTERM while
/// --lame-duck lasts; whoever comes all the same is served. It does not end, and does not become ready again: end it, start it anew, or let another
/// one take over. WebSockets go on until it ends. Only its own user and root may tell it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway drain
  lockstep gateway drain --admin-address 9901")]
pub(super) struct DrainArgs {
    #[command(flatten)]
    admin: AdminOption,
}

/// What a gateway says that drains.
#[derive(Debug, Serialize, Deserialize)]
struct Drained {
    gateway: String,
    connections: usize,
}

impl DrainArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let drained: Drained = admin::tell(self.admin.address, "/-/drain")?;
        out.show(&drained, |Drained { gateway, connections }, style| {
            let gateway = printable(gateway);
            format!(
                "{}: {gateway} is not ready any more; {connections} connections of clients are open\n",
                style.good("done")
            )
        })
    }
}
