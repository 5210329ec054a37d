//! The messages of `descriptor.proto`, by descriptor sets that are written here byte by byte.

use lockstep_contract::specification::{Field, Treatment, all};
use lockstep_contract::{Kind, Options, Report, Source, Verdict, diff_as};

use super::walk::assert_open;

/// Objects from the file inward: each with its field in the one around it and what it holds besides.
const WAYS: [(&str, &[&str]); 20] = [
    ("FileDescriptorProto", &[]),
    ("FileOptions", &["FileDescriptorProto"]),
    ("DescriptorProto", &["FileDescriptorProto"]),
    ("MessageOptions", &["FileDescriptorProto", "DescriptorProto"]),
    ("FieldDescriptorProto", &["FileDescriptorProto", "DescriptorProto"]),
    ("FieldOptions", &["FileDescriptorProto", "DescriptorProto", "FieldDescriptorProto"]),
    ("OneofDescriptorProto", &["FileDescriptorProto", "DescriptorProto"]),
    ("OneofOptions", &["FileDescriptorProto", "DescriptorProto", "OneofDescriptorProto"]),
    ("ExtensionRange", &["FileDescriptorProto", "DescriptorProto"]),
    ("ExtensionRangeOptions", &["FileDescriptorProto", "DescriptorProto", "ExtensionRange"]),
    ("EnumDescriptorProto", &["FileDescriptorProto"]),
    ("EnumOptions", &["FileDescriptorProto", "EnumDescriptorProto"]),
    ("EnumValueDescriptorProto", &["FileDescriptorProto", "EnumDescriptorProto"]),
    ("EnumValueOptions", &["FileDescriptorProto", "EnumDescriptorProto", "EnumValueDescriptorProto"]),
    ("ServiceDescriptorProto", &["FileDescriptorProto"]),
    ("ServiceOptions", &["FileDescriptorProto", "ServiceDescriptorProto"]),
    ("MethodDescriptorProto", &["FileDescriptorProto", "ServiceDescriptorProto"]),
    ("MethodOptions", &["FileDescriptorProto", "ServiceDescriptorProto", "MethodDescriptorProto"]),
    ("FeatureSet", &["FileDescriptorProto", "FileOptions"]),
    ("pb.JavaFeatures", &["FileDescriptorProto", "FileOptions", "FeatureSet"]),
];

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn part(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn count(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// An object with a plain content, and its number in the one around it.
fn plain(object: &str) -> (u64, Vec<u8>) {
    let name = |text: &str| part(1, text.as_bytes());
    match object {
        "FileDescriptorProto" => (
            1,
            [name("a.proto"), count(14, 1000), part(12, b"editions"), part(4, &[name("B")].concat())]
                .concat(),
        ),
        "DescriptorProto" => (4, name("A")),
        "FieldDescriptorProto" => (2, [name("a"), count(3, 1), count(4, 1), count(5, 5)].concat()),
        "OneofDescriptorProto" => (8, name("o")),
        "ExtensionRange" => (5, [count(1, 100), count(2, 200)].concat()),
        "EnumDescriptorProto" => (5, [name("E"), part(2, &[name("Z"), count(2, 0)].concat())].concat()),
        "EnumValueDescriptorProto" => (2, [name("Y"), count(2, 1)].concat()),
        "ServiceDescriptorProto" => (6, name("S")),
        "MethodDescriptorProto" => (2, [name("Do"), part(2, b".B"), part(3, b".B")].concat()),
        "FileOptions" => (8, Vec::new()),
        "MessageOptions" => (7, Vec::new()),
        "FieldOptions" => (8, Vec::new()),
        "OneofOptions" => (2, Vec::new()),
        "ExtensionRangeOptions" | "EnumOptions" | "EnumValueOptions" | "ServiceOptions" => (3, Vec::new()),
        "MethodOptions" => (4, Vec::new()),
        "FeatureSet" => (50, Vec::new()),
        "pb.JavaFeatures" => (1001, Vec::new()),
        other => panic!("`{other}` is no object"),
    }
}

/// A set with one of everything on the way to an object, and `extra` in that.
fn set(object: &str, extra: &[u8]) -> Source {
    let (_, way) = WAYS.iter().find(|(name, _)| *name == object).expect("a way");
    let (number, own) = plain(object);
    let mut bytes = part(number, &[own, extra.to_vec()].concat());
    for around in way.iter().rev() {
        let (number, own) = plain(around);
        bytes = part(number, &[own, bytes].concat());
    }
    Source::file("a.binpb", bytes)
}

fn both_ways(old: &Source, new: &Source) -> [Report; 2] {
    let diff = |old, new| diff_as(Kind::Protobuf, old, new, &Options::default()).expect("readable");
    [diff(old, new), diff(new, old)]
}

fn has_way(field: &Field) -> bool {
    WAYS.iter().any(|(name, _)| *name == field.object)
}

fn fields() -> impl Iterator<Item = &'static Field> {
    all()
        .filter(|field| field.versions.contains("2024") || field.versions == "proto3")
        .filter(|field| !field.object.contains(' '))
}

#[test]
fn a_field_that_stands_in_no_list_is_not_checked() {
    for (object, _) in WAYS {
        let (old, one, other) = (set(object, &[]), set(object, &count(901, 1)), set(object, &count(901, 2)));
        assert_open(&both_ways(&old, &one), "901");
        assert_open(&both_ways(&one, &other), "901");
        assert!(both_ways(&one, &one)[0].may_deploy, "{object}: the same on both sides");
    }
}

#[test]
fn every_option_ends_as_its_list_says() {
    let numbers: &[(&str, &str, u64)] = &[
        ("DescriptorProto", "visibility", 11),
        ("EnumDescriptorProto", "visibility", 6),
        ("OneofOptions", "features", 1),
        ("EnumValueOptions", "features", 2),
        ("ServiceOptions", "features", 34),
        ("MethodOptions", "features", 35),
        ("ExtensionRangeOptions", "features", 50),
        ("FeatureSet", "default_symbol_visibility", 8),
        ("pb.JavaFeatures", "large_enum", 3),
        ("pb.JavaFeatures", "use_old_outer_classname_default", 4),
        ("pb.JavaFeatures", "nest_in_file_class", 5),
        ("FileDescriptorProto", "weak_dependency", 11),
        ("FileDescriptorProto", "public_dependency", 10),
        ("FileOptions", "java_generate_equals_and_hash", 20),
        ("FileOptions", "deprecated", 23),
        ("MessageOptions", "deprecated_legacy_json_field_conflicts", 11),
        ("FieldOptions", "lazy", 5),
        ("FieldOptions", "weak", 10),
        ("FieldOptions", "unverified_lazy", 15),
        ("FieldOptions", "debug_redact", 16),
        ("FieldOptions", "retention", 17),
        ("FieldOptions", "targets", 19),
        ("FieldOptions", "edition_defaults", 20),
        ("FieldOptions", "feature_support", 22),
        ("EnumOptions", "allow_alias", 2),
        ("EnumOptions", "deprecated", 3),
        ("EnumOptions", "deprecated_legacy_json_field_conflicts", 6),
        ("EnumValueOptions", "deprecated", 1),
        ("EnumValueOptions", "debug_redact", 3),
        ("EnumValueOptions", "feature_support", 4),
        ("ServiceOptions", "deprecated", 33),
        ("ExtensionRangeOptions", "declaration", 2),
        ("ExtensionRangeOptions", "verification", 3),
        ("FeatureSet", "enforce_naming_style", 7),
    ];
    let walked =
        fields().filter(|field| has_way(field) && !matches!(field.treatment, Treatment::Compared(_)));
    for field in
        walked.filter(|field| !matches!(field.name, "dependency" | "option_dependency" | "source_code_info"))
    {
        let known = numbers.iter().find(|(object, name, _)| (*object, *name) == (field.object, field.name));
        let number = known.unwrap_or_else(|| panic!("no number for `{}` of {}", field.name, field.object)).2;
        let reports = both_ways(&set(field.object, &[]), &set(field.object, &count(number, 1)));
        match field.treatment {
            Treatment::NotChecked => assert_open(&reports, field.name),
            _ => assert!(
                reports.iter().all(|report| report.verdict == Verdict::Compatible && report.may_roll_back),
                "{field:?}: {reports:#?}"
            ),
        }
    }
}

#[test]
fn rules_that_lists_name_exist() {
    for field in all() {
        if let Treatment::Compared(rule) = field.treatment {
            assert!(
                lockstep_contract::rule(rule).is_some(),
                "`{}` of {} names {rule}",
                field.name,
                field.object
            );
        }
    }
}

#[test]
fn custom_options_that_matter_are_not_checked_and_others_are_harmless() {
    let method = |option: &str| {
        let text = format!(
            "syntax = \"proto3\"; import \"google/api/annotations.proto\"; message A {{ int32 a = 1; }} service S {{ rpc Do(A) returns (A) {{ {option} }} }}"
        );
        Source::file("a.proto", text.into_bytes())
    };
    let http = |path: &str| method(&format!("option (google.api.http) = {{ get: \"{path}\" }};"));
    assert_open(&both_ways(&http("/a"), &http("/b")), "google.api.http");
    assert!(both_ways(&http("/a"), &http("/a"))[0].may_deploy);
    let own = method("option (mine.note) = \"a\";");
    assert!(both_ways(&method(""), &own).iter().all(|report| report.may_deploy));
    let field = |option: &str| {
        let text = format!("syntax = \"proto3\"; message A {{ string a = 1 {option}; }}");
        Source::file("a.proto", text.into_bytes())
    };
    let validated = field("[(buf.validate.field).string.max_len = 3]");
    assert_open(&both_ways(&field(""), &validated), "buf.validate");
    let renamed = Source::file("a.proto", "syntax = \"proto3\"; message A { string b = 1; }".as_bytes());
    assert_open(&both_ways(&renamed, &validated), "buf.validate");
    let in_a_set =
        both_ways(&set("MethodOptions", &[]), &set("MethodOptions", &part(72_295_728, b"\x12\x02/a")));
    assert_open(&in_a_set, "google.api.http");
    assert!(both_ways(&set("MethodOptions", &[]), &set("MethodOptions", &count(50_001, 1)))[0].may_deploy);
}
