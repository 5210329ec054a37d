//! How a request is asked again of another instance.
//!
//! Invariant, whatever a route asks for: at most two instances read a request, and never one of them twice. So `attempts` beyond
//! one help only where connections cannot be opened.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::policy::PolicyError;
use crate::routes::conditions::check_method;

/// Most further instances that are tried.
pub const MAX_ATTEMPTS: u8 = 3;
/// Methods of which a second request changes nothing more, as RFC 9110 has it.
pub const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// How a request is asked again of another instance of the same version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Further instances that are tried at most, of which at most one reads the request.
    pub attempts: u8,
    /// After what a request is asked again that an instance has read; after `reset` alone when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub on: BTreeSet<RetryOn>,
    /// Which methods are asked again; the idempotent ones when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// Whether a request of any method is asked again that has an `idempotency-key`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub idempotency_key: bool,
}

/// After what a request is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RetryOn {
    /// The connection ended without a valid answer.
    Reset,
    /// Nothing was said in time.
    Timeout,
    /// It was answered with this status, from 500 to 599.
    Status(u16),
}

/// What is no reason to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is none of `reset`, `timeout` and the statuses \"500\" to \"599\"")]
pub struct NoRetryOn(String);

impl FromStr for RetryOn {
    type Err = NoRetryOn;

    fn from_str(text: &str) -> Result<Self, NoRetryOn> {
        let status = || text.parse().ok().filter(|status| (500..=599).contains(status) && text.len() == 3);
        match text {
            "reset" => Ok(Self::Reset),
            "timeout" => Ok(Self::Timeout),
            _ => status().map(Self::Status).ok_or_else(|| NoRetryOn(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for RetryOn {
    type Error = NoRetryOn;

    fn try_from(text: String) -> Result<Self, NoRetryOn> {
        text.parse()
    }
}

impl From<RetryOn> for String {
    fn from(on: RetryOn) -> Self {
        on.to_string()
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

impl JsonSchema for RetryOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "After what a request is asked again: `reset`, `timeout`, or a status such as `503`.",
            "type": "string",
            "pattern": "^(reset|timeout|5[0-9][0-9])$"
        })
    }
}

impl Retries {
    /// Tells whether a request is asked again after this.
    #[must_use]
    pub fn is_after(&self, what: RetryOn) -> bool {
        if self.on.is_empty() { what == RetryOn::Reset } else { self.on.contains(&what) }
    }

    /// Tells whether a request of this method is asked again.
    #[must_use]
    pub fn takes(&self, method: &str, has_idempotency_key: bool) -> bool {
        let by_method = if self.methods.is_empty() {
            IDEMPOTENT.contains(&method)
        } else {
            self.methods.contains(method)
        };
        by_method || (self.idempotency_key && has_idempotency_key)
    }

    /// Returns everything that is wrong with it.
    pub(super) fn problems(&self) -> Vec<PolicyError> {
        let says_more = !self.on.is_empty() || !self.methods.is_empty() || self.idempotency_key;
        let methods = self.methods.iter().filter_map(|method| check_method(method).err());
        let mut problems: Vec<_> = methods.map(PolicyError::Method).collect();
        problems.extend((self.attempts > MAX_ATTEMPTS).then_some(PolicyError::Attempts));
        problems.extend((self.attempts == 0 && says_more).then_some(PolicyError::NoAttempts));
        problems
    }

    /// Says what is asked for.
    pub(super) fn told(&self) -> String {
        let list =
            |all: Vec<String>, usual: &str| if all.is_empty() { usual.to_owned() } else { all.join(", ") };
        let on = list(self.on.iter().map(ToString::to_string).collect(), "reset");
        let methods = list(self.methods.iter().cloned().collect(), "idempotent methods");
        let key = if self.idempotency_key { ", or with an idempotency-key" } else { "" };
        match self.attempts {
            0 => "retries none".to_owned(),
            attempts => format!("retries {attempts} on {on}; {methods}{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Retries {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_left_out_is_what_is_safe() {
        let plain = read(r#"{"attempts":1}"#);
        assert!(plain.is_after(RetryOn::Reset) && !plain.is_after(RetryOn::Timeout));
        assert!(IDEMPOTENT.iter().all(|method| plain.takes(method, false)));
        assert!(!plain.takes("POST", false) && !plain.takes("POST", true) && !plain.takes("get", false));
        let said = read(r#"{"attempts":1,"on":["503","timeout"],"methods":["GET"],"idempotency_key":true}"#);
        assert!(said.is_after(RetryOn::Status(503)) && !said.is_after(RetryOn::Reset));
        assert!(said.takes("GET", false) && said.takes("POST", true) && !said.takes("PUT", false));
        assert_eq!((plain.problems(), said.problems()), (Vec::new(), Vec::new()));
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"attempts":1}"#);
        assert_eq!(said.told(), "retries 1 on timeout, 503; GET, or with an idempotency-key");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["499", "600", "5xx", "0503", "+50", "Reset", "connect", ""] {
            assert!(text.parse::<RetryOn>().is_err(), "{text}");
        }
        let wrong = read(r#"{"attempts":4,"methods":["G T"]}"#).problems();
        assert!(matches!(wrong.as_slice(), [PolicyError::Method(_), PolicyError::Attempts]), "{wrong:?}");
        assert_eq!(read(r#"{"attempts":0,"on":["500"]}"#).problems(), [PolicyError::NoAttempts]);
        assert_eq!(read(r#"{"attempts":0}"#).problems(), []);
    }
}
