//! `lockstep blame`: what changed before a fault.

use lockstep_api::types::{BlameView, BlamedChange};
use lockstep_domain::ServiceName;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::parse::duration::milliseconds;
use crate::select::EnvironmentOption;

/// Ranks what changed before a fault of a service, the likeliest cause first.
///
/// Deployments, configuration, migrations, rules, faults on purpose, hosts and settings, of the service, of what it was seen to call and of who
/// calls it, by how close they are in time and in the graph of calls; each with the command that takes it back. Where an alert of the
/// service fires, changes before that are looked at, else those before now. It is a ranking of what to look at first, and no proof.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep blame orders --env production --since 20m\n  lockstep blame orders"
)]
pub(crate) struct Args {
    /// The service that has the fault.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Only changes of the last minutes or hours before that, such as 20m; 7 days where it is left out.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    since: Option<u64>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        ctx.out.show(&ctx.client.blame(&environment, &self.service, self.since)?, render)
    }
}

fn render(view: &BlameView, style: &Style) -> String {
    let what = match &view.alert {
        Some(alert) => format!("before {} ({})", style.bad(&printable(alert)), style.ago(view.since)),
        None => format!("no alert of {} fires; before now", view.service),
    };
    if view.changes.is_empty() {
        return format!("{what}: nothing changed that could be the cause\n");
    }
    let changes = view.changes.iter().enumerate().map(|(at, change)| of_change(at + 1, change, style));
    format!("{what}:\n{}", changes.collect::<String>())
}

fn of_change(at: usize, blamed: &BlamedChange, style: &Style) -> String {
    let change = &blamed.change;
    let who = change.who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
    let what = style.strong(&printable(&change.what));
    let undo = change.undo.as_ref().map(|undo| format!("\n    {}", printable(undo))).unwrap_or_default();
    format!("{at:>2}. {what}{who}\n    {}{undo}\n", printable(&blamed.why))
}
