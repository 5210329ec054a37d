//! A version that works on so many requests at once and lets the others queue, over simulated time: where does the limit come to?

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
/// When the simulation begins, by its clock.
const HOUR: u64 = 3_600 * SECOND;
const SEEDS: u64 = 5;

/// How long a request is worked on, in microseconds: by when that begins, and luck from 0 to 1.
type Work = fn(at_us: u64, luck: f64) -> f64;

fn even(_: u64, _: f64) -> f64 {
    10_000.0
}

/// As differing as exponential times are.
fn differing(_: u64, luck: f64) -> f64 {
    -(1.0 - luck).ln() * 10_000.0
}

/// One of ten takes forty times as long.
fn mixed_work(_: u64, luck: f64) -> f64 {
    if luck < 0.1 { 82_000.0 } else { 1_000.0 + 2_000.0 * luck }
}

/// Five times as slow from the 20th to the 40th second on.
fn slow_for_a_while(at_us: u64, luck: f64) -> f64 {
    let slow = (HOUR + 20 * SECOND..HOUR + 40 * SECOND).contains(&at_us);
    differing(at_us, luck) * if slow { 5.0 } else { 1.0 }
}

/// Twice as slow from the 20th second on, for ever.
fn slower(at_us: u64, luck: f64) -> f64 {
    differing(at_us, luck) * if at_us >= HOUR + 20 * SECOND { 2.0 } else { 1.0 }
}

/// A version, and who asks it.
struct Model {
    /// Requests that it works on at once.
    works_on: usize,
    work: Work,
    /// Requests in a second.
    rate: f64,
    seconds: u64,
    /// How long clients wait.
    patience_us: u64,
}

/// What became of the requests that came in the last half of the time.
#[derive(Debug, Default)]
struct Seen {
    asked: u32,
    refused: u32,
    answered: u32,
    /// The limit in the mean, each tenth of a second.
    limit: f64,
    waited_us: f64,
}

impl Model {
    fn new(works_on: usize, work: Work, rate: f64) -> Self {
        Self { works_on, work, rate, seconds: 60, patience_us: 3_600 * SECOND }
    }

    fn run(&self, rule: AdaptiveRule, seed: u64) -> Seen {
        let mut luck = Luck(seed.wrapping_mul(2) + 1);
        let (end, mut at) = (HOUR + self.seconds * SECOND, HOUR);
        let arrivals = |luck: &mut Luck| {
            at += (-(1.0 - luck.next()).ln() * 1e6 / self.rate) as u64 + 1;
            Some(at).filter(|at| *at < end)
        };
        self.run_with(rule, &mut luck, arrivals)
    }

    /// Runs it with requests that come at these times, in their order; the first one comes at the beginning.
    fn run_with(
        &self,
        rule: AdaptiveRule,
        luck: &mut Luck,
        mut arrivals: impl FnMut(&mut Luck) -> Option<u64>,
    ) -> Seen {
        let mut limit = AdaptiveLimit::new(rule, None);
        let (mut seen, mut limits) = (Seen::default(), 0);
        let (mut queue, mut ends) = (VecDeque::new(), BinaryHeap::<Reverse<(u64, u64, u32)>>::new());
        let (mut looked, mut under_way) = (HOUR, 0_u32);
        let mut arriving = Some(HOUR);
        while let Some(next) = arriving {
            let half = HOUR + self.seconds * SECOND / 2;
            let over = ends.peek().is_some_and(|Reverse((at, ..))| *at <= next);
            let now = if over { ends.peek().map_or(next, |Reverse((at, ..))| *at) } else { next };
            while looked <= now {
                looked += SECOND / 10;
                if looked > half {
                    (seen.limit, limits) = (seen.limit + f64::from(limit.limit()), limits + 1);
                }
            }
            if over {
                let Some(Reverse((now, began, entered))) = ends.pop() else { break };
                under_way -= 1;
                let took_us = (now - began).min(self.patience_us);
                let answered = now - began <= self.patience_us;
                limit.see(Sample { took_us, under_way: entered, answered }, now);
                if began >= half && answered {
                    seen.answered += 1;
                    seen.waited_us += took_us as f64;
                }
            } else {
                arriving = arrivals(luck);
                seen.asked += u32::from(now >= half);
                if under_way >= limit.limit() {
                    limit.look(now);
                }
                if under_way < limit.limit() {
                    under_way += 1;
                    queue.push_back((now, under_way));
                } else {
                    seen.refused += u32::from(now >= half);
                }
            }
            while ends.len() < self.works_on
                && let Some((began, entered)) = queue.pop_front()
            {
                let work = (self.work)(now, luck.next()) as u64;
                ends.push(Reverse((now + work, began, entered)));
            }
        }
        seen.limit /= f64::from(limits.max(1));
        seen.waited_us /= f64::from(seen.answered.max(1));
        seen
    }

    fn all(&self) -> Vec<Seen> {
        (0..SEEDS).map(|seed| self.run(AdaptiveRule::default(), seed)).collect()
    }

