//! Hostile documents: an error or an answer in bounded time, never a panic.

use std::time::{Duration, Instant};

use lockstep_contract::{Kind, Options, Source, Verdict, diff, diff_as};
use serde_json::{Map, Value, json};

use super::support::{diff as compare, with_body};

/// Far more than any of these needs, far less than a run without bounds would take.
const PATIENCE: Duration = Duration::from_secs(40);

fn within_patience(work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
}

#[test]
fn deep_nesting_is_an_error_with_its_line() {
    let deep =
        format!("{{\"openapi\": \"3.1.0\", \"paths\": {}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let source = Source::file("deep.json", deep.into_bytes());
    let errors = diff_as(Kind::OpenApi, &source, &source, &Options::default()).expect_err("too deep");
    assert!(
        errors.iter().all(|error| error.line.is_some() && error.message.contains("nested deeper")),
        "{errors:?}"
    );
}

#[test]
fn invalid_utf_8_and_syntax_are_errors_of_both_sides_at_once() {
    let old = Source::file("old.yaml", b"openapi: 3.1.0\ninfo: \xff\n".as_slice());
    let new = Source::file("new.yaml", b"openapi: 3.1.0\ninfo: [\n".as_slice());
    let errors = diff(&old, &new, &Options::default()).expect_err("bad input");
    let files: Vec<&str> = errors.iter().map(|error| error.file.as_str()).collect();
    assert!(files.contains(&"new.yaml"), "{errors:?}");
}

#[test]
fn cycles_of_every_kind_end() {
    let schemas = json!({
        "Self": {"$ref": "#/components/schemas/Self"},
        "Ping": {"$ref": "#/components/schemas/Pong"},
        "Pong": {"$ref": "#/components/schemas/Ping"},
        "All": {"allOf": [{"$ref": "#/components/schemas/All"}, {"type": "object"}]},
        "Any": {"anyOf": [{"$ref": "#/components/schemas/Any"}, {"type": "string"}]},
        "Not": {"not": {"$ref": "#/components/schemas/Not"}},
        "Deep": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Deep"}}},
        "Mutual": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Other"}},
        "Other": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/Mutual"}, {"$ref": "#/components/schemas/Other"}]}},
    });
    let names: Vec<String> = schemas.as_object().expect("object").keys().cloned().collect();
    within_patience(|| {
        for old_name in &names {
            for new_name in &names {
                let document = |name: &str| {
                    let mut document = with_body(&json!({"$ref": format!("#/components/schemas/{name}")}));
                    document["components"] = json!({"schemas": schemas});
                    document
                };
                let report = compare(&document(old_name), &document(new_name));
                assert!(
                    old_name != new_name || report.verdict == Verdict::Compatible,
                    "{old_name}: {report:#?}"
                );
            }
        }
    });
}

#[test]
fn long_chains_of_references_end() {
    let mut schemas = Map::new();
    for index in 0..20_000 {
        schemas.insert(
            format!("S{index}"),
            json!({"properties": {"next": {"$ref": format!("#/components/schemas/S{}", index + 1)}}}),
        );
    }
    schemas.insert("S20000".into(), json!({"type": "string"}));
    let mut old = with_body(&json!({"$ref": "#/components/schemas/S0"}));
    old["components"] = json!({"schemas": schemas});
    let mut new = old.clone();
    new["components"]["schemas"]["S20000"] = json!({"type": "integer"});
    within_patience(|| assert_ne!(compare(&old, &new).verdict, Verdict::Compatible));
}

#[test]
fn long_chains_of_variants_end() {
    let mut schemas = Map::new();
    for index in 0..2_000 {
        let next = json!({"$ref": format!("#/components/schemas/S{}", index + 1)});
        let variant = |name: &str| json!({"type": "object", "required": [name], "properties": {name: next, "other": next}});
        schemas.insert(format!("S{index}"), json!({"anyOf": [variant("a"), variant("b")]}));
    }
    schemas.insert("S2000".into(), json!({"type": "string"}));
    let mut old = with_body(&json!({"$ref": "#/components/schemas/S0"}));
    old["components"] = json!({"schemas": schemas});
    let mut new = old.clone();
    new["components"]["schemas"]["S2000"] = json!({"type": "integer"});
    within_patience(|| assert_ne!(compare(&old, &new).verdict, Verdict::Compatible));
}

#[test]
fn products_of_alternatives_and_huge_patterns_are_bounded() {
    let variants: Vec<Value> = (0..40)
        .map(|index| json!({"type": "object", "properties": {format!("p{index}"): {"type": "string"}}}))
        .collect();
    let wide = json!({"allOf": [{"anyOf": variants}, {"anyOf": variants}, {"anyOf": variants}]});
    let mut wider = wide.clone();
    wider["allOf"][2]["anyOf"][0]["properties"]["p0"] = json!({"type": "integer"});
    let huge = json!({"type": "string", "pattern": format!("^{}$", "(a|b|c{1,500}){1,500}".repeat(50))});
    let other = json!({"type": "string", "pattern": "^((a{1,900}){1,900}){1,900}$"});
    within_patience(|| {
        assert_ne!(compare(&with_body(&wide), &with_body(&wider)).verdict, Verdict::Compatible);
        assert_ne!(compare(&with_body(&huge), &with_body(&other)).verdict, Verdict::Compatible);
    });
}

#[test]
fn many_variants_are_compared_in_bounded_time() {
    let variants = |kind: &str| -> Value {
        (0..150).map(|index| json!({"type": "object", "required": ["kind"], "properties": {"kind": {"const": format!("k{index}")}, "v": {"type": kind}}})).collect()
    };
    let (old, new) = (json!({"oneOf": variants("string")}), json!({"oneOf": variants("integer")}));
    within_patience(|| assert_eq!(compare(&with_body(&old), &with_body(&new)).verdict, Verdict::Breaking));
}

#[test]
fn keywords_of_the_wrong_shape_never_panic() {
    let odd = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!([1, null]),
        json!(-1.5),
        json!({"a": 1}),
    ];
    let keywords = [
        "type",
        "enum",
        "properties",
        "items",
        "required",
        "allOf",
        "oneOf",
        "not",
        "if",
        "pattern",
        "minLength",
        "multipleOf",
        "discriminator",
        "additionalProperties",
        "patternProperties",
        "$ref",
        "dependentSchemas",
        "contains",
        "prefixItems",
        "const",
    ];
    for keyword in keywords {
        for value in &odd {
            let schema = json!({keyword: value, "type": "object"});
            let itself = compare(&with_body(&schema), &with_body(&schema));
            // A reference to nothing that was given may lead to anything.
            assert!(keyword == "$ref" || (itself.may_deploy && itself.changes.is_empty()), "{schema}");
            compare(&with_body(&schema), &with_body(&json!({"type": "object", "maxProperties": 3})));
            compare(&with_body(&json!({"type": "object"})), &with_body(&schema));
        }
    }
    for part in ["paths", "components", "servers", "security", "webhooks"] {
        for value in &odd {
            let mut document = with_body(&json!({}));
            document[part] = value.clone();
            compare(&document, &with_body(&json!({"type": "string"})));
        }
    }
}

