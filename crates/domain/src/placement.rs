//! Placement: on which host an instance starts. A function of what is known and seen, so that two who look at the same say the same.
//!
//! A host without a label that a version requires takes none of it, and one with a label that it avoids only where no other can. Instances of an arm
//! are spread: first over hosts, then over zones; of equals the host with the fewest instances takes the next one, and
//! then the first by name. A host that failed an instance of the arm comes last, until something
//! else has become healthy there, and one without a gateway that serves comes before these. What runs is never moved to make it even: only what starts is placed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::host::{Host, Stance, ZONE_LABEL};
use crate::host_wish::HostWish;
use crate::instance::{Arm, Instance, InstanceId};
use crate::lost_host::failed_by_host;
use crate::mend::run_of;
use crate::name::{HostName, LabelValue};
use crate::observed::is_alive;
use crate::operation::{Move, Plan};
use crate::replicas::replicas;
use crate::run::Port;
use crate::world::World;

/// What placement looks at.
#[derive(Debug, Clone, Copy)]
pub struct Placing<'a> {
    /// The newest world.
    pub world: &'a World,
    /// Where the instance is to run.
    pub environment: &'a Environment,
    /// The hosts that are reached now.
    pub reached: &'a BTreeSet<HostName>,
    /// Those of them where no gateway of the environment serves that should.
    pub mute: &'a BTreeSet<HostName>,
    /// Everything that runs anywhere or is on its way, of every environment.
    pub running: &'a [Instance],
}

/// Why an instance cannot start on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Unfit {
    /// A person said that nothing starts there.
    Stance {
        /// What was said.
        stance: Stance,
    },
    /// It is not reached.
    Away,
    /// It lacks a label that a version requires.
    Label {
        /// Which; alternatives with `or` between them.
        label: String,
    },
    /// Another instance there has the port that this one always listens on.
    Port {
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stance { stance } => write!(f, "is {stance}"),
            Self::Away => f.write_str("is not reached"),
            Self::Label { label } => write!(f, "lacks the label {label}"),
            Self::Port { port } => write!(f, "has port {port} in use"),
        }
    }
}

/// No host of an environment can take an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace {
    /// Each of them, and what is in the way there.
    pub hosts: Vec<(HostName, Unfit)>,
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.hosts.iter().map(|(name, unfit)| format!("`{name}` {unfit}")).collect();
        write!(f, "no host can take it: {}", each.join(", "))
    }
}

impl std::error::Error for NoPlace {}

/// Chooses the host of the next instance of an arm.
///
/// # Errors
/// When no host of the environment can take it, with the reason of each.
pub fn place(placing: Placing<'_>, arm: &Arm) -> Result<HostName, NoPlace> {
    let serving = placing.world.hosts.iter().filter(|(_, host)| host.serves(&placing.environment.name));
    let (mut fit, mut unfit) = (Vec::new(), Vec::new());
    for (name, host) in serving {
        match why_unfit(placing, (name, host), arm) {
            None => fit.push((name, host)),
            Some(why) => unfit.push((name.clone(), why)),
        }
    }
    let best = fit.into_iter().min_by_key(|(name, host)| (load(placing, (name, host), arm), *name));
    best.map(|(name, _)| name.clone()).ok_or(NoPlace { hosts: unfit })
}

/// Chooses the hosts of several instances of an arm, one after the other; fewer where some find no place.
#[must_use]
pub fn place_all(placing: Placing<'_>, arm: &Arm, count: u32) -> Vec<HostName> {
    let mut running = placing.running.to_vec();
    let mut places = Vec::new();
    for _ in 0..count {
        let Ok(host) = place(Placing { running: &running, ..placing }, arm) else { break };
        running.extend(crate::planned::instance_on(&placing.environment.name, arm, &host, places.len()));
        places.push(host);
    }
    places
}

/// On which hosts the instances of an arm would start that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedPlaces {
    /// The arm.
    pub arm: Arm,
    /// A host for each instance that would start; one host may stand there several times.
    pub hosts: Vec<HostName>,
    /// How many more are needed that find no place.
    #[serde(default)]
    pub lacking: u32,
    /// Why they find none, host by host; empty when all have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfit: Vec<UnfitHost>,
}

/// A host that cannot take an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnfitHost {
    /// Which.
    pub host: HostName,
    /// Why.
    #[serde(flatten)]
    pub why: Unfit,
}

impl PlannedPlaces {
    /// Says why instances find no place, where some do not.
    #[must_use]
    pub fn why_lacking(&self) -> Option<String> {
        let hosts = self.unfit.iter().map(|unfit| (unfit.host.clone(), unfit.why.clone())).collect();
        (self.lacking > 0).then(|| NoPlace { hosts }.to_string())
    }

    /// Tells whether nothing can start before a person does something.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.hosts.is_empty() && self.lacking > 0 && self.unfit.iter().all(|unfit| unfit.why != Unfit::Away)
    }
}

/// Says where everything would start that a plan needs, as things stand now; nothing for what runs already, also where it is kept warm.
#[must_use]
pub fn of_plan(placing: Placing<'_>, plan: &Plan) -> Vec<PlannedPlaces> {
    let mut running = placing.running.to_vec();
    let mut places = Vec::new();
    for (arm, count) in wanted(placing, plan) {
        let is_there =
            |it: &&Instance| it.arm == arm && it.environment == placing.environment.name && is_alive(it);
        let there = u32::try_from(running.iter().filter(is_there).count()).unwrap_or(u32::MAX);
        let count = count.saturating_sub(there);
        let now = Placing { running: &running, ..placing };
        let hosts = place_all(now, &arm, count);
        let planned = hosts.iter().enumerate();
        let planned: Vec<_> = planned
            .filter_map(|(n, host)| crate::planned::instance_on(&placing.environment.name, &arm, host, n))
            .collect();
        running.extend(planned);
        let lacking = count.saturating_sub(u32::try_from(hosts.len()).unwrap_or(u32::MAX));
        let after = Placing { running: &running, ..placing };
        let nowhere = if lacking > 0 { place(after, &arm).err() } else { None };
        let unfit = nowhere.into_iter().flat_map(|it| it.hosts).map(|(host, why)| UnfitHost { host, why });
        if count > 0 {
            places.push(PlannedPlaces { arm, hosts, lacking, unfit: unfit.collect() });
        }
    }
    places
}

