//! Rules that give certain requests a version of their own: what matches, what is carried on, and what is counted.

use std::sync::{Arc, Mutex};

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::{
    FORMAT_WITH_VERSION_RULES, FULL_WEIGHT, ROUTE_TABLE_FORMAT, RouteTable, SplitRole, SplitRule, SplitTakes,
    slot,
};
use lockstep_domain::version_rules::{Pattern, Places};
use lockstep_domain::watch::Watch;
use lockstep_domain::{ConfigRevision, VersionNumber};
use lockstep_gateway::{Applied, ApplyError, is_own_header};

use crate::support::*;

fn pattern(name: &str, value: &str) -> Pattern {
    Pattern { name: name.into(), value: value.into() }
}

fn rule(id: u64, minor: u64, takes: SplitTakes) -> SplitRule {
    SplitRule { id, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), takes }
}

fn header(id: u64, minor: u64, value: &str) -> SplitRule {
    rule(id, minor, SplitTakes::Header(pattern("x-user", value)))
}

fn pinned<'a>(minor: u64, instance: (&'a str, std::net::SocketAddr)) -> ArmSpec<'a> {
    ArmSpec { version: (1, minor, 0), weight: 0, role: SplitRole::Pinned, instances: vec![instance] }
}

fn ruled(revision: u64, arms: &[ArmSpec<'_>], rules: &[SplitRule]) -> RouteTable {
    let mut table = table(revision, arms);
    table.services.values_mut().for_each(|routes| routes.version_rules = rules.to_vec());
    table
}

/// An instance that remembers the head of each request.
fn listening() -> (Instance, Arc<Mutex<Vec<Message>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&heard);
    let instance = Instance::start(move |request, stream| {
        heads.lock().unwrap().push(request.clone());
        answer(stream, 200, b"ok")
    });
    (instance, heard)
}

struct Shop {
    running: Running,
    table: RouteTable,
    heard: [Arc<Mutex<Vec<Message>>>; 2],
    _instances: [Instance; 2],
}

impl Shop {
    /// 1.0.0 for everybody, 1.1.0 by these rules.
    fn open(rules: &[SplitRule]) -> Self {
        let ((old, heard_old), (new, heard_new)) = (listening(), listening());
        let arms = [pinned(1, ("new", new.address)), stable(0, &[("old", old.address)])];
        let running = Running::start(&[stable(0, &[("old", old.address)])]);
        let table = ruled(2, &arms, rules);
        assert_eq!(running.gateway.apply(table.clone()).unwrap(), Applied::Now);
        Self { running, table, heard: [heard_old, heard_new], _instances: [old, new] }
    }

    fn ask(&self, path: &str, fields: &str) -> Message {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        self.running.client().ask(request).unwrap()
    }

    fn version(&self, fields: &str) -> String {
        self.ask("/", fields).version().to_owned()
    }

    /// What the instance of a version got last.
    fn got(&self, minor: usize) -> Message {
        self.heard[minor].lock().unwrap().last().unwrap().clone()
    }
}

#[test]
fn a_header_matches_by_its_whole_value_and_a_name_in_any_case() {
    let shop = Shop::open(&[header(7, 1, "jäson=1, 2")]);
    for fields in [
        "x-user: jäson=1, 2\r\n",
        "X-USER:   jäson=1, 2  \r\n",
        "x-user: eve\r\nx-user: jäson=1, 2\r\n",
        "connection: x-user\r\nx-user: jäson=1, 2\r\n",
    ] {
        assert_eq!(shop.version(fields), "1.1.0", "{fields}");
    }
    for fields in [
        "",
        "x-user: jäson=1\r\n",
        "x-user: jäson=1, 2, 3\r\n",
        "x-user: Jäson=1, 2\r\n",
        "x_user: jäson=1, 2\r\n",
        "x-users: jäson=1, 2\r\n",
        "cookie: x-user=jäson=1, 2\r\n",
    ] {
        assert_eq!(shop.version(fields), "1.0.0", "{fields}");
    }
}

#[test]
fn a_cookie_matches_as_browsers_send_it() {
    let cookie = |value: &str| rule(7, 1, SplitTakes::Cookie(pattern("beta", value)));
    let shop = Shop::open(&[cookie("on=1")]);
    for fields in [
        "cookie: beta=on=1\r\n",
        "cookie: a=1; beta=on=1; c=2\r\n",
        "cookie: a=1;beta=on=1\r\n",
        "cookie: a=1\r\ncookie: beta=on=1\r\n",
        "cookie: beta=on=1; beta=off\r\n",
    ] {
        assert_eq!(shop.version(fields), "1.1.0", "{fields}");
    }
    for fields in [
        "cookie: Beta=on=1\r\n",
        "cookie: beta=off; beta=on=1\r\n",
        "cookie: beta=off\r\ncookie: beta=on=1\r\n",
        "cookie: xbeta=on=1\r\n",
        "cookie: a=beta=on=1\r\n",
        "cookie: beta=\"on=1\"\r\n",
        "cookie: beta=on\r\n",
        "cookie: beta\r\n",
        "beta: on=1\r\n",
    ] {
        assert_eq!(shop.version(fields), "1.0.0", "{fields}");
    }
}

