//! Jobs: once an operation, before anything of it starts or after everything, whatever happens meanwhile.

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::fault::Fault;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::job::{Job, When};
use lockstep_domain::lost_runs::lost;
use lockstep_domain::operation::{Operation, Phase};
use lockstep_domain::run::{Kind, Port, Probe};
use lockstep_domain::{Event, InstanceState, Intent, OperationId, Strategy};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

const PLACE: &str = "staging";

fn job(name: &str, when: When) -> Job {
    let (name, command) = (name.parse().unwrap(), vec!["./job".to_owned()]);
    Job {
        name,
        when,
        command,
        variables: [].into(),
        timeout_ms: 60_000,
        schedule: None,
        limits: lockstep_domain::limits::Limits::default(),
    }
}

/// Three versions of a service with a job of each kind, and two of its provider with one.
fn stage() -> Stage {
    let mut stage = Stage::new();
    for version in ["web@1.0.0", "web@1.1.0", "web@1.2.0"] {
        stage.release_with(version, &[("pay", "*")], |version| {
            let all = [("seed", When::AfterDeploy), ("migrate", When::BeforeSwitch), ("tidy", When::ByHand)];
            version.jobs = all.into_iter().map(|(name, when)| job(name, when)).collect();
        });
    }
    for version in ["pay@1.0.0", "pay@1.1.0"] {
        stage.release_with(version, &[], |version| version.jobs.push(job("prepare", When::BeforeSwitch)));
    }
    stage
}

/// `web` and `pay` as they run, with everything done that they asked for.
fn deployed() -> Stage {
    let mut stage = stage();
    let id = stage.begin(PLACE, &deploy(&["pay@1.0.0", "web@1.0.0"]), None);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    stage.jobs.clear();
    stage
}

fn operation(stage: &Stage, id: OperationId) -> Operation {
    Operation::clone(stage.world.find_operation(id).unwrap())
}

/// Lets everything happen until an operation is over; each job ends as is said, as soon as it runs.
fn settle(stage: &mut Stage, id: OperationId, end: &InstanceState) -> Phase {
    for _ in 0..1_000 {
        stage.step(PLACE);
        stage.end_stopping();
        end_jobs(stage, end);
        if operation(stage, id).phase.is_settled() {
            return operation(stage, id).phase;
        }
    }
    panic!("it does not settle: {:?}", operation(stage, id).phase);
}

fn end_jobs(stage: &mut Stage, end: &InstanceState) {
    for run in stage.jobs.iter_mut().filter(|run| !run.state.is_over()) {
        run.state = end.clone();
    }
}

fn failed() -> InstanceState {
    InstanceState::failed("ended with exit code 3", Fault::Crash)
}

/// The jobs that have run, in their order.
fn ran(stage: &Stage) -> Vec<String> {
    stage
        .jobs
        .iter()
        .map(|run| format!("{} of {}", run.job.as_ref().unwrap(), run.arm.version_ref()))
        .collect()
}

#[test]
fn they_run_once_in_the_order_of_the_waves_and_those_for_afterwards_last() {
    let mut stage = deployed();
    let plan = stage.plan(PLACE, &deploy(&["pay@1.1.0", "web@1.1.0"]), None).unwrap();
    let planned: Vec<_> = plan.jobs.iter().map(|planned| planned.job.as_str()).collect();
    assert_eq!(planned, ["prepare", "migrate", "seed"]);
    let id = stage.begin(PLACE, &deploy(&["pay@1.1.0", "web@1.1.0"]), None);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    assert_eq!(ran(&stage), ["prepare of pay@1.1.0", "migrate of web@1.1.0", "seed of web@1.1.0"]);
    let ends: Vec<_> =
        operation(&stage, id).jobs.iter().map(|run| run.end.clone().unwrap().failure).collect();
    assert_eq!(ends, [None, None, None]);
}

