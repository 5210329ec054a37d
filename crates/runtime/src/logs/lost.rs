//! What is known of lines that are not in the log: how many were lost and not said, and from where some are in hand.
//!
//! It lies in a file of a fixed length, `log/lost`, which is made with the folder and overwritten in place, so that a full
//! disk does not stop it (on file systems that copy on write it can; then it is kept in memory alone). A supervisor that is
//! killed leaves it to the next one.

use std::path::Path;

use lockstep_files::foreign;

use super::{LOST, Source};

/// Length of the text: twenty digits, two marks and what separates them.
const LENGTH: usize = 25;

/// Lines that are not in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Lines that could not be written, and of which the log does not say so yet.
    pub(crate) lines: u64,
    /// Whether the supervisor has taken something of standard output that is not in the log yet.
    out: bool,
    /// The same of standard error.
    err: bool,
}

impl Lost {
    /// Notes whether something of a source is in hand.
    pub(crate) const fn hold(&mut self, source: Source, held: bool) {
        match source {
            Source::Out => self.out = held,
            Source::Err => self.err = held,
            Source::Lockstep => {}
        }
    }

    /// Tells whether anything is in hand.
    pub(crate) const fn is_in_hand(&self) -> bool {
        self.out || self.err
    }

    /// Writes it in the form of the file.
    pub(crate) fn text(self) -> String {
        let mark = |held| if held { '+' } else { '-' };
        format!("{:020} {} {}\n", self.lines, mark(self.out), mark(self.err))
    }

    /// Reads the form of the file; what is not of that form says nothing.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut words = text.split_ascii_whitespace();
        let lines = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        let mut held = || words.next() == Some("+");
        Self { lines, out: held(), err: held() }
    }
}

/// Reads the file in the folder of a log; empty when there is none.
pub(crate) fn noted(folder: &Path) -> Vec<u8> {
    let read = foreign::open_no_link(&folder.join(LOST)).and_then(|file| foreign::read(file, LENGTH as u64));
    read.unwrap_or_default()
}

/// Says how many lines are missing.
pub(crate) fn said(lines: u64) -> String {
    format!("{lines} lines were lost because the log could not be written")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_noted_is_read_and_every_text_has_the_same_length(lines: u64, out: bool, err: bool) {
            let lost = Lost { lines, out, err };
            prop_assert_eq!(lost.text().len(), LENGTH);
            prop_assert_eq!(Lost::parse(lost.text().as_bytes()), lost);
        }
    }

    #[test]
    fn anything_else_says_nothing() {
        for text in [&b""[..], b"\xff\xff", b"-1 + +", b"many - -"] {
            assert_eq!(Lost::parse(text).lines, 0);
        }
    }
}
