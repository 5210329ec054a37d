//! What becomes of requests under way when their instance is replaced: finished within the drain time, cut off after it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, misbehaving, service};

/// How long an instance has for what it has begun.
const DRAIN: Duration = Duration::from_secs(3);

/// Answers late, as a stream of so many events, or as a WebSocket that never ends, and says that it has begun.
const BUSY: &str = "
        import base64, hashlib
        what, _, much = self.path.partition('?')[2].partition('=')
        if what: open('BEGUN/' + what + much, 'w').close()
        if what == 'late': time.sleep(float(much))
        if what == 'events':
            self.send_response(200)
            self.send_header('Content-Type', 'text/event-stream')
            self.send_header('Connection', 'close')
            self.end_headers()
            for number in range(int(much)):
                self.wfile.write(b'data: %d\\n\\n' % number)
                time.sleep(0.05)
            self.close_connection = True
            return
        if what == 'socket':
            key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
            self.send_response(101)
            self.send_header('Upgrade', 'websocket')
            self.send_header('Connection', 'Upgrade')
            self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            while True:
                self.wfile.write(b'\\x81\\x01a')
                time.sleep(0.05)";

/// What a client got, and when it was over.
struct Got {
    bytes: Vec<u8>,
    at: Instant,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn ask(address: &str, query: &str, fields: &str) -> JoinHandle<Got> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /store?{query} HTTP/1.1\r\nhost: {address}\r\n{fields}\r\n").unwrap();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A connection that is reset is over, too.
        let _ = stream.read_to_end(&mut bytes);
        Got { bytes, at: Instant::now() }
    })
}

#[test]
fn what_is_under_way_is_finished_within_the_drain_time_and_cut_off_after_it() {
    let place = Place::begin();
    let begun = place.path("begun");
    std::fs::create_dir(&begun).unwrap();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &misbehaving("one", "pass", &BUSY.replace("BEGUN", &begun)));
    let first = place.first_release(&repository, "store");
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s", "--drain", "3s"]);
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    repository.write("service.py", &service("two"));
    repository.commit("feat: two");
    let second = place.release("store");

    let gateway = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let close = "connection: close\r\n";
    let short = ask(&gateway, "late=2.5", close);
    let long = ask(&gateway, "late=60", close);
    let few = ask(&gateway, "events=20", close);
    let endless = ask(&gateway, "events=100000", close);
    let socket = ask(&gateway, "socket=", upgrade);
    eventually("all have begun", || (std::fs::read_dir(&begun).unwrap().count() == 5).then_some(()));
    let before = Instant::now();
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));

    let short = short.join().unwrap().text();
    assert!(short.starts_with("HTTP/1.1 200") && short.ends_with("one"), "{short}");
    let few = few.join().unwrap().text();
    assert!(few.contains("data: 19") && few.ends_with("0\r\n\r\n"), "{few}");
    let long = long.join().unwrap();
    assert!(long.at >= before + DRAIN && long.text().starts_with("HTTP/1.1 502"), "{}", long.text());
    let endless = endless.join().unwrap();
    // Its end is where its connection ends, so nobody can tell that it was cut off.
    assert!(endless.at >= before + DRAIN, "{}", endless.text());
    let socket = socket.join().unwrap();
    assert!(socket.at >= before + DRAIN && socket.text().starts_with("HTTP/1.1 101"), "{}", socket.text());
}
