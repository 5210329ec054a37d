//! Parameters of operations: which there are, whether they must be sent, how they are written.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::cursor::Cursor;
use super::operations::{Operation, path_names};
use super::pair::Pair;
use super::shape::{FormField, Shape};
use super::specification::Object;
use super::{Comparer, Inherited, Use, rules};
use crate::Flow;
use crate::schema::Medium;
use crate::schema::report::Presence;

/// A parameter of an operation, its own or its path's.
#[derive(Clone)]
pub(super) struct Parameter<'l> {
    pub(super) place: &'l str,
    pub(super) name: &'l str,
    pub(super) cursor: Cursor<'l>,
    said: Said,
}

/// What the cursor of a parameter stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    AsParameter,
    /// The schema of a property whose object is sent as one parameter a property.
    AsProperty {
        required: bool,
    },
}

impl<'l> Parameter<'l> {
    fn is_required(&self) -> bool {
        match self.said {
            Said::AsParameter => self.place == "path" || self.cursor.is_true("required"),
            Said::AsProperty { required } => required,
        }
    }

    /// True when the document says so itself, and it does not only follow from the place.
    fn is_always_sent(&self) -> bool {
        match self.said {
            Said::AsParameter => self.cursor.is_true("required"),
            Said::AsProperty { required } => required,
        }
    }

    fn object(&self) -> Object {
        match self.said {
            Said::AsParameter => Object::Parameter,
            Said::AsProperty { .. } => Object::Schema,
        }
    }

    fn says(&self, flag: &str) -> bool {
        self.said == Said::AsParameter && self.cursor.is_true(flag)
    }

    fn label(&self, operation: &str) -> String {
        format!("the {} parameter `{}` of {operation}", self.place, self.name)
    }

    /// How the value is written: the style with its defaults filled in, those of Swagger 2 in the words of later versions.
    fn style(&self) -> (String, bool) {
        if self.said != Said::AsParameter {
            return ("form".to_owned(), true);
        }
        let is_its_own_schema = self.cursor.said("type").is_some();
        if is_its_own_schema {
            let plain = if matches!(self.place, "query" | "formData") { "form" } else { "simple" };
            let (style, explode) = match self.cursor.text("collectionFormat").unwrap_or("csv") {
                "multi" => ("form", true),
                "csv" => (plain, false),
                "ssv" => ("spaceDelimited", false),
                "pipes" => ("pipeDelimited", false),
                other => (other, false),
            };
            return (style.to_owned(), explode);
        }
        let usual = if matches!(self.place, "query" | "cookie") { "form" } else { "simple" };
        let style = self.cursor.text("style").unwrap_or(usual);
        let explode = self.cursor.said("explode").and_then(Value::as_bool).unwrap_or(style == "form");
        (style.to_owned(), explode)
    }

    /// The schema of the value, under `schema`, under its media type, or, in Swagger 2, the parameter itself.
    pub(super) fn schema(&self) -> Option<Cursor<'l>> {
        if self.said != Said::AsParameter {
            return Some(self.cursor.clone());
        }
        let content = || self.content()?.direct("schema");
        let own = || self.cursor.said("type").map(|_| self.cursor.clone());
        self.cursor.direct("schema").or_else(content).or_else(own)
    }

    pub(super) fn shape(&self) -> Shape<'l> {
        self.schema().map_or(Shape::Any, Shape::Schema)
    }

    /// The only media type of a parameter that is written as a document.
    fn content(&self) -> Option<Cursor<'l>> {
        let content = self.cursor.get("content").filter(|_| self.said == Said::AsParameter)?;
        Some(content.entries().into_iter().next()?.1)
    }

    fn media_type(&self) -> Option<&'l str> {
        let content = self.cursor.said("content").filter(|_| self.said == Said::AsParameter)?;
        content.as_object()?.keys().next().map(String::as_str)
    }
}

