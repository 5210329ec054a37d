//! A journal that was recorded when one operation at a time moved services, and the world that it folded to then.

use lockstep_domain::{OperationId, Recorded, World};
use serde_json::Value;

const JOURNAL: &str = include_str!("recorded/one-at-a-time.jsonl");
const WORLD: &str = include_str!("recorded/one-at-a-time.world.json");

/// What the fold makes of an environment, apart from how the operations under way are kept.
const KEPT: [&str; 11] = [
    "name",
    "settings",
    "baselines",
    "configurations",
    "configured",
    "revoked",
    "replicas",
    "holds",
    "warm",
    "dismissed",
    "operations",
];

/// Tells whether everything that was there is the same; a newer release may have added fields with their usual values.
fn still_is(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            then.iter().all(|(name, then)| now.get(name).is_some_and(|now| still_is(now, then)))
        }
        (Value::Array(now), Value::Array(then)) => {
            now.len() == then.len() && now.iter().zip(then).all(|(now, then)| still_is(now, then))
        }
        _ => now == then,
    }
}

fn folded() -> World {
    let mut world = World::default();
    for line in JOURNAL.lines() {
        world.fold(&serde_json::from_str::<Recorded>(line).unwrap()).unwrap();
    }
    world
}

#[test]
fn a_journal_of_one_operation_at_a_time_folds_to_the_same_world() {
    let (now, then): (Value, Value) =
        (serde_json::to_value(folded()).unwrap(), serde_json::from_str(WORLD).unwrap());
    for field in ["seq", "at", "lifecycles", "branches", "services", "gateways", "operations"] {
        let (now, then) = (&now[field], &then[field]);
        assert!(still_is(now, then), "{field}: {now}, and was {then}");
    }
    let environments = then["environments"].as_object().unwrap();
    assert_eq!(environments.len(), 3);
    for (name, then) in environments {
        let now = &now["environments"][name];
        for field in KEPT {
            let (now, then) = (&now[field], &then[field]);
            assert!(still_is(now, then), "{field} of {name}: {now}, and was {then}");
        }
    }
}

#[test]
fn what_was_under_way_is_under_way() {
    let then: Value = serde_json::from_str(WORLD).unwrap();
    let staging = &then["environments"]["staging"];
    let mut ids: Vec<_> =
        staging["beside"].as_array().unwrap().iter().chain([&staging["operation"]]).collect();
    ids.sort_by_key(|operation| operation["id"].as_u64());
    let world = folded();
    let environment = world.environment(&"staging".parse().unwrap()).unwrap();
    let under_way: Vec<_> =
        environment.under_way().map(|operation| serde_json::to_value(&**operation).unwrap()).collect();
    assert_eq!(under_way.iter().collect::<Vec<_>>(), ids);
    assert_eq!(environment.find_operation(OperationId(1)).unwrap().id, OperationId(1));
}
