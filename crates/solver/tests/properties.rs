//! The solver beside brute force, on small fleets made by chance.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use lockstep_solver::{
    Bar, Burden, Cause, Fault, Need, Preference, Problem, Rule, Service, Solved, Target, Versions, check,
    core, order, solve,
};
use proptest::prelude::*;

const MOST: usize = 4;
/// More steps than any of these fleets needs.
const ENOUGH: u64 = 1_000_000;

fn service() -> impl Strategy<Value = Service> {
    (1_u32..5, any::<prop::sample::Index>(), 1_u64..4).prop_map(|(versions, current, criticality)| Service {
        versions,
        current: u32::try_from(current.index(versions as usize)).unwrap(),
        criticality,
    })
}

/// A part of the versions, which may be none, and may reach beyond them.
fn part() -> impl Strategy<Value = std::ops::Range<u32>> {
    (0_u32..5, 0_u32..6).prop_map(|(start, length)| start..start + length)
}

fn versions() -> impl Strategy<Value = Versions> {
    prop::collection::vec(part(), 0..3).prop_map(|parts| parts.into_iter().collect())
}

fn rule(services: usize) -> impl Strategy<Value = Rule> {
    let bar = (0..services, part()).prop_map(|(service, versions)| Bar { service, versions }).boxed();
    let never = prop::collection::vec(bar.clone(), 0..4).prop_map(Rule::Never);
    let bar = bar.prop_map(Rule::Bar);
    let need =
        (0..services, versions(), 0..services, versions()).prop_map(|(consumer, used, provider, offered)| {
            Rule::Need(Need { consumer, used, provider, offered })
        });
    prop_oneof![2 => bar, 6 => need, 1 => never]
}

/// Rules of some causes: two rules in three have one of their own.
fn problem() -> impl Strategy<Value = Problem> {
    prop::collection::vec(service(), 1..6).prop_flat_map(|services| {
        let rules = prop::collection::vec((any::<bool>(), rule(services.len())), 0..14);
        let place = (0..services.len(), part());
        let preference = prop::collection::vec(prop::collection::vec(place, 0..3), 0..3).prop_map(Preference);
        let preferences = prop::collection::vec(preference, 0..3);
        let burden = (0..services.len(), versions(), 1_u64..4)
            .prop_map(|(service, versions, weight)| Burden { service, versions, weight });
        let burdens = prop::collection::vec(burden, 0..5);
        (rules, burdens, preferences).prop_map(move |(rules, burdens, preferences)| {
            let mut cause = 0;
            let numbered = |(more, rule)| {
                cause += u32::from(more);
                (Cause(cause), rule)
            };
            let rules = rules.into_iter().map(numbered).collect();
            Problem { services: services.clone(), rules, burdens, preferences }
        })
    })
}

fn all_targets(problem: &Problem) -> Vec<Target> {
    problem.services.iter().fold(vec![Vec::new()], |all, service| {
        let with = |target: &Target, version| [&target[..], &[version]].concat();
        all.iter()
            .flat_map(|target| (0..service.versions).map(move |version| with(target, version)))
            .collect()
    })
}

fn keeps(rule: &Rule, target: &[u32]) -> bool {
    match rule {
        Rule::Bar(bar) => !bar.versions.contains(&target[bar.service]),
        Rule::Need(need) => need.is_met(target[need.consumer], target[need.provider]),
        Rule::Never(all) => !all.iter().all(|bar| bar.versions.contains(&target[bar.service])),
    }
}

fn possible(problem: &Problem) -> Vec<Target> {
    let keeps_all = |target: &Target| problem.rules.iter().all(|(_, rule)| keeps(rule, target));
    all_targets(problem).into_iter().filter(keeps_all).collect()
}

/// The least burden of a set of services, how far it goes with that, and the set.
type Way = ((u64, u64), Vec<usize>);

fn rank(problem: &Problem, target: &[u32]) -> (u64, u64) {
    (problem.burden(target), problem.distance(target))
}

