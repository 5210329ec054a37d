//! Copies of requests for a version that is tried: what is sent, what is found, and that no client pays for it.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lockstep_domain::mirror::{FORMAT_WITH_MIRRORS, Mirror, MirrorCounts, SplitMirror, What};
use lockstep_domain::routes::{FULL_WEIGHT, RouteTable, SplitRole};
use lockstep_domain::{ConfigRevision, VersionNumber};
use lockstep_gateway::ApplyError;

use crate::support::*;

const ID: u64 = 7;

fn pinned<'a>(instances: &[(&'a str, std::net::SocketAddr)]) -> ArmSpec<'a> {
    ArmSpec { version: (1, 1, 0), weight: 0, role: SplitRole::Pinned, instances: instances.to_vec() }
}

fn mirrored(revision: u64, arms: &[ArmSpec<'_>], unsafe_methods: bool) -> RouteTable {
    let mut table = table(revision, arms);
    let copies = Mirror { share: FULL_WEIGHT, unsafe_methods };
    let version = VersionNumber::new(1, 1, 0);
    let mirror = SplitMirror { id: ID, version, config: ConfigRevision(0), copies };
    table.services.values_mut().for_each(|routes| routes.mirror = Some(mirror.clone()));
    table.in_its_format()
}

type Heard = Arc<Mutex<Vec<Message>>>;

/// An instance that remembers what it got and answers with JSON.
fn answering(status: u16, body: &'static str) -> (Instance, Heard) {
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let instance = Instance::start(move |request, stream| {
        kept.lock().unwrap().push(request.clone());
        answer_json(stream, status, body)
    });
    (instance, heard)
}

fn answer_json(
    stream: &mut std::io::BufReader<std::net::TcpStream>,
    status: u16,
    body: &str,
) -> std::io::Result<Then> {
    use std::io::Write as _;
    let (length, kind) = (body.len(), "content-type: application/json; charset=utf-8\r\n");
    let head = format!("HTTP/1.1 {status} X\r\n{kind}content-length: {length}\r\n\r\n{body}");
    stream.get_mut().write_all(head.as_bytes())?;
    Ok(Then::Stay)
}

struct Shop {
    running: Running,
    old: Heard,
    new: Heard,
    _instances: [Instance; 2],
}

impl Shop {
    fn open(unsafe_methods: bool, old: (u16, &'static str), new: (u16, &'static str)) -> Self {
        let ((one, old), (other, new)) = (answering(old.0, old.1), answering(new.0, new.1));
        let running = Running::start(&[stable(0, &[("old", one.address)])]);
        let arms = [pinned(&[("new", other.address)]), stable(0, &[("old", one.address)])];
        running.gateway.apply(mirrored(2, &arms, unsafe_methods)).unwrap();
        Self { running, old, new, _instances: [one, other] }
    }

    fn ask(&self, head: &str) -> Message {
        self.running.client().ask(head).unwrap()
    }

    fn get(&self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n"))
    }
}

fn found(running: &Running) -> MirrorCounts {
    let receipt = running.gateway.receipt(&environment());
    receipt.mirrored.iter().find(|it| it.id == ID).map(|it| it.counts.clone()).unwrap_or_default()
}

fn wait_for(running: &Running, is_there: impl Fn(&MirrorCounts) -> bool) -> MirrorCounts {
    let until = Instant::now() + PATIENCE;
    loop {
        let counts = found(running);
        if is_there(&counts) {
            return counts;
        }
        assert!(Instant::now() < until, "{counts:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_copy_is_sent_with_a_mark_and_without_the_key_of_its_original() {
    let shop = Shop::open(false, (200, r#"{"id":1}"#), (200, r#"{"id":2}"#));
    let fields = "cookie: a=b\r\nauthorization: x\r\nIdempotency-Key: 4711\r\nx-lockstep-key: ann\r\n";
    let answer = shop.ask(&format!("GET /orders/4711?a=1 HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n"));
    assert_eq!((answer.version(), answer.text().as_str()), ("1.0.0", r#"{"id":1}"#));
    let counts = wait_for(&shop.running, |counts| counts.copies() == 1);
    assert_eq!((counts.same, counts.differences.len()), (1, 0), "{counts:?}");
    let (old, new) = (shop.old.lock().unwrap()[0].clone(), shop.new.lock().unwrap()[0].clone());
    assert_eq!((new.start.as_str(), new.header("host")), (old.start.as_str(), old.header("host")));
    assert_eq!(new.header("lockstep-mirrored"), Some("1"));
    assert_eq!((old.header("lockstep-mirrored"), old.header("idempotency-key")), (None, Some("4711")));
    assert_eq!(new.header("idempotency-key"), None);
    for same in ["cookie", "authorization", "x-forwarded-for", "traceparent"] {
        assert!(new.header(same).is_some() && new.header(same) == old.header(same), "{same}");
    }
    let baggage = new.header("baggage").unwrap();
    assert!(baggage.starts_with("lockstep.key=ann,lockstep.rules=7"), "{baggage}");
}

#[test]
fn nobody_outside_can_say_that_a_request_is_a_copy() {
    let shop = Shop::open(false, (200, "{}"), (200, "{}"));
    let fields = "lockstep-mirrored: 1\r\nbaggage: lockstep.rules=7\r\n";
    shop.ask(&format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n"));
    wait_for(&shop.running, |counts| counts.copies() == 1);
    assert_eq!(shop.old.lock().unwrap()[0].header("lockstep-mirrored"), None);
}

#[test]
fn what_differs_is_told_by_fields_and_types_and_never_by_values() {
    let shop = Shop::open(
        false,
        (200, r#"{"id":"s3cret-1","total":5,"items":[{"price":1}]}"#),
        (200, r#"{"id":77,"items":[{"cost":1}],"total":5}"#),
    );
    shop.get("/orders/4711");
    shop.get("/orders/4712");
    let counts = wait_for(&shop.running, |counts| counts.copies() == 2);
    assert_eq!((counts.different, counts.same), (2, 0));
    assert_eq!(counts.differences.len(), 3, "{counts:?}");
    assert!(counts.differences.iter().all(|it| it.count == 2 && it.operation == "GET /orders/*"));
    let expected = What::Type { field: "$.id".into(), before: "string".into(), after: "number".into() };
    assert!(counts.differences.iter().any(|it| it.what == expected));
    assert!(!format!("{counts:?}").contains("s3cret"));
    assert_eq!((counts.before_ms.iter().sum::<u64>(), counts.after_ms.iter().sum::<u64>()), (2, 2));
}

#[test]
fn what_may_change_something_is_copied_only_when_it_was_said() {
    let post = "POST /orders HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\n\r\nhello";
    let shop = Shop::open(false, (201, "{}"), (500, "{}"));
    assert_eq!(shop.ask(post).status(), 201);
    shop.get("/");
    let counts = wait_for(&shop.running, |counts| counts.copies() == 1);
    assert_eq!(counts.uncopied, 0);
    assert_eq!(shop.new.lock().unwrap()[0].start, "GET / HTTP/1.1");

    let shop = Shop::open(true, (201, "{}"), (500, "{}"));
    assert_eq!(shop.ask(post).status(), 201);
    let counts = wait_for(&shop.running, |counts| counts.copies() == 1);
    assert_eq!(counts.differences[0].what, What::Status { before: 201, after: 500 });
    assert_eq!(shop.new.lock().unwrap()[0].body, b"hello");
    let chunks =
        "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(shop.ask(chunks).status(), 201);
    wait_for(&shop.running, |counts| counts.uncopied == 1);
}

#[test]
fn a_version_that_fails_or_is_gone_is_nothing_to_a_client() {
    let (old, _) = answering(200, "{}");
    let broken = Instance::start(|_, _| Ok(Then::Close));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    for (revision, address) in [(2, broken.address), (3, gone)] {
        let arms = [pinned(&[("new", address)]), stable(0, &[("old", old.address)])];
        running.gateway.apply(mirrored(revision, &arms, false)).unwrap();
        let answer = running.client().ask("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        assert_eq!((answer.status(), answer.version()), (200, "1.0.0"));
        wait_for(&running, |counts| counts.unanswered == revision - 1);
    }
    let receipt = running.gateway.receipt(&environment());
    let of_new = receipt.traffic.iter().find(|(arm, _)| arm.version == VersionNumber::new(1, 1, 0)).unwrap();
    assert_eq!((of_new.1.requests, of_new.1.failures), (0, 0), "copies are no traffic of the version");
}

#[test]
fn a_version_that_hangs_holds_no_client_and_takes_no_more_copies_than_are_allowed() {
    let (old, _) = answering(200, "{}");
    let (release, hold) = channel::<()>();
    let hold = Mutex::new(hold);
    let hanging = Instance::start(move |_, _| {
        // It ends with the sender.
        let _ = hold.lock().unwrap().recv();
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let arms = [pinned(&[("new", hanging.address)]), stable(0, &[("old", old.address)])];
    running.gateway.apply(mirrored(2, &arms, false)).unwrap();
    let mut client = running.client();
    for _ in 0..100 {
        let answer = client.ask("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        assert_eq!(answer.status(), 200);
    }
    let counts = wait_for(&running, |counts| counts.dropped == 36);
    assert_eq!(counts.copies(), 0, "64 are under way: {counts:?}");
    drop(release);
    wait_for(&running, |counts| counts.unanswered == 64);
}

#[test]
fn a_mirror_leads_only_to_a_version_that_has_no_requests_of_its_own() {
    let (old, _) = answering(200, "{}");
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let is_refused = |table: RouteTable, what: &str| match running.gateway.apply(table) {
        Err(ApplyError::Invalid { problems, .. }) => assert!(problems[0].contains(what), "{problems:?}"),
        other => panic!("{other:?}"),
    };
    is_refused(mirrored(2, &[stable(0, &[("old", old.address)])], false), "has no split");
    let mut own = mirrored(2, &[stable(1, &[("old", old.address)])], false);
    is_refused(own.clone(), "requests of its own");
    let mirror = own.services.values_mut().next().unwrap().mirror.as_mut().unwrap();
    mirror.copies.share = 0;
    is_refused(own, "requests of its own");
    let arms = [pinned(&[("new", old.address)]), stable(0, &[("old", old.address)])];
    assert_eq!(mirrored(2, &arms, false).format, FORMAT_WITH_MIRRORS);
}

#[test]
fn requests_and_calls_over_http_2_are_copied_too() {
    use crate::streams::support::{Caller, Grpc, h2c, request, runtime};
    let (old, new) = (Grpc::start(), Grpc::start());
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    let arms = [pinned(&[("new", new.address)]), stable(0, &[("old", old.address)])];
    running.gateway.apply(h2c(mirrored(2, &arms, true))).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for length in [0, 5, 10_000] {
            assert_eq!(caller.call("/echo/0", length).await.unwrap().body.len(), length);
        }
        assert_eq!(caller.call("/echo/5", 3).await.unwrap().grpc(), "5");
        caller.call("/echo/0", 100_000).await.unwrap();
        caller.ask(request("GET", "/echo/0").body(()).unwrap(), b"").await.unwrap();
    });
    let counts = wait_for(&running, |counts| counts.copies() == 5 && counts.uncopied == 1);
    assert_eq!((counts.same, counts.differences.len()), (5, 0), "{counts:?}");
    let heads = new.seen.heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.headers["lockstep-mirrored"] == "1"));
    assert_eq!(running.traffic(1).requests, 0);
}

#[test]
fn what_a_copy_causes_at_another_service_is_no_evidence_in_its_trial() {
    let (old, new) = (answering(200, "{}").0, answering(500, "{}").0);
    let arms = canary(9_999, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    let mut table = table(2, &arms);
    let watch = serde_json::json!({ "trial": "operation 1", "statuses": ["5xx"] });
    let watch: lockstep_domain::watch::Watch = serde_json::from_value(watch).unwrap();
    table.services.values_mut().for_each(|routes| routes.watch = Some(watch.clone()));
    // Another service of the table has a mirror, and the proxy of the test is believed.
    let mut other =
        crate::support::table(2, &[pinned(&[("x", old.address)]), stable(0, &[("y", old.address)])]);
    let mut routes = other.services.pop_first().unwrap().1;
    let copies = Mirror { share: 1, unsafe_methods: false };
    let version = VersionNumber::new(1, 1, 0);
    routes.mirror = Some(SplitMirror { id: ID, version, config: ConfigRevision(0), copies });
    table.services.insert("orders".parse().unwrap(), routes);
    let rules = lockstep_domain::gateway_rules::GatewayRules {
        trusted_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..Default::default()
    };
    table.rules = Some(rules);
    running.gateway.apply(table).unwrap();
    let ask = |fields: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        running.client().ask(head).unwrap().status()
    };
    let counted = || {
        let watched = running.gateway.receipt(&environment()).watched;
        watched.iter().flat_map(|it| &it.arms).map(|(_, counts)| counts.total.requests).sum::<u64>()
    };
    assert_eq!(ask("baggage: lockstep.rules=7\r\n"), 500, "nor is it shielded");
    assert_eq!(counted(), 0);
    assert_eq!(ask("baggage: lockstep.rules=8\r\n"), 200);
    wait_until("a request of somebody else is counted", || counted() == 1);
}
