//! Which hosts versions want by their labels, and moving what runs to where it should be.

use std::collections::{BTreeMap, BTreeSet};

use crate::hosts::{add, counts, healthy, host, scale, settings, stage_with, turn};
use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::host::Stance;
use lockstep_domain::host_wish::HostWish;
use lockstep_domain::operation::Phase;
use lockstep_domain::placement::{Placing, Unfit, misplaced, place, place_all};
use lockstep_domain::plan::Refusal;
use lockstep_domain::rebalance::{Relocation, relocations};
use lockstep_domain::run::{Port, Replace};
use lockstep_domain::{Arm, Event, HostName, Instance, InstanceState, Intent, OperationId, Timestamp, World};
use proptest::prelude::*;

const PLACE: &str = "staging";

fn wish(require: &[&str], avoid: &[&str]) -> HostWish {
    let read = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
    HostWish { require: read(require), avoid: read(avoid) }
}

/// Hosts with labels, and a version that says which it wants.
fn stage_wanting(hosts: &[(&str, &str)], wanted: &HostWish, port: Port) -> Stage {
    let mut stage = Stage::new();
    hosts.iter().for_each(|(name, labels)| add(&mut stage, name, labels));
    stage.release_with("orders@1.0.0", &[], |version| {
        version.run.port = port;
        version.run.hosts = wanted.clone();
    });
    stage
}

fn run(stage: &mut Stage, replicas: u32) {
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    if replicas > 1 {
        stage.run(PLACE, &scale(replicas), None);
    }
}

fn label(stage: &mut Stage, name: &str, labels: &str) {
    let event =
        Event::HostChanged { host: host(name), settings: Box::new(settings(labels)), reason: String::new() };
    stage.record(event);
}

/// What somebody who asks for it is told.
fn wanted_moves(stage: &Stage) -> Vec<Relocation> {
    let reached: BTreeSet<HostName> =
        stage.world.hosts.keys().filter(|name| !stage.away.contains(*name)).cloned().collect();
    let (world, environment) = (&stage.world, stage.env(PLACE));
    let placing =
        Placing { world, environment, reached: &reached, mute: &BTreeSet::new(), running: &stage.instances };
    let standing: Vec<_> = stage.instances.iter().filter(|it| it.state.is_healthy()).cloned().collect();
    relocations(placing, &standing)
}

fn begin(stage: &mut Stage) -> OperationId {
    let moves = wanted_moves(stage);
    stage.begin(PLACE, &Intent::Rebalance { moves }, None)
}

fn whys(moves: &[Relocation]) -> Vec<String> {
    moves.iter().map(|it| format!("{} -> {}: {}", it.from, it.to, it.why)).collect()
}

#[test]
fn what_is_required_is_a_must_and_what_is_avoided_is_taken_where_nothing_else_is() {
    let hosts = [("a", "role=web"), ("b", "role=db"), ("c", "role=web,disk=slow"), ("d", "role=api")];
    let wanted = wish(&["role=web", "role=api"], &["disk=slow"]);
    let mut stage = stage_wanting(&hosts, &wanted, Port::Assigned);
    run(&mut stage, 4);
    assert_eq!(counts(&stage), "a:2 d:2", "none on b, which must not, nor on c, which is avoided");
    let mut stage = stage_wanting(&hosts, &wanted, Port::Fixed(7000));
    run(&mut stage, 3);
    assert_eq!(counts(&stage), "a:1 c:1 d:1", "c takes what no other can");
}

#[test]
fn where_no_host_has_the_label_it_is_said_by_name() {
    let stage = stage_wanting(&[("a", "role=db"), ("b", "")], &wish(&["role=web"], &[]), Port::Assigned);
    let (world, environment) = (&stage.world, stage.env(PLACE));
    let reached = world.hosts.keys().cloned().collect();
    let placing = Placing { world, environment, reached: &reached, mute: &BTreeSet::new(), running: &[] };
    let arm = Arm {
        service: service("orders"),
        version: "1.0.0".parse().unwrap(),
        config: Default::default(),
        process: None,
    };
    let nowhere = place(placing, &arm).unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "no host can take it: `a` lacks the label role=web, `b` lacks the label role=web"
    );
    assert!(nowhere.hosts.iter().all(|(_, why)| *why != Unfit::Away), "no waiting helps");
}

