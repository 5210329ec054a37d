//! A few answers of a trial, for the server to compare with the contract. See `docs/design/judge.md`.
//!
//! Invariant: whether an answer is taken does not depend on the arm that gave it, but for what a body must be to be read at
//! all. Nothing is taken outside a trial that asks for it, and what is not fetched soon is not kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lockstep_domain::Arm;

use crate::chunked::ChunkDecoder;
use crate::framing::Recode;

/// Answers that are taken in a second, of all operations and of one: enough for a verdict within seconds, and little to send.
const MAX_A_SECOND: (u32, u32) = (20, 5);
/// Longest body that is taken.
const MAX_BODY: usize = 64 * 1_024;
/// What a body may take in chunks: each has a line of its own.
const MAX_FRAMED: usize = MAX_BODY + 8 * 1_024;
/// What is kept until it is fetched: some seconds' worth, and no more than a report may hold.
const MAX_KEPT_BYTES: usize = 512 * 1_024;
/// Longest media type that is told.
const MAX_MEDIA_TYPE: usize = 100;

/// An answer that was taken.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) arm: Arm,
    pub(crate) weight: u32,
    /// The index of its operation.
    pub(crate) class: usize,
    pub(crate) key: Option<u64>,
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) body: String,
}

/// Answers that were taken, and whether more are wanted.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    second: Option<Instant>,
    taken: u32,
    of_class: BTreeMap<usize, u32>,
    kept: Vec<Sample>,
    kept_bytes: usize,
}

impl Samples {
    /// Takes a place for an answer of an operation; false where there were enough in this second, or too many are kept.
    pub(crate) fn wants(&self, class: usize, now: Instant) -> bool {
        // Nobody waits for this: an answer more or less makes no difference.
        let mut state = match self.0.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let is_over = |second| now.saturating_duration_since(second) >= Duration::from_secs(1);
        if state.second.is_none_or(is_over) {
            (state.second, state.taken) = (Some(now), 0);
            state.of_class.clear();
        }
        let (most, most_of_class) = MAX_A_SECOND;
        let of_class = state.of_class.get(&class).copied().unwrap_or_default();
        if state.taken >= most || of_class >= most_of_class || state.kept_bytes >= MAX_KEPT_BYTES {
            return false;
        }
        state.taken += 1;
        state.of_class.insert(class, of_class + 1);
        true
    }

    /// Keeps an answer.
    pub(crate) fn keep(&self, sample: Sample) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Also one without a body takes room in a report.
        state.kept_bytes += sample.body.len() + MAX_MEDIA_TYPE;
        state.kept.push(sample);
    }

    /// Hands out what was kept, and keeps it no longer.
    pub(crate) fn fetch(&self) -> Vec<Sample> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept_bytes = 0;
        std::mem::take(&mut state.kept)
    }
}

/// What is copied of a body while it passes.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    pub(crate) media_type: String,
    /// Whether the body is needed: of what is not JSON it is enough to know that.
    is_json: bool,
    recode: Recode,
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Tap {
    /// Begins with the status line and the fields of an answer, as they are written for the client; `None` for a coded body.
    pub(crate) fn of(head: &[u8], recode: Recode) -> Option<Self> {
        let mut media_type = String::new();
        for line in head.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity") {
                return None;
            }
            if name.eq_ignore_ascii_case(b"content-type") {
                media_type = essence(value);
            }
        }
        let is_json = media_type == "application/json" || media_type.ends_with("+json");
        Some(Self { media_type, is_json, recode, bytes: Vec::new(), is_too_long: false })
    }

    /// Tells whether it says that it is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Copies what passes.
    pub(crate) fn copy(&mut self, piece: &[u8]) {
        if !self.is_json || self.is_too_long {
            return;
        }
        self.is_too_long = self.bytes.len() + piece.len() > MAX_FRAMED;
        if self.is_too_long {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Returns the body; `None` for one that is too long. What is no text is no JSON either, and is empty.
    pub(crate) fn body(self) -> Option<String> {
        let body = match self.recode {
            Recode::Plain => self.bytes,
            Recode::Chunks => decoded(&self.bytes)?,
            Recode::Web { .. } => return None,
        };
        let fits = !self.is_too_long && body.len() <= MAX_BODY;
        fits.then(|| String::from_utf8(body).unwrap_or_default())
    }
}

fn decoded(framed: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut decoder = ChunkDecoder::default();
    decoder.decode(&mut BytesMut::from(framed), &mut body, Recode::Plain).ok()?;
    Some(body)
}

fn essence(value: &[u8]) -> String {
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let text = String::from_utf8_lossy(essence).to_ascii_lowercase();
    text.chars().filter(char::is_ascii_graphic).take(MAX_MEDIA_TYPE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nx: y\r\n";

    #[test]
    fn a_few_are_taken_in_a_second_and_none_while_too_much_is_kept() {
        let (samples, begin) = (Samples::default(), Instant::now());
        let wanted = |class, at| (0..100).filter(|_| samples.wants(class, at)).count();
        assert_eq!((wanted(0, begin), wanted(1, begin), wanted(2, begin)), (5, 5, 5));
        assert_eq!((wanted(3, begin), wanted(4, begin)), (5, 0));
        let later = begin + Duration::from_secs(1);
        assert_eq!(wanted(4, later), 5);
        let arm = Arm {
            service: "orders".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            config: lockstep_domain::ConfigRevision(0),
            process: None,
        };
        let body = "x".repeat(MAX_KEPT_BYTES);
        let (media_type, key) = (String::new(), None);
        samples.keep(Sample { arm, weight: 1, class: 0, key, status: 200, media_type, body });
        assert_eq!(wanted(5, later), 0);
        assert_eq!((samples.fetch().len(), samples.fetch().len()), (1, 0));
        assert_eq!(wanted(5, later), 5);
    }

    #[test]
    fn a_body_is_copied_as_it_was_before_it_was_framed() {
        let copied = |head: &[u8], recode, pieces: &[&[u8]]| {
            let mut tap = Tap::of(head, recode)?;
            pieces.iter().for_each(|piece| tap.copy(piece));
            Some((tap.media_type.clone(), tap.body()?))
        };
        let json = |body: &str| Some(("application/json".to_owned(), body.to_owned()));
        assert_eq!(copied(HEAD, Recode::Plain, &[b"{\"a\"", b":1}"]), json("{\"a\":1}"));
        let chunks: &[&[u8]] = &[b"4\r\n{\"a\"\r\n", b"3\r\n:1}\r\n0\r\n\r\n"];
        assert_eq!(copied(HEAD, Recode::Chunks, chunks), json("{\"a\":1}"));
        assert_eq!(copied(HEAD, Recode::Plain, &[b"\xff\xfe"]), json(""));
        assert_eq!(copied(HEAD, Recode::Plain, &[&[b'x'; MAX_BODY + 1]]), None);
        assert_eq!(copied(HEAD, Recode::Plain, &[&[b'x'; MAX_FRAMED], b"x"]), None);
        let html = copied(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n", Recode::Plain, &[b"<p>"]);
        assert_eq!(html, Some(("text/html".to_owned(), String::new())));
        let coded = [HEAD, b"content-encoding: gzip\r\n"].concat();
        assert_eq!(copied(&coded, Recode::Plain, &[b"x"]), None);
    }
}
