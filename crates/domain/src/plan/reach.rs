//! What a plan has to look at. A requirement, a route, a port and a name in a text are questions about two services, and where neither
//! of them moves, the answer is the one of before. So who plans hundreds of ways back from one state looks at what each of them touches.
//!
//! Invariant: whether everything is looked at or only what is touched, a plan is the same. What is carried out is planned with everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{BaselineEntry, Entries, EntryChange};
use crate::compat::Relation;
use crate::environment::Environment;
use crate::name::ServiceName;
use crate::plan::calls::named;
use crate::plan::check::{ports_of, states, target};
use crate::routes::RouteRule;
use crate::version::VersionRef;
use crate::world::World;

/// What does not depend on where an environment goes: who is bound to whom in what it runs.
#[derive(Debug)]
pub struct Ground {
    /// Who requires a service.
    consumers: Neighbours,
    /// Who names a service in its texts, its configuration or its requirements.
    callers: Neighbours,
    /// Who has a route.
    routes: BTreeMap<String, ServiceName>,
    /// Whether two services want one route already.
    is_disputed: bool,
    /// Which services always listen on a port of this host.
    ports: BTreeMap<u16, BTreeSet<ServiceName>>,
    /// The ports that other environments have.
    elsewhere: BTreeSet<u16>,
}

type Neighbours = BTreeMap<ServiceName, BTreeSet<ServiceName>>;

impl Ground {
    /// Looks at all that an environment runs.
    #[must_use]
    pub fn of(relation: Relation<'_>, environment: &Environment) -> Self {
        let world = relation.world;
        let mut ground = Self {
            consumers: Neighbours::new(),
            callers: Neighbours::new(),
            routes: BTreeMap::new(),
            is_disputed: false,
            ports: BTreeMap::new(),
            elsewhere: elsewhere(world, environment),
        };
        for (service, entry) in environment.entries() {
            ground.add(relation, environment, (service, entry));
        }
        for arm in environment.ruled_arms() {
            ground.listens(world, &arm.version_ref());
        }
        ground
    }

    fn add(
        &mut self,
        relation: Relation<'_>,
        environment: &Environment,
        (service, entry): (&ServiceName, &BaselineEntry),
    ) {
        let world = relation.world;
        for (provider, _) in relation.providers(service, entry) {
            self.consumers.entry(provider.clone()).or_default().insert(service.clone());
        }
        let reference = entry.arm(service).version_ref();
        let Some(version) = world.version(&reference) else { return };
        let values = environment.configuration(service, entry.config).unwrap_or_default();
        for called in named(world, version, &values) {
            self.callers.entry(called).or_default().insert(service.clone());
        }
        for rule in &version.routes {
            let has_it = self.routes.entry(rule.key()).or_insert_with(|| service.clone());
            self.is_disputed |= has_it != service;
        }
        self.listens(world, &reference);
    }

    fn listens(&mut self, world: &World, version: &VersionRef) {
        for (_, port) in ports_of(world, version) {
            self.ports.entry(port).or_default().insert(version.service.clone());
        }
    }
}

fn elsewhere(world: &World, environment: &Environment) -> BTreeSet<u16> {
    let others = world.environments.values().filter(|other| other.name != environment.name);
    let versions = others.flat_map(|other| {
        let running = states(other).flatten().map(|(service, entry)| entry.arm(service).version_ref());
        running.chain(other.ruled_arms().map(|arm| arm.version_ref())).collect::<BTreeSet<_>>()
    });
    versions.flat_map(|version| ports_of(world, &version)).map(|(_, port)| port).collect()
}

/// What one plan has to look at.
#[derive(Debug)]
pub(super) enum Reach<'a> {
    /// All that there is.
    Everything,
    /// What moves, and who is bound to it.
    Touched(Touched<'a>),
}

