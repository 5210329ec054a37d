//! Configurations of Envoy beside the tables that are made of them: the same request goes to the same cluster, as the same one, or gets the same answer.
//!
//! A service that is asked says its cluster, and what it saw. What is known to differ is not asked for here, and is named by the import.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use lockstep_gateway::{Gateway, GatewayConfig};
use lockstep_manifest::envoy::import;
use lockstep_manifest::table::parse_table;

use crate::proxies::start_envoy;

/// Routes of a virtual host, and the requests that are asked: method, host, path, fields.
struct Corpus {
    name: &'static str,
    hosts: &'static str,
    asks: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

const CORPORA: [Corpus; 5] = [
    Corpus {
        name: "order",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/", headers: [{ name: x-lane, string_match: { exact: b } }] }, route: { cluster: b } }
  - { match: { path_separated_prefix: /api, headers: [{ name: ":method", string_match: { exact: POST } }] }, route: { cluster: c } }
  - { match: { path: /api/health }, direct_response: { status: 200, body: { inline_string: fine } } }
  - { match: { prefix: /api/ }, route: { cluster: a } }
  - { match: { path: /api/never }, route: { cluster: c } }
  - { match: { prefix: "/", query_parameters: [{ name: v, string_match: { exact: "2" } }] }, route: { cluster: c } }
  - { match: { prefix: "/" }, route: { cluster: a } }
"#,
        asks: &[
            ("GET", "x.test", "/", ""),
            ("GET", "x.test", "/?v=2", ""),
            ("GET", "x.test", "/?v=3", ""),
            ("GET", "x.test", "/api", ""),
            ("POST", "x.test", "/api", ""),
            ("GET", "x.test", "/api/", ""),
            ("GET", "x.test", "/api/?v=2", ""),
            ("GET", "x.test", "/api/health", ""),
            ("GET", "x.test", "/api/health", "x-lane: b"),
            ("POST", "x.test", "/api/health", ""),
            ("POST", "x.test", "/api/health", "x-lane: b"),
            ("GET", "x.test", "/api/never", ""),
            ("GET", "x.test", "/api/7?v=2", "x-lane: b"),
            ("GET", "x.test", "/other", "x-lane: b"),
            ("GET", "x.test", "/other?v=2", ""),
        ],
    },
    Corpus {
        name: "hosts",
        hosts: r#"
- name: shop
  domains: [shop.test, "*.shop.test"]
  routes:
  - { match: { prefix: /api/ }, route: { cluster: b } }
- name: old
  domains: ["old.shop.test"]
  routes:
  - { match: { path: / }, redirect: { host_redirect: shop.test, path_redirect: /new, response_code: PERMANENT_REDIRECT } }
  - { match: { prefix: /p/ }, redirect: { https_redirect: true, prefix_rewrite: /q/ } }
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/" }, route: { cluster: a } }
"#,
        asks: &[
            ("GET", "shop.test", "/api/7", ""),
            ("GET", "shop.test", "/", ""),
            ("GET", "www.shop.test", "/api/7", ""),
            ("GET", "a.b.shop.test", "/api/7", ""),
            ("GET", "www.shop.test", "/x", ""),
            ("GET", "old.shop.test", "/", ""),
            ("GET", "old.shop.test", "/p/7?x=1", ""),
            ("GET", "old.shop.test", "/api/7", ""),
            ("GET", "other.test", "/api/7", ""),
            ("GET", "notshop.test", "/api/7", ""),
        ],
    },
    Corpus {
        name: "conditions",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/", headers: [{ name: x-v, string_match: { safe_regex: { regex: "v[0-9]+" } } }] }, route: { cluster: b } }
  - { match: { prefix: "/", headers: [{ name: x-p, string_match: { prefix: "a." } }] }, route: { cluster: c } }
  - { match: { prefix: "/", headers: [{ name: x-s, string_match: { suffix: "z" } }, { name: x-t, present_match: true }] }, route: { cluster: b } }
  - { match: { prefix: "/", query_parameters: [{ name: debug, present_match: true }] }, route: { cluster: c } }
  - { match: { prefix: "/", headers: [{ name: ":method", string_match: { safe_regex: { regex: "PUT|DELETE" } } }] }, direct_response: { status: 405 } }
  - { match: { prefix: "/" }, route: { cluster: a } }
"#,
        asks: &[
            ("GET", "x.test", "/", "x-v: v12"),
            ("GET", "x.test", "/", "x-v: v12x"),
            ("GET", "x.test", "/", "x-v: xv1"),
            ("GET", "x.test", "/", "x-p: a.b"),
            ("GET", "x.test", "/", "x-p: axb"),
            ("GET", "x.test", "/", "x-s: yz"),
            ("GET", "x.test", "/", "x-s: yz\r\nx-t: 1"),
            ("GET", "x.test", "/", "x-s: zy\r\nx-t: 1"),
            ("GET", "x.test", "/?debug", ""),
            ("GET", "x.test", "/?debug=1", ""),
            ("GET", "x.test", "/?debugger=1", ""),
            ("PUT", "x.test", "/", ""),
            ("DELETE", "x.test", "/?debug=1", ""),
            ("POST", "x.test", "/", ""),
            ("PUT", "x.test", "/", "x-v: v1\r\nx-p: a.b"),
        ],
    },
    Corpus {
        name: "rewrites",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: /v1/ }, route: { cluster: a, prefix_rewrite: /v2/ } }
  - { match: { prefix: /strip/ }, route: { cluster: b, prefix_rewrite: / } }
  - { match: { path_separated_prefix: /seg }, route: { cluster: c, prefix_rewrite: /other } }
  - { match: { path: /one }, route: { cluster: a, prefix_rewrite: /two, host_rewrite_literal: inner.test } }
  - { match: { safe_regex: { regex: "/orders/[^/]+/items" } }, route: { cluster: b } }
  - { match: { safe_regex: { regex: "/files/.*" } }, route: { cluster: c } }
  - match: { prefix: /fields/ }
    route: { cluster: a }
    request_headers_to_add: [{ header: { key: x-set, value: one }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }]
    request_headers_to_remove: [x-gone]
    response_headers_to_add: [{ header: { key: x-said, value: two } }]
"#,
        asks: &[
            ("GET", "x.test", "/v1/", ""),
            ("GET", "x.test", "/v1/a/b?q=1", ""),
            ("GET", "x.test", "/v1", ""),
            ("GET", "x.test", "/strip/a/b", ""),
            ("GET", "x.test", "/strip/", ""),
            ("GET", "x.test", "/seg", ""),
            ("GET", "x.test", "/seg/a", ""),
            ("GET", "x.test", "/segment", ""),
            ("GET", "x.test", "/one", ""),
            ("GET", "x.test", "/one/more", ""),
            ("GET", "x.test", "/orders/7/items", ""),
            ("GET", "x.test", "/orders/7/8/items", ""),
            ("GET", "x.test", "/orders//items", ""),
            ("GET", "x.test", "/files/", ""),
            ("GET", "x.test", "/files/a/b", ""),
            ("GET", "x.test", "/files", ""),
            ("GET", "x.test", "/fields/", "x-set: before\r\nx-gone: 1"),
        ],
    },
    Corpus {
        name: "shares",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: /all/ }, route: { weighted_clusters: { clusters: [{ name: a, weight: 0 }, { name: b, weight: 7 }] } } }
  - { match: { prefix: /gone/ }, route: { cluster: dead } }
