//! The compiled route table of an environment, and how a request finds its version in it.
//!
//! A table is complete: a gateway needs nothing else to serve. Choosing is a pure function of the table and the
//! request's key, so every gateway gives the same client the same version with nothing shared.

pub mod actions;
mod caller;
pub mod compress;
pub mod conditions;
pub mod cors;
pub mod hedge;
pub mod index;
pub mod limits;
mod plain;
pub mod policy;
mod receipt;
mod regex;
pub mod retries;
mod rule;
pub mod service_policy;
pub mod template;
mod told;
pub mod upgrades;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approach::Approach;
use crate::between::Between;
use crate::check::TableCheck;
use crate::digest::Digest;
use crate::edition::{Edition, TableHistory};
use crate::entry::Entry;
use crate::gateway_rules::{Caller, GatewayRules};
use crate::instance::{Arm, ConfigRevision, InstanceId};
use crate::lane::TableLane;
use crate::listeners::Listeners;
use crate::mirror::SplitMirror;
use crate::name::{DnsName, EnvironmentName, HostName, ServiceName, ZoneName};
use crate::protocol::Protocol;
use crate::routes::conditions::RequestView;
use crate::routes::index::RouteIndex;
use crate::routes::service_policy::{Fallback, FallbackArm, ServicePolicy};
use crate::switch::{Passage, Switches};
use crate::version::VersionNumber;
use crate::version_rules::{Pattern, Places};
use crate::visit::{Entered, Growth, Visits};
use crate::watch::Watch;

pub use crate::acme::FORMAT_WITH_CHALLENGES;
pub use crate::approach::FORMAT_WITH_APPROACH;
pub use crate::between::FORMAT_WITH_BETWEEN;
pub use crate::check::FORMAT_WITH_CHECKS;
pub use crate::injection::FORMAT_WITH_FAULTS;
pub use crate::lane::FORMAT_WITH_LANES;
pub use crate::maintenance::FORMAT_WITH_MAINTENANCE;
pub use crate::mirror::FORMAT_WITH_MIRRORS;
pub use crate::outliers::FORMAT_WITH_FLOORS;
pub use crate::priority::FORMAT_WITH_PRIORITIES;
pub use crate::protocol::FORMAT_WITH_TCP;
pub use crate::request_path::FORMAT_WITH_PATH_FORMS;
pub use crate::targets::{FORMAT_WITH_NAMES, NamedEndpoint};
pub use crate::visit::FORMAT_WITH_VISITS;
pub use caller::{CallerToken, arm_of_caller, caller_name, caller_token};
pub use hedge::FORMAT_WITH_HEDGES;
pub use receipt::{ArmTraffic, GatewayReceipt, LeftAlone, RefusedTable};
pub use rule::{Affinity, PathType, Patience, Precedence, PrefixHandling, RouteRule};
pub(crate) use rule::{takes as host_is_of, under as path_is_under};
pub use upgrades::FORMAT_WITH_UPGRADES;

