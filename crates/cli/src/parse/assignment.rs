//! `KEY=VALUE` and `KIND=FILE`.

use std::path::PathBuf;
use std::str::FromStr;

/// A variable with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The variable.
    pub(crate) key: String,
    /// Everything after the first `=`.
    pub(crate) value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`=` is missing: `{text}=VALUE`?"))?;
        Ok(Self { key: variable(key)?, value: value.to_owned() })
    }
}

/// Checks the name of an environment variable.
pub(crate) fn variable(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(allowed) {
        return Err(format!(
            "`{text}` is not the name of a variable: A-Z, a-z, 0-9 and _ are allowed, and no digit first"
        ));
    }
    Ok(text.to_owned())
}

/// A document to attach: its kind and the file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DocumentFile {
    /// What kind of document it is.
    pub(crate) kind: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl FromStr for DocumentFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, path)) if !kind.is_empty() && !path.is_empty() => {
                Ok(Self { kind: kind.to_owned(), path: path.into() })
            }
            _ => Err("write KIND=FILE, for example design=docs/design.md".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_may_hold_anything() {
        let assignment: Assignment = "URL=http://a/?x=1&y= 2".parse().unwrap();
        assert_eq!((assignment.key.as_str(), assignment.value.as_str()), ("URL", "http://a/?x=1&y= 2"));
        assert_eq!("EMPTY=".parse::<Assignment>().unwrap().value, "");
        assert_eq!("DEBUG".parse::<Assignment>().unwrap_err(), "`=` is missing: `DEBUG=VALUE`?");
    }

    #[test]
    fn only_names_of_variables_are_keys() {
        for bad in ["", "1A", "a-b", "a b", "ä"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
        assert_eq!(variable("_A1"), Ok("_A1".to_owned()));
    }

    proptest! {
        #[test]
        fn every_value_survives(value in ".*") {
            let parsed: Assignment = format!("K={value}").parse().unwrap();
            prop_assert_eq!(parsed.value, value);
        }
    }
}
