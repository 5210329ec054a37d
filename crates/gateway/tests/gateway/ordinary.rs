//! Instances and clients that are not wrong, only not like ours: what nginx and HAProxy pass, passes here as well.

use std::io::{BufReader, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::support::{Instance, Message, Running, Then, answer, raw, read_head, stable, wait_until};

fn says(bytes: &'static [u8]) -> Instance {
    Instance::start(move |_, stream| raw(stream, bytes))
}

fn values<'a>(message: &'a Message, name: &str) -> Vec<&'a str> {
    let found = message.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn framing_that_is_said_twice_alike_passes_in_one_form_and_its_connection_is_not_used_again() {
    let cases: [(&[u8], &str, &[&str]); 5] = [
        (b"content-length: 5\r\nContent-Length: 5\r\n\r\nhello", "content-length", &["5"]),
        (b"content-length: 5, 5\r\n\r\nhello", "content-length", &["5"]),
        (
            b"transfer-encoding: chunked\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "transfer-encoding",
            &["chunked"],
        ),
        (
            b"transfer-encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "transfer-encoding",
            &["chunked"],
        ),
        (b"transfer-encoding: identity\r\ncontent-length: 5\r\n\r\nhello", "content-length", &["5"]),
    ];
    for (said, name, expected) in cases {
        let whole: &'static [u8] = Box::leak([b"HTTP/1.1 200 OK\r\n", said].concat().into_boxed_slice());
        let instance = says(whole);
        let running = Running::start(&[stable(0, &[("one", instance.address)])]);
        let mut client = running.client();
        for turn in 1..=2 {
            let answered = client.get("/", "k").unwrap();
            let shown = String::from_utf8_lossy(said);
            assert_eq!((answered.status(), answered.text().as_str()), (200, "hello"), "{shown}");
            assert_eq!(values(&answered, name), expected, "{shown}");
            assert_eq!(
                values(&answered, "content-length").len() + values(&answered, "transfer-encoding").len(),
                1
            );
            assert_eq!(instance.connections.load(Ordering::SeqCst), turn, "used again: {shown}");
        }
    }
}

#[test]
fn a_status_line_with_spaces_to_spare_passes() {
    let instance = says(b"HTTP/1.1  200  OK\r\ncontent-length: 5\r\n\r\nhello");
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let answered = running.client().get("/", "k").unwrap();
    assert_eq!((answered.status(), answered.text().as_str()), (200, "hello"));
}

#[test]
fn identity_without_a_length_ends_with_the_connection() {
    let instance = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello").map(|_| Then::Close)
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let answered = running.client().get("/", "k").unwrap();
    assert_eq!((answered.status(), answered.text().as_str()), (200, "hello"));
}

#[test]
fn framing_that_contradicts_itself_is_refused() {
    let cases: [&[u8]; 9] = [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"content-length: 5, 6\r\n\r\nhello!",
        b"content-length: 5,\r\n\r\nhello",
        b"content-length: +5\r\n\r\nhello",
        b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\ncontent-length: 5\r\n\r\nhello",
    ];
    for said in cases {
        let whole: &'static [u8] = Box::leak([b"HTTP/1.1 200 OK\r\n", said].concat().into_boxed_slice());
        let running_on = says(whole);
        let running = Running::start(&[stable(0, &[("one", running_on.address)])]);
        assert_eq!(
            running.client().get("/", "k").unwrap().status(),
            502,
            "{}",
            String::from_utf8_lossy(said)
        );
    }
}

