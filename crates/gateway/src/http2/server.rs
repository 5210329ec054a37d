//! A client's connection that carries many requests at once: each stream is one exchange, and a task of its own.
//!
//! Bounds: [`super::MAX_STREAMS`] streams at once, each with its window; heads as long as those of HTTP/1.1; floods of frames are
//! ended by the library below. What that cannot see are requests that are taken back as soon as an instance has been asked:
//! see [`Patience`].

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Method;
use http::request::Parts;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::StreamClient;
use super::lent::{Lent, Owned, lend};
use super::{CONNECTION_WINDOW, MAX_STREAMS, SEND_BUFFER, STREAM_WINDOW};
use crate::answer::Asked;
use crate::chunked::ChunkError;
use crate::deadline::Deadline;
use crate::exchange::{Course, Exchange, Facts, Head};
use crate::framing::Body;
use crate::glimpse::Glimpse;
use crate::grpc::is_call;
use crate::grpc_web::WebForm;
use crate::leaving::Delivery;
use crate::mirror;
use crate::outgoing::{Frames, Outgoing};
use crate::policy;
use crate::problem::{Marks, Next, Problem};
use crate::relay::AnswerSink;
use crate::report::{End, Report};
use crate::request::{MAX_HEAD, Request, join_cookies};
use crate::way::{Desk, Notes, Reporting, Routed};
use crate::wire::Wire;

/// How long the end of a connection may take when nothing is under way any more.
const FAREWELL: Duration = Duration::from_secs(5);
/// Requests that a client may take back in a second before their answers, and as many at once as ten seconds give: a
/// browser that leaves a page takes back some dozens, a program whose deadlines pass some hundreds.
const TAKEN_BACK: u32 = 100;
const TAKEN_BACK_AT_ONCE: u32 = 10 * TAKEN_BACK;

/// How many more requests a client may take back.
#[derive(Debug)]
struct Patience {
    taken_back: AtomicU32,
    since: Instant,
}

impl Patience {
    fn is_lost(&self) -> bool {
        let forgiven = self.since.elapsed().as_secs().saturating_mul(u64::from(TAKEN_BACK));
        u64::from(self.taken_back.load(Ordering::Relaxed)) > forgiven + u64::from(TAKEN_BACK_AT_ONCE)
    }
}

/// Serves streams until the client leaves, is idle for too long, or the listener stops.
pub(crate) async fn serve(wire: Wire, desk: Desk, stop: CancellationToken) {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .enable_connect_protocol()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD as u32)
        // What was taken back before it was looked at is as many as may be taken back at once.
        .max_pending_accept_reset_streams(TAKEN_BACK_AT_ONCE as usize)
        .max_send_buffer_size(SEND_BUFFER);
    let limit = desk.worker.timeouts.head;
    let (lent, wire) = lend(wire);
    let Ok(Ok(connection)) = timeout(limit, builder.handshake(lent)).await else { return };
    run(connection, &wire, Arc::new(desk), stop).await;
    if let Some(wire) = wire.take_back() {
        wire.linger().await;
    }
}

async fn run(
    mut connection: Connection<Lent, Bytes>,
    wire: &Owned,
    desk: Arc<Desk>,
    stop: CancellationToken,
) {
    let idle = desk.worker.timeouts.client_idle;
    let mut deadline = Deadline::after(idle);
    let patience = Arc::new(Patience { taken_back: AtomicU32::new(0), since: Instant::now() });
    // Its clients are told which of their requests were served; so their connection can end while they are idle.
    let worker = Arc::clone(&desk.worker);
    let (mut stopped, mut leaving) = (pin!(stop.cancelled()), pin!(worker.departure.leaving()));
    // Who comes while the gateway leaves is served once: who is sent away at once comes again at once.
    let (mut leaves, mut was_asked, mut taken) = (false, false, None);
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, answer))) = accepted else { return };
                was_asked = true;
                if patience.is_lost() {
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    continue;
                }
                if !leaves {
                    deadline.set(Instant::now() + idle);
                }
                let (desk, stop, patience) = (Arc::clone(&desk), stop.clone(), Arc::clone(&patience));
                desk.worker.clone().spawn(stream(request, answer, desk, stop, patience));
            }
            () = stopped.as_mut(), if !leaves => {
                leaves = true;
                connection.graceful_shutdown();
                deadline.set(Instant::now() + FAREWELL);
            }
            () = leaving.as_mut(), if !leaves && was_asked => {
                leaves = true;
                connection.graceful_shutdown();
                deadline.set(Instant::now() + FAREWELL);
            }
            // A stream whose end its client does not take is none that is under way.
            () = deadline.passed() => match (Arc::strong_count(&patience) > 1, leaves) {
                // What was answered may still be on its way to a client that takes it slowly.
                (false, true) if wire.is_taken_since(&mut taken) => deadline.set(Instant::now() + FAREWELL),
                (false, true) => return,
                (false, false) => {
                    leaves = true;
                    connection.graceful_shutdown();
                    deadline.set(Instant::now() + FAREWELL);
                }
                (true, _) => deadline.set(Instant::now() + if leaves { FAREWELL } else { idle }),
            },
        }
    }
}

/// A request that has a way.
struct Prepared {
    head: Head,
    facts: Facts,
    routed: Routed,
}

