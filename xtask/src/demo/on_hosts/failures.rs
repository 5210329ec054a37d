//! Looking up each request that failed: was it, or a call on its way, at a host that is dead?
//!
//! The gateway in the server and those on hosts write down whom they asked last, and when. A request that an instance elsewhere failed is explained
//! by a call that went from some host to the dead one and failed in the time of that request; each such call explains one.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// How far the clocks of two gateways' entries may be apart: they are written to the millisecond.
const SLACK_MS: f64 = 5.0;

/// A request that ended badly.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    what: String,
    instance: Option<SocketAddr>,
    began_ms: f64,
    ended_ms: f64,
}

/// What came of looking.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Judged {
    /// Those that were at the dead host.
    pub(super) there: usize,
    /// Those that an instance elsewhere failed, because it had asked there.
    pub(super) on_the_way: usize,
    /// All others, in words.
    pub(super) unexplained: Vec<String>,
}

impl Judged {
    /// How many there are.
    pub(super) fn all(&self) -> usize {
        self.there + self.on_the_way + self.unexplained.len()
    }
}

/// Says why each request failed. Who ended first gets the earliest call of its time, so that as many as possible have one.
pub(super) fn judge(mut failed: Vec<Failure>, calls: Vec<Failure>, dead: Ipv4Addr) -> Judged {
    let was_there = |failure: &Failure| failure.instance.is_some_and(|it| it.ip() == IpAddr::V4(dead));
    let mut calls: Vec<Failure> = calls.into_iter().filter(was_there).collect();
    calls.sort_by(|one, other| one.began_ms.total_cmp(&other.began_ms));
    failed.sort_by(|one, other| one.ended_ms.total_cmp(&other.ended_ms));
    let mut judged = Judged::default();
    for failure in failed {
        if was_there(&failure) {
            judged.there += 1;
        } else if let Some(place) = calls.iter().position(|call| failure.contains(call)) {
            calls.remove(place);
            judged.on_the_way += 1;
        } else {
            judged.unexplained.push(failure.what);
        }
    }
    judged
}

impl Failure {
    fn contains(&self, call: &Self) -> bool {
        self.began_ms - SLACK_MS <= call.began_ms && call.began_ms <= self.ended_ms + SLACK_MS
    }
}

/// Where instances are, by their names.
pub(super) type Addresses = BTreeMap<String, SocketAddr>;

/// Reads what failed of all requests in an access log.
pub(super) fn of_access_log(path: &Path, addresses: &Addresses) -> Result<Vec<Failure>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The last line may be being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| failure_of_line(line, addresses).transpose()).collect()
}

fn failure_of_line(line: &str, addresses: &Addresses) -> Result<Option<Failure>> {
    let entry: Value = serde_json::from_str(line).with_context(|| format!("`{line}` is not JSON"))?;
    if is_good(&entry) {
        return Ok(None);
    }
    let ended_ms = milliseconds(&entry["time"]).with_context(|| format!("`{line}` has no time"))?;
    let began_ms = ended_ms - entry["ms"].as_f64().unwrap_or_default();
    let instance = entry["instance"].as_str().and_then(|name| addresses.get(name).copied());
    Ok(Some(Failure { what: line.to_owned(), instance, began_ms, ended_ms }))
}

fn is_good(entry: &Value) -> bool {
    entry["status"].as_u64().is_some_and(|status| (200..400).contains(&status)) && entry["end"] == "whole"
}

/// Reads what failed, as `lockstep gateway recent --failed --json` says it.
pub(super) fn of_gateway(written: &str) -> Result<Vec<Failure>> {
    let list: Value = serde_json::from_str(written).context("what a gateway had last is not JSON")?;
    let requests = list["requests"].as_array().context("a gateway named no requests")?;
    requests.iter().filter(|request| !request["ended"].is_null()).map(failure_of_recent).collect()
}

fn failure_of_recent(request: &Value) -> Result<Failure> {
    let ended = &request["ended"];
    let began_ms = milliseconds(&request["time"]).with_context(|| format!("{request} has no time"))?;
    let ended_ms = began_ms + ended["ms"].as_f64().unwrap_or_default();
    let instance = ended["instance"].as_str().and_then(|address| address.parse().ok());
    Ok(Failure { what: request.to_string(), instance, began_ms, ended_ms })
}

