//! What must hold after every single step, and when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::baseline::difference;
use lockstep_domain::drain::USUAL_DRAIN_MS;
use lockstep_domain::operation::{Move, Phase};
use lockstep_domain::run::Replace;
use lockstep_domain::{Arm, Environment, Event, InstanceId, InstanceState, Operation, OperationId};

use crate::host::Body;
use crate::journal::Work;
use crate::model::{Gateway, Model, first};

/// Checks what must hold after a step.
///
/// # Errors
/// The promise that is broken, in words.
pub(crate) fn after_step(model: &Model) -> Result<(), String> {
    // What was cut off serves its last table. Lockstep does not wait for it, and says so.
    for gateway in [&model.inner, &model.outer].into_iter().filter(|gateway| !gateway.behind) {
        nothing_ending_is_routed(model, gateway)?;
        what_is_routed_can_answer(model, gateway)?;
    }
    at_work_as_asked(model)?;
    model.fresh_ends.iter().try_for_each(|id| drained_before(model, id).and(nobody_wants(model, id)))?;
    model.fresh_records.iter().try_for_each(|event| true_when_recorded(model, event))
}

/// Of a worker two versions are at work only where it asks for that, and never more instances of one than were wanted.
fn at_work_as_asked(model: &Model) -> Result<(), String> {
    let Work::Worker(replace) = model.work else { return Ok(()) };
    let works = |body: &&Body| body.arm.service == first() && body.started && !body.truth.is_over();
    let mut arms = BTreeMap::<&Arm, u32>::new();
    model.host.bodies.values().filter(works).for_each(|body| *arms.entry(&body.arm).or_default() += 1);
    let versions: BTreeSet<_> = arms.keys().map(|arm| &arm.version).collect();
    let too_much = match replace {
        Replace::OldFirst => arms.len() > 1 || arms.values().any(|count| *count > model.most_wanted),
        Replace::NewFirst | Replace::SideBySide => versions.len() > 2,
    };
    if too_much {
        return Err(format!("too much is at work at once: {arms:?}"));
    }
    Ok(())
}

fn nothing_ending_is_routed(model: &Model, gateway: &Gateway) -> Result<(), String> {
    match gateway.routed().difference(&gateway.price).find(|id| model.ended.contains(id)) {
        Some(id) => Err(format!("requests are routed to `{id}`, which was told to end")),
        None => Ok(()),
    }
}

fn what_is_routed_can_answer(model: &Model, gateway: &Gateway) -> Result<(), String> {
    if model.accidents {
        return Ok(());
    }
    let services = gateway.table.iter().flat_map(|table| &table.services);
    let splits =
        services.flat_map(|(service, routes)| routes.splits.iter().map(move |split| (service, split)));
    for (service, split) in splits.filter(|(_, split)| split.weight > 0) {
        let healthy = |id: &InstanceId| {
            model.host.bodies.get(id).is_some_and(|body| body.truth == InstanceState::Healthy)
        };
        let paid = || split.endpoints.iter().any(|endpoint| gateway.price.contains(&endpoint.instance));
        if !split.endpoints.iter().any(|endpoint| healthy(&endpoint.instance)) && !paid() {
            return Err(format!("requests go to {service}@{}, and nobody is there", split.version));
        }
    }
    Ok(())
}

fn drained_before(model: &Model, id: &InstanceId) -> Result<(), String> {
    let flights = |gateway: &Gateway| match gateway.behind {
        true => 0,
        false => gateway.flights.get(id).copied().unwrap_or(0),
    };
    let waited = model.unnamed.get(id).map(|since| model.now.since_ms(*since));
    match (flights(&model.inner) + flights(&model.outer), waited) {
        (_, None) => Err(format!("`{id}` was told to end while it is in a table")),
        (1.., Some(waited)) if waited < USUAL_DRAIN_MS => {
            Err(format!("`{id}` was told to end with requests under way"))
        }
        _ => Ok(()),
    }
}

/// What the newest decision wants is not told to end by an older one.
fn nobody_wants(model: &Model, id: &InstanceId) -> Result<(), String> {
    let (environment, arm) = (model.ledger.environment(), &model.host.bodies[id].arm);
    let gives_way = environment.is_to_be_replaced(id) || environment.is_dismissed(id);
    let is_replaced = gives_way || environment.mover_of(&arm.service).is_some();
    if model.work != Work::Web && arm.service == first() && is_replaced {
        return Ok(());
    }
    let taken_over =
        environment.moving().filter(|operation| !matches!(operation.phase, Phase::Reverting { .. }));
    let targets = taken_over.flat_map(|operation| operation.plan.moves().filter_map(Move::to_arm));
    let current = environment.entries().iter().map(|(service, entry)| entry.arm(service));
    let is_wanted = targets.chain(current).any(|wanted| wanted == *arm);
    let (left, wanted) = (standing(model, arm).count(), environment.replicas_of(&arm.service) as usize);
    if is_wanted && left < wanted && !model.accidents {
        return Err(format!("`{id}` was told to end, and {arm} is wanted: {left} of {wanted} are left"));
    }
    Ok(())
}

