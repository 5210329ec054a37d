//! Hosts: the machines that instances run on, apart from the one of the server. What a person decided about each, and what follows from it.
//!
//! A host that is not reached is still a host: whether it is there is seen, and decided nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::digest::Digest;
use crate::environment::Environment;
use crate::event::{Event, Recorded};
use crate::instance::{Arm, Instance, InstanceId, InstanceState};
use crate::name::{Actor, EnvironmentName, HostName, LabelName, LabelValue, NameError};
use crate::observed::Observed;
use crate::operation::{Move, Phase};
use crate::service::Service;
use crate::ssh_target::SshTarget;
use crate::time::Timestamp;
use crate::world::World;

/// Most hosts that are known at the same time: each has a connection of its own.
pub const MAX_HOSTS: usize = 500;
/// Of how many baselines the artifacts stay on hosts, the current one included.
pub const KEPT_BASELINES: usize = 5;
/// Most artifacts that one may be similar to: a host has only some of them.
const MOST_SIMILAR: usize = 64;
/// Most labels of a host.
pub const MAX_LABELS: usize = 32;
/// Longest path that is kept of a host.
pub const MAX_PATH_LENGTH: usize = 1_000;
/// The label that says where a host stands: instances of an arm are spread over its values.
pub const ZONE_LABEL: &str = "zone";

/// What a host is like, as `zone=a,role=web`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Labels(BTreeMap<LabelName, LabelValue>);

/// Why a text is no labels.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelsError {
    /// A part is no pair.
    #[error("`{part}` is no label: a label is NAME=VALUE, such as zone=a; several have commas between them")]
    Pair {
        /// The part, cut to a printable length.
        part: String,
    },
    /// A name or a value breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name stands there twice.
    #[error("label `{name}` stands there twice")]
    Twice {
        /// Which.
        name: LabelName,
    },
    /// There are too many.
    #[error("a host has at most {MAX_LABELS} labels")]
    Many,
}

impl Labels {
    /// Returns what a label says.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&LabelValue> {
        self.0.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes through them.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelName, &LabelValue)> {
        self.0.iter()
    }
}

impl FromStr for Labels {
    type Err = LabelsError;

    fn from_str(text: &str) -> Result<Self, LabelsError> {
        let mut labels = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let no_pair = || LabelsError::Pair { part: part.chars().take(80).collect() };
            let (name, value) = part.split_once('=').ok_or_else(no_pair)?;
            let name: LabelName = name.trim().parse()?;
            if labels.insert(name.clone(), value.trim().parse()?).is_some() {
                return Err(LabelsError::Twice { name });
            }
        }
        if labels.len() > MAX_LABELS { Err(LabelsError::Many) } else { Ok(Self(labels)) }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.pad(&pairs.join(","))
    }
}

as_text!(Labels);

/// Whether the network between a host and the others is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nobody else can listen or speak there: instances listen at the address of the host, and what goes there is plain.
    Trusted,
    /// Instances listen on loopback of the host, and its gateway takes in those of the environment, within TLS.
    #[default]
    Untrusted,
}

impl Network {
    /// What hosts are that were added before this could be said.
    #[must_use]
    pub const fn before() -> Self {
        Self::Trusted
    }

    /// Returns the address at which instances of a host listen that start from now on.
    #[must_use]
    pub fn listen(self, host: IpAddr) -> IpAddr {
        match self {
            Self::Trusted => host,
            // What never leaves its machine needs no gateway.
            Self::Untrusted
                if [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&host) =>
            {
                host
            }
            Self::Untrusted => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        })
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trusted" => Ok(Self::Trusted),
            "untrusted" => Ok(Self::Untrusted),
            _ => Err("a network is trusted or untrusted".to_owned()),
        }
    }
}

/// What a person decides about a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSettings {
    /// Where `ssh` connects to.
    pub ssh: SshTarget,
    /// The file on the machine of the server with the key to log in with; what `ssh` has by itself when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The folder there; one in the home of the user when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The address there at which others reach it: its gateways, or instances themselves where the network is trusted.
    pub address: IpAddr,
    /// Whether the network that leads there is trusted.
    #[serde(default = "Network::before")]
    pub network: Network,
    /// What it is like.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Whose instances run there.
    pub environments: BTreeSet<EnvironmentName>,
    /// The key that it has to show, as in a file of known hosts: its kind and the key.
    pub host_key: String,
}

