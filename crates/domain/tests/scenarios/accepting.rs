//! What a step does without evidence, and who may let it go on.

use std::collections::BTreeSet;

use crate::simulation::{Stage, deploy, environment};
use lockstep_domain::intent::{FailureBound, Step, WithoutEvidence};
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::{Look, next_look, waits_for};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::step::{NotAccepted, Obstacle, Wanted, accept};
use lockstep_domain::{Event, Operation, OperationId, Strategy, Timestamp};

const BAKE_MS: u64 = 100;

fn canary(without_evidence: WithoutEvidence) -> Strategy {
    let step = |weight| Step { weight, bake_ms: BAKE_MS };
    Strategy::Canary {
        steps: vec![step(1_000), step(10_000)],
        bound: FailureBound { max_failures_in_10000: 100, min_requests: 20, without_evidence },
    }
}

/// A canary that nobody asks, in its first step.
fn begun(without_evidence: WithoutEvidence) -> (Stage, OperationId) {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    stage.release("orders@1.1.0", &[]);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    let id = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&canary(without_evidence)));
    while !matches!(operation(&stage, id).phase, Phase::Shifted { .. }) {
        stage.step("staging");
    }
    (stage, id)
}

fn operation(stage: &Stage, id: OperationId) -> Operation {
    Operation::clone(stage.world.find_operation(id).unwrap())
}

fn few() -> BTreeSet<Obstacle> {
    [Obstacle::FewRequests].into()
}

fn wanted(step: &str, despite: BTreeSet<Obstacle>) -> Wanted {
    Wanted { place: step.parse().unwrap(), despite, reason: "nobody asks at night".into() }
}

fn accepted(stage: &Stage, id: OperationId, wanted: Wanted) -> Result<Option<Event>, NotAccepted> {
    accept(&operation(stage, id), &stage.observed("staging"), stage.now, wanted)
}

fn pass_ms(stage: &mut Stage, ms: u64) {
    stage.now = stage.now.plus_ms(ms);
    (0..3).for_each(|_| stage.step("staging"));
}

fn step_of(stage: &Stage, id: OperationId) -> usize {
    match operation(stage, id).phase {
        Phase::Shifted { step, .. } => step,
        phase => panic!("{phase:?}"),
    }
}

#[test]
fn a_person_lets_a_step_go_on_and_that_is_known_for_ever() {
    let (mut stage, id) = begun(WithoutEvidence::Wait);
    pass_ms(&mut stage, 10 * BAKE_MS);
    let said = operation(&stage, id).waits.unwrap().missing;
    assert!(said.contains("lockstep accept 2 --step 1.1 --despite few-requests"), "{said}");
    let event = accepted(&stage, id, wanted("1.1", few())).unwrap().unwrap();
    stage.record(event);
    pass_ms(&mut stage, 0);
    assert_eq!(step_of(&stage, id), 1, "one step, and not the next one too");
    pass_ms(&mut stage, 10 * BAKE_MS);
    assert_eq!(step_of(&stage, id), 1);
    let event = accepted(&stage, id, wanted("1.2", few())).unwrap().unwrap();
    stage.record(event);
    pass_ms(&mut stage, 0);
    let done = operation(&stage, id);
    assert!(done.phase.is_done(), "{:?}", done.phase);
    assert!(
        done.proof.contains("could have missed") && done.proof.contains("accepted by ann"),
        "{}",
        done.proof
    );
    let steps: Vec<_> = done.accepted.iter().map(|it| (it.step.to_string(), it.by.to_string())).collect();
    assert_eq!(steps, [("1.1".into(), "ann".into()), ("1.2".into(), "ann".into())]);
}

#[test]
fn said_twice_is_said_once_and_for_another_step_it_is_refused() {
    let (mut stage, id) = begun(WithoutEvidence::Wait);
    let early = accepted(&stage, id, wanted("1.1", few()));
    assert!(matches!(early, Err(NotAccepted::Bakes { .. })), "{early:?}");
    pass_ms(&mut stage, 10 * BAKE_MS);
    let event = accepted(&stage, id, wanted("1.1", few())).unwrap().unwrap();
    stage.record(event);
    assert_eq!(accepted(&stage, id, wanted("1.1", few())), Ok(None));
    pass_ms(&mut stage, 0);
    let late = accepted(&stage, id, wanted("1.1", few()));
    assert!(matches!(late, Err(NotAccepted::MovedOn { .. })), "{late:?}");
    // A record of another step is no state that can be reached.
    let wrong = Event::StepAccepted {
        operation: id,
        environment: environment("staging"),
        step: "1.1".parse().unwrap(),
        despite: few(),
        known: String::new(),
        reason: String::new(),
    };
    let recorded = lockstep_domain::Recorded {
        seq: stage.world.seq + 1,
        at: stage.now,
        actor: "ann".parse().unwrap(),
        event: wrong,
    };
    assert!(stage.world.fold(&recorded).is_err());
}