#[test]
fn the_first_rule_wins_and_a_share_takes_its_clients_from_what_is_left() {
    let places = vec![Places { from: 2_000, to: 4_500 }];
    let share = rule(9, 1, SplitTakes::Places(places));
    let shop = Shop::open(&[share, header(7, 0, "ann"), header(8, 1, "ann")]);
    assert_eq!(shop.version("x-user: ann\r\n"), "1.0.0", "the first of those that match");
    let mut taken = 0;
    for number in 0..400 {
        let key = format!("client-{number}");
        let expected = (2_000..4_500).contains(&slot("shares", key.as_bytes()));
        let version = shop.version(&format!("x-lockstep-key: {key}\r\n"));
        assert_eq!(version == "1.1.0", expected, "{key}");
        taken += u32::from(expected);
        let by_header = shop.version(&format!("x-lockstep-key: {key}\r\nx-user: ann\r\n"));
        assert_eq!(by_header, "1.0.0", "a header comes before a share");
    }
    assert!((70..130).contains(&taken), "a quarter of 400: {taken}");
}

#[test]
fn what_was_decided_goes_along_in_baggage_and_tracestate_and_only_instances_are_believed() {
    let shop = Shop::open(&[header(7, 1, "jason"), rule(8, 1, SplitTakes::Cookie(pattern("b", "1")))]);
    assert_eq!(shop.version("x-user: jason\r\nbaggage: a=1, lockstep.rules=9\r\n"), "1.1.0");
    let head = shop.got(1);
    let baggage = head.header("baggage").unwrap().to_owned();
    assert!(baggage.starts_with("lockstep.key=") && baggage.ends_with(",lockstep.rules=7,a=1"), "{baggage}");
    assert_eq!(head.header("tracestate"), Some("lockstep-rules=7"));
    assert_eq!(head.header("x-user"), Some("jason"), "the service sees it too");
    let traceparent = head.header("traceparent").unwrap().to_owned();
    // Called deeper, by a service that passes on one of the two, without the header.
    let instance = |fields: &str| shop.ask(&as_instance("/"), fields).version().to_owned();
    let named = format!("traceparent: {traceparent}\r\ntracestate: dd=s:1,lockstep-rules=7\r\n");
    for fields in [format!("baggage: {baggage}\r\n").as_str(), named.as_str()] {
        assert_eq!(instance(fields), "1.1.0", "{fields}");
        assert_eq!(shop.version(fields), "1.0.0", "a stranger is not believed: {fields}");
        let head = shop.got(0);
        assert!(!format!("{:?}", head.headers).contains("rules"), "and goes no further: {head:?}");
    }
    // What cannot be believed, is not known, or belongs to no trace.
    for fields in [
        "tracestate: lockstep-rules=7\r\n",
        "baggage: lockstep.rules=6.9.x.-7. 7\r\n",
        "baggage: lockstep.rules=\r\n",
        "baggage: lockstep-rules=7\r\n",
    ] {
        assert_eq!(instance(fields), "1.0.0", "{fields}");
    }
    assert_eq!(instance("baggage: lockstep.rules=99.7\r\n"), "1.1.0");
    let carried = shop.got(1).header("baggage").unwrap().to_owned();
    assert!(carried.ends_with(",lockstep.rules=7"), "only rules of the table go on: {carried}");
}

#[test]
fn a_rule_of_another_service_goes_along_and_what_an_earlier_hop_decided_comes_before_a_header() {
    let ((web, heard), (old, _), (new, _)) = (listening(), listening(), listening());
    let arms = [pinned(1, ("new", new.address)), stable(0, &[("old", old.address)])];
    let running = Running::start(&[stable(0, &[("old", old.address)])]);
    // `shop` has the route and no rule; `stock`, which it calls, has them.
    let mut both = table(2, &[stable(0, &[("web", web.address)])]);
    let stock = ruled(2, &arms, &[header(7, 0, "ann"), header(8, 1, "jason")]);
    let stock = stock.services.into_values().next().unwrap();
    both.services.insert("stock".parse().unwrap(), stock);
    assert_eq!(running.gateway.apply(both).unwrap(), Applied::Now);
    let ask = |path: &str, fields: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        running.client().ask(request).unwrap()
    };
    ask("/", "x-user: jason\r\n");
    let baggage = heard.lock().unwrap().last().unwrap().header("baggage").unwrap().to_owned();
    assert!(baggage.ends_with(",lockstep.rules=8"), "{baggage}");
    let deeper = ask(&as_instance("/@stock/7"), &format!("baggage: {baggage}\r\nx-user: ann\r\n"));
    assert_eq!(deeper.header("lockstep-version"), Some("stock@1.1.0"));
    let own = ask(&as_instance("/@stock/7"), "x-user: ann\r\n");
    assert_eq!(own.header("lockstep-version"), Some("stock@1.0.0"));
}

