//! Why a driver did not do something.

use std::io;
use std::path::PathBuf;

use lockstep_archive::UnpackError;
use lockstep_domain::fault::Fault;
use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::reference::ReferenceError;
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{Digest, InstanceId};
use thiserror::Error;

use crate::fault::of_error;

/// Why a driver cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process works with this folder.
    #[error("`{}` is in use by another server", root.display())]
    InUse {
        /// The folder of the driver.
        root: PathBuf,
    },
    /// The folder cannot be used.
    #[error("`{}` cannot be used for instances", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an instance was not started. Nothing of it is left.
#[derive(Debug, Error)]
pub enum StartError {
    /// The command in the specification is empty.
    #[error("the command of instance `{id}` is empty")]
    EmptyCommand {
        /// The instance.
        id: InstanceId,
    },
    /// The id belongs to an instance that was started with something else.
    #[error("instance `{id}` exists already with another specification")]
    IdTaken {
        /// The instance.
        id: InstanceId,
    },
    /// The artifact is not on this host.
    #[error("the artifact {} of instance `{id}` has not been unpacked on this host", release.short())]
    ReleaseMissing {
        /// The instance.
        id: InstanceId,
        /// The artifact.
        release: Digest,
    },
    /// Something is not known that the version or its configuration refers to.
    #[error("a value of instance `{id}` cannot be filled in")]
    Reference {
        /// The instance.
        id: InstanceId,
        /// What is not known.
        source: ReferenceError,
    },
    /// It cannot be run as the user that it is to run as.
    #[error("instance `{id}` cannot be run as its user")]
    User {
        /// The instance.
        id: InstanceId,
        /// Why.
        source: io::Error,
    },
    /// A file of the artifact cannot be filled in.
    #[error("the file `{path}` of instance `{id}` cannot be filled in")]
    File {
        /// The instance.
        id: InstanceId,
        /// Which.
        path: WorkPath,
        /// Why.
        source: io::Error,
    },
    /// The port that the version always uses is not free.
    #[error("{problem}")]
    PortInUse {
        /// The port.
        port: u16,
        /// Who holds it, as far as that can be found out.
        problem: String,
    },
    /// No port is free.
    #[error("no port of {range} is free")]
    NoFreePort {
        /// Where ports are taken from.
        range: PortRange,
    },
    /// The folder of the instance cannot be made.
    #[error("the folder of instance `{id}` cannot be written")]
    Folder {
        /// The instance.
        id: InstanceId,
        /// What the system said.
        source: io::Error,
    },
    /// The supervisor cannot be started.
    #[error("the supervisor of instance `{id}` cannot be started")]
    Supervisor {
        /// The instance.
        id: InstanceId,
        /// What the system said.
        source: io::Error,
    },
    /// Another host said so, or cannot be asked: then nobody knows whether it was started.
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}

impl StartError {
    /// Says whose doing it was.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::PortInUse { .. } => Fault::Port,
            Self::EmptyCommand { .. } | Self::Reference { .. } | Self::File { .. } => Fault::Start,
            Self::Elsewhere(said) => said.fault,
            other => of_error(other),
        }
    }
}

/// Why something was not done on another host, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Elsewhere {
    /// Why, with all causes.
    pub text: String,
    /// Whose doing it was.
    pub fault: Fault,
}

/// Why an artifact was not brought to where instances run, or not unpacked there.
#[derive(Debug, Error)]
pub enum BringError {
    /// It was not unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Another host said so, or cannot be asked.
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}

impl BringError {
    /// Says whose doing it was.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Elsewhere(said) => said.fault,
            Self::Unpack(error @ (UnpackError::Read { .. } | UnpackError::Write { .. })) => of_error(error),
            // What is in the artifact is the version's own doing.
            Self::Unpack(_) => Fault::Start,
        }
    }
}

/// Why an instance was not asked to end.
#[derive(Debug, Error)]
pub enum StopError {
    /// There is no such instance.
    #[error("there is no instance `{id}` on this host")]
    Unknown {
        /// The instance.
        id: InstanceId,
    },
    /// The request cannot be recorded.
    #[error("the request to stop instance `{id}` cannot be written")]
    Mark {
        /// The instance.
        id: InstanceId,
        /// What the system said.
        source: io::Error,
    },
    /// Another host said so, or cannot be asked.
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}

/// Why something was not removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// It is not over.
    #[error("instance `{id}` has not ended; stop it first")]
    Runs {
        /// The instance.
        id: InstanceId,
    },
    /// An instance needs it.
    #[error("the artifact {} is in use by instance `{id}`", release.short())]
    ReleaseRuns {
        /// The instance.
        id: InstanceId,
        /// The artifact.
        release: Digest,
    },
    /// The folder cannot be removed.
    #[error("`{}` cannot be removed", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another host said so, or cannot be asked.
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}
