//! JSON for programs: what the API answers, with points in time as RFC 3339 instead of milliseconds.

use lockstep_domain::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Fields that hold a point in time. A test compares the list with the schemas of everything that is written.
const TIME_FIELDS: [&str; 20] = [
    "at",
    "baseline_since",
    "began",
    "begun",
    "due",
    "ended",
    "last_sent",
    "lived_until",
    "looked",
    "next",
    "not_before",
    "recorded",
    "registered",
    "requested",
    "seen",
    "since",
    "stage_since",
    "until",
    "valid_from",
    "valid_until",
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lockstep_api::types;
    use lockstep_domain::Recorded;
    use schemars::{Schema, schema_for};

    use super::*;

    /// Everything that commands write as JSON, apart from what they put together themselves.
    fn schemas() -> Vec<Schema> {
        vec![
            schema_for!(types::ServiceView),
            schema_for!(types::VersionView),
            schema_for!(types::BuildView),
            schema_for!(types::EnvironmentSummary),
            schema_for!(types::EnvironmentView),
            schema_for!(types::OperationAnswer),
            schema_for!(types::History),
            schema_for!(types::ServiceTraffic),
            schema_for!(types::BaselineDiff),
            schema_for!(types::ConfigurationView),
            schema_for!(types::JournalReport),
            schema_for!(types::CollectReport),
            schema_for!(types::LifecycleView),
            schema_for!(types::AlertList),
            schema_for!(types::BlameView),
            schema_for!(types::TargetView),
            schema_for!(types::TestedTarget),
            schema_for!(types::SilenceView),
            schema_for!(types::RuleView),
            schema_for!(types::ChartsView),
            schema_for!(types::DeliveryView),
            schema_for!(types::CheckView),
            schema_for!(Recorded),
        ]
    }

    /// Finds the names of fields, and whether each is a point in time.
    fn fields(schema: &Value, found: &mut BTreeSet<(String, bool)>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                found.insert((name.clone(), property.to_string().contains("$defs/Timestamp")));
            }
        }
        match schema {
            Value::Object(parts) => parts.values().for_each(|part| fields(part, found)),
            Value::Array(parts) => parts.iter().for_each(|part| fields(part, found)),
            _ => {}
        }
    }

    #[test]
    fn the_list_of_time_fields_is_what_the_schemas_say() {
        let mut found = BTreeSet::new();
        schemas().iter().for_each(|schema| fields(schema.as_value(), &mut found));
        let times: BTreeSet<_> =
            found.iter().filter(|(_, is_time)| *is_time).map(|(name, _)| name.as_str()).collect();
        assert_eq!(times, BTreeSet::from(TIME_FIELDS));
        let also_else: Vec<_> =
            times.iter().filter(|name| found.contains(&((**name).to_owned(), false))).collect();
        assert_eq!(also_else, Vec::<&&str>::new(), "a name must mean a time everywhere or nowhere");
    }

    #[test]
    fn only_times_are_rewritten() {
        let value = serde_json::json!({ "at": 1_000, "count": 1_000, "list": [{ "since": 0, "values": { "at": { "plain": "1" } } }] });
        let expected = serde_json::json!({
            "at": "1970-01-01T00:00:01.000Z",
            "count": 1_000,
            "list": [{ "since": "1970-01-01T00:00:00.000Z", "values": { "at": { "plain": "1" } } }],
        });
        assert_eq!(readable(&value).unwrap(), expected);
    }
}
