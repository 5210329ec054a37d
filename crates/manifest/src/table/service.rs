//! Reads `[service.NAME]` of a table: versions with their shares and instances, and which requests get a version of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use lockstep_domain::approach::Approach;
use lockstep_domain::injection::Fault;
use lockstep_domain::mirror::{Mirror, SplitMirror};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::service_policy::{Fallback, FallbackArm};
use lockstep_domain::routes::{
    Endpoint, FULL_WEIGHT, NamedEndpoint, ServiceRoutes, Split, SplitRole, SplitRule, SplitTakes,
};
use lockstep_domain::share::in_10000;
use lockstep_domain::version_rules::{Places, Takes};
use lockstep_domain::visit::Growth;
use lockstep_domain::{ConfigRevision, DnsName, InstanceId, ServiceName, VersionNumber, ZoneName};

use super::{Place, fault};
use crate::parse::{approach, gateway, protocol};
use crate::reader::{Field, Table};

const INSTANCES: &str = "instances = [\"127.0.0.1:9000\"]";
const VERSIONS: &str = "[[service.orders.version]] with number = \"1.0.0\"";
const MIRROR: &str = "mirror = { version = \"1.1.0\", share = \"5%\" }";
/// What a version is called that has no number.
const UNNUMBERED: VersionNumber = VersionNumber::new(0, 0, 0);

/// Longest name that an instance gets by its address: what is found by a host name is put behind it.
const MAX_USUAL_NAME: usize = 200;

/// The services of a table.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) routes: BTreeMap<ServiceName, ServiceRoutes>,
    pub(super) aliases: BTreeMap<ServiceName, ServiceName>,
    /// What their requests meet on purpose, numbered in the order of the file.
    pub(super) faults: Vec<Fault>,
}

pub(super) fn services(table: &Table<'_>, places: &mut Vec<Place>) -> Services {
    let (mut services, mut rules) = (Services::default(), 0);
    for (key, field) in table.entries("[service.orders]") {
        let name = key.parse::<ServiceName>().map_err(|error| field.wrong_key(error)).ok();
        let Some(table) = field.table() else { continue };
        places.push(Place {
            table: format!("services.{key}"),
            file: format!("service.{key}"),
            offset: table.offset(),
        });
        let aliases = table.get("aliases", "aliases = [\"former-name\"]");
        let aliases = aliases.map(|field| field.parse_all::<ServiceName>()).unwrap_or_default();
        let faults =
            table.get("fault", "[[service.orders.fault]] with abort = 503 and until = 2026-12-01T10:00:00Z");
        let routes = service(key, &table, &mut rules);
        places.extend(within(key, &table));
        if let Some(name) = name {
            let faults = faults.and_then(|field| field.list()).unwrap_or_default();
            places.extend(faults.iter().enumerate().map(|(index, field)| Place {
                table: format!("rules.faults[{}]", services.faults.len() + index),
                file: format!("service.{key}.fault[{index}]"),
                offset: field.offset(),
            }));
            fault::read(&faults, &name, &mut services.faults);
            for alias in aliases {
                places.push(Place {
                    table: format!("aliases.{alias}"),
                    file: format!("service.{key}.aliases"),
                    offset: table.offset(),
                });
                if let Some(first) = services.aliases.insert(alias.clone(), name.clone()) {
                    table.contradicts(format_args!("`{alias}` is a former name of `{first}` already"));
                }
            }
            services.routes.insert(name, routes);
        }
    }
    services
}

/// Says where parts of a service stand that are called otherwise in a table.
fn within(key: &str, table: &Table<'_>) -> Vec<Place> {
    let place = |of: String, file: String, field: &Field<'_>| Place {
        table: format!("services.{key}.{of}"),
        file: format!("service.{key}.{file}"),
        offset: field.offset(),
    };
    let rules = table.get("rule", "").and_then(|field| field.as_list()).unwrap_or_default();
    let rules = rules.iter().enumerate();
    let rules =
        rules.map(|(index, field)| place(format!("version_rules[{index}]"), format!("rule[{index}]"), field));
    let rollout = table.get("rollout", "").map(|field| place("growth".into(), "rollout".into(), &field));
    rules.chain(rollout).collect()
}

