//! Which baselines are proven, what keeps one from it, and which one is the last good one.

use std::collections::BTreeMap;

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::fault::Fault;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::plan::Refusal;
use lockstep_domain::proven::{ProvenAfter, Proving, Seen, last_good};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::{Arm, Event, InstanceState, Intent, World};
use proptest::prelude::*;

const SECOND: u64 = 1_000;

/// What counts, as the server does it.
struct Counter {
    proving: Option<Proving>,
    wanted: ProvenAfter,
}

impl Counter {
    fn begin(stage: &mut Stage, ms: u64, requests: u64) -> Self {
        let wanted = ProvenAfter { ms, requests };
        let mut settings = stage.env("staging").settings.clone();
        settings.proven_after = wanted;
        stage.record(Event::EnvironmentChanged { environment: environment("staging"), settings });
        Self { proving: None, wanted }
    }

    /// Looks after some time in which some requests were answered, and records what is proven then.
    fn look(&mut self, stage: &mut Stage, elapsed_ms: u64, requests: u64, failures: u64) {
        let counted: BTreeMap<Arm, ArmTraffic> = stage
            .env("staging")
            .entries()
            .iter()
            .map(|(name, entry)| (entry.arm(name), ArmTraffic { requests, failures }))
            .collect();
        let observed = stage.observed("staging");
        let seen = Seen {
            world: &stage.world,
            environment: stage.env("staging"),
            observed: &observed,
            counted: &counted,
            elapsed_ms,
            now: stage.now,
        };
        let proving = Proving::look(self.proving.take(), seen);
        let due = proving.due(&stage.world, stage.env("staging"));
        self.proving = Some(proving);
        due.into_iter().for_each(|event| stage.record(event));
    }

    /// Proves what is current.
    fn prove(&mut self, stage: &mut Stage) {
        self.look(stage, 0, 0, 0);
        self.look(stage, self.wanted.ms, self.wanted.requests, 0);
        assert!(proven(stage).contains(&stage.env("staging").baselines.current().number));
    }

    fn missing(&self, stage: &Stage) -> String {
        self.proving.as_ref().unwrap().missing(&stage.world, stage.env("staging")).join("; ")
    }
}

fn proven(stage: &Stage) -> Vec<u64> {
    stage.env("staging").proven.keys().copied().collect()
}

/// Three versions of orders, of which the first runs.
fn orders() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        stage.release(&format!("orders@{version}"), &[]);
    }
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage
}

#[test]
fn a_baseline_is_proven_once_when_time_and_requests_are_enough() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    counter.look(&mut stage, 0, 0, 0);
    (0..59).for_each(|_| counter.look(&mut stage, SECOND, 10, 0));
    assert_eq!((proven(&stage), counter.missing(&stage).as_str()), (vec![], "59s of 1m"));
    counter.look(&mut stage, SECOND, 10, 0);
    counter.look(&mut stage, SECOND, 10, 0);
    assert_eq!(proven(&stage), [1]);
    let proof = stage.env("staging").proven[&1].clone();
    assert_eq!(
        (proof.requests, proof.failures, proof.to_string().as_str()),
        (600, 0, "600 requests in 1m, 0 failed")
    );
    // Told again it would not fit.
    let text = serde_json::to_string(&stage.world).unwrap();
    let mut loaded: World = serde_json::from_str(&text).unwrap();
    assert_eq!(loaded, stage.world);
    let mut again =
        stage.log.iter().find(|it| matches!(it.event, Event::BaselineProven { .. })).unwrap().clone();
    again.seq = loaded.seq + 1;
    assert!(loaded.fold(&again).unwrap_err().to_string().contains("proven already"));
}

#[test]
fn nobody_there_proves_nothing_unless_requests_are_not_asked_for() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    counter.look(&mut stage, 0, 0, 0);
    (0..100).for_each(|_| counter.look(&mut stage, 5 * SECOND, 0, 0));
    assert_eq!((proven(&stage), counter.missing(&stage).as_str()), (vec![], "0 of 100 requests"));
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 0);
    counter.prove(&mut stage);
    let proof = &stage.env("staging").proven[&1];
    assert_eq!(proof.unasked, [service("orders")]);
    assert_eq!(proof.to_string(), "1m without an alarm, nobody asked");
}

#[test]
fn what_takes_no_requests_is_proven_by_time() {
    let mut stage = Stage::new();
    stage.release_with("mailer@1.0.0", &[], |version| version.run.kind = lockstep_domain::run::Kind::Worker);
    stage.run("staging", &deploy(&["mailer@1.0.0"]), None);
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    counter.look(&mut stage, 0, 0, 0);
    counter.look(&mut stage, 60 * SECOND, 0, 0);
    assert_eq!(proven(&stage), [1]);
}

