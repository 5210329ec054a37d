//! The machine on an imagined clock, and against random histories.

use lockstep_domain::Timestamp;
use lockstep_domain::external::External;
use lockstep_domain::preparation::Preparation;
use lockstep_domain::run::{HealthCheck, Probe, Restart, Stop};
use proptest::prelude::*;

use super::*;
use crate::process::ProcessIdentity;

fn run_spec() -> RunSpec {
    RunSpec {
        work: Default::default(),
        protocol: Default::default(),
        gateway: None,
        prepare: None,
        approach: Default::default(),
        kind: Default::default(),
        command: vec!["./orders".to_owned()],
        variables: [].into(),
        port: lockstep_domain::run::Port::Assigned,
        health: HealthCheck {
            interval_ms: 1_000,
            start_timeout_ms: 5_000,
            unhealthy_after: 3,
            ..HealthCheck::new(Probe::Tcp)
        },
        stop: Stop { timeout_ms: 2_000, ..Stop::default() },
        restart: Restart { max_restarts: 3, backoff_ms: 100, max_backoff_ms: 250, reset_after_ms: 10_000 },
        data: Vec::new(),
        files: Vec::new(),
        values: lockstep_domain::run::Values::Verbatim,
        replace: lockstep_domain::run::Replace::NewFirst,
        replace_after: lockstep_domain::run::ReplaceAfter::Never,
        static_files: None,
        external: None,
        limits: lockstep_domain::limits::Limits::default(),
        image: None,
        user: lockstep_domain::run::RunUser::Own,
        hosts: Default::default(),
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A machine whose process has started at 0.
fn started() -> Machine {
    let mut machine = Machine::new(run_spec());
    assert_eq!(machine.step(Input::Time, ms(0)), [Action::Spawn]);
    assert_eq!(machine.step(Input::Started, ms(0)), []);
    machine
}

/// A machine that became healthy at 10.
fn healthy() -> Machine {
    let mut machine = started();
    assert_eq!(machine.step(Input::Time, ms(10)), [Action::Check]);
    assert_eq!(machine.step(Input::Checked(Ok(())), ms(10)), []);
    assert_eq!(machine.state(), InstanceState::Healthy);
    machine
}

fn fails(machine: &mut Machine, now: Duration) -> Vec<Action> {
    machine.step(Input::Checked(Err("no answer".to_owned())), now)
}

fn ends(machine: &mut Machine, now: Duration) -> Vec<Action> {
    machine.step(Input::Ended("exit code 3".to_owned()), now)
}

fn failed(reason: &str, fault: Fault) -> InstanceState {
    InstanceState::failed(reason, fault)
}

/// A machine of a job whose process has started at 0.
fn job() -> Machine {
    let mut run = run_spec();
    (run.kind, run.health.probe, run.restart.max_restarts) = (Kind::Job, Probe::Ends, 0);
    let mut machine = Machine::new(run);
    assert_eq!(machine.step(Input::Time, ms(0)), [Action::Spawn]);
    assert_eq!(machine.step(Input::Started, ms(0)), []);
    machine
}

#[test]
fn a_job_is_not_checked_and_completes_when_its_process_ends_well() {
    let mut machine = job();
    assert_eq!(machine.next_due(), Some(ms(5_000)), "only its time limit is waited for");
    machine.step(Input::Completed, ms(100));
    assert_eq!(machine.state(), InstanceState::Completed);
}

#[test]
fn a_job_that_ends_badly_or_too_late_or_on_request_says_so_and_is_not_started_again() {
    let mut machine = job();
    assert_eq!(ends(&mut machine, ms(100)), []);
    assert_eq!(machine.state(), failed("ended with exit code 3", Fault::Crash));
    let mut machine = job();
    assert_eq!(machine.step(Input::Time, ms(5_000)), [Action::Signal]);
    machine.step(Input::Completed, ms(5_001));
    assert_eq!(machine.state(), failed("it had not ended after 5000 ms", Fault::Start));
    let mut machine = job();
    assert_eq!(machine.step(Input::StopAsked, ms(10)), [Action::Signal]);
    machine.step(Input::Completed, ms(11));
    assert_eq!(machine.state(), InstanceState::Stopped);
}

#[test]
fn a_job_that_another_supervisor_may_have_begun_is_not_begun_again() {
    let mut status = Status::starting(Timestamp(0));
    for process in [None, ProcessIdentity::of(rustix::process::getpid())] {
        status.process = process;
        let mut machine = Machine::resume(job().run, &status, ms(0));
        assert_eq!(machine.step(Input::Time, ms(0)), []);
        machine.step(Input::Ended("an unknown exit code".to_owned()), ms(1));
        assert_eq!(machine.state(), failed("ended with an unknown exit code", Fault::Crash));
    }
}

/// A specification with something that comes before, of a second at most.
fn prepared() -> RunSpec {
    RunSpec { prepare: Some(Preparation { command: Vec::new(), timeout_ms: 1_000 }), ..run_spec() }
}

/// A machine that has begun to prepare at 0.
fn preparing() -> Machine {
    let mut machine = Machine::new(prepared());
    assert_eq!(machine.step(Input::Time, ms(0)), [Action::Prepare]);
    machine
}

#[test]
fn what_comes_before_comes_before_each_start_and_counts_for_no_check() {
    let mut machine = preparing();
    assert_eq!((machine.next_due(), machine.state()), (Some(ms(1_000)), InstanceState::Starting));
    assert_eq!(machine.step(Input::Prepared, ms(900)), [Action::Spawn]);
    machine.step(Input::Started, ms(900));
    assert_eq!(machine.step(Input::Time, ms(910)), [Action::Check]);
    machine.step(Input::Checked(Ok(())), ms(910));
    ends(&mut machine, ms(950));
    assert_eq!(machine.step(Input::Time, ms(1_050)), [Action::Prepare]);
    assert!(matches!(machine.state(), InstanceState::Unhealthy { .. }));
    assert_eq!(machine.step(Input::Prepared, ms(1_060)), [Action::Spawn]);
}

#[test]
fn what_comes_before_and_fails_is_a_start_that_failed() {
    let mut machine = preparing();
    for now in [0, 100, 300] {
        ends(&mut machine, ms(now));
        let again = machine.next_due().unwrap();
        assert_eq!(machine.step(Input::Time, again), [Action::Prepare], "{now}");
    }
    ends(&mut machine, ms(600));
    let wanted = "ended 4 times in a row, the last time with exit code 3";
    assert_eq!(machine.state(), failed(wanted, Fault::Crash));
}

#[test]
fn what_comes_before_is_ended_when_its_time_is_over_or_a_stop_is_asked_for() {
    for last in [Input::Prepared, Input::Ended("signal 15 (TERM)".to_owned())] {
        let mut machine = preparing();
        assert_eq!(machine.step(Input::Time, ms(1_000)), [Action::Signal]);
        assert_eq!(machine.step(Input::Time, ms(3_000)), [Action::Kill]);
        assert_eq!(machine.step(last.clone(), ms(3_001)), []);
        let wanted = "its `prepare` command had not ended after 1000 ms";
        assert_eq!(machine.state(), failed(wanted, Fault::Start));
        let mut machine = preparing();
        assert_eq!(machine.step(Input::StopAsked, ms(10)), [Action::Signal]);
        assert_eq!(machine.state(), InstanceState::Stopping);
        assert_eq!(machine.step(last, ms(11)), []);
        assert_eq!(machine.state(), InstanceState::Stopped);
    }
}

#[test]
fn another_supervisor_prepares_anew_and_not_for_a_process_that_runs() {
    let mut status = Status::starting(Timestamp(0));
    let mut machine = Machine::resume(prepared(), &status, ms(0));
    assert_eq!(machine.step(Input::Time, ms(0)), [Action::Prepare]);
    status.process = ProcessIdentity::of(rustix::process::getpid());
    let mut machine = Machine::resume(prepared(), &status, ms(0));
    assert_eq!(machine.step(Input::Time, ms(0)), []);
}

#[test]
fn checks_are_quick_until_the_first_success_and_then_regular() {
    let mut machine = started();
    let mut pauses = Vec::new();
    let mut now = ms(0);
    for _ in 0..12 {
        let due = machine.next_due().unwrap();
        pauses.push((due - now).as_millis());
        now = due;
        assert_eq!(machine.step(Input::Time, now), [Action::Check]);
        assert_eq!(fails(&mut machine, now), []);
    }
    assert_eq!(pauses, [10, 15, 22, 33, 50, 75, 100, 100, 100, 100, 100, 100]);
    machine.step(Input::Checked(Ok(())), now);
    assert_eq!(machine.next_due(), Some(now + ms(1_000)));
}

#[test]
fn a_process_that_is_not_healthy_in_time_is_ended_and_has_failed() {
    let mut machine = started();
    machine.step(Input::Time, ms(10));
    fails(&mut machine, ms(10));
    assert_eq!(machine.step(Input::Time, ms(5_000)), [Action::Signal]);
    assert_eq!(machine.state(), InstanceState::Starting, "nobody told it to end");
    ends(&mut machine, ms(5_001));
    assert_eq!(machine.state(), failed("not healthy within 5000 ms: no answer", Fault::Start));
}

#[test]
fn a_relay_runs_on_when_nobody_answers_at_the_other_side_and_is_asked_again() {
    let mut run = started().run;
    run.external = Some(External::at("https://a"));
    let mut machine = Machine::new(run);
    machine.step(Input::Time, ms(0));
    machine.step(Input::Started, ms(0));
    assert_eq!(machine.step(Input::Time, ms(10)), [Action::Check]);
    fails(&mut machine, ms(10));
    assert_eq!(machine.step(Input::Time, ms(5_000)), [Action::Check]);
    fails(&mut machine, ms(5_000));
    assert_eq!(machine.state(), InstanceState::Unhealthy { reason: "no answer".to_owned() });
    assert_eq!(machine.next_due(), Some(ms(6_000)), "with its usual pauses");
    let mut status = Status::starting(Timestamp(0));
    machine.save(&mut status);
    status.state = machine.state();
    status.process = ProcessIdentity::of(rustix::process::getpid());
    let mut later = Machine::resume(machine.run.clone(), &status, ms(0));
    later.step(Input::Time, ms(10));
    fails(&mut later, ms(10));
    assert!(
        matches!(later.state(), InstanceState::Unhealthy { .. }),
        "another supervisor leaves it alone as well"
    );
    assert_eq!(later.step(Input::Time, ms(5_000)), [Action::Check]);
    machine.step(Input::Checked(Ok(())), ms(6_000));
    assert_eq!(machine.state(), InstanceState::Healthy);
}

#[test]
fn a_check_that_never_comes_back_does_not_hold_up_the_start_timeout() {
    let mut machine = started();
    assert_eq!(machine.step(Input::Time, ms(10)), [Action::Check]);
    assert_eq!(machine.next_due(), Some(ms(5_000)));
    assert_eq!(machine.step(Input::Time, ms(5_000)), [Action::Signal]);
}

#[test]
fn only_so_many_failed_checks_in_a_row_make_it_unhealthy() {
    let mut machine = healthy();
    for now in [1_010, 2_010, 3_010, 4_010, 5_010] {
        assert_eq!(machine.step(Input::Time, ms(now)), [Action::Check]);
        fails(&mut machine, ms(now));
        if now == 2_010 {
            machine.step(Input::Checked(Ok(())), ms(now));
        }
        let expected = now == 5_010;
        assert_eq!(matches!(machine.state(), InstanceState::Unhealthy { .. }), expected, "{now}");
    }
    machine.step(Input::Checked(Ok(())), ms(6_010));
    assert_eq!(machine.state(), InstanceState::Healthy);
}

#[test]
fn restarts_follow_each_other_after_growing_pauses_and_then_it_has_failed() {
    let mut machine = started();
    let mut now = ms(0);
    for pause in [100, 200, 250] {
        assert_eq!(ends(&mut machine, now), []);
        assert_eq!(machine.next_due(), Some(now + ms(pause)));
        now += ms(pause);
        assert_eq!(machine.step(Input::Time, now), [Action::Spawn]);
        machine.step(Input::Started, now);
    }
    ends(&mut machine, now);
    assert_eq!(
        machine.state(),
        failed("ended 4 times in a row, the last time with exit code 3", Fault::Crash)
    );
    assert_eq!(machine.restarts, 3);
}

#[test]
fn a_long_healthy_time_makes_it_count_anew_and_a_short_one_does_not() {
    for (lived, expected) in [(9_999, 2), (10_010, 1)] {
        let mut machine = started();
        ends(&mut machine, ms(0));
        machine.step(Input::Time, ms(100));
        machine.step(Input::Started, ms(100));
        machine.step(Input::Time, ms(110));
        machine.step(Input::Checked(Ok(())), ms(110));
        ends(&mut machine, ms(100 + lived));
        assert_eq!(machine.ends_in_a_row, expected, "{lived}");
    }
}

#[test]
fn a_stop_signals_and_kills_what_does_not_end_again_and_again() {
    let mut machine = healthy();
    assert_eq!(machine.step(Input::StopAsked, ms(100)), [Action::Signal]);
    assert_eq!(machine.step(Input::StopAsked, ms(200)), []);
    assert_eq!(machine.step(Input::Time, ms(2_099)), []);
    assert_eq!(machine.step(Input::Time, ms(2_100)), [Action::Kill]);
    assert_eq!(machine.step(Input::Time, ms(3_100)), [Action::Kill]);
    ends(&mut machine, ms(3_101));
    assert_eq!(machine.state(), InstanceState::Stopped);
}

#[test]
fn a_stop_during_a_pause_ends_it_at_once() {
    let mut machine = started();
    ends(&mut machine, ms(0));
    assert_eq!(machine.step(Input::StopAsked, ms(1)), []);
    assert_eq!(machine.state(), InstanceState::Stopped);
}

#[test]
fn what_cannot_be_started_has_failed() {
    let mut machine = Machine::new(run_spec());
    machine.step(Input::Time, ms(0));
    let trouble = Trouble { why: "the port is in use".to_owned(), fault: Fault::Port };
    machine.step(Input::CannotStart(trouble), ms(0));
    assert_eq!(machine.state(), failed("the port is in use", Fault::Port));
}

fn left_with(state: InstanceState, was_ready: bool) -> Status {
    let process = Some(ProcessIdentity { pid: 42, started: 1, boot: "b".to_owned() });
    Status { state, process, was_ready, restarts: 2, ends_in_a_row: 2, ..Status::starting(Timestamp(0)) }
}

#[test]
fn a_healthy_process_stays_healthy_when_another_supervisor_goes_on() {
    let mut machine = Machine::resume(run_spec(), &left_with(InstanceState::Healthy, true), ms(0));
    assert_eq!(machine.state(), InstanceState::Healthy);
    assert_eq!(machine.step(Input::Time, ms(10)), [Action::Check]);
    // No start timeout for what was healthy before.
    assert_eq!(machine.step(Input::Time, ms(60_000)), []);
}

#[test]
fn restarts_are_counted_across_supervisors() {
    let mut machine = Machine::resume(run_spec(), &left_with(InstanceState::Starting, false), ms(0));
    ends(&mut machine, ms(0));
    assert_eq!((machine.restarts, machine.ends_in_a_row), (3, 3));
    machine.step(Input::Time, ms(1_000));
    machine.step(Input::Started, ms(1_000));
    ends(&mut machine, ms(1_001));
    assert!(machine.state().is_over());
}

#[test]
fn what_is_over_stays_over() {
    let over = Status { process: None, ..left_with(failed("x", Fault::Start), false) };
    let mut machine = Machine::resume(run_spec(), &over, ms(0));
    assert_eq!(machine.step(Input::Time, ms(9_999)), []);
    assert_eq!(machine.state(), failed("x", Fault::Start));
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => Just(Input::Time),
        2 => Just(Input::Checked(Ok(()))),
        2 => Just(Input::Checked(Err("no answer".to_owned()))),
        2 => Just(Input::Ended("exit code 3".to_owned())),
        1 => Just(Input::Prepared),
        1 => Just(Input::StopAsked),
    ]
}

proptest! {
    /// Never two processes, never an action for a process that is not there, no action after the end, and the number of
    /// restarts is bounded.
    #[test]
    fn any_history_keeps_the_invariants(
        history in proptest::collection::vec((any_input(), 0_u64..3_000), 1..200),
        is_prepared in any::<bool>(),
    ) {
        let mut machine = Machine::new(if is_prepared { prepared() } else { run_spec() });
        let mut prepares = false;
        let (mut runs, mut checks, mut now, mut asked) = (false, false, ms(0), false);
        for (input, pause) in history {
            now += ms(pause);
            match input {
                Input::Ended(_) if !runs => continue,
                Input::Checked(_) if !checks => continue,
                Input::Prepared if !prepares => continue,
                Input::Ended(_) | Input::Prepared => (runs, checks, prepares) = (false, false, false),
                Input::Checked(_) => checks = false,
                _ => {}
            }
            asked |= input == Input::StopAsked;
            let was_over = machine.state().is_over();
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                let actions = machine.step(input, now);
                prop_assert!(actions.len() <= 2 && (!was_over || actions.is_empty()));
                for action in actions {
                    let begins = matches!(action, Action::Spawn | Action::Prepare);
                    prop_assert_eq!(runs, !begins, "{:?}", action);
                    prop_assert!(action != Action::Check || !prepares);
                    checks |= action == Action::Check;
                    if begins {
                        (runs, prepares) = (true, action == Action::Prepare);
                        inputs.extend((action == Action::Spawn).then_some(Input::Started));
                    }
                }
            }
            let state = machine.state();
            prop_assert!(!state.is_over() || !runs);
            prop_assert!(!asked || matches!(state, InstanceState::Stopping) || state.is_over());
            prop_assert!(machine.ends_in_a_row <= 4);
            prop_assert!(state.is_over() || checks || machine.next_due().is_some());
        }
    }
}
