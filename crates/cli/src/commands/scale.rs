//! `lockstep scale`: how many instances of a service run.

use lockstep_domain::intent::MAX_REPLICAS;
use lockstep_domain::name::ProcessName;
use lockstep_domain::{Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::select::EnvironmentOption;

/// Changes how many instances of a service run.
///
/// The number is not part of a baseline: going back to an earlier version keeps it.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep scale orders 3 --env production\n  lockstep scale shop 4 --process worker --env production"
)]
pub(crate) struct Args {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Which of its processes; the one that takes requests where none is named.
    #[arg(long, value_name = "NAME")]
    process: Option<ProcessName>,
    /// How many.
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REPLICAS)))]
    replicas: u32,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let intent = Intent::Scale { service: self.service, process: self.process, replicas: self.replicas };
        self.change.change(environment, intent).run(ctx)
    }
}
