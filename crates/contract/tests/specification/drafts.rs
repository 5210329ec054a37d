//! Which draft of JSON Schema knows which keyword, with which shape: an independent validator is the second opinion in each draft.

use jsonschema::Draft;
use lockstep_contract::specification::{Field, Treatment, all};
use lockstep_contract::{Kind, Level, Verdict};
use serde_json::{Value, json};

use super::walk::both_ways;

/// The drafts, and what `$schema` calls them.
const DRAFTS: [(&str, Draft, &str); 5] = [
    ("draft-4", Draft::Draft4, "http://json-schema.org/draft-04/schema#"),
    ("draft-6", Draft::Draft6, "http://json-schema.org/draft-06/schema#"),
    ("draft-7", Draft::Draft7, "http://json-schema.org/draft-07/schema#"),
    ("2019-09", Draft::Draft201909, "https://json-schema.org/draft/2019-09/schema"),
    ("2020-12", Draft::Draft202012, "https://json-schema.org/draft/2020-12/schema"),
];

/// Compared keywords that no document shows by itself in this way, each with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("$defs", "it holds schemas and demands nothing"),
    ("definitions", "it holds schemas and demands nothing"),
    ("$ref", "known to all; what stands beside it has a test of its own"),
    ("$dynamicRef", "what it leads to depends on where one came from"),
    ("$recursiveRef", "what it leads to depends on where one came from"),
    ("default", "it says what leaving something out means"),
    ("deprecated", "it advises"),
    ("readOnly", "it speaks of flows, and messages have none"),
    ("writeOnly", "it speaks of flows, and messages have none"),
    ("contentEncoding", "validators may demand it or tell of it"),
    ("contentMediaType", "validators may demand it or tell of it"),
    ("contentSchema", "validators may demand it or tell of it"),
    ("format", "validators may demand it or tell of it"),
    ("then", "it stands in the case of `if`"),
    ("else", "it stands in the case of `if`"),
];

/// A keyword with a shape of its value: what it is added to, and a document that it then refuses.
struct Case {
    keyword: &'static str,
    base: Value,
    added: Value,
    refused: Value,
}

fn case(keyword: &'static str, base: Value, added: Value, refused: Value) -> Case {
    Case { keyword, base, added, refused }
}

