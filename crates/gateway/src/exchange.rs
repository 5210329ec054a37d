//! One request and its answer: asking an instance, asking another when that is safe, and passing the answer on.
//!
//! Invariant: each request that reached an arm is counted once for that arm. What may be asked again, and of whom, is
//! decided by [`next_step`] alone.

mod facts;

use std::fmt::Display;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::affinity::Affinity;
use crate::answer::{AnswerHead, Asked, Verdict, is_failure};
use crate::balance::{Pick, Search, note_failure, pick, pick_in};
use crate::buffers::Output;
use crate::deadline::Deadline;
use crate::endpoint::{Endpoint, Lease};
use crate::failures::Cause;
use crate::forerun::Forerun;
use crate::latency::Sample;
use crate::leaving::Delivery;
use crate::loan::{Loan, Origin, Whole};
use crate::moment::{Moment, micros};
use crate::problem::{Next, Problem, Status};
use crate::relay::{ClientEnd, Flow, Limit, RelayError, client_side, hear, relay};
use crate::repeat::{Cost, Counted, Loss, Past, Repeat, Step, next_step};
use crate::reply::HearError;
use crate::report::{End, Report};
use crate::table::{Outcome, ServiceTargets, Target};
use crate::trial::{Class, Key, Meter, Seen, Tap};
use crate::tunnel::TunnelEnd;
use crate::upload::SendError;
use crate::waits::{STREAM, Waits};
use crate::way::{Desk, Notes};
use crate::wire::Wire;

pub(crate) use facts::{After, Facts};

/// A client that leaves after waiting this long for an answer was failed by the arm; one that leaves earlier was not.
const PATIENCE: Duration = Duration::from_secs(3);

/// One request and its answer.
pub(crate) struct Exchange<'c> {
    pub(crate) client: &'c mut Wire,
    pub(crate) deadline: &'c mut Deadline,
    pub(crate) output: &'c mut Output,
    /// The head for the instance, with the body behind it when that was short and there.
    pub(crate) head: &'c [u8],
    pub(crate) desk: &'c Desk,
    pub(crate) notes: &'c Notes,
    pub(crate) stop: &'c CancellationToken,
    pub(crate) facts: Facts,
    pub(crate) service: Arc<ServiceTargets>,
    /// Where the client is to be kept at one instance.
    pub(crate) affinity: Option<Box<Affinity>>,
    pub(crate) course: Course<'c>,
    pub(crate) report: &'c mut Report,
}

/// What became of a request so far.
#[derive(Default)]
pub(crate) struct Course<'c> {
    tried: Vec<Arc<Endpoint>>,
    repeated: bool,
    /// Counts the request for the budget of repeats.
    under_way: Option<Counted<'c>>,
    /// The part of the budget that the repeat takes.
    permit: Option<Counted<'c>>,
    /// The arm on trial that failed and for which the stable one is asked.
    shielded: Option<String>,
    /// How the first instance that read the request failed, in case no other does better.
    lost: Option<Lost>,
}

/// A request that an instance read in vain.
struct Lost {
    service: Arc<ServiceTargets>,
    /// Index of the arm in the service's targets.
    target: usize,
    endpoint: Arc<Endpoint>,
    how: Failure,
}

/// What asking one instance depends on.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    target: &'a Target,
    endpoint: &'a Arc<Endpoint>,
    /// The arm on trial that failed before.
    shielded: Option<&'a str>,
    /// The cookie that tells the client where it is kept, when it does not say so itself.
    cookie: Option<&'a str>,
    /// Whether a failed answer is held back, so that the stable arm can be asked.
    may_hold: bool,
    asked: Instant,
    key: Key<'a>,
    class: Class,
    /// Whether a rule chose the arm.
    ruled: bool,
}

