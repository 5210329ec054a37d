//! How much a route takes: of a body, at once, over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lockstep_gateway::Applied;
use serde_json::{Value, json};

use crate::policies::{asking, code, open};
use crate::support::{
    Client, Instance, Message, Running, Then, answer, as_instance, read_head, stable, table, wait_until,
};

const DAY_MS: u64 = 86_400_000;

pub(crate) fn limits(limits: &Value) -> Value {
    json!({ "limits": limits })
}

fn ask(running: &Running, asked: &str) -> Message {
    running.client().ask(asked).unwrap()
}

fn post(framing: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: shop.test\r\n{framing}\r\n\r\n{body}")
}

#[test]
fn a_body_that_is_longer_is_refused_before_an_instance_sees_what_is_too_much() {
    let instance = Instance::start(|request, stream| answer(stream, 200, &request.body));
    let arms = [stable(0, &[("one", instance.address)])];
    let running = open(&arms, &limits(&json!({ "body_bytes": 10 })));
    let chunked = |body| post("transfer-encoding: chunked", body);
    let fits = [
        post("content-length: 10", "0123456789"),
        chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"),
        post("content-length: 0", ""),
    ];
    for asked in &fits {
        assert_eq!(ask(&running, asked).status(), 200, "{asked}");
    }
    let longer = [
        post("content-length: 11", ""),
        post("content-length: 11\r\nexpect: 100-continue", ""),
        chunked("b\r\n"),
        chunked("5\r\n01234\r\n6\r\n"),
    ];
    for asked in &longer {
        let got = ask(&running, asked);
        assert_eq!((got.status(), code(&got).as_str()), (413, "body_too_large"), "{asked}");
    }
    assert_eq!(instance.served(), fits.len());
    assert_eq!(running.traffic(0).failures, 0, "no version is to blame");
}

#[test]
fn an_instance_gets_no_byte_beyond_the_limit() {
    let got: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&got);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let instance = thread::spawn(move || {
        let mut stream = std::io::BufReader::new(listener.accept().unwrap().0);
        read_head(&mut stream).unwrap();
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        counted.store(rest.iter().filter(|&&byte| byte == b'x').count(), Ordering::SeqCst);
    });
    let running = open(&[stable(0, &[("one", address)])], &limits(&json!({ "body_bytes": 100_000 })));
    let mut client: Client = running.client();
    client.send(post("transfer-encoding: chunked", "")).unwrap();
    let piece = format!("9c40\r\n{}\r\n", "x".repeat(40_000));
    for _ in 0..3 {
        client.send(&piece).unwrap();
    }
    assert_eq!(client.read().unwrap().status(), 413);
    instance.join().unwrap();
    // What was on its way to it may be cut off with the connection.
    assert!(got.load(Ordering::SeqCst) <= 80_000);
}

#[test]
fn a_route_takes_so_many_at_once_also_when_the_table_changes() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let instance = Instance::start(move |request, stream| {
        if request.target() == "/slow" {
            wait.lock().unwrap().recv().unwrap();
        }
        answer(stream, 200, b"said")
    });
    let arms = [stable(0, &[("one", instance.address)])];
    let policy = limits(&json!({ "concurrency": 2 }));
    let running = open(&arms, &policy);
    let slow = || {
        let mut client = running.client();
        client.send("GET /slow HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        client
    };
    let mut both = [slow(), slow()];
    wait_until("both are under way", || running.in_flight() == 2);
    for revision in [3, 4] {
        let mut refused = running.client();
        let got = refused.get("/", "k").unwrap();
        assert_eq!((got.status(), code(&got).as_str(), got.header("retry-after")), (503, "busy", Some("1")));
        assert_eq!(refused.get("/", "k").unwrap().status(), 503, "the connection stays");
        assert_eq!(running.gateway.apply(asking(table(revision, &arms), &policy)).unwrap(), Applied::Now);
    }
    // Which of the two goes on first is chance.
    both.iter().for_each(|_| go.send(()).unwrap());
    for client in &mut both {
        assert_eq!(client.read().unwrap().status(), 200);
    }
    wait_until("there is room again", || running.client().get("/", "k").unwrap().status() == 200);
    let left = slow();
    wait_until("it is under way", || running.in_flight() == 1);
    drop(left);
    wait_until("who leaves gives the place back", || running.in_flight() == 0);
    go.send(()).unwrap();
    for _ in 0..3 {
        assert_eq!(running.client().get("/", "k").unwrap().status(), 200);
    }
}

#[test]
fn a_client_gets_so_many_over_time_and_is_told_when_there_is_room_again() {
    let instance = Instance::named("served");
    let rate = json!({ "rate": { "requests": 4, "per_ms": DAY_MS, "burst": 2 } });
    let running = open(&[stable(0, &[("one", instance.address)])], &limits(&rate));
    for key in ["ann", "ben"] {
        assert_eq!(running.client().get("/", key).unwrap().status(), 200);
    }
    let got = running.client().get("/", "cleo").unwrap();
    assert_eq!((got.status(), code(&got).as_str()), (429, "rate_limited"));
    assert_eq!(got.header("ratelimit-policy"), Some("\"route\";q=4;w=86400"));
    let wait: u64 = got.header("retry-after").unwrap().parse().unwrap();
    assert!((21_000..=21_600).contains(&wait), "{wait}");
    assert_eq!(got.header("ratelimit"), Some(format!("\"route\";r=0;t={wait}").as_str()));
    let path = as_instance("/");
    let of_instance = running.client().get(&path, "k").unwrap();
    assert_eq!(of_instance.status(), 200, "instances of the environment are not counted");
    assert_eq!(instance.served(), 3);
}

#[test]
fn keys_have_their_own_share_where_the_route_says_so() {
    let instance = Instance::start(|_, stream| {
        answer(stream, 200, b"served")?;
        Ok(Then::Stay)
    });
    let rate = |by: &str| json!({ "rate": { "requests": 1, "per_ms": DAY_MS, "by": by } });
    for (by, expected) in [("key", [200, 200, 429, 429]), ("route", [200, 429, 429, 429])] {
        let running = open(&[stable(0, &[("one", instance.address)])], &limits(&rate(by)));
        let got = ["ann", "ben", "ann", "ben"].map(|key| running.client().get("/", key).unwrap().status());
        assert_eq!(got, expected, "{by}");
    }
}
