//! Looks at every state of a finished plan, in the plainest way: move after move, and every requirement as it is written.
//!
//! It is written apart from what orders the moves and uses nothing of it, so that a mistake there is not made here again. What fails it is a
//! mistake of Lockstep, and is never carried out.

use std::collections::BTreeSet;

use crate::baseline::Entries;
use crate::compat::Relation;
use crate::environment::Environment;
use crate::name::ServiceName;
use crate::operation::{Move, Plan};
use crate::plan::refusal::unmet_words;

/// Says what is wrong with a plan, if anything is: it does not lead from what runs to its target, or a state between two of its waves breaks
/// what works at the start.
#[must_use]
pub fn fault(relation: Relation<'_>, environment: &Environment, plan: &Plan) -> Option<String> {
    let start = environment.entries();
    let before = relation.unmet_in(start);
    let pairs = pairs(relation, [start, &plan.target]);
    let mut state = start.clone();
    let mut moved = BTreeSet::new();
    for (number, wave) in (1..).zip(&plan.waves) {
        for part in wave {
            if !moved.insert(&part.service) || state.get(&part.service) != part.from.as_ref() {
                return Some(format!("wave {number} moves {} from where it is not", part.service));
            }
            step(&mut state, part);
        }
        let is_of = |service: &ServiceName| wave.iter().any(|part| part.service == *service);
        for (consumer, provider) in
            pairs.iter().filter(|(consumer, provider)| is_of(consumer) || is_of(provider))
        {
            let unmet =
                |of: &Entries| relation.unmet((consumer, of.get(consumer)), (provider, of.get(provider)));
            if let Some(unmet) = unmet(&state).filter(|_| unmet(start).is_none()) {
                return Some(format!("after wave {number}: {}", unmet_words(&unmet)));
            }
        }
    }
    if state != plan.target {
        return Some("its moves do not lead to its target".into());
    }
    let broken = relation.unmet_in(&state).into_iter().find(|unmet| !before.contains(unmet));
    broken.map(|unmet| format!("at its end: {}", unmet_words(&unmet)))
}

fn step(state: &mut Entries, part: &Move) {
    match &part.to {
        Some(entry) => state.insert(part.service.clone(), entry.clone()),
        None => state.remove(&part.service),
    };
}

/// Every consumer with every service that it requires in one of the sets.
fn pairs(relation: Relation<'_>, sets: [&Entries; 2]) -> BTreeSet<(ServiceName, ServiceName)> {
    let of = |(consumer, entry)| {
        relation.providers(consumer, entry).map(move |(provider, _)| (consumer.clone(), provider.clone()))
    };
    sets.into_iter().flatten().flat_map(of).collect()
}
