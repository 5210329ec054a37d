//! Folding what is seen of databases.

use std::sync::Arc;

use imbl::OrdMap;

use super::{Act, DatabaseRun, KnownDatabase, MigrationClass, Recorded, Told, VersionDatabase, contracts};
use crate::baseline::OperationId;
use crate::environment::Environment;
use crate::name::{DatabaseName, ServiceName};
use crate::service::Service;
use crate::time::Timestamp;
use crate::version::VersionRef;

/// What is known of a database once the job of an operation that ran last has ended; `None` where that was no step at one.
pub(crate) fn seen(
    services: &OrdMap<ServiceName, Arc<Service>>,
    environment: &Environment,
    operation: OperationId,
    (told, failure): (Option<&Told>, Option<&str>),
    now: Timestamp,
) -> Option<(DatabaseName, KnownDatabase)> {
    let operation = environment.under_way().find(|it| it.id == operation)?;
    let (planned, _) = operation.job_runs().last()?;
    let run = planned.database.as_deref()?;
    let before = environment.databases.get(&run.database);
    let version = planned.arm.version_ref();
    let found = services.get(&version.service).and_then(|it| it.versions.get(&version.version));
    let of = found.and_then(|it| it.databases.iter().find(|it| it.database.name == run.database));
    let known = match (told, failure) {
        (Some(told), _) if told.unread => unread(before, (version, run), told, now)?,
        (Some(told), _) => see(services, before, (version, of), &run.act, (told, now)),
        // One that could not look has changed nothing that anybody knows of.
        (None, _) if matches!(run.act, Act::Look | Act::Accept) => return None,
        (None, failure) => {
            let how = failure.map_or_else(|| "it ended".to_owned(), str::to_owned);
            let why = format!("a run of migrations for {version} said nothing of how it left it ({how})");
            doubt(before, version, why, now)
        }
    };
    Some((run.database.clone(), known))
}

/// Notes what the step may do from now on that an operation began last: contractions that it applies, migrations that it takes back.
pub(crate) fn begin(
    services: &OrdMap<ServiceName, Arc<Service>>,
    environment: &mut Environment,
    operation: OperationId,
) {
    if let Some((database, crossing)) = crosses(services, environment, operation)
        && let Some(known) = environment.databases.get_mut(&database)
    {
        known.crossing.extend(crossing);
    }
    if let Some((database, leaving)) = takes_back(environment, operation)
        && let Some(known) = environment.databases.get_mut(&database)
    {
        known.leaving = leaving;
    }
}

fn takes_back(environment: &Environment, operation: OperationId) -> Option<(DatabaseName, Vec<String>)> {
    let operation = environment.under_way().find(|it| it.id == operation)?;
    let (planned, _) = operation.job_runs().last()?;
    match planned.database.as_deref()? {
        DatabaseRun { database, act: Act::Revert { migrations, .. }, .. } => {
            Some((database.clone(), migrations.clone()))
        }
        _ => None,
    }
}

fn crosses(
    services: &OrdMap<ServiceName, Arc<Service>>,
    environment: &Environment,
    operation: OperationId,
) -> Option<(DatabaseName, Vec<String>)> {
    let operation = environment.under_way().find(|it| it.id == operation)?;
    let (planned, _) = operation.job_runs().last()?;
    let run = planned.database.as_deref().filter(|run| matches!(run.act, Act::Apply { .. }))?;
    let version = planned.arm.version_ref();
    let found = services.get(&version.service)?.versions.get(&version.version)?;
    let of = found.databases.iter().find(|it| it.database.name == run.database)?;
    let known = environment.databases.get(&run.database)?;
    let crosses = |name: &&String| contracts(of, name) && !known.has(name);
    let crossing: Vec<_> = run.expected.iter().filter(crosses).cloned().collect();
    (!crossing.is_empty()).then(|| (run.database.clone(), crossing))
}

/// What a migration is that no version here brings, by another version that brings the very same.
fn class_elsewhere(
    services: &OrdMap<ServiceName, Arc<Service>>,
    recorded: &Recorded,
) -> Option<MigrationClass> {
    let digest = recorded.digest?;
    let versions = services.values().flat_map(|it| it.versions.values());
    let mut files = versions.flat_map(|it| &it.databases).filter_map(|of| of.file(&recorded.name));
    files.find(|file| file.digest == digest).map(|file| file.class)
}