impl Attempt<'_> {
    /// Notes how a request was answered, and how long after it was sent.
    fn heard(&self, head: &AnswerHead, slow: Option<Duration>, now: Moment) {
        match (head.is_failure(), slow) {
            (true, slow) => self.failed(slow.unwrap_or_default()),
            (false, Some(slow)) => self.endpoint.instance.see(Sample::Served(micros(slow)), now),
            (false, None) => {}
        }
    }

    /// Counts the request for the arm, with the time until its answer began or was given up.
    fn count(&self, seen: Seen, took: Duration) {
        let failed = match seen {
            Seen::Status(status) => is_failure(status),
            Seen::Nothing => true,
            Seen::Left => false,
        };
        self.target.tally.count(if failed { Outcome::Failed } else { Outcome::Served });
        if matches!(seen, Seen::Status(_)) {
            self.target.tally.took(took);
        }
        if let Some(meter) = self.meter() {
            meter.count(self.class, self.key, seen, took);
        }
    }

    /// Counts that an answer which had begun was broken off.
    fn broke_off(&self) {
        self.target.tally.turned_bad();
        if let Some(meter) = self.meter() {
            meter.broke_off(self.class, self.key);
        }
    }

    fn verdict(&self) -> Verdict<'_> {
        Verdict { version: &self.target.label, shielded: self.shielded, cookie: self.cookie }
    }

    /// What the stable arm does for the one on trial is no merit or fault of its own, and whom a rule sends to one of them was not drawn.
    fn meter(&self) -> Option<&Meter> {
        self.target.meter.as_deref().filter(|_| self.shielded.is_none() && !self.ruled)
    }

    /// Begins to copy the answer where one is wanted to be compared with the contract; `written` is its head.
    fn tap(&self, head: &AnswerHead, written: &[u8], asked: Asked) -> Option<Tap> {
        let has_body = !asked.is_head && matches!(head.status, 200..=203 | 206..=299) && !head.is_stream;
        let meter = self.meter().filter(|_| has_body && head.status != 206)?;
        meter.tap(self.class, written, head.recode(asked))
    }

    /// Notes that the instance failed a request.
    fn failed(&self, after: Duration) {
        let now = Moment::now();
        self.endpoint.instance.see(Sample::Failed(micros(after)), now);
        note_failure(self.target, self.endpoint, now);
    }
}

/// How asking an instance went.
enum Asking {
    /// The answer was passed on.
    Passed(After),
    /// The answer is here but not passed on: a failed one, or a switch of protocols.
    Held(Box<Held>),
}

/// An answer that was not passed on. Its request counts as under way, and its connection is closed when this is dropped.
#[derive(Debug)]
struct Held {
    loan: Loan,
    head: AnswerHead,
    output: Output,
}

/// What was heard on a connection.
enum Talk {
    Passed(After),
    Hold(AnswerHead),
}

/// Why an instance gave no answer that could be passed on.
#[derive(Debug)]
enum Failure {
    /// No connection, or one that took no byte; it was not asked.
    Unreachable(io::Error),
    /// It had closed a connection from before, and it is safe to ask on another.
    Stale(Lease),
    /// It closed the connection or answered what is not HTTP.
    Broken(String),
    /// It said nothing in time.
    Silent,
    /// It answered with a failure, which was held back.
    Held(Box<Held>),
    /// The client is at fault or gone.
    Client(ClientEnd),
}

impl Failure {
    /// Returns what it is for the counters of the arm.
    fn seen(&self) -> Seen {
        match self {
            Self::Held(held) => Seen::Status(held.head.status),
            _ => Seen::Nothing,
        }
    }

    fn loss(&self) -> Loss {
        match self {
            Self::Unreachable(_) | Self::Stale(_) => Loss::Unsent,
            Self::Broken(_) | Self::Client(_) => Loss::Broken,
            Self::Silent => Loss::Silent,
            Self::Held(_) => Loss::Failed,
        }
    }
}

