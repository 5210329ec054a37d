//! Lanes: what they keep running, what a request gets in them and outside, what they are checked against, and what ends them.

use std::collections::BTreeMap;

use lockstep_domain::database::MigrationClass;
use lockstep_domain::environment::{EnvironmentSettings, Hold};
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::lane::{FORMAT_WITH_LANES, LaneEnd, LaneWhen, LanesAccept};
use lockstep_domain::plan::{
    Found, LaneDecision, Refusal, WantedLane, add_lane, export, lane_event, smallest,
};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{RouteTable, SplitRole, SplitTakes};
use lockstep_domain::{Event, InstanceState, Intent, Strategy, Timestamp};
use proptest::prelude::*;

use crate::databases::brings;
use crate::simulation::{Stage, deploy, environment, service};

const PLACE: &str = "staging";
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// web calls orders, orders calls stock; each has a version that is deployed and one that is not.
fn stage() -> Stage {
    let mut stage = Stage::new();
    for name in ["web", "orders", "stock", "mail"] {
        stage.release(&format!("{name}@1.0.0"), &[]);
        stage.release(&format!("{name}@1.1.0"), &[]);
    }
    stage.run(PLACE, &deploy(&["web@1.0.0", "orders@1.0.0", "stock@1.0.0", "mail@1.0.0"]), None);
    stage
}

fn wanted(stage: &Stage, name: &str, versions: &[&str], when: &str) -> WantedLane {
    WantedLane {
        name: name.parse().unwrap(),
        versions: versions.iter().map(|it| it.parse().unwrap()).collect(),
        when: vec![when.parse().unwrap()],
        owner: "ann".into(),
        until: LaneEnd::After(stage.now.plus_ms(DAY_MS)),
        replicas: 1,
        reason: "to try it".into(),
    }
}

fn decide(stage: &Stage, wanted: &WantedLane) -> Result<LaneDecision, Vec<Refusal>> {
    add_lane(stage.relation(), &environment(PLACE), wanted, stage.now)
}

fn begin(stage: &mut Stage, wanted: &WantedLane) {
    let decision = decide(stage, wanted).unwrap_or_else(|refusals| panic!("{}", why(&refusals)));
    stage.record(lane_event(&environment(PLACE), &decision.lane));
}

fn lane(stage: &mut Stage, name: &str, versions: &[&str], when: &str) {
    let wanted = wanted(stage, name, versions, when);
    begin(stage, &wanted);
}

fn refused(stage: &Stage, versions: &[&str]) -> Vec<Refusal> {
    decide(stage, &wanted(stage, "login", versions, "header:x-lane=login")).unwrap_err()
}

fn steps(stage: &mut Stage, count: u32) {
    (0..count).for_each(|_| stage.step(PLACE));
}

fn why(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn hints(refusals: &[Refusal]) -> String {
    refusals.iter().filter_map(Refusal::hint).collect::<Vec<_>>().join("; ")
}

/// What a request gets of a service that has the number of a lane, or of none.
fn gets(table: &RouteTable, name: &str, lane: Option<u64>, key: &str) -> String {
    let routes = &table.services[&service(name)];
    match routes.rule_for(|rule| Some(rule.id) == lane, key.as_bytes()) {
        Some(rule) => rule.version.to_string(),
        None => routes.choose(key.as_bytes()).unwrap().version.to_string(),
    }
}

fn lanes(stage: &Stage) -> Vec<String> {
    stage.env(PLACE).version_rules.lanes.lanes.iter().map(|lane| lane.new.name.to_string()).collect()
}

fn ended(stage: &Stage) -> String {
    let ended = stage.env(PLACE).version_rules.lanes.ended.last().unwrap();
    format!("{}: {}", ended.lane.new.name, ended.because)
}

fn running(stage: &Stage) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for instance in stage.instances.iter().filter(|it| it.state.is_healthy()) {
        *all.entry(instance.arm.version_ref().to_string()).or_default() += 1;
    }
    all
}

fn roll_back(name: &str, to: &str) -> Intent {
    let config = ConfigChoice::AsItRan;
    Intent::RollBackService { service: service(name), to: to.parse().unwrap(), config }
}

