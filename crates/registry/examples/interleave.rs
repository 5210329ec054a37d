//! Goes through interleavings of decisions for a while, and prints how many: see `tests/interleave`.
//!
//! `cargo run --release -p lockstep-registry --example interleave -- [--seconds 60] [--seed 1] [--old-telling]`

#[path = "../tests/interleave/commands.rs"]
mod commands;
#[path = "../tests/interleave/explore.rs"]
mod explore;
#[path = "../tests/interleave/host.rs"]
mod host;
#[path = "../tests/interleave/journal.rs"]
mod journal;
#[path = "../tests/interleave/model.rs"]
mod model;
#[path = "../tests/interleave/promises.rs"]
mod promises;
#[path = "../tests/interleave/replacement.rs"]
mod replacement;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use explore::{Broken, Counts, Run, carry_out, pairs, random_run};
use model::Rules;
use replacement::killed;

/// Random runs between two rounds of all pairs.
const RANDOM_RUNS: u64 = 2_000;

fn option(name: &str, usual: u64) -> u64 {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1).and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// The old rules can be asked for, to see how soon a fault is found.
fn rules() -> Rules {
    match std::env::args().find(|word| word.starts_with("--old")).as_deref() {
        Some("--old-telling") => Rules::TOLD_WHEN_REPORTED,
        Some("--old-carrying") => Rules::CARRIED_OUT_REGARDLESS,
        Some("--old-finding") => Rules::FOUND_WHEN_HEALTHY,
        _ => Rules::TODAY,
    }
}

/// Returns the runs of a seed, without an end: all pairs of decisions, some random runs, and workers that are replaced, in turn.
fn runs(seed: u64) -> impl Iterator<Item = Run> {
    (0..).flat_map(move |round| {
        let first = seed.wrapping_mul(1_000_003).wrapping_add(round * RANDOM_RUNS);
        let random = (0..RANDOM_RUNS).map(move |index| random_run(first.wrapping_add(index)));
        pairs(seed.wrapping_add(round)).chain(random).chain(killed(first))
    })
}

/// Looks at the clock after every run: on a busy machine a round of all takes minutes.
fn explore(begun: Instant, limit: Duration, seed: u64, counts: &mut Counts) -> Result<(), Broken> {
    let rules = rules();
    runs(seed).take_while(|_| begun.elapsed() < limit).try_for_each(|run| carry_out(rules, &run, counts))
}

fn main() -> ExitCode {
    let (seed, seconds) = (option("--seed", 1), option("--seconds", 60));
    let (begun, mut counts) = (Instant::now(), Counts::default());
    let found = explore(begun, Duration::from_secs(seconds), seed, &mut counts);
    let lasted = begun.elapsed().as_secs();
    println!("interleave: seed {seed}: {} runs, {} steps in {lasted} s", counts.runs, counts.steps);
    match found {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            println!("broken: {}", broken.words);
            ExitCode::FAILURE
        }
    }
}
