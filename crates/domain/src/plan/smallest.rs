//! The smallest set: what has to move for what is wanted of an environment, exactly; or why nothing does.
//!
//! The search is a part of its own, and [`plan`](crate::plan::plan) does not ask it: it may take long, and nothing waits for it while the
//! world can be changed. What it finds is an ordinary intent, which is planned and checked like any other.
//!
//! What is looked at is relaxed first: versions, requirements, stages, holds, resources and artifacts are rules of the solver, and everything
//! else that a plan is refused for is learned from the refusals of what was found. Each says which services at which versions it is about;
//! these never come together again, and the search goes on. So what is found is the smallest that can be planned.

mod export;
mod fleet;
mod wish;

use lockstep_solver::{Bar, Rule, Solution, Solved, Target, solve};
use lockstep_what_if::{Alternative, Answer, OrderReason, Origin};

use crate::compat::Relation;
use crate::intent::{ConfigChoice, Intent, Strategy};
use crate::name::{EnvironmentName, ServiceName};
use crate::operation::{Plan, Reason};
use crate::plan::database_refusal::DatabaseRefusal;
use crate::plan::order::Direction;
use crate::plan::refusal::{Conflict, Refusal};
use crate::plan::{plan_alone, resolve};
use crate::time::Timestamp;
use crate::version::VersionRef;

pub use export::export;
use fleet::Fleet;
pub use wish::{ServiceWish, Wanted};

/// How many ways of the least cost are told, at most.
const WAYS: usize = 4;
/// How often the search goes on after what it found could not be planned. Each time, at least one pair of versions is out; more than this
/// many are hardly found for a person who waits.
const MAX_ROUNDS: u32 = 60;

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
    let case = Case { search: *search, named: &named, config, direction: resolved.direction };
    Some(case.find(Fleet::of_wishes(search, environment, (&named, resolved.direction))))
}

/// A search in an environment.
struct Case<'a> {
    search: Search<'a>,
    named: &'a [VersionRef],
    config: ConfigChoice,
    direction: Direction,
}

impl Case<'_> {
    fn find(&self, mut fleet: Fleet<'_>) -> Found {
        for round in 1..=u64::from(MAX_ROUNDS) {
            // All rounds together take a small multiple of the steps.
            let solution = match solve(&fleet.question.problem, WAYS, self.search.steps / round) {
                Solved::Way(solution) => solution,
                Solved::NoWay => return Found::NoWay(Box::new(fleet.question.no_way(self.search.steps))),
                Solved::Undecided => return Found::Undecided,
            };
            let (mut plans, mut refused) = (Vec::new(), Vec::new());
            for target in &solution.targets {
                match self.plan(&fleet, target) {
                    Ok(plan) => plans.push(plan),
                    Err(refusals) => refused.push((target, refusals)),
                }
            }
            if refused.is_empty() {
                return Found::Way(Box::new(self.way(&fleet, &solution, &plans)));
            }
            for (target, refusals) in refused {
                refusals.iter().for_each(|refusal| fleet.forbid(target, refusal));
            }
        }
        Found::Undecided
    }

    /// Plans a target as it would be asked for; `None` where nothing moves.
    fn plan(&self, fleet: &Fleet<'_>, target: &Target) -> Result<Option<Plan>, Vec<Refusal>> {
        let Some(intent) = self.intent(fleet, target) else { return Ok(None) };
        let Search { relation, environment, strategy, now, .. } = self.search;
        plan_alone(relation, environment, &intent, strategy, now).map(Some)
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

    fn way(&self, fleet: &Fleet<'_>, solution: &Solution, plans: &[Option<Plan>]) -> Way {
        let why = fleet.why(self.search.relation);
        let told = |(target, plan): (&Target, &Option<Plan>)| {
            let steps = plan.as_ref().map(steps).unwrap_or_default();
            Alternative { cost: solution.cost, moves: fleet.question.moves(target, &why), steps }
        };
        let mut ways = solution.targets.iter().zip(plans).map(told);
        let first = ways.next().unwrap_or_default();
        let reasons = plans.first().and_then(Option::as_ref).map(order_reasons).unwrap_or_default();
        let answer = Answer::of_ways(first, ways.collect(), reasons, solution.is_proved);
        let is_named = |service: &ServiceName| {
            self.named.iter().any(|version| version.service == *service)
                || self.search.wishes.iter().any(|wish| wish.service == *service)
        };
        let target = solution.targets.first();
        let moved = target.map(|target| fleet.moved(target)).unwrap_or_default();
        let added: Vec<_> = moved.iter().filter(|version| !is_named(&version.service)).cloned().collect();
        // What was asked for is recorded as it was asked where it says everything.
        let is_all = added.is_empty() && self.search.wishes.is_empty();
        let intent = target.filter(|_| !is_all).and_then(|target| self.intent(fleet, target));
        Way { intent: intent.unwrap_or_else(|| self.search.intent.clone()), added, answer }
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

impl Fleet<'_> {
    /// What a refusal is about never comes together again.
    fn forbid(&mut self, target: &Target, refusal: &Refusal) {
        let moved = self.question.problem.moved(target);
        let about: Vec<usize> = match blamed(refusal) {
            Some(services) => services.iter().filter_map(|service| self.find(service)).collect(),
            None => moved.clone(),
        };
        // A refusal of what does not move at all is one of everything that does.
        let about = if about.iter().any(|service| moved.contains(service)) { about } else { moved };
        let at = |&service: &usize| Bar { service, versions: target[service]..target[service] + 1 };
        let rule = Rule::Never(about.iter().map(at).collect());
        self.question.add(Origin::Other { text: refusal.to_string(), lift: None }, [rule]);
    }
}

/// Whose versions a refusal is about; `None` where it may be about all that moves.
fn blamed(refusal: &Refusal) -> Option<Vec<ServiceName>> {
    let of = |versions: &[&VersionRef]| Some(versions.iter().map(|it| it.service.clone()).collect());
    match refusal {
        Refusal::Unmet(unmet) => Some(vec![unmet.consumer.service.clone(), unmet.provider.clone()]),
        Refusal::Held { version, .. }
        | Refusal::StageTooEarly { version, .. }
        | Refusal::StageEnded { version, .. }
        | Refusal::NoResource { version, .. }
        | Refusal::NoAddress { version, .. }
        | Refusal::FixedPort { version, .. }
        | Refusal::NeverRan { version, .. }
        | Refusal::Forward { version, .. }
        | Refusal::SpeaksOtherwise { version, .. } => of(&[version]),
        Refusal::PortTaken { version, by, environment: _, .. } => of(&[version, by]),
        Refusal::CallsWorker { caller, worker: other, .. } | Refusal::NoUrl { caller, called: other, .. } => {
            of(&[caller, other])
        }
        Refusal::Reference { service, .. }
        | Refusal::Revoked { service, .. }
        | Refusal::StageUnknown { service, .. } => Some(vec![service.clone()]),
        Refusal::Database(
            DatabaseRefusal::Contracted { version, .. }
            | DatabaseRefusal::StandsBehind { version, .. }
            | DatabaseRefusal::CannotStop { version, .. },
        ) => of(&[version]),
        Refusal::RouteTaken { first, second, .. } => Some(vec![first.clone(), second.clone()]),
        Refusal::Busy { conflict, .. } => match &**conflict {
            Conflict::SameService(service) => Some(vec![service.clone()]),
            _ => None,
        },
        _ => None,
    }
}
