//! What the processes and the data folder hold over time, and whether it grows with operations or requests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::processes::{self, Held, Process, Role};
use super::report::Report;
use super::site::{EDGES, Site};

/// What growth is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of the server's memory that an operation may leave.
    pub(super) server_bytes_per_operation: f64,
    /// Bytes of a gateway's memory that a request may leave.
    pub(super) gateway_bytes_per_request: f64,
}

/// Fewer operations than this say nothing about the memory of one: an allocator takes and gives whole megabytes.
const FEWEST_OPERATIONS: u64 = 200;
/// Fewer requests than this say nothing about the memory of one, likewise.
const FEWEST_REQUESTS: u64 = 30_000;
/// Threads that a process may have more at the end than at the beginning: those that end when nothing is to do.
const MORE_THREADS: u64 = 16;
/// Files that a process may have open more at the end: some instances and requests more or less at the moment.
const MORE_FILES: u64 = 96;
/// One part in so many of the samples is passed over at the beginning: memory that is filled once, such as what each of the
/// allocator's arenas keeps of the largest build that a thread has made.
const WARM_UP: usize = 2;

/// What was there at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    operations: u64,
    requests: u64,
    server: Held,
    gateways: Held,
    supervisors: Held,
    instances: u64,
    /// Entries and bytes of the parts of the data folder.
    folders: BTreeMap<String, (u64, u64)>,
}

impl Sample {
    /// Says the memory of server and gateways in words.
    pub(super) fn words(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!("server {:.1} MiB, gateways {:.1} MiB", mib(self.server.memory), mib(self.gateways.memory))
    }

    /// Looks at everything.
    pub(super) fn take(site: &Site, operations: u64, requests: u64) -> Self {
        let found = site.processes();
        let is_supervisor = |process: &&Process| matches!(process.role, Role::Supervisor(_));
        let of = |ids: Vec<u32>| greatest(ids.into_iter().filter_map(processes::held));
        Self {
            operations,
            requests,
            server: of(site.installation.server_process().into_iter().collect()),
            gateways: of((0..EDGES.len()).filter_map(|index| site.edge_process(index)).collect()),
            supervisors: of(found.iter().filter(is_supervisor).map(|process| process.id).collect()),
            instances: found.iter().filter(is_supervisor).count() as u64,
            folders: folders(&site.installation.data()),
        }
    }
}

/// Returns the most that any of some processes holds.
fn greatest(all: impl Iterator<Item = Held>) -> Held {
    all.fold(Held::default(), |most, held| Held {
        memory: most.memory.max(held.memory),
        threads: most.threads.max(held.threads),
        files: most.files.max(held.files),
    })
}

fn folders(data: &Path) -> BTreeMap<String, (u64, u64)> {
    let parts = [
        "blobs",
        "builds",
        "mirrors",
        "runtime/ended",
        "runtime/instances",
        "runtime/releases",
        "scratch",
        "secrets",
    ];
    let mut sizes: BTreeMap<_, _> = parts.map(|part| (part.to_owned(), size(&data.join(part)))).into();
    let journal = ["journal.db", "journal.db-wal"]
        .map(|file| fs::metadata(data.join(file)).map_or(0, |file| file.len()));
    sizes.insert("journal".into(), (1, journal.iter().sum()));
    sizes
}

/// Counts what is in a folder and below, and its bytes. What goes meanwhile is not there.
fn size(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let below = if metadata.is_dir() { size(&entry.path()) } else { (0, metadata.len()) };
        sum = (sum.0 + 1 + below.0, sum.1 + below.1);
    }
    sum
}

/// How much more is kept, from the first half of the points to the second, for each step to the right. What is kept is what
/// there is at the lowest: memory goes up and down with what is under way. `None` for fewer than four points, or all at one
/// place.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 4 {
        return None;
    }
    let (early, late) = points.split_at(points.len() / 2);
    let middle = |half: &[(f64, f64)]| half.iter().map(|point| point.0).sum::<f64>() / half.len() as f64;
    let lowest = |half: &[(f64, f64)]| half.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let steps = middle(late) - middle(early);
    (steps > 0.0).then(|| (lowest(late) - lowest(early)) / steps)
}

/// Something that was measured, as one line of the table.
struct Line {
    what: String,
    first: u64,
    last: u64,
    per_operation: Option<f64>,
    per_request: Option<f64>,
}

fn line(what: &str, samples: &[Sample], of: impl Fn(&Sample) -> u64) -> Line {
    let warm = &samples[samples.len() / WARM_UP..];
    let against = |x: fn(&Sample) -> u64| {
        slope(&warm.iter().map(|sample| (x(sample) as f64, of(sample) as f64)).collect::<Vec<_>>())
    };
    Line {
        what: what.to_owned(),
        first: warm.first().map_or(0, &of),
        last: samples.last().map_or(0, &of),
        per_operation: against(|sample| sample.operations),
        per_request: against(|sample| sample.requests),
    }
}

