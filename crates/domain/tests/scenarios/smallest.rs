//! The smallest set that moves: beside brute force over what can be planned, and in words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_domain::criticality::Criticality;
use lockstep_domain::environment::Hold;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::plan::{
    Decision, Found, InTheWay, Refusal, STEPS, Search, ServiceWish, Wanted, Way, Wish as Asked, export,
    fault, smallest,
};
use lockstep_domain::routes::RouteRule;
use lockstep_domain::{
    BaselineEntry, ConfigRevision, Digest, EnvironmentName, Event, Intent, OperationId, Strategy as Pace,
    VersionRef,
};
use lockstep_what_if::{Answer, Wish, answer};
use proptest::prelude::*;
use serde_json::json;

use crate::simulation::{Stage, deploy, environment, service};

fn found(stage: &Stage, intent: &Intent, wishes: &[ServiceWish]) -> Found {
    found_with(stage, intent, wishes, (InTheWay::Refuses, None))
}

fn found_with(
    stage: &Stage,
    intent: &Intent,
    wishes: &[ServiceWish],
    (in_the_way, strategy): (InTheWay, Option<&Pace>),
) -> Found {
    let place = environment("staging");
    smallest(&Search { wishes, strategy, in_the_way, ..search(stage, &place, intent) }).unwrap()
}

pub(crate) fn search<'a>(
    stage: &'a Stage,
    environment: &'a EnvironmentName,
    intent: &'a Intent,
) -> Search<'a> {
    Search {
        relation: stage.relation(),
        environment,
        intent,
        wishes: &[],
        strategy: None,
        in_the_way: InTheWay::Refuses,
        has_artifact: &|version| !version.to_string().starts_with("gone@"),
        steps: STEPS,
        now: stage.now,
    }
}

fn exported(stage: &Stage) -> lockstep_what_if::Fleet {
    export(&search(stage, &environment("staging"), &deploy(&[]))).unwrap()
}

fn way(stage: &Stage, intent: &Intent, wishes: &[ServiceWish]) -> Way {
    match found(stage, intent, wishes) {
        Found::Way(way) => *way,
        other => panic!("{other:?}"),
    }
}

