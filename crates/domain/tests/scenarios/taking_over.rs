//! Versions that cannot run beside each other: the old one ends before the new one starts, forward and back.

use std::collections::BTreeSet;

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::operation::Phase;
use lockstep_domain::run::{Port, Replace};
use lockstep_domain::{Event, Intent, Strategy};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

const PLACE: &str = "staging";

/// Three versions of a service of which only one can run, and two of its provider, of which two can.
fn stage() -> Stage {
    let mut stage = Stage::new();
    for version in ["web@1.0.0", "web@1.1.0", "web@1.2.0"] {
        stage.release_with(version, &[("pay", "*")], |version| version.run.port = Port::Fixed(9_000));
    }
    stage.release("pay@1.0.0", &[]);
    stage.release("pay@1.1.0", &[]);
    stage.run(PLACE, &deploy(&["pay@1.0.0", "web@1.0.0"]), None);
    stage
}

fn step(stage: &mut Stage) {
    stage.step(PLACE);
    let versions = running(stage);
    assert!(versions.len() <= 1, "{versions:?} run beside each other");
}

/// The versions of `web` that have not ended.
fn running(stage: &Stage) -> BTreeSet<String> {
    let web = stage.instances.iter().filter(|it| it.arm.service == service("web") && !it.state.is_over());
    web.map(|instance| instance.arm.to_string()).collect()
}

fn settle(stage: &mut Stage, intent: &Intent, strategy: Option<&Strategy>) -> Phase {
    let id = stage.begin(PLACE, intent, strategy);
    for round in 0..2_000 {
        step(stage);
        if round % 3 == 0 {
            stage.end_stopping();
        }
        if stage.world.find_operation(id).unwrap().phase.is_settled() {
            return stage.world.find_operation(id).unwrap().phase.clone();
        }
    }
    panic!("it does not settle: {:?}", stage.world.find_operation(id).unwrap().phase);
}

fn back(to: &str) -> Intent {
    let to = to.parse().unwrap();
    Intent::RollBackService { service: service("web"), to, config: ConfigChoice::AsItRan }
}

#[test]
fn the_old_one_ends_first_forward_and_back_and_nothing_is_kept_warm() {
    let mut stage = stage();
    stage.slow_stops = true;
    assert!(settle(&mut stage, &deploy(&["web@1.1.0"]), None).is_done());
    assert_eq!(running(&stage), BTreeSet::from(["web@1.1.0".to_owned()]));
    assert!(stage.env(PLACE).warm.is_empty());
    assert!(settle(&mut stage, &back("1.0.0"), None).is_done());
    assert_eq!(stage.runs(PLACE), "pay@1.0.0 web@1.0.0");
    assert!(
        stage.env(PLACE).holds.contains_key(&"web@1.1.0".parse::<lockstep_domain::VersionRef>().unwrap())
    );
}

#[test]
fn one_that_does_not_start_is_taken_back_and_that_is_said_when_the_old_one_runs_again() {
    let mut stage = stage();
    stage.broken.push("web@1.1.0".into());
    let Phase::Reverted { cause, .. } = settle(&mut stage, &deploy(&["web@1.1.0"]), None) else { panic!() };
    assert!(cause.contains("never answered"), "{cause}");
    assert_eq!(running(&stage), BTreeSet::from(["web@1.0.0".to_owned()]));
    assert!(stage.instances.iter().any(|it| it.arm.version.to_string() == "1.0.0" && it.state.is_healthy()));
}

#[test]
fn an_old_one_that_does_not_come_back_is_waited_for_no_longer_than_patience() {
    let mut stage = stage();
    stage.broken.extend(["web@1.1.0".into(), "web@1.0.0".into()]);
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    (0..20).for_each(|_| step(&mut stage));
    let phase = |stage: &Stage| stage.world.find_operation(id).unwrap().phase.clone();
    assert!(matches!(phase(&stage), Phase::Reverting { .. }), "{:?}", phase(&stage));
    stage.now = stage.now.plus_ms(10 * 60 * 1_000);
    (0..20).for_each(|_| step(&mut stage));
    assert!(matches!(phase(&stage), Phase::Reverted { .. }), "{:?}", phase(&stage));
}

#[test]
fn what_its_wave_has_not_reached_goes_on_serving() {
    let strategies = [None, Some(Strategy::BlueGreen { bake_ms: 0, bound: Default::default() })];
    for strategy in strategies {
        let mut stage = stage();
        let id = stage.begin(PLACE, &deploy(&["pay@1.1.0", "web@1.1.0"]), strategy.as_ref());
        stage.broken.push("pay@1.1.0".into());
        (0..20).for_each(|_| step(&mut stage));
        assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Reverted { .. }));
        let first = stage.instances.iter().filter(|it| it.arm.service == service("web")).count();
        assert_eq!(first, 1, "web was not touched");
    }
}

#[test]
fn a_whole_chain_goes_back_to_a_baseline() {
    let mut stage = stage();
    assert!(settle(&mut stage, &deploy(&["pay@1.1.0", "web@1.1.0"]), None).is_done());
    let to = Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan };
    assert!(settle(&mut stage, &to, None).is_done());
    assert_eq!(stage.runs(PLACE), "pay@1.0.0 web@1.0.0");
}