#[test]
fn a_lane_runs_its_versions_once_serves_them_at_each_hop_and_ends_without_a_trace_in_the_baseline() {
    let mut stage = stage();
    stage.run(PLACE, &Intent::Scale { service: service("orders"), process: None, replicas: 3 }, None);
    let (before, baseline) = (stage.table(PLACE), stage.env(PLACE).baselines.current().number);
    assert!(before.format < FORMAT_WITH_LANES, "a table without lanes is as before");
    lane(&mut stage, "login", &["orders@1.1.0", "web@1.1.0"], "header:X-Lane=login");
    let table = stage.table(PLACE);
    assert_eq!((table.format, table.lanes.len()), (FORMAT_WITH_LANES, 1));
    let id = table.lanes[0].id;
    assert_eq!(gets(&table, "orders", Some(id), "a"), "1.0.0", "nothing serves it yet");
    steps(&mut stage, 5);
    let table = stage.table(PLACE);
    for (name, version) in [("web", "1.1.0"), ("orders", "1.1.0"), ("stock", "1.0.0"), ("mail", "1.0.0")] {
        assert_eq!(gets(&table, name, Some(id), "a"), version, "{name}");
        assert_eq!(gets(&table, name, None, "a"), "1.0.0", "{name}");
        assert_eq!(gets(&table, name, Some(id + 1), "a"), "1.0.0", "a number of nothing: {name}");
    }
    let split = &table.services[&service("orders")].splits[0];
    assert_eq!((split.role, split.weight), (SplitRole::Pinned, 0));
    assert_eq!((running(&stage)["orders@1.1.0"], running(&stage)["orders@1.0.0"]), (1, 3));
    steps(&mut stage, 1_000);
    assert_eq!(running(&stage)["orders@1.1.0"], 1);
    assert_eq!(stage.env(PLACE).baselines.current().number, baseline, "it makes no baseline");
    // One that dies comes back, and meanwhile the table says what the lane would give.
    for instance in stage.instances.iter_mut().filter(|it| it.arm.version_ref().to_string() == "orders@1.1.0")
    {
        instance.state = InstanceState::Unhealthy { reason: "500".into() };
    }
    let table = stage.table(PLACE);
    assert_eq!(gets(&table, "orders", Some(id), "a"), "1.0.0");
    assert_eq!(table.lanes[0].of_service(&service("orders")).unwrap().version.to_string(), "1.1.0");
    let (environment, lane) = (environment(PLACE), "login".parse().unwrap());
    stage.record(Event::LaneEnded { environment, lane, reason: "merged".into() });
    steps(&mut stage, 5);
    assert_eq!(ended(&stage), "login: merged");
    assert!(!running(&stage).keys().any(|version| version.ends_with("1.1.0")), "{:?}", running(&stage));
    let after = stage.table(PLACE);
    assert_eq!(
        (&after.services, &after.routes, after.format),
        (&before.services, &before.routes, before.format)
    );
}

#[test]
fn a_lane_may_run_more_and_what_is_deployed_too_runs_as_often_as_its_service() {
    let mut stage = stage();
    let two = WantedLane { replicas: 2, ..wanted(&stage, "two", &["orders@1.1.0"], "user:ann") };
    begin(&mut stage, &two);
    steps(&mut stage, 5);
    assert_eq!(running(&stage)["orders@1.1.0"], 2);
    stage.run(PLACE, &Intent::Scale { service: service("orders"), process: None, replicas: 4 }, None);
    steps(&mut stage, 3);
    assert_eq!((running(&stage)["orders@1.1.0"], running(&stage)["orders@1.0.0"]), (2, 4));
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), Some(&Strategy::AllAtOnce));
    steps(&mut stage, 5);
    assert_eq!(running(&stage)["orders@1.1.0"], 4, "it is deployed now");
    assert_eq!(lanes(&stage), ["two"], "going forward ends nothing");
}

