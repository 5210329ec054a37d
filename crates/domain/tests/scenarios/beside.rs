//! More than one operation in an environment: what scales and restarts beside what moves, and going back although something
//! is under way.

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::fault::{Cause, Fault};
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{Decision, Refusal};
use lockstep_domain::reconcile::revert;
use lockstep_domain::{Event, Intent, OperationId, Strategy, World};
use proptest::prelude::*;

/// Orders and payments run 1.1.0, and ran 1.0.0 before; nothing of web ever changes.
fn shop() -> Stage {
    let mut stage = Stage::new();
    stage.release("web@1.0.0", &[]);
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        stage.release(&format!("orders@{version}"), &[]);
        stage.release(&format!("payments@{version}"), &[]);
    }
    stage.run("staging", &deploy(&["orders@1.0.0", "payments@1.0.0", "web@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0", "payments@1.1.0"]), None);
    stage
}

fn slow() -> Strategy {
    Strategy::canary(&[10, 100], 1_000_000)
}

fn scale(name: &str, replicas: u32) -> Intent {
    Intent::Scale { service: service(name), process: None, replicas }
}

fn restart(stage: &Stage, name: &str) -> Intent {
    let of = stage.instances.iter().filter(|i| i.arm.service == service(name) && !i.state.is_over());
    let current = stage.env("staging").entries()[&service(name)].arm(&service(name));
    Intent::Restart {
        service: service(name),
        instances: of.filter(|i| i.arm == current).map(|i| i.id.clone()).collect(),
    }
}

fn back(version: &str) -> Intent {
    let (name, version) = version.split_once('@').unwrap();
    let (service, to) = (service(name), version.parse().unwrap());
    Intent::RollBackService { service, to, config: ConfigChoice::AsItRan }
}

fn phase(stage: &Stage, id: OperationId) -> Phase {
    stage.world.find_operation(id).unwrap().phase.clone()
}

/// What became of an interruption.
#[derive(Debug, PartialEq, Eq)]
enum Begun {
    Operation(OperationId),
    OnlyEnds(Vec<OperationId>),
}

impl Begun {
    fn id(self) -> OperationId {
        match self {
            Self::Operation(id) => id,
            Self::OnlyEnds(all) => panic!("only {all:?} would be taken back"),
        }
    }
}

/// Takes back what is in the way and begins to go back, as one record does.
fn begin_by_interrupting(stage: &mut Stage, intent: &Intent) -> Result<Begun, Vec<Refusal>> {
    match stage.interrupt("staging", intent)? {
        Decision::Begins { ended, plan } => {
            ended.into_iter().for_each(|event| stage.record(event));
            Ok(Begun::Operation(stage.begin_plan("staging", intent, *plan)))
        }
        Decision::TakesBack(all) => Ok(Begun::OnlyEnds(all)),
        Decision::GoesThere(id) => Ok(Begun::Operation(id)),
    }
}

fn settle(stage: &mut Stage, id: OperationId) -> Phase {
    for _ in 0..1_000 {
        if phase(stage, id).is_settled() {
            return phase(stage, id);
        }
        stage.step("staging");
    }
    panic!("operation {id} does not settle: {:?}", phase(stage, id));
}

#[test]
fn another_service_is_scaled_and_restarted_while_a_canary_bakes() {
    let mut stage = shop();
    let canary = stage.begin("staging", &deploy(&["orders@1.2.0"]), Some(&slow()));
    (0..3).for_each(|_| stage.step("staging"));
    let scaled = stage.begin("staging", &scale("payments", 3), None);
    assert!(matches!(settle(&mut stage, scaled), Phase::Done { baseline: 2, .. }));
    let restarting = restart(&stage, "payments");
    let restarted = stage.begin("staging", &restarting, None);
    assert!(matches!(settle(&mut stage, restarted), Phase::Done { .. }));
    assert!(matches!(phase(&stage, canary), Phase::Shifted { .. }), "{:?}", phase(&stage, canary));
    stage.now = stage.now.plus_ms(3_000_000);
    (0..5).for_each(|_| stage.step("staging"));
    stage.now = stage.now.plus_ms(3_000_000);
    assert!(matches!(settle(&mut stage, canary), Phase::Done { baseline: 3, .. }));
    let ids: Vec<_> = stage.env("staging").operations.iter().map(|operation| operation.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5], "in the order in which they began, whichever was over first");
    for id in 1..=5 {
        assert_eq!(stage.world.find_operation(OperationId(id)).unwrap().id.0, id);
    }
}

