//! Protobuf: trees of `.proto` files, judged under each category of a peer by the policy that is nearest to it.

use std::path::Path;

use lockstep_contract::{Kind, Options, ProtobufPolicy, Source};
use serde_json::Value;

use crate::files::{read, walk};
use crate::witnesses::diff_as;
use crate::{Expected, Judged, Judgement, judge};

/// The categories of the peer, and what they come to here.
const CATEGORIES: [(&str, ProtobufPolicy); 4] = [
    ("FILE", ProtobufPolicy::Source),
    ("PACKAGE", ProtobufPolicy::Source),
    ("WIRE_JSON", ProtobufPolicy::Json),
    ("WIRE", ProtobufPolicy::Wire),
];

pub(crate) fn run(folder: &Path, cases: &[Value]) -> Vec<Judged> {
    cases.iter().flat_map(|case| one(folder, case)).collect()
}

fn one(folder: &Path, case: &Value) -> Vec<Judged> {
    let name = case["name"].as_str().unwrap_or_default();
    let side = |side: &str| tree(&folder.join(name).join(side));
    let (old, new) = (side("previous"), side("current"));
    let judged = CATEGORIES.iter().map(|(category, protobuf)| {
        let options = Options { protobuf: *protobuf, ..Options::default() };
        let breaking = case["breaking"][category] == true;
        let expected = if breaking { Expected::Breaking } else { Expected::Nothing };
        let judgement = match diff_as(Kind::Protobuf, &old, &new, &options) {
            // Our strictest policy stands for FILE; the peer's PACKAGE lets more pass.
            Ok(report) if *category == "PACKAGE" && !breaking => judge(Expected::Harmless, &report),
            Ok(report) => judge(expected, &report),
            Err(errors) => Judgement::Wrong(format!("{errors:?}")),
        };
        Judged { name: format!("{name} {category}"), judgement }
    });
    judged.collect()
}

/// Reads a folder of `.proto` files, with paths relative to it.
fn tree(folder: &Path) -> Source {
    let files =
        walk(folder).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "proto"));
    Source::tree(files.map(|path| {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        (name, read(&path))
    }))
}
