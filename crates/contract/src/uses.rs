//! Which operations of a provider a consumer uses, and whether another version of the provider offers them as they were.
//!
//! A consumer says which contract it was built against and which operations of it it calls. It fits a provider when
//! nothing that it uses breaks; what else has changed is not its concern. Invariant: fewer operations never fit worse.

use std::collections::HashSet;

use crate::parsed::{Form, Parsed, different_kinds};
use crate::{
    Change, Findings, InputError, Kind, NotChecked, Options, Source, Verdict, asyncapi, avro, common_kind,
    graphql, json_schema, openapi, protobuf,
};

/// How alike two names must be for one to be suggested for the other: a third of the letters may differ.
const ALIKE: f64 = 2.0 / 3.0;

/// The answer to "does this consumer fit this provider?".
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Whether what the consumer uses still works.
    pub verdict: Verdict,
    /// The differences in what it uses, the worst first.
    pub changes: Vec<Change>,
    /// What of it could not be decided.
    pub not_checked: Vec<NotChecked>,
}

/// An operation that a contract does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOperation {
    /// Its name, as it was given.
    pub name: String,
    /// The operation of the contract whose name is most like it, when one is.
    pub nearest: Option<String>,
}

impl UnknownOperation {
    /// Says which operation was probably meant, when one is like it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
    }
}

/// Judges whether a consumer fits a provider.
///
/// `used` is the contract of the provider that the consumer was built against, `operations` what it calls of it (all when
/// there are none), `offered` the contract of the provider in question. Operations are named as [`operations`] lists them.
/// For a message, `options.message_role` is the role of the provider: `Writer` when the consumer reads the topic. GraphQL
/// operations in the options count beside those that are named.
///
/// # Errors
/// Everything that is wrong with either contract, a format that cannot be told, two different formats, a format without
/// consumers in other services (SQL), and operations that `used` does not have, with the nearest name.
pub fn fit(
    used: &Source,
    operations: &[String],
    offered: &Source,
    options: &Options,
) -> Result<Fit, Vec<InputError>> {
    fit_as(common_kind(used, offered)?, used, operations, offered, options)
}

/// Judges whether a consumer fits a provider, for contracts whose format is known; see [`fit`].
///
/// # Errors
/// As [`fit`].
pub fn fit_as(
    kind: Kind,
    used: &Source,
    operations: &[String],
    offered: &Source,
    options: &Options,
) -> Result<Fit, Vec<InputError>> {
    let (used, offered) = Parsed::read_both(kind, used, offered)?;
    fit_parsed(&used, operations, &offered, options)
}

/// Judges whether a consumer fits a provider, for contracts that have been read; see [`fit`].
///
/// # Errors
/// As [`fit`], but for what is wrong with the contracts themselves.
pub fn fit_parsed(
    used: &Parsed<'_>,
    operations: &[String],
    offered: &Parsed<'_>,
    options: &Options,
) -> Result<Fit, Vec<InputError>> {
    let unknown = unknown_operations(used, operations);
    if !unknown.is_empty() {
        return Err(unknown.iter().map(|one| unknown_operation(used, one)).collect());
    }
    let findings = find(used, operations, offered, options)?.settle(&options.acceptances, options.today);
    let verdict = findings.verdict();
    let Findings { changes, not_checked } = findings;
    Ok(Fit { verdict, changes, not_checked })
}

/// Lists the operations that a contract offers, each in the notation of its format: `POST /charges`,
/// `payments.v1.Payments/Charge`, `Query.order`. Messages and databases have none.
///
/// # Errors
/// Everything that keeps the contract from being read, and a format that cannot be told.
pub fn operations(source: &Source) -> Result<Vec<String>, Vec<InputError>> {
    let kind = common_kind(source, source)?;
    Ok(operations_parsed(&Parsed::read(source, kind)?))
}

/// Lists the operations that a contract which has been read offers; see [`operations`].
#[must_use]
pub fn operations_parsed(contract: &Parsed<'_>) -> Vec<String> {
    match &contract.form {
        Form::OpenApi(contract) => openapi::operations(contract),
        Form::Protobuf(contract) => protobuf::operations(contract),
        Form::GraphQl(contract) => graphql::operations(contract),
        Form::AsyncApi(contract) => asyncapi::operations(contract),
        Form::Sql | Form::JsonSchema(_) | Form::Avro(_) => Vec::new(),
    }
}

