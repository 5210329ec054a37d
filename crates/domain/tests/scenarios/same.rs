//! Two people who want the same at the same moment, and the hints of what is refused because of something under way.

use std::collections::BTreeSet;

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::intent::{ConfigChoice, ConfigValue};
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{Decision, InTheWay, Refusal, Remedy, Wish};
use lockstep_domain::reconcile::revert;
use lockstep_domain::{Intent, OperationId, Strategy};
use proptest::prelude::*;

/// Orders and payments run 1.1.0, and ran 1.0.0 before.
fn shop() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        stage.release(&format!("orders@{version}"), &[]);
        stage.release(&format!("payments@{version}"), &[]);
    }
    stage.run("staging", &deploy(&["orders@1.0.0", "payments@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0", "payments@1.1.0"]), None);
    stage
}

fn slow() -> Strategy {
    Strategy::canary(&[10, 100], 1_000_000)
}

fn back(version: &str) -> Intent {
    let (name, version) = version.split_once('@').unwrap();
    let (service, to) = (service(name), version.parse().unwrap());
    Intent::RollBackService { service, to, config: ConfigChoice::AsItRan }
}

fn whole(to: u64) -> Intent {
    Intent::RollBackEnvironment { to, config: ConfigChoice::AsItRan }
}

fn set(key: &str, value: &str) -> Intent {
    let set = [(key.to_owned(), ConfigValue::Plain(value.to_owned()))].into();
    Intent::Configure { service: service("orders"), set, unset: Vec::new() }
}

fn scale(replicas: u32) -> Intent {
    Intent::Scale { service: service("orders"), process: None, replicas }
}

fn restart(stage: &Stage) -> Intent {
    let current = stage.env("staging").entries()[&service("orders")].arm(&service("orders"));
    let of = stage.instances.iter().filter(|one| one.arm == current && !one.state.is_over());
    Intent::Restart { service: service("orders"), instances: of.map(|one| one.id.clone()).collect() }
}

fn wish<'a>(intent: &'a Intent, strategy: Option<&'a Strategy>, in_the_way: InTheWay) -> Wish<'a> {
    Wish { in_the_way, ..Wish::of(intent, strategy) }
}

const BOTH: [InTheWay; 2] = [InTheWay::Refuses, InTheWay::IsTakenBack];

#[test]
fn who_wants_what_is_under_way_is_answered_with_it_and_takes_nothing_back() {
    type Make = fn(&Stage) -> Intent;
    let every: [Make; 10] = [
        |_| back("orders@1.0.0"),
        |_| Intent::RollBackServices {
            versions: vec!["payments@1.0.0".parse().unwrap(), "orders@1.0.0".parse().unwrap()],
            config: ConfigChoice::AsItRan,
        },
        |_| whole(1),
        |_| Intent::Undo,
        |_| deploy(&["orders@1.2.0"]),
        |_| deploy(&["payments@1.2.0", "orders@1.2.0"]),
        |_| Intent::Remove { services: vec![service("orders")] },
        |_| scale(3),
        |_| set("MODE", "fast"),
        restart,
    ];
    for make in every {
        let mut stage = shop();
        let intent = make(&stage);
        stage.broken.extend(["orders@1.0.0".into(), "orders@1.2.0".into()]);
        let id = stage.begin("staging", &intent, None);
        // Which instances there are was asked anew, and none was replaced yet.
        for in_the_way in BOTH {
            let found = stage.decide("staging", &wish(&intent, None, in_the_way));
            assert_eq!(found, Ok(Decision::GoesThere(id)), "{intent}");
        }
    }
}

#[test]
fn a_promotion_of_the_same_set_is_answered_with_the_one_under_way() {
    let mut stage = shop();
    stage.run("development", &deploy(&["orders@1.2.0", "payments@1.1.0"]), None);
    let promote =
        |baseline| Intent::Promote { from: "development".parse().unwrap(), services: Vec::new(), baseline };
    let id = stage.begin("staging", &promote(None), Some(&slow()));
    for baseline in [None, Some(1)] {
        assert_eq!(stage.decide("staging", &Wish::of(&promote(baseline), None)), Ok(Decision::GoesThere(id)));
    }
    // It does what the other began, although it is a deployment.
    assert_eq!(
        stage.decide("staging", &Wish::of(&deploy(&["orders@1.2.0"]), None)),
        Ok(Decision::GoesThere(id))
    );
    stage.run("development", &deploy(&["orders@1.1.0"]), None);
    let now = stage.decide("staging", &Wish::of(&promote(None), None)).unwrap_err();
    assert!(matches!(now[..], [Refusal::Busy { .. }, Refusal::NothingToDo { .. }]), "{now:?}");
}

