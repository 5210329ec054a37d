//! Processes: programs of one version that run beside each other and move together, each with its own count.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::name::ProcessName;
use lockstep_domain::operation::Phase;
use lockstep_domain::run::{Kind, Port, Replace, RunSpec};
use lockstep_domain::service::Version;
use lockstep_domain::{Arm, Intent, OperationId, Strategy};
use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

const PLACE: &str = "staging";

fn process(name: &str) -> ProcessName {
    name.parse().unwrap()
}

fn worker(of: &RunSpec, replace: Replace) -> RunSpec {
    let mut run = of.clone();
    run.kind = Kind::Worker;
    run.replace = replace;
    run.health.probe = Kind::Worker.usual_probe();
    run
}

/// Releases a version whose main process is of a kind, with workers beside it.
fn release(stage: &mut Stage, version: &str, main: Kind, workers: &[(&str, Replace)]) {
    stage.release_with(version, &[], |version| {
        let others = workers.iter().map(|(name, replace)| (process(name), worker(&version.run, *replace)));
        version.processes.others = others.collect();
        if main.is_web() {
            version.processes.main = Some(process("web"));
        }
        version.run.kind = main;
        version.run.replace = main.usual_replace();
    });
}

/// Two versions of a shop that takes requests and has a worker.
fn stage(replace: Replace) -> Stage {
    let mut stage = Stage::new();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        release(&mut stage, version, Kind::Web, &[("worker", replace)]);
    }
    assert!(matches!(settle(&mut stage, &deploy(&["shop@1.0.0"]), None).0, Phase::Done { .. }));
    stage.slow_stops = true;
    stage
}

/// How many instances of each process of each version have not ended.
fn alive(stage: &Stage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for it in stage.instances.iter().filter(|it| !it.state.is_over()) {
        let process = it.arm.process.as_ref().map_or("main", ProcessName::as_str);
        *counts.entry(format!("{process} {}", it.arm.version)).or_default() += 1;
    }
    counts
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
}

fn turn(stage: &mut Stage) {
    stage.step(PLACE);
    stage.end_stopping();
}

fn phase(stage: &Stage, id: OperationId) -> Phase {
    stage.world.find_operation(id).unwrap().phase.clone()
}

/// Lets everything happen until an operation is over, and tells what ran in the meantime.
fn settle(
    stage: &mut Stage,
    intent: &Intent,
    strategy: Option<&Strategy>,
) -> (Phase, Vec<BTreeMap<String, usize>>) {
    let id = stage.begin(PLACE, intent, strategy);
    let mut seen = vec![alive(stage)];
    for round in 0..2_000 {
        turn(stage);
        seen.push(alive(stage));
        seen.dedup();
        if phase(stage, id).is_settled() {
            return (phase(stage, id), seen);
        }
        if round % 10 == 9 {
            stage.now = stage.now.plus_ms(60_000);
        }
    }
    panic!("it does not settle: {:?}", phase(stage, id));
}

fn is_at_step(stage: &Stage, id: OperationId, wanted: usize) -> bool {
    matches!(phase(stage, id), Phase::Shifted { step, .. } if step == wanted)
}

#[test]
fn requests_move_by_shares_and_the_worker_follows_in_the_last_step() {
    let mut stage = stage(Replace::OldFirst);
    let id = stage.begin(PLACE, &deploy(&["shop@1.1.0"]), Some(&Strategy::canary(&[10, 100], 200)));
    let plan = &stage.world.find_operation(id).unwrap().plan;
    assert_eq!(plan.steps_of(0).len(), 2, "a worker takes no canary from the requests");
    while !is_at_step(&stage, id, 0) {
        turn(&mut stage);
    }
    turn(&mut stage);
    assert_eq!(alive(&stage), counts(&[("main 1.0.0", 1), ("main 1.1.0", 1), ("worker 1.0.0", 1)]));
    let mut seen = Vec::new();
    while !phase(&stage, id).is_settled() {
        turn(&mut stage);
        seen.push(alive(&stage));
    }
    assert!(phase(&stage, id).is_done());
    let workers = |counts: &BTreeMap<String, usize>| counts.keys().filter(|it| it.contains("worker")).count();
    assert!(seen.iter().all(|counts| workers(counts) <= 1), "{seen:?}");
    assert_eq!(alive(&stage), counts(&[("main 1.0.0", 1), ("main 1.1.0", 1), ("worker 1.1.0", 1)]));
    assert!(stage.env(PLACE).warm.keys().all(|arm| arm.process.is_none()), "{:?}", stage.env(PLACE).warm);
}

