//! What is said of a fleet and a wish.

use lockstep_solver::{Cause, Fault, check, core, order, solve};
use serde::Serialize;

use crate::derivation::derive;
use crate::fleet::Fleet;
use crate::names::{Mistake, Numbered, Origin, number};
use crate::words::listed;

/// How many ways of the least cost are told, at most.
const WAYS: usize = 4;

/// What would have to move, or why it cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Whether there are versions that keep every rule.
    pub solvable: bool,
    /// The sum of the criticalities of what moves, the least that is possible; `null` when nothing is.
    pub cost: Option<u64>,
    /// What moves; of all ways of that cost the one that goes the fewest versions.
    pub moves: Vec<Move>,
    /// Other sets of services that cost the same, up to three.
    pub alternatives: Vec<Alternative>,
    /// Services that switch together, one step after the other: everything works between two steps.
    pub steps: Vec<Vec<String>>,
    /// Why steps are in this order, or join several services.
    pub order_reasons: Vec<OrderReason>,
    /// What contradicts itself when nothing is possible, without anything that could be left out.
    pub core: Vec<Contradiction>,
    /// What would make it possible, each by itself.
    pub remedies: Vec<Remedy>,
    /// All of it in sentences.
    pub explanation: String,
}

/// A service that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// What it costs.
    pub cost: u64,
    /// What moves.
    pub moves: Vec<Move>,
    /// Services that switch together, one step after the other.
    pub steps: Vec<Vec<String>>,
}

/// One service goes before, or together with, another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderReason {
    /// The one that goes first.
    pub before: String,
    /// The one that goes after it.
    pub after: String,
    /// What would not work otherwise.
    pub why: String,
}

/// A part of a contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

/// Something without which there would be a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to do.
    pub what: String,
    /// What the cheapest way would cost then.
    pub cost: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// All that is wrong in the fleet.
    Mistakes(Vec<Mistake>),
    /// The planner is wrong: a check that is written apart from it found that its steps break something.
    OwnFault(Fault),
}

/// Answers what would have to move.
///
/// # Errors
///
/// When the fleet has mistakes, or the answer would be wrong.
pub fn answer(fleet: &Fleet) -> Result<Answer, Unanswered> {
    let numbered = number(fleet).map_err(Unanswered::Mistakes)?;
    let Some(solution) = solve(&numbered.problem, WAYS) else { return Ok(numbered.impossible()) };
    let ways = solution.targets.iter().map(|target| numbered.way(target, solution.cost));
    let mut ways = ways.collect::<Result<Vec<_>, _>>().map_err(Unanswered::OwnFault)?.into_iter();
    let (first, order_reasons) = ways.next().unwrap_or_default();
    let explanation = explain(&first, &order_reasons);
    Ok(Answer {
        solvable: true,
        cost: Some(solution.cost),
        moves: first.moves,
        alternatives: ways.map(|(way, _)| way).collect(),
        steps: first.steps,
        order_reasons,
        explanation,
        ..Answer::default()
    })
}

impl Numbered<'_> {
    /// A target as moves in steps, with the reasons for their order.
    fn way(&self, target: &[u32], cost: u64) -> Result<(Alternative, Vec<OrderReason>), Fault> {
        let order = order(&self.problem, target);
        check(&self.problem, target, &order.steps)?;
        let names = |step: &Vec<usize>| step.iter().map(|&it| self.name(it).to_owned()).collect();
        let reason = |arc: &lockstep_solver::Arc| OrderReason {
            before: self.name(arc.before).to_owned(),
            after: self.name(arc.after).to_owned(),
            why: self.why(arc, target),
        };
        let moves = self.problem.moved(target).into_iter().map(|it| self.moving(target, it)).collect();
        let steps = order.steps.iter().map(names).collect();
        Ok((Alternative { cost, moves, steps }, order.arcs.iter().map(reason).collect()))
    }

    fn moving(&self, target: &[u32], service: usize) -> Move {
        Move {
            service: self.name(service).to_owned(),
            from: self.version(service, self.problem.services[service].current).to_owned(),
            to: self.version(service, target[service]).to_owned(),
            because: self.because(target, service),
        }
    }

    /// What is said where there is no way.
    fn impossible(&self) -> Answer {
        let core = core(&self.problem).unwrap_or_default();
        let remedies = self.remedies(&core);
        let mut told = vec!["There is no way:".to_owned()];
        told.extend(derive(self, &core));
        told.extend(remedies.iter().map(|it| format!("It would work to {} (cost {}).", it.what, it.cost)));
        told.extend(self.bridges(&core));
        Answer {
            core: core.iter().map(|&cause| self.contradiction(cause)).collect(),
            remedies,
            explanation: told.join("\n"),
            ..Answer::default()
        }
    }

    fn contradiction(&self, cause: Cause) -> Contradiction {
        let text = self.told(cause);
        match self.origin(cause) {
            Origin::Wish(index) => {
                Contradiction::Intent { index, service: self.fleet.intent[index].service.clone(), text }
            }
            Origin::Pin(at) => Contradiction::Pinned { service: self.name(at).to_owned(), text },
            Origin::Feature(index) => {
                let feature = &self.fleet.features[index];
                let (name, consumer, provider) = (&feature.name, &feature.consumer, &feature.provider);
                let [feature, consumer, provider] = [name, consumer, provider].map(Clone::clone);
                Contradiction::Feature { index, feature, consumer, provider, text }
            }
        }
    }

    /// Pins and wishes of a contradiction without which there is a way, each by itself. A service whose only wish is gone is pinned again.
    fn remedies(&self, core: &[Cause]) -> Vec<Remedy> {
        let remedy = |cause: &Cause| {
            let mut fleet = self.fleet.clone();
            let what = match self.origin(*cause) {
                Origin::Wish(at) => {
                    let wish = fleet.intent.remove(at);
                    format!("give up that {} is wanted {}", wish.service, Self::wanted(&wish))
                }
                Origin::Pin(at) => {
                    fleet.services[at].pinned = false;
                    format!("lift the pin of {}", self.name(at))
                }
                Origin::Feature(_) => return None,
            };
            let cost = solve(&number(&fleet).ok()?.problem, 1)?.cost;
            Some(Remedy { what, cost })
        };
        core.iter().filter_map(remedy).collect()
    }

    /// New versions that would hold both sides of a contradiction.
    fn bridges(&self, core: &[Cause]) -> Vec<String> {
        let features = core.iter().filter_map(|&cause| match self.origin(cause) {
            Origin::Feature(at) => Some(&self.fleet.features[at]),
            Origin::Wish(_) | Origin::Pin(_) => None,
        });
        let features: Vec<_> = features.collect();
        let mut providers: Vec<&str> = features.iter().map(|it| it.provider.as_str()).collect();
        providers.sort_unstable();
        providers.dedup();
        let bridge = |provider: &&str| {
            let of = features.iter().filter(|it| it.provider == **provider);
            let offered: Vec<String> = of.map(|it| format!("`{}`", it.name)).collect();
            let all = if offered.len() > 1 { "all of " } else { "" };
            format!(
                "Or by a bridge: a version of {provider} that may run and offers {all}{}.",
                listed(&offered)
            )
        };
        providers.iter().map(bridge).collect()
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
