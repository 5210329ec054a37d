//! Trials of workers that say how their work goes: who is on trial, and what its instances say.
//!
//! In memory only. What each instance has said so far is kept by its supervisor, and what the old version did before is in the plan
//! of the operation; so a server that was started anew begins a trial anew, with evidence that counts for less.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lockstep_api::types::InstanceWork;
use lockstep_domain::observed::{Observed, is_alive};
use lockstep_domain::operation::{Move, Phase};
use lockstep_domain::run::{Kind, RunSpec, Takeover};
use lockstep_domain::verdict::rules;
use lockstep_domain::work::trial::Beginning;
use lockstep_domain::work::{Told, WorkBase, WorkTrial};
use lockstep_domain::{
    Arm, Environment, EnvironmentName, Instance, InstanceId, Operation, OperationId, Plan, ServiceName,
    Timestamp, World,
};

use crate::{Control, lock};

/// The trials of workers of all environments.
#[derive(Debug)]
pub(crate) struct Working {
    /// When this server began: what began before it was judged by another one too.
    started: Mutex<Timestamp>,
    trials: Mutex<BTreeMap<EnvironmentName, BTreeMap<Arm, Kept>>>,
}

/// A trial of one arm, and the step that it is at.
#[derive(Debug)]
struct Kept {
    operation: OperationId,
    step: (usize, usize),
    /// Shared with whoever looks at it.
    trial: Arc<WorkTrial>,
}

/// A worker that is on trial now.
struct OnTrial<'a> {
    operation: &'a Operation,
    step: (usize, usize),
    new: Arm,
    old: Option<Arm>,
    is_shared: bool,
}

impl Working {
    /// Begins with a server that was started now.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { started: Mutex::new(started), trials: Mutex::default() }
    }

    /// Moves every time by time that was added to the clock and did not pass.
    pub(crate) fn skip(&self, ms: u64) {
        let mut started = lock(&self.started);
        *started = started.plus_ms(ms);
        for kept in lock(&self.trials).values_mut().flat_map(BTreeMap::values_mut) {
            Arc::make_mut(&mut kept.trial).skip(ms);
        }
    }

    /// Begins the trials of the workers that an environment watches now, and ends all others.
    pub(crate) fn follow(&self, environment: &Environment, world: &World, now: Timestamp) {
        let started = *lock(&self.started);
        let mut trials = lock(&self.trials);
        let kept = trials.entry(environment.name.clone()).or_default();
        let mut former = std::mem::take(kept);
        for watched in environment.under_way().flat_map(|operation| on_trial(operation)) {
            let former = former.remove(&watched.new).filter(|it| it.operation == watched.operation.id);
            let trial = former.or_else(|| begin(world, &watched, started, now));
            kept.extend(trial.map(|trial| (watched.new.clone(), trial.at(watched.step))));
        }
    }

    /// Takes in what instances say.
    pub(crate) fn look(
        &self,
        environment: &EnvironmentName,
        instances: &[Instance],
        told: impl Fn(&InstanceId) -> Option<Told>,
        now: Timestamp,
    ) {
        let mut trials = lock(&self.trials);
        let trials = trials.get_mut(environment).filter(|trials| !trials.is_empty());
        let Some(trials) = trials else { return };
        let alive = instances.iter().filter(|instance| !instance.state.is_over());
        // One that was told to end finishes what it has begun.
        let told: Vec<_> = alive.map(|it| (it, told(&it.id).unwrap_or_default())).collect();
        for kept in trials.values_mut() {
            let said = told.iter().map(|(instance, told)| (&instance.id, &instance.arm, told));
            Arc::make_mut(&mut kept.trial).look(said, now);
        }
    }

    /// Adds to what is observed what was judged of it at the last look.
    pub(crate) fn show(&self, environment: &EnvironmentName, observed: &mut Observed) {
        let trials = lock(&self.trials);
        let shown = trials.get(environment).into_iter().flatten();
        observed.work = shown.map(|(arm, kept)| (arm.clone(), Arc::clone(&kept.trial))).collect();
    }
}

