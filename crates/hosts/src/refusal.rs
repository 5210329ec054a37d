//! Why something was not done on a host, as it is sent, and as the caller knows it.

use std::error::Error;

use lockstep_domain::fault::Fault;
use lockstep_domain::{Digest, InstanceId};
use lockstep_runtime::fault::{of_error, with_sources};
use lockstep_runtime::{BringError, Elsewhere, RemoveError, StartError, StopError};
use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What the caller may tell apart.
    #[serde(default)]
    pub(crate) kind: Kind,
    /// Why, with all causes.
    pub(crate) text: String,
    /// Whose doing it was.
    #[serde(default)]
    pub(crate) fault: Fault,
}

/// What a caller may tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    EmptyCommand,
    IdTaken,
    ReleaseMissing(Digest),
    PortInUse(u16),
    Unknown,
    Runs,
    ReleaseRuns {
        id: InstanceId,
        release: Digest,
    },
    #[default]
    Other,
}

impl Refusal {
    /// Makes a refusal of an error of the host.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        Self { kind: Kind::Other, text: with_sources(error), fault: of_error(error) }
    }

    /// Makes a refusal of what nothing is told apart from.
    pub(crate) fn because(text: impl Into<String>) -> Self {
        Self { kind: Kind::Other, text: text.into(), fault: Fault::Host }
    }

    /// Returns it for who starts an instance.
    pub(crate) fn of_start(self, id: &InstanceId) -> StartError {
        let id = id.clone();
        match self.kind {
            Kind::EmptyCommand => StartError::EmptyCommand { id },
            Kind::IdTaken => StartError::IdTaken { id },
            Kind::ReleaseMissing(release) => StartError::ReleaseMissing { id, release },
            Kind::PortInUse(port) => StartError::PortInUse { port, problem: self.text },
            _ => self.elsewhere().into(),
        }
    }

    /// Returns it for who stops an instance.
    pub(crate) fn of_stop(self, id: &InstanceId) -> StopError {
        match self.kind {
            Kind::Unknown => StopError::Unknown { id: id.clone() },
            _ => self.elsewhere().into(),
        }
    }

    /// Returns it for who removes something.
    pub(crate) fn of_remove(self, of: Option<&InstanceId>) -> RemoveError {
        match (self.kind, of) {
            (Kind::Runs, Some(id)) => RemoveError::Runs { id: id.clone() },
            (Kind::ReleaseRuns { id, release }, _) => RemoveError::ReleaseRuns { id, release },
            (_, _) => Elsewhere { text: self.text, fault: self.fault }.into(),
        }
    }

    /// Returns it where nothing is told apart.
    pub(crate) fn elsewhere(self) -> Elsewhere {
        Elsewhere { text: self.text, fault: self.fault }
    }
}

impl From<Elsewhere> for Refusal {
    fn from(said: Elsewhere) -> Self {
        Self { kind: Kind::Other, text: said.text, fault: said.fault }
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        let kind = match &error {
            StartError::EmptyCommand { .. } => Kind::EmptyCommand,
            StartError::IdTaken { .. } => Kind::IdTaken,
            StartError::ReleaseMissing { release, .. } => Kind::ReleaseMissing(*release),
            StartError::PortInUse { port, .. } => Kind::PortInUse(*port),
            _ => Kind::Other,
        };
        Self { kind, text: with_sources(&error), fault: error.fault() }
    }
}

impl From<StopError> for Refusal {
    fn from(error: StopError) -> Self {
        let kind = if matches!(error, StopError::Unknown { .. }) { Kind::Unknown } else { Kind::Other };
        Self { kind, ..Self::of(&error) }
    }
}

impl From<RemoveError> for Refusal {
    fn from(error: RemoveError) -> Self {
        let kind = match &error {
            RemoveError::Runs { .. } => Kind::Runs,
            RemoveError::ReleaseRuns { id, release } => {
                Kind::ReleaseRuns { id: id.clone(), release: *release }
            }
            _ => Kind::Other,
        };
        Self { kind, ..Self::of(&error) }
    }
}

impl From<BringError> for Refusal {
    fn from(error: BringError) -> Self {
        Self { kind: Kind::Other, text: with_sources(&error), fault: error.fault() }
    }
}
