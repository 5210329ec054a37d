//! When a read that has no answer yet is asked of another instance as well. Pure.
//!
//! How long answers usually take is kept in classes of latency, eight to an octave. Invariant: a wait that was given up on moves the time up and
//! never down: it was longer than that time already, so it counts as one of the slow ones, however long it would have taken.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::PolicyError;
use super::{Affinity, Patience, RouteRule};
use crate::gateway_rules::MAX_TIMEOUT_MS;

/// The format that a gateway must take where a route has reads asked of another instance as well.
pub const FORMAT_WITH_HEDGES: u32 = 23;
/// What is answered sooner is not worth a second request.
pub const LEAST_MS: u64 = 10;
/// Parts of the answers after which others may be asked, in percent.
const PERCENTS: std::ops::RangeInclusive<u8> = 50..=99;
/// Classes of an octave: what is told apart differs by an eighth.
const STEPS: usize = 8;
/// The first octave begins with 64 microseconds, and the last one ends after 67 s.
const FIRST_OCTAVE: u32 = 6;
const OCTAVES: usize = 20;
/// When so many answers were seen, those before count half: some minutes of a route with ten requests a second.
const MEMORY: u32 = 4_096;
/// So many answers must be slower than the time, or it says nothing: at 99 % it takes 1,000 of them, at 95 % 200.
const SLOW_ONES: u32 = 10;

/// After what a read is asked of another instance as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hedge {
    /// When there is no head of an answer after this time.
    AfterMs(u64),
    /// When there is none after the time within which most answers of the route began, as the gateway saw them.
    Percentile(Percentile),
}

/// The time within which a part of the answers began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Percentile {
    /// The part of the answers, from 50 to 99.
    #[schemars(extend("x-unit" = "percent"))]
    pub percent: u8,
    /// It is never shorter than this.
    #[serde(default = "least")]
    #[schemars(extend("default" = LEAST_MS))]
    pub least_ms: u64,
}

const fn least() -> u64 {
    LEAST_MS
}

impl Hedge {
    /// Returns the shortest time that it can be.
    #[must_use]
    pub const fn least_ms(self) -> u64 {
        match self {
            Self::AfterMs(ms) => ms,
            Self::Percentile(Percentile { least_ms, .. }) => least_ms,
        }
    }

    /// Returns everything that is wrong with it as a part of a rule.
    pub(super) fn problems(self, rule: &RouteRule) -> Vec<PolicyError> {
        let is_percent = |percent: u8| PERCENTS.contains(&percent);
        let is_time = match self {
            Self::AfterMs(_) => true,
            Self::Percentile(Percentile { percent, .. }) => is_percent(percent),
        };
        let is_time = is_time && (1..=MAX_TIMEOUT_MS).contains(&self.least_ms());
        let never = match rule.patience {
            Some(Patience::LimitMs(limit)) if self.least_ms() >= limit => {
                Some(PolicyError::HedgeNever("timeout"))
            }
            Some(Patience::Stream) => Some(PolicyError::HedgeBeside("stream = true")),
            _ => None,
        };
        let keeps = matches!(rule.affinity, Some(Affinity::Client));
        let wrong = (!is_time).then_some(PolicyError::Hedge);
        let keeps = keeps.then_some(PolicyError::HedgeBeside("affinity"));
        wrong.into_iter().chain(never).chain(keeps).collect()
    }

    /// Says it in words.
    pub(super) fn told(self) -> String {
        match self {
            Self::AfterMs(ms) => format!("asks another instance as well after {ms} ms, of reads"),
            Self::Percentile(Percentile { percent, least_ms }) => {
                format!(
                    "asks another instance as well after p{percent} of its answers, {least_ms} ms at least, of reads"
                )
            }
        }
    }
}

/// How long answers took to begin, as far as it is remembered.
#[derive(Debug, Clone)]
pub struct Latencies {
    classes: [u32; STEPS * OCTAVES],
    seen: u32,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { classes: [0; STEPS * OCTAVES], seen: 0 }
    }
}

