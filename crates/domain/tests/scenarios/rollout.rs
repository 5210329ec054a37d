//! How operations are carried out, on a simulated clock with a simulated fleet.

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::intent::{ConfigChoice, FailureBound, Step};
use lockstep_domain::operation::Phase;
use lockstep_domain::routes::{ArmTraffic, SplitRole};
use lockstep_domain::{Event, Intent, Recorded, Strategy, VersionRef, World};

fn canary(bake_ms: u64) -> Strategy {
    let step = |weight| Step { weight, bake_ms };
    Strategy::Canary {
        steps: vec![step(1_000), step(5_000), step(10_000)],
        bound: FailureBound { max_failures_in_10000: 100, min_requests: 20, ..FailureBound::default() },
    }
}

fn two_versions() -> Stage {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    stage.release("orders@1.1.0", &[]);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage
}

fn version(text: &str) -> VersionRef {
    text.parse().unwrap()
}

fn weights(stage: &Stage) -> Vec<(String, u32, SplitRole)> {
    let table = stage.table("staging");
    let splits = &table.services[&service("orders")].splits;
    splits.iter().map(|split| (split.version.to_string(), split.weight, split.role)).collect()
}

fn serve(stage: &mut Stage, requests: u64, failures: u64) {
    let arms: Vec<_> = stage.instances.iter().map(|instance| instance.arm.clone()).collect();
    for arm in arms {
        let bad = if arm.version.to_string() == "1.1.0" { failures } else { 0 };
        stage.traffic.insert(arm, ArmTraffic { requests, failures: bad });
    }
}

#[test]
fn a_canary_goes_step_by_step_and_only_with_evidence() {
    let mut stage = two_versions();
    let id = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&canary(100)));
    let mut seen = Vec::new();
    for round in 0..200 {
        stage.step("staging");
        if stage.world.find_operation(id).unwrap().phase.is_settled() {
            break;
        }
        let share = weights(&stage).first().map_or(0, |(_, weight, _)| *weight);
        if seen.last() != Some(&share) {
            seen.push(share);
        }
        // Without requests nothing goes on, however long it lasts.
        if round > 60 {
            serve(&mut stage, 30, 0);
        } else {
            assert!(seen.len() <= 2, "{seen:?}");
        }
    }
    // Its arm stands in the table before it is given a share.
    assert_eq!(seen, [0, 1_000, 5_000, 10_000]);
    assert_eq!(stage.runs("staging"), "orders@1.1.0");
    assert_eq!(weights(&stage), [("1.1.0".to_owned(), 10_000, SplitRole::Stable)]);
}

#[test]
fn while_it_is_watched_the_old_version_stays_behind_the_new_one() {
    let mut stage = two_versions();
    stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&canary(100)));
    (0..3).for_each(|_| stage.step("staging"));
    assert_eq!(
        weights(&stage),
        [("1.1.0".to_owned(), 1_000, SplitRole::Candidate), ("1.0.0".to_owned(), 9_000, SplitRole::Stable)]
    );
}

#[test]
fn a_canary_that_fails_goes_back_by_itself_and_is_held() {
    let mut stage = two_versions();
    let id = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&canary(100)));
    (0..3).for_each(|_| stage.step("staging"));
    serve(&mut stage, 50, 10);
    stage.step("staging");
    // What began there ends there; nothing new comes.
    assert_eq!(
        weights(&stage),
        [("1.1.0".to_owned(), 0, SplitRole::Pinned), ("1.0.0".to_owned(), 10_000, SplitRole::Stable)]
    );
    stage.step("staging");
    let operation = stage.world.find_operation(id).unwrap();
    assert!(
        matches!(&operation.phase, Phase::Reverted { cause, .. } if cause.contains("fails 20 % of requests")),
        "{:?}",
        operation.phase
    );
    assert_eq!(stage.runs("staging"), "orders@1.0.0");
    assert!(stage.env("staging").holds.contains_key(&version("orders@1.1.0")));
    (0..3).for_each(|_| stage.step("staging"));
    let left: Vec<_> =
        stage.instances.iter().filter(|i| i.state.is_healthy()).map(|i| i.arm.to_string()).collect();
    assert_eq!(left, ["orders@1.0.0"]);
}

