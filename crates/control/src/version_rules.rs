//! Rules that give certain requests of a service a version of their own: adding, removing and showing them.
//!
//! They are no operations: nothing is replaced, and nothing is taken back. The reconciler keeps their versions running and puts them
//! into the next table.

use std::sync::Arc;

use lockstep_api::types::{AddVersionRule, Force, RemoveVersionRules, VersionRuleList, VersionRuleView};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::compat::Relation;
use lockstep_domain::environment::Environment;
use lockstep_domain::fleet::Fleet;
use lockstep_domain::mend::sickness;
use lockstep_domain::observed::Observed;
use lockstep_domain::plan::{WantedRule, add_rule};
use lockstep_domain::replicas::replicas;
use lockstep_domain::routes::{FORMAT_WITH_MIRRORS, FORMAT_WITH_VERSION_RULES, RouteTable, ServiceRoutes};
use lockstep_domain::version_rules::{Takes, VersionRule};
use lockstep_domain::{Actor, EnvironmentName, Event, Instance, InstanceState, VersionRef, World};
use lockstep_gateway::is_own_header;

use crate::environments::find;
use crate::operations::{check_reason, without_artifact};
use crate::{Control, not_found};

/// What proves who somebody is must not stand in a journal that everybody may read.
const SECRET_HEADER: &str = "authorization";

impl Control {
    /// Adds a rule. Its version is started where it does not run.
    ///
    /// # Errors
    /// Every reason against it at once.
    pub fn add_version_rule(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &AddVersionRule,
    ) -> Result<VersionRuleList, Problem> {
        let AddVersionRule { service, version, takes, reason } = request;
        check_reason(reason)?;
        check_header(takes)?;
        self.check_knows_rules(name, takes)?;
        let wanted = WantedRule {
            service: service.clone(),
            version: version.clone(),
            takes: takes.clone(),
            reason: reason.clone(),
        };
        let contracts = self.stored_contracts();
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, now| {
                let relation = Relation { world, contracts: &contracts };
                let event = add_rule(relation, name, &wanted, now).map_err(|refusals| {
                    let intent = format!("the rule for {service} {version} in `{name}` is refused");
                    self.refusals(world, intent, &refusals, now)
                })?;
                let reference = VersionRef { service: service.clone(), version: version.clone() };
                self.check_artifact(world, &reference)?;
                Ok((vec![event], ()))
            })
        })?;
        self.wake(name);
        self.version_rules(name)
    }

    /// Removes rules: all that are named, or none.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn remove_version_rules(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &RemoveVersionRules,
    ) -> Result<VersionRuleList, Problem> {
        check_reason(&request.reason)?;
        let mut numbers = request.rules.clone();
        numbers.sort_unstable();
        numbers.dedup();
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let environment = find(world, name)?;
                check_there(environment, &numbers)?;
                let event = |&rule: &u32| Event::VersionRuleRemoved {
                    environment: name.clone(),
                    rule,
                    found: self.found_of(environment, rule),
                    reason: request.reason.clone(),
                };
                Ok((numbers.iter().map(event).collect(), ()))
            })
        })?;
        self.wake(name);
        self.version_rules(name)
    }

    /// Lists the rules of an environment in their order, and how far each is in force.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn version_rules(&self, name: &EnvironmentName) -> Result<VersionRuleList, Problem> {
        let mut list = self.all_rules(name)?;
        list.rules.retain(|view| view.rule.lane().is_none());
        Ok(list)
    }

    /// The same with the rules of lanes.
    pub(crate) fn all_rules(&self, name: &EnvironmentName) -> Result<VersionRuleList, Problem> {
        let (now, world) = self.ledger.look();
        let environment = find(&world, name)?;
        let instances = self.instances_of(&world, name);
        let observed = Observed { instances, ..Observed::default() };
        let table = self.registry.tables(name).borrow().clone();
        let behind = self.registry.behind(name, now);
        let known = &environment.version_rules.rules;
        let view = |rule: &VersionRule| {
            let fleet = Fleet::serving(environment, &observed, &rule.arm());
            let force = force(rule, table.as_ref(), &fleet, &observed, &behind);
            let replicas = replicas(&world, environment, &rule.arm());
            VersionRuleView { rule: rule.clone(), force, healthy: fleet.healthy(), replicas }
        };
        let listed: Vec<u64> = known.iter().map(|rule| rule.record).collect();
        let gone = table.iter().flat_map(rules_of).any(|id| !listed.contains(&id));
        Ok(VersionRuleList {
            rules: known.iter().map(view).collect(),
            is_applied: !gone && self.registry.is_applied(name, now),
        })
    }

    /// A gateway that does not take tables with rules would go on with its last one, whatever ends after that.
    fn check_knows_rules(&self, name: &EnvironmentName, takes: &Takes) -> Result<(), Problem> {
        let format = if takes.mirror().is_some() { FORMAT_WITH_MIRRORS } else { FORMAT_WITH_VERSION_RULES };
        self.check_takes_format(name, format, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that knows no such rules")
        })
    }

    fn check_artifact(&self, world: &World, reference: &VersionRef) -> Result<(), Problem> {
        let version = world.version(reference);
        if version.is_some_and(|version| self.blobs.contains(&version.artifact.digest)) {
            return Ok(());
        }
        let detail = format!("the artifact of `{reference}` is not in the blob store");
        let hint = without_artifact(reference);
        Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
    }
}

