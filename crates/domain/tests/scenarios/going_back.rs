//! What is a way back and what is not, and what is held for what.

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::fault::Fault;
use lockstep_domain::intent::{ConfigChoice, FailureBound, Step};
use lockstep_domain::operation::{Phase, Readiness};
use lockstep_domain::plan::Refusal;
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::{Event, Intent, Strategy};
use proptest::prelude::*;

fn back_to(version: &str) -> Intent {
    let (name, version) = version.split_once('@').unwrap();
    Intent::RollBackService {
        service: service(name),
        to: version.parse().unwrap(),
        config: ConfigChoice::AsItRan,
    }
}

/// The only refusal, with the command that is meant.
fn refused(stage: &Stage, intent: &Intent) -> (String, String) {
    let refusals = stage.plan("staging", intent, None).unwrap_err();
    let [refusal] = refusals.as_slice() else { panic!("{refusals:?}") };
    (refusal.to_string(), refusal.hint().unwrap())
}

fn held(stage: &Stage) -> Vec<String> {
    let mut held: Vec<_> = stage.env("staging").holds.keys().map(ToString::to_string).collect();
    held.sort();
    held
}

/// Three versions; 1.0.0 and then 1.1.0 ran.
fn orders() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        stage.release(&format!("orders@{version}"), &[]);
        stage.now = stage.now.plus_ms(1_000);
    }
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage
}

#[test]
fn what_never_ran_here_is_no_way_back_and_the_command_that_is_meant_is_named() {
    let stage = orders();
    let (words, hint) = refused(&stage, &back_to("orders@1.2.0"));
    assert_eq!(
        words,
        "`orders@1.2.0` never ran in `staging`, so there is no way back to it; 1.1.0 runs there"
    );
    assert_eq!(hint, "lockstep deploy orders@1.2.0 --env staging");
    assert!(stage.plan("staging", &deploy(&["orders@1.2.0"]), None).is_ok());
}

#[test]
fn what_was_gone_back_from_does_not_come_again_by_a_rollback() {
    let mut stage = orders();
    stage.run("staging", &back_to("orders@1.0.0"), None);
    let (words, hint) = refused(&stage, &back_to("orders@1.1.0"));
    assert_eq!(
        words,
        "`orders@1.1.0` is newer than 1.0.0, which runs in `staging`: that is a way forward, not back"
    );
    assert_eq!(hint, "lockstep deploy orders@1.1.0 --env staging --release-holds");
    // A baseline is a state that ran as a whole, and may be named; that it goes forward is said.
    let plan = stage
        .plan("staging", &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::AsItRan }, None)
        .unwrap();
    let forward = "`orders` goes forward to 1.1.0, which came here after 1.0.0";
    assert!(plan.warnings.iter().any(|warning| warning == forward), "{:?}", plan.warnings);
    assert!(stage.plan("staging", &Intent::Undo, None).is_ok());
}

/// A fix of an old line is recorded after the version that it is older than by its number.
#[test]
fn a_fix_of_an_old_line_is_a_way_back_from_what_came_after_it() {
    let mut stage = orders();
    stage.release("orders@1.1.1", &[]);
    stage.run("staging", &deploy(&["orders@1.1.1"]), None);
    stage.run("staging", &deploy(&["orders@1.2.0"]), None);
    stage.run("staging", &back_to("orders@1.1.1"), None);
    assert_eq!((stage.runs("staging"), held(&stage)), ("orders@1.1.1".into(), vec!["orders@1.2.0".into()]));
    assert!(refused(&stage, &back_to("orders@1.2.0")).1.ends_with("--release-holds"));
}

#[test]
fn a_higher_number_that_was_here_before_is_a_way_back() {
    let mut stage = orders();
    stage.release("orders@1.0.1", &[]);
    stage.run("staging", &deploy(&["orders@1.0.1"]), None);
    stage.run("staging", &back_to("orders@1.1.0"), None);
    assert_eq!((stage.runs("staging"), held(&stage)), ("orders@1.1.0".into(), vec!["orders@1.0.1".into()]));
}

#[test]
fn a_service_that_was_removed_comes_back_as_it_ran() {
    let mut stage = orders();
    stage.run("staging", &Intent::Remove { services: vec![service("orders")] }, None);
    assert_eq!(stage.runs("staging"), "");
    assert!(matches!(
        stage.plan("staging", &back_to("orders@1.2.0"), None).unwrap_err()[..],
        [Refusal::NeverRan { .. }]
    ));
    stage.run("staging", &back_to("orders@1.1.0"), None);
    assert_eq!(stage.runs("staging"), "orders@1.1.0");
}

#[test]
fn a_retired_version_may_come_back_and_the_plan_warns() {
    let mut stage = orders();
    let event = Event::StageChanged {
        version: "orders@1.0.0".parse().unwrap(),
        from: "testing".parse().unwrap(),
        to: "retired".parse().unwrap(),
        reason: "too old".into(),
    };
    stage.record(event);
    let plan = stage.plan("staging", &back_to("orders@1.0.0"), None).unwrap();
    let warning = "`orders@1.0.0` is retired: nobody looks after it any more";
    assert!(plan.warnings.iter().any(|said| said == warning), "{:?}", plan.warnings);
}

