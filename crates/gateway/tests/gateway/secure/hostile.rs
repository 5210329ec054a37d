//! Clients that do not shake hands as they should.

use std::time::Duration;

use super::*;

fn raw_socket(entrance: &Entrance) -> TcpStream {
    let socket = TcpStream::connect(entrance.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends bytes and reads until the gateway closes.
fn told(entrance: &Entrance, bytes: &[u8]) -> Vec<u8> {
    let mut socket = raw_socket(entrance);
    let mut answer = Vec::new();
    // Whoever sends more than is read is cut off while it does.
    let _ = socket.write_all(bytes).and_then(|()| socket.read_to_end(&mut answer));
    answer
}

fn is_alert(bytes: &[u8]) -> bool {
    bytes.len() == 7 && bytes[0] == 0x15
}

#[test]
fn what_is_no_handshake_is_refused_and_others_are_served_meanwhile() {
    let mirror = mirror();
    let timeouts = Timeouts { handshake: Duration::from_millis(300), ..Timeouts::default() };
    let entrance = Entrance::with(&mirror, timeouts, EntrySettings::default());
    // They say nothing, or half a record.
    let slow: Vec<_> = (0..50).map(|_| raw_socket(&entrance)).collect();
    slow.iter().step_by(2).for_each(|mut socket| socket.write_all(&[0x16, 3, 1, 0, 200, 1]).unwrap());
    entrance.connect().get().unwrap();
    assert!(is_alert(&told(&entrance, &[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5])), "data before a handshake");
    assert!(is_alert(&told(&entrance, &[0x16, 3, 1, 0, 5, 2, 0, 0, 1, 0])), "the hello of a server");
    assert!(is_alert(&told(&entrance, &[0x80, 0x2e, 1, 3, 1, 0, 0, 0, 0, 0])), "the hello of SSL 2");
    told(&entrance, &[0; 512]);
    told(&entrance, &[0x16, 3, 1, 0xff, 0xff, 1]);
    let plain = String::from_utf8(told(&entrance, b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("this port speaks https"), "{plain}");
    wait_until("it is counted", || entrance.count("plain_http") == 1);
    drop(raw_socket(&entrance));
    wait_until("all who said too little are closed", || entrance.count("slow") >= 50);
    wait_until("one that left is counted", || entrance.count("left") >= 1);
    wait_until("what is no handshake is counted", || entrance.count("failed") >= 3);
    entrance.connect().get().unwrap();
}

#[test]
fn the_first_message_of_a_client_is_bounded() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    // A hello that claims 60,000 bytes, in records of 1,000.
    let mut bytes = Vec::new();
    for piece in 0..60 {
        bytes.extend([0x16, 3, 1, 0x03, 0xe8]);
        let start: &[u8] = if piece == 0 { &[1, 0, 0xea, 0x60] } else { &[] };
        bytes.extend_from_slice(start);
        bytes.resize(bytes.len() + 1_000 - start.len(), 3);
    }
    told(&entrance, &bytes);
    wait_until("it is refused", || entrance.count("failed") == 1);
    entrance.connect().get().unwrap();
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let config = Hello::default().config(&entrance.authority);
    let name = ServerName::try_from("shop.test").unwrap();
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut socket = raw_socket(&entrance);
    socket.set_nodelay(true).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    for byte in hello {
        socket.write_all(&[byte]).unwrap();
    }
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    Secured(StreamOwned::new(session, socket)).get().unwrap();
}

#[test]
fn bytes_that_break_tls_in_the_middle_end_that_connection_alone() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let (mut broken, mut other) = (entrance.connect(), entrance.connect());
    broken.get().unwrap();
    // A renegotiation is a handshake message in the middle; so is garbage with the right head.
    broken.0.sock.write_all(&[0x16, 3, 3, 0, 4, 0, 0, 0, 0]).unwrap();
    assert!(broken.get().is_err());
    other.get().unwrap();
}
