//! What is asked: services with their versions, and the rules that hold for them.

use std::ops::Range;

/// A service: how many versions it has, which one is current, and what touching it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// How many versions there are, at least one.
    pub versions: u32,
    /// The version that runs.
    pub current: u32,
    /// What it costs that it moves, whereto it may: at least 1.
    pub criticality: u64,
}

/// What a rule comes from: several rules of one cause stand and fall together in a [`core()`](crate::core()).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(pub u32);

/// Versions at which a service must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// The service.
    pub service: usize,
    /// The versions that are out of question.
    pub versions: Range<u32>,
}

/// Some versions of a service: parts that neither overlap nor touch, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Versions(Vec<Range<u32>>);

impl Versions {
    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &[Range<u32>] {
        &self.0
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether a version is one of them.
    #[must_use]
    pub fn contains(&self, version: u32) -> bool {
        self.0.iter().any(|part| part.contains(&version))
    }

    /// The other versions of a service that has `count`.
    #[must_use]
    pub fn others(&self, count: u32) -> Self {
        let ends = self.0.iter().map(|part| part.start).chain([count]);
        let begins = [0].into_iter().chain(self.0.iter().map(|part| part.end));
        begins.zip(ends).map(|(begin, end)| begin..end.min(count)).collect()
    }
}

impl From<Range<u32>> for Versions {
    fn from(part: Range<u32>) -> Self {
        [part].into_iter().collect()
    }
}

/// Joins parts in any order; empty ones are none.
impl FromIterator<Range<u32>> for Versions {
    fn from_iter<T: IntoIterator<Item = Range<u32>>>(parts: T) -> Self {
        let mut parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.sort_by_key(|part| part.start);
        let mut joined: Vec<Range<u32>> = Vec::with_capacity(parts.len());
        for part in parts {
            match joined.last_mut() {
                Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
                _ => joined.push(part),
            }
        }
        Self(joined)
    }
}

/// A consumer in some of its versions needs a provider in some of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The service that needs something.
    pub consumer: usize,
    /// The versions that need it.
    pub used: Versions,
    /// The service that has it.
    pub provider: usize,
    /// The versions that have it; none when no version does.
    pub offered: Versions,
}

impl Need {
    /// Says whether the two versions work together, as far as this need goes.
    #[must_use]
    pub fn is_met(&self, consumer: u32, provider: u32) -> bool {
        !self.used.contains(consumer) || self.offered.contains(provider)
    }
}

/// What every target has to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A service stays away from versions.
    Bar(Bar),
    /// A consumer gets what it needs.
    Need(Need),
    /// Services are not all at these versions at once.
    Never(Vec<Bar>),
}

/// A question: from where, under which rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// All services, moving or not.
    pub services: Vec<Service>,
    /// All rules, each with its cause.
    pub rules: Vec<(Cause, Rule)>,
    /// What it costs where services are, which counts only between targets that move what is equally critical.
    pub burdens: Vec<Burden>,
    /// What is better than not, and counts only between targets that are alike in everything else.
    pub preferences: Vec<Preference>,
}

/// What it costs that a service is at one of these versions: burdens of several parts add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burden {
    /// The service.
    pub service: usize,
    /// The versions that have it.
    pub versions: Versions,
    /// What it costs.
    pub weight: u64,
}

/// At least one of several is wished for; in each, all these services are at one of their versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference(pub Vec<Vec<(usize, Range<u32>)>>);

impl Preference {
    /// Says whether a target is as wished.
    #[must_use]
    pub fn is_met(&self, target: &[u32]) -> bool {
        self.0.iter().any(|all| all.iter().all(|(service, versions)| versions.contains(&target[*service])))
    }
}

/// A version for each service.
pub type Target = Vec<u32>;

impl Problem {
    /// Where everything is now.
    #[must_use]
    pub fn start(&self) -> Target {
        self.services.iter().map(|service| service.current).collect()
    }

    /// All needs, in the order of the rules.
    pub fn needs(&self) -> impl Iterator<Item = (Cause, &Need)> {
        self.rules.iter().filter_map(|(cause, rule)| match rule {
            Rule::Need(need) => Some((*cause, need)),
            Rule::Bar(_) | Rule::Never(_) => None,
        })
    }

    /// All bars, in the order of the rules.
    pub fn bars(&self) -> impl Iterator<Item = (Cause, &Bar)> {
        self.rules.iter().filter_map(|(cause, rule)| match rule {
            Rule::Bar(bar) => Some((*cause, bar)),
            Rule::Need(_) | Rule::Never(_) => None,
        })
    }

    /// Which services a target moves, in their order.
    #[must_use]
    pub fn moved(&self, target: &[u32]) -> Vec<usize> {
        (0..self.services.len())
            .filter(|&service| target[service] != self.services[service].current)
            .collect()
    }

    /// The sum of the criticalities of what a target moves.
    #[must_use]
    pub fn cost(&self, target: &[u32]) -> u64 {
        self.moved(target).iter().map(|&service| self.services[service].criticality).sum()
    }

    /// The sum of the burdens of a target.
    #[must_use]
    pub fn burden(&self, target: &[u32]) -> u64 {
        let borne = self.burdens.iter().filter(|burden| burden.versions.contains(target[burden.service]));
        borne.map(|burden| burden.weight).sum()
    }

    /// How many versions a target goes, all services together.
    #[must_use]
    pub fn distance(&self, target: &[u32]) -> u64 {
        self.services.iter().zip(target).map(|(it, &at)| u64::from(it.current.abs_diff(at))).sum()
    }

    /// How many preferences a target does not meet.
    #[must_use]
    pub fn unmet_preferences(&self, target: &[u32]) -> usize {
        self.preferences.iter().filter(|preference| !preference.is_met(target)).count()
    }
}
