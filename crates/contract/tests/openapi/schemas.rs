//! Schemas in requests and responses: direction, witnesses, places.

use lockstep_contract::{Kind, Level, Location, Options, Source, Verdict, diff, diff_as};
use serde_json::{Value, json};

use super::support::{assert_found, diff as compare, ids, with_answer, with_body};

fn request(old: Value, new: Value) -> lockstep_contract::Report {
    compare(&with_body(&old), &with_body(&new))
}

fn response(old: Value, new: Value) -> lockstep_contract::Report {
    compare(&with_answer(&old), &with_answer(&new))
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

#[test]
fn an_enum_value_breaks_only_where_it_is_read() {
    let (few, many) = (json!({"enum": ["a", "b"]}), json!({"enum": ["a", "b", "c"]}));
    assert_found(&request(many.clone(), few.clone()), Verdict::Breaking, "request-enum-value-removed");
    assert_found(&request(few.clone(), many.clone()), Verdict::Compatible, "request-enum-value-added");
    assert_found(&response(few.clone(), many.clone()), Verdict::Breaking, "response-enum-value-added");
    assert_found(&response(many, few), Verdict::Compatible, "response-enum-value-removed");
}

#[test]
fn a_witness_is_a_whole_request() {
    let report = request(
        object(json!({"id": {"type": "string"}}), &[]),
        object(json!({"id": {"type": "string"}}), &["id"]),
    );
    assert_found(&report, Verdict::Breaking, "request-property-became-required");
    let expected = json!({"method": "POST", "path": "/pets", "content_type": "application/json", "body": {}});
    assert_eq!(report.changes[0].witness, Some(expected));
    assert_eq!(
        report.changes[0].place,
        "/paths/~1pets/post/requestBody/content/application~1json/schema/properties/id"
    );
}

#[test]
fn optional_additions_break_nobody_and_removals_warn() {
    let (less, more) = (
        object(json!({"a": {"type": "string"}}), &[]),
        object(json!({"a": {"type": "string"}, "b": {"type": "integer"}}), &[]),
    );
    assert_found(&request(less.clone(), more.clone()), Verdict::Compatible, "request-property-added");
    assert_found(&response(less.clone(), more.clone()), Verdict::Compatible, "response-property-added");
    let removed = request(more, less);
    assert_found(&removed, Verdict::Compatible, "request-property-removed");
    assert_eq!(removed.changes[0].level, Level::Warning);
}

#[test]
fn a_property_of_a_closed_request_may_not_go() {
    let closed = |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
    let report = request(
        closed(json!({"a": {"type": "string"}, "b": {"type": "integer"}})),
        closed(json!({"a": {"type": "string"}})),
    );
    assert_found(&report, Verdict::Breaking, "request-property-forbidden");
}

#[test]
fn read_only_properties_do_not_travel_in_requests() {
    let id = |required: &[&str]| object(json!({"id": {"type": "string", "readOnly": true}}), required);
    assert_eq!(request(id(&[]), id(&["id"])).verdict, Verdict::Compatible);
    assert_found(&response(id(&["id"]), id(&[])), Verdict::Breaking, "response-property-became-optional");
}

#[test]
fn a_change_in_a_shared_schema_is_told_once_with_its_uses() {
    let document = |maximum: u64| {
        let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/A"}}});
        let operation =
            json!({"requestBody": {"content": content}, "responses": {"200": {"description": "d"}}});
        json!({"openapi": "3.0.0", "info": {}, "paths": {"/a": {"post": operation}, "/b": {"post": operation}, "/c": {"put": operation}},
            "components": {"schemas": {"A": {"type": "object", "properties": {"n": {"type": "integer", "maximum": maximum}}}}}})
    };
    let report = compare(&document(10), &document(5));
    assert_eq!(ids(&report), ["request-maximum-lowered"]);
    assert_eq!(report.changes[0].place, "/components/schemas/A/properties/n");
    assert!(report.changes[0].message.contains("and 1 more"), "{}", report.changes[0].message);
}

#[test]
fn discriminated_variants_are_compared_with_their_namesakes() {
    let document = |cat: Value, names: &[&str]| {
        let variants: Vec<Value> =
            names.iter().map(|name| json!({"$ref": format!("#/components/schemas/{name}")})).collect();
        let mut document =
            with_answer(&json!({"oneOf": variants, "discriminator": {"propertyName": "kind"}}));
        document["components"] = json!({"schemas": {
            "Cat": {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}, "lives": cat}},
            "Dog": {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}}},
        }});
        document
    };
    let integer = || json!({"type": "integer"});
    let widened = compare(
        &document(integer(), &["Cat", "Dog"]),
        &document(json!({"type": ["integer", "null"]}), &["Cat", "Dog"]),
    );
    assert_found(&widened, Verdict::Breaking, "response-became-nullable");
    assert_eq!(widened.changes[0].place, "/components/schemas/Cat/properties/lives");
    let added = compare(&document(integer(), &["Cat"]), &document(integer(), &["Cat", "Dog"]));
    assert_eq!(added.verdict, Verdict::Breaking, "{added:#?}");
    let reversed = compare(&document(integer(), &["Cat", "Dog"]), &document(integer(), &["Dog", "Cat"]));
    assert_eq!(reversed.verdict, Verdict::Compatible);
}