/// How a rollout is written.
const ROLLOUT: &str = "rollout = { number = 1, shares = [\"5%\", \"25%\"] }";

fn service(name: &str, table: &Table<'_>, rules: &mut u64) -> ServiceRoutes {
    let salt = table.get("salt", "salt = \"orders-2\"").and_then(|field| Some(field.text()?.to_owned()));
    let versions = table.get("version", VERSIONS);
    let is_many = versions.as_ref().is_some_and(|field| field.as_list().is_some());
    let (mut splits, fallback) = match is_many {
        true => many(name, table, versions.as_ref()),
        false => (one(name, table), None),
    };
    let version_rules = table.get("rule", "[[service.orders.rule]] with version = \"1.1.0\"");
    let version_rules = version_rules.map(|field| self::rules(&field, &splits, rules)).unwrap_or_default();
    let mirror = table.get("mirror", MIRROR).and_then(|field| mirror(&field, &splits, rules));
    let growth = table.get("rollout", ROLLOUT).and_then(|field| growth(&field));
    // Those on trial come before the others, so that a share that grows moves only what is added.
    splits.sort_by_key(|split| split.role == SplitRole::Stable);
    table.check_asked();
    let salt = salt.unwrap_or_else(|| name.to_owned());
    ServiceRoutes { salt, splits, watch: None, version_rules, fallback, mirror, growth, passages: Vec::new() }
}

/// Reads how the share of the version on trial has grown, for visitors who came before.
fn growth(field: &Field<'_>) -> Option<Growth> {
    let table = field.table()?;
    let number = table.require("number", "number = 1").and_then(|field| field.integer(1..=u64::MAX));
    let before = table.get("before", "before = 0").and_then(|field| field.integer(0..=u32::MAX));
    let shares = table.require("shares", "shares = [\"5%\", \"25%\"]").and_then(|field| field.list());
    let weights = shares.unwrap_or_default().iter().map(share).collect::<Option<Vec<_>>>();
    table.check_asked();
    Some(Growth { rollout: number?, before: before.unwrap_or(0), weights: weights? })
}

/// A service whose table is its only version.
fn one(name: &str, table: &Table<'_>) -> Vec<Split> {
    let number = table.get("version", "version = \"1.0.0\"").and_then(|field| field.parse());
    let Runs { protocol, approach, endpoints, named, leaving } = runs(name, table);
    vec![Split {
        version: number.unwrap_or(UNNUMBERED),
        config: ConfigRevision(0),
        weight: FULL_WEIGHT,
        role: SplitRole::Stable,
        endpoints,
        leaving,
        named,
        protocol,
        policy: gateway::policy(table),
        approach,
    }]
}

