//! Rounds of load through every proxy, and what they cost.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::Outcome;
use crate::proxies::Proxy;

/// How long each request of a round took, in microseconds.
pub(crate) type Latencies = Vec<u32>;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) rounds: usize,
    pub(crate) requests: usize,
}

/// What one round measured.
struct Sample {
    cpu_micros: f64,
    p99_micros: f64,
    requests_per_second: f64,
}

/// Sends load through all proxies in turn, and prints what a request cost each; `what` says what a request is.
pub(crate) fn compare<F>(
    runtime: &Runtime,
    proxies: &[Proxy],
    amount: Amount,
    what: &str,
    load: impl Fn(SocketAddr, usize) -> F,
) -> Outcome<()>
where
    F: Future<Output = io::Result<Latencies>>,
{
    let mut samples: Vec<Vec<Sample>> = proxies.iter().map(|_| Vec::new()).collect();
    for proxy in proxies {
        runtime.block_on(load(proxy.address, amount.requests.div_ceil(10)))?;
    }
    for _ in 0..amount.rounds {
        for (proxy, samples) in proxies.iter().zip(&mut samples) {
            samples.push(round(runtime, proxy, amount.requests, &load)?);
        }
    }
    report(amount, proxies, &samples, what);
    Ok(())
}

fn round<F>(
    runtime: &Runtime,
    proxy: &Proxy,
    requests: usize,
    load: impl Fn(SocketAddr, usize) -> F,
) -> Outcome<Sample>
where
    F: Future<Output = io::Result<Latencies>>,
{
    let (before, begun) = (proxy.cpu_micros()?, Instant::now());
    let latencies = runtime
        .block_on(load(proxy.address, requests))
        .map_err(|error| format!("{}: {error}", proxy.name))?;
    let (cpu, took) = (proxy.cpu_micros()? - before, begun.elapsed());
    let done = latencies.len() as f64;
    let p99_micros = f64::from(percentile(latencies, 99));
    Ok(Sample { cpu_micros: cpu / done, p99_micros, requests_per_second: done / took.as_secs_f64() })
}

/// Returns the latency that so many of a hundred requests do not exceed.
pub(crate) fn percentile(mut latencies: Latencies, percent: usize) -> u32 {
    latencies.sort_unstable();
    let at = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
    latencies.get(at).copied().unwrap_or_default()
}

/// Returns the middle one of the values of all samples.
pub(crate) fn median<T>(samples: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(Amount { rounds, requests }: Amount, proxies: &[Proxy], samples: &[Vec<Sample>], what: &str) {
    println!("{what}, {requests} a round, median of {rounds} rounds");
    println!("{:<24} {:>10} {:>8} {:>10} {:>12}", "proxy", "CPU us", "ratio", "p99 us", "a second");
    let ours = samples.first().map_or(f64::NAN, |samples| median(samples, |it| it.cpu_micros));
    for (proxy, samples) in proxies.iter().zip(samples) {
        let of = |of: fn(&Sample) -> f64| median(samples, of);
        let (cpu, p99, rate) =
            (of(|it| it.cpu_micros), of(|it| it.p99_micros), of(|it| it.requests_per_second));
        println!("{:<24} {cpu:>10.2} {:>8.2} {p99:>10.0} {rate:>12.0}", proxy.name, ours / cpu);
    }
    println!("ratio: CPU time of lockstep to that of the proxy in the line");
}
