//! `lockstep contract rules`: what a difference of contracts does to whom, rule by rule.

use std::fmt::Write as _;

use lockstep_contract::{Kind, Level, Rule, rule, rule_like, rules};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::output::style::Style;
use crate::output::table::Table;

/// The formats in the order of the page, with their names for people.
const KINDS: [(Kind, &str); 7] = [
    (Kind::OpenApi, "OpenAPI"),
    (Kind::Protobuf, "Protobuf"),
    (Kind::GraphQl, "GraphQL"),
    (Kind::Sql, "SQL migrations"),
    (Kind::JsonSchema, "Messages in JSON Schema"),
    (Kind::Avro, "Messages in Avro"),
    (Kind::AsyncApi, "AsyncAPI"),
];

const HEADER: &str = "<!-- Written by `lockstep contract rules --markdown`; a test compares. -->

# Rules of contracts

Every rule that `lockstep contract diff` knows. An `error` breaks somebody who kept to the old contract, and makes the verdict
`breaking`; a `warning` may be noticed; `info` breaks nobody. The bump is what the version number owes at least. A policy
or the place of a change may weigh it otherwise; the report says how. The id of a rule is stable: acceptances name it.
";

/// Lists and explains the rules.
///
/// Every rule says what changed, whom it breaks, what to do instead, how much the version number must rise, and shows an
/// example. The same is in docs/reference/contract-rules.md.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep contract rules
  lockstep contract rules --kind sql
  lockstep contract rules --explain operation-removed")]
pub(super) struct Args {
    /// Only the rules of this format.
    #[arg(long, value_name = "KIND", conflicts_with = "explain")]
    kind: Option<Kind>,
    /// Explain one rule.
    #[arg(long, value_name = "ID", conflicts_with = "markdown")]
    explain: Option<String>,
    /// Write the reference page of all rules.
    #[arg(long, hide = true)]
    markdown: bool,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        if self.markdown {
            return ctx.out.text(&markdown());
        }
        if let Some(id) = &self.explain {
            let rule = rule(id).ok_or_else(|| unknown(id))?;
            return ctx.out.show(rule, explanation);
        }
        let kind = self.kind;
        let list: Vec<&Rule> = rules().filter(|rule| kind.is_none_or(|kind| rule.kind == kind)).collect();
        if ctx.out.format == Format::Json {
            ctx.out.document(&list)
        } else {
            ctx.out.text(&table(&list, &ctx.out.style))
        }
    }
}

fn unknown(id: &str) -> Failure {
    let failure = Failure::new(Exit::NotFound, format!("there is no rule `{id}`"));
    match rule_like(id) {
        Some(rule) => failure.hint(format!("did you mean `lockstep contract rules --explain {}`?", rule.id)),
        None => failure.hint("lockstep contract rules"),
    }
}

fn table(list: &[&Rule], style: &Style) -> String {
    let mut table = Table::new(["RULE", "KIND", "LEVEL", "BUMP", "FLOW", "WHAT"]);
    for rule in list {
        let words =
            [rule.id, rule.kind.as_str(), rule.level.as_str(), &rule.bump.to_string(), rule.flow.as_str()];
        let [id, kind, level, bump, flow] = words.map(str::to_owned);
        table.row([id, kind, level, bump, flow, rule.summary.to_owned()]);
    }
    table.render(style)
}

fn explanation(rule: &Rule, style: &Style) -> String {
    let level = match rule.level {
        Level::Error => style.bad(rule.level.as_str()),
        Level::Warning => style.warn(rule.level.as_str()),
        Level::Info => rule.level.as_str().to_owned(),
    };
    let mut text = format!("{}: {}\n", style.strong(rule.id), rule.summary);
    let _ = writeln!(text, "{}, {level}, bump {}, {}\n", rule.kind, rule.bump, rule.flow);
    let _ = writeln!(text, "{}\n", rule.explanation);
    rule.example.lines().for_each(|line| {
        let _ = writeln!(text, "    {line}");
    });
    text
}

/// Writes the reference page.
fn markdown() -> String {
    let mut text = HEADER.to_owned();
    for (kind, name) in KINDS {
        let of_kind: Vec<&Rule> = rules().filter(|rule| rule.kind == kind).collect();
        let _ = writeln!(
            text,
            "\n## {name}\n\n| rule | level | bump | flow | what |\n| --- | --- | --- | --- | --- |"
        );
        for rule in &of_kind {
            let Rule { id, level, bump, flow, summary, .. } = rule;
            let _ = writeln!(text, "| [`{id}`](#{id}) | {level} | {bump} | {flow} | {} |", cell(summary));
        }
        of_kind.into_iter().for_each(|rule| write_rule(&mut text, rule));
    }
    text
}

fn write_rule(text: &mut String, rule: &Rule) {
    let Rule { id, level, bump, flow, summary, explanation, example, .. } = rule;
    let _ = writeln!(text, "\n### {id}\n\n{summary} ({level}, bump {bump}, {flow}).");
    if explanation != summary {
        let _ = writeln!(text, "\n{explanation}");
    }
    let _ = writeln!(text, "\n```\n{example}\n```");
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_the_rules_are() {
        let page = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/contract-rules.md"
        ));
        assert!(
            page.unwrap_or_default() == markdown(),
            "docs/reference/contract-rules.md is old; run \
             `cargo run -p lockstep-cli -- contract rules --markdown > docs/reference/contract-rules.md`"
        );
    }

    #[test]
    fn every_rule_is_on_the_page() {
        let page = markdown();
        for rule in rules() {
            assert!(page.contains(&format!("\n### {}\n", rule.id)), "{}", rule.id);
        }
    }
}
