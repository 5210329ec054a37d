//! Rebalancing: the fewest instances that have to go to another host so that all stand where placement would put them now.
//!
//! What runs is never moved by itself: this says what would be, and an operation does it when somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::{Stance, ZONE_LABEL};
use crate::instance::{Arm, Instance, InstanceId};
use crate::mend::run_of;
use crate::name::HostName;
use crate::placement::{Placing, place, wish_of};
use crate::planned::instance_on;
use crate::run::Replace;

/// An instance that goes to another host: another one is healthy there before it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relocation {
    /// Which.
    pub instance: InstanceId,
    /// What it is a copy of.
    pub arm: Arm,
    /// Where it runs.
    pub from: HostName,
    /// Where the one that takes its place would start as things stood when it was planned.
    pub to: HostName,
    /// Why, for people.
    pub why: String,
}

impl fmt::Display for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, from, to, why, .. } = self;
        write!(f, "{instance} from {from} to {to}: {why}")
    }
}

/// How far an arm is from where it should be; what is less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wrong {
    lacking_labels: usize,
    avoided: usize,
    /// Squares of how many there are on each host: the smaller, the more even.
    on_hosts: usize,
    in_zones: usize,
}

/// Returns the fewest moves after which the instances of some arms stand where they should. `standing` are those that may move, which serve.
/// What is on a host that is drained or not reached is left to whoever drains it.
#[must_use]
pub fn relocations(placing: Placing<'_>, standing: &[Instance]) -> Vec<Relocation> {
    let arms: BTreeSet<&Arm> = standing.iter().map(|instance| &instance.arm).collect();
    let mut running = placing.running.to_vec();
    let mut moves = Vec::new();
    for arm in arms {
        let mut left: Vec<&Instance> =
            standing.iter().filter(|it| it.arm == *arm && may_move(placing, it)).collect();
        // Of equals the newest goes: it has the least to lose.
        left.sort_by_key(|it| (std::cmp::Reverse(it.since), &it.id));
        while let Some((index, found)) = best(Placing { running: &running, ..placing }, arm, &left) {
            let instance = left.remove(index);
            running.retain(|it| it.id != instance.id);
            running.extend(instance_on(&placing.environment.name, arm, &found.to, moves.len()));
            moves.push(found);
        }
    }
    moves
}

fn may_move(placing: Placing<'_>, instance: &Instance) -> bool {
    let Some(name) = &instance.host else { return false };
    let is_drained = placing.world.hosts.get(name).is_none_or(|host| host.stance == Stance::Draining);
    instance.state.is_healthy() && placing.reached.contains(name) && !is_drained
}

/// Finds the move that helps most, if one helps.
fn best(placing: Placing<'_>, arm: &Arm, left: &[&Instance]) -> Option<(usize, Relocation)> {
    let now = wrong(placing, arm);
    let after = |(index, instance): (usize, &&Instance)| {
        let from = instance.host.clone()?;
        let without: Vec<_> = placing.running.iter().filter(|it| it.id != instance.id).cloned().collect();
        let placing = Placing { running: &without, ..placing };
        let to = place(placing, arm).ok().filter(|to| *to != from)?;
        let mut there = without.clone();
        there.extend(instance_on(&placing.environment.name, arm, &to, index));
        let then = wrong(Placing { running: &there, ..placing }, arm);
        (then < now && is_worth(placing, arm, (now, then))).then_some((then, index, (from, to)))
    };
    // Those of one host are equals, and the first of them goes first.
    let mut hosts = BTreeSet::new();
    let each = left.iter().enumerate().filter(|(_, instance)| hosts.insert(&instance.host));
    let (then, index, (from, to)) = each.filter_map(after).min()?;
    let instance = left[index];
    let why = why(placing, arm, (&from, &to), (now, then));
    Some((index, Relocation { instance: instance.id.clone(), arm: arm.clone(), from, to, why }))
}

/// What must not run twice has a gap when it moves: it moves only from where it must not be.
fn is_worth(placing: Placing<'_>, arm: &Arm, (now, then): (Wrong, Wrong)) -> bool {
    let has_gap = run_of(placing.world, arm).is_some_and(|run| run.replace == Replace::OldFirst);
    !has_gap || then.lacking_labels < now.lacking_labels
}

fn why(
    placing: Placing<'_>,
    arm: &Arm,
    (from, to): (&HostName, &HostName),
    (now, then): (Wrong, Wrong),
) -> String {
    let labels = placing.world.hosts.get(from).map(|host| &host.settings.labels);
    let wish = wish_of(placing.world, arm).zip(labels);
    if then.lacking_labels < now.lacking_labels
        && let Some(label) = wish.and_then(|(wish, labels)| wish.lacking(labels))
    {
        return format!("{from} lacks the label {label}");
    }
    if then.avoided < now.avoided
        && let Some(label) = wish.and_then(|(wish, labels)| wish.avoided(labels).next())
    {
        return format!("{from} has the label {label}, which it avoids");
    }
    let counts = counts(placing, arm);
    let of = |name: &HostName| counts.get(name).copied().unwrap_or_default();
    if then.on_hosts < now.on_hosts {
        return format!("{from} has {} of {}, and {to} has {}", of(from), arm.version_ref(), of(to));
    }
    "its zone has more of it than another one".to_owned()
}

fn of_arm<'a>(placing: Placing<'a>, arm: &'a Arm) -> impl Iterator<Item = (&'a Instance, &'a HostName)> {
    let is_ours = move |it: &&Instance| {
        it.arm == *arm && it.environment == placing.environment.name && !it.state.is_over()
    };
    placing.running.iter().filter(is_ours).filter_map(|it| Some((it, it.host.as_ref()?)))
}

fn counts(placing: Placing<'_>, arm: &Arm) -> BTreeMap<HostName, usize> {
    let mut counts = BTreeMap::new();
    of_arm(placing, arm).for_each(|(_, host)| *counts.entry(host.clone()).or_default() += 1);
    counts
}

fn wrong(placing: Placing<'_>, arm: &Arm) -> Wrong {
    let labels = |name: &HostName| placing.world.hosts.get(name).map(|host| &host.settings.labels);
    let wish = wish_of(placing.world, arm);
    let lacks =
        |name: &HostName| wish.zip(labels(name)).is_some_and(|(wish, labels)| wish.lacking(labels).is_some());
    let avoids =
        |name: &HostName| wish.zip(labels(name)).map_or(0, |(wish, labels)| wish.avoided(labels).count());
    let mut zones: BTreeMap<_, usize> = BTreeMap::new();
    for (_, host) in of_arm(placing, arm) {
        if let Some(zone) = labels(host).and_then(|labels| labels.get(ZONE_LABEL)) {
            *zones.entry(zone.as_str().to_owned()).or_default() += 1;
        }
    }
    Wrong {
        lacking_labels: of_arm(placing, arm).filter(|(_, host)| lacks(host)).count(),
        avoided: of_arm(placing, arm).map(|(_, host)| avoids(host)).sum(),
        on_hosts: counts(placing, arm).values().map(|count| count * count).sum(),
        in_zones: zones.values().map(|count| count * count).sum(),
    }
}
