//! Environments: creating them, their settings, and everything that is shown of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_api::types::{
    ArmStatus, BaselineDiff, BaselineView, ConfigurationView, CreateEnvironment, EnvironmentSummary,
    EnvironmentView, ExposedInstance, HeldVersion, History, LimitedArm, ProcessStatus, RemoveRequest,
    RevokeRequest, Revoked, ServiceDiff, ServiceStatus, SettingsChange, VariableDiff, WarmArm, WaysBack,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::baseline::{EntryChange, difference};
use lockstep_domain::clients_at::ClientsAt;
use lockstep_domain::environment::{EnvironmentSettings, STAY_MS};
use lockstep_domain::gateway_rules::{GatewayRules, MAX_TIMEOUT_MS, ViaField};
use lockstep_domain::injection::FaultInjection;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::intent::{ConfigValue, Configuration, DatabaseWish, FailureBound, Step};
use lockstep_domain::lane::LanesAccept;
use lockstep_domain::lost_host::LostHosts;
use lockstep_domain::name::ProcessName;
use lockstep_domain::observed::Observed;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{Refusal, kept_from_moving};
use lockstep_domain::proven::{MAX_PROVEN_MS, ProvenAfter, last_good, span};
use lockstep_domain::reconcile::{Look, waits_for};
use lockstep_domain::replicas::replicas;
use lockstep_domain::request_path::{FORMAT_WITH_PATH_FORMS, PathReading};
use lockstep_domain::routes::{FORMAT_WITH_MAINTENANCE, RouteTable};
use lockstep_domain::variables::{Revocation, revocable};
use lockstep_domain::version_rules::{VersionRule, VersionRules};
use lockstep_domain::watch::AnswerChecks;
use lockstep_domain::ways_back;
use lockstep_domain::{
    Actor, Arm, Baseline, CallAddress, ConfigRevision, Environment, EnvironmentName, Event, Instance, Intent,
    Operation, ServiceName, StageName, Strategy, Timestamp, World,
};

use crate::clock::wall;
use crate::entry::{changed_entry, check_change, check_entry};
use crate::gateway_ports::{GatewayPorts, ports_of};
use crate::gateways::keys_taken_along;
use crate::hosts::check_clients_at;
use crate::{Control, databases, internal, lock, not_found, ourselves, schedules, services, traffic};

/// Most environments: each has a gateway port and a reconciler.
pub(crate) const MAX_ENVIRONMENTS: usize = 100;
/// How long old instances stay where nobody said otherwise.
const WARM_MS: u64 = 30 * 60 * 1_000;
/// Longest time that a version must stay.
const MAX_STAY_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Longest warm time.
const MAX_WARM_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The canary of production where nobody said otherwise: shares in percent, and how long each is watched.
const PRODUCTION_STEPS: ([u32; 4], u64) = ([5, 25, 50, 100], 30_000);
/// Requests that a step there must have had: without them it waits and says so.
const PRODUCTION_REQUESTS: u64 = 100;
/// Baselines and reverted operations that a history shows.
const MAX_HISTORY: usize = 500;

impl Control {
    /// Records what every installation begins with: lifecycle, branch rules, development, staging and production.
    pub(crate) fn first_run(self: &Arc<Self>) -> Result<(), Problem> {
        if self.ledger.world().seq > 0 {
            return Ok(());
        }
        let ports = GatewayPorts::of(&self.config);
        let mut taken = BTreeSet::new();
        let mut events = Self::first_run_events();
        for (name, accepts_from) in
            [("development", "created"), ("staging", "testing"), ("production", "production-validation")]
        {
            let port = ports.free(&taken)?;
            taken.insert(port);
            let strategy = match name {
                "production" => production_strategy(),
                _ => Strategy::AllAtOnce,
            };
            let accepts_from = accepts_from.parse().map_err(internal)?;
            let settings = standard_settings(accepts_from, strategy, port);
            events.push(Event::EnvironmentCreated { environment: name.parse().map_err(internal)?, settings });
        }
        self.ledger.commit(&ourselves(), |_, _| Ok((events.clone(), ())))
    }

