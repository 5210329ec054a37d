//! What the caller decides about a comparison. Every field has a default that suits most teams.

use jiff::civil::Date;
use lockstep_domain::contract::ContractSettings;
pub use lockstep_domain::contract::{MessageRole, ProtobufPolicy, ServerVersion, SqlDialect, UnknownFields};

use crate::{Acceptance, Source};

/// Settings of one comparison.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which of the three promises a Protobuf contract makes.
    pub protobuf: ProtobufPolicy,
    /// What readers of JSON do with properties their schema does not name.
    pub unknown_fields: UnknownFields,
    /// Which end of a topic the owner of a JSON Schema is.
    pub message_role: MessageRole,
    /// Breaks the team has agreed to.
    pub acceptances: Vec<Acceptance>,
    /// The day of the comparison: decides whether acceptances and sunsets have run out. Without it nothing has.
    pub today: Option<Date>,
    /// GraphQL operations that consumers are known to send; when given, only what they use can break.
    pub graphql_operations: Option<Source>,
    /// The dialect of SQL migrations; guessed from their text when not given.
    pub sql_dialect: Option<SqlDialect>,
    /// The version of the database that SQL migrations run on; a new one when not given.
    pub sql_version: Option<ServerVersion>,
}

impl From<ContractSettings> for Options {
    /// Takes what a manifest says about a contract, and the defaults for the rest.
    fn from(settings: ContractSettings) -> Self {
        Self {
            protobuf: settings.policy.unwrap_or_default(),
            unknown_fields: settings.unknown_fields.unwrap_or_default(),
            message_role: settings.role.unwrap_or_default(),
            sql_dialect: settings.dialect,
            sql_version: settings.version,
            ..Self::default()
        }
    }
}
