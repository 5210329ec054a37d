//! Readiness: where each service and the whole environment can go back to at this moment, how fast, and what forbids it.
//!
//! Nothing here is a promise of its own: a way is open exactly where `plan` makes a plan, the host has what has to be started, and no
//! migration is known that the older version does not work with. What takes long, the plans, depends on the world alone; what the host
//! says is added to it by [`with_host`], so that it can be asked as often as one likes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, BaselineEntry, EntryChange, OperationId, difference};
use crate::compat::Relation;
use crate::contract::Verdict;
use crate::environment::Environment;
use crate::instance::Arm;
use crate::intent::{ConfigChoice, Intent};
use crate::name::ServiceName;
use crate::operation::{Operation, Phase, Plan, Readiness};
use crate::plan::{DatabaseRefusal, Ground, Refusal, can_plan, is_forward, on_databases};
use crate::proven::last_good;
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};
use crate::ways_back::{Host, lost};

/// Baselines that are planned: each costs a plan of the whole environment, and who goes back further looks for it by name.
pub const MAX_BASELINES: usize = 50;
/// Reasons that are told of one way; its plan has all.
const MAX_REASONS: usize = 3;

/// How a way back stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// There is nothing before what runs.
    First,
    /// What ran besides came later, so all of it is a way forward.
    Oldest,
    /// It can be gone at once.
    Open,
    /// An operation under way is in it: `--interrupt` takes that back first.
    UnderWay,
    /// It can be gone; whether the older version works then is not known.
    NotProved,
    /// It cannot be gone, or what comes back would not work.
    Closed,
}

/// What kind of thing is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InTheWay {
    /// The database as the newer version leaves it.
    Migration,
    /// An artifact that is lost.
    Artifact,
    /// Another service that needs more, or that what comes back would need.
    Consumer,
    /// A hold: it warns, and forbids nothing.
    Hold,
    /// An operation under way.
    Operation,
    /// Something else that a plan is refused for.
    Other,
}

/// One thing that is in the way, or that a person should know before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What kind of thing it is.
    pub kind: InTheWay,
    /// Whether it forbids to go there.
    pub forbids: bool,
    /// Whether it is not known yet: something goes on that may take the way, and may not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
    /// What it is, for people.
    pub what: String,
    /// The command that helps, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How long the last going back of a service took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Took {
    /// The operation.
    pub operation: OperationId,
    /// From when it was begun until every gateway had the last switch, in milliseconds.
    pub ms: u64,
}

/// Where a service can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceReadiness {
    /// The service.
    pub service: ServiceName,
    /// What runs.
    pub runs: BaselineEntry,
    /// The version that ran before and is a way back, as it would run; missing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<BaselineEntry>,
    /// How that way stands.
    pub standing: Standing,
    /// Whether it still runs.
    pub readiness: Readiness,
    /// How long the last going back of this service took, wherever it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Took>,
    /// What is in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What else the plan warns of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How a baseline can be gone back to as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineReadiness {
    /// Its number.
    pub baseline: u64,
    /// How the way to it stands.
    pub standing: Standing,
    /// Whether all that would move still runs.
    pub readiness: Readiness,
    /// What is in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// Where an environment and its services can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentReadiness {
    /// The current baseline.
    pub baseline: u64,
    /// The newest proven baseline that is a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<u64>,
    /// The newest baselines before the current one that are another set, the newest first.
    pub baselines: Vec<BaselineReadiness>,
    /// Its services.
    pub services: Vec<ServiceReadiness>,
}

impl Standing {
    /// Tells whether one can go there now, if need be by taking back what is in the way.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::UnderWay)
    }

    /// Tells whether there is no way that could be closed.
    #[must_use]
    pub const fn is_beginning(self) -> bool {
        matches!(self, Self::First | Self::Oldest)
    }
}

impl EnvironmentReadiness {
    /// The newest baseline that can be gone back to.
    #[must_use]
    pub fn nearest(&self) -> Option<&BaselineReadiness> {
        self.baselines.iter().find(|it| it.standing.is_open())
    }

    /// The oldest baseline that can be gone back to, of those that were looked at.
    #[must_use]
    pub fn last(&self) -> Option<&BaselineReadiness> {
        self.baselines.iter().rfind(|it| it.standing.is_open())
    }

