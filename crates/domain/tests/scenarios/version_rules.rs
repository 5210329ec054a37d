//! Rules that give certain requests a version of their own: what they keep running, what they choose, and what ends them.

use lockstep_domain::contract::Requirement;
use lockstep_domain::intent::{ConfigChoice, ConfigValue};
use lockstep_domain::job::{Job, When};
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{Decision, Refusal, RuleRefusal, WantedRule, add_rule};
use lockstep_domain::routes::{
    FORMAT_WITH_AFFINITY, FORMAT_WITH_VERSION_RULES, FULL_WEIGHT, ServiceRoutes, Split, SplitRole,
    SplitTakes, slot,
};
use lockstep_domain::run::{Kind, Port, Replace, RunSpec};
use lockstep_domain::version_rules::{MAX_RULES, Takes};
use lockstep_domain::{Event, InstanceState, Intent, OperationId, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use crate::simulation::{Stage, deploy, environment, service};

const PLACE: &str = "staging";

fn stage() -> Stage {
    let mut stage = Stage::new();
    for version in ["orders@1.0.0", "orders@1.1.0", "orders@1.2.0", "web@1.0.0"] {
        stage.release(version, &[]);
    }
    stage.run(PLACE, &deploy(&["orders@1.0.0", "web@1.0.0"]), None);
    stage
}

fn jason() -> Takes {
    Takes::header("X-User", "jason").unwrap()
}

fn wanted(version: &str, takes: Takes) -> WantedRule {
    let version: lockstep_domain::VersionRef = version.parse().unwrap();
    WantedRule { service: version.service, version: version.version, takes, reason: "to try it".into() }
}

fn rule(stage: &Stage, version: &str, takes: Takes) -> Result<Event, Vec<Refusal>> {
    add_rule(stage.relation(), &environment(PLACE), &wanted(version, takes), stage.now)
}

fn add(stage: &mut Stage, version: &str, takes: Takes) {
    let event = rule(stage, version, takes).unwrap_or_else(|refusals| panic!("{refusals:?}"));
    stage.record(event);
}

fn steps(stage: &mut Stage, count: u32) {
    (0..count).for_each(|_| stage.step(PLACE));
}

fn why(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn orders(stage: &Stage) -> ServiceRoutes {
    stage.table(PLACE).services[&service("orders")].clone()
}

/// Who gets which version: by a rule that says so, else by the key.
fn gets(routes: &ServiceRoutes, is_jason: bool, key: &str) -> String {
    let is_said = |_: &lockstep_domain::routes::SplitRule| is_jason;
    match routes.rule_for(is_said, key.as_bytes()) {
        Some(rule) => rule.version.to_string(),
        None => routes.choose(key.as_bytes()).unwrap().version.to_string(),
    }
}

fn running(stage: &Stage) -> Vec<String> {
    let alive = stage.instances.iter().filter(|it| it.state.is_healthy());
    let mut all: Vec<_> = alive.map(|it| it.arm.version_ref().to_string()).collect();
    all.sort();
    all
}

fn roll_back(to: &str) -> Intent {
    let config = ConfigChoice::AsItRan;
    Intent::RollBackService { service: service("orders"), to: to.parse().unwrap(), config }
}

fn numbers(stage: &Stage) -> Vec<u32> {
    stage.env(PLACE).version_rules.rules.iter().map(|rule| rule.number).collect()
}

#[test]
fn a_version_with_a_rule_is_started_serves_its_requests_alone_and_ends_with_the_rule() {
    let mut stage = stage();
    assert!(stage.table(PLACE).format < FORMAT_WITH_VERSION_RULES, "a table without rules is as before");
    add(&mut stage, "orders@1.1.0", jason());
    assert_eq!(gets(&orders(&stage), true, "a"), "1.0.0", "nothing serves it yet");
    steps(&mut stage, 3);
    let table = stage.table(PLACE);
    assert_eq!((table.format, FORMAT_WITH_AFFINITY), (FORMAT_WITH_VERSION_RULES, 5));
    let routes = orders(&stage);
    assert_eq!((gets(&routes, true, "a"), gets(&routes, false, "a")), ("1.1.0".into(), "1.0.0".into()));
    let Split { role, weight, .. } = &routes.splits[0];
    assert_eq!((*role, *weight, routes.splits.len()), (SplitRole::Pinned, 0, 2));
    assert_eq!(stage.runs(PLACE), "orders@1.0.0 web@1.0.0", "it makes no baseline");
    steps(&mut stage, 10_000);
    assert_eq!(running(&stage), ["orders@1.0.0", "orders@1.1.0", "web@1.0.0"]);
    let (environment, reason) = (environment(PLACE), String::new());
    stage.record(Event::VersionRuleRemoved { environment, rule: 1, found: None, reason });
    steps(&mut stage, 3);
    assert_eq!(running(&stage), ["orders@1.0.0", "web@1.0.0"]);
    assert!(stage.table(PLACE).format < FORMAT_WITH_VERSION_RULES);
    let ended = &stage.env(PLACE).version_rules.ended;
    assert_eq!((ended.len(), ended[0].rule.reason.as_str()), (1, "to try it"));
    add(&mut stage, "orders@1.1.0", jason());
    assert_eq!(numbers(&stage), [2], "no number is given twice");
}

#[test]
fn an_arm_of_a_rule_is_scaled_mended_and_not_routed_to_while_it_is_unhealthy() {
    let mut stage = stage();
    add(&mut stage, "orders@1.1.0", jason());
    steps(&mut stage, 3);
    stage.run(PLACE, &Intent::Scale { service: service("orders"), process: None, replicas: 2 }, None);
    steps(&mut stage, 3);
    assert_eq!(running(&stage).iter().filter(|it| *it == "orders@1.1.0").count(), 2);
    let ruled = |it: &&mut lockstep_domain::Instance| it.arm.version.to_string() == "1.1.0";
    let dead = InstanceState::Unhealthy { reason: "500".into() };
    stage.instances.iter_mut().filter(ruled).for_each(|it| it.state = dead.clone());
    assert_eq!(gets(&orders(&stage), true, "a"), "1.0.0");
    let gone = InstanceState::failed("killed".to_owned(), Default::default());
    stage.instances.iter_mut().filter(ruled).for_each(|it| it.state = gone.clone());
    steps(&mut stage, 3);
    assert_eq!(gets(&orders(&stage), true, "a"), "1.1.0", "others took their place");
}

#[test]
fn of_a_version_with_several_processes_the_one_that_takes_requests_runs_alone() {
    let mut stage = Stage::new();
    for version in ["orders@1.0.0", "orders@1.1.0"] {
        stage.release_with(version, &[], |version| {
            let run = RunSpec { kind: Kind::Worker, replace: Replace::OldFirst, ..version.run.clone() };
            version.processes.others.insert("clock".parse().unwrap(), run);
        });
    }
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    steps(&mut stage, 5);
    add(&mut stage, "orders@1.1.0", jason());
    steps(&mut stage, 50);
    assert_eq!(running(&stage), ["orders@1.0.0", "orders@1.0.0", "orders@1.1.0"], "work is done once");
    assert_eq!(gets(&orders(&stage), true, "a"), "1.1.0");
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    stage.run(PLACE, &roll_back("1.0.0"), None);
    assert!(numbers(&stage).is_empty());
}

#[test]
fn a_rule_is_checked_as_what_is_deployed_and_all_reasons_are_said_at_once() {
    let mut stage = stage();
    stage.release("orders@2.0.0", &[("web", "^2.0"), ("pay", "^1.0")]);
    let refusals = rule(&stage, "orders@2.0.0", jason()).unwrap_err();
    assert_eq!(refusals.len(), 2, "{}", why(&refusals));
    assert!(why(&refusals).contains("`orders@2.0.0` requires web ^2.0, and 1.0.0 would be there"));
    let none = rule(&stage, "orders@9.0.0", jason()).unwrap_err();
    assert!(matches!(none[..], [Refusal::NoVersion { .. }]));
    stage.release("idle@1.0.0", &[]);
    assert!(matches!(rule(&stage, "idle@1.0.0", jason()).unwrap_err()[..], [Refusal::NotRunning { .. }]));
    stage.release_with("web@1.1.0", &[], |version| version.run.kind = Kind::Worker);
    let worker = rule(&stage, "web@1.1.0", Takes::Share(100)).unwrap_err();
    assert!(why(&worker).contains("web@1.1.0 takes no requests"), "{}", why(&worker));
    stage.release_with("web@1.2.0", &[], |version| {
        let (name, command) = ("migrate".parse().unwrap(), vec!["./job".to_owned()]);
        let (when, schedule, variables, timeout_ms) = (When::BeforeSwitch, None, [].into(), 1);
        version.jobs.push(Job {
            name,
            when,
            schedule,
            command,
            variables,
            timeout_ms,
            limits: Default::default(),
        });
    });
    let job = rule(&stage, "web@1.2.0", jason()).unwrap_err();
    assert!(why(&job).contains("a rule runs no jobs"), "{}", why(&job));
    let early =
        add_rule(stage.relation(), &environment("production"), &wanted("orders@1.1.0", jason()), stage.now);
    assert!(why(&early.unwrap_err()).contains("accepts versions from production-validation on"));
    stage.release_with("web@1.3.0", &[], |version| version.run.port = Port::Fixed(7_000));
    stage.run(PLACE, &deploy(&["web@1.3.0"]), None);
    stage.release_with("web@1.4.0", &[], |version| version.run.port = Port::Fixed(7_000));
    let apart = rule(&stage, "web@1.4.0", jason()).unwrap_err();
    assert!(why(&apart).contains("web@1.4.0 cannot run beside web@1.3.0"), "{}", why(&apart));
    assert!(apart[0].hint().unwrap().contains("lockstep deploy web@1.4.0 --env staging"));
}

#[test]
fn rules_meet_each_other_what_is_on_its_way_and_what_comes_later() {
    let mut stage = stage();
    stage.release("web@2.0.0", &[]);
    stage.release("web@3.0.0", &[]);
    stage.release_with("orders@2.0.0", &[], |version| {
        let range = ">=1.0, <3.0".parse().unwrap();
        version.requires = [(service("web"), Requirement::of_range(range))].into();
    });
    add(&mut stage, "orders@2.0.0", jason());
    add(&mut stage, "web@2.0.0", jason());
    let meets = rule(&stage, "web@3.0.0", Takes::Share(100)).unwrap_err();
    assert!(why(&meets).contains("`orders@2.0.0` requires web"), "{}", why(&meets));
    // Going forward respects what a rule keeps running, and says which rule.
    let refused = stage.plan(PLACE, &deploy(&["web@3.0.0"]), None).unwrap_err();
    let [Refusal::Rule(RuleRefusal::Unmet { rule: of, .. })] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(of.number, 1);
    assert_eq!(refused[0].hint().unwrap(), "lockstep route remove 1 --env staging");
    stage.run(PLACE, &deploy(&["web@2.0.0"]), None);
    // On its way: what comes has to fit too.
    let canary = Strategy::canary(&[50, 100], 60_000);
    stage.release("orders@3.0.0", &[("web", "^2.0")]);
    let removed = Event::VersionRuleRemoved {
        environment: environment(PLACE),
        rule: 1,
        found: None,
        reason: String::new(),
    };
    stage.record(removed);
    stage.begin(PLACE, &deploy(&["web@3.0.0"]), Some(&canary));
    let on_its_way = rule(&stage, "orders@3.0.0", jason()).unwrap_err();
    assert!(why(&on_its_way).contains("`orders@3.0.0` requires web ^2.0, and 3.0.0 would be there"));
}

#[test]
fn bounds_hold_and_the_same_requests_are_taken_once() {
    let mut stage = stage();
    add(&mut stage, "orders@1.1.0", jason());
    let same = rule(&stage, "orders@1.2.0", Takes::header("x-user", "jason").unwrap()).unwrap_err();
    assert_eq!(why(&same), "rule 1 (header x-user: jason -> orders@1.1.0) takes the same requests");
    assert!(rule(&stage, "orders@1.2.0", Takes::header("x-user", "Jason").unwrap()).is_ok());
    add(&mut stage, "orders@1.1.0", Takes::Share(6_000));
    let shares = rule(&stage, "orders@1.2.0", Takes::Share(4_000)).unwrap_err();
    assert_eq!(why(&shares), "the shares of `orders` would be 100 %, and what is deployed has to keep some");
    assert!(rule(&stage, "orders@1.2.0", Takes::Share(3_999)).is_ok());
    for number in stage.env(PLACE).version_rules.rules.len()..MAX_RULES {
        add(&mut stage, "orders@1.1.0", Takes::cookie("n", &number.to_string()).unwrap());
    }
    let many = rule(&stage, "orders@1.1.0", Takes::cookie("n", "x").unwrap()).unwrap_err();
    assert!(why(&many).contains(&format!("{MAX_RULES} rules, 0 of them of lanes")), "{}", why(&many));
}

#[test]
fn going_back_from_a_version_ends_its_rules_with_the_first_record_and_says_so() {
    let mut stage = stage();
    add(&mut stage, "orders@1.1.0", jason());
    add(&mut stage, "orders@1.2.0", Takes::Share(500));
    steps(&mut stage, 3);
    let plan = stage.plan(PLACE, &deploy(&["orders@1.1.0"]), None).unwrap();
    assert_eq!(plan.rules_ended, Vec::<u32>::new());
    assert!(plan.warnings.iter().any(|it| it.contains("rule 2") && it.contains("keeps 1.2.0 running")));
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    assert_eq!(numbers(&stage), [1, 2]);
    let plan = stage.plan(PLACE, &roll_back("1.0.0"), None).unwrap();
    assert_eq!(plan.rules_ended, [1]);
    let said = "rule 1 (header x-user: jason -> orders@1.1.0) ends with it";
    assert!(plan.warnings.iter().any(|it| it == said), "{:?}", plan.warnings);
    stage.begin(PLACE, &roll_back("1.0.0"), None);
    assert_eq!(numbers(&stage), [2], "before anything else happens");
    steps(&mut stage, 20);
    assert_eq!(gets(&orders(&stage), true, "no share"), "1.0.0");
    assert!(matches!(rule(&stage, "orders@1.1.0", jason()).unwrap_err()[..], [Refusal::Held { .. }]));
    // Who goes back to what runs is told that a rule gives some something else, and how to end that.
    let elsewhere = stage.plan(PLACE, &roll_back("1.0.0"), None).unwrap_err();
    assert!(why(&elsewhere).contains("rule 2 (5 % of the clients -> orders@1.2.0) gives some requests"));
    assert_eq!(elsewhere[0].hint().unwrap(), "lockstep route remove 2 --env staging");
    let because = &stage.env(PLACE).version_rules.ended[0].because;
    assert_eq!(because, "operation 3 (roll back orders to 1.0.0)");
}

#[test]
fn an_operation_that_is_taken_back_takes_the_rules_to_its_version_along() {
    let mut stage = stage();
    add(&mut stage, "orders@1.1.0", jason());
    add(&mut stage, "orders@1.2.0", Takes::Share(500));
    steps(&mut stage, 3);
    let canary = Strategy::canary(&[50, 100], 60_000);
    let id = stage.begin(PLACE, &deploy(&["orders@1.1.0"]), Some(&canary));
    steps(&mut stage, 5);
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Shifted { .. }));
    let (environment, blamed) = (environment(PLACE), vec![]);
    stage.record(Event::OperationReverting { operation: id, environment, cause: "ann".into(), blamed });
    assert_eq!(numbers(&stage), [2]);
    let routes = orders(&stage);
    let keys = (0..1_000).map(|key| gets(&routes, true, &key.to_string()));
    assert!(keys.into_iter().all(|version| version != "1.1.0"), "nobody gets it any more");
}