#[test]
fn nullable_of_3_0_is_the_null_type_of_3_1() {
    let mut old = with_answer(&json!({"type": "string", "nullable": true}));
    old["openapi"] = "3.0.3".into();
    let new = with_answer(&json!({"type": ["string", "null"]}));
    let any_of = with_answer(&json!({"anyOf": [{"type": "null"}, {"type": "string"}]}));
    for new in [new, any_of] {
        let report = compare(&old, &new);
        assert!(report.changes.is_empty() && report.may_deploy && report.may_roll_back, "{report:#?}");
    }
}

#[test]
fn recursive_schemas_are_compared_to_the_end() {
    let document = |maximum: u64| {
        let mut document = with_body(&json!({"$ref": "#/components/schemas/Node"}));
        document["components"] = json!({"schemas": {"Node": {"type": "object", "properties": {
            "value": {"type": "integer", "maximum": maximum},
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}}}}}});
        document
    };
    let report = compare(&document(10), &document(9));
    assert_eq!(ids(&report), ["request-maximum-lowered"]);
    assert_eq!(
        report.changes[0].witness.as_ref().map(|witness| &witness["body"]),
        Some(&json!({"value": 10}))
    );
}

#[test]
fn what_cannot_be_compared_is_not_checked_and_never_compatible() {
    let hard = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let report = request(hard("^(?!a)x$"), hard("^(?!b)y$"));
    assert_ne!(report.verdict, Verdict::Compatible, "{report:#?}");
    let same = request(hard("^(?!a)x$"), hard("^(?!a)x$"));
    assert_eq!(same.verdict, Verdict::Compatible);
    let lost = request(json!({"$ref": "https://example.com/a"}), json!({"$ref": "https://example.com/b"}));
    assert_eq!(lost.verdict, Verdict::NotChecked);
    assert!(!lost.may_deploy);
}

#[test]
fn conditions_are_rules_and_what_several_alternatives_allow_together_is_allowed() {
    let old = object(json!({"name": {"type": "string"}}), &[]);
    let mut ruled = old.clone();
    ruled["dependentSchemas"] = json!({"name": {"properties": {"email": {"type": "string"}}}});
    let report = request(old.clone(), ruled.clone());
    assert_found(&report, Verdict::Breaking, "request-type-narrowed");
    let body = &report.changes[0].witness.as_ref().expect("witness")["body"];
    assert!(
        jsonschema::draft202012::is_valid(&old, body) && !jsonschema::draft202012::is_valid(&ruled, body),
        "{body}"
    );
    let mut idle = old.clone();
    idle["if"] = json!({"properties": {"name": {"const": "x"}}});
    idle["then"] = json!({"properties": {"name": {"maxLength": 3}}});
    assert_eq!(request(old, idle).verdict, Verdict::Compatible);
}

#[test]
fn what_cannot_be_expressed_of_arrays_says_nothing_about_objects() {
    let with = |least: u64| {
        json!({"type": "object", "contains": {"type": "string"}, "unevaluatedItems": {"minLength": least},
            "properties": {"a": {"type": "string", "minLength": least}}})
    };
    assert_found(&request(with(1), with(2)), Verdict::Breaking, "request-min-length-raised");
}

#[test]
fn limits_of_contains_are_compared_as_numbers() {
    let with = |least: u64, most: u64| {
        json!({"type": "array", "items": {"type": "string"}, "contains": {"type": "integer"},
            "minContains": least, "maxContains": most})
    };
    assert_found(&request(with(1, 5), with(2, 6)), Verdict::Breaking, "request-contains-narrowed");
    assert_found(&request(with(2, 6), with(1, 5)), Verdict::Breaking, "request-contains-narrowed");
    assert_eq!(request(with(2, 5), with(1, 6)).verdict, Verdict::Compatible);
}

#[test]
fn a_pattern_and_what_another_schema_says_of_the_rest_do_not_mix() {
    let with = |kinds: Value| {
        json!({"type": "object", "allOf": [
            {"additionalProperties": {"const": "b"}, "properties": {"b": {"type": kinds}}},
            {"patternProperties": {"b": {"type": "boolean"}}},
        ]})
    };
    let (old, new) = (with(json!(["boolean", "null"])), with(json!("null")));
    assert_ne!(request(old, new).verdict, Verdict::Compatible);
}

#[test]
fn parting_objects_by_a_property_loses_no_text() {
    let new = json!({"maxLength": 1, "anyOf": [{"dependentSchemas": {"c": {}}}, {}]});
    assert_found(&request(json!({"type": "string"}), new), Verdict::Breaking, "request-max-length-lowered");
}

