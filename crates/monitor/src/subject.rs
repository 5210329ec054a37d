//! What an alert is about, as labels; and patterns that match them.
//!
//! Invariant: one rule and one subject have one fingerprint, over restarts and releases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a silence may be about: labels of subjects, and `rule` and `severity` of alerts.
pub const LABELS: [&str; 11] = [
    "environment",
    "service",
    "version",
    "instance",
    "host",
    "certificate",
    "gateway",
    "check",
    "part",
    "rule",
    "severity",
];

/// Labels, such as `environment` and `service`; [`LABELS`] has all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(pub BTreeMap<String, String>);

impl Subject {
    /// Makes a subject of pairs of labels and values.
    #[must_use]
    pub fn of<const N: usize>(labels: [(&str, &str); N]) -> Self {
        Self(labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect())
    }

    /// Adds a label, where there is a value.
    #[must_use]
    pub fn with(mut self, label: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.insert(label.to_owned(), value.to_owned());
        }
        self
    }

    /// Returns the value of a label.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<&str> {
        self.0.get(label).map(String::as_str)
    }

    /// Returns the environment that it is in.
    #[must_use]
    pub fn environment(&self) -> Option<&str> {
        self.get("environment")
    }

    /// Returns the service that it is about.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.get("service")
    }

    /// Returns the name of an alert of a rule about this subject.
    #[must_use]
    pub fn fingerprint(&self, rule: &str) -> String {
        let labels = self.0.iter().map(|(label, value)| format!("{label}={value}"));
        format!("{rule}/{}", labels.collect::<Vec<_>>().join(","))
    }
}

/// Tells whether a text matches a pattern in which `*` stands for anything.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [("orders", "orders"), ("*", ""), ("pay*", "payments"), ("*-eu-*", "a-eu-b")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("orders", "orders-2"), ("", "a"), ("pay*", "repay"), ("a*b*a", "aba-"), ("a*a", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_the_rule_and_all_labels() {
        let subject = Subject::of([("service", "orders"), ("environment", "production")]);
        assert_eq!(subject.fingerprint("failing"), "failing/environment=production,service=orders");
        assert_ne!(
            subject.fingerprint("failing"),
            subject.clone().with("version", Some("1")).fingerprint("failing")
        );
        assert_eq!(subject.clone().with("host", None), subject);
    }
}
