//! GraphQL: pairs of schemas in SDL, and the breaking or dangerous changes that a peer finds in them.

use std::path::Path;

use lockstep_contract::{Kind, Level, Options, Source, Verdict};
use serde_json::Value;

use crate::witnesses::diff_as;

use crate::{Expected, Judged, Judgement, judge, summary};

pub(crate) fn run(_: &Path, cases: &[Value]) -> Vec<Judged> {
    cases.iter().map(one).collect()
}

fn one(case: &Value) -> Judged {
    let name = case["name"].as_str().unwrap_or_default().to_owned();
    let side = |key: &str| Source::file("schema.graphql", case[key].as_str().unwrap_or_default().as_bytes());
    let report = match diff_as(Kind::GraphQl, &side("old"), &side("new"), &Options::default()) {
        Ok(report) => report,
        Err(errors) => return Judged { name, judgement: Judgement::Wrong(format!("{errors:?}")) },
    };
    let reports = case["changes"].as_array().is_some_and(|changes| !changes.is_empty());
    let judgement = match (case["kind"].as_str(), reports) {
        (Some("breaking"), true) => judge(Expected::Breaking, &report),
        // The peer was asked for breaking changes only, or only for dangerous ones: nothing of the other kind is known.
        (Some("dangerous"), true) if report.verdict == Verdict::Compatible => {
            let noticed = report.changes.iter().any(|change| change.level >= Level::Warning);
            if noticed {
                Judgement::Agrees
            } else {
                Judgement::Differs(format!("the peer warns; {}", summary(&report)))
            }
        }
        (Some("dangerous"), true) => judge(Expected::Harmless, &report),
        _ => judge(Expected::Nothing, &report),
    };
    Judged { name, judgement }
}
