//! The smallest set: what has to move for what is wanted of an environment, exactly; or why nothing does.
//!
//! The search is a part of its own, and [`plan`](crate::plan::plan) does not ask it: it may take long, and nothing waits for it while the
//! world can be changed. What it finds is an ordinary intent, which is planned and checked like any other.
//!
//! What is looked at is relaxed first: versions, requirements, stages, holds, resources and artifacts are rules of the solver, and everything
//! else that a plan is refused for is learned from the refusals of what was found. Each says which services at which versions it is about;
//! these never come together again, whoever of them was not looked at is from then on, and the search goes on. So what is found is the
//! smallest that can be planned. What no other versions help against, an operation under way above all, ends the search: it is no rule.

mod burden;
mod export;
mod fleet;
mod learn;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_solver::{Cause, Problem, Solution, Solved, Target, solve};
use lockstep_what_if::{Alternative, Answer, OrderReason};

use crate::compat::Relation;
use crate::environment::Environment;
use crate::intent::{ConfigChoice, Intent, Strategy};
use crate::name::{Actor, EnvironmentName, ServiceName};
use crate::operation::{Plan, Reason};
use crate::plan::interrupt::{in_the_way, without};
use crate::plan::order::Direction;
use crate::plan::refusal::Refusal;
use crate::plan::wish::InTheWay;
use crate::plan::{plan, plan_alone, resolve};
use crate::time::Timestamp;
use crate::version::VersionRef;

pub use export::export;
use fleet::{Despite, Fleet, Terms, against, is_kept_away};
use learn::{Learned, is_beyond_versions};
pub use wish::{ServiceWish, Wanted};

/// How many ways of the least cost are told, at most.
const WAYS: usize = 4;
/// How often the search goes on after what it found could not be planned. Each time, at least one pair of versions is out; more than this
/// many are hardly found for a person who waits.
const MAX_ROUNDS: u32 = 60;
/// The same of what is tried before it is told as something that would help: it may be left out.
const MAX_REMEDY_ROUNDS: u32 = 8;
/// Of how many held versions it is tried whether it works without: more never come back at once.
const MAX_DESPITE: usize = 20;

/// What is to be found.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// What works together.
    pub relation: Relation<'a>,
    /// Where.
    pub environment: &'a EnvironmentName,
    /// What is wanted: a deployment, a promotion, or versions that are gone back to.
    pub intent: &'a Intent,
    /// What is wanted beside it.
    pub wishes: &'a [ServiceWish],
    /// How it takes over, where it was said.
    pub strategy: Option<&'a Strategy>,
    /// What becomes of operations that are in the way.
    pub in_the_way: InTheWay,
    /// Whether the artifact of a version is there.
    pub has_artifact: &'a dyn Fn(&VersionRef) -> bool,
    /// How many steps the search may take.
    pub steps: u64,
    /// The time.
    pub now: Timestamp,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What has to move.
    Way(Box<Way>),
    /// Nothing does, and why.
    NoWay(Box<Answer>),
    /// Versions are not what is in the way: an operation is under way, or something else is refused whatever moves.
    Refused(Vec<Refusal>),
    /// The search took all its steps, and found neither.
    Undecided,
}

/// What has to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// An intent that names everything that moves, and can be planned.
    pub intent: Intent,
    /// What moves that nobody named.
    pub added: Vec<VersionRef>,
    /// What of it goes back to where it should not be, since nothing else works, and why it should not.
    pub despite: BTreeMap<VersionRef, String>,
    /// All of it with reasons.
    pub answer: Answer,
}

/// Finds the smallest set that moves; `None` where an intent moves no versions that are named, or names what there is not.
#[must_use]
pub fn smallest(search: &Search<'_>) -> Option<Found> {
    let environment = search.relation.world.environment(search.environment)?;
    let config = match search.intent {
        Intent::Deploy { .. } | Intent::Promote { .. } => ConfigChoice::AsItRan,
        Intent::RollBackService { config, .. } | Intent::RollBackServices { config, .. } => *config,
        _ => return None,
    };
    let resolved = resolve::resolve(search.relation.world, environment, search.intent).ok()?;
    let named = resolved.reasons.keys().filter_map(|service| {
        let version = resolved.target.get(service)?.version.clone();
        Some(VersionRef { service: service.clone(), version })
    });
    let named: Vec<_> = named.collect();
    let case = Case { search: *search, environment, named: &named, config, direction: resolved.direction };
    Some(case.find())
}

