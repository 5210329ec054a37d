//! Hosts that are lost before a switch: what was to start there is begun anew elsewhere, and where no host is left the operation does what the
//! environment says.

use std::collections::BTreeMap;

use crate::hosts::{counts, host, scale, stage_with, turn};
use crate::simulation::{Stage, deploy, environment};
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::fault::Fault;
use lockstep_domain::host::Stance;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::lost_host::{HostLost, LostHosts};
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::{Look, waits_for};
use lockstep_domain::run::{Port, Replace};
use lockstep_domain::{Event, InstanceId, InstanceState, Intent, OperationId, World};
use proptest::prelude::*;

const PLACE: &str = "staging";
/// Longer than any instance is waited for.
const LONG_MS: u64 = 10 * 60 * 1_000;

fn lose(stage: &mut Stage, name: &str) {
    stage.away.insert(host(name));
    stage.gone.insert(host(name));
}

fn returns(stage: &mut Stage, name: &str) {
    stage.away.remove(&host(name));
    stage.gone.remove(&host(name));
    stage.end_stopping();
}

fn decide(stage: &mut Stage, before_switch: HostLost) {
    let lost_hosts = LostHosts { before_switch, ..LostHosts::default() };
    let settings = EnvironmentSettings { lost_hosts, ..stage.env(PLACE).settings.clone() };
    stage.record(Event::EnvironmentChanged { environment: environment(PLACE), settings });
}

fn steps(stage: &mut Stage, count: u32) {
    (0..count).for_each(|_| stage.step(PLACE));
}

/// Lets everything happen that happens without a person.
fn rest(stage: &mut Stage) {
    for _ in 0..40 {
        stage.finish_starts();
        stage.step(PLACE);
    }
}

fn phase(stage: &Stage, id: OperationId) -> Phase {
    stage.world.find_operation(id).unwrap().phase.clone()
}

