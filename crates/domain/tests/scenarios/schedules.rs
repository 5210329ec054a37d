//! Jobs by schedules: each time once, never two runs at once, and nothing of a version that was taken back.

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::intent::FailureBound;
use lockstep_domain::job::{Job, When};
use lockstep_domain::lost_runs::lost;
use lockstep_domain::name::JobName;
use lockstep_domain::run::Kind;
use lockstep_domain::schedule::{Missed, Overlap, Schedule};
use lockstep_domain::scheduled::{Outcome, Scheduled, ScheduledRun};
use lockstep_domain::{Event, InstanceState, Intent, OperationId, Strategy, Timestamp};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

const PLACE: &str = "staging";
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn every_minute() -> Schedule {
    Schedule::new("* * * * *", "UTC").unwrap()
}

fn tidy() -> JobName {
    "tidy".parse().unwrap()
}

fn job(schedule: Schedule) -> Job {
    let (name, command) = (tidy(), vec!["./tidy".to_owned()]);
    let (variables, timeout_ms) = ([].into(), 10 * MINUTE);
    Job {
        name,
        when: When::OnSchedule,
        command,
        variables,
        timeout_ms,
        schedule: Some(schedule),
        limits: lockstep_domain::limits::Limits::default(),
    }
}

/// Two versions of a service that tidies up by a schedule, and one that does so no more; the first runs.
fn stage(schedule: &Schedule) -> Stage {
    let mut stage = Stage::new();
    for version in ["web@1.0.0", "web@1.1.0"] {
        stage.release_with(version, &[], |version| version.jobs.push(job(schedule.clone())));
    }
    stage.release("web@1.2.0", &[]);
    // Ten seconds after a full minute.
    stage.now = Timestamp(1_000 * MINUTE + 10_000);
    carry_out(&mut stage, &deploy(&["web@1.0.0"]));
    stage
}

fn carry_out(stage: &mut Stage, intent: &Intent) {
    let id = stage.begin(PLACE, intent, None);
    settle(stage, id);
}

/// Carries out what nothing forbids.
fn try_out(stage: &mut Stage, intent: &Intent) {
    if let Ok(plan) = stage.plan(PLACE, intent, None) {
        let id = stage.begin_plan(PLACE, intent, plan);
        settle(stage, id);
    }
}

fn settle(stage: &mut Stage, id: OperationId) {
    for _ in 0..200 {
        stage.step(PLACE);
        if stage.world.find_operation(id).unwrap().phase.is_settled() {
            return (0..3).for_each(|_| stage.step(PLACE));
        }
    }
    panic!("operation {id} does not settle");
}

/// Lets time pass, in which the server looks every ten seconds.
fn pass(stage: &mut Stage, ms: u64) {
    let until = stage.now.plus_ms(ms);
    while stage.now < until {
        stage.now = stage.now.plus_ms((until.since_ms(stage.now)).min(10_000));
        (0..3).for_each(|_| stage.step(PLACE));
    }
}

fn known(stage: &Stage) -> Scheduled {
    stage.env(PLACE).scheduled[&service("web")][&tidy()].clone()
}

/// What became of each time: the minute, and how it went.
fn story(stage: &Stage) -> Vec<String> {
    let since = 1_000 * MINUTE;
    let told = |run: &ScheduledRun| {
        let (minute, version) = (run.due.since_ms(Timestamp(since)) / MINUTE, &run.planned.arm.version);
        match &run.outcome {
            Outcome::Skipped(skip) => format!("{minute}: {}", skip.reason),
            Outcome::Ran(run) => match &run.end {
                None => format!("{minute}: {version} runs"),
                Some(end) => format!("{minute}: {version} {}", end.failure.as_deref().unwrap_or("done")),
            },
        }
    };
    known(stage).runs.iter().map(told).collect()
}

fn end_all(stage: &mut Stage) {
    let running = stage.jobs.iter_mut().filter(|run| !run.state.is_over());
    running.for_each(|run| run.state = InstanceState::Completed);
    (0..2).for_each(|_| stage.step(PLACE));
}

