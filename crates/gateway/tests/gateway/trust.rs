//! What a client says of itself: believed from those who are trusted, replaced from all others.

use lockstep_domain::gateway_rules::{GatewayRules, NamedServices};
use lockstep_domain::routes::RouteTable;
use lockstep_gateway::Applied;

use crate::support::{Instance, Running, TOKEN, Then, answer, as_instance, raw, stable, table};

/// Answers with every field it was given.
fn echo() -> Instance {
    Instance::start(|request, stream| {
        let headers: String = request
            .headers
            .iter()
            .map(|(name, value)| format!("{}: {value}\n", name.to_lowercase()))
            .collect();
        answer(stream, 200, format!("{}\n{headers}", request.start).as_bytes())
    })
}

fn start(echo: &Instance, rules: GatewayRules) -> Running {
    let arms = [stable(0, &[("echo", echo.address)])];
    let running = Running::start(&arms);
    let table = RouteTable { rules: Some(rules), ..table(2, &arms) };
    assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
    running
}

fn trusting(networks: &[&str]) -> GatewayRules {
    GatewayRules {
        trusted_networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
        ..GatewayRules::default()
    }
}

const CLAIMS: &str = "x-forwarded-for: 10.9.9.9\r\nX_Forwarded_For: 10.9.9.8\r\nx-forwarded-proto: https\r\n\
    x-forwarded-host: evil.test\r\nx-forwarded-port: 443\r\nx-forwarded-prefix: /evil\r\nx-real-ip: 10.9.9.9\r\n\
    forwarded: for=10.9.9.9;proto=https\r\ntrue-client-ip: 10.9.9.9\r\nx-original-url: /evil\r\n\
    client-cert: :MIIB:\r\nClient-Cert-Chain: :MIIC:\r\nX-Client-Cert: MIID\r\nssl-client-verify: SUCCESS\r\nSSL_CLIENT_VERIFY: SUCCESS\r\n\
    x-ssl-client-s-dn: CN=root\r\nx-remote-user: root\r\nremote-user: root\r\nx-auth-request-user: root\r\n\
    x-envoy-external-address: 10.9.9.9\r\nx-forwarded: for=10.9.9.9\r\nforwarded-for: 10.9.9.9\r\nx-remote-ip: 10.9.9.9\r\n\
    lockstep-anything: 9\r\nbaggage: lockstep.key=eve,lockstep.other=1,a=1\r\nx-lockstep-key: ann\r\n";

fn ask(running: &Running, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{CLAIMS}\r\n");
    running.client().ask(request).unwrap().text()
}

fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[test]
fn what_a_stranger_says_of_himself_is_replaced_by_what_was_seen() {
    let echo = echo();
    for rules in [GatewayRules::default(), trusting(&["10.0.0.0/8", "::1"])] {
        let running = start(&echo, rules);
        let text = ask(&running, "/");
        let port = running.address.port().to_string();
        let table = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-port", port.as_str()),
            ("x-real-ip", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1;host=\"shop.test\";proto=http"),
            ("baggage", "lockstep.key=ann,a=1"),
        ];
        for (name, value) in table {
            assert_eq!(lines(&text, name), [value], "{text}");
        }
        for gone in [
            "10.9.9",
            "MIIB",
            "MIIC",
            "MIID",
            "SUCCESS",
            "root",
            "evil",
            "https",
            "lockstep-anything",
            "lockstep.other",
            "eve",
        ] {
            assert!(!text.contains(gone), "{gone} reached the service:\n{text}");
        }
    }
}

#[test]
fn what_a_trusted_one_says_is_passed_on_with_what_was_seen_behind_it() {
    let echo = echo();
    let table = [
        ("x-forwarded-for", "10.9.9.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "10.9.9.9"),
        ("forwarded", "for=10.9.9.9;proto=https, for=127.0.0.1;host=\"shop.test\";proto=http"),
        ("true-client-ip", "10.9.9.9"),
        ("client-cert", ":MIIB:"),
        ("x-remote-user", "root"),
        ("x-envoy-external-address", "10.9.9.9"),
        ("lockstep-anything", "9"),
        ("baggage", "lockstep.key=eve,a=1"),
    ];
    for (rules, path) in
        [(trusting(&["127.0.0.0/8"]), "/".to_owned()), (GatewayRules::default(), as_instance("/"))]
    {
        let text = ask(&start(&echo, rules), &path);
        for (name, value) in table {
            assert_eq!(lines(&text, name), [value], "{text}");
        }
        assert!(!text.contains("10.9.9.8"), "a field that only looks like another was passed on\n{text}");
    }
}

/// Asks with fields; returns the id that the answer has, and the lines of a field that the instance saw.
fn id_of(running: &Running, path: &str, fields: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
    let got = running.client().ask(request).unwrap();
    let ids: Vec<_> =
        got.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).collect();
    assert_eq!(ids.len(), 1, "{got:?}");
    (ids[0].1.clone(), got.text())
}

