//! A collector as it is reached, and how one batch is brought to it.
//!
//! Bounds: an answer is read up to [`MAX_ANSWER`] within the time that a batch may take. No redirect is followed, and what only the collector
//! should see is in no text that is made here.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use hyper::{Method, StatusCode};
use lockstep_reach::{Reach, ServerAddress};
use tokio::time::timeout;

use crate::otlp::{ExportResponse, PartialSuccess};
use crate::refusal::SendError;

/// Longest answer that is read: it says how much was not taken, and why.
const MAX_ANSWER: usize = 64 * 1_024;
/// Who we are.
pub(crate) const USER: &str = concat!("lockstep/", env!("CARGO_PKG_VERSION"));
/// The media type of OTLP.
const PROTOBUF: &str = "application/x-protobuf";

/// Where something is sent.
#[derive(Debug, Clone)]
pub struct Collector {
    pub(crate) reach: Reach,
    pub(crate) path: String,
    pub(crate) fields: Fields,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// What is sent there, for people.
    pub(crate) what: &'static str,
}

/// Fields that a collector is sent, among them keys.
#[derive(Clone, Default)]
pub(crate) struct Fields(pub(crate) Vec<(HeaderName, String)>);

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never their values.
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a collector answered to what it took.
#[derive(Debug)]
struct Taken {
    status: StatusCode,
    /// The media type of its answer, or words for there being none.
    kind: String,
    said: Bytes,
}

impl Collector {
    /// Returns its address.
    #[must_use]
    pub const fn address(&self) -> &ServerAddress {
        self.reach.address()
    }

    /// Returns the path that is asked for.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tells whether what is sent is packed.
    #[must_use]
    pub const fn packs(&self) -> bool {
        self.gzip
    }

    /// Returns how long a batch may take.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.timeout
    }

    /// Returns the fields that it is sent, with their values: not to be shown.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Makes a body of bytes, packed where that is wanted.
    #[must_use]
    pub fn body(&self, bytes: Vec<u8>) -> Bytes {
        if self.gzip { packed(&bytes).into() } else { bytes.into() }
    }

    /// Sends a body to whom nothing is to be heard of but that it is taken.
    pub(crate) async fn push(&self, kind: &str, body: Bytes) -> Result<(), SendError> {
        self.send(kind, body).await.map(|_| ())
    }

    async fn send(&self, kind: &str, body: Bytes) -> Result<Taken, SendError> {
        let limit = self.timeout;
        timeout(limit, self.send_unbounded(kind, body)).await.map_err(|_| SendError::Silent(limit))?
    }

    /// Sends a message of OTLP, once; returns what was not taken of it.
    ///
    /// # Errors
    /// When it was not taken, or what answered is no collector.
    pub async fn export(&self, body: Bytes) -> Result<PartialSuccess, SendError> {
        let taken = self.send(PROTOBUF, body).await?;
        let answer = ExportResponse::read(&taken.said);
        let answer = answer.ok_or(SendError::NoCollector(taken.status, taken.kind))?;
        Ok(answer.partial_success.unwrap_or_default())
    }

    async fn send_unbounded(&self, kind: &str, body: Bytes) -> Result<Taken, SendError> {
        let mut all: Vec<(HeaderName, &str)> = vec![(CONTENT_TYPE, kind), (USER_AGENT, USER)];
        all.extend(self.gzip.then_some((CONTENT_ENCODING, "gzip")));
        all.extend(self.fields.0.iter().map(|(name, value)| (name.clone(), value.as_str())));
        let answer = self.reach.ask(Method::POST, &self.path, &all, body).await?;
        let status = answer.status();
        let pause = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or("what is no message of OTLP").chars().take(80).collect();
        // What is longer says nothing more, and is no reason to send it again.
        let said = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(Taken { status, kind, said });
        }
        let text = String::from_utf8_lossy(&said).chars().filter(|it| !it.is_control()).take(200).collect();
        Err(SendError::Status(status, text, pause.map(Duration::from_secs)))
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // A vector takes all that is written to it.
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}
