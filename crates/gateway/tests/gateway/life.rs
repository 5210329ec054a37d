//! Listening, changing tables under load, draining, upgrades and the end.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lockstep_gateway::{Gateway, GatewayConfig, ListenError};

use crate::support::{
    Client, Instance, PATIENCE, Running, answer, canary, environment, raw, read_head, stable, table,
    wait_until,
};

#[test]
fn a_table_swap_under_load_fails_no_request() {
    let instances: Vec<Instance> = (0..4).map(|_| Instance::named("any")).collect();
    let running = Running::start(&[stable(0, &[("i-0", instances[0].address)])]);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (mut client, done) = (running.client(), Arc::clone(&done));
            thread::spawn(move || {
                let mut served = 0_u64;
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(client.get("/", &n.to_string()).unwrap().status(), 200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    for revision in 2..400 {
        let (one, two) = (revision as usize % 4, (revision as usize + 1) % 4);
        let ids = ["i-0", "i-1", "i-2", "i-3"];
        let arms = canary(3_000, (ids[one], instances[one].address), (ids[two], instances[two].address));
        running.apply(revision, &arms);
        assert_eq!(running.gateway.receipt(&environment()).revision, revision);
    }
    done.store(true, Ordering::SeqCst);
    let served: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let counted = running.traffic(0).requests + running.traffic(1).requests;
    assert_eq!((counted, running.traffic(0).failures + running.traffic(1).failures), (served, 0));
}

#[test]
fn an_instance_that_left_the_table_stays_visible_until_its_requests_have_ended() {
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let old = Instance::start(move |_, stream| {
        wait_until("the test lets it answer", || gate.load(Ordering::SeqCst));
        answer(stream, 200, b"late")
    });
    let new = Instance::named("new");
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let mut slow = running.client();
    slow.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    wait_until("the request reached the instance", || old.served() == 1);
    running.apply(2, &[stable(1, &[("new", new.address)])]);
    assert_eq!(running.client().get("/", "k").unwrap().text(), "new");
    let receipt = running.gateway.receipt(&environment());
    assert_eq!(receipt.in_flight.get(&"old".parse().unwrap()), Some(&1));
    go.store(true, Ordering::SeqCst);
    assert_eq!(slow.read().unwrap().text(), "late");
    wait_until("the instance is drained", || running.gateway.receipt(&environment()).in_flight.is_empty());
    assert_eq!(running.traffic(0).requests, 1, "what an arm served is still counted after it left");
}

#[test]
fn idle_connections_to_an_instance_that_left_are_closed() {
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    let old = Instance::start(move |_, stream| {
        answer(stream, 200, b"old")?;
        let end = stream.read(&mut [0])?;
        seen.store(end == 0, Ordering::SeqCst);
        Ok(crate::support::Then::Close)
    });
    let new = Instance::named("new");
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    assert_eq!(running.client().get("/", "k").unwrap().text(), "old");
    running.apply(2, &[stable(1, &[("new", new.address)])]);
    wait_until("the connection is closed", || closed.load(Ordering::SeqCst));
}

#[test]
fn an_address_in_use_is_named_and_can_be_taken_after_its_release() {
    let gateway = Gateway::start(GatewayConfig::new("test")).unwrap();
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let other = "staging".parse().unwrap();
    let error = gateway.listen(&other, address).unwrap_err();
    assert!(matches!(&error, ListenError::InUse { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("{address} for environment `staging` is in use by another listener")
    );
    assert_eq!(Client::connect(address).get("/", "k").unwrap().status(), 503, "it listens without a table");
    assert!(gateway.unlisten(&environment(), address));
    assert!(!gateway.unlisten(&environment(), address));
    wait_until("the address is free", || gateway.listen(&other, address).is_ok());
    assert_eq!(gateway.listening(), [(other, address)]);
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_closes_idle_connections() {
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let instance = Instance::start(move |_, stream| {
        wait_until("the test lets it answer", || gate.load(Ordering::SeqCst));
        answer(stream, 200, b"late")
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let (mut busy, mut idle) = (running.client(), running.client());
    busy.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    wait_until("the request reached the instance", || instance.served() == 1);
    let reading = thread::spawn(move || {
        assert_eq!(idle.rest(), b"");
        go.store(true, Ordering::SeqCst);
        busy.read().unwrap()
    });
    running.gateway.shutdown(PATIENCE).await;
    let late = reading.join().unwrap();
    assert_eq!((late.text().as_str(), late.header("connection")), ("late", Some("close")));
    assert!(std::net::TcpStream::connect(running.address).is_err());
}

#[tokio::test]
async fn shutdown_ends_after_its_grace_even_with_a_request_that_never_ends() {
    let instance = Instance::start(|_, stream| {
        let _ = stream.read(&mut [0]);
        Ok(crate::support::Then::Close)
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    wait_until("the request reached the instance", || instance.served() == 1);
    running.gateway.shutdown(Duration::from_millis(50)).await;
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_kept_connection_is_answered_once_more_when_its_listener_stops() {
    let instance = Instance::named("one");
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut kept = running.client();
    let first = kept.get("/", "k").unwrap();
    assert_eq!((first.text().as_str(), first.header("connection")), ("one", None));
    let next = running.gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(running.gateway.unlisten(&environment(), running.address));
    wait_until("nobody is taken there any more", || std::net::TcpStream::connect(running.address).is_err());
    let last = kept.get("/", "k").unwrap();
    assert_eq!((last.text().as_str(), last.header("connection")), ("one", Some("close")));
    assert_eq!(kept.rest(), b"");
    assert_eq!(Client::connect(next).get("/", "k").unwrap().text(), "one");
}

#[test]
fn a_stream_of_events_ends_in_order_when_its_instance_was_replaced_and_when_the_gateway_ends() {
    let endless = || {
        Instance::start(|_, stream| {
            raw(
                stream,
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )?;
            raw(stream, b"9\r\ndata: 1\n\n\r\n")?;
            let _ = stream.read(&mut [0]);
            Ok(crate::support::Then::Close)
        })
    };
    let (old, new) = (endless(), endless());
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let begin = || {
        let mut client = running.client();
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        assert_eq!(client.read_to_head().unwrap().status(), 200);
        client
    };
    let mut first = begin();
    let mut next = table(2, &[stable(1, &[("new", new.address)])]);
    next.entry = Some(lockstep_domain::entry::Entry { drain_ms: Some(400), ..Default::default() });
    running.gateway.apply(next).unwrap();
    let events = b"9\r\ndata: 1\n\n\r\n0\r\n\r\n";
    let mut got = vec![0; events.len()];
    first.reader().read_exact(&mut got).unwrap();
    assert_eq!(got, events);
    let mut second = begin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(running.gateway.shutdown(Duration::from_secs(4)));
    assert_eq!(second.rest(), events);
}

#[test]
fn a_websocket_is_told_before_an_instance_that_was_replaced_ends() {
    let (send, receive) = std::sync::mpsc::channel();
    let old = Instance::start(move |_, stream| {
        raw(
            stream,
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
        )?;
        let mut got = Vec::new();
        stream.read_to_end(&mut got)?;
        send.send(got).unwrap();
        Ok(crate::support::Then::Close)
    });
    let new = Instance::named("new");
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let mut client = running.client();
    client
        .send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .unwrap();
    assert_eq!(client.read_to_head().unwrap().status(), 101);
    let mut next = table(2, &[stable(1, &[("new", new.address)])]);
    next.entry = Some(lockstep_domain::entry::Entry { drain_ms: Some(400), ..Default::default() });
    running.gateway.apply(next).unwrap();
    assert_eq!(client.rest(), [0x88, 0x02, 0x03, 0xf4], "service restart");
    assert_eq!(receive.recv_timeout(PATIENCE).unwrap(), [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn a_websocket_passes_bytes_both_ways_after_the_switch() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start(&[stable(0, &[("ws", listener.local_addr().unwrap())])]);
    let instance = thread::spawn(move || {
        let mut stream = std::io::BufReader::new(listener.accept().unwrap().0);
        let request = read_head(&mut stream).unwrap();
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert_eq!(request.header("connection"), Some("upgrade"));
        raw(
            &mut stream,
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello",
        )
        .unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        raw(&mut stream, &word).unwrap();
    });
    let mut client = running.client();
    client
        .send("GET /chat HTTP/1.1\r\nhost: shop.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\nearly")
        .unwrap();
    let head = client.read().unwrap();
    assert_eq!((head.status(), head.header("upgrade"), head.version()), (101, Some("websocket"), "1.0.0"));
    assert_eq!(client.rest(), b"helloearly");
    instance.join().unwrap();
    wait_until("the tunnel is closed", || running.in_flight() == 0);
}
