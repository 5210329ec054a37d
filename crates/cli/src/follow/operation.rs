//! Waiting for an operation, and its events in words.

use lockstep_domain::operation::Move;
use lockstep_domain::{Event, Operation, OperationId, Plan, Recorded};

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;
use crate::parse::share::percent;

/// Follows an operation until it is over. Every event is given to `each` once and in order, from the first.
pub(crate) fn until_over(
    ctx: &Context,
    id: OperationId,
    mut each: impl FnMut(&Recorded),
) -> Result<Operation, Failure> {
    let mut last_seq = 0;
    let mut patience = Patience::new();
    loop {
        let watched = ctx.client.watch_operation(id, |recorded| {
            if recorded.seq > last_seq {
                last_seq = recorded.seq;
                each(&recorded);
            }
        });
        match watched.and_then(|()| ctx.client.operation(id)) {
            Ok(operation) if operation.phase.is_settled() => return Ok(operation),
            Ok(_) => patience.renew(),
            Err(error) => patience.bear(error)?,
        }
    }
}

/// Says what an event means for people; `None` where the end of the operation says it better.
pub(crate) fn describe(event: &Event, plan: &Plan) -> Option<String> {
    let wave_of = |wave: usize| format!("wave {} of {}", wave + 1, plan.waves.len().max(wave + 1));
    match event {
        Event::OperationBegun { operation } => {
            Some(format!("operation {} on {}: {}", operation.id, operation.environment, operation.intent))
        }
        Event::WavePrepared { wave, .. } => {
            Some(format!("  {}: preparing {}", wave_of(*wave), targets(plan, *wave)))
        }
        Event::WaveShifted { wave, step, reason, .. } => {
            let share = plan.strategy.steps().get(*step).map_or(0, |step| step.weight);
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            Some(format!(
                "  {}: {} of requests to {}{why}",
                wave_of(*wave),
                percent(share),
                targets(plan, *wave)
            ))
        }
        Event::OperationReverting { cause, .. } => Some(format!("  taking it back: {cause}")),
        Event::HoldPlaced { version, hold, .. } => Some(format!("  {version} is held: {}", hold.reason)),
        Event::StageChanged { version, from, to, .. } => Some(format!("  {version}: {from} -> {to}")),
        _ => None,
    }
}

/// Says what an operation is waiting for after an event; `None` where nothing changed about that.
pub(crate) fn awaits(event: &Event, plan: &Plan) -> Option<String> {
    match event {
        Event::OperationBegun { .. } => Some(format!("waiting until healthy: {}", targets(plan, 0))),
        Event::WavePrepared { wave, .. } => Some(format!("waiting until healthy: {}", targets(plan, *wave))),
        Event::WaveShifted { step, .. } => {
            let step = *plan.strategy.steps().get(*step)?;
            Some(format!(
                "watching at {}, for {}",
                percent(step.weight),
                crate::output::times::exact(step.bake_ms)
            ))
        }
        Event::OperationReverting { .. } => Some("going back".to_owned()),
        _ => None,
    }
}

fn targets(plan: &Plan, wave: usize) -> String {
    let moves = plan.waves.get(wave).map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = moves.iter().map(target).collect();
    names.join(", ")
}

fn target(step: &Move) -> String {
    match step.to_arm() {
        Some(arm) => arm.to_string(),
        None => format!("no {}", step.service),
    }
}
