//! Formats that are known by name and not read, with what to make of them.

use crate::{InputError, Source};

/// A format that is told apart by its file name or its first words.
struct Foreign {
    name: &'static str,
    endings: &'static [&'static str],
    /// Words that stand at the beginning of a file of it, spaces left out.
    beginnings: &'static [&'static str],
    hint: &'static str,
}

const FORMATS: [Foreign; 7] = [
    Foreign {
        name: "Thrift",
        endings: &[".thrift"],
        beginnings: &[],
        hint: "describe the service in Protobuf, whose wire numbers fields as well, and name the .proto files",
    },
    Foreign {
        name: "RAML",
        endings: &[".raml"],
        beginnings: &["#%RAML"],
        hint: "convert it to OpenAPI 3 (the AMF tools do), and name that document",
    },
    Foreign {
        name: "WSDL",
        endings: &[".wsdl"],
        beginnings: &["<definitions", "<wsdl:definitions", "<description"],
        hint: "describe the operations in OpenAPI 3, and name that document",
    },
    Foreign {
        name: "Smithy",
        endings: &[".smithy"],
        beginnings: &["$version:", "{\"smithy\":"],
        hint: "convert it to OpenAPI 3: smithy build with the `openapi` plugin",
    },
    Foreign {
        name: "TypeSpec",
        endings: &[".tsp"],
        beginnings: &["import\"@typespec/"],
        hint: "convert it to OpenAPI 3: tsp compile . --emit @typespec/openapi3",
    },
    Foreign {
        name: "Avro IDL",
        endings: &[".avdl"],
        beginnings: &[],
        hint: "convert it to .avsc files: avro-tools idl2schemata FILE FOLDER",
    },
    Foreign {
        name: "an Avro protocol",
        endings: &[".avpr"],
        beginnings: &["{\"protocol\":"],
        hint: "name the schemas of its messages, each as an .avsc file",
    },
];

/// How much of a file is looked at for its first words.
const LOOKED_AT: usize = 4_096;

/// Tells that a contract is of a format that is known and not read.
pub(crate) fn refuse(source: &Source) -> Option<InputError> {
    let (path, bytes) = source.entry().or_else(|| source.files().next())?;
    let (path_lower, words) = (path.to_ascii_lowercase(), first_words(bytes));
    let found = FORMATS.iter().find(|format| format.is_of(&path_lower, &words))?;
    let message = format!("this is {}, which is not read", found.name);
    Some(InputError::new(path, message).with_hint(found.hint))
}

impl Foreign {
    fn is_of(&self, path_lower: &str, words: &str) -> bool {
        self.endings.iter().any(|ending| path_lower.ends_with(ending))
            || self.beginnings.iter().any(|beginning| words.starts_with(beginning))
    }
}

/// The first words of a file, without spaces and without what stands before the root of an XML document, which says nothing.
fn first_words(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(LOOKED_AT)]);
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let root =
        if head.starts_with("<?xml") { head.split_once("?>").map_or("", |(_, rest)| rest) } else { head };
    root.chars().filter(|c| !c.is_whitespace()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Parsed, detect};

    #[test]
    fn other_formats_are_told_by_name_with_what_to_do() {
        for (path, text, name) in [
            ("a.thrift", "struct A {}", "Thrift"),
            ("api", "#%RAML 1.0\ntitle: a", "RAML"),
            ("a.xml", "<?xml version=\"1.0\"?>\n<wsdl:definitions name=\"a\">", "WSDL"),
            ("a.json", "{ \"smithy\": \"2.0\", \"shapes\": {} }", "Smithy"),
            ("main.tsp", "model A {}", "TypeSpec"),
            ("a.avdl", "protocol A {}", "Avro IDL"),
            ("a.json", "{\"protocol\": \"A\", \"types\": []}", "an Avro protocol"),
        ] {
            let source = Source::file(path, text.as_bytes());
            let error = refuse(&source).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(error.message, format!("this is {name}, which is not read"), "{path}");
            assert!(error.hint.is_some());
            for kind in Kind::ALL {
                assert_eq!(
                    Parsed::read(&source, *kind).unwrap_err(),
                    std::slice::from_ref(&error),
                    "{path} as {kind}"
                );
            }
        }
    }

    #[test]
    fn a_kind_that_does_not_fit_is_refused() {
        for (path, text, kind) in [
            ("a.yaml", "openapi: 3.1.0\npaths: {}\n", Kind::OpenApi),
            ("a.yaml", "asyncapi: 3.0.0\n", Kind::AsyncApi),
            ("a.avsc", "\"string\"", Kind::Avro),
            ("a.proto", "syntax = \"proto3\";", Kind::Protobuf),
            ("a.graphql", "type A { a: Int }", Kind::GraphQl),
            ("a.sql", "CREATE TABLE a (b int);", Kind::Sql),
        ] {
            let source = Source::file(path, text.as_bytes());
            assert_eq!(detect(&source), Some(kind), "{path}");
            for other in Kind::ALL.iter().filter(|other| **other != kind) {
                assert!(Parsed::read(&source, *other).is_err(), "{path} as {other}");
            }
        }
    }
}
