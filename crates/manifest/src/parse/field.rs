//! Fields that several tables share: durations, commands, environment variables.

use std::collections::BTreeMap;

use lockstep_domain::build_variables::{RESERVED_PREFIX, is_reserved};

use crate::reader::{Field, Table};
use crate::value::{self, ValueError, VariableName};

/// Variables that Lockstep itself gives to every instance.
const GIVEN_BY_LOCKSTEP: [&str; 2] = ["HOST", "PORT"];

/// Reads an optional duration as milliseconds.
pub(super) fn duration(table: &Table<'_>, name: &'static str, example: &'static str) -> Option<u64> {
    let field = table.get(name, example)?;
    value::duration_ms(field.text()?).map_err(|error| field.wrong(error)).ok()
}

/// Reads for how long messages are kept, as milliseconds.
pub(super) fn retention(table: &Table<'_>, name: &'static str, example: &'static str) -> Option<u64> {
    let field = table.get(name, example)?;
    value::retention_ms(field.text()?).map_err(|error| field.wrong(error)).ok()
}

/// Reads an optional size in bytes.
pub(super) fn size(table: &Table<'_>, name: &'static str, example: &'static str) -> Option<u64> {
    let field = table.get(name, example)?;
    value::size_bytes(field.text()?).map_err(|error| field.wrong(error)).ok()
}

/// Reads a command: a string is split like a shell would, an array is taken as it is.
pub(super) fn command(field: &Field<'_>) -> Option<Vec<String>> {
    command_split_by(field, value::split_command)
}

/// Reads a command whose strings are split in a way of their own.
pub(super) fn command_split_by(
    field: &Field<'_>,
    split: impl Fn(&str) -> Result<Vec<String>, ValueError>,
) -> Option<Vec<String>> {
    let words = if let Some(text) = field.as_text() {
        split(text)
    } else if let Some(list) = field.as_list() {
        let words: Vec<Option<&str>> = list.iter().map(Field::text).collect();
        value::checked_command(words.into_iter().map(|word| word.map(str::to_owned)).collect::<Option<_>>()?)
    } else {
        field.wrong_type("a string or an array of strings");
        return None;
    };
    words.map_err(|error| wrong_command(field, &error)).ok()
}

fn wrong_command(field: &Field<'_>, error: &ValueError) {
    match error {
        ValueError::Shell { .. } => field.wrong_because(
            error,
            "write several steps, or ask for a shell: [\"sh\", \"-c\", \"...\"]; an array is taken word for word",
        ),
        _ => field.wrong(error),
    }
}

/// Reads names of environment variables, each once.
pub(super) fn variable_names(field: &Field<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for element in field.list().unwrap_or_default() {
        if let Some(VariableName(name)) = element.parse() {
            if is_reserved(&name) {
                element.wrong_because(
                    format_args!("`{name}` is Lockstep's own and never given to a build"),
                    "whoever has the token can change everything; name a variable of the build's own",
                );
            }
            if names.contains(&name) {
                element.wrong_because(format_args!("`{name}` is already in this list"), "remove it");
            }
            names.push(name);
        }
    }
    names
}

/// Reads a table of environment variables and their values.
pub(super) fn environment(table: &Table<'_>) -> BTreeMap<String, String> {
    let entries = table.entries("LOG = \"info\"");
    entries.iter().filter_map(|(key, field)| variable(key, field)).collect()
}

fn variable(key: &str, field: &Field<'_>) -> Option<(String, String)> {
    let name = key.parse::<VariableName>().map_err(|error| field.wrong_key(error)).ok()?.0;
    if GIVEN_BY_LOCKSTEP.contains(&key) || key.starts_with(RESERVED_PREFIX) {
        field.wrong_because(format_args!("`{name}` is set by Lockstep"), "remove it and read what is given");
        return None;
    }
    let text = field.text()?;
    if text.contains('\0') {
        field.wrong(ValueError::Nul);
        return None;
    }
    Some((name, text.to_owned()))
}
