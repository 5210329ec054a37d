//! Variants of a union: which one of the old contract is which one of the new.
//!
//! Objects are open unless they say otherwise, so by the letter almost any object is allowed by some variant that names
//! none of its properties. Nobody means that: a variant stands for the one with its name or its content, and for another
//! only when that one names all its properties.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use super::super::Schemas;
use super::super::facts::{Facts, NodeId, Type, Types};
use super::super::violation::{Aspect, Violation};
use super::Relation;

/// How often the documents of one alternative are parted to fit several others.
const MAX_SPLITS: usize = 5;

/// The alternatives of one type on the holding side, and how those of the held side are paired with them.
pub(super) struct Wide<'f> {
    pub(super) kind: Type,
    pub(super) holding: NodeId,
    pub(super) facts: Vec<&'f Facts>,
    /// The group of variants every alternative belongs to.
    groups: Vec<usize>,
    /// True for groups that no variant of the held side is paired with.
    free: Vec<bool>,
    /// True when at least one side is a union of objects, so that variants count by themselves.
    is_union: bool,
}

/// What is known of a held alternative's counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counterpart {
    /// There is no telling, or nothing to tell apart.
    Any,
    /// The group of its namesake.
    Group(usize),
    /// It has none.
    Missing,
}

impl Wide<'_> {
    /// The alternatives of a group.
    fn of(&self, counterpart: Counterpart) -> Vec<usize> {
        let Counterpart::Group(group) = counterpart else { return Vec::new() };
        (0..self.facts.len()).filter(|index| self.groups[*index] == group).collect()
    }

    fn has_free_variant(&self) -> bool {
        self.free.contains(&true)
    }
}

/// Alternatives with the same choices, which are one variant.
struct Group<'f> {
    chosen: &'f [NodeId],
    members: Vec<usize>,
}

fn groups<'f>(alternatives: &[&'f Facts]) -> Vec<Group<'f>> {
    let mut groups: Vec<Group<'f>> = Vec::new();
    for (index, facts) in alternatives.iter().enumerate() {
        match groups.iter_mut().find(|group| group.chosen == facts.chosen) {
            Some(group) => group.members.push(index),
            None => groups.push(Group { chosen: &facts.chosen, members: vec![index] }),
        }
    }
    groups
}

/// The schemas that one alternative of a variant excludes and another meets.
fn conditions(held: &Facts, wide: &[&Facts]) -> Vec<NodeId> {
    let mut variants: HashMap<&[NodeId], Vec<&Facts>> = HashMap::new();
    wide.iter().for_each(|facts| variants.entry(&facts.chosen).or_default().push(facts));
    let mut found: Vec<NodeId> = Vec::new();
    for facts in wide.iter().filter(|facts| !facts.excluded.is_empty()) {
        let others = &variants[facts.chosen.as_slice()];
        if others.len() > 1 {
            let is_condition = |node: &NodeId| others.iter().any(|other| !other.excluded.contains(node));
            found.extend(facts.excluded.iter().filter(|node| is_condition(node)));
        }
    }
    found.retain(|node| !held.excluded.contains(node));
    found
}

