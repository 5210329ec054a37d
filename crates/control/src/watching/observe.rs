//! What is seen at one look, for [`lockstep_monitor`]: read from the world, the drivers and the gateways. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_api::types::CheckView;
use lockstep_domain::environment::Environment;
use lockstep_domain::host::Stance;
use lockstep_domain::intent::Intent;
use lockstep_domain::operation::{Operation, Phase};
use lockstep_domain::readiness::{ServiceReadiness, Standing};
use lockstep_domain::reconcile::wanted;
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::watch::latency_bound_ms;
use lockstep_domain::{Arm, GatewayName, Instance, InstanceState, ServiceName, Timestamp, World};
use lockstep_files::whole::{Room, file_system_of};
use lockstep_hosts::gateway::host_of;
use lockstep_monitor::Observation;
use lockstep_monitor::seen::{
    self, ArmSeen, CertificateSeen, Counters, DiskSeen, EnvironmentSeen, FailedVersion, GatewaySeen,
    HostSeen, InstanceSeen, OperationPhase, OperationSeen, Seen, ServiceSeen, Way, WayBackSeen,
};

use lockstep_registry::LatencyCounts;

use super::Memory;
use super::changes::Changes;
use crate::{Control, lock};

/// An operation that was taken back is told of for so long, unless something else was decided about its services.
const REVERTED_FOR_MS: u64 = 24 * 60 * 60 * 1_000;
/// A connection that breaks is made anew within a moment: a host is away from here on.
const AWAY_FROM_MS: u64 = 30_000;
/// For so long there may be no instance of a version at all: what is decided is started within a moment.
pub(super) const VACANT_FOR: Duration = Duration::from_secs(10);
/// Operations that are over and are looked at for that.
const MAX_LOOKED_AT: usize = 200;
/// Longest reason that is taken along.
const MAX_REASON: usize = 300;

impl Control {
    /// Looks at everything.
    pub(super) fn observe(&self, memory: &mut Memory) -> Observation {
        let (now, world) = self.ledger.look();
        let looked = world.environments.values().map(|environment| {
            let name = environment.name.to_string();
            (name, self.environment_seen(&world, environment, now, memory))
        });
        Observation {
            at_ms: now.0,
            environments: Seen::Is(looked.collect()),
            hosts: Seen::Is(self.hosts_seen(&world, now)),
            certificates: Seen::Is(certificates(&world)),
            server_disk: self.disk(),
        }
    }

    fn environment_seen(
        &self,
        world: &World,
        environment: &Environment,
        now: Timestamp,
        memory: &mut Memory,
    ) -> EnvironmentSeen {
        EnvironmentSeen {
            services: Seen::Is(self.services_seen(world, environment, now, memory)),
            operations: Seen::Is(operations(environment, now, &lock(&self.watching.reading))),
            gateways: Seen::Is(self.gateways_seen(world, environment, now, memory)),
        }
    }

