//! Two operations that move services of one environment at the same time.

use std::collections::BTreeSet;

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::baseline::Entries;
use lockstep_domain::fault::Cause;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{Conflict, Decision, Refusal};
use lockstep_domain::reconcile::revert;
use lockstep_domain::routes::{RouteRule, RouteTable};
use lockstep_domain::run::Port;
use lockstep_domain::{BaselineEntry, Intent, OperationId, ServiceName, Strategy, World};
use proptest::prelude::*;

fn slow() -> Strategy {
    Strategy::canary(&[10, 100], 1_000_000)
}

fn back(version: &str) -> Intent {
    let (name, version) = version.split_once('@').unwrap();
    Intent::RollBackService {
        service: service(name),
        to: version.parse().unwrap(),
        config: ConfigChoice::AsItRan,
    }
}

fn phase(stage: &Stage, id: OperationId) -> Phase {
    stage.world.find_operation(id).unwrap().phase.clone()
}

fn steps(stage: &mut Stage, count: usize) {
    (0..count).for_each(|_| stage.step("staging"));
}

fn to_rest(stage: &mut Stage) {
    for _ in 0..2_000 {
        if stage.env("staging").under_way().next().is_none() {
            return;
        }
        stage.step("staging");
    }
    panic!("{:?}", stage.env("staging").under_way().collect::<Vec<_>>());
}

/// Three services that have nothing to do with each other, and `web`, which requires orders.
fn shop() -> Stage {
    let mut stage = Stage::new();
    for name in ["orders", "payments", "stock"] {
        (0..4).for_each(|minor| stage.release(&format!("{name}@1.{minor}.0"), &[]));
    }
    (0..4).for_each(|minor| stage.release(&format!("web@1.{minor}.0"), &[("orders", "^1.0")]));
    stage.run("staging", &deploy(&["orders@1.0.0", "payments@1.0.0", "stock@1.0.0", "web@1.0.0"]), None);
    stage
}

fn conflict(stage: &Stage, intent: &Intent) -> (OperationId, Conflict) {
    match &stage.plan("staging", intent, None).unwrap_err()[..] {
        [Refusal::Busy { operation, conflict, .. }] => (*operation, Conflict::clone(conflict)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_canaries_of_services_that_have_nothing_to_do_with_each_other_go_on_together() {
    let mut stage = shop();
    let orders = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&Strategy::canary(&[10, 100], 500)));
    steps(&mut stage, 3);
    let payments = stage.begin("staging", &deploy(&["payments@1.1.0"]), Some(&slow()));
    steps(&mut stage, 3);
    assert!(matches!(phase(&stage, orders), Phase::Shifted { .. }));
    assert!(matches!(phase(&stage, payments), Phase::Shifted { .. }));
    let table = stage.table("staging");
    let salt = |name: &str| table.services[&service(name)].salt.clone();
    assert_eq!([salt("orders"), salt("payments"), salt("stock")], ["operation 2", "operation 3", ""]);
    let splits = |table: &RouteTable, name: &str| table.services[&service(name)].splits.len();
    assert_eq!((splits(&table, "orders"), splits(&table, "payments"), splits(&table, "stock")), (2, 2, 1));
    steps(&mut stage, 150);
    assert!(phase(&stage, orders).is_done(), "{:?}", phase(&stage, orders));
    assert!(matches!(phase(&stage, payments), Phase::Shifted { .. }));
    assert_eq!(stage.runs("staging"), "orders@1.1.0 payments@1.0.0 stock@1.0.0 web@1.0.0");
    // Taking the other back leaves what was done beside it.
    let operation = stage.world.find_operation(payments).unwrap().clone();
    stage.record(revert(&operation, Cause::of_nobody("ann took it back")));
    to_rest(&mut stage);
    assert_eq!(stage.runs("staging"), "orders@1.1.0 payments@1.0.0 stock@1.0.0 web@1.0.0");
    assert_eq!(stage.env("staging").baselines.current().number, 2);
}

#[test]
fn the_later_end_makes_a_baseline_that_has_both() {
    let mut stage = shop();
    stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&Strategy::canary(&[10, 100], 500)));
    stage.begin("staging", &deploy(&["payments@1.1.0"]), None);
    stage.begin("staging", &Intent::Remove { services: vec![service("stock")] }, None);
    to_rest(&mut stage);
    assert_eq!(stage.runs("staging"), "orders@1.1.0 payments@1.1.0 web@1.0.0");
    let line = stage.env("staging").baselines.newest_first().map(|baseline| baseline.number);
    assert_eq!(line.collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
}

