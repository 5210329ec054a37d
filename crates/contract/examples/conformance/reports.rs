//! Pairs rebuilt from public bug reports of many tools, with the right answer in both directions.
//!
//! The way back is a comparison of its own, or `may_roll_back` of the first one: `reverse_by` says which. A "compatible" where
//! the right answer is "breaking" or "not checked" is wrong, and so is a "breaking" where it is "compatible", unless the case is arguable.

use std::path::Path;

use lockstep_contract::{Kind, MessageRole, Options, ProtobufPolicy, Report, Source, SqlDialect, Verdict};
use serde_json::Value;

use crate::files::{read, walk};
use crate::witnesses::diff_as;
use crate::{Judged, Judgement, summary};

pub(crate) fn run(folder: &Path, cases: &[Value]) -> Vec<Judged> {
    let judged: Vec<Judged> = cases.iter().flat_map(|case| one(folder, case)).collect();
    table(cases, &judged);
    judged
}

/// What is right of one direction of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Compatible,
    Breaking,
    NotChecked,
    /// Not safe, whether broken or not checked.
    Unsafe,
}

fn one(folder: &Path, case: &Value) -> Vec<Judged> {
    let text = |key: &str| case[key].as_str().unwrap_or_default();
    let (kind, options) = (kind(text("format")), options(case));
    let side = |key: &str| source(folder, text(key), kind);
    let (old, new) = (side("old"), side("new"));
    let name = |way: &str| format!("{} {way}", text("name"));
    let forward = diff_as(kind, &old, &new, &options);
    let mut judged = Vec::new();
    if let Some(right) = right(&case["right_old_new"]) {
        let judgement = match &forward {
            Ok(report) => judge(right, report.verdict, || summary(report), case),
            Err(errors) => Judgement::Wrong(format!("{errors:?}")),
        };
        judged.push(Judged { name: name("old to new"), judgement });
    }
    if let Some(right) = right(&case["right_new_old"]) {
        judged.push(Judged {
            name: name("new to old"),
            judgement: back(right, case, (&old, &new), kind, &options),
        });
    }
    judged
}

fn back(
    right: Right,
    case: &Value,
    (old, new): (&Source, &Source),
    kind: Kind,
    options: &Options,
) -> Judgement {
    let by_diff = case["reverse_by"] == "diff";
    let report = if by_diff { diff_as(kind, new, old, options) } else { diff_as(kind, old, new, options) };
    match report {
        Ok(report) if by_diff => judge(right, report.verdict, || summary(&report), case),
        Ok(report) => {
            let verdict = report.roll_back.verdict();
            let turned = Report {
                verdict,
                changes: report.roll_back.changes.clone(),
                not_checked: report.roll_back.not_checked.clone(),
                ..report
            };
            judge(right, verdict, || summary(&turned), case)
        }
        Err(errors) => Judgement::Wrong(format!("{errors:?}")),
    }
}

fn right(value: &Value) -> Option<Right> {
    match value {
        Value::Bool(true) => Some(Right::Compatible),
        Value::Bool(false) => Some(Right::Unsafe),
        Value::String(word) if word == "compatible" => Some(Right::Compatible),
        Value::String(word) if word == "breaking" => Some(Right::Breaking),
        Value::String(word) if word == "not_checked" => Some(Right::NotChecked),
        _ => None,
    }
}

fn judge(right: Right, verdict: Verdict, told: impl Fn() -> String, case: &Value) -> Judgement {
    let text = || format!("right is {right:?}, as {}; {}", case["why"].as_str().unwrap_or_default(), told());
    match (right, verdict) {
        (Right::Compatible, Verdict::Compatible)
        | (Right::Breaking, Verdict::Breaking)
        | (Right::NotChecked, Verdict::NotChecked)
        | (Right::Unsafe, Verdict::Breaking | Verdict::NotChecked) => Judgement::Agrees,
        _ if case["arguable"] == true => Judgement::Differs(text()),
        (_, Verdict::Compatible) | (Right::Compatible, Verdict::Breaking) => Judgement::Wrong(text()),
        _ => Judgement::Differs(text()),
    }
}

fn kind(format: &str) -> Kind {
    match format {
        "openapi" => Kind::OpenApi,
        "protobuf" => Kind::Protobuf,
        "graphql" => Kind::GraphQl,
        "json_schema" => Kind::JsonSchema,
        "sql" => Kind::Sql,
        other => panic!("`{other}` is no format of a case"),
    }
}

fn options(case: &Value) -> Options {
    let words: Vec<&str> = case["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    let protobuf = match case["policy"].as_str() {
        Some("source") => ProtobufPolicy::Source,
        Some("json") => ProtobufPolicy::Json,
        Some("wire") => ProtobufPolicy::Wire,
        _ => ProtobufPolicy::default(),
    };
    let message_role =
        if after("--role") == Some(&"writer") { MessageRole::Writer } else { MessageRole::default() };
    let sql_dialect = after("--dialect").map(|word| match *word {
        "mysql" => SqlDialect::MySql,
        "sqlite" => SqlDialect::Sqlite,
        _ => SqlDialect::PostgreSql,
    });
    Options { protobuf, message_role, sql_dialect, ..Options::default() }
}

/// A file, or a folder of files that belong together.
fn source(folder: &Path, name: &str, kind: Kind) -> Source {
    let path = folder.join(name);
    if path.is_file() {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Source::file(file, read(&path));
    }
    let files = walk(&path).into_iter().map(|file| {
        let name = file.strip_prefix(&path).unwrap_or(&file).to_string_lossy().into_owned();
        (name, read(&file))
    });
    lockstep_contract::assemble(files.collect(), Some(kind))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Prints how the verdicts stand, format by format.
fn table(cases: &[Value], judged: &[Judged]) {
    println!("\n| format | verdicts | agree | differ | wrong |\n| --- | --- | --- | --- | --- |");
    for format in ["openapi", "json_schema", "protobuf", "graphql", "sql"] {
        let names: Vec<&str> = cases
            .iter()
            .filter(|case| case["format"] == format)
            .filter_map(|case| case["name"].as_str())
            .collect();
        let own = judged.iter().filter(|one| {
            let name = one.name.split(' ').next().unwrap_or_default();
            names.contains(&name)
        });
        let (mut agree, mut differ, mut wrong) = (0, 0, 0);
        for one in own {
            match one.judgement {
                Judgement::Agrees => agree += 1,
                Judgement::Differs(_) => differ += 1,
                Judgement::Wrong(_) => wrong += 1,
            }
        }
        println!("| {format} | {} | {agree} | {differ} | {wrong} |", agree + differ + wrong);
    }
}
