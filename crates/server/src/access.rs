//! Who may ask: a token where there is one, no web page that was loaded from elsewhere, and no change in a foreign form.
//!
//! Without a token only loopback is listened on, and then every program of every user of the host may ask.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use lockstep_api::endpoints::{Callers, Endpoint, Method, Takes, endpoints};
use lockstep_api::{ErrorCode, PREFIX, Problem};
use lockstep_control::Control;
use lockstep_domain::gateway::GATEWAY_KEY_PREFIX;
use lockstep_domain::{Actor, GatewayName};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::ServerError;
use crate::answer::{Failure, Refused};
use crate::brake::Brake;
use crate::from_hosts::OfHost;
use crate::origin::{Hosts, check_content_type};
use crate::refusals::Refusals;

/// Shorter tokens can be guessed.
pub(crate) const MIN_TOKEN_LENGTH: usize = 16;
/// The header by which a client says for whom it asks.
const ACTOR_HEADER: &str = "lockstep-actor";

/// Fields that a proxy adds to what it passes on.
const MARKS_OF_PROXIES: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
/// Wrong tokens whose answers wait at the same time; further ones are answered at once. Each holds a connection meanwhile, and those of
/// one address, of a proxy before the server for example, are shared with everybody who has the right one.
const MAX_SLOWED: usize = 16;
/// How a server gets a token.
pub(crate) const MAKE_A_TOKEN: &str =
    "(umask 077; openssl rand -hex 32 > lockstep.token); lockstep server --token-file lockstep.token";

/// For whom is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A person or program that may do everything.
    Operator(Actor),
    /// A gateway that showed its key.
    Gateway(GatewayName),
    /// A program that may read metrics.
    Scraper,
}

/// Finds out whose a key is.
pub(crate) type WhoseKey<'a> = &'a (dyn Fn(&str) -> Option<GatewayName> + Sync);

/// The rules of one server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Only the digest is kept, and compared in a time that does not depend on what is given.
    token: Option<Arc<[u8; 32]>>,
    /// The digest of the token that is for metrics alone.
    scrape: Option<Arc<[u8; 32]>>,
    hosts: Arc<Hosts>,
    brake: Arc<Mutex<Brake>>,
    /// Who may be kept waiting.
    slowed: Arc<Semaphore>,
    refusals: Arc<Refusals>,
}

/// What a request shows of its right to ask.
enum Shown<'a> {
    Nothing,
    Token(&'a str),
    /// Something that is no bearer token, or more than one.
    Odd,
}

/// Why a request may not ask.
enum NotAdmitted {
    Refused(Problem),
    /// A token was given and is wrong.
    WrongToken(Problem),
}

impl From<Problem> for NotAdmitted {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Access {
    pub(crate) fn new(
        listen: SocketAddr,
        token: Option<&str>,
        public_hosts: &[String],
    ) -> Result<Self, ServerError> {
        match token {
            None if !listen.ip().is_loopback() => return Err(ServerError::TokenNeeded(listen)),
            None if !public_hosts.is_empty() => {
                return Err(ServerError::TokenNeededBehind(public_hosts[0].clone()));
            }
            Some(token) if token.len() < MIN_TOKEN_LENGTH || token.starts_with(GATEWAY_KEY_PREFIX) => {
                return Err(ServerError::WeakToken);
            }
            _ => {}
        }
        Ok(Self {
            token: token.map(|token| Arc::new(digest(token))),
            scrape: None,
            hosts: Arc::new(Hosts::new(listen, public_hosts).map_err(ServerError::PublicHost)?),
            brake: Arc::default(),
            slowed: Arc::new(Semaphore::new(MAX_SLOWED)),
            refusals: Arc::default(),
        })
    }

    /// Lets whoever has a token read metrics, beside those who may do everything.
    pub(crate) fn for_scraping(self, token: Option<&str>) -> Self {
        Self { scrape: token.map(|token| Arc::new(digest(token))), ..self }
    }

    fn is_scraper(&self, shown: &Shown<'_>) -> bool {
        match (&self.scrape, shown) {
            (Some(token), Shown::Token(given)) => digest(given).ct_eq(&**token).into(),
            _ => false,
        }
    }

    /// Returns for whom is asked. Who comes from a host is the gateway of that, and what they show makes them nobody else.
    fn admit(&self, request: &Request, whose_key: WhoseKey<'_>) -> Result<Caller, NotAdmitted> {
        let (method, headers) = (request.method(), request.headers());
        self.hosts.check(method, request.uri(), headers)?;
        let caller = match request.extensions().get() {
            Some(OfHost(gateway)) => Caller::Gateway(gateway.clone()),
            None => self.caller(headers, whose_key)?,
        };
        check_content_type(method, headers, || takes_a_file(request))?;
        check_endpoint(&caller, request)?;
        Ok(caller)
    }