    /// The newest baseline that cannot be gone back to, and none before it can, as far as is known.
    #[must_use]
    pub fn beyond(&self) -> Option<&BaselineReadiness> {
        let last = self.baselines.iter().rfind(|it| it.standing != Standing::Closed).map(|it| it.baseline);
        let is_beyond = |it: &&BaselineReadiness| last.is_none_or(|last| it.baseline < last);
        self.baselines.iter().filter(is_beyond).find(|it| it.standing == Standing::Closed)
    }

    /// The newest baseline behind all that surely can be gone back to, of which nobody knows whether it works then.
    #[must_use]
    pub fn not_proved(&self) -> Option<&BaselineReadiness> {
        let last = self.last().map(|it| it.baseline);
        let is_behind = |it: &&BaselineReadiness| last.is_none_or(|last| it.baseline < last);
        self.baselines.iter().filter(is_behind).find(|it| it.standing == Standing::NotProved)
    }

    /// Tells whether every service that ran in another version before can go back, proved.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.services.iter().all(|it| it.standing.is_open() || it.standing.is_beginning())
    }
}

/// Readiness as far as the world alone tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    readiness: EnvironmentReadiness,
    /// The arms that each of its baselines would bring, and those of each service, in their order.
    arms: Vec<Vec<Arm>>,
    of_services: Vec<Option<Arm>>,
}

/// Plans every way back of an environment.
#[must_use]
pub fn planned(relation: Relation<'_>, environment: &Environment, now: Timestamp) -> Planned {
    let ground = Ground::of(relation, environment);
    let case = Case { relation, environment, ground: &ground, now };
    let took = took(environment);
    let services = environment.entries().iter().map(|(service, entry)| {
        let (mut found, arm) = case.service(service, entry);
        found.took = took.get(service).copied();
        (found, arm)
    });
    let (services, of_services) = services.unzip();
    let (baselines, arms) = case.baselines().unzip();
    let readiness = EnvironmentReadiness {
        baseline: environment.baselines.current().number,
        last_good: last_good(environment).ok().map(|baseline| baseline.number),
        baselines,
        services,
    };
    Planned { readiness, arms, of_services }
}

/// Adds what the host says: what still runs, and what is lost.
#[must_use]
pub fn with_host(planned: &Planned, host: &Host<'_>) -> EnvironmentReadiness {
    let mut readiness = planned.readiness.clone();
    let mut known = Known { host, arms: BTreeMap::new(), lost: BTreeMap::new() };
    for (service, arm) in readiness.services.iter_mut().zip(&planned.of_services) {
        if let Some(arm) = arm {
            known.add(
                std::slice::from_ref(arm),
                (&mut service.standing, &mut service.readiness),
                &mut service.reasons,
            );
        }
    }
    for (baseline, arms) in readiness.baselines.iter_mut().zip(&planned.arms) {
        known.add(arms, (&mut baseline.standing, &mut baseline.readiness), &mut baseline.reasons);
    }
    readiness
}

/// What the host said: it is asked once of each arm, although fifty baselines have it.
struct Known<'a> {
    host: &'a Host<'a>,
    arms: BTreeMap<Arm, Readiness>,
    lost: BTreeMap<VersionRef, bool>,
}

impl Known<'_> {
    fn add(
        &mut self,
        arms: &[Arm],
        (standing, readiness): (&mut Standing, &mut Readiness),
        reasons: &mut Vec<Reason>,
    ) {
        let host = self.host;
        for arm in arms {
            let of_arm = self.arms.entry(arm.clone()).or_insert_with(|| match (host.unprepared)(arm) {
                _ if (host.is_ready)(arm) => Readiness::Warm,
                Some(None) => Readiness::Prepared,
                _ => Readiness::Cold,
            });
            *readiness = (*readiness).max(*of_arm);
            let version = arm.version_ref();
            let is_lost = self.lost.entry(version.clone()).or_insert_with(|| !(host.has_artifact)(&version));
            if *is_lost {
                let hint = Some(format!("lockstep release {}", version.service));
                reasons.insert(0, Reason { hint, ..Reason::forbids(InTheWay::Artifact, lost(&version)) });
                *standing = Standing::Closed;
            }
        }
        reasons.truncate(MAX_REASONS);
    }
}

