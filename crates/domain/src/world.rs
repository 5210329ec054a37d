//! The world: the fold of all events. Cheap to clone, so readers hold a state of their own.
//!
//! Invariant: folding the same events gives the same world. An event that does not fit is an error and changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::acme::{AcmeRequest, Automatic, Progress};
use crate::baseline::{EntryChange, OperationId, apply, difference};
use crate::branch::BranchPolicy;
use crate::certificate::{Certificate, CertificateFacts};
use crate::certificate_secrets::{self, Spent};
use crate::clock_skip;
use crate::database::{begin, seen};
use crate::environment::Environment;
use crate::event::{Event, Recorded};
use crate::evidence::Evidence;
use crate::gateway::GatewayIdentity;
use crate::host::{self, Host};
use crate::intent::Leaving;
use crate::job::{JobEnd, JobRun};
use crate::lifecycle::{Entry, Lifecycle};
use crate::mirror::MirrorCounts;
use crate::name::{EnvironmentName, GatewayName, HostName, ServiceName, StageName};
use crate::operation::{Acceptance, Move, Operation, Phase, Plan};
use crate::proven::Proof;
use crate::rename::rename;
use crate::resource::Resource;
use crate::scheduled::{Outcome, ScheduledRun, Skip};
use crate::service::{KeptManifest, Service, Version};
use crate::start::has_workers;
use crate::time::Timestamp;
use crate::variables::Revocation;
use crate::version::{VersionNumber, VersionRef};
use crate::version_rules::{NewRule, VersionRule};
use crate::watching::{KeptWatching, WatchingSettings};

/// The format of a stored [`World`]. A snapshot of another format is passed over and the journal is folded anew.
pub const WORLD_FORMAT: u32 = 8;

/// The name of the lifecycle of services that name none.
pub const DEFAULT_LIFECYCLE: &str = "default";

/// Everything that is known, at one place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct World {
    /// The last event that is folded in; 0 before the first.
    pub seq: u64,
    /// When that event was recorded.
    pub at: Timestamp,
    /// Lifecycles by name.
    pub lifecycles: OrdMap<StageName, Arc<Lifecycle>>,
    /// Which branches may cut which versions.
    #[serde(default)]
    pub branches: Arc<BranchPolicy>,
    /// Environments by name.
    pub environments: OrdMap<EnvironmentName, Arc<Environment>>,
    /// Services by name.
    pub services: OrdMap<ServiceName, Arc<Service>>,
    /// What former names of services stand for: their present names.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub renamed: OrdMap<ServiceName, ServiceName>,
    /// Gateways of their own by name.
    #[serde(default)]
    pub gateways: OrdMap<GatewayName, Arc<GatewayIdentity>>,
    /// Hosts by name.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub hosts: OrdMap<HostName, Arc<Host>>,
    /// What people decided about watching.
    #[serde(default, skip_serializing_if = "WatchingSettings::is_empty")]
    pub watching: WatchingSettings,
    /// Secrets of certificates that nothing names any more.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub spent: Spent,
    /// How many operations there have been.
    pub operations: u64,
}

/// Why an event does not fit the world before it: the journal was not written by this program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("record {seq} of the journal does not fit what comes before it: {why}")]
pub struct FoldError {
    /// The record.
    pub seq: u64,
    /// What does not fit.
    pub why: String,
}

