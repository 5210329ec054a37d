//! Requests over simulated time through the real choosing and noting, with two workers: who gets how much?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::outliers::EjectionRule;
use lockstep_domain::priority::Priority;
use lockstep_domain::routes::service_policy::{Balance, ServicePolicy};
use lockstep_domain::routes::{ServiceRoutes, Split, SplitRole};

use super::{ArmHealth, Search, note_failure, pick};
use crate::affinity::Mark;
use crate::endpoint::{Endpoint, Lease};
use crate::instance::{Instance, Unanswered};
use crate::latency::Sample;
use crate::moment::Moment;
use crate::random::Random;
use crate::table::{Choosing, ServiceTargets, Tally, Target};

const SECOND: u64 = 1_000_000;
/// When the simulation begins.
const HOUR: u64 = 3_600 * SECOND;
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
        Self::with(role, behaviours, seed, &ServicePolicy::default())
    }

    /// With a policy; the first instance is fresh at the beginning, and the others were there an hour before.
    fn with(role: SplitRole, behaviours: &[Behaviour], seed: u64, policy: &ServicePolicy) -> Self {
        let address = |n: usize| SocketAddr::from(([127, 0, 0, 1], u16::try_from(n).unwrap()));
        let since = |n: usize| if n == 0 { Moment(HOUR) } else { Moment(0) };
        let instance = |n| Arc::new(Instance::known_since(address(n), Mark::default(), since(n)));
        let instances: Vec<_> = (0..behaviours.len()).map(instance).collect();
        let split = Split {
            version: lockstep_domain::VersionNumber::new(1, 0, 0),
            config: lockstep_domain::ConfigRevision(0),
            weight: 10_000,
            role,
            endpoints: Vec::new(),
            leaving: Vec::new(),
            named: Vec::new(),
            protocol: Default::default(),
            approach: Default::default(),
            policy: Some(Arc::new(policy.clone())),
        };
        let health = Arc::new(ArmHealth::default());
        let worker = |_| {
            let endpoints = instances.iter().map(|it| Arc::new(Endpoint::new(Arc::clone(it)))).collect();
            let (label, tally) = ("shop@1.0.0".to_owned(), Arc::new(Tally::default()));
            let target = Target {
                limiter: None,
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
                choosing: Choosing::of(&split),
                zones: None,
            };
            let routes = ServiceRoutes {
                salt: String::new(),
                splits: Vec::new(),
                watch: None,
                version_rules: Vec::new(),
                fallback: None,
                mirror: None,
                growth: None,
                passages: Vec::new(),
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
                faults: Vec::new(),
                pages: Vec::new(),
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
        for now in (HOUR + 1..HOUR + seconds * SECOND).step_by(usize::try_from(GAP).unwrap()) {
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
        let reply = self.behaviours[number](now.0 - HOUR, self.random.draw());
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
        if arm.choosing.ejection.compares() {
            instance.count(!matches!(reply, Reply::Served(_)), Duration::from_micros(took));
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
        let sum = |asked: &BTreeMap<u64, u64>| {
            asked.range(HOUR / SECOND + from..HOUR / SECOND + to).map(|(_, count)| count).sum::<u64>()
        };
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
    Search { tried: &[], affinity: None, random, now, priority: Priority::Normal }
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
    arm.endpoints[0].instance.take_out(&arm.choosing.ejection, now);
    arm.endpoints[1].instance.refused(now);
    arm.health.look(arm, now);
    assert_eq!(asked(), BTreeSet::from([2, 3, 4]));
    arm.endpoints[2].instance.refused(now);
    arm.health.look(arm, now);
    assert_eq!(asked(), BTreeSet::from([0, 3, 4]), "who refuses connections cannot be asked");
}

#[test]
fn as_many_are_asked_as_a_version_says_and_some_come_back_when_others_leave() {
    let rule = EjectionRule {
        consecutive: 1,
        most_percent: 100,
        floor: 3,
        panic_percent: 0,
        ..EjectionRule::default()
    };
    let policy = ServicePolicy { ejection: Some(rule), ..ServicePolicy::default() };
    let five: [Behaviour; 5] = [healthy; 5];
    let mut world = World::with(SplitRole::Stable, &five, 1, &policy);
    let now = Moment(HOUR);
    let arm = &mut world.workers[0].targets[0];
    let out =
        |arm: &Target| -> Vec<bool> { arm.endpoints.iter().map(|it| it.instance.is_out(now)).collect() };
    for at in [1, 2, 3, 4, 0] {
        note_failure(arm, &arm.endpoints[at], now + Duration::from_millis(at as u64));
    }
    assert_eq!(out(arm), [false, true, true, false, false]);
    assert_eq!(arm.health.held(), 3);
    let left = arm.endpoints.pop().unwrap();
    arm.health.look(arm, now);
    assert_eq!(out(arm), [false, false, true, false], "the one that would be back first");
    arm.endpoints.truncate(2);
    arm.endpoints.push(left);
    arm.endpoints[0].instance.take_out(&rule, now);
    arm.health.look(arm, now);
    assert_eq!(out(arm), [false; 3]);
    assert_eq!(arm.health.held(), 5);
}

/// Runs with a policy and several seeds.
fn with_policy(policy: &ServicePolicy, behaviours: &[Behaviour], check: impl Fn(&World)) {
    (0..SEEDS).for_each(|seed| check(&World::with(SplitRole::Stable, behaviours, seed, policy).run(120)));
}

fn balanced(balance: Balance) -> ServicePolicy {
    ServicePolicy { balance, ..ServicePolicy::default() }
}

fn somewhat_slow(_: u64, luck: u64) -> Reply {
    Reply::Served(40_000 + luck % 20_000)
}

#[test]
fn one_after_the_other_gives_all_alike_whatever_they_do() {
    with_policy(&balanced(Balance::RoundRobin), &[slow, healthy, healthy], |world| {
        for instance in 0..3 {
            let share = world.share(instance, 0, 120);
            assert!((33.0..34.0).contains(&share), "{share} percent");
        }
    });
}

#[test]
fn in_the_place_of_one_that_is_out_all_others_get_alike() {
    with_policy(&balanced(Balance::RoundRobin), &[fails_at_once, healthy, healthy, healthy], |world| {
        assert!(world.share(0, 1, 30) < 2.0);
        let shares: Vec<_> = (1..4).map(|instance| world.share(instance, 1, 30)).collect();
        assert!(shares.iter().all(|share| (31.0..36.0).contains(share)), "{shares:?}");
    });
}

#[test]
fn by_requests_under_way_a_slow_one_gets_less_by_as_much_as_it_is_slower_and_no_more() {
    // 500 a second are 10 to 25 under way: two choices come near to the same number at each.
    with_policy(&balanced(Balance::LeastRequests), &[somewhat_slow, healthy, healthy], |world| {
        let share = world.share(0, 5, 120);
        assert!((17.0..30.0).contains(&share), "{share} percent");
    });
}

#[test]
fn a_fresh_instance_gets_a_share_that_grows_to_that_of_the_others() {
    for balance in [Balance::LeastLatency, Balance::LeastRequests, Balance::RoundRobin] {
        let policy = ServicePolicy { slow_start_ms: Some(60_000), ..balanced(balance) };
        with_policy(&policy, &[healthy, healthy, healthy], |world| {
            // w / (w + 2), with w from 0.1 to 1; a tenth for 6 s.
            for (from, to, least, most) in
                [(0, 6, 3.0, 9.0), (12, 18, 9.0, 19.0), (27, 33, 16.0, 26.0), (60, 120, 30.0, 37.0)]
            {
                let share = world.share(0, from, to);
                assert!((least..most).contains(&share), "{share} percent from {from} to {to} s, {balance:?}");
            }
        });
    }
}

fn compared(rule: EjectionRule) -> ServicePolicy {
    ServicePolicy { ejection: Some(rule), ..balanced(Balance::RoundRobin) }
}

#[test]
fn one_that_fails_half_of_the_time_is_only_left_alone_where_shares_are_compared() {
    let in_a_row = EjectionRule { consecutive: 0, ..EjectionRule::default() };
    with_policy(&compared(in_a_row), &[fails_half, healthy, healthy], |world| {
        assert!(world.share(0, 20, 120) > 30.0);
    });
    let rule = EjectionRule { failures_percent: 40, ..in_a_row };
    with_policy(&compared(rule), &[fails_half, healthy, healthy], |world| {
        assert_eq!(world.share(0, 2, 30), 0.0);
        let back = world.share(0, 31, 33);
        assert!(back > 10.0, "it comes back after 30 s: {back} percent");
        assert_eq!(world.share(0, 35, 90), 0.0);
    });
}

#[test]
fn one_that_is_slow_is_left_alone_where_latencies_are_compared_and_those_alike_never_are() {
    let rule = EjectionRule { slower: 5, ..EjectionRule::default() };
    with_policy(&compared(rule), &[slow, healthy, healthy], |world| {
        assert_eq!(world.share(0, 3, 30), 0.0);
    });
    with_policy(&compared(rule), &[healthy, healthy, healthy], |world| {
        let instances = &world.workers[0].targets[0].endpoints;
        assert!(instances.iter().all(|it| it.instance.ejections() == 0));
    });
    with_policy(
        &compared(EjectionRule { failures_percent: 1, ..rule }),
        &[fails_half, fails_half],
        |world| {
            let share = world.share(0, 0, 120) + world.share(1, 0, 120);
            assert_eq!((share, world.requests), (100.0, 60_000), "the last one is never left alone");
        },
    );
}

#[test]
fn no_instance_has_more_under_way_than_it_takes() {
    let policy = ServicePolicy { max_requests: Some(3), ..ServicePolicy::default() };
    let world = World::with(SplitRole::Stable, &[healthy, healthy], 1, &policy);
    let service = &world.workers[0];
    let leases: Vec<_> =
        (0..10).map_while(|_| pick(service, 0, search(&world.random, Moment(HOUR)))).collect();
    assert_eq!(leases.len(), 6);
    assert!(service.targets[0].is_full(Priority::Normal));
    assert!(service.targets[0].endpoints.iter().all(|it| it.instance.in_flight() == 3));
    drop(leases);
    assert!(
        !service.targets[0].is_full(Priority::Normal)
            && pick(service, 0, search(&world.random, Moment(HOUR))).is_some()
    );
}
