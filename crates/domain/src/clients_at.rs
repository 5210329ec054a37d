//! Where clients from outside come into an environment: by the gateway in the server, or by those of hosts with certain labels.
//!
//! The gateways of these hosts listen at the address of their host as well; those of all others stay on loopback, where the instances of their
//! host call. Which hosts these are follows from the labels, so a host is added to them or taken away by its label.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::environment::Environment;
use crate::host::{Host, HostSettings, Labels, LabelsError};
use crate::name::{EnvironmentName, HostName};
use crate::world::World;

/// What stands before labels.
const OF_HOSTS: &str = "hosts:";

/// Which gateways listen for clients from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum ClientsAt {
    /// The one in the server alone.
    #[default]
    Server,
    /// Those of hosts that have all these labels as well.
    Hosts(Labels),
}

/// Why a text says nothing of that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientsAtError {
    /// It is neither of the two.
    #[error(
        "write `server`, or `hosts:` with the labels of the hosts whose gateways clients come to, such as hosts:role=edge"
    )]
    Word,
    /// The labels are none.
    #[error(transparent)]
    Labels(#[from] LabelsError),
}

impl ClientsAt {
    /// Tells whether clients come to the gateway in the server alone.
    #[must_use]
    pub fn is_server(&self) -> bool {
        *self == Self::Server
    }

    /// Tells whether clients come to the gateway of a host that is like this.
    #[must_use]
    pub fn takes(&self, labels: &Labels) -> bool {
        match self {
            Self::Server => false,
            Self::Hosts(wanted) => {
                wanted.iter().all(|(name, value)| labels.get(name.as_str()) == Some(value))
            }
        }
    }
}

impl FromStr for ClientsAt {
    type Err = ClientsAtError;

    fn from_str(text: &str) -> Result<Self, ClientsAtError> {
        if text == "server" {
            return Ok(Self::Server);
        }
        let labels: Labels = text.strip_prefix(OF_HOSTS).ok_or(ClientsAtError::Word)?.parse()?;
        if labels.is_empty() { Err(ClientsAtError::Word) } else { Ok(Self::Hosts(labels)) }
    }
}

impl fmt::Display for ClientsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.pad("server"),
            Self::Hosts(labels) => f.pad(&format!("{OF_HOSTS}{labels}")),
        }
    }
}

impl TryFrom<String> for ClientsAt {
    type Error = ClientsAtError;

    fn try_from(text: String) -> Result<Self, ClientsAtError> {
        text.parse()
    }
}

impl From<ClientsAt> for String {
    fn from(clients_at: ClientsAt) -> Self {
        clients_at.to_string()
    }
}

/// Returns the hosts of an environment to whose gateways clients from outside come.
pub fn edges<'a>(
    world: &'a World,
    environment: &'a Environment,
) -> impl Iterator<Item = (&'a HostName, &'a Host)> {
    let hosts = world.hosts.iter().map(|(name, host)| (name, host.as_ref()));
    hosts.filter(|(_, host)| is_edge(environment, host))
}

/// Tells whether clients from outside come to the gateway of a host.
#[must_use]
pub fn is_edge(environment: &Environment, host: &Host) -> bool {
    host.serves(&environment.name) && environment.settings.clients_at.takes(&host.settings.labels)
}

/// Where the gateway of a host listens for clients from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutsideAddresses {
    /// By plain HTTP.
    pub http: SocketAddr,
    /// Within TLS, where the environment has a port for that.
    pub https: Option<SocketAddr>,
}

/// Returns where the gateway of a host at an address listens for clients of an environment: the ports are those of the environment.
#[must_use]
pub fn outside_at(environment: &Environment, address: IpAddr) -> OutsideAddresses {
    let settings = &environment.settings;
    OutsideAddresses {
        http: SocketAddr::new(address, settings.gateway_port),
        https: settings.entry.https_port.map(|port| SocketAddr::new(address, port)),
    }
}

/// An address at which the gateway of a host is to listen for clients from outside, as it says it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct OutsideAt {
    /// The address.
    pub address: SocketAddr,
    /// Whether clients come there within TLS.
    #[serde(default)]
    pub tls: bool,
    /// Why it does not listen there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl OutsideAt {
    /// Returns where clients come, as they write it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// A host to whose gateway clients from outside come, as a plan says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedEntrance {
    /// The host.
    pub host: HostName,
    /// Where they come.
    pub urls: Vec<String>,
}

/// Says where clients from outside come in by gateways of hosts.
#[must_use]
pub fn entrances(world: &World, environment: &Environment) -> Vec<PlannedEntrance> {
    let of = |(name, host): (&HostName, &Host)| {
        let OutsideAddresses { http, https } = outside_at(environment, host.settings.address);
        let at = |tls: bool| move |address| OutsideAt { address, tls, problem: None }.url();
        let urls = [Some(http).map(at(false)), https.map(at(true))];
        PlannedEntrance { host: name.clone(), urls: urls.into_iter().flatten().collect() }
    };
    edges(world, environment).map(of).collect()
}

/// Returns the environments whose clients come in at a host and at no other one, and would not come in there any more with other settings of it, or
/// without it.
pub fn loses_last_edge<'a>(
    world: &'a World,
    host: &'a HostName,
    after: Option<&'a HostSettings>,
) -> impl Iterator<Item = &'a EnvironmentName> {
    let is_it = move |environment: &Environment| edges(world, environment).any(|(name, _)| name == host);
    let others = move |environment: &Environment| edges(world, environment).any(|(name, _)| name != host);
    let stays = move |environment: &Environment| {
        after.is_some_and(|after| {
            after.environments.contains(&environment.name)
                && environment.settings.clients_at.takes(&after.labels)
        })
    };
    let all = world.environments.values();
    all.filter(move |it| is_it(it) && !others(it) && !stays(it)).map(|it| &it.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_people_say_it_and_says_what_is_wrong() {
        for text in ["server", "hosts:role=edge", "hosts:role=edge,zone=a"] {
            assert_eq!(text.parse::<ClientsAt>().unwrap().to_string(), text);
        }
        assert_eq!(
            "hosts: zone=a, role=edge".parse::<ClientsAt>().unwrap().to_string(),
            "hosts:role=edge,zone=a"
        );
        for wrong in ["", "hosts", "hosts:", "hosts: ,", "edge", "Server"] {
            let error = wrong.parse::<ClientsAt>().unwrap_err().to_string();
            assert!(error.contains("hosts:role=edge"), "{wrong}: {error}");
        }
        let error = "hosts:edge".parse::<ClientsAt>().unwrap_err().to_string();
        assert!(error.contains("`edge` is no label"), "{error}");
    }

    #[test]
    fn a_host_is_one_of_them_that_has_all_the_labels() {
        let at: ClientsAt = "hosts:role=edge,zone=a".parse().unwrap();
        let takes = |labels: &str| at.takes(&labels.parse().unwrap());
        assert!(takes("role=edge,zone=a") && takes("disk=ssd,role=edge,zone=a"));
        assert!(!takes("role=edge") && !takes("role=edge,zone=b") && !takes(""));
        assert!(!ClientsAt::Server.takes(&"role=edge".parse().unwrap()));
    }

    #[test]
    fn what_is_kept_loads_again() {
        let at: ClientsAt = "hosts:role=edge".parse().unwrap();
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, "\"hosts:role=edge\"");
        assert_eq!(serde_json::from_str::<ClientsAt>(&text).unwrap(), at);
    }
}
