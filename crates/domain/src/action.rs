//! What a decision is made from, and what it may be.

use crate::environment::Environment;
use crate::event::Event;
use crate::instance::{Arm, InstanceId};
use crate::job::PlannedJob;
use crate::name::ResourceName;
use crate::observed::Observed;
use crate::time::Timestamp;
use crate::world::World;

/// An instance that was told to end is killed after its stop timeout, and gone within this time after that.
pub const KILLED_WITHIN_MS: u64 = 10_000;
/// What a step waits for is not said again within this time.
pub const SAY_AGAIN_MS: u64 = 30_000;

/// Something to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start so many instances of an arm.
    Start {
        /// What.
        arm: Arm,
        /// How many.
        count: u32,
    },
    /// Ask an instance to end.
    Stop {
        /// Which.
        instance: InstanceId,
    },
    /// Start the job of an operation that was begun last, once.
    RunJob {
        /// Which.
        job: PlannedJob,
        /// What it runs as.
        instance: InstanceId,
    },
    /// Start the process of a resource.
    RunResource {
        /// Which.
        resource: ResourceName,
    },
    /// Show an instance that is over no more.
    Remove {
        /// Which.
        instance: InstanceId,
    },
    /// Record that an operation goes on or is over.
    Record {
        /// What is recorded.
        events: Vec<Event>,
    },
}

/// Everything a decision is made from.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The newest world.
    pub world: &'a World,
    /// The environment in it that is looked at.
    pub environment: &'a Environment,
    /// What is seen of it.
    pub observed: &'a Observed,
    /// The time by which durations are measured.
    pub now: Timestamp,
    /// The time on the wall clock: schedules go by it, and nothing else.
    pub wall: Timestamp,
}
