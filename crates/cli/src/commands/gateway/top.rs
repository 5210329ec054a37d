//! `lockstep gateway top`: what a gateway does at this moment, by version and route.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use lockstep_gateway::traffic::{Counted, EnvironmentTraffic, NameLook, TcpCounted, Traffic};
use serde::Serialize;

use super::admin::{self, AdminOption};
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::{Format, Output};
use crate::parse::duration;

/// Moves to the top of a terminal and takes everything below away.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows what a gateway does at this moment, by version and route.
///
/// Requests a second and failures (500 or more) between two looks, within which time half of them and 99 % of them were over, and how many
/// are under way. Times are the bounds of the histograms in /-/metrics, so `25 ms` is from more than 10 to 25 ms. With --json each look is one line.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway top
  lockstep gateway top --admin-address 9901 --every 5s
  lockstep gateway top --once --json")]
pub(super) struct TopArgs {
    #[command(flatten)]
    admin: AdminOption,
    /// How long it counts for each look.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "2s")]
    every: u64,
    /// One look, and no more.
    #[arg(long)]
    once: bool,
}

/// What was done between two looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Look {
    gateway: String,
    connections: usize,
    /// How long it was looked.
    ms: u64,
    environments: BTreeMap<String, EnvironmentLook>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct EnvironmentLook {
    revision: u64,
    versions: BTreeMap<String, Row>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tcp: BTreeMap<String, TcpRow>,
    routes: BTreeMap<String, Row>,
    own: Row,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, NameLook>,
}

/// Connections to a version that speaks TCP.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct TcpRow {
    /// Those that ended.
    connections_per_s: f64,
    failures: u64,
    bytes_up_per_s: u64,
    bytes_down_per_s: u64,
    under_way: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    requests_per_s: f64,
    failures: u64,
    /// Upper bounds in milliseconds; none where there were no requests, or beyond the last bound.
    p50_ms: Option<u64>,
    p99_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    under_way: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<String>,
    degraded: u64,
    /// Of 100 picks of an instance, those in the zone of the gateway, where there is a choice and there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    own_zone_percent: Option<f64>,
    /// Requests that met a fault on purpose; they are in nothing else here.
    faulted: u64,
    /// Whether the last bound was passed.
    #[serde(skip)]
    beyond: bool,
}

impl TopArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let (address, every) = (self.admin.address, Duration::from_millis(self.every.max(100)));
        let mut before: Traffic = admin::ask(address, "/-/traffic")?;
        loop {
            std::thread::sleep(every);
            let now: Traffic = admin::ask(address, "/-/traffic")?;
            show(&look(&before, &now), self.once, out)?;
            if self.once {
                return Ok(());
            }
            before = now;
        }
    }
}

fn show(look: &Look, once: bool, out: &Output) -> Result<(), Failure> {
    if once {
        return out.show(look, render);
    }
    if out.format == Format::Text && std::io::stdout().is_terminal() {
        // What cannot be cleared is written below what there was.
        let _ = std::io::stdout().write_all(CLEAR.as_bytes());
    }
    out.show_in_stream(look, render)
}

fn look(before: &Traffic, now: &Traffic) -> Look {
    let is_same = before.gateway == now.gateway && now.up_ms > before.up_ms;
    let ms = if is_same { now.up_ms - before.up_ms } else { now.up_ms.max(1) };
    let rows = |now: &EnvironmentTraffic, before: Option<&EnvironmentTraffic>, bounds: &[u64]| {
        let row = |counted: &Counted, before: Option<&Counted>| row(&counted.since(before), ms, bounds);
        let all = |now: &BTreeMap<String, Counted>, before: Option<&BTreeMap<String, Counted>>| {
            let one = |(name, it): (&String, &Counted)| {
                (name.clone(), row(it, before.and_then(|all| all.get(name))))
            };
            now.iter().map(one).collect()
        };
        EnvironmentLook {
            revision: now.revision,
            versions: all(&now.versions, before.map(|it| &it.versions)),
            tcp: now
                .tcp
                .iter()
                .map(|(name, it)| {
                    let before = before.and_then(|all| all.tcp.get(name));
                    (name.clone(), tcp_row(&it.since(before), ms))
                })
                .collect(),
            routes: all(&now.routes, before.map(|it| &it.routes)),
            own: row(&now.own, before.map(|it| &it.own)),
            names: now.names.clone(),
        }
    };
    let environments = now.environments.iter().map(|(name, it)| {
        let before = before.environments.get(name).filter(|_| is_same);
        (name.clone(), rows(it, before, &now.bounds_ms))
    });
    let environments = environments.collect();
    Look { gateway: now.gateway.clone(), connections: now.connections, ms, environments }
}

