//! OpenAPI 3.0, 3.1 and 3.2, and Swagger 2, as contracts between a provider and its consumers.
//!
//! Operations are matched by method and path; what they say beside schemas is compared here, schemas by
//! [`crate::schema`]. Requests are written by consumers and read by the provider, responses the other way round; in callbacks
//! and webhooks both are reversed.

mod answers;
mod bases;
mod body;
mod callbacks;
pub(crate) mod cursor;
mod oauth;
mod operations;
mod pair;
mod parameters;
mod responses;
pub(crate) mod rules;
mod security;
mod selection;
mod servers;
mod shape;
pub(crate) mod specification;
mod xml;

use std::collections::HashSet;

use serde_json::Value;

use crate::document::may_be_document;
use crate::draft::{Draft, DraftNotChecked, Drafts, Findings, Spot};
use crate::library::Library;
use crate::schema::report::{Demand, Presence, Site};
use crate::schema::rules::{ASPECTS, TOPICS};
use crate::schema::{Dialect, Medium, Schemas, Side, report};
use crate::{Change, Comparison, Flow, InputError, Options, Rule, Source};
pub(crate) use answers::Answers;
use cursor::Cursor;
pub(crate) use operations::METHODS;
use pair::Pair;
use selection::Selection;
use shape::Shape;

/// The rules of this format.
pub(crate) fn rules() -> impl Iterator<Item = &'static Rule> {
    rules::OPERATIONS.iter().copied().chain(ASPECTS).chain(TOPICS)
}

/// True when the entry is a document that says which OpenAPI or Swagger it is.
pub(crate) fn detect(source: &Source) -> bool {
    let Some((path, bytes)) = source.entry() else { return false };
    if !may_be_document(path, bytes) && !path.is_empty() && path.contains('.') {
        return false;
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        return declares_version(text);
    }
    text.lines().any(|line| {
        let line = line.trim_start_matches(['"', '\'']);
        line.starts_with("openapi") || line.starts_with("swagger")
    })
}

/// True when the root of a JSON document has the key, found without building the document.
fn declares_version(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Root {
        openapi: Option<serde::de::IgnoredAny>,
        swagger: Option<serde::de::IgnoredAny>,
    }
    let named = text.contains("\"openapi\"") || text.contains("\"swagger\"");
    let root = if named { serde_json::from_str::<Root>(text).ok() } else { None };
    root.map_or(named, |root| root.openapi.is_some() || root.swagger.is_some())
}

/// A contract that has been read.
#[derive(Debug)]
pub(crate) struct Contract<'a> {
    library: Library<'a>,
    dialect: Dialect,
    /// The version that the document names, when it is not one that is known.
    unknown_version: Option<String>,
}

/// Reads a contract of this format.
pub(crate) fn read(source: &Source) -> Result<Contract<'_>, Vec<InputError>> {
    let library = Library::load(source)?;
    let (dialect, unknown_version) = dialect(&library).map_err(|error| vec![error])?;
    Ok(Contract { library, dialect, unknown_version })
}

impl<'a> Contract<'a> {
    /// The documents of the contract.
    pub(crate) fn library(&self) -> &Library<'a> {
        &self.library
    }
}

/// Lists the operations of a contract, as `POST /charges`; webhooks as `WEBHOOK paid`.
pub(crate) fn operations(contract: &Contract<'_>) -> Vec<String> {
    selection::names(&Cursor::root(&contract.library, Side::Old))
}

/// What two names of one operation have in common: the method in capitals, and the path without names of parameters.
pub(crate) fn key(operation: &str) -> String {
    selection::key(operation)
}

/// Compares two contracts of this format in both directions.
pub(crate) fn compare(old: &Contract<'_>, new: &Contract<'_>, options: &Options) -> Comparison {
    compare_in(old, new, options, Directions::Both)
}

/// Compares what the named operations of the old contract, or all, are in the new one, from old to new only.
pub(crate) fn fit(
    used: &Contract<'_>,
    operations: &[String],
    offered: &Contract<'_>,
    options: &Options,
) -> crate::Findings {
    let root = Cursor::root(&used.library, Side::Old);
    let selection = (!operations.is_empty()).then(|| Selection::of(&root, operations));
    compare_in(used, offered, options, Directions::OldToNew(selection.as_ref())).deploy
}

/// Which answers are wanted.
#[derive(Clone, Copy)]
enum Directions<'s> {
    Both,
    /// Only what this selection holds; everything when there is none.
    OldToNew(Option<&'s Selection>),
}

