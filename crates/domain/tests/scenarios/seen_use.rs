//! What was really called counts where a consumer says nothing of what it uses.

use lockstep_domain::Intent;
use lockstep_domain::compat::Basis;
use lockstep_domain::contract::{ContractKind, Verdict};
use lockstep_domain::plan::Refusal;
use lockstep_domain::seen_use::SeenUse;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use crate::compatibility::offers;
use crate::simulation::{Stage, deploy, environment, service};

const PLACE: &str = "development";

/// `pay` 1.0.0 has charges and refunds, 2.0.0 has charges alone; `web` 1.0.0 requires some of it, and says not what. The older ones run.
fn shop(range: &str) -> Stage {
    let mut stage = Stage::new();
    let all = ["POST /charges", "GET /charges/{id}", "POST /refunds"].map(str::to_owned);
    stage.contracts.operations.insert(1, all.to_vec());
    stage.contracts.operations.insert(2, all[..2].to_vec());
    stage.release_with("pay@1.0.0", &[], offers(ContractKind::OpenApi, 1));
    stage.release_with("pay@2.0.0", &[], offers(ContractKind::OpenApi, 2));
    stage.release("web@1.0.0", &[("pay", range)]);
    stage.run(PLACE, &deploy(&["pay@1.0.0", "web@1.0.0"]), None);
    stage
}

fn seen(operation: &str, callee: &str, answered: u64) -> SeenUse {
    SeenUse {
        operation: operation.to_owned(),
        callee: callee.parse().unwrap(),
        answered,
        baseline: 1,
        environment: environment(PLACE),
    }
}

fn calls(stage: &mut Stage, operation: &str, callee: &str, answered: u64) {
    let seen = seen(operation, callee, answered);
    stage.contracts.seen.push(("web@1.0.0".parse().unwrap(), service("pay"), seen));
}

fn up() -> Intent {
    deploy(&["pay@2.0.0"])
}

#[test]
fn what_was_seen_to_be_called_and_is_gone_refuses_what_a_range_promises() {
    let mut stage = shop(">=1.0");
    assert!(stage.plan(PLACE, &up(), None).is_ok(), "nobody knows better");
    calls(&mut stage, "POST /refunds", "1.0.0", 412);
    calls(&mut stage, "POST /charges", "1.0.0", 3);
    let refusals = stage.plan(PLACE, &up(), None).unwrap_err();
    let [Refusal::Unmet(unmet)] = refusals.as_slice() else { panic!("{refusals:?}") };
    assert_eq!((unmet.verdict, unmet.basis), (Verdict::Breaking, Basis::Contract));
    assert_eq!(
        refusals[0].to_string(),
        "`web@1.0.0` does not work with pay 2.0.0: `POST /refunds` is not in the contract of 2.0.0, and web@1.0.0 was seen to call it 412 \
         times, last while baseline 1 of `development` was current"
    );
}

#[test]
fn what_is_still_there_or_was_never_answered_refuses_nothing() {
    for (operation, answered) in
        [("GET /charges/*", 9), ("POST /refunds", 0), ("*", 9), ("GET /elsewhere", 9)]
    {
        let mut stage = shop(">=1.0");
        calls(&mut stage, operation, "1.0.0", answered);
        assert!(stage.plan(PLACE, &up(), None).is_ok(), "{operation}");
    }
    // A contract that cannot be read, and one that is not there, say nothing.
    let mut stage = shop(">=1.0");
    calls(&mut stage, "POST /refunds", "1.0.0", 9);
    stage.contracts.operations.remove(&2);
    assert!(stage.plan(PLACE, &up(), None).is_ok());
    stage.release("pay@3.0.0", &[]);
    assert!(stage.plan(PLACE, &deploy(&["pay@3.0.0"]), None).is_ok());
}

#[test]
fn what_ran_together_may_run_together_again() {
    let mut stage = shop(">=1.0");
    calls(&mut stage, "POST /refunds", "1.0.0", 9);
    calls(&mut stage, "POST /charges", "2.0.0", 1);
    assert!(stage.plan(PLACE, &up(), None).is_ok());
}

