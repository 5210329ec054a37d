//! Databases in a plan: what is applied before the code that needs it, what is held back, and which versions cannot come back.
//!
//! Invariant: a migration that contracts is part of a plan only where no version that runs, or ran here, does without it; or in a plan of
//! its own, which says what it takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{Entries, EntryChange};
use crate::database::{
    Act, DatabaseRun, KnownDatabase, MigrationClass, Users, VersionDatabase, brought, contracts, in_force,
    is_used_by, moved, others,
};
use crate::environment::Environment;
use crate::instance::Arm;
use crate::intent::DatabaseWish;
use crate::job::{PlannedJob, When};
use crate::name::DatabaseName;
use crate::operation::Move;
use crate::plan::database_refusal::{Behind, DatabaseRefusal, Stays};
use crate::plan::order::Direction;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::{Resolved, missing};
use crate::plan::{database_back, database_revert};
use crate::version::VersionRef;
use crate::version_rules::VersionRule;
use crate::world::World;

/// What a deployment does at one database.
struct Due {
    /// What runs, in its order.
    applied: Vec<String>,
    /// The last migration up to which all may be there.
    through: Option<String>,
    /// The contraction that is held back.
    held_back: Option<String>,
    /// The first migration behind it that is none.
    behind: Option<String>,
}

/// Finds what a version that comes has to have applied, and where it stops.
fn due(world: &World, environment: &Environment, of: &VersionDatabase, target: &Entries) -> Due {
    let known = environment.databases.get(&of.database.name);
    let users = Users::of(world, environment, &of.database.name, target);
    let has = |name: &str| known.is_some_and(|known| known.surely_has(name));
    let others = others(world, environment, &of.database.name);
    let is_needed = |name: &str| {
        let now = users.strangers_in(target, name);
        let elsewhere = || others.iter().any(|it| !it.needs(name).is_empty() || !it.ran(name).is_empty());
        !now.is_empty() || !users.strangers(environment, name).is_empty() || elsewhere()
    };
    let mut due = Due { applied: Vec::new(), through: None, held_back: None, behind: None };
    for file in &of.files {
        let is_there = has(&file.name);
        match &due.held_back {
            None if !is_there && file.class == MigrationClass::Contract && is_needed(&file.name) => {
                due.held_back = Some(file.name.clone());
            }
            None => {
                due.applied.extend((!is_there).then(|| file.name.clone()));
                due.through = Some(file.name.clone());
            }
            Some(_) if !is_there && file.class != MigrationClass::Contract => {
                due.behind.get_or_insert_with(|| file.name.clone());
            }
            Some(_) => {}
        }
    }
    due
}

/// Tells whether a newer version comes, or the first one.
fn goes_up(from: Option<&crate::baseline::BaselineEntry>, to: &crate::baseline::BaselineEntry) -> bool {
    from.is_none_or(|from| to.version > from.version)
}

/// Returns the steps at databases of the versions that come, in the order of the waves. A way back has none.
pub(super) fn of_plan(
    world: &World,
    environment: &Environment,
    direction: Direction,
    (waves, target): (&[Vec<Move>], &Entries),
) -> Vec<PlannedJob> {
    let coming = waves.iter().flatten().filter(|_| direction == Direction::Forward);
    coming.flat_map(|part| of_move(world, environment, part, target)).collect()
}

fn of_move(world: &World, environment: &Environment, part: &Move, target: &Entries) -> Vec<PlannedJob> {
    let Some(arm) = part.to.as_ref().filter(|to| goes_up(part.from.as_ref(), to)).and(part.to_arm()) else {
        return Vec::new();
    };
    let Some(version) = world.version(&arm.version_ref()) else { return Vec::new() };
    let steps = |of: &VersionDatabase| {
        let due = due(world, environment, of, target);
        // One that cannot stop before what is held back is not begun.
        let stays = due.held_back.is_some() && of.database.cannot_stop();
        let act = Act::Apply { through: due.through.filter(|_| !stays) };
        let looks = due.applied.iter().any(|name| contracts(of, name));
        let run = DatabaseRun {
            database: of.database.name.clone(),
            act,
            expected: due.applied,
            left_out: BTreeMap::new(),
        };
        let look = looks.then(|| look(&arm, of, When::BeforeSwitch));
        look.into_iter()
            .chain([PlannedJob::at_database(&arm, of, run, When::BeforeSwitch)])
            .collect::<Vec<_>>()
    };
    moved(version).flat_map(steps).collect()
}

