//! Asking another instance of the same arm as well, when the first one has not begun to answer for longer than the route waits.
//!
//! The answer that begins first is passed on. What the other one was asked on is dropped in that moment, which closes a connection of HTTP/1.1 and
//! resets a stream: it is never used again, whatever comes on it.
//!
//! Invariants: at most two instances read a request, and both are of one arm. It is counted once for that: by the instance that answers, or by the
//! first one where that failed before the other answered. Nothing of the one that was not waited for counts as a failure.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::priority::Priority;
use tokio::time::{sleep, timeout};

use crate::answer::{AnswerHead, Asked};
use crate::balance::{Search, spare};
use crate::endpoint::{Endpoint, Lease};
use crate::framing::{Body, Recode};
use crate::http2::instance::Place;
use crate::instance::Unanswered;
use crate::leaving::Delivery;
use crate::limiter::Waiting;
use crate::loan::{Loan, Origin, Whole};
use crate::moment::Moment;
use crate::outgoing::Outgoing;
use crate::policy::{Hedged, Hedging, in_time};
use crate::repeat::Counted;
use crate::reply::{AnswerSource as _, HearError};
use crate::report::Report;
use crate::table::Target;
use crate::way::{Desk, Notes};

use super::attempt::Attempt;
use super::ends::{Client, Ends as _};
use super::facts::After;
use super::head::Head;
use super::hops::begin_hop;
use super::state::{Asking, Exchange, Failure, Line, Talk};

/// Heads with a status below 200 that may come before the answer.
const MAX_INTERIM_HEADS: usize = 8;

/// The other instance, which has the request.
pub(super) struct Second<O> {
    line: Line,
    endpoint: Arc<Endpoint>,
    asked: Instant,
    /// The answer that began, with what was written of its head; nothing while it is waited for.
    heard: Option<Box<AnswerHead>>,
    output: O,
    /// Its place among those that wait for an answer of the arm.
    waiting: Option<Box<Waiting>>,
}

/// What was heard of the first instance. The other one is kept where that is of use: it answers ([`HearError::Overtaken`]), or it still may after the
/// first one failed. In a box, since it is part of what every request is served by.
type Raced = Result<Box<AnswerHead>, HearError>;

/// The right to ask another instance.
struct Right<'c> {
    lease: Lease,
    waiting: Option<Box<Waiting>>,
    permit: Counted<'c>,
}

/// A read that waits for its first instance.
pub(super) struct Race<'r, 'c, O> {
    pub(super) hedging: &'r Hedging,
    /// How the first one is asked.
    pub(super) attempt: &'r Attempt<'r>,
    pub(super) desk: &'c Desk,
    pub(super) notes: &'c Notes,
    pub(super) head: &'c Head,
    pub(super) tried: &'r [Arc<Endpoint>],
    pub(super) permit: &'r mut Option<Counted<'c>>,
    /// Whether a second instance has read it.
    pub(super) repeated: &'r mut bool,
    /// The other instance, where it is of use.
    pub(super) second: &'r mut Option<Box<Second<O>>>,
    pub(super) report: &'r mut Report,
    pub(super) asked: Asked,
    pub(super) delivery: &'r Delivery,
    /// How long is waited for a connection, and for an answer.
    pub(super) limits: (Duration, Duration),
    /// When the first instance had all of it.
    pub(super) sent: Instant,
}

