//! Snapshots: a contract with all its files and how it is compared, as bytes for the blob store.
//!
//! Invariant: the same contract gives the same bytes, and what was written once can be read for ever; a newer format is
//! refused.

use lockstep_domain::contract::ContractSettings;
use serde::{Deserialize, Serialize};

use crate::{Kind, Source};

/// The format that is written.
const FORMAT: u32 = 1;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not written by this program.
    #[error("the bytes are not a snapshot of a contract")]
    Malformed(#[source] serde_json::Error),
    /// Written by a newer program.
    #[error("the snapshot has format {0}, and {FORMAT} is the newest that is known")]
    Newer(u32),
    /// A file that is not text is not written as hexadecimal digits.
    #[error("the file `{0}` of the snapshot is damaged")]
    Hexadecimal(String),
}

/// A contract as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its format.
    pub kind: Kind,
    /// How it is compared.
    pub settings: ContractSettings,
    /// Its files.
    pub source: Source,
}

#[derive(Serialize, Deserialize)]
struct Form {
    format: u32,
    kind: Kind,
    #[serde(default)]
    settings: ContractSettings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    files: Vec<File>,
}

#[derive(Serialize, Deserialize)]
struct File {
    path: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    /// What is no text, such as a descriptor set, in hexadecimal digits.
    Hexadecimal(String),
}

impl Snapshot {
    /// Writes the snapshot.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let files = self.source.files().map(|(path, bytes)| File {
            path: path.to_owned(),
            content: match std::str::from_utf8(bytes) {
                Ok(text) => Content::Text(text.to_owned()),
                Err(_) => Content::Hexadecimal(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            },
        });
        let form = Form {
            format: FORMAT,
            kind: self.kind,
            settings: self.settings,
            entry: self.source.start().map(str::to_owned),
            files: files.collect(),
        };
        serde_json::to_vec(&form).expect("a form has only text keys")
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// When the bytes were not written by this program or an older one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let form: Form = serde_json::from_slice(bytes).map_err(SnapshotError::Malformed)?;
        if form.format > FORMAT {
            return Err(SnapshotError::Newer(form.format));
        }
        let files = form.files.into_iter().map(|file| {
            let bytes = match file.content {
                Content::Text(text) => Some(text.into_bytes()),
                Content::Hexadecimal(digits) => from_hexadecimal(&digits),
            };
            bytes.map(|bytes| (file.path.clone(), bytes)).ok_or(SnapshotError::Hexadecimal(file.path))
        });
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let source = Source::tree(files);
        let source = match form.entry {
            Some(entry) => source.starting_in(&entry),
            None => source,
        };
        Ok(Self { kind: form.kind, settings: form.settings, source })
    }
}

fn from_hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        }
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Snapshot {
        Snapshot {
            kind: Kind::Protobuf,
            settings: ContractSettings {
                policy: Some(crate::ProtobufPolicy::Json),
                ..ContractSettings::default()
            },
            source: Source::file("a.pb", vec![0xff, 0x00]).with_file("b.txt", "é\n".as_bytes()),
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let tree = Snapshot {
            source: Source::tree([("x", "1"), ("y", "2")].map(|(p, t)| (p, t.as_bytes()))),
            ..whole()
        };
        for snapshot in [whole(), tree] {
            assert_eq!(Snapshot::from_bytes(&snapshot.to_bytes()).unwrap(), snapshot);
        }
    }

    #[test]
    fn the_first_format_is_read_for_ever() {
        let stored = r#"{"format":1,"kind":"protobuf","settings":{"policy":"json"},"entry":"a.pb",
            "files":[{"path":"a.pb","hexadecimal":"ff00"},{"path":"b.txt","text":"é\n"}]}"#;
        assert_eq!(Snapshot::from_bytes(stored.as_bytes()).unwrap(), whole());
    }

    #[test]
    fn damaged_and_newer_ones_are_refused() {
        for stored in [
            r#"{"format":2,"kind":"sql","files":[]}"#,
            r#"{"format":1,"kind":"sql","files":[{"path":"a","hexadecimal":"f"}]}"#,
            r#"{"format":1,"kind":"sql","files":[{"path":"a","hexadecimal":"é"}]}"#,
            "[]",
        ] {
            assert!(Snapshot::from_bytes(stored.as_bytes()).is_err(), "{stored}");
        }
    }
}
