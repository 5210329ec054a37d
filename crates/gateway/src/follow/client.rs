//! The two requests a gateway makes to a server: for the next table, and with a receipt.

use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use lockstep_domain::EnvironmentName;
use lockstep_domain::edition::Edition;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::parse::{TableError, parse_table};

/// Longest answer that is read from a server: a table as large as one that can be stored.
const MAX_ANSWER: usize = 64 * 1_024 * 1_024;
/// How long a server may take, beyond the time it was asked to wait.
const LIMIT: Duration = Duration::from_secs(10);

/// Why a server gave no table or took no receipt.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address is not one.
    #[error("`{text}` is not the address of a server: {why}; it looks like `http://127.0.0.1:7420`")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// The key cannot be sent.
    #[error("the key has characters that cannot be sent in a header")]
    Key,
    /// No connection.
    #[error("cannot connect to {authority}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The exchange failed.
    #[error("the request to {authority} failed")]
    Exchange {
        /// Host and port.
        authority: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{authority} did not answer in time")]
    Silent {
        /// Host and port.
        authority: String,
    },
    /// The server refused.
    #[error("{authority} answered {status} to {method} {path}: {text}")]
    Status {
        /// Host and port.
        authority: String,
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
    #[error("{authority} answered what is no route table for this gateway")]
    Table {
        /// Host and port.
        authority: String,
        /// Where and why.
        #[source]
        source: TableError,
    },
}

/// A server that a gateway follows.
#[derive(Clone)]
pub struct Server {
    authority: String,
    host: String,
    port: u16,
    /// A path before every path of the API, without a slash at its end.
    base: String,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Server")
            .field("authority", &self.authority)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Makes a client of the server at an address such as `http://127.0.0.1:7420`.
    ///
    /// # Errors
    /// When the address is not a plain `http` one, or the key cannot stand in a header.
    pub fn new(address: &str, key: Option<&str>) -> Result<Self, ServerError> {
        let wrong = |why: String| ServerError::Address { text: address.to_owned(), why };
        let uri: Uri = address.parse().map_err(|error: InvalidUri| wrong(error.to_string()))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only `http://` is spoken".into()));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host".into()))?;
        let bearer = |key: &str| HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ServerError::Key);
        let mut authorization = key.map(bearer).transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            base: uri.path().trim_end_matches('/').to_owned(),
            authorization,
        })
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
        table.map(Some).map_err(|source| ServerError::Table { authority: self.authority.clone(), source })
    }

    /// Sends a receipt.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses it.
    pub async fn send_receipt(&self, receipt: &GatewayReceipt) -> Result<(), ServerError> {
        let body = serde_json::to_vec(receipt).map_err(|source| self.exchange_error(source))?;
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
        let exchange = async {
            let response = self.send(self.request(&method, path, body)?).await?;
            let status = response.status();
            let limited = Limited::new(response.into_body(), MAX_ANSWER);
            let body = limited.collect().await.map_err(|source| self.boxed(source))?.to_bytes();
            if status.is_success() {
                return Ok((status, body));
            }
            let text = String::from_utf8_lossy(&body).chars().take(500).collect();
            let (authority, path) = (self.authority.clone(), path.to_owned());
            Err(ServerError::Status { authority, method: method.clone(), path, status, text })
        };
        let silent = || ServerError::Silent { authority: self.authority.clone() };
        timeout(limit, exchange).await.unwrap_or_else(|_| Err(silent()))
    }

    fn request(&self, method: &Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ServerError> {
        let builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json");
        let builder =
            self.authorization.iter().fold(builder, |builder, value| builder.header(AUTHORIZATION, value));
        builder.body(Full::new(body)).map_err(|source| self.exchange_error(source))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>, ServerError> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream =
            connected.map_err(|source| ServerError::Connect { authority: self.authority.clone(), source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|source| self.exchange_error(source))?;
        // Ends by itself with the answer; an error of it reaches the sender too.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(|source| self.exchange_error(source))
    }

    fn exchange_error(&self, source: impl std::error::Error + Send + Sync + 'static) -> ServerError {
        self.boxed(Box::new(source))
    }

    fn boxed(&self, source: Box<dyn std::error::Error + Send + Sync>) -> ServerError {
        ServerError::Exchange { authority: self.authority.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_checked() {
        let server = Server::new("http://[::1]:7420/lockstep/", Some("secret")).unwrap();
        assert_eq!((server.host.as_str(), server.port, server.base.as_str()), ("::1", 7420, "/lockstep"));
        assert!(!format!("{server:?}").contains("secret"));
        assert_eq!(Server::new("http://host", None).unwrap().port, 80);
        for bad in ["", "host:7420", "https://host", "http://", "/path"] {
            assert!(matches!(Server::new(bad, None), Err(ServerError::Address { .. })), "{bad}");
        }
        assert!(matches!(Server::new("http://host", Some("a\nb")), Err(ServerError::Key)));
    }
}