#[test]
fn an_empty_environment_is_never_proven() {
    let mut stage = Stage::new();
    let mut counter = Counter::begin(&mut stage, 0, 0);
    (0..3).for_each(|_| counter.look(&mut stage, 60 * SECOND, 0, 0));
    assert_eq!((proven(&stage), counter.missing(&stage).as_str()), (vec![], "nothing runs"));
}

#[test]
fn failures_beyond_what_the_environment_allows_are_an_alarm_and_few_are_not() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    counter.look(&mut stage, 0, 0, 0);
    counter.look(&mut stage, 50 * SECOND, 1_000, 9);
    assert!(counter.proving.as_ref().unwrap().alarm.is_none(), "9 of 1,000 are below 1 %");
    counter.look(&mut stage, SECOND, 10, 10);
    let alarm = counter.proving.as_ref().unwrap().alarm.clone().unwrap();
    assert_eq!(alarm.what, "orders failed 19 of 1010 requests within a minute");
    counter.look(&mut stage, 20 * SECOND, 1_000, 0);
    assert_eq!(counter.missing(&stage), "20s of 1m", "it begins anew");
    counter.look(&mut stage, 40 * SECOND, 0, 0);
    assert_eq!(proven(&stage), [1]);
}

#[test]
fn a_slow_burn_is_no_alarm_and_proves_nothing_either() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    counter.look(&mut stage, 0, 0, 0);
    (0..20).for_each(|_| counter.look(&mut stage, 30 * SECOND, 50, 1));
    assert!(proven(&stage).is_empty());
    assert_eq!(counter.missing(&stage), "orders fails 2.00 % of its requests, and 1.00 % are allowed");
}

#[test]
fn an_instance_that_fails_by_its_own_doing_is_an_alarm_and_what_the_place_does_is_none() {
    for (fault, is_alarm) in
        [(Fault::Crash, true), (Fault::Start, true), (Fault::Disk, false), (Fault::Host, false)]
    {
        let mut stage = orders();
        let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
        counter.look(&mut stage, 0, 0, 0);
        stage.instances[0].state = InstanceState::failed("gone", fault);
        counter.look(&mut stage, SECOND, 10, 0);
        assert_eq!(counter.proving.as_ref().unwrap().alarm.is_some(), is_alarm, "{fault:?}");
        counter.look(&mut stage, SECOND, 10, 0);
        let since = counter.proving.as_ref().unwrap().since;
        stage.now = stage.now.plus_ms(SECOND);
        counter.look(&mut stage, SECOND, 10, 0);
        assert_eq!(counter.proving.as_ref().unwrap().since, since, "the same failure is one alarm");
        assert_eq!(counter.proving.as_ref().unwrap().seen_ms, 0, "while nothing serves no time counts");
    }
}

#[test]
fn a_process_that_ended_and_one_that_hangs_are_alarms_and_a_restart_by_a_person_is_none() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 0);
    counter.look(&mut stage, 0, 0, 0);
    stage.instances[0].restarts = 1;
    counter.look(&mut stage, SECOND, 0, 0);
    assert!(
        counter
            .proving
            .as_ref()
            .unwrap()
            .alarm
            .clone()
            .unwrap()
            .what
            .ends_with("ended by itself and was started again")
    );
    counter.look(&mut stage, 30 * SECOND, 0, 0);
    let healthy =
        std::mem::replace(&mut stage.instances[0].state, InstanceState::Unhealthy { reason: "slow".into() });
    counter.look(&mut stage, 29 * SECOND, 0, 0);
    assert_eq!(
        counter.proving.as_ref().unwrap().seen_ms,
        30 * SECOND,
        "time in which it does not serve does not count"
    );
    stage.instances[0].state = healthy;
    counter.look(&mut stage, SECOND, 0, 0);
    assert_eq!(counter.proving.as_ref().unwrap().seen_ms, 31 * SECOND, "a moment is no alarm");
    stage.instances[0].state = InstanceState::Unhealthy { reason: "slow".into() };
    (0..2).for_each(|_| counter.look(&mut stage, 15 * SECOND, 0, 0));
    assert!(counter.proving.as_ref().unwrap().alarm.clone().unwrap().what.ends_with("stayed unhealthy"));
    stage.instances[0].state = InstanceState::Healthy;
    counter.look(&mut stage, SECOND, 0, 0);
    let restart =
        Intent::Restart { service: service("orders"), instances: vec![stage.instances[0].id.clone()] };
    stage.run("staging", &restart, None);
    counter.look(&mut stage, SECOND, 0, 0);
    assert_eq!(counter.proving.as_ref().unwrap().seen_ms, 2 * SECOND);
}

#[test]
fn a_rollout_that_is_taken_back_is_no_alarm_of_what_stayed() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    counter.look(&mut stage, 0, 0, 0);
    counter.look(&mut stage, 50 * SECOND, 100, 0);
    stage.broken.push("orders@1.1.0".into());
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    counter.look(&mut stage, 10 * SECOND, 0, 0);
    assert_eq!(proven(&stage), [1]);
}

