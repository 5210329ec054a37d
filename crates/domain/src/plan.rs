//! Planning: from an intent to the moves that carry it out, or to every reason why not.
//!
//! `plan` is a function of its arguments. It never begins anything; `--dry-run` shows what it returns.

mod along;
mod beside;
mod calls;
mod check;
mod database_back;
mod database_begin;
mod database_hints;
mod database_refusal;
mod database_revert;
mod databases;
mod decide;
mod handover;
mod hosts;
mod interrupt;
mod jobs;
mod lane_refusal;
mod lanes;
mod listening;
pub mod order;
mod protocols;
mod reach;
mod refusal;
mod remedy;
mod resolve;
mod rule_refusal;
mod rules;
mod same;
mod smallest;
mod undo;
mod walk;
mod wish;

use std::collections::BTreeMap;

use crate::baseline::{Entries, EntryChange, difference};
use crate::compat::Relation;
use crate::environment::Environment;
use crate::instance::Arm;
use crate::intent::{Intent, Leaving, Strategy};
use crate::name::{EnvironmentName, ServiceName};
use crate::operation::{Move, Plan, Readiness, Reason};
use crate::process;
use crate::takeover;
use crate::time::Timestamp;
use crate::variables::{self, KeptSecret};
use crate::world::World;

pub(crate) use database_back::is_moved_folder;
pub use database_back::{DatabaseFinding, on_databases};
pub(crate) use database_begin::in_the_way as in_the_way_at_databases;
pub use database_refusal::{Behind, DatabaseRefusal, Stays};
pub use databases::contracted;
pub use decide::decide;
pub use hosts::kept_from_hosts;
pub use lane_refusal::LaneRefusal;
pub use lanes::{LaneDecision, WantedLane, add_lane, lane_event};
pub use listening::kept_from_moving;
pub use lockstep_what_if::{Answer, Fleet as FleetFile, STEPS};
use order::{Direction, order};
pub use reach::Ground;
use reach::Reach;
pub use refusal::{Became, Conflict, MadeBy, Refusal, Remedy, Under};
use resolve::Resolved;
pub(crate) use resolve::is_forward;
pub use resolve::{no_way_back, steps_back};
pub use rule_refusal::RuleRefusal;
pub use rules::{WantedRule, add_rule};
pub use smallest::{Found, Search, ServiceWish, Wanted, Way, export, smallest};
pub use walk::fault;
pub use wish::{Decision, InTheWay, Wish};

/// Plans an intent for an environment.
///
/// `strategy` is the one that was asked for. Without one, going forward takes the environment's own, and going back is
/// all at once, because who goes back is in a hurry. Which versions work together is asked of the relation.
///
/// # Errors
/// Every refusal that can be found, not only the first.
pub fn plan(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    intent: &Intent,
    strategy: Option<&Strategy>,
    now: Timestamp,
) -> Result<Plan, Vec<Refusal>> {
    plan_alone(relation, environment, intent, strategy, now)
        .map_err(|refusals| along::with_command(relation, environment, intent, refusals, now))
        .map_err(|refusals| remedy::with_remedies(relation, environment, intent, refusals, now))
        .map_err(|refusals| database_hints::with_hints(relation, environment, refusals, now))
}

/// Plans going back all at once, without looking for what would help where it is refused: whoever asks for hundreds of ways back wants to
/// know whether, and what is in the way. The ground is that of what the environment runs, and is made once for all of them.
///
/// # Errors
/// As [`plan`].
pub fn can_plan(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    intent: &Intent,
    ground: &Ground,
    now: Timestamp,
) -> Result<Plan, Vec<Refusal>> {
    plan_within(relation, (environment, Some(ground)), intent, None, now)
}

/// Plans without looking for what would have to come along.
fn plan_alone(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    intent: &Intent,
    strategy: Option<&Strategy>,
    now: Timestamp,
) -> Result<Plan, Vec<Refusal>> {
    plan_within(relation, (environment, None), intent, strategy, now)
}

