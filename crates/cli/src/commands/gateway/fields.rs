//! `lockstep gateway fields`: what can stand in a route table?

use std::fmt::Write as _;

use lockstep_gateway::fields::{Default, FieldDoc, Section, sections, texts};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::style::Style;
use crate::output::table::Table;

const HEADER: &str = "<!-- Written by `lockstep gateway fields --markdown`; a test compares. -->

# The route table

Every field of the JSON document that a gateway serves, as `lockstep gateway run --table FILE` reads it and as the server hands it out. `since`
is the first format that has a field: a table has the lowest `format` with everything of it, and a gateway refuses one that is higher than it knows. A table
that a person wrote is refused with line and field for a key that is not here; what the table of a newer server says beside it, in a format that the gateway knows, is passed over. `lockstep gateway check FILE` looks at one.
";

/// Lists the fields of a route table.
///
/// Of each: its type, unit, what holds where it is left out, the first format that has it, and what it means. The same is in
/// docs/reference/route-table.md.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep gateway fields\n  lockstep gateway fields Redirect")]
pub(super) struct FieldsArgs {
    /// Only this object of the table.
    #[arg(value_name = "OBJECT", conflicts_with = "markdown")]
    object: Option<String>,
    /// Write the reference page.
    #[arg(long, hide = true)]
    markdown: bool,
}

impl FieldsArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        if self.markdown {
            return out.text(&markdown());
        }
        let is_wanted =
            |it: &Section| self.object.as_ref().is_none_or(|name| it.name.eq_ignore_ascii_case(name));
        let wanted: Vec<_> = sections().into_iter().filter(is_wanted).collect();
        if let (true, Some(name)) = (wanted.is_empty(), &self.object) {
            let failure = Failure::new(Exit::NotFound, format!("a route table has no object `{name}`"));
            return Err(failure.hint("lockstep gateway fields"));
        }
        out.show(&json!({ "objects": wanted, "texts": texts() }), |_, style| {
            wanted.iter().map(|section| text(section, style)).collect::<Vec<_>>().join("\n")
        })
    }
}

fn text(section: &Section, style: &Style) -> String {
    let mut table = Table::new(["FIELD", "TYPE", "UNIT", "DEFAULT", "SINCE", "MEANS"]);
    for field in &section.fields {
        let FieldDoc { name, kind, unit, since, means, .. } = field;
        table.row([
            name.clone(),
            kind.clone(),
            unit.clone().unwrap_or_default(),
            default(field),
            since.to_string(),
            means.clone(),
        ]);
    }
    format!("{}: {}\n{}", style.strong(&section.name), section.means, table.render(style))
}

fn default(field: &FieldDoc) -> String {
    match &field.default {
        Default::Required => "required".to_owned(),
        Default::Value(value) => value.to_string(),
        Default::Nothing => "none".to_owned(),
        Default::Choice => String::new(),
    }
}

/// Writes the reference page.
fn markdown() -> String {
    let mut text = HEADER.to_owned();
    let sections = sections();
    for section in &sections {
        write_section(&mut text, section, &sections);
    }
    text.push_str("\n## Texts\n\n| name | what it is |\n| --- | --- |\n");
    for (name, means) in texts() {
        let _ = writeln!(text, "| {name} | {} |", cell(&means));
    }
    text
}

fn write_section(text: &mut String, section: &Section, all: &[Section]) {
    let Section { name, places, means, fields } = section;
    let places: Vec<_> = places.iter().filter(|it| !it.is_empty()).map(|it| format!("`{it}`")).collect();
    let at = if places.is_empty() { String::new() } else { format!(" At {}.", places.join(", ")) };
    let _ = writeln!(text, "\n## {name}\n\n{means}{at}\n");
    if fields.iter().all(|field| field.default == Default::Choice) {
        text.push_str("| one of | with | unit | what it means |\n| --- | --- | --- | --- |\n");
        for field in fields {
            let (kind, unit) = (linked(&field.kind, all), field.unit.as_deref().unwrap_or_default());
            let kind = if kind == "word" { String::new() } else { kind };
            let _ = writeln!(text, "| `{}` | {kind} | {unit} | {} |", field.name, cell(&field.means));
        }
        return;
    }
    text.push_str(
        "| field | type | unit | default | since | what it means |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for field in fields {
        let default = match &field.default {
            Default::Value(value) => format!("`{value}`"),
            _ => default(field),
        };
        let (kind, unit) = (linked(&field.kind, all), field.unit.as_deref().unwrap_or_default());
        let (name, since, means) = (&field.name, field.since, cell(&field.means));
        let _ = writeln!(text, "| `{name}` | {kind} | {unit} | {default} | {since} | {means} |");
    }
}

/// Links the last word of a type, or the one before ` by name`, where it is an object of the page.
fn linked(kind: &str, all: &[Section]) -> String {
    let link = |word: &str| match all.iter().find(|section| section.name == word) {
        Some(section) => format!("[{word}](#{})", section.name.to_lowercase()),
        None => word.to_owned(),
    };
    kind.split(' ').map(link).collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_the_types_are() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/route-table.md");
        assert!(
            std::fs::read_to_string(page).unwrap_or_default() == markdown(),
            "docs/reference/route-table.md is not current: \
             `cargo run -p lockstep-cli -- gateway fields --markdown > docs/reference/route-table.md`"
        );
    }
}