/// Before anything is taken away it is looked once more what is there, and so who else works with it.
fn look(arm: &Arm, of: &VersionDatabase, when: When) -> PlannedJob {
    let run = DatabaseRun {
        database: of.database.name.clone(),
        act: Act::Look,
        expected: Vec::new(),
        left_out: BTreeMap::new(),
    };
    PlannedJob::at_database(arm, of, run, when)
}

/// Returns what keeps the versions that come, or go back, from the databases as they are.
pub(super) fn check(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for change in changes {
        let Some(to) = &change.to else { continue };
        if change.from.as_ref().map(|entry| &entry.version) == Some(&to.version) {
            continue;
        }
        let reference = to.arm(&change.service).version_ref();
        refusals.extend(contracted(world, environment, &reference, &resolved.target));
        let comes = resolved.direction == Direction::Forward && goes_up(change.from.as_ref(), to);
        refusals
            .extend((!comes).then(|| taken_back(world, environment, &reference, &resolved.target)).flatten());
        if let Some(version) = world.version(&reference).filter(|_| comes) {
            let stops = |of| stopped(world, environment, (&reference, of), &resolved.target);
            refusals.extend(moved(version).filter_map(stops));
        }
    }
    refusals.into_iter().map(Refusal::from).collect()
}

fn stopped(
    world: &World,
    environment: &Environment,
    (version, of): (&VersionRef, &VersionDatabase),
    target: &Entries,
) -> Option<DatabaseRefusal> {
    let database = of.database.name.clone();
    if let Some(refusal) =
        in_doubt(environment, (version, of)).or_else(|| lost(world, environment, &database))
    {
        return Some(refusal);
    }
    let due = due(world, environment, of, target);
    let held_back = due.held_back?;
    if let Some(behind) = due.behind {
        let is_known = environment.databases.contains_key(&database);
        let (version, environment) = (version.clone(), environment.name.clone());
        return Some(DatabaseRefusal::StandsBehind {
            version,
            environment,
            database,
            behind,
            held_back,
            way: if is_known { Behind::NotLooked } else { Behind::Unseen },
        });
    }
    let cannot_stop = !due.applied.is_empty() && of.database.cannot_stop();
    cannot_stop.then(|| DatabaseRefusal::CannotStop { version: version.clone(), database, held_back })
}

/// Returns why a version that comes without a step at its databases does not work there: what it was written for is not there.
fn taken_back(
    world: &World,
    environment: &Environment,
    version: &VersionRef,
    target: &Entries,
) -> Option<DatabaseRefusal> {
    let lacks = |of: &VersionDatabase| {
        let known = environment.databases.get(&of.database.name)?;
        let missing = due(world, environment, of, target).applied.into_iter();
        let migration = missing.into_iter().find(|name| !contracts(of, name))?;
        let (version, environment) = (version.clone(), environment.name.clone());
        let may_be_there = known.has(&migration);
        let database = of.database.name.clone();
        Some(DatabaseRefusal::Lacks { version, environment, database, migration, may_be_there })
    };
    moved(world.version(version)?).find_map(lacks)
}

/// Returns the first migration that a version needs and that is not there.
pub(super) fn lacks(
    world: &World,
    environment: &Environment,
    of: &VersionDatabase,
    target: &Entries,
) -> Option<String> {
    due(world, environment, of, target).applied.into_iter().next()
}