impl Schemas<'_> {
    /// Pairs the alternatives of one type on both sides; the second part tells every held one's counterpart.
    pub(super) fn pair_variants<'f>(
        &mut self,
        narrow: &[&'f Facts],
        wide: Vec<&'f Facts>,
        kind: Type,
        holding: NodeId,
    ) -> (Wide<'f>, Vec<Counterpart>) {
        let (held, kept) = (groups(narrow), groups(&wide));
        let is_union = kind == Type::Object && (held.len() > 1 || kept.len() > 1);
        let mut groups = vec![0; wide.len()];
        for (group, members) in kept.iter().enumerate().map(|(group, kept)| (group, &kept.members)) {
            members.iter().for_each(|member| groups[*member] = group);
        }
        let pairs = if is_union { self.pairs(narrow, &held, &wide, &kept) } else { vec![None; held.len()] };
        let free = (0..kept.len()).map(|group| !pairs.contains(&Some(group))).collect();
        let mut counterparts = vec![Counterpart::Any; narrow.len()];
        for (group, pair) in held.iter().zip(&pairs) {
            let counterpart = match pair {
                Some(other) => Counterpart::Group(*other),
                None if is_union => Counterpart::Missing,
                None => Counterpart::Any,
            };
            group.members.iter().for_each(|member| counterparts[*member] = counterpart);
        }
        (Wide { kind, holding, facts: wide, groups, free, is_union }, counterparts)
    }

    /// For every held group the one it is: by name, else by content, else, in unions of one size, by position.
    fn pairs(
        &mut self,
        narrow: &[&Facts],
        held: &[Group<'_>],
        wide: &[&Facts],
        kept: &[Group<'_>],
    ) -> Vec<Option<usize>> {
        let names = |groups: &[Group<'_>]| -> Vec<Option<Vec<String>>> {
            groups.iter().map(|group| self.names_of(group.chosen)).collect()
        };
        let (own, others) = (names(held), names(kept));
        let mut pairs: Vec<Option<usize>> =
            own.iter().map(|name| others.iter().position(|other| name.is_some() && other == name)).collect();
        for (index, group) in held.iter().enumerate().filter(|(_, group)| group.members.len() == 1) {
            if pairs[index].is_none() {
                let first = narrow[group.members[0]];
                pairs[index] = (0..kept.len()).find(|other| {
                    let is_taken = pairs.contains(&Some(*other));
                    let members = &kept[*other].members;
                    !is_taken && members.len() == 1 && self.are_equal(first, wide[members[0]])
                });
            }
        }
        if held.len() == kept.len() {
            for index in 0..held.len() {
                if pairs[index].is_none() && !pairs.contains(&Some(index)) && others[index].is_none() {
                    pairs[index] = Some(index);
                }
            }
        }
        pairs
    }

    /// The names of the chosen variants, when all have one.
    fn names_of(&self, chosen: &[NodeId]) -> Option<Vec<String>> {
        let names: Option<Vec<String>> = chosen.iter().map(|id| self.given_name(*id)).collect();
        names.filter(|names| !names.is_empty())
    }

    /// True when two alternatives allow the same objects, those that no writer sends included.
    fn are_equal(&mut self, one: &Facts, other: &Facts) -> bool {
        let bare = |facts: &Facts| Facts { excluded: Vec::new(), ..facts.clone() };
        let (one, other) = (bare(one), bare(other));
        one.object.required == other.object.required
            && one.object.properties.len() == other.object.properties.len()
            && self.strictly(|schemas| {
                schemas.prove_facts(&one, &other, Type::Object)
                    && schemas.prove_facts(&other, &one, Type::Object)
            })
    }

    /// Compares one alternative with all of the holding side.
    pub(super) fn relate_variant(
        &mut self,
        held: &Facts,
        wide: &Wide<'_>,
        counterpart: Counterpart,
        relation: &mut Relation,
    ) {
        if self.is_held_by_any(held, wide, counterpart) {
            if self.is_new_variant(held, wide, counterpart) {
                relation.add(self.variant(held, wide));
            }
            return;
        }
        let named = wide.of(counterpart);
        let candidates = if named.is_empty() { (0..wide.facts.len()).collect() } else { named };
        let closest = self.closest(held, &wide.facts, &candidates, wide.kind);
        let others_apart = (0..wide.facts.len())
            .filter(|index| *index != closest)
            .all(|index| self.are_disjoint(held, wide.facts[index], wide.kind));
        let mut part = Relation::default();
        self.relate_facts(held, wide.facts[closest], wide.kind, &mut part);
        self.relate_excluded(held, wide.facts[closest], wide.kind, &mut part);
        let lenient = wide.is_union && self.ignores_unknown_fields();
        let is_new = lenient && counterpart == Counterpart::Missing;
        if is_new || !(others_apart || lenient) {
            let shown = self.samples_of(held, 0, 8);
            part.soften();
            let violation = self.variant(held, wide).shown_by(shown);
            // No variant names all of a new one's properties: by the policy in force it is another one.
            part.add(if is_new { violation } else { violation.perhaps() });
        }
        relation.absorb(part);
    }

    fn variant(&mut self, held: &Facts, wide: &Wide<'_>) -> Violation {
        let own = self.told(held, wide.kind);
        let mut others: Vec<String> = Vec::new();
        for facts in &wide.facts {
            let told = self.told(facts, wide.kind);
            if !others.contains(&told) {
                others.push(told);
            }
        }
        Violation::new(Aspect::Variant, own, others.join(" or "))
    }

    /// What a person tells a variant by: its name, else its properties and what it lists.
    fn told(&self, facts: &Facts, kind: Type) -> String {
        if let Some(name) = facts.chosen.last().and_then(|id| self.given_name(*id)) {
            return format!("`{name}`");
        }
        let type_name = facts.type_name(kind);
        if let Some(values) = &facts.values {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            return format!("one of {}", values.join(", "));
        }
        let told = |name: &Rc<str>| {
            let required = if facts.object.required.contains(name) { "" } else { " (optional)" };
            format!("`{name}`{required}")
        };
        let names: Vec<String> = facts.object.properties.keys().map(told).collect();
        match (kind, names.is_empty()) {
            (Type::Object, false) => format!("object with {}", names.join(", ")),
            _ => type_name.to_owned(),
        }
    }

    /// True when some alternative of the holding side is proved to allow all of a held one.
    fn is_held_by_any(&mut self, held: &Facts, wide: &Wide<'_>, counterpart: Counterpart) -> bool {
        let named = wide.of(counterpart);
        if named.iter().any(|index| self.prove_facts(held, wide.facts[*index], wide.kind)) {
            return true;
        }
        let lenient = wide.is_union && self.ignores_unknown_fields();
        (0..wide.facts.len()).filter(|index| !named.contains(index)).any(|index| {
            let facts = wide.facts[index];
            let stands_for = !lenient
                || (counterpart == Counterpart::Missing && wide.free[wide.groups[index]])
                || self.names_all(held, facts);
            stands_for && self.prove_facts(held, facts, wide.kind)
        })
    }

    /// True when the holding alternative describes every property that the held one does.
    fn names_all(&mut self, held: &Facts, holding: &Facts) -> bool {
        let object = Rc::clone(&holding.object);
        held.object.properties.iter().all(|(name, node)| {
            *node == NodeId::NEVER
                || object.properties.contains_key(name)
                || {
                    let found = self.property(&object, name);
                    found != NodeId::ANY && found != object.rest()
                }
                || object.rest.is_some()
        })
    }

    /// True for a variant of an OpenAPI contract that is there besides all the others have one. Its documents fit another
    /// one, but consumers that have a type for every variant have none for it.
    fn is_new_variant(&self, held: &Facts, wide: &Wide<'_>, counterpart: Counterpart) -> bool {
        counterpart == Counterpart::Missing
            && !held.chosen.is_empty()
            && !wide.has_free_variant()
            && self.dialects.iter().all(|dialect| dialect.is_openapi())
    }

    /// Parts the documents of one type of an alternative where those of the holding side part: by whether a property is
    /// there, and by schemas that one of them excludes. `None` when there is nothing to part.
    pub(in super::super) fn split(
        &mut self,
        held: &Facts,
        wide: &[&Facts],
        kind: Type,
        splits: usize,
    ) -> Option<Vec<Facts>> {
        if splits >= MAX_SPLITS || wide.len() < 2 || !self.work.prove() {
            return None;
        }
        let by_name = if kind == Type::Object { self.split_by_name(held, wide) } else { None };
        let parts = by_name.or_else(|| {
            let conditions = conditions(held, wide);
            conditions.into_iter().find_map(|node| self.split_by(held, node))
        })?;
        Some(parts.into_iter().filter(|part| part.types.has(kind)).collect())
    }

    /// The objects of an alternative that have a property on which the holding side parts, and those that do not.
    fn split_by_name(&mut self, held: &Facts, wide: &[&Facts]) -> Option<Vec<Facts>> {
        let own = &held.object;
        let name = wide.iter().flat_map(|facts| &facts.object.properties).find_map(|(name, node)| {
            let is_asked = *node == NodeId::NEVER && !own.required.contains(name);
            (is_asked && own.properties.get(name) != Some(&NodeId::NEVER)).then(|| Rc::clone(name))
        })?;
        let mut present = Facts { types: Types::only(Type::Object), ..Facts::any() };
        present.object_mut().required.insert(Rc::clone(&name));
        let mut absent = present.clone();
        absent.object_mut().required.clear();
        absent.object_mut().properties.insert(name, NodeId::NEVER);
        Some([present, absent].iter().filter_map(|part| self.meet(held, part)).collect())
    }

    /// The documents of an alternative that a schema allows, and those it does not; `None` when either is all of them.
    fn split_by(&mut self, held: &Facts, node: NodeId) -> Option<Vec<Facts>> {
        let alternatives = self.alternatives(node);
        let mut parts: Vec<Facts> = Vec::new();
        for facts in alternatives.iter() {
            parts.extend(self.meet(held, facts));
        }
        if parts.is_empty() || parts.iter().any(|part| part == held) {
            return None;
        }
        let mut rest = held.clone();
        rest.excluded.push(node);
        rest.excluded.sort_unstable();
        parts.push(rest);
        Some(parts)
    }

    /// The alternative with the least violations, among those that share documents first.
    fn closest(&mut self, held: &Facts, wide: &[&Facts], candidates: &[usize], kind: Type) -> usize {
        let mut best = (usize::MAX, 0);
        for index in candidates.iter().copied() {
            let mut relation = Relation::default();
            let outer = std::mem::replace(&mut self.work.without_samples, true);
            self.relate_facts(held, wide[index], kind, &mut relation);
            self.work.without_samples = outer;
            let apart = if self.are_disjoint(held, wide[index], kind) { 1000 } else { 0 };
            let score = apart + relation.violations.len() + relation.undecided.len();
            if score < best.0 {
                best = (score, index);
            }
        }
        best.1
    }

    /// The name people have given a variant: what it refers to, or its title.
    fn given_name(&self, id: NodeId) -> Option<String> {
        let raw = self.raw(id)?;
        let text = |key: &str| raw.value.get(key).and_then(Value::as_str);
        let referred = text("$ref").and_then(|reference| reference.rsplit(['/', '#']).next());
        referred.or_else(|| text("title")).map(str::to_owned)
    }
}
