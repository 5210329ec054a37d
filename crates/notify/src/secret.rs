//! What must not be seen: addresses with a token in them, keys, passwords.
//!
//! Invariant: no text that this type makes holds the secret, and one that came as a value is not written out again: it is put
//! into the store first ([`crate::Target::keep_secrets`]), and its name takes its place.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret: itself, or the name under which it is stored.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Itself, as a person typed it or as the store gave it back.
    Value(String),
    /// The name of a stored one: `{ stored = "dingtalk-of-shop" }`.
    Stored(String),
}

impl Secret {
    /// Returns the secret itself, where it is at hand.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Stored(_) => None,
        }
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("(a secret)"),
            Self::Stored(name) => write!(f, "(stored as `{name}`)"),
        }
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::Value(value.to_owned())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Value(String),
    /// A structure would be read from a list as well, and a value in a list then taken for a name, which is shown.
    Stored(BTreeMap<String, String>),
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The words of the library would repeat what was written, which may be a secret in a wrong form.
        let wrong = || D::Error::custom("a secret is a text, or { stored = \"NAME\" }");
        match Written::deserialize(deserializer).map_err(|_| wrong())? {
            Written::Value(value) => Ok(Self::Value(value)),
            Written::Stored(mut fields) => match (fields.remove("stored"), fields.is_empty()) {
                (Some(name), true) => Ok(Self::Stored(name)),
                _ => Err(wrong()),
            },
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Stored(name) = self else {
            return Err(S::Error::custom(
                "a secret is not written out: it is stored first, and its name is written",
            ));
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("stored", name)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_text() {
        let secret: Secret = serde_json::from_str("\"SEC123\"").unwrap();
        assert_eq!(secret.reveal(), Some("SEC123"));
        assert!(!format!("{secret:?}").contains("SEC123"));
        assert!(!serde_json::to_string(&secret).unwrap_err().to_string().contains("SEC123"));
        let wrong = serde_json::from_str::<Secret>(r#"{"value":"SEC123"}"#).unwrap_err().to_string();
        assert!(!wrong.contains("SEC123") && wrong.contains("stored"), "{wrong}");
        let in_list = serde_json::from_str::<Secret>(r#"["SEC123"]"#).unwrap_err().to_string();
        assert!(!in_list.contains("SEC123"), "a value in a list is no name: {in_list}");
        let number = serde_json::from_str::<Secret>("4711").unwrap_err().to_string();
        assert!(!number.contains("4711"), "{number}");
    }

    #[test]
    fn a_name_goes_and_comes_back() {
        let secret: Secret = serde_json::from_str(r#"{"stored":"shop"}"#).unwrap();
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#"{"stored":"shop"}"#);
        assert_eq!(secret.reveal(), None);
    }
}