    /// Creates an environment.
    ///
    /// # Errors
    /// When it exists, or its settings are not usable.
    pub fn create_environment(
        self: &Arc<Self>,
        actor: &Actor,
        request: &CreateEnvironment,
    ) -> Result<EnvironmentView, Problem> {
        let first_stage: StageName = "created".parse().map_err(internal)?;
        let ports = GatewayPorts::of(&self.config);
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                if world.environments.contains_key(&request.name) {
                    let detail = format!("environment `{}` exists already", request.name);
                    return Err(Problem::new(ErrorCode::Conflict, detail));
                }
                if world.environments.len() >= MAX_ENVIRONMENTS {
                    let detail = format!("there are {MAX_ENVIRONMENTS} environments already");
                    return Err(Problem::new(ErrorCode::Refused, detail));
                }
                let port = match request.settings.gateway_port {
                    Some(port) => port,
                    None => ports.free(&ports_of(world))?,
                };
                let defaults = standard_settings(first_stage.clone(), Strategy::AllAtOnce, port);
                check_change(&defaults.entry, &request.settings.entry)?;
                let settings = changed(&defaults, &request.settings);
                check_settings(world, &request.name, &settings)?;
                check_clients_at(world, &request.name, request.settings.clients_at.as_ref())?;
                Ok((vec![Event::EnvironmentCreated { environment: request.name.clone(), settings }], ()))
            })
        })?;
        self.start_reconciler(request.name.clone());
        self.environment(&request.name)
    }

    /// Changes settings of an environment.
    ///
    /// # Errors
    /// When it does not exist, or the settings are not usable.
    pub fn change_environment(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        change: &SettingsChange,
    ) -> Result<EnvironmentView, Problem> {
        if !change.entry.is_nothing() {
            self.check_environment(name)?;
            self.check_knows_entry(name)?;
        }
        if change.fault_injection == Some(FaultInjection::Allow) {
            self.check_environment(name)?;
            self.check_knows_faults(name)?;
        }
        if change.entry.is_of_tcp() {
            self.check_knows_tcp(name)?;
        }
        if change.via == Some(ViaField::Omit) {
            self.check_environment(name)?;
            self.check_takes_format(name, FORMAT_WITH_MAINTENANCE, |gateway| {
                format!("gateway `{gateway}` of `{name}` is of a release that always adds itself to via")
            })?;
        }
        let reading = PathReading {
            form: change.path_form.unwrap_or_default(),
            escaped_slashes: change.escaped_slashes.unwrap_or_default(),
            parameters: change.path_parameters.unwrap_or_default(),
        };
        if !reading.is_usual() {
            self.check_environment(name)?;
            self.check_takes_format(name, FORMAT_WITH_PATH_FORMS, |gateway| {
                format!("gateway `{gateway}` of `{name}` is of a release that reads paths in one way alone")
            })?;
        }
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let environment = find(world, name)?;
                check_change(&environment.settings.entry, &change.entry)?;
                let settings = changed(&environment.settings, change);
                check_settings(world, name, &settings)?;
                check_clients_at(world, name, change.clients_at.as_ref())?;
                Ok((vec![Event::EnvironmentChanged { environment: name.clone(), settings }], ()))
            })
        })?;
        self.environment(name)
    }

    /// Removes an environment that runs nothing any more: its history, configurations, holds and keys of gateways go with it.
    ///
    /// # Errors
    /// When it does not exist, or something runs there.
    pub fn remove_environment(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &RemoveRequest,
    ) -> Result<(), Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let environment = find(world, name)?;
                self.check_empty(world, environment)?;
                let reason = request.reason.clone();
                let mut events = keys_taken_along(world, name);
                events.push(Event::EnvironmentRemoved { environment: name.clone(), reason });
                Ok((events, ()))
            })
        })?;
        self.wake(name);
        Ok(())
    }

    fn check_empty(&self, world: &World, environment: &Environment) -> Result<(), Problem> {
        let name = &environment.name;
        let refuse =
            |detail: String, hint: String| Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        if let Some(operation) = environment.under_way().next() {
            let detail =
                format!("operation {} ({}) is under way in `{name}`", operation.id, operation.intent);
            let id = operation.id;
            let hint = format!("lockstep watch {id}, or take it back: lockstep undo {name} --operation {id}");
            return refuse(detail, hint);
        }
        if !environment.entries().is_empty() {
            let services: Vec<_> = environment.entries().keys().map(ServiceName::as_str).collect();
            let detail = format!("`{name}` runs {}", services.join(", "));
            return refuse(detail, format!("take everything out first: lockstep rollback {name} --to 0"));
        }
        let instances = self.instances_of(world, name);
        match instances.iter().find(|instance| !instance.state.is_over()) {
            Some(instance) => refuse(
                format!("instance `{}` of `{name}` has not ended yet", instance.id),
                format!(
                    "run again when it has; what is warm ends with: lockstep environment set {name} --warm 0s"
                ),
            ),
            None => Ok(()),
        }
    }

    /// Lists environments.
    #[must_use]
    pub fn environments(&self) -> Vec<EnvironmentSummary> {
        let world = self.ledger.world();
        let summary = |environment: &Arc<Environment>| EnvironmentSummary {
            name: environment.name.clone(),
            settings: environment.settings.clone(),
            baseline: environment.baselines.current().number,
            services: environment.entries().len(),
            operation: environment.under_way().next().map(|operation| operation.id),
            under_way: environment.under_way().map(|operation| operation.id).collect(),
        };
        world.environments.values().map(summary).collect()
    }

    /// Looks whether there is an environment.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_environment(&self, name: &EnvironmentName) -> Result<(), Problem> {
        find(&self.ledger.world(), name).map(|_| ())
    }

    /// Shows an environment with everything seen of it.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn environment(&self, name: &EnvironmentName) -> Result<EnvironmentView, Problem> {
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        let baseline = environment.baselines.current();
        let deaf =
            lock(&self.deaf).get(name).map(|why| format!(" (not listening: {why})")).unwrap_or_default();
        let holds = environment.holds.iter();
        let first = environment.moving().next();
        let beside = environment.under_way().filter(|operation| Some(*operation) != first);
        Ok(EnvironmentView {
            name: name.clone(),
            settings: environment.settings.clone(),
            gateway: format!("{}{deaf}", self.gateway_url(environment)),
            entry: self.entry_view(environment),
            baseline: baseline.number,
            baseline_since: baseline.at,
            services: self.service_statuses(&world, environment),
            operation: first.map(|operation| (**operation).clone()),
            beside: beside.map(|operation| (**operation).clone()).collect(),
            waits_for: self.waits_for(&world, environment),
            resources: self.resources().views(&world, environment),
            version_rules: alone(&environment.version_rules).cloned().collect(),
            lanes: environment.version_rules.lanes.lanes.iter().cloned().collect(),
            holds: holds
                .map(|(version, hold)| HeldVersion { version: version.clone(), hold: hold.clone() })
                .collect(),
            gateways: self.gateway_views(name),
            data: tokio::task::block_in_place(|| self.data_folders_shown(name)),
            schedules: schedules::views(environment),
            databases: databases::views(&world, environment),
            exposed: tokio::task::block_in_place(|| self.exposed(&world, name)),
            limits: tokio::task::block_in_place(|| self.limited(&world, name)),
            unprotected: self.unprotected(),
        })
    }

    /// The instances of an environment that listen for more than their machine.
    fn exposed(&self, world: &World, name: &EnvironmentName) -> Vec<ExposedInstance> {
        let mut found = self.driver.exposed();
        let of = |instance: Instance| {
            let addresses = found.remove(&instance.id)?.into_iter().collect();
            Some(ExposedInstance { instance: instance.id, addresses })
        };
        self.everything_of(world, name).into_iter().filter_map(of).collect()
    }

    /// How versions are held to their limits there, and whom they run as, each way once.
    fn limited(&self, world: &World, name: &EnvironmentName) -> Vec<LimitedArm> {
        let mut found = self.driver.held();
        let of = |instance: Instance| {
            let on_host = || self.hosts.driver_of(&instance.id)?.held_of(&instance.id);
            let (held, user) = found.remove(&instance.id).or_else(on_host)?;
            Some(LimitedArm { arm: instance.arm, user, held })
        };
        let mut each: Vec<LimitedArm> = Vec::new();
        for limited in self.everything_of(world, name).into_iter().filter_map(of) {
            if !each.contains(&limited) {
                each.push(limited);
            }
        }
        each
    }

    /// Says what the verdicts on versions on trial miss now.
    fn waits_for(&self, world: &World, environment: &Environment) -> Vec<String> {
        if environment.under_way().next().is_none() {
            return Vec::new();
        }
        let now = self.ledger.now();
        let observed = self.judged(world, &environment.name, now);
        waits_for(Look { world, environment, observed: &observed, now, wall: wall() })
    }

    /// Returns what was observed and judged of an environment when its reconciler looked last.
    pub(crate) fn judged(&self, world: &World, name: &EnvironmentName, now: Timestamp) -> Observed {
        let mut observed = self.registry.seen(name, self.everything_of(world, name), now);
        if let Some(environment) = world.environment(name) {
            self.note_hosts(world, environment, &mut observed);
        }
        self.judging.show(name, &mut observed);
        self.working.show(name, &mut observed);
        observed
    }

    fn service_statuses(&self, world: &World, environment: &Environment) -> Vec<ServiceStatus> {
        let instances = self.as_known_now(self.instances_of(world, &environment.name));
        let table = self.registry.tables(&environment.name).borrow().clone();
        let totals = self.registry.totals(&environment.name);
        let running = instances.iter().map(|instance| instance.arm.service.clone());
        let services: BTreeSet<_> = environment.entries().keys().cloned().chain(running).collect();
        let arms = |service: &ServiceName| arms(world, service, table.as_ref(), &totals);
        let now = self.ledger.now();
        // What is kept warm and was not started again, after a start of the host for example, is cold.
        let runs = |arm: &Arm| instances.iter().any(|it| it.arm == *arm && it.state.is_healthy());
        services
            .into_iter()
            .map(|service| ServiceStatus {
                entry: environment.entries().get(&service).cloned(),
                replicas: live_replicas(world, environment, &service),
                processes: processes(world, environment, &service),
                work: self.work_told(&instances, &service),
                instances: of_service(&instances, &service),
                arms: arms(&service),
                external: self.external_status(world, environment, &service),
                warm: environment
                    .warm
                    .iter()
                    .filter(|(arm, until)| arm.service == service && now < **until && runs(arm))
                    .map(|(arm, until)| {
                        let left_ms = Some(until.since_ms(now));
                        WarmArm { arm: arm.clone(), until: *until, left_ms }
                    })
                    .collect(),
                prepared: self.prepared(world, environment, &service, now),
                service,
            })
            .collect()
    }

    /// Shows the states an environment really ran, and what was taken back.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn history(&self, name: &EnvironmentName) -> Result<History, Problem> {
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        let baselines = environment.baselines.newest_first().take(MAX_HISTORY);
        let reverted =
            environment.operations.iter().rev().filter(|o| matches!(o.phase, Phase::Reverted { .. }));
        let databases =
            environment.operations.iter().rev().filter(|it| it.phase.is_done() && changes_database(it));
        Ok(History {
            environment: name.clone(),
            databases: databases.take(MAX_HISTORY).map(|operation| (**operation).clone()).collect(),
            baselines: baselines.map(|baseline| baseline_view(environment, baseline)).collect(),
            proving: self.proofs.view(&world, environment),
            reverted: reverted.take(MAX_HISTORY).map(|operation| (**operation).clone()).collect(),
            rules: environment.version_rules.all().filter(|rule| rule.lane().is_none()).cloned().collect(),
            rules_ended: environment.version_rules.ended.iter().cloned().collect(),
            lanes: environment.version_rules.lanes.lanes.iter().cloned().collect(),
            lanes_ended: environment.version_rules.lanes.ended.iter().cloned().collect(),
            said: Self::said_changes(environment),
            maintenance: environment.maintenance_turns.iter().cloned().collect(),
        })
    }

    /// Lists what an environment, or one of its services, can go back to.
    ///
    /// # Errors
    /// When the environment or the service does not exist.
    pub fn ways_back(
        &self,
        name: &EnvironmentName,
        service: Option<&ServiceName>,
    ) -> Result<WaysBack, Problem> {
        let (now, world) = self.ledger.look();
        let environment = find(&world, name)?;
        if let Some(service) = service {
            services::find(&world, service)?;
        }
        let mut ways = self.with_host_of(&world, environment, now, |host| match service {
            Some(service) => ways_back::of_service(&world, environment, service, host),
            None => ways_back::of_environment(&world, environment, host),
        });
        if service.is_none() {
            let closed = self.closed_baselines(&world, environment, now);
            ways.iter_mut().filter(|way| way.refused.is_none()).for_each(|way| {
                way.refused = closed.get(&way.baseline).cloned();
            });
        }
        Ok(WaysBack {
            environment: name.clone(),
            baseline: environment.baselines.current().number,
            service: service.cloned(),
            runs: service.and_then(|service| environment.entries().get(service)).cloned(),
            ways: ways.into_iter().take(MAX_HISTORY).collect(),
            last_good: last_good(environment).ok().map(|baseline| baseline.number),
        })
    }

    /// Revokes values of a secret variable: they never come back by themselves.
    ///
    /// # Errors
    /// When there is no such value that is not revoked.
    pub fn revoke(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        service: &ServiceName,
        request: &RevokeRequest,
    ) -> Result<Revoked, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let environment = find(world, name)?;
                services::find(world, service)?;
                let secrets = revocable(environment, service, &request.key, request.revision)
                    .map_err(|why| not_found(why, &format!("lockstep config show {service} --env {name}")))?;
                let (revision, values) = in_force(environment, service);
                let uses =
                    |value: &ConfigValue| matches!(value, ConfigValue::Secret(s) if secrets.contains(s));
                let revoked = Revoked {
                    environment: name.clone(),
                    service: service.clone(),
                    key: request.key.clone(),
                    values: secrets.len(),
                    still_in_force: values.values().any(uses).then_some(revision),
                };
                let event = |secret: String| Event::SecretRevoked {
                    environment: name.clone(),
                    service: service.clone(),
                    key: request.key.clone(),
                    secret,
                    reason: request.reason.clone(),
                };
                Ok((secrets.iter().cloned().map(event).collect(), revoked))
            })
        })
    }

    /// Compares two baselines.
    ///
    /// # Errors
    /// When the environment or one of the baselines does not exist.
    pub fn diff(&self, name: &EnvironmentName, from: u64, to: u64) -> Result<BaselineDiff, Problem> {
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        let get = |number| {
            let hint = format!("lockstep history {name}");
            let missing = || not_found(format!("`{name}` has no baseline {number}"), &hint);
            environment.baselines.get(number).ok_or_else(missing)
        };
        let changes = difference(&get(from)?.entries, &get(to)?.entries);
        let services = changes
            .into_iter()
            .map(|change| ServiceDiff { variables: variables(environment, &change), change });
        Ok(BaselineDiff { environment: name.clone(), from, to, services: services.collect() })
    }

    /// Shows the configurations of a service.
    ///
    /// # Errors
    /// When the environment or the service does not exist.
    pub fn configuration(
        &self,
        name: &EnvironmentName,
        service: &ServiceName,
    ) -> Result<ConfigurationView, Problem> {
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        services::find(&world, service)?;
        let revisions = environment.configurations.get(service);
        Ok(ConfigurationView {
            service: service.clone(),
            environment: name.clone(),
            current: environment.configuration_in_force(service),
            revisions: revisions.map(|revisions| revisions.iter().cloned().collect()).unwrap_or_default(),
            revoked: revoked_of(environment, service),
        })
    }
}

