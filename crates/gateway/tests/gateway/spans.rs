//! Spans as a collector gets them, by OTLP.

mod collector;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_domain::entry::EntrySettings;
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::RouteTable;
use lockstep_gateway::GatewayConfig;
use lockstep_gateway::spans::{SpanOptions, SpansConfig};

use crate::streams::support::{Caller, Grpc, h2c, runtime};
use crate::support::{
    ArmSpec, Client, Instance, Running, TOKEN, Then, answer, as_instance, canary, raw, stable, table,
    wait_until,
};
use collector::{Collector, Span};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn with(spans: SpansConfig, arms: &[ArmSpec<'_>]) -> Running {
    Running::of(GatewayConfig { spans: Some(spans), ..GatewayConfig::new("test") }, arms)
}

fn sampled(options: SpanOptions, share: &str) -> SpansConfig {
    let options = SpanOptions { ratio: Some(share.parse().unwrap()), ..options };
    SpansConfig::read(&options, &|_| None).unwrap().unwrap()
}

/// Believes clients of this host as a proxy.
fn trusting(arms: &[ArmSpec<'_>]) -> RouteTable {
    let trusted_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let rules = Some(GatewayRules { trusted_networks, ..GatewayRules::default() });
    RouteTable { rules, ..table(2, arms) }
}

/// An instance that says which `traceparent` it was asked with.
fn telling() -> Instance {
    Instance::start(|request, stream| {
        answer(stream, 200, request.header("traceparent").unwrap_or_default().as_bytes())
    })
}

fn ask(client: &mut Client, traceparent: &str) -> String {
    let field =
        if traceparent.is_empty() { String::new() } else { format!("traceparent: {traceparent}\r\n") };
    let answered = client.ask(format!("GET /orders/7?card=1234 HTTP/1.1\r\nhost: shop.test\r\n{field}\r\n"));
    answered.unwrap().text()
}

fn parted(traceparent: &str) -> [&str; 4] {
    traceparent.split('-').collect::<Vec<_>>().try_into().unwrap()
}

fn server(spans: &[Span]) -> &Span {
    spans.iter().find(|span| span.is_server()).unwrap()
}

fn clients(spans: &[Span]) -> Vec<&Span> {
    spans.iter().filter(|span| !span.is_server()).collect()
}

#[test]
fn a_request_is_a_span_of_the_gateway_and_one_of_asking_the_instance_below_which_goes_on_what_that_does() {
    let (collector, instance) = (Collector::start(), telling());
    let running = with(collector.config(), &[stable(0, &[("shop-1", instance.address)])]);
    let told = ask(&mut running.client(), "");
    let spans = collector.spans(2);
    let (server, client) = (server(&spans), clients(&spans)[0]);
    assert_eq!(
        parted(&told),
        ["00", &server.trace, &client.id, "03"],
        "sampled, and a trace id that is random"
    );
    assert_eq!((server.parent.as_str(), client.parent.as_str()), ("", server.id.as_str()));
    assert_eq!((client.trace.as_str(), client.kind, server.flags & 0xff), (server.trace.as_str(), 3, 3));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET /", "GET"));
    assert!(server.nanos >= client.nanos && !server.is_error && !client.is_error);
    let port = running.address.port().to_string();
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/orders/7"),
        ("url.scheme", "http"),
        ("server.address", "shop.test"),
        ("server.port", &port),
        ("client.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("http.route", "/"),
        ("http.response.status_code", "200"),
        ("lockstep.environment", "production"),
        ("lockstep.baseline", "1"),
        ("lockstep.route", "shop.test/"),
        ("lockstep.service", "shop"),
        ("lockstep.version", "1.0.0"),
        ("lockstep.why", "chance"),
        ("lockstep.from", "outside"),
    ] {
        assert_eq!(server.says(name), value, "{name}");
    }
    let address = instance.address.to_string();
    for (name, value) in [
        ("url.full", format!("http://{address}/orders/7")),
        ("server.port", instance.address.port().to_string()),
        ("http.response.status_code", "200".into()),
        ("lockstep.instance", "shop-1".into()),
        ("lockstep.version", "1.0.0".into()),
        ("http.request.resend_count", String::new()),
        ("error.type", String::new()),
    ] {
        assert_eq!(client.says(name), value, "{name}");
    }
    let taken = collector.taken.lock().unwrap();
    assert_eq!(taken.resource["service.name"], "lockstep-gateway");
    assert_eq!(taken.resource["service.instance.id"], "test");
    let sent = &taken.requests[0];
    assert_eq!(
        (sent.start.as_str(), sent.header("content-type")),
        ("POST /v1/traces HTTP/1.1", Some("application/x-protobuf"))
    );
    assert!(!format!("{spans:?}").contains("1234"), "no query unless it is asked for");
}

#[test]
fn queries_and_fields_are_there_only_where_they_are_asked_for() {
    let (collector, instance) = (Collector::start(), telling());
    let options = SpanOptions { queries: true, ..collector.options() };
    let config = SpansConfig::read(&options, &|_| None).unwrap().unwrap();
    let running = with(config, &[stable(0, &[("shop-1", instance.address)])]);
    ask(&mut running.client(), "");
    assert_eq!(server(&collector.spans(2)).says("url.query"), "card=1234");
}

#[test]
fn the_token_of_an_instance_is_in_no_span() {
    let (collector, instance) = (Collector::start(), telling());
    let running = with(collector.config(), &[stable(0, &[("shop-1", instance.address)])]);
    running.client().get(&as_instance("/@shop/a"), "k").unwrap();
    running.client().get(&format!("/@~{TOKEN}x/@shop/a"), "k").unwrap();
    let spans = collector.spans(3);
    assert!(!format!("{spans:?}").contains(TOKEN), "{spans:#?}");
    let of_instance = spans.iter().find(|span| span.says("lockstep.from") == "instance").unwrap();
    assert_eq!((of_instance.says("url.path"), of_instance.name.as_str()), ("/@shop/a", "GET"));
    assert!(clients(&spans)[0].says("url.full").ends_with("/a"));
    let refused = spans.iter().find(|span| span.says("lockstep.code") == "unknown_caller").unwrap();
    assert_eq!(
        (refused.says("http.response.status_code"), refused.is_error),
        ("403", false),
        "4xx is the client's"
    );
}

#[test]
fn who_is_believed_decides_and_a_stranger_does_not() {
    let (collector, instance) = (Collector::start(), telling());
    let arms = [stable(0, &[("shop-1", instance.address)])];
    let running = with(sampled(collector.options(), "0"), &arms);
    let stranger = ask(&mut running.client(), &format!("00-{TRACE}-{PARENT}-01"));
    let [_, trace, parent, flags] = parted(&stranger);
    assert_eq!((trace, flags), (TRACE, "00"), "the trace goes on, the word of a stranger does not");
    assert_ne!(parent, PARENT, "whoever changes the flag is the parent");
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(ask(&mut running.client(), &unsampled), unsampled, "nothing is recorded, and nothing changed");
    running.gateway.apply(trusting(&arms)).unwrap();
    let believed = ask(&mut running.client(), &format!("00-{TRACE}-{PARENT}-01"));
    let spans = collector.spans(2);
    let (server, client) = (server(&spans), clients(&spans)[0]);
    assert_eq!(
        (server.trace.as_str(), server.parent.as_str(), server.says("lockstep.from")),
        (TRACE, PARENT, "proxy")
    );
    assert_eq!(parted(&believed), ["00", TRACE, &client.id, "01"]);
    assert_eq!(server.flags & 0x300, 0x300, "its parent is of another process");
    assert_eq!(ask(&mut running.client(), &unsampled), unsampled);
    let none = ask(&mut running.client(), "");
    assert_eq!(parted(&none)[3], "02", "not sampled, but random");
    collector.spans(2);
}

#[test]
fn where_the_gateway_decides_what_is_recorded_a_stranger_decides_it_in_no_other_way() {
    let collector = Collector::start();
    let instance = Instance::start(|request, stream| {
        let of_zipkin = |name: &&str| name.to_ascii_lowercase().contains("b3");
        let names = request.headers.iter().map(|(name, _)| name.as_str()).filter(of_zipkin);
        let told: Vec<_> = names.map(str::to_ascii_lowercase).collect();
        answer(stream, 200, told.join(" ").as_bytes())
    });
    let arms = [stable(0, &[("shop-1", instance.address)])];
    let running = with(sampled(collector.options(), "0"), &arms);
    let told = |running: &Running| {
        let fields = "X-B3-TraceId: 1\r\nx-b3-spanid: 2\r\nx-b3-parentspanid: 3\r\nx-b3-sampled: 1\r\nx-b3-flags: 1\r\nb3: 1\r\nX_B3_Flags: 1\r\n";
        running.client().ask(format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n")).unwrap().text()
    };
    assert_eq!(told(&running), "");
    running.gateway.apply(trusting(&arms)).unwrap();
    assert_eq!(told(&running), "x-b3-traceid x-b3-spanid x-b3-parentspanid x-b3-sampled x-b3-flags b3");
}

#[test]
fn failures_and_slow_requests_are_kept_where_that_is_said() {
    let collector = Collector::start();
    let instance = Instance::start(|request, stream| match request.target() {
        "/bad" => answer(stream, 500, b"bad"),
        "/missing" => answer(stream, 404, b"missing"),
        _ => answer(stream, 200, b"fine"),
    });
    let arms = [stable(0, &[("shop-1", instance.address)])];
    let options = SpanOptions { failures: true, ..collector.options() };
    let running = with(sampled(options, "0"), &arms);
    for path in ["/", "/bad", "/missing"] {
        running.client().get(path, "k").unwrap();
    }
    let spans = collector.spans(2);
    let bad = server(&spans);
    assert_eq!((bad.says("url.path"), bad.says("error.type"), bad.is_error), ("/bad", "500", true));
    assert_eq!(bad.flags & 1, 0, "others were told that it is not recorded");
    let options = SpanOptions { slower_than: Some(Duration::ZERO), ..collector.options() };
    let running = with(sampled(options, "0"), &arms);
    running.client().get("/", "k").unwrap();
    assert_eq!(collector.spans(4)[2].says("url.path"), "/");
}

#[test]
fn each_instance_that_is_asked_has_a_span_and_is_told_its_own() {
    let collector = Collector::start();
    let seen: Arc<Mutex<Vec<(&str, String)>>> = Arc::default();
    let telling = |name: &'static str, fails: bool| {
        let seen = Arc::clone(&seen);
        Instance::start(move |request, stream| {
            seen.lock().unwrap().push((name, request.header("traceparent").unwrap().to_owned()));
            if fails { answer(stream, 503, b"") } else { answer(stream, 200, b"") }
        })
    };
    let (new, old) = (telling("new", true), telling("old", false));
    let arms = canary(10_000, ("shop-2", new.address), ("shop-1", old.address));
    let running = with(collector.config(), &arms);
    let got = running.client().get("/", "k").unwrap();
    assert_eq!((got.status(), got.version()), (200, "1.0.0"), "the stable one answered for it");
    let spans = collector.spans(3);
    let (server, tries) = (server(&spans), clients(&spans));
    assert_eq!((server.says("lockstep.shielded"), server.is_error), ("true", false));
    let said = |span: &Span| {
        ["lockstep.instance", "http.response.status_code", "http.request.resend_count"]
            .map(|name| span.says(name).to_owned())
    };
    assert_eq!(said(tries[0]), ["shop-2", "503", ""]);
    assert_eq!(said(tries[1]), ["shop-1", "200", "1"]);
    assert!(tries[0].is_error && !tries[1].is_error && tries[0].says("error.type") == "503");
    let seen = seen.lock().unwrap();
    for ((_, told), span) in seen.iter().zip(&tries) {
        assert_eq!(parted(told), ["00", &server.trace, &span.id, "03"]);
    }
    assert_ne!(tries[0].id, tries[1].id);
}

#[test]
fn of_two_instances_that_are_asked_at_once_each_has_a_span_and_the_one_that_is_overtaken_no_error() {
    let collector = Collector::start();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let one = || {
        let seen = Arc::clone(&seen);
        Instance::start(move |request, stream| {
            let mut seen = seen.lock().unwrap();
            seen.push(request.header("traceparent").unwrap().to_owned());
            if seen.len() > 1 {
                return answer(stream, 200, b"");
            }
            drop(seen);
            // Until it is told that it is not waited for.
            let _ = stream.read(&mut [0]);
            Ok(Then::Close)
        })
    };
    let (first, second) = (one(), one());
    let arms = [stable(0, &[("shop-1", first.address), ("shop-2", second.address)])];
    let running = with(collector.config(), &arms);
    let policy = serde_json::json!({ "hedge": { "after_ms": 20 }, "priority": "low" });
    running.gateway.apply(crate::policies::asking(table(2, &arms), &policy)).unwrap();
    assert_eq!(running.client().get("/", "k").unwrap().status(), 200);
    let spans = collector.spans(3);
    let (server, tries) = (server(&spans), clients(&spans));
    assert_eq!((server.says("lockstep.hedged"), server.says("lockstep.priority")), ("won", "low"));
    let said =
        |span: &Span| ["http.response.status_code", "error.type"].map(|name| span.says(name).to_owned());
    assert_eq!(
        (said(tries[0]), said(tries[1])),
        (["", ""].map(str::to_owned), ["200", ""].map(str::to_owned))
    );
    assert!(!tries[0].is_error && tries[0].nanos >= 20_000_000);
    for (told, span) in seen.lock().unwrap().iter().zip(&tries) {
        assert_eq!(parted(told), ["00", &server.trace, &span.id, "03"]);
    }
}

#[test]
fn what_the_gateway_answers_itself_is_one_span_that_says_so() {
    let collector = Collector::start();
    let gone = Instance::named("gone");
    gone.kill();
    let running = with(collector.config(), &[stable(0, &[("shop-1", gone.address)])]);
    running.client().get("/", "k").unwrap();
    let other = running.client().ask("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n").unwrap();
    assert_eq!(other.status(), 404);
    let spans = collector.spans(3);
    let unreachable =
        spans.iter().find(|span| span.is_server() && span.says("lockstep.code") == "unreachable").unwrap();
    assert_eq!((unreachable.says("error.type"), unreachable.is_error), ("unreachable", true));
    assert_eq!(clients(&spans)[0].says("error.type"), "unreachable");
    let none = spans.iter().find(|span| span.says("lockstep.code") == "no_route").unwrap();
    assert_eq!((none.name.as_str(), none.is_error, none.says("http.route")), ("GET", false, ""));
}

#[test]
fn names_of_spans_are_few_whatever_clients_send() {
    let (collector, instance) = (Collector::start(), Instance::named("one"));
    let running = with(collector.config(), &[stable(0, &[("shop-1", instance.address)])]);
    running.client().ask("BREW /pot/17 HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let spans = collector.spans(2);
    assert_eq!((server(&spans).name.as_str(), clients(&spans)[0].name.as_str()), ("HTTP /", "HTTP"));
    assert_eq!(server(&spans).says("http.request.method"), "_OTHER");
    assert_eq!(server(&spans).says("http.request.method_original"), "BREW");
}

#[test]
fn a_call_of_grpc_is_named_by_its_method_and_fails_by_its_status() {
    let (collector, instance) = (Collector::start(), Grpc::start());
    let arms = [stable(0, &[("shop-1", instance.address)])];
    let running = with(collector.config(), &arms);
    running.gateway.apply(h2c(table(2, &arms))).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for path in ["/echo/0", "/only/5", "/only/14", "/only/12"] {
            caller.call(path, 10).await.unwrap();
        }
    });
    let spans = collector.spans(8);
    let told = instance.seen.heads.lock().unwrap()[0].headers["traceparent"].to_str().unwrap().to_owned();
    assert!(told.contains(&clients(&spans)[0].id));
    let of = |server: bool| spans.iter().filter(move |span| span.is_server() == server);
    for (span, method) in
        of(true).chain(of(false)).zip(["echo/0", "only/5", "only/14", "_OTHER"].iter().cycle())
    {
        assert_eq!(span.name, if *method == "_OTHER" { "grpc" } else { method }, "a method that none knew");
        assert_eq!((span.says("rpc.system.name"), span.says("rpc.method")), ("grpc", *method));
        assert_eq!(span.says("network.protocol.version"), "2");
    }
    let status = |span: &Span| (span.says("rpc.status_code").to_owned(), span.is_error);
    let as_server = [("OK", false), ("NOT_FOUND", false), ("UNAVAILABLE", true), ("UNIMPLEMENTED", true)];
    let as_client = [("OK", false), ("NOT_FOUND", true), ("UNAVAILABLE", true), ("UNIMPLEMENTED", true)];
    for (server, expected) in [(true, as_server), (false, as_client)] {
        let expected: Vec<_> = expected.iter().map(|(name, error)| ((*name).to_owned(), *error)).collect();
        assert_eq!(of(server).map(status).collect::<Vec<_>>(), expected, "{server}");
    }
}

#[test]
fn the_span_of_a_websocket_ends_with_it() {
    let collector = Collector::start();
    let instance = Instance::start(|_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        raw(stream, head)?;
        let mut message = [0; 4];
        stream.read_exact(&mut message)?;
        stream.get_mut().write_all(&message)?;
        Ok(Then::Close)
    });
    let running = with(collector.config(), &[stable(0, &[("shop-1", instance.address)])]);
    let mut client = running.client();
    client.send("GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n").unwrap();
    assert_eq!(client.read_to_head().unwrap().status(), 101);
    assert!(collector.taken.lock().unwrap().spans.is_empty());
    client.send("ping").unwrap();
    assert_eq!(client.rest(), b"ping");
    let spans = collector.spans(2);
    assert_eq!(server(&spans).says("http.response.status_code"), "101");
}