fn in_doubt(
    environment: &Environment,
    (version, of): (&VersionRef, &VersionDatabase),
) -> Option<DatabaseRefusal> {
    let known = environment.databases.get(&of.database.name)?;
    let why = known.doubt.clone()?;
    let half = known.told.half.clone();
    // Who helps is a version that brings what is half-way: the one that is asked for, or the one that began it.
    let brings = half.as_ref().is_none_or(|half| of.file(half).is_some());
    let by = if brings { version } else { &known.by }.clone();
    let (database, environment) = (of.database.name.clone(), environment.name.clone());
    Some(DatabaseRefusal::InDoubt { database, environment, why, half, by })
}

/// Returns that a database lacks what it had.
pub(super) fn lost(
    world: &World,
    environment: &Environment,
    database: &DatabaseName,
) -> Option<DatabaseRefusal> {
    let known = environment.databases.get(database).filter(|known| !known.lost.is_empty())?;
    // What runs reaches it; the version that looked last may have been gone back from, and does not come any more.
    let is_reached = brings(world, environment, database, None).is_ok();
    let by = (!is_reached).then(|| known.by.clone());
    let (database, environment) = (database.clone(), environment.name.clone());
    Some(DatabaseRefusal::Lost { database, environment, migrations: known.lost.clone(), by })
}

/// Returns the contractions that a database has and that a version does not know, so that it cannot come.
pub fn contracted(
    world: &World,
    environment: &Environment,
    version: &VersionRef,
    target: &Entries,
) -> Vec<DatabaseRefusal> {
    let refusal = |(database, known): (&DatabaseName, &KnownDatabase)| {
        let others = others(world, environment, database);
        let all = std::iter::once(known).chain(others.iter().map(|other| other.known));
        let mut contractions = all.flat_map(|it| it.contractions().map(move |name| (name, it))).peekable();
        contractions.peek()?;
        let of = brought(world, version, database);
        let is_unknown = |(name, _): &(&str, &KnownDatabase)| of.is_none_or(|of| of.file(name).is_none());
        let (migration, seen) = contractions.find(is_unknown)?;
        if !is_used_by(world, environment, (database, target), &version.service) {
            return None;
        }
        let (version, environment) = (version.clone(), environment.name.clone());
        let (database, migration) = (database.clone(), migration.to_owned());
        if !seen.has(&migration) {
            let by = seen.by.clone();
            return Some(DatabaseRefusal::MayBeContracted { version, environment, database, migration, by });
        }
        let stays = Stays::NotLooked;
        Some(DatabaseRefusal::Contracted { version, environment, database, migration, stays })
    };
    environment.databases.iter().filter_map(refusal).collect()
}

/// Says what a person should know of databases before saying yes.
pub(super) fn warnings(
    world: &World,
    environment: &Environment,
    direction: Direction,
    (changes, target): (&[EntryChange], &Entries),
) -> Vec<String> {
    let mut all = Vec::new();
    for change in changes {
        if let Some(to) = &change.to
            && direction == Direction::Forward
            && goes_up(change.from.as_ref(), to)
        {
            let reference = to.arm(&change.service).version_ref();
            let version = world.version(&reference).into_iter();
            all.extend(
                version
                    .flat_map(|it| moved(it))
                    .flat_map(|of| forward(world, environment, (&reference, of), target)),
            );
        }
        all.extend(database_back::warnings(world, environment, change));
        all.extend(stays_as_it_is(world, environment, change));
    }
    all
}

