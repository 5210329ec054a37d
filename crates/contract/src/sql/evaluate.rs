//! What a condition says of a row, as far as the row is known: SQL's three-valued logic over sets of values.
//!
//! A value is known, or known not to be null, or not known at all; a condition is the set of what it may be. The set is never
//! too small: what this does not know of an expression may be anything.

use std::{cmp::Ordering, collections::HashSet};

use sqlparser::{
    ast::{
        BinaryOperator as Binary, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
        InTarget, UnaryOperator as Unary, Value as Literal,
    },
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use super::dialect::{fold, parser_dialect};
use crate::SqlDialect;

/// Deeper expressions are refused when migrations are read.
const MAX_RECURSION: usize = 60;
/// Whole numbers up to here are exact.
const EXACT: f64 = 1e15;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Number(f64),
    Text(String),
    /// The outcomes that a condition may have.
    Truth(Truth),
    /// Some value that is not null.
    Present,
    /// Nothing is known.
    Any,
}

/// The outcomes that a condition may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) yes: bool,
    pub(super) no: bool,
    pub(super) unknown: bool,
}

impl Truth {
    const YES: Self = Self { yes: true, no: false, unknown: false };
    const NO: Self = Self { yes: false, no: true, unknown: false };
    const UNKNOWN: Self = Self { yes: false, no: false, unknown: true };
    const EITHER: Self = Self { yes: true, no: true, unknown: false };
    const ANY: Self = Self { yes: true, no: true, unknown: true };

    const fn of(known: bool) -> Self {
        if known { Self::YES } else { Self::NO }
    }

    const fn not(self) -> Self {
        Self { yes: self.no, no: self.yes, unknown: self.unknown }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            yes: self.yes && other.yes,
            no: self.no || other.no,
            unknown: self.unknown && (other.unknown || other.yes) || self.yes && other.unknown,
        }
    }

    const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    const fn either(self, other: Self) -> Self {
        Self { yes: self.yes || other.yes, no: self.no || other.no, unknown: self.unknown || other.unknown }
    }
}

impl Value {
    pub(super) const YES: Self = Self::Truth(Truth::YES);
    pub(super) const NO: Self = Self::Truth(Truth::NO);

    /// Says whether it can be null, and whether it can be something else.
    pub(super) const fn null_or_present(&self) -> (bool, bool) {
        match self {
            Self::Null => (true, false),
            Self::Number(_) | Self::Text(_) | Self::Present => (false, true),
            Self::Truth(truth) => (truth.unknown, truth.yes || truth.no),
            Self::Any => (true, true),
        }
    }

    /// The outcomes it has as a condition.
    pub(super) fn truth(&self) -> Truth {
        match self {
            Self::Null => Truth::UNKNOWN,
            Self::Number(number) => Truth::of(*number != 0.0),
            Self::Truth(truth) => *truth,
            Self::Text(_) | Self::Present => Truth::EITHER,
            Self::Any => Truth::ANY,
        }
    }

    /// What is known of a value that is one of two.
    pub(super) fn or(self, other: &Self) -> Self {
        if self == *other {
            return self;
        }
        match (&self, other) {
            (Self::Truth(a), Self::Truth(b)) => Self::Truth(a.either(*b)),
            _ if self.null_or_present().0 || other.null_or_present().0 => Self::Any,
            _ => Self::Present,
        }
    }

    /// What a function of these values gives that is null when one of them is.
    fn strict(values: &[Self]) -> Self {
        if values.contains(&Self::Null) {
            Self::Null
        } else if values.iter().any(|value| value.null_or_present().0) {
            Self::Any
        } else {
            Self::Present
        }
    }
}

/// An expression, and how its dialect reads it.
pub(super) struct Condition {
    expr: Expr,
    tokens: Vec<Token>,
    dialect: SqlDialect,
}

