//! Certificates of an environment: what is known of them without their keys, which names they are for, and when they end.
//!
//! The key of a certificate is a secret and never here: what is here may be shown to everybody who may ask.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{Actor, CertificateName};
use crate::request_host::WILDCARD;
use crate::time::Timestamp;

/// Most certificates of an environment.
pub const MAX_CERTIFICATES: usize = 200;
/// From so many days before its end on it is said that a certificate ends.
pub const SAID_FROM_DAYS: u64 = 21;
/// A day in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is known of a certificate without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateFacts {
    /// SHA-256 of the whole chain, with the answer about its revocation where there is one.
    pub digest: Digest,
    /// The names it is for, in lower case; one may begin with `*.`.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// The kind of its key, `ECDSA P-256` or `RSA 2048`.
    pub key_kind: String,
    /// From when on it is valid, by the wall clock.
    pub valid_from: Timestamp,
    /// Until when, by the wall clock.
    pub valid_until: Timestamp,
}

/// A certificate of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// What it is.
    #[serde(flatten)]
    pub facts: CertificateFacts,
    /// The name under which chain and key are kept as a secret.
    pub secret: String,
    /// Since when.
    pub at: Timestamp,
    /// Who gave it.
    pub by: Actor,
}

/// A certificate as a route table names it: gateways have it, or ask for it by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableCertificate {
    /// Its name in the environment.
    pub name: CertificateName,
    /// What tells it from every other one.
    pub digest: Digest,
}

/// How a certificate stands at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not valid yet.
    NotYet,
    /// It is valid for long.
    Good,
    /// It ends in so many days; 0 for less than one.
    Ends {
        /// How many.
        days: u64,
    },
    /// It is over.
    Over,
}

impl CertificateFacts {
    /// Tells how it stands at a time of the wall clock.
    #[must_use]
    pub fn standing(&self, wall: Timestamp) -> Standing {
        if wall < self.valid_from {
            return Standing::NotYet;
        }
        if wall >= self.valid_until {
            return Standing::Over;
        }
        let days = self.valid_until.since_ms(wall) / DAY_MS;
        if days <= SAID_FROM_DAYS { Standing::Ends { days } } else { Standing::Good }
    }

    /// Says for people what is to be known of its end; nothing while that is far.
    #[must_use]
    pub fn warning(&self, wall: Timestamp) -> Option<String> {
        let name = self.names.first().map_or("?", String::as_str);
        match self.standing(wall) {
            Standing::Good => None,
            Standing::NotYet => {
                Some(format!("the certificate of {name} is not valid before {}", self.valid_from))
            }
            Standing::Ends { days: 0 } => Some(format!("the certificate of {name} ends within a day")),
            Standing::Ends { days: 1 } => Some(format!("the certificate of {name} ends in 1 day")),
            Standing::Ends { days } => Some(format!("the certificate of {name} ends in {days} days")),
            Standing::Over => Some(format!(
                "the certificate of {name} ENDED on {}: clients refuse it",
                self.valid_until.day()
            )),
        }
    }

    /// Tells whether it is for a host, which is in its one form.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| covers(name, host))
    }
}

/// Tells whether a name of a certificate is for a host: itself, or `*.shop.test` for one label below `shop.test`.
#[must_use]
pub fn covers(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(parent) = name.strip_prefix(WILDCARD) else { return false };
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
}

/// Returns the names that clients come by no more when the certificates that stay are for these names: what none of them is for.
///
/// A wildcard is lost unless the same one stays, since nobody knows which hosts below it are asked for.
#[must_use]
pub fn lost<'a>(before: &'a [String], staying: &[&str]) -> Vec<&'a str> {
    let stays = |name: &&String| staying.iter().any(|it| covers(it, name));
    before.iter().filter(|name| !stays(name)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_for_itself_and_a_wildcard_for_one_label_below() {
        let yes = [
            ("shop.test", "shop.test"),
            ("Shop.Test", "shop.test"),
            ("*.shop.test", "a.shop.test"),
            ("*.test", "shop.test"),
        ];
        let no = [
            ("*.shop.test", "shop.test"),
            ("*.shop.test", "a.b.shop.test"),
            ("*.shop.test", ".shop.test"),
            ("*.shop.test", "ashop.test"),
            ("shop.test", "a.shop.test"),
            ("a*.shop.test", "ab.shop.test"),
            ("*", "shop"),
        ];
        yes.iter().for_each(|(name, host)| assert!(covers(name, host), "{name} {host}"));
        no.iter().for_each(|(name, host)| assert!(!covers(name, host), "{name} {host}"));
    }

    fn facts(valid_from: u64, valid_until: u64) -> CertificateFacts {
        CertificateFacts {
            digest: Digest::from_bytes([0; 32]),
            names: vec!["shop.test".into()],
            issuer: "us".into(),
            key_kind: "ECDSA P-256".into(),
            valid_from: Timestamp(valid_from),
            valid_until: Timestamp(valid_until),
        }
    }

    #[test]
    fn its_end_is_said_from_three_weeks_before_on_and_loudly_afterwards() {
        let facts = facts(DAY_MS, 100 * DAY_MS);
        let said = |day: u64| facts.warning(Timestamp(day * DAY_MS));
        assert!(said(0).unwrap().contains("not valid before"));
        assert_eq!(said(78), None);
        assert_eq!(said(79).unwrap(), "the certificate of shop.test ends in 21 days");
        assert_eq!(said(99).unwrap(), "the certificate of shop.test ends in 1 day");
        assert!(said(100).unwrap().contains("ENDED"));
    }

    #[test]
    fn lost_is_what_no_certificate_that_stays_is_for() {
        let before = ["shop.test", "a.shop.test", "*.old.test"].map(str::to_owned);
        assert_eq!(lost(&before, &["shop.test"]), ["a.shop.test", "*.old.test"]);
        assert_eq!(lost(&before, &["*.shop.test", "shop.test", "b.old.test"]), ["*.old.test"]);
        assert!(lost(&before, &["*.shop.test", "SHOP.test", "*.old.test"]).is_empty());
    }

    proptest! {
        #[test]
        fn what_stays_is_never_lost_and_what_is_lost_is_of_before(
            before in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..6),
            staying in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..6),
        ) {
            let staying: Vec<&str> = staying.iter().map(String::as_str).collect();
            for name in &before {
                let is_lost = lost(&before, &staying).contains(&name.as_str());
                prop_assert_eq!(is_lost, !staying.iter().any(|it| covers(it, name)));
            }
            let all: Vec<&str> = before.iter().map(String::as_str).collect();
            prop_assert!(lost(&before, &all).is_empty());
        }

        #[test]
        fn a_wildcard_never_takes_its_parent_or_two_labels(one in "[a-z]{1,5}", two in "[a-z]{1,5}", parent in "[a-z]{1,5}\\.test") {
            let wildcard = format!("*.{parent}");
            let below = format!("{one}.{parent}");
            let deep = format!("{two}.{one}.{parent}");
            prop_assert!(covers(&wildcard, &below));
            prop_assert!(!covers(&wildcard, &parent));
            prop_assert!(!covers(&wildcard, &deep));
        }
    }
}