#[test]
fn labels_that_change_later_move_nothing_by_themselves_and_are_said() {
    let mut stage =
        stage_wanting(&[("a", "role=web"), ("b", "role=web")], &wish(&["role=web"], &[]), Port::Fixed(7000));
    run(&mut stage, 1);
    label(&mut stage, "a", "role=db");
    (0..50).for_each(|_| stage.step(PLACE));
    assert_eq!(counts(&stage), "a:1");
    let found = misplaced(&stage.world, &stage.instances);
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().ends_with(" is on a, which lacks the label role=web"), "{}", found[0]);
    assert_eq!(whys(&wanted_moves(&stage)), ["a -> b: a lacks the label role=web"]);
    let id = begin(&mut stage);
    for _ in 0..40 {
        stage.step(PLACE);
        assert!(healthy(&stage) >= 1, "without a gap, also where the port is fixed");
    }
    assert!(stage.world.find_operation(id).unwrap().phase.is_done());
    assert_eq!(counts(&stage), "b:1");
    assert_eq!(wanted_moves(&stage), []);
}

#[test]
fn a_new_host_is_given_its_share_by_the_fewest_moves() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    run(&mut stage, 6);
    assert_eq!((counts(&stage).as_str(), wanted_moves(&stage).len()), ("a:3 b:3", 0));
    add(&mut stage, "c", "");
    let moves = wanted_moves(&stage);
    assert_eq!(
        whys(&moves),
        ["b -> c: b has 3 of orders@1.0.0, and c has 0", "a -> c: a has 3 of orders@1.0.0, and c has 1"]
    );
    let id = begin(&mut stage);
    for _ in 0..80 {
        stage.step(PLACE);
        assert!(healthy(&stage) >= 6, "{}", counts(&stage));
        assert!(stage.instances.iter().filter(|it| !it.state.is_over()).count() <= 7, "one at a time");
    }
    assert!(stage.world.find_operation(id).unwrap().phase.is_done());
    assert_eq!(counts(&stage), "a:2 b:2 c:2");
    assert_eq!(
        stage.plan(PLACE, &Intent::Rebalance { moves: wanted_moves(&stage) }, None).unwrap_err().len(),
        1
    );
}

#[test]
fn zones_are_made_even_and_what_must_not_run_twice_moves_only_from_where_it_must_not_be() {
    let mut stage = stage_with(&[("a1", "zone=a"), ("a2", "zone=a")], Port::Assigned);
    run(&mut stage, 2);
    add(&mut stage, "b1", "zone=b");
    assert_eq!(whys(&wanted_moves(&stage)), ["a2 -> b1: its zone has more of it than another one"]);

    let mut stage = stage_with(&[("a", "")], Port::Assigned);
    stage.release_with("orders@2.0.0", &[], |version| {
        version.run.replace = Replace::OldFirst;
        version.run.hosts = wish(&["role=web"], &[]);
    });
    label(&mut stage, "a", "role=web");
    stage.run(PLACE, &deploy(&["orders@2.0.0"]), None);
    stage.run(PLACE, &scale(2), None);
    add(&mut stage, "b", "role=web");
    assert_eq!(wanted_moves(&stage), [], "it would have a gap");
    label(&mut stage, "a", "");
    assert_eq!(wanted_moves(&stage).len(), 2);
}

#[test]
fn nothing_moves_where_a_person_drains_or_nobody_looks() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    run(&mut stage, 4);
    add(&mut stage, "c", "");
    stage.away.extend([host("a"), host("b")]);
    assert_eq!(wanted_moves(&stage), []);
    stage.away.clear();
    turn(&mut stage, "c", Stance::Cordoned);
    assert_eq!(wanted_moves(&stage), []);
}

