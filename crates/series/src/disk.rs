//! Everything that changes files, in one place, so that a test can stop it after any byte.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lockstep_files::whole;

/// What is ours is read by nobody else.
pub(crate) const MODE: u32 = 0o600;

/// The way to the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// What may still be written, a byte or a deed for one; then everything fails, as with a full disk or a process that is dead.
    #[cfg(test)]
    pub(crate) left: Option<std::sync::Arc<std::sync::atomic::AtomicU64>>,
}

impl Disk {
    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let allowed = self.allowed(bytes.len());
        file.write_all_at(&bytes[..allowed], at)?;
        full_unless(allowed == bytes.len())
    }

    pub(crate) fn set_length(&self, file: &File, length: u64) -> io::Result<()> {
        full_unless(self.allowed(1) == 1)?;
        file.set_len(length)
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        full_unless(self.allowed(1) == 1)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a whole file under a name; it is durable on return.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let allowed = self.allowed(bytes.len() + 1);
        if allowed <= bytes.len() {
            // What a process leaves that is killed here.
            fs::write(path.with_added_extension(whole::UNFINISHED), &bytes[..allowed])?;
            return full_unless(false);
        }
        whole::put(path, bytes, MODE)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the other one looks into it")]
    const fn allowed(&self, bytes: usize) -> usize {
        bytes
    }

    #[cfg(test)]
    fn allowed(&self, bytes: usize) -> usize {
        use std::sync::atomic::Ordering::SeqCst;
        let Some(left) = &self.left else { return bytes };
        let allowed = left.load(SeqCst).min(bytes as u64);
        left.fetch_sub(allowed, SeqCst);
        usize::try_from(allowed).unwrap_or(bytes)
    }
}

fn full_unless(is_done: bool) -> io::Result<()> {
    if is_done { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}
