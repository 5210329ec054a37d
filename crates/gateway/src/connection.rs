//! A client's connection: one request after the other is read, routed and handed to an [`Exchange`].

#[cfg(test)]
mod idle;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::answer::Asked;
use crate::buffers::Output;
use crate::deadline::Deadline;
use crate::environment::Environment;
use crate::exchange::{After, Course, Exchange, Facts, Head};
use crate::framing::{Body, Recode};
use crate::glimpse::Glimpse;
use crate::http2::{self, PREFACE};
use crate::mirror;
use crate::peer::Peer;
use crate::problem::{Next, Problem, Status};
use crate::report::Report;
use crate::request::{Onward, Request, fields};
use crate::way::{Desk, Notes, Reporting, Routed};
use crate::wire::Wire;
use crate::worker::Worker;

/// What the head for an instance is longer than the one of the client, in most cases.
const ADDED_TO_HEAD: usize = 512;
/// How long a client may take for the rest of a head when the gateway ends.
const REST_OF_HEAD: Duration = Duration::from_secs(1);
/// A request of which nothing is known.
const UNREAD: Asked = Asked {
    is_head: false,
    websocket: false,
    upgrade: None,
    minor: 1,
    is_call: false,
    web: None,
    waits_to_go_on: false,
};
/// A body that arrived with its head and is no longer than this is sent with the head.
const SENT_WITH_HEAD: u64 = 16 * 1_024;

/// A client's connection.
pub(crate) struct Connection {
    client: Wire,
    deadline: Deadline,
    desk: Desk,
    stop: CancellationToken,
    /// The head for the instance.
    head: Head,
    /// What goes to the client next.
    output: Output,
    notes: Notes,
    /// Whether nothing was served on it yet.
    is_new: bool,
}

/// What a client sent.
enum Step {
    Request(Box<Prepared>),
    /// It gets this answer.
    Refused(Refusal),
    /// It speaks HTTP/2.
    Http2,
    /// It left, or was idle for too long.
    Closed,
}

struct Refusal {
    problem: Problem,
    asked: Asked,
    next: Next,
}

/// A request that has a way.
struct Prepared {
    facts: Facts,
    routed: Routed,
}

/// How long a head may take to begin, and then its rest.
#[derive(Default)]
struct Pace {
    until: Option<Instant>,
    has_begun: bool,
    hurries: bool,
}

impl Pace {
    /// Returns until when a head must have begun: empty lines before it are no beginning, so they make that no later.
    fn idle_until(&mut self, limit: Duration) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + limit)
    }

    /// Returns until when the head must be there that may take so long from its first byte on.
    fn head_until(&mut self, limit: Duration) -> Instant {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.until = None;
        }
        *self.until.get_or_insert_with(|| Instant::now() + limit)
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn hurries(&self) -> bool {
        self.hurries
    }

    /// Shortens the time, because the gateway ends: half a head must not hold that up.
    fn hurry(&mut self) -> Instant {
        self.hurries = true;
        let last = Instant::now() + REST_OF_HEAD;
        *self.until.insert(self.until.map_or(last, |until| until.min(last)))
    }
}

enum Waited {
    Filled(usize),
    Stopped,
}

impl Connection {
    pub(crate) fn new(
        client: Wire,
        peer: Peer,
        environment: Arc<Environment>,
        worker: Arc<Worker>,
        stop: CancellationToken,
    ) -> Self {
        let deadline = Deadline::after(worker.timeouts.client_idle);
        let desk = Desk { peer, environment, worker };
        let (notes, head, output) = (desk.notes(), Head::Bytes(Vec::new()), Output::default());
        Self { client, deadline, desk, stop, head, output, notes, is_new: true }
    }

