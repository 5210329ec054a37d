//! How an archive is compressed, told by how it begins.

use std::fmt;
use std::io::{self, Read};

/// Largest window that a compressed stream may ask for, as a power of two: 128 MiB, what `zstd` itself accepts.
const MAX_WINDOW_LOG: u32 = 27;
/// Where a tar header says what it is.
const MAGIC_AT: usize = 257;
/// The bytes of the first header of a tar.
const HEADER_BYTES: u64 = 512;

/// A compression that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None: a `.tar`.
    Plain,
    /// A `.tar.gz`.
    Gzip,
    /// A `.tar.zst`.
    Zstd,
}

/// What something is that is no archive that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoArchive {
    what: &'static str,
}

impl fmt::Display for NoArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}; .tar, .tar.gz and .tar.zst are read", self.what)
    }
}

/// How what is refused begins.
const OTHERS: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "a zip (a jar, wheel or NuGet package is one too)"),
    (b"PK\x05\x06", "an empty zip"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"BZh", "compressed with bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x7fELF", "a program, not an archive"),
];

impl Compression {
    /// Looks at how a file begins.
    ///
    /// # Errors
    /// When it cannot be read. The inner error says what it is instead of an archive.
    pub fn of(file: impl Read) -> io::Result<Result<Self, NoArchive>> {
        let mut begin = Vec::new();
        file.take(HEADER_BYTES).read_to_end(&mut begin)?;
        Ok(Self::told_by(&begin))
    }

    fn told_by(begin: &[u8]) -> Result<Self, NoArchive> {
        if begin.starts_with(b"\x1f\x8b") {
            return Ok(Self::Gzip);
        }
        if begin.starts_with(b"\x28\xb5\x2f\xfd") {
            return Ok(Self::Zstd);
        }
        let other = OTHERS.into_iter().find(|(magic, _)| begin.starts_with(magic));
        match other {
            Some((_, what)) => Err(NoArchive { what }),
            None if begin.is_empty() => Err(NoArchive { what: "empty" }),
            None if is_tar_header(begin) => Ok(Self::Plain),
            None => Err(NoArchive { what: "neither a tar nor anything that is known" }),
        }
    }

    /// Reads through the compression.
    pub(crate) fn open<'a>(self, input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(input),
            // Some programs write one member after another.
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(input)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// The oldest form has no word for itself, but a checksum; the end of an empty archive is no header either.
fn is_tar_header(begin: &[u8]) -> bool {
    let Ok(block) = <[u8; HEADER_BYTES as usize]>::try_from(begin) else { return false };
    let header = tar::Header::from_byte_slice(&block);
    block[MAGIC_AT..].starts_with(b"ustar")
        || block.iter().all(|byte| *byte == 0)
        || header.cksum().ok() == Some(crate::stream::checksum(&block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_archive_is_named() {
        for (begin, word) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04rest", "a zip"),
            (b"\xfd7zXZ\0", "xz"),
            (b"BZh9", "bzip2"),
            (b"<html>", "neither"),
            (&[7; 512], "neither"),
        ] {
            let said = Compression::told_by(begin).unwrap_err().to_string();
            assert!(said.contains(word) && said.contains(".tar.gz"), "{said}");
        }
        assert_eq!(Compression::told_by(&[0; 512]), Ok(Compression::Plain));
    }
}