/// The best of what is possible: its cost, and each set of services that moves at that cost.
fn best(problem: &Problem) -> Option<(u64, BTreeSet<Way>)> {
    let possible = possible(problem);
    let cost = possible.iter().map(|target| problem.cost(target)).min()?;
    let cheapest = || possible.iter().filter(|target| problem.cost(target) == cost);
    let sets: BTreeSet<Vec<usize>> = cheapest().map(|target| problem.moved(target)).collect();
    let far = |set: &Vec<usize>| {
        cheapest().filter(|it| problem.moved(it) == *set).map(|it| rank(problem, it)).min().unwrap()
    };
    Some((cost, sets.into_iter().map(|set| (far(&set), set)).collect()))
}

fn only(problem: &Problem, causes: &[Cause]) -> Problem {
    let rules = problem.rules.iter().filter(|(cause, _)| causes.contains(cause)).cloned().collect();
    Problem { rules, ..problem.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_best_targets_are_those_of_brute_force(problem in problem()) {
        let found = solve(&problem, MOST, ENOUGH);
        let Some((cost, sets)) = best(&problem) else {
            prop_assert_eq!(found, Solved::NoWay);
            return Ok(());
        };
        let found = found.way().unwrap();
        prop_assert!(found.is_proved);
        prop_assert_eq!(found.cost, cost);
        prop_assert_eq!(found.targets.len(), sets.len().min(MOST));
        let told: BTreeSet<_> = found.targets.iter().map(|it| (rank(&problem, it), problem.moved(it))).collect();
        prop_assert_eq!(told.len(), found.targets.len());
        prop_assert!(told.is_subset(&sets), "{:?} of {:?}", told, sets);
        let first = &found.targets[0];
        prop_assert_eq!(rank(&problem, first), sets.first().unwrap().0);
        let as_good = possible(&problem).into_iter().filter(|it| {
            (problem.cost(it), rank(&problem, it)) == (cost, rank(&problem, first))
        });
        let unmet = as_good.map(|it| problem.unmet_preferences(&it)).min();
        prop_assert_eq!(Some(problem.unmet_preferences(first)), unmet);
        prop_assert!(found.targets.iter().all(|target| possible(&problem).contains(target)));
    }

    #[test]
    fn a_core_contradicts_and_nothing_of_it_can_be_left_out(problem in problem()) {
        let Some(core) = core(&problem, ENOUGH) else {
            prop_assert!(!possible(&problem).is_empty());
            return Ok(());
        };
        prop_assert!(core.is_minimal);
        let core = core.causes;
        prop_assert!(possible(&only(&problem, &core)).is_empty());
        for left_out in &core {
            let rest: Vec<Cause> = core.iter().copied().filter(|it| it != left_out).collect();
            prop_assert!(!possible(&only(&problem, &rest)).is_empty(), "without {:?}", left_out);
        }
    }

    #[test]
    fn steps_keep_what_the_start_keeps_and_join_only_what_has_no_order(problem in problem()) {
        let Some(solution) = solve(&problem, MOST, ENOUGH).way() else { return Ok(()) };
        for target in &solution.targets {
            let steps = order(&problem, target).steps;
            prop_assert_eq!(check(&problem, target, &steps), Ok(()));
            for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.len() > 1) {
                // Whatever part of it goes before the rest, something does not work.
                for part in 1..(1_u32 << step.len()) - 1 {
                    let (first, rest): (Vec<_>, Vec<_>) =
                        step.iter().enumerate().partition(|(place, _)| part >> place & 1 == 1);
                    let of = |part: Vec<(usize, &usize)>| part.into_iter().map(|(_, service)| *service).collect();
                    let apart = [&steps[..at], &[of(first), of(rest)], &steps[at + 1..]].concat();
                    let told = check(&problem, target, &apart);
                    prop_assert!(matches!(told, Err(Fault::Between { .. })), "{:?} of {:?}", told, apart);
                }
            }
        }
    }

    #[test]
    fn what_is_broken_at_the_start_orders_nothing(problem in problem()) {
        let Some(solution) = solve(&problem, 1, ENOUGH).way() else { return Ok(()) };
        let start = problem.start();
        let holds = |cause: &Cause| {
            problem.needs().filter(|(of, _)| of == cause).any(|(_, it)| it.is_met(start[it.consumer], start[it.provider]))
        };
        prop_assert!(order(&problem, &solution.targets[0]).arcs.iter().all(|arc| holds(&arc.cause)));
    }

    #[test]
    fn what_is_not_right_is_told(problem in problem(), left_out in any::<prop::sample::Index>()) {
        let Some(solution) = solve(&problem, 1, ENOUGH).way() else { return Ok(()) };
        let target = &solution.targets[0];
        let mut steps = order(&problem, target).steps;
        if steps.is_empty() { return Ok(()) }
        let gone = left_out.index(steps.len());
        let twice = [&steps[..], &[steps[gone].clone()]].concat();
        let moves = |told: Result<(), Fault>| matches!(told, Err(Fault::Moves { .. }));
        prop_assert!(moves(check(&problem, target, &twice)));
        steps.remove(gone);
        prop_assert!(moves(check(&problem, target, &steps)));
        let unknown = check(&problem, &target[1..], &[]);
        prop_assert!(matches!(unknown, Err(Fault::Unknown { .. })), "{:?}", unknown);
    }

    #[test]
    fn a_search_that_ends_early_says_nothing_that_is_not_so(problem in problem(), steps in 0_u64..30) {
        let possible = possible(&problem);
        match solve(&problem, MOST, steps) {
            Solved::NoWay => prop_assert!(possible.is_empty()),
            Solved::Undecided => {}
            Solved::Way(found) => {
                prop_assert!(found.targets.iter().all(|target| possible.contains(target)));
                let (cost, sets) = best(&problem).unwrap();
                let first = &found.targets[0];
                prop_assert_eq!(found.cost, problem.cost(first));
                prop_assert!(found.cost >= cost);
                let is_best = found.cost == cost && rank(&problem, first) == sets.first().unwrap().0;
                prop_assert!(is_best || !found.is_proved);
            }
        }
        if let Some(core) = core(&problem, steps) {
            prop_assert!(self::possible(&only(&problem, &core.causes)).is_empty());
        }
    }

    #[test]
    fn versions_and_the_others_are_all_versions(versions in versions(), count in 1_u32..8) {
        let others = versions.others(count);
        prop_assert!((0..count).all(|at| versions.contains(at) != others.contains(at)));
        prop_assert!(others.parts().windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}

/// As many services as pigeons, whose versions are holes; no two are in the same one.
fn pigeons(pigeons: usize, holes: u32) -> Problem {
    let services = vec![Service { versions: holes + 1, current: 0, criticality: 1 }; pigeons];
    let mut rules: Vec<(Cause, Rule)> = (0..pigeons)
        .map(|service| (Cause(service as u32), Rule::Bar(Bar { service, versions: 0..1 })))
        .collect();
    for one in 0..pigeons {
        for other in 0..one {
            for hole in 1..=holes {
                let alone = Need {
                    consumer: one,
                    used: (hole..hole + 1).into(),
                    provider: other,
                    offered: [0..hole, hole + 1..holes + 1].into_iter().collect(),
                };
                rules.push((Cause(rules.len() as u32), Rule::Need(alone)));
            }
        }
    }
    Problem { services, rules, ..Problem::default() }
}

#[test]
fn a_question_that_takes_for_ever_ends_without_an_answer() {
    assert_eq!(solve(&pigeons(11, 10), 1, 2_000), Solved::Undecided);
    assert_eq!(core(&pigeons(11, 10), 2_000), None);
    // As many holes as pigeons: a way is there, and the search for a better one is over before.
    let found = solve(&pigeons(10, 10), 1, 200).way().unwrap();
    assert_eq!((found.cost, check(&pigeons(10, 10), &found.targets[0], &[(0..10).collect()])), (10, Ok(())));
}
