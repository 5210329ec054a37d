//! Paths and hosts: what is matched is what arrives, however it is written.

use std::net::SocketAddr;

use lockstep_domain::routes::{PrefixHandling, Route, RouteRule, RouteTable, ServiceRoutes};
use lockstep_gateway::Applied;

use crate::support::{Client, Instance, Running, answer, stable, table};

/// Answers with its name, the target and the host it was asked for.
fn echo(name: &'static str) -> Instance {
    Instance::start(move |request, stream| {
        let host = request.header("host").unwrap_or_default();
        answer(stream, 200, format!("{name} {} {host}", request.target()).as_bytes())
    })
}

/// A gateway with three services: `/orders` taken off on every host, `shop.test`, and all below it.
struct Shop {
    running: Running,
    _instances: [Instance; 3],
}

impl Shop {
    fn open() -> Self {
        let instances = [echo("orders"), echo("exact"), echo("below")];
        let running = Running::start(&[]);
        let splits = |address: SocketAddr| {
            let table = table(2, &[stable(0, &[("one", address)])]);
            ServiceRoutes {
                salt: String::new(),
                splits: table.services.into_values().next().unwrap().splits,
                watch: None,
                version_rules: Vec::new(),
                fallback: None,
                mirror: None,
                growth: None,
                passages: Vec::new(),
            }
        };
        let services = ["orders", "exact", "below"].map(|name| name.parse().unwrap());
        let services = services.into_iter().zip(instances.iter().map(|it| splits(it.address))).collect();
        let route = |host: Option<&str>, path: &str, prefix, service: &str| Route {
            rule: RouteRule {
                host: host.map(str::to_owned),
                path: path.into(),
                prefix,
                ..RouteRule::default()
            },
            service: service.parse().unwrap(),
        };
        let routes = vec![
            route(None, "/orders", PrefixHandling::Strip, "orders"),
            route(Some("*.shop.test"), "/", PrefixHandling::Keep, "below"),
            route(Some("shop.test"), "/", PrefixHandling::Keep, "exact"),
        ];
        let table = RouteTable { routes, services, ..table(2, &[]) };
        assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
        Self { running, _instances: instances }
    }

    fn client(&self) -> Client {
        self.running.client()
    }

    fn ask(&self, path: &str, host: &str) -> (u16, String) {
        let mut client = self.client();
        let answer = client.ask(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).unwrap();
        (answer.status(), answer.text())
    }
}

#[test]
fn what_is_matched_is_what_arrives() {
    let shop = Shop::open();
    let table = [
        ("/orders/7?a=%2e%2e//b", "orders /7?a=%2e%2e//b any"),
        ("/%6frders/7", "orders /7 any"),
        ("//orders//7/", "orders /7/ any"),
        ("/x/../orders/./7", "orders /7 any"),
        ("/orders", "orders / any"),
        ("/orders/group%2fproject", "orders /group%2Fproject any"),
        ("/orders//evil.test", "orders /evil.test any"),
    ];
    for (path, expected) in table {
        assert_eq!(shop.ask(path, "any"), (200, expected.to_owned()), "{path}");
    }
}

#[test]
fn a_path_that_leaves_its_route_is_of_the_route_where_it_arrives() {
    let shop = Shop::open();
    for path in ["/orders/../secret", "/orders/%2e%2e/secret", "/orders/.%2E/secret"] {
        assert_eq!(shop.ask(path, "any").0, 404, "{path} reached the service it left");
        assert_eq!(shop.ask(path, "shop.test"), (200, "exact /secret shop.test".to_owned()), "{path}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_reaches_nobody() {
    let shop = Shop::open();
    let paths = [
        "/..",
        "/orders/../../x",
        "/orders/..%2fsecret",
        "/orders/..%5csecret",
        "/orders/..;/secret",
        "/orders/%2f%2fevil.test",
        "/orders/%5cevil.test",
        "/orders/a%00",
        "/orders/%zz",
        "/orders/a#b",
        "/orders?a#b",
    ];
    for path in paths {
        let (status, text) = shop.ask(path, "shop.test");
        assert_eq!(status, 400, "{path}: {text}");
    }
}

#[test]
fn hosts_are_one_however_they_are_written() {
    let shop = Shop::open();
    let table = [
        ("shop.test", "exact / shop.test"),
        ("SHOP.Test.:8080", "exact / shop.test:8080"),
        ("a.shop.test", "below / a.shop.test"),
        ("A.b.shop.test.", "below / a.b.shop.test"),
    ];
    for (host, expected) in table {
        assert_eq!(shop.ask("/", host), (200, expected.to_owned()), "{host}");
    }
    assert_eq!(shop.ask("/", "myshop.test").0, 404);
    for bad in ["shop..test", "shop.test:99999", "shop%2etest", "[::1"] {
        assert_eq!(shop.ask("/", bad).0, 400, "{bad}");
    }
}
