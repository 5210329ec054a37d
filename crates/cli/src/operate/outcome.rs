//! The last words of an operation: what is live now, how long it took, how to go back.

use std::fmt::Write as _;

use lockstep_domain::intent::Leaving;
use lockstep_domain::job::JobRun;
use lockstep_domain::operation::Phase;
use lockstep_domain::{Instance, InstanceState, Intent, Operation};

use super::plan_text::{held, moves_table, variables_text, whose};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::times;

/// Says what is live after an operation that is done, and how to go back.
pub(crate) fn done_text(operation: &Operation, style: &Style) -> String {
    let Operation { environment, plan, .. } = operation;
    let Phase::Done { baseline, .. } = operation.phase else {
        return taken_back_text(operation, style);
    };
    let took = took(operation);
    let mut text = format!("{}: {environment} is at baseline {baseline}{took}\n", style.good("done"));
    text.push_str(&moves_table(plan.moves(), style));
    if let Some(scaled) = &plan.replicas {
        let plural = if scaled.replicas == 1 { "" } else { "s" };
        let _ = writeln!(text, "  {} has {} instance{plural}", whose(scaled), scaled.replicas);
    }
    for moved in &plan.relocations {
        let _ = writeln!(text, "  moved: {}", printable(&moved.to_string()));
    }
    if !plan.restarts.is_empty() && plan.relocations.is_empty() {
        let plural = if plan.restarts.len() == 1 { "" } else { "s" };
        let _ = writeln!(text, "  {} instance{plural} replaced", plan.restarts.len());
    }
    for (planned, _) in operation.job_runs().filter(|(_, run)| has_run(run)) {
        let _ = writeln!(text, "  {planned} has run");
    }
    text.push_str(&variables_text(plan));
    if !operation.proof.is_empty() {
        let _ = writeln!(text, "  judged: {}", printable(&operation.proof));
    }
    for held in held(plan) {
        let _ = writeln!(text, "  held: {held}");
    }
    if !plan.moves_nothing() {
        let _ = writeln!(text, "go back: {}", way_back(operation, baseline));
    }
    text
}

/// After going back, "undo" would read as going back further; so the baseline is named: the one before, which has what others did
/// beside it.
fn way_back(operation: &Operation, baseline: u64) -> String {
    let Operation { environment, intent, .. } = operation;
    match intent {
        Intent::Undo
        | Intent::RollBackEnvironment { .. }
        | Intent::RollBackToLastGood { .. }
        | Intent::RollBackService { .. }
        | Intent::RollBackServices { .. } => {
            format!("lockstep rollback {environment} --to {}", baseline.saturating_sub(1))
        }
        _ => format!("lockstep undo {environment}"),
    }
}

/// Says that everything is as before an operation, where that was wanted.
pub(crate) fn taken_back_text(operation: &Operation, style: &Style) -> String {
    let Operation { id, environment, plan, .. } = operation;
    format!(
        "{}: operation {id} was taken back; its services in {environment} are as in baseline {}{}\n",
        style.good("done"),
        plan.parent,
        took(operation)
    )
}

fn has_run(run: &JobRun) -> bool {
    run.end.as_ref().is_some_and(|end| end.failure.is_none())
}

/// Makes the failure of an operation that is done although a job failed that ran afterwards; `None` where none did.
pub(crate) fn job_failed(operation: &Operation) -> Option<Failure> {
    let failed =
        operation.job_runs().find_map(|(planned, run)| Some((planned, run.end.as_ref()?.failure.as_ref()?)));
    let (planned, why) = failed?;
    let (service, job, environment) = (&planned.arm.service, &planned.job, &operation.environment);
    let text = format!(
        "operation {} is done, and nothing is taken back; {planned} failed afterwards: {why}",
        operation.id
    );
    Some(
        Failure::new(Exit::EndedBadly, text)
            .hint(format!("lockstep job run {service} {job} --env {environment}")),
    )
}

/// Says what `undo` would do while an operation is under way.
pub(crate) fn would_be_taken_back_text(operation: &Operation) -> String {
    let Operation { id, environment, actor, intent, plan, .. } = operation;
    format!(
        "operation {id} ({intent}, by {actor}) is under way and would be taken back; \
         its services in {environment} would be as in baseline {}\nnothing was changed: this is a dry run\n",
        plan.parent
    )
}