/// Reads a time in UTC, such as `2026-11-30T22:09:10.123Z`, as milliseconds from some day on.
fn milliseconds(time: &Value) -> Option<f64> {
    let (date, clock) = time.as_str()?.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hours, minutes, seconds] = numbers(clock, ':')?;
    // Months count from March, so that the day that some years have comes last.
    let (year, month) = if month < 3.0 { (year - 1.0, month + 9.0) } else { (year, month - 3.0) };
    let leap_days = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    let days = year * 365.0 + leap_days + ((month * 153.0 + 2.0) / 5.0).floor() + day;
    Some((((days * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds) * 1000.0)
}

fn numbers(text: &str, between: char) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = text.split(between).map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEAD: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 13);

    fn failure(instance: &str, began_ms: f64, ended_ms: f64) -> Failure {
        Failure { what: instance.to_owned(), instance: instance.parse().ok(), began_ms, ended_ms }
    }

    #[test]
    fn a_failure_is_explained_by_the_dead_host_or_by_one_call_to_it_at_that_time() {
        let failed = vec![
            failure("10.213.0.13:20000", 0.0, 10.0),
            failure("10.213.0.11:20000", 100.0, 200.0),
            failure("10.213.0.12:20000", 110.0, 210.0),
            failure("10.213.0.12:20000", 900.0, 950.0),
            failure("none", 100.0, 200.0),
        ];
        let calls = vec![
            failure("10.213.0.13:20001", 120.0, 150.0),
            failure("10.213.0.12:20001", 905.0, 940.0),
            failure("10.213.0.13:20001", 500.0, 510.0),
        ];
        let judged = judge(failed, calls, DEAD);
        assert_eq!((judged.there, judged.on_the_way), (1, 1));
        assert_eq!(judged.unexplained, ["none", "10.213.0.12:20000", "10.213.0.12:20000"]);
        assert_eq!(judged.all(), 5);
    }

    #[test]
    fn each_failure_gets_a_call_where_that_is_possible() {
        let failed = vec![failure("10.213.0.11:1", 0.0, 5_000.0), failure("10.213.0.12:1", 1_000.0, 6_000.0)];
        let calls =
            vec![failure("10.213.0.13:1", 1_100.0, 6_000.0), failure("10.213.0.13:1", 100.0, 5_000.0)];
        assert_eq!(judge(failed.clone(), calls.clone(), DEAD).on_the_way, 2);
        let reversed = judge(failed.into_iter().rev().collect(), calls.into_iter().rev().collect(), DEAD);
        assert_eq!(reversed.on_the_way, 2);
    }

    #[test]
    fn what_is_whole_and_good_is_no_failure() {
        let addresses = Addresses::from([("a-1".to_owned(), "10.213.0.13:20000".parse().unwrap())]);
        let line = |status: u16, end: &str| {
            let entry = json!({
                "time": "2026-11-30T22:09:10.500Z", "status": status, "end": end, "ms": 500.0, "instance": "a-1",
            });
            failure_of_line(&entry.to_string(), &addresses).unwrap()
        };
        assert_eq!(line(200, "whole"), None);
        for (status, end) in [(502, "whole"), (0, "client_left"), (200, "broken_off"), (404, "whole")] {
            let found = line(status, end).unwrap();
            assert_eq!(found.ended_ms - found.began_ms, 500.0);
            assert_eq!(judge(vec![found], Vec::new(), DEAD).there, 1);
        }
        assert!(failure_of_line("{", &addresses).is_err());
    }

    #[test]
    fn times_follow_each_other_over_the_ends_of_months_and_years() {
        let at = |text: &str| milliseconds(&json!(text)).unwrap();
        for (before, after) in [
            ("2026-11-30T23:59:59.5Z", "2026-12-01T00:00:00.5Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
            ("2027-02-28T23:59:59Z", "2027-03-01T00:00:00Z"),
        ] {
            assert_eq!(at(after) - at(before), 1000.0, "{before}");
        }
        assert_eq!(milliseconds(&json!("yesterday")), None);
    }
}
