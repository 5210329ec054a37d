//! The access log: one line of JSON for each request, written by a thread of its own.
//!
//! A worker never waits for a disk: when lines come faster than they can be written they are dropped, and the log says how
//! many. A file has a bound; when it is full it becomes the former one, and there is one former. A line names no secret: the
//! path without the caller's token, no query unless it is asked for, and no field of the request.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::grpc::GrpcStatus;
use crate::injection::Met;
use crate::policy::Hedged;
use crate::report::Report;

/// Lines that wait to be written; at 300 bytes a line it is 2.4 MB.
const QUEUE: usize = 8_192;
/// Longest file; with its former one it is twice that.
const MAX_FILE: u64 = 64 * 1_024 * 1_024;
/// Longest path or query that is written.
const MAX_TEXT: usize = 2_048;

/// Where the access log goes, and how much it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// A file, or standard error.
    pub to: AccessLogTarget,
    /// Whether lines have the query, in which clients send what is nobody's business.
    pub queries: bool,
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
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    environment: &'a str,
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
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
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
}

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
        Ok(Arc::new(Self { lines, dropped, queries: config.queries }))
    }

    /// Tells whether lines have the query.
    pub(crate) fn has_queries(&self) -> bool {
        self.queries
    }

    /// Sends a line on its way, or drops it.
    pub(crate) fn note(&self, parties: Parties<'_>, asked: &Asked, report: &Report, took: Duration) {
        let version = report.arm.as_ref().and_then(|counts| counts.arm.as_ref());
        let line = Line {
            time: now(),
            environment: parties.environment,
            client: parties.client,
            caller: parties.caller,
            tls: parties.tls,
            method: &asked.method,
            host: &asked.host,
            path: cut(&asked.path),
            query: cut(&asked.query),
            status: report.status,
            grpc_status: report.grpc.map(GrpcStatus::code),
            code: report.code,
            version: version.map(|arm| arm.version_ref().to_string()),
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
        };
        self.send(&line);
    }

    /// Sends the line of a connection on its way, or drops it.
    pub(crate) fn note_connection(&self, line: &TcpLine<'_>) {
        self.send(line);
    }

    fn send(&self, line: &impl Serialize) {
        let sent =
            serde_json::to_string(line).ok().and_then(|text| self.lines.try_send(Message::Line(text)).ok());
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

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn write_all(received: &Receiver<Message>, mut sink: Sink, dropped: &AtomicU64) {
    let mut failing = false;
    while let Ok(first) = received.recv() {
        let (mut lost, mut waiting) = (0, Vec::new());
        for message in std::iter::once(first).chain(received.try_iter().take(QUEUE)) {
            match message {
                Message::Line(line) => lost += u64::from(sink.line(&line).is_err()),
                Message::Written(written) => waiting.push(written),
            }
        }
        lost += dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            // A disk that is full loses this line too; the error below is said all the same.
            let _ = sink.line(&format!("{{\"time\":\"{}\",\"dropped\":{lost}}}", now()));
        }
        let flushed = sink.flush();
        if let (Err(error), false) = (&flushed, failing) {
            tracing::error!(%error, "the access log cannot be written");
        }
        failing = flushed.is_err();
        drop(waiting);
    }
}

/// Where lines go.
enum Sink {
    StandardError,
    File { path: PathBuf, file: BufWriter<File>, length: u64 },
}

impl Sink {
    fn open(target: &AccessLogTarget) -> io::Result<Self> {
        match target {
            AccessLogTarget::StandardError => Ok(Self::StandardError),
            AccessLogTarget::File(path) => Self::file(path.clone()),
        }
    }

    fn file(path: PathBuf) -> io::Result<Self> {
        // Opening a pipe would wait for somebody who reads it.
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self::File { path, file: BufWriter::new(file), length })
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::StandardError => writeln!(io::stderr().lock(), "{line}"),
            Self::File { path, file, length } => {
                if *length >= MAX_FILE {
                    file.flush()?;
                    let path = path.clone();
                    fs::rename(&path, former(&path))?;
                    *self = Self::file(path)?;
                    return self.line(line);
                }
                *length += line.len() as u64 + 1;
                writeln!(file, "{line}")
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::StandardError => Ok(()),
            Self::File { file, .. } => file.flush(),
        }
    }
}

fn former(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Writes the time of this moment as RFC 3339 in UTC, with milliseconds.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
