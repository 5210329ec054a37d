//! The two requests a gateway makes to a server: for the next table, and with a receipt.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use lockstep_domain::edition::Edition;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use lockstep_domain::{Digest, EnvironmentName};
use lockstep_reach::{Reach, ReachError};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::parse::{TableError, parse_table};
use crate::visit::VisitKey;

/// Longest answer that is read from a server: a table as large as one that can be stored.
const MAX_ANSWER: usize = 64 * 1_024 * 1_024;
/// How long a server may take, beyond the time it was asked to wait.
const LIMIT: Duration = Duration::from_secs(10);

/// A certificate with its key.
#[derive(Deserialize)]
struct Bundle {
    bundle: String,
}

/// Why a server gave no table or took no receipt.
#[derive(Debug, Error)]
pub enum ServerError {
    /// It was not reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The receipt cannot be written down.
    #[error("a receipt cannot be written down")]
    Receipt(#[source] serde_json::Error),
    /// It took too long.
    #[error("{server} did not answer in time")]
    Silent {
        /// Its address.
        server: String,
    },
    /// The server refused.
    #[error("{server} answered {status} to {method} {path}: {text}")]
    Status {
        /// Its address.
        server: String,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer.
        text: String,
    },
    /// The answer is not a table.
    #[error("{server} answered what is no route table for this gateway")]
    Table {
        /// Its address.
        server: String,
        /// Where and why.
        #[source]
        source: TableError,
    },
}

impl ServerError {
    /// Returns what to do next, where something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reach(error) => Some(error.hint()),
            _ => None,
        }
    }
}

/// What the server answers when it is asked for the keys of visits.
#[derive(serde::Deserialize)]
struct Keys {
    keys: Vec<String>,
}

/// A server that a gateway follows.
#[derive(Debug, Clone)]
pub struct Server {
    reach: Reach,
}

impl Server {
    /// Makes a client of the server that is reached in this way.
    #[must_use]
    pub const fn new(reach: Reach) -> Self {
        Self { reach }
    }

    /// Returns the socket by which it is reached, where it is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.reach.address().socket()
    }

    /// Asks for a table that is news to whoever serves `known`; the server holds the request for up to `wait` until there is one.
    ///
    /// # Errors
    /// When the server cannot be reached or answers anything but a table or 204.
    pub async fn table(
        &self,
        environment: &EnvironmentName,
        known: &Edition,
        wait: Duration,
    ) -> Result<Option<RouteTable>, ServerError> {
        let wait_ms = wait.as_millis();
        let (after, history) = (known.revision, known.history.as_str());
        let path = format!(
            "/api/v1/environments/{environment}/routes?after={after}&history={history}&wait_ms={wait_ms}"
        );
        let (status, body) = self.exchange(Method::GET, &path, Bytes::new(), LIMIT + wait).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let table = parse_table(&body);
        table.map(Some).map_err(|source| ServerError::Table { server: self.name(), source })
    }

    /// Asks for a certificate that a table names, with its key, as one text.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses it, or answers what is none.
    pub async fn certificate(
        &self,
        environment: &EnvironmentName,
        digest: &Digest,
    ) -> Result<String, ServerError> {
        let path = format!("/api/v1/environments/{environment}/gateway-certificates/{digest}");
        let (_, body) = self.exchange(Method::GET, &path, Bytes::new(), LIMIT).await?;
        let answer: Bundle = serde_json::from_slice(&body).map_err(|error| ServerError::Table {
            server: self.name(),
            // Where and why it is none would show a part of it.
            source: TableError::Text(serde::de::Error::custom(format!(
                "not a certificate, at line {}",
                error.line()
            ))),
        })?;
        Ok(answer.bundle)
    }

    /// Asks for the keys that visits are signed with.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses it, or answers what are none.
    pub async fn visit_keys(&self, environment: &EnvironmentName) -> Result<Vec<String>, ServerError> {
        let path = format!("/api/v1/environments/{environment}/gateway-visit-keys");
        let (_, body) = self.exchange(Method::GET, &path, Bytes::new(), LIMIT).await?;
        let answer = serde_json::from_slice::<Keys>(&body).ok();
        let is_key = |key: &String| VisitKey::parse(key).is_some();
        let keys = answer.map(|all| all.keys).filter(|keys| keys.iter().all(is_key));
        // Where and why it is none would show a part of it.
        let none = || TableError::Text(serde::de::Error::custom("not the keys of visits"));
        keys.ok_or_else(|| ServerError::Table { server: self.name(), source: none() })
    }

    /// Sends a receipt.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses it.
    pub async fn send_receipt(&self, receipt: &GatewayReceipt) -> Result<(), ServerError> {
        let body = serde_json::to_vec(receipt).map_err(ServerError::Receipt)?;
        let path = format!("/api/v1/environments/{}/gateway-receipts", receipt.environment);
        self.exchange(Method::POST, &path, body.into(), LIMIT).await.map(|_| ())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), ServerError> {
        let exchange = self.exchange_unbounded(method, path, body);
        let silent = |_| ServerError::Silent { server: self.name() };
        timeout(limit, exchange).await.map_err(silent)?
    }

    async fn exchange_unbounded(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ServerError> {
        let response =
            self.reach.ask(method.clone(), path, &[(CONTENT_TYPE, "application/json")], body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|source| self.reach.broke_off(source))?.to_bytes();
        if status.is_success() {
            return Ok((status, body));
        }
        if let Some(error) = self.reach.explain(status.as_u16(), &body) {
            return Err(error.into());
        }
        let text = String::from_utf8_lossy(&body).chars().take(500).collect();
        Err(ServerError::Status { server: self.name(), method, path: path.to_owned(), status, text })
    }

    fn name(&self) -> String {
        self.reach.address().to_string()
    }
}
