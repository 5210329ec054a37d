//! How long an instance may say nothing: by route, by environment, and for streams.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::{Patience, RouteTable};
use lockstep_gateway::{Applied, Timeouts};

use crate::support::{Instance, Running, Then, answer, raw, stable, table};

const SHORT: Duration = Duration::from_millis(150);

/// Answers `/late` after a while, `/events` and `/plain` with a pause in the middle, and `/never` never.
fn hesitant() -> Instance {
    Instance::start(|request, stream| {
        let begins = |kind: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 10\r\n\r\nfirst")
        };
        match request.target() {
            "/never" => {
                let _ = stream.read(&mut [0]);
                return Ok(Then::Close);
            }
            "/late" => thread::sleep(SHORT * 3),
            "/events" => {
                raw(stream, begins("Text/Event-Stream; charset=utf-8").as_bytes())?;
                thread::sleep(SHORT * 3);
                return raw(stream, b"later");
            }
            "/web" => {
                raw(stream, begins("application/grpc-web-text+proto").as_bytes())?;
                thread::sleep(SHORT * 3);
                return raw(stream, b"later");
            }
            "/plain" => {
                raw(stream, begins("text/plain").as_bytes())?;
                thread::sleep(SHORT * 3);
                return raw(stream, b"later");
            }
            _ => {}
        }
        answer(stream, 200, b"said")
    })
}

fn start(
    instance: &Instance,
    timeouts: Timeouts,
    rules: GatewayRules,
    patience: Option<Patience>,
) -> Running {
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::with(timeouts, &arms);
    let mut table = RouteTable { rules: Some(rules), ..table(2, &arms) };
    table.routes[0].rule.patience = patience;
    assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
    running
}

fn limited() -> GatewayRules {
    GatewayRules { timeout_ms: Some(SHORT.as_millis() as u64), ..GatewayRules::default() }
}

#[test]
fn a_route_and_an_environment_limit_how_long_an_instance_is_silent() {
    let instance = hesitant();
    let by_route = Some(Patience::LimitMs(SHORT.as_millis() as u64));
    for (rules, patience) in [(limited(), None), (GatewayRules::default(), by_route)] {
        let running = start(&instance, Timeouts::default(), rules, patience);
        let begun = Instant::now();
        assert_eq!(running.client().get("/never", "k").unwrap().status(), 504);
        assert!(begun.elapsed() < Duration::from_secs(15), "it was waited for as long as ever");
        assert!(running.client().get("/plain", "k").is_err(), "an answer that stands still is broken off");
    }
}

#[test]
fn a_route_may_be_more_patient_than_its_environment() {
    let instance = hesitant();
    let running = start(&instance, Timeouts::default(), limited(), Some(Patience::LimitMs(20_000)));
    assert_eq!(running.client().get("/late", "k").unwrap().text(), "said");
    assert_eq!(running.client().get("/plain", "k").unwrap().text(), "firstlater");
}

#[test]
fn streams_live_as_long_as_their_clients() {
    let instance = hesitant();
    let events = start(&instance, Timeouts::default(), limited(), None);
    assert_eq!(
        events.client().get("/events", "k").unwrap().text(),
        "firstlater",
        "events are known by their type"
    );
    assert_eq!(
        events.client().get("/web", "k").unwrap().text(),
        "firstlater",
        "and so are calls of gRPC-Web"
    );
    let strict = Timeouts { answer: SHORT, stall: SHORT, ..Timeouts::default() };
    let stream = start(&instance, strict, limited(), Some(Patience::Stream));
    for (path, text) in [("/late", "said"), ("/plain", "firstlater")] {
        assert_eq!(stream.client().get(path, "k").unwrap().text(), text);
    }
}
