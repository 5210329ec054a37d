//! Weighted MaxSAT in an order of objectives, by unsatisfiable cores.
//!
//! Source: OLL, Andres, Kaufmann, Matheis and Schaub, "Unsatisfiability-based optimization in clasp" (2012), and Morgado, Dodaro and
//! Marques-Silva, "Core-Guided MaxSAT with Soft Cardinality Constraints" (2014); heavier wishes first (stratification, Ansótegui et al. 2012).
//! When an objective is at its best, every wish that is left holds in all best models: who makes them hard keeps it for the next objective.

use std::collections::{BTreeMap, BTreeSet};

use batsat::clause::Kind;
use batsat::{Callbacks, Lit, Solver, SolverInterface as _, SolverOpts, lbool};

use crate::totalizer::Totalizer;

/// Clauses, and what satisfies them.
pub(crate) struct Sat(Solver<Work>);

/// The search is over before it found an answer: it was allowed no more steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent;

/// How many steps the search may still take. Each question is one, and each clause that it learns from a dead end.
struct Work {
    left: u64,
}

impl Callbacks for Work {
    fn on_new_clause(&mut self, _: &[Lit], source: Kind) {
        self.left = self.left.saturating_sub(u64::from(source == Kind::Learnt));
    }

    fn stop(&self) -> bool {
        self.left == 0
    }
}

/// What became of a question.
pub(crate) enum Satisfied {
    /// All hold together.
    Yes,
    /// These assumptions contradict each other.
    No(Vec<Lit>),
}

impl Sat {
    /// No clauses yet, and so many steps to search.
    pub(crate) fn new(steps: u64) -> Self {
        Self(Solver::new(SolverOpts::default(), Work { left: steps }))
    }

    /// Gives the search more steps.
    pub(crate) fn allow(&mut self, steps: u64) {
        let work = self.0.cb_mut();
        work.left = work.left.saturating_add(steps);
    }

    /// A new literal, which is tried with this value first.
    pub(crate) fn literal(&mut self, first: bool) -> Lit {
        let polarity = if first { lbool::TRUE } else { lbool::FALSE };
        Lit::new(self.0.new_var(polarity, true), true)
    }

    pub(crate) fn clause(&mut self, literals: impl IntoIterator<Item = Lit>) {
        // Whether it can still be satisfied is what `satisfy` tells.
        let _ = self.0.add_clause_reuse(&mut literals.into_iter().collect());
    }

    /// Tries to satisfy all clauses and assumptions.
    pub(crate) fn satisfy(&mut self, assumptions: &[Lit]) -> Result<Satisfied, Spent> {
        let work = self.0.cb_mut();
        if work.left == 0 {
            return Err(Spent);
        }
        work.left -= 1;
        let answer = self.0.solve_limited(assumptions);
        if answer == lbool::TRUE {
            Ok(Satisfied::Yes)
        } else if answer == lbool::FALSE {
            // The solver tells the clause that follows: one of them is not so.
            Ok(Satisfied::No(self.0.unsat_core().iter().map(|&literal| !literal).collect()))
        } else {
            self.0.cb_mut().left = 0;
            Err(Spent)
        }
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
                Ok(Satisfied::No(smaller)) if smaller.len() < core.len() => core = smaller,
                _ => break,
            }
        }
        core
    }

    /// Leaves out of contradicting assumptions what is not needed for that, and says whether it found out of each: then what is left
    /// contradicts without any that could be left out.
    pub(crate) fn shrink(&mut self, mut core: Vec<Lit>) -> (Vec<Lit>, bool) {
        let (mut kept, mut is_minimal) = (0, true);
        while kept < core.len() {
            let without: Vec<Lit> = core.iter().copied().filter(|&it| it != core[kept]).collect();
            match self.satisfy(&without) {
                Ok(Satisfied::Yes) => kept += 1,
                Ok(Satisfied::No(smaller)) => {
                    let smaller: BTreeSet<Lit> = smaller.into_iter().collect();
                    let is_kept = |(at, literal): (usize, Lit)| {
                        (at < kept || smaller.contains(&literal)).then_some(literal)
                    };
                    core = without.into_iter().enumerate().filter_map(is_kept).collect();
                }
                Err(Spent) => {
                    is_minimal = false;
                    break;
                }
            }
        }
        (core, is_minimal)
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

/// The least cost, and the literals that hold exactly where it costs no more.
pub(crate) type Least = (u64, Vec<Lit>);

/// Finds the least cost of what cannot be fulfilled; `None` when the clauses cannot be satisfied.
pub(crate) fn minimise(
    sat: &mut Sat,
    wishes: impl IntoIterator<Item = (Lit, u64)>,
) -> Result<Option<Least>, Spent> {
    let mut open = Wishes::default();
    for (literal, weight) in wishes {
        *open.weights.entry(literal).or_default() += weight;
    }
    let (mut cost, mut least) = (0, open.weights.values().copied().max().unwrap_or(0));
    loop {
        cost += open.give_up_certain(sat);
        let assumed: Vec<Lit> =
            open.weights.iter().filter(|(_, weight)| **weight >= least).map(|(it, _)| *it).collect();
        match sat.satisfy(&assumed)? {
            Satisfied::No(core) if core.is_empty() => return Ok(None),
            Satisfied::No(core) => {
                cost += open.give_up(&sat.trim(core), sat);
            }
            Satisfied::Yes => match open.weights.values().copied().filter(|weight| *weight < least).max() {
                Some(next) => least = next,
                None => break,
            },
        }
    }
    Ok(Some((cost, open.weights.into_keys().collect())))
}

impl Wishes {
    /// Gives up what can hold in no way, as far as that is known without a question: in a long chain that is all of it.
    fn give_up_certain(&mut self, sat: &mut Sat) -> u64 {
        let lost: Vec<Lit> = self.weights.keys().copied().filter(|&it| sat.is_certain(!it)).collect();
        lost.into_iter().map(|literal| self.give_up(&[literal], sat)).sum()
    }

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
