//! Workers: whoever runs works, so which versions run at the same time is what their manifests say.

use std::collections::BTreeMap;

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::operation::{Phase, Readiness};
use lockstep_domain::run::{Kind, Replace, Values};
use lockstep_domain::ways_back::{self, Host};
use lockstep_domain::{Event, Intent, OperationId, Strategy};
use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

const PLACE: &str = "staging";

/// Three versions of a worker, and two of a service beside it.
fn stage(replace: Replace) -> Stage {
    let mut stage = Stage::new();
    for version in ["web@1.0.0", "web@1.1.0", "web@1.2.0"] {
        stage.release_with(version, &[("pay", "*")], |version| {
            version.run.kind = Kind::Worker;
            version.run.replace = replace;
            version.run.health.probe = Kind::Worker.usual_probe();
        });
    }
    stage.release("pay@1.0.0", &[]);
    stage.release("pay@1.1.0", &[]);
    stage.run(PLACE, &deploy(&["pay@1.0.0", "web@1.0.0"]), None);
    stage.slow_stops = true;
    stage
}

/// How many instances of each version of the worker have not ended.
fn at_work(stage: &Stage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let web = stage.instances.iter().filter(|it| it.arm.service == service("web") && !it.state.is_over());
    web.for_each(|it| *counts.entry(it.arm.version.to_string()).or_default() += 1);
    counts
}

fn works(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(version, count)| ((*version).to_owned(), *count)).collect()
}

/// Lets everything happen until an operation is over, and tells what worked in the meantime, without what was the same as before.
fn settle(
    stage: &mut Stage,
    intent: &Intent,
    strategy: Option<&Strategy>,
) -> (Phase, Vec<BTreeMap<String, usize>>) {
    let id = stage.begin(PLACE, intent, strategy);
    let mut seen = vec![at_work(stage)];
    for _ in 0..2_000 {
        turn(stage);
        seen.push(at_work(stage));
        seen.dedup();
        if phase(stage, id).is_settled() {
            return (phase(stage, id), seen);
        }
    }
    panic!("it does not settle: {:?}", phase(stage, id));
}

fn turn(stage: &mut Stage) {
    stage.step(PLACE);
    stage.end_stopping();
}

fn phase(stage: &Stage, id: OperationId) -> Phase {
    stage.world.find_operation(id).unwrap().phase.clone()
}

fn scale(stage: &mut Stage, replicas: u32) {
    let (phase, _) = settle(stage, &Intent::Scale { service: service("web"), process: None, replicas }, None);
    assert!(phase.is_done());
}

#[test]
fn usually_the_old_one_has_ended_before_the_new_one_starts_and_nothing_is_kept_warm() {
    let mut stage = stage(Replace::OldFirst);
    let canary = Strategy::canary(&[10, 100], 200);
    let (phase, seen) = settle(&mut stage, &deploy(&["web@1.1.0"]), Some(&canary));
    assert!(phase.is_done(), "{phase:?}");
    assert_eq!(seen, [works(&[("1.0.0", 1)]), works(&[]), works(&[("1.1.0", 1)])]);
    assert!(stage.env(PLACE).warm.is_empty());
    let to = Intent::RollBackEnvironment { to: 1, config: ConfigChoice::AsItRan };
    assert!(settle(&mut stage, &to, None).0.is_done());
    assert_eq!(stage.runs(PLACE), "pay@1.0.0 web@1.0.0");
}

#[test]
fn one_that_ends_first_takes_no_canary_from_others() {
    let stage = stage(Replace::OldFirst);
    let canary = Strategy::canary(&[10, 100], 200);
    let plan = stage.plan(PLACE, &deploy(&["pay@1.1.0", "web@1.1.0"]), Some(&canary)).unwrap();
    let waves: Vec<Vec<_>> =
        plan.waves.iter().map(|wave| wave.iter().map(|part| part.service.as_str()).collect()).collect();
    assert_eq!(waves, [["pay"], ["web"]]);
    assert_eq!((plan.steps_of(0).len(), plan.steps_of(1).len()), (2, 1));
    assert_eq!(plan.steps_of(1)[0].bake_ms, 200, "it is watched once it has taken over");
}