fn compare_in(
    old: &Contract<'_>,
    new: &Contract<'_>,
    options: &Options,
    directions: Directions<'_>,
) -> Comparison {
    let selection = match directions {
        Directions::Both => None,
        Directions::OldToNew(selection) => selection,
    };
    let dialects = [old.dialect, new.dialect];
    let unknown_version = old.unknown_version.as_ref().or(new.unknown_version.as_ref());
    let (old, new) = (&old.library, &new.library);
    let engine = || Schemas::new((old, new), dialects, Flow::Request, options.unknown_fields);
    let (mut bodies, mut texts) = (engine(), engine().over(Medium::Text));
    let mut drafts = Drafts::default();
    let mut uses = Uses::default();
    let sides = [Cursor::root(old, Side::Old), Cursor::root(new, Side::New)];
    Comparer {
        bodies: &mut bodies,
        texts: &mut texts,
        uses: Some(&mut uses),
        findings: &mut drafts.deploy,
        options,
        selection,
        inherited: Inherited::Differs,
        seen_xml: HashSet::new(),
    }
    .contract(&sides[0], &sides[1]);
    if matches!(directions, Directions::Both) {
        Comparer {
            bodies: &mut bodies,
            texts: &mut texts,
            uses: None,
            findings: &mut drafts.roll_back,
            options,
            selection: None,
            inherited: Inherited::Differs,
            seen_xml: HashSet::new(),
        }
        .contract(&sides[1], &sides[0]);
        drafts.roll_back.turn();
    }
    report::compare(&mut bodies, Flow::Request, Demand::NewHoldsOld, &uses.request, &mut drafts);
    report::compare(&mut texts, Flow::Request, Demand::NewHoldsOld, &uses.parameters, &mut drafts);
    texts.turn_to(Flow::Response);
    report::compare(&mut texts, Flow::Response, Demand::OldHoldsNew, &uses.headers, &mut drafts);
    bodies.turn_to(Flow::Response);
    report::compare(&mut bodies, Flow::Response, Demand::OldHoldsNew, &uses.response, &mut drafts);
    if let Some(version) = unknown_version {
        let reason = format!("`{version}` is no version of OpenAPI that is known; 2.0, 3.0, 3.1 and 3.2 are");
        drafts.open_version("/openapi", reason, (old, new));
    }
    drafts.locate(old, new)
}

/// The dialect of a document, and its version when that is not one that is known.
fn dialect(library: &Library<'_>) -> Result<(Dialect, Option<String>), InputError> {
    let root = library.entry().value;
    let version = match (root.get("openapi"), root.get("swagger")) {
        (Some(version), _) | (None, Some(version)) => {
            version.as_str().map_or_else(|| version.to_string(), str::to_owned)
        }
        (None, None) => String::new(),
    };
    if !root.is_object() {
        return Err(InputError::new(&library.document(0).file, "the document is not a mapping").on_line(1));
    }
    let is = |known: &str| version == known || version.starts_with(&format!("{known}."));
    let unknown = Some(version.clone());
    if is("3.0") || is("2.0") || version == "3" || version == "2" {
        Ok((Dialect::OpenApi30, None))
    } else if is("3.1") || is("3.2") {
        Ok((Dialect::OpenApi31, None))
    } else if is("2") {
        Ok((Dialect::OpenApi30, unknown))
    } else if is("3") {
        Ok((Dialect::OpenApi31, unknown))
    } else {
        let line = library.document(0).lines(["/openapi"]).first().copied().unwrap_or(1);
        let message = format!("`{version}` is not a version of OpenAPI that is read");
        Err(InputError::new(&library.document(0).file, message)
            .on_line(line)
            .with_hint("use 2.0, 3.0, 3.1 or 3.2"))
    }
}

/// The uses of schemas found on the way, by flow.
#[derive(Default)]
struct Uses {
    request: Vec<Site>,
    parameters: Vec<Site>,
    headers: Vec<Site>,
    response: Vec<Site>,
}

/// One direction of a comparison. Uses of schemas are collected in the first direction only: schemas are compared both ways at once.
struct Comparer<'c, 'l> {
    /// The schemas of what travels as JSON.
    bodies: &'c mut Schemas<'l>,
    /// The schemas of what travels as text: parameters, headers, forms.
    texts: &'c mut Schemas<'l>,
    uses: Option<&'c mut Uses>,
    findings: &'c mut Findings,
    options: &'c Options,
    /// The operations of the old side that count; all when there is none.
    selection: Option<&'c Selection>,
    /// Whether operations inherit the same media types from both contracts.
    inherited: Inherited,
    /// The pairs of schemas whose XML was looked at.
    seen_xml: HashSet<(usize, usize)>,
}

/// Whether what parts take over from the whole is the same on both sides. Only then may equal parts be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inherited {
    Same,
    Differs,
}

