use lockstep_domain::certificate::TableCertificate;
use lockstep_domain::entry::{ClientCertificates, Entry, EntrySettings, PlainHttp, TlsVersion};
use serde_json::json;

use super::*;

fn problems_of(text: &str) -> Vec<String> {
    match read_json(text) {
        Ok(_) => Vec::new(),
        Err(Refused::NewerFormat(format)) => vec![format!("newer format {format}")],
        Err(Refused::Wrong(problems)) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn authority() -> String {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn full_entry() -> Entry {
    let settings = EntrySettings {
        https_port: Some(1),
        http: PlainHttp::Redirect,
        tls_min: TlsVersion::V1_3,
        client_ca: Some(authority()),
        client_certificates: ClientCertificates::Optional,
        proxy_networks: vec!["10.0.0.0/8".parse().unwrap()],
        tcp: vec!["8883/mqtt.test=orders".parse().unwrap()],
        tcp_idle_ms: Some(60_000),
    };
    let digest = lockstep_domain::Digest::from_bytes([0; 32]);
    let certificates = vec![TableCertificate { name: "shop".parse().unwrap(), digest }];
    Entry { settings, certificates, ..Entry::default() }
}

/// A table that uses a field of every object that a person writes.
fn rich() -> serde_json::Value {
    json!({
        "format": 12, "environment": "production", "history": "abc", "revision": 3, "baseline": 1,
        "rules": { "named_services": "allow", "trusted_networks": ["10.0.0.0/8"], "timeout_ms": 5_000 },
        "aliases": { "old": "orders" },
        "entry": serde_json::to_value(full_entry()).unwrap(),
        "routes": [
            { "host": "shop.test", "path": "/p/{id}", "path_type": "template", "service": "orders",
              "when": { "methods": ["GET"], "headers": [{ "name": "x-lane", "value": "present" }],
                        "cookies": [{ "name": "beta", "value": { "exact": "on" } }],
                        "query": [{ "name": "v", "value": { "regex": "[0-9]+" } }], "clients": ["10.0.0.0/8"] },
              "then": { "rewrite": { "path": "/x/{id}" }, "cors": { "origins": ["*"], "max_age_s": 5 },
                        "request_headers": { "set": { "a": "b" }, "remove": ["c"] }, "sticky_s": 9 },
              "patience": { "limit_ms": 10 }, "affinity": "client" },
            { "path": "/s", "service": "orders", "patience": "stream", "prefix": "strip" },
        ],
        "services": { "orders": { "salt": "x",
            "watch": { "trial": "t", "operations": [{ "class": "GET /", "method": "GET", "path": "/" }], "answers": "sampled" },
            "version_rules": [{ "id": 1, "version": "1.0.0", "config": 0, "takes": { "header": { "name": "x-user", "value": "ann" } } },
                              { "id": 2, "version": "1.0.0", "config": 0, "takes": { "places": [{ "from": 0, "to": 5 }] } }],
            "splits": [{ "version": "1.0.0", "config": 0, "weight": 10_000, "role": "stable", "protocol": "h2c",
                         "endpoints": [{ "instance": "a", "address": "127.0.0.1:1" }],
                         "leaving": [{ "instance": "b", "address": "127.0.0.1:2" }] }] } },
    })
}

#[test]
fn a_table_that_uses_everything_is_read_as_gateways_read_it() {
    let text = serde_json::to_string_pretty(&rich()).unwrap();
    let read = read_json(&text).unwrap_or_else(|_| panic!("{:?}", problems_of(&text)));
    assert_eq!(read.table, serde_json::from_str(&text).unwrap());
    assert_eq!(problems_of(&serde_json::to_string(&read.table).unwrap()), [""; 0], "and as it is written");
}

/// Goes through the places of all objects with fixed fields.
fn objects(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    let free = ["/services", "/aliases", "/set"];
    if let Some(fields) = value.as_object() {
        if !free.iter().any(|end| at.ends_with(end)) {
            found.push(at.to_owned());
        }
        fields.iter().for_each(|(key, inner)| objects(inner, &format!("{at}/{key}"), found));
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        objects(inner, &format!("{at}/{index}"), found);
    }
}

#[test]
fn a_key_that_is_unknown_is_named_wherever_it_stands() {
    let mut places = Vec::new();
    objects(&rich(), "", &mut places);
    assert!(places.len() > 20, "{places:?}");
    for place in places {
        let mut table = rich();
        table.pointer_mut(&place).unwrap()["mispelled"] = json!(1);
        let text = serde_json::to_string_pretty(&table).unwrap();
        let line = 1 + text.lines().position(|line| line.contains("mispelled")).unwrap();
        let problems = problems_of(&text);
        assert_eq!(problems.len(), 1, "{place}: {problems:?}");
        assert!(problems[0].starts_with(&format!("line {line}: ")), "{place}: {problems:?}");
        assert!(problems[0].ends_with("mispelled`: there is no such field"), "{place}: {problems:?}");
    }
}

#[test]
fn what_is_wrong_with_one_route_hides_nothing_of_the_others() {
    let text = r#"{
  "format": 8, "environment": "production", "revision": 1, "baseline": 0,
  "routes": [
    {"path": "/a", "service": "orders", "whn": {}},
    {"path": 7, "service": "orders"},
    {"path": "/c", "when": {"methods": ["get"]}, "service": "orders"},
    {"path": "/d", "service": "orders",
      "then": {"redirect": {"host": "b.test", "status": "x"}}},
    {"path": "/e"}
  ],
  "services": {
    "orders": {"salt": "o", "splits": [
      {"version": "1.0.0", "config": 0, "weight": 1, "role": "stable", "endpoints": []},
      {"version": "1.x", "config": 0, "weight": 9999, "role": "stable", "endpoints": []}]},
    "stock": {"salt": "o", "splits": [
      {"version": "1.0.0", "config": 0, "weight": 7, "role": "stable", "endpoints": []}]}
  },
  "services_of_old": 1
}"#;
    let found = problems_of(text);
    let expected = [
        "line 4: `routes[0].whn`: there is no such field",
        "line 5: `routes[1].path`: invalid type: integer `7`, expected a string",
        "line 6: `routes[2]`: route `*/c get` of `orders`: `get` is not a method",
        "line 8: `routes[3].then.redirect.status`: invalid type: string \"x\", expected u16",
        "line 9: `routes[4]`: it has no `service`",
        "line 14: `services.orders.splits[1].version`: ",
        "line 15: `services.stock.splits`: weights of `stock` add up to 7",
        "line 18: `services_of_old`: there is no such field",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn all_that_is_wrong_with_one_object_is_named() {
    let text = r#"{
  "format": "x", "environment": "Production!", "revision": 1, "baseline": "none",
  "routes": [
    {"path": 7, "host": 8, "prefix": "cut", "patience": {"limit_ms": "long"}, "service": "Orders",
      "when": {"methods": [1, "GET"], "headers": [{"name": 1, "value": "present"}]}}],
  "services": {"orders": {"salt": 5, "splits": [
      {"version": "1.x", "config": "a", "weight": -1, "role": "new", "endpoints": [{"instance": "a", "address": "here"}]}]}}
}"#;
    let found = problems_of(text);
    for place in [
        "format",
        "environment",
        "baseline",
        "routes[0].path",
        "routes[0].host",
        "routes[0].prefix",
        "routes[0].patience",
        "routes[0].service",
        "routes[0].when",
        "services.orders.salt",
        "services.orders.splits[0].version",
        "services.orders.splits[0].config",
        "services.orders.splits[0].weight",
        "services.orders.splits[0].role",
        "services.orders.splits[0].endpoints",
    ] {
        assert!(found.iter().any(|it| it.contains(&format!("`{place}"))), "{place}: {found:#?}");
    }
    assert!(!found.iter().any(|it| it.contains("missing field")), "{found:#?}");
}

#[test]
fn what_is_newer_than_the_format_says_is_named() {
    let policy = json!({ "path": "/", "service": "a", "policy": { "timeouts": { "head_ms": 5 } } });
    let table = |format| json!({ "format": format, "environment": "a", "revision": 1, "baseline": 1, "routes": [policy], "services": {} });
    let found = problems_of(&table(9).to_string());
    assert_eq!(
        found,
        ["line 1: `format`: what it says there is since format 10; an older gateway would pass over it"]
    );
    assert_eq!(problems_of(&table(10).to_string()), [""; 0]);
}

#[test]
fn authorities_of_clients_are_looked_at_without_a_certificate() {
    let mut table = rich();
    for (pem, words) in [
        ("", "certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate"),
    ] {
        table["entry"]["client_ca"] = json!(pem);
        let found = problems_of(&table.to_string());
        assert!(
            found.len() == 1 && found[0].contains("`entry.client_ca`") && found[0].contains(words),
            "{found:?}"
        );
    }
    let toml = "environment = \"a\"\n[entry]\nhttps_port = 1\nhttp = \"redirect\"\nclient_ca = \"no\"\n";
    let Err(Refused::Wrong(found)) = read_toml(toml, "t") else { panic!("it was taken") };
    assert!(found[0].to_string().contains("entry.client_ca"), "{found:?}");
}

#[test]
fn a_newer_format_is_named_and_nothing_else_of_it() {
    let newer = ROUTE_TABLE_FORMAT + 1;
    let text = format!(r#"{{"format":{newer},"of_later":1,"routes":7}}"#);
    assert_eq!(problems_of(&text), [format!("newer format {newer}")]);
}

#[test]
fn what_is_no_table_at_all_is_said_by_its_first_mistake() {
    for (text, expected) in [
        ("", "line 1: it is not JSON: EOF while parsing"),
        ("{\n\"format\": 2,\n}", "line 3: it is not JSON: key must be a string at column 1"),
        ("[]", "line 1: a route table is an object"),
        ("\"x\"", "line 1: a route table is an object"),
        ("{\"format\": 2}", "line 1: missing field `environment`"),
        ("{\"format\": 2, \"format\": 2}", "line 1: `format` is there twice"),
        ("{\"routes\": {}, \"services\": []}", "line 1: "),
    ] {
        let found = problems_of(text);
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn a_version_for_rules_alone_has_no_share() {
    let split = |role, weight| json!({ "version": format!("1.{weight}.0"), "config": 0, "weight": weight, "role": role, "endpoints": [] });
    let table = |pinned| {
        let splits = [split("pinned", pinned), split("stable", 10_000 - pinned)];
        json!({ "format": 11, "environment": "a", "revision": 1, "baseline": 1, "routes": [],
            "services": { "stock": { "salt": "s", "splits": splits } } })
    };
    assert!(read_json(&table(0).to_string()).is_ok());
    let found = problems_of(&table(6_000).to_string());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("services.stock.splits[0].weight"), "{found:?}");
}