    /// The requests that it can answer in the half that is looked at, with work of 10 ms in the mean.
    fn capacity(&self) -> f64 {
        self.works_on as f64 * 100.0 * self.seconds as f64 / 2.0
    }
}

/// A generator of the test alone: splitmix64.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((it ^ (it >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn overloaded(times: f64, works_on: usize, work: Work) -> Model {
    Model::new(works_on, work, works_on as f64 * 100.0 * times)
}

#[test]
fn a_version_with_too_many_requests_answers_as_many_as_it_can_and_soon() {
    for works_on in [1, 8, 40] {
        for (work, least) in [(even as Work, 0.99), (differing, 0.94), (mixed_work, 0.8)] {
            let model = overloaded(3.0, works_on, work);
            for seen in model.all() {
                let share = f64::from(seen.answered) / model.capacity();
                assert!(share > least, "{works_on}: {share} of what it can do: {seen:?}");
                // Behind the knee, and not far: a queue as long as what is worked on, and some for the smallest.
                let (knee, most) = (works_on as f64, works_on as f64 * 2.5 + 8.0);
                assert!((knee..most).contains(&seen.limit), "{works_on}: {seen:?}");
            }
        }
    }
}

#[test]
fn without_a_limit_everybody_waits_and_who_waits_for_a_second_gets_nothing() {
    let all = AdaptiveRule { least: 1_000_000, start: 1_000_000, most: 1_000_000, ..AdaptiveRule::default() };
    let model = Model { patience_us: SECOND, ..overloaded(1.5, 8, differing) };
    let (without, with) = (model.run(all, 1), model.run(AdaptiveRule::default(), 1));
    assert!(f64::from(without.answered) < 0.05 * model.capacity(), "{without:?}");
    assert!(f64::from(with.answered) > 0.9 * model.capacity(), "{with:?}");
}

#[test]
fn it_is_found_also_where_every_client_gave_up_before() {
    // The first ones fill a queue that is longer than anybody waits.
    let rule = AdaptiveRule { start: 1_000, ..AdaptiveRule::default() };
    let model = Model { patience_us: SECOND / 2, ..overloaded(3.0, 8, differing) };
    let seen = model.run(rule, 1);
    assert!(f64::from(seen.answered) > 0.9 * model.capacity(), "{seen:?}");
}

#[test]
fn a_version_with_room_refuses_nobody() {
    for works_on in [8, 40] {
        for work in [even as Work, differing, mixed_work] {
            for seen in overloaded(0.5, works_on, work).all() {
                assert!(f64::from(seen.refused) <= 0.006 * f64::from(seen.asked), "{works_on}: {seen:?}");
            }
        }
    }
    for seen in overloaded(0.01, 1, differing).all() {
        assert_eq!(seen.refused, 0, "who is idle refuses nobody");
    }
}

/// So many at once each time.
fn bursts(of: usize, each_us: u64, from: u64, to: u64) -> impl Iterator<Item = u64> {
    (from..to).step_by(each_us as usize).flat_map(move |at| std::iter::repeat_n(at, of))
}

#[test]
fn who_is_calm_refuses_no_burst_of_as_many_as_may_wait_before_anything_is_known() {
    for works_on in [1, 8, 40] {
        for each_us in [SECOND / 2, SECOND, 7 * SECOND, 100 * SECOND] {
            for work in [even as Work, differing, mixed_work] {
                let seconds = 60.max(each_us * 20 / SECOND);
                let model = Model { seconds, ..Model::new(works_on, work, 0.0) };
                let mut arrivals = bursts(20, each_us, HOUR, HOUR + seconds * SECOND).skip(1);
                let luck = &mut Luck(works_on as u64);
                let seen = model.run_with(AdaptiveRule::default(), luck, |_| arrivals.next());
                assert_eq!(seen.refused, 0, "{works_on} {each_us}: {seen:?}");
            }
        }
    }
}

#[test]
fn after_an_overload_it_refuses_no_such_burst_either() {
    for (works_on, pause) in [(1, 2), (8, 2), (1, 3_000), (40, 3_000)] {
        let until = HOUR + 30 * SECOND;
        let (from, to) = (until + pause * SECOND, until + (pause + 20) * SECOND);
        let overload = (HOUR..until).step_by((3_333 / works_on).max(1)).skip(1);
        let mut arrivals = overload.chain(bursts(20, SECOND, from, to));
        // What is looked at is what came in the last half of the time.
        let model = Model { seconds: 62, ..Model::new(works_on, differing, 0.0) };
        let seen = model.run_with(AdaptiveRule::default(), &mut Luck(3), |_| arrivals.next());
        assert_eq!((seen.asked, seen.refused), (20 * 20, 0), "{works_on} {pause}: {seen:?}");
    }
}

/// Some seconds: longer than a window.
fn long(_: u64, luck: f64) -> f64 {
    2_000_000.0 * (0.5 + luck)
}

