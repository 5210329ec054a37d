//! The breakers of arms, as all workers share them: atomic numbers, each step a function of `domain::breaker`.
//!
//! A request of an arm without one pays one comparison; of a closed one a load, and when it is over one count. Requests of a version that
//! is known to call, at a listener of its own, have a breaker of their own: what one caller does wrong shuts nobody else out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lockstep_domain::breaker::{BreakerRule, Gate, Passage, Phase, Run, SLICES, Slice, Ticket, TrialEnd};
use lockstep_domain::routes::service_policy::Degrade;
use lockstep_domain::routes::{LeftAlone, RouteTable, Split};
use lockstep_domain::{Arm, ServiceName};

use crate::moment::Moment;
use crate::peer::Peer;
use crate::room::{Place, Room};

/// One breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    pub(crate) rule: BreakerRule,
    /// The version that is left alone, for the log.
    label: String,
    /// Who calls it, for the log; empty for everybody.
    caller: String,
    gate: AtomicU64,
    slices: [AtomicU64; SLICES],
    run: AtomicU64,
    /// The trial of which an answer has begun whose end alone says how it went: one more than its number.
    begun: AtomicU32,
    /// The trial that an instance has all of, and one more.
    whole: AtomicU32,
    /// How often it opened.
    opened: AtomicU64,
    pub(crate) instead: Instead,
}

/// What was done instead of asking the arm.
#[derive(Debug, Default)]
pub(crate) struct Instead {
    /// Requests that the version before was given.
    pub(crate) degraded: AtomicU64,
    /// Requests that the gateway answered.
    pub(crate) answered: AtomicU64,
}

/// All breakers of an arm.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    /// Of everybody who is not known.
    everybody: Option<Arc<Breaker>>,
    /// Of those that are.
    callers: Vec<(Arm, Arc<Breaker>)>,
    degrade: Degrade,
    /// Requests that are under way in the place of the arm.
    under_way: Arc<Room>,
}

/// A request that is a trial of an arm. Nothing is known of one that is dropped before its end was noted.
#[derive(Debug)]
pub(crate) struct Trying {
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) ticket: Ticket,
}

impl Drop for Trying {
    fn drop(&mut self) {
        self.breaker.tried(self.ticket, TrialEnd::Unknown, Moment::now());
    }
}

/// What a breaker says to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It passes.
    Free,
    /// It passes as a trial.
    Trial(Trying),
    /// It does not, for so many milliseconds.
    Shut(u64),
}

fn ms(now: Moment) -> u64 {
    // Before a second has passed nothing is a second ago.
    now.0 / 1_000 + 1
}

impl Breaker {
    pub(crate) fn new(rule: BreakerRule, label: String, caller: String) -> Self {
        Self {
            rule,
            label,
            caller,
            gate: AtomicU64::new(0),
            slices: Default::default(),
            run: AtomicU64::new(0),
            begun: AtomicU32::new(0),
            whole: AtomicU32::new(0),
            opened: AtomicU64::new(0),
            instead: Instead::default(),
        }
    }

    /// Decides on a request. The time is only looked up where it is not closed.
    pub(crate) fn ask(self: &Arc<Self>, now: Moment) -> Answer {
        let now = ms(now);
        loop {
            let gate = self.gate();
            if gate.is_closed() {
                return Answer::Free;
            }
            if let Some(ticket) = gate.overdue(now).filter(|ticket| self.has_begun(*ticket)) {
                // A stream that goes on for so long is going well.
                self.moves(gate, gate.tried(&self.rule, ticket, TrialEnd::Served, now));
                continue;
            }
            if let Some(ticket) = gate.lingers(now).filter(|ticket| !self.is_whole(*ticket)) {
                // Its client takes its time; that says nothing of the arm.
                self.moves(gate, gate.tried(&self.rule, ticket, TrialEnd::Unknown, now));
                continue;
            }
            let (next, passage) = gate.ask(&self.rule, now);
            if self.moves(gate, next) {
                return match passage {
                    Passage::Free => Answer::Free,
                    Passage::Trial(ticket) => Answer::Trial(Trying { breaker: Arc::clone(self), ticket }),
                    Passage::Shut(wait) => Answer::Shut(wait),
                };
            }
        }
    }

    /// Notes that the answer to a trial has begun, and that its end says how it went.
    pub(crate) fn begins(&self, ticket: Ticket) {
        self.begun.store(u32::from(ticket.number()) + 1, Ordering::Relaxed);
    }

    /// Notes that an instance has all of a trial.
    pub(crate) fn is_sent(&self, ticket: Ticket) {
        self.whole.store(u32::from(ticket.number()) + 1, Ordering::Relaxed);
    }

    fn is_whole(&self, ticket: Ticket) -> bool {
        self.whole.load(Ordering::Relaxed) == u32::from(ticket.number()) + 1 || self.has_begun(ticket)
    }

    fn has_begun(&self, ticket: Ticket) -> bool {
        self.begun.load(Ordering::Relaxed) == u32::from(ticket.number()) + 1
    }

