//! Contracts as the world knows them: snapshots by digest, what a consumer was built against, and what comparing found.
//!
//! Reading and comparing contracts is the work of `lockstep-contract`; planning asks through [`Contracts`]. A snapshot
//! is a file in the blob store that holds all files of a contract and how it is to be compared, so equal digests mean
//! equal contracts.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::commits::Bump;
use crate::digest::Digest;
use crate::name::ServiceName;
use crate::seen_use::SeenUse;
use crate::version::{VersionNumber, VersionRange, VersionRef};

/// Longest name of an operation of a contract.
pub const MAX_OPERATION_LENGTH: usize = 512;
/// Reasons that are kept of one answer; the first is what people read.
pub const MAX_REASONS: usize = 20;

macro_rules! words {
    ($(#[$meta:meta])* $type:ident, $what:literal { $($(#[$variant_meta:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $type { $($(#[$variant_meta])* #[serde(rename = $word)] $variant),+ }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in files, in JSON and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| WordError {
                    text: text.chars().take(80).collect(),
                    what: $what,
                    known: Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// Why a text is none of the words that are known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {what}: {known} are known")]
pub struct WordError {
    /// The text, cut to a printable length.
    pub text: String,
    /// What it was meant to be.
    pub what: &'static str,
    /// The words.
    pub known: String,
}

words! {
    /// The format of a contract.
    ContractKind, "a kind of contract" {
        /// OpenAPI 3 or Swagger 2: HTTP operations.
        OpenApi => "openapi",
        /// `.proto` files: messages and services.
        Protobuf => "protobuf",
        /// A GraphQL schema in SDL.
        GraphQl => "graphql",
        /// Migrations of a database.
        Sql => "sql",
        /// JSON Schema of messages.
        JsonSchema => "json_schema",
        /// Avro schemas of messages.
        Avro => "avro",
        /// AsyncAPI 2 or 3: what an application sends and receives.
        AsyncApi => "asyncapi",
    }
}

words! {
    #[derive(Default)]
    /// How Protobuf messages travel, and so what may change.
    ProtobufPolicy, "a policy" {
        /// Only the binary encoding: names may change, numbers and wire types may not.
        #[default]
        Wire => "wire",
        /// The binary and the JSON encoding: JSON names may not change either.
        Json => "json",
        /// Generated source code: nothing that changes the generated names and types.
        Source => "source",
    }
}

words! {
    #[derive(Default)]
    /// What a reader of JSON does with a property that its schema does not name.
    UnknownFields, "a way to treat unknown fields" {
        /// Writers send only what their schema names, unless it describes the rest; so naming one more optional
        /// property breaks nobody.
        #[default]
        Ignored => "ignored",
        /// Writers may send anything their schema does not forbid; naming a property that was free before narrows it.
        Validated => "validated",
        /// Readers reject what their schema does not name, as if every object said `additionalProperties: false`.
        Forbidden => "forbidden",
    }
}

words! {
    #[derive(Default)]
    /// Which end of a topic the owner of a message contract is.
    MessageRole, "a role" {
        /// The owner reads: messages of the old schema must be accepted by the new one.
        #[default]
        Reader => "reader",
        /// The owner writes: messages of the new schema must be accepted by the old one.
        Writer => "writer",
    }
}

words! {
    /// The dialects of SQL whose migrations are read.
    SqlDialect, "a dialect" {
        /// PostgreSQL.
        PostgreSql => "postgresql",
        /// MySQL and MariaDB.
        MySql => "mysql",
        /// SQLite.
        Sqlite => "sqlite",
    }
}

/// The version of a database server, as far as it counts here: `14`, `10.11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct ServerVersion {
    major: u16,
    minor: u16,
}

impl ServerVersion {
    /// The version of two numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            0 => write!(f, "{}", self.major),
            minor => write!(f, "{}.{minor}", self.major),
        }
    }
}

as_text!(ServerVersion);

impl FromStr for ServerVersion {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let read = || {
            let mut parts = text.split('.').map(|part| part.parse::<u16>().ok());
            let (major, minor) = (parts.next()??, parts.next().unwrap_or(Some(0))?);
            parts.all(|part| part.is_some()).then_some(Self { major, minor })
        };
        read().ok_or_else(|| WordError {
            text: text.chars().take(80).collect(),
            what: "a version of a database",
            known: "numbers with dots, such as 14 and 10.11,".to_owned(),
        })
    }
}

words! {
    /// The answer to "does every consumer of one contract fit another?".
    Verdict, "a verdict" {
        /// Proved: nobody breaks.
        Compatible => "compatible",
        /// Proved: somebody breaks.
        Breaking => "breaking",
        /// Neither: the report says what could not be decided.
        NotChecked => "not_checked",
    }
}

