//! Short names for long ones. Pure.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::text::line;

/// Returns a name of 32 characters that is different for each text.
pub(crate) fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(16).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Returns a key as it is where that is one line of at most so many characters, and a short name of it otherwise: a key that was
/// cut would be that of another, and one without a character is none.
pub(crate) fn or_itself(key: &str, most: usize) -> String {
    let plain = line(key, most.max(32));
    if plain == key && !key.is_empty() { plain } else { hex(key) }
}