/// Lists the operations of a contract in which its owner receives messages; formats that do not say so have none.
///
/// # Errors
/// Everything that keeps the contract from being read.
pub fn received(source: &Source, kind: Kind) -> Result<Vec<String>, Vec<InputError>> {
    if kind != Kind::AsyncApi {
        return Ok(Vec::new());
    }
    let mut operations = operations_parsed(&Parsed::read(source, kind)?);
    operations.retain(|operation| asyncapi::is_received(operation));
    Ok(operations)
}

/// Lists those of the named operations that a contract does not have. Different names of one operation are the same:
/// `/orders/{id}` and `/orders/{order}`, `a.B/C` and `a.B.C`.
#[must_use]
pub fn unknown_operations(contract: &Parsed<'_>, names: &[String]) -> Vec<UnknownOperation> {
    if names.is_empty() {
        return Vec::new();
    }
    let kind = contract.kind();
    let known = operations_parsed(contract);
    let keys: HashSet<String> = known.iter().map(|name| key(kind, name)).collect();
    let unknown = names.iter().filter(|name| !keys.contains(&key(kind, name)));
    let nearest = |name: &str| nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    unknown.map(|name| UnknownOperation { name: name.clone(), nearest: nearest(name) }).collect()
}

/// Checks that a contract can be read as a format.
///
/// # Errors
/// Everything that keeps it from being read, at once.
pub fn check(source: &Source, kind: Kind) -> Result<(), Vec<InputError>> {
    Parsed::read(source, kind).map(drop)
}

fn find(
    used: &Parsed<'_>,
    operations: &[String],
    offered: &Parsed<'_>,
    options: &Options,
) -> Result<Findings, Vec<InputError>> {
    match (&used.form, &offered.form) {
        (Form::OpenApi(used), Form::OpenApi(offered)) => Ok(openapi::fit(used, operations, offered, options)),
        (Form::Protobuf(used), Form::Protobuf(offered)) => {
            Ok(protobuf::fit(used, operations, offered, options))
        }
        (Form::GraphQl(used), Form::GraphQl(offered)) => graphql::fit(used, operations, offered, options),
        (Form::JsonSchema(used), Form::JsonSchema(offered)) => {
            Ok(json_schema::compare(used, offered, options).deploy)
        }
        (Form::Avro(used), Form::Avro(offered)) => Ok(avro::compare(used, offered, options).deploy),
        (Form::AsyncApi(used), Form::AsyncApi(offered)) => {
            Ok(asyncapi::fit(used, operations, offered, options))
        }
        (Form::Sql, Form::Sql) => {
            Err(vec![InputError::new("", "a database schema has no consumers in other services")])
        }
        _ => Err(vec![different_kinds(used.kind(), offered.kind())]),
    }
}

/// What all names of one operation have in common.
fn key(kind: Kind, name: &str) -> String {
    match kind {
        Kind::OpenApi => openapi::key(name),
        Kind::Protobuf => protobuf::key(name),
        Kind::AsyncApi => asyncapi::key(name),
        Kind::GraphQl | Kind::Sql | Kind::JsonSchema | Kind::Avro => name.trim().to_owned(),
    }
}

/// The name that is most like another, when one is like it at all.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let alike = known.into_iter().map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    let best = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, other)| other)
}

fn unknown_operation(used: &Parsed<'_>, unknown: &UnknownOperation) -> InputError {
    let file = used.source.entry().map(|(path, _)| path).unwrap_or_default();
    let message = format!("there is no operation `{}` in the contract that is used", unknown.name);
    let error = InputError::new(file, message);
    match (unknown.hint(), used.kind()) {
        (Some(hint), _) => error.with_hint(hint),
        (None, Kind::JsonSchema | Kind::Avro | Kind::Sql) => {
            error.with_hint("a contract of this format has no operations")
        }
        (None, _) => error.with_hint("name an operation as the contract does"),
    }
}
