//! What Lockstep itself runs on a host as it runs instances: nothing is unpacked for it, and its program is that of its supervisor.
//!
//! Invariant: nobody who writes a manifest can ask for one, because no manifest becomes an [`InstanceSpec`](crate::InstanceSpec) that has
//! one; so what is given to such a process is given to a program of ours.

use std::path::{Path, PathBuf};

use lockstep_domain::name::ResourceName;
use lockstep_domain::{EnvironmentName, Instance};
use serde::{Deserialize, Serialize};

/// The name under which a gateway is shown where resources are: as these it is no service's.
pub const GATEWAY: &str = "lockstep-gateway";
/// The program of a gateway: that of its supervisor, whatever has become of its file.
pub const PROGRAM: &str = "/proc/self/exe";
/// The exit code with which a gateway ends that another one has taken over from: it has completed, and is not started again.
pub const TAKEN: u8 = 75;

/// What of Lockstep itself a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ours {
    /// A gateway of the environment.
    Gateway,
}

impl Ours {
    /// Returns the name under which it is shown.
    pub(crate) fn name(self) -> ResourceName {
        let Self::Gateway = self;
        GATEWAY.parse().expect("the name keeps the rule of names")
    }

    /// Returns the folder in which it keeps what outlives it, below that of the driver.
    pub(crate) fn data(self, root: &Path, environment: &EnvironmentName) -> PathBuf {
        let Self::Gateway = self;
        root.join("gateways").join(environment.as_str())
    }
}

/// Tells whether an instance is a gateway on its host.
#[must_use]
pub fn is_gateway(instance: &Instance) -> bool {
    instance.resource.as_ref().is_some_and(|name| name.as_str() == GATEWAY)
}
