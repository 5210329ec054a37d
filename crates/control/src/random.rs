//! Random names, from the system.

use std::fs::File;
use std::io::{self, Read as _};

/// Returns so many random bytes as hexadecimal digits.
///
/// # Errors
/// When the system has no source of randomness.
pub(crate) fn random_hex(bytes: usize) -> io::Result<String> {
    let mut buffer = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}
