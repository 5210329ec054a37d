//! One request and its answer: asking an instance, asking another when that is safe, and passing the answer on.
//!
//! Invariant: each request that reached an arm is counted once for that arm. What may be asked again, and of whom, is
//! decided by [`crate::repeat::next_step`] alone.

mod ask;
mod attempt;
mod copy;
mod end;
mod ends;
mod facts;
mod head;
mod hedge;
mod hops;
mod next;
mod pass;
mod state;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use lockstep_domain::breaker::{Ticket, TrialEnd};

use crate::answer::is_failure;
use crate::balance::Pick;
use crate::breaker::Breaker;
use crate::departure::farewell;
use crate::endpoint::Endpoint;
use crate::failures::Cause;
use crate::grpc::GrpcStatus;
use crate::outgoing::Outgoing as _;
use crate::policy::{OutOfTime, RetryCause};
use crate::problem::Next;
use crate::relay::AnswerSink as _;
use crate::repeat::Loss;
use crate::report::End;
use crate::table::Target;
use crate::trial::{Key, Seen};
use crate::tunnel::{Passes, TunnelEnd};
use crate::way::Passage;

use attempt::Attempt;
use state::{Asking, Failure, Held, Line, Lost};

pub(crate) use ends::{Client, Ends};
pub(crate) use facts::{After, Facts};
pub(crate) use head::Head;
pub(crate) use state::{Course, Exchange};

impl<'c, C: Client> Exchange<'c, C> {
    /// Asks the instance that was picked, and others while that is safe and useful.
    pub(crate) async fn run(&mut self, first: Pick) -> After {
        let began = self.report.began;
        self.course.under_way = Some(self.desk.environment.repeats().enter(self.desk.worker.index));
        self.course.body_is_here = self.facts.body.is_done();
        if let Some(waiting) = self.waiting.as_ref().filter(|_| self.course.body_is_here) {
            waiting.begin();
        }
        let (mut pick, mut asked) = (first, began);
        if let Some(delay) = self.facts.delay {
            Box::pin(self.pause(delay)).await;
            asked = Instant::now();
        }
        let passage = self.passage.take();
        self.report.degraded = passage.as_ref().is_some_and(|passage| passage.degraded.is_some());
        loop {
            let Pick { target: index, lease } = pick;
            let service = Arc::clone(&self.service);
            let target = &service.targets[index];
            let may_hold = self.facts.shieldable && !self.course.repeated && service.shields(index);
            let shielded = self.course.shielded.clone();
            let endpoint = Arc::clone(lease.endpoint());
            let shielded = shielded.as_deref();
            let degraded = passage.as_ref().and_then(|passage| passage.degraded.as_ref());
            // An answer of another arm is no reason to move.
            let keeping = self.affinity.as_deref().filter(|_| shielded.is_none() && degraded.is_none());
            let cookie = keeping.and_then(|affinity| affinity.cookie_for(&endpoint.instance));
            let cookie = cookie.as_deref();
            // There has to be somebody else who can be asked.
            let retry = self.facts.retry.clone();
            let retry = retry.as_deref().filter(|_| !self.course.repeated && target.endpoints.len() > 1);
            let degraded = degraded.map(|it| it.of.as_str());
            let breaker = self.breaker_of(target, passage.as_deref());
            let plain = self.attempt(target, &endpoint, asked);
            let attempt = Attempt { may_hold, retry, shielded, degraded, breaker, cookie, ..plain };
            if let (true, Some((breaker, Some(ticket)))) = (self.course.body_is_here, attempt.breaker) {
                breaker.is_sent(ticket);
            }
            self.report.asks(&target.counts, &endpoint.instance);
            if self.notes.span.is_some() {
                self.begin_hop(target, &endpoint);
            }
            let failure = match self.ask_in_time(lease, &attempt).await {
                Ok(Asking::Passed(after)) => {
                    self.send_copy();
                    return after;
                }
                Ok(Asking::Held(held)) if held.head.is_switch() => {
                    return Box::pin(self.switch(held, &attempt)).await;
                }
                Ok(Asking::Held(held)) => Failure::Held(held),
                Err(Failure::Client(end)) => {
                    return Box::pin(self.client_failed(&end, &attempt, began)).await;
                }
                Err(Failure::Late(OutOfTime::Client)) => return Box::pin(self.late(&attempt)).await,
                Err(Failure::Late(OutOfTime::Route)) => return Box::pin(self.out_of_time(&attempt)).await,
                Err(failure) => failure,
            };
            let loss = failure.loss();
            self.note(&failure, target, &endpoint);
            if let Some(hops) = &mut self.report.hops {
                hops.failed(failure.status(), failure.word());
            }
            if loss != Loss::Unsent {
                attempt.count(failure.seen(), asked.elapsed());
            }
            if matches!(loss, Loss::Broken | Loss::Silent) {
                attempt.failed(asked.elapsed());
            }
            if let (Loss::Silent, Some(waiting)) = (loss, &self.waiting) {
                waiting.given_up(asked.elapsed());
            }
            self.course.tried.push(Arc::clone(&endpoint));
            if let Some(second) = self.course.second.take()
                && let Some(after) = Box::pin(self.ask_second(second, target, began)).await
            {
                return after;
            }
            let again = self.may_repeat(target, &failure);
            let next = self.next(index, loss, (again, may_hold));
            if next.is_some() && self.course.shielded.is_none() {
                self.report.retried = Some(RetryCause::of(failure.reason()));
            }
            if next.is_none() && loss == Loss::Unsent && self.course.lost.is_none() {
                // It was not asked, and that is how it failed.
                attempt.ended(TrialEnd::Failed);
            }
            let lost = Lost { service: Arc::clone(&service), target: index, endpoint, how: failure };
            match next {
                Some(next) if loss != Loss::Unsent => {
                    self.course.lost = Some(lost);
                    pick = next;
                }
                Some(next) => pick = next,
                None => return Box::pin(self.give_up(lost, degraded)).await,
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
            degraded: None,
            breaker: None,
            cookie: None,
            edit: self.notes.changes.as_ref().map(|changes| changes.answer()),
            may_hold: false,
            retry: None,
            is_counted: self.course.is_counted,
            asked,
            key,
            class: self.facts.class,
            ruled: self.facts.ruled,
            is_of_check: self.facts.is_of_check,
            held: self.facts.held,
            delayed: self.facts.delay.is_some(),
        }
    }

    /// Finds what leaves an arm alone, and which trial of it this request is. Whom a rule sends to an arm wants to see how that does.
    fn breaker_of<'a>(
        &self,
        target: &'a Target,
        passage: Option<&Passage>,
    ) -> Option<(&'a Breaker, Option<Ticket>)> {
        let is_drawn = !self.facts.ruled || passage.is_some_and(|passage| passage.degraded.is_some());
        let trying = passage.and_then(|passage| passage.trying.as_ref());
        // A trial that is never told how it went would keep the arm waiting.
        let breaker = target.breakers.as_ref().filter(|_| is_drawn || trying.is_some())?;
        let breaker = breaker.of(&self.desk.peer)?;
        let trying = trying.filter(|trying| Arc::ptr_eq(&trying.breaker, breaker));
        if !is_drawn && trying.is_none() {
            return None;
        }
        Some((breaker, trying.map(|trying| trying.ticket)))
    }

