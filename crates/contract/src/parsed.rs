//! Contracts that are read once and compared often: a matrix of versions reads each contract once, not once a pair.
//!
//! Invariant: comparing parsed contracts gives what comparing their sources gives.

use std::fmt;

use crate::library::Library;
use crate::{
    Bump, Comparison, InputError, Kind, Options, Report, Source, asyncapi, avro, detect, foreign, graphql,
    json_schema, openapi, protobuf, sql,
};

/// A contract of a known format that has been read.
pub struct Parsed<'a> {
    pub(crate) source: &'a Source,
    pub(crate) form: Form<'a>,
}

/// What reading makes of each format.
pub(crate) enum Form<'a> {
    OpenApi(openapi::Contract<'a>),
    Protobuf(protobuf::Contract),
    GraphQl(graphql::Contract),
    /// Which dialect it is depends on the other side too, so the text is read with each comparison.
    Sql,
    JsonSchema(Library<'a>),
    Avro(avro::Schema<'a>),
    AsyncApi(asyncapi::Contract<'a>),
}

impl<'a> Parsed<'a> {
    /// Reads a contract.
    ///
    /// # Errors
    /// Everything that keeps it from being read as `kind`, at once.
    pub fn read(source: &'a Source, kind: Kind) -> Result<Self, Vec<InputError>> {
        if let Some(error) = foreign::refuse(source).or_else(|| other_kind(source, kind)) {
            return Err(vec![error]);
        }
        let form = match kind {
            Kind::OpenApi => openapi::read(source).map(Form::OpenApi),
            Kind::Protobuf => protobuf::read(source).map(Form::Protobuf),
            Kind::GraphQl => graphql::read(source).map(Form::GraphQl),
            Kind::Sql => sql::check(source).map(|()| Form::Sql),
            Kind::JsonSchema => json_schema::read(source).map(Form::JsonSchema),
            Kind::Avro => avro::read(source).map(Form::Avro),
            Kind::AsyncApi => asyncapi::read(source).map(Form::AsyncApi),
        }?;
        Ok(Self { source, form })
    }

    /// Reads two contracts, and reports what is wrong with either.
    pub(crate) fn read_both(
        kind: Kind,
        old: &'a Source,
        new: &'a Source,
    ) -> Result<(Self, Self), Vec<InputError>> {
        match (Self::read(old, kind), Self::read(new, kind)) {
            (Ok(old), Ok(new)) => Ok((old, new)),
            (old, new) => Err([old.err(), new.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// The format it was read as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.form {
            Form::OpenApi(_) => Kind::OpenApi,
            Form::Protobuf(_) => Kind::Protobuf,
            Form::GraphQl(_) => Kind::GraphQl,
            Form::Sql => Kind::Sql,
            Form::JsonSchema(_) => Kind::JsonSchema,
            Form::Avro(_) => Kind::Avro,
            Form::AsyncApi(_) => Kind::AsyncApi,
        }
    }
}

impl fmt::Debug for Parsed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parsed").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Tells that a contract says by itself that it is of another format. Readers of one format mostly refuse another; those
/// that are asked here would take anything.
fn other_kind(source: &Source, kind: Kind) -> Option<InputError> {
    if !matches!(kind, Kind::JsonSchema | Kind::Sql) {
        return None;
    }
    let found = detect(source).filter(|found| *found != kind && *found != Kind::JsonSchema)?;
    let file = source.entry().map(|(path, _)| path).unwrap_or_default();
    let error = InputError::new(file, format!("this is {found}, not {kind}"));
    Some(error.with_hint(format!("name it as what it is: {found}")))
}

/// Compares two contracts that have been read; see [`crate::diff`].
///
/// # Errors
/// Two different formats, or operations in the options that cannot be read.
pub fn diff_parsed(old: &Parsed<'_>, new: &Parsed<'_>, options: &Options) -> Result<Report, Vec<InputError>> {
    let comparison = compare(old, new, options)?;
    let floor = if old.source.same_bytes(new.source) { Bump::None } else { Bump::Patch };
    Ok(Report::judge(old.kind(), comparison, floor, &options.acceptances, options.today))
}

fn compare(old: &Parsed<'_>, new: &Parsed<'_>, options: &Options) -> Result<Comparison, Vec<InputError>> {
    match (&old.form, &new.form) {
        (Form::OpenApi(old), Form::OpenApi(new)) => Ok(openapi::compare(old, new, options)),
        (Form::Protobuf(old), Form::Protobuf(new)) => Ok(protobuf::compare(old, new, options)),
        (Form::GraphQl(old), Form::GraphQl(new)) => graphql::compare(old, new, options),
        (Form::JsonSchema(old), Form::JsonSchema(new)) => Ok(json_schema::compare(old, new, options)),
        (Form::Avro(old), Form::Avro(new)) => Ok(avro::compare(old, new, options)),
        (Form::AsyncApi(old), Form::AsyncApi(new)) => Ok(asyncapi::compare(old, new, options)),
        (Form::Sql, Form::Sql) => sql::compare(old.source, new.source, options),
        _ => Err(vec![different_kinds(old.kind(), new.kind())]),
    }
}

pub(crate) fn different_kinds(old: Kind, new: Kind) -> InputError {
    InputError::new("", format!("the old contract is {old}, the new one is {new}"))
        .with_hint("compare two contracts of the same format")
}
