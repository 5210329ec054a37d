//! What contracting a database takes for ever: shown before it is crossed, and approved as it was shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Reversal;
use crate::digest::Digest;
use crate::intent::{DatabaseWish, Intent};
use crate::name::{DatabaseName, EnvironmentName};
use crate::operation::Plan;
use crate::version::VersionRef;

/// Digits of the word of an approval: so many that nobody finds two contractions with one word, and still few enough to be copied.
const WORD_DIGITS: usize = 32;

/// What contracting takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contraction {
    /// Which database.
    pub database: DatabaseName,
    /// The version whose migrations run; missing in plans of before it was a part of what is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionRef>,
    /// The artifact of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// The migrations that will run, in their order.
    pub migrations: Vec<String>,
    /// The SHA-256 of the content of each of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, Digest>,
    /// Those of them that take something away.
    pub contracts: Vec<String>,
    /// What no way back restores, of each migration that says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub one_way: BTreeMap<String, Vec<String>>,
    /// What was not understood in each migration that has such, so that nobody knows what else it takes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_understood: BTreeMap<String, Vec<String>>,
    /// Versions that ran here and cannot come back afterwards.
    pub lost: Vec<VersionRef>,
    /// Versions that ran in other environments with the same database, or under another name of it, and cannot come back there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_elsewhere: BTreeMap<EnvironmentName, Vec<VersionRef>>,
    /// The newest baseline that cannot be gone back to afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_up_to: Option<u64>,
    /// The oldest baseline from which on all can still be gone back to.
    pub stays_from: u64,
}

impl Contraction {
    /// Returns the word by which exactly this is approved: another one for anything that is not the same. Whoever writes migrations
    /// chooses much of what it is made of, so two things of one word must not be found.
    #[must_use]
    pub fn code(&self) -> String {
        code_of(self)
    }
}

/// The word of what is approved.
pub(super) fn code_of(what: &impl Serialize) -> String {
    let text = serde_json::to_string(what).expect("plain data is JSON");
    Digest::from_bytes(Sha256::digest(text).into()).to_string()[..WORD_DIGITS].to_owned()
}

/// What a plan takes of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken<'a> {
    /// What contracting takes.
    Contraction(&'a Contraction),
    /// What taking migrations back takes.
    Reversal(&'a Reversal),
}

impl<'a> Taken<'a> {
    /// Finds it in a plan.
    #[must_use]
    pub fn by(plan: &'a Plan) -> Option<Self> {
        let contraction = plan.contraction.as_ref().map(Self::Contraction);
        contraction.or_else(|| plan.reversal.as_deref().map(Self::Reversal))
    }

    /// Returns the word that approves it.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Contraction(it) => it.code(),
            Self::Reversal(it) => it.code(),
        }
    }
}

/// Tells whether a plan takes something that its intent does not approve.
#[must_use]
pub fn unapproved<'a>(plan: &'a Plan, intent: &Intent) -> Option<Taken<'a>> {
    let taken = Taken::by(plan)?;
    let approved = match (intent, taken) {
        (Intent::Database { wish: DatabaseWish::Contract { approved }, .. }, Taken::Contraction(_))
        | (Intent::Database { wish: DatabaseWish::Revert { approved, .. }, .. }, Taken::Reversal(_)) => {
            approved.as_deref()
        }
        _ => None,
    };
    (approved != Some(taken.code().as_str())).then_some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_another_one_for_anything_else() {
        let of = |migrations: &[&str], lost: &[&str], stays_from| Contraction {
            database: "main".parse().unwrap(),
            version: Some("a@1.1.0".parse().unwrap()),
            artifact: Some(Digest::from_bytes([1; 32])),
            migrations: migrations.iter().map(|&name| name.to_owned()).collect(),
            contents: migrations.iter().map(|&name| (name.to_owned(), Digest::from_bytes([2; 32]))).collect(),
            contracts: Vec::new(),
            one_way: BTreeMap::new(),
            not_understood: BTreeMap::new(),
            lost: lost.iter().map(|version| version.parse().unwrap()).collect(),
            lost_elsewhere: BTreeMap::new(),
            lost_up_to: None,
            stays_from,
        };
        let one = of(&["5.sql"], &["a@1.0.0"], 2);
        assert_eq!(one.code(), of(&["5.sql"], &["a@1.0.0"], 2).code());
        let with = |change: fn(&mut Contraction)| {
            let mut other = one.clone();
            change(&mut other);
            other
        };
        let words = |name: &str, said: &str| BTreeMap::from([(name.to_owned(), vec![said.to_owned()])]);
        for other in [
            of(&["5.sql", "6.sql"], &["a@1.0.0"], 2),
            of(&["5.sql"], &[], 2),
            of(&["5.sql"], &["a@1.0.0"], 3),
            with(|it| it.database = "other".parse().unwrap()),
            with(|it| it.version = Some("a@1.2.0".parse().unwrap())),
            with(|it| it.artifact = Some(Digest::from_bytes([3; 32]))),
            with(|it| it.contents = BTreeMap::from([("5.sql".to_owned(), Digest::from_bytes([3; 32]))])),
            with(|it| it.contracts = vec!["5.sql".to_owned()]),
            with(|it| it.lost_up_to = Some(1)),
            Contraction { one_way: words("5.sql", "gone"), ..one.clone() },
            Contraction { not_understood: words("5.sql", "DO"), ..one.clone() },
        ] {
            assert_ne!(one.code(), other.code());
        }
        assert_eq!(one.code().len(), WORD_DIGITS);
    }
}
