//! Operations in use: only what they use can break.

use lockstep_contract::{Kind, Level, Options, Report, Source, Verdict, diff_as};

use super::source;

const OLD: &str = "
    type Query { order(id: ID!, by: By): Order items(filter: Filter): [Item!] }
    type Order { id: ID! total: Int! state: State note: String }
    enum State { OPEN HELD }
    enum By { NAME DATE }
    input Filter { text: String owner: ID }
    union Item = Book | Film
    type Book { title: String } type Film { title: String }
    directive @mask(with: String) on FIELD
";

fn with_operations(new: &str, operations: &str) -> Report {
    let options = Options {
        graphql_operations: Some(Source::file("client.graphql", operations.as_bytes())),
        ..Options::default()
    };
    diff_as(Kind::GraphQl, &source(OLD), &source(new), &options).expect("valid")
}

#[test]
fn only_what_operations_use_breaks() {
    let cases = [
        ("total: Int! ", "", "{ order(id: 1) { total } }", "{ order(id: 1) { id } }"),
        ("total: Int!", "total: Int", "{ order(id: 1) { total } }", "{ order(id: 1) { id } }"),
        ("by: By", "", "{ order(id: 1, by: NAME) { id } }", "{ order(id: 1) { id } }"),
        ("by: By", "by: By!", "{ order(id: 1) { id } }", "{ items { __typename } }"),
        (" DATE", "", "query($by: By) { order(id: 1, by: $by) { id } }", "{ order(id: 1, by: NAME) { id } }"),
        (
            " owner: ID",
            "",
            "{ items(filter: {owner: 1}) { __typename } }",
            "{ items(filter: {text: \"a\"}) { __typename } }",
        ),
        (
            " owner: ID",
            "",
            "query($f: Filter) { items(filter: $f) { __typename } }",
            "{ items { __typename } }",
        ),
        (
            "owner: ID",
            "owner: ID!",
            "{ items(filter: {text: \"a\"}) { __typename } }",
            "{ items { __typename } }",
        ),
        (
            " | Film",
            "",
            "{ items { ...f } } fragment f on Film { title }",
            "{ items { ... on Book { title } } }",
        ),
        (
            "directive @mask(with: String) on FIELD",
            "",
            "{ order(id: 1) { id @mask } }",
            "{ order(id: 1) { id } }",
        ),
        ("(with: String)", "", "{ order(id: 1) { id @mask(with: \"x\") } }", "{ order(id: 1) { id @mask } }"),
    ];
    for (text, instead, hurt, unhurt) in cases {
        assert!(OLD.contains(text));
        let new = OLD.replace(text, instead);
        let hurt_report = with_operations(&new, hurt);
        assert_eq!(hurt_report.verdict, Verdict::Breaking, "{text}: {hurt}: {:#?}", hurt_report.changes);
        let unhurt_report = with_operations(&new, unhurt);
        assert_eq!(
            unhurt_report.verdict,
            Verdict::Compatible,
            "{text}: {unhurt}: {:#?}",
            unhurt_report.changes
        );
        let lowered = unhurt_report.changes.iter().any(|change| {
            change.level == Level::Warning && change.message.ends_with("no known operation uses it")
        });
        assert!(lowered, "{text}: {:#?}", unhurt_report.changes);
    }
}

#[test]
fn adding_is_rolled_back_freely_while_no_operation_uses_it() {
    let new = OLD.replace("note: String", "note: String tax: Int");
    assert!(with_operations(&new, "{ order(id: 1) { id } }").may_roll_back);
    assert!(!with_operations(&new, "{ order(id: 1) { id tax } }").may_roll_back);
}

#[test]
fn an_operation_for_another_schema_is_not_checked() {
    let report = with_operations(OLD, "{\n  order(id: 1) { gone } }");
    assert_eq!(report.verdict, Verdict::NotChecked);
    assert_eq!(report.not_checked[0].place, "client.graphql:2");
    assert!(report.not_checked[0].reason.ends_with("`Order` has no field `gone`"));
}

#[test]
fn fragments_that_spread_each_other_end() {
    let cyclic =
        "{ order(id: 1) { ...a } } fragment a on Order { id ...b } fragment b on Order { note ...a }";
    assert_eq!(with_operations(&OLD.replace("note: String", ""), cyclic).verdict, Verdict::Breaking);
}
