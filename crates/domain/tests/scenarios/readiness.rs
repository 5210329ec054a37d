//! Readiness: it says yes exactly where there is a plan, and tells what was lost.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::compatibility::offers;
use crate::databases::{Scene, brings};
use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::contract::{Answer, ContractKind, Verdict};
use lockstep_domain::database::MigrationClass;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::operation::{Move, Readiness};
use lockstep_domain::plan::{Ground, Refusal, WantedRule, add_rule, can_plan};
use lockstep_domain::readiness::{self, EnvironmentReadiness, InTheWay, Standing, planned, with_host};
use lockstep_domain::routes::RouteRule;
use lockstep_domain::run::{Kind, Port, Values};
use lockstep_domain::version_rules::Takes;
use lockstep_domain::ways_back::Host;
use lockstep_domain::{BaselineEntry, ConfigRevision, Intent, OperationId, VersionRef};
use proptest::prelude::*;

const PLACE: &str = "staging";

/// What is ready where the host has everything but what is lost.
fn look(stage: &Stage, lost: &BTreeSet<VersionRef>) -> EnvironmentReadiness {
    let environment = stage.env(PLACE);
    let host = Host {
        is_ready: &|arm| environment.keeps_warm(arm, stage.now),
        unprepared: &|_| None,
        has_artifact: &|version| !lost.contains(version),
    };
    with_host(&planned(stage.relation(), environment, stage.now), &host)
}

fn ready(stage: &Stage) -> EnvironmentReadiness {
    look(stage, &BTreeSet::new())
}

/// What is lost between two looks, in words.
fn losses(before: &EnvironmentReadiness, after: &EnvironmentReadiness) -> Vec<String> {
    readiness::losses(before, after).into_iter().map(|loss| loss.what).collect()
}

fn standings(readiness: &EnvironmentReadiness) -> Vec<(u64, Standing)> {
    readiness.baselines.iter().map(|it| (it.baseline, it.standing)).collect()
}

/// Orders in three versions: the second drops a column that the first one reads.
fn dropped() -> Stage {
    let mut stage = Stage::new();
    stage.release_with("orders@1.0.0", &[], offers(ContractKind::Sql, 1));
    stage.release_with("orders@1.1.0", &[], offers(ContractKind::Sql, 1));
    stage.release_with("orders@2.0.0", &[], offers(ContractKind::Sql, 2));
    stage.release("web@1.0.0", &[]);
    let reasons = vec!["column `items.place` is gone".to_owned()];
    stage.contracts.insert((1, 2), Answer { verdict: Verdict::Breaking, reasons, one_way: Vec::new() });
    stage.run(PLACE, &deploy(&["orders@1.0.0", "web@1.0.0"]), None);
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    stage
}

#[test]
fn a_service_that_never_ran_otherwise_has_nothing_before_and_one_that_did_is_warm_and_then_cold() {
    let mut stage = dropped();
    let readiness = ready(&stage);
    let of: Vec<_> =
        readiness.services.iter().map(|it| (it.service.as_str(), it.standing, it.readiness)).collect();
    assert_eq!(of, [("orders", Standing::Open, Readiness::Warm), ("web", Standing::First, Readiness::Warm)]);
    assert!(readiness.is_whole());
    stage.now = stage.now.plus_ms(60_000);
    let later = ready(&stage);
    assert_eq!((later.services[0].standing, later.services[0].readiness), (Standing::Open, Readiness::Cold));
    assert_eq!(losses(&readiness, &later), [""; 0], "colder is not lost");
}

