//! Lines of many instances as one log, versions side by side.

use std::io::{BufRead, BufReader, Read};

use lockstep_api::types::{LogEntry, LogQuery};
use lockstep_domain::EnvironmentName;

use super::MAX_LINE_BYTES;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::cut_off;
use crate::output::style::{Style, one_line, printable};

/// Writes lines until there are no more. None at all is said.
pub(super) fn run(ctx: &Context, environment: &EnvironmentName, query: &LogQuery) -> Result<(), Failure> {
    let mut log = BufReader::new(ctx.client.logs(environment, query)?);
    let mut line = Vec::new();
    let mut has_any = false;
    while (&mut log).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| cut_off(&error))? > 0 {
        let entry: LogEntry = serde_json::from_slice(&line).map_err(|error| {
            Failure::new(Exit::Internal, "the server wrote a line that is no line of a log").caused_by(&error)
        })?;
        ctx.out.show_in_stream(&entry, text)?;
        has_any = true;
        line.clear();
    }
    if !has_any {
        ctx.out.message("no line of the logs that are kept is like that");
    }
    Ok(())
}

/// Writes an entry in one line: when, what wrote it, and what; of JSON the level and the message, where it has one.
fn text(entry: &LogEntry, style: &Style) -> String {
    let host = entry.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let job = entry.job.as_ref().map(|job| format!(" job {job}")).unwrap_or_default();
    let who = style.strong(&format!("{}@{}{job} {}{host}", entry.service, entry.version, short(entry)));
    let level = entry.level.as_deref().map(|level| format!("{} ", paint(level, style))).unwrap_or_default();
    // What JSON says may hold an end of a line, and what stands behind that would look like a line of another service.
    let what = one_line(entry.message.as_deref().unwrap_or(&entry.text));
    let trace = match (&entry.message, &entry.trace) {
        (Some(_), Some(trace)) => format!(" trace={}", one_line(trace)),
        _ => String::new(),
    };
    format!("{} {who} {} {level}{what}{trace}\n", entry.at, entry.source)
}

/// What tells an instance from others of its version: the end of its name.
fn short(entry: &LogEntry) -> &str {
    entry.instance.as_str().rsplit('-').next().unwrap_or_default()
}

fn paint(level: &str, style: &Style) -> String {
    match level {
        "ERROR" | "FATAL" | "CRITICAL" | "PANIC" => style.bad(&printable(level)),
        "WARN" | "WARNING" => style.warn(&printable(level)),
        _ => printable(level).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::Timestamp;

    use super::*;

    fn entry(text: &str) -> LogEntry {
        let said = lockstep_domain::log_line::understand(text).unwrap_or_default();
        LogEntry {
            at: Timestamp(0),
            service: "orders".parse().unwrap(),
            version: "1.4.0".parse().unwrap(),
            instance: "orders-1.4.0-9f3a".parse().unwrap(),
            job: None,
            host: Some("web1".parse().unwrap()),
            source: "out".to_owned(),
            text: text.to_owned(),
            level: said.level,
            message: said.message,
            trace: said.trace,
        }
    }

    #[test]
    fn a_line_says_which_version_wrote_it() {
        assert_eq!(
            text(&entry("listening\u{7}"), &Style::plain()),
            "1970-01-01T00:00:00.000Z orders@1.4.0 9f3a on web1 out listening\\u{7}\n"
        );
        let forged = r#"{"msg":"a\n2026-12-01T05:39:00.000Z payments@9.9.9"}"#;
        assert_eq!(
            text(&entry(forged), &Style::plain()).lines().count(),
            1,
            "it cannot make a line of another"
        );
        let json = r#"{"level":"error","msg":"no such order","trace_id":"4bf9"}"#;
        assert_eq!(
            text(&entry(json), &Style::plain()),
            "1970-01-01T00:00:00.000Z orders@1.4.0 9f3a on web1 out ERROR no such order trace=4bf9\n"
        );
    }
}
