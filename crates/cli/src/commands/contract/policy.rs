//! What is promised beside the contract itself: how messages travel, what readers do with what they do not know, and
//! which breaks are agreed to.

use std::path::PathBuf;
use std::str::FromStr;

use lockstep_api::problem::ProblemPart;
use lockstep_contract::{
    Acceptance, Kind, MessageRole, Options, ProtobufPolicy, SqlDialect, UnknownFields, rule, rule_like,
};

use super::files;

/// Why a break counts as agreed to when only the command line says so.
const REASON: &str = "accepted on the command line";

/// A format, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum KindName {
    Openapi,
    Protobuf,
    Graphql,
    Sql,
    JsonSchema,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Openapi => Self::OpenApi,
            KindName::Protobuf => Self::Protobuf,
            KindName::Graphql => Self::GraphQl,
            KindName::Sql => Self::Sql,
            KindName::JsonSchema => Self::JsonSchema,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    /// Only the binary encoding.
    Wire,
    /// The binary and the JSON encoding.
    Json,
    /// Generated code too.
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Unknown {
    /// Readers ignore it.
    Ignored,
    /// Writers may send anything that is not forbidden.
    Validated,
    /// Readers refuse it.
    Forbidden,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// The owner reads what others write.
    Reader,
    /// The owner writes what others read.
    Writer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    Postgresql,
    Mysql,
    Sqlite,
}

/// What is promised, as options of a command.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PolicyOptions {
    /// What Protobuf contracts promise: the binary encoding, JSON too, or generated code too.
    #[arg(long, value_name = "POLICY", default_value = "wire")]
    policy: Policy,
    /// What readers of JSON do with fields that their schema does not name.
    #[arg(long, value_name = "WHAT", default_value = "ignored")]
    unknown_fields: Unknown,
    /// Which end of a topic the owner of a JSON Schema is.
    #[arg(long, value_name = "ROLE", default_value = "reader")]
    role: Role,
    /// The dialect of SQL migrations; guessed when not given.
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<Dialect>,
    /// GraphQL operations that consumers send, a file or a folder: only what they use can break.
    #[arg(long, value_name = "PATH")]
    operations: Option<PathBuf>,
    /// Accept a break, by its rule and place; may be given several times.
    #[arg(long, value_name = "RULE=PLACE")]
    accept: Vec<AcceptedBreak>,
}

/// A break that is agreed to: `operation-removed=/paths/~1pets/get`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AcceptedBreak {
    rule: String,
    place: String,
}

impl FromStr for AcceptedBreak {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((id, place)) = text.split_once('=') else {
            return Err("write RULE=PLACE, as the report names them".to_owned());
        };
        if rule(id).is_none() {
            let like = rule_like(id).map(|rule| format!("; did you mean `{}`?", rule.id));
            return Err(format!("there is no rule `{id}`{}", like.unwrap_or_default()));
        }
        Ok(Self { rule: id.to_owned(), place: place.to_owned() })
    }
}

impl PolicyOptions {
    /// Makes the options of a comparison, as of today.
    pub(super) fn options(self) -> Result<Options, ProblemPart> {
        let operations = self.operations.map(|path| files::load(&path, Some(Kind::GraphQl))).transpose()?;
        let accept = |AcceptedBreak { rule, place }| Acceptance {
            rule,
            place,
            reason: REASON.to_owned(),
            until: None,
        };
        Ok(Options {
            protobuf: match self.policy {
                Policy::Wire => ProtobufPolicy::Wire,
                Policy::Json => ProtobufPolicy::Json,
                Policy::Source => ProtobufPolicy::Source,
            },
            unknown_fields: match self.unknown_fields {
                Unknown::Ignored => UnknownFields::Ignored,
                Unknown::Validated => UnknownFields::Validated,
                Unknown::Forbidden => UnknownFields::Forbidden,
            },
            message_role: match self.role {
                Role::Reader => MessageRole::Reader,
                Role::Writer => MessageRole::Writer,
            },
            sql_dialect: self.dialect.map(|dialect| match dialect {
                Dialect::Postgresql => SqlDialect::PostgreSql,
                Dialect::Mysql => SqlDialect::MySql,
                Dialect::Sqlite => SqlDialect::Sqlite,
            }),
            acceptances: self.accept.into_iter().map(accept).collect(),
            today: Some(jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date()),
            graphql_operations: operations.map(|loaded| loaded.source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_break_names_a_rule_that_there_is() {
        let accepted: AcceptedBreak = "operation-removed=/paths/~1a=b/get".parse().unwrap();
        assert_eq!(
            (accepted.rule.as_str(), accepted.place.as_str()),
            ("operation-removed", "/paths/~1a=b/get")
        );
        let unknown = "operation-remove=/paths".parse::<AcceptedBreak>().unwrap_err();
        assert_eq!(unknown, "there is no rule `operation-remove`; did you mean `operation-removed`?");
        assert!("operation-removed".parse::<AcceptedBreak>().is_err());
    }
}
