//! A fleet in numbers, with the names and words for all of it: what is solved, and what sentences are made of.

use std::ops::Range;

use lockstep_solver::{Bar, Cause, Need, Problem, Rule};

/// What a service and its versions are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The service.
    pub name: String,
    /// Its versions, the oldest first.
    pub versions: Vec<String>,
    /// The last one of them stands for: it is not there.
    pub may_be_absent: bool,
    /// Whether it stays where it is unless a wish names it.
    pub is_pinned: bool,
}

impl Named {
    /// How many versions there are that are one.
    pub(crate) fn real(&self) -> u32 {
        let absent = usize::from(self.may_be_absent);
        u32::try_from(self.versions.len() - absent).unwrap_or(u32::MAX)
    }
}

/// What a cause of the problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A wish.
    Wish {
        /// Its place among the wishes.
        index: usize,
        /// The service, by its place.
        service: usize,
        /// What is wanted, after its name: `at 2.0.0`.
        wanted: String,
        /// A command that asks without it.
        command: Option<String>,
    },
    /// A pinned service, by its place.
    Pin(usize),
    /// A feature.
    Feature {
        /// Its place among the features.
        index: usize,
        /// Its name.
        name: String,
    },
    /// What a consumer requires of a provider.
    Requirement {
        /// After the provider's name: `^2.1`.
        text: String,
    },
    /// Anything else that must not be.
    Other {
        /// What it says, as a sentence without a full stop.
        text: String,
        /// What ends it for each of the versions that it keeps away, where something does.
        lifts: Vec<Lift>,
    },
}

/// What lets a version come that must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lift {
    /// The version, by its number.
    pub version: u32,
    /// What to do.
    pub what: String,
    /// The command for it.
    pub command: String,
}

/// The name of "it is not there", where it is the last one of a service's versions.
pub const ABSENT: &str = "none";

/// A fleet in numbers, with the words for it.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// What the services of the problem are called.
    pub services: Vec<Named>,
    /// What is asked.
    pub problem: Problem,
    origins: Vec<Origin>,
}

impl Question {
    /// Asks about services without any rules.
    #[must_use]
    pub fn new(services: Vec<Named>, numbers: Vec<lockstep_solver::Service>) -> Self {
        Self { services, problem: Problem { services: numbers, ..Problem::default() }, origins: Vec::new() }
    }

    /// Adds rules that stand and fall together.
    pub fn add(&mut self, origin: Origin, rules: impl IntoIterator<Item = Rule>) {
        let cause = Cause(u32::try_from(self.origins.len()).unwrap_or(u32::MAX));
        self.origins.push(origin);
        self.problem.rules.extend(rules.into_iter().map(|rule| (cause, rule)));
    }

    /// What a cause is.
    #[must_use]
    pub fn origin(&self, cause: Cause) -> &Origin {
        &self.origins[cause.0 as usize]
    }

    /// Adds the pins of services that no wish names.
    pub(crate) fn pin(&mut self) {
        for at in 0..self.services.len() {
            if self.services[at].is_pinned && !self.is_wished(at, None) {
                self.add(Origin::Pin(at), self.stays(at));
            }
        }
    }

    fn is_wished(&self, at: usize, but: Option<usize>) -> bool {
        self.origins.iter().any(|origin| {
            matches!(origin, Origin::Wish { service, index, .. } if *service == at && Some(*index) != but)
        })
    }

    fn stays(&self, service: usize) -> [Rule; 2] {
        let number = &self.problem.services[service];
        only(service, number.current, number.versions)
    }

    /// The problem without some causes, which are given in their order. A service whose only wish is gone is pinned again.
    pub(crate) fn without(&self, causes: &[Cause]) -> Problem {
        let mut problem = self.problem.clone();
        problem.rules.retain(|(of, _)| causes.binary_search(of).is_err());
        for &cause in causes {
            if let Origin::Wish { service, index, .. } = self.origin(cause)
                && self.services[*service].is_pinned
                && !self.is_wished(*service, Some(*index))
            {
                problem.rules.extend(self.stays(*service).map(|rule| (cause, rule)));
            }
        }
        problem
    }

    /// The rules of a cause. They stand together, in the order of the causes.
    pub(crate) fn rules_of(&self, cause: Cause) -> &[(Cause, Rule)] {
        let rules = &self.problem.rules;
        let begin = rules.partition_point(|(of, _)| *of < cause);
        let end = rules.partition_point(|(of, _)| *of <= cause);
        &rules[begin..end]
    }

    /// The need of a cause, if it has one.
    pub(crate) fn need_of(&self, cause: Cause) -> Option<&Need> {
        self.rules_of(cause).iter().find_map(|(_, rule)| match rule {
            Rule::Need(need) => Some(need),
            Rule::Bar(_) | Rule::Never(_) => None,
        })
    }

    /// The rules that each service has a part in, by their places.
    pub(crate) fn touching(&self) -> Vec<Vec<usize>> {
        let mut touching = vec![Vec::new(); self.services.len()];
        for (at, (_, rule)) in self.problem.rules.iter().enumerate() {
            match rule {
                Rule::Bar(bar) => touching[bar.service].push(at),
                Rule::Never(all) => all.iter().for_each(|bar| touching[bar.service].push(at)),
                Rule::Need(need) => {
                    touching[need.consumer].push(at);
                    touching[need.provider].push(at);
                }
            }
        }
        touching
    }

    pub(crate) fn name(&self, service: usize) -> &str {
        &self.services[service].name
    }

    /// The version of a service by its number.
    pub(crate) fn version(&self, service: usize, at: u32) -> &str {
        &self.services[service].versions[at as usize]
    }

    /// Whether a number stands for "it is not there".
    pub(crate) fn is_absent(&self, service: usize, at: u32) -> bool {
        at >= self.services[service].real()
    }
}

/// A service is at one version.
#[must_use]
pub fn only(service: usize, version: u32, versions: u32) -> [Rule; 2] {
    let bar = |versions: Range<u32>| Rule::Bar(Bar { service, versions });
    [bar(0..version), bar(version + 1..versions)]
}
