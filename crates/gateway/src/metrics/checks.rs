//! What was found by checks.

use lockstep_domain::check::CheckSeen;
use lockstep_domain::metrics_text::{ENVIRONMENT, Kind, Label, MetricsText, SERVICE};

use super::Everything;

impl Everything {
    /// Says nothing where there are no checks.
    pub(super) fn checks(&self, text: &mut MetricsText) {
        let found =
            || self.environments.iter().flat_map(|(name, seen)| seen.checks.iter().map(move |it| (name, it)));
        if found().next().is_none() {
            return;
        }
        let help = "Runs of checks that this gateway makes by itself, by how they ended; no request of a client is among them.";
        text.family("lockstep_gateway_check_runs_total", Kind::Counter, help);
        for (environment, seen) in found() {
            for (result, count) in [("passed", seen.passed), ("failed", seen.failed)] {
                let [of, service, check] = labels(environment, seen);
                text.sample(&[of, service, check, ("result", result)], count);
            }
        }
        let help = "Whether the last run of a check failed.";
        text.family("lockstep_gateway_check_failing", Kind::Gauge, help);
        for (environment, seen) in found() {
            let failing = seen.last.as_ref().map(|last| u8::from(last.fault.is_some()));
            failing.iter().for_each(|value| text.sample(&labels(environment, seen), value));
        }
        let help = "How long the last run of a check took.";
        text.family("lockstep_gateway_check_duration_seconds", Kind::Gauge, help);
        for (environment, seen) in found() {
            let took = seen.last.as_ref().map(|last| last.took_ms as f64 / 1_000.0);
            took.iter().for_each(|value| text.sample(&labels(environment, seen), value));
        }
    }
}

fn labels<'a>(environment: &'a str, seen: &'a CheckSeen) -> [Label<'a>; 3] {
    [(ENVIRONMENT, environment), (SERVICE, seen.service.as_str()), ("check", &seen.name)]
}
