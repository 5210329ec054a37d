//! `lockstep openapi`: the interface of the server as a document.

use crate::context::Context;
use crate::failure::Failure;

/// Writes the OpenAPI document of the server.
///
/// Everything the command line does goes through this interface; any program can use it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep openapi > openapi.json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        ctx.out.document(&ctx.client.openapi()?)
    }
}
