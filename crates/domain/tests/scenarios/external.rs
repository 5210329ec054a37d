//! Services that somebody else runs: what is not there blames nobody, and what they say of their version is recorded when it is new.

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::external::External;
use lockstep_domain::operation::Phase;
use lockstep_domain::said_version::{changes_by_itself, due};
use lockstep_domain::{Arm, Event, InstanceState};
use proptest::prelude::*;

const PLACE: &str = "staging";
const HOUR_MS: u64 = 60 * 60 * 1_000;

fn stage() -> Stage {
    let mut stage = Stage::new();
    for version in ["partner@1.0.0", "partner@1.1.0"] {
        stage.release_with(version, &[], |version| {
            version.run.external = Some(External::at("https://api.partner.test"));
        });
    }
    stage.release("shop@1.0.0", &[]);
    stage.release("shop@1.1.0", &[]);
    stage.run(PLACE, &deploy(&["partner@1.0.0", "shop@1.0.0"]), None);
    stage
}

/// Deploys a version whose instance runs and is not well, and lets happen what happens at once.
fn deployed_sick(stage: &mut Stage, version: &str) -> Phase {
    let id = stage.begin(PLACE, &deploy(&[version]), None);
    stage.step(PLACE);
    let (now, reason) = (stage.now, "nobody answers".to_owned());
    let fresh = stage.instances.iter_mut().filter(|it| it.arm.version_ref().to_string() == version);
    fresh.for_each(|it| (it.state, it.since) = (InstanceState::Unhealthy { reason: reason.clone() }, now));
    (0..5).for_each(|_| stage.step(PLACE));
    stage.world.find_operation(id).unwrap().phase.clone()
}

#[test]
fn an_other_side_that_is_not_there_takes_a_deploy_back_at_once_and_is_held_for_nothing() {
    let mut stage = stage();
    let Phase::Reverted { cause, .. } = deployed_sick(&mut stage, "partner@1.1.0") else {
        panic!("it goes on")
    };
    assert!(cause.contains("partner@1.1.0 did not become healthy: nobody answers"), "{cause}");
    assert!(stage.env(PLACE).holds.is_empty());
    assert_eq!(stage.runs(PLACE), "partner@1.0.0 shop@1.0.0");
    assert!(stage.run(PLACE, &deploy(&["partner@1.1.0"]), None).is_done(), "it may come when it is there");
    let phase = deployed_sick(&mut stage, "shop@1.1.0");
    assert!(matches!(phase, Phase::Preparing { .. }), "what runs here is waited for: {phase:?}");
}

fn arm(stage: &Stage) -> Arm {
    stage.env(PLACE).entries()[&service("partner")].arm(&service("partner"))
}

/// Hears what is said, and records what is due.
fn hear(stage: &mut Stage, said: &str) {
    let event = due(stage.env(PLACE), &arm(stage), said, stage.now);
    event.into_iter().for_each(|event| stage.record(event));
}

fn by_itself(stage: &Stage, name: &str) -> Vec<(String, String)> {
    let known = &stage.env(PLACE).said[&service(name)];
    changes_by_itself(known)
        .into_iter()
        .map(|(before, after)| (before.said.clone(), after.said.clone()))
        .collect()
}

#[test]
fn only_what_changes_without_a_change_of_ours_changes_by_itself_and_it_goes_along_to_another_name() {
    let mut stage = stage();
    ["1.0.0", "1.0.0", "1.0.1"].iter().for_each(|said| hear(&mut stage, said));
    assert!(stage.run(PLACE, &deploy(&["partner@1.1.0"]), None).is_done());
    ["1.1.0", "1.1.0"].iter().for_each(|said| hear(&mut stage, said));
    assert_eq!(stage.env(PLACE).said[&service("partner")].len(), 3);
    let change = [("1.0.0".to_owned(), "1.0.1".to_owned())];
    assert_eq!(by_itself(&stage, "partner"), change);
    let (from, to) = (service("partner"), service("supplier"));
    stage.record(Event::ServiceRenamed { service: from.clone(), to: to.clone(), reason: String::new() });
    assert_eq!(by_itself(&stage, "supplier"), change);
    assert!(!stage.env(PLACE).said.contains_key(&from));
    let arm = stage.env(PLACE).entries()[&to].arm(&to);
    assert_eq!(due(stage.env(PLACE), &arm, "1.1.0", stage.now), None, "it is known under its new name");
    let stored = serde_json::to_string(&stage.world).unwrap();
    assert_eq!(serde_json::from_str::<lockstep_domain::World>(&stored).unwrap(), stage.world);
    stage.record(Event::EnvironmentRemoved { environment: environment("production"), reason: String::new() });
}

proptest! {
    #[test]
    fn however_often_something_else_is_said_records_are_few(pauses in prop::collection::vec((0_u64..1_200_000, 0_u8..3), 1..80)) {
        let mut stage = stage();
        let mut at = Vec::new();
        for (pause, said) in pauses {
            stage.now = stage.now.plus_ms(pause);
            let before = stage.log.len();
            hear(&mut stage, &format!("{said}.0.0"));
            at.extend((stage.log.len() > before).then_some(stage.now));
        }
        for window in at.windows(11) {
            prop_assert!(window[10].since_ms(window[0]) >= HOUR_MS);
        }
        prop_assert!(stage.env(PLACE).said[&service("partner")].len() <= 50);
    }
}

#[test]
fn an_address_whose_variable_is_set_nowhere_is_refused_before_anything_starts() {
    let mut stage = Stage::new();
    stage.release_with("partner@1.0.0", &[], |version| {
        version.run.external = Some(External::at("${env.PARTNER_URL}/v1"));
    });
    stage.release_with("partner@1.1.0", &[], |version| {
        version.run.external = Some(External::at("${env.PARTNER_URL}/v1"));
        version.run.variables.insert("PARTNER_URL".into(), "https://sandbox.partner.test".into());
    });
    let refused = stage.plan(PLACE, &deploy(&["partner@1.0.0"]), None).unwrap_err();
    let [refusal] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(
        (refusal.to_string().as_str(), refusal.hint().as_deref()),
        (
            "the address of `partner@1.0.0` refers to `${env.PARTNER_URL}`, which is set neither in its manifest nor in `staging`",
            Some("lockstep config set partner PARTNER_URL=https://HOST --env staging")
        )
    );
    assert!(stage.plan(PLACE, &deploy(&["partner@1.1.0"]), None).is_ok(), "its manifest says a usual one");
}
