//! Protocols that a connection of a route may switch to, beside WebSocket, which every route passes.
//!
//! A gateway knows nothing of them and passes bytes. So each is named by the one who knows that the service speaks it; and what would speak HTTP or TLS
//! with an instance past the gateway, without its rules, is none of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// The format that a gateway must take where a route passes upgrades.
pub const FORMAT_WITH_UPGRADES: u32 = 25;
/// Most of a route.
pub const MAX_UPGRADES: usize = 8;
/// Longest name, with its version.
const MAX_LENGTH: usize = 40;

/// The name of a protocol, as `upgrade` has it: `tcp`, `spdy/3.1`. Case says nothing, and it is kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UpgradeName(Arc<str>);

/// Why a text names no protocol that a route can pass.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpgradeError {
    /// It is no name.
    #[error(
        "a protocol to switch to is a name of at most {MAX_LENGTH} letters, digits and hyphens, with a version or without: `tcp`, `spdy/3.1`"
    )]
    Form,
    /// Every route has it.
    #[error("`websocket` is passed by every route")]
    WebSocket,
    /// Nothing of the gateway would hold for it.
    #[error("`{0}` would speak HTTP or TLS with an instance past the gateway")]
    PastGateway(String),
}

impl UpgradeName {
    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether the value of a field is this name.
    #[must_use]
    pub fn is(&self, value: &[u8]) -> bool {
        value.eq_ignore_ascii_case(self.0.as_bytes())
    }
}

impl FromStr for UpgradeName {
    type Err = UpgradeError;

    fn from_str(text: &str) -> Result<Self, UpgradeError> {
        let text = text.to_ascii_lowercase();
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._+".contains(&it))
        };
        let (name, version) =
            text.split_once('/').map_or((text.as_str(), None), |(name, version)| (name, Some(version)));
        if text.len() > MAX_LENGTH || !is_part(name) || !version.is_none_or(is_part) {
            return Err(UpgradeError::Form);
        }
        match name {
            "websocket" => Err(UpgradeError::WebSocket),
            "h2c" | "h2" | "h3" | "http" | "tls" => Err(UpgradeError::PastGateway(text)),
            _ => Ok(Self(text.into())),
        }
    }
}

as_text!(UpgradeName);

impl fmt::Display for UpgradeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Tells whether a list of them can be used: few, and none twice.
pub(super) fn is_list(upgrades: &[UpgradeName]) -> bool {
    let is_twice = |(at, name): (usize, &UpgradeName)| upgrades[..at].contains(name);
    upgrades.len() <= MAX_UPGRADES && !upgrades.iter().enumerate().any(is_twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_protocols_that_pass_as_bytes() {
        for (text, name) in [("tcp", "tcp"), ("SPDY/3.1", "spdy/3.1"), ("docker-raw", "docker-raw")] {
            assert_eq!(text.parse::<UpgradeName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(41);
        for bad in ["", "/", "a/", "/1", "a b", "a,b", "a\r\nb", "a/1/2", "\u{e9}", &long] {
            assert_eq!(bad.parse::<UpgradeName>(), Err(UpgradeError::Form), "{bad:?}");
        }
        assert_eq!("WebSocket".parse::<UpgradeName>(), Err(UpgradeError::WebSocket));
        for past in ["h2c", "HTTP/2.0", "tls/1.2", "h2"] {
            assert!(matches!(past.parse::<UpgradeName>(), Err(UpgradeError::PastGateway(_))), "{past}");
        }
    }

    #[test]
    fn a_value_is_the_name_whatever_its_case_and_nothing_else() {
        let name: UpgradeName = "spdy/3.1".parse().unwrap();
        assert!(name.is(b"SPDY/3.1") && name.is(b"spdy/3.1"));
        assert!(!name.is(b"spdy/3.10") && !name.is(b"spdy/3.1, h2c") && !name.is(b""));
    }
}
