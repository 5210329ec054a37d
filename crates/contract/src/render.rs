//! Reports as text for a terminal, as Markdown for a review, and as SARIF for code hosts. Pure strings; no colours.

mod markdown;
mod sarif;
mod text;

pub use markdown::markdown;
pub use sarif::sarif;
pub use text::text;

use crate::{Change, Report, Verdict};

/// The first line of every form: the verdict in words.
fn headline(report: &Report) -> String {
    let verdict = match report.verdict {
        Verdict::Compatible => "compatible",
        Verdict::Breaking => "breaking",
        Verdict::NotChecked => "not checked",
    };
    let breaks = report.changes.iter().filter(|change| change.breaks()).count();
    let answer = |may: bool| if may { "yes" } else { "no" };
    format!(
        "{verdict}: {breaks} breaking of {} changes, {} not checked; bump owed: {}; may deploy: {}; may roll back: {}",
        report.changes.len(),
        report.not_checked.len(),
        report.bump,
        answer(report.may_deploy),
        answer(report.may_roll_back),
    )
}

/// Where a change is, in the contract that shows it best.
fn location(change: &Change) -> Option<String> {
    change.new.as_ref().or(change.old.as_ref()).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Options, Source, diff_as};

    fn report() -> Report {
        let old = r#"{"type": "object", "properties": {"n": {"maximum": 10, "type": "integer"}}}"#;
        let new =
            "{\"type\": \"object\",\n \"properties\": {\"n\": {\"maximum\": 5, \"type\": \"integer\"}}}";
        let source = |text: &str| Source::file("a|b.json", text.as_bytes());
        diff_as(Kind::JsonSchema, &source(old), &source(new), &Options::default()).expect("valid input")
    }

    #[test]
    fn text_names_the_rule_the_place_and_the_witness() {
        let text = text(&report());
        assert!(text.starts_with("breaking: 1 breaking of 1 changes"), "{text}");
        for part in ["error", "message-maximum-lowered", "a|b.json:2", "/properties/n", "witness: {\"n\":6}"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn markdown_escapes_what_would_break_its_table() {
        let markdown = markdown(&report());
        assert!(markdown.contains("a\\|b.json:2"), "{markdown}");
    }

    #[test]
    fn sarif_lists_rules_and_results_with_lines() {
        let sarif = sarif(&report());
        let run = &sarif["runs"][0];
        assert_eq!(run["results"][0]["ruleId"], "message-maximum-lowered");
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "message-maximum-lowered");
        let region = &run["results"][0]["locations"][0]["physicalLocation"]["region"];
        assert_eq!(region["startLine"], 2);
    }
}
