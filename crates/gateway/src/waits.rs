//! How long an instance may say nothing: as its route says, else as the environment says, else as the gateway does.
//!
//! Limits are on silence and not on the whole: an answer that is on its way is no fault, however long it takes, and one that
//! stands still is one, however short it is.

use std::time::Duration;

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::policy::RouteTimeouts;
use lockstep_domain::routes::{Patience, RouteRule};

use crate::config::Timeouts;

/// How long a stream may be silent. Its client is watched, and the system asks both ends whether they are there, so this is
/// only for what nobody thought of.
pub(crate) const STREAM: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an instance may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits {
    /// From the end of a request to the head of its answer.
    pub(crate) answer: Duration,
    /// Between two pieces of an answer.
    pub(crate) silence: Duration,
    /// For a connection.
    pub(crate) connect: Duration,
}

impl Waits {
    /// For a request that is given to no instance.
    pub(crate) const NONE: Self =
        Self { answer: Duration::ZERO, silence: Duration::ZERO, connect: Duration::ZERO };

    /// Finds what holds for a request.
    pub(crate) fn of(timeouts: &Timeouts, rules: &GatewayRules, route: Option<&RouteRule>) -> Self {
        let connect = timeouts.connect;
        let both = |limit| Self { answer: limit, silence: limit, connect };
        let waits = match (route.and_then(|rule| rule.patience), rules.timeout_ms) {
            (Some(Patience::Stream), _) => both(STREAM),
            (Some(Patience::LimitMs(limit)), _) | (None, Some(limit)) => both(Duration::from_millis(limit)),
            (None, None) => Self { answer: timeouts.answer, silence: timeouts.stall, connect },
        };
        match route.and_then(|rule| rule.policy.as_deref()) {
            Some(policy) => waits.with(&policy.timeouts),
            None => waits,
        }
    }

    fn with(self, said: &RouteTimeouts) -> Self {
        let or = |ms: Option<u64>, usual| ms.map_or(usual, Duration::from_millis);
        Self {
            answer: or(said.head_ms, self.answer),
            silence: or(said.idle_ms, self.silence),
            connect: or(said.connect_ms, self.connect),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lockstep_domain::routes::policy::Policy;

    use super::*;

    #[test]
    fn the_route_comes_before_the_environment_and_that_before_the_gateway() {
        let timeouts = Timeouts { stall: Duration::from_secs(61), ..Timeouts::default() };
        let environment = GatewayRules { timeout_ms: Some(5_000), ..GatewayRules::default() };
        let of = |rules: &GatewayRules, patience| {
            let rule = RouteRule { patience, ..RouteRule::default() };
            let waits = Waits::of(&timeouts, rules, Some(&rule));
            (waits.answer.as_secs(), waits.silence.as_secs())
        };
        assert_eq!(of(&GatewayRules::default(), None), (60, 61));
        assert_eq!(of(&environment, None), (5, 5));
        assert_eq!(of(&environment, Some(Patience::LimitMs(90_000))), (90, 90));
        assert_eq!(of(&environment, Some(Patience::Stream)), (86_400, 86_400));
    }

    #[test]
    fn what_a_route_says_of_one_thing_leaves_the_others() {
        let timeouts = Timeouts::default();
        let rules = GatewayRules { timeout_ms: Some(5_000), ..GatewayRules::default() };
        let said = RouteTimeouts { head_ms: Some(7), ..RouteTimeouts::default() };
        let policy = Some(Arc::new(Policy { timeouts: said, ..Policy::default() }));
        let rule = RouteRule { policy, ..RouteRule::default() };
        let waits = Waits::of(&timeouts, &rules, Some(&rule));
        let ms = |wait: Duration| wait.as_millis();
        assert_eq!((ms(waits.answer), ms(waits.silence), waits.connect), (7, 5_000, timeouts.connect));
    }
}
