//! The semantic oracle of Avro: an independent library reads what writers write, and looks for data that contradict a verdict.
//!
//! `LOCKSTEP_AVRO_CASES` sets how many pairs of schemas are tried (the default keeps a test run short) and `LOCKSTEP_AVRO_SEED`
//! where to start. Data are encoded here, by the specification, and read with the reader's schema by `apache-avro`, which
//! differs from the specification so:
//!
//! - It knows no aliases, and compares no names: it reads a renamed record, and does not find a renamed field. What is told as
//!   read by an alias is left out.
//! - It refuses bytes that are not UTF-8 as text, which is told by a rule of its own; the specification lets them resolve.
//! - It chooses the branch of a union by the value and not by the writer's type, and reads a large type as a smaller one where the
//!   value fits. So it reads more than the specification, and of the witnesses only the number that fails here too is told.

#[path = "support/schemas.rs"]
#[expect(dead_code, reason = "only the dice are used")]
mod schemas;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use lockstep_contract::{Change, Kind, Level, Options, Report, Source, Verdict, diff_as};
use schemas::Dice;
use serde_json::{Map, Value, json};

/// Data tried for every pair of schemas, each way.
const DATA: usize = 20;

/// What is told and reads well by the specification, and that the library may refuse.
const TOLD: [&str; 2] = ["avro-read-by-alias", "avro-bytes-read-as-text"];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn compare(old: &Value, new: &Value) -> Report {
    let source = |value: &Value| Source::file("schema.avsc", value.to_string().into_bytes());
    diff_as(Kind::Avro, &source(old), &source(new), &Options::default()).expect("valid input")
}

/// Makes schemas; every named type gets a name of its own.
struct Maker {
    names: usize,
}

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

