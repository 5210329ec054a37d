//! The keywords of schemas: JSON Schema up to draft 7, 2019-09 and 2020-12, and what Swagger and OpenAPI add. Sorted by name.
//!
//! Reading a schema walks over all that it holds; what stands in no list, or is not compared, travels with the facts and has to be
//! the same on both sides.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::field::{Field, Treatment, fields};

/// The keyword of this name. It is asked for every member of every schema, several times.
pub(super) fn keyword(name: &str) -> Option<&'static Field> {
    static BY_NAME: LazyLock<FxHashMap<&str, &Field>> =
        LazyLock::new(|| KEYWORDS.iter().map(|field| (field.name, field)).collect());
    BY_NAME.get(name).copied()
}

/// What the list calls the drafts of JSON Schema.
pub(crate) const DRAFTS: [&str; 5] = ["draft-4", "draft-6", "draft-7", "2019-09", "2020-12"];

/// Words of the list for who uses a keyword, whatever the version.
const ANY_VERSION: [&str; 3] = ["editors", "extension", "generators"];

/// False for a keyword that is compared, and that none of these versions has. What stands in no list, or is harmless, belongs to all.
pub(crate) fn is_known_to(name: &str, versions: &[&str]) -> bool {
    let Some(field) = keyword(name).filter(|field| matches!(field.treatment, Treatment::Compared(_))) else {
        return true;
    };
    field.versions.split(' ').any(|known| versions.contains(&known) || ANY_VERSION.contains(&known))
}

/// True when nobody knows what documents have to do with a keyword, or nobody looks.
pub(super) fn is_open(name: &str) -> bool {
    match keyword(name) {
        Some(field) => field.treatment == Treatment::NotChecked,
        None => !name.starts_with("x-"),
    }
}

/// Why a comparison is open where a keyword differs that nobody knows or looks at.
pub(super) fn reason(name: &str) -> String {
    match keyword(name) {
        Some(_) => format!("`{name}` is not compared in this form, and differs"),
        None if name.starts_with("discriminator/") => format!("`{name}` is not compared, and differs"),
        None => format!("`{name}` is no keyword of schemas in any version that is read, and differs"),
    }
}

/// True when a value says no more than leaving the keyword out.
pub(super) fn is_default(name: &str, value: &Value) -> bool {
    let default = keyword(name).and_then(|field| serde_json::from_str::<Value>(field.default).ok());
    default.is_some_and(|default| default == *value)
}

/// True when a keyword says nothing about documents.
pub(super) fn is_harmless(name: &str) -> bool {
    match keyword(name) {
        Some(field) => matches!(field.treatment, Treatment::Harmless(_)),
        None => name.starts_with("x-"),
    }
}

