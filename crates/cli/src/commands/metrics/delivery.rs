//! `lockstep metrics delivery`: DORA's five figures.

use lockstep_api::types::{DeliveryAmount, DeliveryFigure, DeliveryView};
use lockstep_domain::ServiceName;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::times::took;
use crate::parse::duration::milliseconds;
use crate::select::EnvironmentOption;

const DAY_MS: u64 = 86_400_000;

/// Returns DORA's five figures of how software is delivered to an environment, with what is counted for each.
///
/// They are made of what Lockstep itself recorded: deployments, versions with the times of their commits, and what was taken back. Where there is
/// nothing to count there is no number.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep metrics delivery --env production\n  lockstep metrics delivery --service orders --since 90d"
)]
pub(super) struct Args {
    /// Only of this service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceName>,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Of the last days.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds, default_value = "90d")]
    since: u64,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let view = ctx.client.delivery(&environment, self.service.as_ref(), self.since)?;
        ctx.out.show(&view, render)
    }
}

fn render(view: &DeliveryView, style: &Style) -> String {
    let of = view.service.as_ref().map(|service| format!("{service} ")).unwrap_or_default();
    let lasts = took(view.until.since_ms(view.since));
    let figures = view.figures.iter().map(|figure| of_figure(figure, style));
    format!("{of}in {}, the last {lasts}\n{}", view.environment, figures.collect::<String>())
}

fn of_figure(figure: &DeliveryFigure, style: &Style) -> String {
    let amount = figure.amount.map_or_else(|| "nothing to count".to_owned(), amount);
    let left_out = match figure.left_out {
        0 => String::new(),
        count => format!("; {count} left out, of which too little is known"),
    };
    let counted = format!("of {}{left_out}", figure.counted);
    let counted = if figure.counted + figure.left_out > 0 { format!("  ({counted})") } else { String::new() };
    format!("{:<32} {}{counted}\n    {}\n", figure.name, style.strong(&amount), figure.definition)
}

fn amount(amount: DeliveryAmount) -> String {
    match amount {
        DeliveryAmount::PerDay(count) if count < 1.0 && count > 0.0 => {
            format!("one in {:.1} days", 1.0 / count)
        }
        DeliveryAmount::PerDay(count) => format!("{count:.1} a day"),
        DeliveryAmount::MedianMs(ms) if ms >= 2 * DAY_MS => format!("{:.1} days", ms as f64 / DAY_MS as f64),
        DeliveryAmount::MedianMs(ms) => took(ms),
        DeliveryAmount::Share(share) => format!("{:.0} %", share * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_that_a_person_reads() {
        for (is, text) in [
            (DeliveryAmount::PerDay(0.25), "one in 4.0 days"),
            (DeliveryAmount::PerDay(3.0), "3.0 a day"),
            (DeliveryAmount::MedianMs(90_000), "1 min 30 s"),
            (DeliveryAmount::MedianMs(3 * DAY_MS), "3.0 days"),
            (DeliveryAmount::Share(0.125), "12 %"),
        ] {
            assert_eq!(amount(is), text);
        }
    }
}
