//! Whole looks at invented fleets, with the state stored and loaded at each step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::notice::{NoticeKind, Severity};
use crate::rule::built_in;
use crate::seen::{FailedVersion, InstanceState, OperationPhase, OperationSeen, Way};
use crate::testing::{Fleet, HOUR, SECOND};

/// A watcher that is started anew at each look.
struct Watcher {
    fleet: Fleet,
    config: Config,
    changes: Vec<Change>,
    stored: String,
    history: History,
    told: Vec<Notice>,
}

impl Watcher {
    fn of(fleet: Fleet) -> Self {
        let config = Config { rules: built_in(), ..Config::default() };
        let stored = serde_json::to_string(&Watch::default()).unwrap();
        let mut watcher = Self {
            fleet,
            config,
            changes: Vec::new(),
            stored,
            history: History::default(),
            told: Vec::new(),
        };
        watcher.look();
        watcher
    }

    fn watch(&self) -> Watch {
        serde_json::from_str(&self.stored).unwrap()
    }

    fn look(&mut self) -> Vec<Notice> {
        let look = self.fleet.look();
        self.history.note(&look);
        let mut watch = self.watch();
        let looked = watch.look(Known { look: &look, history: &self.history }, &self.config, &self.changes);
        self.stored = serde_json::to_string(&watch).unwrap();
        self.told.extend(looked.notices.clone());
        looked.notices
    }

    /// Looks and is killed before anything is stored.
    fn look_and_die(&self) {
        let look = self.fleet.look();
        let mut history = self.history.clone();
        history.note(&look);
        self.watch().look(Known { look: &look, history: &history }, &self.config, &self.changes);
    }

    fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.fleet.pass(SECOND);
            self.fleet.serve_all(100, 0);
            self.look();
        }
    }

    /// Lets time pass with looks as far apart as one vouches for.
    fn hours(&mut self, hours: u64) {
        for _ in 0..hours * 360 {
            self.fleet.pass(10 * SECOND);
            self.fleet.serve_all(1_000, 0);
            self.look();
        }
    }

    fn fail(&mut self, seconds: u64, services: &[&str]) {
        for _ in 0..seconds {
            self.fleet.pass(SECOND);
            self.fleet.serve_all(100, 0);
            services.iter().for_each(|name| self.fleet.serve(name, 0, 50));
            self.look();
        }
    }

    fn kinds(&self) -> Vec<(NoticeKind, &str)> {
        self.told.iter().map(|notice| (notice.kind, notice.group.as_str())).collect()
    }
}

const FAULT: NoticeKind = NoticeKind::Fault;
const RECOVERED: NoticeKind = NoticeKind::Recovered;

#[test]
fn a_fault_is_told_once_with_the_change_before_it_and_recovers_once() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(30);
    watcher.changes.push(Change {
        at_ms: watcher.fleet.now_ms,
        kind: crate::cause::ChangeKind::Deploy,
        environment: Some("production".into()),
        service: Some("orders".into()),
        version: Some("1.5.0".into()),
        host: None,
        what: "deploy orders@1.5.0".into(),
        who: Some("alice".into()),
        undo: Some("lockstep undo production".into()),
        until_ms: None,
    });
    watcher.fail(120, &["orders"]);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders")]);
    watcher.seconds(600);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders"), (RECOVERED, "production/orders")]);
    let [fault, recovered] = &watcher.told[..] else { panic!("{:?}", watcher.told) };
    assert_eq!(fault.change.as_ref().unwrap().what, "deploy orders@1.5.0");
    assert_eq!(
        (fault.severity, fault.owners.as_slice()),
        (Severity::Critical, &["team-orders".to_owned()][..])
    );
    assert!(
        fault.title.starts_with("orders fails ") && fault.title.ends_with(" in production"),
        "{}",
        fault.title
    );
    assert!(recovered.title.starts_with("orders fails"), "{}", recovered.title);
    assert!(recovered.alerts.iter().all(|alert| alert.ended_ms.is_some()));
    assert!(fault.at_ms <= fault.alerts[0].since_ms + 2 * SECOND);
}