fn tcp_row(counted: &TcpCounted, ms: u64) -> TcpRow {
    let a_second = |bytes: u64| u64::try_from(u128::from(bytes) * 1_000 / u128::from(ms)).unwrap_or(u64::MAX);
    TcpRow {
        connections_per_s: (counted.connections as f64 * 10_000.0 / ms as f64).round() / 10.0,
        failures: counted.failures,
        bytes_up_per_s: a_second(counted.bytes_up),
        bytes_down_per_s: a_second(counted.bytes_down),
        under_way: counted.under_way,
    }
}

fn row(counted: &Counted, ms: u64, bounds: &[u64]) -> Row {
    let (p50, p99) = (counted.within_ms(50, bounds), counted.within_ms(99, bounds));
    Row {
        requests_per_s: (counted.requests as f64 * 10_000.0 / ms as f64).round() / 10.0,
        failures: counted.failures,
        p50_ms: p50.flatten(),
        p99_ms: p99.flatten(),
        under_way: counted.under_way,
        breaker: counted.breaker.clone(),
        degraded: counted.degraded,
        own_zone_percent: counted
            .zones
            .filter(|zones| zones.iter().sum::<u64>() > 0)
            .map(|[own, other]| (own as f64 * 1_000.0 / (own + other) as f64).round() / 10.0),
        faulted: counted.faulted,
        beyond: p99 == Some(None),
    }
}

fn render(look: &Look, style: &Style) -> String {
    let mut text =
        format!("gateway {}, {} connections of clients\n", printable(&look.gateway), look.connections);
    for (name, seen) in &look.environments {
        let _ = writeln!(text, "\n{} at table {}", style.strong(name), seen.revision);
        let mut table = Table::new(["VERSION", "REQUESTS/S", "FAILED", "P50", "P99", "UNDER WAY"]);
        seen.versions.iter().for_each(|(name, row)| table.row(cells(name, row)));
        table.row(cells("(the gateway itself)", &seen.own));
        text.push_str(&table.render(style));
        text.push_str(&left_alone(&seen.versions, style));
        text.push_str(&targets(seen, style));
        text.push_str(&faulted(seen));
        text.push_str(&over_tcp(&seen.tcp, style));
        let mut table = Table::new(["ROUTE", "REQUESTS/S", "FAILED", "P50", "P99"]);
        for (name, row) in &seen.routes {
            let name = if name.is_empty() { "(all others)" } else { name };
            let [route, rate, failed, p50, p99, _] = cells(name, row);
            table.row([route, rate, failed, p50, p99]);
        }
        let _ = write!(text, "\n{}", table.render(style));
    }
    text
}

/// Says how many requests met a fault on purpose.
fn faulted(seen: &EnvironmentLook) -> String {
    let count = seen.own.faulted + seen.versions.values().map(|row| row.faulted).sum::<u64>();
    match count {
        0 => String::new(),
        count => format!("{count} more requests met a fault on purpose\n"),
    }
}

fn over_tcp(rows: &BTreeMap<String, TcpRow>, style: &Style) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = ["TCP", "ENDED/S", "FAILED", "UP B/S", "DOWN B/S", "OPEN"];
    let mut table = Table::new(head);
    for (name, row) in rows {
        table.row([
            name.clone(),
            format!("{:.1}", row.connections_per_s),
            row.failures.to_string(),
            row.bytes_up_per_s.to_string(),
            row.bytes_down_per_s.to_string(),
            row.under_way.to_string(),
        ]);
    }
    format!("\n{}", table.render(style))
}

/// Says which versions get no requests because they fail, and which stood in for others.
fn left_alone(versions: &BTreeMap<String, Row>, style: &Style) -> String {
    let mut text = String::new();
    for (name, row) in versions {
        if let Some(breaker) = &row.breaker {
            let _ = writeln!(text, "{} the breaker of {name} is {breaker}", style.warn("fails:"));
        }
        if row.degraded > 0 {
            let _ =
                writeln!(text, "{name} answered {} requests in the place of another version", row.degraded);
        }
    }
    text
}

