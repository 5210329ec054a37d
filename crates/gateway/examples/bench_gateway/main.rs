//! What the gateway costs beside nginx, HAProxy and Envoy, as far as they are installed.
//!
//! ```text
//! cargo run --release -p lockstep-gateway --example bench_gateway -- [CASE ...] [--rounds 5] [--requests 60000]
//! ```
//!
//! Every proxy is a process of its own with one worker, pinned to core 0. The load and both instances behind the proxy
//! are one lean process pinned to core 1: separate ones would compete with each other and measure themselves.
//! Rounds are interleaved, and the median is shown, since what else runs on a machine comes and goes.

mod cases;
mod load;
mod measure;
mod peers;
mod proxies;

use std::net::SocketAddr;
use std::process::ExitCode;

use cases::CASES;
use measure::Amount;

/// The one of the program that ships.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--gateway") => peers::run_gateway(&arguments[1..]),
        _ => Options::of(&arguments).and_then(|options| options.run()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for; what is left out is decided by each case.
#[derive(Default)]
struct Options {
    cases: Vec<String>,
    rounds: Option<usize>,
    requests: Option<usize>,
}

impl Options {
    fn of(arguments: &[String]) -> Outcome<Self> {
        let (mut options, mut arguments) = (Self::default(), arguments.iter());
        while let Some(argument) = arguments.next() {
            let mut number = || -> Outcome<Option<usize>> {
                let value = arguments.next().ok_or_else(|| format!("`{argument}` needs a value"))?;
                Ok(Some(value.parse::<usize>()?.max(1)))
            };
            match argument.as_str() {
                "--rounds" => options.rounds = number()?,
                "--requests" => options.requests = number()?,
                name if CASES.iter().any(|case| case.name == name) => options.cases.push(name.to_owned()),
                name => {
                    let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
                    return Err(format!("no case `{name}`; there are {}", known.join(", ")).into());
                }
            }
        }
        Ok(options)
    }

    fn run(&self) -> Outcome<()> {
        proxies::open_more_files()?;
        proxies::pin(std::process::id(), 1)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for case in
            CASES.iter().filter(|it| self.cases.is_empty() || self.cases.iter().any(|name| name == it.name))
        {
            println!("\n-- {} --", case.name);
            let Amount { rounds, requests } = case.amount;
            let rounds = self.rounds.unwrap_or(rounds);
            (case.run)(&runtime, Amount { rounds, requests: self.requests.unwrap_or(requests) })?;
        }
        Ok(())
    }
}

/// Where something listens on this machine.
fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
