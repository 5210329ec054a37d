//! Synthetic checks: requests that gateways make by themselves as customers would, so that a fault is seen where nobody asks at the moment.
//!
//! Invariant: neither a check nor what it causes in the chain of calls counts as a request of a customer. It is told apart by [`CHECK_MARK`], which
//! gateways carry on as they carry the numbers of rules.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::name::ServiceName;
use crate::routes::{CALLER_PATH_PREFIX, RouteRule};

/// The format that a gateway must take where a version has checks.
pub const FORMAT_WITH_CHECKS: u32 = 28;
/// What stands among the rules of a request that a check causes. No rule has it: those are numbers of records.
pub const CHECK_MARK: u64 = u64::MAX;
/// Most checks of a version: each gateway makes all of them.
pub const MAX_CHECKS: usize = 20;
/// Times between two runs of a check, in milliseconds: the shortest, the longest, and where nothing is said.
pub const EVERY_MS: (u64, u64, u64) = (1_000, 60 * 60 * 1_000, 30_000);
/// How long an answer may take as a whole, in milliseconds: the least, the most, and where nothing is said.
pub const WITHIN_MS: (u64, u64, u64) = (1, 30_000, 5_000);
/// Bytes of an answer in which a text is looked for.
pub const MAX_LOOKED_THROUGH: usize = 64 * 1_024;
/// Longest text that is looked for, longest name, and longest path.
pub const MAX_TEXT: usize = 256;
/// Longest path with its query.
const MAX_PATH: usize = 2_048;

/// A request that gateways make again and again, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What it is called, in its service.
    pub name: String,
    /// What is asked for.
    pub request: CheckRequest,
    /// The host that is asked for; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How long after one run the next one begins.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub every_ms: u64,
    /// What its answer must be.
    pub expect: Expect,
}

/// What a check asks for, as `GET /orders/health`. It changes nothing: no other methods than GET and HEAD are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct CheckRequest {
    method: CheckMethod,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckMethod {
    Get,
    Head,
}

/// What the answer to a check must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Its status; anything from 200 to 299 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it may take as a whole.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub within_ms: u64,
    /// What must stand in the first 64 KiB of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// A check of the version that is current, in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableCheck {
    /// Whose it is.
    pub service: ServiceName,
    /// The check.
    pub check: Check,
}

/// What a gateway knows of one of its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckSeen {
    /// Whose it is.
    pub service: ServiceName,
    /// Its name.
    pub name: String,
    /// What is asked for.
    pub request: CheckRequest,
    /// How long after one run the next one begins, in milliseconds.
    pub every_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub within_ms: u64,
    /// The last run, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<CheckRun>,
    /// Runs that were as they must be, since the gateway has the check.
    pub passed: u64,
    /// Runs that were not.
    pub failed: u64,
    /// How many of the last runs failed one after the other.
    pub failed_in_a_row: u32,
}

/// One run of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckRun {
    /// How long ago it ended when this was said, in milliseconds. No time of a clock: those of machines differ.
    pub ago_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Who answered, as `orders@1.4.0`; nobody where no version did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was wrong with it, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// The answer to a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckAnswer<'a> {
    /// Its status.
    pub status: u16,
    /// What was read of its body, at most [`MAX_LOOKED_THROUGH`] bytes.
    pub body: &'a [u8],
}

/// Why a text is no request of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CheckRequestError {
    /// It has another form.
    #[error("a check asks for a method and a path, as in \"GET /orders/health\"")]
    Form,
    /// The method may change something.
    #[error("a check changes nothing, so it asks by GET or HEAD")]
    Method,
    /// The path says who calls.
    #[error(
        "the token of a caller stands in no manifest; a check of a service without a route asks for /@SERVICE/"
    )]
    Token,
    /// The path is none.
    #[error("a path begins with / and has at most 2048 printable characters of ASCII, without # and spaces")]
    Path,
}

impl Check {
    /// Returns the host that its request names: what it says, else that of the first route with a host which takes the path.
    #[must_use]
    pub fn host_among<'a>(&'a self, routes: &'a [RouteRule]) -> Option<&'a str> {
        let path = self.request.path.split('?').next().unwrap_or_default();
        let takes = |rule: &&RouteRule| rule.takes_path(path);
        let of_routes = || {
            let hosts = routes.iter().filter(takes).filter_map(|rule| rule.host.as_deref());
            hosts.into_iter().find(|host| !host.starts_with(crate::request_host::WILDCARD))
        };
        self.host.as_deref().or_else(of_routes)
    }
}

