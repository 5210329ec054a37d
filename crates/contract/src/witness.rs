//! Witnesses run by somebody else before they are shown: documents by `jsonschema`, operations by `apollo-compiler`, bytes by
//! decoding them with `prost-reflect`.
//!
//! Whatever finds a difference also checks what shows it, but by its own reading of the contract. These validators share nothing
//! with it. Invariant: [`Change::shown`] gives nothing that was not run, or was run and does not fail. What an independent validator
//! cannot express (credentials, calls of operations that are gone, discriminators) rests on the comparison's own check. SQL is run on
//! real databases in the long test, Avro is read by resolution when it is made.

mod bundle;
mod documents;
mod graphql;
mod outcome;
mod protobuf;

use documents::Documents;
use graphql::Operations;
use outcome::Outcome;
use protobuf::Messages;

use crate::library::Library;
use crate::parsed::{Form, Parsed};
use crate::trial::Trial;
use crate::{Change, Options, Report, UnknownFields};

/// How many witnesses of one report are run, and so shown: more than a person reads, in a fraction of a second.
const MAX_RUN: usize = 2_000;

/// How the witnesses of a report fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tried {
    /// They fail, as an independent validator says too.
    pub confirmed: usize,
    /// An independent validator says that they do not fail; they are not shown.
    pub refuted: usize,
    /// No independent validator can tell; the comparison's own check stands.
    pub open: usize,
    /// Too many to be run; they are not shown.
    pub left_out: usize,
}

impl Report {
    /// Runs the witnesses of a report about these two contracts; only then they are shown. Those that do not fail are dropped.
    pub fn run_witnesses(&mut self, old: &Parsed<'_>, new: &Parsed<'_>, options: &Options) -> Tried {
        let mut tried = Tried::default();
        let due = self.changes.iter().filter(|change| change.witness.is_some()).take(MAX_RUN);
        let mut judge = Judge::of(old, new, options.unknown_fields, due);
        for change in self.changes.iter_mut().filter(|change| change.witness.is_some()) {
            if tried.confirmed + tried.refuted + tried.open >= MAX_RUN {
                change.witness = None;
                tried.left_out += 1;
                continue;
            }
            match judge.run(change) {
                Outcome::Fails => tried.confirmed += 1,
                Outcome::Open => tried.open += 1,
                Outcome::Stands => {
                    change.witness = None;
                    tried.refuted += 1;
                }
            }
            change.trial = Trial::Run;
        }
        tried
    }
}

/// Who runs the witnesses of a format.
enum Judge<'l> {
    Documents(Documents<'l>),
    GraphQl(Box<Operations<'l>>),
    Protobuf(Messages<'l>),
    Nobody,
}

impl<'l> Judge<'l> {
    fn of<'c>(
        old: &'l Parsed<'_>,
        new: &'l Parsed<'_>,
        unknown_fields: UnknownFields,
        due: impl Iterator<Item = &'c Change>,
    ) -> Self {
        match (library(&old.form), library(&new.form)) {
            (Some(old), Some(new)) => {
                let between = due.filter_map(|change| match &change.trial {
                    Trial::DueBetween(between) => Some(&**between),
                    Trial::Due | Trial::Run => None,
                });
                Self::Documents(Documents::between(old, new, unknown_fields, between))
            }
            _ => match &old.form {
                Form::GraphQl(_) => Self::GraphQl(Box::new(Operations::between(old.source, new.source))),
                Form::Protobuf(_) => Self::Protobuf(Messages::between(old.source, new.source)),
                _ => Self::Nobody,
            },
        }
    }

    fn run(&mut self, change: &Change) -> Outcome {
        let Some(witness) = &change.witness else { return Outcome::Open };
        match (self, &change.trial) {
            (Self::Documents(documents), Trial::DueBetween(between)) => documents.run(witness, between),
            (Self::GraphQl(operations), _) => operations.run(witness, change.flow),
            (Self::Protobuf(messages), _) => messages.run(witness),
            _ => Outcome::Open,
        }
    }
}

fn library<'l>(form: &'l Form<'_>) -> Option<&'l Library<'l>> {
    match form {
        Form::OpenApi(contract) => Some(contract.library()),
        Form::AsyncApi(contract) => Some(contract.library()),
        Form::JsonSchema(library) => Some(library),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
