//! Webhooks and callbacks: calls the provider makes and consumers answer, so that every direction is reversed.

use super::body::{covering, media_types, schema};
use super::cursor::Cursor;
use super::operations::{Operation, entries, operations};
use super::{Comparer, Pair, Use, rules};
use crate::Flow;

impl<'l> Comparer<'_, 'l> {
    pub(super) fn webhooks(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) {
        let (mut before, mut after) = (entries(old, "webhooks"), entries(new, "webhooks"));
        if let Some(selection) = self.selection {
            before.retain(|(name, _)| selection.holds_webhook(name));
            after.retain(|(name, _)| before.iter().any(|(other, _)| other == name));
        }
        self.calls(&before, &after, &Pair { old, new });
    }

    /// The callbacks of an operation: by name, then by the expression that says where the call goes.
    pub(super) fn callbacks(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let calls = |operation: &Operation<'_, 'l>| -> Vec<(&'l str, Cursor<'l>)> {
            entries(&operation.cursor, "callbacks")
                .into_iter()
                .flat_map(|(_, callback)| callback.entries())
                .collect()
        };
        self.calls(&calls(old), &calls(new), &Pair { old: &old.cursor, new: &new.cursor });
    }

    fn calls(
        &mut self,
        before: &[(&'l str, Cursor<'l>)],
        after: &[(&'l str, Cursor<'l>)],
        owners: &Pair<'_, 'l>,
    ) {
        for (name, item) in before {
            let other = after.iter().find(|(other, _)| other == name).map(|(_, item)| item);
            match other {
                Some(other) if self.is_same(item, other) => {}
                Some(other) => self.call_item(name, item, other, owners),
                None => self.removed(
                    &rules::WEBHOOK_REMOVED,
                    item,
                    owners.new,
                    format!("the call `{name}` to consumers is gone"),
                ),
            }
        }
        for (name, item) in after.iter().filter(|(name, _)| !before.iter().any(|(other, _)| other == name)) {
            self.added(
                &rules::WEBHOOK_ADDED,
                item,
                owners.old,
                format!("the call `{name}` to consumers is new"),
            );
        }
    }

    fn call_item(&mut self, name: &str, old: &Cursor<'l>, new: &Cursor<'l>, owners: &Pair<'_, 'l>) {
        let (before, after) = (operations(name, old, owners.old), operations(name, new, owners.new));
        for operation in &before {
            match after.iter().find(|other| other.method == operation.method) {
                Some(other) => self.call(operation, other),
                None => {
                    let message = format!("the call {} to consumers is gone", operation.name());
                    self.removed(&rules::WEBHOOK_REMOVED, &operation.cursor, new, message);
                }
            }
        }
        for operation in
            after.iter().filter(|other| !before.iter().any(|operation| operation.method == other.method))
        {
            self.added(
                &rules::WEBHOOK_ADDED,
                &operation.cursor,
                old,
                format!("the call {} to consumers is new", operation.name()),
            );
        }
    }

    fn call(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        self.call_parameters(old, new);
        self.call_body(old, new);
        self.call_answers(old, new);
    }

    fn call_parameters(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let list = |operation: &Operation<'_, 'l>| {
            operation.cursor.get("parameters").map(|list| list.items()).unwrap_or_default()
        };
        let (before, after) = (list(old), list(new));
        for parameter in &before {
            let same = |other: &&Cursor<'l>| {
                other.text("in") == parameter.text("in") && other.text("name") == parameter.text("name")
            };
            let label = format!(
                "the parameter `{}` of the call {}",
                parameter.text("name").unwrap_or_default(),
                new.name()
            );
            match after.iter().find(same) {
                Some(other) => {
                    let pair = Pair { old: parameter, new: other };
                    if parameter.is_true("required") && !other.is_true("required") {
                        self.changed(&rules::WEBHOOK_INPUT_REDUCED, &pair, format!("{label} may be missing"));
                    }
                    let used = Use { label, envelope: new.envelope(), ..Use::text(Flow::Response) };
                    self.schema_use(&pair, (parameter.direct("schema"), other.direct("schema")), used);
                }
                None if parameter.is_true("required") => {
                    self.removed(
                        &rules::WEBHOOK_INPUT_REDUCED,
                        parameter,
                        &new.cursor,
                        format!("{label} is gone"),
                    );
                }
                None => {}
            }
        }
    }

    fn call_body(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let Some(before) = old.cursor.get("requestBody") else { return };
        let name = new.name();
        let Some(after) = new.cursor.get("requestBody") else {
            self.removed(
                &rules::WEBHOOK_INPUT_REDUCED,
                &before,
                &new.cursor,
                format!("the body of the call {name} is gone"),
            );
            return;
        };
        let pair = Pair { old: &before, new: &after };
        if before.is_true("required") && !after.is_true("required") {
            self.changed(
                &rules::WEBHOOK_INPUT_REDUCED,
                &pair,
                format!("the body of the call {name} may be missing"),
            );
        }
        let known = media_types(&before);
        for media_type in media_types(&after) {
            match covering(&media_type, &known) {
                Some(other) => {
                    let pair = Pair { old: &other.cursor, new: &media_type.cursor };
                    let label = format!("the body of the call {name}");
                    let used = Use { label, envelope: new.envelope(), ..Use::body(Flow::Response) };
                    self.schema_use(&pair, (schema(&other.cursor), schema(&media_type.cursor)), used);
                }
                None => {
                    let message = format!("the body of the call {name} may be {}", media_type.name);
                    self.added(&rules::WEBHOOK_MEDIA_TYPE_ADDED, &media_type.cursor, &before, message);
                }
            }
        }
    }

    fn call_answers(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let after = entries(&new.cursor, "responses");
        for (status, before) in entries(&old.cursor, "responses") {
            let same = after.iter().find(|(other, _)| *other == status || *other == "default");
            let Some((_, answer)) = same else {
                let message = format!("consumers may no longer answer the call {} with {status}", new.name());
                self.removed(&rules::WEBHOOK_ANSWER_REMOVED, &before, &new.cursor, message);
                continue;
            };
            let accepted = media_types(answer);
            for media_type in media_types(&before) {
                if let Some(other) = covering(&media_type, &accepted) {
                    let pair = Pair { old: &media_type.cursor, new: &other.cursor };
                    let label = format!("the {status} answer to the call {}", new.name());
                    let used = Use { label, envelope: new.envelope(), ..Use::body(Flow::Request) };
                    self.schema_use(&pair, (schema(&media_type.cursor), schema(&other.cursor)), used);
                }
            }
        }
    }
}