/// What a move touches.
#[derive(Debug)]
pub(super) struct Touched<'a> {
    ground: &'a Ground,
    moving: BTreeMap<&'a ServiceName, Option<VersionRef>>,
    /// Those that move, and those that require one of them.
    requiring: BTreeSet<&'a ServiceName>,
    /// Those that move, and those that name one of them.
    naming: BTreeSet<&'a ServiceName>,
}

/// Services of a set with their entries, in their order.
type Chosen<'e> = Box<dyn Iterator<Item = (&'e ServiceName, &'e BaselineEntry)> + 'e>;

impl<'a> Reach<'a> {
    pub(super) fn of(ground: Option<&'a Ground>, changes: &'a [EntryChange]) -> Self {
        let Some(ground) = ground else { return Self::Everything };
        let moving: BTreeMap<_, _> = changes.iter().map(|change| (&change.service, target(change))).collect();
        let with = |neighbours: &'a Neighbours| -> BTreeSet<&'a ServiceName> {
            let bound = changes.iter().filter_map(|change| neighbours.get(&change.service)).flatten();
            changes.iter().map(|change| &change.service).chain(bound).collect()
        };
        let (requiring, naming) = (with(&ground.consumers), with(&ground.callers));
        Self::Touched(Touched { ground, moving, requiring, naming })
    }

    /// Those of a set whose requirements may be met otherwise than before.
    pub(super) fn requiring<'e>(&'e self, entries: &'e Entries) -> Chosen<'e> {
        match self {
            Self::Everything => Box::new(entries.iter()),
            Self::Touched(touched) => chosen(&touched.requiring, entries),
        }
    }

    /// Those of a set who may call otherwise than before, or be answered otherwise.
    pub(super) fn naming<'e>(&'e self, entries: &'e Entries) -> Chosen<'e> {
        match self {
            Self::Everything => Box::new(entries.iter()),
            Self::Touched(touched) => chosen(&touched.naming, entries),
        }
    }

    /// Looks at the requirements of one more service.
    pub(super) fn and(&self, service: &'a ServiceName) -> Self {
        match self {
            Self::Everything => Self::Everything,
            Self::Touched(touched) => {
                let mut requiring = touched.requiring.clone();
                requiring.insert(service);
                let (moving, naming) = (touched.moving.clone(), touched.naming.clone());
                Self::Touched(Touched { ground: touched.ground, moving, requiring, naming })
            }
        }
    }

    /// Tells whether two services may want one route: where it says no, none do.
    pub(super) fn may_dispute_routes(&self, world: &World) -> bool {
        let Self::Touched(touched) = self else { return true };
        let mut taken: BTreeMap<String, &ServiceName> = BTreeMap::new();
        touched.ground.is_disputed
            || touched.moving.iter().any(|(service, to)| {
                let version = to.as_ref().and_then(|to| world.version(to));
                let keys = version.into_iter().flat_map(|version| version.routes.iter().map(RouteRule::key));
                keys.into_iter().any(|key| {
                    let has = touched.ground.routes.get(&key).filter(|has| !touched.moving.contains_key(has));
                    has.is_some() || *taken.entry(key).or_insert(service) != *service
                })
            })
    }

    /// Tells whether anything but a service may listen on a port of this host: where it says no, nothing does.
    pub(super) fn may_be_taken(&self, world: &World, port: u16, by_other_than: &ServiceName) -> bool {
        let Self::Touched(touched) = self else { return true };
        let listens = |version: &VersionRef| {
            version.service != *by_other_than && ports_of(world, version).iter().any(|(_, it)| *it == port)
        };
        let here = touched.ground.ports.get(&port).into_iter().flatten();
        touched.ground.elsewhere.contains(&port)
            || here.into_iter().any(|service| service != by_other_than)
            || touched.moving.values().flatten().any(listens)
    }
}

fn chosen<'e>(services: &'e BTreeSet<&ServiceName>, entries: &'e Entries) -> Chosen<'e> {
    Box::new(services.iter().filter_map(|service| entries.get_key_value(*service)))
}
