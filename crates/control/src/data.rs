//! Data folders of services: which there are in each environment, who declares them, and removing what nobody declares any more.
//!
//! Services write them and Lockstep keeps them: over versions, rollbacks and removals. Invariant: what a version that runs,
//! is warm or is on its way declares is never removed, and is looked at while no instance is being started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lockstep_api::types::{DataFolderView, DataSize, RemoveData};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{
    Actor, Arm, Environment, EnvironmentName, Event, Instance, ServiceName, Timestamp, VersionNumber, World,
};
use lockstep_runtime::{DataFolders, measure};

use crate::instances::with_sources;
use crate::{Control, internal, not_found};

/// Entries that are counted in all folders of an answer together: some tenths of a second.
const MAX_MEASURED: u64 = 200_000;

/// The data folders of one service in one environment, each with the versions there that declare it.
type Declared = BTreeMap<WorkPath, BTreeSet<VersionNumber>>;

impl Control {
    /// Lists the data folders of an environment, or of all, also of environments and services that are removed; with sizes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn data(&self, environment: Option<&EnvironmentName>) -> Result<Vec<DataFolderView>, Problem> {
        let mut views = self.data_folders(environment)?;
        views.extend(self.resources().data(environment)?);
        let mut left = MAX_MEASURED;
        for view in &mut views {
            view.size = measure(Path::new(&view.path), &mut left).map(|size| DataSize {
                bytes: size.bytes,
                entries: size.entries,
                at_least: size.at_least,
            });
        }
        Ok(views)
    }

    /// The data folders of an environment without sizes; what cannot be read does not keep the rest from being shown.
    pub(crate) fn data_folders_shown(&self, environment: &EnvironmentName) -> Vec<DataFolderView> {
        self.data_folders(Some(environment)).unwrap_or_else(|problem| {
            tracing::warn!(%environment, %problem, "the data folders of services cannot be read");
            Vec::new()
        })
    }

    /// The same without sizes.
    pub(crate) fn data_folders(
        &self,
        only: Option<&EnvironmentName>,
    ) -> Result<Vec<DataFolderView>, Problem> {
        let (now, world) = self.ledger.look();
        let folders = self.driver.data_folders();
        let mut owners: BTreeSet<_> =
            folders.owners().map_err(|error| unreadable(&error))?.into_iter().collect();
        let is_asked_for = |name: &EnvironmentName| only.is_none_or(|only| name == only);
        for environment in world.environments.values().filter(|it| is_asked_for(&it.name)) {
            let services = environment.entries().keys().map(|service| kept_as(&world, service));
            owners.extend(services.map(|service| (environment.name.clone(), service.clone())));
        }
        let mut views = Vec::new();
        for (environment, kept_as) in owners.iter().filter(|owner| is_asked_for(&owner.0)) {
            let service = world.current_name(kept_as);
            let newest = ever_declared(&world, service);
            // Most services keep nothing, and status is asked for often.
            let declared = if newest.is_empty() {
                Declared::new()
            } else {
                self.declared(&world, environment, service, now)
            };
            let on_disk = on_disk(&newest, &folders, environment, kept_as)?;
            let views_of = views_of(&newest, &folders, (environment, kept_as), declared, &on_disk);
            let named_now = |view| DataFolderView { service: service.clone(), ..view };
            views.extend(views_of.into_iter().map(named_now));
        }
        Ok(views)
    }

    fn declared(
        &self,
        world: &World,
        environment: &EnvironmentName,
        service: &ServiceName,
        now: Timestamp,
    ) -> Declared {
        let there = world.environment(environment).map(|it| &**it);
        declared(world, there, service, &self.instances_of(world, environment), now)
    }

    /// Removes a data folder that nothing in the environment declares any more, with everything in it, for ever.
    ///
    /// # Errors
    /// When there is none, something declares it, or it cannot be removed.
    pub async fn remove_data(
        &self,
        actor: &Actor,
        request: &RemoveData,
    ) -> Result<Vec<DataFolderView>, Problem> {
        let RemoveData { environment, service, folder, reason } = request;
        let folders = self.driver.data_folders();
        let taken = {
            let _no_start_meanwhile = self.unpacked.write().await;
            let (now, world) = self.ledger.look();
            let (service, kept_as) = (world.current_name(service), kept_as(&world, service));
            if folders.of(environment, kept_as).join(folder.as_str()).symlink_metadata().is_err() {
                let what = format!("{service} has no data folder `{folder}` in `{environment}`");
                return Err(not_found(what, "lockstep data list"));
            }
            check_undeclared(&self.declared(&world, environment, service, now), request)?;
            tokio::task::block_in_place(|| {
                self.ledger.note(
                    actor,
                    &Event::DataRemoved {
                        // Not the field by which an event belongs to an environment: it may be gone.
                        of_environment: environment.clone(),
                        service: service.clone(),
                        folder: folder.clone(),
                        reason: reason.clone(),
                    },
                );
                folders.take_away(environment, kept_as, folder)
            })
            .map_err(|error| unreadable(&error))?
        };
        if let Some(taken) = taken {
            tokio::task::block_in_place(|| folders.clear(&taken)).map_err(|error| {
                internal(format!("it is taken out of the way, and not all of it could be removed: {error}"))
            })?;
        }
        self.data(Some(environment))
    }
}