impl Maker {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("T{}", self.names)
    }

    fn schema(&mut self, dice: &mut Dice, depth: usize) -> Value {
        let most = if depth == 0 { 6 } else { 10 };
        match dice.below(most) {
            0..=3 => json!(PRIMITIVES[dice.below(8)]),
            4 => {
                json!({"type": "enum", "name": self.name(), "symbols": (0..1 + dice.below(3)).map(|i| format!("S{i}")).collect::<Vec<_>>()})
            }
            5 => json!({"type": "fixed", "name": self.name(), "size": 1 + dice.below(3)}),
            6 => json!({"type": "array", "items": self.schema(dice, depth - 1)}),
            7 => json!({"type": "map", "values": self.schema(dice, depth - 1)}),
            8 => self.union(dice, depth - 1),
            _ => self.record(dice, depth - 1),
        }
    }

    fn union(&mut self, dice: &mut Dice, depth: usize) -> Value {
        let mut branches: Vec<Value> = Vec::new();
        for _ in 0..1 + dice.below(4) {
            let branch = self.schema(dice, depth);
            let kind = |value: &Value| match value.get("type").unwrap_or(value).as_str() {
                Some("enum" | "fixed" | "record") => value["name"].to_string(),
                other => other.unwrap_or_default().to_owned(),
            };
            if !branch.is_array() && branches.iter().all(|other| kind(other) != kind(&branch)) {
                branches.push(branch);
            }
        }
        if branches.is_empty() { json!(["null"]) } else { json!(branches) }
    }

    fn record(&mut self, dice: &mut Dice, depth: usize) -> Value {
        let name = self.name();
        let mut fields = Vec::new();
        for index in 0..1 + dice.below(3) {
            fields.push(self.field(dice, depth, index));
        }
        if dice.chance(15) {
            fields.push(json!({"name": "next", "type": ["null", name], "default": null}));
        }
        json!({"type": "record", "name": name, "fields": fields})
    }

    fn field(&mut self, dice: &mut Dice, depth: usize, index: usize) -> Value {
        let of = self.schema(dice, depth);
        let mut field = json!({"name": format!("f{index}"), "type": of});
        if dice.chance(50)
            && let Some(default) = default(&of)
        {
            field["default"] = default;
        }
        field
    }

    /// Changes one thing somewhere.
    fn changed(&mut self, dice: &mut Dice, schema: &Value) -> Value {
        let mut schema = schema.clone();
        match &mut schema {
            Value::String(name) => {
                // Widening, narrowing, and what has nothing to do with it.
                let others: &[&str] = match name.as_str() {
                    "int" => &["long", "float", "double", "string"],
                    "long" => &["int", "float", "double"],
                    "float" => &["double", "int"],
                    "string" => &["bytes", "int"],
                    "bytes" => &["string"],
                    _ => &["int", "string"],
                };
                if PRIMITIVES.contains(&name.as_str()) {
                    return if dice.chance(20) && name != "null" {
                        json!(["null", name])
                    } else {
                        json!(others[dice.below(others.len())])
                    };
                }
            }
            // The union that ends a record which holds itself stays, or it would have no data.
            Value::Array(branches)
                if branches
                    .iter()
                    .any(|branch| branch.as_str().is_some_and(|name| !PRIMITIVES.contains(&name))) => {}
            Value::Array(branches) => match dice.below(4) {
                0 if branches.len() > 1 => drop(branches.remove(dice.below(branches.len()))),
                1 => {
                    let missing = PRIMITIVES.iter().find(|name| !branches.contains(&json!(name)));
                    branches.extend(missing.map(|name| json!(name)));
                }
                2 => branches.reverse(),
                _ => {
                    let index = dice.below(branches.len());
                    let changed = self.changed(dice, &branches[index]);
                    let doubled = |other: &Value| other == &changed || changed.is_array();
                    if changed.is_object() || !branches.iter().any(doubled) {
                        branches[index] = changed;
                    }
                }
            },
            Value::Object(map) => match map["type"].as_str().unwrap_or_default() {
                "enum" => {
                    let symbols = map["symbols"].as_array_mut().expect("symbols");
                    match dice.below(4) {
                        0 if symbols.len() > 1 => drop(symbols.pop()),
                        1 => {
                            let first = symbols[0].clone();
                            map.insert("default".into(), first);
                        }
                        2 => symbols.reverse(),
                        _ => symbols.push(json!(format!("S{}", 10 + symbols.len()))),
                    }
                }
                "fixed" => drop(map.insert("size".into(), json!(1 + dice.below(3)))),
                "array" => drop(map.insert("items".into(), self.changed(dice, &map["items"].clone()))),
                "map" => drop(map.insert("values".into(), self.changed(dice, &map["values"].clone()))),
                _ => self.changed_record(dice, map),
            },
            _ => {}
        }
        schema
    }

    fn changed_record(&mut self, dice: &mut Dice, map: &mut Map<String, Value>) {
        let name = map["name"].as_str().unwrap_or_default().to_owned();
        let fields = map["fields"].as_array_mut().expect("fields");
        match dice.below(6) {
            0 if fields.len() > 1 => drop(fields.remove(dice.below(fields.len()))),
            1 => fields.push(self.field(dice, 1, 20 + fields.len())),
            2 => fields.reverse(),
            3 => drop(fields[0].as_object_mut().expect("a field").remove("default")),
            4 if !name.is_empty() => drop(map.insert("doc".into(), json!("words"))),
            _ => {
                let index = dice.below(fields.len());
                let of = self.changed(dice, &fields[index]["type"].clone());
                let field = fields[index].as_object_mut().expect("a field");
                field.remove("default");
                if let Some(default) = default(&of).filter(|_| dice.chance(50)) {
                    field.insert("default".into(), default);
                }
                field.insert("type".into(), of);
            }
        }
    }
}

/// A default of a type, as the first of its branches.
fn default(schema: &Value) -> Option<Value> {
    match schema {
        Value::Array(branches) => default(branches.first()?),
        Value::String(name) => match name.as_str() {
            "null" => Some(Value::Null),
            "boolean" => Some(json!(true)),
            "int" | "long" => Some(json!(7)),
            "float" | "double" => Some(json!(2.5)),
            "bytes" | "string" => Some(json!("d")),
            _ => None,
        },
        _ => match schema["type"].as_str()? {
            "enum" => schema["symbols"].get(0).cloned(),
            "array" => Some(json!([])),
            "map" => Some(json!({})),
            _ => None,
        },
    }
}

/// All named types of a schema.
fn named(schema: &Value, found: &mut Map<String, Value>) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|branch| named(branch, found)),
        Value::Object(map) => {
            if let Some(name) = map.get("name").and_then(Value::as_str).filter(|_| map.contains_key("type")) {
                found.entry(name).or_insert_with(|| schema.clone());
            }
            map.values().for_each(|value| named(value, found));
        }
        _ => {}
    }
}

/// Writes data of a schema, by the specification.
struct Writer<'s> {
    names: &'s Map<String, Value>,
    /// Whether bytes may be no text.
    any_bytes: bool,
}

