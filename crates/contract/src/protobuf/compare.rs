//! The driver of a protobuf comparison: which messages meet which, in which flow.
//!
//! RPCs pair their request and response types, and from there fields pair message types by number, whatever the types
//! are called. Types that no RPC reaches are paired by name, in the `message` flow: nobody knows who writes them, so
//! both directions count. Invariant: each pair of types is visited once per stream, so recursion ends.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::{
    enums, messages, names,
    rules::PolicyRule,
    schema::{Position, Schema, Service},
    services,
    witness::Side,
};
use crate::{Bump, Change, Findings, Flow, Level, Location, NotChecked, ProtobufPolicy, UnknownFields};

/// Whether the promise about the future counts too, or only what breaks at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Old to new: numbers and names that become free endanger later versions.
    Deploy,
    /// New to old: the old version is known, so nothing is promised.
    RollBack,
}

/// Which way messages of a pair of types travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stream {
    Request,
    Response,
    Both,
}

impl Stream {
    /// The consumer, built against the old contract, writes what the new provider reads.
    pub(super) fn old_writes(self) -> bool {
        matches!(self, Self::Request | Self::Both)
    }

    /// The new provider writes what the consumer, built against the old contract, reads.
    pub(super) fn new_writes(self) -> bool {
        matches!(self, Self::Response | Self::Both)
    }

    fn flow(self) -> Flow {
        match self {
            Self::Request => Flow::Request,
            Self::Response => Flow::Response,
            Self::Both => Flow::Message,
        }
    }
}

/// What the settings say about readers and promises.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) policy: ProtobufPolicy,
    pub(super) unknown_fields: UnknownFields,
    pub(super) purpose: Purpose,
}

/// One difference on its way into the findings.
#[derive(Debug)]
pub(super) struct Difference<'a> {
    pub(super) rule: &'static PolicyRule,
    pub(super) place: String,
    pub(super) message: String,
    pub(super) old: Option<&'a Position>,
    pub(super) new: Option<&'a Position>,
    pub(super) stream: Option<Stream>,
    pub(super) witness: Option<Value>,
}

impl<'a> Difference<'a> {
    /// A difference of one rule at one place.
    pub(super) fn new(
        rule: &'static PolicyRule,
        place: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let (place, message) = (place.into(), message.into());
        Self { rule, place, message, old: None, new: None, stream: None, witness: None }
    }

    /// Sets where it stands on both sides.
    pub(super) fn at(mut self, old: Option<&'a Position>, new: Option<&'a Position>) -> Self {
        (self.old, self.new) = (old, new);
        self
    }

    /// Sets the stream that it hurts.
    pub(super) fn on(mut self, stream: Stream) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Adds a message that was fine and now is not.
    pub(super) fn shown(mut self, witness: Option<Value>) -> Self {
        self.witness = witness;
        self
    }
}

/// A pair of types waiting for its visit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Pair {
    Messages(String, String, Stream),
    Enums(String, String, Stream),
}

/// The state of one comparison in one direction.
#[derive(Debug)]
pub(super) struct Comparer<'a> {
    pub(super) old: &'a Schema,
    pub(super) new: &'a Schema,
    pub(super) settings: Settings,
    /// The RPCs of the old side that count; all when there is none.
    pub(super) selection: Option<&'a BTreeSet<String>>,
    visited: HashSet<Pair>,
    waiting: Vec<Pair>,
    reported: HashSet<(&'static str, String)>,
    /// The messages that are compared now, by their old and new name.
    meeting: Option<(String, String)>,
    findings: Findings,
}

/// Compares two schemas in one direction.
pub(super) fn compare(
    old: &Schema,
    new: &Schema,
    settings: Settings,
    selection: Option<&BTreeSet<String>>,
) -> Findings {
    let mut comparer = Comparer {
        old,
        new,
        settings,
        selection,
        visited: HashSet::new(),
        waiting: Vec::new(),
        reported: HashSet::new(),
        meeting: None,
        findings: Findings::default(),
    };
    services::compare(&mut comparer);
    comparer.visit_waiting();
    if selection.is_none() {
        comparer.pair_what_no_rpc_reaches();
        comparer.visit_waiting();
    }
    messages::compare_extensions(&mut comparer);
    comparer.visit_waiting();
    names::compare(&mut comparer);
    comparer.note_what_was_not_checked();
    comparer.note_what_was_not_read();
    comparer.findings
}

