//! No client is ever given a byte of another client's answer, wherever a client, an instance or a time limit breaks off.
//!
//! The instance here stops after so many bytes of an answer. It goes on when its connection is used for another request,
//! and gives up when that is closed; so what would come after the break is what the next client would get.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lockstep_gateway::Timeouts;

use crate::support::{Client, Instance, Message, Running, Then, answer, canary, raw, stable, wait_until};

/// Clients at once; more only wait for each other on a small machine.
const CLIENTS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Events,
}

impl Framing {
    const ALL: [Self; 3] = [Self::Length, Self::Chunked, Self::Events];

    /// A whole answer that names who asked. Its body looks like an answer itself, as any stored text may.
    fn answer(self, who: &str) -> Vec<u8> {
        let body = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{who}", who.len());
        let (first, second) = body.split_at(20);
        match self {
            Self::Length => {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
            }
            Self::Chunked | Self::Events => {
                let kind = if self == Self::Events { "text/event-stream" } else { "text/plain" };
                let chunk = |piece: &str| format!("{:x}\r\n{piece}\r\n", piece.len());
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n{}{}0\r\nx-who: {who}\r\n\r\n",
                    chunk(first),
                    chunk(second)
                )
                .into_bytes()
            }
        }
    }
}

/// Answers `/whole/WHO` at once, and of `/FRAMING/CUT/WHO` no more than CUT bytes while nobody else uses the connection.
fn scripted(request: &Message, stream: &mut BufReader<TcpStream>) -> io::Result<Then> {
    let parts: Vec<&str> = request.target().split('/').skip(1).collect();
    let &[framing, cut, who] = parts.as_slice() else { return answer(stream, 200, parts[1].as_bytes()) };
    let framing = Framing::ALL.into_iter().find(|it| format!("{it:?}") == framing).unwrap();
    let whole = framing.answer(who);
    let (before, after) = whole.split_at(cut.parse().unwrap());
    raw(stream, before)?;
    if stream.fill_buf()?.is_empty() {
        return Ok(Then::Close);
    }
    raw(stream, after)
}

/// Asks for its own name, and fails when anything else comes.
fn checks_its_own(address: SocketAddr, who: &str, method: &str) {
    let mut client = Client::connect(address);
    for turn in 0..2 {
        let name = format!("{who}-{turn}");
        let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
        let asked = client.ask(format!("{method} /whole/{name} HTTP/1.1\r\nhost: shop.test\r\n{length}\r\n"));
        let answered = asked.unwrap_or_else(|error| panic!("{name} got no answer: {error}"));
        assert_eq!((answered.status(), answered.text()), (200, name));
    }
}

/// Runs `scene` for each number below `end`, on several threads.
fn for_each(end: usize, scene: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            match next.fetch_add(1, Ordering::SeqCst) {
                cut if cut < end => scene(cut),
                _ => return,
            }
        }
    };
    thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(work))));
}

fn settled(running: &Running) {
    wait_until("nothing is under way", || running.in_flight() == 0);
    let failures = running.traffic(0).failures + running.traffic(1).failures;
    assert_eq!(failures, 0, "an instance that did nothing wrong was blamed");
}

