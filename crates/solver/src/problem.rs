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

/// A consumer in some of its versions needs a provider in some of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The service that needs something.
    pub consumer: usize,
    /// The versions that need it.
    pub used: Range<u32>,
    /// The service that has it.
    pub provider: usize,
    /// The versions that have it; none when no version does.
    pub offered: Range<u32>,
}

impl Need {
    /// Says whether the two versions work together, as far as this need goes.
    #[must_use]
    pub fn is_met(&self, consumer: u32, provider: u32) -> bool {
        !self.used.contains(&consumer) || self.offered.contains(&provider)
    }
}

/// What every target has to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A service stays away from versions.
    Bar(Bar),
    /// A consumer gets what it needs.
    Need(Need),
}

/// A question: from where, under which rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// All services, moving or not.
    pub services: Vec<Service>,
    /// All rules, each with its cause.
    pub rules: Vec<(Cause, Rule)>,
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
            Rule::Bar(_) => None,
        })
    }

    /// All bars, in the order of the rules.
    pub fn bars(&self) -> impl Iterator<Item = (Cause, &Bar)> {
        self.rules.iter().filter_map(|(cause, rule)| match rule {
            Rule::Bar(bar) => Some((*cause, bar)),
            Rule::Need(_) => None,
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

    /// How many versions a target goes, all services together.
    #[must_use]
    pub fn distance(&self, target: &[u32]) -> u64 {
        self.services.iter().zip(target).map(|(it, &at)| u64::from(it.current.abs_diff(at))).sum()
    }
}