fn no_way(stage: &Stage, intent: &Intent, wishes: &[ServiceWish]) -> Answer {
    match found(stage, intent, wishes) {
        Found::NoWay(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

fn wish(name: &str, wanted: Wanted) -> ServiceWish {
    ServiceWish { service: service(name), wanted }
}

fn names(versions: &[VersionRef]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

fn moves(answer: &Answer) -> Vec<String> {
    answer.moves.iter().map(|it| format!("{} {} -> {}", it.service, it.from, it.to)).collect()
}

/// orders 1.6 needs payments 2.1, which storefront 1.0 does not work with; ledger is not there yet.
fn shop() -> Stage {
    let mut stage = Stage::new();
    for version in ["payments@2.0.0", "payments@2.1.0", "payments@2.2.0", "ledger@1.0.0", "ledger@1.1.0"] {
        stage.release(version, &[]);
    }
    stage.release("orders@1.5.0", &[("payments", "^2.0")]);
    stage.release("orders@1.6.0", &[("payments", "^2.1")]);
    stage.release("orders@1.7.0", &[("payments", "^2.1"), ("ledger", "^1.0")]);
    stage.release("orders@1.8.0", &[("payments", "^3.0")]);
    stage.release("storefront@1.0.0", &[("payments", "=2.0.0")]);
    stage.release("storefront@1.1.0", &[("payments", "^2.0")]);
    stage.run("staging", &deploy(&["orders@1.5.0", "payments@2.0.0", "storefront@1.0.0"]), None);
    stage
}

#[test]
fn what_is_lacking_comes_along_with_what_that_needs_and_nothing_else() {
    let stage = shop();
    let asked = deploy(&["orders@1.6.0"]);
    assert!(stage.plan("staging", &asked, None).unwrap_err().iter().all(Refusal::lacks_others));
    let way = way(&stage, &asked, &[]);
    assert_eq!(names(&way.added), ["payments@2.1.0", "storefront@1.1.0"]);
    assert_eq!(way.answer.cost, Some(3));
    assert!(way.answer.is_smallest);
    let payments = way.answer.moves.iter().find(|it| it.service == "payments").unwrap();
    assert_eq!(
        payments.because,
        ["`orders@1.6.0` requires payments ^2.1, and 2.0.0 would be there; payments fits from 2.1.0 on"]
    );
    let plan = stage.plan("staging", &way.intent, None).unwrap();
    assert_eq!(plan.waves.len(), way.answer.steps.len());
}

#[test]
fn what_is_not_there_yet_comes_in_its_newest_version() {
    let stage = shop();
    let way = way(&stage, &deploy(&["orders@1.7.0"]), &[]);
    assert!(moves(&way.answer).contains(&"ledger none -> 1.1.0".to_owned()), "{:?}", way.answer.moves);
}

#[test]
fn what_is_asked_for_alone_stays_as_it_was_asked() {
    let stage = shop();
    let asked = deploy(&["storefront@1.1.0"]);
    let way = way(&stage, &asked, &[]);
    assert_eq!((way.intent, way.added.len()), (asked, 0));
}

#[test]
fn wishes_of_several_kinds_hold_together() {
    let stage = shop();
    let not = wish("payments", Wanted::Not("2.1.0".parse().unwrap()));
    let way = way(&stage, &deploy(&["orders@1.6.0"]), std::slice::from_ref(&not));
    assert_eq!(names(&way.added), ["storefront@1.1.0"], "payments was named");
    assert!(moves(&way.answer).contains(&"payments 2.0.0 -> 2.2.0".to_owned()));
    let keep = wish("storefront", Wanted::Keep);
    let told = no_way(&stage, &deploy(&["orders@1.6.0"]), &[keep]);
    assert!(!told.solvable && told.is_minimal);
    assert!(told.explanation.contains("storefront is wanted to stay."), "{}", told.explanation);
    assert!(
        told.explanation.contains("It would work to give up that storefront is wanted to stay (cost 3)"),
        "{}",
        told.explanation
    );
}

#[test]
fn a_hold_that_is_in_the_way_is_named_with_what_ends_it() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["storefront@1.1.0"]), None);
    stage.run("staging", &deploy(&["payments@2.1.0"]), None);
    let back = Intent::RollBackService {
        service: service("payments"),
        to: "2.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    stage.run("staging", &back, None);
    // 2.1.0 is held, so 2.2.0 comes.
    let way = way(&stage, &deploy(&["orders@1.6.0"]), &[]);
    assert_eq!(names(&way.added), ["payments@2.2.0"]);
    let most = wish("payments", Wanted::AtMost("2.1.0".parse().unwrap()));
    let told = no_way(&stage, &deploy(&["orders@1.6.0"]), &[most]);
    let command = "lockstep hold release payments@2.1.0 --env staging";
    assert!(told.remedies.iter().any(|it| it.command.as_deref() == Some(command)), "{:?}", told.remedies);
}

#[test]
fn nothing_offers_what_is_needed_and_a_bridge_is_named() {
    let told = no_way(&shop(), &deploy(&["orders@1.8.0"]), &[]);
    let words = "orders requires payments ^3.0 in 1.8.0 alone, and no version of payments fits";
    assert!(told.explanation.contains(words), "{}", told.explanation);
    assert!(
        told.explanation
            .contains("Or by a bridge: a version of payments that may run and is ^3.0 for orders.")
    );
}

#[test]
fn an_artifact_that_is_gone_comes_not() {
    let mut stage = Stage::new();
    stage.release("gone@1.0.0", &[]);
    stage.release("web@1.0.0", &[("gone", "^1.0")]);
    let told = no_way(&stage, &deploy(&["web@1.0.0"]), &[]);
    assert!(
        told.explanation.contains("the artifact of `gone@1.0.0` is not in the blob store"),
        "{}",
        told.explanation
    );
}

#[test]
fn a_rollback_takes_back_what_must_go_back_with_it() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["orders@1.6.0", "payments@2.1.0", "storefront@1.1.0"]), None);
    let back = Intent::RollBackService {
        service: service("payments"),
        to: "2.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    let way = way(&stage, &back, &[]);
    assert_eq!(names(&way.added), ["orders@1.5.0"]);
    let Intent::RollBackServices { versions, .. } = &way.intent else { panic!("{:?}", way.intent) };
    assert_eq!(names(versions), ["payments@2.0.0", "orders@1.5.0"]);
    stage.run("staging", &way.intent, None);
    assert_eq!(stage.runs("staging"), "orders@1.5.0 payments@2.0.0 storefront@1.1.0");
}

