//! Routes with conditions, and what they do with requests.

use std::collections::BTreeMap;

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::actions::stands_once;
use lockstep_domain::routes::{Route, RouteTable};
use lockstep_gateway::Applied;
use serde_json::{Value, json};

use crate::support::{Instance, Message, Running, answer, raw, stable, table};

/// Answers with every line it was given, and with fields of its own.
fn echo() -> Instance {
    Instance::start(|request, stream| {
        let fields = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let body = format!("{}\n{}", request.start, fields.collect::<String>());
        let head = "server: test\r\nx-kept: 1\r\naccess-control-allow-origin: *\r\nset-cookie: own=1\r\n";
        let length = body.len();
        raw(stream, format!("HTTP/1.1 200 OK\r\n{head}content-length: {length}\r\n\r\n{body}").as_bytes())
    })
}

fn with_routes(revision: u64, echo: &Instance, routes: &[Value]) -> RouteTable {
    let route = |route: &Value| -> Route {
        let mut route = route.clone();
        route["service"] = json!("shop");
        serde_json::from_value(route).unwrap()
    };
    let table = table(revision, &[stable(0, &[("echo", echo.address)])]);
    RouteTable { routes: routes.iter().map(route).collect(), ..table }
}

fn open(echo: &Instance, routes: &[Value]) -> Running {
    let running = Running::start(&[]);
    assert_eq!(running.gateway.apply(with_routes(2, echo, routes)).unwrap(), Applied::Now);
    running
}

/// A route that names itself to the instance.
fn named(name: &str, mut rule: Value) -> Value {
    rule["then"] = json!({ "request_headers": { "set": { "x-route": name } } });
    rule
}

