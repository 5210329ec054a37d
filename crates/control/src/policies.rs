//! Policies that are data: lifecycles, branch rules, and what happens to stages as time passes.

use std::sync::Arc;
use std::time::Duration;

use lockstep_api::types::{ApprovalRequest, LifecycleView, StageRequest, VersionView};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::branch::BranchPolicy;
use lockstep_domain::lifecycle::{Gate, Lifecycle, Stage};
use lockstep_domain::service::Approval;
use lockstep_domain::world::{DEFAULT_LIFECYCLE, stage_events};
use lockstep_domain::{Actor, Event, StageName, Timestamp, VersionRef, World};

use crate::{Control, not_found, ourselves};

/// How often it is looked whether a gate was opened by time.
const TIME_GATES_EVERY: Duration = Duration::from_secs(10);

impl Control {
    /// Lists lifecycles.
    #[must_use]
    pub fn lifecycles(&self) -> Vec<LifecycleView> {
        let world = self.ledger.world();
        let view = |(name, lifecycle): (&StageName, &Arc<Lifecycle>)| LifecycleView {
            name: name.clone(),
            lifecycle: Lifecycle::clone(lifecycle),
        };
        world.lifecycles.iter().map(view).collect()
    }

    /// Defines a lifecycle, or defines it anew.
    ///
    /// # Errors
    /// When it is not usable, or versions are in a stage that it no longer has.
    pub fn define_lifecycle(&self, actor: &Actor, view: LifecycleView) -> Result<LifecycleView, Problem> {
        let shape: Vec<String> = match view.lifecycle.check() {
            Ok(()) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let parts: Vec<String> = shape.iter().cloned().chain(stranded(world, &view)).collect();
                if !parts.is_empty() {
                    return Err(not_usable(&view.name, parts));
                }
                let (name, lifecycle) = (view.name.clone(), view.lifecycle.clone());
                Ok((vec![Event::LifecycleDefined { name, lifecycle }], ()))
            })
        })?;
        Ok(view)
    }

    /// Returns which branches may cut which versions.
    #[must_use]
    pub fn branch_policy(&self) -> BranchPolicy {
        BranchPolicy::clone(&self.ledger.world().branches)
    }

    /// Defines which branches may cut which versions.
    ///
    /// # Errors
    /// When it has too many rules.
    pub fn define_branch_policy(&self, actor: &Actor, policy: BranchPolicy) -> Result<BranchPolicy, Problem> {
        if policy.rules.len() > lockstep_domain::branch::MAX_BRANCH_RULES {
            let detail = format!("more than {} branch rules", lockstep_domain::branch::MAX_BRANCH_RULES);
            return Err(Problem::new(ErrorCode::Refused, detail));
        }
        let defined = Event::BranchPolicyDefined { policy: policy.clone() };
        tokio::task::block_in_place(|| self.ledger.commit(actor, |_, _| Ok((vec![defined.clone()], ()))))?;
        Ok(policy)
    }

    /// Moves a version to a stage by hand: forward through all gates on the way, or back.
    ///
    /// # Errors
    /// When the stage does not exist or a gate on the way is closed.
    pub fn move_to_stage(
        &self,
        actor: &Actor,
        version: &VersionRef,
        request: &StageRequest,
    ) -> Result<VersionView, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, now| Ok((stage_moves(world, version, request, now)?, ())))
        })?;
        self.version(version)
    }

    /// Records that somebody approves a version for a stage.
    ///
    /// # Errors
    /// When the version or the stage does not exist, the stage wants no approval, or the same person gave it already.
    pub fn approve(
        &self,
        actor: &Actor,
        version: &VersionRef,
        request: &ApprovalRequest,
    ) -> Result<VersionView, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, now| {
                may_approve(world, version, &request.stage, actor)?;
                let approval = Approval {
                    by: actor.clone(),
                    stage: request.stage.clone(),
                    at: now,
                    note: request.note.clone(),
                };
                Ok((vec![Event::Approved { version: version.clone(), approval }], ()))
            })
        })?;
        self.version(version)
    }

    /// Looks from time to time whether a gate was opened by time alone.
    pub(crate) async fn advance_by_time(&self) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(TIME_GATES_EVERY) => {}
            }
            let due = |world: &World, now| {
                waiting_for_time(world)
                    .into_iter()
                    .flat_map(|version| stage_events(world, &version, None, now))
                    .collect()
            };
            self.follow_wall_clock();
            let (now, world) = self.ledger.look();
            let events: Vec<_> = due(&world, now);
            if events.is_empty() {
                continue;
            }
            let recorded = tokio::task::block_in_place(|| {
                self.ledger.commit(&ourselves(), |world, now| Ok((due(world, now), ())))
            });
            if let Err(problem) = recorded {
                tracing::error!(%problem, "stages could not be advanced");
            }
        }
    }

    /// Records what every installation begins with.
    pub(crate) fn first_run_events() -> Vec<Event> {
        let default = DEFAULT_LIFECYCLE.parse().expect("the name of the default lifecycle is valid");
        vec![
            Event::LifecycleDefined { name: default, lifecycle: Lifecycle::standard() },
            Event::BranchPolicyDefined { policy: BranchPolicy::default() },
        ]
    }
}