/// web 1.0 needs a shop before 1.3. The shop 1.2 came from an older line and was made for the first migration alone; 1.1 knows two of four.
fn shop_with_a_database() -> Stage {
    let mut stage = Stage::new();
    let names = ["1.sql", "2.sql", "3.sql", "4.sql"];
    let digest = Digest::from_bytes([3; 32]);
    for (version, count) in [("shop@1.1.0", 2), ("shop@1.2.0", 1), ("shop@1.3.0", 4)] {
        let file = |name: &&str| json!({ "name": name, "digest": digest, "class": "expand" });
        let files: Vec<_> = names[..count].iter().map(file).collect();
        let database = json!({
            "name": "main", "migrations": "db", "variable": "DATABASE_URL", "timeout_ms": 60_000, "lock_ms": 1_000, "files": files,
        });
        stage.release_with(version, &[], |version| {
            version.databases.push(serde_json::from_value(database).unwrap());
        });
    }
    stage.release("web@1.0.0", &[("shop", "<1.3.0")]);
    stage.release("web@1.1.0", &[("shop", "*")]);
    let mut staging = stage.env("staging").clone();
    for (number, versions) in (1..).zip([["1.1.0", "1.0.0"], ["1.2.0", "1.0.0"], ["1.3.0", "1.1.0"]]) {
        let entry =
            |version: &str| BaselineEntry { version: version.parse().unwrap(), config: ConfigRevision(0) };
        let entries = ["shop", "web"].into_iter().zip(versions);
        let entries = entries.map(|(name, version)| (service(name), entry(version))).collect();
        staging.baselines.push(OperationId(number), stage.now, entries);
    }
    let recorded: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    let known = json!({ "seen": stage.now, "by": "shop@1.3.0", "told": { "has": recorded } });
    let known = serde_json::from_value(known).unwrap();
    staging.databases.insert("main".parse().unwrap(), known);
    stage.world.environments.insert(staging.name.clone(), Arc::new(staging));
    stage
}

#[test]
fn of_sets_that_are_equally_critical_the_one_comes_that_is_fewer_steps_below_its_databases() {
    let mut stage = shop_with_a_database();
    let asked = back(&["web@1.0.0"]);
    assert_eq!(names(&way(&stage, &asked, &[]).added), ["shop@1.1.0"], "two steps, and two versions");
    let mut staging = stage.env("staging").clone();
    staging.databases.clear();
    stage.world.environments.insert(staging.name.clone(), Arc::new(staging));
    assert_eq!(
        names(&way(&stage, &asked, &[]).added),
        ["shop@1.2.0"],
        "where nothing is known of it, the next one"
    );
}

#[test]
fn routes_that_two_want_are_learned_from_the_refusal() {
    let mut stage = Stage::new();
    let route = |version: &mut lockstep_domain::service::Version| {
        version.routes = vec![RouteRule { path: "/pay".into(), ..RouteRule::default() }];
    };
    stage.release_with("shop@1.0.0", &[], route);
    stage.release_with("payments@1.0.0", &[], |_| {});
    stage.release_with("payments@2.0.0", &[], route);
    stage.release("payments@2.1.0", &[]);
    stage.release("orders@1.0.0", &[("payments", "^1.0")]);
    stage.release("orders@1.1.0", &[("payments", "^2.0")]);
    stage.run("staging", &deploy(&["shop@1.0.0", "payments@1.0.0", "orders@1.0.0"]), None);
    let way = way(&stage, &deploy(&["orders@1.1.0"]), &[]);
    assert_eq!(names(&way.added), ["payments@2.1.0"]);
}

fn back(versions: &[&str]) -> Intent {
    let versions = versions.iter().map(|text| text.parse().unwrap()).collect();
    Intent::RollBackServices { versions, config: ConfigChoice::AsItRan }
}

fn refused(found: Found) -> Vec<Refusal> {
    match found {
        Found::Refused(refusals) => refusals,
        other => panic!("{other:?}"),
    }
}

/// web 1.1.0 was gone back from, so it is held; 1.2.0 runs and needs the newer api.
fn gone_back(kept: &[&str]) -> Stage {
    let mut stage = Stage::new();
    stage.release("api@1.0.0", &[]);
    stage.release("api@1.1.0", &[]);
    stage.release("web@1.0.0", &[("api", kept[0])]);
    stage.release("web@1.1.0", &[("api", "^1.0")]);
    stage.release("web@1.2.0", &[("api", "^1.1")]);
    stage.run("staging", &deploy(&["api@1.0.0", "web@1.1.0"]), None);
    stage.run("staging", &deploy(&["api@1.1.0", "web@1.2.0"]), None);
    stage.run("staging", &back(&["web@1.1.0"]), None);
    stage.record(Event::HoldReleased {
        environment: environment("staging"),
        version: "web@1.2.0".parse().unwrap(),
    });
    stage.run("staging", &deploy(&["web@1.0.0"]), None);
    stage.run("staging", &deploy(&["web@1.2.0"]), None);
    stage.record(Event::HoldPlaced {
        environment: environment("staging"),
        version: "web@1.1.0".parse().unwrap(),
        hold: Hold { reason: "it loses orders".into(), since: stage.now, by: "ann".parse().unwrap() },
    });
    stage
}

