//! One OpenAPI document of 5 MB with 1,000 operations, as JSON and as YAML, against versions of it.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_contract::{Kind, Options, Source, diff_as};
use saphyr_parser::{Parser, StrInput};
use serde_json::{Map, Value, json};

use crate::fastest;

const OPERATIONS: usize = 1_000;
const ROUNDS: usize = 5;

/// What is compared with the document: its name, and every how many schemas of it are changed.
const VERSIONS: [(&str, Option<usize>); 3] =
    [("the same", None), ("1 % of schemas changed", Some(100)), ("every schema changed", Some(1))];

/// Prints the table, a process a line.
pub(crate) fn table() {
    let folder = std::env::temp_dir().join(format!("bench-contract-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the documents");
    let size = |text: &str| text.len() as f64 / 1e6;
    let (json, yaml) = (text("json", None), text("yaml", None));
    println!("large: {OPERATIONS} operations, {:.1} MB of JSON, {:.1} MB of YAML", size(&json), size(&yaml));
    println!("{:<48} {:>8} {:>14} {:>9}", "", "ms", "of the floor", "peak MB");
    for syntax in ["json", "yaml"] {
        let old = write(&folder, syntax, "old", None);
        let (ms, peak) = measured("floor", &old, &old);
        show(&format!("{syntax}: plain parse of both"), ms, 1.0, peak);
        for (name, every) in VERSIONS {
            let new = write(&folder, syntax, "new", every);
            let (time, peak) = measured("diff", &old, &new);
            show(&format!("{syntax}: read and compare, {name}"), time, time / ms, peak);
        }
    }
    fs::remove_dir_all(&folder).expect("the folder is ours");
}

fn show(name: &str, ms: f64, ratio: f64, peak_mb: f64) {
    println!("{name:<48} {ms:>8.0} {ratio:>14.1} {peak_mb:>9.0}");
}

fn write(folder: &Path, syntax: &str, name: &str, every: Option<usize>) -> PathBuf {
    let path = folder.join(format!("{name}.{syntax}"));
    fs::write(&path, text(syntax, every)).expect("the document can be written");
    path
}

/// Runs one measurement in a process of its own: its milliseconds, and its peak of memory in MB.
fn measured(work: &str, old: &Path, new: &Path) -> (f64, f64) {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).args(["large", work]).args([old, new]).output();
    let output = output.expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [ms, peak_mb] = figures.as_slice() else { panic!("no figures in {text:?}") };
    (*ms, *peak_mb)
}

/// Measures one line: prints milliseconds and the peak of memory.
pub(crate) fn measure(work: &str, old: &str, new: &str) {
    let read = |path: &str| fs::read_to_string(path).expect("the document can be read");
    let texts = [read(old), read(new)];
    let time = match work {
        "floor" if old.ends_with("json") => fastest(ROUNDS, || {
            black_box(texts.each_ref().map(|text| serde_json::from_str::<Value>(text).expect("valid JSON")));
        }),
        "floor" => fastest(ROUNDS, || {
            black_box(texts.each_ref().map(|text| Parser::new(StrInput::new(text)).count()));
        }),
        _ => {
            let sources = texts.each_ref().map(|text| Source::file(old, text.as_bytes()));
            fastest(ROUNDS, || {
                let report = diff_as(Kind::OpenApi, &sources[0], &sources[1], &Options::default());
                black_box(report.expect("valid"));
            })
        }
    };
    println!("{:.3} {:.1}", time.as_secs_f64() * 1e3, peak_mb());
}

/// The most memory that this process has held.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1e3
}

fn text(syntax: &str, every: Option<usize>) -> String {
    let mut document = document();
    for index in (0..OPERATIONS).step_by(every.unwrap_or(OPERATIONS)).filter(|_| every.is_some()) {
        document["components"]["schemas"][format!("Model{index}")]["properties"]["count"]["maximum"] =
            json!(1_000 + index);
    }
    if syntax == "json" {
        return document.to_string();
    }
    let mut text = String::new();
    write_yaml(&document, 0, &mut text);
    text
}

/// A document with as many operations and schemas, which refer to one another.
fn document() -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for index in 0..OPERATIONS {
        paths.insert(format!("/things{index}/{{id}}"), json!({"post": operation(index)}));
        schemas.insert(format!("Model{index}"), schema(index));
    }
    json!({"openapi": "3.0.3", "info": {"title": "large", "version": "1"}, "paths": paths, "components": {"schemas": schemas}})
}

fn operation(index: usize) -> Value {
    let reference = json!({"$ref": format!("#/components/schemas/Model{index}")});
    let content = json!({"application/json": {"schema": reference}});
    let parameter = |number: usize| {
        json!({
            "name": format!("p{number}"), "in": "query", "schema": {"type": "integer"},
            "description": "what it is for ".repeat(5),
        })
    };
    json!({
        "operationId": format!("operation{index}"),
        "description": "a longer text about what the operation does ".repeat(23),
        "parameters": (0..6).map(parameter).collect::<Vec<_>>(),
        "requestBody": {"content": content},
        "responses": {"200": {"description": "ok", "content": content}, "404": {"description": "not there"}},
    })
}

fn schema(index: usize) -> Value {
    let mut properties = Map::new();
    for number in 0..14 {
        let described =
            json!({"type": "string", "description": "what the field holds ".repeat(6), "maxLength": 100});
        properties.insert(format!("field{number}"), described);
    }
    properties.insert("count".into(), json!({"type": "integer", "maximum": 100}));
    // Rings of ten, as models of one part of a system refer to one another; one ring of all would make any change one of
    // everything.
    let next = format!("#/components/schemas/Model{}", index - index % 10 + (index + 1) % 10);
    properties.insert("next".into(), json!({"$ref": next}));
    json!({"type": "object", "required": ["field0"], "properties": properties})
}

/// Writes a value as block YAML; scalars as JSON, which YAML reads.
fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(text, "{indent}{}:", Value::from(key.as_str()));
                write_below(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for value in items {
                let _ = write!(text, "{indent}-");
                write_below(value, depth, text);
            }
        }
        scalar => {
            let _ = writeln!(text, "{indent}{scalar}");
        }
    }
}

fn write_below(value: &Value, depth: usize, text: &mut String) {
    let is_block = value.as_object().is_some_and(|map| !map.is_empty())
        || value.as_array().is_some_and(|items| !items.is_empty());
    if is_block {
        text.push('\n');
        write_yaml(value, depth + 1, text);
    } else {
        let _ = writeln!(text, " {value}");
    }
}
