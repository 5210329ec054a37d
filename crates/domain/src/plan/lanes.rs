//! Lanes and plans: whether there can be a lane. What a plan has to do with those there are is what it has to do with their rules.
//!
//! A lane is checked as if its versions were deployed beside: all of them together against everything that is not in the lane, and against each other. That one of
//! them may meet the deployed version of another of its services, where the lane is not passed on, is said and refuses nothing: features that need two
//! services at once are what lanes are for.

use std::collections::BTreeSet;

use crate::baseline::{Entries, difference};
use crate::compat::{Relation, Unmet};
use crate::database::moved;
use crate::environment::Environment;
use crate::event::Event;
use crate::instance::Arm;
use crate::lane::{
    LaneEnd, LaneService, LaneWhen, MAX_CONDITIONS, MAX_FOR_MS, MAX_REPLICAS, MAX_SERVICES, NewLane,
};
use crate::name::{EnvironmentName, LaneName, ServiceName};
use crate::operation::Reason;
use crate::plan::lane_refusal::LaneRefusal;
use crate::plan::order::Direction;
use crate::plan::reach::Reach;
use crate::plan::refusal::{Refusal, unmet_words};
use crate::plan::resolve::{Resolved, missing};
use crate::plan::rule_refusal::RuleRefusal;
use crate::plan::{check, databases, rules};
use crate::protocol::Protocol;
use crate::time::Timestamp;
use crate::version::VersionRef;
use crate::version_rules::MAX_RULES;
use crate::world::World;

/// A lane that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLane {
    /// Its name.
    pub name: LaneName,
    /// What its requests get.
    pub versions: Vec<VersionRef>,
    /// Which requests are in it: those for which any of these holds.
    pub when: Vec<LaneWhen>,
    /// Who answers for it.
    pub owner: String,
    /// When it ends by itself.
    pub until: LaneEnd,
    /// How many instances of each version run for it alone.
    pub replicas: u32,
    /// Why.
    pub reason: String,
}

/// A lane that can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDecision {
    /// What it is made of.
    pub lane: NewLane,
    /// What a person should know before saying yes.
    pub warnings: Vec<String>,
}

/// Makes a lane: of what the journal keeps, or of all reasons against it.
///
/// # Errors
/// Every refusal that can be found, not only the first.
pub fn add_lane(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    wanted: &WantedLane,
    now: Timestamp,
) -> Result<LaneDecision, Vec<Refusal>> {
    let world = relation.world;
    let Some(environment) = world.environment(environment) else {
        return Err(vec![Refusal::NoEnvironment(environment.clone())]);
    };
    let versions = named_now(world, wanted);
    let unknown: Vec<_> = versions.iter().filter_map(|version| missing(world, version)).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let services: Vec<_> = versions.iter().map(|version| in_lane(environment, version)).collect();
    let arms: Vec<_> = services.iter().map(LaneService::arm).collect();
    let mut refusals = bounds(environment, wanted, &versions, now);
    let when: Vec<_> = wanted.when.iter().cloned().map(LaneWhen::checked).collect();
    refusals.extend(when.iter().filter_map(|when| Some(LaneRefusal::from(when.clone().err()?).into())));
    let when: Vec<_> = when.into_iter().flatten().collect();
    refusals.extend(meets_others(environment, &versions, &when));
    refusals.extend(arms.iter().flat_map(|arm| kinds(world, environment, arm)));
    refusals.extend(as_deployed(relation, environment, &arms, now));
    refusals.extend(rules::meetings(relation, environment, (rules::Beside::Lane, &arms)));
    refusals.extend(migrates(world, environment, &arms));
    let mut found = Vec::new();
    refusals.retain(|refusal| {
        !found.contains(refusal) && {
            found.push(refusal.clone());
            true
        }
    });
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let WantedLane { name, owner, until, replicas, reason, .. } = wanted.clone();
    let lane = NewLane { name, services, when, owner, until, replicas, reason };
    Ok(LaneDecision { lane, warnings: warnings(relation, environment, &arms) })
}