/// The format of [`RouteTable`] that this program writes. A gateway refuses a table with a higher number.
///
/// 2: rules, callers and hosts such as `*.shop.test`, which a gateway of format 1 would pass over: it would believe and
/// open what the environment does not.
///
/// 3: former names of services, which a gateway of format 2 would not find. A table without them is still written as format 2.
///
/// 4: listeners of instances, which a gateway of format 3 would not open. A table without them is written as before.
///
/// 5: routes that keep a client at one instance, which a gateway of format 4 would not do. A table without them is written as
/// before.
///
/// 6: rules that give certain requests a version of their own, which a gateway of format 5 would pass over. A table without them is
/// written as before.
///
/// 7: versions that speak something else than HTTP/1.1, which a gateway of format 6 would ask in HTTP/1.1. A table without them is
/// written as before.
///
/// 8: routes with conditions beside host and path, or that do something, which a gateway of an earlier format would pass over. A table
/// without them is written as before.
///
/// 9: how clients come in (certificates, what plain HTTP gets, who hands connections on), which a gateway of an earlier format would
/// not keep to. A table that says nothing of it is written as before.
///
/// 10: what a route asks for (how long a request may take, when it is asked again, how much is taken), which a gateway of an earlier format would not keep to. A table
/// without it is written as before.
///
/// 11: answers to authorities that give certificates, which a gateway of an earlier format would not give. A table without them, as each is while
/// no order is under way, is written as before.
///
/// 12: versions that speak TCP, and ports that lead to them, which a gateway of an earlier format does not know. A table without them is written
/// as before.
///
/// 13: versions that are left alone when they fail, and what stands in for them, which a gateway of an earlier format would pass over. A
/// table without them is written as before.
///
/// 14: versions that get copies of requests, which a gateway of an earlier format would not send. A table without them is written as before.
///
/// 15: how the instances of a version are chosen, which a gateway of an earlier format would do as ever. A table that says nothing of it is
/// written as before.
///
/// 16: instances that speak TLS or want a PROXY header, which a gateway of an earlier format would ask without. A table without them is written as
/// before.
///
/// 17: faults that requests meet on purpose, which a gateway of an earlier format would not inject. A table without them, of an environment
/// that allows none, is written as before.
///
/// 18: answers that are compressed, which a gateway of an earlier format does not do. A table without them is written as before.
///
/// 19: visitors who are kept on one side of rollouts by a signed cookie, pages of maintenance, and requests without `via`, none of which a
/// gateway of an earlier format knows. A table without them is written as before.
///
/// 20: versions whose limit of requests adapts, which a gateway of an earlier format would not limit. A table without them is written as
/// before.
///
/// 21: instances that are named by host, and zones of instances, which a gateway of an earlier format would not find or not prefer. A table
/// without them is written as before.
///
/// 22: priorities of requests, by which a gateway of an earlier format would not refuse. A table without them is written as before.
///
/// 23: reads that are asked of another instance as well where the first is slow, which a gateway of an earlier format would not do. A table
/// without them is written as before.
///
/// 24: lanes, which a gateway of an earlier format would pass over. A table without them is written as before. A gateway that takes it also
/// knows who calls by the name behind the token of an address.
///
/// 25: protocols beside WebSocket that a connection may switch to, which a gateway of an earlier format would not pass. A table without them is written
/// as before.
///
/// 26: how paths are sent on, and what becomes of their encoded slashes and parameters, and how many instances of a version are asked in any case: a
/// gateway of an earlier format would do as ever. A table that says nothing of it is written as before.
///
/// 27: instances that are reached through the gateway of their host, which a gateway of an earlier format would ask where nobody listens. A table
/// without them is written as before.
///
/// 28: checks that gateways make by themselves, which a gateway of an earlier format would not make, and would count as requests of customers. A table
/// without them is written as before.
pub const ROUTE_TABLE_FORMAT: u32 = FORMAT_WITH_CHECKS;
/// The first format whose gateways know who calls by the name behind its token.
pub const FORMAT_WITH_NAMED_CALLERS: u32 = 24;
/// The format that a gateway must take where a version gets no more requests than it answers in time.
pub const FORMAT_WITH_SHEDDING: u32 = 20;
/// The format that a gateway must take where a route has answers compressed.
pub const FORMAT_WITH_COMPRESSION: u32 = 18;
/// The format that a gateway must take where a version says how its instances are chosen.
pub const FORMAT_WITH_BALANCING: u32 = 15;
/// The format that a gateway must take where a version has a breaker.
pub const FORMAT_WITH_BREAKERS: u32 = 13;
/// The format that a gateway must take where a route asks for something beside where its requests go.
pub const FORMAT_WITH_POLICIES: u32 = 10;
/// The format that a gateway must take where a table says how clients come in.
pub const FORMAT_WITH_ENTRY: u32 = 9;
/// The format that a gateway must take where routes look at more than host and path, or do more than to lead to a service.
pub const FORMAT_WITH_CONDITIONS: u32 = 8;
/// The format that a gateway must take where a version speaks something else than HTTP/1.1.
pub const FORMAT_WITH_PROTOCOLS: u32 = 7;
/// The format that a gateway must take where rules give certain requests a version of their own.
pub const FORMAT_WITH_VERSION_RULES: u32 = 6;
/// The format that a gateway must take where a route keeps a client at one instance.
pub const FORMAT_WITH_AFFINITY: u32 = 5;
/// The format that a gateway must take where instances call others by host and port.
pub const FORMAT_WITH_LISTENERS: u32 = 4;
/// The format that a gateway must take where services were renamed.
pub const FORMAT_WITH_ALIASES: u32 = 3;
/// The format that a gateway must take where a table says what is believed of requests.
pub const FORMAT_WITH_RULES: u32 = 2;
/// The format before services could be renamed.
const FORMAT_BEFORE_ALIASES: u32 = FORMAT_WITH_RULES;
/// The format before there were rules.
const FORMAT_BEFORE_RULES: u32 = 1;
/// Mixed into the keys of clients for lasting shares of all services: who is in the share of one is in that of all that are as large.
pub const SHARE_SALT: &str = "shares";
/// All weights of a service's splits add up to this.
pub const FULL_WEIGHT: u32 = 10_000;
/// A path that begins with this and a service's name reaches that service: `/@payments/charges` asks payments for `/charges`.
pub const SERVICE_PATH_PREFIX: &str = "/@";
/// A path that begins with this and the token of the environment's instances is asked for by one of them; see [`caller_token`].
pub const CALLER_PATH_PREFIX: &str = "/@~";

