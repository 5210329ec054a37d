//! What is known about the values of `format`: which one holds another, how values look, and one value that surely fits.
//!
//! Formats that are not listed are compared by name only.

use serde_json::Number;

use super::number;

/// A format of strings: a pattern that all its values match, and one value that surely is of it.
struct Known {
    name: &'static str,
    pattern: &'static str,
    sample: &'static str,
}

const KNOWN: &[Known] = &[
    Known { name: "date", pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", sample: "2024-02-29" },
    Known {
        name: "date-time",
        pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)$",
        sample: "2024-02-29T12:00:00Z",
    },
    Known { name: "time", pattern: "^[0-9]{2}:[0-9]{2}:[0-9.]+([Zz]|[+-][0-9:]+)?$", sample: "12:00:00Z" },
    Known { name: "duration", pattern: "^P[0-9A-Z.,]+$", sample: "P1D" },
    Known {
        name: "uuid",
        pattern: "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$",
        sample: "2f1c1f4e-6a39-4d9b-8a41-0c5f3d2b7a10",
    },
    Known { name: "ipv4", pattern: "^[0-9]{1,3}(\\.[0-9]{1,3}){3}$", sample: "192.0.2.1" },
    Known { name: "ipv6", pattern: "^[0-9a-fA-F:.]+$", sample: "2001:db8::1" },
    Known { name: "email", pattern: "@", sample: "a@example.com" },
    Known { name: "idn-email", pattern: "@", sample: "a@example.com" },
    Known { name: "hostname", pattern: "^[0-9A-Za-z.-]+$", sample: "example.com" },
    Known { name: "uri", pattern: "^[A-Za-z][A-Za-z0-9+.-]*:", sample: "https://example.com/a" },
    Known { name: "iri", pattern: "^[A-Za-z][A-Za-z0-9+.-]*:", sample: "https://example.com/a" },
    Known { name: "byte", pattern: "^[A-Za-z0-9+/=_\\n\\r-]*$", sample: "YQ==" },
    Known { name: "json-pointer", pattern: "^(/|$)", sample: "/a" },
];

/// Pairs of which the first format's values are all of the second.
const HELD: &[(&str, &str)] = &[
    ("uri", "iri"),
    ("uri", "uri-reference"),
    ("uri", "iri-reference"),
    ("iri", "iri-reference"),
    ("uri-reference", "iri-reference"),
    ("url", "uri"),
    ("url", "uri-reference"),
    ("email", "idn-email"),
    ("hostname", "idn-hostname"),
    ("byte", "binary"),
    ("float", "double"),
];

/// True when every value of `narrow` is one of `wide`.
pub(super) fn holds(wide: &str, narrow: &str) -> bool {
    if wide == narrow || HELD.contains(&(narrow, wide)) {
        return true;
    }
    match (range(narrow), range(wide)) {
        (Some((low, high)), Some((lowest, highest))) => low >= lowest && high <= highest,
        _ => false,
    }
}

/// The whole numbers of a format, from and to.
pub(crate) fn range(format: &str) -> Option<(i128, i128)> {
    Some(match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "uint8" => (0, u8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        "uint64" => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// True when a format demands nothing that is not demanded already: it is a hint for people and generators. By the specifications
/// a format that nobody knows is one of those.
pub(super) fn is_hint(format: &str) -> bool {
    let is_known = KNOWN.iter().any(|known| known.name == format) || is_numeric(format);
    let is_listed =
        HELD.iter().any(|(narrow, wide)| (*narrow == format || *wide == format) && *wide != "binary");
    let by_name =
        ["regex", "uri-template", "relative-json-pointer", "idn-hostname", "uri-reference", "iri-reference"];
    format == "password" || !(is_known || is_listed || format == "byte" || by_name.contains(&format))
}

/// True when every number that is written anyway is of the format: all whole numbers there are, or all numbers.
pub(super) fn holds_all_numbers(format: &str, whole: bool) -> bool {
    matches!(format, "double" | "decimal" | "double-int") || (format == "int64" && whole)
}

/// True for formats that speak of numbers.
pub(super) fn is_numeric(format: &str) -> bool {
    range(format).is_some() || matches!(format, "float" | "double" | "decimal" | "double-int")
}

/// True when `value` is in the range of a numeric format.
pub(super) fn fits(format: &str, value: &Number) -> bool {
    match (range(format), number::integer(value)) {
        (Some((low, high)), Some(value)) => (low..=high).contains(&value),
        _ => true,
    }
}

/// A pattern that every string of the format matches.
pub(super) fn pattern(format: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| known.name == format).map(|known| known.pattern)
}

/// A string that surely is of the format.
pub(super) fn sample(format: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| known.name == format).map(|known| known.sample)
}
