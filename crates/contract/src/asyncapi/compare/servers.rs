//! Servers: where messages travel, and by which protocol.

use super::{Comparer, Pair};
use crate::asyncapi::model::members;
use crate::asyncapi::rules;
use crate::asyncapi::specification::Object;
use crate::openapi::cursor::Cursor;

impl<'l> Comparer<'_, 'l> {
    pub(super) fn servers(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) {
        let (before, after) = (members(old, "servers"), members(new, "servers"));
        for (name, one) in &before {
            match after.iter().find(|(other, _)| other == name) {
                Some((_, other)) => self.server(name, Pair { old: one, new: other }),
                None => self.file(
                    &rules::SERVER_REMOVED,
                    Pair { old: one, new },
                    format!("the server `{name}` is no longer named"),
                ),
            }
        }
        for (name, other) in after.iter().filter(|(name, _)| before.iter().all(|(one, _)| one != name)) {
            self.file(
                &rules::SERVER_ADDED,
                Pair { old, new: other },
                format!("the server `{name}` is named"),
            );
        }
    }

    fn server(&mut self, name: &str, pair: Pair<'_, 'l>) {
        self.meet(Object::Server, pair.old, pair.new);
        let text = |cursor: &Cursor<'l>, key: &str| cursor.text(key).unwrap_or_default().to_owned();
        let (from, to) = (text(pair.old, "protocol"), text(pair.new, "protocol"));
        if from != to {
            self.file(
                &rules::SERVER_PROTOCOL_CHANGED,
                pair,
                format!("the server `{name}` speaks {to}, not {from}"),
            );
        }
        // Version 2 writes as one address what version 3 writes in two parts.
        let place = |cursor: &Cursor<'l>| {
            let url = text(cursor, "url");
            let url =
                url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).trim_end_matches('/').to_owned();
            if url.is_empty() { format!("{}{}", text(cursor, "host"), text(cursor, "pathname")) } else { url }
        };
        let details = |cursor: &Cursor<'l>| (place(cursor), text(cursor, "protocolVersion"));
        if details(pair.old) != details(pair.new) {
            let (place, version) = details(pair.new);
            self.file(
                &rules::SERVER_CHANGED,
                pair,
                format!("the server `{name}` is {place} {version}").trim_end().to_owned(),
            );
        }
    }
}
