//! One request: passed to the other side, and its answer passed back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use lockstep_domain::external::HEALTH_FIELD;
use lockstep_domain::request_path::{PathForm, PathReading, RequestPath};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::fields;
use crate::other_side::OtherSide;
use crate::refusal::{Body, Refusal};
use crate::way::{Outgoing, Way};

/// What is asked for nothing of a server in particular.
const ASTERISK: &str = "*";

/// Answers a request. What goes on after the answer is one of the tasks.
pub(crate) async fn answer(
    other_side: &Arc<OtherSide>,
    request: Request<Incoming>,
    tasks: &TaskTracker,
) -> Response<Body> {
    let answered =
        if is_probe(&request) { probe(other_side).await } else { pass(other_side, request, tasks).await };
    match answered {
        Ok(answer) => {
            other_side.note(None);
            answer
        }
        Err(refusal) => {
            if let Some(trouble) = refusal.trouble() {
                other_side.note(Some(trouble));
            }
            refusal.answer()
        }
    }
}

/// Tells whether it is asked whether the other side can be reached, and no more.
fn is_probe(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS
        && request.uri().path() == ASTERISK
        && request.headers().contains_key(HEALTH_FIELD)
}

async fn probe(other_side: &OtherSide) -> Result<Response<Body>, Refusal> {
    Way::open(other_side).await?;
    let nothing = Empty::new().map_err(|never| match never {});
    let mut answer = Response::new(UnsyncBoxBody::new(nothing));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

async fn pass(
    other_side: &Arc<OtherSide>,
    mut request: Request<Incoming>,
    tasks: &TaskTracker,
) -> Result<Response<Body>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "method", "CONNECT is not passed on"));
    }
    if fields::goes_in_circles(request.headers()) {
        let why = format!("the request goes in circles: {other_side} leads back to where it came from");
        return Err(Refusal::new(StatusCode::LOOP_DETECTED, "loop", why));
    }
    let client = fields::wants_websocket(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    parts.uri = uri(other_side, &parts.uri)?;
    fields::onward(&mut parts.headers, &other_side.reach.address().authority(), other_side.clients);
    if client.is_some() {
        fields::become_websocket(&mut parts.headers);
    }
    let answer = send(other_side, &parts, body, client.is_some()).await?;
    back(answer, client, tasks)
}

/// The path there. What comes from a gateway is written as the environment wants it already, and stays so.
fn uri(other_side: &OtherSide, asked: &Uri) -> Result<Uri, Refusal> {
    let bad = |why: String| Refusal::new(StatusCode::BAD_REQUEST, "path", why);
    if asked.path() == ASTERISK {
        return Ok(asked.clone());
    }
    let reading = || PathReading { form: PathForm::AsSent, ..PathReading::default() };
    let path = RequestPath::read(asked.path(), reading).map_err(|error| bad(error.to_string()))?;
    let path = path.sent();
    let query = asked.query().map(|query| format!("?{query}")).unwrap_or_default();
    let text = format!("{}{path}{query}", other_side.base);
    text.parse().map_err(|_| bad("the path cannot be sent".to_owned()))
}

async fn send(
    other_side: &Arc<OtherSide>,
    parts: &Parts,
    body: Incoming,
    is_websocket: bool,
) -> Result<Response<Incoming>, Refusal> {
    let is_repeatable = parts.method.is_idempotent() && body.is_end_stream() && !is_websocket;
    let (body, sent) = Sent::new(body);
    let answered = async {
        if is_repeatable && let Some(mut way) = other_side.ways.take() {
            let nothing = Empty::new().map_err(|never| match never {});
            // One that was idle may have been closed meanwhile.
            if let Ok(answer) = way.send(made(parts, UnsyncBoxBody::new(nothing))).await {
                way.keep(other_side);
                return Ok(answer);
            }
        }
        let mut way = Way::open(other_side).await?;
        let answer = way.send(made(parts, UnsyncBoxBody::new(body))).await?;
        if !is_websocket {
            way.keep(other_side);
        }
        Ok(answer)
    };
    tokio::select! {
        answered = answered => answered,
        limit = late(other_side.timeout, sent) => {
            let limit = limit.as_millis();
            Err(Refusal::too_late(format!("{other_side} did not begin an answer within {limit} ms")))
        }
    }
}

/// Waits until a request is sent and the time for its answer is over; for ever where there is no limit.
async fn late(limit: Option<Duration>, sent: oneshot::Receiver<()>) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    // An error says that the body is gone, which means the same.
    let _ = sent.await;
    sleep(limit).await;
    limit
}

fn made(parts: &Parts, body: Outgoing) -> Request<Outgoing> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    request
}

fn back(
    mut answer: Response<Incoming>,
    client: Option<OnUpgrade>,
    tasks: &TaskTracker,
) -> Result<Response<Body>, Refusal> {
    let is_switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let tunnel = match (is_switched, client) {
        (false, _) => None,
        (true, None) => {
            return Err(Refusal::bad_gateway("it switched protocols, and was not asked to"));
        }
        (true, Some(client)) => Some((client, hyper::upgrade::on(&mut answer))),
    };
    let (mut parts, body) = answer.into_parts();
    fields::back(&mut parts.headers);
    if let Some((client, there)) = tunnel {
        fields::become_websocket(&mut parts.headers);
        parts.headers.remove(CONTENT_LENGTH);
        tasks.spawn(carry(client, there));
    }
    let mut passed = Response::new(UnsyncBoxBody::new(body));
    *passed.status_mut() = parts.status;
    *passed.headers_mut() = parts.headers;
    Ok(passed)
}

/// Carries bytes both ways until one side ends.
async fn carry(client: OnUpgrade, there: OnUpgrade) {
    let (Ok(client), Ok(there)) = tokio::join!(client, there) else { return };
    let halves = |side: Upgraded| tokio::io::split(TokioIo::new(side));
    let ((mut from_client, mut to_client), (mut from_there, mut to_there)) = (halves(client), halves(there));
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_there) => {}
        _ = tokio::io::copy(&mut from_there, &mut to_client) => {}
    }
    // Whatever was written is on its way; both learn the end by the end of the connection.
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut to_client).await;
}

/// The body of a request, which says when all of it is sent.
struct Sent {
    body: Incoming,
    done: Option<oneshot::Sender<()>>,
}

impl Sent {
    fn new(body: Incoming) -> (Self, oneshot::Receiver<()>) {
        let (done, sent) = oneshot::channel();
        let done = (!body.is_end_stream()).then_some(done);
        (Self { body, done }, sent)
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.done = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
