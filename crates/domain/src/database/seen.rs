//! Folding what is seen of databases.

use std::sync::Arc;

use imbl::OrdMap;

use super::{Act, KnownDatabase, Recorded, Told, VersionDatabase};
use crate::baseline::OperationId;
use crate::environment::Environment;
use crate::name::{DatabaseName, ServiceName};
use crate::operation::Operation;
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
        (Some(told), _) if told.unread => unread(before, version, told, (operation.as_ref(), now))?,
        (Some(told), _) => see(before, (version, of), &run.act, (told, now)),
        // One that could not look has changed nothing that anybody knows of.
        (None, _) if run.act == Act::Look => return None,
        (None, failure) => {
            let how = failure.map_or_else(|| "it ended".to_owned(), str::to_owned);
            let why = format!("a run of migrations for {version} said nothing of how it left it ({how})");
            doubt(before, version, why, now)
        }
    };
    Some((run.database.clone(), known))
}

/// Takes in what a step found. What each migration does is known of the versions that bring it: of this one, or of one before.
fn see(
    before: Option<&KnownDatabase>,
    (version, of): (VersionRef, Option<&VersionDatabase>),
    act: &Act,
    (told, seen): (&Told, Timestamp),
) -> KnownDatabase {
    let former = |name: &str| before?.told.recorded.iter().find(|recorded| recorded.name == name)?.class;
    let class = |name: &str| of.and_then(|of| of.file(name)).map(|file| file.class).or_else(|| former(name));
    let recorded = told.recorded.iter().map(|it| Recorded { class: class(&it.name), ..it.clone() }).collect();
    let half = told.half.as_deref().map(began);
    // A look sees what is recorded, and not how far a program came that died: that is for a person to say.
    let is_told_by_record = of.is_none_or(|of| of.database.applied.is_by_lockstep());
    let kept = match act {
        Act::Settle { .. } => None,
        _ if is_told_by_record => None,
        _ => before.and_then(|before| before.doubt.clone()),
    };
    // Why it failed is kept with the run.
    let told = Told { recorded, failure: None, untouched: false, ..told.clone() };
    KnownDatabase { seen, by: version, told, doubt: half.or(kept), crossing: Vec::new() }
}

/// Takes in that a step could not read what the database has, or died before it did.
fn unread(
    before: Option<&KnownDatabase>,
    version: VersionRef,
    told: &Told,
    (operation, now): (&Operation, Timestamp),
) -> Option<KnownDatabase> {
    if let Some(half) = &told.half {
        let known = doubt(before, version, began(half), now);
        let told = Told { half: told.half.clone(), ..known.told };
        return Some(KnownDatabase { told, ..known });
    }
    let mut known = before.cloned()?;
    // Where a transaction was open, the record tells what became of it: to the next step, or to whoever looks.
    let contracts = operation.plan.contraction.iter().flat_map(|it| &it.contracts);
    for name in contracts.filter(|_| told.untouched) {
        let begun = known.crossing.iter().position(|crossing| crossing == name);
        begun.map(|begun| known.crossing.remove(begun));
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
        },
    }
}
