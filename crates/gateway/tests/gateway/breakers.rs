//! Versions that are left alone when they fail: when, what stands in for them, how they are tried again, and where it is said.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use lockstep_domain::breaker::Phase;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::routes::SplitRole;
use lockstep_domain::routes::service_policy::{Fallback, FallbackArm};
use lockstep_domain::{ConfigRevision, VersionNumber};
use lockstep_gateway::Applied;
use serde_json::{Value, json};

use crate::policies::code;
use crate::seeing::Asked;
use crate::support::{
    ArmSpec, Instance, PATIENCE, Running, answer, canary, environment, raw, stable, table, wait_until,
};

/// Opens with the fifth failure of five requests, and stays open for an hour.
fn for_an_hour() -> Value {
    json!({ "breaker": { "requests": 5, "consecutive": 0, "open_ms": 3_600_000, "longest_ms": 3_600_000 } })
}

/// Opens as soon, and is tried again at once.
fn for_a_moment(trials: u32) -> Value {
    json!({ "breaker": { "requests": 5, "consecutive": 0, "open_ms": 100, "longest_ms": 100, "trials": trials } })
}

fn before(minor: u64, instances: &[(&'static str, std::net::SocketAddr)]) -> ArmSpec<'static> {
    ArmSpec { weight: 0, role: SplitRole::Pinned, ..stable(minor, instances) }
}

/// The arms with a policy for all but the last of them that is stable, and 1.0.0 in its place where it has a split.
fn guarded(revision: u64, arms: &[ArmSpec<'_>], policy: &Value) -> RouteTable {
    let mut table = table(revision, arms);
    for service in table.services.values_mut() {
        for split in &mut service.splits {
            split.policy = Some(serde_json::from_value(policy.clone()).unwrap());
        }
        let (version, config) = (VersionNumber::new(1, 0, 0), ConfigRevision(0));
        let is_before = service.splits.iter().any(|it| it.role == SplitRole::Pinned && it.version == version);
        service.fallback = is_before.then_some(Fallback::To(FallbackArm { version, config }));
    }
    table
}

fn start(arms: &[ArmSpec<'_>], policy: &Value) -> Running {
    let running = Running::start(arms);
    assert_eq!(running.gateway.apply(guarded(2, arms, policy)).unwrap(), Applied::Now);
    running
}

/// An instance that fails for as long as it is sick.
fn patient(sick: &Arc<AtomicBool>) -> Instance {
    let sick = Arc::clone(sick);
    Instance::start(move |_, stream| match sick.load(Ordering::SeqCst) {
        true => answer(stream, 500, b"sick"),
        false => answer(stream, 200, b"new"),
    })
}

fn sick() -> Instance {
    patient(&Arc::new(AtomicBool::new(true)))
}

const POST: &str = "POST /a HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\ncontent-length: 2\r\n\r\nhi";

#[test]
fn the_version_before_gets_nothing_until_the_rule_opens_and_then_everything() {
    let (new, old) = (sick(), Instance::named("old"));
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_an_hour());
    let mut client = running.client();
    for _ in 0..5 {
        let failed = client.ask(POST).unwrap();
        assert_eq!(
            (failed.status(), failed.version(), failed.header("lockstep-degraded")),
            (500, "1.1.0", None)
        );
    }
    assert_eq!(old.served(), 0);
    for n in 1..=20 {
        let degraded = client.ask(POST).unwrap();
        assert_eq!((degraded.status(), degraded.version()), (200, "1.0.0"));
        assert_eq!(degraded.header("lockstep-degraded"), Some("shop@1.1.0"));
        assert_eq!((old.served(), new.served()), (n, 5));
    }
    let (failed, stood_in) = (running.traffic(1), running.traffic(0));
    assert_eq!((failed.requests, failed.failures), (25, 25), "they count against the version that failed");
    assert_eq!((stood_in.requests, stood_in.failures), (20, 0));
    let left_alone = running.gateway.receipt(&environment()).left_alone;
    let [one] = left_alone.as_slice() else { panic!("{left_alone:?}") };
    assert_eq!((one.arm.version.minor(), one.phase, one.degraded), (1, Phase::Open, 20));
}

#[test]
fn a_version_that_fails_less_than_the_rule_says_keeps_its_requests() {
    let count = AtomicUsize::new(0);
    let new = Instance::start(move |_, stream| {
        let status = if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { 500 } else { 200 };
        answer(stream, status, b"new")
    });
    let old = Instance::named("old");
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_an_hour());
    let mut client = running.client();
    (0..200).for_each(|_| assert_eq!(client.ask(POST).unwrap().version(), "1.1.0"));
    assert_eq!(old.served(), 0);
}

#[test]
fn while_one_trial_is_under_way_all_others_are_degraded_and_enough_that_go_well_close_it() {
    let is_sick = Arc::new(AtomicBool::new(true));
    let (arrived, arrives) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let sick = Arc::clone(&is_sick);
    let new = Instance::start(move |request, stream| {
        if request.target() == "/wait" {
            arrived.send(()).unwrap();
            goes_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        answer(stream, if sick.load(Ordering::SeqCst) { 500 } else { 200 }, b"new")
    });
    let old = Instance::named("old");
    let arms = [before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])];
    let running = start(&arms, &for_a_moment(2));
    let mut client = running.client();
    (0..5).for_each(|_| assert_eq!(client.ask(POST).unwrap().status(), 500));
    is_sick.store(false, Ordering::SeqCst);
    let address = running.address;
    let (tried, trial) = mpsc::channel();
    std::thread::spawn(move || {
        let mut client = crate::support::Client::connect(address);
        loop {
            let answered = client.get("/wait", "k").unwrap();
            if answered.version() == "1.1.0" {
                tried.send(answered).unwrap();
                return;
            }
        }
    });
    arrives.recv_timeout(PATIENCE).unwrap();
    for _ in 0..50 {
        assert_eq!(client.ask(POST).unwrap().version(), "1.0.0", "one trial is under way");
    }
    go_on.send(()).unwrap();
    let well = trial.recv_timeout(PATIENCE).unwrap();
    assert_eq!((well.status(), well.header("lockstep-degraded")), (200, None));
    assert_eq!(client.ask(POST).unwrap().version(), "1.1.0", "the second trial");
    let before = old.served();
    (0..50).for_each(|_| assert_eq!(client.ask(POST).unwrap().version(), "1.1.0"));
    assert_eq!(old.served(), before, "it is closed, and the version before gets nothing");
    assert_eq!(running.gateway.receipt(&environment()).left_alone, []);
}

#[test]
fn a_trial_that_fails_opens_it_again() {
    let (new, old) = (sick(), Instance::named("old"));
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_a_moment(1));
    let mut client = running.client();
    (0..5).for_each(|_| assert_eq!(client.ask(POST).unwrap().status(), 500));
    wait_until("it was tried three times", || {
        let answered = client.ask(POST).unwrap();
        assert!(matches!((answered.status(), answered.version()), (200, "1.0.0") | (500, "1.1.0")));
        new.served() == 8
    });
    assert_eq!(client.ask(POST).unwrap().version(), "1.0.0");
}

#[test]
fn where_nobody_stands_in_the_route_answers_or_the_gateway_says_when_to_come_again() {
    let new = sick();
    let arms = [stable(1, &[("new", new.address)])];
    let running = start(&arms, &for_an_hour());
    let mut client = running.client();
    (0..5).for_each(|_| assert_eq!(client.ask(POST).unwrap().status(), 500));
    let refused = client.ask(POST).unwrap();
    assert_eq!((refused.status(), code(&refused).as_str()), (503, "breaker_open"));
    assert_eq!(refused.header("lockstep-degraded"), Some("shop@1.1.0"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    let mut with_answer = guarded(3, &arms, &for_an_hour());
    let fallback = json!({ "fallback": { "status": 200, "body": "[]", "content_type": "application/json" } });
    with_answer.routes[0].rule.policy = Some(serde_json::from_value(fallback).unwrap());
    running.gateway.apply(with_answer).unwrap();
    let answered = running.client().ask(POST).unwrap();
    assert_eq!((answered.status(), answered.text().as_str()), (200, "[]"));
    assert_eq!(answered.header("content-type"), Some("application/json"));
    assert_eq!(
        (answered.header("lockstep-degraded"), answered.header("retry-after")),
        (Some("shop@1.1.0"), None)
    );
    assert_eq!(new.served(), 5, "a new table with the same rule opens nothing");
    assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (7, 7));
}

#[test]
fn a_version_of_which_no_instance_takes_connections_is_left_alone_too() {
    let (new, old) = (Instance::named("new"), Instance::named("old"));
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_an_hour());
    let mut client = running.client();
    new.kill();
    for _ in 0..5 {
        assert_eq!(client.ask(POST).unwrap().status(), 503);
    }
    assert_eq!(client.ask(POST).unwrap().version(), "1.0.0");
}

#[test]
fn what_stands_in_fails_like_any_other_and_a_dead_one_is_none() {
    let (new, old) = (sick(), sick());
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_an_hour());
    let mut client = running.client();
    (0..10).for_each(|_| assert_eq!(client.ask(POST).unwrap().status(), 500));
    assert_eq!((new.served(), old.served()), (5, 5));
    assert_eq!(code(&client.ask(POST).unwrap()), "breaker_open", "both are left alone");
    let (new, old) = (sick(), Instance::named("old"));
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_an_hour());
    old.kill();
    let mut client = running.client();
    (0..5).for_each(|_| assert_eq!(client.ask(POST).unwrap().status(), 500));
    // The first one finds out, and goes to nobody else; those after it are told at once.
    assert_eq!(code(&client.ask(POST).unwrap()), "unreachable");
    assert_eq!(code(&client.ask(POST).unwrap()), "breaker_open");
    assert_eq!(new.served(), 5);
}