impl Kept {
    /// Tells the evidence when another step begins.
    fn at(mut self, step: (usize, usize)) -> Self {
        if self.step != step {
            self.step = step;
            Arc::make_mut(&mut self.trial).begin_step();
        }
        self
    }
}

fn run_of<'a>(world: &'a World, arm: &Arm) -> Option<&'a RunSpec> {
    world.version(&arm.version_ref())?.run_of(arm.process.as_ref())
}

/// The workers that an operation watches now.
fn on_trial(operation: &Operation) -> Vec<OnTrial<'_>> {
    let (Some(_), Phase::Shifted { wave, step, .. }) = (operation.plan.strategy.bound(), &operation.phase)
    else {
        return Vec::new();
    };
    let step = (*wave, *step);
    let parts = operation.plan.moves_of(*wave).iter().flat_map(workers);
    parts.map(|Part { old, new, is_shared }| OnTrial { operation, step, new, old, is_shared }).collect()
}

/// The workers of a service that moves: what each comes from, and what it leads to.
fn workers(part: &Move) -> impl Iterator<Item = Part> + '_ {
    let main = (part.kind == Kind::Worker).then(|| (part.from_arm(), part.to_arm(), part.takeover));
    let others = part.processes.iter().map(|it| (it.from_arm(part), it.to_arm(part), it.takeover));
    let all = main.into_iter().chain(others);
    all.filter_map(|(old, new, how)| Some(Part { old, new: new?, is_shared: how == Takeover::SideBySide }))
}

/// A worker of a service that moves.
struct Part {
    old: Option<Arm>,
    new: Arm,
    is_shared: bool,
}

fn begin(world: &World, watched: &OnTrial<'_>, started: Timestamp, now: Timestamp) -> Option<Kept> {
    let OnTrial { operation, step, new, old, is_shared } = watched;
    let signs = run_of(world, new).map(|run| run.work.clone()).filter(|signs| !signs.is_none())?;
    let bound = operation.plan.strategy.bound().unwrap_or_default();
    let base = operation.plan.work_before.iter().find(|base| Some(&base.arm) == old.as_ref());
    let beginning = Beginning {
        new: new.clone(),
        old: old.clone(),
        signs,
        base: base.cloned(),
        is_shared: *is_shared,
        rules: rules(bound),
        lost: u32::from(operation.begun < started),
    };
    let trial = Arc::new(WorkTrial::begin(beginning, now));
    Some(Kept { operation: operation.id, step: *step, trial })
}

impl Control {
    /// Notes in a plan what the workers did in their last minutes that something takes over from: when their instances have ended,
    /// nobody can be asked any more.
    pub(crate) fn note_work(&self, world: &World, plan: &mut Plan, instances: &[Instance]) {
        if plan.strategy.bound().is_none() {
            return;
        }
        let says = |arm: &Arm| run_of(world, arm).is_some_and(|run| !run.work.is_none());
        let pairs = plan.moves().flat_map(workers).filter(|part| says(&part.new));
        let bases = pairs.filter_map(|part| self.work_of(&part.old?, instances));
        plan.work_before = bases.collect();
    }

    /// Returns what the instances of a service that have not ended have said of their work.
    pub(crate) fn work_told(&self, instances: &[Instance], service: &ServiceName) -> Vec<InstanceWork> {
        let of_service = instances.iter().filter(|it| it.arm.service == *service && !it.state.is_over());
        let told = of_service.filter_map(|instance| {
            Some(InstanceWork { instance: instance.id.clone(), told: self.told(&instance.id)? })
        });
        told.collect()
    }

    fn work_of(&self, arm: &Arm, instances: &[Instance]) -> Option<WorkBase> {
        let of_arm = instances.iter().filter(|instance| instance.arm == *arm && is_alive(instance));
        let told: Vec<_> = of_arm.filter_map(|instance| self.told(&instance.id)).collect();
        WorkBase::of(arm, &told)
    }
}