impl<'c> Exchange<'c> {
    /// Asks the instance that was picked, and others while that is safe and useful.
    pub(crate) async fn run(mut self, first: Pick) -> After {
        let began = self.report.began;
        self.course.under_way = Some(self.desk.environment.repeats().enter(self.desk.worker.index));
        let (mut pick, mut asked) = (first, began);
        loop {
            let Pick { target: index, lease } = pick;
            let service = Arc::clone(&self.service);
            let target = &service.targets[index];
            let may_hold = self.facts.shieldable && !self.course.repeated && service.shields(index);
            let shielded = self.course.shielded.clone();
            let endpoint = Arc::clone(lease.endpoint());
            let shielded = shielded.as_deref();
            // An answer of the stable arm is no reason to move.
            let keeping = self.affinity.as_deref().filter(|_| shielded.is_none());
            let cookie = keeping.and_then(|affinity| affinity.cookie_for(&endpoint.instance));
            let cookie = cookie.as_deref();
            let attempt = Attempt { may_hold, shielded, cookie, ..self.attempt(target, &endpoint, asked) };
            self.report.asks(&target.counts, endpoint.instance.address);
            let failure = match self.ask(lease, attempt).await {
                Ok(Asking::Passed(after)) => return after,
                Ok(Asking::Held(held)) if held.head.is_switch() => return self.switch(held, attempt).await,
                Ok(Asking::Held(held)) => Failure::Held(held),
                Err(Failure::Client(end)) => return self.client_failed(&end, attempt, began).await,
                Err(failure) => failure,
            };
            let loss = failure.loss();
            self.note(&failure, target, &endpoint);
            if loss != Loss::Unsent {
                attempt.count(failure.seen(), asked.elapsed());
            }
            if matches!(loss, Loss::Broken | Loss::Silent) {
                attempt.failed(asked.elapsed());
            }
            self.course.tried.push(Arc::clone(&endpoint));
            let next = self.next(index, loss, may_hold);
            let lost = Lost { service: Arc::clone(&service), target: index, endpoint, how: failure };
            match next {
                Some(next) if loss != Loss::Unsent => {
                    self.course.lost = Some(lost);
                    pick = next;
                }
                Some(next) => pick = next,
                None => return self.give_up(lost).await,
            }
            asked = Instant::now();
        }
    }

    fn attempt<'a>(&self, target: &'a Target, endpoint: &'a Arc<Endpoint>, asked: Instant) -> Attempt<'a>
    where
        'c: 'a,
    {
        let key = Key { bytes: &self.notes.key, is_new: self.notes.key_is_new };
        Attempt {
            target,
            endpoint,
            shielded: None,
            cookie: None,
            may_hold: false,
            asked,
            key,
            class: self.facts.class,
            ruled: self.facts.ruled,
        }
    }

    /// Notes in the error log how an instance failed.
    fn note(&self, failure: &Failure, target: &Target, endpoint: &Endpoint) {
        let note = |cause, detail: &dyn Display| {
            self.desk.environment.failures().note(&target.label, endpoint.instance.address, cause, detail);
        };
        match failure {
            Failure::Unreachable(error) => note(Cause::Unreachable, error),
            Failure::Broken(why) => note(Cause::Broken, why),
            Failure::Silent => {
                note(Cause::Silent, &format_args!("nothing for {:?}", self.facts.waits.answer));
            }
            Failure::Held(held) => note(Cause::Failed, &held.head.status),
            Failure::Stale(_) | Failure::Client(_) => {}
        }
    }

    /// Notes in the error log that the instance which was asked last failed within its answer, or with it.
    fn note_answer(&self, target: &Target) {
        let (status, Some(instance)) = (self.report.status, self.report.instance) else { return };
        if self.report.end == End::BrokenOff {
            self.desk.environment.failures().note(&target.label, instance, Cause::BrokenOff, &status);
        } else if is_failure(status) {
            self.desk.environment.failures().note(&target.label, instance, Cause::Failed, &status);
        }
    }

    /// Picks whom to ask next after a failure, if anybody.
    fn next(&mut self, failed: usize, loss: Loss, may_hold: bool) -> Option<Pick> {
        let stable = if may_hold && loss != Loss::Unsent { self.stable() } else { None };
        let past = Past { tries: self.course.tried.len(), repeated: self.course.repeated };
        match next_step(loss, self.facts.repeat, stable.is_some(), past) {
            Step::GiveUp => None,
            Step::Elsewhere => self.elsewhere(failed),
            Step::Beside => self.beside(failed),
            Step::Repeat => {
                let next = self.beside(failed)?;
                self.repeats(Cost::Budget)?;
                Some(next)
            }
            Step::Shield(cost) => {
                self.repeats(cost)?;
                self.course.shielded = Some(self.service.targets[failed].label.clone());
                stable
            }
        }
    }

    /// Notes that the request is sent a second time; `None` when the budget is used up.
    fn repeats(&mut self, cost: Cost) -> Option<()> {
        self.course.permit = match cost {
            Cost::Budget => Some(self.desk.environment.repeats().take()?),
            Cost::Free => None,
        };
        self.course.repeated = true;
        Some(())
    }

