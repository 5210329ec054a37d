//! The address of a resource, as a URL: taken apart into what services are told one by one.
//!
//! Invariant: nothing in an error shows the address, which may hold a password.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Detail, ResourceKind};

/// Longest address.
const MAX_BYTES: usize = 4_096;
/// Ports that go without saying, by scheme.
const PORTS: [(&str, u16); 15] = [
    ("amqp", 5672),
    ("amqps", 5671),
    ("http", 80),
    ("https", 443),
    ("kafka", 9092),
    ("mariadb", 3306),
    ("memcached", 11211),
    ("mongodb", 27017),
    ("mysql", 3306),
    ("nats", 4222),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("redis", 6379),
    ("rediss", 6379),
    ("valkey", 6379),
];

/// The address of a resource.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The whole of it, as it was given.
    url: String,
    scheme: String,
    host: String,
    port: u16,
    user: String,
    password: String,
    name: String,
    /// Whether it asks for TLS from the first byte, or leaves it to be found out by who connects.
    tls: bool,
}

/// What is wrong with an address. The address itself is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is empty.
    #[error("the address is empty")]
    Empty,
    /// It is too long.
    #[error("the address has {0} bytes, and at most {MAX_BYTES} are taken")]
    TooLong(usize),
    /// It holds what no URL can hold.
    #[error("the address has a space, a line break or a control character in it; write it percent-encoded")]
    Characters,
    /// It is no URL.
    #[error("the address is no URL: it begins with no `SCHEME://`")]
    NoScheme,
    /// The scheme is that of something else.
    #[error("the address of {kind} does not begin with `{scheme}://`")]
    Scheme {
        /// What it should be.
        kind: ResourceKind,
        /// What it begins with.
        scheme: String,
    },
    /// There is no host.
    #[error("the address has no host; a socket of this machine cannot be named, services may not reach it")]
    NoHost,
    /// The port is none.
    #[error("the port of the address is no number from 1 to 65535")]
    Port,
    /// There is no port, and none goes without saying.
    #[error("the address has no port, and none goes without saying for `{0}://`")]
    NoPort(String),
    /// A percent sign stands for nothing.
    #[error(
        "the address has a `%` that no two hexadecimal digits follow, or that stands for no UTF-8; `%25` is the sign itself"
    )]
    Percent,
}

impl Address {
    /// Reads the address of a resource of a kind.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(kind: ResourceKind, text: &str) -> Result<Self, AddressError> {
        let address: Self = text.parse()?;
        let scheme = address.scheme.split('+').next().unwrap_or_default();
        let fits = match kind {
            ResourceKind::Postgresql => matches!(scheme, "postgres" | "postgresql"),
            ResourceKind::Mysql => matches!(scheme, "mysql" | "mariadb" | "mysql2"),
            ResourceKind::Redis => matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys"),
            ResourceKind::Other => true,
        };
        if fits { Ok(address) } else { Err(AddressError::Scheme { kind, scheme: address.scheme }) }
    }

    /// Makes the address of a resource that listens on this host.
    #[must_use]
    pub fn here(kind: ResourceKind, (user, password): (&str, &str), port: u16, name: &str) -> Self {
        let url = format!("{kind}://{user}:{password}@127.0.0.1:{port}/{name}");
        Self {
            url,
            scheme: kind.to_string(),
            host: "127.0.0.1".to_owned(),
            port,
            user: user.to_owned(),
            password: password.to_owned(),
            name: name.to_owned(),
            tls: false,
        }
    }

    /// Returns what a service is told.
    #[must_use]
    pub fn detail(&self, detail: Detail) -> String {
        match detail {
            Detail::Url => self.url.clone(),
            Detail::Host => self.host.clone(),
            Detail::Port => self.port.to_string(),
            Detail::User => self.user.clone(),
            Detail::Password => self.password.clone(),
            Detail::Name => self.name.clone(),
        }
    }

    /// Returns the host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Tells whether nothing but TLS is spoken there from the first byte on.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns it without anything that is secret: scheme, host, port and name.
    #[must_use]
    pub fn shown(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let name = if self.name.is_empty() { String::new() } else { format!("/{}", self.name) };
        format!("{}://{host}:{}{name}", self.scheme, self.port)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        check_text(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::NoScheme)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
        if !is_scheme {
            return Err(AddressError::NoScheme);
        }
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // The last one: passwords that were not encoded have them too.
        let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        // Of several hosts the first is told; the whole address names them all.
        let (host, port) = host_and_port(hosts.split(',').next().unwrap_or_default(), &scheme)?;
        let name = path.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
        Ok(Self {
            url: text.to_owned(),
            tls: matches!(scheme.as_str(), "rediss" | "valkeys" | "https" | "amqps"),
            host,
            port,
            user: decoded(user)?,
            password: decoded(password)?,
            name: decoded(name)?,
            scheme,
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown()).finish()
    }
}