#[test]
fn a_lane_ends_by_its_time_which_is_lived_or_a_date() {
    let mut stage = stage();
    lane(&mut stage, "lived", &["orders@1.1.0"], "header:x-lane=a");
    let date = LaneEnd::At(stage.now.plus_ms(DAY_MS));
    let dated = WantedLane { until: date, ..wanted(&stage, "dated", &["stock@1.1.0"], "header:x-lane=b") };
    begin(&mut stage, &dated);
    steps(&mut stage, 5);
    // The machine slept, or its clock was set far ahead.
    stage.skip(10 * DAY_MS);
    steps(&mut stage, 5);
    assert_eq!((lanes(&stage), ended(&stage)), (vec!["lived".to_owned()], "dated: its time is over".into()));
    let left = stage.env(PLACE).version_rules.lanes.lanes[0].new.until.at();
    assert!(left > stage.now);
    stage.now = left;
    steps(&mut stage, 5);
    assert!(lanes(&stage).is_empty());
    assert!(!running(&stage).keys().any(|version| version.ends_with("1.1.0")), "{:?}", running(&stage));
    // The name is free again, and the lane another one.
    lane(&mut stage, "lived", &["orders@1.1.0"], "header:x-lane=a");
    assert_eq!(lanes(&stage), ["lived"]);
}

#[test]
fn all_reasons_are_said_at_once() {
    let mut stage = stage();
    stage.release("orders@2.0.0", &[("stock", "^2.0")]);
    stage.release_with("web@2.0.0", &[], |version| version.run.protocol = Protocol::Tcp);
    stage.release("idle@1.0.0", &[]);
    let mut all = wanted(&stage, "login", &["orders@2.0.0", "web@2.0.0", "idle@1.0.0"], "user:ann");
    all.when.extend(["share:10%", "share:20%"].map(|it| it.parse().unwrap()));
    all.until = LaneEnd::At(Timestamp(1));
    all.replicas = 0;
    let said = why(&decide(&stage, &all).unwrap_err());
    for one in [
        "`orders@2.0.0` requires stock ^2.0, and 1.0.0 would be there",
        "web@2.0.0 speaks TCP",
        "idle",
        "one share at most",
        "a lane ends after now",
        "from 1 to 100 instances",
    ] {
        assert!(said.contains(one), "{one}: {said}");
    }
    assert!(matches!(refused(&stage, &["orders@9.0.0"])[..], [Refusal::NoVersion { .. }]));
    assert!(why(&refused(&stage, &[])).contains("from 1 to 20 services"));
    let twice = why(&refused(&stage, &["orders@1.1.0", "orders@1.0.0"]));
    assert!(twice.contains("`orders` is named more than once"), "{twice}");
    let long = WantedLane {
        until: LaneEnd::After(stage.now.plus_ms(91 * DAY_MS)),
        ..wanted(&stage, "login", &["orders@1.1.0"], "user:ann")
    };
    assert!(why(&decide(&stage, &long).unwrap_err()).contains("within 90 days"));
}

#[test]
fn two_lanes_have_different_conditions_and_names_and_leave_something_for_what_is_deployed() {
    let mut stage = stage();
    lane(&mut stage, "login", &["orders@1.1.0"], "header:x-lane=login");
    lane(&mut stage, "other", &["orders@1.1.0", "stock@1.1.0"], "header:x-lane=other");
    let same = decide(&stage, &wanted(&stage, "login", &["stock@1.1.0"], "header:X-Lane=other")).unwrap_err();
    assert!(why(&same).contains("`staging` has lane login (orders@1.1.0) already"), "{}", why(&same));
    assert!(why(&same).contains("lane other takes the same requests: header:x-lane=other"));
    assert!(hints(&same).contains("lockstep lane end other --env staging"));
    lane(&mut stage, "most", &["stock@1.1.0"], "share:60%");
    let share = decide(&stage, &wanted(&stage, "rest", &["mail@1.1.0"], "share:40%")).unwrap_err();
    assert!(why(&share).contains("no room for a share of 40 %"), "{}", why(&share));
    lane(&mut stage, "rest", &["mail@1.1.0"], "share:39%");
    let places: Vec<_> =
        stage.env(PLACE).version_rules.lanes.lanes.iter().flat_map(|it| it.places.clone()).collect();
    assert_eq!((places[0].to, places[1].from), (6_000, 6_000), "nobody is in both");
}

