//! `lockstep restart`: new instances in the place of old ones.

use lockstep_domain::{Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::select::EnvironmentOption;

/// Puts a new instance in the place of each instance of a service.
///
/// One after the other: a new one is started and becomes healthy, then an old one leaves the table, its requests finish,
/// and it ends. With a fixed port or `old-first` the old one ends before the new one starts. Version, configuration and
/// baseline stay. When a new one does not become healthy it stops there, and the instances that were not replaced yet go on.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep restart orders --env production")]
pub(crate) struct Args {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let intent = Intent::Restart { service: self.service, instances: Vec::new() };
        self.change.change(environment, intent).run(ctx)
    }
}