/// Serves one request.
fn stream(
    request: http::Request<RecvStream>,
    answer: SendResponse<Bytes>,
    desk: Arc<Desk>,
    stop: CancellationToken,
    patience: Arc<Patience>,
) -> Pin<Box<impl Future<Output = ()> + Send>> {
    Box::pin(async move {
        let (mut parts, body) = request.into_parts();
        join_cookies(&mut parts.headers);
        let mut client = StreamClient::new(body, answer);
        let mut notes = desk.notes();
        let mut report = Report::begin();
        let early = client.early(parts.method == Method::CONNECT);
        match prepare(&desk, &mut notes, &parts, early) {
            Ok(prepared) => {
                exchange(&mut client, &desk, &notes, &stop, prepared, &mut report).await;
                if matches!(report.end, End::BrokenOff | End::OutOfTime) {
                    client.fail().await;
                }
                if report.end == End::ClientLeft && report.status == 0 {
                    patience.taken_back.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err((problem, asked)) => {
                refuse(&mut client, &problem, (asked, notes.marks(None)), &desk, &mut report).await;
            }
        }
        desk.account(&mut notes, &mut report);
    })
}

/// Reads a request, finds its way and writes its head for the instance.
fn prepare(
    desk: &Desk,
    notes: &mut Notes,
    parts: &Parts,
    (early, is_all): (Bytes, bool),
) -> Result<Prepared, (Problem, Asked)> {
    let mut room = Vec::with_capacity(parts.headers.len());
    let ends = is_all && early.is_empty();
    let mut request = match Request::of_parts(parts, ends, &mut room, || desk.path_reading()) {
        Ok(request) => request,
        Err(problem) => {
            desk.note_refused(notes, &Glimpse::of_parts(parts));
            return Err((problem, asked_of(parts)));
        }
    };
    let routed = desk.find_way(&request, notes);
    let routed = routed.map_err(|problem| (problem, asked_of(parts)))?;
    let is_for = request.is_for(routed.target().speaks_h2c());
    is_for.map_err(|problem| (problem, asked_of(parts)))?;
    routed.limit(&mut request.body);
    if is_all && !early.is_empty() && request.call.is_none() {
        request.announce(early.len() as u64);
    }
    let limit = routed.body_limit();
    let early =
        take_early(&mut request.body, early, is_all, limit).map_err(|problem| (problem, asked_of(parts)))?;
    let copy = mirror::Plan::of(&request, &routed, (desk, notes), !ends).map(|plan| (plan, early.clone()));
    let onward = desk.onward(&routed, notes);
    let by_streams = request.call.is_some() || routed.target().speaks_h2c();
    let recode = request.recode();
    let head = if by_streams {
        Head::streams(&request, &onward, early)
    } else {
        Head::bytes(&request, &onward, &early, recode, is_all)
    };
    let head = head.map_err(|problem| (problem, asked_of(parts)))?;
    let mut facts = Facts::of(request, Some(&routed));
    if is_all {
        facts.body = Body::Done;
    }
    if let Some((plan, early)) = copy {
        facts.copy = Some(plan);
        mirror::settle(&mut facts, Some((&early, is_all)));
    }
    Ok(Prepared { head, facts, routed })
}

/// Reads what is here of a body.
fn take_early(body: &mut Body, early: Bytes, is_all: bool, limit: Option<u64>) -> Result<Bytes, Problem> {
    if limit.is_some_and(|limit| early.len() as u64 > limit) {
        return Err(policy::bad_body(ChunkError::TooLong, limit));
    }
    let read = body.read_piece(early).and_then(|early| {
        if is_all {
            body.may_end()?;
        }
        Ok(early)
    });
    read.map_err(|error| policy::bad_body(error, limit))
}

fn asked_of(parts: &Parts) -> Asked {
    let kind = parts.headers.get("content-type").map(http::HeaderValue::as_bytes).unwrap_or_default();
    let web = WebForm::read(kind).map(|(form, _)| form);
    let is_call = web.is_some() || is_call(kind);
    Asked {
        is_head: parts.method == Method::HEAD,
        websocket: false,
        upgrade: None,
        minor: 2,
        is_call,
        web,
        waits_to_go_on: false,
    }
}

async fn exchange(
    client: &mut StreamClient,
    desk: &Desk,
    notes: &Notes,
    stop: &CancellationToken,
    Prepared { head, facts, routed }: Prepared,
    report: &mut Report,
) {
    let (_place, _admitted) = (routed.place, routed.admitted);
    let (mut deadline, delivery) = (Deadline::after(facts.waits.answer), Delivery::default());
    let began = std::mem::replace(report, Report::begin());
    let mut reporting = Reporting::begin(desk, notes, &delivery, began);
    let mut exchange = Exchange {
        client,
        deadline: &mut deadline,
        output: &mut Frames::default(),
        head: &head,
        desk,
        notes,
        stop,
        facts,
        service: routed.service,
        affinity: routed.affinity,
        passage: routed.passage,
        waiting: routed.waiting,
        course: Course::default(),
        delivery: &delivery,
        report: reporting.report(),
    };
    // What happens to a connection afterwards is nothing to a stream.
    let _ = exchange.run(routed.pick).await;
    drop(exchange);
    *report = reporting.over();
}

async fn refuse(
    client: &mut StreamClient,
    problem: &Problem,
    (asked, marks): (Asked, Marks<'_>),
    desk: &Desk,
    report: &mut Report,
) {
    use crate::exchange::Client as _;
    report.answers(problem);
    report.grpc = asked.is_call.then(|| problem.grpc());
    let (mut output, mut body) = (Frames::default(), Body::Done);
    problem.write(output.lend(), asked, Next::Keep, marks);
    let (_, mut sink) = client.ends(&mut body);
    report.bytes = sink.send(&mut output, desk.worker.timeouts.stall).await.unwrap_or_default() as u64;
}
