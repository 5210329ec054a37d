//! Operations run by `apollo-compiler`: the old schema must take them, and the new one refuse them where the change is about what is
//! asked.

use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use serde_json::Value;

use super::outcome::Outcome;
use crate::{Flow, Source};

/// Both schemas, read when the first operation is run; nothing where the validator does not take the schema itself.
pub(super) struct Operations<'l> {
    sources: [&'l Source; 2],
    schemas: Option<[Option<Valid<Schema>>; 2]>,
}

impl<'l> Operations<'l> {
    pub(super) fn between(old: &'l Source, new: &'l Source) -> Self {
        Self { sources: [old, new], schemas: None }
    }

    pub(super) fn run(&mut self, witness: &Value, flow: Flow) -> Outcome {
        let operation = witness["operation"].as_str().filter(|text| !text.starts_with("fragment"));
        let sources = self.sources;
        let schemas = self.schemas.get_or_insert_with(|| sources.map(read));
        let (Some(operation), [Some(old), Some(new)]) = (operation, schemas) else { return Outcome::Open };
        let takes =
            |schema| ExecutableDocument::parse_and_validate(schema, operation, "witness.graphql").is_ok();
        match (takes(old), takes(new), flow) {
            (true, false, _) | (true, true, Flow::Response) => Outcome::Fails,
            _ => Outcome::Stands,
        }
    }
}

/// Reads a schema in SDL; one that is not whole is nothing a validator takes.
fn read(source: &Source) -> Option<Valid<Schema>> {
    let mut builder = Schema::builder().adopt_orphan_extensions();
    for (path, content) in source.files() {
        builder = builder.parse(std::str::from_utf8(content).ok()?, path);
    }
    builder.build().ok()?.validate().ok()
}
