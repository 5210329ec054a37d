//! What a part of the soak came to: counts, faults, and where the logs are.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Faults that are kept in words; the others are only counted.
const KEPT_FAULTS: usize = 40;

/// What a part came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// The part.
    pub(super) name: &'static str,
    counts: BTreeMap<String, u64>,
    /// Lines of a table, as they are.
    pub(super) lines: Vec<String>,
    faults: Vec<String>,
    fault_count: u64,
    /// Where the logs of a part with faults are.
    pub(super) folder: Option<PathBuf>,
}

impl Report {
    /// Begins an empty one.
    pub(super) fn of(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Counts one more of something.
    pub(super) fn count(&mut self, what: impl Into<String>) {
        self.add(what, 1);
    }

    /// Counts some more of something; 0 makes it appear.
    pub(super) fn add(&mut self, what: impl Into<String>, number: u64) {
        *self.counts.entry(what.into()).or_default() += number;
    }

    /// Keeps the greatest of something.
    pub(super) fn greatest(&mut self, what: impl Into<String>, number: u64) {
        let kept = self.counts.entry(what.into()).or_default();
        *kept = (*kept).max(number);
    }

    /// Takes a fault down.
    pub(super) fn fault(&mut self, words: String) {
        self.fault_count += 1;
        if self.faults.len() < KEPT_FAULTS {
            println!("  FAULT {words}");
            self.faults.push(words);
        }
    }

    /// Returns how many faults there are.
    pub(super) const fn fault_count(&self) -> u64 {
        self.fault_count
    }

    /// Writes it beside the logs, so that whoever looks for a cause has all in one place.
    pub(super) fn keep_in(&mut self, folder: &Path, seed: u64) -> Result<()> {
        self.folder = Some(folder.to_owned());
        let words = format!("seed {seed}\n{self}{}\n", self.faults.join("\n"));
        fs::write(folder.join("soak.txt"), words)
            .with_context(|| format!("cannot write in {}", folder.display()))
    }

    /// Returns it as a document.
    pub(super) fn document(&self) -> Value {
        let folder = self.folder.as_ref().map(|folder| folder.display().to_string());
        json!({"part": self.name, "counts": self.counts, "lines": self.lines, "faults": self.faults,
               "fault_count": self.fault_count, "folder": folder})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.name)?;
        for (what, number) in &self.counts {
            writeln!(f, "  {what:<52} {number:>10}")?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "  {:<52} {:>10}", "unexplained", self.fault_count)?;
        for fault in self.faults.iter().take(5) {
            writeln!(f, "    {fault}")?;
        }
        match &self.folder {
            Some(folder) => writeln!(f, "  logs, data and all faults are in {}", folder.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_was_counted_is_said() {
        let mut report = Report::of("kills");
        report.count("server killed");
        report.count("server killed");
        report.greatest("longest start", 70);
        report.greatest("longest start", 40);
        report.fault("an orphan".into());
        let text = report.to_string();
        for part in ["server killed", " 2\n", "longest start", " 70\n", "unexplained", " 1\n", "an orphan"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert_eq!(report.document()["counts"]["server killed"], 2);
    }
}