    fn services_seen(
        &self,
        world: &World,
        environment: &Environment,
        now: Timestamp,
        memory: &mut Memory,
    ) -> BTreeMap<String, ServiceSeen> {
        let all = self.instances_of(world, &environment.name);
        let wanted = wanted(world, environment);
        let counted = self.registry.counted(&environment.name);
        let took = match memory.bounds.is_empty() {
            true => BTreeMap::new(),
            false => self.registry.counted_latencies(&environment.name),
        };
        let calls = memory.calls(&environment.name, || self.call_book.graph(environment));
        let ways = self.follow_readiness(&environment.name);
        let ways = ways.borrow();
        let pages = &environment.settings.gateway_rules.maintenance;
        let is_closed = |service: &ServiceName| pages.iter().any(|page| page.is_of(service));
        let mut checks = checks_by_service(self.checks_of(&environment.name), is_closed);
        let mut of: BTreeMap<&ServiceName, Parts<'_>> = BTreeMap::new();
        for service in environment.entries().keys() {
            of.entry(service).or_default();
        }
        all.iter().for_each(|it| of.entry(&it.arm.service).or_default().instances.push(it));
        wanted.iter().for_each(|(arm, count)| of.entry(&arm.service).or_default().wanted.push((arm, *count)));
        for (arm, traffic) in &counted {
            let slower = took.get(arm).map(|counts| slower(counts, &memory.bounds)).unwrap_or_default();
            of.entry(world.current_name(&arm.service)).or_default().counted.push((arm, traffic, slower));
        }
        for way in ways.iter().flat_map(|view| &view.readiness.services) {
            of.entry(&way.service).or_default().way = Some(way);
        }
        let mut seen = BTreeMap::new();
        for (service, parts) in of.into_iter().filter(|(_, parts)| parts.is_there()) {
            let owner = world.service(service).and_then(|it| it.owner.clone());
            let of_service = ServiceSeen {
                owners: owner.into_iter().collect(),
                is_asked: parts.wanted.iter().any(|(arm, _)| is_asked(world, arm)),
                calls: calls.get(service).into_iter().flatten().map(ToString::to_string).collect(),
                arms: parts.arms(|arm, is_vacant| {
                    memory.is_vacant_long((&environment.name, service, arm), is_vacant)
                }),
                instances: Seen::Is(
                    parts.instances().into_iter().map(|it| memory.starting_since(it, now.0)).collect(),
                ),
                way_back: parts.way.map_or(Seen::Nothing, |way| Seen::Is(way_back(way))),
                checks: checks.remove(service).unwrap_or_default(),
            };
            seen.insert(service.to_string(), of_service);
        }
        seen
    }

    fn gateways_seen(
        &self,
        world: &World,
        environment: &Environment,
        now: Timestamp,
        memory: &mut Memory,
    ) -> Vec<GatewaySeen> {
        let late = self.registry.behind(&environment.name, now).into_iter().collect();
        memory.note_behind(&environment.name, late);
        let gateways = self.registry.gateways(&environment.name, now);
        let seen = gateways.into_iter().map(|it| {
            let behind = memory.behind_for(&environment.name, &it.gateway);
            let behind_ms = behind.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
            GatewaySeen {
                host: None,
                receipt_ms: Some(it.seen.0),
                behind_since_ms: behind_ms.map(|ms| now.0.saturating_sub(ms)),
                refused: it.refused.map(|refused| shortened(&refused.why)),
                name: it.gateway,
            }
        });
        seen.chain(self.silent_gateways(world, environment, now)).collect()
    }

    /// Gateways of their own that said nothing more, and not that they end: as long as they have a key, or their host is there.
    fn silent_gateways(&self, world: &World, environment: &Environment, now: Timestamp) -> Vec<GatewaySeen> {
        let silent = self.registry.silent(&environment.name, now);
        let seen = silent.into_iter().filter_map(|(name, at)| {
            let gateway: GatewayName = name.parse().ok()?;
            let host = host_of(&gateway);
            let is_of_host = host.as_ref().is_some_and(|host| world.hosts.contains_key(host));
            let has_key = world.gateways.get(&gateway);
            let has_key = has_key.is_some_and(|it| it.serves(world).any(|name| *name == environment.name));
            (is_of_host || has_key).then(|| GatewaySeen {
                name,
                host: host.map(|host| host.to_string()),
                receipt_ms: Some(at.0),
                behind_since_ms: None,
                refused: None,
            })
        });
        seen.collect()
    }

    fn hosts_seen(&self, world: &World, now: Timestamp) -> BTreeMap<String, HostSeen> {
        let rooms = self.hosts.rooms();
        let seen = world.hosts.iter().map(|(name, host)| {
            // Who empties a host is about to switch it off.
            let away = self.hosts.away(name);
            let away = away.filter(|(ms, _)| *ms >= AWAY_FROM_MS && host.stance != Stance::Draining);
            let seen = HostSeen {
                away_since_ms: away.as_ref().map(|(for_ms, _)| now.0.saturating_sub(*for_ms)),
                why: away.map(|(_, why)| shortened(&why)),
                disk: rooms.get(name).map_or(Seen::Nothing, |room| Seen::Is(disk(*room))),
            };
            (name.to_string(), seen)
        });
        seen.collect()
    }

