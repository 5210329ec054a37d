//! How long what is replaced has for the requests that it has begun.

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::drain::drain_ms;
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::{Look, next_look};
use lockstep_domain::routes::{Affinity, Patience, RouteRule};
use lockstep_domain::run::Port;
use lockstep_domain::{Arm, ConfigRevision, Event, InstanceState, Intent, OperationId, VersionRef};

fn limits(routes: &[Patience]) -> Stage {
    let mut stage = Stage::new();
    stage.release_with("orders@1.0.0", &[], |version| {
        let rule = |patience: &Patience| RouteRule {
            path: "/orders".into(),
            patience: Some(*patience),
            ..RouteRule::default()
        };
        version.routes = routes.iter().map(rule).collect();
    });
    stage
}

#[test]
fn a_route_that_limits_the_whole_of_a_request_needs_no_more_for_what_it_began() {
    let asked = |text: &str| {
        let mut stage = Stage::new();
        stage.release_with("orders@1.0.0", &[], |version| {
            version.routes =
                vec![RouteRule { policy: Some(serde_json::from_str(text).unwrap()), ..RouteRule::default() }];
        });
        drain(&stage)
    };
    assert_eq!(asked(r#"{"timeouts":{"idle_ms":90000}}"#), 90_000);
    assert_eq!(asked(r#"{"timeouts":{"request_ms":120000,"head_ms":90000}}"#), 120_000);
    assert_eq!(asked(r#"{"timeouts":{"request_ms":2000}}"#), 60_000);
}

fn set(stage: &mut Stage, timeout_ms: Option<u64>, drain_ms: Option<u64>) {
    let mut settings = stage.env("staging").settings.clone();
    settings.gateway_rules.timeout_ms = timeout_ms;
    settings.drain_ms = drain_ms;
    stage.record(Event::EnvironmentChanged { environment: environment("staging"), settings });
}

fn drain(stage: &Stage) -> u64 {
    let VersionRef { service, version } = "orders@1.0.0".parse().unwrap();
    drain_ms(
        &stage.world,
        stage.env("staging"),
        &Arm { service, version, config: ConfigRevision(0), process: None },
    )
}

#[test]
fn what_gateways_would_wait_for_is_not_cut_off_unless_somebody_said_so() {
    let mut stage = limits(&[]);
    assert_eq!(drain(&stage), 60_000);
    set(&mut stage, Some(5_000), None);
    assert_eq!(drain(&stage), 60_000);
    set(&mut stage, Some(90_000), None);
    assert_eq!(drain(&stage), 90_000);
    set(&mut stage, None, Some(2_000));
    assert_eq!(drain(&stage), 2_000);
    assert_eq!(
        drain(&limits(&[Patience::LimitMs(120_000), Patience::LimitMs(1), Patience::Stream])),
        120_000
    );
}

#[test]
fn gateways_are_told_how_long_instances_have_where_that_is_not_a_minute() {
    let mut stage = one(None, Port::Assigned);
    let told = |stage: &Stage| stage.table("staging").entry.as_ref().and_then(|entry| entry.drain_ms);
    assert_eq!(told(&stage), None);
    set(&mut stage, None, Some(2_000));
    assert_eq!(told(&stage), Some(2_000));
    set(&mut stage, Some(90_000), None);
    assert_eq!(told(&stage), Some(90_000));
    set(&mut stage, None, None);
    assert_eq!(stage.table("staging").entry, None);
}

/// Three instances of a service, with a route that says so.
fn three(affinity: Option<Affinity>) -> Stage {
    let mut stage = one(affinity, Port::Assigned);
    stage.run("staging", &scale(3), None);
    stage
}

fn one(affinity: Option<Affinity>, port: Port) -> Stage {
    let mut stage = Stage::new();
    stage.release_with("orders@1.0.0", &[], |version| {
        version.run.port = port;
        let path = "/orders".into();
        version.routes = vec![RouteRule { path, affinity, ..RouteRule::default() }];
    });
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage
}

fn scale(replicas: u32) -> Intent {
    Intent::Scale { service: service("orders"), process: None, replicas }
}

/// How many instances get new clients, how many only their own, and how many run.
fn counts(stage: &Stage) -> (usize, usize, usize) {
    let table = stage.table("staging");
    let split = &table.services[&service("orders")].splits[0];
    let alive = stage.instances.iter().filter(|instance| instance.state.is_healthy()).count();
    (split.endpoints.len(), split.leaving.len(), alive)
}

#[test]
fn where_clients_are_kept_at_instances_they_come_to_one_that_leaves_for_the_drain_time() {
    let mut stage = three(Some(Affinity::Client));
    let id = stage.begin("staging", &scale(1), None);
    (0..10).for_each(|_| stage.step("staging"));
    assert_eq!(counts(&stage), (1, 2, 3), "nobody is under way, and none has ended");
    let observed = stage.observed("staging");
    let (environment, wall) = (stage.env("staging"), stage.wall());
    let look = Look { world: &stage.world, environment, observed: &observed, now: stage.now, wall };
    let end = observed.leaving_since.values().map(|since| since.plus_ms(60_000)).min();
    assert!(next_look(look) <= end, "somebody looks when the time is over");
    stage.now = stage.now.plus_ms(59_000);
    stage.step("staging");
    assert_eq!(counts(&stage), (1, 2, 3));
    stage.now = stage.now.plus_ms(1_000);
    (0..3).for_each(|_| stage.step("staging"));
    assert_eq!(counts(&stage), (1, 0, 1));
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { .. }));
}

#[test]
fn an_instance_that_leaves_and_is_needed_again_gets_new_clients_again() {
    let mut stage = three(Some(Affinity::Client));
    stage.begin("staging", &scale(1), None);
    (0..3).for_each(|_| stage.step("staging"));
    let split = stage.table("staging").services[&service("orders")].splits[0].clone();
    let stays = split.endpoints[0].instance.clone();
    let sick = stage.instances.iter_mut().find(|instance| instance.id == stays).unwrap();
    sick.state = InstanceState::Unhealthy { reason: "no answer".into() };
    stage.step("staging");
    assert_eq!(counts(&stage), (1, 1, 2));
    let now = stage.table("staging").services[&service("orders")].splits[0].endpoints[0].instance.clone();
    assert!(split.leaving.iter().any(|it| it.instance == now));
    assert!(!stage.observed("staging").leaving_since.contains_key(&now), "its time begins anew");
}

#[test]
fn an_instance_that_is_not_healthy_keeps_no_clients_and_where_none_are_kept_nobody_leaves_slowly() {
    let mut stage = three(Some(Affinity::Client));
    stage.begin("staging", &scale(1), None);
    stage.step("staging");
    let leaving = stage.table("staging").services[&service("orders")].splits[0].leaving[0].instance.clone();
    let sick = stage.instances.iter_mut().find(|instance| instance.id == leaving).unwrap();
    sick.state = InstanceState::Unhealthy { reason: "no answer".into() };
    assert_eq!(counts(&stage), (1, 1, 2));
    let mut others = three(None);
    others.run("staging", &scale(1), None);
    assert_eq!(counts(&others), (1, 0, 1));
}

#[test]
fn an_instance_that_must_end_before_the_next_one_starts_is_waited_for_no_longer_than_before() {
    let begun = |port| {
        let mut stage = one(Some(Affinity::Client), port);
        let (before, instances) = (stage.now, vec![stage.instances[0].id.clone()]);
        let phase = stage.run("staging", &Intent::Restart { service: service("orders"), instances }, None);
        assert!(matches!(phase, Phase::Done { .. }));
        stage.now.since_ms(before)
    };
    assert!(begun(Port::Fixed(8_080)) < 60_000);
}

/// Orders that work with payments 1 alone are replaced by some that work with 1 and 2, and payments 2 come with them, while so
/// many requests are under way at the old orders. Returns the table after a while, and the operation.
fn payments_with_orders(in_flight: u64, drain_ms: Option<u64>) -> (Stage, OperationId) {
    let mut stage = Stage::new();
    stage.release("payments@1.0.0", &[]);
    stage.release("orders@1.0.0", &[("payments", "^1.0")]);
    stage.run("staging", &deploy(&["payments@1.0.0", "orders@1.0.0"]), None);
    stage.release("payments@2.0.0", &[]);
    stage.release("orders@1.1.0", &[("payments", ">=1.0.0, <3.0.0")]);
    set(&mut stage, None, drain_ms);
    let old = stage.instances.iter().find(|instance| instance.arm.service == service("orders")).unwrap();
    stage.in_flight.insert(old.id.clone(), in_flight);
    let id = stage.begin("staging", &deploy(&["payments@2.0.0", "orders@1.1.0"]), None);
    (0..20).for_each(|_| stage.step("staging"));
    (stage, id)
}

/// Which version of a service gets all requests.
fn serving(stage: &Stage, name: &str) -> String {
    stage.table("staging").services[&service(name)].stable().unwrap().version.to_string()
}

#[test]
fn a_provider_moves_on_only_when_nobody_calls_it_any_more_who_does_not_work_with_what_comes() {
    let (mut stage, id) = payments_with_orders(1, None);
    assert_eq!((serving(&stage, "orders"), serving(&stage, "payments")), ("1.1.0".into(), "1.0.0".into()));
    assert!(!stage.world.find_operation(id).unwrap().phase.is_settled());
    stage.in_flight.clear();
    (0..10).for_each(|_| stage.step("staging"));
    assert_eq!(serving(&stage, "payments"), "2.0.0");
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { .. }));
}

#[test]
fn it_waits_no_longer_than_instances_are_given_and_not_for_who_does_not_call_it() {
    let (stage, id) = payments_with_orders(1, Some(0));
    assert_eq!(serving(&stage, "payments"), "2.0.0");
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { .. }));
    // The old catalog calls nobody.
    let mut stage = Stage::new();
    for (catalog, orders) in [("catalog@1.0.0", "orders@1.0.0"), ("catalog@2.0.0", "orders@2.0.0")] {
        stage.release(catalog, &[]);
        stage.release(orders, &[("catalog", if catalog.ends_with("1.0.0") { "<3.0.0" } else { "^2.0" })]);
    }
    stage.run("staging", &deploy(&["catalog@1.0.0", "orders@1.0.0"]), None);
    let all = stage.instances.iter().map(|instance| (instance.id.clone(), 1));
    stage.in_flight = all.collect();
    let phase = stage.run("staging", &deploy(&["catalog@2.0.0", "orders@2.0.0"]), None);
    assert!(matches!(phase, Phase::Done { .. }), "{phase:?}");
}
