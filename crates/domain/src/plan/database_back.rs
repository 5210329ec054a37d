//! Whether a version works at the databases of an environment as they are: the one place that decides, for plans, for readiness, and for
//! who asks.
//!
//! Where Lockstep moves a database, what counts is what was observed there. What a version says of the same folder as a contract is compared
//! without knowing what ran, so nothing of that is said beside it.

use crate::compat::{DatabaseAnswer, Relation};
use crate::contract::Verdict;
use crate::database::{KnownDatabase, MigrationClass, MigrationFile, VersionDatabase, brought, moved};
use crate::environment::Environment;
use crate::name::ServiceName;
use crate::plan::check::database_words;
use crate::plan::databases::{contracted, unknown_outside};
use crate::service::Version;
use crate::version::VersionRef;
use crate::world::World;

/// What is known of a version at a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFinding {
    /// Whether it works there.
    pub verdict: Verdict,
    /// That in a sentence.
    pub what: String,
    /// Why, the worst first.
    pub reasons: Vec<String>,
    /// What no way back restores.
    pub one_way: Vec<String>,
}

impl DatabaseFinding {
    fn of(verdict: Verdict, what: String) -> Self {
        Self { verdict, reasons: vec![what.clone()], what, one_way: Vec::new() }
    }
}

/// Says how a version stands at the databases of an environment, after the one that runs there or beside it. Nothing where it shares none.
#[must_use]
pub fn on_databases(
    relation: Relation<'_>,
    environment: &Environment,
    (service, live, version): (&ServiceName, Option<&Version>, &Version),
) -> Vec<DatabaseFinding> {
    let world = relation.world;
    let reference = VersionRef { service: service.clone(), version: version.number.clone() };
    let gone = contracted(world, environment, &reference, environment.entries()).into_iter();
    let mut found: Vec<_> =
        gone.map(|refusal| DatabaseFinding::of(Verdict::Breaking, refusal.to_string())).collect();
    let Some(live) = live.filter(|live| live.number != version.number) else { return found };
    found.extend(going_down(world, environment, (live, version, &reference)));
    found.extend(relation.database(live, version).map(|answer| of_contract(service, answer)));
    let shared = moved(live).find(|of| moved(version).any(|it| it.database.name == of.database.name));
    if let Some(of) = shared.filter(|_| found.is_empty()) {
        let what = format!("database `{}` has nothing that it was not written for", of.database.name);
        found.push(DatabaseFinding::of(Verdict::Compatible, what));
    }
    found
}

/// What the versions of a service say that goes down, apart from contractions that were observed: those are refused.
pub(super) fn going_down(
    world: &World,
    environment: &Environment,
    (live, version, reference): (&Version, &Version, &VersionRef),
) -> Vec<DatabaseFinding> {
    if live.number <= version.number {
        return Vec::new();
    }
    let outside = unknown_outside(live, version).into_iter().map(|(database, name)| {
        let what = format!(
            "`{name}` of database `{database}` contracts and is applied outside of Lockstep: where it ran, {reference} does not work with it"
        );
        DatabaseFinding::of(Verdict::Breaking, what)
    });
    let of_one = |of: &VersionDatabase| match environment.databases.get(&of.database.name) {
        Some(known) => unread(of, known, brought(world, reference, &of.database.name), reference),
        None => unseen(of, brought(world, reference, &of.database.name), reference),
    };
    outside.chain(moved(live).filter_map(of_one)).collect()
}

/// What a database has that a version was not written for, and of which nobody knows whether it works with it.
fn unread(
    of: &VersionDatabase,
    known: &KnownDatabase,
    brings: Option<&VersionDatabase>,
    version: &VersionRef,
) -> Option<DatabaseFinding> {
    let database = &of.database.name;
    let begun = known.told.half.iter().map(|name| (name, None));
    let has = known.told.recorded.iter().map(|it| (&it.name, it.class)).chain(begun);
    let strange = has.filter(|(name, _)| brings.is_none_or(|it| it.file(name).is_none()));
    let mut one_way = Vec::new();
    let mut reasons = Vec::new();
    for (name, class) in strange {
        let file = of.file(name);
        let is = |class: Option<MigrationClass>, wanted| class == Some(wanted);
        // What contracts is refused where it was seen; what is half of one is not known.
        if is(class, MigrationClass::Contract) {
            continue;
        }
        let why = file.map(MigrationFile::unread).unwrap_or_default();
        let is_unread = is(class, MigrationClass::NotChecked) || !why.is_empty();
        if is_unread {
            let why = why.first().map(|why| format!(": {why}")).unwrap_or_default();
            reasons.push(format!(
                "`{name}` of database `{database}` was applied and not understood, and {version} was written without it{why}"
            ));
        }
        for what in file.into_iter().flat_map(|file| &file.one_way) {
            reasons.push(format!(
                "`{name}` of database `{database}` was applied and is one-way, and {version} was written without it: {what}"
            ));
            one_way.push(format!("{name}: {what}"));
        }
    }
    let what = reasons.first()?.clone();
    Some(DatabaseFinding { verdict: Verdict::NotChecked, what, reasons, one_way })
}

/// A database that nobody has looked at may have all that the version that runs brings.
fn unseen(
    of: &VersionDatabase,
    brings: Option<&VersionDatabase>,
    version: &VersionRef,
) -> Option<DatabaseFinding> {
    let is_known = |file: &MigrationFile| brings.is_some_and(|it| it.file(&file.name).is_some());
    let may_harm = |file: &&MigrationFile| {
        file.class == MigrationClass::Contract || !file.unread().is_empty() || !file.one_way.is_empty()
    };
    let file = of.files.iter().filter(|file| !is_known(file)).find(may_harm)?;
    let (name, database) = (&file.name, &of.database.name);
    let what = format!(
        "nobody has looked at database `{database}`: whether it has `{name}`, which {version} was written without, is not known"
    );
    Some(DatabaseFinding::of(Verdict::NotChecked, what))
}

fn of_contract(service: &ServiceName, found: DatabaseAnswer) -> DatabaseFinding {
    let what = database_words(service, &found).unwrap_or_default();
    let answer = found.answer;
    DatabaseFinding { verdict: answer.verdict, what, reasons: answer.reasons, one_way: answer.one_way }
}

/// Says in a plan what is not known of the versions that go down.
pub(super) fn warnings(
    world: &World,
    environment: &Environment,
    change: &crate::baseline::EntryChange,
) -> Vec<String> {
    let version = |entry: &Option<crate::baseline::BaselineEntry>| {
        let reference = entry.as_ref()?.arm(&change.service).version_ref();
        Some((world.version(&reference)?, reference))
    };
    let (Some((live, _)), Some((to, reference))) = (version(&change.from), version(&change.to)) else {
        return Vec::new();
    };
    going_down(world, environment, (&**live, &**to, &reference))
        .into_iter()
        .flat_map(|found| found.reasons)
        .collect()
}

/// Tells whether a version brings the folder of a contract as a database that Lockstep moves.
pub(crate) fn is_moved_folder(version: &Version, contract: &str) -> bool {
    let folder = contract.trim_end_matches('/');
    moved(version).any(|of| of.database.migrations.as_str().trim_end_matches('/') == folder)
}
