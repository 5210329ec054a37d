//! Rules and plans: whether there can be a rule, what a plan has to do with those there are, and which ones end with it.
//!
//! What a rule keeps running meets whatever else runs, so it is checked as what is deployed. Going forward respects rules; going back
//! is for the moment when something is bad, so it ends those that lead to what it goes away from, and no rule ever keeps anybody from it.

use crate::baseline::{BaselineEntry, Entries, EntryChange, difference};
use crate::compat::{Relation, Unmet};
use crate::environment::Environment;
use crate::event::Event;
use crate::instance::Arm;
use crate::intent::Intent;
use crate::job::When;
use crate::mend::run_of;
use crate::name::{EnvironmentName, ServiceName};
use crate::operation::Reason;
use crate::plan::check;
use crate::plan::order::Direction;
use crate::plan::reach::Reach;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::{Resolved, missing};
use crate::plan::rule_refusal::RuleRefusal;
use crate::process;
use crate::protocol::Protocol;
use crate::routes::FULL_WEIGHT;
use crate::run::same_port;
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};
use crate::version_rules::{MAX_RULES, Takes, VersionRule};
use crate::world::World;

/// A rule that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRule {
    /// The service.
    pub service: ServiceName,
    /// What its requests get.
    pub version: VersionNumber,
    /// Which requests.
    pub takes: Takes,
    /// Why.
    pub reason: String,
}

/// Makes a rule: of the event that records it, or of all reasons against it.
///
/// # Errors
/// Every refusal that can be found, not only the first.
pub fn add_rule(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    wanted: &WantedRule,
    now: Timestamp,
) -> Result<Event, Vec<Refusal>> {
    let world = relation.world;
    let Some(environment) = world.environment(environment) else {
        return Err(vec![Refusal::NoEnvironment(environment.clone())]);
    };
    let service = world.current_name(&wanted.service).clone();
    let reference = VersionRef { service: service.clone(), version: wanted.version.clone() };
    if let Some(refusal) = missing(world, &reference) {
        return Err(vec![refusal]);
    }
    let takes = wanted.takes.clone().checked();
    let mut refusals: Vec<Refusal> = bounds(environment, &reference, &wanted.takes);
    refusals.extend(takes.as_ref().err().map(|error| RuleRefusal::from(error.clone()).into()));
    if !environment.entries().contains_key(&service) {
        refusals
            .push(Refusal::NotRunning { service: service.clone(), environment: environment.name.clone() });
    }
    let config = environment.configuration_in_force(&service);
    let arm = Arm { service: service.clone(), version: wanted.version.clone(), config, process: None };
    refusals.extend(kinds(world, environment, &arm));
    let is_tcp = world.version(&reference).is_some_and(|version| version.run.protocol == Protocol::Tcp);
    if is_tcp && wanted.takes.mirror().is_some() {
        refusals.push(RuleRefusal::NoRequests(reference).into());
    }
    refusals.extend(as_deployed(relation, environment, &arm, now));
    refusals.extend(meetings(relation, environment, (Beside::Rule, std::slice::from_ref(&arm))));
    refusals.dedup();
    let takes = match takes {
        Ok(takes) if refusals.is_empty() => takes,
        _ => return Err(refusals),
    };
    let (environment, version, reason) =
        (environment.name.clone(), wanted.version.clone(), wanted.reason.clone());
    Ok(Event::VersionRuleAdded { environment, service, version, config, takes, reason })
}

/// Checks what is bounded.
fn bounds(
    environment: &Environment,
    VersionRef { service, version }: &VersionRef,
    takes: &Takes,
) -> Vec<Refusal> {
    let (name, known) = (&environment.name, &environment.version_rules);
    let mut refusals = Vec::new();
    if known.rules.len() >= MAX_RULES {
        refusals.push(RuleRefusal::too_many(environment).into());
    }
    let other = known.of(service).find(|rule| takes.mirror().is_some() && rule.takes.mirror().is_some());
    refusals.extend(other.map(|rule| RuleRefusal::Mirrored(Box::new(rule.clone()), name.clone()).into()));
    let comes = check::states(environment).any(|entries| {
        entries.get(service).is_some_and(|entry| takes.mirror().is_some() && entry.version == *version)
    });
    if comes {
        let version = VersionRef { service: service.clone(), version: version.clone() };
        refusals.push(RuleRefusal::HasRequests(version, name.clone()).into());
    }
    match takes.share() {
        Some(weight) if weight >= known.unshared(service) => {
            let shares = (FULL_WEIGHT - known.unshared(service)).saturating_add(weight);
            let (service, environment) = (service.clone(), name.clone());
            refusals.push(RuleRefusal::Shares { service, environment, shares }.into());
        }
        Some(_) => {}
        None if takes.mirror().is_some() => {}
        None => {
            let checked = takes.clone().checked();
            let same = known.of(service).find(|rule| checked.as_ref() == Ok(&rule.takes));
            refusals.extend(same.map(|rule| RuleRefusal::Same(Box::new(rule.clone()), name.clone()).into()));
        }
    }
    refusals
}

