//! `lockstep diff`: what differs between two baselines.

use std::fmt::Write as _;

use lockstep_api::types::{BaselineDiff, ServiceDiff};
use lockstep_domain::EnvironmentName;

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::plan_text::entry;
use crate::output::style::{Style, printable};

/// Compares two baselines of an environment.
///
/// Shows every service that differs, with its versions and the variables of its configuration. Secrets are shown by
/// name only.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep diff production 17 19")]
pub(crate) struct Args {
    /// The environment.
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// The one baseline.
    #[arg(value_name = "FROM")]
    from: u64,
    /// The other baseline.
    #[arg(value_name = "TO")]
    to: u64,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        ctx.out.show(&ctx.client.diff(&self.environment, self.from, self.to)?, render)
    }
}

fn render(diff: &BaselineDiff, style: &Style) -> String {
    let BaselineDiff { environment, from, to, services } = diff;
    if services.is_empty() {
        return format!("baselines {from} and {to} of {environment} are the same\n");
    }
    let title = format!("{environment}: baseline {from} -> {to}");
    let mut text = format!("{}\n", style.strong(&title));
    services.iter().for_each(|service| write_service(&mut text, service));
    text
}

fn write_service(text: &mut String, service: &ServiceDiff) {
    let change = &service.change;
    let (from, to) = (entry(change.from.as_ref()), entry(change.to.as_ref()));
    let _ = writeln!(text, "  {}  {from} -> {to}", change.service);
    for (key, values) in &service.variables {
        let shown = |value: &Option<String>| {
            value.as_ref().map_or_else(|| "not set".to_owned(), |value| printable(value).into_owned())
        };
        let _ = writeln!(text, "      {key}: {} -> {}", shown(&values.from), shown(&values.to));
    }
}
