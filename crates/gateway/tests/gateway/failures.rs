//! Instances that die, hang, close connections or answer badly, and what clients notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lockstep_gateway::Timeouts;

use crate::support::{Instance, Running, Then, answer, canary, environment, raw, stable, wait_until};

fn dead() -> std::net::SocketAddr {
    let instance = Instance::named("dead");
    instance.kill();
    instance.address
}

#[test]
fn a_dead_instance_fails_no_request() {
    let alive = Instance::named("alive");
    let running = Running::start(&[stable(0, &[("dead", dead()), ("alive", alive.address)])]);
    let mut client = running.client();
    for _ in 0..100 {
        assert_eq!(client.get("/", "k").unwrap().text(), "alive");
        let post = client.ask("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!(post.text(), "alive");
    }
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (200, 0));
}

#[test]
fn an_arm_without_a_living_instance_is_served_by_the_stable_one() {
    let old = Instance::named("old");
    let running = Running::start(&canary(9_999, ("new", dead()), ("old", old.address)));
    let answered = running.client().get("/", "k").unwrap();
    assert_eq!((answered.status(), answered.version()), (200, "1.0.0"));
    assert_eq!(running.traffic(1).requests, 0, "a connection that could not be opened is not a request");
}

#[test]
fn when_no_instance_lives_the_client_learns_which_version_was_asked() {
    let running = Running::start(&[stable(0, &[("a", dead()), ("b", dead())])]);
    let mut client = running.client();
    for _ in 0..3 {
        let answered = client.get("/", "k").unwrap();
        assert_eq!((answered.status(), answered.version()), (503, "1.0.0"));
        assert!(answered.text().contains("\"code\":\"unreachable\""), "{}", answered.text());
        assert_eq!(answered.header("retry-after"), Some("1"));
    }
}

#[test]
fn an_instance_that_closes_after_each_answer_without_saying_so_fails_no_request() {
    let closing = Instance::start(|_, stream| answer(stream, 200, b"bye").map(|_| Then::Close));
    let running = Running::start(&[stable(0, &[("closing", closing.address)])]);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = running.client();
            std::thread::spawn(move || {
                for _ in 0..500 {
                    assert_eq!(client.get("/", "k").unwrap().status(), 200);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (4_000, 0));
}

#[test]
fn a_post_on_a_connection_that_was_closed_meanwhile_is_sent_once_on_a_new_one() {
    let closing = Instance::start(|_, stream| answer(stream, 200, b"bye").map(|_| Then::Close));
    let running = Running::start(&[stable(0, &[("closing", closing.address)])]);
    let mut client = running.client();
    for n in 1..=50 {
        let posted = client.ask("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!(posted.status(), 200);
        assert_eq!(closing.served(), n);
        wait_until("the instance closed", || closing.closed.load(Ordering::SeqCst) == n);
    }
}

#[test]
fn a_failed_read_of_the_candidate_is_answered_by_the_stable_version_and_counts_once() {
    let old = Instance::named("old");
    let new = Instance::start(|_, stream| answer(stream, 500, b"broken"));
    let running = Running::start(&canary(9_999, ("new", new.address), ("old", old.address)));
    let mut client = running.client();
    for _ in 0..20 {
        let answered = client.get("/", "k").unwrap();
        assert_eq!((answered.status(), answered.text().as_str(), answered.version()), (200, "old", "1.0.0"));
        assert_eq!(answered.header("lockstep-shielded"), Some("shop@1.1.0"));
    }
    let head = {
        client.send("HEAD / HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n").unwrap();
        client.read_to_head().unwrap()
    };
    assert_eq!((head.status(), head.header("content-length")), (200, Some("3")));
    assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (21, 21));
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (21, 0));
    let posted = client
        .ask("POST / HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\ncontent-length: 2\r\n\r\nhi")
        .unwrap();
    assert_eq!((posted.status(), posted.version()), (500, "1.1.0"), "a write is not asked twice");
}

#[test]
fn a_candidate_that_breaks_off_or_hangs_is_shielded_too() {
    let old = Instance::named("old");
    for hangs in [false, true] {
        let new = Instance::start(move |_, stream| {
            if hangs {
                // Waits until the gateway gives up.
                std::io::Read::read(stream, &mut [0])?;
            }
            Ok(Then::Close)
        });
        let timeouts = Timeouts { answer: Duration::from_millis(200), ..Timeouts::default() };
        let running = Running::with(timeouts, &canary(9_999, ("new", new.address), ("old", old.address)));
        let answered = running.client().get("/", "k").unwrap();
        assert_eq!((answered.status(), answered.version()), (200, "1.0.0"), "hangs: {hangs}");
        assert_eq!(answered.header("lockstep-shielded"), Some("shop@1.1.0"));
        assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (1, 1));
    }
}