impl Line {
    fn words(&self) -> String {
        let Self { what, first, last, per_operation, per_request } = self;
        let shown = |slope: &Option<f64>| slope.map_or_else(|| "-".into(), |slope| format!("{slope:.2}"));
        format!("{what:<34} {first:>12} {last:>12} {:>14} {:>14}", shown(per_operation), shown(per_request))
    }
}

/// Looks at one kind of process in a sample.
type Look = fn(&Sample) -> Held;

/// Writes the table, and a fault for each growth beyond its bound.
pub(super) fn judge(samples: &[Sample], bounds: Bounds, report: &mut Report) {
    let head = ["since the warm-up", "first", "last", "per operation", "per request"];
    report
        .lines
        .push(format!("{:<34} {:>12} {:>12} {:>14} {:>14}", head[0], head[1], head[2], head[3], head[4]));
    let roles: [(&str, Look); 3] = [
        ("server", |sample| sample.server),
        ("gateway", |sample| sample.gateways),
        ("supervisor", |sample| sample.supervisors),
    ];
    for (role, held) in roles {
        let memory = line(&format!("{role}: memory, bytes"), samples, |sample| held(sample).memory);
        judge_memory(role, &memory, samples, bounds, report);
        report.lines.push(memory.words());
        for (what, more, of) in [
            ("threads", MORE_THREADS, (|held| held.threads) as fn(Held) -> u64),
            ("open files", MORE_FILES, |held| held.files.unwrap_or(0)),
        ] {
            let line = line(&format!("{role}: {what}"), samples, |sample| of(held(sample)));
            if line.last > line.first + more {
                report.fault(format!("{role}: {what} grew from {} to {}", line.first, line.last));
            }
            report.lines.push(line.words());
        }
    }
    report.lines.push(line("instances", samples, |sample| sample.instances).words());
    judge_folders(samples, report);
}

fn judge_memory(role: &str, memory: &Line, samples: &[Sample], bounds: Bounds, report: &mut Report) {
    let passed = |of: fn(&Sample) -> u64| {
        let ends = [samples.first(), samples.last()].map(|sample| sample.map_or(0, of));
        ends[1].saturating_sub(ends[0])
    };
    let (operations, requests) = (passed(|sample| sample.operations), passed(|sample| sample.requests));
    let (slope, bound, enough, of) = match role {
        "server" => (
            memory.per_operation,
            bounds.server_bytes_per_operation,
            operations >= FEWEST_OPERATIONS,
            "operation",
        ),
        "gateway" => {
            (memory.per_request, bounds.gateway_bytes_per_request, requests >= FEWEST_REQUESTS, "request")
        }
        _ => return,
    };
    if let Some(slope) = slope.filter(|slope| enough && *slope > bound) {
        report.fault(format!("{role}: memory grows by {slope:.1} bytes a {of}; the bound is {bound:.1}"));
    }
    if !enough {
        report.lines.push(format!("({role}: too short to judge its memory)"));
    }
}

fn judge_folders(samples: &[Sample], report: &mut Report) {
    let parts: Vec<_> =
        samples.first().map(|sample| sample.folders.keys().cloned().collect()).unwrap_or_default();
    for part in parts {
        let of = |sample: &Sample| sample.folders.get(&part).copied().unwrap_or_default();
        report.lines.push(line(&format!("{part}: entries"), samples, |sample| of(sample).0).words());
        report.lines.push(line(&format!("{part}: bytes"), samples, |sample| of(sample).1).words());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { server_bytes_per_operation: 1_000.0, gateway_bytes_per_request: 8.0 };

    fn samples(server: impl Fn(u64) -> u64, files: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |step: u64| Sample {
            operations: step * 10,
            requests: step * 2_000,
            server: Held { memory: 50_000_000 + server(step * 10), threads: 9, files: Some(files(step)) },
            ..Sample::default()
        };
        (0..40).map(sample).collect()
    }

    fn faults(samples: &[Sample]) -> u64 {
        let mut report = Report::of("load");
        judge(samples, BOUNDS, &mut report);
        report.fault_count()
    }

    #[test]
    fn memory_that_grows_with_operations_is_a_fault_and_a_bounded_one_is_not() {
        assert_eq!(faults(&samples(|operations| operations * 500, |_| 40)), 0);
        assert_eq!(faults(&samples(|operations| operations * 5_000, |_| 40)), 1);
        assert_eq!(faults(&samples(|operations| (operations % 50) * 100_000, |_| 40)), 0);
        assert_eq!(faults(&samples(|operations| operations * 5_000, |_| 40)[..10]), 0);
    }

    #[test]
    fn files_that_stay_open_are_a_fault() {
        assert_eq!(faults(&samples(|_| 0, |step| 40 + step * 10)), 1);
    }

    #[test]
    fn the_slope_is_that_of_what_is_kept() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]), Some(2.0));
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 90.0), (2.0, 60.0), (3.0, 1.0)]), Some(0.0));
        assert_eq!(slope(&[(1.0, 1.0), (1.0, 3.0), (1.0, 5.0), (1.0, 7.0)]), None);
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0)]), None);
    }
}