/// Checks that it has requests, needs no job first, and can run beside what runs.
pub(super) fn kinds(world: &World, environment: &Environment, arm: &Arm) -> Vec<Refusal> {
    let reference = arm.version_ref();
    let Some(version) = world.version(&reference) else { return Vec::new() };
    if !version.run.kind.is_web() {
        return vec![RuleRefusal::NoRequests(reference).into()];
    }
    let mut refusals = Vec::new();
    let was_here = environment.baselines.last_with(&arm.service, &arm.version).is_some();
    if !was_here && version.jobs.iter().any(|job| job.when == When::BeforeSwitch) {
        let environment = environment.name.clone();
        refusals.push(RuleRefusal::Jobs { version: reference.clone(), environment }.into());
    }
    let coming =
        check::states(environment).filter_map(|entries| Some(entries.get(&arm.service)?.arm(&arm.service)));
    let ruled = environment.ruled_arms().filter(|other| other.service == arm.service);
    let apart = coming.chain(ruled).find(|other| are_apart(world, arm, other));
    refusals.extend(apart.map(|other| {
        let (version, runs, environment) = (reference, other.version_ref(), environment.name.clone());
        RuleRefusal::Apart { version, runs, environment }.into()
    }));
    refusals
}

/// Tells whether what takes the requests of one version cannot run beside another version.
fn are_apart(world: &World, one: &Arm, other: &Arm) -> bool {
    let is_apart = |other: Arm| process::are_apart(world, one, &other) || have_one_port(world, one, &other);
    one.main() != other.main() && process::arms(world, other).any(is_apart)
}

/// Checks it as if it were deployed.
fn as_deployed(relation: Relation<'_>, environment: &Environment, arm: &Arm, now: Timestamp) -> Vec<Refusal> {
    let mut resolved = Resolved::new(environment, Direction::Forward);
    resolved.set(&arm.service, entry(arm), Reason::Asked);
    let changes = difference(environment.entries(), &resolved.target);
    check::check(relation, environment, &resolved, (&changes, &Reach::Everything), now)
}

/// What comes beside what is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// What a rule gives.
    Rule,
    /// All that a lane gives.
    Lane,
}

/// Checks what comes together against everything else that it can meet: what is on its way, and what other rules keep running. A request is in one lane
/// only, so the versions of two lanes do not meet.
pub(super) fn meetings(
    relation: Relation<'_>,
    environment: &Environment,
    (what, arms): (Beside, &[Arm]),
) -> Vec<Refusal> {
    let is_of = |rule: &VersionRule| arms.iter().any(|arm| arm.service == rule.service);
    let meets = |rules: &Vec<&VersionRule>| match (what, rules[0].lane()) {
        (Beside::Lane, Some(_)) => false,
        _ => !rules.iter().any(|rule| is_of(rule)),
    };
    let others = overlays(environment).into_iter().filter(meets);
    let with_rules = others.map(|rules| over(environment.entries(), &rules));
    let on_the_way = environment.moving().map(|operation| operation.plan.target.clone());
    let mut found: Vec<Unmet> = Vec::new();
    for entries in on_the_way.chain(with_rules) {
        let before = relation.unmet_in(&entries);
        let all = arms.iter().fold(entries, |entries, arm| with(&entries, arm));
        found.extend(relation.unmet_in(&all).into_iter().filter(|unmet| !before.contains(unmet)));
    }
    found.into_iter().map(|unmet| Refusal::Unmet(Box::new(unmet))).collect()
}