pub(crate) fn find<'a>(world: &'a World, name: &EnvironmentName) -> Result<&'a Arc<Environment>, Problem> {
    let missing = || not_found(format!("there is no environment `{name}`"), "lockstep environments");
    world.environment(name).ok_or_else(missing)
}

/// How many instances of what is live of a service are wanted.
fn live_replicas(world: &World, environment: &Environment, service: &ServiceName) -> u32 {
    let entry = environment.entries().get(service);
    entry.map_or(environment.replicas_of(service), |it| replicas(world, environment, &it.arm(service)))
}

/// The processes of what is live of a service, where they have names.
fn processes(world: &World, environment: &Environment, service: &ServiceName) -> Vec<ProcessStatus> {
    let entry = environment.entries().get(service);
    let Some(version) = entry.and_then(|entry| world.find_version(service, &entry.version)) else {
        return Vec::new();
    };
    let status = |name: &ProcessName, is_main: bool| ProcessStatus {
        process: name.clone(),
        is_main,
        replicas: environment.count(service, Some(name).filter(|_| !is_main)),
    };
    let main = version.processes.main.iter().map(|name| status(name, true));
    main.chain(version.processes.others.keys().map(|name| status(name, false))).collect()
}

/// Tells whether as many instances of an arm are healthy as are wanted. What is to be kept warm and was not started again, after a
/// start of the host for example, is not.
pub(crate) fn is_ready(environment: &Environment, instances: &[Instance], arm: &Arm) -> bool {
    let healthy = instances
        .iter()
        .filter(|it| it.arm == *arm && it.state.is_healthy() && !environment.is_dismissed(&it.id));
    healthy.count() >= usize::try_from(environment.count_of(arm)).unwrap_or(usize::MAX)
}

