//! Why a plan is not carried out because of a database; their words are made here and nowhere else.

use thiserror::Error;

use crate::database::list;
use crate::name::{DatabaseName, EnvironmentName};
use crate::plan::rule_refusal::remove;
use crate::version::VersionRef;
use crate::version_rules::VersionRule;

/// What can still be gone back to, where the form of a database is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// Nobody has planned it.
    NotLooked,
    /// Nothing that was planned.
    Nothing,
    /// This baseline, which a plan leads to.
    Baseline(u64),
}

/// What helps where something stands behind a contraction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// Nobody has planned it.
    NotLooked,
    /// Nobody has looked at the database.
    Unseen,
    /// Contracting it now, which can be planned.
    Contract,
    /// Deploying this version, which can be planned, and contracting then.
    Deploy(VersionRef),
    /// No version that there is.
    Release,
}

/// What is in the way at a database.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseRefusal {
    /// The form that a version needs is gone.
    #[error(
        "`{version}` does not work with database `{database}` of `{environment}` any more: `{migration}` was applied, which it does not know"
    )]
    Contracted {
        /// Which version.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// Which database.
        database: DatabaseName,
        /// What took the form away.
        migration: String,
        /// What can still be gone back to.
        stays: Stays,
    },
    /// The form that a version needs may be gone.
    #[error(
        "`{version}` may not work with database `{database}` of `{environment}` any more: `{migration}` was begun, which it does not know, and \
         nobody has seen since whether it was applied"
    )]
    MayBeContracted {
        /// Which version.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// Which database.
        database: DatabaseName,
        /// What may have taken the form away.
        migration: String,
        /// The version by which it can be looked at.
        by: VersionRef,
    },
    /// Nobody knows how far a run of migrations came.
    #[error("nothing is applied to database `{database}` of `{environment}`: {why}")]
    InDoubt {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// Why.
        why: String,
        /// The version by which it can be looked at.
        by: VersionRef,
        /// The migration that a person settles.
        half: Option<String>,
    },
    /// What a version needs stands behind a contraction.
    #[error(
        "`{version}` brings `{behind}` for database `{database}`, and before it stands `{held_back}`, which contracts: a version that runs or \
         ran in `{environment}` needs the old form"
    )]
    StandsBehind {
        /// Which version.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// Which database.
        database: DatabaseName,
        /// What is needed.
        behind: String,
        /// What is before it.
        held_back: String,
        /// What helps.
        way: Behind,
    },
    /// The program of a version applies everything at once.
    #[error(
        "`{version}` would contract database `{database}` together with what it needs: `{held_back}` contracts, and `apply` cannot stop before it"
    )]
    CannotStop {
        /// Which version.
        version: VersionRef,
        /// Which database.
        database: DatabaseName,
        /// What contracts.
        held_back: String,
    },
    /// There is no such database.
    #[error("{}", none(database, environment, version.as_ref()))]
    None {
        /// What was asked for.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// Of which version.
        version: Option<VersionRef>,
    },
    /// There is no such migration.
    #[error("`{version}` brings no migration `{migration}` for database `{database}`")]
    NoMigration {
        /// Which version.
        version: VersionRef,
        /// Which database.
        database: DatabaseName,
        /// What was asked for.
        migration: String,
        /// The last one that there is.
        last: Option<String>,
        /// Another version of the service, which brings it.
        by: Option<VersionRef>,
    },
    /// Nobody has looked at it.
    #[error("database `{database}` of `{environment}` was never looked at, so what it has is not known")]
    NeverSeen {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// The version by which it is reached, where one was named.
        by: Option<VersionRef>,
    },
    /// It has every contraction already.
    #[error(
        "no version that runs in `{environment}` brings a contraction that database `{database}` does not have"
    )]
    NothingToContract {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
    },
    /// The database has not what a version was written for.
    #[error(
        "`{version}` does not work with database `{database}` of `{environment}`: `{migration}`, which it was written for, {}",
        if *may_be_there { "was begun to be taken back, and nobody has seen since whether it is there" } else { "is not there" }
    )]
    Lacks {
        /// Which version.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// Which database.
        database: DatabaseName,
        /// What is not there.
        migration: String,
        /// It was there when the database was looked at last.
        may_be_there: bool,
    },
    /// It does not have what it had.
    #[error(
        "database `{database}` of `{environment}` has lost {}, which it had: nothing is applied to it, because this may be another database, or an \
         empty one",
        names(migrations)
    )]
    Lost {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// What is not there any more.
        migrations: Vec<String>,
        /// The version by which it is reached, where nothing that runs brings it.
        by: Option<VersionRef>,
    },
    /// A migration that is to stay, or to go, is not there.
    #[error("database `{database}` of `{environment}` does not have `{migration}`")]
    NotThere {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// What was asked for.
        migration: String,
    },
    /// Nothing stands behind what is to stay.
    #[error("database `{database}` of `{environment}` has nothing behind that which would be taken back")]
    NothingToRevert {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
    },
    /// Another one was applied later.
    #[error("`{migration}` of database `{database}` is not taken back alone: `{later}` was applied after it")]
    NotLast {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// What was asked for.
        migration: String,
        /// What stands on it.
        later: String,
    },
    /// Nothing takes a migration back.
    #[error("`{migration}` of database `{database}` has no way down in {version}: {why}")]
    NoWayDown {
        /// By which version.
        version: VersionRef,
        /// Which database.
        database: DatabaseName,
        /// What cannot be taken back.
        migration: String,
        /// Why.
        why: String,
    },
    /// The version by which migrations would be taken back does not bring all of them.
    #[error("database `{database}` of `{environment}` has `{migration}`, which {version} does not bring")]
    BroughtByOther {
        /// By which version.
        version: VersionRef,
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// What it does not bring.
        migration: String,
        /// A version that does.
        by: Option<VersionRef>,
    },
    /// What runs or is warm works with what would be taken away.
    #[error(
        "`{migration}` of database `{database}` of `{environment}` is not taken back: {} works with it, and runs or is warm{}",
        who(by, elsewhere),
        by_rules(given)
    )]
    StillUsed {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// What would be taken back.
        migration: String,
        /// Who works with it.
        by: Vec<VersionRef>,
        /// Who does in other environments with the same database, or under another name of it.
        elsewhere: Vec<(EnvironmentName, VersionRef)>,
        /// The rules that keep some of them running.
        given: Vec<VersionRule>,
    },
    /// What runs needs the old form.
    #[error(
        "`{migration}` cannot be applied to database `{database}` of `{environment}`: {} needs the old form{}",
        who(by, elsewhere),
        by_rules(given)
    )]
    StillNeeded {
        /// Which database.
        database: DatabaseName,
        /// Where.
        environment: EnvironmentName,
        /// What contracts.
        migration: String,
        /// Who needs the old form.
        by: Vec<VersionRef>,
        /// Who needs it in other environments with the same database, or under another name of it.
        elsewhere: Vec<(EnvironmentName, VersionRef)>,
        /// The rules that keep some of them running.
        given: Vec<VersionRule>,
    },
}

