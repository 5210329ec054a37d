//! OpenAPI: pairs of documents, and the changes that a peer reports of them, all of them or those of one rule.

use std::path::Path;

use lockstep_contract::{Kind, Options, Source};
use serde_json::Value;

use crate::files::{read, walk};
use crate::witnesses::diff_as;
use crate::{Expected, Judged, Judgement, judge, summary};

pub(crate) fn run(folder: &Path, cases: &[Value]) -> Vec<Judged> {
    cases.iter().map(|case| one(folder, case)).collect()
}

fn one(folder: &Path, case: &Value) -> Judged {
    let text = |key: &str| case[key].as_str().unwrap_or_default();
    let name = format!("{} ({})", text("name"), text("base"));
    let (old, new) = (source(folder, text("base")), source(folder, text("revision")));
    let judgement = match diff_as(Kind::OpenApi, &old, &new, &Options::default()) {
        Ok(report) => match expected(case) {
            (expected, true) => judge(expected, &report),
            // Only the changes of one rule are known, so that others may break: nothing of it can be wrong.
            (expected, false) => match judge(expected, &report) {
                Judgement::Agrees => Judgement::Agrees,
                _ => Judgement::Differs(format!("one rule says {expected:?}; {}", summary(&report))),
            },
        },
        Err(errors) => Judgement::Wrong(format!("{errors:?}")),
    };
    Judged { name, judgement }
}

/// What the peer says, and whether that is its whole verdict.
fn expected(case: &Value) -> (Expected, bool) {
    let changes = case["expect"].as_array().map(Vec::as_slice).unwrap_or_default();
    let exact_nothing = case["scope"] == "all" && changes.is_empty();
    match case["verdict"].as_str() {
        _ if exact_nothing => (Expected::Nothing, true),
        Some("breaking") => (Expected::Breaking, true),
        Some(_) => (Expected::Harmless, true),
        None if changes.iter().any(|change| change["level"] == "ERR") => (Expected::Breaking, false),
        None => (Expected::Harmless, false),
    }
}

/// The file with all others in its folder, which it may refer to.
fn source(folder: &Path, file: &str) -> Source {
    let path = folder.join(file);
    let mut source = Source::file(file, read(&path));
    let siblings = path.parent().map(walk).unwrap_or_default();
    for sibling in siblings.iter().filter(|sibling| **sibling != path) {
        if let Ok(relative) = sibling.strip_prefix(folder) {
            source = source.with_file(relative.to_string_lossy(), read(sibling));
        }
    }
    source
}
