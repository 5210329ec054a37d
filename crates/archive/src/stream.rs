//! Reads a tar stream entry by entry: ustar, with long names as GNU and POSIX (pax) write them.
//!
//! The `tar` crate reads long names of any size into memory, and so could be made to take all of it; here each has a
//! bound. Headers are its [`Header`].

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use crate::error::{Problem, UnpackError};
use crate::metered::Metered;
use crate::tree::MAX_PATH_BYTES;

/// The unit of a tar stream.
const BLOCK: usize = 512;
/// Largest extended header: many times what paths of the greatest length need.
const MAX_EXTENSION: u64 = 64 * 1024;
/// Most extended headers in a row before an entry: one for the path, one for the link, one of each kind of pax.
const MAX_EXTENSIONS: usize = 8;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A file. Of its mode only this matters.
    File {
        /// Whether somebody may run it.
        executable: bool,
    },
    /// A symbolic link.
    Symlink(PathBuf),
    /// A hard link.
    HardLink(PathBuf),
    /// A device or a pipe.
    Special,
    /// Anything else: what it holds cannot be told.
    Unknown,
}

/// What else a header says of an entry. Only images ask for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Who may do what.
    pub(crate) mode: u32,
    /// Whose it is.
    pub(crate) user: u64,
    /// Of which group it is.
    pub(crate) group: u64,
    /// When it was changed last, in seconds since 1970.
    pub(crate) changed: u64,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path as it stands there.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// What else is said of it.
    pub(crate) facts: Facts,
}

/// What extended headers say about the next entry.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u64>,
    group: Option<u64>,
}

/// A tar stream.
pub(crate) struct Archive<R> {
    reader: Metered<R>,
    /// Bytes of the present entry that have not been read.
    left: u64,
    /// Bytes after them up to the next block.
    padding: u64,
    end: End,
}

/// How a stream has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By empty blocks: without them it was cut off.
    Marked,
    /// After any entry: some programs write layers so, and whether they are whole is told by their digests.
    AfterAnyEntry,
}

impl<R: Read> Archive<R> {
    /// Reads from a stream.
    pub(crate) const fn new(reader: Metered<R>, end: End) -> Self {
        Self { reader, left: 0, padding: 0, end }
    }

    /// Returns the next entry, or `None` at the proper end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut extensions = Extensions::default();
        for _ in 0..=MAX_EXTENSIONS {
            self.skip_data()?;
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::GNULongName => extensions.path = Some(self.text()?),
                EntryType::GNULongLink => extensions.link = Some(self.text()?),
                EntryType::XHeader => self.extend(&mut extensions)?,
                // It says something about all entries that follow; nothing that could matter here is allowed in it.
                EntryType::XGlobalHeader => self.extend(&mut Extensions::default())?,
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
        Err(damaged("there are too many extended headers in a row"))
    }

    /// Returns how many bytes may still come.
    pub(crate) const fn left(&self) -> u64 {
        self.reader.left()
    }