/// Where requests of one environment go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteTable {
    /// The lowest format that has everything of the table. A gateway refuses one that is higher than it knows.
    pub format: u32,
    /// The environment.
    pub environment: EnvironmentName,
    /// The line of tables that the revision counts in.
    #[serde(default, skip_serializing_if = "TableHistory::is_empty")]
    #[schemars(extend("default" = TableHistory::default()))]
    pub history: TableHistory,
    /// Grows with every table of the history; receipts name both.
    pub revision: u64,
    /// The number of the baseline that is current.
    pub baseline: u64,
    /// Entry points, the most specific first.
    pub routes: Vec<Route>,
    /// What each service's requests are split over.
    pub services: BTreeMap<ServiceName, ServiceRoutes>,
    /// Former names of services, and what they stand for: the same splits, counted once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_ALIASES))]
    pub aliases: BTreeMap<ServiceName, ServiceName>,
    /// What is believed of requests. Where it is left out, a table of format 1 opens every service by its name to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_RULES))]
    pub rules: Option<GatewayRules>,
    /// SHA-256 of each token by which instances of the environment are recognised: the table says no secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_RULES))]
    pub callers: Vec<Digest>,
    /// Where instances call others by host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_LISTENERS))]
    pub listeners: Option<Listeners>,
    /// How clients come in: by plain HTTP alone when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_ENTRY))]
    pub entry: Option<Entry>,
    /// What visits are signed with, where a route keeps visitors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_VISITS))]
    pub visits: Option<Visits>,
    /// Lanes, the oldest first: a request is in the first that it matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub lanes: Vec<TableLane>,
    /// What is being switched, or was a moment ago; left out where nobody reads what requests were admitted under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switches: Option<Switches>,
    /// What gateways know of each other, where they carry connections between hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BETWEEN))]
    pub between: Option<Between>,
    /// Requests that gateways make by themselves; none counts as one of a customer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_CHECKS))]
    pub checks: Vec<TableCheck>,
}

/// An entry point: requests that match go to the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// How requests are matched.
    #[serde(flatten)]
    pub rule: RouteRule,
    /// Where they go.
    pub service: ServiceName,
}

/// The split of one service's requests over arms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRoutes {
    /// Mixed into the client's key, so that each rollout begins with other clients.
    pub salt: String,
    /// The arms; weights add up to 10,000. The stable arm comes last, so that growing a candidate before it
    /// moves only what is added.
    pub splits: Vec<Split>,
    /// What is counted for the verdict on the arm on trial, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Rules that come before the splits, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_VERSION_RULES))]
    pub version_rules: Vec<SplitRule>,
    /// What stands in for the stable arm while that is left alone because it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BREAKERS))]
    pub fallback: Option<Fallback>,
    /// The version that gets copies of requests, and whose answers no client gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_MIRRORS))]
    pub mirror: Option<SplitMirror>,
    /// How the share of the arm on trial has grown, for visitors who came before; where it is left out they get what all get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_VISITS))]
    pub growth: Option<Growth>,
    /// What the switches of the table do to it, the newest one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passages: Vec<Passage>,
}