#[test]
fn what_is_held_comes_not_back_by_itself_while_something_else_works() {
    let stage = gone_back(&["^1.0"]);
    let way = way(&stage, &back(&["api@1.0.0"]), &[]);
    assert_eq!(names(&way.added), ["web@1.0.0"]);
    assert!(way.despite.is_empty());
    // Who names it may have it.
    let named = found(&stage, &back(&["api@1.0.0", "web@1.1.0"]), &[]);
    assert!(matches!(named, Found::Way(way) if way.added.is_empty()));
}

#[test]
fn what_is_held_comes_back_where_nothing_else_works_and_that_is_said() {
    let stage = gone_back(&["^1.1"]);
    let way = way(&stage, &back(&["api@1.0.0"]), &[]);
    assert_eq!(names(&way.added), ["web@1.1.0"]);
    let why = "`web@1.1.0` is held in `staging`: it loses orders";
    assert_eq!(way.despite.values().collect::<Vec<_>>(), [why]);
    let web = way.answer.moves.iter().find(|it| it.service == "web").unwrap();
    assert!(web.because.contains(&format!("{why}, and nothing else works")), "{:?}", web.because);
    // No other command brings it without saying so.
    let refusals = stage.plan("staging", &back(&["api@1.0.0"]), None).unwrap_err();
    assert!(refusals.iter().all(|it| matches!(it, Refusal::Unmet(_))), "{refusals:?}");
}

#[test]
fn what_is_retired_comes_not_back_by_itself_while_something_else_works() {
    let mut stage = Stage::new();
    for version in ["api@1.0.0", "api@1.1.0"] {
        stage.release(version, &[]);
    }
    stage.release("web@1.0.0", &[("api", "^1.0")]);
    stage.release("web@1.1.0", &[("api", "^1.0")]);
    stage.release("web@1.2.0", &[("api", "^1.1")]);
    stage.run("staging", &deploy(&["api@1.0.0", "web@1.0.0"]), None);
    stage.run("staging", &deploy(&["web@1.1.0"]), None);
    stage.run("staging", &deploy(&["api@1.1.0", "web@1.2.0"]), None);
    let retire = |stage: &mut Stage, version: &str| {
        let version: VersionRef = version.parse().unwrap();
        let from = stage.world.version(&version).unwrap().stage.clone();
        let (to, reason) = ("retired".parse().unwrap(), "it is over".into());
        stage.record(Event::StageChanged { version, from, to, reason });
    };
    retire(&mut stage, "web@1.1.0");
    assert_eq!(names(&way(&stage, &back(&["api@1.0.0"]), &[]).added), ["web@1.0.0"]);
    retire(&mut stage, "web@1.0.0");
    let way = way(&stage, &back(&["api@1.0.0"]), &[]);
    assert_eq!(way.despite.len(), 1, "{:?}", way.despite);
}

/// A canary of the middle of a chain of three is under way.
fn busy() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "1.1.0"] {
        let needs = format!("^{}", version.trim_end_matches(".0"));
        stage.release(&format!("api@{version}"), &[]);
        stage.release(&format!("web@{version}"), &[("api", &needs)]);
    }
    stage.release("web@1.2.0", &[("api", "^1.1")]);
    stage.run("staging", &deploy(&["api@1.0.0", "web@1.0.0"]), None);
    stage.run("staging", &deploy(&["api@1.1.0", "web@1.1.0"]), None);
    stage.begin("staging", &deploy(&["web@1.2.0"]), Some(&Pace::canary(&[5, 100], 60_000)));
    stage
}

#[test]
fn an_emergency_takes_back_what_is_in_the_way_of_all_that_goes_back() {
    let stage = busy();
    let asked = back(&["api@1.0.0"]);
    let Found::Way(way) = found_with(&stage, &asked, &[], (InTheWay::IsTakenBack, None)) else {
        panic!("no way")
    };
    assert_eq!(names(&way.added), ["web@1.0.0"]);
    assert!(
        matches!(stage.interrupt("staging", &way.intent), Ok(Decision::Begins { ended, .. }) if !ended.is_empty())
    );
}

#[test]
fn an_operation_in_the_way_is_named_and_no_contradiction() {
    let refusals = refused(found(&busy(), &back(&["api@1.0.0"]), &[]));
    assert!(matches!(&refusals[..], [Refusal::Busy { .. }]), "{refusals:?}");
}

#[test]
fn an_operation_that_goes_there_already_is_a_way() {
    let mut stage = shop();
    let slow = Pace::canary(&[5, 100], 60_000);
    let all = deploy(&["orders@1.6.0", "payments@2.1.0", "storefront@1.1.0"]);
    stage.begin("staging", &all, Some(&slow));
    let Found::Way(way) =
        found_with(&stage, &deploy(&["orders@1.6.0"]), &[], (InTheWay::Refuses, Some(&slow)))
    else {
        panic!("no way")
    };
    let there = stage.decide("staging", &Asked::of(&way.intent, Some(&slow)));
    assert!(matches!(there, Ok(Decision::GoesThere(_))), "{there:?}");
}

