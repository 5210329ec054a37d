//! Where the body of a message ends, and passing it on piece by piece.
//!
//! Chunked bodies are decoded and encoded again, so that what goes out is framed by the gateway's own reading of what
//! came in: nothing that two programs could read differently passes.

use bytes::BytesMut;

use crate::chunked::{ChunkDecoder, ChunkError};
use crate::outgoing::Pieces;

/// Where the body of a message ends.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// It has been read, or there was none.
    Done,
    /// After so many more bytes.
    Length(u64),
    /// Where its chunks say.
    Chunked(ChunkDecoder),
    /// Where the connection ends; only answers.
    UntilClose,
    /// Where its frames say: HTTP/2.
    Framed,
}

/// How a body is framed for the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recode {
    /// The bytes alone: their number is announced, or the end of the connection ends them.
    Plain,
    /// In chunks.
    Chunks,
}

impl Body {
    /// Tells whether all of the body has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Moves what has arrived of the body from `input` to `output`.
    pub(crate) fn advance(
        &mut self,
        input: &mut BytesMut,
        output: &mut impl Pieces,
        recode: Recode,
    ) -> Result<(), ChunkError> {
        match self {
            // What comes in frames is not moved here.
            Self::Done | Self::Framed => {}
            Self::Length(left) => {
                let ready = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                output.data(input, ready, recode);
                *left -= ready as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
            }
            Self::Chunked(decoder) => {
                decoder.decode(input, output, recode)?;
                if decoder.is_done() {
                    *self = Self::Done;
                }
            }
            Self::UntilClose => {
                output.data(input, input.len(), recode);
            }
        }
        Ok(())
    }

    /// Takes note that the sender closed the connection; returns whether the body is whole.
    pub(crate) fn close(&mut self, output: &mut impl Pieces, recode: Recode) -> bool {
        if matches!(self, Self::UntilClose) {
            output.trailers(std::iter::empty(), recode);
            *self = Self::Done;
        }
        self.is_done()
    }
}

/// Writes a piece of a body; as one chunk when the receiver gets chunks.
pub(crate) fn put(output: &mut Vec<u8>, piece: &[u8], recode: Recode) {
    if piece.is_empty() {
        return;
    }
    if recode == Recode::Plain {
        output.extend_from_slice(piece);
        return;
    }
    output.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    output.extend_from_slice(piece);
    output.extend_from_slice(b"\r\n");
}
