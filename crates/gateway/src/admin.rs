//! What operators and their tools ask a gateway, on an address of its own: is it alive, does it take clients, what does it count.
//!
//! It is never on the address of clients, answers nothing else, and is bounded in all that it takes. The one thing that is changed by it is that
//! the gateway begins to leave, which only who could end it may ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lockstep_domain::EnvironmentName;
use lockstep_domain::routes::conditions::parameter;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::RECENT;
use crate::environment::Environment;
use crate::gateway::State;
use crate::listening::Clients;
use crate::metrics::Everything;
use crate::moment::Moment;
use crate::owner::owner_of;
use crate::recent::{Recent, RecentList};
use crate::spans::Spans;
use crate::traffic::{self, Traffic};
use crate::worker::Worker;

/// Answers at once: a few tools ask, each every few seconds.
const MAX_CONNECTIONS: usize = 32;
/// How long one may take to ask and to take its answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest head of a request that is asked here.
const MAX_HEAD: usize = 8 * 1_024;
/// How many of the last requests are shown to whoever does not say.
const USUAL_RECENT: usize = 100;
/// Where it is told to begin to leave.
const DRAIN: &str = "/-/drain";
/// How long accepting rests after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What can be seen of a gateway from outside. It outlives the gateway, but shows no more then.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) id: String,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) leaving: Arc<AtomicBool>,
    pub(crate) spans: Option<Arc<Spans>>,
}

impl Admin {
    /// Tells why new clients should not be sent here; nothing means that they should.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.leaving.load(Ordering::SeqCst) {
            why.push("the gateway is about to end".to_owned());
        }
        let environments = self.environments();
        let without = environments.values().filter(|environment| !environment.has_table());
        why.extend(
            without.map(|environment| format!("there is no route table of `{}` yet", environment.name())),
        );
        why.extend(self.without_certificates());
        if environments.is_empty() {
            why.push("no environment is served".to_owned());
        }
        why
    }

    /// Says where clients are listened for who come by TLS, and none of them can be shown a certificate.
    fn without_certificates(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let secure = state.listeners.iter().filter(|(_, it)| it.clients() == Some(Clients::Secure));
        let cannot =
            |name: &EnvironmentName| state.environments.get(name).is_none_or(|it| it.tls().shown().is_none());
        let names: BTreeSet<_> = secure.map(|((name, _), _)| name).filter(|name| cannot(name)).collect();
        names
            .into_iter()
            .map(|name| format!("https of `{name}` has no certificate that can be shown"))
            .collect()
    }

    /// Lets the gateway begin to leave: see [`Gateway::begin_to_leave`](crate::Gateway::begin_to_leave).
    pub fn drain(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        self.workers.iter().for_each(|worker| worker.departure.begin());
    }

    /// Writes what is counted, in the text format of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        let environments = self.environments();
        let everything = Everything {
            gateway: self.id.clone(),
            connections: self.connections(),
            ready: self.not_ready().is_empty(),
            spans: self.spans.as_ref().map(|spans| spans.read()),
            environments: environments.iter().map(|(name, it)| (name.clone(), it.observe())).collect(),
        };
        everything.text()
    }

    /// Returns what is counted, as a document.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let environments = self.environments();
        Traffic {
            gateway: self.id.clone(),
            up_ms: Moment::now().0 / 1_000,
            connections: self.connections(),
            bounds_ms: traffic::bounds(),
            environments: environments.iter().map(|(name, it)| (name.clone(), it.traffic())).collect(),
        }
    }

    /// Returns the last requests, the newest first; of one environment, where it is named.
    #[must_use]
    pub fn recent(&self, most: usize, environment: Option<&str>) -> RecentList {
        let rings = self.workers.iter().filter_map(|worker| worker.recent.as_ref());
        let room = if environment.is_some() { RECENT } else { most };
        let mut requests: Vec<Recent> = rings.flat_map(|ring| ring.newest(room)).map(Recent::from).collect();
        requests.retain(|request| environment.is_none_or(|name| request.environment == name));
        requests.sort_by(|one, other| other.time.cmp(&one.time));
        requests.truncate(most);
        RecentList { gateway: self.id.clone(), requests }
    }

    fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.connected()).sum()
    }

    fn environments(&self) -> BTreeMap<String, Arc<Environment>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.environments.iter().map(|(name, it)| (name.to_string(), Arc::clone(it))).collect()
    }

    /// Answers on a listener until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let (admin, mut visitors) = (Arc::new(self), Visitors::default());
        loop {
            visitors.make_room().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => visitors.take_in(stream, peer, Arc::clone(&admin)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the admin address");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn answer<B>(&self, request: &Request<B>, peer: Ends) -> Response<Full<Bytes>> {
        let (method, path) = (request.method(), request.uri().path());
        if path == DRAIN {
            return self.answer_drain(request, peer);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return only("GET, HEAD");
        }
        match path {
            "/-/health" => text(StatusCode::OK, "ok\n".to_owned()),
            "/-/ready" => match self.not_ready() {
                why if why.is_empty() => text(StatusCode::OK, "ready\n".to_owned()),
                why => text(StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n"),
            },
            "/-/metrics" => {
                let mut answer = text(StatusCode::OK, self.metrics());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            "/-/traffic" => document(&self.traffic()),
            "/-/recent" if !is_of_this_host(request, peer) => {
                text(StatusCode::FORBIDDEN, "the last requests are shown on this host alone\n".to_owned())
            }
            "/-/recent" => {
                let query = request.uri().query().unwrap_or_default();
                let get = |name| parameter(query, name).and_then(|value| String::from_utf8(value).ok());
                let Ok(most) = get("limit").map_or(Ok(USUAL_RECENT), |limit| limit.parse()) else {
                    let why = format!("`limit` is a number, at most {RECENT}\n");
                    return text(StatusCode::BAD_REQUEST, why);
                };
                document(&self.recent(most.min(RECENT), get("environment").as_deref()))
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /-/health, /-/ready, /-/metrics, /-/traffic, /-/recent and, by POST, /-/drain\n"
                    .to_owned(),
            ),
        }
    }

    fn answer_drain<B>(&self, request: &Request<B>, ends: Ends) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return only("POST");
        }
        // A page in a browser of this host asks with it, whatever page that is.
        if request.headers().contains_key(ORIGIN) || !is_of_this_host(request, ends) || !may_end_us(ends) {
            let why = "a gateway is drained by programs of this host, of its own user or of root\n";
            return text(StatusCode::FORBIDDEN, why.to_owned());
        }
        self.drain();
        tracing::info!(
            "told to drain: not ready any more, and each answer is the last one of its connection"
        );
        document(&serde_json::json!({ "gateway": self.id, "connections": self.connections() }))
    }
}

