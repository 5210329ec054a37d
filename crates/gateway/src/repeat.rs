//! Whether a request may be asked again after an instance gave no answer that can be passed on.
//!
//! Invariant: a request reaches at most two instances, whatever they do with it; so one that kills whoever reads it ends
//! two of them and not all. Asking the stable arm for an arm on trial is such a repeat too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Instances that one request tries before it is given up, most of which took no byte of it.
pub(crate) const MAX_TRIES: usize = 4;
/// One of so many requests under way may be a repeat: repeats must not double the load of instances that fail under it.
const SHARE: u32 = 5;
/// Repeats at once that are allowed with however few requests under way.
const FEWEST: u32 = 3;

/// When a request may be sent again after it might have reached an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Its method is idempotent, and it has no body.
    Once,
    /// Only when no instance can have seen it.
    IfUnsent,
}

/// How an instance failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// No byte of the request was taken.
    Unsent,
    /// It was sent, and the connection ended without a valid answer.
    Broken,
    /// It was sent, and nothing was said in time.
    Silent,
    /// It was answered with a failure.
    Failed,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another instance is asked that can be reached: of this arm, else of another.
    Elsewhere,
    /// Another instance of the same arm is asked that can be reached.
    Beside,
    /// The stable arm is asked, with this part of the budget.
    Shield(Cost),
    /// Another instance of the same arm is asked, within the budget.
    Repeat,
    GiveUp,
}

/// Whether asking again counts against the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// There was an answer: whoever read the request lives, and the stable arm gets what it got before the trial.
    Free,
    Budget,
}

/// What one request has been through, and how far it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    /// Instances that may be tried.
    pub(crate) most: usize,
    /// Instances that were tried.
    pub(crate) tries: usize,
    /// Whether it was sent a second time, or is about to be.
    pub(crate) repeated: bool,
}

/// Decides what is done after a failure. `again` tells whether the request may be sent again after it, and `shield` whether the
/// stable arm can be asked for this one.
pub(crate) fn next_step(loss: Loss, again: bool, shield: bool, past: Past) -> Step {
    match (loss, past.repeated) {
        (Loss::Unsent, _) if past.tries >= past.most => Step::GiveUp,
        (Loss::Unsent, false) => Step::Elsewhere,
        (Loss::Unsent, true) => Step::Beside,
        (_, true) => Step::GiveUp,
        (Loss::Failed, false) if shield => Step::Shield(Cost::Free),
        (Loss::Broken | Loss::Silent, false) if shield => Step::Shield(Cost::Budget),
        (_, false) if again && past.tries < past.most => Step::Repeat,
        (Loss::Broken | Loss::Silent | Loss::Failed, false) => Step::GiveUp,
    }
}

/// Tells whether one more repeat fits beside `repeats` others.
fn fits(under_way: u32, repeats: u32) -> bool {
    repeats < FEWEST.max(under_way / SHARE)
}

/// How many requests of an environment may be repeated at once; all workers share it.
#[derive(Debug)]
pub(crate) struct RepeatBudget {
    under_way: Vec<Count>,
    repeats: AtomicU32,
    /// Requests that another instance is asked for as well: they have no part of what repeats may take.
    hedges: AtomicU32,
    /// How often there was no room for one.
    refused: AtomicU64,
}

/// Aligned so that no two workers write to one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count(AtomicU32);

