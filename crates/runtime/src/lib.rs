//! Runs instances: unpacks artifacts, supervises their processes, and keeps them running when the server stops.
//!
//! [`LocalDriver`] is what the server talks to. Each instance has a small [`supervisor`] process of its own, which
//! outlives the server; the two share a folder ([`folder`]) and talk over a socket in it. Nothing here decides *which*
//! instances should run.
//!
//! Invariant: every process that belongs to an instance can be found again from the folder of the instance alone.

pub mod driver;
pub mod folder;
pub mod health;
pub mod logs;
pub mod machine;
pub mod process;
pub mod spec;
pub mod status;
pub mod supervisor;
pub mod unpack;

pub use driver::{
    LocalDriver, LocalDriverOptions, OpenError, RemoveError, StartError, StopError, SupervisorCommand,
};
pub use logs::LogLimits;
pub use logs::reader::{Follow, LogReader};
pub use spec::InstanceSpec;
pub use unpack::{UnpackError, UnpackLimits};
