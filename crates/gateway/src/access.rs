//! The access log: one line of JSON for each request, written by a thread of its own.
//!
//! A worker never waits for a disk: when lines come faster than they can be written they are dropped, as those are that cannot be written,
//! and the log says how many as soon as it can. A file has a bound; when it is full it becomes the former one, and there is one former. A line names no secret: the
//! path without the caller's token, no query unless it is asked for, and no field of the request.

mod fields;
mod sink;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

pub use fields::{AccessFields, UnknownFields};
use sink::Sink;

use crate::grpc::GrpcStatus;
use crate::injection::Met;
use crate::policy::Hedged;
use crate::report::Report;
use crate::spans::Ratio;

/// Lines that wait to be written; at 300 bytes a line it is 2.4 MB.
const QUEUE: usize = 8_192;
/// From how long on a request has a line in any case, where nothing is said.
const SLOW: Duration = Duration::from_secs(1);
/// Longest path or query that is written.
const MAX_TEXT: usize = 2_048;

/// Where the access log goes, and how much it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// A file, or standard error.
    pub to: AccessLogTarget,
    /// Whether lines have the query, in which clients send what is nobody's business.
    pub queries: bool,
    /// The share of requests that have a line where nothing else gives them one.
    pub sample: Ratio,
    /// From how long on a request has a line in any case, as each has that failed.
    pub slow: Duration,
    /// What lines have; everything when left out.
    pub fields: Option<AccessFields>,
}

impl AccessLogConfig {
    /// Makes a log that has a line for each request, with everything but the query.
    #[must_use]
    pub const fn new(to: AccessLogTarget) -> Self {
        Self { to, queries: false, sample: Ratio::EVERY, slow: SLOW, fields: None }
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard error.
    StandardError,
    /// A file that is appended to; when it is full it is renamed to end in `.1`.
    File(PathBuf),
}

/// The access log of a gateway.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    queries: bool,
    sample: Ratio,
    slow: Duration,
    fields: Option<AccessFields>,
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    Line(String),
    /// Everything before this is to be written; then this is dropped.
    Written(SyncSender<()>),
}

/// What a request was, kept until it is over. Only made where there is a log.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) trace: String,
    pub(crate) baseline: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    environment: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "is_none")]
    baseline: u64,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    ms: f64,
    bytes: u64,
    tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retried: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hedged: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shielded: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mirrored: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    delayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    /// The lane that it was in.
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'a str>,
    /// Whether it got something else than that gives.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lane_not_served: bool,
    end: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
}

/// A connection to a service that speaks TCP, when it is over.
#[derive(Serialize)]
pub(crate) struct TcpLine<'a> {
    pub(crate) time: String,
    pub(crate) environment: &'a str,
    pub(crate) client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<&'a str>,
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    /// What the client asked for within TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<String>,
    pub(crate) ms: f64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<&'a str>,
    pub(crate) end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
}

/// For which share of requests a line stands; none is said where each such request has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(pub(crate) Option<f64>);

/// Who a line is about, beside the request itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parties<'a> {
    pub(crate) environment: &'a str,
    pub(crate) client: &'a str,
    /// The instance at whose listener it was asked.
    pub(crate) caller: Option<&'a str>,
    /// The version of TLS that the connection is within.
    pub(crate) tls: Option<&'a str>,
    pub(crate) instance: Option<&'a str>,
    /// The route that took it.
    pub(crate) route: Option<&'a str>,
    /// What chose the version.
    pub(crate) why: Option<&'static str>,
    /// What it is found by in logs.
    pub(crate) request_id: &'a str,
}

impl AccessLog {
    /// Opens the log and starts its thread, which ends with the log.
    pub(crate) fn open(config: &AccessLogConfig) -> io::Result<Arc<Self>> {
        let sink = Sink::open(&config.to)?;
        let (lines, received) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let write = move || write_all(&received, sink, &lost);
        thread::Builder::new().name("access-log".to_owned()).spawn(write)?;
        let AccessLogConfig { queries, sample, slow, ref fields, .. } = *config;
        Ok(Arc::new(Self { lines, dropped, queries, sample, slow, fields: fields.clone() }))
    }

