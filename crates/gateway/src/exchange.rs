//! One request and its answer: asking an instance, asking another when that is safe, and passing the answer on.
//!
//! Invariant: each request that reached an arm is counted once for that arm. What may be asked again, and of whom, is
//! decided by [`next_step`] alone.

mod attempt;
mod ends;
mod facts;
mod head;

use std::fmt::Display;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::affinity::Affinity;
use crate::answer::{AnswerHead, Asked, is_failure};
use crate::balance::{Pick, Search, pick, pick_in};
use crate::deadline::Deadline;
use crate::endpoint::{Endpoint, Lease};
use crate::failures::Cause;
use crate::forerun::Forerun;
use crate::grpc::{GrpcStatus, write_timeout};
use crate::http2::instance::{Place, StreamLoan};
use crate::latency::Sample;
use crate::leaving::Delivery;
use crate::loan::{Loan, Origin, Whole};
use crate::moment::{Moment, micros};
use crate::outgoing::Outgoing;
use crate::problem::{Next, Problem, Status};
use crate::relay::{AnswerSink, ClientEnd, Flow, Limit, Patience, RelayError, client_side, hear, relay};
use crate::repeat::{Cost, Counted, Loss, Past, Repeat, Step, next_step};
use crate::reply::{AnswerSource, HearError};
use crate::report::{End, Report};
use crate::table::{ServiceTargets, Target};
use crate::trial::{Key, Seen};
use crate::tunnel::TunnelEnd;
use crate::upload::SendError;
use crate::waits::{STREAM, Waits};
use crate::way::{Desk, Notes};

use attempt::Attempt;

pub(crate) use ends::{Client, Ends};
pub(crate) use facts::{After, Facts};
pub(crate) use head::Head;

/// A client that leaves after waiting this long for an answer was failed by the arm; one that leaves earlier was not.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an instance is asked on.
#[derive(Debug)]
enum Line {
    Connection(Loan),
    Stream(Box<StreamLoan>),
}

/// One request and its answer.
pub(crate) struct Exchange<'c, C: Client> {
    pub(crate) client: &'c mut C,
    pub(crate) deadline: &'c mut Deadline,
    pub(crate) output: &'c mut C::Output,
    /// The head for the instance, with the body behind it when that was short and there.
    pub(crate) head: &'c Head,
    pub(crate) desk: &'c Desk,
    pub(crate) notes: &'c Notes,
    pub(crate) stop: &'c CancellationToken,
    pub(crate) facts: Facts,
    pub(crate) service: Arc<ServiceTargets>,
    /// Where the client is to be kept at one instance.
    pub(crate) affinity: Option<Box<Affinity>>,
    pub(crate) course: Course<'c, C::Output>,
    pub(crate) report: &'c mut Report,
}

/// What became of a request so far.
pub(crate) struct Course<'c, O> {
    tried: Vec<Arc<Endpoint>>,
    repeated: bool,
    /// Counts the request for the budget of repeats.
    under_way: Option<Counted<'c>>,
    /// The part of the budget that the repeat takes.
    permit: Option<Counted<'c>>,
    /// The arm on trial that failed and for which the stable one is asked.
    shielded: Option<String>,
    /// How the first instance that read the request failed, in case no other does better.
    lost: Option<Lost<O>>,
    /// Whether some of the body was taken from the client for an instance that did not look at it.
    is_touched: bool,
    /// Since when the answer to a call is passed on whose end decides how it is counted, and how long it took to begin.
    open_call: Option<Duration>,
}

impl<O> Default for Course<'_, O> {
    fn default() -> Self {
        let (tried, repeated, shielded, lost) = <(_, _, _, _)>::default();
        Self {
            tried,
            repeated,
            under_way: None,
            permit: None,
            shielded,
            lost,
            is_touched: false,
            open_call: None,
        }
    }
}

/// A request that an instance read in vain.
struct Lost<O> {
    service: Arc<ServiceTargets>,
    /// Index of the arm in the service's targets.
    target: usize,
    endpoint: Arc<Endpoint>,
    how: Failure<O>,
}

/// How asking an instance went.
enum Asking<O> {
    /// The answer was passed on.
    Passed(After),
    /// The answer is here but not passed on: a failed one, or a switch of protocols.
    Held(Box<Held<O>>),
}

/// An answer that was not passed on. Its request counts as under way, and its connection is closed when this is dropped.
struct Held<O> {
    line: Line,
    head: AnswerHead,
    output: O,
}

/// What was heard on a connection.
enum Talk {
    Passed(After),
    Hold(AnswerHead),
}

