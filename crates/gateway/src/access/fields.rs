//! Which fields lines of the access log have.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

/// All that lines can have, of requests and of connections to services that speak TCP.
pub(super) const ALL: [&str; 41] = [
    "time",
    "environment",
    "request_id",
    "client",
    "caller",
    "tls",
    "method",
    "host",
    "path",
    "query",
    "route",
    "baseline",
    "status",
    "grpc_status",
    "code",
    "version",
    "why",
    "instance",
    "ms",
    "bytes",
    "tries",
    "retried",
    "hedged",
    "shielded",
    "degraded",
    "mirrored",
    "lane",
    "lane_not_served",
    "delayed",
    "delay_ms",
    "fault",
    "priority",
    "end",
    "trace",
    "rate",
    "protocol",
    "port",
    "server_name",
    "service",
    "bytes_up",
    "bytes_down",
];

/// Fields that lines of the access log have, in their order: `time,route,status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessFields(Vec<&'static str>);

/// Names that are no fields of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("lines have no {}; there are {}", .0.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "), ALL.join(", "))]
pub struct UnknownFields(Vec<String>);

impl FromStr for AccessFields {
    type Err = UnknownFields;

    fn from_str(text: &str) -> Result<Self, UnknownFields> {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in text.split(',').map(str::trim) {
            match ALL.iter().find(|field| **field == name) {
                Some(field) if known.contains(field) => {}
                Some(field) => known.push(*field),
                None => unknown.push(name.to_owned()),
            }
        }
        if unknown.is_empty() { Ok(Self(known)) } else { Err(UnknownFields(unknown)) }
    }
}

impl AccessFields {
    /// Writes a line with these fields, as far as it has them.
    pub(super) fn text(&self, line: &impl Serialize) -> Option<String> {
        let Ok(Value::Object(all)) = serde_json::to_value(line) else { return None };
        let has = |name: &&'static str| Some((*name, all.get(*name)?));
        let part = |(name, value): (&str, &Value)| format!("\"{name}\":{value}");
        let parts: Vec<_> = self.0.iter().filter_map(has).map(part).collect();
        Some(format!("{{{}}}", parts.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_fields_are_said_all_at_once_with_those_there_are() {
        let error = "status,statos,,path".parse::<AccessFields>().unwrap_err().to_string();
        assert!(error.starts_with("lines have no `statos`, ``; there are time, environment, "), "{error}");
        assert_eq!("path, status,path".parse(), Ok(AccessFields(vec!["path", "status"])));
    }
}