#[test]
fn going_back_is_a_change_of_routes_and_the_worker_goes_back_with_it() {
    let mut stage = stage(Replace::OldFirst);
    assert!(settle(&mut stage, &deploy(&["shop@1.1.0"]), None).0.is_done());
    let (phase, seen) = settle(&mut stage, &Intent::Undo, None);
    assert!(phase.is_done());
    assert!(seen.iter().all(|counts| counts.get("main 1.0.0") == Some(&1)), "it was warm: {seen:?}");
    (0..50).for_each(|_| turn(&mut stage));
    assert_eq!(alive(&stage), counts(&[("main 1.0.0", 1), ("worker 1.0.0", 1)]));
}

#[test]
fn a_worker_that_fails_takes_requests_and_work_back() {
    let mut stage = stage(Replace::OldFirst);
    stage.broken.push("shop@1.1.0 worker".into());
    let canary = Strategy::canary(&[10, 100], 200);
    let (phase, _) = settle(&mut stage, &deploy(&["shop@1.1.0"]), Some(&canary));
    let Phase::Reverted { cause, .. } = &phase else { panic!("{phase:?}") };
    assert!(cause.contains("shop@1.1.0 worker failed: never answered its health check"), "{cause}");
    (0..50).for_each(|_| turn(&mut stage));
    assert_eq!(alive(&stage), counts(&[("main 1.0.0", 1), ("worker 1.0.0", 1)]));
    let held: Vec<_> = stage.env(PLACE).holds.keys().map(ToString::to_string).collect();
    assert_eq!(held, ["shop@1.1.0"]);
}

#[test]
fn a_first_deploy_is_over_only_when_every_process_is_healthy() {
    let mut stage = Stage::new();
    release(&mut stage, "shop@1.0.0", Kind::Web, &[("worker", Replace::OldFirst)]);
    stage.broken.push("shop@1.0.0 worker".into());
    let (phase, _) = settle(&mut stage, &deploy(&["shop@1.0.0"]), None);
    let Phase::Reverted { cause, .. } = &phase else { panic!("{phase:?}") };
    assert!(cause.contains("shop@1.0.0 worker did not become healthy"), "{cause}");
}

#[test]
fn a_crash_of_the_worker_in_the_last_step_is_judged_against_the_old_one() {
    let mut stage = stage(Replace::OldFirst);
    let id = stage.begin(PLACE, &deploy(&["shop@1.1.0"]), Some(&Strategy::canary(&[100], 60_000)));
    while !alive(&stage).contains_key("worker 1.1.0") {
        turn(&mut stage);
    }
    stage.instances.last_mut().unwrap().restarts = 1;
    while !phase(&stage, id).is_settled() {
        turn(&mut stage);
    }
    let Phase::Reverted { cause, .. } = phase(&stage, id) else { panic!("{:?}", phase(&stage, id)) };
    assert!(cause.contains("instances of shop@1.1.0 worker ended by themselves (restarts: 1)"), "{cause}");
}

