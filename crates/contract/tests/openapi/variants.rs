//! Variants of unions: what stands for what, and what "exactly one" means.

use lockstep_contract::{Options, UnknownFields, Verdict};
use serde_json::{Value, json};

use super::support::{assert_found, diff, diff_with, with_answer, with_body};

/// An object that names these properties and requires none.
fn named(title: &str, properties: &[&str]) -> Value {
    let properties: Value =
        properties.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    json!({"title": title, "type": "object", "properties": properties})
}

fn union(variants: &[&Value]) -> Value {
    json!({"oneOf": variants})
}

#[test]
fn a_new_variant_of_a_response_breaks_although_open_objects_allow_it() {
    let (dog, cat, rabbit) =
        (named("Dog", &["name", "bark"]), named("Cat", &["name", "meow"]), named("Rabbit", &["name", "hop"]));
    let (two, three) = (union(&[&dog, &cat]), union(&[&dog, &cat, &rabbit]));
    assert_found(
        &diff(&with_answer(&two), &with_answer(&three)),
        Verdict::Breaking,
        "response-variant-added",
    );
    assert_eq!(diff(&with_answer(&three), &with_answer(&two)).verdict, Verdict::Compatible);
    assert_eq!(diff(&with_body(&two), &with_body(&three)).verdict, Verdict::Compatible);
    assert_found(&diff(&with_body(&three), &with_body(&two)), Verdict::Breaking, "request-variant-removed");
    let one = union(&[&dog]);
    assert_found(&diff(&with_answer(&one), &with_answer(&two)), Verdict::Breaking, "response-variant-added");
}

#[test]
fn a_new_variant_counts_even_when_its_documents_fit_another() {
    let (dog, cat, hare) =
        (named("Dog", &["name", "bark"]), named("Cat", &["name"]), named("Hare", &["name"]));
    let (two, three) = (union(&[&dog, &cat]), union(&[&dog, &cat, &hare]));
    assert_found(
        &diff(&with_answer(&two), &with_answer(&three)),
        Verdict::Breaking,
        "response-variant-added",
    );
    assert_found(&diff(&with_body(&three), &with_body(&two)), Verdict::Breaking, "request-variant-removed");
}

#[test]
fn a_variant_is_compared_with_its_namesake_and_not_with_an_open_neighbour() {
    let fox = |breeds: &[&str]| json!({"title": "Fox", "type": "object", "properties": {"breed": {"enum": breeds}}});
    let cat = named("Cat", &["name"]);
    let with = |breeds: &[&str]| with_answer(&json!({"anyOf": [cat, fox(breeds)]}));
    assert_found(
        &diff(&with(&["red"]), &with(&["red", "grey"])),
        Verdict::Breaking,
        "response-enum-value-added",
    );
}

#[test]
fn order_and_optional_properties_of_variants_change_nothing() {
    let (dog, cat) = (named("Dog", &["name", "bark"]), named("Cat", &["name", "meow"]));
    let bigger = named("Dog", &["name", "bark", "age"]);
    for wrap in [with_body, with_answer] {
        let old = wrap(&union(&[&dog, &cat]));
        assert_eq!(diff(&old, &wrap(&union(&[&cat, &dog]))).verdict, Verdict::Compatible);
        assert_eq!(diff(&old, &wrap(&union(&[&bigger, &cat]))).verdict, Verdict::Compatible);
    }
}

#[test]
fn a_body_that_becomes_one_of_two_overlapping_schemas_is_refused_by_strict_readers() {
    let (dog, rabbit) = (named("Dog", &["bark"]), named("Rabbit", &["hop"]));
    let report = diff(&with_body(&dog), &with_body(&union(&[&dog, &rabbit])));
    assert_found(&report, Verdict::Breaking, "request-exclusion-added");
    let witness = report.changes[0].witness.as_ref().expect("witness")["body"].clone();
    let reader = jsonschema::draft202012::new(&union(&[&dog, &rabbit])).expect("valid schema");
    assert!(jsonschema::draft202012::is_valid(&dog, &witness) && !reader.is_valid(&witness), "{witness}");
}

#[test]
fn a_variant_that_requires_what_writers_do_not_send_excludes_nothing() {
    let requiring = |title: &str, name: &str| {
        let mut schema = named(title, &[name]);
        schema["required"] = json!([name]);
        schema
    };
    let (by_name, by_id) = (requiring("ByName", "name"), requiring("ById", "id"));
    let (old, new) = (with_body(&by_name), with_body(&union(&[&by_name, &by_id])));
    assert_eq!(diff(&old, &new).verdict, Verdict::Compatible);
    let strict = Options { unknown_fields: UnknownFields::Validated, ..Options::default() };
    assert_found(&diff_with(&old, &new, &strict), Verdict::Breaking, "request-exclusion-added");
}

#[test]
fn a_discriminator_that_goes_excludes_nothing_new() {
    let document = |discriminator: Option<Value>| {
        let variants = json!([{"$ref": "#/components/schemas/X"}, {"$ref": "#/components/schemas/Y"}]);
        let mut schema = json!({"oneOf": variants});
        schema["discriminator"] = discriminator.unwrap_or(Value::Null);
        let mut document = with_body(&schema);
        let variant = |name: &str| json!({"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}, name: {"type": "integer"}}});
        document["components"] = json!({"schemas": {"X": variant("x"), "Y": variant("y")}});
        document
    };
    let tags = |x: &str| json!({"propertyName": "kind", "mapping": {x: "#/components/schemas/X", "y": "#/components/schemas/Y"}});
    let gone = diff(&document(Some(tags("x"))), &document(None));
    assert_found(&gone, Verdict::Compatible, "request-discriminator-changed");
    assert_found(
        &diff(&document(Some(tags("x"))), &document(Some(tags("ex")))),
        Verdict::Breaking,
        "request-enum-value-removed",
    );
}