fn true_when_recorded(model: &Model, event: &Event) -> Result<(), String> {
    match event {
        Event::OperationDone { operation, .. } => done_is_true(model, *operation),
        Event::WaveShifted { operation, wave, .. } => {
            let operation = model.ledger.world().find_operation(*operation).cloned().expect("it is recorded");
            let moves = operation.plan.waves.get(*wave).into_iter().flatten();
            // Of what shares its work only a part has to be there yet.
            let arms = moves.filter(|part| part.kind.is_web() || part.gives_way()).filter_map(Move::to_arm);
            let arms: Vec<_> = arms.collect();
            arms.iter().try_for_each(|arm| enough(model, arm, "it was given requests"))
        }
        _ => Ok(()),
    }
}

fn done_is_true(model: &Model, id: OperationId) -> Result<(), String> {
    let environment = model.ledger.environment();
    let operation = environment.find_operation(id).expect("it is recorded");
    for service in operation.touches() {
        if let Some(entry) = environment.entries().get(&service) {
            enough(model, &entry.arm(&service), &format!("operation {id} was done"))?;
        }
    }
    only_its_own(&environment, operation)
}

/// A baseline differs from the one before by what its operation moves, whatever was done beside it.
fn only_its_own(environment: &Environment, operation: &Operation) -> Result<(), String> {
    let current = environment.baselines.current();
    if current.operation != Some(operation.id) {
        return Ok(());
    }
    let before =
        current.parent.and_then(|parent| environment.baselines.get(parent)).expect("it has a parent");
    let changed = difference(&before.entries, &current.entries).into_iter();
    let changed: Vec<_> = changed.map(|change| (change.service, change.from, change.to)).collect();
    let moves = operation.plan.moves().map(|part| (part.service.clone(), part.from.clone(), part.to.clone()));
    let mut moves: Vec<_> = moves.collect();
    moves.sort_by(|one, other| one.0.cmp(&other.0));
    if changed == moves { Ok(()) } else { Err(format!("baseline {} has {changed:?}", current.number)) }
}

fn enough(model: &Model, arm: &Arm, when: &str) -> Result<(), String> {
    let wanted = model.ledger.environment().replicas_of(&arm.service) as usize;
    let stands = standing(model, arm).filter(|state| model.accidents || **state == InstanceState::Healthy);
    let stands = stands.count();
    if stands < wanted && !model.accidents {
        return Err(format!("{arm} has {stands} of {wanted} instances when {when}"));
    }
    Ok(())
}

fn standing<'a>(model: &'a Model, arm: &'a Arm) -> impl Iterator<Item = &'a InstanceState> {
    let bodies = model.host.bodies.iter().filter(move |(_, body)| body.arm == *arm);
    let alive = bodies.filter(|(id, body)| !body.truth.is_over() && !model.ended.contains(*id));
    alive.map(|(_, body)| &body.truth)
}

/// Checks what must hold when nothing is left to do.
///
/// # Errors
/// The promise that is broken, in words.
pub(crate) fn at_rest(model: &Model) -> Result<(), String> {
    let environment = model.ledger.environment();
    if let Some(operation) = environment.under_way().next() {
        return Err(format!("operation {} does not end: {:?}", operation.id, operation.phase));
    }
    for (service, entry) in environment.entries() {
        let arm = entry.arm(service);
        let (runs, wanted) = (standing(model, &arm).count(), environment.replicas_of(service) as usize);
        if runs != wanted {
            return Err(format!("{runs} instances of {arm} run, and {wanted} are wanted"));
        }
    }
    let warm = environment.warm.keys().find(|arm| model.work != Work::Web && arm.service == first());
    if let Some(arm) = warm {
        return Err(format!("{arm} is kept warm, and it works"));
    }
    for (id, body) in model.host.bodies.iter().filter(|(_, body)| !body.truth.is_over()) {
        let current = environment.entries().get(&body.arm.service).map(|entry| entry.arm(&body.arm.service));
        let is_current = current.as_ref() == Some(&body.arm);
        if !is_current && !environment.keeps_warm(&body.arm, model.looked) {
            return Err(format!("`{id}` still runs, and nothing asks for it"));
        }
    }
    Ok(())
}
