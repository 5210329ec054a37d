//! Packages a folder as a reproducible `tar.zst`: the same files and tools give the same bytes, wherever and whenever.
//!
//! Entries are sorted, belong to nobody (0:0), carry the time of the last change and one of two modes. The commit is not in the
//! bytes: in a repository of many services most commits change nothing of this one. The first entry,
//! `lockstep-package.json`, lists all files with their digests. The version number is not in the bytes, so that one build
//! can be promoted from a release candidate to a release. Folders are not entries: unpacking makes them as files need them.
//!
//! This module does not unpack and does not store.

mod contents;
mod filled;
mod fits;
mod image;
mod manifest;
mod select;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::{Digest, ServiceName};
use lockstep_files::foreign;
use lockstep_manifest::Package;
use thiserror::Error;

pub use self::contents::{Entry, EntryKind, Mode, PackageManifest};
pub(crate) use self::filled::problems_of_image;
pub use self::filled::problems_of_run;
pub(crate) use self::image::package_image;
pub use self::manifest::{ManifestReadError, read_package_manifest};
use crate::cancel::CancelToken;

/// The first entry of every package.
pub const PACKAGE_MANIFEST_FILE: &str = "lockstep-package.json";
/// The format of [`PackageManifest`]; a reader refuses higher numbers.
pub const PACKAGE_FORMAT: u32 = 2;
/// The level of compression. Part of the format: another level gives other bytes.
pub const COMPRESSION_LEVEL: i32 = 6;

/// What a package says about its origin. Everything here is part of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFacts {
    /// The service.
    pub service: ServiceName,
    /// When its sources were last changed, in seconds since 1970; every file gets it.
    pub changed_seconds: u64,
    /// The program that built it.
    pub builder: String,
    /// The tools it was built with, by name.
    pub tools: BTreeMap<String, String>,
}

/// A finished package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagedArtifact {
    /// The file.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Its list of files.
    pub contents: PackageManifest,
}

/// One reason why files cannot be packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageProblem {
    /// A pattern selects nothing.
    NothingMatches {
        /// The pattern.
        pattern: String,
        /// Names that are similar.
        nearest: Vec<String>,
    },
    /// A link leads out of the package, or may do so once other links are followed.
    LinkLeadsOut {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// Neither a file nor a link.
    Special {
        /// Its path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A name that is not UTF-8.
    NotUtf8 {
        /// The name with replacement characters.
        path: String,
    },
    /// A file has the name of the package's own list.
    ReservedName,
    /// A file that is to be filled in is not in the package.
    NotPackaged {
        /// Its path.
        path: String,
    },
    /// What is to be served is not in the package.
    NotServed {
        /// The field of `[run]` that names it.
        field: &'static str,
        /// Its path.
        path: String,
    },
    /// The certificates of authorities are not in the package.
    NotTrusted {
        /// The path of their file.
        path: String,
    },
    /// A file cannot be filled in.
    NotFilled {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// More files than a package can have.
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// More bytes than are unpacked where it is to run.
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// It is so much larger than when it is compressed that it would be taken for an attack where it is to run.
    Bomb {
        /// How many times is the bound.
        limit: u64,
    },
}

impl fmt::Display for PackageProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingMatches { pattern, nearest } if nearest.is_empty() => {
                write!(f, "package pattern `{pattern}` matches no file")
            }
            Self::NothingMatches { pattern, nearest } => {
                write!(f, "package pattern `{pattern}` matches no file; similar: `{}`", nearest.join("`, `"))
            }
            Self::LinkLeadsOut { path, target } => {
                write!(
                    f,
                    "the link `{path}` -> `{target}` leads out of the package; exclude it or copy its target"
                )
            }
            Self::Special { path, what } => {
                write!(f, "`{path}` is a {what}, which a package cannot hold; exclude it")
            }
            Self::NotUtf8 { path } => write!(f, "the name `{path}` is not UTF-8; rename or exclude it"),
            Self::ReservedName => {
                write!(
                    f,
                    "`{PACKAGE_MANIFEST_FILE}` is the name of the package's own list; rename or exclude it"
                )
            }
            Self::NotPackaged { path } => {
                write!(f, "`{path}` of `[run] files` is not in the package; include it")
            }
            Self::NotServed { field, path } => {
                write!(
                    f,
                    "`{path}`, which run.{field} names, is not in the package; build it, and include it in [package]"
                )
            }
            Self::NotTrusted { path } => {
                write!(f, "`{path}`, which run.ca names, is not in the package; include it in [package]")
            }
            Self::NotFilled { path, why } => {
                write!(f, "`{path}` of `[run] files` cannot be filled in: {why}")
            }
            Self::TooMany { limit } => {
                write!(f, "more than {limit} files and folders are selected; exclude what is not needed")
            }
            Self::TooLarge { limit } => {
                write!(f, "the files have more than {limit} bytes together; exclude what is not needed")
            }
            Self::Bomb { limit } => write!(
                f,
                "the files are more than {limit} times as large as the package, as long runs of the same byte are; let the service make them when it starts"
            ),
        }
    }
}

/// Why a folder was not packaged. No file is left.
#[derive(Debug, Error)]
pub enum PackageError {
    /// The selection has problems, all of them listed.
    #[error("{} with the files of the package", counted(.0.len(), "problem"))]
    Problems(Vec<PackageProblem>),
    /// The patterns cannot be used together.
    #[error("the patterns of the package cannot be used")]
    Patterns(#[source] lockstep_manifest::PathError),
    /// A file cannot be read or written.
    #[error("`{}` cannot be {what}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file changed while it was packaged.
    #[error("`{path}` changed while it was packaged")]
    Changed {
        /// The file.
        path: String,
    },
    /// Somebody cancelled.
    #[error("packaging was cancelled")]
    Cancelled,
}

/// Puts a number in front of a noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Packages what `package` selects below `root` into the file `output`, which exists afterwards only when all went well.
///
/// # Errors
/// All problems of the selection at once, or the first file that cannot be read or written.
pub fn package(
    root: &Path,
    package: &Package,
    facts: &PackageFacts,
    output: &Path,
    cancel: &CancelToken,
) -> Result<PackagedArtifact, PackageError> {
    let selected = select::select(root, package)?;
    let contents = contents::describe(root, &selected, facts, cancel)?;
    let partial = output.with_added_extension("partial");
    let written = write::write(root, &contents, facts.changed_seconds, &partial, cancel);
    let finished = written.and_then(|written| {
        std::fs::rename(&partial, output).map_err(|source| io_error(output, "written", source))?;
        Ok(written)
    });
    let finished = finished.and_then(|(digest, bytes)| match fits::problem(&contents, bytes) {
        Some(problem) => {
            std::fs::remove_file(output).ok();
            Err(PackageError::Problems(vec![problem]))
        }
        None => Ok((digest, bytes)),
    });
    match finished {
        Ok((digest, bytes)) => Ok(PackagedArtifact { path: output.to_owned(), digest, bytes, contents }),
        Err(error) => {
            std::fs::remove_file(&partial).ok();
            Err(error)
        }
    }
}

fn io_error(path: &Path, what: &'static str, source: io::Error) -> PackageError {
    PackageError::Io { path: path.to_owned(), what, source }
}

/// Opens a file, but neither a link nor a pipe that has taken its place since it was selected.
fn open_file(path: &Path) -> Result<File, PackageError> {
    foreign::open_no_link(path).map_err(|source| io_error(path, "read", source))
}
