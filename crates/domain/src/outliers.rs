//! When an instance is left alone because it does worse than the others of its version, beside failing again and again. Pure.
//!
//! Looked at once a second, over what was counted in the last [`EjectionRule::window_ms`]. By failures as Envoy's `failure_percentage` has
//! it: at least so many requests, of which at least so many in a hundred failed. By latency, which Envoy does not have: its mean is so many
//! times the median of the means of all, and at least [`LEAST_SLOWER_US`] more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format that a gateway must take where a version says how many of its instances stay in any case.
pub const FORMAT_WITH_FLOORS: u32 = 26;
/// What is less slow than this beside the others is noise.
pub const LEAST_SLOWER_US: u64 = 20_000;

/// When an instance is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionRule {
    /// After so many failures in a row; 0 is never.
    pub consecutive: u32,
    /// When this part of its requests failed, in percent; 0 is never.
    #[schemars(extend("x-unit" = "percent"))]
    pub failures_percent: u32,
    /// When it is so many times as slow as the median of all; 0 is never.
    pub slower: u32,
    /// Of at least so many requests, for failures and for latency.
    pub requests: u32,
    /// In so many milliseconds.
    pub window_ms: u64,
    /// How long it is left alone the first time, in milliseconds; each further time adds as much.
    pub first_ms: u64,
    /// How long it is left alone at most, in milliseconds.
    pub longest_ms: u64,
    /// How many of the instances are left alone at once, in percent; one may always be where another is left.
    #[schemars(extend("x-unit" = "percent"))]
    pub most_percent: u32,
    /// When fewer are healthy, in percent, all are asked; 0 is never.
    #[schemars(extend("x-unit" = "percent"))]
    pub panic_percent: u32,
    /// So many of the instances are asked in any case, whatever is seen of them; one always is.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(extend("x-since" = FORMAT_WITH_FLOORS, "default" = 1))]
    pub floor: u32,
    /// The same as a part of them, in percent, rounded up.
    #[serde(skip_serializing_if = "is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_FLOORS, "x-unit" = "percent", "default" = 0))]
    pub floor_percent: u32,
}

const fn is_one(floor: &u32) -> bool {
    *floor == 1
}

const fn is_none(percent: &u32) -> bool {
    *percent == 0
}

impl Default for EjectionRule {
    fn default() -> Self {
        Self {
            consecutive: 5,
            failures_percent: 0,
            slower: 0,
            requests: 50,
            window_ms: 10_000,
            first_ms: 30_000,
            longest_ms: 300_000,
            most_percent: 10,
            panic_percent: 50,
            floor: 1,
            floor_percent: 0,
        }
    }
}

impl EjectionRule {
    /// Returns the names of everything in it that is out of its bounds, each with them.
    #[must_use]
    pub fn out_of_bounds(&self) -> Vec<(&'static str, u64, u64)> {
        let Self { consecutive, failures_percent, slower, requests, .. } = *self;
        let Self {
            window_ms, first_ms, longest_ms, most_percent, panic_percent, floor, floor_percent, ..
        } = *self;
        let all = [
            ("consecutive", u64::from(consecutive), 0, 10_000),
            ("failures", u64::from(failures_percent), 0, 100),
            ("slower", u64::from(slower), 0, 1_000),
            ("requests", u64::from(requests), 1, 1_000_000),
            ("window", window_ms, 1_000, 600_000),
            ("first", first_ms, 1_000, 3_600_000),
            ("longest", longest_ms, first_ms.max(1_000), 86_400_000),
            ("most", u64::from(most_percent), 1, 100),
            ("panic", u64::from(panic_percent), 0, 100),
            ("floor", u64::from(floor), 1, 10_000),
            ("floor", u64::from(floor_percent), 0, 100),
        ];
        let wrong = all.into_iter().filter(|(_, it, least, most)| !(least..=most).contains(&it));
        wrong.map(|(name, _, least, most)| (name, least, most)).collect()
    }

    /// Tells whether anything is to be counted for it beside failures in a row.
    #[must_use]
    pub fn compares(&self) -> bool {
        self.failures_percent > 0 || self.slower > 0
    }

    /// Tells whether it says how many instances stay in any case, beside one.
    #[must_use]
    pub fn has_floor(&self) -> bool {
        !is_one(&self.floor) || !is_none(&self.floor_percent)
    }