#[test]
fn a_client_that_leaves_at_any_byte_of_an_answer_leaves_nothing_to_the_next_one() {
    for framing in Framing::ALL {
        let instance = Instance::start(scripted);
        let running = Running::start(&[stable(0, &[("one", instance.address)])]);
        for_each(framing.answer("alice").len(), |cut| {
            let mut alice = running.client();
            alice.send(format!("GET /{framing:?}/{cut}/alice HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
            let head_ends = framing.answer("alice").windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
            if cut >= head_ends {
                alice.reader().read_exact(&mut [0; 17]).unwrap();
            }
            drop(alice);
            checks_its_own(running.address, &format!("bob-{cut}"), if cut % 2 == 0 { "GET" } else { "POST" });
        });
        settled(&running);
    }
}

#[test]
fn a_time_limit_that_strikes_at_any_byte_of_an_answer_leaves_nothing_to_the_next_client() {
    let limit = Duration::from_millis(30);
    // Events have no such limit: they last as long as their client.
    for framing in [Framing::Length, Framing::Chunked] {
        let instance = Instance::start(scripted);
        let timeouts = Timeouts { stall: limit, answer: limit, ..Timeouts::default() };
        let running = Running::with(timeouts, &[stable(0, &[("one", instance.address)])]);
        for_each(framing.answer("alice").len(), |cut| {
            let mut alice = running.client();
            alice
                .send(format!(
                    "GET /{framing:?}/{cut}/alice HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n"
                ))
                .unwrap();
            let cut_off = alice.rest();
            assert!(!cut_off.ends_with(b"0\r\n\r\n"), "what was broken off must not look whole");
            // Only what was cut is looked at: on a busy machine the limit may strike an answer that is whole.
            let mut bob = running.client();
            let name = format!("bob-{cut}");
            if let Ok(answered) = bob.ask(format!("GET /whole/{name} HTTP/1.1\r\nhost: shop.test\r\n\r\n")) {
                assert!(answered.status() == 504 || answered.text() == name, "{}", answered.text());
            }
        });
        wait_until("nothing is under way", || running.in_flight() == 0);
    }
}

#[test]
fn a_client_that_leaves_at_any_byte_of_a_request_leaves_nothing_to_the_next_one() {
    let instance = Instance::start(scripted);
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let requests = [
        "POST /whole/alice HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 30\r\n\r\nGET /whole/eve HTTP/1.1\r\nhost:",
        "PUT /whole/alice HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nGET /\r\n3\r\nabc\r\n0\r\n\r\n",
    ];
    for request in requests {
        for_each(request.len(), |cut| {
            running.client().send(&request[..cut]).unwrap();
            checks_its_own(running.address, &format!("bob-{cut}"), if cut % 2 == 0 { "GET" } else { "POST" });
        });
    }
    settled(&running);
}

#[test]
fn a_time_limit_that_strikes_at_any_byte_of_a_request_leaves_nothing_to_the_next_client() {
    let limit = Duration::from_millis(30);
    let instance = Instance::start(scripted);
    let timeouts = Timeouts { head: limit, stall: limit, ..Timeouts::default() };
    let running = Running::with(timeouts, &[stable(0, &[("one", instance.address)])]);
    let request = "POST /whole/alice HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 30\r\n\r\nGET /whole/eve HTTP/1.1\r\nhost:";
    for_each(request.len() - 2, |cut| {
        let mut alice = running.client();
        alice.send(&request[..=cut]).unwrap();
        let said = alice.rest();
        assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
        let mut bob = running.client();
        let asked = bob.ask(format!("GET /whole/bob-{cut} HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
        assert!(asked.status() == 408 || asked.text() == format!("bob-{cut}"), "{}", asked.text());
    });
    settled(&running);
}

#[test]
fn an_instance_that_says_more_than_its_answer_is_not_heard_by_the_next_client() {
    let strays: [(&str, &str); 8] = [
        ("GET", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokSTRAY"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n"),
    ];
    for (method, said) in strays {
        let instance = Instance::start(move |request, stream| {
            if request.target() != "/stray" {
                return scripted(request, stream);
            }
            raw(stream, said.as_bytes())?;
            // The rest comes when the connection is used again, as late as can be.
            if stream.fill_buf()?.is_empty() { Ok(Then::Close) } else { raw(stream, b"STRAY") }
        });
        let running = Running::start(&[stable(0, &[("one", instance.address)])]);
        let mut alice = running.client();
        alice.send(format!("{method} /stray HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
        alice.read_to_head().unwrap();
        checks_its_own(running.address, "bob", "GET");
        settled(&running);
    }
}

#[test]
fn an_answer_before_the_end_of_its_request_leaves_nothing_to_the_next_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("early", listener.local_addr().unwrap())])]);
    let early = thread::spawn(move || {
        for said in ["early", "bob"] {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            crate::support::read_head(&mut stream).unwrap();
            answer(&mut stream, 200, said.as_bytes()).unwrap();
            // A connection that is used again would be answered by nobody.
            thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
        }
    });
    let mut alice = running.client();
    alice.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 100000\r\n\r\nhalf").unwrap();
    assert_eq!(alice.read().unwrap().text(), "early");
    assert_eq!(running.client().get("/", "k").unwrap().text(), "bob");
    drop(alice);
    early.join().unwrap();
}

#[test]
fn an_instance_that_takes_a_body_for_a_request_answers_nobody_else_with_it() {
    for method in ["GET", "DELETE", "OPTIONS"] {
        let instance = Instance::start(|request, stream| {
            if request.body.is_empty() {
                return scripted(request, stream);
            }
            answer(stream, 200, b"first")?;
            // It looks for no body with such a method, so this is its answer to the bytes behind the head.
            if stream.fill_buf()?.is_empty() { Ok(Then::Close) } else { answer(stream, 200, b"second") }
        });
        let running = Running::start(&[stable(0, &[("one", instance.address)])]);
        let smuggled = "GET /secret HTTP/1.1\r\nhost: shop.test\r\n\r\n";
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        );
        assert_eq!(running.client().ask(request).unwrap().text(), "first");
        checks_its_own(running.address, "bob", "GET");
    }
}

