//! Answers to fleets as people would write them, and to fleets made by chance.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use lockstep_what_if::{Answer, Contradiction, Feature, Fleet, FleetService, Unanswered, Wish, answer};
use proptest::prelude::*;
use serde_json::json;

fn ask(fleet: serde_json::Value) -> Answer {
    answer(&serde_json::from_value(fleet).unwrap()).unwrap()
}

fn shop(intent: &serde_json::Value) -> serde_json::Value {
    json!({
        "services": [
            {"name": "payments", "criticality": 3, "versions": ["1.0.0", "2.0.0", "2.1.0", "3.0.0"], "current": "2.0.0"},
            {"name": "orders", "criticality": 2, "versions": ["1.0.0", "1.5.0", "1.6.0", "2.0.0"], "current": "1.5.0"},
            {"name": "storefront", "versions": ["1.0.0", "1.1.0"], "current": "1.0.0"},
        ],
        "features": [
            {"name": "charges", "provider": "payments", "offered": ["2.1.0", null], "consumer": "orders", "used": ["1.6.0", null]},
            {"name": "pay", "provider": "payments", "offered": ["1.0.0", "3.0.0"], "consumer": "orders", "used": [null, "2.0.0"]},
            {"name": "cart", "provider": "orders", "offered": [null, "2.0.0"], "consumer": "storefront", "used": ["1.0.0", "1.1.0"]},
        ],
        "intent": intent,
    })
}

#[test]
fn what_is_needed_comes_along_and_nothing_else() {
    let told = ask(shop(&json!([{"service": "orders", "to": "1.6.0"}])));
    assert!(told.solvable && told.cost == Some(5) && told.alternatives.is_empty());
    let moves: Vec<_> = told.moves.iter().map(|it| [&*it.service, &*it.from, &*it.to]).collect();
    assert_eq!(moves, [["payments", "2.0.0", "2.1.0"], ["orders", "1.5.0", "1.6.0"]]);
    assert_eq!(told.steps, [["payments"], ["orders"]]);
    assert_eq!(told.moves[1].because, ["wanted at 1.6.0"]);
    let why = "orders 1.6.0 uses `charges`, which payments 2.0.0 does not offer; payments offers `charges` from 2.1.0 on";
    assert_eq!(told.moves[0].because, [why]);
    let [reason] = &told.order_reasons[..] else { panic!("{:?}", told.order_reasons) };
    assert_eq!([&*reason.before, &*reason.after, &*reason.why], ["payments", "orders", why]);
}

#[test]
fn what_no_order_keeps_switches_together() {
    let told = ask(shop(&json!([{"service": "payments", "at_least": "3.0.0"}])));
    // The old orders need what only the old payments have, and the other way around; so it is with storefront and orders.
    assert_eq!(told.cost, Some(6));
    assert_eq!(told.steps, [["storefront"].to_vec(), ["payments", "orders"].to_vec()]);
}

#[test]
fn nothing_moves_for_what_is_so_already() {
    let told = ask(shop(&json!([{"service": "orders", "not": "1.0.0", "at_most": "1.5.0"}])));
    assert!(told.solvable && told.cost == Some(0) && told.moves.is_empty() && told.steps.is_empty());
    assert_eq!(told.explanation, "Nothing has to move.");
}

