//! Visits: a visitor stays on one side of a rollout by a signed cookie, also while shares grow.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::{FORMAT_WITH_VISITS, FULL_WEIGHT, RouteTable};
use lockstep_domain::visit::Growth;
use lockstep_domain::watch::Watch;
use lockstep_gateway::{Applied, VisitKey};
use serde_json::json;

use crate::support::*;

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

struct Shop {
    running: Running,
    revision: u64,
    old: Instance,
    new: Instance,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Shop {
    fn open() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let instance = |status: u16| {
            let heads = Arc::clone(&heard);
            Instance::start(move |request, stream| {
                heads.lock().unwrap().push(request.clone());
                answer(stream, if request.target().ends_with("/fails") { status } else { 200 }, b"ok")
            })
        };
        let (old, new) = (instance(200), instance(500));
        Self { running: Running::start(&[]), revision: 1, old, new, heard }
    }

    /// A rollout that has had these shares.
    fn table(&mut self, weights: &[u32]) -> RouteTable {
        self.revision += 1;
        let weight = *weights.last().unwrap();
        let arms = canary(weight, ("new", self.new.address), ("old", self.old.address));
        let mut table = table(self.revision, &arms);
        let then = json!({ "visit": { "for_s": 3_600 } });
        table.routes[0].rule.then = serde_json::from_value(then).unwrap();
        let growth = Growth { rollout: 7, before: 0, weights: weights.to_vec() };
        table.services.values_mut().for_each(|routes| {
            routes.growth = Some(growth.clone());
            routes.watch = Some(Watch {
                trial: "t".into(),
                operations: Vec::new(),
                statuses: Default::default(),
                latency_bounds_ms: Default::default(),
                answers: Default::default(),
            });
        });
        table.in_its_format()
    }

    fn grows(&mut self, weights: &[u32]) {
        let table = self.table(weights);
        assert_eq!(self.running.gateway.apply(table).unwrap(), Applied::Now);
    }

    fn get(&self, path: &str, fields: &str) -> Message {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        self.running.client().ask(request.as_bytes()).unwrap()
    }

    /// A visitor who comes now, with the cookie that it gets.
    fn visitor(&self) -> (String, String) {
        let answer = self.get("/", "");
        (set(&answer).expect("a cookie").split_once(';').unwrap().0.to_owned(), answer.version().to_owned())
    }

    fn comes_again(&self, cookie: &str) -> String {
        let answer = self.get("/", &format!("cookie: a=1; {cookie}\r\n"));
        assert_eq!(set(&answer), None, "the visit goes on");
        answer.version().to_owned()
    }

    fn counted(&self) -> u64 {
        let watched = self.running.gateway.receipt(&environment()).watched;
        watched.iter().flat_map(|it| &it.arms).map(|(_, counts)| counts.total.requests).sum()
    }
}

fn set(answer: &Message) -> Option<String> {
    let cookies = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    cookies.map(|(_, value)| value.clone()).find(|it| it.starts_with("lockstep_visit="))
}

#[test]
fn a_visitor_stays_on_its_side_while_the_share_grows() {
    let mut shop = Shop::open();
    shop.grows(&[2_000]);
    let visitors: Vec<_> = (0..60).map(|_| shop.visitor()).collect();
    let sides: BTreeSet<&str> = visitors.iter().map(|(_, version)| version.as_str()).collect();
    assert_eq!(sides.len(), 2, "both arms have some");
    for weights in [&[2_000, 6_000][..], &[2_000, 6_000, FULL_WEIGHT]] {
        shop.grows(weights);
        for (cookie, version) in &visitors {
            assert_eq!(shop.comes_again(cookie), *version);
        }
    }
    let fresh: BTreeSet<String> = (0..20).map(|_| shop.visitor().1).collect();
    assert_eq!(fresh, BTreeSet::from(["1.1.0".to_owned()]), "who comes now gets what is");
    // The rollout is over: nobody is kept where nobody is served any more.
    let mut over = shop.table(&[FULL_WEIGHT]);
    over.services.values_mut().for_each(|routes| {
        routes.splits.truncate(1);
        routes.splits[0].role = lockstep_domain::routes::SplitRole::Stable;
        (routes.growth, routes.watch) = (None, None);
    });
    shop.running.gateway.apply(over).unwrap();
    assert!(visitors.iter().all(|(cookie, _)| shop.comes_again(cookie) == "1.1.0"));
    // The version is taken back, and a later rollout begins: its visitors saw nothing of it.
    let mut next = shop.table(&[9_000]);
    next.services.values_mut().for_each(|routes| {
        routes.growth = Some(Growth { rollout: 9, before: 0, weights: vec![9_000] });
    });
    shop.running.gateway.apply(next).unwrap();
    assert!(visitors.iter().all(|(cookie, _)| shop.comes_again(cookie) == "1.0.0"));
}