#[test]
fn wide_objects_unions_and_lists_are_compared_in_bounded_time() {
    let numbered = |count: usize, part: &dyn Fn(usize) -> Value| -> Map<String, Value> {
        (0..count).map(|index| (format!("p{index}"), part(index))).collect()
    };
    let object = |most: u64| json!({"type": "object", "properties": numbered(3000, &|_| json!({"type": "string", "maxLength": most}))});
    let merged = |kind: &str| -> Value {
        let parts: Vec<Value> = (0..600)
            .map(|index| json!({"type": "object", "properties": {format!("p{index}"): {"type": kind}}}))
            .collect();
        json!({"allOf": parts})
    };
    let patterned = |kind: &str| {
        let patterns: Map<String, Value> =
            (0..300).map(|index| (format!("^x{index}-[a-z]{{1,50}}$"), json!({"type": kind}))).collect();
        json!({"type": "object", "patternProperties": patterns})
    };
    within_patience(|| {
        assert_eq!(compare(&with_body(&object(9)), &with_body(&object(8))).verdict, Verdict::Breaking);
        assert_eq!(
            compare(&with_body(&merged("string")), &with_body(&merged("integer"))).verdict,
            Verdict::Breaking
        );
        let patterns = compare(&with_body(&patterned("string")), &with_body(&patterned("integer")));
        assert_eq!(patterns.verdict, Verdict::NotChecked);
    });
}

