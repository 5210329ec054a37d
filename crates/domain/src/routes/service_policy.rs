//! What a version asks of gateways for all its requests, by whatever route they come, and what stands in for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::adaptive::AdaptiveRule;
use crate::breaker::{BreakerError, BreakerRule};
use crate::instance::ConfigRevision;
use crate::outliers::EjectionRule;
use crate::priority::{FORMAT_WITH_PRIORITIES, Shares};
use crate::routes::{FORMAT_WITH_BALANCING, FORMAT_WITH_SHEDDING};
use crate::version::VersionNumber;

/// Most requests at once that can be said of what stands in for a version.
pub const MAX_DEGRADED: u32 = 1_000_000;

/// What a version asks of gateways for all its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePolicy {
    /// When it is left alone because it fails; never when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerRule>,
    /// What stands in for it meanwhile.
    #[serde(default, skip_serializing_if = "Degrade::is_usual")]
    #[schemars(extend("default" = Degrade::default()))]
    pub degrade: Degrade,
    /// When an instance of it is left alone; as everywhere when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BALANCING))]
    pub ejection: Option<EjectionRule>,
    /// Which of its instances is asked.
    #[serde(default, skip_serializing_if = "Balance::is_usual")]
    #[schemars(extend("x-since" = FORMAT_WITH_BALANCING, "default" = Balance::default()))]
    pub balance: Balance,
    /// For how long a fresh instance gets less than the others, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BALANCING))]
    pub slow_start_ms: Option<u64>,
    /// How many requests are under way at an instance at once, from each gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BALANCING))]
    pub max_requests: Option<u32>,
    /// How many requests wait for an answer of it at once, found by how long answers take; as many as come when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_SHEDDING))]
    pub adaptive_limit: Option<AdaptiveRule>,
    /// How much of `max_requests` and `adaptive_limit` requests of each priority may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_PRIORITIES))]
    pub priorities: Option<Shares>,
}

/// Which instance of a version is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Of two that are drawn the one with the lower product of how slow it seems and requests under way.
    #[default]
    LeastLatency,
    /// Of two that are drawn the one with fewer requests under way.
    LeastRequests,
    /// One after the other.
    RoundRobin,
    /// The one that a client's key chooses; as usual for who has none.
    Key,
}

impl Balance {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LeastLatency, Self::LeastRequests, Self::RoundRobin, Self::Key];

    /// Tells whether it is what is meant when nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::LeastLatency
    }

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LeastLatency => "least-latency",
            Self::LeastRequests => "least-requests",
            Self::RoundRobin => "round-robin",
            Self::Key => "key",
        }
    }
}

/// What stands in for a version that is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Degrade {
    /// Who.
    pub to: StandIn,
    /// Requests that it may be asked at once in its place, at each gateway.
    pub requests: u32,
}

/// Who stands in for a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandIn {
    /// The version before it, as long as that runs and going back to it is safe.
    #[default]
    Previous,
    /// Nobody.
    Nobody,
}

impl Default for Degrade {
    fn default() -> Self {
        Self { to: StandIn::Previous, requests: 1_000 }
    }
}

impl Degrade {
    /// Tells whether it is what is meant when nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a version cannot have what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServicePolicyError {
    /// Its breaker is none.
    #[error(transparent)]
    Breaker(#[from] BreakerError),
    /// Nothing ever degrades.
    #[error("`degrade` means nothing without `breaker`")]
    NoBreaker,
    /// There is nothing of which each may use a part.
    #[error("`priorities` means nothing without `max_requests` or `adaptive_limit`")]
    NoLimit,
    /// A number is out of its bounds.
    #[error("`degrade.requests` is from 1 to {MAX_DEGRADED}")]
    Degraded,
    /// A number or a time in milliseconds is out of its bounds.
    #[error("`{0}` is from {1} to {2}")]
    Number(String, u64, u64),
}

impl ServicePolicyError {
    /// Returns the name of what it is about.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Breaker(_) => "breaker",
            Self::NoBreaker | Self::Degraded => "degrade",
            Self::NoLimit => "priorities",
            Self::Number(name, ..) => name.split('.').next().unwrap_or_default(),
        }
    }
}

