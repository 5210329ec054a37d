//! How long reading and comparing a large OpenAPI document takes, beside a plain `serde_json` parse of the same bytes.
//!
//! `cargo run --release -p lockstep-contract --example bench_openapi [OPERATIONS]`

use std::time::{Duration, Instant};

use lockstep_contract::{Kind, Options, Source, diff_as};
use serde_json::{Map, Value, json};

/// Rounds of each measurement; the fastest counts.
const ROUNDS: usize = 7;

fn main() {
    let operations = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let old = document(operations);
    let mut changed = old.clone();
    for index in (0..operations).step_by(100) {
        changed["components"]["schemas"][format!("Model{index}")]["properties"]["count"]["maximum"] =
            json!(7);
    }
    let mut described = old.clone();
    for index in 0..operations {
        described["components"]["schemas"][format!("Model{index}")]["properties"]["count"]["maximum"] =
            json!(1000 + index);
    }
    let old = old.to_string();
    let floor = fastest(|| drop((parse(&old), parse(&old))));
    println!(
        "{operations} operations, {:.1} MB; serde_json parse of both: {floor:.1?}",
        old.len() as f64 / 1e6
    );
    for (name, new) in [
        ("the same", old.clone()),
        ("1 % of schemas changed", changed.to_string()),
        ("every schema changed", described.to_string()),
    ] {
        let (old, new) = (source(&old), source(&new));
        let mut changes = 0;
        let time = fastest(|| {
            changes = diff_as(Kind::OpenApi, &old, &new, &Options::default()).expect("valid").changes.len();
        });
        println!(
            "{name}: {time:.1?}, {:.2} times the parse, {changes} changes",
            time.as_secs_f64() / floor.as_secs_f64()
        );
    }
    small_contracts();
}

/// How many pairs of small contracts are compared in a second.
fn small_contracts() {
    let old = json!({"openapi": "3.0.3", "info": {"title": "small", "version": "1"}, "paths": {"/a": {"get": {
        "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}}],
        "responses": {"200": {"description": "ok", "content": {"application/json": {"schema": {"type": "object",
            "properties": {"id": {"type": "string"}, "state": {"enum": ["new", "paid"]}}}}}}}}}}});
    let mut new = old.clone();
    new["paths"]["/a"]["get"]["parameters"][0]["schema"]["maximum"] = json!(50);
    let (old, new) = (source(&old.to_string()), source(&new.to_string()));
    let start = Instant::now();
    let pairs = 2000;
    for _ in 0..pairs {
        diff_as(Kind::OpenApi, &old, &new, &Options::default()).expect("valid");
    }
    println!("small contracts: {:.0} pairs a second", f64::from(pairs) / start.elapsed().as_secs_f64());
}

fn source(text: &str) -> Source {
    Source::file("openapi.json", text.as_bytes())
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("valid JSON")
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    rounds.min().unwrap_or_default()
}

/// A document with as many operations and schemas, some of which refer to others.
fn document(operations: usize) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for index in 0..operations {
        let reference = json!({"$ref": format!("#/components/schemas/Model{index}")});
        let content = json!({"application/json": {"schema": reference}});
        let parameters: Vec<Value> = (0..6)
            .map(|number| json!({"name": format!("p{number}"), "in": "query", "description": "what it is for ".repeat(4), "schema": {"type": "integer"}}))
            .collect();
        paths.insert(format!("/things{index}/{{id}}"), json!({"post": {
            "operationId": format!("operation{index}"),
            "description": "a longer text about what the operation does ".repeat(10),
            "parameters": parameters,
            "requestBody": {"content": content.clone()},
            "responses": {"200": {"description": "ok", "content": content}, "404": {"description": "not there"}},
        }}));
        let mut properties = Map::new();
        for number in 0..14 {
            properties.insert(
                format!("field{number}"),
                json!({"type": "string", "description": "what the field holds ".repeat(4), "maxLength": 100}),
            );
        }
        properties.insert("count".into(), json!({"type": "integer", "maximum": 100}));
        properties.insert(
            "next".into(),
            json!({"$ref": format!("#/components/schemas/Model{}", (index + 1) % operations.max(1))}),
        );
        schemas.insert(
            format!("Model{index}"),
            json!({"type": "object", "required": ["field0"], "properties": properties}),
        );
    }
    json!({"openapi": "3.0.3", "info": {"title": "large", "version": "1"}, "paths": paths, "components": {"schemas": schemas}})
}
