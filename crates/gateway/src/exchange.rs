//! One request and its answer: asking an instance, asking another when that is safe, and passing the answer on.
//!
//! Invariant: each request that reached an arm is counted once for that arm, and nothing is sent twice unless the
//! method allows it or the instance cannot have begun to work on it.

mod facts;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::{AnswerHead, Asked, Verdict};
use crate::balance::{Pick, pick, pick_in};
use crate::config::Timeouts;
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::framing::{Body, Recode};
use crate::problem::{Next, Problem, Status};
use crate::relay::{ClientEnd, Flow, HearError, Limit, RelayError, Upload, client_side, hear, relay};
use crate::table::{Outcome, ServiceTargets, Target, WorkerTable};
use crate::wire::{Wire, tunnel};
use crate::worker::Worker;

pub(crate) use facts::{After, Facts, Repeat};

/// Instances that one request tries before it is given up.
const MAX_TRIES: usize = 4;
/// A client that leaves after waiting this long for an answer was failed by the arm; one that leaves earlier was not.
const PATIENCE: Duration = Duration::from_secs(3);

/// One request and its answer.
pub(crate) struct Exchange<'c> {
    pub(crate) client: &'c mut Wire,
    pub(crate) deadline: &'c mut Deadline,
    pub(crate) output: &'c mut Vec<u8>,
    /// The head for the instance, with the body behind it when that was short and there.
    pub(crate) head: &'c [u8],
    pub(crate) worker: &'c Worker,
    pub(crate) table: &'c ArcSwapOption<WorkerTable>,
    pub(crate) key: &'c [u8],
    pub(crate) stop: &'c CancellationToken,
    pub(crate) facts: Facts,
    pub(crate) service: Arc<ServiceTargets>,
    pub(crate) tried: Vec<Arc<Endpoint>>,
}

/// Asking one instance.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    endpoint: &'a Endpoint,
    target: &'a Target,
    /// The arm on trial that failed before.
    shielded: Option<&'a str>,
    /// Whether a failed answer is held back, so that the stable arm can be asked.
    may_hold: bool,
}

/// How asking an instance went.
enum Asking {
    /// The answer was passed on.
    Passed(After),
    /// The answer is here but not passed on: a failed one, or a switch of protocols.
    Held(Held),
}

/// An answer that was not passed on.
struct Held {
    upstream: Wire,
    head: AnswerHead,
    output: Vec<u8>,
}

/// What was heard on a connection, which stays with its owner.
enum Talk {
    Passed(After, Reuse),
    Hold(AnswerHead),
}

/// Whether a connection to an instance can serve another request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Yes,
    No,
}

/// Whether a connection served a request before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Kept,
    New,
}

/// Why an instance gave no answer that could be passed on.
#[derive(Debug)]
enum Failure {
    /// No connection; it was not asked.
    Unreachable(io::Error),
    /// It had closed a connection from before, and it is safe to ask on another.
    Stale,
    /// It closed the connection or answered what is not HTTP.
    Broken(String),
    /// It said nothing in time.
    Silent,
    /// The client is at fault or gone.
    Client(ClientEnd),
}

/// The attempt with an arm on trial that the client does not get to see.
struct Shielded {
    label: String,
    /// Its answer, in case the stable arm has none, and the request that still counts as under way there.
    held: Option<(Held, Pick)>,
}

