//! What is explained is what a gateway on sockets does.

use std::net::IpAddr;

use lockstep_domain::entry::{Entry, EntrySettings, PlainHttp};
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::request_path::{EscapedSlashes, PathForm};
use lockstep_domain::routes::{Route, RouteTable, SplitRole};
use lockstep_gateway::Applied;
use lockstep_gateway::explain::{Explanation, Outcome, Question, explain};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::*;

/// Says what it was asked for, and by which host.
fn echo() -> Instance {
    Instance::start(|request, stream| {
        let host = request.header("host").unwrap_or_default().to_owned();
        answer(stream, 200, format!("{}\n{host}", request.target()).as_bytes())
    })
}

fn routes() -> Vec<Value> {
    let wanted = |name: &str, value: &str| json!([{ "name": name, "value": { "exact": value } }]);
    vec![
        json!({}),
        json!({ "host": "shop.test", "path": "/orders" }),
        json!({ "path": "/orders/{id}", "path_type": "template", "then": { "rewrite": { "path": "/o/{id}", "host": "in.test" } } }),
        json!({ "path": "/orders/new", "path_type": "exact", "when": { "methods": ["POST"] } }),
        json!({ "path": "/orders", "when": { "headers": wanted("x-lane", "login") }, "then": { "redirect": { "path": "/lane" } } }),
        json!({ "path": "/a", "prefix": "strip" }),
        json!({ "path": "/a", "when": { "query": wanted("v", "2") }, "then": { "respond": { "status": 503, "body": "closed" } } }),
        json!({ "host": "*.shop.test", "when": { "clients": ["127.0.0.0/8"] }, "then": { "redirect": { "scheme": "https", "status": 308 } } }),
        json!({ "path": "/a", "when": { "cookies": wanted("beta", "1") }, "then": { "cors": { "origins": ["https://x.test"] } } }),
        json!({ "path": "/other", "service": "stock" }),
        json!({ "path": "/nowhere", "service": "gone" }),
    ]
}

fn rules() -> Vec<Value> {
    let rule = |id: u64, version: &str, takes: Value| json!({ "id": id, "version": version, "config": 0, "takes": takes });
    vec![
        rule(7, "1.1.0", json!({ "header": { "name": "x-user", "value": "jason" } })),
        rule(8, "1.0.0", json!({ "cookie": { "name": "beta", "value": "1" } })),
        rule(9, "1.1.0", json!({ "places": [{ "from": 1_000, "to": 4_000 }] })),
    ]
}

#[derive(Debug, Clone)]
struct World {
    routes: Vec<Value>,
    rules: Vec<Value>,
    weight: u32,
    /// Whether the version on trial has no instance.
    is_empty: bool,
    trusts: bool,
    https: bool,
    path_form: PathForm,
    escaped_slashes: EscapedSlashes,
    asked: Vec<Asked>,
}

#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    host: &'static str,
    path: &'static str,
    headers: Vec<&'static str>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let paths = [
        "/",
        "/orders",
        "/orders/7",
        "/orders/new",
        "/a",
        "/a/b%2fc",
        "/a//b%2f/x",
        "//a//b/%7ex",
        "/orders//7",
        "/%6frders/%37",
        "/x//../a",
        "/a?v=2",
        "/a/../orders/7?x=1",
        "/..",
        "/other/7",
        "/nowhere",
        "/@shop/x",
        "/@~0123456789abcdef/@shop/x",
        "/@~wrong/x",
        "/%zz",
        "/orders/;x",
        "/@~0123456789abcdef",
    ];
    let headers = [
        "x-lane: login",
        "x-user: jason",
        "cookie: beta=1",
        "cookie: lockstep_key=ann",
        "x-lockstep-key: eve",
        "baggage: lockstep.key=carried,lockstep.rules=7",
        "origin: https://x.test",
        "access-control-request-method: PUT",
        "x-forwarded-proto: https",
        "x-forwarded-for: 10.0.0.1",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: lockstep=ted",
        "host: twice.test",
        "content-length: x",
    ];
    let methods = select(vec!["GET", "POST", "OPTIONS"]);
    let hosts = select(vec!["shop.test", "Shop.Test.:8080", "a.shop.test", "else.test", "bad..host"]);
    let headers = subsequence(headers.to_vec(), 0..4);
    (methods, hosts, select(paths.to_vec()), headers).prop_map(|(method, host, path, headers)| Asked {
        method,
        host,
        path,
        headers,
    })
}

