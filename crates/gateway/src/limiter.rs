//! How many requests of a version wait for an answer at once, where it has a limit that adapts; what is over it is refused at once.
//!
//! A request waits from when it was sent as a whole, or was let in with all that it has, until its answer begins. So what a client takes to send
//! a body or to take an answer, a stream and a WebSocket hold no place. Counting is exact; what is learned from is not all: who finds another
//! worker at it leaves its sample out, so nobody waits for anybody.
//!
//! Invariant: who is let in with all of a request finds fewer waiting than the limit, or one is ended for it whose client may have left.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::adaptive::{AdaptiveLimit, AdaptiveRule, Sample};
use lockstep_domain::priority::{Priority, Shares};
use lockstep_domain::routes::{RouteTable, Split};
use lockstep_domain::{Arm, ServiceName};

use crate::answer::AnswerHead;
use crate::moment::{Moment, micros};
use crate::room::{Doubt, Doubtful, HalfClosed};

/// How many requests of a version wait at once, for all workers.
#[derive(Debug)]
pub(crate) struct Limiter {
    rule: AdaptiveRule,
    waiting: AtomicU32,
    limit: AtomicU32,
    refused: AtomicU64,
    /// Those that wait and whose clients may have left.
    doubtful: Arc<Doubtful>,
    state: Mutex<AdaptiveLimit>,
    /// What the clock of the host was ahead of that of this process when the limiter was made, in microseconds.
    ahead_us: u64,
}

impl Limiter {
    fn new(rule: AdaptiveRule, known: Option<u32>) -> Self {
        let state = AdaptiveLimit::new(rule, known);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            rule,
            waiting: AtomicU32::new(0),
            limit: AtomicU32::new(state.limit()),
            refused: AtomicU64::new(0),
            doubtful: Arc::default(),
            state: Mutex::new(state),
            ahead_us: micros(since).saturating_sub(Moment::now().0),
        }
    }

    /// Lets a request in, unless too many wait; one that is not here as a whole takes its place when it is.
    pub(crate) fn enter(
        self: &Arc<Self>,
        is_whole: bool,
        shares: Shares,
        priority: Priority,
    ) -> Option<Waiting> {
        let more = u32::from(is_whole);
        let instead = || self.doubtful.end_one().then(|| self.waiting.fetch_add(more, Ordering::Relaxed));
        let part = |limit| shares.of(limit, priority);
        let entered = self.take(more, part).or_else(|| self.take_after_a_look(more, part)).or_else(instead);
        let Some(before) = entered else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let place = AtomicU32::new(if is_whole { before + 1 } else { 0 });
        Some(Waiting { limiter: Arc::clone(self), place, doubt: OnceLock::new() })
    }

    /// Lets a request in that nobody misses where there is no place for it: nobody is ended for it, and its refusal is not counted.
    pub(crate) fn spare(self: &Arc<Self>, shares: Shares, priority: Priority) -> Option<Waiting> {
        let before = self.take(1, |limit| shares.of(limit, priority))?;
        Some(Waiting { limiter: Arc::clone(self), place: AtomicU32::new(before + 1), doubt: OnceLock::new() })
    }

    /// Counts `more` as waiting where fewer do than may; returns how many did before.
    fn take(&self, more: u32, part: impl Fn(u32) -> u32) -> Option<u32> {
        let limit = part(self.limit.load(Ordering::Relaxed));
        let one_more = |waiting: u32| (waiting < limit).then_some(waiting + more);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()
    }

    /// After a pause more may wait than before it.
    fn take_after_a_look(&self, more: u32, part: impl Fn(u32) -> u32) -> Option<u32> {
        {
            let mut state = self.state.try_lock().ok()?;
            state.look(Moment::now().0.saturating_add(self.ahead_us));
            self.limit.store(state.limit(), Ordering::Relaxed);
        }
        self.take(more, part)
    }

    /// Tells whether one more would be let in.
    pub(crate) fn has_room(&self, shares: Shares, priority: Priority) -> bool {
        let limit = shares.of(self.limit.load(Ordering::Relaxed), priority);
        let fits = self.waiting.load(Ordering::Relaxed) < limit;
        fits || self.doubtful.is_some()
    }

    /// Learns from a request that is over now.
    fn see(&self, sample: Sample, now: Moment) {
        let Ok(mut state) = self.state.try_lock() else { return };
        state.see(sample, now.0.saturating_add(self.ahead_us));
        self.limit.store(state.limit(), Ordering::Relaxed);
    }
}

/// A request that was let in, until its answer begins.
#[derive(Debug)]
pub(crate) struct Waiting {
    limiter: Arc<Limiter>,
    /// How many waited with it when it began to, itself included; 0 while it does not.
    place: AtomicU32,
    /// Keeps it among those that give their place up.
    doubt: OnceLock<Doubt>,
}

impl Waiting {
    /// Gives its place up for another from now on: its client may have left.
    pub(crate) fn doubt(&self, who: &Arc<HalfClosed>) {
        if self.place().is_some() {
            self.doubt.get_or_init(|| self.limiter.doubtful.add(who));
        }
    }

    /// Takes its place, where it has none yet: all of the request was sent.
    pub(crate) fn begin(&self) {
        if self.place().is_none() {
            let before = self.limiter.waiting.fetch_add(1, Ordering::Relaxed);
            self.place.store(before + 1, Ordering::Relaxed);
        }
    }

