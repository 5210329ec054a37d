//! SQL read as conditions over terms: what is compared with what, as far as that is sure.

use std::collections::BTreeMap;

use sqlparser::ast::{
    BinaryOperator as Binary, Expr, Ident, InTarget, UnaryOperator as Unary, Value as Literal,
};

use super::formula::{Comparison, Constant, Formula, Kind, Term, not};
use crate::{
    SqlDialect,
    sql::{
        dialect::fold,
        replay::enum_name,
        state::{Column, NEXT_NUMBER, Table},
        types::Family,
    },
};

/// Numbers of more digits are not exact.
const MAX_DIGITS: usize = 15;
/// Functions that give the same for the same values, whenever they are asked.
const STEADY: [&str; 16] = [
    "length",
    "char_length",
    "character_length",
    "octet_length",
    "lower",
    "upper",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "abs",
    "coalesce",
    "ifnull",
    "nullif",
    "num_nonnulls",
    "num_nulls",
];

/// Says whether an expression gives the same for the same values, whenever it is asked: it calls nothing else than what is known to.
pub(in crate::sql) fn is_steady(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["", "in", "and", "or", "not", "when", "then", "else", "like", "between", "cast"];
    const MOVING: [&str; 3] = ["current_", "localtime", "select "];
    let lower = text.to_lowercase();
    let name =
        |at: usize| lower[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut called = lower.match_indices('(').map(|(at, _)| name(at));
    called.all(|name| WORDS.contains(&name) || STEADY.contains(&name))
        && !MOVING.iter().any(|word| lower.contains(word))
        && !lower.contains(" over ")
}

/// Reads conditions, and gathers what they are about.
pub(super) struct Reader<'a> {
    dialect: SqlDialect,
    table: Option<&'a Table>,
    pub(super) terms: BTreeMap<String, Term>,
    /// Parts that nothing is known of; whether they are never unknown.
    pub(super) open: BTreeMap<String, bool>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(dialect: SqlDialect, table: Option<&'a Table>) -> Self {
        Self { dialect, table, terms: BTreeMap::new(), open: BTreeMap::new() }
    }

    pub(super) fn formula(&mut self, expr: &Expr) -> Option<Formula> {
        let both = |reader: &mut Self, left: &Expr, right: &Expr| {
            Some((Box::new(reader.formula(left)?), Box::new(reader.formula(right)?)))
        };
        Some(match expr {
            Expr::Nested(inner) => self.formula(inner)?,
            Expr::UnaryOp { op: Unary::Not, expr } => Formula::Not(Box::new(self.formula(expr)?)),
            Expr::BinaryOp { left, op: Binary::And, right } => {
                let (left, right) = both(self, left, right)?;
                Formula::And(left, right)
            }
            Expr::BinaryOp { left, op: Binary::Or, right } => {
                let (left, right) = both(self, left, right)?;
                Formula::Or(left, right)
            }
            Expr::BinaryOp { left, op, right } => match self.comparison(left, op, right) {
                Some(compared) => compared,
                None => self.open(expr)?,
            },
            Expr::Value(value) => match &value.value {
                Literal::Boolean(known) => Formula::Known(Some(*known)),
                Literal::Null => Formula::Known(None),
                _ => return None,
            },
            Expr::IsNull(inner) => self.is_null(inner)?,
            Expr::IsNotNull(inner) => Formula::Not(Box::new(self.is_null(inner)?)),
            Expr::IsTrue(inner) => Formula::Is(Box::new(self.formula(inner)?), Some(true)),
            Expr::IsFalse(inner) => Formula::Is(Box::new(self.formula(inner)?), Some(false)),
            Expr::IsUnknown(inner) => Formula::Is(Box::new(self.formula(inner)?), None),
            Expr::IsNotTrue(inner) => not(Formula::Is(Box::new(self.formula(inner)?), Some(true))),
            Expr::IsNotFalse(inner) => not(Formula::Is(Box::new(self.formula(inner)?), Some(false))),
            Expr::IsNotUnknown(inner) => not(Formula::Is(Box::new(self.formula(inner)?), None)),
            Expr::IsDistinctFrom(left, right) => {
                self.distinct(left, right).map_or_else(|| self.open(expr), Some)?
            }
            Expr::IsNotDistinctFrom(left, right) => {
                self.distinct(left, right).map(not).map_or_else(|| self.open(expr), Some)?
            }
            Expr::In { expr: value, target: InTarget::List(list), negated, .. } => {
                match self.is_one_of(value, list) {
                    Some(one_of) if *negated => not(one_of),
                    Some(one_of) => one_of,
                    None => self.open(expr)?,
                }
            }
            Expr::Between { expr: value, negated, low, high } => {
                let above = self.comparison(value, &Binary::GtEq, low);
                let below = self.comparison(value, &Binary::LtEq, high);
                match (above, below) {
                    (Some(above), Some(below)) => {
                        let inside = Formula::And(Box::new(above), Box::new(below));
                        if *negated { not(inside) } else { inside }
                    }
                    _ => self.open(expr)?,
                }
            }
            other => self.holds(other)?,
        })
    }

    /// A part that is a condition by itself, such as a column of truths.
    fn holds(&mut self, expr: &Expr) -> Option<Formula> {
        let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if is_column && self.dialect != SqlDialect::PostgreSql {
            return self
                .compared(expr, &Binary::NotEq, &Constant::Number(0.0))
                .map_or_else(|| self.open(expr), Some);
        }
        self.open(expr)
    }

    fn open(&mut self, expr: &Expr) -> Option<Formula> {
        let text = self.steady(expr)?;
        let never_null = self.column(expr).is_some_and(|column| column.not_null);
        self.open.insert(text.clone(), never_null);
        Some(Formula::Open(text))
    }

    /// An expression as a name; none where it may give another value when it is asked again.
    fn steady(&self, expr: &Expr) -> Option<String> {
        let text = match expr {
            Expr::Nested(inner) => return self.steady(inner),
            Expr::Identifier(ident) => self.name(ident),
            Expr::CompoundIdentifier(parts) if self.table.is_some() => self.name(parts.last()?),
            other => other.to_string(),
        };
        is_steady(&text).then_some(text)
    }

    fn name(&self, ident: &Ident) -> String {
        fold(self.dialect, ident)
    }

    fn column(&self, expr: &Expr) -> Option<&Column> {
        let name = match expr {
            Expr::Nested(inner) => return self.column(inner),
            Expr::Identifier(ident) => self.name(ident),
            Expr::CompoundIdentifier(parts) => self.name(parts.last()?),
            _ => return None,
        };
        self.table?.columns.get(&name)
    }

    fn is_null(&mut self, expr: &Expr) -> Option<Formula> {
        let text = self.term(expr)?;
        Some(Formula::IsNull(text))
    }

    /// Notes a term with what is known of it.
    fn term(&mut self, expr: &Expr) -> Option<String> {
        if constant(expr).is_some() {
            return None;
        }
        let text = self.steady(expr)?;
        if self.terms.contains_key(&text) {
            return Some(text);
        }
        let column = self.column(expr);
        let counted = column.is_some_and(|column| column.default.as_deref() == Some(NEXT_NUMBER));
        let kind = match column.map(|column| &column.of.family) {
            Some(Family::Integer { low, high }) if self.dialect != SqlDialect::Sqlite => {
                Kind::Whole { low: *low as f64, high: *high as f64 }
            }
            _ => self.longest(expr).map_or(Kind::Any, |high| Kind::Whole { low: 0.0, high }),
        };
        let never_null = column.is_some_and(|column| column.not_null || counted);
        self.terms.insert(text.clone(), Term { kind, never_null, ..Term::default() });
        Some(text)
    }

    /// How long a text can be whose length is asked for.
    fn longest(&self, expr: &Expr) -> Option<f64> {
        let text = expr.to_string().to_lowercase();
        let (name, argument) = text.strip_suffix(')')?.split_once('(')?;
        let counts = name == "char_length"
            || name == "character_length"
            || name == "length" && self.dialect == SqlDialect::PostgreSql;
        let column = self.table?.columns.get(argument).filter(|_| counts)?;
        match column.of.family {
            Family::Text { longest: Some(longest) } if self.dialect != SqlDialect::Sqlite => {
                Some(longest as f64)
            }
            _ => None,
        }
    }

    fn comparison(&mut self, left: &Expr, op: &Binary, right: &Expr) -> Option<Formula> {
        match (constant(left), constant(right)) {
            (None, Some(right)) => self.compared(left, op, &right),
            (Some(left), None) => self.compared(right, &turned(op)?, &left),
            _ => self.is_truth(left, op, right),
        }
    }

    /// `active = true` in PostgreSQL; elsewhere truths are numbers.
    fn is_truth(&mut self, left: &Expr, op: &Binary, right: &Expr) -> Option<Formula> {
        let Expr::Value(value) = right else { return None };
        let Literal::Boolean(wanted) = value.value else { return None };
        if self.dialect != SqlDialect::PostgreSql {
            return self.compared(left, op, &Constant::Number(if wanted { 1.0 } else { 0.0 }));
        }
        let holds = self.open(left)?;
        match op {
            Binary::Eq if wanted => Some(holds),
            Binary::NotEq if !wanted => Some(holds),
            Binary::Eq | Binary::NotEq => Some(not(holds)),
            _ => None,
        }
    }

    fn compared(&mut self, term: &Expr, op: &Binary, constant: &Constant) -> Option<Formula> {
        let in_order = !matches!(op, Binary::Eq | Binary::NotEq);
        if !self.is_comparable(term, constant) || in_order && matches!(constant, Constant::Text(_)) {
            return None;
        }
        let (text, exact) = (self.term(term)?, self.tells_apart(term));
        let known = self.terms.get_mut(&text)?;
        match constant {
            Constant::Number(number) if known.texts.is_empty() => known.numbers.push(*number),
            // Texts that a collation may take for one are not told apart.
            Constant::Text(own) if known.numbers.is_empty() && (exact || is_plain(own)) => {
                known.texts.insert(own.clone());
            }
            _ => return None,
        }
        let compared = |comparison| Formula::Compared(text.clone(), comparison, constant.clone());
        Some(match op {
            Binary::Eq => compared(Comparison::Equal),
            Binary::NotEq => not(compared(Comparison::Equal)),
            Binary::Lt => compared(Comparison::Less),
            Binary::LtEq => compared(Comparison::LessOrEqual),
            Binary::GtEq => not(compared(Comparison::Less)),
            Binary::Gt => not(compared(Comparison::LessOrEqual)),
            _ => return None,
        })
    }

    /// Says whether a term and a literal are compared as what they are, and not converted first.
    fn is_comparable(&self, term: &Expr, constant: &Constant) -> bool {
        let Some(column) = self.column(term) else {
            // Without a table a column may be of any type; a function gives a number or a text as its name says.
            let is_column = matches!(term, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            // MySQL makes a number of a text that is compared with one.
            let as_it_is = self.dialect != SqlDialect::MySql || matches!(constant, Constant::Number(_));
            return !is_column || self.table.is_none() && as_it_is;
        };
        match (&column.of.family, constant) {
            (Family::Integer { .. } | Family::Decimal { .. } | Family::Float { .. }, Constant::Number(_)) => {
                true
            }
            (Family::Text { .. } | Family::Labels(_), Constant::Text(_)) => true,
            // The type of an enum of PostgreSQL is known by its name only.
            (Family::Named(name), Constant::Text(_)) => {
                self.dialect == SqlDialect::PostgreSql
                    && enum_name(self.dialect, &column.of).is_some()
                    && !is_built_in(name)
            }
            (Family::Bytes { .. }, _) => self.dialect == SqlDialect::Sqlite,
            _ => false,
        }
    }

    /// Says whether texts of a column that differ are never equal.
    fn tells_apart(&self, term: &Expr) -> bool {
        let Some(column) = self.column(term) else { return false };
        let usual = column.collation.order.is_none() && !column.of.is_padded();
        let is_text = matches!(column.of.family, Family::Text { .. });
        is_text
            && match self.dialect {
                SqlDialect::PostgreSql => usual && !column.of.text.eq_ignore_ascii_case("citext"),
                SqlDialect::Sqlite => column.collation.order.as_deref().is_none_or(|order| order == "binary"),
                SqlDialect::MySql => false,
            }
    }

    fn is_one_of(&mut self, value: &Expr, list: &[Expr]) -> Option<Formula> {
        let mut found = Formula::Known(Some(false));
        for one in list {
            let equal = match one {
                Expr::Value(value) if value.value == Literal::Null => Formula::Known(None),
                one => self.comparison(value, &Binary::Eq, one)?,
            };
            found = Formula::Or(Box::new(found), Box::new(equal));
        }
        Some(found)
    }

    fn distinct(&mut self, left: &Expr, right: &Expr) -> Option<Formula> {
        let is_null = |expr: &Expr| matches!(expr, Expr::Value(value) if value.value == Literal::Null);
        if is_null(right) {
            return Some(not(self.is_null(left)?));
        }
        // Null is distinct from every literal.
        let equal = self.comparison(left, &Binary::Eq, right)?;
        Some(not(Formula::Is(Box::new(equal), Some(true))))
    }
}

/// The comparison with its sides exchanged.
fn turned(op: &Binary) -> Option<Binary> {
    Some(match op {
        Binary::Eq => Binary::Eq,
        Binary::NotEq => Binary::NotEq,
        Binary::Lt => Binary::Gt,
        Binary::LtEq => Binary::GtEq,
        Binary::Gt => Binary::Lt,
        Binary::GtEq => Binary::LtEq,
        _ => return None,
    })
}

/// The literal that an expression is, exactly.
fn constant(expr: &Expr) -> Option<Constant> {
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::UnaryOp { op: Unary::Minus, expr } => match constant(expr)? {
            Constant::Number(number) => Some(Constant::Number(-number)),
            Constant::Text(_) => None,
        },
        Expr::Cast { expr, data_type, .. } => {
            let to = data_type.to_string().to_ascii_uppercase();
            let text = matches!(to.as_str(), "TEXT" | "VARCHAR" | "CHARACTER VARYING");
            let number = matches!(to.as_str(), "NUMERIC" | "DECIMAL" | "INT" | "INTEGER" | "BIGINT");
            match constant(expr)? {
                Constant::Text(known) if text => Some(Constant::Text(known)),
                Constant::Number(known) if number && known.fract() == 0.0 => Some(Constant::Number(known)),
                _ => None,
            }
        }
        Expr::Value(value) => match &value.value {
            Literal::Number(digits, _) => {
                let exact = digits.bytes().filter(u8::is_ascii_digit).count() <= MAX_DIGITS;
                digits.parse().ok().filter(|_| exact).map(Constant::Number)
            }
            Literal::SingleQuotedString(text) => Some(Constant::Text(text.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// Says whether a text differs from others like it under every collation.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Says whether a type that is known by its name is one of the database's own.
fn is_built_in(name: &str) -> bool {
    const OWN: [&str; 24] = [
        "BOOLEAN",
        "DATE",
        "TIME",
        "TIMESTAMP",
        "INTERVAL",
        "UUID",
        "JSON",
        "JSONB",
        "XML",
        "INET",
        "CIDR",
        "MACADDR",
        "BIT",
        "MONEY",
        "POINT",
        "TSVECTOR",
        "NAME",
        "OID",
        "BYTEA",
        "HSTORE",
        "CITEXT",
        "INT4RANGE",
        "LTREE",
        "YEAR",
    ];
    let upper = name.to_ascii_uppercase();
    OWN.iter().any(|own| upper.starts_with(own)) || upper.ends_with(']')
}
