//! A client's connection: one request after the other is read, routed and handed to an [`Exchange`].

mod account;
#[cfg(test)]
mod idle;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Buf;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::Matched;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::affinity::Affinity;
use crate::answer::Asked;
use crate::balance::{Pick, Search, pick};
use crate::buffers::Output;
use crate::deadline::Deadline;
use crate::environment::Environment;
use crate::exchange::{After, Course, Exchange, Facts};
use crate::framing::{Body, Recode};
use crate::moment::Moment;
use crate::peer::{Origin, Peer};
use crate::problem::{Next, Problem, Status};
use crate::repeat::Repeat;
use crate::report::Report;
use crate::request::{Onward, Request, fields};
use crate::table::{Choice, ServiceTargets};
use crate::trace::{made_id, new_traceparent};
use crate::trial::Class;
use crate::version_rules;
use crate::waits::Waits;
use crate::wire::Wire;
use crate::worker::Worker;

/// How often a request is routed again because the table changed under it.
const MAX_TABLE_CHANGES: usize = 4;
/// What the head for an instance is longer than the one of the client, in most cases.
const ADDED_TO_HEAD: usize = 512;
/// How long a client may take for the rest of a head when the listener stops.
const REST_OF_HEAD: Duration = Duration::from_secs(1);
/// A body that arrived with its head and is no longer than this is sent with the head.
const SENT_WITH_HEAD: u64 = 16 * 1_024;

/// A client's connection.
pub(crate) struct Connection {
    client: Wire,
    deadline: Deadline,
    peer: Peer,
    environment: Arc<Environment>,
    worker: Arc<Worker>,
    stop: CancellationToken,
    /// The head for the instance.
    head: Vec<u8>,
    /// What goes to the client next.
    output: Output,
    key: Vec<u8>,
    /// The rules that take the request.
    rules: Vec<u64>,
    traceparent: String,
    /// What the request was, for the access log; made only where there is one.
    asked: Option<Box<access::Asked>>,
}

/// What a client sent.
enum Step {
    Request(Box<Prepared>),
    /// It gets this answer.
    Refused(Refusal),
    /// It left, or was idle for too long.
    Closed,
}

struct Refusal {
    problem: Problem,
    is_head: bool,
    next: Next,
}

/// A request that has a way.
struct Prepared {
    facts: Facts,
    routed: Routed,
}

struct Routed {
    service: Arc<ServiceTargets>,
    affinity: Option<Box<Affinity>>,
    pick: Pick,
    strip: usize,
    waits: Waits,
    class: Class,
    ruled: bool,
}

/// How long the rest of a head may take.
#[derive(Default)]
struct Pace {
    until: Option<Instant>,
    hurries: bool,
}