/// What some requests get at the same time in the place of what is deployed: what one rule gives, or all that a lane does.
fn overlays(environment: &Environment) -> Vec<Vec<&VersionRule>> {
    let mut overlays: Vec<Vec<&VersionRule>> = Vec::new();
    for rule in &environment.version_rules.rules {
        let is_same = |rules: &&mut Vec<&VersionRule>| rules[0].record == rule.record;
        match overlays.iter_mut().find(is_same).filter(|_| rule.lane().is_some()) {
            Some(rules) => rules.push(rule),
            None => overlays.push(vec![rule]),
        }
    }
    overlays
}

/// A set with what rules give in the place of what there is.
fn over(entries: &Entries, rules: &[&VersionRule]) -> Entries {
    rules.iter().fold(entries.clone(), |entries, rule| with(&entries, &rule.arm()))
}

pub(super) fn entry(arm: &Arm) -> BaselineEntry {
    BaselineEntry { version: arm.version.clone(), config: arm.config }
}

/// A set with what a rule gives in the place of what there is.
pub(super) fn with(entries: &Entries, arm: &Arm) -> Entries {
    match entries.contains_key(&arm.service) {
        true => entries.update(arm.service.clone(), entry(arm)),
        false => entries.clone(),
    }
}

/// Returns the rules that end with a plan: those that lead to what it goes away from by going back, those that what it goes back to
/// cannot run beside, and those of services that it takes out. A lane ends as a whole, and also when it does not work with what is gone back to.
pub(super) fn ended<'a>(
    relation: Relation<'_>,
    environment: &'a Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<&'a VersionRule> {
    let world = relation.world;
    let goes_back = resolved.direction == Direction::Back;
    let ends = |rule: &&VersionRule| {
        changes.iter().any(|change| match change.service == rule.service {
            true => change.to.is_none() || (goes_back && is_left(world, rule, change)),
            false => goes_back && wants_port_of(world, rule, change),
        })
    };
    let rules = || environment.version_rules.rules.iter();
    let mut ended: Vec<&VersionRule> = rules().filter(ends).collect();
    if goes_back && !environment.version_rules.lanes.lanes.is_empty() {
        let goal = (&resolved.target, &Reach::Everything);
        let unfit = unmet((relation, environment), goal, &ended).into_iter();
        ended.extend(unfit.map(|(rule, _)| rule).filter(|rule| rule.lane().is_some()));
    }
    let is_ended = |rule: &&VersionRule| {
        let is_same = |it: &&VersionRule| it.record == rule.record && it.lane().is_some();
        ended.iter().any(|it| it.number == rule.number || is_same(it))
    };
    rules().filter(is_ended).collect()
}

/// Tells whether what is gone back to, of another service, always listens where the version of a rule does.
fn wants_port_of(world: &World, rule: &VersionRule, change: &EntryChange) -> bool {
    let to = change.to.as_ref().map(|to| to.arm(&change.service));
    to.is_some_and(|to| process::arms(world, &to).any(|to| have_one_port(world, &rule.arm(), &to)))
}

fn have_one_port(world: &World, one: &Arm, other: &Arm) -> bool {
    run_of(world, one).zip(run_of(world, other)).is_some_and(|(one, other)| same_port(one, other))
}

fn is_left(world: &World, rule: &VersionRule, change: &EntryChange) -> bool {
    let arm = rule.arm();
    let left = change.from.as_ref().map(|from| from.arm(&change.service));
    let to = change.to.as_ref().map(|to| to.arm(&change.service));
    let only_configured = left.as_ref().map(|it| &it.version) == to.as_ref().map(|it| &it.version);
    let leads_there = match left {
        Some(left) if only_configured => left == arm,
        Some(left) => left.version == arm.version,
        None => false,
    };
    leads_there || to.is_some_and(|to| are_apart(world, &arm, &to))
}