    fn disk(&self) -> Seen<DiskSeen> {
        match file_system_of(&self.config.folder) {
            Ok(room) => Seen::Is(disk(room)),
            Err(error) => Seen::Failed(format!("the disk of the data folder: {error}")),
        }
    }
}

const fn disk(room: Room) -> DiskSeen {
    DiskSeen { free_bytes: room.free, size_bytes: room.size }
}

/// What is known of one service.
#[derive(Debug, Default)]
struct Parts<'a> {
    instances: Vec<&'a Instance>,
    /// How many instances of each arm should run now, by what is decided and how far that is.
    wanted: Vec<(&'a Arm, u32)>,
    /// What was counted of arms, with how many answers took longer than bounds.
    counted: Vec<(&'a Arm, &'a ArmTraffic, BTreeMap<u64, u64>)>,
    way: Option<&'a ServiceReadiness>,
}

impl Parts<'_> {
    /// Tells whether anything of it runs or should: what was counted of a service that is gone is of no interest.
    fn is_there(&self) -> bool {
        !(self.instances.is_empty() && self.wanted.is_empty() && self.way.is_none())
    }

    /// `may_alarm` tells of an arm, and of whether there is no instance of it at all, whether that is so for long enough to be a fault.
    fn arms(&self, mut may_alarm: impl FnMut(&Arm, bool) -> bool) -> BTreeMap<String, ArmSeen> {
        let mut seen: BTreeMap<String, ArmSeen> = BTreeMap::new();
        for (arm, count) in &self.wanted {
            let is_vacant = self
                .instances()
                .iter()
                .all(|it| it.version != named(arm) || it.state == seen::InstanceState::Leaving);
            let count = if may_alarm(arm, is_vacant) { *count } else { 0 };
            seen.entry(named(arm)).or_default().wanted += count;
        }
        for instance in self.instances.iter().filter(|it| !it.state.is_over()) {
            seen.entry(named(&instance.arm)).or_default();
        }
        for (name, arm) in &mut seen {
            let own = self.counted.iter().filter(|(counted, ..)| named(counted) == *name);
            let mut sum = Counters::default();
            for (_, traffic, slower) in own {
                sum.requests = sum.requests.saturating_add(traffic.requests);
                sum.failures = sum.failures.saturating_add(traffic.failures);
                for (bound, count) in slower {
                    let sum = sum.slower.entry(*bound).or_default();
                    *sum = sum.saturating_add(*count);
                }
            }
            arm.counters = Seen::Is(sum);
        }
        seen
    }

    /// An instance that failed is down as long as nobody took its place: what is over stays listed for a while.
    fn instances(&self) -> Vec<InstanceSeen> {
        let lacks = |arm: &Arm| {
            let wanted = self.wanted.iter().find(|(it, _)| *it == arm).map_or(0, |(_, count)| *count);
            let lives = |it: &&&Instance| {
                it.arm == *arm && !it.state.is_over() && it.state != InstanceState::Stopping
            };
            (self.instances.iter().filter(lives).count() as u32) < wanted
        };
        // Nobody waits for what is only kept warm.
        let is_wanted = |arm: &Arm| self.wanted.iter().any(|(it, _)| *it == arm);
        let seen = self.instances.iter().map(|it| {
            let seen = instance(it, lacks(&it.arm));
            if is_wanted(&it.arm) || !seen.state.is_down() {
                return seen;
            }
            InstanceSeen { state: seen::InstanceState::Leaving, restarts: 0, ..seen }
        });
        seen.collect()
    }
}

type Checks = BTreeMap<String, Vec<seen::CheckSeen>>;

