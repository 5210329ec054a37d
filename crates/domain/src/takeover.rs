//! Which versions of a service cannot run beside each other, and what follows: the old one ends before the new one starts.
//!
//! Invariant: an instance is started only when nothing is left that it cannot run beside, and of a worker no third version.

use std::collections::BTreeSet;

use crate::baseline::{BaselineEntry, EntryChange};
use crate::drain::drain_ms;
use crate::environment::Environment;
use crate::instance::{Arm, Instance};
use crate::mend::run_of;
use crate::observed::Observed;
use crate::operation::{Move, Operation};
use crate::process;
use crate::run::{Kind, Port, Takeover, same_port};
use crate::world::World;

/// Returns how a version takes over from what runs.
#[must_use]
pub(crate) fn of_change(world: &World, change: &EntryChange) -> Takeover {
    let run = |entry: &BaselineEntry| run_of(world, &entry.arm(&change.service));
    match (change.from.as_ref().and_then(run), change.to.as_ref().and_then(run)) {
        (Some(old), Some(new)) => Takeover::between(old, new),
        _ => Takeover::Beside,
    }
}

/// Tells whether something has not ended yet that an instance of this arm cannot run beside.
#[must_use]
pub fn is_blocked(world: &World, observed: &Observed, arm: &Arm) -> bool {
    let Some(run) = run_of(world, arm) else { return false };
    let stands_in_the_way = |other: &&Instance| match run_of(world, &other.arm) {
        // On hosts two that have one port start on different ones, or not at all.
        Some(theirs)
            if other.host.is_some() && other.arm.service != arm.service && same_port(theirs, run) =>
        {
            false
        }
        Some(_) if other.arm == *arm => run.port != Port::Assigned && other.host.is_none(),
        // Another process of the same version.
        Some(theirs) if other.arm.main() == arm.main() => same_port(theirs, run),
        Some(theirs) if other.arm.service == arm.service => {
            process::are_apart(world, arm, &other.arm) || same_port(theirs, run)
        }
        Some(theirs) => same_port(theirs, run),
        None => false,
    };
    let mut standing = observed.instances.iter().filter(|instance| !instance.state.is_over());
    standing.any(|other| stands_in_the_way(&other)) || would_be_third(observed, arm, run.kind)
}

/// Tells whether two other versions of a worker are at work still: what was taken back ends before a third one starts.
fn would_be_third(observed: &Observed, arm: &Arm, kind: Kind) -> bool {
    let same_work = |other: &&Arm| other.service == arm.service && other.process == arm.process;
    let standing = observed.instances.iter().filter(|instance| !instance.state.is_over());
    let versions = standing.map(|instance| &instance.arm).filter(same_work).map(|other| &other.version);
    let others: BTreeSet<_> = versions.filter(|version| **version != arm.version).collect();
    kind == Kind::Worker && others.len() > 1
}

/// The arms that end before what takes their place starts.
fn ends_first(part: &Move) -> impl Iterator<Item = Arm> {
    let main = part.from_arm().filter(|_| part.gives_way());
    let others = part.processes.iter().filter(|it| it.takeover == Takeover::OldFirst);
    main.into_iter().chain(others.filter_map(|it| it.from_arm(part)))
}

/// How long the old instances of an operation may take to end, beside what the new ones take to start.
#[must_use]
pub(crate) fn ending_ms(world: &World, environment: &Environment, operation: &Operation) -> u64 {
    let old = operation.plan.moves().flat_map(ends_first);
    let of_arm = |arm: Arm| {
        let stop_ms = run_of(world, &arm)?.stop.timeout_ms;
        Some(drain_ms(world, environment, &arm).saturating_add(stop_ms))
    };
    old.filter_map(of_arm).max().unwrap_or_default()
}