#[test]
fn places_have_file_and_line_in_yaml_over_several_files() {
    let entry = |version: &str| {
        format!(
            "openapi: {version}\ninfo: {{}}\npaths:\n  /a:\n    post:\n      requestBody:\n        content:\n          application/json:\n            schema:\n              $ref: 'schemas/a.yaml#/A'\n      responses:\n        '200': {{description: ok}}\n"
        )
    };
    let part = |maximum: u64| {
        format!("A:\n  type: object\n  properties:\n    n:\n      type: integer\n      maximum: {maximum}\n")
    };
    let source = |maximum: u64| {
        Source::file("api/openapi.yaml", entry("3.0.0").into_bytes())
            .with_file("api/schemas/a.yaml", part(maximum).into_bytes())
    };
    let report = diff(&source(10), &source(5), &Options::default()).expect("valid");
    assert_eq!(report.kind, Kind::OpenApi);
    assert_eq!(report.changes[0].place, "api/schemas/a.yaml#/A/properties/n");
    assert_eq!(report.changes[0].new, Some(Location { file: "api/schemas/a.yaml".into(), line: 4 }));
    let inlined = entry("3.0.0").replace(
        "$ref: 'schemas/a.yaml#/A'",
        "{type: object, properties: {n: {type: integer, maximum: 10}}}",
    );
    let inlined = Source::file("openapi.yaml", inlined.into_bytes());
    let same = diff_as(Kind::OpenApi, &source(10), &inlined, &Options::default()).expect("valid");
    assert!(same.changes.is_empty(), "{same:#?}");
}

#[test]
fn the_report_serialises_to_the_promised_shape() {
    let report =
        request(json!({"maxLength": 9, "type": "string"}), json!({"maxLength": 8, "type": "string"}));
    let value = serde_json::to_value(&report).expect("serialisable");
    let keys: Vec<&str> = value.as_object().expect("object").keys().map(String::as_str).collect();
    let mut expected = ["verdict", "bump", "may_deploy", "may_roll_back", "kind", "changes", "not_checked"];
    let mut found = keys.clone();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(value["verdict"], "breaking");
    assert_eq!(value["kind"], "openapi");
    let mut change: Vec<&str> =
        value["changes"][0].as_object().expect("object").keys().map(String::as_str).collect();
    change.sort_unstable();
    assert_eq!(change, ["flow", "level", "message", "new", "old", "place", "rule", "witness"]);
}

#[test]
fn a_pattern_is_compared_with_all_that_bounds_a_text() {
    let text = |more: Value| {
        let mut schema = json!({"type": "string"});
        schema.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        schema
    };
    for bound in [
        json!({"maxLength": 3}),
        json!({"maxLength": 3, "pattern": "^[^x]*$"}),
        json!({"maxLength": 2, "minLength": 1}),
    ] {
        let report = request(text(bound), text(json!({"pattern": "^[\\s\\S]{0,3}$"})));
        assert!(report.may_deploy, "{report:#?}");
    }
    let date = request(text(json!({"format": "date"})), text(json!({"pattern": "^\\d{4}-\\d{2}-\\d{2}$"})));
    assert!(date.may_deploy, "{date:#?}");
    let both = json!({"allOf": [{"type": "string", "pattern": "^[ab]+$"}, {"type": "string", "pattern": "^[bc]+$"}]});
    assert!(request(both, text(json!({"pattern": "^b*$"}))).may_deploy);
    let longer = request(text(json!({"maxLength": 4})), text(json!({"pattern": "^[\\s\\S]{0,3}$"})));
    assert_found(&longer, Verdict::Breaking, "request-pattern-narrowed");
    assert_eq!(longer.changes[0].witness.as_ref().expect("shown")["body"], "aaaa");
}

#[test]
fn what_is_excluded_twice_is_demanded() {
    let twice = json!({"not": {"not": {"type": "string"}}});
    for (old, new) in [(twice.clone(), json!({"type": "string"})), (json!({"type": "string"}), twice)] {
        assert_eq!(request(old, new).verdict, Verdict::Compatible);
    }
}

#[test]
fn a_reference_that_leads_nowhere_is_not_checked_and_no_break() {
    let lost = json!({"$ref": "https://schemas.example/other.json"});
    for new in [json!({"type": "string"}), json!({"type": "object"})] {
        assert_eq!(request(lost.clone(), new.clone()).verdict, Verdict::NotChecked);
        assert_eq!(request(new, lost.clone()).verdict, Verdict::NotChecked);
    }
}

#[test]
fn a_reference_beside_the_id_of_the_whole_is_relative_to_it() {
    let schema = |reference: &str| {
        let part = json!({"$id": "other", "type": "string"});
        json!({"$id": "https://schemas.example/root", "$ref": reference, "$defs": {"part": part}})
    };
    let of = |reference: &str| Source::file("m.json", schema(reference).to_string().into_bytes());
    let (short, whole) = (of("other"), of("https://schemas.example/other"));
    let report = diff_as(Kind::JsonSchema, &short, &whole, &Options::default()).expect("valid documents");
    assert_eq!((report.verdict, report.may_roll_back), (Verdict::Compatible, true), "{report:#?}");
}
