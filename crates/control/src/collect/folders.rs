//! Collecting folders that can be made again: unpacked artifacts and mirrors of repositories.
//!
//! Invariant: an artifact is looked at and removed while no instance is being started, so nothing that begins to need it in
//! between is overlooked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_api::types::{CollectedFolder, FolderReport, KeptFolder, Mode};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::{Arm, Digest, Environment, Instance, Timestamp, World};
use lockstep_pipeline::{RepositoryLocation, mirrors};
use lockstep_runtime::RemoveError;

use crate::instances::with_sources;
use crate::{Control, lock};

/// The reasons for each thing that is needed.
type Needed<T> = BTreeMap<T, Vec<String>>;

impl Control {
    pub(super) async fn collect_releases(&self, mode: Mode) -> Result<FolderReport, Problem> {
        let mut report = FolderReport::default();
        for release in self.driver.releases().await.map_err(|error| unusable(&error))? {
            let bytes = tokio::task::block_in_place(|| bytes_below(self.driver.release_path(&release)));
            let reasons = self.release_reasons_or_removed(&release, mode).await?;
            note(&mut report, release.to_string(), bytes, reasons);
        }
        self.collect_on_hosts(mode, &mut report).await;
        Ok(report)
    }

    /// Returns why an unpacked artifact stays; without a reason it is gone, or would be.
    async fn release_reasons_or_removed(&self, release: &Digest, mode: Mode) -> Result<Vec<String>, Problem> {
        let _no_start_meanwhile = self.unpacked.write().await;
        let mut needed = needed_releases(&self.ledger.world(), &self.all_instances(), self.ledger.now());
        let mut reasons = needed.remove(release).unwrap_or_default();
        reasons.extend(self.hosts.wanted_ahead(release).map(str::to_owned));
        if !reasons.is_empty() || mode == Mode::DryRun {
            return Ok(reasons);
        }
        match self.driver.remove_release(release).await {
            Ok(()) => Ok(Vec::new()),
            Err(RemoveError::ReleaseRuns { id, .. }) => Ok(vec![format!("instance {id}")]),
            Err(error) => Err(unusable(&error)),
        }
    }

    fn all_instances(&self) -> Vec<Instance> {
        let launches = lock(&self.launches);
        self.known_instances().into_iter().chain(launches.values().cloned()).collect()
    }

    pub(super) fn collect_mirrors(&self, mode: Mode) -> Result<FolderReport, Problem> {
        let folder = self.mirrors().map_err(|error| unusable(&error))?;
        let needed = needed_mirrors(&self.ledger.world());
        let mut report = FolderReport::default();
        for mirror in mirrors::list(&folder).map_err(|error| unusable(&error))? {
            let bytes = mirror.folders.iter().cloned().map(bytes_below).sum();
            let reasons = match needed.get(&mirror.name) {
                Some(reasons) => reasons.clone(),
                None => unneeded_mirror(&folder, &mirror.name, mode).map_err(|error| unusable(&error))?,
            };
            note(&mut report, mirror.name, bytes, reasons);
        }
        Ok(report)
    }
}

/// Removes a mirror that no service needs, or only looks; returns why it stays after all.
fn unneeded_mirror(folder: &Path, name: &str, mode: Mode) -> std::io::Result<Vec<String>> {
    let in_use = match mode {
        Mode::DryRun => mirrors::is_in_use(folder, name)?,
        Mode::Execute => mirrors::remove(folder, name)? == mirrors::Removal::InUse,
    };
    Ok(if in_use { vec!["a build uses it".to_owned()] } else { Vec::new() })
}

fn note(report: &mut FolderReport, name: String, bytes: u64, reasons: Vec<String>) {
    if reasons.is_empty() {
        report.goes.push(CollectedFolder { name, bytes });
    } else {
        report.stays.push(KeptFolder { name, bytes, reasons });
    }
}

fn unusable(error: &dyn std::error::Error) -> Problem {
    Problem::new(ErrorCode::Internal, with_sources(error))
        .with_hint("check that the user who runs Lockstep owns the data folder")
}

/// The artifacts that must stay unpacked: those that run, are about to, or that going back at once would need.
fn needed_releases(world: &World, instances: &[Instance], now: Timestamp) -> Needed<Digest> {
    let running = instances.iter().filter(|instance| !instance.state.is_over());
    let mut why: Vec<(Arm, String)> =
        running.map(|instance| (instance.arm.clone(), format!("instance {}", instance.id))).collect();
    for environment in world.environments.values() {
        why.extend(needed_in(environment, now));
    }
    let mut needed = Needed::new();
    for (arm, reason) in why {
        if let Some(version) = world.version(&arm.version_ref()) {
            needed.entry(version.artifact.digest).or_insert_with(Vec::new).push(reason);
        }
    }
    needed
}

fn needed_in(environment: &Environment, now: Timestamp) -> Vec<(Arm, String)> {
    let name = &environment.name;
    let current = environment.baselines.current();
    let mut why = Vec::new();
    let mut add = |entries: &lockstep_domain::baseline::Entries, reason: &str| {
        why.extend(entries.iter().map(|(service, entry)| (entry.arm(service), reason.to_owned())));
    };
    add(&current.entries, &format!("baseline {} of {name}", current.number));
    if let Some(before) = current.parent.and_then(|parent| environment.baselines.get(parent)) {
        add(&before.entries, &format!("undo in {name}"));
    }
    for operation in environment.moving() {
        add(&operation.plan.target, &format!("operation {}", operation.id));
    }
    let warm = environment.warm.keys().filter(|arm| environment.keeps_warm(arm, now));
    why.extend(warm.map(|arm| (arm.clone(), format!("warm in {name}"))));
    let prepared = environment.prepared.keys().filter(|arm| environment.keeps_prepared(arm, now));
    why.extend(prepared.map(|arm| (arm.clone(), format!("prepared in {name}"))));
    why
}

/// The mirrors of the repositories that services come from, by name.
fn needed_mirrors(world: &World) -> Needed<String> {
    let mut needed = Needed::new();
    for service in world.services.values() {
        if let Ok(location) = service.source.repository.parse::<RepositoryLocation>() {
            let reasons = needed.entry(mirrors::name_of(&location)).or_insert_with(Vec::new);
            reasons.push(format!("repository of {}", service.name));
        }
    }
    needed
}

/// Adds up the files below a folder. What vanishes or cannot be read meanwhile counts nothing: it only informs.
fn bytes_below(folder: PathBuf) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}