impl ServicePolicy {
    /// Tells whether it asks for nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<ServicePolicyError> {
        let breaker = self.breaker.iter().flat_map(BreakerRule::problems).map(ServicePolicyError::from);
        let alone = self.breaker.is_none() && !self.degrade.is_usual();
        let many = !(1..=MAX_DEGRADED).contains(&self.degrade.requests);
        let is_limited = self.max_requests.is_some() || self.adaptive_limit.is_some();
        let unlimited = self.priorities.is_some() && !is_limited;
        breaker
            .chain(alone.then_some(ServicePolicyError::NoBreaker))
            .chain(many.then_some(ServicePolicyError::Degraded))
            .chain(unlimited.then_some(ServicePolicyError::NoLimit))
            .chain(self.out_of_bounds())
            .collect()
    }

    fn out_of_bounds(&self) -> Vec<ServicePolicyError> {
        let ejection = self.ejection.iter().flat_map(EjectionRule::out_of_bounds);
        let ejection = ejection
            .map(|(name, least, most)| ServicePolicyError::Number(format!("ejection.{name}"), least, most));
        let adaptive = self.adaptive_limit.iter().flat_map(AdaptiveRule::out_of_bounds);
        let adaptive = adaptive.map(|(name, least, most)| {
            ServicePolicyError::Number(format!("adaptive_limit.{name}"), least, most)
        });
        let shares = self.priorities.iter().flat_map(Shares::out_of_bounds);
        let shares = shares
            .map(|(name, least, most)| ServicePolicyError::Number(format!("priorities.{name}"), least, most));
        let others = [
            ("slow_start", self.slow_start_ms, 1_000, 3_600_000),
            ("max_requests", self.max_requests.map(u64::from), 1, 1_000_000),
        ];
        let wrong = others
            .into_iter()
            .filter(|(_, it, least, most)| it.is_some_and(|it| !(*least..=*most).contains(&it)));
        let wrong =
            wrong.map(|(name, _, least, most)| ServicePolicyError::Number(name.to_owned(), least, most));
        ejection.chain(wrong).chain(adaptive).chain(shares).collect()
    }

    /// Tells whether a gateway before [`FORMAT_WITH_BALANCING`] would do something else.
    #[must_use]
    pub fn needs_balancing(&self) -> bool {
        let says = self.ejection.is_some() || self.slow_start_ms.is_some() || self.max_requests.is_some();
        says || !self.balance.is_usual()
    }

    /// Tells whether it says how many of its instances are asked in any case.
    #[must_use]
    pub fn has_floor(&self) -> bool {
        self.ejection.as_ref().is_some_and(EjectionRule::has_floor)
    }

    /// Tells whether the version before may stand in for it.
    #[must_use]
    pub fn degrades(&self) -> bool {
        self.breaker.is_some() && self.degrade.to == StandIn::Previous
    }
}

/// What stands in for the stable version of a service while that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// This arm, which has a split of its own without a share.
    To(FallbackArm),
    /// Nobody, for this reason.
    Nobody(String),
}

/// The arm that stands in for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackArm {
    /// Its version.
    pub version: VersionNumber,
    /// Its configuration.
    pub config: ConfigRevision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_this_text_and_what_says_nothing_means_the_usual() {
        let text = r#"{"breaker":{"failures_percent":50,"requests":20,"window_ms":10000,"consecutive":10,"open_ms":5000,"longest_ms":60000,"trials":3}}"#;
        let policy: ServicePolicy = serde_json::from_str(r#"{"breaker":{}}"#).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
        assert!(policy.degrades() && policy.problems().is_empty());
        let nobody: ServicePolicy =
            serde_json::from_str(r#"{"breaker":{},"degrade":{"to":"nobody"}}"#).unwrap();
        assert!(!nobody.degrades());
        assert_eq!(serde_json::to_string(&ServicePolicy::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<ServicePolicy>(r#"{"breakers":{}}"#).is_err());
    }

    #[test]
    fn what_means_nothing_is_told() {
        let degrade = Degrade { requests: 0, ..Degrade::default() };
        let alone = ServicePolicy { degrade, ..ServicePolicy::default() };
        assert_eq!(alone.problems(), [ServicePolicyError::NoBreaker, ServicePolicyError::Degraded]);
        let priorities = Some(Shares::default());
        let nothing = ServicePolicy { priorities, ..ServicePolicy::default() };
        assert_eq!(nothing.problems(), [ServicePolicyError::NoLimit]);
        assert!(ServicePolicy { max_requests: Some(1), ..nothing }.problems().is_empty());
        let ejection = Some(EjectionRule { requests: 0, longest_ms: 1, ..EjectionRule::default() });
        let adaptive_limit = Some(AdaptiveRule { least: 8, most: 9, ..AdaptiveRule::default() });
        let out = ServicePolicy {
            ejection,
            max_requests: Some(0),
            slow_start_ms: Some(1),
            adaptive_limit,
            priorities: Some(Shares { low_percent: 0, ..Shares::default() }),
            ..Default::default()
        };
        let told: Vec<_> = out.problems().iter().map(ToString::to_string).collect();
        let expected = [
            "`ejection.requests` is from 1 to 1000000",
            "`ejection.longest` is from 30000 to 86400000",
            "`slow_start` is from 1000 to 3600000",
            "`max_requests` is from 1 to 1000000",
            "`adaptive_limit.start` is from 8 to 9",
            "`priorities.low` is from 1 to 100",
            "`priorities.bulk` is from 1 to 0",
        ];
        assert_eq!(told, expected);
        assert!(out.needs_balancing() && !alone.needs_balancing());
    }
}
