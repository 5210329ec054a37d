//! One rollout, and many of them on all cores.

use std::thread;

use lockstep_judge::{Bake, Evidence, Health, Look, Plan, Reading, Rules, Times, Verdict, decide};

use crate::chance::Chance;
use crate::others::Others;
use crate::scenario::{LOOK_S, Latency, SLOWER, Scenario};

/// When a rule took the new version back, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) judge: Option<u64>,
    /// Requests that the new version had failed by then.
    pub(crate) failed: u64,
    /// Whether the rules of others ran too.
    pub(crate) with_others: bool,
    pub(crate) flagger: Option<u64>,
    pub(crate) kayenta: Option<u64>,
}

/// Which rules are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Alone,
    Others,
}

pub(crate) fn plan(scenario: &Scenario, tolerated: Times) -> Plan {
    let latency_bounds_ms = match scenario.latency {
        Latency::NotWatched => Default::default(),
        Latency::Odds(_) => SLOWER.iter().map(|(bound, _)| *bound).collect(),
    };
    let rules = Rules { tolerated, tolerated_slower: tolerated.max(Times(100)), ..Rules::default() };
    Plan {
        rules,
        classes: scenario.classes().into_iter().collect(),
        latency_bounds_ms,
        checks_bodies: false,
        usual: None,
    }
}

fn rollout(scenario: &Scenario, plan: &Plan, seconds: u64, seed: u64, beside: Beside) -> Outcome {
    let (mut chance, classes) = (Chance::new(seed), scenario.classes());
    let (mut evidence, mut others, mut outcome) =
        (Evidence::default(), Others::default(), Outcome::default());
    for second in (0..seconds).step_by(LOOK_S as usize) {
        let interval = scenario.look(second, &classes, &mut chance);
        let counted = [&interval.total.new, &interval.total.old]
            .map(|counts| (counts.requests, counts.of_classes(&plan.rules.failing).answers));
        let end = second + LOOK_S;
        if outcome.judge.is_none() {
            outcome.failed += counted[0].1;
            // Only what the new version does wrong can make it fail, so other looks are passed over to save time.
            let is_hit = counted[0].1 > 0 || !interval.total.new.slower.is_empty();
            evidence.take(plan, &Reading::Counted(interval));
            if is_hit {
                let judged = decide(plan, &evidence, &Look { health: Health::Ready, bake: Bake::Over });
                outcome.judge = matches!(judged.verdict, Verdict::Fail(_)).then_some(end);
            }
        }
        if beside == Beside::Others {
            others.take(end, counted[0], counted[1]);
        } else if outcome.judge.is_some() {
            break;
        }
    }
    let with_others = beside == Beside::Others;
    Outcome { with_others, flagger: others.flagger, kayenta: others.kayenta, ..outcome }
}

/// Runs many rollouts, each with a seed of its own; the same seeds every time.
pub(crate) fn rollouts(
    scenario: &Scenario,
    plan: &Plan,
    seconds: u64,
    runs: u64,
    with_others: u64,
) -> Vec<Outcome> {
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let one = |seed| {
        let beside = if seed < with_others { Beside::Others } else { Beside::Alone };
        rollout(scenario, plan, seconds, seed, beside)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let one = &one;
                scope.spawn(move || (first..runs).step_by(threads as usize).map(one).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a rollout does not panic")).collect()
    })
}