#[test]
fn each_process_has_its_own_count() {
    let mut stage = stage(Replace::SideBySide);
    let scale = |process: Option<&str>, replicas| Intent::Scale {
        service: service("shop"),
        process: process.map(|name| name.parse().unwrap()),
        replicas,
    };
    assert!(settle(&mut stage, &scale(Some("worker"), 4), None).0.is_done());
    assert!(settle(&mut stage, &scale(Some("web"), 2), None).0.is_done());
    assert_eq!(alive(&stage), counts(&[("main 1.0.0", 2), ("worker 1.0.0", 4)]));
    let (phase, seen) =
        settle(&mut stage, &deploy(&["shop@1.1.0"]), Some(&Strategy::canary(&[50, 100], 60_000)));
    assert!(phase.is_done());
    let half = [("worker 1.0.0".to_owned(), 2), ("worker 1.1.0".to_owned(), 2)];
    assert!(seen.iter().any(|counts| half.iter().all(|(what, n)| counts.get(what) == Some(n))), "{seen:?}");
    assert_eq!(alive(&stage).get("worker 1.1.0"), Some(&4));
    let refusals = stage.plan(PLACE, &scale(Some("wrker"), 2), None).unwrap_err();
    assert_eq!(refusals[0].to_string(), "shop@1.1.0 has no process `wrker`");
    assert_eq!(refusals[0].hint().unwrap(), "name one with --process: web, worker");
}

#[test]
fn a_service_of_nothing_but_workers_runs_them() {
    let mut stage = Stage::new();
    for version in ["jobs@1.0.0", "jobs@1.1.0"] {
        release(&mut stage, version, Kind::Job, &[("mail", Replace::OldFirst), ("clock", Replace::OldFirst)]);
    }
    assert!(settle(&mut stage, &deploy(&["jobs@1.0.0"]), None).0.is_done());
    assert_eq!(alive(&stage), counts(&[("clock 1.0.0", 1), ("mail 1.0.0", 1)]));
    stage.slow_stops = true;
    let canary = Strategy::canary(&[10, 100], 200);
    let (phase, seen) = settle(&mut stage, &deploy(&["jobs@1.1.0"]), Some(&canary));
    assert!(phase.is_done());
    for name in ["mail", "clock"] {
        let of = |counts: &BTreeMap<String, usize>| counts.keys().filter(|it| it.starts_with(name)).count();
        assert!(seen.iter().all(|counts| of(counts) <= 1), "{seen:?}");
    }
    assert_eq!(alive(&stage), counts(&[("clock 1.1.0", 1), ("mail 1.1.0", 1)]));
    assert!(stage.table(PLACE).services.is_empty());
    let unnamed = Intent::Scale { service: service("jobs"), process: None, replicas: 2 };
    let refusals = stage.plan(PLACE, &unnamed, None).unwrap_err();
    assert_eq!(refusals[0].to_string(), "jobs@1.1.0 has no main process");
}

#[test]
fn two_that_listen_on_one_port_are_refused_whichever_process_does() {
    let mut stage = Stage::new();
    release(&mut stage, "shop@1.0.0", Kind::Web, &[("worker", Replace::OldFirst)]);
    stage.release_with("mail@1.0.0", &[], |version| version.run.port = Port::Fixed(9_000));
    stage.release_with("shop@1.1.0", &[], |version| {
        let mut run = worker(&version.run, Replace::OldFirst);
        run.port = Port::Fixed(9_000);
        version.processes.others = [(process("worker"), run)].into();
    });
    stage.run(PLACE, &deploy(&["shop@1.0.0", "mail@1.0.0"]), None);
    let refusals = stage.plan(PLACE, &deploy(&["shop@1.1.0"]), None).unwrap_err();
    let words =
        "`shop@1.1.0` always listens on port 9000, and so does `mail@1.0.0` in `staging` on the same host";
    assert_eq!(refusals[0].to_string(), words);
}

/// What a version may consist of.
fn shape() -> impl proptest::strategy::Strategy<Value = (Kind, BTreeSet<&'static str>)> {
    let main = prop_oneof![3 => Just(Kind::Web), 1 => Just(Kind::Worker), 1 => Just(Kind::Job)];
    (main, proptest::collection::btree_set(prop_oneof![Just("mail"), Just("clock")], 0..3))
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Turn,
    Deploys(u8),
    Undoes,
    Breaks(u8),
    Mends,
    Scales(u8),
    Minutes,
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    prop_oneof![
        12 => Just(Happens::Turn),
        3 => (0_u8..3).prop_map(Happens::Deploys),
        1 => Just(Happens::Undoes),
        1 => (0_u8..3).prop_map(Happens::Breaks),
        1 => Just(Happens::Mends),
        1 => (1_u8..4).prop_map(Happens::Scales),
        2 => Just(Happens::Minutes),
    ]
}

