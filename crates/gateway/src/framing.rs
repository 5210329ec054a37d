//! Where the body of a message ends, and passing it on piece by piece.
//!
//! Chunked bodies are decoded and encoded again, so that what goes out is framed by the gateway's own reading of what
//! came in: nothing that two programs could read differently passes.

use bytes::{Bytes, BytesMut};

use crate::chunked::{ChunkDecoder, ChunkError};
use crate::grpc_web::{TextDecoder, WebForm};
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
    /// Where its frames say, after no more than so many bytes: HTTP/2.
    Framed(u64),
    /// Where that says which is in base64.
    Text(Box<(Self, TextDecoder)>),
}

/// How a body is framed for the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recode {
    /// The bytes alone: their number is announced, or the end of the connection ends them.
    Plain,
    /// In chunks.
    Chunks,
    /// As that of an answer of gRPC-Web.
    Web { form: WebForm, chunks: bool },
}

impl Recode {
    /// Tells whether the receiver gets chunks.
    pub(crate) fn has_chunks(self) -> bool {
        matches!(self, Self::Chunks | Self::Web { chunks: true, .. })
    }

    /// Returns how the pieces of an answer of gRPC-Web are framed, and how they are written.
    pub(crate) fn of_web(self) -> Option<(WebForm, Self)> {
        match self {
            Self::Web { form, chunks } => Some((form, if chunks { Self::Chunks } else { Self::Plain })),
            Self::Plain | Self::Chunks => None,
        }
    }
}

impl Body {
    /// Tells whether all of the body has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Lets no more come than so many bytes, where it does not say how many there are.
    pub(crate) fn limit(&mut self, bytes: u64) {
        match self {
            Self::Chunked(decoder) => decoder.limit(bytes),
            Self::Framed(left) => *left = bytes,
            Self::Text(text) => text.0.limit(bytes),
            Self::Done | Self::Length(_) | Self::UntilClose => {}
        }
    }

    /// Looks whether what has arrived can begin it, before anything is said of it.
    pub(crate) fn begins_well(&self, input: &[u8]) -> Result<(), ChunkError> {
        if matches!(self, Self::Chunked(_)) { ChunkDecoder::begins_well(input) } else { Ok(()) }
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
            Self::Done | Self::Framed(_) => {}
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
            Self::Text(text) => {
                let mut piece = Vec::new();
                text.0.advance(input, &mut piece, Recode::Plain)?;
                output.piece(text.1.decode(&piece)?.into(), recode);
                if text.0.is_done() {
                    self.end()?;
                }
            }
        }
        Ok(())
    }

    /// Reads a piece of what comes in frames.
    pub(crate) fn read_piece(&mut self, piece: Bytes) -> Result<Bytes, ChunkError> {
        match self {
            Self::Text(text) => {
                let piece = text.0.read_piece(piece)?;
                Ok(text.1.decode(&piece)?.into())
            }
            Self::Framed(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(ChunkError::TooLong)?;
                Ok(piece)
            }
            _ => Ok(piece),
        }
    }

    /// Ends it where the sender did.
    pub(crate) fn end(&mut self) -> Result<(), ChunkError> {
        self.may_end()?;
        *self = Self::Done;
        Ok(())
    }

    /// Tells whether it may end here.
    pub(crate) fn may_end(&self) -> Result<(), ChunkError> {
        match self {
            Self::Text(text) if !text.1.is_whole() => Err(ChunkError::Text),
            _ => Ok(()),
        }
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
    if let Some((form, recode)) = recode.of_web() {
        return put(output, &form.encode(piece), recode);
    }
    output.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    output.extend_from_slice(piece);
    output.extend_from_slice(b"\r\n");
}
