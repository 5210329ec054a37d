//! The part of `descriptor.proto` that decides compatibility, as wire messages.
//!
//! Both inputs, `.proto` text and descriptor sets, pass through these types. They exist beside the well-known crate
//! types because those predate editions and drop `features` and `edition`. Unknown fields are ignored; nothing here
//! is ever encoded again. Decoding is bounded by the recursion limit of `prost` (100 levels).

use prost::Message;

/// A set of files, the output of `protoc --descriptor_set_out`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileSet {
    #[prost(message, repeated, tag = "1")]
    pub(super) file: Vec<FileProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) package: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) dependency: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) message_type: Vec<MessageProto>,
    #[prost(message, repeated, tag = "5")]
    pub(super) enum_type: Vec<EnumProto>,
    #[prost(message, repeated, tag = "6")]
    pub(super) service: Vec<ServiceProto>,
    #[prost(message, repeated, tag = "7")]
    pub(super) extension: Vec<FieldProto>,
    #[prost(message, optional, tag = "8")]
    pub(super) options: Option<FileOptions>,
    #[prost(message, optional, tag = "9")]
    pub(super) source_code_info: Option<SourceCodeInfo>,
    #[prost(string, tag = "12")]
    pub(super) syntax: String,
    #[prost(int32, tag = "14")]
    pub(super) edition: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MessageProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) field: Vec<FieldProto>,
    #[prost(message, repeated, tag = "3")]
    pub(super) nested_type: Vec<MessageProto>,
    #[prost(message, repeated, tag = "4")]
    pub(super) enum_type: Vec<EnumProto>,
    #[prost(message, repeated, tag = "5")]
    pub(super) extension_range: Vec<RangeProto>,
    #[prost(message, repeated, tag = "6")]
    pub(super) extension: Vec<FieldProto>,
    #[prost(message, optional, tag = "7")]
    pub(super) options: Option<MessageOptions>,
    #[prost(message, repeated, tag = "8")]
    pub(super) oneof_decl: Vec<OneofProto>,
    #[prost(message, repeated, tag = "9")]
    pub(super) reserved_range: Vec<RangeProto>,
    #[prost(string, repeated, tag = "10")]
    pub(super) reserved_name: Vec<String>,
}

/// A range of numbers; `end` is exclusive in messages and inclusive in enums.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeProto {
    #[prost(int32, tag = "1")]
    pub(super) start: i32,
    #[prost(int32, tag = "2")]
    pub(super) end: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OneofProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) extendee: String,
    #[prost(int32, tag = "3")]
    pub(super) number: i32,
    #[prost(int32, tag = "4")]
    pub(super) label: i32,
    #[prost(int32, tag = "5")]
    pub(super) r#type: i32,
    #[prost(string, tag = "6")]
    pub(super) type_name: String,
    #[prost(string, optional, tag = "7")]
    pub(super) default_value: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub(super) options: Option<FieldOptions>,
    #[prost(int32, optional, tag = "9")]
    pub(super) oneof_index: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) json_name: Option<String>,
    #[prost(bool, tag = "17")]
    pub(super) proto3_optional: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) value: Vec<EnumValueProto>,
    #[prost(message, optional, tag = "3")]
    pub(super) options: Option<EnumOptions>,
    #[prost(message, repeated, tag = "4")]
    pub(super) reserved_range: Vec<RangeProto>,
    #[prost(string, repeated, tag = "5")]
    pub(super) reserved_name: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumValueProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) number: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) method: Vec<MethodProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) input_type: String,
    #[prost(string, tag = "3")]
    pub(super) output_type: String,
    #[prost(message, optional, tag = "4")]
    pub(super) options: Option<MethodOptions>,
    #[prost(bool, tag = "5")]
    pub(super) client_streaming: bool,
    #[prost(bool, tag = "6")]
    pub(super) server_streaming: bool,
}

