//! Compatibility for people: the matrix of two services, and whether a version may go to an environment or come back.

use std::sync::Arc;

use lockstep_api::types::{CompatAnswer, CompatCheck, CompatMatrix, CompatRelation, CompatRow};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::compat::{Basis, Pair, Relation};
use lockstep_domain::contract::{Answer, ContractKind, DatabaseWay, Requirement, Verdict};
use lockstep_domain::plan::{no_way_back, on_databases, steps_back};
use lockstep_domain::resource::needs;
use lockstep_domain::service::{Service, Version};
use lockstep_domain::variables::of_way_back;
use lockstep_domain::{Environment, EnvironmentName, ServiceName, VersionNumber, VersionRef, World};

use crate::contracts::MAX_SNAPSHOT_BYTES;
use crate::instances::with_sources;
use crate::{Control, environments, not_found, services};

/// Most versions of each service in one matrix, the newest.
const MAX_VERSIONS: usize = 100;
/// Most reasons of one cell: ten thousand cells are sent at once.
const MAX_CELL_REASONS: usize = 3;

impl Control {
    /// Judges every version of one service with every version of another, in each direction in which one requires the
    /// other.
    ///
    /// # Errors
    /// When a service does not exist, or neither requires the other.
    pub fn compat(&self, one: &ServiceName, other: &ServiceName) -> Result<Vec<CompatMatrix>, Problem> {
        let world = self.ledger.world();
        let (one, other) = (services::find(&world, one)?, services::find(&world, other)?);
        let ways = if one.name == other.name { vec![(one, other)] } else { vec![(one, other), (other, one)] };
        let matrices: Vec<_> = ways
            .into_iter()
            .filter_map(|(consumer, provider)| self.matrix(&world, consumer, provider))
            .collect();
        if matrices.is_empty() {
            let detail = format!("neither of `{}` and `{}` requires the other", one.name, other.name);
            return Err(Problem::new(ErrorCode::NotFound, detail)
                .with_hint("say what a service needs of another under [requires] in its lockstep.toml"));
        }
        Ok(matrices)
    }

    fn matrix(&self, world: &World, consumer: &Service, provider: &Service) -> Option<CompatMatrix> {
        let newest = |service: &Service| -> Vec<Arc<Version>> {
            service.versions.values().rev().take(MAX_VERSIONS).cloned().collect()
        };
        let (consumers, providers) = (newest(consumer), newest(provider));
        let needs: Vec<Option<&Requirement>> =
            consumers.iter().map(|version| world.requirements_on(version, &provider.name).next()).collect();
        if needs.iter().all(Option::is_none) {
            return None;
        }
        let contracts = self.stored_contracts();
        let used: Vec<_> = needs
            .iter()
            .flatten()
            .filter_map(|needed| Some((needed.contract.as_ref()?, needed.operations.as_slice())))
            .collect();
        let offered: Vec<_> = providers.iter().flat_map(|version| &version.contracts).collect();
        contracts.learn(&used, &offered);
        let (relation, provider_name) = (Relation { world, contracts: &contracts }, provider.name.clone());
        let row = |(version, needed): (&Arc<Version>, &Option<&Requirement>)| CompatRow {
            version: version.number.clone(),
            requires: needed.map(ToString::to_string),
            cells: providers
                .iter()
                .map(|provider| {
                    let of = VersionRef { service: consumer.name.clone(), version: version.number.clone() };
                    let mut pair = relation.pair(&of, (*needed)?, (&provider_name, provider));
                    pair.reasons.truncate(MAX_CELL_REASONS);
                    Some(pair)
                })
                .collect(),
        };
        Some(CompatMatrix {
            consumer: consumer.name.clone(),
            provider: provider.name.clone(),
            providers: providers.iter().map(|version| version.number.clone()).collect(),
            rows: consumers.iter().zip(&needs).map(row).collect(),
        })
    }

    /// Tells whether a version works with what an environment runs: with its providers, its consumers, and its database.
    ///
    /// # Errors
    /// When the version or the environment does not exist.
    pub fn can_deploy(
        &self,
        environment: &EnvironmentName,
        version: &VersionRef,
    ) -> Result<CompatAnswer, Problem> {
        let world = self.ledger.world();
        self.can(&world, environments::find(&world, environment)?, version)
    }

    /// Tells whether a version can come back to an environment; without one, the version before the one that runs there.
    ///
    /// # Errors
    /// When the version or the environment does not exist, or there is none to go back to.
    pub fn can_roll_back(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        version: Option<&VersionNumber>,
    ) -> Result<CompatAnswer, Problem> {
        let world = self.ledger.world();
        services::find(&world, service)?;
        let environment = environments::find(&world, environment)?;
        let version = match version {
            Some(version) => version.clone(),
            None => before(environment, service).ok_or_else(|| {
                let detail =
                    format!("`{}` ran no version of `{service}` before the one that runs", environment.name);
                not_found(detail, &format!("lockstep history {}", environment.name))
            })?,
        };
        let version = VersionRef { service: service.clone(), version };
        let mut answer = self.can(&world, environment, &version)?;
        if let Some(why) = no_way_back(&world, environment, &version) {
            let reasons = vec![why];
            let pair = Pair { verdict: Verdict::Breaking, basis: Basis::Range, reasons, promised: false };
            let live = answer.live.clone();
            answer.checks.insert(0, check(CompatRelation::WayBack, service, live, pair));
            answer.verdict = Verdict::Breaking;
        }
        let (variables, mut warnings) = of_way_back(environment, &version);
        warnings.extend(answer.warnings.iter().cloned());
        Ok(CompatAnswer { variables, warnings, ..answer })
    }

