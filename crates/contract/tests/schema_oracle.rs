//! The semantic oracle: an independent validator looks for documents that contradict a verdict.
//!
//! `LOCKSTEP_CONTRACT_CASES` sets how many pairs of schemas are tried (the default keeps a test run short) and
//! `LOCKSTEP_CONTRACT_SEED` where to start.

#[path = "support/documents.rs"]
mod documents;
#[path = "support/schemas.rs"]
mod schemas;

use documents::document;
use lockstep_contract::{
    Change, Kind, Level, Options, Parsed, Report, Source, UnknownFields, Verdict, diff_parsed,
};
use schemas::{Dice, changed, schema};
use serde_json::{Map, Value, json};

/// Documents tried for every pair of schemas.
const DOCUMENTS: usize = 40;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn compare(old: &Value, new: &Value) -> Report {
    compare_as(Kind::JsonSchema, old, new)
}

fn compare_as(kind: Kind, old: &Value, new: &Value) -> Report {
    let source = |value: &Value| Source::file("schema.json", value.to_string().into_bytes());
    let options = Options { unknown_fields: UnknownFields::Validated, ..Options::default() };
    let (old, new) = (source(old), source(new));
    let [before, after] = [&old, &new].map(|side| Parsed::read(side, kind).expect("valid input"));
    let report = diff_parsed(&before, &after, &options).expect("valid input");
    let tried = report.clone().run_witnesses(&before, &after, &options);
    assert_eq!(tried.refuted, 0, "a witness does not fail: {report:#?}");
    report
}

fn validator(schema: &Value) -> jsonschema::Validator {
    if schema.get("$schema").is_some() {
        return jsonschema::draft7::options().build(schema).expect("valid schema");
    }
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).expect("valid schema")
}

fn pair(seed: u64) -> (Dice, Value, Value) {
    let mut dice = Dice::new(seed);
    let depth = 1 + dice.below(3);
    let old = schema(&mut dice, depth);
    let mut new = old.clone();
    for _ in 0..=dice.below(2) {
        new = changed(&mut dice, &new);
    }
    if dice.chance(10) {
        new = schema(&mut dice, depth);
    }
    (dice, old, new)
}

/// Checks one direction: no document may contradict the verdict, and every witness must hold.
fn check(seed: u64, dice: &mut Dice, (old, new): (&Value, &Value), verdict: Verdict, changes: &[Change]) {
    let (before, after) = (validator(old), validator(new));
    for change in changes.iter().filter(|change| change.level == Level::Error) {
        if let Some(witness) = &change.witness {
            let shows = before.is_valid(witness) && !after.is_valid(witness);
            assert!(shows, "seed {seed}: witness {witness} of {} between\n{old}\n{new}", change.message);
        }
    }
    for round in 0..DOCUMENTS {
        let candidate = document(dice, if round % 3 == 0 { new } else { old }, 4);
        if before.is_valid(&candidate) && !after.is_valid(&candidate) {
            let told = |change: &Change| {
                change.level == Level::Warning && change.rule.id.starts_with("response-pattern")
            };
            let flagged = verdict != Verdict::Compatible || changes.iter().any(told);
            assert!(
                flagged,
                "seed {seed}: {candidate} was allowed and is not, but nothing was found between\n{old}\n{new}"
            );
        }
    }
}

#[test]
fn no_document_contradicts_a_verdict() {
    let (start, cases) = (setting("LOCKSTEP_CONTRACT_SEED", 0), setting("LOCKSTEP_CONTRACT_CASES", 1500));
    let mut tally = [0_usize; 3];
    let mut silent = 0;
    for seed in start..start + cases {
        let (mut dice, old, new) = pair(seed);
        let report = compare(&old, &new);
        tally[report.verdict as usize] += 1;
        silent += report
            .changes
            .iter()
            .filter(|change| change.level == Level::Error && change.witness.is_none())
            .count();
        check(seed, &mut dice, (&old, &new), report.verdict, &report.changes);
        check(seed, &mut dice, (&new, &old), report.roll_back.verdict(), &report.roll_back.changes);
    }
    let [compatible, breaking, undecided] = tally;
    // Read by `cargo xtask fuzz contract`.
    println!(
        "{cases} pairs, {} documents: {compatible} compatible, {breaking} breaking ({silent} errors without a witness), {undecided} not decided",
        cases * 2 * DOCUMENTS as u64
    );
    assert!(undecided * 4 < tally.iter().sum::<usize>(), "most pairs are decided: {undecided} are not");
}

