//! Why there is no target.

use std::collections::BTreeMap;

use batsat::Lit;

use crate::encoding::Encoding;
use crate::maxsat::Sat;
use crate::problem::{Cause, Problem};

/// Finds causes whose rules contradict each other, while without any one of them the others do not; `None` when a target keeps all rules.
///
/// Where several sets of causes contradict, one is found. Causes with higher numbers are left out first.
#[must_use]
pub fn core(problem: &Problem) -> Option<Vec<Cause>> {
    let mut sat = Sat::default();
    let causes: BTreeMap<Cause, Lit> = problem.rules.iter().map(|(cause, _)| (*cause, Lit::UNDEF)).collect();
    let causes: BTreeMap<Cause, Lit> = causes.into_keys().map(|cause| (cause, sat.literal(true))).collect();
    // What is true of every set of versions needs no cause, and never contradicts.
    Encoding::new(problem, &mut sat, |cause| causes.get(&cause).copied());
    let all: Vec<Lit> = causes.values().copied().collect();
    let mut core = sat.satisfy(&all).err()?;
    core.sort_unstable_by(|a, b| b.cmp(a));
    let core = sat.shrink(core);
    Some(causes.iter().filter(|(_, literal)| core.contains(literal)).map(|(cause, _)| *cause).collect())
}