/// A thing that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'b>(&'b AtomicU32);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RepeatBudget {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            under_way: (0..workers).map(|_| Count::default()).collect(),
            repeats: AtomicU32::new(0),
            hedges: AtomicU32::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts a request as under way.
    pub(crate) fn enter(&self, worker: usize) -> Counted<'_> {
        let count = &self.under_way[worker].0;
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }

    /// Takes a part of the budget for one repeat, if there is any left.
    pub(crate) fn take(&self) -> Option<Counted<'_>> {
        let taken = self.one_more(&self.repeats, 0);
        if taken.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes a part of what repeats leave, for what nobody misses where there is none.
    pub(crate) fn spare(&self) -> Option<Counted<'_>> {
        self.one_more(&self.hedges, self.repeats.load(Ordering::Relaxed))
    }

    fn one_more<'b>(&self, of: &'b AtomicU32, beside: u32) -> Option<Counted<'b>> {
        let under_way = self.under_way.iter().map(|count| count.0.load(Ordering::Relaxed)).sum();
        let one_more = |count: u32| fits(under_way, count.saturating_add(beside)).then_some(count + 1);
        let taken = of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| Counted(of))
    }

    /// Returns how often there was no room for a repeat.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSES: [Loss; 4] = [Loss::Unsent, Loss::Broken, Loss::Silent, Loss::Failed];

    /// Walks through everything that instances can do to a request; returns the most that read it and that were tried.
    fn worst(again: &[Loss], shield: bool, past: Past, read: usize) -> (usize, usize) {
        let mut most = (read, past.tries);
        for loss in LOSSES {
            let read = read + usize::from(loss != Loss::Unsent);
            let past = Past { tries: past.tries + 1, ..past };
            let step = next_step(loss, again.contains(&loss), shield, past);
            let repeated = past.repeated || matches!(step, Step::Shield(_) | Step::Repeat);
            // Once the stable arm is asked, it has no other arm behind it.
            let shield = shield && !matches!(step, Step::Shield(_));
            let end = match step {
                Step::GiveUp => (read, past.tries),
                _ => worst(again, shield, Past { repeated, ..past }, read),
            };
            most = (most.0.max(end.0), most.1.max(end.1));
        }
        most
    }

    #[test]
    fn no_request_is_read_by_more_than_two_instances_and_no_write_by_more_than_one() {
        let from = |most| Past { most, tries: 0, repeated: false };
        for again in [&[Loss::Broken][..], &LOSSES[1..]] {
            for shield in [false, true] {
                let (read, tried) = worst(again, shield, from(MAX_TRIES), 0);
                assert_eq!(read, 2);
                assert!(tried <= MAX_TRIES + 1);
            }
            for most in 1..=MAX_TRIES {
                let (read, tried) = worst(again, false, from(most), 0);
                assert_eq!((read, tried), (most.min(2), most));
            }
        }
        assert_eq!(worst(&[], false, from(MAX_TRIES), 0).0, 1);
    }

    #[test]
    fn what_was_asked_of_the_stable_arm_is_not_repeated_there() {
        let past = Past { most: MAX_TRIES, tries: 2, repeated: true };
        for loss in [Loss::Broken, Loss::Silent, Loss::Failed] {
            assert_eq!(next_step(loss, true, true, past), Step::GiveUp);
        }
        assert_eq!(next_step(Loss::Unsent, true, false, past), Step::Beside);
    }

    #[test]
    fn a_fifth_of_what_is_under_way_may_be_repeated_and_always_three() {
        let budget = RepeatBudget::new(2);
        let three: Vec<_> = std::iter::from_fn(|| budget.take()).collect();
        assert_eq!(three.len(), 3);
        drop(three);
        let under_way: Vec<_> = (0..100).map(|n| budget.enter(n % 2)).collect();
        assert_eq!(std::iter::from_fn(|| budget.take()).take(1_000).collect::<Vec<_>>().len(), 20);
        drop(under_way);
        assert_eq!(std::iter::from_fn(|| budget.take()).take(1_000).collect::<Vec<_>>().len(), 3);
    }

    #[test]
    fn what_is_asked_as_well_takes_nothing_from_repeats_and_gives_way_to_them() {
        let budget = RepeatBudget::new(1);
        let hedges: Vec<_> = std::iter::from_fn(|| budget.spare()).take(1_000).collect();
        let repeats: Vec<_> = std::iter::from_fn(|| budget.take()).take(1_000).collect();
        assert_eq!((hedges.len(), repeats.len()), (3, 3));
        drop(hedges);
        assert!(budget.spare().is_none());
        drop(repeats);
        assert!(budget.spare().is_some());
    }
}
