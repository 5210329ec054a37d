//! Ports at which clients from outside reach services that speak TCP: by the port alone, or by the name that they give within TLS.
//!
//! Pure: which bytes a client sends is looked at elsewhere. Invariant: of the ports that were checked, one client fits one service.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::ServiceName;
use crate::request_host::{WILDCARD, normalize_route_host};

/// Most of them in an environment: each port takes a socket for each worker of a gateway.
pub const MAX_TCP_PORTS: usize = 256;

/// A port whose connections go to a service that speaks TCP; where it has a host, those of clients that ask for that within TLS.
///
/// Written as `5433=pgbouncer`, or `8883/mqtt.shop.test=mqtt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpPort {
    /// The port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The name that clients give in their handshake (SNI), lower case, or `*.shop.test` for all below `shop.test`; where it is left out, all that no other
    /// service has on this port, also those that do not speak TLS. TLS is not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where they go.
    pub service: ServiceName,
}

/// Why ports cannot be as they are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TcpPortError {
    /// It is not written as one.
    #[error("`{0}` is not a port of a service: write 5433=pgbouncer, or 8883/mqtt.shop.test=mqtt")]
    NotOne(String),
    /// It is no port.
    #[error("port 0 is not a port")]
    PortZero,
    /// It is no name.
    #[error("`{0}` is not the name of a host, or `*.` with one")]
    NoHost(String),
    /// Nobody could say which of them is meant.
    #[error(
        "{0} is given twice, so nobody could say which of the two is meant: give one of them another port, or a host"
    )]
    Twice(String),
    /// It is the port of something else.
    #[error("port {0} is that of https")]
    Https(u16),
    /// There are too many.
    #[error("at most {MAX_TCP_PORTS} ports can lead to services that speak TCP")]
    TooMany,
}

impl TcpPort {
    /// Returns what it takes, without where that goes.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.host {
            Some(host) => format!("{}/{host}", self.port),
            None => self.port.to_string(),
        }
    }

    /// Tells how well a client fits that gave this name; `None` when it does not.
    fn fit(&self, name: Option<&str>) -> Option<usize> {
        let Some(host) = &self.host else { return Some(0) };
        let name = name?;
        match host.strip_prefix(WILDCARD) {
            Some(below) => {
                let rest = name.strip_suffix(below)?;
                (rest.len() > 1 && rest.ends_with('.')).then_some(host.len())
            }
            None => (host == name).then_some(usize::MAX),
        }
    }
}

/// Finds where a connection to a port goes; `name` is what its client gave within TLS, in lower case. The more exact host comes first.
#[must_use]
pub fn find<'a>(ports: &'a [TcpPort], port: u16, name: Option<&str>) -> Option<&'a TcpPort> {
    let fitting = ports.iter().filter(|it| it.port == port).filter_map(|it| Some((it.fit(name)?, it)));
    fitting.max_by_key(|(fit, _)| *fit).map(|(_, it)| it)
}

/// Tells whether the names that clients give within TLS have to be known on a port.
#[must_use]
pub fn asks_for_names(ports: &[TcpPort], port: u16) -> bool {
    ports.iter().any(|it| it.port == port && it.host.is_some())
}

/// Checks that ports can be opened, and that each client fits one service.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(ports: &[TcpPort], https_port: Option<u16>) -> Result<(), TcpPortError> {
    if ports.len() > MAX_TCP_PORTS {
        return Err(TcpPortError::TooMany);
    }
    let mut seen = BTreeSet::new();
    for port in ports {
        if port.port == 0 {
            return Err(TcpPortError::PortZero);
        }
        if https_port == Some(port.port) {
            return Err(TcpPortError::Https(port.port));
        }
        if let Some(host) = &port.host
            && !normalize_route_host(host).is_ok_and(|form| form == *host)
        {
            return Err(TcpPortError::NoHost(host.clone()));
        }
        if !seen.insert(port.place()) {
            return Err(TcpPortError::Twice(port.place()));
        }
    }
    Ok(())
}

impl fmt::Display for TcpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.place(), self.service)
    }
}

impl FromStr for TcpPort {
    type Err = TcpPortError;

    fn from_str(text: &str) -> Result<Self, TcpPortError> {
        let not_one = || TcpPortError::NotOne(text.chars().take(80).collect());
        let (place, service) = text.split_once('=').ok_or_else(not_one)?;
        let (port, host) = match place.split_once('/') {
            Some((port, host)) => (port, Some(host)),
            None => (place, None),
        };
        let host =
            host.map(|host| normalize_route_host(host).map_err(|_| TcpPortError::NoHost(host.to_owned())));
        let port = port.parse().map_err(|_| not_one())?;
        let made = Self { port, host: host.transpose()?, service: service.parse().map_err(|_| not_one())? };
        if port == 0 { Err(TcpPortError::PortZero) } else { Ok(made) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(texts: &[&str]) -> Vec<TcpPort> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_client_goes_to_the_service_of_its_port_and_of_the_most_exact_name() {
        let all = ports(&[
            "5433=db",
            "8883=any",
            "8883/a.shop.test=a",
            "8883/*.shop.test=shop",
            "8883/*.test=test",
            "9000/x.test=x",
        ]);
        let to = |port, name| find(&all, port, name).map(|it| it.service.to_string());
        for (port, name, service) in [
            (5_433, None, Some("db")),
            (5_433, Some("a.shop.test"), Some("db")),
            (8_883, None, Some("any")),
            (8_883, Some("a.shop.test"), Some("a")),
            (8_883, Some("b.shop.test"), Some("shop")),
            (8_883, Some("shop.test"), Some("test")),
            (8_883, Some("other.example"), Some("any")),
            (9_000, None, None),
            (9_000, Some("y.test"), None),
            (1, None, None),
        ] {
            assert_eq!(to(port, name).as_deref(), service, "{port} {name:?}");
        }
        assert!(asks_for_names(&all, 8_883) && !asks_for_names(&all, 5_433));
        assert_eq!(check(&all, Some(443)), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, why) in [
            ("5433", "write 5433=pgbouncer"),
            ("x=db", "write 5433=pgbouncer"),
            ("0=db", "port 0"),
            ("70000=db", "write 5433=pgbouncer"),
            ("5433=D B", "write 5433=pgbouncer"),
            ("5433/=db", "not the name of a host"),
            ("5433/a b=db", "not the name of a host"),
        ] {
            let error = text.parse::<TcpPort>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(check(&ports(&["1=a", "1=b"]), None), Err(TcpPortError::Twice("1".into())));
        assert_eq!(check(&ports(&["443=a"]), Some(443)), Err(TcpPortError::Https(443)));
        let written = TcpPort { host: Some("Shop.Test".into()), ..ports(&["1=a"]).remove(0) };
        assert_eq!(check(&[written], None), Err(TcpPortError::NoHost("Shop.Test".into())));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(port in 1_u16.., host in prop::option::of("(\\*\\.)?[a-z]{1,8}(\\.[a-z]{1,8}){0,2}"), service in "[a-z]{1,10}") {
            let made = TcpPort { port, host, service: service.parse().unwrap() };
            prop_assert_eq!(made.to_string().parse::<TcpPort>(), Ok(made.clone()));
            prop_assert_eq!(check(&[made], None), Ok(()));
        }
    }
}
