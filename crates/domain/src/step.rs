//! The step that an operation is at: what is said of its versions, what keeps it, and who may let it go on all the same.
//!
//! Invariant: nobody lets a step go on that fails, or another step than the one that was looked at, or despite of anything
//! that was not named.

use std::collections::BTreeSet;

pub use lockstep_judge::Obstacle;
use lockstep_judge::duration;
use thiserror::Error;

use crate::baseline::OperationId;
use crate::event::Event;
use crate::instance::{Arm, InstanceState};
use crate::intent::WithoutEvidence;
use crate::observed::Observed;
use crate::operation::{Move, Operation, Phase};
use crate::step_place::StepPlace;
use crate::time::Timestamp;
use crate::verdict::{Unproven, Verdict, judge};

/// How the step stands that an operation is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which it is.
    pub place: StepPlace,
    /// How much of its bake is left.
    pub left_ms: u64,
    /// For how long its bake has been over.
    pub over_ms: u64,
    /// Versions that fail, and why.
    pub failed: Vec<(Arm, String)>,
    /// Versions of which nothing can be said yet.
    pub unproven: Vec<Unproven>,
    /// What the others pass by.
    pub passed: Vec<String>,
}

/// Returns how the step stands that an operation is at; `None` where none is watched.
#[must_use]
pub fn standing(operation: &Operation, observed: &Observed, now: Timestamp) -> Option<Standing> {
    let Phase::Shifted { wave, step, since } = operation.phase else { return None };
    let bake_ms = operation.plan.steps_of(wave).get(step)?.bake_ms;
    let lasted_ms = now.since_ms(baking_since(observed, operation, wave, since));
    let left_ms = bake_ms.saturating_sub(lasted_ms);
    let (place, over_ms) = (StepPlace { wave, step }, lasted_ms.saturating_sub(bake_ms));
    let (failed, unproven, passed) = (Vec::new(), Vec::new(), Vec::new());
    let mut standing = Standing { place, left_ms, over_ms, failed, unproven, passed };
    for part in operation.plan.moves_of(wave) {
        if part.kind.has_instances() || !part.has_instances() {
            standing.add(part.to_arm(), verdict_on(operation, part, observed, left_ms));
        }
        for process in &part.processes {
            let (old, new) = (process.from_arm(part), process.to_arm(part));
            let verdict =
                new.as_ref().map(|new| verdict_on_process(operation, (old.as_ref(), new), observed, left_ms));
            let verdict = verdict.flatten();
            verdict.into_iter().for_each(|verdict| standing.add(new.clone(), verdict));
        }
    }
    Some(standing)
}

/// A process beside the main one follows in the last step. Until then there is nothing of it that could fail.
fn verdict_on_process(
    operation: &Operation,
    (old, new): (Option<&Arm>, &Arm),
    observed: &Observed,
    left_ms: u64,
) -> Option<Verdict> {
    let on_trial = || observed.of(new).filter(|instance| instance.since >= operation.begun);
    on_trial().next()?;
    let failed = on_trial().any(|instance| matches!(instance.state, InstanceState::Failed { .. }));
    let watched = old.filter(|_| operation.plan.strategy.bound().is_some());
    let against = watched.or(failed.then_some(new));
    let healthy = || Verdict::Pass { why: format!("{new} healthy") };
    Some(against.map_or_else(healthy, |old| verdict_on_work(operation, (old, new), observed, left_ms)))
}

fn verdict_on(operation: &Operation, part: &Move, observed: &Observed, left_ms: u64) -> Verdict {
    let Some(new) = part.to_arm() else {
        return Verdict::Pass { why: format!("{} taken out", part.service) };
    };
    if operation.plan.strategy.bound().is_none() {
        return Verdict::Pass { why: format!("{new} healthy") };
    }
    if !part.kind.has_instances() {
        return Verdict::Pass { why: format!("{new} has jobs, and nothing that runs all the time") };
    }
    // A worker that ends by itself is not healthy between two starts.
    let counted = if part.kind.is_web() { observed.healthy(&new) } else { observed.alive(&new) };
    if counted == 0 {
        return Verdict::Fail { why: format!("{new} has no healthy instance any more") };
    }
    let Some(old) = part.from_arm() else {
        return Verdict::Pass { why: format!("{new} healthy, with nothing to compare it with") };
    };
    if !part.kind.is_web() {
        return verdict_on_work(operation, (&old, &new), observed, left_ms);
    }
    if part.gives_way() {
        return Verdict::Pass { why: format!("{new} healthy, and its old version ended before") };
    }
    match observed.trials.get(&part.service) {
        Some(trial) => judge(trial, &new, &old, left_ms),
        None => Verdict::None(Unproven::uncounted(&new)),
    }
}

