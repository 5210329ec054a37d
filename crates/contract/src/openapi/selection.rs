//! Some operations of a contract, by name: what a consumer says it uses.
//!
//! `POST /charges` names an operation, `WEBHOOK paid` a call to consumers. Names of path parameters and the case of the method
//! do not count, as they are not sent.

use std::collections::BTreeSet;

use super::cursor::Cursor;
use super::operations::{Operation, entries, operations, shape};
use super::security::requirement;

/// What stands where a method would, in the name of a webhook.
const WEBHOOK: &str = "WEBHOOK";

/// The operations that count, and the security schemes they need.
#[derive(Debug)]
pub(super) struct Selection {
    keys: BTreeSet<String>,
    schemes: BTreeSet<String>,
}

impl Selection {
    /// Picks the named operations of a contract.
    pub(super) fn of(root: &Cursor<'_>, names: &[String]) -> Self {
        let mut selection =
            Self { keys: names.iter().map(|name| key(name)).collect(), schemes: BTreeSet::new() };
        for (path, item) in entries(root, "paths") {
            for operation in operations(path, &item, root) {
                if selection.holds(&operation) {
                    let needed = requirement(&operation).into_iter().flatten().map(|(scheme, _)| scheme);
                    selection.schemes.extend(needed.map(str::to_owned));
                }
            }
        }
        selection
    }

    pub(super) fn holds(&self, operation: &Operation<'_, '_>) -> bool {
        self.keys.contains(&key(&operation.name()))
    }

    pub(super) fn holds_webhook(&self, name: &str) -> bool {
        self.keys.contains(&key(&webhook(name)))
    }

    pub(super) fn needs_scheme(&self, name: &str) -> bool {
        self.schemes.contains(name)
    }
}

/// The names of all operations and webhooks of a contract.
pub(super) fn names(root: &Cursor<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (path, item) in entries(root, "paths") {
        names.extend(operations(path, &item, root).iter().map(Operation::name));
    }
    names.extend(entries(root, "webhooks").into_iter().map(|(name, _)| webhook(name)));
    names
}

/// What two names of one operation have in common.
pub(super) fn key(name: &str) -> String {
    match name.trim().split_once(char::is_whitespace) {
        Some((method, path)) => format!("{} {}", method.to_uppercase(), shape(path.trim())),
        None => name.trim().to_owned(),
    }
}

fn webhook(name: &str) -> String {
    format!("{WEBHOOK} {name}")
}
