//! Whether a condition follows from others, for every row there could be.
//!
//! A condition is made of terms that are compared with literals, and of parts that nothing is known of but whether they hold. Between
//! two literals, all values of a term are alike, so that some values of each stand for all. What cannot be read in this way
//! follows from nothing but itself. A term may be given more values than it can have, never fewer.

mod formula;
mod reader;

use std::collections::BTreeMap;

use formula::{Chosen, Formula, Sample, Term};
use reader::Reader;
pub(super) use reader::is_steady;
use sqlparser::ast::{BinaryOperator as Binary, Expr};

use super::{evaluate::Condition, state::Table};
use crate::SqlDialect;

/// Most rows that are tried; more are not looked at, and prove nothing.
const MAX_ROWS: usize = 20_000;
/// Longer conditions are not looked at, as they nest with every `AND`: they follow from nothing.
pub(super) const MAX_LENGTH: usize = 2_000;

/// What it means to meet a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meets {
    /// A demand on a row: it must not be false.
    NotFalse,
    /// A filter of rows: it must be true.
    True,
}

impl Meets {
    fn met(self, outcome: Option<bool>) -> bool {
        match self {
            Self::NotFalse => outcome != Some(false),
            Self::True => outcome == Some(true),
        }
    }
}

/// Says whether every row of a table that meets the premises meets the conclusion. Without a table, nothing is known of
/// the columns.
pub(super) fn follows(
    dialect: SqlDialect,
    table: Option<&Table>,
    (premises, conclusion): (&[&str], &str),
    meets: Meets,
) -> bool {
    let mut reader = Reader::new(dialect, table);
    if conclusion.len() > MAX_LENGTH {
        return false;
    }
    let Some(conclusion) = Condition::read(dialect, conclusion) else { return false };
    let conclusion: Option<Vec<_>> =
        conjuncts(conclusion.expr()).into_iter().map(|part| reader.formula(part)).collect();
    let Some(conclusion) = conclusion else { return false };
    let premises: Vec<_> = premises
        .iter()
        .filter(|text| text.len() <= MAX_LENGTH)
        .filter_map(|text| Condition::read(dialect, text))
        .collect();
    let premises: Vec<_> = premises
        .iter()
        .flat_map(|premise| conjuncts(premise.expr()))
        .filter_map(|part| reader.formula(part))
        .collect();
    conclusion.iter().all(|part| reader.proves(&premises, part, meets))
}

/// The conditions that a conjunction is made of: it is false where one of them is, and true where all are.
pub(super) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Nested(inner) => conjuncts(inner),
        Expr::BinaryOp { left, op: Binary::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        other => vec![other],
    }
}