#[test]
fn a_request_has_an_id_of_the_gateway_or_of_who_is_believed_and_everybody_is_told_the_same() {
    let echo = echo();
    let (strange, trusted) =
        (start(&echo, GatewayRules::default()), start(&echo, trusting(&["127.0.0.0/8"])));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traced = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let said = "X-Request-Id: mine\r\nX_Request_Id: shadow\r\n";
    let mut seen = Vec::new();
    for fields in ["", said, &traced, &format!("{said}{traced}")] {
        let (id, text) = id_of(&strange, "/", fields);
        assert_eq!(lines(&text, "x-request-id"), [id.as_str()], "{text}");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(!text.contains("mine") && !text.contains("shadow"), "{text}");
        let is_of_trace = lines(&text, "traceparent")[0].contains(&id);
        assert_eq!(is_of_trace, !fields.contains("traceparent"), "a trace that came has other requests, too");
        seen.push(id);
    }
    for (running, path) in [(&trusted, "/".to_owned()), (&strange, as_instance("/"))] {
        let (id, text) = id_of(running, &path, said);
        assert_eq!((id.as_str(), lines(&text, "x-request-id")), ("mine", vec!["mine"]));
        for bad in ["x-request-id: a b\r\n", "x-request-id: a\r\nx-request-id: b\r\n", "x-request-id:\r\n"] {
            seen.push(id_of(running, &path, bad).0);
        }
    }
    assert!(seen.iter().all(|id| id.len() == 32), "{seen:?}");
    let all: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(all.len(), seen.len(), "{seen:?}");
    // Also where the gateway answers, and where it could not read what was asked.
    let mut client = strange.client();
    let refused = client.ask("GET /@~wrong/ HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!((refused.status(), refused.header("x-request-id").map(str::len)), (403, Some(32)));
    let unread = client.ask("nonsense\r\n\r\n").unwrap();
    assert_eq!((unread.status(), unread.header("x-request-id").map(str::len)), (400, Some(32)));
    assert_ne!(unread.header("x-request-id"), refused.header("x-request-id"));
}

#[test]
fn an_id_that_an_instance_answers_with_is_replaced_by_that_of_the_request() {
    let instance = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nx-request-id: theirs\r\ncontent-length: 0\r\n\r\n")?;
        Ok(Then::Stay)
    });
    let running = start(&instance, GatewayRules::default());
    let (id, _) = id_of(&running, "/", "");
    assert_eq!(id.len(), 32);
}

#[test]
fn traces_of_zipkin_go_on_as_they_came_where_nothing_is_exported() {
    let echo = echo();
    let running = start(&echo, GatewayRules::default());
    let (_, text) = id_of(&running, "/", "X-B3-TraceId: 1\r\nx-b3-sampled: 1\r\nb3: 0\r\n");
    let seen = ["x-b3-traceid", "x-b3-sampled", "b3"].map(|name| lines(&text, name).concat());
    assert_eq!(seen, ["1", "1", "0"], "{text}");
}

#[test]
fn services_are_asked_by_name_only_by_instances_unless_it_is_allowed() {
    let echo = echo();
    let status = |running: &Running, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: any.test\r\n\r\n");
        running.client().ask(request).unwrap().status()
    };
    let closed = start(&echo, trusting(&["127.0.0.0/8"]));
    for path in ["/@shop/x", "//@shop/x", "/a/../@shop/x", "/%40shop/x", "/@shop"] {
        assert_eq!(status(&closed, path), 404, "{path}");
    }
    assert_eq!(status(&closed, &as_instance("/@shop/x")), 200);
    for path in ["/@~/@shop/x", "/@~wrong/@shop/x", "/@~0123456789abcdeg/@shop/x", "/@~0123456789abcde"] {
        assert_eq!(status(&closed, path), 403, "{path}");
    }
    let allowed = GatewayRules { named_services: NamedServices::Allow, ..GatewayRules::default() };
    assert_eq!(status(&start(&echo, allowed), "/@shop/x"), 200);
}

#[test]
fn a_table_of_an_older_release_is_served_as_it_was_meant_and_believes_nobody() {
    let echo = echo();
    let arms = [stable(0, &[("echo", echo.address)])];
    let running = Running::start(&arms);
    let older = RouteTable { format: 1, callers: Vec::new(), ..table(2, &arms) };
    assert_eq!(running.gateway.apply(older).unwrap(), Applied::Now);
    let text = ask(&running, "/@shop/x");
    assert!(text.starts_with("GET /x "), "{text}");
    assert_eq!(lines(&text, "x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn the_token_of_an_instance_goes_no_further() {
    let echo = echo();
    let running = start(&echo, GatewayRules::default());
    for path in [as_instance("/@shop/x?y=1"), as_instance("/x"), as_instance("")] {
        let text = ask(&running, &path);
        assert!(text.starts_with("GET /") && !text.contains(TOKEN) && !text.contains("@~"), "{text}");
    }
}
