//! The keywords of schemas.

use lockstep_contract::Kind;
use lockstep_contract::specification::{Field, Treatment, all};
use serde_json::{Map, Value, json};

use super::walk::{assert_open, assert_treated, both_ways};

/// A document whose operation takes and gives this schema.
fn document(version: &str, schema: &Value) -> Value {
    let content = json!({"application/json": {"schema": schema}, "application/xml": {"schema": schema}});
    json!({
        "openapi": version,
        "info": {"title": "t", "version": "1"},
        "paths": {"/pets": {"post": {
            "requestBody": {"content": content},
            "responses": {"200": {"description": "ok", "content": content}},
        }}},
        "components": {"schemas": {"Cat": {"type": "object", "properties": {"cat": {}}}, "Dog": {"type": "object", "properties": {"dog": {}}}}},
    })
}

/// Two schemas that differ in one keyword.
fn schemas(keyword: &str) -> (Value, Value) {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let added = |kind: &str, value: Value| {
        let old = json!({"type": kind});
        let mut new = old.clone();
        new[keyword] = value;
        (old, new)
    };
    let changed = |one: Value, other: Value| (json!({keyword: one}), json!({keyword: other}));
    let among = |one: Value, other: Value| {
        (
            json!({"type": "object", "properties": {"a": one}}),
            json!({"type": "object", "properties": {"a": other}}),
        )
    };
    match keyword {
        "type" => changed(json!("string"), json!("integer")),
        "properties" => among(text(), number()),
        "additionalProperties" | "items" => (
            json!({"type": ["array", "object"], keyword: text()}),
            json!({"type": ["array", "object"], keyword: number()}),
        ),
        "allOf" | "anyOf" => changed(json!([text()]), json!([number()])),
        "oneOf" => {
            let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
            changed(json!([reference("Cat"), reference("Dog")]), json!([reference("Cat")]))
        }
        "not" => added("string", json!({"const": "a"})),
        "$ref" | "$dynamicRef" | "$recursiveRef" => (
            json!({keyword: "#/$defs/a", "$defs": {"a": text()}}),
            json!({keyword: "#/$defs/a", "$defs": {"a": number()}}),
        ),
        "$defs" | "definitions" => (
            json!({"$ref": format!("#/{keyword}/a"), keyword: {"a": text()}}),
            json!({"$ref": format!("#/{keyword}/a"), keyword: {"a": number()}}),
        ),
        "enum" => changed(json!(["a", "b"]), json!(["a"])),
        "const" => added("string", json!("a")),
        "maximum" | "minimum" | "multipleOf" | "exclusiveMaximum" | "exclusiveMinimum" => {
            added("integer", json!(3))
        }
        "maxLength" | "minLength" => added("string", json!(3)),
        "pattern" => added("string", json!("^a")),
        "format" => added("string", json!("date")),
        "default" => added("string", json!("a")),
        "maxItems" | "minItems" => added("array", json!(3)),
        "uniqueItems" => added("array", json!(true)),
        "contains" => added("array", json!(text())),
        "minContains" => (
            json!({"type": "array", "contains": text()}),
            json!({"type": "array", "contains": text(), "minContains": 2}),
        ),
        "maxContains" => (
            json!({"type": "array", "contains": text()}),
            json!({"type": "array", "contains": text(), "maxContains": 2}),
        ),
        "prefixItems" => changed(json!([text()]), json!([number()])),
        "additionalItems" => (
            json!({"items": [true], "additionalItems": text()}),
            json!({"items": [true], "additionalItems": number()}),
        ),
        "unevaluatedItems" => {
            let old = json!({"type": "array", "prefixItems": [true]});
            let mut new = old.clone();
            new["unevaluatedItems"] = json!(false);
            (old, new)
        }
        "maxProperties" | "minProperties" => added("object", json!(3)),
        "required" => (
            json!({"type": "object", "properties": {"a": {}}}),
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
        ),
        "dependencies" | "dependentRequired" => {
            let old = json!({"type": "object", "properties": {"a": {}, "b": {}}});
            let mut new = old.clone();
            new[keyword] = json!({"a": ["b"]});
            (old, new)
        }
        "dependentSchemas" => {
            let old = json!({"type": "object", "properties": {"a": {}, "b": text()}});
            let mut new = old.clone();
            new[keyword] = json!({"a": {"properties": {"b": {"type": "integer"}}}});
            (old, new)
        }
        "patternProperties" => (
            json!({"type": "object", keyword: {"^a": text()}}),
            json!({"type": "object", keyword: {"^a": number()}}),
        ),
        "propertyNames" => added("object", json!({"pattern": "^a"})),
        "unevaluatedProperties" => added("object", json!(false)),
        "if" => (
            json!({"if": {"type": "string"}, "then": text(), "else": number()}),
            json!({"if": {"type": "integer"}, "then": text(), "else": number()}),
        ),
        "then" => (
            json!({"if": {"type": "integer"}, "then": {"minimum": 1}}),
            json!({"if": {"type": "integer"}, "then": {"type": "string"}}),
        ),
        "else" => (
            json!({"if": {"type": "integer"}, "else": text()}),
            json!({"if": {"type": "integer"}, "else": {"type": "boolean"}}),
        ),
        "contentEncoding" => {
            (json!({"type": "string", keyword: "base64"}), json!({"type": "string", keyword: "base32"}))
        }
        "contentMediaType" => (
            json!({"type": "string", keyword: "application/json"}),
            json!({"type": "string", keyword: "text/csv"}),
        ),
        "contentSchema" => {
            let of = |schema: Value| json!({"type": "string", "contentMediaType": "application/json", keyword: schema});
            (of(text()), of(number()))
        }
        "nullable" => (json!({"type": "string", keyword: true}), json!({"type": "string"})),
        "x-nullable" => (json!({"type": "string", keyword: true}), json!({"type": "string"})),
        "x-extensible-enum" => {
            (json!({"type": "string", keyword: ["a"]}), json!({"type": "string", keyword: []}))
        }
        "discriminator" => {
            let variants =
                json!([{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]);
            (
                json!({"oneOf": variants, keyword: {"propertyName": "kind"}}),
                json!({"oneOf": variants, keyword: {"propertyName": "type"}}),
            )
        }
        "readOnly" | "writeOnly" => among(text(), json!({"type": "string", keyword: true})),
        "deprecated" => added("string", json!(true)),
        "xml" => added("object", json!({"name": "pet"})),
        other => panic!("no pair for `{other}`"),
    }
}

fn keywords() -> impl Iterator<Item = &'static Field> {
    all().filter(|field| field.object == "Schema")
}

