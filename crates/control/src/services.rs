//! Services and versions: registering and showing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_api::types::{
    EarlierSummary, NextStage, RemoveRequest, ServiceView, VersionSummary, VersionView,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::repository_address;
use lockstep_domain::service::{EarlierRelease, Service, Source, Version};
use lockstep_domain::world::DEFAULT_LIFECYCLE;
use lockstep_domain::{
    Actor, EnvironmentName, Event, ServiceName, StageName, Timestamp, VersionNumber, VersionRef, World,
};

use crate::manifests::kept_event;
use crate::releases::Place;
use crate::{Control, internal, not_found};

/// Largest document that is shown.
const MAX_DOCUMENT_BYTES: u64 = 64 * 1024 * 1024;

impl Control {
    /// Lists services.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        let world = self.ledger.world();
        let all = world.services.values().filter(|service| service.removed.is_none());
        all.map(|service| view(&world, service)).collect()
    }

    /// Shows a service.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn service(&self, name: &ServiceName) -> Result<ServiceView, Problem> {
        let world = self.ledger.world();
        Ok(view(&world, find(&world, name)?))
    }

    /// Records a service under the name its manifest gives.
    ///
    /// # Errors
    /// When the lifecycle does not exist, or the name belongs to another repository.
    pub(crate) fn record_service(
        &self,
        actor: &Actor,
        name: &ServiceName,
        owner: Option<&str>,
        place: &Place,
        lifecycle: Option<&StageName>,
        earlier: &BTreeMap<VersionNumber, EarlierRelease>,
    ) -> Result<(), Problem> {
        let source = &place.source;
        let default: StageName = DEFAULT_LIFECYCLE.parse().map_err(internal)?;
        self.ledger.commit(actor, |world, _| {
            check_not_former(world, name)?;
            let known = world.services.get(name);
            place.is_still_decided(known.map(Arc::as_ref))?;
            let lifecycle =
                lifecycle.cloned().or_else(|| known.map(|k| k.lifecycle.clone())).unwrap_or(default.clone());
            if !world.lifecycles.contains_key(&lifecycle) {
                return Err(not_found(
                    format!("there is no lifecycle `{lifecycle}`"),
                    "lockstep lifecycle list",
                ));
            }
            let stages = &world.lifecycles[&lifecycle];
            let stranded = known.iter().flat_map(|known| known.versions.values());
            if let Some(version) =
                stranded.into_iter().find(|version| stages.position(&version.stage).is_none())
            {
                let detail = format!(
                    "`{name}@{}` is in stage {}, which lifecycle `{lifecycle}` does not have",
                    version.number, version.stage
                );
                return Err(Problem::new(ErrorCode::Refused, detail).with_hint("lockstep lifecycle list"));
            }
            let same = known.is_some_and(|k| {
                k.removed.is_none()
                    && k.source == *source
                    && k.owner.as_deref() == owner
                    && k.lifecycle == lifecycle
            });
            let registered = Event::ServiceRegistered {
                service: name.clone(),
                source: source.clone(),
                owner: owner.map(str::to_owned),
                lifecycle,
                unrelated: place.unrelated.clone(),
            };
            let mut events = if same { Vec::new() } else { vec![registered] };
            let known = known.map(Arc::as_ref);
            events.extend(place.kept.and_then(|kept| kept_event(known, name, kept, "")));
            let is_new = |number: &VersionNumber| known.is_none_or(|known| known.commit_of(number).is_none());
            let releases: BTreeMap<_, _> = earlier.iter().filter(|(number, _)| is_new(number)).collect();
            if !releases.is_empty() {
                let releases =
                    releases.into_iter().map(|(number, release)| (number.clone(), release.clone())).collect();
                events.push(Event::EarlierReleasesTaken { service: name.clone(), releases });
            }
            Ok((events, ()))
        })
    }

    /// The lifecycle that a service has when it is registered with a wish.
    pub(crate) fn lifecycle_wanted(&self, name: &ServiceName, wanted: Option<&StageName>) -> StageName {
        let world = self.ledger.world();
        let known = world.services.get(name).map(|known| known.lifecycle.clone());
        let default = || DEFAULT_LIFECYCLE.parse().expect("the name of the default lifecycle is valid");
        wanted.cloned().or(known).unwrap_or_else(default)
    }

    /// Removes a service that runs nowhere. Its versions stay, for whoever registers it again: a number is never given twice.
    ///
    /// # Errors
    /// When it does not exist, or runs somewhere.
    pub fn remove_service(
        &self,
        actor: &Actor,
        name: &ServiceName,
        request: &RemoveRequest,
    ) -> Result<(), Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                find(world, name)?;
                check_unused(world, name)?;
                let reason = request.reason.clone();
                Ok((vec![Event::ServiceRemoved { service: name.clone(), reason }], ()))
            })
        })
    }

    /// Shows a version.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn version(&self, reference: &VersionRef) -> Result<VersionView, Problem> {
        let world = self.ledger.world();
        let version = find_version(&world, reference)?;
        Ok(VersionView {
            service: reference.service.clone(),
            version: Version::clone(version),
            runs_in: runs_in(&world, reference),
            next_stage: next_stage(&world, reference, version, self.ledger.now()),
        })
    }

    /// Returns a document of a version with the name of its file.
    ///
    /// # Errors
    /// When the version or the document does not exist, or its content is damaged.
    pub fn document(&self, reference: &VersionRef, kind: &str) -> Result<(String, Vec<u8>), Problem> {
        let world = self.ledger.world();
        let version = find_version(&world, reference)?;
        let missing = || {
            not_found(
                format!("`{reference}` has no document `{kind}`"),
                &format!("lockstep show {reference}"),
            )
        };
        let document = version.documents.get(kind).ok_or_else(missing)?;
        let bytes =
            tokio::task::block_in_place(|| self.blobs.read_to_vec(&document.digest, MAX_DOCUMENT_BYTES));
        let bytes = bytes.map_err(|error| {
            Problem::new(ErrorCode::Internal, crate::instances::with_sources(&error)).with_hint(error.hint())
        })?;
        Ok((document.file_name.clone(), bytes))
    }
}

