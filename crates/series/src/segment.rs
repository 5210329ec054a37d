//! The file of a time that is over: columns of series, packed, in groups with an index by key. It never changes.
//!
//! | bytes | what |
//! | --- | --- |
//! | 10 | head |
//! | groups | each: length of its table (4), its table (zstd: for each series key, bytes of each column), its columns |
//! | index | zstd: rows (4), their times (8 each, as differences), for each group its first key, bytes (4), checksum (4) |
//! | 12 | bytes of the index (4), its checksum (4), the end mark (4) |
//!
//! Series are ordered by key and a group has those of one service or of some small ones, so the chart of a service reads the index and a
//! group or two. A reader believes no number: all are held against the size of the file and the bounds here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::code::GAP;
use crate::column;
use crate::key::SeriesKey;
use crate::level::{Level, MAX_ROWS};
use crate::log::{HEAD_LENGTH, head, put_text, take_text};
use crate::rows::Rows;

/// The byte of the head that says segment.
pub(crate) const FORM: u8 = 1;

const END_MARK: &[u8; 4] = b"end\n";
const TAIL_LENGTH: usize = 12;
/// Distances of peaks are mostly multiples of 8: their low bits go to the other end, where they are no bits of small numbers.
const PEAK_BITS: u32 = 3;
/// A service with at least so many series ends a group.
const GROUP_LEAST: usize = 64;
/// A group has at most so many.
const GROUP_MOST: usize = 256;
/// Bytes of an index, before and after packing: of 200,000 series with the longest names.
const MAX_INDEX: usize = 4 << 20;
/// Bytes of a table of a group before packing.
const MAX_TABLE: usize = GROUP_MOST * 600;
/// Bytes of a group.
const MAX_GROUP: usize = MAX_TABLE * 2 + GROUP_MOST * 2 * column::MAX_BYTES;
const ZSTD_LEVEL: i32 = 9;

/// What is known of a segment without its columns.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) times: Vec<u64>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    first: String,
    offset: u64,
    bytes: u32,
    sum: u32,
}

/// The codes of a series over the rows of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) key: SeriesKey,
    pub(crate) averages: Vec<u16>,
    /// The largest values; none where they are the averages.
    pub(crate) largest: Option<Vec<u16>>,
}

/// Which keys are read.
pub(crate) trait Wanted {
    /// What each of them begins with.
    fn prefix(&self) -> &str;
    /// Whether one that begins so is read.
    fn is_wanted(&self, key: &str) -> bool;
}

/// Returns the bytes of a segment.
pub(crate) fn write(rows: &Rows) -> Vec<u8> {
    let mut order: Vec<usize> = (0..rows.keys().len()).collect();
    order.sort_unstable_by_key(|place| &rows.keys()[*place]);
    let mut bytes = head(FORM, rows.level()).to_vec();
    let mut index = index_head(rows);
    for group in groups(&order, rows.keys()) {
        let group_bytes = write_group(group, rows);
        put_text(&mut index, rows.keys()[group[0]].as_str());
        index.extend((group_bytes.len() as u32).to_le_bytes());
        index.extend(crc32fast::hash(&group_bytes).to_le_bytes());
        bytes.extend(group_bytes);
    }
    let packed = packed(&index);
    bytes.extend(&packed);
    bytes.extend((packed.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&packed).to_le_bytes());
    bytes.extend(END_MARK);
    bytes
}

fn packed(raw: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(raw, ZSTD_LEVEL).expect("packing into memory does not fail")
}

fn index_head(rows: &Rows) -> Vec<u8> {
    let mut index = (rows.rows().len() as u32).to_le_bytes().to_vec();
    let mut before = 0;
    for row in rows.rows() {
        index.extend((row.at_ms - before).to_le_bytes());
        before = row.at_ms;
    }
    index
}

fn groups<'a>(mut order: &'a [usize], keys: &[SeriesKey]) -> Vec<&'a [usize]> {
    let mut groups = Vec::new();
    while !order.is_empty() {
        let (group, rest) = order.split_at(group_length(order, keys));
        groups.push(group);
        order = rest;
    }
    groups
}

/// Up to where a group goes: to the end of a service once there are enough.
fn group_length(order: &[usize], keys: &[SeriesKey]) -> usize {
    let service = |number: usize| {
        let key = &keys[order[number]];
        (key.environment(), key.service())
    };
    let most = order.len().min(GROUP_MOST);
    (GROUP_LEAST..most).find(|number| service(*number) != service(number - 1)).unwrap_or(most)
}

fn write_group(group: &[usize], rows: &Rows) -> Vec<u8> {
    let (mut table, mut columns) = (Vec::new(), Vec::new());
    for place in group {
        put_text(&mut table, rows.keys()[*place].as_str());
        for column in columns_of(*place, rows) {
            let column = column::pack(&column);
            table.extend((column.len() as u16).to_le_bytes());
            columns.extend(column);
        }
    }
    let table = packed(&table);
    [&(table.len() as u32).to_le_bytes()[..], &table, &columns].concat()
}

