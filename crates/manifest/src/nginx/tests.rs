use proptest::prelude::*;

use super::*;
use crate::table::parse_table;

const USUAL: &str = r#"
worker_processes auto;
events { worker_connections 1024; }
http {
    include mime.types;
    upstream orders {
        least_conn;
        server 127.0.0.1:9000;
        server 127.0.0.1:9001 weight=2;
        server 10.0.0.9:9002 down;
    }
    server {
        listen 80;
        server_name shop.test www.shop.test;
        return 301 https://$host$request_uri;
    }
    server {
        listen 443 ssl;
        server_name shop.test;
        ssl_certificate shop.pem;
        add_header x-frame-options DENY always;
        location / {
            proxy_pass http://localhost:3000;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header x-lane "blue";
            proxy_read_timeout 30s;
        }
        location /api/ {
            proxy_pass http://orders/;
            add_header cache-control no-store;
            proxy_hide_header Server;
            limit_req zone=one;
        }
        location = /health { return 200 "ok"; }
        location /old { return 308 /new; }
        location ~ \.php$ { fastcgi_pass unix:/run/php.sock; }
        location /files { root /var/www; }
        location /far { proxy_pass https://far.test; }
        location /name { proxy_pass http://orders.internal:8080; }
    }
}
"#;

fn read(text: &str) -> Imported {
    import(text, "production").unwrap()
}

#[test]
fn the_usual_parts_become_a_table_that_is_valid() {
    let imported = read(USUAL);
    let table =
        parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
    let routes: Vec<_> =
        table.routes.iter().map(|route| format!("{} {}", route.rule, route.service)).collect();
    let expected = [
        "shop.test/ localhost-3000",
        "shop.test/api orders",
        "shop.test/health exactly gateway",
        "shop.test/old gateway",
        "shop.test/name orders-internal-8080",
    ];
    assert_eq!(routes, expected, "{}", imported.toml);
    let entry = table.entry.unwrap().settings;
    assert_eq!((entry.https_port, entry.http.to_string().as_str()), (Some(443), "redirect"));
}

#[test]
fn every_directive_that_is_not_carried_over_is_named_with_its_line() {
    let left: Vec<_> = read(USUAL).left.iter().map(|left| (left.line, left.directive.clone())).collect();
    let line = |part: &str| 1 + USUAL.lines().position(|line| line.contains(part)).unwrap();
    for (part, directive) in [
        ("worker_processes", "worker_processes auto"),
        ("events", "events"),
        ("include", "include mime.types"),
        ("least_conn", "least_conn"),
        ("weight=2", "server 127.0.0.1:9001 weight=2"),
        (" down", "server 10.0.0.9:9002 down"),
        ("listen 80", "listen 80"),
        ("ssl_certificate", "ssl_certificate shop.pem"),
        ("limit_req", "limit_req zone=one"),
        ("~ \\.php", "location ~ \\.php$"),
        ("root", "root /var/www"),
        ("https://far", "proxy_pass https://far.test"),
    ] {
        assert!(left.contains(&(line(part), directive.to_owned())), "{directive}: {left:#?}");
    }
}

#[test]
fn weights_are_shares_of_those_who_have_them() {
    let servers = "server 10.0.0.1:80 weight=5; server 10.0.0.2:80; server 10.0.0.3:80 weight=5 max_fails=2; server [::1]:80 weight=1;";
    let text = format!("upstream shop {{ {servers} }} server {{ location / {{ proxy_pass http://shop; }} }}");
    let imported = read(&text);
    let table =
        parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
    let mut splits: Vec<_> = table.services.values().next().unwrap().splits.iter().collect();
    splits.sort_by_key(|split| split.weight);
    let shares: Vec<_> = splits
        .iter()
        .map(|split| {
            (split.weight, split.endpoints.iter().map(|it| it.address.to_string()).collect::<Vec<_>>())
        })
        .collect();
    let ours = |addresses: [&str; 2]| addresses.map(str::to_owned).to_vec();
    let expected =
        [(1_667, ours(["10.0.0.2:80", "[::1]:80"])), (8_333, ours(["10.0.0.1:80", "10.0.0.3:80"]))];
    assert_eq!(shares, expected, "{}", imported.toml);
    let why: Vec<_> = imported.left.iter().map(|left| left.why.as_str()).collect();
    assert!(why.iter().filter(|why| why.starts_with("its weight")).count() == 3, "{why:?}");
    assert!(why.iter().filter(|why| why.starts_with("its options")).count() == 1, "{why:?}");
    let same = read("upstream a { server 10.0.0.1:80 weight=3; server 10.0.0.2:80 weight=3; }");
    assert!(!same.toml.contains("share"), "{}", same.toml);
}

#[test]
fn what_is_no_configuration_is_said_with_its_line() {
    for (text, line, what) in [
        ("http {\n", 1, "a brace does not end"),
        ("a b;\n}\n", 2, "a brace ends that did not begin"),
        ("a\nb", 1, "a directive ends with `;`"),
        ("x 'y", 1, "a quote does not end"),
        (";", 1, "a directive has a name"),
    ] {
        assert_eq!(import(text, "e").unwrap_err(), NginxError { line, what: what.to_owned() }, "{text}");
    }
    assert!(import(&"a{".repeat(100_000), "e").unwrap_err().what.contains("too deep"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z{};$'\"\\\\ \n/:=~#.0-9]{0,200}") {
        let _ = import(&text, "e");
        let _ = import(&format!("server {{ location /{text} {{ proxy_pass http://127.0.0.1:1; }} }}"), "e");
        let _ = import(&format!("server {{ {text} ; return 301 {text}; }}"), "e");
    }
}