#[test]
fn a_migration_that_drops_a_column_is_a_point_of_no_return_that_is_warned_of_before_and_told_after() {
    let mut stage = dropped();
    let before = ready(&stage);
    assert_eq!(standings(&before), [(1, Standing::Open)]);
    let plan = stage.plan(PLACE, &deploy(&["orders@2.0.0"]), None).unwrap();
    let warned = plan.warnings.iter().find(|it| it.starts_with("a point of no return")).unwrap();
    assert!(
        warned.contains("baseline 2 cannot be reached any more")
            && warned.ends_with("column `items.place` is gone"),
        "{warned}"
    );
    stage.run(PLACE, &deploy(&["orders@2.0.0"]), None);
    let after = ready(&stage);
    assert_eq!(standings(&after), [(2, Standing::Closed), (1, Standing::Closed)]);
    let orders = &after.services[0];
    assert_eq!(
        (orders.standing, orders.reasons[0].kind, orders.reasons[0].forbids),
        (Standing::Closed, InTheWay::Migration, true)
    );
    assert!(!after.is_whole());
    let lost = losses(&before, &after);
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(
        lost[0]
            .starts_with("orders 2.0.0 can no longer go back to 1.1.0: 1.1.0 does not work on the database"),
        "{lost:?}"
    );
    assert!(lost[1].starts_with("a point of no return was crossed: baseline 2 cannot be reached any more, none before 3 can be reached"), "{lost:?}");
    assert_eq!(losses(&after, &after), [""; 0]);
    // What comes after it can be gone back from, up to there.
    stage.release_with("orders@2.1.0", &[], offers(ContractKind::Sql, 2));
    stage.run(PLACE, &deploy(&["orders@2.1.0"]), None);
    let readiness = ready(&stage);
    assert_eq!((readiness.nearest().unwrap().baseline, readiness.last().unwrap().baseline), (3, 3));
    assert_eq!(readiness.beyond().unwrap().baseline, 2);
    assert!(readiness.is_whole());
    // Who has no way back yet is warned of nothing by a deployment that drops nothing.
    assert!(stage.plan(PLACE, &Intent::Undo, None).is_ok());
}

#[test]
fn a_baseline_that_is_not_proved_is_told_as_such_and_not_as_one_that_cannot_be_reached() {
    let mut stage = Stage::new();
    for (version, files) in [("shop@1.0.0", 1), ("shop@1.1.0", 2)] {
        stage.release_with(version, &[], |version| {
            let mut brings = brings(&[("1.sql", MigrationClass::Expand), ("2.sql", MigrationClass::Data)]);
            brings.files.truncate(files);
            brings
                .files
                .iter_mut()
                .skip(1)
                .for_each(|file| file.one_way = vec!["rows are changed".to_owned()]);
            version.databases.push(brings);
        });
    }
    let mut scene = Scene { stage, ..Scene::new() };
    scene.run_in(PLACE, &deploy(&["shop@1.0.0"]));
    let before = ready(&scene.stage);
    scene.run_in(PLACE, &deploy(&["shop@1.1.0"]));
    let after = ready(&scene.stage);
    assert_eq!(standings(&after), [(1, Standing::NotProved)]);
    let back = Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan };
    assert!(scene.stage.plan(PLACE, &back, None).is_ok());
    assert_eq!((after.beyond(), after.not_proved().map(|it| it.baseline)), (None, Some(1)));
    assert_eq!(losses(&before, &after), [""; 0]);
}

#[test]
fn an_artifact_that_is_lost_closes_every_way_that_needs_it() {
    let mut stage = dropped();
    stage.run(PLACE, &deploy(&["orders@2.0.0"]), None);
    stage.release_with("orders@2.1.0", &[], offers(ContractKind::Sql, 2));
    stage.run(PLACE, &deploy(&["orders@2.1.0"]), None);
    let before = ready(&stage);
    let after = look(&stage, &BTreeSet::from(["orders@2.0.0".parse().unwrap()]));
    assert_eq!(after.services[0].reasons[0].what, "the artifact of `orders@2.0.0` is not in the blob store");
    assert_eq!(after.services[0].reasons[0].hint.as_deref(), Some("lockstep release orders"));
    assert!(after.last().is_none());
    assert!(
        losses(&before, &after)[1]
            .contains("baseline 3 cannot be reached any more, none before 4 can be reached")
    );
}

