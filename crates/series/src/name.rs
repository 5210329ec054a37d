//! Names of files: `fine-1764574200000-12.log` and `.seg`, with the time of the first row and a number that grows with each part.
//!
//! The number says what was written first, also where the clock went back.

use crate::level::Level;

/// Numbers that a name can have; what counts on from a larger one could come to the end.
const MAX_NUMBER: u64 = 1 << 53;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Rows as they came.
    Log,
    /// Columns of a time that is over.
    Segment,
}

/// Names a part of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    pub(crate) number: u64,
    pub(crate) level: Level,
    pub(crate) start_ms: u64,
}

impl Form {
    const fn ending(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Segment => "seg",
        }
    }
}

impl PartName {
    pub(crate) fn file(self, form: Form) -> String {
        format!("{}-{}-{}.{}", self.level.word(), self.start_ms, self.number, form.ending())
    }

    /// Reads the name of a file; `None` for one that is not ours.
    pub(crate) fn read(file: &str) -> Option<(Self, Form)> {
        let (stem, ending) = file.split_once('.')?;
        let form = [Form::Log, Form::Segment].into_iter().find(|form| form.ending() == ending)?;
        let mut parts = stem.split('-');
        let word = parts.next()?;
        let level = Level::BOTH.into_iter().find(|level| level.word() == word)?;
        let (start_ms, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let name = Self { number, level, start_ms };
        // One name for one part: no leading zeros, no signs, nothing behind.
        (name.file(form) == file && number <= MAX_NUMBER).then_some((name, form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_no_other_one() {
        let name = PartName { number: 12, level: Level::Coarse, start_ms: 1_764_574_200_000 };
        assert_eq!(name.file(Form::Segment), "coarse-1764574200000-12.seg");
        assert_eq!(PartName::read("coarse-1764574200000-12.seg"), Some((name, Form::Segment)));
        for foreign in [
            "lock",
            "fine-1-2",
            "fine-01-2.log",
            "fine-1-2.log.new",
            "fine-1-2-3.log",
            "fine-+1-2.log",
            "a-1-2.log",
            "fine-1-18446744073709551615.log",
            "",
        ] {
            assert_eq!(PartName::read(foreign), None, "{foreign}");
        }
    }
}
