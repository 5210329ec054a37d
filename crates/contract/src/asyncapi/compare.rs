//! One direction of a comparison: exchanges by action and address, and what is said of them beside schemas.

mod bindings;
mod servers;

use std::collections::BTreeSet;

use serde_json::Value;

use super::format::{self, Format};
use super::model::{
    Action, Exchange, Exchanges, Major, Message, address, channel_messages, exchanges, is_same, key, listed,
    parameters,
};
use super::rules;
use super::specification::Object;
use crate::draft::{Draft, DraftNotChecked, Findings};
use crate::openapi::cursor::Cursor;
use crate::schema::report::{Presence, Site};
use crate::schema::{NodeId, Schemas};
use crate::{Bump, Change, Level, Options, Rule};

/// The uses of schemas found on the way, by what the application does with the messages.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) sent: Vec<Site>,
    pub(super) received: Vec<Site>,
}

/// One side of a comparison.
pub(super) struct Whole<'l> {
    pub(super) root: Cursor<'l>,
    pub(super) major: Major,
}

/// One direction: from what is known, to what comes. Uses of schemas are collected in the first direction only, since schemas are
/// compared both ways at once.
pub(super) struct Comparer<'c, 'l> {
    pub(super) sent: &'c mut Schemas<'l>,
    pub(super) received: &'c mut Schemas<'l>,
    pub(super) uses: Option<&'c mut Uses>,
    pub(super) findings: &'c mut Findings,
    pub(super) options: &'c Options,
    /// The operations of the old side that count; all when there are none.
    pub(super) selection: &'c [String],
}

/// Two objects that are compared.
#[derive(Clone, Copy)]
struct Pair<'p, 'l> {
    old: &'p Cursor<'l>,
    new: &'p Cursor<'l>,
}

