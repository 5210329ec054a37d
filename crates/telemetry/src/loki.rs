//! Loki: `POST /loki/api/v1/push` in JSON.
//!
//! Labels are few, because each set of them is a stream of its own there: environment, service, and how it was written. Version, instance, host,
//! level and trace are structured metadata of each line.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::logs::Line;

/// Where Loki takes lines.
pub const PATH: &str = "/loki/api/v1/push";
/// The media type of what is sent.
pub const JSON: &str = "application/json";

/// Makes a request of lines. Within a stream they are in the order of their times.
#[must_use]
pub fn request(lines: &[Line]) -> Vec<u8> {
    let mut streams: BTreeMap<[&str; 3], Vec<&Line>> = BTreeMap::new();
    for line in lines {
        streams.entry([&line.environment, &line.service, &line.source]).or_default().push(line);
    }
    let streams: Vec<Value> = streams.into_iter().map(stream).collect();
    json!({ "streams": streams }).to_string().into_bytes()
}

fn stream(([environment, service, source], mut lines): ([&str; 3], Vec<&Line>)) -> Value {
    lines.sort_by_key(|line| line.at_ms);
    json!({
        "stream": { "deployment_environment_name": environment, "service_name": service, "source": source },
        "values": lines.into_iter().map(value).collect::<Vec<_>>(),
    })
}

fn value(line: &Line) -> Value {
    let nanoseconds = u128::from(line.at_ms) * 1_000_000;
    json!([nanoseconds.to_string(), line.text, metadata(line)])
}

fn metadata(line: &Line) -> Map<String, Value> {
    let said = [
        ("service_version", Some(&line.version)),
        ("service_instance_id", Some(&line.instance)),
        ("host_name", line.host.as_ref()),
        ("level", line.level.as_ref()),
        ("trace_id", line.trace.as_ref()),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::tests::line;

    #[test]
    fn a_stream_has_few_labels_and_its_lines_in_order() {
        let lines = [line("later", 7), line("first", 3), Line { source: "err".into(), ..line("bad", 5) }];
        let sent: Value = serde_json::from_slice(&request(&lines)).unwrap();
        let streams = sent["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 2);
        assert_eq!(streams[1]["stream"]["source"], "out");
        let times: Vec<_> = streams[1]["values"].as_array().unwrap().iter().map(|it| it[0].clone()).collect();
        assert_eq!(times, ["3000000", "7000000"]);
        assert_eq!(streams[0]["values"][0][1], "bad");
        assert_eq!(streams[0]["values"][0][2]["service_instance_id"], "a");
        assert!(streams[0]["values"][0][2].get("trace_id").is_none());
    }
}
