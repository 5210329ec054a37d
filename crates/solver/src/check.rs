//! Looks at every state of finished steps, in the plainest way: no clauses, no arcs, every rule read as it is written.
//!
//! It uses nothing of what made the steps, so that a mistake there is not made here again.

use crate::problem::{Cause, Problem, Rule, Versions};

/// What is wrong with steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A service that is not there, or a version that it does not have.
    Unknown {
        /// The number of the service.
        service: usize,
    },
    /// Not every service that the target moves moves in exactly one step, or another one moves.
    Moves {
        /// The service.
        service: usize,
    },
    /// A rule that the target breaks.
    Target {
        /// Where the rule comes from.
        cause: Cause,
    },
    /// A need that the start keeps and a state between two steps breaks.
    Between {
        /// After how many steps.
        steps: usize,
        /// Where the need comes from.
        cause: Cause,
    },
}

/// Checks that steps lead from the start to a target that keeps all rules, through states that keep all needs that the start keeps.
///
/// # Errors
///
/// The first fault, which is a mistake of whoever made the steps.
pub fn check(problem: &Problem, target: &[u32], steps: &[Vec<usize>]) -> Result<(), Fault> {
    if target.len() != problem.services.len() {
        return Err(Fault::Unknown { service: target.len().min(problem.services.len()) });
    }
    if let Some(service) = (0..target.len()).find(|&it| target[it] >= problem.services[it].versions) {
        return Err(Fault::Unknown { service });
    }
    each_moves_once(problem, target, steps)?;
    if let Some((cause, _)) = problem.rules.iter().find(|(_, rule)| !keeps(rule, target)) {
        return Err(Fault::Target { cause: *cause });
    }
    let start = problem.start();
    let mut state = start.clone();
    let needs = needs_of_each(problem);
    for (taken, step) in steps.iter().enumerate() {
        step.iter().for_each(|&service| state[service] = target[service]);
        let breaks = |rule: &Rule| keeps(rule, &start) && !keeps(rule, &state);
        // A need of which neither end moved is as it was.
        let touched = step.iter().flat_map(|&service| &needs[service]);
        if let Some((cause, _)) = touched.map(|&rule| &problem.rules[rule]).find(|(_, rule)| breaks(rule)) {
            return Err(Fault::Between { steps: taken + 1, cause: *cause });
        }
    }
    Ok(())
}

/// The needs of each service, at both of their ends, by their places among the rules.
fn needs_of_each(problem: &Problem) -> Vec<Vec<usize>> {
    let mut needs = vec![Vec::new(); problem.services.len()];
    for (at, (_, rule)) in problem.rules.iter().enumerate() {
        if let Rule::Need(need) = rule {
            needs[need.consumer].push(at);
            needs[need.provider].push(at);
        }
    }
    needs
}

fn each_moves_once(problem: &Problem, target: &[u32], steps: &[Vec<usize>]) -> Result<(), Fault> {
    let mut times = vec![0; target.len()];
    for &service in steps.iter().flatten() {
        *times.get_mut(service).ok_or(Fault::Unknown { service })? += 1;
    }
    let should = |service: usize| i32::from(target[service] != problem.services[service].current);
    match (0..target.len()).find(|&service| times[service] != should(service)) {
        Some(service) => Err(Fault::Moves { service }),
        None => Ok(()),
    }
}

fn keeps(rule: &Rule, state: &[u32]) -> bool {
    match rule {
        Rule::Bar(bar) => state[bar.service] < bar.versions.start || state[bar.service] >= bar.versions.end,
        Rule::Need(need) => {
            let is_in = |versions: &Versions, at: u32| {
                versions.parts().iter().any(|it| it.start <= at && at < it.end)
            };
            !is_in(&need.used, state[need.consumer]) || is_in(&need.offered, state[need.provider])
        }
        Rule::Never(all) => all.iter().any(|bar| !bar.versions.contains(&state[bar.service])),
    }
}
