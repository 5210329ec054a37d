//! An environment: its settings, its line of baselines, its configurations, and the operations under way.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::acme::Automatic;
use crate::baseline::{Baselines, Entries, OperationId};
use crate::call_address::CallAddress;
use crate::certificate::Certificate;
use crate::clients_at::ClientsAt;
use crate::database::KnownDatabase;
use crate::entry::EntrySettings;
use crate::gateway_rules::GatewayRules;
use crate::instance::{Arm, ConfigRevision, InstanceId};
use crate::instance_ports::InstancePorts;
use crate::intent::{ConfigValue, Configuration, Strategy};
use crate::job::{JobEnd, JobRun};
use crate::lane::LanesAccept;
use crate::lost_host::LostHosts;
use crate::maintenance::{self, MaintenanceTurn};
use crate::name::{
    Actor, CertificateName, DatabaseName, EnvironmentName, JobName, ProcessName, ResourceName, ServiceName,
    StageName,
};
use crate::operation::{Acceptance, NewConfiguration, NewReplicas, Operation, Phase};
use crate::proven::{Proof, ProvenAfter};
use crate::resource::Resource;
use crate::said_version::SaidVersion;
use crate::scheduled::{Scheduled, ScheduledRun};
use crate::service::Service;
use crate::step_place::StepPlace;
use crate::time::Timestamp;
use crate::variables::Revocation;
use crate::version::VersionRef;
use crate::version_rules::VersionRules;
use crate::watch::AnswerChecks;

/// Most arms of a service that are warm at a time: what was replaced last, and what came before it in case both are bad.
pub const MAX_WARM_ARMS: usize = 2;
/// Dismissed instances that are remembered: each ends within a minute or so, and a memory for ever would only grow.
const MAX_DISMISSED: usize = 1_000;

/// What a person decides about an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentSettings {
    /// Versions are accepted from this stage on.
    pub accepts_from: StageName,
    /// Which versions are taken in lanes.
    #[serde(default, skip_serializing_if = "LanesAccept::is_usual")]
    pub lanes_accept: LanesAccept,
    /// The strategy of an operation that names none.
    pub strategy: Strategy,
    /// How long the old instances stay after a change, so that going back is a change of routes.
    pub warm_ms: u64,
    /// How long the instances of a version must be healthy here, without a restart, before it counts as having run here.
    #[serde(default = "usual_stay_ms")]
    pub stay_ms: u64,
    /// How long an instance that gets no more requests has for those that it has begun; as long as their time limits when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
    /// The port of its gateway on this host.
    pub gateway_port: u16,
    /// Where the ports of its instances are taken from.
    #[serde(default, skip_serializing_if = "InstancePorts::is_server")]
    pub instance_ports: InstancePorts,
    /// Where its instances are told to call other services.
    #[serde(default, skip_serializing_if = "CallAddress::is_server")]
    pub gateway_url: CallAddress,
    /// What its gateways believe of requests. An environment of an older release keeps what held then.
    #[serde(default = "GatewayRules::before_rules")]
    pub gateway_rules: GatewayRules,
    /// How clients come in.
    #[serde(default, skip_serializing_if = "EntrySettings::is_default")]
    pub entry: Box<EntrySettings>,
    /// Whether answers of versions on trial are compared with their contracts.
    #[serde(default = "AnswerChecks::usual")]
    pub answer_checks: AnswerChecks,
    /// What makes a baseline proven.
    #[serde(default, skip_serializing_if = "ProvenAfter::is_usual")]
    pub proven_after: ProvenAfter,
    /// What becomes of what was on hosts that are lost.
    #[serde(default, skip_serializing_if = "LostHosts::is_usual")]
    pub lost_hosts: LostHosts,
    /// Which gateways listen for clients from outside.
    #[serde(default, skip_serializing_if = "ClientsAt::is_server")]
    pub clients_at: ClientsAt,
}

/// How long a version must stay where nobody said otherwise: longer than what crashes at once or at its first requests.
pub const STAY_MS: u64 = 60_000;

const fn usual_stay_ms() -> u64 {
    STAY_MS
}