    /// Notes in the error log how an instance failed.
    fn note(&self, failure: &Failure<C::Output>, target: &Target, endpoint: &Endpoint) {
        let note = |cause, detail: &dyn Display| {
            let about = (detail, self.notes.request_id());
            self.desk.environment.failures().note(&target.label, endpoint.instance.address, cause, about);
        };
        match failure {
            Failure::Unreachable(error) => note(Cause::Unreachable, error),
            Failure::Broken(why) => note(Cause::Broken, why),
            Failure::Silent => {
                note(Cause::Silent, &format_args!("nothing for {:?}", self.facts.waits.answer));
            }
            Failure::Held(held) => note(Cause::Failed, &held.head.status),
            Failure::Stale(_) | Failure::Client(_) | Failure::Late(_) => {}
        }
    }

    /// Notes in the error log that the instance which was asked last failed within its answer, or with it.
    fn note_answer(&self, target: &Target) {
        let (status, Some(instance)) = (self.report.status, self.report.address()) else { return };
        let status = self.report.grpc.filter(|_| status == 200).map_or(status, GrpcStatus::as_http);
        let cause = if self.report.end == End::BrokenOff { Cause::BrokenOff } else { Cause::Failed };
        if cause == Cause::BrokenOff || is_failure(status) {
            let about: (&dyn Display, &str) = (&status, self.notes.request_id());
            self.desk.environment.failures().note(&target.label, instance, cause, about);
        }
    }

    /// Passes the switch of protocols on, and then all bytes of both sides.
    async fn switch(&mut self, held: Box<Held<C::Output>>, attempt: &Attempt<'_>) -> After {
        let Held { line, head, mut output } = *held;
        attempt.count(Seen::Status(head.status), attempt.asked.elapsed());
        self.waiting = None;
        self.report.status = head.status;
        // From here on it is no request any more, and nobody waits for a better answer.
        self.course = Course::default();
        let verdict = attempt.verdict(self.notes);
        head.finish(output.lend(), self.facts.asked, Next::Keep, verdict);
        let stall = self.desk.worker.timeouts.stall;
        let sent = self.client.ends(&mut self.facts.body).1.send(&mut output, stall).await;
        let (Ok(_), Line::Connection(loan), Some(client)) = (sent, line, self.client.tunnel()) else {
            return After::Close;
        };
        // How a tunnel ends is between its two ends, unless it is the gateway that ends it.
        let away = farewell(&self.desk.worker, self.stop, &attempt.endpoint.instance);
        let passes = if self.facts.asked.upgrade.is_some() { Passes::Bytes } else { Passes::Frames };
        let Ok(ended) = loan.tunnel(client, away, passes).await else { return After::Reset };
        self.client.end_tunnel();
        match ended {
            TunnelEnd::Away => After::Linger,
            TunnelEnd::Ended => After::Close,
        }
    }
}