#[test]
fn a_lane_fits_what_is_deployed_as_a_whole_and_says_what_its_versions_meet_alone() {
    let mut stage = stage();
    stage.release("stock@2.0.0", &[]);
    stage.release("orders@2.0.0", &[("stock", "^2.0")]);
    stage.release("web@1.2.0", &[("orders", "^1.0")]);
    stage.run(PLACE, &deploy(&["web@1.2.0"]), None);
    // A caller outside does not work with what the lane gives.
    let outside = refused(&stage, &["orders@2.0.0", "stock@2.0.0"]);
    assert!(why(&outside).contains("`web@1.2.0` requires orders ^1.0, and 2.0.0 would be there"));
    assert_eq!(outside.len(), 1, "{}", why(&outside));
    // What the lane gives does not work with what it calls outside.
    let alone = refused(&stage, &["orders@2.0.0", "web@1.1.0"]);
    assert!(why(&alone).contains("`orders@2.0.0` requires stock ^2.0, and 1.0.0 would be there"));
    // Together they do; one of them alone would not, and that is said.
    let all = wanted(&stage, "login", &["orders@2.0.0", "stock@2.0.0", "web@1.1.0"], "user:ann");
    let decision = decide(&stage, &all).unwrap_or_else(|refusals| panic!("{}", why(&refusals)));
    let said = decision.warnings.join("; ");
    assert!(
        said.contains("`orders@2.0.0` requires stock ^2.0, and 1.0.0 would be there: calls meet"),
        "{said}"
    );
    assert!(said.contains("`web@1.2.0` requires orders ^1.0"), "{said}");
}

#[test]
fn going_forward_respects_a_lane_and_going_back_ends_it_and_says_so() {
    let mut stage = stage();
    stage.release("stock@2.0.0", &[]);
    stage.release("orders@1.5.0", &[("stock", "^2.0")]);
    stage.run(PLACE, &deploy(&["stock@2.0.0"]), None);
    lane(&mut stage, "login", &["orders@1.5.0", "web@1.1.0"], "header:x-lane=login");
    steps(&mut stage, 5);
    stage.release("stock@3.0.0", &[]);
    let forward = stage.plan(PLACE, &deploy(&["stock@3.0.0"]), None).unwrap_err();
    assert!(why(&forward).contains("`orders@1.5.0` requires stock ^2.0, and 3.0.0 would be there"));
    assert_eq!(hints(&forward), "lockstep lane end login --env staging");
    // A deployment that touches a service of the lane and fits leaves it alone.
    let plan = stage.plan(PLACE, &deploy(&["web@1.1.0"]), None).unwrap();
    assert!(plan.rules_ended.is_empty());
    // Back to a version that the lane does not work with: never blocked, and the lane ends as a whole.
    let back = roll_back("stock", "1.0.0");
    let plan = stage.plan(PLACE, &back, None).unwrap_or_else(|refusals| panic!("{}", why(&refusals)));
    assert_eq!(plan.rules_ended, [1, 2]);
    let said = "lane login (orders@1.5.0, web@1.1.0) ends with it";
    assert_eq!(plan.warnings.iter().filter(|it| *it == said).count(), 1, "{:?}", plan.warnings);
    stage.run(PLACE, &back, None);
    steps(&mut stage, 5);
    assert!(lanes(&stage).is_empty());
    assert_eq!(
        running(&stage).keys().cloned().collect::<Vec<_>>(),
        ["mail@1.0.0", "orders@1.0.0", "stock@1.0.0", "web@1.0.0"]
    );
    assert!(ended(&stage).contains("roll back stock to 1.0.0"), "{}", ended(&stage));
}

