//! Which route table: a history and a number in it. No clock has a part in it.
//!
//! A server numbers its tables within a history that it can prove to be the only one to continue; when it cannot (its
//! data folder was copied, restored or lost), it begins another. So a number is compared with numbers of one line only,
//! and a confirmation from another line is none.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// Longest name of a history.
const MAX_HISTORY: usize = 64;

/// The name of a line of tables that one server numbers. The empty one is that of tables from before there were histories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TableHistory(String);

/// A text that is no name of a history.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a history is named by at most {MAX_HISTORY} letters and digits")]
pub struct BadHistory;

impl TableHistory {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether it is that of tables from before there were histories.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for TableHistory {
    type Err = BadHistory;

    fn from_str(text: &str) -> Result<Self, BadHistory> {
        let fits = text.len() <= MAX_HISTORY && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits { Ok(Self(text.to_owned())) } else { Err(BadHistory) }
    }
}

impl fmt::Display for TableHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

as_text!(TableHistory);

/// A table's place: its history, and its number there. Revision 0 is no table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edition {
    /// The line of tables.
    pub history: TableHistory,
    /// Grows with every table of the history.
    pub revision: u64,
}

impl Edition {
    /// Tells whether a gateway that serves `self` certainly serves `published`, or what came after it.
    #[must_use]
    pub fn confirms(&self, published: &Self) -> bool {
        self.history == published.history && self.revision >= published.revision
    }

    /// Tells whether somebody who has `known` has something to learn from `self`: a later number, or another history.
    #[must_use]
    pub fn is_news_to(&self, known: &Self) -> bool {
        !known.confirms(self)
    }

    /// Returns the next place in the same history.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { history: self.history.clone(), revision: self.revision + 1 }
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.history.is_empty() {
            return write!(f, "{}", self.revision);
        }
        let short: String = self.history.0.chars().take(8).collect();
        write!(f, "{}/{short}", self.revision)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edition(history: &str, revision: u64) -> Edition {
        Edition { history: history.parse().unwrap(), revision }
    }

    #[test]
    fn a_higher_number_of_another_history_confirms_nothing() {
        assert!(!edition("a", 1_700_000_000_000).confirms(&edition("b", 3)));
        assert!(edition("b", 3).is_news_to(&edition("a", 1_700_000_000_000)));
        assert!(edition("b", 3).confirms(&edition("b", 3)));
        assert!(!edition("b", 3).is_news_to(&edition("b", 4)));
    }

    #[test]
    fn names_that_could_mean_something_elsewhere_are_refused() {
        for bad in ["a b", "a&after=9", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<TableHistory>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<TableHistory>("\"../x\"").is_err());
    }

    proptest! {
        #[test]
        fn whoever_confirms_has_nothing_to_learn(a in "[ab]", b in "[ab]", one in 0_u64..4, two in 0_u64..4) {
            let (one, two) = (edition(&a, one), edition(&b, two));
            prop_assert_eq!(one.confirms(&two), !two.is_news_to(&one));
            prop_assert!(one.next().is_news_to(&one) && one.next().confirms(&one));
        }
    }
}