#[test]
fn what_touches_the_same_service_waits() {
    let mut stage = shop();
    stage.begin("staging", &deploy(&["orders@1.2.0"]), Some(&slow()));
    (0..3).for_each(|_| stage.step("staging"));
    let busy = |stage: &Stage, intent: &Intent| {
        matches!(stage.plan("staging", intent, None).unwrap_err()[..], [Refusal::Busy { .. }])
    };
    assert!(busy(&stage, &scale("orders", 2)) && busy(&stage, &deploy(&["orders@1.0.0"])));
    let scaled = stage.begin("staging", &scale("payments", 2), None);
    assert!(busy(&stage, &scale("payments", 4)), "two numbers at once");
    // A journal in which they were not kept apart is not folded.
    let operation = stage.world.find_operation(scaled).unwrap();
    let mut again = lockstep_domain::Operation::clone(operation);
    again.id = OperationId(stage.world.operations + 1);
    let recorded = lockstep_domain::Recorded {
        seq: stage.world.seq + 1,
        at: stage.now,
        actor: "ann".parse().unwrap(),
        event: Event::OperationBegun { operation: Box::new(again) },
    };
    assert!(World::clone(&stage.world).fold(&recorded).is_err());
}

#[test]
fn an_emergency_takes_back_what_is_in_its_way_and_goes_back_in_one_step() {
    let mut stage = shop();
    let canary = stage.begin("staging", &deploy(&["orders@1.2.0"]), Some(&slow()));
    (0..3).for_each(|_| stage.step("staging"));
    let id = begin_by_interrupting(&mut stage, &back("orders@1.0.0")).unwrap().id();
    let Phase::Reverted { cause, .. } = phase(&stage, canary) else { panic!("{:?}", phase(&stage, canary)) };
    assert_eq!(cause, "bob interrupted it to roll back orders to 1.0.0");
    let plan = &stage.world.find_operation(id).unwrap().plan;
    assert_eq!(plan.warnings[0], "operation 3 (deploy orders@1.2.0, by ann) is taken back first");
    assert!(matches!(settle(&mut stage, id), Phase::Done { baseline: 3, .. }));
    assert_eq!(stage.runs("staging"), "orders@1.0.0 payments@1.1.0 web@1.0.0");
    let held: Vec<_> = stage.env("staging").holds.keys().map(ToString::to_string).collect();
    assert_eq!(held, ["orders@1.1.0"], "what was interrupted is not to blame");
    (0..10).for_each(|_| stage.step("staging"));
    let left = stage.instances.iter().filter(|i| !i.state.is_over() && i.arm.version.to_string() == "1.2.0");
    assert_eq!(left.count(), 0);
    assert!(stage.plan("staging", &deploy(&["orders@1.2.0"]), None).is_ok());
}

#[test]
fn an_emergency_also_takes_back_what_restarts_the_same_service() {
    let mut stage = shop();
    stage.broken.push("orders@1.1.0".into());
    let restarting = restart(&stage, "orders");
    let restarted = stage.begin("staging", &restarting, None);
    let scaled = stage.begin("staging", &scale("payments", 2), None);
    assert!(stage.plan("staging", &back("orders@1.0.0"), None).is_err());
    let id = begin_by_interrupting(&mut stage, &back("orders@1.0.0")).unwrap().id();
    assert!(matches!(phase(&stage, restarted), Phase::Reverted { .. }));
    assert!(!phase(&stage, scaled).is_settled(), "what is not in the way goes on");
    assert!(matches!(settle(&mut stage, id), Phase::Done { .. }));
    assert!(matches!(settle(&mut stage, scaled), Phase::Done { .. }));
}