fn ask(running: &Running, start: &str, fields: &str) -> Message {
    running.client().ask(format!("{start} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n")).unwrap()
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn the_most_specific_route_that_holds_takes_a_request() {
    let echo = echo();
    let wanted = |name: &str, value: Value| json!([{ "name": name, "value": value }]);
    let routes = [
        named("any", json!({})),
        named("orders", json!({ "path": "/orders" })),
        named("one", json!({ "path": "/orders/{id}", "path_type": "template" })),
        named("exact", json!({ "path": "/orders/new", "path_type": "exact" })),
        named("post", json!({ "path": "/orders", "when": { "methods": ["POST"] } })),
        named(
            "lane",
            json!({ "path": "/orders", "when": { "headers": wanted("x-lane", json!({"exact": "login"})) } }),
        ),
        named(
            "beta",
            json!({ "path": "/b", "when": { "cookies": wanted("beta", json!({"regex": "on|yes"})) } }),
        ),
        named("preview", json!({ "path": "/b", "when": { "query": wanted("v", json!("present")) } })),
        named("inside", json!({ "path": "/b", "when": { "clients": ["127.0.0.0/8"] } })),
        named("host", json!({ "host": "*.shop.test" })),
        named("files", json!({ "path": "/f/{rest...}", "path_type": "template" })),
        named("far", json!({ "path": "/far", "when": { "clients": ["10.0.0.0/8"] } })),
    ];
    let running = open(&echo, &routes);
    for (start, fields, expected) in [
        ("GET /x", "", "any"),
        ("GET /orders", "", "orders"),
        ("GET /orders/7", "", "one"),
        ("GET /orders/7/", "", "orders"),
        ("GET /orders/new", "", "exact"),
        ("GET /orders/%6eew", "", "exact"),
        ("GET /orders/a%2fb", "", "one"),
        ("GET /orders/NEW", "", "one"),
        ("POST /orders", "", "post"),
        ("POST /orders/7", "", "one"),
        ("GET /orders", "X-Lane: login\r\n", "lane"),
        ("GET /orders", "x-lane: other\r\nx-lane: login\r\n", "lane"),
        ("GET /orders", "x-lane: login2\r\n", "orders"),
        ("GET /b", "cookie: a=1; beta=yes\r\n", "beta"),
        ("GET /b", "cookie: beta=off; beta=yes\r\n", "inside"),
        ("GET /b?x=1&%76", "", "preview"),
        ("GET /b?x=1", "", "inside"),
        ("GET /f/", "", "files"),
        ("GET /f", "", "any"),
        ("GET //f//a/../b", "", "files"),
        ("GET /far", "", "any"),
        ("GET http://a.shop.test/orders/7", "", "host"),
    ] {
        let answer = ask(&running, start, fields).text();
        assert_eq!(line(&answer, "x-route"), Some(expected), "{start} {fields}");
    }
}

#[test]
fn the_client_behind_a_proxy_is_known_only_where_the_proxy_is_believed() {
    let echo = echo();
    let routes = [named("any", json!({})), named("ten", json!({ "when": { "clients": ["10.1.0.0/16"] } }))];
    let running = open(&echo, &routes);
    let forwarded = "x-forwarded-for: 10.1.9.9, 10.1.2.3, 192.0.2.1\r\n";
    assert_eq!(line(&ask(&running, "GET /", forwarded).text(), "x-route"), Some("any"));
    let trusted_networks = ["127.0.0.0/8", "192.0.2.0/24"].map(|it| it.parse().unwrap()).to_vec();
    let rules = Some(GatewayRules { trusted_networks, ..GatewayRules::default() });
    let table = RouteTable { rules, ..with_routes(3, &echo, &routes) };
    assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
    assert_eq!(line(&ask(&running, "GET /", forwarded).text(), "x-route"), Some("ten"));
    let invented = "x-forwarded-for: 10.1.2.3, 172.16.0.1\r\n";
    assert_eq!(line(&ask(&running, "GET /", invented).text(), "x-route"), Some("any"), "the nearest counts");
}

#[test]
fn a_route_answers_by_itself_and_the_connection_stays() {
    let echo = echo();
    let maintenance = json!({ "respond": { "status": 503, "body": "back at noon" },
        "response_headers": { "set": { "retry-after": "3600" } } });
    let routes = [
        json!({ "then": { "redirect": { "scheme": "https", "status": 308 } } }),
        json!({ "path": "/old", "then": { "redirect": { "path": "/new" } } }),
        json!({ "path": "/p/{id}", "path_type": "template", "then": { "redirect": { "path": "/product/{id}" } } }),
        json!({ "path": "/shop", "then": maintenance }),
    ];
    let running = open(&echo, &routes);
    let mut client = running.client();
    for (start, location) in [
        ("GET /a%2fb?q=1&q=2", "https://shop.test/a%2Fb?q=1&q=2"),
        ("GET //evil.test/%2e%2e", "https://shop.test/"),
        ("GET /old/a?x", "/new/a?x"),
        ("GET /p/7", "/product/7"),
        ("GET http://shop.test:8080/z", "https://shop.test/z"),
    ] {
        let answer = client.ask(format!("{start} HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
        assert_eq!(answer.header("location"), Some(location), "{start}");
    }
    let answer = client.ask("GET /shop HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!((answer.status(), answer.text()), (503, "back at noon".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("3600"));
    client.send("HEAD /shop HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!(client.read_to_head().unwrap().header("content-length"), Some("12"));
    assert_eq!(echo.served(), 0, "no instance was asked");
}

#[test]
fn a_service_sees_the_path_and_host_that_its_route_gives_it() {
    let echo = echo();
    let rewrite = |path: &str| json!({ "rewrite": { "path": path, "host": "orders.internal" } });
    let routes = [
        json!({ "path": "/api", "then": rewrite("/v2") }),
        json!({ "path": "/o/{id}/{rest...}", "path_type": "template", "then": rewrite("/{rest...}") }),
        json!({ "path": "/x/{id}", "path_type": "template", "then": rewrite("/{id}/y") }),
    ];
    let running = open(&echo, &routes);
    for (path, expected) in [
        ("/api", "/v2"),
        ("/api/a%2fb?q=%2e&q", "/v2/a%2Fb?q=%2e&q"),
        ("/o/7/a//b/", "/a/b/"),
        ("/x/7?a", "/7/y?a"),
    ] {
        let text = ask(&running, &format!("GET {path}"), "").text();
        assert_eq!(text.lines().next(), Some(format!("GET {expected} HTTP/1.1").as_str()), "{path}");
        assert_eq!(line(&text, "host"), Some("orders.internal"));
        assert_eq!(line(&text, "x-forwarded-host"), Some("shop.test"));
    }
    assert_eq!(ask(&running, "GET /x/;a", "").status(), 400, "`;a` would hide in the middle");
}

#[test]
fn fields_are_changed_on_both_ways() {
    let echo = echo();
    let then = json!({
        "request_headers": { "set": { "x-a": "1" }, "add": { "x-b": "2" }, "remove": ["x-c"] },
        "response_headers": { "set": { "server": "shop" }, "add": { "x-kept": "2" }, "remove": ["set-cookie"] },
    });
    let running = open(&echo, &[json!({ "then": then })]);
    let answer = ask(&running, "GET /", "X-A: 0\r\nx-b: 0\r\nX-C: 0\r\nX-D: 0\r\n");
    let text = answer.text();
    let values = |name: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    };
    assert_eq!((values("x-a"), values("x-b")), (vec!["1".to_owned()], vec!["0".to_owned(), "2".to_owned()]));
    assert_eq!((values("x-c").len(), values("x-d").len()), (0, 1));
    let got = |name: &str| -> Vec<&str> {
        answer.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!((got("server"), got("x-kept"), got("set-cookie")), (vec!["shop"], vec!["1", "2"], vec![]));
    assert_eq!(answer.header("lockstep-version"), Some("shop@1.0.0"));
}

/// Names of fields that an answer has twice, of those that can stand once.
fn twice(answer: &Message) -> Vec<&str> {
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    let mut names: Vec<&str> = names
        .filter(|name| stands_once(&name.to_ascii_lowercase()) || name.starts_with("content-"))
        .collect();
    names.sort_unstable();
    names.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case(pair[1])).map(|pair| pair[0]).collect()
}

#[test]
fn what_can_stand_once_stands_once_whoever_says_it() {
    let service = Instance::start(|request, stream| {
        let head =
            "content-type: text/html\r\nlocation: /there\r\netag: \"1\"\r\naccess-control-allow-origin: *";
        let kinds = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let kinds: String = kinds.map(|(_, value)| format!("{value};")).collect();
        let length = kinds.len();
        raw(
            stream,
            format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: {length}\r\n\r\n{kinds}").as_bytes(),
        )
    });
    let every = ["content-type", "location", "retry-after", "etag", "access-control-allow-origin"];
    let fields: BTreeMap<&str, &str> = every.into_iter().map(|name| (name, "x")).collect();
    let cors = json!({ "origins": ["https://a.test"], "credentials": true });
    let acts = [
        (
            "respond",
            json!({ "respond": { "status": 503, "body": "{}", "content_type": "application/json" } }),
        ),
        ("redirect", json!({ "redirect": { "path": "/new" } })),
        ("pass", json!({})),
        ("cors", json!({ "cors": cors })),
    ];
    let ways = [
        ("set", json!({ "set": fields })),
        ("add", json!({ "add": fields })),
        ("both", json!({ "set": fields, "add": fields })),
    ];
    let mut routes = Vec::new();
    for (act, then) in &acts {
        for (way, changes) in &ways {
            let mut then = then.clone();
            then["response_headers"] = changes.clone();
            then["request_headers"] = json!({ "add": { "content-type": "y" } });
            routes.push(json!({ "path": format!("/{act}/{way}"), "then": then }));
        }
    }
    let running = open(&service, &routes);
    let asked = |act: &str, way: &str| {
        ask(&running, &format!("GET /{act}/{way}"), "origin: https://a.test\r\ncontent-type: z\r\n")
    };
    for (act, _) in &acts {
        for (way, _) in &ways {
            assert_eq!(twice(&asked(act, way)), Vec::<&str>::new(), "{act} {way}");
        }
    }
    let kind = |act, way| asked(act, way).header("content-type").map(str::to_owned);
    assert_eq!(kind("respond", "set").as_deref(), Some("x"), "what is set takes the place");
    assert_eq!(kind("respond", "add").as_deref(), Some("application/json"));
    assert_eq!(
        (kind("pass", "set").as_deref(), kind("pass", "add").as_deref()),
        (Some("x"), Some("text/html"))
    );
    assert_eq!(asked("pass", "add").text(), "z;", "also on the way to the service");
    assert_eq!(asked("redirect", "set").header("location"), Some("/new"));
    assert_eq!(asked("cors", "set").header("access-control-allow-origin"), Some("https://a.test"));
    assert_eq!(asked("respond", "add").header("retry-after"), Some("x"));
}

#[test]
fn browsers_are_told_what_pages_of_other_origins_may() {
    let echo = echo();
    let cors = json!({ "origins": ["https://*.shop.test"], "methods": ["PUT"], "headers": ["x-lane"],
        "credentials": true, "max_age_s": 600 });
    let running = open(&echo, &[json!({ "then": { "cors": cors } })]);
    let preflight = |origin: &str| {
        ask(&running, "OPTIONS /", &format!("origin: {origin}\r\naccess-control-request-method: PUT\r\n"))
    };
    let allowed = preflight("https://a.shop.test");
    assert_eq!(allowed.status(), 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://a.shop.test"),
        ("access-control-allow-methods", "GET, HEAD, POST, PUT"),
        ("access-control-allow-headers", "x-lane"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(allowed.header(name), Some(value), "{name}");
    }
    let refused = preflight("https://shop.test.evil.test");
    assert_eq!((refused.status(), refused.header("access-control-allow-origin")), (204, None));
    assert_eq!(echo.served(), 0, "the gateway answers them");
    let answer = ask(&running, "GET /", "origin: https://a.shop.test\r\n");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.shop.test"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let answer = ask(&running, "GET /", "origin: https://evil.test\r\n");
    assert_eq!(answer.header("access-control-allow-origin"), None, "also not what the service says");
    assert_eq!(ask(&running, "OPTIONS /", "").status(), 200, "without an origin it is for the service");
}

#[test]
fn a_visitor_gets_a_key_and_keeps_its_version() {
    let echo = echo();
    let new = Instance::start(|_, stream| answer(stream, 200, b"new"));
    let running = Running::start(&[]);
    let arms = crate::support::canary(5_000, ("new", new.address), ("echo", echo.address));
    let mut table = table(2, &arms);
    let then = json!({ "sticky_s": 86_400 });
    table.routes[0].rule.then = serde_json::from_value(then).unwrap();
    assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
    let mut versions = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let first = ask(&running, "GET /", "");
        let given = first.headers.iter().map(|(_, value)| value).find(|it| it.starts_with("lockstep_key="));
        let (cookie, attributes) = given.unwrap().split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=86400; Path=/; HttpOnly; SameSite=Lax");
        versions.insert(first.version().to_owned());
        for _ in 0..5 {
            let next = ask(&running, "GET /", &format!("cookie: {cookie}\r\n"));
            assert_eq!(next.version(), first.version());
            assert!(!next.headers.iter().any(|(_, value)| value.starts_with("lockstep_key=")), "it has one");
        }
    }
    assert_eq!(versions.len(), 2);
    let named = ask(&running, "GET /", "x-lockstep-key: ann\r\n");
    assert!(!named.headers.iter().any(|(_, value)| value.starts_with("lockstep_key=")), "a program has one");
}

#[test]
fn a_table_with_a_route_that_cannot_be_served_changes_nothing() {
    let echo = echo();
    let running = open(&echo, &[json!({})]);
    let bad = [
        json!({ "path": "/{a", "path_type": "template" }),
        json!({ "when": { "headers": [{ "name": "a", "value": { "regex": "(" } }] } }),
        json!({ "then": { "request_headers": { "set": { "content-length": "1" } } } }),
    ];
    let error = running.gateway.apply(with_routes(3, &echo, &bad)).unwrap_err().to_string();
    for part in ["`/{a`", "the value of `a`", "`content-length`"] {
        assert!(error.replace("{a` is", "/{a` is").contains(part), "{part}: {error}");
    }
    assert_eq!(ask(&running, "GET /", "").status(), 200);
}
