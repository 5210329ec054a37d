//! What must come of a pair that differs in one field.

use lockstep_contract::specification::{Field, Treatment};
use lockstep_contract::{Kind, Level, Options, Report, Source, Verdict, diff_as};
use serde_json::Value;

/// Fields of which one direction is nobody's concern: more may be sent, or more is promised.
const ONE_WAY: [(&str, &str); 3] =
    [("Parameter", "allowEmptyValue"), ("Parameter", "allowReserved"), ("Header", "required")];

/// Compares two documents both ways, and the second with the first as its own comparison.
pub(crate) fn both_ways(kind: Kind, old: &Value, new: &Value) -> [Report; 2] {
    let source = |document: &Value| Source::file("contract.json", document.to_string().into_bytes());
    let diff = |old, new| diff_as(kind, &source(old), &source(new), &Options::default()).expect("readable");
    [diff(old, new), diff(new, old)]
}

/// Asserts that a field ends as its list says.
#[track_caller]
pub(crate) fn assert_treated(kind: Kind, field: &Field, old: &Value, new: &Value) {
    let reports = both_ways(kind, old, new);
    let what = format!("`{}` of {}", field.name, field.object);
    match field.treatment {
        Treatment::Compared(rule) => {
            let ids = reports.iter().flat_map(|report| &report.changes).map(|change| change.rule.id);
            let ids: Vec<&str> = ids.collect();
            assert!(
                ids.contains(&rule),
                "{what}: no {rule} among {ids:?}, {:?}",
                reports.map(|report| report.not_checked)
            );
            for report in &reports {
                let silent = report.changes.is_empty() && report.not_checked.is_empty();
                assert!(
                    !silent || ONE_WAY.contains(&(field.object, field.name)),
                    "{what} says nothing one way"
                );
            }
        }
        Treatment::Harmless(why) => {
            assert!(!why.is_empty(), "{what} has no reason");
            for report in &reports {
                let calm = report.changes.iter().all(|change| change.level < Level::Error);
                assert!(report.verdict == Verdict::Compatible && calm, "{what}: {report:#?}");
            }
        }
        Treatment::NotChecked => assert_open(&reports, field.name),
    }
}

/// Asserts that nothing is known in either direction, and that the place is named.
#[track_caller]
pub(crate) fn assert_open(reports: &[Report], name: &str) {
    for report in reports {
        assert_eq!(report.verdict, Verdict::NotChecked, "`{name}`: {report:#?}");
        let named = |text: &str| text.contains(&name.replace('/', "~1")) || text.contains(name);
        let told = report.not_checked.iter().any(|open| named(&open.place) || named(&open.reason));
        assert!(told, "{report:#?}");
        assert!(!report.may_deploy && !report.may_roll_back, "`{name}`: {report:#?}");
    }
}
