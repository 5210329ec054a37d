//! `lockstep contract`: what differs between two contracts, and the rules that say what a difference does.
//!
//! Works without a server, on files, folders and git revisions.

mod budget;
pub(crate) mod check;
mod diff;
mod files;
mod location;
mod policy;
mod registry;
mod revision;
pub(crate) mod rules;

use crate::context::Context;
use crate::failure::Failure;

/// Compares contracts and explains the rules.
///
/// A contract is what a service offers: an OpenAPI document, a tree of .proto files, a GraphQL schema, SQL migrations, an
/// AsyncAPI document, or a JSON Schema or Avro schema of messages. Two of them are compared by meaning, in both directions, without a server.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep contract diff main:api/openapi.yaml api/openapi.yaml
  lockstep contract rules --kind openapi")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ContractCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum ContractCommand {
    Diff(Box<diff::Args>),
    Rules(rules::Args),
    Registry(registry::Args),
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            ContractCommand::Diff(args) => (*args).run(ctx),
            ContractCommand::Rules(args) => args.run(ctx),
            ContractCommand::Registry(args) => args.run(ctx),
        }
    }
}
