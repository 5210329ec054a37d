//! What is said of a fleet and a wish.

use lockstep_solver::{
    Cause, Core, Fault, Need, Problem, Rule, Solution, Solved, Target, check, core, order, solve,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::derivation::derive;
use crate::fleet::Fleet;
use crate::names::{Mistake, number};
use crate::question::{Lift, Origin, Question};
use crate::words::{is_barrier, listed};

/// How many ways of the least cost are told, at most.
pub(crate) const WAYS: usize = 4;

/// How many steps a search takes, at most. A fleet of 1,000 services that came about in time needs some hundred; one that is made to take
/// for ever is given up after seconds.
pub const STEPS: u64 = 20_000;

/// How many causes of a contradiction are tried to do without, each by itself: more than this are no help to anybody.
const MAX_TRIED: usize = 20;
/// How many things that keep versions away are told to be ended together.
const MAX_TOGETHER: usize = 8;
/// How many bridges are told.
const MAX_BRIDGES: usize = 10;

/// Says why a version of a consumer does not work with a version of a provider, where there are better words than those of the need.
pub type Why<'a> = &'a dyn Fn(&Need, u32, u32) -> Option<String>;

/// Tries a problem that is without some causes: what the cheapest way that can be gone costs then, and where it leads.
pub type Possible<'a> = &'a dyn Fn(Problem, &[Cause]) -> Option<(u64, Target)>;

/// What would have to move, or why it cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Whether there are versions that keep every rule.
    pub solvable: bool,
    /// The sum of the criticalities of what moves; `null` when nothing is possible.
    pub cost: Option<u64>,
    /// Whether it is proved that nothing costs less, and nothing of that cost goes fewer versions. Where it is not, the search was over
    /// before, and this is the best that it found.
    pub is_smallest: bool,
    /// What moves; of all ways of that cost the one that goes the fewest versions.
    pub moves: Vec<Move>,
    /// Other sets of services that cost the same, up to three.
    pub alternatives: Vec<Alternative>,
    /// Services that switch together, one step after the other: everything works between two steps.
    pub steps: Vec<Vec<String>>,
    /// Why steps are in this order, or join several services.
    pub order_reasons: Vec<OrderReason>,
    /// What contradicts itself when nothing is possible.
    pub core: Vec<Contradiction>,
    /// Whether it is proved that nothing of it could be left out.
    pub is_minimal: bool,
    /// What would make it possible, each by itself.
    pub remedies: Vec<Remedy>,
    /// All of it in sentences.
    pub explanation: String,
}

/// A service that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Move {
    /// The service.
    pub service: String,
    /// The version that runs.
    pub from: String,
    /// The version that it goes to.
    pub to: String,
    /// Why it cannot stay while the others go.
    pub because: Vec<String>,
}

/// Another way that costs the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alternative {
    /// What it costs.
    pub cost: u64,
    /// What moves.
    pub moves: Vec<Move>,
    /// Services that switch together, one step after the other.
    pub steps: Vec<Vec<String>>,
}

/// One service goes before, or together with, another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderReason {
    /// The one that goes first.
    pub before: String,
    /// The one that goes after it.
    pub after: String,
    /// What would not work otherwise.
    pub why: String,
}

/// A part of a contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Contradiction {
    /// A wish.
    Intent {
        /// Its place among the wishes.
        index: usize,
        /// The service.
        service: String,
        /// What it says.
        text: String,
    },
    /// A pinned service.
    Pinned {
        /// The service.
        service: String,
        /// What it says.
        text: String,
    },
    /// A feature.
    Feature {
        /// Its place among the features.
        index: usize,
        /// Its name.
        feature: String,
        /// Who uses it.
        consumer: String,
        /// Who offers it.
        provider: String,
        /// What it says.
        text: String,
    },
    /// What a version of a service requires of another one.
    Requirement {
        /// Who requires it.
        consumer: String,
        /// Of whom.
        provider: String,
        /// What it says.
        text: String,
    },
    /// Anything else that must not be: a hold, a stage, an artifact that is gone.
    Other {
        /// What it says.
        text: String,
    },
}

