//! Baselines: the immutable, numbered sets of versions and configurations that an environment really ran.

use std::fmt;

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::{Arm, ConfigRevision};
use crate::name::ServiceName;
use crate::time::Timestamp;
use crate::version::VersionNumber;

/// The number of an operation, counted over the whole installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One service's entry of a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineEntry {
    /// The version.
    pub version: VersionNumber,
    /// The configuration it runs with.
    pub config: ConfigRevision,
}

impl BaselineEntry {
    /// Returns the arm of the main process of this entry.
    #[must_use]
    pub fn arm(&self, service: &ServiceName) -> Arm {
        Arm { service: service.clone(), version: self.version.clone(), config: self.config, process: None }
    }
}

impl fmt::Display for BaselineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)?;
        if self.config.0 > 0 { write!(f, " ({})", self.config) } else { Ok(()) }
    }
}

/// What an environment runs: every service's entry.
pub type Entries = OrdMap<ServiceName, BaselineEntry>;

/// A numbered state of an environment that really ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// Counted per environment from 0, the empty beginning.
    pub number: u64,
    /// The baseline it was made from; `None` for 0.
    pub parent: Option<u64>,
    /// The operation that made it; `None` for 0.
    pub operation: Option<OperationId>,
    /// When it became current.
    pub at: Timestamp,
    /// The set.
    pub entries: Entries,
}

/// One service's difference between two baselines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryChange {
    /// The service.
    pub service: ServiceName,
    /// Its entry in the one; `None` when it was not there.
    pub from: Option<BaselineEntry>,
    /// Its entry in the other.
    pub to: Option<BaselineEntry>,
}

/// Lists what differs, by service.
#[must_use]
pub fn difference(from: &Entries, to: &Entries) -> Vec<EntryChange> {
    use imbl::ordmap::DiffItem;
    from.diff(to)
        .map(|item| match item {
            DiffItem::Add(service, entry) => {
                EntryChange { service: service.clone(), from: None, to: Some(entry.clone()) }
            }
            DiffItem::Remove(service, entry) => {
                EntryChange { service: service.clone(), from: Some(entry.clone()), to: None }
            }
            DiffItem::Update { old, new } => {
                EntryChange { service: new.0.clone(), from: Some(old.1.clone()), to: Some(new.1.clone()) }
            }
        })
        .collect()
}

/// Applies changes to a set; the inverse of [`difference`].
#[must_use]
pub fn apply(entries: &Entries, changes: &[EntryChange]) -> Entries {
    changes.iter().fold(entries.clone(), |entries, change| match &change.to {
        Some(entry) => entries.update(change.service.clone(), entry.clone()),
        None => entries.without(&change.service),
    })
}

/// The line of baselines of an environment. Stored as the difference of each to the one before it, because hundreds of
/// services and thousands of baselines differ in one entry at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<StoredBaseline>", into = "Vec<StoredBaseline>")]
pub struct Baselines {
    line: imbl::Vector<Baseline>,
    /// When each version of a service was there: a plan asks it of everything that moves, and the line is long.
    stays: OrdMap<ServiceName, OrdMap<VersionNumber, Stay>>,
}

/// From when to when a version was in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    /// The first baseline that had it.
    first: u64,
    /// The last one that had it; `None` while the current one does.
    last: Option<u64>,
}

impl Baselines {
    /// Begins a line with the empty baseline 0.
    #[must_use]
    pub fn begin(at: Timestamp) -> Self {
        let beginning = Baseline { number: 0, parent: None, operation: None, at, entries: Entries::new() };
        Self { line: imbl::Vector::unit(beginning), stays: OrdMap::new() }
    }

    /// Returns the newest one, which is what the environment runs.
    #[must_use]
    pub fn current(&self) -> &Baseline {
        self.line.last().expect("a line of baselines begins with baseline 0 and only grows")
    }