#[test]
fn it_is_restarted_and_configured_as_well() {
    let mut stage = stage();
    let before = stage.instances.iter().find(|it| it.arm.service == service("web")).unwrap().id.clone();
    let restart = Intent::Restart { service: service("web"), instances: vec![before.clone()] };
    assert!(settle(&mut stage, &restart, None).is_done());
    assert!(
        stage
            .instances
            .iter()
            .any(|it| it.arm.service == service("web") && it.id != before && it.state.is_healthy())
    );
    let set = [("A".to_owned(), lockstep_domain::intent::ConfigValue::Plain("b".into()))].into();
    let configure = Intent::Configure { service: service("web"), set, unset: Vec::new() };
    assert!(settle(&mut stage, &configure, None).is_done());
    assert_eq!(running(&stage), BTreeSet::from(["web@1.0.0 (c1)".to_owned()]));
}

#[test]
fn old_first_is_for_versions_and_not_for_copies_of_one() {
    let mut stage = Stage::new();
    for version in ["web@1.0.0", "web@1.1.0"] {
        stage.release_with(version, &[], |version| version.run.replace = Replace::OldFirst);
    }
    stage.run(PLACE, &deploy(&["web@1.0.0"]), None);
    stage.run(PLACE, &Intent::Scale { service: service("web"), process: None, replicas: 3 }, None);
    assert_eq!(stage.instances.iter().filter(|it| it.state.is_healthy()).count(), 3);
    assert!(settle(&mut stage, &deploy(&["web@1.1.0"]), None).is_done());
    assert_eq!(stage.instances.iter().filter(|it| it.state.is_healthy()).count(), 3);
}

#[test]
fn a_copy_that_is_replaced_ends_before_another_one_starts() {
    let mut stage = Stage::new();
    stage.release_with("web@1.0.0", &[], |version| version.run.replace = Replace::OldFirst);
    stage.slow_stops = true;
    stage.run(PLACE, &deploy(&["web@1.0.0"]), None);
    stage.run(PLACE, &Intent::Scale { service: service("web"), process: None, replicas: 2 }, None);
    let alive = |stage: &Stage| stage.instances.iter().filter(|it| !it.state.is_over()).count();
    let first = stage.instances.iter().find(|it| it.state.is_healthy()).unwrap().id.clone();
    let restart = Intent::Restart { service: service("web"), instances: vec![first.clone()] };
    let id = stage.begin(PLACE, &restart, None);
    let mut fewest = alive(&stage);
    for round in 0..200 {
        stage.step(PLACE);
        assert!(alive(&stage) <= 2, "one more than there are places for");
        if round % 5 == 0 {
            stage.end_stopping();
            fewest = fewest.min(alive(&stage));
        }
    }
    assert!(stage.world.find_operation(id).unwrap().phase.is_done());
    assert_eq!((fewest, alive(&stage)), (1, 2));
    assert!(stage.instances.iter().all(|it| it.id != first || it.state.is_over()));
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Step,
    Ends,
    Deploys(u8),
    Undoes,
    Interrupts(u8),
    Breaks(u8),
    Mends,
    Minutes,
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    prop_oneof![
        12 => Just(Happens::Step),
        4 => Just(Happens::Ends),
        2 => (0..3_u8).prop_map(Happens::Deploys),
        1 => Just(Happens::Undoes),
        1 => (0..3_u8).prop_map(Happens::Interrupts),
        1 => (0..3_u8).prop_map(Happens::Breaks),
        1 => Just(Happens::Mends),
        1 => Just(Happens::Minutes),
    ]
}

fn apply(stage: &mut Stage, what: Happens) {
    match what {
        Happens::Step => step(stage),
        Happens::Ends => stage.end_stopping(),
        Happens::Deploys(minor) => {
            let intent = deploy(&[&format!("web@1.{minor}.0")]);
            if let Ok(plan) = stage.plan(PLACE, &intent, None) {
                stage.begin_plan(PLACE, &intent, plan);
            }
        }
        Happens::Undoes => {
            let under_way: Vec<_> = stage.env(PLACE).under_way().cloned().collect();
            for operation in under_way.iter().filter(|it| !matches!(it.phase, Phase::Reverting { .. })) {
                let (operation, cause) = (operation.id, "somebody wants it".to_owned());
                let blamed = Vec::new();
                stage.record(Event::OperationReverting {
                    operation,
                    environment: environment(PLACE),
                    cause,
                    blamed,
                });
            }
        }
        Happens::Interrupts(minor) => {
            let intent = back(&format!("1.{minor}.0"));
            if let Ok(lockstep_domain::plan::Decision::Begins { ended, plan }) =
                stage.interrupt(PLACE, &intent)
            {
                ended.into_iter().for_each(|event| stage.record(event));
                stage.begin_plan(PLACE, &intent, *plan);
            }
        }
        Happens::Breaks(minor) => stage.broken.push(format!("web@1.{minor}.0")),
        Happens::Mends => stage.broken.clear(),
        Happens::Minutes => stage.now = stage.now.plus_ms(5 * 60 * 1_000),
    }
}

proptest! {
    #[test]
    fn whatever_happens_two_versions_never_run_at_once_and_one_runs_in_the_end(
        all in proptest::collection::vec(happens(), 1..60),
        slow in any::<bool>(),
    ) {
        let mut stage = stage();
        stage.slow_stops = slow;
        all.into_iter().for_each(|what| apply(&mut stage, what));
        stage.broken.clear();
        for _ in 0..400 {
            stage.now = stage.now.plus_ms(10_000);
            stage.end_stopping();
            step(&mut stage);
        }
        prop_assert!(stage.env(PLACE).under_way().next().is_none());
        let entry = stage.env(PLACE).entries()[&service("web")].arm(&service("web"));
        prop_assert_eq!(running(&stage), BTreeSet::from([entry.to_string()]));
    }
}
