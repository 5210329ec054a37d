//! `anyOf` and `oneOf` as alternatives, with what a discriminator demands of each.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::super::facts::{Facts, NodeId, Type, Types};
use super::super::{Raw, Schemas};
use super::{MAX_ALTERNATIVES, Spread, TooMany, list, within_limit};

/// How many alternatives of `anyOf` are spread into all their combinations, where what they evaluate matters.
const MAX_COMBINED: usize = 4;

impl<'l> Schemas<'l> {
    pub(super) fn any_of(
        &mut self,
        spread: Vec<Facts>,
        raw: &Raw<'l>,
        map: &'l Map<String, Value>,
    ) -> Spread {
        let variants = self.variants(raw, map, "anyOf");
        if variants.is_empty() {
            return Ok(spread);
        }
        let evaluates = map.contains_key("unevaluatedProperties") || map.contains_key("unevaluatedItems");
        if evaluates && variants.len() <= MAX_COMBINED {
            return self.combinations(&spread, &variants);
        }
        let mut union = Vec::new();
        for variant in &variants {
            for facts in self.alternatives(*variant).iter() {
                let mut facts = facts.clone();
                facts.loose |= variants.len() > 1;
                facts.chosen.insert(0, *variant);
                union.push(facts);
            }
        }
        self.product(&spread, &union)
    }

    /// Every way in which at least one variant holds and the others are known to hold or not.
    fn combinations(&mut self, spread: &[Facts], variants: &[NodeId]) -> Spread {
        let mut all = Vec::new();
        for chosen in 1_u32..1 << variants.len() {
            let mut facts = spread.to_vec();
            for (index, variant) in variants.iter().enumerate() {
                if chosen & (1 << index) == 0 {
                    facts = self.without(&facts, *variant);
                } else {
                    facts = self.both(&facts, *variant)?;
                }
            }
            all.extend(facts);
        }
        within_limit(all)
    }

    pub(super) fn one_of(
        &mut self,
        spread: Vec<Facts>,
        raw: &Raw<'l>,
        map: &'l Map<String, Value>,
    ) -> Spread {
        let variants = self.variants(raw, map, "oneOf");
        if variants.is_empty() {
            return Ok(spread);
        }
        let has_tags = self.dialect(raw.side).is_openapi() && map.contains_key("discriminator");
        let tagged = if has_tags { self.tagged(raw, map, &variants) } else { Vec::new() };
        let mut union = Vec::new();
        for variant in &variants {
            let others: Vec<NodeId> =
                variants.iter().copied().filter(|other| !has_tags && other != variant).collect();
            let twice = variants.iter().filter(|other| *other == variant).count() > 1;
            if twice {
                continue;
            }
            for facts in self.alternatives(*variant).iter() {
                let mut facts = facts.clone();
                facts.chosen.insert(0, *variant);
                facts.excluded.extend_from_slice(&others);
                facts.excluded.sort_unstable();
                facts.excluded.dedup();
                facts
                    .told_apart
                    .extend(tagged.iter().filter(|other| other.0 != *variant).map(|other| other.1));
                union.push(facts);
            }
            if union.len() > MAX_ALTERNATIVES {
                return Err(TooMany);
            }
        }
        self.product(&spread, &union)
    }

    /// Variants that a discriminator tells apart, each with the schema it has without that.
    fn tagged(
        &mut self,
        raw: &Raw<'l>,
        map: &'l Map<String, Value>,
        variants: &[NodeId],
    ) -> Vec<(NodeId, NodeId)> {
        let bare = list(map, "oneOf").iter().enumerate();
        let bare = bare.map(|(index, value)| self.child(raw, value, &["oneOf", &index.to_string()]));
        variants.iter().copied().zip(bare).collect()
    }

    /// The alternatives under `anyOf` or `oneOf`; with a discriminator each also demands its names of it.
    fn variants(&mut self, raw: &Raw<'l>, map: &'l Map<String, Value>, keyword: &str) -> Vec<NodeId> {
        let values = list(map, keyword);
        if values.is_empty() {
            return Vec::new();
        }
        let tags = if self.dialect(raw.side).is_openapi() { map.get("discriminator") } else { None };
        let mut variants = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let variant = self.child(raw, value, &[keyword, &index.to_string()]);
            let tag = tags.and_then(|tags| self.tag(raw, tags, value, index));
            variants.push(tag.map_or(variant, |tag| self.all([variant, tag])));
        }
        variants
    }

    /// What a discriminator demands of the variant `value`: to be an object that names it.
    fn tag(
        &mut self,
        raw: &Raw<'l>,
        discriminator: &'l Value,
        value: &'l Value,
        index: usize,
    ) -> Option<NodeId> {
        let property = discriminator.get("propertyName")?.as_str()?;
        let reference = value.get("$ref")?.as_str()?;
        let key = (std::ptr::from_ref(discriminator) as usize, index);
        if let Some(known) = self.tags.get(&key) {
            return Some(*known);
        }
        let target = self.follow(raw, reference);
        let mut names: Vec<Value> = Vec::new();
        for (name, to) in discriminator.get("mapping").and_then(Value::as_object).into_iter().flatten() {
            let to = to.as_str()?;
            let by_name = reference.rsplit('/').next() == Some(to);
            if by_name || to == reference || (target.is_some() && self.follow(raw, to) == target) {
                names.push(name.clone().into());
            }
        }
        if names.is_empty() {
            names.push(
                reference.rsplit('/').next()?.trim_end_matches(".yaml").trim_end_matches(".json").into(),
            );
        }
        let named = Facts { types: Types::only(Type::String), values: Some(Rc::new(names)), ..Facts::any() };
        let named = self.of_facts(named);
        let mut facts = Facts { types: Types::only(Type::Object), ..Facts::any() };
        let object = facts.object_mut();
        object.required.insert(property.into());
        object.properties.insert(property.into(), named);
        let tag = self.of_facts(facts);
        self.tags.insert(key, tag);
        Some(tag)
    }
}