/// How a contract is to be compared, where its format leaves a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractSettings {
    /// For Protobuf; only the wire counts when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ProtobufPolicy>,
    /// For OpenAPI and JSON Schema; ignored when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_fields: Option<UnknownFields>,
    /// For JSON Schema and Avro; the reader when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<MessageRole>,
    /// For SQL; guessed from the migrations when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<SqlDialect>,
    /// For SQL: which version of the database the migrations run on; a new one when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ServerVersion>,
    /// For JSON Schema, Avro and AsyncAPI: how long a message is kept where readers find it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
}

impl ContractKind {
    /// True for contracts of messages, which may be read long after they were written.
    #[must_use]
    pub const fn is_of_events(self) -> bool {
        matches!(self, Self::JsonSchema | Self::Avro | Self::AsyncApi)
    }
}

impl ContractSettings {
    /// True when nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Joins the settings of two sides of a comparison: the stricter promise counts, so that nobody gets away with a break
    /// by promising less in the same step. Where the newer side says nothing, the older one speaks.
    #[must_use]
    pub fn with_older(self, older: Self) -> Self {
        Self {
            policy: self.policy.max(older.policy),
            unknown_fields: self.unknown_fields.max(older.unknown_fields),
            role: self.role.or(older.role),
            dialect: self.dialect.or(older.dialect),
            version: self.version.or(older.version),
            retention_ms: self.retention_ms.max(older.retention_ms),
        }
    }
}

/// A contract that a version offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedContract {
    /// Its format.
    pub kind: ContractKind,
    /// Where it came from: the path in the repository, or the command that printed it.
    pub name: String,
    /// Its snapshot in the blob store.
    pub digest: Digest,
    /// The size of the snapshot.
    pub bytes: u64,
    /// How it is compared, and how long its messages are kept.
    #[serde(default, skip_serializing_if = "ContractSettings::is_default")]
    pub settings: ContractSettings,
    /// What comparing it with other versions of the service found when the version was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// What comparing a contract with that of another version of the same service found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The other, older version.
    pub against: VersionNumber,
    /// Whether its consumers fit this one.
    pub verdict: Verdict,
    /// What the change owes.
    pub bump: Bump,
    /// True when no consumer of the older version breaks on this one.
    pub may_deploy: bool,
    /// True when no consumer of this one breaks on the older version.
    pub may_roll_back: bool,
    /// The worst changes and what was not decided, in words, at most [`MAX_REASONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Breaks that the team had agreed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<AcceptedChange>,
    /// The whole report in the blob store.
    pub report: Digest,
}

/// A break that a team had agreed to when a version was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedChange {
    /// The id of the rule.
    pub rule: String,
    /// Where in the contract.
    pub place: String,
    /// Why they agreed.
    pub reason: String,
}

/// What a version needs of another service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "RequirementForm", into = "RequirementForm")]
#[schemars(with = "RequirementForm")]
pub struct Requirement {
    /// The versions it works with, as people say; what counts where contracts cannot tell.
    pub range: Option<VersionRange>,
    /// The contract it was built against.
    pub contract: Option<UsedContract>,
    /// The operations of it that it calls; all when there are none.
    pub operations: Vec<String>,
    /// The port at which a gateway listens for its calls, where its program knows no other.
    pub port: Option<u16>,
}

/// The contract of a provider that a consumer was built against.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct UsedContract {
    /// Its format.
    pub kind: ContractKind,
    /// Where it came from: the path in the consumer's repository, or else the name that the provider gives it.
    pub name: String,
    /// The version of the provider that it was taken from, when the consumer has no copy of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionNumber>,
    /// Its snapshot in the blob store.
    pub digest: Digest,
    /// The size of the snapshot.
    pub bytes: u64,
}

impl Requirement {
    /// A requirement of a range of versions and nothing else.
    #[must_use]
    pub const fn of_range(range: VersionRange) -> Self {
        Self { range: Some(range), contract: None, operations: Vec::new(), port: None }
    }
}

impl fmt::Display for Requirement {
    /// Writes the range, or what else is needed: `^2.1`, `POST /charges`, `clients/payments.yaml`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.range, self.operations.as_slice(), &self.contract) {
            (Some(range), ..) => fmt::Display::fmt(range, f),
            (None, [], Some(contract)) => f.write_str(&contract.name),
            (None, [], None) => f.write_str("*"),
            (None, operations, _) => f.write_str(&operations.join(", ")),
        }
    }
}

/// Requirements as they are stored: a range alone is a string, as it always was.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum RequirementForm {
    Range(VersionRange),
    Whole {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionRange>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contract: Option<UsedContract>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        operations: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
}

impl From<RequirementForm> for Requirement {
    fn from(form: RequirementForm) -> Self {
        match form {
            RequirementForm::Range(range) => Self::of_range(range),
            RequirementForm::Whole { version, contract, operations, port } => {
                Self { range: version, contract, operations, port }
            }
        }
    }
}