    /// A key is never taken for a token, nor a token for a key: they differ in how they begin.
    fn caller(&self, headers: &HeaderMap, whose_key: WhoseKey<'_>) -> Result<Caller, NotAdmitted> {
        match shown(headers) {
            Shown::Token(key) if key.starts_with(GATEWAY_KEY_PREFIX) => {
                let unknown = || {
                    NotAdmitted::WrongToken(
                        Problem::new(ErrorCode::Unauthorized, "no gateway has this key, or not any more")
                            .with_hint("lockstep gateway list; lockstep gateway add NAME --env ENV"),
                    )
                };
                whose_key(key).map(Caller::Gateway).ok_or_else(unknown)
            }
            shown if self.is_scraper(&shown) => Ok(Caller::Scraper),
            shown => {
                self.check_token(&shown)?;
                self.check_way(headers)?;
                Ok(Caller::Operator(actor(headers)?))
            }
        }
    }

    /// Without a token it is the way here that makes an operator: only programs of this host can go it. What a proxy passes
    /// on may come from anybody.
    fn check_way(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mark = MARKS_OF_PROXIES.into_iter().find(|mark| headers.contains_key(*mark));
        let Some(mark) = mark.filter(|_| self.token.is_none()) else { return Ok(()) };
        let detail = format!("the request came through a proxy (`{mark}`), and this server has no token");
        Err(Problem::new(ErrorCode::Forbidden, detail).with_hint(MAKE_A_TOKEN))
    }

    fn check_token(&self, shown: &Shown<'_>) -> Result<(), NotAdmitted> {
        let Some(token) = &self.token else { return Ok(()) };
        match shown {
            Shown::Token(given) if bool::from(digest(given).ct_eq(&**token)) => Ok(()),
            Shown::Nothing => Err(NotAdmitted::Refused(token_needed("this server asks for a token"))),
            Shown::Token(_) => {
                Err(NotAdmitted::WrongToken(token_needed("the token is not the one of this server")))
            }
            Shown::Odd => {
                Err(NotAdmitted::WrongToken(token_needed("the field `authorization` is not understood")))
            }
        }
    }

    /// Answers a request that may not ask; the answer to a wrong token takes its time.
    async fn turn_away(&self, caller: Option<IpAddr>, refused: NotAdmitted) -> Response {
        match (refused, caller) {
            (NotAdmitted::WrongToken(problem), Some(caller)) => {
                let delay =
                    self.brake.lock().unwrap_or_else(PoisonError::into_inner).wrong(caller, Instant::now());
                if let Ok(_slowed) = self.slowed.try_acquire() {
                    tokio::time::sleep(delay).await;
                }
                Failure(problem).into_response()
            }
            (NotAdmitted::WrongToken(problem) | NotAdmitted::Refused(problem), _) => {
                Failure(problem).into_response()
            }
        }
    }
}

/// A gateway, or who reads metrics, may ask at the endpoints that are for them; about which environments, their handlers say.
fn check_endpoint(caller: &Caller, request: &Request) -> Result<(), Problem> {
    if matches!(caller, Caller::Operator(_)) {
        return Ok(());
    }
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let method = if request.method() == axum::http::Method::POST { Method::Post } else { Method::Get };
    let is_meant = |endpoint: &Endpoint| {
        endpoint.method == method
            && is_for(caller, endpoint.callers)
            && path.strip_prefix(PREFIX).unwrap_or(path) == endpoint.path
    };
    if endpoints().iter().any(is_meant) {
        return Ok(());
    }
    let Caller::Gateway(gateway) = caller else {
        let detail = "this token is for reading metrics, and for nothing else";
        return Err(Problem::new(ErrorCode::Forbidden, detail).with_hint("use the token of the server"));
    };
    let what = if request.extensions().get::<OfHost>().is_some() { "way" } else { "key" };
    let detail =
        format!("the {what} of gateway `{gateway}` is for tables and receipts, and for nothing else");
    Err(Problem::new(ErrorCode::Forbidden, detail).with_hint("use the token of the server"))
}

const fn is_for(caller: &Caller, callers: Callers) -> bool {
    match caller {
        Caller::Operator(_) => !matches!(callers, Callers::Gateways),
        Caller::Gateway(_) => matches!(callers, Callers::Gateways | Callers::OperatorsAndGateways),
        Caller::Scraper => matches!(callers, Callers::OperatorsAndScrapers),
    }
}

/// Tells whether a request is to an endpoint that takes files.
fn takes_a_file(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let path = path.strip_prefix(PREFIX);
    endpoints().iter().any(|endpoint| matches!(endpoint.body, Takes::Bytes) && path == Some(endpoint.path))
}

fn token_needed(detail: &str) -> Problem {
    Problem::new(ErrorCode::Unauthorized, detail)
        .with_hint(
            "give the token of the server with --token-file FILE or in LOCKSTEP_TOKEN; one that it made itself is in \
             secrets/api.token of its data folder",
        )
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Shown::Nothing,
        (Some(value), None) => {
            let bearer = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            bearer.map_or(Shown::Odd, Shown::Token)
        }
        (Some(_), Some(_)) => Shown::Odd,
    }
}

