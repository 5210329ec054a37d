//! Waiting for an operation, and its events in words.

use std::ops::ControlFlow;

use lockstep_api::client::ClientError;
use lockstep_domain::intent::WithoutEvidence;
use lockstep_domain::operation::Move;
use lockstep_domain::routes::FULL_WEIGHT;
use lockstep_domain::run::Takeover;
use lockstep_domain::{Event, InstanceId, Operation, OperationId, Plan, Recorded};

use super::Patience;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::parse::share::percent;

/// Follows an operation until it is over, or `each` wants no more. Every event is given to it once and in order, from the first.
pub(crate) fn until_over(
    ctx: &Context,
    id: OperationId,
    mut each: impl FnMut(&Recorded) -> ControlFlow<()>,
) -> Result<Operation, Failure> {
    let mut last_seq = 0;
    let mut enough = ControlFlow::Continue(());
    let mut patience = Patience::new();
    loop {
        let watched = ctx.client.watch_operation(id, |recorded| {
            if recorded.seq > last_seq {
                last_seq = recorded.seq;
                enough = each(&recorded);
            }
            enough
        });
        match watched.and_then(|()| ctx.client.operation(id)) {
            Ok(operation) if operation.phase.is_settled() || enough.is_break() => return Ok(operation),
            Ok(_) => patience.renew(),
            Err(error) => patience.bear(error).map_err(|error| broken_off(error, id))?,
        }
    }
}

/// Makes the failure of waiting for a server that is gone.
fn broken_off(error: ClientError, id: OperationId) -> Failure {
    match error {
        ClientError::Answer { source, .. } => {
            Failure::new(Exit::Unreachable, "the connection to the server broke off")
                .caused_by(source.as_ref())
                .hint(goes_on(id))
        }
        ClientError::Reach(error) if !error.is_lasting() => {
            let detail = format!("the server does not answer any more: {error}");
            Failure::new(Exit::Unreachable, detail).hint(goes_on(id))
        }
        other => other.into(),
    }
}

fn goes_on(id: OperationId) -> String {
    format!("operation {id} goes on when the server is back; look then: lockstep watch {id}")
}

/// Says what an event means for people; `None` where the end of the operation says it better.
pub(crate) fn describe(event: &Event, plan: &Plan) -> Option<String> {
    let wave_of = |wave: usize| format!("wave {} of {}", wave + 1, plan.waves.len().max(wave + 1));
    match event {
        Event::OperationBegun { operation } => {
            Some(format!("operation {} on {}: {}", operation.id, operation.environment, operation.intent))
        }
        Event::WavePrepared { wave, .. } => {
            Some(format!("  {}: preparing {}", wave_of(*wave), targets(plan.moves_of(*wave))))
        }
        Event::WaveShifted { wave, step, reason, .. } => {
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            Some(format!("  {}: {}{why}", wave_of(*wave), shift(plan, *wave, *step)))
        }
        Event::StepWaits { missing, .. } => Some(format!("  {missing}")),
        Event::ResourceAwaited { missing, .. } | Event::HostAwaited { missing, .. } => {
            Some(format!("  waiting for {missing}"))
        }
        Event::StepAccepted { step, known, reason, .. } => {
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            Some(format!("  step {step} goes on without evidence{why}: {known}"))
        }
        Event::JobBegun { instance, .. } => {
            let job = plan_job(plan, instance);
            Some(format!("  {job} runs: lockstep logs {instance} --follow"))
        }
        Event::JobEnded { instance, failure, .. } => {
            let how = failure.as_ref().map_or_else(|| "is done".to_owned(), |why| format!("failed: {why}"));
            Some(format!("  {} {how}", plan_job(plan, instance)))
        }
        Event::OperationReverting { cause, .. } => Some(format!("  taking it back: {cause}")),
        Event::HoldPlaced { version, hold, .. } => Some(format!("  {version} is held: {}", hold.reason)),
        Event::StageChanged { version, from, to, .. } => Some(format!("  {version}: {from} -> {to}")),
        _ => None,
    }
}

