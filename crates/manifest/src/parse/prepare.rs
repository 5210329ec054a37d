//! `prepare`: a command that runs before each start of a process.

use lockstep_domain::preparation::{Preparation, USUAL_PREPARE_TIMEOUT_MS};
use lockstep_domain::reference::Scope;

use super::field::duration;
use super::reference::{filled_command, names_its_port};
use crate::reader::{Field, Table};

pub(super) const EXAMPLE: &str =
    "prepare = \"./bin/warm\", or { command = \"./bin/warm\", timeout = \"2m\" }; it runs before each start";
const TIMEOUT: &str = "timeout = \"2m\"; 1m when left out";

/// Reads what is run before each start, where anything is.
pub(super) fn of(table: &Table<'_>, scope: &Scope<'_>, listens: bool) -> Option<Preparation> {
    let field = table.get("prepare", EXAMPLE)?;
    let preparation = preparation(&field, scope)?;
    if !listens && preparation.command.iter().any(|word| names_its_port(word, scope)) {
        field.wrong_because(
            "a worker whose health is not asked on a port has none, so `${self.port}` and `${self.host}` say nothing",
            "remove the reference",
        );
    }
    Some(preparation)
}

fn preparation(field: &Field<'_>, scope: &Scope<'_>) -> Option<Preparation> {
    let Some(table) = field.as_table() else {
        let command = filled_command(field, scope)?;
        return Some(Preparation { command, timeout_ms: USUAL_PREPARE_TIMEOUT_MS });
    };
    let command =
        table.require("command", "command = \"./bin/warm\"").and_then(|field| filled_command(&field, scope));
    let timeout_ms = duration(&table, "timeout", TIMEOUT).unwrap_or(USUAL_PREPARE_TIMEOUT_MS);
    table.finish();
    Some(Preparation { command: command?, timeout_ms })
}

/// Refuses it where no program of the version runs that it could come before.
pub(super) fn refuse(table: &Table<'_>, why: &str, hint: &str) {
    if let Some(field) = table.get("prepare", EXAMPLE) {
        field.wrong_because(why, hint);
    }
}
