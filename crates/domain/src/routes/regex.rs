//! Regular expressions that are bounded in size and read each byte once: a deterministic automaton, made when a table is taken.

use std::fmt;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};
use thiserror::Error;

/// Longest expression.
const MAX_REGEX_BYTES: usize = 256;
/// Most memory of one automaton: usual ones need a few kilobytes, and each table has them all.
const MAX_AUTOMATON_BYTES: usize = 64 * 1_024;
/// Most memory while it is made.
const MAX_BUILDING_BYTES: usize = 512 * 1_024;
/// How deep groups may lie in each other.
const MAX_NESTING: u32 = 32;

/// Why a regular expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegexError {
    /// It is too long.
    #[error("the expression is longer than {MAX_REGEX_BYTES} bytes")]
    TooLong,
    /// It is none, or needs too much memory.
    #[error("the expression cannot be used: {0}")]
    Invalid(String),
}

/// An expression that has to take the whole value. Letters of classes such as `\w` are those of ASCII.
#[derive(Clone)]
pub(super) struct Regex(dense::DFA<Vec<u32>>);

impl Regex {
    /// Makes it.
    ///
    /// # Errors
    /// When it is none, is too long, or its automaton would be too large.
    pub(super) fn new(text: &str) -> Result<Self, RegexError> {
        if text.len() > MAX_REGEX_BYTES {
            return Err(RegexError::TooLong);
        }
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .accelerate(false)
            .dfa_size_limit(Some(MAX_AUTOMATON_BYTES))
            .determinize_size_limit(Some(MAX_BUILDING_BYTES));
        let nfa = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_AUTOMATON_BYTES));
        let syntax = syntax::Config::new().unicode(false).utf8(false).nest_limit(MAX_NESTING);
        let mut builder = dense::Builder::new();
        let built = builder.configure(config).thompson(nfa).syntax(syntax).build(text);
        built.map(Self).map_err(|error| RegexError::Invalid(reason(&error)))
    }

    /// Tells whether it takes a whole value.
    pub(super) fn takes(&self, value: &[u8]) -> bool {
        let begin = start::Config::new().anchored(Anchored::Yes);
        let Ok(mut state) = self.0.start_state(&begin) else { return false };
        for &byte in value {
            state = self.0.next_state(state, byte);
            if self.0.is_dead_state(state) {
                return false;
            }
        }
        self.0.is_match_state(self.0.next_eoi_state(state))
    }
}

/// The last line of a reason says most; those before show the expression, which is known.
fn reason(error: &dense::BuildError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Regex")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_takes_the_whole_value() {
        let table = [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("a|ab", "xa", false),
            ("2\\.[0-9]+", "2.17", true),
            ("2\\.[0-9]+", "2.17 ", false),
            ("(?i)beta", "BETA", true),
            ("(?x)a # note", "a", true),
            ("", "", true),
            ("", "a", false),
            ("^a$", "a", true),
            ("a)|(b", "a", false),
            (".*", "a\u{e9}", true),
        ];
        for (expression, value, expected) in table {
            let taken = Regex::new(expression).is_ok_and(|regex| regex.takes(value.as_bytes()));
            assert_eq!(taken, expected, "{expression} {value}");
        }
    }

    #[test]
    fn an_expression_that_could_cost_much_is_refused() {
        for bad in ["(", "[a-", "a{4000}", "(a|b)*a(a|b){20}", "(?:a{100}){100}", "(?=a)"] {
            let why = Regex::new(bad).map(|_| ()).unwrap_err().to_string();
            assert!(!why.is_empty() && !why.contains('\n'), "{bad}: {why}");
        }
        assert_eq!(Regex::new(&"a".repeat(257)).map(|_| ()), Err(RegexError::TooLong));
    }
}
