//! Which instances run: as many as are wanted, the ones that are wanted, and no others.

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::intent::{ConfigChoice, Leaving};
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::KEEP_OVER_MS;
use lockstep_domain::run::{Port, ReplaceAfter};
use lockstep_domain::{Event, Instance, InstanceId, InstanceState, Intent, Timestamp};

fn running(replicas: u32) -> Stage {
    running_with(replicas, |_| {})
}

fn running_with(replicas: u32, change: impl Fn(&mut lockstep_domain::service::Version)) -> Stage {
    let mut stage = Stage::new();
    for version in ["orders@1.0.0", "orders@1.1.0", "orders@1.2.0"] {
        stage.release_with(version, &[], &change);
    }
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    if replicas > 1 {
        stage.run("staging", &scale(replicas), None);
    }
    stage
}

fn scale(replicas: u32) -> Intent {
    Intent::Scale { service: service("orders"), process: None, replicas }
}

fn back() -> Intent {
    Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    }
}

fn alive(stage: &Stage) -> Vec<String> {
    let alive = stage.instances.iter().filter(|instance| !instance.state.is_over());
    alive.map(|instance| instance.arm.to_string()).collect()
}

fn routed(stage: &Stage) -> Vec<InstanceId> {
    let table = stage.table("staging");
    let splits = &table.services[&service("orders")].splits;
    splits.iter().flat_map(|split| &split.endpoints).map(|endpoint| endpoint.instance.clone()).collect()
}

fn rest(stage: &mut Stage) {
    (0..10).for_each(|_| stage.step("staging"));
}

fn hang(stage: &mut Stage) -> InstanceId {
    let now = stage.now;
    let hung = stage.instances.iter_mut().find(|instance| instance.state.is_healthy()).unwrap();
    hung.state = InstanceState::Unhealthy { reason: "no answer".into() };
    hung.since = now;
    hung.id.clone()
}

#[test]
fn scaling_up_is_done_when_all_are_healthy_and_makes_no_baseline() {
    let stage = running(3);
    assert_eq!(alive(&stage), ["orders@1.0.0"; 3]);
    assert_eq!((routed(&stage).len(), stage.env("staging").baselines.current().number), (3, 1));
}

#[test]
fn scaling_down_takes_what_is_too_many_out_of_the_table_and_is_done_when_it_has_ended() {
    let mut stage = running(3);
    let id = stage.begin("staging", &scale(1), None);
    assert_eq!(routed(&stage).len(), 1, "the table has only those that stay");
    stage.slow_stops = true;
    (0..5).for_each(|_| stage.step("staging"));
    assert!(!stage.world.find_operation(id).unwrap().phase.is_settled(), "two are still ending");
    let states = |stage: &Stage, state| stage.instances.iter().filter(|i| i.state == state).count();
    assert_eq!(states(&stage, InstanceState::Stopping), 2);
    stage.end_stopping();
    stage.step("staging");
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { .. }));
    assert_eq!((alive(&stage).len(), states(&stage, InstanceState::Stopped)), (1, 2));
}

#[test]
fn a_scaling_down_whose_instance_hangs_in_the_kernel_is_done_all_the_same() {
    let mut stage = running(2);
    stage.slow_stops = true;
    let id = stage.begin("staging", &scale(1), None);
    rest(&mut stage);
    stage.now = stage.now.plus_ms(60_000);
    stage.step("staging");
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { .. }));
}

#[test]
fn an_instance_that_stays_unhealthy_is_replaced_by_one_that_is_healthy_first() {
    let mut stage = running(2);
    let hung = hang(&mut stage);
    rest(&mut stage);
    assert_eq!(stage.instances.len(), 2, "it may recover");
    stage.now = stage.now.plus_ms(60_000);
    stage.step("staging");
    assert_eq!(alive(&stage).len(), 3, "another is started beside it");
    rest(&mut stage);
    let left: Vec<_> = stage.instances.iter().filter(|i| !i.state.is_over()).map(|i| i.id.clone()).collect();
    assert!(left.len() == 2 && !left.contains(&hung), "{left:?}");
}