#[test]
fn undo_does_not_take_back_what_goes_where_it_leads() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["orders@1.2.0"]), None);
    stage.broken.push("orders@1.1.0".into());
    let rollback = stage.begin("staging", &back("orders@1.1.0"), None);
    assert_eq!(stage.decide("staging", &Wish::of(&Intent::Undo, None)), Ok(Decision::GoesThere(rollback)));
    // Who names it takes it back; and who names it again finds that somebody does.
    let named = Wish { operation: Some(rollback), ..Wish::of(&Intent::Undo, None) };
    assert_eq!(stage.decide("staging", &named), Ok(Decision::TakesBack(vec![rollback])));
    let operation = stage.world.find_operation(rollback).unwrap().clone();
    stage.record(revert(&operation, lockstep_domain::fault::Cause::of_nobody("ann took it back")));
    for wish in [named, Wish::of(&Intent::Undo, None)] {
        assert_eq!(stage.decide("staging", &wish), Ok(Decision::TakesBack(vec![rollback])));
    }
}

#[test]
fn what_is_only_nearly_the_same_is_not_the_same() {
    let mut stage = shop();
    stage.broken.extend(["orders@1.0.0".into(), "orders@1.2.0".into()]);
    let busy = |stage: &Stage, wish: &Wish<'_>| {
        let found = stage.decide("staging", wish);
        assert!(matches!(&found, Err(why) if matches!(why[0], Refusal::Busy { .. })), "{found:?}");
    };
    let rollback = stage.begin("staging", &back("orders@1.0.0"), Some(&slow()));
    // Who goes back is in a hurry, and the other is not.
    busy(&stage, &Wish::of(&back("orders@1.0.0"), None));
    let hurried = stage.interrupt("staging", &back("orders@1.0.0"));
    assert!(matches!(hurried, Ok(Decision::Begins { .. })), "{hurried:?}");
    let same = slow();
    let found = stage.decide("staging", &Wish::of(&back("orders@1.0.0"), Some(&same)));
    assert_eq!(found, Ok(Decision::GoesThere(rollback)));
    // A deployment of the older version holds nothing, and more services are more.
    busy(&stage, &Wish::of(&deploy(&["orders@1.0.0"]), Some(&same)));
    busy(&stage, &Wish::of(&deploy(&["orders@1.0.0", "payments@1.2.0"]), Some(&same)));
    // What is being taken back goes nowhere.
    let operation = stage.world.find_operation(rollback).unwrap().clone();
    stage.record(revert(&operation, lockstep_domain::fault::Cause::of_nobody("ann took it back")));
    busy(&stage, &Wish::of(&back("orders@1.0.0"), Some(&same)));
}

#[test]
fn a_first_deployment_can_be_interrupted_and_every_hint_says_how() {
    let mut stage = Stage::new();
    ["1.0.0", "1.1.0"].iter().for_each(|version| stage.release(&format!("orders@{version}"), &[]));
    stage.broken.push("orders@1.0.0".into());
    let id = stage.begin("staging", &deploy(&["orders@1.0.0"]), None);
    let undo = format!("`lockstep undo staging --operation {id}`");
    let remove = Intent::Remove { services: vec![service("orders")] };
    let expect = Wish { expect: Some(0), ..Wish::of(&Intent::Undo, None) };
    let (backs, far) = ([back("orders@1.1.0"), back("orders@1.0.0"), remove, scale(2)], whole(1));
    let wishes = backs.iter().chain([&far]).flat_map(|intent| BOTH.map(|way| wish(intent, None, way)));
    for wish in wishes.chain([expect]) {
        let refusals = stage.decide("staging", &wish).unwrap_err();
        let hint = refusals[0].hint().unwrap();
        assert!(hint.contains(&undo), "{}: {hint}", wish.intent);
    }
    assert_eq!(stage.interrupt("staging", &whole(0)), Ok(Decision::TakesBack(vec![id])));
    assert_eq!(stage.decide("staging", &Wish::of(&Intent::Undo, None)), Ok(Decision::TakesBack(vec![id])));
}

/// Does what a hint says, and returns whether it could be done.
fn carry_out(stage: &mut Stage, refusals: &[Refusal], wished: &Wish<'_>) -> Result<(), String> {
    let mut done = BTreeSet::new();
    for refusal in refusals {
        let (id, remedy) = match refusal {
            Refusal::Busy { operation, remedy, .. } => (*operation, remedy),
            Refusal::Meanwhile { under_way, remedy, .. } => (under_way.id, remedy),
            _ => continue,
        };
        match remedy {
            Remedy::Wait => continue,
            Remedy::Interrupt => {
                let found = stage.interrupt("staging", wished.intent);
                return found.map(|_| ()).map_err(|why| format!("{why:?}"));
            }
            Remedy::TakeBack | Remedy::Together(_) if !done.insert(id) => {}
            Remedy::TakeBack => take_back(stage, id)?,
            Remedy::Together(versions) => {
                take_back(stage, id)?;
                let all = Intent::Deploy { versions: versions.clone() };
                match stage.decide("staging", &Wish::of(&all, None)) {
                    Err(why) if !matches!(why[..], [Refusal::NothingToDo { .. }]) => {
                        return Err(format!("{why:?}"));
                    }
                    _ => return Ok(()),
                }
            }
        }
    }
    Ok(())
}