fn check_text(text: &str) -> Result<(), AddressError> {
    if text.is_empty() {
        Err(AddressError::Empty)
    } else if text.len() > MAX_BYTES {
        Err(AddressError::TooLong(text.len()))
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Err(AddressError::Characters)
    } else {
        Ok(())
    }
}

fn host_and_port(text: &str, scheme: &str) -> Result<(String, u16), AddressError> {
    let (host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.is_empty() || host.contains('%') {
        return Err(AddressError::NoHost);
    }
    let port = match rest.strip_prefix(':') {
        Some(port) if !port.is_empty() => {
            port.parse().ok().filter(|&port| port > 0).ok_or(AddressError::Port)?
        }
        None if !rest.is_empty() => return Err(AddressError::Port),
        _ => usual_port(scheme).ok_or_else(|| AddressError::NoPort(scheme.to_owned()))?,
    };
    Ok((host.to_owned(), port))
}

fn usual_port(scheme: &str) -> Option<u16> {
    let scheme = scheme.split('+').next()?;
    PORTS.iter().find(|(known, _)| *known == scheme).map(|(_, port)| *port)
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = digits.filter(is_hex).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or(AddressError::Percent)?);
        rest = &more[2..];
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Percent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn details(text: &str) -> [String; 5] {
        let address: Address = text.parse().unwrap();
        [Detail::Host, Detail::Port, Detail::User, Detail::Password, Detail::Name]
            .map(|it| address.detail(it))
    }

    #[test]
    fn an_address_is_taken_apart() {
        for (text, parts) in [
            (
                "postgresql://app:s%40crt@db.example:5433/shop?sslmode=require",
                ["db.example", "5433", "app", "s@crt", "shop"],
            ),
            ("postgres://db/shop", ["db", "5432", "", "", "shop"]),
            ("redis://:pw@[::1]/0", ["::1", "6379", "", "pw", "0"]),
            ("mysql+pymysql://u@10.0.0.7", ["10.0.0.7", "3306", "u", "", ""]),
            ("mongodb://u:p@a:1,b:2/x", ["a", "1", "u", "p", "x"]),
            ("amqp://u:p:q@mq", ["mq", "5672", "u", "p:q", ""]),
            ("postgresql://u:p@ss@db/x", ["db", "5432", "u", "p@ss", "x"]),
        ] {
            assert_eq!(details(text), parts.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_address() {
        let of = |kind, text: &str| Address::of(kind, text).unwrap_err();
        let other = |text: &str| of(ResourceKind::Other, text);
        assert_eq!(other(" "), AddressError::Empty);
        assert_eq!(other("db.example:5432"), AddressError::NoScheme);
        assert_eq!(other("postgresql:///shop?host=/run/postgresql"), AddressError::NoHost);
        assert_eq!(other("postgresql://%2Frun%2Fpostgresql/shop"), AddressError::NoHost);
        assert_eq!(other("postgresql://u:hunter2@db:70000/x"), AddressError::Port);
        assert_eq!(other("postgresql://u:hunter2@[::1]x/x"), AddressError::Port);
        assert_eq!(other("s3://bucket"), AddressError::NoPort("s3".into()));
        assert_eq!(other("redis://:50%off@db"), AddressError::Percent);
        assert_eq!(other("redis://:a b@db"), AddressError::Characters);
        let scheme = of(ResourceKind::Postgresql, "redis://:hunter2@db").to_string();
        assert_eq!(scheme, "the address of postgresql does not begin with `redis://`");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_error_or_debug_shows_a_password(text in "(postgres|x)?(://)?[a-z:@/?%\\[\\],0-9]{0,30}") {
            let _ = text.parse::<Address>();
            let with = format!("redis://u:hunter2@{text}");
            match with.parse::<Address>() {
                Err(error) => prop_assert!(!error.to_string().contains("hunter2")),
                Ok(address) => {
                    let debug = format!("{address:?}");
                    prop_assert!(!debug.contains("hunter2"));
                    prop_assert_eq!(address.detail(Detail::Url), with);
                }
            }
        }
    }
}