/// Why an instance gave no answer that could be passed on.
enum Failure<O> {
    /// No connection, or one that took no byte; it was not asked.
    Unreachable(io::Error),
    /// It had closed a connection from before, and it is safe to ask on another.
    Stale(Lease),
    /// It closed the connection or answered what is not HTTP.
    Broken(String),
    /// It said nothing in time.
    Silent,
    /// It answered with a failure, which was held back.
    Held(Box<Held<O>>),
    /// The client is at fault or gone.
    Client(ClientEnd),
    /// The time that the client gave the call is over.
    Late,
}

impl<O> Failure<O> {
    /// Returns what it is for the counters of the arm.
    fn seen(&self) -> Seen {
        match self {
            Self::Held(held) => Seen::Status(held.head.counted()),
            _ => Seen::Nothing,
        }
    }

    fn loss(&self) -> Loss {
        match self {
            Self::Unreachable(_) | Self::Stale(_) => Loss::Unsent,
            Self::Broken(_) | Self::Client(_) => Loss::Broken,
            Self::Silent | Self::Late => Loss::Silent,
            Self::Held(_) => Loss::Failed,
        }
    }
}

impl<'c, C: Client> Exchange<'c, C> {
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
            let failure = match self.ask_in_time(lease, attempt).await {
                Ok(Asking::Passed(after)) => return after,
                Ok(Asking::Held(held)) if held.head.is_switch() => return self.switch(held, attempt).await,
                Ok(Asking::Held(held)) => Failure::Held(held),
                Err(Failure::Client(end)) => return self.client_failed(&end, attempt, began).await,
                Err(Failure::Late) => return self.late(attempt).await,
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
            edit: self.notes.changes.as_ref().map(|changes| changes.answer()),
            may_hold: false,
            asked,
            key,
            class: self.facts.class,
            ruled: self.facts.ruled,
        }
    }

    /// Notes in the error log how an instance failed.
    fn note(&self, failure: &Failure<C::Output>, target: &Target, endpoint: &Endpoint) {
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
            Failure::Stale(_) | Failure::Client(_) | Failure::Late => {}
        }
    }

    /// Notes in the error log that the instance which was asked last failed within its answer, or with it.
    fn note_answer(&self, target: &Target) {
        let (status, Some(instance)) = (self.report.status, self.report.instance) else { return };
        let status = self.report.grpc.filter(|_| status == 200).map_or(status, GrpcStatus::as_http);
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

    /// Asks an instance, but no longer than the client gave the call.
    async fn ask_in_time(
        &mut self,
        lease: Lease,
        attempt: Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        match self.facts.until {
            // Dropping what is under way tells the instance.
            Some(until) => {
                timeout_at(until.into(), self.ask(lease, attempt)).await.unwrap_or(Err(Failure::Late))
            }
            None => self.ask(lease, attempt).await,
        }
    }

    async fn ask(
        &mut self,
        lease: Lease,
        attempt: Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        if self.facts.asked.is_call || attempt.target.speaks_h2c() {
            // What only some requests need is not part of all of them.
            return Box::pin(self.ask_in_stream(lease, attempt)).await;
        }
        if self.course.is_touched {
            return Err(Failure::Broken("the beginning of the body is not here any more".to_owned()));
        }
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

    /// Asks in a stream of a shared connection; once more where the instance ended that before it looked at the request.
    async fn ask_in_stream(
        &mut self,
        lease: Lease,
        attempt: Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        match self.converse_in_stream(lease, attempt).await {
            Err(Failure::Stale(lease)) => match self.converse_in_stream(lease, attempt).await {
                Err(Failure::Stale(_)) => {
                    Err(Failure::Unreachable(io::Error::other("it takes no requests on its connections")))
                }
                other => other,
            },
            other => other,
        }
    }

    async fn converse_in_stream(
        &mut self,
        lease: Lease,
        attempt: Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        self.output.give_back();
        let unsaid = || Failure::Broken("it speaks HTTP/2, in which this request cannot be said".to_owned());
        let (mut parts, mut early) = self.head.as_parts().ok_or_else(unsaid)?;
        if let (true, Some(kept)) = (self.course.is_touched, self.client.kept()) {
            early = [early, kept].concat().into();
        }
        let place = Place::find(lease, &self.desk.worker).await.map_err(Failure::Unreachable)?;
        if let Some(until) = self.facts.until {
            let left = write_timeout(until.saturating_duration_since(Instant::now()));
            parts.headers.insert("grpc-timeout", HeaderValue::try_from(left).map_err(|_| unsaid())?);
        }
        let stall = self.desk.worker.timeouts.stall;
        let sent = place.send(parts, early, &self.facts.body, stall).await;
        let mut loan = Box::new(sent.map_err(Failure::Stale)?);
        match self.talk(&mut *loan, attempt).await {
            Ok(Talk::Passed(after)) => {
                self.note_answer(attempt.target);
                Ok(Asking::Passed(after))
            }
            Ok(Talk::Hold(head)) => {
                let output = std::mem::take(self.output);
                Ok(Asking::Held(Box::new(Held { line: Line::Stream(loan), head, output })))
            }
            Err(HearError::Unread(_)) if !loan.upload().is_touched() || self.client.kept().is_some() => {
                self.course.is_touched |= loan.upload().is_touched();
                Err(Failure::Stale(loan.hang_up()))
            }
            Err(HearError::Silent) => {
                loan.distrust();
                Err(Failure::Silent)
            }
            Err(HearError::Client(end)) => Err(Failure::Client(end)),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }

    /// Sends the request on a connection, hears the answer and passes it on.
    async fn converse(
        &mut self,
        mut loan: Loan,
        attempt: Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
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
                let output = std::mem::take(self.output);
                Ok(Asking::Held(Box::new(Held { line: Line::Connection(loan), head, output })))
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
        let body = &self.facts.body;
        let head = self.head.as_bytes(self.facts.recode, body.is_done());
        writer.send_head(&head, body, self.desk.worker.timeouts.stall).await
    }

    /// How long each side may say nothing while a request is sent. Who calls by gRPC may hold a call open and be silent.
    fn patience(&self) -> Patience {
        let stall = self.desk.worker.timeouts.stall;
        Patience { stall, pause: if self.facts.asked.is_call { STREAM } else { stall } }
    }

    async fn talk<L: Ends>(&mut self, loan: &mut L, attempt: Attempt<'_>) -> Result<Talk, HearError> {
        let patience = self.patience();
        let stall = patience.stall;
        let Waits { answer: limit, silence } = self.facts.waits;
        let (asked, persistent) = (self.facts.asked, self.facts.persistent);
        let (source, mut to_client) = self.client.ends(&mut self.facts.body);
        let (writer, upload, mut answer) = loan.ends();
        let delivery = Delivery::default();
        let side = client_side(source, self.facts.recode, writer, &delivery, patience);
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
        let took = heard.saturating_duration_since(attempt.asked);
        if head.is_open_call(asked) {
            self.course.open_call = Some(took);
        } else {
            attempt.count(Seen::Status(head.counted()), took);
        }
        // There is a better answer than one that was held back; its instance need not wait any longer.
        self.course.lost = None;
        let open = persistent && upload.is_whole() && !self.stop.is_cancelled();
        let (recode, status) = (head.recode(asked), head.status);
        let mut tap = attempt.tap(&head, self.output.seen(), asked);
        let mut flow = Flow {
            answer: &mut answer,
            recode,
            tap: tap.as_mut(),
            output: self.output,
            client: &mut to_client,
            delivery: &delivery,
            silence: if head.is_stream { STREAM } else { silence },
            stall,
        };
        let after = pass(side, &mut flow, head, (asked, open), attempt, self.report).await;
        if let Some(took) = self.course.open_call.take() {
            self.report.grpc = flow.answer.grpc();
            attempt.count_call(self.report, took);
        }
        if let (Some(tap), Some(meter), End::Whole) = (tap, attempt.meter(), self.report.end) {
            meter.keep(attempt.class, attempt.key, status, tap);
        }
        let lingers = !upload.is_whole() && after != After::Reset;
        Ok(Talk::Passed(if lingers { After::Linger } else { after }))
    }

    /// Passes on a failed answer after all: there was no better one.
    async fn release(&mut self, held: Box<Held<C::Output>>, attempt: Attempt<'_>) -> After {
        let Held { line, head, output } = *held;
        *self.output = output;
        match line {
            Line::Connection(mut loan) => self.pass_held(&mut loan, head, attempt).await,
            Line::Stream(mut loan) => self.pass_held(&mut *loan, head, attempt).await,
        }
    }

    async fn pass_held<L: Ends>(&mut self, loan: &mut L, head: AnswerHead, attempt: Attempt<'_>) -> After {
        let (patience, asked) = (self.patience(), self.facts.asked);
        let open = self.facts.persistent && !self.stop.is_cancelled();
        let (source, mut to_client) = self.client.ends(&mut self.facts.body);
        let (writer, _, mut answer) = loan.ends();
        let delivery = Delivery::default();
        let side = pin!(client_side(source, self.facts.recode, writer, &delivery, patience));
        let recode = head.recode(asked);
        let mut flow = Flow {
            answer: &mut answer,
            recode,
            tap: None,
            output: self.output,
            client: &mut to_client,
            delivery: &delivery,
            silence: self.facts.waits.silence,
            stall: patience.stall,
        };
        pass(side, &mut flow, head, (asked, open), attempt, self.report).await
    }

    /// Passes the switch of protocols on, and then all bytes of both sides.
    async fn switch(&mut self, held: Box<Held<C::Output>>, attempt: Attempt<'_>) -> After {
        let Held { line, head, mut output } = *held;
        attempt.count(Seen::Status(head.status), attempt.asked.elapsed());
        self.report.status = head.status;
        // From here on it is no request any more, and nobody waits for a better answer.
        self.course = Course::default();
        let verdict = attempt.verdict();
        head.finish(output.lend(), self.facts.asked, Next::Keep, verdict);
        let stall = self.desk.worker.timeouts.stall;
        let sent = self.client.ends(&mut self.facts.body).1.send(&mut output, stall).await;
        if let (Ok(_), Line::Connection(loan), Some(client)) = (sent, line, self.client.wire()) {
            // How a tunnel ends is between its two ends, unless it is the gateway that ends it.
            return match loan.tunnel(client, self.stop).await {
                Ok(TunnelEnd::Away) => After::Linger,
                Ok(TunnelEnd::Ended) => After::Close,
                Err(_) => After::Reset,
            };
        }
        After::Close
    }

    /// Ends a call whose time is over. Whoever was asked did not answer in time, as it would be by its own word.
    async fn late(&mut self, attempt: Attempt<'_>) -> After {
        let problem =
            Problem::new(Status::GatewayTimeout, "deadline", "the time that the client gave is over");
        let began = self.report.status != 0;
        if !began || self.course.open_call.is_some() {
            let took = self.course.open_call.take().unwrap_or_else(|| attempt.asked.elapsed());
            attempt.count(Seen::Status(problem.status()), took);
            // How short the time is was the client's choice: no instance is left alone for it.
            let waited = micros(attempt.asked.elapsed());
            attempt.endpoint.instance.see(Sample::Abandoned(waited), Moment::now());
        }
        if !began {
            let next = self.facts.next();
            return self.answer(&problem.of_version(&attempt.target.label), next).await;
        }
        self.report.grpc = Some(problem.grpc());
        self.client.end_call(&problem);
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
    async fn give_up(&mut self, last: Lost<C::Output>) -> After {
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
            Failure::Stale(_) | Failure::Client(_) | Failure::Late => {
                Problem::new(Status::BadGateway, "bad_answer", "the instance closed the connection")
            }
        };
        let next = if self.stop.is_cancelled() { Next::Close } else { self.facts.next() };
        self.answer(&problem.of_version(&target.label), next).await
    }

    async fn answer(&mut self, problem: &Problem, next: Next) -> After {
        self.output.give_back();
        problem.write(self.output.lend(), self.facts.asked, next);
        self.report.answers(problem);
        self.report.grpc = self.facts.asked.is_call.then(|| problem.grpc());
        let stall = self.desk.worker.timeouts.stall;
        let sent = self.client.ends(&mut self.facts.body).1.send(self.output, stall).await;
        self.report.bytes = sent.as_ref().copied().unwrap_or_default() as u64;
        match (sent, next) {
            (Err(_), _) => After::Close,
            (Ok(_), Next::Keep) => After::Keep,
            (Ok(_), Next::Close) => After::Linger,
        }
    }
}

/// Finishes the head of an answer and passes the answer on.
async fn pass<A: AnswerSource, W: AnswerSink>(
    side: Pin<&mut impl Future<Output = ClientEnd>>,
    flow: &mut Flow<'_, A, W>,
    head: AnswerHead,
    (asked, open): (Asked, bool),
    attempt: Attempt<'_>,
    report: &mut Report,
) -> After {
    report.status = head.status;
    report.shielded = attempt.shielded.is_some();
    report.grpc = head.grpc;
    let delivery = flow.delivery;
    let next = if open && !head.needs_close(asked) { Next::Keep } else { Next::Close };
    let verdict = attempt.verdict();
    head.finish(flow.output.lend(), asked, next, verdict);
    let relayed = relay(side, flow).await;
    if relayed.is_ok() && !head.is_failure() && !head.is_open_call(asked) {
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
            if !head.is_failure() && !head.is_open_call(asked) {
                attempt.broke_off();
                attempt.failed(Duration::ZERO);
            }
            // Where only the end of the connection ends the body, an orderly end would make a part look like the whole.
            if head.needs_close(asked) { After::Reset } else { After::Close }
        }
    }
}
