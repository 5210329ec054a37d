//! The rules of Avro schemas, as data.

use crate::rules::rules;

rules! { Avro, Message;
    TYPE_CHANGED: "avro-type-changed", Error, Major, "a type is another that the reader cannot take it for",
        "Schema resolution ends with an error at the first message. Only int, long, float and double widen into each other, in this order, and string and bytes are read as each other. Add a new field with a default instead, or a union of both once every reader knows it.",
        "before: {name: total, type: int}\nafter:  {name: total, type: string}";
    TYPE_PROMOTED: "avro-type-promoted", Info, Minor, "a type is a wider one",
        "A reader of the wider type reads what writers of the narrower one wrote. The other way round it fails, so readers move first and a writer that has moved cannot be read by older readers.",
        "before: {name: total, type: int}\nafter:  {name: total, type: long}";
    PRECISION_LOST: "avro-precision-lost", Warning, Minor, "whole numbers are read as floating point",
        "It resolves, but a float holds 24 binary digits and a double 53: larger numbers are read as one beside them.",
        "before: {name: id, type: long}\nafter:  {name: id, type: double}";
    BYTES_AS_TEXT: "avro-bytes-read-as-text", Warning, Minor, "bytes are read as text",
        "It resolves, but bytes that are not UTF-8 are refused by some libraries and replaced by others.",
        "before: {name: data, type: bytes}\nafter:  {name: data, type: string}";
    NAME_CHANGED: "avro-name-changed", Error, Major, "a record, enum or fixed has another name",
        "Named types match by name. Give the old name as an alias in the reader's schema; readers of the older schema cannot read the new name at all, so a writer keeps it.",
        "before: {type: record, name: Order}\nafter:  {type: record, name: Purchase}\nbetter: {type: record, name: Purchase, aliases: [Order]}";
    READ_BY_ALIAS: "avro-read-by-alias", Warning, Minor, "a name is only known as an alias",
        "The reader takes the old name for the new one. The specification leaves it to a library whether it knows aliases; the well-known ones do, some small ones do not.",
        "before: {name: total, type: int}\nafter:  {name: amount, aliases: [total], type: int}";
    FIELD_ADDED: "avro-field-added", Info, Minor, "a field is new",
        "Readers without it skip it, and readers with it have a default for messages without it.",
        "before: fields: []\nafter:  fields: [{name: note, type: string, default: ''}]";
    FIELD_ADDED_WITHOUT_DEFAULT: "avro-field-added-without-default", Error, Major, "a new field has no default",
        "Messages that were written before have no such field, and the reader has nothing to put there. Give it a default.",
        "before: fields: []\nafter:  fields: [{name: currency, type: string}]\nbetter: fields: [{name: currency, type: string, default: EUR}]";
    FIELD_REMOVED: "avro-field-removed", Warning, Minor, "a field is gone",
        "Readers that still know it take their default. Readers without it skip what older writers wrote: nobody fails, and the value is no longer seen.",
        "before: fields: [{name: note, type: string, default: ''}]\nafter:  fields: []";
    FIELD_REMOVED_WITHOUT_DEFAULT: "avro-field-removed-without-default", Error, Major, "a field is gone that readers have no default for",
        "Readers of the older schema fail at the first message without it. Give the field a default, wait until every reader has that schema, then take it away.",
        "before: fields: [{name: currency, type: string}]\nafter:  fields: []";
    DEFAULT_CHANGED: "avro-default-changed", Info, Minor, "a default is another",
        "Nothing that is written changes. Readers put the new value where a message has none.",
        "before: {name: currency, type: string, default: EUR}\nafter:  {name: currency, type: string, default: USD}";
    SYMBOL_ADDED: "avro-symbol-added", Info, Minor, "an enum has another symbol",
        "Readers that know it read it. A reader that does not takes its default for it.",
        "before: symbols: [NEW]\nafter:  symbols: [NEW, PAID]";
    SYMBOL_ADDED_UNKNOWN: "avro-symbol-added-unknown", Error, Major, "an enum has a symbol that older readers refuse",
        "Readers of the older schema do not know the symbol and have no default for it, so the message fails. Give the enum a default first, and wait until every reader has it.",
        "before: symbols: [NEW]\nafter:  symbols: [NEW, PAID]\nbetter: symbols: [NEW, OTHER], default: OTHER, before PAID comes";
    SYMBOL_REMOVED: "avro-symbol-removed", Error, Major, "a symbol of an enum is gone",
        "Messages that have it fail: the reader does not know it and has no default. Keep it, or give the enum a default.",
        "before: symbols: [NEW, PAID]\nafter:  symbols: [NEW]";
    SYMBOL_DEFAULTED: "avro-symbol-read-as-default", Warning, Minor, "a symbol is read as the default",
        "The reader does not know the symbol and takes the default of the enum for it. Libraries before 1.9 know no such default and fail.",
        "before: symbols: [NEW, PAID], default: NEW\nafter:  symbols: [NEW], default: NEW";
    SYMBOL_UNWRITTEN: "avro-symbol-no-longer-written", Info, Minor, "a symbol is no longer written",
        "Readers that know it wait for it in vain; nobody fails.",
        "before: symbols: [NEW, PAID]\nafter:  symbols: [NEW]";
    BRANCH_REMOVED: "avro-branch-removed", Error, Major, "a type of a union is no longer read",
        "Messages with a value of that type fail. Keep the type in the union as long as such messages are kept.",
        "before: type: ['null', string]\nafter:  type: string";
    BRANCH_ADDED: "avro-branch-added", Info, Minor, "a union has another type",
        "Readers of the new schema take more than before. Writers may use it once every reader knows it.",
        "before: type: string\nafter:  type: ['null', string]";
    BRANCH_ADDED_UNKNOWN: "avro-branch-added-unknown", Error, Major, "a union has a type that older readers refuse",
        "Readers of the older schema have no type for such a value and fail at the first message that has one. Move the readers first.",
        "before: type: string\nafter:  type: ['null', string]";
    BRANCH_UNWRITTEN: "avro-branch-no-longer-written", Info, Minor, "a type of a union is no longer written",
        "Readers that know it wait for it in vain; nobody fails.",
        "before: type: ['null', string]\nafter:  type: string";
    SIZE_CHANGED: "avro-fixed-size-changed", Error, Major, "a fixed has another size",
        "Two fixed types match only when both sizes are the same. Add a new field of a new type.",
        "before: {type: fixed, name: Hash, size: 16}\nafter:  {type: fixed, name: Hash, size: 32}";
    LOGICAL_CHANGED: "avro-logical-type-changed", Error, Major, "the same bytes mean something else",
        "The underlying types resolve, so no library complains, and every value is taken for another one. Add a new field instead.",
        "before: {type: long, logicalType: timestamp-millis}\nafter:  {type: long, logicalType: timestamp-micros}";
    DECIMAL_CHANGED: "avro-decimal-changed", Error, Major, "a decimal has another precision or scale",
        "The specification lets two decimals match only when precision and scale are the same. Most libraries do not look: with another scale every amount is wrong by a power of ten; with a smaller precision large amounts are refused.",
        "before: {type: bytes, logicalType: decimal, precision: 10, scale: 2}\nafter:  {type: bytes, logicalType: decimal, precision: 10, scale: 4}";
    LOGICAL_DEMANDED: "avro-logical-type-demanded", Error, Major, "plain values are read as a logical type that not all of them are",
        "A writer of the plain type may write what is no value of the logical type. Libraries refuse it, or hand on what they cannot make sense of.",
        "before: {type: string}\nafter:  {type: string, logicalType: uuid}";
    LOGICAL_ADDED: "avro-logical-type-added", Warning, Minor, "plain numbers are read as a logical type",
        "Every value is one of the logical type. Whether the writer meant it so is not in its schema.",
        "before: {type: long}\nafter:  {type: long, logicalType: timestamp-millis}";
    LOGICAL_REMOVED: "avro-logical-type-removed", Warning, Minor, "a logical type is read as a plain value",
        "Nobody fails; what the value means is no longer in the schema.",
        "before: {type: long, logicalType: timestamp-millis}\nafter:  {type: long}";
    MESSAGE_REMOVED: "avro-message-removed", Error, Major, "a message is gone from the reader",
        "Messages of it that are written or kept are read by nobody. Where the owner of the schema writes, this is only told.",
        "before: Order.avsc, Paid.avsc\nafter:  Order.avsc";
    MESSAGE_ADDED: "avro-message-added", Info, Minor, "a message is new",
        "Nobody breaks.",
        "before: Order.avsc\nafter:  Order.avsc, Paid.avsc";
}
