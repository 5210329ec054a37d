//! Which other files a document refers to, so that whoever reads files can bring all of a contract.

use crate::document::{Document, may_be_document};
use crate::library::Library;

/// Lists the paths of the files that a JSON or YAML document may refer to, seen from where the paths of the source begin.
/// A file that cannot be read refers to nothing; reading the contract will say why.
#[must_use]
pub fn references(path: &str, bytes: &[u8]) -> Vec<String> {
    if !may_be_document(path, bytes) {
        return Vec::new();
    }
    Document::parse(path, bytes).map(Library::needed_by).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_once_and_from_the_root() {
        let text = r##"{"a": {"$ref": "../common/money.yaml#/Money"}, "b": {"$ref": "#/a"},
            "c": [{"$ref": "order.json"}, {"$ref": "../common/money.yaml"}, {"$ref": "https://example.com/x.json"}]}"##;
        let mut found = references("api/v1/openapi.json", text.as_bytes());
        found.sort();
        assert_eq!(found, ["api/common/money.yaml", "api/v1/order.json"]);
        assert!(references("a.sql", b"SELECT 1").is_empty());
        assert!(references("a.json", b"{").is_empty());
    }
}
