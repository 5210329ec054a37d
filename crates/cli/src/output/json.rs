//! JSON for programs: what the API answers, with points in time as RFC 3339 instead of milliseconds.

use lockstep_domain::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Fields that hold a point in time. A test compares the list with the schemas of everything that is written.
const TIME_FIELDS: [&str; 13] = [
    "at",
    "baseline_since",
    "began",
    "begun",
    "ended",
    "recorded",
    "registered",
    "requested",
    "seen",
    "since",
    "stage_since",
    "until",
    "warm_until",
];

/// Makes the JSON of a value with readable times.
pub(crate) fn readable<T: Serialize>(value: &T) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(value)?;
    write_times(&mut value);
    Ok(value)
}

fn write_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value.as_u64() {
                    Some(ms) if TIME_FIELDS.contains(&name.as_str()) => {
                        *value = Value::String(Timestamp(ms).to_string());
                    }
                    _ => write_times(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(write_times),
        _ => {}
    }
}