/// How many instances of each arm a plan needs that it moves to or scales.
pub(crate) fn wanted(placing: Placing<'_>, plan: &Plan) -> BTreeMap<Arm, u32> {
    let Placing { world, environment, .. } = placing;
    let mut wanted = BTreeMap::new();
    for arm in plan.moves().flat_map(Move::to_arms) {
        let count = replicas(world, environment, &arm);
        wanted.insert(arm, count);
    }
    if let Some(new) = &plan.replicas
        && let Some(entry) = environment.entries().get(&new.service)
    {
        let main = entry.arm(&new.service);
        let arm = new.process.as_ref().map_or_else(|| main.clone(), |process| main.of_process(process));
        wanted.insert(arm, new.replicas);
    }
    wanted
}

fn why_unfit(placing: Placing<'_>, (name, host): (&HostName, &Host), arm: &Arm) -> Option<Unfit> {
    if host.stance != Stance::Open {
        return Some(Unfit::Stance { stance: host.stance });
    }
    if !placing.reached.contains(name) {
        return Some(Unfit::Away);
    }
    if let Some(label) = wish_of(placing.world, arm).and_then(|wish| wish.lacking(&host.settings.labels)) {
        return Some(Unfit::Label { label });
    }
    let port = fixed_port(placing.world, arm)?;
    let has_it = |other: &Instance| fixed_port(placing.world, &other.arm) == Some(port);
    on_host(placing, name).any(has_it).then_some(Unfit::Port { port })
}

/// Which hosts an arm wants; `None` where nothing is known of how it runs.
pub(crate) fn wish_of<'a>(world: &'a World, arm: &Arm) -> Option<&'a HostWish> {
    run_of(world, arm).map(|run| &run.hosts)
}

/// An instance that runs where its version would not start any more: labels were changed, or another version of Lockstep did not look at them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Misplaced {
    /// Which.
    pub instance: InstanceId,
    /// Where it runs.
    pub host: HostName,
    /// The label that the host lacks.
    pub label: String,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, host, label } = self;
        write!(f, "{instance} is on {host}, which lacks the label {label}")
    }
}

/// Returns what runs on hosts that lack a label which its version requires.
#[must_use]
pub fn misplaced(world: &World, instances: &[Instance]) -> Vec<Misplaced> {
    let misplaced = |instance: &Instance| {
        let name = instance.host.as_ref()?;
        let host = world.hosts.get(name)?;
        let label = wish_of(world, &instance.arm)?.lacking(&host.settings.labels)?;
        Some(Misplaced { instance: instance.id.clone(), host: name.clone(), label })
    };
    instances.iter().filter(|instance| is_alive(instance)).filter_map(misplaced).collect()
}

fn fixed_port(world: &World, arm: &Arm) -> Option<u16> {
    match run_of(world, arm)?.listens_on()? {
        Port::Fixed(port) => Some(port),
        Port::Assigned => None,
    }
}

fn on_host<'a>(placing: Placing<'a>, name: &'a HostName) -> impl Iterator<Item = &'a Instance> {
    let is_there = move |instance: &&Instance| instance.host.as_ref() == Some(name);
    placing.running.iter().filter(is_there).filter(|instance| !instance.state.is_over())
}

/// How many labels it has that the arm avoids, whether the host failed the arm, how much of the arm is there, how much of it in its zone, and how much of anything is there.
fn load(
    placing: Placing<'_>,
    (name, host): (&HostName, &Host),
    arm: &Arm,
) -> (usize, bool, bool, usize, usize, usize) {
    let is_ours = |it: &&Instance| it.arm == *arm && it.environment == placing.environment.name;
    // What another takes the place of will be gone: counting it would leave hosts uneven.
    let is_same = |it: &&Instance| is_ours(it) && !placing.environment.is_to_be_replaced(&it.id);
    let works_since = |at| on_host(placing, name).any(|it| it.state.is_healthy() && it.since > at);
    let mut all = placing.running.iter().filter(|it| it.host.as_ref() == Some(name)).filter(is_ours);
    let failed = all.any(|it| failed_by_host(it) && !works_since(it.since));
    let of_arm = on_host(placing, name).filter(is_same).count();
    let near = in_zone(placing, host.settings.labels.get(ZONE_LABEL), is_same);
    let avoided = wish_of(placing.world, arm).map_or(0, |wish| wish.avoided(&host.settings.labels).count());
    (avoided, failed, placing.mute.contains(name), of_arm, near, on_host(placing, name).count())
}

fn in_zone(placing: Placing<'_>, zone: Option<&LabelValue>, is_same: impl Fn(&&Instance) -> bool) -> usize {
    let Some(zone) = zone else { return 0 };
    let is_near = |instance: &&Instance| {
        let host = instance.host.as_ref().and_then(|name| placing.world.hosts.get(name));
        host.and_then(|host| host.settings.labels.get(ZONE_LABEL)) == Some(zone)
    };
    placing
        .running
        .iter()
        .filter(|instance| !instance.state.is_over())
        .filter(is_same)
        .filter(is_near)
        .count()
}
