//! What can be wrong, in words.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Something that went wrong without ending the work: the history has a hole, and this says where.
#[derive(Debug, Error)]
pub enum Problem {
    /// The end of a log was not whole: the process or the machine stopped while it was written. It was cut off.
    #[error("`{file}` ended in {bytes} bytes that are no whole row; they were cut off")]
    TornEnd {
        /// The name of the file.
        file: String,
        /// Bytes that were cut off.
        bytes: u64,
    },
    /// A file with a name of ours cannot be read. It stays where it is until it is the oldest.
    #[error("`{file}` cannot be read and is passed over")]
    Unreadable {
        /// The name of the file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The oldest part went, because of the bound of bytes or of files.
    #[error(
        "`{file}` was the oldest and was removed to make room: {bytes} bytes, from {first_ms} to {last_ms} ms"
    )]
    Dropped {
        /// The name of the file.
        file: String,
        /// Its bytes.
        bytes: u64,
        /// The time of its first row in milliseconds; 0 where it could not be read.
        first_ms: u64,
        /// The time of its last row in milliseconds.
        last_ms: u64,
    },
    /// Something could not be done that is not needed for the row: it is tried again, or done when the folder is opened next.
    #[error("`{file}` cannot be {what}")]
    Undone {
        /// The name of the file.
        file: String,
        /// What was to be done to it.
        what: &'static str,
        /// Why it was not.
        #[source]
        source: io::Error,
    },
}

/// Why a folder is not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot be made, listed or written to.
    #[error("the folder `{folder}` of the history cannot be used")]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("the folder `{folder}` of the history is used by {by}")]
    Taken {
        /// Which one.
        folder: PathBuf,
        /// What that process wrote about itself.
        by: String,
    },
    /// A newer release wrote something in it; nothing was changed.
    #[error("`{file}` in the history has format {found}; this release reads up to {known}")]
    Newer {
        /// The name of the file.
        file: String,
        /// Its format.
        found: u8,
        /// The newest format that is read.
        known: u8,
    },
}

/// Why a row was not taken. Whatever was taken before is still there.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The clock went back a little, or the row was taken already.
    #[error("the row of {at_ms} ms is not later than the last one, of {last_ms} ms")]
    NotLater {
        /// The time of the row in milliseconds.
        at_ms: u64,
        /// The time of the last row in milliseconds.
        last_ms: u64,
    },
    /// Rows come too fast.
    #[error("the row of {at_ms} ms comes less than a second after the last one, of {last_ms} ms")]
    TooSoon {
        /// The time of the row in milliseconds.
        at_ms: u64,
        /// The time of the last row in milliseconds.
        last_ms: u64,
    },
    /// The time is none that a clock shows.
    #[error("{0} ms is not a time")]
    NoTime(u64),
    /// Nothing older is left that could be removed, and the row does not fit into the bound of bytes.
    #[error("the row does not fit: {used} of {bound} bytes are used by the time that is not over")]
    Bound {
        /// Bytes that are used.
        used: u64,
        /// Bytes that may be.
        bound: u64,
    },
    /// The folder was removed, or is another one. Opening it anew is the way out.
    #[error("the folder `{0}` of the history is gone or is another one")]
    Lost(PathBuf),
    /// The disk refuses.
    #[error("`{file}` of the history cannot be written")]
    Write {
        /// The name of the file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The time that is over could not be closed a moment ago; closing it is tried again after so many rows.
    #[error("the last hour of the history could not be closed; it is tried again after {0} rows")]
    Waiting(u32),
}