/// Returns the configuration that a service runs with.
fn in_force(environment: &Environment, service: &ServiceName) -> (ConfigRevision, Configuration) {
    let revision = environment.configuration_in_force(service);
    (revision, environment.configuration(service, revision).unwrap_or_default())
}

fn revoked_of(environment: &Environment, service: &ServiceName) -> BTreeMap<String, Revocation> {
    let revisions = environment.configurations.get(service).into_iter().flatten();
    let names = revisions.flat_map(|revision| revision.values()).filter_map(|value| match value {
        ConfigValue::Secret(name) => Some(name),
        ConfigValue::Plain(_) | ConfigValue::Filled(_) => None,
    });
    names.filter_map(|name| Some((name.clone(), environment.revoked.get(name)?.clone()))).collect()
}

/// A canary that passes no step without evidence.
fn production_strategy() -> Strategy {
    let (percents, bake_ms) = PRODUCTION_STEPS;
    let steps = percents.map(|percent| Step { weight: percent * 100, bake_ms }).into();
    let bound = FailureBound { min_requests: PRODUCTION_REQUESTS, ..FailureBound::default() };
    Strategy::Canary { steps, bound }
}

fn standard_settings(accepts_from: StageName, strategy: Strategy, gateway_port: u16) -> EnvironmentSettings {
    let gateway_url = CallAddress::Server;
    let gateway_rules = GatewayRules::usual();
    EnvironmentSettings {
        accepts_from,
        lanes_accept: LanesAccept::default(),
        strategy,
        warm_ms: WARM_MS,
        stay_ms: STAY_MS,
        drain_ms: None,
        instance_ports: InstancePorts::Server,
        gateway_port,
        gateway_url,
        gateway_rules,
        entry: Box::default(),
        answer_checks: AnswerChecks::usual(),
        proven_after: ProvenAfter::default(),
        lost_hosts: LostHosts::default(),
        clients_at: ClientsAt::default(),
    }
}

