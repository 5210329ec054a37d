//! The tables, and whether the figures are held.

use lockstep_judge::Times;

use crate::chance::bounds;
use crate::run::{Outcome, plan, rollouts};
use crate::scenario::{Incident, Latency, Routes, Scenario};

const STRICT: Times = Times(100);
const USUAL: Times = Times(125);
const HOUR: u64 = 3_600;
/// Rollouts with a version that is not worse; enough for an upper bound of 1 % when about 0.6 % are wrong.
const RUNS: u64 = 6_000;
/// The same where each takes long; that it is surely at most alpha cannot be said of them, only that nothing speaks against it.
const FEW_RUNS: u64 = 400;
/// Of them, those that the rules of others are tried on.
const RUNS_OF_OTHERS: u64 = 100;
/// Rollouts with a version that is worse.
const BAD_RUNS: u64 = 1_000;
/// How probable a false alarm may be.
const ALPHA: f64 = 0.01;

/// Prints how often a version that is not worse is taken back in six hours; says whether that is surely at most alpha.
pub(crate) fn false_alarms() -> bool {
    let shared = Scenario { incident: Incident::Shared, ..Scenario::plain(100.0, 5, 0.001, 0.001) };
    let much = Scenario {
        routes: Routes::OneOf(20),
        latency: Latency::Odds(1.0),
        ..Scenario::plain(2.0, 10, 0.01, 0.01)
    };
    let cells = [
        ("10/s, 10 %, 0.1 %", Scenario::plain(10.0, 10, 0.001, 0.001), STRICT, RUNS),
        ("100/s, 5 %, 0.1 %", Scenario::plain(100.0, 5, 0.001, 0.001), STRICT, RUNS),
        ("100/s, 5 %, 1 %", Scenario::plain(100.0, 5, 0.01, 0.01), STRICT, RUNS),
        ("10/s, 50 %, 3 %", Scenario::plain(10.0, 50, 0.03, 0.03), STRICT, RUNS),
        ("1/s, 10 %, 20 %", Scenario::plain(1.0, 10, 0.2, 0.2), STRICT, RUNS),
        ("100/s, 5 %, 1 %, tolerating 1.25 x", Scenario::plain(100.0, 5, 0.01, 0.01), USUAL, RUNS),
        ("100/s, 5 %, 0.1 %, shared incident", shared, STRICT, RUNS),
        ("2/s, 10 %, 1 %, 20 routes, 4 bounds of latency", much, STRICT, FEW_RUNS),
    ];
    println!(
        "Versions that are not worse, taken back within 6 h (looks every 10 s, alpha 1 %; exact 99 % bounds)\n"
    );
    println!("| requests, share of the new version, failures | judge | of | bounds | Flagger | Kayenta |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let held = cells.map(|(name, scenario, tolerated, runs)| {
        let outcomes = rollouts(&scenario, &plan(&scenario, tolerated), 6 * HOUR, runs, RUNS_OF_OTHERS);
        let wrong = outcomes.iter().filter(|outcome| outcome.judge.is_some()).count() as u64;
        let (low, high) = bounds(wrong, runs);
        let others = outcomes_of_others(&outcomes);
        let share = |of: fn(&Outcome) -> bool| {
            format!("{:.0} %", others.iter().filter(|it| of(it)).count() as f64 * 100.0 / others.len() as f64)
        };
        let held = if runs == RUNS { high <= ALPHA } else { low <= ALPHA };
        println!(
            "| {name} | {:.2} % | {runs} | {:.2}-{:.2} %{} | {} | {} |",
            wrong as f64 * 100.0 / runs as f64,
            low * 100.0,
            high * 100.0,
            if held { "" } else { " NOT HELD" },
            share(|it| it.flagger.is_some()),
            share(|it| it.kayenta.is_some()),
        );
        held
    });
    held.into_iter().all(|held| held)
}

fn outcomes_of_others(outcomes: &[Outcome]) -> Vec<Outcome> {
    outcomes.iter().filter(|outcome| outcome.with_others).copied().collect()
}

/// A version that is worse, and within how many seconds half of them must be found.
struct Bad {
    name: &'static str,
    scenario: Scenario,
    tolerated: Times,
    figure: Option<u64>,
}

