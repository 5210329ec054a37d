//! The codes of one series over the rows of a part, small.
//!
//! What never changes, as most figures of a service that rests, is three bytes. The rest is left to pcodec, which finds by itself whether
//! codes or their differences are spread less, and which few values there are.

use pco::ChunkConfig;
use pco::errors::PcoResult;
use pco::wrapped::{FileCompressor, FileDecompressor};

/// Bytes that a column has at most: of two for each row, and a head.
pub(crate) const MAX_BYTES: usize = 8_192;

const SAME: u8 = 0;
const PACKED: u8 = 1;
const PLAIN: u8 = 2;

/// Packs codes.
pub(crate) fn pack(codes: &[u16]) -> Vec<u8> {
    match codes {
        [first, rest @ ..] if rest.iter().all(|code| code == first) => tagged(SAME, &first.to_le_bytes()),
        _ => match packed(codes) {
            Ok(packed) if packed.len() < codes.len() * 2 => tagged(PACKED, &packed),
            _ => tagged(PLAIN, &codes.iter().flat_map(|code| code.to_le_bytes()).collect::<Vec<_>>()),
        },
    }
}

/// One page of one chunk, without the head of a file of its own: that would be a tenth of a column.
fn packed(codes: &[u16]) -> PcoResult<Vec<u8>> {
    let format = FileCompressor::default();
    let mut chunk = format.chunk_compressor(codes, &ChunkConfig::default())?;
    let bytes = chunk.write_meta(format.write_header(Vec::new())?)?;
    chunk.write_page(0, bytes)
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag], bytes].concat()
}

/// Unpacks the codes of so many rows; `None` when it is not so many, or no column.
pub(crate) fn unpack(bytes: &[u8], rows: usize) -> Option<Vec<u16>> {
    let (tag, rest) = bytes.split_first()?;
    match *tag {
        SAME => Some(vec![u16::from_le_bytes(rest.try_into().ok()?); rows]),
        PACKED => unpack_packed(rest, rows),
        PLAIN if rest.len() == rows * 2 => Some(plain(rest)),
        _ => None,
    }
}

fn unpack_packed(bytes: &[u8], rows: usize) -> Option<Vec<u16>> {
    let mut codes = vec![0; rows];
    let is_all = unpack_into(bytes, &mut codes).ok()?;
    is_all.then_some(codes)
}

/// Tells whether there was nothing more and nothing less.
fn unpack_into(bytes: &[u8], codes: &mut [u16]) -> PcoResult<bool> {
    let (format, rest) = FileDecompressor::new(bytes)?;
    let (mut chunk, rest) = format.chunk_decompressor(rest)?;
    let mut page = chunk.page_decompressor(rest, codes.len())?;
    let progress = page.read(codes)?;
    Ok(progress.finished && progress.n_processed == codes.len() && page.into_src().is_empty())
}

fn plain(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level::MAX_ROWS;

    #[test]
    fn what_never_changes_is_three_bytes() {
        assert_eq!(pack(&[7; 360]).len(), 3);
        assert_eq!(unpack(&pack(&[]), 0), Some(vec![]));
    }

    proptest! {
        #[test]
        fn codes_come_back(codes in prop_oneof![
            prop::collection::vec(any::<u16>(), 0..MAX_ROWS),
            prop::collection::vec(1_000_u16..1_040, 0..MAX_ROWS),
            prop::collection::vec(prop_oneof![Just(0_u16), Just(u16::MAX)], 0..MAX_ROWS),
        ]) {
            let packed = pack(&codes);
            prop_assert!(packed.len() <= MAX_BYTES);
            prop_assert_eq!(unpack(&packed, codes.len()), Some(codes));
        }

        #[test]
        fn what_is_damaged_is_refused_or_other_codes(
            codes in prop::collection::vec(1_000_u16..1_040, 2..400), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut packed = pack(&codes);
            let place = at.index(packed.len());
            packed[place] = byte;
            let _ = unpack(&packed, codes.len());
            packed.truncate(cut.index(packed.len()));
            let _ = unpack(&packed, codes.len());
        }

        #[test]
        fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), rows in 0..MAX_ROWS) {
            let _ = unpack(&bytes, rows);
            let _ = unpack(&tagged(PACKED, &bytes), rows);
        }
    }
}