/// An environment as the journal tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// The record that created it, which tells it from a removed one of its name; 0 in what an older release kept.
    #[serde(default)]
    pub record: u64,
    /// What a person decided about it.
    pub settings: EnvironmentSettings,
    /// The states it really ran.
    pub baselines: Baselines,
    /// Those of them that are proven, by their numbers.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub proven: OrdMap<u64, Proof>,
    /// Configurations by service; revision 1 is the first of a vector, revision 0 is the empty one.
    pub configurations: OrdMap<ServiceName, Vector<Configuration>>,
    /// When each of them was set.
    #[serde(default)]
    pub configured: OrdMap<ServiceName, Vector<Timestamp>>,
    /// Secret values that must not come back, by their names.
    #[serde(default)]
    pub revoked: OrdMap<String, Revocation>,
    /// How many instances of the main process of a service run, where it is not one.
    pub replicas: OrdMap<ServiceName, u32>,
    /// How many instances of the other processes of a service run, where it is not one.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub process_replicas: OrdMap<ServiceName, OrdMap<ProcessName, u32>>,
    /// Databases and the like that services here work with.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub resources: OrdMap<ResourceName, Resource>,
    /// What is known of databases whose migrations are moved here.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub databases: OrdMap<DatabaseName, KnownDatabase>,
    /// Versions that nothing brings here again until someone releases the hold.
    pub holds: OrdMap<VersionRef, Hold>,
    /// Rules that give certain requests a version of their own.
    #[serde(default, skip_serializing_if = "VersionRules::is_unused")]
    pub version_rules: VersionRules,
    /// Which pages of maintenance were set and lifted, the newest last.
    #[serde(default, skip_serializing_if = "Vector::is_empty")]
    pub maintenance_turns: Vector<MaintenanceTurn>,
    /// Certificates by name.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub certificates: OrdMap<CertificateName, Certificate>,
    /// Certificates that renew themselves, also those that are not there yet.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub automatic: OrdMap<CertificateName, Automatic>,
    /// Arms that stay warm, until when.
    #[serde(with = "pairs")]
    pub warm: OrdMap<Arm, Timestamp>,
    /// Arms whose artifacts stay unpacked for going back, until when: of what works unasked no instance can be kept.
    #[serde(default, with = "pairs", skip_serializing_if = "OrdMap::is_empty")]
    pub prepared: OrdMap<Arm, Timestamp>,
    /// How long starts of workers took in milliseconds, whatever their configuration was.
    #[serde(default, with = "pairs", skip_serializing_if = "OrdMap::is_empty")]
    pub starts: OrdMap<Arm, Vector<u64>>,
    /// Instances that are to end whatever their arm is wanted for, the newest last.
    #[serde(default)]
    pub dismissed: Vector<InstanceId>,
    /// What is known of the jobs that run by schedules.
    #[serde(default)]
    pub scheduled: OrdMap<ServiceName, OrdMap<JobName, Scheduled>>,
    /// What services that somebody else runs say of their version, the newest last.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub said: OrdMap<ServiceName, Vector<SaidVersion>>,
    /// Operations under way in the order in which they began; no two touch the same service.
    under_way: Vector<Arc<Operation>>,
    /// Operations that are over, oldest first.
    pub operations: Vector<Arc<Operation>>,
}

/// Why a version must not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// What happened.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Who went back from it.
    pub by: Actor,
}

impl Environment {
    /// Begins an environment that runs nothing.
    #[must_use]
    pub fn begin(name: EnvironmentName, settings: EnvironmentSettings, record: u64, at: Timestamp) -> Self {
        Self {
            name,
            record,
            settings,
            baselines: Baselines::begin(at),
            proven: OrdMap::new(),
            configurations: OrdMap::new(),
            configured: OrdMap::new(),
            revoked: OrdMap::new(),
            replicas: OrdMap::new(),
            process_replicas: OrdMap::new(),
            resources: OrdMap::new(),
            databases: OrdMap::new(),
            holds: OrdMap::new(),
            version_rules: VersionRules::default(),
            maintenance_turns: Vector::new(),
            certificates: OrdMap::new(),
            automatic: OrdMap::new(),
            warm: OrdMap::new(),
            prepared: OrdMap::new(),
            starts: OrdMap::new(),
            dismissed: Vector::new(),
            said: OrdMap::new(),
            scheduled: OrdMap::new(),
            under_way: Vector::new(),
            operations: Vector::new(),
        }
    }