    /// Counts a request that passed.
    pub(crate) fn note(&self, failed: bool, now: Moment) {
        self.count(failed, ms(now), |slice, epoch| slice.after(epoch, failed));
    }

    /// Counts a request as failed that was counted as served, because its answer broke off.
    pub(crate) fn turned_bad(&self, now: Moment) {
        self.count(true, ms(now), Slice::turned);
    }

    fn count(&self, failed: bool, now: u64, step: impl Fn(Slice, u64) -> Slice) {
        if !self.gate().is_closed() {
            return;
        }
        let epoch = self.rule.epoch(now);
        let slice = &self.slices[usize::try_from(epoch % SLICES as u64).unwrap_or(0)];
        update(slice, |it| step(Slice(it), epoch).0);
        if failed || self.run.load(Ordering::Relaxed) > 0 {
            update(&self.run, |it| Run(it).after(failed, now).0);
        }
        if failed {
            self.open_where_due(now);
        }
    }

    fn open_where_due(&self, now: u64) {
        let slices = self.slices.each_ref().map(|slice| Slice(slice.load(Ordering::Relaxed)));
        let run = Run(self.run.load(Ordering::Relaxed));
        let gate = self.gate();
        if gate.is_closed() && self.rule.opens(gate, &slices, run, now) {
            self.moves(gate, gate.opened(&self.rule, now));
        }
    }

    /// Notes how a trial ended.
    pub(crate) fn tried(&self, ticket: Ticket, end: TrialEnd, now: Moment) {
        loop {
            let gate = self.gate();
            let next = gate.tried(&self.rule, ticket, end, ms(now));
            if next.is_closed() {
                // Before requests pass again: what failed before says nothing of them.
                self.run.store(0, Ordering::Relaxed);
                self.slices.iter().for_each(|slice| slice.store(0, Ordering::Relaxed));
            }
            if next == gate || self.moves(gate, next) {
                return;
            }
        }
    }

    /// Tells whether the step was made, and not another one meanwhile.
    fn moves(&self, from: Gate, to: Gate) -> bool {
        let moved = self.gate.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if moved {
            self.begun.store(0, Ordering::Relaxed);
        }
        if moved && from.phase() != to.phase() {
            self.say(from.phase(), to.phase());
        }
        moved
    }

    fn say(&self, from: Phase, to: Phase) {
        let (version, caller) = (self.label.as_str(), self.caller.as_str());
        match (from, to) {
            (_, Phase::Open) => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                let again = from == Phase::HalfOpen;
                tracing::warn!(version, caller, again, "a version fails its requests and gets none");
            }
            (Phase::HalfOpen, Phase::Closed) => {
                tracing::info!(version, caller, "a version gets its requests again");
            }
            _ => {}
        }
    }

    fn gate(&self) -> Gate {
        Gate(self.gate.load(Ordering::Acquire))
    }

    /// Tells whether requests of its arm simply pass.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate().is_closed()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.gate().phase()
    }

    /// Returns how often it opened.
    pub(crate) fn openings(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

fn update(number: &AtomicU64, step: impl Fn(u64) -> u64) {
    // It is never given up on, so it cannot fail.
    let _ = number.fetch_update(Ordering::AcqRel, Ordering::Acquire, |it| Some(step(it)));
}

impl Breakers {
    /// Returns the breaker of a request that comes from somebody.
    pub(crate) fn of(&self, peer: &Peer) -> Option<&Arc<Breaker>> {
        let known = || {
            let caller = peer.point()?.caller.load();
            self.callers.iter().find(|(arm, _)| *arm == **caller).map(|(_, breaker)| breaker)
        };
        if self.callers.is_empty() { self.everybody.as_ref() } else { known().or(self.everybody.as_ref()) }
    }

    /// Takes one more request in the place of the arm, unless there are too many.
    pub(crate) fn enter(&self) -> Option<Place> {
        self.under_way.enter(self.degrade.requests)
    }
}

/// Who calls an arm; nobody for everybody who is not known.
type Key = (Arm, Option<Arm>);

/// The breakers of an environment. What is known of an arm stays while tables change, as long as its rule is the same.
#[derive(Debug, Default)]
pub(crate) struct BreakerStates {
    breakers: BTreeMap<Key, Arc<Breaker>>,
    under_way: BTreeMap<Arm, Arc<Room>>,
}

/// A breaker as it is seen.
#[derive(Debug)]
pub(crate) struct BreakerSeen {
    pub(crate) arm: Arm,
    pub(crate) caller: Option<Arm>,
    pub(crate) phase: Phase,
    pub(crate) openings: u64,
    pub(crate) degraded: u64,
    pub(crate) answered: u64,
}

impl BreakerSeen {
    fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Returns what a receipt says of it; nothing where its version gets its requests.
    pub(crate) fn left_alone(self) -> Option<LeftAlone> {
        let is_closed = self.is_closed();
        let Self { arm, caller, phase, degraded, answered, .. } = self;
        (!is_closed).then_some(LeftAlone { arm, caller, phase, degraded, answered })
    }
}

impl BreakerStates {
    /// Takes the arms of a table.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        let (mut before, mut places) =
            (std::mem::take(&mut self.breakers), std::mem::take(&mut self.under_way));
        for (service, split, rule) in with_rules(table) {
            let arm = split.arm(service);
            self.under_way.insert(arm.clone(), places.remove(&arm).unwrap_or_default());
            let callers = callers(table, service).into_iter().map(Some);
            for caller in std::iter::once(None).chain(callers) {
                let key = (arm.clone(), caller);
                let label = arm.version_ref().to_string();
                let name = key.1.as_ref().map(|caller| caller.version_ref().to_string());
                let known = before.remove(&key).filter(|known| known.rule == rule);
                let fresh = || Arc::new(Breaker::new(rule, label, name.unwrap_or_default()));
                self.breakers.insert(key, known.unwrap_or_else(fresh));
            }
        }
    }

    /// Returns those of an arm.
    pub(crate) fn of(&self, arm: &Arm, split: &Split) -> Option<Arc<Breakers>> {
        let policy = split.policy.as_ref().filter(|policy| policy.breaker.is_some())?;
        let of_arm = self.breakers.range((arm.clone(), None)..).take_while(|((of, _), _)| of == arm);
        let mut breakers = Breakers {
            degrade: policy.degrade,
            under_way: self.under_way.get(arm).cloned().unwrap_or_default(),
            ..Breakers::default()
        };
        for ((_, caller), breaker) in of_arm {
            match caller {
                None => breakers.everybody = Some(Arc::clone(breaker)),
                Some(caller) => breakers.callers.push((caller.clone(), Arc::clone(breaker))),
            }
        }
        Some(Arc::new(breakers))
    }

    /// Returns all of them as they are.
    pub(crate) fn seen(&self) -> Vec<BreakerSeen> {
        let seen = |((arm, caller), breaker): (&Key, &Arc<Breaker>)| BreakerSeen {
            arm: arm.clone(),
            caller: caller.clone(),
            phase: breaker.phase(),
            openings: breaker.openings(),
            degraded: breaker.instead.degraded.load(Ordering::Relaxed),
            answered: breaker.instead.answered.load(Ordering::Relaxed),
        };
        self.breakers.iter().map(seen).collect()
    }
}