/// Something without which there would be a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// What to do.
    pub what: String,
    /// What the cheapest way would cost then.
    pub cost: u64,
    /// The command for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// All that is wrong in the fleet.
    Mistakes(Vec<Mistake>),
    /// The planner is wrong: a check that is written apart from it found that its steps break something.
    OwnFault(Fault),
    /// The search took so many steps and found neither a way nor that there is none.
    Undecided(u64),
}

/// Answers what would have to move, in [`STEPS`] steps of search at most.
///
/// # Errors
///
/// When the fleet has mistakes, the search was too long, or the answer would be wrong.
pub fn answer(fleet: &Fleet) -> Result<Answer, Unanswered> {
    let question = number(fleet).map_err(Unanswered::Mistakes)?;
    let why: Why<'_> = &|_, _, _| None;
    match solve(&question.problem, WAYS, STEPS) {
        Solved::Way(solution) => question.ways(&solution, why).map_err(Unanswered::OwnFault),
        Solved::NoWay => Ok(question.no_way(STEPS, &|problem, _| {
            let Solution { cost, targets, .. } = solve(&problem, 1, STEPS / 8).way()?;
            Some((cost, targets.into_iter().next()?))
        })),
        Solved::Undecided => Err(Unanswered::Undecided(STEPS)),
    }
}

impl Question {
    /// Says what a solution moves, in which steps and why.
    ///
    /// # Errors
    ///
    /// What is wrong in the steps, which is a mistake of whoever made them.
    pub fn ways(&self, solution: &Solution, why: Why<'_>) -> Result<Answer, Fault> {
        let ways = solution.targets.iter().map(|target| self.way(target, solution.cost, why));
        let mut ways = ways.collect::<Result<Vec<_>, _>>()?.into_iter();
        let (first, order_reasons) = ways.next().unwrap_or_default();
        let others = ways.map(|(way, _)| way).collect();
        Ok(Answer::of_ways(first, others, order_reasons, solution.is_proved))
    }

    /// A target as moves in steps, with the reasons for their order.
    fn way(&self, target: &[u32], cost: u64, why: Why<'_>) -> Result<(Alternative, Vec<OrderReason>), Fault> {
        let order = order(&self.problem, target);
        check(&self.problem, target, &order.steps)?;
        let names = |step: &Vec<usize>| step.iter().map(|&it| self.name(it).to_owned()).collect();
        let touching = self.touching();
        let reason = |arc: &lockstep_solver::Arc| OrderReason {
            before: self.name(arc.before).to_owned(),
            after: self.name(arc.after).to_owned(),
            why: self.why(arc, target, &touching, why),
        };
        let steps = order.steps.iter().map(names).collect();
        Ok((
            Alternative { cost, moves: self.moves(target, why), steps },
            order.arcs.iter().map(reason).collect(),
        ))
    }

    /// What a target moves, and why.
    #[must_use]
    pub fn moves(&self, target: &[u32], why: Why<'_>) -> Vec<Move> {
        let touching = self.touching();
        let moving = |service: usize| Move {
            service: self.name(service).to_owned(),
            from: self.version(service, self.problem.services[service].current).to_owned(),
            to: self.version(service, target[service]).to_owned(),
            because: self.because(target, service, &touching, why),
        };
        self.problem.moved(target).into_iter().map(moving).collect()
    }

    /// Says why there is no way, and what would make one, as far as that is possible indeed.
    #[must_use]
    pub fn no_way(&self, steps: u64, possible: Possible<'_>) -> Answer {
        let Core { causes, is_minimal } = core(&self.problem, steps).unwrap_or_default();
        let remedies = self.remedies(&causes, possible);
        let mut told = vec!["There is no way:".to_owned()];
        told.extend(derive(self, &causes));
        if !is_minimal {
            told.push("The search was over before it was proved that all of this is needed.".to_owned());
        }
        told.extend(remedies.iter().map(|it| {
            let command = it.command.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            format!("It would work to {} (cost {}){command}.", it.what, it.cost)
        }));
        told.extend(self.bridges(&causes));
        Answer {
            core: causes.iter().map(|&cause| self.contradiction(cause)).collect(),
            is_minimal,
            remedies,
            explanation: told.join("\n"),
            ..Answer::default()
        }
    }

