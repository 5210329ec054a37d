//! Hearing the answer of an instance and passing it on.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use crate::answer::{AnswerHead, Asked};
use crate::compress::Packed;
use crate::departure::farewell;
use crate::forerun::Forerun;
use crate::framing::Recode;
use crate::moment::Moment;
use crate::outgoing::Outgoing as _;
use crate::problem::Next;
use crate::relay::{
    AnswerSink, Away, ClientEnd, Flow, Limit, Patience, RelayError, client_side, hear, relay,
};
use crate::reply::{AnswerSource, HearError};
use crate::report::{End, Report};
use crate::trial::Seen;
use crate::waits::{STREAM, Waits};
use crate::way::Notes;

use super::attempt::Attempt;
use super::ends::{Client, Ends};
use super::facts::After;
use super::hedge::Race;
use super::state::{Exchange, Held, Line, Talk};

impl<'c, C: Client> Exchange<'c, C> {
    /// How long each side may say nothing while a request is sent. Who calls by gRPC may hold a call open and be silent.
    pub(super) fn patience(&self) -> Patience {
        let stall = self.desk.worker.timeouts.stall;
        Patience { stall, pause: if self.facts.asked.is_call { STREAM } else { stall } }
    }

    /// Hears the answer, unless its head was heard, and passes it on.
    pub(super) async fn talk<L: Ends>(
        &mut self,
        loan: &mut L,
        attempt: &Attempt<'_>,
        heard: Option<Box<AnswerHead>>,
    ) -> Result<Talk, HearError> {
        let patience = self.patience();
        let stall = patience.stall;
        let Waits { answer: limit, silence, .. } = self.facts.waits;
        let (asked, persistent) = (self.facts.asked, self.facts.persistent);
        let (source, mut to_client) = self.client.ends(&mut self.facts.body);
        let (writer, upload, mut answer) = loan.ends();
        let delivery = self.delivery;
        delivery.begin();
        let _watch = delivery.watch(upload);
        let is_limited = attempt.target.choosing.most.is_some();
        if is_limited || !self.course.tried.is_empty() {
            delivery.asks(Some(&attempt.endpoint.instance.doubtful).filter(|_| is_limited));
        }
        let side = client_side(source, self.facts.recode, writer, delivery, patience);
        let mut side = pin!(side);
        let waiting = self.waiting.as_deref();
        let limit = Limit { upload, answer: limit, deadline: self.deadline, waiting, delivery };
        let sent = upload.sent().filter(|_| heard.is_none());
        let unanswered = sent.map(|sent| attempt.endpoint.instance.ask(Moment::of(sent)));
        let mut head = match heard {
            Some(head) => *head,
            None => {
                let forerun = Forerun::new(&mut to_client, asked, &mut self.facts.waits_to_go_on, stall);
                let hedging = self.facts.hedge.as_deref().filter(|_| !self.course.repeated);
                match hedging.zip(sent) {
                    None => hear(side.as_mut(), &mut answer, self.output, limit, forerun, asked).await?,
                    Some((hedging, sent)) => {
                        let race = Race {
                            hedging,
                            attempt,
                            desk: self.desk,
                            notes: self.notes,
                            head: self.head,
                            tried: &self.course.tried,
                            permit: &mut self.course.permit,
                            repeated: &mut self.course.repeated,
                            second: &mut self.course.second,
                            report: &mut *self.report,
                            asked,
                            delivery,
                            limits: (self.facts.waits.connect, self.facts.waits.answer),
                            sent,
                        };
                        let hear = hear(side.as_mut(), &mut answer, self.output, limit, forerun, asked);
                        // What only some requests need is not part of all of them.
                        let mut hearing = Box::pin(hear);
                        *Box::pin(race.run(hearing.as_mut())).await?
                    }
                }
            }
        };
        let heard = Instant::now();
        unanswered.into_iter().for_each(|it| it.heard(Moment::of(heard)));
        attempt.heard(&head, upload.ended().map(|ended| heard - ended), Moment::of(heard));
        if head.is_switch() || attempt.holds(&head) || self.course.second.is_some() {
            return Ok(Talk::Hold(head));
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.heard(&head, upload.sent().map(|sent| heard - sent), Moment::of(heard));
        }
        if let Some(total) = self.facts.total.as_ref().filter(|_| head.is_stream) {
            total.lift();
        }
        let since = if self.course.body_is_here { Some(attempt.asked) } else { upload.sent() };
        // What a client took to send its body is not the instance's time.
        let took = since.map_or(Duration::ZERO, |since| heard.saturating_duration_since(since));
        if head.is_open_call(asked) {
            self.course.open_call = Some(took);
            attempt.begins();
        } else {
            attempt.count(Seen::Status(head.counted()), took);
        }
        // There is a better answer than one that was held back; its instance need not wait any longer.
        self.course.lost = None;
        let open = persistent && upload.is_whole() && !self.desk.worker.departure.ends(self.stop);
        let packed = attempt.packed(&head, self.output.seen(), asked);
        // What is copied is what the instance said.
        let is_packed = packed.as_ref().is_some_and(Packed::is_compressed);
        let seen_in = if is_packed { Recode::Plain } else { head.recode(asked) };
        let mut tap = attempt.tap(&head, self.output.seen(), (asked, seen_in));
        let is_watched = tap.is_some();
        if let (Some(copy), None) = (&self.facts.copy, &tap) {
            tap = copy.tap(self.output.seen(), seen_in);
        }
        let packer = packed.and_then(|packed| packed.tell(&mut head, self.output.lend()));
        let is_of_events = head.is_of_events(self.output.seen());
        let (recode, status) = (head.recode(asked), head.status);
        let ends = || Box::pin(farewell(&self.desk.worker, self.stop, &attempt.endpoint.instance));
        let mut away = is_of_events.then(ends);
        let mut flow = Flow {
            answer: &mut answer,
            recode,
            packer,
            tap: tap.as_mut(),
            output: self.output,
            client: &mut to_client,
            delivery,
            silence: if head.is_stream { STREAM } else { silence },
            stall,
            away: away.as_mut().map(|away| away.as_mut() as Away<'_>),
        };
        let after = pass(side, &mut flow, head, (asked, open), (attempt, self.notes), self.report).await;
        if let Some(took) = self.course.open_call.take() {
            self.report.grpc = flow.answer.grpc();
            attempt.count_call(self.report, took);
        }
        if let Some(copy) = &mut self.facts.copy {
            copy.answered(status, self.report.grpc, took, tap.clone());
        }
        if let (Some(tap), Some(meter), End::Whole) =
            (tap.filter(|_| is_watched), attempt.meter(), self.report.end)
        {
            meter.keep(attempt.class, attempt.key, status, tap);
        }
        let lingers = !upload.is_whole() && after != After::Reset;
        Ok(Talk::Passed(if lingers { After::Linger } else { parting(after, persistent) }))
    }

    /// Passes on a failed answer after all: there was no better one.
    pub(super) async fn release(&mut self, held: Box<Held<C::Output>>, attempt: &Attempt<'_>) -> After {
        let Held { line, head, output } = *held;
        self.waiting = None;
        *self.output = output;
        match line {
            Line::Connection(mut loan) => self.pass_held(&mut loan, head, attempt).await,
            Line::Stream(mut loan) => self.pass_held(&mut *loan, head, attempt).await,
        }
    }

    pub(super) async fn pass_held<L: Ends>(
        &mut self,
        loan: &mut L,
        mut head: AnswerHead,
        attempt: &Attempt<'_>,
    ) -> After {
        let (patience, asked) = (self.patience(), self.facts.asked);
        let persistent = self.facts.persistent;
        let open = persistent && !self.desk.worker.departure.ends(self.stop);
        let (source, mut to_client) = self.client.ends(&mut self.facts.body);
        let (writer, _, mut answer) = loan.ends();
        let delivery = self.delivery;
        delivery.begin();
        let side = pin!(client_side(source, self.facts.recode, writer, delivery, patience));
        let packed = attempt.packed(&head, self.output.seen(), asked);
        let packer = packed.and_then(|packed| packed.tell(&mut head, self.output.lend()));
        let recode = head.recode(asked);
        let mut flow = Flow {
            answer: &mut answer,
            recode,
            packer,
            tap: None,
            output: self.output,
            client: &mut to_client,
            delivery,
            silence: self.facts.waits.silence,
            stall: patience.stall,
            away: None,
        };
        let after = pass(side, &mut flow, head, (asked, open), (attempt, self.notes), self.report).await;
        parting(after, persistent)
    }
}

/// Closes a connection on which its client may be asking again so that this does not destroy the answer on its way.
fn parting(after: After, persistent: bool) -> After {
    if after == After::Close && persistent { After::Linger } else { after }
}

/// Finishes the head of an answer and passes the answer on.
async fn pass<A: AnswerSource, W: AnswerSink>(
    side: Pin<&mut impl Future<Output = ClientEnd>>,
    flow: &mut Flow<'_, A, W>,
    head: AnswerHead,
    (asked, open): (Asked, bool),
    (attempt, notes): (&Attempt<'_>, &Notes),
    report: &mut Report,
) -> After {
    report.status = head.status;
    report.shielded = attempt.shielded.is_some();
    report.grpc = head.grpc;
    let delivery = flow.delivery;
    let next = if open && !head.needs_close(asked) { Next::Keep } else { Next::Close };
    let verdict = attempt.verdict(notes);
    head.finish(flow.output.lend(), asked, next, verdict);
    // Also when this process ends meanwhile.
    let by_its_end = head.needs_close(asked);
    if by_its_end {
        flow.client.breaks(true);
    }
    let relayed = relay(side, flow).await;
    if by_its_end && relayed.is_ok() {
        flow.client.breaks(false);
    }
    if relayed.is_ok() && !head.is_failure() && !head.is_open_call(asked) {
        attempt.endpoint.instance.succeeded();
    }
    report.bytes = delivery.bytes();
    report.end = match relayed {
        Ok(()) => End::Whole,
        Err(RelayError::Client) => End::ClientLeft,
        // It is never one that is passed on: who serves it ends it in order.
        Err(RelayError::Cut | RelayError::Body(_) | RelayError::Away) => End::BrokenOff,
    };
    match (relayed, next) {
        (Ok(()), Next::Keep) => After::Keep,
        (Ok(()), Next::Close) | (Err(RelayError::Client), _) => After::Close,
        (Err(RelayError::Cut | RelayError::Body(_) | RelayError::Away), _) => {
            if !head.is_failure() && !head.is_open_call(asked) {
                attempt.broke_off();
                attempt.failed(Duration::ZERO);
            }
            // Where only the end of the connection ends the body, an orderly end would make a part look like the whole.
            if head.needs_close(asked) { After::Reset } else { After::Close }
        }
    }
}