fn cases() -> Vec<Case> {
    let text = || json!({"type": "string"});
    let of = |keyword, added, refused| case(keyword, json!({}), added, refused);
    vec![
        of("type", json!({"type": "string"}), json!(1)),
        of("enum", json!({"enum": ["a"]}), json!("b")),
        of("const", json!({"const": "a"}), json!("b")),
        of("maxLength", json!({"maxLength": 1}), json!("ab")),
        of("minLength", json!({"minLength": 1}), json!("")),
        of("pattern", json!({"pattern": "^a"}), json!("b")),
        of("maximum", json!({"maximum": 1}), json!(2)),
        of("minimum", json!({"minimum": 1}), json!(0)),
        of("multipleOf", json!({"multipleOf": 2}), json!(3)),
        of("exclusiveMaximum", json!({"exclusiveMaximum": 1}), json!(1)),
        of("exclusiveMinimum", json!({"exclusiveMinimum": 1}), json!(1)),
        case("exclusiveMaximum", json!({"maximum": 1}), json!({"exclusiveMaximum": true}), json!(1)),
        case("exclusiveMinimum", json!({"minimum": 1}), json!({"exclusiveMinimum": true}), json!(1)),
        of("maxItems", json!({"maxItems": 0}), json!([1])),
        of("minItems", json!({"minItems": 1}), json!([])),
        of("uniqueItems", json!({"uniqueItems": true}), json!([1, 1])),
        of("items", json!({"items": text()}), json!([1])),
        of("items", json!({"items": [text()]}), json!([1])),
        case("additionalItems", json!({"items": [{}]}), json!({"additionalItems": text()}), json!([1, 1])),
        of("prefixItems", json!({"prefixItems": [text()]}), json!([1])),
        of("contains", json!({"contains": text()}), json!([1])),
        case("minContains", json!({"contains": text()}), json!({"minContains": 2}), json!(["a"])),
        case("maxContains", json!({"contains": text()}), json!({"maxContains": 1}), json!(["a", "b"])),
        of("unevaluatedItems", json!({"unevaluatedItems": text()}), json!([1])),
        of("maxProperties", json!({"maxProperties": 0}), json!({"a": 1})),
        of("minProperties", json!({"minProperties": 1}), json!({})),
        of("required", json!({"required": ["a"]}), json!({})),
        of("properties", json!({"properties": {"a": text()}}), json!({"a": 1})),
        of("patternProperties", json!({"patternProperties": {"^a": text()}}), json!({"a": 1})),
        of("additionalProperties", json!({"additionalProperties": text()}), json!({"a": 1})),
        of("unevaluatedProperties", json!({"unevaluatedProperties": text()}), json!({"a": 1})),
        of("propertyNames", json!({"propertyNames": {"pattern": "^a"}}), json!({"b": 1})),
        of("dependencies", json!({"dependencies": {"a": ["b"]}}), json!({"a": 1})),
        of("dependencies", json!({"dependencies": {"a": {"required": ["b"]}}}), json!({"a": 1})),
        of("dependentRequired", json!({"dependentRequired": {"a": ["b"]}}), json!({"a": 1})),
        of("dependentSchemas", json!({"dependentSchemas": {"a": {"required": ["b"]}}}), json!({"a": 1})),
        of("allOf", json!({"allOf": [text()]}), json!(1)),
        of("anyOf", json!({"anyOf": [text()]}), json!(1)),
        of("oneOf", json!({"oneOf": [text()]}), json!(1)),
        of("not", json!({"not": text()}), json!("a")),
        of("if", json!({"if": text(), "then": {"maxLength": 1}, "else": {"type": "integer"}}), json!("ab")),
    ]
}

fn declared(draft: &str, parts: &[&Value]) -> Value {
    let mut schema = json!({"$schema": draft});
    for part in parts {
        let members = part.as_object().cloned().unwrap_or_default();
        schema.as_object_mut().expect("an object").extend(members);
    }
    schema
}

/// Keywords that the independent validator heeds in a draft whose specification does not have them.
const HEEDED_BEYOND: &[(&str, &str)] = &[("dependencies", "2019-09"), ("dependencies", "2020-12")];

#[test]
fn each_draft_knows_its_keywords_and_no_others() {
    let mut known = 0;
    for (word, draft, uri) in DRAFTS {
        for Case { keyword, base, added, refused } in cases() {
            let (old, new) = (declared(uri, &[&base]), declared(uri, &[&base, &added]));
            let validator = jsonschema::options().with_draft(draft).build(&new);
            let is_a_schema = validator.is_ok();
            let refuses = validator.is_ok_and(|validator| !validator.is_valid(&refused));
            let what = format!("`{keyword}` as {added} in {word}");
            let [report, back] = both_ways(Kind::JsonSchema, &old, &new);
            if refuses && !HEEDED_BEYOND.contains(&(keyword, word)) {
                known += 1;
                assert_eq!(report.verdict, Verdict::Breaking, "{what}: {report:#?}");
                assert!(back.may_deploy, "{what}: less is demanded on the way back: {back:#?}");
            } else {
                assert_eq!(report.verdict, Verdict::NotChecked, "{what} is not known there: {report:#?}");
                // What a value of the wrong form demands is not known, and nothing is demanded without it.
                assert!(!back.may_deploy || !is_a_schema, "{what}: {back:#?}");
            }
        }
    }
    assert!(known > 120, "{known} combinations are known");
}