impl Reason {
    const fn forbids(kind: InTheWay, what: String) -> Self {
        Self { kind, forbids: true, passing: false, what, hint: None }
    }

    fn of(refusal: &Refusal) -> Self {
        let kind = match refusal {
            Refusal::Unmet(_) | Refusal::UnmetBack { .. } => InTheWay::Consumer,
            Refusal::Database(_) => InTheWay::Migration,
            Refusal::Busy { .. } | Refusal::GoesThere { .. } => InTheWay::Operation,
            _ => InTheWay::Other,
        };
        let is_unseen = |it: &DatabaseRefusal| {
            matches!(
                it,
                DatabaseRefusal::MayBeContracted { .. } | DatabaseRefusal::Lacks { may_be_there: true, .. }
            )
        };
        let passing = matches!(refusal, Refusal::Database(refusal) if is_unseen(refusal));
        Self { hint: refusal.hint(), passing, ..Self::forbids(kind, refusal.to_string()) }
    }

    /// Tells whether it closes a way for good, as far as is known.
    fn closes(&self) -> bool {
        self.forbids && !self.passing && self.kind != InTheWay::Operation
    }
}

#[derive(Clone, Copy)]
struct Case<'a> {
    relation: Relation<'a>,
    environment: &'a Environment,
    ground: &'a Ground,
    now: Timestamp,
}

impl<'a> Case<'a> {
    fn service(self, service: &'a ServiceName, runs: &BaselineEntry) -> (ServiceReadiness, Option<Arm>) {
        let mut found = ServiceReadiness {
            service: service.clone(),
            runs: runs.clone(),
            to: None,
            standing: Standing::First,
            readiness: Readiness::Warm,
            took: None,
            reasons: Vec::new(),
            warnings: Vec::new(),
        };
        let Some(before) = self.before(service, runs) else {
            if let Some(newer) = self.newer(service, runs) {
                (found.standing, found.reasons) = (Standing::Oldest, vec![newer]);
            }
            return (found, None);
        };
        let intent = Intent::RollBackService {
            service: service.clone(),
            to: before.version.clone(),
            config: ConfigChoice::AsItRan,
        };
        let change =
            EntryChange { service: service.clone(), from: Some(runs.clone()), to: Some(before.clone()) };
        let way = self.way(&intent, &[change]);
        let to = way.plan.as_ref().and_then(|plan| plan.target.get(service).cloned());
        let to = to.unwrap_or_else(|| before.clone());
        let arm = to.arm(service);
        let warnings = way.plan.map(|plan| plan.warnings).unwrap_or_default();
        let is_told = |warning: &String| way.reasons.iter().any(|reason| reason.what == *warning);
        found.warnings = warnings.into_iter().filter(|it| !is_told(it)).take(MAX_REASONS).collect();
        (found.to, found.standing, found.reasons) = (Some(to), way.standing, way.reasons);
        (found, Some(arm))
    }