#[test]
fn of_several_hung_instances_one_is_replaced_at_a_time() {
    let mut stage = running(3);
    (0..3).for_each(|_| drop(hang(&mut stage)));
    stage.broken.push("orders@1.0.0".into());
    stage.now = stage.now.plus_ms(60_000);
    stage.step("staging");
    assert_eq!(stage.instances.len(), 4);
}

#[test]
fn a_manifest_can_forbid_that_a_hung_instance_is_replaced_and_scaling_up_still_ends() {
    let mut stage = running_with(1, |version| version.run.replace_after = ReplaceAfter::Never);
    hang(&mut stage);
    stage.now = stage.now.plus_ms(600_000);
    rest(&mut stage);
    assert_eq!(stage.instances.len(), 1);
    let id = stage.begin("staging", &scale(2), None);
    rest(&mut stage);
    assert!(!stage.world.find_operation(id).unwrap().phase.is_settled());
    stage.now = stage.now.plus_ms(120_000);
    rest(&mut stage);
    let phase = &stage.world.find_operation(id).unwrap().phase;
    let Phase::Reverted { cause, .. } = phase else { panic!("{phase:?}") };
    assert!(cause.contains("1 of 2 instances healthy") && cause.contains("no answer"), "{cause}");
    assert_eq!(stage.env("staging").replicas_of(&service("orders")), 1);
}

#[test]
fn a_hung_instance_with_a_fixed_port_leaves_before_another_comes() {
    let mut stage = running_with(1, |version| version.run.port = Port::Fixed(8080));
    let hung = hang(&mut stage);
    stage.now = stage.now.plus_ms(60_000);
    rest(&mut stage);
    let order: Vec<_> = stage.instances.iter().map(|i| (i.id == hung, i.state.clone())).collect();
    assert_eq!(order, [(true, InstanceState::Stopped), (false, InstanceState::Healthy)]);
    assert!(stage.log.iter().any(|recorded| matches!(&recorded.event,
        Event::InstanceDismissed { instance, reason, .. } if *instance == hung && reason.contains("no answer"))));
}

#[test]
fn restarting_replaces_every_instance_one_at_a_time_and_makes_no_baseline() {
    let mut stage = running(3);
    let before: Vec<_> = stage.instances.iter().map(|instance| instance.id.clone()).collect();
    let restart = Intent::Restart { service: service("orders"), instances: before.clone() };
    let id = stage.begin("staging", &restart, None);
    for _ in 0..100 {
        stage.step("staging");
        let healthy = stage.instances.iter().filter(|instance| instance.state.is_healthy()).count();
        assert!((3..=4).contains(&healthy), "healthy first, and one at a time: {healthy}");
    }
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { baseline: 1, .. }));
    let is_old = |instance: &&Instance| before.contains(&instance.id) && !instance.state.is_over();
    assert_eq!((alive(&stage).len(), stage.instances.iter().filter(is_old).count()), (3, 0));
}

#[test]
fn a_restart_whose_new_instance_fails_stops_there() {
    let mut stage = running(2);
    let instances: Vec<_> = stage.instances.iter().map(|instance| instance.id.clone()).collect();
    stage.broken.push("orders@1.0.0".into());
    let restart = Intent::Restart { service: service("orders"), instances: instances.clone() };
    let phase = stage.run("staging", &restart, None);
    assert!(matches!(phase, Phase::Reverted { .. }), "{phase:?}");
    let left = stage.instances.iter().filter(|instance| instance.state.is_healthy());
    assert_eq!(left.map(|instance| instance.id.clone()).collect::<Vec<_>>(), instances);
}

#[test]
fn going_forward_keeps_what_was_replaced_and_going_back_ends_what_was_left() {
    let mut stage = running(1);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    rest(&mut stage);
    assert_eq!(alive(&stage), ["orders@1.0.0", "orders@1.1.0"]);
    stage.run("staging", &back(), None);
    rest(&mut stage);
    assert_eq!(alive(&stage), ["orders@1.0.0"], "nothing of what was taken back goes on working");
    stage.run("staging", &Intent::Undo, None);
    rest(&mut stage);
    assert_eq!(alive(&stage), ["orders@1.1.0"]);
}

