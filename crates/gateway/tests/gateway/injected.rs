//! Faults that requests meet on purpose: who meets them, what is said of them, and that no version is judged by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::injection::{FORMAT_WITH_FAULTS, Fault, FaultInjection, Injected};
use lockstep_domain::routes::{FULL_WEIGHT, RouteTable};
use lockstep_domain::version_rules::Pattern;
use lockstep_gateway::explain::{Outcome, Question, explain};
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, ApplyError, GatewayConfig};

use crate::support::*;

const HOUR_MS: u64 = 3_600_000;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn fault(does: Injected) -> Fault {
    let service = "shop".parse().unwrap();
    Fault { number: 3, service, does, share: FULL_WEIGHT, header: None, until: Timestamp(now() + HOUR_MS) }
}

fn with(mut table: RouteTable, faults: &[Fault], fault_injection: FaultInjection) -> RouteTable {
    let rules = GatewayRules { fault_injection, faults: faults.to_vec(), ..GatewayRules::default() };
    table.rules = Some(rules);
    table.in_its_format()
}

fn serving(faults: &[Fault]) -> (Running, Instance) {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"ok"));
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let table = table(2, &[stable(0, &[("one", instance.address)])]);
    running.gateway.apply(with(table, faults, FaultInjection::Allow)).unwrap();
    (running, instance)
}

