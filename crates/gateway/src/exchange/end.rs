//! How a request ends that no instance answered.

use std::time::{Duration, Instant};

use lockstep_domain::breaker::TrialEnd;

use crate::failures::Cause;
use crate::latency::Sample;
use crate::moment::{Moment, micros};
use crate::outgoing::Outgoing as _;
use crate::policy::{self, Hedged};
use crate::problem::{Next, Problem, Status};
use crate::relay::{AnswerSink as _, ClientEnd};
use crate::report::End;
use crate::table::Target;
use crate::trial::Seen;
use crate::waits::STREAM;

use super::attempt::Attempt;
use super::ends::Client;
use super::facts::After;
use super::state::{Exchange, Failure, Lost};

/// A client that leaves after waiting this long for an answer was failed by the arm; one that leaves earlier was not.
const PATIENCE: Duration = Duration::from_secs(3);

impl<'c, C: Client> Exchange<'c, C> {
    /// Ends a call whose time is over. Whoever was asked did not answer in time, as it would be by its own word.
    pub(super) async fn late(&mut self, attempt: &Attempt<'_>) -> After {
        let problem =
            Problem::new(Status::GatewayTimeout, "deadline", "the time that the client gave is over");
        let began = self.report.status != 0;
        let since = self.waits_since(attempt.asked);
        if !began && (since.is_none() || self.facts.delay.is_some()) {
            // The instance did not have all of it, or had it later on purpose.
            attempt.count_as(Seen::Left, attempt.asked.elapsed(), TrialEnd::Unknown);
        } else if !began || self.course.open_call.is_some() {
            let waited = since.map(|since| since.elapsed());
            if let (Some(waiting), Some(waited)) = (&self.waiting, waited) {
                waiting.given_up(waited);
            }
            let took = self.course.open_call.take().or(waited).unwrap_or_default();
            // Nor is its arm left alone, unless the client waited for long: others would get nothing by the choice of one.
            let waited = !began && took >= PATIENCE;
            let end = if waited { TrialEnd::Failed } else { TrialEnd::Unknown };
            attempt.count_as(Seen::Status(problem.status()), took, end);
            // How short the time is was the client's choice: no instance is left alone for it.
            let waited = micros(attempt.asked.elapsed());
            attempt.endpoint.instance.see(Sample::Abandoned(waited), Moment::now());
        }
        if !began {
            let next = self.facts.next();
            return self.answer(&problem.of_version(&attempt.target.label), attempt.target, next).await;
        }
        self.report.grpc = Some(problem.grpc());
        self.report.bytes = self.delivery.bytes();
        self.client.end_call(&problem, self.facts.asked.web);
        After::Close
    }

    /// Ends a request whose time is over, as its route says. Where an instance had all of it for most of the time, it failed it:
    /// who sends or takes something slowly must not make an arm look bad.
    pub(super) async fn out_of_time(&mut self, attempt: &Attempt<'_>) -> After {
        if self.report.status != 0 {
            self.report.end = End::OutOfTime;
            self.report.bytes = self.delivery.bytes();
            return if self.facts.asked.minor == 0 { After::Reset } else { After::Close };
        }
        let Some(total) = self.facts.total.clone() else { return After::Close };
        let limit = total.limit;
        if total.was_theirs(self.delivery.sent()) && self.facts.delay.is_none() {
            let (label, address) = (&attempt.target.label, attempt.endpoint.instance.address);
            let detail = format_args!("no answer within the {limit:?} of the route");
            let about = (&detail as &dyn std::fmt::Display, self.notes.request_id());
            self.desk.environment.failures().note(label, address, Cause::Silent, about);
            attempt.count(Seen::Nothing, attempt.asked.elapsed());
            attempt.failed(attempt.asked.elapsed());
            self.waiting.iter().for_each(|waiting| waiting.given_up(attempt.asked.elapsed()));
        } else {
            attempt.count(Seen::Left, attempt.asked.elapsed());
        }
        let is_sent = self.facts.body.is_done();
        let problem = policy::out_of_time(limit, is_sent).of_version(&attempt.target.label);
        self.answer(&problem, attempt.target, if is_sent { self.facts.next() } else { Next::Close }).await
    }

