//! The rules of GraphQL contracts, as data.
//!
//! Levels hold for a consumer that may send any operation. When the operations are known, what none of them uses is
//! a warning at most; see `usage.rs`.

use crate::{Bump, Flow, Kind, Level, Rule};

macro_rules! rules {
    ($($name:ident: $id:literal, $level:ident, $flow:ident, $bump:ident, $summary:literal, $explanation:literal, $example:literal;)+) => {
        $(
            pub(super) static $name: Rule = Rule {
                id: $id,
                kind: Kind::GraphQl,
                level: Level::$level,
                flow: Flow::$flow,
                bump: Bump::$bump,
                summary: $summary,
                explanation: $explanation,
                example: $example,
            };
        )+

        /// The rules of this format.
        pub static RULES: &[Rule] = &[$($name),+];
    };
}

rules! {
    ROOT_REMOVED: "graphql-root-removed", Error, Request, Major,
        "a kind of operation is gone",
        "Every query, mutation or subscription of this kind is refused.",
        "old: schema { query: Query mutation: Mutation }\nnew: schema { query: Query }";
    ROOT_CHANGED: "graphql-root-changed", Warning, Request, Minor,
        "a kind of operation starts at another type",
        "Operations select from the fields of the root type; they are compared by their names. Fragments on the old type and `__typename` notice the difference.",
        "old: schema { query: Query }\nnew: schema { query: Root }";
    TYPE_REMOVED: "graphql-type-removed", Error, Request, Major,
        "a type is gone",
        "Operations that name it, in a fragment or a variable, are refused.",
        "old: type Note { text: String }\nnew: (nothing)";
    TYPE_ADDED: "graphql-type-added", Info, Response, Minor,
        "a type was added",
        "Nobody breaks.",
        "old: (nothing)\nnew: type Note { text: String }";
    TYPE_KIND: "graphql-type-kind-changed", Error, Request, Major,
        "a type changed its kind",
        "What may be selected from it, or passed as it, is another thing altogether.",
        "old: type Note { text: String }\nnew: union Note = Text | Image";
    FIELD_REMOVED: "graphql-field-removed", Error, Request, Major,
        "a field is gone",
        "Operations that select it are refused as a whole. Deprecate it first, and look at the operations in use.",
        "old: type Order { id: ID! total: Int }\nnew: type Order { id: ID! }";
    FIELD_ADDED: "graphql-field-added", Info, Response, Minor,
        "a field was added",
        "Nobody receives what it did not select.",
        "old: type Order { id: ID! }\nnew: type Order { id: ID! total: Int }";
    FIELD_TYPE: "graphql-field-type-changed", Error, Response, Major,
        "a field has a type that consumers are not prepared for",
        "The value may be null, a list, or of another type than consumers expect. Only turning nullable into non-null is safe in a response.",
        "old: total: Int!\nnew: total: Int";
    FIELD_TYPE_NARROWED: "graphql-field-type-narrowed", Info, Response, Minor,
        "a field promises more than before",
        "What was nullable never is null any more: no consumer is surprised.",
        "old: total: Int\nnew: total: Int!";
    FIELD_CONFLICT: "graphql-field-conflict", Error, Request, Major,
        "a field can no longer be asked for together with one of its name",
        "Where a value may be of several types, fields of one name in its fragments must have the same shape, null included: an operation that asks for both is refused as a whole. Let both promise the same at once.",
        "old: union Item = A | B  type A { x: Int } type B { x: Int }\nnew: union Item = A | B  type A { x: Int } type B { x: Int! }";
    ARGUMENT_REMOVED: "graphql-argument-removed", Error, Request, Major,
        "an argument is gone",
        "Operations that pass it are refused.",
        "old: orders(first: Int): [Order]\nnew: orders: [Order]";
    ARGUMENT_REQUIRED: "graphql-required-argument-added", Error, Request, Major,
        "an argument must be given now",
        "Operations that do not pass it are refused. Give it a default, or let it be null.",
        "old: orders: [Order]\nnew: orders(first: Int!): [Order]";
    ARGUMENT_ADDED: "graphql-optional-argument-added", Warning, Request, Minor,
        "an optional argument was added",
        "Old operations stay valid. What they get depends on what the server does when the argument is left out.",
        "old: orders: [Order]\nnew: orders(first: Int): [Order]";
    ARGUMENT_TYPE: "graphql-argument-type-changed", Error, Request, Major,
        "an argument takes another type",
        "Values and variables of the old type are refused. Only turning non-null into nullable is safe in a request.",
        "old: orders(first: Int): [Order]\nnew: orders(first: Int!): [Order]";
    ARGUMENT_TYPE_WIDENED: "graphql-argument-type-widened", Info, Request, Minor,
        "an argument takes more than before",
        "Whatever was passed is still accepted.",
        "old: orders(first: Int!): [Order]\nnew: orders(first: Int): [Order]";
    ARGUMENT_DEFAULT: "graphql-argument-default-changed", Warning, Request, Minor,
        "the default of an argument changed",
        "Operations that leave it out stay valid and mean something else.",
        "old: orders(first: Int = 10): [Order]\nnew: orders(first: Int = 50): [Order]";
    INPUT_REMOVED: "graphql-input-field-removed", Error, Request, Major,
        "a field of an input object is gone",
        "Values that carry it are refused.",
        "old: input Filter { text: String owner: ID }\nnew: input Filter { text: String }";
    INPUT_REQUIRED: "graphql-required-input-field-added", Error, Request, Major,
        "a field of an input object must be given now",
        "Values without it are refused. Give it a default, or let it be null.",
        "old: input Filter { text: String }\nnew: input Filter { text: String owner: ID! }";
    INPUT_ADDED: "graphql-optional-input-field-added", Warning, Request, Minor,
        "an optional field was added to an input object",
        "Old values stay valid. What they mean depends on what the server does when the field is left out.",
        "old: input Filter { text: String }\nnew: input Filter { text: String owner: ID }";
    INPUT_TYPE: "graphql-input-field-type-changed", Error, Request, Major,
        "a field of an input object takes another type",
        "Values of the old type are refused.",
        "old: input Filter { owner: ID }\nnew: input Filter { owner: ID! }";
    INPUT_TYPE_WIDENED: "graphql-input-field-type-widened", Info, Request, Minor,
        "a field of an input object takes more than before",
        "Whatever was passed is still accepted.",
        "old: input Filter { owner: ID! }\nnew: input Filter { owner: ID }";
    INPUT_DEFAULT: "graphql-input-field-default-changed", Warning, Request, Minor,
        "the default of an input field changed",
        "Values that leave it out stay valid and mean something else.",
        "old: input Page { size: Int = 10 }\nnew: input Page { size: Int = 50 }";
    INPUT_ONE_OF: "graphql-input-one-of-added", Error, Request, Major,
        "an input object takes exactly one of its fields now",
        "Values with several fields, or none, are refused.",
        "old: input By { id: ID name: String }\nnew: input By @oneOf { id: ID name: String }";
    VALUE_REMOVED: "graphql-enum-value-removed", Error, Request, Major,
        "an enum value that consumers may send is gone",
        "Operations that pass it are refused.",
        "old: enum Size { SMALL LARGE } in an argument\nnew: enum Size { SMALL }";
    VALUE_UNWRITTEN: "graphql-enum-value-no-longer-written", Info, Response, Minor,
        "an enum value that only responses carry is gone",
        "Consumers never see it again; nobody can have sent it.",
        "old: enum State { OPEN HELD } in a response\nnew: enum State { OPEN }";
    VALUE_ADDED: "graphql-enum-value-added", Warning, Response, Minor,
        "responses may carry an enum value that consumers do not know",
        "Consumers that list all values take a way nobody thought of.",
        "old: enum State { OPEN } in a response\nnew: enum State { OPEN HELD }";
    VALUE_ACCEPTED: "graphql-enum-value-accepted", Info, Request, Minor,
        "one more enum value is accepted",
        "Only requests carry the enum: nobody meets a value it does not know.",
        "old: enum Size { SMALL } in an argument\nnew: enum Size { SMALL LARGE }";
    MEMBER_REMOVED: "graphql-union-member-removed", Error, Request, Major,
        "a type is no longer a member of a union",
        "Fragments on the type can never match, and operations with them are refused.",
        "old: union Item = Book | Film\nnew: union Item = Book";
    MEMBER_ADDED: "graphql-union-member-added", Warning, Response, Minor,
        "a union has one more member",
        "Consumers meet a type that their fragments do not cover.",
        "old: union Item = Book\nnew: union Item = Book | Film";
    INTERFACE_REMOVED: "graphql-interface-removed", Error, Request, Major,
        "a type no longer implements an interface",
        "Fragments between the two can never match, and operations with them are refused.",
        "old: type Book implements Item\nnew: type Book";
    INTERFACE_ADDED: "graphql-interface-added", Warning, Response, Minor,
        "a type implements one more interface",
        "Consumers that select from the interface meet a type that their fragments do not cover.",
        "old: type Book\nnew: type Book implements Item";
    DIRECTIVE_REMOVED: "graphql-directive-removed", Error, Request, Major,
        "a directive is gone",
        "Documents that use it are refused.",
        "old: directive @mask on FIELD\nnew: (nothing)";
    DIRECTIVE_ADDED: "graphql-directive-added", Info, Request, Minor,
        "a directive was added",
        "Nobody breaks.",
        "old: (nothing)\nnew: directive @mask on FIELD";
    DIRECTIVE_ARGUMENT_REMOVED: "graphql-directive-argument-removed", Error, Request, Major,
        "an argument of a directive is gone",
        "Documents that pass it are refused.",
        "old: directive @mask(with: String) on FIELD\nnew: directive @mask on FIELD";
    DIRECTIVE_ARGUMENT_REQUIRED: "graphql-required-directive-argument-added", Error, Request, Major,
        "an argument of a directive must be given now",
        "Documents that do not pass it are refused.",
        "old: directive @mask on FIELD\nnew: directive @mask(with: String!) on FIELD";
    DIRECTIVE_ARGUMENT_ADDED: "graphql-directive-argument-added", Info, Request, Minor,
        "an optional argument was added to a directive",
        "Nobody breaks.",
        "old: directive @mask on FIELD\nnew: directive @mask(with: String) on FIELD";
    DIRECTIVE_ARGUMENT_TYPE: "graphql-directive-argument-type-changed", Error, Request, Major,
        "an argument of a directive takes another type",
        "Values of the old type are refused.",
        "old: directive @mask(with: String) on FIELD\nnew: directive @mask(with: Int) on FIELD";
    DIRECTIVE_LOCATION_REMOVED: "graphql-directive-location-removed", Error, Request, Major,
        "a directive may not stand where it used to",
        "Documents that use it there are refused.",
        "old: directive @mask on FIELD | QUERY\nnew: directive @mask on FIELD";
    DIRECTIVE_NOT_REPEATABLE: "graphql-directive-not-repeatable", Error, Request, Major,
        "a directive may stand only once now",
        "Documents that repeat it are refused.",
        "old: directive @mask repeatable on FIELD\nnew: directive @mask on FIELD";
    DEPRECATED: "graphql-deprecated", Info, Response, Patch,
        "an element is now deprecated",
        "Nobody breaks. Consumers should move away before it goes.",
        "old: total: Int\nnew: total: Int @deprecated(reason: \"use amount\")";
}
