//! What is looked at once more when the steps of an operation at databases go on: what one of them observed may be what its plan did not know.
//! A plan that is the first in its environment knows nothing of its database, and so nothing of who else works with it.

use crate::database::{Act, DatabaseRun, brought, contracts, others};
use crate::environment::Environment;
use crate::fault::Cause;
use crate::job::{PlannedJob, When};
use crate::operation::{Operation, Phase};
use crate::plan::database_revert;
use crate::plan::databases::{contracted, lost};
use crate::world::World;

/// Says why an operation does not go on at its databases: a step that is to begin would take what somebody needs, or what starts after the
/// last one does not work with what was found.
pub(crate) fn in_the_way(world: &World, environment: &Environment, operation: &Operation) -> Option<Cause> {
    let first: Vec<_> =
        operation.plan.jobs.iter().take_while(|planned| planned.when != When::AfterDeploy).collect();
    let is_at_database = first.iter().any(|planned| planned.database.is_some());
    let is_over = operation.jobs.iter().all(|run| run.end.as_ref().is_some_and(|end| end.failure.is_none()));
    let is_at_its_beginning = matches!(operation.phase, Phase::Preparing { wave: 0, .. });
    if !is_at_database || !is_over || !is_at_its_beginning {
        return None;
    }
    let why = match first.get(operation.jobs.len()) {
        Some(planned) => begins(world, environment, operation, planned),
        None if operation.jobs.len() == first.len() => starts(world, environment, operation),
        None => None,
    };
    why.map(Cause::of_nobody)
}

/// Why a step does not begin.
fn begins(
    world: &World,
    environment: &Environment,
    operation: &Operation,
    planned: &PlannedJob,
) -> Option<String> {
    let run = planned.database.as_deref()?;
    let version = planned.arm.version_ref();
    if matches!(run.act, Act::Apply { .. })
        && let Some(lost) = lost(world, environment, &run.database)
    {
        return Some(lost.to_string());
    }
    if let DatabaseRun { database, act: Act::Revert { migrations, to }, .. } = run {
        let of = brought(world, &version, database)?;
        let asked = (migrations.as_slice(), to.as_deref());
        return database_revert::begins(world, environment, (database, of), asked, operation.begun);
    }
    let DatabaseRun { database, act: Act::Apply { through: Some(through) }, expected, .. } = run else {
        return None;
    };
    let of = brought(world, &version, database)?;
    let known = environment.databases.get(database)?;
    let last = of.files.iter().position(|file| file.name == *through)?;
    let lacks = |name: &&String| !known.has(name);
    let missing: Vec<_> = of.files[..=last].iter().map(|file| &file.name).filter(lacks).collect();
    let taken: Vec<_> = missing.iter().copied().filter(|name| contracts(of, name)).collect();
    let first = *taken.first()?;
    if let Some(more) = missing.iter().find(|&&name| !expected.contains(name)) {
        return Some(format!(
            "database `{database}` is not as it was when this was planned: it lacks `{more}`"
        ));
    }
    for other in others(world, environment, database) {
        if let Some((name, by)) = taken.iter().find_map(|name| Some((name, other.needs(name).pop_first()?))) {
            let place = &other.environment.name;
            return Some(format!(
                "`{name}` of database `{database}` contracts, and {by} needs the old form in `{place}`, which has the same database"
            ));
        }
    }
    let is_approved = operation.plan.contraction.is_some();
    (!is_approved && is_strange(environment, operation, planned)).then(|| {
        format!(
            "`{first}` of database `{database}` contracts, and the database has migrations that nobody in `{}` applied: somebody else works with \
             it; once nothing needs the old form: lockstep database contract {database} --env {} --version {version}",
            environment.name, environment.name
        )
    })
}

/// Tells whether a database has a record of which nothing was made in its environment.
fn is_strange(environment: &Environment, operation: &Operation, planned: &PlannedJob) -> bool {
    let Some(run) = planned.database.as_deref() else { return false };
    let has = environment.databases.get(&run.database).is_some_and(|it| !it.told.recorded.is_empty());
    let is_made =
        |it: &DatabaseRun| it.database == run.database && !matches!(it.act, Act::Look | Act::Accept);
    let before = environment.operations.iter().filter(|it| it.id != operation.id);
    let mut ran = before.flat_map(|it| it.job_runs()).chain(operation.job_runs());
    has && !ran.any(|(planned, _)| planned.database.as_deref().is_some_and(is_made))
}

/// Why nothing starts.
fn starts(world: &World, environment: &Environment, operation: &Operation) -> Option<String> {
    let applied = operation.plan.jobs.iter().filter_map(|planned| planned.database.as_deref());
    let mut applied = applied.filter(|run| matches!(run.act, Act::Apply { .. }));
    if let Some(lost) = applied.find_map(|run| lost(world, environment, &run.database)) {
        return Some(lost.to_string());
    }
    let versions = operation.plan.moves().filter_map(|part| Some(part.to_arm()?.version_ref()));
    let mut gone =
        versions.flat_map(|version| contracted(world, environment, &version, &operation.plan.target));
    gone.next().map(|refusal| refusal.to_string())
}