#[test]
fn one_that_ends_first_waits_for_all_that_can_be_shared() {
    let mut stage = stage(Replace::OldFirst);
    for version in ["shop@1.0.0", "shop@1.1.0"] {
        stage.release(version, &[("pay", "*")]);
    }
    stage.release_with("mail@1.0.0", &[], |version| version.run.replace = Replace::OldFirst);
    stage.release_with("mail@1.1.0", &[], |version| version.run.replace = Replace::OldFirst);
    stage.run(PLACE, &deploy(&["shop@1.0.0", "mail@1.0.0"]), None);
    let all = deploy(&["pay@1.1.0", "shop@1.1.0", "mail@1.1.0", "web@1.1.0"]);
    let plan = stage.plan(PLACE, &all, None).unwrap();
    let waves: Vec<Vec<_>> =
        plan.waves.iter().map(|wave| wave.iter().map(|part| part.service.as_str()).collect()).collect();
    assert_eq!(waves, [vec!["pay"], vec!["shop"], vec!["mail", "web"]]);
}

#[test]
fn one_that_ends_by_design_passes_between_two_starts_where_the_old_one_did_so_as_well() {
    let mut stage = stage(Replace::NewFirst);
    stage.instances.iter_mut().for_each(|it| it.restarts = 3);
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), Some(&Strategy::canary(&[100], 200)));
    while !matches!(phase(&stage, id), Phase::Shifted { .. }) {
        turn(&mut stage);
    }
    let new = stage.instances.last_mut().unwrap();
    new.restarts = 1;
    new.state = lockstep_domain::InstanceState::Unhealthy { reason: "it is started again".into() };
    for _ in 0..5 {
        turn(&mut stage);
    }
    assert!(matches!(phase(&stage, id), Phase::Shifted { .. }), "{:?}", phase(&stage, id));
}

#[test]
fn one_that_crashes_while_it_is_watched_is_taken_back() {
    let mut stage = stage(Replace::OldFirst);
    let id = stage.begin(PLACE, &deploy(&["web@1.1.0"]), Some(&Strategy::canary(&[10, 100], 60_000)));
    while !matches!(phase(&stage, id), Phase::Shifted { .. }) {
        turn(&mut stage);
    }
    stage.instances.last_mut().unwrap().restarts = 1;
    while !phase(&stage, id).is_settled() {
        turn(&mut stage);
    }
    assert!(matches!(phase(&stage, id), Phase::Reverted { .. }));
    assert_eq!(at_work(&stage), works(&[("1.0.0", 1)]));
    let operation = stage.world.find_operation(id).unwrap();
    let told = format!("{:?}", operation.phase);
    assert!(
        told.contains("instances of web@1.1.0 ended by themselves (restarts: 1), those of web@1.0.0 did not"),
        "{told}"
    );
}

#[test]
fn with_new_first_both_work_only_until_the_new_one_is_healthy() {
    let mut stage = stage(Replace::NewFirst);
    scale(&mut stage, 2);
    let canary = Strategy::canary(&[10, 100], 60_000);
    let (phase, seen) = settle_with_time(&mut stage, &deploy(&["web@1.1.0"]), &canary);
    assert!(phase.is_done(), "{phase:?}");
    assert_eq!(seen, [works(&[("1.0.0", 2)]), works(&[("1.0.0", 2), ("1.1.0", 2)]), works(&[("1.1.0", 2)])]);
    assert!(stage.env(PLACE).warm.is_empty());
}

#[test]
fn with_new_first_a_bad_one_never_ends_the_old_one() {
    let mut stage = stage(Replace::NewFirst);
    stage.broken.push("web@1.1.0".into());
    let (phase, seen) = settle(&mut stage, &deploy(&["web@1.1.0"]), None);
    assert!(matches!(phase, Phase::Reverted { .. }), "{phase:?}");
    assert!(seen.iter().all(|counts| counts.get("1.0.0") == Some(&1)), "{seen:?}");
}

