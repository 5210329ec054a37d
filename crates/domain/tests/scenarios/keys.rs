//! Keys of gateways are for the environments that were there when they were added.

use std::collections::BTreeSet;

use crate::simulation::{Stage, environment};
use lockstep_domain::{Digest, EnvironmentName, Event, World};

fn add(stage: &mut Stage, gateway: &str, environments: &[&str]) {
    let environments = environments.iter().map(|name| environment(name)).collect();
    let key = Digest::from_bytes([7; 32]);
    stage.record(Event::GatewayAdded { gateway: gateway.parse().unwrap(), environments, key });
}

fn served(stage: &Stage, gateway: &str) -> BTreeSet<EnvironmentName> {
    stage.world.gateways[&gateway.parse::<lockstep_domain::GatewayName>().unwrap()]
        .serves(&stage.world)
        .cloned()
        .collect()
}

/// Removes an environment and makes one of its name.
fn replace(stage: &mut Stage, name: &str) {
    let (environment, settings) = (environment(name), stage.env(name).settings.clone());
    stage.record(Event::EnvironmentRemoved { environment: environment.clone(), reason: String::new() });
    assert!(stage.world.gateways_of(&environment).next().is_none());
    stage.record(Event::EnvironmentCreated { environment, settings });
}

#[test]
fn a_key_is_for_no_later_environment_of_the_same_name() {
    let mut stage = Stage::new();
    add(&mut stage, "alone", &["staging"]);
    add(&mut stage, "both", &["staging", "production"]);
    let staging = environment("staging");
    let of: Vec<_> = stage.world.gateways_of(&staging).map(|(name, alone)| (name.as_str(), alone)).collect();
    assert_eq!(of, [("alone", true), ("both", false)]);
    // An older release kept no records: what it knew goes on being for what was there.
    let mut kept = serde_json::to_value(&stage.world).unwrap();
    let forget = |of: &mut serde_json::Value| {
        of.as_object_mut()
            .unwrap()
            .values_mut()
            .for_each(|one| drop(one.as_object_mut().unwrap().remove("record")));
    };
    forget(&mut kept["gateways"]);
    forget(&mut kept["environments"]);
    let older: World = serde_json::from_value(kept).unwrap();
    assert_eq!(older.gateways_of(&staging).count(), 2);
    for _ in 0..2 {
        replace(&mut stage, "staging");
        assert_eq!(served(&stage, "alone"), BTreeSet::new());
        assert_eq!(served(&stage, "both"), [environment("production")].into());
    }
    add(&mut stage, "later", &["staging"]);
    assert_eq!(served(&stage, "later"), [staging.clone()].into());
    stage.world = older;
    replace(&mut stage, "staging");
    assert_eq!(served(&stage, "both"), [environment("production")].into());
}