#[test]
fn a_collector_that_is_gone_slow_or_hostile_costs_no_request_and_bounded_memory() {
    let instance = Instance::named("one");
    let gone = Instance::named("gone");
    gone.kill();
    let endless = Collector::answering(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        // It ends when nobody listens any more.
        loop {
            raw(stream, b"400\r\n")?;
            raw(stream, &[b'x'; 0x400])?;
            raw(stream, b"\r\n")?;
        }
    });
    let silent = Collector::answering(|stream| {
        let _ = stream.read(&mut [0]);
        Ok(Then::Close)
    });
    for collector in [gone.address, endless.instance.address, silent.instance.address] {
        let options = SpanOptions { endpoint: Some(format!("http://{collector}")), ..SpanOptions::default() };
        let config = SpansConfig::read(&options, &|_| None).unwrap().unwrap();
        let running = with(config, &[stable(0, &[("shop-1", instance.address)])]);
        let mut client = running.client();
        // More than wait in the queue and in one batch.
        for _ in 0..6_000 {
            assert_eq!(client.get("/", "k").unwrap().status(), 200);
        }
        let count = |result: &str| {
            let metrics = running.gateway.admin().metrics();
            let line =
                metrics.lines().find(|line| line.contains(&format!("spans_total{{result=\"{result}\"")));
            line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        if collector == endless.instance.address {
            // That it goes on talking is no reason to send them again.
            wait_until("some are exported", || count("exported") > 0);
        } else {
            // What is neither dropped nor given up is in the queue or in the batch that is under way.
            wait_until("no more wait than may", || {
                12_000 - count("dropped") - count("failed") <= 2 * (4_096 + 512)
            });
        }
    }
}