/// Prints how long a worse version is not found; says whether the medians are within the figures.
pub(crate) fn delays() -> bool {
    let plain = |name, rps, percent, old, new, tolerated, figure| Bad {
        name,
        scenario: Scenario::plain(rps, percent, old, new),
        tolerated,
        figure,
    };
    let route = |name, routes, new| Bad {
        name,
        scenario: Scenario { routes, ..Scenario::plain(100.0, 5, 0.001, new) },
        tolerated: USUAL,
        figure: None,
    };
    let slow = |name, odds| Bad {
        name,
        scenario: Scenario { latency: Latency::Odds(odds), ..Scenario::plain(20.0, 5, 0.001, 0.001) },
        tolerated: USUAL,
        figure: None,
    };
    let cells = [
        plain("10/s, 10 %: 0.1 -> 50 %", 10.0, 10, 0.001, 0.5, STRICT, Some(10)),
        plain("100/s, 5 %: 0.1 -> 1 %", 100.0, 5, 0.001, 0.01, STRICT, Some(90)),
        plain("100/s, 5 %: 1 -> 2 %", 100.0, 5, 0.01, 0.02, STRICT, Some(320)),
        plain("1/s, 10 %: 1 -> 2 %", 1.0, 10, 0.01, 0.02, STRICT, None),
        plain("10/s, 10 %: 0.1 -> 50 %, tolerating 1.25 x", 10.0, 10, 0.001, 0.5, USUAL, Some(10)),
        plain("100/s, 5 %: 0.1 -> 1 %, tolerating 1.25 x", 100.0, 5, 0.001, 0.01, USUAL, None),
        plain("100/s, 5 %: 1 -> 2 %, tolerating 1.25 x", 100.0, 5, 0.01, 0.02, USUAL, None),
        route("100/s, 5 %, one route of 20: 0.1 -> 5 %", Routes::OneOf(20), 0.05),
        route("100/s, 5 %, one route of 20: 0.1 -> 50 %", Routes::OneOf(20), 0.5),
        slow("20/s, 5 %, latency: odds of slow 3 x", 3.0),
        slow("20/s, 5 %, latency: odds of slow 40 x", 40.0),
    ];
    println!(
        "\nVersions that are worse (4 h at most; the middle one with exact 99 % bounds, and the tenth that takes longest)\n"
    );
    println!(
        "| requests, share of the new version, failures | median | its bounds | 90 % | found | its failed requests | figure | Flagger | Kayenta |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let held = cells.map(|bad| bad.print());
    held.into_iter().all(|held| held)
}

impl Bad {
    fn print(&self) -> bool {
        let plan = plan(&self.scenario, self.tolerated);
        let outcomes = rollouts(&self.scenario, &plan, 4 * HOUR, BAD_RUNS, RUNS_OF_OTHERS);
        let times: Vec<_> = outcomes.iter().map(|outcome| outcome.judge).collect();
        let others = outcomes_of_others(&outcomes);
        let of = |of: fn(&Outcome) -> Option<u64>| quantile(others.iter().map(of).collect(), 0.5);
        let median = quantile(times.clone(), 0.5);
        let held = self.figure.is_none_or(|figure| median.is_some_and(|median| median <= figure));
        let found = times.iter().flatten().count();
        let failed =
            quantile(outcomes.iter().map(|outcome| Some(outcome.failed)).collect(), 0.5).unwrap_or(0);
        println!(
            "| {} | {} | {} to {} | {} | {:.1} % | {failed} | {}{} | {} | {} |",
            self.name,
            shown(median),
            shown(median_bound(&times, |(_, high)| high)),
            shown(median_bound(&times, |(low, _)| low)),
            shown(quantile(times, 0.9)),
            found as f64 * 100.0 / BAD_RUNS as f64,
            self.figure.map_or("-".to_owned(), |figure| format!("{figure} s")),
            if held { "" } else { " NOT HELD" },
            shown(of(|it| it.flagger)),
            shown(of(|it| it.kayenta)),
        );
        held
    }
}

/// Those that were never found come last.
fn quantile(mut values: Vec<Option<u64>>, part: f64) -> Option<u64> {
    values.sort_by_key(|value| value.unwrap_or(u64::MAX));
    values[((values.len() - 1) as f64 * part) as usize]
}

/// The first time by which half of all rollouts may be found, by the lower or the upper bound on that share.
fn median_bound(times: &[Option<u64>], bound: fn((f64, f64)) -> f64) -> Option<u64> {
    let mut found: Vec<_> = times.iter().flatten().copied().collect();
    found.sort_unstable();
    found.dedup();
    let is_half = |time: &u64| {
        let within = times.iter().flatten().filter(|it| *it <= time).count() as u64;
        bound(bounds(within, times.len() as u64)) >= 0.5
    };
    found.into_iter().find(is_half)
}

fn shown(seconds: Option<u64>) -> String {
    seconds.map_or("not in 4 h".to_owned(), |seconds| format!("{seconds} s"))
}