/// The version of OpenAPI whose schemas have the keyword; the tools of 3.0 heed those of all drafts.
fn version(field: &Field) -> &'static str {
    let is_new = field.versions.split(' ').any(|version| version == "3.1");
    if matches!(field.name, "nullable" | "x-nullable") || !is_new { "3.0.3" } else { "3.1.0" }
}

#[test]
fn every_keyword_ends_as_its_list_says() {
    for field in keywords() {
        let (old, new) = match field.treatment {
            Treatment::Compared(_) => schemas(field.name),
            _ => (json!({"type": "string"}), json!({"type": "string", field.name: "other"})),
        };
        let is_declared = field.name == "$schema";
        // References are resolved from the root, where a message has its schema.
        let by_root =
            matches!(field.name, "$ref" | "$dynamicRef" | "$recursiveRef" | "$defs" | "definitions");
        if by_root {
            assert_treated(
                Kind::JsonSchema,
                &Field { treatment: Treatment::Compared("message-type-narrowed"), ..*field },
                &old,
                &new,
            );
        } else if !is_declared {
            let [old, new] = [old, new].map(|schema| document(version(field), &schema));
            assert_treated(Kind::OpenApi, field, &old, &new);
        }
    }
}

#[test]
fn every_keyword_counts_in_messages_as_well() {
    for field in keywords() {
        let of_openapi = field
            .versions
            .split(' ')
            .all(|version| version.starts_with(['2', '3', 'e']) && version.len() <= 9);
        let is_json_schema = field.versions.contains("20") || field.versions.contains("draft");
        let differs_by_place = matches!(
            field.name,
            "$ref" | "oneOf" | "definitions" | "$schema" | "deprecated" | "readOnly" | "writeOnly"
        );
        let (Treatment::Compared(_), true, false) = (field.treatment, is_json_schema, differs_by_place)
        else {
            continue;
        };
        assert!(!of_openapi || is_json_schema);
        let (old, new) = schemas(field.name);
        for report in both_ways(Kind::JsonSchema, &old, &new) {
            assert!(!report.changes.is_empty() || !report.not_checked.is_empty(), "`{}`", field.name);
        }
    }
}

