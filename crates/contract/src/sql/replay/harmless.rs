//! Parts of `ALTER TABLE` that no reader or writer of rows meets: storage, when a constraint is checked.
//!
//! They are taken out before the statement is parsed: the parser does not know most of them.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::sql::split::{Statement, bare_word};

/// What a harmless part begins with.
const BEGINNINGS: &[&[&str]] = &[
    &["SET", "("],
    &["RESET", "("],
    &["SET", "TABLESPACE"],
    &["SET", "ACCESS", "METHOD"],
    &["SET", "WITHOUT", "CLUSTER"],
    &["SET", "WITHOUT", "OIDS"],
    &["SET", "LOGGED"],
    &["SET", "UNLOGGED"],
    &["CLUSTER", "ON"],
    &["REPLICA", "IDENTITY"],
    &["VALIDATE", "CONSTRAINT"],
    &["ATTACH", "PARTITION"],
    &["COMMENT"],
    &["ROW_FORMAT"],
];

/// What a harmless part of a column begins with, after its name.
const OF_COLUMNS: &[&[&str]] =
    &[&["SET", "STATISTICS"], &["SET", "STORAGE"], &["SET", "COMPRESSION"], &["SET", "("], &["RESET", "("]];

/// Gives the tokens of a statement without its harmless parts; none when nothing is left.
pub(super) fn without(statement: &Statement) -> Vec<TokenWithSpan> {
    let tokens = &statement.tokens;
    let word = |index: usize| statement.word(index);
    if word(0) != "ALTER" || word(1) != "TABLE" {
        return tokens.clone();
    }
    let head = head(tokens);
    let parts = parts(&tokens[head..]);
    let kept: Vec<&[TokenWithSpan]> = parts.iter().copied().filter(|part| !is_harmless(part)).collect();
    if kept.len() == parts.len() {
        return tokens.clone();
    }
    if kept.is_empty() {
        return Vec::new();
    }
    let comma = TokenWithSpan::wrap(Token::Comma);
    let mut left = tokens[..head].to_vec();
    left.extend(kept.join(&comma));
    left
}

/// Counts the tokens up to the end of the table's name.
fn head(tokens: &[TokenWithSpan]) -> usize {
    let word = |index: usize| tokens.get(index).and_then(bare_word).unwrap_or_default();
    let mut at = 2;
    if word(at) == "IF" {
        at += 2;
    }
    if word(at) == "ONLY" {
        at += 1;
    }
    at += 1;
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    if tokens.get(at).is_some_and(|token| token.token == Token::Mul) {
        at += 1;
    }
    at.min(tokens.len())
}

/// Parts operations at the commas that no bracket holds.
fn parts(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut depth = 0_usize;
    let is_comma = |token: &TokenWithSpan| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        token.token == Token::Comma && depth == 0
    };
    tokens.split(is_comma).collect()
}

fn is_harmless(part: &[TokenWithSpan]) -> bool {
    let starts = |part: &[TokenWithSpan], beginnings: &[&[&str]]| {
        beginnings.iter().any(|words| {
            words.len() <= part.len() && words.iter().zip(part).all(|(word, token)| is_word(token, word))
        })
    };
    // Other engines know no references, or no transactions.
    if starts(part, &[&["ENGINE"]]) {
        return part.iter().any(|token| is_word(token, "INNODB"));
    }
    if starts(part, BEGINNINGS) || starts(part, &[&["ALTER", "CONSTRAINT"]]) {
        // PostgreSQL 18 turns constraints on and off in the same place.
        return !part.iter().any(|token| is_word(token, "ENFORCED"));
    }
    let column = if starts(part, &[&["ALTER", "COLUMN"]]) { part.get(3..) } else { part.get(2..) };
    starts(part, &[&["ALTER"]]) && column.is_some_and(|rest| starts(rest, OF_COLUMNS))
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    match word {
        "(" => token.token == Token::LParen,
        word => bare_word(token).is_some_and(|own| own == word),
    }
}