/// All keywords.
pub(crate) static KEYWORDS: &[Field] = fields! { "Schema":
    "2019-09 2020-12 3.1 3.2" { "$anchor" harmless "it names the schema; references to it are followed"; }
    "draft-7 2019-09 2020-12 3.1 3.2" { "$comment" harmless "it is a note for the writers of schemas"; }
    "3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "$defs" compared "request-type-narrowed"; }
    "2020-12 3.1 3.2" { "$dynamicAnchor" harmless "it names the schema; references to it are followed"; }
    "2020-12 3.1 3.2" { "$dynamicRef" compared "request-type-narrowed"; }
    "draft-4 draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "$id" harmless "it names the schema; references to it are followed"; }
    "2019-09" { "$recursiveAnchor" open ""; }
    "2019-09" { "$recursiveRef" compared "request-type-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "$ref" compared "request-type-narrowed"; }
    "draft-4 draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "$schema" harmless "it says which draft this is, and every draft is read by its own list; in a part, another draft than the whole is not checked"; }
    "2019-09 2020-12 3.1 3.2" { "$vocabulary" harmless "it speaks of meta-schemas and says nothing of documents"; }
    "draft-4 draft-6 draft-7 2019-09" { "additionalItems" compared "request-type-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "additionalProperties" compared "request-type-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "allOf" compared "request-type-narrowed"; }
    "editors" { "allowComments" harmless "it is an annotation of editors, known to demand nothing"; }
    "editors" { "allowTrailingCommas" harmless "it is an annotation of editors, known to demand nothing"; }
    "3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "anyOf" compared "request-type-narrowed"; }
    "2.0" { "collectionFormat" open "" = "\"csv\""; }
    "draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "const" compared "request-became-enum"; }
    "draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "contains" compared "request-contains-narrowed"; }
    "draft-7 2019-09 2020-12 3.1 3.2" { "contentEncoding" compared "request-content-changed"; }
    "draft-7 2019-09 2020-12 3.1 3.2" { "contentMediaType" compared "request-content-changed"; }
    "2019-09 2020-12 3.1 3.2" { "contentSchema" compared "request-type-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "default" compared "request-default-changed"; }
    "editors" { "defaultSnippets" harmless "it is an annotation of editors, known to demand nothing"; }
    "3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "definitions" compared "request-type-narrowed"; }
    "draft-4 draft-6 draft-7" { "dependencies" compared "request-dependent-required-added"; }
    "2019-09 2020-12 3.1 3.2" { "dependentRequired" compared "request-dependent-required-added"; }
    "2019-09 2020-12 3.1 3.2" { "dependentSchemas" compared "request-type-narrowed"; }
    "3.0 draft-4 draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "deprecated" compared "request-schema-deprecated"; }
    "editors" { "deprecationMessage" harmless "it is an annotation of editors, known to demand nothing"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "description" harmless "it describes"; }
    "draft-3" { "disallow" open ""; }
    "2.0 3.0 3.1 3.2" { "discriminator" compared "request-discriminator-changed"; }
    "draft-3" { "divisibleBy" open ""; }
    "editors" { "doNotSuggest" harmless "it is an annotation of editors, known to demand nothing"; }
    "draft-7 2019-09 2020-12 3.1 3.2" { "else" compared "request-type-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "enum" compared "request-enum-value-removed"; }
    "editors" { "enumDescriptions" harmless "it is an annotation of editors, known to demand nothing"; }
    "editors" { "errorMessage" harmless "it is an annotation of editors, known to demand nothing"; }
    "2.0 3.0 3.1 3.2" { "example" harmless "it is an example"; }
    "draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "examples" harmless "they are examples"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "exclusiveMaximum" compared "request-maximum-lowered"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "exclusiveMinimum" compared "request-minimum-raised"; }
    "generators" { "existingJavaType" harmless "it is a hint for generators of code, and says nothing of documents"; }
    "draft-3" { "extends" open ""; }
    "2.0 3.0 3.1 3.2" { "externalDocs" harmless "it describes"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "format" compared "request-format-narrowed"; }
    "draft-4 draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "id" harmless "it names the schema; references to it are followed"; }
    "draft-7 2019-09 2020-12 3.1 3.2" { "if" compared "request-exclusion-added"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "items" compared "request-type-narrowed"; }
    "generators" { "javaType" harmless "it is a hint for generators of code, and says nothing of documents"; }
    "editors" { "markdownDescription" harmless "it is an annotation of editors, known to demand nothing"; }
    "editors" { "markdownEnumDescriptions" harmless "it is an annotation of editors, known to demand nothing"; }
    "2019-09 2020-12 3.1 3.2" { "maxContains" compared "request-contains-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "maxItems" compared "request-max-items-lowered"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "maxLength" compared "request-max-length-lowered"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "maxProperties" compared "request-max-properties-lowered"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "maximum" compared "request-maximum-lowered"; }
    "2019-09 2020-12 3.1 3.2" { "minContains" compared "request-contains-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "minItems" compared "request-min-items-raised"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "minLength" compared "request-min-length-raised"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "minProperties" compared "request-min-properties-raised"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "minimum" compared "request-minimum-raised"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "multipleOf" compared "request-multiple-of-narrowed"; }
    "3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "not" compared "request-exclusion-added"; }
    "3.0" { "nullable" compared "request-became-not-nullable"; }
    "3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "oneOf" compared "request-variant-removed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "pattern" compared "request-pattern-narrowed"; }
    "editors" { "patternErrorMessage" harmless "it is an annotation of editors, known to demand nothing"; }
    "draft-4 draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "patternProperties" compared "request-type-narrowed"; }
    "2020-12 3.1 3.2" { "prefixItems" compared "request-type-narrowed"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "properties" compared "request-type-narrowed"; }
    "draft-6 draft-7 2019-09 2020-12 3.1 3.2" { "propertyNames" compared "request-property-names-narrowed"; }
    "generators" { "propertyOrder" harmless "it is a hint for generators of code, and says nothing of documents"; }
    "2.0 3.0 3.1 3.2 draft-7 2019-09 2020-12" { "readOnly" compared "request-property-became-hidden"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "required" compared "request-property-became-required"; }
    "editors" { "suggestSortText" harmless "it is an annotation of editors, known to demand nothing"; }
    "draft-7 2019-09 2020-12 3.1 3.2" { "then" compared "request-exclusion-added"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "title" harmless "it describes"; }
    "generators" { "tsEnumNames" harmless "it is a hint for generators of code, and says nothing of documents"; }
    "generators" { "tsType" harmless "it is a hint for generators of code, and says nothing of documents"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "type" compared "request-type-narrowed"; }
    "2019-09 2020-12 3.1 3.2" { "unevaluatedItems" compared "request-items-closed"; }
    "2019-09 2020-12 3.1 3.2" { "unevaluatedProperties" compared "request-additional-properties-forbidden"; }
    "2.0 3.0 3.1 3.2 draft-4 draft-6 draft-7 2019-09 2020-12" { "uniqueItems" compared "request-unique-items-required"; }
    "3.0 3.1 3.2 draft-7 2019-09 2020-12" { "writeOnly" compared "response-property-became-hidden"; }
    "extension" { "x-extensible-enum" compared "request-extensible-value-removed"; }
    "extension" { "x-nullable" compared "request-became-not-nullable"; }
    "2.0 3.0 3.1 3.2" { "xml" compared "request-xml-changed"; }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_so_that_each_is_found() {
        assert!(KEYWORDS.is_sorted_by(|one, other| one.name < other.name));
        assert!(is_open("nulable") && is_open("extends") && !is_open("x-anything") && !is_open("maxLength"));
    }
}