/// What gateways say of checks, where that is not too long ago, and of the service and no page of maintenance.
fn checks_by_service(
    checks: Vec<CheckView>,
    is_closed: impl Fn(&ServiceName) -> bool,
) -> BTreeMap<ServiceName, Checks> {
    let mut of: BTreeMap<ServiceName, Checks> = BTreeMap::new();
    for CheckView { service, check, gateways } in checks {
        let of_service = gateways.into_iter().filter(|at| !at.is_stale && !is_closed(&service));
        let seen = of_service.filter_map(|at| {
            let last = at.last?;
            Some(seen::CheckSeen {
                gateway: at.gateway,
                request: check.request.to_string(),
                failed_in_a_row: at.failed_in_a_row,
                fault: last.fault.as_deref().map(shortened),
                version: last.version,
            })
        });
        let seen = seen.collect();
        of.entry(service).or_default().insert(check.name.clone(), seen);
    }
    of
}

/// Tells whether requests come to instances of an arm.
fn is_asked(world: &World, arm: &Arm) -> bool {
    let version = world.find_version(&arm.service, &arm.version);
    arm.process.is_none() && version.is_some_and(|version| version.run.kind.is_web())
}

/// Returns for each bound how many answers took longer to begin: bounds are those of classes.
fn slower(counts: &LatencyCounts, bounds: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let beyond = |bound: u64| {
        let classes = counts.iter().enumerate();
        let slow = classes.filter(|(class, _)| latency_bound_ms(*class).is_none_or(|until| until > bound));
        slow.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count))
    };
    bounds.iter().map(|bound| (*bound, beyond(*bound))).collect()
}

/// What people call a version with its configuration, and its process where that is not the main one.
pub(super) fn named(arm: &Arm) -> String {
    let config = if arm.config.0 == 0 { String::new() } else { format!(" (c{})", arm.config.0) };
    let process = arm.process.as_ref().map(|process| format!(" {process}")).unwrap_or_default();
    format!("{}{process}{config}", arm.version)
}

fn instance(instance: &Instance, is_lacking: bool) -> InstanceSeen {
    let (state, reason) = match &instance.state {
        InstanceState::Starting => (seen::InstanceState::Starting, None),
        InstanceState::Healthy => (seen::InstanceState::Healthy, None),
        InstanceState::Unhealthy { reason } => (seen::InstanceState::Unhealthy, Some(shortened(reason))),
        InstanceState::Failed { reason, .. } if is_lacking => {
            (seen::InstanceState::Failed, Some(shortened(reason)))
        }
        InstanceState::Failed { .. }
        | InstanceState::Stopping
        | InstanceState::Stopped
        | InstanceState::Completed => (seen::InstanceState::Leaving, None),
    };
    InstanceSeen {
        id: instance.id.to_string(),
        version: named(&instance.arm),
        host: instance.host.as_ref().map(ToString::to_string),
        state,
        since_ms: instance.since.0,
        restarts: instance.restarts,
        reason,
    }
}

/// The first line, and no more of that than a person reads.
fn shortened(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(MAX_REASON).collect()
}

fn way_back(way: &ServiceReadiness) -> WayBackSeen {
    match way.standing {
        Standing::First | Standing::Oldest => WayBackSeen::First,
        Standing::Open | Standing::UnderWay | Standing::NotProved => WayBackSeen::Open,
        Standing::Closed => {
            let reason = way.reasons.iter().find(|reason| reason.forbids).or(way.reasons.first());
            WayBackSeen::Closed {
                why: reason.map(|it| shortened(&it.what)).unwrap_or_default(),
                hint: reason.and_then(|it| it.hint.clone()),
            }
        }
    }
}

/// Operations under way, and the last one of each service where that was taken back.
fn operations(environment: &Environment, now: Timestamp, changes: &Changes) -> Vec<OperationSeen> {
    let mut decided: BTreeSet<ServiceName> = environment.under_way().flat_map(|it| it.touches()).collect();
    let mut seen: Vec<_> = environment.under_way().filter_map(|it| operation(it, changes)).collect();
    for over in environment.operations.iter().rev().take(MAX_LOOKED_AT) {
        let touched = over.touches();
        let is_news = touched.iter().any(|service| !decided.contains(service));
        decided.extend(touched);
        let is_lately =
            matches!(over.phase, Phase::Reverted { at, .. } if now.since_ms(at) <= REVERTED_FOR_MS);
        if is_news && is_lately {
            seen.extend(operation(over, changes));
        }
    }
    seen
}

