//! When a version counts as having run somewhere.

use crate::simulation::{Stage, deploy, environment};
use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::{Event, InstanceState, VersionRef};

fn staying(stay_ms: u64) -> Stage {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    let mut settings = stage.env("staging").settings.clone();
    settings.stay_ms = stay_ms;
    stage.record(Event::EnvironmentChanged { environment: environment("staging"), settings });
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage
}

fn is_proven(stage: &Stage) -> bool {
    let version: VersionRef = "orders@1.0.0".parse().unwrap();
    let kind = EvidenceKind::ran_in(&environment("staging"));
    stage.world.version(&version).unwrap().newest_evidence(&kind).is_some()
}

fn stage_of(stage: &Stage) -> String {
    let version: VersionRef = "orders@1.0.0".parse().unwrap();
    stage.world.version(&version).unwrap().stage.to_string()
}

#[test]
fn a_version_has_run_somewhere_when_it_was_healthy_there_for_the_time() {
    let mut stage = staying(60_000);
    stage.now = stage.now.plus_ms(59_000);
    stage.step("staging");
    assert!(!is_proven(&stage));
    stage.now = stage.now.plus_ms(1_000);
    stage.step("staging");
    assert!(is_proven(&stage));
    assert_eq!(stage_of(&stage), "pre-release");
}

#[test]
fn a_crash_loop_never_counts_however_long_it_lasts() {
    let mut stage = staying(60_000);
    for round in 0..100 {
        stage.now = stage.now.plus_ms(30_000);
        let now = stage.now;
        let instance = stage.instances.last_mut().unwrap();
        let unhealthy = InstanceState::Unhealthy { reason: "it crashed".into() };
        instance.state = if round % 2 == 0 { unhealthy } else { InstanceState::Healthy };
        instance.since = now;
        stage.step("staging");
    }
    assert!(!is_proven(&stage));
    assert_eq!(stage_of(&stage), "testing");
}

#[test]
fn every_instance_must_have_stayed() {
    let mut stage = staying(60_000);
    let scale =
        lockstep_domain::Intent::Scale { service: "orders".parse().unwrap(), process: None, replicas: 2 };
    stage.now = stage.now.plus_ms(50_000);
    stage.run("staging", &scale, None);
    stage.now = stage.now.plus_ms(20_000);
    stage.step("staging");
    assert!(!is_proven(&stage), "the second one has not been there for long enough");
    stage.now = stage.now.plus_ms(40_000);
    stage.step("staging");
    assert!(is_proven(&stage));
}

#[test]
fn an_environment_may_ask_for_no_time() {
    assert!(is_proven(&staying(0)));
}
