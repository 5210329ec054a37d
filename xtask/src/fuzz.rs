//! `cargo xtask fuzz contract`, `cargo xtask fuzz avro` and `cargo xtask fuzz sql`: the long runs of the semantic oracles.
//! `cargo xtask fuzz gateway`: what comes to a gateway from strangers, changed at random.
//!
//! Random statements that worked on an old schema are run on the new one, on real databases (`sql`); random documents that one
//! schema allows are given to the other (`contract`). One that is refused although the verdict says compatible is a bug: the run
//! goes on, and fails at its end with the seeds that show it again. An oracle that did not run at all (a database is not there, a
//! signal) ends the run at once: it says nothing about verdicts.

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
/// Some pairs are not tried, as no database takes them: so many times as many as would be enough are the end.
const MAX_FACTOR: u64 = 4;
/// Seeds are counted up from the first: the last one must not be passed.
const MAX_SEED: u64 = u64::MAX / 2;

/// A test that is an oracle, and how it is asked.
struct Oracle {
    target: &'static str,
    tests: &'static [&'static str],
    /// What is tried.
    unit: &'static str,
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
    unit: "documents",
    variables: "LOCKSTEP_CONTRACT",
    documents_a_pair: 80,
    pairs_a_call: 500,
};

/// Data of Avro schemas, in both directions together.
const AVRO: Oracle = Oracle {
    target: "avro_oracle",
    tests: &["no_datum_contradicts_a_verdict"],
    unit: "data",
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
    unit: "statements",
    variables: "LOCKSTEP_SQL",
    documents_a_pair: 24,
    pairs_a_call: 200,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is tried
    #[arg(value_enum)]
    what: What,
    /// How many documents, or statements, are tried at least [default: a million documents, 100,000 statements]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    documents: Option<u64>,
    /// Where to start: another number tries other documents
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
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
    /// Heads, bodies, answers, frames, PROXY headers, first messages of TLS and route tables, through their readers and through a whole gateway
    Gateway,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (oracle, usual) = match args.what {
        What::Gateway => return gateway(args.documents.unwrap_or(200_000), args.seed),
        What::Contract => (&CONTRACT, 1_000_000),
        What::Avro => (&AVRO, 1_000_000),
        What::Sql => (&SQL, 100_000),
    };
    let program = build(oracle)?;
    let start = Instant::now();
    let found = run_all(oracle, &program, args.documents.unwrap_or(usual), args.seed)?;
    println!(
        "{}, in {:.1} s from seed {}",
        found.tally.told(oracle.unit),
        start.elapsed().as_secs_f64(),
        args.seed
    );
    println!("wrong: {}{}", if found.failures.is_empty() { "" } else { "at least " }, found.wrong);
    found.failures.iter().take(MAX_SHOWN).for_each(|failure| println!("\n{failure}"));
    ensure!(
        found.failures.is_empty(),
        "verdicts are wrong; run again with the seed that is named and --documents 1"
    );
    Ok(())
}

