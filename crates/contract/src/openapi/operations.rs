//! Paths and operations: which are there, and what is said of each beside its parameters, body and responses.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::Value;

use super::bases::Bases;
use super::cursor::Cursor;
use super::pair::Pair;
use super::specification::Object;
use super::{Comparer, Inherited, rules};

/// The methods a path may have, as written in a document.
pub(crate) const METHODS: [&str; 9] =
    ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];

/// An operation with what it inherits.
pub(super) struct Operation<'o, 'l> {
    pub(super) method: String,
    pub(super) path: &'o str,
    pub(super) item: &'o Cursor<'l>,
    pub(super) root: &'o Cursor<'l>,
    pub(super) cursor: Cursor<'l>,
}

impl Operation<'_, '_> {
    /// `GET /pets`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// What tells a witness which operation it is about.
    pub(super) fn envelope(&self) -> Vec<(&'static str, Value)> {
        vec![("method", self.method.clone().into()), ("path", self.path.into())]
    }
}

impl<'l> Comparer<'_, 'l> {
    /// Compares two whole contracts.
    pub(super) fn contract(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) {
        let pair = self.meet(Object::Contract, old, new);
        self.security_schemes(old, new);
        let bases = self.contract_servers(&pair);
        let same = |key: &str| old.said(key) == new.said(key);
        let inherits_the_same = same("consumes") && same("produces");
        self.inherited = if inherits_the_same { Inherited::Same } else { Inherited::Differs };
        self.paths((old, new), &bases);
        self.webhooks(old, new);
    }

    fn paths(&mut self, (old, new): (&Cursor<'l>, &Cursor<'l>), bases: &Bases) {
        let (old_paths, new_paths) = (entries(old, "paths"), entries(new, "paths"));
        let matched = match_paths(&old_paths, &new_paths, bases);
        self.beside_references((old, &old_paths), (new, &new_paths), &matched);
        let security_same = old.said("security") == new.said("security");
        for (index, (path, item)) in old_paths.iter().enumerate() {
            match matched[index].map(|other| &new_paths[other]) {
                Some((new_path, new_item))
                    if path != new_path
                        || !security_same
                        || self.inherited == Inherited::Differs
                        || !self.is_same(item, new_item) =>
                {
                    self.path((path, item, old), (new_path, new_item, new));
                }
                Some(_) => {}
                None => {
                    for operation in self.selected(operations(path, item, old)) {
                        self.operation_removed(&operation, new);
                    }
                }
            }
        }
        for (index, (path, item)) in new_paths.iter().enumerate() {
            if !matched.contains(&Some(index)) {
                for operation in operations(path, item, new) {
                    self.operation_added(&operation, old);
                }
            }
        }
    }

    /// What stands beside the reference of a path item is not read: a reference takes the place of the whole.
    fn beside_references(
        &mut self,
        (old, old_paths): (&Cursor<'l>, &[(&'l str, Cursor<'l>)]),
        (new, new_paths): (&Cursor<'l>, &[(&'l str, Cursor<'l>)]),
        matched: &[Option<usize>],
    ) {
        let written =
            |root: &Cursor<'l>, path: &str| root.direct("paths").and_then(|paths| paths.direct(path));
        let refers = |item: &Cursor<'l>| item.text("$ref").is_some();
        let beside = |item: &Cursor<'l>| -> Vec<(String, Value)> {
            let members = item.value().as_object().filter(|_| refers(item)).into_iter().flatten();
            let told =
                |name: &str| matches!(name, "$ref" | "summary" | "description") || name.starts_with("x-");
            members
                .filter(|(name, _)| !told(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        for (index, (path, _)) in old_paths.iter().enumerate() {
            let Some(other) = matched[index].map(|other| new_paths[other].0) else { continue };
            let (Some(before), Some(after)) = (written(old, path), written(new, other)) else { continue };
            if (refers(&before) || refers(&after)) && beside(&before) != beside(&after) {
                let pair = self.meet(Object::PathItem, &before, &after);
                self.not_checked(
                    &pair,
                    "what stands beside the `$ref` of a path is not read, and differs".to_owned(),
                );
            }
        }
    }

    fn path(&mut self, old: (&str, &Cursor<'l>, &Cursor<'l>), new: (&str, &Cursor<'l>, &Cursor<'l>)) {
        let old_operations = self.selected(operations(old.0, old.1, old.2));
        let new_operations = operations(new.0, new.1, new.2);
        let find = |wanted: &Operation<'_, 'l>, among: &[Operation<'_, 'l>]| {
            among.iter().position(|operation| operation.method == wanted.method)
        };
        for operation in &old_operations {
            match find(operation, &new_operations) {
                Some(index) => self.operation(operation, &new_operations[index]),
                None => self.operation_removed(operation, new.1),
            }
        }
        for operation in &new_operations {
            if find(operation, &old_operations).is_none() {
                self.operation_added(operation, old.1);
            }
        }
        if !old_operations.is_empty() || self.selection.is_none() {
            let pair = self.meet(Object::PathItem, old.1, new.1);
            self.path_servers(&pair, (old.2, new.2));
        }
    }

    /// The operations that count.
    fn selected<'o>(&self, mut operations: Vec<Operation<'o, 'l>>) -> Vec<Operation<'o, 'l>> {
        operations.retain(|operation| self.selection.is_none_or(|selection| selection.holds(operation)));
        operations
    }

    /// Files an operation that is new; whoever uses only some operations of the old contract uses none of these.
    fn operation_added(&mut self, operation: &Operation<'_, 'l>, to: &Cursor<'l>) {
        if self.selection.is_none() {
            let message = format!("{} is new", operation.name());
            self.added(&rules::OPERATION_ADDED, &operation.cursor, to, message);
        }
    }

    fn operation(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        self.security(old, new);
        self.parameters(old, new);
        let inherited =
            self.inherited == Inherited::Same && self.is_same_under("parameters", old.item, new.item);
        if inherited && self.is_same(&old.cursor, &new.cursor) {
            return;
        }
        let pair = self.meet(Object::Operation, &old.cursor, &new.cursor);
        self.said_of_operation(&pair, &new.name());
        self.request_body(old, new);
        self.responses(old, new);
        self.callbacks(old, new);
        self.operation_servers((old, new), &pair);
    }

    fn operation_removed(&mut self, operation: &Operation<'_, 'l>, from: &Cursor<'l>) {
        let name = operation.name();
        let sunset = sunset(&operation.cursor);
        let over = operation.cursor.is_true("deprecated")
            && sunset.zip(self.options.today).is_some_and(|(sunset, today)| sunset <= today);
        if over {
            self.removed(
                &rules::OPERATION_REMOVED_AFTER_SUNSET,
                &operation.cursor,
                from,
                format!("{name} is gone after its sunset"),
            );
        } else {
            let message = format!("{name} is gone: consumers that call it get an error");
            self.removed(&rules::OPERATION_REMOVED, &operation.cursor, from, message);
            self.shown(operation.envelope());
        }
    }

    fn said_of_operation(&mut self, pair: &Pair<'_, 'l>, name: &str) {
        match (pair.old.is_true("deprecated"), pair.new.is_true("deprecated")) {
            (false, true) => {
                let end = sunset(pair.new)
                    .map_or_else(|| "no sunset is named".to_owned(), |day| format!("its sunset is {day}"));
                self.changed(&rules::OPERATION_DEPRECATED, pair, format!("{name} is deprecated; {end}"));
            }
            (true, false) => {
                self.changed(&rules::OPERATION_UNDEPRECATED, pair, format!("{name} is no longer deprecated"));
            }
            _ => {}
        }
        self.sunsets(pair, name);
        let (from, to) = (pair.old.text("operationId"), pair.new.text("operationId"));
        if from != to {
            let text = |id: Option<&str>| id.map_or_else(|| "none".to_owned(), |id| format!("`{id}`"));
            self.changed(
                &rules::OPERATION_ID_CHANGED,
                pair,
                format!("the id of {name} is {}, not {}", text(to), text(from)),
            );
        }
        if pair.old.said("tags") != pair.new.said("tags") {
            self.changed(&rules::TAGS_CHANGED, pair, format!("{name} has other tags"));
        }
    }

    fn sunsets(&mut self, pair: &Pair<'_, 'l>, name: &str) {
        match (sunset(pair.old), sunset(pair.new)) {
            (Some(from), Some(to)) if to < from => {
                let message = format!("{name} ends on {to}, not on {from}");
                self.changed(&rules::SUNSET_MOVED_FORWARD, pair, message);
            }
            (Some(from), None) if pair.new.is_true("deprecated") => {
                let message = format!("{name} was to end on {from}; no day is named any more");
                self.changed(&rules::SUNSET_REMOVED, pair, message);
            }
            _ => {}
        }
        if let Some(text) = pair.new.said("x-sunset").filter(|_| sunset(pair.new).is_none()) {
            self.not_checked(pair, format!("the sunset {text} is not a day"));
        }
    }
}

/// The members of a map of the contract.
pub(super) fn entries<'l>(root: &Cursor<'l>, key: &str) -> Vec<(&'l str, Cursor<'l>)> {
    let entries = root.get(key).map(|map| map.entries()).unwrap_or_default();
    entries.into_iter().filter(|(name, _)| !name.starts_with("x-")).collect()
}

/// The operations of a path.
pub(super) fn operations<'o, 'l>(
    path: &'o str,
    item: &'o Cursor<'l>,
    root: &'o Cursor<'l>,
) -> Vec<Operation<'o, 'l>> {
    let named =
        METHODS.iter().filter_map(|method| item.get(method).map(|cursor| (method.to_uppercase(), cursor)));
    let additional = item.get("additionalOperations").map(|map| map.entries()).unwrap_or_default();
    let additional = additional.into_iter().map(|(method, cursor)| (method.to_owned(), cursor));
    named.chain(additional).map(|(method, cursor)| Operation { method, path, item, root, cursor }).collect()
}

/// For every old path the new one that means the same: by its text, else by its shape without names. Where the part of the
/// address that is common to all has moved into the paths, whole addresses are matched.
fn match_paths(old: &[(&str, Cursor<'_>)], new: &[(&str, Cursor<'_>)], bases: &Bases) -> Vec<Option<usize>> {
    let whole = |base: &str, path: &str| format!("{base}{path}");
    let old: Vec<String> = old.iter().map(|(path, _)| whole(&bases.old, path)).collect();
    let new: Vec<String> = new.iter().map(|(path, _)| whole(&bases.new, path)).collect();
    let exact: BTreeMap<&str, usize> =
        new.iter().enumerate().map(|(index, path)| (path.as_str(), index)).collect();
    let known: std::collections::BTreeSet<&str> = old.iter().map(String::as_str).collect();
    let free = new.iter().enumerate().filter(|(_, path)| !known.contains(path.as_str()));
    let by_shape: BTreeMap<String, usize> = free.map(|(index, path)| (shape(path), index)).collect();
    let other = |path: &String| exact.get(path.as_str()).or_else(|| by_shape.get(&shape(path))).copied();
    old.iter().map(other).collect()
}

/// A path with its parameters unnamed.
pub(super) fn shape(path: &str) -> String {
    let mut shape = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        match character {
            '{' => {
                inside = true;
                shape.push('{');
            }
            '}' => {
                inside = false;
                shape.push('}');
            }
            character if !inside => shape.push(character),
            _ => {}
        }
    }
    shape
}

/// The names of the parameters in a path, in order.
pub(super) fn path_names(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|part| part.split('}').next()).collect()
}

/// The day after which an operation may be gone, from the widespread extension.
fn sunset(operation: &Cursor<'_>) -> Option<Date> {
    let text = operation.text("x-sunset")?;
    text.get(..10)?.parse().ok()
}
