//! What happens, as it stands in the journal, in words.

use std::collections::BTreeSet;
use std::fmt;

use lockstep_domain::{Actor, EnvironmentName, OperationId, ServiceName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that happened. The whole record is in the export of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// The number of its record.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who caused it; `lockstep` for what it does by itself.
    pub actor: Actor,
    /// What kind of thing it is, such as `operation_begun`.
    pub event: String,
    /// The environment that it concerns, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The services that it is about, by their present names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<ServiceName>,
    /// The operation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// What happened, in one line.
    pub what: String,
}

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Only of this environment.
    pub environment: Option<EnvironmentName>,
    /// Only of what is about this service.
    pub service: Option<ServiceName>,
    /// Only of the last so many milliseconds, by the clock of the server.
    pub within_ms: Option<u64>,
    /// So many of them at most, the newest.
    pub newest: Option<u64>,
    /// Only what was recorded after this record, and all of that.
    pub after: Option<u64>,
}

impl fmt::Display for EventQuery {
    /// Writes it as the query of an address; what it is made of needs no encoding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let all = [
            ("environment", self.environment.as_ref().map(ToString::to_string)),
            ("service", self.service.as_ref().map(ToString::to_string)),
            ("within_ms", number(self.within_ms)),
            ("newest", number(self.newest)),
            ("after", number(self.after)),
        ];
        let given = all.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.enumerate().try_for_each(|(at, (name, value))| {
            let before = if at == 0 { '?' } else { '&' };
            write!(f, "{before}{name}={value}")
        })
    }
}