#[test]
fn going_back_by_canary_is_watched_like_going_forward() {
    let mut stage = Stage::new();
    stage.release("orders@1.1.0", &[]);
    stage.release("orders@1.2.0", &[]);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.run("staging", &deploy(&["orders@1.2.0"]), None);
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.1.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    let begin = |stage: &mut Stage| {
        let id = stage.begin("staging", &back, Some(&canary(100)));
        (0..3).for_each(|_| stage.step("staging"));
        let candidate = ("1.1.0".to_owned(), 1_000, SplitRole::Candidate);
        assert_eq!(weights(stage)[0], candidate);
        id
    };

    let failing = begin(&mut stage);
    serve(&mut stage, 50, 10);
    (0..2).for_each(|_| stage.step("staging"));
    let phase = stage.world.find_operation(failing).unwrap().phase.clone();
    assert!(
        matches!(&phase, Phase::Reverted { cause, .. } if cause.contains("1.1.0 fails 20 % of requests")),
        "{phase:?}"
    );
    assert_eq!(stage.runs("staging"), "orders@1.2.0");

    let passing = begin(&mut stage);
    for _ in 0..60 {
        serve(&mut stage, 50, 0);
        stage.step("staging");
    }
    assert!(matches!(stage.world.find_operation(passing).unwrap().phase, Phase::Done { .. }));
    assert_eq!(stage.runs("staging"), "orders@1.1.0");
    assert!(stage.env("staging").holds.contains_key(&version("orders@1.2.0")));
}

#[test]
fn a_version_that_never_becomes_healthy_is_never_given_a_request() {
    let mut stage = two_versions();
    stage.broken.push("orders@1.1.0".into());
    let phase = stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    assert!(
        matches!(&phase, Phase::Reverted { cause, .. } if cause.contains("never answered its health check")),
        "{phase:?}"
    );
    let shifted =
        stage.log.iter().filter(|recorded| matches!(recorded.event, Event::WaveShifted { .. })).count();
    assert_eq!(shifted, 1, "only the first deployment was shifted");
    assert!(stage.env("staging").holds.contains_key(&version("orders@1.1.0")));
}

#[test]
fn the_old_version_stays_warm_and_then_goes() {
    let mut stage = two_versions();
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    (0..10).for_each(|_| stage.step("staging"));
    let healthy = |stage: &Stage| stage.instances.iter().filter(|i| i.state.is_healthy()).count();
    assert_eq!(healthy(&stage), 2);
    stage.now = stage.now.plus_ms(60_000);
    (0..3).for_each(|_| stage.step("staging"));
    assert_eq!(healthy(&stage), 1);
    // Cold, and still possible.
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    stage.run("staging", &back, None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0");
}

#[test]
fn blue_green_prepares_everything_before_anything_switches() {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0"] {
        stage.release(&format!("payments@{version}"), &[]);
        stage.release(&format!("orders@{version}"), &[("payments", "^1.0")]);
    }
    stage.run("staging", &deploy(&["orders@1.0.0", "payments@1.0.0"]), None);
    let blue_green = Strategy::BlueGreen { bake_ms: 50, bound: FailureBound::default() };
    stage.begin("staging", &deploy(&["orders@1.1.0", "payments@1.1.0"]), Some(&blue_green));
    stage.step("staging");
    let new = stage.instances.iter().filter(|instance| instance.arm.version.to_string() == "1.1.0").count();
    assert_eq!(new, 2);
    let table = stage.table("staging");
    assert!(table.services.values().all(|routes| routes.stable().unwrap().version.to_string() == "1.0.0"));
}

/// kill -9 at any point: whatever the journal holds, going on from there ends in the same place.
#[test]
fn an_operation_goes_on_from_any_record_of_the_journal() {
    let mut stage = two_versions();
    stage.run("staging", &deploy(&["orders@1.1.0"]), Some(&Strategy::canary(&[10, 100], 20)));
    let full = stage.log.clone();
    for end in 0..full.len() {
        let mut world = World::default();
        full[..=end].iter().for_each(|recorded| world.fold(recorded).unwrap());
        let mut resumed = Stage::new();
        resumed.world = world;
        resumed.now = stage.now;
        let staging = crate::simulation::environment("staging");
        for _ in 0..50 {
            if resumed.world.environment(&staging).is_some() {
                resumed.step("staging");
            }
        }
        let settled = resumed
            .world
            .environment(&staging)
            .is_none_or(|environment| environment.under_way().next().is_none());
        assert!(settled, "after record {end}: {:?}", full[end].event);
    }
}

#[test]
fn a_world_survives_its_snapshot_and_refuses_records_out_of_order() {
    let mut stage = two_versions();
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.run("staging", &Intent::Undo, None);
    let text = serde_json::to_string(&stage.world).unwrap();
    let mut loaded: World = serde_json::from_str(&text).unwrap();
    assert_eq!(loaded, stage.world);
    let again = stage.log.last().unwrap();
    assert!(loaded.fold(again).is_err());
    let unknown = Recorded {
        seq: loaded.seq + 1,
        at: again.at,
        actor: again.actor.clone(),
        event: Event::OperationDone {
            operation: lockstep_domain::OperationId(99),
            environment: crate::simulation::environment("staging"),
            baseline: 1,
            proof: String::new(),
        },
    };
    let before = loaded.clone();
    assert!(loaded.fold(&unknown).is_err());
    assert_eq!(loaded, before);
}
