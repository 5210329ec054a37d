//! Arrays, keyword by keyword.

use serde_json::Value;

use super::super::Schemas;
use super::super::facts::{ArrayFacts, Contains, Facts};
use super::super::violation::{Aspect, Violation};
use super::{Relation, Step};

/// How many positions of tuples are compared one by one.
const MAX_POSITIONS: usize = 256;

impl Schemas<'_> {
    pub(super) fn relate_arrays(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        let (own, wanted) = (&held.array, &holding.array);
        let least = own.least();
        if wanted.min_items > least {
            let shown = self.array_of(held, own.min_items, 0);
            relation.add(
                Violation::new(Aspect::MinItems, own.min_items.to_string(), wanted.min_items.to_string())
                    .shown_by(shown),
            );
        }
        if let Some(most) = wanted.max_items
            && own.most().is_none_or(|own| own > most)
        {
            let shown = self.array_of(held, most.saturating_add(1).max(own.min_items), 0);
            let own = own.max_items.map_or_else(|| "none".to_owned(), |own| own.to_string());
            relation.add(Violation::new(Aspect::MaxItems, own, most.to_string()).shown_by(shown));
        }
        if wanted.unique && !own.unique && own.most().is_none_or(|most| most > 1) {
            let shown = self.twins(held);
            relation.add(Violation::new(Aspect::UniqueItems, "any items", "unique items").shown_by(shown));
        }
        self.relate_positions(held, holding, relation);
        for contains in &wanted.contains {
            self.relate_contains(held, contains, relation);
        }
    }

    fn relate_positions(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        let (own, wanted) = (&held.array, &holding.array);
        let positions = own.prefix.len().max(wanted.prefix.len());
        if positions > MAX_POSITIONS {
            relation.undecided.push(format!("tuples of more than {MAX_POSITIONS} items"));
        }
        let reachable = |index: usize| own.most().is_none_or(|most| (index as u64) < most);
        for index in (0..positions.min(MAX_POSITIONS)).filter(|index| reachable(*index)) {
            self.relate_item(held, holding, index, relation);
        }
        if reachable(positions) {
            self.relate_item(held, holding, positions, relation);
        }
    }

    fn relate_item(&mut self, held: &Facts, holding: &Facts, index: usize, relation: &mut Relation) {
        let (item, wanted) = (held.array.item(index), holding.array.item(index));
        if self.alternatives(wanted).is_empty() && !self.alternatives(item).is_empty() {
            let shown = self.array_of(held, (index as u64 + 1).max(held.array.min_items), 0);
            relation.add(
                Violation::new(Aspect::Items, "items allowed", "no items allowed")
                    .about(index.to_string())
                    .shown_by(shown),
            );
        } else {
            relation.child(Step::Item(index), item, wanted);
        }
    }

    /// Arrays with two equal items.
    fn twins(&mut self, held: &Facts) -> Vec<Value> {
        let length = held.array.min_items.max(2);
        let Some(Value::Array(mut items)) = self.array_of(held, length, 0) else { return Vec::new() };
        let second = items[0].clone();
        items[1] = second;
        vec![Value::Array(items)]
    }

    fn relate_contains(&mut self, held: &Facts, wanted: &Contains, relation: &mut Relation) {
        let enough = wanted.min == 0
            || held
                .array
                .contains
                .iter()
                .any(|own| own.min >= wanted.min && self.prove(own.node, wanted.node))
            || (held.array.min_items >= wanted.min && self.all_items_within(&held.array, wanted));
        let few = wanted.max.is_none_or(|max| {
            held.array.most().is_some_and(|most| most <= max)
                || held.array.contains.iter().any(|own| {
                    own.max.is_some_and(|own| own <= max) && self.prove_strictly(wanted.node, own.node)
                })
        });
        if enough && few {
            return;
        }
        let mut shown: Vec<Value> = Vec::new();
        for length in [held.array.min_items, held.array.min_items + 1, wanted.min.saturating_sub(1)] {
            shown.extend(self.array_of(held, length, 0));
        }
        shown.extend(self.arrays_of_matches(held, wanted));
        let limits = |contains: Option<&Contains>| match contains {
            None => "none".to_owned(),
            Some(Contains { min, max: Some(max), .. }) => format!("{min} to {max}"),
            Some(Contains { min, max: None, .. }) => format!("at least {min}"),
        };
        let violation =
            Violation::new(Aspect::Contains, limits(held.array.contains.first()), limits(Some(wanted)));
        let violation = violation.shown_by(shown);
        let compared = held.array.contains.iter().any(|own| {
            self.prove_strictly(own.node, wanted.node) && self.prove_strictly(wanted.node, own.node)
        });
        relation.add(if compared { violation } else { violation.perhaps() });
    }

    fn all_items_within(&mut self, array: &ArrayFacts, wanted: &Contains) -> bool {
        let positions = array.prefix.len().min(MAX_POSITIONS);
        (0..=positions).all(|index| self.prove(array.item(index), wanted.node))
    }

    /// Arrays in which as many items match as the held side allows, and one less than the other wants, and one more.
    fn arrays_of_matches(&mut self, held: &Facts, wanted: &Contains) -> Vec<Value> {
        let counts = [wanted.min.saturating_sub(1), wanted.min, wanted.max.unwrap_or(0).saturating_add(1)];
        let mut found = Vec::new();
        for count in counts.into_iter().filter(|count| *count <= 64) {
            let mut facts = held.clone();
            facts.array.contains.push(Contains { node: wanted.node, min: count, max: None });
            let least: u64 = facts.array.contains.iter().map(|contains| contains.min).max().unwrap_or(0);
            for length in [least, facts.array.contains.iter().map(|contains| contains.min).sum()] {
                facts.array.contains.retain(|contains| contains.min > 0 || contains.max.is_some());
                found.extend(self.array_of(&facts, length.max(held.array.min_items), 0));
            }
        }
        found
    }
}

impl ArrayFacts {
    /// The least number of items, which what must be contained bounds too.
    fn least(&self) -> u64 {
        self.contains.iter().map(|contains| contains.min).max().unwrap_or(0).max(self.min_items)
    }
}
