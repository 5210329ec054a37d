//! Bounds what a compressed stream may become, while it is read.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::error::{UnpackError, UnpackLimits};

/// Counts what is read.
pub(crate) struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Counted<R> {
    /// Returns the reader, and where it counts.
    pub(crate) fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let count = Rc::new(Cell::new(0));
        (Self { inner, count: Rc::clone(&count) }, count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get().saturating_add(read as u64));
        Ok(read)
    }
}

/// Fails as soon as more came out than is allowed, in all or for what went in.
pub(crate) struct Metered<R> {
    inner: R,
    compressed: Rc<Cell<u64>>,
    unpacked: u64,
    limits: UnpackLimits,
}

impl<R: Read> Metered<R> {
    /// Wraps a decompressor whose input is counted.
    pub(crate) const fn new(inner: R, compressed: Rc<Cell<u64>>, limits: &UnpackLimits) -> Self {
        Self { inner, compressed, unpacked: 0, limits: *limits }
    }

    /// Returns how many bytes may still come.
    pub(crate) const fn left(&self) -> u64 {
        self.limits.bytes.saturating_sub(self.unpacked)
    }

    /// Returns the error of an artifact that is too large.
    pub(crate) const fn too_large(&self) -> UnpackError {
        UnpackError::TooLarge { limit: self.limits.bytes }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.unpacked = self.unpacked.saturating_add(read as u64);
        if self.unpacked > self.limits.bytes {
            Err(io::Error::other(self.too_large()))
        } else if self.limits.is_bomb(self.unpacked, self.compressed.get()) {
            Err(io::Error::other(UnpackError::Bomb { limit: self.limits.ratio }))
        } else {
            Ok(read)
        }
    }
}
