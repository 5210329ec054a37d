//! The history in a folder: takes rows, closes what is over, removes what is old, and reads curves.
//!
//! Time is what the caller says. Rows are kept under their own times; one that is not later than the last is refused, unless the clock
//! went back by more than [`MAX_STEP_BACK_MS`]: then a new part begins, and both are read, each row once.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lockstep_files::{foreign, whole};

use crate::code::{GAP, code_of, value_of};
use crate::curve::Curves;
use crate::disk::Disk;
use crate::gather::{Gather, Gathered, is_one_step};
use crate::key::SeriesKey;
use crate::level::Level;
use crate::log::{FORMAT, Head, read_head};
use crate::name::{Form, PartName};
use crate::problem::{AppendError, OpenError, Problem};
use crate::query::{Answer, Query};
use crate::rows::Row;
use crate::segment;
use crate::shelf::{LOG_FORM, Part, Shelf, first_bytes};

/// Series that a row can have, whatever a caller asks for: at two bytes a value and 8,640 rows it is what still fits into memory.
pub const MAX_SERIES: usize = 200_000;

/// A clock that is set right by less than this costs as many rows; what goes back farther is another time.
const MAX_STEP_BACK_MS: u64 = 120_000;
/// Rows are at least so far apart.
const MIN_STEP_MS: u64 = 1_000;
/// Beyond this there is no time: the year 10,889. Sums of times stay far from the end of 64 bits.
const MAX_MS: u64 = 1 << 48;
/// What is old is removed only when the clock ran for so long without a jump: one wrong time must not cost a month.
const STEADY_MS: u64 = 3_600_000;
/// After a part could not be closed, so many rows are refused before it is tried again: packing costs half a second.
const ROWS_TO_WAIT: u32 = 5;
/// Files of closed parts; a month has 56, and a clock that goes back all the time may make more.
const MAX_PARTS: usize = 2_000;
/// Names in a folder that are looked at.
const MAX_NAMES: usize = 100_000;
/// Problems that are kept until a row is taken.
const MAX_TOLD: usize = 1_000;
const LOCK: &str = "lock";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes on disk; while a part is closed, those of its log count beside those of its segment.
    pub bytes: u64,
    /// Series in an hour, and in a day; at most [`MAX_SERIES`]. Those beyond are dropped and counted.
    pub series: usize,
    /// How long rows of 10 seconds are kept, in milliseconds.
    pub fine_ms: u64,
    /// How long rows of 5 minutes are kept, in milliseconds.
    pub coarse_ms: u64,
}

/// What became of a row that was taken.
#[derive(Debug, Default)]
pub struct Appended {
    /// Values that were dropped because there are too many series.
    pub dropped: usize,
    /// What went wrong beside it, and since the last row that was taken.
    pub problems: Vec<Problem>,
}

/// The history in a folder. One thread at a time writes; a row costs milliseconds, the one that ends an hour about a second.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    lock: File,
    bounds: Bounds,
    fine: Shelf,
    coarse: Shelf,
    gather: Gather,
    next_number: u64,
    last_ms: Option<u64>,
    steady_since_ms: u64,
    rows_to_wait: u32,
    /// What no answer has said yet, because rows were refused meanwhile.
    problems: Vec<Problem>,
}

impl Default for Bounds {
    /// 200 MB, 50,000 series, a day and 31 days.
    fn default() -> Self {
        Self { bytes: 200_000_000, series: 50_000, fine_ms: 86_400_000, coarse_ms: 31 * 86_400_000 }
    }
}

impl Store {
    /// Opens a folder, which is made when it is not there, and says what was wrong with what lay in it.
    ///
    /// # Errors
    /// When the folder cannot be used, another process has it, or a newer release wrote to it.
    pub fn open(folder: &Path, bounds: Bounds) -> Result<(Self, Vec<Problem>), OpenError> {
        Self::open_on(folder, bounds, Disk::default())
    }

