//! Reports as text for a terminal, as Markdown for a review, as a page to browse, and as SARIF for code hosts. Pure strings; no colours.

mod group;
mod html;
mod markdown;
mod sarif;
mod summary;
mod text;
mod view;
mod witness;

pub use html::html;
pub use markdown::markdown;
pub use sarif::sarif;
pub use text::text;
pub use view::View;

use crate::{Change, Flow, Report, Verdict};

/// The first lines of every form: the verdict in words, and what it means for the version.
fn headline(report: &Report) -> String {
    let verdict = match report.verdict {
        Verdict::Compatible => "compatible",
        Verdict::Breaking => "breaking",
        Verdict::NotChecked => "not checked",
    };
    let breaks = report.changes.iter().filter(|change| change.breaks()).count();
    let answer = |may: bool| if may { "yes" } else { "no" };
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!(
        "{verdict}: {}, {breaks} breaking, {} not checked\nbump owed: {}; may deploy: {}; may roll back: {}",
        count(report.changes.len(), "change"),
        report.not_checked.len(),
        report.bump,
        answer(report.may_deploy),
        answer(report.may_roll_back),
    )
}

/// Whom a change of its flow breaks.
fn hurts(change: &Change) -> &'static str {
    match change.flow {
        Flow::Request => "consumers that send it",
        Flow::Response => "consumers that receive it",
        Flow::Message => "whoever reads what the other side writes",
        Flow::Storage => "the version before, which still runs on the new schema",
    }
}

/// Where a change is, in the contract that shows it best.
fn location(change: &Change) -> Option<String> {
    change.new.as_ref().or(change.old.as_ref()).map(ToString::to_string)
}

/// What a witness is: an operation of GraphQL whose answer surprises is still taken, and so is a query whose rows are others.
pub(crate) fn witness_title(change: &Change) -> &'static str {
    let has = |part: &str| change.shown().is_some_and(|witness| witness.get(part).is_some());
    if has("operation") && change.flow == Flow::Response || has("was") {
        "was fine, is answered otherwise now"
    } else {
        "was fine, fails now"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Options, Parsed, Source, diff_as, diff_parsed};

    fn report() -> Report {
        let old = r#"{"type": "object", "properties": {"n": {"maximum": 10, "type": "integer"}}}"#;
        let new =
            "{\"type\": \"object\",\n \"properties\": {\"n\": {\"maximum\": 5, \"type\": \"integer\"}}}";
        let source = |text: &str| Source::file("a|b.json", text.as_bytes());
        let (old, new) = (source(old), source(new));
        let [before, after] =
            [&old, &new].map(|side| Parsed::read(side, Kind::JsonSchema).expect("valid input"));
        let mut report = diff_parsed(&before, &after, &Options::default()).expect("valid input");
        let tried = report.run_witnesses(&before, &after, &Options::default());
        assert_eq!(tried.confirmed, 1);
        report
    }

    #[test]
    fn text_says_what_breaks_whom_and_shows_it() {
        assert_eq!(
            text(&report(), View::default()),
            "breaking: 1 change, 1 breaking, 0 not checked
bump owed: major; may deploy: no; may roll back: yes

error: in a message, the maximum is lower: 10 before, 5 now; the message
  where: /properties/n
  old:   a|b.json:1
  new:   a|b.json:2
  hurts: whoever reads what the other side writes
  why:   In a message, the maximum is lower. Messages of the old schema, those already stored
         included, may no longer be accepted. When the owner of the schema writes, this is
         harmless.
  rule:  message-maximum-lowered
  was fine, fails now:
    {\"n\":6}
"
        );
    }

    #[test]
    fn markdown_escapes_what_would_break_its_table() {
        let markdown = markdown(&report(), View::default());
        assert!(markdown.contains("a\\|b.json:2"), "{markdown}");
    }

    /// An API with this many operations, of which each may have its parameter.
    fn many(operations: usize, parameter: &str) -> Report {
        let path = |index: usize, parameter: &str| {
            format!("\"/things{index}\": {{\"get\": {{\"parameters\": [{parameter}], \"responses\": {{}}}}}}")
        };
        let document = |parameter: &str, count: usize| {
            let paths: Vec<String> = (0..count).map(|index| path(index, parameter)).collect();
            format!("{{\"openapi\": \"3.1.0\", \"info\": {{}}, \"paths\": {{{}}}}}", paths.join(","))
        };
        let source = |text: String| Source::file("a.json", text.into_bytes());
        let (old, new) = (document("", operations), document(parameter, operations * 2));
        diff_as(Kind::OpenApi, &source(old), &source(new), &Options::default()).expect("valid input")
    }

    #[test]
    fn hundreds_of_changes_begin_with_a_summary_and_name_what_is_alike_once() {
        let report = many(200, r#"{"name": "tenant", "in": "header", "required": true}"#);
        let text = text(&report, View { all: true, ..View::default() });
        assert!(text.contains("\nsummary:\n     200 error    required-request-parameter-added\n     200 info     operation-added\n"), "{text}");
        assert!(text.contains("\nwho is hurt:\n     200 consumers that send it\nwhere the breaks are: one each in 200 places\n"), "{text}");
        assert!(text.lines().count() < 370, "{} lines", text.lines().count());
        let roll_back = text.split("may not roll back").nth(1).expect("told");
        assert_eq!(roll_back.matches("operation-removed").count(), 1, "{roll_back}");
        let all_are_named =
            (200..400).all(|index| roll_back.contains(&format!("/paths/~1things{index}/get")));
        assert!(all_are_named, "{roll_back}");
    }

    #[test]
    fn what_is_left_out_is_counted_unless_all_is_wanted() {
        let report = many(200, r#"{"name": "tenant", "in": "header", "required": true}"#);
        let shown = text(&report, View::default());
        assert!(shown.lines().count() < 70, "{shown}");
        assert_eq!(shown.matches("and 189 more\n").count(), 1, "{shown}");
        assert_eq!(shown.matches("and 190 more\n").count(), 2, "{shown}");
    }

    #[test]
    fn only_breaking_leaves_out_what_breaks_nobody_and_nothing_else() {
        let report = many(200, r#"{"name": "tenant", "in": "header", "required": true}"#);
        let only = View { only_breaking: true, ..View::default() };
        let shown = text(&report, only);
        assert!(shown.contains("400 changes, 200 breaking") && shown.contains("error: "), "{shown}");
        assert!(!shown.contains("breaks nobody") && shown.contains("may not roll back"), "{shown}");
        assert!(!markdown(&report, only).contains("| info |"));
        assert!(!html(&report, only).contains("id=\"operation-added\""));
    }

    #[test]
    fn a_page_names_every_change_once_and_runs_nothing() {
        let report = many(200, r#"{"name": "<script>alert(1)</script>", "in": "header", "required": true}"#);
        let page = html(&report, View::default());
        for index in 0..200 {
            let place = format!("<code>/paths/~1things{index}/get/parameters");
            assert_eq!(page.matches(&place).count(), 1, "{place} in {page}");
        }
        assert_eq!(page.matches("id=\"required-request-parameter-added\"").count(), 1);
        assert!(page.contains("href=\"#required-request-parameter-added\""));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn markdown_stays_below_what_forges_take() {
        let report = many(2_000, r#"{"name": "tenant", "in": "header", "required": true}"#);
        let text = markdown(&report, View::default());
        assert!(text.chars().count() < 60_000, "{}", text.chars().count());
        assert!(text.contains("more changes are left out"), "{}", &text[text.len() - 300..]);
        assert!(!markdown(&many(2, ""), View::default()).contains("left out"));
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