#[test]
fn long_lists_of_parameters_and_ways_to_authenticate_are_bounded() {
    let document = |kind: &str| {
        let parameters: Vec<Value> = (0..2000)
            .map(|index| json!({"name": format!("q{index}"), "in": "query", "schema": {"type": kind}}))
            .collect();
        super::support::with_operation(
            &json!({"parameters": parameters, "responses": {"200": {"description": "ok"}}}),
        )
    };
    let secured = |prefix: &str| {
        let ways: Vec<Value> = (0..500).map(|index| json!({format!("{prefix}{index}"): []})).collect();
        super::support::with_operation(
            &json!({"security": ways, "responses": {"200": {"description": "ok"}}}),
        )
    };
    within_patience(|| {
        assert_eq!(compare(&document("string"), &document("integer")).verdict, Verdict::Breaking);
        assert_eq!(compare(&secured("a"), &secured("b")).verdict, Verdict::NotChecked);
    });
}

#[test]
fn schemas_that_exclude_themselves_and_conditions_on_conditions_end() {
    let nested = |name: &str| {
        (0..40).fold(json!({}), |inner, _| {
            json!({"if": {"properties": {"a": {"const": 1}}}, "then": inner, "else": {"required": [name]}})
        })
    };
    let nots = |kind: &str| (0..60).fold(json!({"type": kind}), |inner, _| json!({"not": inner}));
    within_patience(|| {
        assert_ne!(compare(&with_body(&nested("b")), &with_body(&nested("c"))).verdict, Verdict::Compatible);
        assert_ne!(
            compare(&with_body(&nots("string")), &with_body(&nots("integer"))).verdict,
            Verdict::Compatible
        );
    });
}

#[test]
fn yaml_attacks_and_numbers_out_of_range_are_errors_with_their_line() {
    let bomb = |levels: usize| -> String {
        let level = |index: usize| {
            let previous = format!("*l{index}");
            format!("l{next}: &l{next} [{}]\n", [previous.as_str(); 9].join(","), next = index + 1)
        };
        (0..levels).map(level).fold("openapi: 3.0.0\nl0: &l0 [x]\n".to_owned(), |text, line| text + &line)
    };
    let cases = [
        ("bomb.yaml", bomb(9), "aliases copy"),
        ("flow.yaml", format!("openapi: 3.0.0\na: {}", "[".repeat(10_000)), "recursion"),
        ("block.yaml", format!("openapi: 3.0.0\na:\n{}x", "- ".repeat(10_000)), "nested deeper"),
        ("keys.yaml", "openapi: 3.0.0\npaths:\n  [1, 2]: x\n".to_owned(), "key"),
        ("twice.yaml", "openapi: 3.0.0\npaths: {}\npaths: {}\n".to_owned(), "twice"),
        ("huge.json", "{\"openapi\": \"3.0.0\",\n\"maximum\": 1e999}".to_owned(), "out of range"),
    ];
    for (file, text, expected) in cases {
        let source = Source::file(file, text.into_bytes());
        let errors = diff_as(Kind::OpenApi, &source, &source, &Options::default()).expect_err("bad input");
        let told = errors.iter().all(|error| error.line.is_some() && error.message.contains(expected));
        assert!(told, "{file}: {errors:?}");
    }
}