impl From<Requirement> for RequirementForm {
    fn from(requirement: Requirement) -> Self {
        match requirement {
            Requirement { range: Some(range), contract: None, operations, port: None }
                if operations.is_empty() =>
            {
                Self::Range(range)
            }
            Requirement { range, contract, operations, port } => {
                Self::Whole { version: range, contract, operations, port }
            }
        }
    }
}

/// The answer to whether one side of a contract fits the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Whether it does.
    pub verdict: Verdict,
    /// What breaks, or what could not be decided, the worst first, at most [`MAX_REASONS`].
    pub reasons: Vec<String>,
    /// What the way to the newer version destroys, so that going back does not bring it back; of databases only, at most
    /// [`MAX_REASONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_way: Vec<String>,
}

impl Answer {
    /// It fits.
    #[must_use]
    pub const fn compatible() -> Self {
        Self { verdict: Verdict::Compatible, reasons: Vec::new(), one_way: Vec::new() }
    }

    /// It cannot be told, for one reason.
    #[must_use]
    pub fn not_checked(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotChecked, reasons: vec![reason.into()], one_way: Vec::new() }
    }
}

/// Compares contracts by their snapshots, and knows what was seen in use. Of contracts, the same digests give the same answers.
pub trait Contracts {
    /// Tells whether what a consumer uses of `used` is offered by `offered`, which is of the same kind.
    fn fit(&self, used: &UsedContract, operations: &[String], offered: &OfferedContract) -> Answer;

    /// Tells whether messages that were written when one version of a reader was in force are read by another.
    fn messages(&self, written: &OfferedContract, read: &OfferedContract) -> Answer;

    /// Tells whether the `older` version of a service works on the schema that the `newer` one leaves behind.
    fn database(&self, older: &OfferedContract, newer: &OfferedContract, way: DatabaseWay) -> Answer;

    /// Names the operations of a contract; `None` where that cannot be told.
    fn operations(&self, offered: &OfferedContract) -> Option<Vec<String>> {
        let _ = offered;
        None
    }

    /// What a version was seen to call of a service, of all that is kept: the one answer that is not of contracts, and not for ever.
    fn seen(&self, consumer: &VersionRef, provider: &ServiceName) -> Vec<SeenUse> {
        let _ = (consumer, provider);
        Vec::new()
    }

    /// What clients were seen to ask a service for.
    fn seen_of_clients(&self, provider: &ServiceName) -> Vec<SeenUse> {
        let _ = provider;
        Vec::new()
    }
}

/// When an older version meets the database of a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatabaseWay {
    /// It still runs while the newer one is rolled out beside it.
    Beside,
    /// It comes back and meets what the newer one has written.
    After,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_alone_is_stored_as_it_always_was() {
        let requirement = Requirement::of_range("^2.1".parse().unwrap());
        let stored = serde_json::to_string(&requirement).unwrap();
        assert_eq!(stored, "\"^2.1\"");
        assert_eq!(serde_json::from_str::<Requirement>(&stored).unwrap(), requirement);
    }

    #[test]
    fn a_whole_requirement_round_trips() {
        let contract = UsedContract {
            kind: ContractKind::OpenApi,
            name: "clients/payments.yaml".into(),
            version: None,
            digest: Digest::from_bytes([7; 32]),
            bytes: 10,
        };
        let requirement = Requirement {
            range: None,
            contract: Some(contract),
            operations: vec!["POST /charges".into()],
            port: Some(80),
        };
        let stored = serde_json::to_string(&requirement).unwrap();
        assert_eq!(serde_json::from_str::<Requirement>(&stored).unwrap(), requirement);
    }

    #[test]
    fn words_are_read_as_they_are_written_and_others_name_what_is_known() {
        for kind in ContractKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        let error = "sqlserver".parse::<SqlDialect>().unwrap_err();
        assert_eq!(error.to_string(), "`sqlserver` is not a dialect: postgresql, mysql, sqlite are known");
    }

    #[test]
    fn versions_of_databases_are_numbers_in_their_order() {
        let read = |text: &str| text.parse::<ServerVersion>();
        assert_eq!(read("10.11").unwrap().to_string(), "10.11");
        assert_eq!(read("8.0.36").unwrap(), ServerVersion::new(8, 0));
        assert!(read("9.6").unwrap() < read("14").unwrap());
        for text in ["", "new", "14.x", "14.1.x", "-1", "70000"] {
            assert!(read(text).unwrap_err().to_string().contains("is not a version of a database"), "{text}");
        }
        let settings = ContractSettings { version: read("12").ok(), ..ContractSettings::default() };
        assert_eq!(serde_json::to_value(settings).unwrap(), serde_json::json!({ "version": "12" }));
    }

    #[test]
    fn the_stricter_of_two_promises_counts() {
        let of = |policy| ContractSettings { policy, ..ContractSettings::default() };
        let (json, wire) = (of(Some(ProtobufPolicy::Json)), of(Some(ProtobufPolicy::Wire)));
        assert_eq!([wire.with_older(json), json.with_older(wire), of(None).with_older(json)], [json; 3]);
    }
}
