//! The name of a series: environment, service, version where it is of one, figure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes that each part of a key may have: twice what names of services and environments have at most.
pub const MAX_PART_LENGTH: usize = 128;
/// Bytes of a whole key.
pub(crate) const MAX_LENGTH: usize = 4 * MAX_PART_LENGTH + 3;

/// Names a series. Its text is `environment/service/version/figure`, with nothing between the second and third stroke for a figure of a
/// whole service; keys are ordered by their text, so those of a service lie side by side.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeriesKey(Arc<str>);

/// Why something is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It does not have four parts.
    #[error("the name of a series has four parts (environment/service/version/figure), not {0}")]
    Parts(usize),
    /// A part is empty that must not be.
    #[error("the {0} in the name of a series is empty")]
    Empty(&'static str),
    /// A part is too long.
    #[error("the {part} in the name of a series has {length} bytes; at most {MAX_PART_LENGTH} are kept")]
    Long {
        /// Which one.
        part: &'static str,
        /// Its bytes.
        length: usize,
    },
    /// A part has a stroke or a control character in it.
    #[error("the {part} in the name of a series has {character:?} in it")]
    Character {
        /// Which one.
        part: &'static str,
        /// The first such character.
        character: char,
    },
}

impl SeriesKey {
    /// Makes a key.
    ///
    /// # Errors
    /// When a part is empty, longer than [`MAX_PART_LENGTH`], or has a `/` or a control character in it.
    pub fn new(
        environment: &str,
        service: &str,
        version: Option<&str>,
        figure: &str,
    ) -> Result<Self, KeyError> {
        check_filled("environment", environment)?;
        check_filled("service", service)?;
        version.map_or(Ok(()), |version| check_filled("version", version))?;
        check_filled("figure", figure)?;
        Ok(Self(format!("{environment}/{service}/{}/{figure}", version.unwrap_or_default()).into()))
    }

    /// Returns the text of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the environment.
    #[must_use]
    pub fn environment(&self) -> &str {
        self.part(0)
    }

    /// Returns the service.
    #[must_use]
    pub fn service(&self) -> &str {
        self.part(1)
    }

    /// Returns the version; `None` for a figure of the whole service.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        Some(self.part(2)).filter(|version| !version.is_empty())
    }

    /// Returns the name of the figure.
    #[must_use]
    pub fn figure(&self) -> &str {
        self.part(3)
    }

    fn part(&self, number: usize) -> &str {
        self.0.split('/').nth(number).unwrap_or_default()
    }
}

fn check_filled(part: &'static str, text: &str) -> Result<(), KeyError> {
    let strange = |character: &char| *character == '/' || character.is_control();
    match text.chars().find(strange) {
        Some(character) => Err(KeyError::Character { part, character }),
        None if text.is_empty() => Err(KeyError::Empty(part)),
        None if text.len() > MAX_PART_LENGTH => Err(KeyError::Long { part, length: text.len() }),
        None => Ok(()),
    }
}

impl FromStr for SeriesKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts: Vec<&str> = text.splitn(6, '/').collect();
        let [environment, service, version, figure] = parts[..] else {
            return Err(KeyError::Parts(parts.len()));
        };
        Self::new(environment, service, Some(version).filter(|version| !version.is_empty()), figure)
    }
}

impl TryFrom<String> for SeriesKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<SeriesKey> for String {
    fn from(key: SeriesKey) -> Self {
        key.as_str().to_owned()
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_text_and_back() {
        let key = SeriesKey::new("production", "orders", Some("1.2.0+5"), "requests").unwrap();
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!((key.environment(), key.service()), ("production", "orders"));
        assert_eq!((key.version(), key.figure()), (Some("1.2.0+5"), "requests"));
        let whole = SeriesKey::new("production", "orders", None, "requests").unwrap();
        assert_eq!((whole.as_str(), whole.version()), ("production/orders//requests", None));
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<SeriesKey>(&json).unwrap(), whole);
    }

    #[test]
    fn what_is_no_key_says_why() {
        assert_eq!("a/b/c".parse::<SeriesKey>(), Err(KeyError::Parts(3)));
        assert_eq!("a/b/c/d/e".parse::<SeriesKey>(), Err(KeyError::Parts(5)));
        assert_eq!("a//c/d".parse::<SeriesKey>(), Err(KeyError::Empty("service")));
        let long = "x".repeat(MAX_PART_LENGTH + 1);
        let error = SeriesKey::new("a", &long, None, "d").unwrap_err();
        assert_eq!(error, KeyError::Long { part: "service", length: 129 });
        let error = SeriesKey::new("a", "b", None, "c\n").unwrap_err();
        assert_eq!(error, KeyError::Character { part: "figure", character: '\n' });
    }
}