#[test]
fn a_way_that_comes_back_is_told_and_the_loss_with_it() {
    let stage = dropped();
    let lost: BTreeSet<VersionRef> = ["orders@1.0.0".parse().unwrap()].into();
    let (before, after) = (ready(&stage), look(&stage, &lost));
    let all = readiness::losses(&before, &after);
    let again =
        |now: &EnvironmentReadiness| all.iter().filter_map(|loss| loss.regained(now)).collect::<Vec<_>>();
    assert_eq!(again(&after), [""; 0]);
    assert_eq!(
        again(&before),
        ["orders 1.1.0 can go back to 1.0.0 again", "baseline 1 can be reached again"]
    );
}

#[test]
fn a_service_whose_other_versions_came_later_has_no_way_back_and_says_why() {
    let mut stage = dropped();
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    stage.run(PLACE, &back, None);
    let readiness = ready(&stage);
    let orders = &readiness.services[0];
    assert_eq!((orders.standing, &orders.to), (Standing::Oldest, &None));
    assert!(orders.reasons[0].what.contains("`orders@1.1.0` ran here and came after 1.0.0"), "{orders:?}");
    assert!(readiness.is_whole());
    let name = service("orders");
    assert_eq!(lockstep_domain::plan::steps_back(stage.env(PLACE), &name).next(), None);
    let newer = "orders@1.1.0".parse().unwrap();
    let why = lockstep_domain::plan::no_way_back(&stage.world, stage.env(PLACE), &newer).unwrap();
    assert!(why.contains("a way forward, not back"), "{why}");
}

#[test]
fn a_hold_is_told_and_forbids_nothing_and_an_operation_under_way_can_be_interrupted() {
    let mut stage = dropped();
    stage.record(lockstep_domain::Event::HoldPlaced {
        environment: environment(PLACE),
        version: "orders@1.0.0".parse().unwrap(),
        hold: lockstep_domain::environment::Hold {
            reason: "it loses orders".into(),
            since: stage.now,
            by: "ann".parse().unwrap(),
        },
    });
    let orders = &ready(&stage).services[0];
    assert_eq!(
        (orders.standing, orders.reasons[0].kind, orders.reasons[0].forbids),
        (Standing::Open, InTheWay::Hold, false)
    );
    stage.begin(PLACE, &deploy(&["orders@2.0.0"]), None);
    let readiness = ready(&stage);
    assert_eq!(readiness.services[0].standing, Standing::UnderWay);
    assert!(readiness.is_whole());
}

#[test]
fn how_long_the_last_going_back_took_is_that_of_the_last_one_that_was_carried_out() {
    let mut stage = dropped();
    assert_eq!(ready(&stage).services[0].took, None);
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    let id = stage.begin(PLACE, &back, None);
    stage.now = stage.now.plus_ms(4_000);
    (0..5).for_each(|_| stage.step(PLACE));
    let took = ready(&stage).services[0].took.unwrap();
    assert_eq!((took.operation, took.ms / 1_000), (id, 4));
}

#[test]
fn a_consumer_that_needs_more_is_in_the_way_and_named() {
    let mut stage = Stage::new();
    stage.release("payments@1.0.0", &[]);
    stage.release("payments@2.0.0", &[]);
    stage.release("orders@1.0.0", &[("payments", "*")]);
    stage.release("orders@2.0.0", &[("payments", ">=2")]);
    stage.run(PLACE, &deploy(&["payments@1.0.0", "orders@1.0.0"]), None);
    stage.run(PLACE, &deploy(&["payments@2.0.0"]), None);
    let before = ready(&stage);
    stage.run(PLACE, &deploy(&["orders@2.0.0"]), None);
    let after = ready(&stage);
    let payments = after.services.iter().find(|it| it.service == service("payments")).unwrap();
    assert_eq!((payments.standing, payments.reasons[0].kind), (Standing::Closed, InTheWay::Consumer));
    assert!(payments.reasons[0].what.contains("requires payments >=2"), "{payments:?}");
    // The baselines as a whole go back together.
    assert_eq!(standings(&after), [(2, Standing::Open), (1, Standing::Open)]);
    assert_eq!(losses(&before, &after).len(), 1);
}