/// What may run on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// New instances start there.
    #[default]
    Open,
    /// No new instance starts there; what runs there goes on.
    Cordoned,
    /// No new instance starts there; what runs there is replaced elsewhere, and ends.
    Draining,
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        })
    }
}

/// Who turned a host to what it is now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Turned {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Who.
    pub by: Actor,
}

/// A host as the journal tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The record that added it, which tells it from a removed one of its name.
    pub record: u64,
    /// When it was added.
    pub added: Timestamp,
    /// By whom.
    pub by: Actor,
    /// What a person decided about it.
    pub settings: HostSettings,
    /// What may run there.
    pub stance: Stance,
    /// Since when that is so, and why; missing as long as it was never turned.
    pub turned: Option<Turned>,
}

impl Host {
    fn begin(recorded: &Recorded, settings: &HostSettings) -> Self {
        Self {
            record: recorded.seq,
            added: recorded.at,
            by: recorded.actor.clone(),
            settings: settings.clone(),
            stance: Stance::default(),
            turned: None,
        }
    }

    /// Tells whether instances of an environment run there.
    #[must_use]
    pub fn serves(&self, environment: &EnvironmentName) -> bool {
        self.settings.environments.contains(environment)
    }
}

/// Folds an event of a host in.
pub(crate) fn fold(hosts: &mut OrdMap<HostName, Arc<Host>>, recorded: &Recorded) -> Result<(), String> {
    let missing = |host: &HostName| format!("no host `{host}`");
    match &recorded.event {
        Event::HostAdded { host, .. } if hosts.contains_key(host) => {
            return Err(format!("host `{host}` exists already"));
        }
        Event::HostAdded { host, settings } => {
            hosts.insert(host.clone(), Arc::new(Host::begin(recorded, settings)));
        }
        Event::HostChanged { host, settings, .. } => {
            let known = hosts.get_mut(host).ok_or_else(|| missing(host))?;
            Arc::make_mut(known).settings = (**settings).clone();
        }
        Event::HostTurned { host, stance, reason } => {
            let known = Arc::make_mut(hosts.get_mut(host).ok_or_else(|| missing(host))?);
            let (reason, by) = (reason.clone(), recorded.actor.clone());
            (known.stance, known.turned) = (*stance, Some(Turned { reason, since: recorded.at, by }));
        }
        Event::HostRemoved { host, .. } => {
            hosts.remove(host).ok_or_else(|| missing(host))?;
        }
        _ => {}
    }
    Ok(())
}

/// Notes on every host that an environment is gone. Folding only.
pub(crate) fn leave(hosts: &mut OrdMap<HostName, Arc<Host>>, environment: &EnvironmentName) {
    let serving: Vec<_> =
        hosts.iter().filter(|(_, host)| host.serves(environment)).map(|(n, _)| n.clone()).collect();
    for name in serving {
        if let Some(host) = hosts.get_mut(&name) {
            Arc::make_mut(host).settings.environments.remove(environment);
        }
    }
}

/// Tells whether instances of an environment run on hosts, and not on the machine of the server.
#[must_use]
pub fn is_on_hosts(world: &World, environment: &EnvironmentName) -> bool {
    world.hosts.values().any(|host| host.serves(environment))
}

/// Returns the artifacts that a host has to have before anybody asks for them: of what is live in its environments, of what an operation brings
/// there, and of the last baselines.
#[must_use]
pub fn artifacts(world: &World, host: &Host) -> BTreeSet<Digest> {
    let environments = host.settings.environments.iter().filter_map(|name| world.environment(name));
    let arms = environments.flat_map(|environment| {
        let last =
            environment.baselines.newest_first().take(KEPT_BASELINES).map(|baseline| &baseline.entries);
        let coming = environment.moving().map(|operation| &operation.plan.target);
        let entries = last.chain(coming).flat_map(|entries| entries.iter());
        let prepared = environment.prepared.keys().cloned();
        entries.map(|(service, entry)| entry.arm(service)).chain(prepared).collect::<Vec<_>>()
    });
    arms.filter_map(|arm| Some(world.version(&arm.version_ref())?.artifact.digest)).collect()
}

