//! What is planned, and what is refused.

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::intent::{ConfigChoice, ConfigValue};
use lockstep_domain::operation::Readiness;
use lockstep_domain::plan::Refusal;
use lockstep_domain::{Intent, Strategy};
use proptest::prelude::*;

fn words(refusals: &[Refusal]) -> Vec<String> {
    refusals.iter().map(ToString::to_string).collect()
}

fn order(plan: &lockstep_domain::Plan) -> Vec<Vec<String>> {
    plan.waves.iter().map(|wave| wave.iter().map(|part| part.service.to_string()).collect()).collect()
}

/// A shop: orders needs payments and catalog.
fn shop() -> Stage {
    let mut stage = Stage::new();
    stage.release("payments@2.0.0", &[]);
    stage.release("catalog@1.0.0", &[]);
    stage.release("orders@1.0.0", &[("payments", "^2.0"), ("catalog", "^1.0")]);
    stage
}

#[test]
fn providers_move_first_going_forward_and_consumers_first_going_back() {
    let mut stage = shop();
    let all = deploy(&["orders@1.0.0", "payments@2.0.0", "catalog@1.0.0"]);
    let plan = stage.plan("staging", &all, None).unwrap();
    assert_eq!(order(&plan), [vec!["catalog", "payments"], vec!["orders"]]);
    stage.run("staging", &all, None);
    stage.release("payments@2.1.0", &[]);
    stage.release("orders@1.1.0", &[("payments", "^2.1"), ("catalog", "^1.0")]);
    stage.run("staging", &deploy(&["orders@1.1.0", "payments@2.1.0"]), None);
    let back = stage
        .plan("staging", &Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan }, None)
        .unwrap();
    assert_eq!(order(&back), [vec!["orders"], vec!["payments"]]);
    let reasons: Vec<_> = back.moves().flat_map(|part| &part.reasons).map(ToString::to_string).collect();
    assert!(
        reasons.contains(&"before payments: its old version needs payments ^2.1".to_owned()),
        "{reasons:?}"
    );
}

#[test]
fn a_plan_that_leaves_requirements_unmet_is_refused_with_all_reasons() {
    let mut stage = shop();
    stage.release("orders@2.0.0", &[("payments", "^3.0"), ("catalog", "^2.0")]);
    let refusals = stage.plan("staging", &deploy(&["orders@2.0.0", "payments@2.0.0"]), None).unwrap_err();
    assert_eq!(
        words(&refusals),
        [
            "`orders@2.0.0` requires catalog ^2.0, and none would be there",
            "`orders@2.0.0` requires payments ^3.0, and 2.0.0 would be there",
        ]
    );
}

#[test]
fn services_that_need_each_other_switch_at_one_point_in_time() {
    let mut stage = Stage::new();
    stage.release("a@1.0.0", &[("b", "=1.0.0")]);
    stage.release("b@1.0.0", &[("a", "=1.0.0")]);
    stage.release("a@2.0.0", &[("b", "=2.0.0")]);
    stage.release("b@2.0.0", &[("a", "=2.0.0")]);
    stage.run("staging", &deploy(&["a@1.0.0", "b@1.0.0"]), None);
    let plan = stage.plan("staging", &deploy(&["a@2.0.0", "b@2.0.0"]), None).unwrap();
    assert_eq!(order(&plan), [vec!["a", "b"]]);
}

#[test]
fn a_version_must_have_reached_the_stage_that_the_environment_accepts() {
    let mut stage = shop();
    let refusals = stage.plan("production", &deploy(&["payments@2.0.0"]), None).unwrap_err();
    assert_eq!(
        words(&refusals),
        [
            "`payments@2.0.0` is in stage testing; `production` accepts versions from production-validation on (evidence `ran:staging` is missing)"
        ]
    );
    stage.run("staging", &deploy(&["payments@2.0.0"]), None);
    stage.run(
        "production",
        &Intent::Promote { from: environment("staging"), services: vec![], baseline: None },
        None,
    );
    let version = stage.world.version(&"payments@2.0.0".parse().unwrap()).unwrap();
    assert_eq!(version.stage.as_str(), "released");
}

#[test]
fn a_version_of_a_feature_branch_stays_in_development() {
    let mut stage = Stage::new();
    stage.release_with("orders@1.1.0-login.1", &[], |version| {
        version.branch = "feature/login".into();
        version.reach = Some("development".parse().unwrap());
    });
    stage.run("development", &deploy(&["orders@1.1.0-login.1"]), None);
    let refusals = stage.plan("staging", &deploy(&["orders@1.1.0-login.1"]), None).unwrap_err();
    assert!(words(&refusals)[0].contains("goes no further than stage `development`"), "{refusals:?}");
}

