//! An environment as a fleet in a file: the form that `lockstep plan --world` reads.

use lockstep_solver::{Bar, Need, Rule};
use lockstep_what_if::{Feature, Fleet as File, FleetService, Interval, Origin};

use crate::baseline::{BaselineEntry, difference};
use crate::environment::Environment;
use crate::operation::Reason;
use crate::plan::order::Direction;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::plan::rule_refusal::RuleRefusal;
use crate::plan::smallest::Search;
use crate::plan::smallest::fleet::Fleet;
use crate::plan::{databases, rules};
use crate::version::VersionRef;

/// Writes what runs in an environment, what it could require, and all rules between their versions, without any wish.
///
/// `None` where there is no such environment.
#[must_use]
pub fn export(search: &Search<'_>) -> Option<File> {
    let environment = search.relation.world.environment(search.environment)?;
    Some(Fleet::of_all(search, environment).file())
}

/// What a plan would refuse of a version that comes alone, because of databases, or of what rules and lanes keep running.
pub(super) fn refused_alone(
    search: &Search<'_>,
    environment: &Environment,
    version: &VersionRef,
) -> Vec<Refusal> {
    let service = &version.service;
    let config = environment.configuration_in_force(service);
    let mut resolved = Resolved::new(environment, Direction::Forward);
    let entry = BaselineEntry { version: version.version.clone(), config };
    resolved.set(service, entry, Reason::Asked);
    let changes = difference(environment.entries(), &resolved.target);
    let of_rules = rules::in_the_way(search.relation, environment, &resolved, &changes);
    let is_of_it = |refusal: &Refusal| match refusal {
        Refusal::Rule(RuleRefusal::Unmet { unmet, .. }) => {
            unmet.consumer.service == *service || unmet.provider == *service
        }
        _ => true,
    };
    let of_databases = databases::check(search.relation.world, environment, &resolved, &changes);
    of_databases.into_iter().chain(of_rules.into_iter().filter(is_of_it)).collect()
}

impl Fleet<'_> {
    fn file(&self) -> File {
        let services = self.question.services.iter().zip(&self.question.problem.services);
        let service = |(named, number): (&lockstep_what_if::Named, &lockstep_solver::Service)| FleetService {
            name: named.name.clone(),
            criticality: number.criticality,
            versions: named.versions.clone(),
            current: named.versions[number.current as usize].clone(),
            pinned: false,
        };
        let rules = self.question.problem.rules.iter();
        let features = rules.flat_map(|(cause, rule)| match (rule, self.question.origin(*cause)) {
            (Rule::Need(need), Origin::Requirement { text }) => self.features(text, need),
            (Rule::Bar(bar), Origin::Other { text, .. }) => vec![self.barrier(text, bar)],
            _ => Vec::new(),
        });
        File { services: services.map(service).collect(), features: features.collect(), intent: Vec::new() }
    }

    /// A need as features, one for each part of the versions that use it.
    fn features(&self, text: &str, need: &Need) -> Vec<Feature> {
        let [consumer, provider] =
            [need.consumer, need.provider].map(|it| self.question.services[it].name.clone());
        let feature = |used: &std::ops::Range<u32>| {
            let mut offered = need.offered.parts().iter().map(|part| self.interval(need.provider, part));
            Feature {
                name: printable(&format!("{provider} {text}")),
                provider: provider.clone(),
                offered: offered.next().unwrap_or_else(|| self.interval(need.provider, &(0..0))),
                also_offered: offered.collect(),
                consumer: consumer.clone(),
                used: self.interval(need.consumer, used),
            }
        };
        need.used.parts().iter().map(feature).collect()
    }

    /// Versions that must not come, as a feature of the service itself that nobody offers.
    fn barrier(&self, text: &str, bar: &Bar) -> Feature {
        let name = self.question.services[bar.service].name.clone();
        Feature {
            name: printable(text),
            provider: name.clone(),
            offered: self.interval(bar.service, &(0..0)),
            also_offered: Vec::new(),
            consumer: name,
            used: self.interval(bar.service, &bar.versions),
        }
    }

    fn interval(&self, service: usize, part: &std::ops::Range<u32>) -> Interval {
        let versions = &self.question.services[service].versions;
        let named = |at: u32| versions.get(at as usize).cloned();
        if part.is_empty() {
            return [named(0), named(0)];
        }
        [named(part.start).filter(|_| part.start > 0), named(part.end)]
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}
