//! What gateways counted for verdicts, summed over gateways that come and go.
//!
//! Gateways keep the counters of a trial from its beginning, so a server that was started anew hears all of them again.

use std::collections::BTreeMap;

use lockstep_domain::ServiceName;
use lockstep_domain::watch::{AnswerSample, ByWeight, Watched};

/// Runs of gateways that are kept apart in a trial; what those beyond it count is not heard.
const MAX_RUNS: usize = 4_000;
/// Weights that are kept of a service: far more than a rollout has steps.
const MAX_WEIGHTS: usize = 100;

/// Answers that wait for whoever compares them; what comes beyond it is dropped, whatever arm it is of.
const MAX_SAMPLES: usize = 256;

/// What is known of the trial of one service.
#[derive(Debug, Default)]
struct Trial {
    name: String,
    runs: BTreeMap<String, ByWeight>,
}

/// What gateways counted for verdicts.
#[derive(Debug, Default)]
pub(crate) struct WatchedTraffic {
    trials: BTreeMap<ServiceName, Trial>,
    samples: Vec<AnswerSample>,
}

impl WatchedTraffic {
    /// Goes on with the trials that the published table names, and forgets all others.
    pub(crate) fn expect<'a>(&mut self, trials: impl Iterator<Item = (&'a ServiceName, String)>) {
        let mut before = std::mem::take(&mut self.trials);
        for (service, name) in trials {
            let kept = before.remove(service).filter(|trial| trial.name == name);
            let trial = kept.unwrap_or_else(|| Trial { name, runs: BTreeMap::new() });
            self.trials.insert(service.clone(), trial);
        }
    }

    /// Takes in what one run of a gateway counted since the trials began there.
    pub(crate) fn receive(&mut self, run: &str, watched: &[Watched]) {
        for one in watched {
            let trial = self.trials.get_mut(&one.service).filter(|trial| trial.name == one.trial);
            let Some(trial) = trial.filter(|it| it.runs.len() < MAX_RUNS || it.runs.contains_key(run)) else {
                continue;
            };
            let weights = trial.runs.entry(run.to_owned()).or_default();
            if weights.len() < MAX_WEIGHTS || weights.contains_key(&one.weight) {
                weights.insert(one.weight, one.arms.iter().cloned().collect());
            }
        }
    }

    /// Keeps answers of present trials until somebody takes them.
    pub(crate) fn keep(&mut self, samples: &[AnswerSample]) {
        let trials = &self.trials;
        let is_present =
            |it: &&AnswerSample| trials.get(&it.service).is_some_and(|trial| trial.name == it.trial);
        let room = MAX_SAMPLES.saturating_sub(self.samples.len());
        self.samples.extend(samples.iter().filter(is_present).take(room).cloned());
    }

    /// Hands out the answers that were kept.
    pub(crate) fn take_samples(&mut self) -> Vec<AnswerSample> {
        std::mem::take(&mut self.samples)
    }

    /// Returns the sums of each service on trial since its trial began.
    pub(crate) fn totals(&self) -> BTreeMap<ServiceName, ByWeight> {
        let sum = |trial: &Trial| {
            let mut sums = ByWeight::new();
            for (weight, arms) in trial.runs.values().flatten() {
                let sums = sums.entry(*weight).or_default();
                arms.iter().for_each(|(arm, counts)| sums.entry(arm.clone()).or_default().add(counts));
            }
            sums
        };
        self.trials.iter().map(|(service, trial)| (service.clone(), sum(trial))).collect()
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::watch::ArmCounts;
    use lockstep_domain::{Arm, ConfigRevision, VersionNumber};

    use super::*;

    fn service() -> ServiceName {
        "orders".parse().unwrap()
    }

    fn arm() -> Arm {
        Arm {
            service: service(),
            version: VersionNumber::new(1, 1, 0),
            config: ConfigRevision(0),
            process: None,
        }
    }

    fn watched(trial: &str, weight: u32, requests: u64) -> Watched {
        let mut counts = ArmCounts::default();
        counts.total.requests = requests;
        Watched { service: service(), trial: trial.into(), weight, arms: vec![(arm(), counts)] }
    }

    fn requests(traffic: &WatchedTraffic) -> Vec<(u32, u64)> {
        let totals = traffic.totals();
        let of = |arms: &BTreeMap<Arm, ArmCounts>| arms[&arm()].total.requests;
        totals.values().flatten().map(|(weight, arms)| (*weight, of(arms))).collect()
    }

    #[test]
    fn runs_are_added_up_by_weight_and_what_went_stays_counted() {
        let (service, mut traffic) = (service(), WatchedTraffic::default());
        traffic.receive("a", &[watched("operation 1", 500, 9)]);
        assert_eq!(requests(&traffic), [], "nothing is on trial yet");
        traffic.expect([(&service, "operation 1".into())].into_iter());
        traffic.receive("a", &[watched("operation 1", 500, 10), watched("operation 1", 2_000, 1)]);
        traffic.receive("b", &[watched("operation 1", 500, 5)]);
        traffic.receive("a", &[watched("operation 1", 500, 12), watched("operation 0", 500, 99)]);
        assert_eq!(requests(&traffic), [(500, 17), (2_000, 1)]);
        traffic.receive("a", &[]);
        assert_eq!(requests(&traffic), [(500, 17), (2_000, 1)]);
        traffic.expect([(&service, "operation 2".into())].into_iter());
        assert_eq!(requests(&traffic), []);
    }
}
