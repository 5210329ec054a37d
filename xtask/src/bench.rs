//! `cargo xtask bench`: the figures that Lockstep promises, measured on this machine and printed as tables.

mod chain;
mod figures;
mod hosts;
mod machine;
mod operation;
mod repository;
mod rollback;
mod service;
mod watch;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::installation::{self, Profile};
use crate::shell;
use crate::workspace::cargo;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What is measured
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Of `hosts`: so many simulated ones with 20 instances each, in the place of booted ones, and what the server takes for them
    #[arg(long, value_name = "HOSTS", value_parser = clap::value_parser!(u8).range(1..=hosts::simulated::MOST as i64))]
    simulated: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Durable appends a second, and starting with many events
    Journal,
    /// Packaging beside tar and zstd
    Package,
    /// CPU time a request, memory of idle connections and changes under load, beside nginx, HAProxy and Envoy
    Gateway,
    /// Compiling a table of routes, and finding one in it
    Routes,
    /// Planning every way back of an environment
    Readiness,
    /// Reading and comparing contracts: a large one, small ones, a matrix of versions
    Contract,
    /// How often good versions are taken back, and how long bad ones are not found
    Judge,
    /// Exact plans in fleets of a thousand services
    Plan,
    /// Going back while warm, under 2,000 requests a second
    Rollback,
    /// Eight services in chains of four calls, switched there and back a hundred times
    Chain,
    /// How soon a person is told of a fault, and what metrics and their history cost
    Watch,
    /// Booted hosts: bringing artifacts there beside rsync, and going back on all of them at once
    Hosts,
    /// Everything
    All,
}

/// A benchmark that a crate brings along as an example.
struct Example {
    what: What,
    package: &'static str,
    name: &'static str,
    /// The cases that are measured; all where there are none.
    cases: &'static [&'static str],
}

const EXAMPLES: [Example; 10] = [
    Example { what: What::Journal, package: "lockstep-store", name: "bench_journal", cases: &[] },
    Example { what: What::Package, package: "lockstep-pipeline", name: "bench_package", cases: &[] },
    Example { what: What::Gateway, package: "lockstep-gateway", name: "bench_gateway", cases: &[] },
    Example { what: What::Routes, package: "lockstep-domain", name: "bench_routes", cases: &[] },
    Example { what: What::Readiness, package: "lockstep-domain", name: "bench_readiness", cases: &[] },
    Example { what: What::Contract, package: "lockstep-contract", name: "bench_contract", cases: &[] },
    Example { what: What::Judge, package: "lockstep-judge", name: "bench_judge", cases: &[] },
    Example { what: What::Plan, package: "lockstep-solver", name: "bench_plan", cases: &[] },
    Example { what: What::Watch, package: "lockstep-series", name: "bench_series", cases: &[] },
    Example {
        what: What::Watch,
        package: "lockstep-gateway",
        name: "bench_gateway",
        cases: &["metrics", "counting"],
    },
];

impl Example {
    /// Of everything, an example whose cases are asked for elsewhere runs as a whole, and once.
    fn is_part_of(&self, what: What) -> bool {
        what == self.what || (what == What::All && self.cases.is_empty())
    }

    fn run(&self) -> Result<()> {
        println!("\n== {} ==", self.name.trim_start_matches("bench_"));
        let arguments = ["run", "--quiet", "--release", "--package", self.package, "--example", self.name];
        let (status, _) = shell::run(cargo(&arguments).arg("--").args(self.cases))?;
        ensure!(status.success(), "{} failed", self.name);
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    println!("{}", machine::describe());
    if let Some(count) = args.simulated {
        ensure!(
            args.what == What::Hosts,
            "only hosts can be simulated: cargo xtask bench hosts --simulated {count}"
        );
        println!("\n== simulated hosts ==");
        return in_release(|program, folder| hosts::simulated::measure(count, program, folder));
    }
    EXAMPLES.iter().filter(|example| example.is_part_of(args.what)).try_for_each(Example::run)?;
    if matches!(args.what, What::All | What::Rollback) {
        println!("\n== rollback ==");
        in_release(rollback::measure)?;
    }
    if matches!(args.what, What::All | What::Chain) {
        println!("\n== chain ==");
        in_release(chain::measure)?;
    }
    if matches!(args.what, What::All | What::Watch) {
        println!("\n== watch ==");
        in_release(watch::measure)?;
    }
    if matches!(args.what, What::All | What::Hosts) {
        println!("\n== hosts ==");
        in_release(hosts::measure)?;
    }
    Ok(())
}

/// Measures with the release program in a folder of its own, which is removed where that fails; else who measures has removed it.
fn in_release(measure: impl FnOnce(PathBuf, PathBuf) -> Result<()>) -> Result<()> {
    let program = installation::build(Profile::Release)?;
    let folder = installation::temporary_folder("bench")?;
    let measured = measure(program, folder.clone());
    if measured.is_err() {
        installation::remove_folder(&folder)?;
    }
    measured
}
