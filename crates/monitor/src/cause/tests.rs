use proptest::prelude::*;

use super::*;
use crate::testing::{MINUTE, SECOND};

const NOW: u64 = 1_780_000_000_000;

fn change(minutes_before: u64, kind: ChangeKind, service: &str) -> Change {
    Change {
        at_ms: NOW - minutes_before * MINUTE,
        kind,
        environment: Some("production".into()),
        service: (!service.is_empty()).then(|| service.to_owned()),
        version: None,
        host: None,
        what: format!("{kind:?} {service} {minutes_before} min before"),
        who: Some("alice".into()),
        undo: Some("lockstep undo production".into()),
        until_ms: None,
    }
}

fn of_host(minutes_before: u64, host: &str) -> Change {
    Change { host: Some(host.into()), environment: None, ..change(minutes_before, ChangeKind::Host, "") }
}

fn fault(family: Family, service: &str) -> Fault {
    Fault {
        at_ms: NOW,
        over_ms: 10_000,
        family,
        environment: Some("production".into()),
        service: (!service.is_empty()).then(|| service.to_owned()),
        version: None,
        hosts: ["north".into(), "south".into()].into(),
    }
}

/// A storefront calls orders and catalog; orders calls payments and stock; payments calls bank.
fn calls() -> Calls {
    let mut calls = Calls::default();
    for (caller, callee) in [
        ("storefront", "orders"),
        ("storefront", "catalog"),
        ("orders", "payments"),
        ("orders", "stock"),
        ("payments", "bank"),
    ] {
        calls.add(caller, callee);
    }
    calls
}

/// What goes on all day in a team, far from the fault or after it.
fn noise() -> Vec<Change> {
    use ChangeKind::*;
    let mut noise = vec![
        change(180, Deploy, "orders"),
        change(90, Configuration, "orders"),
        change(70, Deploy, "payments"),
        change(4, Deploy, "newsletter"),
        change(2, Scale, "catalog"),
        change(1, Deploy, "reports"),
        change(300, Policy, ""),
        of_host(240, "east"),
    ];
    let after = Change { at_ms: NOW + SECOND, what: "after".into(), ..change(0, Deploy, "orders") };
    let rollback = Change { at_ms: NOW + MINUTE, what: "after".into(), ..change(0, Rollback, "orders") };
    let staging = Change { environment: Some("staging".into()), ..change(0, Deploy, "orders") };
    noise.extend([after, rollback, staging]);
    noise
}

/// Ten prepared faults: the change that caused each is the first.
#[test]
fn the_right_change_is_first_in_each_of_ten_prepared_faults() {
    use ChangeKind::*;
    let traffic = || fault(Family::Traffic, "orders");
    let of_version = |version: &str| Change { version: Some(version.into()), ..change(6, Deploy, "orders") };
    let faults: Vec<(&str, Fault, Change, Vec<Change>)> = vec![
        ("a bad version", traffic(), change(3, Deploy, "orders"), vec![change(1, Restart, "orders")]),
        (
            "a bad configuration",
            traffic(),
            change(2, Configuration, "orders"),
            vec![change(15, Deploy, "orders")],
        ),
        (
            "a bad version of what it calls",
            traffic(),
            change(2, Deploy, "payments"),
            vec![change(25, Deploy, "orders")],
        ),
        (
            "a configuration two calls below",
            traffic(),
            change(1, Configuration, "bank"),
            vec![change(12, Deploy, "orders")],
        ),
        (
            "a host that was drained",
            fault(Family::Instance, "orders"),
            of_host(1, "north"),
            vec![change(9, Deploy, "orders")],
        ),
        (
            "a column that was dropped",
            fault(Family::WayBack, "orders"),
            change(5, Migration, "orders"),
            vec![change(4, Deploy, "orders")],
        ),
        (
            "a caller that asks more",
            traffic(),
            change(2, Deploy, "storefront"),
            vec![change(60, Scale, "orders")],
        ),
        (
            "a route of the whole environment",
            traffic(),
            change(1, Route, ""),
            vec![change(20, Deploy, "orders")],
        ),
        (
            "one of two versions",
            Fault { version: Some("1.5.0".into()), ..traffic() },
            of_version("1.5.0"),
            vec![Change { at_ms: NOW - 3 * MINUTE, ..of_version("1.4.9") }],
        ),
        (
            "a slow burn that began hours ago",
            Fault { at_ms: NOW - 165 * MINUTE, over_ms: 0, ..traffic() },
            change(170, Deploy, "orders"),
            vec![change(3, Scale, "orders"), change(10, Restart, "orders")],
        ),
    ];
    assert_eq!(faults.len(), 10);
    for (name, fault, right, others) in faults {
        let mut changes = noise();
        changes.extend(others);
        changes.push(right.clone());
        let ranked = rank(&changes, &fault, &calls());
        let shown: Vec<_> = ranked.iter().map(|ranked| (&ranked.change.what, ranked.score)).collect();
        assert_eq!(ranked[0].change, right, "{name}: {shown:#?}");
        assert_eq!(likely(&changes, &fault, &calls()).unwrap().undo, right.undo, "{name}");
    }
}