/// Where a schema is used: what a person and a witness need to know.
struct Use {
    flow: Flow,
    label: String,
    medium: Medium,
    envelope: Vec<(&'static str, Value)>,
    slot: &'static str,
    presence: Presence,
}

impl Use {
    /// A body.
    fn body(flow: Flow) -> Self {
        let (label, envelope) = (String::new(), Vec::new());
        Self { flow, medium: Medium::Json, label, envelope, slot: "body", presence: Presence::Always }
    }

    /// A value that travels as text.
    fn text(flow: Flow) -> Self {
        Self { medium: Medium::Text, slot: "content", ..Self::body(flow) }
    }
}

impl<'l> Comparer<'_, 'l> {
    /// Files a change; `place` is told of the new side where it is there.
    fn change(
        &mut self,
        rule: &'static Rule,
        place: &Cursor<'l>,
        message: String,
        old: Option<Spot>,
        new: Option<Spot>,
    ) {
        let change = Change::new(rule, place.spot().place, message);
        self.findings.changes.push(Draft { change, old, new });
    }

    /// Adds what shows the change that was just filed.
    fn shown(&mut self, parts: Vec<(&'static str, Value)>) {
        if let Some(draft) = self.findings.changes.last_mut() {
            draft.change.witness =
                Some(parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        }
    }

    /// Files a change about something on both sides.
    fn changed(&mut self, rule: &'static Rule, pair: &Pair<'_, 'l>, message: String) {
        self.change(rule, pair.new, message, Some(pair.old.spot()), Some(pair.new.spot()));
    }

    /// Files a change about something that is gone; `from` is what it was taken from.
    fn removed(&mut self, rule: &'static Rule, gone: &Cursor<'l>, from: &Cursor<'l>, message: String) {
        self.change(rule, gone, message, Some(gone.spot()), Some(from.spot()));
    }

    /// Files a change about something new; `to` is what it was added to.
    fn added(&mut self, rule: &'static Rule, new: &Cursor<'l>, to: &Cursor<'l>, message: String) {
        self.change(rule, new, message, Some(to.spot()), Some(new.spot()));
    }

    fn not_checked(&mut self, pair: &Pair<'_, 'l>, reason: String) {
        let (old, new) = (pair.old.spot(), pair.new.spot());
        let place = new.place.clone();
        self.findings.not_checked.push(DraftNotChecked { place, reason, old: Some(old), new: Some(new) });
    }

    /// Remembers that a schema is used; a missing schema allows everything. `owners` are what the schemas stand in.
    fn schema_use(
        &mut self,
        owners: &Pair<'_, 'l>,
        (old, new): (&Shape<'l>, &Shape<'l>),
        used: impl FnOnce() -> Use,
    ) {
        let Some(uses) = &mut self.uses else { return };
        let used = used();
        let (schemas, sites) = match (used.flow, used.medium) {
            (Flow::Request, Medium::Text) => (&mut *self.texts, &mut uses.parameters),
            (Flow::Request, Medium::Json) => (&mut *self.bodies, &mut uses.request),
            (_, Medium::Text) => (&mut *self.texts, &mut uses.headers),
            (_, Medium::Json) => (&mut *self.bodies, &mut uses.response),
        };
        let mut node = |shape: &Shape<'l>| match shape {
            Shape::Any => crate::schema::NodeId::ANY,
            Shape::Schema(cursor) => schemas.schema(cursor.side, cursor.target.clone()),
            Shape::Form(fields) => {
                let fields = fields.iter().map(|field| {
                    (field.name, field.required, field.cursor.side, field.cursor.target.clone())
                });
                schemas.object_of(fields)
            }
        };
        let (old_node, new_node) = (node(old), node(new));
        if schemas.are_identical(old_node, new_node) {
            return;
        }
        let (old_spot, new_spot) = (owners.old.spot(), owners.new.spot());
        sites.push(Site {
            old: old_node,
            new: new_node,
            label: used.label,
            place: new_spot.place.clone(),
            old_spot: Some(old_spot),
            new_spot: Some(new_spot),
            envelope: used.envelope.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            slot: Some(used.slot),
            presence: used.presence,
        });
    }

    /// True when both sides have the same under a key, or nothing.
    fn is_same_under(&mut self, key: &str, old: &Cursor<'l>, new: &Cursor<'l>) -> bool {
        match (old.direct(key), new.direct(key)) {
            (None, None) => true,
            (Some(old), Some(new)) => self.is_same(&old, &new),
            _ => false,
        }
    }

    /// True when two values are the same as written, everything they refer to included.
    fn is_same(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) -> bool {
        let old = self.bodies.schema(old.side, old.target.clone());
        let new = self.bodies.schema(new.side, new.target.clone());
        self.bodies.are_identical(old, new)
    }
}
