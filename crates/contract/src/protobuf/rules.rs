//! The rules of Protobuf contracts, as data.
//!
//! Each rule carries the weakest policy under which it is an error and what it is worth below that policy. Where the
//! direction of the flow decides, the comparison does not emit the rule at all.

use crate::{Bump, Flow, Kind, Level, ProtobufPolicy, Rule};

/// A rule and the policies under which it counts.
#[derive(Debug)]
pub(super) struct PolicyRule {
    pub(super) rule: Rule,
    /// The weakest policy under which the rule's own level holds.
    pub(super) from: ProtobufPolicy,
    /// The level under weaker policies.
    pub(super) below: Level,
}

impl PolicyRule {
    /// Gives the level of this rule under a policy.
    pub(super) fn level(&self, policy: ProtobufPolicy) -> Level {
        if strength(policy) >= strength(self.from) { self.rule.level } else { self.below }
    }
}

fn strength(policy: ProtobufPolicy) -> u8 {
    match policy {
        ProtobufPolicy::Wire => 0,
        ProtobufPolicy::Json => 1,
        ProtobufPolicy::Source => 2,
    }
}

macro_rules! rules {
    ($($name:ident: $id:literal, $level:ident from $from:ident below $below:ident, $flow:ident, $bump:ident,
        $summary:literal, $explanation:literal, $example:literal;)+) => {
        $(
            pub(super) static $name: PolicyRule = PolicyRule {
                rule: Rule {
                    id: $id,
                    kind: Kind::Protobuf,
                    level: Level::$level,
                    flow: Flow::$flow,
                    bump: Bump::$bump,
                    summary: $summary,
                    explanation: $explanation,
                    example: $example,
                },
                from: ProtobufPolicy::$from,
                below: Level::$below,
            };
        )+

        /// The rules of this format.
        pub static RULES: &[Rule] = &[$($name.rule),+];
    };
}

