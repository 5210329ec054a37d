//! What a gateway believes of a request, and how long it waits, as a person decides it for an environment.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::injection::{self, FORMAT_WITH_FAULTS, Fault, FaultError, FaultInjection};
use crate::maintenance::{self, FORMAT_WITH_MAINTENANCE, MaintenanceError, MaintenancePage};
use crate::name::ServiceName;
use crate::request_path::{
    EscapedSlashes, FORMAT_WITH_PATH_FORMS, PathForm, PathFormError, PathParameters, PathReading,
};
use crate::time::Timestamp;

/// Most trusted networks: each is looked at for each request.
const MAX_TRUSTED_NETWORKS: usize = 64;
/// Longest time that a service may say nothing: whoever waits longer wants a stream.
pub const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Why rules cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GatewayRulesError {
    /// There are too many trusted networks.
    #[error("at most {MAX_TRUSTED_NETWORKS} networks can be trusted")]
    TooManyNetworks,
    /// The time is none, or longer than a day.
    #[error("a service is given from 1 ms to a day for an answer")]
    Timeout,
    /// There is a fault that cannot be.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// There is a page of maintenance that cannot be.
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    /// Paths cannot be read so.
    #[error(transparent)]
    PathForm(#[from] PathFormError),
}

/// What a gateway believes of a request, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct GatewayRules {
    /// Who may ask for a service by its name, `/@orders`, without a route.
    #[serde(default)]
    pub named_services: NamedServices,
    /// What clients in these networks say of the request before them is believed: proxies, and gateways of other places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_networks: Vec<Network>,
    /// How long a service may say nothing in milliseconds, where its route does not say; a minute when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether faults can be injected.
    #[serde(default, skip_serializing_if = "FaultInjection::is_refused")]
    #[schemars(extend("x-since" = FORMAT_WITH_FAULTS, "default" = FaultInjection::default()))]
    pub fault_injection: FaultInjection,
    /// Faults that requests of services meet on purpose; the first that takes a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_FAULTS))]
    pub faults: Vec<Fault>,
    /// Answers that clients get instead of services or versions; the first that takes a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_MAINTENANCE))]
    pub maintenance: Vec<MaintenancePage>,
    /// Whether services see the gateway in `via`.
    #[serde(default, skip_serializing_if = "ViaField::is_added")]
    #[schemars(extend("x-since" = FORMAT_WITH_MAINTENANCE, "default" = ViaField::default()))]
    pub via: ViaField,
    /// How paths are written when they are sent on.
    #[serde(default, skip_serializing_if = "PathForm::is_normalized")]
    #[schemars(extend("x-since" = FORMAT_WITH_PATH_FORMS, "default" = PathForm::default()))]
    pub path_form: PathForm,
    /// What becomes of slashes that a path has encoded.
    #[serde(default, skip_serializing_if = "EscapedSlashes::is_keep")]
    #[schemars(extend("x-since" = FORMAT_WITH_PATH_FORMS, "default" = EscapedSlashes::default()))]
    pub escaped_slashes: EscapedSlashes,
    /// What becomes of parameters of the parts of a path, which begin with a semicolon.
    #[serde(default, skip_serializing_if = "PathParameters::is_keep")]
    #[schemars(extend("x-since" = FORMAT_WITH_PATH_FORMS, "default" = PathParameters::default()))]
    pub path_parameters: PathParameters,
}

impl GatewayRules {
    /// Returns what held before there were rules, for what an older release wrote.
    #[must_use]
    pub const fn before_rules() -> Self {
        Self::with(NamedServices::Allow)
    }

    /// Returns what holds where nobody said otherwise.
    #[must_use]
    pub const fn usual() -> Self {
        Self::with(NamedServices::Instances)
    }

    const fn with(named_services: NamedServices) -> Self {
        Self {
            named_services,
            trusted_networks: Vec::new(),
            timeout_ms: None,
            fault_injection: FaultInjection::Refuse,
            faults: Vec::new(),
            maintenance: Vec::new(),
            via: ViaField::Add,
            path_form: PathForm::Normalized,
            escaped_slashes: EscapedSlashes::Keep,
            path_parameters: PathParameters::Keep,
        }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// When one is passed.
    pub fn check(&self) -> Result<(), GatewayRulesError> {
        if self.trusted_networks.len() > MAX_TRUSTED_NETWORKS {
            return Err(GatewayRulesError::TooManyNetworks);
        }
        injection::check(&self.faults, self.fault_injection)?;
        maintenance::check(&self.maintenance)?;
        let decodes = matches!(self.escaped_slashes, EscapedSlashes::Decode);
        if decodes && self.path_form == PathForm::AsSent {
            return Err(PathFormError::Both.into());
        }
        let valid = self.timeout_ms.is_none_or(|timeout| (1..=MAX_TIMEOUT_MS).contains(&timeout));
        if valid { Ok(()) } else { Err(GatewayRulesError::Timeout) }
    }

    /// Returns it without the faults that are over.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let mut rules = self.clone();
        rules.faults.retain(|fault| fault.is_in_force(now));
        rules
    }