/// As [`settle`], with long times: whatever waits for time goes on at once.
fn settle_with_time(
    stage: &mut Stage,
    intent: &Intent,
    strategy: &Strategy,
) -> (Phase, Vec<BTreeMap<String, usize>>) {
    let id = stage.begin(PLACE, intent, Some(strategy));
    let mut seen = vec![at_work(stage)];
    for round in 0..2_000 {
        turn(stage);
        seen.push(at_work(stage));
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

#[test]
fn side_by_side_a_share_of_the_instances_is_of_the_new_version() {
    let mut stage = stage(Replace::SideBySide);
    scale(&mut stage, 4);
    let canary = Strategy::canary(&[10, 50, 100], 60_000);
    let (phase, seen) = settle_with_time(&mut stage, &deploy(&["web@1.1.0"]), &canary);
    assert!(phase.is_done(), "{phase:?}");
    let of = |old, new| works(&[("1.0.0", old), ("1.1.0", new)]);
    let stands = [works(&[("1.0.0", 4)]), of(3, 1), of(2, 2), works(&[("1.1.0", 4)])];
    let mut steady = seen.iter().filter(|counts| stands.contains(counts));
    assert!(stands.iter().all(|counts| steady.next() == Some(counts)), "{seen:?}");
    let most = seen.iter().map(|counts| counts.values().sum::<usize>()).max();
    assert!(most <= Some(6), "{seen:?}");
}

#[test]
fn side_by_side_one_instance_has_one_of_the_new_version_beside_it() {
    let mut stage = stage(Replace::SideBySide);
    let canary = Strategy::canary(&[10, 100], 60_000);
    let (phase, seen) = settle_with_time(&mut stage, &deploy(&["web@1.1.0"]), &canary);
    assert!(phase.is_done(), "{phase:?}");
    assert_eq!(seen, [works(&[("1.0.0", 1)]), works(&[("1.0.0", 1), ("1.1.0", 1)]), works(&[("1.1.0", 1)])]);
}

#[test]
fn a_third_version_waits_for_the_end_of_what_was_taken_back() {
    for replace in [Replace::NewFirst, Replace::SideBySide] {
        let mut stage = stage(replace);
        let canary = Strategy::canary(&[10, 100], 60_000);
        let first = stage.begin(PLACE, &deploy(&["web@1.1.0"]), Some(&canary));
        while !at_work(&stage).contains_key("1.1.0") {
            turn(&mut stage);
        }
        let found = stage.env(PLACE).under_way().find(|it| it.id == first).cloned().unwrap();
        stage.record(lockstep_domain::reconcile::revert(
            &found,
            lockstep_domain::fault::Cause::of_nobody("no"),
        ));
        // What was told to end takes its time.
        (0..20).for_each(|_| stage.step(PLACE));
        assert!(phase(&stage, first).is_settled(), "{:?}", phase(&stage, first));
        let second = stage.begin(PLACE, &deploy(&["web@1.2.0"]), Some(&canary));
        (0..20).for_each(|_| stage.step(PLACE));
        assert_eq!(at_work(&stage), works(&[("1.0.0", 1), ("1.1.0", 1)]), "{replace:?}");
        turn(&mut stage);
        while !phase(&stage, second).is_settled() {
            turn(&mut stage);
            stage.now = stage.now.plus_ms(5_000);
        }
        assert!(phase(&stage, second).is_done(), "{:?}", phase(&stage, second));
        assert_eq!(at_work(&stage), works(&[("1.2.0", 1)]));
    }
}

#[test]
fn a_worker_that_left_the_baseline_does_not_go_on_working() {
    for replace in [Replace::OldFirst, Replace::NewFirst, Replace::SideBySide] {
        let mut stage = stage(replace);
        let remove = Intent::Remove { services: vec![service("web")] };
        assert!(settle(&mut stage, &remove, None).0.is_done());
        assert!(stage.env(PLACE).warm.is_empty(), "{:?}", stage.env(PLACE).warm);
        (0..20).for_each(|_| turn(&mut stage));
        assert_eq!(at_work(&stage), works(&[]));
    }
}

#[test]
fn a_worker_is_in_no_table() {
    let stage = stage(Replace::SideBySide);
    let services: Vec<_> = stage.table(PLACE).services.keys().map(ToString::to_string).collect();
    assert_eq!(services, ["pay"]);
}

#[test]
fn what_becomes_a_worker_ends_first_whatever_it_says() {
    let mut stage = stage(Replace::NewFirst);
    stage.release("web@2.0.0", &[]);
    assert!(settle(&mut stage, &deploy(&["web@2.0.0"]), None).0.is_done());
    stage.release("desk@1.0.0", &[("web", "*")]);
    assert!(settle(&mut stage, &deploy(&["desk@1.0.0"]), None).0.is_done());
    let plan = stage.plan(PLACE, &deploy(&["web@1.2.0"]), None).unwrap();
    let words = "`web` becomes a worker, which nobody can call: desk@1.0.0 requires it";
    assert!(plan.warnings.iter().any(|warning| warning == words), "{:?}", plan.warnings);
    let (phase, seen) = settle(&mut stage, &deploy(&["web@1.2.0"]), Some(&Strategy::canary(&[10, 100], 200)));
    assert!(phase.is_done());
    assert!(seen.iter().all(|counts| counts.len() <= 1), "{seen:?}");
}

#[test]
fn who_refers_to_the_address_of_a_worker_is_refused_whichever_of_them_changes() {
    let mut stage = Stage::new();
    stage.release("queue@1.0.0", &[]);
    stage.release_with("queue@2.0.0", &[], |version| version.run.kind = Kind::Worker);
    stage.release_with("web@1.0.0", &[("queue", "*")], |version| {
        version.run.variables.insert("QUEUE".into(), "${service.queue.url}/jobs".into());
        version.run.values = Values::Filled;
    });
    stage.release("web@1.1.0", &[("queue", "*")]);
    stage.release_with("web@1.2.0", &[("queue", "*")], |version| {
        version.requires.values_mut().for_each(|required| required.port = Some(9000));
    });
    let refusals = |stage: &Stage, versions: &[&str]| match stage.plan(PLACE, &deploy(versions), None) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
    };
    let words =
        "web@1.0.0 refers to `${service.queue.url}`, and queue@2.0.0 is a worker, which nobody can call";
    assert_eq!(refusals(&stage, &["queue@2.0.0", "web@1.0.0"]), [words]);
    assert!(refusals(&stage, &["queue@2.0.0", "web@1.1.0"]).is_empty());
    let at_its_port = words.replace("1.0.0 refers", "1.2.0 refers").replace(".url", ".port");
    assert_eq!(refusals(&stage, &["queue@2.0.0", "web@1.2.0"]), [at_its_port]);
    stage.run(PLACE, &deploy(&["queue@1.0.0", "web@1.0.0"]), None);
    assert_eq!(refusals(&stage, &["queue@2.0.0"]), [words]);
    let set = [("Q".to_owned(), lockstep_domain::intent::ConfigValue::Filled("${service.queue.url}".into()))];
    stage.run(PLACE, &deploy(&["queue@2.0.0", "web@1.1.0"]), None);
    let configure = Intent::Configure { service: service("web"), set: set.into(), unset: Vec::new() };
    assert!(stage.plan(PLACE, &configure, None).is_err());
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Turn,
    Deploys(u8),
    Undoes,
    Breaks(u8),
    Mends,
    Crashes,
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
        1 => Just(Happens::Crashes),
        1 => (1_u8..5).prop_map(Happens::Scales),
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
    match what {
        Happens::Turn => turn(stage),
        Happens::Deploys(which) => ask(&deploy(&[&format!("web@1.{which}.0")])),
        Happens::Undoes => ask(&Intent::Undo),
        Happens::Scales(replicas) => {
            ask(&Intent::Scale { service: service("web"), process: None, replicas: u32::from(replicas) });
        }
        Happens::Breaks(which) => stage.broken.push(format!("web@1.{which}.0")),
        Happens::Mends => stage.broken.clear(),
        Happens::Crashes => {
            stage.instances.iter_mut().filter(|it| it.state.is_healthy()).for_each(|it| it.restarts += 1);
        }
        Happens::Minutes => stage.now = stage.now.plus_ms(61_000),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_wanted_number_of_one_version_works_in_the_end(
        replace in prop_oneof![Just(Replace::OldFirst), Just(Replace::NewFirst), Just(Replace::SideBySide)],
        story in proptest::collection::vec(happens(), 1..60),
    ) {
        let mut stage = stage(replace);
        for what in story {
            apply(&mut stage, what);
            let counts = at_work(&stage);
            prop_assert!(counts.len() <= if replace == Replace::OldFirst { 1 } else { 2 }, "{counts:?}");
            prop_assert!(stage.env(PLACE).warm.keys().all(|arm| arm.service != service("web")));
        }
        stage.broken.clear();
        for _ in 0..400 {
            turn(&mut stage);
            stage.now = stage.now.plus_ms(5_000);
        }
        prop_assert!(stage.env(PLACE).under_way().next().is_none());
        let counts = at_work(&stage);
        let entry = stage.env(PLACE).entries().get(&service("web"));
        let replicas = stage.env(PLACE).replicas_of(&service("web")) as usize;
        let wanted = entry.map(|entry| (entry.version.to_string(), replicas));
        prop_assert_eq!(counts, wanted.into_iter().collect());
    }
}

#[test]
fn what_is_left_is_kept_prepared_for_as_long_as_others_are_warm_and_says_how_it_starts() {
    let mut stage = stage(Replace::OldFirst);
    assert!(settle(&mut stage, &deploy(&["web@1.1.0"]), None).0.is_done());
    let back = Intent::RollBackService {
        service: service("web"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::default(),
    };
    let planned = |stage: &Stage, unprepared: Option<&str>| {
        let mut plan = stage.plan(PLACE, &back, None).unwrap();
        plan.see(|_| false);
        plan.note_starts(&stage.world, stage.env(PLACE), stage.now, |_| unprepared.map(str::to_owned));
        let part = plan.moves().next().unwrap().clone();
        (part.readiness, part.start.map(|start| start.to_string()).unwrap_or_default())
    };
    let never =
        "once web 1.1.0 has ended (at most 10 s): how long web@1.0.0 takes to start was never measured";
    assert_eq!(planned(&stage, None), (Readiness::Prepared, never.to_owned()));
    let arm = stage.env(PLACE).prepared.keys().next().unwrap().clone();
    for ms in [900, 5_000, 2_100, 2_000, 2_200, 1] {
        let place = stage.env(PLACE).name.clone();
        stage.record(Event::StartMeasured { environment: place, arm: arm.clone(), ms });
    }
    let measured = "back in about 3 s once web 1.1.0 has ended (at most 10 s): web 1.0.0 starts in 2.1 s (measured 5 times)";
    assert_eq!(planned(&stage, None), (Readiness::Prepared, measured.to_owned()));
    let lost = planned(&stage, Some("its artifact is gone"));
    assert_eq!((lost.0, &lost.1[..30]), (Readiness::Cold, "not prepared, it is unpacked f"));
    stage.skip(stage.env(PLACE).settings.warm_ms * 2);
    assert_eq!(planned(&stage, None).0, Readiness::Prepared, "time that was skipped did not pass");
    stage.now = stage.now.plus_ms(stage.env(PLACE).settings.warm_ms + 1);
    assert_eq!(planned(&stage, None), (Readiness::Cold, String::new()));
}

#[test]
fn what_was_gone_back_from_is_not_kept_prepared() {
    let mut stage = stage(Replace::OldFirst);
    assert!(settle(&mut stage, &deploy(&["web@1.1.0"]), None).0.is_done());
    assert!(settle(&mut stage, &Intent::Undo, None).0.is_done());
    assert!(stage.env(PLACE).prepared.is_empty(), "{:?}", stage.env(PLACE).prepared);
}

#[test]
fn what_is_not_in_the_store_cannot_be_gone_back_to_and_no_time_is_promised() {
    let mut stage = stage(Replace::OldFirst);
    assert!(settle(&mut stage, &deploy(&["web@1.1.0"]), None).0.is_done());
    let way = |has_artifact: bool| {
        let host =
            Host { is_ready: &|_| false, unprepared: &|_| Some(None), has_artifact: &|_| has_artifact };
        let ways = ways_back::of_service(&stage.world, stage.env(PLACE), &service("web"), &host);
        ways.into_iter().next().unwrap()
    };
    assert!(way(true).refused.is_none() && way(true).start.is_some());
    let lost = way(false);
    assert_eq!(lost.refused.as_deref(), Some("the artifact of `web@1.0.0` is not in the blob store"));
    assert_eq!(lost.start, None, "no time is promised");
    let host = Host { is_ready: &|_| false, unprepared: &|_| None, has_artifact: &|_| true };
    let ways = ways_back::of_service(&stage.world, stage.env(PLACE), &service("web"), &host);
    let start = ways[0].start.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(start.starts_with("not prepared, it is unpacked first if needed: the warm time"), "{start}");
    assert_eq!(ways[0].readiness, Readiness::Cold);
}
