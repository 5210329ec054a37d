//! GraphQL text to tokens, each with its line.
//!
//! It knows the lexical grammar and nothing else; commas, comments and white space vanish here.

/// One token of GraphQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Punctuator(&'a str),
    Name(&'a str),
    Integer(&'a str),
    Float(&'a str),
    /// The text between the quotes, as written.
    Text(&'a str),
    End,
}

/// A character that begins no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LexError {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Reads tokens one by one.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 }
    }

    /// Reads the next token and the line it begins on.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, u32), LexError> {
        self.skip_ignored();
        let line = self.line;
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok((Token::End, line)) };
        let token = match first {
            '.' if rest.starts_with("...") => self.take(3, Token::Punctuator),
            '!' | '$' | '&' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '|' | '}' => {
                self.take(1, Token::Punctuator)
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                self.take(run(rest, |b| b == b'_' || b.is_ascii_alphanumeric()), Token::Name)
            }
            '-' | '0'..='9' => self.number(rest),
            '"' => return Ok((self.text(rest)?, line)),
            other => return Err(self.error(format!("unexpected character {other:?}"))),
        };
        Ok((token, line))
    }

    fn take(&mut self, length: usize, make: impl Fn(&'a str) -> Token<'a>) -> Token<'a> {
        let token = make(&self.text[self.at..self.at + length]);
        self.at += length;
        token
    }

    fn number(&mut self, rest: &str) -> Token<'a> {
        let length = run(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'));
        let float = rest[..length].contains(['.', 'e', 'E']);
        self.take(length, if float { Token::Float } else { Token::Integer })
    }

    fn text(&mut self, rest: &'a str) -> Result<Token<'a>, LexError> {
        let (open, block) = if rest.starts_with("\"\"\"") { (3, true) } else { (1, false) };
        let Some(inner) = text_length(&rest[open..], block) else {
            return Err(self.error("a string has no end".to_owned()));
        };
        let text = &rest[open..open + inner];
        self.at += open + inner + open;
        self.line = self.line.saturating_add(newlines(text));
        Ok(Token::Text(text))
    }

    fn skip_ignored(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blank = run(rest, |b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b','));
            let comment =
                if rest[blank..].starts_with('#') { run(&rest[blank..], |b| b != b'\n') } else { 0 };
            if blank + comment == 0 {
                return;
            }
            self.line = self.line.saturating_add(newlines(&rest[..blank]));
            self.at += blank + comment;
        }
    }

    fn error(&self, message: String) -> LexError {
        LexError { line: self.line, message }
    }
}

fn run(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len())
}

/// Measures a string up to its closing quotes.
fn text_length(text: &str, block: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if block && bytes[at..].starts_with(b"\\\"\"\"") => at += 4,
            b'\\' if !block => at += 2,
            b'"' if !block || bytes[at..].starts_with(b"\"\"\"") => return Some(at),
            b'\n' if !block => return None,
            _ => at += 1,
        }
    }
    None
}

fn newlines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_count_their_lines() {
        let mut lexer = Lexer::new("# a\n\"\"\"b \\\"\"\"\nc\"\"\" d \"e\\\"f\"");
        let mut next = || lexer.next().expect("a token");
        assert_eq!(next(), (Token::Text("b \\\"\"\"\nc"), 2));
        assert_eq!(next(), (Token::Name("d"), 3));
        assert_eq!(next(), (Token::Text("e\\\"f"), 3));
        assert_eq!(next(), (Token::End, 3));
    }
}