    /// The entry of the newest baseline with another version of a service that is a way back.
    fn before(self, service: &ServiceName, runs: &BaselineEntry) -> Option<&'a BaselineEntry> {
        let environment = self.environment;
        let others = environment.baselines.versions_of(service).filter(|(it, _)| **it != runs.version);
        let back = others.filter(|(version, _)| {
            let version = VersionRef { service: service.clone(), version: (*version).clone() };
            !is_forward(environment, &version, &runs.version)
        });
        let newest = back.max_by_key(|(_, baseline)| baseline.number);
        newest.and_then(|(_, baseline)| baseline.entries.get(service))
    }

    /// What ran here beside what runs, and is none of its ways back.
    fn newer(self, service: &ServiceName, runs: &BaselineEntry) -> Option<Reason> {
        let mut entries = self.environment.baselines.newest_first().filter_map(|it| it.entries.get(service));
        let newer = entries.find(|entry| entry.version != runs.version)?;
        let (newer, name) = (newer.arm(service).version_ref(), &self.environment.name);
        let what =
            format!("`{newer}` ran here and came after {}, which runs: that is a way forward", runs.version);
        let hint = Some(format!("lockstep deploy {newer} --env {name}"));
        Some(Reason { forbids: false, hint, ..Reason::forbids(InTheWay::Other, what) })
    }

    fn baselines(self) -> impl Iterator<Item = (BaselineReadiness, Vec<Arm>)> {
        let current = self.environment.baselines.current();
        let others = self.environment.baselines.newest_first().filter(|it| it.number > 0);
        let others = others.filter(|it| it.entries != current.entries);
        others.take(MAX_BASELINES).filter_map(move |baseline| self.baseline(baseline))
    }

    /// `None` for one that differs by nothing that would change.
    fn baseline(self, baseline: &Baseline) -> Option<(BaselineReadiness, Vec<Arm>)> {
        let number = baseline.number;
        let intent = Intent::RollBackEnvironment { to: number, config: ConfigChoice::AsItRan };
        let changes = difference(self.environment.entries(), &baseline.entries);
        let way = self.way(&intent, &changes);
        if way.is_nothing {
            return None;
        }
        let arms = match &way.plan {
            Some(plan) => plan.moves().filter_map(crate::operation::Move::to_arm).collect(),
            None => changes.iter().filter_map(|it| Some(it.to.as_ref()?.arm(&it.service))).collect(),
        };
        let (standing, reasons) = (way.standing, way.reasons);
        Some((BaselineReadiness { baseline: number, standing, readiness: Readiness::Warm, reasons }, arms))
    }

    fn way(self, intent: &Intent, changes: &[EntryChange]) -> Way {
        let planned = can_plan(self.relation, &self.environment.name, intent, self.ground, self.now);
        let (plan, refusals) = match planned {
            Ok(plan) => (Some(plan), Vec::new()),
            Err(refusals) => (None, refusals),
        };
        let nothing = |it: &Refusal| matches!(it, Refusal::NothingToDo { .. } | Refusal::OnlySecrets { .. });
        let is_nothing = !refusals.is_empty() && refusals.iter().all(nothing);
        let mut reasons: Vec<_> = refusals.iter().map(Reason::of).collect();
        for found in changes.iter().flat_map(|change| self.migrations(change)) {
            // What the plan is refused for is told once.
            if reasons.iter().all(|reason| reason.what != found.what) {
                reasons.push(found);
            }
        }
        reasons.extend(changes.iter().filter_map(|change| self.hold(change)));
        let standing = standing(&reasons);
        // What closes it is told first, and what forbids it for now after that.
        reasons.sort_by_key(|reason| (!reason.closes(), !reason.forbids));
        reasons.truncate(MAX_REASONS);
        Way { plan, standing, reasons, is_nothing }
    }

    /// Says what a version does not work with, or where that is not known.
    fn migrations(self, change: &EntryChange) -> Vec<Reason> {
        let version = |entry: &Option<BaselineEntry>| {
            self.relation.world.find_version(&change.service, &entry.as_ref()?.version)
        };
        let (Some(from), Some(to)) = (version(&change.from), version(&change.to)) else { return Vec::new() };
        let found = on_databases(self.relation, self.environment, (&change.service, Some(&**from), &**to));
        let told = found.into_iter().filter(|found| found.verdict != Verdict::Compatible);
        told.map(|found| {
            let forbids = found.verdict == Verdict::Breaking;
            Reason { forbids, ..Reason::forbids(InTheWay::Migration, found.what) }
        })
        .collect()
    }

    fn hold(self, change: &EntryChange) -> Option<Reason> {
        let version = change.to.as_ref()?.arm(&change.service).version_ref();
        let hold = self.environment.holds.get(&version)?;
        let what = format!("`{version}` is held here: {}", hold.reason);
        Some(Reason { forbids: false, ..Reason::forbids(InTheWay::Hold, what) })
    }
}

struct Way {
    plan: Option<Plan>,
    standing: Standing,
    reasons: Vec<Reason>,
    is_nothing: bool,
}

fn standing(reasons: &[Reason]) -> Standing {
    let of = |reason: &Reason| match (reason.kind, reason.forbids) {
        (InTheWay::Operation, _) => Standing::UnderWay,
        (InTheWay::Hold, _) => Standing::Open,
        (_, true) => Standing::Closed,
        (_, false) => Standing::NotProved,
    };
    reasons.iter().map(of).max().unwrap_or(Standing::Open)
}