#[test]
fn a_job_runs_at_each_time_once() {
    let mut stage = stage(&every_minute());
    assert!(story(&stage).is_empty(), "not before its first time");
    pass(&mut stage, 55_000);
    assert_eq!(story(&stage), ["1: 1.0.0 runs"]);
    end_all(&mut stage);
    assert_eq!(story(&stage), ["1: 1.0.0 done"]);
    pass(&mut stage, MINUTE);
    end_all(&mut stage);
    assert_eq!(story(&stage), ["1: 1.0.0 done", "2: 1.0.0 done"]);
}

#[test]
fn a_run_that_goes_on_is_not_joined_by_another() {
    let of = |overlap| {
        let mut stage = stage(&Schedule { overlap, ..every_minute() });
        pass(&mut stage, 3 * MINUTE);
        stage
    };
    let mut skipping = of(Overlap::Skip);
    let why = "the run of 1 Jan 16:41 went on";
    assert_eq!(story(&skipping), ["1: 1.0.0 runs".to_owned(), format!("2: {why}"), format!("3: {why}")]);
    end_all(&mut skipping);
    pass(&mut skipping, MINUTE);
    assert_eq!(story(&skipping)[3], "4: 1.0.0 runs");
    let mut waiting = of(Overlap::Wait);
    assert_eq!(story(&waiting), ["1: 1.0.0 runs"]);
    end_all(&mut waiting);
    assert_eq!(
        story(&waiting),
        ["1: 1.0.0 done", "3: 1.0.0 runs"],
        "only the last of those that came meanwhile"
    );
    let replacing = of(Overlap::Replace);
    assert_eq!(
        story(&replacing),
        ["1: 1.0.0 it was told to end", "2: 1.0.0 it was told to end", "3: 1.0.0 runs"]
    );
}

#[test]
fn what_waited_for_another_run_was_not_missed() {
    let mut stage = stage(&Schedule { overlap: Overlap::Wait, missed: Missed::Skip, ..every_minute() });
    pass(&mut stage, 115_000);
    pass(&mut stage, 4 * MINUTE + 30_000);
    end_all(&mut stage);
    assert_eq!(story(&stage).last().unwrap(), "6: 1.0.0 runs");
}

