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
        "shop.test/files gateway",
        "shop.test/far far-test-tls",
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

/// The routes of a server with these locations, as `path status` where the gateway answers and `path service` elsewhere, with what they ask for.
fn routes(outside: &str, inside: &str) -> (Vec<String>, Imported) {
    let imported = read(&format!("http {{ {outside} server {{ {inside} }} }}"));
    let table =
        parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
    let shown = |route: &lockstep_domain::routes::Route| {
        let respond =
            route.rule.then.as_ref().and_then(|then| then.respond.as_ref()).map(|it| it.status.to_string());
        format!(
            "{} {}",
            route.rule.to_string().trim_start_matches('*'),
            respond.unwrap_or_else(|| route.service.to_string())
        )
    };
    (table.routes.iter().map(shown).collect(), imported)
}

#[test]
fn whom_nginx_keeps_out_no_route_lets_in() {
    let pass = "proxy_pass http://127.0.0.1:9000;";
    for (guard, status) in [
        ("internal;", "404"),
        ("deny all;", "403"),
        ("auth_basic \"secret\"; auth_basic_user_file x;", "403"),
        ("auth_request /check;", "403"),
        ("if ($http_x != y) { return 403; }", "403"),
        ("allow 10.0.0.1; deny 10.0.0.0/8; allow all;", "403"),
        ("access_by_lua_file x.lua;", "503"),
        ("modsecurity on;", "503"),
        ("include snippets/auth.conf;", "503"),
        ("proxy_ssl_verify on; satisfy any; auth_basic x;", "403"),
    ] {
        let (found, imported) =
            routes("", &format!("location / {{ {pass} }} location /a {{ {guard} {pass} }}"));
        assert_eq!(found, ["/ s-127-0-0-1-9000".to_owned(), format!("/a {status}")], "{guard}");
        let is_said = imported.left.iter().any(|left| left.why.starts_with("closed: "));
        assert!(is_said || guard == "deny all;", "{guard}: {:#?}", imported.left);
        // What a server says holds for all its locations, and what `http` says for all servers.
        if !guard.starts_with("internal") {
            let (found, _) = routes("", &format!("{guard} location / {{ {pass} }}"));
            assert_eq!(found, [format!("/ {status}")], "{guard}");
        }
    }
    let (found, _) =
        routes("deny all;", &format!("location / {{ {pass} }} location /a {{ allow all; {pass} }}"));
    assert_eq!(found, ["/ 403", "/a s-127-0-0-1-9000"]);
    let (found, _) = routes("", &format!("return 403; location /a {{ {pass} }}"));
    assert_eq!(found, ["/ 403"]);
    for open in
        ["auth_basic off;", "gzip on;", "include proxy_params;", "if ($a) { set $b c; }", "allow 10.0.0.1;"]
    {
        let (found, _) = routes("", &format!("location /a {{ {open} {pass} }}"));
        assert_eq!(found, ["/a s-127-0-0-1-9000"], "{open}");
    }
}

#[test]
fn clients_and_methods_are_carried_over_and_the_others_get_no_further() {
    let pass = "proxy_pass http://127.0.0.1:9000;";
    let toml = |inside: &str| {
        routes("", &format!("location / {{ {pass} }} location /a {{ {inside} {pass} }}")).1.toml
    };
    let some = toml("allow 10.0.0.0/8; allow ::1; deny all;");
    assert!(some.contains("clients = [\"10.0.0.0/8\", \"::1\"]"), "{some}");
    assert_eq!(
        (some.matches("path = \"/a\"").count(), some.matches("status = 403").count()),
        (2, 1),
        "{some}"
    );
    let but = toml("deny 10.0.0.1; allow all;");
    let refused = but.split("[[route]]").find(|route| route.contains("clients")).unwrap();
    assert!(refused.contains("\"10.0.0.1\"") && refused.contains("status = 403"), "{but}");
    let methods = toml("limit_except GET { deny all; }");
    assert!(
        methods.contains("methods = [\"GET\", \"HEAD\"]") && methods.contains("status = 403"),
        "{methods}"
    );
    // Of two that ask for methods and clients the one with methods comes first.
    let both = toml("limit_except GET { deny all; } deny 10.0.0.1;");
    let refused = both.split("[[route]]").find(|route| route.contains("clients")).unwrap();
    assert!(refused.contains("methods") && refused.contains("status = 403"), "{both}");
}

