//! Who may ask: a token where there is one, and no web page that was loaded from elsewhere.
//!
//! Without a token only loopback is listened on, and then every program of every user of the host may ask. A browser
//! there must not be turned against us: requests with a foreign `Host` (DNS rebinding) or `Origin` are refused.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::Actor;
use sha2::{Digest as _, Sha256};

use crate::ServerError;
use crate::answer::Failure;

/// Shorter tokens can be guessed.
pub(crate) const MIN_TOKEN_LENGTH: usize = 16;
/// The header by which a client says for whom it asks.
const ACTOR_HEADER: &str = "lockstep-actor";

/// The rules of one server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Only the digest is kept, so that comparing takes the same time whatever is given.
    token: Option<Arc<[u8; 32]>>,
}

impl Access {
    pub(crate) fn new(listen: SocketAddr, token: Option<&str>) -> Result<Self, ServerError> {
        match token {
            None if !listen.ip().is_loopback() => Err(ServerError::TokenNeeded(listen)),
            Some(token) if token.len() < MIN_TOKEN_LENGTH => Err(ServerError::WeakToken),
            _ => Ok(Self { token: token.map(|token| Arc::new(digest(token))) }),
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else { return check_local(headers) };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        match given {
            Some(given) if digest(given) == **token => Ok(()),
            _ => Err(Problem::new(ErrorCode::Unauthorized, "this server asks for a token")
                .with_hint("set LOCKSTEP_TOKEN to the token of the server")),
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn check_local(headers: &HeaderMap) -> Result<(), Problem> {
    let forbidden = |what: &str| {
        Problem::new(ErrorCode::Forbidden, format!("requests with a foreign {what} are refused"))
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(HOST).is_some_and(|host| !is_local(host)) {
        return Err(forbidden("Host"));
    }
    match text(ORIGIN) {
        Some(origin) if !origin.split_once("://").is_some_and(|(_, host)| is_local(host)) => {
            Err(forbidden("Origin"))
        }
        _ => Ok(()),
    }
}

/// Tells whether `host[:port]` is this host.
fn is_local(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
        return true;
    }
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Refuses who may not ask, and notes for whom is asked.
pub(crate) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = access.check(request.headers()) {
        return Failure(problem).into_response();
    }
    match actor(request.headers()) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) => Failure(problem).into_response(),
    }
}

fn actor(headers: &HeaderMap) -> Result<Actor, Problem> {
    let bad = |why: String| Problem::new(ErrorCode::BadRequest, format!("{ACTOR_HEADER}: {why}"));
    let Some(value) = headers.get(ACTOR_HEADER) else {
        return "unknown".parse().map_err(|e| bad(format!("{e}")));
    };
    let text = value.to_str().map_err(|_| bad("not printable text".into()))?;
    if text == Actor::lockstep().as_str() {
        return Err(bad("`lockstep` is Lockstep itself".into()));
    }
    text.parse().map_err(|error: lockstep_domain::name::NameError| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn beyond_loopback_a_long_token_is_needed() {
        let open: SocketAddr = "0.0.0.0:8470".parse().unwrap();
        assert!(matches!(Access::new(open, None), Err(ServerError::TokenNeeded(_))));
        assert!(matches!(Access::new(open, Some("short")), Err(ServerError::WeakToken)));
        let access = Access::new(open, Some("0123456789abcdef")).unwrap();
        assert!(access.check(&headers(&[("authorization", "Bearer 0123456789abcdef")])).is_ok());
        assert!(access.check(&headers(&[("authorization", "Bearer 0123456789abcdeX")])).is_err());
        assert!(access.check(&headers(&[])).is_err());
    }

    #[test]
    fn web_pages_from_elsewhere_are_refused() {
        let access = Access::new("127.0.0.1:8470".parse().unwrap(), None).unwrap();
        for good in ["127.0.0.1:8470", "localhost:8470", "[::1]:8470", "localhost"] {
            assert!(access.check(&headers(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in ["evil.example", "evil.example:8470", "localhost.evil.example", "10.0.0.1:8470"] {
            assert!(access.check(&headers(&[("host", bad)])).is_err(), "{bad}");
        }
        assert!(access.check(&headers(&[("origin", "https://evil.example")])).is_err());
        assert!(access.check(&headers(&[("origin", "null")])).is_err());
        assert!(access.check(&headers(&[("origin", "http://localhost:3000")])).is_ok());
    }

    #[test]
    fn nobody_can_say_that_they_are_lockstep() {
        assert!(actor(&headers(&[("lockstep-actor", "lockstep")])).is_err());
        assert_eq!(actor(&headers(&[("lockstep-actor", "ann@desk")])).unwrap().as_str(), "ann@desk");
    }
}
