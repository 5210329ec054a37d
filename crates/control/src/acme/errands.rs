//! Which certificates a step is under way for, and which are let alone for a while because the last one could not come about.
//!
//! In memory only: after a restart a step is tried at once, and once. What an authority must not be asked again is recorded.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockstep_domain::{CertificateName, EnvironmentName};

use crate::lock;

/// Most steps at once: one slow authority does not hold up another, and a hundred certificates that are due are no flood.
const MAX_AT_ONCE: usize = 8;
/// The pause after a step that could not come about the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause within an order, also when an authority asks for more: an order lasts an hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Whose step it is.
pub(crate) type Whose = (EnvironmentName, CertificateName);

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Errands(Mutex<BTreeMap<Whose, Errand>>);

#[derive(Debug, Clone, Copy)]
enum Errand {
    UnderWay { tries: u32 },
    Paused { until: Instant, tries: u32 },
}

impl Errands {
    /// Takes a step on, unless one is under way, it is too early, or there are too many.
    pub(super) fn begin(&self, whose: &Whose, now: Instant) -> bool {
        let mut errands = lock(&self.0);
        let tries = match errands.get(whose) {
            Some(Errand::UnderWay { .. }) => return false,
            Some(Errand::Paused { until, .. }) if *until > now => return false,
            Some(Errand::Paused { tries, .. }) => *tries,
            None => 0,
        };
        let under_way = errands.values().filter(|it| matches!(it, Errand::UnderWay { .. })).count();
        let begins = under_way < MAX_AT_ONCE;
        if begins {
            errands.insert(whose.clone(), Errand::UnderWay { tries });
        }
        begins
    }

    /// Tells whether a step is under way.
    pub(super) fn is_under_way(&self, whose: &Whose) -> bool {
        matches!(lock(&self.0).get(whose), Some(Errand::UnderWay { .. }))
    }

    /// A step came about: the next one may follow at once.
    pub(super) fn end(&self, whose: &Whose) {
        lock(&self.0).remove(whose);
    }

    /// A step could not come about now: it is tried again after what the authority asked for, or else after a pause that grows.
    pub(super) fn pause(&self, whose: &Whose, asked: Option<Duration>, now: Instant) {
        let mut errands = lock(&self.0);
        let tries = match errands.get(whose) {
            Some(Errand::UnderWay { tries } | Errand::Paused { tries, .. }) => *tries,
            None => 0,
        };
        let own = FIRST_PAUSE.saturating_mul(1 << tries.min(16));
        let pause = asked.unwrap_or(own).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let tries = tries.saturating_add(1);
        errands.insert(whose.clone(), Errand::Paused { until: now + pause, tries });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(name: &str) -> Whose {
        ("staging".parse().unwrap(), name.parse().unwrap())
    }

    #[test]
    fn a_certificate_has_one_step_at_a_time_and_all_together_a_few() {
        let (errands, now) = (Errands::default(), Instant::now());
        assert!(errands.begin(&whose("a"), now) && !errands.begin(&whose("a"), now));
        let more = (0..20).filter(|n| errands.begin(&whose(&format!("b{n}")), now)).count();
        assert_eq!(more, MAX_AT_ONCE - 1);
        errands.end(&whose("a"));
        assert!(errands.begin(&whose("a"), now));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_what_an_authority_asks_for_is_kept_within_it() {
        let (errands, now, it) = (Errands::default(), Instant::now(), whose("a"));
        let mut at = now;
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            assert!(errands.begin(&it, at));
            errands.pause(&it, None, at);
            let pause = (0..=LONGEST_PAUSE.as_millis() as u64 / 500)
                .map(|n| FIRST_PAUSE * u32::try_from(n).unwrap())
                .find(|pause| errands.begin(&it, at + *pause))
                .expect("it ends within the bound");
            assert!(pause >= last);
            (last, at) = (pause, at + pause);
            errands.pause(&it, Some(Duration::ZERO), at);
            at += FIRST_PAUSE;
        }
        assert_eq!(last, LONGEST_PAUSE);
        assert!(errands.begin(&it, at));
        errands.pause(&it, Some(Duration::MAX), at);
        assert!(
            !errands.begin(&it, at + LONGEST_PAUSE - FIRST_PAUSE) && errands.begin(&it, at + LONGEST_PAUSE)
        );
    }
}