/// A largest value stands as its distance from the average: a small number, and mostly none.
fn columns_of(place: usize, rows: &Rows) -> Vec<Vec<u16>> {
    let averages = rows.column(place, 0);
    if rows.level() == Level::Fine {
        return vec![averages];
    }
    let largest = rows.column(place, 1);
    let distances = largest
        .iter()
        .zip(&averages)
        .map(|(largest, average)| largest.wrapping_sub(*average).rotate_right(PEAK_BITS));
    let distances = distances.collect();
    vec![averages, distances]
}

/// Reads the index of a segment.
///
/// # Errors
/// When the file cannot be read, or something in it is damaged.
pub(crate) fn read_index(file: &File) -> io::Result<Index> {
    let size = file.metadata()?.len();
    let tail_at = size.checked_sub(TAIL_LENGTH as u64).ok_or_else(|| damaged("its end is missing"))?;
    let tail = read_at(file, tail_at, TAIL_LENGTH)?;
    let length = number(&tail[..4]) as usize;
    let index_at = tail_at.checked_sub(length as u64).filter(|at| *at >= HEAD_LENGTH as u64);
    let index_at = index_at.filter(|_| tail[8..] == *END_MARK && length <= MAX_INDEX);
    let packed = read_at(file, index_at.ok_or_else(|| damaged("its end is damaged"))?, length)?;
    check_sum(&packed, number(&tail[4..8]), "its index is damaged")?;
    let raw = zstd::bulk::decompress(&packed, MAX_INDEX)?;
    let index = take_index(&raw).ok_or_else(|| damaged("its index makes no sense"))?;
    let end = index.groups.last().map_or(HEAD_LENGTH as u64, |group| group.offset + u64::from(group.bytes));
    if Some(end) == index_at { Ok(index) } else { Err(damaged("its index is of another file")) }
}

fn take_index(mut rest: &[u8]) -> Option<Index> {
    let rest = &mut rest;
    let rows = number(rest.split_off(..4)?) as usize;
    let times = take_times(rest.split_off(..rows.checked_mul(8).filter(|_| rows <= MAX_ROWS)?)?)?;
    let mut groups: Vec<Group> = Vec::new();
    let mut offset = HEAD_LENGTH as u64;
    while !rest.is_empty() {
        let first = take_text(rest)?.to_owned();
        let (bytes, sum) = (number(rest.split_off(..4)?), number(rest.split_off(..4)?));
        if bytes as usize > MAX_GROUP || groups.last().is_some_and(|last| last.first >= first) {
            return None;
        }
        groups.push(Group { first, offset, bytes, sum });
        offset += u64::from(bytes);
    }
    Some(Index { times, groups })
}

fn take_times(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut time = 0_u64;
    let mut next = |step: &[u8; 8]| {
        let step = u64::from_le_bytes(*step);
        time = time.checked_add(step).filter(|_| step > 0)?;
        Some(time)
    };
    bytes.as_chunks().0.iter().map(&mut next).collect()
}

/// Reads the columns of the series that are wanted.
///
/// # Errors
/// As [`read_index`].
pub(crate) fn read_columns(
    file: &File,
    index: &Index,
    level: Level,
    wanted: &impl Wanted,
) -> io::Result<Vec<Column>> {
    let mut columns = Vec::new();
    for group in index.groups_of(wanted.prefix()) {
        let bytes = read_at(file, group.offset, group.bytes as usize)?;
        check_sum(&bytes, group.sum, "a group is damaged")?;
        let taken = take_group(&bytes, index.times.len(), level, wanted, &mut columns);
        taken.ok_or_else(|| damaged("a group makes no sense"))?;
    }
    Ok(columns)
}

impl Index {
    /// The times of the first and the last row.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        Some((*self.times.first()?, *self.times.last()?))
    }

    /// Groups that may have keys with a beginning: from the one that it lies in to the last that begins with it.
    fn groups_of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Group> {
        let from = self.groups.partition_point(|group| group.first.as_str() <= prefix).saturating_sub(1);
        let is_past = move |group: &Group| group.first.as_str() > prefix && !group.first.starts_with(prefix);
        self.groups[from..].iter().take_while(move |group| !is_past(group))
    }
}

fn take_group(
    bytes: &[u8],
    rows: usize,
    level: Level,
    wanted: &impl Wanted,
    out: &mut Vec<Column>,
) -> Option<()> {
    let mut rest = bytes;
    let length = number(rest.split_off(..4)?) as usize;
    let table = zstd::bulk::decompress(rest.split_off(..length)?, MAX_TABLE).ok()?;
    let mut table = table.as_slice();
    while !table.is_empty() {
        let key = take_text(&mut table)?;
        let averages = take_packed(&mut table, &mut rest)?;
        let distances = if level == Level::Coarse { Some(take_packed(&mut table, &mut rest)?) } else { None };
        if key.starts_with(wanted.prefix()) && wanted.is_wanted(key) {
            out.push(take_column(key, averages, distances, rows)?);
        }
    }
    rest.is_empty().then_some(())
}

