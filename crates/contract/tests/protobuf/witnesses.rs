//! Every witness, held against an independent implementation: the writer must really produce its bytes, and the
//! reader must really refuse or misread them.

use lockstep_contract::{Change, Kind, Level, Options, Parsed, ProtobufPolicy, Source, diff_parsed};
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions, prost::Message as _,
};
use serde_json::Value;

use super::report;

/// The messages of one file, as the independent implementation knows them.
fn message(text: &str, name: &str) -> MessageDescriptor {
    let file = protox_parse::parse("a.proto", text).expect("valid");
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(file).expect("links");
    pool.get_message_by_name(name).expect("the message of the witness exists")
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn as_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().skip_default_fields(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("JSON")
}

/// Checks that the writer of the witness produces its bytes, and returns what the reader makes of them.
fn read_back(old: &str, new: &str, witness: &Value) -> Option<Value> {
    let (writer, reader) = if witness["written_by"] == "old" { (old, new) } else { (new, old) };
    let name = witness["message"].as_str().expect("a message");
    let wire = bytes(witness["wire"].as_str().expect("hex"));
    let written = DynamicMessage::deserialize(message(writer, name), witness["json"].clone());
    if let Ok(written) = written {
        assert_eq!(written.encode_to_vec(), wire, "{witness}");
    } else {
        // Bytes that are not text have a JSON form under `bytes` only.
        panic!("the writer refuses its own witness {witness}");
    }
    DynamicMessage::decode(message(reader, name), wire.as_slice()).ok().map(|message| as_json(&message))
}

const BREAKS: &[(&str, &str)] = &[
    ("int32 a = 1;", "string a = 1;"),
    ("string a = 1;", "int32 a = 1;"),
    ("int32 a = 1;", "sint32 a = 1;"),
    ("sint64 a = 1;", "uint64 a = 1;"),
    ("fixed32 a = 1;", "float a = 1;"),
    ("double a = 1;", "sfixed64 a = 1;"),
    ("bytes a = 1;", "string a = 1;"),
    ("bool a = 1;", "double a = 1;"),
    ("bytes a = 1;", "A a = 1;"),
    ("repeated int32 a = 1;", "int32 a = 1;"),
    ("repeated string a = 1;", "repeated fixed64 a = 1;"),
    ("uint64 a = 7;", "uint32 a = 7;"),
    ("int32 a = 1;", "uint32 a = 1;"),
    ("int64 a = 1;", "int32 a = 1;"),
    ("sfixed32 a = 1;", "fixed32 a = 1;"),
    ("uint32 a = 200;", "bool a = 200;"),
    ("sint64 a = 1;", "sint32 a = 1;"),
    ("fixed64 a = 1;", "sfixed64 a = 1;"),
    ("string a = 1;", ""),
    ("E a = 1;", "string a = 1;"),
    ("A a = 1;", "double a = 1;"),
    ("int32 a = 1; string b = 2;", "oneof o { int32 a = 1; string b = 2; }"),
    ("oneof o { int32 a = 1; string b = 2; }", "oneof o { int32 a = 1; } oneof p { string b = 2; }"),
];

#[test]
fn readers_refuse_or_misread_every_witness() {
    let mut shown = 0;
    for (old, new) in BREAKS {
        let file =
            |field: &str| format!("syntax = \"proto3\"; enum E {{ Z = 0; Y = 5; }} message A {{ {field} }}");
        let (old, new) = (file(old), file(new));
        let report = report(&old, &new, ProtobufPolicy::Wire);
        let hurt = report.changes.iter().filter(|change| change.level > Level::Info);
        let witnesses: Vec<&Value> = hurt.filter_map(|change| change.witness.as_ref()).collect();
        assert!(!witnesses.is_empty(), "{old} -> {new} has a witness");
        for witness in witnesses {
            let read = read_back(&old, &new, witness);
            assert_ne!(
                read.as_ref(),
                Some(&witness["json"]),
                "{old} -> {new}: {witness} is read as it was written"
            );
            shown += 1;
        }
    }
    assert!(shown >= BREAKS.len());
}

#[test]
fn messages_that_meet_under_two_names_say_both_and_are_run() {
    let file = |name: &str, field: &str| {
        format!(
            "syntax = \"proto3\"; message {name} {{ {field} }} service S {{ rpc Do({name}) returns ({name}); }}"
        )
    };
    let (old, new) = (file("A", "int32 a = 1;"), file("B", "string a = 1;"));
    let source = |text: &str| Source::file("a.proto", text.as_bytes());
    let (old, new) = (source(&old), source(&new));
    let [before, after] = [&old, &new].map(|side| Parsed::read(side, Kind::Protobuf).expect("valid"));
    let mut report = diff_parsed(&before, &after, &Options::default()).expect("valid");
    let tried = report.run_witnesses(&before, &after, &Options::default());
    assert!(tried.confirmed > 0 && tried.refuted == 0, "{tried:?}: {report:#?}");
    let shown = report.changes.iter().filter_map(Change::shown).find(|shown| shown["message"].is_string());
    let shown = shown.expect("a message");
    let names = if shown["written_by"] == "old" { ("A", "B") } else { ("B", "A") };
    assert_eq!((&shown["message"], &shown["read_as"]), (&Value::from(names.0), &Value::from(names.1)));
}

#[test]
fn required_fields_are_missing_from_their_witness() {
    let old = "syntax = \"proto2\"; message A {}";
    let new = "syntax = \"proto2\"; message A { required int32 a = 1; }";
    let report = report(old, new, ProtobufPolicy::Wire);
    let witness = report.changes[0].witness.as_ref().expect("a witness");
    assert_eq!((&witness["wire"], &witness["written_by"]), (&Value::from(""), &Value::from("old")));
}
