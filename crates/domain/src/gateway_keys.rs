//! Which environments the key of a gateway is for: those that were there when it was added, and none that came later by their names.

use crate::gateway::GatewayIdentity;
use crate::name::{EnvironmentName, GatewayName};
use crate::world::World;

impl GatewayIdentity {
    /// Lists the environments that its key is for: those that were there when it was added, not later ones of their names.
    pub fn serves<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a EnvironmentName> + use<'a> {
        let is_there = move |name: &&EnvironmentName| {
            world.environment(name).is_some_and(|environment| environment.record <= self.record)
        };
        self.environments.iter().filter(is_there)
    }
}

impl World {
    /// Lists the gateways whose key is for an environment, and whether it is for no other.
    pub fn gateways_of<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> impl Iterator<Item = (&'a GatewayName, bool)> + use<'a> {
        self.gateways.iter().filter_map(move |(name, identity)| {
            let serves: Vec<_> = identity.serves(self).collect();
            serves.contains(&environment).then_some((name, serves.len() == 1))
        })
    }
}