    /// Returns how many of so many instances stay in any case.
    #[must_use]
    pub fn stay(&self, instances: usize) -> usize {
        let share = (instances * self.floor_percent as usize).div_ceil(100);
        share.max(self.floor as usize).max(1).min(instances)
    }

    /// Tells what one more of so many instances meets that is to be left alone.
    #[must_use]
    pub fn room(&self, instances: usize, out: usize) -> Room {
        let share = instances * self.most_percent as usize / 100;
        if out >= share.max(1).min(instances.saturating_sub(1)) {
            Room::Full
        } else if out >= instances - self.stay(instances) {
            Room::Floor
        } else {
            Room::Free
        }
    }

    /// Returns how many of those that are left alone come back, because others left and too few would be asked.
    #[must_use]
    pub fn back(&self, instances: usize, out: usize) -> usize {
        (self.stay(instances) + out).saturating_sub(instances)
    }

    /// Tells whether so few instances are healthy that all are asked: the rest would break under the load of all.
    #[must_use]
    pub fn is_panic(&self, instances: usize, healthy: usize) -> bool {
        healthy * 100 < instances * self.panic_percent as usize
    }

    /// Finds those that do worse than the others, the worst first, with the reason.
    #[must_use]
    pub fn outliers(&self, counted: &[Counted]) -> Vec<(usize, Outlier)> {
        let enough = |it: &Counted| it.requests >= u64::from(self.requests);
        let mut means: Vec<u64> =
            counted.iter().filter(|it| enough(it)).filter_map(Counted::mean_us).collect();
        means.sort_unstable();
        // Of two the better one: the worse cannot be what is usual.
        let median = means.get(means.len().saturating_sub(1) / 2).copied();
        let found = counted.iter().enumerate().filter(|(_, it)| enough(it));
        let mut found: Vec<_> =
            found.filter_map(|(place, it)| Some((place, self.outlier(it, median, means.len())?))).collect();
        found.sort_by_key(|(_, outlier)| std::cmp::Reverse(*outlier));
        found
    }

    fn outlier(&self, counted: &Counted, median: Option<u64>, compared: usize) -> Option<Outlier> {
        let Counted { requests, failures, .. } = *counted;
        let fails =
            self.failures_percent > 0 && failures * 100 >= requests * u64::from(self.failures_percent);
        let (mean, median) = (counted.mean_us().unwrap_or(0), median.unwrap_or(u64::MAX));
        let is_slow = self.slower > 0
            && compared > 1
            && mean
                >= median.saturating_mul(u64::from(self.slower)).max(median.saturating_add(LEAST_SLOWER_US));
        match (fails, is_slow) {
            (true, _) => Some(Outlier::Fails(failures * 100 / requests.max(1))),
            (false, true) => Some(Outlier::Slow(mean / median.max(1))),
            (false, false) => None,
        }
    }
}

/// Whether one more instance may be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Free,
    /// As many are left alone as may be at once. The last one never is.
    Full,
    /// As few would be asked as may be in any case.
    Floor,
}

/// What was counted of an instance in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Requests that are over.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// How long the others took together until their answers began, in microseconds.
    pub total_us: u64,
}

impl Counted {
    fn mean_us(&self) -> Option<u64> {
        self.total_us.checked_div(self.requests.saturating_sub(self.failures))
    }
}

