//! `lockstep compat`: which versions of two services work together.

use std::fmt::Write as _;

use lockstep_api::types::{CompatMatrix, CompatRow};
use lockstep_domain::ServiceName;
use lockstep_domain::compat::{Basis, Pair};
use lockstep_domain::contract::Verdict;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::wide;

/// Reasons that are listed below a matrix.
const MAX_REASONS: usize = 20;

/// Shows which versions of two services work together.
///
/// A row is a version of the service that requires the other, a column a version of the other. `yes` and `no` come from
/// contracts where both have one; `yes*` and `no*` from the declared range of versions, because contracts could not tell;
/// `?` is not checked, and `-` requires nothing. The first reason of every `no` and `?` is listed below.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep compat orders payments\n  lockstep compat orders payments --json"
)]
pub(crate) struct Args {
    /// One service.
    #[arg(value_name = "SERVICE")]
    one: ServiceName,
    /// The other.
    #[arg(value_name = "OTHER")]
    other: ServiceName,
    /// Most versions of each service that are shown, the newest first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    versions: usize,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let mut matrices = ctx.client.compat(&self.one, &self.other)?;
        for matrix in &mut matrices {
            cut(matrix, self.versions.max(1));
        }
        ctx.out.show(&matrices, |matrices, style| {
            matrices.iter().map(|matrix| render(matrix, style)).collect::<Vec<_>>().join("\n")
        })
    }
}

fn cut(matrix: &mut CompatMatrix, versions: usize) {
    matrix.providers.truncate(versions);
    matrix.rows.truncate(versions);
    matrix.rows.iter_mut().for_each(|row| row.cells.truncate(versions));
}

fn render(matrix: &CompatMatrix, style: &Style) -> String {
    let CompatMatrix { consumer, provider, providers, rows } = matrix;
    let heading = std::iter::once(format!("{consumer} \\ {provider}"));
    let heading: Vec<_> = heading.chain(providers.iter().map(ToString::to_string)).collect();
    let cells = |row: &CompatRow| {
        let cells = row.cells.iter().map(|cell| word(cell.as_ref()).to_owned());
        std::iter::once(row.version.to_string()).chain(cells).collect()
    };
    let mut text = wide(&heading, &rows.iter().map(cells).collect::<Vec<_>>(), style);
    let reasons = reasons(matrix);
    if !reasons.is_empty() {
        text.push('\n');
    }
    for reason in reasons.iter().take(MAX_REASONS) {
        let _ = writeln!(text, "{}", printable(reason));
    }
    if reasons.len() > MAX_REASONS {
        let _ = writeln!(text, "and {} more reasons: --json has all", reasons.len() - MAX_REASONS);
    }
    if rows.iter().flat_map(|row| &row.cells).flatten().any(|pair| pair.basis == Basis::Range) {
        text.push_str("* by the declared range of versions: no contract tells\n");
    }
    text
}

const fn word(pair: Option<&Pair>) -> &'static str {
    let Some(pair) = pair else { return "-" };
    match (pair.verdict, pair.basis) {
        (Verdict::Compatible, Basis::Contract) => "yes",
        (Verdict::Compatible, Basis::Range) => "yes*",
        (Verdict::Breaking, Basis::Contract) => "no",
        (Verdict::Breaking, Basis::Range) => "no*",
        (Verdict::NotChecked, _) => "?",
    }
}

/// The first reason of every cell that is not yes; pairs with the same reason are listed together.
fn reasons(matrix: &CompatMatrix) -> Vec<String> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for row in &matrix.rows {
        for (provider, pair) in matrix.providers.iter().zip(&row.cells) {
            let Some(pair) = pair.as_ref().filter(|pair| pair.verdict != Verdict::Compatible) else {
                continue;
            };
            let why = pair.reasons.first().cloned().unwrap_or_default();
            let reason = format!("{}: {why}", word(Some(pair)));
            let cell = format!("{} with {provider}", row.version);
            match found.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, cells)) => cells.push(cell),
                None => found.push((reason, vec![cell])),
            }
        }
    }
    let line = |(reason, cells): (String, Vec<String>)| {
        let more = cells.len().saturating_sub(1);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more pairs)") };
        format!("{}{more}: {reason}", cells[0])
    };
    found.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(verdict: Verdict, basis: Basis, reason: &str) -> Option<Pair> {
        let reasons = if reason.is_empty() { Vec::new() } else { vec![reason.to_owned()] };
        Some(Pair { verdict, basis, reasons, promised: false })
    }

    #[test]
    fn a_matrix_has_a_word_for_every_pair_and_a_reason_for_every_no() {
        let row = |version: &str, cells| CompatRow {
            version: version.parse().expect("a version"),
            requires: None,
            cells,
        };
        let matrix = CompatMatrix {
            consumer: "orders".parse().expect("a name"),
            provider: "payments".parse().expect("a name"),
            providers: ["2.0.0", "1.0.0"].map(|version| version.parse().expect("a version")).into(),
            rows: vec![
                row(
                    "1.1.0",
                    vec![
                        pair(Verdict::Compatible, Basis::Contract, ""),
                        pair(Verdict::NotChecked, Basis::Contract, "`not`"),
                    ],
                ),
                row("1.0.0", vec![pair(Verdict::Breaking, Basis::Range, "not in ^1"), None]),
            ],
        };
        assert_eq!(
            render(&matrix, &Style::new(false)),
            "orders \\ payments  2.0.0  1.0.0\n\
             1.1.0              yes    ?\n\
             1.0.0              no*    -\n\
             \n\
             1.1.0 with 1.0.0: ?: `not`\n\
             1.0.0 with 2.0.0: no*: not in ^1\n\
             * by the declared range of versions: no contract tells\n"
        );
    }
}