/// A worker has no requests. It is judged by whether its instances end by themselves, compared with the old version, and by what it
/// says of its work where it says anything.
fn verdict_on_work(
    operation: &Operation,
    (old, new): (&Arm, &Arm),
    observed: &Observed,
    left_ms: u64,
) -> Verdict {
    match (verdict_on_ends(operation, (old, new), observed), observed.work.get(new)) {
        (Verdict::Pass { why }, Some(trial)) => trial.judge(left_ms).with_why(&why),
        (verdict, _) => verdict,
    }
}

fn verdict_on_ends(operation: &Operation, (old, new): (&Arm, &Arm), observed: &Observed) -> Verdict {
    let on_trial = || observed.of(new).filter(|instance| instance.since >= operation.begun);
    let mut failed = on_trial().filter(|it| matches!(it.state, InstanceState::Failed { .. }));
    if let Some(what) = failed.find_map(|instance| instance.state.what_happened()) {
        return Verdict::Fail { why: format!("{new} failed: {what}") };
    }
    let restarts: u32 = on_trial().map(|instance| instance.restarts).sum();
    if restarts == 0 {
        return Verdict::Pass { why: format!("{new} works, and none of its instances ended") };
    }
    if observed.of(old).any(|instance| instance.restarts > 0) {
        return Verdict::Pass {
            why: format!(
                "{new} works; its instances ended by themselves (restarts: {restarts}), as those of {old} did"
            ),
        };
    }
    Verdict::Fail {
        why: format!("instances of {new} ended by themselves (restarts: {restarts}), those of {old} did not"),
    }
}

impl Standing {
    fn add(&mut self, arm: Option<Arm>, verdict: Verdict) {
        match verdict {
            Verdict::Fail { why } => self.failed.extend(arm.map(|arm| (arm, why))),
            Verdict::None(unproven) => self.unproven.push(unproven),
            Verdict::Pass { why } => self.passed.push(why),
        }
    }

    /// Returns what keeps it.
    #[must_use]
    pub fn obstacles(&self) -> BTreeSet<Obstacle> {
        self.unproven.iter().flat_map(|one| one.obstacles.iter().copied()).collect()
    }

    /// Says what keeps it once its bake is over, and what helps.
    #[must_use]
    pub fn waits(&self, operation: &Operation) -> String {
        let missing: Vec<_> = self.unproven.iter().map(|one| one.missing.as_str()).collect();
        let way = match without_evidence(operation) {
            WithoutEvidence::Ask => {
                format!(
                    "may it go on? {}, or lockstep undo {}",
                    self.command(operation),
                    operation.environment
                )
            }
            WithoutEvidence::GoOnAfter(ms) if self.lacks_only_requests() => {
                let left = duration(ms.saturating_sub(self.over_ms));
                format!("goes on without them in {left}; at once: {}", self.command(operation))
            }
            _ => format!("to go on all the same: {}", self.command(operation)),
        };
        format!("{}; {way}", missing.join("; "))
    }

    /// The command that lets it go on.
    fn command(&self, operation: &Operation) -> String {
        let obstacles: Vec<_> = self.obstacles().iter().map(|obstacle| obstacle.word()).collect();
        format!("lockstep accept {} --step {} --despite {}", operation.id, self.place, obstacles.join(","))
    }

    fn lacks_only_requests(&self) -> bool {
        self.obstacles().iter().all(|obstacle| *obstacle == Obstacle::FewRequests)
    }

    /// Returns what lets it go on without evidence, by the word of a person or by time that was granted.
    #[must_use]
    pub fn let_through(&self, operation: &Operation) -> Option<Vec<String>> {
        let accepted = operation.acceptance(self.place, &self.obstacles())?;
        let reason = if accepted.reason.is_empty() { "" } else { ": " };
        let by = format!("accepted by {}{reason}{}", accepted.by, accepted.reason);
        Some(self.unproven.iter().map(|one| format!("{}, {by}", one.known)).collect())
    }