/// The split for a client within a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitChoice<'a> {
    /// The split.
    pub split: &'a Split,
    /// Whether it says something about the split of now: only who came with these shares is counted for a verdict.
    pub is_drawn: bool,
}

/// A rule that gives certain requests of a service one of its splits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitRule {
    /// What it is known by to every gateway; no other rule of the server has it.
    pub id: u64,
    /// The version of the split.
    pub version: VersionNumber,
    /// Its configuration.
    pub config: ConfigRevision,
    /// Which requests it takes.
    pub takes: SplitTakes,
}

/// Which requests a rule of a table takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitTakes {
    /// Those with a header field of this name, in any case, and this value.
    Header(Pattern),
    /// Those with a cookie of this name and value.
    Cookie(Pattern),
    /// Those whose client lies in these places on the line from 0 to 10,000, drawn with the salt `shares` for all services.
    Places(Vec<Places>),
    /// Those of the lane that has its number.
    Lane,
}

impl SplitRule {
    /// Tells whether it leads to a split.
    #[must_use]
    pub fn leads_to(&self, split: &Split) -> bool {
        (&self.version, self.config) == (&split.version, split.config)
    }

    /// Tells whether a client of this key is in its share.
    #[must_use]
    pub fn shares(&self, key: &[u8]) -> bool {
        match &self.takes {
            SplitTakes::Places(places) => {
                let place = slot(SHARE_SALT, key);
                places.iter().any(|range| range.contains(place))
            }
            SplitTakes::Header(_) | SplitTakes::Cookie(_) | SplitTakes::Lane => false,
        }
    }
}

/// One arm's share of a service's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// The version.
    pub version: VersionNumber,
    /// Its configuration.
    pub config: ConfigRevision,
    /// Share of the clients in 1/10,000.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub weight: u32,
    /// Whether the arm is on trial, or there for rules alone.
    pub role: SplitRole,
    /// Instances that may be given requests.
    pub endpoints: Vec<Endpoint>,
    /// Instances that are about to end, where clients are kept at instances: only those that are kept there still come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_AFFINITY))]
    pub leaving: Vec<Endpoint>,
    /// Instances that are named by host: each gateway looks their addresses up for itself, and each address is an instance beside those above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_NAMES))]
    pub named: Vec<NamedEndpoint>,
    /// What its instances speak.
    #[serde(default, skip_serializing_if = "Protocol::is_http1")]
    #[schemars(extend("x-since" = FORMAT_WITH_PROTOCOLS, "default" = Protocol::default()))]
    pub protocol: Protocol,
    /// What it asks of gateways for all its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BREAKERS))]
    pub policy: Option<Arc<ServicePolicy>>,
    /// What comes before that on a connection.
    #[serde(default, skip_serializing_if = "Approach::is_plain")]
    #[schemars(extend("x-since" = FORMAT_WITH_APPROACH, "default" = Approach::default()))]
    pub approach: Approach,
}

impl Split {
    /// Goes through all instances that anybody may come to.
    pub fn instances(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(&self.leaving)
    }

    /// Returns the arm of this split.
    #[must_use]
    pub fn arm(&self, service: &ServiceName) -> Arm {
        Arm { service: service.clone(), version: self.version.clone(), config: self.config, process: None }
    }
}

/// Whether an arm is trusted, on trial, or there for rules and as what stands in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitRole {
    /// Serves without conditions.
    Stable,
    /// On trial: a failed GET or HEAD without a body is asked again of the stable arm (and still counts as a failure).
    Candidate,
    /// Serves what rules give it, and in the place of another arm, and nothing else.
    Pinned,
}

