//! Proofs: that one schema holds another, and that two have nothing in common. Without a proof the answer is "no".
//!
//! Recursion is by assumption: while a pair is being proved it may be used. Only proofs that need no open assumption are kept.

use rustc_hash::FxHashMap;
use std::rc::Rc;

use super::evaluate::Truth;
use super::facts::{Facts, NodeId, Type};
use super::number;
use super::relate::Relation;
use super::{MAX_NESTING, Schemas, Side};
use crate::UnknownFields;

/// How deep schemas are looked into to find that they have nothing in common.
const MAX_APART_DEPTH: usize = 4;

/// What has been proved so far.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    known: FxHashMap<(NodeId, NodeId), bool>,
    open: FxHashMap<(NodeId, NodeId), usize>,
    /// The outermost open pair that the current proof leans on.
    leans_on: usize,
    /// Pairs that are known to share no document, and those known not to be shown so.
    apart: FxHashMap<(NodeId, NodeId), bool>,
}

impl Schemas<'_> {
    /// True when it is proved that `holding` allows all that `held` does.
    pub(crate) fn prove(&mut self, held: NodeId, holding: NodeId) -> bool {
        if held == holding || holding == NodeId::ANY || held == NodeId::NEVER {
            return true;
        }
        self.questions += 1;
        let pair = (held, holding);
        if let Some(known) = self.proofs.known.get(&pair) {
            return *known;
        }
        if let Some(depth) = self.proofs.open.get(&pair) {
            self.proofs.leans_on = self.proofs.leans_on.min(*depth);
            return true;
        }
        if self.are_identical(held, holding) {
            return self.conclude(pair, true);
        }
        let depth = self.proofs.open.len();
        if depth >= MAX_NESTING || self.is_exhausted() {
            return false;
        }
        let outer = std::mem::replace(&mut self.proofs.leans_on, usize::MAX);
        self.proofs.open.insert(pair, depth);
        let holds = self.prove_alternatives(held, holding);
        self.proofs.open.remove(&pair);
        let leans_on = self.proofs.leans_on;
        self.proofs.leans_on = outer;
        if !holds || leans_on >= depth {
            return self.conclude(pair, holds);
        }
        self.proofs.leans_on = outer.min(leans_on);
        true
    }

    /// The same for every document, also those that writers are taken not to write.
    pub(super) fn prove_strictly(&mut self, held: NodeId, holding: NodeId) -> bool {
        self.strictly(|schemas| schemas.prove(held, holding))
    }

    /// Runs a proof in which writers may send all that their schema does not forbid.
    pub(super) fn strictly(&mut self, proof: impl FnOnce(&mut Self) -> bool) -> bool {
        if self.strict {
            return proof(self);
        }
        self.strict = true;
        std::mem::swap(&mut self.proofs, &mut self.strict_proofs);
        let holds = proof(self);
        std::mem::swap(&mut self.proofs, &mut self.strict_proofs);
        self.strict = false;
        holds
    }

    /// True when writers send only what their schema names.
    pub(super) fn ignores_unknown_fields(&self) -> bool {
        self.unknown_fields == UnknownFields::Ignored && !self.strict
    }

    fn conclude(&mut self, pair: (NodeId, NodeId), holds: bool) -> bool {
        self.proofs.known.insert(pair, holds);
        holds
    }

    fn prove_alternatives(&mut self, held: NodeId, holding: NodeId) -> bool {
        let (narrow, wide) = (self.alternatives(held), self.alternatives(holding));
        for kind in Type::ALL {
            for facts in narrow.iter().filter(|facts| facts.types.has(kind)) {
                if !self.prove_alternative(facts, &wide, kind, holding) {
                    return false;
                }
            }
        }
        true
    }

    fn prove_alternative(
        &mut self,
        held: &Facts,
        wide: &Rc<Vec<Facts>>,
        kind: Type,
        holding: NodeId,
    ) -> bool {
        if let Some(values) = self.listed(held, kind) {
            let all_allowed = values.iter().all(|value| {
                self.meets(held, value) == Truth::No || self.allows(holding, value) == Truth::Yes
            });
            if all_allowed {
                return true;
            }
        }
        let of_kind: Vec<&Facts> = wide.iter().filter(|facts| facts.reads(kind)).collect();
        self.prove_split(held, &of_kind, kind, 0)
    }

    /// True when one alternative allows all of another, or several each allow a part of it.
    fn prove_split(&mut self, held: &Facts, wide: &[&Facts], kind: Type, splits: usize) -> bool {
        if wide.iter().any(|facts| self.prove_facts(held, facts, kind)) {
            return true;
        }
        let parts = self.split(held, wide, kind, splits);
        parts.is_some_and(|parts| parts.iter().all(|part| self.prove_split(part, wide, kind, splits + 1)))
    }

    /// True when it is proved that one alternative allows all documents of a type that another does.
    pub(super) fn prove_facts(&mut self, held: &Facts, holding: &Facts, kind: Type) -> bool {
        let mut relation = Relation::default();
        let outer = std::mem::replace(&mut self.work.without_samples, true);
        self.relate_facts(held, holding, kind, &mut relation);
        self.work.without_samples = outer;
        relation.violations.is_empty()
            && relation.undecided.is_empty()
            && relation.children.iter().all(|child| self.prove(child.held, child.holding))
            && holding.excluded.iter().all(|excluded| self.is_excluded(held, holding, *excluded, kind))
    }

    /// True when what a holding alternative excludes is no new demand on a held one: no document is of both, or the held
    /// side, or the old contract, is a `oneOf` whose variants are not told apart, so that "exactly one" was never meant.
    pub(super) fn is_excluded(
        &mut self,
        held: &Facts,
        holding: &Facts,
        excluded: NodeId,
        kind: Type,
    ) -> bool {
        if self.is_apart(held, excluded, kind) {
            return true;
        }
        if kind != Type::Object || !self.ignores_unknown_fields() {
            return false;
        }
        let is_old = self.raw(excluded).is_some_and(|raw| raw.side == Side::Old);
        let own: Vec<NodeId> = held.excluded.iter().chain(&held.told_apart).copied().collect();
        self.is_overlapped(held, &own) || (is_old && self.is_overlapped(holding, &[excluded]))
    }

    /// True when all objects of a variant that writers may send are also of another one.
    fn is_overlapped(&mut self, variant: &Facts, others: &[NodeId]) -> bool {
        // A proof of this asks what is excluded again; schemas that exclude themselves would ask for ever.
        if std::mem::replace(&mut self.is_asking_overlap, true) {
            return false;
        }
        let bare = Facts { excluded: Vec::new(), ..variant.clone() };
        let found = others.iter().any(|other| {
            let alternatives = self.alternatives(*other);
            alternatives
                .iter()
                .any(|facts| facts.types.has(Type::Object) && self.prove_facts(&bare, facts, Type::Object))
        });
        self.is_asking_overlap = false;
        found
    }

    /// True when it is proved that no document of the alternative, of this type, is allowed by the schema.
    pub(super) fn is_apart(&mut self, held: &Facts, excluded: NodeId, kind: Type) -> bool {
        if held.excluded.contains(&excluded) || held.told_apart.contains(&excluded) {
            return true;
        }
        let alternatives = self.alternatives(excluded);
        let requires_unwritten = |schemas: &Self, facts: &Facts| {
            facts.object.required.iter().any(|name| schemas.is_unwritten(&held.object, name))
        };
        let is_apart = alternatives.iter().all(|facts| {
            self.facts_apart(held, facts, kind, 0)
                || (kind == Type::Object && requires_unwritten(self, facts))
        });
        let own = || held.excluded.iter().chain(&held.told_apart);
        is_apart
            || own().any(|own| self.are_identical(*own, excluded))
            || own().any(|own| self.prove_strictly(excluded, *own))
    }

    /// True when it is proved that two alternatives share no document of this type.
    pub(super) fn are_disjoint(&mut self, one: &Facts, other: &Facts, kind: Type) -> bool {
        self.facts_apart(one, other, kind, 0)
    }

    /// True when it is proved that two schemas share no document.
    pub(super) fn nodes_apart(&mut self, one: NodeId, other: NodeId, depth: usize) -> bool {
        if one == NodeId::NEVER || other == NodeId::NEVER {
            return true;
        }
        if depth > MAX_APART_DEPTH || one == other || one == NodeId::ANY || other == NodeId::ANY {
            return false;
        }
        self.questions += 1;
        if let Some(known) = self.proofs.apart.get(&(one, other)) {
            return *known;
        }
        let (first, second) = (self.alternatives(one), self.alternatives(other));
        let apart = first.iter().all(|one| {
            second
                .iter()
                .all(|other| Type::ALL.into_iter().all(|kind| self.facts_apart(one, other, kind, depth + 1)))
        });
        // A "no" from deep inside may only be for lack of depth.
        if apart || depth <= 1 {
            self.proofs.apart.insert((one, other), apart);
        }
        apart
    }

    fn facts_apart(&mut self, one: &Facts, other: &Facts, kind: Type, depth: usize) -> bool {
        if !one.reads(kind) || !other.reads(kind) {
            return true;
        }
        if !self.work.prove() {
            return false;
        }
        for (listed, free) in [(one, other), (other, one)] {
            let Some(values) = self.listed(listed, kind) else { continue };
            return values
                .iter()
                .all(|value| self.meets(free, value) == Truth::No || self.meets(listed, value) == Truth::No);
        }
        match kind {
            Type::Null | Type::Boolean => false,
            Type::Number => numbers_apart(one, other),
            Type::String => self.strings_apart(one, other),
            Type::Array => self.arrays_apart(one, other, depth),
            Type::Object => Self::sizes_apart(one, other) || self.properties_apart(one, other, depth),
        }
    }

    fn strings_apart(&mut self, one: &Facts, other: &Facts) -> bool {
        let (first, second) = (&one.string, &other.string);
        let too_long = |short: Option<u64>, long: u64| short.is_some_and(|short| short < long);
        too_long(first.max_length, second.min_length)
            || too_long(second.max_length, first.min_length)
            || first
                .patterns
                .iter()
                .any(|one| second.patterns.iter().any(|other| self.patterns.disjoint(one, other)))
    }

    fn arrays_apart(&mut self, one: &Facts, other: &Facts, depth: usize) -> bool {
        let (first, second) = (&one.array, &other.array);
        let most =
            |array: &super::facts::ArrayFacts, least: u64| array.most().is_some_and(|most| most < least);
        if most(first, second.min_items) || most(second, first.min_items) {
            return true;
        }
        let certain = first.min_items.max(second.min_items).min(8);
        (0..certain).any(|index| {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            self.nodes_apart(first.item(index), second.item(index), depth)
        })
    }
}

fn numbers_apart(one: &Facts, other: &Facts) -> bool {
    let below = |low: &Facts, high: &Facts| match (&low.number.upper, &high.number.lower) {
        (Some(upper), Some(lower)) => {
            let order = number::compare(&upper.value, &lower.value);
            order.is_lt() || (order.is_eq() && (upper.exclusive || lower.exclusive))
        }
        _ => false,
    };
    below(one, other) || below(other, one)
}