    fn can(
        &self,
        world: &World,
        environment: &Environment,
        reference: &VersionRef,
    ) -> Result<CompatAnswer, Problem> {
        let version = services::find_version(world, reference)?;
        let contracts = self.stored_contracts();
        let relation = Relation { world, contracts: &contracts };
        let running = |service: &ServiceName| {
            let entry = environment.entries().get(service)?;
            world.find_version(service, &entry.version)
        };
        let mut checks = Vec::new();
        for (provider, needed) in world.requirements(version) {
            let found = running(provider);
            let pair =
                found.map_or_else(nothing_there, |found| relation.pair(reference, needed, (provider, found)));
            let other = found.map(|found| found.number.clone());
            checks.push(check(CompatRelation::Provider, provider, other, pair));
        }
        for (consumer, entry) in environment.entries() {
            let needed = world.find_version(consumer, &entry.version);
            let needed = needed.and_then(|version| world.requirements_on(version, &reference.service).next());
            if let Some(needed) = needed.filter(|_| *consumer != reference.service) {
                let of = entry.arm(consumer).version_ref();
                let pair = relation.pair(&of, needed, (&reference.service, version));
                checks.push(check(CompatRelation::Consumer, consumer, Some(entry.version.clone()), pair));
            }
        }
        let now = self.ledger.now();
        for unread in relation.unread_messages(environment, (&reference.service, version), now) {
            let text = unread.text();
            let VersionRef { service, version } = unread.writer;
            let reasons = std::iter::once(text).chain(unread.reasons.into_iter().skip(1)).collect();
            let pair = Pair { verdict: unread.verdict, basis: Basis::Contract, reasons, promised: false };
            checks.push(check(CompatRelation::Messages, &service, Some(version), pair));
        }
        let live = running(&reference.service).filter(|live| live.number != version.number);
        let (mut after, mut one_way) = (None, Vec::new());
        let live_number = live.map(|live| live.number.clone());
        for found in
            on_databases(relation, environment, (&reference.service, live.map(|it| &**it), &**version))
        {
            one_way.extend(found.one_way);
            let (verdict, reasons) = (found.verdict, found.reasons);
            let pair = Pair { verdict, basis: Basis::Contract, reasons, promised: false };
            checks.push(check(CompatRelation::Database, &reference.service, live_number.clone(), pair));
        }
        if let Some(live) = live {
            let about_database = |answer: Answer| {
                let Answer { verdict, reasons, one_way: _ } = answer;
                let pair = Pair { verdict, basis: Basis::Contract, reasons, promised: false };
                check(CompatRelation::Database, &reference.service, Some(live.number.clone()), pair)
            };
            // An older version leaves the schema as it is, so the one that runs now can always come back to it.
            let back = relation.database(version, live).filter(|found| found.way == DatabaseWay::After);
            after = back.map(|found| about_database(found.answer));
        }
        let lacking = needs::lacking(world, environment, reference);
        let lacking = lacking.iter().map(|resource| format!("{resource}, so it is not deployed there"));
        Ok(CompatAnswer {
            version: reference.clone(),
            environment: environment.name.clone(),
            live: running(&reference.service).map(|live| live.number.clone()),
            verdict: worst(checks.iter().map(|check| check.pair.verdict)),
            checks,
            back: after,
            variables: Vec::new(),
            warnings: one_way.into_iter().chain(lacking).collect(),
        })
    }

    /// Returns the snapshot of a contract of a version.
    ///
    /// # Errors
    /// When the version has no contract of this kind, or several and none of this name.
    pub fn contract(
        &self,
        reference: &VersionRef,
        kind: ContractKind,
        name: Option<&str>,
    ) -> Result<Vec<u8>, Problem> {
        let world = self.ledger.world();
        let version = services::find_version(&world, reference)?;
        let of_kind: Vec<_> = version.contracts_of(kind).collect();
        let chosen = match (name, of_kind.as_slice()) {
            (None, [only]) => Some(*only),
            (None, _) => None,
            (Some(name), all) => all.iter().copied().find(|contract| contract.name == name),
        };
        let Some(contract) = chosen else {
            let names: Vec<_> = of_kind.iter().map(|contract| contract.name.as_str()).collect();
            let detail = match names.as_slice() {
                [] => format!("`{reference}` has no {kind} contract"),
                names => format!("`{reference}` has {} {kind} contracts: {}", names.len(), names.join(", ")),
            };
            return Err(not_found(detail, &format!("lockstep show {reference}")));
        };
        self.blobs
            .read_to_vec(&contract.digest, MAX_SNAPSHOT_BYTES)
            .map_err(|error| crate::internal(with_sources(&error)).with_hint(error.hint()))
    }
}

/// The version of a service that ran before the one that runs, and is a way back.
fn before(environment: &Environment, service: &ServiceName) -> Option<VersionNumber> {
    steps_back(environment, service).next().map(|entry| entry.version.clone())
}

fn check(
    relation: CompatRelation,
    service: &ServiceName,
    version: Option<VersionNumber>,
    pair: Pair,
) -> CompatCheck {
    CompatCheck { relation, service: service.clone(), version, pair }
}

fn nothing_there() -> Pair {
    Pair {
        verdict: Verdict::Breaking,
        basis: Basis::Range,
        reasons: vec!["it does not run there".into()],
        promised: false,
    }
}

/// One that breaks decides; else one that was not checked.
fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.fold(Verdict::Compatible, |worst, verdict| match (worst, verdict) {
        (Verdict::Breaking, _) | (_, Verdict::Breaking) => Verdict::Breaking,
        (Verdict::NotChecked, _) | (_, Verdict::NotChecked) => Verdict::NotChecked,
        _ => Verdict::Compatible,
    })
}