"#,
        asks: &[
            ("GET", "x.test", "/all/1", ""),
            ("GET", "x.test", "/all/2", ""),
            ("GET", "x.test", "/none", ""),
        ],
    },
];

/// A service that says its name and what it saw of a request.
fn service(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(name, stream));
        }
    });
    address
}

fn serve(name: &str, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut seen = vec![format!("cluster {name}")];
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            let is_shown = ["host:", "x-set:", "x-gone:"].iter().any(|it| line.starts_with(it));
            if seen.len() == 1 || is_shown {
                seen.push(line);
            } else if line.is_empty() {
                break;
            }
        }
        let body = seen.join("\n");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// What a client gets, as far as it has to be the same.
fn ask(address: SocketAddr, (method, host, path, fields): (&str, &str, &str, &str)) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}content-length: 0\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    let shown = head
        .lines()
        .filter(|line| ["location:", "x-said:"].iter().any(|it| line.to_ascii_lowercase().starts_with(it)));
    let shown: Vec<String> = shown.map(str::to_ascii_lowercase).collect();
    // The words of an error are each program's own.
    let body = if status == "200" { body.trim_end() } else { "" };
    format!("{status} {} {body}", shown.join(" "))
}

fn configuration(hosts: &str, port: u16, services: &[(&str, SocketAddr)]) -> String {
    let hosts: String = hosts.lines().map(|line| format!("            {line}\n")).collect();
    let cluster = |(name, address): &(&str, SocketAddr)| {
        format!(
            "  - name: {name}\n    type: STATIC\n    connect_timeout: 1s\n    load_assignment:\n      cluster_name: {name}\n      endpoints:\n      - lb_endpoints:\n        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}\n",
            address.ip(),
            address.port()
        )
    };
    let clusters: String = services.iter().map(cluster).collect();
    format!(
        "static_resources:\n  listeners:\n  - name: main\n    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}\n    filter_chains:\n    - filters:\n      - name: envoy.filters.network.http_connection_manager\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: in\n          route_config:\n            virtual_hosts:{hosts}          http_filters:\n          - name: envoy.filters.http.router\n            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}\n  clusters:\n{clusters}"
    )
}

#[test]
fn a_table_that_was_imported_does_what_envoy_does() {
    let services = [("a", service("a")), ("b", service("b")), ("c", service("c")), ("dead", service("dead"))];
    let (mut differences, mut asked) = (Vec::new(), 0);
    for Corpus { name, hosts, asks } in CORPORA {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = configuration(hosts, port, &services);
        let imported = import(&text, "production", None).unwrap();
        let refused: Vec<_> =
            imported.left.iter().filter(|it| it.why.contains("is not taken over")).collect();
        assert!(refused.is_empty(), "{name}: {refused:#?}");
        let table =
            parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
        let Some(_envoy) = start_envoy(&text, port) else { return };
        let config = GatewayConfig { workers: NonZeroUsize::MIN, ..GatewayConfig::new("imported") };
        let gateway = Gateway::start(config).unwrap();
        let ours = gateway.listen(&table.environment, "127.0.0.1:0".parse().unwrap()).unwrap();
        gateway.apply(table).unwrap();
        for one in asks {
            let (theirs, ours) = (ask(SocketAddr::from(([127, 0, 0, 1], port)), *one), ask(ours, *one));
            asked += 1;
            if theirs != ours {
                differences.push(format!("{name}: {one:?}\n  envoy: {theirs:?}\n  ours:  {ours:?}"));
            }
        }
    }
    println!("{asked} requests went where Envoy sends them");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
