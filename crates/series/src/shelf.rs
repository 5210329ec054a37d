//! One level of the history on disk: closed parts, and the present one in a log and in memory.
//!
//! It decides nothing about time or room; [`crate::store`] does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lockstep_files::{foreign, whole};

use crate::curve::Columns;
use crate::disk::{Disk, MODE};
use crate::level::Level;
use crate::log::{self, Head};
use crate::name::{Form, PartName};
use crate::problem::Problem;
use crate::rows::{Row, Rows};
use crate::segment::{self, Column, Wanted};

/// The byte of the head that says log.
pub(crate) const LOG_FORM: u8 = 0;

/// Rows after which the log of a level is made durable against a power cut.
const fn rows_a_sync(level: Level) -> usize {
    match level {
        // A minute, so that the disk is woken once a minute and not each 10 seconds.
        Level::Fine => 6,
        Level::Coarse => 1,
    }
}

/// A part that gets no more rows.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: PartName,
    pub(crate) form: Form,
    pub(crate) bytes: u64,
    /// The times of the first and the last row; `None` where it cannot be read.
    pub(crate) range: Option<(u64, u64)>,
}

/// The part that gets rows.
#[derive(Debug)]
struct Present {
    rows: Rows,
    log: Option<Log>,
    /// Series that the log names.
    logged: usize,
}

#[derive(Debug)]
struct Log {
    name: PartName,
    path: PathBuf,
    file: File,
    length: u64,
    end: End,
}

/// What lies behind the last whole row of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    /// A row that could not be written whole, and could not be cut off.
    Torn,
}

/// A level.
#[derive(Debug)]
pub(crate) struct Shelf {
    level: Level,
    folder: PathBuf,
    disk: Disk,
    parts: Vec<Part>,
    present: Present,
}

impl Part {
    pub(crate) fn file(&self) -> String {
        self.name.file(self.form)
    }
}

impl Present {
    fn new(level: Level) -> Self {
        Self { rows: Rows::new(level), log: None, logged: 0 }
    }
}

impl Shelf {
    /// Reads what is there. Ends of logs that are not whole are cut off.
    pub(crate) fn open(
        level: Level,
        folder: &Path,
        disk: Disk,
        files: &[(PartName, Form)],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let (folder, present) = (folder.to_owned(), Present::new(level));
        let mut shelf = Self { level, folder, disk, parts: Vec::new(), present };
        let mut files: Vec<_> = files.iter().filter(|(name, _)| name.level == level).copied().collect();
        // Segments before logs, so that a log is known to be closed already; then from old to new.
        files.sort_by_key(|(name, form)| (*form != Form::Segment, *name));
        for (name, form) in files {
            let taken = match form {
                Form::Segment => shelf.take_segment(name),
                Form::Log => shelf.take_log(name, problems),
            };
            if let Err(source) = taken {
                shelf.pass_over(name, form);
                problems.push(Problem::Unreadable { file: name.file(form), source });
            }
        }
        shelf.parts.sort_by_key(|part| part.name);
        shelf
    }

    fn take_segment(&mut self, name: PartName) -> io::Result<()> {
        let file = foreign::open_no_link(&self.path(name, Form::Segment))?;
        check_head(&file, segment::FORM, self.level)?;
        let range = segment::read_index(&file)?.range();
        let bytes = file.metadata()?.len();
        self.parts.push(Part { name, form: Form::Segment, bytes, range });
        Ok(())
    }

    fn take_log(&mut self, name: PartName, problems: &mut Vec<Problem>) -> io::Result<()> {
        let path = self.path(name, Form::Log);
        let is_closed = self.parts.iter().any(|part| part.name == name && part.range.is_some());
        let file =
            OpenOptions::new().write(true).read(true).open(foreign::open_no_link(&path).map(|_| &path)?)?;
        let size = file.metadata()?.len();
        let content = match check_head(&file, LOG_FORM, self.level)? {
            Head::Known if !is_closed => log::read(&file, self.level)?,
            _ => log::Content { rows: Rows::new(self.level), length: 0 },
        };
        if !is_closed && content.length < size {
            problems.push(Problem::TornEnd { file: name.file(Form::Log), bytes: size - content.length });
        }
        if content.rows.rows().is_empty() {
            return self.disk.remove(&path);
        }
        if content.length < size {
            self.disk.set_length(&file, content.length)?;
        }
        self.set_present(content, Log { name, path, file, length: 0, end: End::Clean });
        Ok(())
    }

