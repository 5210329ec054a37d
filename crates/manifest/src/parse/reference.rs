//! References in the values of `[run]`: each must be known, and nothing that is secret stands where everybody can read it.

use lockstep_domain::reference::{self, Reader, Reference, Scope};

use super::field::command_split_by;
use crate::reader::{Field, Table};
use crate::value;

/// Reads a command whose words may have references.
pub(super) fn filled_command(field: &Field<'_>, scope: &Scope<'_>) -> Option<Vec<String>> {
    let words = command_split_by(field, value::split_filled_command)?;
    let reader = if value::is_shell(&words[0]) { Reader::Shell } else { Reader::Program };
    for word in &words {
        if let Some(secret) = check(field, word, reader, scope)?.iter().find(|found| found.is_secret()) {
            secret_in_command(field, secret);
            return None;
        }
    }
    Some(words)
}

fn secret_in_command(field: &Field<'_>, secret: &Reference) {
    let (why, hint) = match secret {
        Reference::Resource(..) => (
            format!("`${{{secret}}}` may hold a password, and every user of the machine sees arguments"),
            format!("give it by a variable, env = {{ DATABASE_URL = \"${{{secret}}}\" }}, or by a file, files = [\"app.conf\"]"),
        ),
        _ => (
            "the address of another service has a token in it, and every user of the machine sees arguments".to_owned(),
            "give it by a variable, env = { PAYMENTS = \"${service.payments.url}\" }, or give the host and the port, which have none".to_owned(),
        ),
    };
    field.wrong_because(why, hint);
}

/// Checks the values of variables.
pub(super) fn filled_variables(table: &Table<'_>, scope: &Scope<'_>) {
    for (_, field) in table.entries("LISTEN = \"${self.host}:${self.port}\"") {
        if let Some(text) = field.as_text() {
            check(&field, text, Reader::Program, scope);
        }
    }
}

/// Refuses references to the own port of what has none.
pub(super) fn refuse_own_port(
    (command, words): (Option<&Field<'_>>, Option<&[String]>),
    variables: Option<&Table<'_>>,
    scope: &Scope<'_>,
    why: &str,
    hint: &str,
) {
    let words = words.unwrap_or_default();
    if let Some(field) = command.filter(|_| words.iter().any(|word| names_its_port(word, scope))) {
        field.wrong_because(why, hint);
    }
    let entries = variables.map(|variables| variables.entries("LOG = \"info\"")).unwrap_or_default();
    let naming = |field: &Field<'_>| field.as_text().is_some_and(|text| names_its_port(text, scope));
    let fields = entries.iter().map(|(_, field)| field).filter(|field| naming(field));
    fields.for_each(|field| field.wrong_because(why, hint));
}

pub(super) fn names_its_port(text: &str, scope: &Scope<'_>) -> bool {
    reference::check(text, Reader::Program, scope)
        .is_ok_and(|found| found.iter().any(Reference::names_its_port))
}

fn check(field: &Field<'_>, text: &str, reader: Reader, scope: &Scope<'_>) -> Option<Vec<Reference>> {
    let hint = || format!("there are {}", reference::known_names(scope).join(", "));
    reference::check(text, reader, scope).map_err(|error| field.wrong_because(error, hint())).ok()
}