/// A schema as the body of a request and of a response of an OpenAPI document.
#[derive(Clone, Copy)]
enum Flow {
    Request,
    Response,
}

fn openapi(version: &str, flow: Flow, schema: &Value) -> Value {
    let referred = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}});
    let operation = match flow {
        Flow::Request => {
            json!({"requestBody": {"content": referred}, "responses": {"204": {"description": ""}}})
        }
        Flow::Response => json!({"responses": {"200": {"description": "", "content": referred}}}),
    };
    json!({"openapi": version, "info": {}, "paths": {"/a": {"post": operation}}, "components": {"schemas": {"Body": schema}}})
}

/// The schema as OpenAPI 3.0 writes it: `nullable` instead of a list of types.
fn in_3_0(schema: &Value) -> Value {
    let Value::Object(map) = schema else {
        return schema.as_array().map_or_else(|| schema.clone(), |items| items.iter().map(in_3_0).collect());
    };
    let mut written: Map<String, Value> = Map::new();
    for (key, value) in map {
        match (key.as_str(), value) {
            ("type", Value::Array(kinds)) => {
                written.insert("type".into(), kinds[0].clone());
                written.insert("nullable".into(), json!(true));
            }
            ("enum" | "const" | "required", data) => drop(written.insert(key.clone(), data.clone())),
            (_, value) => drop(written.insert(key.clone(), in_3_0(value))),
        }
    }
    written.into()
}

/// The bodies of witnesses, each with the change it shows.
fn with_bodies(changes: &[Change]) -> Vec<Change> {
    let body = |change: &Change| change.witness.as_ref().map(|witness| witness["body"].clone());
    changes.iter().map(|change| change.clone().with_witness(body(change))).collect()
}

#[test]
fn no_document_contradicts_a_verdict_about_requests_and_responses() {
    let (start, cases) = (setting("LOCKSTEP_CONTRACT_SEED", 0), setting("LOCKSTEP_CONTRACT_CASES", 400));
    for seed in start..start + cases {
        let (mut dice, old, new) = pair(seed);
        for (version, flow) in [
            ("3.0.3", Flow::Request),
            ("3.0.3", Flow::Response),
            ("3.1.0", Flow::Request),
            ("3.1.0", Flow::Response),
        ] {
            let written = |schema: &Value| if version == "3.0.3" { in_3_0(schema) } else { schema.clone() };
            let document = |schema: &Value| openapi(version, flow, &written(schema));
            let report = compare_as(Kind::OpenApi, &document(&old), &document(&new));
            let (forward, backward) = (with_bodies(&report.changes), with_bodies(&report.roll_back.changes));
            let (first, second) = match flow {
                Flow::Request => ((&old, &new), (&new, &old)),
                Flow::Response => ((&new, &old), (&old, &new)),
            };
            check(seed, &mut dice, first, report.verdict, &forward);
            check(seed, &mut dice, second, report.roll_back.verdict(), &backward);
        }
    }
}

#[test]
fn no_document_contradicts_a_verdict_under_early_drafts() {
    let (start, cases) = (setting("LOCKSTEP_CONTRACT_SEED", 0), setting("LOCKSTEP_CONTRACT_CASES", 400));
    let draft_7 = |schema: &Value| {
        let mut schema = if schema.is_object() { schema.clone() } else { json!({"allOf": [schema]}) };
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        schema
    };
    for seed in start..start + cases {
        let (mut dice, old, new) = pair(seed);
        let (old, new) = (draft_7(&old), draft_7(&new));
        let report = compare_as(Kind::JsonSchema, &old, &new);
        check(seed, &mut dice, (&old, &new), report.verdict, &report.changes);
        check(seed, &mut dice, (&new, &old), report.roll_back.verdict(), &report.roll_back.changes);
    }
}

#[test]
fn a_schema_is_the_same_as_itself() {
    for seed in 0..setting("LOCKSTEP_CONTRACT_CASES", 500) {
        let (_, old, _) = pair(seed);
        let report = compare(&old, &old);
        assert!(report.changes.is_empty() && report.not_checked.is_empty(), "seed {seed}: {old}");
        assert!(report.may_deploy && report.may_roll_back);
    }
}