fn apply(stage: &mut Stage, what: Happens) {
    let canary = Strategy::canary(&[25, 50, 100], 20_000);
    let mut ask = |intent: &Intent| {
        if let Ok(plan) = stage.plan(PLACE, intent, Some(&canary)) {
            stage.begin_plan(PLACE, intent, plan);
        }
    };
    let scale = |process| Intent::Scale { service: service("shop"), process: Some(process), replicas: 2 };
    match what {
        Happens::Turn => turn(stage),
        Happens::Deploys(which) => ask(&deploy(&[&format!("shop@1.{which}.0")])),
        Happens::Undoes => ask(&Intent::Undo),
        Happens::Scales(1) => ask(&scale(process("mail"))),
        Happens::Scales(_) => ask(&scale(process("clock"))),
        Happens::Breaks(which) => stage.broken.push(format!("shop@1.{which}.0 mail")),
        Happens::Mends => stage.broken.clear(),
        Happens::Minutes => stage.now = stage.now.plus_ms(61_000),
    }
}

/// Pairs of what works of two versions at once and may be the same work: of one name, or each without a counterpart.
fn twice(stage: &Stage) -> Vec<String> {
    let run = |arm: &Arm| {
        let version = stage.world.version(&arm.version_ref()).unwrap();
        (version.clone(), version.run_of(arm.process.as_ref()).unwrap().kind)
    };
    let alive: Vec<_> = stage.instances.iter().filter(|it| !it.state.is_over()).map(|it| &it.arm).collect();
    let pairs = alive.iter().flat_map(|one| alive.iter().map(move |other| (*one, *other)));
    let is_twice = |(one, other): &(&Arm, &Arm)| {
        let ((first, kind), (second, theirs)) = (run(one), run(other));
        let has = |version: &Version, process: &Option<ProcessName>, kind: Kind| {
            version.standing().any(|(name, run)| name == process.as_ref() && run.kind == kind)
        };
        let same = one.process == other.process && kind == theirs;
        let lone = !has(&second, &one.process, kind) && !has(&first, &other.process, theirs);
        one.version < other.version && (same || lone) && !(kind.is_web() && theirs.is_web())
    };
    pairs.filter(is_twice).map(|(one, other)| format!("{one} and {other}")).collect()
}

proptest! {
    #[test]
    fn whatever_becomes_of_the_processes_no_work_is_done_by_two_versions_and_all_of_one_runs_in_the_end(
        shapes in proptest::collection::vec(shape(), 3),
        story in proptest::collection::vec(happens(), 1..60),
    ) {
        let mut stage = Stage::new();
        for (index, (main, workers)) in shapes.iter().enumerate() {
            let workers: Vec<_> = workers.iter().map(|name| (*name, Replace::OldFirst)).collect();
            let main = if workers.is_empty() { Kind::Web } else { *main };
            let version = format!("shop@1.{index}.0");
            release(&mut stage, &version, main, &workers);
        }
        stage.slow_stops = true;
        for what in story {
            apply(&mut stage, what);
            prop_assert_eq!(twice(&stage), Vec::<String>::new());
            prop_assert!(stage.env(PLACE).warm.keys().all(|arm| arm.process.is_none()));
        }
        stage.broken.clear();
        for _ in 0..400 {
            turn(&mut stage);
            stage.now = stage.now.plus_ms(5_000);
        }
        prop_assert!(stage.env(PLACE).under_way().next().is_none());
        let environment = stage.env(PLACE);
        let mut wanted = BTreeMap::new();
        for (name, entry) in environment.entries() {
            let version = stage.world.find_version(name, &entry.version).unwrap();
            for (process, _) in version.standing() {
                let what = format!("{} {}", process.map_or("main", ProcessName::as_str), entry.version);
                wanted.insert(what, environment.count(name, process) as usize);
            }
        }
        prop_assert_eq!(alive(&stage), wanted);
    }
}
