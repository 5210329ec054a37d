//! What the caller decides about a comparison. Every field has a default that suits most teams.

use jiff::civil::Date;

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
}

/// The dialects of SQL whose migrations are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlDialect {
    /// PostgreSQL.
    PostgreSql,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

/// How Protobuf messages travel, and so what may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ProtobufPolicy {
    /// Only the binary encoding: names may change, numbers and wire types may not.
    #[default]
    Wire,
    /// The binary and the JSON encoding: JSON names may not change either.
    Json,
    /// Generated source code: nothing that changes the generated names and types.
    Source,
}

/// What a reader of JSON does with a property that its schema does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UnknownFields {
    /// Writers send only what their schema names, unless it describes the rest; so naming one more optional property
    /// breaks nobody.
    #[default]
    Ignored,
    /// Writers may send anything their schema does not forbid; naming a property that was free before narrows it.
    Validated,
    /// Readers reject what their schema does not name, as if every object said `additionalProperties: false`.
    Forbidden,
}

/// Which end of a topic the owner of a message contract is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MessageRole {
    /// The owner reads: messages of the old schema must be accepted by the new one.
    #[default]
    Reader,
    /// The owner writes: messages of the new schema must be accepted by the old one.
    Writer,
}
