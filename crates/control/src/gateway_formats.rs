//! Whether every gateway of an environment takes the tables that something new needs: one that does not would go on with its last one,
//! whatever ends after that.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::EnvironmentName;

use crate::Control;

impl Control {
    /// Returns a gateway that reports and takes only tables of older formats than this.
    pub(crate) fn older_gateway(&self, environment: &EnvironmentName, format: u32) -> Option<String> {
        let seen = self.registry.gateways(environment, self.ledger.now());
        let older = seen.into_iter().find(|it| it.takes_format.is_some_and(|takes| takes < format));
        older.map(|it| it.gateway)
    }

    /// Refuses what needs tables of a format that a gateway does not take; `detail` says it, with the gateway's name.
    ///
    /// # Errors
    /// When there is such a gateway.
    pub(crate) fn check_takes_format(
        &self,
        environment: &EnvironmentName,
        format: u32,
        detail: impl FnOnce(&str) -> String,
    ) -> Result<(), Problem> {
        let Some(gateway) = self.older_gateway(environment, format) else { return Ok(()) };
        let name = gateway.split('/').next().unwrap_or_default();
        let hint = format!("upgrade it first, or let nothing wait for it: lockstep gateway remove {name}");
        Err(Problem::new(ErrorCode::Conflict, detail(&gateway)).with_hint(hint))
    }
}