#[test]
fn who_needs_what_another_operation_moves_waits_in_every_version() {
    let mut stage = shop();
    let orders = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&slow()));
    steps(&mut stage, 3);
    let (id, why) = conflict(&stage, &deploy(&["web@1.1.0"]));
    assert_eq!(id, orders);
    assert_eq!(
        why.to_string(),
        "`web@1.0.0` requires orders: one of them moves the one, the other the other"
    );
    // Taking it out is a move as well, and so is a version that needs it no more.
    stage.release("web@2.0.0", &[]);
    for intent in [Intent::Remove { services: vec![service("web")] }, deploy(&["web@2.0.0"])] {
        assert!(matches!(conflict(&stage, &intent), (_, Conflict::Requires { .. })));
    }
    // And in the other direction: what needs it comes first.
    stage.release("stock@2.0.0", &[("orders", "^1.0")]);
    assert!(matches!(conflict(&stage, &deploy(&["stock@2.0.0"])), (_, Conflict::Requires { .. })));
    assert!(stage.plan("staging", &deploy(&["stock@1.1.0"]), None).is_ok());
}

#[test]
fn a_refusal_says_what_to_do_instead_of_waiting() {
    let mut stage = shop();
    stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&slow()));
    let refusals = stage.plan("staging", &deploy(&["web@1.1.0"]), None).unwrap_err();
    let said = refusals[0].to_string();
    assert!(said.starts_with("operation 2 (deploy orders@1.1.0) is under way in `staging`, and "), "{said}");
    assert_eq!(
        refusals[0].hint().unwrap(),
        "wait for it with `lockstep watch 2`, or deploy both in one: `lockstep undo staging --operation 2`, then \
         `lockstep deploy web@1.1.0 orders@1.1.0 --env staging`"
    );
    let refusals =
        stage.plan("staging", &Intent::Remove { services: vec![service("orders")] }, None).unwrap_err();
    let hint = refusals[0].hint().unwrap();
    assert!(hint.contains("lockstep watch 2"), "{hint}");
}

#[test]
fn what_wants_the_same_route_or_port_waits_and_nothing_is_missed_in_between() {
    let mut stage = shop();
    let with = |path: &str| {
        let rule: RouteRule = serde_json::from_str(&format!(r#"{{"path":"{path}"}}"#)).unwrap();
        move |version: &mut lockstep_domain::service::Version| version.routes = vec![rule]
    };
    stage.release_with("orders@1.9.0", &[], with("/shop"));
    stage.release_with("payments@2.0.0", &[], with("/shop"));
    stage.release_with("stock@2.0.0", &[], |version| version.run.port = Port::Fixed(9_000));
    stage.release_with("payments@3.0.0", &[], |version| version.run.port = Port::Fixed(9_000));
    stage.begin("staging", &deploy(&["orders@1.9.0"]), Some(&slow()));
    stage.begin("staging", &deploy(&["stock@2.0.0"]), Some(&slow()));
    assert!(matches!(
        conflict(&stage, &deploy(&["payments@2.0.0"])),
        (OperationId(2), Conflict::Route { .. })
    ));
    let (id, why) = conflict(&stage, &deploy(&["payments@3.0.0"]));
    assert_eq!(
        (id, why.to_string().as_str()),
        (OperationId(3), "`payments` and `stock` both listen on port 9000")
    );
    assert!(
        stage.plan("staging", &deploy(&["payments@1.1.0"]), None).is_ok(),
        "a third one that neither concerns"
    );
}

#[test]
fn a_whole_baseline_is_not_gone_back_to_beside_what_moves() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["stock@1.1.0"]), None);
    let orders = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&slow()));
    let to = |to| Intent::RollBackEnvironment { to, config: ConfigChoice::AsItRan };
    assert_eq!(conflict(&stage, &to(1)).0, orders);
    // Also where it moves a service that was never there before.
    stage.release("news@1.0.0", &[]);
    let found = stage.interrupt("staging", &to(1)).unwrap();
    assert!(matches!(found, Decision::Begins { ended, .. } if ended.len() == 2));
}

