//! How much a route takes: of one request, at once, and over time.
//!
//! Each gateway counts for itself: with three of them a route takes three times as much.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::PolicyError;

/// Longest body that can be set as a limit: more is no limit.
pub const MAX_BODY_BYTES: u64 = 1 << 50;
/// Most requests at once or over a time that can be set as a limit.
pub const MAX_REQUESTS: u32 = 1_000_000;
/// Longest time over which requests are counted.
pub const MAX_PER_MS: u64 = 24 * 60 * 60 * 1_000;

/// How much a route takes, at each gateway; without end where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteLimits {
    /// Bytes of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// Requests under way at once, until their answers have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Requests over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
}

/// How many requests are taken over time: a bucket of `burst` tokens that is filled again evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// So many.
    pub requests: u32,
    /// In so many milliseconds.
    pub per_ms: u64,
    /// So many at once, after a time without any; `requests` when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Who has a bucket of their own.
    #[serde(default, skip_serializing_if = "RateBy::is_network")]
    #[schemars(extend("default" = RateBy::default()))]
    pub by: RateBy,
}

/// Who has a bucket of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// Each address of clients, of IPv6 each network of 64 bits.
    #[default]
    Network,
    /// Each key of clients; who has none is known by the network. A stranger can make up keys.
    Key,
    /// All together.
    Route,
}

impl RateBy {
    /// Tells whether it is what is meant when nothing is said.
    #[must_use]
    pub fn is_network(&self) -> bool {
        *self == Self::Network
    }

    /// Returns its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Key => "key",
            Self::Route => "route",
        }
    }
}

impl RateLimit {
    /// Returns how many tokens a full bucket has.
    #[must_use]
    pub fn bucket(&self) -> u32 {
        self.burst.unwrap_or(self.requests)
    }
}

impl RouteLimits {
    /// Tells whether nothing is said.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns everything that is wrong with them.
    pub(super) fn problems(&self) -> Vec<PolicyError> {
        let count = |count: Option<u32>| count.is_none_or(|count| (1..=MAX_REQUESTS).contains(&count));
        let is_time = |rate: &RateLimit| (1..=MAX_PER_MS).contains(&rate.per_ms);
        let rate = self.rate.as_ref();
        let body = self.body_bytes.is_none_or(|bytes| bytes <= MAX_BODY_BYTES);
        let wrong = [
            (!body).then_some(PolicyError::Body),
            (!count(self.concurrency)).then_some(PolicyError::Count("concurrency")),
            (!rate.is_none_or(|rate| count(Some(rate.requests))))
                .then_some(PolicyError::Count("rate.requests")),
            (!rate.is_none_or(|rate| count(rate.burst))).then_some(PolicyError::Count("rate.burst")),
            (!rate.is_none_or(is_time)).then_some(PolicyError::Per),
        ];
        wrong.into_iter().flatten().collect()
    }

    /// Says what is asked for, a line for each.
    pub(super) fn told(&self) -> Vec<String> {
        let body = self.body_bytes.map(|bytes| format!("bodies of at most {bytes} bytes"));
        let concurrency =
            self.concurrency.map(|count| format!("at most {count} requests at once, at each gateway"));
        let rate = self.rate.map(|rate| {
            let RateLimit { requests, per_ms, by, .. } = rate;
            let (by, bucket) = (by.word(), rate.bucket());
            format!("at most {requests} requests in {per_ms} ms by {by}, {bucket} at once, at each gateway")
        });
        body.into_iter().chain(concurrency).chain(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RouteLimits {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn limits_that_are_none_are_told_all_at_once() {
        let wrong = read(
            r#"{"body_bytes":9007199254740992,"concurrency":0,"rate":{"requests":0,"per_ms":0,"burst":2000000}}"#,
        );
        let expected = [
            PolicyError::Body,
            PolicyError::Count("concurrency"),
            PolicyError::Count("rate.requests"),
            PolicyError::Count("rate.burst"),
            PolicyError::Per,
        ];
        assert_eq!(wrong.problems(), expected);
        let text = r#"{"body_bytes":0,"concurrency":1,"rate":{"requests":5,"per_ms":1000,"by":"key"}}"#;
        assert_eq!(read(text).problems(), []);
        assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        assert_eq!(
            read(text).told().last().unwrap(),
            "at most 5 requests in 1000 ms by key, 5 at once, at each gateway"
        );
        assert!(serde_json::from_str::<RouteLimits>(r#"{"body":1}"#).is_err());
    }
}
