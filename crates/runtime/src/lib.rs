//! Runs instances: unpacks artifacts, supervises their processes, and keeps them running when the server stops.
//!
//! [`LocalDriver`] is what the server talks to. Each instance has a small [`supervisor`] process of its own, which
//! outlives the server; the two share a folder and talk over a socket in it. Nothing here decides *which*
//! instances should run.
//!
//! Invariant: every process that belongs to an instance can be found again from the folder of the instance alone.

mod approach;
mod control_group;
mod data;
mod driver;
mod ended;
pub mod fault;
mod folder;
mod give;
mod health;
mod health_h2;
mod image;
mod life;
mod logs;
mod machine;
mod metrics;
pub mod own;
mod port;
mod process;
pub mod relayed;
mod releases;
pub mod resource;
mod rooms;
mod spec;
mod status;
pub mod supervisor;
mod talk;
mod turns;
pub mod unpack;
mod usage;
mod users;
mod ways;

pub use control_group::{GROUP_OF_SERVER, GroupChoice, means_here, own_group};
pub use data::{DataFolders, DataSize, measure};
pub use driver::{
    BringError, Elsewhere, HeldAs, Instances, LocalDriver, LocalDriverOptions, OpenError, RemoveError,
    StartError, StopError, SupervisorCommand, listened_addresses,
};
pub use ended::EndedLimits;
pub use lockstep_archive::{UnpackError, UnpackLimits};
pub use logs::LogLimits;
pub use logs::reader::{Follow, LogReader};
pub use port::{Answer, Driver, LogLines};
pub use releases::Unpacked;
pub use resource::ResourceRun;
pub use spec::InstanceSpec;
pub use turns::Turns;
pub use usage::Usage;
pub use users::UserChoice;
