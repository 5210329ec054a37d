//! Reads a chunked body as it arrives.
//!
//! It is strict where two programs could disagree: a chunk size is hexadecimal digits alone and fits into 64 bits, an extension begins
//! with `;`, lines end with CR LF.
//! Chunk extensions are dropped; trailers that frame or route a message are dropped too.

use bytes::{Buf, BytesMut};
use thiserror::Error;

use crate::field::Field;
use crate::framing::Recode;
use crate::outgoing::Pieces;

/// Longest line with a chunk's size and extensions.
const MAX_SIZE_LINE: usize = 1_024;
/// Longest block of trailers.
const MAX_TRAILERS: usize = 8 * 1_024;
/// Trailer fields in a block.
const MAX_TRAILER_FIELDS: usize = 32;

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ChunkError {
    #[error("the size of a chunk is not valid")]
    Size,
    #[error("a chunk does not end where its size says")]
    End,
    #[error("the trailers are not valid or longer than {MAX_TRAILERS} bytes")]
    Trailers,
    #[error("it is not base64, which its content type says")]
    Text,
    #[error("the body is longer than its route takes")]
    TooLong,
}

/// Reads a chunked body as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct ChunkDecoder {
    state: State,
    /// Bytes of chunks that may still come.
    left: u64,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::default(), left: u64::MAX }
    }
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Size,
    Data(u64),
    End,
    Trailers,
    Done,
}

impl ChunkDecoder {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Looks whether what has arrived can begin a body.
    pub(crate) fn begins_well(input: &[u8]) -> Result<(), ChunkError> {
        size(input).map(drop)
    }

    /// Lets no more come than so many bytes.
    pub(crate) fn limit(&mut self, bytes: u64) {
        self.left = bytes;
    }

    /// Moves what has arrived from `input` to `output`, until more is needed or the body has ended.
    pub(crate) fn decode(
        &mut self,
        input: &mut BytesMut,
        output: &mut impl Pieces,
        recode: Recode,
    ) -> Result<(), ChunkError> {
        loop {
            let next = match self.state {
                State::Size => {
                    let next = size_line(input)?;
                    if let Some(State::Data(size)) = next {
                        self.left = self.left.checked_sub(size).ok_or(ChunkError::TooLong)?;
                    }
                    next
                }
                State::Data(left) => data(left, input, output, recode),
                State::End => end(input)?,
                State::Trailers => trailers(input, output, recode)?,
                State::Done => None,
            };
            match next {
                Some(state) => self.state = state,
                None => return Ok(()),
            }
        }
    }
}

fn size_line(input: &mut BytesMut) -> Result<Option<State>, ChunkError> {
    let Some((size, length)) = size(input)? else { return Ok(None) };
    input.advance(length);
    Ok(Some(if size == 0 { State::Trailers } else { State::Data(size) }))
}

/// Reads the size of a chunk; returns it with the length of its line, or nothing while that is not complete.
fn size(input: &[u8]) -> Result<Option<(u64, usize)>, ChunkError> {
    let window = &input[..input.len().min(MAX_SIZE_LINE)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if input.len() >= MAX_SIZE_LINE { Err(ChunkError::Size) } else { Ok(None) };
    };
    let size = window[..end].strip_suffix(b"\r").and_then(parse_size).ok_or(ChunkError::Size)?;
    Ok(Some((size, end + 1)))
}

