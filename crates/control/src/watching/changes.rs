//! What changed, read from the journal: what a fault may come from, each with the command that takes it back, or that leads there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_domain::database::Act;
use lockstep_domain::host::Stance;
use lockstep_domain::injection::Fault;
use lockstep_domain::intent::Intent;
use lockstep_domain::name::ResourceName;
use lockstep_domain::operation::{Move, Operation};
use lockstep_domain::resource::needs::needed_by;
use lockstep_domain::{Actor, EnvironmentName, Event, OperationId, Recorded, ServiceName, Timestamp, World};
use lockstep_monitor::{Change, ChangeKind};

use crate::{Ledger, LedgerError};

/// Changes that are remembered, the newest.
const MAX_CHANGES: usize = 5_000;
/// How long changes are remembered.
const CHANGES_MS: u64 = 8 * 24 * 60 * 60 * 1_000;
/// Records of the journal that are read in one go.
const AT_ONCE: usize = 500;

/// What changed lately, and who took operations back.
#[derive(Debug, Default)]
pub(super) struct Changes {
    list: VecDeque<Change>,
    /// By operation.
    taken_back_by: BTreeMap<OperationId, Actor>,
    /// Up to which record the journal was read; nothing before the first time.
    read: Option<u64>,
}

impl Changes {
    /// Reads what was recorded since the last time. Tells whether anything changed.
    pub(super) fn read(&mut self, ledger: &Ledger) -> Result<bool, LedgerError> {
        let now_ms = ledger.now().0;
        let from_ms = now_ms.saturating_sub(CHANGES_MS);
        let mut read = match self.read {
            Some(read) => read,
            None => ledger.last_before(Timestamp(from_ms))?,
        };
        let before = (self.list.len(), read);
        loop {
            let recorded = ledger.events_after(read, AT_ONCE)?;
            let Some(last) = recorded.last().map(|last| last.seq) else { break };
            let world = ledger.world();
            recorded.iter().for_each(|recorded| self.take(&world, recorded));
            read = last;
        }
        self.read = Some(read);
        self.forget_before(from_ms);
        Ok(before != (self.list.len(), read))
    }

    /// Returns who took an operation back, where that was a person.
    pub(super) fn person(&self, operation: OperationId) -> Option<&Actor> {
        self.taken_back_by.get(&operation).filter(|actor| **actor != Actor::lockstep())
    }

    pub(super) fn list(&self) -> Vec<Change> {
        self.list.iter().cloned().collect()
    }

    fn take(&mut self, world: &World, recorded: &Recorded) {
        if let Event::OperationReverting { operation, .. } = &recorded.event {
            self.taken_back_by.insert(*operation, recorded.actor.clone());
        }
        let unsaid = self.unsaid(world, recorded);
        self.end(&recorded.event);
        self.list.extend(unsaid);
        let known = |found: &Change| {
            found.kind == ChangeKind::Injection && self.list.iter().any(|it| is_same(it, found))
        };
        let new: Vec<_> = changes(world, recorded).into_iter().filter(|found| !known(found)).collect();
        self.list.extend(new);
    }

    /// What an operation was to move that goes back before it moved anything.
    fn unsaid(&self, world: &World, recorded: &Recorded) -> Vec<Change> {
        let Event::OperationReverting { operation, .. } = &recorded.event else { return Vec::new() };
        let of_it = format!("operation {operation}: ");
        let Some(operation) = world.find_operation(*operation) else { return Vec::new() };
        if self.list.iter().any(|change| change.what.starts_with(&of_it)) {
            return Vec::new();
        }
        let at_ms = recorded.at.0;
        operation.plan.moves().map(|part| Change { at_ms, undo: None, ..moved(operation, part) }).collect()
    }

    /// What is over is no cause of what comes, and needs not be taken back again.
    fn end(&mut self, event: &Event) {
        match event {
            Event::FaultsChanged { environment, faults } => {
                let goes_on: Vec<Change> = faults.iter().map(|it| injected(environment, it)).collect();
                self.list.retain(|change| {
                    change.kind != ChangeKind::Injection
                        || change.environment.as_deref() != Some(environment.as_str())
                        || goes_on.iter().any(|it| is_same(it, change))
                });
            }
            Event::OperationReverting { operation, .. } => {
                let of_it = format!("operation {operation}: ");
                let own = self.list.iter_mut().filter(|change| change.what.starts_with(&of_it));
                own.for_each(|change| change.undo = None);
            }
            _ => {}
        }
    }