proptest! {
    /// Whatever happened, with whatever requirements, configurations and losses: a way is open exactly where `plan` makes a plan and the
    /// host has what it needs; and the host is asked once of each arm.
    #[test]
    fn it_says_yes_exactly_where_there_is_a_plan(
        steps in prop::collection::vec((0_u8..7, 0_usize..3, 0_u64..4), 1..12),
        ranges in prop::collection::vec(0_u64..3, 6),
        gone in prop::collection::btree_set((0_usize..3, 0_u64..3), 0..3),
    ) {
        let names = ["orders", "payments", "web"];
        let mut stage = Stage::new();
        for minor in 0..3_u64 {
            for (index, name) in names.iter().enumerate() {
                let range = format!(">=1.{}", ranges[index] % (minor + 1));
                let provider = names[(index + 1) % 3];
                let requires: &[(&str, &str)] = if index < 2 { &[(provider, range.as_str())] } else { &[] };
                stage.release(&format!("{name}@1.{minor}.0"), requires);
            }
        }
        for (step, index, minor) in steps {
            let name = names[index];
            let intent = match step {
                0..=2 => deploy(&[&format!("{name}@1.{}.0", minor % 3)]),
                3 => deploy(&["orders@1.0.0", "payments@1.0.0", "web@1.0.0"]),
                4 => Intent::Undo,
                5 => Intent::Configure {
                    service: service(name),
                    set: [("KEY".to_owned(), lockstep_domain::intent::ConfigValue::Secret(format!("s{minor}")))].into(),
                    unset: Vec::new(),
                },
                _ => Intent::RollBackEnvironment { to: minor, config: ConfigChoice::AsItRan },
            };
            if stage.plan(PLACE, &intent, None).is_ok() {
                stage.run(PLACE, &intent, None);
            }
        }
        let lost: BTreeSet<VersionRef> =
            gone.iter().map(|(index, minor)| format!("{}@1.{minor}.0", names[*index]).parse().unwrap()).collect();
        let environment = stage.env(PLACE);
        let asked = RefCell::new(Vec::new());
        let host = Host {
            is_ready: &|arm| {
                asked.borrow_mut().push(arm.clone());
                environment.keeps_warm(arm, stage.now)
            },
            unprepared: &|_| None,
            has_artifact: &|version| !lost.contains(version),
        };
        let readiness = with_host(&planned(stage.relation(), environment, stage.now), &host);
        let works = |intent: &Intent| stage.plan(PLACE, intent, None).is_ok_and(|plan| {
            plan.moves().filter_map(Move::to_arm).all(|arm| !lost.contains(&arm.version_ref()))
        });
        for found in &readiness.services {
            let Some(to) = &found.to else { continue };
            let (service, to, config) = (found.service.clone(), to.version.clone(), ConfigChoice::AsItRan);
            let intent = Intent::RollBackService { service, to, config };
            prop_assert_eq!(found.standing == Standing::Open, works(&intent), "{:?}", found);
        }
        for found in &readiness.baselines {
            let intent = Intent::RollBackEnvironment { to: found.baseline, config: ConfigChoice::AsItRan };
            prop_assert_eq!(found.standing == Standing::Open, works(&intent), "{:?}", found);
        }
        let all = asked.borrow();
        let once: BTreeSet<_> = all.iter().collect();
        prop_assert_eq!(once.len(), all.len());
    }

    /// Looking only at what a move touches finds what looking at everything does: the same plans with the same warnings, the same refusals in
    /// the same order. Services want routes and ports, name each other, become workers, have migrations and rules.
    #[test]
    fn what_a_move_touches_is_all_that_a_plan_depends_on(
        versions in prop::collection::vec((any::<[u8; 3]>(), 0_usize..5, 0_usize..4, 0_u8..10), 15),
        sets in prop::collection::vec(prop::collection::vec(0_usize..4, 5), 2..6),
        rules in prop::collection::vec((0_usize..5, 0_usize..3), 0..3),
        known in prop::collection::vec((1_u8..4, 1_u8..4, any::<bool>()), 0..4),
    ) {
        let stage = tangled(&versions, &sets, &rules, &known);
        let environment = stage.env(PLACE);
        let ground = Ground::of(stage.relation(), environment);
        let whole = environment.baselines.newest_first().map(|it| Intent::RollBackEnvironment {
            to: it.number,
            config: ConfigChoice::AsItRan,
        });
        let single = (0..15).map(|index| Intent::RollBackService {
            service: service(NAMES[index / 3]),
            to: format!("1.{}.0", index % 3).parse().unwrap(),
            config: ConfigChoice::AsItRan,
        });
        let removed = NAMES.iter().map(|name| Intent::Remove { services: vec![service(name)] });
        let forward = (0..15).map(|index| deploy(&[&format!("{}@1.{}.0", NAMES[index / 3], index % 3)]));
        for intent in whole.chain(single).chain(removed).chain(forward) {
            let touched = can_plan(stage.relation(), &environment.name, &intent, &ground, stage.now);
            let plain = stage.plan(PLACE, &intent, None).map_err(|all| all.into_iter().map(plain).collect());
            prop_assert_eq!(touched, plain, "{:?}", intent);
        }
    }
}