impl<'l> Comparer<'_, 'l> {
    pub(super) fn whole(&mut self, old: &Whole<'l>, new: &Whole<'l>) {
        self.meet(Object::Document, &old.root, &new.root);
        self.servers(&old.root, &new.root);
        self.security_schemes(&old.root, &new.root);
        let (before, after) = (exchanges(&old.root, old.major), exchanges(&new.root, new.major));
        let selected = |exchange: &Exchange<'l>| {
            self.selection.is_empty() || self.selection.iter().any(|name| key(name) == key(&exchange.title()))
        };
        let before: Exchanges<'l> = before.into_iter().filter(|(_, exchange)| selected(exchange)).collect();
        for (key, exchange) in &before {
            match after.get(key) {
                Some(other) => self.exchange(exchange, other, (&old.root, &new.root)),
                None => self.exchange_gone(exchange, &new.root),
            }
        }
        for (_, exchange) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            if self.selection.is_empty() {
                let message = format!("{} is new", exchange.title());
                let at = exchange.operations.first().unwrap_or(&exchange.channel);
                self.file(&rules::OPERATION_ADDED, Pair { old: &old.root, new: at }, message);
            }
        }
    }

    /// Operations and servers name schemes, which stand elsewhere.
    fn security_schemes(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) {
        let schemes = |root: &Cursor<'l>| root.get("components").and_then(|all| all.get("securitySchemes"));
        if !is_same(schemes(old).as_ref(), schemes(new).as_ref()) {
            self.open(
                Pair { old, new },
                "`securitySchemes` of the components are not compared, and differ".to_owned(),
            );
        }
    }

    fn exchange_gone(&mut self, exchange: &Exchange<'l>, root: &Cursor<'l>) {
        let hurt = match exchange.action {
            Action::Send => "consumers wait for its messages in vain",
            Action::Receive => "what producers write there is read by nobody",
        };
        let message = format!("{} is gone: {hurt}", exchange.title());
        let at = exchange.operations.first().unwrap_or(&exchange.channel);
        let change = Change::new(&rules::OPERATION_REMOVED, at.spot().place, message);
        self.findings.changes.push(Draft { change, old: Some(at.spot()), new: Some(root.spot()) });
    }

    fn exchange(&mut self, old: &Exchange<'l>, new: &Exchange<'l>, roots: (&Cursor<'l>, &Cursor<'l>)) {
        let channels = Pair { old: &old.channel, new: &new.channel };
        self.meet(Object::Channel, &old.channel, &new.channel);
        self.channel_bindings(channels);
        self.parameters(old, new);
        self.other_channels(old, new);
        for (before, after) in pairs_of(&old.operations, &new.operations) {
            let pair = Pair { old: before.unwrap_or(&old.channel), new: after.unwrap_or(&new.channel) };
            match (before, after) {
                (Some(before), Some(after)) => self.meet(Object::Operation, before, after),
                _ => self.alone(Object::Operation, (before, after), pair),
            }
            self.reply((before, after), pair, new, roots);
        }
        self.messages(&old.messages, &new.messages, (old.action, &new.title()), channels, roots);
    }

    /// Several channels may have one address; all but the first are not compared one by one.
    fn other_channels(&mut self, old: &Exchange<'l>, new: &Exchange<'l>) {
        let pairs = pairs_of(&old.other_channels, &new.other_channels);
        if pairs.into_iter().any(|(one, other)| !is_same(one, other)) {
            let reason = format!("`channels`: several have the address `{}`, and differ", new.address);
            self.open(Pair { old: &old.channel, new: &new.channel }, reason);
        }
    }

    /// Pairs the messages of one exchange by name; the only ones of both sides belong together.
    fn messages(
        &mut self,
        old: &[Message<'l>],
        new: &[Message<'l>],
        (action, title): (Action, &str),
        owners: Pair<'_, 'l>,
        roots: (&Cursor<'l>, &Cursor<'l>),
    ) {
        if let ([before], [after]) = (old, new) {
            if before.name != after.name {
                let message = format!("`{}` of {title} is called `{}`", before.name, after.name);
                self.file(&rules::NAME_CHANGED, Pair { old: &before.cursor, new: &after.cursor }, message);
            }
            self.message(before, after, action, title, roots);
            return;
        }
        for before in old {
            match new.iter().find(|after| after.name == before.name) {
                Some(after) => self.message(before, after, action, title, roots),
                None => {
                    let message = format!("`{}` is no longer a message of {title}", before.name);
                    self.file(
                        &rules::MESSAGE_REMOVED,
                        Pair { old: &before.cursor, new: owners.new },
                        message,
                    );
                }
            }
        }
        for after in new.iter().filter(|after| old.iter().all(|before| before.name != after.name)) {
            let rule = match action {
                Action::Send => &rules::MESSAGE_SENT,
                Action::Receive => &rules::MESSAGE_ACCEPTED,
            };
            let message = format!("`{}` is a new message of {title}", after.name);
            self.file(rule, Pair { old: owners.old, new: &after.cursor }, message);
        }
    }

    fn message(
        &mut self,
        old: &Message<'l>,
        new: &Message<'l>,
        action: Action,
        title: &str,
        roots: (&Cursor<'l>, &Cursor<'l>),
    ) {
        let pair = Pair { old: &old.cursor, new: &new.cursor };
        self.meet(Object::Message, &old.cursor, &new.cursor);
        self.traits(old, new, pair);
        let label = format!("`{}` of {title}", new.name);
        self.content_type((old, new), pair, &label, roots);
        self.correlation((old, new), pair, &label, action);
        self.message_bindings((old, new), pair, &label, action);
        for (key, what) in [("headers", "the headers of "), ("payload", "")] {
            self.content((old, new), key, pair, &format!("{what}{label}"), action);
        }
    }

    /// Traits are merged field by field; what several of them say of one field is not.
    fn traits(&mut self, old: &Message<'l>, new: &Message<'l>, pair: Pair<'_, 'l>) {
        const MERGED: [&str; 5] = ["headers", "payload", "correlationId", "contentType", "bindings"];
        let many = |message: &Message<'l>| MERGED.iter().any(|key| message.sources(key).len() > 1);
        let differs = !is_same(Some(&old.cursor), Some(&new.cursor));
        if (many(old) || many(new)) && differs {
            self.open(
                pair,
                "`traits`: several of them say something of the same field; how they are merged is not read"
                    .to_owned(),
            );
        }
        let traits =
            |message: &Message<'l>| message.cursor.get("traits").map(|list| list.items()).unwrap_or_default();
        let (before, after) = (traits(old), traits(new));
        for index in 0..before.len().max(after.len()) {
            self.meet_maybe(Object::Message, (before.get(index).cloned(), after.get(index).cloned()), pair);
        }
        let reference = |message: &Message<'l>| {
            traits(message).iter().find_map(|one| one.text("$ref").map(str::to_owned))
        };
        if let Some(lost) = reference(old).or_else(|| reference(new)) {
            self.open(pair, format!("the reference `{lost}` leads to nothing that was given"));
        }
    }

    fn content_type(
        &mut self,
        (old, new): (&Message<'l>, &Message<'l>),
        pair: Pair<'_, 'l>,
        label: &str,
        (old_root, new_root): (&Cursor<'l>, &Cursor<'l>),
    ) {
        let of = |message: &Message<'l>, root: &Cursor<'l>| {
            let said = message.text("contentType").or_else(|| root.text("defaultContentType"));
            said.map(|text| text.replace(' ', "").to_ascii_lowercase())
        };
        let (before, after) = (of(old, old_root), of(new, new_root));
        match (&before, &after) {
            (Some(one), Some(other)) if one != other => {
                let message = format!("{label} is {other}, not {one}");
                self.file(&rules::CONTENT_TYPE_CHANGED, pair, message);
            }
            (None, Some(said)) | (Some(said), None) if said != "application/json" => {
                self.open(
                    pair,
                    format!(
                        "`contentType`: {label} is `{said}` on one side, and nothing is said on the other"
                    ),
                );
            }
            _ => {}
        }
    }

    fn correlation(
        &mut self,
        (old, new): (&Message<'l>, &Message<'l>),
        pair: Pair<'_, 'l>,
        label: &str,
        action: Action,
    ) {
        let (before, after) = (old.get("correlationId"), new.get("correlationId"));
        let followed = |cursor: &Option<Cursor<'l>>| cursor.clone().map(Cursor::followed);
        let (before, after) = (followed(&before), followed(&after));
        self.meet_maybe(Object::CorrelationId, (before.clone(), after.clone()), pair);
        let location = |cursor: &Option<Cursor<'l>>| {
            cursor.as_ref().map(|cursor| cursor.text("location").unwrap_or_default().to_owned())
        };
        let (from, to) = (location(&before), location(&after));
        if from == to {
            return;
        }
        // Who reads looks for the id: consumers where it was, the application where it is now.
        let looked_for = match action {
            Action::Send => from.is_some(),
            Action::Receive => to.is_some(),
        };
        let told = |location: &Option<String>| location.clone().unwrap_or_else(|| "nowhere".to_owned());
        let message = format!("the correlation id of {label} was {} and is {}", told(&from), told(&to));
        let rule = if looked_for { &rules::CORRELATION_CHANGED } else { &rules::CORRELATION_ADDED };
        self.file(rule, pair, message);
    }

    /// What a message holds: by JSON Schema here, by another format in its own way.
    fn content(
        &mut self,
        (old, new): (&Message<'l>, &Message<'l>),
        key: &str,
        pair: Pair<'_, 'l>,
        label: &str,
        action: Action,
    ) {
        let (before, after) = (Format::of(old, key), Format::of(new, key));
        match (before, after) {
            (Format::Json(one), Format::Json(other)) => {
                self.schemas((one, other), pair, label, action, "payload");
            }
            (Format::Nothing, Format::Nothing) => {}
            (Format::Json(one), Format::Nothing) => self.schemas((one, None), pair, label, action, "payload"),
            (Format::Nothing, Format::Json(other)) => {
                self.schemas((None, other), pair, label, action, "payload");
            }
            (Format::Other(one, before), Format::Other(other, after)) if one == other => {
                if before.value() != after.value() {
                    self.open(pair, format!("`schemaFormat`: what {label} holds is described as `{one}`, which is not read, and differs"));
                }
            }
            (one, other) if one.family() == other.family() => {
                let (Some(before), Some(after)) = (one.cursor(), other.cursor()) else { return };
                let found = format::compare(one.family(), (before, after), action, self.options);
                self.file_found(found, pair, (before, after), label);
            }
            (one, other) => {
                let message = format!("{label} is described by {}, not by {}", other.family(), one.family());
                self.file(&rules::FORMAT_CHANGED, pair, message);
            }
        }
    }

    /// Files what the comparison of another format found inside a message, told at its place here.
    fn file_found(
        &mut self,
        found: Result<crate::Findings, String>,
        pair: Pair<'_, 'l>,
        (old, new): (&Cursor<'l>, &Cursor<'l>),
        label: &str,
    ) {
        let (old, new) = (old.spot(), new.spot());
        match found {
            Ok(found) => {
                for change in found.changes {
                    let place = format!("{}: {}", new.place, change.place);
                    let message = format!("{}; {label}", change.message);
                    let change = Change { place, message, old: None, new: None, ..change };
                    self.findings.changes.push(Draft {
                        change,
                        old: Some(old.clone()),
                        new: Some(new.clone()),
                    });
                }
                for open in found.not_checked {
                    self.findings.not_checked.push(DraftNotChecked {
                        place: format!("{}: {}", new.place, open.place),
                        reason: format!("{}; {label}", open.reason),
                        old: Some(old.clone()),
                        new: Some(new.clone()),
                    });
                }
            }
            Err(why) => self.open(pair, format!("{label} cannot be read: {why}")),
        }
    }

    /// Remembers that schemas are used; a missing one allows everything.
    fn schemas(
        &mut self,
        (old, new): (Option<Cursor<'l>>, Option<Cursor<'l>>),
        pair: Pair<'_, 'l>,
        label: &str,
        action: Action,
        slot: &'static str,
    ) {
        let Some(uses) = &mut self.uses else { return };
        let (schemas, sites) = match action {
            Action::Send => (&mut *self.sent, &mut uses.sent),
            Action::Receive => (&mut *self.received, &mut uses.received),
        };
        let mut node = |cursor: Option<Cursor<'l>>| {
            cursor.map_or(NodeId::ANY, |cursor| schemas.schema(cursor.side, cursor.target))
        };
        let (old_node, new_node) = (node(old), node(new));
        if schemas.are_identical(old_node, new_node) {
            return;
        }
        let (old_spot, new_spot) = (pair.old.spot(), pair.new.spot());
        sites.push(Site {
            old: old_node,
            new: new_node,
            label: label.to_owned(),
            place: new_spot.place.clone(),
            old_spot: Some(old_spot),
            new_spot: Some(new_spot),
            envelope: [("message".to_owned(), Value::from(label))].into_iter().collect(),
            slot: Some(slot),
            presence: Presence::Always,
        });
    }

    fn parameters(&mut self, old: &Exchange<'l>, new: &Exchange<'l>) {
        // They meet by where they stand in the address: names are not sent.
        let names = parameters(&old.address).into_iter().zip(parameters(&new.address));
        for (before, after) in names {
            let of = |exchange: &Exchange<'l>, name: &str| {
                exchange.channel.get("parameters").and_then(|all| all.get(name))
            };
            let (one, other) = (of(old, before), of(new, after));
            let pair = Pair {
                old: one.as_ref().unwrap_or(&old.channel),
                new: other.as_ref().unwrap_or(&new.channel),
            };
            self.meet_maybe(Object::Parameter, (one.clone(), other.clone()), pair);
            let label = format!("the parameter `{after}` of {}", new.title());
            self.parameter(old.action, (&one, &other), pair, &label);
        }
    }

    fn parameter(
        &mut self,
        action: Action,
        (old, new): (&Option<Cursor<'l>>, &Option<Cursor<'l>>),
        pair: Pair<'_, 'l>,
        label: &str,
    ) {
        let schema = |cursor: &Option<Cursor<'l>>| cursor.as_ref().and_then(|cursor| cursor.direct("schema"));
        let (from, to) = (schema(old), schema(new));
        if from.is_some() || to.is_some() {
            self.schemas((from, to), pair, label, action, "parameter");
        }
        let values = |cursor: &Option<Cursor<'l>>| -> Option<BTreeSet<String>> {
            let list = cursor.as_ref()?.value().get("enum")?.as_array()?;
            Some(list.iter().map(Value::to_string).collect())
        };
        let (before, after) = (values(old), values(new));
        let holds = |whole: &Option<BTreeSet<String>>, part: &Option<BTreeSet<String>>| match (whole, part) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(whole), Some(part)) => whole.is_superset(part),
        };
        if before != after {
            let fine = match action {
                Action::Send => holds(&before, &after),
                Action::Receive => holds(&after, &before),
            };
            let level = if fine { (Level::Info, Bump::Minor) } else { (Level::Error, Bump::Major) };
            let told = |values: &Option<BTreeSet<String>>| {
                values
                    .as_ref()
                    .map_or("anything".to_owned(), |all| all.iter().cloned().collect::<Vec<_>>().join(", "))
            };
            let message = format!("{label} is {}, and was {}", told(&after), told(&before));
            self.file(&rules::PARAMETER_CHANGED, pair, message);
            self.weigh(level);
        }
        for key in ["location", "default"] {
            let said = |cursor: &Option<Cursor<'l>>| {
                cursor.as_ref().and_then(|cursor| cursor.value().get(key)).cloned()
            };
            if said(old) != said(new) {
                self.file(&rules::PARAMETER_DETAILS, pair, format!("`{key}` of {label} is another"));
            }
        }
    }

    fn reply(
        &mut self,
        (old, new): (Option<&Cursor<'l>>, Option<&Cursor<'l>>),
        pair: Pair<'_, 'l>,
        exchange: &Exchange<'l>,
        roots: (&Cursor<'l>, &Cursor<'l>),
    ) {
        let title = format!("the reply to {}", exchange.title());
        let demanded = |cursor: Option<&Cursor<'l>>| cursor.and_then(|cursor| cursor.get("reply"));
        match (demanded(old), demanded(new)) {
            (None, None) => {}
            (Some(_), None) => {
                // A consumer that answers in vain does not fail; one that waits does.
                let rule = match exchange.action {
                    Action::Receive => &rules::REPLY_REMOVED,
                    Action::Send => &rules::REPLY_ADDED,
                };
                self.file(rule, pair, format!("{title} is gone"));
            }
            (None, Some(_)) => {
                let rule = match exchange.action {
                    Action::Send => &rules::REPLY_DEMANDED,
                    Action::Receive => &rules::REPLY_ADDED,
                };
                self.file(rule, pair, format!("{title} is new"));
            }
            (Some(one), Some(other)) => {
                self.replies(Pair { old: &one, new: &other }, exchange.action.other(), &title, roots);
            }
        }
    }

    fn replies(
        &mut self,
        pair: Pair<'_, 'l>,
        action: Action,
        title: &str,
        roots: (&Cursor<'l>, &Cursor<'l>),
    ) {
        self.meet(Object::Reply, pair.old, pair.new);
        self.meet_maybe(Object::ReplyAddress, (pair.old.get("address"), pair.new.get("address")), pair);
        let address = |reply: &Cursor<'l>| {
            let location =
                reply.get("address").and_then(|address| address.text("location").map(str::to_owned));
            let channel = reply.get("channel").map(|channel| address(&channel));
            (location, channel)
        };
        if address(pair.old) != address(pair.new) {
            self.file(&rules::REPLY_ADDRESS_CHANGED, pair, format!("{title} goes elsewhere"));
        }
        let messages = |reply: &Cursor<'l>| match (reply.direct("messages"), reply.get("channel")) {
            (Some(list), _) => listed(&list),
            (None, Some(channel)) => channel_messages(&channel),
            (None, None) => Vec::new(),
        };
        self.messages(&messages(pair.old), &messages(pair.new), (action, title), pair, roots);
    }

    /// Files what differs in two objects and is not compared, and references that lead nowhere.
    fn meet(&mut self, object: Object, old: &Cursor<'l>, new: &Cursor<'l>) {
        let pair = Pair { old, new };
        self.alone(object, (Some(old), Some(new)), pair);
        let is_of_the_world = |reference: &str| reference.contains("://") || reference.starts_with("urn:");
        let (from, to) = (old.text("$ref"), new.text("$ref"));
        if let Some(lost) = to.or(from).filter(|reference| from != to || !is_of_the_world(reference)) {
            self.open(pair, format!("the reference `{lost}` leads to nothing that was given"));
        }
    }

    /// The same for two objects of which one may not be there.
    fn meet_maybe(
        &mut self,
        object: Object,
        (old, new): (Option<Cursor<'l>>, Option<Cursor<'l>>),
        pair: Pair<'_, 'l>,
    ) {
        match (&old, &new) {
            (Some(old), Some(new)) => self.meet(object, old, new),
            (old, new) => self.alone(object, (old.as_ref(), new.as_ref()), pair),
        }
    }

    /// Files what differs in two objects, of which one may not be there, and is not compared.
    fn alone(
        &mut self,
        object: Object,
        (old, new): (Option<&Cursor<'l>>, Option<&Cursor<'l>>),
        pair: Pair<'_, 'l>,
    ) {
        for (name, reason) in object.open(old, new) {
            let spot = |cursor: Option<&Cursor<'l>>, other: &Cursor<'l>| {
                let field = cursor.and_then(|cursor| cursor.direct(&name));
                field.map_or_else(|| cursor.unwrap_or(other).spot(), |field| field.spot())
            };
            let (before, after) = (spot(old, pair.old), spot(new, pair.new));
            let is_there = new.is_some_and(|new| new.value().get(&name).is_some());
            let place = if is_there { after.place.clone() } else { before.place.clone() };
            self.findings.not_checked.push(DraftNotChecked {
                place,
                reason,
                old: Some(before),
                new: Some(after),
            });
        }
    }

    fn open(&mut self, pair: Pair<'_, 'l>, reason: String) {
        let (old, new) = (pair.old.spot(), pair.new.spot());
        let place = new.place.clone();
        self.findings.not_checked.push(DraftNotChecked { place, reason, old: Some(old), new: Some(new) });
    }

    fn file(&mut self, rule: &'static Rule, pair: Pair<'_, 'l>, message: String) {
        let (old, new) = (pair.old.spot(), pair.new.spot());
        // What is gone is told where it was.
        let gone = rule.id.ends_with("-removed");
        let place = if gone { old.place.clone() } else { new.place.clone() };
        let change = Change::new(rule, place, message);
        self.findings.changes.push(Draft { change, old: Some(old), new: Some(new) });
    }

    fn weigh(&mut self, (level, bump): (Level, Bump)) {
        if let Some(draft) = self.findings.changes.last_mut() {
            draft.change.level = level;
            draft.change.bump = bump;
        }
    }
}

/// Operations or channels of both sides, by their keys in the document, and those that are left in their order.
fn pairs_of<'c, 'l>(
    old: &'c [Cursor<'l>],
    new: &'c [Cursor<'l>],
) -> Vec<(Option<&'c Cursor<'l>>, Option<&'c Cursor<'l>>)> {
    let key = |cursor: &Cursor<'l>| cursor.target.pointer.rsplit('/').next().map(str::to_owned);
    let counterpart =
        |one: &Cursor<'l>, among: &'c [Cursor<'l>]| among.iter().find(|other| key(one) == key(other));
    let mut pairs: Vec<_> =
        old.iter().filter_map(|one| Some((Some(one), Some(counterpart(one, new)?)))).collect();
    let mut gone = old.iter().filter(|one| counterpart(one, new).is_none());
    let mut fresh = new.iter().filter(|other| counterpart(other, old).is_none());
    loop {
        match (gone.next(), fresh.next()) {
            (None, None) => return pairs,
            pair => pairs.push(pair),
        }
    }
}
