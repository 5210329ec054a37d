//! The messages of `descriptor.proto` with all their fields, and the custom options that are known to matter.
//!
//! What a descriptor holds beyond the fields that are compared is collected by [`super::unread`] with these lists.

use crate::field::{Field, Treatment};

/// A message of `descriptor.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    File,
    Message,
    ExtensionRange,
    Field,
    Oneof,
    Enum,
    EnumValue,
    Service,
    Method,
    FileOptions,
    MessageOptions,
    FieldOptions,
    OneofOptions,
    EnumOptions,
    EnumValueOptions,
    ServiceOptions,
    MethodOptions,
    ExtensionRangeOptions,
    FeatureSet,
    CppFeatures,
    JavaFeatures,
}

/// A field by its number, and the object in it whose fields are looked at themselves.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) field: Field,
    pub(super) child: Option<Object>,
}

impl Object {
    /// All fields of the object.
    pub(super) fn slots(self) -> &'static [Slot] {
        match self {
            Self::File => FILE,
            Self::Message => MESSAGE,
            Self::ExtensionRange => EXTENSION_RANGE,
            Self::Field => FIELD,
            Self::Oneof => ONEOF,
            Self::Enum => ENUM,
            Self::EnumValue => ENUM_VALUE,
            Self::Service => SERVICE,
            Self::Method => METHOD,
            Self::FileOptions => FILE_OPTIONS,
            Self::MessageOptions => MESSAGE_OPTIONS,
            Self::FieldOptions => FIELD_OPTIONS,
            Self::OneofOptions => ONEOF_OPTIONS,
            Self::EnumOptions => ENUM_OPTIONS,
            Self::EnumValueOptions => ENUM_VALUE_OPTIONS,
            Self::ServiceOptions => SERVICE_OPTIONS,
            Self::MethodOptions => METHOD_OPTIONS,
            Self::ExtensionRangeOptions => EXTENSION_RANGE_OPTIONS,
            Self::FeatureSet => FEATURE_SET,
            Self::CppFeatures => CPP_FEATURES,
            Self::JavaFeatures => JAVA_FEATURES,
        }
    }

    /// True for messages that custom options extend.
    pub(super) fn takes_custom_options(self) -> bool {
        self.slots().first().is_some_and(|slot| slot.field.object.ends_with("Options"))
    }
}

/// Custom options that change what travels or what is refused, by number and by name. All others say something to tools only.
pub(super) const KNOWN_TO_MATTER: [(u32, &str); 3] =
    [(72_295_728, "google.api.http"), (1159, "buf.validate"), (1071, "validate")];

/// All fields of this format.
pub(crate) fn all() -> impl Iterator<Item = &'static Field> {
    let objects = [
        Object::File,
        Object::Message,
        Object::ExtensionRange,
        Object::Field,
        Object::Oneof,
        Object::Enum,
        Object::EnumValue,
        Object::Service,
        Object::Method,
        Object::FileOptions,
        Object::MessageOptions,
        Object::FieldOptions,
        Object::OneofOptions,
        Object::EnumOptions,
        Object::EnumValueOptions,
        Object::ServiceOptions,
        Object::MethodOptions,
        Object::ExtensionRangeOptions,
        Object::FeatureSet,
        Object::CppFeatures,
        Object::JavaFeatures,
    ];
    objects.into_iter().flat_map(Object::slots).map(|slot| &slot.field)
}

const fn slot(
    number: u32,
    object: &'static str,
    name: &'static str,
    versions: &'static str,
    treatment: Treatment,
    child: Option<Object>,
) -> Slot {
    Slot { number, field: Field { object, name, versions, treatment, default: "" }, child }
}

const ALL: &str = "proto2 proto3 2023 2024";
const EDITIONS: &str = "2023 2024";
const LATEST: &str = "2024";
const PROTO3: &str = "proto3";
const CODE: &str = "it changes how generated code works inside, and no byte";
const COMPILER: &str = "it speaks to the compiler of the files and to nobody else";
const ADVICE: &str = "it advises; bytes are the same";

use Treatment::{Compared, Harmless, NotChecked};

