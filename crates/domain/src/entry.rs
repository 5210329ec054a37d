//! How clients come in: where TLS is ended and with which certificates, what plain HTTP gets, and who hands connections on.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::acme::{ChallengeAnswer, ChallengeKind, FORMAT_WITH_CHALLENGES};
use crate::certificate::TableCertificate;
use crate::gateway_rules::Network;
use crate::protocol::FORMAT_WITH_TCP;
use crate::tcp_port::{self, TcpPort, TcpPortError};

/// Most networks of proxies that hand connections on: each is looked at for each connection.
const MAX_PROXY_NETWORKS: usize = 64;
/// Longest list of authorities of clients, in bytes of PEM.
pub const MAX_CLIENT_CA_BYTES: usize = 256 * 1_024;
/// Paths below this are asked for by authorities that check whose a name is, and always by plain HTTP.
pub const CHALLENGE_PATH_PREFIX: &str = "/.well-known/acme-challenge/";

/// What a person decides about how clients come into an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EntrySettings {
    /// The port on which its gateway on this host ends TLS; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_port: Option<u16>,
    /// What plain HTTP gets.
    #[serde(default, skip_serializing_if = "PlainHttp::is_serve")]
    #[schemars(extend("default" = PlainHttp::default()))]
    pub http: PlainHttp,
    /// The lowest version of TLS that is spoken.
    #[serde(default, skip_serializing_if = "TlsVersion::is_lowest")]
    #[schemars(extend("default" = TlsVersion::default()))]
    pub tls_min: TlsVersion,
    /// The authorities whose certificates clients may show, as PEM; nobody is asked for one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// Whether a client must show a certificate, where there are authorities.
    #[serde(default, skip_serializing_if = "ClientCertificates::is_required")]
    #[schemars(extend("default" = ClientCertificates::default()))]
    pub client_certificates: ClientCertificates,
    /// Whoever connects from here begins each connection with a PROXY header, and must.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_networks: Vec<Network>,
    /// Ports whose connections go to services that speak TCP. Its gateways listen there, on the addresses on which they listen for HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_TCP))]
    pub tcp: Vec<TcpPort>,
    /// How long a connection to a service that speaks TCP may be silent in both directions; for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_TCP))]
    pub tcp_idle_ms: Option<u64>,
}

/// Why settings cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// It is no port.
    #[error("port 0 is not a port")]
    PortZero,
    /// There is nowhere to redirect to.
    #[error("plain HTTP can be redirected only where there is a port for https: --https-port")]
    RedirectToNothing,
    /// There are too many networks.
    #[error("at most {MAX_PROXY_NETWORKS} networks of proxies can be named")]
    TooManyNetworks,
    /// Nobody can be asked.
    #[error("clients can be asked for certificates only of authorities that are given: --client-ca FILE")]
    NoClientCa,
    /// There are too many authorities.
    #[error("the authorities of clients have more than {MAX_CLIENT_CA_BYTES} bytes")]
    ClientCaTooLong,
    /// The ports of services that speak TCP cannot be as they are.
    #[error(transparent)]
    TcpPorts(#[from] TcpPortError),
    /// A connection would hardly begin.
    #[error("a connection that is to be closed when it is silent needs at least a second")]
    IdleTooShort,
}

impl EntrySettings {
    /// Tells whether nothing was decided.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// When one is passed, or two settings contradict each other.
    pub fn check(&self) -> Result<(), EntryError> {
        if self.https_port == Some(0) {
            return Err(EntryError::PortZero);
        }
        if self.http == PlainHttp::Redirect && self.https_port.is_none() {
            return Err(EntryError::RedirectToNothing);
        }
        if self.client_ca.is_none() && self.client_certificates != ClientCertificates::default() {
            return Err(EntryError::NoClientCa);
        }
        if self.proxy_networks.len() > MAX_PROXY_NETWORKS {
            return Err(EntryError::TooManyNetworks);
        }
        if self.client_ca.as_ref().is_some_and(|pem| pem.len() > MAX_CLIENT_CA_BYTES) {
            return Err(EntryError::ClientCaTooLong);
        }
        if self.tcp_idle_ms.is_some_and(|idle| idle < 1_000) {
            return Err(EntryError::IdleTooShort);
        }
        Ok(tcp_port::check(&self.tcp, self.https_port)?)
    }