impl Latencies {
    /// Takes in an answer that began after so many microseconds, or one that was not waited for any longer then.
    pub fn see(&mut self, took_us: u64) {
        self.classes[class(took_us)] += 1;
        self.seen += 1;
        if self.seen >= MEMORY {
            self.classes.iter_mut().for_each(|count| *count /= 2);
            self.seen = self.classes.iter().sum();
        }
    }

    /// Returns how many answers it remembers.
    #[must_use]
    pub const fn seen(&self) -> u32 {
        self.seen
    }

    /// Returns the time in microseconds within which this part of the answers began, at most an eighth more; nothing while too few were seen.
    #[must_use]
    pub fn within(&self, percent: u8) -> Option<u64> {
        let (seen, percent) = (u64::from(self.seen), u64::from(percent));
        if seen * 100_u64.saturating_sub(percent) < u64::from(SLOW_ONES) * 100 {
            return None;
        }
        let mut below = 0;
        let is_within = |count: &u32| {
            below += u64::from(*count);
            below * 100 >= seen * percent
        };
        self.classes.iter().position(is_within).map(end_of)
    }
}

fn class(us: u64) -> usize {
    let us = us.max(1 << FIRST_OCTAVE);
    let octave = us.ilog2();
    // The three bits behind the first one.
    let step = (us >> (octave - STEPS.ilog2())) as usize % STEPS;
    ((octave - FIRST_OCTAVE) as usize * STEPS + step).min(STEPS * OCTAVES - 1)
}

