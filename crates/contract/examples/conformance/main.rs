//! Runs folders of public pairs of contracts and compares our verdicts with those of well-known tools.
//!
//! `cargo xtask conformance FOLDER` runs it. `FOLDER/openapi`, `FOLDER/protobuf` and `FOLDER/graphql` hold a `cases.json` each,
//! `FOLDER/reports` an `index.json` of pairs rebuilt from bug reports, judged in both directions; a folder that is not there is
//! passed over. Ends with code 1 when something that a peer calls breaking is called compatible, or something in which
//! a peer finds nothing at all is called anything else, and nothing explains it.

mod explained;
mod files;
mod graphql;
mod openapi;
mod protobuf;
mod reports;
mod witnesses;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lockstep_contract::{Level, Report};
use serde_json::Value;

/// What one verdict comes to.
enum Judgement {
    Agrees,
    /// Not the same, and nobody is misled: we are stricter, or leave it open.
    Differs(String),
    /// What must not be.
    Wrong(String),
}

/// One verdict on one pair.
struct Judged {
    name: String,
    judgement: Judgement,
}

/// What a peer says of a pair, as far as it says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Breaking,
    /// Changes, none of which breaks.
    Harmless,
    /// Nothing at all.
    Nothing,
}

type Run = fn(&Path, &[Value]) -> Vec<Judged>;

/// The folders, the list of pairs in each, and what runs them.
const FORMATS: [(&str, &str, Run); 4] = [
    ("openapi", "cases.json", openapi::run),
    ("protobuf", "cases.json", protobuf::run),
    ("graphql", "cases.json", graphql::run),
    ("reports", "index.json", reports::run),
];

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: conformance FOLDER");
        return ExitCode::from(2);
    };
    let mut formats = 0;
    let mut wrong = 0;
    for (format, list, run) in FORMATS {
        let folder = folder.join(format);
        let Ok(text) = std::fs::read_to_string(folder.join(list)) else { continue };
        let cases: Vec<Value> = serde_json::from_str(&text).expect("the cases are a list");
        formats += 1;
        wrong += show(format, cases.len(), run(&folder, &cases));
    }
    if formats == 0 {
        eprintln!("error: there is no list of cases in the folders below {}", folder.display());
        return ExitCode::from(2);
    }
    wrong += witnesses::show();
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what differs, the worst last, and a summary; returns how many verdicts are wrong.
fn show(format: &str, pairs: usize, all: Vec<Judged>) -> usize {
    let verdicts = all.len();
    let (mut agree, mut explained, mut differ, mut wrong) = (0, Vec::new(), Vec::new(), Vec::new());
    for Judged { name, judgement } in all {
        match (judgement, explained::why(format, &name)) {
            (Judgement::Agrees, _) => agree += 1,
            (Judgement::Differs(text) | Judgement::Wrong(text), Some(why)) => {
                explained.push(format!("explained: {name}: {why}\n           {text}"));
            }
            (Judgement::Differs(text), None) => differ.push(format!("differs:   {name}: {text}")),
            (Judgement::Wrong(text), None) => wrong.push(format!("WRONG:     {name}: {text}")),
        }
    }
    println!("\n== {format} ==");
    explained.iter().chain(&differ).chain(&wrong).for_each(|line| println!("{line}"));
    println!(
        "{format}: {pairs} pairs, {verdicts} verdicts: {agree} agree, {} differ, {} explained, {} wrong",
        differ.len(),
        explained.len(),
        wrong.len()
    );
    wrong.len()
}

/// Judges a report by what a peer expects.
fn judge(expected: Expected, report: &Report) -> Judgement {
    use lockstep_contract::Verdict::{Breaking, Compatible, NotChecked};
    let text = || format!("the peer says {expected:?}; {}", summary(report));
    match (expected, report.verdict) {
        (Expected::Breaking, Breaking) | (Expected::Harmless | Expected::Nothing, Compatible) => {
            Judgement::Agrees
        }
        (Expected::Breaking, Compatible) | (Expected::Nothing, Breaking | NotChecked) => {
            Judgement::Wrong(text())
        }
        (Expected::Breaking, NotChecked) | (Expected::Harmless, Breaking | NotChecked) => {
            Judgement::Differs(text())
        }
    }
}

/// The verdict with what led to it, in one line.
fn summary(report: &Report) -> String {
    let changes = report.changes.iter().filter(|change| change.level != Level::Info);
    let changes: Vec<String> =
        changes.map(|change| format!("{} {}: {}", change.level, change.rule.id, change.message)).collect();
    let open: Vec<&str> = report.not_checked.iter().map(|open| open.reason.as_str()).collect();
    format!("we say {} [{}] not checked {open:?}", report.verdict, changes.join(" | "))
}
