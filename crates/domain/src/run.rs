//! How a version is run: command, port, environment, health check, stop and restart. Data only; drivers carry it out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everything a driver must know to run one instance of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Program and arguments, run without a shell, in the working folder of the instance; a program with a slash is one
    /// of the artifact.
    pub command: Vec<String>,
    /// Environment variables of the version itself; configuration of the environment overrides them.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The port the instance listens on.
    #[serde(default)]
    pub port: Port,
    /// How to know that an instance can serve.
    pub health: HealthCheck,
    /// How to end an instance.
    #[serde(default)]
    pub stop: Stop,
    /// What to do when the process ends by itself.
    #[serde(default)]
    pub restart: Restart,
    /// Folders that the service keeps over its versions, one of each in an environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataFolder>,
    /// What to do with an instance that runs and stays unhealthy.
    #[serde(default, skip_serializing_if = "ReplaceAfter::is_usual")]
    pub replace_after: ReplaceAfter,
}

/// How long an instance may be unhealthy before another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplaceAfter {
    /// So many milliseconds.
    Ms(u64),
    /// It is left alone, however long it takes.
    Never,
}

impl Default for ReplaceAfter {
    /// A minute: longer than a pause of garbage collection or a slow neighbour, shorter than a person needs to come.
    fn default() -> Self {
        Self::Ms(60_000)
    }
}

impl ReplaceAfter {
    /// Tells whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a text is not the path of a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DataFolderError {
    /// It has no name.
    #[error("a data folder needs a name")]
    Empty,
    /// It is longer than [`DataFolder::MAX_BYTES`].
    #[error("it has more than {} bytes", DataFolder::MAX_BYTES)]
    TooLong,
    /// It does not stay in the working folder.
    #[error("it must be a path below the working folder, without `.`, `..` and `//`")]
    NotBelow,
    /// It has a character that hides in a list.
    #[error("it has a control character")]
    Control,
}

/// A folder that a service keeps: a path below its working folder, such as `var` or `storage/db`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct DataFolder(String);

impl DataFolder {
    /// The longest path: far below what Linux allows, so that the folders above it always fit.
    pub const MAX_BYTES: usize = 200;

    /// Returns the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether one is the other, or lies in it.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let within = |inner: &Self, outer: &Self| {
            inner.0.strip_prefix(&outer.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        within(self, other) || within(other, self)
    }
}

impl FromStr for DataFolder {
    type Err = DataFolderError;

    fn from_str(text: &str) -> Result<Self, DataFolderError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(DataFolderError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(DataFolderError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(DataFolderError::Control);
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(DataFolderError::NotBelow);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DataFolder {
    type Error = DataFolderError;

    fn try_from(text: String) -> Result<Self, DataFolderError> {
        text.parse()
    }
}

impl From<DataFolder> for String {
    fn from(folder: DataFolder) -> Self {
        folder.0
    }
}

impl fmt::Display for DataFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The port of an instance. It is always handed over as `PORT`, and listening is on loopback unless the driver says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// The driver picks a free one for each instance.
    #[default]
    Assigned,
    /// Always this one: only one instance can run on a host at a time.
    Fixed(u16),
}

/// A periodic check of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks once the instance is healthy. Before that, checks follow each other faster.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
    /// A check that takes longer has failed.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// An instance that is not healthy this long after its start has failed.
    #[serde(default = "default_start_timeout_ms")]
    pub start_timeout_ms: u64,
    /// Failed checks in a row after which a healthy instance is unhealthy.
    #[serde(default = "default_unhealthy_after")]
    pub unhealthy_after: u32,
}

impl HealthCheck {
    /// Makes a check with default times.
    #[must_use]
    pub const fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval_ms: default_interval_ms(),
            timeout_ms: default_timeout_ms(),
            start_timeout_ms: default_start_timeout_ms(),
            unhealthy_after: default_unhealthy_after(),
        }
    }
}

const fn default_interval_ms() -> u64 {
    2_000
}

const fn default_timeout_ms() -> u64 {
    1_000
}

const fn default_start_timeout_ms() -> u64 {
    30_000
}

const fn default_unhealthy_after() -> u32 {
    3
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// `GET path` on the instance's port answers with a status from 200 to 399.
    Http {
        /// The path with its leading slash.
        path: String,
    },
    /// A TCP connection to the instance's port is accepted.
    Tcp,
    /// A command, run like the instance itself, ends with exit code 0.
    Command {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// How an instance is ended: a signal, a wait, then by force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The first signal.
    #[serde(default)]
    pub signal: StopSignal,
    /// After this time whatever is left of the process group is killed.
    #[serde(default = "default_stop_timeout_ms")]
    pub timeout_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: StopSignal::default(), timeout_ms: default_stop_timeout_ms() }
    }
}

const fn default_stop_timeout_ms() -> u64 {
    10_000
}

/// The signal that asks an instance to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum StopSignal {
    /// Terminate.
    #[default]
    #[serde(rename = "TERM")]
    Term,
    /// Interrupt.
    #[serde(rename = "INT")]
    Int,
    /// Quit.
    #[serde(rename = "QUIT")]
    Quit,
    /// Hang up.
    #[serde(rename = "HUP")]
    Hup,
}

/// What happens when an instance ends by itself: it is started again after a growing pause, a bounded number of times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Restarts without a healthy period in between after which the instance has failed.
    #[serde(default = "default_max_restarts")]
    pub max_restarts: u32,
    /// First pause; it doubles each time.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: u64,
    /// Longest pause.
    #[serde(default = "default_max_backoff_ms")]
    pub max_backoff_ms: u64,
    /// An instance that was healthy for this long starts counting anew.
    #[serde(default = "default_reset_after_ms")]
    pub reset_after_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            max_restarts: default_max_restarts(),
            backoff_ms: default_backoff_ms(),
            max_backoff_ms: default_max_backoff_ms(),
            reset_after_ms: default_reset_after_ms(),
        }
    }
}

const fn default_max_restarts() -> u32 {
    5
}

const fn default_backoff_ms() -> u64 {
    200
}

const fn default_max_backoff_ms() -> u64 {
    30_000
}

const fn default_reset_after_ms() -> u64 {
    60_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> DataFolder {
        text.parse().unwrap()
    }

    #[test]
    fn a_data_folder_stays_below_the_working_folder() {
        assert_eq!(folder("var/").as_str(), "var");
        for bad in ["", "/", "/var", "..", "a/../b", "./a", "a//b", "a\u{1b}[31m", &"x".repeat(201)] {
            assert!(bad.parse::<DataFolder>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn data_folders_overlap_when_one_lies_in_the_other() {
        assert!(folder("a").overlaps(&folder("a/b")) && folder("a/b").overlaps(&folder("a")));
        assert!(!folder("a").overlaps(&folder("ab")));
    }
}