#[test]
fn a_location_that_is_not_taken_over_falls_to_no_other_one() {
    let pass = "proxy_pass http://127.0.0.1:9000;";
    for place in [
        "location /a { root /srv; }",
        "location /a { proxy_pass https://10.0.0.1; }",
        "location /a { return http://b.test/$x; }",
        "location /b { proxy_pass http://127.0.0.1:9000; location /a { proxy_pass http://127.0.0.1:9000; deny all; } }",
    ] {
        let (found, imported) = routes("", &format!("location / {{ {pass} }} {place}"));
        assert!(
            found.contains(&"/a 503".to_owned()) || found.contains(&"/a 403".to_owned()),
            "{place}: {found:?}"
        );
        assert_eq!(imported.astray.len(), usize::from(place.contains("deny")), "{imported:#?}");
    }
    // A prefix ends at a segment here, so what nginx closes beside it is said.
    let (_, imported) = routes(
        "",
        &format!("location / {{ {pass} }} location /a {{ internal; }} location /b/ {{ internal; }}"),
    );
    assert!(imported.astray.len() == 1 && imported.astray[0].why.contains("`/ax`"), "{imported:#?}");
    let (_, imported) = routes("", &format!("location ~* \\.php$ {{ deny all; }}\nlocation / {{ {pass} }}"));
    let [astray] = imported.astray.as_slice() else { panic!("{imported:#?}") };
    assert!(astray.line == 1 && astray.why.contains("`location /` (line 2)"), "{astray:?}");
    // Where no route would take them they are refused anyway.
    let (_, imported) = routes("", &format!("location ~ x {{ deny all; }} location = /a {{ {pass} }}"));
    assert!(imported.astray.is_empty(), "{imported:#?}");
}

#[test]
fn a_server_whose_names_cannot_be_asked_for_is_none_for_every_host() {
    let places = "location / { proxy_pass http://127.0.0.1:9000; }";
    let of = |others: &str| read(&format!("server {{ server_name ~^admin; {places} }} {others}"));
    let alone = of("");
    assert!(!alone.toml.contains("[[route]]") && alone.astray.is_empty(), "{alone:#?}");
    let named = read(&format!("server {{ server_name shop.test \"\" _; {places} }}"));
    assert!(named.toml.contains("host = [\"shop.test\"]"), "{named:#?}");
    let beside = of(&format!("server {{ {places} }}"));
    assert_eq!((beside.toml.matches("[[route]]").count(), beside.astray.len()), (1, 1), "{beside:#?}");
}

#[test]
fn servers_within_tls_are_asked_so_where_their_name_is_known() {
    let of = |more: &str| {
        read(&format!(
            "upstream shop {{ server 10.0.0.1:443 weight=2; server 10.0.0.2:443; }} server {{ {more} }}"
        ))
    };
    let tls = |imported: &Imported| -> Vec<String> {
        let table =
            parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
        let splits = table.services.values().flat_map(|it| &it.splits);
        let names =
            splits.filter_map(|it| it.approach.tls.as_ref()).map(|it| serde_json::to_string(it).unwrap());
        names.collect()
    };
    let named = of("location / { proxy_pass https://Far.test; }");
    assert!(tls(&named).iter().all(|it| it.contains("far.test")) && tls(&named).len() == 1, "{named:#?}");
    assert!(
        named.toml.contains("far.test:443") && named.left[0].why.contains("is checked for"),
        "{named:#?}"
    );
    let upstream = of(
        "proxy_ssl_name shop.internal; location / { proxy_pass https://shop; } location /b { proxy_pass http://shop; }",
    );
    assert_eq!(tls(&upstream).len(), 2, "its two weights, and not the service in the clear: {upstream:#?}");
    for more in [
        "location / { proxy_pass https://shop; }",
        "location / { proxy_pass https://10.0.0.1; }",
        "proxy_ssl_name $host; location / { proxy_pass https://shop; }",
    ] {
        let closed = of(more);
        assert!(closed.toml.contains("status = 503") && tls(&closed).is_empty(), "{closed:#?}");
    }
}

