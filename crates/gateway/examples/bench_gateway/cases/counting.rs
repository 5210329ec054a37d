//! What a gateway takes to count its requests, beside what it takes to serve them.
//!
//! Both are CPU time, measured in turn: of a request through a gateway, all that its process uses; of counting, the functions that count a request, a
//! million times, over the counters of as many versions as a large gateway has, so that they are not all in the nearest cache.

use std::fs;
use std::hint::black_box;

use lockstep_domain::{Arm, ConfigRevision, VersionNumber};
use lockstep_gateway::cost::Counters;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::load::{self, Backend, CONNECTIONS};
use crate::measure::{Amount, median};
use crate::peers::{Setup, gateway};
use crate::proxies::Proxy;

const SERVICES: usize = 100;
const VERSIONS: usize = 3;
const COUNTED: usize = 1_000_000;
/// Requests that are counted as having begun at one moment: as long as an answer takes, not as long as the benchmark does.
const AT_ONCE: usize = 1_000;
/// A step through the counters that comes to all of them and never to the next.
const STEP: usize = 127;
const AIM_PERCENT: f64 = 3.0;

/// What one round measured, in microseconds for a request.
struct Round {
    request: f64,
    counts: f64,
    operation: f64,
    call: f64,
}

pub(super) fn measure(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let proxy = gateway(&Setup::http1(Backend::pair(runtime, 100)?))?;
    runtime.block_on(load::run(proxy.address, amount.requests / 10))?;
    let mut counters = Counters::of(arms()?);
    let rounds = (0..amount.rounds).map(|_| round(runtime, &proxy, &mut counters, amount.requests));
    let rounds = rounds.collect::<Outcome<Vec<_>>>()?;
    let expected = (COUNTED * amount.rounds) as u64;
    if counters.counted() != [expected; 3] {
        return Err(format!("{:?} were counted instead of {expected}", counters.counted()).into());
    }
    show(amount, &rounds);
    Ok(())
}

fn arms() -> Outcome<Vec<Arm>> {
    let arm = |number: usize| -> Outcome<Arm> {
        let service = format!("service-{}", number / VERSIONS).parse()?;
        let version = VersionNumber::new(1, (number % VERSIONS) as u64, 0);
        Ok(Arm { service, version, config: ConfigRevision(0), process: None })
    };
    (0..SERVICES * VERSIONS).map(arm).collect()
}

fn round(runtime: &Runtime, proxy: &Proxy, counters: &mut Counters, requests: usize) -> Outcome<Round> {
    let before = proxy.cpu_micros()?;
    let served = runtime.block_on(load::run(proxy.address, requests))?.len();
    let request = (proxy.cpu_micros()? - before) / served as f64;
    let paths: Vec<String> = (0..CONNECTIONS).map(|client| format!("/orders/{client}")).collect();
    Ok(Round {
        request,
        counts: each(counters, |counters, place, _| counters.count(place))?,
        operation: each(counters, |counters, place, number| {
            counters.count_operation(place, black_box(&paths[number % CONNECTIONS]));
        })?,
        call: each(counters, |counters, place, _| {
            counters.count_call(place / VERSIONS * VERSIONS, place);
        })?,
    })
}

/// Counts again and again, and returns the CPU time for each time in microseconds.
fn each(counters: &mut Counters, count: impl Fn(&Counters, usize, usize)) -> Outcome<f64> {
    let (before, mut place) = (cpu_nanos()?, 0);
    for number in 0..COUNTED {
        if number % AT_ONCE == 0 {
            counters.begin();
        }
        place = (place + STEP) % (SERVICES * VERSIONS);
        count(black_box(counters), place, number);
    }
    Ok((cpu_nanos()? - before) / 1e3 / COUNTED as f64)
}

/// CPU time of this thread.
fn cpu_nanos() -> Outcome<f64> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(schedstat.split(' ').next().unwrap_or_default().parse()?)
}

fn show(Amount { rounds, requests }: Amount, all: &[Round]) {
    let request = median(all, |it| it.request);
    let percent = |of: fn(&Round) -> f64| median(all, |it| of(it) / (it.request - of(it)) * 100.0);
    println!(
        "CPU time of a request through a gateway (HTTP/1.1, 100 bytes, {requests} a round, median of {rounds} rounds): {request:.2} us\n\
         counting one, as the gateway does, in counters of {SERVICES} services of {VERSIONS} versions ({COUNTED} a round), of a request without it:"
    );
    println!("{:<58} {:>8} {:>9} {:>6}", "", "CPU us", "", "aim");
    let line = |name: &str, of: fn(&Round) -> f64| {
        let (us, percent) = (median(all, of), percent(of));
        let missed = if percent <= AIM_PERCENT { "" } else { "  missed" };
        println!("{name:<58} {us:>8.3} {percent:>7.2} % {AIM_PERCENT:>4.0} %{missed}");
    };
    line("metrics of a client's request: version, times, route", |it| it.counts);
    line("and what it asked for, by operation", |it| it.counts + it.operation);
    line("metrics of a call between services: also who called whom", |it| it.counts + it.call);
}