impl<'c, O: Outgoing> Race<'_, 'c, O> {
    /// Hears the first instance, and another one as well when that takes too long.
    pub(super) async fn run(
        mut self,
        mut first: Pin<&mut impl Future<Output = Result<AnswerHead, HearError>>>,
    ) -> Raced {
        let Some(after) = self.hedging.after() else { return self.first(first.await) };
        tokio::select! {
            biased;
            heard = first.as_mut() => return self.first(heard),
            () = sleep(after) => {}
        }
        if self.delivery.half_closed().is_some() {
            // Its client may have left, and nobody is asked twice for that.
            return self.first(first.await);
        }
        let Right { lease, waiting, permit } = match self.right() {
            Ok(right) => right,
            Err(why) => {
                self.report.hedged = Some(why);
                return self.first(first.await);
            }
        };
        *self.permit = Some(permit);
        self.report.hedged = Some(Hedged::Lost);
        self.report.tries += 1;
        let (endpoint, asked) = (Arc::clone(lease.endpoint()), Instant::now());
        let head =
            begin_hop((self.desk, self.notes, self.head), self.report, self.attempt.target, &endpoint, false);
        let opened = {
            let opening = pin!(self.open(lease, head.as_deref().unwrap_or(self.head)));
            tokio::select! {
                biased;
                heard = first.as_mut() => Err(heard),
                opened = opening => Ok(opened),
            }
        };
        let line = match opened {
            Err(heard) => return self.is_first(heard, None),
            Ok(Ok(line)) => line,
            Ok(Err(_)) => return self.is_first(first.await, None),
        };
        *self.repeated = true;
        let mut second =
            Box::new(Second { line, endpoint, asked, heard: None, output: O::default(), waiting });
        let owed = second.endpoint.instance.ask(Moment::of(asked));
        let heard = {
            let hearing = pin!(timeout(self.limits.1, second.line.head(self.asked, &mut second.output)));
            tokio::select! {
                biased;
                heard = first.as_mut() => Err(heard),
                heard = hearing => Ok(heard.unwrap_or(Err(HearError::Silent))),
            }
        };
        match heard {
            Err(heard) => self.is_first(heard, Some(second)),
            Ok(Ok(head)) if !head.is_failure() && !head.is_switch() => {
                self.won(owed);
                second.heard = Some(Box::new(head));
                *self.second = Some(second);
                Err(HearError::Overtaken)
            }
            Ok(heard) => {
                self.failed(&second, heard.as_ref().err());
                drop(owed);
                second.heard = heard.ok().filter(|head| !head.is_switch()).map(Box::new);
                let heard = first.await;
                // Its answer is a failure, and better than none.
                let answered = second.heard.is_some() && heard.is_err();
                self.is_first(heard, Some(second).filter(|_| answered))
            }
        }
    }

    fn target(&self) -> &Target {
        self.attempt.target
    }

    /// Asks for the right to ask another instance. It is the first thing that is done without where there is too much to do.
    fn right(&self) -> Result<Right<'c>, Hedged> {
        let target = self.attempt.target;
        let left_alone = self.attempt.breaker.is_some_and(|(breaker, _)| !breaker.is_closed());
        if left_alone || target.health.is_panic() {
            return Err(Hedged::NoInstance);
        }
        let tried: Vec<_> = self.tried.iter().chain([self.attempt.endpoint]).cloned().collect();
        let (random, priority) = (&self.desk.worker.random, Priority::Bulk);
        let search = Search { tried: &tried, affinity: None, random, now: Moment::now(), priority };
        let lease = spare(target, search).ok_or(Hedged::NoInstance)?;
        let waiting = match &target.limiter {
            None => None,
            Some(limiter) => {
                let place = limiter.spare(target.choosing.shares, priority);
                Some(Box::new(place.ok_or(Hedged::NoInstance)?))
            }
        };
        let permit = self.desk.environment.repeats().spare().ok_or(Hedged::NoBudget)?;
        Ok(Right { lease, waiting, permit })
    }

    /// Sends the request to the other instance.
    async fn open(&self, lease: Lease, head: &Head) -> io::Result<Line> {
        let (worker, told) = (&self.desk.worker, self.desk.peer.told());
        if self.target().speaks_h2c() {
            let unsaid = || io::Error::other("the request cannot be said in HTTP/2");
            let (parts, early) = head.as_parts().ok_or_else(unsaid)?;
            let place = Place::find(lease, &told, worker, self.limits.0).await?;
            let sent = place.send(parts, early, &Body::Done).await;
            let refused = || io::Error::other("it takes no requests on its connections");
            return Ok(Line::Stream(Box::new(sent.map_err(|_| refused())?)));
        }
        let mut loan = match Loan::kept(lease, true) {
            Ok(kept) => kept,
            Err(lease) => Loan::open(lease, &told, self.limits.0).await?,
        };
        let bytes = head.as_bytes(Recode::Plain, true);
        let sent = loan.ends().0.send_head(&bytes, &Body::Done, worker.timeouts.stall).await;
        sent.map_err(|error| error.source)?;
        Ok(Line::Connection(loan))
    }

    /// Learns from the first instance.
    fn first(&self, heard: Result<AnswerHead, HearError>) -> Raced {
        if heard.as_ref().is_ok_and(|head| !head.is_failure()) {
            self.hedging.see(self.sent.elapsed());
        }
        heard.map(Box::new)
    }

    /// The first instance is heard. Where it failed, the other one may do better.
    fn is_first(&mut self, heard: Result<AnswerHead, HearError>, second: Option<Box<Second<O>>>) -> Raced {
        let is_lost = match &heard {
            Ok(head) => head.is_failure() && !head.is_switch(),
            Err(HearError::Client(_)) => false,
            Err(_) => true,
        };
        *self.second = second.filter(|_| is_lost);
        if self.second.is_none() {
            // One of them has it now, however long it takes.
            *self.permit = None;
            self.report.hops.iter_mut().for_each(|hops| hops.is_left(1));
        }
        self.first(heard)
    }

    /// The other one answers. How long the first would have taken nobody knows; it was longer than this.
    fn won(&mut self, owed: Unanswered) {
        let now = Instant::now();
        owed.heard(Moment::of(now));
        self.report.hedged = Some(Hedged::Won);
        let waited = now.saturating_duration_since(self.sent);
        self.hedging.see(waited);
        self.attempt.left(waited);
        self.report.hops.iter_mut().for_each(|hops| hops.is_left(2));
    }

    /// The other one failed. A kept connection that it had just closed says nothing.
    fn failed(&mut self, second: &Second<O>, error: Option<&HearError>) {
        let was_kept = matches!(&second.line, Line::Connection(loan) if loan.origin() != Origin::New);
        if !(was_kept && matches!(error, Some(HearError::Closed))) {
            let attempt = Attempt { endpoint: &second.endpoint, ..*self.attempt };
            attempt.failed(second.asked.elapsed());
        }
        self.report.hops.iter_mut().for_each(|hops| hops.is_left(1));
    }
}

