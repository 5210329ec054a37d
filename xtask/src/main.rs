//! Project automation: `cargo xtask --help` lists the commands, each in a file of its own.
//!
//! How to add a command: make a file with an `Args` and a `run`, declare it below, add a variant and its arm.

mod bench;
mod chat;
mod conformance;
mod demo;
mod dist;
mod fuzz;
mod hosts;
mod http;
mod installation;
mod layers;
mod lifeline;
mod lint;
mod load;
mod openapi;
mod paced;
mod processes;
mod programs;
mod purity;
mod shell;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks, tests, shows and measures Lockstep",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what Lockstep promises, and print it as tables
    Bench(bench::Args),
    /// Compare verdicts on contracts with those of well-known tools, and the gateway with other proxies
    Conformance(conformance::Args),
    /// Take four services through their lives while a client calls
    Demo(demo::Args),
    /// Build one static program, for hosts with libraries older than this machine's
    Dist(dist::Args),
    /// Try random documents against verdicts on contracts
    Fuzz(fuzz::Args),
    /// Boot real Linux hosts on this machine, each with a systemd and an sshd of its own
    Hosts(hosts::Args),
    /// Check which crate may use which, and that the pure crates do no I/O
    Layers(layers::Args),
    /// Check format, lints, layers, and the licences and sources of dependencies
    Lint(lint::Args),
    /// Write the OpenAPI document from the table of endpoints
    Openapi(openapi::Args),
    /// Kill processes, load for a long time, interleave decisions: look for what no test finds
    Soak(soak::Args),
    /// Build the workspace and run everything that the project tests
    Test(test::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Hosts(args) => hosts::run(&args),
        Command::Layers(args) => layers::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Openapi(args) => openapi::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<hosts::Impossible>() => {
            eprintln!("skipped: {error}");
            ExitCode::from(hosts::SKIPPED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
