//! Documents run by `jsonschema`: the schema that held them must allow them, the other one must not.

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::bundle::{Bundle, Reading};
use super::outcome::Outcome;
use crate::UnknownFields;
use crate::dialect::{Medium, Side};
use crate::library::Library;
use crate::trial::{Between, SchemaPlace};

/// The largest automaton of a pattern, in bytes: as much as the comparison's own.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// The validators of one report, made when they are first needed.
pub(super) struct Documents<'l> {
    old: &'l Library<'l>,
    new: &'l Library<'l>,
    unknown_fields: UnknownFields,
    validators: HashMap<(SchemaPlace, Option<&'static str>), Option<Validator>>,
}

impl<'l> Documents<'l> {
    pub(super) fn between(old: &'l Library<'l>, new: &'l Library<'l>, unknown_fields: UnknownFields) -> Self {
        Self { old, new, unknown_fields, validators: HashMap::new() }
    }

    pub(super) fn run(&mut self, witness: &Value, between: &Between) -> Outcome {
        let Some(document) = between.slot.map_or(Some(witness), |slot| witness.get(slot)) else {
            return Outcome::Open;
        };
        let readings = readings(document, between.medium);
        if readings.is_empty() {
            return Outcome::Open;
        }
        let mut allows = |place: &SchemaPlace| {
            let validator = self.validator(place, between.hides)?;
            Some(readings.iter().any(|reading| validator.is_valid(reading)))
        };
        match (allows(&between.held), allows(&between.holding)) {
            (Some(true), Some(false)) => Outcome::Fails,
            (Some(false), _) | (_, Some(true)) => Outcome::Stands,
            _ => Outcome::Open,
        }
    }

    fn validator(&mut self, place: &SchemaPlace, hides: Option<&'static str>) -> Option<&Validator> {
        let library = match place.side {
            Side::Old => self.old,
            Side::New => self.new,
        };
        let reading = Reading { hides, unknown_fields: self.unknown_fields };
        let made = || {
            let schema = Bundle::of(library, place, reading)?;
            let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_SIZE);
            let options = jsonschema::draft202012::options();
            options.should_validate_formats(true).with_pattern_options(patterns).build(&schema).ok()
        };
        self.validators.entry((place.clone(), hides)).or_insert_with(made).as_ref()
    }
}

/// What a document may be read as: where all is text, a scalar is also what its text says. Nothing where nobody can tell.
fn readings(document: &Value, medium: Medium) -> Vec<Value> {
    if medium == Medium::Json {
        return vec![document.clone()];
    }
    match document {
        Value::Array(_) | Value::Object(_) => Vec::new(),
        Value::String(text) => {
            let read = serde_json::from_str::<Value>(text).ok();
            let read = read.filter(|value| value.is_number() || value.is_boolean());
            [document.clone()].into_iter().chain(read).collect()
        }
        Value::Null => vec![Value::Null],
        scalar => vec![scalar.clone(), Value::String(scalar.to_string())],
    }
}