#[test]
fn nothing_starts_and_nothing_ends_before_the_first_ones_are_over() {
    let mut stage = deployed();
    stage.release_with("web@2.0.0", &[("pay", "*")], |version| {
        version.run.port = Port::Fixed(9_000);
        version.jobs.push(job("migrate", When::BeforeSwitch));
    });
    stage.release_with("web@2.1.0", &[("pay", "*")], |version| {
        version.run.port = Port::Fixed(9_000);
        version.jobs.push(job("migrate", When::BeforeSwitch));
    });
    let id = stage.begin(PLACE, &deploy(&["web@2.0.0"]), None);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    let before = stage.instances.clone();
    let id = stage.begin(PLACE, &deploy(&["web@2.1.0"]), None);
    for _ in 0..100 {
        stage.step(PLACE);
    }
    assert_eq!(stage.instances, before, "also what ends first goes on while a job runs");
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    assert_eq!(stage.runs(PLACE), "pay@1.0.0 web@2.1.0");
}

#[test]
fn one_that_fails_takes_everything_back_before_anything_switched_and_holds_nothing() {
    let mut stage = deployed();
    let before = stage.instances.clone();
    let id = stage.begin(PLACE, &deploy(&["pay@1.1.0", "web@1.1.0"]), None);
    let phase = settle(&mut stage, id, &failed());
    let Phase::Reverted { cause, blamed, .. } = phase else { panic!("{phase:?}") };
    assert_eq!(cause, "job `prepare` of pay@1.1.0 failed: ended with exit code 3");
    assert!(blamed.is_empty() && stage.env(PLACE).holds.is_empty());
    assert_eq!(ran(&stage), ["prepare of pay@1.1.0"]);
    assert_eq!(stage.instances, before);
}

#[test]
fn between_the_bad_end_of_the_last_one_and_the_record_of_it_nothing_starts() {
    for end in [failed(), InstanceState::Stopped] {
        let mut stage = deployed();
        let before = stage.instances.clone();
        let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
        assert!(matches!(settle(&mut stage, id, &end), Phase::Reverted { .. }));
        assert_eq!(stage.instances, before, "{end:?}");
    }
}

#[test]
fn one_that_fails_afterwards_takes_nothing_back() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    while stage.jobs.len() < 2 {
        stage.step(PLACE);
        stage.jobs.iter_mut().take(1).for_each(|run| run.state = InstanceState::Completed);
    }
    assert!(settle(&mut stage, id, &failed()).is_done());
    let last = operation(&stage, id).jobs.pop().unwrap();
    assert_eq!(last.end.unwrap().failure.as_deref(), Some("ended with exit code 3"));
    assert_eq!(stage.runs(PLACE), "pay@1.0.0 web@1.1.0");
}

#[test]
fn a_way_back_runs_none_and_says_what_it_does_not_undo() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    stage.jobs.clear();
    let back = Intent::RollBackService {
        service: service("web"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    let plan = stage.plan(PLACE, &back, None).unwrap();
    assert!(plan.jobs.is_empty());
    let said: Vec<_> = plan.warnings.iter().filter(|warning| warning.contains("not undone")).collect();
    assert_eq!(
        said,
        [
            "what the job `migrate` of web@1.1.0 changed is not undone",
            "what the job `seed` of web@1.1.0 changed is not undone"
        ]
    );
    let id = stage.begin(PLACE, &back, None);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    assert!(stage.jobs.is_empty());
}

#[test]
fn a_deploy_of_an_older_version_is_a_way_back_as_well() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    let plan = stage.plan(PLACE, &deploy(&["web@1.0.0"]), None).unwrap();
    assert!(plan.jobs.is_empty(), "{:?}", plan.jobs);
    assert!(plan.warnings.iter().any(|it| it == "what the job `migrate` of web@1.1.0 changed is not undone"));
}

#[test]
fn time_that_nobody_lived_through_gives_up_no_job() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    while stage.jobs.is_empty() {
        stage.step(PLACE);
    }
    stage.skip(24 * 60 * 60 * 1_000);
    for _ in 0..20 {
        stage.step(PLACE);
    }
    assert_eq!(stage.jobs[0].state, InstanceState::Starting);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
}

#[test]
fn what_has_taken_over_is_on_trial_no_more_while_a_job_runs_afterwards() {
    let mut stage = deployed();
    let canary = Strategy::canary(&[100], 20);
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), Some(&canary));
    while stage.jobs.len() < 2 {
        stage.step(PLACE);
        stage.jobs.iter_mut().take(1).for_each(|run| run.state = InstanceState::Completed);
    }
    let web = stage.instances.iter_mut().filter(|it| it.arm.version_ref().to_string() == "web@1.1.0");
    web.for_each(|it| it.state = InstanceState::Unhealthy { reason: "it was started again".into() });
    stage.step(PLACE);
    assert!(
        matches!(operation(&stage, id).phase, Phase::Shifted { .. }),
        "{:?}",
        operation(&stage, id).phase
    );
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
}