fn world() -> impl Strategy<Value = World> {
    let lists = (subsequence(routes(), 0..=11), subsequence(rules(), 0..=3));
    let weights = select(vec![0, 2_500, 10_000]);
    let flags = (prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.2));
    let forms = select(vec![PathForm::Normalized, PathForm::KeepSlashes, PathForm::AsSent]);
    let slashes = select(vec![
        EscapedSlashes::Keep,
        EscapedSlashes::Refuse,
        EscapedSlashes::Decode,
        EscapedSlashes::Redirect,
    ]);
    let can_be = |(form, slashes): &_| (*form, *slashes) != (PathForm::AsSent, EscapedSlashes::Decode);
    let forms = (forms, slashes).prop_filter("what is decoded is not as it was sent", can_be);
    (lists, weights, flags, forms, prop::collection::vec(asked(), 12)).prop_map(
        |((routes, rules), weight, (is_empty, trusts, https), (path_form, escaped_slashes), asked)| World {
            path_form,
            escaped_slashes,
            routes,
            rules,
            weight,
            is_empty,
            trusts,
            https,
            asked,
        },
    )
}

fn table_of(world: &World, revision: u64, (new, old): (&Instance, &Instance)) -> RouteTable {
    let mut arms = canary(world.weight, ("new", new.address), ("old", old.address));
    arms[0].role = if world.weight == 0 { SplitRole::Pinned } else { SplitRole::Candidate };
    if world.is_empty {
        arms[0].instances.clear();
    }
    let mut table = table(revision, &arms);
    let route = |route: &Value| -> Route {
        let mut route = route.clone();
        let service = route.get("service").cloned().unwrap_or(json!("shop"));
        route["service"] = service;
        serde_json::from_value(route).unwrap()
    };
    table.routes = world.routes.iter().map(route).collect();
    let mut stock = self::table(revision, &[stable(3, &[("stock", old.address)])]).services;
    table.services.insert("stock".parse().unwrap(), stock.pop_first().unwrap().1);
    let shop = table.services.get_mut(&"shop".parse().unwrap()).unwrap();
    shop.version_rules = world.rules.iter().map(|it| serde_json::from_value(it.clone()).unwrap()).collect();
    let trusted_networks = world.trusts.then(|| "127.0.0.0/8".parse().unwrap()).into_iter().collect();
    table.rules = Some(GatewayRules {
        trusted_networks,
        path_form: world.path_form,
        escaped_slashes: world.escaped_slashes,
        ..GatewayRules::default()
    });
    let settings =
        EntrySettings { https_port: Some(443), http: PlainHttp::Redirect, ..EntrySettings::default() };
    table.entry = world.https.then(|| Entry { settings, ..Entry::default() });
    table
}

fn explained(table: &RouteTable, asked: &Asked) -> Explanation {
    let headers: Vec<String> = asked.headers.iter().map(ToString::to_string).collect();
    let address = format!("http://{}{}", asked.host, asked.path);
    let client = IpAddr::from([127, 0, 0, 1]);
    explain(table.clone(), &Question::new(asked.method, &address, &headers, client).unwrap()).unwrap()
}

fn same(running: &Running, table: &RouteTable, asked: &Asked) -> &'static str {
    let explained = explained(table, asked);
    let host = if asked.headers.contains(&"host: twice.test") { "" } else { asked.host };
    let host = if host.is_empty() { String::new() } else { format!("host: {host}\r\n") };
    let fields: String = asked.headers.iter().map(|it| format!("{it}\r\n")).collect();
    let got = running
        .client()
        .ask(format!("{} {} HTTP/1.1\r\n{host}{fields}\r\n", asked.method, asked.path))
        .unwrap();
    let told = format!("{asked:?}\n{explained:#?}\n{got:?}");
    match &explained.outcome {
        Outcome::Served { service, version, versions, path, host } => {
            assert_eq!(got.status(), 200, "{told}");
            let answered = got.header("lockstep-version").unwrap();
            match version {
                Some(version) => assert_eq!(answered, format!("{service}@{version}"), "{told}"),
                None => {
                    let known = versions.iter().any(|it| answered == format!("{service}@{}", it.version));
                    assert!(known, "{told}");
                }
            }
            let text = got.text();
            let (target, seen_host) = text.split_once('\n').unwrap();
            assert_eq!((target.split('?').next(), seen_host), (Some(path.as_str()), host.as_str()), "{told}");
            if version.is_some() { "served" } else { "drawn" }
        }
        Outcome::Answered { status, code, location } => {
            assert_eq!((got.status(), got.header("location")), (*status, location.as_deref()), "{told}");
            assert_eq!(got.header("lockstep-version"), None, "{told}");
            code
        }
        Outcome::Connected { .. } => panic!("it is a request"),
        Outcome::Refused { status, code, detail } => {
            assert_eq!(got.status(), *status, "{told}");
            let document: Value = serde_json::from_slice(&got.body).unwrap();
            assert_eq!((&document["code"], &document["detail"]), (&json!(code), &json!(detail)), "{told}");
            code
        }
    }
}