    /// Ends a request whose client left or sent a body that cannot be read.
    pub(super) async fn client_failed(
        &mut self,
        end: &ClientEnd,
        attempt: &Attempt<'_>,
        began: Instant,
    ) -> After {
        if matches!(end, ClientEnd::Gone | ClientEnd::GaveWay) && self.report.hedged == Some(Hedged::Lost) {
            self.report.hedged = Some(Hedged::Left);
        }
        let problem = match end {
            ClientEnd::Gone => {
                self.gone(attempt, began);
                self.report.end = End::ClientLeft;
                return After::Close;
            }
            ClientEnd::GaveWay => {
                self.gone(attempt, began);
                policy::gave_way().of_version(&attempt.target.label)
            }
            ClientEnd::Body(error) => policy::bad_body(*error, self.facts.body_limit),
            ClientEnd::Stalled => Problem::new(Status::RequestTimeout, "body_stalled", end.to_string()),
        };
        self.answer(&problem, attempt.target, Next::Close).await
    }

    /// Returns since when the client waits for an instance, where it began to ask then; `None` while it had not sent all of the request.
    fn waits_since(&self, asked: Instant) -> Option<Instant> {
        if self.course.body_is_here { Some(asked) } else { self.delivery.sent() }
    }

    /// Notes that the client left before there was an answer. Who had to wait for long was failed by the arm; but no
    /// instance is left alone for it, since long waits may be what was asked for. What a client took to send its body is its own time:
    /// whoever sends slowly, or never all of it, must not make an arm look bad.
    pub(super) fn gone(&self, attempt: &Attempt<'_>, began: Instant) {
        let waited = self.waits_since(began).map(|since| since.elapsed());
        let after = waited.unwrap_or_default();
        let is_long = after >= PATIENCE && self.facts.delay.is_none();
        let seen = if is_long { Seen::Nothing } else { Seen::Left };
        // Who waits for what may come at any time leaves at any time.
        let is_failed = seen == Seen::Nothing && self.facts.waits.answer < STREAM;
        let end = if is_failed { TrialEnd::Failed } else { TrialEnd::Unknown };
        attempt.count_as(seen, after, end);
        // While the body was on its way, the time was the client's own.
        if let (Some(waiting), Some(waited)) = (&self.waiting, waited) {
            waiting.given_up(waited);
        }
        if self.facts.body.is_done() {
            attempt.endpoint.instance.see(Sample::Abandoned(micros(after)), Moment::now());
        }
    }

    /// Answers for an arm that did not. What became of the instance that read the request first says most.
    pub(super) async fn give_up(&mut self, last: Lost<C::Output>, degraded: Option<&str>) -> After {
        let Lost { service, target, endpoint, how } = self.course.lost.take().unwrap_or(last);
        let target = &service.targets[target];
        let problem = match how {
            Failure::Held(held) => {
                let attempt = Attempt { degraded, ..self.attempt(target, &endpoint, self.report.began) };
                return self.release(held, &attempt).await;
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
            Failure::Stale(_) | Failure::Client(_) | Failure::Late(_) => {
                Problem::new(Status::BadGateway, "bad_answer", "the instance closed the connection")
            }
        };
        let problem = match degraded {
            Some(of) => problem.degraded(of, 1),
            None => problem,
        };
        let next = if self.desk.worker.departure.ends(self.stop) { Next::Close } else { self.facts.next() };
        self.answer(&problem.of_version(&target.label), target, next).await
    }

    /// Answers for an arm.
    async fn answer(&mut self, problem: &Problem, of: &Target, next: Next) -> After {
        self.waiting = None;
        self.output.give_back();
        let marks = self.notes.marks(of.counts.arm.as_ref());
        problem.write(self.output.lend(), self.facts.asked, next, marks);
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
