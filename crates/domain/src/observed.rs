//! What is seen of an environment at one moment. The other half of every decision: the world says what should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::baseline::OperationId;
use crate::database::Told;
use crate::instance::{Arm, Instance, InstanceId};
use crate::name::{HostName, ServiceName};
use crate::time::Timestamp;
use crate::verdict::Trial;
use crate::watch::ByWeight;
use crate::work::WorkTrial;

/// What is seen of one environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Its instances, whatever their state.
    pub instances: Vec<Instance>,
    /// Runs of jobs, whatever their state.
    pub jobs: Vec<Instance>,
    /// Processes of resources, whatever their state.
    pub resources: Vec<Instance>,
    /// Requests under way at instances.
    pub in_flight: BTreeMap<InstanceId, u64>,
    /// Since when every gateway serves a table that does not name the instance. Missing while some gateway may still send requests.
    pub unrouted_since: BTreeMap<InstanceId, Timestamp>,
    /// Since when an instance has been in the table only for the clients that are kept at it.
    pub leaving_since: BTreeMap<InstanceId, Timestamp>,
    /// Whether every gateway serves the table that the present state compiles to.
    pub tables: Tables,
    /// The operations that are over, and of which no request is under way that was admitted before they were.
    pub behind: BTreeSet<OperationId>,
    /// What was counted for verdicts of each service on trial, since its trial began.
    pub watched: BTreeMap<ServiceName, ByWeight>,
    /// What is judged of each service on trial; the registry does not fill it.
    pub trials: BTreeMap<ServiceName, Arc<Trial>>,
    /// What is judged of each worker on trial that says how its work goes; the registry does not fill it.
    pub work: BTreeMap<Arm, Arc<WorkTrial>>,
    /// Since when this server has seen an instance healthy, without an interruption or a restart of its process.
    pub steady_since: BTreeMap<InstanceId, Timestamp>,
    /// Instances whose host is being drained; the registry does not fill it.
    pub evacuated: BTreeSet<InstanceId>,
    /// Instances that are not healthy here only because their host is not reached; the registry does not fill it.
    pub unreached: BTreeSet<InstanceId>,
    /// Instances that nobody waits for, because their host is given up on and they serve nobody yet; the registry does not fill it.
    pub lost: BTreeSet<InstanceId>,
    /// The hosts that are not reached; the registry does not fill it.
    pub away: BTreeSet<HostName>,
    /// Instances that the gateways of their hosts do not lead to; the registry does not fill it.
    pub not_led_to: BTreeSet<InstanceId>,
    /// How often instances of an arm had to be replaced lately.
    pub troubles: BTreeMap<Arm, Trouble>,
    /// What steps at databases have said that are over.
    pub databases: BTreeMap<InstanceId, Told>,
    /// When the counting of each service on trial began: at its last change of weights, or later when the server was started anew.
    pub counting_since: BTreeMap<ServiceName, Timestamp>,
}

/// How often instances of an arm had to be replaced, without a long quiet time in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trouble {
    /// So many in a row: they failed, or were ended because they stayed unhealthy.
    pub in_a_row: u32,
    /// When the last one was seen.
    pub last: Timestamp,
}

/// Whether every gateway serves the newest table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tables {
    /// They do.
    Applied,
    /// Some gateway has not said so yet.
    #[default]
    Pending,
}

impl Observed {
    /// Goes through all that runs of versions, or did: instances and jobs.
    pub fn everything(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().chain(&self.jobs)
    }

    /// Goes through the instances of an arm.
    pub fn of<'a>(&'a self, arm: &'a Arm) -> impl Iterator<Item = &'a Instance> {
        self.instances.iter().filter(move |instance| instance.arm == *arm)
    }

    /// Counts the healthy instances of an arm.
    #[must_use]
    pub fn healthy(&self, arm: &Arm) -> u32 {
        count(self.of(arm).filter(|instance| instance.state.is_healthy()))
    }

    /// Counts the instances of an arm that run or are on their way.
    #[must_use]
    pub fn alive(&self, arm: &Arm) -> u32 {
        count(self.of(arm).filter(|instance| is_alive(instance)))
    }
}

/// Tells whether an instance runs or is on its way, and was not asked to end.
#[must_use]
pub fn is_alive(instance: &Instance) -> bool {
    use crate::instance::InstanceState as State;
    matches!(instance.state, State::Starting | State::Healthy | State::Unhealthy { .. })
}

fn count<'a>(instances: impl Iterator<Item = &'a Instance>) -> u32 {
    u32::try_from(instances.count()).unwrap_or(u32::MAX)
}