fn operation(operation: &Operation, changes: &Changes) -> Option<OperationSeen> {
    let blamed = match &operation.phase {
        Phase::Reverting { blamed, .. } | Phase::Reverted { blamed, .. } => blamed.as_slice(),
        _ => &[],
    };
    let (phase, since) = phase(operation)?;
    let cause = match &phase {
        OperationPhase::Reverting { cause } | OperationPhase::Reverted { cause } => cause.clone(),
        _ => String::new(),
    };
    // What a version did itself: a disk that was full is no fault of it.
    let failed = blamed.iter().find(|blame| blame.fault.is_own()).map(|blame| FailedVersion {
        service: blame.arm.service.to_string(),
        version: named(&blame.arm),
        why: cause,
    });
    Some(OperationSeen {
        id: format!("operation {}", operation.id),
        what: operation.intent.to_string(),
        way: way(&operation.intent),
        services: operation.touches().iter().map(ToString::to_string).collect(),
        phase,
        since_ms: since.0,
        person: changes.person(operation.id).map(ToString::to_string),
        failed,
    })
}

/// How far an operation came, and since when; nothing where it is done.
fn phase(operation: &Operation) -> Option<(OperationPhase, Timestamp)> {
    let waits = |at: (usize, Option<usize>), since: Timestamp| {
        let waits = operation
            .waits
            .as_ref()
            .filter(|it| it.wave == at.0 && at.1.is_none_or(|step| it.step == step) && it.at >= since);
        match waits {
            Some(waits) => (OperationPhase::Waits { what: shortened(&waits.missing) }, waits.at),
            None => (OperationPhase::Goes, since),
        }
    };
    match &operation.phase {
        Phase::Preparing { wave, since } => Some(waits((*wave, None), *since)),
        Phase::Shifted { wave, step, since } => Some(waits((*wave, Some(*step)), *since)),
        Phase::Reverting { cause, since, .. } => {
            Some((OperationPhase::Reverting { cause: shortened(cause) }, *since))
        }
        Phase::Reverted { cause, at, .. } => {
            Some((OperationPhase::Reverted { cause: shortened(cause) }, *at))
        }
        Phase::Done { .. } => None,
    }
}

pub(crate) const fn way(intent: &Intent) -> Way {
    match intent {
        Intent::RollBackService { .. }
        | Intent::RollBackServices { .. }
        | Intent::RollBackEnvironment { .. }
        | Intent::RollBackToLastGood { .. }
        | Intent::Undo => Way::Back,
        _ => Way::Forward,
    }
}

fn certificates(world: &World) -> Vec<CertificateSeen> {
    let of = |environment: &Environment| {
        let all = environment.certificates.iter().map(|(name, certificate)| CertificateSeen {
            environment: environment.name.to_string(),
            name: name.to_string(),
            not_after_ms: certificate.facts.valid_until.0,
            not_renewed: environment.automatic.get(name).and_then(|it| it.progress.problem.clone()),
        });
        all.collect::<Vec<_>>()
    };
    world.environments.values().flat_map(|environment| of(environment)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_down_until_somebody_took_its_place() {
        let arm: Arm = serde_json::from_value(
            serde_json::json!({ "service": "orders", "version": "1.4.0", "config": 2, "process": "worker" }),
        )
        .unwrap();
        let failed =
            InstanceState::Failed { reason: "it ended".into(), fault: lockstep_domain::fault::Fault::Crash };
        let of_arm = |id, state| Instance { arm: arm.clone(), ..crate::testing::instance(id, state) };
        let (dead, new) = (of_arm("a", failed), of_arm("b", InstanceState::Starting));
        let mut parts = Parts { wanted: vec![(&arm, 1)], instances: vec![&dead], ..Parts::default() };
        assert_eq!(parts.instances()[0].state, seen::InstanceState::Failed);
        parts.instances.push(&new);
        assert_eq!(parts.instances()[0].state, seen::InstanceState::Leaving, "another one is there");
        assert_eq!(parts.arms(|_, _| true).keys().collect::<Vec<_>>(), ["1.4.0 worker (c2)"]);
    }
}