/// Says that somebody else's operation does already what was asked for, and what becomes of what is left, where that was asked for
/// otherwise.
pub(crate) fn already_text(operation: &Operation, asked: Option<Leaving>) -> String {
    let Operation { id, environment, actor, intent, phase, plan, .. } = operation;
    let what = match phase {
        Phase::Reverting { .. } | Phase::Reverted { .. } => "already being taken back",
        _ => "already going there",
    };
    let asked = asked.unwrap_or(if intent.goes_back() { Leaving::Ends } else { Leaving::Warm });
    let otherwise = match plan.leaving {
        Leaving::Ends if asked == Leaving::Warm => {
            "warning: it was begun without --keep-warm: what is left ends\n".to_owned()
        }
        Leaving::Warm if asked == Leaving::Ends => format!(
            "warning: it was begun with --keep-warm: what is left runs on; to end it afterwards: lockstep environment set {environment} --warm 0s\n"
        ),
        _ => String::new(),
    };
    format!("{what}: operation {id} ({intent}), by {actor}\nfollow it: lockstep watch {id}\n{otherwise}")
}

/// Makes the failure of waiting for an operation that asks a person.
pub(crate) fn asks(operation: &Operation) -> Failure {
    let Operation { id, environment, waits, .. } = operation;
    let missing = waits.as_ref().map_or("evidence", |waits| waits.missing.as_str());
    let detail = format!(
        "operation {id} on {environment} goes on when it gets what it lacks, or by somebody's word: {missing}"
    );
    Failure::new(Exit::Refused, detail).hint(format!("`lockstep watch {id}` follows it"))
}

/// The end of the log of an instance that an operation was taken back for, as long as it is shown: no journal has it.
fn log_end(ctx: &Context, operation: &Operation) -> Option<String> {
    let Phase::Reverted { blamed, .. } = &operation.phase else { return None };
    let seen = ctx.client.environment(&operation.environment).ok()?;
    let mut instances = seen.services.into_iter().flat_map(|service| service.instances);
    let to_blame =
        |it: &Instance| it.since >= operation.begun && blamed.iter().any(|blame| blame.arm == it.arm);
    let (id, reason) = instances.find_map(|it| match &it.state {
        InstanceState::Failed { reason, .. } if to_blame(&it) => Some((it.id.clone(), reason.clone())),
        _ => None,
    })?;
    let (_, log) = reason.split_once('\n')?;
    Some(format!("{id}: {log}"))
}

/// Makes the failure of an operation that was taken back.
pub(crate) fn taken_back(ctx: &Context, operation: &Operation) -> Failure {
    let failure = why_taken_back(operation);
    match log_end(ctx, operation) {
        Some(log) => failure.because(log),
        None => failure,
    }
}

fn why_taken_back(operation: &Operation) -> Failure {
    let Operation { id, environment, intent, plan, phase, .. } = operation;
    let cause = match phase {
        Phase::Reverted { cause, .. } | Phase::Reverting { cause, .. } => cause.as_str(),
        _ => "",
    };
    let jobs: Vec<_> = operation.job_runs().map(|(planned, run)| (planned.to_string(), run)).collect();
    if let (true, Some((_, run))) = (plan.moves_nothing(), jobs.last()) {
        let run = &run.instance;
        let detail = format!("operation {id} ({intent}) failed: {cause}");
        return Failure::new(Exit::EndedBadly, detail)
            .hint(format!("lockstep logs {run} --env {environment}"));
    }
    let changed = |run: &JobRun| !run.end.as_ref().is_some_and(|end| end.untouched);
    let names: Vec<_> = jobs.iter().filter(|(_, run)| changed(run)).map(|(job, _)| job.as_str()).collect();
    let stays = match names.is_empty() {
        true => String::new(),
        false => format!("; what was changed by {} is not undone", names.join(" and ")),
    };
    let detail = format!(
        "operation {id} ({intent}) was taken back: {cause}; its services in {environment} are as in baseline {}{stays}",
        plan.parent
    );
    Failure::new(Exit::EndedBadly, detail).hint(format!(
        "`lockstep watch {id}` shows what happened, `lockstep status {environment}` what runs now"
    ))
}

fn took(operation: &Operation) -> String {
    let settled = operation.phase.settled_at();
    settled.map_or_else(String::new, |at| format!(" after {}", times::took(at.since_ms(operation.begun))))
}