#[test]
fn undo_takes_back_what_the_newest_baseline_changed_and_nothing_else() {
    let mut stage = shop();
    let orders = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&slow()));
    steps(&mut stage, 3);
    stage.run("staging", &deploy(&["payments@1.1.0"]), None);
    let undone = stage.run("staging", &Intent::Undo, None);
    assert!(undone.is_done());
    assert_eq!(stage.runs("staging"), "orders@1.0.0 payments@1.0.0 stock@1.0.0 web@1.0.0");
    assert!(matches!(phase(&stage, orders), Phase::Shifted { .. }), "the other goes on");
}

#[test]
fn an_emergency_takes_back_only_what_is_in_its_way() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["stock@1.1.0"]), None);
    let payments = stage.begin("staging", &deploy(&["payments@1.1.0"]), Some(&slow()));
    let stock = stage.begin("staging", &deploy(&["stock@1.2.0"]), Some(&slow()));
    steps(&mut stage, 3);
    let found = stage.interrupt("staging", &back("stock@1.0.0"));
    let Ok(Decision::Begins { ended, plan }) = found else { panic!("{found:?}") };
    ended.into_iter().for_each(|event| stage.record(event));
    let gone_back = stage.begin_plan("staging", &back("stock@1.0.0"), *plan);
    steps(&mut stage, 20);
    assert!(phase(&stage, gone_back).is_done());
    assert!(matches!(phase(&stage, stock), Phase::Reverted { .. }));
    assert!(matches!(phase(&stage, payments), Phase::Shifted { .. }));
}

#[test]
fn one_of_two_fails_its_verdict_and_the_other_bakes_on_and_is_done() {
    let mut stage = shop();
    let orders = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&Strategy::canary(&[10, 100], 500)));
    let payments =
        stage.begin("staging", &deploy(&["payments@1.1.0"]), Some(&Strategy::canary(&[10, 100], 500)));
    steps(&mut stage, 3);
    let arm = |name: &str, minor: u64| lockstep_domain::Arm {
        service: service(name),
        version: lockstep_domain::VersionNumber::new(1, minor, 0),
        config: lockstep_domain::ConfigRevision(0),
        process: None,
    };
    let traffic = |requests, failures| lockstep_domain::routes::ArmTraffic { requests, failures };
    for (name, minor, failures) in
        [("orders", 1, 400), ("orders", 0, 0), ("payments", 1, 0), ("payments", 0, 0)]
    {
        stage.traffic.insert(arm(name, minor), traffic(400, failures));
    }
    steps(&mut stage, 2);
    assert!(matches!(phase(&stage, orders), Phase::Reverting { .. } | Phase::Reverted { .. }));
    assert!(
        matches!(phase(&stage, payments), Phase::Shifted { step: 0, .. }),
        "{:?}",
        phase(&stage, payments)
    );
    to_rest(&mut stage);
    assert!(phase(&stage, payments).is_done());
    assert_eq!(stage.runs("staging"), "orders@1.0.0 payments@1.1.0 stock@1.0.0 web@1.0.0");
    let held: Vec<_> = stage.env("staging").holds.keys().map(ToString::to_string).collect();
    assert_eq!(held, ["orders@1.1.0"], "the other is not to blame");
}

