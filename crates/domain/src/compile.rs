//! Compiling routes: from an environment and what is seen of it to the complete table its gateways serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::approach::Approach;
use crate::baseline::BaselineEntry;
use crate::certificate::TableCertificate;
use crate::check::{Check, TableCheck};
use crate::digest::Digest;
use crate::drain::{USUAL_DRAIN_MS, drain_ms};
use crate::edition::TableHistory;
use crate::entry::{Entry, EntrySettings};
use crate::environment::Environment;
use crate::fleet::Fleet;
use crate::instance::{Arm, Instance};
use crate::intent::Strategy;
use crate::lane::TableLane;
use crate::leaving::leaving;
use crate::mirror::SplitMirror;
use crate::name::ServiceName;
use crate::observed::Observed;
use crate::operation::{Operation, Phase};
use crate::protocol::Protocol;
use crate::routes::{
    Endpoint, FULL_WEIGHT, ROUTE_TABLE_FORMAT, Route, RouteTable, ServiceRoutes, Split, SplitRole, SplitRule,
    SplitTakes,
};
use crate::service::Version;
use crate::switch::{Known, Passage, Side, Switch, Switches, salt as salt_of, switching};
use crate::time::Timestamp;
use crate::version_rules::{Takes, VersionRule};
use crate::visit::Growth;
use crate::world::World;

/// Compiles the table of an environment; `callers` are the digests of the tokens by which its instances are recognised.
/// Whoever publishes it gives it its history, and the listeners of instances.
#[must_use]
pub fn compile_routes(
    world: &World,
    environment: &Environment,
    observed: &Observed,
    callers: &[Digest],
    revision: u64,
    now: Timestamp,
) -> RouteTable {
    let shares = called(world, shares(environment));
    let services = shares
        .iter()
        .map(|(service, shares)| (service.clone(), service_routes(service, shares, observed, environment)))
        .map(|(service, routes)| (service.clone(), ruled(&service, routes, observed, environment)))
        .map(|(service, routes)| (service.clone(), mirrored(&service, routes, observed, environment)))
        .collect();
    let aliases: BTreeMap<_, _> = world
        .renamed
        .iter()
        .filter(|(_, of)| shares.contains_key(*of))
        .map(|(former, of)| (former.clone(), of.clone()))
        .collect();
    let table = RouteTable {
        format: ROUTE_TABLE_FORMAT,
        environment: environment.name.clone(),
        history: TableHistory::default(),
        revision,
        baseline: environment.baselines.current().number,
        routes: entry_points(world, &shares),
        services,
        aliases,
        rules: Some(environment.settings.gateway_rules.at(now)),
        callers: callers.to_vec(),
        listeners: None,
        entry: entry(environment),
        visits: None,
        lanes: environment.version_rules.lanes.lanes.iter().map(TableLane::of).collect(),
        switches: None,
        between: None,
        checks: checks(world, &shares),
    };
    let table = with_growth(with_switches(table, world, environment, observed, now), environment);
    let table = with_drain(with_words_of_versions(table, world), world, environment).in_its_format();
    with_leaving(table, |arm| leaving(world, environment, observed, arm, now))
}

/// Says of each split what its version speaks, and what it asks of gateways.
fn with_words_of_versions(mut table: RouteTable, world: &World) -> RouteTable {
    for (service, routes) in &mut table.services {
        for split in &mut routes.splits {
            say_words(split, world.find_version(service, &split.version));
        }
    }
    table
}

/// The same of one split.
pub(crate) fn say_words(split: &mut Split, version: Option<&Arc<Version>>) {
    split.protocol = version.map(|version| version.run.protocol).unwrap_or_default();
    split.policy = version.and_then(|version| version.run.gateway.clone());
    split.approach = version.map(|version| version.run.approach.clone()).unwrap_or_default();
}

/// Says how long connections go on that were begun, where there are any of which no request says when they end.
fn with_drain(mut table: RouteTable, world: &World, environment: &Environment) -> RouteTable {
    let has_tcp = table.services.values().any(ServiceRoutes::speaks_tcp);
    if let Some(drain_ms) = environment.settings.drain_ms.filter(|_| has_tcp) {
        table.entry.get_or_insert_default().tcp_drain_ms = Some(drain_ms);
    }
    // Whatever instance it is, its WebSockets are told before it ends.
    let shortest = arms(&table).map(|arm| drain_ms(world, environment, &arm)).min();
    if let Some(shortest) = shortest.filter(|drain_ms| *drain_ms != USUAL_DRAIN_MS) {
        table.entry.get_or_insert_default().drain_ms = Some(shortest);
    }
    table
}