#[test]
fn going_back_holds_the_version_until_someone_releases_it() {
    let mut stage = shop();
    stage.release("payments@2.1.0", &[]);
    stage.run("staging", &deploy(&["payments@2.0.0"]), None);
    stage.run("staging", &deploy(&["payments@2.1.0"]), None);
    let back = Intent::RollBackService {
        service: service("payments"),
        to: "2.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    assert_eq!(
        stage.plan("staging", &back, None).unwrap().moves().next().unwrap().readiness,
        Readiness::Warm
    );
    stage.run("staging", &back, None);
    let again = deploy(&["payments@2.1.0"]);
    let refusals = stage.plan("staging", &again, None).unwrap_err();
    assert!(matches!(refusals[..], [Refusal::Held { .. }]), "{refusals:?}");
    // Somebody who names an earlier state themselves is not stopped.
    assert!(
        stage
            .plan("staging", &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::AsItRan }, None)
            .is_ok()
    );
}

#[test]
fn going_back_is_all_at_once_unless_another_strategy_is_asked_for() {
    let mut stage = shop();
    stage.release("payments@2.1.0", &[]);
    stage.run("staging", &deploy(&["payments@2.0.0"]), None);
    stage.run("staging", &deploy(&["payments@2.1.0"]), None);
    let canary = Strategy::canary(&[10, 100], 50);
    let back = [
        Intent::RollBackService {
            service: service("payments"),
            to: "2.0.0".parse().unwrap(),
            config: ConfigChoice::AsItRan,
        },
        Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan },
        Intent::Undo,
    ];
    for intent in back {
        assert_eq!(stage.plan("staging", &intent, None).unwrap().strategy, Strategy::AllAtOnce);
        assert_eq!(stage.plan("staging", &intent, Some(&canary)).unwrap().strategy, canary);
        let unusable = stage.plan("staging", &intent, Some(&Strategy::canary(&[50], 50))).unwrap_err();
        assert!(matches!(unusable[..], [Refusal::Strategy(_)]), "{unusable:?}");
    }
    let out = [
        Intent::Remove { services: vec![service("payments")] },
        Intent::RollBackEnvironment { to: 0, config: ConfigChoice::AsItRan },
    ];
    for intent in out {
        assert_eq!(stage.plan("staging", &intent, Some(&canary)).unwrap().strategy, Strategy::AllAtOnce);
    }
}

