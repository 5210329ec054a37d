//! Runs a folder of public pairs of OpenAPI documents and compares our verdicts with the expectation that comes with them.
//!
//! `cargo run -p lockstep-contract --example conformance -- FOLDER`, where `FOLDER/cases.json` lists the pairs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lockstep_contract::{Kind, Level, Options, Report, Source, Verdict, diff_as};
use serde_json::Value;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: conformance FOLDER");
        return ExitCode::from(2);
    };
    let text = std::fs::read_to_string(folder.join("cases.json")).expect("FOLDER/cases.json is readable");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("cases.json is a list");
    let mut agreed = 0;
    let mut wrong = 0;
    for case in &cases {
        match judge(&folder, case) {
            Judgement::Agrees => agreed += 1,
            Judgement::Differs(text) => println!("differs: {text}"),
            Judgement::Wrong(text) => {
                wrong += 1;
                println!("WRONG:   {text}");
            }
        }
    }
    println!("{} pairs: {agreed} agree, {wrong} wrong", cases.len());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

enum Judgement {
    Agrees,
    Differs(String),
    Wrong(String),
}

fn judge(folder: &Path, case: &Value) -> Judgement {
    let text = |key: &str| case[key].as_str().unwrap_or_default();
    let name = format!("{} ({})", text("name"), text("base"));
    let report = match compare(folder, text("base"), text("revision")) {
        Ok(report) => report,
        Err(error) => return Judgement::Wrong(format!("{name}: {error}")),
    };
    let expected = case["expect"].to_string();
    let found = format!("{name}: expected {} {expected}, found {}", case["verdict"], summary(&report));
    let exact_empty = case["scope"] == "all" && case["expect"].as_array().is_some_and(Vec::is_empty);
    match (text("verdict"), report.verdict) {
        ("breaking", Verdict::Compatible) => Judgement::Wrong(found),
        (_, Verdict::Breaking | Verdict::NotChecked) if exact_empty => Judgement::Wrong(found),
        ("breaking", Verdict::Breaking) | ("not breaking", Verdict::Compatible) => Judgement::Agrees,
        ("", verdict) => {
            // Only one rule is expected: its level tells whether it alone breaks.
            let level = if expected.contains("\"ERR\"") { Verdict::Breaking } else { Verdict::Compatible };
            if verdict == level { Judgement::Agrees } else { Judgement::Differs(found) }
        }
        _ => Judgement::Differs(found),
    }
}

fn compare(folder: &Path, old: &str, new: &str) -> Result<Report, String> {
    let (old, new) = (source(folder, old)?, source(folder, new)?);
    diff_as(Kind::OpenApi, &old, &new, &Options::default()).map_err(|errors| format!("{errors:?}"))
}

/// The file with all others in its folder, which it may refer to.
fn source(folder: &Path, file: &str) -> Result<Source, String> {
    let path = folder.join(file);
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut source = Source::file(file, read(&path)?);
    let siblings = path.parent().map(walk).unwrap_or_default();
    for sibling in siblings.iter().filter(|sibling| **sibling != path) {
        if let Ok(relative) = sibling.strip_prefix(folder) {
            source = source.with_file(relative.to_string_lossy(), read(sibling)?);
        }
    }
    Ok(source)
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

fn summary(report: &Report) -> String {
    let changes = report.changes.iter().filter(|change| change.level != Level::Info);
    let changes: Vec<String> =
        changes.map(|change| format!("{} {}: {}", change.level, change.rule.id, change.message)).collect();
    let open: Vec<&str> = report.not_checked.iter().map(|open| open.reason.as_str()).collect();
    format!("{} [{}] not checked {open:?}", report.verdict, changes.join(" | "))
}