impl<'l> Comparer<'_, 'l> {
    /// True when the parameters of two operations are the same as written, those of their paths included.
    fn have_same_parameters(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) -> bool {
        self.inherited == Inherited::Same
            && old.path == new.path
            && self.is_same_under("parameters", old.item, new.item)
            && self.is_same_under("parameters", &old.cursor, &new.cursor)
    }

    pub(super) fn parameters(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        if self.have_same_parameters(old, new) {
            return;
        }
        let (mut before, mut after) = (parameters(old), parameters(new));
        spread_alike(&mut before, &mut after);
        self.unresolved(old, new);
        self.unspread((&before, &after), (old, new));
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
                    self.shown(old.envelope());
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
        let pair = self.meet_as((old.object(), new.object()), &old.cursor, &new.cursor);
        if let (Some(before), Some(after)) = (old.content(), new.content()) {
            self.meet(Object::MediaType, &before, &after);
        }
        let label = new.label(&operation.name());
        if old.name != new.name && old.place == "path" {
            self.changed(&rules::PATH_PARAMETER_RENAMED, &pair, format!("{label} was named `{}`", old.name));
        }
        match (old.is_required(), new.is_required()) {
            (false, true) => {
                let message = format!("{label} is required: consumers that leave it out are refused");
                self.changed(&rules::PARAMETER_BECAME_REQUIRED, &pair, message);
                self.shown(operation.envelope());
            }
            (true, false) => {
                self.changed(&rules::PARAMETER_BECAME_OPTIONAL, &pair, format!("{label} is optional"));
            }
            _ => {}
        }
        self.parameter_style(old, new, &pair, &label);
        let medium = if new.media_type().is_some() { Medium::Json } else { Medium::Text };
        let always = [old, new].iter().all(|side| side.is_always_sent());
        let presence = if always { Presence::Always } else { Presence::Optional };
        self.schema_use(&pair, (&old.shape(), &new.shape()), || {
            let mut envelope = operation.envelope();
            envelope.extend([("in", new.place.into()), ("name", new.name.into())]);
            Use { flow: Flow::Request, medium, label, envelope, slot: "value", presence }
        });
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
        // The items of a list that is written simply are parted by commas, whether it is exploded or not.
        let explode_counts = explode != new_explode
            && (style != "simple" || self.may_be_object(old) || self.may_be_object(new));
        let styles_differ =
            if many { style != new_style || explode_counts } else { style != new_style && !simple_same };
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
            if old.says(flag) && !new.says(flag) {
                let message = format!("{label} may no longer {what}");
                self.changed(&rules::PARAMETER_STYLE_CHANGED, pair, message);
            }
        }
    }

    /// Compares how the fields of a form of Swagger 2 are written; their schemas are compared with the form.
    pub(super) fn form_fields(
        &mut self,
        old: &[FormField<'l>],
        new: &[FormField<'l>],
        operation: &Operation<'_, 'l>,
    ) {
        let as_parameter = |field: &FormField<'l>| Parameter {
            place: "formData",
            name: field.name,
            cursor: field.cursor.clone(),
            said: Said::AsParameter,
        };
        for field in old {
            let Some(other) = new.iter().find(|other| other.name == field.name) else { continue };
            let (one, other) = (as_parameter(field), as_parameter(other));
            let pair = self.meet(Object::Parameter, &one.cursor, &other.cursor);
            self.parameter_style(&one, &other, &pair, &other.label(&operation.name()));
        }
    }

    /// An object that is sent as several parameters and whose schema is made of others, beside parameters that are gone or new: nobody
    /// knows which of those it stands for.
    fn unspread(
        &mut self,
        (before, after): (&[Parameter<'l>], &[Parameter<'l>]),
        (old, new): (&Operation<'_, 'l>, &Operation<'_, 'l>),
    ) {
        let alone = |own: &[Parameter<'l>], other: &[Parameter<'l>]| -> Vec<Parameter<'l>> {
            let is_known =
                |one: &Parameter<'l>| other.iter().any(|two| (two.place, two.name) == (one.place, one.name));
            own.iter()
                .filter(|one| matches!(one.place, "query" | "cookie") && !is_known(one))
                .cloned()
                .collect()
        };
        let (gone, fresh) = (alone(before, after), alone(after, before));
        if gone.is_empty() || fresh.is_empty() {
            return;
        }
        for parameter in gone.iter().chain(&fresh).filter(|parameter| is_made_of_others(parameter)) {
            let pair = self.meet(Object::Operation, &old.cursor, &new.cursor);
            let label = parameter.label(&new.name());
            self.not_checked(
                &pair,
                format!("{label} is sent as several parameters, and its schema is made of others"),
            );
        }
    }

    /// Parameters that are references to what was not given.
    fn unresolved(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let texts = |operation: &Operation<'_, 'l>| -> Vec<&'l str> {
            let mut texts: Vec<&str> =
                listed(operation).iter().filter_map(|cursor| cursor.text("$ref")).collect();
            texts.sort_unstable();
            texts
        };
        let (before, after) = (texts(old), texts(new));
        let is_of_the_world = |reference: &&&str| reference.contains("://") || reference.starts_with("urn:");
        let open =
            after.iter().chain(&before).find(|reference| before != after || !is_of_the_world(reference));
        if let Some(reference) = open {
            let pair = self.meet(Object::Operation, &old.cursor, &new.cursor);
            self.not_checked(&pair, format!("the reference `{reference}` leads to nothing that was given"));
        }
    }

    /// True when the value may be an array or an object, which are written in different ways.
    fn is_composite(&mut self, parameter: &Parameter<'l>) -> bool {
        let Some(schema) = parameter.schema() else { return false };
        let node = self.bodies.schema(schema.side, schema.target);
        self.bodies.allows_composites(node)
    }

    fn may_be_object(&mut self, parameter: &Parameter<'l>) -> bool {
        let Some(schema) = parameter.schema() else { return true };
        let node = self.bodies.schema(schema.side, schema.target);
        self.bodies.allows_objects(node)
    }
}