#[test]
fn a_version_on_trial_is_degraded_to_the_stable_one_and_judged_all_the_same() {
    let (new, old) = (sick(), Instance::named("old"));
    let running = start(&canary(9_999, ("new", new.address), ("old", old.address)), &for_an_hour());
    let mut client = running.client();
    (0..5).for_each(|_| assert_eq!(client.ask(POST).unwrap().status(), 500));
    for _ in 0..20 {
        let degraded = client.ask(POST).unwrap();
        assert_eq!((degraded.status(), degraded.version()), (200, "1.0.0"));
        assert_eq!(degraded.header("lockstep-degraded"), Some("shop@1.1.0"));
    }
    assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (25, 25));
    assert_eq!(new.served(), 5);
}

#[test]
fn no_more_are_degraded_at_once_than_it_says() {
    let (arrived, arrives) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let old = Instance::start(move |_, stream| {
        arrived.send(()).unwrap();
        goes_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        answer(stream, 200, b"old")
    });
    let new = sick();
    let mut policy = for_an_hour();
    policy["degrade"] = json!({ "requests": 1 });
    let running = start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &policy);
    let (mut one, mut other) = (running.client(), running.client());
    (0..5).for_each(|_| assert_eq!(one.ask(POST).unwrap().status(), 500));
    one.send(POST).unwrap();
    arrives.recv_timeout(PATIENCE).unwrap();
    assert_eq!(code(&other.ask(POST).unwrap()), "breaker_open");
    go_on.send(()).unwrap();
    assert_eq!(one.read().unwrap().version(), "1.0.0");
    go_on.send(()).unwrap();
    // Its answer is there before its place is free.
    wait_until("there is room again", || running.client().ask(POST).unwrap().version() == "1.0.0");
}

