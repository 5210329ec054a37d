//! The file of a time that is not over: records of new series and of rows, each with its length and a checksum.
//!
//! A row stands as the difference to the one before, so that what rests costs nothing. What does not read as a whole record is the end:
//! nothing behind it is believed. One that is killed while it writes leaves a beginning of a record, which [`read`] tells from its place.

use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::key::{MAX_LENGTH, SeriesKey};
use crate::level::{Level, MAX_ROWS};
use crate::rows::{Row, Rows};
use crate::store::MAX_SERIES;

/// The newest format of logs and segments.
pub(crate) const FORMAT: u8 = 1;
/// Bytes at the beginning of each file: what it is, its format, its level.
pub(crate) const HEAD_LENGTH: usize = 10;

const MAGIC: &[u8; 7] = b"LSTPSER";
const KEYS: u8 = 0;
const ROW: u8 = 1;
/// Bytes of keys in a record before they are packed; more keys get more records.
const KEYS_BYTES: usize = 262_144;
/// Bytes of a record before it is packed: a row of all series that there may be, or keys.
const MAX_RAW: usize = MAX_SERIES * 4 + 64;
/// Bytes of a packed record; zstd makes what cannot be packed a little larger.
const MAX_PACKED: usize = MAX_RAW + MAX_RAW / 128 + 1_024;
/// The fastest level: rows are small, and segments are packed anew.
const ZSTD_LEVEL: i32 = 1;

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// A file of ours.
    Known,
    /// A file of a newer release.
    Newer(u8),
    /// Another level, another form, or nothing of ours.
    Foreign,
    /// A beginning of the right one.
    Cut,
}

/// What a log has in it.
pub(crate) struct Content {
    pub(crate) rows: Rows,
    /// Where what is whole ends.
    pub(crate) length: u64,
}

/// Returns the first bytes of a file.
pub(crate) fn head(form: u8, level: Level) -> [u8; HEAD_LENGTH] {
    let mut head = [0; HEAD_LENGTH];
    head[..7].copy_from_slice(MAGIC);
    head[7..].copy_from_slice(&[FORMAT, form, level.width() as u8]);
    head
}

/// Says what the first bytes of a file are.
pub(crate) fn read_head(bytes: &[u8], form: u8, level: Level) -> Head {
    let wanted = head(form, level);
    match bytes.get(7) {
        Some(format) if bytes.starts_with(MAGIC) && *format > FORMAT => Head::Newer(*format),
        _ if bytes.starts_with(&wanted) => Head::Known,
        _ if wanted.starts_with(bytes) => Head::Cut,
        _ => Head::Foreign,
    }
}

/// Returns records that name series.
pub(crate) fn keys_records(keys: &[SeriesKey]) -> Vec<u8> {
    let mut records = Vec::new();
    let mut raw = vec![KEYS];
    for key in keys {
        put_text(&mut raw, key.as_str());
        if raw.len() > KEYS_BYTES {
            records.extend(framed(&raw));
            raw.truncate(1);
        }
    }
    if raw.len() > 1 {
        records.extend(framed(&raw));
    }
    records
}

/// Returns the record of a row that comes after another one.
pub(crate) fn row_record(row: &Row, before: Option<&Row>, level: Level) -> Vec<u8> {
    let differences: Vec<u16> = difference(row, before, level, u16::wrapping_sub);
    let mut raw = vec![ROW];
    raw.extend(row.at_ms.to_le_bytes());
    raw.extend(((row.codes.len() / level.width()) as u32).to_le_bytes());
    raw.extend(differences.iter().map(|difference| *difference as u8));
    raw.extend(differences.iter().map(|difference| (difference >> 8) as u8));
    framed(&raw)
}

/// Applies an operation to the codes of a row and those of the one before; a series that is new there had 0.
fn difference(row: &Row, before: Option<&Row>, level: Level, of: fn(u16, u16) -> u16) -> Vec<u16> {
    let series = row.codes.len() / level.width();
    let earlier = |number: usize| match before {
        Some(before) if number % series < before.codes.len() / level.width() => {
            before.code(level, number % series, number / series)
        }
        _ => 0,
    };
    row.codes.iter().enumerate().map(|(number, code)| of(*code, earlier(number))).collect()
}

