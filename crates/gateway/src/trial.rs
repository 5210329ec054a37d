//! What is counted of a service while one of its arms is on trial, for the verdict on it.
//!
//! The unit is the key by which the arm was drawn: however often a client fails, it counts once in a trial for each class of
//! answers and each bound of latency, in the arm that it had then. Answers are counted each. Counters are kept apart by
//! the weight that the arm on trial had, since what they prove depends on it.

mod keys;
mod meter;
mod path;
mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lockstep_domain::routes::{ServiceRoutes, SplitRole};
use lockstep_domain::watch::{AnswerChecks, AnswerSample, SampledBody, Watch, Watched};
use lockstep_domain::{Arm, ServiceName};

use keys::Keys;
use meter::Answer;
use path::Template;
use samples::Samples;

pub(crate) use keys::Key;
pub(crate) use meter::{Meter, Seen};
pub(crate) use samples::{Sample, Tap};

/// A trial, for all workers and all weights.
#[derive(Debug)]
pub(crate) struct Trial {
    watch: Watch,
    templates: Vec<Template>,
    /// What each of the watched classes takes.
    answers: Vec<Answer>,
    keys: Keys,
    samples: Samples,
}

/// The class of a request: the index of an operation, or the number of operations for all that none takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Class(usize);

impl Trial {
    fn new(watch: Watch) -> Self {
        let templates = watch.operations.iter().map(Template::of).collect();
        let answers = watch.statuses.iter().map(Answer::of).collect();
        let (keys, samples) = (Keys::default(), Samples::default());
        Self { watch, templates, answers, keys, samples }
    }

    /// Finds the class of a request by its method and by the path as the service sees it.
    pub(crate) fn classify(&self, method: &str, path: &str) -> Class {
        let fits = |template: &Template| template.fits(method, path);
        Class(self.templates.iter().position(fits).unwrap_or(self.templates.len()))
    }

    /// Returns the index of the operation of a request of which an answer is wanted now.
    fn wants(&self, Class(class): Class) -> Option<usize> {
        let is_operation = class < self.templates.len() && self.watch.answers == AnswerChecks::Sampled;
        (is_operation && self.samples.wants(class, Instant::now())).then_some(class)
    }
}

/// What was counted of one service in its present trial.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) trial: Arc<Trial>,
    weights: BTreeMap<u32, BTreeMap<Arm, Arc<Meter>>>,
}

impl Ledger {
    /// Goes on with a trial, or begins another one; `None` where nothing is on trial.
    pub(crate) fn next(before: Option<Self>, service: &ServiceName, routes: &ServiceRoutes) -> Option<Self> {
        let watch = routes.watch.as_ref()?;
        let goes_on = before.filter(|before| before.trial.watch == *watch);
        let mut ledger = goes_on
            .unwrap_or_else(|| Self { trial: Arc::new(Trial::new(watch.clone())), weights: BTreeMap::new() });
        let (trial, weight) = (&ledger.trial, weight(routes)?);
        let meters = ledger.weights.entry(weight).or_default();
        for split in &routes.splits {
            let arm = split.arm(service);
            let meter = || Arc::new(Meter::new(Arc::clone(trial), arm.clone(), weight));
            meters.entry(arm.clone()).or_insert_with(meter);
        }
        Some(ledger)
    }

    /// Returns where an arm is counted with the weights of a table.
    pub(crate) fn meter(&self, routes: &ServiceRoutes, arm: &Arm) -> Option<Arc<Meter>> {
        self.weights.get(&weight(routes)?)?.get(arm).cloned()
    }

    /// Hands out the answers that were taken.
    pub(crate) fn fetch(&self, service: &ServiceName) -> Vec<AnswerSample> {
        let watch = &self.trial.watch;
        let sample = |sample: Sample| {
            let Sample { arm, weight, class, key, status, media_type, body } = sample;
            let class = watch.operations.get(class)?.class.clone();
            let (service, trial, body) = (service.clone(), watch.trial.clone(), SampledBody(body));
            Some(AnswerSample { service, trial, weight, arm, class, key, status, media_type, body })
        };
        self.trial.samples.fetch().into_iter().filter_map(sample).collect()
    }

    /// Returns what was counted.
    pub(crate) fn read(&self, service: &ServiceName) -> impl Iterator<Item = Watched> {
        self.weights.iter().map(|(&weight, meters)| Watched {
            service: service.clone(),
            trial: self.trial.watch.trial.clone(),
            weight,
            arms: meters.iter().map(|(arm, meter)| (arm.clone(), meter.read())).collect(),
        })
    }
}

/// The weight of the arm on trial.
fn weight(routes: &ServiceRoutes) -> Option<u32> {
    let candidate = routes.splits.iter().find(|split| split.role == SplitRole::Candidate);
    candidate.map(|split| split.weight)
}