/// An instance that takes requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// The instance.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it stands: a gateway of the same zone prefers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_NAMES))]
    pub zone: Option<ZoneName>,
    /// The name of its host, which its certificate must be for where the version names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_NAMES))]
    pub host: Option<DnsName>,
    /// The host whose gateway carries connections to it; left out where it is asked itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_BETWEEN))]
    pub through: Option<HostName>,
}

impl Endpoint {
    /// Makes one of which nothing but the address is known.
    #[must_use]
    pub const fn at(instance: InstanceId, address: SocketAddr) -> Self {
        Self { instance, address, zone: None, host: None, through: None }
    }
}

/// A request's way through the table: the service, and the path it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The service that answers.
    pub service: &'a ServiceName,
    /// How many bytes of the path are taken off; the rest begins with `/` or is empty.
    pub strip: usize,
    /// The route that took it; none for a call by name.
    pub rule: Option<&'a RouteRule>,
    /// The place of that route in the table.
    pub place: Option<usize>,
}

impl<'a> Matched<'a> {
    /// Returns the way of a call that names the service.
    #[must_use]
    pub const fn named(service: &'a ServiceName, strip: usize) -> Self {
        Self { service, strip, rule: None, place: None }
    }
}

impl RouteTable {
    /// Returns the table with the lowest format that has everything of it.
    #[must_use]
    pub fn in_its_format(self) -> Self {
        let mut splits = self.services.values().flat_map(|routes| &routes.splits);
        let policies = self.services.values().flat_map(|routes| &routes.splits);
        let mut policies = policies.filter_map(|split| split.policy.as_ref());
        let is_plain = |split: &Split| split.approach.is_plain();
        let rules = self.rules();
        let format = if !self.checks.is_empty() {
            FORMAT_WITH_CHECKS
        } else if self.between.is_some() {
            FORMAT_WITH_BETWEEN
        } else if !rules.path_reading().is_usual() || policies.clone().any(|policy| policy.has_floor()) {
            FORMAT_WITH_PATH_FORMS.max(FORMAT_WITH_FLOORS)
        } else if self.routes.iter().any(|route| route.rule.upgrades()) {
            FORMAT_WITH_UPGRADES
        } else if !self.lanes.is_empty() {
            FORMAT_WITH_LANES
        } else if self.routes.iter().any(|route| route.rule.hedges()) {
            FORMAT_WITH_HEDGES
        } else if self.needs_priorities() {
            FORMAT_WITH_PRIORITIES
        } else if self.needs_names() {
            FORMAT_WITH_NAMES
        } else if self.needs_shedding() {
            FORMAT_WITH_SHEDDING
        } else if self.keeps_visitors()
            || self.services.values().any(|it| it.growth.is_some())
            || !rules.maintenance.is_empty()
            || !rules.via.is_added()
        {
            FORMAT_WITH_VISITS
        } else if self.routes.iter().any(|route| route.rule.compresses()) {
            FORMAT_WITH_COMPRESSION
        } else if !rules.faults.is_empty() || !rules.fault_injection.is_refused() {
            FORMAT_WITH_FAULTS
        } else if !self.services.values().flat_map(|routes| &routes.splits).all(is_plain) {
            FORMAT_WITH_APPROACH
        } else if policies.any(|policy| policy.needs_balancing()) {
            FORMAT_WITH_BALANCING
        } else if self.services.values().any(|routes| routes.mirror.is_some()) {
            FORMAT_WITH_MIRRORS
        } else if self.needs_breakers() {
            FORMAT_WITH_BREAKERS
        } else if self.is_of_tcp() {
            FORMAT_WITH_TCP
        } else if self.entry.as_ref().is_some_and(|entry| !entry.challenges.is_empty()) {
            FORMAT_WITH_CHALLENGES
        } else if self.routes.iter().any(|route| route.rule.policy.is_some()) {
            FORMAT_WITH_POLICIES
        } else if self.entry.is_some() {
            FORMAT_WITH_ENTRY
        } else if self.routes.iter().any(|route| route.rule.needs_conditions()) {
            FORMAT_WITH_CONDITIONS
        } else if splits.any(|split| !split.protocol.is_http1()) {
            FORMAT_WITH_PROTOCOLS
        } else if self.services.values().any(|routes| !routes.version_rules.is_empty()) {
            FORMAT_WITH_VERSION_RULES
        } else if self.routes.iter().any(|route| route.rule.affinity.is_some()) {
            FORMAT_WITH_AFFINITY
        } else if self.listeners.is_some() {
            FORMAT_WITH_LISTENERS
        } else if !self.aliases.is_empty() {
            FORMAT_WITH_ALIASES
        } else {
            FORMAT_BEFORE_ALIASES
        };
        Self { format, ..self }
    }

