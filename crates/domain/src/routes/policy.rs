//! What a route asks for so that a request does not wait for too long, is asked again where that is safe, and asks for no more than is there.
//!
//! The words are those of the Kubernetes Gateway API where that has one (`request`), else those of nginx and `HAProxy` (`connect`).
//! `head` is what the Gateway API calls `backendRequest` and Envoy the timeout of a try, as Envoy keeps it: it ends when the answer begins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::actions::{ActionError, Respond};
use super::conditions::ConditionError;
use super::hedge::Hedge;
use super::limits::{MAX_BODY_BYTES, MAX_REQUESTS, RouteLimits};
use super::retries::{MAX_ATTEMPTS, Retries};
use super::upgrades::{MAX_UPGRADES, UpgradeName, is_list};
use super::{FORMAT_WITH_BREAKERS, FORMAT_WITH_HEDGES, FORMAT_WITH_UPGRADES, Patience, RouteRule};
use crate::gateway_rules::MAX_TIMEOUT_MS;
use crate::priority::{FORMAT_WITH_PRIORITIES, Priority};

/// What a route asks for beside where its requests go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How long is waited for what.
    #[serde(default, skip_serializing_if = "RouteTimeouts::is_none")]
    #[schemars(extend("default" = RouteTimeouts::default()))]
    pub timeouts: RouteTimeouts,
    /// How a request is asked again; as everywhere when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// How much is taken.
    #[serde(default, skip_serializing_if = "RouteLimits::is_none")]
    #[schemars(extend("default" = RouteLimits::default()))]
    pub limits: RouteLimits,
    /// What clients get while the version is left alone because it fails and no other stands in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BREAKERS))]
    pub fallback: Option<Respond>,
    /// Which requests are refused first where the version has no room for all; what somebody who is believed says of a request comes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_PRIORITIES))]
    pub priority: Option<Priority>,
    /// When a read that has no answer yet is asked of another instance of its version as well; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_HEDGES))]
    pub hedge: Option<Hedge>,
    /// Protocols beside WebSocket that a connection may switch to by `upgrade`; their bytes are passed as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-since" = FORMAT_WITH_UPGRADES, "default" = Vec::<String>::new()))]
    pub upgrades: Vec<UpgradeName>,
}

/// How long is waited for what, in milliseconds; as long as everywhere where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// For a connection to an instance, for each that is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// From the end of a request to the head of its answer, for each instance that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<u64>,
    /// Between two pieces of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// From the head of a request to the end of its answer; of an answer that is a stream, to its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ms: Option<u64>,
}

/// Why a route cannot have what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A time is none.
    #[error("`timeouts.{0}` is from 1 ms to a day")]
    Time(&'static str),
    /// A part may take longer than the whole.
    #[error("`timeouts.{0}` is longer than `timeouts.request`, so it would never end a request")]
    Longer(&'static str),
    /// The same is said twice.
    #[error("`{0}` says `timeouts.{1}` already")]
    Said(&'static str, &'static str),
    /// There are too many.
    #[error("`retries.attempts` is from 0 to {MAX_ATTEMPTS}")]
    Attempts,
    /// What is said of no attempt.
    #[error(
        "with `retries.attempts = 0` nothing is asked again, so `on`, `methods` and `idempotency_key` mean nothing"
    )]
    NoAttempts,
    /// A method is none.
    #[error(transparent)]
    Method(ConditionError),
    /// A length is none.
    #[error("`limits.body` is at most {MAX_BODY_BYTES} bytes")]
    Body,
    /// A number is none.
    #[error("`limits.{0}` is from 1 to {MAX_REQUESTS}")]
    Count(&'static str),
    /// A time is none.
    #[error("`limits.rate.per` is from 1 ms to a day")]
    Per,
    /// What clients get meanwhile is no answer.
    #[error("`fallback`: {0}")]
    Fallback(ActionError),
    /// After what another one is asked is no time.
    #[error("`hedge` is after `p50` to `p99` of the answers, or after a time from 1 ms to a day")]
    Hedge,
    /// It would never be.
    #[error("a request is over after `{0}`, so by `hedge` no other instance would ever be asked")]
    HedgeNever(&'static str),
    /// No other one may be asked.
    #[error("`hedge` has another instance asked as well, which `{0}` rules out")]
    HedgeBeside(&'static str),
    /// There are too many protocols to switch to, or one is there twice.
    #[error("`upgrades` names at most {MAX_UPGRADES} protocols, each once")]
    Upgrades,
    /// No instance is asked.
    #[error("the gateway answers by itself here, so there is nothing to wait for, to ask again or to limit")]
    Answers,
}

impl PolicyError {
    /// Returns what helps against it, where an example of the field would be what is there already.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::HedgeNever(limit) => {
                Some(format!("let `hedge` be shorter than `{limit}`, or take one of them away"))
            }
            Self::HedgeBeside(other) => Some(format!("take `hedge` away, or `{other}`")),
            Self::Answers => Some("take it away, or what the gateway answers".to_owned()),
            _ => None,
        }
    }
}

impl Policy {
    /// Tells whether it asks for nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns everything that is wrong with it as a part of a rule.
    #[must_use]
    pub fn problems(&self, rule: &RouteRule) -> Vec<PolicyError> {
        let answers = rule.then.as_ref().is_some_and(|then| then.answers());
        let own = (answers && !self.is_none()).then_some(PolicyError::Answers);
        let retries = self.retries.iter().flat_map(Retries::problems);
        own.into_iter()
            .chain(self.timeouts.problems(rule.patience))
            .chain(retries)
            .chain(self.limits.problems())
            .chain(self.fallback.iter().filter_map(|it| it.check().err()).map(PolicyError::Fallback))
            .chain(self.hedge.iter().flat_map(|hedge| hedge.problems(rule)))
            .chain(self.hedge_problems())
            .chain((!is_list(&self.upgrades)).then_some(PolicyError::Upgrades))
            .collect()
    }

