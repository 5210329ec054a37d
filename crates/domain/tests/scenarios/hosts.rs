//! Where instances run: spread over hosts, away from what is cordoned or not reached, and moved by draining without a gap.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::host::{HostSettings, Labels, Stance};
use lockstep_domain::operation::Phase;
use lockstep_domain::placement::{Placing, place, place_all};
use lockstep_domain::plan::Refusal;
use lockstep_domain::run::Port;
use lockstep_domain::{Arm, Event, HostName, Instance, InstanceId, Intent};
use proptest::prelude::*;

pub(crate) fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

pub(crate) fn settings(labels: &str) -> HostSettings {
    HostSettings {
        ssh: "deploy@10.0.0.5".parse().unwrap(),
        key: None,
        folder: None,
        address: "10.0.0.5".parse().unwrap(),
        network: lockstep_domain::host::Network::Trusted,
        labels: labels.parse::<Labels>().unwrap(),
        environments: BTreeSet::from([environment("staging")]),
        host_key: "ssh-ed25519 AAAA".to_owned(),
    }
}

pub(crate) fn add(stage: &mut Stage, name: &str, labels: &str) {
    stage.record(Event::HostAdded { host: host(name), settings: Box::new(settings(labels)) });
}

pub(crate) fn turn(stage: &mut Stage, name: &str, stance: Stance) {
    stage.record(Event::HostTurned { host: host(name), stance, reason: String::new() });
}

pub(crate) fn scale(replicas: u32) -> Intent {
    Intent::Scale { service: service("orders"), process: None, replicas }
}

pub(crate) fn stage_with(hosts: &[(&str, &str)], port: Port) -> Stage {
    let mut stage = Stage::new();
    hosts.iter().for_each(|(name, labels)| add(&mut stage, name, labels));
    for version in ["orders@1.0.0", "orders@1.1.0"] {
        stage.release_with(version, &[], |version| version.run.port = port);
    }
    stage
}

/// How many instances that are not over each host has.
pub(crate) fn by_host(instances: &[Instance]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for instance in instances.iter().filter(|instance| !instance.state.is_over()) {
        *counts.entry(instance.host.as_ref().map(ToString::to_string).unwrap_or_default()).or_default() += 1;
    }
    counts
}

pub(crate) fn counts(stage: &Stage) -> String {
    by_host(&stage.instances)
        .into_iter()
        .map(|(name, count)| format!("{name}:{count}"))
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn healthy(stage: &Stage) -> usize {
    stage.instances.iter().filter(|instance| instance.state.is_healthy()).count()
}

#[test]
fn an_environment_without_hosts_runs_where_the_server_is() {
    let mut stage = stage_with(&[], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    assert_eq!(counts(&stage), ":1");
}

#[test]
fn instances_are_spread_over_hosts_and_zones() {
    let hosts = [("a1", "zone=a"), ("a2", "zone=a"), ("b1", "zone=b")];
    let mut stage = stage_with(&hosts, Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &scale(2), None);
    assert_eq!(counts(&stage), "a1:1 b1:1", "the second one is in the other zone");
    stage.run("staging", &scale(3), None);
    assert_eq!(counts(&stage), "a1:1 a2:1 b1:1");
}

#[test]
fn nothing_starts_where_a_person_or_a_cable_is_in_the_way() {
    let mut stage = stage_with(&[("a", ""), ("b", ""), ("c", "")], Port::Assigned);
    turn(&mut stage, "a", Stance::Cordoned);
    stage.away.insert(host("b"));
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &scale(3), None);
    assert_eq!(counts(&stage), "c:3");
    turn(&mut stage, "c", Stance::Cordoned);
    let arm: Arm = stage.instances[0].arm.clone();
    let (world, environment) = (&stage.world, stage.env("staging"));
    let reached = BTreeSet::from([host("a"), host("c")]);
    let nowhere =
        place(Placing { world, environment, reached: &reached, mute: &BTreeSet::new(), running: &[] }, &arm)
            .unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "no host can take it: `a` is cordoned, `b` is not reached, `c` is cordoned"
    );
}

