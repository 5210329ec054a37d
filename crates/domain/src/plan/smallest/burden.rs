//! Of sets that are equally critical, the one is better with which databases are fewer steps ahead of the code.

use std::collections::BTreeSet;

use lockstep_solver::{Burden, Versions};

use super::fleet::Fleet;
use crate::compat::Relation;
use crate::database::steps_down;
use crate::environment::Environment;

impl Fleet<'_> {
    /// Weighs each version that may come by the steps that it stands below its databases. What runs may stay, and is no step.
    pub(super) fn weigh_steps_down(&mut self, relation: Relation<'_>, environment: &Environment) {
        if environment.databases.is_empty() {
            return;
        }
        for index in 0..self.services.len() {
            let steps = self.steps_down(relation, environment, index);
            self.question.problem.burdens.extend(burdens(index, &steps));
        }
    }

    fn steps_down(&self, relation: Relation<'_>, environment: &Environment, index: usize) -> Vec<u64> {
        let member = &self.services[index];
        let Some(service) = relation.world.service(member.name) else { return Vec::new() };
        let of = |(at, version): (u32, &&_)| match at == member.at() {
            true => 0,
            false => steps_down(environment, service, version),
        };
        (0..).zip(&member.versions).map(of).collect()
    }
}

/// What counts steps, as burdens: one for each number that some version reaches, borne by all that reach it.
fn burdens(service: usize, steps: &[u64]) -> Vec<Burden> {
    let reached: BTreeSet<u64> = steps.iter().copied().filter(|steps| *steps > 0).collect();
    let mut before = 0;
    let burden = |reached: u64| {
        let versions: Versions =
            (0..).zip(steps).filter(|(_, steps)| **steps >= reached).map(|(at, _)| at..at + 1).collect();
        let weight = reached - std::mem::replace(&mut before, reached);
        Burden { service, versions, weight }
    };
    reached.into_iter().map(burden).collect()
}
