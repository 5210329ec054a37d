//! Answers to introspection queries, as an independent implementation gives them.

use apollo_compiler::introspection::partial_execute;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::{ExecutableDocument, Schema};
use lockstep_contract::{Kind, Options, Report, Source, Verdict, detect, diff_as};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::properties::schema;
use super::{found, report};

/// What tools ask, with all that may be deprecated.
const QUERY: &str = "
query { __schema {
  description queryType { name } mutationType { name } subscriptionType { name }
  types { ...Full }
  directives { name description isRepeatable locations args(includeDeprecated: true) { ...Input } }
} }
fragment Full on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) {
    name description args(includeDeprecated: true) { ...Input } type { ...Ref } isDeprecated deprecationReason
  }
  inputFields(includeDeprecated: true) { ...Input }
  interfaces { ...Ref }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...Ref }
}
fragment Input on __InputValue { name description type { ...Ref } defaultValue isDeprecated deprecationReason }
fragment Ref on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } }
";

const SHOP: &str = "
\"What a shop sells.\"
type Query { item(id: ID!, in: [Place!] = [SHELF], like: Filter = {text: \"a\", most: 3}): Item node: Node search: [Found!]! }
type Mutation { buy(id: ID!): Item! }
interface Node { id: ID! }
type Item implements Node { id: ID! name: String! price: Money old: Int @deprecated(reason: \"gone\") }
type Store implements Node { id: ID! }
union Found = Item | Store
enum Place { SHELF CELLAR @deprecated }
input Filter { text: String most: Int = 10 }
scalar Money @specifiedBy(url: \"https://money.test\")
directive @cached(for: Int = 5) repeatable on FIELD | QUERY
";

/// What a server of this schema answers.
fn answer(sdl: &str) -> Value {
    let schema = Schema::parse_and_validate(sdl, "schema.graphql").expect("a valid schema");
    let document =
        ExecutableDocument::parse_and_validate(&schema, QUERY, "query.graphql").expect("a valid query");
    let operation = document.operations.get(None).expect("one operation");
    let variables = coerce_variable_values(&schema, operation, &Default::default()).expect("no variables");
    let answer = partial_execute(&schema, &schema.implementers_map(), &document, operation, &variables);
    serde_json::to_value(answer.expect("an answer")).expect("JSON")
}

fn source(answer: &Value) -> Source {
    Source::file("schema.json", format!("{answer:#}").into_bytes())
}

fn compare(old: &Source, new: &Source) -> Report {
    diff_as(Kind::GraphQl, old, new, &Options::default()).expect("both can be read")
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut changed = answer(SHOP);
    change(&mut changed);
    let source = source(&changed);
    let errors = diff_as(Kind::GraphQl, &source, &source, &Options::default()).expect_err("it is refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn of_type<'a>(answer: &'a mut Value, name: &str) -> &'a mut Value {
    let types = answer.pointer_mut("/data/__schema/types").and_then(Value::as_array_mut).expect("types");
    types.iter_mut().find(|one| one["name"] == name).expect("the type")
}

#[test]
fn an_answer_is_the_schema_that_it_came_from() {
    let answer = answer(SHOP);
    for answer in [answer.clone(), answer["data"].clone()] {
        let source = source(&answer);
        assert_eq!(detect(&source), Some(Kind::GraphQl));
        for (old, new) in [(super::source(SHOP), source.clone()), (source, super::source(SHOP))] {
            let report = compare(&old, &new);
            assert_eq!((found(&report), report.verdict), (Vec::new(), Verdict::Compatible), "{report:#?}");
        }
    }
}

#[test]
fn a_break_has_its_line_in_the_answer() {
    let (old, mut new) = (answer(SHOP), answer(SHOP));
    let fields = of_type(&mut new, "Item")["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["name"] != "price");
    let report = compare(&source(&old), &source(&new));
    assert_eq!(found(&report), [("graphql-field-removed", "Item.price")]);
    let line = report.changes[0].old.as_ref().unwrap().line as usize;
    let text = format!("{old:#}");
    let after: Vec<&str> = text.lines().skip(line - 1).take(20).collect();
    assert!(
        after[0].trim() == "{" && after.iter().any(|line| line.contains("\"name\": \"price\"")),
        "{after:#?}"
    );
}

#[test]
fn what_was_not_asked_for_is_an_error_and_no_smaller_schema() {
    for (key, what) in
        [("fields", "Item"), ("enumValues", "Place"), ("possibleTypes", "Found"), ("inputFields", "Filter")]
    {
        let error = refused(|answer| drop(of_type(answer, what).as_object_mut().unwrap().remove(key)));
        assert!(error.contains(&format!("has no `{key}`")) && error.contains("schema.json:"), "{error}");
    }
    let error = refused(|answer| {
        drop(of_type(answer, "Item")["fields"][0].as_object_mut().unwrap().remove("isDeprecated"));
    });
    assert!(error.contains("has no `isDeprecated`"), "{error}");
    let error = refused(|answer| of_type(answer, "Query")["fields"][2]["type"]["ofType"] = Value::Null);
    assert!(error.contains("the whole of `type`"), "{error}");
    let error = refused(|answer| of_type(answer, "Item")["isInvisible"] = json!(true));
    assert!(error.contains("`isInvisible` is not known here"), "{error}");
    let error = refused(|answer| {
        *answer = json!({"errors": [{"message": "no __schema here", "path": ["__schema"]}]});
    });
    assert!(error.contains("has no `__schema`"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn answers_compare_as_the_schemas_that_they_came_from(old in schema(), new in schema()) {
        let whole = |parts: &[String]| format!("type Query {{ t: T u: U }}\n{}", parts.join("\n"));
        let (old, new) = (whole(&old), whole(&new));
        let written = report(&old, &new);
        let answered = compare(&source(&answer(&old)), &source(&answer(&new)));
        prop_assert_eq!(found(&written), found(&answered));
        prop_assert_eq!(written.may_roll_back, answered.may_roll_back);
    }
}