    /// Returns what contradicts that another instance is asked as well.
    #[must_use]
    pub fn hedge_problems(&self) -> Vec<PolicyError> {
        let Some(hedge) = self.hedge else { return Vec::new() };
        let RouteTimeouts { head_ms, request_ms, .. } = self.timeouts;
        let is_over = |limit: Option<u64>| limit.is_some_and(|limit| hedge.least_ms() >= limit);
        let head = is_over(head_ms).then_some(PolicyError::HedgeNever("timeouts.head"));
        let request = is_over(request_ms).then_some(PolicyError::HedgeNever("timeouts.request"));
        let is_once = self.retries.as_ref().is_some_and(|retries| retries.attempts == 0);
        let once = is_once.then_some(PolicyError::HedgeBeside("retries.attempts = 0"));
        head.into_iter().chain(request).chain(once).collect()
    }

    /// Says what is asked for, a line for each.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let told = |(name, ms): (_, Option<u64>)| Some(format!("timeouts.{name} {} ms", ms?));
        let retries = self.retries.as_ref().map(Retries::told);
        let fallback = self.fallback.iter();
        let fallback = fallback.map(|it| format!("answers {} while nobody else can", it.status));
        let priority = self.priority.map(|it| format!("priority {}", it.word()));
        let upgrades: Vec<_> = self.upgrades.iter().map(UpgradeName::as_str).collect();
        let upgrades = (!upgrades.is_empty()).then(|| format!("passes upgrades to {}", upgrades.join(", ")));
        self.timeouts
            .named()
            .filter_map(told)
            .chain(retries)
            .chain(self.limits.told())
            .chain(fallback)
            .chain(priority)
            .chain(self.hedge.map(Hedge::told))
            .chain(upgrades)
            .collect()
    }
}

impl RouteTimeouts {
    /// Tells whether nothing is said.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Goes through them with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        let Self { connect_ms, head_ms, idle_ms, request_ms } = *self;
        [("connect", connect_ms), ("head", head_ms), ("idle", idle_ms), ("request", request_ms)].into_iter()
    }

    /// Returns everything that is wrong with them beside what is said of silence.
    fn problems(&self, patience: Option<Patience>) -> Vec<PolicyError> {
        let is_time = |ms: u64| (1..=MAX_TIMEOUT_MS).contains(&ms);
        let said: Vec<(&str, u64)> = self.named().filter_map(|(name, ms)| Some((name, ms?))).collect();
        let times = said.iter().filter(|(_, ms)| !is_time(*ms)).map(|(name, _)| PolicyError::Time(name));
        let whole = self.request_ms.unwrap_or(u64::MAX);
        let longer = said.iter().filter(|(_, ms)| *ms > whole).map(|(name, _)| PolicyError::Longer(name));
        let (word, says): (_, &[&str]) = match patience {
            Some(Patience::Stream) => ("stream", &["head", "idle", "request"]),
            Some(Patience::LimitMs(_)) => ("timeout", &["head", "idle"]),
            None => ("", &[]),
        };
        let twice = said.iter().filter(|(name, _)| says.contains(name));
        let twice = twice.map(|(name, _)| PolicyError::Said(word, name));
        times.chain(longer).chain(twice).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::routes::actions::{Actions, Respond, plain_text};

    fn policy(connect: u64, head: u64, request: u64) -> Policy {
        let timeouts = RouteTimeouts {
            connect_ms: Some(connect),
            head_ms: Some(head),
            idle_ms: None,
            request_ms: Some(request),
        };
        Policy { timeouts, ..Policy::default() }
    }

    #[test]
    fn what_would_never_hold_or_is_said_twice_is_told_all_at_once() {
        use PolicyError::{Answers, Longer, Said, Time};
        let plain = RouteRule::default();
        assert_eq!(policy(1, 2, MAX_TIMEOUT_MS).problems(&plain), []);
        assert_eq!(policy(1, 2, 2).problems(&plain), []);
        assert_eq!(policy(0, 3, 2).problems(&plain), [Time("connect"), Longer("head")]);
        let over = MAX_TIMEOUT_MS + 1;
        assert_eq!(policy(over, 1, over).problems(&plain), [Time("connect"), Time("request")]);
        let rule = |patience| RouteRule { patience, ..RouteRule::default() };
        let stream = policy(1, 2, 3).problems(&rule(Some(Patience::Stream)));
        assert_eq!(stream, [Said("stream", "head"), Said("stream", "request")]);
        let limit = policy(1, 2, 3).problems(&rule(Some(Patience::LimitMs(9))));
        assert_eq!(limit, [Said("timeout", "head")]);
        let respond = Respond { status: 503, body: String::new(), content_type: plain_text() };
        let then = Some(Arc::new(Actions { respond: Some(respond), ..Actions::default() }));
        assert_eq!(policy(1, 2, 3).problems(&RouteRule { then, ..RouteRule::default() }), [Answers]);
    }

    #[test]
    fn what_is_written_is_this_text_and_what_is_not_known_is_refused() {
        let text = r#"{"timeouts":{"connect_ms":1,"head_ms":2,"request_ms":3}}"#;
        assert_eq!(serde_json::to_string(&policy(1, 2, 3)).unwrap(), text);
        assert_eq!(serde_json::from_str::<Policy>(text).unwrap(), policy(1, 2, 3));
        assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<Policy>(r#"{"timeout":{}}"#).is_err());
        assert!(serde_json::from_str::<Policy>(r#"{"timeouts":{"total_ms":1}}"#).is_err());
    }
}
