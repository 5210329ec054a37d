//! What contracting a database takes for ever: shown before it is crossed, and approved as it was shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::intent::{DatabaseWish, Intent};
use crate::name::DatabaseName;
use crate::operation::Plan;
use crate::version::VersionRef;

/// What contracting takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contraction {
    /// Which database.
    pub database: DatabaseName,
    /// The migrations that will run, in their order.
    pub migrations: Vec<String>,
    /// Those of them that take something away.
    pub contracts: Vec<String>,
    /// What no way back restores, of each migration that says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub one_way: BTreeMap<String, Vec<String>>,
    /// Versions that ran here and cannot come back afterwards.
    pub lost: Vec<VersionRef>,
    /// The newest baseline that cannot be gone back to afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_up_to: Option<u64>,
    /// The oldest baseline from which on all can still be gone back to.
    pub stays_from: u64,
}

impl Contraction {
    /// Returns the word by which exactly this is approved: another one for anything that is not the same.
    #[must_use]
    pub fn code(&self) -> String {
        let text = serde_json::to_string(self).expect("plain data is JSON");
        // FNV-1a: the word protects from approving what was not looked at, not from somebody who may approve.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// Tells whether a plan takes something that its intent does not approve.
#[must_use]
pub fn unapproved<'a>(plan: &'a Plan, intent: &Intent) -> Option<&'a Contraction> {
    let contraction = plan.contraction.as_ref()?;
    let approved = match intent {
        Intent::Database { wish: DatabaseWish::Contract { approved }, .. } => approved.as_deref(),
        _ => None,
    };
    (approved != Some(contraction.code().as_str())).then_some(contraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_another_one_for_anything_else() {
        let of = |migrations: &[&str], lost: &[&str], stays_from| Contraction {
            database: "main".parse().unwrap(),
            migrations: migrations.iter().map(|&name| name.to_owned()).collect(),
            contracts: Vec::new(),
            one_way: BTreeMap::new(),
            lost: lost.iter().map(|version| version.parse().unwrap()).collect(),
            lost_up_to: None,
            stays_from,
        };
        let one = of(&["5.sql"], &["a@1.0.0"], 2);
        assert_eq!(one.code(), of(&["5.sql"], &["a@1.0.0"], 2).code());
        for other in [
            of(&["5.sql", "6.sql"], &["a@1.0.0"], 2),
            of(&["5.sql"], &[], 2),
            of(&["5.sql"], &["a@1.0.0"], 3),
        ] {
            assert_ne!(one.code(), other.code());
        }
    }
}
