//! What comes before anything else on a connection to an instance: a PROXY header, and a handshake of TLS.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::CertificateName;

/// The format of route tables that a gateway must take where connections to instances begin with something.
pub const FORMAT_WITH_APPROACH: u32 = 16;
/// Longest list of authorities of instances, in bytes of PEM: it stands in each table.
pub const MAX_CA_BYTES: usize = 32 * 1_024;
/// Longest name of a host.
const MAX_NAME: usize = 253;

/// What comes before anything else on a connection to an instance, in this order; nothing when it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Approach {
    /// The header that says for whom the connection was opened. A connection then serves that client alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_APPROACH))]
    pub proxy_protocol: Option<ProxyVersion>,
    /// TLS, within which all else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_APPROACH))]
    pub tls: Option<Box<InstanceTls>>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// A line of text: addresses and ports.
    V1,
    /// Binary, with the version of TLS of the client and the name that it asked for, where they are known.
    V2,
}

/// How TLS is spoken with an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceTls {
    /// The name that its certificate must be for; it is asked for in the handshake. Nothing is asked for when it is left out, which only who believes
    /// everybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The authorities that are believed, and no others, as PEM; those of the host of the gateway when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// The certificate of the environment that is shown to it, by its name there; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateName>,
    /// Who is believed.
    #[serde(default, skip_serializing_if = "Believes::is_checked")]
    #[schemars(extend("default" = Believes::default()))]
    pub believes: Believes,
}

/// Who is believed to be an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Believes {
    /// Who shows a certificate that is valid now, for the name, by one of the authorities.
    #[default]
    Checked,
    /// Everybody, whatever certificate they show: what is said is hidden from those who only listen, and from nobody else.
    Everybody,
}

impl Believes {
    fn is_checked(&self) -> bool {
        *self == Self::Checked
    }
}

/// Why TLS cannot be spoken so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InstanceTlsError {
    /// Nobody would know whose certificate is right.
    #[error("the name that its certificate must be for is missing")]
    NoName,
    /// It is no name.
    #[error("`server_name` is not the name of a host, nor an address")]
    BadName,
    /// What is not looked at is of no use.
    #[error("authorities say nothing where any certificate is accepted")]
    CaForNothing,
    /// There are too many.
    #[error("the authorities have more than {MAX_CA_BYTES} bytes")]
    CaTooLong,
    /// There are none.
    #[error("`ca_pem` has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCa,
}

impl Approach {
    /// Tells whether nothing comes before what is spoken.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl InstanceTls {
    /// Checks that it can be spoken.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), InstanceTlsError> {
        match &self.server_name {
            None if self.believes == Believes::Checked => return Err(InstanceTlsError::NoName),
            Some(name) if !is_name(name) => return Err(InstanceTlsError::BadName),
            _ => {}
        }
        match &self.ca_pem {
            Some(_) if self.believes == Believes::Everybody => Err(InstanceTlsError::CaForNothing),
            Some(pem) if pem.len() > MAX_CA_BYTES => Err(InstanceTlsError::CaTooLong),
            Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") => Err(InstanceTlsError::NoCa),
            _ => Ok(()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    let is_host = name.len() <= MAX_NAME && name.split('.').all(is_label);
    is_host || name.parse::<std::net::IpAddr>().is_ok()
}

/// It is no version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a version of the PROXY protocol is `v1` or `v2`")]
pub struct NoProxyVersion;

impl ProxyVersion {
    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl FromStr for ProxyVersion {
    type Err = NoProxyVersion;

    fn from_str(text: &str) -> Result<Self, NoProxyVersion> {
        [Self::V1, Self::V2].into_iter().find(|it| it.as_str() == text).ok_or(NoProxyVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_check_or_looks_at_is_refused() {
        let pem = "-----BEGIN CERTIFICATE-----\n";
        let tls = |name: Option<&str>, ca: Option<&str>, believes| InstanceTls {
            server_name: name.map(str::to_owned),
            ca_pem: ca.map(str::to_owned),
            certificate: None,
            believes,
        };
        let long = pem.repeat(2_000);
        for (tls, expected) in [
            (tls(Some("db.internal"), Some(pem), Believes::Checked), Ok(())),
            (tls(Some("10.0.0.1"), None, Believes::Checked), Ok(())),
            (tls(None, None, Believes::Everybody), Ok(())),
            (tls(None, Some(pem), Believes::Checked), Err(InstanceTlsError::NoName)),
            (tls(Some("a b"), None, Believes::Checked), Err(InstanceTlsError::BadName)),
            (tls(Some("a..b"), None, Believes::Everybody), Err(InstanceTlsError::BadName)),
            (tls(Some("a"), Some(pem), Believes::Everybody), Err(InstanceTlsError::CaForNothing)),
            (tls(Some("a"), Some("x"), Believes::Checked), Err(InstanceTlsError::NoCa)),
            (tls(Some("a"), Some(&long), Believes::Checked), Err(InstanceTlsError::CaTooLong)),
        ] {
            assert_eq!(tls.check(), expected, "{tls:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_written_as_nothing() {
        assert_eq!(serde_json::to_string(&Approach::default()).unwrap(), "{}");
        assert_eq!("v2".parse(), Ok(ProxyVersion::V2));
        assert!("2".parse::<ProxyVersion>().is_err());
    }
}