#[test]
fn what_starts_goes_where_a_gateway_serves_and_elsewhere_only_when_there_is_no_such_host() {
    let stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    let mut other = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    other.run("staging", &deploy(&["orders@1.0.0"]), None);
    let arm: Arm = other.instances[0].arm.clone();
    let (world, environment) = (&stage.world, stage.env("staging"));
    let reached = BTreeSet::from([host("a"), host("b")]);
    let place_all = |mute: &[&str]| {
        let mute: BTreeSet<_> = mute.iter().map(|name| host(name)).collect();
        let placing = Placing { world, environment, reached: &reached, mute: &mute, running: &[] };
        place_all(placing, &arm, 2)
    };
    assert_eq!(place_all(&[]), [host("a"), host("b")]);
    assert_eq!(place_all(&["a"]), [host("b"), host("b")]);
    assert_eq!(place_all(&["a", "b"]), [host("a"), host("b")]);
}

#[test]
fn what_listens_on_loopback_of_a_host_that_was_removed_is_in_no_table() {
    use lockstep_domain::between::is_stranded;
    use lockstep_domain::routes::{Endpoint, RouteTable, ServiceRoutes, Split};
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    let mut instance = stage.instances[0].clone();
    instance.host = Some(host("b"));
    instance.address = "127.0.0.1:20000".parse().ok();
    assert!(!is_stranded(&stage.world, &instance));
    stage.record(Event::HostRemoved { host: host("b"), left: Vec::new(), reason: String::new() });
    assert!(is_stranded(&stage.world, &instance));
    let elsewhere = Instance { address: "10.0.0.6:20000".parse().ok(), ..instance };
    assert!(!is_stranded(&stage.world, &elsewhere), "its address is nobody else's");

    let at = |id: &str| Endpoint::at(id.parse().unwrap(), "127.0.0.1:20000".parse().unwrap());
    let split = Split {
        leaving: vec![at("gone")],
        ..Split::of_all("1.0.0".parse().unwrap(), vec![at("gone"), at("here")])
    };
    let routes = ServiceRoutes::of(vec![split]);
    let table = RouteTable::to_one(environment("staging"), service("orders"), routes);
    let left = table.leaving_out(&BTreeSet::from(["gone".parse().unwrap()]));
    let split = &left.services[&service("orders")].splits[0];
    assert_eq!((&split.endpoints, split.leaving.len()), (&vec![at("here")], 0));
}

#[test]
fn clients_come_in_at_hosts_by_their_labels_and_the_last_one_is_known() {
    let host_settings = |labels: &str| settings(labels);
    use lockstep_domain::clients_at::{entrances, loses_last_edge};
    let mut stage = stage_with(&[("a", "role=edge"), ("b", "role=edge"), ("c", "role=app")], Port::Assigned);
    assert!(entrances(&stage.world, stage.env("staging")).is_empty());
    let mut settings = stage.env("staging").settings.clone();
    settings.clients_at = "hosts:role=edge".parse().unwrap();
    settings.gateway_port = 8500;
    settings.entry.https_port = Some(8443);
    stage.record(Event::EnvironmentChanged { environment: environment("staging"), settings });
    let at = |stage: &Stage| {
        let all = entrances(&stage.world, stage.env("staging")).into_iter();
        all.map(|it| format!("{} {}", it.host, it.urls.join(" "))).collect::<Vec<_>>()
    };
    let urls = "http://10.0.0.5:8500 https://10.0.0.5:8443";
    assert_eq!(at(&stage), [format!("a {urls}"), format!("b {urls}")]);

    let loses = |stage: &Stage, name: &str, after: Option<&str>| {
        let after = after.map(host_settings);
        loses_last_edge(&stage.world, &host(name), after.as_ref()).count() == 1
    };
    assert!(!loses(&stage, "a", None) && !loses(&stage, "c", None), "there is another one, and this is none");
    stage.record(Event::HostRemoved { host: host("b"), left: Vec::new(), reason: String::new() });
    assert!(loses(&stage, "a", None) && loses(&stage, "a", Some("role=app")));
    assert!(!loses(&stage, "a", Some("role=edge,zone=a")), "another label is none of its business");
    let elsewhere = HostSettings { environments: BTreeSet::new(), ..host_settings("role=edge") };
    assert_eq!(loses_last_edge(&stage.world, &host("a"), Some(&elsewhere)).count(), 1);
}

