//! The rules about schemas, as data: for every aspect one for narrowing and one for widening, in every flow.

use super::notes::Topic;
use super::violation::Aspect;
use crate::{Bump, Flow, Kind, Level, Rule};

/// Which way a set of documents moved from old to new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Narrowed,
    Widened,
}

macro_rules! rule {
    ($kind:ident, $flow:ident, $level:ident, $bump:ident, $id:expr, $summary:expr, $why:expr, $example:expr) => {
        Rule {
            id: $id,
            kind: Kind::$kind,
            level: Level::$level,
            flow: Flow::$flow,
            bump: Bump::$bump,
            summary: $summary,
            explanation: $why,
            example: $example,
        }
    };
}

macro_rules! aspect_rules {
    ($($aspect:ident: $narrowed:literal, $narrow_text:literal; $widened:literal, $wide_text:literal; $before:literal, $after:literal; $level:ident $bump:ident;)+) => {
        /// The rules about schemas in requests and responses, four for every aspect.
        pub(crate) static ASPECTS: &[Rule] = &[$(
            rule!(OpenApi, Request, Error, Major, concat!("request-", $narrowed), concat!("in a request, ", $narrow_text),
                concat!("In a request, ", $narrow_text, ". A consumer of the old contract may still send what the provider no longer accepts. Accept both for a while, or offer a new operation."),
                concat!("before: ", $before, "\nafter:  ", $after)),
            rule!(OpenApi, Request, Info, Minor, concat!("request-", $widened), concat!("in a request, ", $wide_text),
                concat!("In a request, ", $wide_text, ". The provider accepts more than before, so nobody breaks; consumers that use it cannot go back to the old provider."),
                concat!("before: ", $after, "\nafter:  ", $before)),
            rule!(OpenApi, Response, Info, Minor, concat!("response-", $narrowed), concat!("in a response, ", $narrow_text),
                concat!("In a response, ", $narrow_text, ". The provider promises more than before, so nobody breaks; consumers that rely on it cannot go back to the old provider."),
                concat!("before: ", $before, "\nafter:  ", $after)),
            rule!(OpenApi, Response, $level, $bump, concat!("response-", $widened), concat!("in a response, ", $wide_text),
                concat!("In a response, ", $wide_text, ". The provider may now answer what a consumer of the old contract does not expect. Teach the consumers first, or offer a new operation."),
                concat!("before: ", $after, "\nafter:  ", $before)),
        )+];

        /// The rules about schemas of messages, two for every aspect.
        pub(crate) static MESSAGE_ASPECTS: &[Rule] = &[$(
            rule!(JsonSchema, Message, Error, Major, concat!("message-", $narrowed), concat!("in a message, ", $narrow_text),
                concat!("In a message, ", $narrow_text, ". Messages of the old schema, those already stored included, may no longer be accepted. When the owner of the schema writes, this is harmless."),
                concat!("before: ", $before, "\nafter:  ", $after)),
            rule!(JsonSchema, Message, Info, Minor, concat!("message-", $widened), concat!("in a message, ", $wide_text),
                concat!("In a message, ", $wide_text, ". All messages of the old schema are still accepted. When the owner of the schema writes, its readers may now get what they do not expect."),
                concat!("before: ", $after, "\nafter:  ", $before)),
        )+];

        #[cfg(test)]
        const ORDER: &[Aspect] = &[$(Aspect::$aspect),+];
    };
}

