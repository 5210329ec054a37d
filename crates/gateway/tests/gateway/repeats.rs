//! Requests that end whoever reads them, connections that were closed before, and how often anything is asked again.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{Instance, Running, Then, answer, canary, raw, read_head, stable, wait_until};

/// Answers everything but `/kill`, which ends the connection as a process that dies does.
fn fragile(kills: &Arc<AtomicUsize>) -> Instance {
    let kills = Arc::clone(kills);
    Instance::start(move |request, stream| {
        if request.target() == "/kill" {
            kills.fetch_add(1, Ordering::SeqCst);
            return Ok(Then::Close);
        }
        answer(stream, 200, b"fine")
    })
}

fn ask(running: &Running, method: &str, more: &str) -> u16 {
    let asked = format!("{method} /kill HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n{more}");
    running.client().ask(asked).unwrap().status()
}

/// Makes kept connections to all instances.
fn warm_up(running: &Running, instances: &[Instance]) {
    wait_until("every instance has served", || {
        assert_eq!(running.client().get("/", "k").unwrap().status(), 200);
        instances.iter().all(|it| it.served() > 0)
    });
}

#[test]
fn a_request_that_kills_its_reader_is_read_twice_at_most_and_never_twice_by_one() {
    let kills: Vec<Arc<AtomicUsize>> = (0..4).map(|_| Arc::default()).collect();
    let instances: Vec<Instance> = kills.iter().map(fragile).collect();
    let ids = ["i-0", "i-1", "i-2", "i-3"];
    let endpoints: Vec<_> = ids.into_iter().zip(instances.iter().map(|it| it.address)).collect();
    let running = Running::start(&[stable(0, &endpoints)]);
    for (method, more, most) in [
        ("GET", "\r\n", 2),
        ("DELETE", "\r\n", 2),
        ("PUT", "\r\n", 2),
        ("POST", "content-length: 0\r\n\r\n", 1),
        ("PUT", "content-length: 2\r\n\r\nhi", 1),
        ("GET", "content-length: 2\r\n\r\nhi", 1),
        ("DELETE", "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1),
    ] {
        warm_up(&running, &instances);
        kills.iter().for_each(|it| it.store(0, Ordering::SeqCst));
        assert_eq!(ask(&running, method, more), 502);
        let read: Vec<usize> = kills.iter().map(|it| it.load(Ordering::SeqCst)).collect();
        assert_eq!(read.iter().sum::<usize>(), most, "{method} {more:?} was read by {read:?}");
        assert!(read.iter().all(|&times| times <= 1), "{method} {more:?} was read by {read:?}");
    }
}

#[test]
fn a_request_that_kills_its_reader_goes_from_a_candidate_to_one_stable_instance_and_no_further() {
    let (new, old): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let instances = [fragile(&new), fragile(&new), fragile(&old), fragile(&old)];
    let address = |n: usize| instances[n].address;
    let mut arms = canary(9_999, ("new-0", address(0)), ("old-0", address(2)));
    arms[0].instances.push(("new-1", address(1)));
    arms[1].instances.push(("old-1", address(3)));
    let running = Running::start(&arms);
    for (method, expected) in [("GET", (1, 1)), ("HEAD", (1, 1)), ("DELETE", (2, 0))] {
        new.store(0, Ordering::SeqCst);
        old.store(0, Ordering::SeqCst);
        let mut client = running.client();
        client
            .send(format!("{method} /kill HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n"))
            .unwrap();
        assert_eq!(client.read_to_head().unwrap().status(), 502);
        assert_eq!((new.load(Ordering::SeqCst), old.load(Ordering::SeqCst)), expected, "{method}");
    }
}

#[test]
fn a_request_that_was_read_is_never_said_to_have_reached_nobody() {
    let kills = Arc::default();
    let fragile = fragile(&kills);
    let gone = Instance::named("gone");
    gone.kill();
    let running = Running::start(&[stable(0, &[("fragile", fragile.address), ("gone", gone.address)])]);
    for _ in 0..10 {
        assert_eq!(ask(&running, "GET", "\r\n"), 502);
    }
    assert_eq!(kills.load(Ordering::SeqCst), 10);
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves one request on a connection and returns that, open.
fn serve_one(listener: &TcpListener) -> io::Result<TcpStream> {
    let mut stream = BufReader::new(listener.accept()?.0);
    read_head(&mut stream)?;
    raw(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    Ok(stream.into_inner())
}

#[test]
fn a_kept_connection_that_the_instance_closed_fails_no_request_and_is_no_repeat() {
    let (listener, address) = listen();
    let running = Running::start(&[stable(0, &[("one", address)])]);
    let requests =
        ["GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n", "POST / HTTP/1.1\r\nhost: shop.test\r\n\r\n"];
    let turns = 50;
    let mut client = running.client();
    let mut kept = None;
    for turn in 0..turns {
        drop(kept.take());
        client.send(requests[turn % 2]).unwrap();
        kept = Some(serve_one(&listener).unwrap());
        assert_eq!(client.read().unwrap().status(), 200, "turn {turn}");
    }
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (turns as u64, 0));
}

#[test]
fn a_reader_that_dies_on_a_kept_connection_is_told_from_one_that_was_closed_before() {
    let (listener, address) = listen();
    let running = Running::start(&[stable(0, &[("one", address)])]);
    let instance = thread::spawn(move || {
        let kept = serve_one(&listener).unwrap();
        // The second request is read on the same connection, and then the reader dies.
        read_head(&mut BufReader::new(kept)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    let mut client = running.client();
    assert_eq!(client.get("/", "k").unwrap().status(), 200);
    assert_eq!(client.get("/", "k").unwrap().status(), 502);
    let listener = instance.join().unwrap();
    assert!(listener.accept().is_err(), "it was not sent to the same instance again");
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (2, 1));
}

#[test]
fn no_more_than_three_of_ten_requests_are_asked_again_at_once() {
    let (read, release): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let start = || {
        let (read, release) = (Arc::clone(&read), Arc::clone(&release));
        Instance::start(move |_, _| {
            let turn = read.fetch_add(1, Ordering::SeqCst);
            wait_until("the test lets it die", || release.load(Ordering::SeqCst) > turn);
            Ok(Then::Close)
        })
    };
    let instances = [start(), start()];
    let running = Running::start(&[stable(0, &[("a", instances[0].address), ("b", instances[1].address)])]);
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = running.client();
            client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
            client
        })
        .collect();
    wait_until("all were read", || read.load(Ordering::SeqCst) == 10);
    release.store(10, Ordering::SeqCst);
    // Repeats stay under way until they are let go, so seven find no room.
    wait_until("seven were given up", || running.in_flight() == 3);
    wait_until("three were read again", || read.load(Ordering::SeqCst) == 13);
    release.store(usize::MAX, Ordering::SeqCst);
    for mut client in clients {
        assert_eq!(client.read().unwrap().status(), 502);
    }
    assert_eq!(read.load(Ordering::SeqCst), 13);
}

/// Answers one request on each connection and closes it at once, without a word before.
fn abrupt() -> SocketAddr {
    let (listener, address) = listen();
    thread::spawn(move || while serve_one_of(&listener).is_ok() {});
    address
}

fn serve_one_of(listener: &TcpListener) -> io::Result<()> {
    let mut stream = BufReader::new(listener.accept()?.0);
    thread::spawn(move || -> io::Result<()> {
        read_head(&mut stream)?;
        raw(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        Ok(())
    });
    Ok(())
}

#[test]
fn an_instance_that_ends_connections_without_a_word_is_soon_asked_on_new_ones_only() {
    let running = Running::start(&[stable(0, &[("abrupt", abrupt())])]);
    let failed = AtomicUsize::new(0);
    let client = &|method: &'static str| {
        let mut client = running.client();
        for _ in 0..500 {
            let asked = client.ask(format!("{method} / HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
            failed.fetch_add(usize::from(asked.status() != 200), Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        (0..8).for_each(|n| drop(scope.spawn(move || client(if n % 2 == 0 { "GET" } else { "POST" }))));
    });
    // Of the first few, some may have been sent in the moment of the end.
    let failed = failed.into_inner();
    assert!(failed <= 8, "{failed} of 4000 failed");
}
