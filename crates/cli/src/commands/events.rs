//! `lockstep events`: what happened, and what happens.

use lockstep_api::types::{EventQuery, EventView};
use lockstep_domain::{EnvironmentName, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::events::on_and_on;
use crate::output::Format;
use crate::output::style::{Style, printable};
use crate::parse::duration::milliseconds;

/// Shows what happened, the newest last: what people did and what Lockstep did by itself.
///
/// It is the journal in words, so nothing is missing that was decided. How instances are and what is counted is no matter of the journal:
/// `lockstep watch ENV` shows that as well. With --follow it goes on until it is interrupted; with --json each event is one line then.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep events --env production --since 1h
  lockstep events --service orders --limit 20
  lockstep events --follow")]
pub(crate) struct Args {
    /// Only of this environment.
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<EnvironmentName>,
    /// Only of what is about this service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// Only of the last minutes, hours or days, such as 20m or 7d.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    since: Option<u64>,
    /// At most so many, the newest; 1000 at most.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// Go on, and write what happens.
    #[arg(short, long)]
    follow: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let query = EventQuery {
            environment: self.environment,
            service: self.service,
            within_ms: self.since,
            newest: Some(self.limit),
            after: None,
        };
        if self.follow {
            return on_and_on(ctx, &query, |view| match ctx.out.format {
                Format::Json => ctx.out.show_in_stream(view, |_, _| String::new()),
                Format::Text => ctx.out.text(&line(view, &ctx.out.style)),
            });
        }
        ctx.out.show(&ctx.client.past_events(&query)?, |views, style| {
            views.iter().map(|view| line(view, style)).collect()
        })
    }
}

/// Writes an event in one line.
pub(crate) fn line(view: &EventView, style: &Style) -> String {
    let place = view.environment.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let what = match view.event.as_str() {
        "operation_reverting" | "operation_reverted" | "hold_placed" => style.warn(&printable(&view.what)),
        "operation_done" | "baseline_proven" => style.good(&printable(&view.what)),
        _ => printable(&view.what).into_owned(),
    };
    format!("{} {} {place}{what}\n", view.at, printable(view.actor.as_str()))
}

#[cfg(test)]
mod tests {
    use lockstep_domain::Timestamp;

    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_people_wrote() {
        let view = EventView {
            seq: 7,
            at: Timestamp(0),
            actor: "ann".parse().unwrap(),
            event: "operation_begun".to_owned(),
            environment: Some("production".parse().unwrap()),
            services: std::collections::BTreeSet::new(),
            operation: None,
            what: "deploy\u{1b}[2J".to_owned(),
        };
        let text = line(&view, &Style::plain());
        assert_eq!(text, "1970-01-01T00:00:00.000Z ann production: deploy\\u{1b}[2J\n");
    }
}