/// Takes in what a step found. What each migration does is known of the versions that bring it: of this one, or of one before.
fn see(
    services: &OrdMap<ServiceName, Arc<Service>>,
    before: Option<&KnownDatabase>,
    (version, of): (VersionRef, Option<&VersionDatabase>),
    act: &Act,
    (told, seen): (&Told, Timestamp),
) -> KnownDatabase {
    let former = |name: &str| before?.told.recorded.iter().find(|recorded| recorded.name == name)?.class;
    let brought = |name: &str| of.and_then(|of| of.file(name)).map(|file| file.class);
    let class = |it: &Recorded| {
        brought(&it.name).or_else(|| former(&it.name)).or_else(|| class_elsewhere(services, it))
    };
    let recorded = told.recorded.iter().map(|it| Recorded { class: class(it), ..it.clone() }).collect();
    let half = told.half.as_deref().map(began);
    // A look sees what is recorded, and not how far a program came that died: that is for a person to say.
    let is_told_by_record = of.is_none_or(|of| of.database.applied.is_by_lockstep());
    let kept = match act {
        Act::Settle { .. } => None,
        _ if is_told_by_record => None,
        _ => before.and_then(|before| before.doubt.clone()),
    };
    let lost = before.map(|before| lost(before, of, act, told)).unwrap_or_default();
    // Why it failed is kept with the run.
    let told = Told { recorded, failure: None, untouched: false, ..told.clone() };
    // What is half of a contraction may have taken what older versions need.
    let halves = told.half.iter().filter(|name| brought(name) == Some(MigrationClass::Contract));
    let crossing = halves.cloned().collect();
    KnownDatabase { seen, by: version, told, doubt: half.or(kept), crossing, leaving: Vec::new(), lost }
}

/// What a database had and has no more, although nobody took it back here.
fn lost(before: &KnownDatabase, of: Option<&VersionDatabase>, act: &Act, told: &Told) -> Vec<String> {
    let is_another = matches!((&before.told.place, &told.place), (Some(then), Some(now)) if then != now);
    if is_another || *act == Act::Accept {
        return Vec::new();
    }
    // The program of a version knows its own migrations alone.
    let by_program = of.filter(|of| !of.database.applied.is_by_lockstep());
    let is_told =
        |name: &String| by_program.is_none_or(|of| told.drift.is_empty() && of.file(name).is_some());
    let is_there = |name: &String| told.recorded.iter().any(|it| it.name == *name);
    let taken: &[String] = match act {
        Act::Revert { migrations, .. } => migrations,
        _ => &[],
    };
    let halves = [&before.told.half, &told.half];
    let is_known = |name: &String| {
        taken.contains(name)
            || before.leaving.contains(name)
            || halves.iter().any(|it| it.as_ref() == Some(name))
    };
    let had = before.told.recorded.iter().map(|it| &it.name);
    let gone = had.filter(|name| is_told(name) && !is_there(name) && !is_known(name));
    let still = before.lost.iter().filter(|name| !is_there(name) && !taken.contains(name));
    still.chain(gone).cloned().collect()
}

/// Takes in that a step could not read what the database has, or died before it did.
fn unread(
    before: Option<&KnownDatabase>,
    (version, run): (VersionRef, &DatabaseRun),
    told: &Told,
    now: Timestamp,
) -> Option<KnownDatabase> {
    if let Some(half) = &told.half {
        let known = doubt(before, version, began(half), now);
        let told = Told { half: told.half.clone(), ..known.told };
        return Some(KnownDatabase { told, ..known });
    }
    let mut known = before.cloned()?;
    // Where a transaction was open, the record tells what became of it: to the next step, or to whoever looks.
    let has_begun = told.untouched && matches!(run.act, Act::Apply { .. });
    for name in run.expected.iter().filter(|_| has_begun) {
        let begun = known.crossing.iter().position(|crossing| crossing == name);
        begun.map(|begun| known.crossing.remove(begun));
    }
    if told.untouched && matches!(run.act, Act::Revert { .. }) {
        known.leaving.clear();
    }
    Some(known)
}

fn began(migration: &str) -> String {
    format!("`{migration}` began, and nobody knows how far it came")
}

/// Notes that a run ended and nobody said how the database is.
fn doubt(before: Option<&KnownDatabase>, version: VersionRef, why: String, now: Timestamp) -> KnownDatabase {
    match before {
        Some(before) => KnownDatabase { by: version, doubt: Some(why), ..before.clone() },
        None => KnownDatabase {
            seen: now,
            by: version,
            told: Told::default(),
            doubt: Some(why),
            crossing: Vec::new(),
            leaving: Vec::new(),
            lost: Vec::new(),
        },
    }
}