#[test]
fn leaving_a_version_of_a_lane_holding_it_and_removing_its_service_end_it_as_a_whole() {
    let mut stage = stage();
    let versions = ["orders@1.1.0", "web@1.1.0"];
    lane(&mut stage, "login", &versions, "header:x-lane=login");
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    assert_eq!(lanes(&stage), ["login"]);
    stage.run(PLACE, &roll_back("orders", "1.0.0"), None);
    assert!(lanes(&stage).is_empty(), "who goes back from a version wants everybody off it");
    let held = refused(&stage, &versions);
    assert!(why(&held).contains("`orders@1.1.0` is held"), "{}", why(&held));
    lane(&mut stage, "again", &["stock@1.1.0", "web@1.1.0"], "header:x-lane=login");
    let hold = Hold { reason: "bad".into(), since: stage.now, by: "ann".parse().unwrap() };
    let version = "web@1.1.0".parse().unwrap();
    stage.record(Event::HoldPlaced { environment: environment(PLACE), version, hold });
    assert_eq!((lanes(&stage).len(), ended(&stage)), (0, "again: its version is held".into()));
    lane(&mut stage, "third", &["stock@1.1.0", "mail@1.1.0"], "header:x-lane=login");
    let remove = Intent::Remove { services: vec![service("mail")] };
    let plan = stage.plan(PLACE, &remove, None).unwrap();
    assert!(plan.warnings.iter().any(|it| it == "lane third (mail@1.1.0, stock@1.1.0) ends with it"));
    stage.run(PLACE, &remove, None);
    steps(&mut stage, 5);
    assert!(lanes(&stage).is_empty() && !running(&stage).contains_key("stock@1.1.0"));
    // Going back to what runs already is told what else gives requests another version.
    lane(&mut stage, "last", &["stock@1.1.0"], "header:x-lane=login");
    let elsewhere = stage.plan(PLACE, &roll_back("stock", "1.0.0"), None).unwrap_err();
    assert_eq!(hints(&elsewhere), "lockstep lane end last --env staging", "{}", why(&elsewhere));
    stage.record(Event::ServiceRenamed {
        service: service("stock"),
        to: service("store"),
        reason: String::new(),
    });
    let known = &stage.env(PLACE).version_rules;
    assert_eq!(known.lanes.lanes[0].new.services[0].service, service("store"));
    assert_eq!(known.rules[0].service, service("store"));
}

#[test]
fn a_lane_never_migrates() {
    let mut stage = stage();
    let files = [("1.sql", MigrationClass::Expand)];
    stage.release_with("orders@1.2.0", &[], |version| version.databases.push(brings(&files)));
    let refusals = refused(&stage, &["orders@1.2.0"]);
    let said =
        "orders@1.2.0 needs `1.sql` of database `main`, which `staging` does not have: a lane never migrates";
    assert!(why(&refusals).contains(said), "{}", why(&refusals));
    assert!(hints(&refusals).contains("lockstep deploy orders@1.2.0 --env staging --dry-run"));
}

/// Sets which versions an environment takes in lanes.
fn accept(stage: &mut Stage, name: &str, lanes_accept: LanesAccept) {
    let settings = EnvironmentSettings { lanes_accept, ..stage.env(name).settings.clone() };
    stage.record(Event::EnvironmentChanged { environment: environment(name), settings });
}

