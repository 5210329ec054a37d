//! How long it takes to compile a table of routes, and to find one in it.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lockstep_domain::routes::conditions::RequestView;
use lockstep_domain::routes::index::RouteIndex;
use lockstep_domain::routes::{Route, RouteTable};

/// How often each figure is measured; the median counts.
const ROUNDS: usize = 9;
/// Requests of a round.
const REQUESTS: usize = 100_000;

struct Request;

impl RequestView for Request {
    fn method(&self) -> &str {
        "GET"
    }

    fn query(&self) -> &str {
        ""
    }

    fn any_header(&self, name: &str, is_wanted: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "x-lane" && is_wanted(b"login")
    }

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn client(&self) -> Option<IpAddr> {
        None
    }
}

/// Routes of services as they are: a host for ten of them, prefixes, templates, exact paths, and some with a field.
fn table(count: usize) -> RouteTable {
    let route = |n: usize| -> Route {
        let host = format!("h{}.shop.test", n / 10);
        let (path, kind) = match n % 4 {
            0 => (format!("/api/v{}", n % 10), "prefix"),
            1 => (format!("/orders/{{id}}/{}", n % 10), "template"),
            2 => (format!("/page/{}", n % 10), "exact"),
            _ => (format!("/files/{}/{{rest...}}", n % 10), "template"),
        };
        let wanted = serde_json::json!([{ "name": "x-lane", "value": { "exact": "login" } }]);
        let when = if n.is_multiple_of(3) {
            serde_json::json!({ "headers": wanted })
        } else {
            serde_json::json!({})
        };
        let rule = serde_json::json!({ "host": host, "path": path, "path_type": kind, "when": when, "service": "shop" });
        serde_json::from_value(rule).expect("a route")
    };
    let empty = r#"{"format":8,"environment":"bench","revision":1,"baseline":0,"routes":[],"services":{}}"#;
    let table: RouteTable = serde_json::from_str(empty).expect("a table");
    RouteTable { routes: (0..count).map(route).collect(), ..table }.prepared()
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<_> = (0..ROUNDS).map(|_| measure()).collect();
    all.sort();
    all[ROUNDS / 2]
}

fn find(table: &RouteTable, index: &RouteIndex) -> Duration {
    let count = table.routes.len();
    let requests: Vec<(String, String)> = (0..1_000)
        .map(|n| (format!("h{}.shop.test", n * 7 % count.div_ceil(10)), format!("/orders/{n}/{}", n % 10)))
        .collect();
    let began = Instant::now();
    for (host, path) in requests.iter().cycle().take(REQUESTS) {
        black_box(index.find(&table.routes, Some(host), path, &Request));
    }
    began.elapsed() / u32::try_from(REQUESTS).expect("it fits")
}

fn main() {
    println!("| routes | compiled in | found in |\n| --- | --- | --- |");
    for count in [1, 8, 100, 1_000, 10_000] {
        let table = table(count);
        let compiled = median(|| {
            let began = Instant::now();
            black_box(RouteIndex::new(&table.routes));
            began.elapsed()
        });
        let index = RouteIndex::new(&table.routes);
        let found = median(|| find(&table, &index));
        println!("| {count} | {:.2} ms | {} ns |", compiled.as_secs_f64() * 1e3, found.as_nanos());
    }
}
