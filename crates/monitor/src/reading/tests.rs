use super::*;
use crate::notice::Severity;
use crate::rule::built_in;
use crate::seen::{
    CheckSeen, FailedVersion, InstanceState, OperationPhase, OperationSeen, Seen, Way, WayBackSeen,
};
use crate::testing::{Fleet, HOUR, MINUTE, SECOND};

/// What the rules that are there by themselves find wrong.
fn wrong(fleet: &Fleet, history: &mut History) -> Vec<(String, String)> {
    let look = fleet.look();
    history.note(&look);
    let known = Known { look: &look, history };
    let of = |rule: &Rule| {
        let found = readings(rule, known).into_iter().filter_map(|reading| match reading.value {
            Value::Wrong(finding) => Some(finding.summary),
            Value::Fine | Value::Unknown(_) => None,
        });
        found.map(|summary| (rule.name.clone(), summary)).collect::<Vec<_>>()
    };
    built_in().iter().flat_map(of).collect()
}

fn serve(fleet: &mut Fleet, history: &mut History, seconds: u64, failures: u64) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for _ in 0..seconds {
        fleet.pass(SECOND);
        fleet.serve_all(100, 0);
        fleet.serve("orders", 0, failures);
        found = wrong(fleet, history);
    }
    found
}

fn names(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(rule, _)| rule.as_str()).collect()
}

#[test]
fn nothing_is_wrong_with_a_fleet_that_is_well() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    assert_eq!(serve(&mut fleet, &mut history, 600, 0), []);
}

#[test]
fn half_of_the_requests_failing_is_found_within_five_seconds() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    serve(&mut fleet, &mut history, 600, 0);
    let found = serve(&mut fleet, &mut history, 5, 50);
    assert_eq!(names(&found), ["failing"]);
    assert!(
        found[0].1.starts_with("orders fails 2") || found[0].1.starts_with("orders fails 3"),
        "{}",
        found[0].1
    );
}

#[test]
fn a_budget_that_burns_is_found_when_two_percent_of_it_are_used_up() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    serve(&mut fleet, &mut history, 3_700, 0);
    // 5 % fail: 14.4 times the budget of 0.1 % in an hour is reached after 1.44 / 5 of it.
    let found = serve(&mut fleet, &mut history, 1_000, 5);
    assert!(!names(&found).contains(&"budget-burns-fast"), "{found:?}");
    let found = serve(&mut fleet, &mut history, 100, 5);
    assert!(names(&found).contains(&"budget-burns-fast"), "{found:?}");
    // It ends with the short window, and not an hour later.
    let found = serve(&mut fleet, &mut history, 320, 0);
    assert!(!names(&found).contains(&"budget-burns-fast"), "{found:?}");
}

#[test]
fn a_window_that_was_hardly_seen_uses_up_no_budget() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    let found = serve(&mut fleet, &mut history, 30, 10);
    assert_eq!(found, [], "30 s of 10 % are no hour of it");
}

#[test]
fn few_requests_page_nobody() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    for _ in 0..3_600 {
        fleet.pass(SECOND);
        wrong(&fleet, &mut history);
    }
    fleet.serve("orders", 9, 9);
    fleet.pass(SECOND);
    assert_eq!(wrong(&fleet, &mut history), []);
}

#[test]
fn instances_are_found_down_and_all_of_them() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.turn("orders", 0, InstanceState::Unhealthy);
    assert_eq!(names(&wrong(&fleet, &mut history)), ["instance-down"]);
    fleet.turn("orders", 1, InstanceState::Failed);
    let found = wrong(&fleet, &mut history);
    assert_eq!(names(&found), ["all-down", "instance-down", "instance-down"]);
    assert_eq!(found[0].1, "no instance of orders@1.4.0 is healthy in production");
    fleet.instances("orders").clear();
    assert_eq!(names(&wrong(&fleet, &mut history)), ["all-down"]);
}

#[test]
fn an_instance_that_starts_is_down_only_when_it_takes_too_long() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.turn("orders", 0, InstanceState::Starting);
    fleet.turn("orders", 1, InstanceState::Starting);
    assert_eq!(wrong(&fleet, &mut history), []);
    fleet.pass(11 * MINUTE);
    assert_eq!(names(&wrong(&fleet, &mut history)), ["instance-down", "instance-down"]);
}

#[test]
fn three_restarts_in_ten_minutes_are_a_crash_loop() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.instances("orders")[0].restarts = 40;
    for restarts in [40, 41, 42] {
        fleet.instances("orders")[0].restarts = restarts;
        fleet.pass(MINUTE);
        assert_eq!(wrong(&fleet, &mut history), []);
    }
    fleet.instances("orders")[0].restarts = 43;
    assert_eq!(names(&wrong(&fleet, &mut history)), ["crash-loop"]);
    fleet.pass(11 * MINUTE);
    assert_eq!(wrong(&fleet, &mut history), []);
}

