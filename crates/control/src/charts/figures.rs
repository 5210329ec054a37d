//! Which figures are kept of a service and its versions, and how counters become rates. Pure but for the look.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_api::types::{ChartPoint, ChartSeries};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::watch::latency_bound_ms;
use lockstep_domain::{Arm, EnvironmentName, Instance, InstanceId, InstanceState, ServiceName};
use lockstep_registry::LatencyCounts;
use lockstep_runtime::Usage;
use lockstep_series::SeriesKey;

use crate::Control;

/// Two looks that are farther apart have nothing between them that is a rate of now.
const MAX_APART: Duration = Duration::from_secs(60);

/// Requests in a second.
pub(super) const REQUESTS: &str = "requests";
/// Those of them that failed.
pub(super) const FAILURES: &str = "failures";
/// In how many milliseconds half of the answers began, 95 and 99 of 100.
pub(super) const LATENCIES: [(&str, f64); 3] =
    [("latency-p50", 0.5), ("latency-p95", 0.95), ("latency-p99", 0.99)];
/// Healthy instances, and all that should be.
pub(super) const HEALTHY: &str = "healthy";
pub(super) const INSTANCES: &str = "instances";
/// Bytes of memory of its instances.
pub(super) const MEMORY: &str = "memory";
/// Processors that its instances use.
pub(super) const PROCESSORS: &str = "processors";

/// All of them.
const ALL: [&str; 9] = [
    REQUESTS,
    FAILURES,
    LATENCIES[0].0,
    LATENCIES[1].0,
    LATENCIES[2].0,
    HEALTHY,
    INSTANCES,
    MEMORY,
    PROCESSORS,
];

/// Returns the figures that are read where these are asked for, all where none is: with them the one that says when the service was there.
pub(super) fn wanted(named: &[String]) -> Vec<&'static str> {
    let is_wanted =
        |figure: &&str| named.is_empty() || *figure == INSTANCES || named.iter().any(|it| it == figure);
    ALL.into_iter().filter(is_wanted).collect()
}

/// Makes a curve.
pub(super) fn series(version: Option<String>, figure: &str, points: Vec<ChartPoint>) -> ChartSeries {
    ChartSeries { version, figure: figure.to_owned(), unit: unit(figure).to_owned(), points }
}

/// Returns the unit of a figure.
fn unit(figure: &str) -> &'static str {
    match figure {
        REQUESTS | FAILURES => "a second",
        MEMORY => "bytes",
        PROCESSORS => "processors",
        HEALTHY | INSTANCES => "instances",
        _ => "ms",
    }
}

/// A service, or one version of it.
type Place = (EnvironmentName, ServiceName, Option<String>);

/// What is counted of a service or a version.
#[derive(Debug, Clone, Default)]
struct Sums {
    traffic: ArmTraffic,
    latencies: LatencyCounts,
    healthy: u64,
    instances: u64,
    memory: u64,
    cpu_us: u64,
}

/// What is counted of everything.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<Place, Sums>);

impl Counted {
    /// Looks at everything; `used` is what instances use.
    pub(super) fn look(control: &Control, used: &BTreeMap<InstanceId, Usage>) -> Self {
        let world = control.ledger.world();
        let mut counted = Self::default();
        for instance in world.as_named_now(control.known_instances()) {
            counted.add_instance(&instance, used.get(&instance.id).copied());
        }
        for name in world.environments.keys() {
            for (arm, traffic) in control.registry.counted(name) {
                let service = world.current_name(&arm.service).clone();
                counted.each(name, &service, &arm, |sums| {
                    sums.traffic.requests = sums.traffic.requests.saturating_add(traffic.requests);
                    sums.traffic.failures = sums.traffic.failures.saturating_add(traffic.failures);
                });
            }
            for (arm, latencies) in control.registry.counted_latencies(name) {
                let service = world.current_name(&arm.service).clone();
                counted.each(name, &service, &arm, |sums| {
                    sums.latencies
                        .iter_mut()
                        .zip(latencies)
                        .for_each(|(sum, more)| *sum = sum.saturating_add(more));
                });
            }
        }
        counted
    }

    fn add_instance(&mut self, instance: &Instance, used: Option<Usage>) {
        if instance.resource.is_some() || instance.job.is_some() || instance.state.is_over() {
            return;
        }
        let used = used.unwrap_or_default();
        let is_healthy = instance.state == InstanceState::Healthy;
        let arm = &instance.arm;
        self.each(&instance.environment, &arm.service, arm, |sums| {
            sums.healthy += u64::from(is_healthy);
            sums.instances += 1;
            sums.memory = sums.memory.saturating_add(used.memory_bytes);
            sums.cpu_us = sums.cpu_us.saturating_add(used.cpu_us);
        });
    }

    /// Adds to the service and to its version.
    fn each(
        &mut self,
        environment: &EnvironmentName,
        service: &ServiceName,
        arm: &Arm,
        add: impl Fn(&mut Sums),
    ) {
        let version = Some(arm.version.to_string());
        for of in [None, version] {
            add(self.0.entry((environment.clone(), service.clone(), of)).or_default());
        }
    }

