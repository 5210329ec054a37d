//! What services that somebody else runs say of their version: what is recorded of it, and when.
//!
//! Invariant: however often the other side says something else, records are few.

use imbl::Vector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::event::Event;
use crate::instance::Arm;
use crate::time::Timestamp;
use crate::version::VersionNumber;

/// Longest version that is taken for one.
pub const MAX_SAID_LENGTH: usize = 64;
/// Most that is kept of one service in an environment; the journal has all.
const MAX_KEPT: usize = 50;
/// Most that is recorded of one service in an hour: who says more often something else says nothing.
const MAX_AN_HOUR: usize = 10;
/// An hour.
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// What the other side began to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SaidVersion {
    /// The version and configuration of ours that it was asked for.
    pub arm: Arm,
    /// Its words.
    pub said: String,
    /// When it was heard first.
    pub at: Timestamp,
}

/// Reads a version out of what was answered.
///
/// # Errors
/// Why it is none.
pub fn read(answer: &str, field: Option<&str>) -> Result<String, String> {
    let text = match field {
        None => answer.trim().to_owned(),
        Some(field) => in_field(answer, field)?,
    };
    let printable = !text.is_empty() && text.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if printable && text.chars().count() <= MAX_SAID_LENGTH {
        return Ok(text);
    }
    let shown: String = text.chars().take(MAX_SAID_LENGTH).filter(|c| !c.is_control()).collect();
    Err(format!("`{shown}` is no version: one word of at most {MAX_SAID_LENGTH} characters is"))
}

fn in_field(answer: &str, field: &str) -> Result<String, String> {
    let document: serde_json::Value =
        serde_json::from_str(answer).map_err(|_| format!("it is no JSON with a field `{field}`"))?;
    let found = field.split('.').try_fold(&document, |value, name| value.get(name));
    match found {
        Some(serde_json::Value::String(text)) => Ok(text.trim().to_owned()),
        Some(serde_json::Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("its field `{field}` is neither a text nor a number")),
        None => Err(format!("it has no field `{field}`")),
    }
}

/// Reads what was said as a number of a release: `2.1.0`, also as `v2.1.0` or `2.1.0+build.7`.
#[must_use]
pub fn as_number(said: &str) -> Option<VersionNumber> {
    let plain = said.strip_prefix(['v', 'V']).unwrap_or(said);
    plain.split('+').next()?.parse().ok()
}

/// Tells whether what was said means a release.
#[must_use]
pub fn means(said: &str, release: &VersionNumber) -> bool {
    said == release.to_string() || as_number(said).is_some_and(|number| number == *release)
}

/// Returns what is to be recorded of what was said last: what is new, unless too much was new lately.
#[must_use]
pub fn due(environment: &Environment, arm: &Arm, said: &str, now: Timestamp) -> Option<Event> {
    let known = environment.said.get(&arm.service).into_iter().flatten();
    let mut newest = known.rev();
    let last = newest.clone().next();
    let is_known = last.is_some_and(|last| last.arm == *arm && last.said == said);
    let is_often = newest.nth(MAX_AN_HOUR - 1).is_some_and(|it| now.since_ms(it.at) < HOUR_MS);
    (!is_known && !is_often).then(|| Event::VersionSaid {
        environment: environment.name.clone(),
        arm: arm.clone(),
        said: said.to_owned(),
    })
}

/// What the other side came to say without a change of ours: what it said before, and what it says since.
#[must_use]
pub fn changes_by_itself(known: &Vector<SaidVersion>) -> Vec<(&SaidVersion, &SaidVersion)> {
    let pairs = known.iter().zip(known.iter().skip(1));
    pairs.filter(|(before, after)| before.arm == after.arm).collect()
}

impl Environment {
    /// Keeps what the other side began to say.
    pub(crate) fn hear(&mut self, arm: &Arm, said: &str, at: Timestamp) {
        let known = self.said.entry(arm.service.clone()).or_default();
        known.push_back(SaidVersion { arm: arm.clone(), said: said.to_owned(), at });
        while known.len() > MAX_KEPT {
            known.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_version_is_a_text_or_a_field() {
        assert_eq!(read("2.1.0\n", None).as_deref(), Ok("2.1.0"));
        assert_eq!(read(r#"{"version":"2.1.0"}"#, Some("version")).as_deref(), Ok("2.1.0"));
        assert_eq!(read(r#"{"build":{"number":7}}"#, Some("build.number")).as_deref(), Ok("7"));
        for (answer, field) in [
            ("", None),
            ("<html> no", None),
            ("a\u{1b}[31m", None),
            ("{}", Some("version")),
            ("[1]", Some("version")),
            (r#"{"version":null}"#, Some("version")),
            (r#"{"version":{"a":1}}"#, Some("version")),
            ("2.1.0", Some("version")),
        ] {
            assert!(read(answer, field).is_err(), "{answer} {field:?}");
        }
        assert!(read(&"x".repeat(65), None).is_err());
        assert!(read(&"x".repeat(100_000), None).unwrap_err().len() < 200);
    }

    #[test]
    fn a_release_is_meant_in_the_forms_that_are_in_use() {
        let release: VersionNumber = "2.1.0".parse().unwrap();
        for said in ["2.1.0", "v2.1.0", "2.1.0+build.7"] {
            assert!(means(said, &release), "{said}");
        }
        for said in ["2.1.1", "2.1", "2.1.0-rc.1", "", "release"] {
            assert!(!means(said, &release), "{said}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_one_short_word(answer in ".{0,200}", field in prop::option::of("[a-z.]{0,5}")) {
            if let Ok(said) = read(&answer, field.as_deref()) {
                prop_assert!(said.chars().count() <= MAX_SAID_LENGTH && said.chars().all(|c| !c.is_control()));
            }
        }
    }
}
