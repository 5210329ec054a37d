//! `lockstep remove`: take services out of an environment.

use lockstep_domain::{Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::{ChangeOptions, LeavingOptions};
use crate::select::EnvironmentOption;

/// Takes services out of an environment.
///
/// It is refused while another service there requires one of them. Their instances end, unless `--keep-warm` keeps them
/// for the warm time. Versions, history and data folders stay.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep remove orders --env staging\n  lockstep remove orders payments --env staging --dry-run"
)]
pub(crate) struct Args {
    /// Services.
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<ServiceName>,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    leaving: LeavingOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let intent = Intent::Remove { services: self.services };
        self.change.change(environment, intent).leaving(self.leaving).run(ctx)
    }
}