#[test]
fn going_back_restores_the_configuration_that_the_version_ran_with() {
    let mut stage = shop();
    let set = |value: &str| Intent::Configure {
        service: service("payments"),
        set: [("CURRENCY".to_owned(), ConfigValue::Plain(value.into()))].into(),
        unset: vec![],
    };
    stage.run("staging", &deploy(&["payments@2.0.0"]), None);
    stage.run("staging", &set("EUR"), None);
    stage.release("payments@2.1.0", &[]);
    stage.run("staging", &deploy(&["payments@2.1.0"]), None);
    stage.run("staging", &set("USD"), None);
    assert_eq!(stage.runs("staging"), "payments@2.1.0 (c2)");
    let back = Intent::RollBackService {
        service: service("payments"),
        to: "2.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    stage.run("staging", &back, None);
    assert_eq!(stage.runs("staging"), "payments@2.0.0 (c1)");
    stage.run("staging", &Intent::Undo, None);
    assert_eq!(stage.runs("staging"), "payments@2.1.0 (c2)");
}

#[test]
fn what_is_asked_twice_or_does_not_exist_is_refused_all_at_once() {
    let stage = shop();
    let refusals =
        stage.plan("staging", &deploy(&["orders@9.0.0", "orders@1.0.0", "ghost@1.0.0"]), None).unwrap_err();
    assert_eq!(
        words(&refusals),
        [
            "there is no version `orders@9.0.0`; the newest is 1.0.0",
            "`orders` is named more than once",
            "there is no service `ghost`",
        ]
    );
}

#[test]
fn a_second_operation_of_the_same_service_waits_for_the_first() {
    let mut stage = shop();
    stage.begin("staging", &deploy(&["payments@2.0.0"]), None);
    let refusals = stage.plan(
        "staging",
        &Intent::Scale { service: service("payments"), process: None, replicas: 2 },
        None,
    );
    let refusals = refusals.unwrap_err();
    assert_eq!(
        words(&refusals),
        [
            "`payments` does not run in `staging`; operation 1 (deploy payments@2.0.0, by ann) is under way there"
        ]
    );
    let refusals = stage.plan("staging", &deploy(&["payments@2.0.0", "orders@1.0.0"]), None).unwrap_err();
    assert_eq!(
        words(&refusals)[0],
        "operation 1 (deploy payments@2.0.0) is under way in `staging`, and both touch payments"
    );
}

#[test]
fn a_port_that_another_service_always_listens_on_is_known_before_also_of_other_environments() {
    let mut stage = Stage::new();
    let fixed = |version: &mut lockstep_domain::service::Version| {
        version.run.port = lockstep_domain::run::Port::Fixed(9_000);
    };
    stage.release_with("web@1.0.0", &[], fixed);
    stage.release_with("shop@1.0.0", &[], fixed);
    stage.run("staging", &deploy(&["web@1.0.0"]), None);
    for (environment, version) in [("staging", "shop@1.0.0"), ("production", "web@1.0.0")] {
        let refusals = stage.plan(environment, &deploy(&[version]), None).unwrap_err();
        let told: Vec<_> = refusals.iter().map(ToString::to_string).collect();
        let words = format!(
            "`{version}` always listens on port 9000, and so does `web@1.0.0` in `staging` on the same host"
        );
        assert!(told.contains(&words), "{told:?}");
    }
    let both = stage.plan("staging", &deploy(&["web@1.0.0", "shop@1.0.0"]), None).unwrap_err();
    assert!(matches!(both[..], [Refusal::PortTaken { port: 9_000, .. }]), "{both:?}");
}

#[test]
fn versions_that_cannot_run_beside_each_other_are_planned_one_after_the_other() {
    let mut stage = Stage::new();
    let fixed = |version: &mut lockstep_domain::service::Version| {
        version.run.port = lockstep_domain::run::Port::Fixed(9_000);
    };
    stage.release_with("web@1.0.0", &[], fixed);
    stage.release_with("web@1.1.0", &[], fixed);
    stage.run("staging", &deploy(&["web@1.0.0"]), None);
    let canary = Strategy::canary(&[5, 100], 1_000);
    let plan = stage.plan("staging", &deploy(&["web@1.1.0"]), Some(&canary)).unwrap();
    assert!(plan.moves().all(lockstep_domain::operation::Move::gives_way));
    assert_eq!(plan.steps_of(0).len(), 1, "there is nothing to give the rest of the requests to");
    let warned = |words: &str| plan.warnings.iter().any(|warning| warning.contains(words));
    assert!(warned("1.0.0 ends before 1.1.0 starts (both listen on port 9000)"), "{:?}", plan.warnings);
}

#[test]
fn strategies_are_checked_before_anything_moves() {
    let stage = shop();
    let bad = Strategy::canary(&[50, 20], 0);
    let refusals = stage.plan("staging", &deploy(&["payments@2.0.0"]), Some(&bad)).unwrap_err();
    assert!(matches!(refusals[..], [Refusal::Strategy(_)]), "{refusals:?}");
}

/// Requirements between versions 1.0.0 and 2.0.0 of five services: for each pair, what old and new need.
fn fleets() -> impl proptest::strategy::Strategy<Value = Vec<(usize, usize, u8)>> {
    prop::collection::vec((0_usize..5, 0_usize..5, 0_u8..9), 0..12)
}

fn range(kind: u8) -> Option<&'static str> {
    match kind % 3 {
        0 => None,
        1 => Some("=1.0.0"),
        _ => Some("=2.0.0"),
    }
}

proptest! {
    /// The claim of the ordering: between waves everything works that worked at the start and works at the goal.
    #[test]
    fn every_state_between_waves_works(pairs in fleets()) {
        let mut stage = Stage::new();
        for (version, shift) in [("1.0.0", 1), ("2.0.0", 3)] {
            for index in 0..5 {
                let needs: Vec<_> = pairs.iter()
                    .filter(|(consumer, provider, _)| *consumer == index && provider != consumer)
                    .filter_map(|(_, provider, kind)| Some((format!("s{provider}"), range(kind / shift)?)))
                    .collect();
                let needs: Vec<_> = needs.iter().map(|(name, range)| (name.as_str(), *range)).collect();
                stage.release(&format!("s{index}@{version}"), &needs);
            }
        }
        let set = |version: &str| (0..5).map(|index| format!("s{index}@{version}")).collect::<Vec<_>>();
        let (old, new) = (set("1.0.0"), set("2.0.0"));
        let intent = |set: &[String]| deploy(&set.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assume!(stage.plan("staging", &intent(&old), None).is_ok());
        stage.run("staging", &intent(&old), None);
        let Ok(plan) = stage.plan("staging", &intent(&new), None) else { return Ok(()) };
        let mut entries = stage.env("staging").entries().clone();
        for wave in &plan.waves {
            for part in wave {
                entries.insert(part.service.clone(), part.to.clone().unwrap());
            }
            prop_assert_eq!(stage.relation().unmet_in(&entries), vec![]);
        }
        prop_assert_eq!(entries, plan.target);
    }
}