#[test]
fn an_outage_of_minutes_is_over_soon_after_it_and_what_comes_next_is_told() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(1_800);
    watcher.fail(600, &["orders"]);
    watcher.seconds(150);
    let orders = "production/orders";
    assert_eq!(
        watcher.kinds(),
        [(FAULT, orders), (RECOVERED, orders)],
        "budgets are burnt, and nothing burns"
    );
    watcher.seconds(600);
    assert_eq!(watcher.told.len(), 2);
    let burns =
        |alert: &&Alert| alert.rule.starts_with("budget") && alert.is_firing() && alert.muted.is_some();
    assert!(watcher.watch().alerts().values().filter(burns).count() > 0, "it is shown all the same");
    // A caller that fails by itself does not follow from it.
    watcher.fail(20, &["storefront"]);
    assert_eq!(watcher.kinds()[2..], [(FAULT, "production/storefront")]);
    watcher.seconds(300);
    watcher.fail(20, &["orders"]);
    assert_eq!(watcher.kinds()[3..], [(RECOVERED, "production/storefront"), (FAULT, orders)]);
    let again = &watcher.told[4];
    let since_ms = again.alerts[0].since_ms;
    assert!(again.title.contains("fails") && since_ms >= watcher.fleet.now_ms - 20 * SECOND, "{again:?}");
}

#[test]
fn what_goes_on_burning_after_an_outage_is_not_over() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(1_800);
    watcher.fail(600, &["orders"]);
    for _ in 0..600 {
        watcher.fleet.pass(SECOND);
        watcher.fleet.serve_all(100, 0);
        watcher.fleet.serve("orders", 0, 4);
        watcher.look();
    }
    let kinds = watcher.kinds();
    assert_eq!(kinds, [(FAULT, "production/orders")], "less of it is no news, and it is not over");
}

#[test]
fn a_dead_instance_is_told_within_two_seconds() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.fleet.turn("orders", 0, InstanceState::Failed);
    let died_ms = watcher.fleet.now_ms;
    watcher.seconds(5);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders")]);
    assert!(watcher.told[0].at_ms - died_ms <= 2 * SECOND);
}

#[test]
fn half_of_the_requests_failing_is_told_within_ten_seconds() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(60);
    let begun_ms = watcher.fleet.now_ms;
    watcher.fail(10, &["orders"]);
    assert!(watcher.told[0].at_ms - begun_ms < 10 * SECOND, "{}", watcher.told[0].at_ms - begun_ms);
}

#[test]
fn what_was_over_before_it_was_told_is_not_told() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.config.pacing.group_wait_ms = 30 * SECOND;
    watcher.config.rules.iter_mut().for_each(|rule| rule.keep_firing_seconds = 5);
    watcher.fleet.turn("orders", 0, InstanceState::Unhealthy);
    watcher.seconds(10);
    watcher.fleet.turn("orders", 0, InstanceState::Healthy);
    watcher.seconds(120);
    assert_eq!(watcher.kinds(), []);
}

#[test]
fn a_host_away_is_one_message_that_names_what_follows() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.fleet.host_away("north");
    watcher.seconds(120);
    assert_eq!(watcher.kinds(), [(FAULT, "host north")]);
    let detail = watcher.told[0].alerts[0].detail.clone().unwrap();
    assert!(detail.ends_with("3 more follow from it: orders, payments, storefront"), "{detail}");
    assert_eq!(watcher.told[0].owners.len(), 3, "who owns what runs there is told");
    let back = Fleet { now_ms: watcher.fleet.now_ms, ..Fleet::shop() };
    watcher.fleet = back;
    watcher.seconds(300);
    assert_eq!(watcher.kinds(), [(FAULT, "host north"), (RECOVERED, "host north")]);
}

#[test]
fn a_service_is_well_again_although_a_host_is_still_away() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.fleet.host_away("north");
    watcher.seconds(30);
    watcher.fail(30, &["orders"]);
    watcher.seconds(600);
    assert_eq!(
        watcher.kinds(),
        [(FAULT, "host north"), (FAULT, "production/orders"), (RECOVERED, "production/orders")]
    );
}

#[test]
fn the_service_below_is_told_and_its_callers_are_not() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(30);
    watcher.fail(60, &["storefront", "orders", "payments"]);
    watcher.seconds(900);
    assert_eq!(watcher.kinds(), [(FAULT, "production/payments"), (RECOVERED, "production/payments")]);
}

