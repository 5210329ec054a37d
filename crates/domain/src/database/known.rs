//! What is known of a database in an environment, and what a step said of it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MAX_MIGRATION_NAME, MAX_MIGRATIONS, MigrationClass, VersionDatabase};
use crate::digest::Digest;
use crate::time::Timestamp;
use crate::version::VersionRef;

/// What a step found at a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DatabaseTold")]
pub struct Told {
    /// The migrations that the database has, in their order.
    #[serde(rename = "has")]
    pub recorded: Vec<Recorded>,
    /// The migration that began and of which nobody knows how far it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half: Option<String>,
    /// Where the database and the folder of migrations disagree, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// What the database has was not read, so nothing is said of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// Nothing was changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untouched: bool,
    /// Why what was asked for was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// A digest of where the database is, as its address says it, without who asks there; the server adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Digest>,
}

impl Told {
    /// Tells whether it may be kept: whoever wrote it may be anybody who runs as the user of the service.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_short = |text: &str, most: usize| text.len() <= most && !text.chars().any(char::is_control);
        let names = self.recorded.iter().map(|it| it.name.as_str()).chain(self.half.as_deref());
        self.recorded.len() <= 2 * MAX_MIGRATIONS
            && self.drift.len() <= 2 * MAX_MIGRATIONS
            && names.into_iter().all(|name| is_short(name, MAX_MIGRATION_NAME))
            && self.drift.iter().chain(&self.failure).all(|words| is_short(words, 4_000))
    }
}

/// A migration that a database has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RecordedMigration")]
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

/// Tells whether a migration is repeated: it comes after all others, whenever they come.
fn is_repeated(name: &str) -> bool {
    name.rsplit('/').next().unwrap_or(name).starts_with("R__")
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
    /// Contractions that were begun and of which nobody has seen since whether they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crossing: Vec<String>,
    /// Migrations that were begun to be taken back and of which nobody has seen since whether they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<String>,
    /// Migrations that it had and that are not there any more, although Lockstep did not take them; nothing is applied until they are back, or
    /// somebody says that it is meant to be so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

impl KnownDatabase {
    /// Tells whether it has a migration.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.told.recorded.iter().any(|recorded| recorded.name == name)
    }

    /// Tells whether it has a migration, and nothing was begun that may have taken it away since.
    #[must_use]
    pub fn surely_has(&self, name: &str) -> bool {
        let is_half = self.told.half.as_deref() == Some(name);
        self.has(name) && !is_half && !self.leaving.iter().any(|leaving| leaving == name)
    }

    /// Returns the migrations that it has behind one, the last one first; behind none all of them. What is repeated has no place.
    #[must_use]
    pub fn behind(&self, after: Option<&str>) -> Vec<&str> {
        let has = self.told.recorded.iter().map(|it| it.name.as_str());
        let mut all: Vec<_> = has.filter(|name| !is_repeated(name)).collect();
        if let Some(at) = after.and_then(|after| all.iter().position(|name| *name == after)) {
            all.drain(..=at);
        }
        all.reverse();
        all
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

    /// Returns the migrations of a version that it lacks although it has later ones, each with the first of these.
    pub fn late<'a>(&'a self, of: &'a VersionDatabase) -> impl Iterator<Item = (&'a str, &'a str)> {
        let after = move |at: usize| {
            let later = of.files.iter().skip(at + 1).map(|file| file.name.as_str());
            later.filter(|name| !is_repeated(name)).find(|name| self.has(name))
        };
        let missing = of.files.iter().enumerate().filter(|(_, file)| !self.has(&file.name));
        missing.filter_map(move |(at, file)| Some((file.name.as_str(), after(at)?)))
    }

    /// Goes through the contractions that it has, or may have by now.
    pub fn contractions(&self) -> impl Iterator<Item = &str> {
        let contracts = |it: &&Recorded| it.class == Some(MigrationClass::Contract);
        let recorded = self.told.recorded.iter().filter(contracts).map(|it| it.name.as_str());
        recorded.chain(self.crossing.iter().map(String::as_str))
    }
}