fn with_rules(table: &RouteTable) -> impl Iterator<Item = (&ServiceName, &Split, BreakerRule)> {
    let splits =
        table.services.iter().flat_map(|(name, routes)| routes.splits.iter().map(move |split| (name, split)));
    splits.filter_map(|(name, split)| Some((name, split, split.policy.as_ref()?.breaker?)))
}

/// The versions that call a service at listeners of their own, each once.
fn callers(table: &RouteTable, service: &ServiceName) -> std::collections::BTreeSet<Arm> {
    let is_it = |name: &ServiceName| name == service || table.aliases.get(name) == Some(service);
    let all = table.listeners.iter().flat_map(|listeners| &listeners.callers);
    let calling = all.filter(|caller| caller.services.keys().any(is_it));
    calling.map(|caller| caller.arm.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn breaker(rule: BreakerRule) -> Arc<Breaker> {
        Arc::new(Breaker::new(rule, "shop@1.0.0".into(), String::new()))
    }

    #[test]
    fn of_many_workers_at_once_one_is_given_the_trial() {
        let rule = BreakerRule { requests: 1, trials: 1, ..BreakerRule::default() };
        let breaker = breaker(rule);
        breaker.note(true, Moment(0));
        let later = Moment(rule.open_ms * 1_000 + 2_000);
        for _ in 0..200 {
            let (under_way, seen) = (AtomicU32::new(0), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let ask = || {
                    if let Answer::Trial(trying) = breaker.ask(later) {
                        assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0, "two trials");
                        seen.store(true, Ordering::SeqCst);
                        under_way.fetch_sub(1, Ordering::SeqCst);
                        drop(trying);
                    }
                };
                (0..4).for_each(|_| drop(scope.spawn(ask)));
            });
            assert!(seen.into_inner());
        }
        assert_eq!(breaker.phase(), Phase::HalfOpen, "what nobody saw the end of decides nothing");
        let Answer::Trial(trying) = breaker.ask(later) else { panic!("no trial") };
        breaker.tried(trying.ticket, TrialEnd::Served, later);
        drop(trying);
        assert_eq!((breaker.phase(), breaker.openings()), (Phase::Closed, 1));
    }

    #[test]
    fn no_more_are_under_way_in_its_place_than_it_says() {
        let degrade = Degrade { requests: 2, ..Degrade::default() };
        let breakers = Breakers { degrade, ..Breakers::default() };
        let two = [breakers.enter(), breakers.enter()];
        assert!(two.iter().all(Option::is_some) && breakers.enter().is_none());
        drop(two);
        assert!(breakers.enter().is_some());
    }
}