impl Pace {
    /// Returns until when the head must be there that may take so long from its first byte on.
    fn head_until(&mut self, limit: Duration) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + limit)
    }

    fn hurries(&self) -> bool {
        self.hurries
    }

    /// Shortens the time, because the listener stops: half a head must not hold the end up.
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
        let (head, output, key, rules, traceparent) = <(_, Output, _, _, _)>::default();
        let asked = worker.access.as_ref().map(|_| Box::default());
        Self {
            client,
            deadline,
            peer,
            environment,
            worker,
            stop,
            head,
            output,
            key,
            rules,
            traceparent,
            asked,
        }
    }

    /// Serves requests until the client leaves, does not follow the protocol, or the listener stops; `permit` is held
    /// until then.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` stores its arguments twice, for each idle connection"
    )]
    pub(crate) fn serve(mut self, permit: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send {
        async move {
            let _permit = permit;
            let stop = self.stop.clone();
            let mut stopped = pin!(stop.cancelled());
            loop {
                let after = match self.next_request(stopped.as_mut()).await {
                    Step::Request(prepared) => self.exchange(*prepared).await,
                    Step::Refused(refusal) => Box::pin(self.refuse(&refusal)).await,
                    Step::Closed => return,
                };
                match after {
                    After::Keep => self.tidy(),
                    After::Close => return,
                    After::Reset => return self.client.reset(),
                    After::Linger => return Box::pin(self.client.linger()).await,
                }
            }
        }
    }

    async fn next_request(&mut self, mut stopped: Pin<&mut impl Future<Output = ()>>) -> Step {
        let mut pace = Pace::default();
        let mut line_ended = true;
        loop {
            self.skip_blank_lines();
            if line_ended && !self.client.input.is_empty() {
                match self.prepare() {
                    Ok(Some(prepared)) => return Step::Request(prepared),
                    Ok(None) => {}
                    Err(refusal) => return Step::Refused(refusal),
                }
            }
            let before = self.client.input.len();
            match self.wait(&mut pace, stopped.as_mut()).await {
                Some(Waited::Filled(read)) if read > 0 => {}
                Some(_) => return Step::Closed,
                None if before == 0 => return Step::Closed,
                None => return Step::Refused(too_slow()),
            }
            // Reading a head anew for each piece of a line would let a slow client cost much time.
            line_ended = self.client.input[before..].contains(&b'\n');
        }
    }

    /// Waits for more of a request; `None` when it took too long.
    async fn wait(
        &mut self,
        pace: &mut Pace,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Waited> {
        let idle = self.client.input.is_empty();
        self.deadline.set(if idle {
            Instant::now() + self.worker.timeouts.client_idle
        } else {
            pace.head_until(self.worker.timeouts.head)
        });
        let (client, deadline) = (&mut self.client, &mut self.deadline);
        let filled = std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = client.poll_fill(cx) {
                return Poll::Ready(Some(Waited::Filled(read.unwrap_or(0))));
            }
            if !pace.hurries() && stopped.as_mut().poll(cx).is_ready() {
                if idle {
                    return Poll::Ready(Some(Waited::Stopped));
                }
                deadline.set(pace.hurry());
            }
            deadline.poll(cx).map(|()| None)
        });
        filled.await
    }

    fn skip_blank_lines(&mut self) {
        let blank = self.client.input.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
        // RFC 9112 asks for patience with an empty line before a request.
        self.client.input.advance(blank);
    }

    /// Reads a request, finds its way and writes its head for the instance.
    fn prepare(&mut self) -> Result<Option<Box<Prepared>>, Refusal> {
        let mut room = fields();
        let read = Request::read(&self.client.input, &mut room);
        let read = read.map_err(|problem| Refusal { problem, is_head: false, next: Next::Close })?;
        let Some((length, request)) = read else { return Ok(None) };
        self.traceparent.clear();
        if !request.traced {
            new_traceparent(&self.worker.random, &mut self.traceparent);
        }
        let origin = self.origin(&request);
        let queries = self.worker.access.as_ref().is_some_and(|log| log.has_queries());
        Self::remember(self.asked.as_deref_mut(), &request, origin.as_ref(), &self.traceparent, queries);
        self.key.clear();
        let caller = origin.as_ref().map_or(Caller::Outside, |origin| origin.caller);
        let given = request.key(caller);
        let key_is_new = given.is_none();
        self.key.extend_from_slice(given.unwrap_or_else(|| made_id(&self.traceparent).as_bytes()));
        if let Some(table) = self.environment.table(self.worker.index).load().as_ref() {
            version_rules::note(&mut self.rules, table, &request, caller);
        }
        let routed = origin.and_then(|origin| self.route(&request, origin, !key_is_new));
        self.head = Vec::with_capacity(length + ADDED_TO_HEAD);
        if let Ok(routed) = &routed {
            let new_traceparent = Some(self.traceparent.as_str()).filter(|it| !it.is_empty());
            let (strip, peer, key, rules) =
                (routed.strip, &self.peer, self.key.as_slice(), self.rules.as_slice());
            request.write(&mut self.head, &Onward { strip, peer, caller, key, rules, new_traceparent });
        }
        let facts = facts(request, routed.as_ref().ok(), key_is_new);
        self.client.input.advance(length);
        match routed {
            Ok(routed) => Ok(Some(Box::new(self.with_body(facts, routed)?))),
            Err(problem) => Err(Refusal { problem, is_head: facts.asked.is_head, next: facts.next() }),
        }
    }

    /// Puts a body that is already here behind the head: one send less, and the request can be sent again as a whole.
    fn with_body(&mut self, mut facts: Facts, routed: Routed) -> Result<Prepared, Refusal> {
        let here = self.client.input.len() as u64;
        let is_here = matches!(facts.body, Body::Length(length) if length <= here.min(SENT_WITH_HEAD));
        if is_here {
            let moved = facts.body.advance(&mut self.client.input, &mut self.head, Recode::Plain);
            moved.map_err(|error| {
                let problem = Problem::new(Status::BadRequest, "bad_body", error.to_string());
                Refusal { problem, is_head: facts.asked.is_head, next: Next::Close }
            })?;
        }
        Ok(Prepared { facts, routed })
    }

    fn origin(&self, request: &Request<'_>) -> Result<Origin, Problem> {
        let table = self.environment.table(self.worker.index).load();
        self.peer.origin(&table.as_ref().ok_or_else(no_table)?.routes, &request.path)
    }

    /// Finds the way of a request; `given` is whether it came with its key.
    fn route(
        &self,
        request: &Request<'_>,
        Origin { caller, token }: Origin,
        given: bool,
    ) -> Result<Routed, Problem> {
        let key = Some(self.key.as_slice()).filter(|_| given);
        let (host, path) = (request.authority.host(), &request.path[token..]);
        let path = if path.is_empty() { "/" } else { path };
        let slot = self.environment.table(self.worker.index);
        let mut service_name = None;
        for _ in 0..MAX_TABLE_CHANGES {
            let table = slot.load();
            let Some(table) = table.as_ref() else { return Err(no_table()) };
            let matched = match self.peer.calls() {
                Some(service) => Matched::named(service, 0),
                None => table.routes.find(host, path, caller).ok_or_else(|| no_route(host, path))?,
            };
            let Some(service) = table.services.get(matched.service) else {
                service_name = Some(matched.service.clone());
                break;
            };
            let choice = service.choose(&self.key, &self.rules).unwrap_or(Choice { target: 0, ruled: false });
            let affinity = match matched.rule {
                Some(rule) => rule.affinity.map(|_| Affinity::by_cookie(request, caller, &rule.path, key)),
                None => key.filter(|_| service.keeps_clients).map(Affinity::by_key),
            };
            let affinity = affinity.map(Box::new);
            let random = &self.worker.random;
            let search = Search { tried: &[], affinity: affinity.as_deref(), random, now: Moment::now() };
            if let Some(pick) = pick(service, choice.target, search) {
                let waits = Waits::of(&self.worker.timeouts, table.routes.rules(), matched.patience());
                let (service, strip) = (Arc::clone(service), token + matched.strip);
                let class = service.classify(request.method, &request.path[strip..]);
                return Ok(Routed { service, affinity, pick, strip, waits, class, ruled: choice.ruled });
            }
            // Either there is none, or those there were have just left the table.
            service_name = Some(matched.service.clone());
        }
        let name = service_name.map(|it| it.to_string()).unwrap_or_default();
        let detail = format!("no instance of `{name}` takes requests");
        Err(Problem::new(Status::Unavailable, "no_instance", detail).hint("see `lockstep status`"))
    }

    /// Most connections are idle most of the time: what an exchange needs is only there while there is one.
    fn exchange(&mut self, prepared: Prepared) -> Pin<Box<impl Future<Output = After>>> {
        Box::pin(async move {
            let Prepared { facts, routed } = prepared;
            let mut report = Report::begin();
            let exchange = Exchange {
                client: &mut self.client,
                deadline: &mut self.deadline,
                output: &mut self.output,
                head: &self.head,
                worker: &self.worker,
                table: self.environment.table(self.worker.index),
                key: &self.key,
                rules: &self.rules,
                stop: &self.stop,
                facts,
                service: routed.service,
                affinity: routed.affinity,
                budget: self.environment.repeats(),
                course: Course::default(),
                failures: self.environment.failures(),
                report: &mut report,
            };
            let after = exchange.run(routed.pick).await;
            self.account(&report);
            after
        })
    }

    async fn refuse(&mut self, refusal: &Refusal) -> After {
        let mut report = Report::begin();
        report.answers(&refusal.problem);
        refusal.problem.write(self.output.lend(), refusal.is_head, refusal.next);
        report.bytes = self.output.bytes().len() as u64;
        self.account(&report);
        let sent = self.client.send(self.output.bytes(), self.worker.timeouts.stall).await;
        match (sent, refusal.next) {
            (Err(_), _) => After::Close,
            (Ok(()), Next::Keep) => After::Keep,
            (Ok(()), Next::Close) => After::Linger,
        }
    }

    /// Keeps nothing that only work needs; of what was read, an empty buffer goes back when the connection waits.
    fn tidy(&mut self) {
        self.output.give_back();
        self.head = Vec::new();
    }
}

