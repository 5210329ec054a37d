//! What is wanted of a service without naming a version.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::ServiceName;
use crate::version::VersionNumber;

/// What is wanted of a service without naming a version that it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceWish {
    /// The service.
    pub service: ServiceName,
    /// What is wanted of it.
    pub wanted: Wanted,
}

/// What is wanted of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It stays as it is.
    Keep,
    /// It runs in this version or an older one.
    AtMost(VersionNumber),
    /// It runs in this version or a newer one.
    AtLeast(VersionNumber),
    /// It does not run in this version.
    Not(VersionNumber),
}

impl Wanted {
    /// Tells whether a version is as wanted, or that nothing of the service runs.
    #[must_use]
    pub fn allows(&self, version: Option<&VersionNumber>, current: Option<&VersionNumber>) -> bool {
        match self {
            Self::Keep => version == current,
            Self::AtMost(most) => version.is_some_and(|version| version <= most),
            Self::AtLeast(least) => version.is_some_and(|version| version >= least),
            Self::Not(not) => version != Some(not),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("to stay"),
            Self::AtMost(version) => write!(f, "at most at {version}"),
            Self::AtLeast(version) => write!(f, "at least at {version}"),
            Self::Not(version) => write!(f, "not at {version}"),
        }
    }
}

impl fmt::Display for ServiceWish {
    /// Writes it as it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = &self.service;
        match &self.wanted {
            Wanted::Keep => write!(f, "{service}=keep"),
            Wanted::AtMost(version) => write!(f, "'{service}<={version}'"),
            Wanted::AtLeast(version) => write!(f, "'{service}>={version}'"),
            Wanted::Not(version) => write!(f, "'{service}!={version}'"),
        }
    }
}