fn forward(
    world: &World,
    environment: &Environment,
    (version, of): (&VersionRef, &VersionDatabase),
    target: &Entries,
) -> Vec<String> {
    let due = due(world, environment, of, target);
    let (database, name) = (&of.database.name, &environment.name);
    let files = due.applied.iter().filter_map(|name| of.file(name));
    let mut said: Vec<String> = files
        .flat_map(|file| {
            let unread = (file.class == MigrationClass::NotChecked).then(|| {
                format!("`{}` of database `{database}` was not understood: nobody knows whether the versions that run bear it", file.name)
            });
            let lost = file.one_way.iter().map(|what| format!("`{}` of database `{database}` is one-way: {what}", file.name));
            unread.into_iter().chain(lost).collect::<Vec<_>>()
        })
        .collect();
    let late = environment.databases.get(database).into_iter().flat_map(|known| known.late(of));
    let late = late.filter(|(name, _)| due.applied.iter().any(|applied| applied == name));
    said.extend(late.map(|(name, after)| {
        format!("`{name}` of database `{database}` stands before `{after}`, which was applied without it: on a new database they run in another order")
    }));
    said.extend(due.held_back.map(|held_back| {
        format!(
            "`{held_back}` of database `{database}` contracts and is not applied with {version}, which has to work without it: `lockstep \
             database contract {database} --env {name}` does it, once nothing needs the old form"
        )
    }));
    said.extend(environment.databases.get(database).into_iter().flat_map(|known| {
        known.told.drift.iter().map(|drift| format!("database `{database}` is not as it should be: {drift}"))
    }));
    said
}

/// The contractions outside of Lockstep that a newer version knows and an older one does not.
pub(super) fn unknown_outside(
    newer: &crate::service::Version,
    older: &crate::service::Version,
) -> Vec<(DatabaseName, String)> {
    let outside = newer.databases.iter().filter(|it| !it.is_moved());
    let contractions = outside.flat_map(|of| {
        let contracts = of.files.iter().filter(|file| file.class == MigrationClass::Contract);
        contracts.map(|file| (of.database.name.clone(), file.name.clone()))
    });
    let knows = |database: &DatabaseName, name: &str| {
        older.databases.iter().any(|it| it.database.name == *database && it.file(name).is_some())
    };
    contractions.filter(|(database, name)| !knows(database, name)).collect()
}

/// Says of what is gone back from that its migrations stay.
fn stays_as_it_is(world: &World, environment: &Environment, change: &EntryChange) -> Vec<String> {
    let (Some(from), Some(to)) = (&change.from, &change.to) else { return Vec::new() };
    if from.version <= to.version {
        return Vec::new();
    }
    let (newer, older) = (from.arm(&change.service).version_ref(), to.arm(&change.service).version_ref());
    let Some(version) = world.version(&newer) else { return Vec::new() };
    let of_one = |of: &VersionDatabase| {
        let (name, known) = (&of.database.name, environment.databases.get(&of.database.name)?);
        let older_has = brought(world, &older, name);
        let is_left = |file: &&str| known.has(file) && older_has.is_none_or(|it| it.file(file).is_none());
        let left: Vec<_> = of.files.iter().map(|file| file.name.as_str()).filter(is_left).collect();
        let last = left.last()?;
        let count = left.len();
        Some(format!(
            "database `{name}` keeps the {count} migrations of {newer} up to `{last}`: nothing of it is undone"
        ))
    };
    moved(version).filter_map(of_one).collect()
}