    fn contradiction(&self, cause: Cause) -> Contradiction {
        let text = self.told(cause);
        let need = self.need_of(cause);
        let ends = |need: &Need| [need.consumer, need.provider].map(|it| self.name(it).to_owned());
        match (self.origin(cause), need) {
            (Origin::Wish { index, service, .. }, _) => {
                Contradiction::Intent { index: *index, service: self.name(*service).to_owned(), text }
            }
            (Origin::Pin(at), _) => Contradiction::Pinned { service: self.name(*at).to_owned(), text },
            (Origin::Feature { index, name }, Some(need)) => {
                let ([consumer, provider], feature) = (ends(need), name.clone());
                Contradiction::Feature { index: *index, feature, consumer, provider, text }
            }
            (Origin::Requirement { .. }, Some(need)) => {
                let [consumer, provider] = ends(need);
                Contradiction::Requirement { consumer, provider, text }
            }
            _ => Contradiction::Other { text },
        }
    }

    /// Causes of a contradiction that somebody can end, and without which there is a way, each by itself. Where no single thing that keeps
    /// versions away is enough to end, those are told that are enough together.
    fn remedies(&self, core: &[Cause], possible: Possible<'_>) -> Vec<Remedy> {
        let can_end = |cause: &&Cause| match self.origin(**cause) {
            Origin::Wish { .. } | Origin::Pin(_) => true,
            Origin::Other { lifts, .. } => !lifts.is_empty(),
            Origin::Feature { .. } | Origin::Requirement { .. } => false,
        };
        let tried = core.iter().filter(can_end).take(MAX_TRIED);
        let single = |cause: &Cause| {
            let (cost, target) = possible(self.without(&[*cause]), &[*cause])?;
            Some((*cause, self.remedy(&[*cause], cost, &target)?))
        };
        let singles: Vec<_> = tried.filter_map(single).collect();
        let is_lift = |(cause, _): &(Cause, Remedy)| matches!(self.origin(*cause), Origin::Other { .. });
        let together = if singles.iter().any(is_lift) { None } else { self.together(possible) };
        singles.into_iter().map(|(_, remedy)| remedy).chain(together).collect()
    }

    /// What keeps versions away, and is enough to end together: no part of it is.
    fn together(&self, possible: Possible<'_>) -> Option<Remedy> {
        let causes = self.problem.rules.iter().map(|(cause, _)| *cause);
        let mut ended: Vec<Cause> = causes.filter(|&cause| self.has_lift(cause)).collect();
        ended.dedup();
        let (mut cost, mut target) = possible(self.without(&ended), &ended)?;
        ended.retain(|&cause| self.lift(cause, &target).is_some());
        if ended.len() > MAX_TOGETHER {
            return None;
        }
        for cause in ended.clone() {
            let fewer: Vec<Cause> = ended.iter().copied().filter(|it| *it != cause).collect();
            if let Some(found) = possible(self.without(&fewer), &fewer) {
                (cost, target) = found;
                ended = fewer;
            }
        }
        self.remedy(&ended, cost, &target)
    }

    fn has_lift(&self, cause: Cause) -> bool {
        matches!(self.origin(cause), Origin::Other { lifts, .. } if !lifts.is_empty())
    }

    /// What ends causes for a target that they are in the way of; `None` where one of them has nothing that does.
    fn remedy(&self, causes: &[Cause], cost: u64, target: &[u32]) -> Option<Remedy> {
        let ends: Option<Vec<_>> = causes.iter().map(|&cause| self.ends(cause, target)).collect();
        let (what, commands): (Vec<String>, Vec<Option<String>>) = ends?.into_iter().unzip();
        let commands: Vec<String> = commands.into_iter().flatten().collect();
        let command = (!commands.is_empty()).then(|| commands.join(" && "));
        (!what.is_empty()).then(|| Remedy { what: listed(&what), cost, command })
    }

