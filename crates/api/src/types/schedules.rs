//! Jobs that run by schedules.

use lockstep_domain::name::JobName;
use lockstep_domain::schedule::Schedule;
use lockstep_domain::scheduled::ScheduledRun;
use lockstep_domain::{ServiceName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job of what runs in an environment, with its schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleView {
    /// The service.
    pub service: ServiceName,
    /// Its job.
    pub job: JobName,
    /// Its schedule.
    pub schedule: Schedule,
    /// When its time comes next; nothing where it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// What became of its last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScheduledRun>,
}