/// Says which rules and lanes keep versions running.
fn by_rules(given: &[VersionRule]) -> String {
    let mut said: Vec<_> = given
        .iter()
        .map(|rule| {
            let version = VersionRef { service: rule.service.clone(), version: rule.version.clone() };
            match rule.lane() {
                Some(lane) => format!("; lane {lane} gives {version} to its requests"),
                None => format!("; rule {} gives {version} to its requests", rule.number),
            }
        })
        .collect();
    said.dedup();
    said.concat()
}

/// Names migrations, and of many how many there are.
fn names(migrations: &[String]) -> String {
    match migrations {
        [first, .., last] if migrations.len() > 3 => {
            format!("{} migrations from `{first}` to `{last}`", migrations.len())
        }
        _ => format!("`{}`", migrations.join("`, `")),
    }
}

fn who(by: &[VersionRef], elsewhere: &[(EnvironmentName, VersionRef)]) -> String {
    let there = elsewhere
        .iter()
        .take(5)
        .map(|(environment, version)| format!("{version} of `{environment}`, which has the same database,"));
    let here = (!by.is_empty()).then(|| list(by));
    here.into_iter().chain(there).collect::<Vec<_>>().join(" and ")
}

fn none(database: &DatabaseName, environment: &EnvironmentName, version: Option<&VersionRef>) -> String {
    match version {
        Some(version) => {
            format!("`{version}` brings no migrations for a database `{database}` that Lockstep moves")
        }
        None => format!(
            "no version that runs in `{environment}` brings migrations for a database `{database}` that Lockstep moves"
        ),
    }
}

