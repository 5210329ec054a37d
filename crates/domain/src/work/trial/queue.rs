//! What follows from the queue that a worker works on, and from how much it does there.
//!
//! Invariant: what happens to a queue while another version works on it as well neither blames the new version nor proves anything
//! of it. How much is done is compared by instance, over all time in which they said it, and what is not known blames nobody.

use std::collections::BTreeSet;

use lockstep_judge::{Backlog, Obstacle, Trend};

use super::{Said, Seen, WorkTrial};
use crate::work::base::WorkBase;
use crate::work::told::Told;

/// What instances did in how much time, that of each added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pace {
    done: u64,
    ms: u64,
}

impl Pace {
    pub(super) fn add(&mut self, done: u64, ms: u64) {
        self.done = self.done.saturating_add(done);
        self.ms = self.ms.saturating_add(ms);
    }

    /// Returns how much would have been done at this pace in so much time.
    fn expected(self, ms: u64) -> Option<u64> {
        let done = (u128::from(self.done) * u128::from(ms)).checked_div(u128::from(self.ms))?;
        Some(u64::try_from(done).unwrap_or(u64::MAX))
    }
}

impl WorkTrial {
    /// Takes in how deep the queue is, by what an instance said that had said something else before, and whether another version works
    /// on it. When that one has ended, everything about the queue begins anew; the answer that was being waited for then is of before.
    pub(super) fn note_depth(&mut self, asked: Option<(&Told, Option<Seen>)>, is_beside: bool) {
        let is_left_alone = self.is_beside && !is_beside;
        self.is_beside = is_beside;
        if is_left_alone {
            self.backlog = Backlog::default();
            (self.new_pace, self.old_pace) = (Pace::default(), Pace::default());
            self.is_next_stale = true;
        }
        let Some((told, before)) = asked else { return };
        self.no_depth.clone_from(&told.no_depth);
        let is_news = before.is_none_or(|before| told.depths > before.depths);
        let Some(depth) = told.depth.filter(|_| is_news && !is_left_alone) else { return };
        if !std::mem::take(&mut self.is_next_stale) {
            self.backlog.take(depth);
        }
    }

    /// Tells whether it was seen to take from its queue: something was taken, and nobody else could have done that.
    pub(super) const fn takes(&self) -> bool {
        !self.is_beside && self.backlog.has_fallen()
    }

    pub(super) fn judge_queue(&self, said: &mut Said) {
        let Some(queue) = &self.signs.queue else { return };
        if let Some(why) = &self.no_depth {
            said.notes.push(format!("how deep its queue is, is not known: {why}"));
        }
        let before = self.base.as_ref().map(WorkBase::depths).unwrap_or_default();
        match self.backlog.trend(&before) {
            Trend::Grows { from, to, before } => return self.blame_queue(said, (from, to, before)),
            Trend::Rises { from, to } => grows(said, format!("its queue grows ({from} to {to})")),
            Trend::Unknown { more, is_deeper: true } => {
                let seconds = more.saturating_mul(queue.interval_ms).div_ceil(1_000);
                let depth = self.backlog.depth().unwrap_or_default();
                let what = format!("its queue is deeper than before ({depth})");
                grows(
                    said,
                    format!("{what}; whether it grows is known after {more} more answers, some {seconds} s"),
                );
            }
            Trend::GrewBefore => said.notes.push("its queue grows, as it did before".to_owned()),
            Trend::Unknown { .. } | Trend::Flat => {
                let depth = self.backlog.depth().map(|depth| format!("{} in its queue", entries(depth)));
                said.notes.extend(depth);
            }
        }
        if let Some(why) = self.lags() {
            grows(said, why);
        }
    }

    /// Blames it for a queue that grows without end, unless that may be somebody else's doing.
    fn blame_queue(&self, said: &mut Said, (from, to, before): (u64, u64, u64)) {
        let what = format!(
            "the queue of {} {} grows without end ({from} to {to}, before at most {before})",
            self.new.service, self.new.version
        );
        if self.is_beside {
            return grows(said, format!("{what}, while the old version works on it too"));
        }
        match self.expected() {
            None if self.signs.metrics.is_some() => {
                grows(said, format!("{what}; whether less is done than the old version did is not known"));
            }
            Some(expected) if !is_less(self.new_pace.done, expected) => {
                grows(said, format!("{what}, though as much is done as the old version did: more comes in"));
            }
            _ => said.faults.push(what),
        }
    }

    /// Says what it leaves undone where its queue has become deeper, whatever the reason for that is.
    fn lags(&self) -> Option<String> {
        let (lowest, depth) = self.backlog.deepened()?;
        let done = self.new_pace.done;
        let why = match self.expected() {
            _ if self.signs.metrics.is_none() && self.takes() => return None,
            _ if self.signs.metrics.is_none() => "nothing shows that it takes from it".to_owned(),
            Some(expected) if is_less(done, expected) && done < expected / 2 => {
                format!("it did {done} jobs where as many instances of the old version do {expected}")
            }
            _ if done == 0 => "it did no job".to_owned(),
            _ => return None,
        };
        Some(format!("its queue became deeper ({lowest} to {depth}), and {why}"))
    }

    /// Returns how many jobs as many instances of the old version would have done, by what it did at the same time where it works beside,
    /// and before otherwise; `None` where that is not known.
    fn expected(&self) -> Option<u64> {
        let is_said = self.signs.metrics.is_some() && self.new_pace.ms > 0;
        let old = if self.is_beside && self.is_shared { self.old_pace } else { self.pace_before()? };
        old.expected(self.new_pace.ms).filter(|_| is_said && old.done > 0)
    }

    fn pace_before(&self) -> Option<Pace> {
        let base = self.base.as_ref()?;
        let total = base.total();
        Some(Pace { done: total.done, ms: total.ms.saturating_mul(u64::from(base.instances)) })
    }
}

/// Tells whether less was done than is expected, beyond what chance does to so few: twice the square root.
const fn is_less(done: u64, expected: u64) -> bool {
    done.saturating_add(expected.isqrt().saturating_mul(2)) < expected
}

fn grows(said: &mut Said, why: String) {
    said.wait(why.clone(), BTreeSet::from([Obstacle::QueueGrows]));
    said.known.push(why);
}

fn entries(depth: u64) -> String {
    if depth == 0 { "nothing".to_owned() } else { depth.to_string() }
}