fn many(name: &str, table: &Table<'_>, versions: Option<&Field<'_>>) -> (Vec<Split>, Option<Fallback>) {
    if let Some(instances) = table.get("instances", INSTANCES) {
        instances.wrong_because("each version has instances of its own", "move them to a version");
    }
    let elements = versions.and_then(Field::list).unwrap_or_default();
    let read = elements.iter().filter_map(|element| Some((element, version(name, &element.table()?)?)));
    let read: Vec<(&Field<'_>, Version)> = read.collect();
    let said: u32 = read.iter().filter_map(|(_, version)| version.share).sum();
    let (mut left, mut splits, mut fallback) = (FULL_WEIGHT.checked_sub(said), Vec::new(), None);
    let mut has_rest = false;
    for (element, Version { split, share, stands_in }) in read {
        let is_twice = |known: &Split| (&known.version, known.config) == (&split.version, split.config);
        if splits.iter().any(is_twice) {
            element.wrong_because(
                format_args!("version {} is there twice", split.version),
                "remove one of them",
            );
        }
        let weight = match share {
            Some(share) if split.role == SplitRole::Pinned && share > 0 => {
                element.wrong_because(
                    "a version that is pinned or a fallback serves what is given to it and nothing else",
                    "leave out its `share`, or its `role`",
                );
                share
            }
            Some(share) => share,
            None if split.role == SplitRole::Pinned => 0,
            None if std::mem::replace(&mut has_rest, true) => {
                element.wrong_because(
                    "another version gets what is left already",
                    "say the `share` of all versions but one",
                );
                0
            }
            None => left.replace(0).unwrap_or(0),
        };
        if stands_in {
            let (version, config) = (split.version.clone(), split.config);
            if fallback.replace(Fallback::To(FallbackArm { version, config })).is_some() {
                element.wrong_because("one version stands in for the others", "remove one `role`");
            }
        }
        splits.push(Split { weight, ..split });
    }
    let sum: u32 = splits.iter().map(|split| split.weight).sum();
    if let Some(field) = versions.filter(|_| sum != FULL_WEIGHT && splits.len() == elements.len()) {
        let hint = "leave out the share of one version: it gets what is left";
        let shown = lockstep_domain::share::percent(sum);
        field.wrong_because(format_args!("the shares add up to {shown} instead of 100 %"), hint);
    }
    (splits, fallback)
}

/// A version of several.
struct Version {
    split: Split,
    /// Its share, where it says one.
    share: Option<u32>,
    /// Whether it stands in for the stable one.
    stands_in: bool,
}

fn version(name: &str, table: &Table<'_>) -> Option<Version> {
    let number = table.require("number", "number = \"1.1.0\"").and_then(|field| field.parse());
    let config = table.get("config", "config = 2").and_then(|field| field.integer(0..=u32::MAX));
    let share = table.get("share", "share = \"5%\"").and_then(|field| share(&field));
    let role = table.get("role", "role = \"candidate\"").and_then(|field| role(&field));
    let Runs { protocol, approach, endpoints, named, leaving } = runs(name, table);
    let policy = gateway::policy(table);
    table.check_asked();
    let split = Split {
        version: number?,
        config: ConfigRevision(config.unwrap_or(0)),
        weight: 0,
        role: role.map_or(SplitRole::Stable, |(role, _)| role),
        endpoints,
        leaving,
        named,
        protocol,
        policy,
        approach,
    };
    Some(Version { split, share, stands_in: role.is_some_and(|(_, stands_in)| stands_in) })
}

pub(super) fn share(field: &Field<'_>) -> Option<u32> {
    in_10000(field.text()?).map_err(|error| field.wrong(error)).ok()
}

/// Reads a role, and whether it is that of the version that stands in for the stable one.
fn role(field: &Field<'_>) -> Option<(SplitRole, bool)> {
    match field.text()? {
        "stable" => Some((SplitRole::Stable, false)),
        "candidate" => Some((SplitRole::Candidate, false)),
        "pinned" => Some((SplitRole::Pinned, false)),
        "fallback" => Some((SplitRole::Pinned, true)),
        _ => {
            field.wrong(
                "a version is `stable`, a `candidate` on trial, `pinned` for rules alone, or a `fallback`",
            );
            None
        }
    }
}

/// What runs of a version, and what it speaks.
struct Runs {
    protocol: Protocol,
    approach: Approach,
    endpoints: Vec<Endpoint>,
    named: Vec<NamedEndpoint>,
    leaving: Vec<Endpoint>,
}

/// Reads what runs, and what it speaks.
fn runs(name: &str, table: &Table<'_>) -> Runs {
    let protocol = table.get("protocol", "protocol = \"h2c\"").and_then(|field| protocol::read(&field));
    let instances = table.require("instances", INSTANCES).and_then(|field| field.list()).unwrap_or_default();
    let leaving = table.get("leaving", "leaving = [\"127.0.0.1:9001\"]");
    let leaving = leaving.and_then(|field| field.list()).unwrap_or_default();
    let (mut taken, mut endpoints, mut named, mut leaves) =
        (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new());
    for field in &instances {
        match instance(name, field, &mut taken) {
            Some(Found::At(endpoint)) => endpoints.push(endpoint),
            Some(Found::Named(it)) => named.push(it),
            None => {}
        }
    }
    for field in &leaving {
        match instance(name, field, &mut taken) {
            Some(Found::At(endpoint)) => leaves.push(endpoint),
            Some(Found::Named(_)) => field.wrong("an instance that is about to end is named by its address"),
            None => {}
        }
    }
    // Where every instance has a name, that is what its certificate must be for.
    let approach = approach::of(table, endpoints.is_empty() && !named.is_empty());
    Runs { protocol: protocol.unwrap_or_default(), approach, endpoints, named, leaving: leaves }
}

/// An instance of a table.
enum Found {
    At(Endpoint),
    Named(NamedEndpoint),
}

/// An address, a host name with a port, or a table with either. One without a name is named by its address, so that it keeps its name wherever it stands.
fn instance(service: &str, field: &Field<'_>, taken: &mut BTreeSet<InstanceId>) -> Option<Found> {
    let table = field.as_table();
    let (address, name, zone) = match &table {
        Some(table) => {
            let address = table.require("address", "address = \"127.0.0.1:9000\"");
            let name = table.get("name", "name = \"orders-1\"").map(|field| field.parse::<InstanceId>());
            let zone = table.get("zone", "zone = \"eu-1a\"").map(|field| field.parse::<ZoneName>());
            table.check_asked();
            (self::address(&address?)?, name, zone)
        }
        None => (address(field)?, None, None),
    };
    let usual = || {
        let text =
            format!("{service}-{}", address.to_string().replace([':', '_'], "-").replace(['[', ']'], ""));
        text.chars().take(MAX_USUAL_NAME).collect::<String>().parse().map_err(|error| field.wrong(error)).ok()
    };
    let instance: InstanceId = name.unwrap_or_else(usual)?;
    let zone = match zone {
        Some(zone) => Some(zone?),
        None => None,
    };
    if !taken.insert(instance.clone()) {
        field.wrong_because(format_args!("instance `{instance}` is there twice"), "remove one");
    }
    Some(match address {
        Address::Ip(address) => Found::At(Endpoint { zone, ..Endpoint::at(instance, address) }),
        Address::Host(host, port) => Found::Named(NamedEndpoint { instance, host, port, zone }),
    })
}

/// Where an instance listens.
enum Address {
    Ip(SocketAddr),
    Host(DnsName, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{}:{}", address.ip(), address.port()),
            Self::Host(host, port) => write!(f, "{}:{port}", host.as_str().trim_end_matches('.')),
        }
    }
}