fn by_host(stage: &Stage) -> BTreeMap<HostName, usize> {
    let mut counts: BTreeMap<HostName, usize> =
        stage.world.hosts.keys().map(|name| (name.clone(), 0)).collect();
    for instance in stage.instances.iter().filter(|it| !it.state.is_over()) {
        *counts.get_mut(instance.host.as_ref().unwrap()).unwrap() += 1;
    }
    counts
}

#[test]
fn a_rebalancing_that_dies_at_any_step_ends_in_the_same_state() {
    let begun = || {
        let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
        run(&mut stage, 6);
        add(&mut stage, "c", "");
        add(&mut stage, "d", "");
        let id = begin(&mut stage);
        (stage, id)
    };
    let (mut whole, id) = begun();
    (0..200).for_each(|_| whole.step(PLACE));
    let end: BTreeSet<usize> = by_host(&whole).into_values().collect();
    assert_eq!(end, BTreeSet::from([1, 2]), "{}", counts(&whole));
    for steps in 0..30 {
        let (mut stage, _) = begun();
        (0..steps).for_each(|_| stage.step(PLACE));
        stage.world = World::default();
        stage.log.iter().for_each(|recorded| stage.world.fold(recorded).unwrap());
        (0..200).for_each(|_| stage.step(PLACE));
        let phase = &stage.world.find_operation(id).unwrap().phase;
        assert!(matches!(phase, Phase::Done { .. }), "{steps}: {phase:?}");
        let ended: BTreeSet<usize> = by_host(&stage).into_values().collect();
        assert_eq!((ended, healthy(&stage)), (end.clone(), 6), "{steps}: {}", counts(&stage));
    }
}

#[test]
fn a_service_is_not_moved_by_two_at_once() {
    let mut stage = stage_with(&[("a", "")], Port::Assigned);
    run(&mut stage, 2);
    add(&mut stage, "b", "");
    let moves = wanted_moves(&stage);
    begin(&mut stage);
    let again = stage.plan(PLACE, &Intent::Rebalance { moves }, None).unwrap_err();
    assert!(matches!(again[..], [Refusal::GoesThere { .. }]), "{again:?}");
    let refused = stage.plan(PLACE, &scale(3), None).unwrap_err();
    assert!(matches!(refused[..], [Refusal::Busy { .. }]), "{refused:?}");
    let removed = Event::EnvironmentChanged {
        environment: environment(PLACE),
        settings: stage.env(PLACE).settings.clone(),
    };
    stage.record(removed);
    (0..40).for_each(|_| stage.step(PLACE));
    assert_eq!(counts(&stage), "a:1 b:1");
}