impl Condition {
    /// Reads an expression; what was written by the parser can be read by it.
    pub(super) fn read(dialect: SqlDialect, text: &str) -> Option<Self> {
        let tokens = Tokenizer::new(parser_dialect(dialect), text).tokenize().ok()?;
        let parser = Parser::new(parser_dialect(dialect)).with_recursion_limit(MAX_RECURSION);
        let mut parser = parser.with_tokens(tokens.clone());
        let expr = parser.parse_expr().ok()?;
        (parser.peek_token().token == Token::EOF).then_some(Self { expr, tokens, dialect })
    }

    pub(super) const fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Evaluates it over a row, which gives what is known of each column.
    pub(super) fn value(&self, row: &dyn Fn(&str) -> Value) -> Value {
        Evaluator { dialect: self.dialect, row }.value(&self.expr)
    }

    /// The columns of a table that it names.
    pub(super) fn columns<'t>(&self, names: impl Iterator<Item = &'t String>) -> Vec<&'t String> {
        let words: HashSet<String> = self
            .tokens
            .iter()
            .filter_map(|token| match token {
                Token::Word(word) => Some(word.value.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        names.filter(|name| words.contains(&name.to_ascii_lowercase())).collect()
    }

    /// The numbers and texts that stand in it.
    pub(super) fn literals(&self) -> Vec<Value> {
        let known = self.tokens.iter().filter_map(|token| match token {
            Token::Number(digits, _) => digits.parse().ok().map(Value::Number),
            Token::SingleQuotedString(text) => Some(Value::Text(text.clone())),
            _ => None,
        });
        known.collect()
    }

    /// Says whether it contains what may stop with an error: a division, a conversion.
    pub(super) fn may_fail(&self) -> bool {
        self.tokens.iter().any(|token| match token {
            Token::Div | Token::Mod | Token::DoubleColon => true,
            Token::Word(word) => word.value.eq_ignore_ascii_case("cast"),
            _ => false,
        })
    }
}

/// What a literal gives.
fn literal(value: &Literal) -> Value {
    match value {
        Literal::Null => Value::Null,
        Literal::Boolean(known) => Value::Truth(Truth::of(*known)),
        Literal::Number(digits, _) => {
            let number = digits.parse::<f64>().ok().filter(|number| number.abs() < EXACT);
            number.map_or(Value::Present, Value::Number)
        }
        Literal::SingleQuotedString(text)
        | Literal::DollarQuotedString(sqlparser::ast::DollarQuotedString { value: text, .. }) => {
            Value::Text(text.clone())
        }
        _ => Value::Present,
    }
}

struct Evaluator<'a> {
    dialect: SqlDialect,
    row: &'a dyn Fn(&str) -> Value,
}

