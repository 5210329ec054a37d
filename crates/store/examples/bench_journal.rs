//! Measures the journal: durable appends a second beside a bare file, and starting with many events.
//!
//! `cargo run --release -p lockstep-store --example bench_journal -- [--folder DIR] [--events N]...`
//!
//! The folder should lie on the disk that matters; appending to memory says nothing.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockstep_domain::{Actor, Timestamp};
use lockstep_store::journal::{Journal, NewRecord};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The journal and the bare file take turns, so that a disk that others use slows both down alike.
const TURNS: u32 = 10;
/// How long a turn takes.
const TURN: Duration = Duration::from_millis(300);
/// The bytes of a record beside actor and event: two numbers and two hashes.
const FIXED_BYTES: usize = 80;
/// How many records lie after the snapshot in the start that uses one.
const AFTER_SNAPSHOT: u64 = 1_000;
/// The size of the snapshot: a world of some hundred services with their versions.
const SNAPSHOT_BYTES: usize = 5_000_000;
const SNAPSHOT_FORMAT: u32 = 1;

fn main() -> Outcome {
    let (folder, sizes) = arguments()?;
    let folder = folder.join(format!("lockstep-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&folder, &sizes);
    fs::remove_dir_all(&folder)?;
    measured
}

fn arguments() -> Outcome<(PathBuf, Vec<u64>)> {
    let (mut folder, mut sizes) = (std::env::current_dir()?, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--folder" => folder = value.into(),
            "--events" => sizes.push(value.parse()?),
            _ => return Err(format!("unknown argument {word}; try --folder DIR or --events N").into()),
        }
    }
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    Ok((folder, sizes))
}

fn measure(folder: &Path, sizes: &[u64]) -> Outcome {
    println!("machine: {}", machine());
    println!("event: {} bytes of JSON\n", event(1).event.len());
    println!("{:<28} {:>14} {:>20} {:>7}", "durable appends", "events/s", "write+fdatasync/s", "ratio");
    for batch in [1, 100] {
        let mut journal = Journal::open(&folder.join(format!("append-{batch}")))?;
        let mut bare =
            OpenOptions::new().append(true).create_new(true).open(folder.join(format!("bare-{batch}")))?;
        let (mut appended, mut floor) = (Rate::default(), Rate::default());
        for _ in 0..TURNS {
            appended.add_turn(batch, |records| append(&mut journal, &records))?;
            floor.add_turn(batch, |records| append_bare(&mut bare, &records))?;
        }
        let (appended, floor) = (appended.per_second(), floor.per_second());
        let ratio = appended / floor;
        println!("{:<28} {appended:>14.0} {floor:>20.0} {ratio:>7.2}", format!("batch of {batch}"));
    }
    println!(
        "\n{:<28} {:>14} {:>20} {:>12}",
        "open and read", "all events ms", "with snapshot ms", "verify ms"
    );
    for &events in sizes {
        let data = folder.join(format!("start-{events}"));
        fill(&data, events)?;
        let (all, shortened, verified) = (start(&data)?, start_from_snapshot(&data)?, verify(&data)?);
        println!("{:<28} {all:>14.1} {shortened:>20.1} {verified:>12.1}", format!("{events} events"));
        fs::remove_dir_all(data)?;
    }
    Ok(())
}

/// How many events took how long.
#[derive(Default)]
struct Rate {
    events: u64,
    elapsed: Duration,
}

impl Rate {
    /// Appends batches for one turn.
    fn add_turn(&mut self, batch: u64, mut append: impl FnMut(Vec<NewRecord>) -> Outcome) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < TURN {
            append(events(self.events + 1, batch))?;
            self.events += batch;
        }
        self.elapsed += start.elapsed();
        Ok(())
    }

    fn per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }
}

fn append(journal: &mut Journal, records: &[NewRecord]) -> Outcome {
    journal.append(journal.last().seq, records)?;
    Ok(())
}

/// Does the least that makes the same bytes durable: appending to a file and `fdatasync`.
fn append_bare(file: &mut File, records: &[NewRecord]) -> Outcome {
    let mut bytes = Vec::new();
    for new in records {
        bytes.extend_from_slice(new.event.as_bytes());
        bytes.extend_from_slice(new.actor.as_str().as_bytes());
        bytes.extend_from_slice(&[0; FIXED_BYTES]);
    }
    file.write_all(&bytes)?;
    file.sync_data()?;
    Ok(())
}

fn fill(folder: &Path, count: u64) -> Outcome {
    let mut journal = Journal::open(folder)?;
    while journal.last().seq < count {
        let seq = journal.last().seq;
        journal.append(seq, &events(seq + 1, (count - seq).min(10_000)))?;
    }
    let state: Vec<u8> = (0..).flat_map(|n: u64| event(n).event.into_bytes()).take(SNAPSHOT_BYTES).collect();
    journal.save_snapshot(count.saturating_sub(AFTER_SNAPSHOT), SNAPSHOT_FORMAT, &state)?;
    drop(journal);
    // Reading starts from what is on disk, not from pages that are still to be written.
    File::open(folder.join("journal.db"))?.sync_all()?;
    Ok(())
}

/// Opens the journal and reads every record; returns the milliseconds it took.
fn start(folder: &Path) -> Outcome<f64> {
    let start = Instant::now();
    let journal = Journal::open(folder)?;
    let mut bytes = 0;
    let last = journal.reader().for_each_after(0, |record| {
        bytes += record.event.len();
        ControlFlow::Continue(())
    })?;
    let elapsed = start.elapsed();
    assert_eq!((last, bytes > 0), (journal.last(), true), "every record was read");
    Ok(milliseconds(elapsed))
}

fn start_from_snapshot(folder: &Path) -> Outcome<f64> {
    let start = Instant::now();
    let journal = Journal::open(folder)?;
    let snapshot = journal.reader().latest_snapshot(SNAPSHOT_FORMAT)?.ok_or("no snapshot")?;
    let last = journal.reader().for_each_after(snapshot.seq, |_| ControlFlow::Continue(()))?;
    let elapsed = start.elapsed();
    assert_eq!(last, journal.last(), "every later record was read");
    Ok(milliseconds(elapsed))
}

fn verify(folder: &Path) -> Outcome<f64> {
    let start = Instant::now();
    Journal::open_read_only(folder)?.verify()?;
    Ok(milliseconds(start.elapsed()))
}

fn events(first: u64, count: u64) -> Vec<NewRecord> {
    (first..first + count).map(event).collect()
}

/// Makes an event of about 300 bytes that looks like those of a rollout.
fn event(n: u64) -> NewRecord {
    let event = format!(
        r#"{{"type":"instance-healthy","operation":{n},"environment":"production","service":"service-{}","version":"1.{}.{}","config_revision":{},"instance":"service-{}-{n}","reason":"health check /healthz answered with status 200 three times in a row after {} ms","address":"127.0.0.1:{}","weight_permille":{}}}"#,
        n % 500,
        n % 40,
        n % 7,
        n % 90,
        n % 500,
        n % 5_000,
        20_000 + n % 30_000,
        n % 1_000,
    );
    NewRecord { at: Timestamp(1_767_225_600_000 + n), actor: Actor::lockstep(), event }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} cores, {}", cores, model.map_or("unknown processor", |(_, model)| model))
}
