//! Asking one instance, and what is counted of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::breaker::{Ticket, TrialEnd};
use lockstep_domain::routes::retries::RetryOn;

use crate::answer::{AnswerHead, Asked, Verdict, is_failure};
use crate::balance::note_failure;
use crate::breaker::Breaker;
use crate::changes::AnswerEdit;
use crate::compress::Packed;
use crate::endpoint::Endpoint;
use crate::framing::Recode;
use crate::latency::Sample;
use crate::moment::{Moment, micros};
use crate::outgoing::Pieces;
use crate::policy::Retry;
use crate::report::{End, Report};
use crate::table::{Outcome, Target};
use crate::trial::{Class, Key, Meter, Seen, Tap};
use crate::way::Notes;

/// What asking one instance depends on.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) target: &'a Target,
    pub(super) endpoint: &'a Arc<Endpoint>,
    /// The arm on trial that failed before.
    pub(super) shielded: Option<&'a str>,
    /// The arm that is left alone, and for which this one is asked.
    pub(super) degraded: Option<&'a str>,
    /// What leaves the arm alone when it fails, and which trial this is.
    pub(super) breaker: Option<(&'a Breaker, Option<Ticket>)>,
    /// The cookie that tells the client where it is kept, when it does not say so itself.
    pub(super) cookie: Option<&'a str>,
    /// What its route changes of the answer.
    pub(super) edit: Option<&'a AnswerEdit>,
    /// Whether a failed answer is held back, so that the stable arm can be asked.
    pub(super) may_hold: bool,
    /// What its route says of asking again, while that can be done.
    pub(super) retry: Option<&'a Retry>,
    /// Whether the arm was counted for this request before.
    pub(super) is_counted: bool,
    pub(super) asked: Instant,
    pub(super) key: Key<'a>,
    pub(super) class: Class,
    /// Whether a rule chose the arm.
    pub(super) ruled: bool,
    /// Whether a check caused it, which counts for no version.
    pub(super) is_of_check: bool,
    /// Whether a visit chose the arm that began at other shares.
    pub(super) held: bool,
    /// Whether it was asked later on purpose.
    pub(super) delayed: bool,
}

