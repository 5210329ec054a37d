//! What must hold for every document of one schema to be allowed by another, one level deep.
//!
//! [`Schemas::relation`] compares the alternatives of two schemas by type. Whatever a keyword of the holding schema
//! demands and the held one does not is a [`Violation`]; what must hold of parts (properties, items) becomes a [`Child`].
//! Invariant: when there is no violation and every child holds, the holding schema allows all that the held one does.

mod arrays;
mod objects;
mod scalars;
mod variants;

use std::rc::Rc;

use serde_json::Value;

use super::evaluate::Truth;
use super::facts::{Facts, NodeId, Type};
use super::violation::{Aspect, Certainty, Violation};
use super::{Schemas, specification};
use variants::{Counterpart, Wide};

/// From a document to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Property(Rc<str>),
    Item(usize),
    /// The document inside a string.
    Content,
    /// The document itself, as a schema that extends this one has it.
    Itself,
}

/// A part whose schemas must hold too.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Child {
    pub(super) step: Step,
    pub(super) held: NodeId,
    pub(super) holding: NodeId,
    pub(super) certainty: Certainty,
}

/// What must be shown for one schema to hold another.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Relation {
    pub(super) violations: Vec<Violation>,
    pub(super) children: Vec<Child>,
    /// What could not be compared at all.
    pub(super) undecided: Vec<String>,
}

impl Relation {
    pub(super) fn add(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub(super) fn child(&mut self, step: Step, held: NodeId, holding: NodeId) {
        if held != holding && holding != NodeId::ANY && held != NodeId::NEVER {
            self.children.push(Child { step, held, holding, certainty: Certainty::Surely });
        }
    }

    fn soften(&mut self) {
        self.violations.iter_mut().for_each(|violation| violation.certainty = Certainty::Perhaps);
        self.children.iter_mut().for_each(|child| child.certainty = Certainty::Perhaps);
    }

    fn absorb(&mut self, other: Self) {
        for violation in other.violations {
            if !self.violations.contains(&violation) {
                self.violations.push(violation);
            }
        }
        for child in other.children {
            if !self.children.contains(&child) {
                self.children.push(child);
            }
        }
        self.undecided.extend(other.undecided);
    }
}

impl Schemas<'_> {
    /// What must be shown for `holding` to allow every document of `held`.
    pub(super) fn relation(&mut self, held: NodeId, holding: NodeId) -> Rc<Relation> {
        if let Some(known) = self.relations.get(&(held, holding)) {
            return Rc::clone(known);
        }
        let asked = self.questions;
        let relation = Rc::new(self.find_relation(held, holding));
        // What is proved may lean on what was proved before, so that it is found out in each flow.
        if asked == self.questions {
            self.relations.insert((held, holding), Rc::clone(&relation));
        }
        relation
    }

    fn find_relation(&mut self, held: NodeId, holding: NodeId) -> Relation {
        self.work.begin();
        let (narrow, wide) = (self.alternatives(held), self.alternatives(holding));
        let mut relation = Relation::default();
        let mut missing: Vec<(Type, Facts)> = Vec::new();
        for kind in Type::ALL {
            let narrow: Vec<&Facts> = narrow.iter().filter(|facts| facts.types.has(kind)).collect();
            let wide: Vec<&Facts> = wide.iter().filter(|facts| facts.reads(kind)).collect();
            match (narrow.as_slice(), wide.as_slice()) {
                ([], _) => {}
                (narrow, []) => {
                    let unread = narrow.iter().filter(|facts| !self.is_read_as_text(facts, kind, holding));
                    missing.extend(unread.map(|facts| (kind, (*facts).clone())));
                }
                (narrow, wide) => {
                    let (wide, counterparts) = self.pair_variants(narrow, wide.to_vec(), kind, holding);
                    for (facts, counterpart) in narrow.iter().zip(counterparts) {
                        self.relate_alternative(facts, &wide, counterpart, 0, &mut relation);
                    }
                }
            }
        }
        if !missing.is_empty() {
            let violation = self.missing_types(&missing, holding);
            relation.add(violation);
        }
        self.relate_heirs(held, holding, &mut relation);
        relation
    }

    /// True when all is text and every value of a list is one that the holding schema reads, as another type.
    fn is_read_as_text(&mut self, held: &Facts, kind: Type, holding: NodeId) -> bool {
        if self.medium != super::Medium::Text {
            return false;
        }
        let values = self.listed(held, kind).filter(|_| kind != Type::Null);
        values.is_some_and(|values| values.iter().all(|value| self.allows(holding, value) == Truth::Yes))
    }