static FILE: &[Slot] = &[
    slot(1, "FileDescriptorProto", "name", ALL, Compared("protobuf-file-removed"), None),
    slot(2, "FileDescriptorProto", "package", ALL, Compared("protobuf-file-package-changed"), None),
    slot(
        3,
        "FileDescriptorProto",
        "dependency",
        ALL,
        Harmless(
            "it speaks to the compiler of the files and to nobody else; what is imported is compared itself",
        ),
        None,
    ),
    slot(10, "FileDescriptorProto", "public_dependency", ALL, Harmless(COMPILER), None),
    slot(11, "FileDescriptorProto", "weak_dependency", ALL, Harmless(COMPILER), None),
    slot(15, "FileDescriptorProto", "option_dependency", LATEST, Harmless(COMPILER), None),
    slot(
        4,
        "FileDescriptorProto",
        "message_type",
        ALL,
        Compared("protobuf-type-removed"),
        Some(Object::Message),
    ),
    slot(5, "FileDescriptorProto", "enum_type", ALL, Compared("protobuf-type-removed"), Some(Object::Enum)),
    slot(
        6,
        "FileDescriptorProto",
        "service",
        ALL,
        Compared("protobuf-service-removed"),
        Some(Object::Service),
    ),
    slot(
        7,
        "FileDescriptorProto",
        "extension",
        ALL,
        Compared("protobuf-extension-removed"),
        Some(Object::Field),
    ),
    slot(
        8,
        "FileDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-file-option-changed"),
        Some(Object::FileOptions),
    ),
    slot(
        9,
        "FileDescriptorProto",
        "source_code_info",
        ALL,
        Harmless("it says where things stand and what people noted"),
        None,
    ),
    slot(12, "FileDescriptorProto", "syntax", ALL, Compared("protobuf-file-syntax-changed"), None),
    slot(14, "FileDescriptorProto", "edition", EDITIONS, Compared("protobuf-file-syntax-changed"), None),
];

static MESSAGE: &[Slot] = &[
    slot(1, "DescriptorProto", "name", ALL, Compared("protobuf-type-removed"), None),
    slot(2, "DescriptorProto", "field", ALL, Compared("protobuf-field-removed"), Some(Object::Field)),
    slot(3, "DescriptorProto", "nested_type", ALL, Compared("protobuf-type-removed"), Some(Object::Message)),
    slot(4, "DescriptorProto", "enum_type", ALL, Compared("protobuf-type-removed"), Some(Object::Enum)),
    slot(
        5,
        "DescriptorProto",
        "extension_range",
        ALL,
        Compared("protobuf-extension-range-removed"),
        Some(Object::ExtensionRange),
    ),
    slot(6, "DescriptorProto", "extension", ALL, Compared("protobuf-extension-removed"), Some(Object::Field)),
    slot(
        7,
        "DescriptorProto",
        "options",
        ALL,
        Compared("protobuf-message-set-changed"),
        Some(Object::MessageOptions),
    ),
    slot(8, "DescriptorProto", "oneof_decl", ALL, Compared("protobuf-oneof-renamed"), Some(Object::Oneof)),
    slot(9, "DescriptorProto", "reserved_range", ALL, Compared("protobuf-reserved-removed"), None),
    slot(10, "DescriptorProto", "reserved_name", ALL, Compared("protobuf-reserved-removed"), None),
    slot(11, "DescriptorProto", "visibility", LATEST, NotChecked, None),
];

static EXTENSION_RANGE: &[Slot] = &[
    slot(1, "ExtensionRange", "start", ALL, Compared("protobuf-extension-range-removed"), None),
    slot(2, "ExtensionRange", "end", ALL, Compared("protobuf-extension-range-removed"), None),
    slot(
        3,
        "ExtensionRange",
        "options",
        ALL,
        Compared("protobuf-extension-range-removed"),
        Some(Object::ExtensionRangeOptions),
    ),
];

static FIELD: &[Slot] = &[
    slot(1, "FieldDescriptorProto", "name", ALL, Compared("protobuf-field-renamed"), None),
    slot(2, "FieldDescriptorProto", "extendee", ALL, Compared("protobuf-extension-removed"), None),
    slot(3, "FieldDescriptorProto", "number", ALL, Compared("protobuf-field-removed"), None),
    slot(4, "FieldDescriptorProto", "label", ALL, Compared("protobuf-field-cardinality-changed"), None),
    slot(5, "FieldDescriptorProto", "type", ALL, Compared("protobuf-field-type-changed"), None),
    slot(6, "FieldDescriptorProto", "type_name", ALL, Compared("protobuf-field-type-source-changed"), None),
    slot(7, "FieldDescriptorProto", "default_value", ALL, Compared("protobuf-field-default-changed"), None),
    slot(
        8,
        "FieldDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-field-jstype-changed"),
        Some(Object::FieldOptions),
    ),
    slot(9, "FieldDescriptorProto", "oneof_index", ALL, Compared("protobuf-field-oneof-changed"), None),
    slot(10, "FieldDescriptorProto", "json_name", ALL, Compared("protobuf-field-json-name-changed"), None),
    slot(
        17,
        "FieldDescriptorProto",
        "proto3_optional",
        PROTO3,
        Compared("protobuf-field-presence-changed"),
        None,
    ),
];

