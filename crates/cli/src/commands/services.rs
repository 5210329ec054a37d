//! `lockstep services`: all services at a glance.

use lockstep_api::types::ServiceView;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;

/// Lists services.
///
/// Shows each service with its newest version, the stage of that version, and who answers for it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep services\n  lockstep services --json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        ctx.out.show(&ctx.client.services()?, |services, style| render(services, style))
    }
}

fn render(services: &[ServiceView], style: &Style) -> String {
    if services.is_empty() {
        return "there is no service yet; register one: lockstep service add PATH\n".to_owned();
    }
    let mut table = Table::new(["SERVICE", "NEWEST", "STAGE", "CUT", "OWNER"]);
    for service in services {
        let newest = service.versions.first();
        table.row([
            service.name.to_string(),
            newest.map_or_else(|| "none".to_owned(), |version| version.number.to_string()),
            newest.map_or_else(String::new, |version| version.stage.to_string()),
            newest.map_or_else(String::new, |version| style.ago(version.recorded)),
            service.owner.clone().unwrap_or_default(),
        ]);
    }
    table.render(style)
}
