//! By which kind of schema a payload is described, and the comparison of those that are not JSON Schema.

use std::fmt;

use serde_json::Value;

use super::model::{Action, Major, Message};
use crate::openapi::cursor::Cursor;
use crate::{Comparison, Findings, InputError, MessageRole, Options, Source, avro, protobuf};

/// A payload with the kind of schema that describes it.
pub(super) enum Format<'l> {
    Nothing,
    /// JSON Schema, or what AsyncAPI makes of it.
    Json(Option<Cursor<'l>>),
    Avro(Cursor<'l>),
    Protobuf(Cursor<'l>),
    /// A format that is not read, by its name.
    Other(String, Cursor<'l>),
}

/// What formats are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Nothing,
    Json,
    Avro,
    Protobuf,
    Other,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no schema",
            Self::Json => "JSON Schema",
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::Other => "a format that is not read",
        })
    }
}

impl<'l> Format<'l> {
    /// Reads how the headers or the payload of a message are described.
    pub(super) fn of(message: &Message<'l>, key: &str) -> Self {
        let Some(written) = message.get(key) else { return Self::Nothing };
        let followed = written.clone().followed();
        let (name, schema) = match message.major {
            Major::Two => (message.text("schemaFormat").filter(|_| key == "payload"), written),
            // Version 3 wraps a schema of another format together with its name.
            Major::Three => match (followed.text("schemaFormat"), followed.direct("schema")) {
                (Some(name), Some(schema)) => (Some(name), schema),
                _ => (None, written),
            },
        };
        // What a later draft adds is not read here, and a schema may name its own.
        let followed = schema.clone().followed();
        if let Some(draft) = followed.text("$schema").filter(|draft| !is_early(draft)) {
            return Self::Other(draft.to_owned(), schema);
        }
        let Some(name) = name else { return Self::Json(Some(schema)) };
        if name.starts_with("application/schema") && name.contains("version=") && !is_early(name) {
            return Self::Other(name.to_owned(), schema);
        }
        let kind = name.split(';').next().unwrap_or_default().trim();
        let kind = kind.trim_end_matches("+json").trim_end_matches("+yaml");
        match kind {
            // What AsyncAPI has beyond draft 7 is in the list of keywords.
            "application/vnd.aai.asyncapi" | "application/schema" => Self::Json(Some(schema)),
            "application/vnd.apache.avro" => Self::Avro(schema),
            "application/vnd.google.protobuf" => Self::Protobuf(schema),
            _ => Self::Other(name.to_owned(), schema),
        }
    }

    pub(super) const fn family(&self) -> Family {
        match self {
            Self::Nothing => Family::Nothing,
            Self::Json(_) => Family::Json,
            Self::Avro(_) => Family::Avro,
            Self::Protobuf(_) => Family::Protobuf,
            Self::Other(..) => Family::Other,
        }
    }

    pub(super) const fn cursor(&self) -> Option<&Cursor<'l>> {
        match self {
            Self::Nothing => None,
            Self::Json(cursor) => cursor.as_ref(),
            Self::Avro(cursor) | Self::Protobuf(cursor) | Self::Other(_, cursor) => Some(cursor),
        }
    }

    /// True for a value that is a schema of Avro and none of JSON Schema, where nothing says which it is.
    pub(super) fn looks_like_avro(value: &Value) -> bool {
        value.is_string()
            || value.is_array()
            || matches!(
                value.get("type").and_then(Value::as_str),
                Some("record" | "enum" | "fixed" | "map" | "bytes" | "long" | "int")
            )
    }
}

/// True for the drafts of JSON Schema that AsyncAPI is made of.
fn is_early(name: &str) -> bool {
    ["draft-04", "draft-05", "draft-06", "draft-07"].iter().any(|draft| name.contains(draft))
}

/// Compares two payloads of one format that is not JSON Schema, in the direction that is asked for.
pub(super) fn compare(
    family: Family,
    (old, new): (&Cursor<'_>, &Cursor<'_>),
    action: Action,
    options: &Options,
) -> Result<Findings, String> {
    let role = match action {
        Action::Send => MessageRole::Writer,
        Action::Receive => MessageRole::Reader,
    };
    let options = Options { message_role: role, ..options.clone() };
    let both = |name: &str| -> Result<_, String> { Ok([source(old, name)?, source(new, name)?]) };
    match family {
        Family::Avro => {
            compare_read(&both("payload.avsc")?, avro::read, |old, new| avro::compare(old, new, &options))
        }
        Family::Protobuf => compare_read(&both("payload.proto")?, protobuf::read, |old, new| {
            protobuf::compare(old, new, &options)
        }),
        other => Err(format!("`schemaFormat`: {other}")),
    }
}

/// Reads two schemas and compares them, or says what keeps them from being read.
fn compare_read<'s, C>(
    sources: &'s [Source; 2],
    read: impl Fn(&'s Source) -> Result<C, Vec<InputError>>,
    compare: impl Fn(&C, &C) -> Comparison,
) -> Result<Findings, String> {
    let [old, new] = sources;
    if old == new {
        return Ok(Findings::default());
    }
    match (read(old), read(new)) {
        (Ok(old), Ok(new)) => Ok(compare(&old, &new).deploy),
        (old, new) => {
            let errors = [old.err(), new.err()].into_iter().flatten().flatten();
            Err(errors.map(|error| error.to_string()).collect::<Vec<_>>().join("; "))
        }
    }
}

/// A schema that stands inside the document as a contract of its own.
fn source(cursor: &Cursor<'_>, name: &str) -> Result<Source, String> {
    let followed = cursor.clone().followed();
    if let Some(lost) = followed.text("$ref") {
        return Err(format!("the reference `{lost}` leads to nothing that was given"));
    }
    let bytes = match (followed.value(), name.ends_with(".proto")) {
        (Value::String(text), true) => text.clone().into_bytes(),
        // A schema of Avro may be written out as text.
        (Value::String(text), false) if text.trim_start().starts_with(['{', '[']) => {
            text.clone().into_bytes()
        }
        (value, false) => value.to_string().into_bytes(),
        (_, true) => return Err("the schema is no text".to_owned()),
    };
    Ok(Source::file(name, bytes))
}