fn address(field: &Field<'_>) -> Option<Address> {
    let text = field.text()?;
    let shown: String = text.chars().take(80).collect();
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 {
            field.wrong(format_args!("`{shown}` has port 0, where nobody listens"));
            return None;
        }
        return Some(Address::Ip(address));
    }
    let Some((host, port)) = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .filter(|(_, port)| *port > 0)
    else {
        let hint = "127.0.0.1:9000, [fd00::1]:9000 or orders.internal:9000";
        field.wrong_because(format_args!("`{shown}` is not an address or a host name with a port"), hint);
        return None;
    };
    match host.to_ascii_lowercase().parse() {
        Ok(host) => Some(Address::Host(host, port)),
        Err(error) => {
            field.wrong(error);
            None
        }
    }
}

fn rules(field: &Field<'_>, splits: &[Split], given: &mut u64) -> Vec<SplitRule> {
    let mut from = 0;
    let mut read = |element: &Field<'_>| {
        let table = element.table()?;
        *given += 1;
        let (id, version) = (*given, table.require("version", "version = \"1.1.0\""));
        let number = version.as_ref().and_then(Field::parse::<VersionNumber>);
        let takes = takes(&table, element, &mut from);
        table.check_asked();
        let (version, number) = (version?, number?);
        let Some(split) = splits.iter().find(|split| split.version == number) else {
            version.wrong(format_args!("the service has no version {number}"));
            return None;
        };
        Some(SplitRule { id, version: number, config: split.config, takes: takes? })
    };
    field.list().unwrap_or_default().iter().filter_map(&mut read).collect()
}