/// A search in an environment.
struct Case<'a> {
    search: Search<'a>,
    environment: &'a Environment,
    named: &'a [VersionRef],
    config: ConfigChoice,
    direction: Direction,
}

/// What became of a target that was planned as it would be asked for.
enum Tried {
    /// It can be; nothing moves where there is no plan.
    Works(Option<Box<Plan>>),
    /// No other versions would help.
    IsBeyond(Vec<Refusal>),
    /// Other versions may help.
    Fails(Vec<Refusal>),
}

impl Case<'_> {
    fn find(&self) -> Found {
        match self.find_with(Despite::Nothing) {
            Found::NoWay(answer) if self.direction == Direction::Back => self.despite(answer),
            found => found,
        }
    }

    /// Where nothing else works, what is held or retired comes back with what needs it, and no more of it than must.
    fn despite(&self, answer: Box<Answer>) -> Found {
        let mut kept = BTreeSet::new();
        let mut way = match self.find_with(Despite::AllBut(&kept)) {
            Found::NoWay(_) => return Found::NoWay(answer),
            Found::Way(way) => way,
            found => return found,
        };
        let mut tried: BTreeSet<VersionRef> = BTreeSet::new();
        while let Some(next) = way.despite.keys().find(|it| !tried.contains(*it)).cloned() {
            if tried.len() == MAX_DESPITE {
                break;
            }
            tried.insert(next.clone());
            kept.insert(next.clone());
            match self.find_with(Despite::AllBut(&kept)) {
                Found::Way(other) => way = other,
                _ => drop(kept.remove(&next)),
            }
        }
        Found::Way(way)
    }

    fn find_with(&self, despite: Despite<'_>) -> Found {
        let (mut joined, mut learned) = (Vec::new(), Vec::new());
        let mut fleet = self.fleet(&joined, despite);
        for round in 1..=u64::from(MAX_ROUNDS) {
            // All rounds together take a small multiple of the steps.
            let solution = match solve(&fleet.question.problem, WAYS, self.search.steps / round) {
                Solved::Way(solution) => solution,
                Solved::NoWay => return self.no_way(&fleet),
                Solved::Undecided => return Found::Undecided,
            };
            let tried: Vec<_> = solution.targets.iter().map(|it| (it, self.plan(&fleet, it))).collect();
            let lessons: Vec<_> =
                tried.iter().flat_map(|(it, tried)| self.lessons(&fleet, it, tried)).collect();
            if lessons.is_empty() {
                return self.decided(&fleet, &solution, tried);
            }
            let (known, had) = (learned.len(), joined.len());
            for (lesson, unknown) in lessons {
                learned.push(lesson);
                joined.extend(unknown);
            }
            if joined.len() > had {
                fleet = self.fleet(&joined, despite);
                learned.iter().for_each(|lesson| fleet.learn(lesson));
            } else {
                learned[known..].iter().for_each(|lesson| fleet.learn(lesson));
            }
        }
        Found::Undecided
    }

    fn fleet(&self, joined: &[ServiceName], despite: Despite<'_>) -> Fleet<'_> {
        let (named, direction) = (self.named, self.direction);
        let terms = Terms { named, direction, joined, despite, stands_alone: false };
        Fleet::of_wishes(&self.search, self.environment, &terms)
    }

    /// What is to be learned of a target, and who it is about that is not looked at yet.
    fn lessons(&self, fleet: &Fleet<'_>, target: &Target, tried: &Tried) -> Vec<(Learned, Vec<ServiceName>)> {
        let Tried::Fails(refusals) = tried else { return Vec::new() };
        let is_there = |service: &ServiceName| self.search.relation.world.service(service).is_some();
        let lesson = |refusal: &Refusal| {
            let (lesson, unknown) = fleet.lesson(target, refusal, self.search.environment);
            (lesson, unknown.into_iter().filter(is_there).collect())
        };
        refusals.iter().map(lesson).collect()
    }

    /// Of ways that cost the same, those count that nothing is in the way of.
    fn decided(&self, fleet: &Fleet<'_>, solution: &Solution, tried: Vec<(&Target, Tried)>) -> Found {
        let (mut ways, mut beyond) = (Vec::new(), None);
        for (target, tried) in tried {
            match tried {
                Tried::Works(plan) => ways.push((target, plan)),
                Tried::IsBeyond(refusals) | Tried::Fails(refusals) => {
                    beyond.get_or_insert((target, refusals));
                }
            }
        }
        match beyond.filter(|_| ways.is_empty()) {
            Some((target, refusals)) => Found::Refused(self.with_remedies(fleet, target, refusals)),
            None => Found::Way(Box::new(self.way(fleet, solution, &ways))),
        }
    }

    /// Says in what is refused what helps against it, unless that is tried already.
    fn with_remedies(&self, fleet: &Fleet<'_>, target: &Target, refusals: Vec<Refusal>) -> Vec<Refusal> {
        let Search { relation, environment, strategy, now, in_the_way, .. } = self.search;
        let intent = self.intent(fleet, target).filter(|_| in_the_way == InTheWay::Refuses);
        let planned = intent.map(|intent| plan(relation, environment, &intent, strategy, now));
        planned.and_then(Result::err).unwrap_or(refusals)
    }

    /// Says why there is no way. What would help is tried before it is told.
    fn no_way(&self, fleet: &Fleet<'_>) -> Found {
        let possible = |problem, ended: &[Cause]| self.possible(fleet, problem, ended);
        Found::NoWay(Box::new(fleet.question.no_way(self.search.steps, &possible)))
    }

    /// Finds the cheapest way of a problem without some causes that can be planned when they are ended.
    fn possible(&self, fleet: &Fleet<'_>, mut problem: Problem, ended: &[Cause]) -> Option<(u64, Target)> {
        let here = self.search.environment;
        for _ in 0..MAX_REMEDY_ROUNDS {
            let Solution { cost, targets, .. } = solve(&problem, 1, self.search.steps / 8).way()?;
            let target = targets.into_iter().next()?;
            let mut refusals = match self.plan(fleet, &target) {
                Tried::Works(_) => return Some((cost, target)),
                Tried::IsBeyond(_) => return None,
                Tried::Fails(refusals) => refusals,
            };
            refusals.retain(|refusal| !fleet.is_ended(refusal, (&target, here), ended));
            if refusals.is_empty() {
                return Some((cost, target));
            }
            let lessons = refusals.iter().map(|refusal| fleet.lesson(&target, refusal, here).0);
            problem.rules.extend(lessons.map(|lesson| (Cause(u32::MAX), fleet.never(&lesson))));
        }
        None
    }

    fn plan(&self, fleet: &Fleet<'_>, target: &Target) -> Tried {
        let Some(intent) = self.intent(fleet, target) else { return Tried::Works(None) };
        let refusals = match self.plan_of(&intent) {
            Ok(plan) => return Tried::Works(plan.map(Box::new)),
            Err(refusals) => refusals,
        };
        let here = self.search.environment;
        let (beyond, others): (Vec<_>, Vec<_>) =
            refusals.into_iter().partition(|refusal| is_beyond_versions(refusal, here));
        if others.is_empty() { Tried::IsBeyond(beyond) } else { Tried::Fails(others) }
    }

    /// Plans an intent as it is decided on later; `None` where nothing is left to do.
    fn plan_of(&self, intent: &Intent) -> Result<Option<Plan>, Vec<Refusal>> {
        let Search { relation, environment, strategy, now, .. } = self.search;
        let refusals = match plan_alone(relation, environment, intent, strategy, now) {
            Ok(plan) => return Ok(Some(plan)),
            Err(refusals) => refusals,
        };
        if let [Refusal::GoesThere { operation, .. }] = &refusals[..] {
            return Ok(self.environment.find_operation(operation.id).map(|found| found.plan.clone()));
        }
        let operations = in_the_way(relation.world.environment(environment), &refusals);
        if self.search.in_the_way == InTheWay::Refuses || operations.is_empty() {
            return Err(refusals);
        }
        let (world, _) = without(relation.world, &operations, intent, (&Actor::lockstep(), now));
        let relation = Relation { world: &world, contracts: relation.contracts };
        match plan_alone(relation, environment, intent, strategy, now) {
            Ok(plan) => Ok(Some(plan)),
            Err(refusals) if matches!(&refusals[..], [only] if only.is_there_already()) => Ok(None),
            Err(refusals) => Err(refusals),
        }
    }

    /// The intent that names all that moves; `None` where nothing does.
    fn intent(&self, fleet: &Fleet<'_>, target: &Target) -> Option<Intent> {
        let versions = fleet.moved(target);
        if versions.is_empty() {
            return None;
        }
        Some(match self.direction {
            Direction::Forward => Intent::Deploy { versions },
            Direction::Back => Intent::RollBackServices { versions, config: self.config },
        })
    }

    fn way(&self, fleet: &Fleet<'_>, solution: &Solution, ways: &[(&Target, Option<Box<Plan>>)]) -> Way {
        let why = fleet.why(self.search.relation);
        let told = |(target, plan): &(&Target, Option<Box<Plan>>)| {
            let steps = plan.as_ref().map(|plan| steps(plan)).unwrap_or_default();
            let mut moves = fleet.question.moves(target, &why);
            for (version, why) in self.despite_of(&self.added(fleet, target)) {
                let part = moves.iter_mut().find(|part| part.service == version.service.as_str());
                part.into_iter().for_each(|part| part.because.push(format!("{why}, and nothing else works")));
            }
            Alternative { cost: solution.cost, moves, steps }
        };
        let mut told = ways.iter().map(told);
        let first = told.next().unwrap_or_default();
        let plan = ways.first().and_then(|(_, plan)| plan.as_deref());
        let reasons = plan.map(order_reasons).unwrap_or_default();
        let answer = Answer::of_ways(first, told.collect(), reasons, solution.is_proved);
        let target = ways.first().map(|(target, _)| *target);
        let added = target.map(|target| self.added(fleet, target)).unwrap_or_default();
        // What was asked for is recorded as it was asked where it says everything.
        let is_all = added.is_empty() && self.search.wishes.is_empty();
        let intent = target.filter(|_| !is_all).and_then(|target| self.intent(fleet, target));
        let intent = intent.unwrap_or_else(|| self.search.intent.clone());
        Way { intent, despite: self.despite_of(&added), added, answer }
    }

    /// What a target moves that nobody named.
    fn added(&self, fleet: &Fleet<'_>, target: &Target) -> Vec<VersionRef> {
        let world = self.search.relation.world;
        let is_named = |service: &ServiceName| {
            self.named.iter().any(|version| version.service == *service)
                || self.search.wishes.iter().any(|wish| world.current_name(&wish.service) == service)
        };
        fleet.moved(target).into_iter().filter(|version| !is_named(&version.service)).collect()
    }

    /// What of versions that go back should not, and why.
    fn despite_of(&self, added: &[VersionRef]) -> BTreeMap<VersionRef, String> {
        let back = added.iter().filter(|_| self.direction == Direction::Back);
        let why = |version: &VersionRef| {
            let all = against(&self.search, self.environment, version);
            let told: Vec<_> = all.iter().filter(|it| is_kept_away(it)).map(ToString::to_string).collect();
            (!told.is_empty()).then(|| (version.clone(), told.join(" and ")))
        };
        back.filter_map(why).collect()
    }
}

fn steps(plan: &Plan) -> Vec<Vec<String>> {
    let wave =
        |wave: &Vec<crate::operation::Move>| wave.iter().map(|part| part.service.to_string()).collect();
    plan.waves.iter().map(wave).collect()
}

/// What forces the order of a plan.
fn order_reasons(plan: &Plan) -> Vec<OrderReason> {
    let of = |service: &ServiceName, reason: &Reason| {
        let (before, after) = match reason {
            Reason::NeedsNew { provider, .. } => (provider, service),
            Reason::OldNeeds { provider, .. } => (service, provider),
            _ => return None,
        };
        let [before, after] = [before, after].map(ToString::to_string);
        Some(OrderReason { before, after, why: format!("{service} goes {reason}") })
    };
    plan.moves().flat_map(|part| part.reasons.iter().filter_map(|reason| of(&part.service, reason))).collect()
}