#[test]
fn the_list_says_of_each_keyword_what_the_validator_says() {
    let cases = cases();
    for (word, draft, uri) in DRAFTS {
        for field in all().filter(|field| field.object == "Schema") {
            let own = cases.iter().filter(|case| case.keyword == field.name);
            let refuses = |case: &Case| {
                let schema = declared(uri, &[&case.base, &case.added]);
                let validator = jsonschema::options().with_draft(draft).build(&schema);
                validator.is_ok_and(|validator| !validator.is_valid(&case.refused))
            };
            let own: Vec<bool> = own.map(refuses).collect();
            if own.is_empty() || HEEDED_BEYOND.contains(&(field.name, word)) {
                continue;
            }
            let listed = field.versions.split(' ').any(|version| version == word);
            assert_eq!(listed, own.contains(&true), "`{}` in {word}", field.name);
        }
    }
}

#[test]
fn every_compared_keyword_of_a_draft_has_a_case() {
    let of_a_draft = |field: &&Field| {
        let versions = field.versions.split(' ');
        field.object == "Schema"
            && matches!(field.treatment, Treatment::Compared(_))
            && versions.into_iter().any(|version| DRAFTS.iter().any(|(word, ..)| *word == version))
    };
    let cases = cases();
    for field in all().filter(of_a_draft) {
        let has_case = cases.iter().any(|case| case.keyword == field.name);
        let has_reason = ELSEWHERE.iter().any(|(name, why)| *name == field.name && !why.is_empty());
        assert!(has_case != has_reason, "`{}` has a case or a reason", field.name);
    }
}

#[test]
fn what_stands_beside_a_reference_counts_since_2019() {
    for (word, draft, uri) in DRAFTS {
        let of = |beside: Value| {
            declared(
                uri,
                &[&json!({"$ref": "#/definitions/a", "definitions": {"a": {"type": "string"}}}), &beside],
            )
        };
        let (old, new) = (of(json!({})), of(json!({"maxLength": 1})));
        let validator = jsonschema::options().with_draft(draft).build(&new).expect("a schema");
        let expected = if validator.is_valid(&json!("ab")) { Verdict::Compatible } else { Verdict::Breaking };
        let [report, _] = both_ways(Kind::JsonSchema, &old, &new);
        assert_eq!(report.verdict, expected, "{word}: {report:#?}");
    }
}

#[test]
fn the_same_text_under_another_draft_is_not_the_same() {
    let old = |rest: Value| declared(DRAFTS[2].2, &[&rest]);
    let new = |rest: Value| declared(DRAFTS[4].2, &[&rest]);
    for (text, verdict) in [
        (json!({"type": "array", "items": [{"type": "string"}]}), Verdict::NotChecked),
        (json!({"dependencies": {"a": ["b"]}}), Verdict::NotChecked),
        (
            json!({"type": "object", "properties": {"a": {"dependentRequired": {"a": ["b"]}}}}),
            Verdict::Breaking,
        ),
        (json!({"type": "object", "required": ["a"]}), Verdict::Compatible),
    ] {
        let [report, _] = both_ways(Kind::JsonSchema, &old(text.clone()), &new(text.clone()));
        assert_ne!((verdict, report.verdict), (Verdict::NotChecked, Verdict::Compatible), "{text}");
        assert_ne!((verdict, report.verdict), (Verdict::Breaking, Verdict::Compatible), "{text}");
        assert_eq!(
            verdict == Verdict::Compatible,
            report.verdict == Verdict::Compatible,
            "{text}: {report:#?}"
        );
    }
}

#[test]
fn what_strings_hold_is_an_annotation_since_2019() {
    for (word, _, uri) in DRAFTS {
        let old = declared(uri, &[&json!({"type": "string"})]);
        let new = declared(uri, &[&json!({"type": "string", "contentMediaType": "application/json"})]);
        let [report, _] = both_ways(Kind::JsonSchema, &old, &new);
        match word {
            "draft-4" | "draft-6" => assert_eq!(report.verdict, Verdict::NotChecked, "{word}: {report:#?}"),
            "draft-7" => assert_eq!(report.verdict, Verdict::Breaking, "{word}: {report:#?}"),
            _ => {
                assert_eq!(report.verdict, Verdict::Compatible, "{word}: {report:#?}");
                assert_eq!(report.changes[0].level, Level::Warning, "{word}");
            }
        }
    }
}