/// File options that change generated code, all compared by value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileOptions {
    #[prost(string, optional, tag = "1")]
    pub(super) java_package: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub(super) java_outer_classname: Option<String>,
    #[prost(int32, optional, tag = "9")]
    pub(super) optimize_for: Option<i32>,
    #[prost(bool, optional, tag = "10")]
    pub(super) java_multiple_files: Option<bool>,
    #[prost(string, optional, tag = "11")]
    pub(super) go_package: Option<String>,
    #[prost(bool, optional, tag = "16")]
    pub(super) cc_generic_services: Option<bool>,
    #[prost(bool, optional, tag = "17")]
    pub(super) java_generic_services: Option<bool>,
    #[prost(bool, optional, tag = "18")]
    pub(super) py_generic_services: Option<bool>,
    #[prost(bool, optional, tag = "27")]
    pub(super) java_string_check_utf8: Option<bool>,
    #[prost(bool, optional, tag = "31")]
    pub(super) cc_enable_arenas: Option<bool>,
    #[prost(string, optional, tag = "36")]
    pub(super) objc_class_prefix: Option<String>,
    #[prost(string, optional, tag = "37")]
    pub(super) csharp_namespace: Option<String>,
    #[prost(string, optional, tag = "39")]
    pub(super) swift_prefix: Option<String>,
    #[prost(string, optional, tag = "40")]
    pub(super) php_class_prefix: Option<String>,
    #[prost(string, optional, tag = "41")]
    pub(super) php_namespace: Option<String>,
    #[prost(bool, optional, tag = "42")]
    pub(super) php_generic_services: Option<bool>,
    #[prost(string, optional, tag = "44")]
    pub(super) php_metadata_namespace: Option<String>,
    #[prost(string, optional, tag = "45")]
    pub(super) ruby_package: Option<String>,
    #[prost(message, optional, tag = "50")]
    pub(super) features: Option<FeatureSet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MessageOptions {
    #[prost(bool, tag = "1")]
    pub(super) message_set_wire_format: bool,
    #[prost(bool, tag = "2")]
    pub(super) no_standard_descriptor_accessor: bool,
    #[prost(bool, tag = "3")]
    pub(super) deprecated: bool,
    #[prost(bool, tag = "7")]
    pub(super) map_entry: bool,
    #[prost(message, optional, tag = "12")]
    pub(super) features: Option<FeatureSet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldOptions {
    #[prost(int32, optional, tag = "1")]
    pub(super) ctype: Option<i32>,
    #[prost(bool, optional, tag = "2")]
    pub(super) packed: Option<bool>,
    #[prost(bool, tag = "3")]
    pub(super) deprecated: bool,
    #[prost(int32, tag = "6")]
    pub(super) jstype: i32,
    #[prost(message, optional, tag = "21")]
    pub(super) features: Option<FeatureSet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumOptions {
    #[prost(message, optional, tag = "7")]
    pub(super) features: Option<FeatureSet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodOptions {
    #[prost(bool, tag = "33")]
    pub(super) deprecated: bool,
    #[prost(int32, tag = "34")]
    pub(super) idempotency_level: i32,
}

/// The features of an edition that an element sets itself; absent ones are inherited.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureSet {
    #[prost(int32, optional, tag = "1")]
    pub(super) field_presence: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(super) enum_type: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub(super) repeated_field_encoding: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub(super) utf8_validation: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub(super) message_encoding: Option<i32>,
    #[prost(int32, optional, tag = "6")]
    pub(super) json_format: Option<i32>,
    #[prost(message, optional, tag = "1000")]
    pub(super) cpp: Option<CppFeatures>,
    #[prost(message, optional, tag = "1001")]
    pub(super) java: Option<JavaFeatures>,
}

/// The features of the C++ generator (`pb.cpp`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct CppFeatures {
    #[prost(bool, optional, tag = "1")]
    pub(super) legacy_closed_enum: Option<bool>,
    #[prost(int32, optional, tag = "2")]
    pub(super) string_type: Option<i32>,
}

/// The features of the Java generator (`pb.java`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct JavaFeatures {
    #[prost(bool, optional, tag = "1")]
    pub(super) legacy_closed_enum: Option<bool>,
    #[prost(int32, optional, tag = "2")]
    pub(super) utf8_validation: Option<i32>,
}

/// Where each element stands in the source text.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SourceCodeInfo {
    #[prost(message, repeated, tag = "1")]
    pub(super) location: Vec<LocationProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LocationProto {
    #[prost(int32, repeated, tag = "1")]
    pub(super) path: Vec<i32>,
    #[prost(int32, repeated, tag = "2")]
    pub(super) span: Vec<i32>,
}