impl Reader<'_> {
    /// Tries every kind of row; first with the premises that are about nothing else.
    fn proves(&self, premises: &[Formula], conclusion: &Formula, meets: Meets) -> bool {
        let about = conclusion.names();
        let narrow: Vec<&Formula> = premises.iter().filter(|one| one.names().is_subset(&about)).collect();
        let wide: Vec<&Formula> = premises.iter().filter(|one| !one.names().is_disjoint(&about)).collect();
        self.holds_in_all(&narrow, conclusion, meets)
            || wide.len() > narrow.len() && self.holds_in_all(&wide, conclusion, meets)
    }

    fn holds_in_all(&self, premises: &[&Formula], conclusion: &Formula, meets: Meets) -> bool {
        let mut names = conclusion.names();
        premises.iter().for_each(|premise| names.extend(premise.names()));
        let names: Vec<&str> = names.into_iter().collect();
        let chosen: Vec<Vec<Chosen>> = names.iter().map(|name| self.chosen(name)).collect();
        let rows = chosen.iter().try_fold(1_usize, |rows, some| rows.checked_mul(some.len()));
        let Some(rows) = rows.filter(|rows| *rows <= MAX_ROWS) else { return false };
        (0..rows).all(|mut number| {
            let row: BTreeMap<&str, &Chosen> = names
                .iter()
                .zip(&chosen)
                .map(|(name, some)| {
                    let one = &some[number % some.len()];
                    number /= some.len();
                    (*name, one)
                })
                .collect();
            !premises.iter().all(|premise| meets.met(premise.outcome(&row)))
                || meets.met(conclusion.outcome(&row))
        })
    }

    fn chosen(&self, name: &str) -> Vec<Chosen> {
        let mut chosen = Vec::new();
        let samples = self.terms.get(name).map(Term::samples).unwrap_or_else(|| vec![Sample::Null]);
        let outcomes: &[Option<bool>] = match self.open.get(name) {
            None => &[None],
            Some(true) => &[Some(true), Some(false)],
            Some(false) => &[Some(true), Some(false), None],
        };
        for sample in &samples {
            chosen.extend(outcomes.iter().map(|holds| Chosen { value: sample.clone(), holds: *holds }));
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(premise: &str, conclusion: &str) -> bool {
        follows(SqlDialect::PostgreSql, None, (&[premise], conclusion), Meets::NotFalse)
    }

    #[test]
    fn what_follows_is_found() {
        for (premise, conclusion) in [
            ("a > 0", "a > -1"),
            ("a > 0", "a > 0"),
            ("0 < a", "a >= 0"),
            ("a >= 1 AND b < 3", "b <= 3"),
            ("a BETWEEN 1 AND 5", "a >= 0 AND a <= 10"),
            ("a = 3", "a IN (2, 3)"),
            ("a IN (1, 2)", "a IN (1, 2, 3)"),
            ("a IN ('x', 'y')", "a <> 'z'"),
            ("a IS NOT NULL", "a IS NOT NULL OR b IS NOT NULL"),
            ("a IS NOT NULL AND a > 3", "a IS NOT NULL"),
            ("a IS NULL", "a > 7"),
            ("NOT (a <= 0)", "a > 0"),
            ("a > 0 OR b", "b OR a > -5"),
            ("length(a) > 3 AND b > 0", "length(a) > 2"),
            ("b LIKE 'x%'", "b LIKE 'x%' OR a > 0"),
            ("a IS DISTINCT FROM NULL", "a IS NOT NULL"),
            ("(a > 1) IS TRUE", "a > 0 AND a IS NOT NULL"),
            ("a > 0", "a <> 0"),
            ("a NOT IN (1, 2)", "a <> 2"),
        ] {
            assert!(check(premise, conclusion), "{premise} => {conclusion}");
        }
    }

    #[test]
    fn what_does_not_follow_is_not_proved() {
        for (premise, conclusion) in [
            ("a > -1", "a > 0"),
            ("a > 0", "a >= 1"),
            ("a > 0", "a IS NOT NULL"),
            ("a > 0", "a > 0 AND a IS NOT NULL"),
            ("a > b", "a > 0"),
            ("a IN (1, 2, 3)", "a IN (1, 2)"),
            ("a IN ('x', 'Y')", "a <> 'y'"),
            ("a > 'b'", "a > 'a'"),
            ("random() > 0.5", "random() > 0.5"),
            ("frob(a)", "frob(a)"),
            ("a = '5'", "a = 5"),
            ("a IS NOT NULL OR b IS NOT NULL", "a IS NOT NULL"),
            ("a <> 0", "a > 0"),
            ("a > 9007199254740993", "a > 9007199254740992"),
            ("(a > 1) IS NOT FALSE", "a IS NOT NULL"),
            ("a > now()", "a > now()"),
        ] {
            assert!(!check(premise, conclusion), "{premise} => {conclusion}");
        }
    }

    #[test]
    fn long_conditions_are_not_looked_at() {
        let long = vec!["a > 0"; 1_500].join(" AND ");
        assert!(!check(&long, "a > -1") && !check("a > 0", &long));
    }

    #[test]
    fn a_filter_must_be_true_and_a_demand_not_false() {
        let of = |premise, conclusion, meets| {
            follows(SqlDialect::PostgreSql, None, (&[premise], conclusion), meets)
        };
        assert!(of("a > 0", "a IS NOT NULL", Meets::True));
        assert!(!of("a > 0", "a IS NOT NULL", Meets::NotFalse));
        assert!(of("a = 1", "a = 1", Meets::True));
        assert!(!of("a IS NULL", "a > 7", Meets::True));
    }
}
