//! What must not change a verdict, with generated schemas: the way a contract is written.

use lockstep_contract::{Kind, Options, Report, Source, Verdict, diff_as};
use serde_json::{Map, Value, json};

use super::support::{diff, with_answer, with_body, with_operation};

#[path = "../support/schemas.rs"]
mod schemas;
use schemas::{Dice, changed, schema};

/// How many pairs of schemas are tried; `LOCKSTEP_CONTRACT_CASES` sets another number.
fn cases() -> u64 {
    std::env::var("LOCKSTEP_CONTRACT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

fn pair(seed: u64) -> (Value, Value) {
    let mut dice = Dice::new(seed.wrapping_add(1_000_000));
    let old = schema(&mut dice, 2);
    let new = changed(&mut dice, &old);
    (old, new)
}

fn answers(report: &Report) -> (Verdict, bool, bool) {
    (report.verdict, report.may_deploy, report.may_roll_back)
}

/// The document with every schema of its operations moved to the components.
fn referred(document: &Value) -> Value {
    let mut document = document.clone();
    let pointers = [
        "/paths/~1pets/post/requestBody/content/application~1json/schema",
        "/paths/~1pets/post/responses/200/content/application~1json/schema",
    ];
    for pointer in pointers {
        if let Some(part) = document.pointer_mut(pointer) {
            let moved = std::mem::replace(part, json!({"$ref": "#/components/schemas/Moved"}));
            document["components"] = json!({"schemas": {"Moved": moved}});
        }
    }
    document
}

fn reordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().rev().map(|(key, value)| (key.clone(), reordered(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(reordered).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_way_a_contract_is_written_does_not_change_the_verdict() {
    for seed in 0..cases() {
        let (old, new) = pair(seed);
        for wrap in [with_body, with_answer] {
            let (before, after) = (wrap(&old), wrap(&new));
            let expected = answers(&diff(&before, &after));
            let same = |other: &Report, what: &str| {
                assert_eq!(answers(other), expected, "seed {seed}, {what}: {old}\n{new}");
            };
            same(&diff(&reordered(&before), &reordered(&after)), "key order");
            same(&diff(&referred(&before), &referred(&after)), "references");
            let flattened = wrap(&json!({"allOf": [new]}));
            same(&diff(&before, &flattened), "an allOf of one");
            same(&split(&before, &after, wrap(&json!({"$ref": "schemas/part.json#/x"})), &new), "files");
        }
    }
}

/// The new side split into two files.
fn split(before: &Value, _after: &Value, entry: Value, part: &Value) -> Report {
    let old = Source::file("api/openapi.json", before.to_string().into_bytes());
    let new = Source::file("api/openapi.json", entry.to_string().into_bytes())
        .with_file("api/schemas/part.json", json!({"x": part}).to_string().into_bytes());
    diff_as(Kind::OpenApi, &old, &new, &Options::default()).expect("valid documents")
}

#[test]
fn a_contract_is_compatible_with_itself_and_safety_carries_over() {
    for seed in 0..cases() {
        let (old, new) = pair(seed);
        let mut dice = Dice::new(seed);
        let newest = changed(&mut dice, &new);
        let [first, second, third] = [&old, &new, &newest].map(with_body);
        let itself = diff(&first, &first);
        assert!(
            itself.changes.is_empty() && itself.not_checked.is_empty() && itself.may_roll_back,
            "seed {seed}: {old}"
        );
        if diff(&first, &second).may_deploy && diff(&second, &third).may_deploy {
            let whole = diff(&first, &third);
            assert_ne!(
                whole.verdict,
                Verdict::Breaking,
                "seed {seed}: {old}\n{new}\n{newest}\n{:#?}",
                whole.changes
            );
        }
    }
}

#[test]
fn upgrading_from_3_0_to_3_1_changes_nothing() {
    let cases = [
        (json!({"type": "string", "nullable": true}), json!({"type": ["string", "null"]})),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!({"type": "integer", "exclusiveMinimum": 1}),
        ),
        (
            json!({"type": "number", "maximum": 1, "exclusiveMaximum": false}),
            json!({"type": "number", "maximum": 1}),
        ),
        (
            json!({"nullable": true, "type": "object", "properties": {"a": {"type": "string"}}}),
            json!({"oneOf": [{"type": "null"}, {"type": "object", "properties": {"a": {"type": "string"}}}]}),
        ),
    ];
    for (old, new) in cases {
        for wrap in [with_body, with_answer] {
            let mut before = wrap(&old);
            before["openapi"] = "3.0.3".into();
            let report = diff(&before, &wrap(&new));
            assert!(
                report.may_deploy && report.may_roll_back && report.changes.is_empty(),
                "{old}: {report:#?}"
            );
        }
    }
}

/// Lets some properties travel in one flow only, and some refer back to the whole.
fn hide_some(dice: &mut Dice, schema: &mut Value) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter(|property| property.is_object()) {
            match dice.below(6) {
                0 => property["readOnly"] = json!(true),
                1 => property["writeOnly"] = json!(true),
                2 => *property = json!({"$ref": "#/components/schemas/Moved"}),
                _ => {}
            }
        }
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|value| hide_some(dice, value)),
        Value::Array(items) => items.iter_mut().for_each(|value| hide_some(dice, value)),
        _ => {}
    }
}

#[test]
fn what_is_found_in_one_flow_does_not_depend_on_the_other() {
    for seed in 0..2 * cases() {
        let (mut old, mut new) = pair(seed);
        hide_some(&mut Dice::new(seed), &mut old);
        hide_some(&mut Dice::new(seed), &mut new);
        let body = json!({"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Moved"}}}}});
        let answer = json!({"200": {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Moved"}}}}});
        let compared = |has_body: bool, answers: &Value| {
            let mut operation = if has_body { body.clone() } else { json!({}) };
            operation["responses"] = answers.clone();
            let [before, after] = [&old, &new].map(|schema| {
                let mut document = with_operation(&operation);
                document["components"] = json!({"schemas": {"Moved": schema}});
                document
            });
            diff(&before, &after)
        };
        let both = compared(true, &answer);
        let (request, response) = (compared(true, &json!({})), compared(false, &answer));
        let mut apart = request.clone();
        apart.changes.extend(response.changes);
        apart.changes.sort_by(|one, other| {
            (other.level, &one.place, one.rule.id, &one.message).cmp(&(
                one.level,
                &other.place,
                other.rule.id,
                &other.message,
            ))
        });
        apart.not_checked.extend(response.not_checked);
        apart.not_checked.sort();
        apart.not_checked.dedup();
        assert_eq!(both.changes, apart.changes, "seed {seed}: {old} -> {new}");
        assert_eq!(both.not_checked, apart.not_checked, "seed {seed}: {old} -> {new}");
        assert_eq!(
            both.may_roll_back,
            request.may_roll_back && response.may_roll_back,
            "seed {seed}: {old} -> {new}"
        );
    }
}
