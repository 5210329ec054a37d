//! Why a collector did not take spans, and what to do, in words for whoever reads the log.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use hyper::StatusCode;
use lockstep_reach::{ReachError, ServerAddress};
use thiserror::Error as ThisError;

/// Why a collector did not take spans.
#[derive(Debug, ThisError)]
pub(super) enum SendError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("it answered {0}: {1}")]
    Status(StatusCode, String, Option<Duration>),
    #[error("it answered {0} with {1}, which no collector does")]
    NoCollector(StatusCode, String),
}

impl SendError {
    /// Tells whether it may go better later, as OTLP has it.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Reach(error) => !error.is_lasting(),
            Self::Silent(_) => true,
            Self::Status(status, ..) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::NoCollector(..) => false,
        }
    }

    pub(super) fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Status(.., pause) => *pause,
            Self::Reach(_) | Self::Silent(_) | Self::NoCollector(..) => None,
        }
    }

    /// Says why, with what the system said.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Reach(ReachError::Unreachable { address, source }) => {
                format!("nobody takes a connection at {address}: {source}")
            }
            other => {
                let (mut said, mut source) = (other.to_string(), other.source());
                while let Some(error) = source {
                    let _ = write!(said, ": {error}");
                    source = error.source();
                }
                said
            }
        }
    }

    /// Says what to do; `path` is where spans are sent.
    pub(super) fn hint(&self, address: &ServerAddress, path: &str) -> String {
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
            Self::Status(status, ..) => of_status(*status, path),
            Self::NoCollector(..) => format!("another program listens there: {port}"),
        }
    }
}

fn of_status(status: StatusCode, path: &str) -> String {
    match status.as_u16() {
        401 | 403 => "give it its key: OTEL_EXPORTER_OTLP_HEADERS=NAME=VALUE".to_owned(),
        404 | 405 => format!(
            "spans are sent to {path}: --otlp-endpoint is the address without /v1/traces, which is added; where a collector takes them elsewhere, write the whole address in OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
        ),
        413 => "it takes no batch of that size: raise its limit of a request (in OpenTelemetry's collector max_request_body_size)".to_owned(),
        415 => "it takes no protobuf: spans are sent as application/x-protobuf".to_owned(),
        429 | 502 | 503 | 504 => "it has too much to do, or what is behind it: its log says more; --otlp-sample sends less".to_owned(),
        _ => "its log says more".to_owned(),
    }
}
