//! An Avro schema as it is compared: types by number, so that those which hold themselves end.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::form::{Form, Spot, TypeId};
use super::logical::Logical;
use crate::document::Document;

/// All types of a contract.
#[derive(Debug)]
pub(crate) struct Schema<'a> {
    pub(super) documents: Vec<Document<'a>>,
    pub(super) types: Vec<Type>,
    /// The types of whole messages: one a file.
    pub(super) roots: Vec<TypeId>,
    /// Which types call themselves the same as a full name, by that name.
    pub(super) aliases: HashMap<String, Vec<TypeId>>,
}

impl Schema<'_> {
    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0]
    }

    /// The branches of a union, or the type alone.
    pub(super) fn branches(&self, id: TypeId) -> Vec<TypeId> {
        match &self.get(id).form {
            Form::Union(branches) => branches.clone(),
            _ => vec![id],
        }
    }

    /// A type as people name it.
    pub(super) fn title(&self, id: TypeId) -> String {
        let of = self.get(id);
        let base = match &of.form {
            Form::Union(branches) => {
                let titles: Vec<String> = branches.iter().map(|branch| self.title(*branch)).collect();
                return format!("[{}]", titles.join(", "));
            }
            form => form.tag(),
        };
        of.logical.as_ref().map_or(base.clone(), |logical| format!("{base} ({logical})"))
    }
}

/// One type.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) form: Form,
    pub(super) logical: Option<Logical>,
    pub(super) spot: Spot,
    /// What is said of it, as it stands.
    pub(super) said: Map<String, Value>,
}
