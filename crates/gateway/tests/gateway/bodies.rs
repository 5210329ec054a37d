//! Bodies in both directions: big, chunked, slow, early answered, and what they cost in memory.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lockstep_gateway::Timeouts;

use crate::support::{Instance, Running, Then, answer, raw, read_head, stable, wait_until};

const BIG: usize = 20 * 1_024 * 1_024;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_big_body_arrives_unchanged_in_both_directions() {
    let echo = Instance::start(|request, stream| answer(stream, 200, &request.body));
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let body = pattern(BIG);
    let mut client = running.client();
    let mut writer = client.socket().try_clone().unwrap();
    let sent = body.clone();
    let sending = thread::spawn(move || {
        writer.write_all(
            format!("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {}\r\n\r\n", sent.len())
                .as_bytes(),
        )?;
        writer.write_all(&sent)
    });
    assert!(client.read().unwrap().body == body, "the body was changed on its way");
    sending.join().unwrap().unwrap();
    assert_eq!(
        client.ask("PUT / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\n\r\nhi").unwrap().text(),
        "hi"
    );
}

#[test]
fn chunked_bodies_keep_their_bytes_and_trailers() {
    let echo = Instance::start(|request, stream| {
        let trailers = request.trailers.join(";");
        let body = [&request.body[..], b"|", trailers.as_bytes()].concat();
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x};e=1\r\n", body.len());
        raw(stream, &[head.as_bytes(), &body, b"\r\n0\r\nx-sum: 7\r\n\r\n"].concat())
    });
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    for _ in 0..3 {
        let answered = client
            .ask(
                "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: Chunked\r\n\r\n\
                  3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-check: 1\r\ncontent-length: 9\r\n\r\n",
            )
            .unwrap();
        assert_eq!(answered.text(), "abcde|x-check: 1");
        assert_eq!(answered.trailers, ["x-sum: 7"]);
    }
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn an_answer_that_ends_with_the_connection_is_chunked_for_the_client() {
    let instance = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\n\r\nall of ")?;
        raw(stream, b"it").map(|_| Then::Close)
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    for _ in 0..3 {
        assert_eq!(client.get("/", "k").unwrap().text(), "all of it");
    }
}

#[test]
fn an_upload_waits_for_an_instance_that_does_not_read() {
    // The test's instances read what is announced; this one reads nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("lazy", listener.local_addr().unwrap())])]);
    let client = running.client();
    let mut writer = client.socket().try_clone().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let sending = thread::spawn(move || {
        let _ = writer.write_all(b"POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1000000000\r\n\r\n");
        while writer.write_all(&[0; 65_536]).is_ok() {
            count.fetch_add(65_536, Ordering::SeqCst);
        }
    });
    let (lazy, _) = listener.accept().unwrap();
    let mut last = u64::MAX;
    wait_until("the upload stands still", || {
        thread::park_timeout(Duration::from_millis(300));
        let now = written.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now
    });
    assert!(
        last < 64 * 1_024 * 1_024,
        "{last} bytes were taken from the client while the instance read none"
    );
    drop((lazy, client));
    drop(running);
    sending.join().unwrap();
}

#[test]
fn an_answer_before_the_end_of_the_upload_reaches_the_client() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("early", listener.local_addr().unwrap())])]);
    let early = thread::spawn(move || {
        let mut stream = std::io::BufReader::new(listener.accept().unwrap().0);
        read_head(&mut stream).unwrap();
        answer(&mut stream, 413, b"too much").unwrap();
    });
    let mut client = running.client();
    client
        .send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1000000000\r\n\r\nsome of it")
        .unwrap();
    let refused = client.read().unwrap();
    assert_eq!((refused.status(), refused.text().as_str()), (413, "too much"));
    early.join().unwrap();
}

#[test]
fn a_conversation_in_both_directions_flows_piece_by_piece() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("echo", listener.local_addr().unwrap())])]);
    let echo = thread::spawn(move || {
        let mut stream = std::io::BufReader::new(listener.accept().unwrap().0);
        read_head(&mut stream).unwrap();
        raw(&mut stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).unwrap();
            let mut rest = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
            stream.read_exact(&mut rest).unwrap();
            raw(&mut stream, &[size.as_bytes(), &rest].concat()).unwrap();
            if size == "0\r\n" {
                return;
            }
        }
    });
    let mut client = running.client();
    client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    assert_eq!(read_head(client.reader()).unwrap().status(), 200);
    for word in ["one", "two", "six"] {
        client.send(format!("3\r\n{word}\r\n")).unwrap();
        let mut echoed = [0; 8];
        client.reader().read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, format!("3\r\n{word}\r\n").as_bytes());
    }
    client.send("0\r\n\r\n").unwrap();
    echo.join().unwrap();
    assert_eq!(client.rest(), b"0\r\n\r\n");
}

#[test]
fn a_body_that_stops_arriving_is_given_up() {
    let instance = Instance::named("never asked");
    let timeouts = Timeouts { stall: Duration::from_millis(200), ..Timeouts::default() };
    let running = Running::with(timeouts, &[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    assert_eq!(client.read().unwrap().status(), 408);
    wait_until("nothing is under way", || running.in_flight() == 0);
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn an_answer_that_breaks_off_looks_whole_to_no_client() {
    let limit = Duration::from_millis(100);
    for head in ["", "transfer-encoding: chunked\r\n", "content-length: 100\r\n"] {
        let instance = Instance::start(move |_, stream| {
            raw(stream, format!("HTTP/1.1 200 OK\r\n{head}\r\n4\r\nhalf\r\n").as_bytes())?;
            // Waits until the gateway gives up.
            let _ = stream.read(&mut [0]);
            Ok(Then::Close)
        });
        let timeouts = Timeouts { stall: limit, ..Timeouts::default() };
        let running = Running::with(timeouts, &[stable(0, &[("one", instance.address)])]);
        let mut client = running.client();
        client.send("GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n").unwrap();
        let announced = read_head(client.reader()).map(|head| head.header("content-length").is_some());
        // An error may come before the head was read.
        let seen = announced.unwrap_or(true) || client.reader().read_to_end(&mut Vec::new()).is_err();
        assert!(seen, "{head:?} looked whole");
    }
}