    /// Returns the set that is current.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.baselines.current().entries
    }

    /// Returns how many instances of the main process of a service are wanted.
    #[must_use]
    pub fn replicas_of(&self, service: &ServiceName) -> u32 {
        self.replicas.get(service).copied().unwrap_or(1)
    }

    /// Returns how many instances of a process of a service are wanted; of the main one where none is named.
    #[must_use]
    pub fn count(&self, service: &ServiceName, process: Option<&ProcessName>) -> u32 {
        let Some(process) = process else { return self.replicas_of(service) };
        self.process_replicas.get(service).and_then(|of| of.get(process)).copied().unwrap_or(1)
    }

    /// Returns how many instances of an arm are wanted where anything of it runs all the time; fewer of what only lanes keep running.
    #[must_use]
    pub fn count_of(&self, arm: &Arm) -> u32 {
        self.count_in_lanes(arm).unwrap_or_else(|| self.count(&arm.service, arm.process.as_ref()))
    }

    /// Notes how many instances of a process are wanted. Folding only.
    pub(crate) fn set_count(&mut self, new: &NewReplicas, count: u32) {
        match &new.process {
            None => self.replicas.insert(new.service.clone(), count),
            Some(process) => {
                let of = self.process_replicas.entry(new.service.clone()).or_default();
                of.insert(process.clone(), count)
            }
        };
    }

    /// Returns a configuration; `None` when the revision does not exist.
    #[must_use]
    pub fn configuration(&self, service: &ServiceName, revision: ConfigRevision) -> Option<Configuration> {
        match usize::try_from(revision.0).ok()?.checked_sub(1) {
            None => Some(Configuration::new()),
            Some(index) => self.configurations.get(service)?.get(index).cloned(),
        }
    }

    /// Returns the number of the newest configuration of a service.
    #[must_use]
    pub fn newest_configuration(&self, service: &ServiceName) -> ConfigRevision {
        let count = self.configurations.get(service).map_or(0, Vector::len);
        ConfigRevision(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Returns the configuration a service is to run with next: what it runs with, or else the newest.
    #[must_use]
    pub fn configuration_in_force(&self, service: &ServiceName) -> ConfigRevision {
        self.entries().get(service).map_or_else(|| self.newest_configuration(service), |entry| entry.config)
    }

    /// Goes through the operations under way in the order in which they began.
    pub fn under_way(&self) -> impl DoubleEndedIterator<Item = &Arc<Operation>> {
        self.under_way.iter()
    }

    /// Goes through the operations under way that move services.
    pub fn moving(&self) -> impl DoubleEndedIterator<Item = &Arc<Operation>> {
        self.under_way().filter(|operation| !operation.plan.moves_nothing())
    }

    /// Returns the number of the last operation that there has been.
    #[must_use]
    pub fn newest_operation(&self) -> Option<OperationId> {
        self.under_way().chain(self.operations.last()).map(|operation| operation.id).max()
    }

    /// Returns the operation under way that moves a service.
    #[must_use]
    pub fn mover_of(&self, service: &ServiceName) -> Option<&Arc<Operation>> {
        self.moving().find(|operation| operation.plan.move_of(service).is_some())
    }

    /// Returns the operations under way that touch one of these services. What else keeps two apart is known by their
    /// requirements and routes, and looked at when they are planned.
    pub fn touching<'a>(
        &'a self,
        touched: &'a BTreeSet<ServiceName>,
    ) -> impl Iterator<Item = &'a Arc<Operation>> {
        self.under_way().filter(|operation| !operation.touches().is_disjoint(touched))
    }

    /// Finds an operation of this environment.
    #[must_use]
    pub fn find_operation(&self, id: OperationId) -> Option<&Arc<Operation>> {
        let current = self.under_way().find(|operation| operation.id == id);
        current.or_else(|| {
            let index = self.operations.binary_search_by_key(&id, |operation| operation.id).ok()?;
            self.operations.get(index)
        })
    }

    /// Tells whether instances of an arm may be kept although nothing asks for them.
    #[must_use]
    pub fn keeps_warm(&self, arm: &Arm, now: Timestamp) -> bool {
        self.warm.get(arm).is_some_and(|&until| now < until)
    }

    /// Tells whether an instance is to end whatever its arm is wanted for.
    #[must_use]
    pub fn is_dismissed(&self, instance: &InstanceId) -> bool {
        self.dismissed.contains(instance)
    }

    /// Tells whether an operation under way puts another instance in the place of this one.
    #[must_use]
    pub fn is_to_be_replaced(&self, instance: &InstanceId) -> bool {
        let preparing = |operation: &&Arc<Operation>| matches!(operation.phase, Phase::Preparing { .. });
        self.under_way().filter(preparing).any(|operation| operation.plan.restarts.contains(instance))
    }

    /// Tells whether an operation under way moves an instance to another host.
    #[must_use]
    pub fn is_relocated(&self, instance: &InstanceId) -> bool {
        let preparing = |operation: &&Arc<Operation>| matches!(operation.phase, Phase::Preparing { .. });
        let mut moved = self.under_way().filter(preparing).flat_map(|operation| &operation.plan.relocations);
        moved.any(|relocation| relocation.instance == *instance)
    }

    /// Returns the run of a job by its schedule that goes on.
    #[must_use]
    pub fn scheduled_run(&self, service: &ServiceName, job: &JobName) -> Option<(&ScheduledRun, &JobRun)> {
        self.scheduled.get(service)?.get(job)?.under_way()
    }

    /// Returns the operation under way in which a run of a job goes on.
    #[must_use]
    pub fn running_in(&self, service: &ServiceName, job: &JobName) -> Option<OperationId> {
        let runs = |operation: &Operation| {
            operation.job_runs().any(|(planned, run)| {
                (&planned.arm.service, &planned.job) == (service, job) && run.end.is_none()
            })
        };
        self.under_way().find(|operation| runs(operation)).map(|operation| operation.id)
    }

    /// Adds a configuration. Folding only.
    pub(crate) fn configure(&mut self, new: &NewConfiguration, at: Timestamp) {
        self.configurations.entry(new.service.clone()).or_default().push_back(new.values.clone());
        self.configured.entry(new.service.clone()).or_default().push_back(at);
    }

    /// Removes a resource; what is warm and needs it ends. Folding only.
    pub(crate) fn remove_resource(
        &mut self,
        resource: &ResourceName,
        services: &OrdMap<ServiceName, Arc<Service>>,
    ) -> Result<(), String> {
        self.resources.remove(resource).ok_or_else(|| format!("no resource `{resource}`"))?;
        let needs = |arm: &Arm| {
            let version = services.get(&arm.service).and_then(|service| service.versions.get(&arm.version));
            version.is_some_and(|version| version.resources.contains_key(resource))
        };
        self.warm = self.warm.iter().filter(|(arm, _)| !needs(arm)).map(|(a, t)| (a.clone(), *t)).collect();
        Ok(())
    }

    /// Notes that a secret value must not come back; what is warm with it ends. Folding only.
    pub(crate) fn revoke(&mut self, secret: &str, revocation: &Revocation) {
        self.revoked.insert(secret.to_owned(), revocation.clone());
        let has = |arm: &Arm| {
            let values = self.configuration(&arm.service, arm.config).unwrap_or_default();
            values.values().any(|value| matches!(value, ConfigValue::Secret(name) if name == secret))
        };
        self.warm = self.warm.iter().filter(|(arm, _)| !has(arm)).map(|(a, t)| (a.clone(), *t)).collect();
    }

    /// Notes that a baseline is proven. Folding only.
    pub(crate) fn note_proven(&mut self, baseline: u64, proof: Proof) -> Result<(), String> {
        if self.baselines.get(baseline).is_none() {
            return Err(format!("there is no baseline {baseline}"));
        }
        match self.proven.insert(baseline, proof) {
            None => Ok(()),
            Some(_) => Err(format!("baseline {baseline} is proven already")),
        }
    }

    /// Dismisses an instance. Folding only.
    pub(crate) fn dismiss(&mut self, instance: &InstanceId) {
        self.dismissed.push_back(instance.clone());
        if self.dismissed.len() > MAX_DISMISSED {
            self.dismissed.pop_front();
        }
    }

    /// Moves every operation under way by time that did not pass. Folding only.
    pub(crate) fn skip_operations(&mut self, skip: impl Fn(&mut Operation)) {
        self.under_way.iter_mut().for_each(|operation| skip(Arc::make_mut(operation)));
    }

    /// Changes every operation, also those that are over. Folding only.
    pub(crate) fn each_operation(&mut self, change: impl Fn(&mut Operation)) {
        let all = self.under_way.iter_mut().chain(self.operations.iter_mut());
        all.for_each(|operation| change(Arc::make_mut(operation)));
    }

    /// Keeps an arm warm from now on, and of each service only the newest few. Folding only.
    pub(crate) fn keep_warm(&mut self, arm: &Arm, now: Timestamp) {
        keep(&mut self.warm, arm, now, self.settings.warm_ms);
    }

    /// Keeps the artifact of an arm unpacked for as long as an arm is kept warm. Folding only.
    pub(crate) fn keep_prepared(&mut self, arm: &Arm, now: Timestamp) {
        keep(&mut self.prepared, arm, now, self.settings.warm_ms);
    }

    /// Tells whether the artifact of an arm is to be unpacked, so that going back to it needs no more than a start.
    #[must_use]
    pub fn keeps_prepared(&self, arm: &Arm, now: Timestamp) -> bool {
        self.prepared.get(arm).is_some_and(|&until| now < until)
    }

    /// Takes new settings in, also for what is warm now. Folding only.
    pub(crate) fn take_settings(&mut self, settings: &EnvironmentSettings, by: &Actor, now: Timestamp) {
        let (before, after) = (&self.settings.gateway_rules.maintenance, &settings.gateway_rules.maintenance);
        for (page, turn) in maintenance::turns(before, after) {
            // Without its body, which may be long.
            let (number, page, by) = (page.number, page.to_string(), by.clone());
            self.maintenance_turns.push_back(MaintenanceTurn { number, page, turn, at: now, by });
        }
        while self.maintenance_turns.len() > maintenance::MAX_TURNS {
            self.maintenance_turns.pop_front();
        }
        let before = self.settings.warm_ms;
        let left = |until: &Timestamp| Timestamp(until.0.saturating_sub(before));
        for kept in [&mut self.warm, &mut self.prepared] {
            let still = kept.iter().filter(|(_, until)| now < **until);
            *kept = still.map(|(arm, until)| (arm.clone(), left(until).plus_ms(settings.warm_ms))).collect();
        }
        self.settings = settings.clone();
    }

    /// Adds to what was seen of an operation under way. Folding only.
    pub(crate) fn prove(&mut self, id: OperationId, proof: &str) {
        if let Some(operation) = self.find_under_way(id) {
            operation.prove(proof);
        }
    }

    /// Notes what an operation under way waits for. Folding only.
    pub(crate) fn wait(&mut self, id: OperationId, missing: &str, at: Timestamp) {
        if let Some(operation) = self.find_under_way(id) {
            operation.wait(missing, at);
        }
    }

    /// Lets a step of the operation under way go on without evidence. Folding only.
    pub(crate) fn accept(&mut self, id: OperationId, acceptance: Acceptance) -> Result<(), String> {
        let at = acceptance.step;
        let operation = self.find_under_way(id).ok_or_else(|| format!("operation {id} is not under way"))?;
        match operation.phase {
            Phase::Shifted { wave, step, .. } if (StepPlace { wave, step }) == at => {
                operation.accepted.push(acceptance);
                Ok(())
            }
            _ => Err(format!("operation {id} is not at step {at}")),
        }
    }

    /// Begins the next job of an operation under way. Folding only.
    pub(crate) fn begin_job(&mut self, id: OperationId, run: JobRun) -> Result<(), String> {
        let planned = self.find_under_way(id).and_then(|it| it.plan.jobs.get(it.jobs.len()).cloned());
        if let Some(planned) = planned
            && self.scheduled_run(&planned.arm.service, &planned.job).is_some()
        {
            return Err(format!("a run of {planned} by its schedule goes on"));
        }
        let operation = self.find_under_way(id).ok_or_else(|| format!("operation {id} is not under way"))?;
        let is_free = operation.jobs.last().is_none_or(|before| before.end.is_some());
        if !is_free || operation.jobs.len() >= operation.plan.jobs.len() {
            return Err(format!("operation {id} has no job that can begin"));
        }
        operation.jobs.push(run);
        Ok(())
    }

    /// Ends the job of an operation under way that was begun last. Folding only.
    pub(crate) fn end_job(
        &mut self,
        id: OperationId,
        instance: &InstanceId,
        end: JobEnd,
    ) -> Result<(), String> {
        let operation = self.find_under_way(id).ok_or_else(|| format!("operation {id} is not under way"))?;
        match operation.jobs.last_mut().filter(|run| run.end.is_none() && run.instance == *instance) {
            Some(run) => run.end = Some(end),
            None => return Err(format!("operation {id} does not run {instance}")),
        }
        Ok(())
    }

    /// Changes what is known of a job that runs by a schedule. Folding only.
    pub(crate) fn with_scheduled<T>(
        &mut self,
        (service, job): (&ServiceName, &JobName),
        change: impl FnOnce(&mut Scheduled) -> T,
    ) -> T {
        change(self.scheduled.entry(service.clone()).or_default().entry(job.clone()).or_default())
    }

    /// Changes what is known of every job that runs by a schedule. Folding only.
    pub(crate) fn each_schedule(&mut self, change: impl Fn(&mut Scheduled)) {
        let changed = |it: &Scheduled| {
            let mut it = it.clone();
            change(&mut it);
            it
        };
        let all = |jobs: &OrdMap<JobName, Scheduled>| -> OrdMap<JobName, Scheduled> {
            jobs.iter().map(|(job, it)| (job.clone(), changed(it))).collect()
        };
        self.scheduled = self.scheduled.iter().map(|(service, jobs)| (service.clone(), all(jobs))).collect();
    }

    /// Changes the phase of an operation under way. Folding only.
    pub(crate) fn set_phase(&mut self, id: OperationId, phase: Phase) -> bool {
        self.find_under_way(id).map(|operation| operation.phase = phase).is_some()
    }

    /// Lets an operation be under way. Folding only.
    pub(crate) fn begin_operation(&mut self, operation: Arc<Operation>) {
        self.under_way.push_back(operation);
    }

    /// Puts an operation that is over to those before it, in the order of their numbers. Folding only.
    pub(crate) fn settle_operation(&mut self, id: OperationId) -> Option<Arc<Operation>> {
        let index = self.under_way.iter().position(|operation| operation.id == id)?;
        let settled = self.under_way.remove(index);
        let place =
            self.operations.iter().rposition(|operation| operation.id < id).map_or(0, |last| last + 1);
        self.operations.insert(place, Arc::clone(&settled));
        Some(settled)
    }

    fn find_under_way(&mut self, id: OperationId) -> Option<&mut Operation> {
        self.under_way.iter_mut().find(|operation| operation.id == id).map(Arc::make_mut)
    }
}

/// Keeps an arm from now on, and of each service only the newest few.
fn keep(kept: &mut OrdMap<Arm, Timestamp>, arm: &Arm, now: Timestamp, for_ms: u64) {
    let still = kept.iter().filter(|(_, until)| now < **until);
    *kept = still.map(|(arm, until)| (arm.clone(), *until)).collect();
    kept.insert(arm.clone(), now.plus_ms(for_ms));
    let mut others: Vec<_> =
        kept.iter().filter(|(other, _)| other.service == arm.service && *other != arm).collect();
    others.sort_by_key(|(_, until)| std::cmp::Reverse(**until));
    let too_many: Vec<_> = others.into_iter().skip(MAX_WARM_ARMS - 1).map(|(arm, _)| arm.clone()).collect();
    for arm in &too_many {
        kept.remove(arm);
    }
}

/// Stores a map whose keys are no text as a list of pairs.
mod pairs {
    use imbl::OrdMap;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Ord + Serialize, V: Serialize, S: Serializer>(
        map: &OrdMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<OrdMap<K, V>, D::Error>
    where
        K: Ord + Clone + DeserializeOwned,
        V: Clone + DeserializeOwned,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
