use proptest::prelude::*;

use super::*;
use crate::rule::Condition;
use crate::series::tick_ms;
use crate::testing::{HOUR, MINUTE, SECOND};

fn rule(for_seconds: u64, keep_firing_seconds: u64, no_data: NoData) -> Rule {
    let rule = Rule::new("all-down", Severity::Critical, Condition::AllDown {});
    Rule { for_seconds, keep_firing_seconds, no_data, ..rule }
}

fn wrong() -> Value {
    Value::Wrong(Finding::new("wrong".into()))
}

fn no_data() -> Value {
    Value::Unknown(Blind::NoData("nobody looked".into()))
}

fn error() -> Value {
    Value::Unknown(Blind::Error("refused".into()))
}

fn begins() -> Value {
    Value::Unknown(Blind::Begins("not for long enough".into()))
}

/// An alert that is stored and loaded after each reading.
struct Told {
    rule: Rule,
    alert: Option<Alert>,
    now_ms: u64,
    turns: Vec<(u64, Turn)>,
}

impl Told {
    fn of(rule: Rule) -> Self {
        Self { rule, alert: None, now_ms: 1_000_000_000, turns: Vec::new() }
    }

    fn read(&mut self, later_ms: i64, value: &Value) -> Option<Turn> {
        let now_ms = self.now_ms.saturating_add_signed(later_ms);
        let tick = Tick { now_ms, passed_ms: tick_ms(self.now_ms, now_ms) };
        let subject = Subject::of([("service", "orders")]);
        let (alert, turn) = step(self.alert.take(), &self.rule, &subject, value, tick);
        let stored = serde_json::to_string(&alert).unwrap();
        self.alert = serde_json::from_str(&stored).unwrap();
        self.now_ms = now_ms;
        self.turns.extend(turn.map(|turn| (now_ms, turn)));
        turn
    }

    fn lasts(&mut self, seconds: u64, value: &Value) {
        (0..seconds).for_each(|_| {
            self.read(1_000, value);
        });
    }
}

#[test]
fn it_fires_after_its_time_and_recovers_after_its_time() {
    let mut told = Told::of(rule(30, 60, NoData::Keep));
    told.lasts(30, &wrong());
    assert_eq!(told.turns, []);
    assert_eq!(told.read(1_000, &wrong()), Some(Turn::Fired));
    told.lasts(60, &Value::Fine);
    assert_eq!(told.turns.len(), 1);
    assert_eq!(told.read(1_000, &Value::Fine), Some(Turn::Recovered));
    assert_eq!(told.alert.as_ref().unwrap().ended_ms, Some(told.now_ms - 60_000));
}

#[test]
fn what_waits_for_nothing_turns_at_once() {
    let mut told = Told::of(rule(0, 0, NoData::Keep));
    assert_eq!(told.read(1_000, &wrong()), Some(Turn::Fired));
    assert_eq!(told.read(1_000, &Value::Fine), Some(Turn::Recovered));
}

#[test]
fn a_state_that_is_loaded_days_later_neither_fires_nor_recovers_by_the_days() {
    let days = 3 * 24 * i64::try_from(HOUR).unwrap();
    let mut told = Told::of(rule(60, 60, NoData::Keep));
    told.lasts(20, &wrong());
    assert_eq!(told.read(days, &wrong()), None, "it was pending for 20 s and not for days");
    told.lasts(60, &wrong());
    assert_eq!(told.turns.len(), 1);
    assert_eq!(told.read(days, &Value::Fine), None, "it was fine for one look");
    assert_eq!(told.read(1_000, &wrong()), None, "and is told once");
    assert_eq!(told.read(-days, &wrong()), None);
    assert_eq!(told.turns.len(), 1);
}

#[test]
fn nothing_known_is_what_the_rule_says_and_an_error_is_never_fine() {
    for (policy, value, fires, recovers) in [
        (NoData::Ok, no_data(), false, true),
        (NoData::Ok, error(), false, false),
        (NoData::Keep, no_data(), false, false),
        (NoData::Keep, error(), false, false),
        (NoData::Alert, no_data(), true, false),
        (NoData::Alert, error(), true, false),
        (NoData::Alert, begins(), false, false),
        (NoData::Ok, begins(), false, false),
    ] {
        let mut told = Told::of(rule(5, 5, policy));
        told.lasts(20, &value);
        assert_eq!(told.turns.len(), usize::from(fires), "{policy:?} {value:?}");
        let mut told = Told::of(rule(5, 5, policy));
        told.lasts(20, &wrong());
        told.lasts(20, &value);
        assert_eq!(told.turns.len(), 1 + usize::from(recovers), "{policy:?} {value:?}");
        let kept = told.alert.unwrap();
        let alerts = policy == NoData::Alert && value != begins();
        assert_eq!(kept.blind.is_some(), !recovers && !alerts);
    }
}

#[test]
fn one_that_comes_and_goes_is_told_less_and_less_often_until_it_is_calm() {
    let mut told = Told::of(rule(0, 5, NoData::Keep));
    for _ in 0..8 * 60 {
        told.lasts(10, &wrong());
        told.lasts(50, &Value::Fine);
    }
    assert!(told.turns.len() <= 4, "{} turns in 8 hours", told.turns.len());
    told.lasts(2 * CALM_AFTER_MS / SECOND + 64 * MINUTE / SECOND, &Value::Fine);
    assert_eq!(told.alert, None);
}

fn readings() -> impl Strategy<Value = Vec<(i64, u8)>> {
    let ms = prop_oneof![8 => 0_i64..20_000, 1 => -100_000_i64..0, 1 => 0_i64..1_000_000_000];
    prop::collection::vec((ms, 0_u8..6), 1..300)
}

proptest! {
    #[test]
    fn it_fires_and_recovers_by_turns_whatever_is_seen_and_whatever_the_clock_does(
        readings in readings(), for_seconds in 0_u64..60, keep in 0_u64..60,
    ) {
        let mut told = Told::of(rule(for_seconds, keep, NoData::Keep));
        let (mut seen_ms, mut last) = (0_u64, None);
        for (ms, which) in readings {
            let value = match which { 0 | 1 => Value::Fine, 2 => no_data(), 3 => error(), _ => wrong() };
            seen_ms = match which {
                0 | 1 => 0,
                2 | 3 => seen_ms,
                _ if last.is_none() => { last = Some(()); 0 }
                _ => seen_ms + u64::try_from(ms).unwrap_or_default().min(10_000),
            };
            if which < 2 { last = None; }
            let turn = told.read(ms, &value);
            prop_assert!(turn != Some(Turn::Fired) || seen_ms >= for_seconds * 1_000);
            prop_assert!(turn != Some(Turn::Recovered) || which < 2);
        }
        let by_turns = told.turns.iter().enumerate().all(|(index, (_, turn))| {
            *turn == if index % 2 == 0 { Turn::Fired } else { Turn::Recovered }
        });
        prop_assert!(by_turns, "{:?}", told.turns);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn turns_in_an_hour_are_bounded(pattern in prop::collection::vec(any::<bool>(), 1..50)) {
        let mut told = Told::of(rule(0, 0, NoData::Keep));
        for second in 0..3 * 3_600_usize {
            let value = if pattern[second % pattern.len()] { wrong() } else { Value::Fine };
            told.read(1_000, &value);
        }
        prop_assert!(told.turns.len() <= 2 * 8, "{}", told.turns.len());
    }
}
