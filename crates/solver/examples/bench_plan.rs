//! How long an exact plan takes in large fleets: `cargo run --release -p lockstep-solver --example bench_plan`.
//!
//! Fleets are made by a seed, as they come about in time: each version has a time of release, and what a service offers or uses changes
//! from time to time. Whatever ran at the same time worked together. The fleet runs what was there at a time, and some services are
//! wanted as they were later (or, going back, earlier).

use std::hint::black_box;
use std::time::{Duration, Instant};

use lockstep_solver::{Bar, Cause, Need, Problem, Rule, Service, check, core, order, solve};

/// Numbers by a seed: SplitMix64 (Steele, Lea and Flood 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[derive(Clone, Copy)]
struct Size {
    services: usize,
    versions: usize,
    edges: usize,
    features: usize,
}

/// The times of release of all versions of all services.
struct History(Vec<Vec<f64>>);

impl History {
    fn new(size: Size, numbers: &mut Numbers) -> Self {
        let times = |_| {
            let mut times: Vec<f64> = (1..size.versions).map(|_| numbers.share()).chain([0.0]).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        Self((0..size.services).map(times).collect())
    }

    /// The version that was the newest at a time.
    fn at(&self, service: usize, time: f64) -> u32 {
        (self.0[service].partition_point(|it| *it <= time) - 1) as u32
    }

    /// The first version that came at a time or later.
    fn since(&self, service: usize, time: f64) -> u32 {
        self.0[service].partition_point(|it| *it < time) as u32
    }
}

const NOW: f64 = 0.6;

/// A fleet, and the history that it has.
fn fleet(size: Size, numbers: &mut Numbers) -> (Problem, History) {
    let history = History::new(size, numbers);
    let service = |service| Service {
        versions: size.versions as u32,
        current: history.at(service, NOW),
        criticality: 1 + numbers.next() % 5,
    };
    let services = (0..size.services).map(service).collect();
    let edges: Vec<_> =
        (0..size.edges).map(|_| (numbers.below(size.services), numbers.below(size.services))).collect();
    let need = |feature| {
        let (consumer, provider) = edges[numbers.below(edges.len())];
        (Cause(feature as u32), Rule::Need(need(&history, consumer, provider, numbers)))
    };
    let rules = (0..size.features).map(need).collect();
    (Problem { services, rules, ..Problem::default() }, history)
}

/// A feature that some versions use while, and only while, versions offer it that ran at the same time.
fn need(history: &History, consumer: usize, provider: usize, numbers: &mut Numbers) -> Need {
    let (first, last) = (numbers.share(), numbers.share());
    let (offered, ends) =
        if numbers.share() < 0.7 { (first, None) } else { (first.min(last), Some(first.max(last))) };
    let used = offered + numbers.share() * (ends.unwrap_or(1.0) - offered);
    // The version that uses it came when the provider's had come; the one that does not any more, before it went.
    let from = history.since(
        consumer,
        used.max(history.0[provider].get(history.since(provider, offered) as usize).copied().unwrap_or(2.0)),
    );
    let until = ends.map_or(u32::MAX, |ends| {
        history.at(
            consumer,
            history.0[provider].get(history.since(provider, ends) as usize).map_or(1.0, |it| it.next_down()),
        )
    });
    let gone = ends.map_or(u32::MAX, |ends| history.since(provider, ends));
    let offered = history.since(provider, offered)..gone;
    Need { consumer, used: (from..until).into(), provider, offered: offered.into() }
}

/// Wants services as they were at a time.
fn want(problem: &mut Problem, history: &History, count: usize, time: f64, numbers: &mut Numbers) {
    for wish in 0..count {
        let service = numbers.below(problem.services.len());
        let to = history.at(service, time);
        let cause = Cause(u32::MAX - wish as u32);
        for versions in [0..to, to + 1..problem.services[service].versions] {
            problem.rules.push((cause, Rule::Bar(Bar { service, versions })));
        }
    }
}

/// What was measured of one kind of fleets, one number a fleet.
#[derive(Default)]
struct Figures {
    exact: Vec<Duration>,
    others: Vec<Duration>,
    ordered: Vec<Duration>,
    moved: Vec<usize>,
    cores: Vec<Duration>,
}

impl Figures {
    fn take(&mut self, problem: &Problem) {
        let (solution, exact) = timed(|| solve(problem, 1, STEPS));
        let Some(solution) = solution.way() else {
            return self.cores.push(timed(|| core(problem, STEPS)).1);
        };
        if !solution.is_proved {
            println!("not proved within {STEPS} steps");
        }
        let target = &solution.targets[0];
        let (steps, ordered) = timed(|| order(problem, target).steps);
        if let Err(fault) = check(problem, target, &steps) {
            println!("WRONG: {fault:?}");
        }
        self.exact.push(exact);
        self.ordered.push(ordered);
        self.others.push(timed(|| solve(problem, 4, STEPS)).1);
        self.moved.push(problem.moved(target).len());
    }

    fn print(&self, name: &str) {
        let columns =
            [median(&self.exact), self.exact.iter().max().copied().unwrap_or_default(), median(&self.others)];
        let [exact, most, others] = columns.map(|time| time.as_secs_f64() * 1_000.0);
        let (ordered, moved) = (median(&self.ordered).as_secs_f64() * 1_000.0, median(&self.moved));
        println!("{name:<24}{exact:>9.1}{most:>9.1}{others:>13.1}{ordered:>9.2}{moved:>8}");
        if !self.cores.is_empty() {
            println!("    no way in {}: told after {:.1?}", self.cores.len(), median(&self.cores));
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = black_box(work());
    (done, begun.elapsed())
}

fn median<T: Copy + Ord + Default>(numbers: &[T]) -> T {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

const FLEETS: u64 = 11;
/// What a search may take outside of this bench.
const STEPS: u64 = 20_000;

fn main() {
    let sizes = [
        ("100 x 50, 750", Size { services: 100, versions: 50, edges: 250, features: 750 }),
        ("1,000 x 100, 7,500", Size { services: 1_000, versions: 100, edges: 2_600, features: 7_500 }),
        ("1,000 x 100, 28,000", Size { services: 1_000, versions: 100, edges: 10_000, features: 28_000 }),
    ];
    println!(
        "Services x versions, features; five services are wanted as they were at another time; {FLEETS} fleets each. Milliseconds:"
    );
    for (size_name, size) in sizes {
        println!(
            "\n{size_name:<24}{:>9}{:>9}{:>13}{:>9}{:>8}",
            "exact", "most", "and others", "order", "moved"
        );
        for (way, time) in [("a little forward", 0.65), ("forward", 0.9), ("back", 0.4)] {
            let mut figures = Figures::default();
            for seed in 0..FLEETS {
                let numbers = &mut Numbers(seed);
                let (mut problem, history) = fleet(size, numbers);
                want(&mut problem, &history, 5, time, numbers);
                figures.take(&problem);
            }
            figures.print(way);
        }
    }
    println!(
        "exact: the cheapest way; and others: with up to three that cost the same; all medians but `most`"
    );
}