fn cause(stage: &Stage, id: OperationId) -> String {
    match phase(stage, id) {
        Phase::Reverted { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

fn three() -> [(&'static str, &'static str); 3] {
    [("a", ""), ("b", ""), ("c", "")]
}

fn back() -> Intent {
    let version = "1.0.0".parse().unwrap();
    Intent::RollBackService {
        service: crate::simulation::service("orders"),
        to: version,
        config: ConfigChoice::AsItRan,
    }
}

/// A stage on which a version is being started on the first host.
fn starting(hosts: &[(&str, &str)], port: Port) -> (Stage, OperationId) {
    let mut stage = stage_with(hosts, port);
    stage.slow_starts = true;
    let id = stage.begin(PLACE, &deploy(&["orders@1.0.0"]), None);
    steps(&mut stage, 3);
    assert_eq!(counts(&stage), "a:1");
    (stage, id)
}

#[test]
fn a_start_on_a_host_that_dies_is_begun_anew_on_another_and_the_first_ends_when_its_host_returns() {
    for port in [Port::Assigned, Port::Fixed(7000)] {
        let (mut stage, id) = starting(&three(), port);
        stage.away.insert(host("a"));
        rest(&mut stage);
        assert_eq!(counts(&stage), "a:1", "it is waited for a while");
        stage.gone.insert(host("a"));
        steps(&mut stage, 3);
        assert_eq!(counts(&stage), "a:1 b:1");
        let ids: Vec<&InstanceId> = stage.instances.iter().map(|instance| &instance.id).collect();
        assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
        rest(&mut stage);
        assert!(phase(&stage, id).is_done(), "{:?}", phase(&stage, id));
        returns(&mut stage, "a");
        rest(&mut stage);
        assert_eq!(counts(&stage), "b:1");
    }
}

#[test]
fn what_was_healthy_on_a_host_that_dies_before_the_switch_is_begun_anew_too() {
    let mut stage = stage_with(&three(), Port::Assigned);
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    stage.run(PLACE, &scale(2), None);
    stage.slow_starts = true;
    let id = stage.begin(PLACE, &deploy(&["orders@1.1.0"]), None);
    steps(&mut stage, 2);
    assert_eq!(counts(&stage), "a:2 b:1 c:1");
    let on_c = stage.instances.iter_mut().find(|it| it.host == Some(host("c"))).unwrap();
    on_c.state = InstanceState::Healthy;
    lose(&mut stage, "c");
    rest(&mut stage);
    assert!(phase(&stage, id).is_done());
    assert!(stage.instances.iter().all(|it| !it.state.is_healthy() || it.host != Some(host("c"))));
}

#[test]
fn a_person_who_evacuates_a_host_that_is_away_does_not_wait_for_it() {
    let (mut stage, id) = starting(&three(), Port::Assigned);
    stage.away.insert(host("a"));
    turn(&mut stage, "a", Stance::Draining);
    stage.gone.insert(host("a"));
    rest(&mut stage);
    assert!(phase(&stage, id).is_done());
}

#[test]
fn a_host_that_cannot_start_it_is_done_without_once_and_the_message_names_both() {
    for fault in [Fault::Disk, Fault::Port, Fault::Host] {
        let mut stage = stage_with(&three(), Port::Assigned);
        stage.failing.insert(host("a"), fault);
        let phase = stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
        assert!(phase.is_done(), "{phase:?}");
        assert_eq!(counts(&stage), "b:1");

        let mut stage = stage_with(&three(), Port::Assigned);
        stage.failing = BTreeMap::from([(host("a"), fault), (host("b"), fault)]);
        let id = stage.begin(PLACE, &deploy(&["orders@1.0.0"]), None);
        rest(&mut stage);
        assert_eq!(
            cause(&stage, id),
            "orders@1.0.0 did not become healthy: on `a`: no space left; on `b`: no space left"
        );
        assert!(stage.env(PLACE).holds.is_empty(), "it is not to blame");
    }
}

#[test]
fn a_host_that_failed_comes_last_until_something_has_become_healthy_there() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    stage.failing.insert(host("a"), Fault::Disk);
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    stage.failing.clear();
    stage.run(PLACE, &scale(3), None);
    assert_eq!(counts(&stage), "b:3");
    stage.release("ledger@1.0.0", &[]);
    stage.now = stage.now.plus_ms(10);
    stage.run(PLACE, &deploy(&["ledger@1.0.0"]), None);
    assert_eq!(counts(&stage), "a:1 b:3");
    stage.run(PLACE, &scale(4), None);
    assert_eq!(counts(&stage), "a:2 b:3");
}

#[test]
fn a_version_that_fails_by_itself_does_not_walk_over_the_hosts() {
    for fault in [Fault::Start, Fault::Crash] {
        let mut stage = stage_with(&three(), Port::Assigned);
        stage.failing = three().iter().map(|(name, _)| (host(name), fault)).collect();
        let phase = stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
        assert!(matches!(phase, Phase::Reverted { .. }), "{phase:?}");
        assert_eq!(stage.instances.len(), 1);
        assert_eq!(stage.env(PLACE).holds.len(), 1, "it is held");
    }
}

#[test]
fn what_must_not_run_twice_is_not_begun_anew_beside_one_that_may_run() {
    let mut stage = stage_with(&three(), Port::Assigned);
    stage.release_with("orders@2.0.0", &[], |version| version.run.replace = Replace::OldFirst);
    stage.slow_starts = true;
    let id = stage.begin(PLACE, &deploy(&["orders@2.0.0"]), None);
    steps(&mut stage, 3);
    lose(&mut stage, "a");
    rest(&mut stage);
    assert_eq!(stage.instances.len(), 1);
    stage.now = stage.now.plus_ms(LONG_MS);
    rest(&mut stage);
    assert!(cause(&stage, id).contains("had 0 of 1 instances healthy"), "{}", cause(&stage, id));
}

#[test]
fn without_a_host_that_is_left_an_operation_goes_back_and_says_why() {
    let (mut stage, id) = starting(&[("a", ""), ("b", "")], Port::Assigned);
    turn(&mut stage, "b", Stance::Cordoned);
    lose(&mut stage, "a");
    rest(&mut stage);
    assert_eq!(
        cause(&stage, id),
        "orders@1.0.0 did not become healthy: no host can take it: `a` is not reached, `b` is cordoned"
    );
    assert!(stage.env(PLACE).holds.is_empty());
}

#[test]
fn an_operation_that_waits_for_a_host_says_so_and_goes_on_when_it_returns() {
    let (mut stage, id) = starting(&[("a", "")], Port::Assigned);
    decide(&mut stage, HostLost::Wait);
    lose(&mut stage, "a");
    rest(&mut stage);
    for _ in 0..5 {
        stage.now = stage.now.plus_ms(LONG_MS);
        rest(&mut stage);
        assert!(matches!(phase(&stage, id), Phase::Preparing { .. }), "{:?}", phase(&stage, id));
    }
    let words = "host `a`, which is not reached: 0 of 1 instance of orders@1.0.0 healthy; not to wait: \
                 lockstep environment set staging --host-lost go-on, or lockstep undo staging";
    let said = stage.world.find_operation(id).unwrap().waits.as_ref().map(|said| said.missing.clone());
    assert_eq!(said.as_deref(), Some(words));
    let (observed, now, wall) = (stage.observed(PLACE), stage.now, stage.wall());
    let look = Look { world: &stage.world, environment: stage.env(PLACE), observed: &observed, now, wall };
    assert_eq!(waits_for(look), [words]);
    let said = stage.log.iter().filter(|it| matches!(it.event, Event::HostAwaited { .. })).count();
    assert!((1..=10).contains(&said), "{said}");
    returns(&mut stage, "a");
    rest(&mut stage);
    assert!(phase(&stage, id).is_done(), "{:?}", phase(&stage, id));
    assert_eq!(counts(&stage), "a:1");
}

#[test]
fn an_operation_that_waits_for_a_host_is_taken_back_when_somebody_says_so() {
    let (mut stage, id) = starting(&[("a", "")], Port::Assigned);
    decide(&mut stage, HostLost::Wait);
    lose(&mut stage, "a");
    rest(&mut stage);
    let name = environment(PLACE);
    let undone = "somebody said so".to_owned();
    stage.record(Event::OperationReverting {
        operation: id,
        environment: name,
        cause: undone,
        blamed: vec![],
    });
    rest(&mut stage);
    assert!(matches!(phase(&stage, id), Phase::Reverted { .. }));
    returns(&mut stage, "a");
    rest(&mut stage);
    assert_eq!(counts(&stage), "", "what began nowhere and there has ended");
}

/// Three instances on a fixed port, one on each of three hosts, the last of which is lost while they start.
fn one_of_three_lost(policy: HostLost) -> (Stage, OperationId) {
    let mut stage = stage_with(&three(), Port::Fixed(7000));
    decide(&mut stage, policy);
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    stage.slow_starts = true;
    let id = stage.begin(PLACE, &scale(3), None);
    steps(&mut stage, 3);
    assert_eq!(counts(&stage), "a:1 b:1 c:1");
    lose(&mut stage, "c");
    rest(&mut stage);
    (stage, id)
}

#[test]
fn an_operation_goes_on_without_a_host_where_half_of_the_instances_remain() {
    let (mut stage, id) = one_of_three_lost(HostLost::GoOn);
    assert!(phase(&stage, id).is_done(), "{:?}", phase(&stage, id));
    returns(&mut stage, "c");
    stage.now = stage.now.plus_ms(LONG_MS);
    rest(&mut stage);
    assert_eq!(counts(&stage), "a:1 b:1 c:1", "the third one comes when there is a place");

    let (mut alone, id) = starting(&[("a", "")], Port::Assigned);
    decide(&mut alone, HostLost::GoOn);
    lose(&mut alone, "a");
    rest(&mut alone);
    assert!(cause(&alone, id).contains("`a` is not reached"), "{}", cause(&alone, id));
}

#[test]
fn by_default_an_operation_that_goes_forward_is_taken_back_and_one_that_goes_back_goes_on() {
    let (stage, id) = one_of_three_lost(HostLost::GoBack);
    assert!(cause(&stage, id).contains("`c` is not reached"), "{}", cause(&stage, id));

    let mut stage = stage_with(&three(), Port::Assigned);
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    stage.run(PLACE, &scale(2), None);
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    stage.now = stage.now.plus_ms(LONG_MS);
    rest(&mut stage);
    stage.slow_starts = true;
    let id = stage.begin(PLACE, &back(), None);
    steps(&mut stage, 2);
    let coming = |it: &&lockstep_domain::Instance| it.state == InstanceState::Starting;
    let lost = stage.instances.iter().find(coming).and_then(|it| it.host.clone()).unwrap();
    for name in ["a", "b", "c"] {
        turn(&mut stage, name, Stance::Cordoned);
    }
    lose(&mut stage, lost.as_str());
    rest(&mut stage);
    assert!(phase(&stage, id).is_done(), "{:?}", phase(&stage, id));
    let begun = stage.log.iter().rev().find_map(|it| match &it.event {
        Event::WaveShifted { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let words = "goes on without what no host takes: 1 of 2 instances of orders@1.0.0 healthy";
    assert_eq!(begun.as_deref(), Some(words));
}

/// What happens while an operation is under way.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Steps,
    Lost(usize),
    Returns(usize),
    Evacuated(usize),
    Opened(usize),
    Finished,
    ServerKilled,
    Late,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => Just(Happens::Steps),
        2 => (0..3_usize).prop_map(Happens::Lost),
        2 => (0..3_usize).prop_map(Happens::Returns),
        1 => (0..3_usize).prop_map(Happens::Evacuated),
        1 => (0..3_usize).prop_map(Happens::Opened),
        2 => Just(Happens::Finished),
        1 => Just(Happens::ServerKilled),
        1 => Just(Happens::Late),
    ]
}

/// The server has died: it knows what is in the journal, and has forgotten what it told hosts that are not reached.
fn kill_server(stage: &mut Stage) {
    stage.world = World::default();
    stage.log.iter().for_each(|recorded| stage.world.fold(recorded).unwrap());
    stage.instances.retain(|it| it.host.is_some());
    for instance in stage.instances.iter_mut().filter(|it| it.state == InstanceState::Stopping) {
        instance.state = InstanceState::Healthy;
    }
}

fn happen(stage: &mut Stage, what: Happens) {
    let name = |n: usize| ["a", "b", "c"][n];
    match what {
        Happens::Steps => steps(stage, 3),
        Happens::Lost(n) => lose(stage, name(n)),
        Happens::Returns(n) => returns(stage, name(n)),
        Happens::Evacuated(n) => turn(stage, name(n), Stance::Draining),
        Happens::Opened(n) => turn(stage, name(n), Stance::Open),
        Happens::Finished => stage.finish_starts(),
        Happens::ServerKilled => kill_server(stage),
        Happens::Late => stage.now = stage.now.plus_ms(LONG_MS),
    }
    stage.step(PLACE);
}

/// Nothing runs twice on a fixed port of a host, as far as the host is reached.
fn assert_ports_are_single(stage: &Stage) {
    for name in ["a", "b", "c"].map(host).iter().filter(|it| !stage.away.contains(*it)) {
        let alive = stage.instances.iter().filter(|it| it.host.as_ref() == Some(name) && !it.state.is_over());
        assert!(alive.count() <= 1, "{name}: {:?}", stage.instances);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_on_the_way_it_ends_with_as_many_as_are_wanted_and_no_port_is_taken_twice(
        policy in prop::sample::select(vec![HostLost::GoBack, HostLost::Wait, HostLost::GoOn]),
        is_fixed in any::<bool>(),
        way in prop::collection::vec(happens(), 0..24),
    ) {
        let port = if is_fixed { Port::Fixed(7000) } else { Port::Assigned };
        let mut stage = stage_with(&three(), port);
        decide(&mut stage, policy);
        stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
        stage.slow_starts = true;
        let id = stage.begin(PLACE, &scale(2), None);
        for what in way {
            happen(&mut stage, what);
            if is_fixed {
                assert_ports_are_single(&stage);
            }
        }
        for name in ["a", "b", "c"] {
            returns(&mut stage, name);
            turn(&mut stage, name, Stance::Open);
        }
        for _ in 0..20 {
            rest(&mut stage);
            stage.now = stage.now.plus_ms(LONG_MS);
            stage.end_stopping();
        }
        prop_assert!(phase(&stage, id).is_settled(), "{:?}", phase(&stage, id));
        let wanted = stage.env(PLACE).replicas_of(&crate::simulation::service("orders"));
        let alive: Vec<_> = stage.instances.iter().filter(|it| !it.state.is_over()).collect();
        prop_assert_eq!(alive.len() as u32, wanted, "{:?}", alive);
        prop_assert!(alive.iter().all(|it| it.state.is_healthy()), "{:?}", alive);
    }
}