    pub(crate) fn open_on(
        folder: &Path,
        bounds: Bounds,
        disk: Disk,
    ) -> Result<(Self, Vec<Problem>), OpenError> {
        let fault = |source| OpenError::Folder { folder: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault)?;
        let lock = lock(folder)?;
        let files = files(folder).map_err(fault)?;
        check_formats(folder, &files)?;
        let mut problems = Vec::new();
        let fine = Shelf::open(Level::Fine, folder, disk.clone(), &files, &mut problems);
        let coarse = Shelf::open(Level::Coarse, folder, disk, &files, &mut problems);
        let mut store = Self {
            folder: folder.to_owned(),
            lock,
            bounds: Bounds { series: bounds.series.min(MAX_SERIES), ..bounds },
            next_number: files.iter().map(|(name, _)| name.number).max().map_or(1, |number| number + 1),
            last_ms: fine.last_ms(),
            fine,
            coarse,
            gather: Gather::default(),
            steady_since_ms: u64::MAX,
            rows_to_wait: 0,
            problems,
        };
        store.gather_again();
        let problems = std::mem::take(&mut store.problems);
        Ok((store, problems))
    }

    /// Takes the values of all series at a time, in milliseconds since 1970. A value that is not finite is none. Where a series is named
    /// twice, the last value counts. The row is in the file on return, and on the disk within a minute.
    ///
    /// # Errors
    /// When the row was not taken; whatever was taken before is still there, and later rows can be.
    pub fn append(&mut self, at_ms: u64, values: &[(SeriesKey, f64)]) -> Result<Appended, AppendError> {
        self.check_time(at_ms)?;
        self.check_place()?;
        self.turn(at_ms)?;
        let dropped = self.add(at_ms, values)?;
        self.note_time(at_ms);
        self.retire(at_ms);
        Ok(Appended { dropped, problems: std::mem::take(&mut self.problems) })
    }

    /// Reads curves: rows of 10 seconds where there are, those of 5 minutes before.
    #[must_use]
    pub fn read(&self, query: &Query) -> Answer {
        let (mut curves, mut problems) = (Curves::new(query), Vec::new());
        let covered = read_shelf(&self.fine, query, &[], &mut curves, &mut problems);
        read_shelf(&self.coarse, query, &covered, &mut curves, &mut problems);
        let (series, extent) = curves.finish();
        Answer { step_ms: query.step_ms(), series, extent, problems }
    }