impl World {
    /// Folds one event in.
    ///
    /// # Errors
    /// When the event names something that does not exist or comes out of order. The world is as before then.
    pub fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        let fail = |why: String| FoldError { seq: recorded.seq, why };
        if recorded.seq != self.seq + 1 {
            return Err(fail(format!("record {} was expected", self.seq + 1)));
        }
        let before = self.named_before(&recorded.event);
        self.take(recorded).map_err(fail)?;
        if let Some((name, before)) = before {
            let after = self.environments.get(&name).cloned();
            self.note_spent(&before, after.as_deref(), recorded.at);
        }
        self.seq = recorded.seq;
        self.at = self.at.max(recorded.at);
        Ok(())
    }

    /// The secrets of certificates that an environment names before an event that can change that.
    fn named_before(&self, event: &Event) -> Option<(EnvironmentName, BTreeSet<String>)> {
        let name = event.environment().filter(|_| certificate_secrets::concerns(event))?;
        Some((name.clone(), certificate_secrets::named(self.environments.get(name)?)))
    }

    fn take(&mut self, recorded: &Recorded) -> Result<(), String> {
        let at = recorded.at;
        match &recorded.event {
            Event::ClockSkipped { ms } => {
                clock_skip::skip(self, *ms);
                Ok(())
            }
            Event::LifecycleDefined { name, lifecycle } => {
                self.lifecycles.insert(name.clone(), Arc::new(lifecycle.clone()));
                Ok(())
            }
            Event::BranchPolicyDefined { policy } => {
                self.branches = Arc::new(policy.clone());
                Ok(())
            }
            Event::EnvironmentCreated { environment, .. } if self.environments.contains_key(environment) => {
                Err(format!("environment `{environment}` exists already"))
            }
            Event::EnvironmentCreated { environment, settings } => {
                let created = Environment::begin(environment.clone(), settings.clone(), recorded.seq, at);
                self.environments.insert(environment.clone(), Arc::new(created));
                Ok(())
            }
            Event::ServiceRegistered { service, .. } if self.is_former(service) => {
                Err(format!("`{service}` is a former name of `{}`", self.current_name(service)))
            }
            Event::ServiceRenamed { service, to, .. } => rename(self, service, to),
            Event::ServiceRegistered { service, source, owner, lifecycle, unrelated: _ } => {
                let known = self.services.get(service);
                let versions = known.map(|known| known.versions.clone()).unwrap_or_default();
                let earlier = known.map(|known| known.earlier.clone()).unwrap_or_default();
                let registered = known.map_or(at, |known| known.registered);
                let first_name = known.and_then(|known| known.first_name.clone());
                let manifests = known.map(|known| known.manifests.clone()).unwrap_or_default();
                let service = Service {
                    name: service.clone(),
                    source: source.clone(),
                    owner: owner.clone(),
                    lifecycle: lifecycle.clone(),
                    registered,
                    versions,
                    earlier,
                    first_name,
                    manifests,
                    removed: None,
                };
                self.services.insert(service.name.clone(), Arc::new(service));
                Ok(())
            }
            Event::EarlierReleasesTaken { service, releases } => {
                let known =
                    self.services.get_mut(service).ok_or_else(|| format!("no service `{service}`"))?;
                Arc::make_mut(known).earlier.extend(releases.clone());
                Ok(())
            }
            Event::ManifestKept { service, manifest, bytes, .. } => {
                let known =
                    self.services.get_mut(service).ok_or_else(|| format!("no service `{service}`"))?;
                let known = Arc::make_mut(known);
                known.leave_manifest(at);
                let by = recorded.actor.clone();
                known.manifests.push(KeptManifest { digest: *manifest, bytes: *bytes, by, at, until: None });
                Ok(())
            }
            Event::ManifestLeft { service, .. } => {
                let known =
                    self.services.get_mut(service).ok_or_else(|| format!("no service `{service}`"))?;
                Arc::make_mut(known).leave_manifest(at);
                Ok(())
            }
            Event::ServiceRemoved { service, .. } => {
                let known =
                    self.services.get_mut(service).ok_or_else(|| format!("no service `{service}`"))?;
                let known = Arc::make_mut(known);
                known.removed = Some(at);
                // Who registers it again says which manifest counts.
                known.leave_manifest(at);
                Ok(())
            }
            Event::EnvironmentRemoved { environment, .. } => match self.environments.remove(environment) {
                Some(_) => {
                    host::leave(&mut self.hosts, environment);
                    Ok(())
                }
                None => Err(format!("no environment `{environment}`")),
            },
            Event::VersionRecorded { service, version } => self.record_version(service, version),
            Event::EvidenceAdded { version, evidence } => self.with_version(version, |version| {
                version.evidence.push(evidence.clone());
            }),
            Event::Approved { version, approval } => self.with_version(version, |version| {
                version.approvals.push(approval.clone());
            }),
            Event::StageChanged { version, to, .. } => self.with_version(version, |version| {
                version.stage = to.clone();
                version.stage_since = at;
            }),
            Event::GatewayAdded { gateway, .. } if self.gateways.contains_key(gateway) => {
                Err(format!("gateway `{gateway}` exists already"))
            }
            Event::GatewayAdded { gateway, environments, key } => {
                let (environments, by) = (environments.clone(), recorded.actor.clone());
                let identity =
                    GatewayIdentity { environments, key: *key, record: recorded.seq, added: at, by };
                self.gateways.insert(gateway.clone(), Arc::new(identity));
                Ok(())
            }
            Event::WatchingSet { what, name, settings, reason } => {
                let (settings, reason) = (settings.clone(), reason.clone());
                let kept = KeptWatching { settings, at, by: recorded.actor.clone(), reason };
                self.watching.set(*what, name.clone(), kept);
                Ok(())
            }
            Event::WatchingRemoved { what, name, .. } => self.watching.remove(*what, name),
            Event::GatewayRemoved { gateway } => match self.gateways.remove(gateway) {
                Some(_) => Ok(()),
                None => Err(format!("no gateway `{gateway}`")),
            },
            Event::HostAdded { .. }
            | Event::HostChanged { .. }
            | Event::HostTurned { .. }
            | Event::HostRemoved { .. } => host::fold(&mut self.hosts, recorded),
            Event::OperationBegun { operation } => self.begin(operation),
            Event::CertificateSecretsRemoved { secrets } => {
                for name in secrets {
                    self.spent.remove(name);
                }
                Ok(())
            }
            event => self.take_in_environment(event, recorded),
        }
    }

    fn record_version(&mut self, service: &ServiceName, version: &Version) -> Result<(), String> {
        let service = self.services.get_mut(service).ok_or_else(|| format!("no service `{service}`"))?;
        if service.versions.contains_key(&version.number) {
            return Err(format!("`{}@{}` is recorded already", service.name, version.number));
        }
        let service = Arc::make_mut(service);
        service.versions.insert(version.number.clone(), Arc::new(version.clone()));
        Ok(())
    }

    fn with_version(
        &mut self,
        reference: &VersionRef,
        change: impl FnOnce(&mut Version),
    ) -> Result<(), String> {
        let missing = || format!("no version `{reference}`");
        let service = self.services.get_mut(&reference.service).ok_or_else(missing)?;
        let version = Arc::make_mut(service).versions.get_mut(&reference.version).ok_or_else(missing)?;
        change(Arc::make_mut(version));
        Ok(())
    }

    fn with_environment(
        &mut self,
        name: &EnvironmentName,
        change: impl FnOnce(&mut Environment) -> Result<(), String>,
    ) -> Result<(), String> {
        let environment =
            self.environments.get_mut(name).ok_or_else(|| format!("no environment `{name}`"))?;
        change(Arc::make_mut(environment))
    }

    fn begin(&mut self, operation: &Operation) -> Result<(), String> {
        if operation.id.0 != self.operations + 1 {
            return Err(format!("operation {} was expected, not {}", self.operations + 1, operation.id));
        }
        self.with_environment(&operation.environment, |environment| {
            if let Some(busy) = environment.touching(&operation.touches()).next() {
                return Err(format!("operation {} is under way with the same service", busy.id));
            }
            let current = environment.baselines.current().number;
            if operation.plan.parent != current {
                return Err(format!(
                    "the plan starts from baseline {}, not from {current}",
                    operation.plan.parent
                ));
            }
            for new in operation.plan.new_configurations() {
                environment.configure(new, operation.begun);
            }
            if let Some(new) = &operation.plan.replicas {
                environment.set_count(new, new.replicas);
            }
            let ends = |rule: &VersionRule| operation.plan.rules_ended.contains(&rule.number);
            let because = format!("operation {} ({})", operation.id, operation.intent);
            environment.version_rules.end(ends, (&operation.actor, operation.begun), &because);
            environment.begin_operation(Arc::new(operation.clone()));
            Ok(())
        })?;
        self.operations = operation.id.0;
        Ok(())
    }

    fn take_in_environment(&mut self, event: &Event, recorded: &Recorded) -> Result<(), String> {
        let at = recorded.at;
        let Some(name) = event.environment() else { return Ok(()) };
        let services = self.services.clone();
        self.with_environment(name, |environment| match event {
            Event::EnvironmentChanged { settings, .. } => {
                environment.take_settings(settings, &recorded.actor, at);
                Ok(())
            }
            Event::FaultsChanged { faults, .. } => {
                environment.settings.gateway_rules.faults.clone_from(faults);
                Ok(())
            }
            Event::WavePrepared { operation, wave, proof, .. } => {
                environment.prove(*operation, proof);
                advance(environment, *operation, Phase::Preparing { wave: *wave, since: at })
            }
            Event::WaveShifted { operation, wave, step, .. } => {
                advance(environment, *operation, Phase::Shifted { wave: *wave, step: *step, since: at })
            }
            Event::ResourceSet { resource, kind, origin, .. } => {
                let resource_set = Resource { kind: *kind, origin: origin.clone(), record: recorded.seq };
                environment.resources.insert(resource.clone(), resource_set);
                Ok(())
            }
            Event::ResourceRemoved { resource, .. } => environment.remove_resource(resource, &services),
            Event::StartMeasured { arm, ms, .. } => {
                environment.note_start(arm, *ms);
                Ok(())
            }
            Event::StepWaits { operation, missing, .. }
            | Event::ResourceAwaited { operation, missing, .. }
            | Event::HostAwaited { operation, missing, .. } => {
                environment.wait(*operation, missing, at);
                Ok(())
            }
            Event::StepAccepted { operation, step, despite, known, reason, .. } => {
                let (by, despite) = (recorded.actor.clone(), despite.clone());
                let (step, known, reason) = (*step, known.clone(), reason.clone());
                environment.accept(*operation, Acceptance { step, by, at, despite, known, reason })
            }
            Event::JobBegun { operation, instance, .. } => {
                let run = JobRun { instance: instance.clone(), begun: at, end: None };
                environment.begin_job(*operation, run)?;
                begin(&services, environment, *operation);
                Ok(())
            }
            Event::JobEnded { operation, instance, failure, told, .. } => {
                let seen =
                    seen(&services, environment, *operation, (told.as_deref(), failure.as_deref()), at);
                environment.databases.extend(seen);
                let untouched = told.as_ref().is_some_and(|told| told.untouched);
                environment.end_job(*operation, instance, JobEnd { at, failure: failure.clone(), untouched })
            }
            Event::ScheduleChanged { service, job, schedule, since, .. } => {
                environment.with_scheduled((service, job), |it| it.watch(schedule.as_ref(), *since));
                Ok(())
            }
            Event::ScheduledRunBegun { planned, due, instance, .. } => {
                let outcome = Outcome::Ran(JobRun { instance: instance.clone(), begun: at, end: None });
                decide(environment, ScheduledRun { due: *due, planned: planned.clone(), outcome })
            }
            Event::ScheduledRunSkipped { planned, due, reason, .. } => {
                let outcome = Outcome::Skipped(Skip { at, reason: reason.clone() });
                decide(environment, ScheduledRun { due: *due, planned: planned.clone(), outcome })
            }
            Event::ScheduledRunEnded { service, job, instance, failure, .. } => {
                let end = JobEnd { at, failure: failure.clone(), untouched: false };
                environment.with_scheduled((service, job), |it| it.end(instance, end))
            }
            Event::OperationReverting { operation, cause, blamed, .. } => {
                let (cause, blamed) = (cause.clone(), blamed.clone());
                let taken_back = environment.find_operation(*operation).cloned();
                let moves: Vec<Move> = taken_back.iter().flat_map(|it| it.plan.moves()).cloned().collect();
                let because = format!("operation {operation} was taken back");
                environment.end_rules_to(&moves, &recorded.actor, at, &because);
                advance(environment, *operation, Phase::Reverting { cause, blamed, since: at })
            }
            Event::OperationDone { operation, baseline, proof, .. } => {
                environment.prove(*operation, proof);
                finish(environment, &services, (*operation, *baseline), at)
            }
            Event::OperationReverted { operation, .. } => take_back(environment, *operation, at),
            Event::BaselineProven { baseline, since, seen_ms, requests, failures, unasked, .. } => {
                let (since, seen_ms, unasked) = (*since, *seen_ms, unasked.clone());
                let (requests, failures) = (*requests, *failures);
                environment.note_proven(*baseline, Proof { at, since, seen_ms, requests, failures, unasked })
            }
            Event::VersionSaid { arm, said, .. } => {
                environment.hear(arm, said, at);
                Ok(())
            }
            Event::InstanceDismissed { instance, .. } => {
                environment.dismiss(instance);
                Ok(())
            }
            Event::SecretRevoked { secret, reason, .. } => {
                let (by, reason) = (recorded.actor.clone(), reason.clone());
                environment.revoke(secret, &Revocation { at, by, reason });
                environment.end_rules_with_secret(secret, &recorded.actor, at);
                Ok(())
            }
            Event::HoldPlaced { version, hold, .. } => {
                environment.holds.insert(version.clone(), hold.clone());
                environment.end_rules_to_held(version, &recorded.actor, at);
                Ok(())
            }
            Event::HoldReleased { version, .. } => {
                environment.holds.remove(version);
                Ok(())
            }
            Event::VersionRuleAdded { service, version, config, takes, reason, .. } => {
                let new = NewRule { service, version, config: *config, takes, reason };
                environment.version_rules.add(new, recorded.seq, (&recorded.actor, at))
            }
            Event::VersionRuleRemoved { rule, found, reason, .. } => {
                environment.version_rules.find(*rule).ok_or_else(|| format!("no rule {rule}"))?;
                environment.version_rules.end(|it| it.number == *rule, (&recorded.actor, at), reason);
                environment.version_rules.note_found(*rule, found.as_deref());
                Ok(())
            }
            Event::LaneBegun { lane, .. } => {
                environment.version_rules.begin_lane(lane, recorded.seq, (&recorded.actor, at))
            }
            Event::LaneEnded { lane, reason, .. } => {
                environment.version_rules.lanes.find(lane).ok_or_else(|| format!("no lane `{lane}`"))?;
                let is_meant = |rule: &VersionRule| rule.lane() == Some(lane);
                environment.version_rules.end(is_meant, (&recorded.actor, at), reason);
                Ok(())
            }
            Event::CertificateAdded { certificate, facts, secret, .. } => {
                let (facts, secret, by) =
                    (CertificateFacts::clone(facts), secret.clone(), recorded.actor.clone());
                environment.certificates.insert(certificate.clone(), Certificate { facts, secret, at, by });
                Ok(())
            }
            Event::CertificateRemoved { certificate, .. } => {
                let removed = environment.certificates.remove(certificate);
                environment.automatic.remove(certificate);
                removed.map(|_| ()).ok_or_else(|| format!("no certificate `{certificate}`"))
            }
            Event::CertificateRequested { certificate, request, .. } => {
                let asked = Automatic::begin(AcmeRequest::clone(request), at, recorded.actor.clone());
                environment.automatic.insert(certificate.clone(), asked);
                Ok(())
            }
            Event::CertificateOrderProgressed { certificate, progress, .. } => {
                let known = environment.automatic.get_mut(certificate);
                known.ok_or_else(|| format!("`{certificate}` was not requested"))?.progress =
                    Progress::clone(progress);
                Ok(())
            }
            Event::CertificateRequestEnded { certificate, .. } => {
                let ended = environment.automatic.remove(certificate);
                ended.map(|_| ()).ok_or_else(|| format!("`{certificate}` was not requested"))
            }
            _ => Ok(()),
        })
    }

    /// Returns an environment.
    #[must_use]
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Arc<Environment>> {
        self.environments.get(name)
    }

    /// Returns a service that was not removed, by any of its names.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.known_service(name).filter(|service| service.removed.is_none())
    }

    /// Returns a service by any of its names, also one that was removed.
    #[must_use]
    pub fn known_service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(self.current_name(name))
    }

    /// Returns a version.
    #[must_use]
    pub fn version(&self, reference: &VersionRef) -> Option<&Arc<Version>> {
        self.find_version(&reference.service, &reference.version)
    }

    /// Returns a version by its parts.
    #[must_use]
    pub fn find_version(&self, service: &ServiceName, version: &VersionNumber) -> Option<&Arc<Version>> {
        self.known_service(service)?.versions.get(version)
    }

    /// Finds an operation of any environment.
    #[must_use]
    pub fn find_operation(&self, id: OperationId) -> Option<&Arc<Operation>> {
        self.environments.values().find_map(|environment| environment.find_operation(id))
    }

    /// Returns the lifecycle of a service; the standard one where it was never defined.
    #[must_use]
    pub fn lifecycle_of(&self, service: &ServiceName) -> Arc<Lifecycle> {
        let name = self.known_service(service).map(|service| &service.lifecycle);
        name.and_then(|name| self.lifecycles.get(name))
            .cloned()
            .unwrap_or_else(|| Arc::new(Lifecycle::standard()))
    }
}

