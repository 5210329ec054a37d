//! How much is read of one contract: it comes from outside, and may be anything.

use lockstep_api::problem::ProblemPart;

/// Most files of one contract: the largest public tree of `.proto` files has about 6,000.
const MAX_FILES: usize = 20_000;
/// Most bytes of one contract: the engine reads documents of up to 64 MiB, and some are split.
const MAX_BYTES: u64 = 128 * 1024 * 1024;

/// What may still be read.
#[derive(Debug)]
pub(super) struct Budget {
    files: usize,
    bytes: u64,
}

impl Budget {
    /// The budget of one contract.
    pub(super) const fn new() -> Self {
        Self { files: MAX_FILES, bytes: MAX_BYTES }
    }

    /// Returns how many bytes the next file may have.
    pub(super) const fn room(&self) -> u64 {
        self.bytes
    }

    /// Counts a file.
    pub(super) fn spend(&mut self, file: &str, bytes: u64) -> Result<(), ProblemPart> {
        if bytes > self.bytes {
            return Err(problem(
                file,
                format!("with this file the contract has more than {MAX_BYTES} bytes"),
            ));
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
        let mut budget = Budget::new();
        assert!(budget.spend("a", MAX_BYTES + 1).is_err());
        budget.spend("a", MAX_BYTES).unwrap();
        assert!(budget.spend("b", 1).unwrap_err().detail.contains("bytes"));
        let mut budget = Budget::new();
        (0..MAX_FILES).for_each(|_| budget.spend("a", 0).unwrap());
        assert!(budget.spend("b", 0).unwrap_err().detail.contains("files"));
    }
}
