//! What the history of a fleet costs: bytes on disk, processor time, and the time until a chart is there.
//!
//! `cargo run --release -p lockstep-series --example bench_series [SERVICES]`
//!
//! First 26 hours with a row each 10 seconds, all of it, over a whole day of UTC: bytes and processor time are of these. Then 31 days with
//! two rows in each 5 minutes, because thirty are too many to wait for: these are there to be read, and take a little less than real ones,
//! as the larger of two values is nearer to their average.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_series::{Bounds, Query, SeriesKey, Store};
use rustix::time::{ClockId, clock_gettime};

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// An hour before midnight.
const BEGIN_MS: u64 = 20_000 * DAY_MS - HOUR_MS;

/// A figure: its name, whether it is of the newest version alone, and how it behaves.
const FIGURES: [(&str, Option<&str>, Shape); 20] = [
    ("requests", None, Shape::Rate(1.0)),
    ("failures", None, Shape::Rate(0.002)),
    ("slow", None, Shape::Rate(0.02)),
    ("p50_ms", None, Shape::Latency(4.0, 0.05)),
    ("p95_ms", None, Shape::Latency(20.0, 0.12)),
    ("p99_ms", None, Shape::Latency(60.0, 0.25)),
    ("cpu", None, Shape::Noisy(0.002, 0.1)),
    ("memory", None, Shape::Memory),
    ("instances", None, Shape::Constant(3.0)),
    ("ready", None, Shape::Constant(3.0)),
    ("restarts", None, Shape::Constant(0.0)),
    ("connections", None, Shape::Noisy(0.5, 0.05)),
    ("bytes_in", None, Shape::Noisy(700.0, 0.08)),
    ("bytes_out", None, Shape::Noisy(9_000.0, 0.08)),
    ("requests", Some("1.4.0"), Shape::Rate(1.0)),
    ("failures", Some("1.4.0"), Shape::Rate(0.002)),
    ("p50_ms", Some("1.4.0"), Shape::Latency(4.0, 0.05)),
    ("p99_ms", Some("1.4.0"), Shape::Latency(60.0, 0.25)),
    ("cpu", Some("1.4.0"), Shape::Noisy(0.002, 0.1)),
    ("memory", Some("1.4.0"), Shape::Memory),
];

#[derive(Clone, Copy)]
enum Shape {
    /// Events a second, counted over the time of a row, as a part of the requests of the service.
    Rate(f64),
    /// Milliseconds with a noise; nothing where there are no requests.
    Latency(f64, f64),
    /// As much for each request, with a noise.
    Noisy(f64, f64),
    /// Grows by pages, and begins again now and then.
    Memory,
    Constant(f64),
}

/// A service: its requests a second at noon, and how it drifts.
struct Service {
    requests: f64,
    phase: f64,
    drift: f64,
    memory: f64,
}

struct Fleet {
    random: u64,
    services: Vec<Service>,
    row: Vec<(SeriesKey, f64)>,
}

impl Fleet {
    /// Three services in ten are asked nothing, five a little (up to 10 requests a second), two much (up to 3,000).
    fn new(count: usize) -> Self {
        let mut fleet = Self { random: 88_172_645_463_325_252, services: Vec::new(), row: Vec::new() };
        for number in 0..count {
            let requests = match number % 10 {
                0..3 => 0.0,
                3..8 => 10_f64.powf(fleet.uniform() * 2.0 - 1.0),
                _ => 10_f64.powf(fleet.uniform() * 2.0 + 1.5),
            };
            let (phase, memory) = (fleet.uniform(), 1e8 * (1.0 + fleet.uniform()));
            fleet.services.push(Service { requests, phase, drift: 0.0, memory });
            fleet.row.extend(FIGURES.map(|(figure, version, _)| {
                let service = format!("service-{number}");
                (SeriesKey::new("production", &service, version, figure).expect("it is a name"), 0.0)
            }));
        }
        fleet
    }