#[test]
fn of_what_takes_longer_than_a_window_too_many_are_seen_although_many_are_refused() {
    for works_on in [1, 4] {
        let seconds = 1_200;
        let model = Model { seconds, ..Model::new(works_on, long, works_on as f64 * 1.5) };
        let seen = model.run(AdaptiveRule::default(), 1);
        let can = works_on as f64 * seconds as f64 / 4.0;
        assert!(f64::from(seen.answered) > 0.8 * can && seen.limit < 18.0, "{works_on}: {seen:?}");
    }
}

#[test]
fn after_a_slow_time_it_is_as_before() {
    let slow = Model { seconds: 120, ..overloaded(0.6, 40, slow_for_a_while) };
    for slow in slow.all() {
        assert!(f64::from(slow.answered) > 0.998 * f64::from(slow.asked), "{slow:?}");
    }
}

#[test]
fn a_version_that_is_slower_than_it_was_keeps_the_requests_that_it_can_answer() {
    let model = overloaded(3.0, 40, slower);
    for seen in model.all() {
        let share = f64::from(seen.answered) / (model.capacity() / 2.0);
        assert!(share > 0.94, "{share}: {seen:?}");
    }
    // With twice the work it is busy to four fifths.
    for seen in overloaded(0.4, 40, slower).all() {
        assert!(f64::from(seen.refused) < 0.03 * f64::from(seen.asked), "{seen:?}");
    }
}

#[test]
fn a_version_that_is_ten_times_as_slow_as_its_predecessor_begins_with_its_room_and_keeps_it() {
    let mut limit = AdaptiveLimit::new(AdaptiveRule::default(), Some(200));
    assert_eq!(limit.limit(), 200);
    let mut now = HOUR;
    for _ in 0..20_000 {
        now += MS;
        limit.see(Sample { took_us: 100 * MS, under_way: 110, answered: true }, now);
        assert!(limit.limit() >= 100, "{limit:?}");
    }
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds_whatever_is_seen_and_whatever_the_clock_says(
        samples in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>()), 0..400),
        (least, start, most) in (1_u32..50, 1_u32..2_000, 1_u32..2_000),
    ) {
        let rule = AdaptiveRule { least, start, most, ..AdaptiveRule::default() };
        let mut limit = AdaptiveLimit::new(rule, None);
        for (took_us, at, under_way, answered) in samples {
            limit.see(Sample { took_us, under_way, answered }, at);
            prop_assert!((least..=most.max(least)).contains(&limit.limit()));
        }
    }

    #[test]
    fn while_less_than_half_of_it_is_used_it_does_not_change(
        took in prop::collection::vec(1_u64..60_000_000, 0..600),
        gap in 1_u64..100_000,
    ) {
        let mut limit = AdaptiveLimit::new(AdaptiveRule::default(), Some(40));
        let mut now = HOUR;
        for took_us in took {
            now += gap;
            limit.see(Sample { took_us, under_way: 19, answered: true }, now);
            prop_assert_eq!(limit.limit(), 40);
        }
    }

    /// Bursts of up to `start`, and three times as long between them as each takes. A window may be that of a burst alone: what is lowered by it is
    /// raised again before anybody of the next one is refused.
    #[test]
    fn of_whatever_bursts_that_come_a_calm_version_refuses_none_up_to_its_start(
        (least, start) in (1_u32..20, 1_u32..60),
        bursts in prop::collection::vec((1_u32..60, 1_u64..2_000_000, 3_u64..100), 1..60),
    ) {
        let rule = AdaptiveRule { least: least.min(start), start, ..AdaptiveRule::default() };
        let (mut limit, mut now) = (AdaptiveLimit::new(rule, None), HOUR);
        for (count, took_us, times) in bursts {
            let count = count.min(start);
            if count > limit.limit() {
                limit.look(now);
            }
            prop_assert!(limit.limit() >= count, "{:?}", limit);
            for place in 1..=count {
                // One after the other is worked on.
                now += took_us / u64::from(count);
                limit.see(Sample { took_us: took_us * u64::from(place) / u64::from(count), under_way: place, answered: true }, now);
            }
            now += took_us * times;
        }
    }

    #[test]
    fn a_clock_that_goes_back_once_changes_nothing_for_long(back in 1_u64..HOUR, seed in any::<u64>()) {
        let mut limit = AdaptiveLimit::new(AdaptiveRule::default(), None);
        let (mut luck, mut now, mut sum) = (Luck(seed), HOUR, 0);
        for step in 0..20_000_u32 {
            now += 500;
            if step == 5_000 {
                now -= back;
            }
            // Eight at once, 10 ms each, always as many as are let in.
            let under_way = limit.limit();
            let took_us = (10_000.0 * (f64::from(under_way) / 8.0).max(1.0) * (0.9 + 0.2 * luck.next())) as u64;
            limit.see(Sample { took_us, under_way, answered: true }, now);
            sum += if step < 10_000 { 0 } else { limit.limit() };
        }
        prop_assert!((8..=24).contains(&(sum / 10_000)), "{:?}", limit);
    }
}
