//! Bytes to text, with the line where they stop being text.

use crate::InputError;

/// Reads a file as UTF-8; a byte order mark is left away.
///
/// # Errors
/// The first byte that is not UTF-8, by its line.
pub(crate) fn utf8<'a>(path: &str, bytes: &'a [u8]) -> Result<&'a str, InputError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        InputError::new(path, "not valid UTF-8")
            .on_line(line_at(bytes, error.valid_up_to()))
            .with_hint("save the file as UTF-8")
    })
}

/// Gives the line, from 1, that holds the byte at an offset.
pub(crate) fn line_at(bytes: &[u8], offset: usize) -> u32 {
    let before = &bytes[..offset.min(bytes.len())];
    let newlines = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(newlines).unwrap_or(u32::MAX - 1) + 1
}