    /// Makes a log the present one; the one before stays as it is.
    fn set_present(&mut self, content: log::Content, log: Log) {
        self.leave_log();
        let logged = content.rows.keys().len();
        self.present =
            Present { rows: content.rows, log: Some(Log { length: content.length, ..log }), logged };
    }

    /// Ends the present part without closing it.
    fn leave_log(&mut self) {
        let present = std::mem::replace(&mut self.present, Present::new(self.level));
        if let Some(log) = present.log {
            let range = present.rows.times();
            self.parts.push(Part { name: log.name, form: Form::Log, bytes: log.length, range });
        }
    }

    fn pass_over(&mut self, name: PartName, form: Form) {
        let size = std::fs::symlink_metadata(self.path(name, form)).map(|found| found.len());
        self.parts.push(Part { name, form, bytes: size.unwrap_or_default(), range: None });
    }

    fn path(&self, name: PartName, form: Form) -> PathBuf {
        self.folder.join(name.file(form))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) const fn rows(&self) -> &Rows {
        &self.present.rows
    }

    pub(crate) const fn rows_mut(&mut self) -> &mut Rows {
        &mut self.present.rows
    }

    /// The name of the present log, where there is one.
    pub(crate) fn present_file(&self) -> String {
        self.present.log.as_ref().map(|log| log.name.file(Form::Log)).unwrap_or_default()
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let log = self.present.log.as_ref().map_or(0, |log| log.length);
        self.parts.iter().map(|part| part.bytes).sum::<u64>() + log
    }

    /// Returns the number and range of the last row that was written, by the order of writing.
    pub(crate) fn last_ms(&self) -> Option<u64> {
        let closed = || self.parts.iter().rev().find_map(|part| part.range);
        self.present.rows.times().or_else(closed).map(|(_, last_ms)| last_ms)
    }

    /// Returns what a row would add to the log.
    pub(crate) fn records(&self, row: &Row) -> Vec<u8> {
        let rows = &self.present.rows;
        let mut bytes = match &self.present.log {
            Some(log) if log.length > 0 => Vec::new(),
            _ => log::head(LOG_FORM, self.level).to_vec(),
        };
        bytes.extend(log::keys_records(&rows.keys()[self.present.logged..]));
        bytes.extend(log::row_record(row, rows.rows().last(), self.level));
        bytes
    }

    /// Writes a row, whose records are given; a new log gets the number. The row is not there when it fails.
    pub(crate) fn write(&mut self, row: Row, records: &[u8], number: u64) -> io::Result<()> {
        if self.present.log.is_none() {
            let name = PartName { number, level: self.level, start_ms: row.at_ms };
            self.present.log = Some(self.new_log(name)?);
        }
        if let Some(log) = &mut self.present.log {
            log.add(records, &self.disk)?;
        }
        self.present.logged = self.present.rows.keys().len();
        self.present.rows.push(row);
        Ok(())
    }

