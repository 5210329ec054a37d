//! What taking migrations back takes away: asked for by their names, shown before it is done, and approved as it was shown.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contraction::code_of;
use super::{Applied, KnownDatabase, MigrationClass, MigrationFile, Users, VersionDatabase, others};
use crate::baseline::Baseline;
use crate::digest::Digest;
use crate::environment::Environment;
use crate::name::{DatabaseName, EnvironmentName};
use crate::version::VersionRef;
use crate::world::World;

/// Most baselines that are named one by one, the newest of them.
const MAX_BASELINES: usize = 20;

/// The way down that a version brings for a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WayDown {
    /// The file that it is, or is part of; the program, where one takes it back.
    pub file: String,
    /// Of its text.
    pub digest: Digest,
    /// What it does to the versions around it.
    pub class: MigrationClass,
    /// What it takes away or changes, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<String>,
    /// What it does not make as it was before the migration, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<String>,
    /// What of it was not understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_understood: Vec<String>,
}

impl WayDown {
    /// Tells whether nothing that a version may work with goes.
    #[must_use]
    pub fn only_adds(&self) -> bool {
        self.class == MigrationClass::Expand && self.not_understood.is_empty()
    }
}

/// A migration that is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reverted {
    /// Its name.
    pub migration: String,
    /// Of its own text.
    pub digest: Digest,
    /// How it is taken back.
    pub way: WayDown,
}

/// What taking migrations back takes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reversal {
    /// Which database.
    pub database: DatabaseName,
    /// The version whose ways down run.
    pub version: VersionRef,
    /// The artifact of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// What is taken back, the last one first.
    pub migrations: Vec<Reverted>,
    /// The last migration that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Versions that ran here and cannot be gone back to afterwards: a deployment of them applies anew what was taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<VersionRef>,
    /// Such versions of other environments with the same database, or under another name of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_elsewhere: BTreeMap<EnvironmentName, Vec<VersionRef>>,
    /// Versions that ran here, cannot be gone back to now, and can afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<VersionRef>,
    /// The newest baselines that cannot be gone back to as a whole afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines_lost: Vec<u64>,
    /// The newest baselines whose versions can all work there again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines_again: Vec<u64>,
}

impl Reversal {
    /// Returns the word by which exactly this is approved: another one for anything that is not the same.
    #[must_use]
    pub fn code(&self) -> String {
        code_of(self)
    }
}

/// How a version takes one of its migrations back.
///
/// # Errors
/// Says why it does not.
pub(crate) fn way_down(of: &VersionDatabase, file: &MigrationFile) -> Result<WayDown, String> {
    let brings = file.way_down.as_deref();
    match &of.database.applied {
        Applied::ByLockstep => brings.cloned().ok_or_else(|| {
            file.no_way_down.clone().unwrap_or_else(|| "the version brings none for it".to_owned())
        }),
        Applied::ByProgram { revert, .. } if revert.is_empty() => {
            Err("the program of the version takes nothing back: [database] has no `revert`".to_owned())
        }
        Applied::ByProgram { revert, .. } => Ok(by_program(revert, file)),
        Applied::Elsewhere => Err("its migrations are applied outside of Lockstep".to_owned()),
    }
}

/// What a program does is for it to know; what its files say is told beside it.
fn by_program(revert: &[String], file: &MigrationFile) -> WayDown {
    let mut not_understood = vec!["a program takes it back, and nobody knows how".to_owned()];
    let said = file.way_down.as_deref();
    not_understood.extend(said.into_iter().flat_map(|way| way.not_understood.iter().cloned()));
    WayDown {
        file: revert.join(" "),
        digest: said.map_or(file.digest, |way| way.digest),
        class: said.map_or(MigrationClass::NotChecked, |way| way.class.max(MigrationClass::Contract)),
        takes: said.map(|way| way.takes.clone()).unwrap_or_default(),
        leaves: said.map(|way| way.leaves.clone()).unwrap_or_default(),
        not_understood,
    }
}

/// Tells what of a database a version works with that is taken back: it was written for it.
pub(crate) fn works_with<'r>(of: Option<&VersionDatabase>, all: &'r [Reverted]) -> Option<&'r Reverted> {
    let of = of?;
    all.iter().find(|it| !it.way.only_adds() && of.file(&it.migration).is_some())
}

/// Tells whether a way back to a version is closed because of migrations that the database has not any more.
fn lacks(of: Option<&VersionDatabase>, all: &[Reverted]) -> bool {
    let is_gone = |file: &MigrationFile| {
        file.class != MigrationClass::Contract && all.iter().any(|it| it.migration == file.name)
    };
    of.is_some_and(|of| of.files.iter().any(is_gone))
}

/// What taking migrations back takes, and what it opens.
pub(crate) fn reversal(
    world: &World,
    environment: &Environment,
    (version, of): (&VersionRef, &VersionDatabase),
    (known, migrations, to): (&KnownDatabase, Vec<Reverted>, Option<String>),
) -> Reversal {
    let name = &of.database.name;
    let users = Users::of(world, environment, name, environment.entries());
    let stays = |contraction: &&str| !migrations.iter().any(|it| it.migration == *contraction);
    let is_strange = |it: &VersionRef, all: bool| {
        let mut contractions = known.contractions().filter(|name| all || stays(name));
        contractions.any(|name| users.is_stranger(it, name))
    };
    let is_lost = |it: &VersionRef| lacks(users.brings(it), &migrations);
    let opens = |it: &VersionRef| is_strange(it, true) && !is_strange(it, false) && !is_lost(it);
    let ran = users.ran(environment);
    let of_baseline = |it: &Baseline| -> Vec<_> {
        it.entries.iter().map(|(service, entry)| entry.arm(service).version_ref()).collect()
    };
    let numbers = |is_so: &dyn Fn(&[VersionRef]) -> bool| -> Vec<u64> {
        let all = environment.baselines.newest_first().filter(|it| is_so(&of_baseline(it)));
        all.map(|it| it.number).take(MAX_BASELINES).collect()
    };
    let baselines_again =
        numbers(&|all| all.iter().any(&opens) && !all.iter().any(|it| is_lost(it) || is_strange(it, false)));
    Reversal {
        database: name.clone(),
        version: version.clone(),
        artifact: world.version(version).map(|it| it.artifact.digest),
        lost: ran.iter().filter(|it| is_lost(it)).cloned().collect(),
        lost_elsewhere: elsewhere(world, environment, name, &migrations),
        again: ran.iter().filter(|it| opens(it)).cloned().collect(),
        baselines_lost: numbers(&|all| all.iter().any(&is_lost)),
        baselines_again,
        migrations,
        to,
    }
}

fn elsewhere(
    world: &World,
    environment: &Environment,
    database: &DatabaseName,
    migrations: &[Reverted],
) -> BTreeMap<EnvironmentName, Vec<VersionRef>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for other in others(world, environment, database) {
        let lost: BTreeSet<_> = other.all_that_ran(|of| lacks(of, migrations));
        if !lost.is_empty() {
            found.entry(other.environment.name.clone()).or_default().extend(lost);
        }
    }
    found
}