    /// Tells whether lines have the query.
    pub(crate) fn has_queries(&self) -> bool {
        self.queries
    }

    /// Tells whether there is a line of what ended so, and for which share of such this one stands, where that is not each of them.
    pub(crate) fn keeps(&self, failed: bool, took: Duration, random: u64) -> Option<Rate> {
        if failed || took >= self.slow || self.sample == Ratio::EVERY {
            return Some(Rate(None));
        }
        self.sample.takes(random).then(|| Rate(Some(self.sample.share())))
    }

    /// Sends a line on its way, or drops it; `random` decides whether there is one, where only some have one.
    pub(crate) fn note(
        &self,
        parties: Parties<'_>,
        asked: &Asked,
        report: &Report,
        took: Duration,
        random: u64,
    ) {
        let Some(Rate(rate)) = self.keeps(report.is_failed(), took, random) else { return };
        let version = report.arm.as_ref().and_then(|counts| counts.arm.as_ref());
        let line = Line {
            time: now(),
            environment: parties.environment,
            request_id: parties.request_id,
            client: parties.client,
            caller: parties.caller,
            tls: parties.tls,
            method: &asked.method,
            host: &asked.host,
            path: cut(&asked.path),
            query: cut(&asked.query),
            route: parties.route.map(cut),
            baseline: asked.baseline,
            status: report.status,
            grpc_status: report.grpc.map(GrpcStatus::code),
            code: report.code,
            version: version.map(|arm| arm.version_ref().to_string()),
            why: parties.why,
            instance: parties.instance,
            ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            bytes: report.bytes,
            tries: report.tries,
            retried: report.retried.map(|cause| cause.to_string()),
            hedged: report.hedged.map(Hedged::word),
            shielded: report.shielded,
            degraded: report.degraded,
            mirrored: report.mirrored,
            delayed: report.delayed,
            delay_ms: report.fault.and_then(Met::delay).map(|delay| delay.as_millis() as u64),
            fault: report.fault.map(|met| met.number),
            priority: Some(report.priority.word()).filter(|_| !report.priority.is_usual()),
            lane: report.lane.as_ref().map(|lane| lane.name()),
            lane_not_served: report.lane.as_ref().is_some_and(|lane| lane.is_missed(version)),
            end: report.end.word(),
            trace: &asked.trace,
            rate,
        };
        self.send(&line);
    }

    /// Sends the line of a connection on its way, or drops it.
    pub(crate) fn note_connection(&self, line: &TcpLine<'_>) {
        self.send(line);
    }