#[test]
fn a_rule_and_a_canary_of_one_service_go_together_and_a_rule_may_lead_to_either_arm() {
    let mut stage = stage();
    add(&mut stage, "orders@1.1.0", jason());
    add(&mut stage, "orders@1.0.0", Takes::cookie("old", "1").unwrap());
    steps(&mut stage, 3);
    assert_eq!(orders(&stage).splits.len(), 2);
    let canary = Strategy::canary(&[20, 100], 60_000);
    stage.begin(PLACE, &deploy(&["orders@1.1.0"]), Some(&canary));
    steps(&mut stage, 5);
    let routes = orders(&stage);
    let roles: Vec<_> = routes.splits.iter().map(|split| (split.role, split.weight)).collect();
    assert_eq!(roles, [(SplitRole::Candidate, 2_000), (SplitRole::Stable, 8_000)]);
    assert_eq!(routes.version_rules.len(), 2);
    assert_eq!(gets(&routes, true, "x"), "1.1.0");
    let canary = (0..2_000).filter(|key| gets(&routes, false, &key.to_string()) == "1.1.0").count();
    assert!((320..480).contains(&canary), "{canary}: the split of the others is as it was");
}

#[test]
fn what_cannot_run_beside_a_ruled_version_is_not_deployed_and_going_back_to_it_ends_the_rule() {
    let mut stage = stage();
    let fixed = |version: &mut lockstep_domain::service::Version| version.run.port = Port::Fixed(7_000);
    stage.release_with("orders@3.0.0", &[], fixed);
    stage.release_with("orders@3.1.0", &[], fixed);
    stage.run(PLACE, &deploy(&["orders@3.0.0"]), None);
    stage.run(PLACE, &deploy(&["orders@1.2.0"]), None);
    stage.now = stage.now.plus_ms(120_000);
    steps(&mut stage, 5);
    add(&mut stage, "orders@3.0.0", jason());
    steps(&mut stage, 3);
    let refused = stage.plan(PLACE, &deploy(&["orders@3.1.0"]), None).unwrap_err();
    assert!(why(&refused).contains("keeps a version running that orders@3.1.0 cannot run beside"));
    assert_eq!(refused[0].hint().unwrap(), "lockstep route remove 1 --env staging");
    // The same version with another configuration is another arm on the same port.
    let set = [("A".to_owned(), ConfigValue::Plain("1".into()))].into();
    stage.run(PLACE, &Intent::Configure { service: service("orders"), set, unset: vec![] }, None);
    let plan = stage.plan(PLACE, &roll_back("3.0.0"), None);
    let back = plan.unwrap_or_else(|refusals| panic!("{}", why(&refusals)));
    assert_eq!(back.rules_ended, Vec::<u32>::new(), "it is the arm that the rule keeps running");
    let config = ConfigChoice::Keep;
    let keep = Intent::RollBackService { service: service("orders"), to: "3.0.0".parse().unwrap(), config };
    assert_eq!(stage.plan(PLACE, &keep, None).unwrap().rules_ended, [1]);
    stage.run(PLACE, &keep, None);
    assert!(stage.runs(PLACE).contains("orders@3.0.0"), "{}", stage.runs(PLACE));
}

