//! What the server finds when a step dies: what it has changed by then, written before anything is changed.
//!
//! Invariant: what is written never says less than what was done. So a step that could not write it does nothing.

use std::path::Path;

use lockstep_domain::database::{TOLD_FILE, Told};
use lockstep_files::whole;

use crate::engine::Fault;

/// Longest word of why a step failed, in characters.
const MAX_FAILURE: usize = 600;

/// How far a step came.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    told: Told,
}

impl Notes {
    /// Notes that nothing was done.
    pub(crate) fn begin() -> Result<Self, Fault> {
        let told = Told { unread: true, untouched: true, ..Told::default() };
        let notes = Self { told };
        notes.write()?;
        Ok(notes)
    }

    /// Notes that something is done that the record of the database tells, whether it came to its end or not.
    pub(crate) fn begins(&mut self) -> Result<(), Fault> {
        if !self.told.untouched {
            return Ok(());
        }
        self.told.untouched = false;
        self.write()
    }

    /// Notes that something is done of which nobody knows how far it came, until it has ended.
    pub(crate) fn leaves(&mut self, migration: &str) -> Result<(), Fault> {
        self.told.untouched = false;
        self.told.half = Some(migration.to_owned());
        self.write()
    }

    /// Notes that it has ended, and the record says so.
    pub(crate) fn is_recorded(&mut self) -> Result<(), Fault> {
        self.told.half = None;
        self.write()
    }

    /// Notes that what was noted last did not even begin.
    pub(crate) fn take_back(&mut self, before: Self) -> Result<(), Fault> {
        *self = before;
        self.write()
    }

    /// What nobody knows how far it came.
    pub(crate) fn half(&self) -> Option<String> {
        self.told.half.clone()
    }

    /// Tells whether nothing was changed.
    pub(crate) fn is_untouched(&self) -> bool {
        self.told.untouched
    }

    /// Says how it ended, with what was found where that could be read.
    pub(crate) fn end(mut self, found: Option<Told>, failure: Option<&Fault>) -> Result<(), Fault> {
        if let Some(found) = found {
            self.told = found;
        }
        self.told.failure = failure.map(|fault| shown(&fault.why));
        self.write()
    }

    fn write(&self) -> Result<(), Fault> {
        let text =
            serde_json::to_vec(&self.told).map_err(|error| Fault::new(format!("what was found: {error}")))?;
        whole::put(Path::new(TOLD_FILE), &text, 0o644)
            .map_err(|error| Fault::new(format!("what was found cannot be written: {error}")))
    }
}

/// A text that can be shown in a line.
pub(crate) fn shown(text: &str) -> String {
    let letters = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    letters.take(MAX_FAILURE).collect()
}