/// Resolves what is wanted of a database.
pub(super) fn resolve(
    world: &World,
    environment: &Environment,
    (database, wish, version): (&DatabaseName, &DatabaseWish, Option<&VersionRef>),
) -> Result<Resolved, Vec<Refusal>> {
    if let Some(refusal) = version.and_then(|version| missing(world, version)) {
        return Err(vec![refusal]);
    }
    let (arm, of) = match wish {
        DatabaseWish::Revert { .. } => takes_back(world, environment, database, version)?,
        _ => brings(world, environment, database, version)?,
    };
    let mut resolved = Resolved::new(environment, Direction::Forward);
    let (act, expected) = match wish {
        DatabaseWish::Look => (Act::Look, Vec::new()),
        DatabaseWish::Accept => (Act::Accept, Vec::new()),
        DatabaseWish::Adopt { through } => {
            let through = file(world, (&arm, of), through)?;
            let doubt = in_doubt(environment, (&arm.version_ref(), of));
            doubt.map_or(Ok(()), |refusal| Err(vec![refusal.into()]))?;
            (Act::Adopt { through }, Vec::new())
        }
        DatabaseWish::Settle { migration, done } => {
            let migration = file(world, (&arm, of), migration)?;
            (Act::Settle { migration, done: *done }, Vec::new())
        }
        DatabaseWish::Revert { back, .. } => {
            let doubt = in_doubt(environment, (&arm.version_ref(), of));
            doubt.map_or(Ok(()), |refusal| Err(vec![refusal.into()]))?;
            database_revert::resolve((world, environment), (&arm, of), back, &mut resolved)?
        }
        DatabaseWish::Contract { .. } => {
            let migrations = to_contract(world, environment, (&arm.version_ref(), of), version.is_some())?;
            let by = (&arm.version_ref(), of);
            resolved.contraction = Some(crate::database::contraction(world, environment, by, &migrations));
            (Act::Apply { through: migrations.last().cloned() }, migrations)
        }
    };
    if resolved.contraction.is_some() || resolved.reversal.is_some() {
        resolved.jobs.push(look(&arm, of, When::ByHand));
    }
    let run = DatabaseRun { database: database.clone(), act, expected, left_out: BTreeMap::new() };
    resolved.jobs.push(PlannedJob::at_database(&arm, of, run, When::ByHand));
    Ok(resolved)
}

/// The rules by which alone versions run: what is deployed or on its way would run without them.
pub(super) fn given(environment: &Environment, versions: &BTreeSet<VersionRef>) -> Vec<VersionRule> {
    let targets = environment.under_way().map(|operation| &operation.plan.target);
    let entries = std::iter::once(environment.entries()).chain(targets).flatten();
    let deployed: BTreeSet<_> = entries.map(|(service, entry)| entry.arm(service).version_ref()).collect();
    let is_given = |rule: &&VersionRule| {
        let version = rule.arm().version_ref();
        versions.contains(&version) && !deployed.contains(&version)
    };
    environment.version_rules.rules.iter().filter(is_given).cloned().collect()
}

fn file(world: &World, (arm, of): (&Arm, &VersionDatabase), name: &str) -> Result<String, Vec<Refusal>> {
    let found = of.file(name).map(|file| file.name.clone());
    let brings =
        |it: &VersionRef| brought(world, it, &of.database.name).is_some_and(|of| of.file(name).is_some());
    let others = || {
        let versions = world.known_service(&arm.service).into_iter().flat_map(|it| it.versions.keys().rev());
        let mut others =
            versions.map(|version| VersionRef { service: arm.service.clone(), version: version.clone() });
        others.find(brings)
    };
    let missing = || DatabaseRefusal::NoMigration {
        version: arm.version_ref(),
        database: of.database.name.clone(),
        migration: name.to_owned(),
        last: of.files.last().map(|file| file.name.clone()),
        by: others(),
    };
    found.ok_or_else(|| vec![missing().into()])
}

/// Finds the version by which a database is reached: the one that was named, or of those in force the one that knows most of it.
fn brings<'a>(
    world: &'a World,
    environment: &Environment,
    database: &DatabaseName,
    version: Option<&VersionRef>,
) -> Result<(Arm, &'a VersionDatabase), Vec<Refusal>> {
    let named = version.map(|version| {
        let config = environment.configuration_in_force(&version.service);
        Arm { service: version.service.clone(), version: version.version.clone(), config, process: None }
    });
    let running = environment.entries().iter().map(|(service, entry)| entry.arm(service));
    let candidates = match named {
        Some(arm) => vec![arm],
        None => running.collect(),
    };
    let found = candidates.into_iter().filter_map(|arm| {
        let of = brought(world, &arm.version_ref(), database)?;
        Some((arm, of))
    });
    let none = || DatabaseRefusal::None {
        database: database.clone(),
        environment: environment.name.clone(),
        version: version.cloned(),
    };
    found.max_by_key(|(_, of)| of.files.len()).ok_or_else(|| vec![none().into()])
}

