//! One form for every way of writing the host that a request asks for.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use thiserror::Error;

/// Longest host name.
const MAX_HOST: usize = 253;

/// What a route's host begins with that takes all hosts below a name.
pub const WILDCARD: &str = "*.";

/// The host is not one, or has something that belongs elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the host name is not valid")]
pub struct HostProblem;

/// A host in its one form, lower case and without a dot at its end, with the port that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authority<'a> {
    text: Cow<'a, str>,
    host: usize,
}

impl<'a> Authority<'a> {
    /// Reads `shop.test`, `Shop.Test.:8080` or `[::1]:80`. An empty one is no host.
    ///
    /// # Errors
    /// When a part of it is not what it should be.
    pub fn read(text: &'a str) -> Result<Self, HostProblem> {
        let (host, port) = match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
            _ => (text, None),
        };
        let host = normalize_host(host)?;
        let port = port.map(checked_port).transpose()?.unwrap_or_default();
        let length = host.len();
        if length == 0 && !text.is_empty() {
            return Err(HostProblem);
        }
        let is_unchanged = text.len() == length + if port.is_empty() { 0 } else { 1 + port.len() };
        let text = match host {
            Cow::Borrowed(_) if is_unchanged => Cow::Borrowed(text),
            host if port.is_empty() => host,
            host => Cow::Owned(format!("{host}:{port}")),
        };
        Ok(Self { text, host: length })
    }

    /// Returns the host without its port.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        Some(&self.text[..self.host]).filter(|host| !host.is_empty())
    }

    /// Returns the host with its port, as a `host` field has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn checked_port(port: &str) -> Result<&str, HostProblem> {
    let digits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let valid = digits && (port.is_empty() || port.parse::<u16>().is_ok());
    if valid { Ok(port) } else { Err(HostProblem) }
}

/// Returns the one form of a host without port.
///
/// # Errors
/// When it is neither a name nor an address in brackets.
pub fn normalize_host(host: &str) -> Result<Cow<'_, str>, HostProblem> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(HostProblem)?;
        let address: Ipv6Addr = inner.parse().map_err(|_| HostProblem)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if name.len() > MAX_HOST || !name.bytes().all(allowed) || dots || (name.is_empty() && !host.is_empty()) {
        return Err(HostProblem);
    }
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// Returns the one form of the host of a route: a host name, or `*.shop.test` for all below `shop.test`.
///
/// # Errors
/// When it is neither.
pub fn normalize_route_host(text: &str) -> Result<String, HostProblem> {
    let (wildcard, name) = match text.strip_prefix(WILDCARD) {
        Some(rest) => (WILDCARD, rest),
        None => ("", text),
    };
    let is_address = !wildcard.is_empty() && name.starts_with('[');
    if name.is_empty() || is_address {
        return Err(HostProblem);
    }
    Ok(format!("{wildcard}{}", normalize_host(name)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<(Option<String>, String), HostProblem> {
        let authority = Authority::read(text)?;
        Ok((authority.host().map(str::to_owned), authority.as_str().to_owned()))
    }

    #[test]
    fn every_way_of_writing_a_host_has_one_form() {
        let table = [
            ("shop.test", "shop.test", "shop.test"),
            ("Shop.Test", "shop.test", "shop.test"),
            ("shop.test.", "shop.test", "shop.test"),
            ("SHOP.test.:8080", "shop.test", "shop.test:8080"),
            ("shop.test:", "shop.test", "shop.test"),
            ("a_b-c.test:80", "a_b-c.test", "a_b-c.test:80"),
            ("127.0.0.1:1", "127.0.0.1", "127.0.0.1:1"),
            ("[::1]:80", "[::1]", "[::1]:80"),
            ("[0:0::1]", "[::1]", "[::1]"),
        ];
        for (text, host, whole) in table {
            assert_eq!(read(text), Ok((Some(host.to_owned()), whole.to_owned())), "{text}");
        }
        assert_eq!(read(""), Ok((None, String::new())));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(254);
        for bad in [
            "shop.test/x",
            "user@shop.test",
            "shop test",
            "shop.test:abc",
            "shop.test:99999",
            "shop.test:+1",
            ".shop.test",
            "shop..test",
            "shop.test..",
            ".",
            "..",
            "shop%2Etest",
            "a,b",
            "[::1",
            "[::1]x",
            "[v1.a]",
            "::1",
            "[fe80::1%25eth0]",
            "caf\u{e9}.test",
            "a:b:1",
            ":80",
            ":",
            &long,
        ] {
            assert_eq!(read(bad), Err(HostProblem), "{bad}");
        }
    }

    #[test]
    fn a_route_names_a_host_or_all_below_one() {
        let form = |text: &str| normalize_route_host(text).ok();
        assert_eq!(form("Shop.Test.").as_deref(), Some("shop.test"));
        assert_eq!(form("*.Shop.test.").as_deref(), Some("*.shop.test"));
        for bad in [
            "",
            "*",
            "*.",
            "*.*.test",
            "a*.test",
            "shop.*",
            "**.test",
            "*.[::1]",
            "shop.test:80",
            "*.shop.test:80",
        ] {
            assert_eq!(form(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_form_is_its_own_form(text in "[a-cA-C.:0-9\\[\\]-]{0,14}") {
            if let Ok((host, whole)) = read(&text) {
                let again = read(&whole);
                prop_assert_eq!(again, Ok((host, whole)), "{}", text);
            }
        }
    }
}