/// Refuses who may not ask, notes for whom is asked, and tells of what was refused, here or further in.
pub(crate) async fn guard(
    State((access, control)): State<(Access, Arc<Control>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let from_host = request.extensions().get().map(|OfHost(gateway)| gateway.to_string());
    let response = match access.admit(&request, &|key| control.gateway_of_key(key)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => access.turn_away(caller.map(|caller| caller.ip()), refused).await,
    };
    if let Some(Refused(problem)) = response.extensions().get() {
        let who = from_host.or_else(|| caller.map(|address| address.to_string()));
        access.refusals.tell(who.as_deref(), &method, &uri, problem);
    }
    response
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
    use axum::body::Body;

    use super::*;

    const KEY: &str = "lockstep-gateway-0123456789abcdef";

    fn status(access: &Access, pairs: &[(&str, &str)]) -> u16 {
        let request = Request::builder().uri("/api/v1/health").header("host", "localhost");
        let request = pairs.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        match access.admit(&request.body(Body::empty()).unwrap(), &|key| {
            (key == KEY).then(|| "edge".parse().unwrap())
        }) {
            Ok(_) => 200,
            Err(NotAdmitted::Refused(problem) | NotAdmitted::WrongToken(problem)) => problem.status,
        }
    }

    fn access(listen: &str, token: Option<&str>) -> Result<Access, ServerError> {
        Access::new(listen.parse().unwrap(), token, &[])
    }

    #[test]
    fn beyond_loopback_a_long_token_is_needed() {
        assert!(matches!(access("0.0.0.0:8470", None), Err(ServerError::TokenNeeded(_))));
        assert!(matches!(access("0.0.0.0:8470", Some("short")), Err(ServerError::WeakToken)));
        let access = access("0.0.0.0:8470", Some("0123456789abcdef")).unwrap();
        let right = ("authorization", "Bearer 0123456789abcdef");
        assert_eq!(status(&access, &[right]), 200);
        assert_eq!(status(&access, &[("authorization", "Bearer 0123456789abcdeX")]), 401);
        assert_eq!(status(&access, &[("authorization", "0123456789abcdef")]), 401);
        assert_eq!(status(&access, &[right, right]), 401);
        assert_eq!(status(&access, &[]), 401);
    }

    #[test]
    fn a_server_that_something_stands_before_has_a_token() {
        let public = ["lockstep.example.org".to_owned()];
        let access = |token| Access::new("127.0.0.1:1".parse().unwrap(), token, &public);
        assert!(matches!(access(None), Err(ServerError::TokenNeededBehind(name)) if name == public[0]));
        assert!(access(Some("0123456789abcdef")).is_ok());
    }

    #[test]
    fn what_a_proxy_passes_on_needs_a_token() {
        let right = ("authorization", "Bearer 0123456789abcdef");
        let open = access("127.0.0.1:1", None).unwrap();
        let closed = access("127.0.0.1:1", Some("0123456789abcdef")).unwrap();
        for mark in MARKS_OF_PROXIES {
            assert_eq!(status(&open, &[(mark, "203.0.113.7")]), 403, "{mark}");
            assert_eq!(status(&open, &[(mark, ""), right]), 403, "{mark}");
            assert_eq!(status(&closed, &[(mark, "203.0.113.7"), right]), 200, "{mark}");
        }
    }

    #[test]
    fn a_token_is_no_way_around_the_other_checks() {
        let access = access("127.0.0.1:1", Some("0123456789abcdef")).unwrap();
        let right = ("authorization", "Bearer 0123456789abcdef");
        assert_eq!(status(&access, &[right, ("origin", "http://evil.test")]), 403);
        assert_eq!(status(&access, &[right, ("host", "localhost")]), 400);
    }

    #[test]
    fn a_key_is_no_token_and_a_token_no_key() {
        let open = access("127.0.0.1:1", None).unwrap();
        let closed = access("127.0.0.1:1", Some("0123456789abcdef")).unwrap();
        for access in [open, closed] {
            // Known, and not for this endpoint; then not known any more.
            assert_eq!(status(&access, &[("authorization", &format!("Bearer {KEY}"))]), 403);
            assert_eq!(status(&access, &[("authorization", &format!("Bearer {KEY}0"))]), 401);
        }
        // A token that looks like a key would never be asked for.
        assert!(matches!(access("127.0.0.1:1", Some(KEY)), Err(ServerError::WeakToken)));
    }

    #[test]
    fn nobody_can_say_that_they_are_lockstep() {
        let access = access("127.0.0.1:1", None).unwrap();
        assert_eq!(status(&access, &[("lockstep-actor", "lockstep")]), 400);
        assert_eq!(status(&access, &[("lockstep-actor", "ann@desk")]), 200);
    }
}
