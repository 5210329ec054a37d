//! What a route asks for so that a request does not wait for too long.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use lockstep_domain::routes::{Patience, RouteTable};
use lockstep_gateway::{Applied, Timeouts};
use serde_json::{Value, json};

use crate::support::{
    ArmSpec, Client, Instance, Message, PATIENCE, Running, Then, answer, raw, stable, table, wait_until,
};

/// Longer than any test waits: what ends before was ended by the route.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A gateway that itself waits for ever.
pub(crate) fn patient() -> Timeouts {
    Timeouts { connect: FOR_EVER, answer: FOR_EVER, stall: FOR_EVER, ..Timeouts::default() }
}

pub(crate) fn asking(mut table: RouteTable, policy: &Value) -> RouteTable {
    table.routes[0].rule.policy = Some(serde_json::from_value(policy.clone()).unwrap());
    table
}

pub(crate) fn open(arms: &[ArmSpec<'_>], policy: &Value) -> Running {
    let running = Running::with(patient(), arms);
    assert_eq!(running.gateway.apply(asking(table(2, arms), policy)).unwrap(), Applied::Now);
    running
}

pub(crate) fn code(message: &Message) -> String {
    let document: Value = serde_json::from_slice(&message.body).unwrap();
    document["code"].as_str().unwrap().to_owned()
}

/// Waits until the gateway goes away: it says nothing more.
fn wait_for_the_end(stream: &mut impl Read) -> std::io::Result<Then> {
    let _ = stream.read(&mut [0]);
    Ok(Then::Close)
}

/// Says nothing to `/never`, half of an answer to `/half` and `/events`, and the rest of the latter when `/on` was asked for.
fn hesitant() -> Instance {
    let (go_on, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    Instance::start(move |request, stream| {
        let begins = |kind: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 10\r\n\r\nfirst")
        };
        match request.target() {
            "/never" => wait_for_the_end(stream),
            "/half" => {
                raw(stream, begins("text/plain").as_bytes())?;
                wait_for_the_end(stream)
            }
            "/events" => {
                raw(stream, begins("text/event-stream").as_bytes())?;
                wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                raw(stream, b"later")
            }
            "/on" => {
                go_on.send(()).unwrap();
                answer(stream, 200, b"on")
            }
            _ => answer(stream, 200, b"said"),
        }
    })
}

#[test]
fn a_route_limits_how_long_an_instance_may_think_and_pause() {
    let instance = hesitant();
    let timeouts = json!({ "timeouts": { "head_ms": 100, "idle_ms": 100 } });
    let running = open(&[stable(0, &[("one", instance.address)])], &timeouts);
    let late = running.client().get("/never", "k").unwrap();
    assert_eq!((late.status(), code(&late).as_str()), (504, "no_answer"));
    assert!(running.client().get("/half", "k").is_err(), "an answer that stands still is broken off");
    assert_eq!(running.client().get("/", "k").unwrap().text(), "said");
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (3, 2));
}

#[test]
fn a_route_limits_the_whole_of_a_request_and_no_stream() {
    let instance = hesitant();
    let running =
        open(&[stable(0, &[("one", instance.address)])], &json!({ "timeouts": { "request_ms": 150 } }));
    let late = running.client().get("/never", "k").unwrap();
    assert_eq!((late.status(), code(&late).as_str()), (504, "request_timeout"));
    assert_eq!(late.version(), "1.0.0");
    let mut half = running.client();
    half.send("GET /half HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert!(half.rest().ends_with(b"first"), "what had come is passed on, and then nothing");
    let mut events = running.client();
    events.send("GET /events HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    // Its time is over when the time of a request is over that came after it.
    assert_eq!(running.client().get("/never", "k").unwrap().status(), 504);
    assert_eq!(running.client().get("/on", "k").unwrap().status(), 200);
    assert_eq!(events.read().unwrap().text(), "firstlater");
    wait_until("nothing is under way", || running.in_flight() == 0);
    assert_eq!(
        (running.traffic(0).requests, running.traffic(0).failures),
        (5, 2),
        "who takes slowly fails no arm"
    );
}

#[test]
fn who_sends_slowly_is_told_so_and_fails_no_version() {
    let instance = hesitant();
    let running =
        open(&[stable(0, &[("one", instance.address)])], &json!({ "timeouts": { "request_ms": 100 } }));
    let slow = "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 9\r\n\r\nhalf";
    let got = running.client().ask(slow).unwrap();
    assert_eq!((got.status(), code(&got).as_str()), (408, "request_timeout"));
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 0));
    wait_until("the instance is told", || running.in_flight() == 0);
}

/// An address that takes no further connection and refuses none, while what comes with it lives.
fn full() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let open = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let taken = std::iter::from_fn(open).collect();
    (address, listener, taken)
}

#[test]
fn a_route_limits_how_long_a_connection_may_take_and_others_are_asked() {
    let (address, _listener, _taken) = full();
    let timeouts = json!({ "timeouts": { "connect_ms": 100 } });
    let alone = open(&[stable(0, &[("full", address)])], &timeouts);
    let got = alone.client().get("/", "k").unwrap();
    assert_eq!((got.status(), code(&got).as_str()), (503, "unreachable"));
    let good = Instance::named("good");
    let both = open(&[stable(0, &[("full", address), ("good", good.address)])], &timeouts);
    for _ in 0..4 {
        assert_eq!(both.client().get("/", "k").unwrap().text(), "good");
    }
}

#[test]
fn what_a_route_cannot_ask_for_keeps_the_table_out() {
    let running = Running::start(&[]);
    let mut wrong = asking(table(2, &[]), &json!({ "timeouts": { "head_ms": 5, "request_ms": 4 } }));
    wrong.routes[0].rule.patience = Some(Patience::LimitMs(9));
    let error = running.gateway.apply(wrong).unwrap_err().to_string();
    for part in ["longer than `timeouts.request`", "`timeout` says `timeouts.head` already"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_client_on_its_kept_connection_is_served_after_a_time_was_over() {
    let instance = hesitant();
    let arms = [stable(0, &[("one", instance.address)])];
    let running = open(&arms, &json!({ "timeouts": { "request_ms": 100 } }));
    let mut client: Client = running.client();
    for _ in 0..3 {
        assert_eq!(client.get("/never", "k").unwrap().status(), 504);
        assert_eq!(client.get("/", "k").unwrap().text(), "said");
    }
}
