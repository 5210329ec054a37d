//! Renaming a service: nothing that runs notices, everything that is known goes along, and a former name goes on meaning it.

use std::collections::BTreeMap;

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::intent::{ConfigChoice, ConfigValue};
use lockstep_domain::plan::Refusal;
use lockstep_domain::reconcile::{Look, next_actions};
use lockstep_domain::rename::{RenameError, check, consumers, taken_along};
use lockstep_domain::{BaselineEntry, Event, Intent, Strategy, World};
use proptest::prelude::*;

/// Orders run 1.1.0, and ran 1.0.0 before; web requires them by their name.
fn shop() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        stage.release(&format!("orders@{version}"), &[]);
        stage.release(&format!("web@{version}"), &[("orders", "^1.0")]);
    }
    stage.run("staging", &deploy(&["orders@1.0.0", "web@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage
}

fn rename(stage: &mut Stage, from: &str, to: &str) {
    let (service, to) = (service(from), service(to));
    stage.record(Event::ServiceRenamed { service, to, reason: String::new() });
}

fn refused(stage: &Stage, from: &str, to: &str) -> RenameError {
    check(&stage.world, &service(from), &service(to)).unwrap_err()
}

fn back(version: &str) -> Intent {
    let (name, version) = version.split_once('@').unwrap();
    let (service, to) = (service(name), version.parse().unwrap());
    Intent::RollBackService { service, to, config: ConfigChoice::AsItRan }
}

fn nothing_to_do(stage: &Stage) -> bool {
    let observed = stage.observed("staging");
    let look = Look {
        world: &stage.world,
        environment: stage.env("staging"),
        observed: &observed,
        now: stage.now,
        wall: stage.wall(),
    };
    next_actions(look).is_empty()
}

#[test]
fn what_runs_goes_on_and_the_table_has_both_names_for_one_set_of_splits() {
    let mut stage = shop();
    stage.run("staging", &Intent::Scale { service: service("orders"), process: None, replicas: 3 }, None);
    (0..3).for_each(|_| stage.step("staging"));
    assert!(nothing_to_do(&stage));
    let before = stage.table("staging");
    rename(&mut stage, "orders", "shop-orders");
    assert!(nothing_to_do(&stage), "nothing starts and nothing ends");
    let table = stage.table("staging");
    assert_eq!(table.services[&service("shop-orders")], before.services[&service("orders")]);
    assert_eq!(table.aliases, BTreeMap::from([(service("orders"), service("shop-orders"))]));
    assert_eq!((before.format, table.format), (2, 3), "a gateway that knows no former names refuses it");
    for (path, strip) in [("/@orders/7", 8), ("/@shop-orders/7", 13)] {
        let found = table.named(path, Caller::Instance).unwrap();
        assert_eq!((found.service, found.strip), (&service("shop-orders"), strip));
    }
    assert!(table.named("/@order/7", Caller::Instance).is_none());
    assert_eq!(stage.env("staging").replicas_of(&service("shop-orders")), 3);
}

#[test]
fn a_rollback_and_an_undo_lead_past_the_rename_and_requirements_by_the_former_name_count() {
    let mut stage = shop();
    rename(&mut stage, "orders", "shop-orders");
    stage.release("shop-orders@1.3.0", &[]);
    stage.release("shop-orders@2.0.0", &[]);
    stage.run("staging", &deploy(&["shop-orders@1.3.0"]), None);
    let unmet = stage.plan("staging", &deploy(&["shop-orders@2.0.0"]), None).unwrap_err();
    assert!(matches!(unmet[..], [Refusal::Unmet(_)]), "{unmet:?}");
    let remove = Intent::Remove { services: vec![service("shop-orders")] };
    assert!(matches!(stage.plan("staging", &remove, None).unwrap_err()[..], [Refusal::Unmet(_)]));
    // A former name means it, wherever it comes in.
    let by_former = stage.world.intent_as_named_now(&back("orders@1.0.0"));
    assert_eq!(by_former, back("shop-orders@1.0.0"));
    stage.run("staging", &by_former, None);
    assert_eq!(stage.runs("staging"), "shop-orders@1.0.0 web@1.0.0");
    stage.run("staging", &Intent::Undo, None);
    assert_eq!(stage.runs("staging"), "shop-orders@1.3.0 web@1.0.0");
    stage.run("staging", &Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan }, None);
    assert_eq!(stage.runs("staging"), "shop-orders@1.0.0 web@1.0.0");
    assert_eq!(consumers(&stage.world, &service("shop-orders")).len(), 2, "what is live, and the newest");
    // Two canaries of services of which one requires the other by its former name are kept apart.
    stage.begin("staging", &deploy(&["web@1.1.0"]), Some(&Strategy::canary(&[10, 100], 1_000_000)));
    let busy = stage.plan("staging", &deploy(&["shop-orders@1.2.0"]), None).unwrap_err();
    assert!(matches!(busy[0], Refusal::Busy { .. }), "{busy:?}");
}

#[test]
fn everything_that_is_known_goes_along_and_comes_back_with_the_name() {
    let mut stage = shop();
    let set = [("MODE".to_owned(), ConfigValue::Plain("fast".into()))].into();
    stage.run("staging", &Intent::Configure { service: service("orders"), set, unset: Vec::new() }, None);
    stage.run("staging", &back("orders@1.0.0"), None);
    let before = World::clone(&stage.world);
    let along = taken_along(&before, &service("orders"));
    assert_eq!(along.keys().collect::<Vec<_>>(), [&environment("staging")]);
    let along = &along[&environment("staging")];
    assert_eq!((along.baselines, along.configurations, along.holds), (4, 1, 1));
    rename(&mut stage, "orders", "a");
    rename(&mut stage, "a", "b");
    let names: Vec<_> = stage.world.renamed.iter().map(|(from, to)| format!("{from}={to}")).collect();
    assert_eq!(names, ["a=b", "orders=b"], "none leads to a former name");
    assert_eq!(stage.world.service(&service("orders")).unwrap().name, service("b"));
    assert_eq!(stage.world.service(&service("a")).unwrap().data_name(), &service("orders"));
    rename(&mut stage, "b", "orders");
    let names: Vec<_> = stage.world.renamed.iter().map(|(from, to)| format!("{from}={to}")).collect();
    assert_eq!(names, ["a=orders", "b=orders"]);
    let mut now = World::clone(&stage.world);
    (now.seq, now.at, now.renamed) = (before.seq, before.at, before.renamed.clone());
    let mut service_now = (*now.services[&service("orders")]).clone();
    assert_eq!(service_now.data_name(), &service("orders"));
    service_now.first_name = None;
    now.services.insert(service("orders"), std::sync::Arc::new(service_now));
    assert_eq!(now, before, "as if it had never had another name");
}

#[test]
fn a_name_that_stands_for_something_is_not_given_and_neither_is_one_while_it_moves() {
    let mut stage = shop();
    assert_eq!(refused(&stage, "ghost", "x"), RenameError::NoService(service("ghost")));
    assert_eq!(refused(&stage, "orders", "orders"), RenameError::Same(service("orders")));
    assert!(matches!(refused(&stage, "orders", "web"), RenameError::Taken { removed: false, .. }));
    stage.release("old@1.0.0", &[]);
    stage.record(Event::ServiceRemoved { service: service("old"), reason: String::new() });
    assert!(matches!(refused(&stage, "orders", "old"), RenameError::Taken { removed: true, .. }));
    rename(&mut stage, "web", "front");
    assert!(matches!(refused(&stage, "orders", "web"), RenameError::Former { .. }));
    assert_eq!(
        refused(&stage, "web", "x"),
        RenameError::NoService(service("web")),
        "it has another name now"
    );
    assert!(check(&stage.world, &service("front"), &service("web")).is_ok());
    let canary = Strategy::canary(&[10, 100], 1_000_000);
    stage.begin("staging", &deploy(&["orders@1.2.0"]), Some(&canary));
    let busy = refused(&stage, "orders", "x");
    assert!(busy.hint().contains("lockstep undo staging --operation"), "{}", busy.hint());
    // What moves beside it is in nobody's way, and ends under the new name as well.
    (0..3).for_each(|_| stage.step("staging"));
    rename(&mut stage, "front", "site");
    stage.now = stage.now.plus_ms(3_000_000);
    (0..20).for_each(|_| stage.step("staging"));
    stage.now = stage.now.plus_ms(3_000_000);
    (0..20).for_each(|_| stage.step("staging"));
    assert_eq!(stage.runs("staging"), "orders@1.2.0 site@1.0.0");
    // Nobody registers a service under a former name.
    let recorded = lockstep_domain::Recorded {
        seq: stage.world.seq + 1,
        at: stage.now,
        actor: "ann".parse().unwrap(),
        event: Event::ServiceRegistered {
            service: service("web"),
            source: lockstep_domain::service::Source { repository: "/other".into(), folder: String::new() },
            owner: None,
            lifecycle: "default".parse().unwrap(),
            unrelated: None,
        },
    };
    assert!(World::clone(&stage.world).fold(&recorded).is_err());
}

/// What is known of an environment, with the names that its services had first.
fn by_first_names(stage: &Stage) -> String {
    let first =
        |name: &lockstep_domain::ServiceName| stage.world.known_service(name).unwrap().data_name().clone();
    let environment = stage.env("staging");
    let line: Vec<BTreeMap<_, BaselineEntry>> = environment
        .baselines
        .newest_first()
        .map(|it| it.entries.iter().map(|(name, entry)| (first(name), entry.clone())).collect())
        .collect();
    let holds = environment.holds.keys().map(|it| (first(&it.service), it.version.clone()));
    let holds: std::collections::BTreeSet<_> = holds.collect();
    let warm = environment.warm.keys().map(|arm| (first(&arm.service), arm.version.clone(), arm.config));
    let warm: std::collections::BTreeSet<_> = warm.collect();
    let replicas: BTreeMap<_, _> =
        environment.replicas.iter().map(|(name, many)| (first(name), *many)).collect();
    let phases: Vec<_> = environment.operations.iter().map(|it| (it.id, it.phase.clone())).collect();
    let running = stage.instances.iter().filter(|it| !it.state.is_over());
    let running: std::collections::BTreeSet<_> =
        running.map(|it| (it.since, first(&it.arm.service), it.arm.version.clone())).collect();
    let phases = phases.iter().map(|(id, phase)| format!("{id} {}", phase.is_done()));
    format!("{line:?} {holds:?} {warm:?} {replicas:?} {:?} {running:?}", phases.collect::<Vec<_>>())
}

fn intent(kind: u8, name: &str, minor: u64) -> Intent {
    match kind {
        0 | 1 => deploy(&[&format!("{name}@1.{minor}.0")]),
        2 => Intent::Undo,
        3 => Intent::Scale {
            service: service(name),
            process: None,
            replicas: u32::try_from(minor).unwrap() + 1,
        },
        4 => Intent::Remove { services: vec![service(name)] },
        5 => Intent::RollBackEnvironment { to: minor, config: ConfigChoice::AsItRan },
        _ => back(&format!("{name}@1.{minor}.0")),
    }
}

proptest! {
    /// Whatever happens, renames in between change nothing of it but names: the same operations end in the same way, the same
    /// instances run, at the same time. All of it is asked for by the first names, and folds to the same world again.
    #[test]
    fn renames_change_nothing_but_names(
        steps in prop::collection::vec((0_u8..8, 0_usize..2, 0_u64..3, 0_u32..6), 1..14),
        renames in prop::collection::vec((0_usize..14, 0_usize..2, 0_usize..4), 0..8),
    ) {
        let (mut plain, mut renamed) = (shop(), shop());
        let names = ["orders", "web"];
        for (index, (kind, which, minor, pause)) in steps.into_iter().enumerate() {
            for (_, which, to) in renames.iter().filter(|(at, ..)| *at == index) {
                let from = renamed.world.current_name(&service(names[*which])).clone();
                let to = service(["one", "two", names[0], names[1]][*to]);
                if check(&renamed.world, &from, &to).is_ok() {
                    renamed.record(Event::ServiceRenamed { service: from, to, reason: String::new() });
                }
            }
            let intent = intent(kind, names[which], minor);
            let strategy = (kind == 1).then(|| Strategy::canary(&[10, 100], 300));
            for stage in [&mut plain, &mut renamed] {
                let intent = stage.world.intent_as_named_now(&intent);
                if stage.plan("staging", &intent, strategy.as_ref()).is_ok() {
                    stage.begin("staging", &intent, strategy.as_ref());
                }
                (0..pause * 10).for_each(|_| stage.step("staging"));
            }
            prop_assert_eq!(by_first_names(&plain), by_first_names(&renamed));
        }
        let mut world = World::default();
        renamed.log.iter().for_each(|recorded| world.fold(recorded).unwrap());
        prop_assert_eq!(&world, &renamed.world);
        let loaded: World = serde_json::from_str(&serde_json::to_string(&world).unwrap()).unwrap();
        prop_assert_eq!(&loaded, &world);
        for (former, of) in &world.renamed {
            prop_assert!(world.services.contains_key(of) && !world.services.contains_key(former));
            prop_assert!(!world.is_former(of));
        }
    }
}
