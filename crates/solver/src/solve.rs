//! The cheapest targets.

use batsat::Lit;

use crate::encoding::Encoding;
use crate::maxsat::{Sat, Satisfied, Spent, minimise};
use crate::problem::{Problem, Target};

/// The best that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The sum of the criticalities of what moves.
    pub cost: u64,
    /// Targets of that cost that move different sets of services, the one with the least burden first, and of those the one that goes the
    /// fewest versions. Each has as little burden, and goes as few versions, as its set can.
    pub targets: Vec<Target>,
    /// Whether it is proved that no target that keeps the rules has less cost, less burden for that cost, goes fewer versions so, or meets
    /// more preferences so. Where it is not, the search was over before, and there is one target.
    pub is_proved: bool,
}

/// What became of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Solved {
    /// There is a way.
    Way(Solution),
    /// No target keeps all rules.
    NoWay,
    /// The search took all the steps that it was allowed, and found neither.
    Undecided,
}

impl Solved {
    /// The best that was found, if anything was.
    #[must_use]
    pub fn way(self) -> Option<Solution> {
        match self {
            Self::Way(solution) => Some(solution),
            Self::NoWay | Self::Undecided => None,
        }
    }
}

/// Finds the targets that keep all rules and cost least, up to `most` of them, at least one.
///
/// Least cost goes first, then the least burden, then the fewest versions that all services go together, then the most preferences. The search takes no more than `steps` steps: each
/// question to the solver is one, and each clause that it learns from a dead end. When they are used up, as many are spent on any
/// target at all, which is improved as far as they go.
#[must_use]
pub fn solve(problem: &Problem, most: usize, steps: u64) -> Solved {
    let mut sat = Sat::new(steps);
    let encoding = Encoding::new(problem, &mut sat, |_| None);
    match cheapest(problem, &encoding, &mut sat, most) {
        Ok(Some(solution)) => Solved::Way(solution),
        Ok(None) => Solved::NoWay,
        Err(Spent) => {
            sat.allow(steps);
            any(problem, &encoding, &mut sat)
        }
    }
}

fn cheapest(
    problem: &Problem,
    encoding: &Encoding,
    sat: &mut Sat,
    most: usize,
) -> Result<Option<Solution>, Spent> {
    let services = 0..problem.services.len();
    let stay = |service: usize| Some((encoding.stays(service)?, problem.services[service].criticality));
    let Some((cost, best)) = minimise(sat, services.filter_map(stay))? else { return Ok(None) };
    best.into_iter().for_each(|literal| sat.clause([literal]));
    let mut targets = Vec::new();
    while targets.len() < most.max(1) {
        let target = match nearest(problem, encoding, sat) {
            Ok(Some(target)) => target,
            // The first one is proved to be the best; that there are others is told as far as it was found.
            Ok(None) | Err(Spent) if !targets.is_empty() => break,
            Ok(None) => return Ok(None),
            Err(Spent) => return Err(Spent),
        };
        let others: Vec<Lit> = problem.moved(&target).iter().filter_map(|&it| encoding.stays(it)).collect();
        targets.push(target);
        sat.clause(others);
    }
    let rank = |target: &Target| {
        (problem.burden(target), problem.distance(target), problem.unmet_preferences(target))
    };
    targets.sort_by_key(rank);
    Ok(Some(Solution { cost, targets, is_proved: true }))
}

/// The target with the least burden, of those one that goes the fewest versions, and of those one that meets the most preferences.
fn nearest(problem: &Problem, encoding: &Encoding, sat: &mut Sat) -> Result<Option<Target>, Spent> {
    let services = 0..problem.services.len();
    let may_move = |service: &usize| encoding.stays(*service).is_some_and(|stays| !sat.is_certain(stays));
    // One version less counts for more than all preferences.
    let heavy = encoding.preferred().len() as u64 + 1;
    let near = services.filter(may_move).flat_map(|service| encoding.near(service));
    let near = near.map(|(literal, saved)| (literal, saved.saturating_mul(heavy)));
    let lighter: Vec<_> = near.chain(encoding.preferred().iter().map(|literal| (*literal, 1))).collect();
    // One step of burden counts for more than all that is lighter.
    let heavier = lighter.iter().fold(1, |sum: u64, (_, weight)| sum.saturating_add(*weight));
    let burdens = encoding.unburdened().iter();
    let burdens = burdens.map(|(literal, weight)| (*literal, weight.saturating_mul(heavier)));
    let wishes: Vec<_> = burdens.chain(lighter).collect();
    let Some((_, best)) = minimise(sat, wishes)? else { return Ok(None) };
    match sat.satisfy(&best)? {
        Satisfied::Yes => Ok(Some(found(problem, encoding, sat))),
        Satisfied::No(_) => Ok(None),
    }
}

fn found(problem: &Problem, encoding: &Encoding, sat: &Sat) -> Target {
    (0..problem.services.len()).map(|service| encoding.version(service, sat)).collect()
}

/// Any target, of which as many services as possible are kept where they are, the most critical first.
fn any(problem: &Problem, encoding: &Encoding, sat: &mut Sat) -> Solved {
    let mut target = match sat.satisfy(&[]) {
        Ok(Satisfied::Yes) => found(problem, encoding, sat),
        Ok(Satisfied::No(_)) => return Solved::NoWay,
        Err(Spent) => return Solved::Undecided,
    };
    let stay = |service: usize| encoding.stays(service);
    let mut moved = problem.moved(&target);
    let mut kept: Vec<Lit> =
        (0..problem.services.len()).filter(|it| !moved.contains(it)).filter_map(stay).collect();
    moved.sort_by_key(|&service| std::cmp::Reverse(problem.services[service].criticality));
    for service in moved {
        let Some(literal) = stay(service).filter(|_| target[service] != problem.services[service].current)
        else {
            continue;
        };
        kept.push(literal);
        match sat.satisfy(&kept) {
            Ok(Satisfied::Yes) => target = found(problem, encoding, sat),
            Ok(Satisfied::No(_)) => drop(kept.pop()),
            Err(Spent) => break,
        }
    }
    let cost = problem.cost(&target);
    Solved::Way(Solution { cost, targets: vec![target], is_proved: false })
}
