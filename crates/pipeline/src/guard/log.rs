//! The log of a build as the guard writes it: masked, bounded, appended.

use std::fs::File;
use std::io::{self, Write};

use lockstep_files::foreign;

use super::mask::Masker;
use super::spec::GuardSpec;

/// Whether a log takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Left,
    Full,
}

/// A log with a bound.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    file: File,
    masker: Masker,
    left_bytes: u64,
}

impl BoundedLog {
    pub(crate) fn open(spec: &GuardSpec) -> io::Result<Self> {
        let file = foreign::open_to_append(&spec.log)?;
        Ok(Self { file, masker: Masker::new(&spec.secrets), left_bytes: spec.log_limit_bytes })
    }

    pub(crate) fn append(&mut self, piece: &[u8]) -> io::Result<Room> {
        let shown = self.masker.push(piece);
        self.write(&shown)
    }

    pub(crate) fn finish(&mut self) -> io::Result<Room> {
        let shown = self.masker.finish();
        self.write(&shown)
    }

    fn write(&mut self, shown: &[u8]) -> io::Result<Room> {
        let fits = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(shown.len());
        self.file.write_all(&shown[..fits])?;
        self.left_bytes -= fits as u64;
        Ok(if fits < shown.len() { Room::Full } else { Room::Left })
    }
}