#[test]
fn what_is_no_collector_takes_nothing_whatever_it_answers() {
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<html>hi</html>";
    let json = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{\"partialSuccess\":{}}";
    for (answer, result) in [(&page[..], "failed"), (&json[..], "exported")] {
        let collector = Collector::answering(move |stream| raw(stream, answer));
        let instance = Instance::named("one");
        let running = with(collector.config(), &[stable(0, &[("shop-1", instance.address)])]);
        running.client().get("/", "k").unwrap();
        wait_until("it is counted as what it is", || {
            running.gateway.admin().metrics().contains(&format!("spans_total{{result=\"{result}\"}} 2"))
        });
    }
}

#[test]
fn a_collector_that_is_busy_is_sent_the_same_again() {
    let turn = Arc::new(Mutex::new(0));
    let busy = Collector::answering(move |stream| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        match *turn {
            1 => raw(stream, b"HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"),
            _ => raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        }
    });
    let instance = Instance::named("one");
    let running = with(busy.config(), &[stable(0, &[("shop-1", instance.address)])]);
    running.client().get("/", "k").unwrap();
    let spans = busy.spans(4);
    assert_eq!(spans[..2], spans[2..]);
    wait_until("they are counted once", || {
        running.gateway.admin().metrics().contains("spans_total{result=\"exported\"} 2")
    });
}