#[test]
fn a_clock_that_is_set_forward_ends_neither_of_two_bakes_early() {
    let mut stage = shop();
    let orders =
        stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&Strategy::canary(&[10, 100], 1_000)));
    steps(&mut stage, 40);
    let payments =
        stage.begin("staging", &deploy(&["payments@1.1.0"]), Some(&Strategy::canary(&[10, 100], 1_000)));
    steps(&mut stage, 3);
    let at =
        |stage: &Stage, id, step| matches!(phase(stage, id), Phase::Shifted { step: now, .. } if now == step);
    assert!(at(&stage, orders, 0) && at(&stage, payments, 0));
    stage.skip(3_600_000);
    steps(&mut stage, 40);
    assert!(at(&stage, orders, 0) && at(&stage, payments, 0), "neither has baked for a second");
    // Set back: the server's clock goes on, and so do both.
    steps(&mut stage, 30);
    assert!(at(&stage, orders, 1) && at(&stage, payments, 0), "each by its own time");
    stage.skip(3_600_000);
    to_rest(&mut stage);
    assert!(phase(&stage, orders).is_done() && phase(&stage, payments).is_done());
}

#[test]
fn a_promotion_of_everything_waits_for_each_of_two_that_move_and_the_hints_lead_to_it() {
    let mut stage = shop();
    let all = ["orders@1.2.0", "payments@1.2.0", "stock@1.0.0", "web@1.0.0"];
    stage.run("development", &deploy(&all), None);
    let promote =
        Intent::Promote { from: "development".parse().unwrap(), services: Vec::new(), baseline: None };
    let orders = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&slow()));
    let payments = stage.begin("staging", &deploy(&["payments@1.1.0"]), Some(&slow()));
    steps(&mut stage, 3);
    let refusals = stage.plan("staging", &promote, None).unwrap_err();
    let named = refusals.iter().filter_map(|refusal| match refusal {
        Refusal::Busy { operation, .. } => Some(*operation),
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), [orders, payments]);
    for id in [orders, payments] {
        let hint =
            refusals.iter().filter_map(Refusal::hint).any(|hint| hint.contains(&format!("--operation {id}")));
        assert!(hint, "{refusals:?}");
        let operation = stage.world.find_operation(id).unwrap().clone();
        stage.record(revert(&operation, Cause::of_nobody("ann took it back")));
    }
    to_rest(&mut stage);
    stage.run("staging", &promote, None);
    assert_eq!(stage.runs("staging"), "orders@1.2.0 payments@1.2.0 stock@1.0.0 web@1.0.0");
}

/// Services that are moved in the properties.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A world of five services with three versions each, in which a version may require versions of other services.
fn random_world(requires: &[(usize, u64, usize, u64)]) -> Stage {
    let mut stage = Stage::new();
    for (index, name) in NAMES.iter().enumerate() {
        for minor in 0..3 {
            let of = requires
                .iter()
                .filter(|(one, version, other, _)| (*one, *version) == (index, minor) && *other != index);
            let ranges: Vec<_> =
                of.map(|(_, _, other, least)| (NAMES[*other], format!(">=1.{least}.0"))).collect();
            let ranges: Vec<_> = ranges.iter().map(|(name, range)| (*name, range.as_str())).collect();
            let mut seen = BTreeSet::new();
            let ranges: Vec<_> = ranges.into_iter().filter(|(name, _)| seen.insert(*name)).collect();
            stage.release(&format!("{name}@1.{minor}.0"), &ranges);
        }
    }
    stage
}

/// Every pair of versions that may meet a request now, across the services of different operations.
fn meet(stage: &Stage, before: &Entries) {
    let environment = stage.env("staging");
    let table = stage.table("staging");
    let entries = |name: &ServiceName| -> Vec<BaselineEntry> {
        let splits = table.services[name].splits.iter().filter(|split| split.weight > 0);
        splits.map(|split| BaselineEntry { version: split.version.clone(), config: split.config }).collect()
    };
    let mover = |name: &ServiceName| environment.mover_of(name).map(|operation| operation.id);
    for (one, other) in
        table.services.keys().flat_map(|one| table.services.keys().map(move |other| (one, other)))
    {
        if one == other || (mover(one).is_some() && mover(one) == mover(other)) {
            continue;
        }
        for (consumer, provider) in
            entries(one).iter().flat_map(|a| entries(other).into_iter().map(move |b| (a, b)))
        {
            let unmet = stage.relation().unmet((one, Some(consumer)), (other, Some(&provider)));
            let was = stage.relation().unmet((one, before.get(one)), (other, before.get(other)));
            assert!(unmet.is_none() || was.is_some(), "{unmet:?}");
        }
    }
}

