//! What a route asks of a request beside host and path: method, header fields, cookies, query parameters, the client's network.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::regex::{Regex, RegexError};
use crate::gateway_rules::Network;

/// Most conditions of each sort in a route.
pub const MAX_CONDITIONS: usize = 16;
/// Longest name of a header field, cookie or query parameter.
const MAX_NAME_BYTES: usize = 64;
/// Longest value that is asked for.
const MAX_VALUE_BYTES: usize = 256;

/// What else has to hold of a request, beside host and path. All of it has to; what is left out does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Its method is one of these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// It has these header fields. Of a field that is given more than once, any line counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Wanted>,
    /// It has these query parameters. Of one that is given more than once, the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<Wanted>,
    /// It has these cookies. Of one that is given more than once, the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<Wanted>,
    /// The client's address is in one of these networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Network>,
}

/// A name, and what its value has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Of a header field in lower case; of a cookie or query parameter as it is spelled.
    pub name: String,
    /// What the value has to be.
    pub value: WantedValue,
}

/// What a value has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WantedValue {
    /// Anything.
    Present,
    /// This, byte by byte.
    Exact(String),
    /// What this regular expression takes as a whole.
    Regex(String),
}

/// Why a condition is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConditionError {
    /// There are too many of a sort.
    #[error("a route has at most {MAX_CONDITIONS} {0}")]
    TooMany(&'static str),
    /// It is no method.
    #[error("`{0}` is not a method: write it in capitals, such as GET")]
    Method(String),
    /// The name cannot be one.
    #[error("`{0}` is not the name of a {1}")]
    Name(String, &'static str),
    /// No request can have the value.
    #[error("the value of `{0}` {1}")]
    Value(String, &'static str),
    /// The regular expression cannot be used.
    #[error("the value of `{0}`: {1}")]
    Regex(String, RegexError),
}

/// What conditions are asked of.
pub trait RequestView {
    /// Returns the method.
    fn method(&self) -> &str;
    /// Returns the query without its `?`, as it is written.
    fn query(&self) -> &str;
    /// Returns the first value of a query parameter, without its escapes.
    fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        parameter(self.query(), name)
    }
    /// Tells whether a line of a header field, named in lower case, is as wanted.
    fn any_header(&self, name: &str, is_wanted: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// Returns the first cookie of a name.
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    /// Returns the address of the client, as far as it is known.
    fn client(&self) -> Option<IpAddr>;
}

impl Conditions {
    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how small the smallest network is, from 0 for none.
    #[must_use]
    pub fn narrowest_network(&self) -> u16 {
        self.clients.iter().map(|network| 1 + u16::from(network.prefix_length())).max().unwrap_or(0)
    }

    /// Returns it with everything in one order, in which two that mean the same are equal.
    #[must_use]
    pub fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        for list in [&mut sorted.headers, &mut sorted.query, &mut sorted.cookies] {
            list.sort();
            list.dedup();
        }
        sorted.clients.sort_by_key(ToString::to_string);
        sorted.clients.dedup();
        sorted
    }

    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<ConditionError> {
        let mut problems = Vec::new();
        let lists = [
            (self.methods.len(), "methods"),
            (self.headers.len(), "header fields"),
            (self.query.len(), "query parameters"),
            (self.cookies.len(), "cookies"),
            (self.clients.len(), "networks of clients"),
        ];
        let too_many = lists.iter().filter(|(count, _)| *count > MAX_CONDITIONS);
        problems.extend(too_many.map(|(_, what)| ConditionError::TooMany(what)));
        problems.extend(self.methods.iter().filter_map(|method| check_method(method).err()));
        problems.extend(self.headers.iter().filter_map(|one| one.check(Sort::Header).err()));
        problems.extend(self.query.iter().filter_map(|one| one.check(Sort::Query).err()));
        problems.extend(self.cookies.iter().filter_map(|one| one.check(Sort::Cookie).err()));
        problems
    }
}

/// Checks a method.
///
/// # Errors
/// When it is none, or one that a gateway does not pass on.
pub fn check_method(method: &str) -> Result<(), ConditionError> {
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    let valid = (1..=24).contains(&method.len()) && method.bytes().all(is_letter) && method != "CONNECT";
    if valid { Ok(()) } else { Err(ConditionError::Method(cut(method))) }
}

/// Where a name is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Among header fields.
    Header,
    /// Among query parameters.
    Query,
    /// Among cookies.
    Cookie,
}