/// Two services in one rollout, the name of one within that of the other.
fn two_services() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0"] {
        stage.release(&format!("orders@{version}"), &[]);
        stage.release(&format!("web-orders@{version}"), &[]);
    }
    stage.run("staging", &deploy(&["orders@1.0.0", "web-orders@1.0.0"]), None);
    stage
}

fn both() -> Intent {
    deploy(&["orders@1.1.0", "web-orders@1.1.0"])
}

#[test]
fn an_innocent_companion_is_not_held_even_when_its_name_is_part_of_the_guilty_ones() {
    let mut stage = two_services();
    stage.broken.push("web-orders@1.1.0".into());
    assert!(matches!(stage.run("staging", &both(), None), Phase::Reverted { .. }));
    assert_eq!(held(&stage), ["web-orders@1.1.0"]);
}

#[test]
fn all_that_fail_in_one_look_are_held_and_what_a_person_takes_back_is_not() {
    let mut stage = two_services();
    let step = |weight| Step { weight, bake_ms: 100 };
    let canary = Strategy::Canary {
        steps: vec![step(1_000), step(10_000)],
        bound: FailureBound { max_failures_in_10000: 100, min_requests: 20, ..FailureBound::default() },
    };
    let id = stage.begin("staging", &both(), Some(&canary));
    (0..3).for_each(|_| stage.step("staging"));
    let arms: Vec<_> = stage.instances.iter().map(|instance| instance.arm.clone()).collect();
    for arm in arms {
        let failures = if arm.version.to_string() == "1.1.0" { 20 } else { 0 };
        stage.traffic.insert(arm, ArmTraffic { requests: 50, failures });
    }
    (0..2).for_each(|_| stage.step("staging"));
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Reverted { .. }));
    assert_eq!(held(&stage), ["orders@1.1.0", "web-orders@1.1.0"]);

    let mut stage = two_services();
    let id = stage.begin("staging", &both(), Some(&canary));
    let operation = stage.world.find_operation(id).unwrap().clone();
    let said = lockstep_domain::fault::Cause::of_nobody("ann took it back: orders@1.1.0 is wrong");
    stage.record(lockstep_domain::reconcile::revert(&operation, said));
    (0..3).for_each(|_| stage.step("staging"));
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Reverted { .. }));
    assert_eq!(held(&stage), [""; 0]);
}

#[test]
fn a_cause_of_an_older_release_loads_and_blames_nobody() {
    let text =
        r#"{"event":"operation_reverting","operation":3,"environment":"staging","cause":"orders@1.1.0 x"}"#;
    let event: Event = serde_json::from_str(text).unwrap();
    assert!(matches!(&event, Event::OperationReverting { blamed, .. } if blamed.is_empty()));
    assert_eq!(serde_json::to_string(&event).unwrap(), text);
    let state: lockstep_domain::InstanceState =
        serde_json::from_str(r#"{"state":"failed","reason":"exit 1"}"#).unwrap();
    assert_eq!(state, lockstep_domain::InstanceState::failed("exit 1", Fault::Start));
}

proptest! {
    /// Whatever fails for whatever reason: held is exactly what did it itself.
    #[test]
    fn held_is_what_is_guilty_and_nothing_else(
        faults in prop::collection::vec(prop::option::of(prop::sample::select(vec![
            Fault::Crash, Fault::Start, Fault::Port, Fault::Disk, Fault::Host,
        ])), 3),
    ) {
        let names = ["orders", "web-orders", "orders-web"];
        let mut stage = Stage::new();
        for (name, fault) in names.iter().zip(&faults) {
            stage.release(&format!("{name}@1.0.0"), &[]);
            if let Some(fault) = fault {
                stage.broken.push(format!("{name}@1.0.0"));
                stage.faults.insert(format!("{name}@1.0.0"), *fault);
            }
        }
        stage.run("staging", &deploy(&["orders@1.0.0", "orders-web@1.0.0", "web-orders@1.0.0"]), None);
        let mut guilty: Vec<_> = names.iter().zip(&faults)
            .filter(|(_, fault)| fault.is_some_and(Fault::is_own))
            .map(|(name, _)| format!("{name}@1.0.0"))
            .collect();
        guilty.sort();
        prop_assert_eq!(held(&stage), guilty);
    }
}

#[test]
fn what_is_to_be_kept_warm_and_does_not_run_is_cold() {
    let mut stage = Stage::new();
    ["1.0.0", "1.1.0"].iter().for_each(|version| stage.release(&format!("orders@{version}"), &[]));
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    let mut plan = stage.plan("staging", &Intent::Undo, None).unwrap();
    let readiness =
        |plan: &lockstep_domain::Plan| plan.moves().map(|part| part.readiness).collect::<Vec<_>>();
    assert_eq!(readiness(&plan), [Readiness::Warm]);
    plan.see(|_| true);
    assert_eq!(readiness(&plan), [Readiness::Warm]);
    plan.see(|_| false);
    assert_eq!(readiness(&plan), [Readiness::Cold], "the host was started anew, for example");
}

#[test]
fn a_time_that_an_older_release_did_not_know_is_none() {
    let age = |text| serde_json::from_str::<lockstep_domain::variables::SecretAge>(text).unwrap();
    assert_eq!(age("{\"since\":0}").since, None);
    assert_eq!(age("{}").since, None);
    assert_eq!(age("{\"since\":7}").since, Some(lockstep_domain::Timestamp(7)));
    assert_eq!(serde_json::to_string(&age("{\"since\":0}")).unwrap(), "{}");
}