#[test]
fn certificates_disks_hosts_gateways_and_ways_back_are_found() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.certificates[0].not_after_ms = fleet.now_ms + 5 * 24 * HOUR;
    assert_eq!(names(&wrong(&fleet, &mut history)), ["certificate-ends-soon"]);
    fleet.certificates[0].not_after_ms = fleet.now_ms - 1;
    let found = wrong(&fleet, &mut history);
    assert_eq!(names(&found), ["certificate-ends-soon", "certificate-ends"]);
    assert!(found[1].1.contains("has ended"));

    let mut fleet = Fleet::shop();
    let disk = crate::seen::DiskSeen { free_bytes: 2 << 30, size_bytes: 100 << 30 };
    fleet.hosts.get_mut("north").unwrap().disk = Seen::Is(disk);
    assert_eq!(names(&wrong(&fleet, &mut history)), ["disk-low", "disk-full"]);

    let mut fleet = Fleet::shop();
    fleet.hosts.get_mut("north").unwrap().away_since_ms = Some(fleet.now_ms);
    fleet.gateways[0].refused = Some("format 28 is not known".into());
    fleet.gateways[0].behind_since_ms = Some(fleet.now_ms - MINUTE);
    fleet.service("orders").way_back =
        Seen::Is(WayBackSeen::Closed { why: "a column is gone".into(), hint: None });
    assert_eq!(names(&wrong(&fleet, &mut history)), ["host-away", "gateway-behind", "way-back-lost"]);
}

#[test]
fn a_rollout_that_failed_is_told_under_its_service_until_it_is_mended() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.operations.push(OperationSeen {
        id: "operation 12".into(),
        what: "deploy orders@1.5.0".into(),
        way: Way::Forward,
        services: ["orders".into()].into(),
        phase: OperationPhase::Reverted { cause: "it fails".into() },
        since_ms: fleet.now_ms,
        person: None,
        failed: Some(FailedVersion {
            service: "orders".into(),
            version: "1.5.0".into(),
            why: "it fails".into(),
        }),
    });
    assert_eq!(names(&wrong(&fleet, &mut history)), ["canary-failed"]);
    fleet.operations[0].failed = None;
    assert_eq!(names(&wrong(&fleet, &mut history)), ["went-back"]);
    fleet.operations[0].person = Some("alice".into());
    assert_eq!(wrong(&fleet, &mut history), [], "who takes it back needs not be told");
    fleet.operations[0].phase = OperationPhase::Waits { what: "too few requests".into() };
    fleet.pass(HOUR);
    assert_eq!(names(&wrong(&fleet, &mut history)), ["operation-waits"]);
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_is_itself_a_fault() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.blind("the database is locked");
    let found = wrong(&fleet, &mut history);
    assert_eq!(names(&found), ["unwatched"]);
    assert_eq!(found[0].1, "services in production cannot be looked at");
    let look = fleet.look();
    let orders = Subject::of([("environment", "production"), ("service", "orders")]);
    for family in [Family::Traffic, Family::Instance, Family::AllDown, Family::WayBack] {
        assert!(matches!(of_absent(family, &orders, &look), Value::Unknown(Blind::Error(_))), "{family:?}");
    }
    assert_eq!(of_absent(Family::Rollout, &orders, &look), Value::Fine);
    assert_eq!(of_absent(Family::Host, &Subject::of([("host", "gone")]), &look), Value::Fine);
    let blind = Observation::default();
    for family in [Family::Host, Family::Certificate, Family::Disk, Family::Rollout, Family::Gateway] {
        assert!(matches!(of_absent(family, &orders, &blind), Value::Unknown(_)), "{family:?}");
    }
}

#[test]
fn a_rule_finds_only_what_it_is_about() {
    let (mut fleet, mut history) = (Fleet::shop(), History::default());
    fleet.turn("orders", 0, InstanceState::Unhealthy);
    let look = fleet.look();
    history.note(&look);
    let rule = Rule::new("down", Severity::Info, Condition::InstanceDown { starting_seconds: 60 });
    let count = |rule: &Rule| readings(rule, Known { look: &look, history: &history }).len();
    assert_eq!(count(&rule), 6);
    assert_eq!(count(&Rule { service: Some("ord*".into()), ..rule.clone() }), 2);
    assert_eq!(count(&Rule { environment: Some("staging".into()), ..rule }), 0);
}

#[test]
fn a_check_fails_when_one_gateway_says_so_twice_and_is_not_known_when_none_says_anything() {
    let seen = |gateway: &str, failed_in_a_row: u32| CheckSeen {
        gateway: gateway.to_owned(),
        request: "GET /orders/health".to_owned(),
        failed_in_a_row,
        fault: (failed_in_a_row > 0).then(|| "was answered 500 instead of 200".to_owned()),
        version: Some("orders@1.4.0".to_owned()),
    };
    let (mut fleet, history) = (Fleet::shop(), History::default());
    let rule = built_in().into_iter().find(|rule| rule.name == "check-fails").unwrap();
    let mut value = |found: Vec<CheckSeen>| {
        fleet.service("orders").checks = [("customers".to_owned(), found)].into();
        let look = fleet.look();
        readings(&rule, Known { look: &look, history: &history }).remove(0).value
    };
    assert!(matches!(value(vec![]), Value::Unknown(Blind::NoData(_))));
    assert_eq!(value(vec![seen("a", 0), seen("b", 1)]), Value::Fine);
    let Value::Wrong(finding) = value(vec![seen("a", 0), seen("b", 3)]) else { panic!() };
    assert_eq!(finding.summary, "the check customers of orders fails in production");
    assert_eq!(
        finding.detail.as_deref(),
        Some(
            "GET /orders/health was answered 500 instead of 200 by orders@1.4.0, 3 times in a row, at 1 of 2 gateways"
        )
    );
}