#[test]
fn an_instance_that_answers_before_it_has_read_all_is_asked_no_more_on_that_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("early", listener.local_addr().unwrap())])]);
    let early = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        crate::support::read_head(&mut stream).unwrap();
        raw(&mut stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n").unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        raw(&mut stream, b"0\r\n\r\n").unwrap();
        let mut next = BufReader::new(listener.accept().unwrap().0);
        crate::support::read_head(&mut next).unwrap();
        answer(&mut next, 200, b"bob").unwrap();
        assert!(stream.fill_buf().unwrap().is_empty(), "the connection was used again");
    });
    let mut alice = running.client();
    alice.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 8\r\n\r\nhalf").unwrap();
    assert_eq!(crate::support::read_head(alice.reader()).unwrap().status(), 200);
    alice.send("half").unwrap();
    let mut rest = [0; 15];
    alice.reader().read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"5\r\nearly\r\n0\r\n\r\n");
    assert_eq!(running.client().get("/", "k").unwrap().text(), "bob");
    early.join().unwrap();
}

#[test]
fn a_client_that_leaves_is_told_to_the_instance_at_once_and_counts_until_it_was() {
    let told = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&told);
    let instance = Instance::start(move |_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        let ended = !matches!(stream.fill_buf(), Ok(bytes) if !bytes.is_empty());
        count.fetch_add(usize::from(ended), Ordering::SeqCst);
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    for turn in 1..=5 {
        let mut client = running.client();
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        client.reader().read_exact(&mut [0; 17]).unwrap();
        assert_eq!(running.in_flight(), 1);
        drop(client);
        wait_until("nothing is under way", || running.in_flight() == 0);
        wait_until("the instance was told", || told.load(Ordering::SeqCst) == turn);
    }
}

#[test]
fn the_failed_answer_that_the_shield_held_back_is_not_left_to_anybody() {
    let new = Instance::start(|request, stream| {
        if request.target().starts_with("/fail") {
            raw(stream, b"HTTP/1.1 500 Broken\r\ncontent-length: 60\r\n\r\n")?;
            let rest = b"HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\nbytes of who asked 500";
            return if stream.fill_buf()?.is_empty() { Ok(Then::Close) } else { raw(stream, rest) };
        }
        scripted(request, stream)
    });
    let old = Instance::start(scripted);
    let running = Running::start(&canary(9_999, ("new", new.address), ("old", old.address)));
    for_each(40, |turn| {
        let shielded = running.client().get("/fail/alice", "k").unwrap();
        assert_eq!(
            (shielded.status(), shielded.version(), shielded.text().as_str()),
            (200, "1.0.0", "alice")
        );
        checks_its_own(running.address, &format!("bob-{turn}"), "GET");
    });
}

#[test]
fn bytes_of_one_answer_stay_with_one_client_when_many_leave_at_random() {
    let instance = Instance::start(scripted);
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    for_each(400, |seed| {
        let framing = Framing::ALL[seed % 3];
        let whole = framing.answer("alice").len();
        let (cut, taken) = (seed * 7_919 % whole, seed * 104_729 % (whole + 1));
        let mut alice = running.client();
        let mut socket = alice.socket().try_clone().unwrap();
        socket
            .write_all(format!("GET /{framing:?}/{cut}/alice HTTP/1.1\r\nhost: shop.test\r\n\r\n").as_bytes())
            .unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let _ = alice.reader().read_exact(&mut vec![0; taken]);
        if seed % 2 == 0 {
            // Leaves with a reset instead of an end.
            let _ = socket.shutdown(std::net::Shutdown::Read);
        }
        drop((alice, socket));
        checks_its_own(running.address, &format!("bob-{seed}"), if seed % 3 == 0 { "POST" } else { "GET" });
    });
    settled(&running);
}