#[test]
fn what_is_removed_ends() {
    let mut stage = running(2);
    stage.run("staging", &Intent::Remove { services: vec![service("orders")] }, None);
    rest(&mut stage);
    assert_eq!(alive(&stage), [""; 0]);
}

#[test]
fn what_is_left_is_kept_when_somebody_asks_and_where_an_older_release_recorded_it() {
    let mut stage = running(1);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    let mut plan = stage.plan("staging", &back(), None).unwrap();
    assert_eq!(plan.leaving, Leaving::Ends);
    plan.leaving = Leaving::Warm;
    let text = serde_json::to_value(&plan).unwrap();
    assert!(text.get("leaving").is_none(), "as an older release wrote it");
    stage.begin_plan("staging", &back(), serde_json::from_value(text).unwrap());
    rest(&mut stage);
    assert_eq!(alive(&stage), ["orders@1.0.0", "orders@1.1.0"]);
}

#[test]
fn only_the_newest_arms_of_a_service_stay_warm() {
    let mut stage = running(1);
    for revision in 1..=30 {
        let value = lockstep_domain::intent::ConfigValue::Plain(revision.to_string());
        let set = [("GENERATION".to_owned(), value)].into();
        stage.run("staging", &Intent::Configure { service: service("orders"), set, unset: vec![] }, None);
    }
    rest(&mut stage);
    assert_eq!(alive(&stage), ["orders@1.0.0 (c28)", "orders@1.0.0 (c29)", "orders@1.0.0 (c30)"]);
}

#[test]
fn a_new_warm_time_holds_for_what_is_warm_now() {
    for (warm_ms, passed_ms, expected) in [(0, 0, 1), (120_000, 90_000, 2), (120_000, 120_000, 1)] {
        let mut stage = running(1);
        stage.run("staging", &deploy(&["orders@1.1.0"]), None);
        let mut settings = stage.env("staging").settings.clone();
        settings.warm_ms = warm_ms;
        let environment = crate::simulation::environment("staging");
        stage.record(Event::EnvironmentChanged { environment, settings });
        stage.now = Timestamp(stage.now.0 + passed_ms);
        rest(&mut stage);
        assert_eq!(alive(&stage).len(), expected, "{warm_ms} {passed_ms}");
    }
}

#[test]
fn a_dismissed_instance_leaves_the_table_at_once_and_another_takes_its_place() {
    let mut stage = running(2);
    let instance = stage.instances[0].id.clone();
    let environment = crate::simulation::environment("staging");
    stage.record(Event::InstanceDismissed { environment, instance: instance.clone(), reason: "odd".into() });
    assert!(!routed(&stage).contains(&instance));
    rest(&mut stage);
    assert_eq!(alive(&stage).len(), 2);
    assert!(stage.instances.iter().all(|i| i.id != instance || i.state == InstanceState::Stopped));
}

#[test]
fn of_the_instances_that_are_over_the_newest_of_each_service_are_shown_and_none_for_ever() {
    let mut stage = running(1);
    let sample = stage.instances[0].clone();
    for number in 0..20 {
        stage.now = stage.now.plus_ms(1_000);
        let (id, since) = (format!("orders-over-{number}").parse().unwrap(), stage.now);
        stage.instances.push(Instance { id, since, state: InstanceState::Stopped, ..sample.clone() });
    }
    rest(&mut stage);
    let over = |stage: &Stage| -> Vec<String> {
        let over = stage.instances.iter().filter(|instance| instance.state.is_over());
        over.map(|instance| instance.id.to_string()).collect()
    };
    assert_eq!(over(&stage), [15, 16, 17, 18, 19].map(|number| format!("orders-over-{number}")));
    stage.now = stage.now.plus_ms(KEEP_OVER_MS);
    rest(&mut stage);
    assert!(over(&stage).is_empty());
    assert_eq!(alive(&stage), ["orders@1.0.0"]);
}