prop_compose! {
    fn labelled()(hosts in prop::collection::vec((0..3_u8, 0..3_u8, any::<bool>()), 1..6)) -> Vec<String> {
        let text = |(zone, role, slow): (u8, u8, bool)| {
            format!("zone=z{zone},role=r{role}{}", if slow { ",disk=slow" } else { "" })
        };
        hosts.into_iter().map(text).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_leaves_hosts_as_even_as_they_were_in_whichever_order_the_old_ones_end(replicas in 2..9_u32, ages in prop::collection::vec(0..1_000_u64, 9)) {
        let mut stage = stage_with(&[("a", ""), ("b", ""), ("c", "")], Port::Assigned);
        run(&mut stage, replicas);
        // The newest ends first.
        for (instance, age) in stage.instances.iter_mut().zip(&ages) {
            instance.since = Timestamp(1_000 + age);
        }
        let instances = stage.instances.iter().filter(|it| it.state.is_healthy()).map(|it| it.id.clone()).collect();
        let restart = Intent::Restart { service: service("orders"), instances };
        prop_assert!(stage.run(PLACE, &restart, None).is_done());
        (0..20).for_each(|_| stage.step(PLACE));
        let counts = by_host(&stage);
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        prop_assert!(most - least <= 1, "{counts:?}");
    }

    #[test]
    fn nothing_is_placed_where_it_must_not_be_and_avoided_hosts_come_last(hosts in labelled(), count in 0..12_u32, is_fixed in any::<bool>()) {
        let wanted = wish(&["role=r0", "role=r1"], &["disk=slow"]);
        let port = if is_fixed { Port::Fixed(7000) } else { Port::Assigned };
        let names: Vec<_> = (0..hosts.len()).map(|n| format!("h{n}")).collect();
        let all: Vec<_> = names.iter().zip(&hosts).map(|(name, labels)| (name.as_str(), labels.as_str())).collect();
        let stage = stage_wanting(&all, &wanted, port);
        let arm = Arm { service: service("orders"), version: "1.0.0".parse().unwrap(), config: Default::default(), process: None };
        let (world, environment) = (&stage.world, stage.env(PLACE));
        let reached = world.hosts.keys().cloned().collect();
        let placing = Placing { world, environment, reached: &reached, mute: &BTreeSet::new(), running: &[] };
        let places = place_all(placing, &arm, count);
        let labels = |name: &HostName| &world.hosts[name].settings.labels;
        prop_assert!(places.iter().all(|name| wanted.lacking(labels(name)).is_none()));
        let fit: Vec<_> = world.hosts.keys().filter(|name| wanted.lacking(labels(name)).is_none()).collect();
        let good = fit.iter().filter(|name| wanted.avoided(labels(name)).count() == 0).count();
        let avoided = places.iter().filter(|name| wanted.avoided(labels(name)).count() > 0).count();
        let expected = match (is_fixed, good) {
            (true, good) => (count as usize).min(fit.len()).saturating_sub(good),
            (false, 0) => if fit.is_empty() { 0 } else { count as usize },
            (false, _) => 0,
        };
        prop_assert_eq!(avoided, expected);
        prop_assert_eq!(places, place_all(placing, &arm, count), "two who look at the same say the same");
    }

    #[test]
    fn rebalancing_mends_all_that_can_be_mended_and_moves_nothing_else(hosts in labelled(), at in prop::collection::vec(0..6_usize, 0..10)) {
        let wanted = wish(&["role=r0"], &["disk=slow"]);
        let names: Vec<_> = (0..hosts.len()).map(|n| format!("h{n}")).collect();
        let all: Vec<_> = names.iter().zip(&hosts).map(|(name, labels)| (name.as_str(), labels.as_str())).collect();
        let mut stage = stage_wanting(&all, &wanted, Port::Assigned);
        let arm = Arm { service: service("orders"), version: "1.0.0".parse().unwrap(), config: Default::default(), process: None };
        let instance = |(n, at): (usize, &usize)| Instance {
            id: format!("orders-1.0.0-{n}").parse().unwrap(),
            environment: environment(PLACE),
            arm: arm.clone(),
            state: InstanceState::Healthy,
            address: None,
            since: Timestamp(n as u64),
            restarts: 0,
            job: None,
            resource: None,
            host: Some(host(&names[at % names.len()])),
        };
        stage.instances = at.iter().enumerate().map(instance).collect();
        let moves = wanted_moves(&stage);
        prop_assert_eq!(&moves, &wanted_moves(&stage), "two who look at the same say the same");
        for moved in &moves {
            let instance = stage.instances.iter_mut().find(|it| it.id == moved.instance).unwrap();
            prop_assert_eq!(instance.host.as_ref(), Some(&moved.from));
            prop_assert!(wanted.lacking(&stage.world.hosts[&moved.to].settings.labels).is_none());
            instance.host = Some(moved.to.clone());
        }
        let mut ids: Vec<_> = moves.iter().map(|it| &it.instance).collect();
        ids.dedup();
        prop_assert_eq!(ids.len(), moves.len(), "none moves twice");
        prop_assert_eq!(wanted_moves(&stage), Vec::new(), "nothing is left to be moved");
        let is_fit = stage.world.hosts.values().any(|it| wanted.lacking(&it.settings.labels).is_none());
        prop_assert!(!is_fit || misplaced(&stage.world, &stage.instances).is_empty());
    }
}