impl Attempt<'_> {
    /// Begins to compress an answer whose head is written, where its route wants that.
    pub(super) fn packed(&self, head: &AnswerHead, fields: &impl Pieces, asked: Asked) -> Option<Packed> {
        self.edit?.packing()?.begin(head, fields, asked)
    }

    /// Tells whether an answer is held back, so that somebody else can be asked.
    pub(super) fn holds(&self, head: &AnswerHead) -> bool {
        let by_route = |retry: &Retry| retry.is_after(RetryOn::Status(head.counted()));
        head.is_failure() && (self.may_hold || self.retry.is_some_and(by_route))
    }

    /// Notes how a request was answered, and how long after it was sent.
    pub(super) fn heard(&self, head: &AnswerHead, slow: Option<Duration>, now: Moment) {
        if !head.is_failure() {
            self.compare(false, slow.unwrap_or_default());
        }
        match (head.is_failure(), slow) {
            (true, slow) => self.failed(slow.unwrap_or_default()),
            (false, Some(slow)) => self.endpoint.instance.see(Sample::Served(micros(slow)), now),
            (false, None) => {}
        }
    }

    /// Counts the request for the arm, with the time until its answer began or was given up.
    pub(super) fn count(&self, seen: Seen, took: Duration) {
        let end = match seen {
            Seen::Status(status) if !is_failure(status) => TrialEnd::Served,
            Seen::Status(_) | Seen::Nothing => TrialEnd::Failed,
            Seen::Left => TrialEnd::Unknown,
        };
        self.count_as(seen, took, end);
    }

    /// Counts the request for the arm, and as something else for its breaker.
    pub(super) fn count_as(&self, seen: Seen, took: Duration, end: TrialEnd) {
        if self.is_counted {
            return;
        }
        let failed = match seen {
            Seen::Status(status) => is_failure(status),
            Seen::Nothing => true,
            Seen::Left => false,
        };
        self.ended(end);
        if self.is_of_check {
            return;
        }
        self.target.tally.count(if failed { Outcome::Failed } else { Outcome::Served });
        if matches!(seen, Seen::Status(_)) {
            self.target.tally.took(took);
        }
        if let Some(meter) = self.meter() {
            meter.count(self.class, self.key, seen, took);
        }
    }

    /// Counts a call when its answer is over: its end says how it went. One without such an end was broken off.
    pub(super) fn count_call(&self, report: &mut Report, took: Duration) {
        let seen = match (report.end, report.grpc) {
            (End::ClientLeft | End::OutOfTime | End::Cut, _) => Seen::Left,
            (End::Whole, Some(status)) => Seen::Status(status.as_http()),
            (End::Whole | End::BrokenOff, _) => Seen::Nothing,
        };
        if seen == Seen::Nothing {
            report.end = End::BrokenOff;
        }
        self.count(seen, took);
        match seen {
            Seen::Status(status) if !is_failure(status) => self.endpoint.instance.succeeded(),
            Seen::Left => {}
            Seen::Status(_) | Seen::Nothing => self.failed(Duration::ZERO),
        }
    }

    /// Counts that an answer which had begun was broken off.
    pub(super) fn broke_off(&self) {
        if self.is_counted {
            return;
        }
        if let Some((breaker, None)) = self.breaker {
            breaker.turned_bad(Moment::now());
        }
        if self.is_of_check {
            return;
        }
        self.target.tally.turned_bad();
        if let Some(meter) = self.meter() {
            meter.broke_off(self.class, self.key);
        }
    }

    pub(super) fn verdict<'a>(&'a self, notes: &'a Notes) -> Verdict<'a> {
        let Self { shielded, degraded, cookie, edit, delayed, .. } = *self;
        let lane = notes.lane().map(|lane| lane.text(self.target.counts.arm.as_ref()));
        let request_id = notes.request_id();
        Verdict { version: &self.target.label, request_id, shielded, degraded, cookie, edit, delayed, lane }
    }

    /// Tells the breaker of the arm that only the end of the answer says how the request went.
    pub(super) fn begins(&self) {
        if let Some((breaker, Some(ticket))) = self.breaker {
            breaker.begins(ticket);
        }
    }

    /// Tells the breaker of the arm how the request ended.
    pub(super) fn ended(&self, end: TrialEnd) {
        match self.breaker {
            Some((breaker, Some(ticket))) => breaker.tried(ticket, end, Moment::now()),
            Some((breaker, None)) if end != TrialEnd::Unknown => {
                breaker.note(end == TrialEnd::Failed, Moment::now());
            }
            Some(_) | None => {}
        }
    }

    /// What the stable arm does for the one on trial is no merit or fault of its own; whom a rule sends to one of them was not drawn, and whom a
    /// visit keeps was drawn for other shares.
    pub(super) fn meter(&self) -> Option<&Meter> {
        let is_own = self.shielded.is_none() && !self.ruled && !self.held && !self.is_counted;
        self.target.meter.as_deref().filter(|_| is_own)
    }

    /// Begins to copy the answer where one is wanted to be compared with the contract; `written` is its head.
    pub(super) fn tap(
        &self,
        head: &AnswerHead,
        written: &impl Pieces,
        (asked, recode): (Asked, Recode),
    ) -> Option<Tap> {
        let has_body = !asked.is_head && matches!(head.status, 200..=203 | 206..=299) && !head.is_stream;
        let meter = self.meter().filter(|_| has_body && head.status != 206)?;
        meter.wants(self.class).then(|| written.tap(recode))?
    }

    /// Counts the request for the comparison of instances, where its version asks for that.
    fn compare(&self, failed: bool, took: Duration) {
        if self.target.choosing.ejection.compares() {
            self.endpoint.instance.count(failed, took);
        }
    }

    /// Notes that another instance answered in its place, when this one had taken so long already.
    pub(super) fn left(&self, waited: Duration) {
        self.compare(false, waited);
        self.endpoint.instance.see(Sample::Abandoned(micros(waited)), Moment::now());
    }

    /// Notes that the instance failed a request.
    pub(super) fn failed(&self, after: Duration) {
        self.compare(true, after);
        let now = Moment::now();
        self.endpoint.instance.see(Sample::Failed(micros(after)), now);
        note_failure(self.target, self.endpoint, now);
    }
}