pub(crate) fn check_header(takes: &Takes) -> Result<(), Problem> {
    let Takes::Header(pattern) = takes else { return Ok(()) };
    let name = pattern.name.to_ascii_lowercase();
    if name == SECRET_HEADER {
        let detail = format!(
            "`{name}` says who somebody is; its value would stand in the journal, for everybody to read"
        );
        return Err(Problem::new(ErrorCode::BadRequest, detail)
            .with_hint("let the client send a header of its own that is no secret"));
    }
    if !is_own_header(&name) {
        return Ok(());
    }
    let detail = format!("`{name}` is a header that gateways read, write or drop themselves");
    let hint = match name.as_str() {
        "cookie" => "match one cookie: --cookie NAME=VALUE",
        _ => "choose a header that only your clients and services use, such as x-user",
    };
    Err(Problem::new(ErrorCode::BadRequest, detail).with_hint(hint))
}

fn check_there(environment: &Arc<Environment>, numbers: &[u32]) -> Result<(), Problem> {
    let hint = format!("lockstep route list --env {}", environment.name);
    if numbers.is_empty() {
        return Err(Problem::new(ErrorCode::BadRequest, "no rule is named").with_hint(hint));
    }
    let of_lane = numbers.iter().find_map(|number| environment.version_rules.find(*number)?.lane());
    if let Some(lane) = of_lane {
        let detail = format!("one of these rules is part of lane {lane}, which ends as a whole");
        let hint = format!("lockstep lane end {lane} --env {}", environment.name);
        return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
    }
    let missing = numbers.iter().filter(|number| environment.version_rules.find(**number).is_none());
    let missing: Vec<_> = missing
        .map(|number| {
            let ended = environment.version_rules.ended.iter().find(|it| it.rule.number == *number);
            let how = ended.map_or_else(String::new, |it| format!("; it ended: {}", because(it)));
            let detail = format!("`{}` has no rule {number}{how}", environment.name);
            ProblemPart { detail, ..ProblemPart::default() }
        })
        .collect();
    match missing.as_slice() {
        [] => Ok(()),
        [only] => Err(not_found(only.detail.clone(), &hint)),
        _ => Err(not_found("some of these rules are not there; none was removed".to_owned(), &hint)
            .with_problems(missing)),
    }
}

fn because(ended: &lockstep_domain::version_rules::EndedRule) -> String {
    let why = if ended.because.is_empty() { "removed" } else { &ended.because };
    format!("{why}, by {}", ended.by)
}

fn rules_in(routes: &ServiceRoutes) -> impl Iterator<Item = u64> {
    let mirror = routes.mirror.as_ref().map(|mirror| mirror.id);
    routes.version_rules.iter().map(|rule| rule.id).chain(mirror)
}

fn rules_of(table: &RouteTable) -> impl Iterator<Item = u64> {
    table.services.values().flat_map(rules_in).chain(table.lanes.iter().map(|lane| lane.id))
}

fn force(
    rule: &VersionRule,
    table: Option<&RouteTable>,
    fleet: &Fleet<'_>,
    observed: &Observed,
    behind: &[String],
) -> Force {
    if fleet.healthy() == 0 {
        return not_served(rule, fleet, observed);
    }
    let of_it = table.and_then(|table| table.services.get(&rule.service));
    let is_published = of_it.is_some_and(|routes| rules_in(routes).any(|id| id == rule.record));
    if is_published && behind.is_empty() {
        Force::InForce
    } else {
        Force::Changing { behind: if is_published { behind.to_vec() } else { Vec::new() } }
    }
}

/// The instance of its version that failed last. What had failed before the rule was made is nothing of its: others are started.
fn last_failed<'o>(rule: &VersionRule, observed: &'o Observed) -> Option<&'o Instance> {
    let arm = rule.arm();
    let is_failed = |it: &&'o Instance| {
        it.arm == arm && matches!(it.state, InstanceState::Failed { .. }) && it.since >= rule.at
    };
    observed.instances.iter().filter(is_failed).max_by_key(|instance| instance.since)
}

/// What keeps its version from serving, as far as it is known.
fn not_served(rule: &VersionRule, fleet: &Fleet<'_>, observed: &Observed) -> Force {
    let last = last_failed(rule, observed);
    let standing = fleet.standing.iter().chain(&fleet.coming).next();
    let why = match (standing, last) {
        (Some(instance), None) => format!("{} is {}", instance.id, sickness(instance)),
        (_, Some(failed)) => format!("{} {}", failed.id, sickness(failed)),
        (None, None) => "no instance has been started yet".to_owned(),
    };
    Force::NotServed { why, failed: last.is_some() }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::fault::Fault;
    use lockstep_domain::{ConfigRevision, ServiceName, Timestamp, VersionNumber};

    use super::*;

    #[test]
    fn what_had_failed_before_a_rule_was_made_is_nothing_of_its() {
        let service: ServiceName = "shop".parse().unwrap();
        let rule = VersionRule {
            number: 1,
            record: 9,
            service,
            version: VersionNumber::new(1, 1, 0),
            config: ConfigRevision(0),
            takes: Takes::Lane("login".parse().unwrap()),
            places: Vec::new(),
            by: "ann".parse().unwrap(),
            at: Timestamp(1_000),
            reason: String::new(),
            replicas: Some(1),
        };
        let instance = |id: &str, since: u64| Instance {
            id: id.parse().unwrap(),
            environment: "staging".parse().unwrap(),
            arm: rule.arm(),
            state: InstanceState::failed("ended with exit code 1", Fault::Crash),
            address: None,
            since: Timestamp(since),
            restarts: 3,
            job: None,
            resource: None,
            host: None,
        };
        let found = |instances: Vec<Instance>| {
            let observed = Observed { instances, ..Observed::default() };
            last_failed(&rule, &observed).map(|it| it.id.to_string())
        };
        assert_eq!(found(vec![instance("shop-1", 999)]), None);
        assert_eq!(
            found(vec![instance("shop-1", 999), instance("shop-2", 1_000)]).as_deref(),
            Some("shop-2")
        );
    }
}
