//! How a program reaches a server: one address, one way of connecting, and words for everything that can go wrong.
//!
//! The command line and gateways of their own use nothing else. It leaves to them what is asked and what an answer means.
//! Invariants: a token travels over TLS that was checked, or stays on loopback, unless a person said otherwise; it goes to
//! the address that was named and nowhere else. No proxy of the environment is used, and no redirect is followed: there is
//! no code for either.

mod address;
mod connect;
mod error;
mod everybody;
mod fault;
mod first;
mod names;
mod trust;

use std::fmt;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Response};

pub use address::{AddressError, ServerAddress};
pub use error::{Destination, ReachError};
pub use everybody::believing_everybody;
pub use fault::CertificateFault;
pub use names::{Addresses, Names, NamesError};
pub use trust::{Trust, TrustError};

use connect::Connection;
pub use connect::{Dialled, Outgoing, Stream, Witness, words_of_handshake};

/// Whether a token may go over plain HTTP beyond loopback, where everybody on the way can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// Never.
    #[default]
    LoopbackOnly,
    /// The person who said so knows the network.
    Everywhere,
}

/// A server as it is reached: where, whom to trust, and by which right.
#[derive(Clone)]
pub struct Reach {
    address: ServerAddress,
    trust: Arc<Trust>,
    bearer: Option<HeaderValue>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the token.
        f.debug_struct("Reach").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Reach {
    /// Makes the way to a server. Nothing is sent yet, but what is trusted is read where it will be needed.
    ///
    /// # Errors
    /// When the token must not or cannot be sent there, or there is nobody to trust.
    pub fn new(
        address: ServerAddress,
        trust: Trust,
        token: Option<&str>,
        plain: PlainHttp,
    ) -> Result<Self, ReachError> {
        if token.is_some() && !address.keeps_secrets() && plain == PlainHttp::LoopbackOnly {
            return Err(ReachError::PlainToken { address });
        }
        Self::trusting(address, Arc::new(trust), token)
    }

    /// Makes the way to a server to which no token is sent, whose trust is shared with others.
    ///
    /// # Errors
    /// When there is nobody to trust.
    pub fn shared(address: ServerAddress, trust: Arc<Trust>) -> Result<Self, ReachError> {
        Self::trusting(address, trust, None)
    }

    fn trusting(address: ServerAddress, trust: Arc<Trust>, token: Option<&str>) -> Result<Self, ReachError> {
        if address.is_tls() {
            trust.load().map_err(|source| ReachError::Trust { address: address.clone(), source })?;
        }
        let bearer = token.map(bearer).transpose()?;
        Ok(Self { address, trust, bearer })
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Sends a request on a connection of its own, and returns the answer as soon as its head is there. There is no bound
    /// on how long a server may think; the connection is watched meanwhile.
    ///
    /// # Errors
    /// When there was no answer, or one that leads elsewhere.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, ReachError> {
        let body = Full::new(body).map_err(|never| match never {});
        self.ask_with(method, path, fields, Outgoing::new(body)).await
    }

    /// Like [`Self::ask`], with a body that comes from somewhere as it is sent. One that fails breaks the request off.
    ///
    /// # Errors
    /// When there was no answer, or one that leads elsewhere.
    pub async fn ask_with(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
        body: Outgoing,
    ) -> Result<Response<Incoming>, ReachError> {
        let request = self.request(method, path, fields, body)?;
        let response = self.connect().await?.send(request).await?;
        if response.status().is_redirection() {
            return Err(self.led_elsewhere(&response, path));
        }
        Ok(response)
    }

    /// Like [`Self::ask`], and returns an answer that leads elsewhere as it is. Nobody goes there by itself: whoever does decides anew
    /// what may be sent along.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn ask_once(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, ReachError> {
        let nothing = Full::new(Bytes::new()).map_err(|never| match never {});
        let request = self.request(method, path, fields, Outgoing::new(nothing))?;
        self.connect().await?.send(request).await
    }