#[test]
fn a_client_that_leaves_early_says_nothing_of_the_version() {
    let new = Instance::start(|request, stream| match request.target() {
        "/hang" => std::io::Read::read(stream, &mut [0]).map(|_| crate::support::Then::Close),
        _ => answer(stream, 200, b"new"),
    });
    let running = start(&[stable(1, &[("new", new.address)])], &for_an_hour());
    for n in 1..=20 {
        let mut client = running.client();
        client.send("GET /hang HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n").unwrap();
        wait_until("it is under way", || new.served() == n);
        socket2::SockRef::from(client.socket()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        wait_until("the gateway has seen it", || running.in_flight() == 0);
    }
    assert_eq!(running.client().get("/", "k").unwrap().status(), 200);
}

#[test]
fn a_stream_that_breaks_off_is_a_failure_of_its_version() {
    let new = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        Ok(crate::support::Then::Close)
    });
    let running = start(&[stable(1, &[("new", new.address)])], &for_an_hour());
    (0..5).for_each(|_| assert!(running.client().get("/", "k").is_err()));
    wait_until("the last one is counted", || running.in_flight() == 0);
    assert_eq!(code(&running.client().get("/", "k").unwrap()), "breaker_open");
}

#[test]
fn it_is_said_in_metrics_and_by_top() {
    let (new, old) = (sick(), Instance::named("old"));
    let running =
        start(&[before(0, &[("old", old.address)]), stable(1, &[("new", new.address)])], &for_an_hour());
    let asked = Asked::serve(running.gateway.admin());
    let mut client = running.client();
    (0..7).for_each(|_| drop(client.ask(POST).unwrap()));
    wait_until("all are counted", || {
        let text = asked.ask("/-/metrics").1;
        let labels = |version| {
            format!(
                "{{deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"{version}\",config=\"0\""
            )
        };
        let says = |name: &str, labels: String, value: u64| {
            text.lines().any(|line| line == format!("lockstep_gateway_{name}{labels}}} {value}"))
        };
        let everybody = |version, more: &str| format!("{},caller=\"\"{more}", labels(version));
        says("degraded_total", labels("1.0.0"), 2)
            && says("degraded_total", labels("1.1.0"), 0)
            && says("breaker_state", everybody("1.1.0", ""), 2)
            && says("breaker_state", everybody("1.0.0", ""), 0)
            && says("breaker_opened_total", everybody("1.1.0", ""), 1)
            && says("breaker_requests_total", everybody("1.1.0", ",instead=\"degraded\""), 2)
    });
    let traffic: lockstep_gateway::traffic::Traffic =
        serde_json::from_str(&asked.ask("/-/traffic").1).unwrap();
    let versions = &traffic.environments["production"].versions;
    assert_eq!(versions["shop@1.1.0"].breaker.as_deref(), Some("open"));
    assert_eq!(versions["shop@1.0.0"].degraded, 2);
}
