//! What a host lacks of an archive: writing it, and putting the archive together with it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::path::Path;

use lockstep_domain::Digest;
use sha2::{Digest as _, Sha256};

use super::known::Known;
use super::recipe::{Key, Piece, Recipe};

/// How much time is given to making it small: it is made while somebody waits.
const LEVEL: i32 = 3;
/// Most that is read at a time.
const STRETCH: usize = 1 << 20;

/// Writes what is lacking of the archive within an artifact, compressed; `is_lacking` says it of each piece that has a key.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn write_rest(
    artifact: &Path,
    recipe: &Recipe,
    is_lacking: impl Fn(&Key) -> bool,
    to: &File,
) -> io::Result<()> {
    let mut archive = BufReader::new(zstd::Decoder::new(File::open(artifact)?)?);
    let mut rest = zstd::Encoder::new(to, LEVEL)?;
    for piece in &recipe.pieces {
        let mut part = (&mut archive).take(u64::from(piece.length));
        let is_sent = piece.key.as_ref().is_none_or(&is_lacking);
        let copied =
            if is_sent { io::copy(&mut part, &mut rest) } else { io::copy(&mut part, &mut io::sink()) };
        if copied? != u64::from(piece.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    rest.finish()?.flush()
}

/// Puts an archive together out of what is known and the rest that was sent. It is what was announced, or it fails.
///
/// # Errors
/// When it is not, or cannot be read or written.
pub(crate) fn put_together(recipe: &Recipe, known: &Known, rest: File, mut to: File) -> io::Result<File> {
    let mut rest = zstd::Decoder::new(rest)?;
    let mut hash = Sha256::new();
    for piece in &recipe.pieces {
        for_each_part(piece, known, &mut rest, |part| {
            hash.update(part);
            to.write_all(part)
        })?;
    }
    let found = Digest::from_bytes(hash.finalize().into());
    if found != recipe.digest {
        return Err(io::Error::other(format!(
            "what was put together has the digest {}, and the archive has {}",
            found.short(),
            recipe.digest.short()
        )));
    }
    to.rewind()?;
    Ok(to)
}

fn for_each_part(
    piece: &Piece,
    known: &Known,
    rest: &mut impl Read,
    mut give: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(key) = piece.key.as_ref().filter(|key| known.has(key)) {
        return give(&known.read(key)?);
    }
    let mut left = piece.length as usize;
    let mut buffer = vec![0; left.min(STRETCH)];
    while left > 0 {
        let part = &mut buffer[..left.min(STRETCH)];
        rest.read_exact(part)?;
        give(part)?;
        left -= part.len();
    }
    Ok(())
}