    /// Says why an answer broke off.
    #[must_use]
    pub fn broke_off(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ReachError {
        ReachError::BrokeOff { address: self.address.clone(), source: source.into() }
    }

    /// Says what is wrong when an answer is not of a server of ours, which answers in JSON, and tells it all the same: what
    /// speaks TLS was asked without, or a proxy found nobody behind it.
    #[must_use]
    pub fn explain(&self, status: u16, body: &[u8]) -> Option<ReachError> {
        let address = self.address.clone();
        match status {
            _ if body.trim_ascii_start().starts_with(b"{") => None,
            400 if !self.address.is_tls() && first::is_complaint_of_tls_port(body) => {
                Some(ReachError::WantsTls { address })
            }
            502..=504 => Some(ReachError::Behind { address, status }),
            _ => None,
        }
    }

    async fn connect(&self) -> Result<Connection, ReachError> {
        connect::over(&self.address, self.dial().await?).await
    }

    /// Opens a way to the server, for what is more than one request.
    ///
    /// # Errors
    /// When there is none, or at its end is not who should be there.
    pub async fn dial(&self) -> Result<Dialled, ReachError> {
        if !self.address.is_tls() {
            return connect::plain(&self.address).await;
        }
        let trusted = self.trust.load();
        let config = trusted.map_err(|source| ReachError::Trust { address: self.address.clone(), source })?;
        let connected = connect::tls(&self.address, config).await;
        if matches!(connected, Err(ReachError::Certificate { .. })) {
            // Authorities are exchanged while a gateway runs: the next try sees what is there by then.
            self.trust.load_again();
        }
        connected
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
        body: Outgoing,
    ) -> Result<Request<Outgoing>, ReachError> {
        let base = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.base()))
            .header(HOST, self.address.authority())
            .header(CONNECTION, "close");
        let with_bearer =
            self.bearer.iter().fold(base, |request, bearer| request.header(AUTHORIZATION, bearer));
        let request = fields.iter().fold(with_bearer, |request, (name, value)| request.header(name, *value));
        request.body(body).map_err(|_| ReachError::Unsendable { path: path.to_owned() })
    }

    fn led_elsewhere(&self, response: &Response<Incoming>, path: &str) -> ReachError {
        let location = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
        let location = location.map(std::borrow::Cow::into_owned);
        let server = location.as_deref().and_then(|location| server_of(location, path));
        let (address, status) = (self.address.clone(), response.status().as_u16());
        ReachError::Redirect { address, status, to: Box::new(Destination { location, server }) }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ReachError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ReachError::OddToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the server that a redirect names, where it leads to the same path there.
fn server_of(location: &str, path: &str) -> Option<ServerAddress> {
    location.strip_suffix(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str, token: Option<&str>, plain: PlainHttp) -> Result<Reach, ReachError> {
        Reach::new(address.parse().unwrap(), Trust::in_system(), token, plain)
    }

    #[test]
    fn a_token_goes_over_plain_http_to_loopback_only_or_by_consent() {
        for near in ["http://127.0.0.1:8470", "http://localhost", "http://[::1]:1", "http://127.9.9.9"] {
            assert!(reach(near, Some("secret"), PlainHttp::LoopbackOnly).is_ok(), "{near}");
        }
        for far in [
            "http://10.0.0.5:8470",
            "http://lockstep.example.org",
            "http://localhost.evil.test",
            "http://[fd00::1]",
        ] {
            let refused = reach(far, Some("secret"), PlainHttp::LoopbackOnly);
            assert!(matches!(refused, Err(ReachError::PlainToken { .. })), "{far}");
            assert!(reach(far, Some("secret"), PlainHttp::Everywhere).is_ok(), "{far}");
            assert!(reach(far, None, PlainHttp::LoopbackOnly).is_ok(), "nothing to lose: {far}");
        }
    }

    #[test]
    fn a_token_is_not_written_out_and_one_that_cannot_be_sent_is_refused() {
        let shown = format!("{:?}", reach("http://localhost", Some("secret"), PlainHttp::default()).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
        let odd = reach("http://localhost", Some("a\nb"), PlainHttp::default());
        assert!(matches!(odd, Err(ReachError::OddToken)));
    }

    #[test]
    fn a_proxy_that_finds_nobody_is_told_from_a_server_that_says_no() {
        let reach = reach("http://localhost", None, PlainHttp::default()).unwrap();
        let explained = |status, body: &str| reach.explain(status, body.as_bytes());
        for status in [502, 503, 504] {
            for page in ["", "<html>Bad Gateway", "No server is available"] {
                let error = explained(status, page).unwrap();
                assert!(matches!(error, ReachError::Behind { .. }) && !error.is_lasting(), "{status} {page}");
            }
        }
        assert!(explained(503, " {\"code\": \"unavailable\"}").is_none());
        assert!(explained(500, "").is_none() && explained(404, "<html>").is_none());
    }

    #[test]
    fn only_the_same_path_elsewhere_is_another_server() {
        let server = |location| server_of(location, "/api/v1/services").map(|server| server.to_string());
        assert_eq!(server("https://a.test/api/v1/services"), Some("https://a.test".into()));
        assert_eq!(server("https://a.test/in/api/v1/services"), Some("https://a.test/in".into()));
        for other in
            ["/api/v1/services", "https://a.test/login", "https://a b/api/v1/services", "//a/api/v1/services"]
        {
            assert_eq!(server(other), None, "{other}");
        }
    }
}
