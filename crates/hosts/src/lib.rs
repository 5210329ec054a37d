//! Runs instances on other hosts over SSH: the connection, the program on the other side, and what they say to each other.
//!
//! [`RemoteDriver`] is a [`lockstep_runtime::Driver`] for one host. It keeps one connection, which the system's `ssh` makes, and brings
//! the [program](program) of the other side along. That program, the [`agent`], opens the driver of its host and does what it is asked;
//! it ends with the connection, and what it started goes on. Nothing here decides which instances should run.
//!
//! Invariant: what an agent does for a server is fenced by the [`lease`] of the host: of two servers that own one host, one is refused.

pub mod agent;
mod artifact;
mod claim;
mod difference;
mod findings;
pub mod gateway;
mod lease;
mod newest;
mod place;
mod program;
mod protocol;
mod refusal;
mod remote;
mod ssh;
mod wire;

pub use claim::ClaimFile;
pub use difference::Recipes;
pub use findings::{Findings, Looker, Way, findings, hint};
pub use lease::{Claim, Lease, LeaseError, Token};
pub use program::Program;
pub use protocol::{HostFacts, HostOptions, Looked};
pub use remote::{
    Connect, ConnectError, ConnectFault, Connection, Duplex, FromHost, Holds, HostLook, HostState,
    RemoteDriver, Transfer, look,
};
pub use ssh::{Ssh, fingerprint, pinned};