fn take_back(stage: &mut Stage, id: OperationId) -> Result<(), String> {
    let named = Wish { operation: Some(id), ..Wish::of(&Intent::Undo, None) };
    match stage.decide("staging", &named) {
        Ok(Decision::TakesBack(all)) if all == [id] => {}
        other => return Err(format!("{other:?}")),
    }
    let operation = stage.world.find_operation(id).unwrap().clone();
    if !matches!(operation.phase, Phase::Reverting { .. }) {
        stage.record(revert(&operation, lockstep_domain::fault::Cause::of_nobody("ann took it back")));
    }
    for _ in 0..1_000 {
        if stage.world.find_operation(id).unwrap().phase.is_settled() {
            return Ok(());
        }
        stage.step("staging");
    }
    Err(format!("operation {id} does not end"))
}

fn any_intent(kind: u8, name: &str, minor: u64) -> Intent {
    let version = format!("{name}@1.{minor}.0");
    match kind {
        0 | 1 => deploy(&[&version]),
        2 => deploy(&["orders@1.2.0", "payments@1.2.0"]),
        3 => Intent::Undo,
        4 => Intent::Remove { services: vec![service(name)] },
        5 => whole(minor),
        6 => Intent::Scale {
            service: service(name),
            process: None,
            replicas: u32::try_from(minor).unwrap() + 1,
        },
        _ => back(&version),
    }
}

proptest! {
    /// Whatever is refused because of whatever is under way: what the hint says can be done.
    #[test]
    fn every_hint_can_be_carried_out(
        runs in any::<bool>(),
        begun in prop::collection::vec((0_u8..9, 0_usize..2, 0_u64..3, 0_u32..4), 1..4),
        (kind, index, minor) in (0_u8..9, 0_usize..2, 0_u64..3),
        (interrupts, expects) in (any::<bool>(), any::<bool>()),
    ) {
        let mut stage = if runs { shop() } else { Stage::new() };
        if !runs {
            for version in ["1.0.0", "1.1.0", "1.2.0"] {
                ["orders", "payments"].iter().for_each(|name| stage.release(&format!("{name}@{version}"), &[]));
            }
        }
        let names = ["orders", "payments"];
        for (kind, index, minor, pause) in begun {
            let intent = any_intent(kind, names[index], minor);
            let strategy = (kind == 1).then(slow);
            if stage.plan("staging", &intent, strategy.as_ref()).is_ok() {
                stage.begin("staging", &intent, strategy.as_ref());
            }
            (0..pause).for_each(|_| stage.step("staging"));
        }
        let intent = any_intent(kind, names[index], minor);
        let way = if interrupts && intent.goes_back() { InTheWay::IsTakenBack } else { InTheWay::Refuses };
        let current = stage.env("staging").baselines.current().number;
        let wished = Wish { expect: expects.then_some(current), ..wish(&intent, None, way) };
        match stage.decide("staging", &wished) {
            Err(refusals) => {
                let done = carry_out(&mut stage, &refusals, &wished);
                prop_assert!(done.is_ok(), "{intent}: {refusals:?}: {done:?}");
            }
            Ok(Decision::GoesThere(id)) => {
                prop_assert!(!stage.world.find_operation(id).unwrap().phase.is_settled());
            }
            Ok(Decision::Begins { ended, .. }) => {
                prop_assert!(ended.is_empty() || way == InTheWay::IsTakenBack);
            }
            Ok(Decision::TakesBack(all)) => prop_assert!(!all.is_empty()),
        }
    }
}

#[test]
fn what_became_of_an_operation_that_an_undo_names_is_told_as_it_was() {
    let mut scene = crate::databases::Scene::new();
    let files = [("1.sql", lockstep_domain::database::MigrationClass::Expand)];
    scene.stage.release_with("shop@1.0.0", &[], |it| it.databases.push(crate::databases::brings(&files)));
    scene.run(&deploy(&["shop@1.0.0"]));
    let first = scene.stage.env(crate::databases::PLACE).operations[0].id;
    scene.run(&crate::databases::at(lockstep_domain::intent::DatabaseWish::Look));
    let look = scene.stage.env(crate::databases::PLACE).operations[1].id;
    let undo = |place: &str, id| {
        let wish = Wish { operation: Some(id), ..Wish::of(&Intent::Undo, None) };
        let refusals = scene.stage.decide(place, &wish).unwrap_err();
        (refusals[0].to_string(), refusals[0].hint().unwrap())
    };
    assert!(undo("development", first).0.ends_with("made baseline 1"));
    assert!(undo("development", look).0.contains("made no baseline"));
    let (said, hint) = undo("staging", first);
    assert!(said.contains("is one of `development`, not of `staging`"), "{said}");
    assert!(hint.starts_with(&format!("lockstep undo development --operation {first}")), "{hint}");
}
