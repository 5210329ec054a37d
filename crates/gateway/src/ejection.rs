//! When an instance that fails again and again is left alone for a while. Numbers are Envoy's.
//!
//! Pure functions of what was seen and of the time.

use std::time::Duration;

use crate::moment::{Moment, micros};

/// Failures in a row after which an instance is taken out.
pub(crate) const FAILURES: u32 = 5;
/// For how long it is taken out the first time; each further time adds this much.
const FIRST: Duration = Duration::from_secs(30);
/// The longest time.
const LONGEST: Duration = Duration::from_secs(300);
/// The most instances of an arm that are out at once, in percent; one is always allowed where another is left.
const SHARE_PERCENT: usize = 10;

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
    pub(crate) fn again(self, now: Moment) -> Self {
        let forgotten = now.since(self.until) / micros(FIRST);
        let times = self.times.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX)).saturating_add(1);
        Self { until: now + FIRST.saturating_mul(times).min(LONGEST), times }
    }
}

/// Tells whether one more of so many instances of an arm may be taken out. The last one never is.
pub(crate) fn has_room(instances: usize, out: usize) -> bool {
    let most = (instances * SHARE_PERCENT / 100).max(1).min(instances.saturating_sub(1));
    out < most
}

/// Tells whether so few instances are healthy that those that are out are asked as well: the rest would break under
/// the load of all.
pub(crate) fn is_panic(instances: usize, healthy: usize) -> bool {
    healthy * 2 < instances
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEVER: Ejection = Ejection { until: Moment(0), times: 0 };

    #[test]
    fn the_time_grows_to_five_minutes_and_is_forgotten_when_all_is_well() {
        let (mut ejection, mut now) = (NEVER, Moment(1));
        for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            ejection = ejection.again(now);
            assert_eq!(ejection.until, now + Duration::from_secs(seconds));
            now = ejection.until;
        }
        let later = now + FIRST * 9;
        assert_eq!(ejection.again(later).until, later + FIRST * 3);
        let later = now + Duration::from_secs(3_600);
        assert_eq!(ejection.again(later).until, later + FIRST);
    }

    #[test]
    fn a_tenth_may_be_out_and_one_of_two_but_never_the_only_one() {
        let most = |instances| (0..=instances).find(|&out| !has_room(instances, out)).unwrap();
        assert_eq!([0, 1, 2, 3, 10, 19, 20, 100].map(most), [0, 0, 1, 1, 1, 1, 2, 10]);
    }

    proptest! {
        #[test]
        fn taking_out_alone_never_leaves_fewer_than_half(instances in 1_usize..1_000) {
            let out = (0..=instances).find(|&out| !has_room(instances, out)).unwrap();
            prop_assert!(out < instances && !is_panic(instances, instances - out));
        }

        #[test]
        fn an_instance_is_never_out_for_longer_than_the_longest_time(
            pauses in prop::collection::vec(0_u64..2_000_000_000, 1..30),
        ) {
            let (mut ejection, mut now) = (NEVER, Moment(1));
            for pause in pauses {
                now = Moment(now.0 + pause);
                ejection = ejection.again(now);
                prop_assert!(ejection.is_out(now) && !ejection.is_out(now + LONGEST));
                prop_assert!(ejection.until >= now + FIRST);
            }
        }
    }
}