/// Finds the version whose ways down run: the one that was named, one in force, or where these do not bring all that the database has, of
/// those that ran here the last one that does: mostly the one that was gone back from.
fn takes_back<'a>(
    world: &'a World,
    environment: &Environment,
    database: &DatabaseName,
    version: Option<&VersionRef>,
) -> Result<(Arm, &'a VersionDatabase), Vec<Refusal>> {
    let found = brings(world, environment, database, version);
    let Some(known) = environment.databases.get(database).filter(|_| version.is_none()) else {
        return found;
    };
    let is_all = |of: &VersionDatabase| known.behind(None).iter().all(|name| of.file(name).is_some());
    if found.as_ref().is_ok_and(|(_, of)| is_all(of)) {
        return found;
    }
    let ran = environment.baselines.services().flat_map(|service| {
        let versions = environment.baselines.versions_of(service);
        versions.map(|(version, baseline)| {
            (baseline.number, VersionRef { service: service.clone(), version: version.clone() })
        })
    });
    let is_one = |(_, version): &(u64, VersionRef)| brought(world, version, database).is_some_and(is_all);
    match ran.filter(is_one).max() {
        Some((_, last)) => brings(world, environment, database, Some(&last)),
        None => found,
    }
}

/// Returns the migrations up to the last contraction that a version knows and its database lacks.
fn to_contract(
    world: &World,
    environment: &Environment,
    (version, of): (&VersionRef, &VersionDatabase),
    is_named: bool,
) -> Result<Vec<String>, Vec<Refusal>> {
    let database = of.database.name.clone();
    let refuse = |refusal: DatabaseRefusal| Err(vec![refusal.into()]);
    if let Some(refusal) =
        in_doubt(environment, (version, of)).or_else(|| lost(world, environment, &database))
    {
        return refuse(refusal);
    }
    let name = environment.name.clone();
    let Some(known) = environment.databases.get(&database) else {
        let by = is_named.then(|| version.clone());
        return refuse(DatabaseRefusal::NeverSeen { database, environment: name, by });
    };
    let mut missing = known.missing(of);
    let is_contraction = |name: &String| of.file(name).is_some_and(|it| it.class == MigrationClass::Contract);
    let Some(last) = missing.iter().rposition(is_contraction) else {
        return refuse(DatabaseRefusal::NothingToContract { database, environment: name });
    };
    missing.truncate(last + 1);
    let users = Users::of(world, environment, &of.database.name, environment.entries());
    let contractions: Vec<_> = missing.iter().filter(|name| is_contraction(name)).collect();
    let needs: BTreeSet<_> = in_force(environment)
        .into_iter()
        .filter(|version| contractions.iter().any(|name| users.is_stranger(version, name)))
        .collect();
    let mut elsewhere = BTreeSet::new();
    for other in others(world, environment, &of.database.name) {
        let of_other = contractions.iter().flat_map(|name| other.needs(name));
        elsewhere.extend(of_other.map(|version| (other.environment.name.clone(), version)));
    }
    if needs.is_empty() && elsewhere.is_empty() {
        return Ok(missing);
    }
    let migration = contractions.first().map(|name| (*name).clone()).unwrap_or_default();
    let given = given(environment, &needs);
    let (by, elsewhere) = (needs.into_iter().collect(), elsewhere.into_iter().collect());
    refuse(DatabaseRefusal::StillNeeded { database, environment: name, migration, by, elsewhere, given })
}

/// The databases that a plan has to do with.
pub(super) fn of_changes(
    world: &World,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> BTreeSet<DatabaseName> {
    let moves = changes.iter().flat_map(|change| {
        [&change.from, &change.to].into_iter().flatten().map(|entry| entry.arm(&change.service).version_ref())
    });
    let names = moves.filter_map(|version| world.version(&version)).flat_map(|it| moved(it));
    let asked = resolved.jobs.iter().filter_map(|planned| planned.database.as_ref());
    names.map(|of| of.database.name.clone()).chain(asked.map(|run| run.database.clone())).collect()
}