#[test]
fn a_port_of_a_ruled_version_is_taken_for_what_comes_and_free_for_what_is_gone_back_to() {
    let mut stage = stage();
    let fixed = |version: &mut lockstep_domain::service::Version| version.run.port = Port::Fixed(7_000);
    stage.release_with("orders@3.0.0", &[], fixed);
    stage.release_with("web@3.0.0", &[], fixed);
    stage.run(PLACE, &deploy(&["web@3.0.0"]), None);
    stage.run(PLACE, &deploy(&["web@1.0.0"]), None);
    add(&mut stage, "orders@3.0.0", jason());
    let taken = stage.plan(PLACE, &deploy(&["web@3.0.0"]), None).unwrap_err();
    let [Refusal::PortTaken { by, .. }] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(by.to_string(), "orders@3.0.0");
    let back = stage.plan(PLACE, &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::AsItRan }, None);
    assert_eq!(back.unwrap().rules_ended, [1]);
    stage.run(PLACE, &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::AsItRan }, None);
    assert!(stage.runs(PLACE).contains("web@3.0.0"), "{}", stage.runs(PLACE));
}

#[test]
fn a_rule_to_another_version_keeps_nobody_from_taking_back_what_is_under_way() {
    let mut stage = stage();
    add(&mut stage, "orders@1.2.0", Takes::Share(500));
    steps(&mut stage, 3);
    let canary = Strategy::canary(&[50, 100], 60_000);
    let id = stage.begin(PLACE, &deploy(&["orders@1.1.0"]), Some(&canary));
    steps(&mut stage, 5);
    let decided = stage.interrupt(PLACE, &roll_back("1.0.0")).unwrap();
    assert!(matches!(decided, Decision::TakesBack(all) if all == [id]));
}