fn decide(environment: &mut Environment, run: ScheduledRun) -> Result<(), String> {
    let (service, job) = (run.planned.arm.service.clone(), run.planned.job.clone());
    if let (Some(_), Some(operation)) = (run.run(), environment.running_in(&service, &job)) {
        return Err(format!("a run of job `{job}` of {service} goes on in operation {operation}"));
    }
    environment.with_scheduled((&service, &job), |it| it.decide(run))
}

fn advance(environment: &mut Environment, operation: OperationId, phase: Phase) -> Result<(), String> {
    if environment.set_phase(operation, phase) {
        Ok(())
    } else {
        Err(format!("operation {operation} is not under way in `{}`", environment.name))
    }
}

/// Makes what the plan changes a new baseline, and keeps what it came from warm where the plan says so. Others may have made
/// baselines of other services since it was planned, so its target as a whole is not what runs now.
fn finish(
    environment: &mut Environment,
    services: &OrdMap<ServiceName, Arc<Service>>,
    (id, baseline): (OperationId, u64),
    at: Timestamp,
) -> Result<(), String> {
    let under_way = environment.under_way().find(|operation| operation.id == id);
    let moves = under_way.is_some_and(|operation| !operation.plan.moves_nothing());
    let expected = environment.baselines.current().number + u64::from(moves);
    if baseline != expected {
        return Err(format!("baseline {expected} was expected, not {baseline}"));
    }
    advance(environment, id, Phase::Done { baseline, at })?;
    let operation = environment.settle_operation(id).expect("`advance` found the operation");
    for arm in operation.plan.moves().filter_map(Move::to_arm) {
        environment.warm.remove(&arm);
        environment.prepared.remove(&arm);
    }
    if operation.plan.leaving == Leaving::Warm {
        let left = operation.plan.moves().filter(|part| !part.gives_way()).filter_map(Move::from_arm);
        // What works although nobody asks it would go on doing so beside its successor.
        let rests = |arm: &crate::instance::Arm| {
            let version = services.get(&arm.service).and_then(|service| service.versions.get(&arm.version));
            version.is_none_or(|version| version.run.rests_unasked())
        };
        left.filter(rests).for_each(|arm| environment.keep_warm(&arm, at));
        let works = |arm: &crate::instance::Arm| {
            let version = services.get(&arm.service).and_then(|service| service.versions.get(&arm.version));
            version.is_some_and(|version| has_workers(version))
        };
        let left = operation.plan.moves().filter_map(Move::from_arm);
        left.filter(works).for_each(|arm| environment.keep_prepared(&arm, at));
    }
    if moves {
        let changes = changes_of(environment, &operation.plan)?;
        let entries = apply(environment.entries(), &changes);
        environment.baselines.push(id, at, entries);
    }
    Ok(())
}