    /// The violation for types that the holding schema does not allow at all.
    fn missing_types(&mut self, missing: &[(Type, Facts)], holding: NodeId) -> Violation {
        let mut names: Vec<&str> = missing.iter().map(|(kind, facts)| facts.type_name(*kind)).collect();
        names.dedup();
        let aspect = if names == [Type::Null.name()] { Aspect::Null } else { Aspect::Type };
        let mut shown = Vec::new();
        for (kind, facts) in missing {
            let of_kind = Facts { types: super::facts::Types::only(*kind), ..facts.clone() };
            shown.extend(self.samples_of(&of_kind, 0, 2));
        }
        let allowed = self.type_names(holding);
        // What one is not sure of the other side allows need not be missed: only a document shows it.
        let is_unsure = |facts: &Facts| {
            !facts.opaque.is_empty() || !facts.excluded.is_empty() || self.medium == super::Medium::Text
        };
        let perhaps = missing.iter().all(|(_, facts)| is_unsure(facts));
        let names = names.join(" or ");
        let violation = Violation::new(aspect, names.clone(), allowed).about(names).shown_by(shown);
        if perhaps { violation.perhaps() } else { violation }
    }

    fn type_names(&mut self, id: NodeId) -> String {
        let alternatives = self.alternatives(id);
        let names: Vec<&str> = Type::ALL
            .into_iter()
            .filter_map(|kind| {
                let mut of_kind = alternatives.iter().filter(|facts| facts.types.has(kind));
                let first = of_kind.next()?.type_name(kind);
                Some(if of_kind.all(|facts| facts.type_name(kind) == first) { first } else { kind.name() })
            })
            .collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" or ") }
    }

    fn relate_alternative(
        &mut self,
        held: &Facts,
        wide: &Wide<'_>,
        counterpart: Counterpart,
        splits: usize,
        relation: &mut Relation,
    ) {
        self.relate_unread(held, wide, relation);
        if let Some(values) = self.listed(held, wide.kind) {
            return self.relate_values(held, &values, &wide.facts, wide.holding, relation);
        }
        if let ([only], Counterpart::Any) = (wide.facts.as_slice(), counterpart) {
            self.relate_facts(held, only, wide.kind, relation);
            return self.relate_excluded(held, only, wide.kind, relation);
        }
        let mut whole = Relation::default();
        self.relate_variant(held, wide, counterpart, &mut whole);
        if whole == Relation::default() {
            return;
        }
        let Some(parts) = self.split(held, &wide.facts, wide.kind, splits) else {
            return relation.absorb(whole);
        };
        for part in &parts {
            self.relate_alternative(part, wide, counterpart, splits + 1, relation);
        }
    }

    /// What nobody knows or looks at must be the same in some alternative of the holding side.
    fn relate_unread(&mut self, held: &Facts, wide: &Wide<'_>, relation: &mut Relation) {
        let is_free = |facts: &Facts| facts.unread.is_empty();
        if is_free(held) && wide.facts.iter().any(|facts| is_free(facts)) {
            return;
        }
        let mut differing = Vec::new();
        for facts in &wide.facts {
            let Some(name) = self.unread_that_differs(held, facts) else { return };
            differing.push(name);
        }
        relation.undecided.extend(differing.first().map(|name| specification::reason(name)));
    }

    fn unread_that_differs(&mut self, held: &Facts, holding: &Facts) -> Option<Rc<str>> {
        let differs = |schemas: &mut Self, one: &Facts, other: &Facts| {
            let has = |schemas: &mut Self, (name, node): &(Rc<str>, NodeId)| {
                let is_same = |(known, value): &(Rc<str>, NodeId)| {
                    known == name
                        && schemas.say_the_same(*node, *value)
                        && schemas.are_identical(*node, *value)
                };
                other.unread.iter().any(is_same)
            };
            one.unread.iter().find(|unread| !has(schemas, unread)).map(|(name, _)| Rc::clone(name))
        };
        differs(self, held, holding).or_else(|| differs(self, holding, held))
    }

    /// The finite list of values of this type, when there is one.
    pub(super) fn listed(&mut self, facts: &Facts, kind: Type) -> Option<Vec<Value>> {
        let values = match (&facts.values, kind) {
            (Some(values), _) => values.iter().filter(|value| Type::of(value) == kind).cloned().collect(),
            (None, Type::Null) => vec![Value::Null],
            (None, Type::Boolean) => vec![Value::Bool(false), Value::Bool(true)],
            (None, _) => return None,
        };
        Some(values)
    }

    fn relate_values(
        &mut self,
        held: &Facts,
        values: &[Value],
        wide: &[&Facts],
        holding: NodeId,
        relation: &mut Relation,
    ) {
        if let Some(reason) = self.unknown_to_all(held, wide) {
            relation.undecided.push(reason);
            return;
        }
        let listed = wide.iter().any(|facts| facts.values.is_some());
        let texts: std::collections::HashSet<String> = match wide {
            [only] if only.is_plain_list() => {
                only.values.iter().flat_map(|values| values.iter()).map(Value::to_string).collect()
            }
            _ => std::collections::HashSet::new(),
        };
        for value in values {
            if texts.contains(&value.to_string()) {
                continue;
            }
            let possible = self.meets(held, value);
            if possible == Truth::No {
                continue;
            }
            let aspect = if listed { Aspect::EnumValue } else { Aspect::Enum };
            let violation = || {
                Violation::new(aspect, value.to_string(), "not allowed")
                    .about(value.to_string())
                    .shown_by([value.clone()])
            };
            match self.allows(holding, value) {
                Truth::Yes => {}
                Truth::No if possible == Truth::Yes => relation.add(violation()),
                Truth::No => relation.add(violation().perhaps()),
                Truth::Unknown => {
                    // The value alone cannot tell, but a holding alternative that makes no other demand than the held one can.
                    let kind = Type::of(value);
                    let proved = wide.iter().any(|facts| self.prove_demands(held, facts, kind));
                    if !proved {
                        relation.add(violation().perhaps());
                    }
                }
            }
        }
    }

    /// The reason why no value can be judged, when every alternative of the holding side is not known.
    fn unknown_to_all(&mut self, held: &Facts, wide: &[&Facts]) -> Option<String> {
        let free = |facts: &Facts| Facts { opaque: Vec::new(), ..facts.clone() } == Facts::any();
        let [only] = wide else { return None };
        let [opaque] = only.opaque.as_slice() else { return None };
        let known = held.opaque.iter().any(|other| self.are_identical(other.node, opaque.node));
        (free(only) && !known).then(|| opaque.reason.to_string())
    }

    /// What one alternative must meet to be held by another, for documents of one type.
    pub(super) fn relate_facts(
        &mut self,
        held: &Facts,
        holding: &Facts,
        kind: Type,
        relation: &mut Relation,
    ) {
        if let Some(values) = &holding.values
            && !held_by_list(held, values)
        {
            let strangers = self.stranger(held, kind);
            let list = Value::Array(values.to_vec()).to_string();
            let violation = Violation::new(Aspect::Enum, kind.name(), list).shown_by(strangers);
            // A narrow range may hold no more than what is listed.
            let is_bounded =
                kind == Type::Number && held.number.lower.is_some() && held.number.upper.is_some();
            relation.add(if is_bounded { violation.perhaps() } else { violation });
            return;
        }
        self.relate_demands(held, holding, kind, relation);
    }

    /// The schemas that a holding alternative excludes and the held one may meet.
    fn relate_excluded(&mut self, held: &Facts, holding: &Facts, kind: Type, relation: &mut Relation) {
        for excluded in &holding.excluded {
            if !self.is_excluded(held, holding, *excluded, kind) {
                let shown = self.samples(*excluded, 6);
                let both = self.overlap(held, *excluded);
                let name = self.describe(*excluded);
                relation.add(
                    Violation::new(Aspect::Exclusion, "allowed", name)
                        .shown_by(both)
                        .shown_by(shown)
                        .perhaps(),
                );
            }
        }
    }

    /// Everything but what is excluded.
    fn relate_demands(&mut self, held: &Facts, holding: &Facts, kind: Type, relation: &mut Relation) {
        if !self.work.prove() {
            relation.undecided.push("there is too much to compare".to_owned());
            return;
        }
        match kind {
            Type::Null | Type::Boolean => {}
            Type::Number => scalars::numbers(held, holding, relation),
            Type::String => self.relate_strings(held, holding, relation),
            Type::Array => self.relate_arrays(held, holding, relation),
            Type::Object => self.relate_objects(held, holding, relation),
        }
        for opaque in holding.unknown_demands(kind) {
            let known = held
                .unknown_demands(kind)
                .any(|other| other.reason == opaque.reason && self.are_identical(other.node, opaque.node));
            if !known {
                relation.undecided.push(opaque.reason.to_string());
            }
        }
    }

    fn prove_demands(&mut self, held: &Facts, holding: &Facts, kind: Type) -> bool {
        let free = Facts { values: None, ..holding.clone() };
        holding.values.is_none() && self.prove_facts(held, &free, kind)
    }

    /// Documents that both an alternative and a schema allow.
    fn overlap(&mut self, held: &Facts, excluded: NodeId) -> Vec<Value> {
        let mut found = Vec::new();
        for facts in self.alternatives(excluded).iter() {
            if let Some(both) = self.meet(held, facts) {
                found.extend(self.samples_of(&both, 0, 4));
            }
        }
        found
    }

    /// A short text for a schema.
    pub(super) fn describe(&self, id: NodeId) -> String {
        match self.raw(id) {
            Some(raw) => format!("the schema at {}", raw.pointer),
            None if id == NodeId::ANY => "anything".to_owned(),
            None => "nothing".to_owned(),
        }
    }
}

/// True when the held alternative can only be one of the listed values. Lists of it were handled value by value.
fn held_by_list(held: &Facts, values: &[Value]) -> bool {
    held.values.as_ref().is_some_and(|held| {
        held.iter().all(|value| values.iter().any(|other| super::meet::same_value(value, other)))
    })
}