    /// Returns the event that lets it go on because the time is over that it may wait for requests.
    pub(crate) fn waited_enough(&self, operation: &Operation) -> Option<Event> {
        let WithoutEvidence::GoOnAfter(ms) = without_evidence(operation) else { return None };
        let reason =
            format!("it goes on after {} without enough requests, as was decided before", duration(ms));
        let enough = self.over_ms >= ms && self.lacks_only_requests();
        enough.then(|| self.accepted(operation, self.obstacles(), reason))
    }

    fn accepted(&self, operation: &Operation, despite: BTreeSet<Obstacle>, reason: String) -> Event {
        let known: Vec<_> = self.unproven.iter().map(|one| one.known.as_str()).collect();
        Event::StepAccepted {
            operation: operation.id,
            environment: operation.environment.clone(),
            step: self.place,
            despite,
            known: known.join("; "),
            reason,
        }
    }
}

fn without_evidence(operation: &Operation) -> WithoutEvidence {
    operation.plan.strategy.bound().unwrap_or_default().without_evidence
}

/// Returns when a step goes on without evidence, where that was decided before.
pub(crate) fn goes_on_at(operation: &Operation, observed: &Observed) -> Option<Timestamp> {
    let Phase::Shifted { wave, step, since } = operation.phase else { return None };
    let bake_ms = operation.plan.steps_of(wave).get(step)?.bake_ms;
    let WithoutEvidence::GoOnAfter(ms) = without_evidence(operation) else { return None };
    let baking = baking_since(observed, operation, wave, since);
    Some(baking.plus_ms(bake_ms.saturating_add(ms)))
}

/// A step bakes from when all services of its wave are counted, and not before it began.
pub(crate) fn baking_since(
    observed: &Observed,
    operation: &Operation,
    wave: usize,
    since: Timestamp,
) -> Timestamp {
    let moved = operation.plan.moves_of(wave).iter();
    let counted = moved.filter_map(|part| observed.counting_since.get(&part.service).copied());
    counted.fold(since, Timestamp::max)
}

/// What somebody lets go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The step that was looked at.
    pub place: StepPlace,
    /// What was missing then.
    pub despite: BTreeSet<Obstacle>,
    /// Why.
    pub reason: String,
}

/// Why a step is not let go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// The operation is over, or its instances are being made healthy.
    #[error("operation {id} watches no step now")]
    NotWatched {
        /// The operation.
        id: OperationId,
    },
    /// It is at another step.
    #[error("operation {id} is at step {at} now, and not at {meant}")]
    MovedOn {
        /// The operation.
        id: OperationId,
        /// Where it is.
        at: StepPlace,
        /// What was meant.
        meant: StepPlace,
    },
    /// It fails.
    #[error("it fails, and nobody lets that go on: {why}")]
    Fails {
        /// Why.
        why: String,
    },
    /// Time is waited for.
    #[error("step {at} is watched for another {} before it can lack anything", duration(*.left_ms))]
    Bakes {
        /// The step.
        at: StepPlace,
        /// How long.
        left_ms: u64,
    },
    /// Nothing keeps it.
    #[error("step {at} lacks nothing, and goes on by itself")]
    LacksNothing {
        /// The step.
        at: StepPlace,
    },
    /// Something else keeps it than was named.
    #[error("something keeps it that was not named: {waits}")]
    MoreKeepsIt {
        /// What, for people.
        waits: String,
    },
}

/// Decides whether a step may go on without evidence; `None` where that was said before.
///
/// # Errors
/// Why it may not.
pub fn accept(
    operation: &Operation,
    observed: &Observed,
    now: Timestamp,
    wanted: Wanted,
) -> Result<Option<Event>, NotAccepted> {
    let id = operation.id;
    let standing = standing(operation, observed, now).ok_or(NotAccepted::NotWatched { id })?;
    let at = standing.place;
    if at != wanted.place {
        return Err(NotAccepted::MovedOn { id, at, meant: wanted.place });
    }
    if let Some((_, why)) = standing.failed.first() {
        return Err(NotAccepted::Fails { why: why.clone() });
    }
    if operation.acceptance(at, &wanted.despite).is_some() {
        return Ok(None);
    }
    if standing.left_ms > 0 {
        return Err(NotAccepted::Bakes { at, left_ms: standing.left_ms });
    }
    match standing.obstacles() {
        none if none.is_empty() => Err(NotAccepted::LacksNothing { at }),
        all if !wanted.despite.is_superset(&all) => {
            Err(NotAccepted::MoreKeepsIt { waits: standing.waits(operation) })
        }
        _ => Ok(Some(standing.accepted(operation, wanted.despite, wanted.reason))),
    }
}