#[test]
fn what_waits_at_the_end_is_sent_before_it() {
    let (collector, instance) = (Collector::start(), Instance::named("one"));
    let running = with(collector.config(), &[stable(0, &[("shop-1", instance.address)])]);
    for _ in 0..700 {
        running.client().get("/", "k").unwrap();
    }
    runtime().block_on(running.gateway.shutdown(Duration::from_secs(10)));
    assert_eq!(collector.taken.lock().unwrap().spans.len(), 1_400, "when it has ended they are there");
}

#[test]
fn a_connection_to_a_service_that_speaks_tcp_is_one_span() {
    let (collector, echo) = (Collector::start(), crate::tcp::support::Instance::echo());
    let config = GatewayConfig { spans: Some(collector.config()), ..GatewayConfig::new("test") };
    let arms = [stable(0, &[("shop-1", echo.address)])];
    let opened = crate::tcp::support::open_on(config, &arms, &EntrySettings::default());
    let mut client = TcpStream::connect(opened.port).unwrap();
    client.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert!(collector.taken.lock().unwrap().spans.is_empty(), "it is not over");
    drop(client);
    let spans = collector.spans(1);
    let span = server(&spans);
    assert_eq!((span.name.as_str(), span.parent.as_str(), span.is_error), ("tcp shop", "", false));
    for (name, value) in [
        ("network.transport", "tcp"),
        ("lockstep.service", "shop"),
        ("lockstep.version", "1.0.0"),
        ("lockstep.instance", "shop-1"),
        ("lockstep.bytes_up", "5"),
        ("lockstep.bytes_down", "5"),
        ("lockstep.end", "client"),
    ] {
        assert_eq!(span.says(name), value, "{name}");
    }
}