    fn ends(&self, cause: Cause, target: &[u32]) -> Option<(String, Option<String>)> {
        match self.origin(cause) {
            Origin::Wish { service, wanted, command, .. } => {
                Some((format!("give up that {} is wanted {wanted}", self.name(*service)), command.clone()))
            }
            Origin::Pin(at) => Some((format!("lift the pin of {}", self.name(*at)), None)),
            Origin::Other { .. } => {
                let Lift { what, command, .. } = self.lift(cause, target)?;
                Some((what.clone(), Some(command.clone())))
            }
            Origin::Feature { .. } | Origin::Requirement { .. } => None,
        }
    }

    /// What lets the version come that a target has.
    fn lift(&self, cause: Cause, target: &[u32]) -> Option<&Lift> {
        let Origin::Other { lifts, .. } = self.origin(cause) else { return None };
        let services = self.rules_of(cause).iter().filter_map(|(_, rule)| match rule {
            Rule::Bar(bar) => Some(bar.service),
            Rule::Need(_) | Rule::Never(_) => None,
        });
        let mut at = services.map(|service| target[service]);
        at.find_map(|at| lifts.iter().find(|lift| lift.version == at))
    }

    /// New versions that would hold both sides of a contradiction.
    fn bridges(&self, core: &[Cause]) -> Vec<String> {
        let offered = |cause: &Cause| {
            let need = self.need_of(*cause).filter(|need| !is_barrier(need))?;
            let what = match self.origin(*cause) {
                Origin::Feature { name, .. } => format!("offers `{name}`"),
                Origin::Requirement { text } => {
                    format!("is {text} for {}", self.name(need.consumer))
                }
                Origin::Wish { .. } | Origin::Pin(_) | Origin::Other { .. } => return None,
            };
            Some((self.name(need.provider), what))
        };
        let all: Vec<_> = core.iter().filter_map(offered).collect();
        let mut providers: Vec<&str> = all.iter().map(|(provider, _)| *provider).collect();
        providers.sort_unstable();
        providers.dedup();
        let bridge = |provider: &&str| {
            let of = all.iter().filter(|(it, _)| it == provider).map(|(_, what)| what.clone());
            let mut offered: Vec<String> = of.collect();
            offered.dedup();
            offered.truncate(MAX_BRIDGES);
            format!("Or by a bridge: a version of {provider} that may run and {}.", listed(&offered))
        };
        let more = providers.len().saturating_sub(MAX_BRIDGES);
        let more = (more > 0).then(|| format!("Or by a bridge of one of {more} more services."));
        providers.iter().take(MAX_BRIDGES).map(bridge).chain(more).collect()
    }
}

impl Answer {
    /// Says a way, and others that cost the same.
    #[must_use]
    pub fn of_ways(
        way: Alternative,
        alternatives: Vec<Alternative>,
        order_reasons: Vec<OrderReason>,
        is_smallest: bool,
    ) -> Self {
        let mut explanation = explain(&way, &order_reasons);
        if !is_smallest {
            explanation.push_str("\nThe search was over before it was proved that nothing smaller works.");
        }
        let Alternative { cost, moves, steps } = way;
        let cost = Some(cost);
        Self {
            solvable: true,
            cost,
            is_smallest,
            moves,
            alternatives,
            steps,
            order_reasons,
            explanation,
            ..Self::default()
        }
    }
}

/// A way in sentences.
fn explain(way: &Alternative, reasons: &[OrderReason]) -> String {
    if way.moves.is_empty() {
        return "Nothing has to move.".into();
    }
    let mut told = Vec::new();
    for it in &way.moves {
        told.push(format!("{} goes from {} to {}: {}.", it.service, it.from, it.to, it.because.join("; ")));
    }
    for (number, step) in (1..).zip(&way.steps) {
        let together = if step.len() > 1 { " together" } else { "" };
        told.push(format!(
            "Step {number}: {} switch{}{together}.",
            listed(step),
            if step.len() > 1 { "" } else { "es" }
        ));
    }
    told.extend(reasons.iter().map(|it| format!("{} not after {}: {}.", it.before, it.after, it.why)));
    told.join("\n")
}