fn plan_within(
    relation: Relation<'_>,
    (environment, ground): (&EnvironmentName, Option<&Ground>),
    intent: &Intent,
    strategy: Option<&Strategy>,
    now: Timestamp,
) -> Result<Plan, Vec<Refusal>> {
    let world = relation.world;
    let Some(environment) = world.environment(environment) else {
        return Err(vec![Refusal::NoEnvironment(environment.clone())]);
    };
    let resolved = resolve::resolve(world, environment, intent)?;
    let changes = difference(environment.entries(), &resolved.target);
    let mut refusals = beside::in_the_way(relation.world, environment, intent, (&resolved, &changes));
    if let Some(there) = same::goes_there(environment, &refusals, intent, (&resolved, &changes), strategy) {
        let (environment, operation) = (environment.name.clone(), Under::of(there));
        return Err(vec![Refusal::GoesThere { environment, operation }]);
    }
    if changes.is_empty() && resolved.changes_nothing_else() {
        let nothing = || Refusal::NothingToDo { environment: environment.name.clone() };
        refusals.push(rules::elsewhere(environment, intent).unwrap_or_else(nothing));
        return Err(refusals);
    }
    let strategy = choose_strategy(environment, resolved.direction, &changes, strategy);
    refusals.extend(strategy.check().err().map(Refusal::from));
    refusals.extend(protocols::not_split(world, &strategy, &changes));
    let reach = Reach::of(ground, &changes);
    refusals.extend(check::check(relation, environment, &resolved, (&changes, &reach), now));
    refusals.extend(rules::in_the_way(relation, environment, &resolved, &changes));
    refusals.extend(databases::check(world, environment, &resolved, &changes));
    refusals.extend(database_revert::check(world, environment, &resolved, now));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let plan = assemble((relation, environment), resolved, (&changes, &reach), strategy, now);
    match walk::fault_within(relation, environment, &plan, &reach) {
        None => Ok(plan),
        Some(fault) => Err(vec![Refusal::WrongPlan { environment: environment.name.clone(), fault }]),
    }
}

/// Refuses an intent that was formed on another baseline than the current one. What is promoted is looked at in the environment
/// that it comes from.
#[must_use]
pub fn unexpected(
    world: &World,
    environment: &EnvironmentName,
    intent: &Intent,
    expected: u64,
) -> Option<Refusal> {
    let looked_at = match intent {
        Intent::Promote { from, .. } => from,
        _ => environment,
    };
    let environment = world.environment(looked_at)?;
    let current = environment.baselines.current();
    if current.number == expected {
        return None;
    }
    let operation = current.operation.and_then(|id| environment.find_operation(id));
    let made_by = operation.map(|operation| MadeBy {
        actor: operation.actor.clone(),
        intent: operation.intent.to_string(),
        at: current.at,
    });
    let (environment, current) = (environment.name.clone(), current.number);
    Some(Refusal::Unexpected { environment, expected, current, made_by: made_by.map(Box::new) })
}

fn choose_strategy(
    environment: &Environment,
    direction: Direction,
    changes: &[EntryChange],
    asked: Option<&Strategy>,
) -> Strategy {
    // Where services are only taken out, nothing takes over that a share of the clients could be given to.
    let only_removes = direction == Direction::Back && changes.iter().all(|change| change.to.is_none());
    let usual = match direction {
        Direction::Back => &Strategy::AllAtOnce,
        Direction::Forward => &environment.settings.strategy,
    };
    asked.filter(|_| !only_removes).unwrap_or(usual).clone()
}

