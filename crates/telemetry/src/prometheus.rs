//! A Prometheus that is asked: `GET /api/v1/query_range`, which Thanos, Mimir and VictoriaMetrics answer as well.
//!
//! What is asked for is the caller's. Bounds: all queries of one question have [`LIMIT`] together, a few are under way at a time, an answer is
//! read up to [`MAX_ANSWER`]. No redirect is followed, and what only the Prometheus should see is in no text that is made here.

mod answer;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, HeaderName, USER_AGENT};
use hyper::{Method, Response, StatusCode};
use lockstep_reach::{Reach, ReachError, ServerAddress};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::collector::{Fields, USER};
use crate::named::Named;
use crate::refusal::why_not_reached;
use crate::settings::{SettingsErrors, Signal, Variables, pairs};

pub use answer::Curve;

/// Points that a curve may have: Prometheus refuses more than 11,000.
pub const MAX_POINTS: usize = 10_000;

/// Where a range is asked for.
const PATH: &str = "/api/v1/query_range";
/// How long all queries of a question may take: a person waits for the answer, and has another one if this does not come.
const LIMIT: Duration = Duration::from_secs(5);
/// Queries that are under way at a time: Prometheus answers 20 at once by itself, and others ask it too.
const AT_ONCE: usize = 4;
/// Longest answer: 30 curves of 10,000 points have 9 MB.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Most of what a Prometheus says of an error that is repeated.
const MAX_SAID: usize = 200;
/// The variable with labels that all its series have which are of this server.
const LABELS: &str = "LOCKSTEP_PROMETHEUS_LABELS";

const NAMED: Named = Named {
    setting: "--prometheus",
    headers: "LOCKSTEP_PROMETHEUS_HEADERS",
    certificate: "LOCKSTEP_PROMETHEUS_CERTIFICATE",
    port: 9090,
    about_ports: "",
};

/// A Prometheus as it is reached.
#[derive(Debug, Clone)]
pub struct Prometheus {
    reach: Reach,
    fields: Fields,
    labels: Vec<(String, String)>,
}

/// The times that a curve is asked for: the first, and then each step up to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first time in milliseconds since 1970.
    pub from_ms: u64,
    /// The last one.
    pub until_ms: u64,
    /// What is between two of them.
    pub step_ms: u64,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// It was not reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// It refused, and maybe said why.
    #[error("it answered {0}{1}")]
    Status(StatusCode, String),
    /// What it says is more than is read.
    #[error("its answer is longer than {} MiB", MAX_ANSWER / 1024 / 1024)]
    TooLarge,
    /// What answered is none, or answered something else than was asked for.
    #[error("its answer is none of a Prometheus: {0}")]
    Nonsense(String),
    /// It says itself that not everything may be there.
    #[error("it warns of its own answer: {0}")]
    Warns(String),
}

impl AskError {
    /// Says why, with what the system said.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Reach(error) => why_not_reached(error),
            other => other.to_string(),
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Reach(ReachError::Certificate { .. } | ReachError::Trust { .. }) => {
                "name the authority that signed its certificate in LOCKSTEP_PROMETHEUS_CERTIFICATE (a file in PEM)"
            }
            Self::Reach(ReachError::Redirect { .. }) => "name the Prometheus itself in --prometheus",
            Self::Reach(_) => "is it running where --prometheus says?",
            Self::Silent(_) => "its own page says what its queries take",
            Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                "give it its key: LOCKSTEP_PROMETHEUS_HEADERS=Authorization=Bearer%20..."
            }
            Self::Status(StatusCode::NOT_FOUND, _) | Self::Nonsense(_) => {
                "--prometheus is the address before /api/v1/query_range"
            }
            Self::TooLarge => "ask for fewer points",
            Self::Status(..) | Self::Warns(_) => "its log says more",
        }
    }
}