#[test]
fn a_contradiction_is_told_as_what_follows_from_what() {
    let mut fleet = shop(&json!([{"service": "orders", "to": "2.0.0"}]));
    fleet["services"][2]["pinned"] = true.into();
    let told = ask(fleet);
    assert!(!told.solvable && told.cost.is_none() && told.moves.is_empty());
    let kinds: Vec<&str> = told
        .core
        .iter()
        .map(|it| match it {
            Contradiction::Intent { service, .. } | Contradiction::Pinned { service, .. } => &**service,
            Contradiction::Feature { feature, .. } => feature,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["orders", "storefront", "cart"]);
    assert_eq!(
        told.explanation.lines().collect::<Vec<_>>(),
        [
            "There is no way:",
            "orders is wanted at 2.0.0.",
            "storefront is pinned at 1.0.0, and no wish names it.",
            "storefront uses `cart` in 1.0.0 alone, and orders offers `cart` before 2.0.0: no version of orders is left.",
            "It would work to give up that orders is wanted at 2.0.0 (cost 0).",
            "It would work to lift the pin of storefront (cost 6).",
            "Or by a bridge: a version of orders that may run and offers `cart`.",
        ]
    );
}

#[test]
fn cases_are_told_where_nothing_follows_by_itself() {
    let told = ask(json!({
        "services": [
            {"name": "a", "versions": ["1", "2"], "current": "1"},
            {"name": "b", "versions": ["1", "2"], "current": "1"},
            {"name": "c", "versions": ["1", "2"], "current": "1"},
        ],
        "features": [
            {"name": "one", "provider": "b", "offered": ["2", null], "consumer": "a", "used": [null, "2"]},
            {"name": "two", "provider": "b", "offered": ["2", null], "consumer": "a", "used": ["2", null]},
            {"name": "three", "provider": "c", "offered": ["2", null], "consumer": "b", "used": ["2", null]},
            {"name": "four", "provider": "c", "offered": [null, "2"], "consumer": "b", "used": ["2", null]},
        ],
    }));
    assert!(told.explanation.contains("If "), "{}", told.explanation);
    assert_eq!(told.core.len(), 4);
}

#[test]
fn a_wish_that_is_given_up_leaves_its_service_pinned() {
    let told = ask(json!({
        "services": [
            {"name": "b", "versions": ["1", "2"], "current": "1", "pinned": true},
            {"name": "a", "versions": ["1"], "current": "1"},
        ],
        "features": [
            {"name": "f", "provider": "b", "offered": ["2", null], "consumer": "a", "used": [null, null]},
        ],
        "intent": [{"service": "b", "at_most": "1"}],
    }));
    assert!(!told.solvable && told.remedies.is_empty(), "{:?}", told.remedies);
}

#[test]
fn a_wish_in_the_middle_is_told_once() {
    let told = ask(json!({
        "services": [{"name": "a", "versions": ["1", "2", "3"], "current": "1"}],
        "intent": [{"service": "a", "to": "2"}, {"service": "a", "not": "2"}],
    }));
    let lines: Vec<&str> = told.explanation.lines().take(3).collect();
    assert_eq!(
        lines,
        ["There is no way:", "a is wanted at 2.", "a is wanted not at 2: no version of a is left."]
    );
}

#[test]
fn costs_that_no_number_holds_are_a_mistake() {
    let service =
        |name: &str| json!({"name": name, "versions": ["1"], "current": "1", "criticality": u64::MAX});
    let fleet = json!({"services": [service("a"), service("b\n")]});
    let Err(Unanswered::Mistakes(mistakes)) = answer(&serde_json::from_value(fleet).unwrap()) else {
        panic!()
    };
    let places: Vec<&str> = mistakes.iter().map(|it| &*it.place).collect();
    assert_eq!(places, ["services[1].name", "services"]);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let mut fleet = shop(
        &json!([{"service": "nobody", "to": "1.0.0"}, {"service": "orders"}, {"service": "orders", "not": "7"}]),
    );
    fleet["services"][0]["current"] = "9".into();
    fleet["services"][1]["criticality"] = 0.into();
    fleet["services"][2]["versions"] = json!(["1.0.0", "1.0.0"]);
    fleet["features"][0]["offered"] = json!(["3.0.0", "1.0.0"]);
    fleet["features"][1]["provider"] = "none".into();
    let Err(Unanswered::Mistakes(mistakes)) = answer(&serde_json::from_value(fleet).unwrap()) else {
        panic!()
    };
    let places: Vec<&str> = mistakes.iter().map(|it| &*it.place).collect();
    assert_eq!(
        places,
        [
            "services[2].versions[1]",
            "services[0].current",
            "services[1].criticality",
            "intent[0].service",
            "intent[1]",
            "intent[2].not",
            "features[0].offered",
            "features[1].provider",
            "features[2].used",
        ]
    );
}

/// Each service needs the next one.
fn chain(services: usize) -> serde_json::Value {
    let service = |at: usize| json!({"name": format!("s{at}"), "versions": ["1", "2"], "current": "1"});
    let feature = |at: usize| {
        let (consumer, provider) = (format!("s{at}"), format!("s{}", at + 1));
        json!({"name": "f", "provider": provider, "offered": ["2", null], "consumer": consumer, "used": ["2", null]})
    };
    json!({
        "services": (0..services).map(service).collect::<Vec<_>>(),
        "features": (0..services - 1).map(feature).collect::<Vec<_>>(),
        "intent": [{"service": "s0", "to": "2"}],
    })
}

#[test]
fn the_longest_chain_that_is_looked_at_is_answered() {
    let told = ask(chain(20_000));
    assert_eq!((told.cost, told.steps.len()), (Some(20_000), 20_000));
    let Err(Unanswered::Mistakes(mistakes)) = answer(&serde_json::from_value(chain(20_001)).unwrap()) else {
        panic!()
    };
    assert_eq!(mistakes[0].why, "there are 20001, and at most 20000 are looked at");
}

#[test]
fn a_long_chain_that_leads_nowhere_is_told_shortly() {
    let mut fleet = chain(400);
    fleet["intent"] = json!([{"service": "s0", "to": "2"}, {"service": "s399", "to": "1"}]);
    let told = ask(fleet);
    assert_eq!(told.core.len(), 401);
    let lines = told.explanation.lines().count();
    assert!(lines < 90, "{lines}");
}

#[test]
fn names_of_features_stand_in_sentences_as_well() {
    for name in ["", "x\ny"] {
        let mut fleet = shop(&json!([{"service": "orders", "to": "1.6.0"}]));
        fleet["features"][1]["name"] = name.into();
        let Err(Unanswered::Mistakes(mistakes)) = answer(&serde_json::from_value(fleet).unwrap()) else {
            panic!()
        };
        assert_eq!(mistakes[0].place, "features[1].name");
    }
}

#[test]
fn an_empty_fleet_has_nothing_to_move() {
    assert!(ask(json!({"services": []})).solvable);
}

const VERSIONS: [&str; 4] = ["1.0.0", "1.1.0", "2.0.0", "2.1.0"];

fn interval() -> impl Strategy<Value = [Option<String>; 2]> {
    (0_usize..4, 0_usize..5).prop_map(|(first, length)| {
        let of = |at: usize| VERSIONS.get(at).map(|it| (*it).to_owned());
        [of(first).filter(|_| first > 0), of(first + length)]
    })
}

fn fleet() -> impl Strategy<Value = Fleet> {
    let services = prop::collection::vec((0_usize..4, 1_u64..4, prop::bool::weighted(0.2)), 2..6);
    services.prop_flat_map(|services| {
        let count = services.len();
        let features = prop::collection::vec((0..count, interval(), 0..count, interval()), 0..10);
        let wishes = prop::collection::vec((0..count, 0_usize..4, 0_usize..4), 0..3);
        (Just(services), features, wishes).prop_map(|(services, features, wishes)| Fleet {
            services: (0..)
                .zip(services)
                .map(|(at, (current, criticality, pinned))| FleetService {
                    name: format!("s{at}"),
                    criticality,
                    versions: VERSIONS.map(str::to_owned).into(),
                    current: VERSIONS[current].into(),
                    pinned,
                })
                .collect(),
            features: (0..)
                .zip(features)
                .map(|(at, (provider, offered, consumer, used))| Feature {
                    name: format!("f{at}"),
                    provider: format!("s{provider}"),
                    offered,
                    also_offered: Vec::new(),
                    consumer: format!("s{consumer}"),
                    used,
                })
                .collect(),
            intent: wishes
                .into_iter()
                .map(|(service, kind, version)| {
                    let mut wish = Wish { service: format!("s{service}"), ..Wish::default() };
                    let of = [&mut wish.to, &mut wish.at_most, &mut wish.at_least, &mut wish.not];
                    *of.into_iter().nth(kind).unwrap() = Some(VERSIONS[version].into());
                    wish
                })
                .collect(),
        })
    })
}

/// Whether a version is in an interval, as the form says it.
fn is_in(version: &str, [first, end]: &[Option<String>; 2]) -> bool {
    first.as_deref().is_none_or(|first| version >= first) && end.as_deref().is_none_or(|end| version < end)
}

fn works(fleet: &Fleet, state: &BTreeMap<&str, &str>) -> Vec<bool> {
    let works =
        |it: &Feature| !is_in(state[&*it.consumer], &it.used) || is_in(state[&*it.provider], &it.offered);
    fleet.features.iter().map(works).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_answer_holds_when_it_is_read_by_names(fleet in fleet()) {
        let told = answer(&fleet).unwrap();
        prop_assert!(!told.explanation.is_empty());
        if !told.solvable {
            let is_alone = |it: &Contradiction| matches!(it, Contradiction::Feature { .. });
            let is_whole = told.core.len() > 1 || told.core.first().is_some_and(is_alone);
            prop_assert!(is_whole, "{:?}", told.core);
            return Ok(());
        }
        let mut state: BTreeMap<&str, &str> =
            fleet.services.iter().map(|it| (&*it.name, &*it.current)).collect();
        let start = works(&fleet, &state);
        let to: BTreeMap<&str, &str> = told.moves.iter().map(|it| (&*it.service, &*it.to)).collect();
        prop_assert!(told.moves.iter().all(|it| !it.because.is_empty()), "{:?}", told.moves);
        for step in &told.steps {
            step.iter().for_each(|service| { state.insert(service, to[&**service]); });
            let now = works(&fleet, &state);
            prop_assert!(start.iter().zip(&now).all(|(before, now)| *now || !*before));
        }
        prop_assert!(works(&fleet, &state).into_iter().all(|it| it));
        for wish in &fleet.intent {
            let at = state[&*wish.service];
            prop_assert!(wish.to.as_deref().is_none_or(|it| at == it));
            prop_assert!(wish.at_most.as_deref().is_none_or(|it| at <= it));
            prop_assert!(wish.at_least.as_deref().is_none_or(|it| at >= it));
            prop_assert!(wish.not.as_deref().is_none_or(|it| at != it));
        }
        for service in fleet.services.iter().filter(|it| it.pinned) {
            let is_named = fleet.intent.iter().any(|wish| wish.service == service.name);
            prop_assert!(is_named || state[&*service.name] == service.current);
        }
    }
}