    /// Returns one by number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Baseline> {
        self.line.get(usize::try_from(number).ok()?)
    }

    /// Goes through all from the newest to the oldest.
    pub fn newest_first(&self) -> impl Iterator<Item = &Baseline> {
        self.line.iter().rev()
    }

    /// Returns the first one that had a version of a service.
    #[must_use]
    pub fn first_with(&self, service: &ServiceName, version: &VersionNumber) -> Option<&Baseline> {
        self.get(self.stay(service, version)?.first)
    }

    /// Returns the newest one that had a version of a service.
    #[must_use]
    pub fn last_with(&self, service: &ServiceName, version: &VersionNumber) -> Option<&Baseline> {
        self.stay(service, version).map(|stay| self.last_of(*stay))
    }

    /// Goes through the versions of a service that were there, each with the newest baseline that had it.
    pub fn versions_of(&self, service: &ServiceName) -> impl Iterator<Item = (&VersionNumber, &Baseline)> {
        let stays = self.stays.get(service).into_iter().flatten();
        stays.map(|(version, stay)| (version, self.last_of(*stay)))
    }

    /// Goes through the services that were there at any time.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.stays.keys()
    }

    fn stay(&self, service: &ServiceName, version: &VersionNumber) -> Option<&Stay> {
        self.stays.get(service)?.get(version)
    }

    fn last_of(&self, stay: Stay) -> &Baseline {
        let last = stay.last.and_then(|number| self.get(number));
        last.unwrap_or_else(|| self.current())
    }

    /// Tells whether a version came to the environment before another one did; both must have been there.
    #[must_use]
    pub fn came_before(&self, service: &ServiceName, one: &VersionNumber, other: &VersionNumber) -> bool {
        let first = |version| self.stay(service, version).map(|stay| stay.first);
        first(one).zip(first(other)).is_some_and(|(one, other)| one < other)
    }

    /// Changes the entries of all. Folding only.
    pub(crate) fn each_entries(&mut self, change: impl Fn(&Entries) -> Entries) {
        let line = std::mem::take(&mut self.line);
        self.stays = OrdMap::new();
        for baseline in line {
            let baseline = Baseline { entries: change(&baseline.entries), ..baseline };
            self.add(baseline);
        }
    }

    /// Adds a new current one and returns its number.
    pub fn push(&mut self, operation: OperationId, at: Timestamp, entries: Entries) -> u64 {
        let parent = self.current().number;
        let number = parent + 1;
        self.add(Baseline { number, parent: Some(parent), operation: Some(operation), at, entries });
        number
    }

    fn add(&mut self, baseline: Baseline) {
        let before = self.line.last().map(|before| before.entries.clone()).unwrap_or_default();
        for change in difference(&before, &baseline.entries) {
            self.note(&change, baseline.number);
        }
        self.line.push_back(baseline);
    }

    fn note(&mut self, change: &EntryChange, number: u64) {
        let version = |entry: &Option<BaselineEntry>| entry.as_ref().map(|entry| entry.version.clone());
        let (from, to) = (version(&change.from), version(&change.to));
        if from == to {
            return;
        }
        let stays = self.stays.entry(change.service.clone()).or_default();
        if let Some(stay) = from.and_then(|from| stays.get_mut(&from)) {
            stay.last = number.checked_sub(1);
        }
        if let Some(to) = to {
            stays.entry(to).or_insert(Stay { first: number, last: None }).last = None;
        }
    }
}

/// A baseline as a snapshot keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredBaseline {
    operation: Option<OperationId>,
    at: Timestamp,
    changes: Vec<EntryChange>,
}

impl From<Vec<StoredBaseline>> for Baselines {
    fn from(stored: Vec<StoredBaseline>) -> Self {
        let beginning = stored.first().map_or(Timestamp::default(), |first| first.at);
        let mut line = Self::begin(beginning);
        for baseline in stored.into_iter().skip(1) {
            let entries = apply(&line.current().entries, &baseline.changes);
            let operation = baseline.operation.unwrap_or(OperationId(0));
            line.push(operation, baseline.at, entries);
        }
        line
    }
}

impl From<Baselines> for Vec<StoredBaseline> {
    fn from(line: Baselines) -> Self {
        let mut before = Entries::new();
        let mut stored = Self::with_capacity(line.line.len());
        for baseline in line.line {
            let changes = difference(&before, &baseline.entries);
            stored.push(StoredBaseline { operation: baseline.operation, at: baseline.at, changes });
            before = baseline.entries;
        }
        stored
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(parts: &[(u8, u64)]) -> Entries {
        parts
            .iter()
            .map(|(service, minor)| {
                let name = format!("service-{service}").parse().unwrap();
                (name, BaselineEntry { version: VersionNumber::new(1, *minor, 0), config: ConfigRevision(0) })
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_line_survives_being_stored(sets in prop::collection::vec(prop::collection::vec((0_u8..9, 0_u64..4), 0..9), 0..20)) {
            let mut line = Baselines::begin(Timestamp(7));
            for (index, set) in sets.iter().enumerate() {
                line.push(OperationId(index as u64), Timestamp(index as u64 + 8), entries(set));
            }
            let text = serde_json::to_string(&line).unwrap();
            prop_assert_eq!(serde_json::from_str::<Baselines>(&text).unwrap(), line);
        }

        /// What is remembered of each version is what a look through the whole line finds.
        #[test]
        fn when_a_version_was_there_is_known_without_looking_through_the_line(
            sets in prop::collection::vec(prop::collection::vec((0_u8..3, 0_u64..4), 0..5), 0..20),
            renames in any::<bool>(),
        ) {
            let mut line = Baselines::begin(Timestamp(7));
            for (index, set) in sets.iter().enumerate() {
                line.push(OperationId(index as u64), Timestamp(index as u64 + 8), entries(set));
            }
            if renames {
                let other = |name: &ServiceName| format!("other-{name}").parse().unwrap();
                line.each_entries(|all| all.iter().map(|(name, entry)| (other(name), entry.clone())).collect());
            }
            for (service, minor) in (0_u8..3).flat_map(|service| (0_u64..4).map(move |minor| (service, minor))) {
                let name = format!("{}service-{service}", if renames { "other-" } else { "" });
                let (service, version) = (name.parse().unwrap(), VersionNumber::new(1, minor, 0));
                let has = |it: &&Baseline| it.entries.get(&service).is_some_and(|it| it.version == version);
                prop_assert_eq!(line.first_with(&service, &version), line.line.iter().find(has));
                prop_assert_eq!(line.last_with(&service, &version), line.newest_first().find(has));
                let listed = line.versions_of(&service).find(|(it, _)| **it == version).map(|it| it.1);
                prop_assert_eq!(listed, line.newest_first().find(has));
            }
        }

        #[test]
        fn applying_the_difference_gives_the_other(a in prop::collection::vec((0_u8..9, 0_u64..4), 0..9), b in prop::collection::vec((0_u8..9, 0_u64..4), 0..9)) {
            let (a, b) = (entries(&a), entries(&b));
            prop_assert_eq!(apply(&a, &difference(&a, &b)), b);
        }
    }
}
