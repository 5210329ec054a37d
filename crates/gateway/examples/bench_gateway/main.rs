//! CPU time a request of the gateway, beside nginx and HAProxy when they are installed.
//!
//! ```text
//! cargo run --release -p lockstep-gateway --example bench_gateway -- [--rounds 5] [--requests 60000] [--size 100]
//! ```
//!
//! Every proxy is a process of its own with one worker, pinned to core 0. The load and both instances behind the proxy
//! are one lean process pinned to core 1: separate ones would compete with each other and measure themselves.
//! Rounds are interleaved, and the median is shown, since what else runs on a machine comes and goes.

mod load;
mod peers;

use std::net::SocketAddr;
use std::process::ExitCode;

use peers::Proxy;

/// What one round measured.
struct Sample {
    cpu_micros: f64,
    requests_per_second: f64,
}

struct Options {
    rounds: usize,
    requests: usize,
    size: usize,
}

/// The one of the program that ships.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--gateway") => peers::run_gateway(&arguments[1..]),
        _ => options(&arguments).and_then(|options| measure(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn options(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options { rounds: 5, requests: 60_000, size: 100 };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(format!("`{}` needs a value", pair[0]).into()) };
        let value: usize = value.parse()?;
        match name.as_str() {
            "--rounds" => options.rounds = value.max(1),
            "--requests" => options.requests = value.max(1),
            "--size" => options.size = value,
            other => return Err(format!("unknown option `{other}`").into()),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> Outcome<()> {
    peers::pin(std::process::id(), 1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let instances = [load::Backend::bind()?, load::Backend::bind()?];
    let addresses = instances.each_ref().map(load::Backend::address);
    for instance in instances {
        instance.serve(&runtime, options.size)?;
    }
    let proxies = peers::start_all(addresses)?;
    let mut samples: Vec<Vec<Sample>> = proxies.iter().map(|_| Vec::new()).collect();
    for proxy in &proxies {
        runtime.block_on(load::run(proxy.address, options.requests / 10))?;
    }
    for _ in 0..options.rounds {
        for (proxy, samples) in proxies.iter().zip(&mut samples) {
            samples.push(round(&runtime, proxy, options.requests)?);
        }
    }
    report(options, &proxies, &samples);
    Ok(())
}

fn round(runtime: &tokio::runtime::Runtime, proxy: &Proxy, requests: usize) -> Outcome<Sample> {
    let before = proxy.cpu_micros()?;
    let took = runtime.block_on(load::run(proxy.address, requests))?;
    let cpu = proxy.cpu_micros()? - before;
    let requests = requests as f64;
    Ok(Sample { cpu_micros: cpu / requests, requests_per_second: requests / took.as_secs_f64() })
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(options: &Options, proxies: &[Proxy], samples: &[Vec<Sample>]) {
    let Options { rounds, requests, size } = options;
    println!(
        "{size}-byte answers, {} connections, {requests} requests a round, median of {rounds} rounds",
        load::CONNECTIONS
    );
    println!("{:<24} {:>16} {:>8} {:>12}", "proxy", "CPU us/request", "ratio", "requests/s");
    let ours = samples.first().map_or(f64::NAN, |samples| median(samples, |it| it.cpu_micros));
    for (proxy, samples) in proxies.iter().zip(samples) {
        let cpu = median(samples, |it| it.cpu_micros);
        let rate = median(samples, |it| it.requests_per_second);
        println!("{:<24} {cpu:>16.2} {:>8.2} {rate:>12.0}", proxy.name, ours / cpu);
    }
    println!("ratio: CPU time of lockstep to that of the proxy in the line");
}

/// Where something listens on this machine.
fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
