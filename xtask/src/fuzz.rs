//! `cargo xtask fuzz contract`, `cargo xtask fuzz avro` and `cargo xtask fuzz sql`: the long runs of the semantic oracles.
//!
//! Random statements that worked on an old schema are run on the new one, on real databases (`sql`); random documents that one
//! schema allows are given to the other (`contract`). One that is refused although the verdict says compatible is a bug, and
//! ends the run with the seed that shows it again.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shell;
use crate::workspace::cargo;

/// Most failures that are shown in full.
const MAX_SHOWN: usize = 5;

/// A test that is an oracle, and how it is asked.
struct Oracle {
    target: &'static str,
    tests: &'static [&'static str],
    /// What the variables that set its seed and its number of pairs begin with.
    variables: &'static str,
    /// What each of its tests tries for a pair, about.
    documents_a_pair: u64,
    /// Pairs in one call: some seconds, so that progress is seen.
    pairs_a_call: u64,
}

/// Documents of schemas, in both directions together.
const CONTRACT: Oracle = Oracle {
    target: "schema_oracle",
    tests: &["no_document_contradicts_a_verdict"],
    variables: "LOCKSTEP_CONTRACT",
    documents_a_pair: 80,
    pairs_a_call: 500,
};

/// Data of Avro schemas, in both directions together.
const AVRO: Oracle = Oracle {
    target: "avro_oracle",
    tests: &["no_datum_contradicts_a_verdict"],
    variables: "LOCKSTEP_AVRO",
    documents_a_pair: 40,
    pairs_a_call: 1_000,
};

/// Statements of the old version, on each database.
const SQL: Oracle = Oracle {
    target: "sql_oracle",
    tests: &[
        "no_statement_contradicts_a_verdict_on_sqlite",
        "no_statement_contradicts_a_verdict_on_postgresql",
        "no_statement_contradicts_a_verdict_on_mariadb",
    ],
    variables: "LOCKSTEP_SQL",
    documents_a_pair: 24,
    pairs_a_call: 200,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is tried
    #[arg(value_enum)]
    what: What,
    /// About how many documents, or statements, are tried [default: a million documents, 100,000 statements]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    documents: Option<u64>,
    /// Where to start: another number tries other documents
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Verdicts on schemas
    Contract,
    /// Verdicts on Avro schemas
    Avro,
    /// Verdicts on migrations, on SQLite, PostgreSQL and MariaDB
    Sql,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (oracle, usual) = match args.what {
        What::Contract => (&CONTRACT, 1_000_000),
        What::Avro => (&AVRO, 1_000_000),
        What::Sql => (&SQL, 100_000),
    };
    let program = build(oracle)?;
    let start = Instant::now();
    let (tally, failures) = run_all(oracle, &program, args.documents.unwrap_or(usual), args.seed)?;
    println!("{tally}, in {:.1} s from seed {}", start.elapsed().as_secs_f64(), args.seed);
    println!("wrong: {}", failures.len());
    failures.iter().take(MAX_SHOWN).for_each(|failure| println!("\n{failure}"));
    ensure!(
        failures.is_empty(),
        "verdicts are wrong; run again with the seed that is named and --documents 1"
    );
    Ok(())
}

/// Builds the oracle; returns its program, so that no call of it waits for cargo.
fn build(oracle: &Oracle) -> Result<PathBuf> {
    let arguments = ["test", "--release", "--no-run", "--message-format", "json-render-diagnostics"];
    let mut command = cargo(&arguments);
    command.args(["--package", "lockstep-contract", "--test", oracle.target]).stderr(Stdio::inherit());
    shell::announce(&command);
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the oracle cannot be built");
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == oracle.target).then_some(())?;
        message["executable"].as_str().map(PathBuf::from)
    });
    program.context("cargo does not say where the oracle is")
}

/// Calls the oracle until enough documents were tried. A call ends with its first failures; the others go on.
fn run_all(oracle: &Oracle, program: &Path, documents: u64, seed: u64) -> Result<(Tally, Vec<String>)> {
    let pairs = documents.div_ceil(oracle.documents_a_pair * oracle.tests.len() as u64);
    let (mut tally, mut failures, mut done) = (Tally::default(), Vec::new(), 0);
    while done < pairs {
        let count = oracle.pairs_a_call.min(pairs - done);
        for test in oracle.tests {
            match call(oracle, program, test, (seed.saturating_add(done), count))? {
                Ok(more) => tally += more,
                Err(failure) => failures.push(failure),
            }
        }
        done += count;
        progress(done, pairs, &tally, failures.len());
    }
    Ok((tally, failures))
}

fn call(
    oracle: &Oracle,
    program: &Path,
    test: &str,
    (seed, pairs): (u64, u64),
) -> Result<std::result::Result<Tally, String>> {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]);
    let variable = |what: &str| format!("{}_{what}", oracle.variables);
    command.env(variable("SEED"), seed.to_string()).env(variable("CASES"), pairs.to_string());
    // In the long run a database that is not there is a failure.
    command.env(variable("ALL"), "1").env("RUST_BACKTRACE", "0");
    let output = command.output().context("cannot run the oracle")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let tally = stdout.lines().find_map(read).context("the oracle does not say what it tried")?;
        return Ok(Ok(tally));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Ok(Err(format!("{}{}", stdout.trim(), stderr.trim())))
}

/// Shows how far it is, on a terminal only.
fn progress(done: u64, pairs: u64, tally: &Tally, wrong: usize) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let end = if done == pairs { "\n" } else { "" };
        let documents = tally.documents;
        // Who does not see the progress loses nothing.
        let _ = write!(out, "\r{done} of {pairs} pairs, {documents} documents, {wrong} wrong{end}");
        let _ = out.flush();
    }
}

/// What was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    pairs: u64,
    documents: u64,
    compatible: u64,
    breaking: u64,
    undecided: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.pairs += more.pairs;
        self.documents += more.documents;
        self.compatible += more.compatible;
        self.breaking += more.breaking;
        self.undecided += more.undecided;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.undecided as f64 * 100.0 / self.pairs.max(1) as f64;
        let Self { pairs, documents, compatible, breaking, .. } = self;
        write!(
            formatter,
            "{documents} documents for {pairs} pairs: {compatible} compatible, {breaking} breaking, {share:.1} % not decided"
        )
    }
}

/// Reads the line in which the oracle says what it tried.
fn read(line: &str) -> Option<Tally> {
    let number = |what: &str| -> Option<u64> {
        let before = line.split(what).next().filter(|before| before.len() < line.len())?;
        before.rsplit(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok()
    };
    Some(Tally {
        pairs: number(" pairs")?,
        documents: number(" documents")?,
        compatible: number(" compatible")?,
        breaking: number(" breaking")?,
        undecided: number(" not decided")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_oracle_is_read() {
        let line = "500 pairs, 40000 documents: 120 compatible, 350 breaking (12 errors without a witness), 30 not decided";
        let expected = Tally { pairs: 500, documents: 40_000, compatible: 120, breaking: 350, undecided: 30 };
        assert_eq!(read(line), Some(expected));
        assert_eq!(read("running 1 test"), None);
        let mut twice = expected;
        twice += expected;
        assert_eq!(
            twice.to_string(),
            "80000 documents for 1000 pairs: 240 compatible, 700 breaking, 6.0 % not decided"
        );
    }
}