static ONEOF: &[Slot] = &[
    slot(1, "OneofDescriptorProto", "name", ALL, Compared("protobuf-oneof-renamed"), None),
    slot(
        2,
        "OneofDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-oneof-renamed"),
        Some(Object::OneofOptions),
    ),
];

static ENUM: &[Slot] = &[
    slot(1, "EnumDescriptorProto", "name", ALL, Compared("protobuf-type-removed"), None),
    slot(
        2,
        "EnumDescriptorProto",
        "value",
        ALL,
        Compared("protobuf-enum-value-removed"),
        Some(Object::EnumValue),
    ),
    slot(
        3,
        "EnumDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-enum-openness-changed"),
        Some(Object::EnumOptions),
    ),
    slot(4, "EnumDescriptorProto", "reserved_range", ALL, Compared("protobuf-reserved-removed"), None),
    slot(5, "EnumDescriptorProto", "reserved_name", ALL, Compared("protobuf-reserved-removed"), None),
    slot(6, "EnumDescriptorProto", "visibility", LATEST, NotChecked, None),
];

static ENUM_VALUE: &[Slot] = &[
    slot(1, "EnumValueDescriptorProto", "name", ALL, Compared("protobuf-enum-value-renamed"), None),
    slot(2, "EnumValueDescriptorProto", "number", ALL, Compared("protobuf-enum-value-removed"), None),
    slot(
        3,
        "EnumValueDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-enum-value-renamed"),
        Some(Object::EnumValueOptions),
    ),
];

static SERVICE: &[Slot] = &[
    slot(1, "ServiceDescriptorProto", "name", ALL, Compared("protobuf-service-removed"), None),
    slot(2, "ServiceDescriptorProto", "method", ALL, Compared("protobuf-rpc-removed"), Some(Object::Method)),
    slot(
        3,
        "ServiceDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-deprecated"),
        Some(Object::ServiceOptions),
    ),
];

static METHOD: &[Slot] = &[
    slot(1, "MethodDescriptorProto", "name", ALL, Compared("protobuf-rpc-removed"), None),
    slot(2, "MethodDescriptorProto", "input_type", ALL, Compared("protobuf-rpc-type-renamed"), None),
    slot(3, "MethodDescriptorProto", "output_type", ALL, Compared("protobuf-rpc-type-renamed"), None),
    slot(
        4,
        "MethodDescriptorProto",
        "options",
        ALL,
        Compared("protobuf-rpc-idempotency-changed"),
        Some(Object::MethodOptions),
    ),
    slot(
        5,
        "MethodDescriptorProto",
        "client_streaming",
        ALL,
        Compared("protobuf-rpc-streaming-changed"),
        None,
    ),
    slot(
        6,
        "MethodDescriptorProto",
        "server_streaming",
        ALL,
        Compared("protobuf-rpc-streaming-changed"),
        None,
    ),
];