impl CheckRequest {
    /// Returns the method: `GET` or `HEAD`.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self.method {
            CheckMethod::Get => "GET",
            CheckMethod::Head => "HEAD",
        }
    }

    /// Returns the path with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Expect {
    /// Returns what is wrong with an answer that came in time, if anything is.
    #[must_use]
    pub fn fault_of(&self, answer: CheckAnswer<'_>) -> Option<String> {
        let CheckAnswer { status, body } = answer;
        match self.status {
            Some(wanted) if status != wanted => Some(format!("was answered {status} instead of {wanted}")),
            None if !(200..300).contains(&status) => {
                Some(format!("was answered {status} instead of 200 to 299"))
            }
            _ => self.lacking(body),
        }
    }

    /// Returns what is wrong when there was no answer in time.
    #[must_use]
    pub fn fault_of_silence(&self) -> String {
        format!("was not answered within {} ms", self.within_ms)
    }

    fn lacking(&self, body: &[u8]) -> Option<String> {
        let text = self.contains.as_deref()?;
        let is_there = body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        (!is_there).then(|| format!("`{text}` is not in the answer"))
    }
}

impl CheckSeen {
    /// Returns the same with texts as long as they may be: a gateway of its own may say anything.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |text: &mut String| *text = text.chars().take(MAX_TEXT).collect();
        if let Some(last) = &mut self.last {
            last.version.iter_mut().chain(&mut last.fault).for_each(cut);
        }
        self
    }
}

impl fmt::Display for CheckRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.path)
    }
}

impl FromStr for CheckRequest {
    type Err = CheckRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (method, path) = text.split_once(' ').ok_or(CheckRequestError::Form)?;
        let method = match method {
            "GET" => CheckMethod::Get,
            "HEAD" => CheckMethod::Head,
            _ => return Err(CheckRequestError::Method),
        };
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if path.starts_with(CALLER_PATH_PREFIX) {
            return Err(CheckRequestError::Token);
        }
        if !path.starts_with('/') || path.len() > MAX_PATH || !path.bytes().all(is_plain) {
            return Err(CheckRequestError::Path);
        }
        Ok(Self { method, path: path.to_owned() })
    }
}

as_text!(CheckRequest);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expect(status: Option<u16>, contains: Option<&str>) -> Expect {
        Expect { status, within_ms: 300, contains: contains.map(str::to_owned) }
    }

    #[test]
    fn a_request_is_a_method_that_changes_nothing_and_a_path() {
        let request: CheckRequest = "GET /orders/7?x=1".parse().unwrap();
        assert_eq!((request.method(), request.path()), ("GET", "/orders/7?x=1"));
        assert_eq!(request.to_string(), "GET /orders/7?x=1");
        for (text, why) in [
            ("/orders", CheckRequestError::Form),
            ("POST /orders", CheckRequestError::Method),
            ("get /orders", CheckRequestError::Method),
            ("GET orders", CheckRequestError::Path),
            ("GET  /orders", CheckRequestError::Path),
            ("GET /@~secret/@orders/", CheckRequestError::Token),
            ("GET /a b", CheckRequestError::Path),
            ("GET /a\r\nx: y", CheckRequestError::Path),
            ("GET /a#b", CheckRequestError::Path),
        ] {
            assert_eq!(text.parse::<CheckRequest>(), Err(why), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_said_by_its_first_difference() {
        let fault = |expect: Expect, status, body: &str| {
            expect.fault_of(CheckAnswer { status, body: body.as_bytes() })
        };
        assert_eq!(fault(expect(None, None), 204, ""), None);
        assert_eq!(fault(expect(Some(404), None), 404, ""), None);
        assert_eq!(
            fault(expect(None, None), 302, "").as_deref(),
            Some("was answered 302 instead of 200 to 299")
        );
        assert_eq!(
            fault(expect(Some(200), Some("ok")), 500, "ok").as_deref(),
            Some("was answered 500 instead of 200")
        );
        assert_eq!(fault(expect(None, Some("up")), 200, "all up"), None);
        assert_eq!(fault(expect(None, Some("up")), 200, "u p").as_deref(), Some("`up` is not in the answer"));
    }

    #[test]
    fn the_host_is_that_of_the_route_that_takes_the_path() {
        let route = |host: Option<&str>, path: &str| RouteRule {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            ..RouteRule::default()
        };
        let routes = [
            route(Some("admin.test"), "/admin"),
            route(Some("*.shop.test"), "/orders"),
            route(Some("shop.test"), "/orders"),
        ];
        let check = |path: &str, host: Option<&str>| Check {
            name: "a".into(),
            request: format!("GET {path}").parse().unwrap(),
            host: host.map(str::to_owned),
            every_ms: 1_000,
            expect: expect(None, None),
        };
        assert_eq!(check("/orders/7?a=/admin", None).host_among(&routes), Some("shop.test"));
        assert_eq!(check("/orders", Some("eu.shop.test")).host_among(&routes), Some("eu.shop.test"));
        assert_eq!(check("/other", None).host_among(&routes), None);
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_is_written(head in any::<bool>(), rest in "[!-\"$-~]{0,60}") {
            let text = format!("{} /{rest}", if head { "HEAD" } else { "GET" });
            let request: CheckRequest = text.parse().unwrap();
            prop_assert_eq!(request.to_string(), text);
        }
    }
}