#[test]
fn a_request_of_a_rule_is_neither_counted_for_the_verdict_nor_shielded_nor_given_to_a_candidate() {
    let bad = Instance::start(|_, stream| answer(stream, 500, b"bad"));
    let good = Instance::named("good");
    let arms = canary(9_999, ("new", bad.address), ("old", good.address));
    let running = Running::start(&arms);
    let mut table = ruled(2, &arms, &[header(7, 1, "jason"), header(8, 0, "ann")]);
    let watch: Watch = serde_json::from_value(serde_json::json!({
        "trial": "operation 1", "statuses": ["5xx"], "latency_bounds_ms": [1],
    }))
    .unwrap();
    table.services.values_mut().for_each(|routes| routes.watch = Some(watch.clone()));
    running.gateway.apply(table).unwrap();
    let ask = |fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        running.client().ask(request).unwrap()
    };
    let counted = || {
        let watched = running.gateway.receipt(&environment()).watched;
        watched[0].arms.iter().map(|(_, counts)| counts.total.requests).sum::<u64>()
    };
    for _ in 0..20 {
        let jason = ask("x-user: jason\r\n");
        assert_eq!((jason.status(), jason.version()), (500, "1.1.0"), "what it does is what is seen");
        assert_eq!(ask("x-user: ann\r\n").version(), "1.0.0");
    }
    assert_eq!(counted(), 0);
    let other = ask("");
    assert_eq!((other.status(), other.header("lockstep-shielded")), (200, Some("shop@1.1.0")));
    assert_eq!(counted(), 1, "others are");
    wait_until("all of them stand in the counters of versions", || {
        let metrics = running.gateway.admin().metrics();
        metrics.lines().any(|line| {
            line.starts_with("lockstep_gateway_requests_total")
                && line.contains("service_version=\"1.1.0\"")
                && line.ends_with(" 20")
        })
    });
}

#[test]
fn a_version_that_is_gone_leaves_its_requests_to_the_stable_one_and_others_never_come_to_it() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let arms = [pinned(1, ("new", new.address)), stable(0, &[("old", old.address)])];
    let running = Running::start(&arms);
    let apply = |revision| running.gateway.apply(ruled(revision, &arms, &[header(7, 1, "jason")])).unwrap();
    apply(2);
    let ask = |fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        running.client().ask(request).unwrap()
    };
    new.kill();
    assert_eq!(ask("x-user: jason\r\n").text(), "old");
    let revived = Instance::named("new");
    let arms = [pinned(1, ("new", revived.address)), stable(0, &[("old", old.address)])];
    running.gateway.apply(ruled(3, &arms, &[header(7, 1, "jason")])).unwrap();
    old.kill();
    assert_eq!(ask("x-user: jason\r\n").text(), "new");
    for _ in 0..20 {
        assert_eq!(ask("").status(), 503, "what is there for rules is nobody's way out");
    }
}

#[test]
fn a_table_with_rules_has_its_own_format_and_one_that_leads_nowhere_is_refused() {
    let instance = Instance::named("old");
    let arms = [stable(0, &[("old", instance.address)])];
    let running = Running::start(&arms);
    let with = ruled(2, &arms, &[header(7, 0, "jason")]).in_its_format();
    assert_eq!(with.format, FORMAT_WITH_VERSION_RULES);
    let newer = RouteTable { format: ROUTE_TABLE_FORMAT + 1, ..with };
    assert!(matches!(running.gateway.apply(newer), Err(ApplyError::NewerFormat { .. })));
    let nowhere = running.gateway.apply(ruled(2, &arms, &[header(7, 1, "jason")])).unwrap_err();
    assert!(nowhere.to_string().contains("rule 7 of `shop` leads to 1.1.0"), "{nowhere}");
}

#[test]
fn a_proxy_that_is_believed_may_carry_rules_and_headers_of_the_gateway_are_known() {
    let shop = Shop::open(&[header(7, 1, "jason")]);
    let rules =
        GatewayRules { trusted_networks: vec!["127.0.0.0/8".parse().unwrap()], ..GatewayRules::default() };
    let trusting = RouteTable { revision: 3, rules: Some(rules), ..shop.table.clone() };
    shop.running.gateway.apply(trusting).unwrap();
    assert_eq!(shop.version("baggage: lockstep.rules=7\r\n"), "1.1.0");
    for own in
        ["host", "Cookie", "connection", "x-forwarded-for", "lockstep-any", "x-lockstep-key", "x_real_ip"]
    {
        assert!(is_own_header(own), "{own}");
    }
    assert!(!is_own_header("x-user") && !is_own_header("user-agent"));
    assert_eq!(FULL_WEIGHT, 10_000);
}
