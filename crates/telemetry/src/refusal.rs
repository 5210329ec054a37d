//! Why a collector did not take what it was sent, and what to do, in words for whoever reads the log.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::time::Duration;

use hyper::StatusCode;
use lockstep_reach::ReachError;
use thiserror::Error as ThisError;

use crate::collector::Collector;

/// A collector that wants to be asked again at once gets so much peace all the same.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);

/// Why a collector did not take what it was sent.
#[derive(Debug, ThisError)]
pub enum SendError {
    /// It was not reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// It said nothing in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// It refused it, and said why, and maybe for how long to wait.
    #[error("it answered {0}: {1}")]
    Status(StatusCode, String, Option<Duration>),
    /// What answered is none.
    #[error("it answered {0} with {1}, which no collector does")]
    NoCollector(StatusCode, String),
}

impl SendError {
    /// Tells whether it may go better later, as OTLP has it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Reach(error) => !error.is_lasting(),
            Self::Silent(_) => true,
            Self::Status(status, ..) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::NoCollector(..) => false,
        }
    }

    /// Returns for how long to wait before it is tried again: as long as the collector wants, or else between half and all of `growing`, so that
    /// not all that were refused come back at once; never longer than `longest`.
    #[must_use]
    pub fn pause(&self, growing: Duration, longest: Duration) -> Duration {
        match self.asked_pause() {
            Some(asked) => asked.max(SHORTEST_ASKED).min(longest),
            None => jittered(growing.min(longest)),
        }
    }

    fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Status(.., pause) => *pause,
            Self::Reach(_) | Self::Silent(_) | Self::NoCollector(..) => None,
        }
    }

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
    pub fn hint(&self, collector: &Collector) -> String {
        let (address, path) = (collector.reach.address(), collector.path.as_str());
        let port =
            "OTLP over HTTP usually has port 4318; 4317 is that of OTLP over gRPC, which is not spoken here";
        let option = "--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT";
        match self {
            Self::Reach(ReachError::Unreachable { .. }) | Self::Silent(_) => {
                format!("is a collector running there? {port}")
            }
            Self::Reach(ReachError::NoTls { address, .. } | ReachError::WantsTls { address }) => {
                format!("write {} in {option}", address.with_other_scheme())
            }
            Self::Reach(
                ReachError::NoHttp { .. } | ReachError::NoAnswer { .. } | ReachError::BrokeOff { .. },
            ) => {
                format!("is it the port of OTLP over HTTP? {port}")
            }
            Self::Reach(ReachError::Certificate { .. } | ReachError::Trust { .. }) => {
                "name the authority that signed it in OTEL_EXPORTER_OTLP_CERTIFICATE (a file in PEM)"
                    .to_owned()
            }
            Self::Reach(ReachError::Redirect { .. }) => format!("name the collector itself in {option}"),
            Self::Reach(_) => format!("look at the log of what listens at {address}"),
            Self::Status(status, ..) => of_status(*status, collector.what, path),
            Self::NoCollector(..) => format!("another program listens there: {port}"),
        }
    }
}

/// Says why somebody who is no server of ours was not reached, with what the system said.
pub(crate) fn why_not_reached(error: &ReachError) -> String {
    if let ReachError::Unreachable { address, source } = error {
        return format!("nobody takes a connection at {address}: {source}");
    }
    let (mut said, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        let _ = write!(said, ": {error}");
        source = error.source();
    }
    said
}

fn jittered(pause: Duration) -> Duration {
    let drawn = (RandomState::new().hash_one(0) >> 32) as u32;
    pause / 2 + (pause / 2).mul_f64(f64::from(drawn) / f64::from(u32::MAX))
}

fn of_status(status: StatusCode, what: &str, path: &str) -> String {
    match status.as_u16() {
        401 | 403 => "give it its key: OTEL_EXPORTER_OTLP_HEADERS=NAME=VALUE".to_owned(),
        404 | 405 => format!(
            "{what} are sent to {path}: --otlp-endpoint is the address without that, which is added; where a collector takes them elsewhere, write the whole address in OTEL_EXPORTER_OTLP_{}_ENDPOINT", if what == "spans" { "TRACES".to_owned() } else { what.to_uppercase() }
        ),
        413 => "it takes no batch of that size: raise its limit of a request (in OpenTelemetry's collector max_request_body_size)".to_owned(),
        415 => "it takes no protobuf: all is sent as application/x-protobuf".to_owned(),
        429 | 502 | 503 | 504 => "it has too much to do, or what is behind it: its log says more".to_owned(),
        _ => "its log says more".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_as_long_as_the_collector_wants_or_differ_from_sender_to_sender_within_a_bound() {
        let (growing, longest) = (Duration::from_secs(20), Duration::from_secs(30));
        let asks = |seconds: u64| {
            let pause = Some(Duration::from_secs(seconds));
            SendError::Status(StatusCode::TOO_MANY_REQUESTS, String::new(), pause).pause(growing, longest)
        };
        assert_eq!([0, 7, 3_600].map(|seconds| asks(seconds).as_secs()), [1, 7, 30]);
        let own: Vec<Duration> =
            (0..50).map(|_| SendError::Silent(growing).pause(growing, longest)).collect();
        assert!(own.iter().all(|it| (growing / 2..=growing).contains(it)), "{own:?}");
        assert!(own.iter().any(|it| *it != own[0]), "they differ");
        assert!(SendError::Silent(growing).pause(2 * longest, longest) <= longest);
    }
}
