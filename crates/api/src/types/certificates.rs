//! Certificates of environments, and how clients come in.

use lockstep_domain::acme::ChallengeKind;
use lockstep_domain::certificate::CertificateFacts;
use lockstep_domain::clients_at::PlannedEntrance;
use lockstep_domain::entry::{ClientCertificates, PlainHttp, TlsVersion};
use lockstep_domain::gateway_rules::Network;
use lockstep_domain::tcp_port::TcpPort;
use lockstep_domain::{Actor, CertificateName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clients come in, to change; what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryChange {
    /// The port on which its gateway ends TLS; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_port: Option<u16>,
    /// What plain HTTP gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<PlainHttp>,
    /// The lowest version of TLS that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_min: Option<TlsVersion>,
    /// The authorities whose certificates clients may show, as PEM; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// Whether a client must show a certificate, where there are authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// The networks of proxies whose connections begin with a PROXY header, instead of those there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_networks: Option<Vec<Network>>,
    /// Ports whose connections go to services that speak TCP, instead of those there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Vec<TcpPort>>,
    /// How long a connection to a service that speaks TCP may be silent; 0 for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_idle_ms: Option<u64>,
}

impl EntryChange {
    /// Tells whether anything of services that speak TCP is to change.
    #[must_use]
    pub fn is_of_tcp(&self) -> bool {
        self.tcp.is_some() || self.tcp_idle_ms.is_some()
    }

    /// Tells whether nothing is to change.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A certificate is to be shown to clients of an environment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCertificate {
    /// Its name there; made of the first host that it is for when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CertificateName>,
    /// The chain as PEM, the server's own certificate first.
    pub chain: String,
    /// Its private key as PEM. It is kept as secrets are, and never in an answer.
    pub key: String,
    /// What its issuer says of its revocation: an OCSP response in DER, as hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<String>,
    /// Whether hosts of the one that is replaced may be left without a certificate; without it that is refused, and they are named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lose_hosts: bool,
}

/// Without the key.
impl std::fmt::Debug for AddCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddCertificate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A certificate of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateView {
    /// Its name.
    pub name: CertificateName,
    /// What it is.
    #[serde(flatten)]
    pub facts: CertificateFacts,
    /// Since when it is shown.
    pub at: Timestamp,
    /// Who gave it.
    pub by: Actor,
    /// What is to be known of it, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A certificate is to be got from an authority by ACME, and renewed before it ends.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestCertificate {
    /// Its name there; made of the first host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CertificateName>,
    /// The hosts that it is to be for.
    pub hosts: Vec<String>,
    /// The directory of the authority; that of Let's Encrypt when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Where the authority writes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether its terms of service are accepted.
    #[serde(default)]
    pub accept_terms: bool,
    /// How the authority is to look whether the hosts are served here; by what listens when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeKind>,
    /// By which certificates of authorities the directory is believed, as PEM; by those of the server's host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The authority's name of an account that was made there, to which ours is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account: Option<String>,
    /// The key that the authority gave with it, in base64url. It is used once and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_key: Option<String>,
    /// Whether hosts of the one that it takes the place of may be left without a certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lose_hosts: bool,
}

/// Without the key.
impl std::fmt::Debug for RequestCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestCertificate")
            .field("name", &self.name)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// How a certificate stands that renews itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutomaticState {
    /// It is there, and is renewed in time.
    Good,
    /// It is about to be ordered.
    Due,
    /// It was ordered.
    Ordered,
    /// Gateways are to answer the authority.
    AwaitsGateways,
    /// The authority looks whether the hosts are served here, or makes the certificate.
    AwaitsAuthority,
    /// It failed, and is tried again later.
    Failed,
}

/// A certificate that renews itself, there or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutomaticView {
    /// Its name.
    pub name: CertificateName,
    /// The hosts that it is to be for.
    pub hosts: Vec<String>,
    /// The directory of the authority.
    pub directory: String,
    /// How the authority is to look; by what listens when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeKind>,
    /// Since when.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: Actor,
    /// How it stands.
    pub state: AutomaticState,
    /// When the next order begins, by the wall clock; none while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// How often it failed since it last came about.
    #[serde(default)]
    pub failures: u32,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The certificates of an environment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateList {
    /// The first is for clients that name no host.
    pub certificates: Vec<CertificateView>,
    /// Those that renew themselves, also when they are not there yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automatic: Vec<AutomaticView>,
}

/// Chain, key and what is known of the revocation of a certificate, for a gateway of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateBundle {
    /// All three as PEM; as secret as the key.
    pub bundle: String,
}

/// Without what is in it.
impl std::fmt::Debug for CertificateBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateBundle")
    }
}

/// The keys that visits of an environment are signed with, for a gateway of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VisitKeys {
    /// In hexadecimal digits; as secret as keys of certificates.
    pub keys: Vec<String>,
}

/// Without what is in it.
impl std::fmt::Debug for VisitKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VisitKeys")
    }
}

/// Where clients come in by https, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EntryView {
    /// The address of its gateway for https, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// The hosts to whose gateways clients from outside come, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<PlannedEntrance>,
    /// What is to be known, for people: why it does not listen, which certificates end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl EntryView {
    /// Tells whether there is nothing to say.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
