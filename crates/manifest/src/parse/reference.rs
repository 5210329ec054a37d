//! References in the values of `[run]`: each must be known, and nothing that is secret stands where everybody can read it.

use std::collections::BTreeSet;

use lockstep_domain::ServiceName;
use lockstep_domain::reference::{self, Called, Reader, Reference};

use super::field::command_split_by;
use crate::reader::{Field, Table};
use crate::value;

/// What references may name.
pub(super) type Required<'a> = BTreeSet<&'a ServiceName>;

/// Reads a command whose words may have references.
pub(super) fn filled_command(field: &Field<'_>, required: &Required<'_>) -> Option<Vec<String>> {
    let words = command_split_by(field, value::split_filled_command)?;
    let reader = if value::is_shell(&words[0]) { Reader::Shell } else { Reader::Program };
    for word in &words {
        if check(field, word, reader, required)?
            .iter()
            .any(|found| matches!(found, Reference::Service(_, Called::Url)))
        {
            field.wrong_because(
                "the address of another service has a token in it, and every user of the machine sees arguments",
                "give it by a variable, env = { PAYMENTS = \"${service.payments.url}\" }, or give the host and the port, which have none",
            );
            return None;
        }
    }
    Some(words)
}

/// Checks the values of variables.
pub(super) fn filled_variables(table: &Table<'_>, required: &Required<'_>) {
    for (_, field) in table.entries("LISTEN = \"${self.host}:${self.port}\"") {
        if let Some(text) = field.as_text() {
            check(&field, text, Reader::Program, required);
        }
    }
}

/// Refuses references to the own port of what has none.
pub(super) fn refuse_own_port(
    (command, words): (Option<&Field<'_>>, Option<&[String]>),
    variables: Option<&Table<'_>>,
    required: &Required<'_>,
    why: &str,
    hint: &str,
) {
    let words = words.unwrap_or_default();
    if let Some(field) = command.filter(|_| words.iter().any(|word| names_its_port(word, required))) {
        field.wrong_because(why, hint);
    }
    let entries = variables.map(|variables| variables.entries("LOG = \"info\"")).unwrap_or_default();
    let naming = |field: &Field<'_>| field.as_text().is_some_and(|text| names_its_port(text, required));
    let fields = entries.iter().map(|(_, field)| field).filter(|field| naming(field));
    fields.for_each(|field| field.wrong_because(why, hint));
}

pub(super) fn names_its_port(text: &str, required: &Required<'_>) -> bool {
    reference::check(text, Reader::Program, required)
        .is_ok_and(|found| found.iter().any(Reference::names_its_port))
}

fn check(field: &Field<'_>, text: &str, reader: Reader, required: &Required<'_>) -> Option<Vec<Reference>> {
    let hint = || format!("there are {}", reference::known_names(required.iter().copied()).join(", "));
    reference::check(text, reader, required).map_err(|error| field.wrong_because(error, hint())).ok()
}