aspect_rules! {
    Type: "type-narrowed", "a type is no longer allowed"; "type-widened", "another type is allowed"; "type: [string, integer]", "type: string"; Error Major;
    Null: "became-not-nullable", "`null` is no longer allowed"; "became-nullable", "`null` is allowed"; "type: [string, 'null']", "type: string"; Error Major;
    EnumValue: "enum-value-removed", "a value of an enum is no longer allowed"; "enum-value-added", "an enum has another value"; "enum: [new, paid]", "enum: [new]"; Error Major;
    Enum: "became-enum", "only listed values are allowed"; "no-longer-enum", "not only listed values are allowed"; "type: string", "enum: [new, paid]"; Error Major;
    Minimum: "minimum-raised", "the minimum is higher"; "minimum-lowered", "the minimum is lower"; "minimum: 1", "minimum: 5"; Error Major;
    Maximum: "maximum-lowered", "the maximum is lower"; "maximum-raised", "the maximum is higher"; "maximum: 100", "maximum: 50"; Error Major;
    MultipleOf: "multiple-of-narrowed", "numbers must be multiples of more"; "multiple-of-widened", "numbers may be multiples of less"; "multipleOf: 5", "multipleOf: 10"; Error Major;
    MinLength: "min-length-raised", "strings must be longer"; "min-length-lowered", "strings may be shorter"; "minLength: 1", "minLength: 5"; Error Major;
    MaxLength: "max-length-lowered", "strings must be shorter"; "max-length-raised", "strings may be longer"; "maxLength: 100", "maxLength: 50"; Error Major;
    Pattern: "pattern-narrowed", "a pattern allows less"; "pattern-widened", "a pattern allows more"; "pattern: '^[a-z]+$'", "pattern: '^[a-f]+$'"; Warning Minor;
    Format: "format-narrowed", "a format allows less"; "format-widened", "a format allows more"; "type: string", "type: string, format: uuid"; Error Major;
    Content: "content-changed", "strings hold another encoding or media type"; "content-changed-back", "strings held another encoding or media type"; "contentEncoding: base64", "contentEncoding: base32"; Error Major;
    MinItems: "min-items-raised", "arrays must be longer"; "min-items-lowered", "arrays may be shorter"; "minItems: 0", "minItems: 1"; Error Major;
    MaxItems: "max-items-lowered", "arrays must be shorter"; "max-items-raised", "arrays may be longer"; "maxItems: 100", "maxItems: 10"; Error Major;
    UniqueItems: "unique-items-required", "items must be unique"; "unique-items-lifted", "items may repeat"; "uniqueItems: false", "uniqueItems: true"; Error Major;
    Items: "items-closed", "items at a position are no longer allowed"; "items-opened", "items at a position are allowed"; "prefixItems: [{}], items: {}", "prefixItems: [{}], items: false"; Error Major;
    Contains: "contains-narrowed", "`contains` demands more"; "contains-widened", "`contains` demands less"; "minContains: 1", "minContains: 2"; Error Major;
    MinProperties: "min-properties-raised", "objects must have more properties"; "min-properties-lowered", "objects may have fewer properties"; "minProperties: 0", "minProperties: 1"; Error Major;
    MaxProperties: "max-properties-lowered", "objects must have fewer properties"; "max-properties-raised", "objects may have more properties"; "maxProperties: 10", "maxProperties: 5"; Error Major;
    NewRequiredProperty: "required-property-added", "a property that was unknown is required"; "required-property-removed", "a property that was always there is gone"; "properties: {}", "properties: {id: {}}, required: [id]"; Error Major;
    RequiredProperty: "property-became-required", "an optional property is required"; "property-became-optional", "a required property is optional"; "required: []", "required: [id]"; Error Major;
    ClosedProperty: "property-forbidden", "a property is gone from a closed object"; "property-allowed", "a closed object has another property"; "properties: {a: {}, b: {}}, additionalProperties: false", "properties: {a: {}}, additionalProperties: false"; Error Major;
    AdditionalProperties: "additional-properties-forbidden", "other properties than the named ones are forbidden"; "additional-properties-allowed", "other properties than the named ones are allowed"; "additionalProperties: true", "additionalProperties: false"; Error Major;
    PropertyNames: "property-names-narrowed", "names of properties are restricted"; "property-names-widened", "names of properties are less restricted"; "propertyNames: {}", "propertyNames: {pattern: '^[a-z]+$'}"; Error Major;
    DependentRequired: "dependent-required-added", "a property requires others"; "dependent-required-removed", "a property no longer requires others"; "dependentRequired: {}", "dependentRequired: {card: [address]}"; Error Major;
    Variant: "variant-removed", "a variant is no longer allowed"; "variant-added", "another variant is allowed"; "oneOf: [Cat, Dog]", "oneOf: [Cat]"; Error Major;
    Exclusion: "exclusion-added", "documents that match another schema are excluded"; "exclusion-removed", "documents that match another schema are no longer excluded"; "type: string", "type: string, not: {const: root}"; Error Major;
}

macro_rules! topic_rules {
    ($($topic:ident: $name:literal, $text:literal, $why:literal, $example:literal, $request_level:ident $request_bump:ident, $response_level:ident $response_bump:ident;)+) => {
        /// The rules about what is said of schemas, three for every topic: request, response, message.
        pub(crate) static TOPICS: &[Rule] = &[$(
            rule!(OpenApi, Request, $request_level, $request_bump, concat!("request-", $name), concat!("in a request, ", $text), concat!("In a request, ", $text, ". ", $why), $example),
            rule!(OpenApi, Response, $response_level, $response_bump, concat!("response-", $name), concat!("in a response, ", $text), concat!("In a response, ", $text, ". ", $why), $example),
        )+];

        /// The same for messages, one for every topic.
        pub(crate) static MESSAGE_TOPICS: &[Rule] = &[$(
            rule!(JsonSchema, Message, Info, Minor, concat!("message-", $name), concat!("in a message, ", $text), concat!("In a message, ", $text, ". ", $why), $example),
        )+];

        #[cfg(test)]
        const TOPIC_ORDER: &[Topic] = &[$(Topic::$topic),+];
    };
}