impl Sort {
    const fn name(self) -> &'static str {
        match self {
            Self::Header => "header field",
            Self::Query => "query parameter",
            Self::Cookie => "cookie",
        }
    }
}

impl Wanted {
    /// Checks it.
    ///
    /// # Errors
    /// When no request can have it, or its expression cannot be used.
    pub fn check(&self, sort: Sort) -> Result<(), ConditionError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
        let fits = match sort {
            Sort::Header => self.name.bytes().all(|byte| is_token(byte) && !byte.is_ascii_uppercase()),
            Sort::Cookie => self.name.bytes().all(is_token),
            Sort::Query => !self.name.chars().any(char::is_control),
        };
        if !fits || !(1..=MAX_NAME_BYTES).contains(&self.name.len()) {
            return Err(ConditionError::Name(cut(&self.name), sort.name()));
        }
        let wrong = |why| Err(ConditionError::Value(self.name.clone(), why));
        match &self.value {
            WantedValue::Present => Ok(()),
            WantedValue::Exact(text) if text.len() > MAX_VALUE_BYTES => wrong("is longer than 256 bytes"),
            WantedValue::Exact(text) if text.chars().any(char::is_control) => {
                wrong("has a control character")
            }
            WantedValue::Exact(text) if sort != Sort::Query && text.trim() != text => {
                wrong("begins or ends with a space, which no request keeps")
            }
            WantedValue::Exact(text) if sort == Sort::Cookie && text.contains(';') => {
                wrong("has a `;`, which ends a cookie")
            }
            WantedValue::Exact(_) => Ok(()),
            WantedValue::Regex(text) => match Regex::new(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(ConditionError::Regex(self.name.clone(), error)),
            },
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for WantedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => Ok(()),
            Self::Exact(text) => write!(f, "={text}"),
            Self::Regex(text) => write!(f, "~{text}"),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if index == 0 { " " } else { "," })?;
        }
        for (sort, list) in [("header", &self.headers), ("cookie", &self.cookies), ("query", &self.query)] {
            for Wanted { name, value } in list {
                write!(f, " {sort} {name}{value}")?;
            }
        }
        for (index, network) in self.clients.iter().enumerate() {
            write!(f, "{}{network}", if index == 0 { " client " } else { "," })?;
        }
        Ok(())
    }
}

/// Conditions with their expressions made.
#[derive(Debug, Clone, Default)]
pub(super) struct Tests(Vec<Test>);

#[derive(Debug, Clone)]
enum Test {
    Method(BTreeSet<String>),
    Header(String, ValueTest),
    Query(String, ValueTest),
    Cookie(String, ValueTest),
    Client(Vec<Network>),
}

#[derive(Debug, Clone)]
enum ValueTest {
    Present,
    Exact(String),
    Regex(String, Box<Regex>),
    /// The expression cannot be used.
    Never(String),
}

impl ValueTest {
    fn of(value: &WantedValue) -> Self {
        match value {
            WantedValue::Present => Self::Present,
            WantedValue::Exact(text) => Self::Exact(text.clone()),
            WantedValue::Regex(text) => match Regex::new(text) {
                Ok(regex) => Self::Regex(text.clone(), Box::new(regex)),
                Err(_) => Self::Never(text.clone()),
            },
        }
    }

    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(text) => text.as_bytes() == value,
            Self::Regex(_, regex) => regex.takes(value),
            Self::Never(_) => false,
        }
    }
}

impl fmt::Display for ValueTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str(" is there"),
            Self::Exact(text) => write!(f, " is `{text}`"),
            Self::Regex(text, _) | Self::Never(text) => write!(f, " fits `{text}`"),
        }
    }
}

impl Tests {
    /// Makes the tests of conditions. An expression that cannot be used takes nothing.
    pub(super) fn of(conditions: &Conditions) -> Self {
        let Conditions { methods, headers, query, cookies, clients } = conditions;
        let each = |list: &[Wanted], make: fn(String, ValueTest) -> Test| {
            let test = |it: &Wanted| make(it.name.clone(), ValueTest::of(&it.value));
            list.iter().map(test).collect::<Vec<_>>()
        };
        let mut tests = Vec::new();
        tests.extend((!methods.is_empty()).then(|| Test::Method(methods.clone())));
        tests.extend((!clients.is_empty()).then(|| Test::Client(clients.clone())));
        tests.extend(each(headers, Test::Header));
        tests.extend(each(cookies, Test::Cookie));
        tests.extend(each(query, Test::Query));
        Self(tests)
    }