    /// Serves requests until the client leaves, does not follow the protocol, or the gateway ends, and one more when it leaves or
    /// the listener stops; `permit` is held until then.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` stores its arguments twice, for each idle connection"
    )]
    pub(crate) fn serve(mut self, permit: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send {
        async move {
            let _permit = permit;
            let worker = Arc::clone(&self.desk.worker);
            // A listener that stops ends a connection with its next answer; only the end of the gateway ends one that is idle.
            let mut closing = pin!(worker.departure.closing());
            loop {
                let after = match self.next_request(closing.as_mut()).await {
                    Step::Request(prepared) => self.exchange(prepared).await,
                    Step::Refused(refusal) => Box::pin(self.refuse(&refusal)).await,
                    Step::Http2 => {
                        let Self { client, desk, stop, .. } = self;
                        return Box::pin(http2::server::serve(client, desk, stop)).await;
                    }
                    Step::Closed => After::Close,
                };
                self.is_new = false;
                match after {
                    After::Keep => self.tidy(),
                    // Closing with bytes that were not read would destroy what is on its way.
                    After::Close if self.client.is_quiet() => return Box::pin(self.client.close()).await,
                    After::Reset => return self.client.reset(),
                    After::Close | After::Linger => return Box::pin(self.client.linger()).await,
                }
            }
        }
    }

    async fn next_request(&mut self, mut closing: Pin<&mut impl Future<Output = ()>>) -> Step {
        let mut pace = Pace::default();
        let mut line_ended = true;
        loop {
            if self.is_new && self.client.input.starts_with(PREFACE) {
                return Step::Http2;
            }
            // Its beginning is no request of HTTP/1.1, and never complete.
            let may_be =
                self.is_new && !self.client.input.is_empty() && PREFACE.starts_with(&self.client.input);
            // Whoever sends them without end is never waited for.
            if !may_be && self.skips_blank_lines() && pace.is_over() {
                return Step::Closed;
            }
            if !may_be && line_ended && !self.client.input.is_empty() {
                match self.prepare() {
                    Ok(Some(prepared)) => return Step::Request(prepared),
                    Ok(None) => {}
                    Err(refusal) => return Step::Refused(refusal),
                }
            }
            let before = self.client.input.len();
            match self.wait(&mut pace, closing.as_mut()).await {
                Some(Waited::Filled(read)) if read > 0 => {}
                Some(_) => return Step::Closed,
                None if before == 0 => return Step::Closed,
                None => return Step::Refused(self.unread(too_slow())),
            }
            // Reading a head anew for each piece of a line would let a slow client cost much time.
            line_ended = self.client.input[before..].contains(&b'\n');
        }
    }

    /// Waits for more of a request; `None` when it took too long.
    async fn wait(
        &mut self,
        pace: &mut Pace,
        mut closing: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Waited> {
        let idle = self.client.input.is_empty();
        self.deadline.set(if idle {
            pace.idle_until(self.desk.worker.timeouts.client_idle)
        } else {
            pace.head_until(self.desk.worker.timeouts.head)
        });
        let (client, deadline) = (&mut self.client, &mut self.deadline);
        let filled = std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = client.poll_fill(cx) {
                return Poll::Ready(Some(Waited::Filled(read.unwrap_or(0))));
            }
            if !pace.hurries() && closing.as_mut().poll(cx).is_ready() {
                if idle {
                    return Poll::Ready(Some(Waited::Stopped));
                }
                deadline.set(pace.hurry());
            }
            deadline.poll(cx).map(|()| None)
        });
        filled.await
    }

    /// Tells whether there were some.
    fn skips_blank_lines(&mut self) -> bool {
        let blank = self.client.input.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
        // RFC 9112 asks for patience with an empty line before a request.
        self.client.input.advance(blank);
        blank > 0
    }

    /// Reads a request, finds its way and writes its head for the instance.
    fn prepare(&mut self) -> Result<Option<Box<Prepared>>, Refusal> {
        let mut room = fields();
        let (length, mut request) =
            match Request::read(&self.client.input, &mut room, || self.desk.path_reading()) {
                Ok(Some(read)) => read,
                Ok(None) => return Ok(None),
                Err(problem) => return Err(self.unread(problem)),
            };
        let routed = self.desk.find_way(&request, &mut self.notes);
        let mut copy = None;
        let routed = routed.and_then(|routed| {
            request.switches = request.permitted(routed.policy.as_deref());
            request.is_for(routed.target().speaks_h2c())?;
            routed.limit(&mut request.body);
            self.head = head_for(&request, &routed, &self.desk.onward(&routed, &self.notes), length)?;
            let has_body = !request.body.is_done();
            copy = mirror::Plan::of(&request, &routed, (&self.desk, &self.notes), has_body);
            Ok(routed)
        });
        let mut facts = Facts::of(request, routed.as_ref().ok());
        facts.copy = copy;
        self.client.input.advance(length);
        match routed {
            Ok(routed) => Ok(Some(Box::new(self.with_body(facts, routed)?))),
            Err(problem) => Err(Refusal { problem, asked: facts.asked, next: facts.next() }),
        }
    }

    /// Refuses a request whose head cannot be taken.
    fn unread(&mut self, problem: Problem) -> Refusal {
        self.desk.note_refused(&mut self.notes, &Glimpse::of_bytes(&self.client.input));
        Refusal { problem, asked: UNREAD, next: Next::Close }
    }

    /// Puts a body that is already here behind the head: one send less, and the request can be sent again as a whole.
    fn with_body(&mut self, mut facts: Facts, routed: Routed) -> Result<Prepared, Refusal> {
        let here = self.client.input.len() as u64;
        let is_here = matches!(facts.body, Body::Length(length) if length <= here.min(SENT_WITH_HEAD));
        if is_here {
            let mut body = Vec::new();
            let place = if let Head::Bytes(head) = &mut self.head { head } else { &mut body };
            let before = place.len();
            let moved = facts.body.advance(&mut self.client.input, place, Recode::Plain);
            moved.map_err(|error| {
                let problem = Problem::new(Status::BadRequest, "bad_body", error.to_string());
                Refusal { problem, asked: facts.asked, next: Next::Close }
            })?;
            if facts.copy.is_some() {
                mirror::settle(&mut facts, Some((&place[before..], true)));
            }
            if let Head::Parts(_, early) = &mut self.head {
                *early = body.into();
            }
        } else if facts.copy.is_some() {
            mirror::settle(&mut facts, None);
        }
        Ok(Prepared { facts, routed })
    }

    /// Most connections are idle most of the time: what an exchange needs is only there while there is one.
    fn exchange(&mut self, prepared: Box<Prepared>) -> Pin<Box<impl Future<Output = After>>> {
        Box::pin(self.exchange_in_place(prepared))
    }

    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
    fn exchange_in_place(&mut self, prepared: Box<Prepared>) -> impl Future<Output = After> {
        async move {
            let Prepared { facts, routed } = *prepared;
            let delivery = routed.delivery();
            let mut reporting = Reporting::begin(&self.desk, &self.notes, &delivery, Report::begin());
            let (_place, _admitted) = (routed.place, routed.admitted);
            let mut exchange = Exchange {
                client: &mut self.client,
                deadline: &mut self.deadline,
                output: &mut self.output,
                head: &self.head,
                desk: &self.desk,
                notes: &self.notes,
                stop: &self.stop,
                facts,
                service: routed.service,
                affinity: routed.affinity,
                passage: routed.passage,
                waiting: routed.waiting,
                course: Course::default(),
                delivery: &delivery,
                report: reporting.report(),
            };
            let after = exchange.run(routed.pick).await;
            drop(exchange);
            let mut report = reporting.over();
            self.desk.account(&mut self.notes, &mut report);
            after
        }
    }

    async fn refuse(&mut self, refusal: &Refusal) -> After {
        let mut report = Report::begin();
        report.answers(&refusal.problem);
        let (asked, next) = (refusal.asked, refusal.next);
        refusal.problem.write(self.output.lend(), asked, next, self.notes.marks(None));
        report.grpc = refusal.asked.is_call.then(|| refusal.problem.grpc());
        report.bytes = self.output.bytes().len() as u64;
        self.desk.account(&mut self.notes, &mut report);
        let sent = self.client.send(self.output.bytes(), self.desk.worker.timeouts.stall).await;
        match (sent, refusal.next) {
            (Err(_), _) => After::Close,
            (Ok(()), Next::Keep) => After::Keep,
            (Ok(()), Next::Close) => After::Linger,
        }
    }

    /// Keeps nothing that only work needs; of what was read, an empty buffer goes back when the connection waits.
    fn tidy(&mut self) {
        self.output.give_back();
        self.head = Head::Bytes(Vec::new());
    }
}

/// Writes the head for the instance that is asked first, in what that speaks.
fn head_for(
    request: &Request<'_>,
    routed: &Routed,
    onward: &Onward<'_>,
    length: usize,
) -> Result<Head, Problem> {
    if request.call.is_some() || routed.target().speaks_h2c() {
        return Head::streams(request, onward, Bytes::new());
    }
    let mut head = Vec::with_capacity(length + ADDED_TO_HEAD);
    request.write(&mut head, onward);
    Ok(Head::Bytes(head))
}

fn too_slow() -> Problem {
    let detail = "the head of the request did not arrive in time";
    Problem::new(Status::RequestTimeout, "head_too_slow", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request moves it into its box once: with all that only some requests need it was 11 KB, a third of all instructions.
    #[test]
    fn what_every_request_is_served_by_is_small() {
        let size = size_of_future(Connection::exchange_in_place);
        assert!(size < 4_096, "{size}");
    }
}
