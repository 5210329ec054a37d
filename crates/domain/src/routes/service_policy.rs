//! What a version asks of gateways for all its requests, by whatever route they come, and what stands in for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::breaker::{BreakerError, BreakerRule};
use crate::instance::ConfigRevision;
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
    /// A number is out of its bounds.
    #[error("`degrade.requests` is from 1 to {MAX_DEGRADED}")]
    Degraded,
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
        breaker
            .chain(alone.then_some(ServicePolicyError::NoBreaker))
            .chain(many.then_some(ServicePolicyError::Degraded))
            .collect()
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
        let alone = ServicePolicy { breaker: None, degrade: Degrade { requests: 0, ..Degrade::default() } };
        assert_eq!(alone.problems(), [ServicePolicyError::NoBreaker, ServicePolicyError::Degraded]);
    }
}