impl Prometheus {
    /// Reads where it is; `get` returns a variable of the environment. Its fields (`Authorization`, `X-Scope-OrgID`) are those of
    /// `LOCKSTEP_PROMETHEUS_HEADERS`, its authority that of `LOCKSTEP_PROMETHEUS_CERTIFICATE`, and `LOCKSTEP_PROMETHEUS_LABELS` says which
    /// of its series are of this server.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(endpoint: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsErrors> {
        let mut variables = Variables::new(Signal::Metrics, get);
        let labels = labels(&mut variables);
        let place = NAMED.read(&mut variables, endpoint);
        let read = variables.finish(place)?;
        let (reach, fields) = read.ok_or_else(|| SettingsErrors(Vec::new()))?;
        Ok(Self { reach, fields, labels })
    }

    /// Returns its address.
    #[must_use]
    pub const fn address(&self) -> &ServerAddress {
        self.reach.address()
    }

    /// Returns the labels that all its series have which are of this server.
    #[must_use]
    pub fn labels(&self) -> &[(String, String)] {
        &self.labels
    }

    /// Asks for the curves of several queries over one range; they come in the order of the queries.
    ///
    /// # Errors
    /// When one of them is not answered, or not as a Prometheus does.
    pub async fn ask(&self, queries: Vec<String>, range: Range) -> Result<Vec<Vec<Curve>>, AskError> {
        timeout(LIMIT, self.ask_unbounded(queries, range)).await.map_err(|_| AskError::Silent(LIMIT))?
    }

    async fn ask_unbounded(&self, queries: Vec<String>, range: Range) -> Result<Vec<Vec<Curve>>, AskError> {
        let (mut answers, mut asked) = (vec![Vec::new(); queries.len()], JoinSet::new());
        let room = Arc::new(Semaphore::new(AT_ONCE));
        for (at, query) in queries.into_iter().enumerate() {
            let (it, room) = (self.clone(), Arc::clone(&room));
            asked.spawn(async move {
                let _room = room.acquire().await;
                (at, it.one(&query, range).await)
            });
        }
        while let Some(ended) = asked.join_next().await {
            let (at, answer) = ended.map_err(|_| AskError::Nonsense("reading it failed".to_owned()))?;
            answers[at] = answer?;
        }
        Ok(answers)
    }

    async fn one(&self, query: &str, range: Range) -> Result<Vec<Curve>, AskError> {
        let mut fields: Vec<(HeaderName, &str)> = vec![(ACCEPT, "application/json"), (USER_AGENT, USER)];
        fields.extend(self.fields.0.iter().map(|(name, value)| (name.clone(), value.as_str())));
        let answer = self.reach.ask(Method::GET, &path(query, range), &fields, Bytes::new()).await?;
        let status = answer.status();
        let body = self.body(answer).await?;
        if !status.is_success() {
            let said = answer::refusal(&body).map(|said| format!(": {}", self.without_keys(&said)));
            return Err(AskError::Status(status, said.unwrap_or_default()));
        }
        answer::read(&body, range).map_err(|error| match error {
            AskError::Warns(said) => AskError::Warns(self.without_keys(&said)),
            AskError::Nonsense(said) => AskError::Nonsense(self.without_keys(&said)),
            other => other,
        })
    }

    async fn body(&self, answer: Response<Incoming>) -> Result<Bytes, AskError> {
        let read = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        read.map(http_body_util::Collected::to_bytes).map_err(|error| match error
            .is::<http_body_util::LengthLimitError>(
        ) {
            true => AskError::TooLarge,
            false => AskError::Reach(self.reach.broke_off(error)),
        })
    }

    /// Takes out of a text what only the Prometheus should see: it may say again what it was sent.
    fn without_keys(&self, said: &str) -> String {
        let values = self.fields.0.iter().flat_map(|(_, value)| value.split_whitespace());
        let said = values.filter(|word| word.len() > 3).fold(said.to_owned(), |it, key| it.replace(key, "…"));
        said.chars().map(|it| if it.is_control() { ' ' } else { it }).take(MAX_SAID).collect()
    }
}

fn labels(variables: &mut Variables<'_>) -> Vec<(String, String)> {
    let Some(value) = variables.one(LABELS) else { return Vec::new() };
    let is_label = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let labels = pairs(&value).filter(|pairs| pairs.iter().all(|(name, _)| is_label(name)));
    if labels.is_none() {
        variables.refuse(LABELS, &value, "write LABEL=VALUE,LABEL=VALUE, values percent-encoded");
    }
    labels.unwrap_or_default()
}

fn path(query: &str, Range { from_ms, until_ms, step_ms }: Range) -> String {
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let (query, limit) = (encoded(query), LIMIT.as_secs());
    let (from, until, step) = (seconds(from_ms), seconds(until_ms), seconds(step_ms));
    format!("{PATH}?query={query}&start={from}&end={until}&step={step}&timeout={limit}s")
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut written, byte| {
        match plain(&byte) {
            true => written.push(char::from(byte)),
            false => _ = write!(written, "%{byte:02X}"),
        }
        written
    })
}

#[cfg(test)]
mod tests;