static FILE_OPTIONS: &[Slot] = &[
    slot(1, "FileOptions", "java_package", ALL, Compared("protobuf-file-option-changed"), None),
    slot(8, "FileOptions", "java_outer_classname", ALL, Compared("protobuf-file-option-changed"), None),
    slot(9, "FileOptions", "optimize_for", ALL, Compared("protobuf-file-option-changed"), None),
    slot(10, "FileOptions", "java_multiple_files", ALL, Compared("protobuf-file-option-changed"), None),
    slot(11, "FileOptions", "go_package", ALL, Compared("protobuf-file-option-changed"), None),
    slot(16, "FileOptions", "cc_generic_services", ALL, Compared("protobuf-file-option-changed"), None),
    slot(17, "FileOptions", "java_generic_services", ALL, Compared("protobuf-file-option-changed"), None),
    slot(18, "FileOptions", "py_generic_services", ALL, Compared("protobuf-file-option-changed"), None),
    slot(27, "FileOptions", "java_string_check_utf8", ALL, Compared("protobuf-file-option-changed"), None),
    slot(31, "FileOptions", "cc_enable_arenas", ALL, Compared("protobuf-file-option-changed"), None),
    slot(36, "FileOptions", "objc_class_prefix", ALL, Compared("protobuf-file-option-changed"), None),
    slot(37, "FileOptions", "csharp_namespace", ALL, Compared("protobuf-file-option-changed"), None),
    slot(39, "FileOptions", "swift_prefix", ALL, Compared("protobuf-file-option-changed"), None),
    slot(40, "FileOptions", "php_class_prefix", ALL, Compared("protobuf-file-option-changed"), None),
    slot(41, "FileOptions", "php_namespace", ALL, Compared("protobuf-file-option-changed"), None),
    slot(42, "FileOptions", "php_generic_services", ALL, Compared("protobuf-file-option-changed"), None),
    slot(44, "FileOptions", "php_metadata_namespace", ALL, Compared("protobuf-file-option-changed"), None),
    slot(45, "FileOptions", "ruby_package", ALL, Compared("protobuf-file-option-changed"), None),
    slot(20, "FileOptions", "java_generate_equals_and_hash", ALL, Harmless("it does nothing any more"), None),
    slot(23, "FileOptions", "deprecated", ALL, Harmless(ADVICE), None),
    slot(
        50,
        "FileOptions",
        "features",
        EDITIONS,
        Compared("protobuf-field-presence-changed"),
        Some(Object::FeatureSet),
    ),
];

static MESSAGE_OPTIONS: &[Slot] = &[
    slot(1, "MessageOptions", "message_set_wire_format", ALL, Compared("protobuf-message-set-changed"), None),
    slot(
        2,
        "MessageOptions",
        "no_standard_descriptor_accessor",
        ALL,
        Compared("protobuf-message-accessor-removed"),
        None,
    ),
    slot(3, "MessageOptions", "deprecated", ALL, Compared("protobuf-deprecated"), None),
    slot(7, "MessageOptions", "map_entry", ALL, Compared("protobuf-field-map-changed"), None),
    slot(11, "MessageOptions", "deprecated_legacy_json_field_conflicts", ALL, Harmless(COMPILER), None),
    slot(
        12,
        "MessageOptions",
        "features",
        EDITIONS,
        Compared("protobuf-field-presence-changed"),
        Some(Object::FeatureSet),
    ),
];

static FIELD_OPTIONS: &[Slot] = &[
    slot(1, "FieldOptions", "ctype", ALL, Compared("protobuf-field-cpp-string-changed"), None),
    slot(2, "FieldOptions", "packed", ALL, Compared("protobuf-field-packed-changed"), None),
    slot(3, "FieldOptions", "deprecated", ALL, Compared("protobuf-deprecated"), None),
    slot(5, "FieldOptions", "lazy", ALL, Harmless(CODE), None),
    slot(6, "FieldOptions", "jstype", ALL, Compared("protobuf-field-jstype-changed"), None),
    slot(10, "FieldOptions", "weak", ALL, Harmless(CODE), None),
    slot(15, "FieldOptions", "unverified_lazy", ALL, Harmless(CODE), None),
    slot(
        16,
        "FieldOptions",
        "debug_redact",
        ALL,
        Harmless("it hides the value from logs; bytes are the same"),
        None,
    ),
    slot(17, "FieldOptions", "retention", ALL, Harmless("it speaks of options"), None),
    slot(19, "FieldOptions", "targets", ALL, Harmless("it speaks of options"), None),
    slot(20, "FieldOptions", "edition_defaults", EDITIONS, Harmless("it speaks of features"), None),
    slot(
        21,
        "FieldOptions",
        "features",
        EDITIONS,
        Compared("protobuf-field-presence-changed"),
        Some(Object::FeatureSet),
    ),
    slot(22, "FieldOptions", "feature_support", EDITIONS, Harmless("it speaks of features"), None),
];

static ONEOF_OPTIONS: &[Slot] = &[slot(1, "OneofOptions", "features", EDITIONS, NotChecked, None)];

static ENUM_OPTIONS: &[Slot] = &[
    slot(
        2,
        "EnumOptions",
        "allow_alias",
        ALL,
        Harmless(
            "it speaks to the compiler of the files and to nobody else; the names themselves are compared",
        ),
        None,
    ),
    slot(3, "EnumOptions", "deprecated", ALL, Harmless(ADVICE), None),
    slot(6, "EnumOptions", "deprecated_legacy_json_field_conflicts", ALL, Harmless(COMPILER), None),
    slot(
        7,
        "EnumOptions",
        "features",
        EDITIONS,
        Compared("protobuf-enum-openness-changed"),
        Some(Object::FeatureSet),
    ),
];