    /// Tells whether all of them hold.
    pub(super) fn hold(&self, request: &impl RequestView) -> bool {
        self.0.iter().all(|test| test.holds(request))
    }

    /// Says what does not hold first.
    pub(super) fn failed(&self, request: &impl RequestView) -> Option<String> {
        self.0.iter().find(|test| !test.holds(request)).map(ToString::to_string)
    }
}

impl Test {
    fn holds(&self, request: &impl RequestView) -> bool {
        match self {
            Self::Method(methods) => methods.contains(request.method()),
            Self::Header(name, value) => request.any_header(name, &mut |line| value.takes(line)),
            Self::Cookie(name, value) => request.cookie(name).is_some_and(|found| value.takes(found)),
            Self::Query(name, value) => request.parameter(name).is_some_and(|found| value.takes(&found)),
            Self::Client(networks) => {
                request.client().is_some_and(|client| networks.iter().any(|network| network.contains(client)))
            }
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(methods) => {
                write!(f, "method is {}", methods.iter().map(String::as_str).collect::<Vec<_>>().join(" or "))
            }
            Self::Header(name, value) => write!(f, "header {name}{value}"),
            Self::Cookie(name, value) => write!(f, "cookie {name}{value}"),
            Self::Query(name, value) => write!(f, "query parameter {name}{value}"),
            Self::Client(networks) => {
                let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
                write!(f, "client is in {}", networks.join(" or "))
            }
        }
    }
}

/// Returns the first value of a query parameter, without its escapes; a parameter without `=` is empty.
#[must_use]
pub fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(known, _)| is_named(known, name)).map(|(_, value)| plain(value)).next()
}

/// Most names have no escapes.
fn is_named(known: &str, name: &str) -> bool {
    if known.bytes().any(|byte| byte == b'%' || byte == b'+') {
        plain(known) == name.as_bytes()
    } else {
        known == name
    }
}

/// As forms are written: `+` for a space, and `%XX`. What is no escape stands for itself.
fn plain(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => plain.push(b' '),
            (b'%', [high, low, behind @ ..]) => match digit(*high).zip(digit(*low)) {
                Some((high, low)) => {
                    plain.push(high * 16 + low);
                    rest = behind;
                }
                None => plain.push(b'%'),
            },
            _ => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_forms_are_written() {
        let get = |query: &str, name: &str| {
            parameter(query, name).map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        assert_eq!(get("a=1&b=2&a=3", "a").as_deref(), Some("1"), "the first counts");
        assert_eq!(get("%61=x%20y+z", "a").as_deref(), Some("x y z"));
        assert_eq!(get("a&b", "a").as_deref(), Some(""));
        assert_eq!(get("a=%zz%4", "a").as_deref(), Some("%zz%4"));
        assert_eq!(get("a=b=c", "a").as_deref(), Some("b=c"));
        assert_eq!(get("A=1", "a"), None, "case counts");
        assert_eq!(get("", "a"), None);
    }

    #[test]
    fn what_no_request_can_have_is_no_condition() {
        let wanted = |name: &str, value: WantedValue| Wanted { name: name.into(), value };
        let exact = |text: &str| WantedValue::Exact(text.into());
        for (sort, name, value) in [
            (Sort::Header, "X-Lane", exact("a")),
            (Sort::Header, "", exact("a")),
            (Sort::Header, "a b", exact("a")),
            (Sort::Header, "x", exact(" a")),
            (Sort::Header, "x", exact("a\nb")),
            (Sort::Cookie, "x", exact("a;b")),
            (Sort::Cookie, "x", exact(&"a".repeat(257))),
            (Sort::Query, "a\nb", exact("a")),
            (Sort::Query, "x", WantedValue::Regex("(".into())),
        ] {
            assert!(wanted(name, value).check(sort).is_err(), "{name}");
        }
        assert!(wanted("X-Y z", exact(" a ")).check(Sort::Query).is_ok());
        for method in ["get", "", "G T", "CONNECT"] {
            assert!(check_method(method).is_err(), "{method}");
        }
    }
}