#[test]
fn the_first_version_of_a_service_goes_behind_another_one_of_what_it_calls() {
    let (first, other) = (change(1, ChangeKind::First, "orders"), change(0, ChangeKind::Deploy, "payments"));
    let ranked = rank(&[first, other.clone()], &fault(Family::Traffic, "orders"), &calls());
    assert_eq!(ranked[0].change, other);
}

#[test]
fn what_ended_by_itself_before_the_fault_did_not_cause_it() {
    let ended = Change { until_ms: Some(NOW - 2 * MINUTE), ..change(5, ChangeKind::Injection, "orders") };
    assert_eq!(rank(std::slice::from_ref(&ended), &fault(Family::Traffic, "orders"), &calls()), []);
    let lasts = Change { until_ms: Some(NOW + MINUTE), ..ended };
    assert_eq!(
        likely(std::slice::from_ref(&lasts), &fault(Family::Traffic, "orders"), &calls()).unwrap().undo,
        lasts.undo
    );
}

#[test]
fn a_change_far_away_is_not_told_with_an_alert() {
    let changes = [change(1, ChangeKind::Deploy, "newsletter"), change(600, ChangeKind::Deploy, "orders")];
    assert_eq!(likely(&changes, &fault(Family::Traffic, "orders"), &calls()), None);
    assert_eq!(rank(&changes, &fault(Family::Traffic, "orders"), &calls()).len(), 2, "but it is shown");
}

#[test]
fn it_says_why() {
    let ranked = rank(&[change(3, ChangeKind::Deploy, "bank")], &fault(Family::Traffic, "orders"), &calls());
    assert_eq!(ranked[0].why, "3 min before, of bank, which orders reaches over 2 calls");
}

const KINDS: [ChangeKind; 14] = [
    ChangeKind::Deploy,
    ChangeKind::Rollback,
    ChangeKind::Configuration,
    ChangeKind::Migration,
    ChangeKind::Resource,
    ChangeKind::Route,
    ChangeKind::Injection,
    ChangeKind::Host,
    ChangeKind::Gateway,
    ChangeKind::Certificate,
    ChangeKind::Policy,
    ChangeKind::Scale,
    ChangeKind::Restart,
    ChangeKind::Other,
];
const SERVICES: [&str; 8] =
    ["", "storefront", "orders", "payments", "bank", "stock", "catalog", "newsletter"];

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let one = (0_u64..20_000, 0..KINDS.len(), 0..SERVICES.len(), any::<bool>(), any::<bool>());
    let one = one.prop_map(|(minutes, kind, service, is_after, is_on_host)| {
        let change = change(minutes, KINDS[kind], SERVICES[service]);
        let at_ms = if is_after { NOW + minutes * MINUTE + 1 } else { change.at_ms };
        Change { at_ms, host: is_on_host.then(|| "north".into()), ..change }
    });
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn a_change_after_the_fault_is_never_in_it_and_the_order_is_that_of_the_scores(
        changes in changes(), service in 0..SERVICES.len(), seed in any::<u64>(),
    ) {
        let fault = fault(Family::Traffic, SERVICES[service]);
        let ranked = rank(&changes, &fault, &calls());
        prop_assert!(ranked.iter().all(|ranked| ranked.change.at_ms <= NOW && ranked.score > 0.0 && ranked.score.is_finite()));
        prop_assert!(ranked.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let mut shuffled = changes;
        if !shuffled.is_empty() {
            let at = usize::try_from(seed % shuffled.len() as u64).unwrap();
            shuffled.rotate_left(at);
        }
        let again = rank(&shuffled, &fault, &calls());
        let scores = |ranked: &[Ranked]| ranked.iter().map(|ranked| ranked.score).collect::<Vec<_>>();
        prop_assert_eq!(scores(&ranked), scores(&again), "the order of what is given does not matter");
    }

    #[test]
    fn of_two_changes_alike_the_later_and_of_two_at_one_time_the_nearer_is_first(
        minutes in 0_u64..5_000, more in 1_u64..5_000, kind in 0..KINDS.len(),
    ) {
        let fault = fault(Family::Traffic, "orders");
        let first = |changes: &[Change]| rank(changes, &fault, &calls())[0].change.clone();
        let (late, early) = (change(minutes, KINDS[kind], "orders"), change(minutes + more, KINDS[kind], "orders"));
        for farther in ["payments", "bank", "storefront", "newsletter"] {
            prop_assert_eq!(first(&[change(minutes, KINDS[kind], farther), late.clone()]), late.clone());
        }
        prop_assert_eq!(first(&[early, late.clone()]), late);
        let (callee, second) = (change(minutes, KINDS[kind], "payments"), change(minutes, KINDS[kind], "bank"));
        prop_assert_eq!(first(&[second, callee.clone()]), callee);
    }
}