    /// Tells whether a gateway before [`FORMAT_WITH_PRIORITIES`] would refuse others first.
    fn needs_priorities(&self) -> bool {
        let mut splits = self.services.values().flat_map(|routes| &routes.splits);
        let is_shared = |split: &Split| split.policy.as_ref().is_some_and(|it| it.priorities.is_some());
        splits.any(is_shared) || self.routes.iter().any(|route| route.rule.has_priority())
    }

    /// Tells whether a gateway before [`FORMAT_WITH_NAMES`] would miss an instance, or not prefer one.
    fn needs_names(&self) -> bool {
        let is_placed = |it: &Endpoint| it.zone.is_some() || it.host.is_some();
        let mut splits = self.services.values().flat_map(|routes| &routes.splits);
        splits.any(|split| !split.named.is_empty() || split.instances().any(is_placed))
    }

    /// Goes through all instances that are named by host.
    pub fn named_endpoints(&self) -> impl Iterator<Item = &NamedEndpoint> {
        self.services.values().flat_map(|routes| &routes.splits).flat_map(|split| &split.named)
    }

    /// Returns the table with the instances that names stand for. An address that is there already is one instance.
    #[must_use]
    pub fn aimed(mut self, find: impl Fn(&NamedEndpoint) -> Vec<Endpoint>) -> Self {
        let splits = self.services.values_mut().flat_map(|routes| &mut routes.splits);
        for split in splits.filter(|split| !split.named.is_empty()) {
            for found in split.named.iter().flat_map(&find) {
                if !split.endpoints.iter().any(|known| known.address == found.address) {
                    split.endpoints.push(found);
                }
            }
        }
        self
    }

    fn is_of_tcp(&self) -> bool {
        self.entry.as_ref().is_some_and(Entry::is_of_tcp)
            || self.services.values().any(ServiceRoutes::speaks_tcp)
    }

    /// Tells whether a gateway before [`FORMAT_WITH_SHEDDING`] would do something else.
    fn needs_shedding(&self) -> bool {
        let splits = self.services.values().flat_map(|routes| &routes.splits);
        let mut policies = splits.filter_map(|split| split.policy.as_ref());
        policies.any(|policy| policy.adaptive_limit.is_some())
    }

    /// Tells whether a gateway before [`FORMAT_WITH_BREAKERS`] would do something else.
    fn needs_breakers(&self) -> bool {
        let of_service = |routes: &ServiceRoutes| {
            routes.fallback.is_some() || routes.splits.iter().any(|split| split.policy.is_some())
        };
        self.services.values().any(of_service) || self.routes.iter().any(|route| route.rule.has_fallback())
    }

    /// Returns the table with the listeners of instances, where there are any.
    #[must_use]
    pub fn with_listeners(self, listeners: Option<Listeners>) -> Self {
        Self { listeners, ..self }.in_its_format()
    }

    /// Tells whether a route keeps visitors on one side of rollouts.
    #[must_use]
    pub fn keeps_visitors(&self) -> bool {
        self.routes.iter().any(|route| route.rule.keeps_visitors())
    }

    /// Returns the table with the digests of the keys that visits are signed with, where a route keeps visitors.
    #[must_use]
    pub fn with_visit_keys(self, keys: impl FnOnce() -> Vec<Digest>) -> Self {
        if !self.keeps_visitors() {
            return self;
        }
        Self { visits: Some(Visits { keys: keys() }), ..self }.in_its_format()
    }

