//! From a schema as written to its alternatives: references followed, `allOf` merged, `anyOf`, `oneOf` and conditions spread out.
//! Unions are in [`unions`].

mod unions;

use std::rc::Rc;

use serde_json::{Map, Value};

use super::facts::{Facts, NodeId, Type, Types};
use super::{MAX_NESTING, Medium, Node, Raw, Schemas};
use crate::document::member;

/// How many alternatives a schema may have: real ones have up to some hundred variants, products of them explode.
const MAX_ALTERNATIVES: usize = 512;

/// Marks a product of alternatives that grew over the limit.
struct TooMany;

type Spread = Result<Vec<Facts>, TooMany>;

impl<'l> Schemas<'l> {
    /// The alternatives of a schema; none when nothing is allowed.
    pub(super) fn alternatives(&mut self, id: NodeId) -> Rc<Vec<Facts>> {
        if let Some(known) = self.alternatives.get(&id) {
            return Rc::clone(known);
        }
        if self.lowering_depth >= MAX_NESTING || !self.lowering.insert(id) {
            let reason =
                if self.lowering_depth >= MAX_NESTING { "nested too deeply" } else { "refers to itself" };
            self.holds_only_here = true;
            return Rc::new(vec![Facts::opaque(reason, id)]);
        }
        self.lowering_depth += 1;
        let spread = self
            .lower(id)
            .unwrap_or_else(|TooMany| Rc::new(vec![Facts::opaque("too many alternatives", id)]));
        self.lowering_depth -= 1;
        self.lowering.remove(&id);
        self.alternatives.insert(id, Rc::clone(&spread));
        spread
    }

    fn lower(&mut self, id: NodeId) -> Result<Rc<Vec<Facts>>, TooMany> {
        let spread = match self.nodes[id.0 as usize].clone() {
            Node::Any => vec![Facts::any()],
            Node::Never => Vec::new(),
            Node::Facts(facts) => vec![(*facts).clone()],
            Node::All(parts) => {
                let mut spread = vec![Facts::any()];
                for part in parts.iter() {
                    spread = self.both(&spread, *part)?;
                }
                spread
            }
            Node::Raw(raw) => match raw.value {
                Value::Object(map) => return self.lower_map(id, &raw, map),
                _ => vec![Facts::opaque("not a schema", id)],
            },
        };
        Ok(Rc::new(spread))
    }

    fn lower_map(
        &mut self,
        id: NodeId,
        raw: &Raw<'l>,
        map: &'l Map<String, Value>,
    ) -> Result<Rc<Vec<Facts>>, TooMany> {
        if let Some(reference) = member(map, "$ref").and_then(Value::as_str) {
            let target = self.follow(raw, reference);
            let referred = target
                .map_or_else(|| Rc::new(vec![unresolved(reference, id)]), |node| self.alternatives(node));
            if map.len() == 1 || self.dialect(raw.side).reference_stands_alone() {
                return Ok(referred);
            }
            let rest = self.lower_keywords(id, raw, map)?;
            let spread = self.product(&referred, &rest)?;
            return Ok(Rc::new(self.close_unevaluated(id, raw, map, spread)));
        }
        let spread = self.lower_keywords(id, raw, map)?;
        Ok(Rc::new(self.close_unevaluated(id, raw, map, spread)))
    }