/// Returns the name under which the data folders of a service are kept, whatever it is called.
fn kept_as<'a>(world: &'a World, service: &'a ServiceName) -> &'a ServiceName {
    world.known_service(service).map_or(service, |service| service.data_name())
}

fn unreadable(error: &std::io::Error) -> Problem {
    internal(with_sources(error)).with_hint("check that the user who runs Lockstep owns the data folder")
}

/// The folders that the versions declare which run in an environment, are warm or ending there, or are on their way.
fn declared(
    world: &World,
    environment: Option<&Environment>,
    service: &ServiceName,
    instances: &[Instance],
    now: Timestamp,
) -> Declared {
    let running = instances.iter().filter(|instance| !instance.state.is_over());
    let mut arms: BTreeSet<Arm> = running.map(|instance| instance.arm.clone()).collect();
    if let Some(environment) = environment {
        let entry_arms = |entries: &lockstep_domain::baseline::Entries| -> Vec<Arm> {
            entries.iter().map(|(service, entry)| entry.arm(service)).collect()
        };
        arms.extend(entry_arms(environment.entries()));
        arms.extend(environment.ruled_arms());
        environment.under_way().for_each(|operation| arms.extend(entry_arms(&operation.plan.target)));
        arms.extend(environment.warm.keys().filter(|arm| environment.keeps_warm(arm, now)).cloned());
    }
    let mut declared = Declared::new();
    for arm in arms.iter().filter(|arm| arm.service == *service) {
        for folder in world.version(&arm.version_ref()).iter().flat_map(|version| &version.run.data) {
            declared.entry(folder.clone()).or_default().insert(arm.version.clone());
        }
    }
    declared
}

/// What lies on disk: by the names that any version has ever declared, and whatever else is at the top.
fn on_disk(
    newest: &BTreeMap<WorkPath, VersionNumber>,
    folders: &DataFolders,
    environment: &EnvironmentName,
    service: &ServiceName,
) -> Result<BTreeSet<WorkPath>, Problem> {
    let path = folders.of(environment, service);
    let mut there: BTreeSet<WorkPath> =
        newest.keys().filter(|it| path.join(it.as_str()).exists()).cloned().collect();
    let tops = folders.tops(environment, service).map_err(|error| unreadable(&error))?;
    let known: Vec<_> = there.iter().cloned().collect();
    there.extend(tops.into_iter().filter(|top| !known.iter().any(|known| known.overlaps(top))));
    Ok(there)
}

/// Every folder that a version of a service has declared, with the newest that did.
fn ever_declared(world: &World, service: &ServiceName) -> BTreeMap<WorkPath, VersionNumber> {
    let versions = world.known_service(service).into_iter().flat_map(|service| service.versions.values());
    let mut newest: BTreeMap<WorkPath, VersionNumber> = BTreeMap::new();
    for version in versions {
        for folder in &version.run.data {
            let entry = newest.entry(folder.clone()).or_insert_with(|| version.number.clone());
            *entry = entry.clone().max(version.number.clone());
        }
    }
    newest
}

fn views_of(
    newest: &BTreeMap<WorkPath, VersionNumber>,
    folders: &DataFolders,
    (environment, service): (&EnvironmentName, &ServiceName),
    mut declared: Declared,
    on_disk: &BTreeSet<WorkPath>,
) -> Vec<DataFolderView> {
    let all: BTreeSet<_> = declared.keys().chain(on_disk).cloned().collect();
    let view = |folder: WorkPath| {
        let path = folders.of(environment, service).join(folder.as_str());
        DataFolderView {
            environment: environment.clone(),
            service: service.clone(),
            of_resource: None,
            path: path.display().to_string(),
            is_there: on_disk.contains(&folder),
            declared_by: declared.remove(&folder).unwrap_or_default().into_iter().collect(),
            last_declared_by: newest.get(&folder).cloned(),
            size: None,
            folder,
        }
    };
    all.into_iter().map(view).collect()
}

/// Refuses to remove a folder in which, or above which, a folder lies that something declares.
fn check_undeclared(declared: &Declared, request: &RemoveData) -> Result<(), Problem> {
    let RemoveData { environment, service, folder, .. } = request;
    let Some((other, versions)) = declared.iter().find(|(other, _)| other.overlaps(folder)) else {
        return Ok(());
    };
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    let detail = format!(
        "nothing was removed: {service} {} declares the data folder `{other}` and runs, is warm, or is on its way in `{environment}`",
        versions.join(", ")
    );
    Err(Problem::new(ErrorCode::Refused, detail).with_hint(format!("lockstep status {environment}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> WorkPath {
        text.parse().unwrap()
    }

    fn request(name: &str) -> RemoveData {
        let (environment, service) = ("production".parse().unwrap(), "orders".parse().unwrap());
        RemoveData { environment, service, folder: folder(name), reason: String::new() }
    }

    #[test]
    fn what_is_declared_is_not_removed_nor_what_it_lies_in_or_holds() {
        let versions = BTreeSet::from([VersionNumber::new(1, 2, 0)]);
        let declared = Declared::from([(folder("storage/db"), versions)]);
        for kept in ["storage", "storage/db", "storage/db/old"] {
            let refused = check_undeclared(&declared, &request(kept)).unwrap_err();
            assert!(refused.to_string().contains("1.2.0"), "{refused}");
        }
        for free in ["var", "storage/dbs", "stor"] {
            assert!(check_undeclared(&declared, &request(free)).is_ok(), "{free}");
        }
    }
}