#[test]
fn rates_of_clients_are_carried_over_and_others_are_named() {
    let of = |zone: &str, limit: &str| {
        let text = format!(
            "http {{ {zone} server {{ location / {{ {limit} proxy_pass http://127.0.0.1:9000; }} }} }}"
        );
        let imported = read(&text);
        let table =
            parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
        let rate = table.routes[0].rule.policy.as_ref().and_then(|policy| policy.limits.rate);
        let told: Vec<String> =
            imported.left.iter().map(|it| format!("{}: {}", it.directive, it.why)).collect();
        (rate.map(|rate| serde_json::to_value(rate).unwrap()), told)
    };
    let zone = "limit_req_zone $binary_remote_addr zone=one:10m rate=30r/m;";
    let (rate, told) = of(zone, "limit_req zone=one burst=4 nodelay;");
    let rate = rate.unwrap();
    assert_eq!((&rate["requests"], &rate["per_ms"], &rate["burst"]), (&30.into(), &60_000.into(), &5.into()));
    assert!(told.iter().any(|it| it.contains("429")) && !told.iter().any(|it| it.contains("nobody waits")));
    let (rate, told) = of(zone, "limit_req zone=one burst=4;");
    assert!(rate.is_some() && told.iter().any(|it| it.contains("nobody waits")), "{told:?}");
    let (rate, told) = of(zone, "limit_req zone=one; limit_req zone=one burst=9;");
    assert_eq!(rate.unwrap()["burst"], 1);
    assert!(told.iter().any(|it| it.contains("NOT carried over")), "{told:?}");
    for (zone, limit) in [
        ("limit_req_zone $server_name zone=one:10m rate=5r/s;", "limit_req zone=one;"),
        (zone, "limit_req zone=two;"),
        (zone, "limit_req zone=one burst=x;"),
        ("limit_req_zone $remote_addr zone=one:10m rate=0r/s;", "limit_req zone=one;"),
    ] {
        let (rate, told) = of(zone, limit);
        assert!(
            rate.is_none() && told.iter().any(|it| it.contains("NOT carried over")),
            "{zone} {limit}: {told:?}"
        );
    }
}

#[test]
fn slashes_that_are_not_merged_are_kept() {
    let form = |more: &str| {
        let imported = read(&format!(
            "http {{ server {{ {more} location / {{ proxy_pass http://127.0.0.1:9000; }} }} }}"
        ));
        let told = imported.left.iter().any(|it| it.directive.starts_with("merge_slashes"));
        (parse_table(&imported.toml, "t").unwrap().table.rules().path_form.to_string(), told)
    };
    assert_eq!(form("merge_slashes off;"), ("keep-slashes".to_owned(), true));
    assert_eq!(form("merge_slashes on;"), ("normalized".to_owned(), false));
    assert_eq!(form(""), ("normalized".to_owned(), false));
}

#[test]
fn what_means_the_same_is_carried_over_and_the_rest_is_called_what_it_is() {
    let more =
        "client_max_body_size 10m; proxy_connect_timeout 2s; proxy_next_upstream off; limit_req zone=one;";
    let (_, imported) = routes("", &format!("location /a2/ {{ {more} proxy_pass http://127.0.0.1:9000; }}"));
    let table = parse_table(&imported.toml, "t").unwrap().table;
    let policy = table.routes[0].rule.policy.as_ref().unwrap();
    assert_eq!(policy.limits.body_bytes, Some(10 << 20));
    assert_eq!(
        (policy.timeouts.connect_ms, policy.retries.as_ref().map(|it| it.attempts)),
        (Some(2_000), Some(0))
    );
    let why = |directive: &str| {
        let left = imported.left.iter().find(|left| left.directive.starts_with(directive));
        left.unwrap_or_else(|| panic!("{directive}: {imported:#?}")).why.as_str()
    };
    let answers = routes("", "client_max_body_size 1m; proxy_read_timeout 5s; location /a { return 410; } location /b { return 301 /c; }").0;
    assert_eq!(answers.len(), 2, "what the gateway answers itself has no limits");
    assert!(why("limit_req").contains("rate = ") && why("location /a2/").contains("takes `/a2` as well"));
    let text =
        "stream { server { listen 5432; } } upstream u { server 10.0.0.1:1; server 10.0.0.2:1 backup; }
        server { gzip on; location /a { proxy_pass http://u; } location /b { return 444; } }";
    let imported = read(text);
    assert!(imported.toml.contains("instances = [\"10.0.0.1:1\"]"), "{}", imported.toml);
    assert!(imported.toml.contains("status = 403") && !imported.toml.contains("444"), "{}", imported.toml);
    let said =
        |directive: &str| imported.left.iter().filter(|left| left.directive.starts_with(directive)).count();
    assert_eq!((said("gzip"), said("server 10.0.0.2"), said("stream"), said("return 444")), (1, 1, 1, 1));
    assert!(imported.left.iter().any(|left| left.why.contains("[[tcp]]")));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z{};$'\"\\\\ \n/:=~#.0-9]{0,200}") {
        let _ = import(&text, "e");
        let _ = import(&format!("server {{ location /{text} {{ proxy_pass http://127.0.0.1:1; }} }}"), "e");
        let _ = import(&format!("server {{ {text} ; return 301 {text}; }}"), "e");
    }
}
