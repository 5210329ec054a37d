//! The pieces of an archive: how it is cut, and how that is sent.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastcdc::v2020::StreamCDC;
use lockstep_domain::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tokio::sync::{Mutex, OnceCell};
use tokio::task::spawn_blocking;

use crate::newest::Newest;

/// Bytes of the smallest, a usual and the largest piece of a file.
const PIECES: [usize; 3] = [2 * 1024, 8 * 1024, 32 * 1024];
/// Unit of an archive, and what a header is.
const BLOCK: usize = 512;
/// Contents of less than this are sent with what is around them.
const SMALL: u64 = 64;
/// Longest stretch of what is no content.
const MAX_PLAIN: usize = 1 << 20;
/// Most pieces: a gigabyte of usual ones is the half of it, and as they are sent they fit in a message.
const MAX_PIECES: usize = 262_144;
/// Marks a piece that is always sent.
const PLAIN: u32 = 1 << 31;
/// Most recipes that are kept.
const KEPT: usize = 4;

/// The beginning of the SHA-256 of a piece. Whether the whole is right is seen by its digest.
pub(crate) type Key = [u8; 16];

/// A piece of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) length: u32,
    /// What it is told by; none where it is always sent, because no file could have it.
    pub(crate) key: Option<Key>,
}

/// An archive in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// SHA-256 of the archive, which is not that of the artifact: that is compressed.
    pub(crate) digest: Digest,
    #[serde(with = "as_text")]
    pub(crate) pieces: Vec<Piece>,
}

impl Recipe {
    /// Cuts the archive within an artifact, a `tar.zst`.
    ///
    /// # Errors
    /// When it cannot be read, or has too many pieces.
    pub(crate) fn of(artifact: &Path) -> io::Result<Self> {
        let archive = zstd::Decoder::new(File::open(artifact)?)?;
        let mut cutter =
            Cutter { archive: BufReader::new(archive), hash: Sha256::new(), pieces: Vec::new(), plain: 0 };
        while cutter.entry()? {}
        Ok(Self { digest: Digest::from_bytes(cutter.hash.finalize().into()), pieces: cutter.pieces })
    }

    /// How many bytes the archive has.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.length)).sum()
    }

    /// How many of them are in pieces with these keys, or in none that have one.
    pub(crate) fn bytes_of(&self, keys: &HashSet<Key>) -> u64 {
        let those = self.pieces.iter().filter(|piece| piece.key.is_none_or(|key| keys.contains(&key)));
        those.map(|piece| u64::from(piece.length)).sum()
    }
}

/// Cuts an archive. Where it is not what it seems to be the cuts are only less good.
struct Cutter<R> {
    archive: R,
    hash: Sha256,
    pieces: Vec<Piece>,
    /// Bytes since the last piece that belong to no content.
    plain: usize,
}

impl<R: Read> Cutter<R> {
    /// Cuts the next header and its content; returns whether there was any.
    fn entry(&mut self) -> io::Result<bool> {
        let mut block = [0; BLOCK];
        let read = self.read(&mut block)?;
        self.passed(read)?;
        if read < BLOCK {
            self.end_plain()?;
            return Ok(false);
        }
        let header = Header::from_byte_slice(&block);
        let is_file = matches!(header.entry_type(), EntryType::Regular | EntryType::Continuous);
        let size = header.entry_size().unwrap_or_default();
        if is_file && size >= SMALL {
            self.end_plain()?;
            self.content(size)?;
        } else {
            self.pass(size)?;
        }
        self.pass(size.next_multiple_of(BLOCK as u64) - size)?;
        Ok(true)
    }

    fn content(&mut self, size: u64) -> io::Result<()> {
        for piece in cut(Hashed { inner: (&mut self.archive).take(size), hash: &mut self.hash }) {
            let piece = piece?;
            push(&mut self.pieces, Piece { length: length(piece.data.len())?, key: Some(key(&piece.data)) })?;
        }
        Ok(())
    }

