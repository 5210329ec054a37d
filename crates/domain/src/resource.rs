//! Resources: databases and the like that services work with and that are no services. A manifest says which it needs, an
//! environment which it has: elsewhere, or run here by Lockstep.
//!
//! Invariant: no address with its password, and no password, is in here: the secret store has them, and here are their names.

pub mod address;
pub mod keep;
pub mod needs;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::{Arm, ConfigRevision};
use crate::name::ResourceName;
use crate::version::VersionNumber;

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A PostgreSQL database.
    Postgresql,
    /// A MySQL or MariaDB database.
    Mysql,
    /// A Redis or Valkey server.
    Redis,
    /// Anything else with an address.
    Other,
}

impl ResourceKind {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Postgresql, Self::Mysql, Self::Redis, Self::Other];

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ResourceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(|kind| format!("`{kind}`")).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("the kind of a resource is one of {}", words()))
    }
}

/// What a version needs of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceNeed {
    /// What it has to be.
    pub kind: ResourceKind,
}

/// A resource of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Where it is.
    pub origin: Origin,
    /// The record that says so; what runs for an earlier one ends.
    pub record: u64,
}

/// Where a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Somebody else runs it.
    Elsewhere {
        /// The name of its address in the secret store.
        secret: String,
    },
    /// Lockstep runs it, on the host of the server.
    Here {
        /// The name of its password in the secret store.
        secret: String,
        /// The port that it listens on.
        port: u16,
    },
}

impl Resource {
    /// Tells whether Lockstep runs it.
    #[must_use]
    pub const fn runs_here(&self) -> bool {
        matches!(self.origin, Origin::Here { .. })
    }

    /// Returns what its process is shown as: it is no copy of a version, and has the place of one.
    #[must_use]
    pub fn arm(&self, name: &ResourceName) -> Arm {
        let service = name.as_str().parse().expect("resources are named like services");
        let config = ConfigRevision(u32::try_from(self.record).unwrap_or(u32::MAX));
        Arm { service, version: VersionNumber::new(0, 0, 0), config, process: None }
    }
}

/// What an instance is told of a resource that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The whole address, with user and password where it has them.
    Url,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The user; empty where there is none.
    User,
    /// The password; empty where there is none.
    Password,
    /// The name of the database; empty where there is none.
    Name,
}

impl Detail {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] = [Self::Url, Self::Host, Self::Port, Self::User, Self::Password, Self::Name];

    /// Returns it as a reference says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Host => "host",
            Self::Port => "port",
            Self::User => "user",
            Self::Password => "password",
            Self::Name => "name",
        }
    }

    /// Tells whether it may hold a password.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Url | Self::Password)
    }
}
