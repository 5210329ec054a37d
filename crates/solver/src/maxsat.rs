//! Weighted MaxSAT in an order of objectives, by unsatisfiable cores.
//!
//! Source: OLL, Andres, Kaufmann, Matheis and Schaub, "Unsatisfiability-based optimization in clasp" (2012), and Morgado, Dodaro and
//! Marques-Silva, "Core-Guided MaxSAT with Soft Cardinality Constraints" (2014); heavier wishes first (stratification, Ansótegui et al. 2012).
//! When an objective is at its best, every wish that is left holds in all best models: who makes them hard keeps it for the next objective.

use std::collections::{BTreeMap, BTreeSet};

use batsat::{BasicSolver, Lit, SolverInterface as _, lbool};

use crate::totalizer::Totalizer;

/// Clauses, and what satisfies them.
#[derive(Default)]
pub(crate) struct Sat(BasicSolver);

impl Sat {
    /// A new literal, which is tried with this value first.
    pub(crate) fn literal(&mut self, first: bool) -> Lit {
        let polarity = if first { lbool::TRUE } else { lbool::FALSE };
        Lit::new(self.0.new_var(polarity, true), true)
    }

    pub(crate) fn clause(&mut self, literals: impl IntoIterator<Item = Lit>) {
        // Whether it can still be satisfied is what `satisfy` tells.
        let _ = self.0.add_clause_reuse(&mut literals.into_iter().collect());
    }

    /// Tries to satisfy all clauses and assumptions; otherwise returns assumptions that contradict each other.
    pub(crate) fn satisfy(&mut self, assumptions: &[Lit]) -> Result<(), Vec<Lit>> {
        if self.0.solve_limited(assumptions) == lbool::TRUE {
            return Ok(());
        }
        // The solver tells the clause that follows: one of them is not so.
        Err(self.0.unsat_core().iter().map(|&literal| !literal).collect())
    }

    /// Says whether a literal is true in what satisfied the clauses last.
    pub(crate) fn is_true(&self, literal: Lit) -> bool {
        self.0.value_lit(literal) == lbool::TRUE
    }

    /// Says whether a literal is true whatever satisfies the clauses, as far as that was found.
    pub(crate) fn is_certain(&self, literal: Lit) -> bool {
        self.0.value_lvl_0(literal) == lbool::TRUE
    }

    /// Asks again with contradicting assumptions alone, the last one first, as long as fewer of them do.
    fn trim(&mut self, mut core: Vec<Lit>) -> Vec<Lit> {
        while core.len() > 1 {
            core.reverse();
            match self.satisfy(&core) {
                Err(smaller) if smaller.len() < core.len() => core = smaller,
                _ => break,
            }
        }
        core
    }

    /// Leaves out of contradicting assumptions what is not needed for that. What is left contradicts without any that could be left out.
    pub(crate) fn shrink(&mut self, mut core: Vec<Lit>) -> Vec<Lit> {
        let mut kept = 0;
        while kept < core.len() {
            let without: Vec<Lit> = core.iter().copied().filter(|&it| it != core[kept]).collect();
            match self.satisfy(&without) {
                Ok(()) => kept += 1,
                Err(smaller) => {
                    let smaller: BTreeSet<Lit> = smaller.into_iter().collect();
                    let is_kept = |(at, literal): (usize, Lit)| {
                        (at < kept || smaller.contains(&literal)).then_some(literal)
                    };
                    core = without.into_iter().enumerate().filter_map(is_kept).collect();
                }
            }
        }
        core
    }
}

/// What is wished for, with what it costs otherwise.
#[derive(Default)]
struct Wishes {
    weights: BTreeMap<Lit, u64>,
    /// Counters of what was not fulfilled: the counter, and the count that a literal stands for.
    counts: BTreeMap<Lit, (usize, usize)>,
    counters: Vec<Totalizer>,
}

/// Finds the least cost of what cannot be fulfilled, and the literals that hold exactly where it costs no more; `None` when the clauses
/// cannot be satisfied.
pub(crate) fn minimise(
    sat: &mut Sat,
    wishes: impl IntoIterator<Item = (Lit, u64)>,
) -> Option<(u64, Vec<Lit>)> {
    let mut open = Wishes::default();
    for (literal, weight) in wishes {
        *open.weights.entry(literal).or_default() += weight;
    }
    let (mut cost, mut least) = (0, open.weights.values().copied().max().unwrap_or(0));
    loop {
        let assumed: Vec<Lit> =
            open.weights.iter().filter(|(_, weight)| **weight >= least).map(|(it, _)| *it).collect();
        match sat.satisfy(&assumed) {
            Err(core) if core.is_empty() => return None,
            Err(core) => {
                cost += open.give_up(&sat.trim(core), sat);
            }
            Ok(()) => match open.weights.values().copied().filter(|weight| *weight < least).max() {
                Some(next) => least = next,
                None => break,
            },
        }
    }
    Some((cost, open.weights.into_keys().collect()))
}

impl Wishes {
    /// Takes the least weight of a core off all of it: one of them cannot be fulfilled. Returns that weight.
    fn give_up(&mut self, core: &[Lit], sat: &mut Sat) -> u64 {
        let least = core.iter().filter_map(|literal| self.weights.get(literal)).copied().min().unwrap_or(0);
        for literal in core {
            self.lighten(*literal, least);
            self.count_on(*literal, least, sat);
        }
        let failed: Vec<Lit> = core.iter().map(|&literal| !literal).collect();
        sat.clause(failed.iter().copied());
        self.counters.push(Totalizer::new(&failed));
        self.count(self.counters.len() - 1, 2, least, sat);
        least
    }

    fn lighten(&mut self, literal: Lit, by: u64) {
        if let Some(weight) = self.weights.get_mut(&literal) {
            *weight -= by;
            if *weight == 0 {
                self.weights.remove(&literal);
            }
        }
    }

    /// When a count was given up, the next one is wished for.
    fn count_on(&mut self, literal: Lit, weight: u64, sat: &mut Sat) {
        if let Some(&(counter, count)) = self.counts.get(&literal) {
            self.count(counter, count + 1, weight, sat);
        }
    }

    /// Wishes that fewer than `count` fail.
    fn count(&mut self, counter: usize, count: usize, weight: u64, sat: &mut Sat) {
        if let Some(reached) = self.counters[counter].at_least(count, sat) {
            *self.weights.entry(!reached).or_default() += weight;
            self.counts.insert(!reached, (counter, count));
        }
    }
}
