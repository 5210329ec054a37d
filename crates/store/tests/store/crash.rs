//! kill -9 at any moment: every acknowledged record is there, and nothing is half-written.
//!
//! The test binary runs itself again as the process that is killed.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_store::journal::{AppendError, Journal, JournalError, Tampered, Wrong};
use proptest::prelude::*;

use crate::support::{numbered, of_format_1};

/// Names the data folder to the child; without it the child's test is an ordinary, empty run.
const FOLDER: &str = "LOCKSTEP_CRASH_FOLDER";
const KILLS: u64 = 60;

/// Appends batches of 1 to 5 records without end, a snapshot now and then, and says each batch's last number.
fn append_for_ever(folder: &Path) {
    let mut journal = Journal::open(folder).unwrap();
    let mut output = std::io::stdout().lock();
    loop {
        let seq = journal.last().seq;
        let last = journal.append(seq, &numbered(seq % 5 + 1)).unwrap().last().unwrap().seq;
        if seq.is_multiple_of(7) {
            journal.save_snapshot(last, 1, &seq.to_be_bytes()).unwrap();
        }
        writeln!(output, "acknowledged {last}").unwrap();
    }
}

#[test]
fn child_that_appends_until_it_is_killed() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        append_for_ever(Path::new(&folder));
    }
}

fn start_child(folder: &Path) -> Child {
    start("crash::child_that_appends_until_it_is_killed", folder)
}

fn start(test: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Kills the child at a random moment after some acknowledgements; returns the last number it acknowledged.
fn kill_at_random(mut child: Child, random: u64) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = || loop {
        let line = lines.next()?.unwrap();
        if let Some((_, seq)) = line.split_once("acknowledged ") {
            return Some(seq.parse::<u64>().unwrap());
        }
    };
    let mut last = 0;
    for _ in 0..=random % 4 {
        last = acknowledged().expect("the child ended by itself");
    }
    // Spinning, not waiting: it picks the moment within a commit.
    let moment = Instant::now() + Duration::from_micros(random / 4 % 4_000);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::iter::from_fn(acknowledged).last().unwrap_or(last)
}

#[test]
fn acknowledged_records_survive_kill_9_at_random_moments() {
    let folder = tempfile::tempdir().unwrap();
    let mut known = 0;
    for kill in 0..KILLS {
        let random = RandomState::new().hash_one(kill);
        known = kill_at_random(start_child(folder.path()), random).max(known);
        let before = Journal::open_read_only(folder.path()).unwrap().verify().unwrap();
        assert!(before.records >= known, "kill {kill}: {known} acknowledged, {} there", before.records);
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.reader().verify().unwrap(), before);
        assert_eq!(journal.last().seq, before.records);
        journal.reader().latest_snapshot(1).unwrap();
    }
    assert!(known > KILLS, "the children appended");
}

#[test]
fn child_that_starts_on_a_journal() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        drop(Journal::open(Path::new(&folder)).unwrap());
    }
}

#[test]
fn a_first_start_that_was_killed_anywhere_is_finished_by_the_next() {
    let mut interrupted = 0;
    for kill in 0..KILLS {
        let folder = if kill % 2 == 0 { of_format_1() } else { tempfile::tempdir().unwrap() };
        let mut child = start("crash::child_that_starts_on_a_journal", folder.path());
        let random = RandomState::new().hash_one(kill);
        // From the moment that it has the folder, somewhere in the few milliseconds that it writes.
        eventually(|| folder.path().join("journal.lock").exists() || child.try_wait().unwrap().is_some());
        let moment = Instant::now() + Duration::from_micros(random % 12_000);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        interrupted += i32::from(!child.wait().unwrap().success());
        let records = if kill % 2 == 0 { 3 } else { 0 };
        Journal::open(folder.path()).unwrap().append(records, &numbered(1)).unwrap();
        let verified = Journal::open_read_only(folder.path()).unwrap().verify().unwrap();
        assert_eq!((verified.records, verified.keyed_after), (records + 1, Some(records)));
    }
    assert!(interrupted > 0, "no start was killed before it was done");
}

fn eventually(condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    let mut condition = condition;
    while !condition() {
        assert!(Instant::now() < end, "the child did not begin");
        std::thread::yield_now();
    }
}

/// Appends until the disk fails, says what was acknowledged, and checks that nothing more is taken.
fn append_until_failure(folder: &Path) {
    let mut journal = Journal::open(folder).unwrap();
    let failure = loop {
        let seq = journal.last().seq;
        match journal.append(seq, &numbered(5)) {
            Ok(_) => println!("acknowledged {}", journal.last().seq),
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, AppendError::Io { .. }), "{failure}");
    let after = journal.append(journal.last().seq, &numbered(1)).unwrap_err();
    assert!(matches!(after, AppendError::Closed { .. }), "{after}");
    println!("closed");
}

#[test]
fn child_that_appends_until_the_disk_fails() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        append_until_failure(Path::new(&folder));
    }
}

#[test]
fn failing_write_closes_the_journal_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A limit of the size of files makes writes fail in a way that is not a full disk.
    let output = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 400; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_appends_until_the_disk_fails", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("closed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let acknowledged: u64 =
        text.lines().filter_map(|line| line.split_once("acknowledged ")?.1.parse().ok()).max().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.reader().verify().unwrap().records, acknowledged);
    journal.append(acknowledged, &numbered(1)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn lost_end_of_the_log_leaves_whole_batches_and_is_found_by_the_head(cut in any::<prop::sample::Index>()) {
        const BATCH: u64 = 7;
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let first_head = fs::read(folder.path().join("journal.head")).unwrap();
        for seq in (0..5).map(|batch| batch * BATCH) {
            journal.append(seq, &numbered(BATCH)).unwrap();
        }
        // The files as they are on disk while the journal is open, the log without its end.
        let (noted, lagging) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = fs::read(folder.path().join("journal.db-wal")).unwrap();
        log.truncate(cut.index(log.len()));
        for copy in [&noted, &lagging] {
            for name in ["journal.db", "journal.key"] {
                fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
            }
            fs::write(copy.path().join("journal.db-wal"), &log).unwrap();
        }
        fs::copy(folder.path().join("journal.head"), noted.path().join("journal.head")).unwrap();
        fs::write(lagging.path().join("journal.head"), first_head).unwrap();

        let kept = match Journal::open(lagging.path()) {
            Ok(journal) => journal.reader().verify().unwrap().records,
            // Even the tables are lost; they were synced before the key was said to be in use.
            Err(JournalError::NotKeyed { found: 0, .. }) => 0,
            Err(other) => panic!("{other}"),
        };
        prop_assert_eq!(kept % BATCH, 0);
        match Journal::open(noted.path()) {
            Ok(journal) => prop_assert_eq!(journal.last().seq, 5 * BATCH),
            Err(JournalError::Tampered(Tampered { seq, wrong, .. })) => {
                prop_assert_eq!((seq, wrong), (kept + 1, Wrong::Removed));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