    /// Returns how paths of requests are read.
    #[must_use]
    pub const fn path_reading(&self) -> PathReading {
        PathReading {
            form: self.path_form,
            escaped_slashes: self.escaped_slashes,
            parameters: self.path_parameters,
        }
    }

    /// Goes through the faults of a service.
    pub fn faults_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Fault> {
        self.faults.iter().filter(move |fault| fault.service == *service)
    }

    /// Goes through the pages of maintenance of a service.
    pub fn maintenance_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = &'a MaintenancePage> {
        self.maintenance.iter().filter(move |page| page.is_of(service))
    }

    /// Tells whether what a peer says of the request before it is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_networks.iter().any(|network| network.contains(peer))
    }
}

/// Who may ask for a service by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedServices {
    /// Only instances of the environment.
    #[default]
    Instances,
    /// Everybody who reaches the gateway.
    Allow,
}

/// Whether services see the gateway in `via` of requests. Some do less for what came through a proxy, nginx for one does not compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViaField {
    /// It is added, as RFC 9110 wants it.
    #[default]
    Add,
    /// It is left out; what others wrote stays.
    Omit,
}

impl ViaField {
    /// Tells whether it is added.
    #[must_use]
    pub fn is_added(&self) -> bool {
        *self == Self::Add
    }
}

/// The word is neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write `add`, or `omit` for services that do less when they see it")]
pub struct ViaFieldError;

impl FromStr for ViaField {
    type Err = ViaFieldError;

    fn from_str(text: &str) -> Result<Self, ViaFieldError> {
        match text {
            "add" => Ok(Self::Add),
            "omit" => Ok(Self::Omit),
            _ => Err(ViaFieldError),
        }
    }
}

impl fmt::Display for ViaField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Omit => "omit",
        })
    }
}

/// Who sent a request, as far as that decides what is believed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Anybody.
    Outside,
    /// A peer in a trusted network.
    Proxy,
    /// An instance of the environment.
    Instance,
}

impl Caller {
    /// Tells whether what it says of the request before it is believed.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Proxy | Self::Instance)
    }
}

impl NamedServices {
    /// Tells whether a caller may ask for a service by its name.
    #[must_use]
    pub fn allows(self, caller: Caller) -> bool {
        self == Self::Allow || caller == Caller::Instance
    }
}

/// The word is neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write `instances`, or `allow` for everybody who reaches the gateway")]
pub struct NamedServicesError;

impl FromStr for NamedServices {
    type Err = NamedServicesError;

    fn from_str(text: &str) -> Result<Self, NamedServicesError> {
        match text {
            "instances" => Ok(Self::Instances),
            "allow" => Ok(Self::Allow),
            _ => Err(NamedServicesError),
        }
    }
}

impl fmt::Display for NamedServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instances => "instances",
            Self::Allow => "allow",
        })
    }
}

/// A network such as `10.0.0.0/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// Tells whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Returns how many bits of its addresses are the same.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.0.prefix_len()
    }
}

/// The text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a network: write an address with the length of its prefix, such as 10.0.0.0/8")]
pub struct NetworkError {
    /// The text, cut to a printable length.
    pub text: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let single = text.parse::<IpAddr>().map(IpNet::from);
        let network = single.or_else(|_| text.parse::<IpNet>());
        let fail = |_| NetworkError { text: text.chars().take(80).collect() };
        network.map(|network| Self(network.trunc())).map_err(fail)
    }
}

as_text!(Network);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_their_usual_forms() {
        let read = |text: &str| text.parse::<Network>().map(|network| network.to_string()).ok();
        assert_eq!(read("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(read("::1").as_deref(), Some("::1/128"));
        assert_eq!(read("fd00::/8").as_deref(), Some("fd00::/8"));
        for bad in ["", "10.0.0.0/33", "10.0.0", "shop.test", "10.0.0.0/-1", "::/129"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_peers_in_the_networks_are_trusted() {
        let rules = GatewayRules {
            trusted_networks: ["10.0.0.0/8", "::1"].map(|it| it.parse().unwrap()).to_vec(),
            ..GatewayRules::default()
        };
        let trusts = |peer: &str| rules.trusts(peer.parse().unwrap());
        assert!(trusts("10.9.9.9") && trusts("::1"));
        assert!(!trusts("11.0.0.0") && !trusts("::2"));
        assert!(!GatewayRules::default().trusts("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_name_is_open_to_instances_and_to_others_only_when_allowed() {
        for caller in [Caller::Outside, Caller::Proxy] {
            assert!(!NamedServices::Instances.allows(caller));
            assert!(NamedServices::Allow.allows(caller));
        }
        assert!(NamedServices::Instances.allows(Caller::Instance));
    }
}
