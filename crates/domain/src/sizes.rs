//! How many instances of the old and of the new version of a service run at each moment of an operation.
//!
//! Requests are shared by weights, so all instances of both versions run. Work is shared by instances: whoever runs works.

use std::cmp::Ordering;

use crate::instance::Arm;
use crate::intent::{Step, Strategy};
use crate::job_runs;
use crate::operation::{Move, Operation, Phase};
use crate::routes::FULL_WEIGHT;
use crate::run::Takeover;

/// A move, and how many instances of its two versions should run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sized<'a> {
    /// The move.
    pub(crate) part: &'a Move,
    /// Of what it comes from.
    pub(crate) old: u32,
    /// Of what it leads to.
    pub(crate) new: u32,
}

/// How far an operation is with a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing of it has begun.
    Ahead,
    /// Its target is made ready for a step.
    Preparing(Step),
    /// It is at a step.
    At(Step),
    /// Its wave is over.
    Behind,
}

/// Goes through the moves of an operation. `replicas` says how many instances of an arm there are otherwise.
pub(crate) fn sizes<'a>(
    operation: &'a Operation,
    replicas: impl Fn(&Arm) -> u32 + 'a,
) -> impl Iterator<Item = Sized<'a>> {
    let waves = operation.plan.waves.iter().enumerate();
    let moves = waves.flat_map(|(wave, moves)| moves.iter().map(move |part| (wave, part)));
    let of = move |arm: Option<Arm>| arm.map_or(0, |arm| replicas(&arm));
    moves.map(move |(wave, part)| {
        size(part, progress(operation, wave, part), (of(part.from_arm()), of(part.to_arm())))
    })
}

fn progress(operation: &Operation, wave: usize, part: &Move) -> Progress {
    if job_runs::come_first(operation) {
        return Progress::Ahead;
    }
    let (reached, step) = match operation.phase {
        Phase::Preparing { wave, .. } => (wave, None),
        Phase::Shifted { wave, step, .. } => (wave, Some(step)),
        _ => return Progress::Ahead,
    };
    let steps = operation.plan.steps_of(wave);
    let at = |step: usize| steps.get(step).copied();
    match wave.cmp(&reached) {
        Ordering::Less => Progress::Behind,
        Ordering::Equal => match step {
            None => at(0).map_or(Progress::Behind, Progress::Preparing),
            Some(step) => at(step).map_or(Progress::Behind, Progress::At),
        },
        Ordering::Greater if prepares_upfront(operation) && !part.hands_over() => {
            at(0).map_or(Progress::Ahead, Progress::Preparing)
        }
        Ordering::Greater => Progress::Ahead,
    }
}

/// Going back prepares everything first, so that the whole chain switches at once.
fn prepares_upfront(operation: &Operation) -> bool {
    match operation.plan.strategy {
        Strategy::BlueGreen { .. } => true,
        Strategy::AllAtOnce => operation.intent.goes_back(),
        Strategy::Canary { .. } => false,
    }
}

fn size(part: &Move, progress: Progress, (of_old, of_new): (u32, u32)) -> Sized<'_> {
    let (old, new) = match progress {
        Progress::Ahead => (of_old, 0),
        _ if part.gives_way() => (0, of_new),
        _ if !part.hands_over() => (of_old, of_new),
        Progress::Preparing(step) => (of_old, share(part, step, of_new)),
        Progress::At(step) => match share(part, step, of_new) {
            new if new < of_new => (of_new - new, new),
            // One instance cannot be shared: until everything is the new version's, one of each works.
            new if is_a_part(part, step) => (1, new),
            new => (0, new),
        },
        Progress::Behind => (0, of_new),
    };
    Sized { part, old, new }
}

/// The share of a step in whole instances: at least one of them is of the new version.
fn share(part: &Move, step: Step, replicas: u32) -> u32 {
    if !is_a_part(part, step) {
        return replicas;
    }
    let exact = u64::from(replicas) * u64::from(step.weight);
    u32::try_from(exact.div_ceil(u64::from(FULL_WEIGHT))).unwrap_or(replicas).clamp(1, replicas.max(1))
}

fn is_a_part(part: &Move, step: Step) -> bool {
    part.takeover == Takeover::SideBySide && step.weight < FULL_WEIGHT
}