#[test]
fn a_service_that_is_removed_renamed_or_loses_a_secret_has_the_rules_that_it_can_have() {
    let mut stage = stage();
    let secret = ConfigValue::Secret("abc".into());
    let set = [("KEY".to_owned(), secret)].into();
    stage.run(PLACE, &Intent::Configure { service: service("orders"), set, unset: vec![] }, None);
    add(&mut stage, "orders@1.1.0", jason());
    add(&mut stage, "orders@1.2.0", Takes::Share(1_000));
    steps(&mut stage, 3);
    let before = orders(&stage);
    let (from, to) = (service("orders"), service("sales"));
    stage.record(Event::ServiceRenamed { service: from, to: to.clone(), reason: String::new() });
    let after = stage.table(PLACE).services[&to].clone();
    assert_eq!(after.version_rules, before.version_rules, "the same clients, by the same numbers");
    let (environment, key) = (environment(PLACE), "KEY".to_owned());
    let revoked = Event::SecretRevoked {
        environment,
        service: to.clone(),
        key,
        secret: "abc".into(),
        reason: String::new(),
    };
    stage.record(revoked);
    assert!(numbers(&stage).is_empty(), "what has the secret does not go on beside what is deployed");
    stage.record(Event::SecretRevoked {
        environment: crate::simulation::environment(PLACE),
        service: to,
        key: "KEY".into(),
        secret: "none".into(),
        reason: String::new(),
    });
    add(&mut stage, "web@1.0.0", jason());
    let plan = stage.plan(PLACE, &Intent::Remove { services: vec![service("web")] }, None).unwrap();
    assert_eq!(plan.rules_ended, [3]);
}

