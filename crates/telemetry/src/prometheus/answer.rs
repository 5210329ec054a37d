//! What a Prometheus answers, read without trust: nothing that was not asked for is taken, and nothing that is not a number. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{AskError, Range};

/// Curves that an answer may have: a service has a few versions that run, and a month of versions.
const MAX_CURVES: usize = 2_000;
/// Points that an answer may have over all its curves: 16 MB while they are held.
const MAX_ALL_POINTS: usize = 1_000_000;

/// A curve, and the labels that it has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Times in milliseconds since 1970, each later than the one before, and values that are finite. Where there is none, nothing is known.
    pub points: Vec<(u64, f64)>,
}

#[derive(Debug, Deserialize)]
struct Answered {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// Returns what a Prometheus says why it refuses; nothing where it does not say it as a Prometheus does.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    let said: Answered = serde_json::from_slice(body).ok()?;
    said.error.filter(|_| said.status == "error")
}

/// Reads an answer to a query over a range.
pub(super) fn read(body: &[u8], range: Range) -> Result<Vec<Curve>, AskError> {
    let answered: Answered =
        serde_json::from_slice(body).map_err(|error| nonsense(format!("it is not read as JSON: {error}")))?;
    let data = answered.data.filter(|data| answered.status == "success" && data.result_type == "matrix");
    let data = data.ok_or_else(|| nonsense("it has no matrix".to_owned()))?;
    if !answered.warnings.is_empty() {
        return Err(AskError::Warns(answered.warnings.join("; ")));
    }
    if data.result.len() > MAX_CURVES
        || data.result.iter().map(|it| it.values.len()).sum::<usize>() > MAX_ALL_POINTS
    {
        return Err(AskError::TooLarge);
    }
    curves(data.result, range)
}

fn curves(series: Vec<Series>, range: Range) -> Result<Vec<Curve>, AskError> {
    let mut curves = BTreeMap::new();
    for Series { metric, values } in series {
        let points = points(&values, range)?;
        if curves.insert(metric, points).is_some() {
            return Err(nonsense("it has two curves with the same labels".to_owned()));
        }
    }
    Ok(curves.into_iter().map(|(labels, points)| Curve { labels, points }).collect())
}

fn points(values: &[(f64, String)], range: Range) -> Result<Vec<(u64, f64)>, AskError> {
    let (mut points, mut last_ms) = (Vec::with_capacity(values.len()), None);
    for (seconds, text) in values {
        let at_ms = milliseconds(*seconds, range).filter(|at_ms| last_ms.is_none_or(|last| last < *at_ms));
        let at_ms = at_ms.ok_or_else(|| nonsense(format!("nobody asked for a point at {seconds}")))?;
        last_ms = Some(at_ms);
        let value: f64 = text
            .parse()
            .map_err(|_| nonsense(format!("`{}` is no number", text.chars().take(20).collect::<String>())))?;
        if value.is_finite() {
            points.push((at_ms, value));
        }
    }
    Ok(points)
}

/// Some programs move a range to whole steps.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of the range is dropped"
)]
fn milliseconds(seconds: f64, Range { from_ms, until_ms, step_ms }: Range) -> Option<u64> {
    let at_ms = (seconds * 1_000.0).round();
    let (from_ms, until_ms) = (from_ms.saturating_sub(step_ms), until_ms.saturating_add(step_ms));
    (at_ms >= from_ms as f64 && at_ms <= until_ms as f64).then_some(at_ms as u64)
}

fn nonsense(why: String) -> AskError {
    AskError::Nonsense(why)
}
