//! Where instances are told to call other services: the gateway inside the server, or one of its own somewhere else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// The word for the gateway inside the server.
const SERVER: &str = "server";
/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;
/// Longest URL: a host name has at most 253 characters.
const MAX_URL_LENGTH: usize = 300;

/// The gateway through which the instances of an environment call other services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum CallAddress {
    /// The gateway inside the server, on the port of the environment.
    #[default]
    Server,
    /// A gateway of its own, or what stands before several.
    Elsewhere(GatewayUrl),
}

/// The address of a gateway: `http://` or `https://`, a host, and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl(Arc<str>);

/// Why a text is not the address of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not the address of a gateway: {why}")]
pub struct CallAddressError {
    /// The text, cut to a printable length.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl CallAddress {
    /// Tells whether it is the gateway inside the server.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        matches!(self, Self::Server)
    }
}

impl GatewayUrl {
    /// Returns where on this machine the gateway listens; `None` for one that is on another, or may be.
    #[must_use]
    pub fn on_loopback(&self) -> Option<SocketAddr> {
        let rest = self.0.strip_prefix("http://")?;
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return address.ip().is_loopback().then_some(address);
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (rest, HTTP_PORT),
        };
        let ip = match host.trim_start_matches('[').trim_end_matches(']') {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            other => other.parse::<IpAddr>().ok()?,
        };
        ip.is_loopback().then(|| SocketAddr::new(ip, port))
    }
}

impl FromStr for CallAddress {
    type Err = CallAddressError;

    fn from_str(text: &str) -> Result<Self, CallAddressError> {
        let plain = text.trim_end_matches('/');
        match problem(plain) {
            _ if text == SERVER => Ok(Self::Server),
            None => Ok(Self::Elsewhere(GatewayUrl(plain.into()))),
            Some(why) => Err(CallAddressError { text: text.chars().take(80).collect(), why }),
        }
    }
}

/// Says what keeps a text from being `http://` or `https://`, a host, and perhaps a port.
pub(crate) fn problem(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else { return Some("write `server`, or http://HOST:PORT") };
    if url.len() > MAX_URL_LENGTH {
        return Some("it is longer than 300 characters");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Some("the port is not a number from 1 to 65535");
    }
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let usable = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')),
    };
    (!usable).then_some("only a host and a port may follow, without a user or a path")
}

as_text!(CallAddress);

impl fmt::Display for CallAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str(SERVER),
            Self::Elsewhere(url) => write!(f, "{url}"),
        }
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_server_or_a_host_with_a_port() {
        let read = |text: &str| text.parse::<CallAddress>().map(|address| address.to_string());
        assert_eq!(read("server"), Ok("server".to_owned()));
        assert_eq!(read("http://edge.internal:8080/"), Ok("http://edge.internal:8080".to_owned()));
        assert_eq!(read("https://10.0.0.5"), Ok("https://10.0.0.5".to_owned()));
        assert_eq!(read("http://[::1]:8080"), Ok("http://[::1]:8080".to_owned()));
        assert_eq!(read("http://[::1]"), Ok("http://[::1]".to_owned()));
        for bad in [
            "",
            "edge:8080",
            "ftp://edge",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "http://ann@edge",
            "http://edge/path",
            "http://e dge",
            "http://[::1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_address_of_loopback_is_on_this_machine() {
        let place = |text: &str| match text.parse().unwrap() {
            CallAddress::Elsewhere(url) => url.on_loopback().map(|address| address.to_string()),
            CallAddress::Server => None,
        };
        for (url, here) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://localhost:8080", Some("127.0.0.1:8080")),
            ("http://localhost", Some("127.0.0.1:80")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("http://[::1]", Some("[::1]:80")),
            ("https://127.0.0.1:8080", None),
            ("http://10.0.0.5:8080", None),
            ("http://edge.internal:8080", None),
            ("http://localhost.evil.test:8080", None),
        ] {
            assert_eq!(place(url).as_deref(), here, "{url}");
        }
    }

    #[test]
    fn settings_that_were_written_without_it_mean_the_server() {
        let old = r#"{"accepts_from":"created","strategy":{"strategy":"all_at_once"},"warm_ms":1,"gateway_port":1}"#;
        let settings: crate::environment::EnvironmentSettings = serde_json::from_str(old).unwrap();
        assert_eq!(settings.gateway_url, CallAddress::Server);
        assert_eq!(settings.gateway_rules, crate::gateway_rules::GatewayRules::before_rules());
    }
}