    /// Says for people what is not as it looks: plain HTTP asks nobody for a certificate.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        let is_open = self.client_ca.is_some() && self.http == PlainHttp::Serve;
        is_open.then_some("plain HTTP serves everybody without a certificate: --http redirect, or let nobody reach its port")
    }

    /// Tells whether a connection from here begins with a PROXY header.
    #[must_use]
    pub fn hands_on(&self, peer: IpAddr) -> bool {
        self.proxy_networks.iter().any(|network| network.contains(peer))
    }
}

/// How clients come in, as a route table says it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// What a person decided.
    #[serde(flatten)]
    pub settings: EntrySettings,
    /// The certificates, by name; the first is for clients that name no host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<TableCertificate>,
    /// What is answered to authorities that look whether hosts are served here, while orders of certificates are under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_CHALLENGES))]
    pub challenges: Vec<ChallengeAnswer>,
    /// How long connections to an instance that speaks TCP go on after it has left the table; a minute when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_TCP))]
    pub tcp_drain_ms: Option<u64>,
    /// How long an instance is given to finish its requests after it has left the table; a minute when left out. Before that time is over its
    /// WebSockets are told to end. An older gateway lets them be cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
}

impl Entry {
    /// Returns what is answered to an authority that asks a host for a path in its one form; `None` for everybody else's requests.
    #[must_use]
    pub fn challenge(&self, host: &str, path: &str) -> Option<&str> {
        let token = path.strip_prefix(CHALLENGE_PATH_PREFIX)?;
        let of_it =
            |it: &&ChallengeAnswer| it.kind == ChallengeKind::Http01 && it.token == token && it.host == host;
        self.challenges.iter().find(of_it).map(|it| it.key_authorization.as_str())
    }

    /// Tells whether it says something of services that speak TCP.
    #[must_use]
    pub fn is_of_tcp(&self) -> bool {
        !self.settings.tcp.is_empty() || self.settings.tcp_idle_ms.is_some() || self.tcp_drain_ms.is_some()
    }

    /// Tells whether it says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Tells whether clients who come by plain HTTP are sent to https.
    #[must_use]
    pub fn sends_to_https(&self) -> bool {
        self.settings.http == PlainHttp::Redirect && self.settings.https_port.is_some()
    }

    /// Returns where a request to a host is redirected that came by plain HTTP; `None` when it is served.
    ///
    /// The host is without port, the path in its one form with its query; `own_port` is the port by which clients come to this gateway,
    /// where that is another one than the environment says.
    #[must_use]
    pub fn redirect(&self, host: &str, path: &str, query: &str, own_port: Option<u16>) -> Option<String> {
        let port = self.settings.https_port.filter(|_| self.settings.http == PlainHttp::Redirect)?;
        let port = own_port.unwrap_or(port);
        if path.starts_with(CHALLENGE_PATH_PREFIX) {
            return None;
        }
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        // `OPTIONS *` is of the host as a whole, which has no path.
        let path = if path == "*" { "" } else { path };
        Some(format!("https://{host}{port}{path}{query}"))
    }
}

/// A word is none of those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write {0}")]
pub struct EntryWordError(&'static str);

/// Writes and reads an enum by its words.
macro_rules! words {
    ($name:ident, $usage:literal, $($variant:ident => $word:literal),+) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = EntryWordError;

            fn from_str(text: &str) -> Result<Self, EntryWordError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(EntryWordError($usage)),
                }
            }
        }
    };
}

/// What plain HTTP gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlainHttp {
    /// The same as https.
    #[default]
    Serve,
    /// Clients from outside are sent to https; instances, and proxies that were asked by https, are served.
    Redirect,
}

words!(PlainHttp, "`redirect`, or `serve`", Serve => "serve", Redirect => "redirect");

