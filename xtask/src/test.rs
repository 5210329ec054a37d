//! `cargo xtask test`: everything that the project tests, with what each part took and a count at the end.

use std::ops::AddAssign;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::installation::{self, Profile};
use crate::workspace::cargo;
use crate::{programs, shell};

#[derive(clap::Args)]
pub(crate) struct Args {}

/// How many tests ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// What a part of the run came to.
struct Part {
    name: &'static str,
    good: bool,
    elapsed: Duration,
}

pub(crate) fn run(_: &Args) -> Result<()> {
    programs::check_for_tests()?;
    let mut counts = Counts::default();
    let mut parts = vec![part("build", &mut cargo(&["build", "--workspace", "--all-targets"]), &mut counts)?];
    if parts.iter().all(|part| part.good) {
        let built = installation::program(Profile::Development)?;
        parts.push(part("tests", test_command().env(installation::BUILT, built), &mut counts)?);
        parts.push(part("documentation", &mut cargo(&["test", "--workspace", "--doc"]), &mut counts)?);
    }
    for Part { name, good, elapsed } in &parts {
        let result = if *good { "ok" } else { "failed" };
        println!("{name:<14} {result:<7} {:.1} s", elapsed.as_secs_f64());
    }
    let Counts { passed, failed, skipped } = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    match parts.iter().find(|part| !part.good) {
        Some(part) => bail!("{} failed", part.name),
        None => Ok(()),
    }
}

/// nextest runs tests of different crates side by side; cargo alone does as well, only slower.
fn test_command() -> Command {
    if programs::is_there("cargo-nextest") {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"])
    } else {
        cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast"])
    }
}

fn part(name: &'static str, command: &mut Command, counts: &mut Counts) -> Result<Part> {
    let (status, elapsed) = shell::run_watched(command, |line| {
        if let Some(more) = counts_in(line) {
            *counts += more;
        }
    })?;
    Ok(Part { name, good: status.success(), elapsed })
}

/// Reads the counts from a summary line of nextest (`Summary [..] 9 tests run: 8 passed, 1 failed, 0 skipped`) or of the
/// test harness (`test result: ok. 8 passed; 0 failed; 1 ignored; ..`). The harness of a test that failed is shown by
/// nextest as well, moved to the right: it is in the summary already.
fn counts_in(line: &str) -> Option<Counts> {
    let summary = line.strip_prefix("test result: ").or_else(|| {
        let (_, summary) = line.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?;
        Some(summary)
    })?;
    let count = |word: &str| {
        let words: Vec<&str> =
            summary.split([' ', ',', ';', '(', ')']).filter(|word| !word.is_empty()).collect();
        let found = words.windows(2).filter(|pair| pair[1] == word).find_map(|pair| pair[0].parse().ok());
        found.unwrap_or(0)
    };
    let failed = count("failed") + count("exec") + count("timed");
    Some(Counts { passed: count("passed"), failed, skipped: count("skipped") + count("ignored") })
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_both_kinds_of_summary() {
        let counts = |passed, failed, skipped| Some(Counts { passed, failed, skipped });
        for (line, expected) in [
            ("     Summary [   6.299s] 55 tests run: 55 passed, 0 skipped", counts(55, 0, 0)),
            (
                "     Summary [  60.701s] 42 tests run: 41 passed (2 slow), 1 failed, 3 skipped",
                counts(41, 1, 3),
            ),
            ("Summary [ 1.0s] 4/9 tests run: 2 passed, 1 failed, 1 timed out, 0 skipped", counts(2, 2, 0)),
            ("test result: ok. 8 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out", counts(8, 0, 1)),
            ("test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured", counts(0, 2, 0)),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 128 filtered out", None),
            ("        PASS [   0.013s] store 12 passed", None),
            ("Summary of the changes", None),
        ] {
            assert_eq!(counts_in(line), expected, "{line}");
        }
    }
}
