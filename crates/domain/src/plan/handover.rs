//! What a plan says of a takeover that is not the usual one: that nobody answers in between, or who works beside whom.

use crate::baseline::{Entries, EntryChange};
use crate::plan::check::{from, port_of, target};
use crate::process;
use crate::run::{Kind, Takeover};
use crate::takeover;
use crate::version::VersionRef;
use crate::world::World;

/// Says what is special about the takeover of a service and of its processes.
pub(super) fn warnings(world: &World, change: &EntryChange) -> Vec<String> {
    main(world, change).into_iter().chain(of_processes(world, change)).collect()
}

/// Says when the processes beside the main one follow, and whether anybody works in between.
fn of_processes(world: &World, change: &EntryChange) -> Option<String> {
    let (old, new) = (from(change)?.version, target(change)?.version);
    let parts = process::moves(world, change);
    let named = |takeover: Takeover| {
        let of = parts.iter().filter(|part| part.from && part.to && part.takeover == takeover);
        of.map(|part| format!("`{}`", part.process)).collect::<Vec<_>>().join(", ")
    };
    let said = [
        (
            Takeover::OldFirst,
            format!("{old} ends before {new} starts, in the last step, and nobody works in between"),
        ),
        (
            Takeover::Beside,
            format!("{old} and {new} work at the same time until the new one is healthy, in the last step"),
        ),
        (
            Takeover::SideBySide,
            format!("{old} and {new} work at the same time, by shares of the instances, until the last step"),
        ),
    ];
    let said =
        said.iter().map(|(takeover, what)| (named(*takeover), what)).filter(|(names, _)| !names.is_empty());
    let said: Vec<_> = said.map(|(names, what)| format!("{names}: {what}")).collect();
    let gone: Vec<_> =
        parts.iter().filter(|part| !part.to).map(|part| format!("`{}`", part.process)).collect();
    let gone =
        (!gone.is_empty()).then(|| format!("{}: ends in the last step, {new} has none", gone.join(", ")));
    let said: Vec<_> = said.into_iter().chain(gone).collect();
    (!said.is_empty()).then(|| format!("`{}` {}", change.service, said.join("; ")))
}

fn main(world: &World, change: &EntryChange) -> Option<String> {
    let (old, new) = (from(change)?, target(change)?);
    if [&old, &new].iter().all(|version| kind_of(world, version) == Some(Kind::Job)) {
        return None;
    }
    let said = match takeover::of_change(world, change) {
        Takeover::OldFirst => gap(world, &old, &new),
        takeover if is_worker(world, &new) => both_work(takeover, &old, &new),
        _ => return None,
    };
    Some(format!("`{}`: {said}", change.service))
}

/// Says who requires a service that becomes a worker or a job, and cannot call it any more.
pub(super) fn calls_nobody(world: &World, goal: &Entries, change: &EntryChange) -> Option<String> {
    let (old, new) = (from(change)?, target(change)?);
    let kind = kind_of(world, &new).filter(|kind| !kind.is_web())?;
    if !kind_of(world, &old)?.is_web() {
        return None;
    }
    let all = goal.iter().map(|(service, entry)| entry.arm(service).version_ref());
    let requires = |version: &VersionRef| {
        let version = world.version(version);
        version.is_some_and(|version| world.requirements_on(version, &change.service).next().is_some())
    };
    let callers: Vec<_> = all.filter(requires).map(|version| version.to_string()).collect();
    let callers = callers.join(", ");
    (!callers.is_empty()).then(|| {
        format!("`{}` becomes a {kind}, which nobody can call: {callers} requires it", change.service)
    })
}

/// Between two versions that cannot run beside each other nobody answers, and nothing compares them.
fn gap(world: &World, old: &VersionRef, new: &VersionRef) -> String {
    let why = match (port_of(world, old), port_of(world, new)) {
        (Some(one), Some(other)) if one == other => format!("both listen on port {one}"),
        _ if kind_of(world, old) != kind_of(world, new) => other_kind(world, old, new),
        _ if is_worker(world, new) => "two versions of a worker never work at once".to_owned(),
        _ => "`replace` of [run] says so".to_owned(),
    };
    let gap = if is_worker(world, old) { "nobody works" } else { "nobody answers" };
    format!(
        "{} ends before {} starts ({why}); {gap} in between, nothing is kept warm, and no requests are compared",
        old.version, new.version
    )
}

fn both_work(takeover: Takeover, old: &VersionRef, new: &VersionRef) -> String {
    let until = match takeover {
        Takeover::SideBySide => "by shares of the instances, until the last step",
        Takeover::Beside | Takeover::OldFirst => "until the new one is healthy",
    };
    let (old, new) = (&old.version, &new.version);
    format!(
        "{old} and {new} work at the same time, {until} (`replace` of [run] says so); nothing is kept warm"
    )
}

fn is_worker(world: &World, reference: &VersionRef) -> bool {
    kind_of(world, reference) == Some(Kind::Worker)
}

fn other_kind(world: &World, old: &VersionRef, new: &VersionRef) -> String {
    let kind = |version| kind_of(world, version).map_or("", Kind::as_str);
    format!("it was a {} and becomes a {}", kind(old), kind(new))
}

fn kind_of(world: &World, reference: &VersionRef) -> Option<Kind> {
    world.version(reference).map(|version| version.run.kind)
}
