//! A limit of requests that adapts: what is over it is refused at once, by nobody's fault, and holds nothing that does not wait for an answer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use lockstep_gateway::recent::RecentList;
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, Applied, GatewayConfig};
use serde_json::{Value, json};

use crate::policies::code;
use crate::seeing::{Asked, lines};
use crate::support::{
    ArmSpec, Client, Instance, Message, PATIENCE, Running, answer, canary, raw, stable, table, wait_until,
};

fn at_most(count: u32) -> Value {
    json!({ "adaptive_limit": { "least": count, "start": count, "most": count } })
}

pub(crate) fn start(arms: &[ArmSpec<'_>], policy: &Value) -> Running {
    let running = Running::start(arms);
    apply(&running, 2, arms, policy);
    running
}

fn apply(running: &Running, revision: u64, arms: &[ArmSpec<'_>], policy: &Value) {
    let mut table = table(revision, arms);
    for split in table.services.values_mut().flat_map(|service| &mut service.splits) {
        split.policy = Some(serde_json::from_value(policy.clone()).unwrap());
    }
    assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
}

/// An instance that answers what it is asked for `/wait` once it is told to.
pub(crate) struct Held {
    pub(crate) instance: Instance,
    pub(crate) arrived: Receiver<()>,
    pub(crate) go: Sender<()>,
}

pub(crate) fn held() -> Held {
    let ((arrives, arrived), (go, wait)) = (channel(), channel());
    let (arrives, wait) = (Mutex::new(arrives), Arc::new(Mutex::new(wait)));
    let instance = Instance::start(move |request, stream| {
        if request.target() == "/wait" {
            arrives.lock().unwrap().send(()).unwrap();
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        answer(stream, 200, b"said")
    });
    Held { instance, arrived, go }
}

pub(crate) fn begin(running: &Running, held: &Held) -> Client {
    let mut client = running.client();
    client.send("GET /wait HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n").unwrap();
    held.arrived.recv_timeout(PATIENCE).unwrap();
    client
}

pub(crate) fn ask(running: &Running) -> Message {
    running.client().get("/", "k").unwrap()
}

pub(crate) fn metric(running: &Running, name: &str) -> Option<u64> {
    let text = running.gateway.admin().metrics();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn what_is_over_it_is_refused_at_once_and_opens_no_breaker() {
    let held = held();
    let arms = [stable(0, &[("one", held.instance.address)])];
    let breaker = json!({ "breaker": { "requests": 1, "consecutive": 0 } });
    let mut policy = at_most(2);
    policy.as_object_mut().unwrap().extend(breaker.as_object().unwrap().clone());
    let running = start(&arms, &policy);
    let mut waiting = [begin(&running, &held), begin(&running, &held)];
    for _ in 0..30 {
        let refused = ask(&running);
        assert_eq!((refused.status(), code(&refused).as_str()), (503, "overloaded"));
        assert_eq!((refused.header("retry-after"), refused.version()), (Some("1"), "1.0.0"));
    }
    assert_eq!((held.instance.served(), running.traffic(0).failures), (2, 30), "nobody else was asked");
    // The next table changes nothing of what waits.
    apply(&running, 3, &arms, &policy);
    assert_eq!(ask(&running).status(), 503);
    assert_eq!(metric(&running, "lockstep_gateway_shed_total"), Some(31));
    assert_eq!(metric(&running, "lockstep_gateway_waiting"), Some(2));
    (0..2).for_each(|_| held.go.send(()).unwrap());
    waiting.iter_mut().for_each(|client| assert_eq!(client.read().unwrap().status(), 200));
    assert_eq!(ask(&running).status(), 200);
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (34, 31));
    assert_eq!(metric(&running, "lockstep_gateway_waiting"), Some(0));
    assert_eq!(metric(&running, "lockstep_gateway_breaker_opened_total"), Some(0));
}

/// The two limits of a version, both of one request at once.
pub(crate) fn limits_of_one() -> [(Value, &'static str); 2] {
    [(at_most(1), "overloaded"), (json!({ "max_requests": 1 }), "busy")]
}

#[test]
fn a_version_on_trial_that_is_full_fails_whom_it_refuses_and_nobody_else_is_asked() {
    for (policy, why) in limits_of_one() {
        let held = held();
        let old = Instance::named("old");
        let running = start(&canary(9_999, ("new", held.instance.address), ("old", old.address)), &policy);
        let mut waiting = begin(&running, &held);
        for _ in 0..5 {
            let refused = ask(&running);
            assert_eq!((refused.status(), code(&refused).as_str(), old.served()), (503, why, 0));
            assert_eq!((refused.header("retry-after"), refused.version()), (Some("1"), "1.1.0"));
        }
        held.go.send(()).unwrap();
        assert_eq!(waiting.read().unwrap().version(), "1.1.0");
        assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (6, 5), "{why}");
    }
}

#[test]
fn whom_a_version_turns_away_is_logged_with_it() {
    for (policy, why) in limits_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let to = AccessLogTarget::File(path.clone());
        let access_log = Some(AccessLogConfig::new(to));
        let held = held();
        let arms = [stable(0, &[("one", held.instance.address)])];
        let config = GatewayConfig { access_log, recent: 10, ..GatewayConfig::new("test") };
        let running = Running::of(config, &arms);
        apply(&running, 2, &arms, &policy);
        let waiting = begin(&running, &held);
        assert_eq!(ask(&running).status(), 503);
        let lines = lines(&path, 1);
        assert_eq!(
            (&lines[0]["code"], &lines[0]["version"], &lines[0]["tries"]),
            (&json!(why), &json!("shop@1.0.0"), &json!(0))
        );
        let asked = Asked::serve(running.gateway.admin());
        let list: RecentList = serde_json::from_str(&asked.ask("/-/recent").1).unwrap();
        let refused = list.requests.iter().find(|it| it.path == "/").unwrap();
        assert_eq!((refused.service.as_deref(), refused.version.as_deref()), (Some("shop"), Some("1.0.0")));
        assert_eq!(refused.ended.as_ref().unwrap().code.as_deref(), Some(why));
        let metrics = running.gateway.admin().metrics();
        let counted = metrics.lines().find(|line| line.contains("requests_total") && line.contains("5xx"));
        assert!(
            counted.is_some_and(|line| line.contains("service_version=\"1.0.0\"") && line.ends_with(" 1")),
            "{metrics}"
        );
        held.go.send(()).unwrap();
        drop(waiting);
    }
}

#[test]
fn a_client_that_sends_slowly_or_takes_slowly_holds_no_place() {
    let instance = Instance::start(|request, stream| match request.target() {
        "/endless" => raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nbegins"),
        _ => answer(stream, 200, b"said"),
    });
    let running = start(&[stable(0, &[("one", instance.address)])], &at_most(1));
    let mut takes = running.client();
    takes.send("GET /endless HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n").unwrap();
    assert_eq!(crate::support::read_head(takes.reader()).unwrap().status(), 200);
    let mut sends = running.client();
    sends.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 99999\r\n\r\nbegins").unwrap();
    // It is at the instance, where it waits for the rest.
    wait_until("both are under way", || running.in_flight() == 2);
    assert_eq!(ask(&running).status(), 200);
    assert_eq!(metric(&running, "lockstep_gateway_waiting"), Some(0));
}

#[test]
fn what_a_client_sent_as_a_whole_waits_whenever_it_began() {
    let held = held();
    let running = start(&[stable(0, &[("one", held.instance.address)])], &at_most(1));
    let mut sends = running.client();
    let head = "POST /wait HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n";
    sends.send(head).unwrap();
    wait_until("it is under way", || running.in_flight() == 1);
    assert_eq!(ask(&running).status(), 200);
    sends.send("2\r\nhi\r\n0\r\n\r\n").unwrap();
    held.arrived.recv_timeout(PATIENCE).unwrap();
    wait_until("it waits", || metric(&running, "lockstep_gateway_waiting") == Some(1));
    assert_eq!(ask(&running).status(), 503);
    drop(sends);
    wait_until("it waits no more", || metric(&running, "lockstep_gateway_waiting") == Some(0));
    held.go.send(()).unwrap();
    assert_eq!(ask(&running).status(), 200);
}

#[test]
fn a_call_of_grpc_is_told_to_come_again() {
    let held = held();
    let running = start(&[stable(0, &[("one", held.instance.address)])], &at_most(1));
    let _waiting = begin(&running, &held);
    let call = "POST /shop.Orders/Get HTTP/1.1\r\nhost: shop.test\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: 0\r\n\r\n";
    let refused = running.client().ask(call).unwrap();
    assert_eq!((refused.status(), refused.header("grpc-status")), (200, Some("14")));
    assert_eq!(refused.header("grpc-retry-pushback-ms"), Some("1000"));
    held.go.send(()).unwrap();
}