fn changed(settings: &EnvironmentSettings, change: &SettingsChange) -> EnvironmentSettings {
    EnvironmentSettings {
        accepts_from: change.accepts_from.clone().unwrap_or_else(|| settings.accepts_from.clone()),
        lanes_accept: change.lanes_accept.clone().unwrap_or_else(|| settings.lanes_accept.clone()),
        strategy: change.strategy.clone().unwrap_or_else(|| settings.strategy.clone()),
        warm_ms: change.warm_ms.unwrap_or(settings.warm_ms),
        stay_ms: change.stay_ms.unwrap_or(settings.stay_ms),
        drain_ms: change.drain_ms.or(settings.drain_ms),
        gateway_port: change.gateway_port.unwrap_or(settings.gateway_port),
        instance_ports: change.instance_ports.unwrap_or(settings.instance_ports),
        gateway_url: change.gateway_url.clone().unwrap_or_else(|| settings.gateway_url.clone()),
        gateway_rules: changed_rules(&settings.gateway_rules, change),
        entry: Box::new(changed_entry(&settings.entry, &change.entry)),
        answer_checks: change.answer_checks.unwrap_or(settings.answer_checks),
        proven_after: ProvenAfter {
            ms: change.proven_ms.unwrap_or(settings.proven_after.ms),
            requests: change.proven_requests.unwrap_or(settings.proven_after.requests),
        },
        lost_hosts: LostHosts {
            before_switch: change.host_lost.unwrap_or(settings.lost_hosts.before_switch),
            evacuate_after: change.evacuate_after.unwrap_or(settings.lost_hosts.evacuate_after),
        },
        clients_at: change.clients_at.clone().unwrap_or_else(|| settings.clients_at.clone()),
    }
}

