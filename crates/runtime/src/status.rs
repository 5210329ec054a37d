//! What a supervisor tells of its instance: in `status.json`, and as a line on each connection to its socket.

use std::io;

use lockstep_domain::limits::Held;
use lockstep_domain::work::Told;
use lockstep_domain::{InstanceState, Timestamp};
use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};

use crate::folder::InstanceFolder;
use crate::process::ProcessIdentity;

/// The format of `status.json` that this version writes, and the only one so far.
const FORMAT: u32 = 1;
/// Longest status that is read: the reason with a tail of the log is a few kilobytes.
pub(crate) const MAX_STATUS_BYTES: u64 = 256 * 1024;

/// What a supervisor knows of its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// How the instance is.
    #[serde(flatten)]
    pub(crate) state: InstanceState,
    /// Since when it is in this state.
    pub(crate) since: Timestamp,
    /// The main process, while there is one.
    pub(crate) process: Option<ProcessIdentity>,
    /// What runs before the process, while it does: whoever comes next ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preparing: Option<ProcessIdentity>,
    /// How often the process was started again.
    pub(crate) restarts: u32,
    /// How often it ended in a row without a healthy period.
    pub(crate) ends_in_a_row: u32,
    /// Whether the present process has been healthy.
    pub(crate) was_ready: bool,
    /// How the present process is held to its limits, where it has any.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    pub(crate) limits: Held,
    /// What the instance has said of its work.
    #[serde(default, skip_serializing_if = "Told::is_nothing")]
    pub(crate) told: Told,
}

impl Status {
    /// Returns the status of an instance whose process has not been started yet.
    #[must_use]
    pub(crate) fn starting(since: Timestamp) -> Self {
        Self {
            format: FORMAT,
            state: InstanceState::Starting,
            since,
            process: None,
            preparing: None,
            restarts: 0,
            ends_in_a_row: 0,
            was_ready: false,
            limits: Held::default(),
            told: Told::default(),
        }
    }

    /// Reads the status of an instance, or `None` when no supervisor has written one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or what lies there is not a status ([`io::ErrorKind::InvalidData`]).
    pub(crate) fn read(folder: &InstanceFolder) -> io::Result<Option<Self>> {
        let path = folder.status();
        match foreign::open_no_link(&path).and_then(|file| foreign::read(file, MAX_STATUS_BYTES)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(invalid),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // A pipe, a link, or more than a status ever has: somebody else has put it there.
            Err(error) if path.symlink_metadata().is_ok_and(|found| !found.is_file()) => Err(invalid(error)),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(invalid(error)),
            Err(error) => Err(error),
        }
    }

    /// Replaces the stored status of an instance in one step.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn write(&self, folder: &InstanceFolder) -> io::Result<()> {
        whole::put_unsynced(&folder.status(), &serde_json::to_vec(self)?, 0o600)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What may be asked of a supervisor: one JSON value a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Look at the stop mark in the folder again.
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_the_first_format() {
        let text = include_str!("../tests/formats/status-1.json");
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.state, InstanceState::Unhealthy { reason: "no answer".to_owned() });
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
    }
}