fn facts(request: Request<'_>, routed: Option<&Routed>, key_is_new: bool) -> Facts {
    let is_head = request.method == "HEAD";
    let ruled = routed.is_some_and(|routed| routed.ruled);
    let bodiless = request.body.is_done();
    let idempotent = matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
    Facts {
        asked: Asked { is_head, websocket: request.websocket, minor: request.minor },
        repeat: if idempotent && bodiless { Repeat::Once } else { Repeat::IfUnsent },
        // Whom a rule sends to a version wants to see how that one does.
        shieldable: bodiless && matches!(request.method, "GET" | "HEAD") && !ruled,
        ruled,
        recode: if matches!(request.body, Body::Chunked(_)) { Recode::Chunks } else { Recode::Plain },
        waits_to_go_on: request.waits_to_go_on(),
        persistent: request.persistent,
        body_is_expected: bodiless
            || !matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "DELETE"),
        waits: routed.map_or(Waits::NONE, |routed| routed.waits),
        class: routed.map(|routed| routed.class).unwrap_or_default(),
        key_is_new,
        body: request.body,
    }
}

fn too_slow() -> Refusal {
    let problem = Problem::new(
        Status::RequestTimeout,
        "head_too_slow",
        "the head of the request did not arrive in time",
    );
    Refusal { problem, is_head: false, next: Next::Close }
}

fn no_table() -> Problem {
    Problem::new(Status::Unavailable, "no_table", "the gateway has no route table of this environment yet")
        .hint("it gets one with the first deployment; see `lockstep status`")
}

fn no_route(host: Option<&str>, path: &str) -> Problem {
    let path: String = path.chars().take(200).collect();
    let detail = format!("no route takes `{path}` on host `{}`", host.unwrap_or_default());
    Problem::new(Status::NotFound, "no_route", detail)
        .hint("routes come from `[[route]]` in lockstep.toml; `/@SERVICE/` is for instances unless the environment opens it")
}
