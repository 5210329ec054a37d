//! The keys that visits are signed with: made from the key of callers, so that they are kept, backed up and exchanged with it. Gateways get
//! them beside their tables, which every operator sees and which name them by digest.

use lockstep_api::Problem;
use lockstep_api::types::VisitKeys;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::{Digest, EnvironmentName, GatewayName};
use lockstep_gateway::VisitKey;

use crate::Control;
use crate::environments::find;

impl Control {
    /// Returns the keys of an environment for a gateway of its own.
    ///
    /// # Errors
    /// When the gateway is not one of the environment, or there is no such environment.
    pub fn visit_keys_for(
        &self,
        gateway: &GatewayName,
        name: &EnvironmentName,
    ) -> Result<VisitKeys, Problem> {
        self.check_serves(gateway, name)?;
        find(&self.ledger.world(), name)?;
        Ok(VisitKeys { keys: self.callers.visit_keys(name) })
    }

    /// Names the keys in a table whose routes keep visitors, and gives them to the gateway inside the server.
    pub(crate) fn with_visit_keys(&self, table: RouteTable) -> RouteTable {
        let name = table.environment.clone();
        table.with_visit_keys(|| {
            let keys: Vec<_> =
                self.callers.visit_keys(&name).iter().filter_map(|key| VisitKey::parse(key)).collect();
            let digests: Vec<Digest> = keys.iter().map(VisitKey::digest).collect();
            self.gateway.sign_visits(&name, keys);
            digests
        })
    }
}