#[test]
fn what_records_and_states_say_of_rules_can_be_read_again_and_older_ones_say_nothing() {
    let mut stage = stage();
    let text = serde_json::to_string(&stage.world).unwrap();
    assert!(!text.contains("version_rules"), "a world without rules is stored as before");
    add(&mut stage, "orders@1.1.0", jason());
    add(&mut stage, "orders@1.2.0", Takes::Share(1_000));
    let text = serde_json::to_string(&stage.world).unwrap();
    let again: lockstep_domain::World = serde_json::from_str(&text).unwrap();
    assert_eq!(again, stage.world);
    let stored = serde_json::to_value(&stage.log.last().unwrap().event).unwrap();
    assert_eq!(stored["takes"], serde_json::json!({"share": 1_000}), "{stored}");
}

#[derive(Debug, Clone)]
enum Command {
    Header(u64, u8),
    Share(u64, u32),
    Remove(u32),
    Deploy(u64, bool),
    Back(u64),
    TakeBack,
    Break(u64),
    Pass,
}

fn commands() -> impl proptest::strategy::Strategy<Value = Vec<Command>> {
    let one = prop_oneof![
        (0..3_u64, 0..3_u8).prop_map(|(version, user)| Command::Header(version, user)),
        (0..3_u64, 1..5_000_u32).prop_map(|(version, weight)| Command::Share(version, weight)),
        (0..9_u32).prop_map(Command::Remove),
        (0..3_u64, any::<bool>()).prop_map(|(version, canary)| Command::Deploy(version, canary)),
        (0..3_u64).prop_map(Command::Back),
        Just(Command::TakeBack),
        (0..3_u64).prop_map(Command::Break),
        Just(Command::Pass),
    ];
    prop::collection::vec(one, 1..25)
}

