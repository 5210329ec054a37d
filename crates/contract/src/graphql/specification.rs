//! The definitions of GraphQL (October 2021, September 2025) with all their parts, and the directives that are known to matter.
//!
//! The grammar is closed: what the parser does not know is an error with its line. Only directives are open to all.

use crate::field::{Field, Treatment};

use Treatment::{Compared, Harmless, NotChecked};

/// Directives in a schema that change what is refused or what comes: they must be the same on both sides.
pub(super) const KNOWN_TO_MATTER: [&str; 13] = [
    "specifiedBy",
    "constraint",
    "inaccessible",
    "authenticated",
    "requiresScopes",
    "policy",
    "auth",
    "semanticNonNull",
    "semanticNonNullField",
    "cost",
    "listSize",
    "length",
    "range",
];

/// What directives are where no name of them is in a list.
const OF_TOOLS: Treatment =
    Harmless("directives of tools annotate; those known to matter are listed by themselves");

const fn part(object: &'static str, name: &'static str, treatment: Treatment) -> Field {
    Field { object, name, versions: "October 2021, September 2025", treatment, default: "" }
}

/// All parts of all definitions.
pub(crate) static ALL: &[Field] = &[
    part("Schema Definition", "description", Harmless("it describes")),
    part("Schema Definition", "query", Compared("graphql-root-removed")),
    part("Schema Definition", "mutation", Compared("graphql-root-removed")),
    part("Schema Definition", "subscription", Compared("graphql-root-removed")),
    part("Schema Definition", "directives", OF_TOOLS),
    part("Scalar Type", "name", Compared("graphql-type-removed")),
    part("Scalar Type", "description", Harmless("it describes")),
    part("Scalar Type", "@specifiedBy", NotChecked),
    part("Scalar Type", "directives", OF_TOOLS),
    part("Object Type", "name", Compared("graphql-type-removed")),
    part("Object Type", "description", Harmless("it describes")),
    part("Object Type", "interfaces", Compared("graphql-interface-removed")),
    part("Object Type", "fields", Compared("graphql-field-removed")),
    part("Object Type", "directives", OF_TOOLS),
    part("Interface Type", "name", Compared("graphql-type-removed")),
    part("Interface Type", "description", Harmless("it describes")),
    part("Interface Type", "interfaces", Compared("graphql-interface-removed")),
    part("Interface Type", "fields", Compared("graphql-field-removed")),
    part("Interface Type", "directives", OF_TOOLS),
    part("Field Definition", "name", Compared("graphql-field-removed")),
    part("Field Definition", "description", Harmless("it describes")),
    part("Field Definition", "arguments", Compared("graphql-argument-removed")),
    part("Field Definition", "type", Compared("graphql-field-type-changed")),
    part("Field Definition", "@deprecated", Compared("graphql-deprecated")),
    part("Field Definition", "directives", OF_TOOLS),
    part("Argument Definition", "name", Compared("graphql-argument-removed")),
    part("Argument Definition", "description", Harmless("it describes")),
    part("Argument Definition", "type", Compared("graphql-argument-type-changed")),
    part("Argument Definition", "default value", Compared("graphql-argument-default-changed")),
    part("Argument Definition", "@deprecated", Compared("graphql-deprecated")),
    part("Argument Definition", "directives", OF_TOOLS),
    part("Union Type", "name", Compared("graphql-type-removed")),
    part("Union Type", "description", Harmless("it describes")),
    part("Union Type", "members", Compared("graphql-union-member-removed")),
    part("Union Type", "directives", OF_TOOLS),
    part("Enum Type", "name", Compared("graphql-type-removed")),
    part("Enum Type", "description", Harmless("it describes")),
    part("Enum Type", "values", Compared("graphql-enum-value-removed")),
    part("Enum Type", "directives", OF_TOOLS),
    part("Enum Value", "name", Compared("graphql-enum-value-removed")),
    part("Enum Value", "description", Harmless("it describes")),
    part("Enum Value", "@deprecated", Compared("graphql-deprecated")),
    part("Enum Value", "directives", OF_TOOLS),
    part("Input Object Type", "name", Compared("graphql-type-removed")),
    part("Input Object Type", "description", Harmless("it describes")),
    part("Input Object Type", "fields", Compared("graphql-input-field-removed")),
    part("Input Object Type", "@oneOf", Compared("graphql-input-one-of-added")),
    part("Input Object Type", "directives", OF_TOOLS),
    part("Input Field", "name", Compared("graphql-input-field-removed")),
    part("Input Field", "description", Harmless("it describes")),
    part("Input Field", "type", Compared("graphql-input-field-type-changed")),
    part("Input Field", "default value", Compared("graphql-input-field-default-changed")),
    part("Input Field", "@deprecated", Compared("graphql-deprecated")),
    part("Input Field", "directives", OF_TOOLS),
    part("Directive Definition", "name", Compared("graphql-directive-removed")),
    part("Directive Definition", "description", Harmless("it describes")),
    part("Directive Definition", "arguments", Compared("graphql-directive-argument-removed")),
    part("Directive Definition", "repeatable", Compared("graphql-directive-not-repeatable")),
    part("Directive Definition", "locations", Compared("graphql-directive-location-removed")),
];
