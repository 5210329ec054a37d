//! Parameters of operations: which there are, whether they must be sent, how they are written.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::cursor::Cursor;
use super::operations::{Operation, path_names};
use super::{Comparer, Pair, Use, rules};
use crate::Flow;
use crate::schema::Medium;
use crate::schema::report::Presence;

/// A parameter of an operation, its own or its path's.
struct Parameter<'l> {
    place: &'l str,
    name: &'l str,
    cursor: Cursor<'l>,
}

impl<'l> Parameter<'l> {
    fn is_required(&self) -> bool {
        self.place == "path" || self.cursor.is_true("required")
    }

    fn label(&self, operation: &str) -> String {
        format!("the {} parameter `{}` of {operation}", self.place, self.name)
    }

    /// How the value is written: the style with its defaults filled in, and for what follows a media type, that.
    fn style(&self) -> (String, bool) {
        if let Some(format) = self.cursor.text("collectionFormat") {
            return (format.to_owned(), false);
        }
        let usual = if matches!(self.place, "query" | "cookie") { "form" } else { "simple" };
        let style = self.cursor.text("style").unwrap_or(usual);
        let explode = self.cursor.value().get("explode").and_then(Value::as_bool).unwrap_or(style == "form");
        (style.to_owned(), explode)
    }

    /// The schema of the value, under `schema`, under its media type, or, in Swagger 2, the parameter itself.
    fn schema(&self) -> Option<Cursor<'l>> {
        let content = || self.cursor.get("content")?.entries().into_iter().next()?.1.direct("schema");
        let own = || self.cursor.value().get("type").map(|_| self.cursor.clone());
        self.cursor.direct("schema").or_else(content).or_else(own)
    }

    fn media_type(&self) -> Option<&'l str> {
        self.cursor.value().get("content")?.as_object()?.keys().next().map(String::as_str)
    }
}