fn carry_out(stage: &mut Stage, command: &Command) {
    let version = |minor: &u64| format!("orders@1.{minor}.0");
    match command {
        Command::Header(minor, user) => {
            let takes = Takes::header("x-user", &user.to_string()).unwrap();
            let added = rule(stage, &version(minor), takes).ok();
            added.into_iter().for_each(|event| stage.record(event));
        }
        Command::Share(minor, weight) => {
            let added = rule(stage, &version(minor), Takes::Share(*weight)).ok();
            added.into_iter().for_each(|event| stage.record(event));
        }
        Command::Remove(rule) if stage.env(PLACE).version_rules.find(*rule).is_some() => {
            let (environment, rule, reason) = (environment(PLACE), *rule, String::new());
            stage.record(Event::VersionRuleRemoved { environment, rule, found: None, reason });
        }
        Command::Deploy(minor, canary) => {
            let strategy = canary.then(|| Strategy::canary(&[30, 100], 200));
            let intent = deploy(&[&version(minor)]);
            if let Ok(plan) = stage.plan(PLACE, &intent, strategy.as_ref()) {
                stage.begin_plan(PLACE, &intent, plan);
            }
        }
        Command::Back(minor) => {
            let intent = roll_back(&format!("1.{minor}.0"));
            if let Ok(plan) = stage.plan(PLACE, &intent, None) {
                stage.begin_plan(PLACE, &intent, plan);
                let left = stage.env(PLACE).entries()[&service("orders")].version.clone();
                let to_left = |it: &lockstep_domain::version_rules::VersionRule| it.version == left;
                assert!(!stage.env(PLACE).version_rules.rules.iter().any(to_left));
            }
        }
        Command::TakeBack => {
            let under_way: Vec<OperationId> = stage.env(PLACE).under_way().map(|it| it.id).collect();
            for operation in under_way {
                let is_back =
                    matches!(stage.world.find_operation(operation).unwrap().phase, Phase::Reverting { .. });
                let (environment, cause, blamed) = (environment(PLACE), "bob".into(), vec![]);
                if !is_back {
                    stage.record(Event::OperationReverting { operation, environment, cause, blamed });
                }
            }
        }
        Command::Break(minor) => stage
            .instances
            .iter_mut()
            .filter(|it| it.arm.version.minor() == *minor && it.state.is_healthy())
            .for_each(|it| it.state = InstanceState::failed("killed".to_owned(), Default::default())),
        Command::Remove(_) | Command::Pass => steps(stage, 30),
    }
}