fn take_packed<'a>(table: &mut &[u8], rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_le_bytes(*table.split_off(..2)?.as_array()?));
    rest.split_off(..length).filter(|_| length <= column::MAX_BYTES)
}

fn take_column(key: &str, averages: &[u8], distances: Option<&[u8]>, rows: usize) -> Option<Column> {
    let averages = column::unpack(averages, rows)?;
    let largest = match distances {
        Some(distances) => Some(largest(&averages, &column::unpack(distances, rows)?)),
        None => None,
    };
    Some(Column { key: key.parse().ok()?, averages, largest })
}

fn largest(averages: &[u16], distances: &[u16]) -> Vec<u16> {
    let sum = |(average, distance): (&u16, &u16)| match *average {
        GAP => GAP,
        average => average.wrapping_add(distance.rotate_left(PEAK_BITS)),
    };
    averages.iter().zip(distances).map(sum).collect()
}

fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    // Held against the size first, so that a number in a file makes us allocate no more than there is.
    if at + length as u64 > file.metadata()?.len() {
        return Err(damaged("it is too short"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn check_sum(bytes: &[u8], sum: u32, what: &'static str) -> io::Result<()> {
    if crc32fast::hash(bytes) == sum { Ok(()) } else { Err(damaged(what)) }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::rows::Row;

    struct Beginning(&'static str);

    impl Wanted for Beginning {
        fn prefix(&self) -> &str {
            self.0
        }
        fn is_wanted(&self, _: &str) -> bool {
            true
        }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn columns(bytes: &[u8], level: Level, prefix: &'static str) -> io::Result<Vec<Column>> {
        let file = file(bytes);
        read_columns(&file, &read_index(&file)?, level, &Beginning(prefix))
    }

    fn rows(level: Level, services: usize, figures: usize) -> Rows {
        let mut rows = Rows::new(level);
        let key = |number: usize| {
            let service = format!("s{}", (number * 7) % services);
            SeriesKey::new("e", &service, None, &format!("f{}", number / services)).unwrap()
        };
        rows.add_keys((0..services * figures).map(key).collect());
        for number in 0..40_u64 {
            let codes =
                (0..services * figures * level.width()).map(|place| (place as u64 * (number % 5)) as u16);
            rows.push(Row { at_ms: 5_000 + number * 10_000, codes: codes.collect() });
        }
        rows
    }

    #[test]
    fn what_was_written_is_read_by_the_beginning_of_keys() {
        for (level, services) in [(Level::Fine, 1), (Level::Fine, 100), (Level::Coarse, 11)] {
            let rows = rows(level, services, 13);
            let bytes = write(&rows);
            assert_eq!(columns(&bytes, level, "").unwrap().len(), rows.keys().len());
            let few = columns(&bytes, level, "e/s0/").unwrap();
            assert_eq!(few.len(), 13);
            for column in few {
                let place = rows.keys().iter().position(|key| *key == column.key).unwrap();
                assert_eq!(column.averages, rows.column(place, 0));
                assert_eq!(column.largest, (level == Level::Coarse).then(|| rows.column(place, 1)));
            }
            assert!(
                columns(&bytes, level, "z").unwrap().is_empty()
                    && columns(&bytes, level, "a").unwrap().is_empty()
            );
        }
    }

    #[test]
    fn a_segment_that_is_cut_or_changed_anywhere_is_an_error() {
        let bytes = write(&rows(Level::Coarse, 3, 4));
        for place in HEAD_LENGTH..bytes.len() {
            assert!(columns(&bytes[..place], Level::Coarse, "").is_err(), "{place}");
            let mut wrong = bytes.clone();
            wrong[place] ^= 0x10;
            assert!(columns(&wrong, Level::Coarse, "").is_err(), "{place}");
        }
        assert!(columns(&[&bytes[..], b"more"].concat(), Level::Coarse, "").is_err());
    }

    #[test]
    fn absurd_counts_are_refused_before_memory_is_taken() {
        let mut index = u32::MAX.to_le_bytes().to_vec();
        assert!(take_index(&index).is_none());
        index = 0_u32.to_le_bytes().to_vec();
        put_text(&mut index, "a/b//c");
        index.extend(u32::MAX.to_le_bytes());
        index.extend([0; 4]);
        assert!(take_index(&index).is_none());
        let mut out = Vec::new();
        let group = [&u32::MAX.to_le_bytes()[..], &[1, 2, 3]].concat();
        assert!(take_group(&group, 5, Level::Fine, &Beginning(""), &mut out).is_none());
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        let group = [&(bomb.len() as u32).to_le_bytes()[..], &bomb].concat();
        assert!(take_group(&group, 5, Level::Fine, &Beginning(""), &mut out).is_none());
        let tail = [&(3_u32 << 20).to_le_bytes()[..], &[0; 4], END_MARK].concat();
        assert!(columns(&[&head(FORM, Level::Fine)[..], &tail].concat(), Level::Fine, "").is_err());
    }

    #[test]
    fn no_series_and_no_rows_are_a_segment() {
        assert!(columns(&write(&Rows::new(Level::Fine)), Level::Fine, "").unwrap().is_empty());
    }
}
