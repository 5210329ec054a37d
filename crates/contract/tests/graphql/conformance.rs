//! Agreement with the public cases, when `LOCKSTEP_CASES` names their folder.

use std::{fs, path::Path};

use lockstep_contract::{Level, Verdict};
use serde_json::Value;

use super::report;

#[test]
fn nothing_that_the_peer_reports_passes_unseen() {
    let Ok(cases) = std::env::var("LOCKSTEP_CASES") else {
        println!("skipped: LOCKSTEP_CASES does not name the folder of cases");
        return;
    };
    let text = fs::read_to_string(Path::new(&cases).join("graphql/cases.json")).expect("cases.json is there");
    let list: Vec<Value> = serde_json::from_str(&text).expect("cases.json is JSON");
    let (mut judged, mut differences) = (0, Vec::new());
    for case in &list {
        let side = |name: &str| case[name].as_str().expect("SDL").to_owned();
        let report = report(&side("old"), &side("new"));
        let reported = case["changes"].as_array().is_some_and(|changes| !changes.is_empty());
        let worst = report.changes.iter().map(|change| change.level).max();
        judged += 1;
        let agrees = match case["kind"].as_str() {
            Some("breaking") if reported => report.verdict == Verdict::Breaking,
            Some("dangerous") if reported => {
                worst >= Some(Level::Warning) && report.verdict == Verdict::Compatible
            }
            _ => report.changes.is_empty(),
        };
        if !agrees {
            differences.push(format!("{}: {:?}", case["name"], report.changes));
        }
    }
    println!("{judged} pairs");
    assert!(judged > 0, "there are cases");
    assert!(differences.is_empty(), "{differences:#?}");
}
