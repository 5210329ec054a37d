//! As much of RFC 3986 as references between schemas need: resolving, and files as URIs.

/// The scheme and empty authority of files in a source.
const FILE: &str = "file:///";

/// The URI of a file in the source.
pub(super) fn of_file(path: &str) -> String {
    format!("{FILE}{}", path.trim_start_matches('/'))
}

/// The path of the file a URI names, when it names one.
pub(super) fn to_file(uri: &str) -> Option<String> {
    uri.strip_prefix(FILE).map(percent_decode)
}

/// Resolves a reference without a fragment against an absolute URI.
pub(super) fn resolve(base: &str, reference: &str) -> String {
    if has_scheme(reference) {
        return reference.to_owned();
    }
    let (scheme, rest) = base.split_once(':').unwrap_or(("file", base));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => return format!("{scheme}:{}", merge(rest, reference)),
    };
    if let Some(other) = reference.strip_prefix("//") {
        return format!("{scheme}://{other}");
    }
    format!("{scheme}://{authority}{}", merge(path, reference))
}

fn merge(path: &str, reference: &str) -> String {
    if reference.is_empty() {
        return path.to_owned();
    }
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    let joined =
        if reference.starts_with('/') { reference.to_owned() } else { format!("{folder}{reference}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "." => {}
            ".." if parts.len() > 1 => drop(parts.pop()),
            ".." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

/// Decodes `%XX`; what is not a valid escape stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_as_rfc_3986_says() {
        let cases = [
            ("file:///api/openapi.yaml", "schemas/pet.yaml", "file:///api/schemas/pet.yaml"),
            ("file:///api/openapi.yaml", "../common/./a.yaml", "file:///common/a.yaml"),
            ("file:///openapi.yaml", "../../a.yaml", "file:///a.yaml"),
            ("https://example.com/schemas/a", "b", "https://example.com/schemas/b"),
            ("https://example.com/schemas/a", "/b", "https://example.com/b"),
            ("https://example.com", "b", "https://example.com/b"),
            ("urn:example:a", "https://example.com/b", "https://example.com/b"),
        ];
        for (base, reference, expected) in cases {
            assert_eq!(resolve(base, reference), expected);
        }
    }

    #[test]
    fn percent_escapes_are_decoded_and_bad_ones_kept() {
        assert_eq!(percent_decode("%7Bid%7D%2"), "{id}%2");
        assert_eq!(percent_decode("a%C3%A9"), "a\u{e9}");
    }
}