#[test]
fn a_fixed_port_is_taken_once_a_host() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Fixed(7000));
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    let arm: Arm = stage.instances[0].arm.clone();
    let (world, environment, reached) =
        (&stage.world, stage.env("staging"), BTreeSet::from([host("a"), host("b")]));
    let placing =
        Placing { world, environment, reached: &reached, mute: &BTreeSet::new(), running: &stage.instances };
    assert_eq!(place(placing, &arm), Ok(host("b")));
    assert_eq!(place_all(placing, &arm, 5), [host("b")], "the second one finds no port");
}

#[test]
fn draining_moves_every_instance_and_never_leaves_fewer() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &scale(4), None);
    assert_eq!(counts(&stage), "a:2 b:2");
    turn(&mut stage, "a", Stance::Draining);
    for _ in 0..40 {
        stage.step("staging");
        assert!(healthy(&stage) >= 4, "{}", counts(&stage));
    }
    assert_eq!(counts(&stage), "b:4");
    turn(&mut stage, "a", Stance::Open);
    (0..20).for_each(|_| stage.step("staging"));
    assert_eq!(counts(&stage), "b:4", "what runs is not moved to make it even");
}

#[test]
fn draining_leaves_no_gap_where_a_port_is_fixed_either() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Fixed(7000));
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    turn(&mut stage, "a", Stance::Draining);
    for _ in 0..20 {
        stage.step("staging");
        assert!(healthy(&stage) >= 1);
    }
    assert_eq!(counts(&stage), "b:1");
    turn(&mut stage, "b", Stance::Draining);
    (0..20).for_each(|_| stage.step("staging"));
    assert_eq!((healthy(&stage), counts(&stage)), (1, "b:1".to_owned()), "there is no other place");
}

#[test]
fn draining_the_only_host_ends_nothing() {
    let mut stage = stage_with(&[("a", "")], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    turn(&mut stage, "a", Stance::Draining);
    (0..200).for_each(|_| stage.step("staging"));
    assert_eq!(healthy(&stage), 1);
    add(&mut stage, "b", "");
    (0..20).for_each(|_| stage.step("staging"));
    assert_eq!(counts(&stage), "b:1", "it goes on when there is a place");
}

#[test]
fn what_only_the_machine_of_the_server_has_is_refused_on_hosts() {
    let mut stage = stage_with(&[("a", "")], Port::Assigned);
    stage.release_with("ledger@1.0.0", &[], |version| version.run.data = vec!["data".parse().unwrap()]);
    let refusals = stage.plan("staging", &deploy(&["ledger@1.0.0"]), None).unwrap_err();
    let found = refusals.iter().find(|refusal| matches!(refusal, Refusal::NotOnHosts { .. }));
    let text = found.expect("it is refused").to_string();
    assert!(text.starts_with("ledger@1.0.0 cannot run on the hosts of `staging`: it keeps data"), "{text}");
    assert!(stage.plan("development", &deploy(&["ledger@1.0.0"]), None).is_ok(), "that has no hosts");
}

#[test]
fn a_removed_environment_leaves_its_hosts() {
    let mut stage = stage_with(&[("a", "")], Port::Assigned);
    stage.record(Event::EnvironmentRemoved { environment: environment("staging"), reason: String::new() });
    assert!(stage.world.hosts[&host("a")].settings.environments.is_empty());
}

pub(crate) fn routed(stage: &Stage) -> Vec<String> {
    let table = stage.table("staging");
    let splits = &table.services[&service("orders")].splits;
    let endpoints = splits.iter().flat_map(|split| &split.endpoints);
    let host =
        |id: &InstanceId| stage.instances.iter().find(|it| it.id == *id).and_then(|it| it.host.clone());
    endpoints.filter_map(|endpoint| host(&endpoint.instance)).map(|host| host.to_string()).collect()
}

#[test]
fn what_is_kept_warm_on_a_drained_host_ends_and_nothing_waits_for_it() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    assert_eq!(counts(&stage), "a:1 b:1", "1.0.0 is warm on a");
    turn(&mut stage, "a", Stance::Draining);
    (0..10).for_each(|_| stage.step("staging"));
    assert_eq!(counts(&stage), "b:1");
}