impl Writer<'_> {
    fn write(&self, dice: &mut Dice, schema: &Value, depth: usize, out: &mut Vec<u8>) {
        match schema {
            Value::Array(branches) => {
                let null = branches.iter().position(|branch| branch == "null").filter(|_| depth > 6);
                let index = null.unwrap_or_else(|| dice.below(branches.len()));
                number(index as i64, out);
                self.write(dice, &branches[index], depth + 1, out);
            }
            Value::String(name) => match name.as_str() {
                "null" => {}
                "boolean" => out.push(u8::from(dice.chance(50))),
                "int" => number(i64::from(i32::MIN) + [0, 1 << 31, (1 << 32) - 1][dice.below(3)], out),
                "long" => number([i64::MIN, 0, 5, i64::MAX, 1 << 40][dice.below(5)], out),
                "float" => out.extend([1.5_f32, -0.0, f32::MAX][dice.below(3)].to_le_bytes()),
                "double" => out.extend([1.5_f64, -0.0, f64::MAX][dice.below(3)].to_le_bytes()),
                "bytes" if self.any_bytes => text(&[0xff, 0], out),
                "bytes" | "string" => text([&b""[..], b"a", "\u{e9}".as_bytes()][dice.below(3)], out),
                name => self.write(dice, &self.names[name], depth + 1, out),
            },
            _ => match schema["type"].as_str().unwrap_or_default() {
                "enum" => number(dice.below(schema["symbols"].as_array().map_or(1, Vec::len)) as i64, out),
                "fixed" => out.extend((0..schema["size"].as_u64().unwrap_or(0)).map(|_| b'x')),
                "array" => self.block(dice, &schema["items"], false, depth, out),
                "map" => self.block(dice, &schema["values"], true, depth, out),
                _ => schema["fields"].as_array().into_iter().flatten().for_each(|field| {
                    self.write(dice, &field["type"], depth + 1, out);
                }),
            },
        }
    }

    fn block(&self, dice: &mut Dice, of: &Value, keyed: bool, depth: usize, out: &mut Vec<u8>) {
        let count = if depth > 6 { 0 } else { dice.below(3) };
        if count > 0 {
            number(count as i64, out);
            for index in 0..count {
                if keyed {
                    text(format!("k{index}").as_bytes(), out);
                }
                self.write(dice, of, depth + 1, out);
            }
        }
        number(0, out);
    }

    /// Encodes a datum in the JSON form.
    fn encode(&self, schema: &Value, datum: &Value, out: &mut Vec<u8>) {
        match schema {
            Value::Array(branches) => {
                let (tag, value) = match datum {
                    Value::Null => ("null", datum),
                    _ => datum
                        .as_object()
                        .and_then(|map| map.iter().next())
                        .map(|(tag, value)| (tag.as_str(), value))
                        .expect("a tag"),
                };
                let of = |branch: &Value| {
                    let kind = branch.get("type").unwrap_or(branch).as_str().unwrap_or_default().to_owned();
                    branch.get("name").and_then(Value::as_str).map_or(kind, str::to_owned)
                };
                let index = branches.iter().position(|branch| of(branch) == tag).expect("a branch");
                number(index as i64, out);
                self.encode(&branches[index], value, out);
            }
            Value::String(name) => match name.as_str() {
                "null" => {}
                "boolean" => out.push(u8::from(datum == &json!(true))),
                "int" | "long" => number(datum.as_i64().expect("a number"), out),
                "float" => out.extend((datum.as_f64().expect("a number") as f32).to_le_bytes()),
                "double" => out.extend(datum.as_f64().expect("a number").to_le_bytes()),
                "string" => text(datum.as_str().expect("text").as_bytes(), out),
                "bytes" => text(&raw(datum), out),
                name => self.encode(&self.names[name], datum, out),
            },
            _ => match schema["type"].as_str().unwrap_or_default() {
                "enum" => {
                    let symbols = schema["symbols"].as_array().expect("symbols");
                    number(symbols.iter().position(|symbol| symbol == datum).expect("a symbol") as i64, out);
                }
                "fixed" => out.extend(raw(datum)),
                "array" => {
                    for item in datum.as_array().expect("a list") {
                        number(1, out);
                        self.encode(&schema["items"], item, out);
                    }
                    number(0, out);
                }
                "map" => {
                    for (key, value) in datum.as_object().expect("a map") {
                        number(1, out);
                        text(key.as_bytes(), out);
                        self.encode(&schema["values"], value, out);
                    }
                    number(0, out);
                }
                "record" => schema["fields"].as_array().into_iter().flatten().for_each(|field| {
                    let name = field["name"].as_str().expect("a name");
                    self.encode(&field["type"], &datum[name], out);
                }),
                primitive => self.encode(&json!(primitive), datum, out),
            },
        }
    }
}