    /// Passes over bytes that are no content.
    fn pass(&mut self, mut bytes: u64) -> io::Result<()> {
        let mut block = [0; BLOCK];
        while bytes > 0 {
            let part = usize::try_from(bytes).unwrap_or(BLOCK).min(BLOCK);
            let read = self.read(&mut block[..part])?;
            self.passed(read)?;
            bytes = if read < part { 0 } else { bytes - read as u64 };
        }
        Ok(())
    }

    fn passed(&mut self, bytes: usize) -> io::Result<()> {
        self.plain += bytes;
        if self.plain >= MAX_PLAIN { self.end_plain() } else { Ok(()) }
    }

    fn end_plain(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.plain) {
            0 => Ok(()),
            plain => push(&mut self.pieces, Piece { length: length(plain)?, key: None }),
        }
    }

    /// Fills a buffer, as far as there is something.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.archive.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        self.hash.update(&buffer[..filled]);
        Ok(filled)
    }
}

/// Hashes what is read.
struct Hashed<'h, R> {
    inner: R,
    hash: &'h mut Sha256,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// A piece of a file.
pub(crate) struct Cut {
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
}

/// Cuts a content where it itself says so.
pub(crate) fn cut(content: impl Read) -> impl Iterator<Item = io::Result<Cut>> {
    let [smallest, usual, largest] = PIECES;
    StreamCDC::new(content, smallest, usual, largest).map(|piece| {
        let piece = piece.map_err(io::Error::from)?;
        Ok(Cut { offset: piece.offset, data: piece.data })
    })
}

/// What a piece is told by.
pub(crate) fn key(bytes: &[u8]) -> Key {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    std::array::from_fn(|index| digest[index])
}

fn length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).ok().filter(|length| length & PLAIN == 0).ok_or_else(too_large)
}

fn push(pieces: &mut Vec<Piece>, piece: Piece) -> io::Result<()> {
    pieces.push(piece);
    if pieces.len() > MAX_PIECES { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "it has too many pieces")
}

/// Pieces as they are sent: four bytes for the length, most significant first, and the key where there is one; in Base64.
mod as_text {
    use serde::{Deserializer, Serializer, de};

    use super::*;

    pub(super) fn serialize<S: Serializer>(pieces: &[Piece], serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(pieces.len() * 20);
        for piece in pieces {
            let mark = if piece.key.is_none() { PLAIN } else { 0 };
            bytes.extend((piece.length | mark).to_be_bytes());
            bytes.extend(piece.key.iter().flatten());
        }
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Piece>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
        read(&bytes).ok_or_else(|| de::Error::custom("no pieces of an archive"))
    }

    fn read(mut bytes: &[u8]) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let marked = u32::from_be_bytes(*length);
            bytes = rest;
            let key = if marked & PLAIN == 0 {
                let (key, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Some(*key)
            } else {
                None
            };
            push(&mut pieces, Piece { length: marked & !PLAIN, key }).ok()?;
        }
        bytes.is_empty().then_some(pieces)
    }
}

/// Recipes of the artifacts that are being sent: each is cut once, however many hosts it goes to.
#[derive(Debug)]
pub struct Recipes(Mutex<Newest<Digest, Arc<OnceCell<Arc<Recipe>>>>>);

impl Default for Recipes {
    fn default() -> Self {
        Self(Mutex::new(Newest::of(KEPT)))
    }
}

impl Recipes {
    /// Returns the recipe of an artifact.
    pub(crate) async fn of(&self, artifact: Digest, path: PathBuf) -> io::Result<Arc<Recipe>> {
        let cell = self.cell(artifact).await;
        let cut = || async {
            let cut = spawn_blocking(move || Recipe::of(&path)).await;
            cut.map_err(io::Error::other).flatten().map(Arc::new)
        };
        cell.get_or_try_init(cut).await.cloned()
    }

    async fn cell(&self, artifact: Digest) -> Arc<OnceCell<Arc<Recipe>>> {
        let mut all = self.0.lock().await;
        if let Some(known) = all.get(&artifact) {
            return Arc::clone(known);
        }
        let new = Arc::default();
        all.put(artifact, Arc::clone(&new));
        new
    }
}