fn assemble(
    (relation, environment): (Relation<'_>, &Environment),
    resolved: Resolved,
    (changes, reach): (&[EntryChange], &Reach<'_>),
    strategy: Strategy,
    now: Timestamp,
) -> Plan {
    let start = environment.entries();
    let ended = rules::ended(relation, environment, &resolved, changes);
    let of_rules = rules::warnings((relation, environment), &resolved, (changes, reach), &ended);
    let mut order = order(relation, start, &resolved.target, changes, resolved.direction);
    let by_service: BTreeMap<_, _> = changes.iter().map(|change| (&change.service, change)).collect();
    let waves = order.waves.iter().map(|wave| {
        wave.iter()
            .filter_map(|service| by_service.get(service).copied())
            .map(|change| {
                let why = resolved.reasons.get(&change.service).cloned().unwrap_or(Reason::Asked);
                let place = order.reasons.remove(&change.service).unwrap_or_default();
                make_move((relation.world, environment), change, why, place, now)
            })
            .collect()
    });
    let waves: Vec<Vec<Move>> = waves.collect();
    let at_databases =
        databases::of_plan(relation.world, environment, resolved.direction, (&waves, &resolved.target));
    // What a program of the version does before the switch finds the form that it was written for.
    let first = resolved.jobs.iter().cloned().chain(at_databases).collect();
    let jobs = jobs::of_plan(relation.world, resolved.direction, &waves, first);
    let (holds, leaving) = match resolved.direction {
        Direction::Back => (held_after(changes, environment), Leaving::Ends),
        Direction::Forward => (Vec::new(), Leaving::Warm),
    };
    Plan {
        parent: environment.baselines.current().number,
        variables: changes
            .iter()
            .filter(|change| change.to.is_some())
            .flat_map(|change| {
                variables::changes(environment, change, &resolved.values(environment, &change.service))
            })
            .collect(),
        warnings: check::warnings(
            relation,
            environment,
            &resolved.target,
            (changes, reach),
            (resolved.direction, now),
        )
        .into_iter()
        .chain(resolved.warnings)
        .chain(jobs::not_undone(environment, resolved.direction, changes))
        .chain(of_rules)
        .chain(databases::warnings(
            relation.world,
            environment,
            resolved.direction,
            (changes, &resolved.target),
        ))
        .collect(),
        rules_ended: ended.iter().map(|rule| rule.number).collect(),
        replaced: resolved.replaced,
        secrets_kept: secrets_kept(environment, resolved.kept, &resolved.target, now),
        target: resolved.target,
        strategy,
        waves,
        configuration: resolved.configuration,
        replicas: resolved.replicas,
        restarts: resolved.restarts,
        relocations: resolved.relocations,
        jobs,
        contraction: resolved.contraction,
        reversal: resolved.reversal,
        leaving,
        holds,
        work_before: Vec::new(),
        traffic_before: Vec::new(),
        places: Vec::new(),
        without_hosts: Vec::new(),
        entrances: Vec::new(),
    }
}

/// Says of which of them instances are warm with the value that does not come back.
fn secrets_kept(
    environment: &Environment,
    mut kept: Vec<KeptSecret>,
    target: &Entries,
    now: Timestamp,
) -> Vec<KeptSecret> {
    for one in &mut kept {
        let ran =
            target.get(&one.service).map(|entry| Arm { config: one.revision, ..entry.arm(&one.service) });
        one.is_warm = ran.is_some_and(|arm| environment.keeps_warm(&arm, now));
    }
    kept
}

fn make_move(
    (world, environment): (&World, &Environment),
    change: &EntryChange,
    why: Reason,
    place: Vec<Reason>,
    now: Timestamp,
) -> Move {
    let arm = change.to.as_ref().map(|entry| entry.arm(&change.service));
    let warm = arm.is_none_or(|arm| environment.keeps_warm(&arm, now));
    Move {
        service: change.service.clone(),
        from: change.from.clone(),
        to: change.to.clone(),
        readiness: if warm { Readiness::Warm } else { Readiness::Cold },
        takeover: takeover::of_change(world, change),
        kind: check::kind(world, change),
        processes: process::moves(world, change),
        reasons: std::iter::once(why).chain(place).collect(),
        start: None,
    }
}

/// A service that goes back from a version to one that came here before it leaves one that must not come again by itself.
/// It is the order in which they came and not that of their numbers, because a fix of an old line may be the newer one.
fn held_after(changes: &[EntryChange], environment: &Environment) -> Vec<ServiceName> {
    changes
        .iter()
        .filter(|change| match (&change.from, &change.to) {
            (Some(from), Some(to)) => {
                environment.baselines.came_before(&change.service, &to.version, &from.version)
            }
            _ => false,
        })
        .map(|change| change.service.clone())
        .collect()
}