/// The lists of an operation and of its path.
fn listed<'l>(operation: &Operation<'_, 'l>) -> Vec<Cursor<'l>> {
    let list = |owner: &Cursor<'l>| owner.get("parameters").map(|list| list.items()).unwrap_or_default();
    [&operation.cursor, operation.item].into_iter().flat_map(list).collect()
}

/// The parameters of an operation and those of its path that it does not replace, those of the body included.
pub(super) fn all_parameters<'l>(operation: &Operation<'_, 'l>) -> Vec<Parameter<'l>> {
    let mut found: Vec<Parameter<'l>> = Vec::new();
    let mut known: HashSet<(&str, &str)> = HashSet::new();
    for cursor in listed(operation) {
        let (Some(place), Some(name)) = (cursor.text("in"), cursor.text("name")) else { continue };
        let ignored = place == "header"
            && ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str());
        if !ignored && known.insert((place, name)) {
            found.push(Parameter { place, name, cursor, said: Said::AsParameter });
        }
    }
    found
}

/// The parameters beside the body.
pub(super) fn parameters<'l>(operation: &Operation<'_, 'l>) -> Vec<Parameter<'l>> {
    let mut parameters = all_parameters(operation);
    parameters.retain(|parameter| !matches!(parameter.place, "body" | "formData"));
    parameters
}

/// Spreads objects whose properties are sent as parameters of their own, where the other side does not have them.
fn spread_alike<'l>(old: &mut Vec<Parameter<'l>>, new: &mut Vec<Parameter<'l>>) {
    let (before, after) = (spread(old, new), spread(new, old));
    old.extend(before);
    new.extend(after);
}

/// Takes objects out that the other side does not have, and gives what is sent of them.
fn spread<'l>(own: &mut Vec<Parameter<'l>>, other: &[Parameter<'l>]) -> Vec<Parameter<'l>> {
    let mut parts = Vec::new();
    own.retain(|parameter| {
        let is_known =
            other.iter().any(|other| (other.place, other.name) == (parameter.place, parameter.name));
        let sent = if is_known { None } else { properties_sent(parameter) };
        let is_kept = sent.is_none();
        parts.extend(sent.into_iter().flatten());
        is_kept
    });
    parts
}

/// True for an exploded value whose schema does not list its properties itself.
fn is_made_of_others(parameter: &Parameter<'_>) -> bool {
    let is_spread = parameter.said == Said::AsParameter && parameter.style() == ("form".to_owned(), true);
    let schema = parameter.cursor.get("schema").filter(|_| is_spread);
    schema.is_some_and(|schema| {
        ["allOf", "anyOf", "oneOf", "additionalProperties"].iter().any(|key| schema.said(key).is_some())
    })
}

/// The properties of an exploded object in a query or a cookie, each as the parameter that is sent.
fn properties_sent<'l>(parameter: &Parameter<'l>) -> Option<Vec<Parameter<'l>>> {
    let is_spread =
        matches!(parameter.place, "query" | "cookie") && parameter.style() == ("form".to_owned(), true);
    let schema = parameter.cursor.get("schema").filter(|_| is_spread)?;
    let required = schema.said("required").and_then(Value::as_array);
    let properties = schema.get("properties")?;
    let names = properties.value().as_object()?.keys();
    let part = |name: &'l String| {
        let listed = required.is_some_and(|names| names.iter().any(|other| other == name));
        let said = Said::AsProperty { required: parameter.is_required() && listed };
        Some(Parameter { place: parameter.place, name, cursor: properties.direct(name)?, said })
    };
    names.map(part).collect()
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
