//! Bindings: what a protocol adds to messages and channels. Those of Kafka are compared, others must be the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Comparer, Pair};
use crate::Rule;
use crate::asyncapi::format::Format;
use crate::asyncapi::model::{Action, Message, is_same};
use crate::asyncapi::rules;
use crate::asyncapi::specification::Object;
use crate::openapi::cursor::Cursor;

impl<'l> Comparer<'_, 'l> {
    /// The bindings of a message: of Kafka the key and where the schema's id stands; of others nothing is read.
    pub(super) fn message_bindings(
        &mut self,
        (old, new): (&Message<'l>, &Message<'l>),
        pair: Pair<'_, 'l>,
        label: &str,
        action: Action,
    ) {
        let (before, after) = (old.get("bindings"), new.get("bindings"));
        let (one, other) = self.bindings(pair, before.map(Cursor::followed), after.map(Cursor::followed));
        for field in ["schemaIdLocation", "schemaIdPayloadEncoding", "schemaLookupStrategy"] {
            let value = |cursor: &Option<Cursor<'l>>| {
                cursor.as_ref().and_then(|cursor| cursor.value().get(field)).cloned()
            };
            self.binding(pair, field, (value(&one), value(&other)), label, &rules::BINDING_CHANGED);
        }
        self.meet_maybe(Object::KafkaMessage, (one.clone(), other.clone()), pair);
        let key = |cursor: &Option<Cursor<'l>>| cursor.as_ref().and_then(|cursor| cursor.direct("key"));
        let (from, to) = (key(&one), key(&other));
        if from.is_some() || to.is_some() {
            let avro = |cursor: &Option<Cursor<'l>>| {
                cursor.as_ref().is_some_and(|cursor| Format::looks_like_avro(cursor.value()))
            };
            if avro(&from) || avro(&to) {
                let same = from.as_ref().map(Cursor::value) == to.as_ref().map(Cursor::value);
                if !same {
                    self.open(
                        pair,
                        format!("`key`: the Kafka key of {label} is no JSON Schema, and differs"),
                    );
                }
            } else {
                self.schemas((from, to), pair, &format!("the Kafka key of {label}"), action, "key");
            }
        }
    }

    pub(super) fn channel_bindings(&mut self, pair: Pair<'_, 'l>) {
        let (one, other) = self.bindings(pair, pair.old.get("bindings"), pair.new.get("bindings"));
        self.meet_maybe(Object::KafkaChannel, (one.clone(), other.clone()), pair);
        let told = [
            ("topic", &rules::BINDING_CHANGED),
            ("partitions", &rules::PARTITIONS_CHANGED),
            ("replicas", &rules::PARTITIONS_CHANGED),
            ("topicConfiguration", &rules::PARTITIONS_CHANGED),
        ];
        for (field, rule) in told {
            let value = |cursor: &Option<Cursor<'l>>| {
                cursor.as_ref().and_then(|cursor| cursor.value().get(field)).cloned()
            };
            self.binding(pair, field, (value(&one), value(&other)), "the topic", rule);
        }
    }

    /// The Kafka bindings of both sides; those of other protocols must be the same.
    fn bindings(
        &mut self,
        pair: Pair<'_, 'l>,
        old: Option<Cursor<'l>>,
        new: Option<Cursor<'l>>,
    ) -> (Option<Cursor<'l>>, Option<Cursor<'l>>) {
        let of = |cursor: &Option<Cursor<'l>>| -> BTreeSet<String> {
            let all = cursor.as_ref().and_then(|cursor| cursor.value().as_object()).into_iter().flatten();
            all.map(|(name, _)| name.clone()).collect()
        };
        for name in of(&old).union(&of(&new)).filter(|name| *name != "kafka" && !name.starts_with("x-")) {
            let value = |cursor: &Option<Cursor<'l>>| cursor.as_ref().and_then(|cursor| cursor.direct(name));
            if name == "$ref" || !is_same(value(&old).as_ref(), value(&new).as_ref()) {
                self.open(pair, format!("`bindings`: those of {name} are not compared, and differ"));
            }
        }
        let kafka = |cursor: Option<Cursor<'l>>| cursor.and_then(|cursor| cursor.get("kafka"));
        (kafka(old), kafka(new))
    }

    fn binding(
        &mut self,
        pair: Pair<'_, 'l>,
        field: &str,
        (old, new): (Option<Value>, Option<Value>),
        label: &str,
        rule: &'static Rule,
    ) {
        if old != new {
            let told = |value: Option<Value>| value.map_or("not said".to_owned(), |value| value.to_string());
            let message = format!("`{field}` of {label} is {}, and was {}", told(new), told(old));
            self.file(rule, pair, message);
        }
    }
}
