//! Whether an answer is what the contract says of its operation.

use std::collections::HashMap;

use serde_json::Value;

use super::body::MediaType;
use super::cursor::Cursor;
use super::operations::{Operation, entries, operations};
use super::responses::{covering_status, response_media_types};
use super::shape::Shape;
use super::{Contract, selection};
use crate::answer::Answered;
use crate::schema::{NodeId, Schemas, Side};
use crate::{Flow, UnknownFields};

/// What is said of answers of one status: its media types, and the schema of each.
struct Promise {
    status: String,
    media_types: Vec<(String, NodeId)>,
}

/// What a contract says of the answers of its operations.
pub(crate) struct Answers<'l> {
    schemas: Schemas<'l>,
    operations: HashMap<String, Vec<Promise>>,
}

impl<'l> Answers<'l> {
    /// Gathers what a contract says.
    pub(crate) fn of(contract: &'l Contract<'l>) -> Self {
        let library = &contract.library;
        let dialects = [contract.dialect, contract.dialect];
        let schemas = Schemas::new((library, library), dialects, Flow::Response, UnknownFields::default());
        let mut answers = Self { schemas, operations: HashMap::new() };
        let root = Cursor::root(library, Side::Old);
        for (path, item) in entries(&root, "paths") {
            for operation in operations(path, &item, &root) {
                let promises = answers.promises(&operation);
                answers.operations.insert(selection::key(&operation.name()), promises);
            }
        }
        answers
    }

    fn promises(&mut self, operation: &Operation<'_, 'l>) -> Vec<Promise> {
        let responses = entries(&operation.cursor, "responses");
        let promise = |(status, response): &(&'l str, Cursor<'l>)| {
            let types = response_media_types(response, operation);
            let types = types.into_iter().map(|one| (one.name.clone(), self.node(&one)));
            Promise { status: (*status).to_owned(), media_types: types.collect() }
        };
        responses.iter().map(promise).collect()
    }

    fn node(&mut self, media_type: &MediaType<'l>) -> NodeId {
        match &media_type.shape {
            Shape::Schema(cursor) => self.schemas.schema(cursor.side, cursor.target.clone()),
            Shape::Any | Shape::Form(_) => NodeId::ANY,
        }
    }

    /// Tells whether the contract says anything of the answers of an operation.
    pub(crate) fn speaks_of(&self, operation: &str) -> bool {
        let promises = self.operations.get(&selection::key(operation));
        promises.is_some_and(|promises| promises.iter().any(|promise| !promise.media_types.is_empty()))
    }

    /// Compares an answer with what is said of it.
    pub(crate) fn check(&mut self, operation: &str, status: u16, media_type: &str, body: &str) -> Answered {
        let Some(promises) = self.operations.get(&selection::key(operation)) else {
            return Answered::Unknown;
        };
        let status = status.to_string();
        let Some(promise) = covering(&status, promises) else { return Answered::Unknown };
        if promise.media_types.is_empty() {
            return Answered::Unknown;
        }
        let Some(node) = node_of(media_type, &promise.media_types) else {
            let wanted: Vec<_> = promise.media_types.iter().map(|(name, _)| format!("`{name}`")).collect();
            let given =
                if media_type.is_empty() { "no media type".to_owned() } else { format!("`{media_type}`") };
            let wanted = wanted.join(" or ");
            return Answered::Broken(format!("it is {given}, and the contract says {wanted}"));
        };
        if !is_json(media_type) {
            return Answered::Unknown;
        }
        let Ok(value) = serde_json::from_str::<Value>(body) else {
            return Answered::Broken("the body is not JSON".to_owned());
        };
        match self.schemas.wrong(node, &value) {
            Some(why) => Answered::Broken(why),
            None => Answered::AsPromised,
        }
    }
}

/// The promise that speaks of a status.
fn covering<'p>(status: &str, promises: &'p [Promise]) -> Option<&'p Promise> {
    let statuses = promises.iter().map(|promise| promise.status.as_str());
    covering_status(status, statuses).map(|index| &promises[index])
}

/// The schema of the media type, or of a range that holds it.
fn node_of(media_type: &str, promised: &[(String, NodeId)]) -> Option<NodeId> {
    let kind = media_type.split('/').next().unwrap_or_default();
    let ranges = [media_type.to_owned(), format!("{kind}/*"), "*/*".to_owned()];
    let essence = |name: &str| name.split(';').next().unwrap_or_default().to_owned();
    ranges
        .iter()
        .find_map(|range| promised.iter().find(|(name, _)| essence(name) == *range))
        .map(|(_, node)| *node)
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}