/// Says how much stays in the zone of the gateway, and which names cannot be looked up.
fn targets(seen: &EnvironmentLook, style: &Style) -> String {
    let mut text = String::new();
    for (name, row) in &seen.versions {
        if let Some(percent) = row.own_zone_percent {
            let _ = writeln!(text, "{name} was asked in the zone of the gateway for {percent} %");
        }
    }
    for (name, NameLook { addresses, trouble, for_s }) in &seen.names {
        let _ = match trouble {
            Some(why) => writeln!(
                text,
                "{} {name}, {addresses} addresses from before, for {for_s} s: {}",
                style.warn("stale:"),
                printable(why)
            ),
            None => writeln!(text, "{name} has {addresses} addresses"),
        };
    }
    text
}

fn cells(name: &str, row: &Row) -> [String; 6] {
    let time = |ms: Option<u64>| match ms {
        Some(ms) => format!("{ms} ms"),
        None if row.beyond => "longer".to_owned(),
        None => String::new(),
    };
    let under_way = row.under_way.map(|count| count.to_string()).unwrap_or_default();
    [
        name.to_owned(),
        format!("{:.1}", row.requests_per_s),
        row.failures.to_string(),
        time(row.p50_ms),
        time(row.p99_ms),
        under_way,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(gateway: &str, up_ms: u64, requests: u64) -> Traffic {
        let durations = vec![requests, 0, 0];
        let failures = requests / 10;
        let breaker = Some("open".to_owned());
        let counted = Counted {
            requests,
            failures,
            durations,
            under_way: Some(1),
            breaker,
            degraded: requests / 2,
            zones: Some([requests, requests / 3]),
            faulted: requests / 50,
        };
        let bytes = TcpCounted {
            connections: requests,
            failures,
            bytes_up: 20 * requests,
            bytes_down: 40 * requests,
            under_way: 2,
        };
        let environment = EnvironmentTraffic {
            revision: 1,
            salts: BTreeMap::new(),
            versions: BTreeMap::from([("a@1.0.0".to_owned(), counted.clone())]),
            tcp: BTreeMap::from([("db@1.0.0".to_owned(), bytes)]),
            routes: BTreeMap::from([("*/ (a)".to_owned(), counted.clone()), (String::new(), counted)]),
            own: Counted::default(),
            names: BTreeMap::from([(
                "db.internal:5".to_owned(),
                NameLook { addresses: 2, trouble: Some("SERVFAIL".to_owned()), for_s: 7 },
            )]),
        };
        let environments = BTreeMap::from([("production".to_owned(), environment)]);
        Traffic { gateway: gateway.to_owned(), up_ms, connections: 3, bounds_ms: vec![1, 5], environments }
    }

    #[test]
    fn a_look_is_the_difference_of_two_and_begins_anew_with_another_run() {
        let version = |look: &Look| look.environments["production"].versions["a@1.0.0"].clone();
        let seen = version(&look(&traffic("a", 1_000, 50), &traffic("a", 3_000, 150)));
        assert_eq!(
            (seen.requests_per_s, seen.failures, seen.p99_ms, seen.under_way),
            (50.0, 10, Some(1), Some(1))
        );
        let anew = version(&look(&traffic("a", 9_000, 50), &traffic("b", 1_000, 20)));
        assert_eq!((anew.requests_per_s, anew.failures), (20.0, 2));
        let nothing = version(&look(&traffic("a", 1_000, 50), &traffic("a", 3_000, 50)));
        assert_eq!((nothing.requests_per_s, nothing.p50_ms), (0.0, None));
        let text = render(&look(&traffic("a", 1_000, 50), &traffic("a", 3_000, 150)), &Style::new(false));
        assert!(text.contains("a@1.0.0") && text.contains("(all others)") && text.contains("50.0"), "{text}");
        assert!(text.contains("\n2 more requests met a fault on purpose\n"), "{text}");
        let tcp = text.lines().find(|line| line.starts_with("db@1.0.0")).unwrap();
        assert_eq!(
            tcp.split_whitespace().collect::<Vec<_>>(),
            ["db@1.0.0", "50.0", "10", "1000", "2000", "2"]
        );
        assert!(text.contains("the breaker of a@1.0.0 is open\na@1.0.0 answered 50 requests"), "{text}");
        assert!(text.contains("a@1.0.0 was asked in the zone of the gateway for 74.6 %"), "{text}");
        assert!(text.contains("db.internal:5, 2 addresses from before, for 7 s: SERVFAIL"), "{text}");
    }
}