    /// Returns what a visit sees that begins now; `None` where no route keeps visitors.
    #[must_use]
    pub fn entered_now(&self) -> Option<Entered> {
        let growing = || self.services.values().filter_map(|routes| routes.growth.as_ref());
        self.keeps_visitors().then(|| Entered::now(growing()))
    }

    /// Returns for how many seconds routes keep visitors, by the cookie that carries it: routes that share one may say different times.
    #[must_use]
    pub fn visit_times(&self) -> BTreeMap<String, BTreeSet<u64>> {
        let visits = self.routes.iter().filter_map(|route| route.rule.then.as_ref()?.visit.as_ref());
        let mut times = BTreeMap::<_, BTreeSet<_>>::new();
        for visit in visits {
            times.entry(visit.cookie.clone()).or_default().insert(visit.for_s);
        }
        times
    }

    /// Tells whether a route of a service keeps clients at instances.
    #[must_use]
    pub fn keeps_clients_of(&self, service: &ServiceName) -> bool {
        self.routes.iter().any(|route| route.service == *service && route.rule.affinity.is_some())
    }

    /// Returns its place among the tables of its server.
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition { history: self.history.clone(), revision: self.revision }
    }

    /// Returns the table at another place.
    #[must_use]
    pub fn at(self, Edition { history, revision }: Edition) -> Self {
        Self { history, revision, ..self }
    }

    /// Finds the service for a host (without port) and a path, both in their one form; `index` is that of its routes.
    ///
    /// `/@name` comes first, for those who may; then the routes in their order; `None` when nothing matches.
    pub fn find(
        &self,
        index: &RouteIndex,
        (host, path): (Option<&str>, &str),
        caller: Caller,
        request: &impl RequestView,
    ) -> Option<Matched<'_>> {
        self.named(path, caller).or_else(|| {
            let place = index.find(&self.routes, host, path, request)?;
            let Route { rule, service } = &self.routes[place];
            Some(Matched { service, strip: rule.strip(), rule: Some(rule), place: Some(place) })
        })
    }

    /// Finds the service that a path names, where a caller may ask for it so.
    #[must_use]
    pub fn named(&self, path: &str, caller: Caller) -> Option<Matched<'_>> {
        let named = path.strip_prefix(SERVICE_PATH_PREFIX).filter(|_| self.opens_names_to(caller));
        named.and_then(|rest| self.find_named(rest))
    }

    fn find_named(&self, rest: &str) -> Option<Matched<'_>> {
        let name: ServiceName = rest.split('/').next()?.parse().ok()?;
        let known = self.services.get_key_value(&name).map(|(name, _)| (name, name));
        let (called, service) = known.or_else(|| self.aliases.get_key_value(&name))?;
        Some(Matched::named(service, SERVICE_PATH_PREFIX.len() + called.as_str().len()))
    }

    /// Tells whether a caller may ask for a service by its name.
    #[must_use]
    pub fn opens_names_to(&self, caller: Caller) -> bool {
        self.rules().named_services.allows(caller)
    }

    /// Returns what is believed of requests. A table without rules means what its format meant.
    #[must_use]
    pub fn rules(&self) -> &GatewayRules {
        static BEFORE: GatewayRules = GatewayRules::before_rules();
        static USUAL: GatewayRules = GatewayRules::usual();
        match &self.rules {
            Some(rules) => rules,
            None if self.format <= FORMAT_BEFORE_RULES => &BEFORE,
            None => &USUAL,
        }
    }

    /// Goes through the routes that no request can match, since their host or path has no form: an older release took such ones.
    pub fn without_form(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.rule.in_one_form().is_none())
    }

    /// Returns the table as a gateway serves it: routes in the one form that requests are matched in, the most specific
    /// first. What is [without form](Self::without_form) is left out; whoever serves or shows the table says so.
    #[must_use]
    pub fn prepared(mut self) -> Self {
        self.routes.retain_mut(|route| route.rule.normalize().is_some());
        self.routes.sort_by_key(|route| std::cmp::Reverse(route.rule.precedence()));
        self
    }
}