/// Goes through the arms of services that are asked by requests.
fn arms(table: &RouteTable) -> impl Iterator<Item = Arm> {
    let services = table.services.iter().filter(|(_, routes)| !routes.speaks_tcp());
    services.flat_map(|(name, routes)| routes.splits.iter().map(|split| split.arm(name)))
}

/// Says what is being switched, and what requests are left of that were admitted before: they find what they belong to in splits without a share.
fn with_switches(
    mut table: RouteTable,
    world: &World,
    environment: &Environment,
    observed: &Observed,
    now: Timestamp,
) -> RouteTable {
    let newest = environment.newest_operation().map_or(0, |id| id.0);
    let mut switches = Switches { newest, known: Vec::new() };
    for Known { operation, keeps_sides } in switching(world, environment, observed, now) {
        switches.known.push(Switch::of(operation));
        for (passage, from, to) in Passage::all(operation) {
            let Some(routes) = table.services.get_mut(&to.service).filter(|it| !it.speaks_tcp()) else {
                continue;
            };
            for arm in from.iter().chain([&to]).filter(|_| keeps_sides) {
                keep_side(routes, arm, observed, environment);
            }
            routes.passages.push(passage);
        }
    }
    table.switches = Some(switches);
    table
}

/// Adds the split of one side of a switch, where it has none and an instance serves it.
fn keep_side(routes: &mut ServiceRoutes, arm: &Arm, observed: &Observed, environment: &Environment) {
    if routes.splits.iter().any(|split| Side::of(arm).is(split)) {
        return;
    }
    let split = pinned(arm, observed, environment);
    if observed.healthy(arm) > 0 && !split.endpoints.is_empty() {
        routes.splits.insert(0, split);
    }
}

/// Says how the arms on trial have grown, where a route keeps visitors.
fn with_growth(mut table: RouteTable, environment: &Environment) -> RouteTable {
    if !table.keeps_visitors() {
        return table;
    }
    let is_on_trial = |split: &Split| split.role == SplitRole::Candidate;
    for (service, routes) in &mut table.services {
        if routes.splits.iter().any(is_on_trial) {
            routes.growth = environment.mover_of(service).and_then(|operation| Growth::of(operation));
        }
    }
    table
}

/// How clients come in, where that is anything but by plain HTTP alone.
fn entry(environment: &Environment) -> Option<Entry> {
    let named = environment.certificates.iter();
    let certificates =
        named.map(|(name, it)| TableCertificate { name: name.clone(), digest: it.facts.digest }).collect();
    let settings = EntrySettings::clone(&environment.settings.entry);
    let challenges = environment.automatic.values().flat_map(|it| it.answers().iter().cloned()).collect();
    let (tcp_drain_ms, drain_ms) = (None, None);
    Some(Entry { settings, certificates, challenges, tcp_drain_ms, drain_ms })
        .filter(|entry| !entry.is_default())
}

/// Adds the instances that are about to end where a route keeps clients at instances.
fn with_leaving<'a>(mut table: RouteTable, leaving: impl Fn(&Arm) -> Vec<&'a Instance>) -> RouteTable {
    let names: Vec<_> = table.services.keys().filter(|it| table.keeps_clients_of(it)).cloned().collect();
    for name in names {
        for split in table.services.get_mut(&name).into_iter().flat_map(|routes| &mut routes.splits) {
            split.leaving = named(leaving(&split.arm(&name)));
        }
    }
    table
}

/// One arm's share of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    entry: BaselineEntry,
    weight: u32,
    role: SplitRole,
}

/// The share of every arm. A stable arm comes last.
fn shares(environment: &Environment) -> BTreeMap<ServiceName, Vec<Share>> {
    let mut shares: BTreeMap<_, _> =
        environment.entries().iter().map(|(service, entry)| (service.clone(), vec![whole(entry)])).collect();
    environment.moving().for_each(|operation| shift(&mut shares, operation));
    shares
}