fn framed(raw: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(raw, ZSTD_LEVEL).expect("packing into memory does not fail");
    let mut record = (packed.len() as u32).to_le_bytes().to_vec();
    record.extend(crc32fast::hash(&packed).to_le_bytes());
    record.extend(packed);
    record
}

/// Reads the records behind the head of a log up to the first that is not whole.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read(file: &File, level: Level) -> io::Result<Content> {
    let mut input = BufReader::new(file);
    let mut content = Content { rows: Rows::new(level), length: HEAD_LENGTH as u64 };
    input.seek_relative(HEAD_LENGTH as i64)?;
    while let Some((raw, length)) = record(&mut input)? {
        if take(&raw, &mut content.rows).is_none() {
            break;
        }
        content.length += length;
    }
    Ok(content)
}

/// Reads a record; `None` where none is whole.
fn record(input: &mut impl Read) -> io::Result<Option<(Vec<u8>, u64)>> {
    let frame = read_up_to(input, 8)?;
    let Ok(frame) = <[u8; 8]>::try_from(frame) else { return Ok(None) };
    let (length, sum) = (number(&frame[..4]), number(&frame[4..]));
    if length == 0 || length as usize > MAX_PACKED {
        return Ok(None);
    }
    let packed = read_up_to(input, u64::from(length))?;
    let is_whole = packed.len() == length as usize && crc32fast::hash(&packed) == sum;
    let raw = if is_whole { zstd::bulk::decompress(&packed, MAX_RAW).ok() } else { None };
    Ok(raw.map(|raw| (raw, 8 + u64::from(length))))
}

