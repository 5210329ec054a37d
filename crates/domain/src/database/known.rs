//! What is known of a database in an environment, and what a step said of it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MigrationClass, VersionDatabase};
use crate::digest::Digest;
use crate::time::Timestamp;
use crate::version::VersionRef;

/// What a step found at a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// The migrations that the database has, in their order.
    pub recorded: Vec<Recorded>,
    /// The migration that began and of which nobody knows how far it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half: Option<String>,
    /// Where the database and the folder of migrations disagree, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
}

/// A migration that a database has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// Its name.
    pub name: String,
    /// Of its text when it ran, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What it does to versions around it, where a version that brings it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<MigrationClass>,
}

/// What is known of a database of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownDatabase {
    /// When it was looked at last.
    pub seen: Timestamp,
    /// For which version that was.
    pub by: VersionRef,
    /// What was found.
    pub told: Told,
    /// Why nobody knows how a run of migrations ended; nothing is applied until that is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

impl KnownDatabase {
    /// Tells whether it has a migration.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.told.recorded.iter().any(|recorded| recorded.name == name)
    }

    /// Returns the last migration that it has.
    #[must_use]
    pub fn level(&self) -> Option<&str> {
        self.told.recorded.last().map(|recorded| recorded.name.as_str())
    }

    /// Returns the migrations of a version that it lacks.
    #[must_use]
    pub fn missing(&self, of: &VersionDatabase) -> Vec<String> {
        let has: BTreeSet<_> = self.told.recorded.iter().map(|recorded| recorded.name.as_str()).collect();
        let missing = of.files.iter().filter(|file| !has.contains(file.name.as_str()));
        missing.map(|file| file.name.clone()).collect()
    }

    /// Goes through the contractions that it has.
    pub fn contractions(&self) -> impl Iterator<Item = &str> {
        let recorded = self.told.recorded.iter();
        recorded.filter(|it| it.class == Some(MigrationClass::Contract)).map(|it| it.name.as_str())
    }
}