proptest! {
    /// Whatever two operations begin, and in whatever order they come to an end: no two versions meet that do not work together,
    /// and what runs in the end is what both lead to.
    #[test]
    fn two_plans_beside_each_other_end_in_the_same_entries(
        requires in prop::collection::vec((0_usize..5, 0_u64..3, 0_usize..5, 0_u64..3), 0..5),
        first in prop::collection::btree_map(0_usize..5, 0_u64..3, 1..3),
        second in prop::collection::btree_map(0_usize..5, 0_u64..3, 1..3),
        (pause, bakes) in (0_usize..30, (1_u64..40, 1_u64..40)),
        taken_back in 0_u8..3,
    ) {
        let mut stage = random_world(&requires);
        let all: Vec<_> = NAMES.iter().map(|name| format!("{name}@1.0.0")).collect();
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        prop_assume!(stage.plan("staging", &deploy(&all), None).is_ok());
        stage.run("staging", &deploy(&all), None);
        let before = stage.env("staging").entries().clone();
        let intent = |moved: &std::collections::BTreeMap<usize, u64>| {
            let versions: Vec<_> = moved.iter().map(|(index, minor)| format!("{}@1.{minor}.0", NAMES[*index])).collect();
            deploy(&versions.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let canary = |bake: u64| Strategy::canary(&[10, 100], bake * 10);
        prop_assume!(stage.plan("staging", &intent(&first), None).is_ok());
        let one = stage.begin("staging", &intent(&first), Some(&canary(bakes.0)));
        for _ in 0..pause {
            stage.step("staging");
            meet(&stage, &before);
        }
        prop_assume!(stage.plan("staging", &intent(&second), None).is_ok());
        let other = stage.begin("staging", &intent(&second), Some(&canary(bakes.1)));
        let expected = |first: bool, second: bool| {
            let mut entries = before.clone();
            for (moved, _) in [(&first_entries(&stage, one), first), (&first_entries(&stage, other), second)].into_iter().filter(|(_, counts)| *counts) {
                moved.iter().for_each(|(service, entry)| { entries.insert(service.clone(), entry.clone()); });
            }
            entries
        };
        let ends = (expected(true, true), expected(false, true), expected(true, false));
        if taken_back > 0 {
            steps(&mut stage, 2);
            let id = if taken_back == 1 { one } else { other };
            let operation = stage.world.find_operation(id).unwrap().clone();
            if !operation.phase.is_settled() {
                stage.record(revert(&operation, Cause::of_nobody("ann took it back")));
            }
        }
        for _ in 0..2_000 {
            if stage.env("staging").under_way().next().is_none() {
                break;
            }
            stage.step("staging");
            meet(&stage, &before);
        }
        let done = (phase(&stage, one).is_done(), phase(&stage, other).is_done());
        let end = match done {
            (true, true) => &ends.0,
            (false, true) => &ends.1,
            (true, false) => &ends.2,
            (false, false) => &before,
        };
        prop_assert_eq!(stage.env("staging").entries(), end);
        let mut world = World::default();
        stage.log.iter().for_each(|recorded| world.fold(recorded).unwrap());
        prop_assert_eq!(&world, &stage.world);
    }
}

fn first_entries(stage: &Stage, id: OperationId) -> Entries {
    let operation = stage.world.find_operation(id).unwrap();
    operation.plan.moves().filter_map(|part| Some((part.service.clone(), part.to.clone()?))).collect()
}