/// Tells whether an event is a question to a person, so that whoever waits for the operation waits no longer.
pub(crate) fn asks(event: &Event, plan: &Plan) -> bool {
    let asks = plan.strategy.bound().is_some_and(|bound| bound.without_evidence == WithoutEvidence::Ask);
    asks && matches!(event, Event::StepWaits { .. })
}

/// Says what an operation is waiting for after an event; `None` where nothing changed about that.
pub(crate) fn awaits(event: &Event, plan: &Plan) -> Option<String> {
    match event {
        Event::OperationBegun { .. } if plan.waves.is_empty() => {
            Some("waiting until exactly the wanted instances run".to_owned())
        }
        Event::OperationBegun { .. } => Some(format!("waiting until healthy: {}", targets(plan.moves_of(0)))),
        Event::WavePrepared { wave, .. } => {
            Some(format!("waiting until healthy: {}", targets(plan.moves_of(*wave))))
        }
        Event::WaveShifted { wave, step, .. } => {
            let step = *plan.steps_of(*wave).get(*step)?;
            Some(format!(
                "watching at {}, for {}",
                percent(step.weight),
                crate::output::times::exact(step.bake_ms)
            ))
        }
        Event::JobBegun { instance, .. } => Some(format!("waiting for {}", plan_job(plan, instance))),
        Event::StepWaits { .. } => Some("waiting for evidence".to_owned()),
        Event::ResourceAwaited { missing, .. } | Event::HostAwaited { missing, .. } => {
            Some(format!("waiting for {missing}"))
        }
        Event::OperationReverting { .. } => Some("going back".to_owned()),
        _ => None,
    }
}

/// Names a job of a plan by its run, whose name ends with its place in the plan.
fn plan_job(plan: &Plan, run: &InstanceId) -> String {
    let place = run.as_str().rsplit_once('.').and_then(|(_, place)| place.parse::<usize>().ok());
    let planned = place.and_then(|place| plan.jobs.get(place));
    planned.map_or_else(|| format!("job {run}"), ToString::to_string)
}

/// Says what part of the requests goes where once a wave has shifted, and which workers work.
fn shift(plan: &Plan, wave: usize, step: usize) -> String {
    let share = plan.steps_of(wave).get(step).map_or(FULL_WEIGHT, |step| step.weight);
    let (web, workers): (Vec<_>, Vec<_>) = plan.moves_of(wave).iter().partition(|step| step.kind.is_web());
    let requests = match (targets(web.iter().copied()), taken_away(web.iter().copied())) {
        (to, away) if to.is_empty() && away.is_empty() => None,
        (to, away) if away.is_empty() => Some(format!("{} of requests to {to}", percent(share))),
        (to, away) if to.is_empty() => Some(format!("no more requests to {away}")),
        (to, away) => Some(format!("{} of requests to {to}, none to {away}", percent(share))),
    };
    let said = |words: String, what: &str| (!words.is_empty()).then(|| format!("{what} {words}"));
    let work = [
        said(targets(workers.iter().copied()), &at_work(share, &workers)),
        said(taken_away(workers.iter().copied()), "no more at work:"),
    ];
    let is_last = step + 1 >= plan.steps_of(wave).len();
    let follow = said(processes(plan.moves_of(wave)).filter(|_| is_last).unwrap_or_default(), "at work:");
    requests.into_iter().chain(work.into_iter().flatten()).chain(follow).collect::<Vec<_>>().join("; ")
}