#[test]
fn two_journals_that_came_to_the_same_number_have_no_run_of_one_name() {
    let names = [0, 60_000].map(|later| {
        let mut stage = deployed();
        stage.now = stage.now.plus_ms(later);
        stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
        while stage.jobs.is_empty() {
            stage.step(PLACE);
        }
        stage.jobs[0].id.clone()
    });
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_run_that_an_adopted_folder_does_not_know_has_ended_somehow() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    stage.step(PLACE);
    let run = operation(&stage, id).jobs[0].instance.clone();
    assert!(lost(&stage.world, &[run].into()).is_empty());
    lost(&stage.world, &[].into()).into_iter().for_each(|event| stage.record(event));
    let phase = settle(&mut stage, id, &InstanceState::Completed);
    let Phase::Reverted { cause, .. } = phase else { panic!("{phase:?}") };
    assert!(cause.contains("nobody knows how it ended"), "{cause}");
    assert!(stage.jobs.is_empty(), "it is not begun");
}

#[test]
fn one_that_is_asked_for_runs_by_itself_and_changes_no_baseline() {
    let mut stage = deployed();
    let baseline = stage.env(PLACE).baselines.current().number;
    let ask = |job: &str| Intent::RunJob { service: service("web"), job: job.parse().unwrap() };
    for name in ["tidy", "migrate"] {
        let id = stage.begin(PLACE, &ask(name), None);
        assert!(stage.plan(PLACE, &ask(name), None).is_err(), "it runs");
        assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
    }
    let id = stage.begin(PLACE, &ask("tidy"), None);
    assert!(matches!(settle(&mut stage, id, &failed()), Phase::Reverted { .. }));
    assert_eq!(stage.env(PLACE).baselines.current().number, baseline);
    let refusals = stage.plan(PLACE, &ask("gone"), None).unwrap_err();
    assert_eq!(refusals[0].to_string(), "web@1.0.0 has no job `gone`");
    assert_eq!(refusals[0].hint().as_deref(), Some("there are seed, migrate, tidy"));
}

#[test]
fn a_configuration_runs_none() {
    let stage = deployed();
    let set = [("A".to_owned(), lockstep_domain::intent::ConfigValue::Plain("b".into()))];
    let configure = Intent::Configure { service: service("web"), set: set.into(), unset: Vec::new() };
    assert!(stage.plan(PLACE, &configure, None).unwrap().jobs.is_empty());
}

#[test]
fn what_is_taken_back_while_a_job_runs_is_back_when_the_job_has_ended() {
    let mut stage = deployed();
    stage.slow_stops = true;
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    while stage.jobs.is_empty() {
        stage.step(PLACE);
    }
    stage.record(Event::OperationReverting {
        operation: id,
        environment: environment(PLACE),
        cause: "a person".into(),
        blamed: Vec::new(),
    });
    for _ in 0..50 {
        stage.step(PLACE);
    }
    assert_eq!(stage.jobs[0].state, InstanceState::Stopping);
    assert!(matches!(operation(&stage, id).phase, Phase::Reverting { .. }));
    stage.jobs[0].state = InstanceState::Stopped;
    assert!(matches!(settle(&mut stage, id, &failed()), Phase::Reverted { .. }));
    let end = operation(&stage, id).jobs[0].end.clone().unwrap();
    assert_eq!(end.failure.as_deref(), Some("it was told to end"));
}

#[test]
fn one_that_nothing_is_heard_of_is_given_up() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    for _ in 0..20 {
        stage.step(PLACE);
    }
    stage.now = stage.now.plus_ms(60 * 60 * 1_000);
    stage.step(PLACE);
    stage.step(PLACE);
    assert!(matches!(operation(&stage, id).phase, Phase::Reverting { .. }));
    assert_eq!(stage.jobs[0].state, InstanceState::Stopped);
}

#[test]
fn a_long_one_does_not_use_up_the_patience_with_instances() {
    let mut stage = deployed();
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), None);
    while stage.jobs.is_empty() {
        stage.step(PLACE);
    }
    stage.now = stage.now.plus_ms(10 * 60 * 1_000);
    assert!(settle(&mut stage, id, &InstanceState::Completed).is_done());
}