rules! {
    SERVICE_REMOVED: "protobuf-service-removed", Error from Wire below Error, Request, Major,
        "a service is gone",
        "Every call to the service fails with UNIMPLEMENTED, whatever the encoding of its messages. Keep the service until no consumer calls it, then remove it in a major version.",
        "old: service Orders { rpc Get(Id) returns (Order); }\nnew: (nothing)";
    SERVICE_ADDED: "protobuf-service-added", Info from Wire below Info, Request, Minor,
        "a service was added",
        "Nobody breaks. Consumers that call it need this version or a later one.",
        "old: (nothing)\nnew: service Refunds { rpc Create(Order) returns (Refund); }";
    RPC_REMOVED: "protobuf-rpc-removed", Error from Wire below Error, Request, Major,
        "an RPC is gone",
        "Calls to the RPC fail with UNIMPLEMENTED. Keep it until no consumer calls it; mark it deprecated first.",
        "old: rpc Get(Id) returns (Order); rpc List(Query) returns (Orders);\nnew: rpc Get(Id) returns (Order);";
    RPC_ADDED: "protobuf-rpc-added", Info from Wire below Info, Request, Minor,
        "an RPC was added",
        "Nobody breaks. Consumers that call it need this version or a later one.",
        "old: rpc Get(Id) returns (Order);\nnew: rpc Get(Id) returns (Order); rpc List(Query) returns (Orders);";
    RPC_STREAMING: "protobuf-rpc-streaming-changed", Error from Wire below Error, Request, Major,
        "an RPC began or ceased to stream",
        "Streaming and single calls speak differently on the wire: the other side waits for a message that never comes, or refuses the second one. Add a new RPC instead.",
        "old: rpc Watch(Query) returns (Order);\nnew: rpc Watch(Query) returns (stream Order);";
    RPC_IDEMPOTENCY: "protobuf-rpc-idempotency-changed", Error from Wire below Error, Request, Major,
        "the idempotency level of an RPC changed",
        "Clients and proxies decide by it whether a failed call may be sent again and whether it may travel as GET. A consumer that retries what used to be idempotent may do it twice.",
        "old: option idempotency_level = IDEMPOTENT;\nnew: (no option)";
    RPC_TYPE_RENAMED: "protobuf-rpc-type-renamed", Error from Source below Info, Request, Major,
        "the request or response type of an RPC has another name",
        "The bytes are judged by their fields, so a renamed equal message is fine on the wire. Code that names the old type does not compile.",
        "old: rpc Get(Id) returns (Order);\nnew: rpc Get(OrderId) returns (Order);";
    DEPRECATED: "protobuf-deprecated", Info from Wire below Info, Message, Patch,
        "an element is now deprecated",
        "Nobody breaks. Consumers should move away before it goes.",
        "old: int32 total = 4;\nnew: int32 total = 4 [deprecated = true];";

    FIELD_REMOVED: "protobuf-field-removed", Error from Wire below Error, Message, Major,
        "a field is gone and its number is free to be used again",
        "Old writers still send the number. A later field that takes it reads their bytes as something else. Reserve the number (and the name) of what you remove.",
        "old: int32 total = 4;\nnew: (nothing)\nbetter: reserved 4; reserved \"total\";";
    FIELD_EXCHANGED: "protobuf-field-number-exchanged", Error from Wire below Error, Message, Major,
        "the number of a field is another field's now",
        "Only numbers are sent: what is written as the one field is read as the other, without an error when their types are encoded alike. A field keeps its number for ever; a new one takes a number that nobody had.",
        "old: string first = 1; string last = 2;\nnew: string last = 1; string first = 2;";
    FIELD_NAME_FREE: "protobuf-field-removed-name-free", Error from Json below Info, Message, Major,
        "a field is gone and its name is free to be used again",
        "In JSON the name is the key: a later field of that name reads what old writers still send. Reserve the name of what you remove.",
        "old: int32 total = 4;\nnew: reserved 4;\nbetter: reserved 4; reserved \"total\";";
    FIELD_DROPPED: "protobuf-field-dropped", Error from Source below Warning, Message, Major,
        "a field is gone, and properly reserved",
        "The reader finds the field unset or ignores what is sent in it; nothing fails to parse. Code that uses the field does not compile.",
        "old: int32 total = 4;\nnew: reserved 4; reserved \"total\";";
    FIELD_ADDED: "protobuf-field-added", Info from Wire below Info, Message, Minor,
        "a field was added",
        "Readers that do not know the field skip it.",
        "old: int32 total = 4;\nnew: int32 total = 4; string note = 5;";
    FIELD_UNKNOWN: "protobuf-field-unknown-to-reader", Error from Json below Info, Message, Major,
        "the writer sends a field that a strict JSON reader does not know",
        "Counts only where readers of JSON are said to forbid unknown fields: they refuse the whole message. Teach the readers first, or let them ignore unknown fields.",
        "old: int32 total = 4;\nnew: int32 total = 4; string note = 5;";
    REQUIRED_ADDED: "protobuf-required-field-added", Error from Wire below Error, Message, Major,
        "a field became required for the reader",
        "Writers of the other version do not always send the field, and the reader then refuses the whole message. Required fields can never be added safely.",
        "old: optional int32 total = 4;\nnew: required int32 total = 4;";
    REQUIRED_REMOVED: "protobuf-required-field-removed", Error from Wire below Error, Message, Major,
        "a field that the other side requires is no longer always written",
        "A reader that requires the field refuses every message without it. Readers must learn to do without before writers stop.",
        "old: required int32 total = 4;\nnew: optional int32 total = 4;";
    FIELD_TYPE: "protobuf-field-type-changed", Error from Wire below Error, Message, Major,
        "a field has a type that is encoded differently",
        "The reader takes the bytes for another type: it drops the field, reads a wrong value or refuses the message. Add a field with a new number instead.",
        "old: int32 total = 4;\nnew: string total = 4;";
    FIELD_NARROWED: "protobuf-field-type-narrowed", Warning from Wire below Warning, Message, Minor,
        "a number may not fit the type that reads it",
        "Both types share an encoding, so nothing fails, but values outside the reader's range are cut off or change their sign without an error.",
        "old: int64 total = 4;\nnew: int32 total = 4;";
    FIELD_TYPE_JSON: "protobuf-field-type-json-changed", Error from Json below Info, Message, Major,
        "a field has a type with another form in JSON",
        "The binary encodings agree, the JSON forms do not: 64-bit integers are strings, 32-bit integers are numbers, booleans are true and false.",
        "old: int32 total = 4;\nnew: int64 total = 4;";
    FIELD_TYPE_SOURCE: "protobuf-field-type-source-changed", Error from Source below Info, Message, Major,
        "a field has another type in generated code",
        "The encodings agree; code that sets or reads the field does not compile or converts silently.",
        "old: int32 total = 4;\nnew: uint32 total = 4;";
    FIELD_CARDINALITY: "protobuf-field-cardinality-changed", Error from Wire below Error, Message, Major,
        "a field changed between one value and many",
        "A reader of one value keeps only the last of many; packed numbers it cannot read at all. In JSON a list is not a value.",
        "old: string tag = 4;\nnew: repeated string tag = 4;";
    FIELD_MAP_JSON: "protobuf-field-map-changed", Error from Json below Info, Message, Major,
        "a field changed between a map and a list of entries",
        "Both are the same bytes, but a map is an object in JSON and a list of entries is an array.",
        "old: map<string, int32> stock = 4;\nnew: repeated StockEntry stock = 4;";
    FIELD_PRESENCE: "protobuf-field-presence-changed", Error from Source below Info, Message, Major,
        "a field gained or lost the notion of being set",
        "The bytes stay readable. Generated code gains or loses the methods that ask whether the field is set, and a reader without them takes an absent field for zero.",
        "old: int32 total = 4;\nnew: optional int32 total = 4;";
    FIELD_ONEOF: "protobuf-field-oneof-changed", Error from Wire below Error, Message, Major,
        "a field moved into, out of, or between oneofs",
        "Setting one member of a oneof clears the others: a message that carried both fields loses one of them when it is read.",
        "old: int32 cash = 1; int32 card = 2;\nnew: oneof payment { int32 cash = 1; int32 card = 2; }";
    FIELD_ONEOF_SOURCE: "protobuf-field-oneof-moved", Error from Source below Info, Message, Major,
        "a field moved into, out of, or between oneofs, and no value is lost",
        "No writer sends two fields that a reader has in one oneof, so the bytes mean the same. Generated code reaches the field in another way.",
        "old: int32 cash = 1;\nnew: oneof payment { int32 cash = 1; }";
    ONEOF_RENAMED: "protobuf-oneof-renamed", Error from Source below Info, Message, Major,
        "a oneof is gone or has another name",
        "The name of a oneof is never sent. Code that asks which member is set does not compile.",
        "old: oneof payment { int32 cash = 1; }\nnew: oneof method { int32 cash = 1; }";
    FIELD_DEFAULT: "protobuf-field-default-changed", Error from Wire below Error, Message, Major,
        "the default value of a field changed",
        "A default is not sent. Writer and reader then understand the same message, with the field unset, as different values.",
        "old: optional int32 retries = 4 [default = 3];\nnew: optional int32 retries = 4 [default = 5];";
    FIELD_RENAMED: "protobuf-field-renamed", Error from Json below Info, Message, Major,
        "a field has another name",
        "The binary encoding sends numbers only. JSON readers know a field by its names and refuse or drop an unknown one; generated code does not compile.",
        "old: int32 total = 4;\nnew: int32 amount = 4;";
    FIELD_JSON_NAME: "protobuf-field-json-name-changed", Error from Json below Info, Message, Major,
        "a field has another name in JSON",
        "JSON readers know a field by its JSON name and its declared name; under any other they refuse or drop it.",
        "old: int32 total = 4;\nnew: int32 total = 4 [json_name = \"sum\"];";
    FIELD_UTF8: "protobuf-field-utf8-validation-changed", Error from Source below Warning, Message, Major,
        "text that is not UTF-8 is now treated differently",
        "Where validation begins, a message with an ill-formed string, fine until now, is refused.",
        "old: proto2: optional string name = 1;\nnew: proto3: optional string name = 1;";
    FIELD_PACKED: "protobuf-field-packed-changed", Info from Wire below Info, Message, Patch,
        "a list of numbers is encoded in another way",
        "Readers accept both ways.",
        "old: repeated int32 ids = 1;\nnew: repeated int32 ids = 1 [packed = true];";
    FIELD_JSTYPE: "protobuf-field-jstype-changed", Error from Source below Info, Message, Major,
        "a 64-bit field has another type in JavaScript",
        "Generated JavaScript hands out a string where it handed out a number, or the reverse.",
        "old: int64 id = 1;\nnew: int64 id = 1 [jstype = JS_STRING];";
    FIELD_CPP_STRING: "protobuf-field-cpp-string-changed", Error from Source below Info, Message, Major,
        "a string field has another type in C++",
        "Generated C++ returns another type; code that uses the field does not compile.",
        "old: string name = 1;\nnew: string name = 1 [ctype = CORD];";
    RESERVED_REMOVED: "protobuf-reserved-removed", Error from Wire below Error, Message, Major,
        "numbers or names are no longer reserved",
        "They were reserved because old messages use them. Once free, a new field may take them and read those messages wrongly.",
        "old: reserved 2 to 6;\nnew: reserved 2, 3;";
    EXTENSION_RANGE_REMOVED: "protobuf-extension-range-removed", Error from Source below Info, Message, Major,
        "a range of numbers is no longer open for extensions",
        "Extensions of others in this range do not compile any more, and fields may take their numbers.",
        "old: extensions 100 to 199;\nnew: extensions 100 to 149;";
    EXTENSION_REMOVED: "protobuf-extension-removed", Error from Source below Warning, Message, Major,
        "an extension is gone",
        "Readers keep its bytes as an unknown field; code that uses it does not compile.",
        "old: extend Order { optional string note = 100; }\nnew: (nothing)";
    MESSAGE_JSON_FORMAT: "protobuf-message-json-format-changed", Error from Json below Info, Message, Major,
        "a message no longer promises a JSON form",
        "`LEGACY_BEST_EFFORT` lets field names collide in JSON: what was well defined may be ambiguous from now on.",
        "old: option features.json_format = ALLOW;\nnew: option features.json_format = LEGACY_BEST_EFFORT;";
    MESSAGE_SET: "protobuf-message-set-changed", Error from Wire below Error, Message, Major,
        "a message began or ceased to use the message set encoding",
        "A message set groups its extensions in its own way; the other side finds none of them.",
        "old: option message_set_wire_format = true;\nnew: (no option)";
    MESSAGE_ACCESSOR: "protobuf-message-accessor-removed", Error from Source below Info, Message, Major,
        "generated code no longer has the standard descriptor accessor",
        "Code that calls `descriptor()` on the message does not compile.",
        "old: (no option)\nnew: option no_standard_descriptor_accessor = true;";

    ENUM_VALUE_REMOVED: "protobuf-enum-value-removed", Error from Wire below Error, Message, Major,
        "an enum value that may be sent is gone and its number is free to be used again",
        "Old writers still send the number; a later value that takes it gives it another meaning. Reserve the number (and the name) of what you remove.",
        "old: enum Size { SMALL = 0; LARGE = 1; }\nnew: enum Size { SMALL = 0; }\nbetter: reserved 1; reserved \"LARGE\";";
    ENUM_VALUE_EXCHANGED: "protobuf-enum-number-exchanged", Error from Wire below Error, Message, Major,
        "the number of an enum value is another value's now",
        "Only numbers are sent: a reader takes the one value for the other. A value keeps its number for ever.",
        "old: OPEN = 1; HELD = 2;\nnew: HELD = 1; OPEN = 2;";
    ENUM_NAME_FREE: "protobuf-enum-value-removed-name-free", Error from Json below Info, Message, Major,
        "an enum value that may be sent is gone and its name is free to be used again",
        "In JSON a value is its name. Reserve the name of what you remove.",
        "old: LARGE = 1;\nnew: reserved 1;\nbetter: reserved 1; reserved \"LARGE\";";
    ENUM_VALUE_DROPPED: "protobuf-enum-value-dropped", Error from Source below Warning, Message, Major,
        "an enum value that may be sent is gone, and properly reserved",
        "The reader meets a number it has no name for: an open enum keeps the number, a closed one treats the field as unset. In JSON a strict reader refuses the name.",
        "old: LARGE = 1;\nnew: reserved 1; reserved \"LARGE\";";
    ENUM_VALUE_UNWRITTEN: "protobuf-enum-value-no-longer-written", Error from Source below Info, Response, Major,
        "an enum value that only responses carry is gone",
        "No reader meets anything new: it merely never sees the value again. Code that names it does not compile.",
        "old: enum State { OPEN = 0; HELD = 1; } in a response\nnew: enum State { OPEN = 0; }";
    ENUM_VALUE_ADDED: "protobuf-enum-value-added", Warning from Wire below Warning, Message, Minor,
        "the writer may send an enum value that the reader does not know",
        "An open enum hands the number on, a closed one treats the field as unset: code that lists all values takes a way nobody thought of. Let readers learn the value before writers send it.",
        "old: enum State { OPEN = 0; }\nnew: enum State { OPEN = 0; HELD = 1; }";
    ENUM_VALUE_ACCEPTED: "protobuf-enum-value-accepted", Info from Wire below Info, Request, Minor,
        "one more enum value is understood",
        "Only readers gain: nobody sends it to somebody who does not know it.",
        "old: enum Size { SMALL = 0; } in a request\nnew: enum Size { SMALL = 0; LARGE = 1; }";
    ENUM_VALUE_UNKNOWN: "protobuf-enum-value-unknown-to-reader", Error from Json below Warning, Message, Major,
        "the writer sends an enum value by a name that a strict JSON reader does not know",
        "Counts only where readers of JSON are said to forbid what they do not know: they refuse the whole message.",
        "old: enum State { OPEN = 0; }\nnew: enum State { OPEN = 0; HELD = 1; }";
    ENUM_VALUE_RENAMED: "protobuf-enum-value-renamed", Error from Json below Info, Message, Major,
        "an enum value has another name",
        "The binary encoding sends numbers only. JSON sends the name, and a reader that does not know it refuses the message. Keep the old name as an alias.",
        "old: LARGE = 1;\nnew: BIG = 1;";
    ENUM_CLOSEDNESS: "protobuf-enum-openness-changed", Error from Source below Warning, Message, Major,
        "an enum changed between open and closed",
        "Unknown values of a closed enum are hidden from the program, those of an open one are shown. Generated code differs.",
        "old: proto2: enum State { OPEN = 0; }\nnew: proto3: enum State { OPEN = 0; }";
    ENUM_JSON_FORMAT: "protobuf-enum-json-format-changed", Error from Json below Info, Message, Major,
        "an enum no longer promises a JSON form",
        "`LEGACY_BEST_EFFORT` lets value names collide in JSON.",
        "old: option features.json_format = ALLOW;\nnew: option features.json_format = LEGACY_BEST_EFFORT;";

    TYPE_REMOVED: "protobuf-type-removed", Error from Source below Info, Message, Major,
        "a message or enum is gone",
        "Code that names it does not compile. On the wire only fields count: where an RPC uses another type now, that type is compared in its place. Nothing is known of messages that travel outside of RPCs.",
        "old: message Note { string text = 1; }\nnew: (nothing)";
    TYPE_MOVED: "protobuf-type-moved", Error from Source below Info, Message, Major,
        "a type or extension is declared in another file",
        "Code in languages that include a file per schema (C++, Python, JavaScript) no longer finds it where it was.",
        "old: orders.proto: message Note {}\nnew: notes.proto: message Note {}";
    FILE_REMOVED: "protobuf-file-removed", Error from Source below Info, Message, Major,
        "a file is gone",
        "Schemas that import it and code that includes what was generated from it do not compile.",
        "old: orders.proto, notes.proto\nnew: orders.proto";
    FILE_PACKAGE: "protobuf-file-package-changed", Error from Source below Info, Message, Major,
        "a file declares another package",
        "All its types and services have other names. Services are called by their full name, so theirs are reported as gone as well.",
        "old: package shop.v1;\nnew: package shop.v2;";
    FILE_SYNTAX: "protobuf-file-syntax-changed", Error from Source below Info, Message, Major,
        "a file is written in another syntax or edition",
        "Generated code differs in presence, enums and unknown fields. What this does to the bytes is reported field by field.",
        "old: syntax = \"proto2\";\nnew: syntax = \"proto3\";";
    FILE_OPTION: "protobuf-file-option-changed", Error from Source below Info, Message, Major,
        "an option that shapes generated code changed",
        "Packages, prefixes and class names of generated code move, and code that imports them does not compile.",
        "old: option go_package = \"shop/v1\";\nnew: option go_package = \"shop/v2\";";
}
