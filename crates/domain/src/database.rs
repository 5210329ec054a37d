//! Databases that versions bring migrations for: what a version says of them, and what is known of them in an environment.
//!
//! What is known is observed: a step at the database says which migrations it has, and nothing is taken for done because somebody
//! was told to do it. Invariant: a migration that contracts runs only where nobody needs the old form, or after somebody said yes to
//! exactly what it takes.

mod contraction;
mod known;
mod lines;
mod need;
mod reversal;
mod seen;
mod shared;
mod step;
mod steps_down;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::SqlDialect;
use crate::digest::Digest;
use crate::name::DatabaseName;
use crate::version::VersionRef;
use crate::work_path::WorkPath;

pub use contraction::{Contraction, Taken, unapproved};
pub use known::{KnownDatabase, Recorded, Told};
pub use lines::Lines;
pub use need::brought;
pub(crate) use need::{Users, at_work, contraction, contracts, in_force, is_used_by, moved};
pub use reversal::{Reversal, Reverted, WayDown};
pub(crate) use reversal::{reversal, way_down, works_with};
pub(crate) use seen::{begin, seen};
pub(crate) use shared::others;
pub use shared::place_of;
pub use step::{Act, DatabaseRun, Step, TOLD_FILE, WORD};
pub(crate) use steps_down::steps_down;

/// Most migrations of one database; projects of ten years have some hundreds, and each is named in each record of a level.
pub const MAX_MIGRATIONS: usize = 2_000;
/// Longest name of a migration.
pub const MAX_MIGRATION_NAME: usize = 200;
/// How long migrations may run where a manifest does not say.
pub const USUAL_TIMEOUT_MS: u64 = 10 * 60 * 1_000;
/// How long a statement waits for a lock where a manifest does not say: whoever needs the table meanwhile waits behind it.
pub const USUAL_LOCK_MS: u64 = 10_000;
/// What stands in the command of a program for the last migration that may run.
pub const TO: &str = "{to}";
/// The variable that has the address where a manifest does not say.
pub const USUAL_VARIABLE: &str = "DATABASE_URL";

/// A database of a service, as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its name; services of an environment that use one name share one database.
    pub name: DatabaseName,
    /// The folder of its migrations, below the folder of the manifest.
    pub migrations: WorkPath,
    /// Who applies them.
    #[serde(default, skip_serializing_if = "Applied::is_by_lockstep")]
    pub applied: Applied,
    /// The variable of the service that holds its address.
    pub variable: String,
    /// In which SQL they are written, where it is not to be guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<SqlDialect>,
    /// How long one run of migrations may take.
    pub timeout_ms: u64,
    /// How long a statement may wait for a lock.
    pub lock_ms: u64,
}

impl Database {
    /// Tells whether a part of what is missing cannot be applied by itself.
    #[must_use]
    pub fn cannot_stop(&self) -> bool {
        match &self.applied {
            Applied::ByProgram { apply, .. } => !apply.iter().any(|word| word.contains(TO)),
            Applied::ByLockstep | Applied::Elsewhere => false,
        }
    }
}

/// Who applies the migrations of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Lockstep does, each file in a transaction.
    #[default]
    ByLockstep,
    /// A program of the version does.
    ByProgram {
        /// Applies what is missing; `{to}` stands for the last migration that may run.
        apply: Vec<String>,
        /// Prints which migrations the database has, as JSON.
        level: Vec<String>,
        /// Takes migrations back; `{to}` stands for the last one that stays. Empty where nothing does.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        revert: Vec<String>,
    },
    /// Somebody else does, and Lockstep sees nothing of it.
    Elsewhere,
}

impl Applied {
    /// Tells whether Lockstep applies them.
    #[must_use]
    pub fn is_by_lockstep(&self) -> bool {
        *self == Self::ByLockstep
    }
}

/// A database as a version brings it: its description, and the migrations of its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionDatabase {
    /// What the manifest says.
    #[serde(flatten)]
    pub database: Database,
    /// Its migrations, in the order in which they run.
    pub files: Vec<MigrationFile>,
}

/// One migration of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MigrationFile {
    /// Its path below the folder of migrations.
    pub name: String,
    /// Of its content.
    pub digest: Digest,
    /// What it does to the versions around it.
    pub class: MigrationClass,
    /// What no way back restores, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_way: Vec<String>,
    /// The lines of the way down that its form parts off, which do not run with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Lines>,
    /// What of it was not understood, with where it stands and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_understood: Vec<String>,
    /// The way down that is brought for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_down: Option<Box<WayDown>>,
    /// Why what looks like its way down is none that can be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_way_down: Option<String>,
}

impl MigrationFile {
    /// Returns what of it was not understood, in words; something always, where it is of that class.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        let is_untold = self.class == MigrationClass::NotChecked && self.not_understood.is_empty();
        let untold = is_untold.then(|| "nobody knows what it does".to_owned());
        self.not_understood.iter().cloned().chain(untold).collect()
    }
}

/// What a migration does to the versions of the code around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationClass {
    /// It only adds.
    Expand,
    /// It changes rows.
    Data,
    /// It takes away or demands: older versions may fail.
    Contract,
    /// It was not understood.
    NotChecked,
}

impl MigrationClass {
    /// Returns the word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Data => "data",
            Self::Contract => "contract",
            Self::NotChecked => "not checked",
        }
    }
}

impl fmt::Display for MigrationClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl VersionDatabase {
    /// Finds a migration.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&MigrationFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Tells whether Lockstep sees and moves it.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.database.applied != Applied::Elsewhere
    }
}

/// Names a version that needs a form of a database.
#[must_use]
pub fn list(versions: &[VersionRef]) -> String {
    let shown: Vec<_> = versions.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    match versions.len().saturating_sub(MAX_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Most versions that one sentence names.
const MAX_SHOWN: usize = 8;