#[test]
fn a_missed_time_is_made_up_for_once_or_not_at_all() {
    for (missed, then) in
        [(Missed::Once, "300: 1.0.0 runs"), (Missed::Skip, "300: nobody was there to begin it at its time")]
    {
        let hourly = Schedule { missed, ..Schedule::new("40 * * * *", "UTC").unwrap() };
        let mut stage = stage(&hourly);
        // Nobody looks for five hours. 16:40 is minute 0.
        stage.now = stage.now.plus_ms(5 * HOUR + 5 * MINUTE);
        (0..3).for_each(|_| stage.step(PLACE));
        assert_eq!(story(&stage), [then]);
    }
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing_and_one_that_was_wrong_is_followed() {
    let mut stage = stage(&every_minute());
    pass(&mut stage, MINUTE);
    end_all(&mut stage);
    stage.ahead_ms = -(30 * 60_000);
    pass(&mut stage, 29 * MINUTE);
    assert_eq!(story(&stage), ["1: 1.0.0 done"], "those minutes were there before");
    pass(&mut stage, 2 * MINUTE);
    assert_eq!(story(&stage).len(), 2);
    end_all(&mut stage);
    // The clock said next year for a moment.
    stage.ahead_ms = 365 * 86_400_000;
    pass(&mut stage, MINUTE);
    end_all(&mut stage);
    stage.ahead_ms = 0;
    let before = story(&stage).len();
    pass(&mut stage, 2 * MINUTE);
    assert!(story(&stage).len() > before, "it does not wait for a year");
}

#[test]
fn a_newer_version_lets_the_run_of_the_older_one_end_by_itself() {
    let mut stage = stage(&every_minute());
    pass(&mut stage, MINUTE);
    carry_out(&mut stage, &deploy(&["web@1.1.0"]));
    pass(&mut stage, MINUTE);
    assert_eq!(story(&stage)[0], "1: 1.0.0 runs", "what was begun is finished");
    end_all(&mut stage);
    pass(&mut stage, MINUTE);
    assert_eq!(story(&stage).last().unwrap(), "3: 1.1.0 runs");
}

#[test]
fn nothing_of_a_version_that_was_taken_back_goes_on() {
    let mut stage = stage(&every_minute());
    carry_out(&mut stage, &deploy(&["web@1.1.0"]));
    pass(&mut stage, MINUTE);
    assert_eq!(story(&stage), ["1: 1.1.0 runs"]);
    carry_out(&mut stage, &Intent::Undo);
    assert_eq!(story(&stage), ["1: 1.1.0 it was told to end"]);
    pass(&mut stage, MINUTE);
    assert_eq!(story(&stage).last().unwrap(), "2: 1.0.0 runs");
}

#[test]
fn a_version_without_the_job_ends_its_schedule() {
    let mut stage = stage(&every_minute());
    carry_out(&mut stage, &deploy(&["web@1.2.0"]));
    pass(&mut stage, 5 * MINUTE);
    assert!(story(&stage).is_empty());
    assert_eq!(known(&stage).watched, None);
    // What came meanwhile was not missed when it comes back.
    carry_out(&mut stage, &deploy(&["web@1.1.0"]));
    assert!(story(&stage).is_empty());
    pass(&mut stage, MINUTE);
    assert_eq!(story(&stage).len(), 1);
}

#[test]
fn taken_out_it_ends_and_renamed_it_goes_on() {
    let mut stage = stage(&every_minute());
    pass(&mut stage, MINUTE);
    stage.record(Event::ServiceRenamed {
        service: service("web"),
        to: service("shop"),
        reason: String::new(),
    });
    (0..3).for_each(|_| stage.step(PLACE));
    let runs = |stage: &Stage| stage.env(PLACE).scheduled[&service("shop")][&tidy()].runs.clone();
    assert!(runs(&stage)[0].run().unwrap().end.is_none());
    carry_out(&mut stage, &Intent::Remove { services: vec![service("shop")] });
    assert_eq!(
        runs(&stage)[0].run().unwrap().end.as_ref().unwrap().failure.as_deref(),
        Some("it was told to end")
    );
}

#[test]
fn a_run_that_nobody_knows_of_is_over_and_not_begun_again() {
    let mut stage = stage(&every_minute());
    pass(&mut stage, MINUTE);
    stage.jobs.clear();
    for event in lost(&stage.world, &[].into()) {
        stage.record(event);
    }
    assert_eq!(story(&stage), ["1: 1.0.0 nobody knows how it ended: the data folder was adopted"]);
    stage.step(PLACE);
    assert!(stage.jobs.is_empty());
}

#[test]
fn memory_is_bounded() {
    let mut stage = stage(&every_minute());
    for _ in 0..120 {
        pass(&mut stage, MINUTE);
        end_all(&mut stage);
    }
    assert_eq!(known(&stage).runs.len(), 50);
    assert!(stage.jobs.len() <= 6, "{}", stage.jobs.len());
}

/// Versions of a service that has a job and nothing that runs all the time.
fn reports(stage: &mut Stage) {
    for version in ["reports@1.0.0", "reports@1.1.0"] {
        stage.release_with(version, &[], |version| {
            version.run.kind = Kind::Job;
            version.run.command.clear();
            version.jobs = vec![Job { when: When::AfterDeploy, schedule: None, ..job(every_minute()) }];
        });
    }
}

#[test]
fn a_service_of_jobs_is_deployed_by_every_strategy_and_starts_nothing_but_them() {
    for strategy in [
        None,
        Some(Strategy::canary(&[10, 100], 50)),
        Some(Strategy::BlueGreen { bake_ms: 50, bound: FailureBound::default() }),
    ] {
        let mut stage = stage(&every_minute());
        reports(&mut stage);
        for version in ["reports@1.0.0", "reports@1.1.0"] {
            let id = stage.begin(PLACE, &deploy(&[version]), strategy.as_ref());
            for _ in 0..200 {
                stage.step(PLACE);
                stage.jobs.iter_mut().for_each(|run| run.state = InstanceState::Completed);
            }
            let operation = stage.world.find_operation(id).unwrap();
            assert!(operation.phase.is_done(), "{version}: {:?}", operation.phase);
            assert_eq!(operation.jobs.len(), 1);
        }
        assert!(stage.instances.iter().all(|it| it.arm.service == service("web")), "{:?}", stage.instances);
        let stayed = stage.world.version(&"reports@1.1.0".parse().unwrap()).unwrap();
        assert!(
            stayed.newest_evidence(&EvidenceKind::ran_in(&environment(PLACE))).is_some(),
            "its gate opens"
        );
        carry_out(&mut stage, &Intent::Undo);
        assert!(stage.runs(PLACE).contains("reports@1.0.0"));
        let scaled = Intent::Scale { service: service("reports"), process: None, replicas: 2 };
        assert!(stage.plan(PLACE, &scaled, None).is_err());
    }
}

#[test]
fn a_service_of_jobs_that_never_ran_well_has_not_run() {
    let mut stage = stage(&every_minute());
    stage.release_with("reports@1.0.0", &[], |version| {
        version.run.kind = Kind::Job;
        version.run.command.clear();
        version.jobs.push(job(every_minute()));
    });
    carry_out(&mut stage, &deploy(&["reports@1.0.0"]));
    let has_run = |stage: &Stage| {
        let version = stage.world.version(&"reports@1.0.0".parse().unwrap()).unwrap();
        version.newest_evidence(&EvidenceKind::ran_in(&environment(PLACE))).is_some()
    };
    assert!(!has_run(&stage), "nothing of it has run");
    let end = |stage: &mut Stage, state: InstanceState| {
        pass(stage, MINUTE);
        stage.jobs.iter_mut().filter(|run| !run.state.is_over()).for_each(|run| run.state = state.clone());
        (0..3).for_each(|_| stage.step(PLACE));
    };
    end(&mut stage, InstanceState::failed("ended with exit code 3", lockstep_domain::fault::Fault::Crash));
    assert!(!has_run(&stage), "its run failed");
    end(&mut stage, InstanceState::Completed);
    assert!(has_run(&stage));
}

#[test]
fn a_service_becomes_one_of_jobs_and_comes_back() {
    let mut stage = stage(&every_minute());
    stage.release_with("web@2.0.0", &[], |version| {
        version.run.kind = Kind::Job;
        version.jobs.push(job(every_minute()));
    });
    carry_out(&mut stage, &deploy(&["web@2.0.0"]));
    assert!(stage.instances.iter().all(|it| it.state.is_over()), "{:?}", stage.instances);
    carry_out(&mut stage, &Intent::Undo);
    assert_eq!(stage.instances.iter().filter(|it| it.state.is_healthy()).count(), 1);
}

#[derive(Debug, Clone)]
enum Thing {
    Pass(u64),
    End(InstanceState),
    Deploy(usize),
    Undo,
    ByHand,
    TurnClock(i64),
    Vanish,
    Skip(u64),
}

fn things() -> impl proptest::strategy::Strategy<Value = Vec<Thing>> {
    let failed = InstanceState::failed("ended with exit code 3", lockstep_domain::fault::Fault::Crash);
    let thing = prop_oneof![
        6 => (1_u64..4 * MINUTE).prop_map(Thing::Pass),
        4 => prop_oneof![Just(InstanceState::Completed), Just(failed)].prop_map(Thing::End),
        2 => (0_usize..3).prop_map(Thing::Deploy),
        1 => Just(Thing::Undo),
        2 => Just(Thing::ByHand),
        1 => (-(5_i64 * 3_600_000)..5 * 3_600_000).prop_map(Thing::TurnClock),
        1 => Just(Thing::Vanish),
        1 => (1_u64..10 * MINUTE).prop_map(Thing::Skip),
    ];
    proptest::collection::vec(thing, 1..30)
}

fn by_hand() -> Intent {
    Intent::RunJob { service: service("web"), job: tidy() }
}

/// Asks for a run by hand where nothing forbids it; it goes on beside what happens next.
fn begin_by_hand(stage: &mut Stage) {
    if let Ok(plan) = stage.plan(PLACE, &by_hand(), None) {
        stage.begin_plan(PLACE, &by_hand(), plan);
    }
}

#[test]
fn a_run_by_hand_and_one_by_the_clock_that_wait_for_the_same_end_do_not_begin_together() {
    for overlap in [Overlap::Wait, Overlap::Replace] {
        let mut stage = stage(&Schedule { overlap, ..every_minute() });
        pass(&mut stage, MINUTE);
        begin_by_hand(&mut stage);
        pass(&mut stage, MINUTE);
        end_all(&mut stage);
        pass(&mut stage, 20_000);
        let going = stage.jobs.iter().filter(|run| !run.state.is_over()).count();
        assert_eq!(going, 1, "{overlap:?}: {:?}", stage.jobs);
    }
}

#[test]
fn two_environments_never_give_two_runs_one_name() {
    let mut stage = stage(&every_minute());
    let id = stage.begin("development", &deploy(&["web@1.0.0"]), None);
    for _ in 0..20 {
        stage.step("development");
    }
    assert!(stage.world.find_operation(id).unwrap().phase.is_settled());
    // Both are looked at in the same moment; the stage panics where a name comes twice.
    stage.now = stage.now.plus_ms(2 * MINUTE);
    for _ in 0..3 {
        let moment = stage.now;
        stage.step(PLACE);
        stage.now = moment;
        stage.step("development");
    }
    assert_eq!(stage.jobs.len(), 2);
}

#[test]
fn a_clock_that_was_wrong_at_a_start_makes_no_time_come_again() {
    let mut stage = stage(&Schedule::new("41 16 * * *", "UTC").unwrap());
    pass(&mut stage, MINUTE);
    end_all(&mut stage);
    assert_eq!(story(&stage), ["1: 1.0.0 done"]);
    // The host has no clock of its own: it is 1970 until it is told the time.
    stage.ahead_ms = -i64::try_from(stage.now.0).unwrap();
    pass(&mut stage, MINUTE);
    stage.ahead_ms = 0;
    pass(&mut stage, MINUTE);
    assert_eq!(story(&stage), ["1: 1.0.0 done"]);
}

fn happen(stage: &mut Stage, thing: &Thing) {
    match thing {
        Thing::Pass(ms) => pass(stage, *ms),
        Thing::End(state) => {
            stage
                .jobs
                .iter_mut()
                .filter(|run| !run.state.is_over())
                .for_each(|run| run.state = state.clone());
        }
        Thing::Deploy(index) => {
            let version = ["web@1.0.0", "web@1.1.0", "web@1.2.0"][*index];
            try_out(stage, &deploy(&[version]));
        }
        Thing::Undo => try_out(stage, &Intent::Undo),
        Thing::ByHand => begin_by_hand(stage),
        Thing::TurnClock(ms) => stage.ahead_ms = *ms,
        Thing::Vanish => {
            let known = stage.jobs.iter().map(|run| run.id.clone()).collect();
            lost(&stage.world, &known).into_iter().for_each(|event| stage.record(event));
        }
        Thing::Skip(ms) => stage.skip(*ms),
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    /// Whatever happens: one run at a time, no time twice without the clock being wrong, and nothing of a newer version than the live one.
    #[test]
    fn no_story_makes_two_of_one(
        things in things(), missed in any::<bool>(), overlap in 0_usize..3,
    ) {
        let missed = Missed::ALL[usize::from(missed)];
        let mut stage = stage(&Schedule { missed, overlap: Overlap::ALL[overlap], ..every_minute() });
        let clock_is_right = !things.iter().any(|thing| matches!(thing, Thing::TurnClock(_)));
        for thing in &things {
            happen(&mut stage, thing);
            (0..4).for_each(|_| stage.step(PLACE));
            let running: Vec<_> = stage.jobs.iter().filter(|run| !run.state.is_over()).collect();
            prop_assert!(running.len() <= 1, "{running:?}");
            let live = stage.env(PLACE).entries().get(&service("web")).map(|entry| entry.version.clone());
            prop_assert!(running.iter().all(|run| live.as_ref().is_some_and(|live| run.arm.version <= *live)));
            let runs = known(&stage).runs;
            let times: Vec<_> = runs.iter().map(|run| run.due).collect();
            if clock_is_right {
                prop_assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
            }
            let begun: Vec<_> = runs.iter().filter_map(|run| Some(run.run()?.instance.clone())).collect();
            prop_assert_eq!(begun.iter().collect::<std::collections::BTreeSet<_>>().len(), begun.len());
        }
        prop_assert_eq!(environment(PLACE), stage.env(PLACE).name.clone());
    }
}