    fn forget_before(&mut self, from_ms: u64) {
        let is_old = |change: &Change| change.at_ms < from_ms;
        while self.list.len() > MAX_CHANGES || self.list.front().is_some_and(is_old) {
            self.list.pop_front();
        }
        while self.taken_back_by.len() > MAX_CHANGES {
            self.taken_back_by.pop_first();
        }
    }
}

/// Says what a record changed; nothing where it changed nothing that runs.
fn changes(world: &World, recorded: &Recorded) -> Vec<Change> {
    let event = &recorded.event;
    let mut found = match event {
        Event::OperationBegun { operation } if operation.plan.waves.iter().all(Vec::is_empty) => {
            whole(operation).into_iter().collect()
        }
        // From its first step on a version has requests.
        Event::WaveShifted { operation, wave, step: 0, .. } => {
            let operation = world.find_operation(*operation);
            let moves = operation.iter().flat_map(|it| it.plan.moves_of(*wave));
            operation.iter().flat_map(|it| moves.clone().map(|part| moved(it, part))).collect()
        }
        Event::JobEnded { operation, instance, failure: None, .. } => {
            migrated(world, *operation, instance.as_str()).into_iter().collect()
        }
        Event::OperationReverting { operation, .. } => taken_back(world, *operation),
        Event::FaultsChanged { environment, faults } => {
            faults.iter().map(|fault| injected(environment, fault)).collect()
        }
        Event::ResourceSet { environment, resource, .. } => of_resource(world, environment, resource, event),
        _ => beside(event),
    };
    for change in &mut found {
        change.at_ms = recorded.at.0;
        // What an operation does is the doing of who wanted it.
        change.who.get_or_insert_with(|| recorded.actor.to_string());
    }
    found
}

fn change(kind: ChangeKind, environment: Option<&EnvironmentName>, what: String) -> Change {
    Change {
        at_ms: 0,
        kind,
        environment: environment.map(ToString::to_string),
        service: None,
        version: None,
        host: None,
        what,
        who: None,
        undo: None,
        until_ms: None,
    }
}

fn who(operation: &Operation) -> Option<String> {
    Some(operation.actor.to_string())
}

/// An operation that moves no version: instances are started anew, or there are more or fewer of them.
fn whole(operation: &Operation) -> Option<Change> {
    let kind = match operation.intent {
        Intent::Scale { .. } => ChangeKind::Scale,
        Intent::Restart { .. } | Intent::Rebalance { .. } => ChangeKind::Restart,
        _ => return None,
    };
    let environment = &operation.environment;
    let undo = operation.plan.replicas.as_ref().map(|new| {
        let process = new.process.as_ref().map(|name| format!(" --process {name}")).unwrap_or_default();
        format!("lockstep scale {} {}{process} --env {environment}", new.service, new.before)
    });
    let service = operation.touches().into_iter().next().map(|service| service.to_string());
    let what = format!("operation {}: {}", operation.id, operation.intent);
    Some(Change { service, undo, who: who(operation), ..change(kind, Some(environment), what) })
}

fn moved(operation: &Operation, part: &Move) -> Change {
    let environment = &operation.environment;
    let what = format!("operation {}: {}", operation.id, operation.intent);
    let is_config =
        part.from.as_ref().zip(part.to.as_ref()).is_some_and(|(from, to)| from.version == to.version);
    let kind = match &operation.intent {
        _ if is_config => ChangeKind::Configuration,
        intent if super::way(intent) == lockstep_monitor::seen::Way::Back => ChangeKind::Rollback,
        _ if part.from.is_none() => ChangeKind::First,
        _ => ChangeKind::Deploy,
    };
    let service = &part.service;
    // Who went back knows why: the way forward again is nothing to type without a thought.
    let undo = part.from.as_ref().filter(|_| kind != ChangeKind::Rollback).map(|from| match is_config {
        true => format!("lockstep config use {service} --revision {} --env {environment}", from.config.0),
        false => format!("lockstep rollback {service} --to {} --env {environment}", from.version),
    });
    Change {
        service: Some(service.to_string()),
        version: part.to.as_ref().map(|to| super::observe::named(&to.arm(service))),
        undo,
        who: who(operation),
        ..change(kind, Some(environment), what)
    }
}

fn migrated(world: &World, operation: OperationId, run: &str) -> Option<Change> {
    let operation = world.find_operation(operation)?;
    let place: usize = run.rsplit_once('.')?.1.parse().ok()?;
    let planned = operation.plan.jobs.get(place)?;
    let database = planned.database.as_ref().filter(|it| changes_database(&it.act))?;
    let what = format!("operation {}: a step at database {} by {planned}", operation.id, database.database);
    let environment = &operation.environment;
    let undo = format!("lockstep database show {} --env {environment}", database.database);
    let service = Some(planned.arm.service.to_string());
    let found = change(ChangeKind::Migration, Some(environment), what);
    Some(Change { service, undo: Some(undo), who: who(operation), ..found })
}

