//! Documents run by `jsonschema`: the schema that held them must allow them, the other one must not.

use std::collections::{HashMap, HashSet};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Value, json};

use super::bundle::{Bundle, Reading};
use super::outcome::Outcome;
use crate::UnknownFields;
use crate::dialect::{Medium, Side};
use crate::library::Library;
use crate::trial::{Between, SchemaPlace};

/// The largest automaton of a pattern, in bytes: as much as the comparison's own.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// How many witnesses are run by validators of their own, where those of all cannot be made at once.
const MAX_ALONE: usize = 50;

/// The validators of one report.
pub(super) struct Documents<'l> {
    old: &'l Library<'l>,
    new: &'l Library<'l>,
    unknown_fields: UnknownFields,
    together: HashMap<(Side, Hidden), Option<(Bundle, Validator)>>,
    alone: HashMap<(SchemaPlace, Hidden), Option<(Bundle, Validator)>>,
}

/// The keyword of properties that do not travel.
type Hidden = Option<&'static str>;

impl<'l> Documents<'l> {
    /// Makes the validators for all that are going to be run.
    pub(super) fn between<'b>(
        old: &'l Library<'l>,
        new: &'l Library<'l>,
        unknown_fields: UnknownFields,
        due: impl Iterator<Item = &'b Between>,
    ) -> Self {
        let mut wanted: HashMap<(Side, Hidden), HashSet<&SchemaPlace>> = HashMap::new();
        for between in due {
            for place in [&between.held, &between.holding] {
                wanted.entry((place.side, between.hides)).or_default().insert(place);
            }
        }
        let mut documents =
            Self { old, new, unknown_fields, together: HashMap::new(), alone: HashMap::new() };
        for (key, places) in wanted {
            let bundle = documents.bundle(key, places.iter().copied());
            documents.together.insert(key, made(bundle));
        }
        documents
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
            let (bundle, validator) = self.validator(place, between.hides)?;
            let property = bundle.property(place)?;
            Some(readings.iter().any(|reading| validator.is_valid(&json!({&property: reading}))))
        };
        match (allows(&between.held), allows(&between.holding)) {
            (Some(true), Some(false)) => Outcome::Fails,
            (Some(false), _) | (_, Some(true)) => Outcome::Stands,
            _ => Outcome::Open,
        }
    }

    fn validator(&mut self, place: &SchemaPlace, hides: Hidden) -> Option<&(Bundle, Validator)> {
        if let Some(Some(together)) = self.together.get(&(place.side, hides)) {
            return Some(together);
        }
        let key = (place.clone(), hides);
        if !self.alone.contains_key(&key) && self.alone.len() >= MAX_ALONE {
            return None;
        }
        let bundle = self.bundle((place.side, hides), std::iter::once(place));
        self.alone.entry(key).or_insert_with(|| made(bundle)).as_ref()
    }

    fn bundle<'p>(
        &self,
        (side, hides): (Side, Hidden),
        places: impl Iterator<Item = &'p SchemaPlace> + Clone,
    ) -> Bundle {
        let library = match side {
            Side::Old => self.old,
            Side::New => self.new,
        };
        Bundle::of(library, places, Reading { hides, unknown_fields: self.unknown_fields })
    }
}

fn made(bundle: Bundle) -> Option<(Bundle, Validator)> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_SIZE);
    let options =
        jsonschema::draft202012::options().should_validate_formats(true).with_pattern_options(patterns);
    let validator = options.build(&bundle.document).ok()?;
    Some((bundle, validator))
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
