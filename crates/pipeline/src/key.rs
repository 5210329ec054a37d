//! The key of a build: what its artifact depends on, in one digest.

use std::collections::BTreeMap;

use lockstep_domain::Digest;
use sha2::{Digest as _, Sha256};

use crate::package::{COMPRESSION_LEVEL, PACKAGE_FORMAT};
use crate::repository::SourceFolder;

/// What an artifact depends on.
#[derive(Debug, Clone, Copy)]
pub struct BuildInputs<'a> {
    /// Everything that the service consists of at the commit, with the ids of its content: nothing else is checked out.
    pub parts: &'a [String],
    /// The folder of the service.
    pub folder: &'a SourceFolder,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The tools with their versions.
    pub tools: &'a BTreeMap<String, String>,
    /// The variables that the manifest names, with their values.
    pub variables: &'a BTreeMap<String, String>,
    /// What was made elsewhere, in place of a build.
    pub given: Option<Digest>,
}

/// Computes the key of a build. Builds with equal keys give artifacts of the same content.
#[must_use]
pub fn build_key(inputs: &BuildInputs<'_>) -> Digest {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(format!("lockstep build key 2, package format {PACKAGE_FORMAT}, level {COMPRESSION_LEVEL}")
        .as_bytes());
    add(&(inputs.parts.len() as u64).to_le_bytes());
    inputs.parts.iter().for_each(|part| add(part.as_bytes()));
    add(inputs.folder.as_str().as_bytes());
    add(inputs.manifest.as_bytes());
    for map in [inputs.tools, inputs.variables] {
        add(&(map.len() as u64).to_le_bytes());
        for (name, value) in map {
            add(name.as_bytes());
            add(value.as_bytes());
        }
    }
    // A build and what was made elsewhere never have the same key.
    if let Some(given) = inputs.given {
        hasher.update(b"made elsewhere");
        hasher.update(given.as_bytes());
    }
    Digest::from_bytes(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn key(part: &str, tools: &[(&str, &str)], variables: &[(&str, &str)]) -> Digest {
        build_key(&BuildInputs {
            parts: &[part.to_owned()],
            folder: &SourceFolder::default(),
            manifest: Digest::from_bytes([7; 32]),
            tools: &map(tools),
            variables: &map(variables),
            given: None,
        })
    }

    #[test]
    fn every_input_counts_and_parts_cannot_run_together() {
        let keys = [
            key("a", &[], &[]),
            key("b", &[], &[]),
            key("a", &[("go", "1.2")], &[]),
            key("a", &[("go1", ".2")], &[]),
            key("a", &[("go", "1.3")], &[]),
            key("a", &[], &[("go", "1.2")]),
        ];
        let different: std::collections::BTreeSet<Digest> = keys.into_iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(key("a", &[("go", "1.2")], &[]), keys[2]);
    }
}