#[test]
fn what_is_explained_is_what_a_gateway_on_sockets_does() {
    let (new, old) = (echo(), echo());
    let running = Running::start(&[]);
    let revision = std::cell::Cell::new(1);
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<&str, usize>::new());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(250) });
    let checked = runner.run(&world(), |world| {
        revision.set(revision.get() + 1);
        let table = table_of(&world, revision.get(), (&new, &old));
        prop_assert_eq!(running.gateway.apply(table.clone()).unwrap(), Applied::Now);
        for asked in &world.asked {
            *seen.borrow_mut().entry(same(&running, &table, asked)).or_default() += 1;
        }
        Ok(())
    });
    checked.unwrap();
    let all = World {
        routes: routes(),
        rules: rules(),
        weight: 2_500,
        is_empty: false,
        trusts: false,
        https: false,
        path_form: PathForm::Normalized,
        escaped_slashes: EscapedSlashes::Keep,
        asked: Vec::new(),
    };
    let table = table_of(&all, revision.get() + 1, (&new, &old));
    assert_eq!(running.gateway.apply(table.clone()).unwrap(), Applied::Now);
    let headers = vec!["cookie: beta=1", "origin: https://x.test", "access-control-request-method: PUT"];
    let preflight = Asked { method: "OPTIONS", host: "else.test", path: "/a", headers };
    assert_eq!(same(&running, &table, &preflight), "preflight");
    for outcome in [
        "served",
        "drawn",
        "redirect",
        "respond",
        "https_only",
        "escaped_slash",
        "no_route",
        "no_instance",
        "bad_path",
        "unknown_caller",
        "bad_request",
    ] {
        assert!(seen.borrow().contains_key(outcome), "never {outcome}: {:?}", seen.borrow());
    }
}

#[test]
fn it_says_which_routes_came_before_and_why_they_did_not_take_it() {
    let (new, old) = (echo(), echo());
    let world = World {
        routes: routes(),
        rules: rules(),
        weight: 2_500,
        is_empty: false,
        trusts: false,
        https: false,
        path_form: PathForm::Normalized,
        escaped_slashes: EscapedSlashes::Keep,
        asked: Vec::new(),
    };
    let table = table_of(&world, 1, (&new, &old));
    let headers = vec!["cookie: lockstep_key=ann"];
    let explained = explained(&table, &Asked { method: "GET", host: "shop.test", path: "/a/x", headers });
    let first = explained.routes.iter().position(|it| it.takes).unwrap();
    let why =
        |part: &str| explained.routes[..first].iter().any(|it| it.why.as_deref().unwrap().contains(part));
    assert!(why("another host") && why("other paths") && why("does not hold"), "{explained:#?}");
    let says = |about: &str| explained.steps.iter().find(|it| it.about == about).unwrap().says.clone();
    assert!(says("key").contains("`ann` from the cookie"), "{explained:#?}");
    assert!(says("version").contains("place "), "{explained:#?}");
}

#[test]
fn what_would_be_two_requests_is_no_question() {
    let ask = |url: &str, header: &str| {
        Question::new("GET", url, &[header.to_owned()], IpAddr::from([127, 0, 0, 1])).map(|_| ())
    };
    assert!(ask("http://shop.test/", "a: b").is_ok());
    for (url, header) in [
        ("http://shop.test/ HTTP/1.1\r\nx: y", "a: b"),
        ("http://shop.test/a b", "a: b"),
        ("shop.test/", "a: b"),
        ("ftp://shop.test/", "a: b"),
        ("http:///x", "a: b"),
        ("http://shop.test/", "a"),
        ("http://shop.test/", "a: b\r\nhost: evil.test"),
        ("http://shop.test/", " : b"),
    ] {
        assert!(ask(url, header).is_err(), "{url} {header}");
    }
}

#[test]
fn a_fault_that_only_some_requests_meet_is_told_and_not_drawn() {
    let instance = Instance::named("one");
    let rules = json!({ "fault_injection": "allow", "faults": [
        { "number": 3, "service": "shop", "does": { "abort": 503 }, "share": 1_000, "until": u64::MAX / 2 },
        { "number": 4, "service": "shop", "does": { "delay_ms": 200 }, "share": 10_000, "until": u64::MAX / 2 },
    ] });
    let rules = Some(serde_json::from_value(rules).unwrap());
    let table = RouteTable { rules, ..table(1, &[stable(0, &[("one", instance.address)])]) }.in_its_format();
    let question = Question::new("GET", "http://shop.test/", &[], IpAddr::from([192, 0, 2, 1])).unwrap();
    for _ in 0..100 {
        let explained = explain(table.clone(), &question).unwrap();
        assert!(matches!(explained.outcome, Outcome::Served { .. }), "{explained:?}");
        let said: Vec<_> =
            explained.steps.iter().filter(|step| step.about == "fault").map(|step| &*step.says).collect();
        assert_eq!(
            said,
            [
                "10 % of such requests are aborted on purpose with 503 by fault 3, the others are not",
                "each other such request is delayed on purpose by 200 ms by fault 4",
            ]
        );
    }
}
