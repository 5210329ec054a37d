//! How many instances of the old and of the new version of a service run at each moment of an operation.
//!
//! Requests are shared by weights, so all instances of both versions run. Work is shared by instances: whoever runs works.

use std::cmp::Ordering;

use crate::instance::Arm;
use crate::intent::{Step, Strategy};
use crate::job_runs;
use crate::operation::{Move, Operation, Phase};
use crate::process::ProcessMove;
use crate::routes::FULL_WEIGHT;
use crate::run::Takeover;

/// A process of a service that moves, and how many instances of its two versions should run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sized {
    /// What it comes from.
    pub(crate) from: Option<Arm>,
    /// What it leads to.
    pub(crate) to: Option<Arm>,
    /// How many instances of what it comes from.
    pub(crate) old: u32,
    /// How many instances of what it leads to.
    pub(crate) new: u32,
    /// Whether more of them start while requests or work are shared already.
    pub(crate) comes_step_by_step: bool,
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

/// Goes through the processes that an operation moves. `replicas` says how many instances of an arm there are otherwise; one that is kept back
/// has not begun.
pub(crate) fn sizes<'a>(
    operation: &'a Operation,
    is_kept_back: bool,
    replicas: impl Fn(&Arm) -> u32 + 'a,
) -> impl Iterator<Item = Sized> + 'a {
    let waves = operation.plan.waves.iter().enumerate();
    let moves = waves.flat_map(|(wave, moves)| moves.iter().map(move |part| (wave, part)));
    moves.flat_map(move |(wave, part)| {
        let of = |arm: Option<&Arm>| arm.map_or(0, &replicas);
        let reached = if is_kept_back { Progress::Ahead } else { progress(operation, wave, part) };
        let (from, to) = (part.from_arm(), part.to_arm());
        let (old, new) = size(part, reached, (of(from.as_ref()), of(to.as_ref())));
        let comes_step_by_step = part.takeover == Takeover::SideBySide;
        let main = Sized { from, to, old, new, comes_step_by_step };
        let left = left_steps(operation, wave, reached);
        let others = part.processes.iter().map(|process| {
            let (from, to) = (process.from_arm(part), process.to_arm(part));
            let counts = (of(from.as_ref()), of(to.as_ref()));
            let (old, new) = process_size(process, left, reached, counts);
            Sized { from, to, old, new, comes_step_by_step: true }
        });
        std::iter::once(main).chain(others).collect::<Vec<_>>()
    })
}

/// How many steps of its wave a move has not reached yet; `None` where nothing of it has begun.
fn left_steps(operation: &Operation, wave: usize, progress: Progress) -> Option<usize> {
    let steps = operation.plan.steps_of(wave).len();
    match (progress, &operation.phase) {
        (Progress::Preparing(_), Phase::Preparing { wave: reached, .. }) if wave == *reached => Some(steps),
        (Progress::At(_), Phase::Shifted { step, .. }) => Some(steps.saturating_sub(step + 1)),
        (Progress::Behind, _) => Some(0),
        _ => None,
    }
}

/// The other processes follow in the last step. One that starts beside its old version is made ready before it.
fn process_size(
    part: &ProcessMove,
    left: Option<usize>,
    progress: Progress,
    (of_old, of_new): (u32, u32),
) -> (u32, u32) {
    match (left, progress) {
        (None, _) => (of_old, 0),
        (_, Progress::Preparing(step)) if part.is_shared() => (of_old, share(part.takeover, step, of_new)),
        (_, Progress::At(step)) if part.is_shared() => shared(part.takeover, step, of_new),
        (Some(0), _) => (0, of_new),
        (Some(1), _) if part.takeover.is_beside() => (of_old, of_new),
        _ => (of_old, 0),
    }
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

fn size(part: &Move, progress: Progress, (of_old, of_new): (u32, u32)) -> (u32, u32) {
    match progress {
        Progress::Ahead => (of_old, 0),
        _ if part.gives_way() => (0, of_new),
        _ if !part.hands_over() => (of_old, of_new),
        Progress::Preparing(step) => (of_old, share(part.takeover, step, of_new)),
        Progress::At(step) => shared(part.takeover, step, of_new),
        Progress::Behind => (0, of_new),
    }
}

/// What runs of two versions that share their work.
fn shared(takeover: Takeover, step: Step, of_new: u32) -> (u32, u32) {
    match share(takeover, step, of_new) {
        new if new < of_new => (of_new - new, new),
        // One instance cannot be shared: until everything is the new version's, one of each works.
        new if is_a_part(takeover, step) => (1, new),
        new => (0, new),
    }
}

/// The share of a step in whole instances: at least one of them is of the new version.
fn share(takeover: Takeover, step: Step, replicas: u32) -> u32 {
    if !is_a_part(takeover, step) {
        return replicas;
    }
    let exact = u64::from(replicas) * u64::from(step.weight);
    u32::try_from(exact.div_ceil(u64::from(FULL_WEIGHT))).unwrap_or(replicas).clamp(1, replicas.max(1))
}

fn is_a_part(takeover: Takeover, step: Step) -> bool {
    takeover == Takeover::SideBySide && step.weight < FULL_WEIGHT
}