topic_rules! {
    PropertyAdded: "property-added", "a property is new", "Writers of the old contract do not send it and readers of the old contract ignore it.", "properties: {id: {}, note: {}}", Info Minor, Info Minor;
    PropertyRemoved: "property-removed", "a property is no longer described", "Nobody breaks by the letter, but what is still sent is ignored, and what was read is no longer there.", "properties: {id: {}}", Warning Minor, Warning Minor;
    PropertyShown: "property-became-visible", "a property now travels in this flow", "It is no longer read-only or write-only.", "writeOnly: false", Info Minor, Warning Minor;
    PropertyHidden: "property-became-hidden", "a property no longer travels in this flow", "It became read-only or write-only.", "writeOnly: true", Warning Minor, Info Minor;
    Default: "default-changed", "the default is another", "No document changes, but leaving the value out means something else.", "default: 20", Info Minor, Info Patch;
    Deprecated: "schema-deprecated", "a schema is deprecated", "It still works; consumers should stop using it.", "deprecated: true", Info Minor, Info Minor;
    Undeprecated: "schema-undeprecated", "a schema is no longer deprecated", "It stays.", "deprecated: false", Info Patch, Info Patch;
    Discriminator: "discriminator-changed", "the discriminator is another", "What it means for documents is judged by the variants it names.", "discriminator: {propertyName: kind}", Info Minor, Info Minor;
    ExtensibleValueRemoved: "extensible-value-removed", "a value of an extensible list is gone", "Consumers may still send it; the provider no longer knows it.", "x-extensible-enum: [new]", Error Major, Info Minor;
    ExtensibleValueAdded: "extensible-value-added", "an extensible list has another value", "Readers of extensible lists must expect values they do not know.", "x-extensible-enum: [new, paid]", Info Minor, Info Minor;
    FormatHint: "format-hint-changed", "a format that demands nothing is another", "No document is refused by it, but generated code may use another type.", "format: int64", Warning Minor, Warning Minor;
    NullableWithoutType: "nullable-without-type", "`nullable` stands without a `type`", "By OpenAPI 3.0.3 it has no effect there. Many generators mean by it that `null` may come: say so with a type, or with a variant that is `null`.", "nullable: true, allOf: [...]", Warning Minor, Warning Minor;
}

/// The rule for an aspect that moved in a flow.
pub(crate) fn of_aspect(aspect: Aspect, flow: Flow, moved: Move) -> &'static Rule {
    let index = aspect as usize;
    match (flow, moved) {
        (Flow::Request, Move::Narrowed) => &ASPECTS[index * 4],
        (Flow::Request, Move::Widened) => &ASPECTS[index * 4 + 1],
        (Flow::Response, Move::Narrowed) => &ASPECTS[index * 4 + 2],
        (Flow::Response, Move::Widened) => &ASPECTS[index * 4 + 3],
        (Flow::Message | Flow::Storage, Move::Narrowed) => &MESSAGE_ASPECTS[index * 2],
        (Flow::Message | Flow::Storage, Move::Widened) => &MESSAGE_ASPECTS[index * 2 + 1],
    }
}

/// The rule for a topic in a flow.
pub(crate) fn of_topic(topic: Topic, flow: Flow) -> &'static Rule {
    let index = topic as usize;
    match flow {
        Flow::Request => &TOPICS[index * 2],
        Flow::Response => &TOPICS[index * 2 + 1],
        Flow::Message | Flow::Storage => &MESSAGE_TOPICS[index],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_aspects_and_topics() {
        assert!(ORDER.iter().enumerate().all(|(index, aspect)| *aspect as usize == index));
        assert!(TOPIC_ORDER.iter().enumerate().all(|(index, topic)| *topic as usize == index));
        let rule = of_aspect(Aspect::Exclusion, Flow::Response, Move::Widened);
        assert_eq!((rule.id, rule.level), ("response-exclusion-removed", Level::Error));
        assert_eq!(of_topic(Topic::NullableWithoutType, Flow::Message).id, "message-nullable-without-type");
    }
}