const NAMES: [&str; 5] = ["cart", "orders", "payments", "queue", "web"];

/// A refusal without the command that helps.
fn plain(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::UnmetBack { unmet, .. } => Refusal::Unmet(unmet),
        other => other,
    }
}

/// An environment that came through these sets: each names for every service one of three versions, or none.
fn tangled(
    versions: &[([u8; 3], usize, usize, u8)],
    sets: &[Vec<usize>],
    rules: &[(usize, usize)],
    known: &[(u8, u8, bool)],
) -> Stage {
    let mut stage = Stage::new();
    for (one, other, breaks) in known {
        let verdict = if *breaks { Verdict::Breaking } else { Verdict::NotChecked };
        let answer = Answer { verdict, reasons: vec!["it differs".to_owned()], one_way: Vec::new() };
        stage.contracts.insert((*one, *other), answer);
    }
    for (index, (bytes, provider, route, kind)) in versions.iter().enumerate() {
        let range = [None, Some("*"), Some(">=1.1"), Some(">=1.2")][usize::from(bytes[0] % 4)];
        let requires: Vec<_> = range.map(|range| (NAMES[*provider], range)).into_iter().collect();
        stage.release_with(&format!("{}@1.{}.0", NAMES[index / 3], index % 3), &requires, |version| {
            if bytes[1].is_multiple_of(3) {
                let path = format!("/{}", route % 3);
                version.routes = vec![RouteRule { path, ..RouteRule::default() }];
            }
            if bytes[1].is_multiple_of(5) {
                version.run.port = Port::Fixed(9_000 + u16::from(bytes[2] % 3));
            }
            if *kind == 0 {
                version.run.kind = Kind::Worker;
            }
            if *kind < 4 {
                version.run.values = Values::Filled;
                let url = format!("${{service.{}.url}}/x", NAMES[(*provider + 1) % 5]);
                version.run.variables.insert("PEER".into(), url);
            }
            if *kind > 5 {
                offers(ContractKind::Sql, bytes[2] % 3 + 1)(version);
            }
        });
    }
    // What runs need not be what a plan would have made: each set is as it is written.
    let entry = |minor: usize| BaselineEntry {
        version: format!("1.{minor}.0").parse().unwrap(),
        config: ConfigRevision(0),
    };
    let mut found = stage.env(PLACE).clone();
    for (number, set) in (1..).zip(sets) {
        let chosen = NAMES.iter().zip(set).filter(|(_, minor)| **minor < 3);
        let entries = chosen.map(|(name, minor)| (service(name), entry(*minor))).collect();
        found.baselines.push(OperationId(number), stage.now, entries);
    }
    stage.world.environments.insert(found.name.clone(), Arc::new(found));
    for (index, minor) in rules {
        let version = format!("1.{minor}.0").parse().unwrap();
        let takes = Takes::header("X-User", "jason").unwrap();
        let wanted = WantedRule { service: service(NAMES[*index]), version, takes, reason: "a try".into() };
        if let Ok(event) = add_rule(stage.relation(), &environment(PLACE), &wanted, stage.now) {
            stage.record(event);
        }
    }
    stage
}