impl ServiceRoutes {
    /// Tells whether connections to it are passed as bytes: as soon as one of its versions speaks TCP.
    #[must_use]
    pub fn speaks_tcp(&self) -> bool {
        self.splits.iter().any(|split| split.protocol == Protocol::Tcp)
    }

    /// Finds the rule that takes a request: of those of headers and cookies the first of which `is_said` says that it does, else
    /// the one in whose share the client is.
    pub fn rule_for(&self, is_said: impl Fn(&SplitRule) -> bool, key: &[u8]) -> Option<&SplitRule> {
        let is_share = |rule: &&SplitRule| matches!(rule.takes, SplitTakes::Places(_));
        let mut said = self.version_rules.iter().filter(|rule| !is_share(rule));
        let mut shares = self.version_rules.iter().filter(is_share);
        said.find(|rule| is_said(rule)).or_else(|| shares.find(|rule| rule.shares(key)))
    }

    /// Chooses the split for a client's key. The same key always gets the same split of the same table.
    ///
    /// Returns `None` only for a service without splits.
    #[must_use]
    pub fn choose(&self, key: &[u8]) -> Option<&Split> {
        if let [only] = self.splits.as_slice() {
            return Some(only);
        }
        self.split_at(slot(&self.salt, key))
    }

    /// Chooses the split for a client's key that began a visit when the arm on trial may have had another share. An arm that has a smaller one
    /// since then is given only what that is.
    #[must_use]
    pub fn choose_for_visit(&self, key: &[u8], entered: &Entered) -> Option<VisitChoice<'_>> {
        let now = self.split_at(slot(&self.salt, key))?;
        Some(self.keep_to_visit(now, key, entered))
    }

    /// Chooses the split for a client who began a visit and would get a split without that.
    #[must_use]
    pub fn keep_to_visit<'a>(&'a self, now: &'a Split, key: &[u8], entered: &Entered) -> VisitChoice<'a> {
        let Some(growth) = &self.growth else { return VisitChoice { split: now, is_drawn: true } };
        let place = slot(&self.salt, key);
        let (then, current) = (growth.weight_for(entered), growth.weights.last().copied().unwrap_or(0));
        // Where all clients of one share are looked at, those who came when it was another are not among them: whom a visit keeps
        // off the arm on trial are only those who came long ago, and whoever is left would be others than those of the stable one.
        let is_drawn = then == current;
        let is_grown = now.role == SplitRole::Candidate && place >= then;
        let split = if is_grown { self.stable().unwrap_or(now) } else { now };
        VisitChoice { split, is_drawn }
    }

    /// Returns the split that has a place on the line from 0 to [`FULL_WEIGHT`], on which clients lie by their keys.
    #[must_use]
    pub fn split_at(&self, place: u32) -> Option<&Split> {
        let mut end = 0;
        self.splits
            .iter()
            .find(|split| {
                end += split.weight;
                place < end
            })
            .or(self.splits.last())
    }

    /// Returns the arm that stands in for the stable one, if any does.
    #[must_use]
    pub fn fallback_arm(&self) -> Option<&FallbackArm> {
        match &self.fallback {
            Some(Fallback::To(arm)) => Some(arm),
            Some(Fallback::Nobody(_)) | None => None,
        }
    }

    /// Returns the split that serves without conditions, the last one.
    #[must_use]
    pub fn stable(&self) -> Option<&Split> {
        self.splits.iter().rev().find(|split| split.role == SplitRole::Stable)
    }
}

/// Places a key on the line from 0 to [`FULL_WEIGHT`]: FNV-1a over salt, a zero byte and key, finished by
/// `fmix64` of MurmurHash3. It is part of the format: every gateway of every release must agree on it.
#[must_use]
pub fn slot(salt: &str, key: &[u8]) -> u32 {
    let bytes = salt.bytes().chain([0]).chain(key.iter().copied());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    u32::try_from((u128::from(hash) * u128::from(FULL_WEIGHT)) >> 64)
        .expect("the product's high word is below 10,000")
}

#[cfg(test)]
mod tests;