pub(crate) fn find<'a>(world: &'a World, name: &ServiceName) -> Result<&'a Arc<Service>, Problem> {
    let missing = || {
        not_found(
            format!("there is no service `{name}`"),
            "lockstep services, or register it: lockstep service add PATH",
        )
    };
    world.service(name).ok_or_else(missing)
}

/// A former name goes on meaning the service that was called so, and no other.
pub(crate) fn check_not_former(world: &World, name: &ServiceName) -> Result<(), Problem> {
    if !world.is_former(name) {
        return Ok(());
    }
    let now = world.current_name(name);
    let detail = format!("`{name}` is a former name of `{now}`, and goes on meaning it");
    let hint = format!(
        "is it that service, write name = \"{now}\" in lockstep.toml and commit; a service of its own needs a name that no other had"
    );
    Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
}

pub(crate) fn find_version<'a>(
    world: &'a World,
    reference: &VersionRef,
) -> Result<&'a Arc<Version>, Problem> {
    find(world, &reference.service)?;
    let hint = format!("lockstep show {}", reference.service);
    world.version(reference).ok_or_else(|| not_found(format!("there is no version `{reference}`"), &hint))
}

/// A service that runs somewhere, or is on its way there, is taken out of there first.
fn check_unused(world: &World, name: &ServiceName) -> Result<(), Problem> {
    for environment in world.environments.values() {
        let place = &environment.name;
        if let Some(operation) = environment.under_way().find(|it| it.touches().contains(name)) {
            let (id, intent) = (operation.id, &operation.intent);
            let detail = format!("operation {id} ({intent}) is under way with `{name}` in `{place}`");
            let hint =
                format!("lockstep watch {id}, or take it back: lockstep undo {place} --operation {id}");
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        }
        if environment.entries().contains_key(name) {
            let detail = format!("`{name}` runs in `{place}`");
            let hint = format!("take it out first: lockstep remove {name} --env {place}");
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        }
    }
    Ok(())
}

fn view(world: &World, service: &Service) -> ServiceView {
    let summary = |version: &Arc<Version>| VersionSummary {
        number: version.number.clone(),
        stage: version.stage.clone(),
        commit: version.commit.clone(),
        branch: version.branch.clone(),
        recorded: version.recorded,
        runs_in: runs_in(
            world,
            &VersionRef { service: service.name.clone(), version: version.number.clone() },
        ),
    };
    ServiceView {
        name: service.name.clone(),
        source: shown(&service.source),
        owner: service.owner.clone(),
        lifecycle: service.lifecycle.clone(),
        registered: service.registered,
        versions: service.versions.values().rev().map(summary).collect(),
        earlier: service.earlier.iter().rev().map(earlier_summary).collect(),
        former_names: world.former_names(&service.name).cloned().collect(),
        manifests: service.manifests.iter().rev().cloned().collect(),
        notes: Vec::new(),
    }
}

fn earlier_summary((number, release): (&VersionNumber, &EarlierRelease)) -> EarlierSummary {
    EarlierSummary { number: number.clone(), release: release.clone() }
}

/// A source as it is shown: journals of earlier releases may hold a password.
pub(crate) fn shown(source: &Source) -> Source {
    let repository = repository_address::shown(&source.repository).into_owned();
    Source { repository, folder: source.folder.clone() }
}

fn runs_in(world: &World, reference: &VersionRef) -> Vec<EnvironmentName> {
    world
        .environments
        .values()
        .filter(|environment| {
            environment
                .entries()
                .get(&reference.service)
                .is_some_and(|entry| entry.version == reference.version)
        })
        .map(|environment| environment.name.clone())
        .collect()
}

fn next_stage(world: &World, reference: &VersionRef, version: &Version, now: Timestamp) -> Option<NextStage> {
    let lifecycle = world.lifecycle_of(&reference.service);
    let next = lifecycle.after(&version.stage)?;
    Some(NextStage { stage: next.name.clone(), closed: lifecycle.closed_gates(version, next, now) })
}