#[test]
fn one_configuration_for_several_is_refused_and_no_contradiction() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["orders@1.6.0", "payments@2.1.0", "storefront@1.1.0"]), None);
    let asked = Intent::RollBackService {
        service: service("payments"),
        to: "2.0.0".parse().unwrap(),
        config: ConfigChoice::Revision(ConfigRevision(0)),
    };
    let refusals = refused(found(&stage, &asked, &[]));
    assert!(matches!(&refusals[..], [Refusal::OneRevision]), "{refusals:?}");
}

#[test]
fn whoever_has_the_route_moves_out_of_the_way_although_nothing_ties_it() {
    let mut stage = Stage::new();
    let route = |version: &mut lockstep_domain::service::Version| {
        version.routes = vec![RouteRule { path: "/pay".into(), ..RouteRule::default() }];
    };
    stage.release_with("shop@1.0.0", &[], route);
    stage.release("shop@1.1.0", &[]);
    stage.release("payments@1.0.0", &[]);
    stage.release_with("payments@2.0.0", &[], route);
    stage.release("orders@1.0.0", &[("payments", "^1.0")]);
    stage.release("orders@1.1.0", &[("payments", "^2.0")]);
    stage.run("staging", &deploy(&["shop@1.0.0", "payments@1.0.0", "orders@1.0.0"]), None);
    let moved = way(&stage, &deploy(&["orders@1.1.0"]), &[]);
    assert_eq!(names(&moved.added), ["shop@1.1.0", "payments@2.0.0"]);
    assert!(stage.plan("staging", &moved.intent, None).is_ok());
    let keep = wish("shop", Wanted::Keep);
    let told = no_way(&stage, &deploy(&["orders@1.1.0"]), &[keep]);
    assert!(told.explanation.contains("both want the route"), "{}", told.explanation);
}

#[test]
fn whoever_has_the_port_moves_out_of_the_way_although_nothing_ties_it() {
    let mut stage = Stage::new();
    let port = |version: &mut lockstep_domain::service::Version| {
        version.run.port = lockstep_domain::run::Port::Fixed(18_977);
    };
    stage.release_with("old@1.0.0", &[], port);
    stage.release("old@1.1.0", &[]);
    stage.release("new@1.0.0", &[]);
    stage.release_with("new@1.1.0", &[], port);
    stage.release("user@1.0.0", &[("new", "^1.1")]);
    stage.run("staging", &deploy(&["old@1.0.0", "new@1.0.0"]), None);
    let moved = way(&stage, &deploy(&["user@1.0.0"]), &[]);
    assert_eq!(names(&moved.added), ["old@1.1.0", "new@1.1.0"]);
}

/// What is told to help is done, and then it works: nothing is told that was not planned.
#[test]
fn what_is_told_to_help_is_planned_before() {
    let mut stage = Stage::new();
    let route = |version: &mut lockstep_domain::service::Version| {
        version.routes = vec![RouteRule { path: "/pay".into(), ..RouteRule::default() }];
    };
    stage.release_with("shop@1.0.0", &[], route);
    stage.release("payments@1.0.0", &[]);
    stage.release_with("payments@2.0.0", &[], route);
    stage.release("orders@1.1.0", &[("payments", "^2.0")]);
    stage.run("staging", &deploy(&["shop@1.0.0", "payments@1.0.0"]), None);
    let not = wish("payments", Wanted::Not("2.0.0".parse().unwrap()));
    let told = no_way(&stage, &deploy(&["orders@1.1.0"]), &[not]);
    assert!(!told.explanation.contains("give up that payments"), "{}", told.explanation);
    assert!(told.explanation.contains("give up that orders is wanted at 1.1.0"), "{}", told.explanation);
}

#[test]
fn what_a_stage_lacks_is_told_of_the_version_that_is_wanted() {
    let mut stage = Stage::new();
    stage.release("solo@1.0.0", &[]);
    stage.release("solo@1.1.0", &[]);
    let (place, asked) = (environment("production"), deploy(&["solo@1.0.0"]));
    let search = search(&stage, &place, &asked);
    let Some(Found::NoWay(told)) = smallest(&search) else { panic!("a way") };
    let whats: Vec<_> = told.remedies.iter().map(|it| it.what.as_str()).collect();
    assert!(whats.iter().any(|it| it.contains("bring solo@1.0.0 to stage")), "{whats:?}");
    assert!(!told.explanation.contains("bring solo@1.1.0"), "{}", told.explanation);
}

