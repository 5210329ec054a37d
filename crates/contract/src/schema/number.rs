//! Numbers of JSON, compared exactly where both are whole.

use std::cmp::Ordering;

use serde_json::Number;

/// Compares two numbers: exactly when both are integers, else as doubles.
pub(super) fn compare(one: &Number, other: &Number) -> Ordering {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => double(one).partial_cmp(&double(other)).unwrap_or(Ordering::Equal),
    }
}

/// The value as an integer, when it is one without a fraction part in its text.
pub(super) fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// The value as a double.
pub(super) fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

/// True when the value has no fraction, whichever way it is written.
pub(super) fn is_whole(number: &Number) -> bool {
    integer(number).is_some() || double(number).fract() == 0.0
}

/// True when `number` is a multiple of `step`, as JSON Schema counts: within the precision of doubles.
pub(super) fn is_multiple(number: f64, step: f64) -> bool {
    if step <= 0.0 {
        return false;
    }
    let quotient = number / step;
    quotient.is_finite() && (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
}

/// A JSON number from an integer, when it is one that JSON libraries hold exactly.
pub(super) fn from_integer(value: i128) -> Option<Number> {
    i64::try_from(value).ok().map(Number::from).or_else(|| u64::try_from(value).ok().map(Number::from))
}

/// A JSON number from a double, whole where it is whole.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before the cast")]
pub(super) fn from_double(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        Some(Number::from(value as i64))
    } else {
        Number::from_f64(value)
    }
}
