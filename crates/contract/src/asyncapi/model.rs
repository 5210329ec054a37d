//! What an application sends and receives, whichever version of AsyncAPI says so.
//!
//! Version 2 speaks from the outside: others `publish` what the application receives, and `subscribe` to what it sends. Version 3
//! says `send` and `receive`. A channel of version 3 without an operation leaves open which; then both count.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::openapi::cursor::Cursor;

/// What the application does at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Action {
    Send,
    Receive,
}

impl Action {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// Which major version a document is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Major {
    Two,
    Three,
}

/// A message with what its traits add.
#[derive(Clone)]
pub(super) struct Message<'l> {
    pub(super) name: String,
    pub(super) cursor: Cursor<'l>,
    pub(super) major: Major,
}

/// What is sent to, or received from, one address.
#[derive(Clone)]
pub(super) struct Exchange<'l> {
    pub(super) action: Action,
    pub(super) address: String,
    pub(super) channel: Cursor<'l>,
    /// Other channels of the same address.
    pub(super) other_channels: Vec<Cursor<'l>>,
    /// The operations; none where only the channel is described.
    pub(super) operations: Vec<Cursor<'l>>,
    pub(super) messages: Vec<Message<'l>>,
}

impl Exchange<'_> {
    /// As people name it: `send orders/{id}`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.action.as_str(), self.address)
    }
}

/// Exchanges by action and address; the names of parameters make no difference.
pub(super) type Exchanges<'l> = BTreeMap<(Action, String), Exchange<'l>>;

/// Lists everything that a document says is sent and received.
pub(super) fn exchanges<'l>(root: &Cursor<'l>, major: Major) -> Exchanges<'l> {
    let mut found = Exchanges::new();
    match major {
        Major::Two => {
            for (address, channel) in members(root, "channels") {
                for (word, action) in [("publish", Action::Receive), ("subscribe", Action::Send)] {
                    if let Some(operation) = channel.get(word) {
                        let messages = messages_of_two(&operation);
                        add(&mut found, action, address, &channel, Some(operation), messages);
                    }
                }
            }
        }
        Major::Three => of_three(root, &mut found),
    }
    found
}

fn of_three<'l>(root: &Cursor<'l>, found: &mut Exchanges<'l>) {
    let mut spoken_of = Vec::new();
    for (_, operation) in members(root, "operations") {
        let Some(channel) = operation.get("channel") else { continue };
        spoken_of.push(channel.target.pointer.clone());
        let action = match operation.text("action") {
            Some("send") => vec![Action::Send],
            Some("receive") => vec![Action::Receive],
            _ => vec![Action::Send, Action::Receive],
        };
        let messages = match operation.direct("messages") {
            Some(list) => listed(&list),
            None => channel_messages(&channel),
        };
        for action in action {
            add(found, action, &address(&channel), &channel, Some(operation.clone()), messages.clone());
        }
    }
    for (_, channel) in members(root, "channels") {
        if !spoken_of.contains(&channel.target.pointer) {
            for action in [Action::Send, Action::Receive] {
                add(found, action, &address(&channel), &channel, None, channel_messages(&channel));
            }
        }
    }
}

fn add<'l>(
    found: &mut Exchanges<'l>,
    action: Action,
    address: &str,
    channel: &Cursor<'l>,
    operation: Option<Cursor<'l>>,
    messages: Vec<Message<'l>>,
) {
    let key = (action, without_names(address));
    let exchange = found.entry(key).or_insert_with(|| Exchange {
        action,
        address: address.to_owned(),
        channel: channel.clone(),
        other_channels: Vec::new(),
        operations: Vec::new(),
        messages: Vec::new(),
    });
    exchange.operations.extend(operation);
    let is_known = |other: &Cursor<'l>| other.target.pointer == channel.target.pointer;
    if !is_known(&exchange.channel) && !exchange.other_channels.iter().any(is_known) {
        exchange.other_channels.push(channel.clone());
    }
    for message in messages {
        if exchange.messages.iter().all(|other| other.name != message.name) {
            exchange.messages.push(message);
        }
    }
}

/// The address of a channel of version 3; one that is only known when it runs goes by the name of the channel.
pub(super) fn address(channel: &Cursor<'_>) -> String {
    let id = channel.target.pointer.rsplit('/').next().unwrap_or_default();
    let id = id.replace("~1", "/").replace("~0", "~");
    channel.text("address").map_or_else(|| format!("(channel {id})"), str::to_owned)
}

/// An address with its parameters left unnamed.
fn without_names(address: &str) -> String {
    let mut out = String::new();
    let mut rest = address;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push_str("{}");
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    out + rest
}

/// The names of the parameters of an address, in their order.
pub(super) fn parameters(address: &str) -> Vec<&str> {
    address.split('{').skip(1).filter_map(|part| part.split('}').next()).collect()
}

/// How deep references inside a value are written out, and how many values that may make.
const MAX_WRITTEN_DEPTH: usize = 32;
const MAX_WRITTEN: usize = 20_000;

