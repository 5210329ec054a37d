//! Lines of logs: who wrote them is the resource, what they say the body.

use prost::Message;

use super::{AnyValue, KeyValue, Resource, Scope, Value, scope, text};
use crate::logs::Line;

/// A request.
#[derive(Clone, PartialEq, Message)]
pub struct ExportLogs {
    /// Of resources.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// Lines of a resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLogs {
    /// Who wrote them.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// By what they are said.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// Lines of a scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeLogs {
    /// By what.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The lines.
    #[prost(message, repeated, tag = "2")]
    pub records: Vec<LogRecord>,
}

/// A line.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    /// When it was written, in nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub time: u64,
    /// How bad it is; 0 where nobody says it.
    #[prost(int32, tag = "2")]
    pub severity: i32,
    /// How bad it says that it is.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What it says.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What else is known of it.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// The trace that it belongs to: 16 bytes, or none.
    #[prost(bytes = "vec", tag = "9")]
    pub trace: Vec<u8>,
}

/// Makes a request of lines.
#[must_use]
pub fn request(lines: &[Line], given: &[(String, String)]) -> Vec<u8> {
    let mut resource_logs: Vec<ResourceLogs> = Vec::new();
    for of_one in lines.chunk_by(|one, other| one.instance == other.instance) {
        let records = of_one.iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { scope: Some(scope()), records }];
        let resource = of_one.first().map(|line| resource_of(line, given));
        resource_logs.push(ResourceLogs { resource, scope_logs });
    }
    ExportLogs { resource_logs }.encode_to_vec()
}

fn resource_of(line: &Line, given: &[(String, String)]) -> Resource {
    let mut known = vec![
        ("service.name", line.service.as_str()),
        ("service.version", &line.version),
        ("service.instance.id", &line.instance),
        ("deployment.environment.name", &line.environment),
    ];
    known.extend(line.host.as_ref().map(|host| ("host.name", host.as_str())));
    // What a person says of this program does not say who wrote a line.
    let is_known = |name: &str| known.iter().any(|(of, _)| *of == name);
    let given: Vec<_> = given.iter().filter(|(name, _)| !is_known(name)).cloned().collect();
    super::resource(&known, &given)
}

fn record(line: &Line) -> LogRecord {
    LogRecord {
        time: line.at_ms.saturating_mul(1_000_000),
        severity: line.level.as_deref().map_or(0, severity),
        severity_text: line.level.clone().unwrap_or_default(),
        body: Some(AnyValue { value: Some(Value::Text(line.text.clone())) }),
        attributes: vec![text("log.iostream", line.source.as_str())],
        trace: line.trace.as_deref().and_then(bytes_of).unwrap_or_default(),
    }
}

/// Numbers of the specification, by words that libraries use.
fn severity(level: &str) -> i32 {
    match level {
        "TRACE" | "VERBOSE" => 1,
        "DEBUG" => 5,
        "INFO" | "INFORMATION" | "NOTICE" => 9,
        "WARN" | "WARNING" => 13,
        "ERROR" | "ERR" | "SEVERE" => 17,
        "FATAL" | "CRITICAL" | "PANIC" | "EMERGENCY" | "ALERT" => 21,
        _ => 0,
    }
}

/// Reads the id of a trace; what has another form is none, and stands in the line itself.
fn bytes_of(trace: &str) -> Option<Vec<u8>> {
    let digits = trace.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::tests::line;

    #[test]
    fn lines_stand_under_who_wrote_them() {
        let other = Line { instance: "b".into(), host: Some("web1".into()), ..line("two", 2) };
        let failed = Line {
            level: Some("ERROR".into()),
            trace: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
            ..line("one", 1)
        };
        let given = [("service.name".to_owned(), "mine".to_owned()), ("cluster".to_owned(), "eu".to_owned())];
        let sent = ExportLogs::decode(&request(&[failed, line("same", 1), other], &given)[..]).unwrap();
        assert_eq!(sent.resource_logs.len(), 2);
        let keys = |at: usize| -> Vec<String> {
            let resource = sent.resource_logs[at].resource.as_ref().unwrap();
            resource.attributes.iter().map(|it| it.key.clone()).collect()
        };
        assert_eq!(keys(0).iter().filter(|key| *key == "service.name").count(), 1);
        assert!(keys(0).contains(&"cluster".to_owned()) && keys(1).contains(&"host.name".to_owned()));
        let record = &sent.resource_logs[0].scope_logs[0].records[0];
        assert_eq!((record.severity, record.trace.len(), record.time), (17, 16, 1_000_000));
    }
}