impl Line {
    /// Hears the head of the answer; what comes before it is passed over.
    async fn head<O: Outgoing>(&mut self, asked: Asked, output: &mut O) -> Result<AnswerHead, HearError> {
        for _ in 0..=MAX_INTERIM_HEADS {
            let head = match self {
                Self::Connection(loan) => loan.ends().2.head(asked, output).await,
                Self::Stream(loan) => loan.ends().2.head(asked, output).await,
            }?;
            if !head.is_interim() {
                return Ok(head);
            }
            output.give_back();
        }
        Err(HearError::Broken("it says nothing but what comes before an answer".to_owned()))
    }
}

impl<C: Client> Exchange<'_, C> {
    /// Passes on the answer of the other instance, which began first.
    pub(super) async fn pass_second(
        &mut self,
        first: &Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        let gone = || Failure::Broken("the answer of the other instance is gone".to_owned());
        let second = self.course.second.take().ok_or_else(gone)?;
        if let Some(waiting) = &self.waiting {
            waiting.given_up(first.asked.elapsed());
        }
        let endpoint = Arc::clone(&second.endpoint);
        let attempt = Attempt { endpoint: &endpoint, may_hold: false, retry: None, cookie: None, ..*first };
        self.hear_second(second, &attempt).await
    }

    /// Hears the other instance out after the first one failed, which was counted for that; nothing where the other one does no better.
    pub(super) async fn ask_second(
        &mut self,
        second: Box<Second<C::Output>>,
        target: &Target,
        began: Instant,
    ) -> Option<After> {
        let (endpoint, asked) = (Arc::clone(&second.endpoint), second.asked);
        let attempt = Attempt { is_counted: true, ..self.attempt(target, &endpoint, asked) };
        let (until, total) = (self.facts.until, self.facts.total.clone());
        let heard = {
            let hearing = pin!(self.hear_second(second, &attempt));
            in_time(until, total, hearing).await
        };
        match heard.unwrap_or_else(|whose| Err(Failure::Late(whose))) {
            Ok(Asking::Passed(after)) => {
                self.report.hedged = Some(Hedged::Won);
                Some(after)
            }
            Err(Failure::Client(end)) => Some(self.client_failed(&end, &attempt, began).await),
            Err(Failure::Late(_)) => Some(self.out_of_time(&attempt).await),
            Ok(Asking::Held(_)) | Err(_) => None,
        }
    }

    async fn hear_second(
        &mut self,
        second: Box<Second<C::Output>>,
        attempt: &Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        let Second { line, endpoint, heard, output, waiting, .. } = *second;
        self.course.permit = None;
        self.waiting = waiting;
        *self.output = output;
        self.report.arm = Some(Arc::clone(&attempt.target.counts));
        self.report.instance = Some(Arc::clone(&endpoint.instance));
        let talk = match line {
            Line::Connection(mut loan) => {
                let talk = self.talk(&mut loan, attempt, heard).await;
                talk.inspect(|_| loan.whole().into_iter().for_each(Whole::give_back))
            }
            Line::Stream(mut loan) => self.talk(&mut *loan, attempt, heard).await,
        };
        match talk {
            Ok(Talk::Passed(after)) => {
                self.note_answer(attempt.target);
                Ok(Asking::Passed(after))
            }
            Ok(Talk::Hold(_)) => Err(Failure::Broken("it switches protocols, unasked".to_owned())),
            Err(HearError::Silent) => Err(Failure::Silent),
            Err(HearError::Client(end)) => Err(Failure::Client(end)),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }
}