    /// Returns the bytes that the history has on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.fine.bytes() + self.coarse.bytes()
    }

    /// Returns the series of the present hour.
    #[must_use]
    pub fn series(&self) -> usize {
        self.fine.rows().keys().len()
    }

    fn check_time(&self, at_ms: u64) -> Result<(), AppendError> {
        match self.last_ms {
            _ if at_ms > MAX_MS => Err(AppendError::NoTime(at_ms)),
            Some(last_ms) if at_ms <= last_ms && last_ms - at_ms <= MAX_STEP_BACK_MS => {
                Err(AppendError::NotLater { at_ms, last_ms })
            }
            Some(last_ms) if at_ms > last_ms && at_ms - last_ms < MIN_STEP_MS => {
                Err(AppendError::TooSoon { at_ms, last_ms })
            }
            _ => Ok(()),
        }
    }

    fn check_place(&self) -> Result<(), AppendError> {
        let is_here = whole::is_at(&self.lock, &self.folder.join(LOCK));
        if is_here && self.fine.is_in_place() && self.coarse.is_in_place() {
            Ok(())
        } else {
            Err(AppendError::Lost(self.folder.clone()))
        }
    }

    /// Ends what a row is no longer of: 5 minutes, an hour, a day.
    fn turn(&mut self, at_ms: u64) -> Result<(), AppendError> {
        let is_next = self.fine.rows().has_place_for(at_ms);
        if !is_next || !self.gather.is_for(at_ms) {
            self.write_gathered()?;
        }
        if is_next { Ok(()) } else { self.close(Level::Fine) }
    }

    fn write_gathered(&mut self) -> Result<(), AppendError> {
        let Some(at_ms) = self.gather.first_ms() else { return Ok(()) };
        if !self.coarse.rows().has_place_for(at_ms) {
            self.close(Level::Coarse)?;
        }
        let row = self.coarse_row(at_ms);
        self.write(Level::Coarse, row)?;
        self.gather.clear();
        Ok(())
    }

    fn coarse_row(&mut self, at_ms: u64) -> Row {
        let keys = self.fine.rows().keys();
        let rows = self.coarse.rows_mut();
        let place =
            |gathered: Gathered| Some((rows.place(&keys[gathered.place], self.bounds.series)?, gathered));
        let placed: Vec<_> = self.gather.gathered().filter_map(place).collect();
        let series = rows.keys().len();
        let mut codes = vec![GAP; series * 2];
        for (place, gathered) in placed {
            codes[place] = gathered.average;
            codes[series + place] = gathered.largest;
        }
        Row { at_ms, codes: codes.into() }
    }

    /// Writes a row of the fine level, and returns how many values had no place.
    fn add(&mut self, at_ms: u64, values: &[(SeriesKey, f64)]) -> Result<usize, AppendError> {
        let rows = self.fine.rows_mut();
        let placed = values.iter().map(|(key, value)| Some((rows.place(key, self.bounds.series)?, *value)));
        let placed: Vec<_> = placed.collect();
        let mut kept = vec![f64::NAN; rows.keys().len()];
        placed.iter().flatten().for_each(|(place, value)| kept[*place] = *value);
        let codes = kept.iter().map(|value| code_of(*value)).collect();
        self.write(Level::Fine, Row { at_ms, codes })?;
        self.gather.add(at_ms, kept.into_iter().enumerate());
        Ok(placed.iter().filter(|placed| placed.is_none()).count())
    }

    fn write(&mut self, level: Level, row: Row) -> Result<(), AppendError> {
        let records = self.shelf(level).records(&row);
        let written = self.write_records(level, row, &records);
        if written.is_err() {
            self.shelf_mut(level).forget_unlogged();
        }
        written
    }

    fn write_records(&mut self, level: Level, row: Row, records: &[u8]) -> Result<(), AppendError> {
        if !self.make_room(records.len() as u64) {
            return Err(AppendError::Bound { used: self.bytes(), bound: self.bounds.bytes });
        }
        let number = self.next_number;
        let written = self.shelf_mut(level).write(row, records, number);
        // Also where it failed: the file may have got that name.
        self.next_number += 1;
        let file = self.shelf(level).present_file();
        written.map_err(|source| AppendError::Write { file: file.clone(), source })?;
        let synced = self.shelf(level).sync();
        if let Err(source) = synced {
            self.tell(Problem::Undone { file, what: "synced", source });
        }
        Ok(())
    }

    fn close(&mut self, level: Level) -> Result<(), AppendError> {
        if self.rows_to_wait > 0 {
            self.rows_to_wait -= 1;
            return Err(AppendError::Waiting(self.rows_to_wait + 1));
        }
        let segment = segment::write(self.shelf(level).rows());
        if !self.make_room(segment.len() as u64) {
            // Nothing else is left, so this is the oldest.
            self.shelf_mut(level).give_up_present();
            self.make_room(0);
            return Ok(());
        }
        let file = self.shelf(level).present_file();
        match self.shelf_mut(level).close(&segment) {
            Ok(removed) => removed.unwrap_or_else(|problem| self.tell(problem)),
            Err(source) => {
                self.rows_to_wait = ROWS_TO_WAIT;
                return Err(AppendError::Write { file, source });
            }
        }
        Ok(())
    }

    /// Removes the oldest parts until so many bytes are left; `false` when that cannot be.
    fn make_room(&mut self, bytes: u64) -> bool {
        let is_full = |store: &Self| {
            store.bytes() + bytes > store.bounds.bytes
                || store.fine.parts().len() + store.coarse.parts().len() > MAX_PARTS
        };
        while is_full(self) {
            let oldest = |shelf: &Shelf| shelf.parts().first().map(|part| part.name);
            let oldest = Level::BOTH.into_iter().filter_map(|level| oldest(self.shelf(level))).min();
            let Some(name) = oldest else { return false };
            match self.shelf_mut(name.level).remove(0) {
                Ok(part) => self.tell(dropped(&part)),
                Err(problem) => {
                    self.tell(problem);
                    return false;
                }
            }
        }
        true
    }

    fn note_time(&mut self, at_ms: u64) {
        let steps = |last_ms: u64| at_ms > last_ms && at_ms - last_ms <= STEADY_MS;
        if !self.last_ms.is_some_and(steps) || self.steady_since_ms > at_ms {
            self.steady_since_ms = at_ms;
        }
        self.last_ms = Some(at_ms);
    }

    /// Removes what is older than it is kept.
    fn retire(&mut self, now_ms: u64) {
        if now_ms - self.steady_since_ms < STEADY_MS {
            return;
        }
        for (level, kept_ms) in [(Level::Fine, self.bounds.fine_ms), (Level::Coarse, self.bounds.coarse_ms)] {
            let oldest_ms = now_ms.saturating_sub(kept_ms);
            // What cannot be read has at least the time in its name.
            let is_old =
                |part: &Part| part.range.map_or(part.name.start_ms, |(_, last_ms)| last_ms) < oldest_ms;
            while let Some(place) = self.shelf(level).parts().iter().position(is_old) {
                if let Err(problem) = self.shelf_mut(level).remove(place) {
                    self.tell(problem);
                    break;
                }
            }
        }
    }

    /// Gathers the rows again that no row of 5 minutes was made of before the process ended.
    fn gather_again(&mut self) {
        let Some((first_ms, last_ms)) = self.fine.rows().times() else { return };
        let written_ms = self.coarse.last_ms().filter(|written_ms| (first_ms..=last_ms).contains(written_ms));
        let is_new = |row: &&Row| {
            written_ms.is_none_or(|written_ms| row.at_ms > written_ms && !is_one_step(row.at_ms, written_ms))
        };
        let rows: Vec<Row> = self.fine.rows().rows().iter().filter(is_new).cloned().collect();
        for row in rows {
            if !self.gather.is_for(row.at_ms)
                && let Err(error) = self.write_gathered()
            {
                self.tell(not_gathered(error));
                self.gather.clear();
            }
            let values = row.codes.iter().map(|code| value_of(*code).unwrap_or(f64::NAN));
            self.gather.add(row.at_ms, values.enumerate());
        }
    }

    /// Notes what the next row that is taken brings back.
    fn tell(&mut self, problem: Problem) {
        if self.problems.len() < MAX_TOLD {
            self.problems.push(problem);
        }
    }

    const fn shelf(&self, level: Level) -> &Shelf {
        match level {
            Level::Fine => &self.fine,
            Level::Coarse => &self.coarse,
        }
    }

    const fn shelf_mut(&mut self, level: Level) -> &mut Shelf {
        match level {
            Level::Fine => &mut self.fine,
            Level::Coarse => &mut self.coarse,
        }
    }
}