impl Comparer<'_> {
    /// Asks for a visit to a pair of messages.
    pub(super) fn pair_messages(&mut self, old: &str, new: &str, stream: Stream) {
        self.pair(Pair::Messages(old.to_owned(), new.to_owned(), stream));
    }

    /// Asks for a visit to a pair of enums.
    pub(super) fn pair_enums(&mut self, old: &str, new: &str, stream: Stream) {
        self.pair(Pair::Enums(old.to_owned(), new.to_owned(), stream));
    }

    fn pair(&mut self, pair: Pair) {
        if self.visited.insert(pair.clone()) {
            self.waiting.push(pair);
        }
    }

    fn visit_waiting(&mut self) {
        while let Some(pair) = self.waiting.pop() {
            match pair {
                Pair::Messages(old, new, stream) => {
                    if let (Some(before), Some(after)) =
                        (self.old.messages.get(&old), self.new.messages.get(&new))
                    {
                        self.meeting = Some((old.clone(), new.clone()));
                        messages::compare(self, &old, (before, after), &new, stream);
                        self.meeting = None;
                    }
                }
                Pair::Enums(old, new, stream) => {
                    if let (Some(before), Some(after)) = (self.old.enums.get(&old), self.new.enums.get(&new))
                    {
                        enums::compare(self, &old, (before, after), stream);
                    }
                }
            }
        }
    }

    fn pair_what_no_rpc_reaches(&mut self) {
        let reached = self.reached();
        for name in self.old.messages.keys().filter(|name| !reached.contains(*name)) {
            self.pair_messages(name, name, Stream::Both);
        }
        for name in self.old.enums.keys().filter(|name| !reached.contains(*name)) {
            self.pair_enums(name, name, Stream::Both);
        }
    }

    /// The old types of all pairs so far.
    fn reached(&self) -> HashSet<String> {
        let names = self.visited.iter().map(|pair| match pair {
            Pair::Messages(old, ..) | Pair::Enums(old, ..) => old.clone(),
        });
        names.collect()
    }

    /// The old types and services that count, when not all do.
    pub(super) fn used_names(&self) -> Option<HashSet<String>> {
        self.selection?;
        let used = |(name, service): &(&String, &Service)| self.uses_any_of(name, service);
        let services = self.old.services.iter().filter(used).map(|(name, _)| name.clone());
        Some(self.reached().into_iter().chain(services).collect())
    }

    /// True when the RPC counts.
    pub(super) fn uses_method(&self, service: &str, method: &str) -> bool {
        self.selection.is_none_or(|selection| selection.contains(&services::operation(service, method)))
    }

    /// True when the service, or any of its RPCs, counts.
    pub(super) fn uses_any_of(&self, name: &str, service: &Service) -> bool {
        self.selection.is_none() || service.methods.keys().any(|method| self.uses_method(name, method))
    }

    /// True when what the new side lacks may stand in a file that could not be checked.
    pub(super) fn absence_proves_nothing(&self) -> bool {
        !self.new.not_checked.is_empty()
    }

    /// True when readers of JSON refuse what they do not know.
    pub(super) fn readers_are_strict(&self) -> bool {
        self.settings.unknown_fields == UnknownFields::Forbidden
    }

    /// Reports a difference, once for a rule and a place.
    pub(super) fn report(&mut self, difference: Difference<'_>) {
        let Difference { rule, place, message, old, new, stream, witness } = difference;
        if !self.reported.insert((rule.rule.id, place.clone())) {
            return;
        }
        let level = rule.level(self.settings.policy);
        let bump = match level {
            Level::Error => rule.rule.bump,
            Level::Warning => Bump::Minor,
            Level::Info => {
                rule.rule.bump.min(if rule.rule.level == Level::Info { Bump::Minor } else { Bump::Patch })
            }
        };
        let change = Change::new(&rule.rule, place, message)
            .at(old.and_then(location), new.and_then(location))
            .in_flow(stream.map_or(rule.rule.flow, Stream::flow))
            .weighing(level, bump)
            .with_witness(witness.map(|witness| self.named(witness)));
        self.findings.changes.push(change);
    }

    /// Names the message as its writer does, and as its reader does where that is another name.
    fn named(&self, mut witness: Value) -> Value {
        let Some((old, new)) = self.meeting.as_ref().filter(|(old, new)| old != new) else { return witness };
        let (writer, reader) = if witness["written_by"] == "new" { (new, old) } else { (old, new) };
        if witness.get("message").is_some() {
            witness["message"] = writer.as_str().into();
            witness["read_as"] = reader.as_str().into();
        }
        witness
    }

    /// Files what differs of elements that both sides have, and is not compared.
    fn note_what_was_not_read(&mut self) {
        let (old, new) = (self.old, self.new);
        let used = self.used_names();
        let added = new.unread.keys().filter(|key| !old.unread.contains_key(*key));
        for key in old.unread.keys().chain(added) {
            let (element, field) = key;
            let owner = element.split('#').next().unwrap_or(element);
            let counts = used.as_ref().is_none_or(|used| used.contains(owner));
            if !counts || old.unread.get(key) == new.unread.get(key) {
                continue;
            }
            let places = (place_of(old, element), place_of(new, element));
            if let (Some((_, before)), Some((place, after))) = places {
                let reason = format!("`{field}` is not compared, and differs");
                self.findings.not_checked.push(NotChecked { place, reason, old: before, new: after });
            }
        }
    }

    fn note_what_was_not_checked(&mut self) {
        let mut note = |position: &Position, reason: &str, side: Side| {
            let at = Some(Location { file: position.file.to_string(), line: position.line.unwrap_or(1) });
            let (old, new) = match side {
                Side::Old => (at, None),
                Side::New => (None, at),
            };
            let (place, reason) = (position.file.to_string(), reason.to_owned());
            self.findings.not_checked.push(NotChecked { place, reason, old, new });
        };
        self.old.not_checked.iter().for_each(|(position, reason)| note(position, reason, Side::Old));
        self.new.not_checked.iter().for_each(|(position, reason)| note(position, reason, Side::New));
    }
}