fn parse_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let extension_follows = matches!(extension.trim_ascii_start().first(), None | Some(b';'));
    let printable = extension.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if digits == 0 || !extension_follows || !printable {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

fn data(left: u64, input: &mut BytesMut, output: &mut impl Pieces, recode: Recode) -> Option<State> {
    if input.is_empty() {
        return None;
    }
    let ready = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    output.data(input, ready, recode);
    let left = left - ready as u64;
    Some(if left == 0 { State::End } else { State::Data(left) })
}

fn end(input: &mut BytesMut) -> Result<Option<State>, ChunkError> {
    match &input[..] {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => {
            input.advance(2);
            Ok(Some(State::Size))
        }
        _ => Err(ChunkError::End),
    }
}

fn trailers(
    input: &mut BytesMut,
    output: &mut impl Pieces,
    recode: Recode,
) -> Result<Option<State>, ChunkError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let length = match httparse::parse_headers(input, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length <= MAX_TRAILERS => {
            let passing = fields.iter().filter(|field| passes(field.name));
            output.trailers(passing.map(|field| (field.name, field.value)), recode);
            length
        }
        Ok(httparse::Status::Partial) if input.len() < MAX_TRAILERS => return Ok(None),
        _ => return Err(ChunkError::Trailers),
    };
    input.advance(length);
    Ok(Some(State::Done))
}

/// Tells whether a trailer field is passed on: one that frames or routes a message is not.
pub(crate) fn passes(name: &str) -> bool {
    Field::of(name) == Field::Other
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::framing::put;

    fn decode(pieces: &[&[u8]], recode: Recode) -> Result<(Vec<u8>, bool, BytesMut), ChunkError> {
        let (mut decoder, mut input, mut output) = (ChunkDecoder::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            decoder.decode(&mut input, &mut output, recode)?;
        }
        Ok((output, decoder.is_done(), input))
    }

    #[test]
    fn extensions_and_framing_trailers_are_dropped_and_other_trailers_kept() {
        let body = b"5;a=\"b\"\r\nhello\r\n0\r\nContent-Length: 3\r\nChecksum: x\r\n\r\nGET";
        let (output, done, rest) = decode(&[body], Recode::Chunks).unwrap();
        assert_eq!(output, b"5\r\nhello\r\n0\r\nChecksum: x\r\n\r\n");
        assert!(done);
        assert_eq!(&rest[..], b"GET");
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for bad in [
            "\r\n",
            "5\nhello",
            "0x5\r\n",
            "+5\r\n",
            "-1\r\n",
            "5 \x01\r\n",
            "5 5\r\n",
            "11112222333344445\r\n",
            "g\r\n",
        ] {
            assert_eq!(decode(&[bad.as_bytes()], Recode::Plain).unwrap_err(), ChunkError::Size, "{bad:?}");
        }
        assert_eq!(decode(&[b"2\r\nabc"], Recode::Plain).unwrap_err(), ChunkError::End);
        assert_eq!(decode(&[b"0\r\nno colon\r\n\r\n"], Recode::Plain).unwrap_err(), ChunkError::Trailers);
        assert_eq!(decode(&[&[b'1'; 2_000]], Recode::Plain).unwrap_err(), ChunkError::Size);
    }

    #[test]
    fn zeros_before_a_size_and_spaces_behind_it_change_nothing() {
        for size in ["00000000000000000000000005", "5 ", "5\t;a=b", "5 ; a = b"] {
            let body = format!("{size}\r\nhello\r\n0000000000000000000000\r\n\r\n");
            let (output, done, _) = decode(&[body.as_bytes()], Recode::Plain).unwrap();
            assert_eq!((output.as_slice(), done), (b"hello".as_slice(), true), "{size:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_body(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cut in 1_usize..7,
        ) {
            let mut wire = Vec::new();
            chunks.iter().for_each(|chunk| put(&mut wire, chunk, Recode::Chunks));
            wire.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            let (plain, done, rest) = decode(&pieces, Recode::Plain).unwrap();
            prop_assert!(done && rest.is_empty());
            prop_assert_eq!(plain, chunks.concat());
            let (again, _, _) = decode(&pieces, Recode::Chunks).unwrap();
            let (plain, done, _) = decode(&[&again], Recode::Plain).unwrap();
            prop_assert!(done);
            prop_assert_eq!(plain, chunks.concat());
        }

        #[test]
        fn no_input_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&bytes], Recode::Chunks);
        }
    }
}
