//! The pure core of Lockstep: what versions, baselines, intents and events are, and every decision made from them.
//!
//! Nothing here does I/O, asks a clock, draws a random number or is async: time and ids are arguments. The shells
//! around it (store, runtime, gateway, control) carry no policy of their own.

pub mod digest;
pub mod evidence;
pub mod instance;
pub mod name;
pub mod routes;
pub mod run;
pub mod time;
pub mod version;

pub use digest::Digest;
pub use instance::{Arm, ConfigRevision, Instance, InstanceId, InstanceState};
pub use name::{Actor, EnvironmentName, ServiceName, StageName};
pub use time::Timestamp;
pub use version::{VersionNumber, VersionRange, VersionRef};