impl Evaluator<'_> {
    fn value(&self, expr: &Expr) -> Value {
        match expr {
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => self.value(inner),
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) => parts.last().map_or(Value::Any, |ident| self.column(ident)),
            Expr::Value(value) => literal(&value.value),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::Cast { expr, data_type, .. } => cast(self.value(expr), &data_type.to_string()),
            Expr::Function(function) => self.function(function),
            Expr::Case { operand: None, conditions, else_result, .. } => {
                let branches: Vec<_> =
                    conditions.iter().map(|when| (&when.condition, &when.result)).collect();
                self.case(&branches, else_result.as_deref())
            }
            Expr::Interval(_) | Expr::TypedString(_) => Value::Present,
            other => self.predicate(other).map_or(Value::Any, Value::Truth),
        }
    }

    fn column(&self, ident: &Ident) -> Value {
        match (ident.quote_style, ident.value.to_ascii_lowercase().as_str()) {
            (
                None,
                "current_timestamp" | "current_date" | "current_time" | "localtimestamp" | "current_user",
            ) => Value::Present,
            _ => (self.row)(&fold(self.dialect, ident)),
        }
    }

    fn truth(&self, expr: &Expr) -> Truth {
        self.value(expr).truth()
    }

    /// Conditions that are no operators: what they may come to, when that is known.
    fn predicate(&self, expr: &Expr) -> Option<Truth> {
        let is = |expr: &Expr, outcome: fn(Truth) -> (bool, bool)| {
            let (yes, no) = outcome(self.truth(expr));
            Truth { yes, no, unknown: false }
        };
        let negated = |truth: Truth, negated: bool| if negated { truth.not() } else { truth };
        Some(match expr {
            Expr::IsNull(inner) => self.is_null(inner),
            Expr::IsNotNull(inner) => self.is_null(inner).not(),
            Expr::IsTrue(inner) => is(inner, |truth| (truth.yes, truth.no || truth.unknown)),
            Expr::IsNotTrue(inner) => is(inner, |truth| (truth.no || truth.unknown, truth.yes)),
            Expr::IsFalse(inner) => is(inner, |truth| (truth.no, truth.yes || truth.unknown)),
            Expr::IsNotFalse(inner) => is(inner, |truth| (truth.yes || truth.unknown, truth.no)),
            Expr::IsUnknown(inner) => is(inner, |truth| (truth.unknown, truth.yes || truth.no)),
            Expr::IsNotUnknown(inner) => is(inner, |truth| (truth.yes || truth.no, truth.unknown)),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right).not(),
            Expr::In { expr, target: InTarget::List(list), negated: not, .. } => {
                let value = self.value(expr);
                let of = |other: &Expr| self.compare(&value, &Binary::Eq, &self.value(other));
                negated(list.iter().map(of).fold(Truth::NO, Truth::or), *not)
            }
            Expr::Between { expr, negated: not, low, high } => {
                let value = self.value(expr);
                let above = self.compare(&value, &Binary::GtEq, &self.value(low));
                let below = self.compare(&value, &Binary::LtEq, &self.value(high));
                negated(above.and(below), *not)
            }
            Expr::Like { expr, pattern, .. }
            | Expr::ILike { expr, pattern, .. }
            | Expr::SimilarTo { expr, pattern, .. }
            | Expr::RLike { expr, pattern, .. } => {
                match Value::strict(&[self.value(expr), self.value(pattern)]) {
                    Value::Null => Truth::UNKNOWN,
                    Value::Present => Truth::EITHER,
                    _ => Truth::ANY,
                }
            }
            _ => return None,
        })
    }

    fn is_null(&self, expr: &Expr) -> Truth {
        // `ROW(a, b) IS NULL` has rules of its own.
        if let Expr::Tuple(_) = expr {
            return Truth::EITHER;
        }
        let (null, present) = self.value(expr).null_or_present();
        Truth { yes: null, no: present, unknown: false }
    }

    fn distinct(&self, left: &Expr, right: &Expr) -> Truth {
        match (self.value(left), self.value(right)) {
            (Value::Null, Value::Null) => Truth::NO,
            (Value::Null, other) | (other, Value::Null) => {
                let (null, present) = other.null_or_present();
                Truth { yes: present, no: null, unknown: false }
            }
            (left, right) => {
                let differs = self.compare(&left, &Binary::NotEq, &right);
                if differs.unknown { Truth::EITHER } else { differs }
            }
        }
    }

    fn unary(&self, op: Unary, expr: &Expr) -> Value {
        match (op, self.value(expr)) {
            (Unary::Not, value) => Value::Truth(value.truth().not()),
            (Unary::Minus, Value::Number(number)) => Value::Number(-number),
            (Unary::Plus, value) => value,
            (_, value) => Value::strict(&[value]),
        }
    }

    fn binary(&self, left: &Expr, op: &Binary, right: &Expr) -> Value {
        match op {
            Binary::And => return Value::Truth(self.truth(left).and(self.truth(right))),
            Binary::Or => return Value::Truth(self.truth(left).or(self.truth(right))),
            _ => {}
        }
        let (left, right) = (self.value(left), self.value(right));
        match op {
            Binary::Eq | Binary::NotEq | Binary::Lt | Binary::LtEq | Binary::Gt | Binary::GtEq => {
                Value::Truth(self.compare(&left, op, &right))
            }
            Binary::Spaceship if self.dialect == SqlDialect::MySql => Value::Truth(Truth::EITHER),
            Binary::Plus | Binary::Minus | Binary::Multiply => arithmetic(left, op, right),
            Binary::StringConcat if self.dialect != SqlDialect::MySql => match (left, right) {
                (Value::Text(left), Value::Text(right)) => Value::Text(left + &right),
                (left, right) => Value::strict(&[left, right]),
            },
            Binary::PGRegexMatch
            | Binary::PGRegexIMatch
            | Binary::PGRegexNotMatch
            | Binary::PGRegexNotIMatch
            | Binary::PGLikeMatch
            | Binary::PGILikeMatch
            | Binary::PGNotLikeMatch
            | Binary::PGNotILikeMatch
            | Binary::Regexp => match Value::strict(&[left, right]) {
                Value::Null => Value::Null,
                Value::Present => Value::Truth(Truth::EITHER),
                _ => Value::Any,
            },
            _ => Value::Any,
        }
    }

    fn compare(&self, left: &Value, op: &Binary, right: &Value) -> Truth {
        let known = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.partial_cmp(right),
            (Value::Text(left), Value::Text(right)) if left == right => Some(Ordering::Equal),
            _ => None,
        };
        if matches!(op, Binary::Eq | Binary::NotEq) && self.surely_differ(left, right) {
            return Truth::of(*op == Binary::NotEq);
        }
        match known {
            Some(order) => Truth::of(match op {
                Binary::Eq => order.is_eq(),
                Binary::NotEq => order.is_ne(),
                Binary::Lt => order.is_lt(),
                Binary::LtEq => order.is_le(),
                Binary::Gt => order.is_gt(),
                _ => order.is_ge(),
            }),
            None => match Value::strict(&[left.clone(), right.clone()]) {
                Value::Null => Truth::UNKNOWN,
                Value::Present => Truth::EITHER,
                _ => Truth::ANY,
            },
        }
    }

    /// Says whether two values differ under any type and collation: those may fold case and spaces.
    fn surely_differ(&self, left: &Value, right: &Value) -> bool {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => left != right && plain(left) && plain(right),
            (&Value::YES, &Value::NO) | (&Value::NO, &Value::YES) => true,
            _ => false,
        }
    }

    fn case(&self, branches: &[(&Expr, &Expr)], otherwise: Option<&Expr>) -> Value {
        let Some(((condition, result), rest)) = branches.split_first() else {
            return otherwise.map_or(Value::Null, |otherwise| self.value(otherwise));
        };
        let truth = self.truth(condition);
        match (truth.yes, truth.no || truth.unknown) {
            (true, false) => self.value(result),
            (false, _) => self.case(rest, otherwise),
            (true, true) => self.value(result).or(&self.case(rest, otherwise)),
        }
    }

    fn function(&self, function: &Function) -> Value {
        let name = function.name.to_string().to_ascii_lowercase();
        let name = name.rsplit('.').next().unwrap_or(&name);
        let given = match &function.args {
            FunctionArguments::None => Some(Vec::new()),
            FunctionArguments::List(list) => list
                .args
                .iter()
                .map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(self.value(expr)),
                    _ => None,
                })
                .collect(),
            FunctionArguments::Subquery(_) => None,
        };
        let Some(given) = given else { return Value::Any };
        match name {
            "coalesce" | "ifnull" => coalesce(&given),
            "num_nonnulls" => count(&given, |(_, present)| present),
            "num_nulls" => count(&given, |(null, _)| null),
            "nullif" => Value::Any,
            "length" | "char_length" | "character_length" => match given.as_slice() {
                [Value::Text(text)] if text.is_ascii() => Value::Number(text.len() as f64),
                given => Value::strict(given),
            },
            "lower" | "upper" | "trim" | "btrim" | "abs" | "round" | "floor" | "ceil" | "date" => {
                Value::strict(&given)
            }
            "now" | "gen_random_uuid" | "uuid_generate_v4" | "uuid" | "nextval" | "random"
            | "clock_timestamp" => Value::Present,
            _ => Value::Any,
        }
    }
}