/// The two ends of a connection: who asks, and where.
type Ends = (SocketAddr, Option<SocketAddr>);

/// Tells whether a program of this host asks, and no page in a browser that was led here by a name (DNS rebinding): the last requests
/// say who asked for what.
fn is_of_this_host<B>(request: &Request<B>, (peer, local): Ends) -> bool {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let is_here = |host: &str| {
        let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
        is_address || host.split(':').next() == Some("localhost")
    };
    // Who calls from the address that is called is here as well.
    let is_this =
        peer.ip().to_canonical().is_loopback() || local.is_some_and(|local| local.ip() == peer.ip());
    is_this && host.is_none_or(is_here)
}

/// Tells whether who asks could end this process as well: it is of the same user, or of root. Where the system does not say it, nobody is.
fn may_end_us((peer, local): Ends) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let user = local.and_then(|local| owner_of(peer, local));
    user.is_some_and(|user| user == 0 || user == us)
}

fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods} is answered here\n"));
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    refused
}

/// Those who are being answered, the oldest first.
#[derive(Default)]
struct Visitors(VecDeque<Visitor>);

struct Visitor {
    task: JoinHandle<()>,
    /// Whether it has asked: its whole head is here.
    has_asked: Arc<AtomicBool>,
}

impl Visitors {
    fn take_in(&mut self, stream: TcpStream, peer: SocketAddr, admin: Arc<Admin>) {
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_asked);
        let task = tokio::spawn(async move {
            // Whoever is too slow is cut off; there is nobody to tell.
            let _ = tokio::time::timeout(LIMIT, answer_on(stream, peer, &admin, &asked)).await;
        });
        self.0.push_back(Visitor { task, has_asked });
    }

    /// Waits until there is room for one more. The oldest who has not asked yet has to go for it: connections on which nobody
    /// asks must not keep away those who do.
    async fn make_room(&mut self) {
        self.0.retain(|visitor| !visitor.task.is_finished());
        if self.0.len() < MAX_CONNECTIONS {
            return;
        }
        let silent = self.0.iter().position(|visitor| !visitor.has_asked.load(Ordering::Relaxed));
        let Some(Visitor { task, .. }) = self.0.remove(silent.unwrap_or_default()) else { return };
        if silent.is_some() {
            task.abort();
        }
        // One that was ended, or that panicked, has ended.
        let _ = task.await;
    }
}

async fn answer_on(
    stream: TcpStream,
    peer: SocketAddr,
    admin: &Admin,
    has_asked: &AtomicBool,
) -> hyper::Result<()> {
    let ends = (peer, stream.local_addr().ok());
    let service = service_fn(|request: Request<_>| {
        has_asked.store(true, Ordering::Relaxed);
        let answer = admin.answer(&request, ends);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn document(document: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(document).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