#[test]
fn two_hundred_fields_pass_in_both_directions() {
    let fields = |count: usize| (0..count).map(|n| format!("x-field-{n}: 1\r\n")).collect::<String>();
    let many = fields(200);
    let instance = Instance::start(move |request, stream| {
        let count = request.headers.iter().filter(|(name, _)| name.starts_with("x-field-")).count();
        raw(stream, format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n{many}\r\n{count}").as_bytes())
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let request = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{}\r\n", fields(200));
    let answered = running.client().ask(request).unwrap();
    assert_eq!((answered.status(), answered.text().as_str()), (200, "200"));
    assert_eq!(answered.headers.iter().filter(|(name, _)| name.starts_with("x-field-")).count(), 200);
}

#[test]
fn what_comes_before_the_answer_reaches_clients_that_know_it() {
    let instance = says(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: close\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
          HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal",
    );
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    for _ in 0..2 {
        let hints = client.get("/", "k").unwrap();
        assert_eq!(
            (hints.status(), hints.header("link"), hints.header("connection")),
            (103, Some("</a.css>"), None)
        );
        assert_eq!(client.read().unwrap().status(), 102, "a word to go on is for nobody here");
        let answered = client.read().unwrap();
        assert_eq!((answered.status(), answered.text().as_str()), (200, "final"));
    }
    let old = running.client().ask("GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!((old.status(), old.text().as_str()), (200, "final"));
}

#[test]
fn early_hints_come_early() {
    let (listener, running) = listening();
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let mut stream = accept(&listener);
    read_head(&mut stream).unwrap();
    raw(&mut stream, b"HTTP/1.1 103 Early Hints\r\n\r\n").unwrap();
    assert_eq!(client.read().unwrap().status(), 103);
    answer(&mut stream, 200, b"final").unwrap();
    assert_eq!(client.read().unwrap().text(), "final");
}

fn listening() -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("one", listener.local_addr().unwrap())])]);
    (listener, running)
}

fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    BufReader::new(listener.accept().unwrap().0)
}

const WAITING: &str =
    "PUT / HTTP/1.1\r\nhost: shop.test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";

