//! For how long an instance is left alone, when it does worse than others again and again. Numbers are Envoy's unless its version says
//! others.
//!
//! Pure functions of what was seen and of the time.

use std::time::Duration;

use lockstep_domain::outliers::EjectionRule;

use crate::moment::{Moment, micros};

/// That an instance is or was taken out. `Moment(0)` is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ejection {
    pub(crate) until: Moment,
    /// How often, lately.
    pub(crate) times: u32,
}

impl Ejection {
    pub(crate) fn is_out(self, now: Moment) -> bool {
        now < self.until
    }

    /// Takes the instance out once more. Each full time without is one that is forgotten.
    pub(crate) fn again(self, rule: &EjectionRule, now: Moment) -> Self {
        let first = Duration::from_millis(rule.first_ms);
        let forgotten = now.since(self.until) / micros(first).max(1);
        let times = self.times.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX)).saturating_add(1);
        Self { until: now + first.saturating_mul(times).min(Duration::from_millis(rule.longest_ms)), times }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEVER: Ejection = Ejection { until: Moment(0), times: 0 };
    const FIRST: Duration = Duration::from_secs(30);
    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn the_time_grows_to_five_minutes_and_is_forgotten_when_all_is_well() {
        let (mut ejection, mut now, rule) = (NEVER, Moment(1), EjectionRule::default());
        for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            ejection = ejection.again(&rule, now);
            assert_eq!(ejection.until, now + Duration::from_secs(seconds));
            now = ejection.until;
        }
        let later = now + FIRST * 9;
        assert_eq!(ejection.again(&rule, later).until, later + FIRST * 3);
        let later = now + Duration::from_secs(3_600);
        assert_eq!(ejection.again(&rule, later).until, later + FIRST);
    }

    proptest! {
        #[test]
        fn an_instance_is_never_out_for_longer_than_the_longest_time(
            pauses in prop::collection::vec(0_u64..2_000_000_000, 1..30),
        ) {
            let (mut ejection, mut now, rule) = (NEVER, Moment(1), EjectionRule::default());
            for pause in pauses {
                now = Moment(now.0 + pause);
                ejection = ejection.again(&rule, now);
                prop_assert!(ejection.is_out(now) && !ejection.is_out(now + LONGEST));
                prop_assert!(ejection.until >= now + FIRST);
            }
        }
    }
}
