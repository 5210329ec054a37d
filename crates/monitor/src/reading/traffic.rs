//! Shares of requests that fail or are slow, and how fast an error budget is used up.
//!
//! The method is that of *The Site Reliability Workbook* (Beyer et al., 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts", with two
//! changes: a window that was seen only in part counts what was not seen as served without failures at the same rate, so that
//! the budget that is said to be used up is; and fewer failures than a number are none, because of services that are asked little.

use super::{CALM_MS, Finding, Known, Reading, lasting, percent};
use crate::rule::Condition;
use crate::seen::{Blind, ServiceSeen};
use crate::series::{Tally, share};
use crate::subject::Subject;

/// Of this time it is said which version fails.
const VERSIONS_OVER_MS: u64 = 60_000;
/// A time of which less than this part was seen was not seen. Not more, so that alerts end where one looks seldom.
const SEEN_PART: u64 = 4;

/// A service, and what is known of it.
struct Asked<'a> {
    known: Known<'a>,
    environment: &'a str,
    service: &'a str,
}

pub(super) fn readings(condition: &Condition, known: Known<'_>) -> Vec<Reading> {
    let services = known.look.services().filter(|(_, _, service)| service.is_asked);
    services
        .filter_map(|(environment, service, seen)| {
            let subject = Subject::of([("environment", environment), ("service", service)]);
            let asked = Asked { known, environment, service };
            match is_counted(seen) {
                Ok(true) => Some(asked.reading(condition, subject)),
                Ok(false) => None,
                Err(why) => Some(Reading::unknown(subject, why)),
            }
        })
        .collect()
}

/// Tells whether anything was counted. Where one version was, the service was; a version that begins has nothing yet.
fn is_counted(service: &ServiceSeen) -> Result<bool, Blind> {
    let mut why = None;
    for arm in service.arms.values() {
        match arm.counters.get("requests") {
            Ok(_) => return Ok(true),
            Err(blind) => why = Some(blind),
        }
    }
    why.map_or(Ok(false), Err)
}