fn changed_rules(rules: &GatewayRules, change: &SettingsChange) -> GatewayRules {
    let networks = change.trusted_networks.clone();
    let fault_injection = change.fault_injection.unwrap_or(rules.fault_injection);
    GatewayRules {
        named_services: change.named_services.unwrap_or(rules.named_services),
        trusted_networks: networks.unwrap_or_else(|| rules.trusted_networks.clone()),
        timeout_ms: change.request_timeout_ms.or(rules.timeout_ms),
        fault_injection,
        // Who allows none any more wants all to end.
        faults: if fault_injection.is_refused() { Vec::new() } else { rules.faults.clone() },
        maintenance: rules.maintenance.clone(),
        via: change.via.unwrap_or(rules.via),
        path_form: change.path_form.unwrap_or(rules.path_form),
        escaped_slashes: change.escaped_slashes.unwrap_or(rules.escaped_slashes),
        path_parameters: change.path_parameters.unwrap_or(rules.path_parameters),
    }
}

fn check_settings(
    world: &World,
    name: &EnvironmentName,
    settings: &EnvironmentSettings,
) -> Result<(), Problem> {
    let refuse = |detail: String| Err(Problem::new(ErrorCode::Refused, detail));
    if let Err(error) = settings.strategy.check() {
        return refuse(error.to_string());
    }
    if settings.warm_ms > MAX_WARM_MS {
        return refuse("old instances cannot stay warm for more than 30 days".into());
    }
    if let Err(error) = settings.gateway_rules.check() {
        return refuse(error.to_string());
    }
    if settings.stay_ms > MAX_STAY_MS {
        return refuse("a version cannot be asked to stay for more than 30 days".into());
    }
    if settings.drain_ms.is_some_and(|drain_ms| drain_ms > MAX_TIMEOUT_MS) {
        return refuse("an instance cannot be given more than a day to finish".into());
    }
    if settings.proven_after.ms > MAX_PROVEN_MS {
        return refuse(format!("a baseline cannot be asked to serve for more than {}", span(MAX_PROVEN_MS)));
    }
    if !settings.lost_hosts.evacuate_after.is_usable() {
        return refuse(
            "a host can be evacuated by itself after 10s at least, and after a week at most".into(),
        );
    }
    if let Some(refusal) = kept_here(world, name, settings) {
        let problem = Problem::new(ErrorCode::Refused, refusal.to_string());
        return Err(refusal.hint().map_or(problem.clone(), |hint| problem.with_hint(hint)));
    }
    if settings.gateway_port == 0 {
        return refuse("port 0 is not a port".into());
    }
    let taken = world
        .environments
        .values()
        .find(|other| other.name != *name && has_port(other, settings.gateway_port));
    if let Some(other) = taken {
        return refuse(format!("port {} belongs to the gateway of `{}`", settings.gateway_port, other.name));
    }
    check_entry(world, name, settings)?;
    let is_known =
        |stage: &&StageName| world.lifecycles.values().any(|lifecycle| lifecycle.position(stage).is_some());
    let stages = std::iter::once(&settings.accepts_from).chain(settings.lanes_accept.stage());
    match stages.into_iter().find(|stage| !is_known(stage)) {
        Some(unknown) => {
            let known: BTreeSet<_> =
                world.lifecycles.values().flat_map(|it| &it.stages).map(|it| it.name.to_string()).collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            let detail = format!("no lifecycle has a stage `{unknown}`");
            Err(Problem::new(ErrorCode::Refused, detail)
                .with_hint(format!("there are {known}; in which order: lockstep lifecycle list")))
        }
        None => Ok(()),
    }
}