/// Every request has an instance; a rule leads where it says; shares are as large as they say; nobody else gets a pinned version.
fn check(stage: &Stage) {
    let (routes, known) = (orders(stage), &stage.env(PLACE).version_rules);
    assert_eq!(routes.splits.iter().map(|split| split.weight).sum::<u32>(), FULL_WEIGHT);
    let arms: std::collections::BTreeSet<_> =
        routes.splits.iter().map(|split| split.arm(&service("orders"))).collect();
    assert_eq!(arms.len(), routes.splits.len(), "an arm has one split");
    let places: Vec<_> = (0..300).map(|key| key.to_string()).collect();
    for rule in &routes.version_rules {
        let split = routes.splits.iter().find(|split| rule.leads_to(split)).unwrap();
        assert!(!split.endpoints.is_empty(), "a rule takes requests only where somebody answers them");
        let original = known.rules.iter().find(|it| it.record == rule.id).unwrap();
        assert_eq!(original.version, rule.version);
    }
    for key in &places {
        let rule = routes.rule_for(|_| false, key.as_bytes());
        let chosen = routes.choose(key.as_bytes()).unwrap();
        assert_ne!(chosen.role, SplitRole::Pinned);
        let in_share = routes.version_rules.iter().filter(|it| it.shares(key.as_bytes())).count();
        assert!(in_share <= 1, "in two shares");
        assert_eq!(rule.is_some(), in_share == 1);
    }
    for (rule, said) in routes.version_rules.iter().zip(known.rules.iter()) {
        if let (SplitTakes::Places(places), Some(share)) = (&rule.takes, said.takes.share())
            && rule.id == said.record
        {
            let all = (0..FULL_WEIGHT).filter(|place| places.iter().any(|it| it.contains(*place)));
            assert_eq!(u32::try_from(all.count()).unwrap(), share);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_in_which_order_every_request_has_its_version(all in commands()) {
        let mut stage = stage();
        for command in &all {
            carry_out(&mut stage, command);
            check(&stage);
            steps(&mut stage, 2);
            check(&stage);
        }
        // When nothing is done any more, exactly the baseline and what has rules runs.
        stage.now = stage.now.plus_ms(400_000);
        steps(&mut stage, 80);
        stage.now = stage.now.plus_ms(400_000);
        steps(&mut stage, 80);
        let env = stage.env(PLACE);
        let baseline = env.entries().iter().map(|(service, entry)| entry.arm(service));
        let wanted: std::collections::BTreeSet<_> = baseline.chain(env.ruled_arms()).collect();
        let alive = stage.instances.iter().filter(|it| it.state.is_healthy()).map(|it| it.arm.clone());
        prop_assert_eq!(alive.collect::<std::collections::BTreeSet<_>>(), wanted);
    }

    #[test]
    fn the_first_rule_that_says_so_wins_and_comes_before_any_share(
        said in prop::collection::vec(any::<bool>(), 1..8), share in 1..FULL_WEIGHT, key in "[a-z]{1,8}",
    ) {
        let mut stage = stage();
        add(&mut stage, "orders@1.2.0", Takes::Share(share));
        for number in 0..said.len() {
            add(&mut stage, "orders@1.1.0", Takes::cookie("n", &number.to_string()).unwrap());
        }
        steps(&mut stage, 3);
        let routes = orders(&stage);
        let is_said = |rule: &lockstep_domain::routes::SplitRule| match &rule.takes {
            SplitTakes::Cookie(pattern) => said[pattern.value.parse::<usize>().unwrap()],
            _ => panic!("shares are not asked for"),
        };
        let chosen = routes.rule_for(is_said, key.as_bytes());
        let first = said.iter().position(|it| *it);
        match (first, chosen) {
            (Some(first), Some(rule)) => prop_assert_eq!(rule, &routes.version_rules[first + 1]),
            (None, Some(rule)) => {
                prop_assert_eq!(rule, &routes.version_rules[0]);
                prop_assert!(slot("shares", key.as_bytes()) < share);
            }
            (None, None) => prop_assert!(slot("shares", key.as_bytes()) >= share),
            (Some(_), None) => prop_assert!(false),
        }
    }
}