/// What can be called at all: a worker is not, also where its health is asked on a port.
fn called(world: &World, mut shares: BTreeMap<ServiceName, Vec<Share>>) -> BTreeMap<ServiceName, Vec<Share>> {
    let answers = |service: &ServiceName, share: &Share| {
        let version = world.find_version(service, &share.entry.version);
        version.is_none_or(|version| version.run.kind.is_web())
    };
    for (service, shares) in &mut shares {
        shares.retain(|share| answers(service, share));
    }
    shares.retain(|_, shares| !shares.is_empty());
    shares
}

fn whole(entry: &BaselineEntry) -> Share {
    Share { entry: entry.clone(), weight: FULL_WEIGHT, role: SplitRole::Stable }
}

fn shift(shares: &mut BTreeMap<ServiceName, Vec<Share>>, operation: &Operation) {
    let (reached, step) = match operation.phase {
        Phase::Shifted { wave, step, .. } => (wave, Some(step)),
        Phase::Preparing { wave, .. } => (wave, None),
        _ => return,
    };
    for (wave, moves) in operation.plan.waves.iter().enumerate() {
        let steps = operation.plan.steps_of(wave);
        for part in moves {
            let step = match (wave.cmp(&reached), step) {
                (std::cmp::Ordering::Less, _) => steps.len().saturating_sub(1),
                (std::cmp::Ordering::Equal, Some(step)) => step,
                (std::cmp::Ordering::Equal, None) if part.gives_way() => 0,
                _ => continue,
            };
            match &part.to {
                None => shares.remove(&part.service),
                Some(to) => {
                    let watched = wave == reached
                        && !part.gives_way()
                        && !matches!(operation.plan.strategy, Strategy::AllAtOnce);
                    let weight = steps.get(step).map_or(FULL_WEIGHT, |step| step.weight);
                    shares.insert(part.service.clone(), split(part.from.as_ref(), to, weight, watched))
                }
            };
        }
    }
}

fn split(from: Option<&BaselineEntry>, to: &BaselineEntry, weight: u32, watched: bool) -> Vec<Share> {
    match from {
        // While it is watched the old arm stays in the table, at the end even with no share: a failed read of the new one is asked again there.
        Some(from) if watched => vec![
            Share { entry: to.clone(), weight, role: SplitRole::Candidate },
            Share { entry: from.clone(), weight: FULL_WEIGHT - weight, role: SplitRole::Stable },
        ],
        _ => vec![whole(to)],
    }
}

fn service_routes(
    service: &ServiceName,
    shares: &[Share],
    observed: &Observed,
    environment: &Environment,
) -> ServiceRoutes {
    let splits = shares
        .iter()
        .map(|share| Split {
            version: share.entry.version.clone(),
            config: share.entry.config,
            weight: share.weight,
            role: share.role,
            endpoints: endpoints(&share.entry.arm(service), observed, environment),
            leaving: Vec::new(),
            named: Vec::new(),
            protocol: Protocol::default(),
            policy: None,
            approach: Approach::default(),
        })
        .collect();
    ServiceRoutes {
        salt: salt(environment, service),
        splits,
        watch: None,
        version_rules: Vec::new(),
        fallback: None,
        mirror: None,
        growth: None,
        passages: Vec::new(),
    }
}

/// Adds the rules whose arms, those of lanes first, have a healthy instance. Until there is one, and when there is none any more, their requests get what
/// all others get.
fn ruled(
    service: &ServiceName,
    mut routes: ServiceRoutes,
    observed: &Observed,
    environment: &Environment,
) -> ServiceRoutes {
    let serves = |rule: &&VersionRule| Fleet::serving(environment, observed, &rule.arm()).healthy() > 0;
    let (of_lanes, others): (Vec<_>, Vec<_>) =
        environment.version_rules.of(service).partition(|rule| rule.lane().is_some());
    for rule in of_lanes.into_iter().chain(others).filter(serves) {
        let Some(takes) = split_takes(rule) else { continue };
        let arm = rule.arm();
        let rule = SplitRule { id: rule.record, version: arm.version.clone(), config: arm.config, takes };
        if !routes.splits.iter().any(|split| rule.leads_to(split)) {
            routes.splits.insert(0, pinned(&arm, observed, environment));
        }
        routes.version_rules.push(rule);
    }
    routes
}

/// Returns which requests a rule takes; `None` for one that takes none.
fn split_takes(rule: &VersionRule) -> Option<SplitTakes> {
    match &rule.takes {
        Takes::Header(pattern) => Some(SplitTakes::Header(pattern.clone())),
        Takes::Cookie(pattern) => Some(SplitTakes::Cookie(pattern.clone())),
        Takes::Share(_) => Some(SplitTakes::Places(rule.places.clone())),
        Takes::Mirror(_) => None,
        Takes::Lane(_) => Some(SplitTakes::Lane),
    }
}

