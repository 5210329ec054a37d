//! Names of services, environments, stages and people, checked once at the edge.
//!
//! Invariant: a value of one of these types has passed its rule; nothing below the edge checks it again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use crate::as_text::as_text;

/// Longest name of a service, environment or stage: a DNS label, so that names can become host names.
pub const MAX_NAME_LENGTH: usize = 63;
/// Longest name of an actor: enough for an e-mail address or `user@host`.
pub const MAX_ACTOR_LENGTH: usize = 128;
/// Longest name of a host (RFC 1035).
pub const MAX_HOST_LENGTH: usize = 253;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a valid {what} name: {why}")]
pub struct NameError {
    /// What the text was meant to name.
    pub what: &'static str,
    /// The text, cut to a printable length.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

fn label_problem(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_NAME_LENGTH {
        Some("it is longer than 63 characters")
    } else if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Some("it must start with a letter from a to z")
    } else if !text.chars().all(allowed) {
        Some("only a-z, 0-9 and - are allowed")
    } else if text.ends_with('-') {
        Some("it must not end with -")
    } else {
        None
    }
}

fn zone_problem(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_NAME_LENGTH {
        Some("it is longer than 63 characters")
    } else if !text.chars().all(allowed) {
        Some("only letters, digits and -_. are allowed")
    } else {
        None
    }
}

/// A name is one of the DNS; what would be read as an address is none.
fn host_problem(text: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        (1..=MAX_NAME_LENGTH).contains(&label.len()) && label.chars().all(allowed) && !label.starts_with('-')
    };
    let dotted = text.strip_suffix('.').unwrap_or(text);
    let last = dotted.rsplit('.').next().unwrap_or_default();
    if text.len() > MAX_HOST_LENGTH {
        Some("it is longer than 253 characters")
    } else if !dotted.split('.').all(is_label) {
        Some("it is parts of a-z, 0-9, - and _ with dots between them")
    } else if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        Some("it would be taken for an address")
    } else {
        None
    }
}

fn actor_problem(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_ACTOR_LENGTH {
        Some("it is longer than 128 bytes")
    } else if text.chars().any(char::is_control) {
        Some("it contains a control character")
    } else {
        None
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $problem:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                match $problem(text) {
                    None => Ok(Self(text.into())),
                    Some(why) => {
                        Err(NameError { what: $what, text: text.chars().take(80).collect(), why })
                    }
                }
            }
        }

        as_text!($name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// The name of a service, unique in a Lockstep installation.
    ServiceName, "service", label_problem
);
name!(
    /// The name of an environment, such as `production`.
    EnvironmentName, "environment", label_problem
);
name!(
    /// The name of a job of a service.
    JobName, "job", label_problem
);
name!(
    /// A database that versions of an environment bring migrations for, such as `orders`.
    DatabaseName, "database", label_problem
);
name!(
    /// The name of a process of a service.
    ProcessName, "process", label_problem
);
name!(
    /// The name of a resource, as services refer to it.
    ResourceName, "resource", label_problem
);
name!(
    /// The name of a gateway of its own.
    GatewayName, "gateway", label_problem
);
name!(
    /// The name of a certificate in an environment.
    CertificateName, "certificate", label_problem
);
name!(
    /// The name of a target of notices, of a silence, or of a rule of alerts.
    WatchingName, "watching", label_problem
);
name!(
    /// The name of a lane in an environment.
    LaneName, "lane", label_problem
);
name!(
    /// Where instances and gateways stand that are near each other, such as `eu-1a`.
    ZoneName, "zone", zone_problem
);
name!(
    /// A name that the DNS knows a host by, such as `db.example.org`; one that ends with a dot is looked for as it is.
    DnsName, "host", host_problem
);
name!(
    /// The name of a host that instances run on, such as `web1`: what we call it, whatever it calls itself.
    HostName, "host", label_problem
);
name!(
    /// What a label of a host is about, such as `zone`.
    LabelName, "label", label_problem
);
name!(
    /// What a label of a host says, such as `eu-1a`.
    LabelValue, "label value", zone_problem
);
name!(
    /// The name of a lifecycle stage, such as `pre-release`.
    StageName, "stage", label_problem
);
name!(
    /// Who did something: a person, a token, or `lockstep` itself.
    Actor, "actor", actor_problem
);

impl Actor {
    /// Returns the actor of everything that Lockstep does by itself.
    #[must_use]
    pub fn lockstep() -> Self {
        Self("lockstep".into())
    }

    /// Returns what is the same for all spellings of a name: case, the form of its letters, spaces, what cannot be seen, and the
    /// words in front of an address. Two actors with the same are one person; who a person is, is a claim all the same.
    #[must_use]
    pub fn person(&self) -> String {
        let address = self
            .0
            .trim()
            .strip_suffix('>')
            .and_then(|text| text.rsplit_once('<'))
            .map(|(_, address)| address);
        let seen = |c: &char| !is_invisible(*c);
        let plain: String = address.unwrap_or(&self.0).nfkc().filter(seen).collect();
        // Lower case after upper case folds what has no case of its own length, as `ß` and `ς`.
        let folded: String = plain.to_uppercase().to_lowercase().nfkc().collect();
        folded.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Characters that change nothing that a person sees: soft hyphens, joiners, marks of direction, variations.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_the_same_in_every_spelling() {
        let person = |text: &str| text.parse::<Actor>().unwrap().person();
        for other in [
            "Ann@Example.org",
            " ann@example.org ",
            "ANN@EXAMPLE.ORG",
            "ann@\u{200b}example.org",
            "Ann Lee <ann@example.org>",
            "ａｎｎ@example.org",
        ] {
            assert_eq!(person("ann@example.org"), person(other), "{other:?}");
        }
        assert_eq!(person("Jürgen  Groß"), person("ju\u{308}rgen GROSS"));
        assert_eq!(person("ΟΔΥΣΣΕΥΣ"), person("οδυσσευς"));
        for other in ["anna@example.org", "ann@example.com", "a nn@example.org", "<ann>"] {
            assert_ne!(person("ann@example.org"), person(other), "{other}");
        }
    }

    #[test]
    fn label_rules_are_enforced() {
        for good in ["a", "orders", "orders-2", &"a".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "2orders", "Orders", "or_ders", "orders-", "../x", "o s", &"a".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_and_never_addresses() {
        for good in ["a", "db.example.org", "db.example.org.", "my_db", "1.example", "xn--bcher-kva.example"]
        {
            assert!(good.parse::<DnsName>().is_ok(), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "A",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "a b",
            "::1",
            "a:1",
            &long,
        ] {
            assert!(bad.parse::<DnsName>().is_err(), "{bad}");
        }
        assert!("eu-1a".parse::<ZoneName>().is_ok() && "".parse::<ZoneName>().is_err());
    }

    #[test]
    fn error_names_the_rule() {
        let error = "Orders".parse::<EnvironmentName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`Orders` is not a valid environment name: it must start with a letter from a to z"
        );
    }

    #[test]
    fn serde_refuses_what_the_parser_refuses() {
        assert!(serde_json::from_str::<ServiceName>("\"a b\"").is_err());
        assert!(serde_json::from_str::<Actor>("\"ann@host\"").is_ok());
    }
}
