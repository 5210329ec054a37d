//! Instances: one running copy of an arm, and what has been seen of it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::fault::Fault;
use crate::name::{EnvironmentName, HostName, ServiceName};
use crate::name::{JobName, ProcessName, ResourceName};
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};

/// The number of a configuration of a service in an environment; 0 is the empty configuration every service begins with.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ConfigRevision(pub u32);

impl fmt::Display for ConfigRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// A version of a service with one configuration: what instances are copies of and traffic is split over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// The service.
    pub service: ServiceName,
    /// Its version.
    pub version: VersionNumber,
    /// The configuration it runs with.
    pub config: ConfigRevision,
    /// Which of its processes; missing for the main one, which requests go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
}

impl Arm {
    /// Returns the arm of the main process: what is in a baseline, and what requests go to.
    #[must_use]
    pub fn main(&self) -> Self {
        Self { process: None, ..self.clone() }
    }

    /// Returns the arm of another process of the same version and configuration.
    #[must_use]
    pub fn of_process(&self, process: &ProcessName) -> Self {
        Self { process: Some(process.clone()), ..self.clone() }
    }

    /// Returns the version without its configuration.
    #[must_use]
    pub fn version_ref(&self) -> VersionRef {
        VersionRef { service: self.service.clone(), version: self.version.clone() }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.version)?;
        if self.config.0 > 0 {
            write!(f, " ({})", self.config)?;
        }
        self.process.as_ref().map_or(Ok(()), |process| write!(f, " {process}"))
    }
}

/// Why a text is not an instance id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not an instance id")]
pub struct InstanceIdError {
    /// The text, cut to a printable length.
    pub text: String,
}

/// The id of an instance: letters, digits, dots and hyphens, at most 250, so that it can name a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceId {
    type Err = InstanceIdError;

    fn from_str(text: &str) -> Result<Self, InstanceIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let valid = text.len() <= 250
            && text.bytes().all(allowed)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InstanceIdError { text: text.chars().take(80).collect() })
        }
    }
}

as_text!(InstanceId);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What was last seen of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Where it runs.
    pub environment: EnvironmentName,
    /// What it is a copy of.
    pub arm: Arm,
    /// How it is.
    pub state: InstanceState,
    /// Where it listens, once that is known.
    pub address: Option<SocketAddr>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// How often its process was started again.
    pub restarts: u32,
    /// The job that it is a run of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// The resource that it is the process of; its arm says nothing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceName>,
    /// The host that it runs on; the machine of the server when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
}

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InstanceState {
    /// Started, and not yet healthy.
    Starting,
    /// The last checks succeeded.
    Healthy,
    /// It was healthy, and the last checks failed, or its process is being started again.
    Unhealthy {
        /// What the check said.
        reason: String,
    },
    /// Told to end.
    Stopping,
    /// Ended on request.
    Stopped,
    /// A job that ended by itself, with 0.
    Completed,
    /// It will not be started again: never healthy in time, or ended too often.
    Failed {
        /// Why, with the end of its log where that helps.
        reason: String,
        /// Whose doing it was. What an older release reported was its own.
        #[serde(default, skip_serializing_if = "Fault::is_start")]
        fault: Fault,
    },
}

impl InstanceState {
    /// Tells whether the instance may be given requests.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }

    /// Says in a line what happened to it. What else a reason says, the end of its log, is for those who may see its state, and is
    /// never recorded: what a program wrote may hold what nobody else should read.
    #[must_use]
    pub fn what_happened(&self) -> Option<&str> {
        match self {
            Self::Unhealthy { reason } | Self::Failed { reason, .. } => Some(first_line(reason)),
            _ => None,
        }
    }

    /// Makes the state of an instance that will not be started again.
    #[must_use]
    pub fn failed(reason: impl Into<String>, fault: Fault) -> Self {
        Self::Failed { reason: reason.into(), fault }
    }

    /// Returns how an instance that was told to end is, whatever was reported of it last: a report from before must not
    /// make it alive again.
    #[must_use]
    pub fn once_told(self) -> Self {
        if self.is_over() { self } else { Self::Stopping }
    }

    /// Tells whether the instance has ended for good.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Stopped | Self::Completed | Self::Failed { .. })
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_id_cannot_leave_its_folder() {
        for bad in ["", "..", "../x", "a/b", ".hidden", "a b", "-a"] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
        assert!("orders-1.4.0-rc.1-c2-9f3a".parse::<InstanceId>().is_ok());
    }
}