    /// Copies the data of the present entry into a file.
    pub(crate) fn copy_to(&mut self, mut file: File, path: &Path) -> Result<(), UnpackError> {
        let mut buffer = [0; 16 * 1024];
        while self.left > 0 {
            let window = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
            let window = buffer.get_mut(..window).unwrap_or_default();
            self.reader.read_exact(window).map_err(UnpackError::reading)?;
            io::Write::write_all(&mut file, window)
                .map_err(|source| UnpackError::Write { path: path.to_owned(), source })?;
            self.left -= window.len() as u64;
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        let mut block = [0; BLOCK];
        let begun = self.reader.read(&mut block).map_err(UnpackError::reading)?;
        if begun == 0 && self.end == End::AfterAnyEntry {
            return Ok(None);
        }
        self.reader.read_exact(block.get_mut(begun..).unwrap_or_default()).map_err(UnpackError::reading)?;
        if block.iter().all(|byte| *byte == 0) {
            // The rest is read for its checksum; a tar stream ends with any number of empty blocks.
            io::copy(&mut self.reader, &mut io::sink()).map_err(UnpackError::reading)?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(damaged("the checksum of a header is wrong"));
        }
        let size = header.entry_size().map_err(|source| UnpackError::Read { source })?;
        self.set_size(size)?;
        Ok(Some(header))
    }

    fn set_size(&mut self, size: u64) -> Result<(), UnpackError> {
        if size > self.reader.left() {
            return Err(self.reader.too_large());
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), UnpackError> {
        let skipped = self.left + self.padding;
        let copied = io::copy(&mut (&mut self.reader).take(skipped), &mut io::sink());
        // Where it may end after any entry, what only fills the last block may be missing.
        let needed = if self.end == End::AfterAnyEntry { self.left } else { skipped };
        if copied.map_err(UnpackError::reading)? < needed {
            return Err(UnpackError::Read { source: io::ErrorKind::UnexpectedEof.into() });
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads the data of an extended header.
    fn text(&mut self) -> Result<Vec<u8>, UnpackError> {
        if self.left > MAX_EXTENSION {
            return Err(damaged("an extended header is too long"));
        }
        let mut text = vec![0; usize::try_from(self.left).unwrap_or_default()];
        self.reader.read_exact(&mut text).map_err(UnpackError::reading)?;
        self.left = 0;
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn extend(&mut self, extensions: &mut Extensions) -> Result<(), UnpackError> {
        let text = self.text()?;
        for (key, value) in pax_records(&text).ok_or_else(|| damaged("an extended header is not readable"))? {
            match key {
                b"path" => extensions.path = Some(value.to_vec()),
                b"linkpath" => extensions.link = Some(value.to_vec()),
                b"size" => {
                    extensions.size = Some(number(value).ok_or_else(|| damaged("a size is not a number"))?);
                }
                b"uid" => extensions.user = number(value),
                b"gid" => extensions.group = number(value),
                _ if key.starts_with(b"GNU.sparse") => return Err(damaged("sparse files are not supported")),
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, UnpackError> {
        if let Some(size) = extensions.size {
            self.set_size(size)?;
        }
        let facts = Facts {
            mode: header.mode().unwrap_or_default(),
            user: extensions.user.or_else(|| header.uid().ok()).unwrap_or(u64::MAX),
            group: extensions.group.or_else(|| header.gid().ok()).unwrap_or(u64::MAX),
            changed: header.mtime().unwrap_or_default(),
        };
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let path = to_path(path)?;
        let link = extensions.link.or_else(|| header.link_name_bytes().map(Cow::into_owned));
        let link =
            || link.clone().map_or_else(|| Err(UnpackError::refused(&path, Problem::NotAPath)), to_path);
        let kind = match header.entry_type() {
            // So the oldest form of tar writes folders.
            EntryType::Regular if path.as_os_str().as_bytes().ends_with(b"/") => Kind::Folder,
            EntryType::Regular => {
                let mode = header.mode().map_err(|source| UnpackError::Read { source })?;
                Kind::File { executable: mode & 0o111 != 0 }
            }
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink(link()?),
            EntryType::Link => Kind::HardLink(link()?),
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
            _ => Kind::Unknown,
        };
        Ok(Entry { path, kind, facts })
    }
}

fn to_path(bytes: Vec<u8>) -> Result<PathBuf, UnpackError> {
    let problem = if bytes.len() > MAX_PATH_BYTES {
        Some(Problem::TooLong)
    } else {
        (bytes.is_empty() || bytes.contains(&0)).then_some(Problem::NotAPath)
    };
    let shown = || PathBuf::from(String::from_utf8_lossy(bytes.get(..100).unwrap_or(&bytes)).into_owned());
    match problem {
        Some(problem) => Err(UnpackError::refused(&shown(), problem)),
        None => Ok(PathBuf::from(OsString::from_vec(bytes))),
    }
}

pub(crate) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let sum = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    sum.map(u32::from).sum()
}

fn damaged(what: &'static str) -> UnpackError {
    UnpackError::Read { source: io::Error::new(io::ErrorKind::InvalidData, what) }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Splits `LENGTH KEY=VALUE\n` records, or returns `None` when a record is malformed.
fn pax_records(mut text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let space = text.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(number(text.get(..space)?)?).ok()?;
        let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((record.get(..equals)?, record.get(equals + 1..)?));
        text = text.get(length..)?;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn splits_pax_records() {
        let text = b"12 path=abc\n5 k=\n";
        assert_eq!(pax_records(text), Some(vec![(&b"path"[..], &b"abc"[..]), (b"k", b"")]));
        for bad in [&b"x"[..], b"5 a=b", b"0 a=b\n", b"99 a=b\n", b"7 path\n ", b"-1 a=b\n"] {
            assert_eq!(pax_records(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn pax_records_never_panics(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = pax_records(&text);
        }
    }
}