/// The first time that is too long for a class.
fn end_of(class: usize) -> u64 {
    let octave = FIRST_OCTAVE + (class / STEPS) as u32;
    ((STEPS + class % STEPS + 1) as u64) << (octave - STEPS.ilog2())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routes::policy::{Policy, RouteTimeouts};
    use crate::routes::retries::Retries;

    const fn p(percent: u8, least_ms: u64) -> Hedge {
        Hedge::Percentile(Percentile { percent, least_ms })
    }

    #[test]
    fn what_is_written_is_this_text_and_what_is_not_known_is_refused() {
        for (hedge, text) in [
            (Hedge::AfterMs(50), r#"{"after_ms":50}"#),
            (p(95, 10), r#"{"percentile":{"percent":95,"least_ms":10}}"#),
        ] {
            assert_eq!(serde_json::to_string(&hedge).unwrap(), text);
            assert_eq!(serde_json::from_str::<Hedge>(text).unwrap(), hedge);
        }
        assert_eq!(
            serde_json::from_str::<Hedge>(r#"{"percentile":{"percent":95}}"#).unwrap(),
            p(95, LEAST_MS)
        );
        for text in [r#"{"after":1}"#, r#"{"percentile":{"percent":95,"most_ms":1}}"#, r#"{"percentile":{}}"#]
        {
            assert!(serde_json::from_str::<Hedge>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_can_never_be_or_contradicts_is_told_all_at_once() {
        use PolicyError::{Answers, Hedge as Wrong, HedgeBeside as Beside, HedgeNever as Never};
        let problems =
            |hedge, more: Policy, rule: &RouteRule| Policy { hedge: Some(hedge), ..more }.problems(rule);
        let plain = RouteRule::default();
        for good in [Hedge::AfterMs(1), Hedge::AfterMs(MAX_TIMEOUT_MS), p(50, 1), p(99, 10)] {
            assert_eq!(problems(good, Policy::default(), &plain), [], "{good:?}");
        }
        for wrong in [Hedge::AfterMs(0), Hedge::AfterMs(MAX_TIMEOUT_MS + 1), p(49, 1), p(100, 1), p(95, 0)] {
            assert_eq!(problems(wrong, Policy::default(), &plain), [Wrong], "{wrong:?}");
        }
        let kept = RouteRule {
            affinity: Some(Affinity::Client),
            patience: Some(Patience::Stream),
            ..RouteRule::default()
        };
        assert_eq!(
            problems(p(95, 10), Policy::default(), &kept),
            [Beside("stream = true"), Beside("affinity")]
        );
        let limited = RouteRule { patience: Some(Patience::LimitMs(10)), ..RouteRule::default() };
        assert_eq!(problems(p(95, 10), Policy::default(), &limited), [Never("timeout")]);
        let timeouts = RouteTimeouts { head_ms: Some(10), request_ms: Some(20), ..RouteTimeouts::default() };
        let retries: Retries = serde_json::from_str(r#"{"attempts":0}"#).unwrap();
        let more = Policy { timeouts, retries: Some(retries), ..Policy::default() };
        let all = [Never("timeouts.head"), Never("timeouts.request"), Beside("retries.attempts = 0")];
        assert_eq!(problems(Hedge::AfterMs(20), more.clone(), &plain), all);
        assert_eq!(problems(Hedge::AfterMs(9), Policy { retries: None, ..more }, &plain), []);
        let answers: crate::routes::actions::Actions =
            serde_json::from_str(r#"{"respond":{"status":200}}"#).unwrap();
        let answers = RouteRule { then: Some(std::sync::Arc::new(answers)), ..RouteRule::default() };
        assert_eq!(problems(p(95, 10), Policy::default(), &answers), [Answers]);
    }

    #[test]
    fn a_part_is_said_when_ten_answers_are_slower() {
        let mut latencies = Latencies::default();
        let mut said = [None; 3];
        for count in 1..=1_000 {
            latencies.see(1_000);
            for (said, percent) in said.iter_mut().zip([50, 95, 99]) {
                if said.is_none() && latencies.within(percent).is_some() {
                    *said = Some(count);
                }
            }
        }
        assert_eq!(said, [Some(20), Some(200), Some(1_000)]);
    }

    #[test]
    fn what_becomes_slower_is_learned_though_nobody_waits_for_the_end() {
        let mut latencies = Latencies::default();
        (0..3_000).for_each(|_| latencies.see(10_000));
        let before = latencies.within(95).unwrap();
        // Each takes a second now, and is given up on when the other one has answered.
        let mut asked = 0;
        while latencies.within(95).unwrap() < 100_000 {
            let usual = latencies.within(95).unwrap();
            latencies.see(usual + 10_000);
            asked += 1;
            assert!(asked < 4_000, "{usual}");
        }
        assert!(before < 12_000);
    }

    proptest! {
        #[test]
        fn it_is_the_time_of_that_part_and_at_most_an_eighth_more(
            times in proptest::collection::vec(64_u64..60_000_000, 200..1_500),
            percent in 50_u8..=95,
        ) {
            let mut latencies = Latencies::default();
            times.iter().for_each(|it| latencies.see(*it));
            let mut sorted = times;
            sorted.sort_unstable();
            let place = (sorted.len() * usize::from(percent)).div_ceil(100) - 1;
            let (exact, said) = (sorted[place], latencies.within(percent).unwrap());
            prop_assert!(exact < said && said <= exact + exact / 8 + 1, "{} {}", exact, said);
        }

        #[test]
        fn a_wait_that_was_given_up_never_moves_it_down(
            times in proptest::collection::vec(64_u64..1_000_000, 200..4_000),
            more in 0_u64..10_000_000,
            percent in 50_u8..=95,
        ) {
            let mut latencies = Latencies::default();
            times.iter().for_each(|it| latencies.see(*it));
            let before = latencies.within(percent).unwrap();
            latencies.see(before + more);
            // What is remembered less of is rounded down, class by class.
            let is_halved = latencies.seen() < u32::try_from(times.len()).unwrap();
            prop_assert!(is_halved || latencies.within(percent).unwrap() >= before);
        }

        #[test]
        fn whatever_comes_is_counted(times in proptest::collection::vec(any::<u64>(), 0..9_000)) {
            let mut latencies = Latencies::default();
            times.iter().for_each(|it| latencies.see(*it));
            prop_assert!(latencies.seen() < MEMORY);
            prop_assert_eq!(latencies.seen(), latencies.classes.iter().sum::<u32>());
        }
    }
}
