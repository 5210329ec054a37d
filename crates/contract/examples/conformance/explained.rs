//! Differences in which we are right, each with its reason; `docs/design/contract-conformance.md` says more.

/// Returns why a verdict may differ from the peer's: by format, and the name of the case with what it is judged by.
pub(crate) fn why(format: &str, name: &str) -> Option<&'static str> {
    let matches = |(of, begin, _): &&(&str, &str, &str)| *of == format && name.starts_with(begin);
    EXPLAINED.iter().find(matches).map(|(_, _, why)| *why)
}

const SERVICE: &str = "a whole service is gone; calls to it fail, whatever the wire format";
const EDITIONS: &str = "some files are editions in text, which are not checked";

const ALL_OF: &str = "what was added to `allOf` refuses nothing that a consumer of the old contract sends";
const MAXIMUM: &str = "`maximum` says nothing of an array";
const ONE_MEMBER: &str =
    "every oneof has one member on both sides, so that no reader drops what a writer sends";
const VALUE_WARNS: &str = "a value more in an enum that is read is a warning here, as in the graphql-js family: clients are told to expect it";
const CLOSED_READER: &str = "of a reader that becomes closed messages with unknown properties are refused, and an open schema allowed them";
const WRITE_ONLY: &str = "a property that readers of the old contract are sure of is no longer sent";
const PARAMETER: &str = "the pair has no parameter; its request body only widens";

const EXPLAINED: &[(&str, &str, &str)] = &[
    ("openapi", "TestBreaking_RequestPropertyAllOfAdded ", ALL_OF),
    ("openapi", "TestRequestPropertyAllOfAdded ", ALL_OF),
    ("openapi", "TestRequestPropertyAllOfAdded_WithSources_", ALL_OF),
    ("openapi", "TestRequestPropertyAllOfAdded_AnnotationOnly_", ALL_OF),
    ("openapi", "TestRequestParameterMaxDecreased ", MAXIMUM),
    ("openapi", "TestListOfTypesUncoveredPaths ", PARAMETER),
    ("openapi", "TestBreaking_RequiredPropertyWriteOnlyEnabled ", WRITE_ONLY),
    ("protobuf", "breaking_ignore_unstable_packages_delete_file WIRE", SERVICE),
    ("protobuf", "breaking_field_same_cpp_string_type ", EDITIONS),
    ("protobuf", "breaking_field_same_oneof WIRE", ONE_MEMBER),
    ("reports", "gql-enum-value-added-output new to old", VALUE_WARNS),
    ("reports", "js-closed-to-open-property-removed new to old", CLOSED_READER),
    ("protobuf", "breaking_enum_same_json_format WIRE", EDITIONS),
    ("protobuf", "breaking_message_same_json_format WIRE", EDITIONS),
];