/// Why an instance is left alone; the greater is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlier {
    /// It is so many times as slow as the median.
    Slow(u64),
    /// So many in a hundred of its requests failed.
    Fails(u64),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(requests: u64, failures: u64, mean_us: u64) -> Counted {
        Counted { requests, failures, total_us: mean_us * (requests - failures) }
    }

    #[test]
    fn one_that_fails_or_is_slow_among_others_is_found_and_too_few_requests_say_nothing() {
        let rule = EjectionRule { failures_percent: 50, slower: 5, ..EjectionRule::default() };
        let well = counted(100, 2, 10_000);
        let found = |counted: &[Counted]| rule.outliers(counted);
        assert_eq!(found(&[well, well, counted(100, 50, 10_000)]), [(2, Outlier::Fails(50))]);
        assert_eq!(found(&[well, counted(100, 49, 10_000)]), []);
        assert_eq!(found(&[well, counted(49, 49, 0)]), []);
        assert_eq!(found(&[counted(100, 0, 60_000), well]), [(0, Outlier::Slow(6))]);
        assert_eq!(found(&[counted(100, 0, 49_000), well]), []);
        assert_eq!(found(&[counted(100, 0, 60_000)]), [], "nobody to compare it with");
        assert_eq!(found(&[counted(100, 0, 10_000), counted(100, 0, 1_000)]), [], "it is noise");
        let both = [counted(100, 90, 10_000), well, well, counted(100, 60, 10_000)];
        assert_eq!(found(&both), [(0, Outlier::Fails(90)), (3, Outlier::Fails(60))]);
        assert_eq!(EjectionRule::default().outliers(&both), []);
    }

    #[test]
    fn a_tenth_may_be_out_and_one_of_two_but_never_the_only_one() {
        let rule = EjectionRule::default();
        assert_eq!(
            [0, 1, 2, 3, 10, 19, 20, 100].map(|instances| most(&rule, instances)),
            [0, 0, 1, 1, 1, 1, 2, 10]
        );
        let all = EjectionRule { most_percent: 100, ..rule };
        assert_eq!(most(&all, 5), 4);
    }

    #[test]
    fn so_many_stay_in_any_case_and_come_back_when_others_leave() {
        let all = EjectionRule { most_percent: 100, ..EjectionRule::default() };
        let two = EjectionRule { floor: 2, ..all };
        assert_eq!([1, 2, 3, 5].map(|instances| most(&two, instances)), [0, 0, 1, 3]);
        let share = EjectionRule { floor_percent: 60, ..all };
        assert_eq!([1, 2, 3, 5, 10].map(|instances| most(&share, instances)), [0, 0, 1, 2, 4]);
        let tenth = EjectionRule { floor: 2, ..EjectionRule::default() };
        assert_eq!(
            (tenth.room(20, 2), tenth.room(3, 1), two.room(3, 1)),
            (Room::Full, Room::Full, Room::Floor)
        );
        assert_eq!(((two.back(3, 1), two.back(2, 1)), (two.back(3, 2), two.back(1, 1))), ((0, 1), (1, 1)));
        assert!(two.has_floor() && share.has_floor() && !all.has_floor());
        let out = EjectionRule { floor: 0, floor_percent: 101, ..all }.out_of_bounds();
        assert_eq!(out, [("floor", 1, 10_000), ("floor", 0, 100)]);
    }

    #[test]
    fn what_says_nothing_of_it_is_written_as_before() {
        let text = serde_json::to_string(&EjectionRule::default()).unwrap();
        assert!(!text.contains("floor"), "{text}");
        let rule = EjectionRule { floor: 3, ..EjectionRule::default() };
        assert_eq!(
            serde_json::from_str::<EjectionRule>(&serde_json::to_string(&rule).unwrap()).unwrap(),
            rule
        );
    }

    fn most(rule: &EjectionRule, instances: usize) -> usize {
        (0..=instances).find(|&out| rule.room(instances, out) != Room::Free).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_usual_leaves_at_least_half_of_them(instances in 1_usize..1_000) {
            let rule = EjectionRule::default();
            let out = most(&rule, instances);
            prop_assert!(out < instances && !rule.is_panic(instances, instances - out));
        }

        #[test]
        fn as_many_are_asked_as_are_to_be_in_any_case_however_many_come_and_leave(
            floor in 1_u32..30,
            floor_percent in 0_u32..=100,
            most_percent in 1_u32..=100,
            turns in prop::collection::vec((0_usize..40, 0_usize..40), 1..10),
        ) {
            let rule = EjectionRule { floor, floor_percent, most_percent, ..EjectionRule::default() };
            let mut out = 0;
            for (instances, fail) in turns {
                out = out.min(instances);
                out -= rule.back(instances, out);
                prop_assert!(instances - out >= rule.stay(instances));
                for _ in 0..fail {
                    out += usize::from(rule.room(instances, out) == Room::Free);
                }
                prop_assert!(instances - out >= rule.stay(instances));
                prop_assert!(rule.stay(instances) >= instances.min(floor as usize));
            }
        }

        #[test]
        fn those_who_do_alike_are_no_outliers_by_latency(count in 1_usize..20, mean in 0_u64..1_000_000) {
            let rule = EjectionRule { slower: 2, ..EjectionRule::default() };
            prop_assert_eq!(rule.outliers(&vec![counted(100, 0, mean); count]), []);
        }
    }
}
