//! GraphQL: root fields with all below them, or operations with what they select.

use lockstep_contract::{Fit, Kind, Options, Source, Verdict, fit_as, operations};

use super::{found, try_fit};

const SHOP: &str = "
    type Query { order(id: ID!, by: By): Order items(filter: Filter): [Item!] version: String }
    type Mutation { cancel(id: ID!): Boolean }
    interface Node { id: ID! }
    type Order implements Node { id: ID! total: Int! state: State }
    enum State { OPEN HELD }
    enum By { NAME DATE }
    input Filter { text: String owner: Owner }
    input Owner { name: String }
    union Item = Book | Film
    type Book { title: String } type Film { title: String }
    directive @mask(with: String) on FIELD
    directive @internal on FIELD_DEFINITION
";

fn shop(fields: &[&str], documents: Option<&str>, offered: &str) -> Fit {
    let source = |text: &str| Source::file("shop.graphql", text.as_bytes());
    let options = Options {
        graphql_operations: documents.map(|text| Source::file("client.graphql", text.as_bytes())),
        ..Options::default()
    };
    let fields: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
    fit_as(Kind::GraphQl, &source(SHOP), &fields, &source(offered), &options).expect("both sides are valid")
}

#[test]
fn a_root_field_uses_all_below_it_and_nothing_beside() {
    for (text, instead, used, unused) in [
        ("order(id: ID!, by: By): Order", "", "Query.order", "Query.items"),
        ("total: Int!", "total: Int", "Query.order", "Query.items"),
        ("by: By", "by: By!", "Query.order", "Query.version"),
        (" DATE", "", "Query.order", "Query.items"),
        ("implements Node", "", "Query.order", "Query.items"),
        ("interface Node { id: ID! }", "interface Node { key: ID! }", "Query.order", "Query.items"),
        ("owner: Owner", "owner: Owner!", "Query.items", "Query.order"),
        ("input Owner { name: String }", "input Owner { name: Int }", "Query.items", "Query.order"),
        (" | Film", "", "Query.items", "Mutation.cancel"),
        ("type Film { title: String }", "type Film { name: String }", "Query.items", "Query.order"),
        ("type Mutation { cancel(id: ID!): Boolean }", "", "Mutation.cancel", "Query.order"),
    ] {
        assert!(SHOP.contains(text), "{text}");
        let offered = SHOP.replace(text, instead);
        let hurt = shop(&[used], None, &offered);
        assert_eq!(hurt.verdict, Verdict::Breaking, "{text}: {used}: {:#?}", hurt.changes);
        let unhurt = shop(&[unused], None, &offered);
        assert_eq!(unhurt.verdict, Verdict::Compatible, "{text}: {unused}: {:#?}", unhurt.changes);
        assert!(found(&unhurt).is_empty(), "{text}: {unused}: {:#?}", unhurt.changes);
    }
}

#[test]
fn whoever_names_fields_may_use_every_directive_of_operations() {
    let without = |text: &str| SHOP.replace(text, "");
    let mask = without("directive @mask(with: String) on FIELD\n");
    assert_eq!(shop(&["Query.version"], None, &mask).verdict, Verdict::Breaking);
    assert_eq!(shop(&[], Some("{ version }"), &mask).verdict, Verdict::Compatible);
    let internal = without("directive @internal on FIELD_DEFINITION");
    assert_eq!(shop(&["Query.version"], None, &internal).verdict, Verdict::Compatible);
}

#[test]
fn operations_say_more_than_root_fields() {
    let offered = SHOP.replace("total: Int!", "");
    assert_eq!(shop(&["Query.order"], None, &offered).verdict, Verdict::Breaking);
    assert_eq!(shop(&[], Some("{ order(id: 1) { id } }"), &offered).verdict, Verdict::Compatible);
    assert_eq!(shop(&[], Some("{ order(id: 1) { total } }"), &offered).verdict, Verdict::Breaking);
    let both = shop(&["Query.version"], Some("{ order(id: 1) { total } }"), &offered);
    assert_eq!(both.verdict, Verdict::Breaking, "operations count beside fields");
}

#[test]
fn a_warning_is_told_where_it_is_used() {
    let offered = SHOP.replace("OPEN HELD", "OPEN HELD LOST");
    assert_eq!(found(&shop(&["Query.order"], None, &offered)), [("graphql-enum-value-added", "State.LOST")]);
    assert!(found(&shop(&["Query.items"], None, &offered)).is_empty());
}

#[test]
fn a_field_that_is_not_there_is_an_error_with_the_nearest() {
    let errors =
        try_fit(Kind::GraphQl, "shop.graphql", SHOP, &["Query.orders"], SHOP).expect_err("not there");
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `Query.order`?"));
}

#[test]
fn all_root_fields_are_listed() {
    let listed = operations(&Source::file("shop.graphql", SHOP.as_bytes())).expect("valid");
    assert_eq!(listed, ["Mutation.cancel", "Query.items", "Query.order", "Query.version"]);
}
