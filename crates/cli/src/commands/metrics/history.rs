//! `lockstep metrics history`: what a service did in the last hours, days or weeks.

use lockstep_api::types::{ChartPoint, ChartSeries, ChartSource, ChartsView};
use lockstep_domain::{ServiceName, Timestamp};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times::took;
use crate::parse::duration::milliseconds;
use crate::select::EnvironmentOption;

/// Characters of a curve, from nothing to the largest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How many of them a curve has.
const WIDTH: u64 = 48;

/// Shows what a service and its versions did: requests, failures, how long answers took to begin, instances, memory and processors.
///
/// The server keeps these figures itself, each ten seconds for a day and each five minutes for a month, in at most 200 MB. A server that was told of a
/// Prometheus (`lockstep server --prometheus URL`) asks that, and shows its own figures, with the reason, where something is missing there. With --json
/// each point is there with its time.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep metrics history orders --env production --since 1d\n  lockstep metrics history orders --figure latency-p99"
)]
pub(super) struct Args {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Of the last hours or days: up to 31d, or what a Prometheus keeps.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds, default_value = "1h")]
    since: u64,
    /// Only this figure.
    #[arg(long, value_name = "FIGURE", value_parser = FIGURES)]
    figure: Option<String>,
}

const FIGURES: [&str; 9] = [
    "requests",
    "failures",
    "latency-p50",
    "latency-p95",
    "latency-p99",
    "healthy",
    "instances",
    "memory",
    "processors",
];

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let figure = self.figure.as_deref();
        let view = ctx.client.charts(&environment, &self.service, figure, self.since, WIDTH as usize)?;
        ctx.out.show(&view, |view, style| render(view, self.since, style))
    }
}

fn render(view: &ChartsView, within_ms: u64, style: &Style) -> String {
    let reason = view.reason.as_ref().map(|reason| format!("{reason}\n")).unwrap_or_default();
    if view.series.is_empty() {
        return format!("nothing is known of {} in {} yet\n{reason}", view.service, view.environment);
    }
    let mut series: Vec<&ChartSeries> = view.series.iter().collect();
    let place = |name: &str| FIGURES.iter().position(|known| *known == name);
    series.sort_by_key(|it| (place(&it.figure), it.version.clone()));
    let newest = series.iter().filter_map(|it| it.points.last()).map(|point| point.at).max();
    let newest = newest.unwrap_or_default();
    let mut table = Table::new(["FIGURE", "OF", "", "NOW", "LARGEST", "UNIT"]);
    for one in series {
        let largest = one.points.iter().map(|point| point.largest).fold(0.0, f64::max);
        // What ended before has no value of now.
        let last = one.points.last().filter(|point| newest.since_ms(point.at) <= view.step_ms);
        table.row([
            one.figure.clone(),
            one.version.clone().unwrap_or_else(|| "all".to_owned()),
            curve(&one.points, newest, within_ms, view.step_ms),
            last.map_or_else(|| "-".to_owned(), |point| short(point.average)),
            short(largest),
            one.unit.clone(),
        ]);
    }
    let (step, of) = (took(view.step_ms), source(view.source));
    format!(
        "{} in {}, the last {}, a point each {step}{of}\n{reason}{}",
        view.service,
        view.environment,
        took(within_ms),
        table.render(style)
    )
}

const fn source(source: ChartSource) -> &'static str {
    match source {
        ChartSource::Own => "",
        ChartSource::Prometheus => ", out of Prometheus",
    }
}

/// Draws a curve up to the newest point of all curves; where nothing is known there is a gap.
fn curve(points: &[ChartPoint], newest: Timestamp, within_ms: u64, step_ms: u64) -> String {
    if points.is_empty() {
        return String::new();
    }
    let width = within_ms.div_ceil(step_ms.max(1)).clamp(1, WIDTH);
    let column_ms = (within_ms / width).max(1);
    let largest = points.iter().map(|point| point.largest).fold(f64::MIN_POSITIVE, f64::max);
    let column = |at: u64| {
        let until = newest.0.saturating_sub((width - 1 - at) * column_ms);
        let from = until.saturating_sub(column_ms);
        let within = points.iter().filter(|point| point.at.0 > from && point.at.0 <= until);
        let value = within.map(|point| point.average).reduce(f64::max);
        value.map_or(' ', |value| bar(value / largest))
    };
    (0..width).map(column).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the part is within 0 and 1")]
fn bar(part: f64) -> char {
    let place = (part.clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round() as usize;
    BARS[place.min(BARS.len() - 1)]
}

/// Writes a number as short as a person reads it: `0`, `0.25`, `12.5`, `340`, `1.2k`, `48M`.
fn short(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e4, "k")];
    for (from, unit) in units {
        if value >= from {
            let part = value / if unit == "k" { 1e3 } else { from };
            return if part < 10.0 { format!("{part:.1}{unit}") } else { format!("{part:.0}{unit}") };
        }
    }
    match value {
        it if it == it.round() || it >= 100.0 => format!("{it:.0}"),
        it if it >= 10.0 => format!("{it:.1}"),
        it => format!("{it:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_gaps_where_nothing_is_known() {
        let point = |at, average| ChartPoint { at: Timestamp(at), average, largest: average };
        let points = [point(100_000, 0.0), point(110_000, 7.0), point(130_000, 3.5)];
        let drawn = |points: &[ChartPoint], newest| curve(points, Timestamp(newest), 40_000, 10_000);
        assert_eq!(drawn(&points, 130_000), "▁█ ▅");
        assert_eq!(drawn(&points[..2], 130_000), "▁█  ", "what ended is not drawn where now is");
        assert_eq!(drawn(&[], 130_000), "");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.5, "12.5"),
            (340.4, "340"),
            (12_000.0, "12k"),
            (48e6, "48M"),
            (1.2e9, "1.2G"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
