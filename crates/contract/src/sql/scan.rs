//! Which parts of a migration's text are statements, and which are strings, bodies and comments.
//!
//! It never fails: what nothing closes goes to the end of the text.

use crate::SqlDialect;

/// A line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) text: &'t str,
    /// It begins outside of strings, bodies and comments of several lines.
    pub(super) is_top: bool,
    /// Its text, with spaces in the place of strings, bodies and comments.
    pub(super) code: String,
}

impl Line<'_> {
    /// Tells whether any of it is a part of a statement.
    pub(super) fn is_blank(&self) -> bool {
        self.code.trim().is_empty()
    }

    /// The comment that is all of the line.
    pub(super) fn comment(&self) -> Option<&str> {
        let text = self.text.trim();
        let is_block = text.starts_with("/*") && text.ends_with("*/");
        let is_one = text.starts_with("--") || text.starts_with('#') || is_block;
        (self.is_top && is_one && self.is_blank()).then_some(text)
    }
}

/// Parts a text into its lines.
pub(super) fn lines(text: &str, dialect: SqlDialect) -> Vec<Line<'_>> {
    let mut scan = Scan { text, at: 0, dialect, code: String::with_capacity(text.len()), tops: vec![true] };
    while scan.at < text.len() {
        match scan.hidden() {
            Some(length) => scan.hide(length),
            None => scan.keep(),
        }
    }
    let Scan { code, tops, .. } = scan;
    let lines = text.split('\n').zip(code.split('\n')).zip(tops);
    lines.map(|((text, code), is_top)| Line { text, is_top, code: code.to_owned() }).collect()
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    dialect: SqlDialect,
    code: String,
    /// Of each line whether it begins outside of everything.
    tops: Vec<bool>,
}

impl Scan<'_> {
    /// How many bytes a string, body or comment has that begins here.
    fn hidden(&self) -> Option<usize> {
        use SqlDialect::{MySql, PostgreSql, Sqlite};
        let (rest, dialect) = (&self.text[self.at..], self.dialect);
        let line = || Some(rest.find('\n').unwrap_or(rest.len()));
        match rest.chars().next()? {
            quote @ ('\'' | '"') => Some(quoted(rest, quote, self.escapes(quote))),
            '`' if dialect != PostgreSql => Some(quoted(rest, '`', false)),
            '[' if dialect == Sqlite => Some(rest.find(']').map_or(rest.len(), |at| at + 1)),
            '$' if dialect == PostgreSql && !self.is_after_word() => body(rest),
            '-' if is_line_comment(rest, dialect) => line(),
            '#' if dialect == MySql => line(),
            '/' if rest.starts_with("/*") => Some(block(rest, dialect == PostgreSql)),
            _ => None,
        }
    }

    /// Tells whether a backslash stands before a quote that closes nothing.
    fn escapes(&self, quote: char) -> bool {
        let mut before = self.text[..self.at].chars().rev();
        let is_escape = |letter: Option<char>| letter.is_some_and(|letter| matches!(letter, 'e' | 'E'));
        match self.dialect {
            SqlDialect::MySql => true,
            SqlDialect::PostgreSql => {
                quote == '\'' && is_escape(before.next()) && !before.next().is_some_and(is_of_word)
            }
            SqlDialect::Sqlite => false,
        }
    }

    fn is_after_word(&self) -> bool {
        self.text[..self.at].chars().next_back().is_some_and(is_of_word)
    }

    fn hide(&mut self, length: usize) {
        let hidden = &self.text[self.at..self.at + length];
        for letter in hidden.chars() {
            if letter == '\n' {
                self.tops.push(false);
            }
            self.code.push(if letter == '\n' { '\n' } else { ' ' });
        }
        self.at += length;
    }

    fn keep(&mut self) {
        let Some(letter) = self.text[self.at..].chars().next() else { return };
        if letter == '\n' {
            self.tops.push(true);
        }
        self.code.push(letter);
        self.at += letter.len_utf8();
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

fn is_line_comment(rest: &str, dialect: SqlDialect) -> bool {
    let after = rest.strip_prefix("--");
    // For MySQL `5--3` is arithmetic.
    after.is_some_and(|after| {
        dialect != SqlDialect::MySql || !after.starts_with(|it: char| !it.is_whitespace())
    })
}

/// The length of what stands in quotes, where two of them are one.
fn quoted(rest: &str, quote: char, escapes: bool) -> usize {
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}

/// The length of a body between two equal marks such as `$$` or `$name$`.
fn body(rest: &str) -> Option<usize> {
    let name = rest[1..].find('$')?;
    let mark = &rest[..name + 2];
    let inner = &mark[1..=name];
    let is_name = !inner.starts_with(|it: char| it.is_ascii_digit())
        && inner.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    let end = || rest[mark.len()..].find(mark).map_or(rest.len(), |at| at + 2 * mark.len());
    is_name.then(end)
}

/// The length of a comment of several lines.
fn block(rest: &str, is_nested: bool) -> usize {
    let (mut depth, mut at) = (1_usize, 2);
    while let Some(next) = rest[at..].find(['/', '*']) {
        at += next;
        let here = &rest[at..];
        if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else if is_nested && here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str, dialect: SqlDialect) -> String {
        let words = lines(text, dialect).into_iter().map(|line| line.code).collect::<Vec<_>>().join(" ");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strings_bodies_and_comments_are_no_code() {
        use SqlDialect::{MySql, PostgreSql, Sqlite};
        for (text, dialect, left) in [
            ("a 'b''; -- c' d", PostgreSql, "a d"),
            ("a E'b\\'c' d", PostgreSql, "a E d"),
            ("a 'b\\' d", PostgreSql, "a d"),
            ("a 'b\\' c' d", MySql, "a d"),
            ("a $x$ b $$ c $x$ d$1$ e", PostgreSql, "a d$1$ e"),
            ("a /* b /* c */ d */ e", PostgreSql, "a e"),
            ("a /* b /* c */ d", Sqlite, "a d"),
            ("a /*/ b */ c", Sqlite, "a c"),
            ("a [b'c] `d'e` f", Sqlite, "a f"),
            ("5--3\n# b\n-- c\nd", MySql, "5--3 d"),
            ("a -- b\nc 'd", Sqlite, "a c"),
        ] {
            assert_eq!(code(text, dialect), left, "{text}");
        }
    }

    #[test]
    fn a_line_inside_of_something_is_not_on_top() {
        let text = "a 'b\n-- c\n' d\n-- e";
        let tops: Vec<_> = lines(text, SqlDialect::PostgreSql).into_iter().map(|line| line.is_top).collect();
        assert_eq!(tops, [true, false, false, true]);
    }

    proptest! {
        #[test]
        fn every_text_has_its_lines(text in "([-'\"$/*#\\[\\]`\\\\eéx\n;]|\\$\\$|--|/\\*){0,40}") {
            for dialect in [SqlDialect::PostgreSql, SqlDialect::MySql, SqlDialect::Sqlite] {
                let found = lines(&text, dialect);
                let again: Vec<_> = found.iter().map(|line| line.text).collect();
                prop_assert_eq!(again.join("\n"), text.as_str());
                prop_assert!(found.iter().all(|line| line.code.chars().count() == line.text.chars().count()));
            }
        }
    }
}