    fn place(&self) -> Option<u32> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| *place > 0)
    }

    /// Learns from the head of an answer; a failure, a stream and another protocol say nothing of how long answers take.
    pub(crate) fn heard(&self, head: &AnswerHead, took: Option<Duration>, now: Moment) {
        let Some(took) = took else { return };
        if !head.is_failure() && !head.is_stream && !head.is_switch() {
            self.see(took, true, now);
        }
    }

    /// Learns from a request that nobody waits for any more.
    pub(crate) fn given_up(&self, took: Duration) {
        self.see(took, false, Moment::now());
    }

    fn see(&self, took: Duration, answered: bool, now: Moment) {
        if let Some(under_way) = self.place() {
            self.limiter.see(Sample { took_us: micros(took), under_way, answered }, now);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Whoever finds it among them finds a place that is still taken.
        self.doubt.take();
        if self.place().is_some() {
            self.limiter.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A limiter as it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimiterSeen {
    pub(crate) arm: Arm,
    pub(crate) limit: u32,
    pub(crate) waiting: u32,
    pub(crate) refused: u64,
}

/// The limiters of an environment. What one learned stays while tables change, as long as its rule is the same.
#[derive(Debug, Default)]
pub(crate) struct Limiters(BTreeMap<Arm, Arc<Limiter>>);

impl Limiters {
    /// Takes the arms of a table. A new one begins with the room that another version of its service has: who takes its requests over must not
    /// refuse them until it has learned what the other knows.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        let before = std::mem::take(&mut self.0);
        for (service, split, rule) in with_rules(table) {
            let arm = split.arm(service);
            let known = before.get(&arm).filter(|known| known.rule == rule).cloned();
            let others = before.iter().filter(|(other, _)| other.service == *service);
            let room = others.map(|(_, limiter)| limiter.limit.load(Ordering::Relaxed)).max();
            self.0.insert(arm, known.unwrap_or_else(|| Arc::new(Limiter::new(rule, room))));
        }
    }

    /// Returns that of an arm.
    pub(crate) fn of(&self, arm: &Arm) -> Option<Arc<Limiter>> {
        self.0.get(arm).cloned()
    }

    /// Returns all of them as they are.
    pub(crate) fn seen(&self) -> Vec<LimiterSeen> {
        let seen = |(arm, limiter): (&Arm, &Arc<Limiter>)| LimiterSeen {
            arm: arm.clone(),
            limit: limiter.limit.load(Ordering::Relaxed),
            waiting: limiter.waiting.load(Ordering::Relaxed),
            refused: limiter.refused.load(Ordering::Relaxed),
        };
        self.0.iter().map(seen).collect()
    }
}

fn with_rules(table: &RouteTable) -> impl Iterator<Item = (&ServiceName, &Split, AdaptiveRule)> {
    let splits =
        table.services.iter().flat_map(|(name, routes)| routes.splits.iter().map(move |split| (name, split)));
    splits.filter_map(|(name, split)| Some((name, split, split.policy.as_ref()?.adaptive_limit?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(least: u32) -> Arc<Limiter> {
        let rule = AdaptiveRule { least, start: least, ..AdaptiveRule::default() };
        Arc::new(Limiter::new(rule, None))
    }

    fn enter(limiter: &Arc<Limiter>, is_whole: bool) -> Option<Waiting> {
        limiter.enter(is_whole, Shares::default(), Priority::Normal)
    }

    #[test]
    fn the_lower_its_priority_the_fewer_wait_beside_it() {
        let (limiter, shares) =
            (limiter(10), Shares { normal_percent: 90, low_percent: 50, bulk_percent: 20 });
        let fill = |priority| {
            let one = || limiter.enter(true, shares, priority);
            std::iter::from_fn(one).collect::<Vec<_>>()
        };
        let all = [Priority::Bulk, Priority::Low, Priority::Normal, Priority::Critical].map(fill);
        assert_eq!(all.each_ref().map(Vec::len), [2, 3, 4, 1]);
        let [bulk, ..] = all;
        drop(bulk);
        assert!(fill(Priority::Low).is_empty() && fill(Priority::Normal).len() == 1);
    }

    #[test]
    fn no_more_wait_than_the_limit_says_and_who_sends_a_body_takes_a_place_when_it_is_sent() {
        let limiter = limiter(2);
        let sending = enter(&limiter, false).unwrap();
        let whole = [enter(&limiter, true), enter(&limiter, true)];
        assert!(
            whole.iter().all(Option::is_some)
                && enter(&limiter, true).is_none()
                && !limiter.has_room(Shares::default(), Priority::Normal)
        );
        assert!(enter(&limiter, false).is_none(), "nor is one let in that would only wait later");
        sending.begin();
        drop(whole);
        let one = enter(&limiter, true).unwrap();
        assert_eq!(one.place(), Some(2));
        assert!(enter(&limiter, true).is_none());
        drop((one, sending));
        let seen = Limiters(BTreeMap::new()).seen();
        assert_eq!((limiter.waiting.load(Ordering::Relaxed), seen.len()), (0, 0));
        assert_eq!(limiter.refused.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn of_many_workers_at_once_no_more_are_let_in() {
        let limiter = limiter(5);
        for _ in 0..100 {
            let let_in = || enter(&limiter, true);
            let all: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(let_in)).collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(all.iter().flatten().count(), 5);
        }
    }
}
