//! `cargo xtask soak`: what only time and violence show. Processes are killed while something is under way, changes and
//! load go on for long, and decisions are interleaved; whatever is not explained is a fault.
//!
//! A seed makes the choices repeatable; when something happens within a round is up to the machine.

mod action;
mod caller;
mod calm;
mod growth;
mod interleave;
mod judge;
mod kills;
mod load;
mod processes;
mod random;
mod report;
mod service;
mod site;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::installation::{self, Profile};
use crate::lifeline::{self, End, Lifeline};
use crate::programs;

use growth::Bounds;
use report::Report;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How long load and changes go on in the parts `load` and `gateway`
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Rounds of the part `kills`
    #[arg(long, default_value_t = 140)]
    kills: u64,
    /// What choices are made by; another one each time when left out
    #[arg(long)]
    seed: Option<u64>,
    /// Only one part
    #[arg(value_enum, value_name = "PART")]
    part: Option<Part>,
    /// Write the summary to this file as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use this program instead of building one
    #[arg(long, value_name = "PATH")]
    lockstep: Option<PathBuf>,
    /// Bytes of the server's memory that an operation may leave: history is kept for ever, and that is all
    #[arg(long, default_value_t = 16_384.0)]
    server_bytes_per_operation: f64,
    /// Bytes of a gateway's memory that a request may leave: none, but an allocator gives back late
    #[arg(long, default_value_t = 8.0)]
    gateway_bytes_per_request: f64,
    /// The process that does it, on a lifeline to the command that was typed
    #[arg(long, hide = true)]
    on_lifeline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Kill processes while something is under way
    Kills,
    /// Load and changes for a long time, and what grows
    Load,
    /// Decisions that meet, simulated
    Interleave,
    /// All protocols through a gateway, while tables and certificates change, instances die and clients leave
    Gateway,
}

/// How long the simulation runs: it finds what it finds in seconds, and goes through some million steps in this time.
const INTERLEAVE: Duration = Duration::from_secs(120);

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.on_lifeline {
        return lifeline::hold(End::ByItself);
    }
    let folder = installation::temporary_folder("soak")?;
    let _lifeline = Lifeline::watch(folder.clone());
    let result = soak(args, &folder);
    let is_kept = result.as_ref().is_ok_and(|reports| reports.iter().any(|report| report.folder.is_some()));
    if is_kept || result.is_err() {
        crate::processes::end_all_of(&folder, Duration::ZERO)?;
    } else {
        installation::remove_folder(&folder)?;
    }
    let reports = result
        .with_context(|| format!("it did not come to its end; the logs are in {}", folder.display()))?;
    let faults: u64 = reports.iter().map(Report::fault_count).sum();
    ensure!(faults == 0, "{faults} times something happened that nothing explains");
    Ok(())
}

/// Takes a seed from the clock.
fn any_seed() -> u64 {
    caller::now_ms() % 1_000_000
}

fn soak(args: &Args, folder: &Path) -> Result<Vec<Report>> {
    programs::check()?;
    let seed = args.seed.unwrap_or_else(any_seed);
    println!("seed {seed}");
    let wanted = |part| args.part.is_none_or(|only| only == part);
    let mut reports = Vec::new();
    if wanted(Part::Kills) || wanted(Part::Load) {
        let program = match &args.lockstep {
            Some(program) => program.canonicalize()?,
            None => installation::build(Profile::Release)?,
        };
        if wanted(Part::Kills) {
            println!("\n== kills: {} rounds ==", args.kills);
            reports.push(kills::run(&program, &below(folder, "kills")?, seed, args.kills)?);
        }
        if wanted(Part::Load) {
            println!("\n== load: {} minutes ==", args.minutes);
            let (time, bounds) = (Duration::from_secs(args.minutes * 60), bounds(args));
            reports.push(load::run(&program, &below(folder, "load")?, seed, time, bounds)?);
        }
    }
    if wanted(Part::Interleave) {
        println!("\n== interleave ==");
        reports.push(interleave::run(seed, INTERLEAVE)?);
    }
    if wanted(Part::Gateway) {
        println!("\n== gateway: {} minutes ==", args.minutes);
        gateway(args.minutes * 60)?;
    }
    summarise(args, seed, &reports)?;
    Ok(reports)
}

/// Runs the test of the gateway that is short otherwise.
fn gateway(seconds: u64) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "-p", "lockstep-gateway", "--test", "gateway", "soak::", "--", "--nocapture"]);
    let status = cargo.env("LOCKSTEP_SOAK_S", seconds.to_string()).status().context("cargo cannot be run")?;
    ensure!(status.success(), "the soak of the gateway failed, see above");
    Ok(())
}

const fn bounds(args: &Args) -> Bounds {
    Bounds {
        server_bytes_per_operation: args.server_bytes_per_operation,
        gateway_bytes_per_request: args.gateway_bytes_per_request,
    }
}

fn below(folder: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder.join(name);
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn summarise(args: &Args, seed: u64, reports: &[Report]) -> Result<()> {
    println!("\n== Summary of seed {seed} ==");
    reports.iter().for_each(|report| print!("{report}"));
    let Some(file) = &args.json else { return Ok(()) };
    let parts: Vec<_> = reports.iter().map(Report::document).collect();
    let document = json!({"seed": seed, "parts": parts});
    fs::write(file, format!("{document:#}\n")).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part once, as short as it can be: so that it is able to run when somebody needs it.
    fn is_without_faults(name: &str, part: impl FnOnce(&Path, &Path) -> Result<Report>) {
        let program = installation::build(Profile::Development).unwrap();
        let folder = installation::temporary_folder(&format!("soak-test-{name}")).unwrap();
        let report = part(&program, &below(&folder, name).unwrap()).unwrap();
        assert_eq!(report.fault_count(), 0, "{report}");
        assert!(report.document()["counts"]["requests answered well"].as_u64() > Some(20), "{report}");
        installation::remove_folder(&folder).unwrap();
    }

    #[test]
    fn two_rounds_of_kills_leave_nothing_unexplained() {
        is_without_faults("kills", |program, folder| kills::run(program, folder, 1, 2));
    }

    #[test]
    fn some_seconds_of_load_and_changes_leave_nothing_unexplained() {
        let bounds = Bounds { server_bytes_per_operation: 16_384.0, gateway_bytes_per_request: 8.0 };
        let time = Duration::from_secs(5);
        is_without_faults("load", |program, folder| load::run(program, folder, 1, time, bounds));
    }
}
