use proptest::prelude::*;

use super::*;
use crate::notice::Severity;
use crate::reading::Finding;
use crate::seen::{EnvironmentSeen, Seen};
use crate::subject::Subject;
use crate::testing::{Fleet, SECOND, service};

const TICK: Tick = Tick { now_ms: 1_780_000_000_000, passed_ms: SECOND };

fn alert(family: Family, since_ms: u64, labels: &[(&str, &str)]) -> (String, Alert) {
    let subject =
        labels.iter().fold(Subject::default(), |subject, (label, value)| subject.with(label, Some(value)));
    let alert = Alert {
        rule: format!("{family:?}"),
        family,
        severity: Severity::Warning,
        subject,
        stage: Stage::Firing,
        spent_ms: 0,
        finding: Finding::default(),
        since_ms,
        ended_ms: None,
        blind: None,
        fired: 1,
        muted: None,
        silenced: None,
        group: None,
        told: false,
        change: None,
    };
    (alert.fingerprint(), alert)
}

fn of_service(family: Family, since_ms: u64, name: &str) -> (String, Alert) {
    alert(family, since_ms, &[("environment", "production"), ("service", name)])
}

fn instance(family: Family, name: &str, id: &str, host: &str) -> (String, Alert) {
    let labels = [
        ("environment", "production"),
        ("service", name),
        ("version", "1.4.0"),
        ("instance", id),
        ("host", host),
    ];
    alert(family, 0, &labels)
}

fn marked<const N: usize>(alerts: [(String, Alert); N], look: &Observation) -> Vec<(String, String)> {
    let mut alerts = Alerts::from(alerts);
    mark(&mut alerts, look, TICK);
    let by = |(name, alert): (String, Alert)| Some((name, alert.muted?.by));
    alerts.into_iter().filter_map(by).collect()
}

#[test]
fn a_host_that_is_away_mutes_what_is_down_on_it_and_nothing_else() {
    let host = alert(Family::Host, 0, &[("host", "north")]);
    let (north, south) = (
        instance(Family::Instance, "orders", "1", "north"),
        instance(Family::Instance, "orders", "2", "south"),
    );
    let look = Fleet::shop().look();
    assert_eq!(marked([host.clone(), north.clone(), south], &look), [(north.0.clone(), host.0.clone())]);
    let mut pending = host.clone();
    pending.1.stage = Stage::Pending;
    assert_eq!(
        marked([pending, north.clone()], &look),
        [(north.0.clone(), host.0.clone())],
        "one that may be away"
    );
    let mut over = host;
    over.1.stage = Stage::Recovered;
    assert_eq!(marked([over, north], &look), []);
}

#[test]
fn all_down_mutes_its_instances_and_the_requests_that_fail_because_of_it() {
    let down = alert(
        Family::AllDown,
        0,
        &[("environment", "production"), ("service", "orders"), ("version", "1.4.0")],
    );
    let (one, burn) =
        (instance(Family::Instance, "orders", "1", "north"), of_service(Family::Traffic, 0, "orders"));
    let other = instance(Family::CrashLoop, "payments", "3", "north");
    let found = marked([down.clone(), one.clone(), burn.clone(), other], &Fleet::shop().look());
    assert_eq!(found, [(one.0, down.0.clone()), (burn.0, down.0)]);
}

#[test]
fn the_service_below_mutes_its_callers_up_the_whole_chain() {
    let alerts = ["storefront", "orders", "payments"].map(|name| of_service(Family::Traffic, 5, name));
    let found = marked(alerts.clone(), &Fleet::shop().look());
    let [storefront, orders, payments] = alerts.map(|(name, _)| name);
    assert_eq!(found, [(orders.clone(), payments), (storefront, orders)]);
}

#[test]
fn in_a_circle_the_first_in_trouble_is_told() {
    let mut fleet = Fleet::shop();
    fleet.service("payments").calls.insert("storefront".into());
    let [a, b, c] = [("storefront", 7), ("orders", 3), ("payments", 5)]
        .map(|(name, since_ms)| of_service(Family::Traffic, since_ms, name));
    let found: Vec<String> =
        marked([a.clone(), b, c.clone()], &fleet.look()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, [c.0, a.0]);
}

#[test]
fn what_goes_back_mutes_what_it_mends_until_a_bound() {
    let mut fleet = Fleet::shop();
    fleet.operations.push(OperationSeen {
        id: "operation 12".into(),
        what: "deploy orders@1.5.0".into(),
        way: Way::Forward,
        services: ["orders".into()].into(),
        phase: OperationPhase::Reverting { cause: "it fails".into() },
        since_ms: fleet.now_ms,
        person: None,
        failed: None,
    });
    let alerts = || [of_service(Family::Traffic, 0, "orders"), of_service(Family::Rollout, 0, "orders")];
    let muted = (alerts()[0].0.clone(), "operation 12".to_owned());
    assert_eq!(marked(alerts(), &fleet.look()), [muted]);
    fleet.pass(MENDS_WITHIN_MS);
    assert_eq!(marked(alerts(), &fleet.look()), []);
}

