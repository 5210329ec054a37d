//! Webhooks and callbacks: calls the provider makes and consumers answer, so that every direction is reversed.

use super::body::{MediaType, covering, media_types};
use super::cursor::Cursor;
use super::operations::{Operation, entries, operations};
use super::pair::Pair;
use super::parameters::parameters;
use super::specification::Object;
use super::{Comparer, Use, rules};
use crate::Flow;

impl<'l> Comparer<'_, 'l> {
    pub(super) fn webhooks(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) {
        let (mut before, mut after) = (entries(old, "webhooks"), entries(new, "webhooks"));
        if let Some(selection) = self.selection {
            before.retain(|(name, _)| selection.holds_webhook(name));
            after.retain(|(name, _)| before.iter().any(|(other, _)| other == name));
        }
        let pair = self.meet(Object::Contract, old, new);
        self.calls(&before, &after, &pair);
    }

    /// The callbacks of an operation: by name, then by the expression that says where the call goes.
    pub(super) fn callbacks(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let calls = |operation: &Operation<'_, 'l>| -> Vec<(&'l str, Cursor<'l>)> {
            entries(&operation.cursor, "callbacks")
                .into_iter()
                .flat_map(|(_, callback)| callback.entries())
                .collect()
        };
        let pair = self.meet(Object::Operation, &old.cursor, &new.cursor);
        self.calls(&calls(old), &calls(new), &pair);
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
        self.meet(Object::PathItem, old, new);
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
        let pair = self.meet(Object::Operation, &old.cursor, &new.cursor);
        self.open_fields(&pair, &["security", "servers", "callbacks"]);
        self.call_parameters(old, new);
        self.call_body(old, new);
        self.call_answers(old, new);
    }

    /// Fields that are compared elsewhere and not in calls to consumers.
    fn open_fields(&mut self, pair: &Pair<'_, 'l>, names: &[&str]) {
        for name in names.iter().filter(|name| pair.old.said(name) != pair.new.said(name)) {
            self.not_checked(pair, format!("`{name}` is not compared in calls to consumers, and differs"));
        }
    }

    fn call_parameters(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let after = parameters(new);
        for parameter in &parameters(old) {
            let label = format!("the parameter `{}` of the call {}", parameter.name, new.name());
            let cursor = &parameter.cursor;
            match after.iter().find(|other| (other.place, other.name) == (parameter.place, parameter.name)) {
                Some(other) => {
                    let pair = self.meet(Object::Parameter, cursor, &other.cursor);
                    self.open_fields(
                        &pair,
                        &["style", "explode", "allowReserved", "allowEmptyValue", "content"],
                    );
                    if cursor.is_true("required") && !other.cursor.is_true("required") {
                        self.changed(&rules::WEBHOOK_INPUT_REDUCED, &pair, format!("{label} may be missing"));
                    }
                    self.schema_use(&pair, (&parameter.shape(), &other.shape()), || Use {
                        label,
                        envelope: new.envelope(),
                        ..Use::text(Flow::Response)
                    });
                }
                None if cursor.is_true("required") => {
                    self.removed(
                        &rules::WEBHOOK_INPUT_REDUCED,
                        cursor,
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
        let pair = self.meet(Object::RequestBody, &before, &after);
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
                    let label = format!("the body of the call {name}");
                    self.call_content((other, &media_type), label, Flow::Response, new);
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
            let pair = self.meet(Object::Response, &before, answer);
            self.open_fields(&pair, &["headers"]);
            let accepted = media_types(answer);
            for media_type in media_types(&before) {
                let label = format!("the {status} answer to the call {}", new.name());
                match covering(&media_type, &accepted) {
                    Some(other) => self.call_content((&media_type, other), label, Flow::Request, new),
                    None if accepted.is_empty() => {}
                    None => {
                        let message = format!("{label} may no longer be {}", media_type.name);
                        self.changed(&rules::WEBHOOK_ANSWER_REMOVED, &pair, message);
                    }
                }
            }
        }
    }

    /// The content of a call or of an answer to it.
    fn call_content(
        &mut self,
        (old, new): (&MediaType<'l>, &MediaType<'l>),
        label: String,
        flow: Flow,
        operation: &Operation<'_, 'l>,
    ) {
        let pair = self.meet(Object::MediaType, &old.cursor, &new.cursor);
        self.encodings((old, new), &pair, flow, &label);
        self.xml((old, new), &pair, flow, &label);
        self.schema_use(&pair, (&old.shape, &new.shape), || Use {
            label,
            envelope: operation.envelope(),
            ..Use::body(flow)
        });
    }
}