proptest! {
    /// Whatever the clock says meanwhile, and in whatever pieces it is looked: proven is exactly what was seen for long enough and asked enough.
    #[test]
    fn a_clock_that_is_set_proves_nothing(
        looks in prop::collection::vec((0_u64..20, 0_u64..20, -1_000_000_i64..1_000_000), 1..20),
    ) {
        let mut stage = orders();
        let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
        counter.look(&mut stage, 0, 0, 0);
        let (mut seen, mut asked, mut is_proven) = (0, 0, false);
        for (seconds, requests, jump) in looks {
            stage.now.0 = stage.now.0.saturating_add_signed(jump);
            counter.look(&mut stage, seconds * SECOND, requests, 0);
            (seen, asked) = (seen + seconds, asked + requests);
            is_proven |= seen >= 60 && asked >= 100;
            prop_assert_eq!(proven(&stage).contains(&1), is_proven);
        }
    }

    /// Whatever happens after it: a baseline that is proven stays so, also for who folds the journal anew or loads a snapshot.
    #[test]
    fn proven_is_never_lost_by_replay(steps in prop::collection::vec(0_u8..5, 1..12)) {
        let mut stage = orders();
        let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
        let mut ever = Vec::new();
        for step in steps {
            let intent = match step {
                0 => deploy(&["orders@1.1.0"]),
                1 => deploy(&["orders@1.2.0"]),
                2 => Intent::Undo,
                3 => Intent::RollBackToLastGood { config: ConfigChoice::AsItRan },
                _ => Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan },
            };
            if stage.plan("staging", &intent, None).is_ok() {
                stage.run("staging", &intent, None);
            }
            let current = stage.env("staging").baselines.current().number;
            if step % 2 == 0 && !ever.contains(&current) {
                counter.look(&mut stage, 0, 0, 0);
                counter.look(&mut stage, 60 * SECOND, 100, 0);
                ever.extend(stage.env("staging").proven.contains_key(&current).then_some(current));
            }
            ever.sort_unstable();
            prop_assert_eq!(proven(&stage), ever.clone());
        }
        let mut folded = World::default();
        stage.log.iter().for_each(|recorded| folded.fold(recorded).unwrap());
        prop_assert_eq!(&folded, &stage.world);
        let text = serde_json::to_string(&stage.world).unwrap();
        prop_assert_eq!(&serde_json::from_str::<World>(&text).unwrap(), &stage.world);
        // The last good one is never what runs, never what somebody went back from, and can be planned.
        if let Ok(good) = last_good(stage.env("staging")) {
            prop_assert!(good.entries != *stage.env("staging").entries());
            let intent = Intent::RollBackToLastGood { config: ConfigChoice::AsItRan };
            let plan = stage.plan("staging", &intent, None).unwrap();
            prop_assert_eq!(&plan.target, &good.entries);
        }
    }
}

fn to_last_good() -> Intent {
    Intent::RollBackToLastGood { config: ConfigChoice::AsItRan }
}

#[test]
fn the_last_good_baseline_is_the_newest_proven_one_that_does_not_run() {
    let mut stage = orders();
    let mut counter = Counter::begin(&mut stage, 60 * SECOND, 100);
    let refused = |stage: &Stage| match &stage.plan("staging", &to_last_good(), None).unwrap_err()[..] {
        [refusal @ Refusal::NoLastGood { .. }] => (refusal.to_string(), refusal.hint().unwrap()),
        other => panic!("{other:?}"),
    };
    let none = "`staging` has no proven baseline to go back to";
    let hint = "see what there is to go back to: lockstep rollback staging";
    assert_eq!(refused(&stage), (none.to_owned(), hint.to_owned()));
    counter.prove(&mut stage);
    assert_eq!(refused(&stage).0, none, "what runs is no way back");
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.run("staging", &deploy(&["orders@1.2.0"]), None);
    let plan = stage.plan("staging", &to_last_good(), None).unwrap();
    assert!(
        plan.warnings.contains(&"baseline 1 is proven: 100 requests in 1m, 0 failed".to_owned()),
        "{:?}",
        plan.warnings
    );
    // That what runs is proven too changes nothing, and is said.
    counter.prove(&mut stage);
    let plan = stage.plan("staging", &to_last_good(), None).unwrap();
    assert_eq!(plan.target, stage.env("staging").baselines.get(1).unwrap().entries);
    assert!(
        plan.warnings.iter().any(|it| it.starts_with("baseline 3, which runs, is proven as well")),
        "{:?}",
        plan.warnings
    );
    stage.run("staging", &to_last_good(), None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0");
    // What was gone back from is good no more, unless somebody names it.
    let (words, hint) = refused(&stage);
    assert_eq!(words, format!("{none}; 3 is proven, but somebody went back from it"));
    assert_eq!(hint, "lockstep rollback staging --to 3");
}