fn not_gathered(error: AppendError) -> Problem {
    let source = io::Error::other(error);
    Problem::Undone { file: Level::Coarse.word().to_owned(), what: "brought up to date", source }
}

fn dropped(part: &Part) -> Problem {
    let (first_ms, last_ms) = part.range.unwrap_or_default();
    Problem::Dropped { file: part.file(), bytes: part.bytes, first_ms, last_ms }
}

/// Adds what a level has, the newest first, and returns the times that it covers.
fn read_shelf(
    shelf: &Shelf,
    query: &Query,
    covered: &[(u64, u64)],
    curves: &mut Curves<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    if let Some(range) = shelf.rows().times().filter(|range| query.overlaps(*range)) {
        curves.add(shelf.read_present(query), covered);
        ranges.push(range);
    }
    for part in shelf.parts().iter().rev() {
        let Some(range) = part.range.filter(|range| query.overlaps(*range)) else { continue };
        match shelf.read_part(part, query) {
            Ok(columns) => {
                curves.add(columns, covered);
                ranges.push(range);
            }
            Err(source) => problems.push(Problem::Unreadable { file: part.file(), source }),
        }
    }
    ranges
}

/// Locks the folder and says in it who has it.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let fault = |source| OpenError::Folder { folder: folder.to_owned(), source };
    let Some(mut file) = whole::claim(&path).map_err(fault)? else {
        let by = foreign::open_no_link(&path).and_then(|file| foreign::read_text(file, 100));
        let by = by.ok().filter(|by| !by.is_empty()).unwrap_or_else(|| "another process".to_owned());
        return Err(OpenError::Taken { folder: folder.to_owned(), by });
    };
    // Only for people: a full disk must not keep the history from being read.
    let _ = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
    Ok(file)
}

/// Returns the names of ours in the folder, and removes files that were not finished.
fn files(folder: &Path) -> io::Result<Vec<(PartName, Form)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_NAMES) {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let unfinished = name.strip_suffix(whole::UNFINISHED).and_then(|name| name.strip_suffix('.'));
        if unfinished.and_then(PartName::read).is_some() {
            // It counts for nothing, and is written over where it stays.
            let _ = fs::remove_file(folder.join(name));
        }
        files.extend(PartName::read(name));
    }
    Ok(files)
}

fn check_formats(folder: &Path, files: &[(PartName, Form)]) -> Result<(), OpenError> {
    for (name, form) in files {
        let file = name.file(*form);
        let head = foreign::open_no_link(&folder.join(&file)).and_then(|file| first_bytes(&file));
        let byte = if *form == Form::Log { LOG_FORM } else { segment::FORM };
        if let Some(Head::Newer(found)) = head.ok().map(|head| read_head(&head, byte, name.level)) {
            return Err(OpenError::Newer { file, found, known: FORMAT });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