    fn lower_keywords(&mut self, id: NodeId, raw: &Raw<'l>, map: &'l Map<String, Value>) -> Spread {
        let mut own = self.own_facts(id, raw, map);
        if self.medium == Medium::Text {
            own.widen_text();
        }
        let mut spread = if own.settle() { vec![own] } else { Vec::new() };
        let dialect = self.dialect(raw.side);
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            let value = member(map, keyword).filter(|_| dialect.has(keyword));
            if let Some(reference) = value.and_then(Value::as_str) {
                spread = self.dynamic(&spread, id, raw, reference)?;
            }
        }
        for (index, part) in list(map, "allOf").iter().enumerate() {
            let part = self.child(raw, part, &["allOf", &index.to_string()]);
            spread = self.both(&spread, part)?;
        }
        spread = self.any_of(spread, raw, map)?;
        spread = self.one_of(spread, raw, map)?;
        if let Some(value) = member(map, "not") {
            spread = match value.get("not").filter(|_| value.as_object().is_some_and(|map| map.len() == 1)) {
                Some(twice) => {
                    let node = self.child(raw, twice, &["not", "not"]);
                    self.both(&spread, node)?
                }
                None => {
                    let node = self.child(raw, value, &["not"]);
                    self.without(&spread, node)
                }
            };
        }
        spread = self.condition(spread, raw, map)?;
        for keyword in ["dependentSchemas", "dependencies"] {
            spread = self.dependent_schemas(spread, raw, map, keyword)?;
        }
        Ok(spread)
    }

    fn dynamic(&mut self, spread: &[Facts], id: NodeId, raw: &Raw<'l>, reference: &str) -> Spread {
        let name = reference.rsplit('#').next().unwrap_or_default();
        let fixed = name.is_empty() || name.starts_with('/') || self.library(raw.side).is_only_anchor(name);
        match self.follow(raw, reference).filter(|_| fixed) {
            Some(target) => self.both(spread, target),
            None => {
                self.product(spread, &[Facts::opaque("`$dynamicRef` whose target depends on the caller", id)])
            }
        }
    }

    fn condition(&mut self, spread: Vec<Facts>, raw: &Raw<'l>, map: &'l Map<String, Value>) -> Spread {
        let dialect = self.dialect(raw.side);
        let Some(condition) = member(map, "if").filter(|_| dialect.has("if")) else { return Ok(spread) };
        if !map.contains_key("then") && !map.contains_key("else") {
            return Ok(spread);
        }
        let condition = self.child(raw, condition, &["if"]);
        let branch = |schemas: &mut Self, keyword: &'static str| {
            map.get(keyword).map_or(NodeId::ANY, |value| schemas.child(raw, value, &[keyword]))
        };
        let (then, otherwise) = (branch(self, "then"), branch(self, "else"));
        let met = self.both(&spread, condition)?;
        let mut all = self.both_conditionally(&met, then)?;
        let unmet = self.without(&spread, condition);
        all.extend(self.both_conditionally(&unmet, otherwise)?);
        within_limit(all)
    }

    fn dependent_schemas(
        &mut self,
        mut spread: Vec<Facts>,
        raw: &Raw<'l>,
        map: &'l Map<String, Value>,
        keyword: &'static str,
    ) -> Spread {
        let dependents = member(map, keyword).filter(|_| self.dialect(raw.side).has(keyword));
        for (name, value) in dependents.and_then(Value::as_object).into_iter().flatten() {
            if !matches!(value, Value::Object(_) | Value::Bool(_)) {
                continue;
            }
            let node = self.child(raw, value, &[keyword, name]);
            let mut with = Facts { types: Types::only(Type::Object), ..Facts::any() };
            with.object_mut().required.insert(name.as_str().into());
            let mut without = Facts::any();
            without.object_mut().properties.insert(name.as_str().into(), NodeId::NEVER);
            let present = self.product(&spread, &[with])?;
            let mut all = self.both_conditionally(&present, node)?;
            all.extend(self.product(&spread, &[without])?);
            spread = within_limit(all)?;
        }
        Ok(spread)
    }

    /// The alternatives that do not meet `node`, with what can be said positively said so.
    fn without(&mut self, spread: &[Facts], node: NodeId) -> Vec<Facts> {
        let negated = self.negated(node);
        let mut left = Vec::new();
        for facts in spread {
            match &negated {
                Some(negated) => left.extend(self.meet(facts, negated)),
                None => {
                    let mut facts = facts.clone();
                    facts.excluded.push(node);
                    facts.excluded.sort_unstable();
                    facts.excluded.dedup();
                    left.extend(facts.settle().then_some(facts));
                }
            }
        }
        left
    }

    /// The opposite of very simple schemas: a set of types, or one required property.
    fn negated(&mut self, node: NodeId) -> Option<Facts> {
        let map = self.raw(node)?.value.as_object()?;
        let (key, value) = map.iter().next().filter(|_| map.len() == 1)?;
        match (key.as_str(), value) {
            ("type", _) => {
                let types = super::keywords::read_types(value)?.types_if_not_whole()?;
                Some(Facts {
                    types: Type::ALL.into_iter().fold(Types::ANY, |left, kind| {
                        if types.has(kind) { left.without(kind) } else { left }
                    }),
                    ..Facts::any()
                })
            }
            ("required", Value::Array(names)) => {
                let [Value::String(name)] = names.as_slice() else { return None };
                let mut facts = Facts { types: Types::only(Type::Object), ..Facts::any() };
                facts.object_mut().properties.insert(name.as_str().into(), NodeId::NEVER);
                Some(facts)
            }
            _ => None,
        }
    }

    /// Turns `unevaluatedProperties` and `unevaluatedItems` into the rest of each alternative, which by now knows all that is evaluated.
    fn close_unevaluated(
        &mut self,
        id: NodeId,
        raw: &Raw<'l>,
        map: &'l Map<String, Value>,
        mut spread: Vec<Facts>,
    ) -> Vec<Facts> {
        if !self.dialect(raw.side).has("unevaluatedProperties") {
            return spread;
        }
        if let Some(value) = member(map, "unevaluatedProperties") {
            let node = self.child(raw, value, &["unevaluatedProperties"]);
            for facts in &mut spread {
                if facts.loose {
                    let reason = "`unevaluatedProperties` over many `anyOf` schemas";
                    facts.demand_unknown(reason, id, Types::only(Type::Object));
                } else if facts.object.rest.is_none() {
                    facts.object_mut().rest = Some(node);
                }
            }
        }
        if let Some(value) = member(map, "unevaluatedItems") {
            let node = self.child(raw, value, &["unevaluatedItems"]);
            for facts in &mut spread {
                if facts.loose || !facts.array.contains.is_empty() {
                    let reason = "`unevaluatedItems` over `anyOf` or `contains`";
                    facts.demand_unknown(reason, id, Types::only(Type::Array));
                } else if facts.array.rest.is_none() {
                    facts.array.rest = Some(node);
                }
            }
        }
        spread.retain_mut(Facts::settle);
        spread
    }

    fn both(&mut self, spread: &[Facts], node: NodeId) -> Spread {
        let other = self.alternatives(node);
        self.product(spread, &other)
    }

    /// The same for a schema that a condition adds.
    fn both_conditionally(&mut self, spread: &[Facts], node: NodeId) -> Spread {
        let mut other = (*self.alternatives(node)).clone();
        for facts in other.iter_mut().filter(|facts| !facts.object.properties.is_empty()) {
            let object = facts.object_mut();
            object.conditional.extend(object.properties.keys().cloned());
        }
        self.product(spread, &other)
    }

    fn product(&mut self, one: &[Facts], other: &[Facts]) -> Spread {
        let mut met = Vec::new();
        for first in one {
            for second in other {
                let properties = first.object.properties.len() + second.object.properties.len();
                if !self.work.merge(properties) {
                    return Err(TooMany);
                }
                met.extend(self.meet(first, second));
                if met.len() > MAX_ALTERNATIVES {
                    return Err(TooMany);
                }
            }
        }
        Ok(met)
    }
}

fn within_limit(spread: Vec<Facts>) -> Spread {
    if spread.len() > MAX_ALTERNATIVES { Err(TooMany) } else { Ok(spread) }
}

fn unresolved(reference: &str, id: NodeId) -> Facts {
    Facts::opaque(&format!("the reference `{reference}` leads to nothing that was given"), id)
}

fn list<'l>(map: &'l Map<String, Value>, keyword: &str) -> &'l [Value] {
    member(map, keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
