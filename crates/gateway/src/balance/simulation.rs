//! Requests over simulated time through the real choosing and noting, with two workers: who gets how much?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lockstep_domain::routes::{ServiceRoutes, SplitRole};

use super::{ArmHealth, Search, note_failure, pick};
use crate::affinity::Mark;
use crate::endpoint::{Endpoint, Lease};
use crate::instance::{Instance, Unanswered};
use crate::latency::Sample;
use crate::moment::Moment;
use crate::random::Random;
use crate::table::{ServiceTargets, Tally, Target};

const SECOND: u64 = 1_000_000;
/// Between two requests: 500 a second.
const GAP: u64 = 2_000;
const SEEDS: u64 = 4;

/// What an instance does with a request that comes at a time: how long it takes, and whether it is answered well.
type Behaviour = fn(at: u64, luck: u64) -> Reply;

#[derive(Clone, Copy)]
enum Reply {
    Served(u64),
    Failed(u64),
    Never,
}

fn healthy(_: u64, luck: u64) -> Reply {
    Reply::Served(10_000 + luck % 20_000)
}

fn fails_at_once(_: u64, _: u64) -> Reply {
    Reply::Failed(100)
}

fn fails_half(_: u64, luck: u64) -> Reply {
    if luck.is_multiple_of(2) { Reply::Failed(100) } else { Reply::Served(1_000) }
}

fn fails_rarely(_: u64, luck: u64) -> Reply {
    if luck.is_multiple_of(1_000) { Reply::Failed(1_000) } else { healthy(0, luck) }
}

fn hangs(_: u64, _: u64) -> Reply {
    Reply::Never
}

fn slow(_: u64, luck: u64) -> Reply {
    Reply::Served(200_000 + luck % 50_000)
}

fn recovers_after_20_s(at: u64, luck: u64) -> Reply {
    if at < 20 * SECOND { Reply::Failed(100) } else { healthy(at, luck) }
}

/// The end of a request.
struct End {
    number: usize,
    worker: usize,
    reply: Reply,
    began: Moment,
    lease: Lease,
    unanswered: Unanswered,
}

struct World {
    workers: Vec<ServiceTargets>,
    behaviours: Vec<Behaviour>,
    random: Random,
    ends: BTreeMap<Reverse<(u64, u64)>, End>,
    /// Requests of each instance, for each second.
    asked: Vec<BTreeMap<u64, u64>>,
    requests: u64,
}

impl World {
    fn new(role: SplitRole, behaviours: &[Behaviour], seed: u64) -> Self {
        let address = |n: usize| SocketAddr::from(([127, 0, 0, 1], u16::try_from(n).unwrap()));
        let instances: Vec<_> =
            (0..behaviours.len()).map(|n| Arc::new(Instance::new(address(n), Mark::default()))).collect();
        let health = Arc::new(ArmHealth::default());
        let worker = |_| {
            let endpoints = instances.iter().map(|it| Arc::new(Endpoint::new(Arc::clone(it)))).collect();
            let (label, tally) = ("shop@1.0.0".to_owned(), Arc::new(Tally::default()));
            let target = Target {
                label,
                protocol: Default::default(),
                role,
                tally,
                health: Arc::clone(&health),
                counts: Arc::default(),
                meter: None,
                endpoints,
                leaving: Vec::new(),
                breakers: None,
            };
            let routes = ServiceRoutes {
                salt: String::new(),
                splits: Vec::new(),
                watch: None,
                version_rules: Vec::new(),
                fallback: None,
                mirror: None,
            };
            ServiceTargets {
                service: "shop".parse().unwrap(),
                routes,
                targets: vec![target],
                trial: None,
                keeps_clients: false,
                speaks_tcp: false,
                fallback: None,
                mirror: None,
            }
        };
        Self {
            workers: (0..2).map(worker).collect(),
            behaviours: behaviours.to_vec(),
            random: Random::seeded(seed),
            ends: BTreeMap::new(),
            asked: vec![BTreeMap::new(); behaviours.len()],
            requests: 0,
        }
    }

    fn run(mut self, seconds: u64) -> Self {
        let mut looked = 0;
        for now in (1..seconds * SECOND).step_by(usize::try_from(GAP).unwrap()) {
            while self.ends.last_key_value().is_some_and(|(Reverse((at, _)), _)| *at <= now) {
                let (Reverse((at, _)), end) = self.ends.pop_last().unwrap();
                self.end(end, Moment(at));
            }
            if now / SECOND > looked {
                looked = now / SECOND;
                let arm = &self.workers[0].targets[0];
                arm.health.look(arm, Moment(now));
            }
            self.begin(Moment(now));
        }
        self
    }

    fn begin(&mut self, now: Moment) {
        let worker = self.random.below(2);
        let picked = pick(&self.workers[worker], 0, search(&self.random, now));
        let lease = picked.expect("somebody is asked").lease;
        let number = usize::from(lease.endpoint().instance.address.port());
        let reply = self.behaviours[number](now.0, self.random.draw());
        *self.asked[number].entry(now.0 / SECOND).or_default() += 1;
        self.requests += 1;
        let took = match reply {
            Reply::Served(took) | Reply::Failed(took) => took,
            Reply::Never => 60 * SECOND,
        };
        let unanswered = lease.endpoint().instance.ask(now);
        let end = End { number, worker, reply, began: now, lease, unanswered };
        self.ends.insert(Reverse((now.0 + took, self.requests)), end);
    }