impl Exchange<'_> {
    /// Asks the instance that was picked, and others while that is safe and useful.
    pub(crate) async fn run(mut self, first: Pick) -> After {
        let began = Instant::now();
        let mut pick = first;
        let mut shielded: Option<Shielded> = None;
        loop {
            let service = Arc::clone(&self.service);
            let target = &service.targets[pick.target];
            let may_hold = self.facts.shieldable && shielded.is_none() && service.shields(pick.target);
            let label = shielded.as_ref().map(|it| it.label.as_str());
            let attempt = Attempt { endpoint: pick.lease.endpoint(), target, shielded: label, may_hold };
            let failure = match self.ask(attempt).await {
                Ok(Asking::Passed(after)) => return after,
                Ok(Asking::Held(held)) if held.head.is_switch() => return self.switch(held, attempt).await,
                Ok(Asking::Held(held)) => {
                    target.tally.count(Outcome::Failed);
                    let Some(stable) = self.stable() else { return self.release(held, attempt).await };
                    let former = std::mem::replace(&mut pick, stable);
                    shielded = Some(Shielded { label: target.label.clone(), held: Some((held, former)) });
                    continue;
                }
                Err(Failure::Client(end)) => return self.client_failed(&end, target, began).await,
                Err(failure) => failure,
            };
            let asked = !matches!(failure, Failure::Unreachable(_));
            if asked {
                target.tally.count(Outcome::Failed);
            }
            self.tried.push(Arc::clone(pick.lease.endpoint()));
            let stable = if may_hold && asked { self.stable() } else { None };
            if stable.is_some() {
                shielded = Some(Shielded { label: target.label.clone(), held: None });
            }
            match stable.or_else(|| self.another(&pick, &failure, shielded.is_some())) {
                Some(next) => pick = next,
                None => return self.give_up(&failure, &service, target, shielded).await,
            }
        }
    }

    /// Picks an instance of the stable arm.
    fn stable(&self) -> Option<Pick> {
        pick_in(&self.service, self.service.stable()?, &self.tried, &self.worker.random)
    }

    /// Picks another instance after a failure, if it may be asked.
    fn another(&mut self, failed: &Pick, failure: &Failure, shielded: bool) -> Option<Pick> {
        let unreachable = matches!(failure, Failure::Unreachable(_));
        let safe = unreachable || (matches!(failure, Failure::Broken(_)) && self.is_repeatable());
        if !safe || self.tried.len() >= MAX_TRIES {
            return None;
        }
        let same_arm = pick_in(&self.service, failed.target, &self.tried, &self.worker.random);
        if same_arm.is_some() || shielded || !unreachable {
            return same_arm;
        }
        pick(&self.service, failed.target, &self.tried, &self.worker.random).or_else(|| self.routed_anew())
    }

    /// Picks from the table of this moment: the instances of the one before may all have left.
    fn routed_anew(&mut self) -> Option<Pick> {
        let table = self.table.load_full()?;
        let service = Arc::clone(table.services.get(&self.service.service)?);
        let picked = pick(&service, service.choose(self.key)?, &self.tried, &self.worker.random);
        self.service = service;
        picked
    }

    fn is_repeatable(&self) -> bool {
        self.facts.repeat == Repeat::Freely && self.facts.body.is_done()
    }

    async fn ask(&mut self, attempt: Attempt<'_>) -> Result<Asking, Failure> {
        // Before a request that must not be sent twice the system is asked whether the connection is open.
        let fit = |wire: &Wire| self.is_repeatable() || wire.is_quiet_now();
        if let Some(kept) = attempt.endpoint.take_idle().filter(fit) {
            match self.converse(kept, Origin::Kept, attempt).await {
                Err(Failure::Stale) => {}
                other => return other,
            }
        }
        let new = self.connect(attempt.endpoint).await.map_err(Failure::Unreachable)?;
        self.converse(new, Origin::New, attempt).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Wire> {
        let connecting = timeout(self.worker.timeouts.connect, TcpStream::connect(endpoint.address)).await;
        let connected = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match &connected {
            Ok(_) => endpoint.connected(),
            Err(_) => endpoint.refused(),
        }
        connected.map(Wire::new)
    }

    /// Sends the request on a connection, hears the answer and passes it on.
    async fn converse(
        &mut self,
        mut upstream: Wire,
        origin: Origin,
        attempt: Attempt<'_>,
    ) -> Result<Asking, Failure> {
        self.output.clear();
        if let Err(error) = upstream.send(self.head, self.worker.timeouts.stall).await {
            return Err(if origin == Origin::Kept {
                Failure::Stale
            } else {
                Failure::Broken(error.to_string())
            });
        }
        self.ask_for_body().await?;
        let repeatable = self.is_repeatable();
        match self.talk(&mut upstream, attempt).await {
            Ok(Talk::Passed(after, reuse)) => {
                if reuse == Reuse::Yes && upstream.input.is_empty() {
                    attempt.endpoint.keep(upstream);
                }
                Ok(Asking::Passed(after))
            }
            Ok(Talk::Hold(head)) => {
                Ok(Asking::Held(Held { upstream, head, output: std::mem::take(self.output) }))
            }
            Err(HearError::Closed) if origin == Origin::Kept && repeatable => Err(Failure::Stale),
            Err(HearError::Silent) => Err(Failure::Silent),
            Err(HearError::Client(end)) => Err(Failure::Client(end)),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }

    /// Tells a client that waits for it to send the body.
    async fn ask_for_body(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.facts.expects_continue) || !self.client.input.is_empty() {
            return Ok(());
        }
        let sent = self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n", self.worker.timeouts.stall).await;
        sent.map_err(|_| Failure::Client(ClientEnd::Gone))
    }

    async fn talk(&mut self, upstream: &mut Wire, attempt: Attempt<'_>) -> Result<Talk, HearError> {
        let Timeouts { stall, answer, .. } = self.worker.timeouts;
        let (asked, persistent, target) = (self.facts.asked, self.facts.persistent, attempt.target);
        let upload = Upload::of(&self.facts.body);
        let (from_client, client_input, mut to_client) = self.client.parts();
        let (mut from_upstream, input, to_upstream) = upstream.parts();
        let (body, recode) = (&mut self.facts.body, self.facts.recode);
        let side = client_side(from_client, client_input, (body, recode), to_upstream, &upload, stall);
        let mut side = pin!(side);
        let limit = Limit { upload: &upload, answer, deadline: self.deadline };
        let head = hear(side.as_mut(), &mut from_upstream, input, self.output, asked, limit).await?;
        if head.is_switch() || (attempt.may_hold && head.is_failure()) {
            return Ok(Talk::Hold(head));
        }
        target.tally.count(if head.is_failure() { Outcome::Failed } else { Outcome::Served });
        let open = persistent && upload.is_whole() && !self.stop.is_cancelled();
        let flow =
            Flow { upstream: &mut from_upstream, input, output: self.output, client: &mut to_client, stall };
        let reusable = head.reusable;
        let after = pass(side, flow, head, asked, open, attempt).await;
        let after = if upload.is_whole() { after } else { After::Linger };
        Ok(Talk::Passed(after, if reusable && upload.is_whole() { Reuse::Yes } else { Reuse::No }))
    }

    /// Passes on a failed answer after all: there was no better one.
    async fn release(&mut self, held: Held, attempt: Attempt<'_>) -> After {
        let Held { mut upstream, head, output } = held;
        *self.output = output;
        let upload = Upload::of(&Body::Done);
        let stall = self.worker.timeouts.stall;
        let open = self.facts.persistent && !self.stop.is_cancelled();
        let (from_client, client_input, mut to_client) = self.client.parts();
        let (mut from_upstream, input, to_upstream) = upstream.parts();
        let mut done = Body::Done;
        let body = (&mut done, Recode::Plain);
        let side = pin!(client_side(from_client, client_input, body, to_upstream, &upload, stall));
        let flow =
            Flow { upstream: &mut from_upstream, input, output: self.output, client: &mut to_client, stall };
        pass(side, flow, head, self.facts.asked, open, attempt).await
    }

    /// Passes the switch of protocols on, and then all bytes of both sides.
    async fn switch(&mut self, held: Held, attempt: Attempt<'_>) -> After {
        let Held { mut upstream, head, mut output } = held;
        attempt.target.tally.count(Outcome::Served);
        let verdict = Verdict { version: &attempt.target.label, shielded: attempt.shielded };
        head.finish(&mut output, self.facts.asked, Next::Keep, verdict);
        if self.client.send(&output, self.worker.timeouts.stall).await.is_ok() {
            // How a tunnel ends is between its two ends.
            let _ = tunnel(self.client, &mut upstream).await;
        }
        After::Close
    }

    /// Ends a request whose client left or sent a body that cannot be read.
    async fn client_failed(&mut self, end: &ClientEnd, target: &Target, began: Instant) -> After {
        let problem = match end {
            ClientEnd::Gone => {
                let failed = began.elapsed() >= PATIENCE;
                target.tally.count(if failed { Outcome::Failed } else { Outcome::Served });
                return After::Close;
            }
            ClientEnd::Body(error) => Problem::new(Status::BadRequest, "bad_body", error.to_string()),
            ClientEnd::Stalled => Problem::new(Status::RequestTimeout, "body_stalled", end.to_string()),
        };
        self.answer(&problem, Next::Close).await
    }

    /// Answers for an arm that did not.
    async fn give_up(
        &mut self,
        failure: &Failure,
        service: &ServiceTargets,
        target: &Target,
        shielded: Option<Shielded>,
    ) -> After {
        if let Some(Shielded { held: Some((held, pick)), .. }) = shielded {
            let target = &service.targets[pick.target];
            let attempt =
                Attempt { endpoint: pick.lease.endpoint(), target, shielded: None, may_hold: false };
            return self.release(held, attempt).await;
        }
        let problem = match failure {
            Failure::Unreachable(error) => {
                let detail = format!("no instance of `{}` can be reached: {error}", service.service);
                Problem::new(Status::Unavailable, "unreachable", detail).hint("see `lockstep status`")
            }
            Failure::Silent => {
                Problem::new(Status::GatewayTimeout, "no_answer", "the instance did not answer in time")
            }
            Failure::Broken(why) => Problem::new(
                Status::BadGateway,
                "bad_answer",
                format!("the instance gave no valid answer: {why}"),
            ),
            Failure::Stale | Failure::Client(_) => {
                Problem::new(Status::BadGateway, "bad_answer", "the instance closed the connection")
            }
        };
        let next = if self.stop.is_cancelled() { Next::Close } else { self.facts.next() };
        self.answer(&problem.of_version(&target.label), next).await
    }

    async fn answer(&mut self, problem: &Problem, next: Next) -> After {
        self.output.clear();
        problem.write(self.output, self.facts.asked.is_head, next);
        match (self.client.send(self.output, self.worker.timeouts.stall).await, next) {
            (Err(_), _) => After::Close,
            (Ok(()), Next::Keep) => After::Keep,
            (Ok(()), Next::Close) => After::Linger,
        }
    }
}

/// Finishes the head of an answer and passes the answer on.
async fn pass<R, W>(
    side: Pin<&mut impl Future<Output = ClientEnd>>,
    flow: Flow<'_, R, W>,
    mut head: AnswerHead,
    asked: Asked,
    open: bool,
    attempt: Attempt<'_>,
) -> After
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let next = if open && !head.needs_close(asked) { Next::Keep } else { Next::Close };
    let verdict = Verdict { version: &attempt.target.label, shielded: attempt.shielded };
    head.finish(flow.output, asked, next, verdict);
    let recode = head.recode(asked);
    match (relay(side, flow, (&mut head.body, recode)).await, next) {
        (Ok(()), Next::Keep) => After::Keep,
        (Ok(()), Next::Close) | (Err(RelayError::Client), _) => After::Close,
        (Err(RelayError::Cut | RelayError::Body(_)), _) => {
            if !head.is_failure() {
                attempt.target.tally.turned_bad();
            }
            After::Close
        }
    }
}