/// The event that records a lane.
#[must_use]
pub fn lane_event(environment: &EnvironmentName, lane: &NewLane) -> Event {
    Event::LaneBegun { environment: environment.clone(), lane: Box::new(lane.clone()) }
}

/// The versions by the present names of their services, in the order of these.
fn named_now(world: &World, wanted: &WantedLane) -> Vec<VersionRef> {
    let named = wanted.versions.iter().map(|version| VersionRef {
        service: world.current_name(&version.service).clone(),
        version: version.version.clone(),
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

fn in_lane(environment: &Environment, version: &VersionRef) -> LaneService {
    let config = environment.configuration_in_force(&version.service);
    LaneService { service: version.service.clone(), version: version.version.clone(), config }
}

/// Checks what is bounded, and that all of it can be.
fn bounds(
    environment: &Environment,
    wanted: &WantedLane,
    versions: &[VersionRef],
    now: Timestamp,
) -> Vec<Refusal> {
    let name = &environment.name;
    let mut refusals: Vec<Refusal> = Vec::new();
    let known = environment.version_rules.lanes.find(&wanted.name);
    refusals.extend(known.map(|lane| LaneRefusal::Taken(Box::new(lane.clone()), name.clone()).into()));
    if environment.version_rules.rules.len() + versions.len() > MAX_RULES {
        refusals.push(RuleRefusal::too_many(environment).into());
    }
    let twice = versions.windows(2).find(|pair| pair[0].service == pair[1].service);
    refusals.extend(twice.map(|pair| Refusal::NamedTwice(pair[0].service.clone())));
    let shares = wanted.when.iter().filter(|when| when.share().is_some()).count();
    let left_ms = wanted.until.at().since_ms(now);
    let wrong = [
        (!(1..=MAX_SERVICES).contains(&versions.len()), "a lane has from 1 to 20 services"),
        (!(1..=MAX_CONDITIONS).contains(&wanted.when.len()), "a lane has from 1 to 16 conditions"),
        (shares > 1, "a lane has one share at most: name the sum of them"),
        (wanted.until.at() <= now, "a lane ends after now"),
        (left_ms > MAX_FOR_MS, "a lane ends within 90 days: what is needed for longer is deployed"),
        (
            !(1..=MAX_REPLICAS).contains(&wanted.replicas),
            "a lane has from 1 to 100 instances of each version",
        ),
        (wanted.owner.trim().is_empty(), "a lane has an owner"),
    ];
    let wrong = wrong.into_iter().filter(|(is_wrong, _)| *is_wrong);
    refusals.extend(wrong.map(|(_, why)| LaneRefusal::Bounds(why).into()));
    for version in versions.iter().filter(|it| !environment.entries().contains_key(&it.service)) {
        let (service, environment) = (version.service.clone(), name.clone());
        refusals.push(Refusal::NotRunning { service, environment });
    }
    refusals
}

/// Finds lanes that take the very same requests, and shares that there is no room for. Which of two others takes a request that both could is
/// decided by their order.
fn meets_others(environment: &Environment, versions: &[VersionRef], when: &[LaneWhen]) -> Vec<Refusal> {
    let known = &environment.version_rules;
    let same = known.lanes.lanes.iter().flat_map(|lane| {
        let same = when.iter().filter(|when| when.share().is_none() && lane.new.when.contains(when));
        same.map(|when| LaneRefusal::Same {
            lane: lane.new.name.clone(),
            when: when.clone(),
            environment: environment.name.clone(),
        })
    });
    let services: BTreeSet<&ServiceName> = versions.iter().map(|version| &version.service).collect();
    let shares = when.iter().filter_map(LaneWhen::share).filter(|weight| {
        // Something is left for what is deployed.
        known.free_places_of_lane(&services, weight + 1).is_none()
    });
    let shares = shares.map(|weight| LaneRefusal::Shares(weight, environment.name.clone()));
    same.chain(shares).map(Refusal::from).collect()
}

fn kinds(world: &World, environment: &Environment, arm: &Arm) -> Vec<Refusal> {
    let reference = arm.version_ref();
    let speaks_tcp = world.version(&reference).is_some_and(|it| it.run.protocol == Protocol::Tcp);
    let tcp = speaks_tcp.then(|| LaneRefusal::Tcp(reference).into());
    rules::kinds(world, environment, arm).into_iter().chain(tcp).collect()
}

/// Checks all of them as if they were deployed together.
fn as_deployed(
    relation: Relation<'_>,
    environment: &Environment,
    arms: &[Arm],
    now: Timestamp,
) -> Vec<Refusal> {
    let mut resolved = Resolved::new(environment, Direction::Forward);
    for arm in arms {
        resolved.set(&arm.service, rules::entry(arm), Reason::Asked);
    }
    let changes = difference(environment.entries(), &resolved.target);
    let refusals = check::check(relation, environment, &resolved, (&changes, &Reach::Everything), now);
    refusals.into_iter().filter_map(|refusal| in_lanes(relation.world, environment, refusal)).collect()
}

/// Lets a version pass that is too early for a deployment and not for a lane; else says what lanes accept.
fn in_lanes(world: &World, environment: &Environment, refusal: Refusal) -> Option<Refusal> {
    let Refusal::StageTooEarly { version, stage, accepts_from, .. } = refusal else { return Some(refusal) };
    let lifecycle = world.lifecycle_of(&version.service);
    let lanes_accept = environment.settings.lanes_accept.stage().cloned();
    let first = lanes_accept.as_ref().and_then(|first| lifecycle.position(first));
    if first.zip(lifecycle.position(&stage)).is_some_and(|(first, at)| first <= at) {
        return None;
    }
    let environment = environment.name.clone();
    Some(LaneRefusal::Stage { version, stage, environment, accepts_from, lanes_accept }.into())
}

/// A lane never migrates: what its versions need of a database has to be there, and what was taken away must not be missed.
fn migrates(world: &World, environment: &Environment, arms: &[Arm]) -> Vec<Refusal> {
    let target = over(environment.entries(), arms);
    let of = |arm: &Arm| {
        let version = arm.version_ref();
        let contracted = databases::contracted(world, environment, &version, &target);
        let mut refusals: Vec<Refusal> = contracted.into_iter().map(Refusal::from).collect();
        for database in world.version(&version).into_iter().flat_map(|it| moved(it)) {
            let lacks = databases::lacks(world, environment, database, &target);
            refusals.extend(lacks.map(|migration| {
                let (environment, database) = (environment.name.clone(), database.database.name.clone());
                LaneRefusal::Migrates { version: version.clone(), environment, database, migration }.into()
            }));
        }
        refusals
    };
    arms.iter().flat_map(of).collect()
}

fn over(entries: &Entries, arms: &[Arm]) -> Entries {
    arms.iter().fold(entries.clone(), |entries, arm| rules::with(&entries, arm))
}

/// What one version of the lane would meet where another one does not serve, or the lane is not passed on.
fn warnings(relation: Relation<'_>, environment: &Environment, arms: &[Arm]) -> Vec<String> {
    let mut known = relation.unmet_in(environment.entries());
    known.extend(relation.unmet_in(&over(environment.entries(), arms)));
    let mut found: Vec<Unmet> = Vec::new();
    for arm in arms {
        let alone = relation.unmet_in(&rules::with(environment.entries(), arm)).into_iter();
        found.extend(alone.filter(|unmet| !known.contains(unmet)));
    }
    found.dedup();
    let said = found.iter().map(|unmet| {
        format!(
            "{}: calls meet that where a service passes on neither baggage nor tracestate, and while a version of the lane does not serve",
            unmet_words(unmet)
        )
    });
    said.collect()
}
