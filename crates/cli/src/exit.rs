//! Exit codes: what a script can tell from a command without reading its words.

use std::process::ExitCode;

use lockstep_store::JournalError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    Done,
    /// It was carried out and ended badly.
    EndedBadly,
    /// It was not understood.
    Usage,
    /// A rule refused it, or what was asked could not be decided.
    Refused,
    /// Something that was named does not exist.
    NotFound,
    /// The server cannot be reached.
    Unreachable,
    /// Something else is under way.
    Conflict,
    /// A token is needed.
    Unauthorized,
    /// A fault of Lockstep.
    Internal,
    /// Ctrl-C while waiting.
    Interrupted,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 10] = [
        Self::Done,
        Self::EndedBadly,
        Self::Usage,
        Self::Refused,
        Self::NotFound,
        Self::Unreachable,
        Self::Conflict,
        Self::Unauthorized,
        Self::Internal,
        Self::Interrupted,
    ];

    /// Returns how a command ends that cannot use a journal.
    pub(crate) const fn of_journal(error: &JournalError) -> Self {
        match error {
            JournalError::Missing { .. } => Self::NotFound,
            JournalError::InUse { .. } => Self::Conflict,
            JournalError::Full { .. } => Self::Unreachable,
            JournalError::HeadMissing { .. }
            | JournalError::HeadForged { .. }
            | JournalError::KeyMissing { .. }
            | JournalError::KeyUnusable { .. }
            | JournalError::NotKeyed { .. }
            | JournalError::Schema { .. }
            | JournalError::Tampered(_) => Self::EndedBadly,
            JournalError::File { .. }
            | JournalError::NewerFormat { .. }
            | JournalError::Refused(_)
            | JournalError::SnapshotTooLarge { .. }
            | JournalError::Database { .. } => Self::Usage,
        }
    }

    /// Returns the number that the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::EndedBadly => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotFound => 4,
            Self::Unreachable => 5,
            Self::Conflict => 6,
            Self::Unauthorized => 7,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// Says what the code means.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::EndedBadly => {
                "carried out, and it ended badly: an operation was taken back, a job failed, a build failed, a journal was tampered with, a contract breaks its consumers, a recorded version is worse"
            }
            Self::Usage => "not understood: a wrong argument, file or manifest; nothing was done",
            Self::Refused => {
                "refused by a rule, or not decided between contracts, by the judge or within the steps of a search; every reason is listed and nothing was done, or an operation waits for somebody's word"
            }
            Self::NotFound => "something that was named does not exist",
            Self::Unreachable => "the server cannot be reached, or cannot record anything at the moment",
            Self::Conflict => {
                "something else is under way, holds the folder or port, or was quicker; try again"
            }
            Self::Unauthorized => {
                "a valid token is needed, the server allows this only from elsewhere, or a host does not let us in"
            }
            Self::Internal => "a fault of Lockstep, or an answer that is not understood",
            Self::Interrupted => {
                "stopped waiting after Ctrl-C; the operation or build goes on without the command"
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_lists_every_code_with_its_meaning() {
        let page = include_str!("../../../docs/reference/exit-codes.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(page.contains(&row), "docs/reference/exit-codes.md lacks: {row}");
        }
    }

    #[test]
    fn codes_are_different_and_in_order() {
        assert!(Exit::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }
}
