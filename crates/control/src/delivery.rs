//! DORA's figures of an environment, from the journal: which versions went forward, and which were taken back.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::Problem;
use lockstep_api::types::{DeliveryAmount, DeliveryFigure, DeliveryView};
use lockstep_domain::operation::{Move, Operation};
use lockstep_domain::{
    Actor, EnvironmentName, Event, OperationId, Recorded, ServiceName, Timestamp, VersionNumber, World,
};
use lockstep_monitor::delivery::{Amount, Delivery, Figure, figures};
use lockstep_monitor::seen::Way;

use crate::watching::way;
use crate::{Control, environments, internal, services};

/// Branches whose versions mend something in production by their name.
const HOTFIX: &str = "hotfix/";

impl Control {
    /// Makes DORA's five figures of what was delivered to an environment in the last `within_ms`, of one service or of all.
    ///
    /// # Errors
    /// When there is no such environment or service, or the journal cannot be read.
    pub fn delivery(
        &self,
        environment: &EnvironmentName,
        service: Option<&ServiceName>,
        within_ms: u64,
    ) -> Result<DeliveryView, Problem> {
        let (now, world) = self.ledger.look();
        let record = environments::find(&world, environment)?.record;
        let service = service.map(|name| services::find(&world, name)).transpose()?;
        let service = service.map(|it| it.name.clone());
        let wanted = Timestamp(now.0.saturating_sub(within_ms));
        let after = self.ledger.last_before(wanted).map_err(internal)?.max(record.saturating_sub(1));
        let mut deliveries = Deliveries::new(&world, environment, service.as_ref());
        let mut first = None;
        let each = |recorded: Recorded| {
            first.get_or_insert(recorded.at);
            deliveries.take(&recorded);
        };
        self.ledger.read_journal(after, each).map_err(internal)?;
        // Days on which there was no such environment would only make everything look rarer.
        let from = if record > after { first.map_or(wanted, |first| wanted.max(first)) } else { wanted };
        let found = figures(&deliveries.all(), from.0, now.0.saturating_add(1));
        let figures = found.iter().map(figure).collect();
        Ok(DeliveryView { environment: environment.clone(), service, since: from, until: now, figures })
    }
}

fn figure(figure: &Figure) -> DeliveryFigure {
    DeliveryFigure {
        name: figure.name.to_owned(),
        definition: figure.definition.to_owned(),
        amount: figure.amount.map(|amount| match amount {
            Amount::PerDay(count) => DeliveryAmount::PerDay(count),
            Amount::MedianMs(ms) => DeliveryAmount::MedianMs(ms),
            Amount::Share(share) => DeliveryAmount::Share(share),
        }),
        counted: figure.counted,
        left_out: figure.left_out,
    }
}

/// What was delivered to an environment, as records tell it one after the other.
struct Deliveries<'a> {
    world: &'a World,
    environment: &'a EnvironmentName,
    service: Option<&'a ServiceName>,
    told: Vec<Told>,
    /// Commits that production has had before, by service.
    known: BTreeMap<ServiceName, BTreeSet<String>>,
}

struct Told {
    operation: OperationId,
    service: ServiceName,
    version: VersionNumber,
    delivery: Delivery,
}

impl<'a> Deliveries<'a> {
    fn new(world: &'a World, environment: &'a EnvironmentName, service: Option<&'a ServiceName>) -> Self {
        Self { world, environment, service, told: Vec::new(), known: BTreeMap::new() }
    }

    fn all(&self) -> Vec<Delivery> {
        self.told.iter().map(|told| told.delivery.clone()).collect()
    }

    fn take(&mut self, recorded: &Recorded) {
        match &recorded.event {
            // From its first step on a version has requests.
            Event::WaveShifted { environment, operation, wave, step: 0, .. }
                if environment == self.environment =>
            {
                let Some(operation) = self.world.find_operation(*operation) else { return };
                operation
                    .plan
                    .moves_of(*wave)
                    .iter()
                    .for_each(|part| self.moved(operation, part, recorded.at));
            }
            Event::OperationReverting { environment, operation, .. } if environment == self.environment => {
                let own = self.told.iter_mut().filter(|told| told.operation == *operation);
                own.for_each(|told| told.take_back(&recorded.actor, recorded.at));
            }
            _ => {}
        }
    }

    fn moved(&mut self, operation: &Operation, part: &Move, at: Timestamp) {
        let service = self.world.current_name(&part.service).clone();
        let Some(to) = part.to.as_ref().filter(|_| self.service.is_none_or(|wanted| *wanted == service))
        else {
            return;
        };
        let from = part.from.as_ref().map(|from| &from.version);
        if from == Some(&to.version) {
            return;
        }
        if way(&operation.intent) == Way::Back || from.is_some_and(|from| *from > to.version) {
            let left = self.told.iter_mut().rev().find(|told| told.is(&service, from));
            return left.into_iter().for_each(|told| told.take_back(&operation.actor, at));
        }
        let delivery = Delivery {
            service: service.to_string(),
            version: to.version.to_string(),
            commits_ms: self.new_commits(&service, from, &to.version),
            deployed_ms: at.0,
            taken_back_ms: None,
            taken_back_by: None,
            mends: self.mends(&service, &to.version),
        };
        self.told.push(Told { operation: operation.id, service, version: to.version.clone(), delivery });
    }

    /// Returns when those commits were made that a version brings to the environment for the first time.
    fn new_commits(
        &mut self,
        name: &ServiceName,
        from: Option<&VersionNumber>,
        to: &VersionNumber,
    ) -> Vec<u64> {
        let Some(service) = self.world.known_service(name) else { return Vec::new() };
        let known = self.known.entry(name.clone()).or_default();
        let passed = service.versions.values().filter(|it| {
            // What no version was before is not all that was ever written.
            it.number == *to || (from.is_some_and(|from| it.number > *from) && it.number < *to)
        });
        let entries =
            passed.flat_map(|version| version.changelog.sections()).flat_map(|(_, entries)| entries);
        let new = entries.filter(|entry| known.insert(entry.commit.clone()));
        new.filter_map(|entry| entry.at).map(|at| at.0).collect()
    }

    /// Says which fault a version is made for: its branch says so, or the version before it failed.
    fn mends(&self, service: &ServiceName, version: &VersionNumber) -> Option<String> {
        let cut = self.world.known_service(service).and_then(|it| it.versions.get(version));
        let branch = cut.map(|it| it.branch.as_str()).filter(|branch| branch.starts_with(HOTFIX));
        let last = self.told.iter().rev().find(|told| told.service == *service);
        let failed = last.filter(|told| told.delivery.failed() && told.version != *version);
        branch
            .map(|branch| format!("cut from {branch}"))
            .or_else(|| failed.map(|told| format!("{service}@{} failed", told.version)))
    }
}

impl Told {
    fn is(&self, service: &ServiceName, version: Option<&VersionNumber>) -> bool {
        self.service == *service && Some(&self.version) == version && self.delivery.taken_back_ms.is_none()
    }

    fn take_back(&mut self, actor: &Actor, at: Timestamp) {
        self.delivery.taken_back_ms.get_or_insert(at.0);
        self.delivery.taken_back_by.get_or_insert_with(|| actor.to_string());
    }
}
