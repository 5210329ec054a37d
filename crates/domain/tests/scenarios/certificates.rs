//! Certificates in the journal: those that renew themselves, what older records mean, and which secrets are needed no more.

use lockstep_domain::acme::steps::{Step, next};
use lockstep_domain::certificate_secrets::KEPT_MS;
use lockstep_domain::{CertificateName, Recorded, Timestamp, World};
use serde_json::{Value, json};

/// Folds events, a millisecond apart, as they stand in a journal.
fn folded(events: &[Value]) -> World {
    let mut world = World::default();
    events.iter().for_each(|event| add(&mut world, event));
    world
}

fn add(world: &mut World, event: &Value) {
    let mut record = json!({"seq": world.seq + 1, "at": world.seq + 1, "actor": "ann"});
    record.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
    world.fold(&serde_json::from_value::<Recorded>(record).unwrap()).unwrap();
}

fn created(name: &str) -> Value {
    let lines = include_str!("recorded/one-at-a-time.jsonl").lines();
    let mut all = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let one = all.find(|it| it["event"] == "environment_created").unwrap();
    json!({"event": "environment_created", "environment": name, "settings": one["settings"]})
}

fn shown(secret: &str, digit: &str) -> Value {
    json!({"event": "certificate_added", "environment": "staging", "certificate": "shop", "secret": secret, "facts": {
        "digest": digit.repeat(64), "names": ["shop.test"], "issuer": "us", "key_kind": "ECDSA P-256",
        "valid_from": 0, "valid_until": 1_000_000
    }})
}

fn requested(environment: &str, account: &str) -> Value {
    json!({"event": "certificate_requested", "environment": environment, "certificate": "shop", "request": {
        "directory": "https://ca.test/dir", "hosts": ["shop.test"], "account": account
    }})
}

fn progressed(progress: &Value) -> Value {
    json!({"event": "certificate_order_progressed", "environment": "staging", "certificate": "shop", "progress": progress})
}

fn placed(key: &str) -> Value {
    progressed(
        &json!({"order": {"url": "https://ca.test/1", "key": key, "begun": 1, "stage": {"is": "placed"}}}),
    )
}

fn removable(world: &World) -> Vec<String> {
    world.removable_secrets(Timestamp(world.at.0 + KEPT_MS))
}

#[test]
fn a_secret_can_go_when_nothing_names_it_and_a_while_has_passed() {
    let mut world = folded(&[created("staging"), shown("a1", "a")]);
    assert_eq!(removable(&world), [""; 0]);
    add(&mut world, &shown("a2", "b"));
    assert_eq!(
        world.removable_secrets(Timestamp(world.at.0 + KEPT_MS - 1)),
        [""; 0],
        "somebody may read it now"
    );
    assert_eq!(removable(&world), ["a1"]);
    add(
        &mut world,
        &json!({"event": "certificate_removed", "environment": "staging", "certificate": "shop"}),
    );
    assert_eq!(removable(&world), ["a1", "a2"]);
    add(&mut world, &json!({"event": "certificate_secrets_removed", "secrets": ["a1"]}));
    assert_eq!(removable(&world), ["a2"]);
}

#[test]
fn an_account_of_two_environments_stays_until_both_are_done_with_it_and_keys_of_orders_go_with_them() {
    let mut world = folded(&[created("staging"), created("production"), shown("a1", "a")]);
    for environment in ["staging", "production"] {
        add(&mut world, &requested(environment, "account"));
    }
    add(&mut world, &placed("k1"));
    assert_eq!(removable(&world), [""; 0]);
    add(&mut world, &progressed(&json!({"failures": 1, "not_before": 5, "problem": "no"})));
    assert_eq!(removable(&world), ["k1"]);
    add(&mut world, &placed("k2"));
    add(
        &mut world,
        &json!({"event": "certificate_request_ended", "environment": "staging", "certificate": "shop"}),
    );
    assert_eq!(removable(&world), ["k1", "k2"], "the other environment has the account");
    assert!(
        world.environment(&"staging".parse().unwrap()).unwrap().certificates.len() == 1,
        "it is still shown"
    );
    add(&mut world, &json!({"event": "environment_removed", "environment": "production"}));
    assert_eq!(removable(&world), ["account", "k1", "k2"]);
    add(&mut world, &json!({"event": "environment_removed", "environment": "staging"}));
    assert_eq!(removable(&world), ["a1", "account", "k1", "k2"]);
}

#[test]
fn what_was_asked_for_and_how_far_it_came_is_there_after_folding_anew() {
    let stage = json!({"is": "told", "answers": [
        {"kind": "http-01", "host": "shop.test", "token": "t", "key_authorization": "t.k"}
    ]});
    let order = json!({"url": "https://ca.test/1", "key": "k", "begun": 1, "stage": stage});
    let world =
        folded(&[created("staging"), requested("staging", "account"), progressed(&json!({"order": order}))]);
    let environment = world.environment(&"staging".parse().unwrap()).unwrap();
    let automatic = &environment.automatic[&"shop".parse::<CertificateName>().unwrap()];
    assert_eq!(next(automatic, None, false, Timestamp(2)), Step::Follow);
    assert_eq!(automatic.answers().len(), 1);
    let again: World = serde_json::from_str(&serde_json::to_string(&world).unwrap()).unwrap();
    assert_eq!(again, world);
    let mut world = world;
    add(
        &mut world,
        &json!({"event": "certificate_request_ended", "environment": "staging", "certificate": "shop"}),
    );
    let late = json!({"seq": world.seq + 1, "at": 9, "actor": "ann", "event": "certificate_order_progressed",
        "environment": "staging", "certificate": "shop", "progress": {}});
    let late: Recorded = serde_json::from_value(late).unwrap();
    assert!(world.fold(&late).is_err(), "progress of what nobody wants any more does not fit");
}