#[test]
fn a_consumer_that_says_what_it_uses_is_taken_at_its_word_and_told_of_the_difference() {
    let mut stage = shop(">=1.0");
    stage.release_with("web@1.1.0", &[("pay", ">=1.0")], |version| {
        version.requires.values_mut().for_each(|it| it.operations = vec!["POST /charges".to_owned()]);
    });
    stage.run(PLACE, &deploy(&["web@1.1.0"]), None);
    let called = ("web@1.1.0".parse().unwrap(), service("pay"), seen("POST /refunds", "1.0.0", 2));
    stage.contracts.seen.push(called);
    let plan = stage.plan(PLACE, &up(), None).unwrap();
    let told = plan.warnings.iter().find(|it| it.contains("does not have `POST /refunds` any more")).unwrap();
    assert!(told.contains("web@1.1.0 was seen to call it 2 times"), "{told}");
}

#[test]
fn what_nobody_was_seen_to_use_is_told_as_that() {
    let mut stage = shop(">=1.0");
    let told = |stage: &Stage| {
        let plan = stage.plan(PLACE, &up(), None).unwrap();
        plan.warnings.into_iter().find(|it| it.contains("`POST /refunds` any more")).unwrap()
    };
    assert!(told(&stage).contains("no call of it was ever seen"), "{}", told(&stage));
    calls(&mut stage, "POST /charges", "1.0.0", 3);
    assert!(told(&stage).ends_with("nobody was seen to call it"), "{}", told(&stage));
    stage.contracts.clients.push((service("pay"), seen("POST /refunds", "1.0.0", 1)));
    assert!(told(&stage).contains("who comes from outside was seen to call it once"), "{}", told(&stage));
}

#[test]
fn nothing_unmet_is_new_by_what_was_seen_of_what_runs() {
    let mut stage = shop(">=1.0");
    stage.run(PLACE, &up(), None);
    calls(&mut stage, "POST /refunds", "1.0.0", 9);
    // It is seen only now that it runs so: what is there already stops nobody who mends something else.
    stage.release("other@1.0.0", &[]);
    assert!(stage.plan(PLACE, &deploy(&["other@1.0.0"]), None).is_ok());
}

proptest! {
    /// What was seen only ever takes trust away, and only for what the older contract has and the newer one lacks.
    #[test]
    fn what_was_seen_never_opens_a_way(
        has in prop::collection::vec(any::<bool>(), 4),
        keeps in prop::collection::vec(any::<bool>(), 4),
        called in prop::collection::vec(0_u64..3, 4),
        is_in_range in any::<bool>(),
    ) {
        let mut stage = Stage::new();
        let names = ["GET /a", "POST /a/{id}", "PUT /b/c", "shop.Orders/Place"];
        let of = |is: &[bool]| -> Vec<String> {
            names.iter().zip(is).filter(|(_, is)| **is).map(|(name, _)| (*name).to_owned()).collect()
        };
        stage.contracts.operations.insert(1, of(&has));
        stage.contracts.operations.insert(2, of(&keeps));
        stage.release_with("pay@1.0.0", &[], offers(ContractKind::OpenApi, 1));
        stage.release_with("pay@2.0.0", &[], offers(ContractKind::OpenApi, 2));
        stage.release("web@1.0.0", &[("pay", if is_in_range { ">=1.0" } else { "^1" })]);
        stage.run(PLACE, &deploy(&["pay@1.0.0", "web@1.0.0"]), None);
        let before = stage.plan(PLACE, &up(), None).is_ok();
        prop_assert_eq!(before, is_in_range);
        let told = ["GET /a", "POST /a/*", "PUT /b/*", "/shop.Orders/Place"];
        for (operation, answered) in told.iter().zip(&called) {
            calls(&mut stage, operation, "1.0.0", *answered);
        }
        let after = stage.plan(PLACE, &up(), None).is_ok();
        let lost = (0..4).any(|at| has[at] && !keeps[at] && called[at] > 0);
        prop_assert!(before || !after);
        prop_assert_eq!(after, before && !lost);
    }
}
