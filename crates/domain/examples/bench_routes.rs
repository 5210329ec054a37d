//! How long it takes to compile a table of routes, and to find one in it.

use std::hint::black_box;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockstep_domain::routes::conditions::RequestView;
use lockstep_domain::routes::index::RouteIndex;
use lockstep_domain::routes::{Route, RouteTable};

/// How often each figure is measured; the median counts.
const ROUNDS: usize = 9;
/// Requests of a round.
const REQUESTS: usize = 100_000;

/// What is aimed at with 10,000 routes.
const AIM_COMPILED: Duration = Duration::from_millis(50);
const AIM_FOUND: Duration = Duration::from_micros(1);
/// Ten times as many routes take ten times as long, and what they no longer find in caches.
const MOST_GROWN: f64 = 30.0;
/// Reading the text of a route and compiling it are about the same work, whatever the machine.
const MOST_BESIDE: f64 = 3.0;
/// A request is found by its host and path, whatever else there is; caches are what is left.
const MOST_SLOWER: f64 = 6.0;

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

/// What was measured of a table.
#[derive(Debug, Clone, Copy)]
struct Figures {
    compiled: Duration,
    found: Duration,
    /// How long it takes to read the routes from their text: what the machine is measured by.
    read: Duration,
}

fn measure(count: usize) -> Figures {
    let table = table(count);
    let timed = |work: &dyn Fn()| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    let compiled = median(|| timed(&|| drop(black_box(RouteIndex::new(&table.routes)))));
    let text = serde_json::to_string(&table.routes).expect("routes have a text");
    let read = median(|| {
        timed(&|| drop(black_box(serde_json::from_str::<Vec<Route>>(&text).expect("it is their text"))))
    });
    let index = RouteIndex::new(&table.routes);
    Figures { compiled, found: median(|| find(&table, &index)), read }
}

/// Says what does not hold of what is promised. Times are those of this machine; so what ends the run is how they grow, and how they stand to others.
fn broken(small: Figures, large: Figures) -> Vec<String> {
    let times = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let grown = times(large.compiled, small.compiled);
    let beside = times(large.compiled, large.read);
    let slower = times(large.found, small.found);
    let mut all = Vec::new();
    if grown > MOST_GROWN {
        all.push(format!(
            "ten times as many routes take {grown:.1} times as long to compile, {MOST_GROWN} at most"
        ));
    }
    if beside > MOST_BESIDE {
        all.push(format!(
            "compiling takes {beside:.1} times as long as reading their text, {MOST_BESIDE} at most"
        ));
    }
    if slower > MOST_SLOWER {
        all.push(format!(
            "a request is found {slower:.1} times as slowly among ten times as many, {MOST_SLOWER} at most"
        ));
    }
    all
}

fn main() -> ExitCode {
    println!("| routes | compiled in | found in |\n| --- | --- | --- |");
    let mut all = Vec::new();
    for count in [1, 8, 100, 1_000, 10_000] {
        let figures = measure(count);
        let (compiled, found) = (figures.compiled.as_secs_f64() * 1e3, figures.found.as_nanos());
        println!("| {count} | {compiled:.2} ms | {found} ns |");
        all.push(figures);
    }
    let [.., small, large] = all.as_slice() else { return ExitCode::FAILURE };
    let holds = |holds: bool| if holds { "holds" } else { "does not hold on this machine" };
    println!("aim: 10,000 routes are compiled in less than 50 ms: {}", holds(large.compiled < AIM_COMPILED));
    println!("aim: a request is found among them in less than 1 us: {}", holds(large.found < AIM_FOUND));
    let broken = broken(*small, *large);
    broken.iter().for_each(|what| eprintln!("broken: {what}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