#[test]
fn nothing_lets_a_version_go_on_that_fails() {
    let (mut stage, id) = begun(WithoutEvidence::GoOnAfter(0));
    let arms: Vec<_> = stage.instances.iter().map(|instance| instance.arm.clone()).collect();
    for arm in arms {
        let failures = if arm.version.to_string() == "1.1.0" { 10 } else { 0 };
        stage.traffic.insert(arm, ArmTraffic { requests: 10, failures });
    }
    stage.now = stage.now.plus_ms(10 * BAKE_MS);
    let refused = accepted(&stage, id, wanted("1.1", Obstacle::ACCEPTABLE.into()));
    assert!(matches!(refused, Err(NotAccepted::Fails { .. })), "{refused:?}");
    pass_ms(&mut stage, 0);
    assert!(matches!(operation(&stage, id).phase, Phase::Reverted { .. } | Phase::Reverting { .. }));
    let over = accepted(&stage, id, wanted("1.1", few()));
    assert!(matches!(over, Err(NotAccepted::NotWatched { .. })), "{over:?}");
}

#[test]
fn what_was_not_named_keeps_a_step_whoever_accepted_the_rest() {
    let (mut stage, id) = begun(WithoutEvidence::Wait);
    pass_ms(&mut stage, 10 * BAKE_MS);
    let event = accepted(&stage, id, wanted("1.1", few())).unwrap().unwrap();
    stage.record(event);
    // Before the next look both versions are in trouble.
    let arms: Vec<_> = stage.instances.iter().map(|instance| instance.arm.clone()).collect();
    for arm in arms {
        stage.traffic.insert(arm, ArmTraffic { requests: 100, failures: 50 });
    }
    pass_ms(&mut stage, 0);
    assert_eq!(step_of(&stage, id), 0);
    let more = accepted(&stage, id, wanted("1.1", [Obstacle::Suspicion].into()));
    assert!(
        matches!(&more, Err(NotAccepted::MoreKeepsIt { waits }) if waits.contains("--despite incident")),
        "{more:?}"
    );
}

#[test]
fn an_environment_goes_on_by_itself_after_a_time_that_the_clock_cannot_shorten() {
    let (mut stage, id) = begun(WithoutEvidence::GoOnAfter(1_000_000));
    pass_ms(&mut stage, BAKE_MS);
    let said = operation(&stage, id).waits.unwrap().missing;
    assert!(said.contains("goes on without them in"), "{said}");
    let look = |stage: &Stage| {
        let observed = stage.observed("staging");
        let look = Look {
            world: &stage.world,
            environment: stage.env("staging"),
            observed: &observed,
            now: stage.now,
            wall: stage.wall(),
        };
        (next_look(look), waits_for(look))
    };
    let (next, waits) = look(&stage);
    assert!(next.is_some_and(|at| at > stage.now && at.since_ms(stage.now) <= 1_000_000), "{next:?}");
    assert!(waits[0].contains("lockstep accept"), "{waits:?}");
    // The clock is set forward by a day: nobody lived through that.
    stage.now = stage.now.plus_ms(86_400_000);
    stage.record(Event::ClockSkipped { ms: 86_400_000 });
    pass_ms(&mut stage, 500_000);
    assert_eq!(step_of(&stage, id), 0);
    pass_ms(&mut stage, 600_000);
    assert_eq!(step_of(&stage, id), 1);
    let accepted = &operation(&stage, id).accepted[0];
    assert!(accepted.reason.contains("without enough requests"), "{accepted:?}");
    assert!(accepted.known.contains("could have missed"), "{accepted:?}");
    assert!(accepted.at > Timestamp(0));
}

#[test]
fn who_asks_waits_until_somebody_answers() {
    let (mut stage, id) = begun(WithoutEvidence::Ask);
    pass_ms(&mut stage, 10 * BAKE_MS);
    pass_ms(&mut stage, 1_000_000_000);
    assert_eq!(step_of(&stage, id), 0);
    let said = operation(&stage, id).waits.unwrap().missing;
    assert!(
        said.contains("may it go on? lockstep accept") && said.contains("lockstep undo staging"),
        "{said}"
    );
}

#[test]
fn what_an_older_release_recorded_waits() {
    let text =
        r#"{"strategy":"blue_green","bake_ms":5,"bound":{"max_failures_in_10000":100,"min_requests":7}}"#;
    let strategy: Strategy = serde_json::from_str(text).unwrap();
    assert_eq!(strategy.bound().unwrap().without_evidence, WithoutEvidence::Wait);
    assert_eq!(serde_json::to_string(&strategy).unwrap(), text);
}