/// Adds the mirror of a service whose arm has a healthy instance, as long as that has no share: what has requests of its own
/// is known by those, and copies would only be load for what is judged.
fn mirrored(
    service: &ServiceName,
    mut routes: ServiceRoutes,
    observed: &Observed,
    environment: &Environment,
) -> ServiceRoutes {
    let mut rules = environment.version_rules.of(service);
    let Some((rule, mirror)) = rules.find_map(|rule| Some((rule, rule.takes.mirror()?))) else {
        return routes;
    };
    let arm = rule.arm();
    if Fleet::serving(environment, observed, &arm).healthy() == 0 {
        return routes;
    }
    let mirror =
        SplitMirror { id: rule.record, version: arm.version.clone(), config: arm.config, copies: *mirror };
    match routes.splits.iter().find(|split| mirror.leads_to(&split.version, split.config)) {
        Some(split) if split.role != SplitRole::Pinned => return routes,
        Some(_) => {}
        None => routes.splits.insert(0, pinned(&arm, observed, environment)),
    }
    routes.mirror = Some(mirror);
    routes
}

/// The split of an arm that has no share. It comes before the others, where no weight moves anything.
pub(crate) fn pinned(arm: &Arm, observed: &Observed, environment: &Environment) -> Split {
    Split {
        version: arm.version.clone(),
        config: arm.config,
        weight: 0,
        role: SplitRole::Pinned,
        endpoints: endpoints(arm, observed, environment),
        leaving: Vec::new(),
        named: Vec::new(),
        protocol: Protocol::default(),
        policy: None,
        approach: Approach::default(),
    }
}

/// Each rollout begins with other clients, and the services of a wave with the same ones: a client that is given the
/// new version of one is given the new version of all.
fn salt(environment: &Environment, service: &ServiceName) -> String {
    environment.mover_of(service).map(|operation| salt_of(operation.id.0)).unwrap_or_default()
}

/// The healthy ones of the instances that stand; when there are none, all of them: an unhealthy answer is better than none.
fn endpoints(arm: &Arm, observed: &Observed, environment: &Environment) -> Vec<Endpoint> {
    let mut standing = Fleet::serving(environment, observed, arm).standing;
    if standing.iter().any(|instance| instance.state.is_healthy()) {
        standing.retain(|instance| instance.state.is_healthy());
    }
    named(standing)
}

fn named(mut instances: Vec<&Instance>) -> Vec<Endpoint> {
    instances.sort_by(|a, b| a.id.cmp(&b.id));
    let endpoint = |it: &Instance| Some(Endpoint::at(it.id.clone(), it.address?));
    instances.into_iter().filter_map(endpoint).collect()
}

/// The version with the largest share of each service.
fn leading<'a>(
    world: &'a World,
    shares: &'a BTreeMap<ServiceName, Vec<Share>>,
) -> impl Iterator<Item = (&'a ServiceName, &'a Arc<Version>)> {
    let largest = shares
        .iter()
        .filter_map(|(service, shares)| Some((service, shares.iter().max_by_key(|share| share.weight)?)));
    largest.filter_map(|(service, share)| Some((service, world.find_version(service, &share.entry.version)?)))
}

/// The checks of these versions, each with the host that it asks for.
fn checks(world: &World, shares: &BTreeMap<ServiceName, Vec<Share>>) -> Vec<TableCheck> {
    let of_version = |(service, version): (&ServiceName, &Arc<Version>)| {
        let of = |check: &Check| {
            let host = check.host_among(&version.routes).map(str::to_owned);
            TableCheck { service: service.clone(), check: Check { host, ..check.clone() } }
        };
        version.checks.iter().map(of).collect::<Vec<_>>()
    };
    leading(world, shares).flat_map(of_version).collect()
}

/// The entry points of these versions, the most specific first.
fn entry_points(world: &World, shares: &BTreeMap<ServiceName, Vec<Share>>) -> Vec<Route> {
    let mut routes: Vec<_> = leading(world, shares)
        .flat_map(|(service, version)| {
            version.routes.iter().map(|rule| Route { rule: rule.clone(), service: service.clone() })
        })
        .collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.rule.precedence()));
    routes
}