    /// Makes a row: rates are of the time since an earlier look, and are left out without one.
    pub(super) fn row(&self, before: Option<(Duration, &Self)>) -> Vec<(SeriesKey, f64)> {
        let before = before.filter(|(elapsed, _)| !elapsed.is_zero() && *elapsed <= MAX_APART);
        let mut row = Vec::with_capacity(self.0.len() * 8);
        for (place, sums) in &self.0 {
            let earlier = before.and_then(|(elapsed, counted)| Some((elapsed, counted.0.get(place)?)));
            // Versions that are gone are counted for ever, and are nothing any more.
            if sums.instances == 0 && earlier.is_none_or(|(_, earlier)| sums.traffic == earlier.traffic) {
                continue;
            }
            let (environment, service, version) = place;
            let key =
                |figure| SeriesKey::new(environment.as_str(), service.as_str(), version.as_deref(), figure);
            row.extend(
                sums.figures(earlier).into_iter().filter_map(|(name, value)| Some((key(name).ok()?, value))),
            );
        }
        row
    }
}

impl Sums {
    fn figures(&self, earlier: Option<(Duration, &Self)>) -> Vec<(&'static str, f64)> {
        let mut figures = vec![
            (HEALTHY, self.healthy as f64),
            (INSTANCES, self.instances as f64),
            (MEMORY, self.memory as f64),
        ];
        let Some((elapsed, earlier)) = earlier else { return figures };
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        figures.push((REQUESTS, rate(self.traffic.requests, earlier.traffic.requests)));
        figures.push((FAILURES, rate(self.traffic.failures, earlier.traffic.failures)));
        // An instance that ended takes its time along.
        figures.push((PROCESSORS, rate(self.cpu_us, earlier.cpu_us) / 1e6));
        let mut came = self.latencies;
        came.iter_mut().zip(earlier.latencies).for_each(|(now, before)| *now = now.saturating_sub(before));
        figures.extend(LATENCIES.iter().filter_map(|(name, part)| Some((*name, quantile(&came, *part)?))));
        figures
    }
}

/// Returns in how many milliseconds a part of the answers began: within its class as if they were spread evenly. Nothing where there are none.
fn quantile(counts: &LatencyCounts, part: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let wanted = all as f64 * part;
    let mut below = 0.0;
    for (class, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let from = class.checked_sub(1).and_then(latency_bound_ms).unwrap_or(0) as f64;
        let until = latency_bound_ms(class).map_or(2.0 * from, |bound| bound as f64);
        let count = *count as f64;
        if below + count >= wanted {
            return Some(from + (until - from) * (wanted - below) / count);
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64, failures: u64, instances: u64) -> Counted {
        let place = ("production".parse().unwrap(), "orders".parse().unwrap(), None);
        let traffic = ArmTraffic { requests, failures };
        Counted([(place, Sums { traffic, instances, healthy: instances, ..Sums::default() })].into())
    }

    fn figure(row: &[(SeriesKey, f64)], name: &str) -> Option<f64> {
        row.iter().find(|(key, _)| key.figure() == name).map(|(_, value)| *value)
    }

    #[test]
    fn a_rate_needs_two_looks_that_are_close() {
        let (first, second) = (counted(1_000, 10, 2), counted(1_050, 15, 2));
        assert_eq!(figure(&first.row(None), REQUESTS), None);
        let row = second.row(Some((Duration::from_secs(10), &first)));
        assert_eq!((figure(&row, REQUESTS), figure(&row, FAILURES)), (Some(5.0), Some(0.5)));
        assert_eq!(figure(&second.row(Some((Duration::from_secs(3_600), &first))), REQUESTS), None);
        assert_eq!(figure(&second.row(Some((Duration::ZERO, &first))), REQUESTS), None);
        let again = counted(3, 0, 2).row(Some((Duration::from_secs(10), &second)));
        assert_eq!(figure(&again, REQUESTS), Some(0.0), "a counter that began anew brings nothing");
    }

    #[test]
    fn what_is_gone_is_in_no_row() {
        let gone = counted(1_050, 15, 0);
        assert!(gone.row(Some((Duration::from_secs(10), &gone))).is_empty());
        assert!(
            !gone.row(Some((Duration::from_secs(10), &counted(1_000, 15, 1)))).is_empty(),
            "its last requests"
        );
    }

    #[test]
    fn quantiles_are_within_their_class() {
        let mut counts = LatencyCounts::default();
        assert_eq!(quantile(&counts, 0.5), None);
        counts[3] = 100; // 4 to 8 ms
        assert_eq!(quantile(&counts, 0.5), Some(6.0));
        counts[10] = 2; // 512 to 1,024 ms
        assert!((512.0..=1_024.0).contains(&quantile(&counts, 0.99).unwrap()));
        counts[17] = 1_000_000;
        assert!(quantile(&counts, 0.99).unwrap() >= 65_536.0, "the last class has no bound");
    }
}