impl Asked<'_> {
    /// What was hardly seen is not fine: a server whose history was lost must not tell that a burn is over.
    fn reading(&self, condition: &Condition, subject: Subject) -> Reading {
        let finding = self.finding(condition);
        let recent_ms = recent_ms(condition);
        if finding.is_none() && self.lately(recent_ms).seen_ms < recent_ms / SEEN_PART {
            return Reading::unknown(
                subject,
                Blind::Begins("requests: not counted for long enough".to_owned()),
            );
        }
        Reading::of(subject, finding)
    }

    fn finding(&self, condition: &Condition) -> Option<Finding> {
        match *condition {
            Condition::BudgetBurn {
                objective_percent,
                burn_rate,
                long_seconds,
                short_seconds,
                at_least_failures,
            } => {
                let budget = 1.0 - objective_percent / 100.0;
                let windows = [long_seconds, short_seconds];
                self.burn(budget, burn_rate, windows.map(|seconds| seconds * 1_000), at_least_failures)
            }
            Condition::FailureShare { above_percent, over_seconds, at_least_failures } => {
                self.failing(above_percent / 100.0, over_seconds * 1_000, at_least_failures)
            }
            Condition::SlowShare { above_percent, slower_than_ms, over_seconds, at_least_slow } => {
                self.slow(above_percent / 100.0, slower_than_ms, over_seconds * 1_000, at_least_slow)
            }
            Condition::TooFewRequests { below_per_minute, over_seconds } => {
                self.too_few(below_per_minute, over_seconds * 1_000)
            }
            _ => None,
        }
    }

    fn lately(&self, over_ms: u64) -> Tally {
        self.known.history.lately(self.environment, self.service, over_ms)
    }

    fn burn(
        &self,
        budget: f64,
        burn_rate: f64,
        [long_ms, short_ms]: [u64; 2],
        at_least: u64,
    ) -> Option<Finding> {
        let (long, short) = (self.lately(long_ms), self.lately(short_ms));
        let burnt = |tally: &Tally, over_ms| share_of_whole(tally, over_ms) / budget;
        let is_fast = burnt(&long, long_ms) >= burn_rate && burnt(&short, short_ms) >= burn_rate;
        (is_fast && long.failures >= at_least).then(|| {
            let summary = format!(
                "{} uses up its error budget {:.0} times too fast in {}",
                self.service,
                burnt(&long, long_ms).max(1.0),
                self.environment
            );
            let detail = format!(
                "{} of {} requests failed in {}, {} in the last {}{}",
                long.failures,
                long.requests,
                lasting(long.seen_ms.min(long_ms)),
                percent(short.failing()),
                lasting(short.seen_ms.min(short_ms)),
                self.by_version()
            );
            let calm_ms = self.calm_ms(budget * burn_rate, short_ms, at_least);
            Finding { calm_ms: Some(calm_ms), ..self.told(summary, detail) }
        })
    }

    /// For how long lately fewer requests failed than burn the budget so fast: a minute, two, four and so on; for ever where that is as long as the
    /// rule looks back.
    fn calm_ms(&self, share: f64, short_ms: u64, at_least: u64) -> u64 {
        let mut windows =
            std::iter::successors(Some(CALM_MS), |ms| Some(ms * 2)).take_while(|ms| *ms <= short_ms);
        let is_restless = |over_ms: &u64| {
            let lately = self.lately(*over_ms);
            lately.failing() >= share && lately.failures >= at_least
        };
        windows.find(is_restless).map_or(u64::MAX, |over_ms| over_ms / 2)
    }

    fn failing(&self, above: f64, over_ms: u64, at_least: u64) -> Option<Finding> {
        let lately = self.lately(over_ms);
        (lately.failing() > above && lately.failures >= at_least).then(|| {
            let summary = format!(
                "{} fails {} of its requests in {}",
                self.service,
                percent(lately.failing()),
                self.environment
            );
            let detail = format!(
                "{} of {} requests in {}{}",
                lately.failures,
                lately.requests,
                lasting(over_ms),
                self.by_version()
            );
            self.told(summary, detail)
        })
    }

    fn slow(&self, above: f64, bound_ms: u64, over_ms: u64, at_least: u64) -> Option<Finding> {
        let lately = self.lately(over_ms);
        let slow = lately.slower_than(bound_ms);
        let part = share(slow, lately.requests);
        (part > above && slow >= at_least).then(|| {
            let summary = format!(
                "{} is slower than {bound_ms} ms in {} of its requests in {}",
                self.service,
                percent(part),
                self.environment
            );
            self.told(summary, format!("{slow} of {} requests in {}", lately.requests, lasting(over_ms)))
        })
    }

    /// Says nothing before the whole time was seen: a server that just began has seen few requests of everybody.
    fn too_few(&self, below_per_minute: f64, over_ms: u64) -> Option<Finding> {
        let lately = self.lately(over_ms);
        let per_minute = lately.requests as f64 * 60_000.0 / over_ms as f64;
        (lately.seen_ms >= over_ms && per_minute < below_per_minute).then(|| {
            let summary =
                format!("{} is asked {per_minute:.1} times a minute in {}", self.service, self.environment);
            self.told(summary, format!("{} requests in {}", lately.requests, lasting(over_ms)))
        })
    }

    fn told(&self, summary: String, detail: String) -> Finding {
        let hint = format!("lockstep blame {} --env {}", self.service, self.environment);
        Finding::new(summary).because(Some(detail)).then(hint)
    }

    /// Says which versions fail, where there are several.
    fn by_version(&self) -> String {
        let versions = self.known.history.versions_lately(self.environment, self.service, VERSIONS_OVER_MS);
        let shares: Vec<String> = versions
            .filter(|(_, tally)| tally.requests > 0)
            .map(|(version, tally)| format!("{version} fails {}", percent(tally.failing())))
            .collect();
        if shares.len() < 2 { String::new() } else { format!("; {}", shares.join(", ")) }
    }
}

/// Returns the shortest time that a condition is about: what must be fine for it to be over.
const fn recent_ms(condition: &Condition) -> u64 {
    match *condition {
        Condition::BudgetBurn { short_seconds, .. } => short_seconds * 1_000,
        Condition::FailureShare { over_seconds, .. }
        | Condition::SlowShare { over_seconds, .. }
        | Condition::TooFewRequests { over_seconds, .. } => over_seconds * 1_000,
        _ => 0,
    }
}

/// Returns the share that failed of what a whole window would have had, if what was not seen went without failures.
fn share_of_whole(tally: &Tally, over_ms: u64) -> f64 {
    tally.failing() * share(tally.seen_ms.min(over_ms), over_ms)
}