/// The rules that are of no lane.
pub(crate) fn alone(rules: &VersionRules) -> impl Iterator<Item = &VersionRule> {
    rules.rules.iter().filter(|rule| rule.lane().is_none())
}

fn has_port(environment: &Environment, port: u16) -> bool {
    crate::entry::ports_of(&environment.settings).any(|it| it == port)
}

/// Finds what runs and calls others by host and port, when the gateway is to be called on another machine.
fn kept_here(world: &World, name: &EnvironmentName, settings: &EnvironmentSettings) -> Option<Refusal> {
    let environment = world.environment(name)?;
    let moves = environment.settings.gateway_url != settings.gateway_url;
    moves.then(|| kept_from_moving(world, environment, &settings.gateway_url)).flatten()
}

fn of_service(instances: &[Instance], service: &ServiceName) -> Vec<Instance> {
    instances.iter().filter(|instance| instance.arm.service == *service).cloned().collect()
}

fn arms(
    world: &World,
    service: &ServiceName,
    table: Option<&RouteTable>,
    totals: &lockstep_registry::Totals,
) -> Vec<ArmStatus> {
    let routes = table.and_then(|table| table.services.get(service));
    let splits = routes.map(|routes| routes.splits.as_slice()).unwrap_or_default();
    splits
        .iter()
        .map(|split| {
            let arm = split.arm(service);
            ArmStatus { traffic: traffic::of_arm(world, totals, &arm), weight: split.weight, arm }
        })
        .collect()
}