fn mirror(field: &Field<'_>, splits: &[Split], given: &mut u64) -> Option<SplitMirror> {
    let table = field.table()?;
    *given += 1;
    let id = *given;
    let version = table.require("version", "version = \"1.1.0\"");
    let share = table.require("share", "share = \"5%\"").and_then(|field| {
        let share = share(&field)?;
        let checked = Takes::Mirror(Mirror { share, unsafe_methods: false }).checked();
        checked.map_err(|error| field.wrong(error)).ok().map(|_| share)
    });
    let unsafe_methods = table.get("unsafe_methods", "unsafe_methods = true");
    let unsafe_methods = unsafe_methods.and_then(|field| field.boolean()).unwrap_or_default();
    table.check_asked();
    let version = version?;
    let number = version.parse::<VersionNumber>()?;
    match splits.iter().find(|split| split.version == number) {
        Some(split) if split.role == SplitRole::Pinned => {
            let copies = Mirror { share: share?, unsafe_methods };
            Some(SplitMirror { id, version: number, config: split.config, copies })
        }
        Some(_) => {
            let why = format_args!("version {number} has requests of its own: only a pinned one gets copies");
            version.wrong_because(why, "role = \"pinned\" at the version");
            None
        }
        None => {
            version.wrong(format_args!("the service has no version {number}"));
            None
        }
    }
}

/// Shares are given their places one behind the other.
fn takes(table: &Table<'_>, element: &Field<'_>, from: &mut u32) -> Option<SplitTakes> {
    let header = table.get("header", "header = { x-user = \"ann\" }");
    let cookie = table.get("cookie", "cookie = { beta = \"on\" }");
    let share = table.get("share", "share = \"10%\"");
    let made = match (header, cookie, share) {
        (Some(field), None, None) => {
            pair(&field).map(|(field, name, value)| (field, Takes::header(name, value)))
        }
        (None, Some(field), None) => {
            pair(&field).map(|(field, name, value)| (field, Takes::cookie(name, value)))
        }
        (None, None, Some(field)) => {
            let weight = self::share(&field)?;
            return places(&field, weight, from);
        }
        _ => {
            element
                .wrong_because("a rule has one of header, cookie and share", "header = { x-user = \"ann\" }");
            return None;
        }
    };
    let (field, made) = made?;
    match made.map_err(|error| field.wrong(error)).ok()? {
        Takes::Header(pattern) => Some(SplitTakes::Header(pattern)),
        Takes::Cookie(pattern) => Some(SplitTakes::Cookie(pattern)),
        Takes::Share(_) | Takes::Mirror(_) | Takes::Lane(_) => None,
    }
}

fn places(field: &Field<'_>, weight: u32, from: &mut u32) -> Option<SplitTakes> {
    let to = *from + weight;
    if weight == 0 || to > FULL_WEIGHT {
        field.wrong("a share is more than nothing, and those of a service are at most everything");
        return None;
    }
    let places = Places { from: std::mem::replace(from, to), to };
    Some(SplitTakes::Places(vec![places]))
}

/// Reads a table of one field.
pub(super) fn pair<'a>(field: &Field<'a>) -> Option<(Field<'a>, &'a str, &'a str)> {
    let mut entries = field.table()?.entries("x-user = \"ann\"");
    match (entries.pop(), entries.is_empty()) {
        (Some((name, value)), true) => {
            let text = value.text()?;
            Some((value, name, text))
        }
        _ => {
            field.wrong("one name with its value stands here");
            None
        }
    }
}
