//! What a step at a database is asked to do, as it stands in a plan and on its command line.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Applied, Database, Lines, VersionDatabase};
use crate::name::{DatabaseName, JobName};
use crate::work_path::WorkPath;

/// The argument that makes the program of Lockstep a step at a database.
pub const WORD: &str = "database-step";
/// The file of the working folder in which the step says what it found.
pub const TOLD_FILE: &str = ".lockstep-database.json";

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It looks.
    Look,
    /// It looks, and what is not there any more is meant to be gone.
    Accept,
    /// It applies what is missing, up to a migration and with it; with none, it only looks whether all is as it was recorded.
    Apply {
        /// The last one.
        through: Option<String>,
    },
    /// It takes migrations back that were asked for by their names, and nothing else.
    Revert {
        /// Which, the last one first.
        migrations: Vec<String>,
        /// The last one that stays.
        to: Option<String>,
    },
    /// It records migrations as done that were done by other means, up to one and with it, and runs nothing.
    Adopt {
        /// The last one.
        through: String,
    },
    /// It records what a person says of a migration that died half-way.
    Settle {
        /// Which.
        migration: String,
        /// Whether it is done; otherwise it runs again.
        done: bool,
    },
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Look => f.write_str("look"),
            Self::Accept => f.write_str("take it as it is, without what is not there any more"),
            Self::Apply { through: Some(name) } => write!(f, "apply migrations up to `{name}`"),
            Self::Apply { through: None } => f.write_str("look whether it is as it was recorded"),
            Self::Revert { migrations, .. } => write!(f, "take back `{}`", migrations.join("`, `")),
            Self::Adopt { through } => write!(f, "take migrations up to `{through}` as done"),
            Self::Settle { migration, done: true } => write!(f, "take `{migration}` as done"),
            Self::Settle { migration, done: false } => write!(f, "take `{migration}` as not done"),
        }
    }
}

/// A step at a database, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseRun {
    /// Which database.
    pub database: DatabaseName,
    /// What is done.
    pub act: Act,
    /// The migrations that will run, as far as that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<String>,
    /// The lines of them that do not run, because they are a way down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, Vec<Lines>>,
}

impl DatabaseRun {
    /// Notes what of the migrations of a version does not run.
    pub(crate) fn note_left_out(&mut self, of: &VersionDatabase) {
        let files = self.expected.iter().filter_map(|name| of.file(name));
        let cut = files.filter(|file| !file.left_out.is_empty());
        self.left_out = cut.map(|file| (file.name.clone(), file.left_out.clone())).collect();
    }

    /// Returns the migrations that may run, where the plan did not take all of them for missing.
    fn may_run(&self, of: &VersionDatabase) -> Option<Vec<String>> {
        let Act::Apply { through: Some(through) } = &self.act else { return None };
        let last = of.files.iter().position(|file| file.name == *through)?;
        let is_all = of.files[..=last].iter().all(|file| self.expected.contains(&file.name));
        (!is_all).then(|| self.expected.clone())
    }

    /// Returns the name of the job that it is.
    #[must_use]
    pub fn job(&self) -> JobName {
        let name: String = format!("db-{}", self.database).chars().take(63).collect();
        name.trim_end_matches('-').parse().expect("the name of a database is one of a job")
    }
}

/// Everything a step is told; the address is in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it does.
    pub act: Act,
    /// Who applies migrations.
    pub applied: Applied,
    /// The folder of migrations, below the working folder.
    pub folder: String,
    /// The variable with the address.
    pub variable: String,
    /// How long a statement may wait for a lock.
    pub lock_ms: u64,
    /// How long all of it may take.
    pub timeout_ms: u64,
    /// The migrations that may run, where these are not all: what else is missing was there when it was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Vec<String>>,
    /// For which version, as it is noted with each migration.
    pub by: String,
    /// The folders below the working folder that stay when the step has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<WorkPath>,
}

impl Step {
    /// Describes a step at a database of a version.
    #[must_use]
    pub fn new(of: &VersionDatabase, run: &DatabaseRun, by: String, data: &[WorkPath]) -> Self {
        let Database { migrations, applied, variable, timeout_ms, lock_ms, .. } = of.database.clone();
        let (folder, data) = (migrations.as_str().to_owned(), data.to_vec());
        let (act, expected) = (run.act.clone(), run.may_run(of));
        Self { act, applied, folder, variable, lock_ms, timeout_ms, expected, by, data }
    }

    /// Returns the command of the step by a program of Lockstep.
    #[must_use]
    pub fn command(&self, program: &str) -> Vec<String> {
        let told = serde_json::to_string(self).expect("plain data is JSON");
        vec![program.to_owned(), WORD.to_owned(), told]
    }
}