#[test]
fn what_a_client_made_up_or_changed_is_no_visit() {
    let mut shop = Shop::open();
    shop.running.gateway.sign_visits(&environment(), vec![VisitKey::parse(SECRET).unwrap()]);
    shop.grows(&[5_000]);
    let (cookie, _) = shop.visitor();
    let (name, value) = cookie.split_once('=').unwrap();
    let mut parts: Vec<&str> = value.split('.').collect();
    parts[3] = "0";
    let earlier = parts.join(".");
    let long = "x".repeat(5_000);
    for bad in ["", "1", &earlier, &value[1..], &value[..value.len() - 2], &long, "1.a.1.0.00"] {
        let answer = shop.get("/", &format!("cookie: {name}={bad}\r\n"));
        assert!(set(&answer).is_some_and(|it| !it.contains(bad) || bad.len() < 2), "{bad}");
    }
    let several = format!("cookie: {name}=; {name}=x; {cookie}\r\ncookie: {name}=y\r\n");
    assert_eq!(set(&shop.get("/", &several)), None, "one of them is a visit");
    let flood: String = (0..20).map(|it| format!("{name}={it}; ")).collect();
    assert!(set(&shop.get("/", &format!("cookie: {flood}{cookie}\r\n"))).is_some(), "a few are looked at");
    // The key is exchanged: the former one is accepted as long as it is known.
    let other = VisitKey::parse(&"f".repeat(64)).unwrap();
    shop.running.gateway.sign_visits(&environment(), vec![other.clone(), VisitKey::parse(SECRET).unwrap()]);
    assert_eq!(set(&shop.get("/", &format!("cookie: {cookie}\r\n"))), None);
    shop.running.gateway.sign_visits(&environment(), vec![other]);
    assert!(set(&shop.get("/", &format!("cookie: {cookie}\r\n"))).is_some());
}

#[test]
fn a_table_that_names_keys_is_signed_with_those_alone() {
    let mut shop = Shop::open();
    let key = VisitKey::parse(SECRET).unwrap();
    let table = shop.table(&[5_000]).with_visit_keys(|| vec![key.digest()]);
    shop.running.gateway.apply(table).unwrap();
    assert!(shop.running.gateway.lacks_visit_keys(&environment()));
    assert_eq!(set(&shop.get("/", "")), None, "nobody else would accept what this gateway signed");
    shop.running.gateway.sign_visits(&environment(), vec![key]);
    assert!(!shop.running.gateway.lacks_visit_keys(&environment()));
    let (cookie, version) = shop.visitor();
    assert_eq!(shop.comes_again(&cookie), version);
}