/// What a plan changes of the baseline that it was made from.
fn changes_of(environment: &Environment, plan: &Plan) -> Result<Vec<EntryChange>, String> {
    let parent = environment.baselines.get(plan.parent);
    let parent = parent.ok_or_else(|| format!("there is no baseline {}", plan.parent))?;
    Ok(difference(&parent.entries, &plan.target))
}

fn take_back(environment: &mut Environment, id: OperationId, at: Timestamp) -> Result<(), String> {
    let under_way = environment.under_way().find(|operation| operation.id == id);
    let reverted = match under_way.map(|operation| &operation.phase) {
        Some(Phase::Reverting { cause, blamed, .. }) => {
            Phase::Reverted { cause: cause.clone(), blamed: blamed.clone(), at }
        }
        _ => return Err(format!("operation {id} is not being taken back")),
    };
    advance(environment, id, reverted)?;
    let operation = environment.settle_operation(id);
    if let Some(new) = operation.and_then(|operation| operation.plan.replicas.clone()) {
        environment.set_count(&new, new.before);
    }
    Ok(())
}

/// Returns what follows from an event that was just folded in. What follows has consequences of its own.
#[must_use]
pub fn consequences(world: &World, event: &Event, now: Timestamp) -> Vec<Event> {
    match event {
        Event::VersionRecorded { service, version } => {
            let version = VersionRef { service: service.clone(), version: version.number.clone() };
            stage_events(world, &version, None, now)
        }
        Event::EvidenceAdded { version, .. } | Event::Approved { version, .. } => {
            stage_events(world, version, None, now)
        }
        Event::OperationBegun { operation } => operation
            .plan
            .moves()
            .filter_map(|part| Some(part.to_arm()?.version_ref()))
            .flat_map(|version| stage_events(world, &version, Some(&operation.environment), now))
            .collect(),
        Event::OperationDone { operation, .. } => {
            let operation =
                world.find_operation(*operation).filter(|operation| proves_at_once(world, operation));
            operation.map(|operation| ran_evidence(operation, now)).unwrap_or_default()
        }
        Event::VersionRuleRemoved { environment, rule, found: Some(found), .. } => {
            mirror_evidence(world, environment, *rule, found, now).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the stages that a version enters now: every next one whose gates are open and whose entry is automatic, or
/// which the deployment to `deployed_to` opens.
#[must_use]
pub fn stage_events(
    world: &World,
    reference: &VersionRef,
    deployed_to: Option<&EnvironmentName>,
    now: Timestamp,
) -> Vec<Event> {
    let Some(version) = world.version(reference) else { return Vec::new() };
    let lifecycle = world.lifecycle_of(&reference.service);
    let mut version = Version::clone(version);
    let mut events = Vec::new();
    while let Some(next) = lifecycle.after(&version.stage) {
        let reason = match (&next.entry, deployed_to) {
            (Entry::Automatic, _) => lifecycle.why_open(&version, next),
            (Entry::OnDeploy { environment }, Some(target)) if environment == target => {
                format!("it goes to {target}")
            }
            _ => break,
        };
        if !lifecycle.closed_gates(&version, next, now).is_empty() {
            break;
        }
        let from = std::mem::replace(&mut version.stage, next.name.clone());
        version.stage_since = now;
        events.push(Event::StageChanged { version: reference.clone(), from, to: next.name.clone(), reason });
    }
    events
}

/// Makes the evidence of a mirror that was just ended.
fn mirror_evidence(
    world: &World,
    environment: &EnvironmentName,
    rule: u32,
    found: &MirrorCounts,
    at: Timestamp,
) -> Option<Event> {
    let ended = &world.environment(environment)?.version_rules.ended;
    let version = ended.iter().rev().find(|it| it.rule.number == rule)?.rule.arm().version_ref();
    let evidence = found.evidence(environment, at)?;
    Some(Event::EvidenceAdded { version, evidence })
}

/// Tells whether an environment asks for no time: there, having come is having stayed. Elsewhere see [`crate::stay`].
fn proves_at_once(world: &World, operation: &Operation) -> bool {
    world.environment(&operation.environment).is_some_and(|environment| environment.settings.stay_ms == 0)
}

/// Makes the evidence that the versions of an operation stayed in an environment. What only has jobs has not run before one of them has.
fn ran_evidence(operation: &Operation, at: Timestamp) -> Vec<Event> {
    operation
        .plan
        .moves()
        .filter(|part| part.has_instances())
        .filter_map(|part| Some(part.to_arm()?.version_ref()))
        .map(|version| Event::EvidenceAdded {
            version,
            evidence: Evidence::ran_in(&operation.environment, at),
        })
        .collect()
}
