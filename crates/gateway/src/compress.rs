//! Compressing answers on their way to a client that takes it, where their route says so.
//!
//! What an instance has compressed itself, or says must not be changed, passes as it is. What has come is compressed at once, and sent
//! when nothing more is there, so that a stream stays one. Memory is bounded: a worker compresses so many answers at once, and others pass as
//! they are.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use lockstep_domain::routes::actions::Actions;
use lockstep_domain::routes::compress::{Coding, Compress};

use crate::answer::{AnswerHead, Asked};
use crate::framing::Body;
use crate::outgoing::Pieces;
use crate::request::Request;

/// Answers that a worker compresses at once; each takes up to 0.7 MB.
const AT_ONCE: usize = 256;
/// How hard it is tried, in what each coding calls it: each costs a few milliseconds for a megabyte.
const GZIP_LEVEL: u32 = 5;
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// How far back is looked, as a power of two: 256 KiB.
const WINDOW: u32 = 18;
/// What a brotli encoder writes at once.
const BROTLI_BUFFER: usize = 4 * 1_024;
/// Fields that say something of the bytes of a body, which would not be true any more.
const OF_BYTES: [&str; 5] = ["content-range", "content-digest", "repr-digest", "digest", "content-md5"];

thread_local! {
    static PACKERS: Cell<usize> = const { Cell::new(0) };
}

/// What the route of a request says of compressing its answer, and what the client takes.
#[derive(Debug)]
pub(crate) struct Packing {
    actions: Arc<Actions>,
    coding: Option<Coding>,
}

impl Packing {
    /// Decides by a request; `None` where its route says nothing.
    pub(crate) fn of(actions: &Arc<Actions>, request: &Request<'_>) -> Option<Self> {
        let compress = actions.compress.as_ref()?;
        let accepted = request.fields_named("accept-encoding");
        let coding = compress.choose(accepted.filter_map(|value| std::str::from_utf8(value).ok()));
        Some(Self { actions: Arc::clone(actions), coding })
    }

    /// Begins to compress an answer of which the fields are written; `None` where it is none that may be compressed.
    pub(crate) fn begin(&self, head: &AnswerHead, fields: &impl Pieces, asked: Asked) -> Option<Packed> {
        let compress = self.actions.compress.as_ref()?;
        // HTTP/1.0 has no chunks.
        let coding = self.coding.filter(|_| asked.minor > 0);
        may(compress, head, fields, asked).then(|| Packed { packer: coding.and_then(Packer::begin) })
    }
}

/// What an answer must be to be compressed.
fn may(compress: &Compress, head: &AnswerHead, fields: &impl Pieces, asked: Asked) -> bool {
    let is_short = matches!(head.body, Body::Length(length) if length < compress.min_bytes);
    let has_none = head.body.is_done() || asked.is_head || head.is_switch() || head.status == 206;
    if is_short || has_none || asked.is_call || head.web.is_some() {
        return false;
    }
    let codings = fields.values_of("content-encoding");
    let coded = codings.iter().any(|it| !it.eq_ignore_ascii_case(b"identity"));
    let [kind] = &fields.values_of("content-type")[..] else { return false };
    !coded
        && std::str::from_utf8(kind).is_ok_and(|kind| compress.takes(kind))
        && !lists(fields, "cache-control", "no-transform")
        && OF_BYTES.into_iter().all(|name| fields.values_of(name).is_empty())
}

/// An answer that may be compressed.
pub(crate) struct Packed {
    /// What does it; nothing where the client takes no coding, or too many are compressed already.
    packer: Option<Packer>,
}

impl Packed {
    /// Tells whether it is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.packer.is_some()
    }

    /// Says so in its head; caches hear of it also where it could have been.
    pub(crate) fn tell(self, head: &mut AnswerHead, fields: &mut impl Pieces) -> Option<Packer> {
        if !lists(fields, "vary", "accept-encoding") && !lists(fields, "vary", "*") {
            fields.field("vary", b"Accept-Encoding");
        }
        let packer = self.packer?;
        let tag = fields.values_of("etag").into_iter().next().filter(|tag| !tag.starts_with(b"W/"));
        fields.drop_fields(&|name| {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            is("content-length")
                || is("accept-ranges")
                || is("content-encoding")
                || (is("etag") && tag.is_some())
        });
        if let Some(tag) = &tag {
            // Other bytes with the same meaning: RFC 9110, 8.8.1.
            fields.field("etag", &[b"W/", &tag[..]].concat());
        }
        fields.field("content-encoding", packer.coding.as_str().as_bytes());
        head.packed = true;
        Some(packer)
    }
}