fn raw(datum: &Value) -> Vec<u8> {
    datum.as_str().expect("bytes").chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

fn number(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    number(bytes.len() as i64, out);
    out.extend(bytes);
}

/// Reads what was written as the library does.
fn read(writer: &Schema, reader: &Schema, mut bytes: &[u8]) -> Result<(), String> {
    let datum = GenericDatumReader::builder(writer)
        .reader_schema(reader)
        .build()
        .map_err(|error| error.to_string())?;
    datum.read_value(&mut bytes).map(drop).map_err(|error| error.to_string())
}

fn pair(seed: u64) -> (Dice, Value, Value) {
    let mut dice = Dice::new(seed);
    let mut maker = Maker { names: 0 };
    let old = maker.record(&mut dice, 2);
    let mut new = old.clone();
    for _ in 0..=dice.below(2) {
        new = maker.changed(&mut dice, &new);
    }
    (dice, old, new)
}

/// Checks one direction: no datum of the writer may contradict the verdict, and witnesses must fail.
fn check(
    seed: u64,
    dice: &mut Dice,
    (writer, reader): (&Value, &Value),
    verdict: Verdict,
    changes: &[Change],
) -> usize {
    let parse = |schema: &Value| Schema::parse_str(&schema.to_string());
    let (Ok(from), Ok(to)) = (parse(writer), parse(reader)) else {
        panic!(
            "seed {seed}: the library refuses what was read here:\n{writer}\n{reader}\n{:?}{:?}",
            parse(writer).err(),
            parse(reader).err()
        );
    };
    let mut names = Map::new();
    named(writer, &mut names);
    let told = changes.iter().any(|change| TOLD.contains(&change.rule.id));
    let plain = Writer { names: &names, any_bytes: false };
    for _ in 0..DATA {
        let mut bytes = Vec::new();
        Writer { any_bytes: dice.chance(30), ..plain }.write(dice, writer, 0, &mut bytes);
        read(&from, &from, &bytes)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}: no data of {writer}"));
        if let Err(error) = read(&from, &to, &bytes) {
            assert!(
                verdict != Verdict::Compatible || told,
                "seed {seed}: {bytes:?} was written and is not read ({error}), but nothing was found between\n{writer}\n{reader}"
            );
        }
    }
    let strict = [
        "avro-field-added-without-default",
        "avro-field-removed-without-default",
        "avro-symbol-removed",
        "avro-symbol-added-unknown",
    ];
    let shown = changes.iter().filter(|change| change.level == Level::Error);
    let mut held = 0;
    for change in shown.filter(|change| strict.contains(&change.rule.id)) {
        let Some(witness) = &change.witness else { continue };
        let mut bytes = Vec::new();
        plain.encode(writer, &witness["datum"], &mut bytes);
        held += usize::from(read(&from, &to, &bytes).is_err());
    }
    held
}

#[test]
fn no_datum_contradicts_a_verdict() {
    let (start, cases) = (setting("LOCKSTEP_AVRO_SEED", 0), setting("LOCKSTEP_AVRO_CASES", 1_500));
    let mut tally = [0_usize; 3];
    let (mut silent, mut held) = (0, 0);
    for seed in start..start + cases {
        let (mut dice, old, new) = pair(seed);
        let report = compare(&old, &new);
        tally[report.verdict as usize] += 1;
        let errors = report.changes.iter().filter(|change| change.level == Level::Error);
        silent += errors.filter(|change| change.witness.is_none()).count();
        held += check(seed, &mut dice, (&old, &new), report.verdict, &report.changes);
        held += check(seed, &mut dice, (&new, &old), report.roll_back.verdict(), &report.roll_back.changes);
    }
    let [compatible, breaking, undecided] = tally;
    // Read by `cargo xtask fuzz avro`.
    println!(
        "{cases} pairs, {} documents: {compatible} compatible, {breaking} breaking ({silent} errors without a witness), {undecided} not decided, {held} witnesses fail in the library too",
        cases * 2 * DATA as u64
    );
    assert!(undecided * 4 < tally.iter().sum::<usize>() + 4, "most pairs are decided: {undecided} are not");
    assert!(held > 0 || cases < 500, "witnesses fail in the library too");
}

#[test]
fn a_schema_is_the_same_as_itself() {
    for seed in 0..setting("LOCKSTEP_AVRO_CASES", 500) {
        let (_, old, _) = pair(seed);
        let report = compare(&old, &old);
        assert!(report.changes.is_empty() && report.not_checked.is_empty(), "seed {seed}: {old}");
        assert!(report.may_deploy && report.may_roll_back);
    }
}
