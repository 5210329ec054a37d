//! The journal as JSON lines: a line per record with all its fields, and the check of such a stream.
//!
//! The event stands in the line as the JSON it is, byte for byte, because its bytes are what was hashed.

use std::io::{self, BufRead, Read as _, Write};
use std::ops::ControlFlow;

use lockstep_domain::{Actor, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::JournalError;
use super::chain::{Chain, Tampered};
use super::reader::{JournalReader, Verified};
use super::record::{Fields, Head, MAX_EVENT_BYTES, Record};

/// Longest line in bytes: the longest event and room for the other fields.
const MAX_LINE_BYTES: u64 = MAX_EVENT_BYTES as u64 + 4096;

/// Why an export failed.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The journal cannot be read, or a record in it is wrong.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The place that it is written to fails.
    #[error("cannot write the export after record {seq}")]
    Write {
        /// The last record that was written.
        seq: u64,
        /// The cause.
        source: io::Error,
    },
}

/// Why an exported stream is not a whole journal.
#[derive(Debug, Error)]
pub enum ExportProblem {
    /// The stream cannot be read.
    #[error("cannot read line {line}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// The cause.
        source: io::Error,
    },
    /// A line is not a record.
    #[error("line {line} is not a record: {why}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A record is not what was appended.
    #[error("line {line}")]
    Tampered {
        /// The line, from 1, at which it shows.
        line: u64,
        /// The record.
        source: Tampered,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    seq: u64,
    at: Timestamp,
    actor: Actor,
    #[serde(borrow)]
    event: &'a RawValue,
    previous: Digest,
    hash: Digest,
}

impl JournalReader {
    /// Writes every record as one line of JSON, checking the chain on the way; returns the last record written.
    ///
    /// # Errors
    /// When the journal cannot be read or is wrong, or the writer fails. What was written before is good.
    pub fn export(&self, mut writer: impl Write) -> Result<Head, ExportError> {
        let (mut seq, mut failure) = (0, None);
        let last = self.for_each_after(0, |record| match write_line(&mut writer, &record) {
            Ok(()) => {
                seq = record.seq;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        match failure.map_or_else(|| writer.flush(), Err) {
            Ok(()) => Ok(last),
            Err(source) => Err(ExportError::Write { seq, source }),
        }
    }
}

/// Checks an exported stream from its first record on.
///
/// That its end was cut off does not show; compare the result with a hash that was noted elsewhere.
///
/// # Errors
/// The first line that is not a record, or the first record that is not what was appended.
pub fn verify_export(mut reader: impl BufRead) -> Result<Verified, ExportProblem> {
    let mut chain = Chain::after(Head::EMPTY);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut bounded = (&mut reader).take(MAX_LINE_BYTES);
        if bounded.read_until(b'\n', &mut bytes).map_err(|source| ExportProblem::Read { line, source })? == 0
        {
            break;
        }
        if bytes.len() as u64 == MAX_LINE_BYTES {
            return Err(ExportProblem::Line {
                line,
                why: format!("it is longer than {MAX_LINE_BYTES} bytes"),
            });
        }
        let parsed = parse(&bytes).map_err(|error| ExportProblem::Line { line, why: error.to_string() })?;
        let Line { seq, at, actor, event, previous, hash } = parsed;
        let fields = Fields { seq, at, actor: actor.as_str(), event: event.get(), previous };
        chain.accept(&fields, hash).map_err(|source| ExportProblem::Tampered { line, source })?;
    }
    Ok(Verified::of(chain.head(), None))
}

fn parse(bytes: &[u8]) -> serde_json::Result<Line<'_>> {
    serde_json::from_slice(bytes)
}

fn write_line(writer: &mut impl Write, record: &Record) -> io::Result<()> {
    let Record { seq, at, actor, event, previous, hash } = record;
    let event = serde_json::from_str(event)?;
    let line = Line { seq: *seq, at: *at, actor: actor.clone(), event, previous: *previous, hash: *hash };
    serde_json::to_writer(&mut *writer, &line)?;
    writer.write_all(b"\n")
}