#[test]
fn who_gets_a_cookie_and_how() {
    let mut shop = Shop::open();
    shop.grows(&[5_000]);
    let answer = shop.get("/", "");
    let cookie = set(&answer).unwrap();
    assert_eq!(cookie.split_once("; ").unwrap().1, "Max-Age=3600; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(answer.header("cache-control"), Some("private"));
    assert_eq!(set(&shop.get("/", "x-lockstep-key: ann\r\n")), None, "a program says its key");
    // A cookie that is not signed, or a trace, is no key of a visitor here.
    for own in [
        "cookie: lockstep_key=ann\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    ] {
        let versions: BTreeSet<String> = (0..40).map(|_| shop.get("/", own).version().to_owned()).collect();
        assert_eq!(versions.len(), 2, "{own}");
        assert!(set(&shop.get("/", own)).is_some());
    }
    let mut trusting = shop.table(&[5_000]);
    trusting.rules = Some(GatewayRules {
        trusted_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..GatewayRules::default()
    });
    shop.running.gateway.apply(trusting).unwrap();
    let secure = set(&shop.get("/", "x-forwarded-proto: https\r\n")).unwrap();
    assert!(secure.ends_with("; SameSite=Lax; Secure"), "{secure}");
    assert_eq!(set(&shop.get("/", "baggage: lockstep.key=ann\r\n")), None, "an earlier gateway decided");
}

#[test]
fn a_visit_holds_for_calls_that_it_causes() {
    let mut shop = Shop::open();
    shop.grows(&[1]);
    let (cookie, version) = shop.visitor();
    assert_eq!(version, "1.0.0");
    shop.grows(&[1, 9_999]);
    shop.comes_again(&cookie);
    let head = shop.heard.lock().unwrap().last().unwrap().clone();
    let (baggage, state) = (head.header("baggage").unwrap(), head.header("tracestate").unwrap());
    let key = cookie.split('.').nth(1).unwrap();
    assert!(baggage.starts_with(&format!("lockstep.key={key},lockstep.visit=7_1")), "{baggage}");
    assert!(state.contains("lockstep-visit=7_1"), "{state}");
    let trace = head.header("traceparent").unwrap();
    let call = |fields: &str| {
        let request = format!("GET /@~{TOKEN}/@shop/ HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        shop.running.client().ask(request.as_bytes()).unwrap().version().to_owned()
    };
    assert_eq!(call(&format!("baggage: {baggage}\r\n")), "1.0.0");
    assert_eq!(call(&format!("traceparent: {trace}\r\ntracestate: {state}\r\n")), "1.0.0");
    assert_eq!(call(&format!("baggage: lockstep.key={key}\r\n")), "1.1.0", "without the visit it is drawn");
    let outside = shop.get("/", &format!("baggage: {baggage}\r\nx-lockstep-key: {key}\r\n"));
    assert_eq!(outside.version(), "1.1.0", "a stranger's baggage says nothing");
}

#[test]
fn a_browser_that_calls_by_grpc_web_is_a_visitor_as_any() {
    let mut shop = Shop::open();
    shop.grows(&[5_000]);
    let call = |shop: &Shop, kind: &str, fields: &str| {
        let request = format!(
            "POST /a/B HTTP/1.1\r\nhost: shop.test\r\ncontent-type: {kind}\r\nx-grpc-web: 1\r\n{fields}\r\n"
        );
        shop.running.client().ask(request).unwrap()
    };
    for kind in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let (cookie, version) = shop.visitor();
        for _ in 0..8 {
            let answer = call(&shop, kind, &format!("cookie: {cookie}\r\n"));
            assert_eq!((answer.version(), set(&answer)), (version.as_str(), None), "{kind}");
        }
        let first = call(&shop, kind, "");
        let cookie = set(&first).expect("a visit begins with a call as well");
        assert_eq!(shop.comes_again(cookie.split_once(';').unwrap().0), first.version());
    }
}

#[test]
fn two_routes_with_one_cookie_do_not_end_each_others_visits() {
    let mut shop = Shop::open();
    let mut table = shop.table(&[5_000]);
    let mut short = table.routes[0].clone();
    short.rule.path = "/short".into();
    short.rule.then = serde_json::from_value(json!({ "visit": { "for_s": 1 } })).unwrap();
    table.routes.push(short);
    shop.running.gateway.apply(table).unwrap();
    let first = shop.get("/", "");
    let mut cookie = set(&first).expect("a cookie");
    let pair = |cookie: &str| cookie.split_once(';').unwrap().0.to_owned();
    assert!(cookie.contains("; Max-Age=3600;"), "{cookie}");
    // The visit of the short route ends, and another one begins: the clock is that of the machine.
    wait_until("a visit of the short route ends", || {
        let answer = shop.get("/short", &format!("cookie: {}\r\n", pair(&cookie)));
        assert_eq!(answer.version(), first.version(), "the visitor has its key");
        set(&answer).inspect(|set| cookie.clone_from(set)).is_some()
    });
    assert!(cookie.contains("; Max-Age=3600;"), "{cookie}");
    let value = pair(&cookie);
    assert_eq!(value.split('.').count(), 7, "two beginnings: {value}");
    assert_eq!(shop.comes_again(&value), first.version(), "the long one goes on");
}

#[test]
fn a_verdict_counts_only_who_came_with_the_shares_of_now() {
    let mut shop = Shop::open();
    shop.grows(&[5_000]);
    let visitors: Vec<_> = (0..20).map(|_| shop.visitor()).collect();
    assert_eq!(shop.counted(), 20);
    shop.grows(&[5_000, 6_000]);
    let before = shop.counted();
    for (cookie, version) in &visitors {
        assert_eq!(shop.comes_again(cookie), *version);
    }
    assert_eq!(shop.counted(), before, "of both arms");
    shop.visitor();
    assert_eq!(shop.counted(), before + 1);
    let (cookie, _) = visitors.iter().find(|(_, version)| version == "1.1.0").unwrap();
    let shielded = shop.get("/fails", &format!("cookie: {cookie}\r\n"));
    assert_eq!((shielded.status(), shielded.header("lockstep-shielded")), (200, Some("shop@1.1.0")));
}

#[test]
fn only_a_table_with_visits_asks_for_their_format() {
    let mut shop = Shop::open();
    assert_eq!(shop.table(&[5_000]).format, FORMAT_WITH_VISITS);
    let plain = table(9, &canary(5_000, ("new", shop.new.address), ("old", shop.old.address)));
    assert!(plain.in_its_format().format < FORMAT_WITH_VISITS);
    let mut wrong = shop.table(&[5_000]);
    wrong.services.values_mut().for_each(|routes| routes.growth.as_mut().unwrap().weights.push(6_000));
    let error = shop.running.gateway.apply(wrong).unwrap_err().to_string();
    assert!(error.contains("has grown to"), "{error}");
}
