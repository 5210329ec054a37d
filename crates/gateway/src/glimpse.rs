//! What can be said of a request whose head is refused: enough for a line in the access log.
//!
//! Invariant: it decides nothing, and a token of a caller is never part of it.

use std::borrow::Cow;

use http::request::Parts;
use httparse::{EMPTY_HEADER, Request as Head};
use lockstep_domain::request_path::normalize_path;
use lockstep_domain::routes::CALLER_PATH_PREFIX;

use crate::request::MAX_FIELDS;

/// What was seen of a request; empty where nothing was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Glimpse<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: Cow<'a, str>,
}

impl<'a> Glimpse<'a> {
    /// Looks at the beginning of a request of HTTP/1. Of what is no head nothing is said.
    pub(crate) fn of_bytes(bytes: &'a [u8]) -> Self {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut head = Head::new(&mut fields);
        // What follows a fault is not looked at, and what comes before it is there.
        let _ = head.parse(bytes);
        let host = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
        let host = host.and_then(|field| std::str::from_utf8(field.value).ok()).unwrap_or_default();
        let target = head.path.unwrap_or_default();
        let (host, target) = match target.split_once("://") {
            Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
            None => (host, target),
        };
        Self { method: head.method.unwrap_or_default(), host, path: shown(target) }
    }

    /// Looks at a request of HTTP/2.
    pub(crate) fn of_parts(parts: &'a Parts) -> Self {
        let field = parts.headers.get("host").and_then(|value| value.to_str().ok());
        let host = parts.uri.authority().map(http::uri::Authority::as_str).or(field).unwrap_or_default();
        Self { method: parts.method.as_str(), host, path: shown(parts.uri.path()) }
    }
}

/// Returns a path as others may see it: without its query, and without what may be a token, however it is written.
fn shown(target: &str) -> Cow<'_, str> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = normalize_path(path).unwrap_or(Cow::Borrowed(path));
    let plain = path.replace("%40", "@").to_ascii_lowercase().replace("%7e", "~");
    if plain.contains("@~") { CALLER_PATH_PREFIX.into() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_seen_as_is_there() {
        for (bytes, method, host, path) in [
            ("GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nexpect: x\r\n\r\n", "GET", "a.test", "/a"),
            ("PUT http://b.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n", "PUT", "b.test", "/x"),
            ("GET /a HTTP/1.1\r\nbad field\r\n\r\n", "GET", "", "/a"),
            ("GET /%zz HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET", "a.test", "/%zz"),
            ("\u{1}", "", "", ""),
        ] {
            assert_eq!(
                Glimpse::of_bytes(bytes.as_bytes()),
                Glimpse { method, host, path: path.into() },
                "{bytes}"
            );
        }
    }

    #[test]
    fn no_token_is_seen() {
        for path in [
            "/@~secret.a/x",
            "/%40~secret",
            "/%zz/@%7Esecret",
            "//@~secret",
            "/./@~secret",
            "http://a.test/@~secret",
        ] {
            let head = format!("GET {path} HTTP/1.1\r\n\r\n");
            let seen = Glimpse::of_bytes(head.as_bytes());
            assert!(!seen.path.contains("secret"), "{seen:?}");
        }
    }
}