#[test]
fn a_rollout_that_fails_and_goes_back_is_one_message() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(60);
    let failed =
        FailedVersion { service: "orders".into(), version: "1.5.0".into(), why: "fails 50 %".into() };
    watcher.fleet.operations.push(OperationSeen {
        id: "operation 12".into(),
        what: "deploy orders@1.5.0".into(),
        way: Way::Forward,
        services: ["orders".into()].into(),
        phase: OperationPhase::Reverting { cause: "fails 50 %".into() },
        since_ms: watcher.fleet.now_ms,
        person: None,
        failed: Some(failed),
    });
    watcher.fail(20, &["orders"]);
    watcher.fleet.operations[0].phase = OperationPhase::Reverted { cause: "fails 50 %".into() };
    watcher.seconds(1_800);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders"), (RECOVERED, "production/orders")]);
    assert!(watcher.told[0].title.starts_with("orders@1.5.0 failed in its rollout"));
}

#[test]
fn a_thousand_services_that_fail_are_a_handful_of_messages() {
    let mut watcher = Watcher::of(Fleet::large(1_000));
    let names: Vec<String> = watcher.fleet.services.keys().cloned().collect();
    for name in &names {
        watcher.fleet.turn(name, 0, InstanceState::Failed);
    }
    watcher.seconds(20);
    assert_eq!(watcher.kinds(), [(FAULT, "production/many")]);
    let storm = watcher.told[0].clone();
    assert_eq!((storm.alerts.len(), storm.more), (20, 980));
    assert_eq!(
        storm.title,
        "1000 services have faults in production: service-0000, service-0001, service-0002 and 997 more"
    );
    for name in &names {
        watcher.fleet.turn(name, 0, InstanceState::Healthy);
    }
    watcher.seconds(90);
    assert_eq!(watcher.kinds(), [(FAULT, "production/many"), (RECOVERED, "production/many")]);
}

#[test]
fn services_that_fail_one_after_the_other_are_a_handful_of_messages_too() {
    let mut watcher = Watcher::of(Fleet::large(100));
    let names: Vec<String> = watcher.fleet.services.keys().cloned().collect();
    for name in &names {
        watcher.fleet.turn(name, 0, InstanceState::Failed);
        watcher.seconds(5);
    }
    let by_itself = watcher.told.iter().filter(|notice| notice.group != "production/many").count();
    assert!(by_itself <= 5 && watcher.told.len() <= 8, "{:?}", watcher.kinds());
}

#[test]
fn a_silence_keeps_it_quiet_until_its_end_and_no_longer() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.config.silences.push(Silence {
        id: "1".into(),
        about: BTreeMap::from([("service".into(), "ord*".into()), ("rule".into(), "instance-down".into())]),
        owner: "alice".into(),
        reason: "move".into(),
        from_ms: 0,
        until_ms: watcher.fleet.now_ms + 60 * SECOND,
    });
    watcher.fleet.turn("orders", 0, InstanceState::Failed);
    watcher.fleet.turn("payments", 0, InstanceState::Failed);
    watcher.seconds(58);
    assert_eq!(watcher.kinds(), [(FAULT, "production/payments")]);
    watcher.seconds(5);
    assert_eq!(watcher.kinds(), [(FAULT, "production/payments"), (FAULT, "production/orders")]);
}

#[test]
fn more_of_it_is_told_after_the_interval_and_worse_at_once() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.fleet.turn("orders", 0, InstanceState::Unhealthy);
    watcher.seconds(30);
    watcher.fleet.turn("orders", 1, InstanceState::Unhealthy);
    watcher.seconds(3);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders"), (NoticeKind::Changed, "production/orders")]);
    assert_eq!(watcher.told[1].severity, Severity::Critical);
    assert_eq!(watcher.told[1].alerts[0].rule, "all-down");
    watcher.hours(1);
    assert_eq!(watcher.told.len(), 2, "nothing is told again while nothing changes");
    watcher.config.pacing.repeat_ms = Some(2 * HOUR);
    watcher.hours(2);
    assert_eq!(watcher.told.len(), 3, "but where a person wants that");
}