    /// Picks an instance of the stable arm.
    fn stable(&self) -> Option<Pick> {
        self.beside(self.service.stable()?)
    }

    /// Picks an instance of the arm that was not tried.
    fn beside(&self, target: usize) -> Option<Pick> {
        pick_in(&self.service, target, self.search())
    }

    fn search(&self) -> Search<'_> {
        Search {
            tried: &self.course.tried,
            affinity: self.affinity.as_deref(),
            random: &self.desk.worker.random,
            now: Moment::now(),
        }
    }

    /// Picks an instance that was not tried: of the arm, else of another, else of the table of this moment.
    fn elsewhere(&mut self, failed: usize) -> Option<Pick> {
        self.beside(failed)
            .or_else(|| pick(&self.service, failed, self.search()))
            .or_else(|| self.routed_anew())
    }

    /// Picks from the table of this moment: the instances of the one before may all have left.
    fn routed_anew(&mut self) -> Option<Pick> {
        let table = self.desk.environment.table(self.desk.worker.index).load_full()?;
        let service = Arc::clone(table.services.get(&self.service.service)?);
        let choice = service.choose(&self.notes.key, &self.notes.rules)?;
        let picked = pick(&service, choice.target, self.search());
        self.service = service;
        picked
    }

    async fn ask(&mut self, lease: Lease, attempt: Attempt<'_>) -> Result<Asking, Failure> {
        let lease = match Loan::kept(lease, self.facts.repeat != Repeat::Once) {
            Ok(kept) => match self.converse(kept, attempt).await {
                Err(Failure::Stale(lease)) => lease,
                other => return other,
            },
            Err(lease) => lease,
        };
        let new = Loan::open(lease, self.desk.worker.timeouts.connect).await.map_err(Failure::Unreachable)?;
        self.converse(new, attempt).await
    }

    /// Sends the request on a connection, hears the answer and passes it on.
    async fn converse(&mut self, mut loan: Loan, attempt: Attempt<'_>) -> Result<Asking, Failure> {
        self.output.give_back();
        if let Err(error) = self.send_head(&mut loan).await {
            return Err(match (error.began, loan.origin()) {
                (false, Origin::Kept(_)) => Failure::Stale(loan.hang_up()),
                (false, Origin::New) => Failure::Unreachable(error.source),
                (true, _) => Failure::Broken(error.source.to_string()),
            });
        }
        let talk = self.talk(&mut loan, attempt).await;
        if talk.is_ok() || matches!(talk, Err(HearError::Closed)) {
            loan.note(talk.is_ok(), attempt.asked);
        }
        match talk {
            Ok(Talk::Passed(after)) => {
                let whole = loan.whole().filter(|_| self.facts.body_is_expected);
                whole.into_iter().for_each(Whole::give_back);
                self.note_answer(attempt.target);
                Ok(Asking::Passed(after))
            }
            Ok(Talk::Hold(head)) => {
                Ok(Asking::Held(Box::new(Held { loan, head, output: std::mem::take(self.output) })))
            }
            Err(HearError::Closed) if self.facts.repeat == Repeat::Once && loan.was_stale().await => {
                Err(Failure::Stale(loan.hang_up()))
            }
            Err(HearError::Silent) => Err(Failure::Silent),
            Err(HearError::Client(end)) => Err(Failure::Client(end)),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }

    async fn send_head(&self, loan: &mut Loan) -> Result<(), SendError> {
        let (mut writer, ..) = loan.ends();
        writer.send_head(self.head, &self.facts.body, self.desk.worker.timeouts.stall).await
    }

    async fn talk(&mut self, loan: &mut Loan, attempt: Attempt<'_>) -> Result<Talk, HearError> {
        let stall = self.desk.worker.timeouts.stall;
        let Waits { answer: limit, silence } = self.facts.waits;
        let (asked, persistent) = (self.facts.asked, self.facts.persistent);
        let (from_client, client_input, mut to_client) = self.client.parts();
        let (writer, upload, mut answer) = loan.ends();
        let body = (&mut self.facts.body, self.facts.recode);
        let delivery = Delivery::default();
        let side = client_side(from_client, client_input, body, writer, &delivery, stall);
        let mut side = pin!(side);
        let limit = Limit { upload, answer: limit, deadline: self.deadline };
        let sent = upload.ended().filter(|_| upload.is_whole());
        let unanswered = sent.map(|sent| attempt.endpoint.instance.ask(Moment::of(sent)));
        let forerun = Forerun::new(&mut to_client, asked, &mut self.facts.waits_to_go_on, stall);
        let head = hear(side.as_mut(), &mut answer, self.output, limit, forerun, asked).await?;
        let heard = Instant::now();
        unanswered.into_iter().for_each(|it| it.heard(Moment::of(heard)));
        attempt.heard(&head, upload.ended().map(|ended| heard - ended), Moment::of(heard));
        if head.is_switch() || (attempt.may_hold && head.is_failure()) {
            return Ok(Talk::Hold(head));
        }
        attempt.count(Seen::Status(head.status), heard.saturating_duration_since(attempt.asked));
        // There is a better answer than one that was held back; its instance need not wait any longer.
        self.course.lost = None;
        let open = persistent && upload.is_whole() && !self.stop.is_cancelled();
        let (recode, status) = (head.recode(asked), head.status);
        let mut tap = attempt.tap(&head, self.output.bytes(), asked);
        let flow = Flow {
            answer: &mut answer,
            recode,
            tap: tap.as_mut(),
            output: self.output,
            client: &mut to_client,
            delivery: &delivery,
            silence: if head.is_stream { STREAM } else { silence },
            stall,
        };
        let after = pass(side, flow, head, asked, open, attempt, self.report).await;
        if let (Some(tap), Some(meter), End::Whole) = (tap, attempt.meter(), self.report.end) {
            meter.keep(attempt.class, attempt.key, status, tap);
        }
        let lingers = !upload.is_whole() && after != After::Reset;
        Ok(Talk::Passed(if lingers { After::Linger } else { after }))
    }

    /// Passes on a failed answer after all: there was no better one.
    async fn release(&mut self, held: Box<Held>, attempt: Attempt<'_>) -> After {
        let Held { mut loan, head, output } = *held;
        *self.output = output;
        let (stall, asked) = (self.desk.worker.timeouts.stall, self.facts.asked);
        let open = self.facts.persistent && !self.stop.is_cancelled();
        let (from_client, client_input, mut to_client) = self.client.parts();
        let (writer, _, mut answer) = loan.ends();
        let body = (&mut self.facts.body, self.facts.recode);
        let delivery = Delivery::default();
        let side = pin!(client_side(from_client, client_input, body, writer, &delivery, stall));
        let recode = head.recode(asked);
        let flow = Flow {
            answer: &mut answer,
            recode,
            tap: None,
            output: self.output,
            client: &mut to_client,
            delivery: &delivery,
            silence: self.facts.waits.silence,
            stall,
        };
        pass(side, flow, head, asked, open, attempt, self.report).await
    }

    /// Passes the switch of protocols on, and then all bytes of both sides.
    async fn switch(&mut self, held: Box<Held>, attempt: Attempt<'_>) -> After {
        let Held { loan, head, mut output } = *held;
        attempt.count(Seen::Status(head.status), attempt.asked.elapsed());
        self.report.status = head.status;
        // From here on it is no request any more, and nobody waits for a better answer.
        self.course = Course::default();
        let verdict = attempt.verdict();
        head.finish(output.lend(), self.facts.asked, Next::Keep, verdict);
        if self.client.send(output.bytes(), self.desk.worker.timeouts.stall).await.is_ok() {
            // How a tunnel ends is between its two ends, unless it is the gateway that ends it.
            if let Ok(TunnelEnd::Away) = loan.tunnel(self.client, self.stop).await {
                return After::Linger;
            }
        }
        After::Close
    }

    /// Ends a request whose client left or sent a body that cannot be read.
    async fn client_failed(&mut self, end: &ClientEnd, attempt: Attempt<'_>, began: Instant) -> After {
        let problem = match end {
            ClientEnd::Gone => {
                self.gone(attempt, began.elapsed());
                self.report.end = End::ClientLeft;
                return After::Close;
            }
            ClientEnd::Body(error) => Problem::new(Status::BadRequest, "bad_body", error.to_string()),
            ClientEnd::Stalled => Problem::new(Status::RequestTimeout, "body_stalled", end.to_string()),
        };
        self.answer(&problem, Next::Close).await
    }

    /// Notes that the client left before there was an answer. Who had to wait for long was failed by the arm; but no
    /// instance is left alone for it, since long waits may be what was asked for.
    fn gone(&self, attempt: Attempt<'_>, after: Duration) {
        attempt.count(if after >= PATIENCE { Seen::Nothing } else { Seen::Left }, after);
        // While the body was on its way, the time was the client's own.
        if self.facts.body.is_done() {
            attempt.endpoint.instance.see(Sample::Abandoned(micros(after)), Moment::now());
        }
    }

    /// Answers for an arm that did not. What became of the instance that read the request first says most.
    async fn give_up(&mut self, last: Lost) -> After {
        let Lost { service, target, endpoint, how } = self.course.lost.take().unwrap_or(last);
        let target = &service.targets[target];
        let problem = match how {
            Failure::Held(held) => {
                let attempt = self.attempt(target, &endpoint, self.report.began);
                return self.release(held, attempt).await;
            }
            Failure::Unreachable(error) => {
                let detail = format!("no instance of `{}` can be reached: {error}", service.service);
                Problem::new(Status::Unavailable, "unreachable", detail).hint("see `lockstep status`")
            }
            Failure::Silent => {
                Problem::new(Status::GatewayTimeout, "no_answer", "the instance did not answer in time")
            }
            Failure::Broken(why) => {
                let detail = format!("the instance gave no valid answer: {why}");
                Problem::new(Status::BadGateway, "bad_answer", detail)
            }
            Failure::Stale(_) | Failure::Client(_) => {
                Problem::new(Status::BadGateway, "bad_answer", "the instance closed the connection")
            }
        };
        let next = if self.stop.is_cancelled() { Next::Close } else { self.facts.next() };
        self.answer(&problem.of_version(&target.label), next).await
    }

    async fn answer(&mut self, problem: &Problem, next: Next) -> After {
        self.output.give_back();
        problem.write(self.output.lend(), self.facts.asked.is_head, next);
        self.report.answers(problem);
        self.report.bytes = self.output.bytes().len() as u64;
        match (self.client.send(self.output.bytes(), self.desk.worker.timeouts.stall).await, next) {
            (Err(_), _) => After::Close,
            (Ok(()), Next::Keep) => After::Keep,
            (Ok(()), Next::Close) => After::Linger,
        }
    }
}

