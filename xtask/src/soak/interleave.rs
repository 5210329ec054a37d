//! The simulation of decisions that meet, which the registry brings along: run for a time, with its counts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::report::Report;
use crate::shell;
use crate::workspace::cargo;

/// Runs it.
pub(super) fn run(seed: u64, time: Duration) -> Result<Report> {
    let (seconds, seed) = (time.as_secs().max(1).to_string(), seed.to_string());
    let example =
        ["run", "--quiet", "--release", "--package", "lockstep-registry", "--example", "interleave", "--"];
    let mut command = cargo(&[&example[..], &["--seconds", &seconds, "--seed", &seed]].concat());
    let (mut counts, mut broken) = (None, None);
    let (status, _) = shell::run_watched(&mut command, |line| {
        counts = counts.or_else(|| counts_in(line));
        if line.starts_with("broken: ") {
            broken = Some(line.to_owned());
        }
    })?;
    let mut report = Report::of("interleave");
    let [runs, steps, seconds] = counts.context("the simulation does not say how far it came")?;
    report.add("runs", runs);
    report.add("steps", steps);
    report.add("seconds", seconds);
    ensure!(status.success() == broken.is_none(), "the simulation ended with {status}");
    if let Some(words) = broken {
        report.fault(format!("seed {seed}: {words}"));
    }
    Ok(report)
}

/// Reads `interleave: seed 1: 40 runs, 900 steps in 60 s`.
fn counts_in(line: &str) -> Option<[u64; 3]> {
    let words: Vec<&str> = line.strip_prefix("interleave: seed ")?.split([' ', ',']).collect();
    let before = |unit: &str| {
        let place = words.iter().position(|word| *word == unit)?;
        words.get(place.checked_sub(1)?)?.parse().ok()
    };
    Some([before("runs")?, before("steps")?, before("s")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_read() {
        assert_eq!(counts_in("interleave: seed 1: 40 runs, 900 steps in 60 s"), Some([40, 900, 60]));
        assert_eq!(counts_in("something else"), None);
    }
}
