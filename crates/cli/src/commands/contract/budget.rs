//! How much is read of one contract: it comes from outside, and may be anything.

use lockstep_api::problem::ProblemPart;

/// Most files of one contract: the largest public tree of `.proto` files has about 6,000.
const MAX_FILES: usize = 20_000;
/// Most bytes of one contract in MiB, when nothing else is said: the largest public one has 13, and reading one takes
/// some 20 times its size in memory.
pub(super) const LARGEST_MIB: u16 = 64;

/// What may still be read.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    files: usize,
    bytes: u64,
    largest: u16,
}

impl Budget {
    /// The budget of one contract, where nothing else is said.
    pub(super) fn usual() -> Self {
        Self::of_mib(LARGEST_MIB)
    }

    /// The budget of one contract of at most this many MiB.
    pub(super) fn of_mib(largest: u16) -> Self {
        Self { files: MAX_FILES, bytes: u64::from(largest) << 20, largest }
    }

    /// Returns how many bytes the next file may have.
    pub(super) const fn room(&self) -> u64 {
        self.bytes
    }

    /// Counts a file.
    pub(super) fn spend(&mut self, file: &str, bytes: u64) -> Result<(), ProblemPart> {
        if bytes > self.bytes {
            let detail = format!("with this file the contract has more than {} MiB", self.largest);
            let hint = Some("allow more with --largest MIB, or split the contract".to_owned());
            return Err(ProblemPart { hint, ..problem(file, detail) });
        }
        let Some(files) = self.files.checked_sub(1) else {
            return Err(problem(
                file,
                format!("with this file the contract has more than {MAX_FILES} files"),
            ));
        };
        (self.files, self.bytes) = (files, self.bytes - bytes);
        Ok(())
    }
}

/// Something wrong with a file that was named.
pub(super) fn problem(file: impl Into<String>, detail: impl Into<String>) -> ProblemPart {
    ProblemPart { detail: detail.into(), file: Some(file.into()), line: None, field: None, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_too_many_bytes_nor_too_many_files_are_read() {
        let mut budget = Budget::of_mib(2);
        assert!(budget.spend("a", (2 << 20) + 1).is_err());
        budget.spend("a", 2 << 20).unwrap();
        assert!(budget.spend("b", 1).unwrap_err().detail.contains("more than 2 MiB"));
        let mut budget = Budget::of_mib(2);
        (0..MAX_FILES).for_each(|_| budget.spend("a", 0).unwrap());
        assert!(budget.spend("b", 0).unwrap_err().detail.contains("files"));
    }
}
