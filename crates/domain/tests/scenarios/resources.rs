//! Resources: what a plan lacks, what waits for what, and what runs for them, whatever is done in which order.

use crate::simulation::{Stage, deploy, environment};
use lockstep_domain::fault::Fault;
use lockstep_domain::job::{Job, When};
use lockstep_domain::name::ResourceName;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::Refusal;
use lockstep_domain::resource::needs::{AWAITED_MS, needed_by};
use lockstep_domain::resource::{Origin, ResourceKind, ResourceNeed};
use lockstep_domain::{Event, InstanceState, Intent, OperationId};
use proptest::prelude::{any, prop_assert, proptest};

const PLACE: &str = "staging";

fn stage() -> Stage {
    let mut stage = Stage::new();
    for version in ["web@1.0.0", "web@1.1.0"] {
        stage.release_with(version, &[], |version| {
            let need = ResourceNeed { kind: ResourceKind::Postgresql };
            version.resources.insert("db".parse().unwrap(), need);
            let (name, command) = ("migrate".parse().unwrap(), vec!["./job".to_owned()]);
            let (variables, timeout_ms) = ([].into(), 60_000);
            version.jobs.push(Job {
                limits: lockstep_domain::limits::Limits::default(),
                name,
                when: When::BeforeSwitch,
                schedule: None,
                command,
                variables,
                timeout_ms,
            });
        });
    }
    stage.release_with("idle@1.0.0", &[], |_| {});
    stage
}

fn set(stage: &mut Stage, kind: ResourceKind, here: bool) {
    let secret = "ab".to_owned();
    let origin = if here { Origin::Here { secret, port: 20_001 } } else { Origin::Elsewhere { secret } };
    let (environment, resource) = (environment(PLACE), "db".parse().unwrap());
    stage.record(Event::ResourceSet { environment, resource, kind, origin, reason: String::new() });
}

fn remove(stage: &mut Stage) {
    let (environment, resource) = (environment(PLACE), "db".parse().unwrap());
    stage.record(Event::ResourceRemoved { environment, resource, reason: String::new() });
}

fn become_(stage: &mut Stage, state: &InstanceState) {
    let now = stage.now;
    for process in stage.resources.iter_mut().filter(|process| !process.state.is_over()) {
        (process.state, process.since) = (state.clone(), now);
    }
}

/// Lets so many looks pass; jobs end well as soon as they run.
fn steps(stage: &mut Stage, count: u32) {
    for _ in 0..count {
        stage.step(PLACE);
        stage.end_stopping();
        stage.jobs.iter_mut().for_each(|run| run.state = InstanceState::Completed);
    }
}

fn phase(stage: &Stage, id: OperationId) -> Phase {
    stage.world.find_operation(id).unwrap().phase.clone()
}

#[test]
fn a_version_goes_only_where_what_it_needs_is_there_and_of_its_kind() {
    let mut stage = stage();
    let refused = |stage: &Stage| stage.plan(PLACE, &deploy(&["web@1.0.0"]), None).unwrap_err();
    let Refusal::NoResource { found: None, .. } = &refused(&stage)[..][0] else { panic!() };
    let hint = refused(&stage)[0].hint().unwrap();
    assert!(hint.contains("lockstep resource add db --kind postgresql --env staging"), "{hint}");
    set(&mut stage, ResourceKind::Redis, false);
    let Refusal::NoResource { found: Some(ResourceKind::Redis), .. } = &refused(&stage)[0] else { panic!() };
    set(&mut stage, ResourceKind::Postgresql, false);
    assert!(stage.plan(PLACE, &deploy(&["web@1.0.0"]), None).is_ok());
    assert!(stage.plan("production", &deploy(&["web@1.0.0"]), None).is_err());
    assert!(stage.plan(PLACE, &deploy(&["idle@1.0.0"]), None).is_ok());
}

#[test]
fn nothing_is_started_before_what_runs_here_is_healthy_and_the_operation_says_what_it_waits_for() {
    let mut stage = stage();
    set(&mut stage, ResourceKind::Postgresql, true);
    let id = stage.begin(PLACE, &deploy(&["web@1.0.0"]), None);
    steps(&mut stage, 500);
    assert!(stage.instances.is_empty() && stage.jobs.is_empty());
    let said = stage.world.find_operation(id).unwrap().waits.clone().unwrap();
    assert_eq!(said.missing, "resource `db`, which is starting");
    let awaited = stage.log.iter().filter(|it| matches!(it.event, Event::ResourceAwaited { .. })).count();
    assert_eq!(awaited, 1, "it is said once");
    become_(&mut stage, &InstanceState::Healthy);
    steps(&mut stage, 20);
    assert!(phase(&stage, id).is_done());
    assert_eq!((stage.runs(PLACE).as_str(), stage.jobs.len()), ("web@1.0.0", 1));
}

#[test]
fn a_resource_that_never_answers_takes_the_operation_back_and_blames_nobody() {
    let mut stage = stage();
    set(&mut stage, ResourceKind::Postgresql, true);
    let id = stage.begin(PLACE, &deploy(&["web@1.0.0"]), None);
    steps(&mut stage, 2);
    become_(&mut stage, &InstanceState::Unhealthy { reason: "57P03\nand more".into() });
    steps(&mut stage, u32::try_from(AWAITED_MS / 10 + 20).unwrap());
    let Phase::Reverted { cause, blamed, .. } = phase(&stage, id) else { panic!("{:?}", phase(&stage, id)) };
    assert_eq!(cause, "it waited 10 min in vain: resource `db`: 57P03");
    assert!(blamed.is_empty() && stage.env(PLACE).holds.is_empty() && stage.instances.is_empty());
}

