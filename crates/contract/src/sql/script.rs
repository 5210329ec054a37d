//! A migration as it is run: its statements as they stand there, and which of them cannot be part of a transaction.
//!
//! What only the way back runs is left out, as everywhere here. Nothing is judged.

use sqlparser::tokenizer::{Location, TokenWithSpan};

use super::split;
use crate::SqlDialect;

/// One statement of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its text, without the semicolon.
    pub text: String,
    /// Where it begins in its file.
    pub line: u32,
    /// How it stands to a transaction around it.
    pub turn: Turn,
}

/// How a statement stands to a transaction around its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is undone with it.
    Inside,
    /// The database refuses it there.
    Alone,
    /// It begins or ends one by itself.
    Takes,
}

/// Parts a migration into its statements. A text that cannot be parted is one statement.
#[must_use]
pub fn parts(text: &str, dialect: SqlDialect) -> Vec<Part> {
    parts_of(split::runs(text, dialect), dialect)
}

/// Parts the text of a way down, as it was found, into its statements.
#[must_use]
pub fn parts_back(back: &str, dialect: SqlDialect) -> Vec<Part> {
    parts_of(split::as_sent(back.to_owned(), dialect), dialect)
}

fn parts_of(text: String, dialect: SqlDialect) -> Vec<Part> {
    let Ok(statements) = split::of_running(&text, dialect) else {
        return vec![Part { text, line: 1, turn: Turn::Inside }];
    };
    let lines = line_starts(&text);
    let parts = statements.iter().filter_map(|statement| {
        let (first, last) = (statement.tokens.first()?, statement.tokens.last()?);
        let (from, to) = (offset(&text, &lines, first.span.start), offset(&text, &lines, last.span.end));
        let text = text.get(from..to)?.to_owned();
        Some(Part { text, line: statement.line, turn: turn(&statement.tokens) })
    });
    parts.collect()
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// Finds a place that is told as line and character, both counted from 1.
fn offset(text: &str, lines: &[usize], place: Location) -> usize {
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let start = lines.get(index(place.line)).copied().unwrap_or(text.len());
    let mut characters = text[start..].char_indices().skip(index(place.column));
    characters.next().map_or(text.len(), |(at, _)| start + at)
}

fn turn(tokens: &[TokenWithSpan]) -> Turn {
    let words: Vec<_> = tokens.iter().take(8).map(|it| split::bare_word(it).unwrap_or_default()).collect();
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let is = |word: &str| words.iter().any(|it| it == word);
    match (word(0), word(1)) {
        ("BEGIN" | "COMMIT" | "ROLLBACK" | "END" | "ABORT", _) | ("START", "TRANSACTION")
            if word(1) != "TO" =>
        {
            Turn::Takes
        }
        ("VACUUM", _) | ("ALTER", "SYSTEM") => Turn::Alone,
        ("CREATE" | "DROP", "DATABASE" | "TABLESPACE") => Turn::Alone,
        ("CREATE" | "DROP" | "REINDEX" | "ALTER", _) if is("CONCURRENTLY") => Turn::Alone,
        _ => Turn::Inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_those_of_the_file_in_their_words() {
        let text = "-- +goose Up\nCREATE TABLE ä (b text DEFAULT ';');  INSERT INTO ä\n VALUES ('ö;');\n-- +goose Down\nDROP TABLE ä;";
        let found = parts(text, SqlDialect::PostgreSql);
        let told: Vec<_> = found.iter().map(|part| (part.text.as_str(), part.line)).collect();
        assert_eq!(told, [("CREATE TABLE ä (b text DEFAULT ';')", 2), ("INSERT INTO ä\n VALUES ('ö;')", 2)]);
    }

    #[test]
    fn what_no_transaction_can_have_is_told() {
        let turns = |text: &str| -> Vec<_> {
            parts(text, SqlDialect::PostgreSql).into_iter().map(|part| part.turn).collect()
        };
        use Turn::{Alone, Inside, Takes};
        assert_eq!(turns("BEGIN; SELECT 1; COMMIT"), [Takes, Inside, Takes]);
        assert_eq!(turns("CREATE UNIQUE INDEX CONCURRENTLY a ON b (c); VACUUM b"), [Alone, Alone]);
        assert_eq!(turns("SAVEPOINT a; ROLLBACK TO a; CREATE TABLE c (d int)"), [Inside; 3]);
        assert_eq!(turns("SELECT 'it''s"), [Inside], "it cannot be parted");
    }

    #[test]
    fn a_trigger_is_one_statement() {
        let text = "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = 1; END; SELECT 2";
        let found = parts(text, SqlDialect::Sqlite);
        assert_eq!(found.len(), 2);
        assert!(found[0].text.ends_with("END"));
    }
}