fn coalesce(given: &[Value]) -> Value {
    let Some((first, rest)) = given.split_first() else { return Value::Null };
    match first.null_or_present() {
        (true, false) => coalesce(rest),
        (false, _) => first.clone(),
        (true, true) => match coalesce(rest).null_or_present() {
            (false, true) => Value::Present,
            _ => Value::Any,
        },
    }
}

fn count(given: &[Value], counted: impl Fn((bool, bool)) -> bool) -> Value {
    let known = given.iter().map(Value::null_or_present).all(|(null, present)| null != present);
    if !known {
        return Value::Present;
    }
    Value::Number(given.iter().filter(|value| counted(value.null_or_present())).count() as f64)
}

fn arithmetic(left: Value, op: &Binary, right: Value) -> Value {
    let (Value::Number(a), Value::Number(b)) = (&left, &right) else { return Value::strict(&[left, right]) };
    let result = match op {
        Binary::Plus => a + b,
        Binary::Minus => a - b,
        _ => a * b,
    };
    if result.abs() < EXACT { Value::Number(result) } else { Value::Present }
}

fn cast(value: Value, to: &str) -> Value {
    let to = to.to_ascii_uppercase();
    let number = ["INT", "NUMERIC", "DECIMAL", "BIGINT", "SMALLINT", "INTEGER", "REAL", "DOUBLE"];
    let text = ["TEXT", "VARCHAR", "CHARACTER VARYING"];
    let is = |names: &[&str]| names.iter().any(|name| to.starts_with(name));
    match value {
        Value::Number(known) if is(&number) && known.fract() == 0.0 => Value::Number(known),
        Value::Text(known) if is(&text) && !to.contains('(') => Value::Text(known),
        Value::Truth(known) if to.starts_with("BOOL") => Value::Truth(known),
        value => Value::strict(&[value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> (bool, bool, bool) {
        let row = |name: &str| match name {
            "gone" => Value::Null,
            "one" => Value::Number(1.0),
            "empty" => Value::Text(String::new()),
            "some" => Value::Present,
            _ => Value::Any,
        };
        let truth = Condition::read(SqlDialect::PostgreSql, text).expect("SQL").value(&row).truth();
        (truth.yes, truth.no, truth.unknown)
    }

    #[test]
    fn conditions_are_known_as_far_as_the_row_is() {
        let (yes, no, unknown) = ((true, false, false), (false, true, false), (false, false, true));
        let cases = [
            ("gone IS NOT NULL", no),
            ("gone > 3", unknown),
            ("gone IS DISTINCT FROM NULL", no),
            ("some IS DISTINCT FROM gone", yes),
            ("NOT (gone > 5 AND thing > 3)", (true, false, true)),
            ("gone > 5 OR thing > 3", (true, false, true)),
            ("num_nonnulls(gone, one) = 1", yes),
            ("num_nonnulls(gone, gone) >= 1", no),
            ("coalesce(gone, 0) >= one", no),
            ("coalesce(gone, one) = 1", yes),
            ("coalesce(thing, 1) IS NOT NULL", yes),
            ("empty <> ''", no),
            ("length(empty) > 0", no),
            ("gone IN (1, 2)", unknown),
            ("one IN (2, gone)", unknown),
            ("one BETWEEN 1 AND 4", yes),
            ("(gone > 1) IS TRUE", no),
            ("(gone > 1) IS NOT TRUE", yes),
            ("CASE WHEN gone IS NULL THEN one = 2 ELSE true END", no),
            ("one::bigint + 1 = 2", yes),
            ("gone ~ 'a'", unknown),
            ("some LIKE 'a%'", (true, true, false)),
            ("surprise(one)", (true, true, true)),
            ("gone IS NULL OR surprise(one)", yes),
        ];
        for (text, expected) in cases {
            assert_eq!(outcome(text), expected, "{text}");
        }
    }
}
