//! `lockstep environments`: all environments at a glance.

use lockstep_api::types::EnvironmentSummary;

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::plan_text::strategy;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times::exact;

/// Lists environments.
///
/// Shows each environment with its baseline, the stage from which it accepts versions, and how it is changed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep environments\n  lockstep environments --json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        ctx.out.show(&ctx.client.environments()?, |environments, style| render(environments, style))
    }
}

fn render(environments: &[EnvironmentSummary], style: &Style) -> String {
    if environments.is_empty() {
        return "there is no environment yet; create one: lockstep environment create NAME\n".to_owned();
    }
    let mut table =
        Table::new(["ENVIRONMENT", "BASELINE", "SERVICES", "ACCEPTS FROM", "GATEWAY", "WARM", "STRATEGY"]);
    for environment in environments {
        let settings = &environment.settings;
        table.row([
            environment.name.to_string(),
            environment.baseline.to_string(),
            environment.services.to_string(),
            settings.accepts_from.to_string(),
            format!("port {}", settings.gateway_port),
            exact(settings.warm_ms),
            strategy(&settings.strategy),
        ]);
    }
    table.render(style)
}