/// A value with everything that it refers to written out; nothing where that would not end, or leads nowhere.
pub(super) fn written_out(cursor: &Cursor<'_>) -> Option<Value> {
    fn at(cursor: &Cursor<'_>, depth: usize, made: &mut usize) -> Option<Value> {
        *made += 1;
        if depth > MAX_WRITTEN_DEPTH || *made > MAX_WRITTEN {
            return None;
        }
        let cursor = cursor.clone().followed();
        match cursor.value() {
            Value::Object(map) if map.get("$ref").is_some_and(Value::is_string) => None,
            Value::Object(map) => {
                let members =
                    map.keys().map(|key| Some((key.clone(), at(&cursor.direct(key)?, depth + 1, made)?)));
                members.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
            }
            Value::Array(items) => {
                let items =
                    (0..items.len()).map(|index| at(&cursor.direct(&index.to_string())?, depth + 1, made));
                items.collect::<Option<Vec<_>>>().map(Value::Array)
            }
            value => Some(value.clone()),
        }
    }
    at(cursor, 0, &mut 0)
}

/// True when both are there or neither is, and everything that they refer to is the same.
pub(super) fn is_same(old: Option<&Cursor<'_>>, new: Option<&Cursor<'_>>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => {
            let (old, new) = (written_out(old), written_out(new));
            old.is_some() && old == new
        }
        _ => false,
    }
}

/// The members of a map, with references followed; what begins with `x-` is none.
pub(super) fn members<'l>(owner: &Cursor<'l>, key: &str) -> Vec<(&'l str, Cursor<'l>)> {
    let map = owner.get(key);
    let all = map.map(|map| map.entries()).unwrap_or_default();
    all.into_iter().filter(|(name, _)| !name.starts_with("x-")).collect()
}

pub(super) fn channel_messages<'l>(channel: &Cursor<'l>) -> Vec<Message<'l>> {
    let all = members(channel, "messages").into_iter();
    all.map(|(name, cursor)| Message { name: name.to_owned(), cursor, major: Major::Three }).collect()
}

/// The messages of a list of references.
pub(super) fn listed<'l>(list: &Cursor<'l>) -> Vec<Message<'l>> {
    let count = list.value().as_array().map_or(0, Vec::len);
    let items = (0..count).filter_map(|index| {
        let index = index.to_string();
        let name =
            list.direct(&index).and_then(|item| item.text("$ref").map(last_token)).unwrap_or(index.clone());
        Some(Message { name, cursor: list.get(&index)?, major: Major::Three })
    });
    items.collect()
}

fn messages_of_two<'l>(operation: &Cursor<'l>) -> Vec<Message<'l>> {
    let Some(written) = operation.direct("message") else { return Vec::new() };
    let named = |direct: &Cursor<'l>, fallback: &str| {
        let cursor = direct.clone().followed();
        let by_reference = direct.text("$ref").map(last_token);
        let own = ["messageId", "name"].iter().find_map(|key| cursor.text(key)).map(str::to_owned);
        Message {
            name: by_reference.or(own).unwrap_or_else(|| fallback.to_owned()),
            cursor,
            major: Major::Two,
        }
    };
    let whole = written.clone().followed();
    match whole.get("oneOf").filter(|several| several.value().is_array()) {
        Some(several) => {
            let count = several.value().as_array().map_or(0, Vec::len);
            let items =
                (0..count).filter_map(|index| several.direct(&index.to_string()).map(|item| (index, item)));
            items.map(|(index, item)| named(&item, &index.to_string())).collect()
        }
        None => vec![named(&written, "message")],
    }
}

fn last_token(reference: &str) -> String {
    let last = reference.rsplit(['/', '#']).next().unwrap_or_default();
    last.replace("~1", "/").replace("~0", "~")
}

impl<'l> Message<'l> {
    /// A field of the message, or of the trait that adds it. In version 2 traits are merged over the message, in version 3 under it.
    pub(super) fn get(&self, key: &str) -> Option<Cursor<'l>> {
        self.sources(key).into_iter().next()
    }

    /// Everything that says something of a field; where it is more than one, they are merged.
    pub(super) fn sources(&self, key: &str) -> Vec<Cursor<'l>> {
        let own = self.cursor.direct(key);
        let traits = self.cursor.get("traits").map(|list| list.items()).unwrap_or_default();
        let added = traits.iter().rev().filter_map(|one| one.direct(key));
        match self.major {
            Major::Two => added.chain(own).collect(),
            Major::Three => own.into_iter().chain(added).collect(),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'l str> {
        self.get(key).and_then(|cursor| cursor.value().as_str())
    }
}

/// What two names of one operation have in common: the action in small letters, and the address without names of parameters.
pub(crate) fn key(operation: &str) -> String {
    let (action, address) = operation.trim().split_once(' ').unwrap_or(("", operation));
    let mut out = format!("{} ", action.to_ascii_lowercase());
    let mut inside = false;
    for character in address.trim().chars() {
        match character {
            '{' => inside = true,
            '}' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        out.push(character);
    }
    out
}