#[test]
fn holds_that_are_in_the_way_together_are_told_together() {
    let mut stage = shop();
    let to = deploy(&["orders@1.6.0", "payments@2.1.0", "storefront@1.1.0"]);
    stage.run("staging", &to, None);
    stage.run("staging", &Intent::Undo, None);
    let most = wish("payments", Wanted::AtMost("2.1.0".parse().unwrap()));
    let told = no_way(&stage, &deploy(&["orders@1.6.0"]), &[most]);
    let command = told.remedies.iter().filter_map(|it| it.command.clone()).collect::<Vec<_>>().join("\n");
    for held in ["orders@1.6.0", "payments@2.1.0", "storefront@1.1.0"] {
        assert!(command.contains(&format!("hold release {held} --env staging")), "{held}: {command}");
    }
}

#[test]
fn an_export_says_at_least_as_the_environment_does() {
    let mut stage = Stage::new();
    stage.release("api@1.0.0", &[]);
    stage.release("api@1.1.0", &[]);
    stage.release("web@1.0.0", &[]);
    stage.release("web@1.1.0", &[("api", "^1.0")]);
    stage.run("staging", &deploy(&["web@1.0.0"]), None);
    let least = wish("api", Wanted::AtLeast("1.0.0".parse().unwrap()));
    let here = way(&stage, &deploy(&[]), &[least]);
    let mut file = exported(&stage);
    file.intent.push(Wish { service: "api".into(), at_least: Some("1.0.0".into()), ..Wish::default() });
    assert_eq!(moves(&answer(&file).unwrap()), moves(&here.answer));
    assert_eq!(moves(&here.answer), ["api none -> 1.1.0"]);
}

#[test]
fn a_hold_in_an_export_is_told_as_a_sentence() {
    let mut stage = shop();
    stage.run("staging", &deploy(&["storefront@1.1.0"]), None);
    stage.run("staging", &Intent::Undo, None);
    let mut file = exported(&stage);
    file.intent.push(Wish { service: "orders".into(), to: Some("1.6.0".into()), ..Wish::default() });
    let told = answer(&file).unwrap();
    let words = "storefront cannot come in 1.1.0: `storefront@1.1.0` is held in `staging`";
    assert!(told.explanation.contains(words), "{}", told.explanation);
    assert!(!told.explanation.contains("uses ``"), "{}", told.explanation);
    assert!(!told.explanation.contains("that may run and offers ``storefront"), "{}", told.explanation);
}

#[test]
fn a_plan_whose_order_is_wrong_is_found_out() {
    let mut stage = shop();
    let to = deploy(&["orders@1.6.0", "payments@2.1.0", "storefront@1.1.0"]);
    let plan = stage.plan("staging", &to, None).unwrap();
    assert_eq!(fault(stage.relation(), stage.env("staging"), &plan), None);
    let mut turned = plan.clone();
    turned.waves.reverse();
    let told = fault(stage.relation(), stage.env("staging"), &turned).unwrap();
    assert!(told.starts_with("after wave 1: "), "{told}");
    let mut short = plan.clone();
    short.waves.pop();
    assert!(fault(stage.relation(), stage.env("staging"), &short).is_some());
    let mut twice = plan.clone();
    twice.waves.push(plan.waves[0].clone());
    assert!(fault(stage.relation(), stage.env("staging"), &twice).unwrap().contains("from where it is not"));
    stage.run("staging", &to, None);
    assert!(fault(stage.relation(), stage.env("staging"), &plan).is_some(), "it was made for another start");
}

const SERVICES: usize = 4;
const VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "2.0.0"];
const RANGES: [&str; 5] = ["=1.0.0", "^1.1", "=2.0.0", ">=1.1", "*"];

/// A fleet made by chance: what each version requires, what runs, and what each service weighs.
#[derive(Debug, Clone)]
struct Chance {
    requires: BTreeMap<(usize, usize), Vec<(usize, usize)>>,
    runs: Vec<Option<usize>>,
    weights: Vec<u32>,
}

fn chance() -> impl Strategy<Value = Chance> {
    let needs = prop::collection::vec((0..SERVICES, 0..VERSIONS.len(), 0..SERVICES, 0..RANGES.len()), 0..9);
    let runs = prop::collection::vec(prop::option::weighted(0.8, 0..VERSIONS.len()), SERVICES);
    (needs, runs, prop::collection::vec(1_u32..4, SERVICES)).prop_map(|(needs, runs, weights)| {
        let mut requires: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (consumer, version, provider, range) in needs.into_iter().filter(|it| it.0 != it.2) {
            requires.entry((consumer, version)).or_default().push((provider, range));
        }
        Chance { requires, runs, weights }
    })
}

