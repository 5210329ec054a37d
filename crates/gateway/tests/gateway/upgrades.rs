//! Protocols beside WebSocket that a connection switches to where its route passes them.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use lockstep_domain::routes::FORMAT_WITH_UPGRADES;
use serde_json::json;

use crate::policies::{asking, code, open};
use crate::streams::support::h2c;
use crate::support::{Instance, Message, PATIENCE, Running, Then, answer, raw, stable, table, wait_until};

/// Switches to what it is asked for, or to what the path says; then answers what it got when that has ended.
fn switching() -> Instance {
    Instance::start(|request, stream| {
        let Some(asked) = request.header("upgrade") else { return answer(stream, 200, b"plain") };
        let to = if request.target() == "/" { asked } else { &request.target()[1..] };
        let head =
            format!("HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: {to}\r\nx-a: b\r\n\r\nhello");
        raw(stream, head.as_bytes())?;
        let mut got = Vec::new();
        stream.read_to_end(&mut got)?;
        // Only who ended its sending without closing gets this.
        stream.get_mut().write_all(&[b"got ", &got[..]].concat())?;
        Ok(Then::Close)
    })
}

fn ask(running: &Running, line: &str, fields: &str) -> Message {
    let mut client = running.client();
    client.ask(format!("{line} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n")).unwrap()
}

#[test]
fn a_connection_switches_to_what_its_route_passes_and_each_way_ends_by_itself() {
    let instance = switching();
    let running =
        open(&[stable(0, &[("one", instance.address)])], &json!({ "upgrades": ["tcp", "spdy/3.1"] }));
    for (line, name) in [("GET /", "tcp"), ("POST /", "TCP"), ("POST /", "SPDY/3.1")] {
        let mut client = running.client();
        let length = if line.starts_with("POST") { "content-length: 0\r\n" } else { "" };
        let head = format!(
            "{line} HTTP/1.1\r\nhost: shop.test\r\n{length}connection: upgrade\r\nupgrade: {name}\r\n\r\nearly"
        );
        let got = client.ask(head).unwrap();
        assert_eq!((got.status(), got.header("upgrade"), got.header("x-a")), (101, Some(name), Some("b")));
        assert_eq!((got.header("connection"), got.version()), (Some("upgrade"), "1.0.0"));
        // What begins as a frame of a WebSocket is bytes like all others.
        client.send(b"\x88\x7f\xff\xff and more").unwrap();
        client.socket().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), b"hellogot early\x88\x7f\xff\xff and more", "{name}");
    }
    wait_until("nothing is under way", || running.in_flight() == 0);
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (3, 0));
}

#[test]
fn nothing_is_passed_that_the_route_does_not_name() {
    let instance = switching();
    let arms = [stable(0, &[("one", instance.address)])];
    let plain = Running::start(&arms);
    assert_eq!(
        ask(&plain, "GET /", "connection: upgrade\r\nupgrade: tcp\r\n").text(),
        "plain",
        "by nobody's permission"
    );
    let running = open(&arms, &json!({ "upgrades": ["tcp"] }));
    for fields in [
        "connection: upgrade\r\nupgrade: spdy/3.1\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: upgrade\r\nupgrade: tcp, h2c\r\n",
        "connection: upgrade\r\nupgrade: tcp\r\nupgrade: h2c\r\n",
        "upgrade: tcp\r\n",
        "connection: close\r\nupgrade: tcp\r\n",
    ] {
        assert_eq!(ask(&running, "GET /", fields).text(), "plain", "{fields}");
    }
    let with_body = "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\nhi";
    assert_eq!(running.client().ask(with_body).unwrap().text(), "plain", "what has a body is a request");
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn an_instance_switches_to_what_its_client_named_or_not_at_all() {
    let instance = switching();
    let running = open(
        &[stable(0, &[("one", instance.address)])],
        &json!({ "upgrades": ["tcp"], "retries": { "attempts": 0 } }),
    );
    for path in ["/websocket", "/h2c", "/tcp,h2c"] {
        let got = ask(&running, &format!("POST {path}"), "connection: upgrade\r\nupgrade: tcp\r\n");
        assert_eq!((got.status(), code(&got).as_str()), (502, "bad_answer"), "{path}");
    }
    let unasked = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n")
            .map(|_| Then::Close)
    });
    let running = open(&[stable(0, &[("one", unasked.address)])], &json!({ "upgrades": ["tcp"] }));
    assert_eq!(ask(&running, "POST /", "content-length: 0\r\n").status(), 502, "nobody asked for it");
}

#[test]
fn it_ends_with_its_instance_when_that_leaves_and_is_no_websocket() {
    let instance = switching();
    let running = open(&[stable(0, &[("one", instance.address)])], &json!({ "upgrades": ["tcp"] }));
    let mut client = running.client();
    let head = "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n";
    assert_eq!(client.ask(head).unwrap().status(), 101);
    let new = Instance::named("new");
    let mut next = table(3, &[stable(1, &[("new", new.address)])]);
    next.entry = Some(lockstep_domain::entry::Entry { drain_ms: Some(400), ..Default::default() });
    running.gateway.apply(next).unwrap();
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.rest(), b"hello", "no frame is put among bytes that nobody here knows");
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn an_instance_of_http_2_is_not_asked_and_a_table_has_the_format_only_where_it_is_used() {
    let instance = switching();
    let arms = [stable(0, &[("one", instance.address)])];
    let upgrades = json!({ "upgrades": ["tcp"] });
    let table = asking(table(2, &arms), &upgrades).in_its_format();
    assert_eq!(table.format, FORMAT_WITH_UPGRADES);
    assert!(asking(table.clone(), &json!({})).in_its_format().format < FORMAT_WITH_UPGRADES);
    let running = Running::start(&arms);
    running.gateway.apply(h2c(table)).unwrap();
    let got = ask(&running, "POST /", "content-length: 0\r\nconnection: upgrade\r\nupgrade: tcp\r\n");
    assert_eq!((got.status(), code(&got).as_str()), (501, "no_upgrade"));
}
