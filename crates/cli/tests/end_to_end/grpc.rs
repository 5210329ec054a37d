//! A service that speaks gRPC, on real processes: asked for its health, called through the gateway, moved under load, and judged by
//! how its calls end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use tokio::net::TcpStream;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::Repository;

const SERVICE: &str = r#"
import http2 from "node:http2";

const message = (bytes) => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
};

const server = http2.createServer();
const sessions = new Set();
server.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
});
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  stream.resume();
  stream.on("end", () => {
    const health = headers[":path"] === "/grpc.health.v1.Health/Check";
    const head = { ":status": 200, "content-type": "application/grpc" };
    if (BAD && !health) {
      stream.respond({ ...head, "grpc-status": "14", "grpc-message": "away" }, { endStream: true });
      return;
    }
    stream.respond(head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(message(health ? Buffer.from([8, 1]) : Buffer.from("TEXT")));
  });
});
server.listen(Number(process.env.PORT), process.env.HOST);
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  sessions.forEach((session) => session.close());
});
"#;

const MANIFEST: &str = r#"
name = "catalog"
[run]
command = "node server.mjs"
health = { grpc = true, interval = "100ms" }
[[route]]
path = "/shop.Catalog"
"#;

fn write(repository: &Repository, text: &str, bad: bool) {
    repository.write("server.mjs", &SERVICE.replace("TEXT", text).replace("BAD", &bad.to_string()));
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    status: String,
    body: String,
    version: String,
}

/// Calls once, on a connection of its own.
fn call(address: &str, key: u64) -> Result<Ended, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(calling(address, key)).map_err(|error| error.to_string())
}

async fn calling(address: &str, key: u64) -> Result<Ended, h2::Error> {
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/shop.Catalog/GetItem"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-lockstep-key", format!("client-{key}"));
    let (answer, mut upload) = sender.ready().await?.send_request(request.body(()).unwrap(), false)?;
    let mut empty = BytesMut::new();
    empty.put_bytes(0, 5);
    upload.send_data(empty.freeze(), true)?;
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece: Bytes = piece?;
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    let field =
        |fields: &HeaderMap, name: &str| fields.get(name).map(|value| value.to_str().unwrap().to_owned());
    let status = field(&trailers, "grpc-status").or_else(|| field(&head.headers, "grpc-status"));
    Ok(Ended {
        status: status.unwrap_or_default(),
        body: String::from_utf8_lossy(body.get(5..).unwrap_or_default()).into_owned(),
        version: field(&head.headers, "lockstep-version").unwrap_or_default(),
    })
}

/// Calls while something else is done; returns the calls that did not end well.
fn under_load(address: &str, work: impl FnOnce(&AtomicU64)) -> Vec<String> {
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let (stop, calls) = (&stop, &calls);
                scope.spawn(move || {
                    let mut bad = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let key = calls.fetch_add(1, Ordering::SeqCst) * 2 + caller;
                        match call(address, key) {
                            Ok(ended) if ended.status == "0" => {}
                            other => bad.push(format!("{other:?}")),
                        }
                    }
                    bad
                })
            })
            .collect();
        work(&calls);
        stop.store(true, Ordering::SeqCst);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
fn a_grpc_service_moves_without_a_lost_call_and_a_version_whose_calls_fail_is_taken_back() {
    let place = Place::begin();
    let repository = place.repository("catalog");
    repository.write("lockstep.toml", MANIFEST);
    write(&repository, "one", false);
    let first = place.first_release(&repository, "catalog");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    let address = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let expected = Ended { status: "0".into(), body: "one".into(), version: first };
    assert_eq!(call(&address, 1), Ok(expected));

    write(&repository, "two", false);
    repository.commit("feat: two");
    let second = place.release("catalog");
    let bad = under_load(&address, |calls| {
        place.run(&["deploy", &second, "--env", ENVIRONMENT]);
        let until = calls.load(Ordering::SeqCst) + 10;
        eventually("calls go on", || (calls.load(Ordering::SeqCst) >= until).then_some(()));
    });
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(call(&address, 1).unwrap().body, "two");

    // Its health is well, and every answer has the HTTP status 200.
    write(&repository, "three", true);
    repository.commit("feat: three");
    let third = place.release("catalog");
    let bad = under_load(&address, |_| {
        let said = place.fail(&["deploy", &third, "--env", ENVIRONMENT, "--strategy", "canary"], 1);
        assert!(said.contains("was taken back") && said.contains("fails 100 % of requests"), "{said}");
    });
    assert!(bad.iter().all(|it| it.contains("status: \"14\"")), "{bad:#?}");
    assert_eq!(call(&address, 1).unwrap().version, second);
}