/// Returns the artifacts that one may be similar to, the most similar first: those of other versions of its service, the newest first.
#[must_use]
pub fn similar(world: &World, artifact: &Digest) -> Vec<Digest> {
    let has_it =
        |service: &&Arc<Service>| service.versions.values().any(|it| it.artifact.digest == *artifact);
    let services = world.services.values().filter(has_it);
    let mut found: Vec<Digest> = Vec::new();
    for version in services.flat_map(|service| service.versions.values().rev()) {
        let digest = version.artifact.digest;
        if digest != *artifact && !found.contains(&digest) && found.len() < MOST_SIMILAR {
            found.push(digest);
        }
    }
    found
}

/// Returns the instances that leave their host: it is being drained, or they are moved to another. Another one takes the place of each.
#[must_use]
pub fn evacuated<'a>(
    world: &World,
    instances: impl IntoIterator<Item = &'a Instance>,
) -> BTreeSet<InstanceId> {
    let is_draining = |name: &HostName| world.hosts.get(name).is_some_and(|it| it.stance == Stance::Draining);
    let is_moved =
        |it: &Instance| world.environment(&it.environment).is_some_and(|of| of.is_relocated(&it.id));
    let leaves = |it: &&Instance| it.host.as_ref().is_some_and(is_draining) || is_moved(it);
    instances.into_iter().filter(leaves).map(|instance| instance.id.clone()).collect()
}

/// Doubts what nobody can know: an instance whose host is not reached was healthy when it was last seen. What an operation waits for before
/// its next wave is doubted, and so is what others of its arm can stand in for. What nothing else stands in for goes on as it was seen,
/// because the host may be there and only the line to it be cut.
pub fn doubt_unreached(environment: &Environment, observed: &mut Observed, unreached: &BTreeSet<HostName>) {
    let is_there = |instance: &Instance| instance.host.as_ref().is_none_or(|host| !unreached.contains(host));
    let preparing = environment.moving().filter(|it| matches!(it.phase, Phase::Preparing { .. }));
    let preparing = preparing.flat_map(|it| it.plan.moves().flat_map(Move::to_arms));
    let healthy = observed.instances.iter().filter(|it| it.state.is_healthy() && is_there(it));
    let doubted: BTreeSet<Arm> = healthy.map(|instance| instance.arm.clone()).chain(preparing).collect();
    for instance in &mut observed.instances {
        if !is_there(instance) && instance.state.is_healthy() && doubted.contains(&instance.arm) {
            doubt(instance);
            observed.unreached.insert(instance.id.clone());
        }
    }
}

/// Takes an instance that was healthy for one of which nobody knows how it is.
pub fn doubt(instance: &mut Instance) {
    let Some(host) = instance.host.as_ref().filter(|_| instance.state.is_healthy()) else { return };
    let reason = format!("`{host}` is not reached; it was healthy when last seen");
    instance.state = InstanceState::Unhealthy { reason };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_people_write_them_and_say_what_is_wrong() {
        let labels: Labels = " zone = a, role=web,".parse().unwrap();
        assert_eq!(labels.to_string(), "role=web,zone=a");
        assert_eq!(labels.get("zone").map(LabelValue::as_str), Some("a"));
        let wrong = |text: &str| text.parse::<Labels>().unwrap_err().to_string();
        assert!(wrong("zone").contains("`zone` is no label"));
        assert!(wrong("zone=a,zone=b").contains("twice"));
        assert!(wrong("Zone=a").contains("`Zone` is not a valid label name"));
        assert!(wrong("zone=a b").contains("label value"));
        let many: Vec<_> = (0..=MAX_LABELS).map(|n| format!("l{n}=x")).collect();
        assert_eq!(many.join(",").parse::<Labels>(), Err(LabelsError::Many));
    }

    #[test]
    fn a_host_of_before_is_as_it_was_and_another_one_listens_on_loopback_unless_its_network_is_trusted() {
        let before = r#"{"ssh":"deploy@10.0.0.5","address":"10.0.0.5","environments":[],"host_key":"k"}"#;
        let settings: HostSettings = serde_json::from_str(before).unwrap();
        assert_eq!(settings.network, Network::Trusted);
        let address = settings.address;
        assert_eq!(Network::Trusted.listen(address), address);
        assert_eq!(Network::default().listen(address), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(Network::Untrusted.listen(own), own);
        assert_eq!("trusted".parse(), Ok(Network::Trusted));
        assert!("plain".parse::<Network>().is_err());
    }
}
