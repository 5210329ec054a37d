//! Databases of environments: how a step at one is run, what it said, and what is shown.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::types::{DatabaseView, FailedLook};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::database::{
    Applied, Contraction, MigrationClass, Reversal, Step, Taken, Told, VersionDatabase, brought, place_of,
    unapproved,
};
use lockstep_domain::intent::{BackTo, DatabaseWish};
use lockstep_domain::job::{Job, PlannedJob};
use lockstep_domain::name::DatabaseName;
use lockstep_domain::observed::Observed;
use lockstep_domain::run::RunSpec;
use lockstep_domain::service::Version;
use lockstep_domain::{
    Arm, Digest, Environment, EnvironmentName, InstanceId, Intent, Plan, VersionRef, World,
};

use crate::{Control, lock};

/// Operations that are searched for the last step at a database: a status is asked for often, and an environment has thousands.
const MAX_OPERATIONS: usize = 200;

impl Control {
    /// Reads what steps at databases have said that are over and whose end is not recorded yet.
    pub(crate) fn told_by_steps(
        &self,
        environment: &Environment,
        observed: &Observed,
    ) -> BTreeMap<InstanceId, Told> {
        let begun = environment.under_way().filter_map(|operation| operation.job_runs().last());
        let steps = begun.filter(|(planned, run)| planned.database.is_some() && run.end.is_none());
        let is_over = |id: &InstanceId| observed.jobs.iter().any(|it| it.id == *id && it.state.is_over());
        let over = steps.filter(|(_, run)| is_over(&run.instance));
        over.filter_map(|(planned, run)| {
            let mut told = self.told_by_step(&environment.name, &run.instance)?;
            // What it says of that itself counts for nothing.
            told.place = self.place_of_database(environment, planned, &run.instance);
            Some((run.instance.clone(), told))
        })
        .collect()
    }

    /// Where the database of a step is, by the address that its version gets.
    fn place_of_database(
        &self,
        environment: &Environment,
        planned: &PlannedJob,
        id: &InstanceId,
    ) -> Option<Digest> {
        let world = self.ledger.world();
        let version = world.version(&planned.arm.version_ref())?;
        let run = planned.database.as_deref()?;
        let of = version.databases.iter().find(|it| it.database.name == run.database)?;
        let step = run_of_step(version, planned, "")?;
        let spec = self.spec(&world, environment, (version, &planned.arm), (id.clone(), step));
        let address = spec.ok()?.value_of(&of.database.variable)?;
        let data_of = world.known_service(&planned.arm.service)?.data_name();
        place_of(&address, &format!("{}/{data_of}", environment.name))
    }

    fn told_by_step(&self, environment: &EnvironmentName, id: &InstanceId) -> Option<Told> {
        let said = tokio::task::block_in_place(|| self.driver.said_of_database(environment, id));
        let Some(text) = said else { return self.never_started(id) };
        let told: Told = serde_json::from_slice(&text).ok()?;
        told.is_sound().then_some(told)
    }

    /// What is told of a step that could not even be started: it has done nothing.
    fn never_started(&self, id: &InstanceId) -> Option<Told> {
        let launch = lock(&self.launches).get(id).cloned();
        let is_over = launch.is_some_and(|launch| launch.state.is_over());
        let is_unknown = is_over && self.driver.instance(id).is_none();
        is_unknown.then(|| Told { unread: true, untouched: true, ..Told::default() })
    }
}

/// Says how a step at a database is run.
pub(crate) fn run_of_step(version: &Version, planned: &PlannedJob, program: &str) -> Option<RunSpec> {
    let run = planned.database.as_deref()?;
    let of = version.databases.iter().find(|it| it.database.name == run.database)?;
    let step = Step::new(of, run, planned.arm.version_ref().to_string(), &version.run.data);
    Some(Job::at_database(planned, step.command(program), &version.run))
}

/// Refuses a plan that takes something of a database for ever, unless exactly that was approved.
pub(crate) fn approved(plan: &Plan, intent: &Intent, environment: &EnvironmentName) -> Result<(), Problem> {
    let Some(taken) = unapproved(plan, intent) else { return Ok(()) };
    let (what, command, database, said) = match taken {
        Taken::Contraction(it) => ("contracting", "contract".to_owned(), &it.database, takes(it)),
        Taken::Reversal(it) => ("taking migrations back of", revert_of(intent), &it.database, takes_back(it)),
    };
    let (verb, options) = command.split_once(' ').unwrap_or((&command, ""));
    let options = if options.is_empty() { String::new() } else { format!(" {options}") };
    let detail = format!("{what} database `{database}` of `{environment}` is not approved as it is now");
    let parts = said.into_iter().map(|detail| ProblemPart { detail, ..ProblemPart::default() });
    let by = match intent {
        Intent::Database { version: Some(version), .. } => format!(" --version {version}"),
        _ => String::new(),
    };
    let hint = format!(
        "when that is what you want: lockstep database {verb} {database}{options} --env {environment}{by} --approve {}",
        taken.code()
    );
    Err(Problem::new(ErrorCode::Refused, detail).with_problems(parts.collect()).with_hint(hint))
}

