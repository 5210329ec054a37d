//! A limit of requests that adapts: what is over it is refused at once, by nobody's fault, and holds nothing that does not wait for an answer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use lockstep_gateway::Applied;
use serde_json::{Value, json};

use crate::policies::code;
use crate::support::{
    ArmSpec, Client, Instance, Message, PATIENCE, Running, answer, canary, raw, stable, table, wait_until,
};

fn at_most(count: u32) -> Value {
    json!({ "adaptive_limit": { "least": count, "start": count, "most": count } })
}

fn start(arms: &[ArmSpec<'_>], policy: &Value) -> Running {
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
struct Held {
    instance: Instance,
    arrived: Receiver<()>,
    go: Sender<()>,
}

fn held() -> Held {
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

fn begin(running: &Running, held: &Held) -> Client {
    let mut client = running.client();
    client.send("GET /wait HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n").unwrap();
    held.arrived.recv_timeout(PATIENCE).unwrap();
    client
}

fn ask(running: &Running) -> Message {
    running.client().get("/", "k").unwrap()
}

fn metric(running: &Running, name: &str) -> Option<u64> {
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

#[test]
fn a_version_on_trial_that_is_full_fails_whom_it_refuses_and_nobody_else_is_asked() {
    let held = held();
    let old = Instance::named("old");
    let running = start(&canary(9_999, ("new", held.instance.address), ("old", old.address)), &at_most(1));
    let mut waiting = begin(&running, &held);
    for _ in 0..5 {
        assert_eq!((ask(&running).status(), old.served()), (503, 0));
    }
    held.go.send(()).unwrap();
    assert_eq!(waiting.read().unwrap().version(), "1.1.0");
    assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (6, 5));
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