    fn send(&self, line: &impl Serialize) {
        let text = match &self.fields {
            None => serde_json::to_string(line).ok(),
            Some(fields) => fields.text(line),
        };
        let sent = text.and_then(|text| self.lines.try_send(Message::Line(text)).ok());
        if sent.is_none() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was sent is written, but no longer than `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let (written, wait) = sync_channel(1);
        if self.lines.try_send(Message::Written(written)).is_ok() {
            // It ends with the sender, or with the limit.
            let _ = wait.recv_timeout(limit);
        }
    }
}

/// Tells whether a number is that of no baseline.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_none(baseline: &u64) -> bool {
    *baseline == 0
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// Writes what comes. Lines that are lost are counted until a line could say so.
fn write_all(received: &Receiver<Message>, mut sink: Sink, dropped: &AtomicU64) {
    let (mut lost, mut failing) = (0, false);
    while let Ok(first) = received.recv() {
        let (lines, waiting) = batch(first, received);
        lost += dropped.swap(0, Ordering::Relaxed);
        let text = told(lost) + &lines;
        let written = sink.write(&text);
        let whole = written.whole(&text);
        let missing = count(&text) - whole;
        // The first line is the one that says how many were lost; it is no loss itself.
        lost = if lost > 0 && whole == 0 { lost + missing - 1 } else { missing };
        match (&written.error, failing) {
            (Some(error), false) => tracing::error!(%error, lost, "the access log cannot be written"),
            (None, true) => tracing::info!("the access log is written again"),
            _ => {}
        }
        failing = written.error.is_some();
        drop(waiting);
    }
}

/// Says how many lines were lost, if any were.
fn told(lost: u64) -> String {
    if lost > 0 { format!("{{\"time\":\"{}\",\"dropped\":{lost}}}\n", now()) } else { String::new() }
}

fn count(lines: &str) -> u64 {
    lines.bytes().filter(|byte| *byte == b'\n').count() as u64
}

/// Takes what waits to be written, and who waits for that.
fn batch(first: Message, received: &Receiver<Message>) -> (String, Vec<SyncSender<()>>) {
    let (mut lines, mut waiting) = (String::new(), Vec::new());
    for message in std::iter::once(first).chain(received.try_iter().take(QUEUE)) {
        match message {
            Message::Line(line) => {
                lines.push_str(&line);
                lines.push('\n');
            }
            Message::Written(written) => waiting.push(written),
        }
    }
    (lines, waiting)
}

/// Writes the time of this moment as RFC 3339 in UTC, with milliseconds.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log(sample: &str, fields: Option<&str>) -> (Arc<AccessLog>, PathBuf, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let config = AccessLogConfig {
            sample: sample.parse().unwrap(),
            fields: fields.map(|fields| fields.parse().unwrap()),
            ..AccessLogConfig::new(AccessLogTarget::File(path.clone()))
        };
        (AccessLog::open(&config).unwrap(), path, folder)
    }

    const NOBODY: Parties<'_> = Parties {
        environment: "production",
        client: "192.0.2.1",
        caller: Some("orders-1"),
        tls: Some("1.3"),
        instance: Some("shop-1"),
        route: Some("shop.test/"),
        why: Some("key"),
        request_id: "7",
    };

    #[test]
    fn what_failed_or_was_slow_has_a_line_whatever_is_drawn_and_the_others_say_for_how_many_they_stand() {
        let (log, path, _folder) = log("0.25", None);
        let report = |status| Report { status, ..Report::begin() };
        let (quick, asked) = (Duration::from_millis(1), Asked::default());
        for random in 0..u64::from(u16::MAX) {
            log.note(NOBODY, &asked, &report(200), quick, random << 40);
            if random % 4_096 == 0 {
                log.note(NOBODY, &asked, &report(503), quick, 0);
                log.note(NOBODY, &asked, &report(200), SLOW, 0);
                log.flush(Duration::from_secs(20));
            }
        }
        log.flush(Duration::from_secs(20));
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let drawn = lines.iter().filter(|line| line["rate"] == 0.25).count();
        let others: Vec<_> = lines.iter().filter(|line| line.get("rate").is_none()).collect();
        assert_eq!(drawn, usize::from(u16::MAX) / 4, "{}", lines.len());
        assert_eq!(others.len(), 32);
        assert!(others.iter().all(|line| line["status"] == 503 || line["ms"] == 1_000.0));
    }

    #[test]
    fn lines_have_the_fields_that_were_chosen_in_their_order() {
        let (log, path, _folder) = log("1", Some("status,why, client,code"));
        log.note(NOBODY, &Asked::default(), &Report { status: 200, ..Report::begin() }, SLOW, 0);
        log.flush(Duration::from_secs(20));
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text, "{\"status\":200,\"why\":\"key\",\"client\":\"192.0.2.1\"}\n");
    }

    #[test]
    fn every_field_of_a_line_can_be_chosen() {
        let source = include_str!("access.rs");
        for name in ["struct Line<'a> {", "struct TcpLine<'a> {"] {
            let body = source.split(name).nth(1).unwrap().split("\n}").next().unwrap();
            let lines = body.lines().map(|line| line.trim().trim_start_matches("pub(crate) "));
            let fields = lines.filter(|line| !line.starts_with(['#', '/']) && line.contains(": "));
            let fields: Vec<_> = fields.map(|line| line.split(':').next().unwrap()).collect();
            assert!(fields.len() > 15, "{fields:?}");
            for field in fields {
                assert!(fields::ALL.contains(&field), "{field}");
            }
        }
    }
}