#[test]
fn the_instance_decides_whether_it_wants_the_body() {
    let (listener, running) = listening();
    let mut client = running.client();
    client.send(WAITING).unwrap();
    let mut stream = accept(&listener);
    assert_eq!(read_head(&mut stream).unwrap().header("expect"), Some("100-continue"));
    raw(&mut stream, b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(client.read().unwrap().status(), 100);
    client.send("hi").unwrap();
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    answer(&mut stream, 200, &body).unwrap();
    assert_eq!(client.read().unwrap().text(), "hi");
}

#[test]
fn an_instance_that_wants_no_body_is_heard_before_it_is_sent() {
    let (listener, running) = listening();
    let mut client = running.client();
    client.send(WAITING).unwrap();
    let mut stream = accept(&listener);
    read_head(&mut stream).unwrap();
    answer(&mut stream, 413, b"too big").unwrap();
    let refused = client.read().unwrap();
    assert_eq!((refused.status(), refused.text().as_str()), (413, "too big"));
    assert_eq!(
        refused.header("connection"),
        Some("close"),
        "what the client sends next could be the body or a request"
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection was used again without the body");
}

/// Whether it read the body or will take it for a request, nobody else can tell.
#[test]
fn an_instance_that_answers_before_it_asks_for_the_body_is_asked_nothing_more_on_this_connection() {
    let (listener, running) = listening();
    let mut client = running.client();
    client.send(format!("{WAITING}hi")).unwrap();
    let mut stream = accept(&listener);
    read_head(&mut stream).unwrap();
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    answer(&mut stream, 200, b"early").unwrap();
    assert_eq!(client.read().unwrap().text(), "early");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection was kept");
}

/// What was sent lies in buffers of the system, whether it was read or not.
#[test]
fn an_instance_that_refuses_a_body_in_pieces_is_asked_nothing_more_on_this_connection() {
    let (listener, running) = listening();
    let body = "x".repeat(200_000);
    let long = format!("PUT / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    for refusal in [413, 500] {
        let (mut client, mut stream) = (running.client(), None);
        for status in [201, refusal] {
            client.send(&long).unwrap();
            let stream = stream.get_or_insert_with(|| accept(&listener));
            read_head(stream).unwrap();
            stream.read_exact(&mut vec![0; body.len()]).unwrap();
            answer(stream, status, b"so it is").unwrap();
            assert_eq!(client.read().unwrap().status(), status);
        }
        assert_eq!(stream.unwrap().read(&mut [0]).unwrap(), 0, "{refusal}: the connection was kept");
    }
}

#[test]
fn an_instance_that_does_not_say_whether_it_wants_the_body_is_sent_it() {
    let (listener, running) = listening();
    let mut client = running.client();
    client.send(WAITING).unwrap();
    let mut stream = accept(&listener);
    read_head(&mut stream).unwrap();
    assert_eq!(client.read().unwrap().status(), 100, "the gateway says it when the instance does not");
    client.send("hi").unwrap();
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    raw(&mut stream, b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    answer(&mut stream, 200, &body).unwrap();
    assert_eq!(client.read().unwrap().text(), "hi", "the word is said once");
}

#[test]
fn a_client_that_does_not_wait_is_not_told_to_go_on() {
    let (listener, running) = listening();
    let mut client = running.client();
    client.send(format!("{WAITING}hi")).unwrap();
    let mut stream = accept(&listener);
    read_head(&mut stream).unwrap();
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    answer(&mut stream, 200, &body).unwrap();
    assert_eq!(client.read().unwrap().text(), "hi");
}

#[test]
fn an_offer_of_another_protocol_is_passed_over() {
    let instance = Instance::start(|request, stream| {
        assert_eq!((request.header("upgrade"), request.header("connection")), (None, None));
        raw(
            stream,
            b"HTTP/1.1 200 OK\r\nupgrade: h2,h2c\r\nconnection: upgrade\r\ncontent-length: 5\r\n\r\nhello",
        )
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    for protocol in ["tcp", "h2c", "TLS/1.0", "websocket, tcp"] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
        );
        let answered = client.ask(request).unwrap();
        assert_eq!((answered.status(), answered.text().as_str()), (200, "hello"), "{protocol}");
        assert_eq!((answered.header("upgrade"), answered.header("connection")), (None, None));
    }
}

#[test]
fn a_client_that_ends_its_sending_with_its_request_gets_its_answer() {
    let big = vec![b'x'; 3 * 1_024 * 1_024];
    let instance = Instance::start(move |request, stream| match request.target() {
        "/big" => answer(stream, 200, &big),
        "/slow" => {
            // Longer than the gateway needs to see that the client sends no more.
            thread::sleep(Duration::from_millis(300));
            answer(stream, 200, b"late")
        }
        target => answer(stream, 200, target.as_bytes()),
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    for (requests, lengths) in [
        (vec!["/slow"], vec![4]),
        (vec!["/big"], vec![3_145_728]),
        (vec!["/a", "/bc", "/slow"], vec![2, 3, 4]),
    ] {
        let mut client = running.client();
        let text: String =
            requests.iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n")).collect();
        client.send(text).unwrap();
        client.socket().shutdown(Shutdown::Write).unwrap();
        for length in lengths {
            assert_eq!(client.read().unwrap().body.len(), length, "{requests:?}");
        }
        assert_eq!(client.rest(), b"");
    }
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn an_instance_does_not_work_for_long_for_a_client_that_sends_no_more() {
    let instance = Instance::start(|_, stream| {
        // Never answers; ends when the gateway hangs up.
        let _ = stream.read(&mut [0]);
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    drop(client);
    wait_until("the request has arrived", || instance.served() == 1);
    wait_until("the instance was told", || instance.closed.load(Ordering::SeqCst) == 1);
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn early_hints_have_no_length() {
    let instance = says(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\ncontent-length: 3\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let hints = client.read_to_head().unwrap();
    assert_eq!((hints.status(), hints.header("content-length")), (103, None));
    let answered = client.read().unwrap();
    assert_eq!((answered.status(), answered.text().as_str()), (200, "ok"));
}

#[test]
fn heads_without_end_are_told_from_a_head_that_is_broken() {
    let storm = Box::leak(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20).into_boxed_slice());
    let instance = says(storm);
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let answered = loop {
        let head = client.read_to_head().unwrap();
        if head.status() != 103 {
            break head;
        }
    };
    assert_eq!(answered.status(), 502);
    let mut document = String::new();
    client.reader().read_to_string(&mut document).unwrap_or_default();
    assert!(document.contains("nothing but what comes before an answer"), "{document}");
}

#[test]
fn an_answer_whose_body_is_broken_from_the_beginning_is_a_bad_answer() {
    let instance = says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n");
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let answered = running.client().get("/", "k").unwrap();
    assert!(answered.status() == 502 && answered.text().contains("bad_answer"), "{answered:?}");
    assert_eq!(running.traffic(0).failures, 1);
    // What is whole is passed on before the fault is met.
    let instance = says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!(client.read_to_head().unwrap().status(), 200);
    let mut rest = String::new();
    let _ = client.reader().read_to_string(&mut rest);
    assert_eq!(rest, "5\r\nhello\r\n", "and never looks whole");
}