fn waiting_for_time(world: &World) -> Vec<VersionRef> {
    let mut waiting = Vec::new();
    for service in world.services.values() {
        let lifecycle = world.lifecycle_of(&service.name);
        let timed = |stage: &StageName| {
            let gates = lifecycle.after(stage).map(|next| next.gates.as_slice()).unwrap_or_default();
            gates.iter().any(|gate| matches!(gate, Gate::TimeInStage { .. }))
        };
        let versions = service.versions.values().filter(|version| timed(&version.stage));
        waiting.extend(
            versions
                .map(|version| VersionRef { service: service.name.clone(), version: version.number.clone() }),
        );
    }
    waiting
}

/// Refuses a lifecycle, with everything that is wrong with it.
fn not_usable(name: &StageName, parts: Vec<String>) -> Problem {
    let parts = parts.into_iter().map(|detail| ProblemPart { detail, ..ProblemPart::default() }).collect();
    Problem::new(ErrorCode::Refused, format!("lifecycle `{name}` is not usable")).with_problems(parts)
}

/// Versions that a new definition of their lifecycle would leave in no stage at all.
fn stranded(world: &World, view: &LifecycleView) -> Vec<String> {
    world
        .services
        .values()
        .filter(|service| service.lifecycle == view.name)
        .flat_map(|service| service.versions.values().map(move |version| (service, version)))
        .filter(|(_, version)| view.lifecycle.position(&version.stage).is_none())
        .map(|(service, version)| {
            format!(
                "`{}@{}` is in stage {}, which it does not have",
                service.name, version.number, version.stage
            )
        })
        .collect()
}

fn find_stage(world: &World, version: &VersionRef, stage: &StageName) -> Result<usize, Problem> {
    if world.version(version).is_none() {
        let hint = format!("lockstep show {}", version.service);
        return Err(not_found(format!("there is no version `{version}`"), &hint));
    }
    let lifecycle = world.lifecycle_of(&version.service);
    lifecycle.position(stage).ok_or_else(|| {
        let names: Vec<_> = lifecycle.stages.iter().map(|stage| stage.name.to_string()).collect();
        let detail = format!("there is no stage `{stage}`; the stages are {}", names.join(", "));
        not_found(detail, "lockstep lifecycle list")
    })
}

fn may_approve(
    world: &World,
    reference: &VersionRef,
    name: &StageName,
    actor: &Actor,
) -> Result<(), Problem> {
    let position = find_stage(world, reference, name)?;
    let lifecycle = world.lifecycle_of(&reference.service);
    let wants = |stage: &Stage| stage.gates.iter().any(|gate| matches!(gate, Gate::Approvals { .. }));
    if !wants(&lifecycle.stages[position]) {
        let wanting: Vec<_> =
            lifecycle.stages.iter().filter(|stage| wants(stage)).map(|s| s.name.to_string()).collect();
        let of = if wanting.is_empty() {
            "none does".to_owned()
        } else {
            format!("wanted for {}", wanting.join(", "))
        };
        let detail = format!("stage {name} of `{reference}` wants no approval; {of}");
        return Err(Problem::new(ErrorCode::Refused, detail).with_hint("lockstep lifecycle list"));
    }
    let given = world.version(reference).and_then(|version| version.approval_by(actor, name));
    given.map_or(Ok(()), |approval| {
        let detail =
            format!("`{}` has approved `{reference}` for {name} already, and counts once", approval.by);
        let hint = "LOCKSTEP_ACTOR says who approves; another spelling is the same person";
        Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
    })
}

fn stage_moves(
    world: &World,
    reference: &VersionRef,
    request: &StageRequest,
    now: Timestamp,
) -> Result<Vec<Event>, Problem> {
    let wanted = find_stage(world, reference, &request.stage)?;
    let lifecycle = world.lifecycle_of(&reference.service);
    let Some(version) = world.version(reference) else { return Ok(Vec::new()) };
    let present = lifecycle.position(&version.stage).unwrap_or(0);
    if wanted == present {
        let detail = format!("`{reference}` is in stage {} already", request.stage);
        return Err(Problem::new(ErrorCode::Refused, detail));
    }
    let closed: Vec<_> = lifecycle.stages[present.min(wanted) + 1..=wanted.max(present)]
        .iter()
        .filter(|_| wanted > present)
        .flat_map(|stage| {
            lifecycle.closed_gates(version, stage, now).into_iter().map(move |gate| (stage, gate))
        })
        .map(|(stage, gate)| ProblemPart {
            detail: format!("{}: {gate}", stage.name),
            ..ProblemPart::default()
        })
        .collect();
    if !closed.is_empty() {
        let detail = format!("`{reference}` may not enter stage {}", request.stage);
        return Err(Problem::new(ErrorCode::Refused, detail)
            .with_problems(closed)
            .with_hint(format!("lockstep show {reference}")));
    }
    Ok(vec![Event::StageChanged {
        version: reference.clone(),
        from: version.stage.clone(),
        to: request.stage.clone(),
        reason: request.reason.clone(),
    }])
}