fn read_up_to(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    input.take(bytes).read_to_end(&mut read)?;
    Ok(read)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// Takes what a record says; `None` where it does not fit to what came before.
fn take(raw: &[u8], rows: &mut Rows) -> Option<()> {
    let (kind, mut rest) = raw.split_first()?;
    match *kind {
        KEYS => take_keys(rest, rows),
        ROW => {
            let row = take_row(&mut rest, rows)?;
            rows.push(row);
            Some(())
        }
        _ => None,
    }
}

fn take_keys(mut rest: &[u8], rows: &mut Rows) -> Option<()> {
    let mut keys = Vec::new();
    while !rest.is_empty() {
        keys.push(take_text(&mut rest)?.parse().ok()?);
    }
    let fit = rows.keys().len() + keys.len() <= MAX_SERIES && rows.add_keys(keys);
    fit.then_some(())
}

fn take_row(rest: &mut &[u8], rows: &Rows) -> Option<Row> {
    let level = rows.level();
    let at_ms = u64::from_le_bytes(*rest.split_off(..8)?.as_array()?);
    let series = number(rest.split_off(..4)?) as usize;
    let codes = series * level.width();
    let fits = series <= rows.keys().len() && rest.len() == codes * 2 && rows.rows().len() < MAX_ROWS;
    if !fits || rows.times().is_some_and(|(_, last_ms)| at_ms <= last_ms) {
        return None;
    }
    let (low, high) = rest.split_at(codes);
    let differences = low.iter().zip(high).map(|(low, high)| u16::from_le_bytes([*low, *high]));
    let row = Row { at_ms, codes: differences.collect() };
    let codes = difference(&row, rows.rows().last(), level, u16::wrapping_add).into();
    Some(Row { at_ms, codes })
}

/// Adds a text with its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Takes a text with its length off the front.
pub(crate) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(u16::from_le_bytes(*rest.split_off(..2)?.as_array()?));
    let text = rest.split_off(..length).filter(|_| length <= MAX_LENGTH)?;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn key(number: usize) -> SeriesKey {
        SeriesKey::new("e", &format!("s{number}"), None, "f").unwrap()
    }

    fn written(bytes: &[u8], level: Level) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        read(&file, level).unwrap()
    }

    fn log(level: Level, counts: &[usize]) -> (Vec<u8>, Vec<(usize, Row)>) {
        let mut bytes = head(0, level).to_vec();
        let (mut known, mut rows): (usize, Vec<(usize, Row)>) = (0, Vec::new());
        for (number, count) in counts.iter().enumerate() {
            bytes.extend(keys_records(&(known..known.max(*count)).map(key).collect::<Vec<_>>()));
            known = known.max(*count);
            let codes = (0..known * level.width()).map(|place| (place * 7 + number * 3) as u16).collect();
            let row = Row { at_ms: 1_000 * (number as u64 + 1), codes };
            bytes.extend(row_record(&row, rows.last().map(|(_, row)| row), level));
            rows.push((bytes.len(), row));
        }
        (bytes, rows)
    }

    #[test]
    fn a_log_that_is_cut_anywhere_is_the_rows_before() {
        for level in Level::BOTH {
            let (bytes, rows) = log(level, &[2, 2, 5, 5, 0, 9]);
            for cut in HEAD_LENGTH..=bytes.len() {
                let content = written(&bytes[..cut], level);
                let whole: Vec<Row> =
                    rows.iter().filter(|(end, _)| *end <= cut).map(|(_, row)| row.clone()).collect();
                assert_eq!(content.rows.rows(), whole, "{cut}");
                assert!(content.length <= cut as u64);
            }
        }
    }

    #[test]
    fn a_byte_that_is_wrong_ends_the_log_there() {
        let (bytes, rows) = log(Level::Fine, &[2, 3, 3]);
        for place in HEAD_LENGTH..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 0x41;
            let content = written(&wrong, Level::Fine);
            let before = rows.iter().filter(|(end, _)| *end <= place).count();
            assert_eq!(content.rows.rows().len(), before, "{place}");
        }
    }

    #[test]
    fn keys_of_many_records_come_back() {
        let keys: Vec<_> = (0..40_000).map(key).collect();
        let content = written(&[&head(0, Level::Fine)[..], &keys_records(&keys)].concat(), Level::Fine);
        assert_eq!(content.rows.keys(), keys);
    }

    #[test]
    fn what_does_not_fit_to_what_came_before_is_not_believed() {
        let twice = [keys_records(&[key(1)]), keys_records(&[key(1)])].concat();
        assert_eq!(written(&[&head(0, Level::Fine)[..], &twice].concat(), Level::Fine).rows.keys(), [key(1)]);
        let row = Row { at_ms: 5, codes: [1, 2].into() };
        let nobody = row_record(&row, None, Level::Fine);
        assert!(written(&[&head(0, Level::Fine)[..], &nobody].concat(), Level::Fine).rows.rows().is_empty());
        let same = [keys_records(&[key(1), key(2)]), row_record(&row, None, Level::Fine), nobody].concat();
        assert_eq!(written(&[&head(0, Level::Fine)[..], &same].concat(), Level::Fine).rows.rows().len(), 1);
    }

    #[test]
    fn the_head_says_what_a_file_is() {
        let ours = head(0, Level::Fine);
        assert_eq!(read_head(&ours, 0, Level::Fine), Head::Known);
        assert_eq!(read_head(&ours[..4], 0, Level::Fine), Head::Cut);
        assert_eq!(read_head(&ours, 1, Level::Fine), Head::Foreign);
        assert_eq!(read_head(&ours, 0, Level::Coarse), Head::Foreign);
        let mut newer = ours;
        newer[7] = 9;
        assert_eq!(read_head(&newer, 0, Level::Fine), Head::Newer(9));
    }

    proptest! {
        #[test]
        fn garbage_with_right_sums_is_no_panic(raws in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8)) {
            let mut bytes = [&head(0, Level::Fine)[..], &keys_records(&[key(1), key(2)])].concat();
            for mut raw in raws {
                raw.first_mut().into_iter().for_each(|kind| *kind %= 2);
                bytes.extend(framed(&raw));
            }
            written(&bytes, Level::Fine);
            written(&bytes, Level::Coarse);
        }
    }
}