    fn end(&self, end: End, now: Moment) {
        let End { number, worker, reply, began, lease, unanswered } = end;
        let arm = &self.workers[worker].targets[0];
        let instance = &arm.endpoints[number].instance;
        let took = now.since(began);
        if !matches!(reply, Reply::Never) {
            unanswered.heard(now);
        }
        if matches!(reply, Reply::Served(_)) {
            instance.see(Sample::Served(took), now);
            instance.succeeded();
        } else {
            instance.see(Sample::Failed(took), now);
            note_failure(arm, &arm.endpoints[number], now);
        }
        drop(lease);
    }

    /// The share of requests that an instance got between two seconds, in percent.
    fn share(&self, number: usize, from: u64, to: u64) -> f64 {
        let sum = |asked: &BTreeMap<u64, u64>| asked.range(from..to).map(|(_, count)| count).sum::<u64>();
        100.0 * sum(&self.asked[number]) as f64 / self.asked.iter().map(sum).sum::<u64>() as f64
    }
}

/// Runs for two minutes with several seeds, and gives each to `check`.
fn simulate(role: SplitRole, behaviours: &[Behaviour], check: impl Fn(&World)) {
    (0..SEEDS).for_each(|seed| check(&World::new(role, behaviours, seed).run(120)));
}

/// Checks the shares of the first instance in percent between two seconds, beside those of the others.
fn first_gets(
    role: SplitRole,
    behaviours: &[Behaviour],
    (from, to): (u64, u64),
    expected: RangeInclusive<f64>,
) {
    simulate(role, behaviours, |world| {
        let share = world.share(0, from, to);
        assert!(expected.contains(&share), "{share} percent");
    });
}

fn search(random: &Random, now: Moment) -> Search<'_> {
    Search { tried: &[], affinity: None, random, now }
}

#[test]
fn instances_alike_get_shares_alike() {
    first_gets(SplitRole::Stable, &[healthy, healthy, healthy], (0, 120), 30.0..=37.0);
    first_gets(SplitRole::Stable, &[fails_rarely, fails_rarely], (0, 120), 45.0..=55.0);
}

#[test]
fn one_that_fails_at_once_gets_next_to_nothing() {
    first_gets(SplitRole::Stable, &[fails_at_once, healthy, healthy], (0, 120), 0.0..=1.0);
    first_gets(SplitRole::Stable, &[fails_at_once, healthy, healthy], (0, 5), 0.0..=1.0);
    first_gets(SplitRole::Stable, &[fails_half, healthy, healthy], (0, 120), 0.0..=5.0);
}

#[test]
fn two_of_three_that_fail_at_once_get_little_although_only_one_may_be_taken_out() {
    simulate(SplitRole::Stable, &[fails_at_once, fails_at_once, healthy], |world| {
        assert!(world.share(2, 0, 120) > 95.0);
    });
}

#[test]
fn one_that_hangs_gets_next_to_nothing_long_before_the_first_time_limit() {
    first_gets(SplitRole::Stable, &[hangs, healthy, healthy], (0, 30), 0.0..=1.0);
    first_gets(SplitRole::Stable, &[hangs, healthy, healthy], (0, 120), 0.0..=1.0);
}

#[test]
fn one_that_recovers_comes_back_within_a_minute() {
    first_gets(SplitRole::Stable, &[recovers_after_20_s, healthy, healthy], (0, 20), 0.0..=1.0);
    first_gets(SplitRole::Stable, &[recovers_after_20_s, healthy, healthy], (80, 120), 25.0..=40.0);
}

#[test]
fn one_that_is_slow_gets_less_and_is_still_looked_at() {
    first_gets(SplitRole::Stable, &[slow, healthy, healthy], (0, 120), 0.05..=10.0);
}

#[test]
fn when_all_fail_every_request_is_still_sent_to_somebody() {
    let behaviours: &[Behaviour] = &[fails_at_once, fails_at_once, fails_at_once];
    simulate(SplitRole::Stable, behaviours, |world| assert_eq!(world.requests, 60_000));
    simulate(SplitRole::Stable, &[fails_at_once], |world| assert_eq!(world.requests, 60_000));
}

#[test]
fn an_arm_on_trial_hides_none_of_its_failures() {
    first_gets(SplitRole::Candidate, &[fails_at_once, healthy, healthy], (60, 120), 33.0..=100.0);
    first_gets(SplitRole::Candidate, &[fails_at_once], (0, 120), 100.0..=100.0);
}

#[test]
fn when_fewer_than_half_are_healthy_those_that_were_taken_out_are_asked_too() {
    let five: [Behaviour; 5] = [healthy; 5];
    let world = World::new(SplitRole::Stable, &five, 1);
    let (service, now) = (&world.workers[0], Moment(1));
    let arm = &service.targets[0];
    let asked = || -> BTreeSet<u16> {
        let ask = |_| {
            pick(service, 0, search(&world.random, now)).unwrap().lease.endpoint().instance.address.port()
        };
        (0..500).map(ask).collect()
    };
    arm.endpoints[0].instance.take_out(now);
    arm.endpoints[1].instance.refused(now);
    arm.health.look(arm, now);
    assert_eq!(asked(), BTreeSet::from([2, 3, 4]));
    arm.endpoints[2].instance.refused(now);
    arm.health.look(arm, now);
    assert_eq!(asked(), BTreeSet::from([0, 3, 4]), "who refuses connections cannot be asked");
}
