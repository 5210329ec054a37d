//! What can be seen of a gateway: metrics, readiness, the access log; and how it says goodbye.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lockstep_domain::routes::SplitRole;
use lockstep_gateway::explain::{Question, explain};
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, Admin, Gateway, GatewayConfig};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    ArmSpec, Client, Instance, PATIENCE, Running, TOKEN, Then, answer, as_instance, canary, environment, raw,
    stable, table, wait_until,
};

/// The admin address of a gateway, while this lives.
pub(crate) struct Asked {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Asked {
    pub(crate) fn serve(admin: Admin) -> Self {
        let stop = CancellationToken::new();
        let (send, receive) = std::sync::mpsc::channel();
        let until = stop.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                admin.serve(listener, until).await;
            });
        });
        Self { address: receive.recv().unwrap(), stop }
    }

    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        self.ask_as(path, "127.0.0.1")
    }

    pub(crate) fn ask_as(&self, path: &str, host: &str) -> (u16, String) {
        let answered = Client::connect(self.address)
            .ask(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .unwrap();
        (answered.status(), answered.text())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The value of one sample.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_version_keeps_as_many_instances_as_it_says_and_that_is_counted_and_explained() {
    let start = || Instance::start(|_, stream| answer(stream, 500, b"broken"));
    let instances = [start(), start(), start()];
    let named: Vec<_> =
        ["one", "two", "three"].into_iter().zip(instances.iter().map(|it| it.address)).collect();
    let mut table = table(2, &[stable(0, &named)]);
    let shop = table.services.values_mut().next().unwrap();
    let rule =
        json!({ "ejection": { "consecutive": 2, "most_percent": 100, "panic_percent": 0, "floor": 2 } });
    shop.splits[0].policy = Some(serde_json::from_value(rule).unwrap());
    let table = table.in_its_format();
    assert_eq!(table.format, lockstep_domain::routes::FORMAT_WITH_FLOORS);
    let running = Running::start(&[]);
    running.gateway.apply(table.clone()).unwrap();
    let asked = Asked::serve(running.gateway.admin());
    for _ in 0..100 {
        assert_eq!(running.client().get("/", "k").unwrap().status(), 500);
    }
    let served: Vec<_> = instances.iter().map(Instance::served).collect();
    assert_eq!(served.iter().filter(|served| **served > 10).count(), 2, "{served:?}");
    let text = asked.ask("/-/metrics").1;
    let labels = "deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",config=\"0\"";
    let held = sample(&text, &format!("lockstep_gateway_ejections_held_total{{{labels}}}"));
    assert!(held > Some(0.0), "{text}");
    let question = Question::new("GET", "http://shop.test/", &[], [192, 0, 2, 1].into()).unwrap();
    let told = explain(table, &question).unwrap();
    assert!(told.steps.iter().any(|step| step.says.contains("of which 2 stay")), "{told:?}");
}

#[test]
fn metrics_count_what_clients_got() {
    let instance = Instance::start(|request, stream| match request.target() {
        "/broken" => Ok(Then::Close),
        target => answer(stream, target.trim_start_matches('/').parse().unwrap(), b"said"),
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let asked = Asked::serve(running.gateway.admin());
    let mut client = running.client();
    for (path, times) in [("/200", 3), ("/404", 2), ("/503", 4)] {
        for _ in 0..times {
            client.get(path, "k").unwrap();
        }
    }
    let broken = "POST /broken HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(running.client().ask(broken).unwrap().status(), 502);
    assert_eq!(running.client().ask("GET / HTTP/1.1\r\nhost: nobody.test\r\n\r\n").unwrap().status(), 404);
    let labels = "deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",config=\"0\"";
    let none =
        "deployment_environment_name=\"production\",service_name=\"\",service_version=\"\",config=\"\"";
    let expected = [
        (format!("lockstep_gateway_requests_total{{{labels},class=\"2xx\"}}"), 3.0),
        (format!("lockstep_gateway_requests_total{{{labels},class=\"4xx\"}}"), 2.0),
        (format!("lockstep_gateway_requests_total{{{labels},class=\"5xx\"}}"), 5.0),
        (format!("lockstep_gateway_requests_total{{{none},class=\"4xx\"}}"), 1.0),
        (format!("lockstep_gateway_request_duration_seconds_count{{{labels}}}"), 10.0),
        (format!("lockstep_gateway_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}}"), 10.0),
        ("lockstep_gateway_table_revision{deployment_environment_name=\"production\"}".to_owned(), 1.0),
        ("lockstep_gateway_ready".to_owned(), 1.0),
    ];
    // What was answered is counted once the last byte is gone, which a client may see first.
    wait_until("everything is counted", || {
        let text = asked.ask("/-/metrics").1;
        expected.iter().all(|(name, value)| sample(&text, name) == Some(*value))
    });
    let text = asked.ask("/-/metrics").1;
    let failures = |cause| {
        let name = "lockstep_gateway_upstream_failures_total";
        let labels = format!(
            "deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",cause=\"{cause}\""
        );
        sample(&text, &format!("{name}{{{labels}}}"))
    };
    assert_eq!((failures("failed"), failures("broken")), (Some(4.0), Some(1.0)), "{text}");
    assert!(sample(&text, "lockstep_gateway_connections").unwrap() >= 1.0);
    well_formed(&text);
}

/// What the text format asks for: each family named once, before its samples, and all of them together; no sample twice;
/// histograms that grow and end with the count.
fn well_formed(text: &str) {
    let (mut family, mut families, mut samples) =
        (String::new(), Vec::new(), std::collections::BTreeSet::new());
    let mut last_bucket = 0.0;
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(!families.contains(&family), "{family} comes twice");
            families.push(family.clone());
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(name.starts_with(family.as_str()), "{line} stands below {family}");
        assert!(samples.insert(name.to_owned()), "{line} comes twice");
        if name.contains("_bucket{") {
            assert!(value >= last_bucket, "{line} is less than before");
            last_bucket = if name.contains("+Inf") { 0.0 } else { value };
        }
    }
}

#[test]
fn retries_shields_and_those_who_left_are_counted() {
    let candidate = Instance::start(|_, stream| answer(stream, 500, b"broken"));
    let old = Instance::named("old");
    let running = Running::start(&canary(9_999, ("new", candidate.address), ("old", old.address)));
    let asked = Asked::serve(running.gateway.admin());
    assert_eq!(running.client().get("/", "k").unwrap().version(), "1.0.0");
    let labels = "deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",config=\"0\"";
    wait_until("the shield is counted", || {
        let text = asked.ask("/-/metrics").1;
        let of = |name: &str| sample(&text, &format!("lockstep_gateway_{name}{{{labels}}}"));
        of("shielded_total") == Some(1.0) && of("retries_total") == Some(1.0)
    });
}

#[test]
fn a_gateway_is_ready_with_a_table_and_until_it_is_about_to_leave() {
    let config = GatewayConfig { workers: NonZeroUsize::MIN, ..GatewayConfig::new("test") };
    let gateway = Gateway::start(config).unwrap();
    let asked = Asked::serve(gateway.admin());
    assert_eq!(asked.ask("/-/health"), (200, "ok\n".to_owned()));
    assert_eq!(asked.ask("/-/ready"), (503, "no environment is served\n".to_owned()));
    gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(asked.ask("/-/ready"), (503, "there is no route table of `production` yet\n".to_owned()));
    gateway.apply(table(1, &[])).unwrap();
    assert_eq!(asked.ask("/-/ready"), (200, "ready\n".to_owned()));
    gateway.begin_to_leave();
    assert_eq!(asked.ask("/-/ready"), (503, "the gateway is about to end\n".to_owned()));
    assert_eq!(asked.ask("/-/health").0, 200);
    assert_eq!(asked.ask("/").0, 404);
    let mut client = Client::connect(asked.address);
    let refused = client.ask("POST /-/ready HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert_eq!((refused.status(), refused.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn nothing_of_this_is_on_the_address_of_clients() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"the service"));
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    for path in ["/-/health", "/-/ready", "/-/metrics"] {
        assert_eq!(running.client().get(path, "k").unwrap().text(), "the service");
    }
}

fn logged(path: &Path, queries: bool) -> (Gateway, SocketAddr) {
    let to = AccessLogTarget::File(path.to_path_buf());
    let access_log = Some(AccessLogConfig { queries, ..AccessLogConfig::new(to) });
    let workers = NonZeroUsize::MIN;
    let gateway =
        Gateway::start(GatewayConfig { workers, access_log, ..GatewayConfig::new("test") }).unwrap();
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    (gateway, address)
}

pub(crate) fn lines(path: &Path, count: usize) -> Vec<serde_json::Value> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until("the lines are written", || read().lines().count() >= count);
    read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_request_is_a_line_that_says_how_it_went_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let instance = Instance::start(|request, stream| match request.target() {
        "/broken" => {
            raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?;
            Ok(Then::Close)
        }
        _ => answer(stream, 200, b"hello"),
    });
    let (gateway, address) = logged(&path, false);
    gateway.apply(table(1, &[stable(0, &[("one", instance.address)])])).unwrap();
    let mut client = Client::connect(address);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let fields = format!(
        "traceparent: 00-{trace}-b7ad6b7169203331-01\r\ncookie: lockstep_key=ann\r\nauthorization: Bearer hunter2\r\n"
    );
    client.ask(format!("GET /a/../b?password=hunter2 HTTP/1.1\r\nhost: Shop.Test\r\n{fields}\r\n")).unwrap();
    client.ask(format!("GET {} HTTP/1.1\r\nhost: shop.test\r\n\r\n", as_instance("/@shop/x"))).unwrap();
    client.ask("GET /@~wrong/@shop/x HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    client.ask("GET /nowhere HTTP/1.1\r\nhost: other.test\r\n\r\n").unwrap();
    assert!(client.ask("GET /broken HTTP/1.1\r\nhost: shop.test\r\n\r\n").is_err());
    assert_eq!(Client::connect(address).ask("nonsense\r\n\r\n").unwrap().status(), 400);
    let lines = lines(&path, 6);
    let of = |n: usize, name: &str| lines[n][name].clone();
    let first = &lines[0];
    let expected = serde_json::json!({
        "time": first["time"], "environment": "production", "client": "127.0.0.1", "method": "GET", "host": "shop.test",
        "request_id": first["request_id"], "route": "shop.test/", "baseline": 1, "why": "key",
        "path": "/b", "status": 200, "version": "shop@1.0.0", "instance": "one", "ms": first["ms"], "bytes": first["bytes"],
        "tries": 1, "end": "whole", "trace": trace,
    });
    assert_eq!(*first, expected);
    assert_eq!(first["request_id"].as_str().unwrap().len(), 32);
    assert_ne!(first["request_id"], trace, "a trace that came has other requests, too");
    assert_eq!((of(1, "request_id"), of(1, "why")), (of(1, "trace"), "chance".into()));
    assert_eq!((of(1, "route"), of(5, "why")), (serde_json::Value::Null, serde_json::Value::Null));
    assert_eq!(of(5, "request_id").as_str().unwrap().len(), 32, "also what could not be read is found by it");
    assert!(first["time"].as_str().unwrap().ends_with('Z') && first["bytes"].as_u64().unwrap() > 5);
    assert_eq!((of(1, "path"), of(1, "status")), ("/@shop/x".into(), 200.into()));
    assert_eq!(
        (of(2, "path"), of(2, "status"), of(2, "code")),
        ("/@~".into(), 403.into(), "unknown_caller".into())
    );
    assert_eq!(
        (of(3, "path"), of(3, "status"), of(3, "code")),
        ("/nowhere".into(), 404.into(), "no_route".into())
    );
    assert_eq!((of(4, "status"), of(4, "end")), (200.into(), "broken_off".into()));
    assert_eq!(
        (of(5, "status"), of(5, "code"), of(5, "path")),
        (400.into(), "bad_request".into(), "".into())
    );
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in ["hunter2", TOKEN, "wrong", "ann"] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

#[test]
fn what_a_client_took_before_its_time_was_over_is_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let instance = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?;
        let _ = stream.read(&mut [0]);
        Ok(Then::Close)
    });
    let (gateway, address) = logged(&path, false);
    let limited = serde_json::json!({ "timeouts": { "request_ms": 200 } });
    let table = table(1, &[stable(0, &[("one", instance.address)])]);
    gateway.apply(crate::policies::asking(table, &limited)).unwrap();
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let got = client.rest();
    assert!(got.ends_with(b"half"));
    let line = &lines(&path, 1)[0];
    assert_eq!((&line["end"], &line["bytes"]), (&"out_of_time".into(), &got.len().into()));
}

#[test]
fn connections_on_which_nobody_asks_do_not_keep_the_admin_address_from_others() {
    let running = Running::start(&[]);
    let asked = Asked::serve(running.gateway.admin());
    let half = |_| {
        let mut client = Client::connect(asked.address);
        client.send("GET /-/health HTTP/1.1\r\nhost: 127").unwrap();
        client
    };
    let silent: Vec<Client> = (0..40).map(half).collect();
    assert_eq!(asked.ask("/-/health").0, 200);
    // It was answered before any of them was too slow.
    let last = silent.last().unwrap().socket();
    last.set_nonblocking(true).unwrap();
    assert_eq!(last.peek(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn queries_are_logged_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (gateway, address) = logged(&path, true);
    gateway.apply(table(1, &[])).unwrap();
    Client::connect(address).ask("GET /a?b=c HTTP/1.1\r\nhost: other.test\r\n\r\n").unwrap();
    assert_eq!(lines(&path, 1)[0]["query"], "?b=c");
}

#[test]
fn a_log_that_is_no_file_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for target in
        [folder.path().to_path_buf(), folder.path().join("no/such/folder/access.log"), "/dev/null".into()]
    {
        let access_log = Some(AccessLogConfig::new(AccessLogTarget::File(target)));
        assert!(Gateway::start(GatewayConfig { access_log, ..GatewayConfig::new("test") }).is_err());
    }
}

#[test]
fn of_two_services_at_one_address_the_log_names_the_one_that_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let instance = Instance::named("both");
    let (gateway, address) = logged(&path, false);
    let both = table(1, &[stable(0, &[("web-1", instance.address)])]);
    let mut services = both.services.clone();
    let mut other = both.services.values().next().unwrap().clone();
    other.splits[0].endpoints[0].instance = "api-1".parse().unwrap();
    services.insert("api".parse().unwrap(), other);
    let mut routes = both.routes.clone();
    let mut route = both.routes[0].clone();
    (route.rule.path, route.service) = ("/api".into(), "api".parse().unwrap());
    routes.push(route);
    gateway.apply(lockstep_domain::routes::RouteTable { services, routes, ..both }).unwrap();
    let mut client = Client::connect(address);
    client.get("/api", "k").unwrap();
    client.get("/", "k").unwrap();
    let lines = lines(&path, 2);
    assert_eq!([&lines[0]["instance"], &lines[1]["instance"]], ["api-1", "web-1"]);
}

#[test]
fn an_instance_that_answers_500_and_then_dies_is_in_the_counts_of_its_version() {
    let role = SplitRole::Stable;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arm = ArmSpec { version: (1, 0, 0), weight: 10_000, role, instances: vec![("one", dead)] };
    let running = Running::start(&[arm]);
    let asked = Asked::serve(running.gateway.admin());
    assert_eq!(running.client().get("/", "k").unwrap().status(), 503);
    let name = "lockstep_gateway_upstream_failures_total{deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",cause=\"unreachable\"}";
    assert_eq!(sample(&asked.ask("/-/metrics").1, name), Some(1.0));
}

/// A WebSocket through the gateway, open on both sides.
fn websocket(running: &Running) -> Client {
    let mut client = running.client();
    client
        .send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .unwrap();
    assert_eq!(client.read_to_head().unwrap().status(), 101);
    client
}

#[test]
fn both_ends_of_a_websocket_are_told_when_the_gateway_goes_away() {
    let (send, receive) = std::sync::mpsc::channel();
    let instance = Instance::start(move |_, stream| {
        raw(
            stream,
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )?;
        // Half a frame: the farewell must wait for its end.
        raw(stream, &[0x82, 4, b'h', b'a'])?;
        let mut got = [0; 8];
        stream.read_exact(&mut got)?;
        send.send(got).unwrap();
        raw(stream, b"lf")?;
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = websocket(&running);
    let mut half = [0; 4];
    client.reader().read_exact(&mut half).unwrap();
    running.gateway.unlisten(&environment(), running.address);
    assert_eq!(receive.recv_timeout(PATIENCE).unwrap(), [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
    assert_eq!(client.rest(), [b'l', b'f', 0x88, 0x02, 0x03, 0xf4]);
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn half_a_head_does_not_hold_the_end_up() {
    let running = Running::start(&[]);
    let client = running.client();
    let mut socket = client.socket().try_clone().unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: shop").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = std::time::Instant::now();
    runtime.block_on(running.gateway.shutdown(Duration::from_secs(60)));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[test]
fn a_request_that_is_cut_at_the_end_of_the_grace_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let instance = Instance::start(|request, stream| {
        if request.target() == "/half" {
            raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?;
        }
        // Nothing more, until the gateway goes away.
        let _ = stream.read(&mut [0]);
        Ok(Then::Close)
    });
    let (gateway, address) = logged(&path, false);
    gateway.apply(table(1, &[stable(0, &[("one", instance.address)])])).unwrap();
    let mut half = Client::connect(address);
    half.send("GET /half HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    crate::support::read_head(half.reader()).unwrap();
    let mut never = Client::connect(address);
    never.send("GET /never HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let caller = crate::streams::support::Caller::connect(address).await;
        let asked = crate::streams::support::request("GET", "/stream").body(()).unwrap();
        let _stream = caller.begin(asked, true).await.unwrap();
        wait_until("all are asked", || instance.served() == 3);
        gateway.shutdown(Duration::ZERO).await;
    });
    let lines = lines(&path, 3);
    assert_eq!(lines.len(), 3);
    for (asked, status) in [("/half", 200), ("/never", 0), ("/stream", 0)] {
        let line = lines.iter().find(|line| line["path"] == asked).unwrap();
        assert_eq!((line["status"].as_u64(), line["end"].as_str()), (Some(status), Some("cut")), "{line}");
        assert_eq!((line["instance"].as_str(), line["version"].as_str()), (Some("one"), Some("shop@1.0.0")));
        assert_eq!(line["bytes"].as_u64().unwrap() > 0, status == 200, "{line}");
    }
}

#[test]
fn a_request_whose_head_is_refused_has_an_id_and_a_line_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (gateway, address) = logged(&path, false);
    gateway.apply(table(1, &[stable(0, &[("one", "127.0.0.1:9".parse().unwrap())])])).unwrap();
    let cases = [
        (417, "GET /a?b=c HTTP/1.1\r\nhost: shop.test\r\nexpect: more\r\n\r\n", ("GET", "shop.test", "/a")),
        (400, "GET /%zz HTTP/1.1\r\nhost: shop.test\r\n\r\n", ("GET", "shop.test", "/%zz")),
        (
            400,
            "POST /a HTTP/1.1\r\nhost: shop.test\r\ncontent-length: +1\r\n\r\n",
            ("POST", "shop.test", "/a"),
        ),
        (
            501,
            "PUT /a HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: gzip\r\n\r\n",
            ("PUT", "shop.test", "/a"),
        ),
        (508, "GET /a HTTP/1.1\r\nhost: shop.test\r\nlockstep-hops: 16\r\n\r\n", ("GET", "shop.test", "/a")),
        (505, "GET /a HTTP/3.1\r\nhost: shop.test\r\n\r\n", ("GET", "", "/a")),
        (400, "\u{1}\r\n\r\n", ("", "", "")),
    ];
    for (at, (status, asked, (method, host, shown))) in cases.into_iter().enumerate() {
        let got = Client::connect(address).ask(asked).unwrap();
        assert_eq!(got.status(), status, "{asked}");
        let id = got.header("x-request-id").unwrap_or_else(|| panic!("{asked}: {got:?}"));
        let line = lines(&path, at + 1).pop().unwrap();
        let said =
            ["method", "host", "path", "request_id"].map(|field| line[field].as_str().unwrap_or_default());
        assert_eq!(said, [method, host, shown, id], "{asked}");
    }
}
