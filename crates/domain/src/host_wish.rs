//! On which hosts a process may run, by their labels, and on which it had better not.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::host::Labels;
use crate::name::{LabelName, LabelValue, NameError};

/// Most labels that a process says of its hosts, required or avoided.
pub const MAX_WISHES: usize = 32;

/// One label, as `role=web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Label {
    name: LabelName,
    value: LabelValue,
}

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// It is no pair.
    #[error("a label is NAME=VALUE, such as role=web")]
    Pair,
    /// A name or a value breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (name, value) = text.split_once('=').ok_or(LabelError::Pair)?;
        Ok(Self { name: name.trim().parse()?, value: value.trim().parse()? })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

as_text!(Label);

/// Which hosts a process wants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostWish {
    /// It runs nowhere else: a host has one of these values of each name that stands here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Label>,
    /// It runs there only where no other host can take it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<Label>,
}

impl HostWish {
    /// Tells whether every host is as good as another.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.require.is_empty() && self.avoid.is_empty()
    }

    /// Says which label a host lacks, as `role=web` or `role=web or role=api`; `None` when it has all that are required.
    #[must_use]
    pub fn lacking(&self, labels: &Labels) -> Option<String> {
        let mut by_name: BTreeMap<&LabelName, Vec<&Label>> = BTreeMap::new();
        self.require.iter().for_each(|label| by_name.entry(&label.name).or_default().push(label));
        let lacks = by_name.into_values().find(|any| !any.iter().any(|label| has(labels, label)))?;
        Some(lacks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))
    }

    /// Returns the labels of a host that are avoided.
    pub fn avoided<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Label> {
        self.avoid.iter().filter(|label| has(labels, label))
    }
}

fn has(labels: &Labels, label: &Label) -> bool {
    labels.get(label.name.as_str()) == Some(&label.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(require: &[&str], avoid: &[&str]) -> HostWish {
        let read = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
        HostWish { require: read(require), avoid: read(avoid) }
    }

    #[test]
    fn values_of_one_name_are_alternatives_and_each_name_is_required() {
        let wanted = wish(&["role=web", "zone=a", "role=api"], &["disk=slow"]);
        let lacking = |labels: &str| wanted.lacking(&labels.parse().unwrap());
        assert_eq!(lacking("role=web,zone=a"), None);
        assert_eq!(lacking("role=api,zone=a,disk=slow"), None);
        assert_eq!(lacking("role=web").as_deref(), Some("zone=a"));
        assert_eq!(lacking("role=db,zone=a").as_deref(), Some("role=web or role=api"));
        assert_eq!(HostWish::default().lacking(&Labels::default()), None);
        let avoided = |labels: &str| wanted.avoided(&labels.parse().unwrap()).count();
        assert_eq!([avoided("disk=slow"), avoided("disk=fast"), avoided("")], [1, 0, 0]);
    }

    #[test]
    fn a_label_is_read_as_it_is_written() {
        assert_eq!(" role = web ".parse::<Label>().unwrap().to_string(), "role=web");
        assert_eq!("role".parse::<Label>(), Err(LabelError::Pair));
        assert!("Role=web".parse::<Label>().is_err());
    }
}