#[test]
fn as_many_have_one_port_as_there_are_hosts() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Fixed(7000));
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &scale(2), None);
    assert_eq!(counts(&stage), "a:1 b:1");
    let refusals = stage.plan("staging", &scale(3), None).unwrap_err();
    assert!(matches!(refusals[..], [Refusal::FixedPort { .. }]), "{refusals:?}");
    turn(&mut stage, "b", Stance::Cordoned);
    assert!(stage.plan("staging", &scale(2), None).is_err(), "there is one host left to start on");
}

#[test]
fn a_host_that_is_away_gets_no_requests_while_others_serve_and_nothing_is_moved_by_itself() {
    let mut stage = stage_with(&[("a", ""), ("b", "")], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &scale(2), None);
    assert_eq!(routed(&stage), ["a", "b"]);
    stage.away.insert(host("b"));
    assert_eq!(routed(&stage), ["a"]);
    stage.now = stage.now.plus_ms(3_600_000);
    (0..20).for_each(|_| stage.step("staging"));
    assert_eq!(counts(&stage), "a:1 b:1", "moving it is a command");
    stage.away.insert(host("a"));
    assert_eq!(routed(&stage), ["a", "b"], "the line to all of them may be what is cut");
    stage.away.clear();
    assert_eq!(routed(&stage), ["a", "b"]);
}

#[test]
fn what_was_healthy_on_a_host_that_is_away_lets_no_operation_pass() {
    let mut stage = stage_with(&[("a", "")], Port::Assigned);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.away.insert(host("a"));
    let begun = stage.begin("staging", &deploy(&["orders@1.0.0"]), None);
    (0..50).for_each(|_| stage.step("staging"));
    let phase = stage.world.find_operation(begun).unwrap().phase.clone();
    assert!(matches!(phase, Phase::Preparing { .. }), "{phase:?}");
    stage.away.clear();
    (0..50).for_each(|_| stage.step("staging"));
    assert_eq!(stage.runs("staging"), "orders@1.0.0");
}

proptest! {
    #[test]
    fn from_nothing_no_host_has_two_more_than_another_of_its_zone(zones in prop::collection::vec(0..3_u8, 1..8), count in 0..30_u32) {
        let mut stage = Stage::new();
        for (n, zone) in zones.iter().enumerate() {
            add(&mut stage, &format!("h{n}"), &format!("zone=z{zone}"));
        }
        stage.release_with("orders@1.0.0", &[], |_| {});
        let arm = Arm {
            service: service("orders"),
            version: "1.0.0".parse().unwrap(),
            config: Default::default(),
            process: None,
        };
        let (world, environment) = (&stage.world, stage.env("staging"));
        let reached = world.hosts.keys().cloned().collect();
        let placing = Placing { world, environment, reached: &reached, mute: &BTreeSet::new(), running: &[] };
        let places = place_all(placing, &arm, count);
        prop_assert_eq!(places.len(), count as usize);
        let of = |name: &HostName| places.iter().filter(|place| *place == name).count();
        let all: Vec<usize> = world.hosts.keys().map(of).collect();
        let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{all:?}");
        prop_assert_eq!(places, place_all(placing, &arm, count), "two who look at the same say the same");
    }
}
