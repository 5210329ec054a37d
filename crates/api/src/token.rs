//! A token: whoever has it may ask.

use std::fmt;

/// A token or a key. It is never written out by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a text for a token.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Takes a word for a token; `None` when it is empty, or has spaces or characters that cannot be sent in a header.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        is_word.then(|| Self::new(word.to_owned()))
    }

    /// Returns the text, for the one place that sends or compares it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_written_out() {
        assert!(!format!("{:?}", Token::new("secret".to_owned())).contains("secret"));
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(Token::of_word("aB3-_=").unwrap().reveal(), "aB3-_=");
        for wrong in ["", " ", "two words", "a\nb", "\u{e9}"] {
            assert!(Token::of_word(wrong).is_none(), "{wrong:?}");
        }
    }
}