#[test]
fn a_failed_answer_of_the_candidate_is_passed_on_when_the_stable_version_is_dead() {
    let new = Instance::start(|_, stream| answer(stream, 500, b"broken"));
    let running = Running::start(&canary(9_999, ("new", new.address), ("old", dead())));
    let answered = running.client().get("/", "k").unwrap();
    assert_eq!((answered.status(), answered.text().as_str(), answered.version()), (500, "broken", "1.1.0"));
    assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (1, 1));
}

#[test]
fn a_read_that_an_instance_broke_off_is_asked_of_another_of_the_same_version() {
    let broken = Instance::start(|_, _| Ok(Then::Close));
    let alive = Instance::named("alive");
    let running = Running::start(&[stable(0, &[("broken", broken.address), ("alive", alive.address)])]);
    let mut client = running.client();
    for _ in 0..50 {
        assert_eq!(client.get("/", "k").unwrap().text(), "alive");
    }
    assert!(broken.served() > 0);
    assert_eq!(running.traffic(0).failures, broken.served() as u64);
}

#[test]
fn answers_that_are_not_http_give_502_and_slow_ones_504() {
    let bad = [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
    ];
    for bytes in bad {
        let instance = Instance::start(move |_, stream| raw(stream, bytes.as_bytes()));
        let running = Running::start(&[stable(0, &[("bad", instance.address)])]);
        let answered = running.client().get("/", "k").unwrap();
        assert_eq!((answered.status(), answered.version()), (502, "1.0.0"), "{bytes}");
        assert_eq!(running.traffic(0).failures, 1);
    }
    let silent = Instance::start(|_, stream| {
        std::io::Read::read(stream, &mut [0])?;
        Ok(Then::Close)
    });
    let timeouts = Timeouts { answer: Duration::from_millis(100), ..Timeouts::default() };
    let running = Running::with(timeouts, &[stable(0, &[("silent", silent.address)])]);
    let answered = running.client().get("/", "k").unwrap();
    assert_eq!((answered.status(), answered.version()), (504, "1.0.0"));
}

#[test]
fn an_answer_that_breaks_off_is_cut_for_the_client_and_counts_as_a_failure() {
    let half = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").map(|_| Then::Close)
    });
    let running = Running::start(&[stable(0, &[("half", half.address)])]);
    assert!(running.client().get("/", "k").is_err());
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 1));
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_frees_the_instance() {
    let released = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&released);
    let waiting = Instance::start(move |_, stream| {
        // Ends only when the gateway closes the connection.
        let _ = std::io::Read::read(stream, &mut [0]);
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("waiting", waiting.address)])]);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    wait_until("the request is under way", || running.in_flight() == 1);
    drop(client);
    wait_until("the instance is released", || released.load(Ordering::SeqCst) == 1);
    wait_until("nothing is under way", || running.in_flight() == 0);
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn what_a_client_takes_to_send_its_body_is_neither_the_time_nor_the_fault_of_the_version() {
    let instance = Instance::named("a");
    let running = Running::start(&[stable(0, &[("a", instance.address)])]);
    let mut client = running.client();
    client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\n\r\nh").unwrap();
    let begun = Instant::now();
    wait_until("it has taken its time", || begun.elapsed() > Duration::from_millis(600));
    client.send("i").unwrap();
    assert_eq!(client.read().unwrap().status(), 200);
    wait_until("it is counted", || running.traffic(0).requests == 1);
    let latencies = running.gateway.receipt(&environment()).latencies;
    let slow: u64 = latencies.iter().flat_map(|(_, counts)| &counts[10..]).sum();
    assert_eq!(slow, 0, "none took half a second: {latencies:?}");
    // Who waits for longer than 3 s was failed by the version, but not who has sent a part only.
    let mut client = running.client();
    client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\n\r\nh").unwrap();
    wait_until("it is under way", || running.in_flight() == 1);
    let begun = Instant::now();
    wait_until("it has taken its time", || begun.elapsed() > Duration::from_millis(3_100));
    socket2::SockRef::from(client.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_until("it is counted", || running.traffic(0).requests == 2);
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn an_instance_that_comes_back_is_used_again() {
    let (a, b) = (Instance::named("a"), Instance::named("b"));
    let arms = || [stable(0, &[("a", a.address), ("b", b.address)])];
    let running = Running::start(&arms());
    let mut client = running.client();
    a.kill();
    for _ in 0..50 {
        assert_eq!(client.get("/", "k").unwrap().text(), "b");
    }
    let again = Instance::start_on(std::net::TcpListener::bind(a.address).unwrap(), |_, stream| {
        answer(stream, 200, b"a")
    });
    wait_until("the instance gets requests again", || {
        client.get("/", "k").unwrap();
        again.served() > 0
    });
}