#[test]
fn where_taking_back_is_all_there_is_to_do_nothing_else_is_planned() {
    let mut stage = shop();
    stage.begin("staging", &deploy(&["orders@1.2.0"]), Some(&slow()));
    let payments = stage.begin("staging", &scale("payments", 2), None);
    let found = begin_by_interrupting(&mut stage, &back("orders@1.1.0")).unwrap();
    assert_eq!(
        found,
        Begun::OnlyEnds(vec![OperationId(3)]),
        "and not operation {payments} of another service"
    );
    let undone = begin_by_interrupting(&mut stage, &back("web@1.0.0")).unwrap_err();
    assert!(matches!(undone[..], [Refusal::NothingToDo { .. }]), "whatever else is under way: {undone:?}");
    // What is refused for another reason takes nothing back.
    let refusals = begin_by_interrupting(&mut stage, &back("payments@1.2.0")).unwrap_err();
    assert!(matches!(refusals[..], [Refusal::NeverRan { .. }]), "{refusals:?}");
    assert_eq!(stage.env("staging").under_way().count(), 2);
}

#[test]
fn what_is_to_blame_is_held_although_somebody_interrupts_its_end() {
    let mut stage = shop();
    let canary = stage.begin("staging", &deploy(&["orders@1.2.0"]), Some(&slow()));
    let operation = stage.world.find_operation(canary).unwrap().clone();
    let arm = operation.plan.moves().next().unwrap().to_arm().unwrap();
    stage.record(revert(&operation, Cause::of(&arm, Fault::Crash, "it ends")));
    begin_by_interrupting(&mut stage, &back("orders@1.0.0")).unwrap();
    assert!(
        stage
            .env("staging")
            .holds
            .contains_key(&"orders@1.2.0".parse::<lockstep_domain::VersionRef>().unwrap())
    );
}

proptest! {
    /// Whatever begins beside what: the journal folds again to the same world, baselines are a line, and all comes to rest.
    #[test]
    fn whatever_is_begun_at_whatever_moment_comes_to_rest(
        begun in prop::collection::vec((0_u8..6, 0_usize..2, 0_u64..3, 0_u32..4), 1..12),
    ) {
        let mut stage = shop();
        for (kind, index, version, pause) in begun {
            let name = ["orders", "payments"][index];
            let intent = match kind {
                0 => deploy(&[&format!("{name}@1.{version}.0")]),
                1 => scale(name, u32::try_from(version).unwrap() + 1),
                2 if stage.env("staging").entries().contains_key(&service(name)) => restart(&stage, name),
                3 => Intent::Undo,
                _ => back(&format!("{name}@1.{version}.0")),
            };
            let strategy = (kind == 0).then(|| Strategy::canary(&[10, 100], 200));
            if kind >= 4 {
                let _ = begin_by_interrupting(&mut stage, &intent);
            } else if stage.plan("staging", &intent, strategy.as_ref()).is_ok() {
                stage.begin("staging", &intent, strategy.as_ref());
            }
            (0..pause).for_each(|_| stage.step("staging"));
        }
        for _ in 0..2_000 {
            if stage.env("staging").under_way().next().is_none() {
                break;
            }
            stage.step("staging");
        }
        prop_assert_eq!(stage.env("staging").under_way().count(), 0);
        let ids: Vec<_> = stage.env("staging").operations.iter().map(|operation| operation.id.0).collect();
        prop_assert_eq!(ids, (1..=stage.world.operations).collect::<Vec<_>>());
        let mut world = World::default();
        stage.log.iter().for_each(|recorded| world.fold(recorded).unwrap());
        prop_assert_eq!(&world, &stage.world);
        let loaded: World = serde_json::from_str(&serde_json::to_string(&world).unwrap()).unwrap();
        prop_assert_eq!(&loaded, &world);
    }
}
