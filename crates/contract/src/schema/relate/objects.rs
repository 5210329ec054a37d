//! Objects, keyword by keyword.

use std::rc::Rc;

use serde_json::Value;

use super::super::Schemas;
use super::super::evaluate::Truth;
use super::super::facts::{Facts, NodeId, ObjectFacts, Type};
use super::super::pattern::Inclusion;
use super::super::violation::{Aspect, Violation};
use super::{Relation, Step};

/// How many pairs of patterns of properties are compared for one pair of objects.
const MAX_PATTERN_PAIRS: usize = 1 << 12;

impl Schemas<'_> {
    pub(super) fn relate_objects(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        let (own, wanted) = (&*held.object, &*holding.object);
        if let Some(pattern) = own
            .patterns
            .keys()
            .chain(wanted.patterns.keys())
            .find(|pattern| self.patterns.matches(pattern, "").is_none())
        {
            relation
                .undecided
                .push(format!("properties by the pattern `{pattern}`, which cannot be run in bounded time"));
        }
        self.relate_counts(held, wanted, relation);
        for name in wanted.required.difference(&own.required) {
            self.relate_required(held, wanted, name, relation);
        }
        for name in wanted.dependent.keys() {
            self.relate_dependent(held, wanted, name, relation);
        }
        self.relate_named(held, holding, relation);
        self.relate_patterned(own, wanted, relation);
        self.relate_rest(held, wanted, relation);
        for names in &wanted.names {
            self.relate_names(held, *names, relation);
        }
    }

    fn relate_counts(&mut self, held: &Facts, wanted: &ObjectFacts, relation: &mut Relation) {
        let own = &*held.object;
        if wanted.min > own.min.max(own.required.len() as u64) {
            let shown = self.object_with(own, None, 0).map(Value::Object);
            relation.add(
                Violation::new(Aspect::MinProperties, own.min.to_string(), wanted.min.to_string())
                    .shown_by(shown),
            );
        }
        let Some(most) = wanted.max else { return };
        if own.max.is_some_and(|own| own <= most) || self.closed_size(own).is_some_and(|size| size <= most) {
            return;
        }
        let mut shown = self.object_with(own, None, 0);
        if let Some(map) = &mut shown {
            self.fill(own, map, most.saturating_add(1), 0);
        }
        let own = own.max.map_or_else(|| "none".to_owned(), |own| own.to_string());
        relation.add(
            Violation::new(Aspect::MaxProperties, own, most.to_string()).shown_by(shown.map(Value::Object)),
        );
    }

    /// How many properties an object can have at most, when no other than the named ones are allowed.
    fn closed_size(&mut self, object: &ObjectFacts) -> Option<u64> {
        let closed = object.patterns.is_empty() && self.alternatives(object.rest()).is_empty();
        closed.then(|| object.properties.values().filter(|node| **node != NodeId::NEVER).count() as u64)
    }

    fn relate_required(
        &mut self,
        held: &Facts,
        wanted: &ObjectFacts,
        name: &Rc<str>,
        relation: &mut Relation,
    ) {
        let own = &*held.object;
        let implied = own
            .required
            .iter()
            .any(|present| own.dependent.get(present).is_some_and(|needed| needed.contains(name)));
        if implied {
            return;
        }
        let declared = own.properties.contains_key(name);
        let aspect = if declared || !wanted.properties.contains_key(name) {
            Aspect::RequiredProperty
        } else {
            Aspect::NewRequiredProperty
        };
        let shown = self.object_with(own, None, 0).map(Value::Object);
        let fewest = shown.into_iter().filter(|value| value.get(&**name).is_none());
        relation.add(Violation::new(aspect, "optional", "required").about(&**name).shown_by(fewest));
    }

    fn relate_dependent(
        &mut self,
        held: &Facts,
        wanted: &ObjectFacts,
        name: &Rc<str>,
        relation: &mut Relation,
    ) {
        let own = &*held.object;
        let node = self.property(own, name);
        if self.alternatives(node).is_empty() {
            return;
        }
        let own_needed = own.dependent.get(name);
        let missing: Vec<&str> = wanted.dependent[name]
            .iter()
            .filter(|other| {
                !own.required.contains(*other) && own_needed.is_none_or(|own| !own.contains(*other))
            })
            .map(|other| &**other)
            .collect();
        if missing.is_empty() || (self.is_unwritten(own, name) && wanted.properties.contains_key(name)) {
            return;
        }
        let given = self.sample(node).map(|value| (&**name, value));
        let shown = given.and_then(|given| self.object_with(own, Some(given), 0)).map(Value::Object);
        relation.add(
            Violation::new(Aspect::DependentRequired, "optional", missing.join(", "))
                .about(&**name)
                .shown_by(shown),
        );
    }

    /// True when writers of the held side know nothing of a property, and so do not send it by the policy in force. Of an
    /// object that describes no property at all anything may be sent.
    pub(in super::super) fn is_unwritten(&self, own: &ObjectFacts, name: &Rc<str>) -> bool {
        let undeclared =
            !own.properties.contains_key(name) && !own.required.contains(name) && own.patterns.is_empty();
        let described = !own.properties.is_empty() && self.ignores_unknown_fields();
        undeclared && own.is_open() && (own.hidden.contains(name) || described)
    }

    fn relate_named(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        let (own, wanted) = (&*held.object, &*holding.object);
        let mut names: Vec<&Rc<str>> = own.properties.keys().chain(wanted.properties.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            if self.is_unwritten(own, name) && !wanted.conditional.contains(name) {
                continue;
            }
            let (from, to) = (self.property(own, name), self.property(wanted, name));
            let forbidden = !wanted.properties.contains_key(name) && self.alternatives(to).is_empty();
            if !forbidden {
                relation.child(Step::Property(Rc::clone(name)), from, to);
            } else if !self.alternatives(from).is_empty() && !wanted.hidden.contains(name) {
                let given = self.sample(from).map(|value| (&**name, value));
                let shown = given.and_then(|given| self.object_with(own, Some(given), 0)).map(Value::Object);
                relation.add(
                    Violation::new(Aspect::ClosedProperty, "allowed", "forbidden")
                        .about(&**name)
                        .shown_by(shown),
                );
            }
        }
    }

    fn relate_patterned(&mut self, own: &ObjectFacts, wanted: &ObjectFacts, relation: &mut Relation) {
        if own.patterns.len().saturating_mul(wanted.patterns.len()) > MAX_PATTERN_PAIRS {
            relation.undecided.push("more patterns of properties than are compared".to_owned());
            return;
        }
        for (pattern, to) in &wanted.patterns {
            if let Some(from) = own.patterns.get(pattern) {
                self.relate_matching(pattern, *from, *to, relation);
                continue;
            }
            self.relate_matching(pattern, own.rest(), *to, relation);
            for (other, from) in &own.patterns {
                if !self.patterns.disjoint(pattern, other) {
                    self.relate_matching(other, *from, *to, relation);
                }
            }
        }
        for (pattern, from) in &own.patterns {
            let covered =
                wanted.patterns.keys().any(|wide| self.patterns.include(wide, pattern) == Inclusion::Yes);
            if !covered {
                self.relate_matching(pattern, *from, wanted.rest(), relation);
            }
        }
    }

    fn relate_matching(&mut self, pattern: &Rc<str>, from: NodeId, to: NodeId, relation: &mut Relation) {
        match self.patterns.sample(&[Rc::clone(pattern)], None, 1) {
            Some(name) => relation.child(Step::Property(name.into()), from, to),
            None if from == to || to == NodeId::ANY || from == NodeId::NEVER || self.prove(from, to) => {}
            None => relation.undecided.push(format!("properties by the pattern `{pattern}`")),
        }
    }

    fn relate_rest(&mut self, held: &Facts, wanted: &ObjectFacts, relation: &mut Relation) {
        let own = &*held.object;
        let (from, to) = (own.rest(), wanted.rest());
        if from == to || to == NodeId::ANY || self.alternatives(from).is_empty() {
            return;
        }
        let name = self.fresh_name(own, wanted);
        if self.alternatives(to).is_empty() {
            let given = self.sample(from).map(|value| (&*name, value));
            let shown = given.and_then(|given| self.object_with(own, Some(given), 0)).map(Value::Object);
            let violation =
                Violation::new(Aspect::AdditionalProperties, "allowed", "forbidden").shown_by(shown);
            // Names that must meet a schema may all be among the named ones.
            relation.add(if own.names.is_empty() { violation } else { violation.perhaps() });
        } else {
            relation.child(Step::Property(name), from, to);
        }
    }

    /// A name that neither side declares or matches by a pattern.
    fn fresh_name(&mut self, own: &ObjectFacts, wanted: &ObjectFacts) -> Rc<str> {
        let taken = |schemas: &mut Self, name: &str| {
            [own, wanted].into_iter().any(|object| {
                object.properties.contains_key(name)
                    || object
                        .patterns
                        .keys()
                        .any(|pattern| schemas.patterns.matches(pattern, name) != Some(false))
            })
        };
        let mut candidates =
            ["additional", "other", "zz", "0", "_", "extra-property", "a b", "Z9"].into_iter();
        let free = candidates.find(|name| !taken(self, name) && self.name_fits(own, name));
        free.unwrap_or("additional").into()
    }

    fn name_fits(&mut self, object: &ObjectFacts, name: &str) -> bool {
        object.names.clone().into_iter().all(|names| self.allows(names, &Value::from(name)) != Truth::No)
    }

    fn relate_names(&mut self, held: &Facts, wanted: NodeId, relation: &mut Relation) {
        let own = &*held.object;
        if own.names.iter().any(|names| self.prove(*names, wanted)) {
            return;
        }
        let mut shown = Vec::new();
        let mut unmet = false;
        for (name, node) in &own.properties {
            if self.alternatives(*node).is_empty() || self.allows(wanted, &Value::from(&**name)) == Truth::Yes
            {
                continue;
            }
            unmet = true;
            let given = self.sample(*node).map(|value| (&**name, value));
            shown.extend(given.and_then(|given| self.object_with(own, Some(given), 0)).map(Value::Object));
        }
        let closed = own.patterns.is_empty() && self.alternatives(own.rest()).is_empty();
        if closed && !unmet {
            return;
        }
        if !closed {
            let rest = self.sample(own.rest()).unwrap_or(Value::Null);
            for name in [
                "additional",
                "",
                "0",
                "A",
                "a b",
                "-",
                "a-name-that-is-longer-than-most-names-of-properties-are",
            ] {
                shown.extend(self.object_with(own, Some((name, rest.clone())), 0).map(Value::Object));
            }
        }
        let text = self.describe(wanted);
        relation.add(Violation::new(Aspect::PropertyNames, "any name", text).shown_by(shown).perhaps());
    }

    /// True when no object can be of both alternatives because of a property that one of them requires.
    pub(in super::super) fn properties_apart(&mut self, one: &Facts, other: &Facts, depth: usize) -> bool {
        let required: Vec<Rc<str>> = one.object.required.union(&other.object.required).cloned().collect();
        required.iter().any(|name| {
            let (first, second) = (self.property(&one.object, name), self.property(&other.object, name));
            self.nodes_apart(first, second, depth)
        })
    }

    /// True when sizes alone keep two alternatives of objects apart.
    pub(in super::super) fn sizes_apart(one: &Facts, other: &Facts) -> bool {
        debug_assert!(one.types.has(Type::Object) || other.types.has(Type::Object), "asked of objects");
        let least = |facts: &Facts| facts.object.min.max(facts.object.required.len() as u64);
        one.object.max.is_some_and(|max| max < least(other))
            || other.object.max.is_some_and(|max| max < least(one))
    }
}
