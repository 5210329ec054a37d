//! A migration's text to statements, each with its line.
//!
//! Statements are parted by tokens, not by looking for semicolons: those in strings, comments, bodies of functions and
//! bodies of triggers do not part anything. What only the way back runs (`-- +goose Down` and its like) is left out.

use sqlparser::{
    dialect::Dialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

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

/// Marks that begin the way back inside a file, in lower case and without the comment sign.
const DOWN_MARKS: [&str; 6] = ["+goose down", "migrate:down", "+migrate down", "rollback", "!downs", "@undo"];
/// Marks that begin the way forward again.
const UP_MARKS: [&str; 4] = ["+goose up", "migrate:up", "+migrate up", "!ups"];

/// Says whether a migration's text brings its own way back.
pub(super) fn has_way_back(text: &str) -> bool {
    text.lines().any(|line| is_marked(line, &DOWN_MARKS))
}

fn is_marked(line: &str, marks: &[&str]) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("--").or_else(|| line.trim_start().strip_prefix('#'))
    else {
        return false;
    };
    let comment = comment.trim_start().to_ascii_lowercase();
    marks.iter().any(|mark| comment.starts_with(mark))
}

/// Blanks the way back and the client's `DELIMITER`, and keeps every line where it was.
pub(super) fn forward_only(text: &str) -> String {
    let mut forward = String::with_capacity(text.len());
    let (mut back, mut delimiter) = (false, None);
    for line in text.lines() {
        if is_marked(line, &DOWN_MARKS) {
            back = true;
        } else if is_marked(line, &UP_MARKS) {
            back = false;
        }
        let trimmed = line.trim_end();
        let upper = line.trim_start().to_ascii_uppercase();
        if let Some(chosen) = upper.strip_prefix("DELIMITER ") {
            delimiter = Some(chosen.trim().to_owned()).filter(|chosen| chosen != ";" && !chosen.is_empty());
        } else if !back {
            match delimiter.as_deref().and_then(|chosen| trimmed.strip_suffix(chosen)) {
                Some(before) => forward.extend([before, ";"]),
                None => forward.push_str(line),
            }
        }
        forward.push('\n');
    }
    forward
}

/// Parts a migration into statements.
pub(super) fn split(text: &str, dialect: &dyn Dialect) -> Result<Vec<Statement>, SplitError> {
    let text = forward_only(text);
    let tokens = Tokenizer::new(dialect, &text)
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
    use sqlparser::dialect::{MySqlDialect, PostgreSqlDialect, SQLiteDialect};

    use super::*;

    fn lines(text: &str, dialect: &dyn Dialect) -> Vec<(String, u32)> {
        let statements = split(text, dialect).expect("SQL");
        statements.iter().map(|one| (format!("{} {}", one.word(0), one.word(1)), one.line)).collect()
    }

    #[test]
    fn bodies_strings_and_comments_are_not_parted() {
        let text = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n UPDATE a SET b = CASE WHEN 1 THEN ';' END;\n DELETE FROM a; END;\n\n-- x; y\nSELECT 1";
        assert_eq!(lines(text, &SQLiteDialect {}), [("CREATE TRIGGER".into(), 1), ("SELECT ".into(), 6)]);
        let text = "CREATE FUNCTION f() RETURNS int AS $$ BEGIN a; END; $$ LANGUAGE plpgsql;\nDROP TABLE a;";
        assert_eq!(
            lines(text, &PostgreSqlDialect {}),
            [("CREATE FUNCTION".into(), 1), ("DROP TABLE".into(), 2)]
        );
    }

    #[test]
    fn delimiters_of_the_client_part_statements() {
        let text = "DELIMITER //\nCREATE PROCEDURE p() BEGIN IF 1 THEN SELECT 1; END IF; END //\nDELIMITER ;\nDROP TABLE a;";
        assert_eq!(lines(text, &MySqlDialect {}), [("CREATE PROCEDURE".into(), 2), ("DROP TABLE".into(), 4)]);
    }

    #[test]
    fn the_way_back_is_left_out() {
        let text = "-- +goose Up\nCREATE TABLE a (b int);\n-- +goose Down\nDROP TABLE a;";
        assert_eq!(lines(text, &PostgreSqlDialect {}), [("CREATE TABLE".into(), 2)]);
        assert!(has_way_back(text));
    }
}