/// Properties of readers, each with so many inputs, and a tenth as many messages through a gateway. What fails is shown at its smallest, or by
/// its seed.
fn gateway(documents: u64, seed: u64) -> Result<()> {
    let readers = [
        "fuzz::",
        "chunked::",
        "proxy_header::",
        "tcp::hello::",
        "grpc_web::",
        "tracestate::",
        "certificate::ocsp::",
        "request::parts::",
    ];
    let mut command = cargo(&["test", "--release", "--package", "lockstep-gateway", "--lib", "--"]);
    let (status, _) = shell::run(command.args(readers).env("PROPTEST_CASES", documents.to_string()))?;
    ensure!(status.success(), "a reader of the gateway does what it must not");
    let mut command = cargo(&["test", "--release", "--package", "lockstep-gateway", "--test", "peers", "--"]);
    command.env("LOCKSTEP_PEERS_SEED", seed.to_string());
    command.env("LOCKSTEP_PEERS_RANDOM", (documents / 10).max(1).to_string());
    let (status, _) = shell::run(command.arg("what_no_rule_thought_of"))?;
    ensure!(status.success(), "the gateway sends on what is read in two ways, or to whom it does not belong");
    let mut command =
        cargo(&["test", "--release", "--package", "lockstep-gateway", "--test", "gateway", "--"]);
    command.env("LOCKSTEP_FRAMES_SEED", seed.to_string());
    command.env("LOCKSTEP_FRAMES_RANDOM", (documents / 10).max(1).to_string());
    let (status, _) = shell::run(command.arg("a_conversation_that_no_rule_thought_of"))?;
    ensure!(status.success(), "frames of HTTP/2 do to the gateway what they must not; the seed is named");
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

/// What a run found.
#[derive(Debug, Default)]
struct Found {
    tally: Tally,
    wrong: u64,
    failures: Vec<String>,
}

/// What one call of a test of the oracle came to.
#[derive(Debug, PartialEq, Eq)]
enum Called {
    Tried(Tally),
    /// Verdicts are wrong: how many at least, and in what words. Some oracles end with the first.
    Wrong(Option<Tally>, u64, String),
}

/// Calls the oracle until enough documents were tried.
fn run_all(oracle: &Oracle, program: &Path, documents: u64, seed: u64) -> Result<Found> {
    let tests = oracle.tests.len() as u64;
    let bound = documents.div_ceil(oracle.documents_a_pair * tests).saturating_mul(MAX_FACTOR);
    let (mut found, mut done) = (Found::default(), 0);
    while found.tally.documents < documents && done < bound {
        let missing = (documents - found.tally.documents).div_ceil(oracle.documents_a_pair * tests);
        let count = oracle.pairs_a_call.min(missing);
        for test in oracle.tests {
            match call(oracle, program, test, (seed + done, count))? {
                Called::Tried(more) => found.tally += more,
                Called::Wrong(more, wrong, words) => {
                    found.tally += more.unwrap_or_default();
                    found.wrong += wrong;
                    found.failures.push(words);
                }
            }
        }
        done += count;
        progress(oracle, &found, documents);
    }
    let tried = found.tally.documents;
    ensure!(
        tried >= documents || !found.failures.is_empty(),
        "no more than {tried} {} were tried",
        oracle.unit
    );
    Ok(found)
}

fn call(oracle: &Oracle, program: &Path, test: &str, (seed, pairs): (u64, u64)) -> Result<Called> {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]);
    let variable = |what: &str| format!("{}_{what}", oracle.variables);
    command.env(variable("SEED"), seed.to_string()).env(variable("CASES"), pairs.to_string());
    // In the long run a database that is not there is a failure.
    command.env(variable("ALL"), "1").env("RUST_BACKTRACE", "0");
    let output = command.output().context("cannot run the oracle")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    judge(output.status.success(), &stdout, &stderr).with_context(|| {
        format!(
            "`{test}` did not come to an end, from seed {seed} on ({}): {stdout}\n{stderr}",
            output.status
        )
    })
}

/// Reads what the oracle says. A failure that names no seed is not about verdicts.
fn judge(succeeded: bool, stdout: &str, stderr: &str) -> Result<Called> {
    let tally = stdout.lines().find_map(read);
    if succeeded {
        return tally.map(Called::Tried).context("the oracle does not say what it tried");
    }
    let words = format!("{stdout}\n{stderr}");
    ensure!(words.contains("seed ") && stderr.contains("panicked"), "no verdict was found wrong");
    let counted = stderr.split(" verdicts are wrong").next().filter(|before| before.len() < stderr.len());
    let counted = counted.and_then(|before| before.rsplit('\n').next()?.split(' ').next()?.parse().ok());
    Ok(Called::Wrong(tally, counted.unwrap_or(1), words))
}

/// Shows how far it is, on a terminal only.
fn progress(oracle: &Oracle, found: &Found, documents: u64) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let tried = found.tally.documents;
        let end = if tried >= documents { "\n" } else { "" };
        // Who does not see the progress loses nothing.
        let _ = write!(out, "\r{tried} of {documents} {}, {} wrong{end}", oracle.unit, found.wrong);
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

impl Tally {
    fn told(&self, unit: &str) -> String {
        let share = self.undecided as f64 * 100.0 / self.pairs.max(1) as f64;
        let Self { pairs, documents, compatible, breaking, .. } = self;
        format!(
            "{documents} {unit} for {pairs} pairs: {compatible} compatible, {breaking} breaking, {share:.1} % not decided"
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
            twice.told("documents"),
            "80000 documents for 1000 pairs: 240 compatible, 700 breaking, 6.0 % not decided"
        );
    }

    #[test]
    fn what_did_not_run_is_no_wrong_verdict() {
        let line = "10 pairs, 240 documents: 5 compatible, 5 breaking (1 witnesses), 0 not decided";
        let tally = read(line);
        assert!(matches!(judge(true, line, ""), Ok(Called::Tried(_))));
        assert!(judge(true, "", "").is_err());
        // A database that is not there, and a signal.
        let missing = "thread 'x' panicked at main.rs:1:1:\nthere is no MariaDB: install mariadb-server";
        assert!(judge(false, "", missing).is_err());
        assert!(judge(false, line, "").is_err());
        let wrong = judge(
            false,
            &format!("{line}\n\nseed 7: it fails"),
            "thread 'x' panicked at main.rs:1:1:\n3 of 10 verdicts are wrong",
        );
        assert!(matches!(wrong, Ok(Called::Wrong(told, 3, _)) if told == tally));
        let first = judge(false, "", "thread 'x' panicked at main.rs:1:1:\nseed 9: witness 1 of b");
        assert!(matches!(first, Ok(Called::Wrong(None, 1, _))));
    }
}