/// Names the processes beside the main ones that work from the last step of a wave on.
fn processes(moves: &[Move]) -> Option<String> {
    let arms = moves.iter().flat_map(|step| step.processes.iter().filter_map(|part| part.to_arm(step)));
    let names: Vec<_> = arms.map(|arm| arm.to_string()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Says how much of the work is done by what comes.
fn at_work(share: u32, workers: &[&Move]) -> String {
    let is_shared = workers.iter().any(|step| step.takeover == Takeover::SideBySide);
    let part = (is_shared && share < FULL_WEIGHT).then(|| format!(" for {} of instances", percent(share)));
    format!("at work{}:", part.unwrap_or_default())
}

/// Names what the instances of these moves are copies of.
fn targets<'a>(moves: impl IntoIterator<Item = &'a Move>) -> String {
    let moves = moves.into_iter().filter(|step| step.kind.has_instances() || !step.has_instances());
    let arms = moves.filter_map(Move::to_arm).map(|arm| arm.to_string());
    arms.collect::<Vec<_>>().join(", ")
}

fn taken_away<'a>(moves: impl IntoIterator<Item = &'a Move>) -> String {
    let names = moves.into_iter().filter(|step| step.to.is_none()).map(|step| step.service.as_str());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use lockstep_domain::baseline::{BaselineEntry, Entries};
    use lockstep_domain::operation::Readiness;
    use lockstep_domain::run::{Kind, Takeover};
    use lockstep_domain::{ConfigRevision, Strategy, VersionNumber};

    use super::*;

    fn plan(moves: &[(&str, Option<u64>)]) -> Plan {
        let at =
            |minor| BaselineEntry { version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0) };
        let step = |&(service, to): &(&str, Option<u64>)| Move {
            service: service.parse().unwrap(),
            from: Some(at(0)),
            to: to.map(at),
            readiness: Readiness::Warm,
            takeover: Takeover::Beside,
            kind: if service.starts_with("mail") { Kind::Worker } else { Kind::Web },
            processes: Vec::new(),
            reasons: Vec::new(),
            start: None,
        };
        Plan {
            parent: 1,
            target: Entries::new(),
            strategy: Strategy::canary(&[5, 100], 1_000),
            waves: vec![moves.iter().map(step).collect()],
            configuration: None,
            replaced: Vec::new(),
            variables: Vec::new(),
            replicas: None,
            restarts: Vec::new(),
            relocations: Vec::new(),
            jobs: Vec::new(),
            contraction: None,
            reversal: None,
            leaving: lockstep_domain::intent::Leaving::Warm,
            rules_ended: Vec::new(),
            holds: Vec::new(),
            work_before: Vec::new(),
            places: Vec::new(),
            without_hosts: Vec::new(),
            entrances: Vec::new(),
            traffic_before: Vec::new(),
            secrets_kept: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_shift_says_what_goes_where_and_what_ends() {
        assert_eq!(shift(&plan(&[("orders", Some(2))]), 0, 0), "5 % of requests to orders@1.2.0");
        assert_eq!(shift(&plan(&[("orders", None)]), 0, 1), "no more requests to orders");
        let both = plan(&[("orders", None), ("web", Some(1))]);
        assert_eq!(shift(&both, 0, 1), "100 % of requests to web@1.1.0, none to orders");
        assert_eq!(shift(&plan(&[("mailer", Some(1))]), 0, 1), "at work: mailer@1.1.0");
        let mixed = plan(&[("web", Some(1)), ("mailer", None)]);
        assert_eq!(shift(&mixed, 0, 1), "100 % of requests to web@1.1.0; no more at work: mailer");
    }

    #[test]
    fn an_answer_that_breaks_off_says_that_the_operation_goes_on() {
        let source = std::io::Error::other("unexpected EOF during chunk size line").into();
        let (server, path) = ("http://127.0.0.1:8600".to_owned(), "/operations/7/events".to_owned());
        let failure = broken_off(ClientError::Answer { server, path, source }, OperationId(7));
        let text = failure.render(&crate::output::style::Style::plain());
        assert!(text.starts_with("error: the connection to the server broke off\n"), "{text}");
        assert!(
            text.ends_with("operation 7 goes on when the server is back; look then: lockstep watch 7\n"),
            "{text}"
        );
    }

    #[test]
    fn an_event_beyond_the_plan_is_told_without_panic() {
        let event = Event::WavePrepared {
            operation: OperationId(1),
            environment: "production".parse().unwrap(),
            wave: 7,
            proof: String::new(),
        };
        assert_eq!(describe(&event, &plan(&[])).unwrap(), "  wave 8 of 8: preparing ");
    }
}