/// The fleet, if what is to run can: what is broken at the start is not what this is about.
fn stage_of(chance: &Chance) -> Option<Stage> {
    let mut stage = Stage::new();
    for (number, version) in VERSIONS.iter().enumerate() {
        for index in 0..SERVICES {
            let needs = chance.requires.get(&(index, number)).cloned().unwrap_or_default();
            let needs: Vec<_> = needs.iter().map(|(of, range)| (format!("s{of}"), RANGES[*range])).collect();
            let needs: Vec<_> = needs.iter().map(|(name, range)| (name.as_str(), *range)).collect();
            let weight = Criticality::new(chance.weights[index]).unwrap();
            stage.release_with(&format!("s{index}@{version}"), &needs, |it| it.criticality = weight);
        }
    }
    let runs = chance.runs.iter().enumerate();
    let runs: Vec<_> =
        runs.filter_map(|(index, at)| Some(format!("s{index}@{}", VERSIONS[(*at)?]))).collect();
    if !runs.is_empty() {
        let intent = deploy(&runs.iter().map(String::as_str).collect::<Vec<_>>());
        stage.plan("staging", &intent, None).ok()?;
        stage.run("staging", &intent, None);
    }
    Some(stage)
}

/// What every set of moves costs that can be planned and has a service at a version.
fn brute_force(stage: &Stage, chance: &Chance, asked: (usize, usize)) -> Option<u32> {
    let mut best = None;
    for code in 0..4_usize.pow(u32::try_from(SERVICES).unwrap()) {
        let to: Vec<Option<usize>> = (0..SERVICES)
            .map(|index| (code / 4_usize.pow(u32::try_from(index).unwrap()) % 4).checked_sub(1))
            .collect();
        let to: Vec<_> =
            to.into_iter().zip(&chance.runs).map(|(to, runs)| to.filter(|to| Some(*to) != *runs)).collect();
        let ends = to[asked.0].or(chance.runs[asked.0]);
        if ends != Some(asked.1) {
            continue;
        }
        let moved = to.iter().enumerate().filter_map(|(index, at)| Some((index, (*at)?)));
        let cost: u32 = moved.clone().map(|(index, _)| chance.weights[index]).sum();
        let versions: Vec<_> = moved.map(|(index, at)| format!("s{index}@{}", VERSIONS[at])).collect();
        let intent = deploy(&versions.iter().map(String::as_str).collect::<Vec<_>>());
        if best.is_none_or(|best| cost < best)
            && (versions.is_empty() || stage.plan("staging", &intent, None).is_ok())
        {
            best = Some(cost);
        }
    }
    best
}

