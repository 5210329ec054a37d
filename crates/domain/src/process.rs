//! The processes of a version: programs of one artifact that run all the time and share version, configuration, data and rollback,
//! each with its own count.
//!
//! The main one takes requests; a version may be without it. The others are workers, and each is replaced when its service moves:
//! requests move step by step, and only in the last step the other processes follow, so that what asks and what works change
//! together once the new version has proved itself. Invariant: what has no counterpart in the other version is taken for the same
//! work, so it never works beside it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::EntryChange;
use crate::instance::Arm;
use crate::name::ProcessName;
use crate::operation::Move;
use crate::run::{Port, RunSpec, Takeover};
use crate::service::Version;
use crate::world::World;

/// The processes of a version beside the one of its `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// What the main one is called, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<ProcessName>,
    /// How the others are run: each is a worker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<ProcessName, RunSpec>,
}

impl Processes {
    /// Tells whether there is nothing but the main one, without a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Goes through what runs all the time, beside a main one that is run like this.
    pub fn standing<'a>(
        &'a self,
        main: &'a RunSpec,
    ) -> impl Iterator<Item = (Option<&'a ProcessName>, &'a RunSpec)> {
        let main = main.kind.has_instances().then_some((None, main));
        main.into_iter().chain(self.others.iter().map(|(name, run)| (Some(name), run)))
    }

    /// Lists the names of all, the main one first.
    pub fn names(&self) -> impl Iterator<Item = &ProcessName> {
        self.main.iter().chain(self.others.keys())
    }
}

impl Version {
    /// Returns how a process is run; the main one where none is named.
    #[must_use]
    pub fn run_of(&self, process: Option<&ProcessName>) -> Option<&RunSpec> {
        process.map_or(Some(&self.run), |process| self.processes.others.get(process))
    }

    /// Goes through what runs of it all the time.
    pub fn standing(&self) -> impl Iterator<Item = (Option<&ProcessName>, &RunSpec)> {
        self.processes.standing(&self.run)
    }

    /// Goes through the ports that it always listens on.
    pub fn fixed_ports(&self) -> impl Iterator<Item = (Option<&ProcessName>, u16)> {
        self.standing().filter_map(|(process, run)| match run.port {
            Port::Fixed(port) => Some((process, port)),
            Port::Assigned => None,
        })
    }
}

/// Returns the arms of all processes of a version: the main one first, also where nothing runs of it all the time.
pub fn arms(world: &World, main: &Arm) -> impl Iterator<Item = Arm> + use<> {
    let version = world.version(&main.version_ref());
    let others = version.into_iter().flat_map(|version| version.processes.others.keys());
    let others: Vec<_> = others.map(|process| main.of_process(process)).collect();
    std::iter::once(main.clone()).chain(others)
}

/// What becomes of a process of a service that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessMove {
    /// Which.
    pub process: ProcessName,
    /// Whether it runs now.
    pub from: bool,
    /// Whether it will run.
    pub to: bool,
    /// Whether the target starts beside what runs now, or after it.
    #[serde(default, skip_serializing_if = "Takeover::is_beside")]
    pub takeover: Takeover,
}

impl ProcessMove {
    /// Returns the arm it comes from.
    #[must_use]
    pub fn from_arm(&self, of: &Move) -> Option<Arm> {
        of.from_arm().filter(|_| self.from).map(|arm| arm.of_process(&self.process))
    }

    /// Returns the arm it leads to.
    #[must_use]
    pub fn to_arm(&self, of: &Move) -> Option<Arm> {
        of.to_arm().filter(|_| self.to).map(|arm| arm.of_process(&self.process))
    }

    /// Tells whether a growing share of its instances is of the new version.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.takeover == Takeover::SideBySide && self.from && self.to
    }
}

/// Returns what becomes of the processes beside the main one when a service moves.
#[must_use]
pub fn moves(world: &World, change: &EntryChange) -> Vec<ProcessMove> {
    let version =
        |entry: &crate::baseline::BaselineEntry| world.find_version(&change.service, &entry.version);
    let old = change.from.as_ref().and_then(version).map(AsRef::as_ref);
    let new = change.to.as_ref().and_then(version).map(AsRef::as_ref);
    let names: BTreeSet<_> =
        [old, new].into_iter().flatten().flat_map(|version| version.processes.others.keys()).collect();
    let part = |process: &ProcessName| {
        let from = old.and_then(|version| version.run_of(Some(process)));
        let to = new.and_then(|version| version.run_of(Some(process)));
        let takeover = match (from, to) {
            (Some(old), Some(new)) => Takeover::between(old, new),
            _ if is_work_renamed(old, new) => Takeover::OldFirst,
            _ => Takeover::Beside,
        };
        ProcessMove { process: process.clone(), from: from.is_some(), to: to.is_some(), takeover }
    };
    names.into_iter().map(part).collect()
}

/// Tells whether each of two versions has something without a counterpart in the other: it may be the same work under another
/// name.
fn is_work_renamed(old: Option<&Version>, new: Option<&Version>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return false };
    let lone =
        |one: &Version, other: &Version| one.standing().any(|(process, run)| !has(other, process, run));
    lone(old, new) && lone(new, old)
}

/// Tells whether a version has the counterpart of a process of another.
fn has(version: &Version, process: Option<&ProcessName>, run: &RunSpec) -> bool {
    version.standing().any(|(name, other)| name == process && other.kind == run.kind)
}

/// Tells whether the instances of two versions of a service cannot run beside each other.
#[must_use]
pub(crate) fn are_apart(world: &World, one: &Arm, other: &Arm) -> bool {
    let (Some(first), Some(second)) =
        (world.version(&one.version_ref()), world.version(&other.version_ref()))
    else {
        return false;
    };
    let (Some(run), Some(theirs)) =
        (first.run_of(one.process.as_ref()), second.run_of(other.process.as_ref()))
    else {
        return false;
    };
    if one.process == other.process && run.kind == theirs.kind {
        return Takeover::between(theirs, run) == Takeover::OldFirst;
    }
    let alone = !has(second, one.process.as_ref(), run) && !has(first, other.process.as_ref(), theirs);
    let both_web = run.kind.is_web() && theirs.kind.is_web();
    alone && !both_web
}
