//! The pure core of Lockstep: what versions, baselines, intents and events are, and every decision made from them.
//!
//! Nothing here does I/O, asks a clock, draws a random number or is async: time and ids are arguments. The shells
//! around it (store, runtime, gateway, control) carry no policy of their own.

pub mod baseline;
pub mod branch;
pub mod build_variables;
pub mod call_address;
pub mod changelog;
pub mod clock_skip;
pub mod commits;
pub mod compat;
pub mod compile;
pub mod contract;
pub mod counting;
pub mod digest;
pub mod drain;
pub mod earlier;
pub mod edition;
pub mod environment;
pub mod event;
pub mod evidence;
pub mod fault;
pub mod fleet;
pub mod gateway;
pub mod gateway_rules;
pub mod instance;
pub mod intent;
pub mod lifecycle;
pub mod mend;
pub mod name;
pub mod observed;
pub mod operation;
pub mod plan;
pub mod reconcile;
pub mod rename;
pub mod repository_address;
pub mod request_host;
pub mod request_path;
pub mod routes;
pub mod run;
pub mod service;
pub mod stay;
pub mod step;
pub mod step_place;
pub mod time;
pub mod variables;
pub mod verdict;
pub mod version;
pub mod watch;
pub mod ways_back;
pub mod world;

pub use baseline::{Baseline, BaselineEntry, OperationId};
pub use build_variables::{BuildVariable, BuildVariables};
pub use call_address::CallAddress;
pub use digest::Digest;
pub use environment::Environment;
pub use event::{Event, Recorded};
pub use gateway::GatewayIdentity;
pub use instance::{Arm, ConfigRevision, Instance, InstanceId, InstanceState};
pub use intent::{Intent, Strategy};
pub use name::{Actor, EnvironmentName, GatewayName, ServiceName, StageName};
pub use operation::{Operation, Plan};
pub use plan::plan;
pub use time::Timestamp;
pub use version::{VersionNumber, VersionRange, VersionRef};
pub use world::World;
