//! Charts out of a Prometheus, and whether they are the answer: only where nothing is missing that the own history has.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::types::{ChartPoint, ChartSeries};
use lockstep_domain::Timestamp;
use lockstep_domain::metrics_text::VERSION;
use lockstep_telemetry::{AskError, Curve, Prometheus, Range};

use super::figures::{self, FAILURES, INSTANCES, REQUESTS};
use super::queries::{Asking, Pace};
use super::{Asked, Curves};

/// Prometheus forgets a sample after five minutes, so one that collects less often has gaps whatever is asked.
const MAX_INTERVAL_MS: u64 = 300_000;
/// A point is known where this part of what should have been collected in it was: a rate over less would be too small.
const KNOWN_PART: f64 = 0.8;
/// One point in so many of the own history may be missing: where Prometheus was not up for a moment.
const MAY_MISS: usize = 20;

/// Asks for everything; or says why what was answered cannot be the answer.
pub(super) async fn ask(prometheus: &Prometheus, asked: &Asked<'_>) -> Result<Curves, String> {
    let asking = Asking { asked, labels: prometheus.labels() };
    let own_step_ms = asked.query().step_ms();
    let questions = vec![asking.copies(), asking.interval()];
    let [copies, intervals] = said(prometheus, questions, range(asked, own_step_ms)).await?;
    only_once(&copies)?;
    let interval_ms = interval(&intervals).ok_or_else(|| {
        format!(
            "it has no figures of `{}` yet: does it collect from this server? lockstep metrics prometheus",
            asked.environment
        )
    })?;
    let pace = Pace::new(own_step_ms, interval_ms, asked.within_ms);
    let averages = asked.figures.iter().filter_map(|figure| asking.average(figure, pace));
    let largest = asked.figures.iter().filter_map(|figure| asking.largest(figure, pace));
    let questions = std::iter::once(asking.collected(pace.window_ms)).chain(averages).chain(largest);
    let answers = answers(prometheus, questions.collect(), range(asked, pace.step_ms)).await?;
    let (collected, curves) = answers.split_first().ok_or("it answered nothing")?;
    let known = known(collected, pace.window_ms, interval_ms);
    let (averages, largest) = curves.split_at(asked.figures.len());
    let read = asked.figures.iter().enumerate().map(|(at, figure)| {
        let largest = largest.get(at).map(Vec::as_slice).unwrap_or_default();
        of_figure(figure, &averages[at], largest, (&known, pace.step_ms))
    });
    let series: Vec<ChartSeries> = read.collect::<Result<Vec<_>, String>>()?.concat();
    Ok(Curves { step_ms: pace.step_ms, whole: true, series: without_gone(series) })
}

async fn said<const N: usize>(
    prometheus: &Prometheus,
    questions: Vec<String>,
    range: Range,
) -> Result<[Vec<Curve>; N], String> {
    let answers = answers(prometheus, questions, range).await?;
    answers.try_into().map_err(|_| "it did not answer each question".to_owned())
}

async fn answers(
    prometheus: &Prometheus,
    questions: Vec<String>,
    range: Range,
) -> Result<Vec<Vec<Curve>>, String> {
    let words = |error: AskError| format!("{}; {}", error.why(), error.hint());
    prometheus.ask(questions, range).await.map_err(words)
}

/// Returns the times at which points end, the last of them now: what a Prometheus says at a time is of what was before it.
fn range(asked: &Asked<'_>, step_ms: u64) -> Range {
    let steps = (asked.within_ms / step_ms).clamp(1, lockstep_telemetry::MAX_POINTS as u64);
    let until_ms = asked.now.0;
    let from_ms = until_ms.saturating_sub((steps - 1).saturating_mul(step_ms));
    Range { from_ms, until_ms, step_ms }
}

/// Two servers with an environment of one name are not to be added up, and neither is one with itself.
fn only_once(copies: &[Curve]) -> Result<(), String> {
    let most = copies.iter().flat_map(|curve| &curve.points).map(|(_, count)| *count).fold(0.0, f64::max);
    if most <= 1.0 {
        return Ok(());
    }
    Err(format!(
        "it has {most} copies of each series of this environment: say which one is of this server in LOCKSTEP_PROMETHEUS_LABELS (instance=HOST:PORT)"
    ))
}

