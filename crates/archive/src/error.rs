//! Why an archive is refused, and how large it may be.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Bytes below which the ratio does not matter: a small artifact of one large constant file is no attack, and that
/// much disk is always there.
const RATIO_MATTERS_FROM: u64 = 16 * 1024 * 1024;

/// How large an artifact may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Most bytes of all files and headers together.
    pub bytes: u64,
    /// Most files, folders and links together.
    pub entries: usize,
    /// Most bytes that one compressed byte may become, on average. Programs and texts stay below 20.
    pub ratio: u64,
}

impl UnpackLimits {
    /// Those of every server: what is packaged on one is unpacked on it.
    pub const USUAL: Self = Self { bytes: 4 * 1024 * 1024 * 1024, entries: 200_000, ratio: 250 };

    /// Tells whether something of so many bytes, and so many when compressed, grows too much.
    #[must_use]
    pub const fn is_bomb(&self, unpacked: u64, compressed: u64) -> bool {
        unpacked > RATIO_MATTERS_FROM && unpacked > compressed.saturating_mul(self.ratio)
    }
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self::USUAL
    }
}

/// Why an artifact was not unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// It cannot be read, is not compressed as it should be, or ends too early.
    #[error("the artifact cannot be read: it is damaged, cut off, or no such file")]
    Read {
        /// What went wrong.
        source: io::Error,
    },
    /// The files cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not begin with the file that packages begin with.
    #[error(
        "the artifact begins with `{found}` instead of `{expected}`: it was not made by `lockstep release`"
    )]
    NotAPackage {
        /// What it begins with.
        found: String,
        /// What it should begin with.
        expected: &'static str,
    },
    /// It holds something that an artifact must not hold.
    #[error("the artifact holds `{path}`, {problem}")]
    Refused {
        /// The path as it stands in the artifact.
        path: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// It has more entries than allowed.
    #[error("the artifact has more than {limit} files")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// It is larger than allowed.
    #[error("the artifact has more than {limit} bytes when unpacked")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// It grows more than allowed.
    #[error("the artifact grows to more than {limit} times its size when unpacked")]
    Bomb {
        /// The limit.
        limit: u64,
    },
}

impl UnpackError {
    /// Takes an error of reading apart: a limit that was reached while reading is reported as such.
    pub(crate) fn reading(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Read { source },
        }
    }

    pub(crate) fn refused(path: &Path, problem: Problem) -> Self {
        Self::Refused { path: path.display().to_string(), problem }
    }
}

/// What is wrong with an entry of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    /// It begins with `/`.
    #[error("an absolute path")]
    Absolute,
    /// It has a part `..`.
    #[error("a path with `..`")]
    Parent,
    /// It is empty or has a zero byte.
    #[error("which is not a path")]
    NotAPath,
    /// It is longer than a path may be.
    #[error("a path that is too long")]
    TooLong,
    /// It was there before.
    #[error("which it held before")]
    Duplicate,
    /// One of its folders is a file or a link.
    #[error("which lies below a file or a link")]
    BelowNonFolder,
    /// It is a link to something outside.
    #[error("a link that leads out of it")]
    LeadsOut,
    /// It is a link that never arrives.
    #[error("a link that leads in a circle")]
    Circle,
    /// It is a hard link to something that is not a file before it.
    #[error("a hard link to what is not a file before it")]
    HardLinkTarget,
    /// It is a device, a pipe, or another kind of file that no program needs.
    #[error("which is neither a file, a folder nor a link")]
    Special,
}