    fn new_log(&self, name: PartName) -> io::Result<Log> {
        let path = self.path(name, Form::Log);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&path)?;
        whole::sync_folder_of(&path)?;
        Ok(Log { name, path, file, length: 0, end: End::Clean })
    }

    /// Forgets series that no row is of.
    pub(crate) fn forget_unlogged(&mut self) {
        self.present.rows.forget_keys(self.present.logged);
    }

    /// Tells whether the log is still where it was made.
    pub(crate) fn is_in_place(&self) -> bool {
        self.present.log.as_ref().is_none_or(|log| whole::is_at(&log.file, &log.path))
    }

    /// Makes rows durable against a power cut, now and then.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let is_due = self.present.rows.rows().len().is_multiple_of(rows_a_sync(self.level));
        match &self.present.log {
            Some(log) if is_due => log.file.sync_data(),
            _ => Ok(()),
        }
    }

    /// Puts the present part on disk as a segment, and begins an empty one. Nothing is changed when it fails.
    pub(crate) fn close(&mut self, segment: &[u8]) -> io::Result<Result<(), Problem>> {
        let Some(log) = &self.present.log else { return Ok(Ok(())) };
        let name = log.name;
        self.disk.put(&self.path(name, Form::Segment), segment)?;
        let removed = self.disk.remove(&self.path(name, Form::Log));
        let range = self.present.rows.times();
        // One that could not be read and was of the same time has just been replaced.
        self.parts.retain(|part| part.name != name);
        self.parts.push(Part { name, form: Form::Segment, bytes: segment.len() as u64, range });
        self.present = Present::new(self.level);
        Ok(removed.map_err(|source| undone(name.file(Form::Log), "removed", source)))
    }

    /// Makes the present part an old one as it is, so that it can be removed.
    pub(crate) fn give_up_present(&mut self) {
        self.leave_log();
    }

    /// Removes a part.
    pub(crate) fn remove(&mut self, place: usize) -> Result<Part, Problem> {
        let file = self.parts[place].file();
        let removed = self.disk.remove(&self.folder.join(&file));
        removed.map_err(|source| undone(file, "removed", source))?;
        Ok(self.parts.remove(place))
    }

    /// Reads columns of a closed part.
    pub(crate) fn read_part(&self, part: &Part, wanted: &impl Wanted) -> io::Result<Columns> {
        let file = foreign::open_no_link(&self.path(part.name, part.form))?;
        if part.form == Form::Log {
            return Ok(columns(&log::read(&file, self.level)?.rows, wanted));
        }
        let index = segment::read_index(&file)?;
        let columns = segment::read_columns(&file, &index, self.level, wanted)?;
        Ok(Columns { level: self.level, times: index.times, columns })
    }

    /// Reads columns of the present part.
    pub(crate) fn read_present(&self, wanted: &impl Wanted) -> Columns {
        columns(&self.present.rows, wanted)
    }
}

impl Log {
    fn add(&mut self, bytes: &[u8], disk: &Disk) -> io::Result<()> {
        self.cut(disk)?;
        self.end = End::Torn;
        let written = disk.write_at(&self.file, bytes, self.length);
        if let Err(error) = written {
            // What cannot be cut off now is cut off before the next row, or when the folder is opened.
            let _ = self.cut(disk);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.end = End::Clean;
        Ok(())
    }

    fn cut(&mut self, disk: &Disk) -> io::Result<()> {
        if self.end == End::Torn {
            disk.set_length(&self.file, self.length)?;
            self.end = End::Clean;
        }
        Ok(())
    }
}

fn undone(file: String, what: &'static str, source: io::Error) -> Problem {
    Problem::Undone { file, what, source }
}

fn columns(rows: &Rows, wanted: &impl Wanted) -> Columns {
    let column = |(place, key): (usize, &crate::key::SeriesKey)| {
        let is_wanted = key.as_str().starts_with(wanted.prefix()) && wanted.is_wanted(key.as_str());
        let largest = || (rows.level() == Level::Coarse).then(|| rows.column(place, 1));
        is_wanted.then(|| Column { key: key.clone(), averages: rows.column(place, 0), largest: largest() })
    };
    let times = rows.rows().iter().map(|row| row.at_ms).collect();
    Columns {
        level: rows.level(),
        times,
        columns: rows.keys().iter().enumerate().filter_map(column).collect(),
    }
}

/// Reads the first bytes of a file and says what they are; a cut head is only of a log.
fn check_head(file: &File, form: u8, level: Level) -> io::Result<Head> {
    match log::read_head(&first_bytes(file)?, form, level) {
        Head::Known => Ok(Head::Known),
        Head::Cut if form == LOG_FORM => Ok(Head::Cut),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no part of a history")),
    }
}

/// Reads as many bytes as a head has, and goes back to the beginning.
pub(crate) fn first_bytes(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(log::HEAD_LENGTH as u64).read_to_end(&mut bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(bytes)
}
