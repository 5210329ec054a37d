//! A line of an instance's log, and what it says where it is JSON: what every logging library writes in its own way.

use serde_json::{Map, Value};

use crate::time::Timestamp;

/// Longest line that is looked into; a longer one is text.
const MAX_JSON: usize = 64 * 1024;
/// Names of the level: of pino, zap, logrus, slog, log4j, Serilog, Python's and the conventions of OpenTelemetry.
const LEVELS: [&str; 7] = ["level", "severity", "lvl", "levelname", "log.level", "severity_text", "@l"];
/// Names of the message.
const MESSAGES: [&str; 5] = ["message", "msg", "event", "body", "@m"];
/// Names of the trace.
const TRACES: [&str; 7] =
    ["trace_id", "traceId", "traceid", "trace.id", "TraceId", "dd.trace_id", "logging.googleapis.com/trace"];

/// A line as it was written down: when, by whom, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When, by the clock of the machine that the instance runs on.
    pub at: Timestamp,
    /// `out` and `err` for what the instance wrote, `lockstep` for what was said of it.
    pub source: &'a str,
    /// What was written.
    pub text: &'a str,
}

impl<'a> LogLine<'a> {
    /// Reads `2026-01-31T12:00:00.000Z out listening`; `None` where it is none.
    #[must_use]
    pub fn read(line: &'a str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (source, text) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self { at: Timestamp::read(at)?, source, text })
    }
}

/// What a line says that is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Understood {
    /// Its level in capitals, such as `ERROR`.
    pub level: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// The trace that it belongs to.
    pub trace: Option<String>,
}

/// Looks into a line: JSON with names that libraries use; `None` where it is none.
#[must_use]
pub fn understand(text: &str) -> Option<Understood> {
    let text = text.trim();
    if !text.starts_with('{') || text.len() > MAX_JSON {
        return None;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return None };
    let trace = find(&fields, &TRACES).and_then(word);
    Some(Understood {
        level: find(&fields, &LEVELS).and_then(level),
        message: find(&fields, &MESSAGES).and_then(word),
        trace: trace.map(|trace| trace.rsplit('/').next().unwrap_or_default().to_owned()),
    })
}

/// Finds a field by one of its names, also one within another: `log.level` is `{"log": {"level": ...}}` as well.
fn find<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| {
        fields.get(*name).or_else(|| {
            let (outer, inner) = name.split_once('.')?;
            fields.get(outer)?.get(inner)
        })
    })
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Writes a level in capitals; pino and bunyan number them.
fn level(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(
            match number.as_u64()? {
                0..20 => "TRACE",
                20..30 => "DEBUG",
                30..40 => "INFO",
                40..50 => "WARN",
                50..60 => "ERROR",
                _ => "FATAL",
            }
            .to_owned(),
        ),
        Value::String(text) if text.len() <= 16 => Some(text.to_ascii_uppercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> (Option<String>, Option<String>, Option<String>) {
        let Understood { level, message, trace } = understand(text).unwrap();
        (level, message, trace)
    }

    fn some(words: [&str; 3]) -> (Option<String>, Option<String>, Option<String>) {
        let [level, message, trace] = words.map(|word| (!word.is_empty()).then(|| word.to_owned()));
        (level, message, trace)
    }

    #[test]
    fn lines_of_libraries_are_understood() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let pino = format!(r#"{{"level":50,"time":1,"pid":7,"msg":"no order","trace_id":"{trace}"}}"#);
        assert_eq!(of(&pino), some(["ERROR", "no order", trace]));
        let slog = r#"{"time":"2026-01-31T12:00:00Z","level":"INFO","msg":"listening"}"#;
        assert_eq!(of(slog), some(["INFO", "listening", ""]));
        let ecs = format!(
            r#"{{"@timestamp":"x","log":{{"level":"warn"}},"message":"slow","trace":{{"id":"{trace}"}}}}"#
        );
        assert_eq!(of(&ecs), some(["WARN", "slow", trace]));
        let google = format!(
            r#"{{"severity":"ERROR","message":"m","logging.googleapis.com/trace":"projects/p/traces/{trace}"}}"#
        );
        assert_eq!(of(&google), some(["ERROR", "m", trace]));
        let python = r#"{"levelname": "CRITICAL", "message": "out of memory"}"#;
        assert_eq!(of(python), some(["CRITICAL", "out of memory", ""]));
        assert_eq!(of("{}"), some(["", "", ""]));
        for text in ["listening", "{not json", "[1]", "{\"a\": 1} and more"] {
            assert_eq!(understand(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written_down() {
        let line = LogLine::read("2026-01-31T12:00:00.250Z err no such order").unwrap();
        assert_eq!((line.at.0 % 60_000, line.source, line.text), (250, "err", "no such order"));
        assert_eq!(LogLine::read("2026-01-31T12:00:00.250Z out").unwrap().text, "");
        assert_eq!(LogLine::read("listening"), None);
        assert_eq!(LogLine::read(""), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_is_a_danger(text in any::<String>()) {
            let _ = (understand(&text), understand(&format!("{{{text}}}")), LogLine::read(&text));
        }
    }
}