    fn uniform(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Close to a normal distribution.
    fn normal(&mut self) -> f64 {
        (0..4).map(|_| self.uniform() - 0.5).sum::<f64>() * 3_f64.sqrt()
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }

    fn step(&mut self, at_ms: u64) {
        for number in 0..self.services.len() {
            let (normal, growth, restart) = (self.normal(), self.uniform(), self.uniform());
            let service = &mut self.services[number];
            service.drift = 0.98 * service.drift + 0.02 * normal;
            service.memory =
                if restart < 1e-4 { 1e8 } else { service.memory + 2e4 * growth * service.requests.min(1.0) };
            let hour = (at_ms % DAY_MS) as f64 / DAY_MS as f64;
            let day = 1.0 + 0.5 * (std::f64::consts::TAU * (hour + service.phase)).sin();
            let (requests, drift, memory) =
                (service.requests * day * (1.0 + service.drift), service.drift, service.memory);
            for (place, (_, _, shape)) in FIGURES.into_iter().enumerate() {
                self.row[number * FIGURES.len() + place].1 = self.value(shape, requests, drift, memory);
            }
        }
    }

    fn value(&mut self, shape: Shape, requests: f64, drift: f64, memory: f64) -> f64 {
        match shape {
            Shape::Rate(part) => self.poisson(requests * part * 10.0) / 10.0,
            Shape::Latency(_, _) if requests == 0.0 => f64::NAN,
            Shape::Latency(middle, noise) => middle * (1.0 + drift) * (1.0 + noise * self.normal()).max(0.1),
            Shape::Noisy(each, noise) => requests * each * (1.0 + noise * self.normal()).max(0.0),
            Shape::Memory => (memory / 4_096.0).floor() * 4_096.0,
            Shape::Constant(value) => value,
        }
    }
}

/// Appends rows, and returns the processor time that the history took.
fn fill(store: &mut Store, fleet: &mut Fleet, rows: u64, step_ms: u64) -> (Duration, Duration) {
    let (mut busy, mut longest) = (Duration::ZERO, Duration::ZERO);
    for row in 0..rows {
        let at_ms = BEGIN_MS + row * step_ms;
        fleet.step(at_ms);
        let before = processor_time();
        let appended = store.append(at_ms, &fleet.row).expect("a row is taken");
        let took = processor_time() - before;
        (busy, longest) = (busy + took, longest.max(took));
        appended.problems.iter().for_each(|problem| println!("{problem}"));
    }
    (busy, longest)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Bytes of files whose name begins and ends so, and how many there are.
fn files(folder: &Path, begin: &str, end: &str) -> (u64, usize) {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let is_one = |name: &str| name.starts_with(begin) && name.ends_with(end);
    let sizes: Vec<u64> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.metadata().expect("it is there").len())
        .collect();
    (sizes.iter().sum(), sizes.len())
}

fn read(store: &Store, what: &str, prefix: &str, figures: &[&str], from_ms: u64, until_ms: u64) {
    let figures = figures.iter().map(|figure| (*figure).to_owned()).collect();
    let query = Query { prefix: prefix.to_owned(), figures, from_ms, until_ms, points: 600 };
    let mut took: Vec<_> = (0..9)
        .map(|_| {
            let begin = Instant::now();
            let answer = store.read(&query);
            (
                begin.elapsed(),
                answer.series.len(),
                answer.series.iter().map(|(_, curve)| curve.len()).sum::<usize>(),
            )
        })
        .collect();
    took.sort();
    let (middle, series, points) = took[4];
    let what = format!("{what}: {series} series, {points} points");
    line(&what, &format!("{:.1} ms", middle.as_secs_f64() * 1e3), "");
}

fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kb.unwrap_or_default() / 1e3
}

/// What a day and a month may take on disk.
const AIM_BYTES: f64 = 200e6;
/// What of a core the history may take.
const AIM_PERCENT: f64 = 1.0;
/// Hours and days that are kept, at most.
const KEPT: (f64, f64) = (25.0, 31.0);
/// Hours of full rows: over a day of UTC, and to the end of an hour on both sides.
const HOURS: u64 = 26;

fn line(what: &str, is: &str, aim: &str) {
    println!("{what:<64} {is:>14} {aim:>10}");
}

fn beside_aim(what: &str, is: &str, aim: &str, is_met: bool) {
    line(what, is, &format!("{aim}{}", if is_met { "" } else { "  missed" }));
}

