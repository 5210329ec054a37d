//! What is promised beside the contract itself: how messages travel, what readers do with what they do not know, and
//! which breaks are agreed to.

use std::path::PathBuf;
use std::str::FromStr;

use lockstep_api::problem::ProblemPart;
use lockstep_contract::{
    Acceptance, Kind, MessageRole, Options, ProtobufPolicy, ServerVersion, SqlDialect, UnknownFields, rule,
    rule_like,
};
use lockstep_domain::contract::ContractSettings;

use super::budget::Budget;
use super::files;

/// Why a break counts as agreed to when only the command line says so.
const REASON: &str = "accepted on the command line";

/// What is promised, as options of a command.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PolicyOptions {
    /// What Protobuf contracts promise: wire (the binary encoding), json too, or source (generated code too); wire when
    /// neither this nor a released version says it.
    #[arg(long, value_name = "POLICY")]
    policy: Option<ProtobufPolicy>,
    /// What readers of JSON do with fields that their schema does not name: ignored (when nothing says otherwise),
    /// validated, or forbidden.
    #[arg(long, value_name = "WHAT")]
    unknown_fields: Option<UnknownFields>,
    /// Which end of a topic the owner of a message is: reader (when nothing says otherwise) or writer.
    #[arg(long, value_name = "ROLE")]
    role: Option<MessageRole>,
    /// The dialect of SQL migrations: postgresql, mysql or sqlite; guessed when nothing says it.
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<SqlDialect>,
    /// The version of the database that SQL migrations run on, such as 14 or 10.11: how long statements hold a table depends
    /// on it. A new one when nothing says it.
    #[arg(long, value_name = "VERSION")]
    database_version: Option<ServerVersion>,
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
    /// Makes the options of a comparison, as of today. What is typed comes before what a released version says.
    pub(super) fn options(self, released: ContractSettings) -> Result<Options, ProblemPart> {
        let operations = self
            .operations
            .map(|path| files::load(&path, Some(Kind::GraphQl), Budget::usual()))
            .transpose()?;
        let accept = |AcceptedBreak { rule, place }| Acceptance {
            rule,
            place,
            reason: REASON.to_owned(),
            until: None,
        };
        let settings = ContractSettings {
            policy: self.policy.or(released.policy),
            unknown_fields: self.unknown_fields.or(released.unknown_fields),
            role: self.role.or(released.role),
            dialect: self.dialect.or(released.dialect),
            version: self.database_version.or(released.version),
            retention_ms: released.retention_ms,
        };
        Ok(Options {
            acceptances: self.accept.into_iter().map(accept).collect(),
            today: Some(jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date()),
            graphql_operations: operations.map(|loaded| loaded.source),
            ..Options::from(settings)
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
