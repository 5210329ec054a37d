//! Looks at every state of a finished plan, in the plainest way: move after move, and every requirement as it is written.
//!
//! It is written apart from what orders the moves and uses nothing of it, so that a mistake there is not made here again. What fails it is a
//! mistake of Lockstep, and is never carried out.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{Entries, difference};
use crate::compat::Relation;
use crate::environment::Environment;
use crate::name::ServiceName;
use crate::operation::{Move, Plan};
use crate::plan::reach::Reach;
use crate::plan::refusal::unmet_words;

/// Says what is wrong with a plan, if anything is: it does not lead from what runs to its target, or a state between two of its waves breaks
/// what works at the start.
#[must_use]
pub fn fault(relation: Relation<'_>, environment: &Environment, plan: &Plan) -> Option<String> {
    fault_within(relation, environment, plan, &Reach::Everything)
}

pub(super) fn fault_within(
    relation: Relation<'_>,
    environment: &Environment,
    plan: &Plan,
    reach: &Reach<'_>,
) -> Option<String> {
    let start = environment.entries();
    let unmet_at = |state: &Entries| relation.unmet_of(reach.requiring(state), state);
    let pairs = pairs(relation, [start, &plan.target], reach);
    let mut state = start.clone();
    let mut moved = BTreeSet::new();
    for (number, wave) in (1..).zip(&plan.waves) {
        for part in wave {
            if !moved.insert(&part.service) || state.get(&part.service) != part.from.as_ref() {
                return Some(format!("wave {number} moves {} from where it is not", part.service));
            }
            step(&mut state, part);
        }
        for &(consumer, provider) in wave.iter().filter_map(|part| pairs.get(&part.service)).flatten() {
            let unmet =
                |of: &Entries| relation.unmet((consumer, of.get(consumer)), (provider, of.get(provider)));
            if let Some(unmet) = unmet(&state).filter(|_| unmet(start).is_none()) {
                return Some(format!("after wave {number}: {}", unmet_words(&unmet)));
            }
        }
    }
    if !difference(&state, &plan.target).is_empty() {
        return Some("its moves do not lead to its target".into());
    }
    let before = unmet_at(start);
    let broken = unmet_at(&state).into_iter().find(|unmet| !before.contains(unmet));
    broken.map(|unmet| format!("at its end: {}", unmet_words(&unmet)))
}

fn step(state: &mut Entries, part: &Move) {
    match &part.to {
        Some(entry) => state.insert(part.service.clone(), entry.clone()),
        None => state.remove(&part.service),
    };
}

type Pair<'a> = (&'a ServiceName, &'a ServiceName);

/// Every consumer with every service that it requires in one of the sets, by each of the two.
fn pairs<'a>(
    relation: Relation<'a>,
    sets: [&'a Entries; 2],
    reach: &'a Reach<'_>,
) -> BTreeMap<&'a ServiceName, BTreeSet<Pair<'a>>> {
    let mut pairs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (consumer, entry) in sets.into_iter().flat_map(|set| reach.requiring(set)) {
        for (provider, _) in relation.providers(consumer, entry) {
            pairs.entry(consumer).or_default().insert((consumer, provider));
            pairs.entry(provider).or_default().insert((consumer, provider));
        }
    }
    pairs
}