/// Who only looks changes nothing.
const fn changes_database(act: &Act) -> bool {
    !matches!(act, Act::Look | Act::Accept | Act::Apply { through: None })
}

/// A resource is the matter of the services that need it, and of nobody else.
fn of_resource(
    world: &World,
    environment: &EnvironmentName,
    resource: &ResourceName,
    event: &Event,
) -> Vec<Change> {
    let found = world.environment(environment);
    let services: BTreeSet<ServiceName> = found
        .iter()
        .flat_map(|found| needed_by(world, found, resource))
        .map(|version| version.service)
        .collect();
    let of = |service: ServiceName| Change {
        service: Some(service.to_string()),
        ..change(ChangeKind::Resource, Some(environment), event.words())
    };
    services.into_iter().map(of).collect()
}

fn taken_back(world: &World, operation: OperationId) -> Vec<Change> {
    let Some(operation) = world.find_operation(operation) else { return Vec::new() };
    let what = format!("operation {} is taken back: {}", operation.id, operation.intent);
    let of = |service: &ServiceName| Change {
        service: Some(service.to_string()),
        ..change(ChangeKind::Rollback, Some(&operation.environment), what.clone())
    };
    operation.touches().iter().map(of).collect()
}

/// A fault on purpose; the command that ends it tells it from all others.
fn injected(environment: &EnvironmentName, fault: &Fault) -> Change {
    let event = Event::FaultsChanged { environment: environment.clone(), faults: vec![fault.clone()] };
    Change {
        service: Some(fault.service.to_string()),
        undo: Some(format!("lockstep fault remove {} --env {environment}", fault.number)),
        until_ms: Some(fault.until.0),
        ..change(ChangeKind::Injection, Some(environment), event.words())
    }
}

/// Tells whether two are one fault on purpose: numbers are given again.
fn is_same(one: &Change, other: &Change) -> bool {
    (&one.undo, one.until_ms) == (&other.undo, other.until_ms)
}

/// What changes something beside operations.
fn beside(event: &Event) -> Vec<Change> {
    let Some((kind, undo)) = kind_of(event) else { return Vec::new() };
    let whole = Change { undo, host: host_of(event), ..change(kind, event.environment(), event.words()) };
    let services = event.services();
    if services.is_empty() {
        return vec![whole];
    }
    services.iter().map(|service| Change { service: Some(service.to_string()), ..whole.clone() }).collect()
}

/// Says what kind of change an event is, and the command that takes it back, where there is one.
fn kind_of(event: &Event) -> Option<(ChangeKind, Option<String>)> {
    Some(match event {
        Event::EnvironmentChanged { environment, .. } => {
            (ChangeKind::Policy, Some(format!("lockstep events --env {environment}")))
        }
        Event::SecretRevoked { .. } => (ChangeKind::Configuration, None),
        Event::VersionRuleAdded { environment, .. } => {
            (ChangeKind::Route, Some(format!("lockstep route list --env {environment}")))
        }
        Event::LaneBegun { environment, lane } => {
            (ChangeKind::Route, Some(format!("lockstep lane end {} --env {environment}", lane.name)))
        }
        Event::VersionRuleRemoved { .. } | Event::LaneEnded { .. } => (ChangeKind::Route, None),
        Event::HostTurned { host, stance, .. } => {
            let is_open = *stance == Stance::Open;
            (ChangeKind::Host, (!is_open).then(|| format!("lockstep host open {host}")))
        }
        Event::HostAdded { .. } | Event::HostChanged { .. } | Event::HostRemoved { .. } => {
            (ChangeKind::Host, None)
        }
        Event::GatewayAdded { .. } | Event::GatewayRemoved { .. } => (ChangeKind::Gateway, None),
        Event::CertificateAdded { .. }
        | Event::CertificateRemoved { .. }
        | Event::CallersKeyRotated { .. } => (ChangeKind::Certificate, None),
        Event::InstanceDismissed { .. } => (ChangeKind::Restart, None),
        // Somebody else deployed it.
        Event::VersionSaid { .. } => (ChangeKind::Deploy, None),
        _ => return None,
    })
}

fn host_of(event: &Event) -> Option<String> {
    match event {
        Event::HostAdded { host, .. }
        | Event::HostChanged { host, .. }
        | Event::HostTurned { host, .. }
        | Event::HostRemoved { host, .. } => Some(host.to_string()),
        _ => None,
    }
}