fn ask(running: &Running, fields: &str) -> Message {
    running.client().ask(format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n")).unwrap()
}

#[test]
fn an_aborted_request_reaches_nobody_and_says_that_it_was_injected() {
    let (running, instance) = serving(&[fault(Injected::Abort(503))]);
    let got = ask(&running, "");
    assert_eq!((got.status(), got.header("lockstep-fault")), (503, Some("abort")));
    assert!(got.text().contains("injected_fault") && got.text().contains("fault 3"), "{}", got.text());
    assert_eq!(instance.requests.load(Ordering::SeqCst), 0);
    assert_eq!(running.traffic(0).requests, 0, "no version is counted for it");
}

#[test]
fn a_fault_takes_those_with_its_header_and_is_over_at_its_end() {
    let header = Some(Pattern { name: "x-user".into(), value: "jason".into() });
    let (running, _instance) = serving(&[Fault { header, ..fault(Injected::Abort(429)) }]);
    assert_eq!(ask(&running, "X-User: jason\r\n").status(), 429);
    assert_eq!((ask(&running, "").status(), ask(&running, "x-user: eve\r\n").status()), (200, 200));
    let (running, _instance) = serving(&[Fault { until: Timestamp(now()), ..fault(Injected::Abort(429)) }]);
    assert_eq!(ask(&running, "").status(), 200);
}

#[test]
fn a_share_is_drawn_for_each_request() {
    let (running, _instance) = serving(&[Fault { share: 5_000, ..fault(Injected::Abort(500)) }]);
    let mut client = running.client();
    let mut aborted = 0;
    for _ in 0..400 {
        let got = client.ask("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        aborted += u32::from(got.status() == 500);
    }
    // The chance to be outside is less than one in ten million.
    assert!((140..=260).contains(&aborted), "{aborted}");
}

#[test]
fn a_delayed_request_is_answered_later_and_is_no_evidence_in_a_trial() {
    let (new, old) = (
        Instance::start(|_, stream| answer(stream, 500, b"no")),
        Instance::start(|_, stream| answer(stream, 200, b"ok")),
    );
    let arms = canary(9_999, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    let mut table = table(2, &arms);
    let watch = serde_json::json!({ "trial": "operation 1", "statuses": ["5xx"] });
    let watch: lockstep_domain::watch::Watch = serde_json::from_value(watch).unwrap();
    table.services.values_mut().for_each(|routes| routes.watch = Some(watch.clone()));
    let header = Some(Pattern { name: "x-slow".into(), value: "1".into() });
    let slow = Fault { header, ..fault(Injected::DelayMs(60)) };
    running.gateway.apply(with(table, &[slow], FaultInjection::Allow)).unwrap();
    let begun = Instant::now();
    let got = ask(&running, "x-slow: 1\r\n");
    assert_eq!((got.status(), got.header("lockstep-fault")), (500, Some("delay")));
    assert!(begun.elapsed() >= Duration::from_millis(60));
    let counted = || {
        let watched = running.gateway.receipt(&environment()).watched;
        watched.iter().flat_map(|it| &it.arms).map(|(_, counts)| counts.total.requests).sum::<u64>()
    };
    assert_eq!(counted(), 0);
    assert_eq!(ask(&running, "").header("lockstep-fault"), None);
    wait_until("a request of somebody else is counted", || counted() == 1);
}

#[test]
fn a_table_with_faults_that_are_not_allowed_is_refused() {
    let (running, instance) = serving(&[]);
    let arms = [stable(0, &[("one", instance.address)])];
    let refused = with(table(3, &arms), &[fault(Injected::Abort(503))], FaultInjection::Refuse);
    assert_eq!(refused.format, FORMAT_WITH_FAULTS);
    match running.gateway.apply(refused) {
        Err(ApplyError::Invalid { problems, .. }) => {
            assert!(problems[0].contains("does not allow"), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(with(table(3, &arms), &[], FaultInjection::Refuse).format < FORMAT_WITH_FAULTS);
}

/// What is counted of requests, without those that met a fault.
fn counted(metrics: &str, family: &str) -> Vec<String> {
    let is_it = |line: &&str| {
        line.starts_with(family) && !line.ends_with(" 0") && !line.contains("service_name=\"\"")
    };
    metrics.lines().filter(is_it).map(str::to_owned).collect()
}

#[test]
fn what_met_a_fault_is_counted_apart_and_named_among_the_last_requests() {
    for (does, class, said) in [
        (Injected::DelayMs(20), "delay\",class=\"2xx", "delayed on purpose by 20 ms by fault 3"),
        (Injected::Abort(503), "abort\",class=\"5xx", "aborted on purpose with 503 by fault 3"),
    ] {
        let instance = Instance::named("one");
        let arms = [stable(0, &[("one", instance.address)])];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let to = AccessLogTarget::File(path.clone());
        let access_log = Some(AccessLogConfig::new(to));
        let running =
            Running::of(GatewayConfig { recent: 10, access_log, ..GatewayConfig::new("test") }, &arms);
        running.gateway.apply(with(table(2, &arms), &[fault(does)], FaultInjection::Allow)).unwrap();
        ask(&running, "");
        let admin = running.gateway.admin();
        let name = "lockstep_gateway_faulted_requests_total";
        wait_until("it is counted", || {
            admin.metrics().lines().any(|line| line.starts_with(name) && line.contains(class))
        });
        let metrics = admin.metrics();
        for family in [
            "lockstep_gateway_requests_total",
            "lockstep_gateway_request_duration_seconds_count",
            "lockstep_gateway_route_requests_total",
        ] {
            assert_eq!(counted(&metrics, family), Vec::<String>::new(), "{family}");
        }
        let traffic = admin.traffic().environments["production"].clone();
        let faulted: u64 = traffic.versions.values().chain([&traffic.own]).map(|it| it.faulted).sum();
        let requests: u64 = traffic.versions.values().chain([&traffic.own]).map(|it| it.requests).sum();
        assert_eq!((faulted, requests), (1, 0));
        let ended = admin.recent(1, None).requests[0].ended.clone().unwrap();
        assert_eq!(ended.fault.as_deref(), Some(said));
        wait_until("it is logged", || std::fs::read_to_string(&path).unwrap().contains("\"fault\":3"));
        ask(&running, "");
    }
}

#[test]
fn a_delayed_request_that_is_the_trial_of_a_version_says_how_it_went() {
    let sick = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&sick);
    let instance = Instance::start(move |_, stream| {
        answer(stream, if failing.load(Ordering::SeqCst) { 500 } else { 200 }, b"")
    });
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let header = Some(Pattern { name: "x-slow".into(), value: "1".into() });
    let slow = Fault { header, ..fault(Injected::DelayMs(1)) };
    let mut table = with(table(2, &arms), &[slow], FaultInjection::Allow);
    let policy = serde_json::json!({ "breaker": { "requests": 5, "consecutive": 0, "open_ms": 100, "longest_ms": 100, "trials": 1 } });
    for split in table.services.values_mut().flat_map(|routes| &mut routes.splits) {
        split.policy = Some(serde_json::from_value(policy.clone()).unwrap());
    }
    running.gateway.apply(table).unwrap();
    (0..5).for_each(|_| assert_eq!(ask(&running, "").status(), 500));
    assert!(ask(&running, "").text().contains("breaker_open"));
    sick.store(false, Ordering::SeqCst);
    wait_until("it is tried again", || ask(&running, "x-slow: 1\r\n").status() == 200);
    // A trial that was never told of would be given up after half a minute.
    assert_eq!(ask(&running, "").status(), 200);
}

#[test]
fn what_met_a_fault_was_chosen_as_any_other_request() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"ok"));
    let running = Running::of(GatewayConfig { recent: 10, ..GatewayConfig::new("test") }, &[]);
    let header = Some(Pattern { name: "x-user".into(), value: "jason".into() });
    let faults = [Fault { header, ..fault(Injected::DelayMs(1)) }];
    let table = table(2, &[stable(0, &[("one", instance.address)])]);
    running.gateway.apply(with(table, &faults, FaultInjection::Allow)).unwrap();
    for (fields, chosen) in [("", "chance"), ("x-lockstep-key: k\r\n", "key")] {
        ask(&running, &format!("x-user: jason\r\n{fields}"));
        let last = || running.gateway.admin().recent(1, None).requests.pop();
        wait_until("it is over", || last().is_some_and(|it| it.ended.is_some()));
        let last = last().unwrap();
        assert_eq!(last.chosen_by.as_deref(), Some(chosen));
        assert_eq!(last.ended.unwrap().fault.as_deref(), Some("delayed on purpose by 1 ms by fault 3"));
    }
}

#[test]
fn an_abort_that_all_meet_is_told_before_it_happens() {
    let table = table(2, &[stable(0, &[("one", "127.0.0.1:1".parse().unwrap())])]);
    let some = Fault { number: 2, share: 1_000, ..fault(Injected::DelayMs(1)) };
    let table = with(table, &[some, fault(Injected::Abort(503))], FaultInjection::Allow);
    let question = Question::new("GET", "http://shop.test/", &[], [192, 0, 2, 1].into()).unwrap();
    let explained = explain(table, &question).unwrap();
    let faults = explained.steps.iter().filter(|step| step.about == "fault").map(|step| step.says.as_str());
    let expected = [
        "10 % of such requests are delayed on purpose by 1 ms by fault 2, the others are not",
        "each other such request is aborted on purpose with 503 by fault 3",
    ];
    assert_eq!(faults.collect::<Vec<_>>(), expected);
    assert!(matches!(explained.outcome, Outcome::Answered { status: 503, code: "injected_fault", .. }));
}
