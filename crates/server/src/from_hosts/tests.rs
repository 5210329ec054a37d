use lockstep_control::Control;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::access::Access;
use crate::{ServerConfig, control_config, router};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A server without a port, and what comes from hosts.
struct Bench {
    control: Arc<Control>,
    app: Router,
    door: HostDoor,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Bench {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:8470".parse().unwrap();
        let nothing = || vec!["false".into()];
        let mut config = ServerConfig::new(folder.path().join("data"), listen, nothing(), nothing());
        config.first_gateway_port = 0;
        let control = Control::open(control_config(&config)).await.unwrap();
        let stop = CancellationToken::new();
        let access = Access::new(listen, Some(TOKEN), &[]).unwrap();
        let app = router::router(Arc::clone(&control), access, stop.clone());
        let door = HostDoor::default();
        let bench = Self { control, app, door, stop, _folder: folder };
        bench.operator("/gateways", &json!({ "name": "host-web1", "environments": ["production"] })).await;
        bench
    }

    fn open(&self) {
        self.door.open(self.app.clone(), self.stop.clone());
    }

    /// Changes something as the operator, beside the door.
    async fn operator(&self, path: &str, body: &Value) {
        let request = Request::post(format!("/api/v1{path}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {TOKEN}"));
        let response =
            self.app.clone().call(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
    }

    fn connect(&self, host: &str) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        self.door.serve(host, Box::new(theirs));
        ours
    }

    /// Sends bytes from a host, and returns everything that comes back.
    async fn says(&self, host: &str, bytes: &[u8]) -> String {
        let mut stream = self.connect(host);
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks from a host, with a token; returns the status, 0 where nothing was answered.
    async fn asks(&self, host: &str, what: &str, token: Option<&str>, body: &Value) -> u16 {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let (method, path) = what.split_once(' ').unwrap();
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{token}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.says(host, request.as_bytes()).await;
        answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }
}

fn receipt(environment: &str) -> Value {
    json!({ "gateway": "run", "environment": environment, "revision": 0, "in_flight": {}, "traffic": [] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_its_gateway_and_nothing_else_whatever_it_shows() {
    let bench = Bench::begin().await;
    let (table, receipts) =
        ("GET /environments/production/routes", "POST /environments/production/gateway-receipts");
    assert_eq!(bench.asks("web1", table, None, &json!({})).await, 0, "the server does not answer yet");
    bench.open();
    let added = bench.control.gateways();
    assert_eq!(added.len(), 1);
    for token in [None, Some(TOKEN), Some("wrong"), Some("lockstep-gateway-0123456789abcdef")] {
        let asks = async |what: &str, body: &Value| bench.asks("web1", what, token, body).await;
        let answered = asks(table, &json!({})).await;
        assert!([200, 204].contains(&answered), "{answered}");
        assert_eq!(asks(receipts, &receipt("production")).await, 200);
        assert_eq!(asks("GET /environments/production/gateway-visit-keys", &json!({})).await / 100, 2);
        for (what, body) in [
            ("GET /environments/staging/routes", json!({})),
            ("POST /environments/staging/gateway-receipts", receipt("staging")),
            ("GET /environments/staging/gateway-visit-keys", json!({})),
            ("GET /environments", json!({})),
            ("GET /journal/export", json!({})),
            ("POST /services", json!({})),
            ("POST /gateways", json!({ "name": "other", "environments": ["staging"] })),
            ("POST /gateways/host-web1/remove", json!({})),
            ("POST /environments/production/operations", json!({})),
            ("GET /nothing", json!({})),
        ] {
            assert_eq!(asks(what, &body).await, 403, "{what}");
        }
        // A host of which nothing is to be had, and one that is none.
        assert_eq!(bench.asks("web2", table, token, &json!({})).await, 404);
        assert_eq!(bench.asks("Web 1/..", table, token, &json!({})).await, 0);
    }
    // What it may is taken from it at once.
    bench.operator("/gateways/host-web1/remove", &json!({})).await;
    assert_eq!(bench.asks("web1", table, None, &json!({})).await, 404);
    bench.control.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_what_has_no_end_is_answered_once_and_ended() {
    let bench = Bench::begin().await;
    bench.open();
    for garbage in
        [&b"\0\xff"[..], b"GET / HTTP/9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET  \r\n\r\n"]
    {
        let answer = bench.says("web1", garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let endless = vec![b'a'; 2 * 1024 * 1024];
    let answer = bench.says("web1", &endless).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    // One request a connection: what comes behind it is not looked at.
    let two = "GET /api/v1/environments/production/routes HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2);
    assert_eq!(bench.says("web1", two.as_bytes()).await.matches("HTTP/1.1").count(), 1);
    // A page of somebody else's has no business here either.
    let foreign = b"GET /api/v1/environments/production/routes HTTP/1.1\r\nhost: evil.test\r\n\r\n";
    assert!(bench.says("web1", foreign).await.starts_with("HTTP/1.1 403"));
    bench.control.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_hold_up_their_host_alone_and_a_server_that_stops_waits_for_none() {
    let bench = Bench::begin().await;
    bench.operator("/gateways", &json!({ "name": "host-web2", "environments": ["production"] })).await;
    bench.open();
    let head = "POST /api/v1/environments/production/gateway-receipts HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{";
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = bench.connect("web1");
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let receipts = "POST /environments/production/gateway-receipts";
    assert_eq!(bench.asks("web2", receipts, None, &receipt("production")).await, 200);
    // Its own tables have no bodies, and go on.
    let answered = bench.asks("web1", "GET /environments/production/routes", None, &json!({})).await;
    assert!([200, 204].contains(&answered), "{answered}");
    bench.stop.cancel();
    for mut stream in held {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    bench.control.close().await;
}