/// Bytes of a point, of so many rows of the fleet.
fn each(bytes: u64, rows: usize, services: usize) -> f64 {
    bytes as f64 / (rows * services * FIGURES.len()) as f64
}

fn open(folder: &Path) -> Store {
    let (store, problems) =
        Store::open(folder, Bounds { bytes: 1 << 32, ..Bounds::default() }).expect("the folder can be used");
    problems.iter().for_each(|problem| println!("{problem}"));
    store
}

/// A day in full, row by row.
fn day(folder: &Path, services: usize) {
    let before_mb = resident_mb();
    let mut store = open(folder);
    let (busy, longest) = fill(&mut store, &mut Fleet::new(services), HOURS * 360, 10_000);
    let part = busy.as_secs_f64() / (HOURS as f64 * 3_600.0) * 100.0;
    let is = format!("{part:.3} %");
    beside_aim("processor, of a core, over 26 hours of full rows", &is, "1 %", part < AIM_PERCENT);
    line("the longest row: it ends an hour", &format!("{:.2} s", longest.as_secs_f64()), "");
    sizes(folder, services);
    line("memory", &format!("{:.0} MB", resident_mb() - before_mb), "");
    let until_ms = BEGIN_MS + HOURS * HOUR_MS;
    read(&store, "a chart of a day of a service", ONE, &[], until_ms - DAY_MS, until_ms);
    read(&store, "a chart of an hour of a service", ONE, &[], until_ms - HOUR_MS, until_ms);
    read(&store, "a day of one figure of all services", "production/", &["cpu"], until_ms - DAY_MS, until_ms);
    drop(store);
    let begin = Instant::now();
    drop(open(folder));
    line("opening", &format!("{:.0} ms", begin.elapsed().as_secs_f64() * 1e3), "");
}

/// What is on disk of it: of hours that are over and of the day that is, and so of as many as are kept.
fn sizes(folder: &Path, services: usize) {
    let (fine, hours) = files(folder, "fine", "seg");
    let (coarse, _) = files(folder, &format!("coarse-{}", BEGIN_MS + HOUR_MS), "seg");
    let (logs, _) = files(folder, "", "log");
    let megabytes = |bytes: f64| format!("{:.2} MB", bytes / 1e6);
    let an_hour = fine as f64 / hours as f64;
    let bytes = each(fine, hours * 360, services);
    line(&format!("an hour of rows, {bytes:.3} bytes a point"), &megabytes(an_hour), "");
    let bytes = each(coarse, 288, services);
    line(&format!("a day of 5 min, {bytes:.3} bytes for average and largest"), &megabytes(coarse as f64), "");
    let all = KEPT.0 * an_hour + KEPT.1 * coarse as f64 + logs as f64;
    let what = "on disk: 25 such hours, 31 such days, and logs";
    beside_aim(what, &megabytes(all), "200 MB", all < AIM_BYTES);
}

/// A month of two rows in each 5 minutes.
fn month(folder: &Path, services: usize) {
    let mut store = open(folder);
    fill(&mut store, &mut Fleet::new(services), 31 * 576, 150_000);
    let (coarse, days) = files(folder, "coarse", "seg");
    let bytes = each(coarse, days * 288, services);
    let what = format!("{days} days of two rows in 5 min, {bytes:.3} bytes for average and largest");
    line(&what, &format!("{:.2} MB", coarse as f64 / 1e6), "");
    let until_ms = BEGIN_MS + 31 * DAY_MS;
    read(&store, "a chart of a month of a service", ONE, &[], BEGIN_MS, until_ms);
    read(&store, "a chart of a week of a service", ONE, &[], until_ms - 7 * DAY_MS, until_ms);
}

/// The service of which charts are read.
const ONE: &str = "production/service-5/";

fn main() {
    let services =
        std::env::args().nth(1).map_or(1_000, |count| count.parse().expect("a number of services"));
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    println!(
        "{services} services of {} series; a day in full and a month, as fast as it goes",
        FIGURES.len()
    );
    line("", "", "aim");
    day(&folder.path().join("day"), services);
    month(&folder.path().join("month"), services);
}
