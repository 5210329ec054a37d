//! Messages of OTLP (`opentelemetry/proto`, stable since 1.0: numbers of fields never change), as far as something is said in them here.
//!
//! `opentelemetry-proto` has all of them, and needs the SDK beside it, which nothing here uses.

pub mod logs;
pub mod metrics;

use prost::Message;

/// A name and a value.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value; of those that there are, a text.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// The text.
    #[prost(oneof = "Value", tags = "1")]
    pub value: Option<Value>,
}

/// Kinds of values that are made here.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
}

/// What says something.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What is known of it.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// By what it is said.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// What a collector answers.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// That it did not take all.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// That it did not take some.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

impl PartialSuccess {
    /// Returns how many were not taken.
    #[must_use]
    pub fn refused(&self) -> u64 {
        u64::try_from(self.rejected).unwrap_or_default()
    }

    /// Returns why, as it can be shown.
    #[must_use]
    pub fn why(&self) -> String {
        self.error_message.chars().filter(|it| !it.is_control()).take(200).collect()
    }
}

impl ExportResponse {
    /// Reads what is said of what was taken: a message in protobuf, nothing, or an object in JSON, as some collectors answer; `None` where it
    /// is none of them.
    pub(crate) fn read(said: &[u8]) -> Option<Self> {
        let decoded = Self::decode(said).ok();
        let is_object = || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(said).is_ok();
        decoded.or_else(|| is_object().then(Self::default))
    }
}

/// Makes a name with a text.
#[must_use]
pub fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    let value = AnyValue { value: Some(Value::Text(value.into())) };
    KeyValue { key: key.into(), value: Some(value) }
}

/// Returns by what everything is said here.
pub(crate) fn scope() -> Scope {
    Scope { name: "lockstep".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// Makes what says something of what is known and what a person says of it, which goes before.
#[must_use]
pub fn resource(known: &[(&str, &str)], given: &[(String, String)]) -> Resource {
    let is_given = |name: &str| given.iter().any(|(of, _)| of == name);
    let known = known.iter().filter(|(name, _)| !is_given(name)).map(|(name, value)| text(*name, *value));
    let given = given.iter().map(|(name, value)| text(name.as_str(), value.as_str()));
    Resource { attributes: known.chain(given).collect() }
}
