//! Requests and answers made by rule, sent through the gateway, nginx, HAProxy and Envoy to one raw backend.
//!
//! What must never be: a request that two programs read in two ways is sent on; a client gets a byte that is another's; the backend sees
//! more requests than the client sent. And what two of the peers refuse is not passed, what nginx and HAProxy both pass is, unless a
//! reason is written down for it in `explained.rs`.
//!
//! The whole corpus goes through the gateway in each run. Beside the peers goes every 20th case, and all of them with
//! `LOCKSTEP_PEERS_ALL=1`, as `cargo xtask conformance gateway` sets it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod backend;
mod case;
mod compare;
mod explained;
mod imported;
mod proxies;
mod random;
mod reader;
mod reply;
mod requests;
mod trial;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use case::Case;
use proxies::Proxy;
use trial::Outcome;

/// Cases that go through a proxy at the same time.
const LANES: usize = 8;
/// Of how many cases one goes beside the peers in the short form: no divisor of 256, so that it meets other bytes in each family.
const EACH: usize = 23;

fn corpus() -> Vec<Case> {
    [requests::all(), answers::all()].concat()
}

/// Sends all cases through a proxy; the outcomes are in their order.
fn run_all(proxy: &Proxy, cases: &[&Case]) -> Vec<Outcome> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for lane in &proxy.lanes {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = trial::run(case, lane);
                    let place = std::ptr::from_ref(case) as usize;
                    found.lock().unwrap().push((place, outcome));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Says which cases did what must never be.
fn dangers(cases: &[&Case], outcomes: &[Outcome]) -> Vec<String> {
    let told = |(case, outcome): (&&Case, &Outcome)| {
        Some(format!("{}: {}: {}", case.family, case.name, outcome.danger.as_ref()?))
    };
    cases.iter().zip(outcomes).filter_map(told).collect()
}

#[test]
fn nothing_that_is_read_in_two_ways_is_sent_on_and_nobody_gets_what_is_not_his() {
    let cases = corpus();
    let all: Vec<&Case> = cases.iter().collect();
    let ours = proxies::start_ours(LANES);
    let dangers = dangers(&all, &run_all(&ours, &all));
    assert!(dangers.is_empty(), "{} of {} cases:\n{}", dangers.len(), all.len(), dangers.join("\n"));
}

/// Where the random cases begin, and how many there are.
fn random() -> (u64, usize) {
    let of = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (of("LOCKSTEP_PEERS_SEED").unwrap_or(0), of("LOCKSTEP_PEERS_RANDOM").unwrap_or(1_000) as usize)
}

#[test]
fn what_no_rule_thought_of_is_read_in_one_way_too() {
    let (seed, count) = random();
    let cases = random::cases(seed, count);
    let all: Vec<&Case> = cases.iter().collect();
    let ours = proxies::start_ours(LANES);
    let dangers = dangers(&all, &run_all(&ours, &all));
    assert!(dangers.is_empty(), "{} of {} cases:\n{}", dangers.len(), all.len(), dangers.join("\n"));
}

#[test]
fn what_peers_refuse_is_refused_and_what_they_pass_passes() {
    let cases = corpus();
    let whole = std::env::var_os("LOCKSTEP_PEERS_ALL").is_some();
    let chosen: Vec<&Case> =
        if whole { cases.iter().collect() } else { cases.iter().step_by(EACH).collect() };
    let mut proxies = vec![proxies::start_ours(LANES)];
    proxies.extend(proxies::start_peers(LANES));
    let report = compare::compare(&proxies, &chosen);
    println!("{}", report.text());
    assert!(
        report.unexplained.is_empty(),
        "differences without a reason:\n{}",
        report.unexplained.join("\n")
    );
}