#[test]
fn what_waited_long_has_all_its_time_left_and_one_that_fails_meanwhile_still_takes_it_back() {
    let mut stage = stage();
    set(&mut stage, ResourceKind::Postgresql, true);
    stage.broken.push("web@1.0.0".into());
    let id = stage.begin(PLACE, &deploy(&["web@1.0.0"]), None);
    steps(&mut stage, 40_000);
    assert!(matches!(phase(&stage, id), Phase::Preparing { .. }));
    become_(&mut stage, &InstanceState::Healthy);
    let came = stage.now;
    steps(&mut stage, 1);
    let Phase::Preparing { since, .. } = phase(&stage, id) else { panic!() };
    assert!(since >= came);
    steps(&mut stage, 100);
    assert!(matches!(phase(&stage, id), Phase::Reverted { .. }));
}

#[test]
fn what_runs_goes_on_without_its_database_and_is_not_replaced_before_that_is_back() {
    let mut stage = stage();
    set(&mut stage, ResourceKind::Postgresql, true);
    steps(&mut stage, 1);
    become_(&mut stage, &InstanceState::Healthy);
    let id = stage.begin(PLACE, &deploy(&["web@1.0.0"]), None);
    steps(&mut stage, 30);
    assert!(phase(&stage, id).is_done());
    become_(&mut stage, &InstanceState::Unhealthy { reason: "gone".into() });
    steps(&mut stage, 30);
    assert!(stage.instances.iter().all(|it| it.state.is_healthy()), "what runs is left alone");
    stage.instances.iter_mut().for_each(|it| it.state = InstanceState::failed("no database", Fault::Crash));
    steps(&mut stage, 30);
    assert_eq!(stage.instances.iter().filter(|it| !it.state.is_over()).count(), 0);
    become_(&mut stage, &InstanceState::Healthy);
    steps(&mut stage, 30);
    assert_eq!(stage.instances.iter().filter(|it| it.state.is_healthy()).count(), 1);
}

#[test]
fn what_needs_it_is_named_and_what_is_warm_ends_with_it() {
    let mut stage = stage();
    set(&mut stage, ResourceKind::Postgresql, false);
    for version in ["web@1.0.0", "web@1.1.0"] {
        let id = stage.begin(PLACE, &deploy(&[version]), None);
        steps(&mut stage, 30);
        assert!(phase(&stage, id).is_done());
    }
    let needed = needed_by(&stage.world, stage.env(PLACE), &"db".parse().unwrap());
    assert_eq!(needed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["web@1.1.0"]);
    assert_eq!(stage.env(PLACE).warm.len(), 1);
    remove(&mut stage);
    assert!(stage.env(PLACE).warm.is_empty() && stage.env(PLACE).resources.is_empty());
    let back = Intent::Undo;
    let refusals = stage.plan(PLACE, &back, None).unwrap_err();
    assert!(matches!(&refusals[0], Refusal::NoResource { .. }), "{refusals:?}");
}

#[test]
fn one_that_fails_is_started_again_after_growing_pauses() {
    let mut stage = stage();
    set(&mut stage, ResourceKind::Postgresql, true);
    let mut starts = Vec::new();
    for _ in 0..20_000 {
        let before = stage.resources.iter().filter(|it| !it.state.is_over()).count();
        steps(&mut stage, 1);
        if stage.resources.iter().filter(|it| !it.state.is_over()).count() > before {
            starts.push(stage.now.0 / 1_000);
            become_(&mut stage, &InstanceState::failed("no such program", Fault::Host));
        }
    }
    let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses[0] == 5 && pauses.len() >= 4, "{pauses:?}");
}

proptest! {
    /// The simulated host panics when two of a resource are started; see there.
    #[test]
    fn there_are_never_two_and_in_the_end_what_is_wanted_runs(changes in proptest::collection::vec(any::<(u8, u8)>(), 1..30)) {
        let mut stage = stage();
        stage.slow_stops = true;
        for (what, looks) in changes {
            let has = stage.env(PLACE).resources.contains_key(&"db".parse::<ResourceName>().unwrap());
            match what % 6 {
                0 if has => remove(&mut stage),
                0 | 1 => set(&mut stage, ResourceKind::Postgresql, true),
                2 => set(&mut stage, ResourceKind::Redis, false),
                3 => become_(&mut stage, &InstanceState::Healthy),
                4 => become_(&mut stage, &InstanceState::failed("died", Fault::Crash)),
                _ => stage.resources.iter_mut().filter(|it| it.state == InstanceState::Stopping).for_each(|it| it.state = InstanceState::Stopped),
            }
            for _ in 0..looks % 4 {
                stage.step(PLACE);
            }
        }
        // Longer than any pause.
        for _ in 0..4 {
            stage.now = stage.now.plus_ms(6 * 60_000);
            stage.step(PLACE);
            for process in stage.resources.iter_mut().filter(|it| it.state == InstanceState::Stopping) {
                process.state = InstanceState::Stopped;
            }
        }
        let runs = stage.resources.iter().filter(|it| !it.state.is_over()).count();
        let wanted = stage.env(PLACE).resources.values().filter(|it| it.runs_here()).count();
        prop_assert!(runs == wanted, "{runs} run, {wanted} are wanted");
    }
}