/// Says what a contraction takes.
fn takes(contraction: &Contraction) -> Vec<String> {
    let by = contraction.version.as_ref().map(|version| format!(" of {version}")).unwrap_or_default();
    let migrations = format!("it applies {}{by}", contraction.migrations.join(", "));
    let unread = contraction.not_understood.iter().map(|(name, why)| {
        format!("`{name}` was not understood, so it may take anything: {}", why.join("; "))
    });
    let lost: Vec<_> = contraction.lost.iter().map(ToString::to_string).collect();
    let lost = (!lost.is_empty()).then(|| format!("these cannot come back afterwards: {}", lost.join(", ")));
    std::iter::once(migrations).chain(unread).chain(lost).collect()
}

/// The command of an intent that takes migrations back, with which.
fn revert_of(intent: &Intent) -> String {
    match intent {
        Intent::Database { wish: DatabaseWish::Revert { back: BackTo::To(to), .. }, .. } => {
            format!("revert --to {to}")
        }
        Intent::Database { wish: DatabaseWish::Revert { back: BackTo::Steps(names), .. }, .. } => {
            let steps: Vec<_> = names.iter().map(|name| format!("--step {name}")).collect();
            format!("revert {}", steps.join(" "))
        }
        _ => "revert".to_owned(),
    }
}

/// Says what taking migrations back takes.
fn takes_back(reversal: &Reversal) -> Vec<String> {
    let one = |it: &lockstep_domain::database::Reverted| {
        let way = &it.way;
        let said: Vec<_> = way.takes.iter().chain(&way.leaves).chain(&way.not_understood).cloned().collect();
        let said = if said.is_empty() { "nothing that is known".to_owned() } else { said.join("; ") };
        format!(
            "it takes back `{}` of {} by `{}`, which takes: {said}",
            it.migration, reversal.version, way.file
        )
    };
    let lost: Vec<_> = reversal.lost.iter().map(ToString::to_string).collect();
    let lost = (!lost.is_empty())
        .then(|| format!("only a deployment brings these back afterwards: {}", lost.join(", ")));
    reversal.migrations.iter().map(one).chain(lost).collect()
}

/// The databases of an environment: those that versions in force bring, and those that were seen.
pub(crate) fn views(world: &World, environment: &Environment) -> Vec<DatabaseView> {
    let arms = environment.entries().iter().map(|(service, entry)| entry.arm(service));
    let versions: Vec<VersionRef> = arms.map(|arm: Arm| arm.version_ref()).collect();
    let brings = versions.iter().filter_map(|version| world.version(version)).flat_map(|it| &it.databases);
    let brought: BTreeSet<_> = brings.map(|it| it.database.name.clone()).collect();
    let names: BTreeSet<_> = brought.into_iter().chain(environment.databases.keys().cloned()).collect();
    names.into_iter().map(|name| view(world, environment, &versions, name)).collect()
}

fn view(
    world: &World,
    environment: &Environment,
    versions: &[VersionRef],
    name: DatabaseName,
) -> DatabaseView {
    let of =
        |version: &VersionRef| world.version(version)?.databases.iter().find(|it| it.database.name == name);
    let by: Vec<_> = versions.iter().filter(|version| of(version).is_some()).cloned().collect();
    let most = by.iter().filter_map(|version| brought(world, version, &name));
    let most = most.max_by_key(|it| it.files.len());
    let known = environment.databases.get(&name).cloned();
    let missing = match (most, &known) {
        (Some(of), Some(known)) => known.missing(of),
        _ => Vec::new(),
    };
    let contracts = |file: &&String| most.is_some_and(|of| is_contraction(of, file));
    DatabaseView {
        contractions: missing.iter().filter(contracts).cloned().collect(),
        applied: by
            .iter()
            .filter_map(of)
            .map(|it| it.database.applied.clone())
            .next()
            .unwrap_or(Applied::ByLockstep),
        failed: failed_look(environment, &name),
        brought_by: by,
        name,
        known,
        missing,
    }
}

/// Why the last step at a database could not read it; `None` where it did, or none ran lately.
fn failed_look(environment: &Environment, name: &DatabaseName) -> Option<FailedLook> {
    let lately = environment.operations.iter().rev().take(MAX_OPERATIONS);
    let runs = lately.flat_map(|operation| {
        let its = operation
            .job_runs()
            .filter(|(planned, _)| planned.database.as_deref().is_some_and(|run| run.database == *name));
        its.last().map(|(_, run)| (operation.id, run))
    });
    let (operation, end) = runs.filter_map(|(id, run)| Some((id, run.end.as_ref()?))).next()?;
    // What was read is known since the very moment of its end.
    let is_known = environment.databases.get(name).is_some_and(|known| known.seen >= end.at);
    let why = end.failure.clone().filter(|_| !is_known)?;
    Some(FailedLook { at: end.at, operation, why })
}

fn is_contraction(of: &VersionDatabase, name: &str) -> bool {
    of.file(name).is_some_and(|file| file.class == MigrationClass::Contract)
}