#[test]
fn what_is_accepted_in_lanes_is_said_by_the_environment_and_a_refusal_names_the_command() {
    let mut stage = stage();
    // What has red tests stays in development.
    stage.release_with("orders@1.6.0-login.2", &[], |version| {
        let red = lockstep_domain::evidence::Outcome::Red;
        version.evidence.iter_mut().for_each(|it| it.outcome = red);
    });
    let refusals = refused(&stage, &["orders@1.6.0-login.2"]);
    let said = "in stage development; `staging` accepts versions from testing on, and no others in lanes";
    assert!(why(&refusals).contains(said), "{}", why(&refusals));
    assert_eq!(hints(&refusals), "lockstep environment set staging --lanes-accept development");
    accept(&mut stage, PLACE, "development".parse().unwrap());
    lane(&mut stage, "login", &["orders@1.6.0-login.2"], "header:x-lane=login");
    assert!(stage.plan(PLACE, &deploy(&["orders@1.6.0-login.2"]), None).is_err(), "in lanes alone");
    accept(&mut stage, PLACE, LanesAccept::Deployed);
    assert_eq!(lanes(&stage), ["login"], "what is there stays");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever lanes there are, and whichever of their instances are healthy, a request outside gets what it got without them, and one inside
    /// gets at each hop what its lane gives where that serves, or else the same as outside.
    #[test]
    fn outside_nothing_changes_and_inside_each_hop_is_the_lane_or_else_the_baseline(
        of_lanes in prop::collection::vec(prop::collection::btree_set(0..4_usize, 1..4), 1..4),
        sick in prop::collection::btree_set(0..4_usize, 0..3),
        canary in any::<bool>(),
        keys in prop::collection::vec("[a-z]{1,6}", 1..8),
    ) {
        const NAMES: [&str; 4] = ["web", "orders", "stock", "mail"];
        let mut stage = stage();
        if canary {
            stage.release("orders@1.3.0", &[]);
            let canary = Strategy::canary(&[50, 100], 600_000);
            stage.begin(PLACE, &deploy(&["orders@1.3.0"]), Some(&canary));
            steps(&mut stage, 5);
        }
        let before = stage.table(PLACE);
        for (index, services) in of_lanes.iter().enumerate() {
            let versions: Vec<_> = services.iter().map(|it| format!("{}@1.1.0", NAMES[*it])).collect();
            let versions: Vec<_> = versions.iter().map(String::as_str).collect();
            lane(&mut stage, &format!("l{index}"), &versions, &format!("header:x-lane={index}"));
        }
        steps(&mut stage, 5);
        for instance in &mut stage.instances {
            let name = instance.arm.service.to_string();
            let is_sick = sick.iter().any(|it| NAMES[*it] == name);
            if is_sick && instance.arm.version.to_string() == "1.1.0" {
                instance.state = InstanceState::Unhealthy { reason: "500".into() };
            }
        }
        let table = stage.table(PLACE);
        for (index, services) in of_lanes.iter().enumerate() {
            let id = table.lanes[index].id;
            for (at, name) in NAMES.iter().enumerate() {
                for key in &keys {
                    let outside = gets(&before, name, None, key);
                    prop_assert_eq!(&gets(&table, name, None, key), &outside);
                    let expected =
                        if services.contains(&at) && !sick.contains(&at) { "1.1.0".to_owned() } else { outside };
                    prop_assert_eq!(gets(&table, name, Some(id), key), expected, "{} in l{}", name, index);
                }
            }
        }
        let of_others = |it: &lockstep_domain::routes::SplitRule| it.takes != SplitTakes::Lane;
        prop_assert!(!table.services.values().flat_map(|it| &it.version_rules).any(of_others));
    }
}

#[test]
fn a_condition_of_every_kind_is_kept_as_it_was_said() {
    let mut stage = stage();
    let kinds = ["header:x-lane=a", "cookie:lane=a", "user:ann", "share:10%"];
    let when: Vec<LaneWhen> = kinds.iter().map(|it| it.parse().unwrap()).collect();
    let all = WantedLane { when, ..wanted(&stage, "all", &["orders@1.1.0"], "user:x") };
    begin(&mut stage, &all);
    let lane = &stage.env(PLACE).version_rules.lanes.lanes[0];
    assert_eq!(lane.condition(), "header:x-lane=a or cookie:lane=a or user:ann or share:10%");
    assert_eq!(lane.places.iter().map(|it| it.to - it.from).sum::<u32>(), 1_000);
    let kept = serde_json::to_string(lane).unwrap();
    assert_eq!(&serde_json::from_str::<lockstep_domain::lane::Lane>(&kept).unwrap(), lane);
}

#[test]
fn a_lane_that_keeps_a_database_in_its_old_form_is_named_with_what_ends_it() {
    let mut scene = crate::databases::Scene::new();
    let files = [("1.sql", MigrationClass::Expand), ("2.sql", MigrationClass::Contract)];
    for (version, count) in [("shop@1.0.0", 1), ("shop@1.1.0", 1), ("shop@1.2.0", 2)] {
        scene.stage.release_with(version, &[], |version| version.databases.push(brings(&files[..count])));
    }
    scene.run_in(PLACE, &deploy(&["shop@1.0.0"]));
    lane(&mut scene.stage, "login", &["shop@1.1.0"], "header:x-lane=login");
    scene.run_in(PLACE, &deploy(&["shop@1.2.0"]));
    let wish = lockstep_domain::intent::DatabaseWish::Contract { approved: None };
    let contract = Intent::Database { database: "main".parse().unwrap(), wish, version: None };
    let refusals = scene.stage.plan(PLACE, &contract, None).unwrap_err();
    let (said, hint) = (why(&refusals), hints(&refusals));
    assert!(
        said.contains("shop@1.1.0 needs the old form; lane login gives shop@1.1.0 to its requests"),
        "{said}"
    );
    assert_eq!(hint, "end it first: lockstep lane end login --env staging");
}

