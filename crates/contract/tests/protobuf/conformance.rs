//! Agreement with the public cases, when `LOCKSTEP_CASES` names their folder.

use std::{collections::BTreeMap, fs, path::Path};

use lockstep_contract::{Kind, ProtobufPolicy, Source, Verdict, diff_as};
use serde_json::Value;

use super::under;

/// Reads a folder of `.proto` files, with paths relative to it.
fn tree(folder: &Path) -> Source {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "proto") {
                let name = path.strip_prefix(folder).expect("inside").to_string_lossy().into_owned();
                files.insert(name, fs::read(&path).expect("the file can be read"));
            }
        }
    }
    Source::tree(files)
}

#[test]
fn nothing_that_the_peer_calls_breaking_is_compatible() {
    let Ok(cases) = std::env::var("LOCKSTEP_CASES") else {
        println!("skipped: LOCKSTEP_CASES does not name the folder of cases");
        return;
    };
    let folder = Path::new(&cases).join("protobuf");
    let text = fs::read_to_string(folder.join("cases.json")).expect("cases.json is there");
    let list: Vec<Value> = serde_json::from_str(&text).expect("cases.json is JSON");
    let (mut judged, mut missed, mut stricter, mut undecided) = (0, Vec::new(), Vec::new(), Vec::new());
    for case in &list {
        let name = case["name"].as_str().expect("a name");
        let (old, new) =
            (tree(&folder.join(name).join("previous")), tree(&folder.join(name).join("current")));
        for (category, policy) in [
            ("FILE", ProtobufPolicy::Source),
            ("PACKAGE", ProtobufPolicy::Source),
            ("WIRE_JSON", ProtobufPolicy::Json),
            ("WIRE", ProtobufPolicy::Wire),
        ] {
            let breaking = case["breaking"][category].as_bool().expect("a verdict");
            let report = diff_as(Kind::Protobuf, &old, &new, &under(policy))
                .unwrap_or_else(|errors| panic!("{name} cannot be read: {errors:?}"));
            judged += 1;
            match (breaking, report.verdict) {
                (true, Verdict::Breaking) | (false, Verdict::Compatible) => {}
                (_, Verdict::NotChecked) => undecided.push(format!("{name} {category}")),
                (true, Verdict::Compatible) => missed.push(format!("{name} {category}")),
                (false, Verdict::Breaking) => {
                    let rules: Vec<_> = report
                        .changes
                        .iter()
                        .filter(|change| change.breaks())
                        .map(|change| change.rule.id)
                        .collect();
                    stricter.push(format!("{name} {category}: {rules:?}"));
                }
            }
        }
    }
    println!("{judged} verdicts; stricter {stricter:#?}; not checked {undecided:#?}");
    assert!(judged > 0, "there are cases");
    assert!(missed.is_empty(), "called compatible although the peer calls it breaking: {missed:#?}");
}