#[test]
fn it_is_run_like_an_instance_that_ends_by_itself() {
    let mut stage = Stage::new();
    let mut seen = None;
    stage.release_with("web@1.0.0", &[], |version| {
        version.run.variables =
            [("A", "run"), ("B", "run")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        version.run.port = Port::Fixed(80);
        let mut job = job("migrate", When::ByHand);
        job.variables.insert("B".into(), "${self.version}".into());
        seen = Some(job.run(&version.run));
    });
    let run = seen.unwrap();
    assert_eq!((run.kind, run.listens_on(), &run.health.probe), (Kind::Job, None, &Probe::Ends));
    assert_eq!((run.health.start_timeout_ms, run.restart.max_restarts), (60_000, 0));
    assert_eq!((run.variables["A"].as_str(), run.variables["B"].as_str()), ("run", "${self.version}"));
    assert_ne!(run.values, lockstep_domain::run::Values::Verbatim, "what refers to something is filled in");
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Step,
    Deploys(u8, u8),
    RunsJob,
    Undoes,
    JobsEnd(bool),
    Ends,
    Breaks,
    Minutes,
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    prop_oneof![
        12 => Just(Happens::Step),
        3 => (0_u8..3, 0_u8..2).prop_map(|(web, pay)| Happens::Deploys(web, pay)),
        1 => Just(Happens::RunsJob),
        1 => Just(Happens::Undoes),
        6 => any::<bool>().prop_map(Happens::JobsEnd),
        4 => Just(Happens::Ends),
        1 => Just(Happens::Breaks),
        1 => Just(Happens::Minutes),
    ]
}

fn apply(stage: &mut Stage, what: Happens) {
    let canary = Strategy::canary(&[50, 100], 20_000);
    let mut ask = |intent: &Intent| {
        if let Ok(plan) = stage.plan(PLACE, intent, Some(&canary)) {
            stage.begin_plan(PLACE, intent, plan);
        }
    };
    match what {
        Happens::Step => stage.step(PLACE),
        Happens::Deploys(web, pay) => ask(&deploy(&[&format!("web@1.{web}.0"), &format!("pay@1.{pay}.0")])),
        Happens::RunsJob => ask(&Intent::RunJob { service: service("web"), job: "tidy".parse().unwrap() }),
        Happens::Undoes => ask(&Intent::Undo),
        Happens::JobsEnd(well) => end_jobs(stage, &if well { InstanceState::Completed } else { failed() }),
        Happens::Ends => stage.end_stopping(),
        Happens::Breaks => stage.broken.push("web@1.1.0".into()),
        Happens::Minutes => stage.now = stage.now.plus_ms(61_000),
    }
}

proptest! {
    /// That a run never begins twice is asserted by the stage.
    #[test]
    fn whatever_happens_each_operation_runs_its_jobs_at_most_once_and_nothing_hangs(
        story in proptest::collection::vec(happens(), 1..80),
        slow in any::<bool>(),
    ) {
        let mut stage = stage();
        stage.slow_stops = slow;
        for what in story {
            apply(&mut stage, what);
            let alive = stage.jobs.iter().filter(|run| !run.state.is_over()).count();
            prop_assert!(alive <= 1 + stage.env(PLACE).under_way().count());
        }
        stage.broken.clear();
        for _ in 0..400 {
            stage.now = stage.now.plus_ms(10_000);
            stage.end_stopping();
            end_jobs(&mut stage, &InstanceState::Completed);
            stage.step(PLACE);
        }
        prop_assert!(stage.env(PLACE).under_way().next().is_none());
        prop_assert!(stage.jobs.iter().all(|run| run.state.is_over()));
        for operation in &stage.env(PLACE).operations {
            let is_done = matches!(operation.phase, Phase::Done { .. });
            prop_assert!(operation.jobs.len() <= operation.plan.jobs.len());
            if is_done {
                prop_assert_eq!(operation.jobs.len(), operation.plan.jobs.len());
                let mut before = operation.job_runs().filter(|(planned, _)| planned.when != When::AfterDeploy);
                prop_assert!(before.all(|(_, run)| run.end.as_ref().is_some_and(|end| end.failure.is_none())));
            }
        }
    }
}