/// Whether any set that goes back has a service at a version, can be planned, and brings none of what is kept away.
fn any_way_back(stage: &Stage, asked: (usize, usize), kept: &[String]) -> bool {
    let count = 4_usize.pow(u32::try_from(SERVICES).unwrap());
    let sets = (0..count).map(|code| {
        let at = |index: usize| (code / 4_usize.pow(u32::try_from(index).unwrap()) % 4).checked_sub(1);
        let moved = (0..SERVICES).filter_map(|index| Some((index, at(index)?)));
        moved.collect::<Vec<_>>()
    });
    let name = |(index, at): &(usize, usize)| format!("s{index}@{}", VERSIONS[*at]);
    let brings_none =
        |set: &Vec<(usize, usize)>| set.iter().all(|it| *it == asked || !kept.contains(&name(it)));
    let mut sets = sets.filter(|set| set.contains(&asked)).filter(brings_none);
    sets.any(|set| {
        let named: Vec<_> = set.iter().map(name).collect();
        let named: Vec<_> = named.iter().map(String::as_str).collect();
        stage.plan("staging", &back(&named), None).is_ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_held_comes_back_by_itself_only_where_nothing_else_works(
        chance in chance(), steps in prop::collection::vec((0..SERVICES, 0..VERSIONS.len()), 1..5),
        kept in prop::collection::vec((0..SERVICES, 0..VERSIONS.len()), 0..6), asked in (0..SERVICES, 0..VERSIONS.len()),
    ) {
        let Some(mut stage) = stage_of(&chance) else { return Ok(()) };
        for (index, version) in steps {
            if let Found::Way(way) = found(&stage, &deploy(&[&format!("s{index}@{}", VERSIONS[version])]), &[])
                && !way.answer.moves.is_empty()
            {
                stage.run("staging", &way.intent, None);
            }
        }
        let name = |(index, at): (usize, usize)| format!("s{index}@{}", VERSIONS[at]);
        let kept: Vec<String> = kept.into_iter().map(name).collect();
        for version in &kept {
            let hold = Hold { reason: "no".into(), since: stage.now, by: "ann".parse().unwrap() };
            let version = version.parse().unwrap();
            stage.record(Event::HoldPlaced { environment: environment("staging"), version, hold });
        }
        let Some(found) = smallest(&search(&stage, &environment("staging"), &back(&[&name(asked)]))) else {
            return Ok(());
        };
        match found {
            Found::Way(way) => {
                let brings: BTreeSet<String> = names(&way.added).into_iter().filter(|it| kept.contains(it)).collect();
                let told: BTreeSet<String> = way.despite.keys().map(ToString::to_string).collect();
                prop_assert_eq!(&brings, &told);
                let is_there = way.answer.moves.is_empty();
                prop_assert!(brings.is_empty() || (!is_there && !any_way_back(&stage, asked, &kept)), "{:?}", way);
            }
            Found::NoWay(_) => prop_assert!(!any_way_back(&stage, asked, &[])),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn the_smallest_set_is_that_of_brute_force_over_what_can_be_planned(
        chance in chance(), index in 0..SERVICES, version in 0..VERSIONS.len(),
    ) {
        let Some(stage) = stage_of(&chance) else { return Ok(()) };
        let intent = deploy(&[&format!("s{index}@{}", VERSIONS[version])]);
        let best = brute_force(&stage, &chance, (index, version));
        match found(&stage, &intent, &[]) {
            Found::NoWay(_) => prop_assert_eq!(best, None),
            other @ (Found::Undecided | Found::Refused(_)) => prop_assert!(false, "{other:?}"),
            Found::Way(way) => {
                prop_assert_eq!(way.answer.cost, best.map(u64::from));
                if best != Some(0) {
                    let plan = stage.plan("staging", &way.intent, None);
                    let plan = plan.map_err(|why| TestCaseError::fail(format!("{why:?}")))?;
                    prop_assert_eq!(fault(stage.relation(), stage.env("staging"), &plan), None);
                }
            }
        }
    }

    #[test]
    fn an_export_is_answered_as_the_environment_answers(
        chance in chance(), index in 0..SERVICES, version in 0..VERSIONS.len(),
    ) {
        let Some(stage) = stage_of(&chance) else { return Ok(()) };
        if chance.runs[index].is_none() {
            return Ok(());
        }
        let intent = deploy(&[&format!("s{index}@{}", VERSIONS[version])]);
        let text = serde_json::to_string(&exported(&stage)).unwrap();
        let mut file: lockstep_what_if::Fleet = serde_json::from_str(&text).unwrap();
        let to = Some(VERSIONS[version].to_owned());
        file.intent.push(Wish { service: format!("s{index}"), to, ..Wish::default() });
        let told = answer(&file).unwrap();
        match found(&stage, &intent, &[]) {
            Found::NoWay(_) => prop_assert!(!told.solvable),
            other @ (Found::Undecided | Found::Refused(_)) => prop_assert!(false, "{other:?}"),
            Found::Way(way) => {
                prop_assert_eq!(told.cost, way.answer.cost);
                let sets = |answer: &Answer| -> BTreeSet<Vec<String>> {
                    let all = answer.alternatives.iter().map(|it| &it.moves).chain([&answer.moves]);
                    all.map(|moves| {
                        let mut moves: Vec<_> = moves.iter().map(|it| it.service.clone()).collect();
                        moves.sort();
                        moves
                    }).collect()
                };
                prop_assert_eq!(sets(&told), sets(&way.answer));
            }
        }
    }

    #[test]
    fn going_there_and_going_back_there_end_in_the_same_baseline(chance in chance(), back in 0..VERSIONS.len()) {
        let Some(mut stage) = stage_of(&chance) else { return Ok(()) };
        let Some(index) = chance.runs.iter().position(Option::is_some) else { return Ok(()) };
        let forward = deploy(&[&format!("s{index}@{}", VERSIONS[back])]);
        let Found::Way(way) = found(&stage, &forward, &[]) else { return Ok(()) };
        if way.answer.moves.is_empty() {
            return Ok(());
        }
        let before = stage.env("staging").entries().clone();
        stage.run("staging", &way.intent, None);
        let versions: Vec<VersionRef> = way.answer.moves.iter()
            .filter(|it| it.from != "none")
            .map(|it| format!("{}@{}", it.service, it.from).parse().unwrap())
            .collect();
        if versions.len() < way.answer.moves.len() {
            return Ok(());
        }
        let there = stage.plan("staging", &Intent::Deploy { versions: versions.clone() }, None);
        let config = ConfigChoice::AsItRan;
        let went = stage.plan("staging", &Intent::RollBackServices { versions, config }, None);
        if let Ok(went) = went {
            prop_assert_eq!(&went.target, &before);
            if let Ok(there) = there {
                prop_assert_eq!(there.target, went.target);
            }
        }
    }
}