#[test]
fn what_has_to_come_along_names_the_lane_that_is_in_the_way_and_what_ends_it() {
    let mut stage = Stage::new();
    stage.release("stock@1.0.0", &[]);
    stage.release("stock@2.0.0", &[]);
    stage.release("web@1.0.0", &[("stock", ">=1")]);
    stage.release("web@1.1.0", &[("stock", "^1")]);
    stage.release("web@1.2.0", &[("stock", ">=2")]);
    stage.run(PLACE, &deploy(&["web@1.0.0", "stock@1.0.0"]), None);
    lane(&mut stage, "login", &["web@1.1.0"], "header:x-lane=login");
    let (place, intent) = (environment(PLACE), deploy(&["web@1.2.0"]));
    let found = smallest(&crate::smallest::search(&stage, &place, &intent)).unwrap();
    let Found::NoWay(answer) = found else { panic!("{found:?}") };
    assert!(answer.explanation.contains("with lane login (web@1.1.0)"), "{}", answer.explanation);
    let commands: Vec<_> = answer.remedies.iter().filter_map(|it| it.command.as_deref()).collect();
    assert!(commands.contains(&"lockstep lane end login --env staging"), "{answer:?}");
}

#[test]
fn an_export_leaves_out_what_a_lane_or_a_database_keeps_away() {
    let mut scene = crate::databases::Scene::new();
    let files = [("1.sql", MigrationClass::Expand), ("2.sql", MigrationClass::Contract)];
    for (version, count) in [("shop@1.0.0", 1), ("shop@1.1.0", 2)] {
        scene.stage.release_with(version, &[], |version| version.databases.push(brings(&files[..count])));
    }
    for (version, requires) in [("web@1.0.0", ">=1"), ("web@1.1.0", "^1")] {
        scene.stage.release(version, &[("stock", requires)]);
    }
    scene.stage.release("stock@1.0.0", &[]);
    scene.stage.release("stock@2.0.0", &[]);
    scene.run_in(PLACE, &deploy(&["shop@1.1.0", "web@1.0.0", "stock@1.0.0"]));
    lane(&mut scene.stage, "login", &["web@1.1.0"], "header:x-lane=login");
    let (place, nothing) = (environment(PLACE), deploy(&[]));
    let wished = |service: &str, to: &str| {
        let mut file = export(&crate::smallest::search(&scene.stage, &place, &nothing)).unwrap();
        let (service, to) = (service.to_owned(), Some(to.to_owned()));
        file.intent.push(lockstep_what_if::Wish { service, to, ..Default::default() });
        lockstep_what_if::answer(&file).unwrap()
    };
    for (name, version) in [("shop", "1.0.0"), ("stock", "2.0.0")] {
        assert!(scene.stage.plan(PLACE, &deploy(&[&format!("{name}@{version}")]), None).is_err());
        assert!(!wished(name, version).solvable, "{name} {version}");
    }
    assert!(wished("web", "1.1.0").solvable);
}

#[test]
fn too_many_rules_are_told_as_what_they_are() {
    let mut stage = stage();
    let full = "has 48 rules, 48 of them of lanes";
    for number in 0..12 {
        let versions = ["web@1.1.0", "orders@1.1.0", "stock@1.1.0", "mail@1.1.0"];
        lane(&mut stage, &format!("l{number}"), &versions, &format!("header:x-lane=l{number}"));
    }
    let refusals = decide(
        &stage,
        &wanted(&stage, "more", &["web@1.1.0", "orders@1.1.0", "stock@1.1.0"], "header:x-lane=more"),
    );
    let refusals = refusals.unwrap_err();
    assert!(why(&refusals).contains(full), "{}", why(&refusals));
    assert!(hints(&refusals).contains("lockstep lane list staging"), "{}", hints(&refusals));
}
