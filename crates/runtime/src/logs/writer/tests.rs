//! The account of lines holds whatever fails: a disk that is full, that tears writes, that refuses any step, and a supervisor that is
//! killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;

use super::*;
use crate::logs::disk::LogFolder;
use crate::logs::{LOST, tail};

/// What a disk has, also when its writer is gone.
#[derive(Debug, Default)]
struct Platter {
    files: BTreeMap<String, Vec<u8>>,
    note: Vec<u8>,
    room: usize,
    /// Every so many steps one fails.
    fails_every: usize,
    steps: usize,
    /// Lines that were whole in a file that is gone.
    put_aside: Vec<String>,
}

impl Platter {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        if self.fails_every > 0 && self.steps.is_multiple_of(self.fails_every) {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(())
    }

    fn drop_file(&mut self, name: &str) {
        let lines = lines_of(&self.files.remove(name).unwrap_or_default());
        self.put_aside.extend(lines);
    }

    fn used(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    fn lines(&self) -> Vec<String> {
        self.put_aside.iter().cloned().chain(self.files.values().flat_map(|file| lines_of(file))).collect()
    }
}

fn lines_of(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8(file.to_vec()).unwrap();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

#[derive(Debug, Clone)]
struct BadDisk(Arc<Mutex<Platter>>);

impl BadDisk {
    fn platter<T>(&self, work: impl FnOnce(&mut Platter) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Disk for BadDisk {
    type File = String;

    fn open(&mut self, name: &str) -> io::Result<(String, u64)> {
        self.platter(|platter| {
            platter.step()?;
            let file = platter.files.entry(name.to_owned()).or_default();
            let whole = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            file.truncate(whole);
            Ok((name.to_owned(), whole as u64))
        })
    }

    fn add(&mut self, file: &mut String, bytes: &[u8]) -> io::Result<usize> {
        self.platter(|platter| {
            platter.step()?;
            let count = bytes.len().min(platter.room.saturating_sub(platter.used()));
            platter.files.get_mut(file).unwrap().extend_from_slice(&bytes[..count]);
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        })
    }

    fn cut(&mut self, file: &mut String, size: u64) -> io::Result<()> {
        self.platter(|platter| {
            platter.step()?;
            platter.files.get_mut(file).unwrap().truncate(usize::try_from(size).unwrap());
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.platter(|platter| {
            platter.step()?;
            if let Some(file) = platter.files.remove(from) {
                platter.drop_file(to);
                platter.files.insert(to.to_owned(), file);
            }
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.platter(|platter| {
            platter.step()?;
            platter.drop_file(name);
            Ok(())
        })
    }

    fn noted(&mut self) -> Vec<u8> {
        self.platter(|platter| platter.note.clone())
    }

    fn note(&mut self, text: &[u8]) -> io::Result<()> {
        self.platter(|platter| platter.note = text.to_vec());
        Ok(())
    }
}

/// What happens to a log.
#[derive(Debug, Clone)]
enum Event {
    /// So many lines of a length come at once.
    Burst(usize, usize),
    /// The room on the disk is another.
    Room(usize),
    /// Steps of the disk fail from now on, one in so many; 0 is none.
    Fails(usize),
    /// The supervisor ends in order, and another goes on.
    Restart,
    /// It is killed while it has so many lines in hand.
    Killed(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_usize..400, 0_usize..600).prop_map(|(count, length)| Event::Burst(count, length)),
        2 => (0_usize..60_000).prop_map(Event::Room),
        2 => (0_usize..9).prop_map(Event::Fails),
        1 => Just(Event::Restart),
        1 => (0_usize..50).prop_map(Event::Killed),
    ]
}

/// A log under test, with what was handed in.
struct Trial {
    disk: BadDisk,
    limits: LogLimits,
    log: LogWriter<BadDisk>,
    handed_in: usize,
    /// Lines in hand of supervisors that were killed.
    in_hand: usize,
}

impl Trial {
    fn new(limits: LogLimits) -> Self {
        let disk = BadDisk(Arc::new(Mutex::new(Platter { room: 50_000, ..Platter::default() })));
        let log = LogWriter::new(disk.clone(), limits);
        Self { disk, limits, log, handed_in: 0, in_hand: 0 }
    }

    fn hand_in(&mut self, count: usize, length: usize) {
        for _ in 0..count {
            self.log.line(Source::Out, format!("line {} {}", self.handed_in, "x".repeat(length)).as_bytes());
            self.handed_in += 1;
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Burst(count, length) => {
                self.log.hold(Source::Out, true);
                self.hand_in(count, length);
                self.log.flush();
                self.log.hold(Source::Out, false);
            }
            Event::Room(room) => self.disk.platter(|platter| platter.room = room),
            Event::Fails(every) => self.disk.platter(|platter| platter.fails_every = every),
            Event::Restart => self.restart(),
            Event::Killed(count) => {
                self.log.hold(Source::Err, true);
                self.handed_in += count;
                self.in_hand += count;
                self.restart();
            }
        }
    }

    fn restart(&mut self) {
        self.log = LogWriter::new(self.disk.clone(), self.limits);
    }

    fn said(&self) -> usize {
        let lines = self.disk.platter(|platter| platter.lines());
        let said = |line: &String| {
            line.strip_suffix(" lines were lost because the log could not be written")?
                .rsplit(' ')
                .next()?
                .parse::<usize>()
                .ok()
        };
        lines.iter().filter_map(said).sum::<usize>()
    }

    /// Lines that are whole in a file: each must be one that was handed in, and none twice.
    fn kept(&self) -> usize {
        let lines = self.disk.platter(|platter| platter.lines());
        let numbers = lines.iter().filter_map(|line| {
            let (number, rest) = line.split_once(" out line ")?.1.split_once(' ')?;
            rest.bytes().all(|byte| byte == b'x').then(|| number.parse::<usize>().unwrap())
        });
        let mut numbers: Vec<_> = numbers.collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all, "a line is there twice");
        all
    }

    /// Lines by which a new supervisor says that the one before was killed: they count as handed in too.
    fn of_supervisors(&self) -> usize {
        let lines = self.disk.platter(|platter| platter.lines());
        lines.iter().filter(|line| line.contains("was killed")).count()
    }

    fn unsaid(&self) -> usize {
        usize::try_from(Lost::parse(&self.disk.platter(|platter| platter.note.clone())).lines).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_and_what_is_kept_is_what_was_written(
        events in prop::collection::vec(event(), 1..30),
        files in 1_u32..4,
        file_bytes in 1_000_u64..40_000,
    ) {
        let mut trial = Trial::new(LogLimits { file_bytes, files });
        let mut killed = 0;
        for event in &events {
            killed += usize::from(matches!(event, Event::Killed(_)));
            trial.happen(event);
            let known = trial.kept() + trial.of_supervisors() + trial.said() + trial.unsaid();
            prop_assert_eq!(known, trial.handed_in - trial.in_hand + killed);
        }
        // The disk is well again: everything is said with the next line.
        trial.happen(&Event::Fails(0));
        trial.happen(&Event::Room(usize::MAX));
        trial.happen(&Event::Burst(1, 1));
        prop_assert_eq!(trial.unsaid(), 0);
        let known = trial.kept() + trial.of_supervisors() + trial.said();
        prop_assert_eq!(known, trial.handed_in - trial.in_hand + killed);
    }

    #[test]
    fn killed_at_any_step_of_the_disk_never_fewer_are_said_than_were_lost(
        bursts in prop::collection::vec((1_usize..100, 0_usize..300, 0_usize..30_000), 1..8),
        cut in 0_usize..40,
    ) {
        let mut trial = Trial::new(LogLimits { file_bytes: 20_000, files: 3 });
        for (count, length, room) in bursts {
            trial.happen(&Event::Room(room));
            trial.happen(&Event::Burst(count, length));
        }
        // As if killed after the line about lost ones and before the count: what is on the disk is older than what is said.
        let note = trial.disk.platter(|platter| platter.note.clone());
        trial.happen(&Event::Room(usize::MAX));
        trial.happen(&Event::Burst(cut, 1));
        trial.disk.platter(|platter| platter.note = note);
        trial.restart();
        trial.happen(&Event::Burst(1, 1));
        prop_assert!(trial.kept() + trial.said() >= trial.handed_in);
    }
}

fn sizes(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_name() != LOST);
    files.map(|entry| entry.metadata().unwrap().len()).collect()
}

#[test]
fn files_together_stay_below_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LogLimits { file_bytes: 1_000, files: 3 };
    let mut log = LogWriter::new(LogFolder::at(folder.path().to_owned()), limits);
    for number in 0..500 {
        log.line(Source::Out, format!("line {number}").as_bytes());
    }
    log.flush();
    let sizes = sizes(folder.path());
    assert_eq!(sizes.len(), 3);
    assert!(sizes.iter().all(|size| *size <= 1_000), "{sizes:?}");
    assert!(tail(folder.path(), 1)[0].ends_with(" out line 499"));
}

#[test]
fn a_single_file_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut log =
        LogWriter::new(LogFolder::at(folder.path().to_owned()), LogLimits { file_bytes: 200, files: 1 });
    for _ in 0..50 {
        log.line(Source::Err, b"something went wrong");
    }
    log.flush();
    let sizes = sizes(folder.path());
    assert!(matches!(sizes[..], [size] if size <= 200), "{sizes:?}");
}

#[test]
fn another_writer_goes_on_and_respects_the_size_it_finds() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LogLimits { file_bytes: 100, files: 2 };
    for number in 0..10 {
        let mut log = LogWriter::new(LogFolder::at(folder.path().to_owned()), limits);
        log.line(Source::Out, format!("run {number}").as_bytes());
        log.flush();
    }
    assert!(sizes(folder.path()).iter().all(|size| *size <= 100));
    assert!(tail(folder.path(), 2)[0].ends_with("run 8"));
}

#[test]
fn lost_lines_are_said_once_the_log_can_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogWriter::new(LogFolder::at(path.clone()), LogLimits::default());
    for _ in 0..2_166 {
        log.line(Source::Out, b"lost");
        log.flush();
    }
    fs::create_dir(&path).unwrap();
    log.line(Source::Out, b"kept");
    log.flush();
    let lines = tail(&path, 5);
    assert!(lines[0].ends_with("lockstep 2166 lines were lost because the log could not be written"));
    assert!(lines[1].ends_with("out kept"));
}

#[test]
fn a_killed_supervisor_leaves_its_account_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let open = || LogWriter::new(LogFolder::at(folder.path().to_owned()), LogLimits::default());
    let mut log = open();
    log.line(Source::Out, b"one");
    log.flush();
    log.hold(Source::Out, true);
    // As on a full disk: nothing more can be written.
    fs::remove_file(folder.path().join("current")).unwrap();
    fs::create_dir(folder.path().join("current")).unwrap();
    log.file = None;
    log.line(Source::Out, b"two");
    log.line(Source::Out, b"three");
    log.flush();
    drop(log);
    fs::remove_dir(folder.path().join("current")).unwrap();
    fs::write(folder.path().join("current"), "a line that was not written wh").unwrap();
    let _next = open();
    let lines = tail(folder.path(), 5);
    assert!(
        lines[0].ends_with("lockstep 2 lines were lost because the log could not be written"),
        "{lines:?}"
    );
    assert!(lines[1].contains("the supervisor before was killed"), "{lines:?}");
    let _orderly = open();
    assert_eq!(tail(folder.path(), 5).len(), 2);
}

#[test]
fn nothing_but_a_file_is_written() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    let pipe = |path: &Path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    for make in [&pipe as &dyn Fn(&Path), &|path| symlink(&other, path).unwrap(), &|path| {
        symlink("/dev/full", path).unwrap();
    }] {
        let log = folder.path().join("log");
        fs::create_dir(&log).unwrap();
        make(&log.join("current"));
        make(&log.join(LOST));
        let mut writer = LogWriter::new(LogFolder::at(log.clone()), LogLimits::default());
        writer.line(Source::Out, b"lost");
        writer.flush();
        assert_eq!((writer.lost.lines, tail(&log, 5).len()), (1, 0));
        fs::remove_dir_all(&log).unwrap();
    }
    assert_eq!(fs::read(&other).unwrap(), b"");
}