impl PlainHttp {
    fn is_serve(&self) -> bool {
        *self == Self::Serve
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// 1.2, the lowest that is spoken at all.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

words!(TlsVersion, "`1.2`, or `1.3`", V1_2 => "1.2", V1_3 => "1.3");

impl TlsVersion {
    fn is_lowest(&self) -> bool {
        *self == Self::V1_2
    }
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// Without one there is no connection.
    #[default]
    Required,
    /// One that is shown must be valid; none need be.
    Optional,
}

words!(ClientCertificates, "`required`, or `optional`", Required => "required", Optional => "optional");

impl ClientCertificates {
    fn is_required(&self) -> bool {
        *self == Self::Required
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_say_nothing_are_written_as_nothing_and_every_word_comes_back() {
        assert_eq!(serde_json::to_string(&EntrySettings::default()).unwrap(), "{}");
        assert_eq!(serde_json::to_string(&Entry::default()).unwrap(), "{}");
        for http in [PlainHttp::Serve, PlainHttp::Redirect] {
            assert_eq!(http.to_string().parse::<PlainHttp>().unwrap(), http);
        }
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            assert_eq!(version.to_string().parse::<TlsVersion>().unwrap(), version);
            assert_eq!(serde_json::to_string(&version).unwrap(), format!("\"{version}\""));
        }
        assert!("ssl".parse::<TlsVersion>().is_err());
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let redirect = EntrySettings { http: PlainHttp::Redirect, ..EntrySettings::default() };
        assert_eq!(redirect.check(), Err(EntryError::RedirectToNothing));
        let zero = EntrySettings { https_port: Some(0), ..EntrySettings::default() };
        assert_eq!(zero.check(), Err(EntryError::PortZero));
        let optional =
            EntrySettings { client_certificates: ClientCertificates::Optional, ..EntrySettings::default() };
        assert_eq!(optional.check(), Err(EntryError::NoClientCa));
        let asked = EntrySettings { client_ca: Some("-----".into()), ..optional };
        assert_eq!(asked.check(), Ok(()));
        assert!(asked.warning().is_some() && EntrySettings::default().warning().is_none());
        assert!(EntrySettings { http: PlainHttp::Redirect, ..asked }.warning().is_none());
        assert_eq!(EntrySettings { https_port: Some(8_443), ..redirect }.check(), Ok(()));
    }

    #[test]
    fn only_the_token_of_a_host_that_is_asked_by_http_is_answered() {
        let answer = |kind, host: &str, token: &str| ChallengeAnswer {
            kind,
            host: host.into(),
            token: token.into(),
            key_authorization: format!("{token}.{host}"),
        };
        let challenges = vec![
            answer(ChallengeKind::Http01, "shop.test", "one"),
            answer(ChallengeKind::Http01, "other.test", "one"),
            answer(ChallengeKind::TlsAlpn01, "shop.test", "two"),
        ];
        let entry = Entry { challenges, ..Entry::default() };
        let asked = |host, token: &str| entry.challenge(host, &format!("{CHALLENGE_PATH_PREFIX}{token}"));
        assert_eq!(asked("shop.test", "one"), Some("one.shop.test"));
        assert_eq!(asked("other.test", "one"), Some("one.other.test"));
        for (host, token) in [
            ("shop.test", "two"),
            ("shop.test", ""),
            ("shop.test", "one/"),
            ("shop.test", "three"),
            ("third.test", "one"),
            ("", "one"),
        ] {
            assert_eq!(asked(host, token), None, "{host} {token}");
        }
        assert_eq!(entry.challenge("shop.test", "/one"), None);
    }

    #[test]
    fn plain_requests_are_sent_to_the_port_of_https_but_not_authorities_that_check() {
        let entry = |http, port| Entry {
            settings: EntrySettings { https_port: Some(port), http, ..EntrySettings::default() },
            ..Entry::default()
        };
        let to = |entry: &Entry, path| entry.redirect("shop.test", path, "?a=1", None);
        let redirect = entry(PlainHttp::Redirect, 8_443);
        assert_eq!(to(&redirect, "/x").unwrap(), "https://shop.test:8443/x?a=1");
        assert_eq!(to(&entry(PlainHttp::Redirect, 443), "/x").unwrap(), "https://shop.test/x?a=1");
        assert_eq!(redirect.redirect("shop.test", "*", "", None).unwrap(), "https://shop.test:8443");
        assert_eq!(redirect.redirect("shop.test", "/x", "", Some(443)).unwrap(), "https://shop.test/x");
        assert_eq!(entry(PlainHttp::Serve, 443).redirect("shop.test", "/x", "", Some(443)), None);
        assert_eq!(to(&redirect, "/.well-known/acme-challenge/abc"), None);
        assert_eq!(to(&entry(PlainHttp::Serve, 443), "/x"), None);
    }
}
