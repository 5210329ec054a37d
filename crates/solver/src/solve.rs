//! The cheapest targets.

use batsat::Lit;

use crate::encoding::Encoding;
use crate::maxsat::{Sat, minimise};
use crate::problem::{Problem, Target};

/// The best that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The sum of the criticalities of what moves: no target that keeps the rules has less.
    pub cost: u64,
    /// Targets of that cost that move different sets of services, the one that goes the fewest versions first. Each goes as few versions as
    /// its set can.
    pub targets: Vec<Target>,
}

/// Finds the targets that keep all rules and cost least, up to `most` of them, at least one; `None` when no target keeps them.
///
/// Least cost goes first, then the fewest versions that all services go together.
#[must_use]
pub fn solve(problem: &Problem, most: usize) -> Option<Solution> {
    let mut sat = Sat::default();
    let encoding = Encoding::new(problem, &mut sat, |_| None);
    let services = 0..problem.services.len();
    let stay = |service: usize| Some((encoding.stays(service)?, problem.services[service].criticality));
    let (cost, best) = minimise(&mut sat, services.filter_map(stay))?;
    best.into_iter().for_each(|literal| sat.clause([literal]));
    let mut targets = Vec::new();
    while targets.len() < most.max(1) {
        let Some(target) = nearest(problem, &encoding, &mut sat) else { break };
        let others: Vec<Lit> = problem.moved(&target).iter().filter_map(|&it| encoding.stays(it)).collect();
        targets.push(target);
        sat.clause(others);
    }
    targets.sort_by_key(|target| problem.distance(target));
    Some(Solution { cost, targets })
}

/// The target that goes the fewest versions, if there is one.
fn nearest(problem: &Problem, encoding: &Encoding, sat: &mut Sat) -> Option<Target> {
    let services = 0..problem.services.len();
    let may_move = |service: &usize| encoding.stays(*service).is_some_and(|stays| !sat.is_certain(stays));
    let wishes: Vec<_> =
        services.clone().filter(may_move).flat_map(|service| encoding.near(service)).collect();
    let (_, best) = minimise(sat, wishes)?;
    sat.satisfy(&best).ok()?;
    Some(services.map(|service| encoding.version(service, sat)).collect())
}