/// How long the last going back of each service took that was carried out.
fn took(environment: &Environment) -> BTreeMap<ServiceName, Took> {
    let mut all = BTreeMap::new();
    let back = |operation: &Operation| {
        operation.intent.goes_back() && !matches!(operation.intent, Intent::Remove { .. })
    };
    for operation in environment.operations.iter().filter(|operation| back(operation)) {
        let Phase::Done { at, .. } = operation.phase else { continue };
        let took = Took { operation: operation.id, ms: at.since_ms(operation.begun) };
        let moved = operation.plan.moves().filter(|part| part.takes_over());
        all.extend(moved.map(|part| (part.service.clone(), took)));
    }
    all
}

/// A way back that was there and is not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// The service, where it is a way of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// What it could go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<VersionNumber>,
    /// The baseline, where it is a way of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<u64>,
    /// What was lost and why, for people.
    pub what: String,
}

impl Loss {
    /// Says that a way is there again.
    #[must_use]
    pub fn regained(&self, after: &EnvironmentReadiness) -> Option<String> {
        if let Some(number) = self.baseline {
            let found = after.baselines.iter().find(|it| it.baseline == number)?;
            return (found.standing != Standing::Closed)
                .then(|| format!("baseline {number} can be reached again"));
        }
        let (service, to) = (self.service.as_ref()?, self.to.as_ref()?);
        let now = after.services.iter().find(|it| it.service == *service)?;
        if now.runs.version == *to {
            return Some(format!("{service} {to} runs again"));
        }
        let is_it = now.to.as_ref().is_some_and(|entry| entry.version == *to);
        (is_it && now.standing != Standing::Closed)
            .then(|| format!("{service} {} can go back to {to} again", now.runs))
    }
}

/// Tells whether a way is closed by what is so, and not by what goes on.
fn is_lost(standing: Standing, reasons: &[Reason]) -> bool {
    standing == Standing::Closed && reasons.iter().any(Reason::closes)
}

/// Says what is lost between two looks: ways that were there and are not any more, and were not left on purpose.
#[must_use]
pub fn losses(before: &EnvironmentReadiness, after: &EnvironmentReadiness) -> Vec<Loss> {
    let services = after.services.iter().filter_map(|now| {
        let then = before.services.iter().find(|it| it.service == now.service)?;
        if is_lost(then.standing, &then.reasons) || !is_lost(now.standing, &now.reasons) {
            return None;
        }
        let to = now.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        Some(Loss {
            service: Some(now.service.clone()),
            to: now.to.as_ref().map(|to| to.version.clone()),
            baseline: None,
            what: format!("{} {} can no longer go back{to}{}", now.service, now.runs, because(&now.reasons)),
        })
    });
    services.chain(crossed(before, after)).collect()
}

/// Says that baselines cannot be reached any more.
fn crossed(before: &EnvironmentReadiness, after: &EnvironmentReadiness) -> Option<Loss> {
    let now = |number: u64| after.baselines.iter().find(|it| it.baseline == number);
    let could_be = |it: &&BaselineReadiness| {
        it.standing.is_open() || it.standing == Standing::Closed && !is_lost(it.standing, &it.reasons)
    };
    // The one that was current could be reached, since it was there.
    let was_open = before.baselines.iter().filter(could_be).map(|it| it.baseline);
    let was_open = was_open.chain((before.baseline != after.baseline).then_some(before.baseline));
    let gone = was_open.filter_map(now).filter(|it| is_lost(it.standing, &it.reasons));
    let newest = gone.max_by_key(|it| it.baseline)?;
    let rest = match after.last() {
        Some(last) => format!("the last one you can reach is {}", last.baseline),
        None if let Some(left) = after.not_proved() => {
            format!("{} can, but that is not proved", left.baseline)
        }
        None => format!("none before {} can be reached", after.baseline),
    };
    let because = because(&newest.reasons);
    let number = newest.baseline;
    let what = format!(
        "a point of no return was crossed: baseline {number} cannot be reached any more, {rest}{because}"
    );
    Some(Loss { service: None, to: None, baseline: Some(number), what })
}

fn because(reasons: &[Reason]) -> String {
    let first = reasons.iter().find(|reason| reason.closes());
    first.map(|reason| format!(": {}", reason.what)).unwrap_or_default()
}