static ENUM_VALUE_OPTIONS: &[Slot] = &[
    slot(1, "EnumValueOptions", "deprecated", ALL, Harmless(ADVICE), None),
    slot(2, "EnumValueOptions", "features", EDITIONS, NotChecked, None),
    slot(
        3,
        "EnumValueOptions",
        "debug_redact",
        ALL,
        Harmless("it hides the value from logs; bytes are the same"),
        None,
    ),
    slot(4, "EnumValueOptions", "feature_support", EDITIONS, Harmless("it speaks of features"), None),
];

static SERVICE_OPTIONS: &[Slot] = &[
    slot(33, "ServiceOptions", "deprecated", ALL, Harmless(ADVICE), None),
    slot(34, "ServiceOptions", "features", EDITIONS, NotChecked, None),
];

static METHOD_OPTIONS: &[Slot] = &[
    slot(33, "MethodOptions", "deprecated", ALL, Compared("protobuf-deprecated"), None),
    slot(34, "MethodOptions", "idempotency_level", ALL, Compared("protobuf-rpc-idempotency-changed"), None),
    slot(35, "MethodOptions", "features", EDITIONS, NotChecked, None),
];

static EXTENSION_RANGE_OPTIONS: &[Slot] = &[
    slot(
        2,
        "ExtensionRangeOptions",
        "declaration",
        ALL,
        Harmless("it says who may extend the message"),
        None,
    ),
    slot(
        3,
        "ExtensionRangeOptions",
        "verification",
        ALL,
        Harmless("it says whether extensions must be declared"),
        None,
    ),
    slot(50, "ExtensionRangeOptions", "features", EDITIONS, NotChecked, None),
];

static FEATURE_SET: &[Slot] = &[
    slot(1, "FeatureSet", "field_presence", EDITIONS, Compared("protobuf-field-presence-changed"), None),
    slot(2, "FeatureSet", "enum_type", EDITIONS, Compared("protobuf-enum-openness-changed"), None),
    slot(
        3,
        "FeatureSet",
        "repeated_field_encoding",
        EDITIONS,
        Compared("protobuf-field-packed-changed"),
        None,
    ),
    slot(
        4,
        "FeatureSet",
        "utf8_validation",
        EDITIONS,
        Compared("protobuf-field-utf8-validation-changed"),
        None,
    ),
    slot(5, "FeatureSet", "message_encoding", EDITIONS, Compared("protobuf-field-type-changed"), None),
    slot(6, "FeatureSet", "json_format", EDITIONS, Compared("protobuf-message-json-format-changed"), None),
    slot(7, "FeatureSet", "enforce_naming_style", LATEST, Harmless(COMPILER), None),
    slot(8, "FeatureSet", "default_symbol_visibility", LATEST, NotChecked, None),
    slot(
        1000,
        "FeatureSet",
        "pb.cpp",
        EDITIONS,
        Compared("protobuf-field-cpp-string-changed"),
        Some(Object::CppFeatures),
    ),
    slot(
        1001,
        "FeatureSet",
        "pb.java",
        EDITIONS,
        Compared("protobuf-field-utf8-validation-changed"),
        Some(Object::JavaFeatures),
    ),
];

static CPP_FEATURES: &[Slot] = &[
    slot(
        1,
        "pb.CppFeatures",
        "legacy_closed_enum",
        EDITIONS,
        Compared("protobuf-enum-openness-changed"),
        None,
    ),
    slot(2, "pb.CppFeatures", "string_type", EDITIONS, Compared("protobuf-field-cpp-string-changed"), None),
    slot(3, "pb.CppFeatures", "enum_name_uses_string_view", LATEST, NotChecked, None),
];

static JAVA_FEATURES: &[Slot] = &[
    slot(
        1,
        "pb.JavaFeatures",
        "legacy_closed_enum",
        EDITIONS,
        Compared("protobuf-enum-openness-changed"),
        None,
    ),
    slot(
        2,
        "pb.JavaFeatures",
        "utf8_validation",
        EDITIONS,
        Compared("protobuf-field-utf8-validation-changed"),
        None,
    ),
    slot(3, "pb.JavaFeatures", "large_enum", LATEST, NotChecked, None),
    slot(4, "pb.JavaFeatures", "use_old_outer_classname_default", LATEST, NotChecked, None),
    slot(5, "pb.JavaFeatures", "nest_in_file_class", LATEST, NotChecked, None),
];
