//! Asking one instance, on a connection of its own or in a stream of a shared one.

use std::io;
use std::pin::pin;
use std::time::Instant;

use http::HeaderValue;

use crate::endpoint::Lease;
use crate::grpc::write_timeout;
use crate::http2::instance::Place;
use crate::loan::{Loan, Origin, Whole};
use crate::outgoing::Outgoing as _;
use crate::policy::in_time;
use crate::repeat::Repeat;
use crate::reply::HearError;
use crate::upload::SendError;

use super::attempt::Attempt;
use super::ends::{Client, Ends as _};
use super::state::{Asking, Exchange, Failure, Held, Line, Talk};

impl<'c, C: Client> Exchange<'c, C> {
    /// Asks an instance, but no longer than the client gave the call, and the route the request.
    pub(super) async fn ask_in_time(
        &mut self,
        lease: Lease,
        attempt: &Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        let (until, total) = (self.facts.until, self.facts.total.clone());
        let mut asking = pin!(self.ask(lease, attempt));
        match (until, total) {
            (None, None) => asking.await,
            (until, total) => {
                let asked = Box::pin(in_time(until, total, asking.as_mut())).await;
                asked.unwrap_or_else(|whose| Err(Failure::Late(whose)))
            }
        }
    }

    pub(super) async fn ask(
        &mut self,
        lease: Lease,
        attempt: &Attempt<'_>,
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
        let new = Loan::open(lease, &self.desk.peer.told(), self.facts.waits.connect)
            .await
            .map_err(Failure::Unreachable)?;
        self.converse(new, attempt).await
    }

    /// Asks in a stream of a shared connection; once more where the instance ended that before it looked at the request.
    pub(super) async fn ask_in_stream(
        &mut self,
        lease: Lease,
        attempt: &Attempt<'_>,
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

    pub(super) async fn converse_in_stream(
        &mut self,
        lease: Lease,
        attempt: &Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        self.output.give_back();
        let unsaid = || Failure::Broken("it speaks HTTP/2, in which this request cannot be said".to_owned());
        let (mut parts, mut early) = self.head().as_parts().ok_or_else(unsaid)?;
        if let (true, Some(kept)) = (self.course.is_touched, self.client.kept()) {
            early = [early, kept].concat().into();
        }
        let place =
            Place::find(lease, &self.desk.peer.told(), &self.desk.worker, self.facts.waits.connect).await;
        let place = place.map_err(Failure::Unreachable)?;
        if let Some(until) = self.facts.until {
            let left = write_timeout(until.saturating_duration_since(Instant::now()));
            parts.headers.insert("grpc-timeout", HeaderValue::try_from(left).map_err(|_| unsaid())?);
        }
        let sent = place.send(parts, early, &self.facts.body).await;
        let mut loan = Box::new(sent.map_err(Failure::Stale)?);
        let talk = self.talk(&mut *loan, attempt, None).await;
        if matches!(talk, Err(HearError::Overtaken)) {
            // The instance is told before the other answer is passed on.
            drop(loan);
            return Box::pin(self.pass_second(attempt)).await;
        }
        self.course.is_touched |= loan.upload().is_touched();
        match talk {
            Ok(Talk::Passed(after)) => {
                self.note_answer(attempt.target);
                Ok(Asking::Passed(after))
            }
            Ok(Talk::Hold(head)) => {
                let output = std::mem::take(self.output);
                Ok(Asking::Held(Box::new(Held { line: Line::Stream(loan), head, output })))
            }
            Err(HearError::Unread(_))
                if self.course.second.is_none()
                    && (!loan.upload().is_touched() || self.client.kept().is_some()) =>
            {
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
    pub(super) async fn converse(
        &mut self,
        mut loan: Loan,
        attempt: &Attempt<'_>,
    ) -> Result<Asking<C::Output>, Failure<C::Output>> {
        self.output.give_back();
        if let Err(error) = self.send_head(&mut loan).await {
            return Err(match (error.began, loan.origin()) {
                (false, Origin::Kept(_)) => Failure::Stale(loan.hang_up()),
                (false, Origin::New) => Failure::Unreachable(error.source),
                (true, _) => Failure::Broken(error.source.to_string()),
            });
        }
        let talk = self.talk(&mut loan, attempt, None).await;
        if matches!(talk, Err(HearError::Overtaken)) {
            // The instance is told before the other answer is passed on.
            drop(loan);
            return Box::pin(self.pass_second(attempt)).await;
        }
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
            Err(HearError::Closed)
                if self.course.second.is_none()
                    && self.facts.repeat == Repeat::Once
                    && loan.was_stale().await =>
            {
                Err(Failure::Stale(loan.hang_up()))
            }
            Err(HearError::Silent) => Err(Failure::Silent),
            Err(HearError::Client(end)) => Err(Failure::Client(end)),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }

    pub(super) async fn send_head(&self, loan: &mut Loan) -> Result<(), SendError> {
        let (mut writer, ..) = loan.ends();
        let body = &self.facts.body;
        let head = self.head().as_bytes(self.facts.recode, body.is_done());
        writer.send_head(&head, body, self.desk.worker.timeouts.stall).await
    }
}