#[test]
fn a_keyword_that_stands_in_no_list_is_not_checked() {
    let places: [fn(Value) -> Value; 6] = [
        |schema| schema,
        |schema| json!({"type": "object", "properties": {"a": schema}}),
        |schema| json!({"allOf": [{"title": "a"}, schema]}),
        |schema| json!({"type": "array", "items": schema}),
        |schema| json!({"anyOf": [schema, {"type": "integer"}]}),
        |schema| json!({"allOf": [{"$ref": "#/components/schemas/Other"}], "components": {"schemas": {"Other": schema}}}),
    ];
    let schemas = [json!({"type": "string"}), json!({"type": "boolean"}), json!({"enum": ["a"]})];
    for schema in schemas {
        let mut typo = schema.clone();
        typo["maxLenght"] = json!(3);
        let mut other = schema.clone();
        other["maxLenght"] = json!(4);
        for at in &places[..5] {
            for (old, new) in [(&schema, &typo), (&typo, &other)] {
                let [old, new] = [old, new].map(|schema| document("3.1.0", &at(schema.clone())));
                assert_open(&both_ways(Kind::OpenApi, &old, &new), "maxLenght");
            }
            let messages = both_ways(Kind::JsonSchema, &at(schema.clone()), &at(typo.clone()));
            assert_open(&messages, "maxLenght");
        }
        let message = both_ways(Kind::JsonSchema, &places[5](schema.clone()), &places[5](typo));
        assert!(message.iter().all(|report| !report.may_deploy));
    }
}

#[test]
fn an_unknown_keyword_that_is_the_same_hinders_nothing() {
    let with = |properties: Map<String, Value>| {
        document("3.1.0", &json!({"type": "object", "properties": properties, "unheard": {"of": [1]}}))
    };
    let one = json!({"a": {"type": "string", "also": true}});
    let two = json!({"a": {"type": "string", "also": true}, "b": {}});
    let [one, two] = [one, two].map(|value| with(value.as_object().cloned().unwrap_or_default()));
    for report in both_ways(Kind::OpenApi, &one, &two) {
        assert!(report.may_deploy && report.not_checked.is_empty(), "{report:#?}");
    }
}

#[test]
fn a_draft_that_is_not_known_is_not_checked() {
    let of = |draft: &str, kind: &str| json!({"$schema": draft, "type": kind});
    let next = "https://json-schema.org/draft/next/schema";
    assert_open(&both_ways(Kind::JsonSchema, &of(next, "string"), &of(next, "integer"))[..0], "/$schema");
    let wider = json!({"$schema": next, "type": ["string", "integer"]});
    assert_open(&both_ways(Kind::JsonSchema, &of(next, "integer"), &wider)[..1], "$schema");
    let third = "http://json-schema.org/draft-03/schema#";
    let required = json!({"$schema": third, "properties": {"a": {"required": true}}});
    let optional = json!({"$schema": third, "properties": {"a": {}}});
    assert_open(&both_ways(Kind::JsonSchema, &optional, &required), "$schema");
    let known = "https://json-schema.org/draft/2020-12/schema";
    assert!(both_ways(Kind::JsonSchema, &of(known, "string"), &json!({"type": "string"}))[0].may_deploy);
    let own = both_ways(Kind::JsonSchema, &of("https://a/meta", "string"), &of("https://b/meta", "string"));
    assert_open(&own, "$schema");
}

#[test]
fn a_keyword_of_a_later_draft_is_not_checked() {
    let of = |needed: &str| json!({"$schema": "http://json-schema.org/draft-07/schema#", "dependentRequired": {"a": [needed]}});
    assert_open(&both_ways(Kind::JsonSchema, &of("b"), &of("c")), "dependentRequired");
}
