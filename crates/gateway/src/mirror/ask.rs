//! Sending a copy, hearing its answer, which nobody gets, and comparing it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::mirror::{Compared, Seen};
use lockstep_domain::priority::Priority;
use tokio::time::timeout;

use super::plan::{Before, Plan, seen, tap};
use super::{MirrorState, Place as CopyPlace};
use crate::answer::Asked;
use crate::balance::{Pick, Search, pick_in};
use crate::buffers::Output;
use crate::endpoint::Lease;
use crate::exchange::{Ends, Head};
use crate::framing::{Body, Recode};
use crate::http2::instance::Place;
use crate::loan::{Loan, Whole};
use crate::moment::Moment;
use crate::outgoing::{Outgoing as _, Pieces as _};
use crate::proxy_out::NOBODY;
use crate::reply::AnswerSource as _;
use crate::table::latency_class;
use crate::upload::RequestSink as _;
use crate::way::Desk;
use crate::worker::Worker;

/// What is read of an answer to a copy; the rest of a longer one says nothing more.
const MAX_READ: usize = 1_024 * 1_024;
/// Bodies that are longer are compared on another thread, so that no client waits meanwhile.
const COMPARED_HERE: usize = 4 * 1_024;

/// An answer that was heard.
struct Heard {
    seen: Seen,
    took: Duration,
}

impl Plan {
    /// Sends it, where there is a place for it and its original was answered; returns whether it was.
    pub(crate) fn send(mut self: Box<Self>, desk: &Desk) -> bool {
        let Some(before) = self.before.take() else { return false };
        let Some(mirror) = &self.service.mirror else { return false };
        let state = Arc::clone(&mirror.state);
        let Some(place) = state.enter() else { return false };
        let random = &desk.worker.random;
        let search =
            Search { tried: &[], affinity: None, random, now: Moment::now(), priority: Priority::Normal };
        let Some(pick) = pick_in(&self.service, mirror.target, search) else {
            state.note(self.compared(&before, None));
            return false;
        };
        let worker = Arc::clone(&desk.worker);
        // Nobody waits for it: not its client, and not the end of the gateway.
        desk.worker.runtime().spawn(async move {
            self.run(before, pick, &worker, state, place).await;
        });
        true
    }

    async fn run(
        self: Box<Self>,
        before: Before,
        pick: Pick,
        worker: &Worker,
        state: Arc<MirrorState>,
        place: CopyPlace,
    ) {
        let heard = timeout(self.limit, self.ask(pick.lease, worker)).await.ok().flatten();
        let length = |seen: &Seen| seen.json.as_ref().map_or(0, String::len);
        let is_long =
            heard.as_ref().is_some_and(|it| length(&it.seen) + length(&before.seen) > COMPARED_HERE);
        let compare = move || {
            let _place = place;
            state.note(self.compared(&before, heard));
        };
        if is_long {
            drop(tokio::task::spawn_blocking(compare));
        } else {
            compare();
        }
    }

    fn compared(&self, before: &Before, heard: Option<Heard>) -> Compared {
        Compared {
            operation: self.operation.clone(),
            differences: heard.as_ref().map(|heard| before.seen.compare(&heard.seen)),
            before: latency_class(before.took),
            after: heard.map_or(0, |heard| latency_class(heard.took)),
        }
    }

    /// Asks an instance; `None` when it gave no answer that could be read to its end.
    async fn ask(&self, lease: Lease, worker: &Worker) -> Option<Heard> {
        let (began, stall) = (Instant::now(), worker.timeouts.stall);
        let head = match &self.head {
            Head::Bytes(head) => [&head[..], &self.body].concat(),
            Head::Parts(parts, _) => {
                let place = Place::find(lease, &NOBODY, worker, self.connect).await.ok()?;
                let sent = place.send((**parts).clone(), self.body.clone(), &Body::Done).await;
                return hear(&mut sent.ok()?, self.asked, stall, began).await;
            }
        };
        // One that an instance has just closed says nothing about the version.
        let kept = if self.is_safe { Loan::kept(lease, true) } else { Err(lease) };
        let lease = match kept {
            Ok(mut kept) => match converse(&mut kept, &head, self.asked, stall, began).await {
                Some(heard) => {
                    self.keep(kept);
                    return Some(heard);
                }
                None => kept.hang_up(),
            },
            Err(lease) => lease,
        };
        let mut new = Loan::open(lease, &NOBODY, self.connect).await.ok()?;
        let heard = converse(&mut new, &head, self.asked, stall, began).await?;
        self.keep(new);
        Some(heard)
    }

    /// Keeps a connection for the next request, unless the instance may take a body that it does not expect for one.
    fn keep(&self, loan: Loan) {
        loan.whole().into_iter().filter(|_| self.body.is_empty()).for_each(Whole::give_back);
    }
}

async fn converse(
    loan: &mut Loan,
    head: &[u8],
    asked: Asked,
    stall: Duration,
    began: Instant,
) -> Option<Heard> {
    loan.ends().0.send_head(head, &Body::Done, stall).await.ok()?;
    hear(loan, asked, stall, began).await
}

/// Reads an answer to its end and throws it away.
async fn hear<L: Ends>(loan: &mut L, asked: Asked, stall: Duration, began: Instant) -> Option<Heard> {
    let (mut writer, _, mut answer) = loan.ends();
    writer.begin(stall).await;
    let mut output = Output::default();
    let head = loop {
        let head = answer.head(asked, &mut output).await.ok()?;
        if !head.is_interim() {
            break head;
        }
        output.give_back();
    };
    let took = began.elapsed();
    let heard = |grpc, tap| Some(Heard { seen: seen(head.status, grpc, tap), took });
    if head.is_switch() || head.is_stream {
        return heard(head.grpc, None);
    }
    let mut tap = tap(asked, output.seen(), Recode::Plain);
    output.give_back();
    let mut length = 0;
    loop {
        let ended = answer.take(&mut output, Recode::Plain).ok()?;
        length += output.seen().mark();
        tap.iter_mut().for_each(|tap| output.seen().copy_since(0, tap));
        output.give_back();
        if ended {
            break;
        }
        if length > MAX_READ {
            return heard(head.grpc, None);
        }
        match answer.more().await {
            Ok(0) if answer.close(&mut output, Recode::Plain) => break,
            Ok(read) if read > 0 => {}
            _ => return None,
        }
    }
    heard(answer.grpc().or(head.grpc), tap)
}