/// What is told of an element that both sides have.
fn place_of(schema: &Schema, element: &str) -> Option<(String, Option<Location>)> {
    let told = |name: String, position: &Position| Some((name, location(position)));
    if let Some((owner, number)) = element.split_once('#') {
        let number = number.parse().ok()?;
        if let Some(field) = schema.messages.get(owner).and_then(|message| message.fields.get(&number)) {
            return told(format!("{owner}.{}", field.name), &field.position);
        }
        if let Some(value) = schema.enums.get(owner).and_then(|one| one.values.get(&number)?.first()) {
            return told(format!("{owner}.{}", value.name), &value.position);
        }
        let field = schema.extensions.get(&(owner.to_owned(), number))?;
        return told(field.name.clone(), &field.position);
    }
    let types = schema.messages.get(element).map(|one| &one.position);
    let types = types.or_else(|| schema.enums.get(element).map(|one| &one.position));
    if let Some(position) = types.or_else(|| schema.services.get(element).map(|one| &one.position)) {
        return told(element.to_owned(), position);
    }
    if schema.files.contains_key(element) {
        return Some((element.to_owned(), None));
    }
    let (owner, name) = element.rsplit_once('.')?;
    let method = schema.services.get(owner).and_then(|one| one.methods.get(name)).map(|one| &one.position);
    let oneof =
        || schema.messages.get(owner).filter(|one| one.oneofs.contains(name)).map(|one| &one.position);
    told(element.to_owned(), method.or_else(oneof)?)
}

fn location(position: &Position) -> Option<Location> {
    position.line.map(|line| Location { file: position.file.to_string(), line })
}
