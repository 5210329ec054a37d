//! The address of a server. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;

/// A name that never leaves the machine, whatever a resolver says.
const LOCALHOST: &str = "localhost";
/// Longest host name.
const MAX_HOST_BYTES: usize = 255;

/// Why a text is not the address of a server. It never repeats what could be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Neither `http://` nor `https://`.
    #[error("write http://HOST:PORT or https://HOST, for example http://{instead}")]
    Scheme {
        /// A host and port that fit.
        instead: String,
    },
    /// User or password in it.
    #[error("an address has no user and no password: a token is given with --token-file")]
    Secret,
    /// Host, port or path are wrong.
    #[error("write http://HOST:PORT or https://HOST: {0}")]
    Part(&'static str),
}

/// The address of a server, such as `http://127.0.0.1:8470` or `https://lockstep.example.org/in/a/folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    scheme: Scheme,
    /// In lower case, without brackets or a dot at its end.
    host: String,
    port: u16,
    /// A path before every path of the API, without a slash at its end; of a socket, the path of that.
    base: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// HTTP by a socket of this machine, in the place of host and port.
    Socket,
}

impl Scheme {
    const fn usual_port(self) -> u16 {
        match self {
            Self::Http | Self::Socket => 80,
            Self::Https => 443,
        }
    }
}

impl ServerAddress {
    /// Returns the address of a server that is reached by a socket of this machine. It is no text that is read ([`FromStr`]): an address
    /// that somebody else wrote leads to no socket.
    #[must_use]
    pub fn at_socket(path: String) -> Self {
        let (scheme, host) = (Scheme::Socket, LOCALHOST.to_owned());
        Self { scheme, host, port: scheme.usual_port(), base: path }
    }

    /// Returns the socket at which it is reached, where it is one.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        (self.scheme == Scheme::Socket).then(|| Path::new(&self.base))
    }

    /// Tells whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Returns the host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the same place with the other of `http` and `https`.
    #[must_use]
    pub fn with_other_scheme(&self) -> Self {
        let scheme = match self.scheme {
            Scheme::Http => Scheme::Https,
            Scheme::Https => Scheme::Http,
            Scheme::Socket => return self.clone(),
        };
        let port = if self.port == self.scheme.usual_port() { scheme.usual_port() } else { self.port };
        Self { scheme, port, ..self.clone() }
    }

    /// Returns the port when this machine is asked without TLS.
    #[must_use]
    pub fn loopback_port(&self) -> Option<u16> {
        (self.scheme == Scheme::Http && self.keeps_secrets()).then_some(self.port)
    }

    /// Tells whether nobody on the way can read what is sent.
    pub(crate) fn keeps_secrets(&self) -> bool {
        let is_loopback = || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.is_tls() || self.host == LOCALHOST || is_loopback()
    }

    /// Returns the addresses of a host that no resolver needs to be asked for. The server listens on IPv4 by itself.
    pub(crate) fn known_ips(&self) -> Option<Vec<IpAddr>> {
        if self.host == LOCALHOST {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        self.host.parse().ok().map(|ip| vec![ip])
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port, whatever the scheme.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// Returns the path before every path that is asked there, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        if self.scheme == Scheme::Socket { "" } else { &self.base }
    }

    /// Returns the same place without a path.
    #[must_use]
    pub fn without_base(&self) -> Self {
        let base = if self.scheme == Scheme::Socket { self.base.clone() } else { String::new() };
        Self { base, ..self.clone() }
    }

    /// Returns host and port as a `host` field has them.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.usual_port() { self.bracketed_host() } else { self.host_and_port() }
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            return Err(AddressError::Secret);
        }
        let (scheme, rest) = scheme(text)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority, scheme)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        if !path.bytes().all(plain) {
            return Err(AddressError::Part("the path has characters that do not belong there"));
        }
        Ok(Self { scheme, host, port, base: path.trim_end_matches('/').to_owned() })
    }
}

fn scheme(text: &str) -> Result<(Scheme, &str), AddressError> {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((Scheme::Http, rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((Scheme::Https, rest)),
        _ => {
            let rest = text.rsplit("://").next().filter(|rest| host_and_port(rest, Scheme::Http).is_ok());
            Err(AddressError::Scheme { instead: rest.unwrap_or("127.0.0.1:8470").to_owned() })
        }
    }
}

fn host_and_port(authority: &str, scheme: Scheme) -> Result<(String, u16), AddressError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, port) = inner.split_once(']').ok_or(AddressError::Part("a bracket is not closed"))?;
            let ip: Ipv6Addr = host.parse().map_err(|_| AddressError::Part("that is no IPv6 address"))?;
            (ip.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (name(host)?, port)
        }
    };
    Ok((host, self::port(port, scheme)?))
}

fn name(host: &str) -> Result<String, AddressError> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.bytes().all(plain) {
        return Err(AddressError::Part("that is no name of a host and no address"));
    }
    Ok(host.to_ascii_lowercase())
}

fn port(text: &str, scheme: Scheme) -> Result<u16, AddressError> {
    let wrong = AddressError::Part("a port is a number up to 65535");
    match text.strip_prefix(':') {
        None if text.is_empty() => Ok(scheme.usual_port()),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or(wrong)
        }
        _ => Err(wrong),
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::Socket {
            return write!(f, "unix:{}", self.base);
        }
        let scheme = if self.is_tls() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, AddressError> {
        text.parse::<ServerAddress>().map(|address| address.to_string())
    }

    #[test]
    fn addresses_have_one_form() {
        for (text, form) in [
            ("http://a:1/", "http://a:1"),
            ("http://[::1]:8470", "http://[::1]:8470"),
            ("HTTPS://Lockstep.Example.org.:443", "https://lockstep.example.org"),
            ("https://a:80", "https://a:80"),
            ("http://a:80/in/x//", "http://a/in/x"),
            ("https://[0::1]/x", "https://[::1]/x"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(form), "{text}");
            assert_eq!(shown(form).as_deref(), Ok(form));
        }
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for bad in [
            "",
            "http://",
            "https://",
            "http:///x",
            "http://a b",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://a:1x",
            "http://[::1",
            "http://[a]:1",
            "http://a?x=1",
            "http://a/#b",
            "http://é",
            "/path",
        ] {
            assert!(
                shown(bad).unwrap_err().to_string().starts_with("write http://HOST:PORT or https://HOST"),
                "{bad}"
            );
        }
        let error = shown("localhost:8470").unwrap_err().to_string();
        assert_eq!(error, "write http://HOST:PORT or https://HOST, for example http://localhost:8470");
        let error = shown("https://ann:secret@host").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_socket_is_an_address_that_no_text_leads_to() {
        let address = ServerAddress::at_socket("/run/way".into());
        assert_eq!(
            (address.to_string().as_str(), address.authority().as_str()),
            ("unix:/run/way", "localhost")
        );
        assert!(address.keeps_secrets() && address.loopback_port().is_none() && address.base().is_empty());
        assert_eq!([address.without_base(), address.with_other_scheme()], [address.clone(), address]);
        for text in ["unix:/run/way", "unix:///run/way", "http://unix:/run/way"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_other_scheme_keeps_the_place() {
        let other = |text: &str| text.parse::<ServerAddress>().unwrap().with_other_scheme().to_string();
        assert_eq!(other("http://a:8470/x"), "https://a:8470/x");
        assert_eq!(other("https://a"), "http://a");
    }
}