impl DatabaseRefusal {
    /// Returns the command that helps, or shows more.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Contracted { environment, stays: Stays::Baseline(stays), .. } => {
                format!("baseline {stays} can still be gone back to: lockstep rollback {environment} --to {stays}")
            }
            Self::Contracted { database, environment, stays: Stays::Nothing, .. } => format!(
                "no baseline before what runs can be gone back to; what the database has: lockstep database show {database} --env {environment}"
            ),
            Self::Contracted { database, environment, .. } => {
                format!("lockstep database show {database} --env {environment}")
            }
            Self::MayBeContracted { database, environment, by, .. } => {
                format!("look at it: lockstep database look {database} --env {environment} --version {by}")
            }
            Self::InDoubt { database, environment, by, half, .. } => format!(
                "look at it: lockstep database look {database} --env {environment} --version {by}; what is half-way then is settled by a person: \
                 lockstep database settle {database} {} --done (or --not-done) --env {environment} --version {by}",
                half.as_deref().unwrap_or("MIGRATION")
            ),
            Self::Lost { database, environment, by, .. } => {
                let by = by.as_ref().map(|by| format!(" --version {by}")).unwrap_or_default();
                let look = format!("lockstep database look {database} --env {environment}{by}");
                format!(
                    "bring it back, and then: {look}; where they are gone on purpose, this takes it as it is: {look} --accept-loss"
                )
            }
            Self::StandsBehind { version, database, environment, behind, held_back, way } => {
                let contract = format!("lockstep database contract {database} --env {environment}");
                match way {
                    Behind::Contract => format!("contract first: {contract}"),
                    Behind::Deploy(first) => {
                        format!("lockstep deploy {first} --env {environment}, and once nothing needs the old form: {contract}")
                    }
                    Behind::Unseen => format!(
                        "nobody has looked at it: lockstep database look {database} --env {environment} --version {version}; where it has \
                         migrations by other means, lockstep database adopt"
                    ),
                    Behind::NotLooked | Behind::Release => format!(
                        "release a version that brings `{held_back}` and not `{behind}`, deploy it, and contract then; what there is: \
                         lockstep show {}",
                        version.service
                    ),
                }
            }
            Self::CannotStop { .. } => {
                "let it stop: apply = [\"./migrate\", \"up\", \"{to}\"] is given the last migration that may run".to_owned()
            }
            Self::None { environment, .. } => format!("lockstep database list --env {environment}"),
            Self::NoMigration { by: Some(by), .. } => format!("{by} brings it: name it with --version {by}"),
            Self::NoMigration { last: Some(last), .. } => format!("the last one is `{last}`"),
            Self::NoMigration { version, .. } => format!("lockstep show {version}"),
            Self::NeverSeen { database, environment, by } => {
                let by = by.as_ref().map(|by| format!(" --version {by}")).unwrap_or_default();
                format!("lockstep database look {database} --env {environment}{by}")
            }
            Self::Lacks { version, environment, database, may_be_there: true, .. } => {
                format!("look at it: lockstep database look {database} --env {environment} --version {version}")
            }
            Self::Lacks { version, environment, .. } => {
                format!("a deployment applies it anew: lockstep deploy {version} --env {environment}")
            }
            Self::NotLast { database, environment, migration, .. } => format!(
                "all that stands on it goes first: lockstep database revert {database} --to MIGRATION --env {environment}, with the last one \
                 before `{migration}`"
            ),
            Self::NoWayDown { database, .. } => format!(
                "put one beside it (NAME.down.sql) and release a version with it, or take it back by hand and then: lockstep database look {database}"
            ),
            Self::BroughtByOther { database, environment, by: Some(by), .. } => {
                format!("name one that does: lockstep database revert {database} --env {environment} --version {by}")
            }
            Self::StillUsed { environment, given, .. } if !given.is_empty() => {
                format!("end it first: {}", remove(given, environment))
            }
            Self::StillUsed { environment, elsewhere, .. } => {
                let place = elsewhere.first().map_or(environment, |(place, _)| place);
                format!(
                    "go to versions that were written without it first (lockstep readiness {place}); what is warm ends when its time is over, or \
                     with lockstep environment set {place} --warm 0s"
                )
            }
            Self::NotThere { database, environment, .. }
            | Self::NothingToRevert { database, environment }
            | Self::BroughtByOther { database, environment, .. }
            | Self::NothingToContract { database, environment } => {
                format!("lockstep database show {database} --env {environment}")
            }
            Self::StillNeeded { environment, given, .. } if !given.is_empty() => {
                format!("end it first: {}", remove(given, environment))
            }
            Self::StillNeeded { by, elsewhere, .. } if by.is_empty() && !elsewhere.is_empty() => {
                let place = elsewhere.first().map(|(place, _)| place.as_str()).unwrap_or_default();
                format!("deploy versions that know it there first: lockstep status {place}")
            }
            Self::StillNeeded { environment, .. } => format!("deploy versions that know it first: lockstep status {environment}"),
        }
    }
}
