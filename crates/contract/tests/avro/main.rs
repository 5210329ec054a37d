//! Avro contracts: every rule on a small pair in both directions, witnesses, reading, and hostile input.

mod hostile;
mod rules;

use lockstep_contract::{Kind, MessageRole, Options, Report, Source, diff_as};

/// Compares two schemas, of the reader unless said otherwise.
fn report(old: &str, new: &str) -> Report {
    report_as(MessageRole::Reader, old, new)
}

fn report_as(role: MessageRole, old: &str, new: &str) -> Report {
    let source = |text: &str| Source::file("schema.avsc", text.as_bytes());
    let options = Options { message_role: role, ..Options::default() };
    diff_as(Kind::Avro, &source(old), &source(new), &options).expect("both sides are valid")
}