/// Tells whether a field has a member in any of its lines, in any case.
fn lists(fields: &impl Pieces, name: &str, member: &str) -> bool {
    let values = fields.values_of(name);
    let members = values.iter().flat_map(|value| value.split(|&byte| byte == b','));
    members.into_iter().any(|it| it.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
}

/// An answer that is being compressed.
pub(crate) struct Packer {
    coding: Coding,
    encoder: Encoder,
    _place: Place,
}

enum Encoder {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

/// One of the answers that a worker compresses at once.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let taken = PACKERS.get();
        (taken < AT_ONCE).then(|| {
            PACKERS.set(taken + 1);
            Self
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        PACKERS.set(PACKERS.get().saturating_sub(1));
    }
}

impl Packer {
    fn begin(coding: Coding) -> Option<Self> {
        let place = Place::take()?;
        let out = Vec::new();
        let encoder = match coding {
            Coding::Gzip => {
                Encoder::Gzip(Box::new(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL))))
            }
            Coding::Br => {
                let writer = brotli::CompressorWriter::new(out, BROTLI_BUFFER, BROTLI_QUALITY, WINDOW);
                Encoder::Br(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL).ok()?;
                encoder.window_log(WINDOW).ok()?;
                Encoder::Zstd(Box::new(encoder))
            }
        };
        Some(Self { coding, encoder, _place: place })
    }

    /// Takes a piece of the body.
    pub(crate) fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.write_all(piece),
            Encoder::Br(encoder) => encoder.write_all(piece),
            Encoder::Zstd(encoder) => encoder.write_all(piece),
        }
    }

    /// Makes all that was taken readable for the client.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Br(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }

    /// Hands out what is ready.
    pub(crate) fn ready(&mut self) -> Bytes {
        std::mem::take(self.out()).into()
    }

    /// Returns how many bytes are ready.
    pub(crate) fn len(&mut self) -> usize {
        self.out().len()
    }

    /// Ends it, and returns what is left.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self.encoder {
            Encoder::Gzip(encoder) => encoder.finish()?,
            // It ends with itself.
            Encoder::Br(encoder) => encoder.into_inner(),
            Encoder::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Br(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn read(coding: Coding, packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap(),
            Coding::Br => brotli::Decompressor::new(packed, 4_096).read_to_end(&mut plain).unwrap(),
            Coding::Zstd => {
                zstd::stream::read::Decoder::new(packed).unwrap().read_to_end(&mut plain).unwrap()
            }
        };
        plain
    }

    /// What can be read of the beginning of a body.
    fn read_part(coding: Coding, packed: &[u8], bytes: usize) -> Vec<u8> {
        let mut plain = vec![0; bytes];
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(packed).read_exact(&mut plain).unwrap(),
            Coding::Br => brotli::Decompressor::new(packed, 4_096).read_exact(&mut plain).unwrap(),
            Coding::Zstd => zstd::stream::read::Decoder::new(packed).unwrap().read_exact(&mut plain).unwrap(),
        }
        plain
    }

    proptest! {
        #[test]
        fn what_was_flushed_can_be_read_and_the_whole_is_what_came(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..6), which in 0_usize..3,
        ) {
            let coding = [Coding::Zstd, Coding::Br, Coding::Gzip][which];
            let mut packer = Packer::begin(coding).unwrap();
            let (mut packed, mut plain) = (Vec::new(), Vec::new());
            for piece in &pieces {
                packer.push(piece).unwrap();
                packer.flush().unwrap();
                packed.extend_from_slice(&packer.ready());
                plain.extend_from_slice(piece);
                if !plain.is_empty() {
                    prop_assert_eq!(&read_part(coding, &packed, plain.len()), &plain);
                }
            }
            packed.extend_from_slice(&packer.finish().unwrap());
            prop_assert_eq!(read(coding, &packed), plain);
        }
    }

    #[test]
    fn a_worker_compresses_so_many_at_once_and_gives_places_back() {
        let all: Vec<_> = (0..AT_ONCE).map(|_| Place::take().unwrap()).collect();
        assert!(Packer::begin(Coding::Gzip).is_none());
        drop(all);
        assert!(Packer::begin(Coding::Gzip).is_some());
        assert_eq!(PACKERS.get(), 0);
    }
}