/// Finishes the head of an answer and passes the answer on.
async fn pass<W: tokio::io::AsyncWrite + Unpin>(
    side: Pin<&mut impl Future<Output = ClientEnd>>,
    flow: Flow<'_, '_, W>,
    head: AnswerHead,
    asked: Asked,
    open: bool,
    attempt: Attempt<'_>,
    report: &mut Report,
) -> After {
    report.status = head.status;
    report.shielded = attempt.shielded.is_some();
    let delivery = flow.delivery;
    let next = if open && !head.needs_close(asked) { Next::Keep } else { Next::Close };
    let verdict = attempt.verdict();
    head.finish(flow.output.lend(), asked, next, verdict);
    let relayed = relay(side, flow).await;
    if relayed.is_ok() && !head.is_failure() {
        attempt.endpoint.instance.succeeded();
    }
    report.bytes = delivery.bytes();
    report.end = match relayed {
        Ok(()) => End::Whole,
        Err(RelayError::Client) => End::ClientLeft,
        Err(RelayError::Cut | RelayError::Body(_)) => End::BrokenOff,
    };
    match (relayed, next) {
        (Ok(()), Next::Keep) => After::Keep,
        (Ok(()), Next::Close) | (Err(RelayError::Client), _) => After::Close,
        (Err(RelayError::Cut | RelayError::Body(_)), _) => {
            if !head.is_failure() {
                attempt.broke_off();
                attempt.failed(Duration::ZERO);
            }
            // Where only the end of the connection ends the body, an orderly end would make a part look like the whole.
            if head.needs_close(asked) { After::Reset } else { After::Close }
        }
    }
}
