//! A migration's text to statements, each with its line.
//!
//! Statements are parted by tokens, not by looking for semicolons: those in strings, comments, bodies of functions and
//! bodies of triggers do not part anything. What only the way back runs is left out, as the form of the file says.

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{
    dialect::parser_dialect,
    form,
    scan::{self, Line},
};
use crate::SqlDialect;

/// One statement: its tokens without white space and comments, and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) tokens: Vec<TokenWithSpan>,
    pub(super) line: u32,
}

impl Statement {
    /// Gives a word of the statement in capitals, counted from 0; empty for what is no bare word.
    pub(super) fn word(&self, index: usize) -> String {
        self.tokens.get(index).and_then(bare_word).unwrap_or_default()
    }

    /// Gives the statement's text without layout and comments: the same for statements that do the same.
    pub(super) fn essence(&self) -> String {
        self.tokens.iter().map(|token| token.token.to_string()).collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn bare_word(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// Text that is not SQL, with the line where that shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitError {
    pub(super) line: u32,
    pub(super) message: String,
}

/// The text that runs: without the way back, and without the client's `DELIMITER`. Every line stays where it was.
pub(super) fn runs(text: &str, dialect: SqlDialect) -> String {
    as_sent(form::forward(text, dialect).text, dialect)
}

/// A text as the database gets it: without the client's `DELIMITER`.
pub(super) fn as_sent(text: String, dialect: SqlDialect) -> String {
    match dialect {
        SqlDialect::MySql => without_delimiters(&text, dialect),
        SqlDialect::PostgreSql | SqlDialect::Sqlite => text,
    }
}

/// Puts a semicolon where the client was told to look for another sign.
fn without_delimiters(text: &str, dialect: SqlDialect) -> String {
    let mut left = String::with_capacity(text.len());
    let mut delimiter = None;
    for Line { text, is_top, .. } in scan::lines(text, dialect) {
        let upper = text.trim_start().to_ascii_uppercase();
        if let Some(chosen) = upper.strip_prefix("DELIMITER ").filter(|_| is_top) {
            delimiter = Some(chosen.trim().to_owned()).filter(|chosen| chosen != ";" && !chosen.is_empty());
        } else {
            match delimiter.as_deref().and_then(|chosen| text.trim_end().strip_suffix(chosen)) {
                Some(before) => left.extend([before, ";"]),
                None => left.push_str(text),
            }
        }
        left.push('\n');
    }
    left
}

/// Parts a migration into statements.
pub(super) fn split(text: &str, dialect: SqlDialect) -> Result<Vec<Statement>, SplitError> {
    of_running(&runs(text, dialect), dialect)
}

/// Parts the text that runs into statements.
pub(super) fn of_running(text: &str, dialect: SqlDialect) -> Result<Vec<Statement>, SplitError> {
    let tokens = Tokenizer::new(parser_dialect(dialect), text)
        .tokenize_with_location()
        .map_err(|error| SplitError { line: line(error.location.line), message: error.message })?;
    let mut statements = Vec::new();
    let mut current: Vec<TokenWithSpan> = Vec::new();
    let mut body = Body::default();
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon if !body.is_open() => finish(&mut statements, &mut current, &mut body),
            _ => {
                body.follow(&current, &token);
                current.push(token);
            }
        }
    }
    finish(&mut statements, &mut current, &mut body);
    Ok(statements)
}

fn finish(statements: &mut Vec<Statement>, current: &mut Vec<TokenWithSpan>, body: &mut Body) {
    *body = Body::default();
    let tokens = std::mem::take(current);
    if let Some(first) = tokens.first() {
        let line = line(first.span.start.line);
        statements.push(Statement { tokens, line });
    }
}

fn line(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// How deep the current statement is inside the body of a trigger or routine.
#[derive(Debug, Default)]
struct Body {
    depth: usize,
}

impl Body {
    fn is_open(&self) -> bool {
        self.depth > 0
    }

    fn follow(&mut self, before: &[TokenWithSpan], token: &TokenWithSpan) {
        let Some(word) = bare_word(token) else { return };
        let after_end = before.last().and_then(bare_word).is_some_and(|word| word == "END");
        match word.as_str() {
            "BEGIN" if self.is_open() || declares_body(before) => self.depth += 1,
            "CASE" if self.is_open() && !after_end => self.depth += 1,
            "END" if self.is_open() => self.depth -= 1,
            // `END IF` and its like close what did not open here.
            "IF" | "LOOP" | "WHILE" | "REPEAT" if after_end && declares_body(before) => self.depth += 1,
            _ => {}
        }
    }
}

fn declares_body(before: &[TokenWithSpan]) -> bool {
    const ROUTINES: [&str; 4] = ["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"];
    let mut words = before.iter().take(12).filter_map(bare_word);
    words.next().as_deref() == Some("CREATE") && words.any(|word| ROUTINES.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, dialect: SqlDialect) -> Vec<(String, u32)> {
        let statements = split(text, dialect).expect("SQL");
        statements.iter().map(|one| (format!("{} {}", one.word(0), one.word(1)), one.line)).collect()
    }

    #[test]
    fn bodies_strings_and_comments_are_not_parted() {
        let text = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n UPDATE a SET b = CASE WHEN 1 THEN ';' END;\n DELETE FROM a; END;\n\n-- x; y\nSELECT 1";
        assert_eq!(lines(text, SqlDialect::Sqlite), [("CREATE TRIGGER".into(), 1), ("SELECT ".into(), 6)]);
        let text = "CREATE FUNCTION f() RETURNS int AS $$ BEGIN a; END; $$ LANGUAGE plpgsql;\nDROP TABLE a;";
        assert_eq!(
            lines(text, SqlDialect::PostgreSql),
            [("CREATE FUNCTION".into(), 1), ("DROP TABLE".into(), 2)]
        );
    }

    #[test]
    fn delimiters_of_the_client_part_statements() {
        let text = "DELIMITER //\nCREATE PROCEDURE p() BEGIN IF 1 THEN SELECT 1; END IF; END //\nDELIMITER ;\nDROP TABLE a;";
        assert_eq!(
            lines(text, SqlDialect::MySql),
            [("CREATE PROCEDURE".into(), 2), ("DROP TABLE".into(), 4)]
        );
    }

    #[test]
    fn a_word_of_a_client_that_the_database_does_not_have_is_no_line_of_its() {
        let text = "COPY a FROM '/a'\nDELIMITER ',';\nSELECT 'b\nDELIMITER //\n';\nDROP TABLE a;";
        let found = lines(text, SqlDialect::PostgreSql);
        assert_eq!(found.iter().map(|(_, line)| *line).collect::<Vec<_>>(), [1, 3, 6]);
        assert!(split(text, SqlDialect::PostgreSql).unwrap()[0].essence().contains("DELIMITER"));
    }

    #[test]
    fn the_way_back_is_left_out() {
        let text = "-- +goose Up\nCREATE TABLE a (b int);\n-- +goose Down\nDROP TABLE a;";
        assert_eq!(lines(text, SqlDialect::PostgreSql), [("CREATE TABLE".into(), 2)]);
    }
}