/// Tells whether an operation did something at a database beside deployments, and did not only look.
fn changes_database(operation: &Operation) -> bool {
    matches!(&operation.intent, Intent::Database { wish, .. } if *wish != DatabaseWish::Look)
}

fn baseline_view(environment: &Environment, baseline: &Baseline) -> BaselineView {
    let operation = baseline.operation.and_then(|id| environment.find_operation(id));
    let parent = baseline.parent.and_then(|number| environment.baselines.get(number));
    let before = parent.map(|parent| parent.entries.clone()).unwrap_or_default();
    BaselineView {
        number: baseline.number,
        parent: baseline.parent,
        at: baseline.at,
        operation: baseline.operation,
        actor: operation.map(|operation| operation.actor.to_string()),
        intent: operation.map(|operation| operation.intent.to_string()),
        reason: operation.map(|operation| operation.reason.clone()).filter(|reason| !reason.is_empty()),
        entries: baseline.entries.iter().map(|(service, entry)| (service.clone(), entry.clone())).collect(),
        changes: difference(&before, &baseline.entries),
        proof: operation.map(|operation| operation.proof.clone()).unwrap_or_default(),
        proven: environment.proven.get(&baseline.number).cloned(),
        accepted: operation.map(|operation| operation.accepted.clone()).unwrap_or_default(),
    }
}

fn variables(environment: &Environment, change: &EntryChange) -> BTreeMap<String, VariableDiff> {
    let of = |entry: &Option<lockstep_domain::BaselineEntry>| -> Configuration {
        let revision = entry.as_ref().map(|entry| entry.config);
        revision.and_then(|revision| environment.configuration(&change.service, revision)).unwrap_or_default()
    };
    let (from, to) = (of(&change.from), of(&change.to));
    let keys: BTreeSet<_> = from.keys().chain(to.keys()).cloned().collect();
    keys.into_iter()
        .filter(|key| from.get(key) != to.get(key))
        .map(|key| {
            let diff = VariableDiff { from: from.get(&key).map(shown), to: to.get(&key).map(shown) };
            (key, diff)
        })
        .collect()
}

fn shown(value: &ConfigValue) -> String {
    match value {
        ConfigValue::Plain(text) | ConfigValue::Filled(text) => text.clone(),
        ConfigValue::Secret(name) => format!("(secret {})", name.chars().take(8).collect::<String>()),
    }
}