#[test]
fn when_the_cause_is_over_what_followed_is_given_a_minute() {
    let (host, down) =
        (alert(Family::Host, 0, &[("host", "north")]), instance(Family::Instance, "orders", "1", "north"));
    let mut alerts = Alerts::from([host.clone(), down.clone()]);
    let look = Fleet::shop().look();
    mark(&mut alerts, &look, TICK);
    alerts.remove(&host.0);
    for second in 1..60 {
        mark(&mut alerts, &look, TICK);
        assert!(alerts[&down.0].muted.is_some(), "{second}");
    }
    mark(&mut alerts, &look, TICK);
    assert!(alerts[&down.0].muted.is_none());
}

#[test]
fn the_worse_of_two_rules_about_one_thing_is_told() {
    let (mild, mut bad) =
        (of_service(Family::Traffic, 1, "orders"), of_service(Family::Traffic, 9, "orders"));
    bad.1.severity = Severity::Critical;
    bad.0 = "bad".into();
    assert_eq!(marked([mild.clone(), bad], &Fleet::shop().look()), [(mild.0, "bad".to_owned())]);
}

#[test]
fn what_a_check_finds_follows_from_what_clients_meet_and_from_what_is_called() {
    let check = |name: &str, of: &str| {
        let labels = [("environment", "production"), ("service", of), ("check", name)];
        alert(Family::Check, 5, &labels)
    };
    let failing = of_service(Family::Traffic, 9, "orders");
    let checks = [check("a", "orders"), check("b", "storefront")];
    let told = marked([failing.clone(), checks[0].clone(), checks[1].clone()], &Fleet::shop().look());
    assert_eq!(told, checks.clone().map(|(name, _)| (name, failing.0.clone())));
    assert_eq!(marked(checks.clone(), &Fleet::shop().look()), [(checks[1].0.clone(), checks[0].0.clone())]);
}

const FAMILIES: [Family; 8] = [
    Family::Check,
    Family::Host,
    Family::Instance,
    Family::CrashLoop,
    Family::AllDown,
    Family::Traffic,
    Family::Gateway,
    Family::Rollout,
];

proptest! {
    #[test]
    fn whatever_is_muted_follows_from_something_that_is_told_or_goes_back(
        edges in prop::collection::vec((0_usize..6, 0_usize..6), 0..20),
        firing in prop::collection::vec((0..FAMILIES.len(), 0_usize..6, 0_u64..4, 0_u8..3, any::<bool>()), 0..30),
        back in prop::collection::vec(0_usize..6, 0..2),
    ) {
        let name = |number: usize| format!("s{number}");
        let mut services: BTreeMap<String, _> = (0..6).map(|number| (name(number), service(&name(number), &[]))).collect();
        for (from, to) in edges {
            services.get_mut(&name(from)).unwrap().calls.insert(name(to));
        }
        let operations = back.into_iter().map(|number| OperationSeen {
            id: "operation".into(),
            what: "rollback".into(),
            way: Way::Back,
            services: [name(number)].into(),
            phase: OperationPhase::Goes,
            since_ms: TICK.now_ms,
            person: None,
            failed: None,
        });
        let environment = EnvironmentSeen {
            services: Seen::Is(services),
            operations: Seen::Is(operations.collect()),
            gateways: Seen::Nothing,
        };
        let environments = BTreeMap::from([("production".to_owned(), environment)]);
        let look = Observation { at_ms: TICK.now_ms, environments: Seen::Is(environments), ..Observation::default() };
        let mut alerts = Alerts::new();
        for (family, number, since_ms, rule, is_critical) in firing {
            let (service, host) = (name(number), format!("h{}", number % 2));
            let (_, mut one) = match FAMILIES[family] {
                Family::Host => alert(Family::Host, since_ms, &[("host", &host)]),
                Family::Gateway => alert(Family::Gateway, since_ms, &[("environment", "production"), ("gateway", &service), ("host", &host)]),
                Family::Check => alert(Family::Check, since_ms, &[("environment", "production"), ("service", &service), ("check", &host)]),
                Family::Traffic | Family::Rollout => of_service(FAMILIES[family], since_ms, &service),
                Family::AllDown => alert(Family::AllDown, since_ms, &[("environment", "production"), ("service", &service), ("version", "1.4.0")]),
                family => instance(family, &service, &format!("{service}-1"), &host),
            };
            one.since_ms = since_ms;
            one.rule = format!("{:?}-{rule}", one.family);
            one.severity = if is_critical { Severity::Critical } else { Severity::Warning };
            alerts.insert(one.fingerprint(), one);
        }
        mark(&mut alerts, &look, TICK);
        for start in alerts.keys() {
            let (mut at, mut steps) = (start.clone(), 0);
            while let Some(muted) = alerts.get(&at).and_then(|alert| alert.muted.as_ref()) {
                at = muted.by.clone();
                steps += 1;
                prop_assert!(steps <= alerts.len(), "{start} is muted in a circle");
            }
            prop_assert!(at == "operation" || alerts.contains_key(&at));
        }
    }
}