#[test]
fn a_rule_that_is_taken_away_ends_its_alerts() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.fleet.turn("orders", 0, InstanceState::Unhealthy);
    watcher.seconds(5);
    watcher.config.rules.retain(|rule| rule.name != "instance-down");
    watcher.seconds(2);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders"), (RECOVERED, "production/orders")]);
}

#[test]
fn what_cannot_be_looked_at_keeps_its_alerts_and_is_told_itself() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.fleet.turn("orders", 0, InstanceState::Unhealthy);
    watcher.seconds(5);
    watcher.fleet.blind("the database is locked");
    watcher.seconds(300);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders"), (FAULT, "production/watching")]);
    watcher.fleet.see();
    watcher.seconds(120);
    assert_eq!(watcher.kinds().last(), Some(&(RECOVERED, "production/watching")));
    assert_eq!(watcher.told.len(), 3);
}

#[test]
fn a_server_that_was_away_for_days_tells_nothing_twice_and_nothing_false() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.seconds(10);
    watcher.fail(30, &["orders"]);
    watcher.fleet.turn("payments", 0, InstanceState::Failed);
    watcher.seconds(2);
    let before = watcher.told.len();
    watcher.fleet.pass(3 * 24 * HOUR);
    watcher.fleet.serve_all(1_000_000, 500_000);
    watcher.look();
    assert_eq!(watcher.told.len(), before, "{:?}", watcher.kinds());
    watcher.fleet.turn("payments", 0, InstanceState::Healthy);
    watcher.seconds(120);
    let recovered = watcher.told[before..].iter().filter(|notice| notice.kind == RECOVERED).count();
    assert_eq!((recovered, watcher.told.len()), (2, before + 2), "{:?}", watcher.kinds());
}

#[test]
fn a_service_that_flaps_all_day_is_a_bounded_number_of_messages() {
    let mut watcher = Watcher::of(Fleet::shop());
    for _ in 0..8 * 20 {
        for state in [InstanceState::Unhealthy, InstanceState::Healthy] {
            watcher.fleet.turn("orders", 0, state);
            (0..9).for_each(|_| {
                watcher.fleet.pass(10 * SECOND);
                watcher.look();
            });
        }
    }
    assert!(watcher.told.len() <= 4, "{:?}", watcher.told.len());
}

#[test]
fn instances_that_die_under_ever_new_names_are_a_bounded_number_of_messages() {
    let mut watcher = Watcher::of(Fleet::shop());
    for number in 0..100 {
        watcher.fleet.instances("orders")[0].id = format!("orders-1.4.0-{number}");
        for state in [InstanceState::Failed, InstanceState::Healthy] {
            watcher.fleet.turn("orders", 0, state);
            (0..9).for_each(|_| {
                watcher.fleet.pass(10 * SECOND);
                watcher.look();
            });
        }
    }
    // Five hours: doubling waits, then at most a message about a change every five minutes.
    assert!(watcher.told.len() <= 5 * 12 + 20, "{}", watcher.told.len());
    let recovered = watcher.told.iter().filter(|notice| notice.kind == RECOVERED).count();
    assert!(recovered <= 8, "{recovered}");
}

/// What may happen to a fleet between two looks.
#[derive(Debug, Clone)]
enum Deed {
    Turn(usize, usize, bool),
    Fail(usize),
    Host(bool),
    Blind(bool),
    Away(u64),
    Back(u64),
    Die,
}

fn deeds() -> impl Strategy<Value = Vec<(Deed, u64)>> {
    let deed = prop_oneof![
        6 => (0_usize..3, 0_usize..2, any::<bool>()).prop_map(|(service, which, is_up)| Deed::Turn(service, which, is_up)),
        3 => (0_usize..3).prop_map(Deed::Fail),
        1 => any::<bool>().prop_map(Deed::Host),
        1 => any::<bool>().prop_map(Deed::Blind),
        1 => (0_u64..7 * 24 * HOUR).prop_map(Deed::Away),
        1 => (0_u64..HOUR).prop_map(Deed::Back),
        2 => Just(Deed::Die),
    ];
    prop::collection::vec((deed, 1_u64..90), 1..25)
}