impl<'l> Comparer<'_, 'l> {
    pub(super) fn parameters(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let (before, after) = (parameters(old), parameters(new));
        let (own, others) = (identities(&before, old), identities(&after, new));
        let by_identity: HashMap<&(String, String), usize> =
            others.iter().enumerate().map(|(index, identity)| (identity, index)).collect();
        for (parameter, identity) in before.iter().zip(&own) {
            match by_identity.get(identity) {
                Some(index) => self.parameter(parameter, &after[*index], new),
                None => {
                    let message = format!("{} is no longer described", parameter.label(&new.name()));
                    self.removed(&rules::PARAMETER_REMOVED, &parameter.cursor, &new.cursor, message);
                }
            }
        }
        let known: HashSet<&(String, String)> = own.iter().collect();
        for (parameter, identity) in after.iter().zip(&others) {
            if !known.contains(identity) {
                let label = parameter.label(&new.name());
                if parameter.is_required() {
                    let message =
                        format!("{label} is new and required: consumers that do not send it are refused");
                    self.added(&rules::REQUIRED_PARAMETER_ADDED, &parameter.cursor, &old.cursor, message);
                    if let Some(draft) = self.findings.changes.last_mut() {
                        draft.change.witness = Some(
                            old.envelope().into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                        );
                    }
                } else {
                    self.added(
                        &rules::PARAMETER_ADDED,
                        &parameter.cursor,
                        &old.cursor,
                        format!("{label} is new"),
                    );
                }
            }
        }
    }

    fn parameter(&mut self, old: &Parameter<'l>, new: &Parameter<'l>, operation: &Operation<'_, 'l>) {
        let pair = Pair { old: &old.cursor, new: &new.cursor };
        let label = new.label(&operation.name());
        if old.name != new.name && old.place == "path" {
            self.changed(&rules::PATH_PARAMETER_RENAMED, &pair, format!("{label} was named `{}`", old.name));
        }
        match (old.is_required(), new.is_required()) {
            (false, true) => {
                let message = format!("{label} is required: consumers that leave it out are refused");
                self.changed(&rules::PARAMETER_BECAME_REQUIRED, &pair, message);
            }
            (true, false) => {
                self.changed(&rules::PARAMETER_BECAME_OPTIONAL, &pair, format!("{label} is optional"));
            }
            _ => {}
        }
        self.parameter_style(old, new, &pair, &label);
        let mut envelope = operation.envelope();
        envelope.extend([("in", new.place.into()), ("name", new.name.into())]);
        let medium = if new.media_type().is_some() { Medium::Json } else { Medium::Text };
        let always = [old, new].iter().all(|side| side.cursor.is_true("required"));
        let presence = if always { Presence::Always } else { Presence::Optional };
        self.schema_use(
            &pair,
            (old.schema(), new.schema()),
            Use { flow: Flow::Request, medium, label, envelope, slot: "value", presence },
        );
    }

    fn parameter_style(
        &mut self,
        old: &Parameter<'l>,
        new: &Parameter<'l>,
        pair: &Pair<'_, 'l>,
        label: &str,
    ) {
        let (before, after) = (old.media_type(), new.media_type());
        let ((style, explode), (new_style, new_explode)) = (old.style(), new.style());
        let many = self.is_composite(old) || self.is_composite(new);
        let simple_same =
            matches!((style.as_str(), new_style.as_str()), ("form" | "simple", "form" | "simple"));
        let styles_differ = if many {
            style != new_style || explode != new_explode
        } else {
            style != new_style && !simple_same
        };
        if before != after || (before.is_none() && styles_differ) {
            let text = |media_type: Option<&str>, style: &str, explode: bool| {
                media_type.map_or_else(|| format!("{style}, explode {explode}"), str::to_owned)
            };
            let (from, to) = (text(before, &style, explode), text(after, &new_style, new_explode));
            self.changed(
                &rules::PARAMETER_STYLE_CHANGED,
                pair,
                format!("{label} is written as {to}, not as {from}"),
            );
        }
        for (flag, what) in [("allowReserved", "hold reserved characters"), ("allowEmptyValue", "be empty")] {
            if old.cursor.is_true(flag) && !new.cursor.is_true(flag) {
                let message = format!("{label} may no longer {what}");
                self.changed(&rules::PARAMETER_STYLE_CHANGED, pair, message);
            }
        }
    }

    /// True when the value may be an array or an object, which are written in different ways.
    fn is_composite(&mut self, parameter: &Parameter<'l>) -> bool {
        let Some(schema) = parameter.schema() else { return false };
        let node = self.request.schema(schema.side, schema.target);
        self.request.allows_composites(node)
    }
}

/// The parameters of an operation and those of its path that it does not replace.
fn parameters<'l>(operation: &Operation<'_, 'l>) -> Vec<Parameter<'l>> {
    let mut found: Vec<Parameter<'l>> = Vec::new();
    let mut known: HashSet<(&str, &str)> = HashSet::new();
    for owner in [&operation.cursor, operation.item] {
        let list = owner.get("parameters").map(|list| list.items()).unwrap_or_default();
        for cursor in list {
            let (Some(place), Some(name)) = (cursor.text("in"), cursor.text("name")) else { continue };
            let ignored = place == "header"
                && ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str());
            if !ignored && place != "body" && place != "formData" && known.insert((place, name)) {
                found.push(Parameter { place, name, cursor });
            }
        }
    }
    found
}

/// What the same parameter is found by: its name, in a path its position, in a header whatever its case.
fn identity(parameter: &Parameter<'_>, positions: &HashMap<&str, usize>) -> (String, String) {
    let name = match parameter.place {
        "header" => parameter.name.to_ascii_lowercase(),
        "path" => positions.get(parameter.name).map_or_else(|| parameter.name.to_owned(), usize::to_string),
        _ => parameter.name.to_owned(),
    };
    (parameter.place.to_owned(), name)
}

/// The identities of all parameters of an operation, in their order.
fn identities(parameters: &[Parameter<'_>], operation: &Operation<'_, '_>) -> Vec<(String, String)> {
    let names = path_names(operation.path).into_iter().enumerate();
    let positions: HashMap<&str, usize> = names.map(|(position, name)| (name, position)).collect();
    parameters.iter().map(|parameter| identity(parameter, &positions)).collect()
}
