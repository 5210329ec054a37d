//! Why there is no target.

use std::collections::BTreeMap;

use batsat::Lit;

use crate::encoding::Encoding;
use crate::maxsat::{Sat, Satisfied};
use crate::problem::{Cause, Problem};

/// Causes whose rules contradict each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Core {
    /// The causes.
    pub causes: Vec<Cause>,
    /// Whether it is proved that none of them can be left out; where it is not, the search was over before.
    pub is_minimal: bool,
}

/// Finds causes whose rules contradict each other, while without any one of them the others do not; `None` when a target keeps all rules,
/// or nothing was found within `steps` steps.
///
/// Where several sets of causes contradict, one is found. Causes with higher numbers are left out first.
#[must_use]
pub fn core(problem: &Problem, steps: u64) -> Option<Core> {
    let mut sat = Sat::new(steps);
    let causes: BTreeMap<Cause, Lit> = problem.rules.iter().map(|(cause, _)| (*cause, Lit::UNDEF)).collect();
    let causes: BTreeMap<Cause, Lit> = causes.into_keys().map(|cause| (cause, sat.literal(true))).collect();
    // What is true of every set of versions needs no cause, and never contradicts.
    Encoding::new(problem, &mut sat, |cause| causes.get(&cause).copied());
    let all: Vec<Lit> = causes.values().copied().collect();
    let Ok(Satisfied::No(mut core)) = sat.satisfy(&all) else { return None };
    core.sort_unstable_by(|a, b| b.cmp(a));
    let (core, is_minimal) = sat.shrink(core);
    let causes =
        causes.iter().filter(|(_, literal)| core.contains(literal)).map(|(cause, _)| *cause).collect();
    Some(Core { causes, is_minimal })
}
