//! What a route does with the requests that it takes: it answers them itself, or changes them and their answers on their way.
//!
//! Invariant: nothing here can frame a message, end a connection, or speak in the gateway's own name ([`is_reserved`]).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::compress::{Compress, CompressError};
use super::cors::{Cors, CorsError};
use super::template::{self, Segment, TemplateError};
use super::{FORMAT_WITH_COMPRESSION, FORMAT_WITH_VISITS, PathType, PrefixHandling, RouteRule};
use crate::request_host::normalize_route_host;
use crate::request_path::{Spelled, normalize_path, without_double_start};
use crate::visit::{Visit, VisitError};

/// Longest body of a static answer: what is longer belongs to a service.
pub const MAX_RESPOND_BYTES: usize = 16 * 1_024;
/// Most fields that are set, added and removed each way.
const MAX_CHANGES: usize = 32;
/// Longest value of a field that is set.
const MAX_VALUE_BYTES: usize = 1_024;
/// Longest time for which a visitor has a key: browsers keep no cookie for longer.
pub const MAX_STICKY_S: u64 = 400 * 24 * 60 * 60;

/// What is done with requests beside sending them to the service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Actions {
    /// The client is sent elsewhere; no instance is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// The gateway answers; no instance is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
    /// The service sees another path or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Header fields that the service sees or does not see.
    #[serde(default, skip_serializing_if = "FieldChanges::is_empty")]
    #[schemars(extend("default" = FieldChanges::default()))]
    pub request_headers: FieldChanges,
    /// Header fields that the client sees or does not see.
    #[serde(default, skip_serializing_if = "FieldChanges::is_empty")]
    #[schemars(extend("default" = FieldChanges::default()))]
    pub response_headers: FieldChanges,
    /// Which pages of other origins may read the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// For how many seconds a browser without a key gets one of the gateway's in a cookie, so that it stays on one side of a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_s: Option<u64>,
    /// How a visitor is kept on one side of rollouts by a signed cookie, also while shares grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_VISITS))]
    pub visit: Option<Visit>,
    /// How answers are compressed for clients who take that; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_COMPRESSION))]
    pub compress: Option<Compress>,
}

/// Where a client is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The scheme; as the client came when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The host; as the client asked for when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port; the usual one of the scheme where scheme or host is given, else as the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What takes the place of what the route matched of the path; the query stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status: u16,
}

const fn found() -> u16 {
    302
}

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An answer that the gateway gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// From 200 to 599.
    pub status: u16,
    /// Its body, at most 16 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("default" = String::default()))]
    pub body: String,
    /// The type of the body.
    #[serde(default = "plain_text", skip_serializing_if = "is_plain_text")]
    #[schemars(extend("default" = plain_text()))]
    pub content_type: String,
}

/// The type of a body that nothing is said of.
#[must_use]
pub fn plain_text() -> String {
    "text/plain; charset=utf-8".into()
}

fn is_plain_text(kind: &String) -> bool {
    *kind == plain_text()
}

/// What a service sees instead.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// What takes the place of what the route matched of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The host; `x-forwarded-host` still says what the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Header fields that are set, added and removed; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldChanges {
    /// In the place of what there was of that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Beside what there was of that name; of a name that can stand only once, only if there was none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
    /// Names of those that go.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub remove: BTreeSet<String>,
}