/// Finds the rules that are in the way of going forward. Who goes back is told instead.
pub(super) fn in_the_way(
    relation: Relation<'_>,
    environment: &Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<Refusal> {
    if resolved.direction == Direction::Back {
        return Vec::new();
    }
    let apart = environment.version_rules.rules.iter().filter_map(|rule| {
        let moved = changes.iter().find(|change| change.service == rule.service)?;
        let to = moved.to.as_ref()?.arm(&rule.service);
        let keeps = are_apart(relation.world, &rule.arm(), &to);
        let (version, environment) = (to.version_ref(), environment.name.clone());
        keeps.then(|| RuleRefusal::Keeps { rule: Box::new(rule.clone()), version, environment }.into())
    });
    let unmet = unmet((relation, environment), (&resolved.target, &Reach::Everything), &[]).into_iter();
    let unmet = unmet.map(|(rule, unmet)| {
        let (rule, unmet, environment) = (Box::new(rule.clone()), Box::new(unmet), environment.name.clone());
        RuleRefusal::Unmet { rule, unmet, environment }.into()
    });
    apart.chain(unmet).collect()
}

/// Finds what rules keep running and what a set newly leaves unmet of it, or by it.
fn unmet<'a>(
    (relation, environment): (Relation<'_>, &'a Environment),
    (goal, reach): (&Entries, &Reach<'a>),
    ended: &[&VersionRule],
) -> Vec<(&'a VersionRule, Unmet)> {
    let mut found = Vec::new();
    let is_ended = |rule: &VersionRule| ended.iter().any(|it| it.number == rule.number);
    for rules in overlays(environment).into_iter().filter(|rules| !is_ended(rules[0])) {
        let of_first = reach.and(&rules[0].service);
        let reach = rules[1..].iter().fold(of_first, |reach, rule| reach.and(&rule.service));
        let unmet = |entries: &Entries| relation.unmet_of(reach.requiring(entries), entries);
        let mut known = unmet(&over(environment.entries(), &rules));
        known.extend(unmet(goal));
        let new = unmet(&over(goal, &rules)).into_iter();
        found.extend(new.filter(|unmet| !known.contains(unmet)).map(|unmet| (rules[0], unmet)));
    }
    found
}

/// Says what a plan has to do with rules.
pub(super) fn warnings<'a>(
    (relation, environment): (Relation<'_>, &'a Environment),
    resolved: &Resolved,
    (changes, reach): (&[EntryChange], &Reach<'a>),
    ended: &[&VersionRule],
) -> Vec<String> {
    let stays = |rule: &&VersionRule| !ended.iter().any(|it| it.number == rule.number);
    let mut said: Vec<String> = ended.iter().map(|rule| ends_with_it(environment, rule)).collect();
    said.dedup();
    let left: Vec<_> = environment.version_rules.rules.iter().filter(stays).collect();
    for change in changes {
        let Some(to) = change.to.as_ref().map(|to| to.arm(&change.service)) else { continue };
        let elsewhere = left.iter().filter(|rule| rule.service == change.service && rule.arm() != to);
        said.extend(elsewhere.map(|rule| {
            let config =
                if rule.config == to.config { String::new() } else { format!(" with {}", rule.config) };
            format!("{rule} stays, and keeps {}{config} running", rule.version)
        }));
    }
    if resolved.direction == Direction::Back {
        let unmet = unmet((relation, environment), (&resolved.target, reach), ended).into_iter();
        said.extend(unmet.map(|(rule, unmet)| {
            let (rule, unmet) = (Box::new(rule.clone()), Box::new(unmet));
            RuleRefusal::Unmet { rule, unmet, environment: environment.name.clone() }.to_string()
        }));
    }
    said
}

fn ends_with_it(environment: &Environment, rule: &VersionRule) -> String {
    match environment.version_rules.lane_of(rule) {
        Some(lane) => format!("{lane} ends with it"),
        None => format!("{rule} ends with it"),
    }
}

/// Who goes back to what runs wants everybody there: says which rules give requests something else.
pub(super) fn elsewhere(environment: &Environment, intent: &Intent) -> Option<Refusal> {
    let goes_back_to = |service: &ServiceName| match intent {
        Intent::RollBackService { service: named, .. } => service == named,
        Intent::RollBackServices { versions, .. } => versions.iter().any(|it| it.service == *service),
        Intent::RollBackEnvironment { .. } | Intent::RollBackToLastGood { .. } => true,
        _ => false,
    };
    let is_elsewhere = |rule: &&VersionRule| {
        let runs = environment.entries().get(&rule.service);
        goes_back_to(&rule.service)
            && rule.takes.mirror().is_none()
            && runs.is_some_and(|runs| runs.version != rule.version)
    };
    let rules: Vec<_> = environment.version_rules.rules.iter().filter(is_elsewhere).cloned().collect();
    let environment = environment.name.clone();
    (!rules.is_empty()).then(|| RuleRefusal::Elsewhere { environment, rules }.into())
}