/// Returns how many milliseconds are between two samples: nine in ten times at most.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within bounds")]
fn interval(said: &[Curve]) -> Option<u64> {
    let mut seconds: Vec<f64> =
        said.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value).collect();
    seconds.retain(|it| *it > 0.0);
    seconds.sort_by(f64::total_cmp);
    let usual = seconds.get(seconds.len().saturating_sub(1) * 9 / 10)?;
    Some((usual * 1_000.0).clamp(1_000.0, MAX_INTERVAL_MS as f64) as u64)
}

/// Returns the times at which enough was collected.
fn known(collected: &[Curve], window_ms: u64, interval_ms: u64) -> BTreeSet<u64> {
    let wanted = window_ms as f64 / interval_ms as f64 * KNOWN_PART;
    let points = collected.iter().flat_map(|curve| &curve.points);
    points.filter(|(_, count)| *count >= wanted.floor()).map(|(at, _)| *at).collect()
}

/// Makes curves of a figure, of what is known.
fn of_figure(
    figure: &str,
    averages: &[Curve],
    largest: &[Curve],
    (known, step_ms): (&BTreeSet<u64>, u64),
) -> Result<Vec<ChartSeries>, String> {
    if averages.iter().flat_map(|curve| &curve.points).any(|(_, value)| *value < 0.0) {
        return Err(format!("it answers less than nothing for `{figure}`"));
    }
    let largest: BTreeMap<(Option<&String>, u64), f64> = largest
        .iter()
        .flat_map(|curve| curve.points.iter().map(|(at, value)| ((curve.labels.get(VERSION), *at), *value)))
        .collect();
    let curve = |curve: &Curve| {
        let version = curve.labels.get(VERSION);
        let points = curve.points.iter().filter(|(at, _)| known.contains(at)).map(|&(at, average)| {
            let most = largest.get(&(version, at)).copied().unwrap_or(average);
            ChartPoint { at: Timestamp(at.saturating_sub(step_ms)), average, largest: most.max(average) }
        });
        figures::series(version.cloned(), figure, points.collect())
    };
    Ok(averages.iter().map(curve).collect())
}

/// Leaves out what counters of versions that are gone go on to say: nothing comes to them any more.
fn without_gone(mut series: Vec<ChartSeries>) -> Vec<ChartSeries> {
    let there: BTreeSet<(String, Timestamp)> = series
        .iter()
        .filter(|it| it.figure == INSTANCES)
        .filter_map(|it| Some((it.version.clone()?, &it.points)))
        .flat_map(|(version, points)| points.iter().map(move |point| (version.clone(), point.at)))
        .collect();
    let counted = |it: &&mut ChartSeries| it.figure == REQUESTS || it.figure == FAILURES;
    for it in series.iter_mut().filter(counted) {
        let Some(version) = it.version.clone() else { continue };
        it.points.retain(|point| point.average > 0.0 || there.contains(&(version.clone(), point.at)));
    }
    series.retain(|it| !it.points.is_empty());
    series
}

/// Says what a Prometheus does not have of what the own history has.
pub(super) fn lacks(theirs: &Curves, own: Option<&Curves>) -> Option<String> {
    if theirs.series.iter().all(|it| it.points.is_empty()) {
        return Some("it has nothing of this service in this time".to_owned());
    }
    let own = own?;
    let has = |figure: &str| theirs.series.iter().any(|it| it.version.is_none() && it.figure == figure);
    let missing = own.series.iter().find(|it| it.version.is_none() && !has(&it.figure));
    if let Some(missing) = missing {
        return Some(format!("it has no `{}` of this service", missing.figure));
    }
    let (ours, theirs_at) = (there(own), there(theirs));
    let near_ms = own.step_ms.saturating_add(theirs.step_ms);
    let is_known =
        |at: &&u64| theirs_at.range(at.saturating_sub(near_ms)..=at.saturating_add(near_ms)).next().is_some();
    let missed = ours.iter().filter(|at| !is_known(at)).count();
    let is_old = ours.last().is_some_and(|last| !is_known(&last));
    (is_old || missed * MAY_MISS > ours.len())
        .then(|| format!("it has nothing for {missed} of {} points that the own history has", ours.len()))
}

/// Returns when the service was there.
fn there(curves: &Curves) -> BTreeSet<u64> {
    let of_service = curves.series.iter().filter(|it| it.version.is_none() && it.figure == INSTANCES);
    of_service.flat_map(|it| it.points.iter().map(|point| point.at.0)).collect()
}

#[cfg(test)]
mod tests;