/// Why an action cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ActionError {
    /// Two actions cannot both be done.
    #[error("`{0}` and `{1}` cannot both be done")]
    Both(&'static str, &'static str),
    /// A redirect would lead to where the client is.
    #[error("a redirect says at least one of scheme, host, port and path")]
    NoTarget,
    /// The status is none of those.
    #[error("{0} is not a status of {1}")]
    Status(u16, &'static str),
    /// The body is too long.
    #[error("the body is longer than {MAX_RESPOND_BYTES} bytes: let a service answer")]
    Body,
    /// The status has no body.
    #[error("an answer of status {0} has no body")]
    NoBody(u16),
    /// The host is none.
    #[error("`{0}` is not a host name without scheme, port and path")]
    Host(String),
    /// The path is none.
    #[error("`{0}` cannot take the place of a path: {1}")]
    Path(String, String),
    /// A variable is not one of the route.
    #[error("the path of the route has no variable `{0}`")]
    Variable(String),
    /// The name is no name of a header field, or one that only the gateway writes.
    #[error("the field `{0}` {1}")]
    Field(String, &'static str),
    /// There are too many changes.
    #[error("at most {MAX_CHANGES} fields are set, added and removed")]
    TooMany,
    /// What cannot be said of other origins.
    #[error(transparent)]
    Cors(#[from] CorsError),
    /// What cannot be compressed so.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The time is none, or longer than browsers keep cookies.
    #[error("a visitor stays for one second to 400 days")]
    Sticky,
    /// How no visitor can be kept.
    #[error(transparent)]
    Visit(#[from] VisitError),
}

impl Actions {
    /// Tells whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Tells whether the gateway answers itself.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.redirect.is_some() || self.respond.is_some()
    }

    /// Returns everything that is wrong with them in a rule.
    #[must_use]
    pub fn problems(&self, rule: &RouteRule) -> Vec<ActionError> {
        let mut problems = Vec::new();
        let has_path = self.rewrite.as_ref().is_some_and(|rewrite| rewrite.path.is_some());
        let pairs = [
            (self.redirect.is_some() && self.respond.is_some(), "redirect", "respond"),
            (self.answers() && self.rewrite.is_some(), "rewrite", "an answer of the gateway"),
            (self.sticky_s.is_some() && self.visit.is_some(), "sticky_s", "visit"),
            (has_path && rule.prefix == PrefixHandling::Strip, "rewrite.path", "strip_prefix"),
        ];
        problems
            .extend(pairs.into_iter().filter(|it| it.0).map(|(_, one, other)| ActionError::Both(one, other)));
        problems.extend(self.redirect.iter().flat_map(|it| it.problems(rule)));
        problems.extend(self.respond.iter().filter_map(|it| it.check().err()));
        problems.extend(self.rewrite.iter().flat_map(|it| it.problems(rule)));
        problems.extend(self.request_headers.problems());
        problems.extend(self.response_headers.problems());
        problems.extend(self.cors.iter().flat_map(Cors::problems).map(ActionError::from));
        problems.extend(self.compress.iter().flat_map(Compress::problems).map(ActionError::from));
        let lasts = self.sticky_s.is_none_or(|it| (1..=MAX_STICKY_S).contains(&it));
        problems.extend((!lasts).then_some(ActionError::Sticky));
        problems.extend(self.visit.iter().flat_map(Visit::problems).map(ActionError::from));
        problems
    }
}

impl Redirect {
    fn problems(&self, rule: &RouteRule) -> Vec<ActionError> {
        let nowhere =
            self.scheme.is_none() && self.host.is_none() && self.port.is_none() && self.path.is_none();
        let status = !matches!(self.status, 301 | 302 | 303 | 307 | 308);
        let mut problems = Vec::new();
        problems.extend(nowhere.then_some(ActionError::NoTarget));
        problems.extend(
            status.then_some(ActionError::Status(self.status, "a redirect: 301, 302, 303, 307, 308")),
        );
        problems.extend(self.host.iter().filter_map(|host| check_host(host).err()));
        problems.extend(self.path.iter().filter_map(|path| check_path(path, rule).err()));
        problems
    }

    /// Returns where a client is sent that came by a scheme and asked for a host, with its port, and a path with its query.
    /// `None` when the path has no form any more.
    #[must_use]
    pub fn location(
        &self,
        rule: &RouteRule,
        (scheme, authority): (Scheme, &str),
        (path, query): (Spelled<'_>, &str),
    ) -> Option<String> {
        let path = match &self.path {
            Some(replacement) => replaced(rule, replacement, path)?,
            None => path.sent.to_owned(),
        };
        if self.scheme.is_none() && self.host.is_none() && self.port.is_none() {
            return Some(format!("{path}{query}"));
        }
        let scheme = self.scheme.unwrap_or(scheme).as_str();
        let asked = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let asked_host = asked.map_or(authority, |(host, _)| host);
        let host = self.host.as_deref().unwrap_or(asked_host);
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{scheme}://{host}{port}{path}{query}"))
    }
}

impl Respond {
    pub(crate) fn check(&self) -> Result<(), ActionError> {
        if !(200..=599).contains(&self.status) {
            return Err(ActionError::Status(self.status, "an answer: 200 to 599"));
        }
        if matches!(self.status, 204 | 205 | 304) && !self.body.is_empty() {
            return Err(ActionError::NoBody(self.status));
        }
        if self.body.len() > MAX_RESPOND_BYTES {
            return Err(ActionError::Body);
        }
        check_value("content-type", &self.content_type)
    }
}

impl Rewrite {
    fn problems(&self, rule: &RouteRule) -> Vec<ActionError> {
        let host = self.host.iter().filter_map(|host| check_host(host).err());
        host.chain(self.path.iter().filter_map(|path| check_path(path, rule).err())).collect()
    }
}

fn check_host(host: &str) -> Result<(), ActionError> {
    let form = normalize_route_host(host).ok().filter(|form| form == host && !form.starts_with('*'));
    form.map(|_| ()).ok_or_else(|| ActionError::Host(host.chars().take(80).collect()))
}

/// Checks what takes the place of a path; of a template it may have the variables.
fn check_path(path: &str, rule: &RouteRule) -> Result<(), ActionError> {
    let wrong = |why: String| ActionError::Path(path.chars().take(80).collect(), why);
    if rule.path_type != PathType::Template {
        return match normalize_path(path) {
            Ok(form) if form == path => Ok(()),
            Ok(form) => Err(wrong(format!("write it as `{form}`"))),
            Err(problem) => Err(wrong(problem.to_string())),
        };
    }
    template::check(path).map_err(|error: TemplateError| wrong(error.to_string()))?;
    let known: Vec<Segment<'_>> = template::segments(&rule.path).collect();
    let unknown =
        template::segments(path).find(|it| !matches!(it, Segment::Literal(_)) && !known.contains(it));
    match unknown {
        Some(Segment::Variable(name)) => Err(ActionError::Variable(format!("{{{name}}}"))),
        Some(Segment::Rest(name)) => Err(ActionError::Variable(format!("{{{name}...}}"))),
        Some(Segment::Literal(_)) | None => Ok(()),
    }
}

/// Returns a path, which the rule takes, with something in the place of what the rule matched: the prefix, the whole of an exact
/// path, and of a template all of it, with the variables. `None` when that has no form.
#[must_use]
pub fn replaced(rule: &RouteRule, replacement: &str, path: Spelled<'_>) -> Option<String> {
    let new = match rule.path_type {
        PathType::Exact => replacement.to_owned(),
        PathType::Prefix => match path.behind(rule.path.trim_end_matches('/').len()) {
            "" | "/" if replacement.ends_with('/') => replacement.to_owned(),
            rest => format!("{}{rest}", replacement.trim_end_matches('/')),
        },
        PathType::Template => template::fill(replacement, &values(rule, path)?),
    };
    let new = if new.is_empty() { "/".to_owned() } else { new };
    let form = normalize_path(&new).ok()?;
    Some(if path.is_alike() { form.into_owned() } else { without_double_start(&new).to_owned() })
}

/// Returns the variables of a template for a path that it takes, what is left at an open end as it is sent on.
fn values<'a>(rule: &'a RouteRule, path: Spelled<'a>) -> Option<Vec<(&'a str, &'a str)>> {
    let mut values = template::values(&rule.path, path.matched)?;
    if let Some((_, rest)) = values.last_mut().filter(|_| template::is_open(&rule.path)) {
        *rest = path.behind(path.matched.len() - rest.len());
    }
    Some(values)
}

impl FieldChanges {
    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Tells whether what there was of a name goes.
    #[must_use]
    pub fn drops(&self, name: &str) -> bool {
        let is = |known: &String| known.eq_ignore_ascii_case(name);
        self.remove.iter().any(is) || self.set.keys().any(is)
    }

    /// Goes through what takes the place of what there was.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Goes through what comes beside what there was.
    pub fn adds(&self) -> impl Iterator<Item = (&str, &str)> {
        self.add.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Goes through what comes.
    pub fn gives(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sets().chain(self.adds())
    }

    fn problems(&self) -> Vec<ActionError> {
        let mut problems = Vec::new();
        let count = self.set.len() + self.add.len() + self.remove.len();
        problems.extend((count > MAX_CHANGES).then_some(ActionError::TooMany));
        let names = self.set.keys().chain(self.add.keys()).chain(&self.remove);
        problems.extend(names.filter_map(|name| check_field(name).err()));
        problems.extend(self.gives().filter_map(|(name, value)| check_value(name, value).err()));
        problems
    }
}

/// Checks the name of a field that a route may change.
///
/// # Errors
/// When it is none, or one that only the gateway writes.
pub fn check_field(name: &str) -> Result<(), ActionError> {
    let is_token =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.!#$%&'*+^`|~".contains(&byte);
    let wrong = |why| Err(ActionError::Field(name.chars().take(80).collect(), why));
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_token) {
        return wrong("is no name in lower case");
    }
    if is_reserved(name) {
        return wrong("frames, routes or vouches for messages, which only the gateway does");
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), ActionError> {
    let wrong = |why| Err(ActionError::Field(name.chars().take(80).collect(), why));
    if value.len() > MAX_VALUE_BYTES {
        return wrong("has a value of more than 1024 bytes");
    }
    if value.chars().any(char::is_control) || value.trim() != value {
        return wrong("has a value with a control character, or with a space at an end");
    }
    Ok(())
}

/// Tells whether a field, in lower case, can stand once in a message: its value is no list (RFC 9110, 5.3), and who reads two lines of it takes
/// whichever it likes.
#[must_use]
pub fn stands_once(name: &str) -> bool {
    const NAMES: [&str; 24] = [
        "access-control-allow-credentials",
        "access-control-allow-origin",
        "access-control-max-age",
        "authorization",
        "content-disposition",
        "content-location",
        "content-type",
        "etag",
        "expires",
        "from",
        "if-modified-since",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "location",
        "max-forwards",
        "origin",
        "range",
        "referer",
        "referrer-policy",
        "retry-after",
        "strict-transport-security",
        "user-agent",
        "x-frame-options",
    ];
    NAMES.contains(&name)
}

/// Tells whether a field, in lower case, belongs to a connection or to the framing, or says something that only the gateway may say.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 38] = [
        "baggage",
        "cf-connecting-ip",
        "client-ip",
        "connection",
        "content-length",
        "expect",
        "fastly-client-ip",
        "forwarded",
        "front-end-https",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "true-client-ip",
        "upgrade",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-lockstep-key",
        "x-original-host",
        "x-original-ip",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
        "x-scheme",
        "cookie",
        "grpc-timeout",
        "age",
        "date",
        "content-encoding",
        "content-range",
    ];
    let name = name.replace('_', "-");
    NAMES.contains(&name.as_str()) || name.starts_with("x-forwarded-") || name.starts_with("lockstep-")
}

#[cfg(test)]
mod tests;
