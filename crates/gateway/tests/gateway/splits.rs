//! Who is served by which version, and what the services and clients get to see of it.

use std::collections::BTreeMap;

use lockstep_gateway::{Applied, ApplyError};

use crate::support::{
    ArmSpec, Instance, Running, TOKEN, answer, as_instance, canary, environment, stable, table,
};

fn versions(running: &Running, keys: std::ops::Range<u32>) -> BTreeMap<u32, String> {
    let mut client = running.client();
    keys.map(|key| (key, client.get("/", &key.to_string()).unwrap().version().to_owned())).collect()
}

#[test]
fn growing_the_candidate_from_5_to_10_percent_moves_only_the_added_clients() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let at = |weight| canary(weight, ("new", new.address), ("old", old.address));
    let running = Running::start(&at(500));
    let before = versions(&running, 0..4_000);
    running.apply(2, &at(1_000));
    let after = versions(&running, 0..4_000);
    let on_trial = |map: &BTreeMap<u32, String>| map.values().filter(|it| *it == "1.1.0").count();
    assert!((140..260).contains(&on_trial(&before)), "{}", on_trial(&before));
    assert!((320..480).contains(&on_trial(&after)), "{}", on_trial(&after));
    let went_back = before.iter().filter(|(key, it)| *it == "1.1.0" && after[key] != "1.1.0").count();
    assert_eq!(went_back, 0);
}

#[test]
fn a_key_means_the_same_in_baggage_cookie_header_and_trace_id() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let running = Running::start(&canary(5_000, ("new", new.address), ("old", old.address)));
    let mut client = running.client();
    for n in 0..40_u32 {
        let id = format!("{:032x}", n + 1);
        let mut ask = |field: String| {
            let request = format!("GET {} HTTP/1.1\r\nhost: shop.test\r\n{field}\r\n\r\n", as_instance("/"));
            client.ask(request).unwrap().version().to_owned()
        };
        let by_trace = ask(format!("traceparent: 00-{id}-00000000000000ff-01"));
        assert_eq!(by_trace, ask(format!("baggage: a=1,lockstep.key={id}")));
        assert_eq!(by_trace, ask(format!("cookie: a=1; lockstep_key={id}")));
        assert_eq!(
            by_trace,
            ask(format!("x-lockstep-key: {id}\r\ntraceparent: 00-{}-00000000000000ff-01", "e".repeat(32)))
        );
    }
}

#[test]
fn an_instance_gets_the_key_a_trace_and_where_the_request_came_from() {
    let echo = Instance::start(|request, stream| {
        let text: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        answer(stream, 200, text.as_bytes())
    });
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    let text = client
        .ask(
            "GET /a HTTP/1.1\r\nHost: shop.test:80\r\nbaggage: a=1;p=2\r\ncookie: lockstep_key=ann%b\r\n\
              via: 1.1 cdn\r\ntracestate: x=1\r\n\r\n",
        )
        .unwrap()
        .text();
    for line in [
        "host: shop.test:80",
        "baggage: lockstep.key=ann%25b,a=1;p=2",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.test:80",
        "x-real-ip: 127.0.0.1",
        "via: 1.1 cdn, 1.1 lockstep",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("traceparent: 00-"), "{text}");
    assert!(text.lines().any(|it| it == "tracestate: lockstep=ann%25b"), "{text}");
    assert!(!text.contains("x=1"), "a tracestate without its traceparent was passed on\n{text}");
}

#[test]
fn a_request_without_a_key_gets_one_that_the_next_hop_follows() {
    let (old, new) = (Instance::start(echo_baggage), Instance::start(echo_baggage));
    let running = Running::start(&canary(5_000, ("new", new.address), ("old", old.address)));
    let mut client = running.client();
    let mut seen = BTreeMap::new();
    for _ in 0..60 {
        let first = client.ask("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        let baggage = first.text();
        let hop =
            format!("GET {} HTTP/1.1\r\nhost: shop.test\r\nbaggage: {baggage}\r\n\r\n", as_instance("/"));
        let second = client.ask(hop).unwrap();
        assert_eq!(first.version(), second.version());
        *seen.entry(first.version().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "both versions are met: {seen:?}");
}

fn echo_baggage(
    request: &crate::support::Message,
    stream: &mut std::io::BufReader<std::net::TcpStream>,
) -> std::io::Result<crate::support::Then> {
    answer(stream, 200, request.header("baggage").unwrap_or_default().as_bytes())
}

#[test]
fn a_service_path_is_taken_off_and_an_unknown_host_gets_a_hint() {
    let echo = Instance::start(|request, stream| answer(stream, 200, request.target().as_bytes()));
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    let mut target = |path: &str| client.ask(format!("GET {path} HTTP/1.1\r\nhost: any\r\n\r\n")).unwrap();
    assert_eq!(target(&as_instance("/@shop/cart?id=1")).text(), "/cart?id=1");
    assert_eq!(target(&as_instance("/@shop")).text(), "/");
    assert_eq!(target(&as_instance("/@shop?x=1")).text(), "/?x=1");
    let missing = target(&as_instance("/cart"));
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
    assert!(missing.text().contains("no_route") && missing.text().contains("hint"), "{}", missing.text());
    assert!(!missing.text().contains(TOKEN), "the token is repeated: {}", missing.text());
}

#[test]
fn requests_go_to_the_less_busy_instances_and_are_counted_once() {
    // Slow enough that the noise of a busy machine does not matter.
    let start = |_| {
        Instance::start(|_, stream| {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            answer(stream, 200, b"one")
        })
    };
    let instances: Vec<Instance> = (0..3).map(start).collect();
    let ids = ["a", "b", "c"];
    let arms: Vec<_> = ids.iter().zip(&instances).map(|(id, it)| (*id, it.address)).collect();
    let running = Running::start(&[stable(0, &arms)]);
    let sent = std::sync::atomic::AtomicU64::new(0);
    let done = || instances.iter().all(|it| it.served() > 20);
    let client = || {
        let mut client = running.client();
        crate::support::wait_until("each instance got its part", || {
            assert_eq!(client.get("/", "k").unwrap().status(), 200);
            sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            done()
        });
    };
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(client))));
    let served: Vec<usize> = instances.iter().map(Instance::served).collect();
    let sent = sent.into_inner();
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (sent, 0), "{served:?}");
    let connections = |it: &Instance| it.connections.load(std::sync::atomic::Ordering::SeqCst);
    assert!(instances.iter().all(|it| connections(it) <= 6), "connections are used again");
}

#[test]
fn tables_that_are_newer_in_format_or_contradict_themselves_are_refused() {
    let old = Instance::named("old");
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let mut newer = table(2, &[]);
    newer.format += 1;
    assert!(matches!(running.gateway.apply(newer), Err(ApplyError::NewerFormat { .. })));
    let half = ArmSpec { weight: 5_000, ..stable(0, &[]) };
    let Err(ApplyError::Invalid { problems, .. }) = running.gateway.apply(table(2, &[half])) else {
        panic!("weights that add up to half were accepted");
    };
    assert_eq!(problems, ["weights of `shop` add up to 5000 instead of 10000"]);
    let same = running.gateway.apply(table(1, &[])).unwrap();
    assert_eq!(same, Applied::NotNewer { serving: table(1, &[]).edition() });
    assert_eq!(running.gateway.receipt(&environment()).revision, 1);
    assert_eq!(running.client().get("/", "k").unwrap().status(), 200);
}