fn act(watcher: &mut Watcher, deed: &Deed) {
    let name = |service: usize| ["storefront", "orders", "payments"][service];
    match *deed {
        Deed::Turn(service, which, is_up) => {
            let state = if is_up { InstanceState::Healthy } else { InstanceState::Failed };
            watcher.fleet.turn(name(service), which, state);
        }
        Deed::Fail(service) => watcher.fail(15, &[name(service)]),
        Deed::Host(true) => watcher.fleet.host_away("north"),
        Deed::Host(false) => watcher.fleet.hosts.get_mut("north").unwrap().away_since_ms = None,
        Deed::Blind(true) => watcher.fleet.blind("broken"),
        Deed::Blind(false) => watcher.fleet.see(),
        Deed::Away(ms) => watcher.fleet.pass(ms),
        Deed::Back(ms) => watcher.fleet.now_ms -= ms,
        Deed::Die => watcher.look_and_die(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn each_group_is_told_by_turns_and_all_recover_in_the_end_through_kills_and_clocks(deeds in deeds()) {
        let mut watcher = Watcher::of(Fleet::shop());
        for (deed, seconds) in &deeds {
            act(&mut watcher, deed);
            watcher.seconds(*seconds);
        }
        let well = Fleet { now_ms: watcher.fleet.now_ms, ..Fleet::shop() };
        let counted = watcher.fleet.services.clone();
        watcher.fleet = well;
        for (name, service) in counted {
            watcher.fleet.service(&name).arms = service.arms;
        }
        watcher.fleet.pass(SECOND);
        watcher.hours(9);
        let mut open = BTreeMap::<&str, bool>::new();
        let mut ids = std::collections::BTreeSet::new();
        for notice in &watcher.told {
            prop_assert!(ids.insert(notice.id.clone()));
            let is_open = open.entry(&notice.group).or_default();
            match notice.kind {
                NoticeKind::Fault => { prop_assert!(!*is_open, "{:?}", watcher.kinds()); *is_open = true; }
                NoticeKind::Changed => prop_assert!(*is_open),
                _ => { prop_assert!(*is_open); *is_open = false; }
            }
        }
        prop_assert!(open.values().all(|is_open| !is_open), "{:?} {:?}", watcher.kinds(), watcher.watch().alerts());
        prop_assert!(watcher.watch().alerts().values().all(|alert| !alert.is_firing()));
    }
}

#[test]
fn a_budget_that_has_burnt_for_an_hour_is_told_with_the_change_at_its_begin() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.hours(2);
    let change = |at_ms, kind, what: &str| Change {
        at_ms,
        kind,
        environment: Some("production".into()),
        service: Some("orders".into()),
        version: None,
        host: None,
        what: what.into(),
        who: None,
        undo: None,
        until_ms: None,
    };
    watcher.changes.push(change(watcher.fleet.now_ms, crate::cause::ChangeKind::Deploy, "deploy"));
    for _ in 0..360 {
        watcher.fleet.pass(10 * SECOND);
        watcher.fleet.serve_all(1_000, 0);
        watcher.fleet.serve("orders", 0, 16);
        watcher.look();
        if watcher.told.is_empty() {
            let late = change(watcher.fleet.now_ms, crate::cause::ChangeKind::Configuration, "configuration");
            watcher.changes.truncate(1);
            watcher.changes.push(late);
        }
    }
    assert!(watcher.told[0].alerts[0].rule.starts_with("budget-burns"), "{:?}", watcher.told[0]);
    assert_eq!(watcher.told[0].change.as_ref().unwrap().what, "deploy");
}

#[test]
fn a_server_whose_history_was_lost_does_not_tell_that_a_burn_is_over() {
    let mut watcher = Watcher::of(Fleet::shop());
    watcher.config.rules.retain(|rule| rule.name.starts_with("budget"));
    watcher.hours(2);
    for _ in 0..300 {
        watcher.fleet.pass(10 * SECOND);
        watcher.fleet.serve_all(1_000, 0);
        watcher.fleet.serve("orders", 0, 50);
        watcher.look();
    }
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders")]);
    watcher.history = History::default();
    watcher.seconds(70);
    assert_eq!(watcher.told.len(), 1, "it was fine for a minute of five");
    watcher.hours(8);
    assert_eq!(watcher.kinds(), [(FAULT, "production/orders"), (RECOVERED, "production/orders")]);
}
